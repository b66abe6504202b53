//! The agent's tools: what the rule grants, offered to the model, and done through the host, which judges each call.

mod act;
mod look;

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use triggerbox::{Error, RecordRef, json, llm, model, prelude::*, serde_json, serde_json::Value as Json};

use crate::{
    figures::Figures,
    grants::{Grants, Script},
    values::{Fields, invalid},
};

/// Everything that the tools know.
pub struct Tools<'a> {
    pub grants: &'a Grants,
    pub fields: Fields,
    /// Models with the fields that tell their records apart.
    unique: BTreeMap<String, Vec<String>>,
    /// Records of this run, with the text that becomes their name.
    created: Vec<(RecordRef, String)>,
    offered: Vec<Offer>,
    /// What may be stated; none: whatever the model says.
    figures: Option<Figures>,
}

/// One tool.
pub struct Offer {
    pub name: String,
    description: String,
    schema: Json,
    run: Run,
    /// The right that it needs; `script`: those that the script asks for.
    pub operation: &'static str,
}

/// What a tool does.
#[derive(Clone, Copy)]
enum Run {
    /// Something of its own.
    Own(fn(&mut Tools<'_>, &Json) -> Result<Json, Error>),
    /// It runs the script of its name.
    Script,
}

impl<'a> Tools<'a> {
    pub fn of(event: &Event, grants: &'a Grants) -> Result<Self> {
        let wanted: String = event.param("tools")?;
        let wanted: Vec<_> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let read_only: bool = event.param("read_only")?;
        let mut unique = unique(&event.param::<String>("unique")?)?;
        // The host refuses any other way to create them.
        unique.extend(grants.keys.clone());
        let mut offered = look::offers(grants);
        if !read_only {
            offered.extend(act::offers(grants, &unique));
        }
        let scripts = grants.scripts.iter();
        let known: Vec<_> = NAMES.iter().copied().chain(scripts.clone().map(|script| script.name.as_str())).collect();
        if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
            fail!("there is no tool `{unknown}`; there are {}", known.join(", "));
        }
        offered.retain(|offer| grants.models(offer.operation).next().is_some());
        offered.extend(scripts.cloned().map(|Script { name, description, schema }| Offer {
            name,
            description,
            schema,
            run: Run::Script,
            operation: "script",
        }));
        offered.retain(|offer| wanted.is_empty() || wanted.contains(&offer.name.as_str()));
        let figures = event.param::<bool>("grounded")?.then(Figures::default);
        Ok(Self { grants, fields: Fields::default(), unique, created: Vec::new(), offered, figures })
    }

    /// What the model is told counts as read.
    pub fn told(&mut self, text: &str) {
        if let Some(figures) = &mut self.figures {
            figures.read_text(text);
        }
    }

    /// What the model is shown of records counts as read.
    pub fn read(&mut self, json: &Json) {
        if let Some(figures) = &mut self.figures {
            figures.read(json);
        }
    }

    /// A figure that the model states and did not read.
    pub fn unread(&self, text: &str) -> Option<String> {
        self.figures.as_ref()?.unread(text)
    }

    /// As the model is told of them.
    pub fn offer(&self, mut request: llm::Request, only: Option<&[String]>) -> llm::Request {
        for offer in &self.offered {
            if only.is_none_or(|only| only.contains(&offer.name)) {
                request = request.tool(offer.name.as_str(), offer.description.as_str(), &offer.schema);
            }
        }
        request
    }

    /// Names and descriptions, for a plan.
    pub fn describe(&self) -> String {
        let lines = self.offered.iter().map(|offer| format!("- {}: {}", offer.name, offer.description));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn find(&self, name: &str) -> Option<&Offer> {
        self.offered.iter().find(|offer| offer.name == name)
    }

    /// Does what the model asks for. What the host refuses is an answer too: the model may try otherwise.
    pub fn call(&mut self, call: &llm::ToolCall) -> Result<Json, Error> {
        let Some(offer) = self.find(&call.name) else {
            let known: Vec<_> = self.offered.iter().map(|offer| offer.name.as_str()).collect();
            return Err(invalid(format!("there is no tool {}; there are {}", call.name, known.join(", "))));
        };
        let (run, writes) = (offer.run, offer.operation != "read");
        let arguments: Json =
            call.arguments().map_err(|error| invalid(format!("the arguments are {}", error.message)))?;
        if writes
            && let Some(figures) = &self.figures
            && let Some(figure) = figures.unread_in(&self.stated(&arguments))
        {
            return Err(invalid(format!("you did not read {figure}: read it, or leave it out")));
        }
        let output = match run {
            Run::Own(run) => run(self, &arguments)?,
            Run::Script => run_script(&call.name, &arguments)?,
        };
        match run {
            Run::Own(_) => self.read(&output),
            // Nobody knows which of its numbers are those of records.
            Run::Script => self.told(&output.to_string()),
        }
        Ok(output)
    }

    /// What the arguments of a tool state: all but the numbers of records, and names of models and methods.
    fn stated(&self, arguments: &Json) -> Json {
        let mut stated = arguments.clone();
        let Some(object) = stated.as_object_mut() else { return stated };
        let model = object.get("model").and_then(Json::as_str).unwrap_or_default().to_owned();
        object.retain(|name, _| !matches!(name.as_str(), "id" | "ids" | "user_id" | "model" | "method"));
        if let Some(values) = object.get_mut("values").and_then(Json::as_object_mut) {
            let links = |name: &str| self.fields.get(&model, name).is_ok_and(|field| field.relation.is_some());
            values.retain(|name, value| value.is_string() || !links(name));
        }
        stated
    }

    /// A text with the names of this run's new records in place of what the model knows them by.
    pub fn with_mentions(&self, text: &str) -> String {
        let named = self
            .created
            .iter()
            .fold(text.to_owned(), |text, (record, mention)| text.replace(&in_texts(record), mention));
        self.created
            .iter()
            .fold(named, |text, (record, _)| text.replace(&record.id.to_string(), self.by_number(record.id)))
    }

    /// What is kept of a call: numbers of records that exist only in this run are their names.
    pub fn speakable(&self, json: &Json) -> Json {
        match json {
            Json::Number(number) => {
                match self.created.iter().find(|(new, _)| number.as_u64() == Some(u64::from(new.id))) {
                    Some((record, _)) => json!(self.by_number(record.id)),
                    None => json.clone(),
                }
            }
            Json::String(text) => json!(self.with_mentions(text)),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.speakable(item)).collect()),
            Json::Object(fields) => {
                Json::Object(fields.iter().map(|(name, value)| (name.clone(), self.speakable(value))).collect())
            }
            other => other.clone(),
        }
    }

    /// The name behind a number, if only one new record has it: they are counted by model.
    fn by_number(&self, id: u32) -> &str {
        let mut found = self.created.iter().filter(|(record, _)| record.id == id);
        match (found.next(), found.next()) {
            (Some((_, mention)), None) => mention,
            _ => "(a new record)",
        }
    }

    fn remember(&mut self, record: &RecordRef) -> Result<(), Error> {
        if record.is_provisional() && !self.created.iter().any(|(known, _)| known == record) {
            self.created.push((record.clone(), record.mention()?));
        }
        Ok(())
    }
}

/// Has the host run a script on records, within this run.
fn run_script(name: &str, json: &Json) -> Result<Json, Error> {
    #[derive(Deserialize)]
    struct Arguments {
        #[serde(default)]
        model: String,
        #[serde(default)]
        ids: Vec<u32>,
        #[serde(default)]
        parameters: Json,
    }
    let Arguments { model: on, ids, parameters } = arguments(json)?;
    let parameters = if parameters.is_null() { json!({}) } else { parameters };
    let answer = model(on).call(&ids, "script.run", json!({ "script": name, "parameters": parameters }))?;
    Ok(answer.unwrap_or_else(|| json!({ "done": true })))
}

/// How a model names a new record in a text.
fn in_texts(record: &RecordRef) -> String {
    format!("{}({})", record.model, record.id)
}

/// All tools.
const NAMES: &[&str] =
    &["search", "read", "read_group", "fields_get", "create", "update", "call", "note", "message", "activity"];

/// `res.partner:email,phone; crm.tag:name`
fn unique(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut unique = BTreeMap::new();
    for part in text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        let Some((model, fields)) = part.split_once(':') else {
            fail!("the parameter `unique`: `{part}` is not MODEL:FIELD,FIELD");
        };
        let fields = fields.split(',').map(|field| field.trim().to_owned()).filter(|field| !field.is_empty());
        unique.insert(model.trim().to_owned(), fields.collect());
    }
    Ok(unique)
}

/// Arguments of a tool.
fn arguments<T: DeserializeOwned>(json: &Json) -> Result<T, Error> {
    serde_json::from_value(json.clone()).map_err(|error| invalid(error.to_string()))
}

/// A JSON Schema of an object; names that end in `?` are optional.
fn object(properties: &[(&str, Json)]) -> Json {
    let required = properties.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect::<Vec<_>>();
    let properties = properties.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()));
    json!({
        "type": "object",
        "properties": Json::Object(properties.collect()),
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_fields_are_written_by_model() {
        let unique = unique("res.partner:email, phone; crm.tag:name").unwrap();
        assert_eq!(unique["res.partner"], ["email", "phone"]);
        assert_eq!(unique["crm.tag"], ["name"]);
        assert!(super::unique("crm.tag").is_err());
    }
}
