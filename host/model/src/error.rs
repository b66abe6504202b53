//! The one error that scripts see: a stable kind and code, and a text for people.

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong; says who can mend it. Mirrors `error-kind` of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Script, rule, policy or user may not do this. An administrator can grant it.
    AccessDenied,
    /// Unknown model, record, method or key. The script's author.
    NotFound,
    /// The call itself is wrong. The script's author.
    Invalid,
    /// The backend refused the data: required field, constraint. Whoever provides the data.
    Rejected,
    /// Somebody else changed the record meanwhile. Nobody: it is retried.
    Conflict,
    /// A service is not configured, not reachable or over its quota. An administrator, or time.
    Unavailable,
    /// The answer depends on something that only the commit can know. The script's author.
    Pending,
    /// See the code.
    Other,
}

impl ErrorKind {
    /// The contract's name of the kind, `access-denied`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "access-denied",
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Pending => "pending",
            Self::Other => "other",
        }
    }
}

/// Why a call failed. Scripts decide by kind and code; people read the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// Stable and documented, `unknown-field`.
    pub code: String,
    /// What happened, on what, what to do; lower case, no full stop.
    pub message: String,
    /// The field at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Error {
    /// An error without a field.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), field: None }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The call itself is wrong.
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// Something that does not exist.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }

    /// Something that is not allowed.
    pub fn denied(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AccessDenied, code, message)
    }

    /// Data that the backend refuses.
    pub fn rejected(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, code, message)
    }

    /// A service that is not there.
    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, code, message)
    }
}
