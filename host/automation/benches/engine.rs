//! How fast: matching a change against many rules; durable runs against the plain SQLite transactions that they need; how
//! long a run waits. Prints ratios measured in one run: `cargo bench --workspace --bench engine`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic, in its helpers too"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use guest_artifacts::HIGH_VALUE_ORDER;
use rusqlite::Connection;
use triggerbox_automation::{
    Config, Engine, Origin, SystemClock,
    index::Index,
    matcher, people,
    rule::{
        Ground, Rule,
        stored::{self, Edit, Ownership},
    },
    runs::{RunFilter, RunState},
    scripts::{registry, upload},
};
use triggerbox_model::{
    call::Call,
    changes::{Change, ChangeKind, FieldChange},
    event::Trigger,
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::db::Database;

const ADMIN: Id = 2;

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    matching(quick);
    let folder = tempfile::tempdir().unwrap();
    durable(&folder.path().join("bench.db"), quick);
}

fn open(database: Database) -> Engine {
    let sandbox = Sandbox::new(&Pool::default()).unwrap();
    Engine::open(database, sandbox, Config { seed: Some(7), ..Config::default() }, Arc::new(SystemClock)).unwrap()
}

fn now() -> jiff::Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

/// One change of a lead's phone and city, against rules of which 10 are on leads.
fn matching(quick: bool) {
    println!("one change of two fields of a lead, matched");
    for rules in [1, 100, if quick { 1_000 } else { 10_000 }] {
        let engine = open(Database::demo_in_memory(now()).unwrap());
        let insert = move |conn: &Connection| -> Result<(), triggerbox_store::db::DbError> {
            for number in 0..rules {
                let model = if number < 10 { "crm.lead" } else { "res.partner" };
                let rule: Rule = toml::from_str(&format!(
                    "name = \"rule-{number}\"\nmodel = \"{model}\"\nbefore-domain = \"[('city', '!=', 'x{number}')]\"\n\
                     domain = \"[('type', '=', 'opportunity'), ('phone', 'ilike', '{number}')]\"\n\
                     trigger = {{ on = \"updated\", fields = [\"phone\"] }}\nactions = [{{ script = \"notify\" }}]",
                    model = model,
                ))
                .unwrap();
                let rule =
                    if model == "res.partner" { Rule { before_domain: None, domain: None, ..rule } } else { rule };
                conn.execute(
                    "INSERT INTO engine_rule (name, version, owner, body) VALUES (?1, 1, 2, ?2)",
                    (&rule.name, serde_json::to_string(&rule).unwrap()),
                )?;
            }
            Ok(())
        };
        engine.committer().commit_blocking(insert).unwrap();
        let conn = engine.database().snapshot().unwrap();
        let env = people::environment(engine.database(), people::SYSTEM, true, now()).unwrap();
        let started = Instant::now();
        let index = Index::load(&conn, env.clone()).unwrap();
        let loaded = started.elapsed();
        let lead: Id = conn.query_row("SELECT min(id) FROM crm_lead", [], |row| row.get(0)).unwrap();
        let change = Change {
            record: RecordRef::new("crm.lead", lead),
            kind: ChangeKind::Updated,
            fields: vec![
                FieldChange { field: "phone".into(), old: Value::Unset, new: Value::text("+32 2 555 01 02") },
                FieldChange { field: "city".into(), old: Value::Unset, new: Value::text("Ghent") },
            ],
        };
        let times = if quick { 10 } else { 20_000 };
        let mut fired = 0;
        let started = Instant::now();
        for _ in 0..times {
            fired = matcher::fires(&conn, &env, &index, std::slice::from_ref(&change)).unwrap().len();
        }
        let each = started.elapsed() / times;
        println!("  {rules:>6} rules: {each:>10.2?}   ({fired} fire; loading all of them took {loaded:.1?})");
    }
}

fn prepare(engine: &Engine) {
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let upload = upload::inspect(component).unwrap();
    engine.committer().commit_blocking(move |conn| registry::store(conn, &upload, ADMIN, now())).unwrap();
    let rule: Rule = toml::from_str(
        "name = \"button\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\nconcurrency = 64\n\
         actions = [{ script = \"high-value-order\", parameters = { threshold = \"1\" } }]",
    )
    .unwrap();
    let env = people::environment(engine.database(), ADMIN, true, now()).unwrap();
    let policy = engine.config().policy.clone();
    let save = move |conn: &Connection| {
        let ground = Ground { conn, env: &env, policy: &policy };
        let edit = Edit { by: ADMIN, at: env.now, note: "", ownership: Ownership::Take, administrator: true };
        stored::save(ground, &rule, &edit)
    };
    engine.committer().commit_blocking(save).unwrap();
}

/// Runs of the message script, from the fire to the commit of the note.
fn durable(path: &std::path::Path, quick: bool) {
    let engine = open(Database::create_demo(path, now()).unwrap());
    prepare(&engine);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let count = if quick { 8 } else { 2_000 };
    let orders = runtime.block_on(new_orders(&engine, count));

    // All at once: the queue is full and commits are shared.
    runtime.block_on(async {
        for order in &orders {
            engine.fire("button", ADMIN, Trigger::Manual, vec![*order]).await.unwrap();
        }
    });
    let started = Instant::now();
    let done = runtime.block_on(engine.settle()).unwrap();
    let loaded = started.elapsed();
    assert_eq!(done, count);

    // One after the other: each waits for its own commits.
    let alone = orders.len().min(200);
    let (mut waits, mut starts) = (Vec::new(), Vec::new());
    let started = Instant::now();
    runtime.block_on(async {
        let workers = engine.start();
        for order in orders.iter().take(alone) {
            let fired = Instant::now();
            let run = engine.fire("button", ADMIN, Trigger::Manual, vec![*order]).await.unwrap()[0];
            let detail = engine.wait(run).await.unwrap();
            assert_eq!(detail.summary.state, RunState::Succeeded, "{:?}", detail.summary);
            waits.push(fired.elapsed());
            starts.push(detail.attempts[0].started.duration_since(detail.summary.at).as_millis());
        }
        workers.drain().await;
    });
    let sequential = started.elapsed();
    let failed = engine.runs(&RunFilter { state: Some(RunState::Failed), ..RunFilter::default() }).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    drop(engine);

    let plain = plain_transactions(&path.with_extension("plain.db"), count);
    let per_second = |time: Duration, count: usize| count as f64 / time.as_secs_f64();
    waits.sort();
    starts.sort();
    let rank = |percent: usize| (alone - 1) * percent / 100;
    println!("durable runs of the message script, from the queue to the committed note");
    println!("  {count} waiting at once: {:>8.0} runs/s", per_second(loaded, count));
    println!(
        "  one after the other:  {:>8.0} runs/s   (fire to end p50 {:.1?}, p99 {:.1?})",
        per_second(sequential, alone),
        waits[rank(50)],
        waits[rank(99)]
    );
    println!("  from the event to the start of its run: p50 {} ms, p99 {} ms", starts[rank(50)], starts[rank(99)]);
    println!("  plain transactions:   {:>8.0} times three a second, with the same rows", per_second(plain, count));
    println!(
        "  ratio: {:.2} at once, {:.2} one after the other",
        loaded.as_secs_f64() / count as f64 / (plain.as_secs_f64() / count as f64),
        sequential.as_secs_f64() / alone as f64 / (plain.as_secs_f64() / count as f64)
    );
}

async fn new_orders(engine: &Engine, count: usize) -> Vec<Id> {
    let values = vec![FieldValue::new("partner_id", Value::link(1)), FieldValue::new("note", Value::text("bench"))];
    let calls = vec![Call::Create { model: "sale.order".into(), values: vec![values; count] }];
    let changed = engine.change(Origin { user: ADMIN, superuser: true }, calls).await.unwrap();
    let orders = changed.committed.events.iter().filter(|event| event.record.model == "sale.order");
    orders.map(|event| event.record.id).collect()
}

/// What a run needs of SQLite at the least: a transaction that queues it, one that takes it, one that ends it with a note.
fn plain_transactions(path: &std::path::Path, count: usize) -> Duration {
    let conn = Connection::open(path).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.execute_batch(
        "CREATE TABLE run (id INTEGER PRIMARY KEY, state TEXT, request TEXT); CREATE INDEX run_state ON run (state);
         CREATE TABLE event (id INTEGER PRIMARY KEY, change TEXT);
         CREATE TABLE attempt (run INTEGER PRIMARY KEY, report BLOB);
         CREATE TABLE note (id INTEGER PRIMARY KEY, record INTEGER, body TEXT); CREATE INDEX note_record ON note (record);",
    )
    .unwrap();
    let text = "x".repeat(400);
    let started = Instant::now();
    for number in 0..count {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn.prepare_cached("INSERT INTO event (change) VALUES (?1)").unwrap().execute([&text]).unwrap();
        conn.prepare_cached("INSERT INTO run (state, request) VALUES ('queued', ?1)")
            .unwrap()
            .execute([&text])
            .unwrap();
        conn.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
        let take = "UPDATE run SET state = 'running' WHERE id = (SELECT min(id) FROM run WHERE state = 'queued')";
        conn.prepare_cached(take).unwrap().execute([]).unwrap();
        conn.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
        let number = number as i64 + 1;
        conn.prepare_cached("INSERT INTO note (record, body) VALUES (?1, ?2)")
            .unwrap()
            .execute((number, &text))
            .unwrap();
        conn.prepare_cached("INSERT INTO attempt (run, report) VALUES (?1, ?2)")
            .unwrap()
            .execute((number, text.as_bytes()))
            .unwrap();
        conn.prepare_cached("UPDATE run SET state = 'succeeded' WHERE id = ?1").unwrap().execute([number]).unwrap();
        conn.execute_batch("COMMIT").unwrap();
    }
    started.elapsed()
}
