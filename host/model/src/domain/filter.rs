//! A domain after resolution: comparisons of stored values, without any rule of Odoo's left to apply.
//!
//! Both evaluators, SQL in the store and [`super::eval`] in memory, take this and nothing else.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{
    literal::{exponent_form, plain_form, shortest_digits},
    pattern::Pattern,
};
use crate::time::DatePart;

/// A stored value, as a database column holds it.
///
/// Booleans are 0 and 1; dates `2026-11-21`; datetimes `2026-11-21 10:15:00`, UTC; references `model,id`; json its text;
/// binaries are not compared, only whether they are set.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Unset.
    Null,
    /// boolean, integer, many2one, id
    Integer(i64),
    /// float, monetary
    Real(f64),
    /// everything else
    Text(String),
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Order of two set values of like kind; none when one is unset or the kinds differ.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        #[allow(clippy::cast_precision_loss, reason = "an integer column is compared with a float as floats are")]
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(b),
            (Self::Integer(a), Self::Real(b)) => (*a as f64).partial_cmp(b),
            (Self::Real(a), Self::Integer(b)) => a.partial_cmp(&(*b as f64)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Which records of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every record.
    Always,
    /// No record.
    Never,
    /// All hold.
    And(Vec<Filter>),
    /// At least one holds.
    Or(Vec<Filter>),
    /// Does not hold.
    Not(Box<Filter>),
    /// A value of the record itself.
    Test(Subject, Check),
    /// Records that the record is linked to.
    Related(Box<Related>),
    /// The record is in a hierarchy above or below others.
    Within(Box<Closure>),
    /// There is a record of a model, whichever, that matches. The same for all records.
    Exists(String, Box<Filter>),
    /// An error, with its message, if a record of the model matches; no record otherwise.
    Refused(String, Box<Filter>, String),
}

impl Filter {
    /// Whether data can make it an error.
    #[must_use]
    pub fn may_be_refused(&self) -> bool {
        match self {
            Self::Always | Self::Never | Self::Test(..) => false,
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::may_be_refused),
            Self::Not(inner) | Self::Exists(_, inner) => inner.may_be_refused(),
            Self::Related(related) => related.filter.may_be_refused(),
            Self::Within(closure) => closure.seeds.may_be_refused() || closure.through.may_be_refused(),
            Self::Refused(..) => true,
        }
    }

    /// All hold; flattens, and drops constants.
    pub fn and(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::And(inner) => flat.extend(inner),
                Self::Test(subject, Check::NotIn { values, or_unset: true }) => {
                    // Neither these nor those.
                    if let Some(Self::Test(before, Check::NotIn { values: known, or_unset: true })) = flat.last_mut()
                        && *before == subject
                    {
                        known.extend(values);
                    } else {
                        flat.push(Self::Test(subject, Check::NotIn { values, or_unset: true }));
                    }
                }
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Always,
            1 => flat.pop().unwrap_or(Self::Always),
            _ => Self::And(flat),
        }
    }

    /// At least one holds; flattens, and drops constants.
    pub fn or(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Or(inner) => flat.extend(inner),
                Self::Test(subject, Check::In { values, or_unset: false }) => {
                    // These or those.
                    if let Some(Self::Test(before, Check::In { values: known, or_unset: false })) = flat.last_mut()
                        && *before == subject
                    {
                        known.extend(values);
                    } else {
                        flat.push(Self::Test(subject, Check::In { values, or_unset: false }));
                    }
                }
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Never,
            1 => flat.pop().unwrap_or(Self::Never),
            _ => Self::Or(flat),
        }
    }

    /// Does not hold.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            Self::Related(related) => Self::Related(Box::new(Related { negated: !related.negated, ..*related })),
            other => Self::Not(Box::new(other)),
        }
    }

    /// The record's id is one of these.
    #[must_use]
    pub fn ids(ids: Vec<i64>) -> Self {
        let values = ids.into_iter().map(Cell::Integer).collect();
        Self::Test(Subject::Column("id".to_owned()), Check::In { values, or_unset: false })
    }
}

/// The value of a record that is looked at. Columns are names of stored fields, or `id`.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// As stored.
    Column(String),
    /// A translated text in a language, or in en_US where it is not translated.
    Translated {
        /// The column.
        column: String,
        /// `fr_FR`
        lang: String,
    },
    /// A part of a date or datetime, as a number.
    Part {
        /// The column.
        column: String,
        /// Which part.
        part: DatePart,
        /// In which time zone datetimes are seen; none: UTC.
        tz: Option<String>,
    },
    /// A value that is no text, as a text.
    Text(Box<Subject>, TextForm),
    /// JSON, compared as JSON.
    Json(String),
}

impl Subject {
    /// The column that is looked at.
    #[must_use]
    pub fn column(&self) -> &str {
        match self {
            Self::Column(column) | Self::Json(column) => column,
            Self::Translated { column, .. } | Self::Part { column, .. } => column,
            Self::Text(inner, _) => inner.column(),
        }
    }
}

/// How a value that is no text reads as one, as PostgreSQL writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum TextForm {
    /// Texts and integers as they are.
    Plain,
    /// `true`, `false`
    Boolean,
    /// `1.5`, `100`, `1e+20`
    Float,
    /// `1.50`: as many decimals.
    Fixed(u8),
    /// As many decimals as the record's currency has; `1.5` and `100.0` without one.
    Money {
        /// The many2one that holds the currency.
        currency: String,
        /// Its model.
        model: String,
    },
    /// Money whose currency is not at hand: with as many decimals as there are, and one at least.
    Amount,
    /// `{"a": 1}`
    Json,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// One of the values.
    In {
        /// Never `Null`.
        values: Vec<Cell>,
        /// Also unset.
        or_unset: bool,
    },
    /// Set, and none of the values.
    NotIn {
        /// Never `Null`.
        values: Vec<Cell>,
        /// Also unset.
        or_unset: bool,
    },
    /// Above or below a value.
    Compare {
        /// How.
        order: Inequality,
        /// Never `Null`.
        value: Cell,
        /// Also unset.
        or_unset: bool,
    },
    /// Matches a pattern, or does not.
    Like {
        /// The pattern.
        pattern: Pattern,
        /// Must not match.
        negated: bool,
        /// Also unset.
        or_unset: bool,
    },
}

impl Check {
    /// Unset.
    pub const UNSET: Self = Self::In { values: Vec::new(), or_unset: true };
    /// Set.
    pub const SET: Self = Self::NotIn { values: Vec::new(), or_unset: false };
}

/// `<` and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Inequality {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Inequality {
    /// `<`
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The one that holds for set values exactly when this one does not.
    #[must_use]
    pub fn inverse(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// Whether it holds, given how left and right compare.
    #[must_use]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A relation of a model, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The field.
    pub field: String,
    /// The related model.
    pub model: String,
    /// How it is stored.
    pub storage: LinkStorage,
}

/// Where a relation is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkStorage {
    /// In the column named as the field.
    Many2one,
    /// In this column of the related model.
    One2many(String),
    /// In a table of its own: its name, the column of this model's id, the column of the related one's.
    Many2many(String, String, String),
}

/// At least one related record matches; or, negated, none does.
#[derive(Debug, Clone, PartialEq)]
pub struct Related {
    /// The relation.
    pub link: Link,
    /// What the related record must match.
    pub filter: Filter,
    /// None must match.
    pub negated: bool,
}

/// The record is one of the seeds, or reached from them step by step. Cycles end by themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Closure {
    /// The model, on both sides of the step.
    pub model: String,
    /// Where it starts.
    pub seeds: Filter,
    /// The relation to itself.
    pub link: Link,
    /// Only related records that match take part in a step.
    pub through: Filter,
    /// Whether a step goes from a record to those in its field, or from a record to those whose field holds it.
    pub forward: bool,
}

/// PostgreSQL's text of a double: shortest digits, an exponent from 1e+15 on and below 0.0001.
#[must_use]
pub fn float_text(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN".to_owned()
        } else {
            format!("{}Infinity", if number < 0.0 { "-" } else { "" })
        };
    }
    let (negative, digits, point) = shortest_digits(number);
    let body = if !(-3..=15).contains(&point) { exponent_form(&digits, point) } else { plain_form(&digits, point) };
    let body = if digits == "0" { "0".to_owned() } else { body };
    if negative { format!("-{body}") } else { body }
}

/// PostgreSQL's text of `jsonb`: spaces after `,` and `:`, keys by length and then by bytes.
#[must_use]
pub fn json_text(json: &Json) -> String {
    match json {
        Json::Array(items) => format!("[{}]", items.iter().map(json_text).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let items: Vec<String> = sorted_pairs(map)
                .into_iter()
                .map(|(key, value)| format!("{}: {}", Json::from(key.as_str()), json_text(value)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn sorted_pairs(map: &serde_json::Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    pairs
}

/// PostgreSQL's order of `jsonb`: null, texts, numbers, booleans, arrays, objects; longer ones after shorter ones. An empty
/// array at the top comes before everything.
#[must_use]
pub fn json_compare(a: &Json, b: &Json) -> Ordering {
    // A scalar at the top counts as an array of one, before all real arrays of one.
    let top = |json: &Json| match json {
        Json::Object(_) => (1, 0, 0),
        Json::Array(items) => (0, items.len(), 1),
        _ => (0, 1, 0),
    };
    top(a).cmp(&top(b)).then_with(|| json_compare_inner(a, b))
}

fn json_compare_inner(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (Json::Array(a), Json::Array(b)) => {
            a.len().cmp(&b.len()).then_with(|| compare_all(a.iter().zip(b).map(|(a, b)| json_compare_inner(a, b))))
        }
        (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            compare_all(sorted_pairs(a).into_iter().zip(sorted_pairs(b)).map(|((a, x), (b, y))| {
                a.len().cmp(&b.len()).then_with(|| a.cmp(b)).then_with(|| json_compare_inner(x, y))
            }))
        }),
        _ => json_rank(a).cmp(&json_rank(b)),
    }
}

fn compare_all(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn json_rank(json: &Json) -> u8 {
    match json {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    }
}
