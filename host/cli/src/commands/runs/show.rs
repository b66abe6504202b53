//! Runs in lists, in full, and in chains.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;
use triggerbox_automation::{
    journal::Entry,
    logs::{self, LogFilter},
    runs::{self, AttemptDetail, Fires, RunDetail, RunFilter, RunId, RunState, RunSummary},
};
use triggerbox_model::{
    changes::Diff,
    limits::{Limits, PerLimit},
};
use triggerbox_store::db::Mode;

use crate::{
    args::Common,
    commands::workshop::{FromError, Workshop},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, limit_bars, printable, styled},
};

/// Fires that a chain shows at most.
const SUPPRESSED: u32 = 1_000;

pub(super) fn list(filter: &RunFilter, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let found = runs::list(&conn, filter).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&found)?;
    } else if found.is_empty() {
        outln!("no runs");
    } else {
        outln!("{}", table(&found));
    }
    Ok(Exit::Ok)
}

pub(super) fn one(run: RunId, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let detail = runs::detail(&conn, run).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&detail)?;
    } else {
        out!("{}", text(&detail));
    }
    Ok(Exit::Ok)
}

pub(super) fn chain(run: RunId, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let root = runs::detail(&conn, run).map_err(Failure::from_error)?.summary.root;
    let chain = runs::chain(&conn, root, usize::MAX).map_err(Failure::from_error)?;
    let fires = Fires { root: Some(root), limit: SUPPRESSED, ..Fires::default() };
    let suppressed = runs::suppressed(&conn, &fires).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&json!({ "root": root, "runs": chain, "suppressed": suppressed }))?;
        return Ok(Exit::Ok);
    }
    outln!("{}", table(&chain));
    for fire in &suppressed {
        let what = format!("{} on {}: {}", fire.rule, fire.record, fire.reason);
        outln!("{} {}", styled(YELLOW, "not fired"), printable(&what));
    }
    Ok(Exit::Ok)
}

pub(super) fn journal(run: RunId, attempt: Option<u32>, action: u32, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let summary = runs::head(&conn, run).map_err(Failure::from_error)?;
    let attempt = attempt.unwrap_or(summary.attempt);
    let entries = runs::journal(&conn, run, attempt, action.saturating_sub(1)).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&entries)?;
        return Ok(Exit::Ok);
    }
    if entries.is_empty() {
        outln!("nothing is kept of try {attempt} of run {run}");
    }
    for entry in &entries {
        show_call(entry, "")?;
        // Asked by a script that was run as a tool.
        entry.within.iter().try_for_each(|within| show_call(within, "    "))?;
    }
    Ok(Exit::Ok)
}

fn show_call(entry: &Entry, indent: &str) -> Result<(), Failure> {
    outln!("{indent}{} {}", styled(BOLD, "asked"), printable(&serde_json::to_string(&entry.call)?));
    let (style, word, answer) = match &entry.reply {
        Ok(answer) => (GREEN, "  answered", serde_json::to_string(answer)?),
        Err(error) => (RED, "  refused", error.to_string()),
    };
    outln!("{indent}{} {}", styled(style, word), printable(&answer));
    Ok(())
}

pub(super) fn logs(filter: &LogFilter, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let lines = logs::search(&conn, filter).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&lines)?;
        return Ok(Exit::Ok);
    }
    if lines.is_empty() {
        outln!("no lines");
    }
    for line in &lines {
        let at = line.at.strftime("%Y-%m-%d %H:%M:%S");
        let place = styled(DIM, format!("{at} run {} {}", line.run, line.rule));
        outln!("{place} {:<7} {}", line.level.name(), printable(&line.message));
    }
    Ok(Exit::Ok)
}

fn table(found: &[RunSummary]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["run", "state", "rule", "record", "tries", "at", "how it ended"]);
    for run in found {
        let record = run.model.as_deref().zip(run.record).map(|(model, id)| format!("{model}/{id}"));
        table.add_row([
            run.id.to_string(),
            run.state.name().to_owned(),
            run.rule.clone(),
            record.unwrap_or_default(),
            run.attempt.to_string(),
            run.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            printable(run.message.as_deref().or(run.code.as_deref()).unwrap_or_default()),
        ]);
    }
    table
}

fn text(run: &RunDetail) -> String {
    let summary = &run.summary;
    let style = match summary.state {
        RunState::Succeeded => GREEN,
        RunState::Queued | RunState::Running | RunState::WaitingApproval | RunState::Skipped => YELLOW,
        RunState::Failed | RunState::OutcomeUnknown | RunState::Dead | RunState::Cancelled => RED,
    };
    let ended = summary.message.as_deref().or(summary.code.as_deref()).unwrap_or_default();
    let waits = match (summary.state, summary.away_since) {
        (RunState::Queued, Some(since)) => format!("waits for odoo since {}: ", since.strftime("%Y-%m-%d %H:%M:%S")),
        _ => String::new(),
    };
    let mut lines = vec![
        format!("run {} {} {waits}{}", styled(BOLD, summary.id), styled(style, summary.state.name()), printable(ended)),
        format!(
            "rule {} version {}, event of {}, depth {}, as user {}{}",
            summary.rule,
            summary.rule_version,
            summary.at,
            summary.depth,
            summary.run_as,
            if summary.superuser { " as superuser" } else { "" }
        ),
    ];
    let records: Vec<_> = run.firing.records.iter().map(u32::to_string).collect();
    if let Some(model) = &summary.model {
        lines.push(format!("records {model} {}", records.join(", ")));
    }
    lines.extend(run.firing.warnings.iter().map(|w| format!("{} {}", styled(YELLOW, "warning:"), printable(w))));
    for attempt in &run.attempts {
        lines.push(String::new());
        lines.extend(tried(attempt));
    }
    lines.join("\n") + "\n"
}

fn tried(attempt: &AttemptDetail) -> Vec<String> {
    let script: String = attempt.script.chars().take(12).collect();
    let journal = if attempt.journaled { ", journaled" } else { "" };
    let head = format!("try {} action {}: {}", attempt.attempt, attempt.action + 1, attempt.code);
    let mut lines = vec![format!("{} {}", styled(BOLD, head), styled(DIM, format!("script {script}{journal}")))];
    lines.extend(attempt.log.iter().map(|line| format!("  {:<7} {}", line.level.name(), printable(&line.message))));
    let part = |name: &str| attempt.report.get(name).cloned().unwrap_or_default();
    if let Ok(diff) = serde_json::from_value::<Diff>(part("diff"))
        && !diff.is_empty()
    {
        lines.extend(printable(&diff.to_string()).trim_end().lines().map(|line| format!("  {line}")));
    }
    if let Ok(tracebacks) = serde_json::from_value::<Vec<String>>(part("tracebacks")) {
        for traceback in tracebacks {
            lines.extend(traceback.lines().map(|line| format!("  {}", styled(DIM, printable(line)))));
        }
    }
    let (limits, used) =
        (serde_json::from_value::<Limits>(part("limits")), serde_json::from_value::<PerLimit>(part("used")));
    if let (Ok(limits), Ok(used)) = (limits, used) {
        lines.push(limit_bars(&limits, &used, None).trim_end().to_owned());
    }
    lines
}
