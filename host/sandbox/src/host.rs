//! The side of a run that answers: what the sandbox asks its caller for.

use std::any::Any;

use serde::{Deserialize, Serialize};
use triggerbox_model::{
    allowance::Allowance,
    call::{Call, Reply},
    limits::{Breach, Limit, Meter},
};

/// Answers one run's host calls. It is handed to `Script::run` and comes back in
/// [`Run::host`](crate::Run::host), so that what it staged can be committed or dropped.
///
/// Calls come one at a time, already metered: a call over a limit never arrives here. What only the answer shows (records
/// and bytes that are read) is metered when it is there: it may end as soon as it is more than `may` says. A host that
/// computes for long without waiting ends that itself when the time is over ([`HostFault::Over`]). The future of a call is
/// dropped where it waits when the run's time is over; a host must hold nothing across an `await` that a drop
/// would leave half done.
#[async_trait::async_trait]
pub trait Host: Any + Send {
    /// Answers a call, which may still use so much. An `Ok(Err(…))` is an error that the script sees and may handle.
    ///
    /// # Errors
    /// [`HostFault`] when the host cannot or must not go on; ends the run.
    async fn call(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault>;

    /// Called after a call to the outside (a language model, another service) was answered, before the script goes on: a
    /// host that lets others work meanwhile waits here for its turn. That counts as wall time, not as time of the call.
    async fn go_on(&mut self) {}

    /// Takes what the run has used so far, ahead of a call that runs another script within the run's limits.
    fn lend(&mut self, meter: Meter) {
        let _ = meter;
    }

    /// Takes a line of the run's log: what the script logged or printed, within the limits on logging.
    fn log(&mut self, level: LogLevel, message: &str);

    /// Takes what is left of a limit on time, and returns what the script is told: no two machines measure the same, so a
    /// replay answers what was measured then.
    fn measured(&mut self, limit: Limit, left: u64) -> u64 {
        let _ = limit;
        left
    }
}

impl dyn Host {
    /// The concrete host again, for the caller who handed it in and knows its type.
    #[must_use]
    pub fn downcast<H: Host>(self: Box<Self>) -> Option<Box<H>> {
        let any: Box<dyn Any> = self;
        any.downcast().ok()
    }
}

/// Why the host ends a run in the middle of a call. Not shown to the script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// It cannot go on: the backend is gone, its disk is full. What happened, on what, what to do; for the operator.
    #[error("{0}")]
    Broken(String),
    /// The host was in the middle of a call when one of the run's limits was reached. Whoever sets the limit.
    #[error("limit exceeded: {0}")]
    Over(Limit),
    /// A budget that only the host keeps is spent. Whoever sets the budget.
    #[error("{0}")]
    Limit(Breach),
    /// A request that changes something elsewhere may have arrived, and nobody can tell. A person must look.
    #[error("{0}")]
    OutcomeUnknown(String),
}

impl HostFault {
    /// The host is broken, with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For whoever writes the script; also what it prints to stdout.
    Debug,
    /// Worth keeping.
    Info,
    /// Something is odd; also what the script prints to stderr.
    Warning,
    /// Something is wrong.
    Error,
}

impl LogLevel {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warning, Self::Error];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
