//! Failures that are deliberate, with their reasons, and facts that the data leaves out: `known.toml`.

use std::collections::HashMap;

use serde::Deserialize;

/// Reasons by case.
#[derive(Debug, Clone, Default)]
pub struct Known {
    by_id: HashMap<String, String>,
    by_cause: HashMap<String, String>,
    /// Numbers that are unset on the server; its data says 0 for them.
    pub unset: Vec<Unset>,
}

/// Numbers that are unset on the server.
#[derive(Debug, Clone, Deserialize)]
pub struct Unset {
    /// The model.
    pub model: String,
    /// The records.
    pub ids: Vec<u32>,
    /// The field.
    pub field: String,
    /// What shows it.
    pub reason: String,
}

#[derive(Deserialize)]
struct KnownFile {
    #[serde(default)]
    known: Vec<Entry>,
    #[serde(default)]
    cause: Vec<Named>,
    #[serde(default)]
    unset: Vec<Unset>,
}

#[derive(Deserialize)]
struct Entry {
    reason: String,
    cases: Vec<String>,
}

/// Cases that differ for a cause that the runner tells by itself.
#[derive(Deserialize)]
struct Named {
    name: String,
    reason: String,
}

impl Known {
    /// The list that is kept with the code.
    ///
    /// # Panics
    /// When the list is no valid TOML.
    #[must_use]
    #[allow(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
    pub fn load() -> Self {
        let file: KnownFile = toml::from_str(include_str!("../known.toml")).expect("known.toml is valid");
        let by_id = file.known.into_iter().flat_map(|entry| {
            let reason = entry.reason;
            entry.cases.into_iter().map(move |case| (case, reason.clone()))
        });
        let by_cause = file.cause.into_iter().map(|cause| (cause.name, cause.reason));
        Self { by_id: by_id.collect(), by_cause: by_cause.collect(), unset: file.unset }
    }

    /// Why cases may differ for a cause.
    #[must_use]
    pub fn cause(&self, name: &str) -> Option<&str> {
        self.by_cause.get(name).map(String::as_str)
    }

    /// All causes for which cases may differ.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        self.by_cause.keys().map(String::as_str)
    }

    /// Why a case may fail.
    #[must_use]
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }
}
