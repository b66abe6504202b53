//! A run that takes long holds no snapshot for long, and never sees two states that do not go together.

use std::time::Duration;

use triggerbox_model::value::{RecordRef, Value};
use triggerbox_store::{
    commit::{CommitError, commit},
    db::{Database, DbError},
    session::Session,
};

use crate::common::{ADMIN, ask, create, env, note_call, now, read, read_call, search, session, text, write};

/// Somebody else writes a lead and commits.
fn others_write(database: &Database, lead: u32, city: &str) {
    let mut other = session(database);
    write(&mut other, "crm.lead", lead, vec![text("city", city)]);
    commit(database, &env(database, ADMIN), &other.finish()).unwrap();
}

/// Pages in the log, and how many of them a checkpoint could bring into the file.
fn checkpoint(database: &Database) -> (i64, i64) {
    let conn = rusqlite::Connection::open(database.path()).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
}

#[test]
fn a_run_that_waits_does_not_stop_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create_demo(&folder.path().join("a.db"), now()).unwrap();
    let mut run = session(&database);
    read(&mut run, "crm.lead", 1, "city");
    let tag = create(&mut run, "crm.tag", vec![text("name", "Staged")]);
    for city in ["Ghent", "Bruges", "Namur"] {
        others_write(&database, 2, city);
    }
    let (log, done) = checkpoint(&database);
    assert!(done < log, "the snapshot holds {done} of {log}");

    run.rest().unwrap();
    let (log, done) = checkpoint(&database);
    assert_eq!(done, log);

    // It goes on with what is committed by now, and with what it has staged.
    assert_eq!(read(&mut run, "crm.lead", 2, "city"), Value::text("Namur"));
    assert_eq!(search(&mut run, "crm.tag", "[('name', '=', 'Staged')]"), [tag]);
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    assert_eq!(search(&mut session(&database), "crm.tag", "[('name', '=', 'Staged')]").len(), 1);
}

#[test]
fn an_old_snapshot_is_renewed_without_being_asked() {
    let database = crate::common::demo();
    let mut run = session(&database).with_snapshot_age(Duration::ZERO);
    read(&mut run, "crm.lead", 1, "city");
    others_write(&database, 2, "Ghent");
    assert_eq!(read(&mut run, "crm.lead", 2, "city"), Value::text("Ghent"));

    let mut run = session(&database);
    read(&mut run, "crm.lead", 1, "city");
    others_write(&database, 2, "Namur");
    assert_eq!(read(&mut run, "crm.lead", 2, "city"), Value::text("Ghent"), "a young snapshot stays");
}

#[test]
fn what_was_read_and_has_changed_starts_the_run_again() {
    let database = crate::common::demo();
    for staged in [false, true] {
        let mut run = session(&database);
        read(&mut run, "crm.lead", 1, "city");
        if staged {
            // Its own row now hides the committed one from the run, but not from the comparison.
            write(&mut run, "crm.lead", 1, vec![text("phone", "1")]);
        }
        run.rest().unwrap();
        others_write(&database, 1, if staged { "Ghent" } else { "Liège" });
        let error = run.call(read_call("crm.lead", 2, "city")).unwrap_err();
        assert!(matches!(error, DbError::Outdated { .. }), "{error}");
        assert!(error.to_string().contains("`city`"), "{error}");
        assert_eq!(run.outdated().unwrap().code, "conflict");
    }
}

#[test]
fn what_a_run_wrote_itself_is_no_change_of_somebody_else() {
    let database = crate::common::demo();
    let mut run = session(&database);
    read(&mut run, "crm.lead", 1, "city");
    write(&mut run, "crm.lead", 1, vec![text("city", "Ghent")]);
    run.rest().unwrap();
    others_write(&database, 2, "Namur");
    assert_eq!(read(&mut run, "crm.lead", 1, "city"), Value::text("Ghent"));
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
}

#[test]
fn what_a_run_staged_before_it_rested_is_gone_with_it() {
    let database = crate::common::demo();
    let mut run = session(&database);
    create(&mut run, "crm.tag", vec![text("name", "Staged")]);
    run.rest().unwrap();
    drop(run);
    for _ in 0..3 {
        assert!(search(&mut session(&database), "crm.tag", "[('name', '=', 'Staged')]").is_empty());
    }
}

#[test]
fn a_note_on_a_record_that_has_changed_is_a_conflict() {
    let database = crate::common::demo();
    let post = |run: &mut Session| ask(run, note_call(RecordRef::new("crm.lead", 1), "The city is empty."));
    let mut run = session(&database);
    read(&mut run, "crm.lead", 1, "city");
    post(&mut run);
    others_write(&database, 1, "Ghent");
    let error = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { field, .. } if field == "city"), "{error}");

    // Who read nothing of it may say something all the same.
    let mut run = session(&database);
    post(&mut run);
    others_write(&database, 1, "Namur");
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
}
