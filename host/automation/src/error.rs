//! Why the engine could not do what it was asked.

use triggerbox_model::error::Error;
use triggerbox_odoo::OdooError;
use triggerbox_store::{commit::CommitError, db::DbError};

use crate::{rule::stored::RuleError, runner::RunError, scripts::RegistryError};

/// Why the engine could not do what it was asked. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong or not allowed, or the data is refused. Whoever asked; the code says why.
    #[error("{0}")]
    Refused(#[source] Error),
    /// Somebody else changed the same records meanwhile, again and again. Nobody: try again.
    #[error("{0}")]
    Conflict(#[source] Error),
    /// The Odoo server that the records are on cannot be used. Nobody, or the operator: try again.
    #[error("{0}")]
    Backend(#[source] OdooError),
    /// The database failed. The operator.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl EngineError {
    /// The stable code, `unknown-rule`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(error) | Self::Conflict(error) => &error.code,
            Self::Backend(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }

    /// As the one error type of the contract.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Conflict(error) => error,
            Self::Backend(error) => error.into_error(),
            Self::Database(error) => error.into(),
        }
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match DbError::behind(&error) {
            Some(fault) => Self::Database(fault),
            None => Self::Refused(error),
        }
    }
}

impl From<CommitError> for EngineError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(error) => Self::Refused(error),
            CommitError::Database(error) => Self::Database(error),
            conflict @ CommitError::Conflict { .. } => Self::Conflict(conflict_error(&conflict)),
        }
    }
}

/// A conflict as an error of the contract.
pub(crate) fn conflict_error(conflict: &CommitError) -> Error {
    Error::new(triggerbox_model::error::ErrorKind::Conflict, "conflict", conflict.to_string())
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<RunError> for EngineError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Invalid(error) => error.into(),
            RunError::Backend(why) => Self::Database(DbError::Failed { why }),
        }
    }
}

impl From<RegistryError> for EngineError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Database(error) => Self::Database(error),
            error => Self::Refused(Error::rejected(error.code(), error.to_string())),
        }
    }
}

impl From<RuleError> for EngineError {
    /// All findings as one text; who wants them one by one asks for the rule's check.
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::Database(error) => Self::Database(error),
            RuleError::Script(error) => error.into(),
            error => Self::Refused(Error::rejected(error.code(), error.to_string())),
        }
    }
}

impl From<serde_json::Error> for EngineError {
    /// What the engine itself wrote does not read: the file was changed by something else.
    fn from(error: serde_json::Error) -> Self {
        Self::Database(DbError::Corrupt { why: format!("the engine's tables: {error}") })
    }
}
