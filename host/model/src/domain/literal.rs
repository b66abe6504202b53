//! Python literals: the values of a domain, read from text or JSON and printed back.
//!
//! Only literals: lists, tuples, dictionaries, strings, numbers, `True`, `False`, `None`. Nothing is evaluated, so a
//! domain that a user typed can be parsed here and re-emitted wherever a literal is wanted.

use std::{
    borrow::Cow,
    fmt::{self, Display, Write as _},
};

use crate::error::Error;

/// How deep lists may nest.
pub const MAX_DEPTH: usize = 64;
/// How long a literal may be, in bytes.
pub const MAX_LENGTH: usize = 4 << 20;

/// A Python value. Tuples and lists are not told apart, as Odoo does not in domains.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// `7`
    Integer(i64),
    /// `7.5`; integers too large for 64 bits too
    Float(f64),
    /// `'text'`
    Text(String),
    /// `[1, 2]`, `(1, 2)`
    List(Vec<Literal>),
    /// `{'a': 1}`
    Dict(Vec<(String, Literal)>),
}

impl Literal {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Python's truth of the value: empty, zero and `None` are false.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Integer(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Dict(items) => !items.is_empty(),
        }
    }

    /// `False` or `None`: in a domain, "not set".
    #[must_use]
    pub fn is_unset(&self) -> bool {
        matches!(self, Self::None | Self::Bool(false))
    }

    /// Python's name of the type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
        }
    }

    /// Reads a literal.
    ///
    /// # Errors
    /// `bad-domain`, with the position (in characters, from 1) and what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(bad(format!(
                "the literal has {} bytes, more than {MAX_LENGTH}; pass fewer values",
                text.len()
            )));
        }
        let mut parser = Parser { rest: text.chars(), position: 1 };
        parser.skip_space();
        let value = parser.value(0)?;
        parser.skip_space();
        match parser.peek() {
            None => Ok(value),
            Some(found) => Err(parser.fail(&format!("unexpected `{found}` after the end; remove it"))),
        }
    }

    /// From JSON, where lists are lists and objects are dictionaries.
    ///
    /// # Errors
    /// `bad-domain` when lists nest too deep.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Error> {
        Self::from_json_at(json, 0)
    }

    fn from_json_at(json: &serde_json::Value, depth: usize) -> Result<Self, Error> {
        use serde_json::Value as Json;
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_json_at(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Json::Object(items) => Self::Dict(
                items
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), Self::from_json_at(item, depth + 1)?)))
                    .collect::<Result<_, Error>>()?,
            ),
        })
    }

    /// As JSON; `None` and `False` keep apart as `null` and `false`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::None => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Integer(number) => Json::from(*number),
            Self::Float(number) => Json::from(*number),
            Self::Text(text) => Json::from(text.as_str()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Dict(items) => Json::Object(items.iter().map(|(key, item)| (key.clone(), item.to_json())).collect()),
        }
    }
}

/// Python's `repr`: a literal that reads back as the same value.
impl Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => f.write_str(&float_repr(*number)),
            Self::Text(text) => quote(text, f),
            Self::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Dict(items) => {
                f.write_char('{')?;
                for (index, (key, item)) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    quote(key, f)?;
                    f.write_str(": ")?;
                    item.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Python's `repr` of a text: single quotes unless that would need more escapes.
pub(crate) fn quote(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(mark)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == mark => write!(out, "\\{c}")?,
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => write!(out, "\\x{:02x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char(mark)
}

/// Python's `repr` of a float: the shortest text that reads back as the same number, always with a point or exponent.
#[must_use]
pub fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    let (negative, digits, point) = shortest_digits(number);
    let body = if !(-3..=16).contains(&point) {
        exponent_form(&digits, point)
    } else {
        let plain = plain_form(&digits, point);
        if plain.contains('.') { plain } else { format!("{plain}.0") }
    };
    if negative { format!("-{body}") } else { body }
}

/// Shortest decimal digits of a finite number, and where the point stands after the first `point` digits.
pub(crate) fn shortest_digits(number: f64) -> (bool, String, i32) {
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (number.is_sign_negative(), digits, exponent.parse::<i32>().unwrap_or(0) + 1)
}

/// `1.5e-07`, `1e+16`: Python's and PostgreSQL's form, with at least two digits of exponent.
pub(crate) fn exponent_form(digits: &str, point: i32) -> String {
    let mut chars = digits.chars();
    let first = chars.next().unwrap_or('0');
    let rest = chars.as_str();
    let dot = if rest.is_empty() { "" } else { "." };
    let exponent = point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{dot}{rest}e{sign}{:02}", exponent.abs())
}

/// `0.015`, `150`, `1.5`: without an exponent.
pub(crate) fn plain_form(digits: &str, point: i32) -> String {
    let Ok(whole) = usize::try_from(point) else {
        return format!("0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0)));
    };
    if whole == 0 {
        return format!("0.{digits}");
    }
    if digits.len() <= whole {
        return format!("{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (left, right) = digits.split_at(whole);
    format!("{left}.{right}")
}

pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::invalid("bad-domain", message)
}

fn too_deep() -> Error {
    bad(format!("lists nest deeper than {MAX_DEPTH}; write the domain flatter"))
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    position: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next.is_some() {
            self.position += 1;
        }
        next
    }

    fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        self.peek().filter(|c| wanted(*c))?;
        self.next()
    }

    /// The characters up to the first that is not wanted.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.as_str();
        let (taken, left) = rest.split_at(rest.find(|c| !wanted(c)).unwrap_or(rest.len()));
        self.rest = left.chars();
        self.position += taken.chars().count();
        taken
    }

    fn fail(&self, message: &str) -> Error {
        bad(format!("at character {}: {message}", self.position))
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn value(&mut self, depth: usize) -> Result<Literal, Error> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        match self.peek() {
            None => Err(self.fail("the literal ends too early; expected a value")),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('{') => self.dict(depth),
            Some('\'' | '"') => self.texts(),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.word(),
            Some(c) => Err(self.fail(&format!("unexpected `{c}`; expected a list, text, number, True, False or None"))),
        }
    }

    fn list(&mut self, close: char, depth: usize) -> Result<Literal, Error> {
        let open = self.position;
        let tuple = close == ')';
        self.next();
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(bad(format!("the list opened at character {open} is not closed; add `{close}`"))),
                Some(c) if c == close => {
                    self.next();
                    // `(x)` is x itself, `(x,)` a tuple of one.
                    if tuple
                        && !comma
                        && items.len() == 1
                        && let Some(only) = items.pop()
                    {
                        return Ok(only);
                    }
                    return Ok(Literal::List(items));
                }
                Some(_) if !items.is_empty() && !comma => return Err(self.fail("expected `,` between list items")),
                Some(_) => {}
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
            comma = self.next_if(|c| c == ',').is_some();
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, Error> {
        let open = self.position;
        self.next();
        let mut items: Vec<(String, Literal)> = Vec::new();
        let mut comma = true;
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(bad(format!("the dictionary opened at character {open} is not closed; add `}}`"))),
                Some('}') => {
                    self.next();
                    return Ok(Literal::Dict(items));
                }
                Some(_) if !comma => return Err(self.fail("expected `,` between dictionary items")),
                Some('\'' | '"') => {}
                Some(_) => return Err(self.fail("expected a text as dictionary key")),
            }
            let Literal::Text(key) = self.texts()? else { return Err(self.fail("expected a text as dictionary key")) };
            self.skip_space();
            if self.next() != Some(':') {
                return Err(self.fail("expected `:` after a dictionary key"));
            }
            self.skip_space();
            let item = self.value(depth + 1)?;
            items.retain(|(existing, _)| *existing != key);
            items.push((key, item));
            self.skip_space();
            comma = self.next_if(|c| c == ',').is_some();
        }
    }

    fn word(&mut self) -> Result<Literal, Error> {
        let start = self.position;
        let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
        match word {
            "None" => Ok(Literal::None),
            "True" => Ok(Literal::Bool(true)),
            "False" => Ok(Literal::Bool(false)),
            "true" | "false" | "null" => {
                Err(bad(format!("at character {start}: `{word}` is not Python; write True, False or None")))
            }
            _ => Err(bad(format!(
                "at character {start}: `{word}` is a name; only literals are allowed, put a text in quotes"
            ))),
        }
    }

    fn number(&mut self) -> Result<Literal, Error> {
        let start = self.position;
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'));
        // A sign belongs to the number only at its start or after an exponent.
        let is_between = |pair: &[u8]| matches!(pair, [before, b'+' | b'-'] if !matches!(before, b'e' | b'E'));
        if let Some(place) = text.as_bytes().windows(2).position(is_between) {
            let at = start + place + 1;
            return Err(bad(format!("at character {at}: arithmetic is not evaluated; write the result")));
        }
        let mut plain = Cow::Borrowed(text.strip_prefix('+').unwrap_or(text));
        if plain.contains('_') {
            plain = Cow::Owned(plain.replace('_', ""));
        }
        let whole = plain.strip_prefix('-').unwrap_or(&plain);
        let is_whole = !whole.is_empty() && whole.bytes().all(|c| c.is_ascii_digit());
        if let (true, Ok(number)) = (is_whole, plain.parse::<i64>()) {
            return Ok(Literal::Integer(number));
        }
        let decimal = whole.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-'));
        match plain.parse::<f64>() {
            Ok(number) if decimal && number.is_finite() => Ok(Literal::Float(number)),
            _ => Err(bad(format!("at character {start}: `{text}` is not a number"))),
        }
    }

    /// One text, or several side by side, which Python joins.
    fn texts(&mut self) -> Result<Literal, Error> {
        let mut text = String::new();
        while matches!(self.peek(), Some('\'' | '"')) {
            self.one_text(&mut text)?;
            self.skip_space();
        }
        Ok(Literal::Text(text))
    }

    fn one_text(&mut self, text: &mut String) -> Result<(), Error> {
        let start = self.position;
        let mark = self.next();
        loop {
            text.push_str(self.take_while(|c| Some(c) != mark && !matches!(c, '\\' | '\n')));
            match self.next() {
                None | Some('\n') => {
                    return Err(bad(format!("the text opened at character {start} is not closed; add the quote")));
                }
                Some('\\') => self.escape(text)?,
                c if c == mark => return Ok(()),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Error> {
        match self.next() {
            None => return Err(self.fail("the literal ends inside an escape")),
            Some('\n') => {}
            Some(c @ ('\\' | '\'' | '"')) => text.push(c),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('a') => text.push('\u{7}'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('v') => text.push('\u{b}'),
            Some('x') => text.push(self.hex(2)?),
            Some('u') => text.push(self.hex(4)?),
            Some('U') => text.push(self.hex(8)?),
            Some(c @ '0'..='7') => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.next_if(|c| c.is_digit(8)) else { break };
                    code = code * 8 + digit.to_digit(8).unwrap_or(0);
                }
                text.push(char::from_u32(code).ok_or_else(|| self.fail("not a character"))?);
            }
            // Python keeps the backslash of an unknown escape.
            Some(c) => text.extend(['\\', c]),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<char, Error> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.fail(&format!("expected {digits} hexadecimal digits")))?;
        }
        char::from_u32(code).ok_or_else(|| self.fail("not a character"))
    }
}
