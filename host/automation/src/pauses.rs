//! When rules were paused, and why: what happened then fired nothing, and somebody may ask for it afterwards.

use rusqlite::{Connection, OptionalExtension};

/// A rule is paused from now on; where it is so already, another reason counts.
pub(crate) fn begin(conn: &Connection, rule: &str, why: &str, at: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_pause SET reason = ?2 WHERE rule = ?1 AND until IS NULL";
    if conn.prepare_cached(sql)?.execute((rule, why))? == 0 {
        keep_past(conn, rule, at)?;
        let sql = "INSERT INTO engine_pause (rule, since, reason) VALUES (?1, ?2, ?3)";
        conn.prepare_cached(sql)?.execute((rule, at, why))?;
    }
    Ok(())
}

/// A rule fires no more for a while: it is about to be paused or switched off. If it has not come to all of the past, what came
/// due since its first look waited for that: it is not what comes due in the pause, and stays to be done.
pub(crate) fn keep_past(conn: &Connection, rule: &str, at: i64) -> rusqlite::Result<()> {
    // Where it fires no more already, nothing waits for it.
    let fires = "SELECT 1 FROM engine_rule r WHERE r.name = ?1 AND coalesce(r.body ->> '$.active', 1) \
                 AND NOT EXISTS (SELECT 1 FROM engine_pause p WHERE p.rule = r.name AND p.until IS NULL)";
    if !conn.prepare_cached(fires)?.exists([rule])? {
        return Ok(());
    }
    let sql = "UPDATE engine_clock SET past_until = ?2, done_until = ?2 \
               WHERE rule = ?1 AND past_from IS NOT NULL AND done_until <= past_until AND past_until < ?2";
    if conn.prepare_cached(sql)?.execute((rule, at))? > 0 {
        return Ok(());
    }
    // After an earlier pause, the past ends before that; what came due since then is a stretch of its own.
    let sql = "INSERT OR REPLACE INTO engine_stretch (rule, since, until) \
               SELECT rule, done_until, ?2 FROM engine_clock \
               WHERE rule = ?1 AND past_from IS NOT NULL AND done_until > past_until AND done_until < ?2";
    if conn.prepare_cached(sql)?.execute((rule, at))? > 0 {
        conn.prepare_cached("UPDATE engine_clock SET done_until = ?2 WHERE rule = ?1")?.execute((rule, at))?;
    }
    Ok(())
}

/// A rule that has come to all of one stretch of the past takes up the next one.
pub(crate) fn next_stretch(conn: &Connection, rule: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_clock SET past_from = s.since, past_until = s.until \
               FROM (SELECT since, until FROM engine_stretch WHERE rule = ?1 ORDER BY since LIMIT 1) s \
               WHERE rule = ?1 AND past_from IS NULL";
    if conn.prepare_cached(sql)?.execute([rule])? > 0 {
        let sql = "DELETE FROM engine_stretch \
                   WHERE rule = ?1 AND since = (SELECT min(since) FROM engine_stretch WHERE rule = ?1)";
        conn.prepare_cached(sql)?.execute([rule])?;
    }
    Ok(())
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

/// Forgets when a rule was paused, and what it has left to do from between.
pub(crate) fn forget(conn: &Connection, rule: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM engine_stretch WHERE rule = ?1")?.execute([rule])?;
    conn.prepare_cached("DELETE FROM engine_pause WHERE rule = ?1")?.execute([rule]).map(drop)
}
