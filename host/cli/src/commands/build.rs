//! `triggerbox build`: compiles a script's folder, and puts its manifest into the component.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use triggerbox_model::manifest::Manifest;
use triggerbox_sandbox::inspect;

use crate::{
    args::BuildArgs,
    exit::{Exit, Failure},
    output::{self, BOLD, styled},
};

/// The manifest's file name.
const MANIFEST: &str = "triggerbox.toml";
/// What Rust scripts are compiled for.
const TARGET: &str = "wasm32-wasip2";

pub(crate) fn run(args: &BuildArgs) -> Result<Exit, Failure> {
    let path = args.path.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}; a script's folder holds its manifest, `triggerbox new` makes one", path.display())
    })?;
    let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;

    let compiled = match args.path.join("Cargo.toml").exists() {
        true => compile_rust(&args.path)?,
        false => {
            return Err(anyhow!(
                "{} has no Cargo.toml: only Rust scripts can be built for now; to use a component from another toolchain, \
                 embed its manifest with that toolchain's help (see the book)",
                args.path.display()
            )
            .into());
        }
    };
    let component = fs::read(&compiled).with_context(|| compiled.display().to_string())?;
    let component = inspect::embed_manifest(&component, &text)
        .with_context(|| format!("cannot put the manifest into {}", compiled.display()))?;

    let output = args.output.clone().unwrap_or_else(|| args.path.join(format!("{}.wasm", manifest.script.name)));
    fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
    if args.format.json {
        output::json(&json!({ "component": output, "bytes": component.len(), "manifest": manifest }))?;
    } else {
        let (name, version) = (&manifest.script.name, &manifest.script.version);
        let kib = component.len() / 1024;
        anstream::println!("{} {name} {version}: {} ({kib} KiB)", styled(BOLD, "built"), output.display());
    }
    Ok(Exit::Ok)
}

/// Compiles a Cargo package to a component. Cargo's own messages go to stderr as they come.
fn compile_rust(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = cargo
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("the script does not compile (see above); if the target is missing: rustup target add {TARGET}");
    }
    // The last artefact with a .wasm file is the package itself: Cargo reports dependencies first.
    let text = String::from_utf8_lossy(&output.stdout);
    let mut files =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).filter_map(|line| {
            let names = line.get("filenames")?.as_array()?.clone();
            names.iter().filter_map(|name| name.as_str()).find(|name| name.ends_with(".wasm")).map(PathBuf::from)
        });
    files.next_back().ok_or_else(|| {
        anyhow!("cargo made no .wasm file; the script's Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")
    })
}
