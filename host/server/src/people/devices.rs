//! Browsers in which somebody signed in before. They are no way in: whoever guesses elsewhere uses up other tries than theirs.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::{draw, hash};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_device (
    hash BLOB PRIMARY KEY,
    account INTEGER NOT NULL,
    seen INTEGER NOT NULL                -- the last time that it signed in
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS server_device_account ON server_device (account, seen)";

/// How long a browser is known after it signed in.
pub const DAYS: i64 = 90;

/// Browsers of one account that are known: the newest.
const MOST: u32 = 50;

/// What lies in the cookie. Shown in no text.
#[derive(Clone)]
pub struct DeviceKey(String);

impl DeviceKey {
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
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey")
    }
}

/// Whether a browser signed in with this name of late.
///
/// # Errors
/// What SQLite says.
pub fn is_known(conn: &Connection, key: &DeviceKey, login: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM server_device d JOIN server_account a ON a.id = d.account \
               WHERE d.hash = ?1 AND a.login = ?2 AND d.seen >= ?3";
    conn.prepare_cached(sql)?.exists((hash(&key.0), login.trim(), oldest(now)))
}

/// Keeps that a browser signed in: under a new key, in place of the one that it had.
///
/// # Errors
/// What SQLite says.
pub fn note(conn: &Connection, account: i64, old: Option<&DeviceKey>, now: Timestamp) -> rusqlite::Result<DeviceKey> {
    let key = DeviceKey::draw();
    if let Some(old) = old {
        conn.execute("DELETE FROM server_device WHERE hash = ?1", [hash(&old.0)])?;
    }
    let sql = "INSERT INTO server_device (hash, account, seen) VALUES (?, ?, ?)";
    conn.execute(sql, (hash(&key.0), account, now.as_millisecond()))?;
    let sql = "DELETE FROM server_device WHERE account = ?1 AND (seen < ?2 OR hash NOT IN \
               (SELECT hash FROM server_device WHERE account = ?1 ORDER BY seen DESC LIMIT ?3))";
    conn.execute(sql, (account, oldest(now), MOST))?;
    Ok(key)
}

/// Browsers that signed in before are known no more.
fn oldest(now: Timestamp) -> i64 {
    now.saturating_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN).as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::{accounts, create_tables};

    #[test]
    fn a_browser_is_known_for_the_account_that_it_signed_in_with_last_and_for_a_while() {
        let conn = Connection::open_in_memory().unwrap();
        create_tables(&conn).unwrap();
        let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        let account = |login: &str| accounts::create(&conn, login, 2, &[].into(), now).unwrap().unwrap();
        let (admin, maya) = (account("admin"), account("maya"));
        let known = |key: &DeviceKey, login: &str, at| is_known(&conn, key, login, at).unwrap();

        let first = note(&conn, admin, None, now).unwrap();
        assert!(known(&first, " Admin ", days(DAYS)) && !known(&first, "admin", days(DAYS + 1)));
        assert!(!known(&first, "maya", now) && !known(&first, "nobody", now));
        assert!(!known(&DeviceKey::draw(), "admin", now) && !known(&DeviceKey::of(""), "admin", now));
        let second = note(&conn, maya, Some(&first), days(1)).unwrap();
        assert!(known(&second, "maya", days(1)) && !known(&first, "admin", days(1)), "one key, one account");
        assert_eq!(format!("{second:?}"), "DeviceKey");

        let own = note(&conn, admin, None, days(2)).unwrap();
        for number in 0..2 * i64::from(MOST) {
            note(&conn, admin, None, days(3) + SignedDuration::from_secs(number)).unwrap();
        }
        let count = |account: i64| -> u32 {
            let sql = "SELECT count(*) FROM server_device WHERE account = ?";
            conn.query_row(sql, [account], |row| row.get(0)).unwrap()
        };
        assert_eq!((count(admin), count(maya)), (MOST, 1), "so many, and the newest");
        assert!(!known(&own, "admin", days(3)));
    }
}
