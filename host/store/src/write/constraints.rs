//! What a record must satisfy: required fields, unique combinations, checks.

use rusqlite::{OptionalExtension, params_from_iter, types::Value as Cell};
use triggerbox_model::{
    domain::Domain,
    error::Error,
    schema::{Constraint, Model},
    value::Id,
};

use super::{Row, Values, Writer, columns, create::is_unset, missing, number, values};
use crate::{
    db::fault,
    ddl::{quote, table},
    query,
};

impl Writer<'_> {
    /// Fails when a new record lacks a required value.
    pub(super) fn check_required(&self, model: &Model, id: Id) -> Result<(), Error> {
        let names: Vec<&str> = model.fields.keys().map(String::as_str).collect();
        self.check_required_of(model, id, &names)
    }

    /// Fails when one of the named fields is required and empty.
    pub(super) fn check_required_of(&self, model: &Model, id: Id, names: &[&str]) -> Result<(), Error> {
        // What the backend computes itself is loaded as data here: nobody can be asked for it.
        let required: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| {
                model
                    .fields
                    .get(*name)
                    .is_some_and(|f| f.required && f.has_column() && !f.computed && f.related.is_none())
            })
            .collect();
        if required.is_empty() {
            return Ok(());
        }
        let row = columns::row(self.conn, &model.name, &required, id)?.ok_or_else(|| missing(&model.name, id))?;
        for name in required {
            let Some(field) = model.fields.get(name) else { continue };
            if is_unset(field.kind, row.get(name)) {
                let label = if field.string.is_empty() { name } else { field.string.as_str() };
                let message = format!("`{name}` ({label}) of {} is required and has no value", model.name);
                return Err(Error::rejected("required", message).with_field(name));
            }
        }
        Ok(())
    }

    /// Fails when the record breaks a unique or check constraint that one of the written fields is part of.
    pub(super) fn check_constraints(
        &self,
        model: &Model,
        id: Id,
        written: &[&str],
        created: bool,
    ) -> Result<(), Error> {
        for constraint in &model.constraints {
            match constraint {
                Constraint::Unique { fields, message } => {
                    if (created || fields.iter().any(|field| written.contains(&field.as_str())))
                        && self.is_taken(model, id, fields)?
                    {
                        let error = Error::rejected(
                            "not-unique",
                            text_or(message, || format!("another {} has the same {}", model.name, fields.join(", "))),
                        );
                        return Err(match fields.first() {
                            Some(field) => error.with_field(field),
                            None => error,
                        });
                    }
                }
                Constraint::Check { domain, message } => {
                    let condition = Domain::parse(domain)?;
                    if query::matching(self.conn, self.env, &model.name, &[id], &condition)?.is_empty() {
                        let text = text_or(message, || format!("{} {id} does not satisfy {domain}", model.name));
                        return Err(Error::rejected("check", text));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether another record has the same values in all of these fields. Unset values are never the same.
    fn is_taken(&self, model: &Model, id: Id, fields: &[String]) -> Result<bool, Error> {
        let names: Vec<&str> = fields.iter().map(String::as_str).collect();
        let row = columns::row(self.conn, &model.name, &names, id)?.ok_or_else(|| missing(&model.name, id))?;
        if row.values().any(|cell| *cell == Cell::Null)
            || row.values().any(|cell| *cell == Cell::Text(values::PENDING.to_owned()))
        {
            return Ok(false);
        }
        let conditions: Vec<String> = row.keys().map(|column| format!("{} = ?", quote(column))).collect();
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} AND id <> ? LIMIT 1",
            quote(&table(&model.name)),
            conditions.join(" AND ")
        );
        let cells = row.into_values().chain(std::iter::once(Cell::Integer(i64::from(id))));
        let found =
            self.conn.prepare_cached(&sql).map_err(fault)?.query_row(params_from_iter(cells), |_| Ok(())).optional();
        Ok(found.map_err(fault)?.is_some())
    }

    /// The record whose key fields have the given values, the first if there are several. Archived ones count.
    ///
    /// # Errors
    /// `unknown-field`, `missing-key`, `wrong-type`.
    pub fn find_by_keys(&self, model: &str, keys: &[String], values: &Values) -> Result<Option<Id>, Error> {
        let described = self.schema().model(model)?;
        if keys.is_empty() {
            return Err(Error::invalid(
                "missing-key",
                "the list of key fields is empty; name the fields that make the record unique",
            ));
        }
        let mut conditions = Vec::new();
        let mut cells = Vec::new();
        for key in keys {
            let field = described.field(key)?;
            let input = values.get(key).ok_or_else(|| {
                Error::invalid("missing-key", format!("the key field `{key}` has no value among the values"))
                    .with_field(key)
            })?;
            if !field.has_column() {
                let message = format!("`{key}` of `{model}` is not stored: it cannot be a key");
                return Err(Error::invalid("bad-key", message).with_field(key));
            }
            let cell = self.column(described, key, field, input)?;
            conditions.push(format!("{} IS ?", quote(key)));
            cells.push(cell);
        }
        let sql =
            format!("SELECT id FROM {} WHERE {} ORDER BY id LIMIT 1", quote(&table(model)), conditions.join(" AND "));
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        statement.query_row(params_from_iter(cells), |row| row.get(0)).optional().map_err(fault)
    }

    /// Rounds monetary values to the currency they are in: the one written with them, else the record's.
    pub(super) fn round_money(&self, model: &Model, row: &mut Row, id: Option<Id>) -> Result<(), Error> {
        let money: Vec<(String, String)> = row
            .keys()
            .filter_map(|name| Some((name.clone(), model.fields.get(name)?.currency_field.clone()?)))
            .collect();
        for (name, currency_field) in money {
            let Some(Cell::Real(amount)) = row.get(&name).cloned() else { continue };
            let currency = match (row.get(&currency_field), id) {
                (Some(cell), _) => Some(cell.clone()),
                (None, Some(id)) if model.has_column(&currency_field) => self.cell(&model.name, &currency_field, id)?,
                _ => None,
            };
            let Some(currency) = currency.as_ref().and_then(values::as_id) else { continue };
            if let Some(step) = self.rounding(currency)? {
                row.insert(name, Cell::Real(number::round_step(amount, step)));
            }
        }
        Ok(())
    }

    /// The smallest amount of a currency.
    pub(super) fn rounding(&self, currency: Id) -> Result<Option<f64>, Error> {
        if !self.schema().models.get("res.currency").is_some_and(|model| model.has_column("rounding")) {
            return Ok(None);
        }
        Ok(match self.cell("res.currency", "rounding", currency)? {
            Some(Cell::Real(step)) if step > 0.0 => Some(step),
            _ => None,
        })
    }
}

fn text_or(text: &str, otherwise: impl FnOnce() -> String) -> String {
    if text.is_empty() { otherwise() } else { text.to_owned() }
}
