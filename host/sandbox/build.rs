//! Encodes the contract as a component type: what `inspect` compares a component with. Each published version, too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a build script that panics says why and ends the build, which is what is wanted"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    let wit = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let version = encode(&wit, &out.join("contract.wasm"));

    let published = fs::read_dir(wit.join("published")).expect("wit/published is there");
    let mut versions: Vec<_> = published.map(|entry| entry.expect("it can be read").path()).collect();
    versions.sort();
    let mut list = Vec::new();
    for folder in versions {
        let file = out.join(format!("contract-{}.wasm", folder.file_name().expect("a version").to_string_lossy()));
        list.push((encode(&folder, &file), file));
    }
    if !list.iter().any(|(known, _)| *known == version) {
        list.push((version.clone(), out.join("contract.wasm")));
    }
    let items = list.iter().map(|(version, file)| format!("({version:?}, include_bytes!({file:?}))"));
    let items = items.collect::<Vec<_>>().join(", ");
    let code = format!(
        "/// The version of this host's contract.\npub const VERSION: &str = {version:?};\n\
         /// Every published version of the contract, the oldest first, and this host's own.\n\
         pub(super) const VERSIONS: &[(&str, &[u8])] = &[{items}];\n"
    );
    fs::write(out.join("contracts.rs"), code).expect("the build folder is writable");
}

/// Encodes the package in a folder; its version.
fn encode(folder: &Path, to: &Path) -> String {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path(folder).expect("the contract parses");
    let encoded = wit_component::encode(&resolve, package).expect("the contract encodes");
    fs::write(to, encoded).expect("the build folder is writable");
    let version = resolve.packages[package].name.version.as_ref();
    version.expect("the contract has a version").to_string()
}
