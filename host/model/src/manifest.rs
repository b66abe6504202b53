//! `triggerbox.toml`: what a script is called, what it asks for, and its parameters.
//!
//! `triggerbox build` embeds the text in the component, as the custom section [`SECTION`], so that one
//! file is all that is uploaded.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    grants::{Authority, Grant, GrantOperation, Grants, Policy},
    limits::LimitRequest,
    outbound::{HttpGrant, is_method},
    value::{FieldValue, Value},
};

/// Name of the custom section that holds the manifest's text. Exactly one, at the component's top level.
pub const SECTION: &str = "triggerbox:manifest";

/// Longest manifest text, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// A script's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Who the script is.
    pub script: ScriptInfo,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "no_grants")]
    pub grants: Grants,
    /// Requests to other services that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Limits that suffice for it; the host may set smaller ones.
    #[serde(default)]
    pub limits: LimitRequest,
    /// What a rule can set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
}

/// Who the script is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptInfo {
    /// `lead-scoring`: lower-case letters, digits and dashes.
    pub name: String,
    /// The author's version, for people; the host tells versions apart by content.
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// It serves any model: it asks for what the rule grants, in place of `grants` and `http` here. Without a rule's
    /// grants it may do nothing.
    #[serde(default, rename = "follows-rule", skip_serializing_if = "std::ops::Not::not")]
    pub follows_rule: bool,
}

/// A parameter that a rule sets and the script reads from its event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Lower-case name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    /// What people see; the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A rule must set it.
    #[serde(default)]
    pub required: bool,
    /// The value when a rule does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<toml::Value>,
    /// The allowed texts of a selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The model of a many2one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// One sentence.
    #[serde(default)]
    pub help: String,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    /// Any text.
    Text,
    /// A whole number of 32 bits.
    Integer,
    /// A number.
    Float,
    /// `true` or `false`.
    Boolean,
    /// `2026-11-21`
    Date,
    /// `2026-11-21T10:15:00Z`
    Datetime,
    /// One of `options`.
    Selection,
    /// A record's id.
    Many2one,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or not this shape; the text names line and column.
    #[error("the manifest does not parse: {0}")]
    Syntax(String),
    /// Larger than [`MAX_BYTES`].
    #[error("the manifest has {0} bytes; at most {MAX_BYTES} are allowed")]
    TooLarge(usize),
    /// It parses, but says something impossible.
    #[error("the manifest's {place}: {problem}")]
    Invalid {
        /// Where, `parameters.threshold`.
        place: String,
        /// What, and what to do.
        problem: String,
    },
}

/// A parameter's value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: {problem}")]
pub struct ParameterError {
    /// The parameter.
    pub name: String,
    /// What, and what to do.
    pub problem: String,
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge(text.len()));
        }
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(error.to_string().trim_end().to_owned()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The three sides in front of the backend, for a run of this script.
    #[must_use]
    pub fn authority(&self, rule: Option<Grants>, rule_http: Vec<HttpGrant>, policy: Policy) -> Authority {
        let follows_rule = self.script.follows_rule;
        let (script, script_http) = match follows_rule {
            true => (rule.clone().unwrap_or_default(), rule_http.clone()),
            false => (self.grants.clone(), self.http.clone()),
        };
        Authority { script, agent: None, rule, policy, script_http, rule_http, follows_rule }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let invalid = |place: String, problem: &str| Err(ManifestError::Invalid { place, problem: problem.to_owned() });
        let name = &self.script.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return invalid("script.name".into(), "use 1 to 64 lower-case letters, digits and dashes");
        }
        for Grant { model, operations, fields, keys, .. } in &self.grants.0 {
            let place = format!("grant on `{model}`");
            if !is_technical_name(model) {
                return invalid(place, "a model is named in full, such as `crm.lead`; there are no wildcards");
            }
            if operations.is_empty() {
                return invalid(place, "name at least one operation");
            }
            if let Some(field) = fields.iter().find(|field| !is_technical_name(field) || field.contains('.')) {
                return invalid(place, &format!("`{field}` is not a field name; there are no wildcards or paths"));
            }
            if !keys.is_subset(fields) || (!keys.is_empty() && !operations.contains(&GrantOperation::Create)) {
                return invalid(place, "keys are some of the fields, and go with create");
            }
            if !fields.is_empty() && !operations.iter().any(|operation| operation.names_fields()) {
                return invalid(place, "fields go with read, write or create");
            }
        }
        if let Some(grant) = self.http.iter().find(|grant| !grant.methods.iter().all(|method| is_method(method))) {
            return invalid(format!("http grant of `{}`", grant.url), "methods are upper case, such as `POST`");
        }
        if let Some(grant) = self.http.iter().find(|grant| grant.methods.is_empty()) {
            return invalid(format!("http grant of `{}`", grant.url), "name at least one method");
        }
        if self.script.follows_rule && !(self.grants.0.is_empty() && self.http.is_empty()) {
            return invalid(
                "script.follows-rule".into(),
                "a script that follows its rule asks for no grants of its own",
            );
        }
        let mut names = BTreeSet::new();
        for parameter in &self.parameters {
            let place = format!("parameters.{}", parameter.name);
            if !is_technical_name(&parameter.name) || parameter.name.contains('.') {
                return invalid(place, "use lower-case letters, digits and underscores");
            }
            if !names.insert(&parameter.name) {
                return invalid(place, "is declared twice");
            }
            match parameter.kind {
                ParameterKind::Selection if parameter.options.is_empty() => {
                    return invalid(place, "a selection needs `options`");
                }
                ParameterKind::Many2one if parameter.relation.is_none() => {
                    return invalid(place, "a many2one needs `relation`, the model it points to");
                }
                _ => {}
            }
            if let Err(error) = parameter.default_value() {
                return invalid(place, &format!("default: {}", error.problem));
            }
        }
        Ok(())
    }

    /// What a language model may set: a JSON Schema of the parameters, as one object.
    #[must_use]
    pub fn parameters_schema(&self) -> serde_json::Value {
        let required: Vec<_> = self.parameters.iter().filter(|p| p.required).map(|p| p.name.as_str()).collect();
        let properties = self.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.schema()));
        serde_json::json!({
            "type": "object",
            "properties": serde_json::Value::Object(properties.collect()),
            "required": required,
            "additionalProperties": false,
        })
    }

    /// The values for an object that a language model wrote: [`Manifest::parameter_values`] of JSON. What is null is not set.
    ///
    /// # Errors
    /// [`ParameterError`]
    pub fn parameter_values_json(
        &self,
        set: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<FieldValue>, ParameterError> {
        let mut texts = Vec::new();
        for (name, value) in set {
            let text = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
                _ => return Err(ParameterError { name: name.clone(), problem: "must be a single value".to_owned() }),
            };
            texts.push((name.clone(), text));
        }
        self.parameter_values(&texts)
    }

    /// The values that a script gets for the values that a rule sets: every declared parameter, in order.
    ///
    /// # Errors
    /// [`ParameterError`] for a parameter that is not declared, does not fit, or is required and absent.
    pub fn parameter_values(&self, set: &[(String, String)]) -> Result<Vec<FieldValue>, ParameterError> {
        if let Some((name, _)) = set.iter().find(|(name, _)| !self.parameters.iter().any(|p| &p.name == name)) {
            let known: Vec<_> = self.parameters.iter().map(|p| p.name.as_str()).collect();
            let problem = match (crate::text::nearest(name, known.iter().copied()), known.is_empty()) {
                (Some(near), _) => format!("is not declared in the manifest; did you mean `{near}`?"),
                (None, true) => "the script has no parameters".to_owned(),
                (None, false) => format!("is not declared in the manifest; there are {}", known.join(", ")),
            };
            return Err(ParameterError { name: name.clone(), problem });
        }
        self.parameters
            .iter()
            .map(|parameter| {
                let value = match set.iter().rev().find(|(name, _)| *name == parameter.name) {
                    Some((_, text)) => parameter.parse(text)?,
                    None => parameter.default_value()?,
                };
                if value == Value::Unset && parameter.required {
                    return Err(parameter.error("is required; set it"));
                }
                Ok(FieldValue::new(&parameter.name, value))
            })
            .collect()
    }
}

impl Parameter {
    /// The JSON Schema of its values.
    fn schema(&self) -> serde_json::Value {
        let kind = match self.kind {
            ParameterKind::Integer | ParameterKind::Many2one => "integer",
            ParameterKind::Float => "number",
            ParameterKind::Boolean => "boolean",
            ParameterKind::Text | ParameterKind::Date | ParameterKind::Datetime | ParameterKind::Selection => "string",
        };
        let mut schema = serde_json::Map::from_iter([("type".to_owned(), kind.into())]);
        let shape = match self.kind {
            ParameterKind::Date => Some("a date, 2026-11-21".to_owned()),
            ParameterKind::Datetime => Some("a time in UTC, 2026-11-21T10:15:00Z".to_owned()),
            ParameterKind::Many2one => self.relation.as_ref().map(|model| format!("the id of a record of {model}")),
            _ => None,
        };
        let told = [Some(&self.help).filter(|help| !help.is_empty()).or(self.label.as_ref()), shape.as_ref()];
        let told: Vec<_> = told.into_iter().flatten().map(String::as_str).collect();
        if !told.is_empty() {
            schema.insert("description".to_owned(), told.join("; ").into());
        }
        if self.kind == ParameterKind::Selection {
            schema.insert("enum".to_owned(), self.options.clone().into());
        }
        serde_json::Value::Object(schema)
    }

    fn error(&self, problem: impl Into<String>) -> ParameterError {
        ParameterError { name: self.name.clone(), problem: problem.into() }
    }

    /// The value when nobody sets it.
    ///
    /// # Errors
    /// The manifest's default does not fit its type.
    pub fn default_value(&self) -> Result<Value, ParameterError> {
        match &self.default {
            None => Ok(Value::Unset),
            Some(toml::Value::String(text)) => self.parse(text),
            Some(toml::Value::Array(_) | toml::Value::Table(_)) => Err(self.error("must be a single value")),
            Some(plain) => self.parse(&plain.to_string()),
        }
    }

    /// Reads a value from text, as the command line gives it.
    ///
    /// # Errors
    /// What the type wants instead.
    pub fn parse(&self, text: &str) -> Result<Value, ParameterError> {
        let wants = |what: &str| self.error(format!("`{text}` is not {what}"));
        match self.kind {
            ParameterKind::Text => Ok(Value::text(text)),
            ParameterKind::Integer => text.parse().map(Value::Integer).map_err(|_| wants("a whole number of 32 bits")),
            ParameterKind::Float => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Number(number)),
                _ => Err(wants("a number")),
            },
            ParameterKind::Boolean => text.parse().map(Value::Boolean).map_err(|_| wants("`true` or `false`")),
            ParameterKind::Date => match text.parse::<jiff::civil::Date>() {
                Ok(date) => Ok(Value::Date(date.to_string())),
                Err(_) => Err(wants("a date such as 2026-11-21")),
            },
            ParameterKind::Datetime => match text.parse::<jiff::Timestamp>() {
                Ok(time) if text.ends_with('Z') => Ok(Value::Datetime(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
                _ => Err(wants("a time such as 2026-11-21T10:15:00Z")),
            },
            ParameterKind::Selection if self.options.iter().any(|option| option == text) => Ok(Value::text(text)),
            ParameterKind::Selection => Err(wants(&format!("one of {}", self.options.join(", ")))),
            ParameterKind::Many2one => match text.parse() {
                Ok(id) if id > 0 => Ok(Value::link(id)),
                _ => Err(wants("a record's id")),
            },
        }
    }
}

/// Whether a text may name a model, field or method: `[a-z_][a-z0-9_.]*`.
#[must_use]
pub fn is_technical_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && name.len() <= 128
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.')
}

fn no_grants(grants: &Grants) -> bool {
    grants.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORING: &str = r#"
        [script]
        name = "lead-scoring"
        version = "1.0.0"

        [[grants]]
        model = "crm.lead"
        operations = ["read", "write"]
        fields = ["name", "priority"]

        [limits]
        fuel = 5_000_000

        [[parameters]]
        name = "threshold"
        type = "float"
        default = 70

        [[parameters]]
        name = "team"
        type = "many2one"
        relation = "crm.team"
        required = true
    "#;

    #[test]
    fn a_manifest_gives_grants_limits_and_parameters() {
        let manifest = Manifest::parse(SCORING).unwrap();
        assert_eq!(manifest.grants.0.len(), 1);
        let values = manifest.parameter_values(&[("team".into(), "3".into())]).unwrap();
        assert_eq!(
            values,
            vec![FieldValue::new("threshold", Value::Number(70.0)), FieldValue::new("team", Value::link(3))]
        );
    }

    #[test]
    fn parameters_that_do_not_fit_say_what_does() {
        let manifest = Manifest::parse(SCORING).unwrap();
        let error = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            manifest.parameter_values(&set).unwrap_err().to_string()
        };
        assert_eq!(error(&[]), "parameter `team`: is required; set it");
        assert_eq!(error(&[("team", "x")]), "parameter `team`: `x` is not a record's id");
        assert_eq!(
            error(&[("treshold", "1")]),
            "parameter `treshold`: is not declared in the manifest; did you mean `threshold`?"
        );
        assert_eq!(error(&[("team", "1"), ("threshold", "nan")]), "parameter `threshold`: `nan` is not a number");
    }

    #[test]
    fn parameters_are_a_schema_for_a_language_model() {
        let text = format!(
            "{SCORING}\n[[parameters]]\nname = \"how\"\ntype = \"selection\"\noptions = [\"a\", \"b\"]\nhelp = \"How.\""
        );
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(
            manifest.parameters_schema(),
            serde_json::json!({
                "type": "object", "required": ["team"], "additionalProperties": false,
                "properties": {
                    "threshold": { "type": "number" },
                    "team": { "type": "integer", "description": "the id of a record of crm.team" },
                    "how": { "type": "string", "description": "How.", "enum": ["a", "b"] },
                },
            })
        );
        let values = |json: serde_json::Value| manifest.parameter_values_json(json.as_object().unwrap());
        let set = values(serde_json::json!({ "team": 3, "threshold": 1.5, "how": null })).unwrap();
        assert_eq!(set[0], FieldValue::new("threshold", Value::Number(1.5)));
        assert_eq!(set[1], FieldValue::new("team", Value::link(3)));
        for wrong in [serde_json::json!({ "team": [3] }), serde_json::json!({ "team": "x" }), serde_json::json!({})] {
            assert_eq!(values(wrong.clone()).unwrap_err().name, "team", "{wrong}");
        }
    }

    #[test]
    fn impossible_manifests_are_refused_with_their_place() {
        let refused = |from: &str, to: &str| Manifest::parse(&SCORING.replace(from, to)).unwrap_err().to_string();
        assert!(refused("lead-scoring", "Lead Scoring").contains("script.name"));
        assert!(refused("\"crm.lead\"", "\"crm.*\"").contains("no wildcards"));
        assert!(refused("fuel", "fule").contains("did you mean `fuel`?"));
        assert!(refused("default = 70", "default = \"many\"").contains("`many` is not a number"));
        assert!(refused("\"threshold\"", "\"team\"").contains("declared twice"));
        assert!(refused("[script]", "[scripts]").contains("line 2"));
    }
}
