//! What administrators set while the server runs, by name: kept in the database, with who set it and when.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Serialize, de::DeserializeOwned};
use triggerbox_model::value::Id;

use crate::{
    clock::{millis, timestamp},
    error::EngineError,
};

/// Something that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// What.
    pub value: T,
    /// By whom (`res.users`), and when; none: it was set before that was kept.
    pub set: Option<(Id, Timestamp)>,
}

/// What was set.
///
/// # Errors
/// What the database says.
pub fn find<T: DeserializeOwned>(conn: &Connection, name: &str) -> Result<Option<Setting<T>>, EngineError> {
    let sql = "SELECT value, set_by, set_at FROM engine_setting WHERE name = ?";
    let found = conn.prepare_cached(sql)?.query_row([name], |row| read(row, 0)).optional()?;
    found.map(parsed).transpose()
}

/// All that was set under names that begin so, in their order, by the rest of the name.
///
/// # Errors
/// What the database says.
pub fn under<T: DeserializeOwned>(conn: &Connection, prefix: &str) -> Result<Vec<(String, Setting<T>)>, EngineError> {
    let sql = "SELECT substr(name, length(?1) + 1), value, set_by, set_at FROM engine_setting \
               WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([prefix], |row| Ok((row.get::<_, String>(0)?, read(row, 1)?)))?;
    rows.map(|row| row.map_err(EngineError::from).and_then(|(name, found)| Ok((name, parsed(found)?)))).collect()
}

/// Sets something, in place of what was set before.
///
/// # Errors
/// What the database says.
pub fn set<T: Serialize>(
    conn: &Connection,
    name: &str,
    value: &T,
    (by, at): (Id, Timestamp),
) -> Result<(), EngineError> {
    let sql = "INSERT INTO engine_setting (name, value, set_by, set_at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (name) DO UPDATE SET value = ?2, set_by = ?3, set_at = ?4";
    conn.execute(sql, (name, serde_json::to_string(value)?, by, millis(at)))?;
    Ok(())
}

/// Takes back what was set.
///
/// # Errors
/// What the database says.
pub fn unset(conn: &Connection, name: &str) -> Result<(), EngineError> {
    conn.execute("DELETE FROM engine_setting WHERE name = ?1", [name])?;
    Ok(())
}

type Found = (String, Option<Id>, Option<i64>);

fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Found> {
    Ok((row.get(from)?, row.get(from + 1)?, row.get(from + 2)?))
}

fn parsed<T: DeserializeOwned>((value, by, at): Found) -> Result<Setting<T>, EngineError> {
    Ok(Setting { value: serde_json::from_str(&value)?, set: by.zip(at.map(timestamp)) })
}
