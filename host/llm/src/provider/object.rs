//! A request's body as it is sent, written field by field: a conversation may be long, and a tree of it would be thrown away
//! at once.

use serde::Serialize;

/// A JSON object that is being written.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self(String::new())
    }

    /// Adds a field.
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.put_json(name, &json(value));
    }

    /// Adds a field whose value is JSON already.
    pub(super) fn put_json(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&json(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    /// The whole of it.
    pub(super) fn end(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

/// A list of what is JSON already.
pub(super) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

/// What is JSON already, as one text.
pub(super) fn item<T: Serialize>(value: &T) -> String {
    json(value)
}

/// What is written here has texts, numbers and names for keys: all of it is JSON.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_come() {
        let mut object = Object::new();
        object.put("text", "a \"b\"");
        object.put_json("list", &list(&["1".into(), "{}".into()]));
        object.put("none", &None::<u32>);
        assert_eq!(object.end(), r#"{"text":"a \"b\"","list":[1,{}],"none":null}"#);
        assert_eq!(Object::new().end(), "{}");
    }
}
