//! What the audit log is told of changes: which version, what differs, who may do what from now on.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde::Serialize;
use triggerbox_automation::{
    agents::{self, stored::StoredAgent},
    config::Retention,
    policy::Part,
    proposals::ProposalHash,
    rule::{
        Rule,
        apply::Step,
        diff::{Difference, all_of, differences},
        stored::{self, Outcome, RuleError, Saved, Stored},
    },
    runs::RunSummary,
    scripts::{ScriptVersion, binding::Switched},
};
use triggerbox_llm::config::{Budget, Budgets};
use triggerbox_model::{grants::Policy, value::Id};

use crate::{
    app::App,
    people::{Role, audit::Telling},
    problem::Problem,
    tokens::{Scope, Token},
};

/// Characters of one thing that differs.
const LONGEST: usize = 300;

fn list(all: &[Difference]) -> String {
    let all = all.iter().map(|one| {
        let text = one.to_string();
        let cut: String = text.chars().take(LONGEST).collect();
        if cut.len() < text.len() { format!("{cut}…") } else { text }
    });
    all.collect::<Vec<_>>().join("; ")
}

/// Does something to a rule, and tells what became of it.
///
/// # Errors
/// What the work says; what the database says.
pub fn on_rule<T, E: From<RuleError>>(
    conn: &Connection,
    name: &str,
    line: &Telling,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let old = stored::find(conn, name)?;
    let done = work()?;
    line.say(rule(old.as_ref(), stored::find(conn, name)?.as_ref()));
    Ok(done)
}

/// Saves a rule, and tells what became of it: of one that waits for its owner, what is proposed.
///
/// # Errors
/// What the work says; what the database says.
pub fn on_saving(
    conn: &Connection,
    new: &Rule,
    line: &Telling,
    work: impl FnOnce() -> Result<Saved, RuleError>,
) -> Result<Saved, RuleError> {
    let saved = on_change(conn, &new.name, line, work)?;
    if saved.outcome == Outcome::Proposed {
        let old = stored::get(conn, &new.name)?;
        line.say(format!("proposed version {}: {}", saved.version, list(&differences(&old.rule, new))));
    }
    Ok(saved)
}

/// Changes a rule in any way that saves it, and tells what became of it, with the versions of scripts that were agreed to.
///
/// # Errors
/// What the work says; what the database says.
pub fn on_change(
    conn: &Connection,
    name: &str,
    line: &Telling,
    work: impl FnOnce() -> Result<Saved, RuleError>,
) -> Result<Saved, RuleError> {
    let saved = on_rule(conn, name, line, work)?;
    say_agreed(line, &saved.agreed);
    Ok(saved)
}

/// What grants rights stands in front: what is too long is cut at its end.
fn say_agreed(line: &Telling, agreed: &[String]) {
    if !agreed.is_empty() {
        line.say(format!("{}; {}", agreed.join("; "), line.said()));
    }
}

/// Has an owner decide about a proposed version, and tells what became of the rule.
///
/// # Errors
/// What the work says; what the database says.
pub fn on_decision<T>(
    conn: &Connection,
    name: &str,
    line: &Telling,
    (version, yes): (u32, bool),
    work: impl FnOnce() -> Result<(T, Vec<String>), RuleError>,
) -> Result<T, RuleError> {
    let (done, agreed) = on_rule(conn, name, line, work)?;
    if !yes {
        line.say(format!("no to proposed version {version}"));
    }
    say_agreed(line, &agreed);
    Ok(done)
}

/// The end of a pause: what it was for.
///
/// # Errors
/// What the database says.
pub async fn resumed(app: &App, name: &str) -> Result<String, Problem> {
    let name = name.to_owned();
    let paused = app.read(move |conn| stored::find(conn, &name)).await?.and_then(|rule| rule.paused);
    Ok(paused.map_or_else(|| "was not paused".to_owned(), |why| format!("was paused: {why}")))
}

fn rule(old: Option<&Stored>, new: Option<&Stored>) -> String {
    match (old, new) {
        (None, Some(new)) => format!("version {}: {}", new.version, list(&all_of(&new.rule))),
        (Some(old), Some(new)) if old.version == new.version => format!("version {} as before", new.version),
        (Some(old), Some(new)) => {
            let owner = if old.owner == new.owner {
                String::new()
            } else {
                format!("owner: {} → {}; ", old.owner, new.owner)
            };
            let changes = list(&differences(&old.rule, &new.rule));
            format!("version {} → {}: {owner}{changes}", old.version, new.version)
        }
        (Some(old), None) => format!("version {} was the last one", old.version),
        (None, None) => "nothing".to_owned(),
    }
}

/// Does something to an agent, and tells what became of it.
///
/// # Errors
/// What the work says; what the database says.
pub fn on_agent<T, E>(
    conn: &Connection,
    name: &str,
    line: &Telling,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    // A database that fails here fails in the work, too.
    let find = || agents::stored::find(conn, name).ok().flatten();
    let old = find();
    let done = work()?;
    line.say(agent(old.as_ref(), find().as_ref()));
    Ok(done)
}

fn agent(old: Option<&StoredAgent>, new: Option<&StoredAgent>) -> String {
    match (old, new) {
        (None, Some(new)) => format!("version {}: {}", new.version, list(&all_of(&new.agent))),
        (Some(old), Some(new)) if old.version == new.version => format!("version {} as before", new.version),
        (Some(old), Some(new)) => {
            format!("version {} → {}: {}", old.version, new.version, list(&differences(&old.agent, &new.agent)))
        }
        (Some(old), None) => format!("version {} was the last one", old.version),
        (None, None) => "nothing".to_owned(),
    }
}

/// What became of a set of rules.
#[must_use]
pub fn steps(steps: &[Step], is_plan: bool) -> String {
    let told = steps.iter().map(|step| {
        let change = format!("{:?} {}", step.change, step.rule).to_lowercase();
        let change = step.agreed.iter().fold(change, |change, agreed| format!("{change}, {agreed}"));
        if step.differences.is_empty() { change } else { format!("{change}: {}", list(&step.differences)) }
    });
    let told: Vec<_> = told.collect();
    let told = if told.is_empty() { "no rules".to_owned() } else { told.join(" | ") };
    if is_plan { format!("only looked at: {told}") } else { told }
}

/// A version of a script.
#[must_use]
pub fn version(version: &ScriptVersion) -> String {
    let active = if version.active { "active" } else { "not active" };
    format!("{} version {} ({}), {} bytes, {active}", version.name, version.version, version.hash, version.size)
}

/// What became of an upload.
#[must_use]
pub fn uploaded(uploaded: &ScriptVersion, is_new: bool) -> String {
    let told = version(uploaded);
    if is_new { told } else { format!("{told}; it was there already") }
}

/// What a switch to a version did.
#[must_use]
pub fn switched(version: &ScriptVersion, switched: &Switched) -> String {
    let mut told = format!("version {} ({})", version.version, version.hash);
    if !switched.moved.is_empty() {
        told.push_str(&format!("; runs now in {}", switched.moved.join(", ")));
    }
    for held in &switched.held {
        told.push_str(&format!("; held back in {}: {}", held.rule, held.why));
    }
    told
}

/// A run that something is done to.
#[must_use]
pub fn run(run: &RunSummary) -> String {
    let code = run.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("of {}, was {}{code}", run.rule, run.state.name())
}

/// A yes to a proposal, or a no.
#[must_use]
pub fn decision(rule: &str, yes_to: Option<ProposalHash>, note: &str) -> String {
    let said = yes_to.map_or_else(|| "no".to_owned(), |hash| format!("yes to {hash}"));
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    format!("{said}, of {rule}{note}")
}

/// The records that a rule is to run on.
#[must_use]
pub fn records(ids: &[Id]) -> String {
    match ids {
        [] => "on no records".to_owned(),
        ids => format!("on records {}", ids.iter().map(Id::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Runs that are queued again.
#[must_use]
pub fn runs(ids: &[i64]) -> String {
    match ids {
        [] => "no runs".to_owned(),
        ids => format!("runs {}", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// An account: what it is called, whose rights it has, and what it may do.
#[must_use]
pub fn account(login: &str, user: Id, roles: &BTreeSet<Role>, is_off: bool) -> String {
    let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
    format!("{login}: user {user}, {}{}", roles.join(" "), if is_off { ", switched off" } else { "" })
}

/// How long the past is kept.
#[must_use]
pub fn retention(keep: &Retention) -> String {
    let days = |days: Option<u32>| days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
    let (runs, journals) = (days(keep.days), days(keep.journal_days));
    let count = keep.runs_per_rule.map_or_else(|| "any number".to_owned(), |count| format!("at most {count}"));
    let bytes = keep.bytes_per_rule.map_or_else(String::new, |bytes| format!(" in {bytes} bytes"));
    format!(
        "runs {runs}, journals {journals}, {count}{bytes} of each automation, keys of deliveries {} days",
        keep.seen_days
    )
}

/// All that a policy says.
#[must_use]
pub fn whole_policy(policy: &Policy) -> String {
    Part::ALL.iter().map(|part| format!("{}: {}", part.name(), part.words(policy))).collect::<Vec<_>>().join("; ")
}

/// What of the policy is different now.
#[must_use]
pub fn policy(was: &Policy, now: &Policy) -> String {
    let differ = Part::ALL.iter().map(|part| (part, part.words(was), part.words(now)));
    let differ = differ.filter(|(_, was, now)| was != now);
    let told: Vec<_> = differ.map(|(part, was, now)| format!("{}: {was} → {now}", part.name())).collect();
    if told.is_empty() { "as before".to_owned() } else { told.join("; ") }
}

/// What runs may use of language models together.
#[must_use]
pub fn budgets(all: &Budgets) -> String {
    let words = |Budget { calls, tokens, cost }: Budget| format!("{calls} calls, {tokens} tokens, {cost} euros");
    let Budgets { root, rule_day, server_day } = all;
    format!("root {}; rule-day {}; server-day {}", words(*root), words(*rule_day), words(*server_day))
}

/// What of a setting is different now.
#[must_use]
pub fn setting<T: Serialize>(was: Option<&T>, now: Option<&T>) -> String {
    match (was, now) {
        (Some(was), Some(now)) if differences(was, now).is_empty() => "as before".to_owned(),
        (Some(was), Some(now)) => list(&differences(was, now)),
        (None, Some(now)) => format!("new: {}", list(&all_of(now))),
        (Some(was), None) => format!("was: {}", list(&all_of(was))),
        (None, None) => "nothing".to_owned(),
    }
}

/// A token.
#[must_use]
pub fn token(token: &Token) -> String {
    let scopes: Vec<_> = token.scopes.iter().copied().map(Scope::name).collect();
    let until = token.expires.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
    format!("token {} `{}`: user {}, {}, {until}", token.id, token.name, token.user, scopes.join(" "))
}
