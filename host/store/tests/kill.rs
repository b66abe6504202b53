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

#[path = "common/victim.rs"]
mod victim;

use std::path::Path;

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
use victim::Killer;

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
        println!("done {n}");
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

const PLACES: &[&str] = &["begun", "compared", "effect-applied", "before-commit", "after-commit"];

/// A commit takes a few milliseconds: a death within eight falls anywhere in one.
fn killer(folder: &Path) -> Killer {
    Killer::new(PLACES, 9, 3, 8_000, folder.join("trace"))
}

// Shows: F016
#[test]
fn a_killed_commit_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kill.db");
    drop(Database::create_demo(&path, now()).unwrap());
    let mut killer = killer(folder.path());
    let mut sets = 0;
    for kill in 0..victim::wanted(20) {
        let (reported, death) = killer.kill(&path);
        let reported = reported.last().copied().unwrap_or_default();
        sets = check(&path, reported).unwrap_or_else(|wrong| panic!("kill {kill} ({death}): {wrong}"));
    }
    assert!(sets > 0);
    killer.report(&format!("{sets} change sets"));
}

#[test]
fn the_checker_finds_a_commit_in_two_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kill.db");
    drop(Database::create_demo(&path, now()).unwrap());
    assert!(failpoint::ALL.contains(&"between-transactions"));
    let mut killer = killer(folder.path());
    killer.settings.push(("TRIGGERBOX_BROKEN_COMMIT", "1".to_owned()));
    let reported = killer.kill_at(&path, "between-transactions", 7);
    let wrong =
        check(&path, reported.last().copied().unwrap_or_default()).expect_err("half a change set must be found");
    println!("found: {wrong}");
}
