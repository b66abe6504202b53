//! Who changed what, when, from where. The database itself refuses to change or delete a line. The line of a request is
//! written in the transaction of the first thing that the request changes: there is no change without it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use triggerbox_automation::beside::{self, Beside};
use triggerbox_model::value::Id;
use triggerbox_store::db::DbError;

use crate::{app::App, problem::Problem};

/// Characters of what is told of one deed.
const LONGEST: usize = 4_000;

/// Who it is when nobody is signed in: whoever may start the program.
pub const PROGRAM: &str = "the program";

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

/// Makes the table, in a transaction of the caller.
///
/// # Errors
/// What SQLite says.
pub fn create_table(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLE)
}

/// A line of something that is being done.
#[derive(Debug, Clone)]
pub struct Telling(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deed: Mutex<Deed>,
    /// What is changed next instead.
    next: Mutex<Option<Deed>>,
    at: Timestamp,
    kept: AtomicBool,
}

tokio::task_local! {
    static CURRENT: Telling;
}

impl Telling {
    /// Of a deed whose details are not known yet.
    #[must_use]
    pub fn of(deed: Deed, at: Timestamp) -> Self {
        Self(Arc::new(Inner { deed: Mutex::new(deed), next: Mutex::default(), at, kept: AtomicBool::new(false) }))
    }

    /// Says what is done, in place of what was said before. Until the change is committed, it can be said better.
    pub fn say(&self, detail: impl Into<String>) {
        self.0.deed.lock().unwrap_or_else(PoisonError::into_inner).detail = cut(detail.into());
    }

    /// What was said of it.
    #[must_use]
    pub fn said(&self) -> String {
        self.0.deed.lock().unwrap_or_else(PoisonError::into_inner).detail.clone()
    }

    /// Does work whose first change is committed together with this line.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let line: Arc<dyn Beside> = Arc::<Inner>::clone(&self.0);
        CURRENT.scope(self.clone(), beside::with(line, work)).await
    }

    /// Nothing is done after all: nothing is told.
    pub fn forget(&self) {
        self.0.kept.store(true, Ordering::SeqCst);
    }

    /// Whether it is written, or need not be.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.kept.load(Ordering::SeqCst)
    }

    /// Writes it, if nothing was changed that it was written with.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) async fn finish(&self, app: &App) -> Result<(), Problem> {
        let line = self.clone();
        if self.is_kept() { Ok(()) } else { app.write(move |conn| line.write(conn)).await }
    }

    /// Writes it, if it is not written yet.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn write(&self, conn: &Connection) -> Result<(), DbError> {
        self.0.write(conn)
    }
}

impl Beside for Inner {
    fn write(&self, conn: &Connection) -> Result<(), DbError> {
        if let Some(next) = &*self.next.lock().unwrap_or_else(PoisonError::into_inner) {
            write(conn, next, self.at)?;
        } else if !self.kept.load(Ordering::SeqCst) {
            write(conn, &self.deed.lock().unwrap_or_else(PoisonError::into_inner), self.at)?;
        }
        Ok(())
    }

    fn became(&self, what: &'static str, why: &str) {
        let asked = self.deed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = Deed { action: what, detail: cut(format!("{}; {why}", asked.detail)), ..asked };
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    fn kept(&self) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if next.is_none() {
            self.kept.store(true, Ordering::SeqCst);
        }
    }
}

/// As much of a text as is told.
fn cut(detail: String) -> String {
    let end = detail.char_indices().nth(LONGEST).map(|(end, _)| end);
    let beginning = end.and_then(|end| detail.get(..end)).map(|beginning| format!("{beginning}…"));
    beginning.unwrap_or(detail)
}

/// The line of what the current task does. Where nobody tells of it, it is written nowhere.
#[must_use]
pub fn here() -> Telling {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Telling::of(Deed::default(), Timestamp::UNIX_EPOCH))
}

/// Says what the current task does.
pub fn say(detail: impl Into<String>) {
    here().say(detail);
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
