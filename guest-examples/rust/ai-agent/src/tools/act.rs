//! Tools that change something. Everything is staged: it is applied when the run succeeds, or approved, or never.

use std::collections::BTreeMap;

use serde::Deserialize;
use triggerbox::{Error, RecordRef, Value, Values, chatter::Activity, json, model, serde_json::Value as Json};

use super::{Offer, Run, Tools, arguments, in_texts, object};
use crate::{grants::Grants, values::invalid};

pub fn offers(grants: &Grants, unique: &BTreeMap<String, Vec<String>>) -> Vec<Offer> {
    let id = || json!({ "type": "integer" });
    let text = || json!({ "type": "string" });
    let values = || json!({ "type": "object", "description": "Field names with values; a relation takes an id or a list of ids" });
    let keys: Vec<_> = unique.iter().map(|(model, fields)| format!("{model} by {}", fields.join(" and "))).collect();
    let found_first = match keys.is_empty() {
        true => String::new(),
        false => format!(" Found instead of created, where there is one already: {}.", keys.join("; ")),
    };
    let on_record = |operation: &str| [("model", grants.model_schema(operation)), ("id", id())];
    vec![
        Offer {
            name: "create".to_owned(),
            description: format!(
                "Creates a record. Its number is good for other calls; in texts, name it as `in_texts` says. Models and \
                 fields: {}.{found_first}",
                grants.describe("create")
            ),
            schema: object(&[("model", grants.model_schema("create")), ("values", values())]),
            run: Run::Own(create),
            operation: "create",
        },
        Offer {
            name: "update".to_owned(),
            description: format!("Changes fields of a record. Models and fields: {}.", grants.describe("write")),
            schema: object(&[&on_record("write")[..], &[("values", values())]].concat()),
            run: Run::Own(update),
            operation: "write",
        },
        Offer {
            name: "call".to_owned(),
            description: format!(
                "Calls a business method of a record. Models and methods: {}.",
                grants.describe("call")
            ),
            schema: object(
                &[&on_record("call")[..], &[("method", text()), ("arguments?", json!({ "type": "object" }))]].concat(),
            ),
            run: Run::Own(call),
            operation: "call",
        },
        Offer {
            name: "note".to_owned(),
            description: format!("Posts an internal note on a record. Models: {}.", grants.describe("note")),
            schema: object(&[&on_record("note")[..], &[("text", text())]].concat()),
            run: Run::Own(note),
            operation: "note",
        },
        Offer {
            name: "message".to_owned(),
            description: format!(
                "Posts a message that the record's followers receive. Models: {}.",
                grants.describe("message")
            ),
            schema: object(&[&on_record("message")[..], &[("text", text())]].concat()),
            run: Run::Own(message),
            operation: "message",
        },
        Offer {
            name: "activity".to_owned(),
            description: format!("Schedules something to do on a record. Models: {}.", grants.describe("activity")),
            schema: object(
                &[
                    &on_record("activity")[..],
                    &[
                        ("kind", json!({ "type": "string", "description": "such as `To-Do`, `Call`, `Email`" })),
                        ("summary", text()),
                        ("deadline", json!({ "type": "string", "description": "a date, 2026-11-21" })),
                        ("user_id?", id()),
                    ],
                ]
                .concat(),
            ),
            run: Run::Own(activity),
            operation: "activity",
        },
    ]
}

#[derive(Deserialize)]
struct Create {
    model: String,
    values: Json,
}

fn create(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Create { model: name, values } = arguments(json)?;
    let mut values = tools.fields.values(&name, &values)?;
    let keys = tools.unique.get(&name);
    // What tells records apart stays as it is: a name that only the commit knows finds none.
    name_new_records(tools, &mut values, keys.map(Vec::as_slice).unwrap_or_default());
    let record = match keys {
        Some(keys) => {
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            if let Some(missing) = keys.iter().find(|key| !values.0.iter().any(|field| field.name == **key)) {
                return Err(invalid(format!("`{missing}` tells the records of {name} apart: give its value")));
            }
            model(name).ensure(&keys, values)?
        }
        None => model(name).create(values)?,
    };
    tools.remember(&record)?;
    Ok(match record.is_provisional() {
        true => json!({ "id": record.id, "new": true, "in_texts": in_texts(&record) }),
        false => json!({ "id": record.id, "new": false }),
    })
}

#[derive(Deserialize)]
struct Update {
    model: String,
    id: u32,
    values: Json,
}

fn update(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Update { model, id, values } = arguments(json)?;
    let mut values = tools.fields.values(&model, &values)?;
    name_new_records(tools, &mut values, &[]);
    RecordRef::new(model, id).write(values)?;
    Ok(json!({ "done": true }))
}

/// Puts the names of this run's new records into texts, but for those of these fields.
fn name_new_records(tools: &Tools<'_>, values: &mut Values, but: &[String]) {
    for field in values.0.iter_mut().filter(|field| !but.contains(&field.name)) {
        if let Value::Text(text) = &mut field.value {
            *text = tools.with_mentions(text);
        }
    }
}

#[derive(Deserialize)]
struct Call {
    model: String,
    id: u32,
    method: String,
    #[serde(default)]
    arguments: Option<Json>,
}

fn call(_: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Call { model, id, method, arguments: with } = arguments(json)?;
    let answer = RecordRef::new(model, id).call(&method, with.unwrap_or_else(|| json!({})))?;
    Ok(answer.unwrap_or_else(|| json!({ "done": true })))
}

#[derive(Deserialize)]
struct Post {
    model: String,
    id: u32,
    text: String,
}

/// Plain text, always: whatever markup a model writes is shown, not followed.
fn note(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Post { model, id, text } = arguments(json)?;
    RecordRef::new(model, id).post_note(tools.with_mentions(&text))?;
    Ok(json!({ "done": true }))
}

fn message(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Post { model, id, text } = arguments(json)?;
    RecordRef::new(model, id).post_message(tools.with_mentions(&text))?;
    Ok(json!({ "done": true }))
}

#[derive(Deserialize)]
struct Schedule {
    model: String,
    id: u32,
    kind: String,
    summary: String,
    deadline: String,
    user_id: Option<u32>,
}

fn activity(tools: &mut Tools<'_>, json: &Json) -> Result<Json, Error> {
    let Schedule { model, id, kind, summary, deadline, user_id } = arguments(json)?;
    let mut activity = Activity::new(kind, tools.with_mentions(&summary));
    activity.deadline = Some(deadline);
    activity.user_id = user_id;
    RecordRef::new(model, id).schedule_activity(activity)?;
    Ok(json!({ "done": true }))
}
