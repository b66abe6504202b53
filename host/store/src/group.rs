//! Groups with aggregates; Odoo's `formatted_read_group`.
//!
//! | module | what it does |
//! |---|---|
//! | [`spec`] | reads `create_date:month`, `expected_revenue:sum desc` |
//! | [`columns`] | the SQL of keys and aggregates, with the joins they need |
//! | [`having`] | conditions on aggregates |
//! | [`bucket`] | days, weeks, months… as SQL and as ranges |
//! | [`functions`] | SQL functions, registered on each connection |
//!
//! What differs from Odoo: a date bucket's key is its start alone, without the label that a client shows; groups that
//! tie in the order asked for follow their keys, where Odoo leaves it to the database.

pub mod bucket;
mod columns;
pub mod functions;
mod having;
mod spec;

use std::collections::BTreeSet;

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use triggerbox_model::{
    allowance::Room,
    call::{Group, GroupPage, Operation},
    domain::{Domain, Literal, Operator, filter::Filter},
    error::Error,
    value::{FieldValue, Id, Link, Value},
};

use self::{
    columns::{Columns, Key, KeyForm},
    spec::OrderTerm,
};
use crate::{
    ddl::{quote, table},
    env::Env,
    query::{self, fault, sql::Sql},
    rights,
};

/// Keys, aggregates and terms of the order that one grouping may have, each. Of a form for people it would be a few.
const MOST_TERMS: usize = 32;

/// Keys among them that are a many2many: a record counts once for each pair of their values, so that there are soon more
/// rows than anybody has records.
const MOST_PAIRS: usize = 2;

/// Tables that a grouping may join before its order: SQLite joins 64 at most.
const MOST_TABLES: usize = 48;

/// What is asked of a grouping.
#[derive(Debug, Clone, Copy)]
pub struct Grouping<'a> {
    /// Of records of this model,
    pub model: &'a str,
    /// those that match this.
    pub domain: &'a Domain,
    /// `stage_id`, `create_date:month`
    pub group_by: &'a [String],
    /// `expected_revenue:sum`
    pub aggregates: &'a [String],
    /// Which groups, in which order.
    pub page: &'a GroupPage,
}

/// Groups the records that match a domain: all groups that the page asks for.
///
/// # Errors
/// As [`groups`].
pub fn read_group(
    conn: &Connection,
    env: &Env,
    model: &str,
    domain: &Domain,
    group_by: &[String],
    aggregates: &[String],
    page: &GroupPage,
) -> Result<Vec<Group>, Error> {
    groups(conn, env, &Grouping { model, domain, group_by, aggregates, page }, &mut { Room::ENDLESS })
}

/// Groups the records that match a domain, as far as there is room for the groups.
///
/// Weeks start, and datetimes fall into days and hours, as [`Env::group_week_start`] and [`Env::context_tz`] say.
/// Without `group_by` there is one group of all records; then order and `having` mean nothing, as in Odoo. Without
/// aggregates either there is nothing.
///
/// # Errors
/// `bad-group`, `bad-aggregate`, `bad-order`, `bad-having`, `unknown-field`; `answer-too-big` when one group's lists are; what a
/// search for the domain may say; `date-range` for buckets outside of the years 1 to 9999.
pub fn groups(conn: &Connection, env: &Env, asked: &Grouping<'_>, room: &mut Room) -> Result<Vec<Group>, Error> {
    let Grouping { model, domain, group_by, aggregates, page } = *asked;
    rights::check_model(env, model, Operation::Read)?;
    let described = env.schema.model(model)?;
    if group_by.is_empty() && aggregates.is_empty() {
        return Ok(Vec::new());
    }
    check_size(group_by, aggregates)?;
    let filter = query::filter(conn, env, model, domain, page.archived)?;
    let mut columns = Columns::new(conn, env, described);
    let keys = group_by.iter().map(|spec| columns.key(spec)).collect::<Result<Vec<_>, _>>()?;
    if columns.tables() > MOST_TABLES {
        return Err(Error::invalid(
            "bad-group",
            "the grouping goes through too many related records; group by fewer paths",
        ));
    }
    let mut pairs = keys.iter().zip(group_by).filter(|(key, _)| matches!(key.form, KeyForm::Pairs { .. }));
    if let Some((_, one_more)) = pairs.nth(MOST_PAIRS) {
        let why = format!("group by `{one_more}` is one many2many too many; a grouping may have {MOST_PAIRS}");
        return Err(Error::invalid("bad-group", why));
    }
    let values = aggregates.iter().map(|spec| columns.aggregate(spec)).collect::<Result<Vec<_>, _>>()?;
    let (terms, conditions) = if keys.is_empty() {
        (Vec::new(), None)
    } else {
        let asked = page.order.as_deref().map(str::trim).filter(|order| !order.is_empty());
        let order = asked.map_or_else(|| group_by.join(", "), str::to_owned);
        let terms = spec::parse_order(&order)?;
        if terms.len() > MOST_TERMS {
            let why = format!("the order has {} terms; at most {MOST_TERMS} may be given", terms.len());
            return Err(Error::invalid("bad-order", why));
        }
        (terms, page.having.as_deref().map(having::parse).transpose()?.flatten())
    };
    let order = terms.iter().map(|term| columns.order_term(term, group_by, &keys)).collect::<Result<Vec<_>, _>>()?;
    let having = conditions.as_ref().map(|tree| having::resolve(tree, &mut columns)).transpose()?;
    if filter == Filter::Never {
        let empty = || Group {
            keys: Vec::new(),
            aggregates: named(aggregates, values.iter().map(|value| value.shape.empty()).collect()),
            count: 0,
            domain: "[]".to_owned(),
        };
        return Ok(if keys.is_empty() && page.offset == 0 { vec![empty()] } else { Vec::new() });
    }

    let mut sql = Sql::new(conn);
    sql.push("SELECT count(*)");
    for (place, key) in keys.iter().enumerate() {
        sql.push(", ");
        key.push(&mut sql, place);
    }
    for value in &values {
        sql.push(", ");
        value.push(&mut sql);
    }
    let mut next = 1 + keys.len() + values.len();
    let places = columns::push_order_columns(&mut sql, &order, &mut next);
    let having = having.map(|tree| having::push_columns(tree, &mut sql));
    sql.push(&format!(" FROM {} AS \"t\"", quote(&table(model))));
    columns.push_joins(&mut sql)?;
    sql.push(" WHERE ");
    sql.filter(model, "\"t\"", &filter)?;
    if !keys.is_empty() {
        columns::push_group_by(&mut sql, keys.len(), &places);
        if let Some(tree) = &having {
            sql.push(" HAVING ");
            having::push_condition(tree, &mut sql);
        }
        columns::push_order_by(&mut sql, &places, keys.len());
    }
    let limit = page.limit.filter(|limit| *limit > 0);
    if limit.is_some() || page.offset > 0 {
        sql.push(" LIMIT ");
        sql.bind(limit.map_or(-1, i64::from));
        sql.push(" OFFSET ");
        sql.bind(i64::from(page.offset));
    }

    let (text, params) = sql.finish();
    let mut statement = conn.prepare_cached(&text).map_err(fault)?;
    let mut rows = statement.query(params_from_iter(params)).map_err(fault)?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let count: i64 = row.get(0).map_err(fault)?;
        let mut domains = Vec::new();
        let mut group_keys = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let (value, domain) = key_value(env, key, row.get_ref(1 + index).map_err(fault)?)?;
            domains.push(domain);
            group_keys.push(value);
        }
        let mut group_values = Vec::new();
        for (index, value) in values.iter().enumerate() {
            group_values.push(value.shape.decode(row.get_ref(1 + keys.len() + index).map_err(fault)?)?);
        }
        let domain = Domain::and(domains).to_literal().to_string();
        let weight = group_keys.iter().chain(&group_values).map(Value::byte_size).sum::<u64>();
        room.take(weight + domain.len() as u64);
        room.take_record();
        groups.push(Group {
            keys: named(group_by, group_keys),
            aggregates: named(aggregates, group_values),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            domain,
        });
        if room.is_over() {
            break;
        }
    }
    name_links(conn, env, &keys, &mut groups, room)?;
    Ok(groups)
}

/// Refuses what nobody asks who wants to know: a key that is named twice, and more of anything than there is use for.
fn check_size(group_by: &[String], aggregates: &[String]) -> Result<(), Error> {
    for (what, code, list) in [("keys", "bad-group", group_by), ("aggregates", "bad-aggregate", aggregates)] {
        if list.len() > MOST_TERMS {
            let why = format!("the grouping has {} {what}; at most {MOST_TERMS} may be given", list.len());
            return Err(Error::invalid(code, why));
        }
    }
    let mut seen = BTreeSet::new();
    match group_by.iter().find(|key| !seen.insert(key.as_str())) {
        Some(twice) => Err(Error::invalid("bad-group", format!("group by `{twice}` is named twice"))),
        None => Ok(()),
    }
}

fn named(specs: &[String], values: Vec<Value>) -> Vec<FieldValue> {
    specs.iter().zip(values).map(|(spec, value)| FieldValue::new(spec.as_str(), value)).collect()
}

/// A key's value, and the domain of the records that have it.
fn key_value(env: &Env, key: &Key, raw: ValueRef<'_>) -> Result<(Value, Domain), Error> {
    let (value, domain) = leaf_value(env, key, raw)?;
    // `order_id.partner_id`: records whose order is not there, or not seen, have no value either.
    let domain = key.path.iter().rev().fold(domain, |domain, link| {
        let any = Domain::any(link.clone(), Operator::Any, domain);
        if is_falsy(&value) {
            Domain::or([Domain::any(link.clone(), Operator::NotAny, Domain::Always), any])
        } else {
            any
        }
    });
    Ok((value, domain))
}

fn leaf_value(env: &Env, key: &Key, raw: ValueRef<'_>) -> Result<(Value, Domain), Error> {
    let equals = |value: Literal| Domain::condition(key.field.clone(), Operator::Equal, value);
    let unset = || equals(Literal::Bool(false));
    Ok(match (&key.form, raw) {
        (KeyForm::Boolean, raw) => {
            let flag = raw.as_i64().map_err(misfit)? != 0;
            (Value::Boolean(flag), equals(Literal::Bool(flag)))
        }
        (KeyForm::Pairs { .. }, ValueRef::Null) => {
            (Value::Unset, Domain::any(key.field.clone(), Operator::NotAny, Domain::Always))
        }
        (KeyForm::Part(part), ValueRef::Null) => {
            let path = format!("{}.{}", key.field, part.text());
            (Value::Unset, Domain::condition(path, Operator::Equal, Literal::Bool(false)))
        }
        (_, ValueRef::Null) => (Value::Unset, unset()),
        (KeyForm::Link { .. } | KeyForm::Pairs { .. }, raw) => {
            let id = raw.as_i64().map_err(misfit)?;
            let value = Value::link(Id::try_from(id).map_err(|_| misfit(format!("{id} is no id")))?);
            (value, equals(Literal::Integer(id)))
        }
        (KeyForm::Part(part), raw) => {
            let number = raw.as_f64().map_err(misfit)?;
            let path = format!("{}.{}", key.field, part.text());
            (Value::Number(number), Domain::condition(path, Operator::Equal, number_literal(number)))
        }
        (KeyForm::Bucket { granularity, datetime }, raw) => {
            let start = raw.as_str().map_err(misfit)?;
            let tz = env.context_tz.as_deref().filter(|_| *datetime);
            let range = bucket::range(start, *granularity, *datetime, tz)?;
            let bound = |operator, text: &str| Domain::condition(key.field.clone(), operator, Literal::text(text));
            let domain =
                Domain::and([bound(Operator::GreaterOrEqual, &range.start), bound(Operator::Less, &range.end)]);
            let value = if *datetime { Value::Datetime(range.start_in_contract()?) } else { Value::Date(range.start) };
            (value, domain)
        }
        (KeyForm::Plain(shape), raw) => {
            let value = shape.decode(raw)?;
            let literal = columns::literal(raw, shape)?;
            (value, equals(literal))
        }
    })
}

/// Python's idea of a value that is none.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Unset | Value::Boolean(false) | Value::Integer(0) => true,
        Value::Number(number) => *number == 0.0,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "checked: whole and small")]
fn number_literal(number: f64) -> Literal {
    if number.fract() == 0.0 && number.abs() < 1e15 { Literal::Integer(number as i64) } else { Literal::Float(number) }
}

/// Fills in the names of related records, whatever the user may see of them.
fn name_links(conn: &Connection, env: &Env, keys: &[Key], groups: &mut [Group], room: &mut Room) -> Result<(), Error> {
    for (index, key) in keys.iter().enumerate() {
        let (KeyForm::Link { model } | KeyForm::Pairs { model }) = &key.form else { continue };
        if !env.schema.models.contains_key(model) {
            continue;
        }
        let links = |groups: &[Group]| -> BTreeSet<Id> {
            groups.iter().filter_map(|group| link_id(&group.keys.get(index)?.value)).collect()
        };
        let ids: Vec<Id> = links(groups).into_iter().collect();
        let names = query::names::display_names(conn, env, model, &ids)?;
        for group in groups.iter_mut() {
            if room.is_over() {
                return Ok(());
            }
            if let Some(key) = group.keys.get_mut(index)
                && let Some(id) = link_id(&key.value)
            {
                let name = names.get(&id).cloned();
                room.take(name.as_ref().map_or(0, String::len) as u64);
                key.value = Value::Many2one(Link { id, name });
            }
        }
    }
    Ok(())
}

fn link_id(value: &Value) -> Option<Id> {
    match value {
        Value::Many2one(link) => Some(link.id),
        _ => None,
    }
}

fn misfit(error: impl std::fmt::Display) -> Error {
    Error::new(triggerbox_model::error::ErrorKind::Other, "database", format!("a group holds what it cannot: {error}"))
}
