//! Who changed what, when, from where. The database itself refuses to change or delete a line.

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use triggerbox_model::value::Id;

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,                   -- a sign-in name, `token NAME`, or the program
    user INTEGER,                        -- res.users
    action TEXT NOT NULL,                -- a stable word: `rule-saved`
    what TEXT NOT NULL,                  -- on what: a rule, an account, a run
    detail TEXT NOT NULL,
    address TEXT NOT NULL                -- from where
) STRICT;
CREATE TRIGGER IF NOT EXISTS server_audit_stays BEFORE UPDATE ON server_audit
BEGIN SELECT raise(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER IF NOT EXISTS server_audit_remains BEFORE DELETE ON server_audit
BEGIN SELECT raise(ABORT, 'the audit log is never shortened'); END";

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// A sign-in name, `token NAME`, or `the program`.
    pub who: String,
    /// Their user (`res.users`).
    pub user: Option<Id>,
    /// A stable word: `rule-saved`.
    pub action: &'static str,
    /// On what: a rule, an account, a run.
    pub what: String,
    /// More about it.
    pub detail: String,
    /// From where.
    pub address: String,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Their user (`res.users`).
    pub user: Option<Id>,
    /// A stable word.
    pub action: String,
    /// On what.
    pub what: String,
    /// More about it.
    pub detail: String,
    /// From where.
    pub address: String,
}

/// Writes a line, in the transaction of what it tells about.
///
/// # Errors
/// What SQLite says.
pub fn write(conn: &Connection, deed: &Deed, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO server_audit (at, who, user, action, what, detail, address) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let Deed { who, user, action, what, detail, address } = deed;
    conn.prepare_cached(sql)?.execute((now.as_millisecond(), who, user, action, what, detail, address)).map(drop)
}

/// Lines, the newest first: those before a number, that hold a text.
///
/// # Errors
/// What SQLite says.
pub fn list(conn: &Connection, text: &str, before: Option<i64>, limit: u32) -> rusqlite::Result<Vec<Line>> {
    let sql = "SELECT id, at, who, user, action, what, detail, address FROM server_audit \
               WHERE id < ?1 AND (?2 = '' OR instr(lower(who || ' ' || action || ' ' || what || ' ' || detail), ?2) > 0) \
               ORDER BY id DESC LIMIT ?3";
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_map((before.unwrap_or(i64::MAX), text.trim().to_lowercase(), limit), read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        id: row.get(0)?,
        at: Timestamp::from_millisecond(row.get(1)?).unwrap_or_default(),
        who: row.get(2)?,
        user: row.get(3)?,
        action: row.get(4)?,
        what: row.get(5)?,
        detail: row.get(6)?,
        address: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shows: F115
    #[test]
    fn lines_are_added_and_never_changed() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(TABLE).unwrap();
        let deed = Deed {
            who: "admin".to_owned(),
            user: Some(2),
            action: "rule-saved",
            what: "score".to_owned(),
            detail: String::new(),
            address: "127.0.0.1".to_owned(),
        };
        write(&conn, &deed, "2026-11-20T09:30:00Z".parse().unwrap()).unwrap();
        assert_eq!(list(&conn, "SCORE", None, 10).unwrap().len(), 1);
        assert!(list(&conn, "other", None, 10).unwrap().is_empty());
        for sql in ["UPDATE server_audit SET who = 'x'", "DELETE FROM server_audit"] {
            let error = conn.execute(sql, []).unwrap_err().to_string();
            assert!(error.contains("never"), "{error}");
        }
    }
}
