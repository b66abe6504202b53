//! What happened, where a rule wanted to know.

use jiff::Timestamp;
use rusqlite::{Connection, types::Value as Cell};
use serde::Serialize;
use triggerbox_model::value::{Id, RecordRef};

use crate::{clock::timestamp, error::EngineError, runs::RunId};

/// Something that happened to a record, or to none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// The event from outside that it goes back to; itself, when it is one.
    pub root: i64,
    /// The run that caused it.
    pub parent: Option<RunId>,
    /// Runs between the root event and this one.
    pub depth: u32,
    /// When.
    pub at: Timestamp,
    /// Who is behind it (`res.users`).
    pub actor: Id,
    /// The record; number 0 stands for none.
    pub record: RecordRef,
    /// `created`, `updated`, `deleted`, `message`, `scheduled`, `time`, `fired`.
    pub kind: String,
    /// What changed, as data; empty where nothing did.
    pub change: serde_json::Value,
}

/// Which events. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of records of this model.
    pub model: Option<String>,
    /// Of this record of it.
    pub record: Option<Id>,
    /// Of this chain.
    pub root: Option<i64>,
    /// Older than this event: the next page.
    pub before: Option<i64>,
    /// At most so many; 0: 100.
    pub limit: u32,
}

/// Events that match, newest first.
///
/// # Errors
/// What the database says.
pub fn list(conn: &Connection, filter: &EventFilter) -> Result<Vec<Event>, EngineError> {
    let mut sql =
        "SELECT id, root, parent_run, depth, at, actor, model, record, kind, change FROM engine_event WHERE 1"
            .to_owned();
    let mut params: Vec<Cell> = Vec::new();
    let mut add = |condition: &str, value: Option<Cell>| {
        if let Some(value) = value {
            sql.push_str(condition);
            params.push(value);
        }
    };
    add(" AND model = ?", filter.model.clone().map(Cell::Text));
    add(" AND record = ?", filter.record.map(|id| Cell::Integer(i64::from(id))));
    add(" AND root = ?", filter.root.map(Cell::Integer));
    add(" AND id < ?", filter.before.map(Cell::Integer));
    add(
        " ORDER BY id DESC LIMIT ?",
        Some(Cell::Integer(if filter.limit == 0 { 100 } else { i64::from(filter.limit) })),
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
        let change: String = row.get(9)?;
        Ok(Event {
            id: row.get(0)?,
            root: row.get(1)?,
            parent: row.get(2)?,
            depth: row.get(3)?,
            at: timestamp(row.get(4)?),
            actor: row.get(5)?,
            record: RecordRef { model: row.get(6)?, id: row.get(7)? },
            kind: row.get(8)?,
            change: serde_json::from_str(&change).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
