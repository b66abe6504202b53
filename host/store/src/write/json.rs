//! Values as Odoo's own interface takes them: JSON, converted with Python's leniency.
//!
//! The contract's values are typed and need no guessing. This is the other way in, for imports and for comparing
//! with Odoo: `"12"` is a number to an integer field, `false` empties any field, and x2many fields take triples.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Model, Schema},
    value::{Id, Value},
};

use super::{
    Command, Input, Values,
    values::{is_falsy, parse_reference},
};

/// Values of a record in Odoo's JSON form.
///
/// # Errors
/// `unknown-field`, `wrong-type`, `bad-date`, `bad-number` and others, with the field.
pub fn values(schema: &Schema, model: &Model, json: &serde_json::Map<String, Json>) -> Result<Values, Error> {
    let mut values = Values::default();
    for (name, value) in json {
        if super::is_magic(model, name) {
            continue;
        }
        let field = model.field(name)?;
        values.insert(name.clone(), input(schema, model, name, field, value)?);
    }
    Ok(values)
}

/// One value in Odoo's JSON form.
///
/// # Errors
/// As [`values`].
pub fn input(schema: &Schema, model: &Model, name: &str, field: &Field, json: &Json) -> Result<Input, Error> {
    let refuse = |why: &str| {
        let message = format!("wrong value for `{name}` of `{}`: {why}: {json}", model.name);
        Error::invalid("wrong-type", message).with_field(name)
    };
    if field.kind.is_x2many() {
        return commands(schema, model, name, field, json).map(Input::Commands);
    }
    if matches!(json, Json::Null | Json::Bool(false)) {
        return Ok(Input::Value(if field.kind == FieldKind::Boolean { Value::Boolean(false) } else { Value::Unset }));
    }
    let value = match field.kind {
        // Odoo's cleaner gives up on what is no text, with these words.
        FieldKind::Html if !json.is_string() && !is_falsy(json) => Value::text("<p>Unknown error when sanitizing</p>"),
        FieldKind::Char | FieldKind::Text if json.as_str().is_some_and(|text| text.contains('\0')) => {
            return Err(refuse("a text with a zero byte"));
        }
        FieldKind::Char | FieldKind::Text | FieldKind::Html => Value::Text(python_text(json)),
        FieldKind::Integer => Value::Integer(integer(json).ok_or_else(|| refuse("not an integer"))?),
        FieldKind::Float | FieldKind::Monetary => Value::Number(float(json).ok_or_else(|| refuse("not a number"))?),
        FieldKind::Boolean => Value::Boolean(!is_falsy(json)),
        _ if json.as_str() == Some("") && field.kind != FieldKind::Reference => Value::Unset,
        FieldKind::Selection if json.is_array() || json.is_object() => return Err(refuse("no such choice")),
        FieldKind::Date | FieldKind::Datetime | FieldKind::Selection | FieldKind::Many2one | FieldKind::Binary
            if is_falsy(json) =>
        {
            Value::Unset
        }
        FieldKind::Reference if is_falsy(json) && !json.is_string() => Value::Unset,
        FieldKind::Date => {
            Value::Date(date(json.as_str().ok_or_else(|| refuse("not a date"))?).ok_or_else(|| refuse("not a date"))?)
        }
        FieldKind::Datetime => Value::Datetime(
            datetime(json.as_str().ok_or_else(|| refuse("not a time"))?).ok_or_else(|| refuse("not a time"))?,
        ),
        FieldKind::Selection => Value::Text(json.as_str().ok_or_else(|| refuse("no such choice"))?.to_owned()),
        FieldKind::Many2one => match whole(json) {
            Some(id) => Value::link(Id::try_from(id).map_err(|_| refuse("not an id"))?),
            None => return Err(refuse("not an id")),
        },
        FieldKind::Reference => {
            let record = json.as_str().and_then(parse_reference).ok_or_else(|| refuse("not `model,id`"))?;
            Value::Reference(Box::new(record))
        }
        FieldKind::Binary => Value::Binary(json.as_str().and_then(bytes).ok_or_else(|| refuse("not base64"))?),
        FieldKind::Json => Value::Json(json.to_string()),
        FieldKind::One2many | FieldKind::Many2many => return Err(refuse("not a list")),
    };
    Ok(Input::Value(value))
}

fn commands(schema: &Schema, model: &Model, name: &str, field: &Field, json: &Json) -> Result<Vec<Command>, Error> {
    let refuse = || {
        let message = format!("wrong value for `{name}` of `{}`: not a list of commands or ids: {json}", model.name);
        Error::invalid("wrong-type", message).with_field(name)
    };
    let items = match json {
        Json::Null | Json::Bool(false) => return Ok(vec![Command::Clear]),
        Json::Array(items) => items,
        _ => return Err(refuse()),
    };
    let related = schema.model(field.relation.as_deref().unwrap_or_default())?;
    let nested = |json: Option<&Json>| match json {
        Some(Json::Object(map)) => values(schema, related, map),
        _ => Err(refuse()),
    };
    let id_of = |json: Option<&Json>| json.and_then(whole).and_then(|id| Id::try_from(id).ok());
    if !items.is_empty() && items.iter().all(|item| item.is_number() || item.is_string()) {
        let ids: Option<Vec<Id>> = items.iter().map(|item| id_of(Some(item))).collect();
        return Ok(vec![Command::Replace(ids.ok_or_else(refuse)?)]);
    }
    let mut commands = Vec::new();
    for item in items {
        let parts = match item {
            Json::Object(map) => {
                commands.push(Command::Create(values(schema, related, map)?));
                continue;
            }
            Json::Array(parts) => parts,
            _ => return Err(refuse()),
        };
        let id = || id_of(parts.get(1)).ok_or_else(refuse);
        match parts.first().and_then(Json::as_i64) {
            Some(0) => commands.push(Command::Create(nested(parts.get(2))?)),
            Some(1) => commands.push(Command::Update(id()?, nested(parts.get(2))?)),
            Some(2) => commands.push(Command::Delete(id()?)),
            Some(3) => commands.push(Command::Unlink(id()?)),
            Some(4) => commands.push(Command::Link(id()?)),
            Some(5) => commands.push(Command::Clear),
            Some(6) => {
                let ids = parts.get(2).and_then(Json::as_array).ok_or_else(refuse)?;
                let ids: Option<Vec<Id>> = ids.iter().map(|id| id_of(Some(id))).collect();
                commands.push(Command::Replace(ids.ok_or_else(refuse)?));
            }
            // Odoo passes over commands that it does not know.
            _ => {}
        }
    }
    Ok(commands)
}

/// Values of a record as Odoo's own interface gives them: what [`values`] takes.
#[must_use]
pub fn object(schema: &Schema, model: &Model, values: &Values) -> Json {
    let shown = values.iter().map(|(name, input)| {
        let field = model.fields.get(name);
        let value = match input {
            Input::Value(value) => plain(field.map(|field| field.kind), value.clone(), false),
            Input::Commands(commands) => {
                let related = field.and_then(|field| schema.models.get(field.relation.as_deref()?));
                commands.iter().map(|command| triple(schema, related, command)).collect()
            }
        };
        (name.clone(), value)
    });
    Json::Object(shown.collect())
}

fn triple(schema: &Schema, related: Option<&Model>, command: &Command) -> Json {
    let nested = |values: &Values| related.map_or(Json::Null, |related| object(schema, related, values));
    match command {
        Command::Create(values) => json!([0, 0, nested(values)]),
        Command::Update(id, values) => json!([1, id, nested(values)]),
        Command::Delete(id) => json!([2, id, 0]),
        Command::Unlink(id) => json!([3, id, 0]),
        Command::Link(id) => json!([4, id, 0]),
        Command::Clear => json!([5, 0, 0]),
        Command::Replace(ids) => json!([6, 0, ids]),
    }
}

/// A value as Odoo's own interface gives it. `named`: a linked record with its name.
#[must_use]
pub fn plain(kind: Option<FieldKind>, value: Value, named: bool) -> Json {
    match value {
        Value::Unset | Value::Pending => Json::Bool(false),
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Integer(number) => json!(number),
        Value::Number(number) => json!(number),
        Value::Text(text) | Value::Date(text) => Json::String(text),
        Value::Datetime(text) => Json::String(text.replace('T', " ").trim_end_matches('Z').to_owned()),
        Value::Many2one(link) if named => json!([link.id, link.name]),
        Value::Many2one(link) => json!(link.id),
        Value::Ids(ids) => json!(ids),
        Value::Reference(record) => Json::String(format!("{},{}", record.model, record.id)),
        Value::Binary(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Json(text) if kind == Some(FieldKind::Json) => serde_json::from_str(&text).unwrap_or(Json::Null),
        Value::Json(text) => Json::String(text),
    }
}

/// What Python's `str()` makes of it.
fn python_text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => python_repr(other),
    }
}

fn python_repr(json: &Json) -> String {
    match json {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{text}\""),
        Json::String(text) => {
            format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t"))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(python_repr).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("'{key}': {}", python_repr(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "Python's int() cuts the fraction; the range is checked after")]
fn integer(json: &Json) -> Option<i32> {
    let whole = match json {
        Json::Bool(flag) => i64::from(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole,
            None => number.as_f64().filter(|n| n.abs() < 1e18)? as i64,
        },
        Json::String(text) if text.is_empty() => 0,
        // Python's `value or 0`.
        Json::Array(items) if items.is_empty() => 0,
        Json::Object(entries) if entries.is_empty() => 0,
        Json::String(text) => text.trim().replace('_', "").parse().ok()?,
        _ => return None,
    };
    i32::try_from(whole).ok()
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Json::Number(number) => number.as_f64(),
        Json::String(text) if text.is_empty() => Some(0.0),
        Json::Array(items) if items.is_empty() => Some(0.0),
        Json::Object(entries) if entries.is_empty() => Some(0.0),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A number that is an id, also when it is written with a fraction of zero.
fn whole(json: &Json) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
    let cut = |number: &f64| (number.fract() == 0.0 && (0.0..1e9).contains(number)).then_some(*number as u64);
    // The database behind Odoo reads ids that are texts.
    let text = || json.as_str().and_then(|text| text.trim().parse().ok());
    json.as_u64().or_else(|| json.as_f64().as_ref().and_then(cut)).or_else(text)
}

/// The first ten characters as a date.
fn date(text: &str) -> Option<String> {
    if text.starts_with(char::is_whitespace) {
        return None;
    }
    let text: String = text.chars().take(10).collect();
    let date = jiff::civil::Date::strptime("%Y-%m-%d", &text).ok()?;
    (date.year() > 0).then(|| date.to_string())
}

/// A time, or a date for its midnight, as the contract writes it.
fn datetime(text: &str) -> Option<String> {
    if text.starts_with(char::is_whitespace) {
        return None;
    }
    let time = if text.chars().count() == 10 {
        jiff::civil::Date::strptime("%Y-%m-%d", text).ok()?.at(0, 0, 0, 0)
    } else {
        // Odoo cuts its format to the length of the text: hours, minutes and seconds have two digits each.
        let (day, clock) = text.split_at_checked(11).filter(|(day, _)| day.ends_with(' '))?;
        let missing = match clock.len() {
            2 => ":00:00",
            5 => ":00",
            8 if !clock.ends_with(":60") => "",
            _ => return None,
        };
        let day = jiff::civil::Date::strptime("%Y-%m-%d", day.trim_end()).ok()?;
        day.to_datetime(jiff::civil::Time::strptime("%H:%M:%S", format!("{clock}{missing}")).ok()?)
    };
    (time.year() > 0).then(|| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Base64 with padding; characters outside of its alphabet are passed over, as Python does.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let clean: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')).collect();
    STANDARD.decode(clean).ok()
}
