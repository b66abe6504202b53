//! What leaves this host on behalf of a run: before a call its intent is stored and its worst case charged, after it
//! the answer; only then the script sees it. A run that is tried again gets the stored answers.
//!
//! The functions work on a connection within a transaction of the caller; [`Ledger`] is how a run reaches them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use triggerbox_model::{
    call::Reply,
    limits::{Breach, Class},
};

use crate::budget::{self, Account, Amount};

/// The tables: accounts, and calls with their answers. Times are milliseconds since 1970 UTC.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS llm_call (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL, rule TEXT NOT NULL, root TEXT NOT NULL,
    kind TEXT NOT NULL,                  -- model, http
    hash BLOB NOT NULL,                  -- SHA-256 of the whole request
    nth INTEGER NOT NULL,                -- the same request may be made several times in one run
    state TEXT NOT NULL,                 -- intent, answered, failed, unknown
    at INTEGER NOT NULL, ended INTEGER,
    request TEXT NOT NULL,               -- JSON: of a conversation only what is new
    reply TEXT,                          -- JSON Reply
    accounts TEXT NOT NULL,              -- JSON Account list: what was charged
    worst TEXT NOT NULL, used TEXT       -- JSON Amount
) STRICT;
CREATE TABLE IF NOT EXISTS llm_plan (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL, at INTEGER NOT NULL,
    plan TEXT NOT NULL                   -- JSON: the steps with their verdicts
) STRICT;
CREATE INDEX IF NOT EXISTS llm_plan_run ON llm_plan (run);
CREATE INDEX IF NOT EXISTS llm_call_run ON llm_call (run, hash, nth);
";

/// Makes the tables if they are not there.
///
/// # Errors
/// What SQLite says.
pub fn create_tables(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(budget::TABLE)?;
    conn.execute_batch(TABLES)
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A language model is asked.
    Model,
    /// A request that only reads, or that says by itself that it may be repeated.
    HttpRepeatable,
    /// A request that changes something elsewhere.
    Http,
}

/// A call that is about to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The run.
    pub run: String,
    /// Its rule.
    pub rule: String,
    /// The root event that it goes back to.
    pub root: String,
    /// The run's class.
    pub class: Class,
    /// What kind of call.
    pub kind: Kind,
    /// SHA-256 of the whole request.
    pub hash: [u8; 32],
    /// How many calls with this hash the run made before in this attempt.
    pub nth: u32,
    /// The request as it is kept.
    pub request: String,
    /// The accounts that it is charged to.
    pub accounts: Vec<Account>,
    /// The most that it can use.
    pub worst: Amount,
    /// Now, in milliseconds.
    pub at: i64,
}

/// What to do about an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// Make the call, and say what came of it under this number.
    Go(i64),
    /// It was made in an earlier attempt: this is the answer.
    Known(Reply),
    /// A budget does not have it.
    Over(Breach),
    /// It was begun in an earlier attempt, nobody knows whether it arrived, and it must not be made twice.
    Unknown,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// When, in milliseconds.
    pub at: i64,
    /// How much it really used; none: nobody knows, so the worst case stays.
    pub used: Option<Amount>,
    /// Whether the outcome is known. If not, it is as if the host had died in the middle.
    pub known: bool,
    /// What the script is told. An answer is given again to later attempts, an error is not.
    pub reply: Reply,
    /// The answer only says that the service is not available now: a later attempt makes the call again.
    pub passing: bool,
}

/// How a run reaches the tables. Each call is one transaction, durable when it returns.
#[async_trait::async_trait]
pub trait Ledger: Send + Sync {
    /// [`begin`] in a transaction.
    ///
    /// # Errors
    /// The store fails; the run ends.
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError>;

    /// [`known`]: reads, and changes nothing.
    ///
    /// # Errors
    /// The store fails; the run ends.
    async fn known(&self, intent: Intent) -> Result<Option<Reply>, LedgerError>;

    /// [`end`] in a transaction.
    ///
    /// # Errors
    /// The store fails; the run ends.
    async fn end(&self, call: i64, end: End) -> Result<(), LedgerError>;

    /// [`plan`] in a transaction.
    ///
    /// # Errors
    /// The store fails; the run ends.
    async fn plan(&self, run: &str, at: i64, plan: String) -> Result<(), LedgerError>;
}

/// The store of calls and budgets cannot be used. The operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("calls and budgets cannot be kept: {0}")]
pub struct LedgerError(pub String);

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Stores an intent and charges its worst case; or tells what is known from an earlier attempt.
///
/// # Errors
/// What SQLite says.
pub fn begin(conn: &Connection, intent: &Intent) -> rusqlite::Result<Begun> {
    if let Some((id, state, reply)) = newest(conn, intent)? {
        match (state.as_str(), reply) {
            ("answered", Some(reply)) => return Ok(Begun::Known(from_json(&reply)?)),
            // Refused or failed for sure: nothing happened, so it is made again.
            ("failed", _) => {}
            // Begun, and not ended.
            _ => {
                conn.execute("UPDATE llm_call SET state = 'unknown' WHERE id = ?", [id])?;
                if intent.kind == Kind::Http {
                    return Ok(Begun::Unknown);
                }
            }
        }
    }
    if let Err(breach) = budget::charge(conn, &intent.accounts, intent.worst, intent.class)? {
        return Ok(Begun::Over(breach));
    }
    let kind = if intent.kind == Kind::Model { "model" } else { "http" };
    conn.prepare_cached(
        "INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, request, accounts, worst)
         VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?, ?, ?)",
    )?
    .execute(params![
        intent.run,
        intent.rule,
        intent.root,
        kind,
        intent.hash.as_slice(),
        intent.nth,
        intent.at,
        intent.request,
        to_json(&intent.accounts)?,
        to_json(&intent.worst)?
    ])?;
    Ok(Begun::Go(conn.last_insert_rowid()))
}

/// What an earlier attempt was answered, if it was: for a question that nobody could be asked now.
///
/// # Errors
/// What SQLite says.
pub fn known(conn: &Connection, intent: &Intent) -> rusqlite::Result<Option<Reply>> {
    match newest(conn, intent)? {
        Some((_, state, Some(reply))) if state == "answered" => from_json(&reply).map(Some),
        _ => Ok(None),
    }
}

fn newest(conn: &Connection, intent: &Intent) -> rusqlite::Result<Option<(i64, String, Option<String>)>> {
    let sql = "SELECT id, state, reply FROM llm_call WHERE run = ? AND hash = ? AND nth = ? ORDER BY id DESC LIMIT 1";
    let params = params![intent.run, intent.hash.as_slice(), intent.nth];
    conn.prepare_cached(sql)?.query_row(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
}

/// Stores what came of a call and settles what it used.
///
/// # Errors
/// What SQLite says.
pub fn end(conn: &Connection, call: i64, end: &End) -> rusqlite::Result<()> {
    let (accounts, worst): (String, String) = conn
        .prepare_cached("SELECT accounts, worst FROM llm_call WHERE id = ?")?
        .query_row([call], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(used) = end.used {
        budget::settle(conn, &from_json::<Vec<Account>>(&accounts)?, from_json(&worst)?, used)?;
    }
    let state = match (&end.reply, end.known) {
        (Ok(_), _) if !end.passing => "answered",
        (_, true) => "failed",
        (_, false) => "unknown",
    };
    let used = end.used.map(|used| to_json(&used)).transpose()?;
    conn.prepare_cached("UPDATE llm_call SET state = ?, ended = ?, reply = ?, used = ? WHERE id = ?")?
        .execute(params![state, end.at, to_json(&end.reply)?, used, call])?;
    Ok(())
}

/// Somebody has looked whether a run's requests to other services arrived, and wants those of which nobody knew made again.
///
/// # Errors
/// What SQLite says.
pub fn make_again(conn: &Connection, run: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE llm_call SET state = 'failed' WHERE run = ? AND kind = 'http' AND state IN ('intent', 'unknown')";
    conn.prepare_cached(sql)?.execute([run]).map(drop)
}

/// Whether some attempt of a run sent a request that changes something elsewhere, or may have.
///
/// # Errors
/// What SQLite says.
pub fn wrote(conn: &Connection, run: &str) -> rusqlite::Result<bool> {
    // Whoever answers that they are not available now may have done it all the same.
    let sql = "SELECT 1 FROM llm_call WHERE run = ? AND kind = 'http' \
               AND (state <> 'failed' OR reply ->> '$.Ok' IS NOT NULL) \
               AND request ->> '$.method' NOT IN ('GET', 'HEAD')";
    conn.prepare_cached(sql)?.exists([run])
}

/// Stores the plan of a run, with what was judged of it, as JSON.
///
/// # Errors
/// What SQLite says.
pub fn plan(conn: &Connection, run: &str, at: i64, plan: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO llm_plan (run, at, plan) VALUES (?, ?, ?)";
    conn.prepare_cached(sql)?.execute((run, at, plan)).map(drop)
}

/// The plan of a run's last attempt that made one, as JSON.
///
/// # Errors
/// What SQLite says.
pub fn planned(conn: &Connection, run: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT plan FROM llm_plan WHERE run = ? ORDER BY id DESC LIMIT 1";
    conn.prepare_cached(sql)?.query_row([run], |row| row.get(0)).optional()
}

/// One call of a run, as it is kept: what a conversation is shown from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// Its number.
    pub id: i64,
    /// `model` or `http`.
    pub kind: String,
    /// `intent`, `answered`, `failed` or `unknown`.
    pub state: String,
    /// When it began, in milliseconds.
    pub at: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// What was asked, as JSON; of a conversation only what is new.
    pub request: String,
    /// What the script was told.
    pub reply: Option<Reply>,
    /// The most that it could use.
    pub worst: Amount,
    /// What it used; none: it stays charged at its worst case.
    pub used: Option<Amount>,
}

/// The calls of a run, oldest first.
///
/// # Errors
/// What SQLite says.
pub fn calls(conn: &Connection, run: &str) -> rusqlite::Result<Vec<Kept>> {
    let sql = "SELECT id, kind, state, at, ended, request, reply, worst, used FROM llm_call WHERE run = ? ORDER BY id";
    conn.prepare_cached(sql)?.query_map([run], kept)?.collect()
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        id: row.get(0)?,
        kind: row.get(1)?,
        state: row.get(2)?,
        at: row.get(3)?,
        ended: row.get(4)?,
        request: row.get(5)?,
        reply: row.get::<_, Option<String>>(6)?.map(|json| from_json(&json)).transpose()?,
        worst: from_json(&row.get::<_, String>(7)?)?,
        used: row.get::<_, Option<String>>(8)?.map(|json| from_json(&json)).transpose()?,
    })
}

fn to_json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn from_json<T: for<'a> Deserialize<'a>>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}
