//! Values between records and JSON, domains between JSON and Odoo's notation.

use std::{cell::RefCell, collections::BTreeMap};

use triggerbox::{Error, FieldInfo, json, prelude::*, serde_json::Value as Json};

use crate::html::shaped;

/// Longer texts are cut: a model pays for each word.
const LONGEST_TEXT: usize = 4_000;

/// What fields are, asked for once.
#[derive(Default)]
pub struct Fields(RefCell<BTreeMap<(String, String), FieldInfo>>);

impl Fields {
    pub fn get(&self, model_name: &str, field: &str) -> Result<FieldInfo, Error> {
        let key = (model_name.to_owned(), field.to_owned());
        if let Some(info) = self.0.borrow().get(&key) {
            return Ok(info.clone());
        }
        let found = model(model_name).fields_get(&[field])?.into_iter().next();
        let info = found.ok_or_else(|| invalid(format!("{model_name} has no field {field}")))?;
        self.0.borrow_mut().insert(key, info.clone());
        Ok(info)
    }

    /// Values for a record, each as its field wants it.
    pub fn values(&self, model: &str, object: &Json) -> Result<Values, Error> {
        let object = object.as_object().ok_or_else(|| invalid("`values` is an object of field names and values"))?;
        let mut values = Values::new();
        for (name, value) in object {
            values.set(name.as_str(), from_json(&self.get(model, name)?, value)?);
        }
        Ok(values)
    }
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(triggerbox::ErrorKind::Invalid, "bad-arguments", message)
}

fn from_json(field: &FieldInfo, value: &Json) -> Result<Value, Error> {
    let wrong = || invalid(format!("{} is {}; {value} is not", field.name, field.kind));
    let text = || value.as_str().map(str::to_owned).ok_or_else(wrong);
    let integer = |value: &Json| value.as_i64().and_then(|n| i32::try_from(n).ok());
    let id = |value: &Json| value.as_u64().and_then(|n| u32::try_from(n).ok());
    if value.is_null() || (value == false && field.kind != "boolean") {
        return Ok(Value::Unset);
    }
    Ok(match field.kind.as_str() {
        "boolean" => Value::Boolean(value.as_bool().ok_or_else(wrong)?),
        "integer" => Value::Integer(integer(value).ok_or_else(wrong)?),
        "float" | "monetary" => Value::Number(value.as_f64().ok_or_else(wrong)?),
        "date" => Value::Date(text()?),
        "datetime" => Value::Datetime(text()?),
        "many2one" => Value::from(id(value).ok_or_else(wrong)?),
        "one2many" | "many2many" => {
            let ids = value.as_array().ok_or_else(wrong)?.iter().map(id).collect::<Option<Vec<_>>>();
            Value::Ids(ids.ok_or_else(wrong)?)
        }
        "json" => Value::Json(value.to_string()),
        "char" | "text" | "selection" => Value::Text(text()?),
        "html" => Value::Text(shaped(&text()?)),
        other => return Err(invalid(format!("{} is {other}, which an agent cannot write", field.name))),
    })
}

pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Unset => Json::Null,
        Value::Pending => json!("(known when the run is applied)"),
        Value::Boolean(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Number(value) => json!(value),
        Value::Text(text) => json!(cut(text, LONGEST_TEXT)),
        Value::Date(text) | Value::Datetime(text) => json!(text),
        Value::Many2one(link) => json!({ "id": link.id, "name": link.name() }),
        Value::Ids(ids) => json!(ids),
        Value::Reference(record) => json!(record.to_string()),
        Value::Binary(bytes) => json!(format!("({} bytes)", bytes.len())),
        Value::Json(text) => triggerbox::serde_json::from_str(text).unwrap_or(Json::Null),
    }
}

/// JSON from a text; a text that is none is itself.
pub fn parsed(text: &str) -> Json {
    triggerbox::serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// At most so many characters of a text.
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((at, _)) => format!("{}… (cut)", &text[..at]),
        None => text.to_owned(),
    }
}

/// A domain as models write it, `[["type", "=", "lead"], "|", …]`, in Odoo's notation; a text is taken as it is. The
/// host parses either as data.
pub fn domain(json: &Json) -> Result<String, Error> {
    match json {
        Json::Null => Ok("[]".into()),
        Json::String(text) => Ok(text.clone()),
        Json::Array(items) => {
            let items = items.iter().map(|item| match item {
                Json::Array(parts) if parts.len() == 3 => Ok(format!("({})", list(parts))),
                Json::String(_) => Ok(literal(item)),
                other => Err(invalid(format!("{other} is no part of a domain: write [field, operator, value]"))),
            });
            Ok(format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(", ")))
        }
        other => Err(invalid(format!("{other} is no domain: write a list of [field, operator, value]"))),
    }
}

fn list(items: &[Json]) -> String {
    items.iter().map(literal).collect::<Vec<_>>().join(", ")
}

fn literal(json: &Json) -> String {
    match json {
        Json::Null | Json::Bool(false) => "False".into(),
        Json::Bool(true) => "True".into(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
        Json::Array(items) => format!("[{}]", list(items)),
        // Refused by the host, which says where.
        Json::Object(_) => "{}".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_models_become_odoos() {
        let json =
            json!(["|", ["name", "ilike", "O'Hara\\"], ["stage_id.sequence", "in", [1, 2]], ["active", "=", true]]);
        assert_eq!(
            domain(&json).unwrap(),
            r"['|', ('name', 'ilike', 'O\'Hara\\'), ('stage_id.sequence', 'in', [1, 2]), ('active', '=', True)]"
        );
        assert_eq!(domain(&json!("[('a', '=', 1)]")).unwrap(), "[('a', '=', 1)]");
        assert!(domain(&json!([["a", "="]])).is_err());
        assert!(domain(&json!({ "a": 1 })).is_err());
    }

    #[test]
    fn values_fit_their_fields() {
        let field = |kind: &str| FieldInfo {
            name: "f".into(),
            label: String::new(),
            kind: kind.into(),
            relation: None,
            required: false,
            readonly: false,
            stored: true,
            selection: Vec::new(),
            help: None,
        };
        let read = |kind: &str, value: Json| from_json(&field(kind), &value);
        assert_eq!(read("integer", json!(7)).unwrap(), Value::Integer(7));
        assert_eq!(read("float", json!(7)).unwrap(), Value::Number(7.0));
        assert_eq!(read("many2one", json!(7)).unwrap(), Value::from(7_u32));
        assert_eq!(read("many2many", json!([7, 8])).unwrap(), Value::Ids(vec![7, 8]));
        assert_eq!(read("char", json!(false)).unwrap(), Value::Unset);
        assert_eq!(read("boolean", json!(false)).unwrap(), Value::Boolean(false));
        for (kind, value) in
            [("integer", json!(1.5)), ("char", json!(1)), ("many2one", json!("x")), ("binary", json!(""))]
        {
            assert!(read(kind, value).is_err(), "{kind}");
        }
    }
}
