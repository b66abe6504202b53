//! Tracked fields: what they were when a call began, and the note that tells what changed.

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::{ByName, Field, FieldKind, Model},
    value::Id,
};

use super::{Cells, link, text};
use crate::write::{Row, Writer, linked_ids, row, values};

/// Values of tracked fields before they first changed; none for records that are not tracked (new ones).
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracking {
    before: IndexMap<(String, Id), Option<Box<ByName<Before>>>, RandomState>,
    /// Lists of records as they are by now, in the order in which they were linked.
    linked: IndexMap<(String, Id, String), Vec<Id>, RandomState>,
}

#[derive(Debug, Clone, PartialEq)]
enum Before {
    Cell(Cell),
    /// A list of records, and their names.
    Links(Vec<Id>, String),
}

impl Tracking {
    /// Nothing of this record is tracked until the call ends: it is new, or going.
    pub(crate) fn ignore(&mut self, model: &str, id: Id) {
        self.before.insert((model.to_owned(), id), None);
    }

    fn note(&mut self, model: &str, id: Id, field: &str, before: Before) {
        if let Some(fields) = self.before.entry((model.to_owned(), id)).or_insert_with(|| Some(Box::default())) {
            fields.entry(field.to_owned()).or_insert(before);
        }
    }
}

impl Writer<'_> {
    fn tracks(&self, model: &Model, field: &Field) -> bool {
        model.chatter && field.tracking.is_some() && !self.options.silent && !self.options.no_tracking
    }

    /// Keeps the value that a column has before it changes.
    pub(crate) fn track_cell(&mut self, model: &Model, id: Id, name: &str, field: &Field, before: &Cell) {
        if self.tracks(model, field) {
            self.tracking.note(&model.name, id, name, Before::Cell(before.clone()));
        }
    }

    /// The records of a many2many field as a tracking message tells them: in their model's order, and after them what was
    /// linked since. Of a field that is not tracked, they are in no particular order.
    pub(crate) fn tracked_order(
        &self,
        model: &Model,
        id: Id,
        name: &str,
        field: &Field,
        linked: &[Id],
    ) -> Result<Vec<Id>, Error> {
        if !self.tracks(model, field) {
            return Ok(linked.to_vec());
        }
        match self.tracking.linked.get(&(model.name.clone(), id, name.to_owned())) {
            Some(known) => Ok(known.iter().copied().filter(|other| linked.contains(other)).collect()),
            None => self.in_order(self.schema().model(field.relation.as_deref().unwrap_or_default())?, linked),
        }
    }

    /// Keeps the records that a many2many field has before it changes, and those that it has then.
    pub(crate) fn track_ids(
        &mut self,
        model: &Model,
        id: Id,
        name: &str,
        field: &Field,
        before: &[Id],
        after: Vec<Id>,
    ) {
        if self.tracks(model, field) {
            let relation = field.relation.as_deref().unwrap_or_default();
            let names = self.names(relation, before).unwrap_or_default();
            self.tracking.note(&model.name, id, name, Before::Links(before.to_vec(), names));
            self.tracking.linked.insert((model.name.clone(), id, name.to_owned()), after);
        }
    }

    fn names(&self, model: &str, ids: &[Id]) -> Result<String, Error> {
        let names: Result<Vec<String>, Error> = ids.iter().map(|id| self.name_of(model, *id)).collect();
        Ok(names?.join(", "))
    }

    /// Posts a note on each record whose tracked fields changed since the call began.
    pub(crate) fn post_tracking(&mut self) -> Result<(), Error> {
        let before = std::mem::take(&mut self.tracking.before);
        if !self.schema().models.contains_key("mail.message") {
            return Ok(());
        }
        for ((model, id), fields) in before {
            let Some(fields) = fields else { continue };
            let described = self.schema().model(&model)?;
            let columns: Vec<&str> =
                fields.keys().map(String::as_str).filter(|name| described.has_column(name)).collect();
            if let Some(now) = row(self.conn, &model, &columns, id)? {
                self.post_changes(described, id, &fields, &now)?;
            }
        }
        self.tracking.linked.clear();
        Ok(())
    }

    /// Posts what differs from before, `now` being the columns as they are.
    fn post_changes(&mut self, model: &Model, id: Id, fields: &ByName<Before>, now: &Row<'_>) -> Result<(), Error> {
        let mut changed: Vec<(i64, &str, Cells)> = Vec::new();
        for (name, before) in fields {
            let field = model.field(name)?;
            let Some(sequence) = field.tracking_sequence() else { continue };
            if let Some(cells) = self.tracking_cells(model, id, (name, field), before, now)? {
                changed.push((sequence, name, cells));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        // Shown newest first: what comes last is stored first.
        changed.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)));
        let names: Vec<&str> = changed.iter().map(|(_, name, _)| *name).collect();
        let message = match self.track_subtype(model, id, &names)? {
            Some(subtype) => self.post_system(model, id, String::new(), subtype)?,
            None => self.log_note(model, id, String::new())?,
        };
        if !self.schema().models.contains_key("mail.tracking.value") {
            return Ok(());
        }
        for (_, name, mut cells) in changed {
            let field = self.field_id(&model.name, name)?;
            cells.push(("field_id", link(field)));
            cells.push(("mail_message_id", link(message)));
            self.add_record("mail.tracking.value", cells)?;
        }
        Ok(())
    }

    /// The columns of a tracking value; none when nothing changed in the end.
    fn tracking_cells(
        &self,
        model: &Model,
        id: Id,
        (name, field): (&str, &Field),
        before: &Before,
        now: &Row<'_>,
    ) -> Result<Option<Cells>, Error> {
        let before = match before {
            Before::Cell(cell) => cell,
            Before::Links(links, names) => {
                let relation = field.relation.as_deref().unwrap_or_default();
                let now = linked_ids(self.conn, field, id)?;
                if now.len() == links.len() && now.iter().all(|link| links.contains(link)) {
                    return Ok(None);
                }
                let after = self.names(relation, &self.tracked_order(model, id, name, field, &now)?)?;
                return Ok(Some(vec![("old_value_char", text(names)), ("new_value_char", text(after))]));
            }
        };
        let after = now.get(name).cloned().unwrap_or(Cell::Null);
        if values::same(field.kind, before, &after) || (is_empty(before) && is_empty(&after)) {
            return Ok(None);
        }
        let pair = |old: &'static str, new: &'static str, one: Cell, other: Cell| vec![(old, one), (new, other)];
        let midnight = |cell: &Cell| match cell {
            Cell::Text(date) => text(format!("{date} 00:00:00")),
            other => other.clone(),
        };
        let label = |cell: &Cell| match cell {
            Cell::Text(key) => {
                let label = field.selection.iter().find(|(known, _)| known == key).map(|(_, label)| label.clone());
                text(label.unwrap_or_else(|| key.clone()))
            }
            _ => text(""),
        };
        Ok(Some(match field.kind {
            FieldKind::Integer | FieldKind::Boolean => {
                pair("old_value_integer", "new_value_integer", before.clone(), after)
            }
            FieldKind::Float => pair("old_value_float", "new_value_float", before.clone(), after),
            FieldKind::Monetary => {
                let mut cells = pair("old_value_float", "new_value_float", before.clone(), after);
                let currency = field.currency_field.as_deref().unwrap_or_default();
                if model.fields.contains_key(currency) {
                    let mut currency = self.path_cell(model, currency, id)?;
                    if let (Cell::Null, Some(company)) = (&currency, self.env.company()?) {
                        currency = self.cell("res.company", "currency_id", company)?.unwrap_or(Cell::Null);
                    }
                    cells.push(("currency_id", currency));
                }
                cells
            }
            FieldKind::Char => pair("old_value_char", "new_value_char", before.clone(), after),
            FieldKind::Text => pair("old_value_text", "new_value_text", before.clone(), after),
            FieldKind::Date => pair("old_value_datetime", "new_value_datetime", midnight(before), midnight(&after)),
            FieldKind::Datetime => pair("old_value_datetime", "new_value_datetime", before.clone(), after),
            FieldKind::Selection => pair("old_value_char", "new_value_char", label(before), label(&after)),
            FieldKind::Many2one => {
                let relation = field.relation.as_deref().unwrap_or_default();
                let named = |cell: &Cell| -> Result<Cell, Error> {
                    Ok(text(match values::as_id(cell) {
                        Some(id) => self.name_of(relation, id)?,
                        None => String::new(),
                    }))
                };
                let mut cells = pair("old_value_char", "new_value_char", named(before)?, named(&after)?);
                cells.push(("old_value_integer", before.clone()));
                cells.push(("new_value_integer", after));
                cells
            }
            // Odoo tracks no other types.
            _ => return Ok(None),
        }))
    }
}

fn is_empty(cell: &Cell) -> bool {
    match cell {
        Cell::Null | Cell::Integer(0) => true,
        Cell::Text(text) => text.is_empty(),
        Cell::Real(number) => *number == 0.0,
        _ => false,
    }
}
