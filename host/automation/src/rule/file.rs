//! The file form of a rule, or of an agent: TOML that is the same, byte for byte, whenever the rule is the same.

use serde::{Serialize, de::DeserializeOwned};

use super::Rule;

/// A file that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

/// Reads a rule's file.
///
/// # Errors
/// [`BadRule`], with line and column.
pub fn parse(text: &str) -> Result<Rule, BadRule> {
    read(text)
}

/// Reads a rule as the API speaks it.
///
/// # Errors
/// [`BadRule`], with line and column.
pub fn parse_json(text: &str) -> Result<Rule, BadRule> {
    serde_json::from_str(text).map_err(|error| BadRule(error.to_string()))
}

/// Reads the file of a rule or an agent.
///
/// # Errors
/// [`BadRule`], with line and column.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, BadRule> {
    toml::from_str(text).map_err(|error| BadRule(error.to_string().trim_end().to_owned()))
}

/// Writes the file of a rule or an agent: only what differs from the defaults, in the order of the reference, long texts and lists on lines
/// of their own, so that a change of one thing is a change of one line.
///
/// # Errors
/// [`BadRule`]: a value that TOML cannot hold.
pub fn write<T: Serialize>(rule: &T) -> Result<String, BadRule> {
    toml::to_string_pretty(rule).map_err(|error| BadRule(error.to_string()))
}
