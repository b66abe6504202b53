//! Which rules fire on what really changed: watched fields first, then the domain on the values before, then the one on
//! the values after.

use std::sync::Arc;

use rusqlite::Connection;
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    domain::{
        eval::{self, Records},
        memory::Changed,
    },
    error::Error,
    event::MessageInfo,
    schema::Schema,
    value::{Id, Value},
};
use triggerbox_store::{
    env::Env,
    query::{self, records::Stored},
};

use crate::{
    index::{Armed, Condition, Index},
    message::{self, Heard},
    rule::Trigger,
};

/// A rule fires on a record.
#[derive(Debug, Clone)]
pub struct Fire {
    /// The rule.
    pub rule: Arc<Armed>,
    /// Which of the changes.
    pub change: usize,
    /// The record of the rule's model.
    pub record: Id,
    /// The message, where the rule waits for messages.
    pub message: Option<MessageInfo>,
    /// What the loop guard knows it by: the fields that changed, of those that the rule looks at.
    pub fields: String,
}

/// All fires of the changes of one transaction, by rule in the order of rules, and by change.
///
/// # Errors
/// What the database says.
pub fn fires(conn: &Connection, env: &Env, index: &Index, changes: &[Change]) -> Result<Vec<Fire>, Error> {
    let mut fires = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let active = active_name(&env.schema, &change.record.model);
        for rule in index.on_changes(&change.record.model) {
            if let Some(fields) = watched(&rule.rule.trigger, change, active)
                && holds(conn, env, rule, change)?
            {
                let record = change.record.id;
                fires.push(Fire { rule: Arc::clone(rule), change: at, record, message: None, fields });
            }
        }
        if let Some(Heard { on, direction, info }) = message::heard(conn, change)? {
            for rule in index.on_messages(&on.model) {
                let wanted = match rule.rule.trigger {
                    Trigger::MessageReceived {} => message::Direction::In,
                    _ => message::Direction::Out,
                };
                if wanted == direction && record_holds(conn, env, rule, &on.model, on.id)? {
                    let (rule, fields) = (Arc::clone(rule), format!("message {}", info.id));
                    fires.push(Fire { rule, change: at, record: on.id, message: Some(info.clone()), fields });
                }
            }
        }
    }
    fires.sort_by_key(|fire| (fire.rule.id, fire.change));
    Ok(fires)
}

/// The fields by which a change is one that the trigger waits for; none if it is not.
pub(crate) fn watched(trigger: &Trigger, change: &Change, active: &str) -> Option<String> {
    let became = |field: &str, wanted: &dyn Fn(&FieldChange) -> bool| {
        let changed = change.fields.iter().find(|changed| changed.field == field)?;
        (change.kind != ChangeKind::Deleted && wanted(changed)).then(|| field.to_owned())
    };
    match trigger {
        Trigger::Created {} if change.kind == ChangeKind::Created => Some("+".to_owned()),
        Trigger::CreatedOrUpdated { .. } if change.kind == ChangeKind::Created => Some("+".to_owned()),
        Trigger::Deleted {} if change.kind == ChangeKind::Deleted => Some("-".to_owned()),
        Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields } if change.kind == ChangeKind::Updated => {
            let names = change.fields.iter().map(|changed| changed.field.as_str());
            let names: Vec<&str> = names.filter(|name| fields.is_empty() || fields.iter().any(|f| f == name)).collect();
            (!names.is_empty()).then(|| names.join(","))
        }
        Trigger::StageSet { value } => became("stage_id", &|changed| match (&changed.new, value) {
            (Value::Many2one(stage), Some(wanted)) => stage.id == *wanted,
            (new, None) => *new != Value::Unset,
            _ => false,
        }),
        Trigger::StateSet { value, field } => {
            became(field.as_deref().unwrap_or("state"), &|changed| changed.new == Value::text(value.as_str()))
        }
        Trigger::PrioritySet { value } => became("priority", &|changed| changed.new == Value::text(value.as_str())),
        Trigger::TagSet { value } => became("tag_ids", &|changed| {
            let has = |side: &Value| matches!(side, Value::Ids(ids) if ids.contains(value));
            has(&changed.new) && !has(&changed.old)
        }),
        Trigger::UserSet {} => became("user_id", &|changed| changed.new != Value::Unset)
            .or_else(|| became("user_ids", &|changed| matches!(&changed.new, Value::Ids(ids) if !ids.is_empty()))),
        Trigger::Archived {} => became(active, &|changed| switched(changed, true, false)),
        Trigger::Unarchived {} => became(active, &|changed| switched(changed, false, true)),
        _ => None,
    }
}

/// The field that archives the records of a model.
pub(crate) fn active_name<'s>(schema: &'s Schema, model: &str) -> &'s str {
    schema.models.get(model).and_then(|model| model.active_name.as_deref()).unwrap_or("active")
}

fn switched(changed: &FieldChange, from: bool, to: bool) -> bool {
    changed.old == Value::Boolean(from) && changed.new == Value::Boolean(to)
}

fn holds(conn: &Connection, env: &Env, rule: &Armed, change: &Change) -> Result<bool, Error> {
    Ok(held_before(conn, env, rule, change)? && held_after(conn, env, rule, change)?)
}

/// Whether the record matched the before-domain. A new record has no values before: only what comes after is judged.
pub(crate) fn held_before(conn: &Connection, env: &Env, rule: &Armed, change: &Change) -> Result<bool, Error> {
    if change.kind == ChangeKind::Created || matches!(rule.before, Condition::Always) {
        return Ok(true);
    }
    let stored = Stored(conn);
    let before = with(&stored, change, |field| &field.old)?;
    rule.before.holds(conn, env, &before, &change.record.model, change.record.id)
}

/// Whether the record matches the domain after the change; of a deleted one the last values count.
pub(crate) fn held_after(conn: &Connection, env: &Env, rule: &Armed, change: &Change) -> Result<bool, Error> {
    if matches!(rule.after, Condition::Always) {
        return Ok(true);
    }
    let stored = Stored(conn);
    let after = match change.kind {
        ChangeKind::Deleted => with(&stored, change, |field| &field.old)?,
        _ => with(&stored, change, |field| &field.new)?,
    };
    rule.after.holds(conn, env, &after, &change.record.model, change.record.id)
}

/// Whether a record, as it is, matches a rule's domain.
///
/// # Errors
/// What the database says.
pub fn record_holds(conn: &Connection, env: &Env, rule: &Armed, model: &str, id: Id) -> Result<bool, Error> {
    rule.after.holds(conn, env, &Stored(conn), model, id)
}

/// The records as they are, with one side of the change in place.
fn with<'a>(
    stored: &'a Stored<'_>,
    change: &'a Change,
    side: impl Fn(&'a FieldChange) -> &'a Value,
) -> Result<Changed<'a>, Error> {
    let mut records = Changed::new(stored, &change.record.model);
    records.columns.entry(change.record.id).or_default();
    for field in &change.fields {
        records.set(change.record.id, &field.field, side(field))?;
    }
    Ok(records)
}

impl Condition {
    /// Whether a record matches, as these records have it.
    pub(crate) fn holds(
        &self,
        conn: &Connection,
        env: &Env,
        records: &dyn Records,
        model: &str,
        id: Id,
    ) -> Result<bool, Error> {
        match self {
            Self::Always => Ok(true),
            Self::Fixed(filter) => eval::matches(records, model, id, filter),
            Self::Relative(domain) => eval::matches(records, model, id, &query::condition(conn, env, model, domain)?),
        }
    }
}
