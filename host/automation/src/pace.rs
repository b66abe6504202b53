//! How many runs ended in each hour, and how: counted once the hour is over, and kept when the runs themselves are let go.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rusqlite::Connection;

use crate::{clock::timestamp, error::EngineError};

const HOUR: i64 = 3_600_000;

/// An hour is counted when it has been over for so long: what ended in it is committed by then.
const SETTLED: i64 = 60_000;

/// Hours that are kept: a year and a month.
const KEPT: i64 = 24 * 400;

/// Runs of the hours that are not counted yet that are looked at: a page stays quick however many there are.
const NEWEST: i64 = 20_000;

/// How runs go that ended badly.
const BADLY: &str = "state IN ('failed', 'dead', 'outcome-unknown')";

/// How the runs of one day ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which day, where the reader is.
    pub date: Date,
    /// Runs that ended well.
    pub good: u64,
    /// Runs that failed, were given up, or of which nobody knows how they ended.
    pub bad: u64,
}

/// What is counted of some hours.
pub(crate) struct Counted {
    hours: Vec<(i64, String, i64, i64)>,
    /// The first hour that is not.
    until: i64,
    /// The first run that may end in it.
    first: i64,
}

/// Counts the hours that are over. It reads each run that may have ended in them.
pub(crate) fn count(conn: &Connection, now: i64) -> Result<Option<Counted>, EngineError> {
    let (since, first) = paced(conn)?;
    let until = (now - SETTLED).div_euclid(HOUR);
    if until <= since {
        return Ok(None);
    }
    let sql = format!(
        "SELECT finished / {HOUR}, rule, count(*), sum({BADLY}) FROM engine_run \
         WHERE id >= ?1 AND finished >= ?2 AND finished < ?3 GROUP BY 1, 2"
    );
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let hours =
        conn.prepare_cached(&sql)?.query_map((first, since * HOUR, until * HOUR), row)?.collect::<Result<_, _>>()?;
    let sql = "SELECT coalesce(min(id), (SELECT coalesce(max(id), 0) + 1 FROM engine_run)) FROM engine_run \
               WHERE id >= ?1 AND (finished IS NULL OR finished >= ?2)";
    let first = conn.prepare_cached(sql)?.query_row((first, until * HOUR), |row| row.get(0))?;
    Ok(Some(Counted { hours, until, first }))
}

/// Keeps what was counted, if nobody else has meanwhile.
pub(crate) fn keep(conn: &Connection, counted: &Counted) -> Result<(), EngineError> {
    let (since, _) = paced(conn)?;
    if counted.until <= since {
        return Ok(());
    }
    let sql = "INSERT INTO engine_pace (hour, rule, runs, failed) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (hour, rule) DO UPDATE SET runs = runs + excluded.runs, failed = failed + excluded.failed";
    let mut insert = conn.prepare_cached(sql)?;
    for (hour, rule, runs, failed) in counted.hours.iter().filter(|(hour, ..)| *hour >= since) {
        insert.execute((hour, rule, runs, failed))?;
    }
    conn.prepare_cached("UPDATE engine_paced SET until = ?1, run = ?2")?.execute((counted.until, counted.first))?;
    conn.prepare_cached("DELETE FROM engine_pace WHERE hour < ?1")?.execute([counted.until - KEPT])?;
    Ok(())
}

/// Counts runs that are let go before their hour is over.
pub(crate) fn count_gone(conn: &Connection, runs: &[i64]) -> Result<(), EngineError> {
    let (until, first) = paced(conn)?;
    let sql = format!(
        "INSERT INTO engine_pace (hour, rule, runs, failed) \
         SELECT finished / {HOUR}, rule, count(*), sum({BADLY}) FROM engine_run \
         WHERE id IN (SELECT value FROM json_each(?1)) AND id >= ?2 AND finished >= ?3 GROUP BY 1, 2 \
         ON CONFLICT (hour, rule) DO UPDATE SET runs = runs + excluded.runs, failed = failed + excluded.failed"
    );
    conn.prepare_cached(&sql)?.execute((serde_json::to_string(runs)?, first, until * HOUR))?;
    Ok(())
}

/// The first hour that is not counted, and the first run that may end in it.
fn paced(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    let sql = "SELECT until, run FROM engine_paced";
    conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// How runs ended on the last so many days, today among them, of one rule or of all; the oldest day first. A day is one of this
/// time zone. A run that is tried again after its hour was counted may count again.
///
/// # Errors
/// What the database says.
pub fn days(
    conn: &Connection,
    rule: Option<&str>,
    now: Timestamp,
    zone: &TimeZone,
    days: u16,
) -> Result<Vec<Day>, EngineError> {
    let today = now.to_zoned(zone.clone()).date();
    let back = |days: u16| today.saturating_sub(i32::from(days).days());
    let begin = back(days.saturating_sub(1)).to_zoned(zone.clone()).map_or(now, |zoned| zoned.timestamp());
    let mut counts: BTreeMap<Date, (u64, u64)> = (0..days).map(|days| (back(days), (0, 0))).collect();
    let (until, first) = paced(conn)?;
    let sql = format!(
        "SELECT hour, sum(runs), sum(failed) FROM engine_pace WHERE hour >= ?1 AND (?2 IS NULL OR rule = ?2) GROUP BY hour \
         UNION ALL \
         SELECT finished / {HOUR}, count(*), sum({BADLY}) FROM engine_run \
         WHERE id >= max(?3, (SELECT coalesce(max(id), 0) FROM engine_run) - {NEWEST}) AND finished >= ?4 \
               AND (?2 IS NULL OR rule = ?2) GROUP BY 1"
    );
    let begin = begin.as_millisecond().div_euclid(HOUR);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query((begin, rule, first, until.max(begin) * HOUR))?;
    while let Some(row) = rows.next()? {
        let number = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
        let (runs, failed) = (number(1)?, number(2)?);
        let date = timestamp(row.get::<_, i64>(0)? * HOUR).to_zoned(zone.clone()).date();
        if let Some(day) = counts.get_mut(&date) {
            day.0 += runs.saturating_sub(failed);
            day.1 += failed;
        }
    }
    Ok(counts.into_iter().map(|(date, (good, bad))| Day { date, good, bad }).collect())
}
