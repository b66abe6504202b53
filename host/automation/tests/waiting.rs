//! Runs that wait for a language model hold up nobody: neither a worker nor a thread is theirs meanwhile. The model's
//! server answers when it is told to, so nothing here depends on how fast anything is. `TRIGGERBOX_WAITING_RUNS` says how
//! many wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "support/gate.rs"]
mod gate;
#[path = "engine/world.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod world;

use std::{sync::Arc, time::Duration};

use gate::Gate;
use triggerbox_automation::{
    Config, Engine, TestClock,
    agents::{Agent, stored as agents},
    people,
    rule::{
        Ground,
        stored::{Edit, Ownership, RuleError},
    },
    runs::{RunFilter, RunId, RunState},
};
use triggerbox_llm::{Clock, Models, Services, SystemClock};
use triggerbox_model::{
    call::{Answer, Call},
    event::Trigger,
    value::{Id, Value},
};
use triggerbox_sandbox::{Pool, Sandbox};
use triggerbox_store::db::Database;
use world::{ADMIN, NOW, World, fields};

/// Runs that work at once.
const WORKERS: usize = 4;

/// The demo company with an agent on the gate's model, two rules and new leads.
struct Office {
    world: World,
    leads: Vec<Id>,
}

impl Office {
    fn new(gate: &Gate, leads: usize, workers: usize, waiting: usize) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = triggerbox_llm::Config::parse(&gate.providers()).unwrap();
        let budgets = config.budgets.clone();
        let models = Models::live(config, &clock, &|_| None).unwrap();
        let outside = Some(Arc::new(Services { models, web: None, budgets, clock }));
        let config = Config { workers, waiting, outside, seed: Some(7), ..Config::default() };
        let sandbox =
            Sandbox::new(&Pool { live: u32::try_from(waiting + workers).unwrap(), ..Pool::default() }).unwrap();
        let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
        let database = Database::demo_in_memory(NOW.parse().unwrap()).unwrap();
        let engine = Engine::open(database, sandbox, config, Arc::<TestClock>::clone(&clock)).unwrap();
        let world = World { engine, clock };

        let agent: Agent = toml::from_str("name = \"sales\"").unwrap();
        let env = people::environment(world.engine.database(), ADMIN, true, NOW.parse().unwrap()).unwrap();
        let policy = world.engine.config().policy.clone();
        let keep = move |conn: &rusqlite::Connection| {
            let edit = Edit {
                by: ADMIN,
                at: env.now,
                note: "",
                ownership: Ownership::Take,
                administrator: true,
                agrees: false,
            };
            agents::save(Ground { conn, env: &env, policy: &policy }, &agent, &edit).map(drop)
        };
        let kept: Result<(), RuleError> = world.engine.committer().commit_blocking(keep);
        kept.unwrap();
        world.rule(&format!(
            "name = \"ask\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"per-record\"\n\
             max-records = 0\nconcurrency = {leads}\n\
             [[actions]]\nscript = \"ai-agent\"\nagent = \"sales\"\nparameters = {{ prompt = \"Look.\" }}\n\
             grants = [{{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }}]\n"
        ));
        world.rule(
            "name = \"other\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
             actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
        );
        let values = (0..leads).map(|number| fields(&[("name", Value::text(format!("Lead {number}")))])).collect();
        let Answer::Ids(leads) = world.ask(Call::Create { model: "crm.lead".into(), values }) else { panic!() };
        Self { world, leads }
    }

    async fn fire(&self, rule: &str, leads: &[Id]) -> Vec<RunId> {
        self.world.engine.fire(rule, ADMIN, Trigger::Manual, leads.to_vec()).await.unwrap()
    }

    /// Runs of another rule, from the fire to the end.
    async fn others_finish(&self) {
        let runs = self.fire("other", &self.leads[..8]).await;
        self.finish(runs).await;
    }

    async fn finish(&self, runs: Vec<RunId>) {
        for run in runs {
            let run = self.world.engine.wait(run).await.unwrap();
            assert_eq!(run.summary.state, RunState::Succeeded, "{run:?}");
        }
    }

    /// Until so many wait.
    async fn wait_for(&self, waiting: usize) {
        self.world.engine.watch_waiting().wait_for(|now| *now == waiting).await.unwrap();
    }

    fn count(&self, state: RunState) -> usize {
        self.world.runs(&RunFilter { state: Some(state), limit: 1_000_000, ..RunFilter::default() }).len()
    }
}

/// Threads of this process; nothing where the system does not say.
fn threads() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
}

/// Not a test: the model's server, in a process of its own.
#[test]
fn gate() {
    Gate::serve_if_asked();
}

// Shows: F023
#[test]
fn runs_that_wait_hold_up_nobody() {
    let many = std::env::var("TRIGGERBOX_WAITING_RUNS").map_or(200, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut gate = Gate::start("gate");
    let office = Office::new(&gate, many, WORKERS, many);
    let engine = &office.world.engine;
    runtime.block_on(async {
        let workers = engine.start();
        // The script is compiled, and whatever needs a thread has it.
        let first = office.fire("ask", &office.leads[..1]).await;
        office.wait_for(1).await;
        let before = threads();
        let mut runs = office.fire("ask", &office.leads[1..]).await;
        runs.extend(first);
        office.wait_for(many).await;
        assert_eq!(office.count(RunState::Running), many);
        if let (Some(before), Some(now)) = (before, threads()) {
            assert!(now < before + 16, "{before} threads before, {now} with {many} runs that wait");
        }
        office.others_finish().await;
        assert_eq!(engine.waiting(), many, "nobody was answered meanwhile");

        // A run that waits keeps its claim, however long it waits, also where the machine slept meanwhile,
        for minutes in [1, 4, 14, 600] {
            office.world.pass(Duration::from_secs(minutes * 60));
            engine.tick().await.unwrap();
            assert_eq!(office.count(RunState::Running), many);
        }
        // can be cancelled,
        engine.cancel(runs.pop().unwrap(), ADMIN).await.unwrap();
        office.wait_for(many - 1).await;
        assert_eq!((office.count(RunState::Running), office.count(RunState::Cancelled)), (many - 1, 1));
        // and is waited for when the server is stopped.
        let drained = tokio::spawn(workers.drain());
        assert!(!drained.is_finished() && engine.waiting() == many - 1);
        gate.open();
        drained.await.unwrap();
    });
    assert_eq!(engine.waiting(), 0);
    let done = office.world.runs(&RunFilter { rule: Some("ask".into()), limit: 1_000_000, ..RunFilter::default() });
    assert_eq!(done.iter().filter(|run| run.state == RunState::Succeeded).count(), many - 1);
    assert!(done.iter().all(|run| run.attempt == 1), "each was begun once");
}

#[test]
fn a_run_whose_worker_is_gone_is_found_again_when_its_lease_is_over() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let gate = Gate::start("gate");
    let office = Office::new(&gate, 1, 1, 1);
    let engine = &office.world.engine;
    runtime.block_on(async {
        let _workers = engine.start();
        office.fire("ask", &office.leads).await;
        office.wait_for(1).await;
    });
    // Its task ends where it waits, as that of one that panics does.
    drop(runtime);
    assert_eq!((office.count(RunState::Running), engine.waiting()), (1, 0));
    for (minutes, running) in [(4, 1), (2, 0)] {
        office.world.pass(Duration::from_secs(minutes * 60));
        world::block_on(engine.tick()).unwrap();
        assert_eq!(office.count(RunState::Running), running, "after {minutes} minutes more");
    }
    assert_eq!(office.count(RunState::Queued), 1);
}

#[test]
fn where_no_more_may_wait_others_still_find_a_worker() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut gate = Gate::start("gate");
    let office = Office::new(&gate, 12, 2, 3);
    let engine = &office.world.engine;
    runtime.block_on(async {
        let workers = engine.start();
        let runs = office.fire("ask", &office.leads).await;
        office.wait_for(3).await;
        office.others_finish().await;
        assert!(office.count(RunState::Running) <= 4 && office.count(RunState::Queued) >= 8, "the rest is not begun");
        gate.open();
        office.finish(runs).await;
        workers.drain().await;
    });
    assert_eq!(engine.waiting(), 0);
}

#[test]
fn who_drains_the_queue_once_waits_for_a_slow_model_and_lets_others_go_ahead() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut gate = Gate::start("gate");
    let office = Office::new(&gate, 8, 1, 8);
    let engine = &office.world.engine;
    runtime.block_on(async {
        office.fire("ask", &office.leads[..2]).await;
        let others = office.fire("other", &office.leads).await;
        let drained = tokio::spawn({
            let engine = engine.clone();
            async move { engine.settle().await }
        });
        office.finish(others).await;
        office.wait_for(2).await;
        assert!(!drained.is_finished());
        gate.open();
        assert_eq!(drained.await.unwrap().unwrap(), 10);
    });
}
