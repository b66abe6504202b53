//! What came of a scenario's run, in the words of what scenarios expect.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value as Toml};
use triggerbox_automation::{Report, Verdict, journal::Entry};
use triggerbox_model::{
    call::{Call, Command},
    changes::{ChangeKind, ChatterDiff, FieldDiff, RecordDiff},
    event::{Failure, Outcome},
    limits::PerLimit,
    schema::{FieldKind, Schema},
    value::{FieldValue, Value},
};
use triggerbox_store::write::html;

use super::{
    expect::{Changed, Ended, Follower, Posted, Sent, Todo, plain},
    outside,
    refs::{Called, Names},
};

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What it answered, if it succeeded.
    pub outcome: Option<Outcome>,
    /// The outcome's values, as scenarios write them.
    pub values: Table,
    /// How it ended, if it did not succeed.
    pub error: Option<Ended>,
    /// Where it broke: frames of a trap.
    pub detail: Option<String>,
    /// Records that changed.
    pub changes: Vec<Changed>,
    /// Messages and notes.
    pub messages: Vec<Posted>,
    /// Activities.
    pub activities: Vec<Todo>,
    /// Whether it added or removed any itself: others follow from what it did.
    pub follows: bool,
    /// Followers.
    pub followers: Vec<Follower>,
    /// Requests to other services.
    pub requests: Vec<Sent>,
    /// Refusals, with their codes.
    pub refusals: Vec<String>,
    /// Log lines, with their levels.
    pub log: Vec<String>,
    /// What was used of each limit.
    pub used: PerLimit,
}

impl Default for Observed {
    /// Nothing came of it.
    fn default() -> Self {
        Self {
            outcome: None,
            values: Table::new(),
            error: None,
            detail: None,
            changes: Vec::new(),
            messages: Vec::new(),
            activities: Vec::new(),
            follows: false,
            followers: Vec::new(),
            requests: Vec::new(),
            refusals: Vec::new(),
            log: Vec::new(),
            used: PerLimit::ZERO,
        }
    }
}

/// Puts a report in a scenario's words.
pub(super) fn observe(
    names: &dyn Names,
    schema: &Schema,
    report: &Report,
    entries: &[Entry],
    log: Vec<String>,
) -> Observed {
    let names = Called::new(names, &report.diff);
    let own = set_by_script(schema, entries);
    let mut observed = Observed { log, used: report.used, ..Observed::default() };
    match &report.verdict {
        Verdict::Applied(outcome)
        | Verdict::DryRun(outcome)
        | Verdict::Proposed(outcome)
        | Verdict::Dropped(outcome) => {
            let values = outcome.values.iter().map(|field| (field.name.clone(), data(&field.value, "")));
            observed.values = values.collect();
            observed.outcome = Some(outcome.clone());
        }
        other => (observed.error, observed.detail) = ended(other),
    }
    let said: BTreeSet<String> = entries.iter().filter_map(said_by_method).collect();
    for record in &report.diff.records {
        let name = names.of(&record.record);
        if let Some(kind) = record.kind {
            let own = own.get(record.record.model.as_str());
            observed.changes.push(changed(schema, record, kind, name.clone(), own));
        }
        for entry in &record.chatter {
            chatter(&mut observed, &name, entry, &said);
        }
    }
    let follows = |entry: &Entry| matches!(entry.call, Call::AddFollowers { .. } | Call::RemoveFollowers { .. });
    observed.follows = entries.iter().any(follows);
    observed.requests = entries.iter().filter_map(sent).collect();
    observed.refusals = report.refusals.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
    observed
}

fn ended(verdict: &Verdict) -> (Option<Ended>, Option<String>) {
    let ended = |code: &str| Ended { code: code.to_owned(), limit: None, message: verdict.message() };
    match verdict {
        Verdict::Failed(Failure::UserError(_)) => (Some(ended("user-error")), None),
        Verdict::LimitExceeded(breach) => {
            (Some(Ended { limit: Some(breach.limit.to_string()), ..ended(verdict.code()) }), None)
        }
        Verdict::Trapped(trap) => (Some(ended(verdict.code())), Some(trap.to_string())),
        other => (Some(ended(other.code())), None),
    }
}

/// Fields that a script names when it writes, by model.
fn set_by_script<'a>(schema: &'a Schema, entries: &'a [Entry]) -> Own<'a> {
    let mut own = Own::new();
    for entry in entries.iter().filter(|entry| entry.reply.is_ok()) {
        match &entry.call {
            Call::Create { model, values } => values.iter().for_each(|values| note(&mut own, model, values)),
            Call::Ensure { model, values, .. } | Call::Write { model, values, .. } => note(&mut own, model, values),
            Call::Copy { target, values } => note(&mut own, &target.model, values),
            Call::Relate { target, field, commands } => {
                own.entry(&target.model).or_default().insert(field);
                let described = schema.models.get(&target.model).and_then(|model| model.fields.get(field));
                let Some(related) = described.and_then(|field| field.relation.as_deref()) else { continue };
                for command in commands {
                    if let Command::Create(values) | Command::Update(_, values) = command {
                        note(&mut own, related, values);
                    }
                }
            }
            _ => {}
        }
    }
    own
}

type Own<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn note<'a>(own: &mut Own<'a>, model: &'a str, values: &'a [FieldValue]) {
    own.entry(model).or_default().extend(values.iter().map(|value| value.name.as_str()));
}

fn changed(
    schema: &Schema,
    record: &RecordDiff,
    kind: ChangeKind,
    name: String,
    own: Option<&BTreeSet<&str>>,
) -> Changed {
    let kind_of = |field: &str| {
        let model = schema.models.get(&record.record.model)?;
        Some(model.fields.get(field)?.kind)
    };
    let value = |field: &FieldDiff| match kind_of(&field.field) {
        Some(FieldKind::Html) => Toml::String(String::from(&field.new_text)),
        _ => data(&field.new, &field.new_text),
    };
    let fields = record.fields.iter().map(|field| (String::from(&field.field), value(field)));
    let (values, consequences): (Table, Table) =
        fields.partition(|(name, _)| own.is_some_and(|own| own.contains(name.as_str())));
    Changed { record: name, deleted: kind == ChangeKind::Deleted, values, consequences }
}

/// A value as scenarios write it; `words` are its names and labels.
fn data(value: &Value, words: &str) -> Toml {
    let value = match value {
        Value::Unset => Toml::Boolean(false),
        Value::Boolean(flag) => Toml::Boolean(*flag),
        Value::Integer(number) => Toml::Integer(i64::from(*number)),
        Value::Number(number) => Toml::Float(*number),
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) | Value::Json(text) => Toml::String(text.clone()),
        Value::Many2one(link) if words.is_empty() => Toml::Integer(i64::from(link.id)),
        Value::Ids(ids) if words.is_empty() => {
            Toml::Array(ids.iter().map(|id| Toml::Integer(i64::from(*id))).collect())
        }
        Value::Binary(bytes) => Toml::String(format!("{} bytes", bytes.len())),
        Value::Reference(record) if words.is_empty() => Toml::String(format!("{}/{}", record.model, record.id)),
        Value::Pending | Value::Many2one(_) | Value::Ids(_) | Value::Reference(_) => Toml::String(words.to_owned()),
    };
    plain(&value)
}

/// What a script says with Odoo's own methods: they post as the system does.
fn said_by_method(entry: &Entry) -> Option<String> {
    let Call::CallMethod { method, arguments_json, .. } = &entry.call else { return None };
    if !matches!(method.as_str(), "message_post" | "_message_log") {
        return None;
    }
    let arguments: serde_json::Value = serde_json::from_str(arguments_json).ok()?;
    let body = arguments.get("body")?.as_str()?;
    let html = arguments.get("body_is_html").and_then(serde_json::Value::as_bool).unwrap_or(false);
    Some(if html { html::to_text(body) } else { html::to_text(&html::escape(body)) })
}

fn chatter(observed: &mut Observed, name: &str, entry: &ChatterDiff, said: &BTreeSet<String>) {
    let on = name.to_owned();
    match entry {
        // What the system writes by itself follows from the changes.
        ChatterDiff::Message { automatic: true, text, .. } if !said.contains(text) => {}
        ChatterDiff::Message { note, text, .. } => {
            observed.messages.push(Posted { on, note: *note, text: text.clone() });
        }
        ChatterDiff::Activity { kind, summary, deadline, user } => observed.activities.push(Todo {
            on,
            kind: kind.clone(),
            summary: summary.clone(),
            deadline: Some(Toml::String(deadline.clone())),
            user: Some(user.clone()),
            done: false,
        }),
        ChatterDiff::ActivityDone { kind, summary } => observed.activities.push(Todo {
            on,
            kind: kind.clone(),
            summary: summary.clone(),
            deadline: None,
            user: None,
            done: true,
        }),
        ChatterDiff::Follower { name } => {
            observed.followers.push(Follower { on, partner: name.clone(), removed: false });
        }
        ChatterDiff::FollowerRemoved { name } => {
            observed.followers.push(Follower { on, partner: name.clone(), removed: true });
        }
    }
}

fn sent(entry: &Entry) -> Option<Sent> {
    match &entry.call {
        Call::Send { request } if entry.reply.is_ok() => {
            Some(Sent { request: format!("{} {}", request.method, request.url), body: outside::body(&request.body) })
        }
        _ => None,
    }
}
