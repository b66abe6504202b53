//! What rules that stand before writes refused last: whoever asked was told, and this is for whoever is asked why.

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::value::Id;

use crate::clock::timestamp;

/// The newest of each rule are kept, so many.
const KEPT: i64 = 20;

/// Characters of a text that are kept.
const LONGEST: usize = 1_000;

/// A write that a rule refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// When.
    pub(crate) at: Timestamp,
    /// Who wanted to write (`res.users`).
    pub(crate) actor: Id,
    /// `create`, `update`, `delete`.
    pub(crate) kind: String,
    /// The first record; none: a new one.
    pub(crate) record: Option<Id>,
    /// What the rule said.
    pub(crate) message: String,
}

/// Keeps a refusal of a rule in place of its oldest.
pub(crate) fn note(conn: &Connection, rule: &str, refusal: &Refusal) -> rusqlite::Result<()> {
    let Refusal { at, actor, kind, record, message } = refusal;
    let message: String = message.chars().take(LONGEST).collect();
    let sql = "INSERT INTO engine_refusal (rule, nth, at, actor, kind, record, message) \
               SELECT ?1, coalesce(max(nth), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM engine_refusal WHERE rule = ?1";
    conn.prepare_cached(sql)?.execute((rule, at.as_millisecond(), actor, kind, record, message))?;
    let sql = "DELETE FROM engine_refusal WHERE rule = ?1 \
               AND nth <= (SELECT max(nth) FROM engine_refusal WHERE rule = ?1) - ?2";
    conn.prepare_cached(sql)?.execute((rule, KEPT)).map(drop)
}

/// How often a rule refused, and what is kept of it, the newest first; of one record, if it is named.
pub(crate) fn last(conn: &Connection, rule: &str, record: Option<Id>) -> rusqlite::Result<(i64, Vec<Refusal>)> {
    let sql = "SELECT coalesce(max(nth), 0) FROM engine_refusal WHERE rule = ?1";
    let count = conn.prepare_cached(sql)?.query_row([rule], |row| row.get(0))?;
    let sql = "SELECT at, actor, kind, record, message FROM engine_refusal \
               WHERE rule = ?1 AND (?2 IS NULL OR record = ?2) ORDER BY nth DESC";
    let mut statement = conn.prepare_cached(sql)?;
    let refusals = statement.query_map((rule, record), |row| {
        Ok(Refusal {
            at: timestamp(row.get(0)?),
            actor: row.get(1)?,
            kind: row.get(2)?,
            record: row.get(3)?,
            message: row.get(4)?,
        })
    })?;
    Ok((count, refusals.collect::<Result<_, _>>()?))
}

/// Forgets what a rule refused.
pub(crate) fn forget(conn: &Connection, rule: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM engine_refusal WHERE rule = ?1")?.execute([rule]).map(drop)
}
