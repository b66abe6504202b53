//! What really changed: first old and last new values of each field of each record.

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexMap};
use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    error::Error,
    schema::{ByName, Model, Schema},
    value::{Id, RecordRef, Value},
};

use super::{Row, columns, values};
use crate::shared::{FieldTexts, OfModel};

/// What changed since the last [`ChangeLog::take`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeLog<'s> {
    entries: IndexMap<(String, Id), Entry<'s>, RandomState>,
}

#[derive(Debug, Clone)]
struct Entry<'s> {
    kind: ChangeKind,
    /// Values before, of the fields that were written; of a deleted record all of them. Most entries are of new records,
    /// which have none.
    old: Option<Box<ByName<Old>>>,
    /// The row of a new record, as long as it is known without asking.
    row: Option<Row<'s>>,
}

/// A record, to look its entry up.
#[derive(Hash)]
struct Key<'k>(&'k str, Id);

impl Equivalent<(String, Id)> for Key<'_> {
    fn equivalent(&self, key: &(String, Id)) -> bool {
        self.1 == key.1 && self.0 == key.0
    }
}

impl Entry<'_> {
    fn new(kind: ChangeKind) -> Self {
        Self { kind, old: None, row: None }
    }

    fn old(&mut self) -> &mut ByName<Old> {
        self.old.get_or_insert_default()
    }
}

/// What was there before, and what is there now as far as that is known without asking.
#[derive(Debug, Clone)]
enum Old {
    Cell(Cell, Option<Cell>),
    Ids(Vec<Id>, Option<Vec<Id>>),
}

impl<'s> ChangeLog<'s> {
    /// The same, with names of its own: for a writer in another environment.
    pub(super) fn into_owned<'o>(self) -> ChangeLog<'o> {
        let owned = |Entry { kind, old, row }: Entry<'s>| Entry { kind, old, row: row.map(Row::into_owned) };
        ChangeLog { entries: self.entries.into_iter().map(|(key, entry)| (key, owned(entry))).collect() }
    }

    /// So many records are about to be made.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.entries.reserve(records);
    }

    /// A record is being made.
    pub(crate) fn created(&mut self, model: &str, id: Id, row: Row<'s>) {
        let entry = Entry { row: Some(row), ..Entry::new(ChangeKind::Created) };
        self.entries.insert((model.to_owned(), id), entry);
    }

    /// The row of a record that was made since the last end, as it is now.
    pub(super) fn made(&self, model: &str, id: Id) -> Option<&Row<'s>> {
        self.entries.get(&Key(model, id))?.row.as_ref()
    }

    /// A column is about to change. What it becomes is told by [`Self::became`].
    pub(crate) fn cell(&mut self, model: &str, id: Id, field: &str, old: &Cell) {
        match self.entry(model, id).old().entry(field.to_owned()).or_insert_with(|| Old::Cell(old.clone(), None)) {
            Old::Cell(_, now) => *now = None,
            Old::Ids(..) => {}
        }
    }

    /// Columns of a record have been written.
    pub(super) fn became(&mut self, model: &str, id: Id, columns: &Row<'s>) {
        let Some(entry) = self.entries.get_mut(&Key(model, id)) else { return };
        for (name, cell) in columns.iter() {
            if let Some(row) = &mut entry.row {
                row.insert(name.clone(), cell.clone());
            }
            if let Some(Old::Cell(_, now)) = entry.old.as_mut().and_then(|old| old.get_mut(&**name)) {
                *now = Some(cell.clone());
            }
        }
    }

    /// A many2many field is about to change. `new`: what it becomes, in order; none: that is to be asked.
    pub(crate) fn ids(&mut self, model: &str, id: Id, field: &str, old: &[Id], new: Option<Vec<Id>>) {
        match self.entry(model, id).old().entry(field.to_owned()).or_insert_with(|| Old::Ids(old.to_vec(), None)) {
            Old::Ids(_, now) => *now = new,
            Old::Cell(..) => {}
        }
    }

    /// Pairs of many2many fields were taken out: which those are now is to be asked.
    pub(super) fn pairs_deleted(&mut self) {
        for old in self.entries.values_mut().filter_map(|entry| entry.old.as_mut()).flat_map(|old| old.values_mut()) {
            if let Old::Ids(_, now) = old {
                *now = None;
            }
        }
    }

    /// A record is about to be deleted; `row` is all of it.
    pub(crate) fn deleted(&mut self, model: &str, id: Id, row: &Row<'_>) {
        let key = (model.to_owned(), id);
        if self.entries.get(&key).is_some_and(|entry| entry.kind == ChangeKind::Created) {
            // Made and deleted by the same call: nothing happened.
            self.entries.shift_remove(&key);
            return;
        }
        let entry = self.entry(model, id);
        entry.kind = ChangeKind::Deleted;
        for (field, cell) in row.iter() {
            entry.old().entry((**field).to_owned()).or_insert_with(|| Old::Cell(cell.clone(), None));
        }
    }

    fn entry(&mut self, model: &str, id: Id) -> &mut Entry<'s> {
        self.entries.entry((model.to_owned(), id)).or_insert_with(|| Entry::new(ChangeKind::Updated))
    }

    /// Ends the log: what changed in the end, fields in the model's order.
    pub(crate) fn take(&mut self, conn: &Connection, schema: &Schema) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::with_capacity(self.entries.len());
        let mut names = FieldTexts::default();
        for ((model, id), entry) in std::mem::take(&mut self.entries) {
            let Some(described) = schema.models.get(&model) else { continue };
            let kind = entry.kind;
            let fields = changed_fields(conn, described, names.of(described), id, entry)?;
            if kind != ChangeKind::Updated || !fields.is_empty() {
                changes.push(Change { record: RecordRef { model, id }, kind, fields });
            }
        }
        Ok(changes)
    }
}

/// What changed in the fields of one record, in the model's order.
fn changed_fields(
    conn: &Connection,
    model: &Model,
    names: &mut OfModel,
    id: Id,
    entry: Entry<'_>,
) -> Result<Vec<FieldChange>, Error> {
    let Entry { kind, old, row } = entry;
    let old = old.map_or_else(ByName::default, |old| *old);
    let current = match (kind, row) {
        (ChangeKind::Deleted, _) => None,
        (_, Some(row)) => Some(row),
        (ChangeKind::Created, None) => columns::whole_row(conn, model, id)?,
        (ChangeKind::Updated, None) => {
            let unknown = old.iter().filter(|(_, old)| matches!(old, Old::Cell(_, None)));
            let names: Vec<&str> =
                unknown.map(|(name, _)| name.as_str()).filter(|name| model.has_column(name)).collect();
            if names.is_empty() { Some(Row::new()) } else { columns::row(conn, &model.name, &names, id)? }
        }
    };
    let is_there = current.is_some();
    let mut current = current.unwrap_or_default();
    let find = |name: &str| {
        let (place, name, field) = model.fields.get_full(name)?;
        (!super::is_magic(model, name)).then_some((place, field))
    };
    let set = current.values().filter(|cell| **cell != Cell::Null).count();
    let mut fields = Vec::with_capacity(set.max(old.len()));
    if kind == ChangeKind::Created {
        for (at, (name, cell)) in std::mem::take(&mut current).into_iter().enumerate() {
            let Some(place) = names.place(model, at, &name) else { continue };
            let Some((_, field)) = model.fields.get_index(place).filter(|(name, _)| !super::is_magic(model, name))
            else {
                continue;
            };
            if !values::same(field.kind, &cell, &Cell::Null) {
                let new = values::from_cell(field.kind, cell);
                let field = names.get(place, || name);
                fields.push((place, FieldChange { field, old: Value::Unset, new }));
            }
        }
    }
    for (name, old) in old {
        let Some((place, field)) = find(&name) else { continue };
        let change = match (old, kind) {
            // Links are told before they change, those of a new record too.
            (Old::Ids(before, now), _) => {
                let after = match (field.m2m.as_ref().filter(|_| is_there && field.store), now) {
                    (Some(_), Some(now)) => now,
                    (Some(pairs), None) => super::relations::linked(conn, pairs, id)?,
                    (None, _) => Vec::new(),
                };
                (before != after).then_some((Value::Ids(before), Value::Ids(after)))
            }
            (Old::Cell(..), ChangeKind::Created) => None,
            (Old::Cell(cell, _), ChangeKind::Deleted) => (!values::same(field.kind, &cell, &Cell::Null))
                .then(|| (values::from_cell(field.kind, cell), Value::Unset)),
            (Old::Cell(before, now), ChangeKind::Updated) => now
                .or_else(|| current.remove(&name))
                .filter(|new| !values::same(field.kind, &before, new))
                .map(|new| (values::from_cell(field.kind, before), values::from_cell(field.kind, new))),
        };
        fields.extend(change.map(|(old, new)| (place, FieldChange { field: names.get(place, || name), old, new })));
    }
    fields.sort_unstable_by_key(|(place, _)| *place);
    Ok(fields.into_iter().map(|(_, field)| field).collect())
}
