//! Lines into statements, and text into expressions.

use std::{iter::Peekable, vec::IntoIter};

use serde_json::{Value as Json, json};

use super::{Expression, Statement, Stop};

/// Reads lines as statements.
pub(super) fn block(lines: &[&str]) -> Result<Vec<Statement>, Stop> {
    let lines = lines.iter().map(|line| line.trim_end()).filter(|line| !line.trim_start().is_empty());
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<(usize, &str)> =
        lines.map(|line| (line.len() - line.trim_start().len(), line.trim_start())).collect();
    let mut lines = lines.into_iter().peekable();
    let Some((indent, _)) = lines.peek().copied() else { return Ok(Vec::new()) };
    let statements = statements(&mut lines, indent)?;
    match lines.next() {
        None => Ok(statements),
        Some((_, line)) => Err(unread(line)),
    }
}

type Lines<'a> = Peekable<IntoIter<(usize, &'a str)>>;

fn statements(lines: &mut Lines<'_>, indent: usize) -> Result<Vec<Statement>, Stop> {
    let mut found = Vec::new();
    while let Some((_, line)) = lines.next_if(|(at, _)| *at == indent) {
        found.push(statement(lines, indent, line)?);
    }
    Ok(found)
}

fn statement(lines: &mut Lines<'_>, indent: usize, line: &str) -> Result<Statement, Stop> {
    if let Some(condition) = line.strip_prefix("if ") {
        let (condition, body) = head(lines, indent, condition)?;
        let otherwise = match lines.next_if(|(at, line)| *at == indent && line.starts_with("else:")) {
            Some((_, line)) => head(lines, indent, &format!("True{}", line.trim_start_matches("else")))?.1,
            None => Vec::new(),
        };
        return Ok(Statement::If(condition, body, otherwise));
    }
    if let Some((name, list)) = line.strip_prefix("for ").and_then(|line| line.split_once(" in ")) {
        let (list, body) = head(lines, indent, list)?;
        return Ok(Statement::For(name.trim().to_owned(), list, body));
    }
    if line == "pass" {
        return Ok(Statement::Pass);
    }
    let mut tokens = tokens(line)?;
    if let Some(raised) = line.strip_prefix("raise ") {
        let class = raised.split('(').next().unwrap_or_default().trim().to_owned();
        return match whole(raised)? {
            Expression::Call(_, arguments, _) => Ok(Statement::Raise(class, arguments.into_iter().next())),
            _ => Ok(Statement::Raise(class, None)),
        };
    }
    let target = expression(&mut tokens)?;
    let Some(sign) = tokens.next() else { return Ok(Statement::Do(target)) };
    let value = expression(&mut tokens)?;
    if tokens.next().is_some() || sign != Token::Sign("=") {
        return Err(unread(line));
    }
    match target {
        Expression::Name(name) => Ok(Statement::Name(name, value)),
        Expression::Attribute(of, field) => Ok(Statement::Set(*of, field, value)),
        Expression::Item(of, field) => match *field {
            Expression::Literal(Json::String(field)) => Ok(Statement::Set(*of, field, value)),
            _ => Err(unread(line)),
        },
        _ => Err(unread(line)),
    }
}

/// What stands before a colon, and the statements that follow it.
fn head(lines: &mut Lines<'_>, indent: usize, line: &str) -> Result<(Expression, Vec<Statement>), Stop> {
    let mut tokens = tokens(line)?;
    let condition = expression(&mut tokens)?;
    if tokens.next() != Some(Token::Sign(":")) {
        return Err(unread(line));
    }
    if tokens.peek().is_some() {
        let rest = line.rsplit_once(": ").map_or("", |(_, rest)| rest.trim_start());
        return Ok((condition, vec![statement(lines, usize::MAX, rest)?]));
    }
    match lines.peek() {
        Some((deeper, _)) if *deeper > indent => {
            let deeper = *deeper;
            Ok((condition, statements(lines, deeper)?))
        }
        _ => Err(unread(line)),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Literal(Json),
    Sign(&'static str),
}

type Tokens = Peekable<IntoIter<Token>>;

/// Longer signs first.
const SIGNS: [&str; 20] =
    ["==", "!=", "<=", ">=", "**", "//", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "<", ">", "+", "-"];

fn tokens(line: &str) -> Result<Tokens, Stop> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if first == '#' {
            break;
        } else if first == '\'' || first == '"' {
            let (text, after) = quoted(rest, first).ok_or_else(|| unread(line))?;
            found.push(Token::Literal(Json::String(text)));
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            found.push(Token::Literal(serde_json::from_str(number).map_err(|_| unread(line))?));
            rest = after;
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            found.push(match name {
                "True" => Token::Literal(json!(true)),
                "False" => Token::Literal(json!(false)),
                "None" => Token::Literal(Json::Null),
                name => Token::Name(name.to_owned()),
            });
            rest = after;
        } else {
            let sign = SIGNS.iter().chain(&["*", "/", "%"]).find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| unread(line))?;
            found.push(Token::Sign(sign));
            rest = rest.strip_prefix(sign).unwrap_or_default();
        }
    }
    Ok(found.into_iter().peekable())
}

/// A text in quotes at the beginning, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => found.push('\n'),
                't' => found.push('\t'),
                other => found.push(other),
            },
            c if c == quote => return text.get(at + c.len_utf8()..).map(|rest| (found, rest)),
            c => found.push(c),
        }
    }
    None
}

fn whole(text: &str) -> Result<Expression, Stop> {
    let mut tokens = tokens(text)?;
    let read = expression(&mut tokens)?;
    if tokens.next().is_some() { Err(unread(text)) } else { Ok(read) }
}

fn expression(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let value = any(tokens)?;
    if !word(tokens, "if") {
        return Ok(value);
    }
    let condition = any(tokens)?;
    if !word(tokens, "else") {
        return Err(unread("if"));
    }
    let other = expression(tokens)?;
    Ok(Expression::Choice(Box::new(condition), Box::new(value), Box::new(other)))
}

fn any(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let mut left = all(tokens)?;
    while word(tokens, "or") {
        left = two("or", left, all(tokens)?);
    }
    Ok(left)
}

fn all(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let mut left = negated(tokens)?;
    while word(tokens, "and") {
        left = two("and", left, negated(tokens)?);
    }
    Ok(left)
}

fn negated(tokens: &mut Tokens) -> Result<Expression, Stop> {
    if word(tokens, "not") {
        return Ok(Expression::Not(Box::new(negated(tokens)?)));
    }
    let left = sum(tokens)?;
    for sign in ["==", "!=", "<=", ">=", "<", ">"] {
        if tokens.next_if_eq(&Token::Sign(sign)).is_some() {
            return Ok(two(sign, left, sum(tokens)?));
        }
    }
    if word(tokens, "in") {
        return Ok(two("in", left, sum(tokens)?));
    }
    if word(tokens, "not") {
        return match word(tokens, "in") {
            true => Ok(Expression::Not(Box::new(two("in", left, sum(tokens)?)))),
            false => Err(unread("not")),
        };
    }
    Ok(left)
}

fn sum(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let mut left = product(tokens)?;
    loop {
        let Some(sign) = ["+", "-"].into_iter().find(|sign| tokens.next_if_eq(&Token::Sign(sign)).is_some()) else {
            return Ok(left);
        };
        left = two(sign, left, product(tokens)?);
    }
}

fn product(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let mut left = postfix(tokens)?;
    loop {
        let Some(sign) = ["*", "/"].into_iter().find(|sign| tokens.next_if_eq(&Token::Sign(sign)).is_some()) else {
            return Ok(left);
        };
        left = two(sign, left, postfix(tokens)?);
    }
}

fn postfix(tokens: &mut Tokens) -> Result<Expression, Stop> {
    let mut value = atom(tokens)?;
    loop {
        if tokens.next_if_eq(&Token::Sign(".")).is_some() {
            let Some(Token::Name(name)) = tokens.next() else { return Err(unread(".")) };
            value = Expression::Attribute(Box::new(value), name);
        } else if tokens.next_if_eq(&Token::Sign("[")).is_some() {
            let item = expression(tokens)?;
            expect(tokens, "]")?;
            value = Expression::Item(Box::new(value), Box::new(item));
        } else if tokens.next_if_eq(&Token::Sign("(")).is_some() {
            let (mut arguments, mut named) = (Vec::new(), Vec::new());
            while tokens.next_if_eq(&Token::Sign(")")).is_none() {
                let argument = expression(tokens)?;
                match argument {
                    Expression::Name(name) if tokens.next_if_eq(&Token::Sign("=")).is_some() => {
                        named.push((name, expression(tokens)?));
                    }
                    argument => arguments.push(argument),
                }
                comma(tokens, ")")?;
            }
            value = Expression::Call(Box::new(value), arguments, named);
        } else {
            return Ok(value);
        }
    }
}

fn atom(tokens: &mut Tokens) -> Result<Expression, Stop> {
    match tokens.next() {
        Some(Token::Literal(literal)) => Ok(Expression::Literal(literal)),
        Some(Token::Name(name)) => Ok(Expression::Name(name)),
        Some(Token::Sign("-")) => Ok(Expression::Minus(Box::new(postfix(tokens)?))),
        Some(Token::Sign("(")) => {
            let mut items = vec![expression(tokens)?];
            let is_one = tokens.peek() == Some(&Token::Sign(")"));
            comma(tokens, ")")?;
            while tokens.next_if_eq(&Token::Sign(")")).is_none() {
                items.push(expression(tokens)?);
                comma(tokens, ")")?;
            }
            match (is_one, items.pop()) {
                (true, Some(item)) => Ok(item),
                (_, last) => Ok(Expression::List(items.into_iter().chain(last).collect())),
            }
        }
        Some(Token::Sign("[")) => {
            let mut items = Vec::new();
            while tokens.next_if_eq(&Token::Sign("]")).is_none() {
                items.push(expression(tokens)?);
                comma(tokens, "]")?;
            }
            Ok(Expression::List(items))
        }
        Some(Token::Sign("{")) => {
            let mut entries = Vec::new();
            while tokens.next_if_eq(&Token::Sign("}")).is_none() {
                let key = expression(tokens)?;
                expect(tokens, ":")?;
                entries.push((key, expression(tokens)?));
                comma(tokens, "}")?;
            }
            Ok(Expression::Dict(entries))
        }
        other => Err(unread(&format!("{other:?}"))),
    }
}

/// A comma, unless the end comes next.
fn comma(tokens: &mut Tokens, end: &'static str) -> Result<(), Stop> {
    if tokens.peek() == Some(&Token::Sign(end)) { Ok(()) } else { expect(tokens, ",") }
}

fn expect(tokens: &mut Tokens, sign: &'static str) -> Result<(), Stop> {
    match tokens.next() {
        Some(Token::Sign(found)) if found == sign => Ok(()),
        other => Err(unread(&format!("{other:?} where `{sign}` should be"))),
    }
}

fn word(tokens: &mut Tokens, word: &str) -> bool {
    tokens.next_if(|token| matches!(token, Token::Name(name) if name == word)).is_some()
}

fn two(sign: &'static str, left: Expression, right: Expression) -> Expression {
    Expression::Two(sign, Box::new(left), Box::new(right))
}

fn unread(what: &str) -> Stop {
    Stop::Unread(format!("the code says more than is read here: {what}"))
}
