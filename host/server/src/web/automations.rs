//! Automations: the list.

use axum::extract::State;
use maud::{Markup, html};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use triggerbox_automation::{
    EngineError,
    clock::timestamp,
    index::Index,
    rule::{
        Action, Environment, Mode, Rule, Trigger,
        stored::{self, Stored},
        trigger::Unit,
    },
    runs::RunState,
    scripts::registry,
};
use triggerbox_model::error::Error;

use super::{
    page::{Answer, Page, Tab, sentence},
    parts::{address, badge, empty, encoded, fitting, long, state, time},
    visitor::Visitor,
};
use crate::{app::App, extract::Asked, problem::Problem, tokens::Scope};

/// Rules of one page.
const PAGE: usize = 100;

/// Rules that are read at once.
const BATCH: usize = 200;

/// Bytes of what a page tells of them.
const MOST_BYTES: usize = 120_000;

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    text: String,
    show: String,
    /// The name that the page begins with.
    from: String,
}

impl Query {
    fn wants(&self, stored: &Stored, is_ai: impl FnOnce() -> bool) -> bool {
        let rule = &stored.rule;
        let scheduled = matches!(rule.trigger, Trigger::Schedule(_));
        let text = self.text.trim().to_lowercase();
        let words = [&rule.name, &rule.title, &rule.notes, rule.model.as_ref().unwrap_or(&rule.name)];
        let named = text.is_empty() || words.iter().any(|word| word.to_lowercase().contains(&text));
        named
            && match self.show.as_str() {
                "active" => rule.active && stored.paused.is_none(),
                "paused" => stored.paused.is_some(),
                "archived" => !rule.active,
                "ai-rules" => !scheduled && is_ai(),
                "ai-schedules" => scheduled && is_ai(),
                _ => true,
            }
    }
}

/// A page of rules.
struct Found {
    rows: Vec<Row>,
    /// What the next page begins with.
    next: Option<String>,
    /// Whether there are any, of any kind.
    any: bool,
}

/// A rule with what the list tells about it.
struct Row {
    stored: Stored,
    /// It asks language models.
    is_ai: bool,
    /// When its newest run was, and where that stands.
    last: Option<(i64, String)>,
}

pub(super) async fn list(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    if query.show.starts_with("ai-") && !visitor.may(Scope::Admin) {
        return Err(Problem::denied("role-lacks", "lists of what asks language models are for administrators").into());
    }
    let asked = query.clone();
    let Found { rows, next, any } = app.read(move |conn| find(conn, &asked)).await?;
    let rules = app.engine().rules()?;
    let broken = |row: &Row| rules.rule(&row.stored.rule.name).ok().and_then(|armed| armed.broken.as_ref());
    let (lines, cut) = fitting(rows.iter().map(|row| line(row, broken(row), &visitor)), MOST_BYTES);
    // What has no room here is on the next page.
    let next = rows.get(lines.len()).filter(|_| cut > 0).map(|row| row.stored.rule.name.clone()).or(next);
    let next = next.map(|name| {
        let (text, show) = (encoded(&query.text), encoded(&query.show));
        format!("/automations?text={text}&show={show}&from={}", encoded(&name))
    });
    let body = html! {
        form.toolbar method="get" action="/automations" role="search" aria-label="Find automations" {
            @if visitor.may(Scope::Rules) { a.button.primary href="/automations/_new" { "New" } }
            span.grow {}
            div { label for="text" { "Search" } br; input #text type="search" name="text" value=(query.text); }
            div {
                label for="show" { "Show" } br;
                select #show name="show" {
                    @for (value, label) in filters(&visitor) { (super::parts::option(value, label, &query.show)) }
                }
            }
            button type="submit" { "Find" }
        }
        div #live data-live {
            @if rows.is_empty() && any { (empty("No automations like these", html! { p { a.button href="/automations" { "Show all" } } })) }
            @else if rows.is_empty() {
                (empty("No automations yet", html! {
                    p { "An automation says when a script runs: on which model, on which trigger, for which records, with which rights. Upload a script first, or use one that comes with the program." }
                    p { a.button.primary href="/automations/_new" { "Create an automation" } " " a.button href="/scripts" { "Scripts" } }
                }))
            } @else {
                section.card { div.scroll tabindex="0" role="region" aria-label="Automations" { table.stack {
                    thead { tr { th scope="col" { "Automation" } th scope="col" { "Model" } th scope="col" { "Trigger" } th scope="col" { "Actions to do" } th scope="col" { "State" } th scope="col" { "Last run" } } }
                    tbody { @for line in &lines { (line) } }
                } } }
            }
            @if let Some(next) = next { p { a.button href=(next) { "More automations" } } }
        }
    };
    let listed = filters(&visitor).into_iter().find(|(value, _)| query.show.starts_with("ai-") && *value == query.show);
    Ok(Page::new(Tab::Automations, listed.map_or("Automations", |(_, label)| label), body))
}

fn filters(visitor: &Visitor) -> Vec<(&'static str, &'static str)> {
    let mut filters = vec![("", "All"), ("active", "Active"), ("paused", "Paused"), ("archived", "Switched off")];
    if visitor.may(Scope::Admin) {
        filters.extend([("ai-rules", "AI automation rules"), ("ai-schedules", "AI scheduled actions")]);
    }
    filters
}

fn find(conn: &Connection, query: &Query) -> Result<Found, EngineError> {
    let (mut rows, mut from) = (Vec::new(), query.from.clone());
    let any = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM engine_rule)")?.query_row([], |row| row.get(0))?;
    loop {
        let mut batch = stored::from(conn, &from, BATCH + 1)?;
        // The one beyond is where the next batch begins.
        let beyond = if batch.len() > BATCH { batch.pop() } else { None };
        for stored in batch {
            if !query.wants(&stored, || asks_models(conn, &stored.rule)) {
                continue;
            }
            if rows.len() >= PAGE {
                return Ok(Found { rows, next: Some(stored.rule.name), any });
            }
            let sql = "SELECT at, state FROM engine_run WHERE rule = ?1 ORDER BY id DESC LIMIT 1";
            let last = conn.prepare_cached(sql)?.query_row([&stored.rule.name], |row| Ok((row.get(0)?, row.get(1)?)));
            rows.push(Row { last: last.optional()?, is_ai: asks_models(conn, &stored.rule), stored });
        }
        match beyond {
            Some(beyond) => from = beyond.rule.name,
            None => return Ok(Found { rows, next: None, any }),
        }
    }
}

/// Whether a script of a rule asks language models.
pub(super) fn asks_models(conn: &Connection, rule: &Rule) -> bool {
    let imports = |action: &Action| registry::resolve(conn, &action.script).map(|one| one.imports).unwrap_or_default();
    rule.actions.iter().any(|action| imports(action).iter().any(|one| one == "llm"))
}

fn line(row: &Row, broken: Option<&Error>, visitor: &Visitor) -> Markup {
    let rule = &row.stored.rule;
    html! {
        tr {
            th.name scope="row" {
                a href=(address(&["automations", &rule.name])) { (title(rule)) }
                @if row.is_ai { " " (badge("busy", "AI")) }
                @if rule.superuser { " " (badge("red", "superuser")) }
            }
            td { (rule.model.as_deref().unwrap_or("none")) }
            td.quiet { (trigger(&rule.trigger)) }
            td.quiet { @for (at, action) in rule.actions.iter().enumerate() { @if at > 0 { " + " } (action.script.name) } }
            td { (standing(&row.stored, broken)) }
            td {
                @if let Some((at, name)) = &row.last {
                    (state(RunState::ALL.into_iter().find(|state| state.name() == name).unwrap_or(RunState::Failed)))
                    " " span.faint { (time(timestamp(*at), &visitor.zone)) }
                } @else { span.faint { "never" } }
            }
        }
    }
}

/// What people call a rule.
pub(super) fn title(rule: &Rule) -> &str {
    if rule.title.is_empty() { &rule.name } else { &rule.title }
}

/// What a rule is called where something is told of it, with the way to it; of one that was deleted, that it was.
pub(super) fn named(rules: &Index, name: &str) -> Markup {
    html! {
        @if is_deleted(rules, name) { (name) (deleted(rules, name)) }
        @else { a href=(address(&["automations", name])) { (name) } }
    }
}

/// What stands beside the name of a rule that was deleted.
pub(super) fn deleted(rules: &Index, name: &str) -> Markup {
    html! { @if is_deleted(rules, name) { " " (badge("calm", "deleted")) } }
}

/// The same where one thing is told in full: with the way to its history, and so to its earlier versions.
pub(super) fn named_in_full(rules: &Index, name: &str) -> Markup {
    html! {
        (named(rules, name))
        @if is_deleted(rules, name) { " " a href=(address(&["automations", name])) { "Its history" } }
    }
}

pub(super) fn is_deleted(rules: &Index, name: &str) -> bool {
    rules.rule(name).is_err()
}

/// Whether it fires, and whether in earnest. `broken`: why it cannot.
pub(super) fn standing(stored: &Stored, broken: Option<&Error>) -> Markup {
    let rule = &stored.rule;
    html! {
        @if !rule.active { (badge("calm", "Off")) }
        @else if stored.paused.is_some() { (badge("wait", "Paused")) }
        @else if let Some(why) = broken { (badge("bad", "Broken")) " " span.faint { (long(&sentence(&why.to_string()))) } }
        @else { (badge("good", "Active")) }
        @if rule.environment == Environment::Test { " " (badge("busy", "Test: commits nothing")) }
        @match rule.mode {
            Mode::Approve => { " " (badge("wait", "Asks for approval")) },
            Mode::Recommend => { " " (badge("calm", "Recommends only")) },
            Mode::Auto => {},
        }
    }
}

/// A trigger in words.
pub(super) fn trigger(trigger: &Trigger) -> String {
    let watched = |words: &str, fields: &[String]| match fields {
        [] => words.to_owned(),
        fields => format!("{words}: {}", fields.join(", ")),
    };
    let after = |count: i64, unit: &Unit, what: &str| {
        let unit = unit_name(*unit);
        if count < 0 { format!("{} {unit} before {what}", -count) } else { format!("{count} {unit} after {what}") }
    };
    match trigger {
        Trigger::Created {} => "On create".to_owned(),
        Trigger::Updated { fields } => watched("On edit", fields),
        Trigger::CreatedOrUpdated { fields } => watched("On create and edit", fields),
        Trigger::Deleted {} => "On deletion".to_owned(),
        Trigger::StageSet { value } => value.map_or("Stage is set".to_owned(), |id| format!("Stage is set to {id}")),
        Trigger::StateSet { value, field } => format!("{} is set to {value}", field.as_deref().unwrap_or("State")),
        Trigger::PrioritySet { value } => format!("Priority is set to {value}"),
        Trigger::TagSet { value } => format!("Tag {value} is added"),
        Trigger::UserSet {} => "User is set".to_owned(),
        Trigger::Archived {} => "On archived".to_owned(),
        Trigger::Unarchived {} => "On unarchived".to_owned(),
        Trigger::Time { field, delay, unit, .. } => after(i64::from(*delay), unit, field),
        Trigger::AfterCreation { delay, unit, .. } => after(i64::from(*delay), unit, "creation"),
        Trigger::AfterUpdate { delay, unit, .. } => after(i64::from(*delay), unit, "last update"),
        Trigger::MessageReceived {} => "On incoming message".to_owned(),
        Trigger::MessageSent {} => "On outgoing message".to_owned(),
        Trigger::OnChange { fields } => watched("On change in a form", fields),
        Trigger::Before { fields, .. } => watched("Before a write", fields),
        Trigger::Webhook { .. } => "On webhook".to_owned(),
        Trigger::Manual {} => "By hand".to_owned(),
        Trigger::Schedule(schedule) => match (&schedule.cron, schedule.every, schedule.unit) {
            (Some(cron), ..) => format!("Scheduled: {cron}"),
            (None, Some(every), Some(unit)) => format!("Every {every} {}", unit_name(unit)),
            _ => "Scheduled".to_owned(),
        },
    }
}

/// A unit's name, as in rules.
pub(super) fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Minutes => "minutes",
        Unit::Hours => "hours",
        Unit::Days => "days",
        Unit::Weeks => "weeks",
        Unit::Months => "months",
    }
}
