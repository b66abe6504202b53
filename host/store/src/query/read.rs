//! Fields of records: Odoo's `read`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use triggerbox_model::{
    allowance::Room,
    call::Operation,
    domain::{
        filter::{Cell, Check, Filter, LinkStorage, Subject},
        resolve,
    },
    error::{Error, ErrorKind},
    schema::{Field, FieldKind, Model},
    time,
    value::{Id, Link, Row, Value},
};

use super::{access, access::resolving, fault, names, order, sql::Sql};
use crate::{
    ddl::{quote, table},
    env::Env,
    rights,
};

/// Records that are read together: what is made on the way to their values is let go of before the next ones.
pub(super) const AT_ONCE: usize = 1_000;

/// Values that one answer may hold, whatever they weigh: each takes some tens of bytes on its way to a script.
const MOST_VALUES: usize = 1_000_000;

/// The named fields of records, in the order of `ids`. Ids that do not exist are left out.
///
/// # Errors
/// `unknown-field`; `access-denied` when the user may not see a field or one of the records; what the database says.
pub fn read(conn: &Connection, env: &Env, model: &str, ids: &[Id], fields: &[String]) -> Result<Vec<Row>, Error> {
    read_within(conn, env, model, ids, fields, &mut { Room::ENDLESS })
}

/// The same as far as there is room: once there is none left, no more is read.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_within(
    conn: &Connection,
    env: &Env,
    model: &str,
    ids: &[Id],
    fields: &[String],
    room: &mut Room,
) -> Result<Vec<Row>, Error> {
    if rights::is_own_preference(env, model, ids, fields.iter().map(String::as_str), Operation::Read) {
        return read_visible(conn, &env.clone().sudo(), model, ids, fields, room);
    }
    access::check_read(conn, env, model, ids)?;
    read_visible(conn, env, model, ids, fields, room)
}

/// As [`read_within`], of records that a search of the same user has just found.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_visible(
    conn: &Connection,
    env: &Env,
    model: &str,
    ids: &[Id],
    fields: &[String],
    room: &mut Room,
) -> Result<Vec<Row>, Error> {
    let found = env.schema.model(model)?;
    if fields.is_empty() {
        return Err(Error::invalid("no-fields", "no fields are asked for; name the fields to read"));
    }
    for name in fields {
        if let Some(field) = found.fields.get(name) {
            access::check_field(env, found, name, field)?;
        }
    }
    let once;
    let ids = if ids.len() > AT_ONCE {
        let mut seen = HashSet::with_capacity(ids.len());
        once = ids.iter().copied().filter(|id| seen.insert(*id)).collect::<Vec<_>>();
        once.as_slice()
    } else {
        ids
    };
    let mut rows = Vec::new();
    // Also of no records the fields are looked at.
    for ids in ids.chunks(AT_ONCE).chain(ids.is_empty().then_some(ids)) {
        if !room.is_endless() && fields.len().saturating_mul(rows.len() + ids.len()) > MOST_VALUES {
            let why = format!("the answer has more than {MOST_VALUES} values; read fewer records or fields at once");
            return Err(Error::invalid("answer-too-big", why));
        }
        let mut some = raw(conn, env, found, ids, fields, room)?;
        name_links(conn, env, found, fields, &mut some, room)?;
        some.iter().for_each(|_| room.take_record());
        rows.append(&mut some);
        if room.is_over() {
            break;
        }
    }
    Ok(rows)
}

/// Fills the names of many2one values.
fn name_links(
    conn: &Connection,
    env: &Env,
    model: &Model,
    fields: &[String],
    rows: &mut [Row],
    room: &mut Room,
) -> Result<(), Error> {
    for (index, name) in fields.iter().enumerate() {
        let Some(relation) = relation_of(env, model, name) else { continue };
        let wanted: BTreeSet<Id> = rows.iter().filter_map(|row| linked(row.values.get(index))).collect();
        if wanted.is_empty() {
            continue;
        }
        let wanted: Vec<Id> = wanted.into_iter().collect();
        let names = names::display_names(conn, env, &relation, &wanted)?;
        for row in rows.iter_mut() {
            // Many records may name one with a long name.
            if room.is_over() {
                return Ok(());
            }
            if let Some(Value::Many2one(link)) = row.values.get_mut(index) {
                let name = names.get(&link.id).cloned().unwrap_or_default();
                room.take(name.len() as u64);
                link.name = Some(name);
            }
        }
    }
    Ok(())
}

fn linked(value: Option<&Value>) -> Option<Id> {
    match value {
        Some(Value::Many2one(link)) => Some(link.id),
        _ => None,
    }
}

/// The model of a many2one, its own or one it shows.
fn relation_of(env: &Env, model: &Model, name: &str) -> Option<String> {
    let own = model.fields.get(name);
    let inherited = || model.inherits.keys().find_map(|parent| env.schema.models.get(parent)?.fields.get(name));
    let field = own.or_else(inherited).filter(|field| field.kind == FieldKind::Many2one)?;
    field.relation.clone().filter(|relation| env.schema.models.contains_key(relation))
}

/// Values without rights, many2one without names.
pub(crate) fn read_raw(
    conn: &Connection,
    env: &Env,
    model: &Model,
    ids: &[Id],
    fields: &[String],
) -> Result<Vec<Row>, Error> {
    raw(conn, env, model, ids, fields, &mut { Room::ENDLESS })
}

fn raw(
    conn: &Connection,
    env: &Env,
    model: &Model,
    ids: &[Id],
    fields: &[String],
    room: &mut Room,
) -> Result<Vec<Row>, Error> {
    let mut columns = Vec::new();
    for name in fields {
        columns.push(source(env, model, name)?);
    }
    let mut values = stored_values(conn, env, model, ids, &columns, room)?;
    let mut computed: Vec<HashMap<Id, Value>> = Vec::new();
    for column in &columns {
        computed.push(match column {
            Source::Stored(..) | Source::Id => HashMap::new(),
            Source::Many(name, field) => many(conn, env, (model, name, field), ids, room)?,
            Source::Path(path) => follow(conn, env, model, ids, path)?,
            Source::Name => names::display_names(conn, env, &model.name, ids)?
                .into_iter()
                .map(|(id, name)| (id, Value::Text(name)))
                .collect(),
            Source::Computed(name) => compute(conn, env, model, ids, name)?,
        });
    }
    let mut rows = Vec::new();
    for id in ids {
        let Some(stored) = values.remove(id) else { continue };
        let mut stored = stored.into_iter();
        let mut row = Row { id: *id, values: Vec::with_capacity(columns.len()) };
        for (column, computed) in columns.iter().zip(&mut computed) {
            row.values.push(match column {
                Source::Stored(..) => stored.next().unwrap_or(Value::Unset),
                Source::Id => Value::Integer(i32::try_from(*id).unwrap_or(i32::MAX)),
                Source::Many(..) => computed.remove(id).unwrap_or_else(|| Value::Ids(Vec::new())),
                Source::Path(_) | Source::Name | Source::Computed(_) => {
                    let value = computed.remove(id).unwrap_or(Value::Unset);
                    room.take(value.byte_size());
                    value
                }
            });
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Where a field's value comes from.
enum Source<'a> {
    Id,
    Stored(&'a str, &'a Field),
    Many(&'a str, &'a Field),
    /// Through relations, to a field at the end.
    Path(String),
    Name,
    Computed(&'a str),
}

fn source<'a>(env: &'a Env, model: &'a Model, name: &'a str) -> Result<Source<'a>, Error> {
    if name == "id" {
        return Ok(Source::Id);
    }
    let Some(field) = model.fields.get(name) else {
        if name == "display_name" {
            return Ok(Source::Name);
        }
        let inherited = model.inherits.iter().find_map(|(parent, via)| {
            let shown = env.schema.models.get(parent)?.fields.contains_key(name);
            shown.then(|| format!("{via}.{name}"))
        });
        return match inherited {
            Some(path) => Ok(Source::Path(path)),
            None => Err(model
                .field(name)
                .err()
                .unwrap_or_else(|| Error::invalid("unknown-field", format!("unknown field `{name}`")))),
        };
    };
    Ok(match (&field.related, field.store) {
        (_, true) if field.kind.is_x2many() => Source::Many(name, field),
        (_, true) => Source::Stored(name, field),
        (Some(path), false) => Source::Path(path.clone()),
        (None, false) => Source::Computed(name),
    })
}

/// Columns of the records that exist, as far as there is room for them.
fn stored_values(
    conn: &Connection,
    env: &Env,
    model: &Model,
    ids: &[Id],
    columns: &[Source<'_>],
    room: &mut Room,
) -> Result<HashMap<Id, Vec<Value>>, Error> {
    let mut sql = Sql::new(conn);
    sql.push("SELECT t.\"id\"");
    let mut fields = Vec::new();
    for column in columns {
        if let Source::Stored(name, field) = column {
            sql.push(", ");
            let column = (*name).to_owned();
            let subject = if env.translates(field)? {
                Subject::Translated { column, lang: env.lang.clone() }
            } else {
                Subject::Column(column)
            };
            sql.subject("t", &subject);
            fields.push((*name, *field));
        }
    }
    sql.push(&format!(" FROM {} AS t WHERE ", quote(&table(&model.name))));
    sql.filter(&model.name, "t", &among(ids))?;
    let (text, params) = sql.finish();
    let mut statement = conn.prepare_cached(&text).map_err(fault)?;
    let mut rows = statement.query(params_from_iter(params)).map_err(fault)?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let mut values = Vec::with_capacity(fields.len());
        for (index, (name, field)) in fields.iter().enumerate() {
            let raw = row.get_ref(index + 1).map_err(fault)?;
            let value = decode(field, raw).map_err(|why| bad_data(model, name, &why))?;
            room.take(value.byte_size());
            values.push(value);
        }
        found.insert(row.get(0).map_err(fault)?, values);
        if room.is_over() {
            break;
        }
    }
    Ok(found)
}

fn among(ids: &[Id]) -> Filter {
    Filter::ids(ids.iter().map(|id| i64::from(*id)).collect())
}

fn bad_data(model: &Model, field: &str, why: &str) -> Error {
    let message = format!("field `{field}` of `{}` holds what it cannot: {why}", model.name);
    Error::new(ErrorKind::Other, "database", message).with_field(field)
}

/// A stored value as scripts see it.
///
/// # Errors
/// What does not fit the field's type.
pub fn decode(field: &Field, raw: ValueRef<'_>) -> Result<Value, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
    let id = |number: i64| Id::try_from(number).map_err(|_| format!("{number} is no id"));
    Ok(match (field.kind, raw) {
        (FieldKind::Boolean, ValueRef::Null) => Value::Boolean(false),
        (FieldKind::Integer, ValueRef::Null) => Value::Integer(0),
        (FieldKind::Float | FieldKind::Monetary, ValueRef::Null) => Value::Number(0.0),
        (_, ValueRef::Null) => Value::Unset,
        (FieldKind::Boolean, ValueRef::Integer(flag)) => Value::Boolean(flag != 0),
        (FieldKind::Integer, ValueRef::Integer(number)) => match i32::try_from(number) {
            Ok(number) => Value::Integer(number),
            #[allow(clippy::cast_precision_loss, reason = "a sum that outgrew an integer")]
            Err(_) => Value::Number(number as f64),
        },
        (FieldKind::Float | FieldKind::Monetary, ValueRef::Real(number)) => Value::Number(number),
        #[allow(clippy::cast_precision_loss, reason = "a whole number in a float column")]
        (FieldKind::Float | FieldKind::Monetary, ValueRef::Integer(number)) => Value::Number(number as f64),
        (FieldKind::Many2one, ValueRef::Integer(other)) => Value::link(id(other)?),
        (FieldKind::Binary, ValueRef::Blob(bytes)) => Value::Binary(bytes.to_vec()),
        (FieldKind::Date, ValueRef::Text(bytes)) => Value::Date(text(bytes)?),
        (FieldKind::Datetime, ValueRef::Text(bytes)) => {
            Value::Datetime(time::datetime_to_contract(&text(bytes)?).map_err(|error| error.message)?)
        }
        (FieldKind::Json, ValueRef::Text(bytes)) => Value::Json(text(bytes)?),
        (FieldKind::Reference, ValueRef::Text(bytes)) => {
            let text = text(bytes)?;
            let parts = text.split_once(',').and_then(|(model, id)| Some((model, id.parse().ok()?)));
            let (model, id) = parts.ok_or_else(|| format!("`{text}` is no reference"))?;
            Value::reference(model, id)
        }
        (FieldKind::Char | FieldKind::Text | FieldKind::Html | FieldKind::Selection, ValueRef::Text(bytes)) => {
            Value::Text(text(bytes)?)
        }
        (kind, raw) => return Err(format!("{} in a {} field", raw.data_type(), kind.name())),
    })
}

/// Records of a one2many or many2many, in the related model's order, as far as there is room for them.
fn many(
    conn: &Connection,
    env: &Env,
    (model, name, field): (&Model, &str, &Field),
    ids: &[Id],
    room: &mut Room,
) -> Result<HashMap<Id, Value>, Error> {
    let related = env.schema.model(field.relation.as_deref().unwrap_or_default())?;
    let (link, filter) = resolving(conn, env, |context| resolve::members(context, &model.name, name))?;
    let order = order::order_by(env, related, None)?;
    let mut sql = Sql::new(conn);
    let records = quote(&table(&related.name));
    match &link.storage {
        LinkStorage::One2many(inverse) => {
            let inverse = quote(inverse);
            sql.push(&format!("SELECT t.{inverse}, t.\"id\" FROM {records} AS t"));
            order.push_joins(&mut sql);
            sql.push(" WHERE ");
            let check = Check::In { values: cells(ids), or_unset: false };
            let subject = Subject::Column(field.relation_field.clone().unwrap_or_default());
            sql.filter(&related.name, "t", &Filter::and([Filter::Test(subject, check), filter]))?;
        }
        LinkStorage::Many2many(pairs, own, theirs) => {
            let (pairs, theirs) = (quote(pairs), quote(theirs));
            sql.push(&format!(
                "SELECT r.{}, t.\"id\" FROM {pairs} AS r JOIN {records} AS t ON t.\"id\" = r.{theirs}",
                quote(own)
            ));
            order.push_joins(&mut sql);
            sql.push(" WHERE ");
            let check = Check::In { values: cells(ids), or_unset: false };
            sql.filter(&related.name, "r", &Filter::Test(Subject::Column(own.clone()), check))?;
            sql.push(" AND ");
            sql.filter(&related.name, "t", &filter)?;
        }
        LinkStorage::Many2one => return Ok(HashMap::new()),
    }
    order.push_terms(&mut sql);
    let (text, params) = sql.finish();
    let mut statement = conn.prepare_cached(&text).map_err(fault)?;
    let mut rows = statement.query(params_from_iter(params)).map_err(fault)?;
    let mut found: HashMap<Id, Vec<Id>> = HashMap::new();
    while let Some(row) = rows.next().map_err(fault)? {
        found.entry(row.get(0).map_err(fault)?).or_default().push(row.get(1).map_err(fault)?);
        room.take(size_of::<Id>() as u64);
        if room.is_over() {
            break;
        }
    }
    Ok(found.into_iter().map(|(id, others)| (id, Value::Ids(others))).collect())
}

fn cells(ids: &[Id]) -> Vec<Cell> {
    ids.iter().map(|id| Cell::Integer(i64::from(*id))).collect()
}

/// A related field: the path is followed as a superuser, always taking the first record.
fn follow(conn: &Connection, env: &Env, model: &Model, ids: &[Id], path: &str) -> Result<HashMap<Id, Value>, Error> {
    let env = env.clone().sudo();
    let Some((first, rest)) = path.split_once('.') else {
        let rows = read_raw(conn, &env, model, ids, &[path.to_owned()])?;
        return Ok(rows.into_iter().filter_map(|row| Some((row.id, row.values.into_iter().next()?))).collect());
    };
    let step = model.field(first)?;
    let related = env.schema.model(step.relation.as_deref().unwrap_or_default())?;
    let mut through: BTreeMap<Id, Id> = BTreeMap::new();
    for row in read_raw(conn, &env, model, ids, &[first.to_owned()])? {
        match row.values.first() {
            Some(Value::Many2one(Link { id, .. })) => {
                through.insert(row.id, *id);
            }
            Some(Value::Ids(others)) => {
                if let Some(other) = others.first() {
                    through.insert(row.id, *other);
                }
            }
            _ => {}
        }
    }
    let others: Vec<Id> = through.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let values = follow(conn, &env, related, &others, rest)?;
    let empty = path_end(&env, related, rest)
        .map_or(Value::Unset, |field| decode(field, ValueRef::Null).unwrap_or(Value::Unset));
    Ok(ids
        .iter()
        .map(|id| (*id, through.get(id).and_then(|other| values.get(other)).cloned().unwrap_or_else(|| empty.clone())))
        .collect())
}

/// The field at the end of a path.
fn path_end<'a>(env: &'a Env, model: &'a Model, path: &str) -> Option<&'a Field> {
    match path.split_once('.') {
        None => model.fields.get(path),
        Some((first, rest)) => {
            let related = env.schema.models.get(model.fields.get(first)?.relation.as_deref()?)?;
            path_end(env, related, rest)
        }
    }
}

/// The few fields that are computed when they are read.
fn compute(conn: &Connection, env: &Env, model: &Model, ids: &[Id], name: &str) -> Result<HashMap<Id, Value>, Error> {
    match (model.name.as_str(), name) {
        ("res.groups", "full_name") => follow(conn, env, model, ids, "name"),
        ("mail.activity", "state") => activity_states(conn, env, model, ids),
        _ => Err(Error::invalid(
            "not-readable",
            format!("`{name}` of `{}` is computed by the original server and not kept here", model.name),
        )
        .with_field(name)),
    }
}

/// `overdue`, `today`, `planned`, by the day it is for the user; `done` once archived.
fn activity_states(conn: &Connection, env: &Env, model: &Model, ids: &[Id]) -> Result<HashMap<Id, Value>, Error> {
    let zone = env.tz.as_deref().map(time::time_zone).transpose()?.unwrap_or(jiff::tz::TimeZone::UTC);
    let today = time::date_text(zone.to_datetime(env.now).date());
    let fields = ["date_deadline".to_owned(), "active".to_owned()];
    let state = |row: Row| {
        let state = match (row.values.first(), row.values.get(1)) {
            (_, Some(Value::Boolean(false))) => "done",
            (Some(Value::Date(deadline)), _) if *deadline < today => "overdue",
            (Some(Value::Date(deadline)), _) if *deadline == today => "today",
            (Some(Value::Date(_)), _) => "planned",
            _ => return (row.id, Value::Unset),
        };
        (row.id, Value::text(state))
    };
    Ok(read_raw(conn, env, model, ids, &fields)?.into_iter().map(state).collect())
}
