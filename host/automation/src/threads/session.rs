//! Sessions: the runs of a chained rule on one record. The first run begins it, each later one resumes it, until somebody
//! has the next one begin a new one.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_llm::{budget::Amount, outside::Session};
use triggerbox_model::{error::Error, value::Id};

use crate::{
    agents,
    error::EngineError,
    queue::Claim,
    rule::{Caps, Rule},
    runs::RunId,
};

/// Where a run stands in its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What is spent is counted by it.
    key: String,
    /// Runs of the session before this one.
    resume: u32,
    /// When its first run began, in milliseconds.
    since: i64,
}

/// Begins the thread of a run, once however often the run is tried.
pub(crate) fn begin(conn: &Connection, claim: &Claim, records: &[Id], now: i64) -> Result<Place, EngineError> {
    if let Some(known) = known(conn, claim)? {
        return Ok(known);
    }
    // What is only tried out is no run, and leaves no thread.
    if claim.id == 0 {
        return place(conn, claim, now);
    }
    let rule = &claim.rule.rule;
    let title = if rule.title.is_empty() { &rule.name } else { &rule.title };
    let record = match records {
        [one] => Some(*one).filter(|_| claim.model.is_some()),
        _ => None,
    };
    let session = record.filter(|_| rule.chain).map(|record| enter(conn, claim, record, now)).transpose()?;
    let resume = session.map_or(0, |(_, resume)| resume);
    let agent = rule.actions.iter().find_map(|action| action.agent.as_deref());
    conn.prepare_cached(
        "INSERT INTO engine_thread (run, name, agent, session, resume, model, record, begun) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(rusqlite::params![
        claim.id,
        title,
        agent,
        session.map(|(id, _)| id),
        resume,
        claim.model,
        record,
        now,
    ])?;
    place(conn, claim, now)
}

/// The open session of a record, begun or resumed.
fn enter(conn: &Connection, claim: &Claim, record: Id, now: i64) -> rusqlite::Result<(i64, u32)> {
    let sql = "INSERT INTO engine_session (rule, model, record, started) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (rule, model, record) WHERE ended IS NULL DO UPDATE SET resumes = resumes + 1 \
               RETURNING id, resumes";
    let params = (&claim.rule.rule.name, &claim.model, record, now);
    conn.prepare_cached(sql)?.query_row(params, |row| Ok((row.get(0)?, row.get(1)?)))
}

fn known(conn: &Connection, claim: &Claim) -> rusqlite::Result<Option<Place>> {
    let sql = "SELECT t.session, t.resume, coalesce(s.started, t.begun) FROM engine_thread t \
               LEFT JOIN engine_session s ON s.id = t.session WHERE t.run = ?";
    let found = conn.prepare_cached(sql)?.query_row([claim.id], |row| {
        let session: Option<i64> = row.get(0)?;
        let key = session.map_or_else(|| claim.key.clone(), |id| id.to_string());
        Ok(Place { key, resume: row.get(1)?, since: row.get(2)? })
    });
    found.optional()
}

/// Where a run stands; one that has no thread yet stands alone.
pub(crate) fn place(conn: &Connection, claim: &Claim, now: i64) -> Result<Place, EngineError> {
    Ok(known(conn, claim)?.unwrap_or_else(|| Place { key: claim.key.clone(), resume: 0, since: now }))
}

impl Place {
    /// Whether the run may start; if so, what it may spend, and until when.
    pub(crate) fn within(&self, caps: &Caps, rule: &str, now: i64) -> Result<Session, Error> {
        let over = |what: String| {
            let remedy = "`triggerbox threads renew` has the next run begin a new session";
            Err(Error::rejected("cap-exceeded", format!("{what} of rule `{rule}` on this record; {remedy}")))
        };
        if self.resume > caps.resumes {
            return over(format!("{} resumes of at most {} in the session", self.resume, caps.resumes));
        }
        let until = self.since.saturating_add(caps.lifetime());
        if now >= until {
            return over(format!("{} hours are over in the session", caps.hours));
        }
        Ok(Session { key: self.key.clone(), max: caps.amount(), since: self.since, until })
    }
}

/// Sessions of a rule that have used much of what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearlyOver {
    /// What the one that is the farthest used.
    pub used: Amount,
    /// What each may use.
    pub max: Amount,
    /// When its last run began, in milliseconds.
    pub since: i64,
    /// How many there are.
    pub sessions: u32,
}

/// The open sessions of a rule that have used so many percent of their tokens, or of their money; none: there are none.
///
/// # Errors
/// What the database says.
pub fn nearly_over(
    conn: &Connection,
    rule: &Rule,
    server: Caps,
    percent: u32,
) -> Result<Option<NearlyOver>, EngineError> {
    if !rule.chain {
        return Ok(None);
    }
    let max = Caps::effective(rule.caps, agents::caps(conn, rule)?, server).amount();
    let part =
        |most: u64| i64::try_from(most.saturating_mul(u64::from(percent)).div_ceil(100)).unwrap_or(i64::MAX).max(1);
    // SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT a.calls, a.tokens, a.micro_euro, (SELECT max(begun) FROM engine_thread t WHERE t.session = s.id), \
               count(*), max(max(1.0 * a.tokens / ?2, 1.0 * a.micro_euro / ?3)) \
               FROM engine_session s JOIN llm_account a ON a.scope = 'session' AND a.key = CAST(s.id AS TEXT) \
               WHERE s.rule = ?1 AND s.ended IS NULL AND (a.tokens >= ?2 OR a.micro_euro >= ?3)";
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_row((&rule.name, part(max.tokens), part(max.micro_euro)), |row| {
        let sessions = row.get(4)?;
        if sessions == 0 {
            return Ok(None);
        }
        let number = |at: usize| row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or_default());
        let used = Amount { calls: number(0)?, tokens: number(1)?, micro_euro: number(2)? };
        Ok(Some(NearlyOver { used, max, since: row.get::<_, Option<i64>>(3)?.unwrap_or_default(), sessions }))
    });
    Ok(found?)
}

/// Ends the session of a thread, so that the next run on its record begins a new one. Whether there was one to end.
///
/// # Errors
/// What the database says.
pub fn renew(conn: &Connection, thread: RunId, now: i64) -> Result<bool, EngineError> {
    let sql = "UPDATE engine_session SET ended = ?2 WHERE ended IS NULL \
               AND id = (SELECT session FROM engine_thread WHERE run = ?1)";
    Ok(conn.execute(sql, (thread, now))? > 0)
}
