//! When rules were paused, and why: what happened then fired nothing, and somebody may ask for it afterwards.

use rusqlite::{Connection, OptionalExtension};

/// A rule is paused from now on; where it is so already, another reason counts.
pub(crate) fn begin(conn: &Connection, rule: &str, why: &str, at: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_pause SET reason = ?2 WHERE rule = ?1 AND until IS NULL";
    if conn.prepare_cached(sql)?.execute((rule, why))? == 0 {
        let sql = "INSERT INTO engine_pause (rule, since, reason) VALUES (?1, ?2, ?3)";
        conn.prepare_cached(sql)?.execute((rule, at, why))?;
        keep_past(conn, rule, at)?;
    }
    Ok(())
}

/// A rule fires no more for a while. If it has not come to all of the past, what came due since its first look waited for that:
/// it is not what comes due in the pause, and stays to be done.
pub(crate) fn keep_past(conn: &Connection, rule: &str, at: i64) -> rusqlite::Result<()> {
    // After an earlier pause, the past ends before that.
    let sql = "UPDATE engine_clock SET past_until = ?2, done_until = ?2 \
               WHERE rule = ?1 AND past_from IS NOT NULL AND done_until <= past_until AND past_until < ?2";
    conn.prepare_cached(sql)?.execute((rule, at)).map(drop)
}

/// A rule goes on.
pub(crate) fn end(conn: &Connection, rule: &str, at: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_pause SET until = ?2 WHERE rule = ?1 AND until IS NULL";
    conn.prepare_cached(sql)?.execute((rule, at)).map(drop)
}

/// Why a rule was paused at some moment from one to another, if it was.
pub(crate) fn within(conn: &Connection, rule: &str, (from, to): (i64, i64)) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT reason FROM engine_pause \
               WHERE rule = ?1 AND since <= ?3 AND (until IS NULL OR until > ?2) ORDER BY id DESC LIMIT 1";
    conn.prepare_cached(sql)?.query_row((rule, from, to), |row| row.get(0)).optional()
}

/// Forgets when a rule was paused.
pub(crate) fn forget(conn: &Connection, rule: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM engine_pause WHERE rule = ?1")?.execute([rule]).map(drop)
}
