//! The scripts of one run, one after the other, over one session: what each does, the next one sees, and all of it is
//! committed together or not at all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use triggerbox_llm::{Outside, Unavailable};
use triggerbox_model::{
    error::Error,
    event::{Event, Outcome, PreviousRun, Trigger},
    grants::Authority,
    limits::{Breach, Limit, Limits, PerLimit},
    value::{FieldValue, Id, Snapshot},
};
use triggerbox_odoo::OdooError;
use triggerbox_sandbox::{ContentHash, Durations, Ending, Script};
use triggerbox_store::{
    db::{Database, DbError},
    env::Env,
    session::Session,
};

use crate::{
    guard::{Guard, LogSink},
    journal::{Keep, Recorder, Recording},
    parking::Parking,
    people::Person,
    plan::{self, Planning},
    records::Records,
    rule::Dispatch,
    runner::RunError,
    tools::{ScriptTool, Toolbox},
};

/// What happened, and for whom: what all scripts of a run are told.
#[derive(Debug, Clone)]
pub struct Task {
    /// The run's id.
    pub run_id: String,
    /// The rule's name; staged state is kept by it.
    pub rule: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Runs between the root event and this one.
    pub depth: u32,
    /// The scripts' random numbers come from here.
    pub seed: u32,
    /// What happened.
    pub trigger: Trigger,
    /// To records of this model,
    pub model: Option<String>,
    /// these.
    pub records: Vec<Id>,
    /// For updates: the changed fields as they were.
    pub old_values: Vec<Snapshot>,
    /// Who caused it.
    pub actor: Person,
    /// Whose rights the scripts have.
    pub run_as: Person,
    /// The user's rights do not bind them.
    pub superuser: bool,
    /// When it happened: the time that the scripts see.
    pub now: Timestamp,
    /// The run before this one, when the rule chains.
    pub previous: Option<PreviousRun>,
    /// How the rule dispatches; none: there is no rule.
    pub dispatch: Option<Dispatch>,
    /// How far the try is, where policy may want a yes for a part of it.
    pub parking: Option<Arc<Parking>>,
}

/// One script of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// The compiled component.
    pub script: Script,
    /// Checked against the manifest.
    pub parameters: Vec<FieldValue>,
    /// What script, rule and policy allow.
    pub authority: Arc<Authority>,
    /// Its limits.
    pub limits: Limits,
    /// Scripts that it may run as tools.
    pub tools: Vec<ScriptTool>,
}

/// What became of one script.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which one.
    pub script: ContentHash,
    /// How it ended.
    pub ending: Ending,
    /// It was ended because what it had read has changed since; as a conflict at the commit, only found earlier.
    pub conflict: Option<Error>,
    /// It was ended because of Odoo.
    pub fault: Option<OdooError>,
    /// Who was not available when it asked last.
    pub unavailable: Option<Unavailable>,
    /// The limits that were in force.
    pub limits: Limits,
    /// What was used of each.
    pub used: PerLimit,
    /// Where the time went.
    pub durations: Durations,
    /// The plan that it had to make first, with its verdicts.
    pub plan: Option<plan::Judged>,
    /// Refusals that it met, whether it handled them or not.
    pub refusals: Vec<Error>,
    /// What the backend itself told of its errors by then, for administrators alone.
    pub tracebacks: Vec<String>,
    /// What was kept of it; nothing, if it was not run.
    pub recording: Option<Recording>,
}

/// What became of all scripts, as far as they were run.
pub struct Played<R = Session> {
    /// What they staged.
    pub session: R,
    /// The log's sink.
    pub log: Box<dyn LogSink>,
    /// In order. The first that does not succeed is the last.
    pub steps: Vec<Done>,
    /// What they answered together, if all succeeded.
    pub outcome: Option<Outcome>,
}

impl Done {
    /// A script that was not run: how it would have been is all that is known.
    pub(crate) fn not_run(script: ContentHash, limits: Limits, why: String) -> Self {
        let durations = Durations { total: Duration::ZERO, ..Durations::default() };
        Self {
            script,
            ending: Ending::HostFault(why),
            conflict: None,
            fault: None,
            unavailable: None,
            limits,
            used: PerLimit::ZERO,
            durations,
            plan: None,
            refusals: Vec::new(),
            tracebacks: Vec::new(),
            recording: None,
        }
    }

    /// Why nothing may come of it: it had to plan first, and took the no for an answer.
    pub(crate) fn plan_refused(&self) -> Option<Error> {
        self.plan.as_ref()?.refused()
    }

    /// When what the host does for the run after its scripts (showing what would change, asking the rules before writes) is
    /// given up, if it begins now: it may take as long as the script might.
    pub(crate) fn until(&self) -> Option<Instant> {
        Instant::now().checked_add(Duration::from_millis(self.limits.get(Limit::WallTime)))
    }

    /// Has the script end by its limit on time if an error says that it was given up. Whether it did.
    pub(crate) fn given_up(&mut self, error: &DbError) -> bool {
        let Some(limit) = error.limit() else { return false };
        let breach = Breach::just_over(limit, &self.limits);
        self.used.set(limit, breach.used);
        self.ending = Ending::LimitExceeded(breach);
        true
    }
}

/// Runs the scripts. Nothing is committed.
///
/// # Errors
/// The session cannot be started.
pub async fn play(
    database: &Database,
    env: Env,
    task: &Task,
    steps: &[Step],
    keep: Keep,
    outside: Option<&Outside>,
    log: Box<dyn LogSink>,
) -> Result<Played, RunError> {
    let session = Session::new(database, env)?.for_rule(&task.rule);
    play_over(session, task, steps, keep, outside, log).await
}

/// The same over a session of any backend.
///
/// # Errors
/// The sandbox mixes up its runs.
pub(crate) async fn play_over<R: Records>(
    mut session: R,
    task: &Task,
    steps: &[Step],
    keep: Keep,
    outside: Option<&Outside>,
    mut log: Box<dyn LogSink>,
) -> Result<Played<R>, RunError> {
    let (mut done, mut outcome) = (Vec::new(), Some(Outcome::default()));
    for (index, step) in (0..).zip(steps) {
        let calls = outside.map(|outside| outside.start(&task.run_id, index, &step.limits));
        let planning = plan::is_wanted(&step.authority, &step.parameters).then(|| {
            let user = &task.run_as.user;
            let who = format!("{} ({}), user {}", user.name, user.login, user.id);
            let scripts = step.tools.iter().map(|tool| (tool.name().to_owned(), tool.asks.clone())).collect();
            let own = task.model.clone().map(|model| (model, task.records.clone()));
            Planning::new(who, task.superuser, own).with_scripts(scripts).with_tools(&step.parameters)
        });
        let event = event(task, step);
        let guard = Guard::new(session, Arc::clone(&step.authority), log)
            .with_outside(calls)
            .with_planning(planning)
            .with_parking(task.parking.clone())
            .with_tools(Toolbox::new(step.tools.clone(), event.clone()));
        let recorder = Recorder::new(guard, keep);
        let run = step.script.run(event.clone(), step.limits, Box::new(recorder)).await;
        let Some(recorder) = run.host.downcast::<Recorder<R>>() else {
            return Err(RunError::Backend("the sandbox returned another run's host".to_owned()));
        };
        let (guard, kept) = recorder.into_parts();
        let (unavailable, plan) = (guard.unavailable().cloned(), guard.judged().cloned());
        let (its_session, its_log, refusals) = guard.into_parts();
        (session, log) = (its_session, its_log);
        outcome = match &run.ending {
            Ending::Done(new) => outcome.map(|before| together(before, new)),
            _ => None,
        };
        let recording = Recording {
            script: step.script.hash().to_string(),
            engine: step.script.fingerprint().to_owned(),
            event,
            limits: run.limits,
            complete: kept.complete,
            entries: kept.entries,
            measured: kept.measured,
            ending: run.ending.clone(),
            fuel: run.used.get(Limit::Fuel),
        };
        done.push(Done {
            script: step.script.hash(),
            ending: run.ending,
            conflict: session.outdated().cloned(),
            fault: session.fault(),
            unavailable,
            limits: run.limits,
            used: run.used,
            durations: run.durations,
            plan,
            refusals,
            tracebacks: session.tracebacks(),
            recording: Some(recording),
        });
        if outcome.is_none() {
            break;
        }
    }
    Ok(Played { session, log, steps: done, outcome })
}

/// Two answers as one: what the later one says counts, where it says something.
fn together(before: Outcome, after: &Outcome) -> Outcome {
    let mut values = before.values;
    values.retain(|known| after.values.iter().all(|new| new.name != known.name));
    values.extend(after.values.iter().cloned());
    Outcome {
        message: after.message.clone().or(before.message),
        values,
        warning: after.warning.clone().or(before.warning),
        records: if after.records.is_empty() { before.records } else { after.records.clone() },
        result_json: after.result_json.clone().or(before.result_json),
    }
}

fn event(task: &Task, step: &Step) -> Event {
    let mut more = serde_json::Map::new();
    if let Some(dispatch) = task.dispatch {
        more.insert("dispatch".to_owned(), serde_json::json!(dispatch));
    }
    if !step.tools.is_empty() {
        let scripts: Vec<_> = step.tools.iter().map(|tool| tool.told(&step.authority)).collect();
        more.insert("scripts".to_owned(), scripts.into());
    }
    Event {
        run_id: task.run_id.clone(),
        rule: task.rule.clone(),
        attempt: task.attempt,
        depth: task.depth,
        seed: task.seed,
        trigger: task.trigger.clone(),
        model: task.model.clone(),
        records: task.records.clone(),
        old_values: task.old_values.clone(),
        actor: task.actor.user.clone(),
        run_as: task.run_as.user.clone(),
        superuser: task.superuser,
        company: task.run_as.company.clone(),
        now: task.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        parameters: step.parameters.clone(),
        previous: task.previous.clone(),
        extra_json: step.authority.told(more),
    }
}

#[cfg(test)]
mod tests {
    use triggerbox_model::limits::Class;

    use super::*;

    #[test]
    fn a_script_whose_changes_took_too_long_to_look_at_ended_by_its_limit() {
        let limits = Limits::resolve(Class::Async, []);
        let mut done = Done::not_run(ContentHash([0; 32]), limits, String::new());
        assert!(!done.given_up(&DbError::Busy) && matches!(done.ending, Ending::HostFault(_)));
        assert!(done.given_up(&DbError::OutOfTime));
        let Ending::LimitExceeded(breach) = &done.ending else { panic!("{:?}", done.ending) };
        assert_eq!((breach.limit, breach.used, breach.max), (Limit::WallTime, 60_001, 60_000));
        assert_eq!(done.used.get(Limit::WallTime), 60_001);
        assert!(done.until() > Some(Instant::now()));
    }
}
