//! Workers: claim what is due, run it, keep what came of it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};
use triggerbox_model::{
    error::Error,
    event::Trigger,
    limits::{Class, Limit, Limits},
    value::Id,
};
use triggerbox_sandbox::LogLevel;
use triggerbox_store::{db::Snapshot, env::Env};

use super::{
    Engine,
    before::Gate,
    finish::{Result as Tried_, Tried},
    lock,
};
use crate::{
    clock::{millis, timestamp},
    config::Journal,
    error::EngineError,
    guard::LogSink,
    index::Index,
    journal::Keep,
    matcher, people,
    play::{Played, Step, Task, play},
    queue::{self, Claim},
    rule::{Action, Environment, Mode, Rule},
    runs::LogLine,
    scripts::{asks, binding},
};

/// With nothing to wait for, the clock is looked at again after this long.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Workers that run until they are told to stop.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Workers {
    /// Takes no further runs, and waits for those that were taken.
    pub async fn drain(self) {
        self.stop.send_replace(true);
        // A panic of a worker has been told already; its run is found again.
        let _ = self.task.await;
    }
}

impl Engine {
    /// Does everything that is due now, in parallel, and waits for it. How many runs were tried.
    ///
    /// # Errors
    /// What the database says.
    pub async fn step(&self) -> Result<usize, EngineError> {
        self.tick().await?;
        let claims = self.claim(self.config().workers).await?;
        let mut tries = JoinSet::new();
        let count = claims.len();
        for claim in claims {
            let engine = self.clone();
            tries.spawn(async move { engine.attempt(claim).await });
        }
        while let Some(done) = tries.join_next().await {
            done.unwrap_or(Ok(()))?;
        }
        Ok(count)
    }

    /// Takes steps until nothing is due any more. How many runs were tried.
    ///
    /// # Errors
    /// What the database says.
    pub async fn settle(&self) -> Result<usize, EngineError> {
        let mut count = 0;
        loop {
            match self.step().await? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    /// Starts workers on the current runtime.
    #[must_use]
    pub fn start(&self) -> Workers {
        let (stop, stopped) = watch::channel(false);
        let engine = self.clone();
        Workers { stop, task: tokio::spawn(async move { engine.serve(stopped).await }) }
    }

    async fn serve(&self, mut stopped: watch::Receiver<bool>) {
        let mut tries = JoinSet::new();
        while !*stopped.borrow() {
            let free = self.config().workers.saturating_sub(tries.len());
            // What fails here is the database; it is tried again when there is something to do, or in a while.
            let _ = self.tick().await;
            let claims = if free > 0 { self.claim(free).await.unwrap_or_default() } else { Vec::new() };
            let idle = claims.is_empty();
            for claim in claims {
                let engine = self.clone();
                tries.spawn(async move { engine.attempt(claim).await });
            }
            if idle {
                let until = self.next_due();
                tokio::select! {
                    () = self.inner.wake.notified() => {}
                    _ = tries.join_next(), if !tries.is_empty() => {}
                    () = self.clock().sleep_until(until) => {}
                    _ = stopped.changed() => {}
                }
            }
            while tries.try_join_next().is_some() {}
        }
        while tries.join_next().await.is_some() {}
    }

    /// When something is due next.
    fn next_due(&self) -> jiff::Timestamp {
        let now = self.clock().now();
        let later = now.saturating_add(LOOK_AGAIN).unwrap_or(now);
        let due = self.database().snapshot().ok().and_then(|conn| queue::next_due(&conn, millis(now)).ok().flatten());
        let due = due.map_or(later, timestamp).min(later);
        self.next_tick().map_or(due, |tick| tick.min(due))
    }

    async fn claim(&self, most: usize) -> Result<Vec<Claim>, EngineError> {
        let now = self.inner.shared.now();
        if !queue::is_something_due(&*self.database().snapshot()?, now)? {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.inner.shared);
        let mut turn = lock(&self.inner.turn).clone();
        let (claims, turn) = self
            .committer()
            .commit(move |conn| {
                let index = shared.rules(conn)?;
                let claims = queue::claim(conn, &index, shared.now(), most, &mut turn)?;
                crate::failpoint::hit("lease-written");
                Ok::<_, EngineError>((claims, turn))
            })
            .await?;
        crate::failpoint::hit("after-lease");
        *lock(&self.inner.turn) = turn;
        Ok(claims)
    }

    /// One try of a run, from its claim to its end.
    async fn attempt(&self, claim: Claim) -> Result<(), EngineError> {
        let (cancel, cancelled) = oneshot::channel();
        lock(&self.inner.running).insert(claim.id, cancel);
        let tried = tokio::select! {
            tried = self.run_scripts(claim.clone()) => tried,
            // Dropping the other future ended the scripts. What is to be kept of the run, the one who cancelled it kept.
            _ = cancelled => return Ok(()),
        };
        crate::failpoint::hit("ran");
        self.finish(tried).await
    }

    async fn run_scripts(&self, claim: Claim) -> Tried {
        let started = self.clock().now();
        let log = Lines::default();
        let mut steps = Vec::new();
        let result = match self.try_scripts(&claim, &log, &mut steps).await {
            Ok(result) => result,
            Err(EngineError::Database(error)) => {
                let why = error.to_string();
                steps.push(crate::play::Done::not_run(
                    triggerbox_sandbox::ContentHash([0; 32]),
                    Limits::resolve(claim.class, []),
                    why,
                ));
                Tried_::Unsuccessful
            }
            Err(error) => Tried_::NotRun(error.into_error()),
        };
        Tried { claim, started, steps, log: log.take(), result }
    }

    async fn try_scripts(
        &self,
        claim: &Claim,
        log: &Lines,
        done: &mut Vec<crate::play::Done>,
    ) -> Result<Tried_, EngineError> {
        let rule = &claim.rule.rule;
        let now = timestamp(claim.at);
        let (records, actor, run_as, env, index) = {
            let snapshot = self.database().snapshot()?;
            let index = self.inner.shared.rules(&snapshot)?;
            let records = remaining(&snapshot, &index, claim, self.clock().now())?;
            let env = people::environment(self.database(), claim.rule.run_as, rule.superuser, now)?;
            let person = |user: Id| people::find(self.database(), &user.to_string(), now);
            (records, person(claim.actor)?, person(claim.rule.run_as)?, env, index)
        };
        drop(index);
        if records.is_empty() && !claim.firing.records.is_empty() {
            let why = "none of its records is there any more, or matches the rule".to_owned();
            return Ok(Tried_::Nothing("records-gone", why));
        }
        let steps = self.steps(rule, claim.class).await?;
        let task = Task {
            run_id: claim.key.clone(),
            rule: rule.name.clone(),
            attempt: claim.attempt,
            depth: claim.depth,
            seed: claim.seed,
            trigger: claim.firing.trigger.clone(),
            model: claim.model.clone(),
            records,
            old_values: claim.firing.old_values.clone(),
            actor,
            run_as,
            superuser: rule.superuser,
            now,
            previous: None,
        };
        let keep = match self.config().journal {
            Journal::All => Keep::All,
            Journal::Sampled(times) if self.inner.shared.random.once_in(times) => Keep::All,
            Journal::Sampled(_) | Journal::Off => Keep::Outside,
        };
        let played = play(self.database(), env.clone(), &task, &steps, keep, Box::new(log.clone())).await?;
        let Played { mut session, steps: played, outcome, .. } = played;
        done.extend(played);
        let Some(outcome) = outcome else { return Ok(Tried_::Unsuccessful) };
        session.check_outcome(&outcome)?;
        if rule.environment == Environment::Test {
            let preview = session.preview()?;
            return Ok(Tried_::Show(preview.diff, outcome));
        }
        if rule.mode != Mode::Auto {
            let preview = session.preview()?;
            return Ok(Tried_::Propose(session.finish(), preview.diff, outcome));
        }
        // Written when it is committed, whenever the event was.
        let env = Env { now: self.clock().now(), ..env };
        let mut changes = session.finish();
        if let Some(mut gate) = Gate::new(self, claim.rule.run_as, claim.depth)? {
            gate.pass_all(&mut changes).await?;
        }
        Ok(Tried_::Commit(env, changes, outcome))
    }

    /// Makes the actions of a rule ready to run.
    pub(super) async fn steps(&self, rule: &Rule, class: Class) -> Result<Vec<Step>, EngineError> {
        let mut steps = Vec::new();
        for (part, action) in (0..).zip(&rule.actions) {
            steps.push(self.prepare(rule, part, action, class).await?);
        }
        Ok(steps)
    }

    async fn prepare(&self, rule: &Rule, part: i64, action: &Action, class: Class) -> Result<Step, EngineError> {
        let hash = binding::effective(&*self.database().snapshot()?, rule, part)?;
        let script = self.inner.loader.ready(self.database(), hash).await?;
        let manifest = script.manifest().ok_or_else(|| {
            Error::rejected("no-manifest", format!("script `{}` has no manifest: it may do nothing", action.script))
        })?;
        let set: Vec<_> = action.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let parameters = manifest
            .parameter_values(&set)
            .map_err(|error| Error::invalid("bad-parameter", error.to_string()).with_field(error.name))?;
        let authority = asks::authority(self.database().schema(), rule, action, manifest, &self.config().policy);
        let agent = manifest.limits.0.get(&Limit::LlmCalls).is_some_and(|calls| *calls > 0);
        let class = if agent && class == Class::Async { Class::Agent } else { class };
        let limits = Limits::resolve(class, [&manifest.limits, &action.limits, &self.config().limits]);
        Ok(Step { parameters, authority: Arc::new(authority), limits, script })
    }
}

/// The records of a run that are still there and, if the rule wants it, still match. Deleted ones are not expected to be.
fn remaining(conn: &Snapshot, index: &Index, claim: &Claim, now: jiff::Timestamp) -> Result<Vec<Id>, EngineError> {
    let records = &claim.firing.records;
    let Some(model) = claim.model.as_ref().filter(|_| !matches!(claim.firing.trigger, Trigger::Deleted(_))) else {
        return Ok(records.clone());
    };
    let env = index.env(now);
    let mut left = Vec::new();
    for id in records {
        if !triggerbox_model::domain::eval::Records::exists(
            &triggerbox_store::query::records::Stored(conn),
            model,
            *id,
        )? {
            continue;
        }
        let matches = match &env {
            Some(env) if claim.rule.rule.judge_again => matcher::record_holds(conn, env, &claim.rule, model, *id)?,
            _ => true,
        };
        if matches {
            left.push(*id);
        }
    }
    Ok(left)
}

/// A run's log, kept line by line.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<LogLine>>>);

impl Lines {
    fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for Lines {
    fn line(&mut self, level: LogLevel, message: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(LogLine { level, message: message.to_owned() });
    }
}
