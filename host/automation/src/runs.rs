//! The history of runs: what there is, one in full, and what goes back to the same event.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, types::Value as Cell};
use serde::{Deserialize, Serialize};
use triggerbox_model::{
    error::Error,
    event::{Outcome, Trigger},
    value::{Id, RecordRef},
};

use crate::{
    clock::timestamp,
    error::EngineError,
    firing::Firing,
    journal::{Entry, FirstCalls, Recording},
    logs,
    packed::unpack,
};

/// A run's number in the database.
pub type RunId = i64;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It waits for its turn or its time.
    Queued,
    /// A worker has it.
    Running,
    /// Its changes are applied; in a test environment they were only shown.
    Succeeded,
    /// It ended without effect, and trying again would not help.
    Failed,
    /// There was nothing to do any more.
    Skipped,
    /// Somebody must say yes or no to its changes.
    WaitingApproval,
    /// A paid or outside call may or may not have happened.
    OutcomeUnknown,
    /// It was tried as often as may be; somebody must requeue it.
    Dead,
    /// Somebody stopped it.
    Cancelled,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Skipped,
        Self::WaitingApproval,
        Self::OutcomeUnknown,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The stable name, `waiting-approval`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::WaitingApproval => "waiting-approval",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens to it by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One run, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunSummary {
    /// Its number.
    pub id: RunId,
    /// Its id for scripts and other systems.
    pub key: String,
    /// The rule.
    pub rule: String,
    /// Which version of it.
    pub rule_version: i64,
    /// The root event of its chain; 0 without one.
    pub root: i64,
    /// The run that caused it.
    pub parent: Option<RunId>,
    /// Runs between the root event and this one.
    pub depth: u32,
    /// The model.
    pub model: Option<String>,
    /// The first record.
    pub record: Option<Id>,
    /// Its class: `async`, `batch`, `agent`.
    pub class: String,
    /// Who caused it.
    pub actor: Id,
    /// Whose rights it has.
    pub run_as: Id,
    /// Not bound by them.
    pub superuser: bool,
    /// When the event happened.
    pub at: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// Not started before.
    pub due: Timestamp,
    /// Earlier runs on its records that it waits for.
    pub blockers: u32,
    /// Since when the Odoo server that it waits for is away, if it does.
    pub away_since: Option<Timestamp>,
    /// How often it was started.
    pub attempt: u32,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How it ended, in one stable word.
    pub code: Option<String>,
    /// How it ended, in one sentence.
    pub message: Option<String>,
}

/// One run in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunDetail {
    /// As lists show it.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// What it was fired with.
    pub firing: Firing,
    /// What its scripts answered, together.
    pub outcome: Option<Outcome>,
    /// Every try of every action, in order.
    pub attempts: Vec<AttemptDetail>,
}

/// One try of one action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptDetail {
    /// Which try, from 1.
    pub attempt: u32,
    /// Which action of the rule, from 0.
    pub action: u32,
    /// The component's hash, in hexadecimal.
    pub script: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub code: String,
    /// The JSON form of [`crate::Report`].
    pub report: serde_json::Value,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// Whether its host calls are kept.
    pub journaled: bool,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// `debug`, `info`, `warning`, `error`
    pub level: triggerbox_sandbox::LogLevel,
    /// The text.
    pub message: String,
}

/// Which runs. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this rule.
    pub rule: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
    /// On this record, whichever of the run's it is.
    pub record: Option<RecordRef>,
    /// Ended so.
    pub code: Option<String>,
    /// Of this chain.
    pub root: Option<i64>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Older than this run: the next page.
    pub before: Option<RunId>,
    /// Newer than this run: no farther back is looked.
    pub after: Option<RunId>,
    /// At most so many; 0: 100.
    pub limit: u32,
}

const COLUMNS: &str = "r.id, r.key, r.rule, r.rule_version, r.root, r.parent_run, r.depth, r.model, r.record, r.class, \
                       r.actor, r.run_as, r.superuser, r.at, r.state, r.due, r.blockers, r.attempt, r.finished, r.code, \
                       r.message, r.away_since";

/// Runs that match, newest first.
///
/// # Errors
/// What the database says.
pub fn list(conn: &Connection, filter: &RunFilter) -> Result<Vec<RunSummary>, EngineError> {
    // From whichever side the runs are found, they are in the order of their numbers.
    let (from, id) = match filter.record {
        Some(_) => ("engine_about a CROSS JOIN engine_run r ON r.id = a.run", "a.run"),
        None => ("engine_run r", "r.id"),
    };
    let mut sql = format!("SELECT {COLUMNS} FROM {from} WHERE 1");
    let mut params: Vec<Cell> = Vec::new();
    let mut add = |condition: &str, value: Option<Cell>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            params.push(value);
        }
    };
    let text = |text: &Option<String>| text.clone().map(Cell::Text);
    let time = |time: Option<Timestamp>| time.map(|time| Cell::Integer(time.as_millisecond()));
    add("a.model = ?", filter.record.as_ref().map(|record| Cell::Text(record.model.clone())));
    add("a.record = ?", filter.record.as_ref().map(|record| Cell::Integer(i64::from(record.id))));
    add("r.rule = ?", text(&filter.rule));
    add("r.state = ?", filter.state.map(|state| Cell::Text(state.name().to_owned())));
    add("r.code = ?", text(&filter.code));
    add("r.root = ?", filter.root.map(Cell::Integer));
    add("r.at >= ?", time(filter.since));
    add("r.at < ?", time(filter.until));
    add(&format!("{id} < ?"), filter.before.map(Cell::Integer));
    add(&format!("{id} > ?"), filter.after.map(Cell::Integer));
    sql.push_str(&format!(" ORDER BY {id} DESC LIMIT ?"));
    params.push(Cell::Integer(if filter.limit == 0 { 100 } else { i64::from(filter.limit) }));
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), summary)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One run in full.
///
/// # Errors
/// `unknown-run`; what the database says.
pub fn detail(conn: &Connection, run: RunId) -> Result<RunDetail, EngineError> {
    let sql = format!("SELECT {COLUMNS}, r.request, r.outcome FROM engine_run r WHERE r.id = ?1");
    let found = conn
        .prepare_cached(&sql)?
        .query_row([run], |row| {
            Ok((summary(row)?, row.get::<_, String>("request")?, row.get::<_, Option<String>>("outcome")?))
        })
        .optional()?;
    let Some((summary, request, outcome)) = found else { return Err(unknown(run).into()) };
    Ok(RunDetail {
        summary,
        firing: serde_json::from_str(&request).unwrap_or_else(|error| unreadable(&error)),
        outcome: outcome.and_then(|json| serde_json::from_str(&json).ok()),
        attempts: attempts(conn, run)?,
    })
}

/// What is shown in place of a request that cannot be read: the rest of the run can.
fn unreadable(error: &serde_json::Error) -> Firing {
    let warning = format!("what it was fired with cannot be read any more: {error}");
    Firing { warnings: vec![warning], ..Firing::new(Trigger::Other("damaged".to_owned()), Vec::new()) }
}

/// One run, as lists show it.
///
/// # Errors
/// `unknown-run`; what the database says.
pub fn head(conn: &Connection, run: RunId) -> Result<RunSummary, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM engine_run r WHERE r.id = ?1");
    conn.prepare_cached(&sql)?.query_row([run], summary).optional()?.ok_or_else(|| unknown(run).into())
}

/// The runs that go back to one root event, in the order in which they were made: so many at most.
///
/// # Errors
/// What the database says.
pub fn chain(conn: &Connection, root: i64, most: usize) -> Result<Vec<RunSummary>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM engine_run r WHERE r.root = ?1 ORDER BY r.id LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map((root, i64::try_from(most).unwrap_or(i64::MAX)), summary)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A fire that did not become a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// Its number.
    #[serde(skip)]
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The rule that would have fired.
    pub rule: String,
    /// The record.
    pub record: RecordRef,
    /// The root event of the chain.
    pub root: i64,
    /// A stable word, then a colon and a sentence.
    pub reason: String,
    /// Who is behind the event (`res.users`).
    #[serde(skip)]
    pub actor: Id,
}

/// Which fires that did not become runs. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fires {
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this chain.
    pub root: Option<i64>,
    /// Older than this one: the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Fires that did not become runs, newest first.
///
/// # Errors
/// What the database says.
pub fn suppressed(conn: &Connection, fires: &Fires) -> Result<Vec<Suppressed>, EngineError> {
    let mut sql = "SELECT s.at, s.rule, e.model, e.record, s.root, s.reason, e.actor, s.id FROM engine_suppressed s \
                   JOIN engine_event e ON e.id = s.event WHERE 1"
        .to_owned();
    let mut params: Vec<Cell> = Vec::new();
    for (condition, value) in [
        (" AND s.root = ?", fires.root.map(Cell::Integer)),
        (" AND s.rule = ?", fires.rule.clone().map(Cell::Text)),
        (" AND s.id < ?", fires.before.map(Cell::Integer)),
    ] {
        if let Some(value) = value {
            sql.push_str(condition);
            params.push(value);
        }
    }
    sql.push_str(" ORDER BY s.id DESC LIMIT ?");
    params.push(Cell::Integer(i64::from(fires.limit)));
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
        Ok(Suppressed {
            at: timestamp(row.get(0)?),
            rule: row.get(1)?,
            record: RecordRef { model: row.get(2)?, id: row.get(3)? },
            root: row.get(4)?,
            reason: row.get(5)?,
            actor: row.get(6)?,
            id: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The host calls of one try of one action, with their answers; nothing, if they were not kept.
///
/// # Errors
/// What the database says.
pub fn journal(conn: &Connection, run: RunId, attempt: u32, action: u32) -> Result<Vec<Entry>, EngineError> {
    let packed = recorded(conn, run, attempt, action)?;
    Ok(packed.map(|packed| unpack::<Recording>(&packed)).transpose()?.map_or_else(Vec::new, |kept| kept.entries))
}

/// The first of them, and how many there are.
///
/// # Errors
/// What the database says.
pub fn first_calls(conn: &Connection, run: RunId, attempt: u32, action: u32) -> Result<FirstCalls, EngineError> {
    let packed = recorded(conn, run, attempt, action)?;
    Ok(packed.map(|packed| unpack(&packed)).transpose()?.unwrap_or_default())
}

fn recorded(conn: &Connection, run: RunId, attempt: u32, action: u32) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT journal FROM engine_attempt WHERE run = ?1 AND attempt = ?2 AND action = ?3";
    let found = conn.prepare_cached(sql)?.query_row((run, attempt, action), |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

pub(crate) fn unknown(run: RunId) -> Error {
    Error::not_found("unknown-run", format!("there is no run {run}; `triggerbox runs list` lists them"))
}

fn attempts(conn: &Connection, run: RunId) -> Result<Vec<AttemptDetail>, EngineError> {
    let sql = "SELECT attempt, action, lower(hex(script)), started, finished, code, report, log, journal IS NOT NULL \
               FROM engine_attempt WHERE run = ?1 ORDER BY attempt, action";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([run], |row| {
        let parts: (Vec<u8>, Option<Vec<u8>>) = (row.get(6)?, row.get(7)?);
        let detail = AttemptDetail {
            attempt: row.get(0)?,
            action: row.get(1)?,
            script: row.get(2)?,
            started: timestamp(row.get(3)?),
            finished: timestamp(row.get(4)?),
            code: row.get(5)?,
            report: serde_json::Value::Null,
            log: Vec::new(),
            journaled: row.get(8)?,
        };
        Ok((detail, parts))
    })?;
    let mut attempts = Vec::new();
    for row in rows {
        let (mut detail, (report, log)) = row?;
        detail.report = unpack(&report)?;
        // Of a time when the log was a part of the try.
        if let Some(log) = log {
            detail.log = unpack(&log)?;
        }
        attempts.push(detail);
    }
    for (attempt, line) in logs::of_run(conn, run)? {
        // A try's lines are shown with its last action.
        if let Some(detail) = attempts.iter_mut().rev().find(|detail| detail.attempt == attempt) {
            detail.log.push(line);
        }
    }
    Ok(attempts)
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let state: String = row.get(14)?;
    Ok(RunSummary {
        id: row.get(0)?,
        key: row.get(1)?,
        rule: row.get(2)?,
        rule_version: row.get(3)?,
        root: row.get(4)?,
        parent: row.get(5)?,
        depth: row.get(6)?,
        model: row.get(7)?,
        record: row.get(8)?,
        class: row.get(9)?,
        actor: row.get(10)?,
        run_as: row.get(11)?,
        superuser: row.get(12)?,
        at: timestamp(row.get(13)?),
        // Only this crate writes the column; a state of a newer program is over as far as this one can tell.
        state: RunState::from_name(&state).unwrap_or(RunState::Failed),
        due: timestamp(row.get(15)?),
        blockers: row.get(16)?,
        attempt: row.get(17)?,
        finished: row.get::<_, Option<i64>>(18)?.map(timestamp),
        code: row.get(19)?,
        message: row.get(20)?,
        away_since: row.get::<_, Option<i64>>(21)?.map(timestamp),
    })
}
