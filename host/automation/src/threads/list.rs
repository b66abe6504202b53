//! Threads in lists, and who may see them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, types::Value as Cell};
use serde::{Deserialize, Serialize};
use triggerbox_llm::budget::{self, Amount};
use triggerbox_model::{
    limits::Scope,
    value::{Id, RecordRef},
};

use crate::{
    clock::timestamp,
    engine::Readable,
    error::EngineError,
    runs::{RunId, RunState},
};

/// One thread, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ThreadSummary {
    /// Its number: its run's.
    pub id: RunId,
    /// What people call the rule.
    pub name: String,
    /// The rule.
    pub rule: String,
    /// The agent that the rule picks.
    pub agent: Option<String>,
    /// The rule's model.
    pub model: Option<String>,
    /// The one record that it is about; none: several, or none.
    pub record: Option<Id>,
    /// All records that it is about.
    pub records: Vec<Id>,
    /// The session, where the rule is chained.
    pub session: Option<i64>,
    /// Runs of the session before this one.
    pub resume: u32,
    /// Who caused it (`res.users`).
    pub actor: Id,
    /// Whose thread it is: whose rights the run has (`res.users`).
    pub owner: Id,
    /// Not bound by them.
    pub superuser: bool,
    /// Where the run stands.
    pub state: RunState,
    /// When it began.
    pub begun: Timestamp,
    /// When the run ended.
    pub finished: Option<Timestamp>,
    /// How it ended, in one stable word.
    pub code: Option<String>,
    /// How it ended, in one sentence.
    pub message: Option<String>,
    /// What it used of language models; calls under way at their worst case.
    pub used: Amount,
}

/// Which threads. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadFilter {
    /// Of this rule.
    pub rule: Option<String>,
    /// Of rules that pick this agent.
    pub agent: Option<String>,
    /// About this record.
    pub record: Option<RecordRef>,
    /// Of this session.
    pub session: Option<i64>,
    /// Older than this one: the next page.
    pub before: Option<RunId>,
    /// Newer than this one: no farther back is looked.
    pub after: Option<RunId>,
    /// At most so many; 0: 100.
    pub limit: u32,
}

const COLUMNS: &str = "t.run, t.name, r.rule, t.agent, t.model, t.record, r.request, t.session, t.resume, r.actor, \
                                  r.run_as, r.superuser, r.state, t.begun, r.finished, r.code, r.message, r.key";

/// A run leaves a thread when it has an agent, or asked a model. That it might have asked one is none, nor that it is counted
/// as one of a session.
pub(crate) const IS_THREAD: &str =
    "(t.agent IS NOT NULL OR EXISTS (SELECT 1 FROM llm_call c WHERE c.run = r.key AND c.kind = 'model'))";

/// Threads that match, newest first.
///
/// # Errors
/// What the database says.
pub fn list(conn: &Connection, filter: &ThreadFilter) -> Result<Vec<ThreadSummary>, EngineError> {
    let (conditions, mut params) = conditions(filter);
    let sql = format!(
        "SELECT {COLUMNS} FROM engine_thread t JOIN engine_run r ON r.id = t.run WHERE {conditions} \
         ORDER BY t.run DESC LIMIT ?"
    );
    params.push(Cell::Integer(if filter.limit == 0 { 100 } else { i64::from(filter.limit) }));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(summary(conn, row)?);
    }
    Ok(found)
}

/// How many threads match, whatever the filter's page and limit.
///
/// # Errors
/// What the database says.
pub fn count(conn: &Connection, filter: &ThreadFilter) -> Result<u32, EngineError> {
    let (conditions, params) = conditions(&ThreadFilter { before: None, after: None, ..filter.clone() });
    let sql = format!("SELECT count(*) FROM engine_thread t JOIN engine_run r ON r.id = t.run WHERE {conditions}");
    Ok(conn.prepare_cached(&sql)?.query_row(rusqlite::params_from_iter(params), |row| row.get(0))?)
}

/// The records that somebody must be able to read to see a thread; none: whoever else may see it, they are not asked for.
#[must_use]
pub fn asks_for(user: Id, thread: &ThreadSummary) -> Vec<RecordRef> {
    match &thread.model {
        Some(model) if thread.owner != user && !thread.superuser => {
            thread.records.iter().map(|id| RecordRef::new(model, *id)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether somebody may see a thread: who owns it, and who may read all records that it is about, by what they may read of
/// them. One that was not bound by anybody's rights is for its owner alone. Administrators see all of them without asking
/// here.
#[must_use]
pub fn may_see(user: Id, readable: &Readable, thread: &ThreadSummary) -> bool {
    let records = asks_for(user, thread);
    thread.owner == user || (!records.is_empty() && records.iter().all(|record| readable.has(record)))
}

/// The thread of a run, if it left one.
///
/// # Errors
/// What the database says.
pub fn of_run(conn: &Connection, run: RunId) -> Result<Option<ThreadSummary>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM engine_thread t JOIN engine_run r ON r.id = t.run WHERE t.run = ? AND {IS_THREAD}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    statement.query_row([run], |row| Ok(summary(conn, row))).optional()?.transpose()
}

fn conditions(filter: &ThreadFilter) -> (String, Vec<Cell>) {
    let (mut sql, mut params) = (IS_THREAD.to_owned(), Vec::new());
    let mut add = |condition: &str, value: Option<Cell>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            params.push(value);
        }
    };
    let record = filter.record.as_ref();
    add("r.rule = ?", filter.rule.clone().map(Cell::Text));
    add("t.agent = ?", filter.agent.clone().map(Cell::Text));
    add("t.model = ?", record.map(|record| Cell::Text(record.model.clone())));
    add("t.record = ?", record.map(|record| Cell::Integer(i64::from(record.id))));
    add("t.session = ?", filter.session.map(Cell::Integer));
    add("t.run < ?", filter.before.map(Cell::Integer));
    add("t.run > ?", filter.after.map(Cell::Integer));
    (sql, params)
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    records: Vec<Id>,
    /// Those that the rule's source gave, where the event brought none.
    #[serde(default)]
    found: Vec<Id>,
}

fn summary(conn: &Connection, row: &Row<'_>) -> Result<ThreadSummary, EngineError> {
    let request: String = row.get(6)?;
    let About { mut records, found } = serde_json::from_str(&request)?;
    records.extend(found);
    let record: Option<Id> = row.get(5)?;
    // Of a run from before it was kept what its source gave.
    if records.is_empty() {
        records.extend(record);
    }
    let state: String = row.get(12)?;
    let key: String = row.get(17)?;
    Ok(ThreadSummary {
        id: row.get(0)?,
        name: row.get(1)?,
        rule: row.get(2)?,
        agent: row.get(3)?,
        model: row.get(4)?,
        record,
        records,
        session: row.get(7)?,
        resume: row.get(8)?,
        actor: row.get(9)?,
        owner: row.get(10)?,
        superuser: row.get(11)?,
        state: RunState::from_name(&state).unwrap_or(RunState::Failed),
        begun: timestamp(row.get(13)?),
        finished: row.get::<_, Option<i64>>(14)?.map(timestamp),
        code: row.get(15)?,
        message: row.get(16)?,
        used: budget::used(conn, Scope::Run, &key)?,
    })
}
