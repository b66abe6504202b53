//! Records with values that were read.

use std::{ops::Deref, rc::Rc};

use time::{Date, UtcDateTime};

use crate::{Error, ErrorKind, FromValue, Link, RecordRef, Value};

/// A record with the values that were asked for.
///
/// It is also the record itself: `row.id`, `row.post_note(…)`, `row.write(…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    record: RecordRef,
    names: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(model: &str, names: &Rc<[String]>, id: u32, values: Vec<Value>) -> Self {
        Self { record: RecordRef { model: model.to_owned(), id }, names: Rc::clone(names), values }
    }

    /// The record alone.
    pub fn record(&self) -> &RecordRef {
        &self.record
    }

    /// The value as the contract has it. Fails with `field-not-read` if the field was not asked for.
    pub fn value(&self, field: &str) -> Result<&Value, Error> {
        let index = self.names.iter().position(|name| name == field);
        index.and_then(|index| self.values.get(index)).ok_or_else(|| {
            let asked = self.names.join(", ");
            let message =
                format!("\"{field}\" of {} was not asked for, only {asked}; add it to the read", self.record.model);
            Error::invalid("field-not-read", field, message)
        })
    }

    /// The value as a Rust type: `row.get::<Option<String>>("email")?`. The named getters read better
    /// where there is one.
    pub fn get<T: FromValue>(&self, field: &str) -> Result<T, Error> {
        let value = self.value(field)?;
        T::from_value(value).ok_or_else(|| self.mismatch(field, value, T::WANTED))
    }

    /// boolean
    pub fn bool(&self, field: &str) -> Result<bool, Error> {
        self.get(field)
    }

    /// integer
    pub fn int(&self, field: &str) -> Result<i32, Error> {
        self.get(field)
    }

    /// float, monetary and integer
    pub fn f64(&self, field: &str) -> Result<f64, Error> {
        self.get(field)
    }

    /// char, text, html and selection; `""` for an empty field.
    pub fn text(&self, field: &str) -> Result<&str, Error> {
        match self.value(field)? {
            Value::Text(text) => Ok(text),
            Value::Unset => Ok(""),
            other => Err(self.mismatch(field, other, "text")),
        }
    }

    /// date
    pub fn date(&self, field: &str) -> Result<Option<Date>, Error> {
        self.get(field)
    }

    /// datetime
    pub fn datetime(&self, field: &str) -> Result<Option<UtcDateTime>, Error> {
        self.get(field)
    }

    /// many2one
    pub fn link(&self, field: &str) -> Result<Option<&Link>, Error> {
        match self.value(field)? {
            Value::Many2one(link) => Ok(Some(link)),
            Value::Unset => Ok(None),
            other => Err(self.mismatch(field, other, "many2one")),
        }
    }

    /// one2many and many2many
    pub fn ids(&self, field: &str) -> Result<&[u32], Error> {
        match self.value(field)? {
            Value::Ids(ids) => Ok(ids),
            Value::Unset => Ok(&[]),
            other => Err(self.mismatch(field, other, "ids")),
        }
    }

    /// reference
    pub fn reference(&self, field: &str) -> Result<Option<RecordRef>, Error> {
        self.get(field)
    }

    /// binary; no bytes for an empty field.
    pub fn binary(&self, field: &str) -> Result<&[u8], Error> {
        match self.value(field)? {
            Value::Binary(bytes) => Ok(bytes),
            Value::Unset => Ok(&[]),
            other => Err(self.mismatch(field, other, "binary")),
        }
    }

    /// json; null for an empty field.
    pub fn json(&self, field: &str) -> Result<serde_json::Value, Error> {
        self.get(field)
    }

    /// Whether the field is empty.
    pub fn is_unset(&self, field: &str) -> Result<bool, Error> {
        Ok(matches!(self.value(field)?, Value::Unset))
    }

    fn mismatch(&self, field: &str, value: &Value, wanted: &str) -> Error {
        let record = &self.record;
        if matches!(value, Value::Pending) {
            let message = format!("\"{field}\" of {record} is known only when the run is applied; decide without it");
            return Error { field: Some(field.to_owned()), ..Error::new(ErrorKind::Pending, "pending-value", message) };
        }
        let message = format!("\"{field}\" of {record} is {}, read as {wanted}", value.kind_name());
        Error::invalid("wrong-type", field, message)
    }
}

impl Deref for Row {
    type Target = RecordRef;

    fn deref(&self) -> &RecordRef {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let names = ["name", "amount", "partner_id", "tag_ids", "note", "deadline", "total"].map(String::from);
        let values = vec![
            "S0001".into(),
            Value::Integer(3),
            Value::Many2one(Link { id: 4, display_name: Some("Ada".into()) }),
            vec![1, 2].into(),
            Value::Unset,
            Value::Date("2026-11-21".into()),
            Value::Pending,
        ];
        Row::new("sale.order", &Rc::from(names), 7, values)
    }

    #[test]
    fn getters_read_by_name() {
        let row = row();
        assert_eq!((row.id, row.model.as_str()), (7, "sale.order"));
        assert_eq!(row.text("name").unwrap(), "S0001");
        assert_eq!(row.f64("amount").unwrap(), 3.0);
        assert_eq!(row.link("partner_id").unwrap().unwrap().name(), "Ada");
        assert_eq!(row.ids("tag_ids").unwrap(), [1, 2]);
        assert_eq!(row.date("deadline").unwrap(), crate::date::parse_date("2026-11-21"));
    }

    #[test]
    fn empty_fields_are_empty_or_none() {
        let row = row();
        assert_eq!(row.text("note").unwrap(), "");
        assert_eq!(row.link("note").unwrap(), None);
        assert_eq!(row.date("note").unwrap(), None);
        assert_eq!(row.ids("note").unwrap(), [0_u32; 0]);
        assert!(row.is_unset("note").unwrap());
    }

    #[test]
    fn errors_say_what_to_do() {
        let row = row();
        let text = |error: Error| error.text();
        assert_eq!(
            text(row.text("phone").unwrap_err()),
            "field-not-read: \"phone\" of sale.order was not asked for, \
             only name, amount, partner_id, tag_ids, note, deadline, total; add it to the read"
        );
        assert_eq!(
            text(row.text("amount").unwrap_err()),
            "wrong-type: \"amount\" of sale.order(7) is integer, read as text"
        );
        assert_eq!(row.f64("total").unwrap_err().kind, ErrorKind::Pending);
    }
}
