//! Runs: what happened, filtered, over time.

use std::collections::BTreeMap;

use axum::extract::State;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{Markup, html};
use rusqlite::Connection;
use serde::Deserialize;
use triggerbox_automation::{
    EngineError,
    index::Index,
    pace,
    runs::{self, RunFilter, RunId, RunState, RunSummary},
};
use triggerbox_model::value::{Id, RecordRef};

use super::{
    automations::{is_deleted, named as automation, named_in_full},
    page::{Answer, Page, Tab},
    parts::{self, Column, address, empty, encoded, option, time, took},
    visitor::Visitor,
};
use crate::{
    api::{
        cut,
        runs::{may_ask, named, visible},
    },
    app::App,
    extract::Asked,
    problem::Problem,
};

/// Runs of one page.
const PAGE: u32 = 50;

/// Runs that the chart counts at most: the page stays quick however many there are.
const CHARTED: i64 = 5_000;

/// Runs that a page looks through for what no index leads to at once: the next page looks farther back.
const SEARCHED: i64 = 20_000;

/// What is asked for. Empty means: does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    rule: String,
    state: String,
    model: String,
    record: String,
    code: String,
    since: String,
    until: String,
    before: Option<i64>,
}

impl Query {
    fn filter(&self, zone: &TimeZone) -> Result<RunFilter, Problem> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let state = some(&self.state).map(|name| {
            let known = RunState::ALL.into_iter().find(|state| state.name() == name);
            known.ok_or_else(|| Problem::invalid("bad-query", format!("`{name}` is no state of a run")))
        });
        let day = |text: &str, end: bool| -> Result<Option<Timestamp>, Problem> {
            let Some(text) = some(text) else { return Ok(None) };
            let bad = || Problem::invalid("bad-query", format!("`{text}` is no date such as 2026-11-21"));
            let date: jiff::civil::Date = text.parse().map_err(|_| bad())?;
            let date = if end { date.tomorrow().map_err(|_| bad())? } else { date };
            Ok(Some(date.to_zoned(zone.clone()).map_err(|_| bad())?.timestamp()))
        };
        Ok(RunFilter {
            rule: some(&self.rule),
            state: state.transpose()?,
            record: typed_record(&self.model, &self.record)?,
            code: some(&self.code),
            since: day(&self.since, false)?,
            until: day(&self.until, true)?,
            before: self.before,
            limit: PAGE + 1,
            ..RunFilter::default()
        })
    }

    /// Whether many runs may have to be looked at for few that match.
    fn is_sparse(&self) -> bool {
        let said = |text: &String| !text.trim().is_empty();
        let indexed = [&self.rule, &self.state, &self.model, &self.code].into_iter().filter(|text| said(text)).count();
        indexed > 1 || said(&self.since) || said(&self.until)
    }

    fn is_empty(&self) -> bool {
        let texts = [&self.rule, &self.state, &self.model, &self.record, &self.code, &self.since, &self.until];
        texts.iter().all(|text| text.is_empty()) && self.before.is_none()
    }

    fn next(&self, before: i64) -> String {
        let named = [
            ("rule", &self.rule),
            ("state", &self.state),
            ("model", &self.model),
            ("record", &self.record),
            ("code", &self.code),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let said = named.iter().filter(|(_, value)| !value.is_empty());
        let said: String = said.map(|(name, value)| format!("{name}={}&", encoded(value))).collect();
        format!("/runs?{said}before={before}")
    }
}

/// The record that was typed; none, where nothing was.
pub(super) fn typed_record(model: &str, record: &str) -> Result<Option<RecordRef>, Problem> {
    let (model, record) = (model.trim(), record.trim());
    let bad = |_| Problem::invalid("bad-query", format!("`{record}` is no record's id, a whole number"));
    let id = Some(record).filter(|record| !record.is_empty()).map(|record| record.parse::<Id>().map_err(bad));
    named(Some(model.to_owned()).filter(|model| !model.is_empty()), id.transpose()?)
}

pub(super) async fn list(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let filter = query.filter(&visitor.zone)?;
    let (rule, now) = (filter.rule.clone(), app.engine().clock().now());
    let zone = visitor.zone.clone();
    let sparse = query.is_sparse();
    let may_ask = may_ask(&app, &visitor.caller, filter.record.as_ref()).await?;
    let (mut found, floor, columns, weeks, rules) = app
        .read(move |conn| {
            let after = if sparse { floor(conn, filter.before)? } else { None };
            let found = runs::list(conn, &RunFilter { after, ..filter })?;
            let rule = rule.as_deref();
            let (hours, weeks) = (chart(conn, rule, now, &zone)?, weeks(conn, rule, now, &zone)?);
            Ok::<_, EngineError>((found, after, hours, weeks, names(conn)?))
        })
        .await?;
    if !may_ask {
        found.clear();
    }
    // What the search did not reach is on the next page.
    let older = cut(&mut found, PAGE, |run| run.id);
    let next = older.or(floor.map(|after| after + 1));
    let hidden = found.len();
    let found = visible(&app, &visitor.caller, found).await?;
    let hidden = hidden - found.len();
    let there = app.engine().rules()?;
    let body = html! {
        (filters(&query, &rules, &there))
        @if rules.contains(&query.rule) && is_deleted(&there, &query.rule) { p { (named_in_full(&there, &query.rule)) } }
        div #live data-live {
            @let counted: u64 = columns.iter().map(|(_, good, bad)| good + bad).sum();
            @if counted < CHARTED.unsigned_abs() { (parts::chart("Runs in the last 24 hours", &columns)) }
            @else { (parts::chart(&format!("The newest {} runs of the last 24 hours", parts::grouped(CHARTED.unsigned_abs())), &columns)) }
            (parts::chart("Runs that ended, by day, in the last four weeks", &weeks))
            @if found.is_empty() {
                @if query.is_empty() && hidden == 0 {
                    (empty("No runs yet", html! {
                        p { "A run is what an automation does once: a record changed, a time came, somebody pressed a button. Each one is kept here with what it read, what it changed and what it used." }
                        p { a.button.primary href="/automations" { "Go to the automations" } }
                    }))
                } @else {
                    (empty("No runs like these", html! { p { @if next.is_some() { "Not among those that were searched: the next page looks farther back." } @else { "Nothing that you may see matches the filters." } } p { a.button href="/runs" { "Show all runs" } } }))
                }
            } @else { section.card { (table(&found, &visitor.zone, &there)) } }
            @if hidden > 0 { p.faint { (hidden) " runs are about records that you may not read." } }
            @if let Some(next) = next { p { a.button href=(query.next(next)) { @if older.is_some() { "Older runs" } @else { "Search older runs" } } } }
        }
    };
    Ok(Page::new(Tab::Runs, "Runs", body))
}

fn filters(query: &Query, rules: &[String], there: &Index) -> Markup {
    let input = |name: &str, label: &str, kind: &str, value: &str| {
        html! { div { label for=(name) { (label) } br; input id=(name) type=(kind) name=(name) value=(value) size="12"; } }
    };
    html! {
        form.toolbar method="get" action="/runs" role="search" aria-label="Filter runs" {
            div {
                label for="rule" { "Automation" } br;
                select #rule name="rule" {
                    option value="" { "All" }
                    @if !query.rule.is_empty() && !rules.contains(&query.rule) { (option(&query.rule, &query.rule, &query.rule)) }
                    @for rule in rules { (option(rule, &label(there, rule), &query.rule)) }
                }
            }
            div {
                label for="state" { "State" } br;
                select #state name="state" {
                    option value="" { "All" }
                    @for state in RunState::ALL { (option(state.name(), parts::state_words(state).1, &query.state)) }
                }
            }
            (input("model", "Model", "text", &query.model))
            (input("record", "Record id", "text", &query.record))
            (input("code", "Code", "text", &query.code))
            (input("since", "From", "date", &query.since))
            (input("until", "To", "date", &query.until))
            button type="submit" { "Filter" }
            @if !query.is_empty() { a.button href="/runs" { "All" } }
        }
    }
}

/// Runs as a table; `rules`: those that there are.
pub(super) fn table(found: &[RunSummary], zone: &TimeZone, rules: &Index) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Runs" {
            table.stack {
                thead { tr {
                    th scope="col" { "Run" } th scope="col" { "Automation" } th scope="col" { "Record" }
                    th scope="col" { "When" } th scope="col" { "State" } th scope="col" { "How it ended" }
                } }
                tbody {
                    @for run in found {
                        tr {
                            th scope="row" { a href=(address(&["runs", &run.id.to_string()])) { "#" (run.id) } }
                            td.name { (automation(rules, &run.rule)) @if run.superuser { " " span.superuser { "superuser" } } }
                            td { @if let Some(model) = &run.model { (model) @if let Some(record) = run.record { " · " (record) } } @else { span.faint { "none" } } }
                            td { (time(run.at, zone)) @if let Some(finished) = run.finished { " " span.faint { "took " (took(finished.as_millisecond() - run.at.as_millisecond())) } } }
                            td { (parts::state(run.state)) @if run.attempt > 1 { " " span.faint { "try " (run.attempt) } } }
                            td.quiet { (ended(run)) }
                        }
                    }
                }
            }
        }
    }
}

fn ended(run: &RunSummary) -> Markup {
    let text = run.message.as_deref().or(run.code.as_deref()).unwrap_or_default();
    let short: String = text.chars().take(160).collect();
    html! { (short) @if short.len() < text.len() { "…" } }
}

/// The run that a search ends before; none: it reaches all that there are.
fn floor(conn: &Connection, before: Option<RunId>) -> rusqlite::Result<Option<RunId>> {
    let newest = match before {
        Some(before) => before,
        None => conn.prepare_cached("SELECT coalesce(max(id), 0) FROM engine_run")?.query_row([], |row| row.get(0))?,
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM engine_run WHERE id <= ?1)";
    let floor = newest.saturating_sub(SEARCHED);
    let more: bool = conn.prepare_cached(sql)?.query_row([floor], |row| row.get(0))?;
    Ok(Some(floor).filter(|_| more))
}

/// What a rule that there is, or was, is called in a choice.
pub(super) fn label(rules: &Index, name: &str) -> String {
    if is_deleted(rules, name) { format!("{name} (deleted)") } else { name.to_owned() }
}

/// The rules that there are, or were.
pub(super) fn names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM engine_rule UNION SELECT DISTINCT rule FROM engine_rule_version ORDER BY 1 LIMIT 500";
    conn.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// The last 24 hours, hour by hour.
fn chart(conn: &Connection, rule: Option<&str>, now: Timestamp, zone: &TimeZone) -> rusqlite::Result<Vec<Column>> {
    const HOUR: i64 = 3_600_000;
    let last = now.as_millisecond() / HOUR;
    let sql = "SELECT at / 3600000, state IN ('failed', 'dead', 'outcome-unknown'), count(*) FROM engine_run \
               WHERE id > (SELECT coalesce(max(id), 0) FROM engine_run) - ?1 AND at >= ?2 AND (?3 IS NULL OR rule = ?3) \
               GROUP BY 1, 2";
    let mut counts: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((CHARTED, (last - 23) * HOUR, rule))?;
    while let Some(row) = rows.next()? {
        let slot = counts.entry(row.get(0)?).or_default();
        let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
        if row.get(1)? { slot.1 += count } else { slot.0 += count }
    }
    let hour = |back: i64| {
        let at = now.saturating_sub(SignedDuration::from_hours(back)).unwrap_or(now);
        at.to_zoned(zone.clone()).strftime("%H:00").to_string()
    };
    let column = |back: i64| {
        let (good, bad) = counts.get(&(last - back)).copied().unwrap_or_default();
        (hour(back), good, bad)
    };
    Ok((0..24).rev().map(column).collect())
}

/// The last four weeks, day by day.
fn weeks(conn: &Connection, rule: Option<&str>, now: Timestamp, zone: &TimeZone) -> Result<Vec<Column>, EngineError> {
    let days = pace::days(conn, rule, now, zone, 28)?;
    Ok(days.into_iter().map(|day| (day.date.strftime("%-d %b").to_string(), day.good, day.bad)).collect())
}
