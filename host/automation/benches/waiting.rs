//! What an agent costs besides the network: the time between a model's answer and the next question of the same run, at
//! the begin of a thread and far into it, on a disk and in memory, next to the two durable transactions that keeping an
//! answer and an intent takes at least, and to a bare client that sends the same questions; and how long runs of other rules wait while 200 runs wait for a model, against
//! none. `cargo bench --workspace --bench waiting`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic, in its helpers too"
)]

#[path = "../tests/support/gate.rs"]
#[allow(dead_code, reason = "of the server, only what holds answers")]
mod gate;
#[path = "../../../tests/e2e/support/model.rs"]
mod model;
#[path = "../tests/engine/world.rs"]
#[allow(dead_code, reason = "not every part is needed")]
mod world;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use model::{ModelServer, Say};
use rusqlite::Connection;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};
use triggerbox_automation::{
    Config, Engine, SystemClock,
    agents::{Agent, stored as agents},
    people,
    rule::{
        Ground,
        stored::{Edit, Ownership, RuleError},
    },
    runs::RunState,
};
use triggerbox_llm::{Clock, Models, Services};
use triggerbox_model::{
    call::{Answer, Call},
    event::Trigger,
    value::{Id, Value},
};
use triggerbox_sandbox::{Pool, Sandbox};
use triggerbox_store::db::Database;
use world::{ADMIN, NOW, World, fields};

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    // On a real disk: a commit must cost what it costs.
    let on_disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("from a model's answer to the run's next question, with a search between");
    for (place, folder) in [("durable, on a disk", on_disk.path()), ("in memory (/dev/shm)", Path::new("/dev/shm"))] {
        if folder.is_dir() {
            println!("  {place}");
            overhead(quick, tempfile::tempdir_in(folder).unwrap().path());
        }
    }
    latency(quick, on_disk.path());
}

/// An engine on a file, as a server has it, that asks models at this address.
fn office(folder: &Path, providers: &str, leads: usize) -> (Engine, Vec<Id>) {
    let clock: Arc<dyn Clock> = Arc::new(triggerbox_llm::SystemClock);
    let config = triggerbox_llm::Config::parse(providers).unwrap();
    let budgets = config.budgets.clone();
    let models = Models::live(config, &clock, &|_| Some("a-key-for-benchmarks".to_owned())).unwrap();
    let outside = Some(Arc::new(Services { models, web: None, budgets, clock }));
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let database = Database::create_demo(&folder.join("bench.db"), now).unwrap();
    let config = Config { outside, seed: Some(7), ..Config::default() };
    let engine =
        Engine::open(database, Sandbox::new(&Pool::default()).unwrap(), config, Arc::new(SystemClock)).unwrap();
    // Its short ways to keep rules and make records; its clock stands still and is not used.
    let world = World { engine, clock: Arc::new(triggerbox_automation::TestClock::at(now)) };
    let agent: Agent = toml::from_str("name = \"sales\"").unwrap();
    let env = people::environment(world.engine.database(), ADMIN, true, now).unwrap();
    let policy = world.engine.config().policy.clone();
    let keep = move |conn: &Connection| {
        let edit =
            Edit { by: ADMIN, at: env.now, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
        agents::save(Ground { conn, env: &env, policy: &policy }, &agent, &edit).map(drop)
    };
    let kept: Result<(), RuleError> = world.engine.committer().commit_blocking(keep);
    kept.unwrap();
    world.rule(&format!(
        "name = \"ask\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"per-record\"\n\
         max-records = 0\nconcurrency = {leads}\n\
         [[actions]]\nscript = \"ai-agent\"\nagent = \"sales\"\nparameters = {{ prompt = \"Look.\", max_steps = \"50\" }}\n\
         grants = [{{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }}]\n"
    ));
    world.rule(
        "name = \"other\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let values = (0..leads).map(|number| fields(&[("name", Value::text(format!("Lead {number}")))])).collect();
    let Answer::Ids(leads) = world.ask(Call::Create { model: "crm.lead".into(), values }) else { panic!() };
    (world.engine, leads)
}

/// Questions of one run, with a search between any two.
const STEPS: usize = 48;

/// What keeping an answer and the next intent takes at least: two transactions of one row each, by hand.
fn by_hand(conn: &Connection) -> Duration {
    let begin = Instant::now();
    conn.prepare_cached("INSERT INTO by_hand (request) VALUES (?1)").unwrap().execute(["x".repeat(500)]).unwrap();
    let sql = "UPDATE by_hand SET reply = ?2 WHERE id = ?1";
    conn.prepare_cached(sql).unwrap().execute((conn.last_insert_rowid(), "x".repeat(500))).unwrap();
    begin.elapsed()
}

fn overhead(quick: bool, folder: &Path) {
    let (server, times) = timed_server();
    let runs = if quick { 1 } else { 40 };
    let providers = format!(
        "{}[budgets]\nrule-day = {{ calls = 100000, tokens = 1000000000, cost = 1000.0 }}\n\
         server-day = {{ calls = 100000, tokens = 1000000000, cost = 1000.0 }}\n\
         root = {{ calls = 50, tokens = 100000000, cost = 100.0 }}\n",
        server.providers()
    );
    let (engine, leads) = office(folder, &providers, runs);
    let hand = Connection::open(folder.join("bench.db")).unwrap();
    hand.pragma_update(None, "synchronous", "FULL").unwrap();
    hand.execute_batch("CREATE TABLE by_hand (id INTEGER PRIMARY KEY, request TEXT, reply TEXT)").unwrap();
    let mut plain = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let workers = engine.start();
        for lead in &leads {
            let run = engine.fire("ask", ADMIN, Trigger::Manual, vec![*lead]).await.unwrap()[0];
            let done = engine.wait(run).await.unwrap().summary;
            assert_eq!(done.state, RunState::Succeeded, "{done:?}");
            plain.extend((0..STEPS).map(|_| by_hand(&hand)));
        }
        workers.drain().await;
    });
    plain.sort();
    let plain = plain[plain.len() / 2];
    let asked = std::mem::take(&mut *times.lock().unwrap());
    assert_eq!(asked.len(), runs * STEPS);
    // From an answer to the next question: two durable transactions, one search, the script.
    let between = |asked: &[Question], from: usize, to: usize| {
        let of_a_run = |run: &[Question]| {
            run.windows(2).map(|two| two[1].came.duration_since(two[0].answered)).collect::<Vec<_>>()[from..to].to_vec()
        };
        let mut all: Vec<Duration> = asked.chunks(STEPS).flat_map(of_a_run).collect();
        all.sort();
        all[all.len() / 2]
    };
    // What of it is the way there and back.
    let questions: Vec<Vec<u8>> = asked[..STEPS].iter().map(|question| question.body.clone()).collect();
    let (server, times) = timed_server();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        for question in std::iter::repeat_n(&questions, runs).flatten() {
            let sent = client.post(format!("{}/v1/chat/completions", server.url)).body(question.clone()).send();
            sent.await.unwrap().bytes().await.unwrap();
        }
    });
    let bare = std::mem::take(&mut *times.lock().unwrap());
    println!("    two transactions by hand: p50 {plain:.1?}");
    for (name, from, to) in [("2nd to 9th question:     ", 1, 9), ("40th to 47th question:   ", STEPS - 9, STEPS - 1)] {
        let (all, way) = (between(&asked, from, to), between(&bare, from, to));
        let own = all.saturating_sub(way);
        println!("    {name} p50 {all:.1?}; of a bare client {way:.1?}; the difference {own:.1?}");
    }
    let (early, late) = (between(&asked, 1, 9), between(&asked, STEPS - 9, STEPS - 1));
    println!("    ratio of the two:         {:.2}", late.as_secs_f64() / early.as_secs_f64());
}

/// When a question was there, when its answer was, and what it said.
struct Question {
    came: Instant,
    answered: Instant,
    body: Vec<u8>,
}

/// A model that has something looked up again and again, and what it was asked.
fn timed_server() -> (ModelServer, Arc<Mutex<Vec<Question>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let server = ModelServer::unread(move |nth, asked| {
        let nth = nth % STEPS;
        let say = match nth + 1 == STEPS {
            true => json!("Looked."),
            false => json!([["search", { "model": "crm.lead", "domain": [["id", ">", nth]], "fields": ["name"] }]]),
        };
        let body = asked.body.clone();
        kept.lock().unwrap().push(Question { came: asked.came, answered: Instant::now(), body });
        Say::This(say)
    });
    (server, asked)
}

fn latency(quick: bool, folder: &Path) {
    let many = if quick { 8 } else { 200 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (open, opened) = watch::channel(false);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = runtime.spawn(gate::serve(listener, opened));
    let (engine, leads) = office(folder, &gate::providers(&url), many);
    let rounds = if quick { 8 } else { 500 };
    runtime.block_on(async {
        let workers = engine.start();
        waits(&engine, leads[0], rounds.min(50)).await;
        let alone = waits(&engine, leads[0], rounds).await;
        engine.fire("ask", ADMIN, Trigger::Manual, leads.clone()).await.unwrap();
        engine.watch_waiting().wait_for(|now| *now == many).await.unwrap();
        let beside = waits(&engine, leads[0], rounds).await;
        assert_eq!(engine.waiting(), many);
        open.send_replace(true);
        workers.drain().await;
        println!("a run of another rule, from the fire to the end");
        println!("  alone:                     p50 {:.1?}, p99 {:.1?}", alone.0, alone.1);
        println!("  beside {many} that wait:       p50 {:.1?}, p99 {:.1?}", beside.0, beside.1);
        let ratio = |a: Duration, b: Duration| b.as_secs_f64() / a.as_secs_f64();
        println!("  ratio: p50 {:.2}, p99 {:.2}", ratio(alone.0, beside.0), ratio(alone.1, beside.1));
    });
    serving.abort();
}

/// From fire to end, one after the other: the median, and what one in a hundred takes longer than.
async fn waits(engine: &Engine, lead: Id, rounds: usize) -> (Duration, Duration) {
    let mut waits = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        let run = engine.fire("other", ADMIN, Trigger::Manual, vec![lead]).await.unwrap()[0];
        assert_eq!(engine.wait(run).await.unwrap().summary.state, RunState::Succeeded);
        waits.push(begin.elapsed());
    }
    waits.sort();
    (waits[waits.len() / 2], waits[(waits.len() - 1) * 99 / 100])
}
