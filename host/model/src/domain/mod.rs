//! Odoo's domains: parse, print, resolve against a schema, judge in memory.
//!
//! | module | what it does |
//! |---|---|
//! | [`literal`] | Python literals as text and JSON |
//! | [`parse`] | prefix notation to a [`Domain`] and back |
//! | [`resolve`] | a domain against a schema: a [`filter::Filter`] over stored values |
//! | [`filter`] | what both evaluators understand |
//! | [`eval`] | judges a filter in memory |
//! | [`memory`] | records in memory, and records with values replaced |
//! | [`pattern`] | the `like` family |
//!
//! The way of a domain: text, JSON or terms → [`Domain`] → `resolve` → [`filter::Filter`] → SQL (in the store) or
//! [`eval::matches`]. All of Odoo's rules are in `resolve`; the two evaluators only compare stored values, so that
//! they cannot drift apart.

pub mod eval;
pub mod filter;
pub mod literal;
pub mod memory;
pub mod parse;
pub mod pattern;
mod python;
pub mod resolve;

use std::fmt;

pub use literal::Literal;

/// How many levels of `and`, `or`, `not` and `any` a domain may have after flattening.
pub const MAX_DEPTH: usize = 64;
/// How many conditions a domain may have.
pub const MAX_CONDITIONS: usize = 20_000;

/// Which records of a model.
///
/// `And` and `Or` hold at least two parts, none of them a constant or of the same kind: the constructors flatten.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Every record: `[]`, `[(1, '=', 1)]`.
    Always,
    /// No record: `[(0, '=', 1)]`.
    Never,
    /// All parts hold.
    And(Vec<Domain>),
    /// At least one part holds.
    Or(Vec<Domain>),
    /// The part does not hold.
    Not(Box<Domain>),
    /// `(field, operator, value)`
    Condition(Condition),
}

/// `(field, operator, value)`
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// A field, or a path through relations.
    pub field: String,
    /// How field and value are compared.
    pub operator: Operator,
    /// The right-hand side.
    pub value: Operand,
}

/// The right-hand side of a condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A value or a list.
    Literal(Literal),
    /// The sub-domain of `any` and `not any`.
    Domain(Box<Domain>),
}

/// Odoo's operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it; `text` gives Odoo's spelling")]
pub enum Operator {
    Equal,
    NotEqual,
    EqualOrUnset,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Like,
    NotLike,
    Ilike,
    NotIlike,
    EqualLike,
    NotEqualLike,
    EqualIlike,
    NotEqualIlike,
    ChildOf,
    ParentOf,
    Any,
    NotAny,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Equal,
        Self::NotEqual,
        Self::EqualOrUnset,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
        Self::NotIn,
        Self::Like,
        Self::NotLike,
        Self::Ilike,
        Self::NotIlike,
        Self::EqualLike,
        Self::NotEqualLike,
        Self::EqualIlike,
        Self::NotEqualIlike,
        Self::ChildOf,
        Self::ParentOf,
        Self::Any,
        Self::NotAny,
    ];

    /// Odoo's spelling.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::EqualOrUnset => "=?",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Like => "like",
            Self::NotLike => "not like",
            Self::Ilike => "ilike",
            Self::NotIlike => "not ilike",
            Self::EqualLike => "=like",
            Self::NotEqualLike => "not =like",
            Self::EqualIlike => "=ilike",
            Self::NotEqualIlike => "not =ilike",
            Self::ChildOf => "child_of",
            Self::ParentOf => "parent_of",
            Self::Any => "any",
            Self::NotAny => "not any",
        }
    }

    /// Reads Odoo's spelling, in any case; `<>` and `==` are old spellings of `!=` and `=`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        match lower.as_str() {
            "<>" => Some(Self::NotEqual),
            "==" => Some(Self::Equal),
            _ => Self::ALL.into_iter().find(|operator| operator.text() == lower),
        }
    }

    /// The operator that holds exactly when this one does not, if there is one.
    #[must_use]
    pub fn negated(self) -> Option<Self> {
        Some(match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::In => Self::NotIn,
            Self::NotIn => Self::In,
            Self::Like => Self::NotLike,
            Self::NotLike => Self::Like,
            Self::Ilike => Self::NotIlike,
            Self::NotIlike => Self::Ilike,
            Self::EqualLike => Self::NotEqualLike,
            Self::NotEqualLike => Self::EqualLike,
            Self::EqualIlike => Self::NotEqualIlike,
            Self::NotEqualIlike => Self::EqualIlike,
            Self::Any => Self::NotAny,
            Self::NotAny => Self::Any,
            Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::EqualOrUnset
            | Self::ChildOf
            | Self::ParentOf => return None,
        })
    }

    /// One of the negative operators: `!=`, `not in`, `not like`…
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(
            self,
            Self::NotEqual
                | Self::NotIn
                | Self::NotLike
                | Self::NotIlike
                | Self::NotEqualLike
                | Self::NotEqualIlike
                | Self::NotAny
        )
    }

    /// One of the `like` family.
    #[must_use]
    pub fn is_like(self) -> bool {
        self.text().ends_with("like")
    }

    /// `=like` and its kin: the pattern covers the whole text.
    #[must_use]
    pub fn is_whole_pattern(self) -> bool {
        matches!(self, Self::EqualLike | Self::NotEqualLike | Self::EqualIlike | Self::NotEqualIlike)
    }

    /// `<`, `<=`, `>`, `>=`
    #[must_use]
    pub fn is_inequality(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Domain {
    /// A condition with a literal. The names are trusted: parsing checks them, [`resolve`] finds them.
    pub fn condition(field: impl Into<String>, operator: Operator, value: Literal) -> Self {
        Self::Condition(Condition { field: field.into(), operator, value: Operand::Literal(value) })
    }

    /// A condition with a sub-domain.
    pub fn any(field: impl Into<String>, operator: Operator, domain: Self) -> Self {
        Self::Condition(Condition { field: field.into(), operator, value: Operand::Domain(Box::new(domain)) })
    }

    /// All of them hold. Flattens, drops `Always`, and is `Never` if one of them is.
    pub fn and(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Always,
            1 => flat.pop().unwrap_or(Self::Always),
            _ => Self::And(flat),
        }
    }

    /// At least one of them holds. Flattens, drops `Never`, and is `Always` if one of them is.
    pub fn or(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Never,
            1 => flat.pop().unwrap_or(Self::Never),
            _ => Self::Or(flat),
        }
    }

    /// The opposite: De Morgan down to conditions; `Not` stays only where the field's type decides what it means.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            Self::And(parts) => Self::or(parts.into_iter().map(Self::negate)),
            Self::Or(parts) => Self::and(parts.into_iter().map(Self::negate)),
            Self::Condition(condition) => match condition.operator.negated() {
                Some(operator) if !condition.field.contains('.') => {
                    Self::Condition(Condition { operator, ..condition })
                }
                _ => Self::Not(Box::new(Self::Condition(condition))),
            },
        }
    }

    /// Calls `visit` for each condition of this level; sub-domains of `any` are not entered.
    pub fn for_each_condition<'a>(&'a self, visit: &mut impl FnMut(&'a Condition)) {
        match self {
            Self::Always | Self::Never => {}
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.for_each_condition(visit);
                }
            }
            Self::Not(inner) => inner.for_each_condition(visit),
            Self::Condition(condition) => visit(condition),
        }
    }

    /// Whether a condition of this level names exactly this field.
    #[must_use]
    pub fn mentions(&self, field: &str) -> bool {
        let mut found = false;
        self.for_each_condition(&mut |condition| found |= condition.field == field);
        found
    }
}
