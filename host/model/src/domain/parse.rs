//! Prefix notation to a [`Domain`] and back: from text, from JSON, from the terms of a host call.

use std::{collections::VecDeque, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Condition, Domain, Literal, MAX_CONDITIONS, MAX_DEPTH, Operand, Operator,
    literal::{bad, quote},
};
use crate::{
    call::{self, DomainSource, Term},
    error::Error,
    value::Value,
};

impl Domain {
    /// Reads a literal domain: `[('type', '=', 'lead'), '|', …]`.
    ///
    /// # Errors
    /// `bad-domain`, saying where and what to do.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::from_literal(&Literal::parse(text)?)
    }

    /// Reads a domain in JSON: `[["type", "=", "lead"], "|", …]`.
    ///
    /// # Errors
    /// `bad-domain`
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Error> {
        Self::from_literal(&Literal::from_json(json)?)
    }

    /// Reads a domain as a script sent it.
    ///
    /// # Errors
    /// `bad-domain`
    pub fn from_source(source: &DomainSource) -> Result<Self, Error> {
        match source {
            DomainSource::Literal(text) => Self::parse(text),
            DomainSource::Terms(terms) => {
                let mut stack = Stack::default();
                for (index, term) in terms.iter().enumerate().rev() {
                    match term {
                        Term::And => stack.operator("&", index)?,
                        Term::Or => stack.operator("|", index)?,
                        Term::Not => stack.operator("!", index)?,
                        Term::Always => stack.push(Self::Always)?,
                        Term::Never => stack.push(Self::Never)?,
                        Term::Condition(field, operator, operand) => {
                            let value = match operand {
                                call::Operand::One(value) => Operand::Literal(literal_of(value)?),
                                call::Operand::Many(values) => Operand::Literal(Literal::List(
                                    values.iter().map(literal_of).collect::<Result<_, _>>()?,
                                )),
                                call::Operand::Domain(text) => Operand::Domain(Box::new(Self::parse(text)?)),
                            };
                            stack.push(condition(field, operator, value)?)?;
                        }
                    }
                }
                stack.finish()
            }
        }
    }

    /// Reads a domain from a literal: a list in prefix notation, or `True` and `False`.
    ///
    /// # Errors
    /// `bad-domain`
    pub fn from_literal(literal: &Literal) -> Result<Self, Error> {
        let items = match literal {
            Literal::List(items) => items,
            Literal::Bool(true) => return Ok(Self::Always),
            Literal::Bool(false) => return Ok(Self::Never),
            other => return Err(bad(format!("a domain is a list, not {}", other.type_name()))),
        };
        let mut stack = Stack::default();
        for (index, item) in items.iter().enumerate().rev() {
            match item {
                Literal::Text(text) if matches!(text.as_str(), "&" | "|" | "!") => stack.operator(text, index)?,
                Literal::List(triple) => match triple.as_slice() {
                    [Literal::Text(field), operator, value] => {
                        let Literal::Text(operator) = operator else {
                            return Err(bad(format!("item {}: the operator must be a text, in {item}", index + 1)));
                        };
                        stack.push(condition(field, operator, operand(operator, value)?)?)?;
                    }
                    [left, Literal::Text(operator), right] if operator == "=" && is_one(right) && is_one(left) => {
                        stack.push(Self::Always)?;
                    }
                    [left, Literal::Text(operator), right] if operator == "=" && is_one(right) && is_zero(left) => {
                        stack.push(Self::Never)?;
                    }
                    _ => return Err(bad_item(item, index)),
                },
                _ => return Err(bad_item(item, index)),
            }
        }
        stack.finish()
    }

    /// The domain as a literal in prefix notation; parsing it gives the same domain.
    #[must_use]
    pub fn to_literal(&self) -> Literal {
        let mut items = Vec::new();
        self.append_to(&mut items);
        Literal::List(items)
    }

    fn append_to(&self, items: &mut Vec<Literal>) {
        match self {
            Self::Always => items.push(constant(1)),
            Self::Never => items.push(constant(0)),
            Self::And(parts) | Self::Or(parts) => {
                let mark = if matches!(self, Self::And(_)) { "&" } else { "|" };
                items.extend(std::iter::repeat_n(Literal::text(mark), parts.len().saturating_sub(1)));
                for part in parts {
                    part.append_to(items);
                }
            }
            Self::Not(inner) => {
                items.push(Literal::text("!"));
                inner.append_to(items);
            }
            Self::Condition(condition) => items.push(Literal::List(vec![
                Literal::text(condition.field.as_str()),
                Literal::text(condition.operator.text()),
                match &condition.value {
                    Operand::Literal(literal) => literal.clone(),
                    Operand::Domain(domain) => domain.to_literal(),
                },
            ])),
        }
    }

    /// How many levels it has, sub-domains included.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Always | Self::Never => 1,
            Self::And(parts) | Self::Or(parts) => 1 + parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(inner) => 1 + inner.depth(),
            Self::Condition(condition) => match &condition.value {
                Operand::Literal(_) => condition.steps(),
                Operand::Domain(domain) => condition.steps() + domain.depth(),
            },
        }
    }
}

impl Condition {
    /// How many records its path goes through: each is a level, as a sub-domain is.
    fn steps(&self) -> usize {
        1 + self.field.bytes().filter(|&byte| byte == b'.').count()
    }
}

/// The domain as Python writes it: `['&', ('a', '=', 1), ('b', '=', 2)]`.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => return f.write_str("[]"),
            Self::And(parts) if parts.iter().all(|part| matches!(part, Self::Condition(_))) => {
                f.write_str("[")?;
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    part.fmt_terms(f)?;
                }
            }
            _ => {
                f.write_str("[")?;
                self.fmt_terms(f)?;
            }
        }
        f.write_str("]")
    }
}

impl Domain {
    fn fmt_terms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("(1, '=', 1)"),
            Self::Never => f.write_str("(0, '=', 1)"),
            Self::And(parts) | Self::Or(parts) => {
                let mark = if matches!(self, Self::And(_)) { "'&', " } else { "'|', " };
                for _ in 1..parts.len() {
                    f.write_str(mark)?;
                }
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    part.fmt_terms(f)?;
                }
                Ok(())
            }
            Self::Not(inner) => {
                f.write_str("'!', ")?;
                inner.fmt_terms(f)
            }
            Self::Condition(condition) => write!(f, "{condition}"),
        }
    }
}

/// `('name', 'ilike', 'ada')`
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        quote(&self.field, f)?;
        write!(f, ", '{}', ", self.operator)?;
        match &self.value {
            Operand::Literal(literal) => write!(f, "{literal}")?,
            Operand::Domain(domain) => write!(f, "{domain}")?,
        }
        f.write_str(")")
    }
}

/// What has been read so far, from the end of the list to its start.
#[derive(Default)]
struct Stack {
    parts: Vec<Part>,
    conditions: usize,
}

/// A domain under construction. Chains of one operator grow at either end, so that thousands of terms stay linear.
struct Part {
    kind: PartKind,
    /// Levels it will have.
    depth: usize,
    /// An odd number of `!` stands before it.
    negated: bool,
}

enum PartKind {
    Whole(Domain),
    And(VecDeque<Domain>),
    Or(VecDeque<Domain>),
}

impl Part {
    fn whole(domain: Domain) -> Self {
        let depth = domain.depth();
        Self { kind: PartKind::Whole(domain), depth, negated: false }
    }

    fn into_domain(self) -> Domain {
        let domain = match self.kind {
            PartKind::Whole(domain) => domain,
            PartKind::And(parts) => Domain::and(parts),
            PartKind::Or(parts) => Domain::or(parts),
        };
        if self.negated { domain.negate() } else { domain }
    }

    /// As parts of an `And` (or an `Or`) that may be joined with others.
    fn into_parts(self, and: bool) -> VecDeque<Domain> {
        match (self.kind, self.negated) {
            (PartKind::And(parts), false) if and => parts,
            (PartKind::Or(parts), false) if !and => parts,
            (kind, negated) => VecDeque::from([Self { kind, depth: self.depth, negated }.into_domain()]),
        }
    }

    fn is_chain(&self, and: bool) -> bool {
        !self.negated && matches!((&self.kind, and), (PartKind::And(_), true) | (PartKind::Or(_), false))
    }

    fn join(self, next: Self, and: bool) -> Result<Self, Error> {
        let levels = |part: &Self| if part.is_chain(and) { part.depth } else { part.depth + 1 };
        let depth = levels(&self).max(levels(&next));
        if depth > MAX_DEPTH {
            return Err(bad(format!("the domain nests deeper than {MAX_DEPTH} levels; write it flatter")));
        }
        let mut left = self.into_parts(and);
        let mut right = next.into_parts(and);
        if left.len() < right.len() {
            while let Some(part) = left.pop_back() {
                right.push_front(part);
            }
            left = right;
        } else {
            left.append(&mut right);
        }
        let kind = if and { PartKind::And(left) } else { PartKind::Or(left) };
        Ok(Self { kind, depth, negated: false })
    }
}

impl Stack {
    fn push(&mut self, domain: Domain) -> Result<(), Error> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(bad(format!("the domain has more than {MAX_CONDITIONS} conditions; use `in` with a list")));
        }
        self.parts.push(Part::whole(domain));
        Ok(())
    }

    fn operator(&mut self, mark: &str, index: usize) -> Result<(), Error> {
        let missing = || {
            let wanted = if mark == "!" { "one term" } else { "two terms" };
            bad(format!("item {}: `{mark}` needs {wanted} after it", index + 1))
        };
        let mut first = self.parts.pop().ok_or_else(missing)?;
        if mark == "!" {
            first.negated = !first.negated;
        } else {
            let second = self.parts.pop().ok_or_else(missing)?;
            first = first.join(second, mark == "&")?;
        }
        self.parts.push(first);
        Ok(())
    }

    fn finish(self) -> Result<Domain, Error> {
        let domain = Domain::and(self.parts.into_iter().rev().map(Part::into_domain));
        if domain.depth() > MAX_DEPTH {
            return Err(bad(format!("the domain nests deeper than {MAX_DEPTH} levels; write it flatter")));
        }
        Ok(domain)
    }
}

fn condition(field: &str, operator: &str, value: Operand) -> Result<Domain, Error> {
    check_name(field)?;
    let Some(operator) = Operator::from_text(operator) else {
        return Err(
            bad(format!("unknown operator `{operator}` on `{field}`; there are {}", operator_list())).with_field(field)
        );
    };
    Ok(Domain::Condition(Condition { field: field.to_owned(), operator, value }))
}

/// A field name or path, as the contract has them.
fn check_name(field: &str) -> Result<(), Error> {
    let mut bytes = field.bytes();
    let starts = bytes.next().is_some_and(|c| c.is_ascii_lowercase() || c == b'_');
    if starts && bytes.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'.')) {
        return Ok(());
    }
    let mut shown = String::new();
    let _ = quote(field, &mut shown);
    Err(bad(format!("{shown} is not a field name; names have lower-case letters, digits, `_`, and `.` in paths")))
}

fn operator_list() -> String {
    Operator::ALL.map(|operator| format!("`{operator}`")).join(", ")
}

/// The value of a condition; what follows `any` must be a domain.
fn operand(operator: &str, value: &Literal) -> Result<Operand, Error> {
    if !operator.to_ascii_lowercase().ends_with("any") {
        return Ok(Operand::Literal(value.clone()));
    }
    let domain = match value {
        Literal::None => Domain::Never,
        other => Domain::from_literal(other)?,
    };
    Ok(Operand::Domain(Box::new(domain)))
}

fn literal_of(value: &Value) -> Result<Literal, Error> {
    Ok(match value {
        Value::Unset => Literal::Bool(false),
        Value::Pending => return Err(bad("a value that is still pending cannot be searched for")),
        Value::Boolean(flag) => Literal::Bool(*flag),
        Value::Integer(number) => Literal::Integer(i64::from(*number)),
        Value::Number(number) => Literal::Float(*number),
        Value::Text(text) | Value::Date(text) | Value::Json(text) => Literal::Text(text.clone()),
        Value::Datetime(text) => Literal::Text(crate::time::datetime_from_contract(text)?),
        Value::Many2one(link) => Literal::Integer(i64::from(link.id)),
        Value::Ids(ids) => Literal::List(ids.iter().map(|id| Literal::Integer(i64::from(*id))).collect()),
        Value::Reference(record) => Literal::Text(format!("{},{}", record.model, record.id)),
        Value::Binary(bytes) => Literal::Text(STANDARD.encode(bytes)),
    })
}

fn is_one(literal: &Literal) -> bool {
    matches!(literal, Literal::Integer(1) | Literal::Bool(true)) || *literal == Literal::Float(1.0)
}

fn is_zero(literal: &Literal) -> bool {
    matches!(literal, Literal::Integer(0) | Literal::Bool(false)) || *literal == Literal::Float(0.0)
}

fn constant(left: i64) -> Literal {
    Literal::List(vec![Literal::Integer(left), Literal::text("="), Literal::Integer(1)])
}

fn bad_item(item: &Literal, index: usize) -> Error {
    let mut shown: String = item.to_string().chars().take(80).collect();
    if shown.len() < item.to_string().len() {
        shown.push('…');
    }
    bad(format!("item {}: {shown} is neither a condition (field, operator, value) nor '&', '|' or '!'", index + 1))
}
