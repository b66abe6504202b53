//! What a record must satisfy: required fields, unique combinations, checks.

use rusqlite::{OptionalExtension, params_from_iter, types::Value as Cell};
use triggerbox_model::{
    domain::Domain,
    error::Error,
    schema::{Constraint, Model},
    value::{Id, Value},
};

use super::{Input, Row, Values, Writer, create::is_unset, missing, number, values};
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
        let row = self.row_of(&model.name, &required, id)?.ok_or_else(|| missing(&model.name, id))?;
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

    /// Fails when nothing is given for a required field that is computed where nothing is said of it.
    pub(super) fn check_not_emptied(&self, model: &Model, row: &Row, given: &Values) -> Result<(), Error> {
        let emptied = given.keys().find(|name| {
            let required = model.fields.get(*name).is_some_and(|field| field.required && field.computed);
            required && row.get(name) == Some(&Cell::Null)
        });
        match emptied {
            None => Ok(()),
            Some(name) => {
                let message = format!("`{name}` of {} is required and has no value", model.name);
                Err(Error::rejected("required", message).with_field(name))
            }
        }
    }

    /// Fails when another record has the same values in the fields of a unique constraint. Asked before the row is
    /// written: the index behind the constraint knows no words. Unset values are never the same.
    pub(super) fn check_unique(&self, model: &Model, id: Id, row: &Row<'_>) -> Result<(), Error> {
        for constraint in &model.constraints {
            let Constraint::Unique { fields, message } = constraint else { continue };
            if !fields.iter().any(|field| row.contains_key(field)) || !self.is_taken(model, id, fields, row)? {
                continue;
            }
            let text = text_or(message, || format!("another {} has the same {}", model.name, fields.join(", ")));
            let error = Error::rejected("not-unique", text);
            return Err(match fields.first() {
                Some(field) => error.with_field(field),
                None => error,
            });
        }
        Ok(())
    }

    /// Fails when the record breaks a check constraint.
    pub(super) fn check_constraints(&self, model: &Model, id: Id) -> Result<(), Error> {
        for constraint in &model.constraints {
            let Constraint::Check { domain, message } = constraint else { continue };
            let condition = Domain::parse(domain)?;
            if query::matching(self.conn, self.env, &model.name, &[id], &condition)?.is_empty() {
                let text = text_or(message, || format!("{} {id} does not satisfy {domain}", model.name));
                return Err(Error::rejected("check", text));
            }
        }
        Ok(())
    }

    /// Whether another record has the values that this one is about to have in all of these fields.
    fn is_taken(&self, model: &Model, id: Id, fields: &[String], row: &Row<'_>) -> Result<bool, Error> {
        let mut conditions = Vec::new();
        let mut cells = Vec::new();
        for field in fields {
            let cell = match row.get(field) {
                Some(cell) => cell.clone(),
                None => self.cell(&model.name, field, id)?.unwrap_or(Cell::Null),
            };
            if cell == Cell::Null || matches!(&cell, Cell::Text(text) if text == values::PENDING) {
                return Ok(false);
            }
            conditions.push(format!("{} = ?", quote(field)));
            cells.push(cell);
        }
        cells.push(Cell::Integer(i64::from(id)));
        self.searched(&model.name)?;
        let table = quote(&table(&model.name));
        let sql = format!("SELECT 1 FROM {table} WHERE {} AND id <> ? LIMIT 1", conditions.join(" AND "));
        self.conn.prepare_cached(&sql).map_err(fault)?.exists(params_from_iter(cells)).map_err(fault)
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
        self.searched(model)?;
        let sql =
            format!("SELECT id FROM {} WHERE {} ORDER BY id LIMIT 1", quote(&table(model)), conditions.join(" AND "));
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        statement.query_row(params_from_iter(cells), |row| row.get(0)).optional().map_err(fault)
    }

    /// Rounds monetary values to the currency they are in: the one written with them, else the record's.
    pub(super) fn round_money<'m>(
        &self,
        model: &Model,
        money: impl IntoIterator<Item = (&'m str, &'m str)>,
        row: &mut Row<'_>,
        id: Option<Id>,
    ) -> Result<(), Error> {
        for (name, currency_field) in money {
            let Some(Cell::Real(amount)) = row.get(name) else { continue };
            let amount = *amount;
            let currency = match (row.get(currency_field), id) {
                (Some(cell), _) => Some(cell.clone()),
                (None, Some(id)) if model.has_column(currency_field) => self.cell(&model.name, currency_field, id)?,
                (None, id) if !model.has_column(currency_field) => self.currency_of_company(model, row, id)?,
                _ => None,
            };
            let Some(currency) = currency.as_ref().and_then(values::as_id) else { continue };
            if let Some(step) = self.rounding(currency)?
                && let Some(cell) = row.get_mut(name)
            {
                *cell = Cell::Real(number::round_step(amount, step));
            }
        }
        Ok(())
    }

    /// An amount can be given to several records only if it is of one currency.
    pub(super) fn check_currencies(&self, model: &Model, ids: &[Id], given: &Values) -> Result<(), Error> {
        if ids.len() < 2 {
            return Ok(());
        }
        for (name, input) in given {
            let amount = match input {
                Input::Value(Value::Number(amount)) => *amount,
                Input::Value(Value::Integer(amount)) => f64::from(*amount),
                _ => continue,
            };
            let currency = model.fields.get(name).and_then(|field| field.currency_field.as_ref());
            let Some(currency) = currency.filter(|currency| amount != 0.0 && !given.contains_key(*currency)) else {
                continue;
            };
            let mut found = None;
            for id in ids {
                let cell = match model.has_column(currency) {
                    true => self.cell(&model.name, currency, *id)?,
                    false => self.currency_of_company(model, &Row::new(), Some(*id))?,
                };
                let Some(of_record) = cell.as_ref().and_then(values::as_id) else { continue };
                if found.is_some_and(|found| found != of_record) {
                    let message = format!(
                        "`{name}` of {} records of `{}` is an amount in several currencies; write them one by one",
                        ids.len(),
                        model.name
                    );
                    return Err(Error::rejected("several-currencies", message).with_field(name));
                }
                found = Some(of_record);
            }
        }
        Ok(())
    }

    /// The currency of a record's company, or of the user's: what a currency shows that is not kept with the record.
    fn currency_of_company(&self, model: &Model, row: &Row<'_>, id: Option<Id>) -> Result<Option<Cell>, Error> {
        let companies = self.schema().models.get("res.company");
        if !model.has_column("company_id") || !companies.is_some_and(|found| found.has_column("currency_id")) {
            return Ok(None);
        }
        let company = match (row.get("company_id"), id) {
            (Some(cell), _) => Some(cell.clone()),
            (None, Some(id)) => self.cell(&model.name, "company_id", id)?,
            (None, None) => None,
        };
        match company.as_ref().and_then(values::as_id).or(self.env.company()?) {
            Some(company) => self.cell("res.company", "currency_id", company),
            None => Ok(None),
        }
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
