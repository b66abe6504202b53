//! What scripts logged, line by line: a table that can be searched, as Odoo's `ir.logging` is.

use jiff::Timestamp;
use rusqlite::{Connection, types::Value as Cell};
use serde::Serialize;
use triggerbox_sandbox::LogLevel;

use crate::{
    clock::timestamp,
    error::EngineError,
    runs::{LogLine, RunId},
};

/// One line, with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Logged {
    /// Its number.
    pub id: i64,
    /// When the try that logged it ended.
    pub at: Timestamp,
    /// The rule.
    pub rule: String,
    /// The run.
    pub run: RunId,
    /// Which try of it.
    pub attempt: u32,
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// Which lines. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// At least this.
    pub level: Option<LogLevel>,
    /// With this text in it, in this very spelling.
    pub contains: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Older than this line: the next page.
    pub before: Option<i64>,
    /// At most so many; 0: 100.
    pub limit: u32,
}

/// Lines that match, newest first.
///
/// # Errors
/// What the database says.
pub fn search(conn: &Connection, filter: &LogFilter) -> Result<Vec<Logged>, EngineError> {
    let mut sql = "SELECT id, at, rule, run, attempt, level, message FROM engine_log WHERE 1".to_owned();
    let mut params: Vec<Cell> = Vec::new();
    let mut add = |condition: &str, value: Option<Cell>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            params.push(value);
        }
    };
    add("rule = ?", filter.rule.clone().map(Cell::Text));
    add("run = ?", filter.run.map(Cell::Integer));
    add("level >= ?", filter.level.map(|level| Cell::Integer(number(level))));
    add("instr(message, ?) > 0", filter.contains.clone().map(Cell::Text));
    add("at >= ?", filter.since.map(|time| Cell::Integer(time.as_millisecond())));
    add("id < ?", filter.before.map(Cell::Integer));
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    params.push(Cell::Integer(if filter.limit == 0 { 100 } else { i64::from(filter.limit) }));
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
        Ok(Logged {
            id: row.get(0)?,
            at: timestamp(row.get(1)?),
            rule: row.get(2)?,
            run: row.get(3)?,
            attempt: row.get(4)?,
            level: level(row.get(5)?),
            message: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps the lines of a try.
pub(crate) fn keep(
    conn: &Connection,
    rule: &str,
    run: RunId,
    attempt: u32,
    at: i64,
    lines: &[LogLine],
) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO engine_log (at, rule, run, attempt, level, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = conn.prepare_cached(sql)?;
    for line in lines {
        statement.execute((at, rule, run, attempt, number(line.level), &line.message))?;
    }
    Ok(())
}

/// The lines of a run with their tries, in order.
pub(crate) fn of_run(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<(u32, LogLine)>> {
    let sql = "SELECT attempt, level, message FROM engine_log WHERE run = ?1 ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let line = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, LogLine { level: level(row.get(1)?), message: row.get(2)? }));
    statement.query_map([run], line)?.collect()
}

fn number(level: LogLevel) -> i64 {
    match level {
        LogLevel::Debug => 0,
        LogLevel::Info => 1,
        LogLevel::Warning => 2,
        LogLevel::Error => 3,
    }
}

fn level(number: i64) -> LogLevel {
    match number {
        0 => LogLevel::Debug,
        1 => LogLevel::Info,
        2 => LogLevel::Warning,
        _ => LogLevel::Error,
    }
}
