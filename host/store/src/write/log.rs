//! What really changed: first old and last new values of each field of each record.

use indexmap::IndexMap;
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
    /// The row of a new record, as long as it is as it was made.
    row: Option<Row>,
}

impl Entry {
    fn new(kind: ChangeKind) -> Self {
        Self { kind, old: IndexMap::new(), row: None }
    }
}

#[derive(Debug, Clone)]
enum Old {
    Cell(Cell),
    Ids(Vec<Id>),
}

impl ChangeLog {
    /// A record is being made.
    pub(crate) fn created(&mut self, model: &str, id: Id, row: Row) {
        let entry = Entry { row: Some(row), ..Entry::new(ChangeKind::Created) };
        self.entries.insert((model.to_owned(), id), entry);
    }

    /// A column is about to change.
    pub(crate) fn cell(&mut self, model: &str, id: Id, field: &str, old: &Cell) {
        let entry = self.entry(model, id);
        entry.row = None;
        entry.old.entry(field.to_owned()).or_insert_with(|| Old::Cell(old.clone()));
    }

    /// A many2many field is about to change.
    pub(crate) fn ids(&mut self, model: &str, id: Id, field: &str, old: &[Id]) {
        self.entry(model, id).old.entry(field.to_owned()).or_insert_with(|| Old::Ids(old.to_vec()));
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
            entry.old.entry(field.clone()).or_insert_with(|| Old::Cell(cell.clone()));
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
                    let written = |name: &&str| described.has_column(name);
                    let names: Vec<&str> = entry.old.keys().map(String::as_str).filter(written).collect();
                    columns::row(conn, &model, &names, id)?
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
                        let before = match old {
                            Some(Old::Ids(ids)) => ids.clone(),
                            // Links are told before they change, those of a new record too.
                            _ => continue,
                        };
                        let after = match field.m2m.as_ref().filter(|_| current.is_some() && field.store) {
                            Some(pairs) => super::relations::linked(conn, pairs, id)?,
                            None => Vec::new(),
                        };
                        if before == after { None } else { Some((Value::Ids(before), Value::Ids(after))) }
                    }
                    (_, ChangeKind::Created) => {
                        let new = current.as_ref().and_then(|row| row.get(name));
                        new.filter(|cell| !values::same(field.kind, cell, &Cell::Null))
                            .map(|cell| (Value::Unset, values::from_cell(field.kind, cell)))
                    }
                    (_, ChangeKind::Deleted) => match old {
                        Some(Old::Cell(cell)) if !values::same(field.kind, cell, &Cell::Null) => {
                            Some((values::from_cell(field.kind, cell), Value::Unset))
                        }
                        _ => None,
                    },
                    (_, ChangeKind::Updated) => match (old, current.as_ref().and_then(|row| row.get(name))) {
                        (Some(Old::Cell(old)), Some(new)) if !values::same(field.kind, old, new) => {
                            Some((values::from_cell(field.kind, old), values::from_cell(field.kind, new)))
                        }
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
