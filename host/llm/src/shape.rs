//! Answers of a given shape: checked on our side, whatever the provider promised.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::error::AskError;

/// The longest schema that is taken, in bytes.
const LONGEST_SCHEMA: usize = 64 << 10;

/// A schema that answers are held to.
pub(crate) struct Shape(Validator);

impl Shape {
    /// Prepares a schema.
    pub(crate) fn new(schema: &str) -> Result<Self, AskError> {
        let bad = |why: String| AskError::BadRequest(format!("the answer's schema: {why}"));
        if schema.len() > LONGEST_SCHEMA {
            return Err(bad(format!("it has {} bytes; at most {LONGEST_SCHEMA} are taken", schema.len())));
        }
        let schema: Value = serde_json::from_str(schema).map_err(|error| bad(format!("it is no JSON: {error}")))?;
        // Patterns come from a script: only ones that are matched in linear time.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        options.build(&schema).map(Self).map_err(|error| bad(error.to_string()))
    }

    /// The answer as plain JSON text.
    ///
    /// # Errors
    /// What is wrong with it, for the model to read.
    pub(crate) fn check(&self, answer: &str) -> Result<String, String> {
        let text = without_fence(answer);
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let problems: Vec<_> = self
            .0
            .iter_errors(&value)
            .take(5)
            .map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => error.to_string(),
                path => format!("at {path}: {error}"),
            })
            .collect();
        if problems.is_empty() { Ok(text.to_owned()) } else { Err(problems.join("; ")) }
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
        assert!(reason(r#"{"pattern": "(a+)+\\1"}"#).contains("schema"));
        assert!(reason(&format!("\"{}\"", "x".repeat(LONGEST_SCHEMA))).contains("at most"));
        // A pattern that takes a backtracking matcher for ever.
        let shape = Shape::new(r#"{"pattern": "^(a+)+$"}"#).unwrap();
        assert!(shape.check(&format!("\"{}b\"", "a".repeat(50_000))).is_err());
    }
}
