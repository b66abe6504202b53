//! What a run wants to change, in order and not yet applied; and what came of it, for people and programs.

use std::{collections::HashSet, fmt};

use foldhash::fast::RandomState;
use indexmap::{IndexMap, map::Entry};
use serde::{Deserialize, Serialize};

use crate::{
    call::{Activity, Command, Message},
    shared::SharedText,
    value::{FieldValue, Id, RecordRef, Value},
};

/// Everything a run wants to change, in order. Applied as one transaction or not at all.
///
/// Ids from [`crate::value::FIRST_PROVISIONAL_ID`] on stand for records that the change set itself creates;
/// they become real ids when it is applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// In the order of the calls.
    pub effects: Vec<Effect>,
    /// Records named in texts: the token of the n-th one stands for its name and id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<RecordRef>,
    /// Provisional ids that stand for no record: calls had been given them that were refused, or undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What the run saw of the records that it changes. If one differs at commit, the run runs again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Seen>,
    /// What others saw who had a say in it: rules that stand before the writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SeenBy>,
    /// The records that are deleted because they leave a list that they cannot be without, as the rules that stand before
    /// writes were asked of them; none: no rule does. If another one leaves at commit, the run runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Vec<RecordRef>>,
}

impl ChangeSet {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Has the commit compare this, too, where the run did not read it.
    pub fn see(&mut self, seen: Vec<Seen>) {
        let known: HashSet<(RecordRef, String)> =
            self.reads.iter().map(|read| (read.record.clone(), read.field.clone())).collect();
        self.reads.extend(seen.into_iter().filter(|one| !known.contains(&(one.record.clone(), one.field.clone()))));
    }
}

/// From an effect on, new records of a model have other numbers than the next ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The number of the effect.
    pub effect: usize,
    /// The model.
    pub model: String,
    /// The provisional id of the model's next new record.
    pub next: Id,
}

/// One staged change: a call that succeeded, with the provisional ids that it gave out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "variants and fields are those of the calls in wit/automation.wit")]
pub enum Effect {
    Create { model: String, values: Vec<Vec<FieldValue>>, ids: Vec<Id> },
    Ensure { model: String, keys: Vec<String>, values: Vec<FieldValue>, id: Id },
    Write { model: String, ids: Vec<Id>, values: Vec<FieldValue> },
    Relate { target: RecordRef, field: String, commands: Vec<Command> },
    Unlink { model: String, ids: Vec<Id> },
    Copy { target: RecordRef, values: Vec<FieldValue>, id: Id },
    CallMethod { model: String, ids: Vec<Id>, method: String, arguments_json: String },
    PostMessage { target: RecordRef, message: Message, note: bool },
    ScheduleActivity { target: RecordRef, activity: Activity },
    CompleteActivities { target: RecordRef, kind: String, feedback: Option<String> },
    AddFollowers { target: RecordRef, partner_ids: Vec<Id> },
    RemoveFollowers { target: RecordRef, partner_ids: Vec<Id> },
    SetState { rule: String, key: String, json: Option<String> },
}

/// A value that a run read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The record.
    pub record: RecordRef,
    /// The field.
    pub field: String,
    /// As it was before the run changed anything.
    pub value: Value,
}

/// What somebody else than the run's user read. Lists hold what the reader may see, and texts are in the reader's language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenBy {
    /// The reader (`res.users`).
    pub user: Id,
    /// The reader's rights did not bind the reading.
    pub superuser: bool,
    /// What was read.
    pub reads: Vec<Seen>,
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Fields changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// One field that really changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field.
    pub field: SharedText,
    /// Before; unset for a new record.
    pub old: Value,
    /// After; unset for a deleted record.
    pub new: Value,
}

/// What really changed on one record: what rules are matched against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The record.
    pub record: RecordRef,
    /// What happened.
    pub kind: ChangeKind,
    /// In order of the model's fields. Of a deleted record: its last values.
    pub fields: Vec<FieldChange>,
}

/// A change set in words: labels and names in place of technical values.
///
/// Its JSON form is the JSON diff; [`fmt::Display`] is the one for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// One for each record, in the order of first change.
    pub records: Vec<RecordDiff>,
}

impl Diff {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// What changes on one record, its chatter included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordDiff {
    /// The record; provisional before commit.
    pub record: RecordRef,
    /// What people call it.
    pub name: String,
    /// What happens to it; none: only its chatter changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ChangeKind>,
    /// Fields that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Messages, activities and followers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chatter: Vec<ChatterDiff>,
}

/// One field in words and as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Technical name.
    pub field: SharedText,
    /// Label.
    pub label: SharedText,
    /// Value before.
    pub old: Value,
    /// Value after.
    pub new: Value,
    /// `old` in words: names of records, labels of choices; empty for none.
    pub old_text: SharedText,
    /// `new` in words.
    pub new_text: SharedText,
}

/// One change of a record's chatter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "chatter", rename_all = "kebab-case")]
pub enum ChatterDiff {
    /// A message to the followers, or an internal note.
    Message {
        /// Internal.
        note: bool,
        /// Whether the system wrote it: a creation or tracking note.
        automatic: bool,
        /// Plain text.
        text: String,
    },
    /// Something to do.
    Activity {
        /// The type's name.
        kind: String,
        /// One line.
        summary: String,
        /// A date.
        deadline: String,
        /// Whose.
        user: String,
    },
    /// An activity is done.
    ActivityDone {
        /// The type's name.
        kind: String,
        /// One line.
        summary: String,
    },
    /// A partner follows the record from now on.
    Follower {
        /// The partner's name.
        name: String,
    },
    /// A partner no longer follows it.
    FollowerRemoved {
        /// The partner's name.
        name: String,
    },
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            write!(f, "{record}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RecordDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match crate::value::is_provisional(self.record.id) {
            true => "new".to_owned(),
            false => self.record.id.to_string(),
        };
        write!(f, "{} {id}", self.record.model)?;
        if !self.name.is_empty() {
            write!(f, "  {}", printable(&self.name))?;
        }
        match self.kind {
            Some(ChangeKind::Created) => write!(f, "  (created)")?,
            Some(ChangeKind::Deleted) => write!(f, "  (deleted)")?,
            Some(ChangeKind::Updated) | None => {}
        }
        writeln!(f)?;
        for field in &self.fields {
            let new = short(&field.new_text);
            match self.kind {
                Some(ChangeKind::Created) => writeln!(f, "  {}: {new}", field.label)?,
                _ => writeln!(f, "  {}: {} → {new}", field.label, short(&field.old_text))?,
            }
        }
        for entry in &self.chatter {
            writeln!(f, "  {entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ChatterDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { note, text, .. } => {
                write!(f, "{}: {}", if *note { "note" } else { "message" }, short(text))
            }
            Self::Activity { kind, summary, deadline, user } => {
                write!(f, "activity: {}", printable(kind))?;
                if !summary.is_empty() {
                    write!(f, " “{}”", printable(summary))?;
                }
                write!(f, " by {deadline}")?;
                if user.is_empty() { Ok(()) } else { write!(f, " for {}", printable(user)) }
            }
            Self::ActivityDone { kind, summary } => {
                write!(f, "activity done: {} {}", printable(kind), printable(summary))
            }
            Self::Follower { name } => write!(f, "follower: {}", printable(name)),
            Self::FollowerRemoved { name } => write!(f, "follower removed: {}", printable(name)),
        }
    }
}

/// Longest text of one value in the diff for people, in characters.
const SHOWN: usize = 200;

/// Text on one line and of bounded length; an empty one is shown as such.
fn short(text: &str) -> String {
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let line = printable(text);
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Text from outside without line breaks and terminal control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Joins changes of the same record into one: the first old values, the last new ones. What cancels out is gone. A record
/// that is deleted in the end has its last values.
#[must_use]
pub fn merge(changes: impl IntoIterator<Item = Change>) -> Vec<Change> {
    let mut merged: IndexMap<RecordRef, (ChangeKind, Vec<FieldChange>), RandomState> = IndexMap::default();
    for Change { record, kind, fields } in changes {
        let place = match merged.entry(record) {
            Entry::Vacant(place) => {
                place.insert((kind, fields));
                continue;
            }
            Entry::Occupied(place) => place,
        };
        if (place.get().0, kind) == (ChangeKind::Created, ChangeKind::Deleted) {
            place.shift_remove();
            continue;
        }
        if kind == ChangeKind::Deleted {
            *place.into_mut() = (kind, fields);
            continue;
        }
        let (known, known_fields) = place.into_mut();
        if *known == ChangeKind::Updated || kind == ChangeKind::Created {
            *known = kind;
        }
        for field in fields {
            match known_fields.iter_mut().find(|earlier| earlier.field == field.field) {
                Some(earlier) => earlier.new = field.new,
                None => known_fields.push(field),
            }
        }
        known_fields.retain(|field| field.old != field.new);
    }
    merged.retain(|_, (kind, fields)| *kind != ChangeKind::Updated || !fields.is_empty());
    merged.into_iter().map(|(record, (kind, fields))| Change { record, kind, fields }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind, fields: &[(&str, i32, i32)]) -> Change {
        let fields = fields.iter().map(|(name, old, new)| FieldChange {
            field: (*name).into(),
            old: Value::Integer(*old),
            new: Value::Integer(*new),
        });
        Change { record: RecordRef::new("m", 1), kind, fields: fields.collect() }
    }

    #[test]
    fn changes_of_one_record_become_one() {
        let merged = merge([
            change(ChangeKind::Updated, &[("a", 1, 2), ("b", 5, 6)]),
            change(ChangeKind::Updated, &[("a", 2, 3), ("b", 6, 5)]),
        ]);
        assert_eq!(merged, [change(ChangeKind::Updated, &[("a", 1, 3)])]);
        let there_and_back = [change(ChangeKind::Updated, &[("a", 1, 2)]), change(ChangeKind::Updated, &[("a", 2, 1)])];
        assert_eq!(merge(there_and_back), []);
        let made_and_deleted =
            [change(ChangeKind::Created, &[("a", 0, 1)]), change(ChangeKind::Deleted, &[("a", 1, 0)])];
        assert_eq!(merge(made_and_deleted), []);
        let written_and_deleted =
            [change(ChangeKind::Updated, &[("a", 1, 2)]), change(ChangeKind::Deleted, &[("a", 2, 0), ("b", 3, 0)])];
        assert_eq!(merge(written_and_deleted), [change(ChangeKind::Deleted, &[("a", 2, 0), ("b", 3, 0)])]);
    }

    #[test]
    fn the_diff_is_one_line_for_each_change_and_keeps_terminals_safe() {
        let diff = Diff {
            records: vec![RecordDiff {
                record: RecordRef::new("crm.lead", 7),
                name: "Chairs\u{1b}[31m".to_owned(),
                kind: Some(ChangeKind::Updated),
                fields: vec![FieldDiff {
                    field: "priority".into(),
                    label: "Priority".into(),
                    old: Value::text("0"),
                    new: Value::text("2"),
                    old_text: "Low".into(),
                    new_text: "High".into(),
                }],
                chatter: vec![ChatterDiff::Message { note: true, automatic: false, text: "two\nlines".to_owned() }],
            }],
        };
        assert_eq!(diff.to_string(), "crm.lead 7  Chairs [31m\n  Priority: Low → High\n  note: two lines\n");
    }
}
