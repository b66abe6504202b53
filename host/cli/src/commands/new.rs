//! `triggerbox new`: a folder that builds, passes its tests and can be put to work as it is.
//!
//! The guest library and the contract are written into the folder, so that a script builds without this
//! repository and keeps building with the version it was started with.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, anyhow, bail};
use include_dir::{Dir, DirEntry, include_dir};
use serde_json::json;
use triggerbox_toolchain::CONTRACT;
use triggerbox_workbench::scenario::FOLDER;

use crate::{
    args::{Language, NewArgs},
    exit::{Exit, Failure},
    output::{self, BOLD, styled},
};

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
static RUST_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/rust/sdk");
static PYTHON_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/python/sdk");
/// What server actions run in, besides Python's library.
static SERVER_ACTION: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/python/server-action");
/// JavaScript's too: the bundler takes the types away.
static TYPESCRIPT_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/typescript/sdk");
/// C++'s too.
static C_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/c/sdk");
static ZIG_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/zig/sdk");
static GO_LIBRARY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-examples/go/sdk");
/// Where the guest library goes in a new folder.
const LIBRARY_FOLDER: &str = "triggerbox-sdk";
/// Where a new script's rule is.
const RULES_FOLDER: &str = "rules";

pub(crate) fn run(args: &NewArgs) -> Result<Exit, Failure> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts_with_letter = args.name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_with_letter || args.name.len() > 64 || !args.name.chars().all(plain) {
        let name = &args.name;
        return Err(anyhow!(
            "`{name}` cannot name a script; use up to 64 lower-case letters, digits and dashes, a letter first"
        )
        .into());
    }
    let folder = args.path.join(&args.name);
    fs::create_dir_all(&args.path).with_context(|| format!("cannot create {}", args.path.display()))?;
    // Of two that make it at once, one does.
    fs::create_dir(&folder).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{} exists already; choose another name or --path", folder.display()),
        _ => anyhow!("cannot create {}: {error}", folder.display()),
    })?;
    if let Err(error) = fill(&folder, args) {
        // Half of it would be in the way of the next time. What cannot be removed is told by then.
        let _ = fs::remove_dir_all(&folder);
        return Err(error.into());
    }
    if args.format.json {
        output::json(&json!({ "folder": folder }))?;
    } else {
        outln!("{} {}", styled(BOLD, "created"), folder.display());
        outln!("next:  cd {}", folder.display());
        outln!("       triggerbox test");
        outln!("       triggerbox run {}.wasm --model crm.lead --ids 1 --dry-run", args.name);
    }
    Ok(Exit::Ok)
}

/// Writes a new script into its folder.
fn fill(folder: &Path, args: &NewArgs) -> anyhow::Result<()> {
    let (template, library) = match args.lang {
        Language::Rust => ("rust", &RUST_LIBRARY),
        Language::Python => ("python", &PYTHON_LIBRARY),
        Language::ServerAction => ("server-action", &PYTHON_LIBRARY),
        Language::Typescript => ("typescript", &TYPESCRIPT_LIBRARY),
        Language::Javascript => ("javascript", &TYPESCRIPT_LIBRARY),
        Language::C => ("c", &C_LIBRARY),
        Language::Cpp => ("cpp", &C_LIBRARY),
        Language::Zig => ("zig", &ZIG_LIBRARY),
        Language::Go => ("go", &GO_LIBRARY),
    };
    let template = TEMPLATES.get_dir(template).with_context(|| format!("there is no template for {template}"))?;
    write(template, folder, &args.name)?;
    for shared in [FOLDER, RULES_FOLDER].into_iter().filter(|shared| !folder.join(shared).exists()) {
        let files = TEMPLATES.get_dir(shared).with_context(|| format!("there is no template for {shared}"))?;
        write(files, &folder.join(shared), &args.name)?;
    }
    let library_folder = folder.join(LIBRARY_FOLDER);
    write(library, &library_folder, &args.name)?;
    if args.lang == Language::ServerAction {
        write(&SERVER_ACTION, &library_folder, &args.name)?;
        // The entry, and what has to be installed for it, are the script's own; the code and the grants are in the template.
        for own in ["script.py", "requirements.txt"] {
            fs::rename(library_folder.join(own), folder.join(own)).with_context(|| format!("cannot write {own}"))?;
        }
        fs::remove_file(library_folder.join("triggerbox.toml"))?;
    }
    // Every library comes with the contract it was written for.
    let contract = library_folder.join("wit/automation.wit");
    fs::create_dir_all(library_folder.join("wit"))?;
    fs::write(&contract, CONTRACT).with_context(|| format!("cannot write {}", contract.display()))
}

/// Writes a folder of the program's own into the file system, with the script's name filled in.
fn write(from: &Dir<'_>, to: &Path, name: &str) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in from.entries() {
        let Some(file_name) = entry.path().file_name() else { bail!("a template entry has no name") };
        // Earlier builds, and the library's own tests, which need this repository.
        let is_made = ["target", "__pycache__", ".triggerbox"].iter().any(|made| file_name == *made);
        if is_made || file_name == "tests" && to.ends_with(LIBRARY_FOLDER) {
            continue;
        }
        // Cargo would take a manifest of that name for a package of this repository.
        let target = to.join(file_name.to_string_lossy().trim_end_matches(".template").replace("{{name}}", name));
        match entry {
            DirEntry::Dir(dir) => write(dir, &target, name)?,
            DirEntry::File(file) => {
                let contents = match file.contents_utf8() {
                    Some(text) => text.replace("{{name}}", name).into_bytes(),
                    None => file.contents().to_vec(),
                };
                fs::write(&target, contents).with_context(|| format!("cannot write {}", target.display()))?;
            }
        }
    }
    Ok(())
}
