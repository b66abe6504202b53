//! Runs commands, and says which step failed.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

/// The workspace's folder.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}

/// One named step: a line before it, its time after it, its name on failure.
pub fn run(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n=== {name}");
    let start = Instant::now();
    step().with_context(|| format!("step `{name}` failed"))?;
    println!("--- {name}: {} s", start.elapsed().as_secs());
    Ok(())
}

/// `cargo ARGS` in the workspace's folder.
pub fn cargo(args: &[&str]) -> Result<()> {
    cargo_with(args, &[])
}

/// `cargo ARGS` with variables set.
///
/// What cargo tells this program about its own package is not passed on: build scripts that look at such a variable would run
/// again whenever `cargo xtask` and plain `cargo` take turns, and with them half of the workspace.
pub fn cargo_with(args: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    command.args(args).envs(variables.iter().copied()).current_dir(root());
    status(&mut command)
}

/// Runs a command to its end.
pub fn status(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}
