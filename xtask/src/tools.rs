//! Checks by tools. Those that are no part of the toolchain are installed at pinned versions into `target/tools`, once.

use std::{
    fs, iter,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

use anyhow::{Context, Result};

use crate::step::{self, cargo, cargo_with, root, status};

/// A tool from crates.io.
struct Tool {
    name: &'static str,
    version: &'static str,
    flags: &'static [&'static str],
}

const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", flags: &[] };
/// Without its server and its search: here it only has to build the book.
const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4", flags: &["--no-default-features"] };
const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", flags: &[] };

/// Workspaces besides the repository's own.
const OTHER_WORKSPACES: [&str; 3] = [GUESTS[0], GUESTS[1], "fuzz"];
/// The scripts' workspaces, and what they are compiled for. All of them compile into one folder, so that macros are compiled once.
const GUESTS: [&str; 2] = ["guest-examples/rust", "tests/guests"];
const GUEST_TARGET: &str = "wasm32-wasip2";
const GUEST_FOLDER: [&str; 2] = ["--target-dir", "target/guests"];

impl Tool {
    /// The tool's program; installs it where it is missing.
    fn installed(&self) -> Result<PathBuf> {
        let folder = root().join("target/tools").join(format!("{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if !program.exists() {
            println!("installing {} {}", self.name, self.version);
            // Unoptimised: compiling such a tool takes far longer than it runs.
            let mut install = Command::new("cargo");
            install.args(["install", "--quiet", "--locked", "--debug", "--root"]).arg(&folder);
            install.args(self.flags).args(["--version", self.version, self.name]);
            // Nobody looks into them with a debugger.
            install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
            status(install.env("CARGO_TARGET_DIR", tools_build()))?;
        }
        Ok(program)
    }
}

/// What tools are compiled in: a folder of their own, where what several of them are made of is compiled once.
fn tools_build() -> PathBuf {
    root().join("target/tools/build")
}

/// All tests: those that take compilers from PyPI and npm, which are installed below `target`, and those that kill. Another
/// selection would compile half of the workspace once more.
pub(crate) const ALL_TESTS: &str =
    "conformance/actions,triggerbox-automation/languages,triggerbox/languages,triggerbox-automation/failpoints";

/// What is done while tests run, for they leave much of a machine idle. Of fuzzing a short run: `cargo xtask soak` looks longer.
const BESIDE_TESTS: [&str; 5] = ["lints", "guests", "install", "fuzz", "deny"];

/// The host's tests, those of all languages included; or some of them.
pub(crate) fn tests(which: &[&str]) -> Result<()> {
    tests_with(which, &[])
}

/// The same, with variables set.
pub(crate) fn tests_with(which: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    cargo_with(&[&["test", "--workspace", "--features", ALL_TESTS], which].concat(), variables)
}

/// All tests, and beside them what does not need them.
pub(crate) fn tests_and_more() -> Result<()> {
    let (running, compiled) = mpsc::channel();
    std::thread::scope(|scope| {
        let beside = scope.spawn(move || match compiled.recv() {
            Ok(()) => BESIDE_TESTS.iter().try_for_each(|step| step::beside(step)),
            // The tests do not compile; they say so.
            Err(mpsc::RecvError) => Ok(()),
        });
        // `target/cargo-timings` says what compiling which crate takes.
        let tests = step::cargo_test(&["--workspace", "--features", ALL_TESTS, "--timings"], move || {
            let _ = running.send(());
        });
        let beside = beside.join().map_err(|_| anyhow::anyhow!("a step beside the tests broke off"))?;
        tests.and(beside)
    })
}

/// Installs what later steps need.
pub(crate) fn install() -> Result<()> {
    [MDBOOK, DENY, FUZZ].iter().try_for_each(|tool| tool.installed().map(drop))?;
    // What they were compiled from is of no further use.
    match fs::remove_dir_all(tools_build()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("target/tools/build"),
        _ => Ok(()),
    }
}

/// Formatting of all workspaces.
pub(crate) fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    OTHER_WORKSPACES
        .iter()
        .try_for_each(|folder| cargo(&["fmt", "--all", "--check", "--manifest-path", &manifest(folder)]))
}

/// The linter, for the host and for scripts.
pub(crate) fn lints() -> Result<()> {
    // The tests' own selection: another one would have its dependencies checked once more.
    cargo(&["clippy", "--workspace", "--all-targets", "--features", ALL_TESTS, "--", "-D", "warnings"])?;
    GUESTS.iter().try_for_each(|folder| {
        let manifest = manifest(folder);
        let what = ["--workspace", "--manifest-path", &manifest, "--target", GUEST_TARGET];
        cargo(&[&["clippy"], &what[..], &GUEST_FOLDER, &["--", "-D", "warnings"]].concat())
    })
}

/// The scripts' own unit tests: what needs no host runs natively.
pub(crate) fn guest_tests() -> Result<()> {
    cargo(&[&["test", "--workspace", "--manifest-path", &manifest("guest-examples/rust")], &GUEST_FOLDER[..]].concat())
}

/// What the benchmarks need besides: the components of Odoo's server actions.
const BENCHES: &str = "triggerbox-automation/languages";

/// The benchmarks; the sandbox's also on the first example of each language, so that their ratios stand below each other.
pub(crate) fn bench() -> Result<()> {
    cargo(&["build", "--release", "--workspace", "--features", BENCHES])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder));
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let mut named = Vec::new();
    for language in ["python", "typescript", "javascript", "c", "zig", "go"] {
        let component = folder.join(format!("{language}.wasm"));
        let mut build = Command::new(target.join("release/triggerbox"));
        build.arg("build").arg(root().join("guest-examples").join(language).join("high-value-order"));
        if std::env::var_os("TRIGGERBOX_TOOLS").is_none() {
            build.env("TRIGGERBOX_TOOLS", root().join("target/tools"));
        }
        status(build.arg("--output").arg(&component))?;
        named.push(format!("{language}={}", component.display()));
    }
    let variables = [("SANDBOX_BENCH_COMPONENTS", named.join(","))];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    cargo_with(&["bench", "--workspace", "--benches", "--features", BENCHES], &variables)
}

/// Kills a store while it commits, and an engine at work.
pub(crate) fn kills(store: u32, engine: u32) -> Result<()> {
    let kill = |test: &str, times: u32| {
        tests_with(&["--test", test, "--", "--nocapture"], &[("TRIGGERBOX_KILLS", &times.to_string())])
    };
    kill("kill", store)?;
    kill("kill_engine", engine)
}

/// Licences, bans and sources of all workspaces always; advisories where their database can be fetched.
pub(crate) fn deny() -> Result<()> {
    let program = DENY.installed()?;
    let check = |what: &[&str]| {
        iter::once(".").chain(OTHER_WORKSPACES).try_for_each(|folder| {
            let mut check = Command::new(&program);
            check
                .arg("--manifest-path")
                .arg(manifest(folder))
                .arg("--config")
                .arg(root().join("deny.toml"))
                .arg("check");
            status(check.args(what).current_dir(root()))
        })
    };
    check(&["licenses", "bans", "sources"])?;
    let fetched = Command::new(&program).args(["fetch", "db"]).current_dir(root()).output()?.status.success();
    if !fetched {
        println!("advisories: not checked, the advisory database cannot be fetched from here");
        return Ok(());
    }
    check(&["advisories"])
}

/// Builds the book.
pub(crate) fn mdbook() -> Result<()> {
    status(Command::new(MDBOOK.installed()?).args(["build", "docs"]).current_dir(root()))
}

/// Runs each fuzz target for a number of executions, from a fixed seed.
pub(crate) fn fuzz(runs: u32) -> Result<()> {
    let program = FUZZ.installed()?;
    let mut targets: Vec<_> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .context("fuzz/fuzz_targets")?
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    targets.sort();
    for target in targets {
        let runs = format!("-runs={runs}");
        // What it begins with, and what such texts are made of; what it finds is written to the first folder.
        let fuzz = Path::new("fuzz");
        let found = fuzz.join("corpus").join(&target);
        fs::create_dir_all(root().join(&found)).with_context(|| found.display().to_string())?;
        let given = [found, fuzz.join("seeds").join(&target)];
        let dictionary = fuzz.join("dictionaries").join(&target).with_extension("dict");
        // The compiler's coverage instrumentation is an unstable flag of the stable compiler. No sanitizer:
        // the targets are safe Rust, and what is looked for are panics, hangs and unbounded memory.
        let mut command = Command::new(&program);
        command.args(["run", "--sanitizer", "none", &target]);
        command.args(given.iter().filter(|folder| root().join(folder).exists()));
        command.args(["--", &runs, "-seed=1", "-max_len=16384", "-timeout=10"]);
        if root().join(&dictionary).exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        command.args(["-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=0", "-print_funcs=0"]);
        status(command.env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO_TARGET_DIR").current_dir(root()))?;
    }
    Ok(())
}

fn manifest(folder: &str) -> String {
    root().join(folder).join(Path::new("Cargo.toml")).to_string_lossy().into_owned()
}
