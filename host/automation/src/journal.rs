//! Keeps a run's host calls with their answers, so that it can be shown and replayed.

use serde::{Deserialize, Serialize};
use triggerbox_model::{
    call::{Call, Reply},
    event::Event,
    limits::{Limit, Limits},
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel};
use triggerbox_store::session::Session;

use crate::{guard::Guard, records::Records};

/// One host call with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// As the script asked.
    pub call: Call,
    /// As it was answered.
    pub reply: Reply,
}

/// All that a script was told, and how it ended: enough to run it again without a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recording {
    /// The component's hash, in hexadecimal.
    pub script: String,
    /// The engine that it ran on.
    pub engine: String,
    /// What it was given.
    pub event: Event,
    /// The limits in force.
    pub limits: Limits,
    /// Whether every call is among the entries.
    pub complete: bool,
    /// Host calls with their answers, in order.
    pub entries: Vec<Entry>,
    /// What it was told of limits on time, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The fuel that it used.
    pub fuel: u64,
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
pub struct Recorder<R = Session> {
    guard: Guard<R>,
    keep: Keep,
    entries: Vec<Entry>,
    measured: Vec<u64>,
}

impl<R: Records> Recorder<R> {
    /// Puts a recorder around a run's host.
    #[must_use]
    pub fn new(guard: Guard<R>, keep: Keep) -> Self {
        Self { guard, keep, entries: Vec::new(), measured: Vec::new() }
    }

    /// The host, the calls that were kept, and what was told of limits on time.
    #[must_use]
    pub fn into_parts(self) -> (Guard<R>, Vec<Entry>, Vec<u64>) {
        (self.guard, self.entries, self.measured)
    }
}

#[async_trait::async_trait]
impl<R: Records> Host for Recorder<R> {
    async fn call(&mut self, call: Call) -> Result<Reply, HostFault> {
        let kept = self.keep == Keep::All || matches!(call, Call::Complete { .. } | Call::Send { .. });
        let asked = kept.then(|| call.clone());
        let reply = self.guard.call(call).await?;
        if let Some(call) = asked {
            self.entries.push(Entry { call, reply: reply.clone() });
        }
        Ok(reply)
    }

    async fn go_on(&mut self) {
        self.guard.go_on().await;
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.guard.log(level, message);
    }

    fn measured(&mut self, _limit: Limit, left: u64) -> u64 {
        self.measured.push(left);
        left
    }
}
