//! Browsers that are signed in. A session's key is drawn at sign-in, lies in a cookie, and is kept as a hash.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use sha2::Sha256;

use super::{draw, hash};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_session (
    hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL,
    created INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    address TEXT NOT NULL                -- where the browser was at sign-in
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS server_session_account ON server_session (account)";

/// The longest time between sign-in and the next one.
pub const LONGEST_HOURS: i64 = 7 * 24;

/// The longest time that a session is not used.
pub const IDLE_HOURS: i64 = 12;

/// A use is noted this often: pages are read more often than they need to be written.
const NOTED_EVERY: i64 = 60_000;

/// What lies in the cookie. Shown in no text.
#[derive(Clone)]
pub struct SessionKey(String);

impl SessionKey {
    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(draw())
    }

    /// The key in a cookie.
    #[must_use]
    pub fn of(cookie: &str) -> Self {
        Self(cookie.to_owned())
    }

    /// What the cookie holds.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.0
    }

    /// What each form carries, so that only pages of this server post as this browser.
    #[must_use]
    pub fn form_token(&self) -> String {
        let tag = self.mac().map(|mac| mac.finalize().into_bytes());
        tag.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a form carries it.
    #[must_use]
    pub fn is_form_token(&self, token: &str) -> bool {
        let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = token.as_bytes().chunks(2).map(digit).collect();
        // In constant time.
        bytes.zip(self.mac()).is_some_and(|(bytes, mac)| mac.verify_slice(&bytes).is_ok())
    }

    fn mac(&self) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&hash(&self.0)).ok()?;
        mac.update(b"form");
        Some(mac)
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey")
    }
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its account.
    pub account: i64,
    /// When it was signed in.
    pub created: Timestamp,
    /// When it was used last, to the minute.
    pub seen: Timestamp,
    /// Where the browser was at sign-in.
    pub address: String,
}

/// Signs a browser in.
///
/// # Errors
/// What SQLite says.
pub fn create(conn: &Connection, account: i64, address: &str, now: Timestamp) -> rusqlite::Result<SessionKey> {
    let key = SessionKey::draw();
    let millis = now.as_millisecond();
    conn.execute("DELETE FROM server_session WHERE created < ?1 OR seen < ?2", bounds(now))?;
    let sql = "INSERT INTO server_session (hash, account, created, seen, address) VALUES (?, ?, ?, ?, ?)";
    conn.execute(sql, (hash(&key.0), account, millis, millis, address))?;
    Ok(key)
}

/// The session of a key, if it is good now.
///
/// # Errors
/// What SQLite says.
pub fn find(conn: &Connection, key: &SessionKey, now: Timestamp) -> rusqlite::Result<Option<Session>> {
    let sql = "SELECT account, created, seen, address FROM server_session \
               WHERE hash = ?1 AND created >= ?2 AND seen >= ?3";
    let (created, seen) = bounds(now);
    let time = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
    conn.prepare_cached(sql)?
        .query_row((hash(&key.0), created, seen), |row| {
            Ok(Session {
                account: row.get(0)?,
                created: time(row.get(1)?),
                seen: time(row.get(2)?),
                address: row.get(3)?,
            })
        })
        .optional()
}

/// Whether a use of a session is to be noted.
#[must_use]
pub fn is_due(session: &Session, now: Timestamp) -> bool {
    now.as_millisecond() - session.seen.as_millisecond() >= NOTED_EVERY
}

/// Notes a use.
///
/// # Errors
/// What SQLite says.
pub fn note(conn: &Connection, key: &SessionKey, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE server_session SET seen = ?2 WHERE hash = ?1";
    conn.prepare_cached(sql)?.execute((hash(&key.0), now.as_millisecond())).map(drop)
}

/// Ends one session.
///
/// # Errors
/// What SQLite says.
pub fn end(conn: &Connection, key: &SessionKey) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM server_session WHERE hash = ?1", [hash(&key.0)]).map(drop)
}

/// Ends all sessions of an account; how many there were.
///
/// # Errors
/// What SQLite says.
pub fn end_all(conn: &Connection, account: i64) -> rusqlite::Result<usize> {
    conn.execute("DELETE FROM server_session WHERE account = ?1", [account])
}

/// How many sessions an account has.
///
/// # Errors
/// What SQLite says.
pub fn count(conn: &Connection, account: i64, now: Timestamp) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM server_session WHERE account = ?1 AND created >= ?2 AND seen >= ?3";
    let (created, seen) = bounds(now);
    conn.prepare_cached(sql)?.query_row((account, created, seen), |row| row.get(0))
}

/// Sessions made before the first time, or not used since the second, are over.
fn bounds(now: Timestamp) -> (i64, i64) {
    let before = |hours| now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN);
    (before(LONGEST_HOURS).as_millisecond(), before(IDLE_HOURS).as_millisecond())
}
