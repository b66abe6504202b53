//! What really changed: first old and last new values of each field of each record.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexMap};
use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    error::Error,
    schema::{Model, Schema},
    value::{Id, RecordRef, Value},
};

use super::{Made, Row, columns, values};
use crate::{
    ddl,
    shared::{FieldTexts, OfModel},
};

/// What changed since the last [`ChangeLog::take`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeLog {
    entries: IndexMap<(String, Id), Entry, RandomState>,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: ChangeKind,
    /// Values before, of the fields that were written; of a deleted record all of them. Mostly there are few.
    old: Vec<(String, Old)>,
    /// The row of a new record, as long as it is known without asking.
    row: Option<Made>,
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
        Self { kind, old: Vec::new(), row: None }
    }

    fn old(&mut self, field: &str) -> Option<&mut Old> {
        self.old.iter_mut().find(|(known, _)| known == field).map(|(_, old)| old)
    }

    fn keep(&mut self, field: &str, old: Old) {
        if self.old.is_empty() {
            self.old.reserve_exact(1);
        }
        self.old.push((field.to_owned(), old));
    }
}

/// What was there before, and what is there now as far as that is known without asking.
#[derive(Debug, Clone)]
enum Old {
    Cell(Cell, Option<Cell>),
    Ids(Vec<Id>, Option<Vec<Id>>),
}

impl ChangeLog {
    /// So many records are about to be made.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.entries.reserve(records);
    }

    /// A record is being made.
    pub(crate) fn created(&mut self, model: &str, id: Id, row: Made) {
        let entry = Entry { row: Some(row), ..Entry::new(ChangeKind::Created) };
        self.entries.insert((model.to_owned(), id), entry);
    }

    /// The row of a record that was made since the last end, as it is now.
    pub(super) fn made(&self, model: &str, id: Id) -> Option<&Made> {
        self.entries.get(&Key(model, id))?.row.as_ref()
    }

    /// A column is about to change. What it becomes is told by [`Self::became`].
    pub(crate) fn cell(&mut self, model: &str, id: Id, field: &str, old: &Cell) {
        let entry = self.entry(model, id);
        match entry.old(field) {
            None => entry.keep(field, Old::Cell(old.clone(), None)),
            Some(Old::Cell(_, now)) => *now = None,
            Some(Old::Ids(..)) => {}
        }
    }

    /// Columns of a record have been written.
    pub(super) fn became(&mut self, model: &Model, id: Id, columns: &Row<'_>) {
        let Some(entry) = self.entries.get_mut(&Key(&model.name, id)) else { return };
        for (name, cell) in columns.iter() {
            if let Some(row) = &mut entry.row {
                row.set(model, name, cell.clone());
            }
            if let Some(Old::Cell(_, now)) = entry.old(name) {
                *now = Some(cell.clone());
            }
        }
    }

    /// A many2many field is about to change. `new`: what it becomes, in order; none: that is to be asked.
    pub(crate) fn ids(&mut self, model: &str, id: Id, field: &str, old: &[Id], new: Option<Vec<Id>>) {
        let entry = self.entry(model, id);
        match entry.old(field) {
            None => entry.keep(field, Old::Ids(old.to_vec(), new)),
            Some(Old::Ids(_, now)) => *now = new,
            Some(Old::Cell(..)) => {}
        }
    }

    /// Pairs of many2many fields were taken out: which those are now is to be asked.
    pub(super) fn pairs_deleted(&mut self) {
        for (_, old) in self.entries.values_mut().flat_map(|entry| &mut entry.old) {
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
            if entry.old(field).is_none() {
                entry.keep(field, Old::Cell(cell.clone(), None));
            }
        }
    }

    fn entry(&mut self, model: &str, id: Id) -> &mut Entry {
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
    entry: Entry,
) -> Result<Vec<FieldChange>, Error> {
    let Entry { kind, old, row } = entry;
    let mut fields = Vec::new();
    let mut now = Row::new();
    let is_there = match kind {
        ChangeKind::Deleted => false,
        ChangeKind::Created => {
            let made = match row {
                Some(row) => Some(row),
                None => columns::whole_row(conn, model, id)?.map(|row| Made::of(model, row)),
            };
            let is_there = made.is_some();
            fields = made.map(|made| first_values(model, names, made)).unwrap_or_default();
            is_there
        }
        ChangeKind::Updated => {
            let unknown = old.iter().filter(|(_, old)| matches!(old, Old::Cell(_, None)));
            let names: Vec<&str> =
                unknown.map(|(name, _)| name.as_str()).filter(|name| model.has_column(name)).collect();
            let found = if names.is_empty() { Some(Row::new()) } else { columns::row(conn, &model.name, &names, id)? };
            let is_there = found.is_some();
            now = found.unwrap_or_default();
            is_there
        }
    };
    if old.is_empty() {
        return Ok(fields);
    }
    fields.reserve_exact(old.len());
    let mut translations = Vec::new();
    for (name, old) in old {
        if let (Some(field), Old::Cell(before, Some(after)), ChangeKind::Updated) =
            (ddl::translated_field(&name), &old, kind)
            && let Some(base) = columns::row(conn, &model.name, &[field], id)?
        {
            translations.extend(translated(model, names, field, &base, before, after));
            continue;
        }
        let Some((place, _, field)) = model.fields.get_full(&name).filter(|_| is_told(model, &name, kind)) else {
            continue;
        };
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
            (Old::Cell(before, after), ChangeKind::Updated) => after
                .or_else(|| now.remove(&name))
                .filter(|after| !values::same(field.kind, &before, after))
                .map(|after| (values::from_cell(field.kind, before), values::from_cell(field.kind, after))),
        };
        fields.extend(change.map(|(old, new)| FieldChange { field: names.get(place, || name), old, new }));
    }
    fields.extend(translations);
    fields.sort_by_cached_key(|change| model.fields.get_index_of(change.field.as_str()));
    // A text that changed in the base language and in another one is told in the base language.
    fields.dedup_by(|other, first| other.field == first.field);
    Ok(fields)
}

/// What changed in another language: the texts as whoever wrote them sees them.
fn translated(
    model: &Model,
    names: &mut OfModel,
    field: &str,
    base: &Row<'_>,
    before: &Cell,
    after: &Cell,
) -> Option<FieldChange> {
    let (place, name, described) = model.fields.get_full(field)?;
    let [before, after] = [before, after].map(texts);
    let (lang, new) = after.into_iter().find(|(lang, text)| before.get(lang) != Some(text))?;
    let old = before.get(&lang).map_or_else(|| base.get(field).cloned(), |old| Some(Cell::Text(old.clone())))?;
    let new = Cell::Text(new);
    (!values::same(described.kind, &old, &new)).then(|| FieldChange {
        field: names.get(place, || name.as_str()),
        old: values::from_cell(described.kind, old),
        new: values::from_cell(described.kind, new),
    })
}

/// Texts by language, as the column beside a field has them.
fn texts(cell: &Cell) -> BTreeMap<String, String> {
    match cell {
        Cell::Text(json) => serde_json::from_str(json).unwrap_or_default(),
        _ => BTreeMap::new(),
    }
}

/// Whether a change tells a field. What the store itself writes is told of deleted records alone: it cannot be read any more.
fn is_told(model: &Model, field: &str, kind: ChangeKind) -> bool {
    let is_log = kind == ChangeKind::Deleted && super::is_log_access(model, field);
    is_log || !super::is_magic(model, field)
}

/// What a new record has in its fields, in the model's order.
fn first_values(model: &Model, names: &mut OfModel, made: Made) -> Vec<FieldChange> {
    let is_told = |place: usize, cell: &Cell| {
        let field = model.fields.get_index(place).filter(|(name, _)| !super::is_magic(model, name));
        field.is_some_and(|(_, field)| !values::same(field.kind, cell, &Cell::Null))
    };
    let told = made.into_fields(is_told);
    let mut fields = Vec::with_capacity(told.len());
    for (place, cell) in told {
        let Some((name, field)) = model.fields.get_index(place) else { continue };
        let new = values::from_cell(field.kind, cell);
        fields.push(FieldChange { field: names.get(place, || name.as_str()), old: Value::Unset, new });
    }
    fields
}
