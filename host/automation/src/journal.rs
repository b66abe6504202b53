//! Keeps a run's host calls with their answers, so that it can be shown and replayed.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, RUN_SCRIPT, Reply},
    event::Event,
    limits::{Limit, Limits, Meter},
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel};
use triggerbox_store::session::Session;

use crate::{guard::Guard, records::Records, tools::outside_only};

/// One host call with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// As the script asked.
    pub call: Call,
    /// As it was answered.
    pub reply: Reply,
    /// What the script asked that was run by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Entry>,
    /// For people who look at it; no replay asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Took>,
}

/// When a call was made, and how long its answer took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Since the script's host was made.
    pub began: u64,
    /// Until the answer was there.
    pub took: u64,
}

impl Entry {
    /// What a call takes besides what it carries.
    const OWN_BYTES: u64 = 256;

    fn bytes(&self) -> u64 {
        Self::bytes_of(&self.call, &self.reply, &self.within)
    }

    fn bytes_of(call: &Call, reply: &Reply, within: &[Self]) -> u64 {
        let answer = match reply {
            Ok(Answer::Response(response)) => response.body.len() as u64,
            Ok(Answer::Completion(completion)) => completion.text.len() as u64,
            Ok(answer) => answer.byte_size(),
            Err(_) => 0,
        };
        Self::OWN_BYTES + call.byte_size() + answer + within.iter().map(Self::bytes).sum::<u64>()
    }
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

/// What people look at of a recording: its first host calls. The others are counted, and not read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct FirstCalls {
    /// In order.
    #[serde(rename = "entries")]
    pub calls: First<Entry>,
}

/// The first elements of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct First<T> {
    /// At most [`First::MOST`].
    pub elements: Vec<T>,
    /// How many there are in all.
    pub total: usize,
}

impl<T> First<T> {
    /// So many are read.
    pub const MOST: usize = 500;
}

impl<T> Default for First<T> {
    fn default() -> Self {
        Self { elements: Vec::new(), total: 0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let mut first = First::default();
                while first.elements.len() < First::<T>::MOST
                    && let Some(element) = list.next_element()?
                {
                    first.elements.push(element);
                }
                first.total = first.elements.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    first.total += 1;
                }
                Ok(first)
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// Which calls are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Paid and outside ones: what cannot be asked again.
    Outside,
    /// All: the run can be replayed.
    All,
}

/// What is kept of a run's host calls takes at most so many bytes, as they are counted for limits: 16 MiB. From the first
/// call on that is over it, only paid and outside ones are kept, up to as much again, and the run cannot be replayed.
pub const MOST_BYTES: u64 = 16 << 20;

/// A run's host that keeps what it is asked and what it answers.
pub struct Recorder<R = Session> {
    guard: Guard<R>,
    keep: Keep,
    bytes: u64,
    kept: Kept,
    begun: Instant,
}

/// What was kept of a run's host calls.
#[derive(Debug, Default)]
pub struct Kept {
    /// The calls, in order.
    pub entries: Vec<Entry>,
    /// Whether these are all.
    pub complete: bool,
    /// What was told of limits on time, in order.
    pub measured: Vec<u64>,
}

impl<R: Records> Recorder<R> {
    /// Puts a recorder around a run's host.
    #[must_use]
    pub fn new(guard: Guard<R>, keep: Keep) -> Self {
        let kept = Kept { complete: keep == Keep::All, ..Kept::default() };
        Self { guard, keep, bytes: 0, kept, begun: Instant::now() }
    }

    /// The host, and what was kept of its calls.
    #[must_use]
    pub fn into_parts(self) -> (Guard<R>, Kept) {
        (self.guard, self.kept)
    }

    /// Whether a call of so many bytes is to be kept.
    fn has_room(&mut self, bytes: u64, outside: bool) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MOST_BYTES {
            self.keep = Keep::Outside;
            self.kept.complete = false;
        }
        self.keep == Keep::All || (outside && self.bytes <= 2 * MOST_BYTES)
    }
}

#[async_trait::async_trait]
impl<R: Records> Host for Recorder<R> {
    async fn call(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        let outside = match &call {
            Call::Complete { .. } | Call::Send { .. } => true,
            Call::CallMethod { method, .. } => method == RUN_SCRIPT,
            _ => false,
        };
        let asked = (self.keep == Keep::All || outside).then(|| call.clone());
        let began = self.begun.elapsed();
        let reply = self.guard.call(call, may).await?;
        let Some(call) = asked else { return Ok(reply) };
        let mut within = self.guard.take_within();
        // A large answer is not doubled for nothing.
        if !self.has_room(Entry::bytes_of(&call, &reply, &within), outside) {
            return Ok(reply);
        }
        if self.keep == Keep::Outside {
            within = outside_only(within);
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let time = Some(Took { began: micros(began), took: micros(self.begun.elapsed().saturating_sub(began)) });
        self.kept.entries.push(Entry { call, reply: reply.clone(), within, time });
        Ok(reply)
    }

    async fn go_on(&mut self) {
        self.guard.go_on().await;
    }

    fn lend(&mut self, meter: Meter) {
        self.guard.lend(meter);
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.guard.log(level, message);
    }

    fn measured(&mut self, _limit: Limit, left: u64) -> u64 {
        self.kept.measured.push(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::First;

    #[test]
    fn the_first_of_a_list_are_read_and_all_are_counted() {
        for total in [0, 3, First::<u32>::MOST, First::<u32>::MOST + 7] {
            let json = serde_json::to_string(&(0..total).collect::<Vec<_>>()).unwrap();
            let first: First<usize> = serde_json::from_str(&json).unwrap();
            assert_eq!(first.total, total);
            assert!(first.elements.iter().copied().eq(0..total.min(First::<u32>::MOST)));
        }
        assert!(serde_json::from_str::<First<u32>>("[1, \"x\"]").is_err());
        assert!(serde_json::from_str::<First<u32>>("{}").is_err());
    }
}
