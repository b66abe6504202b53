//! What was taken once and must not be taken again: deliveries of webhooks, requests with an idempotency key.

use rusqlite::{Connection, OptionalExtension};

use crate::error::EngineError;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: from now on it is taken.
    New,
    /// It was taken, and this was the answer; none: there is none yet, or its process died before it gave one.
    Taken(Option<String>),
}

/// Takes a key, in the caller's transaction.
///
/// # Errors
/// What the database says.
pub fn take(conn: &Connection, scope: &str, key: &str, now: i64) -> Result<Known, EngineError> {
    let sql = "INSERT OR IGNORE INTO engine_seen (scope, key, at) VALUES (?1, ?2, ?3)";
    if conn.prepare_cached(sql)?.execute((scope, key, now))? > 0 {
        return Ok(Known::New);
    }
    let sql = "SELECT answer FROM engine_seen WHERE scope = ?1 AND key = ?2";
    let answer: Option<Option<String>> =
        conn.prepare_cached(sql)?.query_row((scope, key), |row| row.get(0)).optional()?;
    Ok(Known::Taken(answer.flatten()))
}

/// Keeps the answer to a key that was taken.
///
/// # Errors
/// What the database says.
pub fn answer(conn: &Connection, scope: &str, key: &str, answer: &str) -> Result<(), EngineError> {
    let sql = "UPDATE engine_seen SET answer = ?3 WHERE scope = ?1 AND key = ?2";
    conn.prepare_cached(sql)?.execute((scope, key, answer))?;
    Ok(())
}

/// Gives a key back: what it was taken for did not happen.
///
/// # Errors
/// What the database says.
pub fn give_back(conn: &Connection, scope: &str, key: &str) -> Result<(), EngineError> {
    conn.prepare_cached("DELETE FROM engine_seen WHERE scope = ?1 AND key = ?2")?.execute((scope, key))?;
    Ok(())
}

/// Forgets keys that were taken before this time, in scopes that begin so. How many there were.
///
/// # Errors
/// What the database says.
pub fn forget(conn: &Connection, scopes: &str, before: i64) -> Result<usize, EngineError> {
    let sql = "DELETE FROM engine_seen WHERE at < ?2 AND substr(scope, 1, length(?1)) = ?1";
    Ok(conn.prepare_cached(sql)?.execute((scopes, before))?)
}
