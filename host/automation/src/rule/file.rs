//! The file form of a rule, or of an agent: TOML that is the same, byte for byte, whenever the rule is the same.

use std::ops::Range;

use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{
    Finding, Rule,
    unknown::{self, Part},
};

/// A file that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

/// A rule as far as its file can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The rule, without the keys that no rule has.
    pub rule: Rule,
    /// These keys. With any, the rule cannot be saved.
    pub unknown: Vec<Finding>,
}

impl From<Rule> for Read {
    fn from(rule: Rule) -> Self {
        Self { rule, unknown: Vec::new() }
    }
}

/// Reads a rule's file as far as that can be done, so that all that is wrong with it is said at once.
///
/// # Errors
/// [`BadRule`], with line and column.
pub fn parse_all(text: &str) -> Result<Read, BadRule> {
    let error = match parse(text) {
        Ok(rule) => return Ok(rule.into()),
        Err(error) => error,
    };
    let (Ok(document), Ok(mut table)) = (toml::from_str::<Json>(text), DeTable::parse(text)) else {
        return Err(error);
    };
    let cut_out = |one: unknown::Unknown| {
        let at = cut(table.get_mut(), &one.path);
        one.finding(at.map(|span| line_and_column(text, span.start)))
    };
    let unknown: Vec<_> = unknown::all(&document).into_iter().map(cut_out).collect();
    let rule = Rule::deserialize(Deserializer::from(table)).map_err(|mut error| {
        error.set_input(Some(text));
        error.to_string()
    });
    read_without(unknown, rule, error)
}

/// The same of a rule as the API speaks it.
///
/// # Errors
/// [`BadRule`]
pub fn parse_json_all(text: &str) -> Result<Read, BadRule> {
    let error = match parse_json(text) {
        Ok(rule) => return Ok(rule.into()),
        Err(error) => error,
    };
    let Ok(mut document) = serde_json::from_str::<Json>(text) else { return Err(error) };
    let unknown = unknown::all(&document);
    unknown.iter().for_each(|one| cut_json(&mut document, &one.path));
    let unknown: Vec<_> = unknown.iter().map(|one| one.finding(None)).collect();
    let rule = serde_json::from_value(document).map_err(|error| error.to_string());
    read_without(unknown, rule, error)
}

/// What came of reading a rule without its unknown keys. Where there is none, what was wrong at first still is.
fn read_without(unknown: Vec<Finding>, rule: Result<Rule, String>, at_first: BadRule) -> Result<Read, BadRule> {
    match rule {
        _ if unknown.is_empty() => Err(at_first),
        Ok(rule) => Ok(Read { rule, unknown }),
        Err(error) => {
            let mut lines: Vec<_> = unknown.iter().map(ToString::to_string).collect();
            lines.push(error.trim_end().to_owned());
            Err(BadRule(lines.join("\n")))
        }
    }
}

/// Takes a key out of a file. Where it was.
fn cut(table: &mut DeTable<'_>, path: &[Part]) -> Option<Range<usize>> {
    match path {
        [Part::Key(name)] => table.remove_entry(name.as_str()).map(|(key, _)| key.span()),
        [Part::Key(name), rest @ ..] => cut_in(table.get_mut(name.as_str())?.get_mut(), rest),
        _ => None,
    }
}

fn cut_in(value: &mut DeValue<'_>, path: &[Part]) -> Option<Range<usize>> {
    match (value, path) {
        (DeValue::Table(table), _) => cut(table, path),
        (DeValue::Array(list), [Part::Index(at), rest @ ..]) => cut_in(list.get_mut(*at)?.get_mut(), rest),
        _ => None,
    }
}

fn cut_json(value: &mut Json, path: &[Part]) {
    match (value, path) {
        (Json::Object(object), [Part::Key(name)]) => {
            object.remove(name);
        }
        (Json::Object(object), [Part::Key(name), rest @ ..]) => {
            if let Some(value) = object.get_mut(name) {
                cut_json(value, rest);
            }
        }
        (Json::Array(list), [Part::Index(at), rest @ ..]) => {
            if let Some(value) = list.get_mut(*at) {
                cut_json(value, rest);
            }
        }
        _ => {}
    }
}

/// Both from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

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
