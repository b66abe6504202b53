//! Records as the API speaks them: plain JSON, each field by its type.
//!
//! | field | in | out |
//! |---|---|---|
//! | boolean, integer, float, monetary | number, `true` | the same |
//! | char, text, html, selection | text | text |
//! | date, datetime | `2026-11-21`, `2026-11-21T10:15:00Z` | the same |
//! | many2one | id | `{"id": 7, "name": "Azure"}` |
//! | one2many, many2many | list of ids, in place of those there are | list of ids |
//! | reference | `{"model": "res.partner", "id": 7}` | the same |
//! | binary | Base64 | Base64 |
//! | json | anything | the same |
//!
//! `null` empties a field, and an empty field reads as `null`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    error::Error,
    schema::{FieldKind, Model},
    time,
    value::{FieldValue, Id, Row, Value},
};

/// Values for fields of a model.
///
/// # Errors
/// `unknown-field`, `wrong-type`, with the field.
pub fn read(model: &Model, values: &Map<String, Json>) -> Result<Vec<FieldValue>, Error> {
    let read = |(name, json): (&String, &Json)| {
        let kind = model.field(name)?.kind;
        let value = value(kind, json).ok_or_else(|| {
            let text = format!("`{name}` of {} takes {}, not {}", model.name, takes(kind), short(json));
            Error::invalid("wrong-type", text).with_field(name)
        })?;
        Ok(FieldValue::new(name, value))
    };
    values.iter().map(read).collect()
}

fn value(kind: FieldKind, json: &Json) -> Option<Value> {
    let text = || json.as_str().map(str::to_owned);
    let id = |json: &Json| json.as_u64().and_then(|id| Id::try_from(id).ok()).filter(|id| *id > 0);
    if json.is_null() {
        return Some(match kind {
            FieldKind::Boolean => Value::Boolean(false),
            FieldKind::One2many | FieldKind::Many2many => Value::Ids(Vec::new()),
            _ => Value::Unset,
        });
    }
    Some(match kind {
        FieldKind::Boolean => Value::Boolean(json.as_bool()?),
        FieldKind::Integer => Value::Integer(i32::try_from(json.as_i64()?).ok()?),
        FieldKind::Float | FieldKind::Monetary => Value::Number(json.as_f64()?),
        FieldKind::Char | FieldKind::Text | FieldKind::Html | FieldKind::Selection => Value::Text(text()?),
        FieldKind::Date => Value::Date(text().filter(|text| time::parse_date(text).is_ok())?),
        FieldKind::Datetime => Value::Datetime(text().filter(|text| time::datetime_from_contract(text).is_ok())?),
        FieldKind::Many2one => Value::link(id(json.get("id").unwrap_or(json))?),
        FieldKind::One2many | FieldKind::Many2many => {
            Value::Ids(json.as_array()?.iter().map(id).collect::<Option<_>>()?)
        }
        FieldKind::Reference => Value::reference(json.get("model")?.as_str()?, id(json.get("id")?)?),
        FieldKind::Binary => Value::Binary(STANDARD.decode(json.as_str()?).ok()?),
        FieldKind::Json => Value::Json(json.to_string()),
    })
}

fn takes(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "true or false",
        FieldKind::Integer => "a whole number of 32 bits",
        FieldKind::Float | FieldKind::Monetary => "a number",
        FieldKind::Char | FieldKind::Text | FieldKind::Html | FieldKind::Selection => "a text",
        FieldKind::Date => "a date such as 2026-11-21",
        FieldKind::Datetime => "a time such as 2026-11-21T10:15:00Z",
        FieldKind::Many2one => "a record's id",
        FieldKind::One2many | FieldKind::Many2many => "a list of records' ids",
        FieldKind::Reference => "a record such as {\"model\": \"res.partner\", \"id\": 7}",
        FieldKind::Binary => "Base64",
        FieldKind::Json => "JSON",
    }
}

fn short(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A value as it is told.
#[must_use]
pub fn told(value: &Value) -> Json {
    match value {
        Value::Unset => Json::Null,
        Value::Pending => json!("pending"),
        Value::Boolean(flag) => json!(flag),
        Value::Integer(number) => json!(number),
        Value::Number(number) => json!(number),
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) => json!(text),
        Value::Many2one(link) => json!({ "id": link.id, "name": link.name }),
        Value::Ids(ids) => json!(ids),
        Value::Reference(record) => json!({ "model": record.model, "id": record.id }),
        Value::Binary(bytes) => json!(STANDARD.encode(bytes)),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

/// Named values as an object.
#[must_use]
pub fn told_all(values: &[FieldValue]) -> Map<String, Json> {
    values.iter().map(|field| (field.name.clone(), told(&field.value))).collect()
}

/// A record as an object: its id and the fields that were asked for.
#[must_use]
pub fn record(row: &Row, fields: &[String]) -> Map<String, Json> {
    let id = ("id".to_owned(), json!(row.id));
    std::iter::once(id).chain(fields.iter().cloned().zip(row.values.iter().map(told))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_what_it_tells() {
        for (kind, json) in [
            (FieldKind::Boolean, json!(true)),
            (FieldKind::Integer, json!(-3)),
            (FieldKind::Monetary, json!(1.5)),
            (FieldKind::Char, json!("a")),
            (FieldKind::Date, json!("2026-11-21")),
            (FieldKind::Datetime, json!("2026-11-21T10:15:00Z")),
            (FieldKind::Many2one, json!({ "id": 7, "name": null })),
            (FieldKind::Many2many, json!([1, 2])),
            (FieldKind::Reference, json!({ "model": "res.partner", "id": 7 })),
            (FieldKind::Binary, json!("AQI=")),
            (FieldKind::Json, json!({ "a": [1, null] })),
        ] {
            assert_eq!(told(&value(kind, &json).unwrap()), json, "{kind:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (kind, json) in [
            (FieldKind::Boolean, json!(1)),
            (FieldKind::Integer, json!(1_u64 << 40)),
            (FieldKind::Integer, json!(1.5)),
            (FieldKind::Char, json!(7)),
            (FieldKind::Date, json!("2026-02-30")),
            (FieldKind::Many2one, json!(0)),
            (FieldKind::Many2many, json!([1, "2"])),
            (FieldKind::Binary, json!("***")),
        ] {
            assert_eq!(value(kind, &json), None, "{kind:?} {json}");
        }
    }
}
