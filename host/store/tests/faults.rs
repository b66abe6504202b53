//! Disks that are full or read-only, and two processes on one file: a clear error each, nothing lost.
//!
//! The disks are small `tmpfs` mounts, which only root can make; without that these tests say that they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod common;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{ADMIN, env, now, read, session, text, write};
use triggerbox_model::value::Value;
use triggerbox_store::{
    commit::{CommitError, commit},
    db::{Database, DbError, Mode},
};

/// A disk of its own for one test.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Mounts one; says so and returns nothing where that is not allowed.
    fn mount(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "triggerbox-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: mounting a small disk needs root");
        None
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes all room that is left. Removing the file gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.file("ballast");
        let mut ballast = File::create(&path).unwrap();
        let block = vec![1; 4096];
        while ballast.write_all(&block).is_ok() {}
        path
    }

    fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(self.folder.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn integrity(database: &Database) -> String {
    database.snapshot().unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// One test at a time: a process that another test starts holds a copy of this one's open files, and so its lock on the
/// database, for the moment until it becomes another program.
fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_full_disk_refuses_the_commit_and_loses_nothing() {
    let _turn = turn();
    let Some(disk) = Disk::mount("a_full_disk_refuses_the_commit_and_loses_nothing") else { return };
    let path = disk.file("demo.db");
    let database = Database::create_demo(&path, now()).unwrap();
    let env = env(&database, ADMIN);
    let changes = |city: &str| {
        let mut run = session(&database);
        let long = Value::Text("x".repeat(1 << 20));
        let long = triggerbox_model::value::FieldValue::new("referred", long);
        write(&mut run, "crm.lead", 1, vec![text("city", city), long]);
        run.finish()
    };
    commit(&database, &env, &changes("Ghent")).unwrap();

    let ballast = disk.fill();
    // Reading needs no room, nor does staging.
    let too_late = changes("Namur");
    let error = commit(&database, &env, &too_late).unwrap_err();
    assert!(matches!(error, CommitError::Database(DbError::Full)), "{error}");
    assert_eq!(error.to_string(), "the disk of the database is full; nothing was changed");
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "city"), Value::text("Ghent"));
    let another = disk.file("another.db");
    let error = Database::create_demo(&another, now()).unwrap_err();
    assert_eq!(error.code(), "disk-full", "{error}");
    assert!(!another.exists(), "a file that was never finished is in the way");

    fs::remove_file(ballast).unwrap();
    commit(&database, &env, &too_late).unwrap();
    drop(database);
    let database = Database::open(&path, Mode::Write).unwrap();
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "city"), Value::text("Namur"));
    assert_eq!(integrity(&database), "ok");
}

#[test]
fn a_database_on_a_full_disk_opens_or_says_why() {
    let _turn = turn();
    let Some(disk) = Disk::mount("a_database_on_a_full_disk_opens_or_says_why") else { return };
    let path = disk.file("demo.db");
    drop(Database::create_demo(&path, now()).unwrap());
    let ballast = disk.fill();
    match Database::open(&path, Mode::Write) {
        Ok(database) => assert_eq!(integrity(&database), "ok"),
        // There may not even be room for the log's index.
        Err(error) => assert_eq!(error.code(), "disk-full", "{error}"),
    }
    fs::remove_file(ballast).unwrap();
    assert_eq!(integrity(&Database::open(&path, Mode::Write).unwrap()), "ok");
}

#[test]
fn a_read_only_disk_is_read_and_never_written() {
    let _turn = turn();
    let Some(disk) = Disk::mount("a_read_only_disk_is_read_and_never_written") else { return };
    let path = disk.file("demo.db");
    drop(Database::create_demo(&path, now()).unwrap());
    disk.make_read_only();
    let error = Database::open(&path, Mode::Write).unwrap_err();
    assert_eq!(error.code(), "read-only", "{error}");
    assert_eq!(Database::create_demo(&disk.file("new.db"), now()).unwrap_err().code(), "read-only");

    let database = Database::open(&path, Mode::Read).unwrap();
    let mut run = session(&database);
    write(&mut run, "crm.lead", 1, vec![text("city", "Ghent")]);
    assert_eq!(read(&mut run, "crm.lead", 1, "city"), Value::text("Ghent"), "a dry run needs no disk");
    let error = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap_err();
    assert!(error.to_string().starts_with("the database is read-only"), "{error}");
}

/// Opens the database for writing and waits to be killed. Run by the test below, in a process of its own.
#[test]
#[ignore = "another test runs it as a child"]
fn child() {
    let Some(path) = std::env::var_os("TRIGGERBOX_FAULTS_CHILD") else { return };
    let _database = Database::open(Path::new(&path), Mode::Write).unwrap();
    println!("\nopen");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_second_process_may_read_and_not_write() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    drop(Database::create_demo(&path, now()).unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("TRIGGERBOX_FAULTS_CHILD", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "open"), "the child has it open");

    let error = Database::open(&path, Mode::Write).unwrap_err();
    assert_eq!(error.code(), "locked");
    assert!(error.to_string().ends_with("use its API, or open the database read-only"), "{error}");
    let reader = Database::open(&path, Mode::Read).unwrap();
    assert_eq!(integrity(&reader), "ok");
    drop(reader);

    // The lock is gone with the process, however it ends.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(integrity(&Database::open(&path, Mode::Write).unwrap()), "ok");
}
