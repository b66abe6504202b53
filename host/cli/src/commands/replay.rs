//! `triggerbox replay` and `triggerbox backtest`: exported runs, run again without a server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde_json::json;
use triggerbox_automation::replay::Verdict;
use triggerbox_sandbox::Script;
use triggerbox_workbench::recording::Exported;

use crate::{
    args::{BacktestArgs, ReplayArgs},
    commands::{runs::past, script},
    exit::{Exit, Failure, OrExit},
    output::{self, RED, YELLOW, printable, styled},
};

pub(crate) fn replay(args: &ReplayArgs) -> Result<Exit, Failure> {
    let exported = Exported::load(&args.run)?;
    let runtime = runtime()?;
    let sandbox = script::sandbox(1)?;
    let load =
        |bytes: &[u8]| -> Result<Script, Failure> { Ok(runtime.block_on(script::load(&sandbox, bytes))?.script) };
    let replayed = match &args.script {
        Some(path) => {
            let replayed = runtime.block_on(exported.replay_on(&load(&script::read(path)?)?));
            replayed.map_err(|why| anyhow!("{}: {why}", args.run.display()))?
        }
        None => {
            let components = exported.components().with_context(|| args.run.display().to_string())?;
            let mut replayed = Vec::new();
            for (action, component) in exported.actions.iter().zip(components) {
                let component = component.with_context(|| {
                    format!("{} has no scripts in it; name the component to run it on", args.run.display())
                })?;
                let script = load(&component)?;
                replayed.push(runtime.block_on(triggerbox_automation::replay::replay(&script, &action.recording)));
            }
            replayed
        }
    };
    if args.format.json {
        output::json(&json!({ "run": exported.run, "rule": exported.rule, "redacted": exported.redacted,
            "decides": exported.decides, "actions": replayed }))?;
    } else {
        for (action, done) in replayed.iter().enumerate() {
            outln!("action {}: {}", action + 1, past::text(done));
        }
    }
    let same = replayed.iter().all(|done| done.verdict == Verdict::Same);
    Ok(if same { Exit::Ok } else { Exit::ScriptFailed })
}

pub(crate) fn backtest(args: &BacktestArgs) -> Result<Exit, Failure> {
    let files = files(&args.runs)?;
    let bytes = script::read(&args.script)?;
    let runtime = runtime()?;
    let sandbox = script::sandbox(1)?;
    let script = runtime.block_on(script::load(&sandbox, &bytes))?.script;
    let (mut same, mut differs, mut undecidable) = (0_u32, Vec::new(), Vec::new());
    for file in files {
        let exported = Exported::load(&file)?;
        let judged = match runtime.block_on(exported.replay_on(&script)) {
            Ok(replayed) => Verdict::of_all(replayed.into_iter().map(|action| action.verdict)),
            Err(why) => Verdict::Undecidable(why),
        };
        match judged {
            Verdict::Same => same += 1,
            Verdict::Differs(how) => differs.push((file, how)),
            Verdict::Undecidable(why) => undecidable.push((file, why)),
        }
    }
    if args.format.json {
        output::json(&json!({ "same": same, "differs": differs, "undecidable": undecidable }))?;
    } else {
        outln!("{same} same, {} differ, {} undecidable", differs.len(), undecidable.len());
        for (file, how) in &differs {
            outln!("{} {}", file.display(), styled(RED, "differs"));
            how.iter().for_each(|line| outln!("  {}", printable(line)));
        }
        for (file, why) in &undecidable {
            outln!("{} {}: {}", file.display(), styled(YELLOW, "undecidable"), printable(why));
        }
    }
    let ok = differs.is_empty() && (undecidable.is_empty() || !args.strict);
    Ok(if ok { Exit::Ok } else { Exit::ScriptFailed })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)
}

/// The exported runs of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() {
        return Err(
            anyhow!("there is no exported run in {}; `triggerbox runs export` makes them", folder.display()).into()
        );
    }
    Ok(files)
}
