//! One database: a SQLite file in WAL mode with one writer and many readers, or the same in memory.
//!
//! One process at a time has it open for writing (an operating-system lock on `<file>.lock`, gone with the
//! process); others can read. Within the process, writers take turns behind a mutex and readers each have
//! their own connection and snapshot.

mod error;
mod reader;
mod settings;
mod upgrade;

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs::{File, TryLockError},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rusqlite::{Connection, OpenFlags, limits::Limit};
use tempfile::TempDir;
use triggerbox_model::{
    error::Error,
    schema::{Model, Schema},
};

use self::reader::Reader;
pub use self::{
    error::{DbError, fault, is_fault},
    upgrade::FORMAT,
};
use crate::{
    ddl, group,
    load::{self, DataSet},
    query,
    rights::Rights,
};

/// Rows that change between two looks at whether the statistics that plans are made by are still right.
const OPTIMIZE_EVERY: u64 = 20_000;

/// Idle read connections that are kept. More are opened when they are needed, and closed after use.
const IDLE_READERS: usize = 8;

/// Models whose records are here wherever the others are: the people who sign in.
fn is_kept(model: &str) -> bool {
    matches!(model, "res.users" | "res.groups" | "res.company" | "res.partner") || model.starts_with("ir.")
}

/// Whether a database is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Takes the write lock.
    Write,
    /// Takes no lock; every write fails with [`DbError::ReadOnly`].
    Read,
}

/// An open database. Cheap to clone; closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The file itself cannot be written, nor can the log beside it: read it as it stands.
    immutable: bool,
    schema: Arc<Schema>,
    rights: Arc<Rights>,
    readers: Mutex<Vec<Reader>>,
    writer: Option<Mutex<Connection>>,
    /// Rows that the writer had changed at the last look at the statistics.
    looked_at: AtomicU64,
    /// Counts how often SQLite's statistics were renewed.
    statistics: AtomicU64,
    /// See [`Records`].
    changes: AtomicU64,
    // Dropped last: the lock after the connections, the folder after the lock.
    _lock: Option<File>,
    _folder: Option<TempDir>,
}

impl Database {
    /// Makes a new database of a data set: its tables, records and rights.
    ///
    /// # Errors
    /// [`DbError::Exists`] and everything that can go wrong on a disk. A file that could not be finished is removed.
    pub fn create(path: &Path, data: &DataSet) -> Result<Self, DbError> {
        Self::create_filled(path, data, |_| Ok(()))
    }

    /// The same, with what `fill` adds in the transaction that makes it: all of it is there, or nothing.
    pub(crate) fn create_filled(
        path: &Path,
        data: &DataSet,
        fill: impl FnOnce(&Connection) -> Result<(), Error>,
    ) -> Result<Self, DbError> {
        if path.exists() {
            return Err(DbError::Exists { path: path.to_owned() });
        }
        let lock = lock(path)?;
        // Another process may have made it, and be gone.
        if path.exists() {
            return Err(DbError::Exists { path: path.to_owned() });
        }
        let made = make(path, data, fill);
        if let Err(error) = made {
            clear_away(path);
            return Err(error);
        }
        Self::opened(path.to_owned(), Some(lock), None)
    }

    /// Makes a new database that is gone when it is closed: a file in memory where the system has such a place.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn in_memory(data: &DataSet) -> Result<Self, DbError> {
        Self::in_memory_filled(data, |_| Ok(()))
    }

    /// The same, with what `fill` adds.
    pub(crate) fn in_memory_filled(
        data: &DataSet,
        fill: impl FnOnce(&Connection) -> Result<(), Error>,
    ) -> Result<Self, DbError> {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }?;
        let path = folder.path().join("memory.db");
        make(&path, data, fill)?;
        Self::opened(path, None, Some(folder))
    }

    /// Opens a database. For writing, an older format is brought up to date first, and then older models, each in one
    /// transaction. A newer one of either is left alone.
    ///
    /// # Errors
    /// Each case of [`DbError`].
    pub fn open(path: &Path, mode: Mode) -> Result<Self, DbError> {
        check_file(path)?;
        match mode {
            Mode::Write => {
                let lock = lock(path)?;
                let conn = open_writer(path)?;
                upgrade::upgrade(&conn, upgrade::STEPS)?;
                upgrade::upgrade_models(&conn)?;
                optimize(&conn);
                drop(conn);
                Self::opened(path.to_owned(), Some(lock), None)
            }
            Mode::Read => Self::opened(path.to_owned(), None, None),
        }
    }

    /// The same database as the memory of a host whose records are on another server, which has these models.
    ///
    /// Tables are not touched: of models that are here too, fields that only the other server has are known by name. Models that
    /// it is missing are not known, whether or not they are here.
    ///
    /// # Errors
    /// The database is in use already.
    pub fn for_remote(
        mut self,
        models: impl IntoIterator<Item = Model>,
        missing: &BTreeSet<String>,
    ) -> Result<Self, DbError> {
        let inner = Arc::get_mut(&mut self.inner)
            .ok_or_else(|| DbError::Failed { why: "its models are asked for while it is in use".to_owned() })?;
        let mut schema = Schema::clone(&inner.schema);
        schema.remote = true;
        for mut model in models {
            if model.fields.is_empty() && schema.models.contains_key(&model.name) {
                continue;
            }
            if let Some(known) = schema.models.get(&model.name).filter(|known| is_kept(&known.name)) {
                for (name, field) in &known.fields {
                    model.fields.insert(name.clone(), field.clone());
                }
                model = Model { fields: model.fields, ..known.clone() };
            }
            schema.models.insert(model.name.clone(), model);
        }
        for name in missing.iter().filter(|name| !is_kept(name)) {
            schema.models.shift_remove(name);
        }
        inner.schema = Arc::new(schema);
        Ok(self)
    }

    /// The models.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.inner.schema
    }

    /// Who may do what.
    #[must_use]
    pub fn rights(&self) -> &Arc<Rights> {
        &self.inner.rights
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether this process holds the write lock.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.inner.writer.is_some() { Mode::Write } else { Mode::Read }
    }

    /// A connection with a snapshot of its own: what is committed later is not seen.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn snapshot(&self) -> Result<Snapshot, DbError> {
        let statistics = self.inner.statistics.load(Ordering::Relaxed);
        let conn = self.reader()?;
        let changes = self.inner.changes.load(Ordering::SeqCst);
        begin(&conn)?;
        let (database, version, was_let_go) = (self.clone(), None, false);
        Ok(Snapshot { conn: Some(conn), until: None, database, version, was_let_go, statistics, changes })
    }

    /// A read connection that nobody uses.
    fn reader(&self) -> Result<Reader, DbError> {
        let idle = lock_mutex(&self.inner.readers).pop();
        idle.map_or_else(|| open_reader(&self.inner.path, self.inner.immutable), Ok)
    }

    /// Runs `work` in one transaction, with the writer lock held. It is committed if `work` succeeds, else
    /// nothing of it is kept.
    ///
    /// # Errors
    /// What `work` says, or the database.
    pub fn transaction<T, E: From<DbError>>(&self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        self.transaction_beside(|conn, records| {
            records.change();
            work(conn)
        })
    }

    /// The same for work that says itself when it begins to change records, if it does: who has read records need not look
    /// again after what others only write beside them.
    ///
    /// # Errors
    /// As [`Database::transaction`].
    pub fn transaction_beside<T, E: From<DbError>>(
        &self,
        work: impl FnOnce(&Connection, &Records<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.writer()?;
        // Until the transaction is over, one way or the other.
        let records = Records { changes: &self.inner.changes, begun: Cell::new(false) };
        conn.execute_batch("BEGIN IMMEDIATE").map_err(DbError::from)?;
        match work(&conn, &records) {
            Ok(value) => match conn.execute_batch("COMMIT") {
                Ok(()) => {
                    let changed = conn.total_changes();
                    if changed.saturating_sub(self.inner.looked_at.load(Ordering::Relaxed)) >= OPTIMIZE_EVERY {
                        self.inner.looked_at.store(changed, Ordering::Relaxed);
                        optimize(&conn);
                        self.renew_readers();
                    }
                    Ok(value)
                }
                Err(error) => {
                    roll_back(&conn);
                    Err(DbError::from(error).into())
                }
            },
            Err(error) => {
                roll_back(&conn);
                Err(error)
            }
        }
    }

    /// Has connections opened anew: one that is open keeps planning by the statistics that it found.
    fn renew_readers(&self) {
        self.inner.statistics.fetch_add(1, Ordering::Relaxed);
        lock_mutex(&self.inner.readers).clear();
    }

    /// The writing connection, for its turn. No transaction is open on it.
    fn writer(&self) -> Result<MutexGuard<'_, Connection>, DbError> {
        let writer = self
            .inner
            .writer
            .as_ref()
            .ok_or_else(|| DbError::ReadOnly { why: "it was opened for reading".to_owned() })?;
        let conn = lock_mutex(writer);
        // A thread that panicked in its turn left its transaction open.
        roll_back(&conn);
        Ok(conn)
    }

    fn opened(path: PathBuf, lock: Option<File>, folder: Option<TempDir>) -> Result<Self, DbError> {
        let writer = if lock.is_some() || folder.is_some() { Some(open_writer(&path)?) } else { None };
        let (reader, immutable) = open_any_reader(&path)?;
        let found = upgrade::format_of(&reader)?;
        if found > FORMAT {
            return Err(DbError::Newer { found, known: FORMAT });
        }
        if found < FORMAT {
            return Err(DbError::Older { found, known: FORMAT });
        }
        let (schema, rights) =
            ddl::describe(&reader).map_err(|error| DbError::Description { why: error.to_string() })?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                immutable,
                schema: Arc::new(schema),
                rights: Arc::new(rights),
                readers: Mutex::new(vec![reader]),
                writer: writer.map(Mutex::new),
                looked_at: AtomicU64::new(0),
                statistics: AtomicU64::new(0),
                changes: AtomicU64::new(0),
                _lock: lock,
                _folder: folder,
            }),
        })
    }
}

/// Counts transactions that change records: odd while one is under way.
#[derive(Debug)]
pub struct Records<'a> {
    changes: &'a AtomicU64,
    begun: Cell<bool>,
}

impl Records<'_> {
    /// To be called before the first change of a record.
    pub fn change(&self) {
        if !self.begun.replace(true) {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        if self.begun.get() {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A read connection inside a transaction; goes back to the pool, without what was staged on it, when dropped.
#[derive(Debug)]
pub struct Snapshot {
    conn: Option<Reader>,
    /// When its statements are given up; none: never.
    until: Option<Instant>,
    database: Database,
    /// Let go of, at this state of the file.
    version: Option<i64>,
    was_let_go: bool,
    /// Which statistics it plans by.
    statistics: u64,
    /// How many changes of records there were before it began.
    changes: u64,
}

impl Database {
    /// Writes a consistent copy into a new file, while others read and write.
    ///
    /// # Errors
    /// [`DbError::Exists`] for a file that is there already; what the system says.
    pub fn backup(&self, to: &Path) -> Result<(), DbError> {
        copy(&*self.snapshot()?, to)
    }

    /// The same of a database that is not open: of one in an older format, too, which the copy keeps.
    ///
    /// # Errors
    /// As [`Database::backup`]; [`DbError::Newer`], and what a file is that is no database.
    pub fn backup_of(from: &Path, to: &Path) -> Result<(), DbError> {
        check_file(from)?;
        let (reader, _) = open_any_reader(from)?;
        begin(&reader)?;
        let found = upgrade::format_of(&reader)?;
        if found > FORMAT {
            return Err(DbError::Newer { found, known: FORMAT });
        }
        copy(&reader, to)
    }

    /// Makes a database of a copy, brought up to date as one that is opened for writing. All of it is there, or nothing.
    ///
    /// # Errors
    /// As [`Database::backup_of`] and [`Database::open`].
    pub fn restore(from: &Path, to: &Path) -> Result<Self, DbError> {
        Self::backup_of(from, to)?;
        Self::open(to, Mode::Write).inspect_err(|_| clear_away(to))
    }

    /// Gives pages that hold nothing any more back to the system; returns by how many bytes the file shrank.
    ///
    /// # Errors
    /// [`DbError::ReadOnly`]; what the system says.
    pub fn reclaim(&self) -> Result<u64, DbError> {
        let before = std::fs::metadata(&self.inner.path)?.len();
        let conn = self.writer()?;
        let mode: i64 = conn.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
        if mode == 0 {
            // A file of an earlier version: written anew once, and kept in order from then on.
            conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            vacuum(&conn)?;
        } else {
            // Each step gives one page back.
            let mut statement = conn.prepare("PRAGMA incremental_vacuum")?;
            let mut steps = statement.query([])?;
            while steps.next()?.is_some() {}
        }
        // The file shrinks when the log is written back to it. Readers of an older state are waited for next time.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        drop(conn);
        Ok(before.saturating_sub(std::fs::metadata(&self.inner.path)?.len()))
    }

    /// Writes the file anew, without anything that was deleted or overwritten in it; until then, whoever has the file can read
    /// that. Others read meanwhile, and wait to write. Takes twice the file's size of free disk space for a while.
    ///
    /// # Errors
    /// [`DbError::ReadOnly`]; [`DbError::Busy`] while somebody reads an older state: it stays in the log beside the file; what
    /// the system says.
    pub fn write_anew(&self) -> Result<(), DbError> {
        let conn = self.writer()?;
        vacuum(&conn)?;
        // Waits for those who read an older state, as long as for any lock.
        let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        match busy {
            true => Err(DbError::Busy),
            false => Ok(()),
        }
    }

    /// Schema, records and rights as one data set, as `db import` takes them.
    ///
    /// # Errors
    /// What the database says.
    pub fn export(&self) -> Result<DataSet, Error> {
        load::export(&*self.snapshot()?)
    }
}

impl Snapshot {
    /// The database that it is of.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Counts, from now on and `step` by `step`, the instructions of SQLite's machine that are done on this connection, for
    /// whoever has it later, too. What takes fewer than a step is not counted. Nothing is given up on it any more.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn count_work(&mut self, step: u16, counter: Arc<AtomicU64>) -> Result<(), DbError> {
        let conn = self.conn.as_mut().ok_or_else(|| DbError::Failed { why: "the connection is gone".to_owned() })?;
        conn.count_work(step, counter)
    }
}

impl Snapshot {
    /// Gives statements up from this time on, with [`DbError::OutOfTime`]; none: never.
    pub(crate) fn give_up_at(&mut self, until: Option<Instant>) {
        self.until = until;
        if let Some(conn) = &self.conn {
            conn.give_up_at(until);
        }
    }

    /// When its statements are given up.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Lets go of the committed state that it shows: a checkpoint can pass it. What is staged on it stays. Until
    /// [`Snapshot::renew`] each read sees what is committed by then.
    pub(crate) fn let_go(&mut self) -> Result<(), DbError> {
        if self.version.is_none() {
            let version = data_version(self)?;
            self.execute_batch("COMMIT")?;
            self.was_let_go = true;
            self.version = Some(version);
        }
        Ok(())
    }

    /// Lets go of the connection too, for others to use: nothing is staged on it. To be read from only after
    /// [`Snapshot::renew`].
    pub(crate) fn give_back(&mut self) -> Result<(), DbError> {
        if self.was_let_go {
            return self.let_go();
        }
        self.put_back();
        Ok(())
    }

    /// Gives the connection back, if others can use it: without anything on it.
    fn put_back(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // Before anything else: whoever has it next has other limits.
        conn.give_up_at(None);
        roll_back(&conn);
        let old = self.statistics != self.database.inner.statistics.load(Ordering::Relaxed);
        // What was staged before it was let go of is not undone by a rollback.
        if self.was_let_go || old {
            return;
        }
        let mut readers = lock_mutex(&self.database.inner.readers);
        if conn.is_autocommit() && readers.len() < IDLE_READERS {
            readers.push(conn);
        }
    }

    /// Shows what is committed by now, with what is staged over it. Whether any record may be another than it was.
    pub(crate) fn renew(&mut self) -> Result<bool, DbError> {
        let before = std::mem::replace(&mut self.changes, self.database.inner.changes.load(Ordering::SeqCst));
        let other = match self.conn {
            Some(_) => {
                self.let_go()?;
                begin(self)?;
                let now = data_version(self)?;
                self.version.take().is_some_and(|before| before != now)
            }
            None => {
                self.statistics = self.database.inner.statistics.load(Ordering::Relaxed);
                let conn = self.conn.insert(self.database.reader()?);
                conn.give_up_at(self.until);
                begin(conn)?;
                data_version(conn)?;
                true
            }
        };
        // Whatever this state has and the one before had not was committed after that began, and before this number was
        // read. Only the process that writes knows it.
        let after = self.database.inner.changes.load(Ordering::SeqCst);
        let same = self.database.mode() == Mode::Write && before.is_multiple_of(2) && before == after;
        Ok(other && !same)
    }
}

/// Writes what a connection sees into a new file.
fn copy(conn: &Connection, to: &Path) -> Result<(), DbError> {
    if to.exists() {
        return Err(DbError::Exists { path: to.to_owned() });
    }
    Ok(conn.backup("main", to, None::<fn(rusqlite::backup::Progress)>).inspect_err(|_| clear_away(to))?)
}

/// Removes what there is of a file that could not be made: it would only be in the way of the next try.
fn clear_away(path: &Path) {
    for leftover in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let _ = std::fs::remove_file(leftover);
    }
}

/// Begins a read transaction. The first read in it decides which state it shows.
fn begin(conn: &Connection) -> Result<(), DbError> {
    Ok(conn.execute_batch("BEGIN")?)
}

/// A number that changes when somebody else commits.
fn data_version(conn: &Connection) -> Result<i64, DbError> {
    // The pragma alone takes no lock on the state that it is about.
    conn.query_row("SELECT count(*) FROM main.sqlite_schema", [], |_| Ok(()))?;
    Ok(conn.pragma_query_value(Some("main"), "data_version", |row| row.get(0))?)
}

impl Deref for Snapshot {
    type Target = Connection;

    #[allow(clippy::expect_used, reason = "given back, it is taken again before it is read from")]
    fn deref(&self) -> &Connection {
        self.conn.as_deref().expect("present until it is given back")
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Ends an open transaction, if there is one.
fn roll_back(conn: &Connection) {
    if !conn.is_autocommit() {
        // SQLite may have rolled back by itself (a full disk); then there is nothing to do.
        let _ = conn.execute_batch("ROLLBACK");
    }
}

/// What the mutex guards stays usable after a panic: connections are rolled back before use.
fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a new database.
fn make(path: &Path, data: &DataSet, fill: impl FnOnce(&Connection) -> Result<(), Error>) -> Result<(), DbError> {
    let conn = open_writer(path)?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let filled = load::import(&conn, data).and_then(|()| fill(&conn));
    filled.map_err(|error| DbError::behind(&error).unwrap_or(DbError::Data(error)))?;
    conn.pragma_update(None, "application_id", settings::APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", FORMAT)?;
    conn.execute_batch("COMMIT")?;
    optimize(&conn);
    Ok(())
}

/// Writes all pages anew.
fn vacuum(conn: &Connection) -> Result<(), DbError> {
    // SQLite attaches the new file, which else nobody may, and has it where temporary things are: no place in memory is
    // large enough for it.
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
    conn.pragma_update(None, "temp_store", "FILE")?;
    let done = conn.execute_batch("VACUUM");
    settings::tune(conn)?;
    Ok(done?)
}

/// Brings the statistics that SQLite plans by up to date, for tables whose size has changed much. Without them it takes
/// any index for a good one. Looks at a sample of each index: milliseconds, whatever the size.
fn optimize(conn: &Connection) {
    // Worse plans are no reason to fail.
    let _ = conn.execute_batch("PRAGMA analysis_limit = 1000; PRAGMA optimize = 0x10002");
}

fn open_writer(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    settings::tune(&conn)?;
    if conn.is_readonly("main")? {
        return Err(DbError::ReadOnly { why: format!("{} may not be written", path.display()) });
    }
    settings::tune_writer(&conn)?;
    query::functions::register(&conn)?;
    group::functions::register(&conn)?;
    Ok(conn)
}

/// Opens a file for reading; whether as it stands.
fn open_any_reader(path: &Path) -> Result<(Reader, bool), DbError> {
    match open_reader(path, false) {
        Ok(reader) => Ok((reader, false)),
        // A database on a read-only disk has no place for the log's index. Without a log there is nothing in it to miss.
        Err(DbError::Io { .. } | DbError::ReadOnly { .. }) if !has_log(path) => Ok((open_reader(path, true)?, true)),
        Err(error) => Err(error),
    }
}

fn open_reader(path: &Path, immutable: bool) -> Result<Reader, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = if immutable {
        Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    settings::tune(&conn)?;
    settings::tune_reader(&conn)?;
    query::functions::register(&conn)?;
    group::functions::register(&conn)?;
    // SQLite opens lazily: the first read says whether it can.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Reader::new(conn)
}

/// `file:` address that tells SQLite that nothing changes the file; characters with a meaning in it are escaped.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// Takes the write lock. The system frees it when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, DbError> {
    let file = File::options().create(true).append(true).open(beside(path, ".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// `crm.db` and `-wal` give `crm.db-wal`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn has_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Says precisely what a file is that is no database of ours, before SQLite touches it.
fn check_file(path: &Path) -> Result<(), DbError> {
    use std::io::Read;

    /// What every SQLite file begins with.
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    /// Where the header keeps the application's number, big-endian.
    const APPLICATION_ID_AT: usize = 68;

    let not = |why: &str| DbError::NotADatabase { path: path.to_owned(), why: why.to_owned() };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DbError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_dir() {
        return Err(not("it is a folder"));
    }
    let mut header = Vec::with_capacity(100);
    Read::by_ref(&mut file).take(100).read_to_end(&mut header)?;
    if header.is_empty() {
        return Err(not("it is empty"));
    }
    if !header.starts_with(MAGIC) {
        return Err(not("it is no SQLite file"));
    }
    let id = header.get(APPLICATION_ID_AT..APPLICATION_ID_AT + 4).and_then(|bytes| bytes.try_into().ok());
    match id.map(i32::from_be_bytes) {
        None => Err(DbError::Corrupt { why: "it ends within its header".to_owned() }),
        Some(settings::APPLICATION_ID) => Ok(()),
        // The number may still be in the log only, when the process that made the file was killed.
        Some(0) if has_log(path) => Ok(()),
        Some(_) => Err(not("it is another program's SQLite file")),
    }
}
