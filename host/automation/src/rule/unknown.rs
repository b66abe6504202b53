//! Keys of a rule's file that no rule has: all of them at once. Which keys there are is what the API's document says of a rule.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use triggerbox_model::text::nearest;
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{
    Rule,
    check::{Finding, Severity},
};

/// A step on the way to a value.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Key(String),
    Index(usize),
}

/// A key that nothing there has.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The way to it, its name included.
    pub(super) path: Vec<Part>,
    /// What to use instead.
    hint: String,
}

impl Unknown {
    /// The same as something that keeps the rule from being saved; with line and column, where they are known.
    pub(super) fn finding(&self, at: Option<(usize, usize)>) -> Finding {
        let mut place = String::new();
        for part in &self.path {
            place += &match part {
                Part::Key(name) if place.is_empty() => name.clone(),
                Part::Key(name) => format!(".{name}"),
                Part::Index(at) => format!("[{at}]"),
            };
        }
        let at = at.map(|(line, column)| format!(" at line {line}, column {column}")).unwrap_or_default();
        let message = format!("unknown key{at}; {}", self.hint);
        Finding { severity: Severity::Error, code: "unknown-key", place, message }
    }
}

/// The unknown keys of a rule's file, in its order. Of a trigger that there is not, nothing is said.
pub(super) fn all(document: &Json) -> Vec<Unknown> {
    let mut shapes = vec![(Rule::name().into_owned(), Rule::schema())];
    Rule::schemas(&mut shapes);
    let shapes = serde_json::to_value(shapes.into_iter().collect::<BTreeMap<_, _>>()).unwrap_or_default();
    let mut look = Look { shapes: &shapes, path: Vec::new(), found: Vec::new() };
    if let Some(rule) = shapes.get("Rule") {
        look.at(document, rule);
    }
    look.found
}

struct Look<'s> {
    /// By name.
    shapes: &'s Json,
    path: Vec<Part>,
    found: Vec<Unknown>,
}

impl<'s> Look<'s> {
    fn at(&mut self, value: &Json, shape: &'s Json) {
        match value {
            Json::Object(object) => {
                let Some(known) = keys(self.shapes, shape, object) else { return };
                for (name, value) in object {
                    self.path.push(Part::Key(name.clone()));
                    match known.iter().find(|(key, _)| *key == name.as_str()) {
                        Some(&(_, shape)) => self.at(value, shape),
                        None => self.found.push(Unknown { path: self.path.clone(), hint: hint(name, &known) }),
                    }
                    self.path.pop();
                }
            }
            Json::Array(list) => {
                let Some(items) = shape.get("items") else { return };
                for (at, value) in list.iter().enumerate() {
                    self.path.push(Part::Index(at));
                    self.at(value, items);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}

/// The keys that an object may have, each with what it may hold; none: it may have any, or nobody knows.
fn keys<'s>(shapes: &'s Json, shape: &'s Json, object: &Map<String, Json>) -> Option<Vec<(&'s str, &'s Json)>> {
    if let Some(name) = shape.get("$ref").and_then(Json::as_str).and_then(|path| path.rsplit('/').next()) {
        return keys(shapes, shapes.get(name)?, object);
    }
    if let Some(properties) = shape.get("properties").and_then(Json::as_object) {
        // Triggers are told apart by `on`.
        let names = properties.get("on").and_then(|on| on.get("enum")).and_then(Json::as_array);
        let fits = names.is_none_or(|names| object.get("on").is_some_and(|on| names.contains(on)));
        return fits.then(|| properties.iter().map(|(key, shape)| (key.as_str(), shape)).collect());
    }
    let parts = |of: &str| shape.get(of).and_then(Json::as_array);
    let of_each: Vec<Vec<_>> = match parts("allOf") {
        Some(parts) => parts.iter().map(|part| keys(shapes, part, object)).collect::<Option<_>>()?,
        None => parts("oneOf")?.iter().filter_map(|part| keys(shapes, part, object)).collect(),
    };
    let all: Vec<_> = of_each.into_iter().flatten().collect();
    (!all.is_empty()).then_some(all)
}

fn hint(name: &str, known: &[(&str, &Json)]) -> String {
    match nearest(name, known.iter().map(|(key, _)| *key)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")),
    }
}
