//! A host in memory and an event, for tests and benches of the sandbox.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, FieldInfo, Reply},
    error::Error,
    event::{Event, Trigger, User},
    limits::{Class, Limit, LimitRequest, Limits},
    value::{FieldValue, Link, Row, Value},
};
use triggerbox_sandbox::{Host, HostFault, LogLevel, Pool, Run, Sandbox};

/// Answers from memory, and stages what would be committed.
#[derive(Default)]
pub struct Memory {
    /// What a commit would apply.
    pub staged: Vec<Call>,
    /// The run's log.
    pub lines: Vec<(LogLevel, String)>,
    /// What to do in place of answering.
    pub mood: Mood,
    /// How often it was asked.
    pub asked: usize,
    /// Set when the host is dropped or given back.
    pub committed: Arc<Mutex<Vec<Call>>>,
}

/// How the host behaves.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Good,
    /// It refuses everything.
    Refusing,
    /// It never answers.
    Silent,
    /// It computes for as long as it may, without a pause.
    Busy,
    /// Its backend is gone.
    Broken,
    /// Other services never answer it.
    Unheard,
    /// Other services take 5 ms to say no.
    Slow,
}

#[async_trait::async_trait]
impl Host for Memory {
    async fn call(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        self.asked += 1;
        match self.mood {
            Mood::Good => {}
            Mood::Refusing => return Ok(Err(Error::denied("denied", "the test's policy refuses everything"))),
            Mood::Silent => std::future::pending().await,
            Mood::Busy => {
                let until = may.until.expect("a run has a limit on time");
                while std::time::Instant::now() < until {}
                return Err(HostFault::Over(Limit::WallTime));
            }
            Mood::Unheard if matches!(call, Call::Send { .. }) => std::future::pending().await,
            Mood::Slow if matches!(call, Call::Send { .. }) => {
                let begun = std::time::Instant::now();
                while begun.elapsed() < std::time::Duration::from_millis(5) {}
            }
            Mood::Unheard | Mood::Slow => {}
            Mood::Broken => return Err(HostFault::new("the database is gone")),
        }
        Ok(Ok(match &call {
            Call::Read { ids, fields, .. } => Answer::Rows(ids.iter().map(|id| row(*id, fields)).collect()),
            Call::SearchRead { fields, .. } => Answer::Rows(vec![row(7, fields)]),
            Call::Search { .. } => Answer::Ids(vec![7]),
            Call::SearchCount { .. } => Answer::Count(1),
            Call::StateGet { .. } => Answer::OptionalText(None),
            Call::FieldsGet { .. } => Answer::Fields(vec![field()]),
            Call::Write { .. } | Call::PostNote { .. } | Call::PostMessage { .. } | Call::StateSet { .. } => {
                self.staged.push(call);
                Answer::Done
            }
            _ => return Ok(Err(Error::unavailable("not-here", "the test host does not know this call"))),
        }))
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.lines.push((level, message.to_owned()));
    }
}

fn row(id: u32, fields: &[String]) -> Row {
    let value = |field: &String| match field.as_str() {
        "amount_total" => Value::Number(12_000.0),
        "name" => Value::text("SO0042"),
        _ => Value::Unset,
    };
    Row { id, values: fields.iter().map(value).collect() }
}

fn field() -> FieldInfo {
    FieldInfo {
        name: "stage_id".into(),
        label: "Stage".into(),
        kind: "many2one".into(),
        relation: Some("crm.stage".into()),
        required: false,
        readonly: false,
        stored: true,
        selection: Vec::new(),
        help: None,
    }
}

/// The event of an order that was created.
pub fn event() -> Event {
    let user = User {
        id: 2,
        name: "Mitchell Admin".into(),
        login: "admin".into(),
        lang: "en_US".into(),
        tz: "Europe/Brussels".into(),
    };
    Event {
        run_id: "run-1".into(),
        rule: "high-value".into(),
        attempt: 1,
        depth: 0,
        seed: 7,
        trigger: Trigger::Created,
        model: Some("sale.order".into()),
        records: vec![42],
        old_values: Vec::new(),
        actor: user.clone(),
        run_as: user,
        superuser: false,
        company: Link { id: 1, name: Some("My Company".into()) },
        now: "2026-11-21T10:15:00Z".into(),
        parameters: vec![FieldValue::new("threshold", Value::Number(10_000.0))],
        previous: None,
        extra_json: None,
    }
}

/// The limits of an `after` rule, with these in place of the defaults.
pub fn limits(changes: &[(Limit, u64)]) -> Limits {
    Limits::resolve(Class::Async, [&LimitRequest(changes.iter().copied().collect())])
}

/// One sandbox for a whole test program.
pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: std::sync::LazyLock<Sandbox> =
        std::sync::LazyLock::new(|| Sandbox::new(&Pool { live: 16, ..Pool::default() }).unwrap());
    &SANDBOX
}

/// Runs a component once.
pub async fn run(component: &[u8], limits: Limits, host: Memory) -> Run {
    sandbox().compile(component).unwrap().run(event(), limits, Box::new(host)).await
}

/// The host that a run gives back.
pub fn memory(run: Run) -> Memory {
    *run.host.downcast::<Memory>().unwrap()
}
