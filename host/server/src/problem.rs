//! Errors as the API tells them: problem details (RFC 9457) with a stable code.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use triggerbox_automation::{
    EngineError, RunError,
    rule::{apply::ApplyError, check::Finding, stored::RuleError},
    scripts::{RegistryError, UploadError},
};
use triggerbox_model::error::{Error, ErrorKind};
use triggerbox_store::db::DbError;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, RefOr, Response as ApiResponse, ResponseBuilder},
};

/// Why a request was not done. Nothing of it was.
#[derive(Debug, Clone)]
pub struct Problem(Box<Details>);

/// What a problem says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    /// `urn:triggerbox:error:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:triggerbox:error:unknown-rule")]
    pub kind: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// Stable; programs go by it.
    #[schema(example = "unknown-rule")]
    pub code: String,
    /// What happened, on what, what to do.
    pub detail: String,
    /// The field at fault, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of a rule or script that was refused: all that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FoundWrong>,
}

/// One thing that is wrong with a rule or a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundWrong {
    /// Of a set of rules: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `error` or `warning`.
    pub severity: String,
    /// Stable.
    pub code: String,
    /// Where, in the words of the rule's file; empty for a script.
    pub place: String,
    /// What, on what, what to do.
    pub message: String,
}

impl From<&Finding> for FoundWrong {
    fn from(finding: &Finding) -> Self {
        let severity = match finding.severity {
            triggerbox_automation::rule::Severity::Error => "error",
            triggerbox_automation::rule::Severity::Warning => "warning",
        };
        Self {
            rule: None,
            severity: severity.to_owned(),
            code: finding.code.to_owned(),
            place: finding.place.clone(),
            message: finding.message.clone(),
        }
    }
}

impl FoundWrong {
    /// Something that keeps a thing from being done.
    #[must_use]
    pub fn error(code: &str, place: &str, message: impl Into<String>) -> Self {
        let text = str::to_owned;
        let (severity, code, place) = (text("error"), text(code), text(place));
        Self { rule: None, severity, code, place, message: message.into() }
    }
}

impl Problem {
    /// A problem with a status and a code.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:triggerbox:error:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            field: None,
            findings: Vec::new(),
        }))
    }

    /// The request itself is wrong.
    #[must_use]
    pub fn invalid(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// It may not be done with this token, or by this user.
    #[must_use]
    pub fn denied(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// A setting says what it cannot: nothing of it is kept.
    #[must_use]
    pub fn bad_setting(findings: Vec<FoundWrong>) -> Self {
        let told: Vec<_> = findings.iter().map(|one| format!("`{}`: {}", one.place, one.message)).collect();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "setting-refused", told.join("; ")).with_findings(findings)
    }

    /// What it says.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0
    }

    fn with_findings(mut self, findings: impl IntoIterator<Item = FoundWrong>) -> Self {
        self.0.findings = findings.into_iter().collect();
        self
    }
}

/// The statuses of codes that say more than their kind.
fn status_of(code: &str) -> Option<StatusCode> {
    Some(match code {
        "unknown-rule" | "unknown-agent" | "unknown-thread" | "unknown-script" | "script-gone" | "unknown-version"
        | "missing-record" => StatusCode::NOT_FOUND,
        "rule-inactive"
        | "rule-paused"
        | "rule-broken"
        | "already-decided"
        | "approval-expired"
        | "another-proposal"
        | "run-is-over"
        | "changes-on-their-way"
        | "run-not-retriable"
        | "agent-in-use"
        | "no-session"
        | "script-inactive"
        | "no-earlier-version"
        | "proposal-overtaken" => StatusCode::CONFLICT,
        "not-the-owner" => StatusCode::FORBIDDEN,
        _ => return None,
    })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Some(fault) = DbError::behind(&error) {
            return fault.into();
        }
        let status = status_of(&error.code).unwrap_or(match error.kind {
            ErrorKind::AccessDenied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Rejected | ErrorKind::Pending => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Other => StatusCode::INTERNAL_SERVER_ERROR,
        });
        let mut problem = Self::new(status, &error.code, error.message);
        problem.0.field = error.field;
        problem
    }
}

impl From<DbError> for Problem {
    /// What the database says is for the log: it names files.
    fn from(error: DbError) -> Self {
        tracing::error!(code = error.code(), %error, "the database failed");
        let status = match error {
            DbError::Full | DbError::Busy | DbError::Locked { .. } | DbError::ReadOnly { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            DbError::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code(), "the database failed and nothing was changed; the server's log says why")
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Database(error) => error.into(),
            error => error.into_error().into(),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<RuleError> for Problem {
    fn from(error: RuleError) -> Self {
        if let RuleError::Refused(findings) = &error {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Self::new(status, error.code(), error.to_string())
                .with_findings(findings.iter().map(FoundWrong::from));
        }
        EngineError::from(error).into()
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        let text = error.to_string();
        match error {
            ApplyError::Rule(error) => error.into(),
            ApplyError::Refused(refused) => {
                let findings = refused.iter().flat_map(|one| {
                    let found = move |finding: &Finding| FoundWrong { rule: Some(one.rule.clone()), ..finding.into() };
                    one.findings.iter().map(found)
                });
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "rule-refused", text).with_findings(findings)
            }
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let findings = error.0.iter().map(|finding| FoundWrong {
            rule: None,
            severity: "error".to_owned(),
            code: finding.code.to_owned(),
            place: String::new(),
            message: finding.message.clone(),
        });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string()).with_findings(findings)
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        EngineError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Where people read it, it becomes a page.
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponses for Problem {
    /// Every handler may answer with one.
    fn responses() -> std::collections::BTreeMap<String, RefOr<ApiResponse>> {
        let reference = utoipa::openapi::Ref::from_schema_name(Details::name());
        let content = ContentBuilder::new().schema(Some(reference)).build();
        let response = ResponseBuilder::new()
            .description("It was not done; the code says why")
            .content("application/problem+json", content);
        [("default".to_owned(), response.build().into())].into()
    }
}
