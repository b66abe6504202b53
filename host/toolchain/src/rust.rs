//! Rust, by Cargo.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{Error, Project, error::Doing};

/// What Rust scripts are compiled for.
const TARGET: &str = "wasm32-wasip2";

pub(crate) fn build(project: &Project) -> Result<Vec<u8>, Error> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let output = cargo.current_dir(&project.folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let hint = "install Rust from https://rustup.rs";
    let output = output.map_err(|source| Error::Missing { program: "cargo".to_owned(), hint, source })?;
    if !output.status.success() {
        return Err(Error::Compile { hint: "; if the target is missing: rustup target add wasm32-wasip2" });
    }
    // The last artefact with a .wasm file is the package itself: Cargo reports dependencies first.
    let text = String::from_utf8_lossy(&output.stdout);
    let mut files =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).filter_map(|line| {
            let names = line.get("filenames")?.as_array()?.clone();
            names.iter().filter_map(|name| name.as_str()).find(|name| name.ends_with(".wasm")).map(PathBuf::from)
        });
    let hint = "; cargo made no .wasm file: the script's Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`";
    let file = files.next_back().ok_or(Error::Compile { hint })?;
    fs::read(&file).doing("read", file)
}
