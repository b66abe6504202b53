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
    /// Keeps a text secret. White space around it does not count: no header carries it, and answers would be searched for it.
    #[must_use]
    pub fn new(text: String) -> Self {
        let text = SecretString::from(text);
        let bare = text.expose_secret().trim();
        if bare.len() == text.expose_secret().len() {
            return Self(text);
        }
        Self(bare.to_owned().into())
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
        self.shapes().iter().fold(bytes, |bytes, shape| replace(bytes, shape))
    }

    /// As it is, and as base64 of either alphabet, alone or within something longer; longest first.
    fn shapes(&self) -> Vec<String> {
        use base64::{
            Engine,
            engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
        };
        let secret = self.expose();
        let mut shapes = vec![secret.to_owned()];
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            shapes.push(alphabet.encode(secret));
            // Three bytes are four letters: how it is written depends on how many bytes of such a group stand before it.
            shapes.extend((0..3).map(|before| within(&alphabet, secret, before)));
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

fn replace(bytes: Vec<u8>, secret: &str) -> Vec<u8> {
    let mut left = bytes.as_slice();
    let mut clean = Vec::new();
    while let Some((at, length)) = place(left, secret) {
        let (before, after) = left.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(SCRUBBED.as_bytes());
        left = after.split_at_checked(length).map_or(&[], |(_, after)| after);
    }
    if clean.is_empty() && left.len() == bytes.len() {
        return bytes;
    }
    clean.extend_from_slice(left);
    clean
}

/// Where a part of a text begins, and how long it is there. Most places are ruled out by their first byte: an answer of megabytes
/// is searched for many.
fn place(text: &[u8], part: &str) -> Option<(usize, usize)> {
    let first = part.as_bytes().first()?;
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| byte == first || matches!(byte, b'\\' | b'%' | b'+'))?;
        if let Some(length) = begins(text.get(at..)?, part) {
            return Some((at, length));
        }
        at += 1;
    }
}

/// How much of a text's beginning is this part, as it is or with any of its signs escaped: programs escape more than they must,
/// each other signs.
fn begins(text: &[u8], part: &str) -> Option<usize> {
    if text.starts_with(part.as_bytes()) {
        return Some(part.len());
    }
    // What looks like an escape may be signs of the secret itself: `%25` is, or stands for a percent sign.
    along(text, part, |left, sign| escaped(left, sign).or_else(|| plain(left, sign)))
        .or_else(|| along(text, part, |left, sign| plain(left, sign).or_else(|| escaped(left, sign))))
}

/// How much of a text's beginning is this part, sign by sign.
fn along(text: &[u8], part: &str, length: impl Fn(&[u8], char) -> Option<usize>) -> Option<usize> {
    let mut at = 0;
    for sign in part.chars() {
        at += length(text.get(at..)?, sign)?;
    }
    Some(at)
}

/// How much of a text's beginning is this sign as it is.
fn plain(text: &[u8], sign: char) -> Option<usize> {
    text.starts_with(sign.encode_utf8(&mut [0; 4]).as_bytes()).then_some(sign.len_utf8())
}

/// How much of a text's beginning is this sign as JSON or an address escapes it.
fn escaped(text: &[u8], sign: char) -> Option<usize> {
    match text {
        [b'%', ..] => numbers(text, b"%", 2, sign.encode_utf8(&mut [0; 4]).bytes().map(u32::from)),
        [b'\\', b'u', ..] => numbers(text, b"\\u", 4, sign.encode_utf16(&mut [0; 2]).iter().copied().map(u32::from)),
        [b'\\', next, ..] if sign.is_ascii_punctuation() && char::from(*next) == sign => Some(2),
        [b'\\', b't', ..] if sign == '\t' => Some(2),
        [b'+', ..] if sign == ' ' => Some(1),
        _ => None,
    }
}

/// How much of a text's beginning is these numbers, each after a mark and with so many digits to the base of 16.
fn numbers(text: &[u8], mark: &[u8], digits: usize, all: impl Iterator<Item = u32>) -> Option<usize> {
    let mut left = text;
    for number in all {
        let (written, after) = left.strip_prefix(mark)?.split_at_checked(digits)?;
        let written = u32::from_str_radix(std::str::from_utf8(written).ok()?, 16).ok()?;
        left = (written == number).then_some(after)?;
    }
    text.len().checked_sub(left.len())
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
        let found = |text: &str, part: &str| place(text.as_bytes(), part);
        let at = |text: &str| found(text, "aab").map(|(at, length)| [at, length]);
        assert_eq!(["aab", "aaab", "a aab aab", "xaab"].map(at), [0, 1, 2, 1].map(|at| Some([at, 3])));
        assert_eq!(["", "aa", "aaa", "aba", "ba", "%61%61%6", "\\u0061"].map(at), [None; 7]);
        assert_eq!(at("x%61\\u0061b"), Some([1, 10]));
        assert_eq!(found("aab", ""), None);
        assert_eq!(replace(b"aabaaab".to_vec(), "aab"), b"[secret]a[secret]");
    }

    #[test]
    fn white_space_around_a_secret_does_not_count() {
        for text in ["sk-7f3a91c2e5d8", " sk-7f3a91c2e5d8", "sk-7f3a91c2e5d8 \t\n"] {
            let secret = Secret::new(text.to_owned());
            assert_eq!(
                (secret.expose(), secret.scrub("of sk-7f3a91c2e5d8!")),
                ("sk-7f3a91c2e5d8", "of [secret]!".into())
            );
        }
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
        for escaped in [packed.replace('/', "\\/"), packed.replace('/', "%2f").replace('+', "%2B")] {
            let clean = other.scrub_bytes(escaped.clone().into_bytes());
            assert!(String::from_utf8(clean).expect("text").contains("[secret]"), "{escaped}");
        }
    }

    #[test]
    fn a_secret_is_found_whichever_of_its_signs_are_escaped() {
        let secret = Secret::new(r#"k&y<1>'2"\3\4~5%6é😀 7"#.to_owned());
        for text in [
            // As it is, and as various programs write it into JSON.
            r#"k&y<1>'2"\3\4~5%6é😀 7"#,
            r#"k&y<1>'2\"\\3\\4~5%6é😀 7"#,
            r#"k\u0026y\u003c1\u003e'2\"\\3\\4~5%6é😀 7"#,
            r#"k\u0026y\u003C1\u003E\u00272\u0022\\3\\4~5%6\u00E9\uD83D\uDE00 7"#,
            // And into addresses.
            "k%26y%3C1%3E'2%22%5C3%5C4~5%256%C3%A9%F0%9F%98%80%207",
            "k%26y%3c1%3e%272%22%5c3%5c4%7e5%256%c3%a9%f0%9f%98%80+7",
        ] {
            let clean = secret.scrub(&format!("you sent {text}, thanks"));
            assert_eq!(clean, "you sent [secret], thanks", "{text}");
        }
        // Signs of its own that look like an escape.
        let odd = Secret::new("k%25/7f3a".to_owned());
        for text in ["k%25/7f3a", r"k%25\/7f3a", "k%2525%2F7f3a", r"k\u002525\/7f3a"] {
            assert_eq!(odd.scrub(text), "[secret]", "{text}");
        }
        let other = r#"k\u0026y\u003c1 %5C%u00 \"#;
        assert_eq!(secret.scrub(other), other);
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
