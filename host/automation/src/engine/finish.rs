//! The end of a try, in one transaction: changes, run record, lanes, new events and their runs.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_llm::budget::Amount;
use triggerbox_model::{
    changes::{ChangeSet, Diff},
    error::Error,
    event::Outcome,
    value::Id,
};
use triggerbox_sandbox::{ContentHash, Ending};
use triggerbox_store::{
    commit::{self, Committed},
    env::Env,
};

use super::{Engine, Shared, approve::IN_LEDGER, time::Own};
use crate::{
    clock::{millis, timestamp},
    dispatch::{Cause, Parent},
    error::EngineError,
    logs,
    packed::pack,
    pauses,
    play::Done,
    proposals::{self, Proposed},
    queue::{self, Claim},
    remote::Concluded,
    report::{Report, Verdict},
    rule::{Environment, Mode, stored},
    runner,
    runs::{LogLine, RunId, RunState},
    threads::mirror,
};

/// Conflicts pass at once; only after this many the run waits before it is tried again.
const PROMPT_RETRIES: u32 = 4;

/// After this many retries a run is dead.
const MOST_RETRIES: u32 = 8;

/// The first wait before a retry, doubled each time.
const FIRST_WAIT: i64 = 1_000;

/// The longest.
const LONGEST_WAIT: i64 = 600_000;

/// The longest that a provider can have a run wait.
const LONGEST_ASKED_WAIT: i64 = 3_600_000;

/// The longest that a run which waits for an Odoo server lets pass without asking for it.
const LONGEST_AWAY_WAIT: i64 = 300_000;

/// How long an Odoo server may be away before the runs that wait for it are dead, in milliseconds: longer than upgrades take.
const LONGEST_AWAY: i64 = 24 * 3_600_000;

/// A try that is over, before anything of it is kept.
pub(super) struct Tried {
    pub(super) claim: Claim,
    pub(super) started: Timestamp,
    pub(super) steps: Vec<Done>,
    /// What it spent on language models.
    pub(super) spent: Amount,
    pub(super) log: Vec<LogLine>,
    pub(super) ended: Ended,
}

/// What a try came to.
pub(super) enum Ended {
    /// All scripts succeeded: these changes are to be committed.
    Commit(Env, ChangeSet, Outcome),
    /// All scripts succeeded, and this is what would change.
    Show(Diff, Outcome),
    /// All scripts succeeded, and somebody must decide about the changes.
    Propose(Proposed, Diff, Outcome),
    /// It found the records that it is for: each is to have a run of its own.
    Spread(Vec<Id>),
    /// All scripts succeeded, and what they wanted was done, or was not, where the records are.
    Elsewhere(Concluded),
    /// An earlier try was applied where the records are, and its answer was lost. With the last update of what it wrote.
    Applied(Timestamp),
    /// A script did not succeed: the last one of the steps.
    Unsuccessful,
    /// It could not be run at all.
    NotRun(Error),
    /// There is nothing to run for any more.
    Nothing(&'static str, String),
}

impl Engine {
    /// Keeps what a try came to. Nothing is kept, and that is no error, if the run was cancelled or given to another.
    pub(super) async fn finish(&self, tried: Tried) -> Result<(), EngineError> {
        #[cfg(feature = "failpoints")]
        let tried = self.break_in_two(tried).await?;
        let shared = Arc::clone(&self.inner.shared);
        let observed = self.observed(&tried.claim, tried.started, &tried.steps, tried.spent);
        // A long conversation is a long journal: it is packed here, where nobody else waits for it.
        let journals = tried.steps.iter().map(journal).collect::<Result<Vec<_>, _>>();
        let claim = tried.claim.clone();
        let kept = match journals {
            Ok(journals) => self.queue(move |conn| shared.finish(conn, &tried, &journals)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &kept {
            self.keep_why(claim, error).await;
        }
        if kept? {
            self.inner.wake.notify_one();
        }
        self.inner.ended.notify_waiters();
        observed.map_or(Ok(()), |attempt| self.tell(attempt))
    }

    /// What a try came to could not be kept, and nothing of it was: the run is tried again as after any failure of the backend, and
    /// says why. If that cannot be kept either, the run is found again when its lease is over.
    async fn keep_why(&self, claim: Claim, error: &EngineError) {
        let (shared, why) = (Arc::clone(&self.inner.shared), error.to_string());
        let keep = move |conn: &Connection| shared.not_kept(conn, &claim, &why);
        // The first failure is told by whoever has the run tried.
        let _ = self.committer().commit(keep).await;
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
    }
}

#[cfg(feature = "failpoints")]
impl Engine {
    /// An end that is broken on purpose, to show that the kill test's checker finds it: the changes in one transaction, the
    /// run record in another.
    async fn break_in_two(&self, mut tried: Tried) -> Result<Tried, EngineError> {
        if std::env::var_os("TRIGGERBOX_BROKEN_FINISH").is_some()
            && let Ended::Commit(env, changes, _) = &mut tried.ended
            && !changes.is_empty()
        {
            let (env, changes) = (env.clone(), std::mem::take(changes));
            self.committer().commit(move |conn| Ok::<_, EngineError>(commit::commit_in(conn, &env, &changes)?)).await?;
            crate::failpoint::hit("between-transactions");
        }
        Ok(tried)
    }
}

impl Shared {
    /// Whether runs wait that may start now, or when it is time; and those that this one caused.
    fn finish(
        &self,
        conn: &Connection,
        tried: &Tried,
        journals: &[Option<Vec<u8>>],
    ) -> Result<(bool, Vec<RunId>), EngineError> {
        let claim = &tried.claim;
        if !queue::is_held(conn, claim.id, claim.fence)? {
            return Ok((false, Vec::new()));
        }
        let now = self.now();
        let mut diff = Diff::default();
        let mut applied = Committed::default();
        let verdict = match &tried.ended {
            Ended::Commit(env, changes, outcome) => match in_savepoint(conn, env, changes)? {
                Ok(mut committed) => {
                    crate::failpoint::hit("changed");
                    diff = std::mem::take(&mut committed.diff);
                    applied = committed;
                    Some(Verdict::Applied(runner::with_names(outcome.clone(), &applied.mentions)))
                }
                Err(error) => Some(runner::refused(error)),
            },
            Ended::Show(shown, outcome) => {
                diff.clone_from(shown);
                Some(Verdict::DryRun(outcome.clone()))
            }
            Ended::Propose(changes, shown, outcome) => {
                diff.clone_from(shown);
                proposals::keep(conn, &self.config, claim, changes, shown, now)?;
                Some(Verdict::Proposed(outcome.clone()))
            }
            Ended::Elsewhere(concluded) => {
                diff.clone_from(&concluded.diff);
                Some(concluded.verdict.clone())
            }
            Ended::Unsuccessful => tried.steps.last().map(runner::unsuccessful_step),
            // The scripts did their part, and what they want was refused before it came to a commit.
            Ended::NotRun(error) if !tried.steps.is_empty() => Some(Verdict::Rejected(error.clone())),
            Ended::NotRun(_) | Ended::Nothing(..) | Ended::Spread(_) | Ended::Applied(_) => None,
        };
        if let Some(verdict) = &verdict {
            self.keep_attempts(conn, tried, journals, verdict, diff, now)?;
        }
        // Also of one that ran no script but that of its source.
        logs::keep(conn, &claim.rule.rule.name, claim.id, claim.attempt, now, &tried.log)?;
        let over = self.conclude(conn, tried, verdict, now)?;
        let waits = matches!(tried.ended, Ended::Propose(..)) && claim.rule.rule.mode != Mode::Recommend;
        if waits && stored::is_deleted_since(conn, &claim.rule.rule.name, claim.rule.version)? {
            // While it ran: nobody withdrew what was not there yet.
            proposals::orphan(conn, claim.id, None, now)?;
        }
        let ready = queue::is_something_ready(conn)?;
        if over && claim.rule.rule.environment == Environment::Live {
            match self.config.odoo {
                None => mirror::post(conn, &self.database, &self.config.links, claim.id, now)?,
                Some(_) => mirror::want(conn, claim.id)?,
            }
        }
        crate::failpoint::hit("run-recorded");
        let parent = Parent { run: claim.id, root: claim.root, depth: claim.depth };
        let cause = Cause { actor: claim.actor, at: now, parent: Some(parent) };
        let own = Own { rule: &claim.rule, records: &claim.firing.records, cause };
        self.forgive_own_updates(conn, &own, &applied.events)?;
        if let Ended::Elsewhere(Concluded { diff, at, .. }) = &tried.ended {
            self.forgive_own_updates_there(conn, &own, *at, Some(diff))?;
        }
        if let Ended::Applied(at) = tried.ended {
            self.keep_applied(conn, claim.id, Some(&own), at)?;
        }
        let mut caused = self.react(conn, cause, &applied)?;
        if let Ended::Spread(records) = &tried.ended {
            caused.extend(self.spread(conn, claim, cause, records)?);
        }
        crate::failpoint::hit("events-written");
        Ok((ready, caused))
    }

    /// Puts a run back whose try could not be kept, or gives it up after as many as may be.
    fn not_kept(&self, conn: &Connection, claim: &Claim, why: &str) -> Result<(), EngineError> {
        if !queue::is_held(conn, claim.id, claim.fence)? {
            return Ok(());
        }
        let (now, verdict) = (self.now(), Verdict::Backend(format!("what it came to could not be kept: {why}")));
        let (code, message) = (verdict.code(), verdict.message());
        if claim.retries < MOST_RETRIES {
            let due = now + self.random.jitter(wait(claim.retries, false));
            return Ok(queue::again(conn, claim.id, due, code, message.as_deref())?);
        }
        queue::end(conn, claim.id, now, RunState::Dead, code, message.as_deref())?;
        self.count(conn, claim, RunState::Dead, code)
    }

    /// Moves the run on. Whether it is over.
    fn conclude(
        &self,
        conn: &Connection,
        tried: &Tried,
        verdict: Option<Verdict>,
        now: i64,
    ) -> Result<bool, EngineError> {
        let claim = &tried.claim;
        let (state, code, message) = match (&tried.ended, verdict) {
            (Ended::Nothing(code, why), _) => (RunState::Skipped, *code, Some(why.clone())),
            (Ended::Spread(records), _) => {
                let (found, most) = (records.len(), claim.rule.rule.most_records());
                let which = if found > most { format!("the first {most} of {found}") } else { found.to_string() };
                let message = format!("one run for each of {which} records");
                (RunState::Succeeded, "spread", Some(message))
            }
            (Ended::Applied(_), _) => (RunState::Succeeded, "applied", Some(IN_LEDGER.to_owned())),
            (Ended::NotRun(error), _) => (RunState::Failed, error.code.as_str(), Some(error.message.clone())),
            (_, Some(verdict)) => {
                let mut message = verdict.message();
                let state = match &verdict {
                    Verdict::Applied(outcome) | Verdict::DryRun(outcome) | Verdict::Proposed(outcome) => {
                        keep_outcome(conn, claim, outcome)?;
                        match (&verdict, claim.rule.rule.mode) {
                            (Verdict::Proposed(_), Mode::Approve | Mode::Auto) => RunState::WaitingApproval,
                            _ => RunState::Succeeded,
                        }
                    }
                    Verdict::Conflict(_) | Verdict::Backend(_) | Verdict::Unavailable(_)
                        if claim.retries < MOST_RETRIES =>
                    {
                        let conflict = matches!(verdict, Verdict::Conflict(_));
                        let wait = self.random.jitter(wait(claim.retries, conflict)).max(asked_to_wait(&tried.steps));
                        queue::again(conn, claim.id, now + wait, verdict.code(), message.as_deref())?;
                        return Ok(false);
                    }
                    Verdict::Conflict(_) | Verdict::Backend(_) | Verdict::Unavailable(_) | Verdict::Unusable(_) => {
                        RunState::Dead
                    }
                    Verdict::Away(why) => {
                        let since = claim.away_since.unwrap_or(now);
                        if now - since < LONGEST_AWAY {
                            let wait = self.random.jitter(away_wait(now - since));
                            queue::wait(conn, claim.id, now + wait, since, verdict.code(), message.as_deref())?;
                            return Ok(false);
                        }
                        message = Some(given_up(timestamp(since), why));
                        RunState::Dead
                    }
                    Verdict::OutcomeUnknown(_) => RunState::OutcomeUnknown,
                    _ => RunState::Failed,
                };
                (state, verdict.code(), message)
            }
            (_, None) => (RunState::Failed, "no-actions", Some("the rule has no actions".to_owned())),
        };
        queue::end(conn, claim.id, now, state, code, message.as_deref())?;
        self.count(conn, claim, state, code)?;
        Ok(true)
    }

    /// Counts failures in a row; too many pause the rule.
    fn count(&self, conn: &Connection, claim: &Claim, state: RunState, code: &str) -> Result<(), EngineError> {
        let rule = &claim.rule.rule.name;
        match state {
            RunState::Succeeded | RunState::WaitingApproval => {
                let sql = "UPDATE engine_rule SET failures = 0 WHERE name = ?1 AND failures <> 0";
                conn.prepare_cached(sql)?.execute([rule])?;
            }
            // One record's session is over: that says nothing about the rule.
            RunState::Failed if code == "cap-exceeded" => {}
            RunState::Failed | RunState::Dead => {
                let sql = "UPDATE engine_rule SET failures = failures + 1 WHERE name = ?1 RETURNING failures";
                let mut statement = conn.prepare_cached(sql)?;
                let failures: u32 = match statement.query_row([rule], |row| row.get(0)) {
                    Err(rusqlite::Error::QueryReturnedNoRows) => return Ok(()),
                    other => other?,
                };
                if self.config.pause_after > 0 && failures >= self.config.pause_after {
                    // What it says itself is for who may see the run: this is for whoever sees the rule.
                    let why = format!("{failures} runs failed in a row; the last: {code}, run {}", claim.id);
                    let sql = "UPDATE engine_rule SET paused = ?2 WHERE name = ?1 AND paused IS NULL";
                    if conn.prepare_cached(sql)?.execute((rule, &why))? > 0 {
                        pauses::begin(conn, rule, &why, self.now())?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn keep_attempts(
        &self,
        conn: &Connection,
        tried: &Tried,
        journals: &[Option<Vec<u8>>],
        verdict: &Verdict,
        diff: Diff,
        now: i64,
    ) -> Result<(), EngineError> {
        let last = tried.steps.len().saturating_sub(1);
        let mut diff = Some(diff);
        for (action, (step, journal)) in tried.steps.iter().zip(journals).enumerate() {
            let is_last = action == last;
            let verdict = match (&step.ending, verdict) {
                (Ending::Done(outcome), Verdict::Applied(_)) if !is_last => Verdict::Applied(outcome.clone()),
                (Ending::Done(outcome), Verdict::DryRun(_)) if !is_last => Verdict::DryRun(outcome.clone()),
                (Ending::Done(outcome), _) if !is_last => Verdict::Dropped(outcome.clone()),
                _ => verdict.clone(),
            };
            let report = Report {
                run_id: tried.claim.key.clone(),
                verdict,
                attempts: tried.claim.attempt,
                diff: if is_last { diff.take().unwrap_or_default() } else { Diff::default() },
                limits: step.limits,
                used: step.used,
                durations: step.durations,
                plan: step.plan.clone(),
                refusals: step.refusals.clone(),
                tracebacks: step.tracebacks.clone(),
            };
            let place = (tried.claim.id, tried.claim.attempt, action);
            keep_attempt(conn, place, step.script, (millis(tried.started), now), &report, journal.as_deref())?;
        }
        Ok(())
    }
}

/// Keeps what became of one script: of which run, in which try, as which action, and from when to when.
pub(super) fn keep_attempt(
    conn: &Connection,
    (run, attempt, action): (RunId, u32, usize),
    script: ContentHash,
    (started, finished): (i64, i64),
    report: &Report,
    journal: Option<&[u8]>,
) -> Result<(), EngineError> {
    let sql = "INSERT INTO engine_attempt (run, attempt, action, script, started, finished, code, report, journal) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    conn.prepare_cached(sql)?.execute(rusqlite::params![
        run,
        attempt,
        i64::try_from(action).unwrap_or(i64::MAX),
        script.0,
        started,
        finished,
        report.verdict.code(),
        pack(report)?,
        journal,
    ])?;
    Ok(())
}

/// What is kept of a script's host calls.
fn journal(step: &Done) -> Result<Option<Vec<u8>>, EngineError> {
    let kept = step.recording.as_ref().filter(|kept| kept.complete || !kept.entries.is_empty());
    kept.map(pack).transpose()
}

/// How long a run waits at most before it is tried again.
fn wait(retries: u32, conflict: bool) -> i64 {
    let prompt = if conflict { PROMPT_RETRIES } else { 0 };
    retries.checked_sub(prompt).map_or(0, |waits| (FIRST_WAIT << waits.min(20)).min(LONGEST_WAIT))
}

/// How long a run waits at most for an Odoo server that has been away for so long: as long again.
fn away_wait(away: i64) -> i64 {
    away.clamp(FIRST_WAIT, LONGEST_AWAY_WAIT)
}

/// What is said of a run that has waited for an Odoo server for too long.
fn given_up(since: Timestamp, why: &str) -> String {
    format!(
        "odoo has been away since {}, longer than a run waits for it ({} hours): {why}; retry the run once odoo answers: its \
         ledger is asked first, so that nothing is done twice",
        since.strftime("%Y-%m-%d %H:%M:%S UTC"),
        LONGEST_AWAY / 3_600_000
    )
}

/// How long somebody who is not available wants to be left alone, within reason.
fn asked_to_wait(steps: &[Done]) -> i64 {
    let wait = steps.last().and_then(|step| step.unavailable.as_ref()?.wait).unwrap_or_default();
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).min(LONGEST_ASKED_WAIT)
}

/// Applies a change set; after an error nothing of it is there, and the transaction goes on.
fn in_savepoint(
    conn: &Connection,
    env: &Env,
    changes: &ChangeSet,
) -> Result<Result<commit::Committed, commit::CommitError>, EngineError> {
    conn.execute_batch("SAVEPOINT effects")?;
    match commit::commit_in(conn, env, changes) {
        Ok(committed) => {
            conn.execute_batch("RELEASE effects")?;
            Ok(Ok(committed))
        }
        // The database itself failed: the whole try is given up, and found again when its lease is over.
        Err(commit::CommitError::Database(error)) => Err(error.into()),
        Err(error) => {
            conn.execute_batch("ROLLBACK TO effects; RELEASE effects")?;
            Ok(Err(error))
        }
    }
}

fn keep_outcome(conn: &Connection, claim: &Claim, outcome: &Outcome) -> Result<(), EngineError> {
    if *outcome == Outcome::default() {
        return Ok(());
    }
    let sql = "UPDATE engine_run SET outcome = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((claim.id, serde_json::to_string(outcome)?))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{away_wait, wait};

    #[test]
    fn waits_double_up_to_ten_minutes_and_conflicts_are_tried_again_at_once() {
        let waits: Vec<i64> = (0..12).map(|retries| wait(retries, false) / 1_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!([0, 3, 4, 5].map(|retries| wait(retries, true)), [0, 0, 1_000, 2_000]);
    }

    #[test]
    fn an_odoo_server_that_is_away_is_asked_for_after_as_long_again_up_to_five_minutes() {
        let (mut away, mut waits) = (0, Vec::new());
        for _ in 0..12 {
            waits.push(away_wait(away) / 1_000);
            away += away_wait(away);
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(away_wait(-5_000), 1_000, "a clock that was put back");
    }
}
