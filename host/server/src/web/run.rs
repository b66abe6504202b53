//! One run in full: what to do if it failed, what it changed, asked, logged and used, and what followed.

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::State;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value as Json;
use triggerbox_automation::{
    EngineError,
    index::Index,
    journal::{Entry, First, Took},
    replay::Verdict,
    runs::{self, AttemptDetail, Fires, LogLine, RunDetail, RunId, RunState, RunSummary, Suppressed},
    scripts::registry,
    threads,
};
use triggerbox_model::{
    call::Call,
    changes::Diff,
    limits::{Limits, PerLimit, Scope as Whose},
};

use super::{
    automation::{withhold, would_do},
    automations::{deleted, named_in_full},
    form::Form,
    page::{Answer, Done, Page, Tab, sentence},
    parts::{self, action, address, badge, beginning, confirmed, fitting, hidden_token, long, time, took},
    runs::table,
    visitor::{Visitor, names},
};
use crate::{
    api::{
        self,
        runs::{may_see_journal, seen, visible, visible_fires},
    },
    app::App,
    extract::At,
    people::audit,
    problem::Problem,
    tokens::Scope,
    told,
};

/// Bytes of log lines and host calls that a page shows, of all tries together.
const MOST_BYTES: usize = 100_000;

/// Log lines of a replay, or of a run that is at it, that are shown.
const MOST_LINES: usize = 100;

/// Versions of each script that are offered.
const MOST_VERSIONS: usize = 20;

/// Runs of a chain that are shown.
const MOST_RUNS: usize = 50;

/// All that is shown of a run.
struct Told {
    detail: RunDetail,
    /// Host calls of each try; none: not kept, or not for this visitor.
    calls: Vec<First<Entry>>,
    chain: Vec<RunSummary>,
    suppressed: Vec<Suppressed>,
    /// Why it is not begun though it is its turn.
    held: Option<String>,
    actor: String,
    run_as: String,
    proposed: Option<Diff>,
    /// It left a thread that the visitor may see.
    thread: bool,
    /// Versions of its scripts that it can be replayed on: hash, and what people call it.
    versions: Vec<(String, String)>,
    /// The rules that there are.
    rules: Arc<Index>,
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, At(id): At<RunId>) -> Answer {
    let told = look(&app, &visitor, id).await?;
    let run = &told.detail.summary;
    let title = format!("Run #{id}");
    let share = MOST_BYTES / told.detail.attempts.len().max(1);
    let body = html! {
        div #live data-live=(format!("/live?run={id}")) {
            (first_line(&visitor, run, told.held.as_deref(), told.detail.attempts.last()))
            div.toolbar {
                @if visitor.may(Scope::Operate) { (buttons(&visitor, &told)) }
                @if run.state == RunState::WaitingApproval {
                    a.button.primary href=(address(&["approvals", &id.to_string()])) { "Look at the proposed changes" }
                }
                @if told.thread { a.button href=(address(&["threads", &id.to_string()])) { "What was said: its thread" } }
            }
            @if run.state == RunState::Running { (so_far(&app, id)) }
            div.two {
                section.card { h2 { "What happened" } (facts(&visitor, &told)) }
                section.card { h2 { "Limits" } (limits(&told.detail)) }
            }
            section.card {
                h2 { @if run.state == RunState::Succeeded { "What it changed" } @else { "What it wanted to change" } }
                (changes(&told, &visitor.zone))
            }
            @for (attempt, calls) in told.detail.attempts.iter().rev().zip(told.calls.iter().rev()) {
                (try_of(&visitor, attempt, calls, share))
            }
            (chain(&visitor, &told))
        }
    };
    Ok(Page::new(Tab::Runs, title, body).under("Runs", "/runs"))
}

async fn look(app: &App, visitor: &Visitor, id: RunId) -> Result<Told, super::page::Oops> {
    let detail = seen(app, &visitor.caller, id).await?;
    let root = detail.summary.root;
    let journals = may_see_journal(&visitor.caller, &detail.summary);
    let tries: Vec<(u32, u32)> = detail.attempts.iter().map(|one| (one.attempt, one.action)).collect();
    // Another version may tell whatever the run read.
    let journaled = detail.attempts.iter().filter(|one| one.journaled && journals);
    let scripts: Vec<String> = journaled.map(|one| one.script.clone()).collect();
    let (calls, chain, suppressed, versions, thread) = app
        .read(move |conn| {
            let mut calls = Vec::new();
            for (attempt, action) in tries {
                calls.push(match journals {
                    true => runs::first_calls(conn, id, attempt, action)?.calls,
                    false => First::default(),
                });
            }
            let chain = if root == 0 { Vec::new() } else { runs::chain(conn, root, MOST_RUNS)? };
            let fires = Fires { root: Some(root), limit: 20, ..Fires::default() };
            let suppressed = if root == 0 { Vec::new() } else { runs::suppressed(conn, &fires)? };
            let (versions, thread) = (versions(conn, &scripts)?, threads::of_run(conn, id)?);
            Ok::<_, EngineError>((calls, chain, suppressed, versions, thread))
        })
        .await?;
    let thread = !api::threads::visible(app, &visitor.caller, thread.into_iter().collect()).await?.is_empty();
    let chain = visible(app, &visitor.caller, chain).await?;
    let suppressed = visible_fires(app, &visitor.caller, suppressed).await?;
    let people = names(app, [detail.summary.actor, detail.summary.run_as])?;
    let name = |id| people.get(&id).cloned().unwrap_or_default();
    let rules = app.engine().rules()?;
    let held = held(app, &rules, &detail.summary)?;
    let (actor, run_as) = (name(detail.summary.actor), name(detail.summary.run_as));
    let mut proposed = match detail.summary.state {
        RunState::WaitingApproval => app.engine().proposal(id)?.map(|proposal| proposal.diff),
        _ => None,
    };
    api::approvals::leave_out(app, &visitor.caller, proposed.iter_mut().collect()).await?;
    Ok(Told { detail, calls, chain, suppressed, held, actor, run_as, proposed, thread, versions, rules })
}

/// Why a run that is queued is not begun though it is its turn, as far as its automation and stops keep it from it.
fn held(app: &App, rules: &Index, run: &RunSummary) -> Result<Option<String>, Problem> {
    let armed = rules.rule(&run.rule).ok().filter(|_| run.state == RunState::Queued);
    let Some(armed) = armed else { return Ok(None) };
    if let Some(why) = &armed.paused {
        return Ok(Some(format!("its automation is paused: {why}")));
    }
    if !armed.rule.active {
        return Ok(Some("its automation is switched off".to_owned()));
    }
    if let Some(why) = &armed.broken {
        return Ok(Some(format!("its automation is broken: {why}")));
    }
    let stops = app.engine().stops()?;
    let stop = stops.iter().find(|stop| stop.model.is_none() || stop.model == armed.rule.model);
    Ok(stop.map(|stop| format!("runs are stopped: {}", stop.reason)))
}

/// All versions of the scripts that ran.
fn versions(conn: &Connection, ran: &[String]) -> Result<Vec<(String, String)>, EngineError> {
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for hash in ran.iter().filter_map(|hash| hash.parse().ok()) {
        // One that is gone is replayed by nobody.
        let choices = registry::choices(conn, hash, MOST_VERSIONS)?;
        if !choices.first().is_some_and(|one| known.insert(one.name.clone())) {
            continue;
        }
        for one in choices {
            let hash = one.hash.to_string();
            let short: String = hash.chars().take(12).collect();
            let active = if one.active { ", active" } else { "" };
            let version: String = one.version.chars().take(40).collect();
            all.push((hash, format!("{} {version} ({short}{active})", one.name)));
        }
    }
    Ok(all)
}

/// What became of it, and what to do: the first thing to read.
fn first_line(visitor: &Visitor, run: &RunSummary, held: Option<&str>, last: Option<&AttemptDetail>) -> Markup {
    let message = run.message.clone().unwrap_or_default();
    let class = match run.state {
        RunState::Succeeded => "good",
        RunState::Failed | RunState::Dead | RunState::OutcomeUnknown => "bad",
        _ => "wait",
    };
    html! {
        @match run.state {
            RunState::Queued => p.banner.wait role="status" {
                @if run.blockers > 0 { "It waits for " (run.blockers) " earlier runs on the same records." }
                @else if let Some(since) = run.away_since {
                    "It waits for Odoo since " (time(since, &visitor.zone)) ", and goes on by itself; tried again at "
                    (time(run.due, &visitor.zone)) ". " (long(&sentence(&message)))
                }
                @else if let Some(held) = held { "It waits: " (long(held)) }
                @else if run.code.is_some() { "It is tried again, not before " (time(run.due, &visitor.zone)) ". " (long(&sentence(&message))) }
                @else { "It waits for its turn; not before " (time(run.due, &visitor.zone)) "." }
            },
            RunState::Running => p.banner.wait role="status" { "It is running: this page follows it." },
            RunState::Succeeded => p.banner.good role="status" { "It succeeded. " (long(&sentence(&message))) },
            _ => div class={ "banner " (class) } role="status" {
                p { b { (advice(run.state, run.code.as_deref().unwrap_or_default(), scope(last))) } }
                @if !message.is_empty() { p.text { (long(&sentence(&message))) } }
                @if let Some(trap) = last.and_then(|one| one.report.get("detail")).and_then(|trap| trap.get("frames")) {
                    (frames(trap))
                }
            },
        }
    }
}

/// Whose limit or budget a try reached, if it reached one.
fn scope(attempt: Option<&AttemptDetail>) -> Whose {
    let detail = attempt.and_then(|one| one.report.get("detail"));
    detail.and_then(|detail| Whose::deserialize(detail.get("scope")?).ok()).unwrap_or_default()
}

/// What to do about a run that did not succeed, by where it stands, the code that it ended with, and whose limit it reached.
fn advice(state: RunState, code: &str, scope: Whose) -> &'static str {
    match (state, code) {
        (RunState::WaitingApproval, _) => "Somebody must approve or reject its changes.",
        (RunState::Skipped, _) => "There was nothing to do: no action is needed.",
        (RunState::Cancelled, "rejected") => "Somebody said no to its changes. Retry it for a new proposal.",
        (RunState::Cancelled, "approval-expired") => "Nobody decided in time. Retry it for a new proposal.",
        (RunState::Cancelled, "rule-gone") => "Its automation was deleted: no action is needed.",
        (RunState::Cancelled, _) => "Somebody stopped it. Retry it if that was a mistake.",
        (RunState::OutcomeUnknown, _) | (_, "outcome-unknown") => {
            "Look in the other system whether the request arrived; retry only if it did not."
        }
        (_, "limit-exceeded") if scope == Whose::ServerDay => {
            "What all automations together may spend in a day is spent: an administrator can raise that budget in the \
             settings; or retry it tomorrow."
        }
        (_, "limit-exceeded") if matches!(scope, Whose::RuleDay | Whose::Root) => {
            "Its budget for language models is spent: an administrator can raise it in the settings, or give the script \
             less to do; then retry."
        }
        (_, "limit-exceeded") => "Raise the limit in the automation, or give the script less to do; then retry.",
        (_, "cap-exceeded") => "Its session has used what it may: an administrator can renew it from its thread.",
        (_, "trapped") => "The script broke: roll back to an earlier version, or ask its author; then retry.",
        (_, "rejected") => "The records refused what the script wanted: mend the data or the script; then retry.",
        (_, "conflict") => "Others kept changing the same records. Retry it.",
        (_, "backend" | "crashed") => "The server had trouble: an operator should look at its log. Then retry.",
        (_, "odoo-away") => "Odoo was away for longer than a run waits: retry once it answers.",
        (_, "odoo-unusable") => {
            "An operator must mend a key, a right or the set-up in Odoo: the message says which. Then retry."
        }
        (_, "unavailable") => "Another service did not answer: retry once it does.",
        (_, "access-denied" | "no-access" | "record-rule") => {
            "A right is missing: give it to the user that it runs as, or grant it in the automation; then retry."
        }
        (_, "plan-refused") => {
            "Its plan is not allowed: grant in the automation what it names, or tell it to do less; then retry."
        }
        (_, "script-inactive" | "script-gone" | "broken-script") => "Activate a version of the script; then retry.",
        (_, "no-actions") => "The automation has no script: choose one; then retry.",
        (_, "failed") => "The script said that it could not do it: do what its message says, then retry.",
        (RunState::Dead, _) => "It was given up after several tries. Retry it once the cause is gone.",
        _ => "It could not run as it is set up: do what the message says, then retry.",
    }
}

fn frames(frames: &Json) -> Markup {
    let lines = frames.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        @if !lines.is_empty() {
            details #where { summary { "Where in the script" }
                pre { @for frame in lines.iter().take(20) {
                    (frame.get("function").and_then(Json::as_str).unwrap_or("?"))
                    @if let (Some(file), Some(line)) = (frame.get("file").and_then(Json::as_str), frame.get("line")) { "  " (file) ":" (line) }
                    "\n"
                } }
            }
        }
    }
}

fn buttons(visitor: &Visitor, told: &Told) -> Markup {
    let (run, detail) = (&told.detail.summary, &told.detail);
    let to = |what: &str| address(&["runs", &run.id.to_string(), what]);
    let again = matches!(
        run.state,
        RunState::Failed | RunState::Dead | RunState::Cancelled | RunState::OutcomeUnknown | RunState::Skipped
    );
    html! {
        @if again { (action(visitor, &to("retry"), "Retry", "primary")) " " }
        @if !run.state.is_over() || run.state == RunState::WaitingApproval {
            (confirmed(visitor, &to("cancel"), "Cancel run", "Nothing of it is applied.")) " "
        }
        (action(visitor, &to("dry-run"), "Dry run on today's data", "")) " "
        @if detail.attempts.iter().any(|one| one.journaled) {
            form.toolbar method="post" action=(to("replay")) {
                (hidden_token(&visitor.key))
                @if told.versions.len() > 1 {
                    div { label for="version" { "On version" } br; select #version name="version" {
                        option value="" { "As it was" }
                        @for (hash, label) in &told.versions { option value=(hash) { (label) } }
                    } }
                }
                button type="submit" { "Replay what was recorded" }
            }
        }
    }
}

fn facts(visitor: &Visitor, told: &Told) -> Markup {
    let run = &told.detail.summary;
    let trigger = serde_json::to_value(&told.detail.firing.trigger).unwrap_or_default();
    let kind = trigger.get("kind").and_then(Json::as_str).unwrap_or_default().replace('-', " ");
    let firing = &told.detail.firing;
    let records = if firing.records.is_empty() { &firing.found } else { &firing.records };
    html! {
        dl.facts {
            dt { "State" } dd { (parts::state(run.state)) @if let Some(code) = &run.code { " " code.faint { (code) } } }
            dt { "Automation" }
            dd { (named_in_full(&told.rules, &run.rule)) " " span.faint { "version " (run.rule_version) } }
            dt { "Because" } dd { (kind) @if let Some(parent) = run.parent { ", by " a href=(address(&["runs", &parent.to_string()])) { "run #" (parent) } } }
            @if let Some(model) = &run.model {
                dt { "Records" }
                dd { (model) " " @for id in records.iter().take(20) { (id) " " } @if records.len() > 20 { "and " (records.len() - 20) " more" } }
            }
            dt { "When" } dd { (time(run.at, &visitor.zone)) }
            @if let Some(finished) = run.finished {
                dt { "Took" } dd { (took(finished.as_millisecond() - run.at.as_millisecond())) " from the event to the end" }
            }
            dt { "Caused by" } dd { (told.actor) }
            dt { "With the rights of" }
            dd { (told.run_as) @if run.superuser { " " (badge("red", "superuser")) " " span.superuser { "not bound by anybody's rights" } } }
            dt { "Tries" } dd { (run.attempt) }
            dt { "Id for scripts" } dd { code { (run.key) } }
        }
        @for warning in &told.detail.firing.warnings { p.banner.wait { (long(warning)) } }
    }
}

fn limits(detail: &RunDetail) -> Markup {
    let Some(last) = detail.attempts.last() else {
        return match detail.summary.state {
            RunState::Running => html! { p.faint { "It is running: what it uses is told when this try is over." } },
            state if state.is_over() => html! { p.faint { "It never ran." } },
            _ => html! { p.faint { "It has not run yet." } },
        };
    };
    let part = |name: &str| last.report.get(name).cloned();
    let limits = part("limits").and_then(|json| serde_json::from_value::<Limits>(json).ok());
    let used = part("used").and_then(|json| serde_json::from_value::<PerLimit>(json).ok());
    match (limits, used) {
        (Some(limits), Some(used)) => parts::limit_bars(&limits, &used),
        _ => html! { p.faint { "Nothing was kept of what it used." } },
    }
}

fn changes(told: &Told, zone: &TimeZone) -> Markup {
    let last = told.detail.attempts.iter().map(|one| one.attempt).max();
    let of_last = told.detail.attempts.iter().filter(|one| Some(one.attempt) == last);
    let mut all = Diff::default();
    for attempt in of_last {
        if let Some(diff) = attempt.report.get("diff").and_then(|json| Diff::deserialize(json).ok()) {
            all.records.extend(diff.records);
        }
    }
    if all.is_empty() {
        all = told.proposed.clone().unwrap_or_default();
    }
    parts::diff(&all, zone)
}

/// One try, with so many bytes of what it logged and asked.
fn try_of(visitor: &Visitor, attempt: &AttemptDetail, calls: &First<Entry>, share: usize) -> Markup {
    let refusals = attempt.report.get("refusals").and_then(Json::as_array);
    // Administrators' alone: nobody else is given them.
    let tracebacks = attempt.report.get("tracebacks").and_then(Json::as_array);
    let id = format!("{}-{}", attempt.attempt, attempt.action);
    let hash: String = attempt.script.chars().take(12).collect();
    let (lines, more_lines) = fitting(attempt.log.iter().map(line), share / 3);
    let ended = |one: &Entry| one.time.map_or(0, |time| time.began.saturating_add(time.took));
    let all = calls.elements.iter().map(ended).max().unwrap_or_default();
    let asked = calls.elements.iter().enumerate().map(|(at, one)| call(&id, at, one, all));
    let (asked, _) = fitting(asked, share - share / 3);
    let more_calls = calls.total.saturating_sub(asked.len());
    html! {
        section.card {
            h2 { "Try " (attempt.attempt) @if attempt.action > 0 { ", action " (attempt.action + 1) } ": " code { (attempt.code) } }
            p.faint {
                (time(attempt.started, &visitor.zone)) ", took " (took(attempt.finished.as_millisecond() - attempt.started.as_millisecond()))
                ", script " code { (hash) }
            }
            @if let Some(refusals) = refusals.filter(|list| !list.is_empty()) {
                h3 { "Refused" }
                ul { @for one in refusals.iter().take(20) { li { (long(one.get("message").and_then(Json::as_str).unwrap_or_default())) } } }
            }
            @if let Some(tracebacks) = tracebacks.filter(|list| !list.is_empty()) {
                details {
                    summary { b { "What the backend tells of its errors" } }
                    @for one in tracebacks.iter().filter_map(Json::as_str) { pre { (one) } }
                }
            }
            @if !attempt.log.is_empty() {
                h3 { "Log" }
                ul.log {
                    @for line in &lines { (line) }
                }
                @if more_lines > 0 { p.faint { "and " (more_lines) " more lines" } }
            }
            @if calls.total > 0 {
                details id={ "calls-" (id) } open[calls.total <= 12] {
                    summary { b { "What it asked the host: " (calls.total) " calls" } }
                    ol.calls { @for one in &asked { (one) } }
                    @if more_calls > 0 { p.faint { "and " (more_calls) " more" } }
                }
            } @else if attempt.journaled {
                p.faint { "Its host calls are shown to administrators and to whom it had the rights of." }
            }
        }
    }
}

/// What a run that is at it logged so far: the end of it.
fn so_far(app: &App, run: RunId) -> Markup {
    let (all, newest) = app.engine().logged_so_far(run, MOST_LINES);
    let (mut shown, _) = fitting(newest.iter().rev().map(line), MOST_BYTES / 3);
    shown.reverse();
    let earlier = all.saturating_sub(shown.len());
    html! {
        @if all > 0 {
            section.card {
                h2 { "Log so far" }
                @if earlier > 0 { p.faint { "After " (earlier) " earlier lines:" } }
                ul.log { @for line in &shown { (line) } }
            }
        }
    }
}

fn line(line: &LogLine) -> Markup {
    let name = line.level.name();
    html! { li { (badge(level(name), name)) " " (long(&line.message)) } }
}

fn level(name: &str) -> &'static str {
    match name {
        "error" => "bad",
        "warning" => "wait",
        "info" => "busy",
        _ => "calm",
    }
}

/// Bytes of a call, and of its answer, that are shown.
const LONGEST_JSON: usize = 600;

/// When a call was made and how long it took, of so many microseconds in all.
fn bar(time: Took, all: u64) -> Markup {
    let of = |part: u64| part.saturating_mul(100).checked_div(all).unwrap_or(0).min(100);
    let (from, width) = (of(time.began).min(98), of(time.took).max(2));
    html! {
        svg.meter.busy width="96" height="8" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.back width="100" height="8" rx="4" {}
            rect.fill x=(from) width=(width.min(100 - from)) height="8" rx="2" {}
        }
        " "
    }
}

/// Microseconds, for people.
fn micros(time: u64) -> String {
    match time {
        ..10_000 => format!("{}.{:02} ms", time / 1_000, time % 1_000 / 10),
        _ => took(i64::try_from(time / 1_000).unwrap_or(i64::MAX)),
    }
}

/// One host call: its name and what it was about, the rest on demand. All calls together took so many microseconds.
fn call(id: &str, at: usize, entry: &Entry, all: u64) -> Markup {
    let asked = beginning(&entry.call, LONGEST_JSON);
    let answer = match &entry.reply {
        Ok(answer) => beginning(answer, LONGEST_JSON),
        Err(error) => beginning(&error.message, LONGEST_JSON),
    };
    let name = entry.call.name().replace('-', " ");
    html! {
        li.bad[entry.reply.is_err()] {
            details id={ "call-" (id) "-" (at) } {
                summary {
                    @if let Some(time) = entry.time { (bar(time, all)) }
                    b { (name) } " " span.faint { (about(&entry.call)) }
                    @if entry.reply.is_err() { " " (badge("bad", "refused")) }
                    @if let Some(time) = entry.time { " " span.faint { "after " (micros(time.began)) ", took " (micros(time.took)) } }
                }
                pre { (asked) "\n→ " (answer) }
                @if !entry.within.is_empty() {
                    p.faint { "What the script asked that was run by it:" }
                    ol.calls { @for (nth, one) in entry.within.iter().take(20).enumerate() { (call(&format!("{id}-{at}"), nth, one, all)) } }
                }
            }
        }
    }
}

/// A call's model, method or key.
fn about(call: &Call) -> String {
    match call {
        Call::CallMethod { model, method, .. } => format!("{model} {method}"),
        Call::StateGet { key } | Call::StateSet { key, .. } => key.clone(),
        call => call.model().unwrap_or_default().to_owned(),
    }
}

fn chain(visitor: &Visitor, told: &Told) -> Markup {
    let others = told.chain.len() > 1;
    html! {
        @if others || !told.suppressed.is_empty() {
            section.card {
                h2 { "Everything that followed from the same event" }
                @if others { (table(&told.chain, &visitor.zone, &told.rules)) }
                @if !told.suppressed.is_empty() {
                    h3 { "Fires that did not become runs" }
                    ul { @for one in &told.suppressed { li { b { (one.rule) } (deleted(&told.rules, &one.rule)) ": " (long(&one.reason)) } } }
                }
            }
        }
    }
}

pub(super) async fn retry(State(app): State<App>, visitor: Visitor, At(id): At<RunId>) -> Answer<Done> {
    audit::say(told::run(&seen(&app, &visitor.caller, id).await?.summary));
    app.engine().retry(id).await?;
    Ok(Done::new(address(&["runs", &id.to_string()]), "The run is tried again."))
}

pub(super) async fn cancel(State(app): State<App>, visitor: Visitor, At(id): At<RunId>) -> Answer<Done> {
    audit::say(told::run(&seen(&app, &visitor.caller, id).await?.summary));
    app.engine().cancel(id, visitor.caller.user).await?;
    Ok(Done::new(address(&["runs", &id.to_string()]), "The run is cancelled. Nothing of it was applied."))
}

/// What the automation would do now, had what fired a run happened now: nothing is changed.
pub(super) async fn dry_run(State(app): State<App>, visitor: Visitor, At(id): At<RunId>) -> Answer {
    let detail = seen(&app, &visitor.caller, id).await?;
    let (run, records) = (detail.summary, detail.firing.records);
    audit::say(format!("{}; nothing is changed", told::run(&run)));
    let mut shown = app.engine().dry_run_again(id).await?;
    withhold(&app, &visitor, &run.rule, &records, &mut shown).await?;
    let back = address(&["runs", &id.to_string()]);
    let body = html! {
        p.banner.wait { "A dry run of what fired run #" (id) ", with the automation and the records as they are now: nothing was changed." }
        (would_do(&shown, &records, &visitor.zone))
        p { a.button href=(back) { "Back to the run" } }
    };
    Ok(Page::new(Tab::Runs, "Dry run", body).under("Runs", "/runs").under(&format!("Run #{id}"), &back))
}

/// Replays a run from what was kept of it, on its own version or another one: nothing is changed, nothing is sent. What it
/// comes to in words is for who may see what the run read.
pub(super) async fn replay(State(app): State<App>, visitor: Visitor, At(id): At<RunId>, form: Form) -> Answer {
    let detail = seen(&app, &visitor.caller, id).await?;
    let wanted = form.some("version");
    let told = may_see_journal(&visitor.caller, &detail.summary);
    if wanted.is_some() && !told {
        let text =
            "another version may tell what a run read: administrators replay it, and whom the run had the rights of";
        return Err(Problem::denied("access-denied", text).into());
    }
    let on = wanted.as_deref().map_or_else(String::new, |wanted| format!(", on version {wanted}"));
    audit::say(format!("{}{on}; nothing is changed", told::run(&detail.summary)));
    let (script, name) = match wanted {
        None => (None, None),
        Some(wanted) => {
            let ran: Vec<String> = detail.attempts.into_iter().map(|one| one.script).collect();
            let found = app
                .read(move |conn| {
                    let known = versions(conn, &ran)?.into_iter().find(|(hash, _)| *hash == wanted);
                    let Some((hash, label)) = known else { return Ok(None) };
                    let component = match hash.parse() {
                        Ok(hash) => registry::component(conn, hash)?,
                        Err(_) => return Ok(None),
                    };
                    Ok::<_, EngineError>(Some((component, label)))
                })
                .await?;
            let missing = || Problem::not_found("unknown-script", "there is no such version of a script of this run");
            let (component, label) = found.ok_or_else(missing)?;
            (Some(app.engine().try_out(&component).await?), Some(label))
        }
    };
    let replayed = app.engine().replay(id, script.as_ref()).await?;
    let back = address(&["runs", &id.to_string()]);
    let body = html! {
        p.banner.wait { @if let Some(name) = &name { "On version " b { (name) } ". " }
            "A replay answers each question of the script as it was answered then. It changes nothing and sends nothing."
        }
        @for (at, one) in replayed.iter().enumerate() {
            section.card {
                h2 { "Action " (at + 1) }
                @match &one.verdict {
                    Verdict::Same => p { (badge("good", "same")) " It does exactly what it did then." },
                    Verdict::Differs(how) => {
                        p { (badge("bad", "differs")) " It does something else now" @if told { ":" } @else { "." } }
                        @if told { ul { @for one in how.iter().take(50) { li { (long(one)) } } } }
                    },
                    Verdict::Undecidable(why) => p { (badge("wait", "undecidable")) @if told { " " (long(&sentence(why))) } },
                }
                p.faint { "Instructions then: " (parts::grouped(one.fuel_then)) ", now: " (parts::grouped(one.fuel)) }
                @if !told { p.faint { "More is told to administrators and to whom the run had the rights of." } }
                @else if !one.log.is_empty() {
                    ul.log { @for (kind, line) in one.log.iter().take(MOST_LINES) { li { (badge(level(kind.name()), kind.name())) " " (long(line)) } } }
                }
            }
        }
        p { a.button href=(back) { "Back to the run" } }
    };
    Ok(Page::new(Tab::Runs, "Replay", body).under("Runs", "/runs").under(&format!("Run #{id}"), &back))
}

#[cfg(test)]
mod tests {
    use triggerbox_automation::report::Verdict;

    use super::*;

    #[test]
    fn each_end_has_its_advice() {
        use RunState::{Cancelled, Dead, Failed, OutcomeUnknown, Skipped, WaitingApproval};
        let table = [
            (WaitingApproval, "proposed", "must approve or reject"),
            (Skipped, "records-gone", "no action is needed"),
            (Skipped, "no-records", "no action is needed"),
            (Skipped, "rule-gone", "no action is needed"),
            (Skipped, "model-changed", "no action is needed"),
            (Cancelled, "rejected", "Somebody said no"),
            (Cancelled, "approval-expired", "Nobody decided in time"),
            (Cancelled, "rule-gone", "no action is needed"),
            (Cancelled, "cancelled", "Somebody stopped it"),
            (OutcomeUnknown, "outcome-unknown", "Look in the other system"),
            (Failed, "limit-exceeded", "Raise the limit"),
            (Failed, "cap-exceeded", "renew it"),
            (Failed, "trapped", "roll back"),
            (Failed, "rejected", "mend the data"),
            (Dead, "conflict", "Others kept changing"),
            (Dead, "backend", "an operator"),
            (Dead, "crashed", "an operator"),
            (Dead, "odoo-away", "once it answers"),
            (Dead, "odoo-unusable", "An operator must mend"),
            (Dead, "unavailable", "Another service"),
            (Failed, "access-denied", "A right is missing"),
            (Failed, "no-access", "A right is missing"),
            (Failed, "record-rule", "A right is missing"),
            (Failed, "plan-refused", "Its plan is not allowed"),
            (Failed, "script-inactive", "Activate a version"),
            (Failed, "script-gone", "Activate a version"),
            (Failed, "broken-script", "Activate a version"),
            (Failed, "no-actions", "choose one"),
            (Failed, "failed", "The script said"),
            (Dead, "some-other", "given up after several tries"),
            (Failed, "unknown-user", "as it is set up"),
        ];
        for (state, code, words) in table {
            let told = advice(state, code, Whose::Run);
            assert!(told.contains(words), "{state:?} {code}: {told}");
        }
        for (scope, words) in [(Whose::ServerDay, "all automations together"), (Whose::RuleDay, "in the settings")] {
            let told = advice(Failed, "limit-exceeded", scope);
            assert!(told.contains(words), "{scope:?}: {told}");
        }
        // A code that a script's end can have and that is not here would be told of in general words only.
        for code in Verdict::FAILURES {
            let told = advice(Failed, code, Whose::Run);
            assert!(!told.contains("as it is set up"), "{code}: {told}");
        }
    }
}
