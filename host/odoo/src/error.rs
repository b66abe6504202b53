//! Why a call to Odoo came to nothing, and what a script is told of it.

use serde::Deserialize;
use serde_json::Value as Json;
use triggerbox_model::error::{Error, ErrorKind};

/// What texts of the apply action begin with.
const OURS: &str = "TRIGGERBOX ";
/// Somebody else holds the record for the moment.
const BUSY: &str = "odoo-busy";
/// So begins what it says of a domain, an order, a value or a name that it cannot make sense of.
const ASKED: [&str; 6] = [
    "Invalid ",
    "External ID not found",
    "invalid literal for int",
    "could not convert string to float",
    "Failed to cast ",
    "A string literal cannot ",
];
/// What its database, which is there, cannot make sense of: a pattern of `=like` with a backslash at its end.
const ODD: [&str; 4] =
    ["InvalidEscapeSequence", "InvalidTextRepresentation", "NumericValueOutOfRange", "DatetimeFieldOverflow"];
/// What it says to who may not run the apply action, in English.
const NOT_A_MEMBER: &str = "rights to run this action";
/// Longest text that is taken over from Odoo, in characters.
const LONGEST: usize = 500;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OdooError {
    /// No connection. Nobody, or the operator: a wrong address.
    #[error("odoo at {server} is not reachable: {why}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// The system's words.
        why: String,
    },
    /// Its certificate is not to be trusted; no key was sent. The operator.
    #[error("the certificate of odoo at {server} is not to be trusted: {why}")]
    Certificate {
        /// Host and port.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// No whole answer in time; the request may have arrived. Nobody: try again.
    #[error("odoo at {server} did not answer within {seconds} s")]
    Timeout {
        /// Host and port.
        server: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The answer was broken off; the request may have arrived. Nobody: try again.
    #[error("odoo at {server} broke off its answer: {why}")]
    CutOff {
        /// Host and port.
        server: String,
        /// The system's words.
        why: String,
    },
    /// It answers something that Odoo does not. The operator: a wrong address, or a proxy in between.
    #[error("{server} does not answer as odoo does: {why}")]
    NotOdoo {
        /// Host and port.
        server: String,
        /// What is odd.
        why: String,
    },
    /// It sends elsewhere, where no key is sent. The operator: the address.
    #[error("{server} sends us to {to}, and keys are not sent on; set `url` to where odoo answers itself")]
    Redirected {
        /// Host and port.
        server: String,
        /// Where it sends.
        to: String,
    },
    /// A larger answer than allowed. The script's author: ask for less.
    #[error("odoo's answer has more than {max} bytes; ask for fewer records or fields")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// Odoo has no such database. The operator.
    #[error("odoo at {server} has no database `{database}`, or does not serve it at this address")]
    UnknownDatabase {
        /// Host and port.
        server: String,
        /// As configured.
        database: String,
    },
    /// Odoo does not take the key. The operator: a new key.
    #[error("odoo does not take the key of `{login}`: {why}")]
    KeyRefused {
        /// Whose.
        login: String,
        /// As far as it can be known.
        why: String,
    },
    /// The key is somebody else's. The operator.
    #[error("the key that is configured for `{login}` belongs to `{owner}`; give `{login}` a key of their own")]
    WrongLogin {
        /// As configured.
        login: String,
        /// Whom Odoo says it belongs to.
        owner: String,
    },
    /// Another version than 19. The operator.
    #[error("this is odoo {version}; triggerbox works with odoo 19 (JSON-2), servers before it are not supported yet")]
    OtherVersion {
        /// What it says.
        version: String,
    },
    /// What the set-up makes is not there, or not for this user. The operator.
    #[error("{0}; run `triggerbox odoo setup`")]
    NotSetUp(String),
    /// Odoo itself failed. Nobody: try again; else Odoo's administrator.
    #[error("odoo failed with {status}: {message}")]
    Failed {
        /// HTTP's.
        status: u16,
        /// Odoo's class of the error, `builtins.ZeroDivisionError`; empty where it is not Odoo itself that answers.
        class: String,
        /// Odoo's words.
        message: String,
        /// Odoo's traceback, for administrators only.
        traceback: String,
    },
    /// Others hold the same records for the moment. Nobody: try again.
    #[error("{0}")]
    Busy(Refusal),
    /// Odoo says no, for a reason that the contract has a word for.
    #[error("{0}")]
    Refused(Refusal),
}

/// Odoo's no.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// What the script is told.
    pub error: Error,
    /// Odoo's traceback, for administrators only.
    pub traceback: String,
}

/// An error as JSON-2 tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) message: Json,
    pub(crate) debug: String,
}

impl OdooError {
    /// Whether the same call may go better later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::CutOff { .. } | Self::Busy(_) => true,
            Self::Failed { status, .. } => matches!(status, 429 | 502..=504),
            _ => false,
        }
    }

    /// Whether nobody is there who could answer, so that it is waited for. An Odoo that answers with an error of its own is
    /// there; unless it is its database that is not, or that is being upgraded.
    ///
    /// Of an answer that does not come in time it is not said: that may be the question.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::CutOff { .. } => true,
            Self::Failed { status: 500, class, .. } => class.is_empty() || class.starts_with("psycopg2."),
            Self::Failed { status, .. } => (501..=599).contains(status),
            _ => false,
        }
    }

    /// Whether it stays so until a person does something about it: a key, or a right. That Odoo has no such database is not
    /// among it: it says so, too, while its own database is started anew.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        matches!(self, Self::KeyRefused { .. } | Self::WrongLogin { .. } | Self::NotSetUp(_))
    }

    /// Whether the request may have been done all the same.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::CutOff { .. } | Self::TooLarge { .. } | Self::NotOdoo { .. } => true,
            // Odoo says what failed, and has undone it then. A proxy that gave up on it says nothing of that.
            Self::Failed { status, class, .. } if class.is_empty() => *status >= 500,
            Self::Failed { status, .. } => (502..=504).contains(status),
            _ => false,
        }
    }

    /// The stable code, `odoo-unreachable`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) | Self::Busy(refusal) => &refusal.error.code,
            Self::Unreachable { .. } => "odoo-unreachable",
            Self::Certificate { .. } => "odoo-certificate",
            Self::Timeout { .. } => "odoo-timeout",
            Self::CutOff { .. } => "odoo-cut-off",
            Self::NotOdoo { .. } => "not-odoo",
            Self::Redirected { .. } => "odoo-redirects",
            Self::TooLarge { .. } => "odoo-answer-too-large",
            Self::UnknownDatabase { .. } => "unknown-database",
            Self::KeyRefused { .. } => "odoo-key-refused",
            Self::WrongLogin { .. } => "wrong-login",
            Self::OtherVersion { .. } => "other-odoo-version",
            Self::NotSetUp(_) => "not-set-up",
            Self::Failed { .. } => "odoo-failed",
        }
    }

    /// As the one error type of the contract.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            Self::Refused(refusal) | Self::Busy(refusal) => refusal.error,
            error => Error::unavailable(error.code(), error.to_string()),
        }
    }

    /// What the traceback in Odoo was, for administrators.
    #[must_use]
    pub fn traceback(&self) -> Option<&str> {
        match self {
            Self::Refused(Refusal { traceback, .. })
            | Self::Busy(Refusal { traceback, .. })
            | Self::Failed { traceback, .. } => Some(traceback.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }
}

/// What Odoo's answer with an error status means.
pub(crate) fn refused(status: u16, told: Told) -> OdooError {
    let message = match &told.message {
        Json::String(text) => clean(text),
        other => clean(&other.to_string()),
    };
    // The message is in the user's language; the traceback has the line of Odoo's code that says it.
    let is_no_member = message.contains(NOT_A_MEMBER) || told.debug.contains(NOT_A_MEMBER);
    let class = told.name.rsplit('.').next().unwrap_or_default();
    let error = match (status, class) {
        (_, "AccessError" | "AccessDenied") if is_no_member => {
            return OdooError::NotSetUp("the user is not in the group that may apply changes".to_owned());
        }
        (_, "AccessError" | "AccessDenied") | (403, _) => Error::denied("no-access", message),
        (_, "MissingError") => Error::not_found("missing-record", message),
        (_, "LockError") | (409, _) => return busy(&message, told.debug),
        (_, "SerializationFailure" | "DeadlockDetected" | "LockNotAvailable") => {
            return busy("others changed the same records meanwhile", told.debug);
        }
        (404, _) if message.starts_with("the model") => Error::not_found("unknown-model", message),
        (404, _) => Error::not_found("unknown-method", message),
        (_, "ValidationError" | "UserError" | "RedirectWarning") => {
            let traceback = told.debug;
            return ours(&message, &traceback).unwrap_or_else(|| {
                OdooError::Refused(Refusal { error: Error::rejected("odoo-refused", message), traceback })
            });
        }
        (422, _) => Error::invalid("bad-call", message),
        (500, "ValueError" | "KeyError" | "TypeError") if message.starts_with("Invalid field") => {
            Error::invalid("unknown-field", message)
        }
        // Whatever else fails in its own code may go better later: while it loads its modules anew, it does not find its models.
        (500, "ValueError") if ASKED.iter().any(|said| message.starts_with(said)) => {
            Error::invalid("bad-call", message)
        }
        (500, class) if ODD.contains(&class) => Error::invalid("bad-call", message),
        _ => return OdooError::Failed { status, class: told.name, message, traceback: told.debug },
    };
    OdooError::Refused(Refusal { error, traceback: told.debug })
}

fn busy(message: &str, traceback: String) -> OdooError {
    OdooError::Busy(Refusal { error: Error::new(ErrorKind::Conflict, BUSY, message), traceback })
}

/// What the apply action says in its own words.
fn ours(message: &str, traceback: &str) -> Option<OdooError> {
    let (kind, text) = message.strip_prefix(OURS)?.split_once(' ')?;
    let error = match kind {
        "conflict" => Error::new(ErrorKind::Conflict, "conflict", text),
        "taken" => return Some(busy(text, traceback.to_owned())),
        "method-not-set-up" => return Some(OdooError::NotSetUp(text.to_owned())),
        "unknown-activity-type" => Error::not_found("unknown-activity-type", text),
        "bad-request" => return Some(OdooError::NotSetUp(text.to_owned())),
        _ if text.starts_with("Invalid field") => Error::invalid("unknown-field", text),
        _ => Error::rejected("odoo-refused", text),
    };
    Some(OdooError::Refused(Refusal { error, traceback: traceback.to_owned() }))
}

/// Odoo's words on one line, of bounded length, without the code that it was running.
fn clean(text: &str) -> String {
    let text = text.split(" while evaluating").next().unwrap_or_default();
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None if line.is_empty() => "odoo does not say why".to_owned(),
        None => line,
    }
}
