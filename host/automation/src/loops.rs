//! The guard against loops: in one chain a rule fires once for the same record and the same changed fields, at most 8 runs
//! deep, and at most 1,000 runs go back to one root event. What it stops is kept on the chain.

use std::fmt;

use rusqlite::Connection;
use triggerbox_model::value::Id;

use crate::{dispatch::Parent, index::Armed, matcher::Fire};

/// Runs between a root event and the last run of its chain.
pub const MAX_DEPTH: u32 = 8;

/// Runs that go back to one root event.
pub const MAX_RUNS: u32 = 1_000;

/// Why a rule did not fire though its conditions held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suppression {
    AlreadyFired(String),
    TooDeep,
    TooManyRuns,
    MaxRecords(u32),
    Overlap,
    Missed(u32),
    OwnUpdate,
    Paused(String),
    Broken(String),
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyFired(fields) => {
                write!(f, "already-fired: it fired in this chain for this record and the same changes ({fields})")
            }
            Self::TooDeep => write!(f, "too-deep: the chain has {MAX_DEPTH} runs between its first event and this one"),
            Self::TooManyRuns => write!(f, "too-many-runs: the chain's first event has caused {MAX_RUNS} runs"),
            Self::MaxRecords(cap) => write!(f, "max-records: one fire runs for at most {cap} records"),
            Self::Overlap => f.write_str("overlap: an earlier run of this schedule is not finished"),
            Self::Missed(slots) => {
                write!(f, "missed: {slots} slots passed while nobody ran this, too long ago to catch up")
            }
            Self::Paused(why) => write!(f, "paused: the rule was paused when this was told: {why}"),
            Self::Broken(problem) => write!(f, "broken: its conditions cannot be judged: {problem}"),
            Self::OwnUpdate => f.write_str("own-update: the record was last changed by this very rule"),
        }
    }
}

/// Why a fire inside a chain must not run; nothing, if it may.
pub(crate) fn judge(conn: &Connection, parent: &Parent, fire: &Fire) -> rusqlite::Result<Option<Suppression>> {
    if parent.depth >= MAX_DEPTH {
        return Ok(Some(Suppression::TooDeep));
    }
    let sql = "SELECT 1 FROM engine_fired WHERE root = ?1 AND rule = ?2 AND model = ?3 AND record = ?4 AND fields = ?5";
    let model = fire.rule.rule.model.as_deref().unwrap_or_default();
    let known = (parent.root, &fire.rule.rule.name, model, fire.record, &fire.fields);
    if conn.prepare_cached(sql)?.exists(known)? {
        return Ok(Some(Suppression::AlreadyFired(fire.fields.clone())));
    }
    Ok(None)
}

/// Whether a root event has caused as many runs as one may.
pub(crate) fn is_exhausted(conn: &Connection, root: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM engine_run WHERE root = ?1";
    let runs: u32 = conn.prepare_cached(sql)?.query_row([root], |row| row.get(0))?;
    Ok(runs >= MAX_RUNS)
}

/// Keeps that a rule fired in a chain.
pub(crate) fn remember(conn: &Connection, root: i64, rule: &Armed, record: Id, fields: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO engine_fired (root, rule, model, record, fields) VALUES (?, ?, ?, ?, ?)";
    let model = rule.rule.model.as_deref().unwrap_or_default();
    conn.prepare_cached(sql)?.execute((root, &rule.rule.name, model, record, fields)).map(drop)
}
