//! Approvals: what runs want to change, who asked and why, yes or no.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use triggerbox_automation::{
    EngineError,
    engine::Fields,
    index::Index,
    proposals::{Proposal, ProposalState},
    runs::{RunDetail, RunId},
    threads,
};
use triggerbox_model::{
    call::Operation,
    value::{Id, RecordRef},
};
use triggerbox_store::commit;

use super::{
    automations::{deleted, named_in_full},
    form::Form,
    page::{Answer, Done, Page, Tab, sentence},
    parts::{self, address, badge, empty, encoded, field, fitting, hidden_token, long, option, time},
    visitor::{Visitor, names},
};
use crate::{
    api::{
        approvals::{page, seen},
        threads::visible,
    },
    app::App,
    extract::{Asked, At},
    people::audit,
    problem::Problem,
    tokens::Scope,
    told,
};

/// Proposals of one page.
const PAGE: usize = 50;

/// Bytes of what a page tells of them.
const MOST_BYTES: usize = 120_000;

/// Records that are told of as changed meanwhile.
const MOST_RECORDS: usize = 20;

const STATES: [ProposalState; 6] = [
    ProposalState::Waiting,
    ProposalState::Approved,
    ProposalState::Rejected,
    ProposalState::Expired,
    ProposalState::Recommended,
    ProposalState::Stale,
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    state: String,
    before: Option<RunId>,
}

pub(super) async fn list(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let wanted = if query.state.is_empty() { "waiting" } else { query.state.as_str() };
    let state = STATES.into_iter().find(|state| state.name() == wanted);
    let (shown, farther) = page(&app, &visitor.caller, state, query.before, PAGE).await?;
    let rules = app.engine().rules()?;
    let (rows, cut) = fitting(shown.iter().map(|one| row(one, &visitor.zone, &rules)), MOST_BYTES);
    // What has no room here is on the next page.
    let older = shown.get(rows.len().saturating_sub(1)).filter(|_| cut > 0).map(|one| one.run).or(farther);
    let next = older.map(|before| format!("/approvals?state={}&before={before}", encoded(wanted)));
    let body = html! {
        form.toolbar method="get" action="/approvals" aria-label="Filter approvals" {
            div { label for="state" { "Show" } br; select #state name="state" data-reload { @for state in STATES { (option(state.name(), word(state), wanted)) } (option("all", "All", wanted)) } }
            button type="submit" { "Show" }
        }
        div #live data-live {
            @if shown.is_empty() && (next.is_some() || query.before.is_some()) {
                (empty("None among these", html! { p { "None of those that were searched is for you to see." } p { a.button href="/approvals" { "From the newest" } } }))
            } @else if shown.is_empty() && wanted != ProposalState::Waiting.name() {
                (empty("No proposals like these", html! { p { "Nothing that you may see was decided so." } p { a.button href="/approvals" { "Show what waits" } } }))
            } @else if shown.is_empty() {
                (empty("Nothing waits for you", html! { p { "When an automation asks for approval, or policy wants one, the changes that it proposes are shown here before anything is applied." } }))
            } @else { section.card { div.scroll tabindex="0" role="region" aria-label="Proposed changes" { table.stack {
                thead { tr { th scope="col" { "Run" } th scope="col" { "Automation" } th scope="col" { "Changes" } th scope="col" { "Why it waits" } th scope="col" { "State" } th scope="col" { "Until" } } }
                tbody { @for row in &rows { (row) } }
            } } } }
            @if let Some(next) = next { p { a.button href=(next) { @if shown.len() >= PAGE || cut > 0 { "Older proposals" } @else { "Search older proposals" } } } }
        }
    };
    Ok(Page::new(Tab::Approvals, "Approvals", body))
}

fn row(one: &Proposal, zone: &TimeZone, rules: &Index) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(address(&["approvals", &one.run.to_string()])) { "#" (one.run) } }
            td.name { (one.rule) (deleted(rules, &one.rule)) }
            td.quiet { (what(one)) }
            td { (one.why) }
            td { (standing(one)) }
            td { @if let Some(at) = one.expires { (time(at, zone)) } }
        }
    }
}

/// What a proposal is about, in a few words.
fn what(proposal: &Proposal) -> Markup {
    let records = &proposal.diff.records;
    html! {
        @for (at, one) in records.iter().take(3).enumerate() {
            @if at > 0 { ", " }
            @if one.name.is_empty() { (one.record.model) } @else { (long(&one.name)) }
        }
        @if records.len() > 3 { " and " (records.len() - 3) " more" }
    }
}

fn word(state: ProposalState) -> &'static str {
    match state {
        ProposalState::Waiting => "Waiting",
        ProposalState::Approved => "Approved",
        ProposalState::Rejected => "Rejected",
        ProposalState::Expired => "Expired",
        ProposalState::Recommended => "Recommended",
        ProposalState::Stale => "Out of date",
    }
}

fn standing(one: &Proposal) -> Markup {
    if one.yes_by.is_some() {
        return badge("busy", "On its way");
    }
    let class = match one.state {
        ProposalState::Waiting => "wait",
        ProposalState::Approved => "good",
        ProposalState::Rejected => "bad",
        ProposalState::Expired | ProposalState::Stale | ProposalState::Recommended => "calm",
    };
    badge(class, word(one.state))
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, At(run): At<i64>) -> Answer {
    let proposal = seen(&app, &visitor.caller, run).await?;
    let is_waiting = proposal.state == ProposalState::Waiting;
    let (inner, user) = (app.clone(), visitor.caller.user);
    let (detail, hand) = app
        .blocking(move || {
            let engine = inner.engine();
            Ok((engine.run(run)?, engine.hand_in(run, user)?))
        })
        .await?;
    let said = said(&app, &visitor, &detail).await?;
    let rules = app.engine().rules()?;
    let summary = &detail.summary;
    // A user who is gone, or lost their rights, is told of to whoever says yes; so is an Odoo that is away.
    let overtaken = match is_waiting {
        false => Overtaken::Since(Vec::new()),
        true => match app.engine().overtaken(run).await {
            Err(EngineError::Refused(error)) => Overtaken::Unknown(error.message),
            Err(EngineError::Backend(error)) => Overtaken::Unknown(error.to_string()),
            found => Overtaken::Since(found?),
        },
    };
    let changed = match &overtaken {
        Overtaken::Since(found) => in_words(&app, &visitor, &proposal, found).await?,
        _ => Vec::new(),
    };
    let expired = proposal.expires.is_some_and(|at| at <= app.engine().clock().now());
    let people =
        names(&app, [summary.actor, summary.run_as].into_iter().chain(proposal.decided_by).chain(proposal.yes_by))?;
    let person = |id: Id| people.get(&id).cloned().unwrap_or_default();
    let body = html! {
        div #live data-live {
            @if !changed.is_empty() {
                div.banner.wait role="alert" { p { b { "Changed meanwhile: " } (changed.join(", ")) ". If you approve, nothing is overwritten: the automation runs again and proposes anew." } }
            }
            @match &overtaken {
                Overtaken::Unknown(why) => p.banner.wait { "Whether its records changed meanwhile cannot be told: " (long(&sentence(why))) },
                Overtaken::Since(_) => {},
            }
            @if let Some(by) = proposal.yes_by { p.banner.wait role="status" { b { (person(by)) } " said yes: Odoo is asked to apply it, and its answer decides. Should that be lost, Odoo is asked whether it applied it." } }
            @if is_waiting && expired { p.banner.wait role="status" { "It has expired: nobody decided in time. Retry the run for a new proposal." } }
            section.card {
                dl.facts {
                    dt { "State" } dd { (standing(&proposal)) }
                    dt { "Automation" } dd { (named_in_full(&rules, &proposal.rule)) ", " a href=(address(&["runs", &run.to_string()])) { "run #" (run) } }
                    dt { "Caused by" } dd { (person(summary.actor)) }
                    dt { "With the rights of" } dd { (person(summary.run_as)) @if summary.superuser { " " (badge("red", "superuser")) } }
                    dt { "Asked" } dd { (time(summary.at, &visitor.zone)) }
                    @if let Some(at) = proposal.expires { dt { "Waits until" } dd { (time(at, &visitor.zone)) } }
                    dt { "Why it waits" } dd { (proposal.why) }
                    @if let (Some(by), Some(at)) = (proposal.decided_by, proposal.decided_at) { dt { "Decided" } dd { (person(by)) ", " (time(at, &visitor.zone)) } }
                    @if let Some(note) = proposal.note.as_ref().filter(|note| !note.is_empty()) { dt { "Note" } dd { (long(note)) } }
                }
            }
            @if let Some(text) = &said {
                section.card {
                    h2 { "What the agent says" }
                    @if text.is_empty() { p.faint { "It said nothing at its end." } } @else { p.text { (long(text)) } }
                    p { a.button href=(address(&["threads", &run.to_string()])) { "All that was said: its thread" } }
                }
            }
            section.card { h2 { "Proposed changes" } (parts::diff(&proposal.diff, &visitor.zone)) }
        }
        @if is_waiting && !expired { (decision(&visitor, &proposal, hand.as_deref())) }
    };
    Ok(Page::new(Tab::Approvals, format!("Changes of run #{run}"), body).under("Approvals", "/approvals"))
}

/// The last text of the agent behind a run; none: there is no thread of it that the visitor may see.
async fn said(app: &App, visitor: &Visitor, detail: &RunDetail) -> Result<Option<String>, Problem> {
    let run = detail.summary.id;
    let thread = app.read(move |conn| threads::of_run(conn, run)).await?;
    if visible(app, &visitor.caller, thread.into_iter().collect()).await?.is_empty() {
        return Ok(None);
    }
    let outcome = detail.outcome.clone().unwrap_or_default();
    Ok(Some(threads::remembered(detail.summary.key.clone(), outcome).last_text))
}

fn decision(visitor: &Visitor, proposal: &Proposal, hand: Option<&str>) -> Markup {
    let to = |what: &str| address(&["approvals", &proposal.run.to_string(), what]);
    html! {
        @if !visitor.may(Scope::Approve) { p.faint { "Only approvers and administrators decide." } }
        @else {
            form.card method="post" action=(to("approve")) {
                (hidden_token(&visitor.key))
                input type="hidden" name="hash" value=(proposal.hash.to_string());
                (field("note", "Note", "Kept with the decision.", &[], html! { input #note type="text" name="note" maxlength="1000"; }))
                @if let Some(hand) = hand { p.banner.wait { (visitor.name) " " (hand) ": somebody else must approve." } } @else { button.primary type="submit" { "Approve and apply" } " " }
                button.danger type="submit" formaction=(to("reject")) { "Reject" }
            }
        }
    }
}

/// What became of the records since a proposal was made.
enum Overtaken {
    /// These values are others now: with them, nothing is applied.
    Since(Vec<commit::Overtaken>),
    /// They cannot be compared.
    Unknown(String),
}

/// Records with the fields that changed, for somebody who may not be able to read all of them.
async fn in_words(
    app: &App,
    visitor: &Visitor,
    proposal: &Proposal,
    found: &[commit::Overtaken],
) -> Result<Vec<String>, Problem> {
    let mut fields: BTreeMap<RecordRef, Vec<&str>> = BTreeMap::new();
    for one in found {
        fields.entry(one.record.clone()).or_default().push(&one.field);
    }
    let may = match visitor.caller.administrator {
        true => Fields::All,
        false => {
            let models = fields.keys().map(|record| record.model.clone()).collect();
            app.readable_fields(visitor.caller.user, models).await?
        }
    };
    let mut told = Vec::new();
    for (record, fields) in fields.into_iter().take(MOST_RECORDS) {
        let named = proposal.diff.records.iter().find(|one| one.record == record);
        // Who sees the proposal may read what it changes; others stood before it.
        if named.is_none() && !app.may(visitor.caller.user, Operation::Read, &record.model, &[record.id]).await? {
            told.push("a record that you may not read".to_owned());
            continue;
        }
        let name = named.map(|one| one.name.clone()).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| record.to_string());
        told.push(match fields.as_slice() {
            ["id"] => format!("{name} (it is gone)"),
            fields => {
                let told = fields.iter().map(|field| match may.has(&record.model, field) {
                    true => *field,
                    false => "what you may not read",
                });
                let told: BTreeSet<&str> = told.collect();
                format!("{name} ({})", told.into_iter().collect::<Vec<_>>().join(", "))
            }
        });
    }
    Ok(told)
}

pub(super) async fn approve(State(app): State<App>, visitor: Visitor, At(run): At<i64>, form: Form) -> Answer<Done> {
    let proposal = seen(&app, &visitor.caller, run).await?;
    let hash = form.text("hash").parse::<triggerbox_automation::proposals::ProposalHash>()?;
    audit::say(told::decision(&proposal.rule, Some(hash), form.text("note")));
    let changed = app.engine().approve(run, hash, visitor.caller.user, form.text("note")).await?;
    let said = match changed.runs.len() {
        0 => "The changes are applied.".to_owned(),
        count => format!("The changes are applied, and {count} more run(s) follow from them."),
    };
    Ok(Done::new(address(&["runs", &run.to_string()]), said))
}

pub(super) async fn reject(State(app): State<App>, visitor: Visitor, At(run): At<i64>, form: Form) -> Answer<Done> {
    let proposal = seen(&app, &visitor.caller, run).await?;
    audit::say(told::decision(&proposal.rule, None, form.text("note")));
    app.engine().reject(run, visitor.caller.user, form.text("note")).await?;
    Ok(Done::new("/approvals", "The changes are rejected. Nothing was applied."))
}
