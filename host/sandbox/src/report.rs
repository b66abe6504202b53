//! What a run came to: how it ended, what it used, where its time went.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triggerbox_model::{
    event::{Failure, Outcome},
    limits::{Breach, Limits, PerLimit, Writes},
};

use crate::host::Host;

/// One run that is over. Nothing is committed yet: that is the caller's to do, and only after
/// [`Ending::Done`].
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// The limits that were in force.
    pub limits: Limits,
    /// What was used of each limit; memory, stack and times as their highest mark.
    pub used: PerLimit,
    /// How often each record was written.
    pub writes: Writes,
    /// Where the time went.
    pub durations: Durations,
    /// The host that was handed in, with what it staged.
    pub host: Box<dyn Host>,
}

/// How a run ended. Only `Done` may be committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ending", content = "detail", rename_all = "kebab-case")]
pub enum Ending {
    /// The script returned an outcome.
    Done(Outcome),
    /// The script said that it did not succeed.
    Failed(Failure),
    /// A limit stopped it.
    LimitExceeded(Breach),
    /// The script broke: panic, trap, uncaught exception, `exit`.
    Trapped(Trap),
    /// The host could not go on; what it said.
    HostFault(String),
    /// A request that changes something elsewhere may have arrived or not; what is known of it.
    OutcomeUnknown(String),
}

/// A script that broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// What happened in one line: `the script panicked`, `integer divide by zero`, `exited with status 3`.
    pub cause: String,
    /// The last of what the script printed to stderr: panic text, traceback.
    pub stderr: Option<String>,
    /// Where it was, innermost first.
    pub frames: Vec<Frame>,
}

/// One function on the stack of a script that broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function's name, demangled; `<unknown>` without a name section.
    pub function: String,
    /// Source file, if the component has debug information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Where a run's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// Making store and instance, start functions included.
    pub instantiate: Duration,
    /// Computing in the script.
    pub guest: Duration,
    /// In host calls, waiting included.
    pub host: Duration,
    /// From start to end, virtual waiting excluded.
    pub total: Duration,
}

impl std::fmt::Display for Trap {
    /// Cause, stderr and frames as text for a terminal or a run record.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)?;
        if let Some(stderr) = &self.stderr {
            write!(f, "\n{}", stderr.trim_end())?;
        }
        for (depth, frame) in self.frames.iter().enumerate() {
            write!(f, "\n  {depth:>2}: {frame}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.function)?;
        if let Some(file) = &self.file {
            write!(f, " at {file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
        }
        Ok(())
    }
}
