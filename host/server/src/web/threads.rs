//! Threads: what was said and done in runs that ask a language model. A thread is shown to its owner and to who may read
//! all records that it is about; a search tells nothing of others.

use axum::extract::State;
use maud::{Markup, html};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use triggerbox_automation::{
    EngineError,
    index::Index,
    runs::{self, RunId},
    scripts::registry,
    threads::{self, Entry, Said, Thread, ThreadFilter, ThreadSummary},
};
use triggerbox_llm::budget::Amount;

use super::{
    automations::{is_deleted, named, named_in_full},
    page::{Answer, Done, Page, Tab, sentence},
    parts::{self, address, badge, confirmed, empty, encoded, fitting, long, option, time},
    runs::{label as called, names as all_rules, typed_record},
    visitor::{Visitor, names},
};
use crate::{
    api::{
        cut,
        runs::may_ask,
        threads::{renewed, seen, visible},
    },
    app::App,
    extract::{Asked, At},
    problem::Problem,
    tokens::Scope,
};

/// Threads of one page.
const PAGE: u32 = 50;

/// Threads that a search reads for one page.
const SEARCHED: u32 = 200;

/// Runs that a page looks through for threads, where no index leads to them at once: the next page looks farther back.
const WINDOW: i64 = 10_000;

/// Bytes of what was said that one page shows.
const MOST_BYTES: usize = 120_000;

/// What is asked for. Empty means: does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    text: String,
    rule: String,
    agent: String,
    model: String,
    record: String,
    session: String,
    before: Option<RunId>,
}

impl Query {
    fn filter(&self) -> Result<ThreadFilter, Problem> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(ThreadFilter {
            rule: some(&self.rule),
            agent: some(&self.agent),
            record: typed_record(&self.model, &self.record)?,
            session: self.session.trim().parse().ok(),
            before: self.before,
            after: None,
            limit: if self.text.trim().is_empty() { PAGE + 1 } else { SEARCHED },
        })
    }

    fn named(&self) -> [(&'static str, &str); 6] {
        [
            ("text", &self.text),
            ("rule", &self.rule),
            ("agent", &self.agent),
            ("model", &self.model),
            ("record", &self.record),
            ("session", &self.session),
        ]
    }

    fn is_empty(&self) -> bool {
        self.named().iter().all(|(_, value)| value.trim().is_empty()) && self.before.is_none()
    }

    fn next(&self, before: RunId) -> String {
        let said = self.named().into_iter().filter(|(_, value)| !value.is_empty());
        let said: String = said.map(|(name, value)| format!("{name}={}&", encoded(value))).collect();
        format!("/threads?{said}before={before}")
    }
}

/// One page of threads.
struct Found {
    threads: Vec<ThreadSummary>,
    /// `before` of the next page.
    next: Option<RunId>,
    /// Threads that are about records that the visitor may not read. A search does not count them.
    hidden: usize,
}

async fn find(app: &App, visitor: &Visitor, query: &Query) -> Result<Found, Problem> {
    let filter = query.filter()?;
    let may_ask = may_ask(app, &visitor.caller, filter.record.as_ref()).await?;
    let text = query.text.trim().to_owned();
    let (mut all, floor) = app
        .read(move |conn| {
            let sparse = filter.record.is_none() && filter.session.is_none();
            let after = if sparse { floor(conn, filter.before)? } else { None };
            Ok::<_, EngineError>((threads::list(conn, &ThreadFilter { after, ..filter })?, after))
        })
        .await?;
    // What the search did not reach is on the next page.
    let farther = floor.map(|after| after + 1);
    let size = usize::try_from(PAGE).unwrap_or(usize::MAX);
    if text.is_empty() {
        let next = cut(&mut all, PAGE, |thread| thread.id).or(farther);
        let count = all.len();
        let threads = visible(app, &visitor.caller, all).await?;
        let hidden = count - threads.len();
        // How many there are about a record is for who may read it.
        return Ok(match may_ask {
            true => Found { threads, next, hidden },
            false => Found { threads, next: None, hidden: 0 },
        });
    }
    // Rights come first: what others said decides nothing that can be seen, not even whether there is another page.
    let last = all
        .last()
        .map(|thread| thread.id)
        .filter(|_| u32::try_from(all.len()).is_ok_and(|count| count >= SEARCHED))
        .or(farther);
    let seen = visible(app, &visitor.caller, all).await?;
    let (threads, next) = app
        .read(move |conn| {
            let mut found = Vec::new();
            for thread in seen {
                if threads::says(conn, &thread, &text)? {
                    found.push(thread);
                }
                if found.len() == size {
                    let next = found.last().map(|thread: &ThreadSummary| thread.id);
                    return Ok((found, next));
                }
            }
            Ok::<_, EngineError>((found, last))
        })
        .await?;
    Ok(Found { threads, next, hidden: 0 })
}

/// The thread that a search ends before; none: it reaches all that there are.
fn floor(conn: &Connection, before: Option<RunId>) -> rusqlite::Result<Option<RunId>> {
    let sql = "SELECT run FROM engine_thread WHERE run < ?1 ORDER BY run DESC LIMIT 1 OFFSET ?2";
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_row((before.unwrap_or(i64::MAX), WINDOW), |row| row.get(0)).optional()
}

pub(super) async fn list(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let found = find(&app, &visitor, &query).await?;
    let (rules, agents) = app
        .read(|conn| {
            let mut agents = conn.prepare_cached("SELECT name FROM engine_agent ORDER BY name LIMIT 500")?;
            let agents: rusqlite::Result<Vec<String>> = agents.query_map([], |row| row.get(0))?.collect();
            Ok::<_, rusqlite::Error>((all_rules(conn)?, agents?))
        })
        .await?;
    let there = app.engine().rules()?;
    let searched = !query.text.trim().is_empty();
    let body = html! {
        @if visitor.may(Scope::Admin) {
            nav.toolbar aria-label="Automations that ask language models" {
                a.button href="/automations?show=ai-rules" { "AI automation rules" }
                a.button href="/automations?show=ai-schedules" { "AI scheduled actions" }
            }
        }
        (filters(&query, &rules, &agents, &there))
        div #live data-live {
            @if found.threads.is_empty() {
                @if query.is_empty() && found.hidden == 0 {
                    (empty("No threads yet", html! { p { "A thread is one conversation with a language model: each run of an automation that asks one leaves a thread with all that was said, done, refused and paid." } }))
                } @else {
                    (empty("No threads like these", html! { p { @if searched && found.next.is_some() { "Not among these: older ones are searched on the next page." } @else { "Nothing that you may see matches." } } p { a.button href="/threads" { "Show all threads" } } }))
                }
            } @else { section.card { (table(&found.threads, &visitor, &there)) } }
            @if found.hidden > 0 { p.faint { (found.hidden) " threads are about records that you may not read." } }
            @if let Some(next) = found.next { p { a.button href=(query.next(next)) { @if searched { "Search older threads" } @else { "Older threads" } } } }
        }
    };
    Ok(Page::new(Tab::Threads, "Threads", body))
}

fn filters(query: &Query, rules: &[String], agents: &[String], there: &Index) -> Markup {
    let plain = |name: &str| name.to_owned();
    let of_rule = |name: &str| called(there, name);
    let choice = |name: &str, label: &str, all: &[String], chosen: &str, called: &dyn Fn(&str) -> String| {
        html! {
            div {
                label for=(name) { (label) } br;
                select id=(name) name=(name) {
                    option value="" { "All" }
                    @if !chosen.is_empty() && !all.iter().any(|one| one == chosen) { (option(chosen, chosen, chosen)) }
                    @for one in all { (option(one, &called(one), chosen)) }
                }
            }
        }
    };
    html! {
        form.toolbar method="get" action="/threads" role="search" aria-label="Find threads" {
            div { label for="text" { "Said or called" } br; input #text type="search" name="text" value=(query.text); }
            (choice("rule", "Automation", rules, query.rule.trim(), &of_rule))
            (choice("agent", "Agent", agents, query.agent.trim(), &plain))
            div { label for="model" { "Model" } br; input #model type="text" name="model" value=(query.model) size="12"; }
            div { label for="record" { "Record id" } br; input #record type="text" inputmode="numeric" name="record" value=(query.record) size="6"; }
            button type="submit" { "Find" }
            @if !query.is_empty() { a.button href="/threads" { "All" } }
        }
    }
}

fn table(found: &[ThreadSummary], visitor: &Visitor, rules: &Index) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Threads" {
            table.stack {
                thead { tr {
                    th scope="col" { "Thread" } th scope="col" { "Automation" } th scope="col" { "Record" } th scope="col" { "When" }
                    th scope="col" { "State" } th scope="col" { "How it ended" } th.number scope="col" { "Calls" } th.number scope="col" { "Cost" }
                } }
                tbody { @for one in found { tr {
                    th.name scope="row" { a href=(address(&["threads", &one.id.to_string()])) { (long(&one.name)) } @if one.owner == visitor.caller.user { " " span.faint { "yours" } } }
                    td { (named(rules, &one.rule)) @if let Some(agent) = &one.agent { " " span.faint { (agent) } } }
                    td { (record(one)) }
                    td { (time(one.begun, &visitor.zone)) }
                    td { (parts::state(one.state)) }
                    td.quiet { (short(one.message.as_deref().or(one.code.as_deref()).unwrap_or_default())) }
                    td.number { (parts::grouped(one.used.calls)) }
                    td.number { (parts::euro(one.used.micro_euro)) }
                } } }
            }
        }
    }
}

fn short(text: &str) -> Markup {
    let cut: String = text.chars().take(160).collect();
    html! { (cut) @if cut.len() < text.len() { "…" } }
}

fn record(one: &ThreadSummary) -> Markup {
    html! {
        @match (&one.model, one.record) {
            (Some(model), Some(record)) => a href=(address(&["sessions", model, &record.to_string()])) { (model) " · " (record) },
            (Some(model), None) => { (model) " · " (one.records.len()) " records" },
            (None, _) => span.faint { "none" },
        }
    }
}

/// Which part of a thread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    from: usize,
}

/// What is shown of a thread besides what was said.
struct Around {
    owner: String,
    actor: String,
    /// The actions that ran: number, script, and its version; without a script: the hash of one that is gone.
    actions: Vec<(u32, Option<String>, String)>,
    title: String,
}

pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    At(id): At<RunId>,
    Asked(part): Asked<Part>,
) -> Answer {
    let thread = seen(&app, &visitor.caller, id).await?;
    let around = around(&app, &thread).await?;
    let rules = app.engine().rules()?;
    let summary = &thread.summary;
    let rest = thread.entries.get(part.from..).unwrap_or_default();
    let (shown, left) = fitting(rest.iter().map(|entry| said(entry, &visitor)), MOST_BYTES);
    let next = part.from + shown.len();
    let here = address(&["threads", &id.to_string()]);
    let body = html! {
        div #live data-live {
            div.toolbar {
                a.button href=(address(&["runs", &id.to_string()])) { "Run #" (id) }
                @if !is_deleted(&rules, &summary.rule) { a.button href=(address(&["automations", &summary.rule])) { "Automation" } }
                @if let Some(session) = summary.session { a.button href=(format!("/threads?session={session}")) { "Its session" } }
                @if let (Some(_), true) = (summary.session, visitor.caller.administrator && visitor.may(Scope::Operate)) {
                    (confirmed(&visitor, &format!("{here}/renew"), "Begin anew", "The next run on this record begins a new session, with nothing spent."))
                }
            }
            div.two {
                section.card { h2 { "What it is about" } (facts(&thread, &around, &visitor, &rules)) }
                section.card { h2 { "What it cost" } (cost(&summary.used, &thread.entries)) }
            }
            @if let Some(plan) = &thread.plan {
                section.card { details #plan { summary { b { "The plan, and the verdict of each step" } }
                    pre { (long(&serde_json::to_string_pretty(plan).unwrap_or_default())) }
                } }
            }
            section.card {
                h2 { "What was said and done" }
                @if thread.entries.is_empty() { p.faint { "Nothing yet." } }
                @if part.from > 0 { p { a.button href=(here) { "From the beginning" } } }
                ol.talk { @for one in &shown { (one) } }
                @if left > 0 { p { a.button href=(format!("{here}?from={next}")) { "The next " (left) } } }
            }
        }
    };
    Ok(Page::new(Tab::Threads, around.title.clone(), body).under("Threads", "/threads"))
}

async fn around(app: &App, thread: &Thread) -> Result<Around, Problem> {
    let summary = &thread.summary;
    let people = names(app, [summary.owner, summary.actor])?;
    let name = |id| people.get(&id).cloned().unwrap_or_default();
    let run = summary.id;
    let actions = app
        .read(move |conn| {
            let mut actions = std::collections::BTreeMap::new();
            for attempt in runs::detail(conn, run)?.attempts {
                let script = match attempt.script.parse() {
                    Ok(hash) => registry::version(conn, hash, "").map(|one| (Some(one.name), one.version)).ok(),
                    Err(_) => None,
                };
                let hash: String = attempt.script.chars().take(12).collect();
                actions.insert(attempt.action, script.unwrap_or((None, hash)));
            }
            Ok::<_, EngineError>(actions.into_iter().map(|(at, (script, version))| (at, script, version)).collect())
        })
        .await?;
    let title: String = summary.name.chars().take(120).collect();
    Ok(Around { owner: name(summary.owner), actor: name(summary.actor), actions, title })
}

fn facts(thread: &Thread, around: &Around, visitor: &Visitor, rules: &Index) -> Markup {
    let one = &thread.summary;
    html! {
        dl.facts {
            dt { "State" } dd { (parts::state(one.state)) @if let Some(code) = &one.code { " " code.faint { (code) } } }
            @if let Some(message) = &one.message { dt { "How it ended" } dd { (long(&sentence(message))) } }
            dt { "Automation" } dd { (named_in_full(rules, &one.rule)) }
            @for (at, script, version) in &around.actions { dt { "Action " (at + 1) } dd { @if let Some(script) = script { a href=(address(&["scripts", script])) { (script) } " " } (long(version)) } }
            @if let Some(agent) = &one.agent { dt { "Agent" } dd { a href=(format!("/threads?agent={}", encoded(agent))) { (agent) } } }
            dt { "Record" } dd { (record(one)) }
            dt { "Began" } dd { (time(one.begun, &visitor.zone)) }
            @if let Some(at) = one.finished { dt { "Ended" } dd { (time(at, &visitor.zone)) } }
            dt { "Caused by" } dd { (around.actor) }
            dt { "Owned by" } dd { (around.owner) @if one.superuser { " " (badge("red", "superuser")) } }
            @if one.session.is_some() { dt { "In its session" } dd { @if one.resume == 0 { "the first run" } @else { "resumed, time " (one.resume) } } }
        }
    }
}

fn cost(used: &Amount, entries: &[Entry]) -> Markup {
    let open = entries.iter().filter(|entry| matches!(entry.said, Said::Open { .. })).count();
    html! {
        dl.facts {
            dt { "Calls of models" } dd { (parts::grouped(used.calls)) }
            dt { "Tokens" } dd { (parts::grouped(used.tokens)) }
            dt { "Cost" } dd { (parts::euro(used.micro_euro)) }
        }
        @if open > 0 { p.faint { (open) " call(s) without an answer are counted at their worst case." } }
    }
}

fn amount(used: &Amount) -> Markup {
    html! { span.faint { (parts::grouped(used.tokens)) " tokens, " (parts::euro(used.micro_euro)) } }
}

fn said(entry: &Entry, visitor: &Visitor) -> Markup {
    let (class, who, about, text): (&str, Markup, Markup, Markup) = match &entry.said {
        Said::System { text } => ("system", badge("calm", "Instructions"), html! {}, prose(text)),
        Said::User { text } => ("user", badge("busy", "Asked"), html! {}, prose(text)),
        Said::Assistant { text, model, used } => (
            "assistant",
            badge("good", "Model"),
            html! { (short(model)) @if let Some(used) = used { " " (amount(used)) } },
            prose(text),
        ),
        Said::ToolCall { name, arguments, .. } => {
            ("call", badge("busy", "Tool call"), html! { b { (short(name)) } }, data(arguments))
        }
        Said::ToolResult { name, output, failed, .. } => (
            "result",
            if *failed { badge("bad", "Tool failed") } else { badge("calm", "Tool result") },
            html! { b { (short(name)) } },
            data(output),
        ),
        Said::Request { request, status } => (
            "request",
            badge("busy", "Request"),
            html! { code { (short(request)) } @if let Some(status) = status { " " span.faint { "answered " (status) } } },
            html! {},
        ),
        Said::Open { worst, state } => (
            "open",
            badge("wait", if state == "intent" { "Under way" } else { "Outcome unknown" }),
            html! { "at most " (amount(worst)) },
            html! {},
        ),
        Said::Refusal { code, message } => {
            ("refusal", badge("bad", "Refused"), html! { code { (short(code)) } }, prose(&sentence(message)))
        }
        Said::Event { event, message } => {
            ("event", badge("wait", "Event"), html! { code { (short(event)) } }, prose(message))
        }
    };
    html! { li class=(class) { p { (who) " " (about) " " span.faint { (time(entry.at, &visitor.zone)) } } (text) } }
}

fn prose(text: &str) -> Markup {
    html! { @if !text.is_empty() { p.text { (long(text)) } } }
}

/// What programs say to each other: JSON in lines, if it is JSON.
fn data(text: &str) -> Markup {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let lines = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    html! { @if !text.is_empty() { pre { (long(lines.as_deref().unwrap_or(text))) } } }
}

pub(super) async fn renew(State(app): State<App>, visitor: Visitor, At(id): At<RunId>) -> Answer<Done> {
    renewed(&app, &visitor.caller, id).await?;
    Ok(Done::new(address(&["threads", &id.to_string()]), "The next run on this record begins a new session."))
}
