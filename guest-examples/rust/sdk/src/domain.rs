//! Domains: which records.

use std::{fmt, ops::Not};

use crate::{Condition, IntoOperand, Operand, Operator, Term, Value, bindings::triggerbox::automation::types};

/// Which records, in Odoo's prefix notation. Written with [`domain!`](crate::domain); empty, it matches all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Domain(pub Vec<Term>);

impl Domain {
    /// All records that are not archived.
    pub fn all() -> Self {
        Self::default()
    }

    /// One condition, for operators that are not known before run time; otherwise use [`domain!`](crate::domain).
    pub fn condition(field: impl Into<String>, operator: Operator, value: impl IntoOperand) -> Self {
        let value = value.into_operand();
        Self(vec![Term::Condition(Condition { field: field.into(), operator, value })])
    }

    /// Records that match both.
    pub fn and(mut self, other: Self) -> Self {
        // Terms side by side are joined by "and"; each side is closed first, so that it stays whole.
        self = self.closed();
        self.0.extend(other.closed().0);
        self
    }

    /// Records that match either.
    pub fn or(self, other: Self) -> Self {
        let mut terms = vec![Term::Or];
        terms.extend(self.closed_or_always().0);
        terms.extend(other.closed_or_always().0);
        Self(terms)
    }

    /// The matching records in this order, `name desc, id`.
    pub fn order(self, order: impl Into<String>) -> Search {
        Search::from(self).order(order)
    }

    /// At most so many of the matching records.
    pub fn limit(self, limit: u32) -> Search {
        Search::from(self).limit(limit)
    }

    /// The matching records without the first so many.
    pub fn offset(self, offset: u32) -> Search {
        Search::from(self).offset(offset)
    }

    /// Also the archived records that match; Odoo's `active_test=False`.
    pub fn archived(self) -> Search {
        Search::from(self).archived()
    }

    /// As one operand of a prefix operator: with the `&`s that Odoo lets authors leave out.
    fn closed(mut self) -> Self {
        let operands = self.operands();
        self.0.splice(0..0, (1..operands).map(|_| Term::And));
        self
    }

    fn closed_or_always(self) -> Self {
        if self.0.is_empty() { Self(vec![Term::Always]) } else { self.closed() }
    }

    /// How many complete terms stand side by side.
    fn operands(&self) -> usize {
        let used = self.0.iter().filter(|term| matches!(term, Term::And | Term::Or)).count();
        let leaves = self.0.iter().filter(|term| !matches!(term, Term::And | Term::Or | Term::Not)).count();
        leaves.saturating_sub(used)
    }
}

/// Records that do not match.
impl Not for Domain {
    type Output = Self;

    fn not(self) -> Self {
        let mut terms = vec![Term::Not];
        terms.extend(self.closed_or_always().0);
        Self(terms)
    }
}

/// Odoo's literal notation: `[('type', '=', 'lead'), '|', …]`.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, term) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match term {
                Term::And => f.write_str("'&'")?,
                Term::Or => f.write_str("'|'")?,
                Term::Not => f.write_str("'!'")?,
                Term::Always => f.write_str("(1, '=', 1)")?,
                Term::Never => f.write_str("(0, '=', 1)")?,
                Term::Condition(Condition { field, operator, value }) => {
                    write!(f, "({}, '{}', {})", quoted(field), operator.symbol(), operand_literal(value))?;
                }
            }
        }
        f.write_str("]")
    }
}

fn operand_literal(operand: &Operand) -> String {
    match operand {
        Operand::One(value) => value_literal(value),
        Operand::Many(values) => list(values.iter().map(value_literal)),
        Operand::Domain(domain) => domain.clone(),
    }
}

fn value_literal(value: &Value) -> String {
    match value {
        Value::Unset | Value::Pending => "False".into(),
        Value::Boolean(true) => "True".into(),
        Value::Boolean(false) => "False".into(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => format!("{value:?}"),
        Value::Text(text) | Value::Date(text) | Value::Json(text) => quoted(text),
        // Odoo's own spelling, without zone: `2026-11-21 10:15:00`.
        Value::Datetime(text) => quoted(&text.trim_end_matches('Z').replace('T', " ")),
        Value::Many2one(link) => link.id.to_string(),
        Value::Ids(ids) => list(ids.iter().map(u32::to_string)),
        Value::Reference(record) => quoted(&format!("{},{}", record.model, record.id)),
        Value::Binary(bytes) => quoted(&String::from_utf8_lossy(bytes)),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("\\'"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// Operators with Odoo's spelling of them.
const OPERATORS: &[(Operator, &str)] = &[
    (Operator::Eq, "="),
    (Operator::Ne, "!="),
    (Operator::Lt, "<"),
    (Operator::Le, "<="),
    (Operator::Gt, ">"),
    (Operator::Ge, ">="),
    (Operator::IsIn, "in"),
    (Operator::NotIn, "not in"),
    (Operator::Like, "like"),
    (Operator::NotLike, "not like"),
    (Operator::Ilike, "ilike"),
    (Operator::NotIlike, "not ilike"),
    (Operator::LikePattern, "=like"),
    (Operator::NotLikePattern, "not =like"),
    (Operator::IlikePattern, "=ilike"),
    (Operator::NotIlikePattern, "not =ilike"),
    (Operator::ChildOf, "child_of"),
    (Operator::ParentOf, "parent_of"),
    (Operator::EqOrUnset, "=?"),
    (Operator::Any, "any"),
    (Operator::NotAny, "not any"),
];

impl Operator {
    /// The operator that Odoo spells so. Panics for unknown ones: `domain!` calls it at compile time.
    #[doc(hidden)]
    pub const fn from_symbol(symbol: &str) -> Self {
        let mut index = 0;
        while index < OPERATORS.len() {
            if same(OPERATORS[index].1.as_bytes(), symbol.as_bytes()) {
                return OPERATORS[index].0;
            }
            index += 1;
        }
        panic!(
            "unknown domain operator; Odoo's are = != < <= > >= in, like, ilike, =like, =ilike (each also after not), child_of, parent_of, =?, any, not any"
        )
    }

    /// Odoo's spelling: `not in`.
    pub fn symbol(self) -> &'static str {
        OPERATORS.iter().find(|(operator, _)| *operator == self).map_or("=", |(_, symbol)| symbol)
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// A domain with the part and the order of the matching records that is wanted.
///
/// Made from a [`Domain`], by its `order`, `limit`, `offset` and `archived`; or from a text in Odoo's notation.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub(crate) domain: types::Domain,
    pub(crate) offset: u32,
    pub(crate) limit: Option<u32>,
    pub(crate) order: Option<String>,
    pub(crate) having: Option<String>,
    pub(crate) archived: bool,
}

impl Search {
    fn new(domain: types::Domain) -> Self {
        Self { domain, offset: 0, limit: None, order: None, having: None, archived: false }
    }

    /// `name desc, id`. In [`read_group`](crate::Model::read_group): group keys and aggregates.
    pub fn order(mut self, order: impl Into<String>) -> Self {
        self.order = Some(order.into());
        self
    }

    /// At most so many.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Without the first so many.
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }

    /// Also archived records; Odoo's `active_test=False`.
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// Only groups whose aggregates match: `[('__count', '>', 5)]`. For [`read_group`](crate::Model::read_group).
    pub fn having(mut self, domain: impl Into<String>) -> Self {
        self.having = Some(domain.into());
        self
    }
}

impl From<Domain> for Search {
    fn from(domain: Domain) -> Self {
        Self::new(types::Domain::Terms(domain.0))
    }
}

/// A domain as Odoo writes it: `"[('type', '=', 'lead')]"`. The host parses it; nothing in it is evaluated.
impl From<&str> for Search {
    fn from(literal: &str) -> Self {
        Self::new(types::Domain::Literal(literal.to_owned()))
    }
}

/// See [`From<&str>`](#impl-From<%26str>-for-Search).
impl From<String> for Search {
    fn from(literal: String) -> Self {
        Self::new(types::Domain::Literal(literal))
    }
}

/// A domain, with the values of the script in it.
///
/// ```
/// # use triggerbox::prelude::*;
/// # let (email, tags) = ("ada@example.com", vec![4_u32, 9]);
/// let domain = domain![
///     ("email_from", "=ilike", email),
///     "|", ("expected_revenue", ">", 10_000.0), ("tag_ids", "in", tags),
///     ("order_ids", "any", domain![("state", "=", "sale")]),
/// ];
/// ```
///
/// An operator that does not exist is a compile error.
#[macro_export]
macro_rules! domain {
    (@terms $terms:ident;) => {};
    (@terms $terms:ident; "&" $(, $($rest:tt)*)?) => {
        $terms.push($crate::Term::And);
        $crate::domain!(@terms $terms; $($($rest)*)?);
    };
    (@terms $terms:ident; "|" $(, $($rest:tt)*)?) => {
        $terms.push($crate::Term::Or);
        $crate::domain!(@terms $terms; $($($rest)*)?);
    };
    (@terms $terms:ident; "!" $(, $($rest:tt)*)?) => {
        $terms.push($crate::Term::Not);
        $crate::domain!(@terms $terms; $($($rest)*)?);
    };
    (@terms $terms:ident; ($field:expr, $operator:literal, $value:expr $(,)?) $(, $($rest:tt)*)?) => {
        $terms.push($crate::Term::Condition($crate::Condition {
            field: ::core::convert::Into::into($field),
            operator: const { $crate::Operator::from_symbol($operator) },
            value: $crate::IntoOperand::into_operand($value),
        }));
        $crate::domain!(@terms $terms; $($($rest)*)?);
    };
    () => { $crate::Domain::all() };
    ($($terms:tt)+) => {{
        let mut terms = ::std::vec::Vec::new();
        $crate::domain!(@terms terms; $($terms)+);
        $crate::Domain(terms)
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_macro_writes_what_odoo_writes() {
        let domain = domain![
            ("name", "ilike", "o'brien\n"),
            "|",
            ("stage_id", "=", 7_u32),
            "!",
            ("color", "in", [1, 2]),
            ("user_id", "=", false),
        ];
        assert_eq!(
            domain.to_string(),
            r"[('name', 'ilike', 'o\'brien\n'), '|', ('stage_id', '=', 7), '!', ('color', 'in', [1, 2]), ('user_id', '=', False)]"
        );
        assert_eq!(domain![].to_string(), "[]");
    }

    #[test]
    fn sub_domains_become_literals() {
        let domain = domain![("order_line", "any", domain![("price_unit", ">", 2.5)])];
        assert_eq!(domain.to_string(), "[('order_line', 'any', [('price_unit', '>', 2.5)])]");
    }

    #[test]
    fn joining_keeps_each_side_whole() {
        let two = domain![("a", "=", 1), ("b", "=", 2)];
        let one = domain![("c", "=", 3)];
        assert_eq!(two.clone().or(one.clone()).to_string(), "['|', '&', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]");
        assert_eq!(
            domain!["|", ("a", "=", 1), ("b", "=", 2)].and(one.clone()).to_string(),
            "['|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]"
        );
        assert_eq!((!two).to_string(), "['!', '&', ('a', '=', 1), ('b', '=', 2)]");
        assert_eq!(Domain::all().and(one.clone()), one);
        assert_eq!(Domain::all().or(one).to_string(), "['|', (1, '=', 1), ('c', '=', 3)]");
    }

    #[test]
    fn every_operator_has_one_symbol() {
        for (operator, symbol) in OPERATORS {
            assert_eq!(Operator::from_symbol(symbol), *operator);
            assert_eq!(operator.symbol(), *symbol);
        }
    }
}
