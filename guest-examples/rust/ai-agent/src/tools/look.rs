//! Tools that read.

use serde::Deserialize;
use triggerbox::{Error, RecordRef, json, model, prelude::Search, serde_json::Value as Json};

use super::{Offer, Run, Tools, arguments, object};
use crate::{
    grants::Grants,
    values::{domain, invalid, to_json},
};

/// Records or groups that one call returns at most.
const MOST: u32 = 50;

pub fn offers(grants: &Grants) -> Vec<Offer> {
    let model = grants.model_schema("read");
    let readable = grants.describe("read");
    let names = || json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let domain = || json!({ "type": "array", "description": "Odoo's notation as JSON: [[\"type\", \"=\", \"lead\"], \"|\", …]; [] for all" });
    let page = || json!({ "type": "integer", "minimum": 1, "maximum": MOST });
    vec![
        Offer {
            name: "search".to_owned(),
            description: format!("Finds records, with the fields that you name. Models and fields: {readable}."),
            schema: object(&[
                ("model", model.clone()),
                ("domain", domain()),
                ("fields", names()),
                ("limit?", page()),
                ("order?", json!({ "type": "string", "description": "such as `create_date desc`" })),
            ]),
            run: Run::Own(search),
            operation: "read",
        },
        Offer {
            name: "read".to_owned(),
            description: format!("Reads fields of records by id. Models and fields: {readable}."),
            schema: object(&[
                ("model", model.clone()),
                ("ids", json!({ "type": "array", "items": { "type": "integer" }, "maxItems": MOST })),
                ("fields", names()),
            ]),
            run: Run::Own(read),
            operation: "read",
        },
        Offer {
            name: "read_group".to_owned(),
            description: format!(
                "Counts, sums and averages by group: group_by [\"stage_id\", \"create_date:month\"], aggregates \
                 [\"expected_revenue:sum\", \"__count\"]. Models and fields: {readable}."
            ),
            schema: object(&[
                ("model", model.clone()),
                ("domain", domain()),
                ("group_by", json!({ "type": "array", "items": { "type": "string" } })),
                ("aggregates", names()),
            ]),
            run: Run::Own(read_group),
            operation: "read",
        },
        Offer {
            name: "fields_get".to_owned(),
            description: format!("Describes the fields of a model: type, relation, choices. Models: {readable}."),
            schema: object(&[("model", model), ("fields?", names())]),
            run: Run::Own(fields_get),
            operation: "read",
        },
    ]
}

#[derive(Deserialize)]
struct Find {
    model: String,
    #[serde(default)]
    domain: Json,
    #[serde(default)]
    fields: Vec<String>,
    limit: Option<u32>,
    order: Option<String>,
}

fn search(_: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Find { model: name, domain: wanted, fields, limit, order } = arguments(json)?;
    if fields.is_empty() {
        return Err(invalid("name the fields that you need"));
    }
    // Zero is no limit at all.
    let limit = limit.unwrap_or(20).clamp(1, MOST);
    let mut search = Search::from(domain(&wanted)?.as_str()).limit(limit);
    if let Some(order) = order {
        search = search.order(order);
    }
    let names: Vec<_> = fields.iter().map(String::as_str).collect();
    let rows = model(name.as_str()).search_read(search, &names)?;
    // A number that the model cannot mistake for all there is.
    let total =
        if rows.len() < limit as usize { rows.len() as u32 } else { model(name).count(domain(&wanted)?.as_str())? };
    Ok(json!({ "records": rows.iter().map(|row| described(row, &names)).collect::<Vec<_>>(), "total": total }))
}

#[derive(Deserialize)]
struct Read {
    model: String,
    ids: Vec<u32>,
    fields: Vec<String>,
}

fn read(_: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Read { model: name, ids, fields } = arguments(json)?;
    if ids.len() > MOST as usize {
        return Err(invalid(format!("at most {MOST} records are read at once")));
    }
    let names: Vec<_> = fields.iter().map(String::as_str).collect();
    let rows = model(name.as_str()).read(&ids, &names)?;
    let missing: Vec<_> = ids.iter().filter(|id| !rows.iter().any(|row| row.id == **id)).collect();
    Ok(json!({ "records": rows.iter().map(|row| described(row, &names)).collect::<Vec<_>>(), "missing": missing }))
}

fn described(row: &triggerbox::Row, names: &[&str]) -> Json {
    let values = names.iter().filter_map(|name| Some(((*name).to_owned(), to_json(row.value(name).ok()?))));
    let record: &RecordRef = row.record();
    Json::Object(std::iter::once(("id".to_owned(), json!(record.id))).chain(values).collect())
}

#[derive(Deserialize)]
struct ReadGroup {
    model: String,
    #[serde(default)]
    domain: Json,
    #[serde(default)]
    group_by: Vec<String>,
    aggregates: Vec<String>,
}

fn read_group(_: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let ReadGroup { model: name, domain: wanted, group_by, aggregates } = arguments(json)?;
    let search = Search::from(domain(&wanted)?.as_str()).limit(MOST + 1);
    let keys: Vec<_> = group_by.iter().map(String::as_str).collect();
    let sums: Vec<_> = aggregates.iter().map(String::as_str).collect();
    let found = model(name).read_group(search, &keys, &sums)?;
    let groups = found.iter().take(MOST as usize).map(|group| {
        let fields = group.keys.iter().chain(&group.aggregates);
        let values = fields.map(|field| (field.name.clone(), to_json(&field.value)));
        Json::Object(values.chain([("count".to_owned(), json!(group.count))]).collect())
    });
    let mut told = json!({ "groups": groups.collect::<Vec<_>>() });
    // Groups that the model cannot mistake for all there are.
    if found.len() > MOST as usize {
        told["more"] = json!(true);
    }
    Ok(told)
}

#[derive(Deserialize)]
struct FieldsGet {
    model: String,
    #[serde(default)]
    fields: Vec<String>,
}

/// Only fields that the rule grants: others are of no use to the model.
fn fields_get(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let FieldsGet { model: name, fields } = arguments(json)?;
    let granted = |field: &str| {
        ["read", "write", "create"]
            .iter()
            .any(|op| tools.grants.names(op, &name).is_some_and(|names| names.contains(field)))
    };
    let names: Vec<_> = fields.iter().map(String::as_str).collect();
    let found = model(name.as_str()).fields_get(&names)?;
    let fields = found.into_iter().filter(|field| granted(&field.name)).map(|field| {
        let choices: Vec<_> = field.selection.into_iter().map(|(key, _)| key).collect();
        let mut described = json!({ "type": field.kind, "label": field.label });
        if let Some(relation) = field.relation {
            described["relation"] = json!(relation);
        }
        if field.required {
            described["required"] = json!(true);
        }
        if !choices.is_empty() {
            described["choices"] = json!(choices);
        }
        (field.name, described)
    });
    Ok(Json::Object(fields.collect()))
}
