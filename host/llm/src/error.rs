//! Why a model gave no answer: one case for each thing that somebody can do about it.

use std::time::Duration;

use triggerbox_model::error::{Error, ErrorKind};

/// Why there is no answer. The texts hold no key and no address with one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Models are switched off, or no provider is configured. An administrator.
    #[error("no language model provider is configured on this host; an administrator can add one")]
    NotConfigured,
    /// The script or the rule names a model that is not in the providers file. Its author, or an administrator.
    #[error("there is no language model `{name}`; there are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The request itself is wrong. The script's author.
    #[error("{0}")]
    BadRequest(String),
    /// The provider does not take the key. An administrator.
    #[error("{provider} refused the key ({status}); check the key of this provider")]
    KeyRefused {
        /// Which one.
        provider: String,
        /// 401 or 403.
        status: u16,
    },
    /// The provider does not take the request. The script's author, or an administrator: a wrong model name.
    #[error("{provider} refused the request ({status}): {message}")]
    Refused {
        /// Which one.
        provider: String,
        /// 4xx.
        status: u16,
        /// In its words, cut.
        message: String,
    },
    /// Over the provider's limits, or the host's own for it. Time.
    #[error("{provider} is over its rate limit; it takes requests again in {} s", .wait.as_secs())]
    RateLimited {
        /// Which one.
        provider: String,
        /// When to try again.
        wait: Duration,
    },
    /// The provider is broken, and stayed so. Time.
    #[error("{provider} failed ({status}) {tries} times in a row")]
    Failed {
        /// Which one.
        provider: String,
        /// 408 or 5xx.
        status: u16,
        /// How often it was asked.
        tries: u32,
        /// When to try again, where it said so.
        wait: Option<Duration>,
    },
    /// No connection. Time, or an administrator: a wrong address.
    #[error("{provider} cannot be reached: {why}")]
    Unreachable {
        /// Which one.
        provider: String,
        /// In the system's words.
        why: String,
    },
    /// No whole answer in time. Time, or an administrator: a longer `timeout`.
    #[error("{provider} gave no whole answer in {seconds} s")]
    Timeout {
        /// Which one.
        provider: String,
        /// What it was given.
        seconds: u64,
    },
    /// The connection broke in the middle of the answer. Time.
    #[error("{provider} broke off its answer: {why}")]
    CutOff {
        /// Which one.
        provider: String,
        /// In the system's words.
        why: String,
    },
    /// The answer is larger than any answer may be. Whoever runs the provider.
    #[error("{provider} answered with more than {max} bytes")]
    TooLarge {
        /// Which one.
        provider: String,
        /// The most that is read.
        max: usize,
    },
    /// The answer is not what the protocol says. An administrator: a wrong `kind` or address.
    #[error("{provider} gave an answer that is not of its protocol: {why}")]
    Malformed {
        /// Which one.
        provider: String,
        /// What is missing.
        why: String,
    },
    /// Twice no answer of the shape that was asked for. The script's author: a plainer schema, another model.
    #[error("the model's answer does not satisfy the schema: {0}")]
    WrongShape(String),
    /// The recording does not hold this exchange. Whoever keeps the recording.
    #[error("{0}")]
    NotRecorded(String),
}

impl AskError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "llm-not-configured",
            Self::UnknownModel { .. } => "unknown-llm-model",
            Self::BadRequest(_) => "bad-llm-request",
            Self::KeyRefused { .. } => "llm-key-refused",
            Self::Refused { .. } => "llm-refused",
            Self::RateLimited { .. } => "llm-rate-limited",
            Self::Failed { .. } => "llm-provider-failed",
            Self::Unreachable { .. } => "llm-unreachable",
            Self::Timeout { .. } => "llm-timeout",
            Self::CutOff { .. } => "llm-cut-off",
            Self::TooLarge { .. } => "llm-answer-too-large",
            Self::Malformed { .. } => "llm-malformed-answer",
            Self::WrongShape(_) => "llm-wrong-shape",
            Self::NotRecorded(_) => "llm-not-recorded",
        }
    }

    /// Whether it may go better after a while without anybody doing anything, and after how long the provider said so.
    #[must_use]
    pub fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Self::RateLimited { wait, .. } => Some(Some(*wait)),
            Self::Failed { wait, .. } => Some(*wait),
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::CutOff { .. } => Some(None),
            _ => None,
        }
    }

    /// Whether the provider may have charged for it: the request arrived, and what became of it is not known. Who is too
    /// busy (503, 529) says so before any work; after every other failure a model may have answered all the same.
    #[must_use]
    pub fn may_have_cost(&self) -> bool {
        match self {
            Self::Failed { status, .. } => !matches!(status, 503 | 529),
            Self::Timeout { .. } | Self::CutOff { .. } | Self::TooLarge { .. } | Self::Malformed { .. } => true,
            _ => false,
        }
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        let kind = match &error {
            AskError::UnknownModel { .. } => ErrorKind::NotFound,
            AskError::BadRequest(_) | AskError::NotRecorded(_) => ErrorKind::Invalid,
            AskError::WrongShape(_) => ErrorKind::Other,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error.code(), error.to_string())
    }
}
