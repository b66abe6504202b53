//! Values of fields that a new record is not given.

use jiff::tz::TimeZone;
use rusqlite::OptionalExtension;
use triggerbox_model::{
    error::Error,
    schema::{DefaultValue, Field, FieldKind, Model},
    value::{Id, Value},
};

use super::{
    Input, Values, Writer, is_magic, json,
    values::{PENDING, as_id},
};
use crate::{
    db::fault,
    ddl::{quote, table},
};

impl Writer<'_> {
    /// The defaults of the named fields; Odoo's `default_get`.
    ///
    /// # Errors
    /// `unknown-field`.
    pub fn default_get(&mut self, model: &str, fields: &[String]) -> Result<Values, Error> {
        let described = self.schema().model(model)?;
        let mut defaults = Values::new();
        for name in fields {
            let field = described.field(name)?;
            // What Odoo computes for a new record is no default of its field.
            let computed = matches!(&field.default, Some(DefaultValue::Function { function }) if function == "first");
            if computed && field.computed && !self.options.defaults.contains_key(name) {
                continue;
            }
            if let Some(input) = self.default_of(described, name, field, false)? {
                defaults.insert(name.clone(), input);
            }
        }
        Ok(defaults)
    }

    /// Fills in the defaults of fields that are not given.
    pub(super) fn add_defaults(&mut self, model: &Model, given: &mut Values) -> Result<(), Error> {
        for (name, field) in &model.fields {
            if given.contains_key(name) || is_magic(model, name) {
                continue;
            }
            if let Some(input) = self.default_of(model, name, field, true)? {
                given.insert(name.clone(), input);
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
            Some(DefaultValue::Literal(literal)) => Some(json::input(self.schema(), model, name, field, literal)?),
            Some(DefaultValue::Function { function }) => {
                self.computed_default(model, name, field, function, take)?.map(Input::Value)
            }
            // A new record is not archived.
            None if model.active_name.as_deref() == Some(name) && name == "active" => {
                Some(Input::Value(Value::Boolean(true)))
            }
            None => None,
        })
    }

    fn computed_default(
        &mut self,
        model: &Model,
        name: &str,
        field: &Field,
        function: &str,
        take: bool,
    ) -> Result<Option<Value>, Error> {
        let link = |id: Option<Id>| id.map(Value::link);
        Ok(match function {
            "now" => Some(Value::Datetime(self.env.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
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
            "sequence" => None,
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
