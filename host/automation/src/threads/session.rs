//! Sessions: the runs of a chained rule on one record. The first run begins it, each later one resumes it, until somebody
//! has the next one begin a new one.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_llm::outside::Session;
use triggerbox_model::{error::Error, value::Id};

use crate::{error::EngineError, queue::Claim, rule::Caps, runs::RunId};

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

/// Ends the session of a thread, so that the next run on its record begins a new one. Whether there was one to end.
///
/// # Errors
/// What the database says.
pub fn renew(conn: &Connection, thread: RunId, now: i64) -> Result<bool, EngineError> {
    let sql = "UPDATE engine_session SET ended = ?2 WHERE ended IS NULL \
               AND id = (SELECT session FROM engine_thread WHERE run = ?1)";
    Ok(conn.execute(sql, (thread, now))? > 0)
}
