//! Field values both ways: as JSON-2 carries them, and as the contract has them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Model},
    time,
    value::{Id, Link, Value},
};

/// A value that was read. Odoo's `false` is an empty field, but of booleans; of numbers it is never sent.
///
/// # Errors
/// `bad-answer`: Odoo sent what the field's type cannot be.
pub fn from_json(model: &str, name: &str, kind: FieldKind, json: &Json) -> Result<Value, Error> {
    let odd = || {
        Error::unavailable("bad-answer", format!("odoo sent a {} of `{model}` that is none: `{name}`", kind.name()))
            .with_field(name)
    };
    Ok(match (kind, json) {
        (FieldKind::Boolean, Json::Bool(flag)) => Value::Boolean(*flag),
        (FieldKind::Boolean, Json::Null) => Value::Boolean(false),
        (FieldKind::Integer, Json::Bool(false) | Json::Null) => Value::Integer(0),
        (FieldKind::Float | FieldKind::Monetary, Json::Bool(false) | Json::Null) => Value::Number(0.0),
        (FieldKind::One2many | FieldKind::Many2many, Json::Bool(false) | Json::Null) => Value::Ids(Vec::new()),
        (_, Json::Bool(false) | Json::Null) => Value::Unset,
        (FieldKind::Integer, Json::Number(number)) => match number.as_i64().map(i32::try_from) {
            Some(Ok(number)) => Value::Integer(number),
            _ => Value::Number(number.as_f64().ok_or_else(odd)?),
        },
        (FieldKind::Float | FieldKind::Monetary, Json::Number(number)) => {
            Value::Number(number.as_f64().ok_or_else(odd)?)
        }
        (FieldKind::Char | FieldKind::Text | FieldKind::Html | FieldKind::Selection, Json::String(text)) => {
            Value::Text(text.clone())
        }
        (FieldKind::Date, Json::String(text)) => {
            Value::Date(time::date_text(time::parse_date(text).map_err(|_| odd())?))
        }
        (FieldKind::Datetime, Json::String(text)) => {
            Value::Datetime(time::datetime_to_contract(text).map_err(|_| odd())?)
        }
        (FieldKind::Binary, Json::String(text)) => Value::Binary(STANDARD.decode(text).map_err(|_| odd())?),
        (FieldKind::Many2one, json) => Value::Many2one(link(json).ok_or_else(odd)?),
        (FieldKind::One2many | FieldKind::Many2many, Json::Array(ids)) => {
            Value::Ids(ids.iter().map(id).collect::<Option<_>>().ok_or_else(odd)?)
        }
        (FieldKind::Reference, Json::String(text)) => {
            let (model, id) = text.split_once(',').ok_or_else(odd)?;
            Value::reference(model, id.parse().map_err(|_| odd())?)
        }
        (FieldKind::Json, json) => Value::Json(json.to_string()),
        _ => return Err(odd()),
    })
}

/// An id, as Odoo numbers records.
pub(crate) fn id(json: &Json) -> Option<Id> {
    json.as_u64().and_then(|id| Id::try_from(id).ok())
}

/// `[7, "Chairs"]` or `7`
pub(crate) fn link(json: &Json) -> Option<Link> {
    match json {
        Json::Array(pair) => match pair.as_slice() {
            [number, Json::String(name)] => Some(Link { id: id(number)?, name: Some(name.clone()) }),
            [number, Json::Bool(false)] => Some(Link { id: id(number)?, name: None }),
            _ => None,
        },
        other => Some(Link { id: id(other)?, name: None }),
    }
}

/// A value to write, checked against its field. Ids and texts are still those of the run.
///
/// # Errors
/// `wrong-type`, `bad-date`, `bad-json`, `not-finite`, `unknown-selection`
pub fn to_json(model: &Model, name: &str, field: &Field, value: &Value) -> Result<Json, Error> {
    let bad = |code: &str, why: String| {
        Error::invalid(code, format!("wrong value for `{name}` of `{}`: {why}", model.name)).with_field(name)
    };
    Ok(match (field.kind, value) {
        (FieldKind::Integer | FieldKind::Float | FieldKind::Monetary, Value::Unset) => json!(0),
        (FieldKind::One2many | FieldKind::Many2many, Value::Unset) => json!([[5, 0, 0]]),
        (_, Value::Unset) => json!(false),
        (FieldKind::Char | FieldKind::Text | FieldKind::Html, Value::Text(text)) => json!(text),
        (FieldKind::Selection, Value::Text(key)) => {
            if !field.selection.is_empty() && !field.selection.iter().any(|(known, _)| known == key) {
                let keys: Vec<&str> = field.selection.iter().map(|(key, _)| key.as_str()).collect();
                return Err(bad("unknown-selection", format!("`{key}` is none of {}", keys.join(", "))));
            }
            json!(key)
        }
        (FieldKind::Boolean, Value::Boolean(flag)) => json!(flag),
        (FieldKind::Integer | FieldKind::Float | FieldKind::Monetary | FieldKind::Many2one, Value::Integer(number)) => {
            json!(number)
        }
        (FieldKind::Float | FieldKind::Monetary, Value::Number(number)) if number.is_finite() => json!(number),
        (FieldKind::Float | FieldKind::Monetary, Value::Number(_)) => {
            return Err(bad("not-finite", "a number must be finite".to_owned()));
        }
        (FieldKind::Date, Value::Date(text) | Value::Text(text)) => {
            json!(time::date_text(time::parse_date(text).map_err(|error| error.with_field(name))?))
        }
        (FieldKind::Datetime, Value::Datetime(text) | Value::Text(text)) => {
            let stored = time::datetime_from_contract(text).map_err(|error| error.with_field(name))?;
            json!(stored.split('.').next().unwrap_or(&stored))
        }
        (FieldKind::Many2one, Value::Many2one(link)) => json!(link.id),
        (FieldKind::One2many | FieldKind::Many2many, Value::Ids(ids)) => json!([[6, 0, ids]]),
        (FieldKind::Reference, Value::Reference(record)) => json!(format!("{},{}", record.model, record.id)),
        (FieldKind::Binary, Value::Binary(bytes)) => json!(STANDARD.encode(bytes)),
        (FieldKind::Json, Value::Json(text)) => {
            serde_json::from_str(text).map_err(|error| bad("bad-json", format!("it is no JSON: {error}")))?
        }
        (_, Value::Pending) => return Err(bad("wrong-type", "a pending value cannot be written".to_owned())),
        (kind, value) => {
            return Err(bad("wrong-type", format!("it is a {} field, not {}", kind.name(), value.kind_name())));
        }
    })
}

/// What a written value will read as, where that needs nobody but the field itself: Odoo sanitises HTML, rounds to digits
/// and currencies, and orders lists by their model.
#[must_use]
pub fn as_read(field: &Field, value: &Value) -> Value {
    match (field.kind, value) {
        (FieldKind::Html, Value::Text(_)) => Value::Pending,
        (FieldKind::Boolean, Value::Unset) => Value::Boolean(false),
        (FieldKind::Integer, Value::Unset) => Value::Integer(0),
        (FieldKind::Float | FieldKind::Monetary, Value::Unset) => Value::Number(0.0),
        (FieldKind::One2many | FieldKind::Many2many, Value::Unset) => Value::Ids(Vec::new()),
        (FieldKind::Float | FieldKind::Monetary, Value::Integer(number)) => Value::Number(f64::from(*number)),
        (FieldKind::Float | FieldKind::Monetary, Value::Number(number)) if number.fract() != 0.0 => Value::Pending,
        (FieldKind::Char, Value::Text(text)) if field.trim && text.trim() != text => Value::text(text.trim()),
        (FieldKind::Char | FieldKind::Text, Value::Text(text)) if text.is_empty() => Value::Unset,
        (FieldKind::Many2one, Value::Integer(id)) => Id::try_from(*id).map_or(Value::Pending, Value::link),
        (FieldKind::Many2one, Value::Many2one(link)) => Value::link(link.id),
        (FieldKind::Date, Value::Text(text)) => Value::Date(text.clone()),
        (FieldKind::Datetime, Value::Text(text)) => Value::Datetime(text.clone()),
        (FieldKind::One2many | FieldKind::Many2many, Value::Ids(ids)) if ids.len() > 1 => Value::Pending,
        // Binary fields of images are scaled, attachments are looked into.
        (FieldKind::Binary | FieldKind::Json, _) => Value::Pending,
        (_, value) => value.clone(),
    }
}
