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

    /// A text without this secret in it, in each shape that it may have there.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.scrub_bytes(text.as_bytes().to_vec())).into_owned()
    }

    /// Bytes of an answer without this secret in them.
    #[must_use]
    pub(crate) fn scrub_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.shapes().iter().fold(bytes, |bytes, shape| replace(bytes, shape.as_bytes()))
    }

    /// As it is, as JSON and addresses escape it, and as base64 of either alphabet, alone or within something longer; longest
    /// first.
    fn shapes(&self) -> Vec<String> {
        use base64::{
            Engine,
            engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
        };
        let secret = self.expose();
        let json = serde_json::to_string(secret).unwrap_or_default();
        let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut shapes =
            vec![secret.to_owned(), json.trim_matches('"').to_owned(), percent.replace('+', "%20"), percent];
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            shapes.push(alphabet.encode(secret));
            // Three bytes are four letters: how it is written depends on how many bytes of such a group stand before it.
            shapes.extend((0..3).map(|before| within(&alphabet, secret, before)));
        }
        // Some write more of JSON with a backslash than they must.
        for (sign, escaped) in [('/', "\\/"), ('+', "\\u002B"), ('+', "\\u002b")] {
            let with = shapes.iter().filter(|shape| shape.contains(sign));
            let escaped: Vec<_> = with.map(|shape| shape.replace(sign, escaped)).collect();
            shapes.extend(escaped);
        }
        shapes.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        shapes.dedup();
        shapes
    }
}

/// The letters that only this text has a part in, where so many bytes of a group of three stand before it.
fn within(alphabet: &impl base64::Engine, text: &str, before: usize) -> String {
    let all = alphabet.encode([vec![0; before].as_slice(), text.as_bytes()].concat());
    let shared_first = if before == 0 { 0 } else { before + 1 };
    let shared_last = usize::from(!(before + text.len()).is_multiple_of(3));
    let own = all.len().saturating_sub(shared_first + shared_last);
    all.chars().skip(shared_first).take(own).collect()
}

fn replace(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut left = bytes.as_slice();
    let mut clean = Vec::new();
    while let Some(at) = place(left, secret) {
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

/// Where a part of a text begins. Most places are ruled out by its first byte: an answer of megabytes is searched for many.
fn place(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = part.first()?;
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| byte == first)?;
        if text.get(at..)?.starts_with(part) {
            return Some(at);
        }
        at += 1;
    }
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

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };

    use super::*;

    #[test]
    fn a_part_is_found_where_it_begins_whole() {
        let found = |text: &str, part: &str| place(text.as_bytes(), part.as_bytes());
        assert_eq!(["aab", "aaab", "a aab aab", "xaab"].map(|text| found(text, "aab")), [0, 1, 2, 1].map(Some));
        assert_eq!(["", "aa", "aaa", "aba", "ba"].map(|text| found(text, "aab")), [None; 5]);
        assert_eq!(found("aab", ""), None);
        assert_eq!(replace(b"aabaaab".to_vec(), b"aab"), b"[secret]a[secret]");
    }

    #[test]
    fn a_secret_is_found_however_json_escapes_it() {
        let secret = Secret::new("sk/7f3a+91/c2".to_owned());
        for text in [r"sk/7f3a+91/c2", r"sk\/7f3a+91\/c2", r"sk/7f3a\u002b91/c2", r"sk\/7f3a\u002B91\/c2"] {
            let clean = secret.scrub_bytes(format!("{{\"sent\":\"Bearer {text}\"}}").into_bytes());
            assert_eq!(String::from_utf8(clean).as_deref(), Ok(r#"{"sent":"Bearer [secret]"}"#), "{text}");
        }
        // Base64 has such signs of its own.
        let packed = STANDARD.encode("you:???>>>sk/7f3a+91/c2");
        assert!(packed.contains('/') && packed.contains('+'), "{packed}");
        let other = Secret::new("???>>>sk/7f3a+91/c2".to_owned());
        let clean = other.scrub_bytes(packed.replace('/', "\\/").into_bytes());
        assert!(String::from_utf8(clean).expect("text").contains("[secret]"), "{packed}");
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        // Bytes that the two alphabets write differently, and keys of each length in a group.
        for key in ["sk->>>???~~~ÿÿÿ-7f3a", "sk->>>???~~~ÿÿÿ-7f3a1", "sk->>>???~~~ÿÿÿ-7f3a12"] {
            let secret = Secret::new(key.to_owned());
            for (before, after) in ["", "u", "me", "you", "user"].into_iter().zip(["", ":", "!!", "end", "."]) {
                for text in [format!("{before}{key}{after}"), format!("{after}{key}{before}")] {
                    for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                        let clean = String::from_utf8(secret.scrub_bytes(encoded.clone().into_bytes())).expect("text");
                        let (start, end) = clean.split_once("[secret]").expect("it is found");
                        // What stands beside it, and the letters that it shares with that.
                        assert!(start.len() + end.len() <= encoded.len() - key.len(), "{encoded}: {clean}");
                        assert!(encoded.starts_with(start) && encoded.ends_with(end), "{encoded}: {clean}");
                    }
                }
            }
        }
        let other = b"c2stbm90aGluZyBvZiB0aGUga2luZA==".to_vec();
        assert_eq!(Secret::new("sk-7f3a91c2e5d8".to_owned()).scrub_bytes(other.clone()), other);
    }
}
