//! One run on the embedded backend, from event to durable commit: runs a second, and where the time goes.
//!
//! ```text
//! cargo bench --workspace --bench embedded
//! ```
//!
//! The script is the one of the sandbox's benchmark: read an order, decide, post a note. Plain SQLite adds the very row
//! that the note is, by hand, in a durable transaction of its own: what any program would need at least. Both take
//! turns in one process; trust the ratios.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use guest_artifacts::HIGH_VALUE_ORDER;
use jiff::Timestamp;
use rusqlite::{Connection, params_from_iter, types::Value as Cell};
use triggerbox_automation::{self as automation, LogSink, Request, Verdict, guard::Guard, people};
use triggerbox_model::{
    event::Trigger,
    grants::Policy,
    limits::{Class, Limits},
    manifest::Manifest,
};
use triggerbox_sandbox::{Ending, LogLevel, Pool, Sandbox};
use triggerbox_store::{commit, db::Database, session::Session};

struct NoLog;

impl LogSink for NoLog {
    fn line(&mut self, _: LogLevel, _: &str) {}
}

fn main() {
    // `cargo test` only wants to know that it works; `cargo bench` says that it is meant.
    let (rounds, runs) = if std::env::args().any(|argument| argument == "--bench") { (9, 100) } else { (1, 3) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let on_disk = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    println!("read one record, decide, post one note; median of {rounds} rounds of {runs} runs, one at a time");
    for (place, folder) in [("durable, on a disk", on_disk.path()), ("in memory (/dev/shm)", Path::new("/dev/shm"))] {
        if !folder.is_dir() {
            continue;
        }
        let folder = tempfile::tempdir_in(folder).unwrap();
        runtime.block_on(measure(place, &folder.path().join("bench.db"), rounds, runs));
    }
}

fn request(database: &Database) -> Request {
    let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
    let manifest = Manifest::parse(HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let run_as = people::find(database, "admin", now).unwrap();
    let sandbox = Sandbox::new(&Pool { live: 4, ..Pool::default() }).unwrap();
    Request {
        script: sandbox.compile(HIGH_VALUE_ORDER.component).unwrap(),
        rule: "high-value".to_owned(),
        trigger: Trigger::Manual,
        model: Some("sale.order".to_owned()),
        records: vec![1],
        old_values: Vec::new(),
        parameters: manifest.parameter_values(&[("threshold".to_owned(), "0".to_owned())]).unwrap(),
        actor: run_as.clone(),
        run_as,
        superuser: false,
        limits: Limits::resolve(Class::Async, [&manifest.limits]),
        authority: Arc::new(manifest.authority(None, Vec::new(), Policy::default())),
        now,
        seed: 7,
        previous: None,
        dry_run: false,
        outside: None,
    }
}

/// Where the time of a run went.
#[derive(Default)]
struct Parts {
    begin: Duration,
    sandbox: Duration,
    host_calls: Duration,
    commit: Duration,
}

async fn measure(place: &str, path: &Path, rounds: usize, runs: u32) {
    let database = Database::create_demo(path, "2026-11-20T09:30:00Z".parse().unwrap()).unwrap();
    let request = request(&database);
    // Plans and caches are made, and the row of a note is known.
    once(&database, &request).await;
    let note = last_message(&database);
    let hand = Connection::open(path).unwrap();
    hand.pragma_update(None, "synchronous", "FULL").unwrap();

    let (mut whole, mut plain) = (Vec::new(), Vec::new());
    let mut parts: [Vec<Duration>; 4] = Default::default();
    for _ in 0..rounds {
        let begin = Instant::now();
        for _ in 0..runs {
            let report = automation::run(&database, &request, Box::new(NoLog)).await.unwrap();
            assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
        }
        whole.push(begin.elapsed() / runs);

        let mut sum = Parts::default();
        for _ in 0..runs {
            let part = once(&database, &request).await;
            sum.begin += part.begin;
            sum.sandbox += part.sandbox;
            sum.host_calls += part.host_calls;
            sum.commit += part.commit;
        }
        for (all, part) in parts.iter_mut().zip([sum.begin, sum.sandbox, sum.host_calls, sum.commit]) {
            all.push(part / runs);
        }

        let begin = Instant::now();
        for _ in 0..runs {
            insert(&hand, &note);
        }
        plain.push(begin.elapsed() / runs);
    }
    let (whole, plain) = (median(&mut whole), median(&mut plain));
    let parts = parts.map(|mut times| median(&mut times));
    let sum: f64 = parts.iter().map(|&part| micros(part)).sum();
    println!("\n{place}");
    println!("  plain SQLite, the note's row by hand {:>10.1} µs", micros(plain));
    println!("  a run                                {:>10.1} µs, {:.0} runs/s", micros(whole), 1e6 / micros(whole));
    println!("  ratio                                {:>10.2}", micros(whole) / micros(plain));
    for (what, part) in
        ["user, rights, snapshot", "sandbox and script", "host calls: read, check, stage", "commit"].iter().zip(parts)
    {
        println!("    {what:<34} {:>10.1} µs {:>5.1} %", micros(part), 100.0 * micros(part) / sum);
    }
}

/// A run in its parts, as [`automation::run`] does them.
async fn once(database: &Database, request: &Request) -> Parts {
    let begin = Instant::now();
    let env = people::environment(database, request.run_as.user.id, request.superuser, request.now).unwrap();
    let session = Session::new(database, env.clone()).unwrap().for_rule(&request.rule);
    let guard = Guard::new(session, Arc::clone(&request.authority), Box::new(NoLog));
    let event = event(request);
    let began = begin.elapsed();

    let start = Instant::now();
    let run = request.script.run(event, request.limits, Box::new(guard)).await;
    let total = start.elapsed();
    assert!(matches!(run.ending, Ending::Done(_)), "{:?}", run.ending);

    let start = Instant::now();
    let (session, ..) = run.host.downcast::<Guard>().unwrap().into_parts();
    commit::commit(database, &env, &session.finish()).unwrap();
    let host_calls = run.durations.host;
    Parts { begin: began, sandbox: total.saturating_sub(host_calls), host_calls, commit: start.elapsed() }
}

fn event(request: &Request) -> triggerbox_model::event::Event {
    triggerbox_model::event::Event {
        run_id: "bench".to_owned(),
        rule: request.rule.clone(),
        attempt: 1,
        depth: 0,
        seed: request.seed,
        trigger: request.trigger.clone(),
        model: request.model.clone(),
        records: request.records.clone(),
        old_values: Vec::new(),
        actor: request.actor.user.clone(),
        run_as: request.run_as.user.clone(),
        superuser: request.superuser,
        company: request.run_as.company.clone(),
        now: "2026-11-20T09:30:00Z".to_owned(),
        parameters: request.parameters.clone(),
        previous: None,
        extra_json: None,
    }
}

/// The columns and cells of the newest message.
fn last_message(database: &Database) -> (String, Vec<Cell>) {
    let snapshot = database.snapshot().unwrap();
    let mut statement = snapshot.prepare("SELECT * FROM mail_message ORDER BY id DESC LIMIT 1").unwrap();
    let columns: Vec<String> = statement.column_names().skip(1).map(|name| format!("\"{name}\"")).collect();
    let cells = statement.query_row([], |row| (0..columns.len()).map(|n| row.get(n + 1)).collect()).unwrap();
    let places = vec!["?"; columns.len()].join(", ");
    (format!("INSERT INTO mail_message ({}) VALUES ({places})", columns.join(", ")), cells)
}

fn insert(conn: &Connection, (sql, cells): &(String, Vec<Cell>)) {
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    conn.execute("UPDATE tb_sequence SET next = next + 1 WHERE name = 'mail.message'", []).unwrap();
    conn.prepare_cached(sql).unwrap().execute(params_from_iter(cells)).unwrap();
    conn.execute_batch("COMMIT").unwrap();
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
