//! How much a schema comes to when its references are followed. Whoever holds an answer to it goes every way that there is: a few
//! references to references are more ways than anybody can go.

use std::ptr;

use serde_json::Value;

/// Values of a schema, each as often as a way leads to it. Without references no schema that is taken has more.
const MOST: u64 = 50_000;
/// How deep they are within each other.
const DEEPEST: u64 = 250;

/// A schema, its references followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unfolded {
    /// Its values, each as often as a way leads to it.
    pub(crate) values: u64,
    /// How deep they are within each other.
    pub(crate) depth: u64,
    /// How often a way comes back to where it has been.
    pub(crate) returns: u64,
}

impl Unfolded {
    /// Follows the references of a schema.
    ///
    /// # Errors
    /// It comes to too much, or refers to what is not in it.
    pub(crate) fn of(schema: &Value) -> Result<Self, String> {
        let draft = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let name = if draft.contains("draft-04") { "id" } else { "$id" };
        if let Value::Object(members) = schema {
            members.values().try_for_each(|member| is_one(member, name))?;
        }
        let mut walk = Walk { whole: schema, open: vec![schema], found: Self::default() };
        walk.value(schema, 0)?;
        Ok(walk.found)
    }
}

/// Whether a part of a schema is not another one, in which references mean something else. `name`: what such a one has.
fn is_one(part: &Value, name: &str) -> Result<(), String> {
    match part {
        Value::Array(items) => items.iter().try_for_each(|item| is_one(item, name)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            if member.is_string() && (key == name || key == "$schema") {
                return Err(format!("only the whole of it has a `{key}`"));
            }
            is_one(member, name)
        }),
        _ => Ok(()),
    }
}

struct Walk<'s> {
    whole: &'s Value,
    /// What is being followed.
    open: Vec<&'s Value>,
    found: Unfolded,
}

impl<'s> Walk<'s> {
    fn value(&mut self, value: &'s Value, depth: u64) -> Result<(), String> {
        self.found.values += 1;
        self.found.depth = self.found.depth.max(depth);
        if self.found.values > MOST {
            return Err(format!("with its references followed it has more than {MOST} values"));
        }
        if depth > DEEPEST {
            return Err(format!("with its references followed it is more than {DEEPEST} deep"));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.value(item, depth + 1)),
            Value::Object(members) => {
                members.iter().try_for_each(|(name, member)| self.member(name, member, depth + 1))
            }
            _ => Ok(()),
        }
    }

    fn member(&mut self, name: &str, member: &'s Value, depth: u64) -> Result<(), String> {
        // Nothing goes there but by reference.
        if depth == 1 && matches!(name, "$defs" | "definitions") {
            return Ok(());
        }
        self.value(member, depth)?;
        match (name, member) {
            ("$ref", Value::String(reference)) => self.follow(reference, depth),
            ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                Err(format!("`{name}` is not followed; write `$ref`"))
            }
            _ => Ok(()),
        }
    }

    fn follow(&mut self, reference: &str, depth: u64) -> Result<(), String> {
        let whole = self.whole;
        let pointer = reference.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
        let unknown = || format!("`{reference}` is no part of it; a `$ref` names one, as in `#/$defs/name`");
        let found = pointer.and_then(|pointer| whole.pointer(pointer)).ok_or_else(unknown)?;
        if self.open.iter().any(|open| ptr::eq(*open, found)) {
            self.found.returns += 1;
            return Ok(());
        }
        self.open.push(found);
        self.value(found, depth + 1)?;
        self.open.pop();
        Ok(())
    }
}

/// How many values there are in one, itself included, and how deep they are within each other.
pub(crate) fn extent(value: &Value) -> (u64, u64) {
    let with = |(values, depth): (u64, u64), inner: &Value| {
        let (more, deep) = extent(inner);
        (values + more, depth.max(deep + 1))
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 0), with),
        Value::Object(members) => members.values().fold((1, 0), with),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_followed_as_often_as_there_is_a_way() {
        let of = |schema: Value| Unfolded::of(&schema).expect("it is taken");
        assert_eq!(of(json!({ "type": "object" })), Unfolded { values: 2, depth: 1, returns: 0 });
        // The whole, its list, two objects with their references, and what these name, with a type.
        let to = json!({ "$ref": "#/$defs/a" });
        let twice = json!({ "allOf": [to.clone(), to], "$defs": { "a": { "type": "x" } } });
        assert_eq!(of(twice), Unfolded { values: 10, depth: 5, returns: 0 });
        let node = json!({ "properties": { "left": { "$ref": "#/$defs/n" }, "right": { "$ref": "#/$defs/n" } } });
        assert_eq!(of(json!({ "$ref": "#/$defs/n", "$defs": { "n": node } })).returns, 2);
        assert_eq!(of(json!({ "items": { "$ref": "#" } })).returns, 1);
    }

    #[test]
    fn what_is_more_than_anybody_can_follow_is_refused() {
        let refused = |schema: &Value| Unfolded::of(schema).expect_err("it is refused");
        let mut defs = serde_json::Map::new();
        for n in 0..60 {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            defs.insert(format!("d{n}"), json!({ "allOf": [next.clone(), next] }));
        }
        defs.insert("d60".to_owned(), json!(true));
        assert!(refused(&json!({ "$ref": "#/$defs/d0", "$defs": defs })).contains("more than 50000 values"));
        let mut defs = serde_json::Map::new();
        for n in 0..1_000 {
            defs.insert(format!("d{n}"), json!({ "$ref": format!("#/$defs/d{}", n + 1) }));
        }
        defs.insert("d1000".to_owned(), json!(true));
        assert!(refused(&json!({ "$ref": "#/$defs/d0", "$defs": defs })).contains("more than 250 deep"));
        for schema in [
            json!({ "$ref": "https://example.com/schema" }),
            json!({ "$ref": "other.json" }),
            json!({ "$ref": "#name", "$defs": { "a": { "$anchor": "name" } } }),
            json!({ "$ref": "#/$defs/a%20b", "$defs": { "a b": true, "a%20b": true } }),
            json!({ "$dynamicRef": "#a" }),
            json!({ "items": { "$id": "https://example.com/part" } }),
            json!({ "$ref": "#/$defs/a/b", "$defs": { "a": { "$id": "a", "b": { "$ref": "#/c" } } }, "c": true }),
            json!({ "$schema": "http://json-schema.org/draft-04/schema#", "items": { "id": "part" } }),
        ] {
            refused(&schema);
        }
        // A field of this name is no keyword.
        let properties = json!({ "$id": { "const": "a" }, "$ref": { "type": "string" } });
        Unfolded::of(&json!({ "$id": "https://example.com/", "properties": properties })).expect("it is taken");
    }

    #[test]
    fn an_answer_is_as_large_as_it_is() {
        assert_eq!(extent(&json!(1)), (1, 0));
        assert_eq!(extent(&json!({ "a": [1, { "b": 2 }], "c": 3 })), (6, 3));
    }
}
