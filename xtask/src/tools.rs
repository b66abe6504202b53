//! Tools that are not libraries: installed at pinned versions into `target/tools`, once.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::step::{cargo, root, status};

const DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const MDBOOK: (&str, &str) = ("mdbook", "0.5.4");
const FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.2");

/// The path of an installed tool.
fn installed((name, version): (&str, &str)) -> Result<PathBuf> {
    let folder = root().join("target/tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.exists() {
        let folder = folder.to_string_lossy().into_owned();
        cargo(&["install", "--quiet", "--locked", "--root", &folder, "--version", version, name])?;
    }
    Ok(program)
}

/// Licences, bans and sources always; advisories where their database can be fetched.
pub fn deny() -> Result<()> {
    let program = installed(DENY)?;
    status(
        Command::new(&program).args(["--all-features", "check", "licenses", "bans", "sources"]).current_dir(root()),
    )?;
    let fetched = Command::new(&program).args(["fetch", "db"]).current_dir(root()).output()?.status.success();
    if !fetched {
        println!("advisories: not checked, the advisory database cannot be fetched from here");
        return Ok(());
    }
    status(Command::new(&program).args(["check", "advisories"]).current_dir(root()))
}

/// Builds the book.
pub fn book() -> Result<()> {
    status(Command::new(installed(MDBOOK)?).args(["build", "docs"]).current_dir(root()))
}

/// Runs each fuzz target for a number of executions, from a fixed seed.
pub fn fuzz(runs: u32) -> Result<()> {
    let program = installed(FUZZ)?;
    let mut targets: Vec<_> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .context("fuzz/fuzz_targets")?
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    targets.sort();
    for target in targets {
        let runs = format!("-runs={runs}");
        // The compiler's coverage instrumentation is an unstable flag of the stable compiler. No sanitizer:
        // the targets are safe Rust, and what is looked for are panics, hangs and unbounded memory.
        let mut command = Command::new(&program);
        command.args(["run", "--sanitizer", "none", &target, "--", &runs, "-seed=1", "-max_len=4096", "-timeout=10"]);
        command.args(["-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=0"]);
        status(command.env("RUSTC_BOOTSTRAP", "1").current_dir(root()))?;
    }
    Ok(())
}

/// The scripts' own unit tests and lints: they are a workspace of their own, compiled for WebAssembly.
pub fn guest_tests() -> Result<()> {
    let manifest = root().join("guest-examples/rust/Cargo.toml");
    let manifest = manifest.to_string_lossy();
    cargo(&["fmt", "--manifest-path", &manifest, "--all", "--check"])?;
    cargo(&["test", "--manifest-path", &manifest, "--workspace"])?;
    let target = "wasm32-wasip2";
    cargo(&["clippy", "--manifest-path", &manifest, "--workspace", "--target", target, "--", "-D", "warnings"])
}
