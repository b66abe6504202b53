//! Answers of a given shape: checked on our side, whatever the provider promised.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::{
    error::AskError,
    unfold::{Unfolded, extent},
};

/// The longest schema that is taken, in bytes.
const LONGEST_SCHEMA: usize = 64 << 10;
/// The schema's values, each held against each of the answer's, at most.
const MOST_STEPS: u64 = 100_000_000;
/// Up to so many it is said what is wrong where: all of that is looked for at once.
const MOST_TOLD: u64 = 1_000_000;
/// How deep the schema is gone into, and from its end again from its start, at most: the stack has to do.
const MOST_LEVELS: u64 = 400;

/// A schema that answers are held to.
pub(crate) struct Shape {
    validator: Validator,
    unfolded: Unfolded,
}

impl Shape {
    /// Prepares a schema.
    pub(crate) fn new(schema: &str) -> Result<Self, AskError> {
        let bad = |why: String| AskError::BadRequest(format!("the answer's schema: {why}"));
        if schema.len() > LONGEST_SCHEMA {
            return Err(bad(format!("it has {} bytes; at most {LONGEST_SCHEMA} are taken", schema.len())));
        }
        let schema: Value = serde_json::from_str(schema).map_err(|error| bad(format!("it is no JSON: {error}")))?;
        let unfolded = Unfolded::of(&schema).map_err(&bad)?;
        // Patterns come from a script: only ones that are matched in linear time.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| bad(error.to_string()))?;
        Ok(Self { validator, unfolded })
    }

    /// The answer as plain JSON text.
    ///
    /// # Errors
    /// What is wrong with it, for the model to read.
    pub(crate) fn check(&self, answer: &str) -> Result<String, String> {
        let text = without_fence(answer);
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let Unfolded { values, depth, returns } = self.unfolded;
        let (of_answer, deep) = extent(&value);
        let steps = values.saturating_mul(of_answer);
        let levels = if returns == 0 { depth } else { depth.saturating_mul(deep + 1) };
        if steps > MOST_STEPS || levels > MOST_LEVELS {
            return Err("it is too large, or too deep, to be held to the schema".to_owned());
        }
        if self.validator.is_valid(&value) {
            return Ok(text.to_owned());
        }
        // Where a schema comes back to itself in several places, each level of an answer may be gone into that many times more.
        let ways = returns.max(1).saturating_pow(u32::try_from(deep).unwrap_or(u32::MAX));
        if steps.saturating_mul(ways) > MOST_TOLD {
            return Err("it does not satisfy the schema somewhere".to_owned());
        }
        let problems =
            self.validator.iter_errors(&value).take(5).map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => error.to_string(),
                path => format!("at {path}: {error}"),
            });
        Err(problems.collect::<Vec<_>>().join("; "))
    }
}

/// Models like to put JSON into a code fence.
fn without_fence(answer: &str) -> &str {
    let text = answer.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else { return text };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "object", "required": ["score"], "additionalProperties": false,
        "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 100}}}"#;

    #[test]
    fn answers_are_held_to_the_schema() {
        let shape = Shape::new(SCHEMA).unwrap();
        assert_eq!(shape.check(r#"{"score": 7}"#).unwrap(), r#"{"score": 7}"#);
        assert_eq!(shape.check("```json\n{\"score\": 7}\n```").unwrap(), r#"{"score": 7}"#);
        assert!(shape.check(r#"{"score": 101}"#).unwrap_err().contains("at /score: 101 is greater"));
        assert!(shape.check("seven").unwrap_err().contains("no JSON"));
    }

    #[test]
    fn schemas_cannot_reach_out_or_take_long() {
        let reason = |schema: &str| Shape::new(schema).err().unwrap().to_string();
        assert!(
            reason(r#"{"$ref": "file:///etc/passwd"}"#).contains("schema"),
            "{}",
            reason(r#"{"$ref": "file:///etc/passwd"}"#)
        );
        assert!(reason(r#"{"$ref": "http://169.254.169.254/"}"#).contains("schema"));
        assert!(reason(r##"{"$ref": "#name"}"##).contains("as in `#/$defs/name`"));
        assert!(reason(r#"{"pattern": "(a+)+\\1"}"#).contains("schema"));
        assert!(reason(&format!("\"{}\"", "x".repeat(LONGEST_SCHEMA))).contains("at most"));
        // A pattern that takes a backtracking matcher for ever.
        let shape = Shape::new(r#"{"pattern": "^(a+)+$"}"#).unwrap();
        assert!(shape.check(&format!("\"{}b\"", "a".repeat(50_000))).is_err());
    }

    #[test]
    fn a_schema_of_itself_is_held_to_however_often_it_comes_back() {
        let tree = r##"{"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}"##;
        let tree = Shape::new(tree).unwrap();
        assert!(tree.check(r#"{"left": {"n": 1, "right": {}}, "right": {"n": 2}}"#).is_ok());
        assert!(tree.check(r#"{"left": {"right": {"n": "two"}}}"#).unwrap_err().starts_with("at /left/right/n: "));

        // Each level is held to it twice, whatever is in it: 2^30 ways to the last one.
        let part = r##"{"properties": {"a": {"$ref": "#"}}}"##;
        let twice = format!(r#"{{"allOf": [{part}, {part}], "properties": {{"n": {{"type": "integer"}}}}}}"#);
        let twice = Shape::new(&twice).unwrap();
        let deep = |depth: usize, end: &str| format!("{}{end}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(twice.check(&deep(30, r#"{"n": 1}"#)).is_ok());
        assert!(twice.check(&deep(30, r#"{"n": "one"}"#)).unwrap_err().contains("somewhere"));
        assert!(twice.check(&deep(3, r#"{"n": "one"}"#)).unwrap_err().contains("at /a/a/a/n: "));
        assert!(twice.check(&deep(120, r#"{"n": 1}"#)).unwrap_err().contains("too deep"));
    }
}
