//! What was taken once and must not be taken again: deliveries of webhooks, requests with an idempotency key.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use triggerbox_store::db::DbError;

use crate::{
    beside::{self, Beside},
    error::EngineError,
};

/// What a request that is being done is known by: its scope and its key.
pub type Key = (String, String);

/// Does work under a key that was taken: the first transaction that it commits says so, so that it is known that something
/// was done even if the process dies before the answer is kept.
pub async fn under<T>(key: Key, work: impl Future<Output = T>) -> T {
    beside::with(Arc::new(Done(key)), work).await
}

/// Something was done under a key.
struct Done(Key);

impl Beside for Done {
    fn write(&self, conn: &Connection) -> Result<(), DbError> {
        let sql = "UPDATE engine_seen SET answer = '' WHERE scope = ?1 AND key = ?2 AND answer IS NULL";
        conn.prepare_cached(sql)?.execute((&self.0.0, &self.0.1))?;
        Ok(())
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: from now on it is taken.
    New,
    /// It was taken, and this was the answer; none: there is none yet, and nothing was done yet.
    Taken(Option<String>),
    /// What it was taken for was done, and there is no answer: it is being given, or its process died before it was.
    Done,
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
    Ok(match answer.flatten() {
        Some(text) if text.is_empty() => Known::Done,
        answer => Known::Taken(answer),
    })
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

/// Gives a key back, unless something was done under it. Whether it is free.
///
/// # Errors
/// What the database says.
pub fn give_back(conn: &Connection, scope: &str, key: &str) -> Result<bool, EngineError> {
    let sql = "DELETE FROM engine_seen WHERE scope = ?1 AND key = ?2 AND answer IS NULL";
    Ok(conn.prepare_cached(sql)?.execute((scope, key))? > 0)
}

/// Gives back all keys, in scopes that begin so, under which nothing was done: their process is gone.
///
/// # Errors
/// What the database says.
pub fn give_all_back(conn: &Connection, scopes: &str) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM engine_seen WHERE answer IS NULL AND substr(scope, 1, length(?1)) = ?1";
    conn.prepare_cached(sql)?.execute([scopes])
}

/// Notes when something happened last.
///
/// # Errors
/// What the database says.
pub fn note(conn: &Connection, scope: &str, key: &str, now: i64) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO engine_seen (scope, key, at) VALUES (?1, ?2, ?3) ON CONFLICT (scope, key) DO UPDATE SET at = ?3";
    conn.prepare_cached(sql)?.execute((scope, key, now)).map(drop)
}

/// Where it is noted that a rule broke that was asked before a write, or while a form was edited; the key is the rule.
pub const BROKEN_BEFORE: &str = "before";

/// Where it is noted that a rule was paused because its times could not be told; the key is the rule, the answer the reason
/// of the pause.
pub const BROKEN_TIMES: &str = "times";

/// Something that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What it is known by.
    pub key: String,
    /// When it happened last.
    pub at: i64,
    /// What was kept with it ([`answer`]).
    pub answer: Option<String>,
}

/// All that was noted in a scope.
///
/// # Errors
/// What the database says.
pub fn all_noted(conn: &Connection, scope: &str) -> rusqlite::Result<Vec<Noted>> {
    let mut statement = conn.prepare_cached("SELECT key, at, answer FROM engine_seen WHERE scope = ?1 ORDER BY key")?;
    let noted = |row: &rusqlite::Row<'_>| Ok(Noted { key: row.get(0)?, at: row.get(1)?, answer: row.get(2)? });
    statement.query_map([scope], noted)?.collect()
}

/// When something was noted last.
///
/// # Errors
/// What the database says.
pub fn noted(conn: &Connection, scope: &str, key: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT at FROM engine_seen WHERE scope = ?1 AND key = ?2";
    conn.prepare_cached(sql)?.query_row((scope, key), |row| row.get(0)).optional()
}

/// Forgets one key.
///
/// # Errors
/// What the database says.
pub fn remove(conn: &Connection, scope: &str, key: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM engine_seen WHERE scope = ?1 AND key = ?2";
    conn.prepare_cached(sql)?.execute((scope, key)).map(drop)
}

/// Forgets keys that were taken before this time, in scopes that begin so. How many there were.
///
/// # Errors
/// What the database says.
pub fn forget(conn: &Connection, scopes: &str, before: i64) -> Result<usize, EngineError> {
    let sql = "DELETE FROM engine_seen WHERE at < ?2 AND substr(scope, 1, length(?1)) = ?1";
    Ok(conn.prepare_cached(sql)?.execute((scopes, before))?)
}
