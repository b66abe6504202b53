//! `triggerbox check`: what a component is, what it asks for, and whether this host can run it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use serde_json::json;
use triggerbox_model::{
    grants::{Grant, Need},
    limits::Unit,
    manifest::Manifest,
};
use triggerbox_sandbox::{
    CompileError, ScriptError,
    inspect::{Compatibility, Fit, ImportStatus, Inspection, Tool, compatibility, inspect},
};
use triggerbox_workbench::{
    lint::{Finding, Known, Severity, Start, lint, sarif, start},
    scenario::{self, BadScenario, Bench, FOLDER, ScenarioFile},
};
use url::Url;

use crate::{
    args::{CheckArgs, CheckFormat, Deny},
    commands::script,
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
};

/// What a trial came to.
enum Trial {
    /// It was not asked for, or there is nothing that could be compiled.
    Skipped,
    /// It compiles and fits the contract, and starts so.
    Compiled { time: Duration, start: Start },
    /// It does not.
    Refused(String),
}

/// What was tried, and what its scenarios told.
struct Tried {
    trial: Trial,
    needed: Option<Vec<Need>>,
    broken: Vec<BadScenario>,
}

impl From<Trial> for Tried {
    fn from(trial: Trial) -> Self {
        Self { trial, needed: None, broken: Vec::new() }
    }
}

pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let bytes = script::read(&args.component)?;
    let inspection = inspect(&bytes);
    // Of what is too large not all was read.
    let size = fs::metadata(&args.component).map_or(inspection.size, |file| file.len().max(inspection.size));
    let inspection = Inspection { size, ..inspection };
    let Tried { trial, needed, broken } = match args.no_compile || !inspection.ok {
        true => Trial::Skipped.into(),
        false => attempt(args, &bytes, inspection.manifest.as_ref())?,
    };
    let (start, refused) = match &trial {
        Trial::Skipped => (None, None),
        Trial::Compiled { start, .. } => (Some(start), None),
        Trial::Refused(why) => (None, Some(why.as_str())),
    };
    let findings = lint(&Known { inspection: &inspection, start, refused, needed: needed.as_deref(), broken: &broken });
    let compatibility = match args.compat.then(|| compatibility(&bytes)) {
        None => Vec::new(),
        Some(Ok(versions)) => versions,
        // What is no component is told already.
        Some(Err(_)) if inspection.refusal().is_some() => Vec::new(),
        Some(Err(problem)) => Err(anyhow!(problem.message)).or_exit(Exit::InvalidComponent)?,
    };
    let ok = inspection.ok && !matches!(trial, Trial::Refused(_));
    let checked = Checked { args, inspection, trial, findings, compatibility, ok };
    checked.print()?;
    Ok(checked.exit())
}

/// All that was found out.
struct Checked<'a> {
    args: &'a CheckArgs,
    inspection: Inspection,
    trial: Trial,
    findings: Vec<Finding>,
    compatibility: Vec<Compatibility>,
    ok: bool,
}

impl Checked<'_> {
    fn exit(&self) -> Exit {
        let denied = match self.args.deny {
            None => Severity::Error,
            Some(Deny::Warnings) => Severity::Warning,
            Some(Deny::Notes) => Severity::Note,
        };
        match self.ok {
            false => Exit::InvalidComponent,
            true if self.findings.iter().any(|finding| finding.severity >= denied) => Exit::ScriptFailed,
            true => Exit::Ok,
        }
    }

    fn print(&self) -> Result<(), Failure> {
        if let Some(path) = &self.args.sarif {
            let text = serde_json::to_string_pretty(&self.sarif())? + "\n";
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        match if self.args.json { CheckFormat::Json } else { self.args.format } {
            CheckFormat::Text => print(self),
            CheckFormat::Sarif => output::json(&self.sarif())?,
            CheckFormat::Json => {
                let trial = match &self.trial {
                    Trial::Skipped => json!({ "compiled": null }),
                    Trial::Compiled { time, start } => json!({
                        "compiled": true, "milliseconds": time.as_millis(),
                        "start": { "microseconds": start.durations.instantiate.as_micros(), "memory": start.memory },
                    }),
                    Trial::Refused(problem) => json!({ "compiled": false, "problem": problem }),
                };
                output::json(&json!({ "ok": self.ok, "inspection": self.inspection, "trial": trial,
                    "findings": self.findings, "compatibility": self.compatibility }))?;
            }
        }
        Ok(())
    }

    fn sarif(&self) -> impl serde::Serialize {
        let manifest = self.args.component.with_file_name("triggerbox.toml");
        let text = fs::read_to_string(&manifest).ok();
        let manifest = text.as_ref().map(|text| (uri(&manifest), text.as_str()));
        sarif(&uri(&self.args.component), manifest.as_ref().map(|(uri, text)| (uri.as_str(), *text)), &self.findings)
    }
}

/// A file as code hosts look for it: from the working folder, escaped as a part of an address.
fn uri(path: &Path) -> String {
    let relative = || {
        let file = Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
        let folder = Url::from_directory_path(std::env::current_dir().ok()?).ok()?;
        // Of another drive, there is only the whole.
        Some(folder.make_relative(&file).unwrap_or_else(|| file.into()))
    };
    relative().unwrap_or_else(|| path.to_string_lossy().replace('\\', "/"))
}

/// The scenarios to run. A folder that was named has some.
fn scenarios(args: &CheckArgs) -> Result<Vec<PathBuf>, Failure> {
    let folder = args.scenarios.clone().unwrap_or_else(|| args.component.with_file_name(FOLDER));
    let files = scenario::files(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    match args.scenarios.is_some() && files.is_empty() {
        true => Err(anyhow!("there is no scenario in {}", folder.display()).into()),
        false => Ok(files),
    }
}

/// Compiles anew, past the cache: this is about the component, not about what was kept of it. Then starts it, and runs its
/// scenarios for the rights that they need.
fn attempt(args: &CheckArgs, bytes: &[u8], manifest: Option<&Manifest>) -> Result<Tried, Failure> {
    let files = scenarios(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let sandbox = script::sandbox(1)?;
    let begin = Instant::now();
    let script = match runtime.block_on(sandbox.prepare(bytes, None, &script::compiler()?)) {
        Ok(script) => script,
        // Nothing is said of the component by a machine that cannot compile any.
        Err(error @ ScriptError::Child(CompileError::Failed(_))) => return Err(error).or_exit(Exit::Backend),
        Err(error) => return Ok(Trial::Refused(error.to_string()).into()),
    };
    let time = begin.elapsed();
    let start = runtime.block_on(start(&script));
    let trial = Trial::Compiled { time, start };
    let Some(manifest) = manifest.filter(|_| !files.is_empty()) else { return Ok(trial.into()) };
    let bench = Bench { script, manifest: manifest.clone() };
    let (mut needed, mut broken) = (Some(Vec::<Need>::new()), Vec::new());
    for file in files {
        match ScenarioFile::read(&file).and_then(|file| runtime.block_on(bench.play(&file))) {
            Ok(played) => needed = needed.zip(played.needs).map(|(all, more)| [all, more].concat()),
            Err(scenario) => broken.push(scenario),
        }
    }
    // What those need that cannot be run, nobody knows.
    let needed = needed.filter(|_| broken.is_empty());
    Ok(Tried { trial, needed, broken })
}

fn print(checked: &Checked<'_>) {
    let inspection = &checked.inspection;
    let verdict = if checked.ok { styled(GREEN, "ok") } else { styled(RED, "not usable") };
    outln!("{} {verdict}", styled(BOLD, checked.args.component.display()));
    for finding in &checked.findings {
        print_finding(finding);
    }
    if let Trial::Compiled { time, start } = &checked.trial {
        let (millis, micros) = (time.as_millis(), start.durations.instantiate.as_micros());
        let memory = output::amount(Unit::Bytes, start.memory);
        outln!("  compiles in {millis} ms, starts in {micros} µs with {memory} of memory");
    }
    outln!("  {}{}", output::amount(Unit::Bytes, inspection.size), symbols(inspection));
    if !inspection.toolchain.is_empty() {
        // The version's number without what follows it, commits and dates.
        let short = |tool: &Tool| {
            let number = tool.version.split(' ').next().unwrap_or_default();
            format!("{} {number}", tool.name).trim_end().to_owned()
        };
        let tools: Vec<_> = inspection.toolchain.iter().map(short).collect();
        outln!("  made by {}", printable(&tools.join(", ")));
    }
    if let Some(manifest) = &inspection.manifest {
        print_manifest(manifest);
    }
    print_imports(inspection);
    if !checked.compatibility.is_empty() {
        outln!("\n{}", styled(BOLD, "versions of the contract"));
    }
    for version in &checked.compatibility {
        let style = if version.fit == Fit::Runs { GREEN } else { YELLOW };
        outln!("  {} {}", version.version, styled(style, version.fit.describe()));
        version.problems.iter().for_each(|problem| outln!("    {}", printable(problem)));
    }
}

fn print_finding(finding: &Finding) {
    let style = match finding.severity {
        Severity::Error => {
            return outln!("  {} {}", styled(RED, "problem:"), printable(&finding.message));
        }
        Severity::Warning => YELLOW,
        Severity::Note => DIM,
    };
    let name = format!("{}[{}]:", finding.severity.name(), finding.code);
    outln!("  {} {}", styled(style, name), printable(&finding.message));
    outln!("    {}", styled(DIM, finding.help));
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
    outln!("\n{} {}", styled(BOLD, &info.name), printable(&info.version));
    if !info.description.is_empty() {
        outln!("  {}", printable(&info.description));
    }
    for grant in &manifest.grants.0 {
        outln!("  may {}", ask(grant));
    }
    for (limit, max) in &manifest.limits.0 {
        outln!("  limit {limit}: {}", output::amount(limit.spec().unit, *max));
    }
    for parameter in &manifest.parameters {
        let default = parameter.default.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        let kind = format!("{:?}", parameter.kind).to_lowercase();
        let line = format!("parameter {} ({kind}){default}  {}", parameter.name, parameter.help);
        outln!("  {}", printable(line.trim_end()));
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
    outln!("\n{}", styled(BOLD, "imports"));
    // Components also import the types that their functions use; a type has no version, and needs nothing of the host.
    let interfaces = inspection.imports.iter();
    for import in interfaces.filter(|import| import.name.contains(':') || import.status != ImportStatus::Offered) {
        let status = match import.status {
            ImportStatus::Offered => styled(DIM, "offered"),
            ImportStatus::Denied => styled(YELLOW, "denied "),
            ImportStatus::Missing => styled(RED, "missing"),
        };
        let note = import.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        outln!("  {status} {}{}", printable(&import.name), printable(&note));
    }
}
