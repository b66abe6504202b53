//! Approvals: what runs want to change, who asked and why, yes or no.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use triggerbox_automation::{
    proposals::{Proposal, ProposalState},
    runs::RunSummary,
};
use triggerbox_model::{
    call::{Answer as Replied, Call},
    changes::ChangeKind,
    value::{Id, Value, is_provisional},
};

use super::{
    form::Form,
    page::{Answer, Done, Page, Tab},
    parts::{self, address, badge, empty, field, hidden_token, long, option, time},
    visitor::{Visitor, names},
};
use crate::{
    api::approvals::{may_see, seen},
    app::App,
    extract::{Asked, At},
    problem::Problem,
    tokens::Scope,
};

/// Proposals of one page.
const PAGE: u32 = 100;

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
}

pub(super) async fn list(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let wanted = if query.state.is_empty() { "waiting" } else { query.state.as_str() };
    let state = STATES.into_iter().find(|state| state.name() == wanted);
    let inner = app.clone();
    let all = app.blocking(move || Ok(inner.engine().proposals(state, PAGE)?)).await?;
    let mut shown = Vec::new();
    for proposal in all {
        if may_see(&app, &visitor.caller, &proposal).await? {
            shown.push(proposal);
        }
    }
    let body = html! {
        form.toolbar method="get" action="/approvals" aria-label="Filter approvals" {
            div { label for="state" { "Show" } br; select #state name="state" data-reload { @for state in STATES { (option(state.name(), word(state), wanted)) } (option("all", "All", wanted)) } }
            button type="submit" { "Show" }
        }
        div #live data-live {
            @if shown.is_empty() {
                (empty("Nothing waits for you", html! { p { "When an automation asks for approval, or policy wants one, the changes that it proposes are shown here before anything is applied." } }))
            } @else { section.card { div.scroll tabindex="0" role="region" aria-label="Proposed changes" { table.stack {
                thead { tr { th scope="col" { "Run" } th scope="col" { "Automation" } th scope="col" { "Changes" } th scope="col" { "Why it waits" } th scope="col" { "State" } th scope="col" { "Until" } } }
                tbody { @for one in &shown { tr {
                    th scope="row" { a href=(address(&["approvals", &one.run.to_string()])) { "#" (one.run) } }
                    td.name { (one.rule) }
                    td.quiet { (what(one)) }
                    td { (one.why) }
                    td { (standing(one.state)) }
                    td { @if let Some(at) = one.expires { (time(at, &visitor.zone)) } }
                } } }
            } } } }
        }
    };
    Ok(Page::new(Tab::Approvals, "Approvals", body))
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

fn standing(state: ProposalState) -> Markup {
    let class = match state {
        ProposalState::Waiting => "wait",
        ProposalState::Approved => "good",
        ProposalState::Rejected => "bad",
        ProposalState::Expired | ProposalState::Stale | ProposalState::Recommended => "calm",
    };
    badge(class, word(state))
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, At(run): At<i64>) -> Answer {
    let proposal = seen(&app, &visitor.caller, run).await?;
    let inner = app.clone();
    let (summary, owner) = app
        .blocking(move || {
            let summary = inner.engine().run(run)?.summary;
            let owner = inner.engine().rules()?.rule(&summary.rule).ok().map(|rule| rule.owner);
            Ok((summary, owner))
        })
        .await?;
    let changed = if proposal.state == ProposalState::Waiting {
        changed_since(&app, &visitor, &proposal).await?
    } else {
        Vec::new()
    };
    let people = names(&app, [summary.actor, summary.run_as].into_iter().chain(proposal.decided_by))?;
    let person = |id: Id| people.get(&id).cloned().unwrap_or_default();
    let body = html! {
        div #live data-live {
            @if !changed.is_empty() {
                div.banner.wait role="alert" { p { b { "Changed meanwhile: " } (changed.join(", ")) ". If you approve, nothing is overwritten: the automation runs again and proposes anew." } }
            }
            section.card {
                dl.facts {
                    dt { "State" } dd { (standing(proposal.state)) }
                    dt { "Automation" } dd { a href=(address(&["automations", &proposal.rule])) { (proposal.rule) } ", " a href=(address(&["runs", &run.to_string()])) { "run #" (run) } }
                    dt { "Caused by" } dd { (person(summary.actor)) }
                    dt { "With the rights of" } dd { (person(summary.run_as)) @if summary.superuser { " " (badge("red", "superuser")) } }
                    dt { "Asked" } dd { (time(summary.at, &visitor.zone)) }
                    @if let Some(at) = proposal.expires { dt { "Waits until" } dd { (time(at, &visitor.zone)) } }
                    dt { "Why it waits" } dd { (proposal.why) }
                    @if let (Some(by), Some(at)) = (proposal.decided_by, proposal.decided_at) { dt { "Decided" } dd { (person(by)) ", " (time(at, &visitor.zone)) } }
                    @if let Some(note) = proposal.note.as_ref().filter(|note| !note.is_empty()) { dt { "Note" } dd { (long(note)) } }
                }
            }
            section.card { h2 { "Proposed changes" } (parts::diff(&proposal.diff)) }
        }
        @if proposal.state == ProposalState::Waiting { (decision(&visitor, &proposal, &summary, owner)) }
    };
    Ok(Page::new(Tab::Approvals, format!("Changes of run #{run}"), body).under("Approvals", "/approvals"))
}

fn decision(visitor: &Visitor, proposal: &Proposal, summary: &RunSummary, owner: Option<Id>) -> Markup {
    let user = visitor.caller.user;
    let own = match () {
        () if owner == Some(user) => Some("You own this automation: somebody else must approve."),
        () if summary.actor == user => Some("You caused this: somebody else must approve."),
        () => None,
    };
    let to = |what: &str| address(&["approvals", &proposal.run.to_string(), what]);
    html! {
        @if !visitor.may(Scope::Approve) { p.faint { "Only approvers and administrators decide." } }
        @else {
            form.card method="post" action=(to("approve")) {
                (hidden_token(&visitor.key))
                input type="hidden" name="hash" value=(proposal.hash.to_string());
                (field("note", "Note", "Kept with the decision.", &[], html! { input #note type="text" name="note" maxlength="1000"; }))
                @if let Some(why) = own { p.banner.wait { (why) } } @else { button.primary type="submit" { "Approve and apply" } " " }
                button.danger type="submit" formaction=(to("reject")) { "Reject" }
            }
        }
    }
}

/// Records of a proposal that are not any more as they were when it was made, as far as the visitor may read them.
async fn changed_since(app: &App, visitor: &Visitor, proposal: &Proposal) -> Result<Vec<String>, Problem> {
    // On an Odoo server they are compared there, when somebody says yes.
    if app.engine().odoo().is_some() {
        return Ok(Vec::new());
    }
    let (inner, user, records) = (app.clone(), visitor.caller.user, proposal.diff.records.clone());
    app.blocking(move || {
        let mut session = inner.session(user)?;
        let mut changed = Vec::new();
        for one in records.iter().take(20) {
            let fields: Vec<String> = one.fields.iter().map(|field| field.field.clone()).collect();
            if is_provisional(one.record.id) || one.kind != Some(ChangeKind::Updated) || fields.is_empty() {
                continue;
            }
            let call = Call::Read { model: one.record.model.clone(), ids: vec![one.record.id], fields };
            let Ok(Replied::Rows(rows)) = session.call(call)? else { continue };
            let Some(row) = rows.first() else { continue };
            let differs = one.fields.iter().zip(&row.values).any(|(field, now)| !is_same(&field.old, now));
            if differs {
                changed.push(if one.name.is_empty() { one.record.to_string() } else { one.name.clone() });
            }
        }
        Ok(changed)
    })
    .await
}

/// Whether two values are the same, whatever records are called.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Many2one(one), Value::Many2one(other)) => one.id == other.id,
        (one, other) => one == other,
    }
}

pub(super) async fn approve(State(app): State<App>, visitor: Visitor, At(run): At<i64>, form: Form) -> Answer<Done> {
    seen(&app, &visitor.caller, run).await?;
    let hash = form.text("hash").parse::<triggerbox_automation::proposals::ProposalHash>()?;
    let changed = app.engine().approve(run, hash, visitor.caller.user, form.text("note")).await?;
    let said = match changed.runs.len() {
        0 => "The changes are applied.".to_owned(),
        count => format!("The changes are applied, and {count} more run(s) follow from them."),
    };
    Ok(Done::new(address(&["runs", &run.to_string()]), said))
}

pub(super) async fn reject(State(app): State<App>, visitor: Visitor, At(run): At<i64>, form: Form) -> Answer<Done> {
    seen(&app, &visitor.caller, run).await?;
    app.engine().reject(run, visitor.caller.user, form.text("note")).await?;
    Ok(Done::new("/approvals", "The changes are rejected. Nothing was applied."))
}
