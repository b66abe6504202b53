//! What the rule grants, and how it dispatches: the host tells a script that follows its rule.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use triggerbox::{json, prelude::*, serde_json};

/// The rule's grants, by operation and model, and the scripts that are tools.
pub struct Grants {
    models: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Models with the fields that tell their records apart: of those, none is created that is there already.
    pub keys: BTreeMap<String, Vec<String>>,
    pub scripts: Vec<Script>,
    /// None: there is no rule.
    pub dispatch: Option<Dispatch>,
}

/// How the records of one fire become runs.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// One run with all records.
    Single,
    /// One run for each record.
    PerRecord,
}

/// A script that the host runs as a tool.
#[derive(Clone, Deserialize)]
pub struct Script {
    pub name: String,
    pub description: String,
    pub schema: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    grants: Vec<Grant>,
    scripts: Vec<Script>,
    dispatch: Option<Dispatch>,
}

#[derive(Deserialize)]
struct Grant {
    model: String,
    operations: Vec<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
}

impl Grants {
    pub fn of(event: &Event) -> Result<Self> {
        let told: Told = match &event.extra_json {
            Some(json) => serde_json::from_str(json)?,
            None => Told::default(),
        };
        Ok(Self::from(told))
    }

    fn from(told: Told) -> Self {
        let mut found: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        let (mut keys, mut free) = (BTreeMap::new(), BTreeSet::new());
        for grant in told.grants {
            match (grant.operations.iter().any(|operation| operation == "create"), grant.keys.is_empty()) {
                (true, true) => _ = free.insert(grant.model.clone()),
                (true, false) => _ = keys.insert(grant.model.clone(), grant.keys.clone()),
                (false, _) => {}
            }
            for operation in grant.operations {
                let names = if operation == "call" { &grant.methods } else { &grant.fields };
                let models = found.entry(operation).or_default();
                models.entry(grant.model.clone()).or_default().extend(names.iter().cloned());
            }
        }
        keys.retain(|model, _| !free.contains(model));
        Self { models: found, keys, scripts: told.scripts, dispatch: told.dispatch }
    }

    /// Models that an operation is granted on, each with its fields or methods.
    pub fn models(&self, operation: &str) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.models.get(operation).into_iter().flatten().map(|(model, names)| (model.as_str(), names))
    }

    /// The fields (for `call`: methods) of a model that an operation is granted with.
    pub fn names(&self, operation: &str, model: &str) -> Option<&BTreeSet<String>> {
        self.models.get(operation)?.get(model)
    }

    /// `crm.lead (name, priority), res.partner (email)`
    pub fn describe(&self, operation: &str) -> String {
        let models = self.models(operation).map(|(model, names)| match names.is_empty() {
            true => model.to_owned(),
            false => format!("{model} ({})", names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        });
        models.collect::<Vec<_>>().join("; ")
    }

    /// A JSON Schema of the models that an operation is granted on.
    pub fn model_schema(&self, operation: &str) -> serde_json::Value {
        json!({ "type": "string", "enum": self.models(operation).map(|(model, _)| model).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_add_up_by_operation() {
        let told = r#"{"grants": [
            {"model": "crm.lead", "operations": ["read", "write"], "fields": ["name"]},
            {"model": "crm.lead", "operations": ["read"], "fields": ["phone"]},
            {"model": "crm.lead", "operations": ["call"], "methods": ["action_set_won"]}
        ]}"#;
        let grants = Grants::from(serde_json::from_str(told).unwrap());
        assert_eq!(grants.describe("read"), "crm.lead (name, phone)");
        assert_eq!(grants.describe("write"), "crm.lead (name)");
        assert_eq!(grants.describe("call"), "crm.lead (action_set_won)");
        assert_eq!(grants.describe("create"), "");
    }

    #[test]
    fn keys_count_where_nothing_grants_to_create_without() {
        let told = r#"{"grants": [
            {"model": "crm.tag", "operations": ["create"], "fields": ["name"], "keys": ["name"]},
            {"model": "res.partner", "operations": ["create"], "fields": ["name", "email"], "keys": ["email"]},
            {"model": "res.partner", "operations": ["create"], "fields": ["phone"]},
            {"model": "crm.lead", "operations": ["create"], "fields": ["name"]}
        ]}"#;
        let grants = Grants::from(serde_json::from_str(told).unwrap());
        assert_eq!(grants.keys, BTreeMap::from([("crm.tag".to_owned(), vec!["name".to_owned()])]));
    }
}
