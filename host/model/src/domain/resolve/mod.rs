//! A domain against a schema: from what a user wrote to comparisons of stored values.
//!
//! Two passes, in Odoo's order, because its rules for negation and unset values depend on it:
//!
//! 1. [`normal`] finds the fields, turns paths into `any`, `=` into `in`, texts on relations into searches by name, and
//!    checks values against field types; negation is pushed down to the comparisons.
//! 2. [`typed`] and [`relations`] turn each comparison into a [`Filter`]: related and inherited fields are followed, record
//!    rules and archived records of related models applied, values converted as the columns hold them.
//!
//! What `search` finds is the rule, also where Odoo's own in-memory filter would say otherwise.

mod chatter;
mod names;
mod normal;
mod relations;
mod typed;

use indexmap::IndexMap;
use jiff::tz::TimeZone;

use super::{
    Domain, Literal,
    filter::{Filter, Inequality, Link},
    python::{difference, intersection, unique},
};
use crate::{
    error::Error,
    schema::{Field, FieldKind, Model, Schema},
    time::{Clock, DatePart},
    value::Id,
};

/// What the user may see. Asked only when the user is no superuser.
pub trait Access {
    /// Refuses a model that the user may not read at all.
    ///
    /// # Errors
    /// `access-denied`
    fn check_model(&self, model: &str) -> Result<(), Error>;

    /// The record rules for reading a model, combined; resolved by [`rules`].
    ///
    /// # Errors
    /// `access-denied` when the user may not read the model at all.
    fn read_rules(&self, context: &Context<'_>, model: &str) -> Result<Filter, Error>;

    /// What else must hold of the records of a model for the user to see them: messages and activities are seen with
    /// the record that they are on.
    ///
    /// # Errors
    /// What the database says.
    fn read_documents(&self, model: &str) -> Result<Filter, Error> {
        let _ = model;
        Ok(Filter::Always)
    }

    /// Whether the user may see a field.
    ///
    /// # Errors
    /// `access-denied`
    fn check_field(&self, model: &Model, name: &str, field: &Field) -> Result<(), Error>;
}

/// Everything a domain's meaning depends on besides the domain.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The models.
    pub schema: &'a Schema,
    /// The present, for relative dates; and in which zone a day begins.
    pub clock: &'a Clock,
    /// In which zone date parts are taken, if not in UTC. Odoo takes the context's zone, never the user's own.
    pub parts_tz: Option<&'a str>,
    /// Language of translated fields.
    pub lang: &'a str,
    /// Whether texts may be kept in that language: whoever asks for a translated field in another is refused.
    pub lang_known: bool,
    /// Archived records are left out unless the domain names the active field.
    pub active_test: bool,
    /// The user (`res.users`) who asks.
    pub user: Id,
    /// None: a superuser, who sees everything.
    pub access: Option<&'a dyn Access>,
}

impl<'a> Context<'a> {
    fn sudo(self) -> Self {
        Self { access: None, ..self }
    }

    fn with_active_test(self, active_test: bool) -> Self {
        Self { active_test, ..self }
    }

    /// Refuses a language that is not installed.
    ///
    /// # Errors
    /// `unknown-language`
    pub fn check_language(&self) -> Result<(), Error> {
        if self.lang_known {
            return Ok(());
        }
        let message = format!("unknown language `{}`; use an installed one", self.lang);
        Err(Error::invalid("unknown-language", message))
    }

    fn model(self, name: &str) -> Result<&'a Model, Error> {
        self.schema.model(name)
    }
}

/// A clock in UTC, with weeks that start on Monday.
#[must_use]
pub fn utc_clock(now: jiff::Timestamp) -> Clock {
    Clock { now, tz: TimeZone::UTC, week_start: 1 }
}

/// The records of `model` that a search for `domain` finds: archived ones left out as the context says, record rules applied.
///
/// # Errors
/// `bad-domain`, `unknown-field`, `wrong-type`, `bad-date`: the domain is wrong. `access-denied`: the user may not.
pub fn search(context: &Context<'_>, model: &str, domain: &Domain) -> Result<Filter, Error> {
    let model = context.model(model)?;
    if let Some(access) = context.access {
        access.check_model(&model.name)?;
    }
    let active = match active_field(context, model) {
        Some(active) if context.active_test && !domain.mentions(active) => {
            Domain::condition(active, super::Operator::Equal, Literal::Bool(true))
        }
        _ => Domain::Always,
    };
    let node = normal::normalise(context, model, &Domain::and([domain.clone(), active]))?;
    if matches!(node, Node::Never) {
        return Ok(Filter::Never);
    }
    let rules = rules_of(context, model)?;
    let filter = relations::resolve(context, model, &node)?;
    Ok(Filter::and([filter, rules]))
}

/// The records of `model` that match `domain` and nothing more: no record rules of `model` itself, archived ones included.
///
/// # Errors
/// As [`search`].
pub fn condition(context: &Context<'_>, model: &str, domain: &Domain) -> Result<Filter, Error> {
    let model = context.model(model)?;
    let node = normal::normalise(context, model, domain)?;
    relations::resolve(context, model, &node)
}

/// The relation behind a one2many or many2many of a model, and which of its records the user sees in it: the field's own
/// domain, record rules, archived records as the field's or the caller's context says.
///
/// # Errors
/// `unknown-field`, `bad-schema`, `access-denied`.
pub fn members(context: &Context<'_>, model: &str, name: &str) -> Result<(Link, Filter), Error> {
    let model = context.model(model)?;
    relations::members(context, model, name, model.field(name)?)
}

/// Checks a domain without asking whose rights it would be used with.
///
/// # Errors
/// As [`search`].
pub fn check(context: &Context<'_>, model: &str, domain: &Domain) -> Result<(), Error> {
    condition(&context.sudo(), model, domain).map(drop)
}

/// The user's record rules for reading a model; everything for a superuser.
fn rules_of(context: &Context<'_>, model: &Model) -> Result<Filter, Error> {
    let Some(access) = context.access else { return Ok(Filter::Always) };
    let rules = access.read_rules(context, &model.name)?;
    Ok(Filter::and([rules, access.read_documents(&model.name)?]))
}

/// The records of `model` that a domain of record rules allows: rules are not bound by rules, and archived records count.
///
/// # Errors
/// As [`search`].
pub fn rules(context: &Context<'_>, model: &str, domain: &Domain) -> Result<Filter, Error> {
    condition(&context.sudo().with_active_test(false), model, domain)
}

/// The field that archives records of a model, if it has one.
fn active_field<'a>(context: &Context<'a>, model: &'a Model) -> Option<&'a str> {
    let name = model.active_name.as_deref()?;
    find(context, model, name).ok().map(|_| name)
}

/// What a name on a model stands for.
#[derive(Clone, Copy)]
enum Place<'a> {
    Id,
    DisplayName,
    /// A field of the model.
    Own(&'a Field),
    /// A field of a model that this one shows as its own: the many2one to follow, the model behind it, the field there.
    Inherited(&'a str, &'a Model, &'a Field),
}

impl<'a> Place<'a> {
    fn field(self) -> Option<&'a Field> {
        match self {
            Self::Own(field) | Self::Inherited(_, _, field) => Some(field),
            Self::Id | Self::DisplayName => None,
        }
    }

    fn kind(self) -> FieldKind {
        match self {
            Self::Id => FieldKind::Integer,
            Self::DisplayName => FieldKind::Char,
            Self::Own(field) | Self::Inherited(_, _, field) => field.kind,
        }
    }

    fn is_relational(self) -> bool {
        self.kind().is_relational()
    }

    /// The value that counts as unset for the type, in comparisons; dates, selections and relations have none.
    fn has_falsy_value(self) -> bool {
        match self {
            Self::Id => false,
            Self::DisplayName => true,
            Self::Own(field) | Self::Inherited(_, _, field) => has_falsy_value(field.kind),
        }
    }
}

fn has_falsy_value(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Char
            | FieldKind::Text
            | FieldKind::Html
            | FieldKind::Integer
            | FieldKind::Float
            | FieldKind::Monetary
            | FieldKind::Boolean
    )
}

/// Finds a field by name, also in the models that this one inherits from.
fn find<'a>(context: &Context<'a>, model: &'a Model, name: &str) -> Result<Place<'a>, Error> {
    match name {
        "id" => return Ok(Place::Id),
        "display_name" if !model.fields.contains_key(name) => return Ok(Place::DisplayName),
        _ => {}
    }
    if let Some(field) = model.fields.get(name) {
        if !field.store
            && let Some(related) = &field.related
            && let Some((first, rest)) = related.split_once('.')
            && !rest.contains('.')
            && let Some((parent, via)) = model.inherits.iter().find(|(_, via)| via.as_str() == first)
        {
            let parent = context.model(parent)?;
            return Ok(Place::Inherited(via, parent, parent.field(rest)?));
        }
        return Ok(Place::Own(field));
    }
    for (parent, via) in &model.inherits {
        if let Some(parent) = context.schema.models.get(parent)
            && let Some(field) = parent.fields.get(name)
        {
            return Ok(Place::Inherited(via, parent, field));
        }
    }
    if let Some(field) = chatter::field(context, model, name) {
        return Ok(Place::Own(field));
    }
    Err(model.field(name).err().unwrap_or_else(|| Error::invalid("unknown-field", format!("unknown field `{name}`"))))
}

/// A domain with its fields found and its operators reduced to a handful.
#[derive(Clone)]
enum Node<'a> {
    Always,
    Never,
    And(Vec<Node<'a>>),
    Or(Vec<Node<'a>>),
    Leaf(Leaf<'a>),
}

/// One comparison.
#[derive(Clone)]
struct Leaf<'a> {
    name: String,
    place: Place<'a>,
    /// For dates: `month_number` and so on.
    part: Option<DatePart>,
    test: Test<'a>,
}

/// The operators that are left.
#[derive(Clone)]
enum Test<'a> {
    In { values: Vec<Literal>, negated: bool },
    Compare(Inequality, Literal),
    Like { text: String, ignore_case: bool, whole: bool, negated: bool },
    Any { sub: Box<Node<'a>>, negated: bool, bypass: bool },
    Hierarchy { up: bool, value: Literal, negated: bool },
}

impl Test<'_> {
    /// Stands in while the values of a test are taken out.
    const ANYTHING: Self = Self::In { values: Vec::new(), negated: true };

    fn negate(self) -> Self {
        match self {
            Self::In { values, negated } => Self::In { values, negated: !negated },
            Self::Like { text, ignore_case, whole, negated } => {
                Self::Like { text, ignore_case, whole, negated: !negated }
            }
            Self::Any { sub, negated, bypass } => Self::Any { sub, negated: !negated, bypass },
            Self::Hierarchy { up, value, negated } => Self::Hierarchy { up, value, negated: !negated },
            // Handled by the caller, which knows the field.
            Self::Compare(order, value) => Self::Compare(order.inverse(), value),
        }
    }
}

impl<'a> Node<'a> {
    fn and(parts: impl IntoIterator<Item = Self>) -> Self {
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
            _ => match merge_sets(flat, true) {
                merged if merged.len() == 1 => merged.into_iter().next().unwrap_or(Self::Always),
                merged if merged.iter().any(|part| matches!(part, Self::Never)) => Self::Never,
                merged => Self::And(merged),
            },
        }
    }

    fn or(parts: impl IntoIterator<Item = Self>) -> Self {
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
            _ => match merge_sets(flat, false) {
                merged if merged.len() == 1 => merged.into_iter().next().unwrap_or(Self::Never),
                merged if merged.iter().any(|part| matches!(part, Self::Always)) => Self::Always,
                merged => Self::Or(merged),
            },
        }
    }

    fn negate(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::And(parts) => Self::or(parts.into_iter().map(Self::negate)),
            Self::Or(parts) => Self::and(parts.into_iter().map(Self::negate)),
            Self::Leaf(leaf) => {
                let or_unset = matches!(leaf.test, Test::Compare(..)) && !leaf.place.has_falsy_value();
                let unset = or_unset.then(|| {
                    let test = Test::In { values: vec![Literal::Bool(false)], negated: false };
                    Self::Leaf(Leaf { test, ..leaf.clone() })
                });
                let opposite = Self::Leaf(Leaf { test: leaf.test.negate(), ..leaf });
                Self::or(unset.into_iter().chain([opposite]))
            }
        }
    }

    /// Whether a comparison of this level is on this field.
    fn mentions(&self, name: &str) -> bool {
        match self {
            Self::Always | Self::Never => false,
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.mentions(name)),
            Self::Leaf(leaf) => leaf.name == name && leaf.part.is_none(),
        }
    }
}

/// Joins the `in` and `not in` of the same field: `a in [1] or a in [2]` is `a in [1, 2]`.
///
/// This is more than brevity: values are joined as Python compares them, where `False` and `''` differ, and a boolean
/// that is asked to be both true and false leaves the domain, so that it does not count as naming the field.
fn merge_sets(parts: Vec<Node<'_>>, and: bool) -> Vec<Node<'_>> {
    let mut sets: IndexMap<(String, Option<DatePart>), (Leaf<'_>, Sets)> = IndexMap::new();
    let mut merged = Vec::new();
    for part in parts {
        match part {
            Node::Leaf(mut leaf) if !leaf.place.kind().is_x2many() && matches!(leaf.test, Test::In { .. }) => {
                let Test::In { values, negated } = std::mem::replace(&mut leaf.test, Test::ANYTHING) else { continue };
                let (_, sets) = sets.entry((leaf.name.clone(), leaf.part)).or_insert_with(|| (leaf, Sets::default()));
                if negated { sets.outside.push(values) } else { sets.inside.push(values) }
            }
            other => merged.push(other),
        }
    }
    merged.extend(sets.into_values().map(|(leaf, sets)| {
        let (values, negated) = sets.join(and);
        match (values.is_empty(), negated) {
            (true, false) => Node::Never,
            (true, true) => Node::Always,
            _ => Node::Leaf(Leaf { test: Test::In { values, negated }, ..leaf }),
        }
    }));
    merged.retain(|part| !matches!((part, and), (Node::Always, true) | (Node::Never, false)));
    if merged.is_empty() {
        merged.push(if and { Node::Always } else { Node::Never });
    }
    merged
}

/// Values that a field must, or must not, be among.
#[derive(Default)]
struct Sets {
    inside: Vec<Vec<Literal>>,
    outside: Vec<Vec<Literal>>,
}

impl Sets {
    /// One set, and whether the field must be outside of it.
    fn join(self, and: bool) -> (Vec<Literal>, bool) {
        // By De Morgan, `or` is `and` with inside and outside swapped.
        let (kept, removed) = if and { (self.inside, self.outside) } else { (self.outside, self.inside) };
        if kept.is_empty() {
            return (unique(&removed.concat()), and);
        }
        (difference(intersection(kept), &removed.concat()), !and)
    }
}

fn wrong_type(leaf: &str, message: impl std::fmt::Display) -> Error {
    Error::invalid("wrong-type", format!("{message} (field `{leaf}`)")).with_field(leaf)
}
