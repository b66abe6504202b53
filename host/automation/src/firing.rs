//! What a run was fired with: kept with it, and given to its scripts.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize};
use triggerbox_model::{
    changes::{Change, ChangeKind},
    event::{MessageInfo, Trigger},
    value::{FieldValue, Id, Snapshot},
};

/// What a run was fired with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Firing {
    /// What happened.
    pub trigger: Trigger,
    /// To which records of the rule's model, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "read_once")]
    pub records: Vec<Id>,
    /// Those that the rule's source gave, where the event brought none: with them, it is about these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Id>,
    /// The changed fields as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_values: Vec<Snapshot>,
    /// Who is behind it, where people are on another server (`res.users` there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Id>,
    /// Who else is behind it (`res.users` here): whoever caused a fire that joined it, or that it follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_by: Vec<Id>,
    /// What somebody should know about this run besides its result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Firing {
    /// Something that happened to no records, or to these. Whoever names one twice means it once.
    #[must_use]
    pub fn new(trigger: Trigger, records: Vec<Id>) -> Self {
        Self {
            trigger,
            records: each_once(records),
            found: Vec::new(),
            old_values: Vec::new(),
            actor: None,
            also_by: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What a change is to a script.
    pub(crate) fn of(change: &Change, record: Id, message: Option<&MessageInfo>) -> Self {
        if let Some(message) = message {
            return Self::new(Trigger::Message(message.clone()), vec![record]);
        }
        let before = || {
            let fields = change.fields.iter().map(|field| FieldValue::new(&field.field, field.old.clone()));
            Snapshot { id: record, fields: fields.collect() }
        };
        match change.kind {
            ChangeKind::Created => Self::new(Trigger::Created, vec![record]),
            ChangeKind::Deleted => Self::new(Trigger::Deleted(vec![before()]), vec![record]),
            ChangeKind::Updated => Self { old_values: vec![before()], ..Self::new(Trigger::Updated, vec![record]) },
        }
    }

    /// The lanes that its run stands in: one for each record. Slots of a schedule without records stand in one of their own, in
    /// the order of their times.
    pub(crate) fn lanes(&self) -> Vec<Id> {
        match self.trigger {
            Trigger::Scheduled(_) if self.records.is_empty() => vec![0],
            _ => self.records.clone(),
        }
    }

    /// Whether another firing can be part of the same run.
    pub(crate) fn takes(&self, other: &Self) -> bool {
        matches!(
            (&self.trigger, &other.trigger),
            (Trigger::Created, Trigger::Created | Trigger::Updated)
                | (Trigger::Updated, Trigger::Updated)
                | (Trigger::Deleted(_), Trigger::Deleted(_))
        )
    }

    /// Adds other firings. Of a record that is there already, the first old values count.
    pub(crate) fn join(&mut self, others: impl IntoIterator<Item = Self>) {
        let mut records: HashSet<Id> = self.records.iter().copied().collect();
        let mut old: HashMap<Id, usize> = self.old_values.iter().zip(0..).map(|(known, at)| (known.id, at)).collect();
        for other in others {
            self.records.extend(other.records.into_iter().filter(|id| records.insert(*id)));
            add(&mut self.also_by, other.also_by);
            if let (Trigger::Deleted(mine), Trigger::Deleted(theirs)) = (&mut self.trigger, other.trigger) {
                mine.extend(theirs);
            }
            for snapshot in other.old_values {
                match old.get(&snapshot.id).and_then(|at| self.old_values.get_mut(*at)) {
                    Some(known) => {
                        let new = snapshot.fields.into_iter();
                        let new: Vec<_> =
                            new.filter(|field| known.fields.iter().all(|f| f.name != field.name)).collect();
                        known.fields.extend(new);
                    }
                    None => {
                        old.insert(snapshot.id, self.old_values.len());
                        self.old_values.push(snapshot);
                    }
                }
            }
            self.warnings.extend(other.warnings);
        }
    }
}

/// The first of each.
pub(crate) fn each_once(mut ids: Vec<Id>) -> Vec<Id> {
    let mut met = HashSet::new();
    ids.retain(|id| met.insert(*id));
    ids
}

/// What was kept before may name a record twice.
fn read_once<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Id>, D::Error> {
    Vec::deserialize(from).map(each_once)
}

/// Adds those that are new.
pub(crate) fn add(known: &mut Vec<Id>, more: impl IntoIterator<Item = Id>) {
    for id in more {
        if !known.contains(&id) {
            known.push(id);
        }
    }
}
