//! Texts with placeholders of record fields, and lists of assignments.
//!
//! `Call {partner_id.name} about {name}` holds the paths `partner_id.name` and `name`; `{{` and `}}` are braces. That is
//! all there is: no conditions, no code, and what is filled in is never looked at again. The host reads the same texts to
//! know which rights a rule needs.

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(String),
    Path(String),
}

/// `field = text`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The field's name.
    pub field: String,
    /// What it becomes.
    pub text: Text,
}

/// A text that is wrong: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl Text {
    /// Reads a text.
    ///
    /// # Errors
    /// A brace that is not closed, and a placeholder that is no path of fields; with the position, in characters from 1.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().enumerate().peekable();
        while let Some((index, c)) = chars.next() {
            let position = index + 1;
            let doubled = chars.next_if(|(_, next)| *next == c && matches!(c, '{' | '}')).is_some();
            match c {
                '{' if !doubled => {
                    let mut path = String::new();
                    loop {
                        match chars.next() {
                            Some((_, '}')) => break,
                            Some((_, c)) => path.push(c),
                            None => {
                                let hint = "close it with `}`, or write `{{` for a brace";
                                return Err(Wrong(format!(
                                    "the placeholder at character {position} is not closed; {hint}"
                                )));
                            }
                        }
                    }
                    let path = path.trim();
                    if !is_path(path) {
                        let hint = "write a field's name, such as `{name}` or `{partner_id.name}`";
                        return Err(Wrong(format!("`{{{path}}}` at character {position} is no field; {hint}")));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Plain(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Path(path.to_owned()));
                }
                '}' if !doubled => {
                    return Err(Wrong(format!("a single `}}` at character {position}; write `}}}}` for a brace")));
                }
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Ok(Self { parts })
    }

    /// The paths of its placeholders, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Path(path) => Some(path.as_str()),
            Part::Plain(_) => None,
        })
    }

    /// The path, if the text is one placeholder and nothing else: then a value can be taken over as it is.
    pub fn only_path(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Path(path)] => Some(path),
            _ => None,
        }
    }

    /// The text without placeholders, if it has none.
    pub fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with values in place of paths.
    ///
    /// # Errors
    /// The first that `value` returns.
    pub fn fill<E>(&self, mut value: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Path(path) => text.push_str(&value(path)?),
            }
        }
        Ok(text)
    }
}

/// Reads lines of `field = text`. Empty lines and those that begin with `#` say nothing.
///
/// # Errors
/// A line without `=`, a name that is no field's, a field that is set twice, a text that is wrong; with the line.
pub fn assignments(text: &str) -> Result<Vec<Assignment>, Wrong> {
    let mut found: Vec<Assignment> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem: String| Wrong(format!("line {}: {problem}", index + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((field, text)) = line.split_once('=') else {
            return Err(wrong(format!("`{line}` sets nothing; write `field = value`")));
        };
        let field = field.trim();
        if field.contains('.') || !is_path(field) {
            return Err(wrong(format!("`{field}` is no field's name")));
        }
        if found.iter().any(|known| known.field == field) {
            return Err(wrong(format!("`{field}` is set twice")));
        }
        let text = Text::parse(text.trim()).map_err(|error| wrong(error.0))?;
        found.push(Assignment { field: field.to_owned(), text });
    }
    Ok(found)
}

/// Whether a text is a field's name, or several of them with dots between.
pub fn is_path(text: &str) -> bool {
    text.len() <= 256
        && text.split('.').all(|name| {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
                && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        Text::parse(text).unwrap().fill(|path| Ok::<_, ()>(format!("<{path}>"))).unwrap()
    }

    #[test]
    fn paths_are_filled_in_and_nothing_else_is() {
        assert_eq!(filled("Call {partner_id.name} about { name }"), "Call <partner_id.name> about <name>");
        assert_eq!(filled("{{name}} costs }}{x}"), "{name} costs }<x>");
        assert_eq!(filled(""), "");
        let text = Text::parse("{name}").unwrap();
        assert_eq!(text.fill(|_| Ok::<_, ()>("{secret}".to_owned())).unwrap(), "{secret}", "never looked at again");
        assert_eq!(text.only_path(), Some("name"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str| Text::parse(text).unwrap_err().0;
        assert!(wrong("Hi {name").contains("at character 4"));
        assert!(wrong("a } b").contains("at character 3"));
        for text in ["{}", "{a b}", "{name|upper}", "{__import__('os')}", "{a..b}", "{0}"] {
            assert!(wrong(text).contains("is no field"), "{text}");
        }
    }

    #[test]
    fn assignments_are_lines() {
        let found = assignments("# why\nname = {name} = new\n\n priority = 2 ").unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.field.as_str(), one.text.paths().count())).collect();
        assert_eq!(shown, [("name", 1), ("priority", 0)]);
        let wrong = |text: &str| assignments(text).unwrap_err().0;
        assert_eq!(wrong("name"), "line 1: `name` sets nothing; write `field = value`");
        assert_eq!(wrong("a = 1\na = 2"), "line 2: `a` is set twice");
        assert_eq!(wrong("a.b = 1"), "line 1: `a.b` is no field's name");
    }
}
