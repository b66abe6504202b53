//! What can go wrong with the database itself, as against the data in it.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use triggerbox_model::{
    error::{Error, ErrorKind},
    limits::Limit,
};

/// Why a database cannot be opened, read or written. [`DbError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// There is no file. Whoever gave the path.
    #[error("there is no database at {path}; create one first")]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// A file is there already where a new one was to be made. Whoever gave the path.
    #[error("{path} exists already; choose another name or remove it first")]
    Exists {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file is something else. Whoever gave the path.
    #[error("{path} is not a Triggerbox database: {why}")]
    NotADatabase {
        /// The path asked for.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A newer program wrote the file. The operator: use that program.
    #[error(
        "the database has format {found}, this program knows formats up to {known}; use the newer program that wrote it"
    )]
    Newer {
        /// Format of the file.
        found: u32,
        /// Newest format that this program knows.
        known: u32,
    },
    /// A newer program brought the models up to date. The operator: use that program.
    #[error(
        "the database has version {found} of its models, this program knows version {known}; use the newer program, or \
         open the database only for reading"
    )]
    NewerModels {
        /// Version of the models in the file.
        found: u32,
        /// The version that this program comes with.
        known: u32,
    },
    /// The models in the file cannot be brought up to date; the file is as it was. Whoever changed them.
    #[error("the database's models cannot be brought up to date, and nothing was changed: {why}")]
    Models {
        /// Why not.
        why: String,
    },
    /// An older program wrote the file, and it was opened only for reading. The operator: open it once for writing.
    #[error("the database has format {found} and must be brought to format {known}; open it once for writing")]
    Older {
        /// Format of the file.
        found: u32,
        /// The format that this program reads.
        known: u32,
    },
    /// Another process has the database open for writing. Nobody: readers still work.
    #[error("{path} is open for writing in another process; use its API, or open the database read-only")]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file, its folder or its disk cannot be written, or it was opened for reading. The operator.
    #[error("the database is read-only: {why}")]
    ReadOnly {
        /// What says so.
        why: String,
    },
    /// No room on the disk. The operator. Nothing of the transaction was kept.
    #[error("the disk of the database is full; nothing was changed")]
    Full,
    /// The file is damaged. The operator: restore a backup.
    #[error("the database is damaged ({why}); restore it from a backup")]
    Corrupt {
        /// What SQLite found.
        why: String,
    },
    /// A lock inside the database was not free in time. Nobody: try again.
    #[error("the database was busy for too long; try again")]
    Busy,
    /// The run's time was over in the middle of a statement. Whoever sets its limits.
    #[error("the time was over before the database had the answer")]
    OutOfTime,
    /// What a run has read is not what is there any more. Nobody: the run runs again.
    #[error("{why}")]
    Outdated {
        /// Which record and field.
        why: String,
    },
    /// The operating system refused. The operator.
    #[error("the database's file cannot be used: {why}")]
    Io {
        /// What the system says.
        why: String,
    },
    /// What the database holds about itself makes no sense. Whoever wrote it.
    #[error("the database's own description is wrong: {why}")]
    Description {
        /// What is wrong with it.
        why: String,
    },
    /// A value is larger than a row may be. Whoever provides the data.
    #[error("a value or statement is too big for the database")]
    TooBig,
    /// Data that was to be loaded makes no sense. Whoever provides it.
    #[error("{0}")]
    Data(#[source] Error),
    /// Anything else SQLite says. A bug here.
    #[error("the database failed: {why}")]
    Failed {
        /// What SQLite says.
        why: String,
    },
}

impl DbError {
    /// Stable name of the case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing-file",
            Self::Exists { .. } => "file-exists",
            Self::NotADatabase { .. } => "not-a-database",
            Self::Newer { .. } => "newer-database",
            Self::NewerModels { .. } => "newer-schema",
            Self::Models { .. } => "incompatible-schema",
            Self::Older { .. } => "older-database",
            Self::Locked { .. } => "locked",
            Self::ReadOnly { .. } => "read-only",
            Self::Full => "disk-full",
            Self::Corrupt { .. } => "corrupt",
            Self::Busy => "busy",
            Self::OutOfTime => "out-of-time",
            Self::Outdated { .. } => "outdated",
            Self::Io { .. } => "io",
            Self::Description { .. } => "description",
            Self::TooBig => "too-big",
            Self::Data(_) => "bad-data",
            Self::Failed { .. } => "database",
        }
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        // No room for the log's index; SQLite calls that an input or output error.
        if error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Full;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { why },
            Some(ErrorCode::NotADatabase) => Self::Corrupt { why },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { why },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Io { why },
            Some(ErrorCode::TooBig) => Self::TooBig,
            Some(ErrorCode::OperationInterrupted) => Self::OutOfTime,
            _ => Self::Failed { why },
        }
    }
}

impl From<std::io::Error> for DbError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { why: error.to_string() }
            }
            _ => Self::Io { why: error.to_string() },
        }
    }
}

impl From<DbError> for Error {
    /// What a script would see of it; the host ends the run instead, see [`is_fault`].
    fn from(error: DbError) -> Self {
        Self::new(ErrorKind::Other, error.code(), error.to_string())
    }
}

impl DbError {
    /// The limit of the run that was reached, if it was that.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        matches!(self, Self::OutOfTime).then_some(Limit::WallTime)
    }

    /// The failure of the database behind an error, if it is one.
    #[must_use]
    pub fn behind(error: &Error) -> Option<Self> {
        if error.kind != ErrorKind::Other {
            return None;
        }
        let why = error.message.clone();
        Some(match error.code.as_str() {
            "disk-full" => Self::Full,
            "corrupt" => Self::Corrupt { why },
            "read-only" => Self::ReadOnly { why },
            "busy" => Self::Busy,
            "out-of-time" => Self::OutOfTime,
            "outdated" => Self::Outdated { why },
            "io" => Self::Io { why },
            "too-big" => Self::TooBig,
            "database" => Self::Failed { why },
            _ => return None,
        })
    }
}

/// Turns SQLite's error into the one error type of the functions over a connection.
#[must_use]
pub fn fault(error: rusqlite::Error) -> Error {
    DbError::from(error).into()
}

/// Whether an error says that the database failed, as against that a call was wrong.
#[must_use]
pub fn is_fault(error: &Error) -> bool {
    DbError::behind(error).is_some()
}
