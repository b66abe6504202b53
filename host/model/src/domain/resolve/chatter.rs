//! Fields that every record with messages or activities has on Odoo, without any schema saying so.
//!
//! They are searched through the followers and activities of the record, with the rights of a superuser.

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde_json::json;

use super::{Context, Leaf, Node, Test, find, normal, relations};
use crate::{
    domain::{
        Domain, Literal, Operator,
        filter::{Filter, Inequality},
    },
    error::Error,
    schema::{Field, Model},
    time,
};

/// Who sees the followers of a record.
const INTERNAL: [&str; 1] = ["base.group_user"];

/// The partners that follow a record.
pub(super) const FOLLOWING: &str = "message_partner_ids";

/// Fields of models that have messages.
static OF_MESSAGES: LazyLock<IndexMap<&str, Field>> = LazyLock::new(|| {
    fields(&[
        (
            "message_follower_ids",
            json!({"type": "one2many", "relation": "mail.followers", "relation_field": "res_id", "groups": INTERNAL}),
        ),
        (FOLLOWING, json!({"type": "many2many", "relation": "res.partner", "store": false, "groups": INTERNAL})),
        ("message_is_follower", json!({"type": "boolean", "store": false})),
        ("has_message", json!({"type": "boolean", "store": false})),
    ])
});

/// Fields of models that have activities.
static OF_ACTIVITIES: LazyLock<IndexMap<&str, Field>> = LazyLock::new(|| {
    fields(&[
        ("activity_state", json!({"type": "selection", "store": false})),
        ("activity_user_id", json!({"type": "many2one", "relation": "res.users", "store": false})),
        ("activity_type_id", json!({"type": "many2one", "relation": "mail.activity.type", "store": false})),
        ("activity_date_deadline", json!({"type": "date", "store": false})),
        ("my_activity_date_deadline", json!({"type": "date", "store": false})),
        ("activity_summary", json!({"type": "char", "store": false})),
    ])
});

fn fields(described: &[(&'static str, serde_json::Value)]) -> IndexMap<&'static str, Field> {
    let read =
        |(name, json): &(&'static str, serde_json::Value)| Some((*name, serde_json::from_value(json.clone()).ok()?));
    described.iter().filter_map(read).collect()
}

/// A field that the model has because it has messages or activities.
pub(super) fn field(context: &Context<'_>, model: &Model, name: &str) -> Option<&'static Field> {
    let holds = |field: &str| model.fields.contains_key(field);
    let found = match (OF_MESSAGES.get(name), OF_ACTIVITIES.get(name)) {
        (Some(field), _) if holds("message_ids") => field,
        (_, Some(field)) if holds("activity_ids") => field,
        _ => return None,
    };
    let known = |relation: &String| context.schema.models.contains_key(relation);
    Some(found).filter(|field| field.relation.as_ref().is_none_or(known))
}

/// A comparison of one of the computed ones; none if the field is none of them.
pub(super) fn resolve<'a>(context: &Context<'a>, model: &'a Model, leaf: &Leaf<'a>) -> Result<Option<Filter>, Error> {
    let positive = match &leaf.test {
        Test::In { negated: true, .. }
        | Test::Like { negated: true, .. }
        | Test::Any { negated: true, .. }
        | Test::Hierarchy { negated: true, .. } => {
            let positive = Leaf { test: leaf.test.clone().negate(), ..leaf.clone() };
            return Ok(resolve(context, model, &positive)?.map(Filter::negate));
        }
        other => other.clone(),
    };
    let node = match leaf.name.as_str() {
        FOLLOWING => some(context, model, "message_follower_ids", "partner_id", positive)?,
        "message_is_follower" => {
            let user = Literal::Integer(i64::from(context.user));
            let me = Domain::condition("partner_id.user_ids", Operator::In, Literal::List(vec![user]));
            normal::normalise(context, model, &Domain::any("message_follower_ids", Operator::Any, me))?
        }
        "has_message" => normal::normalise(context, model, &is_set("message_ids"))?,
        "activity_type_id" => some(context, model, "activity_ids", "activity_type_id", positive)?,
        "activity_summary" => some(context, model, "activity_ids", "summary", positive)?,
        "activity_user_id" => activity_user(context, model, positive)?,
        "activity_date_deadline" => activity_deadline(context, model, positive)?,
        "my_activity_date_deadline" => {
            let user = Literal::Integer(i64::from(context.user));
            let mine = Domain::condition("user_id", Operator::Equal, user);
            let mine = normal::normalise(context, related(context, model, "activity_ids")?, &mine)?;
            some_of(context, model, "activity_ids", "date_deadline", positive, mine)?
        }
        "activity_state" => match positive {
            Test::In { values, .. } => normal::normalise(context, model, &in_states(context, &values))?,
            _ => return Err(super::wrong_type(&leaf.name, "a state can only be compared with `=` or `in`")),
        },
        _ => return Ok(None),
    };
    relations::resolve(&context.sudo(), model, &node).map(Some)
}

fn is_set(field: &str) -> Domain {
    Domain::condition(field, Operator::NotEqual, Literal::Bool(false))
}

fn is_unset(field: &str) -> Domain {
    Domain::condition(field, Operator::Equal, Literal::Bool(false))
}

fn related<'a>(context: &Context<'a>, model: &'a Model, name: &str) -> Result<&'a Model, Error> {
    let place = find(context, model, name)?;
    normal::related_model(context, place)?
        .ok_or_else(|| Error::invalid("bad-schema", format!("`{name}` of `{}` must be a relation", model.name)))
}

/// Some record of a relation has a field that passes the test.
fn some<'a>(
    context: &Context<'a>,
    model: &'a Model,
    relation: &str,
    field: &str,
    test: Test<'a>,
) -> Result<Node<'a>, Error> {
    some_of(context, model, relation, field, test, Node::Always)
}

fn some_of<'a>(
    context: &Context<'a>,
    model: &'a Model,
    relation: &str,
    field: &str,
    test: Test<'a>,
    besides: Node<'a>,
) -> Result<Node<'a>, Error> {
    let place = find(context, related(context, model, relation)?, field)?;
    let tested = Node::Leaf(Leaf { name: field.to_owned(), place, part: None, test });
    let sub = Box::new(Node::and([tested, besides]));
    let name = relation.to_owned();
    let place = find(context, model, relation)?;
    Ok(Node::Leaf(Leaf { name, place, part: None, test: Test::Any { sub, negated: false, bypass: true } }))
}

/// `True` asks for any activity, `False` for none.
fn activity_user<'a>(context: &Context<'a>, model: &'a Model, test: Test<'a>) -> Result<Node<'a>, Error> {
    let Test::In { values, .. } = test else { return some(context, model, "activity_ids", "user_id", test) };
    let (flags, values): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| matches!(value, Literal::Bool(_)));
    let mut parts = Vec::new();
    for flag in flags {
        let domain = if flag.is_truthy() { is_set("activity_ids") } else { is_unset("activity_ids") };
        parts.push(normal::normalise(context, model, &domain)?);
    }
    if !values.is_empty() {
        parts.push(some(context, model, "activity_ids", "user_id", Test::In { values, negated: false })?);
    }
    Ok(Node::or(parts))
}

fn activity_deadline<'a>(context: &Context<'a>, model: &'a Model, test: Test<'a>) -> Result<Node<'a>, Error> {
    let Test::In { mut values, .. } = test else {
        return some(context, model, "activity_ids", "date_deadline", test);
    };
    let mut parts = Vec::new();
    if values.iter().any(Literal::is_unset) {
        values.retain(|value| !value.is_unset());
        parts.push(normal::normalise(context, model, &is_unset("activity_ids"))?);
    }
    if !values.is_empty() {
        parts.push(some(context, model, "activity_ids", "date_deadline", Test::In { values, negated: false })?);
    }
    Ok(Node::or(parts))
}

/// A record is as late as its latest activity, by the day it is in UTC; without activities it has no state.
fn in_states(context: &Context<'_>, values: &[Literal]) -> Domain {
    let today = time::date_text(jiff::tz::TimeZone::UTC.to_datetime(context.clock.now).date());
    let due = |order: Inequality| {
        let operator = match order {
            Inequality::Less => Operator::Less,
            Inequality::LessOrEqual => Operator::LessOrEqual,
            Inequality::Greater => Operator::Greater,
            Inequality::GreaterOrEqual => Operator::GreaterOrEqual,
        };
        let active = Domain::condition("active", Operator::Equal, Literal::Bool(true));
        let by_day = Domain::condition("date_deadline", operator, Literal::text(today.as_str()));
        Domain::any("activity_ids", Operator::Any, Domain::and([active, by_day]))
    };
    let overdue = || due(Inequality::Less);
    let until_today = || due(Inequality::LessOrEqual);
    let later = || due(Inequality::Greater);
    Domain::or(values.iter().map(|value| match value {
        Literal::Text(state) => match state.as_str() {
            "overdue" => overdue(),
            "today" => Domain::and([until_today(), overdue().negate()]),
            "planned" => Domain::and([later(), until_today().negate()]),
            _ => Domain::Never,
        },
        value if value.is_unset() => Domain::and([until_today().negate(), later().negate()]),
        _ => Domain::Never,
    }))
}
