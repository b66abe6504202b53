//! Failures that are deliberate, with their reasons, and facts that the data leaves out: `known.toml`.

use std::collections::HashMap;

use serde::Deserialize;

/// Reasons by case.
#[derive(Debug, Clone, Default)]
pub struct Known {
    by_id: HashMap<String, String>,
    needless: HashMap<String, String>,
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
    needless: Vec<Entry>,
    #[serde(default)]
    unset: Vec<Unset>,
}

#[derive(Deserialize)]
struct Entry {
    reason: String,
    cases: Vec<String>,
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
        let by_case = |entries: Vec<Entry>| {
            let pairs = entries.into_iter().flat_map(|entry| {
                let reason = entry.reason;
                entry.cases.into_iter().map(move |case| (case, reason.clone()))
            });
            pairs.collect()
        };
        Self { by_id: by_case(file.known), needless: by_case(file.needless), unset: file.unset }
    }

    /// Why the server fires more often than there is reason to.
    #[must_use]
    pub fn needless(&self, id: &str) -> Option<&str> {
        self.needless.get(id).map(String::as_str)
    }

    /// Why a case may fail.
    #[must_use]
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }
}
