//! One run on an Odoo server: the script in its sandbox here, then its changes in one request there. A conflict starts it
//! again, as everywhere.

pub mod home;
mod watch;

use std::sync::Arc;

use jiff::Timestamp;
use triggerbox_model::{changes::Diff, error::Error, event::Outcome};
use triggerbox_odoo::{Backend, CommitError, Session, trial::Look};
use triggerbox_sandbox::Ending;

pub(crate) use self::watch::{refusals, watchable};
pub use self::watch::{watch, watches};
use crate::{
    guard::LogSink,
    journal::{Keep, Recording},
    people::Person,
    play::play_over,
    report::{Report, Verdict},
    runner::{self, MAX_ATTEMPTS, Request, RunError},
};

/// A user of the server who has a key in its configuration.
///
/// # Errors
/// There is no such key, or Odoo does not take it.
pub async fn person(backend: &Backend, login: &str) -> Result<Person, RunError> {
    let account = backend.account(login).await.map_err(cannot)?;
    Ok(Person { user: account.user.clone(), company: account.company.clone() })
}

/// Runs a script once on records of an Odoo server, with the rights of the user whose key it uses.
///
/// # Errors
/// [`RunError`]
pub async fn run(backend: &Arc<Backend>, request: &Request, mut log: Box<dyn LogSink>) -> Result<Report, RunError> {
    check(backend, request).await?;
    let run_id = format!("{:032x}", rand::random::<u128>());
    let mut attempt = 1;
    loop {
        let (report, sink) = once(backend, request, &run_id, attempt, log).await?;
        if !matches!(report.verdict, Verdict::Conflict(_)) || attempt == MAX_ATTEMPTS {
            return Ok(report);
        }
        log = sink;
        attempt += 1;
    }
}

/// Runs a script once as a test of it: Odoo applies its changes, tells what they come to, and undoes them. `run` is what
/// the test is called there.
///
/// # Errors
/// [`RunError`]
pub async fn trial(
    backend: &Arc<Backend>,
    request: &Request,
    run: &str,
    look: &Look,
    log: Box<dyn LogSink>,
) -> Result<(Report, Option<Recording>), RunError> {
    check(backend, request).await?;
    let session = session(backend, request).await?;
    let (task, step) = (runner::task(request, "trial", 1), runner::step(request));
    let outside = request.outside.as_ref();
    let mut played = play_over(session, &task, std::slice::from_ref(&step), Keep::All, outside, log).await?;
    if played.steps.is_empty() {
        return Err(RunError::Backend("the run has no script".to_owned()));
    }
    let mut done = played.steps.swap_remove(0);
    let (verdict, diff) = match &done.ending {
        Ending::Done(outcome) if done.plan_refused().is_none() => match played.session.check_outcome(outcome) {
            Err(error) => (Verdict::Rejected(error), Diff::default()),
            Ok(()) => match played.session.trial(run, look).await {
                Ok((committed, diff)) => {
                    (Verdict::Applied(played.session.with_names(outcome.clone(), &committed)), diff)
                }
                Err(error) => (refused(error, run), Diff::default()),
            },
        },
        _ => (runner::without_effect(&done), Diff::default()),
    };
    done.tracebacks = played.session.tracebacks();
    let recording = done.recording.take();
    Ok((Report::of("trial", 1, done, verdict, diff), recording))
}

/// The request names a model and records that there are, for this user.
async fn check(backend: &Arc<Backend>, request: &Request) -> Result<(), RunError> {
    if request.superuser {
        let message =
            "on an odoo server scripts run with the rights of the user whose key they use; leave `--superuser` out";
        return Err(RunError::Invalid(Error::invalid("superuser", message)));
    }
    let Some(model) = &request.model else {
        return match request.records.is_empty() {
            true => Ok(()),
            false => Err(RunError::Invalid(Error::invalid("no-model", "records need a model: name it"))),
        };
    };
    let mut session = session(backend, request).await?;
    match session.missing(model, &request.records).await.map_err(cannot)?.map_err(RunError::Invalid)? {
        None => Ok(()),
        Some(id) => {
            let message = format!("there is no {model}({id}) for `{}`", request.run_as.user.login);
            Err(RunError::Invalid(Error::not_found("missing-record", message)))
        }
    }
}

async fn session(backend: &Arc<Backend>, request: &Request) -> Result<Session, RunError> {
    let account = backend.account(&request.run_as.user.login).await.map_err(cannot)?;
    Ok(Session::new(Arc::clone(backend), account, request.now).for_rule(&request.rule))
}

async fn once(
    backend: &Arc<Backend>,
    request: &Request,
    run_id: &str,
    attempt: u32,
    log: Box<dyn LogSink>,
) -> Result<(Report, Box<dyn LogSink>), RunError> {
    let session = session(backend, request).await?;
    let (task, step) = (runner::task(request, run_id, attempt), runner::step(request));
    let outside = request.outside.as_ref();
    let played = play_over(session, &task, std::slice::from_ref(&step), Keep::Outside, outside, log).await?;
    let Some(mut done) = played.steps.into_iter().next() else {
        return Err(RunError::Backend("the run has no script".to_owned()));
    };
    let mut session = played.session;
    let Concluded { verdict, diff, .. } = match &done.ending {
        Ending::Done(outcome) if done.plan_refused().is_none() => {
            conclude(&mut session, run_id, request.dry_run, outcome.clone()).await
        }
        _ => Concluded::without_effect(runner::without_effect(&done)),
    };
    done.tracebacks = session.tracebacks();
    Ok((Report::of(run_id, attempt, done, verdict, diff), played.log))
}

/// What came of what a run's scripts staged.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub(crate) verdict: Verdict,
    pub(crate) diff: Diff,
    /// The last update of what was written, to the second.
    pub(crate) at: Option<Timestamp>,
}

impl Concluded {
    pub(crate) fn without_effect(verdict: Verdict) -> Self {
        Self { verdict, diff: Diff::default(), at: None }
    }
}

/// The script succeeded: applies what it staged, or shows what that would be.
pub(crate) async fn conclude(session: &mut Session, run_id: &str, dry_run: bool, outcome: Outcome) -> Concluded {
    if let Err(error) = session.check_outcome(&outcome) {
        return Concluded::without_effect(Verdict::Rejected(error));
    }
    if dry_run {
        return match session.preview().await {
            Ok(Ok(diff)) => {
                let outcome = session.with_names(outcome, &triggerbox_odoo::Committed::default());
                Concluded { verdict: Verdict::DryRun(outcome), diff, at: None }
            }
            Ok(Err(error)) => Concluded::without_effect(Verdict::Rejected(error)),
            Err(fault) => Concluded::without_effect(Verdict::of_odoo(&fault)),
        };
    }
    match session.commit(run_id).await {
        Ok(committed) => {
            let diff = session.diff(&committed);
            Concluded { verdict: Verdict::Applied(session.with_names(outcome, &committed)), diff, at: committed.at }
        }
        Err(error) => Concluded::without_effect(refused(error, run_id)),
    }
}

fn refused(error: CommitError, run_id: &str) -> Verdict {
    match error {
        CommitError::Conflict(error) => Verdict::Conflict(error),
        CommitError::Refused(error) => Verdict::Rejected(error),
        CommitError::Backend(fault) => Verdict::of_odoo(&fault),
        CommitError::Unclear(_) => {
            Verdict::OutcomeUnknown(format!("{error}; odoo's ledger lists the run as `run {run_id}` if they were"))
        }
    }
}

fn cannot(error: triggerbox_odoo::OdooError) -> RunError {
    use triggerbox_odoo::OdooError;
    match error {
        OdooError::Refused(refusal) => RunError::Invalid(refusal.error),
        error => RunError::Backend(error.to_string()),
    }
}
