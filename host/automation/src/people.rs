//! Finds the user that a run acts for, and makes their environment.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    error::Error,
    event::User,
    value::{Id, Link, Row, Value},
};
use triggerbox_store::{
    db::{Database, Snapshot},
    env::Env,
    query,
    session::Session,
};

use crate::runner::RunError;

/// A user with the company that they work in.
#[derive(Debug, Clone)]
pub struct Person {
    /// As scripts may know them.
    pub user: User,
    /// Their current company.
    pub company: Link,
}

/// The user that the system itself acts as; Odoo's `base.user_root`.
pub const SYSTEM: Id = 1;

/// The environment of a user, with or without that user's bounds.
///
/// # Errors
/// The user does not exist; the backend fails.
pub fn environment(database: &Database, user: Id, superuser: bool, now: Timestamp) -> Result<Env, RunError> {
    environment_in(&database.snapshot()?, user, superuser, now).map_err(RunError::Invalid)
}

/// The same, as a snapshot has it.
///
/// # Errors
/// The user does not exist; the backend fails.
pub fn environment_in(snapshot: &Snapshot, user: Id, superuser: bool, now: Timestamp) -> Result<Env, Error> {
    let database = snapshot.database();
    let (schema, rights) = (Arc::clone(database.schema()), Arc::clone(database.rights()));
    let env = Env::for_user(snapshot, schema, rights, user, now)?;
    Ok(if superuser { env.sudo() } else { env })
}

/// Finds an active user by sign-in name or id; by id, where a number is both.
///
/// # Errors
/// `unknown-user`, or what the backend says.
pub fn find(database: &Database, login_or_id: &str, now: Timestamp) -> Result<Person, RunError> {
    let login = Domain::condition("login", Operator::Equal, Literal::text(login_or_id));
    let id = login_or_id.parse::<Id>().ok();
    let rows = match id {
        Some(id) => active_users(database, &Domain::or([numbered(id), login]), now)?,
        None => active_users(database, &login, now)?,
    };
    let found = rows.iter().find(|row| id == Some(row.id)).or_else(|| rows.first());
    found.and_then(person).ok_or_else(|| nobody(login_or_id))
}

/// Finds an active user by id alone: whoever is kept by number is nobody who signs in with these digits.
///
/// # Errors
/// As [`find`].
pub fn active(database: &Database, user: Id, now: Timestamp) -> Result<Person, RunError> {
    let rows = active_users(database, &numbered(user), now)?;
    rows.first().and_then(person).ok_or_else(|| nobody(&user.to_string()))
}

fn numbered(user: Id) -> Domain {
    Domain::condition("id", Operator::Equal, Literal::Integer(i64::from(user)))
}

fn active_users(database: &Database, domain: &Domain, now: Timestamp) -> Result<Vec<Row>, RunError> {
    let mut session = Session::new(database, environment(database, SYSTEM, true, now)?)?;
    let call = Call::SearchRead {
        model: "res.users".to_owned(),
        domain: DomainSource::Literal(domain.to_string()),
        fields: ["name", "login", "lang", "tz", "company_id"].map(str::to_owned).to_vec(),
        page: Page { limit: Some(2), ..Page::default() },
    };
    match session.call(call)? {
        Ok(Answer::Rows(rows)) => Ok(rows),
        Ok(_) => Err(RunError::Backend("the backend answered a search with something else".to_owned())),
        Err(error) => Err(RunError::Invalid(error)),
    }
}

fn nobody(login_or_id: &str) -> RunError {
    RunError::Invalid(Error::not_found(
        "unknown-user",
        format!("there is no active user `{login_or_id}`; `triggerbox db search res.users --fields login` lists them"),
    ))
}

/// A user by id, active or not: who did something stays who it was.
///
/// # Errors
/// `unknown-user`, or what the backend says.
pub fn by_id(conn: &Connection, env: &Env, user: Id) -> Result<Person, Error> {
    let fields = ["name", "login", "lang", "tz", "company_id"].map(str::to_owned);
    let rows = query::read::read(conn, &env.clone().sudo(), "res.users", &[user], &fields)?;
    rows.first()
        .and_then(person)
        .ok_or_else(|| Error::not_found("unknown-user", format!("there is no user {user}, or none with a company")))
}

fn person(row: &Row) -> Option<Person> {
    let [name, login, lang, tz, company] = row.values.as_slice() else {
        return None;
    };
    let text = |value: &Value, default: &str| match value {
        Value::Text(text) => text.clone(),
        _ => default.to_owned(),
    };
    let Value::Many2one(company) = company else {
        return None;
    };
    Some(Person {
        user: User {
            id: row.id,
            name: text(name, ""),
            login: text(login, ""),
            lang: text(lang, "en_US"),
            tz: text(tz, "UTC"),
        },
        company: company.clone(),
    })
}
