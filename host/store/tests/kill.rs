//! `kill -9` at any moment of a commit leaves all of a change set or nothing of it.
//!
//! A child process commits in a loop and is killed at random moments and at named places around the commit; then the
//! database is opened and checked. `TRIGGERBOX_KILLS` says how many times (20 if it does not). The checker itself is
//! checked: it must find what a commit in two transactions leaves behind.

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
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::{
    call::{BodyFormat, Message},
    changes::{ChangeSet, Effect},
    value::{FIRST_PROVISIONAL_ID, FieldValue, RecordRef, Value},
};
use triggerbox_store::{
    commit::commit,
    db::{Database, Mode},
    env::Env,
    failpoint,
};

fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

fn env(database: &Database) -> Env {
    let snapshot = database.snapshot().unwrap();
    Env::for_user(&snapshot, database.schema().clone(), database.rights().clone(), 2, now()).unwrap().sudo()
}

/// The n-th change set: five effects that all carry its number.
fn change_set(n: u32) -> ChangeSet {
    let name = format!("set {n}");
    let text = |field: &str, text: &str| FieldValue::new(field, Value::text(text));
    let lead = RecordRef::new("crm.lead", FIRST_PROVISIONAL_ID);
    let message = Message {
        body: name.clone(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: vec![],
        attachments: vec![],
    };
    ChangeSet {
        effects: vec![
            Effect::Create { model: "crm.lead".into(), values: vec![vec![text("name", &name)]], ids: vec![lead.id] },
            Effect::Write { model: "res.partner".into(), ids: vec![1], values: vec![text("ref", &name)] },
            Effect::Create {
                model: "sale.order".into(),
                values: vec![vec![FieldValue::new("partner_id", Value::link(1)), text("client_order_ref", &name)]],
                ids: vec![FIRST_PROVISIONAL_ID],
            },
            Effect::PostMessage { target: lead, message, note: true },
            Effect::SetState { rule: "kill".into(), key: "n".into(), json: Some(n.to_string()) },
        ],
        ..ChangeSet::default()
    }
}

/// Commits until it is killed. Run by the tests below, in a process of its own.
#[test]
#[ignore = "the other tests run it as a child"]
fn child() {
    let Some(path) = std::env::var_os("TRIGGERBOX_KILL_CHILD") else { return };
    let database = Database::open(Path::new(&path), Mode::Write).unwrap();
    let env = env(&database);
    for n in committed(&database.snapshot().unwrap()) + 1.. {
        commit(&database, &env, &change_set(n)).unwrap();
        println!("committed {n}");
    }
}

fn committed(conn: &Connection) -> u32 {
    let sql = "SELECT coalesce(max(CAST(json AS INTEGER)), 0) FROM tb_state WHERE rule = 'kill'";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// What is wrong with the database after a kill, if anything. `reported`: the last set that the child said it committed.
fn check(path: &Path, reported: u32) -> Result<u32, String> {
    let database = Database::open(path, Mode::Write).map_err(|error| format!("cannot be opened: {error}"))?;
    let conn = database.snapshot().unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    let text = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap();
    let damage = text("PRAGMA integrity_check");
    if damage.as_deref() != Some("ok") {
        return Err(format!("damaged: {damage:?}"));
    }
    let n = committed(&conn);
    if n < reported {
        return Err(format!("set {reported} was reported as committed, and set {n} is the last one"));
    }
    for (what, found) in [
        ("leads", count("SELECT count(*) FROM crm_lead WHERE name LIKE 'set %'")),
        ("orders", count("SELECT count(*) FROM sale_order WHERE client_order_ref LIKE 'set %'")),
        ("notes", count("SELECT count(*) FROM mail_message WHERE body LIKE '<p>set %' AND message_type = 'comment'")),
        (
            "distinct notes",
            count(
                "SELECT count(DISTINCT body) FROM mail_message WHERE body LIKE '<p>set %' AND message_type = 'comment'",
            ),
        ),
    ] {
        if found != n {
            return Err(format!("{found} {what} after {n} sets"));
        }
    }
    let last = text("SELECT ref FROM res_partner WHERE id = 1");
    let wanted = (n > 0).then(|| format!("set {n}"));
    if last != wanted {
        return Err(format!("the contact says {last:?} after {n} sets"));
    }
    Ok(n)
}

struct Victim {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    reported: u32,
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
        Self { child, output, reported: 0 }
    }

    /// Waits until the child has said that it committed a set; false when it is dead.
    fn next_commit(&mut self) -> bool {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, n)) = line.split_once("committed ") {
                self.reported = n.trim().parse().unwrap();
                return true;
            }
            line.clear();
        }
        false
    }

    fn kill(mut self) -> u32 {
        self.child.kill().unwrap();
        while self.next_commit() {}
        self.child.wait().unwrap();
        self.reported
    }

    /// Lets it run into its failpoint.
    fn outlive(mut self) -> u32 {
        while self.next_commit() {}
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

// Shows: F016
#[test]
fn a_killed_commit_leaves_all_or_nothing() {
    let kills: u32 = std::env::var("TRIGGERBOX_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("kill.db"), folder.path().join("trace"));
    drop(Database::create_demo(&path, now()).unwrap());
    let mut seed = 0x5EED_u64;
    let mut died: BTreeMap<String, u32> = BTreeMap::new();
    let places = ["begun", "compared", "effect-applied", "before-commit", "after-commit"];
    let mut sets = 0;
    for kill in 0..kills {
        let (how, reported) = if kill % 2 == 0 {
            let place = places[(kill / 2) as usize % places.len()];
            let visit = 1 + random(&mut seed) % 9;
            let settings = [("TRIGGERBOX_FAILPOINT", place.to_owned()), ("TRIGGERBOX_FAILPOINT_AT", visit.to_string())];
            ("at", Victim::start(&path, &trace, &settings).outlive())
        } else {
            let mut victim = Victim::start(&path, &trace, &[]);
            for _ in 0..=random(&mut seed) % 3 {
                assert!(victim.next_commit(), "the child must live until it is killed");
            }
            // A commit takes a few milliseconds: this falls anywhere in one.
            std::thread::sleep(Duration::from_micros(random(&mut seed) % 8_000));
            ("after", victim.kill())
        };
        let place = std::fs::read_to_string(&trace).unwrap_or_default();
        let place = place.trim_end();
        *died.entry(format!("{how} {place}")).or_default() += 1;
        sets = check(&path, reported).unwrap_or_else(|wrong| panic!("kill {kill} ({how} {place}): {wrong}"));
    }
    println!("{kills} kills, {sets} change sets; it died:");
    for (place, times) in died {
        println!("  {times:>4}  {place}");
    }
    assert!(sets > 0);
}

#[test]
fn the_checker_finds_a_commit_in_two_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("kill.db"), folder.path().join("trace"));
    drop(Database::create_demo(&path, now()).unwrap());
    assert!(failpoint::ALL.contains(&"between-transactions"));
    let settings = [
        ("TRIGGERBOX_BROKEN_COMMIT", "1".to_owned()),
        ("TRIGGERBOX_FAILPOINT", "between-transactions".to_owned()),
        ("TRIGGERBOX_FAILPOINT_AT", "7".to_owned()),
    ];
    let reported = Victim::start(&path, &trace, &settings).outlive();
    let wrong = check(&path, reported).expect_err("half a change set must be found");
    println!("found: {wrong}");
}
