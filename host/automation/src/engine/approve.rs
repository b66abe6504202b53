//! Saying yes or no to what a run wants to change.

use std::sync::Arc;

use rusqlite::Connection;
use triggerbox_model::{
    changes::ChangeSet,
    error::{Error, ErrorKind},
    value::Id,
};
use triggerbox_store::{
    commit::{self, CommitError},
    env::Env,
};

use super::{Changed, Engine, Shared};
use crate::{
    dispatch::{Cause, Parent},
    error::EngineError,
    people,
    proposals::{self, Proposal, ProposalHash, ProposalState},
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
        let run_as = people::environment(self.database(), summary.run_as, summary.superuser, now)?;
        let decided = self
            .committer()
            .commit(move |conn| {
                shared.approve(conn, &summary, shown, &Approver { env: &approver, name: &name }, &run_as, &note)
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
}

/// Who says yes.
struct Approver<'a> {
    env: &'a Env,
    name: &'a str,
}

impl Shared {
    /// The inner error is a conflict: what is kept then is that the run runs again.
    fn approve(
        &self,
        conn: &Connection,
        run: &RunSummary,
        shown: ProposalHash,
        approver: &Approver<'_>,
        run_as: &Env,
        note: &str,
    ) -> Result<Result<Changed, Error>, EngineError> {
        let now = self.now();
        let changes = proposals::waiting(conn, run.id, Some(shown), now)?;
        self.check_approver(conn, run, approver)?;
        // Would the approver be allowed to do this? Done as theirs, and taken back.
        conn.execute_batch("SAVEPOINT approver")?;
        let theirs = commit::commit_in(conn, approver.env, &changes);
        conn.execute_batch("ROLLBACK TO approver; RELEASE approver")?;
        match theirs {
            Err(CommitError::Refused(error)) if error.kind == ErrorKind::AccessDenied => {
                // The backend knows users by their number.
                let why =
                    error.to_string().replace(&format!("user {} ", approver.env.user), &format!("{} ", approver.name));
                let text = format!("who approves a change needs the rights for it: {why}");
                return Err(Error::denied("approver-lacks-rights", text).into());
            }
            Err(CommitError::Database(error)) => return Err(error.into()),
            _ => {}
        }
        match self.apply_proposal(conn, run, run_as, &changes) {
            Ok(changed) => {
                proposals::decide(conn, run.id, ProposalState::Approved, Some(approver.env.user), now, note)?;
                let message = format!("approved by {}", approver.name);
                queue::end(conn, run.id, now, RunState::Succeeded, "approved", Some(&message))?;
                Ok(Ok(changed))
            }
            Err(EngineError::Conflict(error)) => {
                proposals::decide(conn, run.id, ProposalState::Stale, Some(approver.env.user), now, note)?;
                queue::end(conn, run.id, now, RunState::Cancelled, "conflict", Some(&error.message))?;
                queue::requeue(conn, run.id, now)?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
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
    fn check_approver(&self, conn: &Connection, run: &RunSummary, approver: &Approver<'_>) -> Result<(), EngineError> {
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
