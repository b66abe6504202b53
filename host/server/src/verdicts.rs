//! What the last backtest of each version of a script said of each rule: shown where somebody decides to activate it.

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_automation::{clock::timestamp, engine::Backtest};
use triggerbox_model::value::Id;
use triggerbox_sandbox::ContentHash;

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_verdict (
    script BLOB NOT NULL,                -- the component's hash
    rule TEXT NOT NULL,
    at INTEGER NOT NULL, by INTEGER NOT NULL,
    same INTEGER NOT NULL, differs INTEGER NOT NULL, undecidable INTEGER NOT NULL,   -- runs
    PRIMARY KEY (script, rule)
) STRICT, WITHOUT ROWID";

/// What a backtest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule whose runs were replayed.
    pub rule: String,
    /// When.
    pub at: Timestamp,
    /// Who had it done.
    pub by: Id,
    /// Runs on which the version does the same.
    pub same: u32,
    /// Runs on which it does something else.
    pub differs: u32,
    /// Runs of which it cannot be said.
    pub undecidable: u32,
}

/// Keeps what a backtest said of a version, in place of what was said of it before.
///
/// # Errors
/// What the database says.
pub fn keep(
    conn: &Connection,
    script: ContentHash,
    results: &[(String, Backtest)],
    by: Id,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM server_verdict WHERE script = ?")?.execute([script.0])?;
    let sql =
        "INSERT INTO server_verdict (script, rule, at, by, same, differs, undecidable) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let mut statement = conn.prepare_cached(sql)?;
    for (rule, result) in results {
        let count = |list: usize| u32::try_from(list).unwrap_or(u32::MAX);
        let (differs, undecidable) = (count(result.differs.len()), count(result.undecidable.len()));
        statement.execute((script.0, rule, now.as_millisecond(), by, result.same, differs, undecidable))?;
    }
    Ok(())
}

/// What was said of a version, rule by rule.
///
/// # Errors
/// What the database says.
pub fn of(conn: &Connection, script: ContentHash) -> rusqlite::Result<Vec<Verdict>> {
    let sql = "SELECT rule, at, by, same, differs, undecidable FROM server_verdict WHERE script = ? ORDER BY rule";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Verdict {
            rule: row.get(0)?,
            at: timestamp(row.get(1)?),
            by: row.get(2)?,
            same: row.get(3)?,
            differs: row.get(4)?,
            undecidable: row.get(5)?,
        })
    };
    conn.prepare_cached(sql)?.query_map([script.0], read)?.collect()
}
