//! One value between its JSON form and its column.

use base64::{Engine, engine::general_purpose::STANDARD};
use rusqlite::types::{Value as Sql, ValueRef};
use serde_json::Value as Json;
use triggerbox_model::schema::{Field, FieldKind};

/// The column value of a field's JSON value.
///
/// # Errors
/// What was expected, for a value that does not fit the field.
pub fn to_sql(field: &Field, value: &Json) -> Result<Sql, String> {
    let unfit = |expected: &str| format!("expected {expected}, found {}", shorten(value));
    let text = |expected: &str| value.as_str().map(str::to_owned).ok_or_else(|| unfit(expected));
    if field.kind == FieldKind::Boolean {
        return match value {
            Json::Bool(flag) => Ok(Sql::Integer(i64::from(*flag))),
            Json::Null => Ok(Sql::Null),
            _ => Err(unfit("true or false")),
        };
    }
    if matches!(value, Json::Null | Json::Bool(false)) {
        return Ok(Sql::Null);
    }
    match field.kind {
        FieldKind::Boolean => Err(unfit("true or false")),
        FieldKind::Integer => value.as_i64().map(Sql::Integer).ok_or_else(|| unfit("a whole number")),
        FieldKind::Float | FieldKind::Monetary => value.as_f64().map(Sql::Real).ok_or_else(|| unfit("a number")),
        FieldKind::Char | FieldKind::Text | FieldKind::Html | FieldKind::Selection => text("a text").map(Sql::Text),
        FieldKind::Date => {
            let text = text("a date such as 2026-06-17")?;
            let valid = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
            valid.then_some(Sql::Text(text)).ok_or_else(|| unfit("a date such as 2026-06-17"))
        }
        FieldKind::Datetime => {
            let text = text("a time such as 2026-06-17 13:05:00")?;
            is_datetime(&text).then_some(Sql::Text(text)).ok_or_else(|| unfit("a time such as 2026-06-17 13:05:00"))
        }
        FieldKind::Many2one => {
            let id = value.as_u64().filter(|id| (1..=i32::MAX as u64).contains(id));
            id.map(|id| Sql::Integer(id.cast_signed())).ok_or_else(|| unfit("a record's id"))
        }
        FieldKind::Reference => {
            let text = text("a reference such as res.partner,7")?;
            let valid = text.split_once(',').is_some_and(|(model, id)| !model.is_empty() && id.parse::<u32>().is_ok());
            valid.then_some(Sql::Text(text)).ok_or_else(|| unfit("a reference such as res.partner,7"))
        }
        FieldKind::Binary => {
            let text = text("base64 text")?;
            STANDARD.decode(text).map(Sql::Blob).map_err(|_| unfit("base64 text"))
        }
        FieldKind::Json => Ok(Sql::Text(value.to_string())),
        FieldKind::One2many | FieldKind::Many2many => Err("one2many and many2many have no column".to_owned()),
    }
}

/// The JSON value of a field's column value.
///
/// # Errors
/// What is wrong with a column that does not hold what the field says.
pub fn from_sql(field: &Field, value: ValueRef<'_>) -> Result<Json, String> {
    let unfit = || format!("the column holds {}, which is no {}", value.data_type(), field.kind.name());
    Ok(match (field.kind, value) {
        (FieldKind::Boolean, ValueRef::Integer(number)) => Json::Bool(number != 0),
        // An unset number is another than 0: it comes last, and is in no average.
        (FieldKind::Boolean | FieldKind::Integer | FieldKind::Float | FieldKind::Monetary, ValueRef::Null) => {
            Json::Null
        }
        (_, ValueRef::Null) => Json::Bool(false),
        (FieldKind::Integer | FieldKind::Many2one, ValueRef::Integer(number)) => Json::from(number),
        (FieldKind::Float | FieldKind::Monetary, ValueRef::Real(number)) => Json::from(number),
        (FieldKind::Binary, ValueRef::Blob(bytes)) => Json::String(STANDARD.encode(bytes)),
        (FieldKind::Json, ValueRef::Text(bytes)) => serde_json::from_slice(bytes).map_err(|_| unfit())?,
        (_, ValueRef::Text(bytes)) => Json::String(String::from_utf8(bytes.to_vec()).map_err(|_| unfit())?),
        _ => return Err(unfit()),
    })
}

/// `2026-06-17 13:05:00`, with `.ffffff` where there are microseconds.
fn is_datetime(text: &str) -> bool {
    let (seconds, micros) = text.split_once('.').unwrap_or((text, "000000"));
    seconds.len() == 19
        && jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", seconds).is_ok()
        && micros.len() == 6
        && micros.bytes().all(|byte| byte.is_ascii_digit())
}

fn shorten(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
