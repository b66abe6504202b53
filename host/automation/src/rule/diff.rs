//! Two versions of a rule or of an agent, compared in words.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where, in the words of the rule's file: `actions[0].parameters.threshold`.
    pub place: String,
    /// Before; none: it was not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// After; none: it is not said any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} → {new}", self.place),
            (None, Some(new)) => write!(f, "{}: {new} (new)", self.place),
            (Some(old), None) => write!(f, "{}: {old} (gone)", self.place),
            (None, None) => Ok(()),
        }
    }
}

/// What differs between two versions of a rule, or of an agent, in the order of its file.
#[must_use]
pub fn differences<T: Serialize>(old: &T, new: &T) -> Vec<Difference> {
    let json = |rule: &T| serde_json::to_value(rule).unwrap_or_default();
    let mut found = Vec::new();
    compare("", &json(old), &json(new), &mut found);
    found
}

/// All that a rule or an agent says, as what a new one differs by from none.
#[must_use]
pub fn all_of(rule: &impl Serialize) -> Vec<Difference> {
    let mut found = Vec::new();
    let none = Json::Object(serde_json::Map::new());
    compare("", &none, &serde_json::to_value(rule).unwrap_or_default(), &mut found);
    found
}

fn compare(place: &str, old: &Json, new: &Json, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    let under = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match (old, new) {
        (Json::Object(before), Json::Object(after)) => {
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            for key in after.keys().chain(gone) {
                let (old, new) = (before.get(key), after.get(key));
                compare(&under(key), old.unwrap_or(&Json::Null), new.unwrap_or(&Json::Null), found);
            }
        }
        // Actions differ one by one; a list of names is one thing.
        (Json::Array(before), Json::Array(after)) if is_tables(before) && is_tables(after) => {
            for index in 0..before.len().max(after.len()) {
                let (old, new) = (before.get(index), after.get(index));
                compare(&format!("{place}[{index}]"), old.unwrap_or(&Json::Null), new.unwrap_or(&Json::Null), found);
            }
        }
        // What begins or ends as a whole is told piece by piece.
        (Json::Null, Json::Object(_)) => compare(place, &Json::Object(serde_json::Map::new()), new, found),
        (Json::Object(_), Json::Null) => compare(place, old, &Json::Object(serde_json::Map::new()), found),
        (Json::Null, Json::Array(after)) if is_tables(after) => compare(place, &Json::Array(Vec::new()), new, found),
        (Json::Array(before), Json::Null) if is_tables(before) => compare(place, old, &Json::Array(Vec::new()), found),
        _ => found.push(Difference { place: place.to_owned(), old: words(old), new: words(new) }),
    }
}

fn is_tables(items: &[Json]) -> bool {
    items.iter().all(Json::is_object)
}

fn words(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) if text.is_empty() => Some("(empty)".to_owned()),
        Json::String(text) => Some(text.replace('\n', "⏎ ")),
        Json::Array(items) => Some(items.iter().filter_map(words).collect::<Vec<_>>().join(", ")),
        other => Some(other.to_string()),
    }
}
