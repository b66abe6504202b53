//! Telling somebody what became of each try, and what of the engine's own work failed: for the log, metrics and alerts. Nothing
//! that must happen hangs on it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use triggerbox_llm::{Spent, budget::Amount};
use triggerbox_model::limits::{Limits, PerLimit};

use super::Engine;
use crate::{
    error::EngineError,
    play::Done,
    queue::Claim,
    runs::{RunId, RunState},
};

/// One try of a run that is over.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The run.
    pub run: RunId,
    /// Its rule.
    pub rule: String,
    /// Where the run stands now; queued: it is tried again.
    pub state: RunState,
    /// How the try ended, in one stable word.
    pub code: String,
    /// From the event to the start of the try.
    pub waited: Duration,
    /// From start to end.
    pub took: Duration,
    /// For each script: what it might use, and what it used.
    pub usage: Vec<(Limits, PerLimit)>,
    /// What it spent on language models, with the worst case of a call that was ended in the middle; answers of earlier tries
    /// are given again for nothing.
    pub spent: Amount,
}

/// Who is told.
pub type Observer = Box<dyn Fn(&Attempt) + Send + Sync>;

/// Who is told what dry runs of a rule spent on language models.
pub type Bookkeeper = Box<dyn Fn(&str, Amount) + Send + Sync>;

/// Something of the engine's own work failed. It is tried again, for the file is as it was.
#[derive(Debug)]
pub struct Fault<'a> {
    /// What.
    pub work: Work,
    /// The run that it was about.
    pub run: Option<RunId>,
    /// Why.
    pub error: &'a EngineError,
}

/// A part of the engine's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// Firing what is due.
    Clock,
    /// Giving runs to workers.
    Queue,
    /// A try of a run, and keeping what it came to.
    Run,
    /// Keeping what happened on an Odoo server.
    Events,
}

impl Work {
    /// The stable name, `clock`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Events => "events",
        }
    }
}

/// Who is told what of the engine's own work failed.
pub type Overseer = Box<dyn Fn(&Fault<'_>) + Send + Sync>;

/// Tells what a dry run spent when it is over, or when nobody waits for it any more.
pub(super) struct Paid<'a> {
    pub(super) engine: &'a Engine,
    pub(super) rule: &'a str,
    pub(super) spent: Spent,
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        if let Some(bookkeeper) = self.engine.inner.bookkeeper.get() {
            bookkeeper(self.rule, self.spent.total());
        }
    }
}

impl Engine {
    /// Has an observer told of each try from now on. There is one at most; returns whether it is this one.
    pub fn observe(&self, observer: Observer) -> bool {
        self.inner.observer.set(observer).is_ok()
    }

    /// Has somebody told from now on what dry runs spend. There is one at most; returns whether it is this one.
    pub fn observe_dry_runs(&self, bookkeeper: Bookkeeper) -> bool {
        self.inner.bookkeeper.set(bookkeeper).is_ok()
    }

    /// Has somebody told from now on what of the engine's own work failed. There is one at most; returns whether it is this one.
    pub fn observe_faults(&self, overseer: Overseer) -> bool {
        self.inner.overseer.set(overseer).is_ok()
    }

    /// Tells that something failed, if it did.
    pub(super) fn oversee<T>(
        &self,
        work: Work,
        run: Option<RunId>,
        done: Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        if let (Err(error), Some(overseer)) = (&done, self.inner.overseer.get()) {
            overseer(&Fault { work, run, error });
        }
        done
    }

    /// What will be told of a try, but for its end; nothing, if nobody listens.
    pub(super) fn observed(&self, claim: &Claim, started: Timestamp, steps: &[Done], spent: Amount) -> Option<Attempt> {
        self.inner.observer.get()?;
        let since = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
        Some(Attempt {
            run: claim.id,
            rule: claim.rule.rule.name.clone(),
            state: RunState::Running,
            code: String::new(),
            waited: since(crate::clock::timestamp(claim.at), started),
            took: since(started, self.clock().now()),
            usage: steps.iter().map(|step| (step.limits, step.used)).collect(),
            spent,
        })
    }

    /// Tells it.
    pub(super) fn tell(&self, attempt: Attempt) -> Result<(), EngineError> {
        let Some(observer) = self.inner.observer.get() else { return Ok(()) };
        let found: Option<(String, Option<String>)> = self
            .database()
            .snapshot()?
            .prepare_cached("SELECT state, code FROM engine_run WHERE id = ?1")?
            .query_row([attempt.run], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((state, code)) = found {
            let state = RunState::from_name(&state).unwrap_or(RunState::Failed);
            observer(&Attempt { state, code: code.unwrap_or_default(), ..attempt });
        }
        Ok(())
    }
}
