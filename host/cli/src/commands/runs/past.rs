//! Runs of the past on versions of their scripts, and how long they are kept.

use std::path::Path;

use jiff::Timestamp;
use triggerbox_automation::{
    replay::{Replayed, Verdict},
    runs::RunId,
};
use triggerbox_sandbox::Script;

use super::{Desk, time};
use crate::{
    args::Common,
    commands::script,
    exit::{Exit, Failure},
    output::{self, GREEN, RED, YELLOW, printable, styled},
};

pub(super) fn replay(run: RunId, version: Option<&Path>, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::look(common)?;
    let version = version.map(|path| component(&desk, path)).transpose()?;
    let replayed = desk.block_on(desk.engine.replay(run, version.as_ref()))?;
    if common.format.json {
        output::json(&replayed)?;
    } else {
        for (action, done) in replayed.iter().enumerate() {
            outln!("action {}: {}", action + 1, text(done));
        }
    }
    let same = replayed.iter().all(|done| done.verdict == Verdict::Same);
    Ok(if same { Exit::Ok } else { Exit::ScriptFailed })
}

pub(super) fn backtest(version: &Path, rule: &str, since: &str, common: &Common) -> Result<Exit, Failure> {
    let since = time(since, Timestamp::now())?;
    let desk = Desk::look(common)?;
    let script = component(&desk, version)?;
    let result = desk.block_on(desk.engine.backtest(rule, &script, since))?;
    if common.format.json {
        output::json(&result)?;
    } else {
        let (differs, undecidable) = (result.differs.len(), result.undecidable.len());
        outln!("{} same, {differs} differ, {undecidable} undecidable", result.same);
        for (run, how) in &result.differs {
            outln!("run {run} {}", styled(RED, "differs"));
            how.iter().for_each(|line| outln!("  {}", printable(line)));
        }
        for (run, why) in &result.undecidable {
            outln!("run {run} {}: {}", styled(YELLOW, "undecidable"), printable(why));
        }
    }
    Ok(if result.differs.is_empty() { Exit::Ok } else { Exit::ScriptFailed })
}

pub(super) fn prune(common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::open(common)?;
    desk.for_administrators("lets runs go")?;
    let gone = desk.block_on(desk.engine.retain())?;
    if common.format.json {
        output::json(&gone)?;
    } else {
        outln!("{} runs and {} journals let go, {} bytes given back", gone.runs, gone.journals, gone.bytes);
    }
    Ok(Exit::Ok)
}

fn component(desk: &Desk, path: &Path) -> Result<Script, Failure> {
    desk.block_on(desk.engine.try_out(&script::read(path)?))
}

pub(crate) fn text(done: &Replayed) -> String {
    let fuel = format!("fuel {} then, {} now", done.fuel_then, done.fuel);
    match &done.verdict {
        Verdict::Same => format!("{} ({fuel})", styled(GREEN, "same")),
        Verdict::Differs(how) => {
            let lines: Vec<_> = how.iter().map(|line| format!("\n  {}", printable(line))).collect();
            format!("{} ({fuel}){}", styled(RED, "differs"), lines.concat())
        }
        Verdict::Undecidable(why) => format!("{}: {}", styled(YELLOW, "undecidable"), printable(why)),
    }
}
