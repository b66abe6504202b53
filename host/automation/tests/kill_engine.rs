//! `kill -9` at any moment loses no run and applies the effects of each exactly once.
//!
//! A child process changes records, so that rules fire, and runs what they make; it is killed at random moments and at
//! named places. Then the database is checked as it was left, the engine is opened on it again, and what it comes to is
//! compared with what must have happened. `TRIGGERBOX_KILLS` says how many times (20 if it does not). The checker itself is
//! checked: it must find what a run that ends in two transactions leaves behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use guest_artifacts::HIGH_VALUE_ORDER;
use jiff::Timestamp;
use triggerbox_automation::{
    Config, Engine, Origin, SystemClock, people,
    rule::{
        Ground, Rule,
        stored::{self, Edit, Ownership},
    },
    scripts::{registry, upload},
};
use triggerbox_model::{
    call::{Answer, Call},
    value::{FieldValue, Id, Value},
};
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::db::{Database, Mode};

const ADMIN: Id = 2;

/// Each order over the threshold is to be noted once. `[a]` and `[b]` are two rules on the same change.
const RULES: [&str; 2] = ["notice-a", "notice-b"];

/// Where the process is killed by name: the change and its events, the lease, the run, the commit, the acknowledgement.
const PLACES: [&str; 9] = [
    "changed",
    "events-written",
    "lease-written",
    "after-lease",
    "ran",
    "effect-applied",
    "run-recorded",
    "mid-commit",
    "before-acknowledgement",
];

fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

fn open(path: &Path) -> Engine {
    let database = Database::open(path, Mode::Write).unwrap();
    let sandbox = Sandbox::new(&Pool::default()).unwrap();
    Engine::open(database, sandbox, Config { seed: Some(7), ..Config::default() }, Arc::new(SystemClock)).unwrap()
}

fn prepare(path: &Path) {
    drop(Database::create_demo(path, now()).unwrap());
    let engine = open(path);
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let upload = upload::inspect(component).unwrap();
    engine.committer().commit_blocking(move |conn| registry::store(conn, &upload, ADMIN, now())).unwrap();
    for name in RULES {
        let rule: Rule = toml::from_str(&format!(
            "name = \"{name}\"\nmodel = \"sale.order\"\ndomain = \"[('amount_total', '>', 5000)]\"\n\
             trigger = {{ on = \"created-or-updated\", fields = [\"amount_total\"] }}\n\
             actions = [{{ script = \"high-value-order\" }}]"
        ))
        .unwrap();
        let env = people::environment(engine.database(), ADMIN, true, now()).unwrap();
        let policy = engine.config().policy.clone();
        let save = move |conn: &rusqlite::Connection| {
            let ground = Ground { conn, env: &env, policy: &policy };
            let edit = Edit { by: ADMIN, at: env.now, note: "", ownership: Ownership::Take, administrator: true };
            stored::save(ground, &rule, &edit)
        };
        engine.committer().commit_blocking(save).unwrap();
    }
}

/// One change: an order whose total is over the threshold. Fires both rules once.
async fn order(engine: &Engine, number: u32) -> Id {
    let partner = FieldValue::new("partner_id", Value::link(1));
    let reference = FieldValue::new("client_order_ref", Value::text(format!("order {number}")));
    let calls = vec![Call::Create { model: "sale.order".into(), values: vec![vec![partner, reference]] }];
    let order = match &engine.change(Origin::user(ADMIN), calls).await.unwrap().answers[0] {
        Answer::Ids(ids) => ids[0],
        other => panic!("{other:?}"),
    };
    let line = vec![
        FieldValue::new("order_id", Value::link(order)),
        FieldValue::new("product_id", Value::link(1)),
        FieldValue::new("product_uom_qty", Value::Number(1.0)),
        FieldValue::new("price_unit", Value::Number(20_000.0)),
    ];
    let calls = vec![Call::Create { model: "sale.order.line".into(), values: vec![line] }];
    engine.change(Origin::user(ADMIN), calls).await.unwrap();
    order
}

/// Changes and runs until it is killed. Run by the tests below, in a process of its own.
#[test]
#[ignore = "the other tests run it as a child"]
fn child() {
    let Some(path) = std::env::var_os("TRIGGERBOX_KILL_CHILD") else { return };
    let path = Path::new(&path);
    let engine = open(path);
    let first = count(&engine, "SELECT count(*) FROM sale_order WHERE client_order_ref LIKE 'order %'") + 1;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let _workers = engine.start();
        for number in first.. {
            let order = order(&engine, number).await;
            println!("changed {order}");
        }
    });
}

fn count(engine: &Engine, sql: &str) -> u32 {
    engine.database().snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

const NOTES: &str = "(SELECT count(*) FROM mail_message m WHERE m.model = 'sale.order' AND m.res_id = o.id \
                     AND m.body LIKE '%High-value sale%')";

/// What is wrong with the database as the kill left it, and after the engine was opened on it again.
fn check(path: &Path, reported: &[Id]) -> Result<(u32, Duration), String> {
    let must_be_zero = |engine: &Engine, rules: &[(&str, String)]| {
        for (what, sql) in rules {
            let found = count(engine, sql);
            if found != 0 {
                return Err(format!("{found} {what}"));
            }
        }
        Ok(())
    };
    let done = |state: &str| format!("(SELECT count(*) FROM engine_run r WHERE r.record = o.id AND r.state {state})");
    let orders =
        "SELECT count(*) FROM sale_order o WHERE o.client_order_ref LIKE 'order %' AND o.amount_total > 5000 AND";

    let started = Instant::now();
    let engine = open(path);
    let damage: String =
        engine.database().snapshot().unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if damage != "ok" {
        return Err(format!("damaged: {damage}"));
    }
    must_be_zero(
        &engine,
        &[
            (
                "orders with another number of notes than of succeeded runs",
                format!("{orders} {NOTES} <> {}", done("= 'succeeded'")),
            ),
            ("orders without a run for each rule", format!("{orders} {} <> 2", done("IS NOT NULL"))),
            (
                "runs that are neither finished nor queued",
                "SELECT count(*) FROM engine_run WHERE state NOT IN ('queued', 'succeeded')".into(),
            ),
            (
                "runs without their event",
                "SELECT count(*) FROM engine_run r WHERE NOT EXISTS (SELECT 1 FROM engine_event e WHERE e.id = r.root)"
                    .into(),
            ),
            (
                "lanes of finished runs",
                "SELECT count(*) FROM engine_lane l JOIN engine_run r ON r.id = l.run WHERE r.finished IS NOT NULL"
                    .into(),
            ),
        ],
    )?;
    for order in reported {
        if count(&engine, &format!("SELECT count(*) FROM sale_order WHERE id = {order} AND amount_total > 5000")) != 1 {
            return Err(format!("order {order} was reported as changed, and is not there"));
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.step()).map_err(|error| format!("the first step failed: {error}"))?;
    let resumed = started.elapsed();
    runtime.block_on(engine.settle()).map_err(|error| format!("cannot go on: {error}"))?;
    must_be_zero(
        &engine,
        &[
            ("orders that were not noted once by each rule", format!("{orders} {NOTES} <> 2")),
            ("runs that did not succeed", "SELECT count(*) FROM engine_run WHERE state <> 'succeeded'".into()),
            ("lanes that are left", "SELECT count(*) FROM engine_lane".into()),
            ("runs with another number of successful attempts than one", "SELECT count(*) FROM engine_run r WHERE (SELECT count(*) FROM engine_attempt a WHERE a.run = r.id AND a.code = 'applied') <> 1".into()),
        ],
    )?;
    Ok((count(&engine, "SELECT count(*) FROM engine_run"), resumed))
}

struct Victim {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    reported: Vec<Id>,
}

impl Victim {
    fn start(database: &Path, trace: &Path, settings: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("TRIGGERBOX_KILL_CHILD", database)
            .env("TRIGGERBOX_FAILPOINT_TRACE", trace)
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output, reported: Vec::new() }
    }

    /// Waits until the child has said that it changed something; false when it is dead.
    fn next_change(&mut self) -> bool {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, order)) = line.split_once("changed ") {
                self.reported.push(order.trim().parse().unwrap());
                return true;
            }
            line.clear();
        }
        false
    }

    fn kill(mut self) -> Vec<Id> {
        self.child.kill().unwrap();
        while self.next_change() {}
        self.child.wait().unwrap();
        self.reported
    }

    /// Lets it run into its failpoint.
    fn outlive(mut self) -> Vec<Id> {
        while self.next_change() {}
        self.child.wait().unwrap();
        self.reported
    }
}

/// A small generator: the same kills in each run, as far as the machine lets them fall on the same moments.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn a_killed_engine_loses_no_run_and_does_nothing_twice() {
    let kills: u32 = std::env::var("TRIGGERBOX_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("kill.db"), folder.path().join("trace"));
    prepare(&path);
    let mut seed = 0x5EED_u64;
    let mut died: BTreeMap<String, u32> = BTreeMap::new();
    let (mut runs, mut slowest) = (0, Duration::ZERO);
    for kill in 0..kills {
        let (how, reported) = if kill % 2 == 0 {
            let place = PLACES[(kill / 2) as usize % PLACES.len()];
            let visit = 1 + random(&mut seed) % 12;
            let settings = [("TRIGGERBOX_FAILPOINT", place.to_owned()), ("TRIGGERBOX_FAILPOINT_AT", visit.to_string())];
            ("at", Victim::start(&path, &trace, &settings).outlive())
        } else {
            let mut victim = Victim::start(&path, &trace, &[]);
            for _ in 0..=random(&mut seed) % 5 {
                assert!(victim.next_change(), "the child must live until it is killed");
            }
            // A change and its runs take a few milliseconds: this falls anywhere in them.
            std::thread::sleep(Duration::from_micros(random(&mut seed) % 20_000));
            ("after", victim.kill())
        };
        let place = std::fs::read_to_string(&trace).unwrap_or_default();
        let place = place.trim_end();
        *died.entry(format!("{how} {place}")).or_default() += 1;
        let resumed;
        (runs, resumed) =
            check(&path, &reported).unwrap_or_else(|wrong| panic!("kill {kill} ({how} {place}): {wrong}"));
        slowest = slowest.max(resumed);
    }
    println!("{kills} kills, {runs} runs, the slowest restart to its first runs in {slowest:.1?}; it died:");
    for (place, times) in died {
        println!("  {times:>4}  {place}");
    }
    assert!(runs > 0);
}

#[test]
fn the_checker_finds_a_run_that_ends_in_two_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("kill.db"), folder.path().join("trace"));
    prepare(&path);
    let settings = [
        ("TRIGGERBOX_BROKEN_FINISH", "1".to_owned()),
        ("TRIGGERBOX_FAILPOINT", "between-transactions".to_owned()),
        ("TRIGGERBOX_FAILPOINT_AT", "7".to_owned()),
    ];
    let reported = Victim::start(&path, &trace, &settings).outlive();
    let wrong = check(&path, &reported).expect_err("effects without their run must be found");
    println!("found: {wrong}");
}
