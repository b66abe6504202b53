//! Values of fields that a new record is not given.

use jiff::tz::TimeZone;
use rusqlite::OptionalExtension;
use triggerbox_model::{
    error::Error,
    schema::{DefaultValue, Field, FieldKind, Model},
    value::{Id, Value},
};

use super::{
    Input, Values, Writer,
    declared::Declared,
    json, shown_path,
    values::{PENDING, as_id},
};
use crate::{
    db::fault,
    ddl::{quote, table},
};

/// What a record is called that has no number yet: a default, and as good as none when it is given.
const UNNUMBERED: &str = "New";

impl Writer<'_> {
    /// The defaults of the named fields, as far as they have one; Odoo's `default_get`. Names that are no fields are passed
    /// over, as there.
    ///
    /// # Errors
    /// `unknown-model`.
    pub fn default_get(&mut self, model: &str, fields: &[String]) -> Result<Values, Error> {
        let described = self.schema().model(model)?;
        let mut defaults = Values::default();
        for name in fields {
            let Some(field) = described.fields.get(name) else { continue };
            if let Some(input) = self.default_of(described, name, field, false)? {
                defaults.insert(name.clone(), input);
            } else if let Some((parent, own)) = inherited(described, field) {
                // A field of the record behind this one has the default that it has there.
                let value = self.default_get(parent, std::slice::from_ref(&own))?.swap_remove(&own);
                defaults.extend(value.map(|value| (name.clone(), value)));
            }
        }
        Ok(defaults)
    }

    /// Fills in the defaults of fields that are not given.
    pub(super) fn add_defaults(
        &mut self,
        model: &Model,
        declared: &Declared<'_>,
        given: &mut Values,
    ) -> Result<(), Error> {
        for (name, field) in &declared.defaults {
            if given.get(*name).is_some_and(|input| !is_open(field, input)) {
                continue;
            }
            if let Some(input) = self.default_of(model, name, field, true)? {
                given.insert((*name).to_owned(), input);
            }
        }
        Ok(())
    }

    /// Fills in what Odoo computes for new records, where there still is nothing.
    pub(super) fn add_computed(
        &mut self,
        model: &Model,
        declared: &Declared<'_>,
        given: &mut Values,
    ) -> Result<(), Error> {
        for (name, field, computed) in &declared.computed {
            if given.contains_key(*name) {
                continue;
            }
            if let Some(input) = self.value_of(model, name, field, computed, true)? {
                given.insert((*name).to_owned(), input);
            }
        }
        Ok(())
    }

    /// One field's default. `take`: a number of a sequence is used up.
    fn default_of(&mut self, model: &Model, name: &str, field: &Field, take: bool) -> Result<Option<Input>, Error> {
        // What the caller presets counts for the records of the call itself, not for those that follow from it.
        if self.depth <= 2
            && let Some(input) = self.options.defaults.get(name)
        {
            return Ok(Some(input.clone()));
        }
        Ok(match &field.default {
            Some(DefaultValue::Computed { .. }) => None,
            Some(default) => self.value_of(model, name, field, default, take)?,
            // A new record is not archived.
            None if model.active_name.as_deref() == Some(name) && name == "active" => {
                Some(Input::Value(Value::Boolean(true)))
            }
            None => None,
        })
    }

    fn value_of(
        &mut self,
        model: &Model,
        name: &str,
        field: &Field,
        default: &DefaultValue,
        take: bool,
    ) -> Result<Option<Input>, Error> {
        Ok(match default {
            DefaultValue::Literal(literal) => Some(json::input(self.schema(), model, name, field, literal)?),
            DefaultValue::Function { function } => {
                self.function_value(model, name, field, function, take)?.map(Input::Value)
            }
            DefaultValue::Computed { computed } => self.value_of(model, name, field, computed, take)?,
        })
    }

    fn function_value(
        &mut self,
        model: &Model,
        name: &str,
        field: &Field,
        function: &str,
        take: bool,
    ) -> Result<Option<Value>, Error> {
        let link = |id: Option<Id>| id.map(Value::link);
        Ok(match function {
            "now" => Some(self.now_value()),
            "today" => Some(Value::Date(self.today())),
            "user" => Some(Value::link(self.env.user)),
            "company" => link(self.env.company()?),
            "currency" => match self.env.company()? {
                Some(company) if self.schema().models.contains_key("res.company") => {
                    link(self.cell("res.company", "currency_id", company)?.as_ref().and_then(as_id))
                }
                _ => None,
            },
            "first" => link(self.first(field.relation.as_deref().unwrap_or_default())?),
            "sequence" if take => Some(Value::text(self.next_number(&model.name)?)),
            "sequence" => Some(Value::text(UNNUMBERED)),
            other => {
                let message = format!("the default of `{name}` of `{}` is the unknown function `{other}`", model.name);
                return Err(Error::invalid("bad-schema", message).with_field(name));
            }
        }
        .filter(|value| field.kind != FieldKind::Many2one || matches!(value, Value::Many2one(_))))
    }

    /// Today where the user is.
    pub(crate) fn today(&self) -> String {
        let zone = self.env.tz.as_deref().and_then(|tz| TimeZone::get(tz).ok()).unwrap_or(TimeZone::UTC);
        self.env.now.to_zoned(zone).date().to_string()
    }

    /// The first record of a model, by its own sequence if it has one.
    fn first(&self, model: &str) -> Result<Option<Id>, Error> {
        let Some(described) = self.schema().models.get(model) else { return Ok(None) };
        let order = if described.has_column("sequence") { "sequence, id" } else { "id" };
        if let Some(known) = self.memo.borrow().id(model, "first") {
            return Ok(known);
        }
        let sql = format!("SELECT id FROM {} ORDER BY {order} LIMIT 1", quote(&table(model)));
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let first = statement.query_row([], |row| row.get(0)).optional().map_err(fault)?;
        self.memo.borrow_mut().keep_id(model, "first", first);
        Ok(first)
    }

    /// The next number that people know records by, `S00045`. Only a commit can know it: staged, it stays open.
    fn next_number(&mut self, model: &str) -> Result<String, Error> {
        if self.place.is_staged() {
            return Ok(PENDING.to_owned());
        }
        let sql = "UPDATE tb_numbering SET next = next + 1 WHERE model = ?1 RETURNING prefix, padding, next - 1";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let found = statement.query_row([model], read).optional().map_err(fault)?;
        let (prefix, padding, number) = found.ok_or_else(|| {
            Error::rejected("no-numbering", format!("`{model}` has no numbering; declare one for it"))
        })?;
        let width = usize::try_from(padding).unwrap_or(0);
        Ok(format!("{prefix}{number:0width$}"))
    }
}

/// Whether a given value leaves it to the numbering what a record is called.
fn is_open(field: &Field, given: &Input) -> bool {
    let numbered = matches!(&field.default, Some(DefaultValue::Function { function }) if function == "sequence");
    numbered && matches!(given, Input::Value(Value::Text(text)) if text == UNNUMBERED)
}

/// The model behind this one that a field is shown from, and what it is called there.
fn inherited<'m>(model: &'m Model, field: &Field) -> Option<(&'m str, String)> {
    let (link, own) = shown_path(field)?.split_once('.')?;
    let parent = model.inherits.iter().find(|(_, by)| *by == link).map(|(parent, _)| parent.as_str())?;
    (!own.contains('.')).then(|| (parent, own.to_owned()))
}
