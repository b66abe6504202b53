//! The expressions in the domains of record rules: Python literals in which values may be computed from the user.
//!
//! What there is: literals, lists, tuples, dictionaries, `+`, unary `-`, comments, the names `user`, `company_id`,
//! `company_ids`, attributes of `user` along relations (`user.partner_id.id`, `user.company_ids.ids`) and
//! `time.strftime('%Y-%m-%d')`. Nothing else is understood, and nothing is ever evaluated as code.

use std::{iter::Peekable, str::Chars};

use jiff::tz::TimeZone;
use rusqlite::Connection;
use triggerbox_model::{domain::Literal, error::Error};

use super::records::Records;
use crate::env::Env;

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 64 << 10;
/// How deep lists may nest.
const MAX_DEPTH: usize = 64;

/// What an expression, or a part of one, is.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A text, number, `True`, `False` or `None`.
    Constant(Literal),
    /// `user`, `company_ids`, `time`…
    Name(String),
    /// `[a, b]`, `(a, b)`
    List(Vec<Expression>),
    /// `{'a': b}`
    Dict(Vec<(String, Expression)>),
    /// `a.name`
    Attribute(Box<Expression>, String),
    /// `a(b)`
    Call(Box<Expression>, Vec<Expression>),
    /// `a + b`
    Add(Box<Expression>, Box<Expression>),
    /// `-a`
    Negative(Box<Expression>),
}

impl Expression {
    /// Reads an expression. An empty one is the empty list: the domain of all records.
    ///
    /// # Errors
    /// `bad-rule`, saying what was found where.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(bad(format!("has {} bytes, more than {MAX_LENGTH}", text.len())));
        }
        let mut parser = Parser { rest: text.chars().peekable(), position: 1 };
        parser.skip();
        if parser.rest.peek().is_none() {
            return Ok(Self::List(Vec::new()));
        }
        let whole = parser.sum(0)?;
        match parser.rest.peek() {
            None => Ok(whole),
            Some(found) => Err(bad(format!("has `{found}` at {} after its end", parser.position))),
        }
    }

    /// Whether its value follows from who the user is and for which companies they work, and from nothing else: neither
    /// from records nor from the time.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Name(_) => true,
            Self::List(parts) => parts.iter().all(Self::is_settled),
            Self::Dict(parts) => parts.iter().all(|(_, part)| part.is_settled()),
            Self::Attribute(of, name) => {
                matches!(&**of, Self::Name(user) if user == "user") && matches!(name.as_str(), "id" | "ids")
            }
            Self::Call(..) => false,
            Self::Add(left, right) => left.is_settled() && right.is_settled(),
            Self::Negative(part) => part.is_settled(),
        }
    }

    /// Its value for the user, companies and time of an environment.
    ///
    /// # Errors
    /// `bad-rule` for names and attributes that there are not; what the database says.
    pub fn evaluate(&self, conn: &Connection, env: &Env) -> Result<Literal, Error> {
        match self.value(conn, env)? {
            Value::Plain(literal) => Ok(literal),
            Value::Records(records) => {
                Err(bad(format!("uses records of `{}` as a value; write `.id` or `.ids` after it", records.model)))
            }
            Value::Time | Value::Strftime => Err(bad("uses `time` as a value; write `time.strftime('%Y-%m-%d')`")),
        }
    }

    fn value(&self, conn: &Connection, env: &Env) -> Result<Value, Error> {
        let plain = |part: &Self| part.evaluate(conn, env);
        Ok(match self {
            Self::Constant(literal) => Value::Plain(literal.clone()),
            Self::List(parts) => Value::Plain(Literal::List(parts.iter().map(plain).collect::<Result<_, _>>()?)),
            Self::Dict(parts) => {
                let pairs = parts.iter().map(|(key, part)| Ok((key.clone(), plain(part)?)));
                Value::Plain(Literal::Dict(pairs.collect::<Result<_, Error>>()?))
            }
            Self::Name(name) => match name.as_str() {
                "user" => Value::Records(Records { model: "res.users".to_owned(), ids: vec![env.user] }),
                "uid" => Value::Plain(Literal::Integer(i64::from(env.user))),
                "company_id" => Value::Plain(env.company()?.map_or(Literal::Bool(false), id_literal)),
                "company_ids" => {
                    Value::Plain(Literal::List(env.allowed_companies()?.iter().copied().map(id_literal).collect()))
                }
                "time" => Value::Time,
                _ => return Err(bad(format!("uses `{name}`; there are user, uid, company_id, company_ids and time"))),
            },
            Self::Attribute(of, name) => match of.value(conn, env)? {
                Value::Records(records) => match records.attribute(conn, env, name)? {
                    super::records::Attribute::Records(records) => Value::Records(records),
                    super::records::Attribute::Plain(literal) => Value::Plain(literal),
                },
                Value::Time if name == "strftime" => Value::Strftime,
                Value::Time | Value::Strftime => {
                    return Err(bad(format!("uses `time.{name}`; there is only `time.strftime`")));
                }
                Value::Plain(_) => return Err(bad(format!("takes `.{name}` of a plain value"))),
            },
            Self::Call(function, arguments) => match (function.value(conn, env)?, arguments.as_slice()) {
                (Value::Strftime, [format]) => match plain(format)? {
                    Literal::Text(format) => Value::Plain(Literal::Text(strftime(&format, env)?)),
                    other => return Err(bad(format!("formats the time by {other}, which is no text"))),
                },
                _ => return Err(bad("calls something else than `time.strftime` with one text")),
            },
            Self::Add(left, right) => Value::Plain(add(plain(left)?, plain(right)?)?),
            Self::Negative(part) => Value::Plain(match plain(part)? {
                Literal::Integer(number) => Literal::Integer(number.saturating_neg()),
                Literal::Float(number) => Literal::Float(-number),
                other => return Err(bad(format!("negates {other}, which is no number"))),
            }),
        })
    }
}

enum Value {
    Plain(Literal),
    Records(Records),
    Time,
    Strftime,
}

fn id_literal(id: u32) -> Literal {
    Literal::Integer(i64::from(id))
}

#[allow(clippy::cast_precision_loss, reason = "as Python does")]
fn add(left: Literal, right: Literal) -> Result<Literal, Error> {
    Ok(match (left, right) {
        (Literal::List(mut left), Literal::List(right)) => {
            left.extend(right);
            Literal::List(left)
        }
        (Literal::Text(left), Literal::Text(right)) => Literal::Text(left + &right),
        (Literal::Integer(left), Literal::Integer(right)) => Literal::Integer(left.saturating_add(right)),
        (Literal::Float(left), Literal::Float(right)) => Literal::Float(left + right),
        (Literal::Integer(left), Literal::Float(right)) => Literal::Float(left as f64 + right),
        (Literal::Float(left), Literal::Integer(right)) => Literal::Float(left + right as f64),
        (left, right) => return Err(bad(format!("adds {left} and {right}, which do not go together"))),
    })
}

fn strftime(format: &str, env: &Env) -> Result<String, Error> {
    let now = env.now.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now).map_err(|error| bad(format!("has a bad time format: {error}")))
}

fn bad(message: impl Into<String>) -> Error {
    Error::invalid("bad-rule", message)
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    position: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        self.position += 1;
        self.rest.next()
    }

    /// Spaces, line ends and comments.
    fn skip(&mut self) {
        while let Some(&c) = self.rest.peek() {
            if c == '#' {
                while self.rest.peek().is_some_and(|&c| c != '\n') {
                    self.next();
                }
            } else if c.is_whitespace() {
                self.next();
            } else {
                return;
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.peek() == Some(&wanted);
        if found {
            self.next();
            self.skip();
        }
        found
    }

    fn fail(&mut self, expected: &str) -> Error {
        match self.rest.peek() {
            Some(found) => bad(format!("has `{found}` at {} where {expected} is expected", self.position)),
            None => bad(format!("ends where {expected} is expected")),
        }
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, Error> {
        let mut whole = self.term(depth)?;
        while self.take('+') {
            whole = Expression::Add(Box::new(whole), Box::new(self.term(depth)?));
        }
        Ok(whole)
    }

    fn term(&mut self, depth: usize) -> Result<Expression, Error> {
        let mut part = self.atom(depth)?;
        loop {
            if self.take('.') {
                part = Expression::Attribute(Box::new(part), self.name()?);
            } else if self.take('(') {
                part = Expression::Call(Box::new(part), self.items(')', depth)?);
            } else {
                return Ok(part);
            }
        }
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, Error> {
        if depth > MAX_DEPTH {
            return Err(bad("nests too deep"));
        }
        let Some(&first) = self.rest.peek() else { return Err(self.fail("a value")) };
        match first {
            '[' => {
                self.take('[');
                Ok(Expression::List(self.items(']', depth)?))
            }
            '(' => {
                self.take('(');
                let mut inside = self.items_and_comma(')', depth)?;
                // `(a)` is `a`; `(a,)` is a tuple.
                match (inside.0.len(), inside.1) {
                    (1, false) => inside.0.pop().ok_or_else(|| bad("has empty parentheses")),
                    _ => Ok(Expression::List(inside.0)),
                }
            }
            '{' => {
                self.take('{');
                let mut pairs = Vec::new();
                while !self.take('}') {
                    let Expression::Constant(Literal::Text(key)) = self.atom(depth + 1)? else {
                        return Err(self.fail("a text as key"));
                    };
                    if !self.take(':') {
                        return Err(self.fail("`:`"));
                    }
                    pairs.push((key, self.sum(depth + 1)?));
                    if !self.take(',') && self.rest.peek() != Some(&'}') {
                        return Err(self.fail("`,` or `}`"));
                    }
                }
                Ok(Expression::Dict(pairs))
            }
            '-' => {
                self.take('-');
                Ok(Expression::Negative(Box::new(self.atom(depth + 1)?)))
            }
            '\'' | '"' => self.text(first),
            c if c.is_ascii_digit() => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(match self.name()?.as_str() {
                "True" => Expression::Constant(Literal::Bool(true)),
                "False" => Expression::Constant(Literal::Bool(false)),
                "None" => Expression::Constant(Literal::None),
                name => Expression::Name(name.to_owned()),
            }),
            _ => Err(self.fail("a value")),
        }
    }

    fn items(&mut self, end: char, depth: usize) -> Result<Vec<Expression>, Error> {
        Ok(self.items_and_comma(end, depth)?.0)
    }

    /// Items up to the closing mark, and whether a comma follows the last one.
    fn items_and_comma(&mut self, end: char, depth: usize) -> Result<(Vec<Expression>, bool), Error> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.take(end) {
            items.push(self.sum(depth + 1)?);
            comma = self.take(',');
            if !comma && self.rest.peek() != Some(&end) {
                return Err(self.fail(&format!("`,` or `{end}`")));
            }
        }
        Ok((items, comma))
    }

    fn name(&mut self) -> Result<String, Error> {
        let mut name = String::new();
        while let Some(&c) = self.rest.peek() {
            if !(c.is_alphanumeric() || c == '_') {
                break;
            }
            name.push(c);
            self.next();
        }
        self.skip();
        if name.is_empty() { Err(self.fail("a name")) } else { Ok(name) }
    }

    fn number(&mut self) -> Result<Expression, Error> {
        let mut text = String::new();
        while let Some(&c) = self.rest.peek() {
            if !(c.is_ascii_digit() || c == '.') {
                break;
            }
            text.push(c);
            self.next();
        }
        self.skip();
        let integer = text.parse().map(Literal::Integer).ok();
        let number = integer.or_else(|| text.parse().map(Literal::Float).ok());
        number.map(Expression::Constant).ok_or_else(|| bad(format!("has `{text}`, which is no number")))
    }

    fn text(&mut self, mark: char) -> Result<Expression, Error> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(bad("has a text that does not end")),
                Some(c) if c == mark => break,
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                    _ => return Err(bad("has an escape other than \\n, \\t, \\\\, \\' and \\\"")),
                },
                Some(c) => text.push(c),
            }
        }
        self.skip();
        Ok(Expression::Constant(Literal::Text(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        format!("{:?}", Expression::parse(text).unwrap())
    }

    #[test]
    fn empty_texts_and_comments_are_the_domain_of_all_records() {
        assert_eq!(Expression::parse("").unwrap(), Expression::List(Vec::new()));
        assert_eq!(Expression::parse(" [ # nothing\n ] ").unwrap(), Expression::List(Vec::new()));
    }

    #[test]
    fn attributes_sums_and_tuples_are_read() {
        assert_eq!(shown("(False)"), "Constant(Bool(false))");
        assert_eq!(shown("(1,)"), "List([Constant(Integer(1))])");
        assert_eq!(
            shown("company_ids + [user.partner_id.id]"),
            "Add(Name(\"company_ids\"), List([Attribute(Attribute(Name(\"user\"), \"partner_id\"), \"id\")]))"
        );
        assert_eq!(shown("-1.5"), "Negative(Constant(Float(1.5)))");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let message = |text: &str| Expression::parse(text).unwrap_err().message;
        assert_eq!(message("[('a', '=', 1)"), "ends where `,` or `]` is expected");
        assert_eq!(message("[1] if user else []"), "has `i` at 5 after its end");
        assert_eq!(message("[lambda x: x]"), "has `x` at 9 where `,` or `]` is expected");
        assert_eq!(message(&"[".repeat(80)), "nests too deep");
        assert_eq!(message("'abc"), "has a text that does not end");
    }
}
