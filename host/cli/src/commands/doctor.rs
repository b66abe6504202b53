//! `triggerbox doctor`: small diagnoses of this machine, each with what to do.

use std::{path::Path, process::Command};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use triggerbox_sandbox::{Allocation, Cache, Pool, Sandbox};
use triggerbox_store::db::Database;
use triggerbox_toolchain::{
    Workshop, clients,
    versions::{Registry, TOOLCHAINS},
    workshop::TOOLS_VARIABLE,
};

use crate::{
    args::DoctorArgs,
    commands::script,
    exit::{Exit, Failure},
    output::{self, GREEN, RED, YELLOW, styled},
};

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could, or something that only some commands need is missing.
    Warning,
    /// Does not work.
    Problem,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Diagnosis {
    name: &'static str,
    level: Level,
    text: String,
}

type Finding = (Level, String);
type Check = (&'static str, fn() -> Finding);

pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let checks: [Check; 9] = [
        ("engine", engine),
        ("compiling", compiling),
        ("cache", cache),
        ("backend", backend),
        ("time zones", time_zones),
        ("rust", rust),
        ("python", python),
        ("node", node),
        ("compilers", compilers),
    ];
    let findings: Vec<_> = checks
        .into_iter()
        .map(|(name, check)| {
            let (level, text) = check();
            Diagnosis { name, level, text }
        })
        .collect();
    if args.format.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let mark = match finding.level {
                Level::Ok => styled(GREEN, "ok     "),
                Level::Warning => styled(YELLOW, "warning"),
                Level::Problem => styled(RED, "problem"),
            };
            outln!("{mark} {:<11} {}", finding.name, finding.text);
        }
    }
    Ok(if findings.iter().any(|finding| finding.level == Level::Problem) { Exit::Backend } else { Exit::Ok })
}

fn engine() -> Finding {
    match Sandbox::new(&Pool { live: 1, ..Pool::default() }).map(|sandbox| sandbox.allocation()) {
        Ok(Allocation::Pooling) => (Level::Ok, "runs get their memory from a pool".to_owned()),
        Ok(Allocation::OnDemand) => (
            Level::Warning,
            "the address space is limited, so each run maps its own memory; raise `ulimit -v` for speed".to_owned(),
        ),
        Err(error) => (Level::Problem, format!("WebAssembly does not run here: {error}")),
    }
}

/// The smallest component: no imports, no exports.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn compiling() -> Finding {
    let compiled = script::compiler().and_then(|compiler| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(compiler.compile(EMPTY_COMPONENT))?)
    });
    match compiled {
        Ok(_) => (Level::Ok, "components compile in a process with bounds".to_owned()),
        Err(error) => (Level::Problem, format!("components cannot be compiled: {error:#}")),
    }
}

fn cache() -> Finding {
    let Some((folder, key)) = script::cache_paths() else {
        return (
            Level::Warning,
            "there is no home folder; set TRIGGERBOX_CACHE to a folder to keep compiled scripts".to_owned(),
        );
    };
    match Cache::open(&folder, &key) {
        Ok(_) => (Level::Ok, format!("compiled scripts are kept in {}", folder.display())),
        Err(error) => (Level::Warning, format!("compiled scripts are not kept: {error}")),
    }
}

fn backend() -> Finding {
    match Database::demo_in_memory(Timestamp::now()) {
        Ok(_) => (Level::Ok, "the embedded backend works".to_owned()),
        Err(error) => (Level::Problem, format!("the embedded backend does not work: {error}")),
    }
}

fn time_zones() -> Finding {
    match TimeZone::get("Europe/Brussels") {
        Ok(_) => (Level::Ok, "time zones are known".to_owned()),
        Err(error) => (Level::Problem, format!("time zones are not known: {error}")),
    }
}

fn rust() -> Finding {
    let install = "to write scripts in Rust, install it from https://rustup.rs";
    let Ok(output) = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output()
    else {
        return (Level::Warning, format!("rustc is not found; {install}"));
    };
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() && Path::new(&folder).exists() {
        true => (Level::Ok, "scripts in Rust can be built".to_owned()),
        false => (Level::Warning, "the target is missing: rustup target add wasm32-wasip2".to_owned()),
    }
}

fn python() -> Finding {
    match clients(Registry::PyPi) {
        Ok(found) => (Level::Ok, format!("scripts in Python, C, C++, Zig and Go can be built: {found}")),
        Err(problem) => (Level::Warning, format!("to write scripts in Python, C, C++, Zig or Go: {problem}")),
    }
}

fn node() -> Finding {
    match clients(Registry::Npm) {
        Ok(found) => (Level::Ok, format!("scripts in JavaScript and TypeScript can be built: {found}")),
        Err(problem) => (Level::Warning, format!("to write scripts in JavaScript or TypeScript: {problem}")),
    }
}

/// Which compilers are there already; the others are installed at a script's first build.
fn compilers() -> Finding {
    let Some(tools) = Workshop::shared_tools() else {
        let text =
            format!("each script's folder gets its own at its first build; {TOOLS_VARIABLE} names a folder for all");
        return (Level::Ok, text);
    };
    let states = TOOLCHAINS.map(|(toolchain, languages)| {
        let there = if tools.join(toolchain.folder()).exists() { "installed" } else { "installed when it is needed" };
        format!("{} for {languages} ({there})", toolchain.label())
    });
    (Level::Ok, format!("in {}: {}", tools.display(), states.join("; ")))
}
