//! Answers as the server writes them, and when two of them are the same.

use serde_json::Value as Json;
use triggerbox_model::{
    error::{Error, ErrorKind},
    time,
    value::Value,
};

/// A value as Odoo's RPC gives it; a many2one as its bare id.
#[must_use]
pub fn value(value: &Value) -> Json {
    match value {
        Value::Unset | Value::Pending => Json::Bool(false),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Integer(number) => Json::from(*number),
        Value::Number(number) => Json::from(*number),
        Value::Text(text) | Value::Date(text) => Json::from(text.as_str()),
        Value::Datetime(text) => Json::from(stored_time(text)),
        Value::Many2one(link) => Json::from(link.id),
        Value::Ids(ids) => Json::from(ids.clone()),
        Value::Reference(record) => Json::from(format!("{},{}", record.model, record.id)),
        Value::Binary(bytes) => Json::from(base64(bytes)),
        Value::Json(text) => with_stored_times(serde_json::from_str(text).unwrap_or(Json::Null)),
    }
}

/// `2026-06-17T13:05:00Z` as Odoo writes it; other texts as they are.
fn stored_time(text: &str) -> String {
    time::datetime_from_contract(text).unwrap_or_else(|_| text.to_owned())
}

fn with_stored_times(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(with_stored_times).collect()),
        Json::String(text) if text.ends_with('Z') => Json::from(stored_time(&text)),
        other => other,
    }
}

fn base64(bytes: &[u8]) -> String {
    // The store has the one encoder; a binary value serialises as its base64 text.
    let json = serde_json::to_value(Value::Binary(bytes.to_vec())).unwrap_or(Json::Null);
    json.get("value").and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// The same, but for the last digits of sums.
#[must_use]
pub fn same(expected: &Json, got: &Json) -> bool {
    match (expected, got) {
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9_f64.max(1e-12 * a.abs().max(b.abs())),
            _ => a == b,
        },
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => expected == got,
    }
}

/// Whether an error is of the server's kind. What leaks from the server's database or code has no kind: any error will do.
#[must_use]
pub fn same_kind(class: &str, got: &Error) -> bool {
    match class {
        "odoo.exceptions.AccessError" => got.kind == ErrorKind::AccessDenied,
        "odoo.exceptions.MissingError" => got.kind == ErrorKind::NotFound,
        _ => true,
    }
}

/// The class of the error that is expected, if one is.
#[must_use]
pub fn expected_error(expected: &Json) -> Option<&str> {
    expected.get("error")?.get("class")?.as_str()
}

/// For reports.
#[must_use]
pub fn shown(error: &Error) -> String {
    format!("{} ({}): {}", error.kind.name(), error.code, error.message)
}
