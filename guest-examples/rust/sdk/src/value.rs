//! Field values: to and from Rust's own types.

use time::{Date, UtcDateTime};

use crate::{
    Domain, Field, Link, Operand, RecordRef, Value,
    date::{date_text, parse_date, parse_utc, utc_text},
};

impl Value {
    /// What the value is, in the contract's words: `text`, `many2one`.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Pending => "pending",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::Text(_) => "text",
            Self::Date(_) => "date",
            Self::Datetime(_) => "datetime",
            Self::Many2one(_) => "many2one",
            Self::Ids(_) => "ids",
            Self::Reference(_) => "reference",
            Self::Binary(_) => "binary",
            Self::Json(_) => "json",
        }
    }
}

impl Link {
    /// A link to write: the name is the host's business.
    pub fn new(id: u32) -> Self {
        Self { id, display_name: None }
    }

    /// What Odoo shows for the record; empty if it was not read.
    pub fn name(&self) -> &str {
        self.display_name.as_deref().unwrap_or_default()
    }

    /// The record behind the link; the field's relation names the model.
    pub fn of(&self, model: impl Into<String>) -> RecordRef {
        RecordRef { model: model.into(), id: self.id }
    }
}

impl Field {
    /// A named value.
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

/// An id: the value of a many2one field. Integer fields take `i32`.
impl From<u32> for Value {
    fn from(id: u32) -> Self {
        Self::Many2one(Link::new(id))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date_text(date))
    }
}

/// To the second, as Odoo keeps it.
impl From<UtcDateTime> for Value {
    fn from(time: UtcDateTime) -> Self {
        Self::Datetime(utc_text(time))
    }
}

impl From<Link> for Value {
    fn from(link: Link) -> Self {
        Self::Many2one(link)
    }
}

impl From<&Link> for Value {
    fn from(link: &Link) -> Self {
        Self::from(link.id)
    }
}

impl From<Vec<u32>> for Value {
    fn from(ids: Vec<u32>) -> Self {
        Self::Ids(ids)
    }
}

impl From<&[u32]> for Value {
    fn from(ids: &[u32]) -> Self {
        Self::Ids(ids.to_vec())
    }
}

impl<const N: usize> From<[u32; N]> for Value {
    fn from(ids: [u32; N]) -> Self {
        Self::Ids(ids.to_vec())
    }
}

/// `None` empties the field.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unset, Into::into)
    }
}

/// A Rust type that a field's value can be read as.
pub trait FromValue: Sized {
    /// The contract's word for what is wanted, for messages.
    const WANTED: &'static str;

    /// Whether a parameter that is not there at all can be read as this type.
    const OPTIONAL: bool = false;

    /// None if the value is something else.
    fn from_value(value: &Value) -> Option<Self>;
}

/// Which cases of [`Value`] can be read as a Rust type, and how.
macro_rules! from_value {
    ($($type:ty, $wanted:literal: $($pattern:pat => $result:expr),+;)*) => {$(
        impl FromValue for $type {
            const WANTED: &'static str = $wanted;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $($pattern => $result,)+
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    bool, "boolean": Value::Boolean(value) => Some(*value);
    i32, "integer": Value::Integer(value) => Some(*value);
    i64, "integer": Value::Integer(value) => Some(i64::from(*value));
    f64, "number": Value::Number(value) => Some(*value), Value::Integer(value) => Some(f64::from(*value));
    String, "text": Value::Text(text) => Some(text.clone()), Value::Unset => Some(String::new());
    Date, "date": Value::Date(text) => parse_date(text);
    UtcDateTime, "datetime": Value::Datetime(text) => parse_utc(text);
    Link, "many2one": Value::Many2one(link) => Some(link.clone());
    u32, "many2one": Value::Many2one(link) => Some(link.id);
    RecordRef, "reference": Value::Reference(record) => Some(record.clone());
    Vec<u32>, "ids": Value::Ids(ids) => Some(ids.clone()), Value::Unset => Some(Vec::new());
    Vec<u8>, "binary": Value::Binary(bytes) => Some(bytes.clone()), Value::Unset => Some(Vec::new());
    serde_json::Value, "json":
        Value::Json(text) => serde_json::from_str(text).ok(), Value::Unset => Some(serde_json::Value::Null);
}

impl FromValue for Value {
    const WANTED: &'static str = "value";

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

/// An empty field is `None`.
impl<T: FromValue> FromValue for Option<T> {
    const WANTED: &'static str = T::WANTED;
    const OPTIONAL: bool = true;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Unset => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// What can stand on the right of a condition: one value, a list of values, or a sub-domain for `any`.
pub trait IntoOperand {
    /// As the contract has it.
    fn into_operand(self) -> Operand;
}

/// For types that are one value.
macro_rules! one {
    ($($type:ty),*) => {$(
        impl IntoOperand for $type {
            fn into_operand(self) -> Operand {
                Operand::One(self.into())
            }
        }
    )*};
}

one!(bool, i32, u32, f64, &str, String, &String, Date, UtcDateTime, Link, &Link, Value);

impl<T: Into<Value>> IntoOperand for Option<T> {
    fn into_operand(self) -> Operand {
        Operand::One(self.into())
    }
}

impl<T: Into<Value>> IntoOperand for Vec<T> {
    fn into_operand(self) -> Operand {
        Operand::Many(self.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>, const N: usize> IntoOperand for [T; N] {
    fn into_operand(self) -> Operand {
        Operand::Many(self.into_iter().map(Into::into).collect())
    }
}

impl<T: Clone + Into<Value>> IntoOperand for &[T] {
    fn into_operand(self) -> Operand {
        Operand::Many(self.iter().cloned().map(Into::into).collect())
    }
}

impl<T: Clone + Into<Value>> IntoOperand for &Vec<T> {
    fn into_operand(self) -> Operand {
        self.as_slice().into_operand()
    }
}

impl IntoOperand for Domain {
    fn into_operand(self) -> Operand {
        Operand::Domain(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Month;

    #[test]
    fn rust_values_become_the_contracts() {
        assert_eq!(Value::from(3), Value::Integer(3));
        assert_eq!(Value::from(7_u32), Value::Many2one(Link::new(7)));
        assert_eq!(Value::from(None::<&str>), Value::Unset);
        assert_eq!(
            Value::from(Date::from_calendar_date(2026, Month::November, 3).unwrap()),
            Value::Date("2026-11-03".into())
        );
        let time = UtcDateTime::from_unix_timestamp_nanos(1_000_000_000_999_000_000).unwrap();
        assert_eq!(Value::from(time), Value::Datetime("2001-09-09T01:46:40Z".into()));
    }

    #[test]
    fn the_contracts_values_become_rust_values() {
        assert_eq!(f64::from_value(&Value::Integer(2)), Some(2.0));
        assert_eq!(i32::from_value(&Value::Number(2.0)), None);
        assert_eq!(String::from_value(&Value::Unset), Some(String::new()));
        assert_eq!(Option::<String>::from_value(&Value::Unset), Some(None));
        assert_eq!(
            Date::from_value(&Value::Date("2026-02-28".into())),
            Date::from_calendar_date(2026, Month::February, 28).ok()
        );
        assert_eq!(Date::from_value(&Value::Date("2026-02-30".into())), None);
        assert_eq!(
            UtcDateTime::from_value(&Value::Datetime("1970-01-01T00:00:01Z".into())),
            UtcDateTime::from_unix_timestamp(1).ok()
        );
        assert_eq!(serde_json::Value::from_value(&Value::Json("[1]".into())), Some(serde_json::json!([1])));
    }

    #[test]
    fn lists_are_many_values() {
        assert_eq!(["a", "b"].into_operand(), Operand::Many(vec!["a".into(), "b".into()]));
        assert_eq!(vec![1_u32].into_operand(), Operand::Many(vec![1_u32.into()]));
    }
}
