//! What a rule does: a script with its parameters, and what the rule lets it do.

use std::{fmt, str::FromStr};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use triggerbox_model::{grants::Grants, limits::LimitRequest, outbound::HttpGrant};
use utoipa::ToSchema;

use super::schema;

/// One script of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Action {
    /// Which script.
    #[schema(value_type = String)]
    pub script: ScriptRef,
    /// The agent that the script `ai-agent` works as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Values of the parameters that its manifest declares, as text; the manifest's defaults for the rest.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub parameters: IndexMap<String, String>,
    /// What the rule grants; absent: all that the manifest asks for and policy does not guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<schema::Grant>>)]
    pub grants: Option<Grants>,
    /// Requests to other services that the rule grants; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<schema::HttpGrant>)]
    pub http: Vec<HttpGrant>,
    /// Limits that the rule narrows.
    #[serde(default, skip_serializing_if = "no_limits")]
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub limits: LimitRequest,
}

/// A script by name and version: `lead-scoring`, `lead-scoring@latest`, `lead-scoring@3f2a…` (the beginning of the
/// component's SHA-256, 8 to 64 hexadecimal digits).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScriptRef {
    /// The name in the manifest.
    pub name: String,
    /// Which of its versions.
    pub version: Version,
}

/// Which version of a script.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// The active one, at the time of the event.
    Latest,
    /// The one whose hash begins so.
    Hash(String),
}

/// A text that names no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no script; write `name`, or `name@` and the first 8 to 64 digits of the component's hash")]
pub struct BadScriptRef(String);

impl FromStr for ScriptRef {
    type Err = BadScriptRef;

    fn from_str(text: &str) -> Result<Self, BadScriptRef> {
        let bad = || BadScriptRef(text.to_owned());
        let (name, version) = text.split_once('@').unwrap_or((text, "latest"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(bad());
        }
        let version = match version {
            "latest" => Version::Latest,
            hash if (8..=64).contains(&hash.len())
                && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) =>
            {
                Version::Hash(hash.to_owned())
            }
            _ => return Err(bad()),
        };
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for ScriptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Latest => f.write_str(&self.name),
            Version::Hash(hash) => write!(f, "{}@{hash}", self.name),
        }
    }
}

impl Serialize for ScriptRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScriptRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn no_limits(limits: &LimitRequest) -> bool {
    limits.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_names_with_a_version() {
        for text in ["lead-scoring", "lead-scoring@0123abcd"] {
            assert_eq!(text.parse::<ScriptRef>().unwrap().to_string(), text);
        }
        assert_eq!("a@latest".parse::<ScriptRef>().unwrap().version, Version::Latest);
        for wrong in ["", "A", "a@", "a@12", "a@zzzzzzzz", "a b", "../a"] {
            assert!(wrong.parse::<ScriptRef>().is_err(), "{wrong}");
        }
    }
}
