//! Changes that wait for a yes, or are kept as advice. What is approved is exactly what was shown: the bytes that the hash
//! is of.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use triggerbox_model::{
    call::{Command, WITH_CONTEXT},
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
    queue::{self, Claim},
    rule::{Mode, Rule},
    runs::{RunId, RunState},
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
    /// Whose yes was sent to an Odoo server and has no answer yet.
    #[serde(skip)]
    pub yes_by: Option<Id>,
    /// What it would change cannot be read any more: nobody can tell who may see it.
    #[serde(skip)]
    pub is_damaged: bool,
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

/// Whether policy wants somebody's yes for some of these changes of a rule's run. `deletes`: whether a record goes with them,
/// whatever the effect that it goes by.
pub(crate) fn wants_yes(policy: &Policy, rule: &Rule, changes: &ChangeSet, deletes: bool) -> bool {
    let is_agent = agents::is_agent_rule(rule);
    let wanted = |operation| policy.wants_yes(operation, is_agent);
    if deletes && wanted(GrantOperation::Unlink) {
        return true;
    }
    changes.effects.iter().any(|effect| {
        let operation = match effect {
            Effect::Create { .. } | Effect::Ensure { .. } | Effect::Copy { .. } => GrantOperation::Create,
            Effect::Relate { commands, .. }
                if wanted(GrantOperation::Create) && commands.iter().any(|one| matches!(one, Command::Create(_))) =>
            {
                return true;
            }
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
        wanted(operation)
    })
}

/// Whether there is nothing in these changes that somebody could say yes or no to: what scripts keep for their next run is
/// theirs, and is kept, unless the rule only recommends.
pub(crate) fn is_nothing(rule: &Rule, changes: &ChangeSet) -> bool {
    let keeps = |effect: &Effect| matches!(effect, Effect::SetState { .. });
    changes.effects.iter().all(|effect| keeps(effect) && rule.mode != Mode::Recommend)
}

/// What is left of changes that change no record.
pub(crate) fn without_records(rule: &Rule, changes: ChangeSet) -> ChangeSet {
    let ChangeSet { mut effects, mentions, .. } = changes;
    effects.retain(|effect| matches!(effect, Effect::SetState { .. }) && rule.mode != Mode::Recommend);
    ChangeSet { effects, mentions, ..ChangeSet::default() }
}

/// Proposals, newest first: those in a state, or all; of runs before one, or all.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &Connection,
    state: Option<ProposalState>,
    before: Option<RunId>,
    limit: u32,
) -> Result<Vec<Proposal>, EngineError> {
    let condition = "(?1 IS NULL OR p.state = ?1) AND p.run < ?2 ORDER BY p.run DESC LIMIT ?3";
    select(conn, condition, (state.map(ProposalState::name), before.unwrap_or(RunId::MAX), limit))
}

/// What a run wants to change, or wanted; none, if it never asked.
///
/// # Errors
/// What the database says.
pub fn of_run(conn: &Connection, run: RunId) -> Result<Option<Proposal>, EngineError> {
    Ok(select(conn, "p.run = ?1", [run])?.into_iter().next())
}

fn select(conn: &Connection, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Proposal>, EngineError> {
    // By proposals, which are few, and not by runs.
    let sql = format!(
        "SELECT p.run, r.rule, p.hash, p.diff, p.why, p.state, p.expires, p.decided_by, p.decided_at, p.note, \
         iif(p.state = 'waiting' AND p.yes_open > 0, p.yes_by, NULL) \
         FROM engine_proposal p CROSS JOIN engine_run r ON r.id = p.run WHERE {condition}"
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
            yes_by: row.get(10)?,
            is_damaged: false,
        };
        Ok((proposal, diff))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (proposal, diff) = row?;
        // One that is damaged must not hide the others; nobody can say yes to it.
        found.push(match unpack(&diff) {
            Ok(diff) => Proposal { diff, ..proposal },
            Err(error) => {
                let why = format!("{}; what it would change cannot be shown any more: {error}", proposal.why);
                Proposal { why, is_damaged: true, ..proposal }
            }
        });
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
    let Kept { hash, changes, diff } = still_waits(conn, run, shown, now)?;
    let damaged = |why: String| {
        let text =
            format!("what run {run} proposes cannot be read any more; reject it, and have the run tried again: {why}");
        Error::rejected("damaged-proposal", text).into()
    };
    if hash != <[u8; 32]>::from(Sha256::digest(&changes)) {
        return Err(damaged("it is not what was kept".to_owned()));
    }
    // Nobody can have looked at what cannot be shown.
    unpack::<Diff>(&diff).and_then(|_| unpack(&changes)).map_err(|error| damaged(error.to_string()))
}

/// What is kept of a proposal: its changes and its diff, packed.
pub(crate) struct Kept {
    hash: [u8; 32],
    changes: Vec<u8>,
    diff: Vec<u8>,
}

/// Refuses where a proposal does not wait any more, or is not the one that was shown.
pub(crate) fn still_waits(
    conn: &Connection,
    run: RunId,
    shown: Option<ProposalHash>,
    now: i64,
) -> Result<Kept, EngineError> {
    let sql = "SELECT state, hash, changes, expires, diff FROM engine_proposal WHERE run = ?1";
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
    if shown.is_some_and(|shown| shown.0 != hash) {
        let text = format!("the proposal of run {run} is another one by now; look at it again");
        return Err(Error::rejected("another-proposal", text).into());
    }
    Ok(Kept { hash, changes, diff: row.get(4)? })
}

/// What a yes to a run's proposal would apply; none, if it proposes nothing.
pub(crate) fn proposed(conn: &Connection, run: RunId) -> Result<Option<Proposed>, EngineError> {
    let mut statement = conn.prepare_cached("SELECT changes FROM engine_proposal WHERE run = ?1")?;
    let changes: Option<Vec<u8>> = statement.query_row([run], |row| row.get(0)).optional()?;
    changes.as_deref().map(unpack).transpose()
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

/// Has a proposal that waits wait no more: its run was cancelled.
pub(crate) fn withdraw(conn: &Connection, run: RunId, by: Option<Id>, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET state = 'rejected', decided_by = ?2, decided_at = ?3 \
               WHERE run = ?1 AND state = 'waiting'";
    conn.prepare_cached(sql)?.execute((run, by, now)).map(drop)
}

/// Has what the runs of a rule propose that is deleted wait no more, and ends them; but for what somebody's yes was sent to, whose
/// answer decides.
pub(crate) fn withdraw_all(conn: &Connection, rule: &str, by: Id, now: i64) -> rusqlite::Result<()> {
    let sql = "SELECT p.run FROM engine_proposal p CROSS JOIN engine_run r ON r.id = p.run \
               WHERE p.state = 'waiting' AND p.yes_open = 0 AND r.rule = ?1";
    let runs: Vec<RunId> = conn.prepare_cached(sql)?.query_map([rule], |row| row.get(0))?.collect::<Result<_, _>>()?;
    runs.into_iter().try_for_each(|run| orphan(conn, run, Some(by), now))
}

/// Has what a run proposes wait no more whose rule is deleted, and ends the run.
pub(crate) fn orphan(conn: &Connection, run: RunId, by: Option<Id>, now: i64) -> rusqlite::Result<()> {
    withdraw(conn, run, by, now)?;
    let message = "the rule was deleted before anybody decided about its changes";
    queue::end(conn, run, now, RunState::Cancelled, "rule-gone", Some(message))
}

/// Keeps who said yes to a proposal that waits, before it is sent: until then, in milliseconds, it may be on its way.
pub(crate) fn send_yes(conn: &Connection, run: RunId, by: Id, note: &str, until: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET yes_by = ?2, yes_note = ?3, yes_open = yes_open + 1, yes_until = ?4 \
               WHERE run = ?1 AND state = 'waiting'";
    conn.prepare_cached(sql)?.execute((run, by, note, until)).map(drop)
}

/// Keeps that a yes that was sent applied nothing.
pub(crate) fn take_yes_back(conn: &Connection, run: RunId, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET yes_open = max(yes_open - 1, 0), yes_by = iif(yes_open > 1, yes_by, NULL), \
               yes_note = iif(yes_open > 1, yes_note, NULL) WHERE run = ?1";
    conn.prepare_cached(sql)?.execute([run])?;
    withdraw_orphans(conn, now)
}

/// Has what runs propose wait no more whose rule was deleted while a yes was on its way that was no answer to it.
fn withdraw_orphans(conn: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "SELECT DISTINCT p.run FROM engine_proposal p CROSS JOIN engine_run r ON r.id = p.run \
               JOIN engine_rule_version v ON v.rule = r.rule AND v.version > r.rule_version AND v.state = 'deleted' \
               WHERE p.state = 'waiting' AND p.yes_open = 0";
    let runs: Vec<RunId> = conn.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    runs.into_iter().try_for_each(|run| orphan(conn, run, None, now))
}

/// Refuses to have a proposal decided otherwise while a yes to it is on its way.
pub(crate) fn none_on_its_way(conn: &Connection, run: RunId, now: i64) -> Result<(), EngineError> {
    let sql = "SELECT 1 FROM engine_proposal WHERE run = ?1 AND state = 'waiting' AND yes_open > 0 AND yes_until > ?2";
    if conn.prepare_cached(sql)?.exists((run, now))? {
        let text =
            format!("a yes to run {run} is on its way to odoo, and its answer decides; try again in some minutes");
        return Err(Error::rejected("yes-on-its-way", text).into());
    }
    Ok(())
}

/// Keeps that a yes arrived whose answer was lost, whatever was said after it.
pub(crate) fn applied(conn: &Connection, run: RunId, now: i64) -> rusqlite::Result<()> {
    // Another state is of a proposal that was not what was applied.
    let sql = "UPDATE engine_proposal SET state = 'approved', decided_by = yes_by, decided_at = ?2, note = yes_note \
               WHERE run = ?1 AND state IN ('waiting', 'rejected', 'expired')";
    conn.prepare_cached(sql)?.execute((run, now)).map(drop)
}

/// Runs whose proposals may have been applied by a yes that has no answer, or waited for too long.
pub(crate) fn open(conn: &Connection, now: i64) -> rusqlite::Result<Vec<RunId>> {
    let sql = "SELECT run FROM engine_proposal WHERE state = 'waiting' AND (yes_open > 0 OR expires <= ?1)";
    conn.prepare_cached(sql)?.query_map([now], |row| row.get(0))?.collect()
}

/// Takes back each yes that was sent, is not on its way any more, and applied nothing.
pub(crate) fn none_arrived(conn: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_proposal SET yes_open = 0, yes_by = NULL, yes_note = NULL \
               WHERE state = 'waiting' AND yes_open > 0 AND yes_until <= ?1";
    conn.prepare_cached(sql)?.execute([now])?;
    withdraw_orphans(conn, now)
}

/// Runs whose proposals waited for too long, with no yes on its way.
pub(crate) fn expired(conn: &Connection, now: i64) -> rusqlite::Result<Vec<RunId>> {
    let sql = "SELECT run FROM engine_proposal \
               WHERE state = 'waiting' AND expires <= ?1 AND (yes_open = 0 OR yes_until <= ?1)";
    conn.prepare_cached(sql)?.query_map([now], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use triggerbox_model::{
        call::Call,
        schema::Schema,
        value::{FieldValue, RecordRef, Value},
    };
    use triggerbox_store::{db::Database, session::Session};

    use super::*;
    use crate::{needs::may_delete, people, state::tables};

    const RUN: RunId = 1;
    const ALICE: Id = 7;
    const BOB: Id = 8;
    /// When a yes that was sent at 0 is not on its way any more.
    const LATE: i64 = 1_000;

    /// A change to the records of an Odoo server that waits for a yes, and what a yes is to.
    fn asked() -> (Connection, ProposalHash) {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE tb_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)").unwrap();
        tables::upgrade(&conn).unwrap();
        let packed = pack(&Proposed::There(serde_json::json!({ "ops": [] }))).unwrap();
        let hash: [u8; 32] = Sha256::digest(&packed).into();
        let sql = "INSERT INTO engine_proposal (run, hash, changes, diff, why, state, expires) \
                   VALUES (?, ?, ?, ?, 'the rule wants a yes', 'waiting', 500)";
        conn.execute(sql, (RUN, hash, packed, pack(&Diff::default()).unwrap())).unwrap();
        (conn, ProposalHash(hash))
    }

    fn decision(conn: &Connection) -> (String, Option<Id>, Option<String>) {
        let sql = "SELECT state, decided_by, note FROM engine_proposal WHERE run = ?1";
        conn.query_row(sql, [RUN], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    }

    fn said(state: &str, by: Id, note: &str) -> (String, Option<Id>, Option<String>) {
        (state.to_owned(), Some(by), Some(note.to_owned()))
    }

    /// Calls by which records leave lists, and whether anything is deleted by it in the demo company.
    fn leaving(database: &Database) -> Vec<(Call, bool)> {
        let id = |sql: &str| database.snapshot().unwrap().query_row(sql, [], |row| row.get::<_, Id>(0)).unwrap();
        let order = id("SELECT id FROM sale_order WHERE state = 'draft' AND line_count > 1 ORDER BY id LIMIT 1");
        let line = id(&format!("SELECT min(id) FROM sale_order_line WHERE order_id = {order}"));
        let company = id("SELECT parent_id FROM res_partner WHERE parent_id IS NOT NULL ORDER BY id LIMIT 1");
        let relate = |model: &str, id: Id, field: &str, command: Command| Call::Relate {
            target: RecordRef::new(model, id),
            field: field.into(),
            commands: vec![command],
        };
        let lines = |command: Command| relate("sale.order", order, "order_line", command);
        let write = |value: Value| Call::Write {
            model: "sale.order".into(),
            ids: vec![order],
            values: vec![FieldValue::new("order_line", value)],
        };
        vec![
            (lines(Command::Unlink(line)), true),
            (lines(Command::Delete(line)), true),
            (lines(Command::Clear), true),
            (lines(Command::Replace(Vec::new())), true),
            (write(Value::Ids(Vec::new())), true),
            (write(Value::Unset), true),
            (Call::Unlink { model: "sale.order.line".into(), ids: vec![line] }, true),
            (lines(Command::Link(line)), false),
            (lines(Command::Update(line, vec![FieldValue::new("price_unit", Value::Number(1.0))])), false),
            (relate("res.partner", company, "child_ids", Command::Clear), false),
        ]
    }

    // Shows: F125
    #[test]
    fn whatever_deletes_a_record_wants_the_yes_for_that() {
        let now = "2026-11-20T09:30:00Z".parse().unwrap();
        let database = Database::demo_in_memory(now).unwrap();
        let env = people::environment(&database, 2, false, now).unwrap();
        let rule = "name = \"r\"\ntrigger = { on = \"manual\" }\nactions = [{ script = \"notify\" }]";
        let rule: Rule = toml::from_str(rule).unwrap();
        let wanting = |operation| Policy { approved_operations: [operation].into(), ..Policy::default() };
        let (unlink, create) = (wanting(GrantOperation::Unlink), wanting(GrantOperation::Create));
        let remote = Schema { remote: true, ..(**database.schema()).clone() };
        for (call, deletes) in leaving(&database) {
            let mut session = Session::new(&database, env.clone()).unwrap();
            session.call(call.clone()).unwrap().unwrap();
            assert_eq!(session.deletes(), deletes, "{call:?}");
            let changes = session.finish();
            assert_eq!(wants_yes(&unlink, &rule, &changes, deletes), deletes, "{call:?}");
            assert!(!wants_yes(&create, &rule, &changes, deletes), "{call:?}");
            // Odoo does not tell what it deletes.
            let leaves = match &call {
                Call::Relate { commands, .. } => !matches!(commands[0], Command::Link(_) | Command::Update(..)),
                call => matches!(call, Call::Write { .. }),
            };
            assert_eq!(may_delete(&remote, &changes), leaves, "{call:?}");
        }
        let effect = Effect::Relate {
            target: RecordRef::new("sale.order", 1),
            field: "order_line".into(),
            commands: vec![Command::Create(Vec::new())],
        };
        let makes = ChangeSet { effects: vec![effect], ..ChangeSet::default() };
        assert!(wants_yes(&create, &rule, &makes, false) && !wants_yes(&unlink, &rule, &makes, false));
    }

    // Shows: F125
    #[test]
    fn while_a_yes_is_on_its_way_nothing_else_is_decided() {
        let (conn, hash) = asked();
        let is_free = |now| match none_on_its_way(&conn, RUN, now) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code(), "yes-on-its-way");
                false
            }
        };
        assert!(is_free(0));
        send_yes(&conn, RUN, ALICE, "fine", LATE).unwrap();
        assert_eq!(decision(&conn), ("waiting".to_owned(), None, None), "nobody has decided yet");
        assert!(!is_free(0) && is_free(LATE), "not for ever");
        assert_eq!((expired(&conn, 500).unwrap(), expired(&conn, LATE).unwrap()), (vec![], vec![RUN]));

        // Another yes is let through; the first one's refusal says nothing of it.
        waiting(&conn, RUN, Some(hash), 0).unwrap();
        send_yes(&conn, RUN, BOB, "fine with me", LATE).unwrap();
        take_yes_back(&conn, RUN, 0).unwrap();
        assert!(!is_free(0));
        take_yes_back(&conn, RUN, 0).unwrap();
        assert!(is_free(0));
        applied(&conn, RUN, LATE).unwrap();
        assert_eq!(decision(&conn), ("approved".to_owned(), None, None), "none of theirs was it");
    }

    #[test]
    fn a_yes_without_an_answer_is_looked_for_until_it_cannot_arrive_any_more() {
        let (conn, _) = asked();
        assert!(open(&conn, 0).unwrap().is_empty());
        send_yes(&conn, RUN, ALICE, "fine", LATE).unwrap();
        none_arrived(&conn, LATE - 1).unwrap();
        assert_eq!(open(&conn, 0).unwrap(), [RUN]);
        none_arrived(&conn, LATE).unwrap();
        assert!(open(&conn, 0).unwrap().is_empty());
        none_on_its_way(&conn, RUN, 0).unwrap();
        assert_eq!(open(&conn, LATE).unwrap(), [RUN], "it waited for too long");
    }

    #[test]
    fn what_a_deleted_rule_proposes_is_withdrawn_once_no_yes_can_answer_it() {
        for answered in [true, false] {
            let (conn, _) = asked();
            conn.execute_batch(
                "INSERT INTO engine_run (id, key, rule, rule_version, root, depth, request, class, actor, run_as, \
                                         superuser, seed, at, state, due, blockers, attempt, fence) \
                 VALUES (1, 'k', 'r', 1, 0, 0, '{}', 'async', 2, 2, 0, 0, 0, 'waiting-approval', 0, 0, 1, 1);
                 INSERT INTO engine_rule_version (rule, version, author, at, note, state, body) \
                 VALUES ('r', 1, 2, 0, '', 'accepted', '{}'), ('r', 2, 2, 0, '', 'deleted', '')",
            )
            .unwrap();
            send_yes(&conn, RUN, ALICE, "fine", LATE).unwrap();
            withdraw_all(&conn, "r", BOB, 0).unwrap();
            assert_eq!(decision(&conn).0, "waiting", "the answer decides");
            let no_answer = if answered { take_yes_back(&conn, RUN, 0) } else { none_arrived(&conn, LATE) };
            no_answer.unwrap();
            assert_eq!(decision(&conn).0, "rejected");
            let run: String = conn.query_row("SELECT state FROM engine_run", [], |row| row.get(0)).unwrap();
            assert_eq!(run, "cancelled");
        }
    }

    // Shows: F125
    #[test]
    fn after_a_no_no_yes_is_sent() {
        let (conn, hash) = asked();
        decide(&conn, RUN, ProposalState::Rejected, Some(BOB), 0, "not this one").unwrap();
        assert_eq!(waiting(&conn, RUN, Some(hash), 0).unwrap_err().code(), "already-decided");
        send_yes(&conn, RUN, ALICE, "fine", LATE).unwrap();
        assert_eq!(decision(&conn), said("rejected", BOB, "not this one"));
        let sent: Option<Id> = conn.query_row("SELECT yes_by FROM engine_proposal", [], |row| row.get(0)).unwrap();
        assert_eq!(sent, None);
    }

    #[test]
    fn what_was_applied_is_kept_with_who_said_yes_to_it() {
        let (conn, _) = asked();
        send_yes(&conn, RUN, ALICE, "fine", LATE).unwrap();
        decide(&conn, RUN, ProposalState::Rejected, Some(BOB), LATE, "not this one").unwrap();
        applied(&conn, RUN, LATE).unwrap();
        assert_eq!(decision(&conn), said("approved", ALICE, "fine"));

        let (conn, _) = asked();
        decide(&conn, RUN, ProposalState::Stale, Some(BOB), 0, "fine").unwrap();
        applied(&conn, RUN, LATE).unwrap();
        assert_eq!(decision(&conn), said("stale", BOB, "fine"), "it was what a later try wanted");
    }
}
