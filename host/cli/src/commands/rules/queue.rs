//! Having rules run, or not.

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::engine;
use triggerbox_model::event::Trigger;
use triggerbox_server::told;
use triggerbox_store::db::Mode;

use crate::{
    args::{Common, There},
    commands::{
        runs::Desk,
        workshop::{FromError, Workshop, login},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, printable, styled},
};

/// What to do about runs that are queued here.
const NEXT: &str = "`triggerbox serve` or `triggerbox runs work` runs them";

pub(super) fn run(name: &str, ids: &[u32], there: &There, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::on(common, there)?;
    let model = desk.engine.rules().and_then(|rules| Ok(rules.rule(name)?.rule.model.clone()));
    if let Some(model) = model.map_err(Failure::from_error)? {
        desk.may_read(&model, ids)?;
    }
    let fired = desk.engine.fire(name, desk.user, Trigger::Manual, ids.to_vec());
    let runs = desk.change(("rule-run", name), told::records(ids), fired)?;
    if common.format.json {
        output::json(&json!({ "rule": name, "runs": runs }))?;
    } else {
        let runs: Vec<_> = runs.iter().map(i64::to_string).collect();
        outln!("{} queued as run {}; {NEXT}", styled(BOLD, name), runs.join(", "));
    }
    Ok(Exit::Ok)
}

pub(super) fn backfill(name: &str, domain: &str, there: &There, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::on(common, there)?;
    desk.for_administrators("runs a rule over all records")?;
    let filled = desk.engine.backfill(name, domain, desk.user);
    let done = desk.change(("rule-backfilled", name), format!("on all records of {domain}"), filled)?;
    if common.format.json {
        output::json(&done)?;
    } else {
        let (records, runs) = (output::count(done.records, "record"), output::count(done.runs, "run"));
        outln!("{} queued on {records} in {runs}; {NEXT}", styled(BOLD, name));
    }
    Ok(Exit::Ok)
}

/// Stops with a reason, or goes on without one.
pub(super) fn stop(model: Option<&str>, reason: Option<&str>, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::open(common)?;
    if let Some(model) = model {
        desk.engine.database().schema().model(model).map_err(|error| anyhow!(error))?;
    }
    let what = rules_of(model);
    match reason {
        Some(reason) => {
            let stopped = desk.engine.stop(model, desk.user, reason);
            desk.change(("runs-stopped", &what), reason.to_owned(), stopped)?;
        }
        None => desk.change(("runs-let-go", &what), "they run again".to_owned(), desk.engine.go(model))?,
    }
    if common.format.json {
        output::json(&json!({ "model": model, "stopped": reason.is_some() }))?;
    } else {
        let what = styled(BOLD, rules_of(model));
        outln!(
            "{what} {}",
            if reason.is_some() { "are stopped; `triggerbox rules go` ends that" } else { "run again" }
        );
    }
    Ok(Exit::Ok)
}

pub(super) fn stops(common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let stops = engine::stops(&conn).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&stops)?;
        return Ok(Exit::Ok);
    }
    if stops.is_empty() {
        outln!("nothing is stopped");
    }
    for stop in &stops {
        let (what, at) = (styled(BOLD, rules_of(stop.model.as_deref())), stop.at.strftime("%Y-%m-%d %H:%M"));
        let why = format!("{}: {}", login(&conn, stop.by), stop.reason);
        outln!("{what} since {at} by {}", printable(&why));
    }
    Ok(Exit::Ok)
}

fn rules_of(model: Option<&str>) -> String {
    model.map_or_else(|| "all rules".to_owned(), |model| format!("rules of {model}"))
}
