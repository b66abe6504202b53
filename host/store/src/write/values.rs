//! From a value of the contract to what is stored in a column, and back.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Model},
    text::nearest,
    value::{Id, Link, RecordRef, Value},
};

use super::{html, number};

/// The text that stands in a staged record for a value that only the commit can know. Private-use characters:
/// no script can mean it by accident.
pub(crate) const PENDING: &str = "\u{F8FE}pending\u{F8FF}";

/// Whether such a value is in a text.
pub(crate) fn has_pending(text: &str) -> bool {
    // Nearly all are told by one character, which is found sooner.
    text.contains('\u{F8FE}') && text.contains(PENDING)
}

/// What a column holds for a value, after the checks and conversions that need nothing but the field itself.
///
/// # Errors
/// `wrong-type`, `bad-date`, `bad-number`, `bad-json`, `unknown-selection`, `not-writable`.
pub(crate) fn to_cell(model: &Model, name: &str, field: &Field, value: &Value) -> Result<Cell, Error> {
    let cell = match (field.kind, value) {
        (FieldKind::Integer, Value::Unset) => Cell::Integer(0),
        (FieldKind::Boolean, Value::Unset) => Cell::Integer(0),
        (FieldKind::Float | FieldKind::Monetary, Value::Unset) => Cell::Real(0.0),
        (_, Value::Unset) => Cell::Null,
        (FieldKind::Char, Value::Text(text)) => Cell::Text(cut(text, field.size)),
        (FieldKind::Text, Value::Text(text)) => Cell::Text(text.clone()),
        (FieldKind::Html, Value::Text(text)) => {
            Cell::Text(if field.sanitize { html::sanitize(text) } else { text.clone() })
        }
        (FieldKind::Integer, Value::Integer(number)) => Cell::Integer(i64::from(*number)),
        // The number of a record, which another field names the model of.
        (FieldKind::Integer, Value::Many2one(link)) if name == "res_id" && model.model_column().is_some() => {
            Cell::Integer(i64::from(link.id))
        }
        (FieldKind::Float, Value::Integer(_) | Value::Number(_)) => {
            let number = finite(model, name, value)?;
            Cell::Real(field.digits.map_or(number, |(_, digits)| number::round_digits(number, digits)))
        }
        // Monetary values are rounded later: it takes the record's currency.
        (FieldKind::Monetary, Value::Integer(_) | Value::Number(_)) => Cell::Real(finite(model, name, value)?),
        (FieldKind::Boolean, Value::Boolean(flag)) => Cell::Integer(i64::from(*flag)),
        (FieldKind::Date, Value::Date(text)) => Cell::Text(date(model, name, text)?),
        (FieldKind::Datetime, Value::Datetime(text)) => Cell::Text(datetime(model, name, text)?),
        (FieldKind::Selection, Value::Text(key)) => selection(model, name, field, key)?,
        (FieldKind::Many2one, Value::Many2one(link)) => Cell::Integer(i64::from(link.id)),
        (FieldKind::Reference, Value::Reference(target)) => {
            if !field.selection.is_empty() && !field.selection.iter().any(|(key, _)| *key == target.model) {
                return Err(bad(model, name, "unknown-selection", format!("it cannot refer to `{}`", target.model)));
            }
            Cell::Text(format!("{},{}", target.model, target.id))
        }
        (FieldKind::Binary, Value::Binary(bytes)) if bytes.is_empty() => Cell::Null,
        (FieldKind::Binary, Value::Binary(bytes)) => Cell::Blob(bytes.clone()),
        (FieldKind::Json, Value::Json(text)) => json(model, name, text)?,
        (_, Value::Pending) => {
            return Err(bad(model, name, "wrong-type", "a pending value cannot be written".to_owned()));
        }
        (kind, value) => {
            let message = format!("it is a {} field, not {}", kind.name(), value.kind_name());
            return Err(bad(model, name, "wrong-type", message));
        }
    };
    Ok(cell)
}

/// The value in a column, as the contract has it. A many2one comes without its name.
///
/// # Errors
/// `database`, if the column holds what the field's type cannot be.
pub(crate) fn from_cell(kind: FieldKind, cell: Cell) -> Value {
    match (kind, cell) {
        (FieldKind::Boolean, Cell::Integer(n)) => Value::Boolean(n != 0),
        (FieldKind::Boolean, _) => Value::Boolean(false),
        (FieldKind::Integer, Cell::Integer(n)) => i32::try_from(n).map_or(Value::Number(as_float(n)), Value::Integer),
        (FieldKind::Integer, _) => Value::Integer(0),
        (FieldKind::Float | FieldKind::Monetary, Cell::Real(n)) => Value::Number(n),
        (FieldKind::Float | FieldKind::Monetary, Cell::Integer(n)) => Value::Number(as_float(n)),
        (FieldKind::Float | FieldKind::Monetary, _) => Value::Number(0.0),
        (_, Cell::Null) => Value::Unset,
        (_, Cell::Text(text)) if text == PENDING => Value::Pending,
        (FieldKind::Date, Cell::Text(text)) => Value::Date(text),
        (FieldKind::Datetime, Cell::Text(text)) => Value::Datetime(contract_datetime(text)),
        (FieldKind::Many2one, Cell::Integer(id)) => {
            Id::try_from(id).map_or(Value::Unset, |id| Value::Many2one(Link { id, name: None }))
        }
        (FieldKind::Reference, Cell::Text(text)) => {
            parse_reference(&text).map_or(Value::Unset, |record| Value::Reference(Box::new(record)))
        }
        (FieldKind::Json, Cell::Text(text)) => Value::Json(text),
        (FieldKind::Binary, Cell::Blob(bytes)) => Value::Binary(bytes),
        (_, Cell::Text(text)) => Value::Text(text),
        _ => Value::Unset,
    }
}

/// `2026-06-17 13:05:00.123` as the contract writes it, `2026-06-17T13:05:00Z`: to the second.
fn contract_datetime(mut stored: String) -> String {
    stored.truncate(stored.find('.').unwrap_or(stored.len()));
    stored.reserve_exact(1);
    if let Some(space) = stored.find(' ') {
        stored.replace_range(space..=space, "T");
    }
    stored.push('Z');
    stored
}

/// `res.partner,7`
pub(crate) fn parse_reference(text: &str) -> Option<RecordRef> {
    let (model, id) = text.split_once(',')?;
    Some(RecordRef::new(model, id.parse().ok()?))
}

#[allow(clippy::cast_precision_loss, reason = "integers are 32-bit but for sums, where a float is what is asked")]
pub(crate) fn as_float(number: i64) -> f64 {
    number as f64
}

fn bad(model: &Model, field: &str, code: &str, why: String) -> Error {
    Error::invalid(code, format!("wrong value for `{field}` of `{}`: {why}", model.name)).with_field(field)
}

/// As Odoo does: what is longer than the field allows is cut.
fn cut(text: &str, size: Option<u32>) -> String {
    match size {
        Some(size) if size > 0 => text.chars().take(size as usize).collect(),
        _ => text.to_owned(),
    }
}

fn finite(model: &Model, field: &str, value: &Value) -> Result<f64, Error> {
    let number = match value {
        Value::Integer(number) => f64::from(*number),
        Value::Number(number) => *number,
        _ => 0.0,
    };
    if number.is_finite() { Ok(number) } else { Err(bad(model, field, "bad-number", format!("{number} is no number"))) }
}

fn date(model: &Model, field: &str, text: &str) -> Result<String, Error> {
    let refuse = || bad(model, field, "bad-date", format!("`{text}` is no date; write it as 2026-11-21"));
    let parsed: jiff::civil::Date = text.parse().map_err(|_| refuse())?;
    // The parser also takes other forms; only one is ours.
    if parsed.to_string() == text && parsed.year() > 0 { Ok(text.to_owned()) } else { Err(refuse()) }
}

fn datetime(model: &Model, field: &str, text: &str) -> Result<String, Error> {
    let refuse =
        || bad(model, field, "bad-date", format!("`{text}` is no time in UTC; write it as 2026-11-21T10:15:00Z"));
    let bare = text.strip_suffix('Z').ok_or_else(refuse)?;
    let parsed: jiff::civil::DateTime = bare.parse().map_err(|_| refuse())?;
    // The parser also takes other forms, and a leap second for the one before; only one is ours.
    let exact = has_form(bare, "0000-00-00T00:00:00") && !bare.ends_with(":60") && parsed.year() > 0;
    if exact { Ok(bare.replacen('T', " ", 1)) } else { Err(refuse()) }
}

/// Whether a text has a digit where the form has `0`, and otherwise what the form has.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(byte, wanted): (u8, u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

fn selection(model: &Model, name: &str, field: &Field, key: &str) -> Result<Cell, Error> {
    if key.is_empty() {
        return Ok(Cell::Null);
    }
    // A selection whose keys are not declared (languages, time zones) takes any.
    if field.selection.is_empty() || field.selection.iter().any(|(known, _)| known == key) {
        return Ok(Cell::Text(key.to_owned()));
    }
    let keys = field.selection.iter().map(|(known, _)| known.as_str());
    let hint = match nearest(key, keys) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = field.selection.iter().take(12).map(|(known, _)| known.as_str()).collect();
            format!("; it is one of {}", known.join(", "))
        }
    };
    Err(bad(model, name, "unknown-selection", format!("there is no choice `{key}`{hint}")))
}

fn json(model: &Model, name: &str, text: &str) -> Result<Cell, Error> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| bad(model, name, "bad-json", format!("it is no JSON: {error}")))?;
    Ok(if is_falsy(&value) { Cell::Null } else { Cell::Text(value.to_string()) })
}

/// What Python takes for false.
pub(crate) fn is_falsy(value: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match value {
        Json::Null => true,
        Json::Bool(flag) => !flag,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.is_empty(),
    }
}

/// Whether two stored values are the same to Odoo: unset equals the zero of numbers and booleans, and `''`.
pub(crate) fn same(kind: FieldKind, one: &Cell, other: &Cell) -> bool {
    let empty = |cell: &Cell| match (kind, cell) {
        (_, Cell::Null) => true,
        (FieldKind::Boolean | FieldKind::Integer | FieldKind::Float | FieldKind::Monetary, Cell::Integer(0)) => true,
        (FieldKind::Float | FieldKind::Monetary, Cell::Real(n)) => *n == 0.0,
        _ => false,
    };
    match (one, other) {
        (Cell::Real(a), Cell::Integer(b)) | (Cell::Integer(b), Cell::Real(a)) => *a == as_float(*b),
        _ => one == other || (empty(one) && empty(other)),
    }
}

/// The record behind a column of a many2one, if there is one.
pub(crate) fn as_id(cell: &Cell) -> Option<Id> {
    match cell {
        Cell::Integer(id) if *id > 0 => Id::try_from(*id).ok(),
        _ => None,
    }
}
