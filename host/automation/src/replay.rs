//! Runs a script again from what was kept of a run, without a backend: to see what it did, or what another version of it
//! would have done.
//!
//! Every question that the run asked is answered as it was then. The same version on the same engine must do the same, with
//! the same fuel. Another version may ask in another order, and may want other changes; what it asks that the run never asked
//! has no answer, and then nothing can be said.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use triggerbox_model::{
    allowance::Allowance,
    call::{ASKING, Answer, Call, RUN_SCRIPT, Reply},
    limits::{Limit, PerLimit},
    value::{FIRST_PROVISIONAL_ID, Id},
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel, Script};

use crate::journal::{Entry, Recording};

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "kebab-case")]
pub enum Verdict {
    /// The same changes and the same end.
    Same,
    /// Other changes, or another end: each difference in a sentence.
    Differs(Vec<String>),
    /// It cannot be said, and why.
    Undecidable(String),
}

impl Verdict {
    /// That of a run of several scripts: where one of them differs, the run does, whatever is not known of the others.
    #[must_use]
    pub fn of_all(scripts: impl IntoIterator<Item = Self>) -> Self {
        let (mut differences, mut undecidable) = (Vec::new(), None);
        for verdict in scripts {
            match verdict {
                Self::Same => {}
                Self::Differs(how) => differences.extend(how),
                Self::Undecidable(why) => undecidable = undecidable.or(Some(why)),
            }
        }
        match undecidable {
            _ if !differences.is_empty() => Self::Differs(differences),
            Some(why) => Self::Undecidable(why),
            None => Self::Same,
        }
    }

    /// The stable word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs(_) => "differs",
            Self::Undecidable(_) => "undecidable",
        }
    }
}

/// A replay that is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replayed {
    /// What it came to.
    pub verdict: Verdict,
    /// How the script ended this time.
    pub ending: Ending,
    /// The fuel that it used then.
    pub fuel_then: u64,
    /// The fuel that it used this time.
    pub fuel: u64,
    /// What it used of each limit this time; the host's time for its calls is not that of the run.
    #[serde(skip)]
    pub used: PerLimit,
    /// What it logged.
    pub log: Vec<(LogLevel, String)>,
}

/// Replays a run on a version of its script.
pub async fn replay(script: &Script, recording: &Recording) -> Replayed {
    let host = Box::new(Player::new(Arc::new(recording.clone())));
    let mut limits = recording.limits;
    // Time is a matter of the machine: a replay has what it needs.
    for limit in [Limit::WallTime, Limit::CpuTime, Limit::HttpTime] {
        limits.max.set(limit, limits.get(limit).max(REPLAY_TIME));
    }
    let run = script.run(recording.event.clone(), limits, host).await;
    let (used, fuel) = (run.used, run.used.get(Limit::Fuel));
    let Some(player) = run.host.downcast::<Player>() else {
        let verdict = Verdict::Undecidable("the sandbox returned another run's host".to_owned());
        return Replayed { verdict, ending: run.ending, fuel_then: recording.fuel, fuel, used, log: Vec::new() };
    };
    let same_version = script.hash().to_string() == recording.script && script.fingerprint() == recording.engine;
    let verdict = judge(recording, &player, &run.ending, same_version, fuel);
    Replayed { verdict, ending: run.ending, fuel_then: recording.fuel, fuel, used, log: player.log }
}

/// Runs a script on what was recorded, and records it again: for recordings whose answers were changed, so that the script
/// may now want something else.
///
/// # Errors
/// It asks what the recorded run did not ask; says what.
pub async fn record_again(script: &Script, recording: &Recording) -> Result<Recording, String> {
    let host = Box::new(Player::new(Arc::new(recording.clone())));
    let run = script.run(recording.event.clone(), recording.limits, host).await;
    let Some(player) = run.host.downcast::<Player>() else {
        return Err("the sandbox returned another run's host".to_owned());
    };
    match player.stuck {
        Some(why) => Err(why),
        None => Ok(Recording {
            script: script.hash().to_string(),
            engine: script.fingerprint().to_owned(),
            entries: player.answered,
            ending: run.ending,
            fuel: run.used.get(Limit::Fuel),
            ..recording.clone()
        }),
    }
}

/// How long a replay may compute, at least, in milliseconds.
const REPLAY_TIME: u64 = 60_000;

fn judge(recording: &Recording, player: &Player, ending: &Ending, same_version: bool, fuel: u64) -> Verdict {
    if !recording.complete {
        return Verdict::Undecidable("not all of the run's host calls were kept; see the journal setting".to_owned());
    }
    if let Some(why) = &player.stuck {
        return Verdict::Undecidable(why.clone());
    }
    if let Some(why) = fact(&recording.ending) {
        return Verdict::Undecidable(why);
    }
    let mut differences = Vec::new();
    let (then, now) = (staged(&recording.entries), &player.staged);
    for index in 0..then.len().max(now.len()) {
        match (then.get(index), now.get(index)) {
            (Some(then), Some(now)) if *then == now => {}
            (Some(then), Some(now)) => {
                differences.push(format!("change {}: then {}, now {}", index + 1, told(then), told(now)));
            }
            (Some(then), None) => differences.push(format!("change {}: then {}, now nothing", index + 1, told(then))),
            (None, Some(now)) => differences.push(format!("change {}: then nothing, now {}", index + 1, told(now))),
            (None, None) => {}
        }
    }
    if let Some(difference) = ended_differently(&recording.ending, ending) {
        differences.push(difference);
    }
    if same_version && differences.is_empty() && fuel != recording.fuel {
        differences.push(format!("fuel: then {}, now {fuel}", recording.fuel));
    }
    if differences.is_empty() { Verdict::Same } else { Verdict::Differs(differences) }
}

/// Ends that are facts of a machine and a moment: they are not derived again.
fn fact(ending: &Ending) -> Option<String> {
    match ending {
        Ending::LimitExceeded(breach) if matches!(breach.limit, Limit::WallTime | Limit::CpuTime | Limit::HttpTime) => {
            Some(format!("the run was stopped by its limit on {}, which another run may not reach", breach.limit))
        }
        Ending::LimitExceeded(breach)
            if matches!(breach.limit, Limit::LlmCalls | Limit::LlmTokens | Limit::LlmCost) =>
        {
            Some(format!("the run was stopped by its budget for {}, which only the host keeps", breach.limit))
        }
        Ending::HostFault(why) | Ending::OutcomeUnknown(why) => {
            Some(format!("the run was ended by its host, not by its script: {why}"))
        }
        _ => None,
    }
}

fn ended_differently(then: &Ending, now: &Ending) -> Option<String> {
    let differs = match (then, now) {
        // Where a script broke, and what it printed, is not what it did.
        (Ending::Trapped(then), Ending::Trapped(now)) => then.cause != now.cause,
        (then, now) => then != now,
    };
    differs.then(|| format!("end: then {}, now {}", end(then), end(now)))
}

fn end(ending: &Ending) -> String {
    match ending {
        Ending::Done(outcome) => {
            format!("done {}", serde_json::to_string(outcome).unwrap_or_default())
        }
        Ending::Failed(failure) => format!("failed: {}", failure.message()),
        Ending::LimitExceeded(breach) => breach.to_string(),
        Ending::Trapped(trap) => format!("trapped: {}", trap.cause),
        Ending::HostFault(why) | Ending::OutcomeUnknown(why) => format!("ended by its host: {why}"),
    }
}

fn told(call: &Call) -> String {
    serde_json::to_string(call).unwrap_or_default()
}

/// The calls that a run staged, in order: together they are its change set.
fn staged(entries: &[Entry]) -> Vec<&Call> {
    entries.iter().filter(|entry| entry.reply.is_ok() && changes(&entry.call)).map(|entry| &entry.call).collect()
}

/// Whether a call changes something, or has an effect outside.
fn changes(call: &Call) -> bool {
    match call {
        Call::Search { .. }
        | Call::SearchRead { .. }
        | Call::SearchCount { .. }
        | Call::Read { .. }
        | Call::ReadGroup { .. }
        | Call::NameSearch { .. }
        | Call::FieldsGet { .. }
        | Call::DescribeFields { .. }
        | Call::HasAccess { .. }
        | Call::ResolveXmlid { .. }
        | Call::Mention { .. }
        | Call::ReadMessages { .. }
        | Call::StateGet { .. }
        | Call::Complete { .. } => false,
        Call::CallMethod { method, .. } if ASKING.contains(&method.as_str()) => false,
        Call::Create { .. }
        | Call::Ensure { .. }
        | Call::Write { .. }
        | Call::Relate { .. }
        | Call::Unlink { .. }
        | Call::Copy { .. }
        | Call::CallMethod { .. }
        | Call::PostMessage { .. }
        | Call::PostNote { .. }
        | Call::ScheduleActivity { .. }
        | Call::CompleteActivities { .. }
        | Call::AddFollowers { .. }
        | Call::RemoveFollowers { .. }
        | Call::StateSet { .. }
        | Call::Send { .. } => true,
    }
}

/// Answers a script's calls from a recording.
struct Player {
    recording: Arc<Recording>,
    /// Entries before this one were asked, or passed over.
    at: usize,
    /// Whether this run wants other changes than the recorded one: from then on a read may see what was never there.
    diverged: bool,
    staged: Vec<Call>,
    /// All that was asked, with the answers.
    answered: Vec<Entry>,
    measured: usize,
    provisional: BTreeMap<String, Id>,
    log: Vec<(LogLevel, String)>,
    stuck: Option<String>,
}

impl Player {
    fn new(recording: Arc<Recording>) -> Self {
        Self {
            recording,
            at: 0,
            diverged: false,
            staged: Vec::new(),
            answered: Vec::new(),
            measured: 0,
            provisional: BTreeMap::new(),
            log: Vec::new(),
            stuck: None,
        }
    }

    fn answer(&mut self, call: &Call) -> Result<Reply, String> {
        let recording = Arc::clone(&self.recording);
        let later = |at: usize| recording.entries.iter().enumerate().skip(at).find(|(_, kept)| kept.call == *call);
        if let Some((index, kept)) = later(self.at) {
            let passed = recording.entries.get(self.at..index).unwrap_or_default();
            // What the recorded run changed before this question, this run did not.
            self.diverged |= passed.iter().any(|entry| entry.reply.is_ok() && changes(&entry.call));
            self.at = index + 1;
            let reply = kept.reply.clone();
            return if self.diverged && !changes(call) { Err(after_other_changes(call)) } else { Ok(reply) };
        }
        if !changes(call) {
            // A question that was asked before has the same answer as long as nothing was changed in between.
            let unchanged = !self.diverged && self.staged.is_empty();
            return match later(0) {
                Some((_, kept)) if unchanged => Ok(kept.reply.clone()),
                _ => Err(format!("it asks what the recorded run did not ask: {}", told(call))),
            };
        }
        self.diverged = true;
        self.invented(call)
    }

    /// The answer to a change that the recorded run did not want. What only asks is answered elsewhere.
    fn invented(&mut self, call: &Call) -> Result<Reply, String> {
        match call {
            Call::Create { model, values } => {
                Ok(Ok(Answer::Ids(values.iter().map(|_| self.provisional(model)).collect())))
            }
            Call::Copy { target, .. } => Ok(Ok(Answer::Id(self.provisional(&target.model)))),
            Call::Write { .. }
            | Call::Relate { .. }
            | Call::Unlink { .. }
            | Call::PostMessage { .. }
            | Call::PostNote { .. }
            | Call::ScheduleActivity { .. }
            | Call::AddFollowers { .. }
            | Call::RemoveFollowers { .. }
            | Call::StateSet { .. } => Ok(Ok(Answer::Done)),
            Call::CallMethod { method, .. } if method != RUN_SCRIPT => Ok(Ok(Answer::OptionalText(None))),
            other => Err(format!("it wants an answer that only a backend can give: {}", told(other))),
        }
    }

    fn provisional(&mut self, model: &str) -> Id {
        let given = self.recording.entries.iter().filter_map(|entry| match (&entry.call, &entry.reply) {
            (Call::Create { model: of, .. }, Ok(Answer::Ids(ids))) if of == model => ids.iter().max().copied(),
            (Call::Copy { target, .. }, Ok(answer)) if target.model == model => match answer.clone().plain() {
                Answer::Id(id) => Some(id),
                _ => None,
            },
            _ => None,
        });
        let first = given.max().map_or(FIRST_PROVISIONAL_ID, |last| last.saturating_add(1));
        let next = self.provisional.entry(model.to_owned()).or_insert(first);
        let id = *next;
        *next = next.saturating_add(1);
        id
    }
}

fn after_other_changes(call: &Call) -> String {
    format!("it asks, after other changes than the recorded run's, what they may have changed: {}", told(call))
}

#[async_trait::async_trait]
impl Host for Player {
    async fn call(&mut self, call: Call, _may: Allowance) -> Result<Reply, HostFault> {
        match self.answer(&call) {
            Ok(reply) => {
                self.answered.push(Entry { call: call.clone(), reply: reply.clone(), within: Vec::new(), time: None });
                if reply.is_ok() && changes(&call) {
                    self.staged.push(call);
                }
                Ok(reply)
            }
            Err(why) => {
                self.stuck = Some(why.clone());
                Err(HostFault::new(why))
            }
        }
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.log.push((level, message.to_owned()));
    }

    fn measured(&mut self, _limit: Limit, left: u64) -> u64 {
        let then = self.recording.measured.get(self.measured).copied();
        self.measured += 1;
        then.unwrap_or(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_differs_where_one_of_its_scripts_does() {
        let differs = |how: &str| Verdict::Differs(vec![how.to_owned()]);
        let undecidable = |why: &str| Verdict::Undecidable(why.to_owned());
        assert_eq!(Verdict::of_all([]), Verdict::Same);
        assert_eq!(Verdict::of_all([Verdict::Same, Verdict::Same]), Verdict::Same);
        assert_eq!(Verdict::of_all([Verdict::Same, undecidable("a"), undecidable("b")]), undecidable("a"));
        for verdicts in [[differs("a"), undecidable("b")], [undecidable("b"), differs("a")]] {
            assert_eq!(Verdict::of_all(verdicts), differs("a"));
        }
        let both = Verdict::Differs(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(Verdict::of_all([differs("a"), Verdict::Same, differs("b")]), both);
    }
}
