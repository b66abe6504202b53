//! What a scenario expects, and what came of it: the same data, so that it can be compared and written down.

use serde::Deserialize;
use toml::{Spanned, Table, Value};

/// What is expected. What a script changes and answers is compared in full: what is not listed must not happen. Its message,
/// result and log, and what only follows from its changes, are compared where they are listed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// The outcome's message.
    pub message: Option<Spanned<String>>,
    /// The outcome's warning.
    pub warning: Option<Spanned<String>>,
    /// The outcome's values.
    pub values: Option<Spanned<Table>>,
    /// The outcome's records.
    pub records: Option<Spanned<Vec<u32>>>,
    /// The outcome's result, as data.
    pub result: Option<Spanned<Value>>,
    /// The same as JSON text: for one with null in it, which TOML does not have.
    pub result_json: Option<Spanned<String>>,
    /// How it failed; without it, it must succeed.
    pub error: Option<Spanned<Ended>>,
    /// Records that were created, changed and deleted.
    pub changes: Vec<Spanned<Changed>>,
    /// Messages and notes that were posted.
    pub messages: Vec<Spanned<Posted>>,
    /// Activities that were scheduled or done.
    pub activities: Vec<Spanned<Todo>>,
    /// Followers that came or went.
    pub followers: Vec<Spanned<Follower>>,
    /// Requests to other services.
    pub requests: Vec<Spanned<Sent>>,
    /// Refusals that the script met, whether it handled them or not: `code: message`.
    pub refusals: Vec<Spanned<String>>,
    /// Its log: `level message`.
    pub log: Option<Spanned<Vec<String>>>,
}

/// How a run ended that did not succeed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// `user-error`, `failed`, `limit-exceeded`, `trapped`, `rejected`…
    pub code: String,
    /// The limit that stopped it.
    #[serde(default)]
    pub limit: Option<String>,
    /// The text; compared where it is given.
    #[serde(default)]
    pub message: Option<String>,
}

/// A record that changed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// `@name`, `crm.lead/7`, or for one that the run created `crm.lead/new`, the next `crm.lead/new-2`.
    pub record: String,
    /// Whether it is gone.
    #[serde(default)]
    pub deleted: bool,
    /// The fields as they are now: relations in words, an empty field as `false`.
    #[serde(default)]
    pub values: Table,
    /// Fields that the script did not set itself: defaults, and what is computed. Compared where they are expected.
    #[serde(skip)]
    pub consequences: Table,
}

impl Changed {
    /// With those consequences that are expected.
    #[must_use]
    pub fn seen_by(mut self, expected: &Self) -> Self {
        for (name, value) in &self.consequences {
            if expected.values.contains_key(name) {
                self.values.insert(name.clone(), value.clone());
            }
        }
        self
    }
}

/// A message or note.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posted {
    /// The record.
    pub on: String,
    /// Internal.
    #[serde(default)]
    pub note: bool,
    /// Plain text.
    pub text: String,
}

/// An activity.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Todo {
    /// The record.
    pub on: String,
    /// The type's name.
    pub kind: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// A date.
    #[serde(default)]
    pub deadline: Option<Value>,
    /// Whose.
    #[serde(default)]
    pub user: Option<String>,
    /// It was not scheduled but done.
    #[serde(default)]
    pub done: bool,
}

/// A follower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follower {
    /// The record.
    pub on: String,
    /// The partner's name.
    pub partner: String,
    /// It follows no more.
    #[serde(default)]
    pub removed: bool,
}

/// A request to another service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// `POST https://slack.com/api/chat.postMessage`
    pub request: String,
    /// The body as text.
    #[serde(default)]
    pub body: String,
}

/// As lines of a file: keys with values. What is compared, shown and written are these.
pub trait Lines {
    /// In the order of the file.
    fn lines(&self) -> Vec<(String, Value)>;
}

impl Lines for Ended {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("code", &self.code)];
        lines.extend(self.limit.as_ref().map(|limit| line("limit", limit)));
        lines.extend(self.message.as_ref().map(|message| line("message", message)));
        lines
    }
}

impl Lines for Changed {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("record", &self.record)];
        if self.deleted {
            lines.push(("deleted".to_owned(), Value::Boolean(true)));
        }
        let mut values: Vec<_> = self.values.iter().collect();
        values.sort_by_key(|(name, _)| name.as_str());
        lines.extend(values.into_iter().map(|(name, value)| (format!("values.{name}"), plain(value))));
        lines
    }
}

impl Lines for Posted {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("on", &self.on)];
        if self.note {
            lines.push(("note".to_owned(), Value::Boolean(true)));
        }
        lines.push(line("text", &self.text));
        lines
    }
}

impl Lines for Todo {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("on", &self.on), line("kind", &self.kind)];
        if !self.summary.is_empty() {
            lines.push(line("summary", &self.summary));
        }
        lines.extend(self.deadline.as_ref().map(|deadline| ("deadline".to_owned(), plain(deadline))));
        lines.extend(self.user.as_ref().map(|user| line("user", user)));
        if self.done {
            lines.push(("done".to_owned(), Value::Boolean(true)));
        }
        lines
    }
}

impl Lines for Follower {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("on", &self.on), line("partner", &self.partner)];
        if self.removed {
            lines.push(("removed".to_owned(), Value::Boolean(true)));
        }
        lines
    }
}

impl Lines for Sent {
    fn lines(&self) -> Vec<(String, Value)> {
        let mut lines = vec![line("request", &self.request)];
        if !self.body.is_empty() {
            lines.push(line("body", &self.body));
        }
        lines
    }
}

fn line(key: &str, text: &str) -> (String, Value) {
    (key.to_owned(), Value::String(text.to_owned()))
}

/// A value in the one form that is compared: dates and times as texts, whole numbers without a fraction.
#[must_use]
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Datetime(time) => Value::String(time.to_string()),
        #[allow(clippy::cast_possible_truncation, reason = "whole, and small enough to be exact")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Value::Integer(*number as i64),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Table(table) => Value::Table(table.iter().map(|(name, value)| (name.clone(), plain(value))).collect()),
        other => other.clone(),
    }
}
