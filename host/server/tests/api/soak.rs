//! The pages over many past runs: how large each is, how much is read for it, and, in `cargo xtask soak`, how long each takes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use guest_artifacts::LEAD_SCORING;
use rusqlite::Connection;
use triggerbox_automation::{Clock, TestClock};
use triggerbox_server::{Config, people::Role, web::routes};
use triggerbox_store::db::{Database, DbError};

use crate::{
    browser::Browser,
    world::{ADMIN, NOW, SAM, World},
};

/// Rules that the runs are of.
const RULES: i64 = 50;

/// What is past.
#[derive(Clone, Copy)]
struct Past {
    runs: i64,
    /// Milliseconds between two of them.
    every: i64,
    /// One in so many has a thread.
    threads: i64,
}

impl Past {
    fn of(runs: i64) -> Self {
        Self { runs, every: 500, threads: 10 }
    }
}

/// Runs that are over, with their events, tries and logs, some with a thread, as many rules leave them behind. The newest of
/// them did what the run `like` did.
fn fill(conn: &Connection, Past { runs, every, threads }: Past, like: i64, now: i64) -> Result<(), DbError> {
    // An empty report, as it is packed.
    const EMPTY: &str = "x'28b52ffd20021100007b7d'";
    let newest = 2_000;
    let steps = [
        format!(
            "INSERT INTO engine_event (root, depth, at, actor, model, record, kind, change) \
             SELECT n, 0, ?3 - (?1 - n) * {every}, 2, 'crm.lead', n % 20 + 1, 'updated', '{{}}' FROM number"
        ),
        format!("INSERT INTO engine_run (key, rule, rule_version, root, depth, model, record, request, class, actor, run_as, superuser, \
         seed, at, state, due, blockers, attempt, fence, finished, code, message) \
         SELECT printf('past%016x', n), printf('rule-%d', n % 50), 1, n, 0, 'crm.lead', n % 20 + 1, \
         json_set(r.request, '$.records[0]', n % 20 + 1), 'async', 2, 2, 0, \
         n, ?3 - (?1 - n) * {every}, CASE WHEN n % 5003 = 0 THEN 'dead' WHEN n % 37 = 0 THEN 'failed' WHEN n % 101 = 0 THEN \
         'skipped' WHEN n % 9973 = 0 THEN 'waiting-approval' ELSE 'succeeded' END, 0, 0, 1, 1, ?3 - (?1 - n) * {every} + 90, \
         CASE WHEN n % 37 = 0 THEN 'trapped' ELSE 'applied' END, 'it did what it does' \
         FROM number JOIN engine_run r ON r.id = ?2"),
        format!(
            "INSERT INTO engine_attempt (run, attempt, action, script, started, finished, code, report, journal) \
             SELECT r.id, 1, 0, a.script, r.at, r.finished, r.code, CASE WHEN r.id > ?1 - {newest} THEN a.report ELSE {EMPTY} END, \
             CASE WHEN r.id > ?1 - {newest} THEN a.journal END FROM engine_run r JOIN engine_attempt a ON a.run = ?2 \
             WHERE r.key LIKE 'past%' AND ?3 > 0"
        ),
        "INSERT INTO engine_log (at, rule, run, attempt, level, message) SELECT finished, rule, id, 1, 1, 'a line of the log' \
         FROM engine_run WHERE key LIKE 'past%' AND id % 3 = 0 AND ?1 + ?2 + ?3 > 0"
            .to_owned(),
        format!(
            "INSERT INTO engine_thread (run, name, agent, session, resume, model, record, begun) \
             SELECT id, 'A thread', 'sales', NULL, 0, model, record, at FROM engine_run \
             WHERE key LIKE 'past%' AND id % {threads} = 0 AND ?1 + ?2 + ?3 > 0"
        ),
        r#"INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, ended, request, reply, accounts, worst, used)
           SELECT r.key, r.rule, r.root, 'model', randomblob(32), 0, 'answered', r.at, r.finished,
           '{"model":"test/small","messages":[{"user":"What about this one, the ' || r.id || 'th?"}]}', NULL, '[]',
           '{"calls":1,"tokens":500,"micro_euro":900}', '{"calls":1,"tokens":120,"micro_euro":300}'
           FROM engine_thread t JOIN engine_run r ON r.id = t.run WHERE ?1 + ?2 + ?3 > 0"#
            .to_owned(),
        "INSERT INTO engine_suppressed (at, event, root, rule, reason) SELECT ?3, n, n, printf('rule-%d', n % 50), 'depth: too deep' \
         FROM number WHERE n % 50 = 0 AND ?2 > 0"
            .to_owned(),
        "INSERT INTO engine_proposal (run, hash, changes, diff, why, state, expires) \
         SELECT r.id, randomblob(32), p.changes, p.diff, p.why, 'waiting', ?3 + 86400000 FROM engine_run r \
         JOIN engine_proposal p ON p.run = ?2 + 1 WHERE r.state = 'waiting-approval' AND r.key LIKE 'past%' AND ?1 > 0"
            .to_owned(),
    ];
    for sql in steps {
        let sql = if sql.contains("number") {
            format!("WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1) {sql}")
        } else {
            sql
        };
        conn.execute(&sql, (runs, like, now))?;
    }
    Ok(())
}

/// A server with many past runs; the newest of them.
async fn with_a_past(database: Database, past: Past) -> (World, i64) {
    let clock = std::sync::Arc::new(TestClock::at(NOW.parse().unwrap()));
    let world = World::on(database, clock, Config::default()).await;
    world.script(&LEAD_SCORING).await;
    for number in 0..RULES {
        let mode = if number == 1 { "approve" } else { "auto" };
        let rule = format!(
            "name = \"rule-{number}\"\ntitle = \"Rule {number}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n\
             mode = \"{mode}\"\nactions = [{{ script = \"lead-scoring\" }}]"
        );
        world.rule(&rule).await.good(201);
    }
    let (lead, _) = world.lead("Software for our manufacturing plants").await;
    // Of its own: what has the right score already is not asked about.
    let (other, _) = world.lead("Software for our manufacturing plants").await;
    let mut done = Vec::new();
    for (rule, lead) in [("rule-0", lead), ("rule-1", other)] {
        let fired =
            world.call("POST", &format!("/api/v1/rules/{rule}/run"), serde_json::json!({ "records": [lead] })).await;
        let run = fired.good(202)["runs"][0].as_i64().unwrap();
        world.ended(run).await;
        done.push(run);
    }
    assert_eq!(done[1], done[0] + 1);
    let (like, now) = (done[0], world.clock.now().as_millisecond());
    world.app.write(move |conn| fill(conn, past, like, now)).await.unwrap();
    let count = "SELECT count(*) FROM engine_proposal";
    let proposals: i64 = world.app.read(move |conn| conn.query_row(count, [], |row| row.get(0))).await.unwrap();
    assert!(proposals > 0, "what waits for a yes is among the past");
    let newest =
        world.app.read(|conn| conn.query_row("SELECT max(id) FROM engine_run", [], |row| row.get(0))).await.unwrap();
    (world, newest)
}

/// Every page, and the lists with what people filter by: the first and a far page of each.
fn addresses(newest: i64) -> Vec<String> {
    let middle = newest / 2;
    let thread = newest / 10 * 10;
    let mut all: Vec<String> = vec![
        format!("/runs/{newest}"),
        format!("/runs/{middle}"),
        format!("/threads/{thread}"),
        format!("/runs?before={middle}"),
        format!("/threads?before={middle}"),
        format!("/threads?text=the+{thread}th"),
    ];
    for query in [
        "rule=rule-7",
        "rule=none",
        "state=failed",
        "state=dead",
        "state=queued",
        "rule=rule-7&state=failed",
        "rule=rule-7&state=dead",
        "rule=rule-7&state=cancelled",
        "model=crm.lead&record=7",
        "model=crm.lead&record=7&state=dead",
        "model=crm.lead&record=999",
        "code=trapped&state=succeeded",
        "code=none",
        "since=2026-11-20",
        "until=2026-11-20",
        "until=2000-01-01",
        "since=2026-11-16&until=2026-11-17&rule=rule-7",
    ] {
        all.push(format!("/runs?{query}"));
    }
    for query in
        ["rule=rule-0", "rule=none", "agent=sales", "agent=none", "model=crm.lead&record=1", "text=nobody+said+this"]
    {
        all.push(format!("/threads?{query}"));
    }
    for address in [
        "/automations/rule-7",
        "/automations?text=7",
        "/automations?show=ai-rules",
        "/scripts/lead-scoring",
        "/approvals?state=all",
        "/sessions/crm.lead/7",
        "/settings/audit?text=rule",
        "/automations/_new",
        "/sign-in",
    ] {
        all.push(address.to_owned());
    }
    // Whatever has no variable part is a page as it is.
    let plain = routes().into_iter().filter(|route| route.method == "GET" && !route.path.contains('{'));
    all.extend(
        plain
            .map(|route| route.path.to_owned())
            .filter(|path| !path.starts_with("/assets") && !["/live", "/", "/welcome"].contains(&path.as_str())),
    );
    all.sort();
    all.dedup();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_large_however_many_runs_there_are() {
    let now = NOW.parse().unwrap();
    let (world, newest) = with_a_past(Database::demo_in_memory(now).unwrap(), Past::of(3_000)).await;
    for (user, role) in [(ADMIN, Role::Administrator), (SAM, Role::Operator)] {
        let browser = Browser::of(&world, user, &[role]).await;
        for address in addresses(newest) {
            let answer = browser.get(&address).await;
            assert!([200, 403, 404].contains(&answer.status), "{address}: {} {}", answer.status, answer.text());
            assert!(answer.bytes.len() < 200 << 10, "{address} has {} bytes", answer.bytes.len());
        }
    }
}

/// Read connections that a database keeps.
const CONNECTIONS: usize = 8;

/// Instructions of SQLite's machine between two looks at what it does.
const LOOK: u16 = 50;

/// Counts what is done on the connections that pages read on. What takes fewer instructions than a look is not counted.
fn counted(world: &World) -> Arc<AtomicU64> {
    let done = Arc::new(AtomicU64::new(0));
    let database = world.app.engine().database();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| database.snapshot().unwrap()).collect();
    for connection in &mut connections {
        connection.count_work(LOOK, Arc::clone(&done)).unwrap();
    }
    done
}

/// What SQLite does for each page of each role.
async fn work(runs: i64) -> BTreeMap<String, u64> {
    let past = Past { runs, every: 120_000, threads: 1 };
    let (world, newest) = with_a_past(Database::demo_in_memory(NOW.parse().unwrap()).unwrap(), past).await;
    let done = counted(&world);
    let mut work = BTreeMap::new();
    for (user, role) in [(ADMIN, Role::Administrator), (SAM, Role::Operator)] {
        let browser = Browser::of(&world, user, &[role]).await;
        for address in addresses(newest) {
            let name = address.replace(&newest.to_string(), "NEWEST").replace(&(newest / 2).to_string(), "MIDDLE");
            let name = name.replace(&(newest / 10 * 10).to_string(), "THREAD");
            // The server itself looks for trouble now and then, on the same connections: not at both times.
            let mut least = u64::MAX;
            for _ in 0..2 {
                done.store(0, Ordering::Relaxed);
                assert!(browser.get(&address).await.status < 500, "{address}");
                least = least.min(done.load(Ordering::Relaxed));
            }
            work.insert(format!("{role} {name}"), least);
        }
    }
    work
}

/// What an index leads to is read, and nothing else: as EXPLAIN would tell of each query, told of all that there are. A list
/// looks through so many runs, or threads, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_more_read_for_it_when_there_are_more_runs() {
    let (few, many) = (work(25_000).await, work(75_000).await);
    assert_eq!(few.keys().collect::<Vec<_>>(), many.keys().collect::<Vec<_>>());
    assert!(few.values().any(|work| *work > 100_000), "it counts");
    let more = many.iter().filter(|(page, work)| **work > few[*page] * 5 / 4 + 5_000);
    let more: Vec<_> = more.map(|(page, work)| format!("{page}: {} and {work} instructions", few[page])).collect();
    assert!(more.is_empty(), "pages that read more: {more:#?}");
}

/// Each page is asked for this often; the median counts.
const TIMES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes a database of gigabytes: cargo xtask soak"]
async fn any_page_is_quick_with_a_million_runs() {
    let runs = std::env::var("TRIGGERBOX_PAGE_RUNS").map_or(1_000_000, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.db");
    let started = Instant::now();
    let (world, newest) =
        with_a_past(Database::create_demo(&path, NOW.parse().unwrap()).unwrap(), Past::of(runs)).await;
    let size = std::fs::metadata(&path).unwrap().len() >> 20;
    println!("{runs} runs, {size} MiB, made in {} s", started.elapsed().as_secs());
    let mut slow = BTreeMap::new();
    for (user, role) in [(ADMIN, Role::Administrator), (SAM, Role::Operator)] {
        let browser = Browser::of(&world, user, &[role]).await;
        for address in addresses(newest) {
            let mut times = Vec::new();
            let mut bytes = 0;
            for _ in 0..TIMES {
                let started = Instant::now();
                let answer = browser.get(&address).await;
                times.push(started.elapsed());
                assert!(answer.status < 500, "{address}: {}", answer.text());
                bytes = answer.bytes.len();
            }
            assert!(bytes < 200 << 10, "{address} has {bytes} bytes");
            times.sort_unstable();
            let (median, most) = (times[TIMES / 2], times[TIMES - 1]);
            println!("{:>8.1} ms {:>8.1} ms {:>7} bytes  {role} {address}", ms(median), ms(most), bytes);
            if median > Duration::from_millis(100) {
                slow.insert(format!("{role} {address}"), median);
            }
        }
    }
    assert!(slow.is_empty(), "over 100 ms: {slow:#?}");
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
