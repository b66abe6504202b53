//! Compiles the guest workspaces and writes one static for each component.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a build script that panics says why and ends the build, which is what is wanted"
)]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..").canonicalize().unwrap();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    // target/PROFILE/build/PACKAGE-HASH/out: both profiles share what is compiled for guests.
    let target = out.ancestors().nth(4).unwrap().join("guests");

    println!("cargo::rerun-if-changed={}", root.join("wit").display());
    require_target();
    let mut code = String::new();
    let mut workspaces = vec![("EXAMPLES", "guest-examples/rust")];
    if cfg!(feature = "adversarial") {
        workspaces.push(("MISBEHAVING", "tests/guests"));
    }
    for (list, folder) in workspaces {
        let workspace = root.join(folder);
        let guests = compile(&workspace, &target);
        #[cfg(feature = "adversarial")]
        let guests = match list {
            "MISBEHAVING" => {
                let all = guests.into_iter().chain(text::compile(&root, &out)).collect::<BTreeMap<_, _>>();
                code += &for_each(all.keys());
                all
            }
            _ => guests,
        };
        let mut names = Vec::new();
        for (name, component) in guests {
            let constant = name.to_uppercase().replace('-', "_");
            let manifest = workspace.join(&name).join("triggerbox.toml");
            let manifest = match manifest.exists() {
                true => format!("Some(include_str!({manifest:?}))"),
                false => "None".to_owned(),
            };
            writeln!(
                code,
                "/// `{folder}/{name}`\npub static {constant}: Guest = Guest {{ name: {name:?}, component: \
                 include_bytes!({component:?}), manifest: {manifest} }};"
            )
            .unwrap();
            names.push(format!("&{constant}"));
        }
        writeln!(code, "/// All components of `{folder}`.\npub static {list}: &[&Guest] = &[{}];", names.join(", "))
            .unwrap();
    }
    #[cfg(feature = "adversarial")]
    {
        code += &contracts::encode(&root, &out);
    }
    fs::write(out.join("guests.rs"), code).unwrap();
}

/// The first contract, and some that were never published, encoded: what a component comes to on a host of another one.
#[cfg(feature = "adversarial")]
mod contracts {
    use super::{Path, fs};

    pub(super) fn encode(root: &Path, out: &Path) -> String {
        let own = fs::read_to_string(root.join("wit/automation.wit")).unwrap();
        let start = own.find("interface state {").expect("the contract has it");
        let (before, state) = own.split_at(start);
        let (_, after) = state.split_once("\n}").expect("it ends");
        let stateless = format!("{before}{after}").replace("  import state;\n", "");
        let other_rows = own.replace("  record row {\n    id: u32,", "  record row {\n    id: u64,");
        assert_ne!(other_rows, own, "the contract has rows");
        let first = fs::read_to_string(root.join("wit/published/0.1.0/automation.wit")).unwrap();
        let contracts = [
            ("0.1.0", &first),
            ("0.1.1", &own),
            ("0.1.2", &own),
            ("0.2.0", &own),
            ("0.3.0", &stateless),
            ("0.4.0", &other_rows),
        ];
        let items = contracts.map(|(version, contract)| {
            let mut resolve = wit_parser::Resolve::default();
            let (before, after) =
                contract.split_once("package triggerbox:automation@").expect("the contract has a name");
            let (_, after) = after.split_once(';').expect("it ends");
            let contract = format!("{before}package triggerbox:automation@{version};{after}");
            let package = resolve.push_str("automation.wit", &contract).expect("it parses");
            let file = out.join(format!("contract-{version}.wasm"));
            fs::write(&file, wit_component::encode(&resolve, package).expect("it encodes")).unwrap();
            format!("({version:?}, include_bytes!({file:?}))")
        });
        format!(
            "/// The first contract, and some that were never published, encoded, by version: 0.3.0 has no `state`, and the \
             rows of 0.4.0 have other ids.\npub static CONTRACTS: &[(&str, &[u8])] = &[{}];\n",
            items.join(", ")
        )
    }
}

/// Installs the target where the toolchain lacks it: `rust-toolchain.toml` names it, but rustup adds the targets of that
/// file only when it installs the toolchain itself.
fn require_target() {
    let rustc = env::var_os("RUSTC").unwrap();
    let library = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output().unwrap();
    if Path::new(String::from_utf8(library.stdout).unwrap().trim()).exists() {
        return;
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).stdin(Stdio::null()).status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "this toolchain has no {TARGET}, and `rustup target add {TARGET}` failed; install the target and build again"
    );
}

/// Builds a workspace; component files by package name.
fn compile(workspace: &Path, target: &Path) -> BTreeMap<String, PathBuf> {
    // Folder by folder: a `target` in the workspace must not trigger a build.
    for entry in fs::read_dir(workspace).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "target") {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap());
    cargo.current_dir(workspace).args(["build", "--release", "--workspace", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]).arg("--target-dir").arg(target);
    // What concerns the host's own build must not leak into the guests'.
    for name in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(name);
    }
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(
        output.status.success(),
        "the scripts in {} do not compile; if the target is missing: rustup target add {TARGET}",
        workspace.display()
    );
    let messages = String::from_utf8(output.stdout).unwrap();
    let artefacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    artefacts
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
            let name = folder.file_name()?.to_str()?.to_owned();
            let files = message["filenames"].as_array()?.clone();
            let wasm = files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm"))?;
            folder.starts_with(workspace).then(|| (name, PathBuf::from(wasm)))
        })
        .collect()
}

/// A macro that calls a macro with each guest's name, so that a test file can insist on having a test for each.
#[cfg(feature = "adversarial")]
fn for_each<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let calls: String = names.map(|name| format!("$call!({});", name.replace('-', "_"))).collect();
    format!(
        "/// Calls a macro with the name of each guest of `tests/guests`, as an identifier.\n#[macro_export]\n\
         macro_rules! for_each_misbehaving {{ ($call:ident) => {{ {calls} }}; }}\n"
    )
}

/// Guests that are written as text: core modules in `tests/guests/wat` that export the contract's `run` in its
/// lowered form. They are built for the first published contract, so that each test of one shows, too, that what was built
/// for it still runs.
#[cfg(feature = "adversarial")]
mod text {
    use super::{BTreeMap, Path, PathBuf, fs};

    pub(super) fn compile(root: &Path, out: &Path) -> BTreeMap<String, PathBuf> {
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_path(root.join("wit/published/0.1.0")).unwrap();
        let world = resolve.select_world(&[package], Some("automation")).unwrap();
        let files = fs::read_dir(root.join("tests/guests/wat")).unwrap().map(|entry| entry.unwrap().path());
        files
            .map(|file| {
                let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
                let mut module = wat::parse_file(&file).unwrap();
                let utf8 = wit_component::StringEncoding::UTF8;
                wit_component::embed_component_metadata(&mut module, &resolve, world, utf8).unwrap();
                let encoder = wit_component::ComponentEncoder::default().validate(true).module(&module);
                let component = out.join(format!("{name}.wasm"));
                fs::write(&component, encoder.and_then(|mut encoder| encoder.encode()).expect(&name)).unwrap();
                (name, component)
            })
            .collect()
    }
}
