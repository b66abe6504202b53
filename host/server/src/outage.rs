//! Since when the Odoo server has been away, and when it was back. Both are kept in the database: a restart forgets no outage,
//! and tells none twice.

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_automation::{
    EngineError,
    clock::timestamp,
    runs::RunId,
    seen::{self, Known, Noted},
};

use crate::alerts::{Trouble, told};

/// Told when it begins.
pub(crate) const BEGAN: &str = "odoo-unreachable";

/// Told when it is over.
pub(crate) const OVER: &str = "odoo-answers-again";

/// Where both are noted. Whatever stands beside what was told is not let go with the past.
const SCOPE: &str = "alert:outage";

/// The outage that there is, by its beginning; the answer says why.
const NOW: &str = "now";

/// The last one, by its end; the answer is its beginning.
const LAST: &str = "last";

/// Why the server is away, if it is.
///
/// # Errors
/// What the database says.
pub(crate) fn why(conn: &Connection) -> Result<Option<String>, EngineError> {
    Ok(noted(conn, NOW)?.map(|now| now.answer.unwrap_or_default()))
}

/// Notes that the server is away, and why. Whether that is new.
///
/// # Errors
/// What the database says.
pub(crate) fn begin(conn: &Connection, why: &str, now: i64) -> Result<bool, EngineError> {
    let new = seen::take(conn, SCOPE, NOW, now)? == Known::New;
    seen::answer(conn, SCOPE, NOW, why)?;
    Ok(new)
}

/// Notes that the server answers again. Whether that is new.
///
/// # Errors
/// What the database says.
pub(crate) fn end(conn: &Connection, now: i64) -> Result<bool, EngineError> {
    let Some(outage) = noted(conn, NOW)? else { return Ok(false) };
    seen::remove(conn, SCOPE, NOW)?;
    seen::note(conn, SCOPE, LAST, now)?;
    seen::answer(conn, SCOPE, LAST, &outage.at.to_string())?;
    Ok(true)
}

/// What is to be told: that the server is away; or that it is back, to whoever was told that it was away. Of a server that
/// answers: rules with runs that wait for it all the same, for so many milliseconds or more.
///
/// # Errors
/// What the database says.
pub(crate) fn trouble(conn: &Connection, now: Timestamp, stuck: Option<i64>) -> Result<Vec<Trouble>, EngineError> {
    let trouble = |kind, message, since| Trouble { kind, rule: String::new(), run: None, message, since };
    if let Some(outage) = noted(conn, NOW)? {
        let since = timestamp(outage.at);
        let sql = "SELECT count(*) FROM engine_run WHERE away_since IS NOT NULL";
        let wait = match conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0))? {
            0 => String::new(),
            1 => "; 1 run waits for it, and goes on by itself".to_owned(),
            runs => format!("; {runs} runs wait for it, and go on by themselves"),
        };
        let why = outage.answer.unwrap_or_default();
        let message = format!("odoo's events cannot be had since {}: {why}{wait}", told_time(since));
        return Ok(vec![trouble(BEGAN, message, since)]);
    }
    let mut found = Vec::new();
    let last = noted(conn, LAST)?;
    let began = last.as_ref().and_then(|last| last.answer.as_deref()?.parse::<i64>().ok());
    if let (Some(last), Some(began)) = (&last, began)
        && told(conn, BEGAN, "")?.is_some_and(|told| told >= began)
    {
        let message = format!(
            "odoo answers again; it was away from {} to {}",
            told_time(timestamp(began)),
            told_time(timestamp(last.at))
        );
        found.push(trouble(OVER, message, timestamp(last.at)));
    }
    if let Some(stuck) = stuck {
        let since = now.as_millisecond().saturating_sub(stuck);
        // Runs go on within minutes of the end of an outage.
        if last.is_none_or(|last| last.at <= since) {
            found.extend(alone(conn, now, since)?);
        }
    }
    Ok(found)
}

/// Rules with runs that wait since then or longer, for a server that answers others.
fn alone(conn: &Connection, now: Timestamp, since: i64) -> Result<Vec<Trouble>, EngineError> {
    // SQLite takes the other columns from the row that has the minimum.
    let sql = "SELECT rule, id, min(away_since), message FROM engine_run WHERE away_since <= ?1 GROUP BY rule";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([since], |row| {
        let (rule, run, since): (String, RunId, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let why = row.get::<_, Option<String>>(3)?.unwrap_or_default();
        let since = told_time(timestamp(since));
        let message = format!("run {run} of rule `{rule}` waits for odoo since {since}, which answers others: {why}");
        Ok(Trouble { kind: "stuck-run", rule, run: Some(run), message, since: now })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn noted(conn: &Connection, key: &str) -> Result<Option<Noted>, EngineError> {
    Ok(seen::all_noted(conn, SCOPE)?.into_iter().find(|noted| noted.key == key))
}

fn told_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
