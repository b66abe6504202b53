//! Copying records, lines included.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Operation,
    error::Error,
    schema::{FieldKind, Model},
    value::Id,
};

use super::{
    BASE_LANG, Command, Input, Row, Values, Writer, columns, is_magic, missing, relations, shown_path, values,
};
use crate::{ddl, env::Env};

impl Writer<'_> {
    pub(super) fn copy_many(&mut self, model: &str, ids: &[Id], given: &Values) -> Result<Vec<Id>, Error> {
        let described = self.schema().model(model)?;
        let list = self.copy_data(model, ids, given)?;
        let options = self.options_of_copies(described);
        let before = std::mem::replace(&mut self.options, options);
        // Texts are copied in the base language, and their translations after it.
        let made = if self.env.lang == BASE_LANG {
            self.create_many(model, list)
        } else {
            let base = Env { lang: BASE_LANG.to_owned(), ..self.env.clone() };
            self.create_in(&base, model, list)
        };
        self.options = before;
        let copies = made?;
        for (id, copy) in ids.iter().zip(&copies) {
            self.copy_translations(described, *id, *copy)?;
        }
        self.finish_copies(described, ids, &copies)?;
        Ok(copies)
    }

    /// What copies of these records would be made of; Odoo's `copy_data`.
    ///
    /// # Errors
    /// `unknown-field`, `missing-record`; `access-denied`: the user may not read them.
    pub fn copy_data(&mut self, model: &str, ids: &[Id], given: &Values) -> Result<Vec<Values>, Error> {
        let described = self.schema().model(model)?;
        super::create::check_names(described, given)?;
        self.check_operation(described, Operation::Read, ids)?;
        ids.iter()
            .map(|id| {
                let mut copied = self.copy_of(described, *id, given)?;
                copied.extend(given.iter().map(|(name, input)| (name.clone(), input.clone())));
                Ok(copied)
            })
            .collect()
    }

    /// What a copy takes over, as its model has it.
    pub(super) fn copy_of(&mut self, model: &Model, id: Id, given: &Values) -> Result<Values, Error> {
        let mut copied = self.copied_values(model, id, given)?;
        self.adapt_copy(model, id, &mut copied, given)?;
        Ok(copied)
    }

    /// Creates in another environment, as part of the same operation.
    fn create_in(&mut self, env: &Env, model: &str, list: Vec<Values>) -> Result<Vec<Id>, Error> {
        let mut inner = Writer::new(self.conn, env, self.place);
        inner.options = self.options.clone();
        inner.depth = self.depth;
        std::mem::swap(&mut inner.log, &mut self.log);
        std::mem::swap(&mut inner.tracking, &mut self.tracking);
        let result = inner.create_many(model, list);
        (self.log, self.tracking) = (std::mem::take(&mut inner.log), std::mem::take(&mut inner.tracking));
        self.memo.get_mut().forget();
        result
    }

    /// What a copy takes over: fields that are copied, and lines as new ones.
    fn copied_values(&mut self, model: &Model, id: Id, given: &Values) -> Result<Values, Error> {
        if self.depth >= super::DEEPEST {
            return Err(Error::invalid("too-deep", format!("{} {id} has lines within lines without end", model.name)));
        }
        let row = columns::whole_row(self.conn, model, id)?.ok_or_else(|| missing(&model.name, id))?;
        let mut copied = Values::default();
        for (name, field) in &model.fields {
            let inherited = model.inherits.values().any(|link| link == name);
            if !field.copy
                || given.contains_key(name)
                || is_magic(model, name)
                || inherited
                || shown_path(field).is_some()
            {
                continue;
            }
            let input = match field.kind {
                FieldKind::One2many if field.store => {
                    self.depth += 1;
                    let lines = self.copied_lines(model, id, name);
                    self.depth -= 1;
                    Input::Commands(lines?)
                }
                FieldKind::Many2many if field.store => match &field.m2m {
                    Some(pairs) => Input::Commands(vec![Command::Replace(relations::linked(self.conn, pairs, id)?)]),
                    None => continue,
                },
                // Also what is unset: the copy takes no default in its place.
                _ if field.has_column() && field.related.is_none() => {
                    Input::Value(values::from_cell(field.kind, row.get(name).cloned().unwrap_or(Cell::Null)))
                }
                _ => continue,
            };
            copied.insert(name.clone(), input);
        }
        for (parent, link) in &model.inherits {
            let (Some(parent), Some(id)) = (self.schema().models.get(parent), row.get(link).and_then(values::as_id))
            else {
                continue;
            };
            if !given.contains_key(link) {
                let parts = self.copied_values(parent, id, &Values::default())?;
                for (name, field) in &model.fields {
                    let path = shown_path(field).and_then(|path| path.split_once('.'));
                    if let Some((first, last)) = path
                        && first == link
                        && let Some(input) = parts.get(last)
                    {
                        copied.entry(name.clone()).or_insert_with(|| input.clone());
                    }
                }
            }
        }
        Ok(copied)
    }

    fn copied_lines(&mut self, model: &Model, id: Id, name: &str) -> Result<Vec<Command>, Error> {
        let related = self.schema().model(model.field(name)?.relation.as_deref().unwrap_or_default())?;
        let lines = self.lines(model, id, name)?;
        self.check_operation(related, Operation::Read, &lines)?;
        let mut commands = Vec::new();
        for line in lines {
            let values = self.copy_of(related, line, &Values::default())?;
            commands.push(Command::Create(values));
        }
        Ok(commands)
    }

    /// Gives the copy the original's translations of texts that it took over.
    fn copy_translations(&mut self, model: &Model, from: Id, to: Id) -> Result<(), Error> {
        let mut row = Row::new();
        for (name, field) in &model.fields {
            if !(field.translate && field.copy && field.has_column()) {
                continue;
            }
            let column = ddl::translations_column(name);
            let same_text = self.cell(&model.name, name, from)? == self.cell(&model.name, name, to)?;
            if let (true, Some(texts @ Cell::Text(_))) = (same_text, self.cell(&model.name, &column, from)?) {
                row.insert(column, texts);
            }
        }
        if row.is_empty() {
            return Ok(());
        }
        self.touch(model)?;
        self.set_columns(model, to, &row)
    }
}
