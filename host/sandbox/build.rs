//! Encodes the contract as a component type: what `inspect` compares a component with.
#![allow(
    clippy::expect_used,
    reason = "a build script that panics says why and ends the build, which is what is wanted"
)]

use std::{env, fs, path::PathBuf};

fn main() {
    let wit = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path(&wit).expect("the contract parses");
    let encoded = wit_component::encode(&resolve, package).expect("the contract encodes");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("contract.wasm"), encoded).expect("the build folder is writable");
}
