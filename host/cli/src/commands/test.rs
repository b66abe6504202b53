//! `triggerbox test`: a script's scenarios.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, anyhow};
use serde_json::json;
use triggerbox_model::limits::{Limit, Unit};
use triggerbox_odoo::Backend;
use triggerbox_sandbox::Sandbox;
use triggerbox_workbench::{
    report::{self, Tested, Tried},
    scenario::{self, BadScenario, Bench, FOLDER, Played, ScenarioFile, bless::blessed, odoo::OnOdoo},
};

use crate::{
    args::{Common, Format, TestArgs, TestFormat},
    commands::{build, odoo, runs, script, watch::Watch},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
};

pub(crate) fn run(args: &TestArgs) -> Result<Exit, Failure> {
    if let Some(run) = args.from_run {
        return from_run(args, run);
    }
    if !args.watch {
        return once(args);
    }
    let watch = watch(args)?;
    loop {
        if let Err(Failure { error, .. }) = once(args) {
            output::failed(&error);
        }
        outln!("{}", styled(DIM, "waiting for changes"));
        watch.wait()?;
    }
}

/// Watches the script's folder or the component, and the scenarios where they are elsewhere.
fn watch(args: &TestArgs) -> anyhow::Result<Watch> {
    let watch = match args.path.is_dir() {
        true => Watch::new(&args.path)?,
        false => Watch::new(parent(&args.path))?.with_component(args.path.file_name().unwrap_or_default()),
    };
    match &args.scenarios {
        Some(folder) => watch.and(folder),
        None => Ok(watch),
    }
}

fn once(args: &TestArgs) -> Result<Exit, Failure> {
    let component = component(&args.path)?;
    let folder = scenarios(args);
    let place = match &args.odoo {
        Some(config) => On::Odoo(odoo::open_for_runs(config)?),
        None => On::Memory { bless: args.bless },
    };
    let tried = try_all(&component, &folder, args.only.as_deref(), &place)?;
    print(args, &tried)?;
    Ok(exit(&tried.tests))
}

/// The component to test: a folder is built first.
fn component(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() { Ok(build::build(path, None)?.path) } else { Ok(path.to_owned()) }
}

fn scenarios(args: &TestArgs) -> PathBuf {
    let beside = if args.path.is_dir() { args.path.clone() } else { parent(&args.path).to_owned() };
    // Without a leading `./`: places in files are shown as people write them.
    let beside = beside.strip_prefix(".").map_or_else(|_| beside.clone(), Path::to_path_buf);
    args.scenarios.clone().unwrap_or_else(|| beside.join(FOLDER))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What came of a script's scenarios.
pub(crate) struct All {
    /// The script's name.
    pub(crate) script: String,
    /// In the order of their names.
    pub(crate) tests: Vec<Tested>,
}

/// Where scenarios take place.
pub(crate) enum On {
    /// In memory; what came may be written into their files.
    Memory { bless: bool },
    /// On a server.
    Odoo(Arc<Backend>),
}

/// Runs the scenarios of a folder on a component.
pub(crate) fn try_all(component: &Path, folder: &Path, only: Option<&str>, place: &On) -> Result<All, Failure> {
    let bytes = script::read(component)?;
    let files = scenario::files(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let wanted = |path: &PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        only.is_none_or(|part| name.contains(part))
    };
    let files: Vec<_> = files.into_iter().filter(wanted).collect();
    if files.is_empty() {
        let which = only.map(|part| format!(" with `{part}` in its name")).unwrap_or_default();
        let folder = folder.display();
        return Err(anyhow!("there is no scenario{which} in {folder}; write one, such as {folder}/first.toml").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let sandbox: Sandbox = script::sandbox(1)?;
    let loaded = runtime.block_on(script::load(&sandbox, &bytes))?;
    let name = loaded.manifest.script.name.clone();
    let bench = Bench { script: loaded.script, manifest: loaded.manifest };
    if let On::Odoo(backend) = place {
        let swept = runtime.block_on(scenario::odoo::sweep(backend)).or_exit(Exit::Backend)?;
        if swept > 0 {
            errln!("{} {swept} records that an earlier test left in odoo", styled(YELLOW, "removed"));
        }
    }
    let tests = files.iter().map(|path| {
        let tested = ScenarioFile::read(path).and_then(|file| runtime.block_on(try_one(&bench, &file, place)));
        tested.unwrap_or_else(|error| Tested::broken(&error))
    });
    Ok(All { script: name, tests: tests.collect() })
}

async fn try_one(bench: &Bench, file: &ScenarioFile, place: &On) -> Result<Tested, BadScenario> {
    let start = Instant::now();
    let (played, bless) = match place {
        On::Memory { bless } => (OnOdoo::Played(Box::new(bench.play(file).await?)), *bless),
        On::Odoo(backend) => (bench.play_on(backend, file).await?, false),
    };
    let mut played = match played {
        OnOdoo::Played(played) => *played,
        OnOdoo::Skipped(why) => {
            let (name, path, time) = (file.name.clone(), file.path.clone(), start.elapsed());
            return Ok(Tested { name, path, time, fuel: None, result: Tried::Skipped { why } });
        }
    };
    let time = start.elapsed();
    let bless = bless && !played.failures.is_empty();
    if bless {
        played = accept(bench, file, &played).await?;
    }
    let fuel = Some(played.observed.used.get(Limit::Fuel));
    let result = match played.failures.is_empty() {
        true if bless => Tried::Blessed,
        true => Tried::Passed,
        false => Tried::Failed { failures: played.failures, log: played.observed.log },
    };
    Ok(Tested { name: file.name.clone(), path: file.path.clone(), time, fuel, result })
}

/// Writes what came into the file, and plays it again: what fails even then, budgets and requests that are not sent, is
/// nothing that came, and somebody's to decide.
async fn accept(bench: &Bench, file: &ScenarioFile, played: &Played) -> Result<Played, BadScenario> {
    if file.scenario.recording.is_some() {
        bench.record_again(file).await?;
    } else {
        let text = blessed(file, &played.observed)?;
        fs::write(&file.path, text).map_err(|error| file.broken(format!("cannot be written: {error}")))?;
    }
    bench.play(&ScenarioFile::read(&file.path)?).await
}

fn print(args: &TestArgs, all: &All) -> Result<(), Failure> {
    let passed = all.tests.iter().filter(|test| test.passed()).count();
    let failed = all.tests.iter().filter(|test| test.failed()).count();
    match if args.json { TestFormat::Json } else { args.format } {
        TestFormat::Json => output::json(&json!({
            "script": all.script, "passed": passed, "failed": failed, "tests": all.tests,
        }))?,
        TestFormat::Junit => output::document(&report::junit(&all.script, &all.tests).or_exit(Exit::Backend)?)?,
        TestFormat::Text => out!("{}", text(all)),
    }
    Ok(())
}

/// For people: a line for each, then how those that failed did.
pub(crate) fn text(all: &All) -> String {
    let mut lines = vec![styled(BOLD, &all.script)];
    for test in &all.tests {
        let word = match &test.result {
            Tried::Passed => styled(GREEN, "ok     "),
            Tried::Blessed => styled(GREEN, "blessed"),
            Tried::Failed { .. } => styled(RED, "FAILED "),
            Tried::Skipped { .. } => styled(YELLOW, "skipped"),
            Tried::Broken { .. } => styled(RED, "broken "),
        };
        let mut fuel = test.fuel.map(|fuel| format!("  fuel {}", output::amount(Unit::Fuel, fuel))).unwrap_or_default();
        if let Tried::Skipped { why } = &test.result {
            fuel = format!("  {}", printable(why));
        }
        lines.push(format!("  {word} {}{}", printable(&test.name), styled(DIM, fuel)));
    }
    for test in all.tests.iter().filter(|test| test.failed()) {
        lines.push(String::new());
        lines.push(printable(test.told().trim_end()));
    }
    let count = |of: fn(&Tested) -> bool| all.tests.iter().filter(|test| of(test)).count();
    let (passed, failed) = (count(Tested::passed), count(Tested::failed));
    let skipped = match all.tests.len() - passed - failed {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    lines.push(format!("\n{passed} passed, {failed} failed{skipped}"));
    lines.join("\n") + "\n"
}

/// A broken scenario is a wrong file; a failed one is the script's.
pub(crate) fn exit(tests: &[Tested]) -> Exit {
    if tests.iter().any(|test| matches!(test.result, Tried::Broken { .. })) {
        Exit::Usage
    } else if !tests.iter().any(Tested::failed) {
        Exit::Ok
    } else {
        Exit::ScriptFailed
    }
}

/// Makes a scenario of a run: its recording, and a file that names it, with room above the fuel that it used.
fn from_run(args: &TestArgs, run: i64) -> Result<Exit, Failure> {
    let folder = scenarios(args);
    let name = format!("run-{run}");
    let (recording, file) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.toml")));
    if let Some(there) = [&recording, &file].into_iter().find(|path| path.exists()) {
        return Err(anyhow!("{} is there already; remove it first", there.display()).into());
    }
    let format = Format { json: args.json };
    let common = Common { user: "admin".to_owned(), database: args.database.clone(), format };
    let exported = runs::exported(run, args.plain, false, &common)?;
    let fuel: u64 = exported.actions.iter().map(|action| action.recording.fuel).sum();
    let text = format!(
        "description = \"Recorded from run {run} of the rule {}.\"\nrecording = \"{name}.json\"\n\n[budgets]\nfuel = {}\n",
        exported.rule,
        fuel.saturating_add(fuel / 4).next_multiple_of(10_000),
    );
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    exported.save(&recording)?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    if args.json {
        output::json(&json!({ "scenario": file, "recording": recording, "redacted": exported.redacted,
            "decides": exported.decides }))?;
    } else {
        outln!("{} {}", styled(BOLD, "wrote"), file.display());
        if exported.redacted {
            outln!("redacted: {}", printable(&exported.decides.describe()));
        }
    }
    Ok(Exit::Ok)
}
