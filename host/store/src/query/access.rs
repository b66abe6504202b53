//! What the user may see, for resolving domains.

use std::cell::Cell;

use jiff::tz::TimeZone;
use rusqlite::Connection;
use triggerbox_model::{
    call::Operation,
    domain::{Domain, filter::Filter, resolve},
    error::Error,
    schema::{Field, Model},
    time::{self, Clock},
    value::Id,
};

use crate::{env::Env, rights};

struct UserAccess<'a> {
    conn: &'a Connection,
    env: &'a Env,
    /// All that was asked so far follows from who the user is.
    settled: Cell<bool>,
}

impl resolve::Access for UserAccess<'_> {
    fn check_model(&self, model: &str) -> Result<(), Error> {
        rights::check_model(self.env, model, Operation::Read)
    }

    fn read_rules(&self, context: &resolve::Context<'_>, model: &str) -> Result<Filter, Error> {
        rights::check_model(self.env, model, Operation::Read)?;
        let (filter, settled) = rights::read_filter(self.env, model, || {
            let rules = rights::rule_domain(self.conn, self.env, model, Operation::Read)?;
            Ok((resolve::rules(context, model, &rules)?, rules))
        })?;
        self.settled.set(self.settled.get() && settled);
        Ok(filter)
    }

    fn read_documents(&self, model: &str) -> Result<Filter, Error> {
        let documents = rights::read_documents(self.conn, self.env, model)?;
        // Who the user is says nothing of records elsewhere.
        self.settled.set(self.settled.get() && documents == Filter::Always);
        Ok(documents)
    }

    fn check_field(&self, model: &Model, name: &str, field: &Field) -> Result<(), Error> {
        check_field(self.env, model, name, field)
    }
}

/// Calls `work` with what domains of this environment are resolved by.
///
/// # Errors
/// `unknown-time-zone`; what `work` says.
pub fn resolving<T>(
    conn: &Connection,
    env: &Env,
    work: impl FnOnce(&resolve::Context<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    resolving_for(conn, env, work).map(|(done, _)| done)
}

/// The same, and whether the rights that were asked follow from who the user is, and from nothing else.
///
/// # Errors
/// As [`resolving`].
pub(super) fn resolving_for<T>(
    conn: &Connection,
    env: &Env,
    work: impl FnOnce(&resolve::Context<'_>) -> Result<T, Error>,
) -> Result<(T, bool), Error> {
    let tz = env.tz.as_deref().map(time::time_zone).transpose()?.unwrap_or(TimeZone::UTC);
    let clock = Clock { now: env.now, tz, week_start: env.week_start };
    let access = UserAccess { conn, env, settled: Cell::new(true) };
    let done = work(&resolve::Context {
        schema: &env.schema,
        clock: &clock,
        parts_tz: env.context_tz.as_deref(),
        lang: &env.lang,
        lang_known: env.knows_language(),
        active_test: env.active_test,
        user: env.user,
        access: if env.superuser { None } else { Some(&access) },
    })?;
    Ok((done, access.settled.get()))
}

/// Refuses ids that the user may not read; those that do not exist are no matter.
///
/// # Errors
/// `access-denied`
pub(crate) fn check_read(conn: &Connection, env: &Env, model: &str, ids: &[Id]) -> Result<(), Error> {
    if env.superuser {
        return Ok(());
    }
    rights::check_model(env, model, Operation::Read)?;
    let mut sudo = env.clone().sudo();
    sudo.active_test = false;
    let existing = super::matching(conn, &sudo, model, ids, &Domain::Always)?;
    rights::check_access(conn, env, model, &existing, Operation::Read)
}

/// Refuses fields that the user may not see.
///
/// # Errors
/// `access-denied`
pub(crate) fn check_field(env: &Env, model: &Model, name: &str, field: &Field) -> Result<(), Error> {
    rights::check_field(env, &model.name, name, field, Operation::Read)
}
