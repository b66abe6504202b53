//! Links that set a password: for the first administrator, for a new account, for one that forgot theirs. Each is good once
//! and for a while, and only its hash is kept.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{draw, hash};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_invite (
    hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

/// How long a link is good.
pub const HOURS: i64 = 24;

/// A link's secret part for an account. Earlier links of the account are good no more.
///
/// # Errors
/// What SQLite says.
pub fn create(conn: &Connection, account: i64, now: Timestamp) -> rusqlite::Result<String> {
    let secret = draw();
    conn.execute("DELETE FROM server_invite WHERE account = ?1 OR expires <= ?2", (account, now.as_millisecond()))?;
    let expires = now.saturating_add(SignedDuration::from_hours(HOURS)).unwrap_or(Timestamp::MAX);
    let sql = "INSERT INTO server_invite (hash, account, expires) VALUES (?, ?, ?)";
    conn.execute(sql, (hash(&secret), account, expires.as_millisecond()))?;
    Ok(secret)
}

/// The account that a link is for, if it is good.
///
/// # Errors
/// What SQLite says.
pub fn find(conn: &Connection, secret: &str, now: Timestamp) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT account FROM server_invite WHERE hash = ?1 AND expires > ?2";
    conn.prepare_cached(sql)?.query_row((hash(secret), now.as_millisecond()), |row| row.get(0)).optional()
}

/// Takes a link: its account, the first time.
///
/// # Errors
/// What SQLite says.
pub fn take(conn: &Connection, secret: &str, now: Timestamp) -> rusqlite::Result<Option<i64>> {
    let found = find(conn, secret, now)?;
    conn.execute("DELETE FROM server_invite WHERE hash = ?1", [hash(secret)])?;
    Ok(found)
}
