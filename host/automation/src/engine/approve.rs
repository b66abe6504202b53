//! Saying yes or no to what a run wants to change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value as Json;
use triggerbox_model::{
    changes::ChangeSet,
    error::{Error, ErrorKind},
    value::Id,
};
use triggerbox_odoo::{Backend, CommitError as CommitThere, Committed, Config};
use triggerbox_store::{
    commit::{self, CommitError, Overtaken},
    env::Env,
};

use super::{Changed, Engine, Shared, due::Unasked, odoo::unavailable, time::Own};
use crate::{
    agents,
    beside::{self, became},
    dispatch::{Cause, Parent},
    error::EngineError,
    people,
    proposals::{self, Proposal, ProposalHash, ProposalState, Proposed},
    queue,
    runs::{self, RunDetail, RunId, RunState, RunSummary},
};

/// What is said of a run that Odoo's ledger has though nobody here knew it.
pub(super) const IN_LEDGER: &str = "an answer of odoo was lost, and its ledger has what the run wanted to change";

/// What a yes is called that is on its way to Odoo.
const SENT: (&str, &str) = ("approval-sent", "odoo is asked to apply it");

/// What a yes is called that applied nothing, for the records were others by then.
const MET_CONFLICT: (&str, &str) =
    ("approval-met-conflict", "its records had changed: nothing was applied, and the run runs again");

/// What a yes is called that Odoo did not follow.
const NOT_APPLIED: &str = "approval-not-applied";

/// Runs that Odoo's ledger is asked about at once.
const ASKED_AT_ONCE: usize = 1_000;

impl Engine {
    /// Proposals, newest first: those in a state, or all; of runs before one, or all.
    ///
    /// # Errors
    /// What the database says.
    pub fn proposals(
        &self,
        state: Option<ProposalState>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<Proposal>, EngineError> {
        proposals::list(&*self.database().snapshot()?, state, before, limit)
    }

    /// What a run wants to change, or wanted.
    ///
    /// # Errors
    /// What the database says.
    pub fn proposal(&self, run: RunId) -> Result<Option<Proposal>, EngineError> {
        proposals::of_run(&*self.database().snapshot()?, run)
    }

    /// What is not any more as a run saw it that wants to change something, with the run's rights: a yes would apply nothing, and
    /// the run would run again.
    ///
    /// # Errors
    /// `unknown-run`; what the backend says.
    pub async fn overtaken(&self, run: RunId) -> Result<Vec<Overtaken>, EngineError> {
        let now = self.clock().now();
        let (proposed, head) = {
            let conn = self.database().snapshot()?;
            (proposals::proposed(&conn, run)?, runs::head(&conn, run)?)
        };
        let changes = match proposed {
            None => return Ok(Vec::new()),
            Some(Proposed::There(request)) => return self.overtaken_there(run, head.run_as, &request).await,
            Some(Proposed::Here(changes)) => changes,
        };
        let compare = move |engine: &Self| {
            let conn = engine.database().snapshot()?;
            let run_as = people::environment_in(&conn, head.run_as, head.superuser, now)?;
            Ok::<_, EngineError>(commit::overtaken(&conn, &run_as, &changes)?)
        };
        self.off_the_way(compare).await
    }

    /// Why somebody may not approve what a run wants to change, if they may not: nobody approves what they had a hand in.
    /// The rights that the change needs are another matter.
    ///
    /// # Errors
    /// `unknown-run`; what the database says.
    pub fn hand_in(&self, run: RunId, user: Id) -> Result<Option<String>, EngineError> {
        let conn = self.database().snapshot()?;
        self.inner.shared.hand_in(&conn, &runs::head(&conn, run)?, user)
    }

    /// Applies a proposal, exactly as it was shown. If its records changed since, nothing is applied and the run runs
    /// again, for a new proposal. Whoever stops waiting for it takes nothing back: it may have been applied already.
    ///
    /// # Errors
    /// `unknown-proposal`, `already-decided`, `approval-expired`, `another-proposal`; `may-not-approve` for the rule's
    /// owner, now or when it ran, who caused the event and who uploaded a script of it; `access-denied` when the approver
    /// may not do what the change does; a conflict; what the data refuses.
    pub async fn approve(&self, run: RunId, shown: ProposalHash, by: Id, note: &str) -> Result<Changed, EngineError> {
        let (engine, note) = (self.clone(), note.to_owned());
        beside::to_its_end(async move { engine.say_yes(run, shown, by, note).await }).await
    }

    async fn say_yes(&self, run: RunId, shown: ProposalHash, by: Id, note: String) -> Result<Changed, EngineError> {
        let shared = Arc::clone(&self.inner.shared);
        let now = self.clock().now();
        // Who left the house decides nothing more in it.
        let name = people::active(self.database(), by, now)?.user.name;
        let approver = people::environment(self.database(), by, false, now)?;
        let run = self.run(run)?;
        if let Some(backend) = self.odoo() {
            return self.approve_there(backend, run, shown, Approver { env: approver, name }, note, now).await;
        }
        let run_as = people::environment(self.database(), run.summary.run_as, run.summary.superuser, now)?;
        let told = beside::current();
        let decide = move |conn: &Connection| {
            let decided = shared.approve(conn, &run, shown, &Approver { env: approver, name }, &run_as, &note)?;
            if decided.is_err() {
                became(&told, MET_CONFLICT.0, MET_CONFLICT.1);
            }
            Ok::<_, EngineError>(decided)
        };
        let decided = self.committer().commit(decide).await?;
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
        match decided {
            Ok(changed) => Ok(changed),
            Err(conflict) => Err(EngineError::Conflict(conflict)),
        }
    }

    /// Refuses a proposal: the run is over, without effect.
    ///
    /// # Errors
    /// As [`Engine::approve`], as far as it applies; `already-applied`: an earlier yes did reach Odoo; `yes-on-its-way`: one may
    /// yet.
    pub async fn reject(&self, run: RunId, by: Id, note: &str) -> Result<(), EngineError> {
        let (now, note) = (self.inner.shared.now(), note.to_owned());
        let found = people::active(self.database(), by, self.clock().now());
        let name = found.map_or_else(|_| format!("user {by}"), |person| person.user.name);
        if self.settle_applied(&[run]).await?.contains(&run) {
            return Err(already_applied(run));
        }
        self.committer()
            .commit(move |conn| {
                proposals::still_waits(conn, run, None, now)?;
                proposals::none_on_its_way(conn, run, now)?;
                proposals::decide(conn, run, ProposalState::Rejected, Some(by), now, &note)?;
                let message = format!("{name} said no{}{note}", if note.is_empty() { "" } else { ": " });
                queue::end(conn, run, now, RunState::Cancelled, "rejected", Some(&message))?;
                Ok::<_, EngineError>(())
            })
            .await?;
        self.inner.ended.notify_waiters();
        Ok(())
    }

    /// The same where the records are on an Odoo server. The run's key goes into the ledger there: a yes whose answer was
    /// lost is said again, and applies nothing a second time.
    async fn approve_there(
        &self,
        backend: &Arc<Backend>,
        run: RunDetail,
        shown: ProposalHash,
        approver: Approver,
        note: String,
        now: Timestamp,
    ) -> Result<Changed, EngineError> {
        let (id, key) = (run.summary.id, run.summary.key.clone());
        let (request, diff) = {
            let snapshot = self.database().snapshot()?;
            let proposed = proposals::waiting(&snapshot, id, Some(shown), self.inner.shared.now())?;
            let Proposed::There(request) = proposed else { return Err(elsewhere(id)) };
            self.inner.shared.check_approver(&snapshot, &run.summary, &approver)?;
            (request, proposals::of_run(&snapshot, id)?.map(|proposal| proposal.diff).unwrap_or_default())
        };
        // Would the approver be allowed to do this? Odoo does it as theirs, and takes it back.
        let theirs = self.session_there(backend, approver.env.user, now).await?;
        // Who was called otherwise when it happened is nobody here.
        if run.firing.is_by(theirs.account().user.id) {
            let text = format!("{} caused the event, and somebody else must approve run {id}", approver.name);
            return Err(Error::denied("may-not-approve", text).into());
        }
        let met = match theirs.try_request(&key, &request).await {
            Ok(()) => None,
            // How far their rights go is not known then: nothing is sent, and the run runs again.
            Err(CommitThere::Conflict(error)) => match self.settle_applied(&[id]).await?.contains(&id) {
                true => return Err(already_applied(id)),
                false => Some(error),
            },
            Err(CommitThere::Refused(error)) if error.kind == ErrorKind::AccessDenied => {
                return Err(lacks_rights(&error.to_string()));
            }
            // Odoo may refuse what it allows others, in whatever words.
            Err(CommitThere::Refused(error)) => return Err(error.into()),
            Err(CommitThere::Backend(error) | CommitThere::Unclear(error)) => return Err(unavailable(error)),
        };
        let told = beside::current();
        let applied = match met {
            Some(conflict) => Err(CommitThere::Conflict(conflict)),
            None => self.send_yes(backend, &run, (shown, &request), &approver, &note, now).await?,
        };
        let (conflict, at) = match applied {
            Ok(committed) => (None, committed.at),
            Err(CommitThere::Conflict(error)) => (Some(error), None),
            Err(CommitThere::Refused(error)) => return Err(error.into()),
            Err(CommitThere::Backend(error)) => return Err(unavailable(error)),
            Err(error @ CommitThere::Unclear(_)) => {
                return Err(Error::unavailable("outcome-unknown", error.to_string()).into());
            }
        };
        let (shared, decided) = (Arc::clone(&self.inner.shared), conflict.clone());
        let keep = move |conn: &Connection| {
            // What was applied was applied, whatever else was said meanwhile.
            if decided.is_some() {
                proposals::waiting(conn, id, Some(shown), shared.now())?;
                became(&told, MET_CONFLICT.0, MET_CONFLICT.1);
            }
            shared.decided(conn, &run.summary, &approver, decided.as_ref(), &note)?;
            if let Ok(rule) = shared.rules(conn)?.rule(&run.summary.rule) {
                let own = Own { rule, records: &run.firing.records, cause: shared.cause_of(&run.summary) };
                shared.forgive_own_updates_there(conn, &own, at, Some(&diff))?;
            }
            Ok::<_, EngineError>(())
        };
        self.committer().commit(keep).await?;
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
        conflict.map_or_else(|| Ok(Changed::default()), |conflict| Err(EngineError::Conflict(conflict)))
    }

    /// Has Odoo apply a proposal with the run's own rights. The inner error says what it did not do; whose yes it was is taken
    /// back then, but where the answer is lost.
    async fn send_yes(
        &self,
        backend: &Arc<Backend>,
        run: &RunDetail,
        (shown, request): (ProposalHash, &Json),
        approver: &Approver,
        note: &str,
        now: Timestamp,
    ) -> Result<Result<Committed, CommitThere>, EngineError> {
        let id = run.summary.id;
        let session = self.session_there(backend, run.summary.run_as, now).await?;
        // From here on nobody else decides until there is an answer. If it is lost, it is known whose yes it was.
        let (by, said, shared) = (approver.env.user, note.to_owned(), Arc::clone(&self.inner.shared));
        let longest = longest(backend.config());
        let (told, sent) = (beside::current(), beside::current());
        let send = move |conn: &Connection| {
            let now = shared.now();
            proposals::waiting(conn, id, Some(shown), now)?;
            proposals::send_yes(conn, id, by, &said, now.saturating_add(longest))?;
            became(&sent, SENT.0, SENT.1);
            Ok::<_, EngineError>(())
        };
        self.committer().commit(send).await?;
        let applied = session.commit_request(&run.summary.key, request).await;
        let failed = match &applied {
            Err(CommitThere::Refused(error)) => Some(error.code.clone()),
            Err(CommitThere::Backend(error)) => Some(unavailable(error.clone()).code().to_owned()),
            _ => None,
        };
        if let Some(code) = failed {
            let now = self.inner.shared.now();
            let take_back = move |conn: &Connection| {
                proposals::take_yes_back(conn, id, now)?;
                became(&told, NOT_APPLIED, &format!("odoo applied nothing of it: {code}"));
                Ok::<_, EngineError>(())
            };
            self.committer().commit(take_back).await?;
            self.inner.ended.notify_waiters();
        }
        Ok(applied)
    }

    /// Keeps of those of these runs that Odoo's ledger has, though nobody here knows it, that they have succeeded: the answer
    /// to a yes was lost. Which ones. Without an Odoo server, none.
    pub(super) async fn settle_applied(&self, runs: &[RunId]) -> Result<BTreeSet<RunId>, Unasked> {
        let Some(backend) = self.odoo() else { return Ok(BTreeSet::new()) };
        let unsettled = self.unsettled(runs)?;
        let keys: Vec<String> = unsettled.keys().cloned().collect();
        let mut applied: BTreeMap<String, Timestamp> = BTreeMap::new();
        for keys in keys.chunks(ASKED_AT_ONCE) {
            applied.extend(backend.applied(keys).await?);
        }
        let settled = applied.into_iter().filter_map(|(key, at)| Some((*unsettled.get(&key)?, at)));
        let settled: BTreeMap<RunId, Timestamp> = settled.collect();
        if !settled.is_empty() {
            let (shared, these) = (Arc::clone(&self.inner.shared), settled.clone());
            let settle = move |conn: &Connection| these.iter().try_for_each(|(run, at)| shared.settle(conn, *run, *at));
            // Whatever somebody wanted of these runs, this is not it.
            beside::apart(self.committer().commit(settle)).await?;
            self.inner.wake.notify_one();
            self.inner.ended.notify_waiters();
        }
        Ok(settled.into_keys().collect())
    }

    /// Those of these runs that the ledger may have though nobody here knows it, by what they are called there.
    fn unsettled(&self, runs: &[RunId]) -> Result<BTreeMap<String, RunId>, EngineError> {
        let conn = self.database().snapshot()?;
        let heads = runs.iter().map(|run| runs::head(&conn, *run)).collect::<Result<Vec<_>, _>>()?;
        Ok(heads.into_iter().filter(is_unsettled).map(|run| (run.key, run.id)).collect())
    }

    /// Keeps of changes to the records of an Odoo server that they were applied, where the answer to a yes was lost, and ends
    /// runs whose changes waited for a yes for too long.
    pub(super) async fn settle_there(&self) -> Result<(), Unasked> {
        let now = self.inner.shared.now();
        let open = {
            let conn = self.database().snapshot().map_err(EngineError::from)?;
            proposals::open(&conn, now).map_err(EngineError::from)?
        };
        if open.is_empty() {
            return Ok(());
        }
        self.settle_applied(&open).await?;
        let shared = Arc::clone(&self.inner.shared);
        let settle = move |conn: &Connection| {
            proposals::none_arrived(conn, now)?;
            shared.expire_proposals(conn, now)
        };
        self.committer().commit(settle).await?;
        self.inner.ended.notify_waiters();
        Ok(())
    }
}

/// Whether Odoo's ledger may have a run that did not succeed as far as anybody here knows.
fn is_unsettled(run: &RunSummary) -> bool {
    run.state.is_over() && run.state != RunState::Succeeded
}

/// How long a yes may be on its way, in milliseconds: it is repeated as often as it may be, and then Odoo may be at work on it
/// for as long again though nobody waits.
fn longest(config: &Config) -> i64 {
    let times = u64::from(config.retries).saturating_add(2);
    let seconds = config.apply_timeout.saturating_mul(times);
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

pub(super) fn already_applied(run: RunId) -> EngineError {
    let text = format!("an earlier yes to run {run} did reach odoo, and its answer was lost: that is what is kept now");
    Error::rejected("already-applied", text).into()
}

/// Who says yes.
struct Approver {
    env: Env,
    name: String,
}

fn lacks_rights(why: &str) -> EngineError {
    Error::denied("approver-lacks-rights", format!("who approves a change needs the rights for it: {why}")).into()
}

pub(super) fn elsewhere(run: RunId) -> EngineError {
    let text = format!(
        "what run {run} proposes is not for the records of this program: start it with the odoo server, or without"
    );
    Error::rejected("records-elsewhere", text).into()
}

impl Shared {
    /// The inner error is a conflict: what is kept then is that the run runs again.
    fn approve(
        &self,
        conn: &Connection,
        run: &RunDetail,
        shown: ProposalHash,
        approver: &Approver,
        run_as: &Env,
        note: &str,
    ) -> Result<Result<Changed, Error>, EngineError> {
        let (now, summary) = (self.now(), &run.summary);
        let Proposed::Here(changes) = proposals::waiting(conn, summary.id, Some(shown), now)? else {
            return Err(elsewhere(summary.id));
        };
        self.check_approver(conn, summary, approver)?;
        // Would the approver be allowed to do this? Done as theirs, and taken back. What the run saw is not compared: that says
        // nothing of rights, and the approver may see it otherwise.
        let unread = ChangeSet { reads: Vec::new(), others: Vec::new(), left: None, ..changes.clone() };
        conn.execute_batch("SAVEPOINT approver")?;
        let theirs = commit::commit_in(conn, &approver.env, &unread);
        conn.execute_batch("ROLLBACK TO approver; RELEASE approver")?;
        let unknown = match theirs {
            Ok(_) => None,
            Err(CommitError::Refused(error)) if error.kind == ErrorKind::AccessDenied => {
                // The backend knows users by their number.
                let why =
                    error.to_string().replace(&format!("user {} ", approver.env.user), &format!("{} ", approver.name));
                return Err(lacks_rights(&why));
            }
            Err(CommitError::Database(error)) => return Err(error.into()),
            // The same is to be expected of the change itself: what is said of that is what counts.
            Err(error) => Some(error.to_string()),
        };
        match self.apply_proposal(conn, run, run_as, &changes) {
            Ok(changed) => {
                // It came to an end for the run's user alone: how far the approver's rights go is not known.
                if let Some(why) = unknown {
                    return Err(lacks_rights(&why));
                }
                self.decided(conn, summary, approver, None, note)?;
                Ok(Ok(changed))
            }
            Err(EngineError::Conflict(error)) => {
                self.decided(conn, summary, approver, Some(&error), note)?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps that a proposal was applied; or that its records had changed, and that the run runs again.
    fn decided(
        &self,
        conn: &Connection,
        run: &RunSummary,
        approver: &Approver,
        conflict: Option<&Error>,
        note: &str,
    ) -> Result<(), EngineError> {
        let (now, by) = (self.now(), Some(approver.env.user));
        match conflict {
            None => {
                proposals::decide(conn, run.id, ProposalState::Approved, by, now, note)?;
                let message = format!("approved by {}", approver.name);
                queue::end(conn, run.id, now, RunState::Succeeded, "approved", Some(&message))?;
            }
            Some(conflict) => {
                proposals::decide(conn, run.id, ProposalState::Stale, by, now, note)?;
                queue::end(conn, run.id, now, RunState::Cancelled, "conflict", Some(&conflict.message))?;
                queue::requeue(conn, run.id, now)?;
            }
        }
        Ok(())
    }

    fn apply_proposal(
        &self,
        conn: &Connection,
        run: &RunDetail,
        run_as: &Env,
        changes: &ChangeSet,
    ) -> Result<Changed, EngineError> {
        conn.execute_batch("SAVEPOINT proposal")?;
        let committed = match commit::commit_in(conn, run_as, changes) {
            Ok(committed) => committed,
            Err(error) => {
                conn.execute_batch("ROLLBACK TO proposal; RELEASE proposal")?;
                return Err(error.into());
            }
        };
        conn.execute_batch("RELEASE proposal")?;
        let cause = self.cause_of(&run.summary);
        if let Ok(rule) = self.rules(conn)?.rule(&run.summary.rule) {
            let own = Own { rule, records: &run.firing.records, cause };
            self.forgive_own_updates(conn, &own, &committed.events)?;
        }
        let runs = self.react(conn, cause, &committed)?;
        Ok(Changed { answers: Vec::new(), committed, runs })
    }

    /// What happens now happens because of this run.
    fn cause_of(&self, run: &RunSummary) -> Cause {
        let parent = Parent { run: run.id, root: run.root, depth: run.depth };
        Cause { actor: run.actor, at: self.now(), parent: Some(parent) }
    }

    /// Keeps of a run that Odoo's ledger has it, with the last update of what it wrote.
    fn settle(&self, conn: &Connection, run: RunId, at: Timestamp) -> Result<(), EngineError> {
        let run = runs::detail(conn, run)?;
        // Somebody else may have been faster.
        if !is_unsettled(&run.summary) {
            return Ok(());
        }
        queue::end(conn, run.summary.id, self.now(), RunState::Succeeded, "applied", Some(IN_LEDGER))?;
        let index = self.rules(conn)?;
        let own = index.rule(&run.summary.rule).ok().map(|rule| Own {
            rule,
            records: &run.firing.records,
            cause: self.cause_of(&run.summary),
        });
        self.keep_applied(conn, run.summary.id, own.as_ref(), at)
    }

    /// What else is to be kept of a run that Odoo's ledger has though nobody here knew it: that its proposal, if it had one,
    /// was applied, and that what it wrote is nothing that its own rule waits for.
    pub(super) fn keep_applied(
        &self,
        conn: &Connection,
        run: RunId,
        own: Option<&Own<'_>>,
        at: Timestamp,
    ) -> Result<(), EngineError> {
        proposals::applied(conn, run, self.now())?;
        let Some(own) = own else { return Ok(()) };
        let shown = proposals::of_run(conn, run)?.filter(|proposal| proposal.state == ProposalState::Approved);
        self.forgive_own_updates_there(conn, own, Some(at), shown.as_ref().map(|shown| &shown.diff))
    }

    /// Nobody approves what they had a hand in.
    fn check_approver(&self, conn: &Connection, run: &RunSummary, approver: &Approver) -> Result<(), EngineError> {
        match self.hand_in(conn, run, approver.env.user)? {
            Some(hand) => {
                let text = format!("{} {hand}, and somebody else must approve run {}", approver.name, run.id);
                Err(Error::denied("may-not-approve", text).into())
            }
            None => Ok(()),
        }
    }

    /// What somebody had to do with a run.
    fn hand_in(&self, conn: &Connection, run: &RunSummary, user: Id) -> Result<Option<String>, EngineError> {
        let hand = |hand: &str| Ok(Some(hand.to_owned()));
        let rules = self.rules(conn)?;
        let rule = rules.rule(&run.rule).ok();
        if rule.is_some_and(|rule| rule.owner == user) {
            return hand("owns the rule");
        }
        // The rule may be gone by now, or somebody else's: what is proposed is of the version that ran.
        let sql = "SELECT 1 FROM engine_rule_version WHERE rule = ?1 AND version = ?2 AND owner = ?3";
        if conn.prepare_cached(sql)?.exists((&run.rule, run.rule_version, user))? {
            return hand("owned the rule when it ran");
        }
        let sql = "SELECT 1 FROM engine_run r, json_each(r.request, '$.also-by') b WHERE r.id = ?1 AND b.value = ?2";
        if run.actor == user || conn.prepare_cached(sql)?.exists((run.id, user))? {
            return hand("caused the event");
        }
        let sql = "SELECT 1 FROM engine_attempt a JOIN engine_script s ON s.hash = a.script \
                   WHERE a.run = ?1 AND s.uploaded_by = ?2";
        if conn.prepare_cached(sql)?.exists((run.id, user))? {
            return hand("uploaded the script");
        }
        // Which of an agent's scripts a run used as tools, and in which version, is no matter.
        for action in rule.iter().flat_map(|rule| &rule.rule.actions) {
            let Some(known) =
                action.agent.as_deref().map(|name| agents::stored::find(conn, name)).transpose()?.flatten()
            else {
                continue;
            };
            let sql = "SELECT 1 FROM engine_script WHERE name = ?1 AND uploaded_by = ?2";
            for script in &known.agent.scripts {
                if conn.prepare_cached(sql)?.exists((&script.name, user))? {
                    return hand("uploaded a script of the agent");
                }
            }
        }
        Ok(None)
    }

    /// Ends runs whose proposals waited for too long.
    pub(super) fn expire_proposals(&self, conn: &Connection, now: i64) -> Result<(), EngineError> {
        for run in proposals::expired(conn, now)? {
            proposals::decide(conn, run, ProposalState::Expired, None, now, "")?;
            let message = "nobody decided about its changes in time";
            queue::end(conn, run, now, RunState::Cancelled, "approval-expired", Some(message))?;
        }
        Ok(())
    }
}
