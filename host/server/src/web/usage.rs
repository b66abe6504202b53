//! Usage and health: how runs go, what waits, what stopped, what language models cost.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use rusqlite::{Connection, Row};
use triggerbox_automation::{
    EngineError,
    clock::timestamp,
    index::Index,
    runs::{RunId, RunState},
};
use triggerbox_llm::budget::{self, Amount};
use triggerbox_model::limits;

use super::{
    automations::{deleted, named},
    form::Form,
    page::{Answer, Done, Page, Tab},
    parts::{self, action, address, badge, bar, empty, euro, field, fitting, grouped, hidden_token, long, time, took},
    visitor::{Visitor, names},
};
use crate::{api::runs::seen_of, app::App, people::audit, problem::Problem, tokens::Scope, told};

/// The newest runs that are counted.
const COUNTED: i64 = 2_000;

/// Of them, those whose time is looked up: tries lie beside all that was kept of them.
const TIMED: i64 = 500;

/// Stuck runs that are shown.
const STUCK: usize = 50;

/// Days of spending that are shown.
const DAYS: i32 = 14;

/// Bytes of the rows of one table.
const MOST_BYTES: usize = 45_000;

/// The newest calls of language models whose models are looked up: what each asked is read for it.
const CALLS: i64 = 2_000;

/// How one rule goes.
#[derive(Default)]
struct Pulse {
    runs: u64,
    failed: u64,
    /// Failed ones that are left to people: given up, or of an unknown outcome.
    left: u64,
    times: Vec<i64>,
}

/// What was charged to one account of one day: a rule's, or the server's.
struct Spent {
    day: String,
    rule: String,
    amount: Amount,
}

/// What one rule asked of one model on one day.
struct Asked {
    day: String,
    rule: String,
    model: String,
    amount: Amount,
}

/// What language models cost, from the accounts that budgets are held against.
struct Money {
    /// The server's days, the newest first.
    days: Vec<Spent>,
    /// The rules' days: the newest first, then by rule.
    rules: Vec<Spent>,
    /// By model, as far as the newest calls tell.
    models: Vec<Asked>,
    /// Whether there are older calls in these days.
    more: bool,
}

struct Health {
    states: Vec<(RunState, u64)>,
    oldest: Option<i64>,
    rules: BTreeMap<String, Pulse>,
    /// Runs that have been at it for too long, with since when.
    stuck: Vec<(RunId, String, i64)>,
    money: Money,
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor) -> Answer {
    let now = app.engine().clock().now();
    let minutes = i64::from(app.config().alerts.stuck_minutes);
    let at_work = app.engine().at_work();
    let health = app.read(move |conn| look(conn, now, minutes, &at_work)).await?;
    let (stops, rules) = (app.engine().stops()?, app.engine().rules()?);
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
                (tile("stuck", u64::try_from(health.stuck.len()).unwrap_or_default(), "bad", if health.stuck.is_empty() { of(RunState::Running) } else { "#stuck".to_owned() }))
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
                    @let (rows, left) = fitting(health.rules.iter().map(|(rule, pulse)| pace(&rules, rule, pulse)), MOST_BYTES);
                    tbody { @for row in &rows { (row) } }
                } } (more(left)) }
            }
            section.card { h2 { "Language models" } (spending(&app, &health.money, now, &rules)) }
            @if !health.stuck.is_empty() {
                section.card #stuck { h2 { "Stuck runs" } ul { @for (run, rule, since) in health.stuck.iter().take(STUCK) { li { a href=(address(&["runs", &run.to_string()])) { "Run #" (run) } " of " (rule) (deleted(&rules, rule)) ", since " (time(timestamp(*since), &visitor.zone)) } } } }
            }
        }
        @if visitor.may(Scope::Operate) { (stop_form(&visitor)) }
    };
    Ok(Page::new(Tab::Usage, "Usage & health", body))
}

/// How one rule goes.
fn pace(rules: &Index, rule: &str, pulse: &Pulse) -> Markup {
    let only = if pulse.left == 0 { "&state=failed" } else { "" };
    html! {
        tr {
            th.name scope="row" { (named(rules, rule)) }
            td.number { (grouped(pulse.runs)) }
            td.number { @if pulse.failed > 0 { a href=(format!("/runs?rule={}{only}", parts::encoded(rule))) { (grouped(pulse.failed)) } } @else { "0" } }
            td { (rate(pulse)) }
            td.number { (within(&pulse.times, 50)) }
            td.number { (within(&pulse.times, 95)) }
        }
    }
}

/// How many rows a table has no room for.
fn more(left: usize) -> Markup {
    html! { @if left > 0 { p.faint { "and " (grouped(u64::try_from(left).unwrap_or_default())) " more" } } }
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

fn spending(app: &App, money: &Money, now: Timestamp, there: &Index) -> Markup {
    let services = app.engine().services();
    let budgets = services.as_ref().map(|services| &services.budgets);
    let (server, rule) = (budgets.map(|all| all.server_day.amount()), budgets.map(|all| all.rule_day.amount()));
    let today = day(now);
    let spent_today = money.days.iter().find(|one| one.day == today).map(|one| one.amount).unwrap_or_default();
    let amounts = |one: Amount| {
        html! { td.number { (grouped(one.calls)) } td.number { (grouped(one.tokens)) } td.number { (euro(one.micro_euro)) } }
    };
    let of_rule = |one: &Spent| {
        html! {
            tr {
                td { (one.day) } th.name scope="row" { (one.rule) (deleted(there, &one.rule)) } (amounts(one.amount))
                td { (part(one.amount.tokens, rule.map(|most| most.tokens))) }
                td { (part(one.amount.micro_euro, rule.map(|most| most.micro_euro))) }
            }
        }
    };
    let of_model = |one: &Asked| html! { tr { td { (one.day) } th.name scope="row" { (one.rule) (deleted(there, &one.rule)) } td { (long(&one.model)) } (amounts(one.amount)) } };
    let (rules, rules_left) = fitting(money.rules.iter().map(of_rule), MOST_BYTES);
    let (models, models_left) = fitting(money.models.iter().map(of_model), MOST_BYTES);
    html! {
        @if money.days.is_empty() && money.models.is_empty() { p.faint { "No automation has asked a language model in the last " (DAYS) " days." } } @else {
            @if let Some(most) = server {
                h3 { "Today (" (today) " UTC), of the server's budget" }
                (of_budget(spent_today, most))
            }
            h3 { "By day and automation" @if rule.is_some() { span.faint { ", of each automation's budget for a day" } } }
            div.scroll tabindex="0" role="region" aria-label="Language models by automation" { table.stack {
                thead { tr { th scope="col" { "Day (UTC)" } th scope="col" { "Automation" } th.number scope="col" { "Calls" } th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } th scope="col" { "Of its tokens" } th scope="col" { "Of its money" } } }
                tbody { @for row in &rules { (row) } }
            } }
            (more(rules_left))
            h3 { "All automations together" @if server.is_some() { span.faint { ", of the server's budget for a day" } } }
            div.scroll tabindex="0" role="region" aria-label="Language models by day" { table.stack {
                thead { tr { th scope="col" { "Day (UTC)" } th.number scope="col" { "Calls" } th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } th scope="col" { "Of its tokens" } th scope="col" { "Of its money" } } }
                tbody { @for one in &money.days { tr {
                    th scope="row" { (one.day) } (amounts(one.amount))
                    td { (part(one.amount.tokens, server.map(|most| most.tokens))) }
                    td { (part(one.amount.micro_euro, server.map(|most| most.micro_euro))) }
                } } }
            } }
            h3 { "By model" @if money.more { span.faint { ", of the newest " (grouped(CALLS.unsigned_abs())) " calls alone" } } }
            div.scroll tabindex="0" role="region" aria-label="Language models by model" { table.stack {
                thead { tr { th scope="col" { "Day (UTC)" } th scope="col" { "Automation" } th scope="col" { "Model" } th.number scope="col" { "Calls" } th.number scope="col" { "Tokens" } th.number scope="col" { "Cost" } } }
                tbody { @for row in &models { (row) } }
            } }
            (more(models_left))
        }
    }
}

/// What was used of a budget, each of its three parts.
fn of_budget(used: Amount, most: Amount) -> Markup {
    html! {
        dl.facts {
            dt { "Money" } dd { (euro(used.micro_euro)) " of " (euro(most.micro_euro)) " " (part(used.micro_euro, Some(most.micro_euro))) }
            dt { "Tokens" } dd { (grouped(used.tokens)) " of " (grouped(most.tokens)) " " (part(used.tokens, Some(most.tokens))) }
            dt { "Calls" } dd { (grouped(used.calls)) " of " (grouped(most.calls)) " " (part(used.calls, Some(most.calls))) }
        }
    }
}

/// A part of what a budget has; nothing, where there is no budget.
fn part(used: u64, most: Option<u64>) -> Markup {
    html! { @if let Some(most) = most { (bar(used.saturating_mul(100).checked_div(most).unwrap_or(if used > 0 { 100 } else { 0 }).min(100))) } }
}

/// A day as the accounts name it.
fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
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
            p { (action(visitor, "/usage/retry-dead", "Retry all that were given up", "")) }
        }
    }
}

fn look(
    conn: &Connection,
    now: Timestamp,
    minutes: i64,
    at_work: &HashMap<RunId, Timestamp>,
) -> Result<Health, EngineError> {
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
    let sql = "SELECT r.rule, r.state, \
               CASE WHEN r.id > (SELECT coalesce(max(id), 0) FROM engine_run) - ?2 THEN \
               (SELECT sum(a.finished - a.started) FROM engine_attempt a WHERE a.run = r.id AND a.attempt = r.attempt) END \
               FROM engine_run r WHERE r.id > (SELECT coalesce(max(id), 0) FROM engine_run) - ?1 AND r.finished IS NOT NULL";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([COUNTED, TIMED])?;
    while let Some(row) = rows.next()? {
        let pulse = rules.entry(row.get(0)?).or_default();
        pulse.runs += 1;
        let state: String = row.get(1)?;
        let is_left = matches!(state.as_str(), "dead" | "outcome-unknown");
        pulse.left += u64::from(is_left);
        pulse.failed += u64::from(is_left || state == "failed");
        pulse.times.extend(row.get::<_, Option<i64>>(2)?);
    }
    rules.values_mut().for_each(|pulse| pulse.times.sort_unstable());
    let sql = "SELECT id, rule, due FROM engine_run WHERE state = 'running' AND due < ?1 ORDER BY due";
    let mut statement = conn.prepare_cached(sql)?;
    let before = now.as_millisecond() - minutes * 60_000;
    let running = statement.query_map([before], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut stuck = Vec::new();
    for row in running {
        let (run, rule, due): (RunId, String, i64) = row?;
        // What waited for a worker, or for the end of a pause or a stop, began later than it was due.
        let since = at_work.get(&run).map_or(due, |begun| begun.as_millisecond());
        if minutes > 0 && since < before {
            stuck.push((run, rule, since));
        }
    }
    stuck.sort_unstable_by_key(|(_, _, since)| *since);
    Ok(Health { states, oldest, rules, stuck, money: money(conn, now)? })
}

fn money(conn: &Connection, now: Timestamp) -> rusqlite::Result<Money> {
    let back = |days: i32| now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
    let days: Vec<String> = (0..DAYS).map(|days| day(back(days))).collect();
    let amount = |row: &Row<'_>, first: usize| {
        let number =
            |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.unwrap_or_default().unsigned_abs());
        Ok::<_, rusqlite::Error>(Amount {
            calls: number(first)?,
            tokens: number(first + 1)?,
            micro_euro: number(first + 2)?,
        })
    };
    let mut server = Vec::new();
    for day in &days {
        let amount = budget::used(conn, limits::Scope::ServerDay, day)?;
        if amount != Amount::default() {
            server.push(Spent { day: day.clone(), rule: String::new(), amount });
        }
    }
    // Accounts are found by their keys: those of each rule that there is, or was, on each of the days.
    let sql = "SELECT d.value, r.name, a.calls, a.tokens, a.micro_euro FROM json_each(?1) d \
               JOIN (SELECT name FROM engine_rule UNION SELECT rule FROM engine_rule_version) r \
               JOIN llm_account a ON a.scope = ?2 AND a.key = r.name || '@' || d.value ORDER BY d.key, r.name";
    let spent = |row: &Row<'_>| Ok(Spent { day: row.get(0)?, rule: row.get(1)?, amount: amount(row, 2)? });
    let json = serde_json::to_string(&days).unwrap_or_default();
    let mut statement = conn.prepare_cached(sql)?;
    let rules = statement.query_map((&json, limits::Scope::RuleDay.name()), spent)?.collect::<Result<_, _>>()?;
    let sql = "SELECT date(at / 1000, 'unixepoch') AS day, rule, \
               coalesce(request ->> '$.by', request ->> '$.model', '–') AS model, count(*), \
               sum(coalesce(used, worst) ->> '$.tokens'), sum(coalesce(used, worst) ->> '$.micro_euro') \
               FROM (SELECT * FROM llm_call WHERE id > (SELECT coalesce(max(id), 0) FROM llm_call) - ?2) \
               WHERE kind = 'model' AND at >= ?1 GROUP BY day, rule, model ORDER BY day DESC, rule, model";
    let since = back(DAYS - 1).as_millisecond();
    let since = since - since.rem_euclid(24 * 3_600_000);
    let asked =
        |row: &Row<'_>| Ok(Asked { day: row.get(0)?, rule: row.get(1)?, model: row.get(2)?, amount: amount(row, 3)? });
    let mut statement = conn.prepare_cached(sql)?;
    let models = statement.query_map((since, CALLS), asked)?.collect::<Result<_, _>>()?;
    let sql = "SELECT EXISTS (SELECT 1 FROM llm_call WHERE id = (SELECT max(id) FROM llm_call WHERE id <= \
               (SELECT max(id) FROM llm_call) - ?2) AND at >= ?1)";
    let more = conn.prepare_cached(sql)?.query_row((since, CALLS), |row| row.get(0))?;
    Ok(Money { days: server, rules, models, more })
}

pub(super) async fn stop(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Done> {
    let model = form.some("model");
    if let Some(model) = &model {
        app.engine().database().schema().model(model)?;
    }
    let reason = form.some("reason").ok_or_else(|| Problem::invalid("bad-body", "say why: everybody will read it"))?;
    audit::say(format!("{}: {reason}", model.as_deref().unwrap_or("all automations")));
    app.engine().stop(model.as_deref(), visitor.caller.user, &reason).await?;
    Ok(Done::new("/usage", "Stopped. Automations still fire; their runs wait."))
}

pub(super) async fn go(State(app): State<App>, form: Form) -> Answer<Done> {
    let model = form.some("model");
    audit::say(model.as_deref().unwrap_or("all automations"));
    app.engine().go(model.as_deref()).await?;
    Ok(Done::new("/usage", "They run again."))
}

/// Tries again what was given up: a hundred at a time.
pub(super) async fn retry_dead(State(app): State<App>, visitor: Visitor) -> Answer<Done> {
    let filter =
        triggerbox_automation::runs::RunFilter { state: Some(RunState::Dead), limit: 100, ..Default::default() };
    let inner = app.clone();
    let dead = app.blocking(move || Ok(inner.engine().runs(&filter)?)).await?;
    let more = if dead.len() < 100 { "" } else { " That was the newest hundred; older ones may be left." };
    // As each by itself: by who may see all of it.
    let seen = seen_of(&app, &visitor.caller, dead.iter().map(|run| run.id).collect()).await?;
    let ids: Vec<_> = seen.into_iter().rev().collect();
    audit::say(told::runs(&ids));
    let mut refused = 0;
    for run in &ids {
        match app.engine().retry(*run).await {
            // Somebody else was faster, or it is damaged: that says nothing of the others.
            Err(EngineError::Refused(_)) => refused += 1,
            done => done?,
        }
    }
    let left = if refused > 0 { format!(" {refused} cannot be: their pages say why.") } else { String::new() };
    Ok(Done::new("/usage", format!("{} run(s) are tried again.{left}{more}", ids.len() - refused)))
}
