//! Order: a run stands in one lane for each of its records, and starts when it is first in all of them. It enters them all at
//! once, or later ones only where nobody stands: no two runs wait for each other.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::value::Id;

/// Puts a run at the end of the lanes of these records, none of which it is in; returns in how many it is not the first.
pub(crate) fn enter(conn: &Connection, rule: &str, run: i64, records: &[Id]) -> rusqlite::Result<u32> {
    let mut last = conn.prepare_cached("SELECT max(place) FROM engine_lane WHERE rule = ?1 AND record = ?2")?;
    let mut enter =
        conn.prepare_cached("INSERT INTO engine_lane (rule, record, place, run) VALUES (?1, ?2, ?3, ?4)")?;
    let mut blockers = 0;
    for record in records {
        let before: Option<i64> = last.query_row((rule, record), |row| row.get(0))?;
        enter.execute((rule, record, before.unwrap_or(0) + 1, run))?;
        blockers += u32::from(before.is_some());
    }
    Ok(blockers)
}

/// Whether a run stands in one of these lanes.
pub(crate) fn are_taken(conn: &Connection, rule: &str, records: &[Id]) -> rusqlite::Result<bool> {
    let mut taken = conn.prepare_cached("SELECT 1 FROM engine_lane WHERE rule = ?1 AND record = ?2 LIMIT 1")?;
    for record in records {
        if taken.exists((rule, record))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes a run out of its lanes. Who becomes the first in one has a blocker less.
pub(crate) fn leave(conn: &Connection, run: i64) -> rusqlite::Result<()> {
    let mut lanes = conn.prepare_cached("SELECT rule, record, place FROM engine_lane WHERE run = ?1")?;
    let rows = lanes.query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let lanes: Vec<(String, Id, i64)> = rows.collect::<Result<_, _>>()?;
    let mut leave = conn.prepare_cached("DELETE FROM engine_lane WHERE rule = ?1 AND record = ?2 AND place = ?3")?;
    let mut ahead =
        conn.prepare_cached("SELECT 1 FROM engine_lane WHERE rule = ?1 AND record = ?2 AND place < ?3 LIMIT 1")?;
    let mut next = conn.prepare_cached(
        "SELECT run FROM engine_lane WHERE rule = ?1 AND record = ?2 AND place > ?3 ORDER BY place LIMIT 1",
    )?;
    let mut freed = conn.prepare_cached("UPDATE engine_run SET blockers = blockers - 1 WHERE id = ?1")?;
    for (rule, record, place) in lanes {
        leave.execute((&rule, record, place))?;
        if ahead.exists((&rule, record, place))? {
            continue;
        }
        if let Some(next) = next.query_row((&rule, record, place), |row| row.get::<_, i64>(0)).optional()? {
            freed.execute([next])?;
        }
    }
    Ok(())
}
