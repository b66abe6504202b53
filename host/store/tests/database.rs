//! The database file: what it takes to open one, and what is said when that cannot be.

use std::{fs, path::Path};

use serde_json::json;
use triggerbox_store::{
    db::{Database, DbError, FORMAT, Mode},
    load::{DataSet, Records, RightsData},
};

fn data() -> DataSet {
    let schema = json!({"x_thing": {"description": "Thing", "rec_name": "name", "fields": {
        "name": {"type": "char", "required": true},
    }}});
    let mut records = Records::default();
    records.records.insert("x_thing".to_owned(), vec![json!({"id": 1, "name": "one"}).as_object().unwrap().clone()]);
    DataSet::new(serde_json::from_value(schema).unwrap(), records, RightsData::default()).unwrap()
}

fn things(database: &Database) -> i64 {
    let snapshot = database.snapshot().unwrap();
    snapshot.query_row("SELECT count(*) FROM x_thing", [], |row| row.get(0)).unwrap()
}

fn add_thing(database: &Database, name: &str) -> Result<(), DbError> {
    database.transaction(|conn| {
        let id: i64 = conn.query_row("SELECT max(id) + 1 FROM x_thing", [], |row| row.get(0))?;
        conn.execute("INSERT INTO x_thing (id, name) VALUES (?1, ?2)", (id, name))?;
        Ok(())
    })
}

fn code(path: &Path, mode: Mode) -> &'static str {
    Database::open(path, mode).expect_err("it must not open").code()
}

#[test]
fn what_is_committed_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let database = Database::create(&path, &data()).unwrap();
    add_thing(&database, "two").unwrap();
    drop(database);
    let database = Database::open(&path, Mode::Write).unwrap();
    assert_eq!(things(&database), 2);
    assert_eq!(database.schema().models["x_thing"].rec_name.as_deref(), Some("name"));
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let database = Database::in_memory(&data()).unwrap();
    let failed: Result<(), DbError> = database.transaction(|conn| {
        conn.execute("DELETE FROM x_thing", [])?;
        Err(DbError::Busy)
    });
    assert!(failed.is_err());
    assert_eq!(things(&database), 1);
}

#[test]
fn a_snapshot_does_not_see_what_is_committed_after_it() {
    let database = Database::in_memory(&data()).unwrap();
    let snapshot = database.snapshot().unwrap();
    let count = |conn: &rusqlite::Connection| {
        conn.query_row("SELECT count(*) FROM x_thing", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&snapshot), 1);
    add_thing(&database, "two").unwrap();
    assert_eq!(count(&snapshot), 1);
    drop(snapshot);
    assert_eq!(things(&database), 2);
}

#[test]
fn files_that_are_no_database_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(code(&at("missing.db"), Mode::Write), "missing-file");
    for (name, bytes) in [("empty.db", &b""[..]), ("text.db", b"hello"), ("elf", b"\x7fELF\x02\x01")] {
        fs::write(at(name), bytes).unwrap();
        assert_eq!(code(&at(name), Mode::Write), "not-a-database", "{name}");
        assert_eq!(code(&at(name), Mode::Read), "not-a-database", "{name}");
    }
    assert_eq!(code(folder.path(), Mode::Read), "not-a-database");
    rusqlite::Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    assert_eq!(code(&at("other.db"), Mode::Write), "not-a-database");
    fs::write(at("short.db"), b"SQLite format 3\0").unwrap();
    assert_eq!(code(&at("short.db"), Mode::Write), "corrupt");
    Database::create(&at("good.db"), &data()).unwrap();
    assert_eq!(Database::create(&at("good.db"), &data()).unwrap_err().code(), "file-exists");
}

#[test]
fn a_damaged_file_is_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(Database::create(&path, &data()).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    // The file's own description, after the header of the first page.
    bytes[100..4000].fill(0xAA);
    fs::write(&path, bytes).unwrap();
    assert_eq!(code(&path, Mode::Read), "corrupt");
    assert_eq!(code(&path, Mode::Write), "corrupt");
}

/// Whether a text can be read in a database's file, or in the log beside it.
fn holds(path: &std::path::Path, text: &str) -> bool {
    let log = path.with_extension("db-wal");
    let files = [path, &log].map(|file| fs::read(file).unwrap_or_default());
    files.iter().any(|bytes| bytes.windows(text.len()).any(|some| some == text.as_bytes()))
}

#[test]
fn what_was_deleted_is_in_no_file_that_was_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let database = Database::create(&path, &data()).unwrap();
    add_thing(&database, "Zoe Unforgettable").unwrap();
    let forget = |conn: &rusqlite::Connection| {
        conn.execute("DELETE FROM x_thing WHERE name LIKE 'Zoe%'", [])?;
        Ok::<_, DbError>(())
    };
    database.transaction(forget).unwrap();
    assert!(holds(&path, "Zoe Unforgettable"), "SQLite overwrites nothing at once");
    database.write_anew().unwrap();
    assert!(!holds(&path, "Zoe Unforgettable"));
    assert_eq!(things(&database), 1);
    // It is written to as before.
    add_thing(&database, "two").unwrap();
    assert_eq!(things(&database), 2);
    let reader = Database::open(&path, Mode::Read).unwrap();
    assert_eq!(reader.write_anew().unwrap_err().code(), "read-only");
}

#[test]
fn a_file_of_an_earlier_version_shrinks_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(Database::create(&path, &data()).unwrap());
    let hand = rusqlite::Connection::open(&path).unwrap();
    hand.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
    hand.execute("INSERT INTO x_thing (id, name) VALUES (2, ?1)", ["x".repeat(4 << 20)]).unwrap();
    hand.execute("DELETE FROM x_thing WHERE id = 2", []).unwrap();
    hand.close().unwrap();
    let database = Database::open(&path, Mode::Write).unwrap();
    assert!(database.reclaim().unwrap() > 3 << 20);
    assert_eq!(things(&database), 1);
    let hand = rusqlite::Connection::open(&path).unwrap();
    let mode: i64 = hand.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(mode, 2, "the next time, page by page");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(Database::create(&path, &data()).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let error = Database::open(&path, Mode::Write).unwrap_err();
    assert_eq!(error.code(), "newer-database");
    assert!(error.to_string().contains("newer program"), "{error}");
    assert_eq!(code(&path, Mode::Read), "newer-database");
}

#[test]
fn only_one_writes_and_others_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = Database::create(&path, &data()).unwrap();
    // Locks of files bind two openings within one process as they bind two processes.
    assert_eq!(code(&path, Mode::Write), "locked");
    let reader = Database::open(&path, Mode::Read).unwrap();
    add_thing(&writer, "two").unwrap();
    assert_eq!(things(&reader), 2);
    assert_eq!(add_thing(&reader, "three").unwrap_err().code(), "read-only");
    drop(writer);
    assert!(Database::open(&path, Mode::Write).is_ok());
}

#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let database = Database::create(&path, &data()).unwrap();
    // SQLite reports the page limit as it reports a full disk.
    let filled: Result<(), DbError> = database.transaction(|conn| {
        let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
        conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        conn.execute("INSERT INTO x_thing (id, name) VALUES (2, ?1)", ["x".repeat(100_000)])?;
        Ok(())
    });
    assert_eq!(filled.unwrap_err().code(), "disk-full");
    assert_eq!(things(&database), 1);
    let raised: Result<(), DbError> = database.transaction(|conn| {
        conn.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(()))?;
        Ok(())
    });
    raised.unwrap();
    add_thing(&database, "two").unwrap();
    assert_eq!(things(&database), 2);
}

#[test]
fn a_database_in_memory_leaves_nothing_behind() {
    let database = Database::in_memory(&data()).unwrap();
    let path = database.path().to_owned();
    let other = database.clone();
    drop(database);
    assert_eq!(things(&other), 1);
    drop(other);
    assert!(!path.exists());
}
