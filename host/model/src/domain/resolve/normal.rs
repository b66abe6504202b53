//! First pass: fields are found, operators reduced, values checked against the field's type.

use std::collections::HashSet;

use super::{Context, Leaf, Node, Place, Test, find, wrong_type};
use crate::{
    domain::{
        Condition, Domain, Literal, Operand, Operator,
        filter::Inequality,
        literal::bad,
        python::{text_to_bool, to_str, unique},
    },
    error::Error,
    schema::{FieldKind, Model},
    time::{self, DatePart, Moment},
};

/// A domain with its fields found.
pub(super) fn normalise<'a>(context: &Context<'a>, model: &'a Model, domain: &Domain) -> Result<Node<'a>, Error> {
    Ok(match domain {
        Domain::Always => Node::Always,
        Domain::Never => Node::Never,
        Domain::And(parts) => Node::and(all(context, model, parts)?),
        Domain::Or(parts) => Node::or(all(context, model, parts)?),
        Domain::Not(inner) => normalise(context, model, inner)?.negate(),
        Domain::Condition(condition) => {
            let Condition { field, operator, value } = condition;
            normal_condition(context, model, field, *operator, value)?
        }
    })
}

fn all<'a>(context: &Context<'a>, model: &'a Model, parts: &[Domain]) -> Result<Vec<Node<'a>>, Error> {
    parts.iter().map(|part| normalise(context, model, part)).collect()
}

/// One condition; `path` may go through relations.
fn normal_condition<'a>(
    context: &Context<'a>,
    model: &'a Model,
    path: &str,
    operator: Operator,
    operand: &Operand,
) -> Result<Node<'a>, Error> {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) if !rest.is_empty() => (name, Some(rest)),
        Some((name, _)) => (name, None),
        None => (path, None),
    };
    let place = find(context, model, name)?;
    let mut part = None;
    if let Some(rest) = rest {
        if let Some(related) = related_model(context, place)? {
            let sub = normal_condition(context, related, rest, operator, operand)?;
            return Ok(any(name, place, sub, false, false));
        }
        let is_date = matches!(place.kind(), FieldKind::Date | FieldKind::Datetime);
        let Some(found) = DatePart::from_text(rest).filter(|_| is_date) else {
            return Err(bad(format!("`{name}` of `{}` has no part `{rest}`", model.name)).with_field(name));
        };
        part = Some(found);
    }
    let target = Target { name, place, part };
    match operand {
        Operand::Domain(domain) => any_domain(context, model, target, operator, domain),
        Operand::Literal(value) => by_operator(context, target, operator, value),
    }
}

/// What a condition is about.
#[derive(Clone, Copy)]
struct Target<'a, 'n> {
    name: &'n str,
    place: Place<'a>,
    part: Option<DatePart>,
}

impl<'a> Target<'a, '_> {
    fn leaf(self, test: Test<'a>) -> Node<'a> {
        Node::Leaf(Leaf { name: self.name.to_owned(), place: self.place, part: self.part, test })
    }

    fn unset(self, negated: bool) -> Node<'a> {
        self.leaf(Test::In { values: vec![Literal::Bool(false)], negated })
    }
}

pub(super) fn related_model<'a>(context: &Context<'a>, place: Place<'a>) -> Result<Option<&'a Model>, Error> {
    match place.field() {
        Some(field) if field.kind.is_relational() => match &field.relation {
            Some(relation) => context.model(relation).map(Some),
            None => Err(bad("a relation does not say its model; correct the schema")),
        },
        _ => Ok(None),
    }
}

fn any<'a>(name: &str, place: Place<'a>, sub: Node<'a>, negated: bool, bypass: bool) -> Node<'a> {
    match sub {
        Node::Never if negated => Node::Always,
        Node::Never => Node::Never,
        sub => Node::Leaf(Leaf {
            name: name.to_owned(),
            place,
            part: None,
            test: Test::Any { sub: Box::new(sub), negated, bypass },
        }),
    }
}

fn any_domain<'a>(
    context: &Context<'a>,
    model: &'a Model,
    target: Target<'a, '_>,
    operator: Operator,
    domain: &Domain,
) -> Result<Node<'a>, Error> {
    let negated = operator.is_negative();
    if matches!(target.place, Place::Id) {
        let sub = normalise(context, model, domain)?;
        return Ok(if negated { sub.negate() } else { sub });
    }
    let Some(related) = related_model(context, target.place)? else {
        return Err(wrong_type(target.name, "`any` needs a relation; compare the value instead"));
    };
    Ok(any(target.name, target.place, normalise(context, related, domain)?, negated, false))
}

/// Rewrites the operators of daily use to `in`, comparison and `like`.
fn by_operator<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    operator: Operator,
    value: &Literal,
) -> Result<Node<'a>, Error> {
    match operator {
        Operator::EqualOrUnset if !value.is_truthy() => Ok(Node::Always),
        Operator::Equal | Operator::NotEqual | Operator::EqualOrUnset => {
            let values = match value {
                // `= []` means "is not set".
                Literal::List(items) if items.is_empty() => vec![Literal::Bool(false)],
                Literal::List(items) => items.clone(),
                // Only here `None` means what `False` does; in a list it is a value that nothing has.
                Literal::None => vec![Literal::Bool(false)],
                other => vec![other.clone()],
            };
            in_set(context, target, values, operator == Operator::NotEqual)
        }
        Operator::In | Operator::NotIn => {
            let negated = operator == Operator::NotIn;
            match value {
                value if !value.is_truthy() => Ok(if negated { Node::Always } else { Node::Never }),
                Literal::List(items) => in_set(context, target, items.clone(), negated),
                other => in_set(context, target, vec![other.clone()], negated),
            }
        }
        Operator::Like
        | Operator::NotLike
        | Operator::Ilike
        | Operator::NotIlike
        | Operator::EqualLike
        | Operator::NotEqualLike
        | Operator::EqualIlike
        | Operator::NotEqualIlike => like(context, target, operator, value),
        Operator::Less => compare(context, target, Inequality::Less, value),
        Operator::LessOrEqual => compare(context, target, Inequality::LessOrEqual, value),
        Operator::Greater => compare(context, target, Inequality::Greater, value),
        Operator::GreaterOrEqual => compare(context, target, Inequality::GreaterOrEqual, value),
        Operator::ChildOf | Operator::ParentOf => match target.place.kind() {
            FieldKind::Boolean => Err(wrong_type(target.name, format!("`{operator}` needs a relation"))),
            FieldKind::Binary => Ok(Node::Always),
            _ => Ok(target.leaf(Test::Hierarchy {
                up: operator == Operator::ParentOf,
                value: value.clone(),
                negated: false,
            })),
        },
        Operator::Any | Operator::NotAny => Err(bad(format!("`{operator}` needs a domain")).with_field(target.name)),
    }
}

fn in_set<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    values: Vec<Literal>,
    negated: bool,
) -> Result<Node<'a>, Error> {
    if let Some(nested) = values.iter().find(|value| matches!(value, Literal::List(_) | Literal::Dict(_))) {
        return Err(wrong_type(target.name, format!("{} cannot be a member of a list of values", nested.type_name())));
    }
    let mut values = unique(&values);
    if target.place.kind().is_x2many() {
        values.retain(|value| !matches!(value, Literal::None));
        if values.is_empty() {
            return Ok(if negated { Node::Always } else { Node::Never });
        }
    }
    if matches!(target.place, Place::Id) && target.part.is_none() {
        // An id is never unset.
        values.retain(|value| *value != Literal::Bool(false));
        if values.is_empty() {
            return Ok(if negated { Node::Always } else { Node::Never });
        }
    }
    if target.place.is_relational() {
        return in_relation(context, target, values, negated);
    }
    match target.place.kind() {
        FieldKind::Boolean => {
            let mut flags: HashSet<bool> = HashSet::new();
            for value in &values {
                flags.insert(match value {
                    Literal::Text(text) => text_to_bool(text),
                    other => other.is_truthy(),
                });
            }
            Ok(match (flags.contains(&true), flags.contains(&false)) {
                (true, true) if negated => Node::Never,
                (true, true) => Node::Always,
                (wanted, _) => target.leaf(Test::In {
                    values: vec![Literal::Bool(true)],
                    negated: if wanted { negated } else { !negated },
                }),
            })
        }
        FieldKind::Date if target.part.is_none() => {
            let values =
                values.iter().map(|value| date_value(context, target.name, value)).collect::<Result<_, _>>()?;
            Ok(target.leaf(Test::In { values, negated }))
        }
        FieldKind::Datetime if target.part.is_none() => in_datetimes(context, target, &values, negated),
        FieldKind::Binary => match values.as_slice() {
            [only] if !only.is_truthy() && !matches!(only, Literal::Text(_) | Literal::None) => {
                Ok(target.unset(negated))
            }
            // Odoo keeps the bytes elsewhere and judges only whether they are there.
            _ => Ok(Node::Always),
        },
        _ => Ok(target.leaf(Test::In { values, negated })),
    }
}

/// A many2one of which `any` record must have, or not have, one of the ids. Texts among them are names.
pub(super) fn holds_id<'a>(
    context: &Context<'a>,
    name: &str,
    place: Place<'a>,
    ids: &[Literal],
    negated: bool,
) -> Result<Node<'a>, Error> {
    let mut values = ids.to_vec();
    values.retain(|value| *value != Literal::Bool(false));
    if negated {
        values.push(Literal::Bool(false));
    }
    in_relation(context, Target { name, place, part: None }, values, negated)
}

/// Texts among the values of a relation are names to search for.
fn in_relation<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    values: Vec<Literal>,
    negated: bool,
) -> Result<Node<'a>, Error> {
    let (texts, others): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| matches!(value, Literal::Text(_)));
    if texts.is_empty() {
        return Ok(target.leaf(Test::In { values: others, negated }));
    }
    let by_name = named(context, target, Test::In { values: texts, negated: false }, negated)?;
    if others.is_empty() {
        return Ok(by_name);
    }
    let by_id = target.leaf(Test::In { values: others, negated });
    Ok(if negated { Node::and([by_name, by_id]) } else { Node::or([by_name, by_id]) })
}

/// `any` related record whose name passes the test.
fn named<'a>(context: &Context<'a>, target: Target<'a, '_>, test: Test<'a>, negated: bool) -> Result<Node<'a>, Error> {
    let Some(related) = related_model(context, target.place)? else {
        return Err(wrong_type(target.name, "only related records have names"));
    };
    let place = find(context, related, "display_name")?;
    let sub = Node::Leaf(Leaf { name: "display_name".to_owned(), place, part: None, test });
    Ok(any(target.name, target.place, sub, negated, false))
}

fn like<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    operator: Operator,
    value: &Literal,
) -> Result<Node<'a>, Error> {
    let negated = operator.is_negative();
    let whole = operator.is_whole_pattern();
    if !value.is_truthy() {
        // An empty text is contained in every text, and `=like ''` is `= ''`.
        let set = negated == whole;
        return if target.place.is_relational() || whole {
            in_set(context, target, vec![Literal::Bool(false)], set)
        } else if set {
            Ok(Node::Always)
        } else {
            Ok(Node::Never)
        };
    }
    if whole && !matches!(value, Literal::Text(_)) {
        return Err(wrong_type(
            target.name,
            format!("`{operator}` needs a text as pattern, not {}", value.type_name()),
        ));
    }
    let ignore_case =
        matches!(operator, Operator::Ilike | Operator::NotIlike | Operator::EqualIlike | Operator::NotEqualIlike);
    let test = |negated| Test::Like { text: to_str(value), ignore_case, whole, negated };
    if target.place.is_relational() {
        return named(context, target, test(false), negated);
    }
    match target.place.kind() {
        FieldKind::Boolean => Err(wrong_type(target.name, format!("a boolean cannot be compared with `{operator}`"))),
        FieldKind::Binary => Ok(Node::Always),
        _ => Ok(target.leaf(test(negated))),
    }
}

fn compare<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    order: Inequality,
    value: &Literal,
) -> Result<Node<'a>, Error> {
    if target.place.is_relational() && matches!(value, Literal::Text(_)) {
        return Err(wrong_type(target.name, "a relation cannot be above or below a text; use `ilike` or an id"));
    }
    if target.part.is_some() {
        return Ok(target.leaf(Test::Compare(order, value.clone())));
    }
    match target.place.kind() {
        FieldKind::Boolean => Err(wrong_type(target.name, "a boolean cannot be above or below a value")),
        FieldKind::Binary => Ok(Node::Always),
        FieldKind::Date => match value {
            // Nothing is above or below it, but what is not so is unset.
            Literal::List(items) if items.is_empty() => Ok(target.leaf(Test::Compare(order, value.clone()))),
            value if value.is_unset() => Ok(Node::Never),
            value => {
                let date = date_value(context, target.name, value)?;
                Ok(target.leaf(Test::Compare(order, date)))
            }
        },
        FieldKind::Datetime => compare_datetime(context, target, order, value),
        _ => Ok(target.leaf(Test::Compare(order, value.clone()))),
    }
}

/// A value for a date field, as stored; `False` stays.
fn date_value(context: &Context<'_>, name: &str, value: &Literal) -> Result<Literal, Error> {
    match value {
        value if value.is_unset() => Ok(Literal::Bool(false)),
        Literal::Text(text) => {
            let moment = time::parse_iso(text).or_else(|_| time::parse_moment(text, context.clock));
            Ok(Literal::Text(time::date_text(moment.map_err(|error| error.with_field(name))?.date())))
        }
        other => Err(wrong_type(name, format!("{} is not a date; write 2026-11-21", other.type_name()))),
    }
}

/// A value for a datetime field: the moment in UTC, and whether a day was given rather than a point in time.
enum When {
    Unset,
    At { at: jiff::civil::DateTime, whole_day: bool },
}

fn datetime_value(context: &Context<'_>, name: &str, value: &Literal) -> Result<When, Error> {
    match value {
        value if value.is_unset() => Ok(When::Unset),
        Literal::Text(text) => {
            // A day in ISO form stands for all of it; a relative one (`today`) for its first moment.
            let (moment, iso) = match time::parse_iso(text) {
                Ok(moment) => (moment, true),
                Err(_) => (time::parse_moment(text, context.clock).map_err(|error| error.with_field(name))?, false),
            };
            Ok(match moment {
                Moment::Date(date) => When::At { at: time::day_start(date, &context.clock.tz)?, whole_day: iso },
                Moment::Datetime(at) => When::At { at: whole_second(at), whole_day: false },
            })
        }
        other => {
            Err(wrong_type(name, format!("{} is not a point in time; write 2026-11-21 10:15:00", other.type_name())))
        }
    }
}

fn whole_second(at: jiff::civil::DateTime) -> jiff::civil::DateTime {
    at.with().subsec_nanosecond(0).build().unwrap_or(at)
}

fn stored(at: jiff::civil::DateTime) -> Literal {
    Literal::Text(time::datetime_text(at))
}

/// Points in time are compared by the whole second: stored ones may have a fraction that nobody sees.
fn in_datetimes<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    values: &[Literal],
    negated: bool,
) -> Result<Node<'a>, Error> {
    if values.contains(&Literal::None) {
        return Err(wrong_type(target.name, "None in a list is no time; write `False` for times that are not set"));
    }
    let mut parts = Vec::new();
    for value in values {
        parts.push(match datetime_value(context, target.name, value)? {
            When::Unset => target.unset(false),
            When::At { at, .. } => {
                let from = target.leaf(Test::Compare(Inequality::GreaterOrEqual, stored(at)));
                let next = at
                    .checked_add(jiff::SignedDuration::from_secs(1))
                    .map_err(|_| wrong_type(target.name, "time ends within this second; compare with `>=` instead"))?;
                Node::and([from, target.leaf(Test::Compare(Inequality::Less, stored(next)))])
            }
        });
    }
    let found = Node::or(parts);
    Ok(if negated { found.negate() } else { found })
}

fn compare_datetime<'a>(
    context: &Context<'a>,
    target: Target<'a, '_>,
    order: Inequality,
    value: &Literal,
) -> Result<Node<'a>, Error> {
    let When::At { at, whole_day } = datetime_value(context, target.name, value)? else { return Ok(Node::Never) };
    let length = jiff::SignedDuration::from_secs(if whole_day { 86_400 } else { 1 });
    let end = at.checked_add(length).ok().filter(|end| end.year() <= 9999);
    Ok(match (order, end) {
        (Inequality::Greater, Some(end)) => target.leaf(Test::Compare(Inequality::GreaterOrEqual, stored(end))),
        (Inequality::LessOrEqual, Some(end)) => target.leaf(Test::Compare(Inequality::Less, stored(end))),
        (Inequality::Greater, None) => Node::Never,
        (Inequality::LessOrEqual, None) => target.unset(true),
        (order, _) => target.leaf(Test::Compare(order, stored(at))),
    })
}
