//! Which rules fire on what really changed: watched fields first, then the domain on the values before, then the one on
//! the values after.

use std::sync::Arc;

use rusqlite::Connection;
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    domain::eval::{self, Records},
    error::Error,
    event::MessageInfo,
    schema::Schema,
    value::{Id, Value},
};
use triggerbox_store::{
    db::is_fault,
    env::Env,
    query::{self, records::Stored},
};

use crate::{
    index::{Armed, Condition, Index},
    message::{self, Heard},
    past::Past,
    rule::Trigger,
    sides::{Remembered, Sides},
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
    /// Who did it, where people are on another server.
    pub actor: Option<Id>,
    /// Why it cannot be said whether the rule's domains hold: it does not fire, and the change is none the worse for it.
    pub broken: Option<Error>,
}

/// All fires of the changes of one transaction, by rule in the order of rules, and by change. `steps`: what each step of it
/// changed, in order; empty: all of it was one step.
///
/// # Errors
/// What the database says.
pub fn fires(
    conn: &Connection,
    env: &Env,
    index: &Index,
    changes: &[Change],
    steps: &[Vec<Change>],
) -> Result<Vec<Fire>, Error> {
    let mut fires = Vec::new();
    let stored = Stored(conn);
    let past = Past::new(&stored, changes, steps);
    for (at, change) in changes.iter().enumerate() {
        let active = active_name(&env.schema, &change.record.model);
        let before = past.before(change);
        let (then, now) = (Remembered::new(&before, &change.record), Remembered::new(&stored, &change.record));
        let sides = Sides::new(&then, &now, change);
        for rule in index.on_changes(&change.record.model) {
            if let Some(fields) = watched(&rule.rule.trigger, change, active)
                && let Some(broken) = judged(sides.hold(conn, env, rule))?
            {
                let record = change.record.id;
                fires.push(Fire {
                    rule: Arc::clone(rule),
                    change: at,
                    record,
                    message: None,
                    fields,
                    actor: None,
                    broken,
                });
            }
        }
        if let Some(Heard { on, direction, info }) = message::heard(conn, change)? {
            for rule in index.on_messages(&on.model) {
                let wanted = match rule.rule.trigger {
                    Trigger::MessageReceived {} => message::Direction::In,
                    _ => message::Direction::Out,
                };
                if wanted == direction
                    && let Some(broken) = judged(record_holds(conn, env, rule, &on.model, on.id))?
                {
                    let (rule, fields) = (Arc::clone(rule), format!("message {}", info.id));
                    fires.push(Fire {
                        rule,
                        change: at,
                        record: on.id,
                        message: Some(info.clone()),
                        fields,
                        actor: None,
                        broken,
                    });
                }
            }
        }
    }
    fires.sort_by_key(|fire| (fire.rule.id, fire.change));
    Ok(fires)
}

/// Whether to fire, and what is wrong if that cannot be said. Only the database's own failures end the change.
pub(crate) fn judged(holds: Result<bool, Error>) -> Result<Option<Option<Error>>, Error> {
    match holds {
        Ok(true) => Ok(Some(None)),
        Ok(false) => Ok(None),
        Err(error) if is_fault(&error) => Err(error),
        Err(error) => Ok(Some(Some(error))),
    }
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

/// Whether a rule's domain on the values before a change holds; always, for a new record.
pub(crate) fn held_before(conn: &Connection, env: &Env, rule: &Armed, change: &Change) -> Result<bool, Error> {
    judge(conn, change, |sides| sides.held_before(conn, env, rule))
}

/// Whether a rule's domain on the values after a change holds; of a deleted record: on the last ones.
pub(crate) fn held_after(conn: &Connection, env: &Env, rule: &Armed, change: &Change) -> Result<bool, Error> {
    judge(conn, change, |sides| sides.held_after(conn, env, rule))
}

/// Both sides of a change that is known alone.
fn judge(conn: &Connection, change: &Change, by: impl Fn(&Sides<'_>) -> Result<bool, Error>) -> Result<bool, Error> {
    let stored = Stored(conn);
    let past = Past::new(&stored, std::slice::from_ref(change), &[]);
    let before = past.before(change);
    by(&Sides::new(&Remembered::new(&before, &change.record), &Remembered::new(&stored, &change.record), change))
}

/// Whether a record, as it is, matches a rule's domain.
///
/// # Errors
/// What the database says.
pub fn record_holds(conn: &Connection, env: &Env, rule: &Armed, model: &str, id: Id) -> Result<bool, Error> {
    rule.after.holds(conn, env, &Stored(conn), model, id)
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
