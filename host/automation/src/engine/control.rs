//! What people do to runs and rules: cancel, retry, pause, stop.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;
use triggerbox_model::{error::Error, value::Id};

use super::{Engine, approve::already_applied, lock};
use crate::{
    clock::timestamp,
    error::EngineError,
    proposals, queue,
    rule::stored,
    runs::{self, LogLine, RunDetail, RunId, RunState},
};

impl Engine {
    /// Stops a run that waits, runs, or wants a yes. Nothing of it is applied.
    ///
    /// # Errors
    /// `unknown-run`, `run-is-over`; `changes-on-their-way`: Odoo is asked to apply them; `already-applied`: an earlier yes did
    /// reach Odoo; `yes-on-its-way`: one may yet; where a yes is wanted, Odoo cannot be asked whether one arrived.
    pub async fn cancel(&self, run: RunId, by: Id) -> Result<(), EngineError> {
        let now = self.inner.shared.now();
        let state = runs::head(&*self.database().snapshot()?, run)?.state;
        if state == RunState::WaitingApproval && self.settle_applied(&[run]).await?.contains(&run) {
            return Err(already_applied(run));
        }
        self.keep_from_sending(run)?;
        let cancel = move |conn: &Connection| {
            proposals::none_on_its_way(conn, run, now)?;
            queue::cancel(conn, run, now, &format!("cancelled by user {by}"))?;
            Ok::<_, EngineError>(proposals::withdraw(conn, run, Some(by), now)?)
        };
        self.committer().commit(cancel).await?;
        for (_, running) in lock(&self.inner.running).extract_if(|(id, _), _| *id == run) {
            // A run that ended just now no longer listens.
            let _ = running.cancel.send(());
        }
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
        Ok(())
    }

    /// Has the tries of a run that are at work here send nothing to Odoo any more. One that is not stopped after all is tried again.
    fn keep_from_sending(&self, run: RunId) -> Result<(), EngineError> {
        let mut running = lock(&self.inner.running);
        if running.iter().any(|((id, _), going)| *id == run && going.sends) {
            let text = format!(
                "odoo is asked to apply the changes of run {run}, and its answer decides; look again in a while"
            );
            return Err(Error::rejected("changes-on-their-way", text).into());
        }
        let of_run = running.iter_mut().filter(|((id, _), _)| *id == run);
        of_run.for_each(|(_, going)| going.is_stopped = true);
        Ok(())
    }

    /// What a run that runs here logged so far: how many lines, and the newest of them, so many at most, as they came. It is kept
    /// when the try ends.
    #[must_use]
    pub fn logged_so_far(&self, run: RunId, most: usize) -> (usize, Vec<LogLine>) {
        let running = lock(&self.inner.running);
        let newest = running.iter().filter(|((id, _), _)| *id == run).max_by_key(|((_, fence), _)| *fence);
        newest.map(|(_, running)| running.log.newest(most)).unwrap_or_default()
    }

    /// Runs that are at work here, each with when its try began.
    #[must_use]
    pub fn at_work(&self) -> HashMap<RunId, Timestamp> {
        lock(&self.inner.running).iter().map(|((run, _), running)| (*run, running.begun)).collect()
    }

    /// Tells of each line that some run here logs: for whoever shows what they log while they run.
    #[must_use]
    pub fn lines(&self) -> watch::Receiver<()> {
        self.inner.spoken.subscribe()
    }

    /// Tries a run again that ended without effect: failed, dead, cancelled, skipped. Where its records are on an Odoo server,
    /// that is asked first whether it has the run, once it is the run's turn: while it is away, the run waits for it.
    ///
    /// # Errors
    /// `unknown-run`, `run-not-retriable`
    pub async fn retry(&self, run: RunId) -> Result<(), EngineError> {
        let now = self.inner.shared.now();
        self.committer().commit(move |conn| queue::requeue(conn, run, now)).await?;
        self.inner.wake.notify_one();
        Ok(())
    }

    /// Tries all runs of a rule again that ended in a state without effect, as [`Engine::retry`] does; those that were queued.
    ///
    /// # Errors
    /// `unknown-rule`, `run-not-retriable`
    pub async fn requeue(&self, rule: &str, state: RunState) -> Result<Vec<RunId>, EngineError> {
        let (shared, rule) = (Arc::clone(&self.inner.shared), rule.to_owned());
        let runs = self
            .committer()
            .commit(move |conn| {
                shared.rules(conn)?.rule(&rule).map_err(EngineError::from)?;
                let mut queued = Vec::new();
                for run in ended_in(conn, &rule, state)? {
                    match queue::requeue(conn, run, shared.now()) {
                        Ok(()) => queued.push(run),
                        // It is over, and keeps the others from nothing.
                        Err(EngineError::Refused(error)) if error.code == "damaged-run" => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok::<_, EngineError>(queued)
            })
            .await?;
        self.inner.wake.notify_one();
        Ok(runs)
    }

    /// Has a rule not fire until it is resumed. Its runs wait.
    ///
    /// # Errors
    /// `unknown-rule`
    pub async fn pause(&self, rule: &str, why: &str) -> Result<(), EngineError> {
        self.set_paused(rule, Some(why)).await
    }

    /// Ends a pause, whoever made it.
    ///
    /// # Errors
    /// `unknown-rule`
    pub async fn resume(&self, rule: &str) -> Result<(), EngineError> {
        self.set_paused(rule, None).await?;
        self.inner.wake.notify_one();
        Ok(())
    }

    /// Has no run start, of any rule or of those of one model, until [`Engine::go`]. Rules still fire; their runs wait.
    ///
    /// # Errors
    /// What the database says.
    pub async fn stop(&self, model: Option<&str>, by: Id, reason: &str) -> Result<(), EngineError> {
        let (model, reason, now) = (model.unwrap_or_default().to_owned(), reason.to_owned(), self.inner.shared.now());
        self.committer()
            .commit(move |conn| {
                let sql = "INSERT INTO engine_stop (model, by, at, reason) VALUES (?1, ?2, ?3, ?4) \
                           ON CONFLICT (model) DO UPDATE SET by = ?2, at = ?3, reason = ?4";
                conn.execute(sql, (model, by, now, reason))?;
                Ok(())
            })
            .await
    }

    /// Ends a stop.
    ///
    /// # Errors
    /// What the database says.
    pub async fn go(&self, model: Option<&str>) -> Result<(), EngineError> {
        let model = model.unwrap_or_default().to_owned();
        self.committer()
            .commit(move |conn| {
                conn.execute("DELETE FROM engine_stop WHERE model = ?1", [model])?;
                Ok::<_, EngineError>(())
            })
            .await?;
        self.inner.wake.notify_one();
        Ok(())
    }

    /// What is stopped.
    ///
    /// # Errors
    /// What the database says.
    pub fn stops(&self) -> Result<Vec<Stop>, EngineError> {
        stops(&*self.database().snapshot()?)
    }

    /// Waits until a run is over, or wants a yes.
    ///
    /// # Errors
    /// `unknown-run`; what the database says.
    pub async fn wait(&self, run: RunId) -> Result<RunDetail, EngineError> {
        loop {
            let ended = self.inner.ended.notified();
            tokio::pin!(ended);
            // From here on no end is missed.
            ended.as_mut().enable();
            let detail = self.run(run)?;
            if detail.summary.state.is_over() {
                return Ok(detail);
            }
            ended.await;
        }
    }

    /// Has whoever waits look again, after rules were edited: with one that is deleted its runs end that had not begun.
    pub fn rules_changed(&self) {
        self.inner.wake.notify_one();
        self.inner.ended.notify_waiters();
    }

    async fn set_paused(&self, rule: &str, why: Option<&str>) -> Result<(), EngineError> {
        let (shared, rule, why) = (Arc::clone(&self.inner.shared), rule.to_owned(), why.map(str::to_owned));
        self.committer()
            .commit(move |conn: &Connection| {
                shared.rules(conn)?.rule(&rule).map_err(EngineError::from)?;
                Ok::<_, EngineError>(stored::pause(conn, &rule, why.as_deref(), timestamp(shared.now()))?)
            })
            .await
    }
}

/// The runs of a rule that are in a state, the oldest first.
fn ended_in(conn: &Connection, rule: &str, state: RunState) -> Result<Vec<RunId>, EngineError> {
    let sql = "SELECT id FROM engine_run WHERE rule = ?1 AND state = ?2 ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let runs = statement.query_map((rule, state.name()), |row| row.get(0))?;
    Ok(runs.collect::<Result<_, _>>()?)
}

/// What is stopped, all rules first.
///
/// # Errors
/// What the database says.
pub fn stops(conn: &Connection) -> Result<Vec<Stop>, EngineError> {
    let mut statement = conn.prepare_cached("SELECT model, by, at, reason FROM engine_stop ORDER BY model")?;
    let rows = statement.query_map([], |row| {
        let model: String = row.get(0)?;
        let model = Some(model).filter(|model| !model.is_empty());
        Ok(Stop { model, by: row.get(1)?, at: timestamp(row.get(2)?), reason: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Something that is stopped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stop {
    /// The model whose rules are stopped; none: all rules.
    pub model: Option<String>,
    /// Who stopped it.
    pub by: Id,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}
