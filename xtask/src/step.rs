//! Runs commands, and says which step failed.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}

/// One named step: a line before it, its time after it, its name on failure.
pub(crate) fn run(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n=== {name}");
    let start = Instant::now();
    step().with_context(|| format!("step `{name}` failed"))?;
    println!("--- {name}: {} s", start.elapsed().as_secs());
    Ok(())
}

/// `cargo ARGS` in the workspace's folder.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    cargo_with(args, &[])
}

/// `cargo ARGS` with variables set.
pub(crate) fn cargo_with(args: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    status(cargo_command(args).envs(variables.iter().copied()))
}

/// `cargo test ARGS`; calls `running` when everything is compiled and the first test program runs. From then on cargo holds no
/// lock on the build folder.
pub(crate) fn cargo_test(args: &[&str], running: impl FnOnce()) -> Result<()> {
    let mut command = cargo_command(&[&["test"], args].concat());
    let shown = format!("{command:?}");
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    let mut running = Some(running);
    // In bytes: what tests say is not held to be text.
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')) {
        let line = line?;
        std::io::stderr().write_all(&[&line, &b"\n"[..]].concat())?;
        if line.trim_ascii_start().starts_with(b"Running ")
            && let Some(running) = running.take()
        {
            running();
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

/// One of this program's own steps as a process, beside others: what it says is shown in one piece, at its end.
pub(crate) fn beside(name: &str) -> Result<()> {
    let start = Instant::now();
    let output = Command::new(std::env::current_exe()?).arg(name).output().with_context(|| name.to_owned())?;
    let mut all = format!("\n=== {name}, beside the tests\n").into_bytes();
    all.extend([output.stdout, output.stderr].concat());
    all.extend(format!("--- {name}: {} s\n", start.elapsed().as_secs()).into_bytes());
    std::io::stdout().lock().write_all(&all)?;
    ensure!(output.status.success(), "step `{name}` failed");
    Ok(())
}

/// What cargo tells this program about its own package is not passed on: build scripts that look at such a variable would run
/// again whenever `cargo xtask` and plain `cargo` take turns, and with them half of the workspace.
fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end.
pub(crate) fn status(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}
