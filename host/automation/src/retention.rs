//! How long the past is kept, where an administrator set it: in place of what the configuration says.

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::value::Id;

use crate::{
    config::Retention,
    error::EngineError,
    setting::{self, Setting},
};

const NAME: &str = "retention";

/// What was set; none: what the configuration says is in force.
///
/// # Errors
/// What the database says.
pub fn kept(conn: &Connection) -> Result<Option<Retention>, EngineError> {
    Ok(found(conn)?.map(|found| found.value))
}

/// The same, with who set it and when.
///
/// # Errors
/// What the database says.
pub fn found(conn: &Connection) -> Result<Option<Setting<Retention>>, EngineError> {
    setting::find(conn, NAME)
}

/// Sets it; none: as the configuration says, from now on.
///
/// # Errors
/// What the database says.
pub fn set(conn: &Connection, keep: Option<Retention>, edit: (Id, Timestamp)) -> Result<(), EngineError> {
    match keep {
        Some(keep) => setting::set(conn, NAME, &keep, edit),
        None => setting::unset(conn, NAME),
    }
}
