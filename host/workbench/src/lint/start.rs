//! What it costs to start a script: measured, on this machine.

use triggerbox_model::{
    allowance::Allowance,
    call::{Call, Reply},
    event::{Event, Trigger, User},
    limits::{Class, Limit, Limits},
    value::Link,
};
use triggerbox_sandbox::{Durations, Host, HostFault, LogLevel, Script};

/// One start of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Where the time went.
    pub durations: Durations,
    /// Memory after it, in bytes.
    pub memory: u64,
}

/// Starts measured; the fastest counts, for the others were disturbed.
const TIMES: u32 = 5;

/// Starts a script, and ends it at its first call.
pub async fn start(script: &Script) -> Start {
    let mut fastest = once(script).await;
    for _ in 1..TIMES {
        let next = once(script).await;
        if next.durations.instantiate < fastest.durations.instantiate {
            fastest = next;
        }
    }
    fastest
}

async fn once(script: &Script) -> Start {
    let run = script.run(event(), Limits::resolve(Class::Async, []), Box::new(Nobody)).await;
    Start { durations: run.durations, memory: run.used.get(Limit::Memory) }
}

/// Answers nothing.
struct Nobody;

#[async_trait::async_trait]
impl Host for Nobody {
    async fn call(&mut self, _: Call, _: Allowance) -> Result<Reply, HostFault> {
        Err(HostFault::new("only the start was wanted"))
    }

    fn log(&mut self, _: LogLevel, _: &str) {}
}

fn event() -> Event {
    let user = User {
        id: 1,
        name: "System".to_owned(),
        login: "system".to_owned(),
        lang: "en_US".to_owned(),
        tz: "UTC".to_owned(),
    };
    Event {
        run_id: "start".to_owned(),
        rule: "start".to_owned(),
        attempt: 1,
        depth: 0,
        seed: 1,
        trigger: Trigger::Manual,
        model: None,
        records: Vec::new(),
        old_values: Vec::new(),
        actor: user.clone(),
        run_as: user,
        superuser: false,
        company: Link { id: 1, name: None },
        now: "2026-01-15T09:00:00Z".to_owned(),
        parameters: Vec::new(),
        previous: None,
        extra_json: None,
    }
}
