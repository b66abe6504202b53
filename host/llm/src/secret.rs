//! Keys: read from the environment or a file, shown in no text, wiped after use.

use std::{fmt, fs, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// Shorter ones would be found by chance in any text that is scrubbed.
const SHORTEST: usize = 8;

/// A key or another secret. Its text is only written where it is meant to go, by [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Keeps a text secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself: for the header of a request, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// A text without this secret in it.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        text.replace(self.expose(), "[secret]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Source {
    /// In this environment variable.
    Env(String),
    /// In this file, alone; white space around it does not count.
    File(PathBuf),
}

impl Source {
    /// Fetches the secret. `what` names it in errors.
    ///
    /// # Errors
    /// It is not there, or too short to be one.
    pub fn read(&self, what: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, ConfigError> {
        let missing = |why: String| Err(ConfigError::Secret { what: what.to_owned(), why });
        let text = match self {
            Self::Env(name) => match env(name) {
                Some(text) => text,
                None => return missing(format!("the environment variable {name} is not set")),
            },
            Self::File(path) => match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) => return missing(format!("cannot read {}: {error}", path.display())),
            },
        };
        let text = text.trim();
        if text.len() < SHORTEST || text.chars().any(char::is_control) {
            return missing(format!("it must be one line of at least {SHORTEST} characters"));
        }
        Ok(Secret::new(text.to_owned()))
    }
}
