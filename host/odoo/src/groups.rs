//! The answer of `formatted_read_group` as groups of the contract.

use serde_json::Value as Json;
use triggerbox_model::{
    call::Group,
    domain::Domain,
    error::Error,
    schema::{FieldKind, Schema},
    value::{FieldValue, Value},
};

use crate::{session::odd, value};

pub(crate) fn groups(
    schema: &Schema,
    model: &str,
    group_by: &[String],
    aggregates: &[String],
    answer: &Json,
) -> Result<Vec<Group>, Error> {
    let rows = answer.as_array().ok_or_else(|| odd("a grouping"))?;
    rows.iter()
        .map(|row| {
            let told = |spec: &String| row.get(spec).ok_or_else(|| odd("a grouping"));
            let keys =
                group_by.iter().map(|spec| Ok(FieldValue::new(spec.as_str(), key(schema, model, spec, told(spec)?)?)));
            let sums = aggregates
                .iter()
                .map(|spec| Ok(FieldValue::new(spec.as_str(), sum(schema, model, spec, told(spec)?)?)));
            let count = row.get("__count").and_then(Json::as_u64).ok_or_else(|| odd("a grouping"))?;
            let domain = match row.get("__extra_domain") {
                Some(domain) => Domain::from_json(domain)?.to_string(),
                None => "[]".to_owned(),
            };
            Ok(Group {
                keys: keys.collect::<Result<_, Error>>()?,
                aggregates: sums.collect::<Result<_, Error>>()?,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                domain,
            })
        })
        .collect()
}

fn key(schema: &Schema, model: &str, spec: &str, json: &Json) -> Result<Value, Error> {
    let (name, part) = spec.split_once(':').map_or((spec, None), |(name, part)| (name, Some(part)));
    let kind = kind_of(schema, model, name)?;
    // A span of time is told with its label, `["2026-09-01", "September 2026"]`; a part of one is a number.
    let json = match (kind, json) {
        (FieldKind::Date | FieldKind::Datetime, Json::Array(pair)) => pair.first().unwrap_or(&Json::Null),
        (_, json) => json,
    };
    match (kind, part, json) {
        (FieldKind::Date | FieldKind::Datetime, Some(_), Json::Number(number)) => {
            Ok(Value::Number(number.as_f64().unwrap_or_default()))
        }
        (FieldKind::One2many | FieldKind::Many2many, _, json) => {
            Ok(value::link(json).map_or(Value::Unset, Value::Many2one))
        }
        (kind, _, json) => value::from_json(model, name, kind, json),
    }
}

fn sum(schema: &Schema, model: &str, spec: &str, json: &Json) -> Result<Value, Error> {
    let (name, how) = spec.split_once(':').unwrap_or((spec, ""));
    let whole = |json: &Json| json.as_i64().and_then(|number| i32::try_from(number).ok()).map(Value::Integer);
    match how {
        _ if name == "__count" => whole(json).ok_or_else(|| odd("a grouping")),
        "count" | "count_distinct" => whole(json).ok_or_else(|| odd("a grouping")),
        "min" | "max" | "bool_and" | "bool_or" => value::from_json(model, name, kind_of(schema, model, name)?, json),
        "sum" | "avg" => Ok(json.as_f64().map_or(Value::Unset, Value::Number)),
        _ => Ok(Value::Json(json.to_string())),
    }
}

fn kind_of(schema: &Schema, model: &str, path: &str) -> Result<FieldKind, Error> {
    let mut model = schema.model(model)?;
    let mut kind = FieldKind::Integer;
    for step in path.split('.').filter(|step| *step != "id") {
        let field = model.field(step)?;
        kind = field.kind;
        if let Some(relation) = &field.relation {
            model = schema.model(relation)?;
        }
    }
    Ok(kind)
}
