//! Usage and health: how runs go, what waits, what stopped, what language models cost.

use std::collections::BTreeMap;

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};
use rusqlite::Connection;
use triggerbox_automation::{EngineError, clock::timestamp, runs::RunState};

use super::{
    form::Form,
    page::{Answer, Done, Page, Tab},
    parts::{self, action, address, badge, bar, empty, euro, field, grouped, hidden_token, long, time, took},
    visitor::{Visitor, names},
};
use crate::{app::App, problem::Problem, tokens::Scope};

/// The newest runs that are counted.
const COUNTED: i64 = 2_000;

/// Of them, those whose time is looked up: tries lie beside all that was kept of them.
const TIMED: i64 = 500;

/// Days of spending that are shown.
const DAYS: i64 = 14;

/// How one rule goes.
#[derive(Default)]
struct Pulse {
    runs: u64,
    failed: u64,
    times: Vec<i64>,
}

/// What one rule spent on one day.
struct Spent {
    day: String,
    rule: String,
    model: String,
    calls: u64,
    tokens: u64,
    cost: u64,
}

struct Health {
    states: Vec<(RunState, u64)>,
    oldest: Option<i64>,
    rules: BTreeMap<String, Pulse>,
    stuck: Vec<(i64, String, i64)>,
    spent: Vec<Spent>,
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor) -> Answer {
    let now = app.engine().clock().now();
    let minutes = i64::from(app.config().alerts.stuck_minutes.max(1));
    let health = app.read(move |conn| look(conn, now, minutes)).await?;
    let stops = app.engine().stops()?;
    let people = names(&app, stops.iter().map(|one| one.by))?;
    let count = |state| health.states.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count);
    let tile = |title: &str, number: u64, class: &str, to: String| {
        html! {
            a class={ "tile " (if number > 0 { class } else { "" }) } href=(to) { b { (grouped(number)) } (title) }
        }
    };
    let of = |state: RunState| format!("/runs?state={}", state.name());
    let body = html! {
        div #live data-live {
            div.tiles {
                (tile("queued", count(RunState::Queued), "", of(RunState::Queued)))
                (tile("running", count(RunState::Running), "", of(RunState::Running)))
                (tile("wait for approval", count(RunState::WaitingApproval), "wait", "/approvals".to_owned()))
                (tile("given up", count(RunState::Dead), "bad", of(RunState::Dead)))
                (tile("outcome unknown", count(RunState::OutcomeUnknown), "bad", of(RunState::OutcomeUnknown)))
                (tile("stuck", u64::try_from(health.stuck.len()).unwrap_or_default(), "bad", of(RunState::Running)))
            }
            @if let Some(due) = health.oldest { p { "The oldest run that is due has waited for " (took(now.as_millisecond() - due)) "." } }
            @if !stops.is_empty() {
                section.card {
                    h2 { "Stopped" }
                    ul { @for one in &stops { li {
                        @match &one.model { Some(model) => { "Automations on " b { (model) } }, None => b { "All automations" } }
                        ", by " (people.get(&one.by).map_or("", String::as_str)) ", " (time(one.at, &visitor.zone)) ": " (long(&one.reason))
                        @if visitor.may(Scope::Operate) {
                            " " form.inline method="post" action="/usage/go" {
                                (hidden_token(&visitor.key)) input type="hidden" name="model" value=(one.model.as_deref().unwrap_or_default());
                                button.small type="submit" { "Let them run again" }
                            }
                        }
                    } } }
                }
            }
            section.card {
                h2 { "By automation" span.faint { ", the newest " (grouped(COUNTED.unsigned_abs())) " runs; times of the newest " (grouped(TIMED.unsigned_abs())) } }
                @if health.rules.is_empty() { (empty("Nothing to tell yet", html! { p { "Once automations have run, their pace and their failures are told here." } })) }
                @else { div.scroll tabindex="0" role="region" aria-label="Automations" { table.stack {
                    thead { tr { th scope="col" { "Automation" } th.number scope="col" { "Runs" } th.number scope="col" { "Failed" } th scope="col" { "Failure rate" } th.number scope="col" { "Median" } th.number scope="col" { "95 % within" } } }
                    tbody { @for (rule, pulse) in &health.rules { tr {
                        th.name scope="row" { a href=(address(&["automations", rule])) { (rule) } }
                        td.number { (grouped(pulse.runs)) }
                        td.number { @if pulse.failed > 0 { a href=(format!("/runs?rule={}&state=failed", parts::encoded(rule))) { (grouped(pulse.failed)) } } @else { "0" } }
                        td { (rate(pulse)) }
                        td.number { (within(&pulse.times, 50)) }
                        td.number { (within(&pulse.times, 95)) }
                    } } }
                } } }
            }
            section.card { h2 { "Language models" } (spending(&app, &health)) }
            @if !health.stuck.is_empty() {
                section.card { h2 { "Stuck runs" } ul { @for (run, rule, since) in &health.stuck { li { a href=(address(&["runs", &run.to_string()])) { "Run #" (run) } " of " (rule) ", since " (time(timestamp(*since), &visitor.zone)) } } } }
            }
        }
        @if visitor.may(Scope::Operate) { (stop_form(&visitor)) }
    };
    Ok(Page::new(Tab::Usage, "Usage & health", body))
}

fn rate(pulse: &Pulse) -> Markup {
    let percent = pulse.failed * 100 / pulse.runs.max(1);
    if pulse.failed == 0 {
        badge("good", "none")
    } else {
        html! { (bar(percent)) }
    }
}

/// The time within which this many of a hundred ended.
fn within(times: &[i64], percent: usize) -> String {
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).map_or_else(|| "–".to_owned(), |time| took(*time))
}

fn spending(app: &App, health: &Health) -> Markup {
    let today = health.spent.first().map(|one| one.day.clone()).unwrap_or_default();
    let budget = app.engine().config().outside.as_ref().map(|services| services.budgets.server_day.cost);
    let spent_today: u64 = health.spent.iter().filter(|one| one.day == today).map(|one| one.cost).sum();
    html! {
        @if health.spent.is_empty() { p.faint { "No automation has asked a language model in the last " (DAYS) " days." } } @else {
            @if let Some(euros) = budget.filter(|euros| *euros > 0.0) {
                @let most = triggerbox_model::limits::micro_euro(euros);
                p { "On " (today) ": " (euro(spent_today)) " of " (euro(most)) " " (bar((spent_today * 100 / most.max(1)).min(100))) }
            }
            div.scroll tabindex="0" role="region" aria-label="Language models" { table.stack {
                thead { tr { th scope="col" { "Day (UTC)" } th scope="col" { "Automation" } th scope="col" { "Model" } th.number scope="col" { "Calls" } th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } } }
                tbody { @for one in health.spent.iter().take(200) { tr {
                    td { (one.day) } th.name scope="row" { (one.rule) } td { (one.model) }
                    td.number { (grouped(one.calls)) } td.number { (grouped(one.tokens)) } td.number { (euro(one.cost)) }
                } } }
            } }
        }
    }
}

fn stop_form(visitor: &Visitor) -> Markup {
    html! {
        section.card {
            h2 { "Stop switch" }
            form method="post" action="/usage/stop" {
                (hidden_token(&visitor.key))
                p { "No run starts any more, of any automation or of those on one model. Automations still fire; their runs wait." }
                div.two {
                    (field("model", "Model", "Empty: all automations.", &[], html! { input #model type="text" name="model" placeholder="crm.lead" autocapitalize="none"; }))
                    (field("reason", "Why", "Shown to everybody.", &[], html! { input #reason type="text" name="reason" required maxlength="300"; }))
                }
                button.danger type="submit" { "Stop" }
            }
            (action(visitor, "/usage/retry-dead", "Retry all that were given up", ""))
        }
    }
}

fn look(conn: &Connection, now: Timestamp, minutes: i64) -> Result<Health, EngineError> {
    let mut states = Vec::new();
    let waiting =
        [RunState::Queued, RunState::Running, RunState::WaitingApproval, RunState::Dead, RunState::OutcomeUnknown];
    for state in waiting {
        let sql = "SELECT count(*) FROM engine_run WHERE state = ?1";
        let count: i64 = conn.prepare_cached(sql)?.query_row([state.name()], |row| row.get(0))?;
        states.push((state, u64::try_from(count).unwrap_or_default()));
    }
    let sql = "SELECT min(due) FROM engine_run WHERE state = 'queued' AND blockers = 0 AND due <= ?1";
    let oldest = conn.prepare_cached(sql)?.query_row([now.as_millisecond()], |row| row.get(0))?;
    let mut rules: BTreeMap<String, Pulse> = BTreeMap::new();
    let sql = "SELECT r.rule, r.state IN ('failed', 'dead', 'outcome-unknown'), \
               CASE WHEN r.id > (SELECT coalesce(max(id), 0) FROM engine_run) - ?2 THEN \
               (SELECT sum(a.finished - a.started) FROM engine_attempt a WHERE a.run = r.id AND a.attempt = r.attempt) END \
               FROM engine_run r WHERE r.id > (SELECT coalesce(max(id), 0) FROM engine_run) - ?1 AND r.finished IS NOT NULL";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([COUNTED, TIMED])?;
    while let Some(row) = rows.next()? {
        let pulse = rules.entry(row.get(0)?).or_default();
        pulse.runs += 1;
        pulse.failed += u64::from(row.get::<_, bool>(1)?);
        pulse.times.extend(row.get::<_, Option<i64>>(2)?);
    }
    rules.values_mut().for_each(|pulse| pulse.times.sort_unstable());
    // A run that runs has no attempt yet: it has been at it since it was due.
    let sql = "SELECT id, rule, due FROM engine_run WHERE state = 'running' AND due < ?1 ORDER BY due LIMIT 50";
    let mut statement = conn.prepare_cached(sql)?;
    let before = now.as_millisecond() - minutes * 60_000;
    let stuck =
        statement.query_map([before], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    Ok(Health { states, oldest, rules, stuck, spent: spent(conn, now)? })
}

/// What was asked of language models, by day, rule and model, the newest first.
fn spent(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Spent>> {
    let sql = "SELECT date(at / 1000, 'unixepoch') AS day, rule, coalesce(request ->> '$.model', '–') AS model, count(*), \
               sum(coalesce(used, worst) ->> '$.tokens'), sum(coalesce(used, worst) ->> '$.micro_euro') FROM llm_call \
               WHERE kind = 'model' AND at >= ?1 AND id > (SELECT coalesce(max(id), 0) FROM llm_call) - ?2 \
               GROUP BY day, rule, model ORDER BY day DESC, rule, model";
    let since = now.as_millisecond() - DAYS * 24 * 3_600_000;
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((since, COUNTED), |row| {
        let number =
            |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.unwrap_or_default().unsigned_abs());
        let (calls, tokens, cost) = (number(3)?, number(4)?, number(5)?);
        Ok(Spent { day: row.get(0)?, rule: row.get(1)?, model: row.get(2)?, calls, tokens, cost })
    })?;
    rows.collect()
}

pub(super) async fn stop(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Done> {
    let model = form.some("model");
    if let Some(model) = &model {
        app.engine().database().schema().model(model)?;
    }
    let reason = form.some("reason").ok_or_else(|| Problem::invalid("bad-body", "say why: everybody will read it"))?;
    app.engine().stop(model.as_deref(), visitor.caller.user, &reason).await?;
    Ok(Done::new("/usage", "Stopped. Automations still fire; their runs wait."))
}

pub(super) async fn go(State(app): State<App>, form: Form) -> Answer<Done> {
    app.engine().go(form.some("model").as_deref()).await?;
    Ok(Done::new("/usage", "They run again."))
}

/// Tries again what was given up: a hundred at a time.
pub(super) async fn retry_dead(State(app): State<App>, visitor: Visitor) -> Answer<Done> {
    let filter =
        triggerbox_automation::runs::RunFilter { state: Some(RunState::Dead), limit: 100, ..Default::default() };
    let inner = app.clone();
    let dead = app.blocking(move || Ok(inner.engine().runs(&filter)?)).await?;
    let dead = crate::api::runs::visible(&app, &visitor.caller, dead).await?;
    for run in &dead {
        app.engine().retry(run.id).await?;
    }
    Ok(Done::new("/usage", format!("{} run(s) are tried again.", dead.len())))
}
