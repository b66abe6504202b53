//! Takes what is personal out of a recording, and leaves what scripts decide by.
//!
//! Every word that records, people and other services brought into the run is replaced by letters of the same length and
//! case, the same word by the same letters wherever it stands: in answers, in what the script asked and in what it wrote.
//! So texts can still be split, joined, compared and changed in case. What stays: numbers, dates, ids, choices, names of
//! models and fields, numbers of up to four digits in texts, and the rule's parameters. The letters follow from a key that
//! is thrown away.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
};

use serde_json::{Map, Value as Json};
use triggerbox_automation::journal::Recording;
use triggerbox_model::{call::Call, schema::Schema};

/// Keys whose texts are the format's own.
const TAGS: [&str; 20] = [
    "kind", "call", "answer", "type", "ending", "failure", "class", "format", "finish", "scope", "script", "engine",
    "run_id", "rule", "model", "method", "code", "currency", "now", "lang",
];

/// Digits in texts that stay.
const SHORT_NUMBER: usize = 4;

/// Replaces words. Each has a key of its own.
pub struct Redactor {
    key: RandomState,
    /// Technical names and choices, which stay.
    known: BTreeSet<String>,
}

impl Redactor {
    /// Knows which words are technical.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let mut known = BTreeSet::new();
        for (model, described) in &schema.models {
            known.extend(words(model).map(str::to_owned));
            for (name, field) in &described.fields {
                known.insert(name.clone());
                known.extend(field.selection.iter().flat_map(|(key, _)| words(key)).map(str::to_owned));
            }
        }
        Self { key: RandomState::new(), known }
    }

    /// A recording without what is personal.
    ///
    /// # Errors
    /// It is not what it says; never, for one that was recorded.
    pub fn recording(&self, recording: &Recording) -> Result<Recording, serde_json::Error> {
        let mut personal = Personal { known: &self.known, words: HashSet::new() };
        for entry in recording.entries.iter().flat_map(|entry| std::iter::once(entry).chain(&entry.within)) {
            // Labels and help texts are no one's.
            if !matches!(entry.call, Call::FieldsGet { .. }) {
                personal.collect(&serde_json::to_value(&entry.reply)?, "");
            }
        }
        let event = serde_json::to_value(&recording.event)?;
        for part in ["trigger", "old_values", "actor", "run_as", "company", "previous"] {
            personal.collect(event.get(part).unwrap_or(&Json::Null), part);
        }
        let words = personal.words;
        let mut whole = serde_json::to_value(recording)?;
        let parameters = recording.event.parameters.clone();
        self.replace(&mut whole, "", &words);
        let redacted: Recording = serde_json::from_value(whole)?;
        Ok(Recording {
            event: triggerbox_model::event::Event { parameters, ..redacted.event },
            // Binary limits and facts of the machine are kept as they were.
            ..redacted
        })
    }

    fn replace(&self, value: &mut Json, key: &str, words: &HashSet<String>) {
        match value {
            Json::String(text) if !TAGS.contains(&key) => *text = self.text(text, words),
            Json::Array(items) => match bytes(items).filter(|_| key == "body" || key == "content") {
                Some(body) => {
                    let redacted = match String::from_utf8(body) {
                        Ok(text) => self.text(&text, words).into_bytes(),
                        Err(binary) => vec![0; binary.as_bytes().len()],
                    };
                    *items = redacted.into_iter().map(Json::from).collect();
                }
                None => items.iter_mut().for_each(|item| self.replace(item, key, words)),
            },
            Json::Object(map) if is_binary(map) => {
                // The same length, and nothing of what was in it.
                if let Some(Json::String(text)) = map.get_mut("value") {
                    let padding = text.len() - text.trim_end_matches('=').len();
                    let letters = text.len().saturating_sub(padding);
                    *text = format!("{}{}", "A".repeat(letters), "=".repeat(padding));
                }
            }
            Json::Object(map) => {
                for (name, value) in map.iter_mut() {
                    self.replace(value, name, words);
                }
            }
            _ => {}
        }
    }

    /// A text with each personal word replaced.
    fn text(&self, text: &str, words: &HashSet<String>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut word = String::new();
        for c in text.chars().chain(std::iter::once('\0')) {
            if is_letter(c) {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                let personal = words.contains(&word.to_lowercase());
                out += &if personal { self.word(&word) } else { word.clone() };
                word.clear();
            }
            out.push(c);
        }
        out.pop();
        out
    }

    /// Letters for a word: the same for the same word, whatever its case.
    fn word(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        let letters = word.chars().enumerate().map(|(index, c)| {
            let draw = self.key.hash_one((index, &lower));
            let nth = |count: u64| u8::try_from(draw % count).unwrap_or_default();
            match c {
                '_' => '_',
                c if c.is_numeric() => char::from(b'0' + nth(10)),
                c if c.is_uppercase() => char::from(b'A' + nth(26)),
                _ => char::from(b'a' + nth(26)),
            }
        });
        letters.collect()
    }
}

/// Collects words that are somebody's.
struct Personal<'a> {
    known: &'a BTreeSet<String>,
    words: HashSet<String>,
}

impl Personal<'_> {
    fn collect(&mut self, value: &Json, key: &str) {
        match value {
            Json::String(text) if !TAGS.contains(&key) => self.text(text),
            Json::Array(items) => match bytes(items).filter(|_| key == "body" || key == "content") {
                Some(body) => self.text(&String::from_utf8(body).unwrap_or_default()),
                None => items.iter().for_each(|item| self.collect(item, key)),
            },
            Json::Object(map) if is_binary(map) || is_moment(map) => {}
            Json::Object(map) => map.iter().for_each(|(name, value)| self.collect(value, name)),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        for word in words(text) {
            let short = word.chars().all(char::is_numeric) && word.chars().count() <= SHORT_NUMBER;
            if !short && word.chars().count() > 1 && !self.known.contains(word) {
                self.words.insert(word.to_lowercase());
            }
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_letter(c)).filter(|word| !word.is_empty())
}

/// Bytes, as JSON has them.
fn bytes(items: &[Json]) -> Option<Vec<u8>> {
    items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}

fn is_type(map: &Map<String, Json>, types: &[&str]) -> bool {
    map.get("type").and_then(Json::as_str).is_some_and(|kind| types.contains(&kind))
}

fn is_binary(map: &Map<String, Json>) -> bool {
    is_type(map, &["binary"])
}

/// Dates and times stay.
fn is_moment(map: &Map<String, Json>) -> bool {
    is_type(map, &["date", "datetime"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&Schema::new(indexmap::IndexMap::new()))
    }

    #[test]
    fn the_same_word_becomes_the_same_letters_wherever_it_stands() {
        let redactor = redactor();
        let words: HashSet<String> = ["ada", "byron", "25000"].map(str::to_owned).into();
        let [whole, part, mail] =
            ["Dear Ada Byron (25000)", "Byron", "ada@byron.example"].map(|text| redactor.text(text, &words));
        assert!(whole.starts_with("Dear ") && !whole.contains("Ada") && !whole.contains("25000"), "{whole}");
        assert!(whole.contains(&part), "{whole}: {part}");
        assert_eq!(mail.to_lowercase().split(['@', '.']).nth(1), Some(part.to_lowercase().as_str()));
        assert!(mail.ends_with(".example"));
    }

    #[test]
    fn short_numbers_and_technical_names_stay() {
        let known = BTreeSet::from(["sale".to_owned()]);
        let mut personal = Personal { known: &known, words: HashSet::new() };
        personal.text("80 of 100 for sale, call 025550135");
        let mut words: Vec<_> = personal.words.into_iter().collect();
        words.sort();
        assert_eq!(words, ["025550135", "call", "for", "of"]);
    }
}
