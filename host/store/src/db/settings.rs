//! Every pragma and limit of a connection, in one place, each with its reason.

use std::time::Duration;

use rusqlite::{Connection, config::DbConfig, limits::Limit};

use super::DbError;

/// `TBox` in ASCII: tells `file` and us that a SQLite file is ours.
pub(super) const APPLICATION_ID: i32 = 0x5442_6f78;

/// How long a statement waits for a lock inside the file. Only this process writes, and its writer is
/// behind a mutex: a wait means a checkpoint or a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept by each connection. A run's queries repeat from run to run.
const STATEMENTS: usize = 256;

/// What every connection needs.
pub(super) fn tune(conn: &Connection) -> Result<(), DbError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // A file from elsewhere must not run code: views and triggers of the file see only harmless functions.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // "x" is a name, never a text: a misspelt column fails instead of comparing with its own name.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // Plans do not depend on the values that are bound: without this every new limit or id would have its statement,
    // prepared long ago, prepared again.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Writers look after references themselves, as Odoo words the refusals.
    conn.pragma_update(None, "foreign_keys", false)?;
    // What a transaction can be rolled back by, as far as it is no file of the database's own.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // 16 MiB of pages for each connection; the operating system caches the rest.
    conn.pragma_update(None, "cache_size", -16 * 1024)?;
    // The largest text, blob or row: more than the largest payload a run may have.
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, 256 << 20)?;
    // No file can be attached to read or write outside of this one.
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    Ok(())
}

/// What a reading connection needs besides.
pub(super) fn tune_reader(conn: &Connection) -> Result<(), DbError> {
    // What a question sorts or keeps aside is written to a file without a name once it is large: as much as a question may
    // take time for would not fit into memory.
    conn.pragma_update(None, "temp_store", "FILE")?;
    // Staged changes live in temporary tables. They are not to touch the disk unless a run stages more than 32 MiB, and what
    // undoes them is kept in memory.
    conn.pragma_update(Some("temp"), "cache_size", -32 * 1024)?;
    conn.pragma_update_and_check(Some("temp"), "journal_mode", "MEMORY", |_| Ok(()))?;
    Ok(())
}

/// What the writing connection needs besides.
pub(super) fn tune_writer(conn: &Connection) -> Result<(), DbError> {
    // What is deleted can be given back to the system page by page. To be said before the first page is written; later it
    // would only touch the file.
    if conn.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Readers see a snapshot and never wait for the writer.
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(DbError::Io { why: format!("the file system allows only journal mode {mode}, not WAL") });
    }
    // A commit is on the disk before it is reported.
    conn.pragma_update(None, "synchronous", "FULL")?;
    // After a burst the log is cut back to 64 MiB.
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(())
}
