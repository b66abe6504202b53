//! What the user may see, for resolving domains.

use jiff::tz::TimeZone;
use rusqlite::Connection;
use triggerbox_model::{
    call::Operation,
    domain::{Domain, resolve},
    error::Error,
    schema::{Field, Model},
    time::{self, Clock},
};

use crate::env::Env;

struct UserAccess<'a> {
    conn: &'a Connection,
    env: &'a Env,
}

impl resolve::Access for UserAccess<'_> {
    fn read_rules(&self, model: &str) -> Result<Domain, Error> {
        rule_domain(self.conn, self.env, model, Operation::Read)
    }

    fn check_field(&self, model: &Model, name: &str, field: &Field) -> Result<(), Error> {
        check_field(self.conn, self.env, model, name, field)
    }
}

/// Calls `work` with what domains of this environment are resolved by.
///
/// # Errors
/// `unknown-language`, `unknown-time-zone`; what `work` says.
pub fn resolving<T>(
    conn: &Connection,
    env: &Env,
    work: impl FnOnce(&resolve::Context<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let known = env.languages.is_empty() || env.languages.iter().any(|language| language.code == env.lang);
    if !known {
        return Err(Error::invalid(
            "unknown-language",
            format!("unknown language `{}`; use an installed one", env.lang),
        ));
    }
    let tz = env.tz.as_deref().map(time::time_zone).transpose()?.unwrap_or(TimeZone::UTC);
    let clock = Clock { now: env.now, tz, week_start: env.week_start };
    let access = UserAccess { conn, env };
    work(&resolve::Context {
        schema: &env.schema,
        clock: &clock,
        parts_tz: env.tz.as_deref(),
        lang: &env.lang,
        active_test: env.active_test,
        access: if env.superuser { None } else { Some(&access) },
    })
}

/// Refuses ids that the user may not read; those that do not exist are no matter.
///
/// # Errors
/// `access-denied`
pub(crate) fn check_read(
    conn: &Connection,
    env: &Env,
    model: &str,
    _ids: &[triggerbox_model::value::Id],
) -> Result<(), Error> {
    if env.superuser {
        return Ok(());
    }
    rule_domain(conn, env, model, Operation::Read).map(drop)
}

/// Refuses fields that the user may not see.
///
/// # Errors
/// `access-denied`
pub(crate) fn check_field(
    _conn: &Connection,
    env: &Env,
    model: &Model,
    name: &str,
    _field: &Field,
) -> Result<(), Error> {
    if env.superuser {
        return Ok(());
    }
    Err(Error::denied("no-rights", format!("rights on `{name}` of `{}` cannot be told yet", model.name)))
}

fn rule_domain(_conn: &Connection, _env: &Env, model: &str, _operation: Operation) -> Result<Domain, Error> {
    Err(Error::denied("no-rights", format!("rights on `{model}` cannot be told yet")))
}
