//! Changes that wait for a yes, or are kept as advice. What is approved is exactly what was shown: the bytes that the hash
//! is of.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use triggerbox_model::{
    call::WITH_CONTEXT,
    changes::{ChangeSet, Diff, Effect},
    error::Error,
    grants::{GrantOperation, Policy},
    value::Id,
};

use crate::{
    agents,
    clock::timestamp,
    config::Config,
    error::EngineError,
    needs::of_chatter,
    packed::{pack, unpack},
    queue::Claim,
    rule::{Mode, Rule},
    runs::RunId,
};

/// The identity of a proposed change set: SHA-256 of its stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProposalHash(pub [u8; 32]);

impl std::fmt::Display for ProposalHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for ProposalHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for ProposalHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::invalid("bad-hash", "a proposal's hash has 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(at * 2..at * 2 + 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Self(hash))
    }
}

/// What a yes applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Proposed {
    /// Changes to the records of this file.
    Here(ChangeSet),
    /// What the Odoo server that the records are on is sent.
    There(Json),
}

/// What becomes of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposalState {
    /// It waits for somebody.
    Waiting,
    /// Somebody said yes, and it was applied.
    Approved,
    /// Somebody said no.
    Rejected,
    /// Nobody said anything in time.
    Expired,
    /// It is advice only.
    Recommended,
    /// Its records changed before somebody said yes: the run runs again.
    Stale,
}

impl ProposalState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Approved, Self::Rejected, Self::Expired, Self::Recommended, Self::Stale];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Recommended => "recommended",
            Self::Stale => "stale",
        }
    }
}

/// What a run wants to change, for people who decide.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proposal {
    /// The run.
    pub run: RunId,
    /// Its rule.
    pub rule: String,
    /// What a yes is to.
    pub hash: ProposalHash,
    /// The change in words.
    pub diff: Diff,
    /// Why it waits.
    pub why: String,
    /// What becomes of it.
    pub state: ProposalState,
    /// Until when it waits.
    pub expires: Option<Timestamp>,
    /// Who decided.
    pub decided_by: Option<Id>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What they said to it.
    pub note: Option<String>,
}

/// Keeps what a run wants to change, in place of what an earlier try of it wanted.
pub(crate) fn keep(
    conn: &Connection,
    config: &Config,
    claim: &Claim,
    changes: &Proposed,
    diff: &Diff,
    now: i64,
) -> Result<(), EngineError> {
    let packed = pack(changes)?;
    let hash: [u8; 32] = Sha256::digest(&packed).into();
    let (state, why, expires) = match claim.rule.rule.mode {
        Mode::Recommend => (ProposalState::Recommended, "the rule only recommends", None),
        Mode::Approve => (ProposalState::Waiting, "the rule wants a yes", Some(config.approval_hours)),
        Mode::Auto => (ProposalState::Waiting, "policy wants a yes", Some(config.approval_hours)),
    };
    let expires = expires.map(|hours| now + i64::from(hours) * 3_600_000);
    let sql = "INSERT OR REPLACE INTO engine_proposal (run, hash, changes, diff, why, state, expires) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    conn.prepare_cached(sql)?.execute((claim.id, hash, packed, pack(diff)?, why, state.name(), expires))?;
    Ok(())
}

/// Whether policy wants somebody's yes for some of these changes of a rule's run.
pub(crate) fn wants_yes(policy: &Policy, rule: &Rule, changes: &ChangeSet) -> bool {
    let is_agent = agents::is_agent_rule(rule);
    changes.effects.iter().any(|effect| {
        let operation = match effect {
            Effect::Create { .. } | Effect::Ensure { .. } | Effect::Copy { .. } => GrantOperation::Create,
            Effect::Write { .. } | Effect::Relate { .. } => GrantOperation::Write,
            Effect::Unlink { .. } => GrantOperation::Unlink,
            // It changes nothing by itself.
            Effect::CallMethod { method, .. } if method == WITH_CONTEXT => return false,
            Effect::CallMethod { method, arguments_json, .. } => {
                of_chatter(method, arguments_json).unwrap_or(GrantOperation::Call)
            }
            Effect::PostMessage { note: true, .. } => GrantOperation::Note,
            Effect::PostMessage { note: false, .. } => GrantOperation::Message,
            Effect::ScheduleActivity { .. } | Effect::CompleteActivities { .. } => GrantOperation::Activity,
            Effect::AddFollowers { .. } | Effect::RemoveFollowers { .. } => GrantOperation::Follow,
            Effect::SetState { .. } => return false,
        };
        policy.wants_yes(operation, is_agent)
    })
}

/// Proposals, newest first: those in a state, or all.
///
/// # Errors
/// What the database says.
pub fn list(conn: &Connection, state: Option<ProposalState>, limit: u32) -> Result<Vec<Proposal>, EngineError> {
    select(conn, "(?1 IS NULL OR p.state = ?1) ORDER BY p.run DESC LIMIT ?2", (state.map(ProposalState::name), limit))
}

/// What a run wants to change, or wanted; none, if it never asked.
///
/// # Errors
/// What the database says.
pub fn of_run(conn: &Connection, run: RunId) -> Result<Option<Proposal>, EngineError> {
    Ok(select(conn, "p.run = ?1", [run])?.into_iter().next())
}

fn select(conn: &Connection, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Proposal>, EngineError> {
    let sql = format!(
        "SELECT p.run, r.rule, p.hash, p.diff, p.why, p.state, p.expires, p.decided_by, p.decided_at, p.note \
         FROM engine_proposal p JOIN engine_run r ON r.id = p.run WHERE {condition}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params, |row| {
        let (diff, state): (Vec<u8>, String) = (row.get(3)?, row.get(5)?);
        let proposal = Proposal {
            run: row.get(0)?,
            rule: row.get(1)?,
            hash: ProposalHash(row.get(2)?),
            diff: Diff::default(),
            why: row.get(4)?,
            state: ProposalState::ALL.into_iter().find(|s| s.name() == state).unwrap_or(ProposalState::Expired),
            expires: row.get::<_, Option<i64>>(6)?.map(timestamp),
            decided_by: row.get(7)?,
            decided_at: row.get::<_, Option<i64>>(8)?.map(timestamp),
            note: row.get(9)?,
        };
        Ok((proposal, diff))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (proposal, diff) = row?;
        found.push(Proposal { diff: unpack(&diff)?, ..proposal });
    }
    Ok(found)
}

/// What a proposal that still waits would apply, if it is the one that was shown.
pub(crate) fn waiting(
    conn: &Connection,
    run: RunId,
    shown: Option<ProposalHash>,
    now: i64,
) -> Result<Proposed, EngineError> {
    let sql = "SELECT state, hash, changes, expires FROM engine_proposal WHERE run = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([run])?;
    let Some(row) = rows.next()? else {
        return Err(Error::not_found("unknown-proposal", format!("run {run} proposes nothing")).into());
    };
    let (state, hash): (String, [u8; 32]) = (row.get(0)?, row.get(1)?);
    let (changes, expires): (Vec<u8>, Option<i64>) = (row.get(2)?, row.get(3)?);
    if state != ProposalState::Waiting.name() {
        return Err(Error::rejected("already-decided", format!("the proposal of run {run} is {state} already")).into());
    }
    if expires.is_some_and(|expires| expires <= now) {
        let text = format!("the proposal of run {run} has expired; retry the run for a new one");
        return Err(Error::rejected("approval-expired", text).into());
    }
    if shown.is_some_and(|shown| shown.0 != hash) || hash != <[u8; 32]>::from(Sha256::digest(&changes)) {
        let text = format!("the proposal of run {run} is another one by now; look at it again");
        return Err(Error::rejected("another-proposal", text).into());
    }
    unpack(&changes)
}

/// Keeps what became of a proposal.
pub(crate) fn decide(
    conn: &Connection,
    run: RunId,
    state: ProposalState,
    by: Option<Id>,
    now: i64,
    note: &str,
) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET state = ?2, decided_by = ?3, decided_at = ?4, note = ?5 WHERE run = ?1";
    conn.prepare_cached(sql)?.execute((run, state.name(), by, now, note)).map(drop)
}

/// Keeps who said yes to a proposal before it is sent: whether it arrived is not known yet.
pub(crate) fn send_yes(conn: &Connection, run: RunId, by: Id, note: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET decided_by = ?2, note = ?3 WHERE run = ?1";
    conn.prepare_cached(sql)?.execute((run, by, note)).map(drop)
}

/// Keeps that a yes arrived whose answer was lost.
pub(crate) fn applied(conn: &Connection, run: RunId, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET state = 'approved', decided_at = ?2 WHERE run = ?1";
    conn.prepare_cached(sql)?.execute((run, now)).map(drop)
}

/// Runs whose proposals waited for too long.
pub(crate) fn expired(conn: &Connection, now: i64) -> rusqlite::Result<Vec<RunId>> {
    let sql = "SELECT run FROM engine_proposal WHERE state = 'waiting' AND expires <= ?1";
    conn.prepare_cached(sql)?.query_map([now], |row| row.get(0))?.collect()
}
