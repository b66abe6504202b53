//! The limits: one table, how the effective limits of a run are found, and the meter that counts.
//!
//! A run has a value for every limit, always. It starts from its class's default and is narrowed by
//! the host's configuration, the rule, and the script's manifest: the smallest wins, absent means
//! inherit. Only `records-per-fire` (0 = no cap) and the session caps (0 = default) treat zero specially.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    call::{ASKING, Answer, Call, Command, LlmMessage, RUN_SCRIPT, ToolCall, WITH_CONTEXT},
    value::Id,
};

/// What kind of run it is; decides the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A `before` rule, inside the caller's save.
    Sync,
    /// An `after` rule.
    Async,
    /// Schedules and imports.
    Batch,
    /// A run that talks to a language model.
    Agent,
}

impl Class {
    /// All classes, in the table's order.
    pub const ALL: [Self; 4] = [Self::Sync, Self::Async, Self::Batch, Self::Agent];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Batch => "batch",
            Self::Agent => "agent",
        }
    }
}

/// What a limit's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Plain count.
    Count,
    /// Instructions, roughly.
    Fuel,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Tokens of a language model.
    Tokens,
    /// Millionths of a euro.
    MicroEuro,
    /// Hours.
    Hours,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const EURO: u64 = 1_000_000;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct LimitSpec {
    /// The limit.
    pub limit: Limit,
    /// Its name everywhere: manifest, command line, API, `budget.remaining`.
    pub name: &'static str,
    /// What the number counts.
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
    /// Default per class: sync, async, batch, agent.
    pub defaults: [u64; 4],
}

macro_rules! limits {
    ($($variant:ident $name:literal $unit:ident [$sync:expr, $async_:expr, $batch:expr, $agent:expr] $help:literal;)*) => {
        /// A limit of a run, by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Limit { $(#[doc = $help] $variant),* }

        /// The limits table: what the documentation, the command line and the API are generated from.
        pub const TABLE: &[LimitSpec] = &[$(LimitSpec {
            limit: Limit::$variant, name: $name, unit: Unit::$unit, help: $help,
            defaults: [$sync, $async_, $batch, $agent],
        }),*];

        /// How many limits there are.
        pub const COUNT: usize = [$(Limit::$variant),*].len();

        impl Limit {
            /// The limit's row of the table.
            #[must_use]
            pub const fn spec(self) -> LimitSpec {
                match self { $(Self::$variant => LimitSpec {
                    limit: Self::$variant, name: $name, unit: Unit::$unit, help: $help,
                    defaults: [$sync, $async_, $batch, $agent],
                }),* }
            }

            /// Finds a limit by its name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

limits! {
    Fuel "fuel" Fuel [50_000_000, 1_000_000_000, 10_000_000_000, 1_000_000_000]
        "WebAssembly instructions, roughly: what the script computes.";
    CpuTime "cpu-time" Milliseconds [250, 10 * SECOND, 60 * SECOND, 10 * SECOND]
        "Time inside the script, host calls excluded.";
    WallTime "wall-time" Milliseconds [2 * SECOND, 60 * SECOND, 10 * MINUTE, 15 * MINUTE]
        "Time from start to end, host calls and waiting included.";
    Memory "memory" Bytes [64 * MIB, 64 * MIB, 128 * MIB, 64 * MIB]
        "Linear memory of all the script's modules together.";
    Stack "stack" Bytes [MIB, MIB, MIB, MIB]
        "WebAssembly stack; the same for every run.";
    TableElements "table-elements" Count [20_000, 20_000, 20_000, 20_000]
        "Elements of all the script's tables together.";
    Instances "instances" Count [64, 64, 64, 64]
        "Core instances, and as many memories and tables, of one component.";
    Handles "handles" Count [1_000, 1_000, 1_000, 1_000]
        "Resource handles that are open at once.";
    CallBytes "call-bytes" Bytes [MIB, 4 * MIB, 4 * MIB, 4 * MIB]
        "Bytes that one call may carry from the script to the host.";
    BytesSent "bytes-sent" Bytes [2 * MIB, 8 * MIB, 32 * MIB, 16 * MIB]
        "Bytes that all calls carry from the script to the host together.";
    Payload "payload" Bytes [256 * KIB, MIB, MIB, MIB]
        "Size of the event that goes in.";
    Result "result" Bytes [64 * KIB, MIB, MIB, MIB]
        "Size of the outcome that comes out.";
    HostCalls "host-calls" Count [1_000, 10_000, 100_000, 2_000]
        "Calls from the script to the host, logging included.";
    Queries "queries" Count [100, 200, 2_000, 200]
        "Searches, reads and groupings.";
    RecordsRead "records-read" Count [5_000, 50_000, 500_000, 10_000]
        "Records and groups that come back from queries.";
    BytesRead "bytes-read" Bytes [4 * MIB, 32 * MIB, 256 * MIB, 8 * MIB]
        "Bytes of field values that come back from queries.";
    WriteCalls "write-calls" Count [50, 150, 1_500, 100]
        "Calls that change records.";
    RecordsWritten "records-written" Count [200, 10_000, 100_000, 200]
        "Records written or created.";
    RecordsDeleted "records-deleted" Count [0, 100, 1_000, 0]
        "Records deleted.";
    WritesPerRecord "writes-per-record" Count [12, 12, 12, 12]
        "Writes to the same record.";
    Depth "depth" Count [8, 8, 8, 8]
        "Runs between the root event and this one.";
    RootRuns "root-runs" Count [1_000, 1_000, 1_000, 1_000]
        "Runs caused by one root event.";
    RecordsPerFire "records-per-fire" Count [0, 100, 100, 100]
        "Records of one fire with per-record dispatch; 0 is no cap.";
    LlmCalls "llm-calls" Count [0, 10, 50, 50]
        "Calls to a language model.";
    LlmTokens "llm-tokens" Tokens [0, 100_000, 500_000, 1_000_000]
        "Tokens to and from language models.";
    LlmCost "llm-cost" MicroEuro [0, EURO / 2, 2 * EURO, 5 * EURO]
        "What language models cost.";
    IdenticalToolCalls "identical-tool-calls" Count [3, 3, 3, 3]
        "The same tool call with the same arguments in a row.";
    Resumes "resumes" Count [0, 0, 0, 50]
        "Runs that continue one session.";
    SessionLifetime "session-lifetime" Hours [0, 0, 0, 720]
        "Age of a session.";
    Posts "posts" Count [5, 20, 200, 10]
        "Messages and notes posted.";
    Activities "activities" Count [5, 20, 200, 10]
        "Activities and mails.";
    HttpCalls "http-calls" Count [0, 20, 100, 20]
        "Requests to other services.";
    HttpTime "http-time" Milliseconds [0, 60 * SECOND, 5 * MINUTE, 60 * SECOND]
        "Time in requests to other services, all together; one may take 10 seconds.";
    LogLines "log-lines" Count [200, 1_000, 10_000, 1_000]
        "Log lines; more are dropped with a marker, never fatal.";
    LogBytes "log-bytes" Bytes [16 * KIB, 256 * KIB, 2 * MIB, 256 * KIB]
        "Bytes of log; more are dropped with a marker, never fatal.";
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.spec().name)
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.spec().name)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom(unknown_limit(&name)))
    }
}

/// The text for a limit's name that does not exist, with the nearest one that does.
#[must_use]
pub fn unknown_limit(name: &str) -> String {
    match crate::text::nearest(name, TABLE.iter().map(|spec| spec.name)) {
        Some(near) => format!("unknown limit `{name}`; did you mean `{near}`?"),
        None => format!("unknown limit `{name}`; `triggerbox limits` lists them"),
    }
}

/// One number for each limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerLimit([u64; COUNT]);

impl PerLimit {
    /// All zero.
    pub const ZERO: Self = Self([0; COUNT]);

    /// The number for a limit.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }

    /// Sets the number for a limit.
    pub fn set(&mut self, limit: Limit, value: u64) {
        if let Some(slot) = self.0.get_mut(limit as usize) {
            *slot = value;
        }
    }

    /// What two runs used together: of what counts at its largest the larger, else the sum.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (limit, number) in other.iter() {
            let own = self.get(limit);
            self.set(limit, if limit.is_highest() { own.max(number) } else { own.saturating_add(number) });
        }
        self
    }

    /// All limits with their numbers, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> + '_ {
        TABLE.iter().map(|spec| (spec.limit, self.get(spec.limit)))
    }
}

impl Serialize for PerLimit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for PerLimit {
    /// Limits that the text does not name are 0; names that this version does not know are left out.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Self::ZERO;
        for (name, number) in HashMap::<String, u64>::deserialize(deserializer)? {
            if let Some(limit) = Limit::from_name(&name) {
                numbers.set(limit, number);
            }
        }
        Ok(numbers)
    }
}

/// Limits that somebody asks for: manifest, rule, policy or host. Absent means inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitRequest(pub std::collections::BTreeMap<Limit, u64>);

/// The limits in force for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The class that gave the defaults.
    pub class: Class,
    /// The maximum of each.
    pub max: PerLimit,
}

impl<'de> Deserialize<'de> for Limits {
    /// Limits that the text does not name are the class's: a run that was kept before there was a limit is not held to
    /// none at all. Names that this version does not know are left out.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kept {
            class: Class,
            max: HashMap<String, u64>,
        }
        let Kept { class, max } = Kept::deserialize(deserializer)?;
        let mut limits = Self::resolve(class, []);
        for (name, number) in max {
            if let Some(limit) = Limit::from_name(&name) {
                limits.max.set(limit, number);
            }
        }
        Ok(limits)
    }
}

impl Limits {
    /// The class's defaults, narrowed by every request: the smallest wins. See [`Zero`] for zeros.
    #[must_use]
    pub fn resolve<'a>(class: Class, requests: impl IntoIterator<Item = &'a LimitRequest>) -> Self {
        let requests: Vec<_> = requests.into_iter().collect();
        let mut max = PerLimit::ZERO;
        for spec in TABLE {
            let default = spec.defaults.get(class as usize).copied().unwrap_or_default();
            let asked = requests.iter().filter_map(|request| request.0.get(&spec.limit).copied());
            let asked = asked.filter(|_| !spec.limit.is_fixed());
            max.set(
                spec.limit,
                match spec.limit.zero() {
                    Zero::NoneAtAll => asked.fold(default, u64::min),
                    Zero::Default => asked.filter(|&n| n != 0).fold(default, u64::min),
                    // Zero is the largest of all here, and whoever asks sets the default aside.
                    Zero::NoCap => asked.min_by_key(|&n| n.wrapping_sub(1)).unwrap_or(default),
                },
            );
        }
        Self { class, max }
    }

    /// The maximum for a limit.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.max.get(limit)
    }
}

impl Limit {
    /// Whether the engine sets the limit once for all runs: a request cannot change it.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Stack)
    }
}

impl Limit {
    /// Whether its use is the largest single one, not the sum of all.
    #[must_use]
    fn is_highest(self) -> bool {
        matches!(
            self,
            Self::Stack
                | Self::Instances
                | Self::Handles
                | Self::CallBytes
                | Self::Payload
                | Self::Result
                | Self::WritesPerRecord
                | Self::Depth
                | Self::RecordsPerFire
                | Self::IdenticalToolCalls
        )
    }

    /// Whether the engine or a clock measures its use.
    #[must_use]
    pub fn is_measured(self) -> bool {
        matches!(self, Self::Fuel | Self::CpuTime | Self::WallTime | Self::Memory | Self::TableElements)
    }
}

/// What a request for zero means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// The run may use none at all.
    NoneAtAll,
    /// The class's default (the four caps of a session).
    Default,
    /// There is no cap (records of one fire).
    NoCap,
}

impl Limit {
    /// What zero means for this limit.
    #[must_use]
    pub fn zero(self) -> Zero {
        match self {
            Self::RecordsPerFire => Zero::NoCap,
            Self::Resumes | Self::SessionLifetime | Self::LlmTokens | Self::LlmCost => Zero::Default,
            _ => Zero::NoneAtAll,
        }
    }
}

/// A limit was reached. Ends the run; a script cannot catch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("limit exceeded: {limit} used {} of at most {} ({})", counted(*.limit, *.used), counted(*.limit, *.max), .scope.describe(*.class))]
pub struct Breach {
    /// Which one.
    pub limit: Limit,
    /// What the run wanted to use, all together.
    pub used: u64,
    /// What it may use.
    pub max: u64,
    /// The run's class.
    pub class: Class,
    /// Whose limit it is.
    #[serde(default, skip_serializing_if = "Scope::is_run")]
    pub scope: Scope,
}

/// A number of a limit as messages say it.
fn counted(limit: Limit, number: u64) -> String {
    if limit.spec().unit != Unit::MicroEuro {
        return number.to_string();
    }
    format!("{}.{:06} EUR", number / EURO, number % EURO)
}

impl Breach {
    /// A limit of a run of which only the fact is known that it was reached.
    #[must_use]
    pub fn just_over(limit: Limit, limits: &Limits) -> Self {
        let max = limits.get(limit);
        Self { limit, used: max.saturating_add(1), max, class: limits.class, scope: Scope::Run }
    }
}

/// Whose limit it is. All but the run's own are budgets that several runs share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The run's.
    #[default]
    Run,
    /// The runs of one rule for one record.
    Session,
    /// The root event's: retries, replays and chains spend it together.
    Root,
    /// The rule's, for one day.
    RuleDay,
    /// The server's, for one day.
    ServerDay,
}

impl Scope {
    /// The stable name, `rule-day`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Session => "session",
            Self::Root => "root",
            Self::RuleDay => "rule-day",
            Self::ServerDay => "server-day",
        }
    }

    /// Whose it is, in words.
    #[must_use]
    pub fn describe(self, class: Class) -> String {
        match self {
            Self::Run => format!("{} run", class.name()),
            Self::Session => "session: the rule's runs for this record".to_owned(),
            Self::Root => "root event, with all that follows from it".to_owned(),
            Self::RuleDay => "this rule today".to_owned(),
            Self::ServerDay => "this server today".to_owned(),
        }
    }

    fn is_run(&self) -> bool {
        *self == Self::Run
    }
}

/// How often records were written, by model.
pub type Writes = HashMap<String, HashMap<Id, u64>>;

/// Counts what a run uses against its limits.
#[derive(Debug, Clone)]
pub struct Meter {
    limits: Limits,
    used: PerLimit,
    writes: Writes,
    repeated: Repeated,
}

/// The last tool call of a conversation with a model, and how often it was made in a row.
#[derive(Debug, Clone, Default)]
struct Repeated {
    last: Option<(String, String)>,
    times: u64,
}

impl Repeated {
    /// As far as a conversation has come: a run may have several.
    fn of(conversation: &[LlmMessage]) -> Self {
        let mut repeated = Self::default();
        for message in conversation {
            if let LlmMessage::AssistantCalls(_, calls) = message {
                repeated.count(calls);
            }
        }
        repeated
    }

    /// Counts further calls. The most that one of them was made in a row.
    fn count(&mut self, calls: &[ToolCall]) -> u64 {
        let mut most = 0;
        for ToolCall { name, arguments_json, .. } in calls {
            let same = self.last.as_ref().is_some_and(|(last, with)| last == name && with == arguments_json);
            self.times = if same { self.times.saturating_add(1) } else { 1 };
            self.last = Some((name.clone(), arguments_json.clone()));
            most = most.max(self.times);
        }
        most
    }
}

impl Meter {
    /// Nothing used yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, used: PerLimit::ZERO, writes: HashMap::new(), repeated: Repeated::default() }
    }

    /// The limits it counts against.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is used so far.
    #[must_use]
    pub fn used(&self) -> &PerLimit {
        &self.used
    }

    /// What is left of a limit.
    #[must_use]
    pub fn remaining(&self, limit: Limit) -> u64 {
        self.limits.get(limit).saturating_sub(self.used.get(limit))
    }

    /// Uses some of a limit. What would be too much is recorded and refused.
    ///
    /// # Errors
    /// [`Breach`] when the limit does not allow it.
    pub fn charge(&mut self, limit: Limit, amount: u64) -> Result<(), Breach> {
        let total = self.used.get(limit).saturating_add(amount);
        self.raise_to(limit, total)
    }

    /// Notes a use that is known as a total or a high-water mark: fuel, memory, time.
    ///
    /// # Errors
    /// [`Breach`] when the limit does not allow it.
    pub fn raise_to(&mut self, limit: Limit, total: u64) -> Result<(), Breach> {
        let max = self.limits.get(limit);
        self.used.set(limit, total.max(self.used.get(limit)));
        if total > max { Err(self.breach(limit)) } else { Ok(()) }
    }

    /// A meter for what runs within this run: it has what is left here, and no more than it asks for itself.
    #[must_use]
    pub fn within(&self, asked: &LimitRequest) -> Self {
        let mut max = PerLimit::ZERO;
        for spec in TABLE {
            let limit = spec.limit;
            let left = if limit.is_highest() { self.limits.get(limit) } else { self.remaining(limit) };
            let wants = asked.0.get(&limit).filter(|&&n| n > 0 || limit.zero() == Zero::NoneAtAll);
            max.set(limit, wants.filter(|_| !limit.is_fixed()).map_or(left, |n| left.min(*n)));
        }
        Self { writes: self.writes.clone(), ..Self::new(Limits { class: self.limits.class, max }) }
    }

    /// Counts what ran within this run as the run's own use. Fuel, time and memory are whoever's who measures them.
    ///
    /// # Errors
    /// [`Breach`] of the first limit that does not allow it.
    pub fn absorb(&mut self, used: &PerLimit, writes: &Writes) -> Result<(), Breach> {
        for (model, records) in writes {
            let known = self.writes.entry(model.clone()).or_default();
            known.extend(records.iter().map(|(id, times)| (*id, *times)));
        }
        for (limit, amount) in used.iter().filter(|(limit, _)| !limit.is_measured()) {
            if limit.is_highest() {
                self.raise_to(limit, amount)?;
            } else {
                self.charge(limit, amount)?;
            }
        }
        Ok(())
    }

    /// How often each record was written.
    #[must_use]
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The breach of a limit, as far as it is used now.
    #[must_use]
    pub fn breach(&self, limit: Limit) -> Breach {
        Breach {
            limit,
            used: self.used.get(limit),
            max: self.limits.get(limit),
            class: self.limits.class,
            scope: Scope::Run,
        }
    }

    /// Charges what a call costs before it is made.
    ///
    /// # Errors
    /// [`Breach`] of the first limit that does not allow it.
    pub fn before(&mut self, call: &Call) -> Result<(), Breach> {
        self.charge(Limit::HostCalls, 1)?;
        let bytes = call.byte_size();
        self.raise_to(Limit::CallBytes, bytes)?;
        self.charge(Limit::BytesSent, bytes)?;
        for (limit, amount) in charges(call) {
            self.charge(limit, amount)?;
        }
        match call {
            Call::Write { model, ids, .. } => self.write_records(model, ids),
            Call::Relate { target, field, commands } => {
                self.write_records(&target.model, &[target.id])?;
                let lines = commands.iter().filter_map(|command| match command {
                    Command::Update(line, _) => Some(*line),
                    _ => None,
                });
                // Of which model the lines are, the call does not say: they are counted by the list that they are in.
                self.write_records(&format!("{}.{field}", target.model), &lines.collect::<Vec<_>>())
            }
            Call::Complete { request } => {
                self.repeated = Repeated::of(&request.messages);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Counts a write of each record; a run that writes one record again and again is stuck in a loop.
    fn write_records(&mut self, model: &str, ids: &[Id]) -> Result<(), Breach> {
        if !self.writes.contains_key(model) {
            self.writes.insert(model.to_owned(), HashMap::new());
        }
        let mut most = 0;
        if let Some(records) = self.writes.get_mut(model) {
            for &id in ids {
                let count = records.entry(id).or_default();
                *count += 1;
                most = most.max(*count);
            }
        }
        self.raise_to(Limit::WritesPerRecord, most)
    }

    /// Charges what an answer brings, before the script sees it.
    ///
    /// # Errors
    /// [`Breach`] of the first limit that does not allow it.
    pub fn after(&mut self, answer: &Answer) -> Result<(), Breach> {
        if let Answer::Completion(completion) = answer {
            let usage = &completion.usage;
            self.charge(Limit::LlmTokens, u64::from(usage.input_tokens) + u64::from(usage.output_tokens))?;
            if usage.currency == "EUR" {
                self.charge(Limit::LlmCost, micro_euro(usage.cost))?;
            }
            let most = self.repeated.count(&completion.calls);
            self.raise_to(Limit::IdenticalToolCalls, most)?;
        }
        if let Answer::Extra(answer, extra) = answer {
            self.charge(Limit::RecordsWritten, extra.written)?;
            self.charge(Limit::RecordsDeleted, extra.deleted)?;
            return self.after(answer);
        }
        self.charge(Limit::RecordsRead, answer.records() as u64)?;
        self.charge(Limit::BytesRead, answer.byte_size())
    }
}

/// Euros as millionths, rounded up; what is no amount of money counts as the worst.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is meant")]
pub fn micro_euro(euro: f64) -> u64 {
    if euro.is_finite() { (euro.max(0.0) * EURO as f64).ceil() as u64 } else { u64::MAX }
}

/// Whether a method may change the records that it is called on.
fn changes_records(method: &str) -> bool {
    method != WITH_CONTEXT && method != RUN_SCRIPT && !ASKING.contains(&method)
}

/// What a call costs besides being a host call.
fn charges(call: &Call) -> Vec<(Limit, u64)> {
    let len = |n: usize| n as u64;
    match call {
        Call::Search { .. }
        | Call::SearchRead { .. }
        | Call::SearchCount { .. }
        | Call::Read { .. }
        | Call::ReadGroup { .. }
        | Call::NameSearch { .. }
        | Call::ReadMessages { .. } => vec![(Limit::Queries, 1)],
        Call::Create { values, .. } => vec![(Limit::WriteCalls, 1), (Limit::RecordsWritten, len(values.len()))],
        Call::Ensure { .. } => vec![(Limit::Queries, 1), (Limit::WriteCalls, 1), (Limit::RecordsWritten, 1)],
        // What a script does that is run is counted as it does it.
        Call::CallMethod { method, .. } if ASKING.contains(&method.as_str()) => vec![(Limit::Queries, 1)],
        Call::CallMethod { method, .. } if !changes_records(method) => Vec::new(),
        Call::Write { ids, .. } | Call::CallMethod { ids, .. } => {
            vec![(Limit::WriteCalls, 1), (Limit::RecordsWritten, len(ids.len()))]
        }
        Call::Relate { commands, .. } => {
            let (mut written, mut deleted) = (1, 0);
            for command in commands {
                match command {
                    Command::Create(_) | Command::Update(..) => written += 1,
                    Command::Delete(_) => deleted += 1,
                    Command::Link(_) | Command::Unlink(_) | Command::Clear | Command::Replace(_) => {}
                }
            }
            vec![(Limit::WriteCalls, 1), (Limit::RecordsWritten, written), (Limit::RecordsDeleted, deleted)]
        }
        Call::Unlink { ids, .. } => vec![(Limit::WriteCalls, 1), (Limit::RecordsDeleted, len(ids.len()))],
        Call::Copy { .. } => vec![(Limit::WriteCalls, 1), (Limit::RecordsWritten, 1)],
        // Each partner who is named is told, or follows: a record of its own.
        Call::PostMessage { message, .. } | Call::PostNote { message, .. } => {
            vec![(Limit::Posts, 1), (Limit::RecordsWritten, len(message.partner_ids.len()))]
        }
        Call::ScheduleActivity { .. } => vec![(Limit::Activities, 1)],
        Call::AddFollowers { partner_ids, .. } | Call::RemoveFollowers { partner_ids, .. } => {
            vec![(Limit::WriteCalls, 1), (Limit::RecordsWritten, len(partner_ids.len()))]
        }
        Call::CompleteActivities { .. } => vec![(Limit::WriteCalls, 1)],
        Call::StateSet { .. } => vec![(Limit::WriteCalls, 1)],
        Call::Complete { .. } => vec![(Limit::LlmCalls, 1)],
        Call::Send { .. } => vec![(Limit::HttpCalls, 1)],
        Call::FieldsGet { .. }
        | Call::DescribeFields { .. }
        | Call::HasAccess { .. }
        | Call::ResolveXmlid { .. }
        | Call::Mention { .. }
        | Call::StateGet { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Completion, Finish, LlmRequest, LlmUsage};

    #[test]
    fn every_name_finds_its_limit() {
        for spec in TABLE {
            assert_eq!(Limit::from_name(spec.name), Some(spec.limit));
        }
    }

    #[test]
    fn the_smallest_request_wins_and_absent_inherits() {
        let manifest = LimitRequest([(Limit::Fuel, 5_000), (Limit::Posts, 3)].into());
        let rule = LimitRequest([(Limit::Fuel, 7_000_000_000_000)].into());
        let limits = Limits::resolve(Class::Async, [&manifest, &rule]);
        assert_eq!(limits.get(Limit::Fuel), 5_000);
        assert_eq!(limits.get(Limit::Posts), 3);
        assert_eq!(limits.get(Limit::Queries), 200);
    }

    #[test]
    fn zero_is_none_at_all_but_for_the_documented_ones() {
        let request = LimitRequest([(Limit::Posts, 0), (Limit::RecordsPerFire, 0), (Limit::LlmTokens, 0)].into());
        let limits = Limits::resolve(Class::Async, [&request]);
        assert_eq!(limits.get(Limit::Posts), 0);
        assert_eq!(limits.get(Limit::RecordsPerFire), 0);
        assert_eq!(limits.get(Limit::LlmTokens), 100_000);
        let narrower = LimitRequest([(Limit::RecordsPerFire, 7)].into());
        assert_eq!(Limits::resolve(Class::Async, [&request, &narrower]).get(Limit::RecordsPerFire), 7);
    }

    #[test]
    fn a_breach_says_what_was_wanted() {
        let mut meter = Meter::new(Limits::resolve(Class::Sync, []));
        meter.charge(Limit::Posts, 5).unwrap();
        let breach = meter.charge(Limit::Posts, 1).unwrap_err();
        assert_eq!((breach.limit, breach.used, breach.max), (Limit::Posts, 6, 5));
        assert_eq!(breach.to_string(), "limit exceeded: posts used 6 of at most 5 (sync run)");
        let spent = Breach { limit: Limit::LlmCost, used: 1_250_000, max: 500_000, scope: Scope::ServerDay, ..breach };
        let told = "limit exceeded: llm-cost used 1.250000 EUR of at most 0.500000 EUR (this server today)";
        assert_eq!(spent.to_string(), told);
    }

    #[test]
    fn writes_are_counted_for_each_record() {
        let mut meter = Meter::new(Limits::resolve(Class::Async, []));
        let write = |ids: Vec<Id>| Call::Write { model: "crm.lead".into(), ids, values: Vec::new() };
        for _ in 0..6 {
            meter.before(&write(vec![7, 8])).unwrap();
            meter.before(&write(vec![8, 9])).unwrap();
        }
        let relate = Call::Relate {
            target: crate::value::RecordRef::new("crm.lead", 8),
            field: "tag_ids".into(),
            commands: vec![Command::Link(1)],
        };
        let breach = meter.before(&relate).unwrap_err();
        assert_eq!((breach.limit, breach.used, breach.max), (Limit::WritesPerRecord, 13, 12));
        meter.before(&write(vec![7])).unwrap();
    }

    #[test]
    fn whoever_is_named_is_a_record_of_its_own() {
        let mut meter = Meter::new(Limits::resolve(Class::Async, []));
        let target = crate::value::RecordRef::new("crm.lead", 8);
        let most = usize::try_from(meter.limits.get(Limit::RecordsWritten)).unwrap();
        let follow = |count: usize| Call::AddFollowers { target: target.clone(), partner_ids: vec![1; count] };
        meter.before(&follow(most)).unwrap();
        assert_eq!(meter.before(&follow(1)).unwrap_err().limit, Limit::RecordsWritten);
    }

    #[test]
    fn lines_are_written_too() {
        let mut meter = Meter::new(Limits::resolve(Class::Async, []));
        let lines = Call::Relate {
            target: crate::value::RecordRef::new("sale.order", 8),
            field: "order_line".into(),
            commands: vec![Command::Update(3, Vec::new()); 13],
        };
        assert_eq!(meter.before(&lines).unwrap_err().limit, Limit::WritesPerRecord);
    }

    #[test]
    fn the_same_tool_call_in_a_row_is_counted_in_its_conversation() {
        let call =
            |name: &str, with: &str| ToolCall { id: with.into(), name: name.into(), arguments_json: with.into() };
        let answer = |calls: &[ToolCall]| {
            let usage = LlmUsage { input_tokens: 1, output_tokens: 1, cost: 0.0, currency: "EUR".into() };
            let finish = Finish::ToolCalls;
            Answer::Completion(Completion {
                text: String::new(),
                calls: calls.to_vec(),
                finish,
                usage,
                model: "m".into(),
            })
        };
        // A script's own loop: it asks, and asks again with what the model wanted.
        let converse = |meter: &mut Meter, turns: &[&[ToolCall]]| -> Result<u64, Breach> {
            let mut messages = vec![LlmMessage::User("Go on.".into())];
            for calls in turns {
                let request = LlmRequest {
                    model: None,
                    messages: messages.clone(),
                    tools: Vec::new(),
                    output_schema: None,
                    temperature: None,
                    max_tokens: None,
                };
                meter.before(&Call::Complete { request })?;
                meter.after(&answer(calls))?;
                messages.push(LlmMessage::AssistantCalls(String::new(), calls.to_vec()));
            }
            Ok(meter.used().get(Limit::IdenticalToolCalls))
        };
        let (a, b) = (call("note", "{1}"), call("note", "{2}"));
        let mut meter = Meter::new(Limits::resolve(Class::Agent, []));
        let three = [std::slice::from_ref(&a), std::slice::from_ref(&a), std::slice::from_ref(&a)];
        assert_eq!(converse(&mut meter, &three), Ok(3));
        assert_eq!(converse(&mut meter, &three), Ok(3), "another conversation");
        let others: [&[ToolCall]; 3] = [&[a.clone(), a.clone(), b.clone()], &[a.clone(), a.clone()], &[b, a.clone()]];
        assert_eq!(converse(&mut meter, &others), Ok(3));
        for many in [vec![vec![a.clone()]; 9], vec![vec![a.clone(); 2]; 2], vec![vec![a; 4]]] {
            let turns: Vec<_> = many.iter().map(Vec::as_slice).collect();
            let breach = converse(&mut meter.clone(), &turns).unwrap_err();
            assert_eq!((breach.limit, breach.used, breach.max), (Limit::IdenticalToolCalls, 4, 3));
        }
    }

    #[test]
    fn what_runs_within_a_run_has_what_is_left_and_uses_the_runs() {
        let mut meter = Meter::new(Limits::resolve(Class::Agent, []));
        meter.charge(Limit::Posts, 7).unwrap();
        let write = |ids: Vec<Id>| Call::Write { model: "crm.lead".into(), ids, values: Vec::new() };
        for _ in 0..11 {
            meter.before(&write(vec![1])).unwrap();
        }
        let asked = LimitRequest([(Limit::Queries, 5), (Limit::Posts, 9), (Limit::LlmTokens, 0)].into());
        let mut inner = meter.within(&asked);
        let max = |limit| inner.limits().get(limit);
        assert_eq!((max(Limit::Queries), max(Limit::Posts), max(Limit::WriteCalls)), (5, 3, 89));
        assert_eq!((max(Limit::CallBytes), max(Limit::LlmTokens)), (4 * MIB, 1_000_000));
        inner.charge(Limit::Posts, 2).unwrap();
        inner.before(&write(vec![1])).unwrap();
        assert_eq!(inner.before(&write(vec![1])).unwrap_err().limit, Limit::WritesPerRecord, "12 times in all");

        let mut after = meter.clone();
        after.absorb(inner.used(), inner.writes()).unwrap_err();
        let mut inner = meter.within(&asked);
        inner.charge(Limit::Posts, 2).unwrap();
        inner.before(&write(vec![1])).unwrap();
        meter.absorb(inner.used(), inner.writes()).unwrap();
        assert_eq!((meter.used().get(Limit::Posts), meter.used().get(Limit::WriteCalls)), (9, 12));
        assert_eq!(meter.before(&write(vec![1])).unwrap_err().limit, Limit::WritesPerRecord);
    }

    #[test]
    fn what_only_the_backend_knows_is_counted_with_the_answer() {
        let mut meter = Meter::new(Limits::resolve(Class::Async, [&LimitRequest([(Limit::RecordsDeleted, 3)].into())]));
        let answer = |deleted| Answer::Ids(vec![1, 2]).with(crate::call::Extra { written: 4, deleted });
        meter.after(&answer(3)).unwrap();
        let used = |limit| meter.used().get(limit);
        assert_eq!((used(Limit::RecordsWritten), used(Limit::RecordsDeleted), used(Limit::RecordsRead)), (4, 3, 2));
        assert_eq!(meter.after(&answer(1)).unwrap_err().limit, Limit::RecordsDeleted);
        assert_eq!(answer(1).plain(), Answer::Ids(vec![1, 2]));
        assert_eq!(Answer::Done.with(crate::call::Extra::default()), Answer::Done);
    }

    #[test]
    fn what_one_call_and_all_calls_carry_is_bounded() {
        let mut meter = Meter::new(Limits::resolve(Class::Async, []));
        let get = |bytes: usize| Call::StateGet { key: "k".repeat(bytes) };
        let breach = meter.clone().before(&get(4 << 20)).unwrap_err();
        assert_eq!((breach.limit, breach.max), (Limit::CallBytes, 4 * MIB));
        for _ in 0..7 {
            meter.before(&get(1 << 20)).unwrap();
        }
        let breach = meter.before(&get(1 << 20)).unwrap_err();
        assert_eq!((breach.limit, breach.max), (Limit::BytesSent, 8 * MIB));
    }

    #[test]
    fn limits_that_were_kept_before_there_was_one_have_the_classes() {
        let limits = Limits::resolve(Class::Batch, [&LimitRequest([(Limit::Fuel, 7)].into())]);
        let mut json = serde_json::to_value(limits).unwrap();
        assert_eq!(serde_json::from_value::<Limits>(json.clone()).unwrap(), limits);
        json["max"].as_object_mut().unwrap().remove("bytes-sent").unwrap();
        json["max"]["of-tomorrow"] = 1.into();
        assert_eq!(serde_json::from_value::<Limits>(json).unwrap(), limits);
    }

    #[test]
    fn the_stack_is_the_engines() {
        let request = LimitRequest([(Limit::Stack, 1)].into());
        assert_eq!(Limits::resolve(Class::Async, [&request]).get(Limit::Stack), MIB);
    }
}
