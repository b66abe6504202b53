//! Creating records.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Model},
    value::{Id, Value},
};

use super::{
    BASE_LANG, Input, Made, Row, Values, Writer, compute::Stale, declared::Declared, is_magic, is_translated,
    shown_path, values,
};
use crate::{chatter::responsible, ddl};

impl<'a> Writer<'a> {
    pub(super) fn create_many(
        &mut self,
        model: &str,
        list: impl IntoIterator<Item = Values>,
    ) -> Result<Vec<Id>, Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            writer.check_operation(described, triggerbox_model::call::Operation::Create, &[])?;
            let list = list.into_iter();
            let (count, _) = list.size_hint();
            let (mut ids, mut given) = (Vec::with_capacity(count), Vec::with_capacity(count));
            let (mut stale, mut put_off) = (Stale::new(), writer.asks_nothing(described).then(Vec::new));
            let declared = Declared::of(described, writer);
            writer.log.reserve(count);
            for values in list {
                given.push(responsible(&values));
                ids.push(writer.create_one(described, &declared, values, &mut stale, &mut put_off)?);
            }
            writer.greet_or_put_off(described, &ids, put_off.unwrap_or_default(), given, stale)?;
            writer.hand_over(described, &ids, &vec![None; ids.len()])?;
            for id in &ids {
                writer.finish_creation(described, *id)?;
            }
            let all: Vec<&str> = described.fields.keys().map(String::as_str).collect();
            writer.check_companies(described, &ids, &all)?;
            writer.check_made(described, &ids)?;
            Ok(ids)
        })
    }

    /// Makes one record; returns it. Adds what of others is to be computed again. `put_off`: records whose rows are added
    /// later, all at once, if that is possible.
    fn create_one(
        &mut self,
        model: &'a Model,
        declared: &Declared<'a>,
        mut given: Values,
        stale: &mut Stale<'a>,
        put_off: &mut Option<Vec<Id>>,
    ) -> Result<Id, Error> {
        check_names(model, &given)?;
        given.retain(|name, _| !is_magic(model, name));
        given.reserve(model.fields.len());
        self.add_defaults(model, declared, &mut given)?;
        self.add_known_values(model, &mut given)?;
        self.add_computed(model, declared, &mut given)?;
        let shown = self.create_parents(model, declared, &mut given)?;
        self.memo.get_mut().writes(&model.name);
        let id = self.place.new_id(self.conn, &model.name)?;

        // Besides what is given, who did it and when, and what follows.
        let mut row = Row::with_capacity(given.len() + LOG_COLUMNS + 4);
        let mut relations = Vec::new();
        for (name, input) in &given {
            let (name, field) = model.named_field(name)?;
            if field.kind.is_x2many() {
                relations.push((name, Self::commands(model, name, input.clone())?));
                continue;
            }
            if !field.has_column() {
                continue;
            }
            let cell = self.column(model, name, field, input)?;
            if is_translated(field, &self.env.lang) && self.env.translates(field)? && cell != Cell::Null {
                row.insert(ddl::translations_column(name), translations(&self.env.lang, &cell, None));
            }
            row.insert(name, cell);
        }
        if declared.requires_computed {
            self.check_not_emptied(model, &row, &given)?;
        }
        self.round_money(model, declared.money.iter().copied(), &mut row, None)?;
        row.extend(declared.logged.iter().cloned());
        self.add_new_columns(model, &mut row)?;
        self.tracking.ignore(&model.name, id);
        self.check_unique(model, id, &row)?;
        // Then nothing else needs to be asked.
        let complete = declared.required.iter().all(|(name, kind)| !is_unset(*kind, row.get(name)));
        self.log.created(&model.name, id, Made::of(model, row));
        match put_off {
            Some(put_off) if complete && relations.is_empty() && shown.is_empty() => put_off.push(id),
            Some(put_off) => {
                put_off.push(id);
                self.insert_rows(model, &std::mem::take(put_off))?;
            }
            None => self.insert_rows(model, &[id])?,
        }
        self.place_in_tree(model, id, None)?;
        for (name, commands) in relations {
            self.relate(model, id, name, model.field(name)?, commands)?;
        }
        self.write_shown(model, id, shown)?;
        self.created(model, id, stale)?;
        self.finish_known(model, id, &given, None)?;
        if !complete {
            self.check_required(model, id)?;
        }
        self.check_constraints(model, id)?;
        Ok(id)
    }

    /// Whether nothing is asked of the rows of new records while others are made with them.
    fn asks_nothing(&mut self, model: &Model) -> bool {
        model.constraints.is_empty()
            && model.inherits.is_empty()
            && !model.parent_store
            && !Self::is_finished(model)
            && self.follows_at_once(model)
            && !model.fields.values().any(|field| field.relation.as_ref() == Some(&model.name))
    }

    /// The column's content for what a caller gave; checks that records it names exist.
    pub(super) fn column(&self, model: &Model, name: &str, field: &Field, input: &Input) -> Result<Cell, Error> {
        match input {
            Input::Value(value) => {
                let cell = values::to_cell(model, name, field, value)?;
                self.check_link(model, name, field, cell)
            }
            Input::Commands(_) => {
                let message =
                    format!("`{name}` of `{}` is a {} field: it takes no commands", model.name, field.kind.name());
                Err(Error::invalid("wrong-type", message).with_field(name))
            }
        }
    }

    /// Creates or writes the records whose fields this model shows as its own (a user's partner), and sets the link.
    /// Returns what was given for other fields that are only shown.
    fn create_parents(&mut self, model: &Model, declared: &Declared<'_>, given: &mut Values) -> Result<Values, Error> {
        let mut shown = Values::default();
        if model.inherits.is_empty() && !declared.shown.iter().any(|name| given.contains_key(*name)) {
            return Ok(shown);
        }
        let names: Vec<String> = given
            .keys()
            .filter(|name| model.fields.get(*name).is_some_and(|f| shown_path(f).is_some()))
            .cloned()
            .collect();
        for name in names {
            if let Some(input) = given.shift_remove(&name) {
                shown.insert(name, input);
            }
        }
        for (parent, link) in &model.inherits {
            if !self.schema().models.contains_key(parent) {
                continue;
            }
            let mut parts = Values::default();
            shown.retain(|name, input| {
                let path = model.fields.get(name).and_then(shown_path).and_then(|path| path.split_once('.'));
                match path {
                    Some((first, field)) if first == link && !field.contains('.') => {
                        parts.insert(field.to_owned(), input.clone());
                        false
                    }
                    _ => true,
                }
            });
            let linked = match given.get(link) {
                Some(Input::Value(Value::Many2one(target))) => Some(target.id),
                _ => None,
            };
            match linked {
                Some(id) if !parts.is_empty() => self.write_many(parent, &[id], parts)?,
                Some(_) => {}
                None => {
                    let before = std::mem::replace(&mut self.variant_at_hand, model.name == "product.product");
                    let made = self.create_many(parent, vec![parts]);
                    self.variant_at_hand = before;
                    let ids = made?;
                    if let Some(id) = ids.first() {
                        given.insert(link.clone(), Input::Value(Value::link(*id)));
                    }
                }
            }
        }
        Ok(shown)
    }

    /// Writes fields that are shown from another record through to that record, unless they are read-only.
    pub(super) fn write_shown(&mut self, model: &Model, id: Id, shown: Values) -> Result<(), Error> {
        for (name, input) in shown {
            let field = model.field(&name)?;
            let Some(path) = shown_path(field).filter(|_| !field.readonly) else { continue };
            let mut steps: Vec<&str> = path.split('.').collect();
            let Some(last) = steps.pop() else { continue };
            let (mut holder, mut target) = (model, Some(id));
            for step in steps {
                let Some(id) = target else { break };
                let cell = self.cell(&holder.name, step, id)?;
                target = cell.as_ref().and_then(values::as_id);
                holder = self.schema().model(holder.field(step)?.relation.as_deref().unwrap_or_default())?;
            }
            if let Some(target) = target {
                self.write_many(&holder.name, &[target], Values::from_iter([(last.to_owned(), input)]))?;
            }
        }
        Ok(())
    }

    /// Who did it and when.
    pub(crate) fn log_columns(&self, model: &Model, created: bool) -> Vec<(&'static str, Cell)> {
        if !model.log_access {
            return Vec::new();
        }
        let user = || Cell::Integer(i64::from(self.env.user));
        let now = || Cell::Text(self.now());
        let mut columns = Vec::with_capacity(LOG_COLUMNS);
        if created {
            columns.extend([("create_date", now()), ("create_uid", user())]);
        }
        columns.extend([("write_date", now()), ("write_uid", user())]);
        columns.retain(|(name, _)| model.has_column(name));
        columns
    }
}

/// Who did it and when, of a new record.
const LOG_COLUMNS: usize = 4;

/// Fails for a field that the model does not have.
pub(super) fn check_names(model: &Model, given: &Values) -> Result<(), Error> {
    for name in given.keys() {
        if !is_magic(model, name) {
            model.field(name)?;
        }
    }
    Ok(())
}

/// The translations of a text after one was written. The base language is not among them.
pub(super) fn translations(lang: &str, cell: &Cell, known: Option<&Cell>) -> Cell {
    let mut texts: serde_json::Map<String, serde_json::Value> = match known {
        Some(Cell::Text(json)) => serde_json::from_str(json).unwrap_or_default(),
        _ => serde_json::Map::new(),
    };
    if let (Cell::Text(text), true) = (cell, lang != BASE_LANG) {
        texts.insert(lang.to_owned(), serde_json::Value::String(text.clone()));
    }
    if texts.is_empty() { Cell::Null } else { Cell::Text(serde_json::Value::Object(texts).to_string()) }
}

/// Whether a cell counts as no value for a required field.
pub(super) fn is_unset(kind: FieldKind, cell: Option<&Cell>) -> bool {
    match kind {
        FieldKind::Boolean => false,
        _ => cell.is_none_or(|cell| *cell == Cell::Null),
    }
}
