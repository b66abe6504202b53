//! Forms as browsers send them: names and values in order, several values of one name included.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};

use super::page::Oops;
use crate::problem::Problem;

/// What a form says.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    /// Of names and values. Browsers end lines as mail does, whatever they were given.
    #[must_use]
    pub(super) fn of(pairs: Vec<(String, String)>) -> Self {
        let mut values = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs {
            values.entry(name).or_default().push(value.replace("\r\n", "\n"));
        }
        Self(values)
    }

    /// A value without the blanks around it; empty when it is not there.
    #[must_use]
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A value as it was typed: passwords may begin with a blank.
    #[must_use]
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.get(name).and_then(|values| values.last()).map_or("", String::as_str)
    }

    /// A value, if it says something.
    #[must_use]
    pub(super) fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Whether a box is ticked.
    #[must_use]
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All values of a name.
    #[must_use]
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A list that was typed: one a line, or between commas.
    #[must_use]
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).split([',', '\n']).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Names that begin so, without the beginning, with their values.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, values)| Some((name.strip_prefix(prefix)?, values.last()?.as_str())))
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Oops;

    async fn from_request(request: Request, state: &S) -> Result<Self, Oops> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Problem::invalid("bad-body", error.body_text()))?;
        Ok(Self::of(pairs(&body)))
    }
}

/// Names and values of an encoded form. Bytes that are no UTF-8 become replacement characters.
#[must_use]
pub(super) fn pairs(form: &[u8]) -> Vec<(String, String)> {
    let parts = form.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    let pair = |part: &[u8]| {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        (decoded(halves.next().unwrap_or_default()), decoded(halves.next().unwrap_or_default()))
    };
    parts.map(pair).collect()
}

fn decoded(text: &[u8]) -> String {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let pair = digit(ahead.next()).zip(digit(ahead.next()));
        match (byte, pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok())) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = ahead;
            }
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let form = Form::of(pairs(b"a=1+2&b=%C3%A9%3D&a=3&c&bad=%zz&list=x%2C+y%0Az&lines=x%0D%0Ay"));
        assert_eq!((form.text("a"), form.text("b"), form.text("c"), form.text("none")), ("3", "é=", "", ""));
        assert_eq!(form.all("a"), ["1 2", "3"]);
        assert_eq!(form.text("bad"), "%zz");
        assert_eq!(form.list("list"), ["x", "y", "z"]);
        assert_eq!(form.text("lines"), "x\ny");
        assert!(form.is_on("c") && !form.is_on("d"));
    }
}
