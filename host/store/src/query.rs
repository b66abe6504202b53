//! Finding and reading records: Odoo's `search`, `search_count`, `read`, `search_read`, `name_search`.
//!
//! | module | what it does |
//! |---|---|
//! | [`functions`] | SQL functions and collations, registered on each connection |
//! | [`sql`] | a resolved domain as SQL |
//! | [`order`] | `ORDER BY`, through relations |
//! | `asked` | questions that were asked before |
//! | [`access`] | what the user may see, as domains are resolved |
//! | [`read`] | fields of records |
//! | [`names`] | display names |
//! | [`records`] | stored values for judging domains in memory |
//!
//! All SQL names tables without a schema, so that a run's staged changes can shadow them with temporary views.

pub mod access;
mod asked;
pub mod functions;
pub mod names;
pub mod order;
pub mod read;
pub mod records;
pub mod sql;

use rusqlite::{Connection, params_from_iter, types::Value};
use triggerbox_model::{
    allowance::Room,
    call::{Operation, Page},
    domain::{Domain, Operator, filter::Filter, resolve},
    error::{Error, ErrorKind},
    schema::Model,
    value::{Id, Link, Row},
};

pub(crate) use self::asked::Shapes;
use self::{
    access::resolving,
    asked::{Question, Statement, Wanted},
    sql::Sql,
};
use crate::{
    ddl::{quote, table},
    env::Env,
    rights,
};

/// How SQLite begins to say that a statement is larger than it takes.
const TOO_LARGE: [&str; 7] = [
    "Expression tree is too large",
    "too many SQL variables",
    "at most 64 tables in a join",
    "too many terms in",
    "too many columns in",
    "parser stack overflow",
    "string or blob too big",
];

/// A failure of the database itself. Errors of our own SQL functions come through as what they are, and so does a question that
/// is too large for it.
pub(crate) fn fault(error: rusqlite::Error) -> Error {
    if let rusqlite::Error::SqliteFailure(_, Some(message)) | rusqlite::Error::SqlInputError { msg: message, .. } =
        &error
        && let Some(why) = TOO_LARGE.iter().find(|why| message.starts_with(**why))
    {
        let message = format!("this asks more at once than the database takes ({why}): ask in parts");
        return Error::invalid("too-large", message);
    }
    if let rusqlite::Error::SqliteFailure(_, Some(message)) = &error
        && let Some(message) = message.strip_prefix(functions::REFUSED)
    {
        return Error::invalid("bad-domain", message);
    }
    if let rusqlite::Error::SqliteFailure(_, Some(message)) = &error
        && let Some(message) = message.strip_prefix(functions::TOO_BIG)
    {
        return Error::invalid("answer-too-big", message);
    }
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
        return crate::db::fault(error);
    }
    Error::new(ErrorKind::Other, "database", error.to_string())
}

/// Ids of the records that match, in the page's order; Odoo's `search`.
///
/// # Errors
/// `bad-domain`, `bad-order`, `unknown-field`, `wrong-type`: the question is wrong. `access-denied`: the user may not.
pub fn search(conn: &Connection, env: &Env, model: &str, domain: &Domain, page: &Page) -> Result<Vec<Id>, Error> {
    let bounds = bounds(page);
    let wanted = Wanted::Ids { order: page.order.as_deref(), paged: bounds.is_some() };
    let active_test = env.active_test && !page.archived;
    match (Question { env, model, domain, active_test, wanted }).statement(conn)? {
        Some(Statement { text, params }) => run(conn, &text, params, bounds),
        None => Ok(Vec::new()),
    }
}

/// How many records match; Odoo's `search_count`.
///
/// # Errors
/// As [`search`].
pub fn search_count(conn: &Connection, env: &Env, model: &str, domain: &Domain) -> Result<u32, Error> {
    let question = Question { env, model, domain, active_test: env.active_test, wanted: Wanted::Count };
    let Some(Statement { text, params }) = question.statement(conn)? else { return Ok(0) };
    let mut statement = conn.prepare_cached(&text).map_err(fault)?;
    statement.query_row(params_from_iter(params), |row| row.get(0)).map_err(fault)
}

/// Matching records with fields, as far as there is room for them; Odoo's `search_read`.
///
/// # Errors
/// As [`search`] and [`read::read`].
pub fn search_read(
    conn: &Connection,
    env: &Env,
    model: &str,
    domain: &Domain,
    fields: &[String],
    page: &Page,
    room: &mut Room,
) -> Result<Vec<Row>, Error> {
    let ids = search(conn, env, model, domain, page)?;
    read::read_visible(conn, env, model, &ids, fields, room)
}

/// Records that a text may mean, with their names; Odoo's `name_search`.
///
/// # Errors
/// As [`search`].
pub fn name_search(
    conn: &Connection,
    env: &Env,
    model: &str,
    text: &str,
    operator: Operator,
    domain: &Domain,
    limit: u32,
) -> Result<Vec<Link>, Error> {
    let ids = names::search(conn, env, model, text, operator, domain, limit)?;
    links(conn, env, model, ids, &mut { Room::ENDLESS })
}

/// Records with their names, as far as there is room for them.
pub(crate) fn links(
    conn: &Connection,
    env: &Env,
    model: &str,
    ids: Vec<Id>,
    room: &mut Room,
) -> Result<Vec<Link>, Error> {
    let mut links = Vec::new();
    for ids in ids.chunks(read::AT_ONCE) {
        let mut names = names::display_names(conn, env, model, ids)?;
        for id in ids {
            let link = Link { id: *id, name: names.remove(id) };
            room.take(link.name.as_ref().map_or(0, String::len) as u64 + size_of::<Id>() as u64);
            room.take_record();
            links.push(link);
        }
        if room.is_over() {
            break;
        }
    }
    Ok(links)
}

/// What a search for a domain looks for: archived records left out as the environment says, record rules applied.
///
/// # Errors
/// As [`search`].
pub fn filter(conn: &Connection, env: &Env, model: &str, domain: &Domain, archived: bool) -> Result<Filter, Error> {
    rights::check_model(env, model, Operation::Read)?;
    resolving(conn, env, |context| {
        let active_test = context.active_test && !archived;
        resolve::search(&resolve::Context { active_test, ..*context }, model, domain)
    })
}

/// The records that match a domain and nothing more: no record rules of the model itself, archived records included.
///
/// # Errors
/// As [`search`].
pub fn condition(conn: &Connection, env: &Env, model: &str, domain: &Domain) -> Result<Filter, Error> {
    resolving(conn, env, |context| resolve::condition(context, model, domain))
}

/// Those of the given records that match a domain and nothing more, in the order given.
///
/// # Errors
/// As [`search`].
pub fn matching(conn: &Connection, env: &Env, model: &str, ids: &[Id], domain: &Domain) -> Result<Vec<Id>, Error> {
    among(conn, env, model, ids, &condition(conn, env, model, domain)?)
}

/// Those of the given records that match a filter, in the order given.
pub(crate) fn among(conn: &Connection, env: &Env, model: &str, ids: &[Id], filter: &Filter) -> Result<Vec<Id>, Error> {
    let listed = Filter::ids(ids.iter().map(|id| i64::from(*id)).collect());
    let filter = Filter::and([listed, filter.clone()]);
    let page = Page { order: Some("id".to_owned()), ..Page::default() };
    let found: std::collections::HashSet<Id> =
        select_ids(conn, env, env.schema.model(model)?, &filter, &page)?.into_iter().collect();
    Ok(ids.iter().copied().filter(|id| found.contains(id)).collect())
}

/// How SQLite would run a search: the steps of its plan, for finding out why one is slow.
///
/// # Errors
/// As [`search`].
pub fn plan(conn: &Connection, env: &Env, model: &str, domain: &Domain, page: &Page) -> Result<Vec<String>, Error> {
    let filter = filter(conn, env, model, domain, page.archived)?;
    let bounds = bounds(page);
    let sql = select(conn, env, env.schema.model(model)?, &filter, page.order.as_deref(), bounds.is_some())?;
    let (text, params) = sql.finish();
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).map_err(fault)?;
    let rows =
        statement.query_map(params_from_iter(with_bounds(params, bounds)), |row| row.get("detail")).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// Runs a filter.
pub(crate) fn select_ids(
    conn: &Connection,
    env: &Env,
    model: &Model,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Id>, Error> {
    let bounds = bounds(page);
    let sql = select(conn, env, model, filter, page.order.as_deref(), bounds.is_some())?;
    if *filter == Filter::Never {
        return Ok(Vec::new());
    }
    let (text, params) = sql.finish();
    run(conn, &text, params, bounds)
}

/// Runs a statement that gives ids.
fn run(conn: &Connection, text: &str, params: Vec<Value>, bounds: Option<[i64; 2]>) -> Result<Vec<Id>, Error> {
    let mut statement = conn.prepare_cached(text).map_err(fault)?;
    let params = params_from_iter(with_bounds(params, bounds));
    let rows = statement.query_map(params, |row| row.get(0)).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

fn with_bounds(mut params: Vec<Value>, bounds: Option<[i64; 2]>) -> Vec<Value> {
    params.extend(bounds.into_iter().flatten().map(Value::Integer));
    params
}

/// Limit and offset of a page, if it has either. No limit is none, or zero, as Odoo has it.
fn bounds(page: &Page) -> Option<[i64; 2]> {
    let limit = page.limit.filter(|limit| *limit > 0);
    (limit.is_some() || page.offset > 0).then(|| [limit.map_or(-1, i64::from), i64::from(page.offset)])
}

/// The query of a filter. `paged`: with places for limit and offset, after all other values.
fn select<'c>(
    conn: &'c Connection,
    env: &Env,
    model: &Model,
    filter: &Filter,
    order: Option<&str>,
    paged: bool,
) -> Result<Sql<'c>, Error> {
    let order = order::order_by(env, model, order)?;
    let mut sql = Sql::new(conn);
    sql.push(&format!("SELECT t.\"id\" FROM {} AS t", quote(&table(&model.name))));
    order.push_joins(&mut sql);
    sql.push(" WHERE ");
    sql.filter(&model.name, "t", filter)?;
    order.push_terms(&mut sql);
    if paged {
        sql.push(" LIMIT ? OFFSET ?");
    }
    Ok(sql)
}
