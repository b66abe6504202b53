//! Keeps a run's host calls with their answers, so that it can be shown and replayed.

use serde::{Deserialize, Serialize};
use triggerbox_model::call::{Call, Reply};
use triggerbox_sandbox::{Host, HostFault, LogLevel};

use crate::guard::Guard;

/// One host call with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// As the script asked.
    pub call: Call,
    /// As it was answered.
    pub reply: Reply,
}

/// Which calls are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Paid and outside ones: what cannot be asked again.
    Outside,
    /// All: the run can be replayed.
    All,
}

/// A run's host that keeps what it is asked and what it answers.
pub struct Recorder {
    guard: Guard,
    keep: Keep,
    entries: Vec<Entry>,
}

impl Recorder {
    /// Puts a recorder around a run's host.
    #[must_use]
    pub fn new(guard: Guard, keep: Keep) -> Self {
        Self { guard, keep, entries: Vec::new() }
    }

    /// The host, and what was kept.
    #[must_use]
    pub fn into_parts(self) -> (Guard, Vec<Entry>) {
        (self.guard, self.entries)
    }
}

#[async_trait::async_trait]
impl Host for Recorder {
    async fn call(&mut self, call: Call) -> Result<Reply, HostFault> {
        let kept = self.keep == Keep::All || matches!(call, Call::Complete { .. } | Call::Send { .. });
        let asked = kept.then(|| call.clone());
        let reply = self.guard.call(call).await?;
        if let Some(call) = asked {
            self.entries.push(Entry { call, reply: reply.clone() });
        }
        Ok(reply)
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.guard.log(level, message);
    }
}
