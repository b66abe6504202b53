//! How long the past is kept, where an administrator set it: in place of what the configuration says.

use rusqlite::{Connection, OptionalExtension};

use crate::{config::Retention, error::EngineError};

const NAME: &str = "retention";

/// What was set; none: what the configuration says is in force.
///
/// # Errors
/// What the database says.
pub fn kept(conn: &Connection) -> Result<Option<Retention>, EngineError> {
    let sql = "SELECT value FROM engine_setting WHERE name = ?";
    let found: Option<String> = conn.prepare_cached(sql)?.query_row([NAME], |row| row.get(0)).optional()?;
    Ok(found.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Sets it; none: as the configuration says, from now on.
///
/// # Errors
/// What the database says.
pub fn set(conn: &Connection, keep: Option<Retention>) -> Result<(), EngineError> {
    match keep {
        Some(keep) => {
            let sql =
                "INSERT INTO engine_setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
            conn.execute(sql, (NAME, serde_json::to_string(&keep)?))?;
        }
        None => {
            conn.execute("DELETE FROM engine_setting WHERE name = ?1", [NAME])?;
        }
    }
    Ok(())
}
