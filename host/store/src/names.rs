//! What people call one record.

use rusqlite::Connection;
use triggerbox_model::{error::Error, value::Id};

use crate::{env::Env, query};

/// The display name of a record; empty for one that is gone or has none.
pub(crate) fn display_name(conn: &Connection, env: &Env, model: &str, id: Id) -> Result<String, Error> {
    let mut names = query::names::display_names(conn, env, model, &[id])?;
    Ok(names.remove(&id).unwrap_or_default())
}
