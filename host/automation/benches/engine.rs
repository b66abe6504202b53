//! How fast: matching a change against many rules; durable runs against the plain SQLite transactions that they need and
//! against the script alone; how long a run waits; the same with many past runs; memory over many runs. Prints ratios
//! measured in one run: `cargo bench --workspace --bench engine`. `cargo xtask soak` makes the last two large.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic, in its helpers too"
)]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use guest_artifacts::HIGH_VALUE_ORDER;
use rusqlite::Connection;
use triggerbox_automation::{
    Config, Engine, LogSink, Origin, Request, SystemClock,
    config::Retention,
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
    grants::Policy,
    limits::{Class, Limits},
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_sandbox::{LogLevel, Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::db::{Database, DbError};

const ADMIN: Id = 2;

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    matching(quick);
    // Each part in a folder that is gone after it: a million runs are gigabytes.
    for part in [durable, with_a_past, memory] {
        part(tempfile::tempdir().unwrap().path(), quick);
    }
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
        let index = Index::load(&conn, env.clone(), None).unwrap();
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
            fired = matcher::fires(&conn, &env, &index, std::slice::from_ref(&change), &[]).unwrap().len();
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
        let edit =
            Edit { by: ADMIN, at: env.now, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
        stored::save(ground, &rule, &edit)
    };
    engine.committer().commit_blocking(save).unwrap();
}

/// How fast durable runs are.
struct Speed {
    runs: usize,
    /// All of them, when all wait at once: commits are shared.
    at_once: Duration,
    /// How many one after the other: each waits for its own commits.
    alone: usize,
    one_by_one: Duration,
    /// From fire to end.
    waits: Vec<Duration>,
    /// From the commit of the event to the start of its run.
    starts: Vec<Duration>,
}

impl Speed {
    /// One run, when many wait at once.
    fn each(&self) -> f64 {
        self.at_once.as_secs_f64() / self.runs as f64
    }

    /// One run, when it is alone.
    fn each_alone(&self) -> f64 {
        self.one_by_one.as_secs_f64() / self.alone as f64
    }

    fn print(&self) {
        let rank = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
        let (waits, starts) = (&self.waits, &self.starts);
        println!("  {:>6} waiting at once: {:>8.0} runs/s", self.runs, 1.0 / self.each());
        println!(
            "  one after the other:    {:>8.0} runs/s   (fire to end p50 {:.1?}, p99 {:.1?})",
            1.0 / self.each_alone(),
            rank(waits, 50),
            rank(waits, 99)
        );
        println!("  commit to start:        p50 {:.1?}, p99 {:.1?}", rank(starts, 50), rank(starts, 99));
    }
}

/// Runs of the message script, from the fire to the commit of the note.
fn speed(engine: &Engine, count: usize) -> Speed {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let orders = runtime.block_on(new_orders(engine, count));
    runtime.block_on(async {
        for order in &orders {
            engine.fire("button", ADMIN, Trigger::Manual, vec![*order]).await.unwrap();
        }
    });
    let started = Instant::now();
    let done = runtime.block_on(engine.settle()).unwrap();
    let at_once = started.elapsed();
    assert_eq!(done, count);

    let alone = orders.len().min(500);
    let (mut waits, mut starts) = (Vec::new(), Vec::new());
    let started = Instant::now();
    runtime.block_on(async {
        let workers = engine.start();
        for order in orders.iter().take(alone) {
            let fired = Instant::now();
            let fire = engine.fire("button", ADMIN, Trigger::Manual, vec![*order]).await.unwrap();
            let committed = jiff::Timestamp::now();
            let detail = engine.wait(fire[0]).await.unwrap();
            assert_eq!(detail.summary.state, RunState::Succeeded, "{:?}", detail.summary);
            waits.push(fired.elapsed());
            let start = detail.attempts[0].started.duration_since(committed);
            // The run may start before who fired it has heard of the commit, and is noted in whole milliseconds.
            starts.push(Duration::try_from(start).unwrap_or_default());
        }
        workers.drain().await;
    });
    let one_by_one = started.elapsed();
    let failed = engine.runs(&RunFilter { state: Some(RunState::Failed), ..RunFilter::default() }).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    waits.sort();
    starts.sort();
    Speed { runs: count, at_once, alone, one_by_one, waits, starts }
}

/// Durable runs against what they cannot do without.
fn durable(folder: &Path, quick: bool) {
    let engine = open(Database::create_demo(&folder.join("bench.db"), now()).unwrap());
    prepare(&engine);
    let count = if quick { 8 } else { 2_000 };
    // The script is compiled, and what is read is in memory.
    speed(&engine, count.min(100));
    let speed = speed(&engine, count);
    let script = script_alone(&engine, count);
    drop(engine);
    let plain = plain_transactions(&folder.join("plain.db"), count).as_secs_f64() / count as f64;
    println!("durable runs of the message script, from the queue to the committed note");
    speed.print();
    println!("  plain transactions:     {:>8.0} times two a second, with the same rows", 1.0 / plain);
    println!("  the script alone:       {:>8.0} dry runs/s: sandbox and reads, nothing kept", 1.0 / script);
    println!(
        "  ratio to plain transactions: {:.2} at once, {:.2} one after the other",
        speed.each() / plain,
        speed.each_alone() / plain
    );
    println!(
        "  ratio to the script alone:   {:.2} at once, {:.2} one after the other",
        speed.each() / script,
        speed.each_alone() / script
    );
}

/// Seconds for the same script on the same records in a fresh sandbox, with nothing queued, kept or committed.
fn script_alone(engine: &Engine, count: usize) -> f64 {
    struct Quiet;
    impl LogSink for Quiet {
        fn line(&mut self, _level: LogLevel, _message: &str) {}
    }
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let script = Sandbox::new(&Pool::default()).unwrap().compile(&component).unwrap();
    let manifest = script.manifest().unwrap().clone();
    let user = people::find(engine.database(), "admin", now()).unwrap();
    let order: Id = engine
        .database()
        .snapshot()
        .unwrap()
        .query_row("SELECT max(id) FROM sale_order", [], |row| row.get(0))
        .unwrap();
    let request = Request {
        parameters: manifest.parameter_values(&[("threshold".to_owned(), "1".to_owned())]).unwrap(),
        authority: Arc::new(manifest.authority(None, Vec::new(), Policy::default())),
        limits: Limits::resolve(Class::Async, [&manifest.limits]),
        script,
        rule: "button".to_owned(),
        trigger: Trigger::Manual,
        model: Some("sale.order".to_owned()),
        records: vec![order],
        old_values: Vec::new(),
        actor: user.clone(),
        run_as: user,
        superuser: false,
        now: now(),
        seed: 7,
        previous: None,
        dry_run: true,
        outside: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = Instant::now();
    for _ in 0..count {
        let report =
            runtime.block_on(triggerbox_automation::run(engine.database(), &request, Box::new(Quiet))).unwrap();
        assert!(report.verdict.is_success(), "{:?}", report.verdict);
    }
    started.elapsed().as_secs_f64() / count as f64
}

/// The same on a database with many past runs, against an empty one. A million of them may cost a fifth.
fn with_a_past(folder: &Path, quick: bool) {
    let past = number("TRIGGERBOX_PAST_RUNS", if quick { 1_000 } else { 100_000 });
    let count = if quick { 8 } else { 2_000 };
    let measure = |name: &str, past: usize| {
        let engine = open(Database::create_demo(&folder.join(name), now()).unwrap());
        prepare(&engine);
        if past > 0 {
            engine.committer().commit_blocking(move |conn| fill(conn, past)).unwrap();
        }
        // What is read first comes from the disk, whatever there is.
        speed(&engine, count.min(100));
        speed(&engine, count)
    };
    let (empty, full) = (measure("empty.db", 0), measure("past.db", past));
    println!("with {past} past runs in the database, and with none");
    for speed in [&full, &empty] {
        speed.print();
    }
    let (at_once, alone) = (full.each() / empty.each(), full.each_alone() / empty.each_alone());
    println!("  ratio: {at_once:.2} at once, {alone:.2} one after the other");
    if past >= 1_000_000 {
        assert!(at_once <= 1.2 && alone <= 1.2, "past runs cost more than a fifth");
    }
}

/// Runs that are over, with their tries and events, as many rules would leave them behind.
fn fill(conn: &Connection, runs: usize) -> Result<(), DbError> {
    let numbers = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)";
    let runs = runs as i64;
    for sql in [
        "INSERT INTO engine_event (root, depth, at, actor, model, record, kind, change) \
         SELECT n, 0, 1700000000000 + n, 2, 'sale.order', n % 5000, 'updated', '{}' FROM number",
        "INSERT INTO engine_run (key, rule, rule_version, root, depth, model, record, request, class, actor, run_as, superuser, \
         seed, at, state, due, blockers, attempt, fence, finished, code) \
         SELECT printf('past%016x', n), printf('rule-%d', n % 50), 1, n, 0, 'sale.order', n % 5000, \
         '{\"trigger\":\"Manual\",\"records\":[1]}', 'async', 2, 2, 0, n, 1700000000000 + n, 'succeeded', 1700000000000 + n, 0, 1, 1, \
         1700000001000 + n, 'applied' FROM number",
        "INSERT INTO engine_attempt (run, attempt, action, script, started, finished, code, report, journal) \
         SELECT id, 1, 0, randomblob(32), at, finished, 'applied', randomblob(300), randomblob(300) FROM engine_run \
         WHERE key LIKE 'past%' AND ?1 > 0",
    ] {
        let sql = if sql.contains("FROM number") { format!("{} {sql}", numbers) } else { sql.to_owned() };
        conn.execute(&sql, [runs])?;
    }
    Ok(())
}

/// Memory over many runs: what the process holds after the first tenth is what it holds at the end.
fn memory(folder: &Path, quick: bool) {
    let total = number("TRIGGERBOX_MEMORY_RUNS", if quick { 80 } else { 20_000 });
    let retention = Retention { runs_per_rule: Some(1_000), ..Retention::default() };
    let config = Config { seed: Some(7), retention, ..Config::default() };
    let database = Database::create_demo(&folder.join("memory.db"), now()).unwrap();
    let engine =
        Engine::open(database, Sandbox::new(&Pool::default()).unwrap(), config, Arc::new(SystemClock)).unwrap();
    prepare(&engine);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let orders = runtime.block_on(new_orders(&engine, if quick { 8 } else { 1_000 }));
    let (mut done, mut kept, started) = (0, Vec::new(), Instant::now());
    while done < total {
        runtime.block_on(async {
            for order in &orders {
                engine.fire("button", ADMIN, Trigger::Manual, vec![*order]).await.unwrap();
            }
            done += engine.settle().await.unwrap();
            engine.retain().await.unwrap();
        });
        if done * 10 / total > kept.len() {
            kept.push(resident());
        }
    }
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else { return };
    println!("memory over {done} runs in {:.1?}", started.elapsed());
    let shown: Vec<_> = kept.iter().map(|kib| format!("{}", kib / 1024)).collect();
    println!("  MiB after each tenth: {}", shown.join(" "));
    println!("  ratio of the last to the first: {:.2}", *last as f64 / *first as f64);
    if total >= 1_000_000 {
        assert!(*last as f64 <= *first as f64 * 1.2, "memory grows with the number of runs");
    }
}

/// KiB that the process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(1)
}

/// A size, which `cargo xtask soak` makes large.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn new_orders(engine: &Engine, count: usize) -> Vec<Id> {
    let values = vec![FieldValue::new("partner_id", Value::link(1)), FieldValue::new("note", Value::text("bench"))];
    let calls = vec![Call::Create { model: "sale.order".into(), values: vec![values; count] }];
    let changed = engine.change(Origin { user: ADMIN, superuser: true }, calls).await.unwrap();
    let orders = changed.committed.events.iter().filter(|event| event.record.model == "sale.order");
    orders.map(|event| event.record.id).collect()
}

/// What a run needs of SQLite at the least: a transaction that queues it and gives it to a worker, and one that ends it with a
/// note.
fn plain_transactions(path: &Path, count: usize) -> Duration {
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
