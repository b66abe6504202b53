//! Keys: read from the environment or a file, shown in no text, wiped after use.

use std::{fmt, fs, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// Shorter ones would be found by chance in any text that is scrubbed.
const SHORTEST: usize = 8;

/// What stands in place of one.
const SCRUBBED: &str = "[secret]";

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
        text.replace(self.expose(), SCRUBBED)
    }

    /// Bytes of an answer without this secret in them, in each shape that it may have there.
    #[must_use]
    pub(crate) fn scrub_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.shapes().iter().fold(bytes, |bytes, shape| replace(bytes, shape.as_bytes()))
    }

    /// As it is, as JSON and addresses escape it, and as base64, longest first.
    fn shapes(&self) -> Vec<String> {
        use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
        let secret = self.expose();
        let json = serde_json::to_string(secret).unwrap_or_default();
        let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut shapes = vec![
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            percent.replace('+', "%20"),
            percent,
            STANDARD_NO_PAD.encode(secret),
        ];
        shapes.sort_by_key(|shape| std::cmp::Reverse(shape.len()));
        shapes.dedup();
        shapes
    }
}

fn replace(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut left = bytes.as_slice();
    let mut clean = Vec::new();
    while let Some(at) = left.windows(secret.len().max(1)).position(|window| window == secret) {
        let (before, after) = left.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(SCRUBBED.as_bytes());
        left = after.split_at_checked(secret.len()).map_or(&[], |(_, after)| after);
    }
    if clean.is_empty() && left.len() == bytes.len() {
        return bytes;
    }
    clean.extend_from_slice(left);
    clean
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCRUBBED)
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
