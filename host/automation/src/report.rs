//! What came of a run, with all its attempts.

use serde::Serialize;
use triggerbox_model::{
    changes::Diff,
    error::Error,
    event::{Failure, Outcome},
    limits::{Breach, Limits, PerLimit},
};
use triggerbox_odoo::OdooError;
use triggerbox_sandbox::{Durations, Trap};

use crate::{plan::Judged, play::Done};

/// One run from event to commit.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run's id.
    pub run_id: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Tries, the last one included. More than one only after conflicts.
    pub attempts: u32,
    /// What changed, or would change. Empty unless the script succeeded.
    pub diff: Diff,
    /// The limits in force.
    pub limits: Limits,
    /// What the last attempt used.
    pub used: PerLimit,
    /// Where the last attempt's time went, in nanoseconds as JSON.
    pub durations: Durations,
    /// The plan that it had to make first, with its verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Judged>,
    /// Refusals that the script met, whether it handled them or not.
    pub refusals: Vec<Error>,
    /// What the backend itself told of its errors. For administrators alone: nobody else is shown it, and no script.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracebacks: Vec<String>,
}

impl Report {
    /// The report of a run of one script, in its last attempt.
    pub(crate) fn of(run_id: &str, attempts: u32, done: Done, verdict: Verdict, diff: Diff) -> Self {
        let Done { limits, used, durations, plan, refusals, tracebacks, .. } = done;
        let run_id = run_id.to_owned();
        Self { run_id, verdict, attempts, diff, limits, used, durations, plan, refusals, tracebacks }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "kebab-case")]
pub enum Verdict {
    /// The script succeeded and what it staged is committed. Nobody needs to act.
    Applied(Outcome),
    /// The script succeeded, and nothing is committed because that was asked for.
    DryRun(Outcome),
    /// The script succeeded, and its changes wait for somebody's yes, or are kept as advice.
    Proposed(Outcome),
    /// The script succeeded, but another one of the same rule did not: nothing is committed.
    Dropped(Outcome),
    /// The script says that it did not succeed. The text says who must act.
    Failed(Failure),
    /// A limit stopped it. Script author, or whoever sets the limit.
    LimitExceeded(Breach),
    /// The script broke. Its author.
    Trapped(Trap),
    /// The script succeeded, but the backend refused what it staged, or the host the plan that it had to make first. Script
    /// author, whoever keeps the data, or whoever configures the rule.
    Rejected(Error),
    /// Others kept changing the same records; the last conflict. Nobody: try again.
    Conflict(Error),
    /// The backend failed. The operator.
    Backend(String),
    /// The Odoo server is away. Nobody: the run waits for it.
    Away(String),
    /// The Odoo server does not take the key of the run's user, or does not have or allow what applies changes. The operator.
    Unusable(String),
    /// The script failed after a model or another service was not available. Nobody: it is tried again.
    Unavailable(Error),
    /// A request that changes something elsewhere may have arrived or not. A person must look.
    OutcomeUnknown(String),
}

impl Verdict {
    /// The codes of what is no success.
    pub const FAILURES: [&'static str; 10] = [
        "failed",
        "limit-exceeded",
        "trapped",
        "rejected",
        "conflict",
        "backend",
        "odoo-away",
        "odoo-unusable",
        "unavailable",
        "outcome-unknown",
    ];

    /// What it comes to that Odoo did not do what a run needs.
    pub(crate) fn of_odoo(fault: &OdooError) -> Self {
        let why = fault.to_string();
        match fault {
            away if away.is_away() => Self::Away(why),
            unusable if unusable.needs_a_person() => Self::Unusable(why),
            _ => Self::Backend(why),
        }
    }

    /// The stable code, `limit-exceeded`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::DryRun(_) => "dry-run",
            Self::Proposed(_) => "proposed",
            Self::Dropped(_) => "dropped",
            Self::Failed(_) => "failed",
            Self::LimitExceeded(_) => "limit-exceeded",
            Self::Trapped(_) => "trapped",
            Self::Rejected(_) => "rejected",
            Self::Conflict(_) => "conflict",
            Self::Backend(_) => "backend",
            Self::Away(_) => "odoo-away",
            Self::Unusable(_) => "odoo-unusable",
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome-unknown",
        }
    }

    /// How it ended in one sentence, if there is something to say.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Applied(outcome) | Self::DryRun(outcome) | Self::Proposed(outcome) | Self::Dropped(outcome) => {
                outcome.message.clone()
            }
            Self::Failed(failure) => Some(failure.message().to_owned()),
            Self::LimitExceeded(breach) => Some(breach.to_string()),
            Self::Trapped(trap) => Some(trap.cause.clone()),
            Self::Rejected(error) | Self::Conflict(error) | Self::Unavailable(error) => Some(error.message.clone()),
            Self::Backend(why) | Self::Away(why) | Self::Unusable(why) | Self::OutcomeUnknown(why) => Some(why.clone()),
        }
    }

    /// Whether the script did what it wanted.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Applied(_) | Self::DryRun(_) | Self::Proposed(_))
    }
}
