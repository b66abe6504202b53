//! What really changed: first old and last new values of each field of each record.

use indexmap::{Equivalent, IndexMap};
use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    error::Error,
    schema::{FieldKind, Schema},
    value::{Id, RecordRef, Value},
};

use super::{Row, columns, values};

/// What changed since the last [`ChangeLog::take`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeLog {
    entries: IndexMap<(String, Id), Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: ChangeKind,
    /// Values before, of the fields that were written; of a deleted record all of them.
    old: IndexMap<String, Old>,
    /// The row of a new record, as long as it is known without asking.
    row: Option<Row>,
}

/// A record, to look its entry up.
#[derive(Hash)]
struct Key<'k>(&'k str, Id);

impl Equivalent<(String, Id)> for Key<'_> {
    fn equivalent(&self, key: &(String, Id)) -> bool {
        self.1 == key.1 && self.0 == key.0
    }
}

impl Entry {
    fn new(kind: ChangeKind) -> Self {
        Self { kind, old: IndexMap::new(), row: None }
    }
}

/// What was there before, and what is there now as far as that is known without asking.
#[derive(Debug, Clone)]
enum Old {
    Cell(Cell, Option<Cell>),
    Ids(Vec<Id>, Option<Vec<Id>>),
}

impl ChangeLog {
    /// A record is being made.
    pub(crate) fn created(&mut self, model: &str, id: Id, row: Row) {
        let entry = Entry { row: Some(row), ..Entry::new(ChangeKind::Created) };
        self.entries.insert((model.to_owned(), id), entry);
    }

    /// The row of a record that was made since the last end, as it is now.
    pub(super) fn made(&self, model: &str, id: Id) -> Option<&Row> {
        self.entries.get(&Key(model, id))?.row.as_ref()
    }

    /// A column is about to change. What it becomes is told by [`Self::became`].
    pub(crate) fn cell(&mut self, model: &str, id: Id, field: &str, old: &Cell) {
        match self.entry(model, id).old.entry(field.to_owned()).or_insert_with(|| Old::Cell(old.clone(), None)) {
            Old::Cell(_, now) => *now = None,
            Old::Ids(..) => {}
        }
    }

    /// Columns of a record have been written.
    pub(super) fn became(&mut self, model: &str, id: Id, columns: &Row) {
        let Some(entry) = self.entries.get_mut(&Key(model, id)) else { return };
        for (name, cell) in columns {
            if let Some(row) = &mut entry.row {
                row.insert(name.clone(), cell.clone());
            }
            if let Some(Old::Cell(_, now)) = entry.old.get_mut(name) {
                *now = Some(cell.clone());
            }
        }
    }

    /// A many2many field is about to change. `new`: what it becomes, in order; none: that is to be asked.
    pub(crate) fn ids(&mut self, model: &str, id: Id, field: &str, old: &[Id], new: Option<Vec<Id>>) {
        match self.entry(model, id).old.entry(field.to_owned()).or_insert_with(|| Old::Ids(old.to_vec(), None)) {
            Old::Ids(_, now) => *now = new,
            Old::Cell(..) => {}
        }
    }

    /// Pairs of many2many fields were taken out: which those are now is to be asked.
    pub(super) fn pairs_deleted(&mut self) {
        for old in self.entries.values_mut().flat_map(|entry| entry.old.values_mut()) {
            if let Old::Ids(_, now) = old {
                *now = None;
            }
        }
    }

    /// A record is about to be deleted; `row` is all of it.
    pub(crate) fn deleted(&mut self, model: &str, id: Id, row: &Row) {
        let key = (model.to_owned(), id);
        if self.entries.get(&key).is_some_and(|entry| entry.kind == ChangeKind::Created) {
            // Made and deleted by the same call: nothing happened.
            self.entries.shift_remove(&key);
            return;
        }
        let entry = self.entry(model, id);
        entry.kind = ChangeKind::Deleted;
        for (field, cell) in row {
            entry.old.entry(field.clone()).or_insert_with(|| Old::Cell(cell.clone(), None));
        }
    }

    fn entry(&mut self, model: &str, id: Id) -> &mut Entry {
        self.entries.entry((model.to_owned(), id)).or_insert_with(|| Entry::new(ChangeKind::Updated))
    }

    /// Ends the log: what changed in the end, fields in the model's order.
    pub(crate) fn take(&mut self, conn: &Connection, schema: &Schema) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for ((model, id), entry) in std::mem::take(&mut self.entries) {
            let Some(described) = schema.models.get(&model) else { continue };
            let current = match (entry.kind, entry.row) {
                (ChangeKind::Deleted, _) => None,
                (_, Some(row)) => Some(row),
                (ChangeKind::Created, None) => columns::whole_row(conn, described, id)?,
                (ChangeKind::Updated, None) => {
                    let unknown = entry.old.iter().filter(|(_, old)| matches!(old, Old::Cell(_, None)));
                    let names: Vec<&str> =
                        unknown.map(|(name, _)| name.as_str()).filter(|name| described.has_column(name)).collect();
                    if names.is_empty() { Some(Row::new()) } else { columns::row(conn, &model, &names, id)? }
                }
            };
            let mut fields = Vec::new();
            for (name, field) in &described.fields {
                if super::is_magic(described, name) {
                    continue;
                }
                let old = entry.old.get(name);
                let change = match (field.kind, entry.kind) {
                    (FieldKind::Many2many, _) => {
                        let (before, now) = match old {
                            Some(Old::Ids(before, now)) => (before.clone(), now),
                            // Links are told before they change, those of a new record too.
                            _ => continue,
                        };
                        let after = match (field.m2m.as_ref().filter(|_| current.is_some() && field.store), now) {
                            (Some(_), Some(now)) => now.clone(),
                            (Some(pairs), None) => super::relations::linked(conn, pairs, id)?,
                            (None, _) => Vec::new(),
                        };
                        if before == after { None } else { Some((Value::Ids(before), Value::Ids(after))) }
                    }
                    (_, ChangeKind::Created) => {
                        let new = current.as_ref().and_then(|row| row.get(name));
                        new.filter(|cell| !values::same(field.kind, cell, &Cell::Null))
                            .map(|cell| (Value::Unset, values::from_cell(field.kind, cell)))
                    }
                    (_, ChangeKind::Deleted) => match old {
                        Some(Old::Cell(cell, _)) if !values::same(field.kind, cell, &Cell::Null) => {
                            Some((values::from_cell(field.kind, cell), Value::Unset))
                        }
                        _ => None,
                    },
                    (_, ChangeKind::Updated) => match old {
                        Some(Old::Cell(old, now)) => now
                            .as_ref()
                            .or_else(|| current.as_ref()?.get(name))
                            .filter(|new| !values::same(field.kind, old, new))
                            .map(|new| (values::from_cell(field.kind, old), values::from_cell(field.kind, new))),
                        _ => None,
                    },
                };
                if let Some((old, new)) = change {
                    fields.push(FieldChange { field: name.clone(), old, new });
                }
            }
            if entry.kind != ChangeKind::Updated || !fields.is_empty() {
                changes.push(Change { record: RecordRef::new(model, id), kind: entry.kind, fields });
            }
        }
        Ok(changes)
    }
}
