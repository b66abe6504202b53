//! One try of a run: its records, its scripts, and what they came to.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::sync::{oneshot, watch};
use triggerbox_llm::{Outside, Seat, Session, Spender, Spent, ledger};
use triggerbox_model::{
    changes::ChangeSet,
    domain::eval::Records,
    error::Error,
    event::Trigger,
    grants::Policy,
    limits::{Class, Limit, Limits},
    value::Id,
};
use triggerbox_odoo::OdooError;
use triggerbox_sandbox::{ContentHash, LogLevel};
use triggerbox_store::{db::Snapshot, env::Env, query::records::Stored, session::Session as View};

use super::{
    Engine, Running,
    before::{self, Found, Gate},
    finish::{Ended, Tried},
    lock,
};
use crate::{
    agents::{self, Agent},
    clock::timestamp,
    config::Journal,
    error::EngineError,
    guard::LogSink,
    index::Index,
    journal::Keep,
    matcher,
    outside::RunLedger,
    parking::{self, Parking},
    people,
    play::{Done, Played, Step, Task, play},
    policy,
    proposals::{self, Proposed},
    queue::{self, Claim},
    remote::Concluded,
    report::Verdict,
    rule::{Action, Caps, Dispatch, Environment, Mode, Rule, ScriptRef},
    runs::{LogLine, RunId},
    scripts::{asks, binding, registry},
    seats::Taken,
    threads::{chain, session},
    tools::ScriptTool,
};

impl Engine {
    /// One try of a run, from its claim to its end.
    pub(super) async fn attempt(&self, claim: Claim, seat: Arc<Taken>) -> Result<(), EngineError> {
        let (cancel, cancelled) = oneshot::channel();
        let log = Lines::heard(&self.inner.spoken);
        let begun = self.clock().now();
        let running = Running { cancel, log: log.clone(), begun, sends: false, is_stopped: false };
        let _at_work = AtWork::begin(self, (claim.id, claim.fence), running);
        // Whoever cancelled it before that found nobody to tell.
        let held = self
            .database()
            .snapshot()
            .map_err(EngineError::from)
            .and_then(|conn| Ok(queue::is_held(&conn, claim.id, claim.fence)?));
        if !matches!(held, Ok(true)) {
            return held.map(|_| ());
        }
        let (started, spent) = (self.clock().now(), Spent::default());
        let tried = tokio::select! {
            tried = self.run_scripts(claim.clone(), &seat, log, &spent) => tried,
            // Dropping the other future ended the scripts. What is to be kept of the run, the one who cancelled it kept.
            Ok(()) = cancelled => {
                let observed = self.observed(&claim, started, &[], spent.total());
                return observed.map_or(Ok(()), |attempt| self.tell(attempt));
            }
        };
        crate::failpoint::hit("ran");
        self.finish(tried).await?;
        // Where Odoo does not answer now, it is asked again with the next look at what is due there.
        let _ = self.mirror_there().await;
        Ok(())
    }

    async fn run_scripts(&self, claim: Claim, seat: &Arc<Taken>, log: Lines, spent: &Spent) -> Tried {
        let started = self.clock().now();
        let mut steps = Vec::new();
        let ended = match self.try_scripts(&claim, &log, Some(seat), &mut steps, spent).await {
            Ok(result) => result,
            // What the engine itself asks is answered at once, if anybody is there. Of scripts that did not run nothing is kept:
            // in a day that would be hundreds of tries.
            Err(EngineError::Backend(error)) if error.is_away() || matches!(error, OdooError::Timeout { .. }) => {
                Ended::Elsewhere(Concluded::without_effect(Verdict::Away(error.to_string())))
            }
            // What its scripts staged took too long to look at.
            Err(EngineError::Database(error)) if steps.last_mut().is_some_and(|step| step.given_up(&error)) => {
                Ended::Unsuccessful
            }
            // Nobody here is to blame: it is tried again.
            Err(error @ (EngineError::Backend(_) | EngineError::Database(_))) => {
                let not_run = Done::not_run(ContentHash([0; 32]), Limits::resolve(claim.class, []), error.to_string());
                let fault = match error {
                    EngineError::Backend(fault) => Some(fault),
                    _ => None,
                };
                steps.push(Done { fault, ..not_run });
                Ended::Unsuccessful
            }
            Err(error) => Ended::NotRun(error.into_error()),
        };
        Tried { claim, started, steps, spent: spent.total(), log: log.take(), ended }
    }

    pub(super) async fn try_scripts(
        &self,
        claim: &Claim,
        log: &Lines,
        seat: Option<&Arc<Taken>>,
        done: &mut Vec<Done>,
        spent: &Spent,
    ) -> Result<Ended, EngineError> {
        if let Some(backend) = self.odoo() {
            return self.try_remote(backend, claim, log, seat, done, spent).await;
        }
        let rule = &claim.rule.rule;
        let now = timestamp(claim.at);
        let (mut records, actor, run_as, env, policy) = {
            let snapshot = self.database().snapshot()?;
            // The run keeps it to its end, whatever is set meanwhile.
            let policy = policy::in_force(&snapshot, self.config())?;
            let index = self.inner.shared.rules(&snapshot)?;
            let records = remaining(&snapshot, &index, claim, self.clock().now())?;
            let env = people::environment_in(&snapshot, claim.rule.run_as, rule.superuser, now)?;
            let run_as = people::by_id(&snapshot, &env, claim.rule.run_as)?;
            let actor = match claim.actor == claim.rule.run_as {
                true => run_as.clone(),
                false => people::by_id(&snapshot, &env, claim.actor)?,
            };
            (records, actor, run_as, env, policy)
        };
        if records.is_empty() && !claim.firing.records.is_empty() {
            let why = "none of its records is there any more, or matches the rule".to_owned();
            return Ok(Ended::Nothing("records-gone", why));
        }
        if let Some(source) = rule.source.as_ref().filter(|_| records.is_empty()) {
            records = match self.source(claim, source, &env, &actor, &run_as, log).await? {
                Ok(records) => records,
                Err(problem) => return Ok(Ended::Nothing("no-records", problem)),
            };
            if rule.dispatch == Dispatch::PerRecord {
                return Ok(Ended::Spread(records));
            }
            self.keep_found(claim, &records).await?;
        }
        let steps = self.steps(rule, claim.class, &policy).await;
        let session = self.begin_session(claim, &records, &steps).await?;
        let steps = steps?;
        let outside = self.outside(claim, &records, session, seat, spent);
        let parking = self.parking(claim, &policy)?;
        let task = Task { parking, ..self.task(claim, records, (actor, run_as), now)? };
        let log = Box::new(log.clone());
        let played = play(self.database(), env.clone(), &task, &steps, self.keep(), outside.as_ref(), log).await?;
        // One that was ended while it waited has none.
        if let Some(seat) = seat {
            seat.take().await;
        }
        let Played { mut session, steps: played, outcome, .. } = played;
        done.extend(played);
        let Some(outcome) = outcome else { return Ok(Ended::Unsuccessful) };
        if let Some(refused) = plan_refused(done) {
            return Ok(Ended::NotRun(refused));
        }
        session.check_outcome(&outcome)?;
        let last = done.last();
        let until = || last.and_then(Done::until);
        let found = self.pass_gate(claim, &mut session, until).await?;
        if rule.environment == Environment::Test {
            let preview = session.in_time(until(), View::preview)?;
            return Ok(Ended::Show(preview.diff, outcome));
        }
        let wants_yes = proposals::wants_yes(&policy, rule, &session.changes(), session.deletes());
        if rule.mode != Mode::Auto || wants_yes {
            let preview = session.in_time(until(), View::preview)?;
            if preview.events.is_empty() {
                // No record would change: there is nothing to say yes to.
                let env = Env { now: self.clock().now(), ..env };
                return Ok(Ended::Commit(env, proposals::without_records(rule, session.finish()), outcome));
            }
            self.has_sent_nothing(claim)?;
            let overwritten = session.overwritten();
            let mut changes = with_found(session, found);
            changes.see(overwritten);
            return Ok(Ended::Propose(Proposed::Here(changes), preview.diff, outcome));
        }
        // Written when it is committed, whenever the event was.
        let env = Env { now: self.clock().now(), ..env };
        let changes = with_found(session, found);
        Ok(Ended::Commit(env, changes, outcome))
    }

    /// Whether the answers to the next run's host calls are kept.
    pub(super) fn keep(&self) -> Keep {
        match self.config().journal {
            Journal::All => Keep::All,
            Journal::Sampled(times) if self.inner.shared.random.once_in(times) => Keep::All,
            Journal::Sampled(_) | Journal::Off => Keep::Outside,
        }
    }

    /// Has the rules before writes look at what a run staged, and stages what they add. What they read for it. `until`: when what
    /// begins now is given up. How long those rules take is not the run's doing.
    async fn pass_gate(
        &self,
        claim: &Claim,
        session: &mut View,
        until: impl Fn() -> Option<Instant>,
    ) -> Result<Found, EngineError> {
        let Some(mut gate) = Gate::new(self, claim.rule.run_as, Some(claim.depth))? else {
            return Ok(Found::default());
        };
        let behind = session.in_time(until(), View::behind)?;
        let mut added = gate.pass_all(&session.changes()).await?;
        added.extend(gate.pass_behind(behind).await?);
        session.in_time(until(), |session| before::stage(session, added))?;
        Ok(gate.found)
    }

    /// What a run's scripts are given: what it was fired with, on these records, for this actor with that user's rights.
    pub(super) fn task(
        &self,
        claim: &Claim,
        records: Vec<Id>,
        (actor, run_as): (people::Person, people::Person),
        now: jiff::Timestamp,
    ) -> Result<Task, EngineError> {
        let previous = match records.as_slice() {
            [record] if claim.rule.rule.chain => chain::previous(&*self.database().snapshot()?, claim, *record)?,
            _ => None,
        };
        Ok(Task {
            run_id: claim.key.clone(),
            rule: claim.rule.rule.name.clone(),
            attempt: claim.attempt,
            depth: claim.depth,
            seed: claim.seed,
            trigger: claim.firing.trigger.clone(),
            model: claim.model.clone(),
            records,
            old_values: claim.firing.old_values.clone(),
            actor,
            run_as,
            superuser: claim.rule.rule.superuser,
            now,
            previous,
            dispatch: Some(claim.rule.rule.dispatch),
            parking: None,
        })
    }

    /// What the session of a run that may ask a language model may use. An agent's thread begins here, so that one that cannot
    /// start has one, too, and so does a run of a chained rule, which is counted; any other's begins when it asks.
    pub(super) async fn begin_session(
        &self,
        claim: &Claim,
        records: &[Id],
        steps: &Result<Vec<Step>, EngineError>,
    ) -> Result<Option<Session>, EngineError> {
        let rule = &claim.rule.rule;
        let asks = |steps: &Vec<Step>| steps.iter().any(|step| step.limits.get(Limit::LlmCalls) > 0);
        let is_agent = agents::is_agent_rule(rule);
        if !is_agent && !steps.as_ref().is_ok_and(asks) {
            return Ok(None);
        }
        let now = self.inner.shared.now();
        let place = match is_agent || rule.chain {
            true => {
                let (its_claim, records) = (claim.clone(), records.to_vec());
                self.committer().commit(move |conn| session::begin(conn, &its_claim, &records, now)).await?
            }
            false => session::place(&*self.database().snapshot()?, claim, now)?,
        };
        let agents = agents::caps(&*self.database().snapshot()?, rule)?;
        Ok(Some(place.within(&Caps::effective(rule.caps, agents, self.config().caps), &rule.name, now)?))
    }

    /// What a run may ask of the outside, with who pays for it.
    pub(super) fn outside(
        &self,
        claim: &Claim,
        records: &[Id],
        session: Option<Session>,
        seat: Option<&Arc<Taken>>,
        spent: &Spent,
    ) -> Option<Outside> {
        let rule = &claim.rule.rule;
        Some(Outside {
            services: self.services()?,
            ledger: Arc::new(RunLedger::new(self, claim, records)),
            spender: Spender {
                rule: rule.name.clone(),
                root: (claim.root != 0).then(|| claim.root.to_string()),
                session,
                model: None,
                spent: spent.clone(),
            },
            only_reads: rule.mode != Mode::Auto || rule.environment == Environment::Test,
            seat: seat.map(|seat| Arc::clone(seat) as Arc<dyn Seat>),
        })
    }

    /// What keeps the try of a run from sending what cannot be taken back and waiting for a yes at once; none: nothing of it may
    /// have to wait, or nothing is sent whatever it does.
    pub(super) fn parking(&self, claim: &Claim, policy: &Policy) -> Result<Option<Arc<Parking>>, EngineError> {
        let rule = &claim.rule.rule;
        if rule.mode != Mode::Auto || rule.environment == Environment::Test {
            return Ok(None);
        }
        let sent = claim.attempt > 1 && ledger::wrote(&*self.database().snapshot()?, &claim.key)?;
        Ok(Parking::new(policy, agents::is_agent_rule(rule), sent).map(Arc::new))
    }

    /// Refuses to have a run wait for a yes that has sent something: what came behind its changes wants the yes, which nobody could
    /// know before.
    pub(super) fn has_sent_nothing(&self, claim: &Claim) -> Result<(), EngineError> {
        match claim.rule.rule.mode == Mode::Auto && ledger::wrote(&*self.database().snapshot()?, &claim.key)? {
            true => Err(parking::sent_already("what follows from its changes").into()),
            false => Ok(()),
        }
    }

    /// Makes the actions of a rule ready to run.
    pub(super) async fn steps(&self, rule: &Rule, class: Class, policy: &Policy) -> Result<Vec<Step>, EngineError> {
        let mut steps = Vec::new();
        for (part, action) in (0..).zip(&rule.actions) {
            steps.push(self.prepare(rule, (part, action), class, policy).await?);
        }
        Ok(steps)
    }

    /// Makes the script of a rule's record source ready to run. It asks for nothing but what its manifest says.
    pub(super) async fn source_step(&self, rule: &Rule, script: &ScriptRef) -> Result<Step, EngineError> {
        let action = Action {
            script: script.clone(),
            agent: None,
            parameters: indexmap::IndexMap::new(),
            grants: None,
            http: Vec::new(),
            limits: triggerbox_model::limits::LimitRequest::default(),
        };
        self.prepare(rule, (binding::SOURCE, &action), Class::Batch, &self.policy()?).await
    }

    async fn prepare(
        &self,
        rule: &Rule,
        (part, action): (i64, &Action),
        class: Class,
        policy: &Policy,
    ) -> Result<Step, EngineError> {
        let (agent, hash) = {
            let snapshot = self.database().snapshot()?;
            (agents::picked(&snapshot, &rule.name, action)?, binding::effective(&snapshot, rule, part)?)
        };
        let dressed = agent.as_ref().map(|agent| agent.dress(action));
        let action = dressed.as_ref().unwrap_or(action);
        let script = self.inner.loader.ready(self.database(), hash).await?;
        let manifest = script.manifest().ok_or_else(|| {
            Error::rejected("no-manifest", format!("script `{}` has no manifest: it may do nothing", action.script))
        })?;
        let set: Vec<_> = action.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let parameters = manifest
            .parameter_values(&set)
            .map_err(|error| Error::invalid("bad-parameter", error.to_string()).with_field(error.name))?;
        let mut authority = asks::authority(self.database().schema(), rule, action, manifest, policy);
        let tools = match &agent {
            Some(agent) => self.script_tools(agent, action).await?,
            None => Vec::new(),
        };
        authority.agent = agent.and_then(|agent| agents::sources(agent, action, &authority.script));
        let limits = Limits::resolve(class, [&manifest.limits, &action.limits, &self.config().limits]);
        Ok(Step { parameters, authority: Arc::new(authority), limits, script, tools })
    }

    /// Makes the scripts ready that an agent may run as tools.
    async fn script_tools(&self, agent: &Agent, action: &Action) -> Result<Vec<ScriptTool>, EngineError> {
        let mut tools = Vec::new();
        for wanted in agent.scripts_for(action) {
            let version = registry::resolve(&*self.database().snapshot()?, wanted)?;
            let script = self.inner.loader.ready(self.database(), version.hash).await?;
            tools.push(ScriptTool::new(script, agents::only_reads(action))?);
        }
        Ok(tools)
    }
}

/// A run is at work here for as long as this is there: its lease is prolonged, it can be told to stop, and what it logs is shown.
/// However its try ends, if what it came to is not kept, it is found again when its lease is over.
struct AtWork<'e> {
    engine: &'e Engine,
    claim: (RunId, i64),
}

impl<'e> AtWork<'e> {
    fn begin(engine: &'e Engine, claim: (RunId, i64), running: Running) -> Self {
        lock(&engine.inner.running).insert(claim, running);
        Self { engine, claim }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        lock(&self.engine.inner.running).remove(&self.claim);
    }
}

/// Why a run came to nothing whose script had to plan first, and took the no for an answer.
pub(super) fn plan_refused(done: &[Done]) -> Option<Error> {
    done.iter().find_map(Done::plan_refused)
}

/// What a session staged, with what was found when rules looked at it.
fn with_found(session: View, found: Found) -> ChangeSet {
    let mut changes = session.finish();
    found.note_in(&mut changes);
    changes
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
        if !Stored(conn).exists(model, *id)? {
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
pub(super) struct Lines {
    all: Arc<Mutex<Vec<LogLine>>>,
    /// Who is told of each line.
    heard: Option<watch::Sender<()>>,
}

impl Lines {
    /// One of which each line is told.
    fn heard(by: &watch::Sender<()>) -> Self {
        Self { heard: Some(by.clone()), ..Self::default() }
    }

    pub(super) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *lock(&self.all))
    }

    /// How many there are, and the newest of them.
    pub(super) fn newest(&self, most: usize) -> (usize, Vec<LogLine>) {
        let all = lock(&self.all);
        (all.len(), all.get(all.len().saturating_sub(most)..).unwrap_or_default().to_vec())
    }
}

impl LogSink for Lines {
    fn line(&mut self, level: LogLevel, message: &str) {
        lock(&self.all).push(LogLine { level, message: message.to_owned() });
        if let Some(heard) = &self.heard {
            heard.send_replace(());
        }
    }
}
