//! `triggerbox check`: what a component is, what it asks for, and whether this host can run it.

use std::{
    fs::File,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::json;
use triggerbox_model::{grants::Grant, limits::Unit, manifest::Manifest};
use triggerbox_sandbox::inspect::{ImportStatus, Inspection, MAX_BYTES, Tool, inspect};

use crate::{
    args::CheckArgs,
    commands::script,
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
};

/// What a trial compilation came to.
enum Trial {
    /// It was not asked for, or there is nothing that could be compiled.
    Skipped,
    /// It compiles and fits the contract.
    Compiled(Duration),
    /// It does not.
    Refused(String),
}

pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let (bytes, size) = read(&args.component)?;
    let inspection = Inspection { size, ..inspect(&bytes) };
    let trial = match args.no_compile || !inspection.ok {
        true => Trial::Skipped,
        false => compile(&bytes)?,
    };
    let ok = inspection.ok && !matches!(trial, Trial::Refused(_));
    if args.format.json {
        let trial = match &trial {
            Trial::Skipped => json!({ "compiled": null }),
            Trial::Compiled(time) => json!({ "compiled": true, "milliseconds": time.as_millis() }),
            Trial::Refused(problem) => json!({ "compiled": false, "problem": problem }),
        };
        output::json(&json!({ "ok": ok, "inspection": inspection, "trial": trial }))?;
    } else {
        print(&args.component, &inspection, &trial);
    }
    Ok(if ok { Exit::Ok } else { Exit::InvalidComponent })
}

/// A file's bytes, up to just more than a component may have, and its size: what is larger is refused by its size alone.
fn read(path: &Path) -> Result<(Vec<u8>, u64), Failure> {
    let read = || -> std::io::Result<_> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes, size))
    };
    Ok(read().with_context(|| format!("cannot read {}", path.display()))?)
}

/// Compiles anew, past the cache: this is about the component, not about what was kept of it.
fn compile(bytes: &[u8]) -> Result<Trial, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let sandbox = script::sandbox(1)?;
    let start = Instant::now();
    Ok(match runtime.block_on(sandbox.prepare(bytes, None, &script::compiler()?)) {
        Ok(_) => Trial::Compiled(start.elapsed()),
        Err(error) => Trial::Refused(error.to_string()),
    })
}

fn print(path: &Path, inspection: &Inspection, trial: &Trial) {
    let verdict = match inspection.ok && !matches!(trial, Trial::Refused(_)) {
        true => styled(GREEN, "ok"),
        false => styled(RED, "not usable"),
    };
    anstream::println!("{} {verdict}", styled(BOLD, path.display()));
    for problem in &inspection.problems {
        anstream::println!("  {} {}", styled(RED, "problem:"), printable(&problem.message));
    }
    for warning in &inspection.warnings {
        anstream::println!("  {} {}", styled(YELLOW, "warning:"), printable(&warning.message));
    }
    match trial {
        Trial::Skipped => {}
        Trial::Compiled(time) => anstream::println!("  compiles in {} ms", time.as_millis()),
        Trial::Refused(problem) => anstream::println!("  {} {}", styled(RED, "problem:"), printable(problem)),
    }
    anstream::println!("  {}{}", output::amount(Unit::Bytes, inspection.size), symbols(inspection));
    if !inspection.toolchain.is_empty() {
        // The version's number without what follows it, commits and dates.
        let short = |tool: &Tool| {
            let number = tool.version.split(' ').next().unwrap_or_default();
            format!("{} {number}", tool.name).trim_end().to_owned()
        };
        let tools: Vec<_> = inspection.toolchain.iter().map(short).collect();
        anstream::println!("  made by {}", printable(&tools.join(", ")));
    }
    if let Some(manifest) = &inspection.manifest {
        print_manifest(manifest);
    }
    print_imports(inspection);
}

fn symbols(inspection: &Inspection) -> &'static str {
    match (inspection.debug_info, inspection.names) {
        _ if inspection.exports.is_empty() => "",
        (true, _) => ", with debug information: backtraces have lines",
        (false, true) => ", with names: backtraces have functions, but no lines",
        (false, false) => ", without names: backtraces will say nothing",
    }
}

fn print_manifest(manifest: &Manifest) {
    let info = &manifest.script;
    anstream::println!("\n{} {}", styled(BOLD, &info.name), printable(&info.version));
    if !info.description.is_empty() {
        anstream::println!("  {}", printable(&info.description));
    }
    for grant in &manifest.grants.0 {
        anstream::println!("  may {}", ask(grant));
    }
    for (limit, max) in &manifest.limits.0 {
        anstream::println!("  limit {limit}: {}", output::amount(limit.spec().unit, *max));
    }
    for parameter in &manifest.parameters {
        let default = parameter.default.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        let kind = format!("{:?}", parameter.kind).to_lowercase();
        let line = format!("parameter {} ({kind}){default}  {}", parameter.name, parameter.help);
        anstream::println!("  {}", printable(line.trim_end()));
    }
}

/// `read, write crm.lead: name, priority`
fn ask(grant: &Grant) -> String {
    let list = |items: &mut dyn Iterator<Item = &str>| items.collect::<Vec<_>>().join(", ");
    let operations = list(&mut grant.operations.iter().map(|operation| operation.name()));
    let names = list(&mut grant.fields.iter().chain(&grant.methods).map(String::as_str));
    let mut text = format!("{operations} {}", grant.model);
    if !names.is_empty() {
        text += &format!(": {names}");
    }
    if let Some(domain) = &grant.domain {
        text += &format!(" where {domain}");
    }
    printable(&text)
}

fn print_imports(inspection: &Inspection) {
    if inspection.imports.is_empty() {
        return;
    }
    anstream::println!("\n{}", styled(BOLD, "imports"));
    // Components also import the types that their functions use; a type has no version, and needs nothing of the host.
    let interfaces = inspection.imports.iter();
    for import in interfaces.filter(|import| import.name.contains(':') || import.status != ImportStatus::Offered) {
        let status = match import.status {
            ImportStatus::Offered => styled(DIM, "offered"),
            ImportStatus::Denied => styled(YELLOW, "denied "),
            ImportStatus::Missing => styled(RED, "missing"),
        };
        let note = import.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        anstream::println!("  {status} {}{}", printable(&import.name), printable(&note));
    }
}
