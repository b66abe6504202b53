//! One run: the script in its sandbox, then its changes in one transaction. A conflict starts it again.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use triggerbox_llm::Outside;
use triggerbox_model::{
    changes::Diff,
    error::Error,
    event::{Failure, Outcome, PreviousRun, Trigger},
    grants::Authority,
    limits::Limits,
    value::{FieldValue, Id, Snapshot},
};
use triggerbox_sandbox::{Ending, Script};
use triggerbox_store::{
    commit::{self, CommitError},
    db::{Database, DbError},
    env::Env,
    mention::Mentions,
    session::Session,
};

use crate::{
    guard::LogSink,
    journal::{Keep, Recording},
    people::{self, Person},
    play::{Done, Step, Task, play},
    report::{Report, Verdict},
};

/// How often a run is tried when others change the same records meanwhile.
pub const MAX_ATTEMPTS: u32 = 5;

/// What to run, for what, as whom, within what.
pub struct Request {
    /// The compiled component.
    pub script: Script,
    /// The rule's name; staged state is kept by it.
    pub rule: String,
    /// What happened.
    pub trigger: Trigger,
    /// To records of this model,
    pub model: Option<String>,
    /// these.
    pub records: Vec<Id>,
    /// For updates: the changed fields as they were.
    pub old_values: Vec<Snapshot>,
    /// Checked against the manifest.
    pub parameters: Vec<FieldValue>,
    /// Who caused it.
    pub actor: Person,
    /// Whose rights the script has.
    pub run_as: Person,
    /// The user's rights do not bind it.
    pub superuser: bool,
    /// What script, rule and policy allow.
    pub authority: Arc<Authority>,
    /// The limits of each attempt.
    pub limits: Limits,
    /// When it happened: the time that the script sees.
    pub now: Timestamp,
    /// The run before this one, as a chained rule tells its runs of it.
    pub previous: Option<PreviousRun>,
    /// The script's random numbers come from here.
    pub seed: u32,
    /// Show what would change, and change nothing.
    pub dry_run: bool,
    /// Language models and other services; none: there are none.
    pub outside: Option<Outside>,
}

/// A run that could not even start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The request is wrong: unknown model, record, user. Whoever made it.
    #[error("{0}")]
    Invalid(Error),
    /// The backend cannot be used. The operator.
    #[error("{0}")]
    Backend(String),
}

impl From<DbError> for RunError {
    fn from(error: DbError) -> Self {
        Self::Backend(error.to_string())
    }
}

/// Runs a script once. Whatever the script does is in the report; only a request that makes no sense is an error.
///
/// `log` is handed from attempt to attempt and sees the lines as they come.
///
/// # Errors
/// [`RunError`]
pub async fn run(database: &Database, request: &Request, mut log: Box<dyn LogSink>) -> Result<Report, RunError> {
    check(database, request)?;
    let run_id = format!("{:016x}", rand::random::<u64>());
    let mut attempt = 1;
    loop {
        let (report, _, sink) = once(database, request, &run_id, attempt, Keep::Outside, log).await?;
        if !matches!(report.verdict, Verdict::Conflict(_)) || attempt == MAX_ATTEMPTS {
            return Ok(report);
        }
        log = sink;
        attempt += 1;
    }
}

/// Runs a script once, for those who want to know each host call that it made: no second try after a conflict, and a run
/// id that tells nothing, so that the same request does the same again.
///
/// # Errors
/// [`RunError`]
pub async fn trial(
    database: &Database,
    request: &Request,
    log: Box<dyn LogSink>,
) -> Result<(Report, Option<Recording>), RunError> {
    check(database, request)?;
    let (report, recording, _) = once(database, request, "trial", 1, Keep::All, log).await?;
    Ok((report, recording))
}

/// A request that names a model names one that there is, and records that there are.
fn check(database: &Database, request: &Request) -> Result<(), RunError> {
    let Some(model) = &request.model else {
        return match request.records.is_empty() {
            true => Ok(()),
            false => Err(RunError::Invalid(Error::invalid("no-model", "records need a model: name it"))),
        };
    };
    database.schema().model(model).map_err(RunError::Invalid)?;
    Ok(())
}

async fn once(
    database: &Database,
    request: &Request,
    run_id: &str,
    attempt: u32,
    keep: Keep,
    log: Box<dyn LogSink>,
) -> Result<(Report, Option<Recording>, Box<dyn LogSink>), RunError> {
    let env = people::environment(database, request.run_as.user.id, request.superuser, request.now)?;
    let (task, step) = (task(request, run_id, attempt), step(request));
    let outside = request.outside.as_ref();
    let played = play(database, env.clone(), &task, std::slice::from_ref(&step), keep, outside, log).await?;
    let Some(mut done) = played.steps.into_iter().next() else {
        return Err(RunError::Backend("the run has no script".to_owned()));
    };

    let mut diff = Diff::default();
    let verdict = match &done.ending {
        Ending::Done(outcome) if done.plan_refused().is_none() => {
            let outcome = outcome.clone();
            let shown_by = request.dry_run.then(|| done.until());
            match conclude(database, &env, played.session, shown_by, outcome) {
                Ok((verdict, changed)) => {
                    diff = changed;
                    verdict
                }
                Err(CommitError::Database(error)) if done.given_up(&error) => unsuccessful_step(&done),
                Err(error) => refused(error),
            }
        }
        _ => without_effect(&done),
    };
    let recording = done.recording.take();
    Ok((Report::of(run_id, attempt, done, verdict, diff), recording, played.log))
}

pub(crate) fn task(request: &Request, run_id: &str, attempt: u32) -> Task {
    Task {
        run_id: run_id.to_owned(),
        rule: request.rule.clone(),
        attempt,
        depth: 0,
        seed: request.seed,
        trigger: request.trigger.clone(),
        model: request.model.clone(),
        records: request.records.clone(),
        old_values: request.old_values.clone(),
        actor: request.actor.clone(),
        run_as: request.run_as.clone(),
        superuser: request.superuser,
        now: request.now,
        previous: request.previous.clone(),
        dispatch: None,
        parking: None,
    }
}

pub(crate) fn step(request: &Request) -> Step {
    Step {
        script: request.script.clone(),
        parameters: request.parameters.clone(),
        authority: Arc::clone(&request.authority),
        limits: request.limits,
        tools: Vec::new(),
    }
}

/// What an ending without success comes to.
pub(crate) fn unsuccessful(ending: Ending) -> Verdict {
    match ending {
        // Only what is committed is a success; see there.
        Ending::Done(outcome) => Verdict::Dropped(outcome),
        Ending::Failed(failure) => Verdict::Failed(failure),
        Ending::LimitExceeded(breach) => Verdict::LimitExceeded(breach),
        Ending::Trapped(trap) => Verdict::Trapped(trap),
        Ending::HostFault(fault) => Verdict::Backend(fault),
        Ending::OutcomeUnknown(what) => Verdict::OutcomeUnknown(what),
    }
}

/// What a script comes to of which nothing is applied: it did not succeed, or it took the no to its plan for an answer.
pub(crate) fn without_effect(done: &Done) -> Verdict {
    match (&done.ending, done.plan_refused()) {
        (Ending::Done(_), Some(refused)) => Verdict::Rejected(refused),
        _ => unsuccessful_step(done),
    }
}

/// As [`unsuccessful`], with what only the host knows: that the run was ended for a conflict or because of Odoo, or that it
/// failed when somebody whom it had asked was not available.
pub(crate) fn unsuccessful_step(done: &Done) -> Verdict {
    if let Some(conflict) = &done.conflict {
        return Verdict::Conflict(conflict.clone());
    }
    if let Some(fault) = &done.fault {
        return Verdict::of_odoo(fault);
    }
    let said = match (&done.ending, &done.unavailable) {
        (Ending::Failed(Failure::Failed(said)), Some(unavailable)) => Some((said, &unavailable.error)),
        (Ending::Trapped(trap), Some(unavailable)) => Some((&trap.cause, &unavailable.error)),
        _ => None,
    };
    let Some((said, error)) = said else { return unsuccessful(done.ending.clone()) };
    let message = match said.contains(&error.message) {
        true => said.clone(),
        false => format!("{}; the script then: {said}", error.message),
    };
    Verdict::Unavailable(Error { message, ..error.clone() })
}

/// The script succeeded: applies what it staged, or shows what that would be, by when.
fn conclude(
    database: &Database,
    env: &Env,
    mut session: Session,
    shown_by: Option<Option<Instant>>,
    outcome: Outcome,
) -> Result<(Verdict, Diff), CommitError> {
    session.check_outcome(&outcome)?;
    if let Some(until) = shown_by {
        let preview = session.in_time(until, Session::preview)?;
        return Ok((Verdict::DryRun(with_names(outcome, &preview.mentions)), preview.diff));
    }
    // The session's snapshot ends here: what others committed since then is seen under the lock.
    let changes = session.finish();
    let committed = commit::commit(database, env, &changes)?;
    Ok((Verdict::Applied(with_names(outcome, &committed.mentions)), committed.diff))
}

/// An outcome with names in place of mention tokens.
pub(crate) fn with_names(outcome: Outcome, mentions: &Mentions) -> Outcome {
    Outcome {
        message: outcome.message.map(|text| mentions.in_text(&text)),
        warning: outcome.warning.map(|text| mentions.in_text(&text)),
        result_json: outcome.result_json.map(|json| mentions.in_json(&json)),
        ..outcome
    }
}

pub(crate) fn refused(error: CommitError) -> Verdict {
    match error {
        conflict @ CommitError::Conflict { .. } => Verdict::Conflict(crate::error::conflict_error(&conflict)),
        CommitError::Database(DbError::Outdated { why }) => {
            Verdict::Conflict(Error::new(triggerbox_model::error::ErrorKind::Conflict, "conflict", why))
        }
        CommitError::Refused(error) => Verdict::Rejected(error),
        CommitError::Database(error) => Verdict::Backend(error.to_string()),
    }
}
