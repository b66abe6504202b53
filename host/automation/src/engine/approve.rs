//! Saying yes or no to what a run wants to change.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::{
    changes::ChangeSet,
    error::{Error, ErrorKind},
    value::Id,
};
use triggerbox_odoo::{Backend, CommitError as CommitThere};
use triggerbox_store::{
    commit::{self, CommitError},
    env::Env,
};

use super::{Changed, Engine, Shared, odoo::unavailable};
use crate::{
    dispatch::{Cause, Parent},
    error::EngineError,
    people,
    proposals::{self, Proposal, ProposalHash, ProposalState, Proposed},
    queue,
    runs::{RunId, RunState, RunSummary},
};

impl Engine {
    /// Proposals, newest first: those in a state, or all.
    ///
    /// # Errors
    /// What the database says.
    pub fn proposals(&self, state: Option<ProposalState>, limit: u32) -> Result<Vec<Proposal>, EngineError> {
        proposals::list(&*self.database().snapshot()?, state, limit)
    }

    /// What a run wants to change, or wanted.
    ///
    /// # Errors
    /// What the database says.
    pub fn proposal(&self, run: RunId) -> Result<Option<Proposal>, EngineError> {
        proposals::of_run(&*self.database().snapshot()?, run)
    }

    /// Applies a proposal, exactly as it was shown. If its records changed since, nothing is applied and the run runs
    /// again, for a new proposal.
    ///
    /// # Errors
    /// `unknown-proposal`, `already-decided`, `approval-expired`, `another-proposal`; `may-not-approve` for the rule's
    /// owner, who caused the event and who uploaded a script of it; `access-denied` when the approver may not do what
    /// the change does; a conflict; what the data refuses.
    pub async fn approve(&self, run: RunId, shown: ProposalHash, by: Id, note: &str) -> Result<Changed, EngineError> {
        let (shared, note) = (Arc::clone(&self.inner.shared), note.to_owned());
        let now = self.clock().now();
        // Who left the house decides nothing more in it.
        let name = people::find(self.database(), &by.to_string(), now)?.user.name;
        let approver = people::environment(self.database(), by, false, now)?;
        let summary = self.run(run)?.summary;
        if let Some(backend) = self.odoo() {
            return self.approve_there(backend, summary, shown, Approver { env: approver, name }, note, now).await;
        }
        let run_as = people::environment(self.database(), summary.run_as, summary.superuser, now)?;
        let decided = self
            .committer()
            .commit(move |conn| {
                shared.approve(conn, &summary, shown, &Approver { env: approver, name }, &run_as, &note)
            })
            .await?;
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
    /// As [`Engine::approve`], as far as it applies.
    pub async fn reject(&self, run: RunId, by: Id, note: &str) -> Result<(), EngineError> {
        let (now, note) = (self.inner.shared.now(), note.to_owned());
        let found = people::find(self.database(), &by.to_string(), self.clock().now());
        let name = found.map_or_else(|_| format!("user {by}"), |person| person.user.name);
        if let Some(backend) = self.odoo()
            && backend.has_applied(&self.run(run)?.summary.key).await.map_err(unavailable)?
        {
            let text = format!("an earlier yes to run {run} did reach odoo; say yes again, and that is what is kept");
            return Err(Error::rejected("already-applied", text).into());
        }
        self.committer()
            .commit(move |conn| {
                proposals::waiting(conn, run, None, now)?;
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
        run: RunSummary,
        shown: ProposalHash,
        approver: Approver,
        note: String,
        now: Timestamp,
    ) -> Result<Changed, EngineError> {
        let request = {
            let snapshot = self.database().snapshot()?;
            let proposed = proposals::waiting(&snapshot, run.id, Some(shown), self.inner.shared.now())?;
            let Proposed::There(request) = proposed else { return Err(elsewhere(run.id)) };
            self.inner.shared.check_approver(&snapshot, &run, &approver)?;
            request
        };
        // Would the approver be allowed to do this? Odoo does it as theirs, and takes it back.
        let theirs = self.session_there(backend, approver.env.user, now).await?;
        match theirs.try_request(&run.key, &request).await {
            Err(CommitThere::Refused(error)) if error.kind == ErrorKind::AccessDenied => {
                return Err(lacks_rights(&error.to_string()));
            }
            Err(CommitThere::Backend(error) | CommitThere::Unclear(error)) => return Err(unavailable(error)),
            _ => {}
        }
        let session = self.session_there(backend, run.run_as, now).await?;
        let applied = session.commit_request(&run.key, &request).await;
        let conflict = match applied {
            Ok(_) => None,
            Err(CommitThere::Conflict(error)) => Some(error),
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
                proposals::waiting(conn, run.id, Some(shown), shared.now())?;
            }
            shared.decided(conn, &run, &approver, decided.as_ref(), &note)
        };
        self.committer().commit(keep).await?;
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
        conflict.map_or_else(|| Ok(Changed::default()), |conflict| Err(EngineError::Conflict(conflict)))
    }
}

/// Who says yes.
struct Approver {
    env: Env,
    name: String,
}

fn lacks_rights(why: &str) -> EngineError {
    Error::denied("approver-lacks-rights", format!("who approves a change needs the rights for it: {why}")).into()
}

fn elsewhere(run: RunId) -> EngineError {
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
        run: &RunSummary,
        shown: ProposalHash,
        approver: &Approver,
        run_as: &Env,
        note: &str,
    ) -> Result<Result<Changed, Error>, EngineError> {
        let now = self.now();
        let Proposed::Here(changes) = proposals::waiting(conn, run.id, Some(shown), now)? else {
            return Err(elsewhere(run.id));
        };
        self.check_approver(conn, run, approver)?;
        // Would the approver be allowed to do this? Done as theirs, and taken back.
        conn.execute_batch("SAVEPOINT approver")?;
        let theirs = commit::commit_in(conn, &approver.env, &changes);
        conn.execute_batch("ROLLBACK TO approver; RELEASE approver")?;
        match theirs {
            Err(CommitError::Refused(error)) if error.kind == ErrorKind::AccessDenied => {
                // The backend knows users by their number.
                let why =
                    error.to_string().replace(&format!("user {} ", approver.env.user), &format!("{} ", approver.name));
                return Err(lacks_rights(&why));
            }
            Err(CommitError::Database(error)) => return Err(error.into()),
            _ => {}
        }
        match self.apply_proposal(conn, run, run_as, &changes) {
            Ok(changed) => {
                self.decided(conn, run, approver, None, note)?;
                Ok(Ok(changed))
            }
            Err(EngineError::Conflict(error)) => {
                self.decided(conn, run, approver, Some(&error), note)?;
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
        run: &RunSummary,
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
        let parent = Parent { run: run.id, root: run.root, depth: run.depth };
        let cause = Cause { actor: run.actor, at: self.now(), parent: Some(parent) };
        let runs = self.react(conn, cause, &committed.events)?;
        Ok(Changed { answers: Vec::new(), committed, runs })
    }

    /// Nobody approves what they had a hand in.
    fn check_approver(&self, conn: &Connection, run: &RunSummary, approver: &Approver) -> Result<(), EngineError> {
        let refuse = |hand: &str| {
            let text = format!("{} {hand}, and somebody else must approve run {}", approver.name, run.id);
            Err(Error::denied("may-not-approve", text).into())
        };
        if self.rules(conn)?.rule(&run.rule).is_ok_and(|rule| rule.owner == approver.env.user) {
            return refuse("owns the rule");
        }
        if run.actor == approver.env.user {
            return refuse("caused the event");
        }
        let sql = "SELECT 1 FROM engine_attempt a JOIN engine_script s ON s.hash = a.script \
                   WHERE a.run = ?1 AND s.uploaded_by = ?2";
        if conn.prepare_cached(sql)?.exists((run.id, approver.env.user))? {
            return refuse("uploaded the script");
        }
        Ok(())
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
