//! What a user may do, as writers and sessions ask it.

use rusqlite::Connection;
use triggerbox_model::{
    call::Operation,
    error::{Error, ErrorKind},
    value::Id,
};

use crate::env::Env;

/// Fails when the user may not do this to the model, or to one of the records.
pub(crate) fn check_access(
    _conn: &Connection,
    env: &Env,
    model: &str,
    _ids: &[Id],
    operation: Operation,
) -> Result<(), Error> {
    if env.superuser {
        return Ok(());
    }
    Err(Error::denied("no-rights", format!("rights to {} `{model}` cannot be told yet", operation.name())))
}

/// Fails for a field that the user's groups do not see.
pub(crate) fn check_fields<'f>(
    _env: &Env,
    _model: &str,
    _fields: impl IntoIterator<Item = &'f str>,
    _operation: Operation,
) -> Result<(), Error> {
    Ok(())
}

/// Whether the user may do this.
pub(crate) fn has_access(
    conn: &Connection,
    env: &Env,
    model: &str,
    ids: &[Id],
    operation: Operation,
) -> Result<bool, Error> {
    match check_access(conn, env, model, ids, operation) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == ErrorKind::AccessDenied => Ok(false),
        Err(error) => Err(error),
    }
}
