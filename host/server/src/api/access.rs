//! Tokens, and who the caller is.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use triggerbox_automation::{EngineError, people};
use triggerbox_model::value::Id;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    extract::{At, Body},
    people::audit,
    problem::Problem,
    tokens::{self, NewToken, Scope, Token},
    told,
};

/// Routes for administrators of tokens.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// Who the caller is.
pub(super) fn me() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The user (`res.users`).
    user: Id,
    /// Sign-in name.
    login: String,
    /// Full name.
    name: String,
    /// Whether they are an administrator of the backend.
    administrator: bool,
    /// The token.
    token: Token,
}

/// Who the token acts as, and what it may be used for.
#[utoipa::path(get, path = "/api/v1/me", tag = "access", responses((status = 200, body = Me), Problem))]
async fn whoami(State(app): State<App>, caller: Caller) -> Result<Json<Me>, Problem> {
    let now = app.engine().clock().now();
    let user = people::find(app.engine().database(), &caller.user.to_string(), now)?.user;
    let (administrator, token) = (caller.administrator, caller.token);
    Ok(Json(Me { user: user.id, login: user.login, name: user.name, administrator, token }))
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    /// The newest first.
    tokens: Vec<Token>,
}

/// All tokens that are not revoked.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", responses((status = 200, body = TokenList), Problem))]
async fn list(State(app): State<App>, _caller: Caller) -> Result<Json<TokenList>, Problem> {
    Ok(Json(TokenList { tokens: app.read(tokens::list).await? }))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct New {
    /// What people call it.
    name: String,
    /// Sign-in name or id of the user that it acts as.
    user: String,
    /// What it may be used for.
    scopes: BTreeSet<Scope>,
    /// Days until it expires; absent: it is good until it is revoked.
    days: Option<u32>,
}

/// A new token. Its text is not to be had again.
#[derive(Debug, Serialize, ToSchema)]
struct Made {
    /// What is kept of it.
    token: Token,
    /// What goes into `Authorization: Bearer`.
    secret: String,
}

/// Make a token. Only administrators of the backend may make one for somebody else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = New,
    responses((status = 201, body = Made), Problem))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<New>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let now = app.engine().clock().now();
    let user = people::find(app.engine().database(), &body.user, now)?.user.id;
    if user != caller.user && !caller.administrator {
        return Err(Problem::denied("access-denied", "only an administrator may make a token for somebody else"));
    }
    if body.scopes.is_empty() || body.name.trim().is_empty() {
        return Err(Problem::invalid("bad-token-request", "a token has a name and at least one scope"));
    }
    if let Some(scope) = body.scopes.iter().find(|scope| !caller.token.scopes.contains(scope)) {
        let detail = format!("your own token lacks the scope `{scope}`; a token lends no more than it has");
        return Err(Problem::denied("token-lacks-scope", detail));
    }
    let new = NewToken { name: body.name, user, scopes: body.scopes, expires: expiry(now, body.days) };
    let line = audit::here();
    let (token, secret) = app
        .write(move |conn| {
            let made = tokens::create(conn, &new, now)?;
            line.say(told::token(&made.0));
            Ok::<_, EngineError>(made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Made { token, secret })))
}

/// The time that many days from now.
fn expiry(now: Timestamp, days: Option<u32>) -> Option<Timestamp> {
    days.map(|days| now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX))
}

/// End a token, now.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access", params(("id" = i64, Path)),
    responses((status = 204), Problem))]
async fn revoke(State(app): State<App>, _caller: Caller, At(id): At<i64>) -> Result<StatusCode, Problem> {
    let now = app.engine().clock().now();
    let line = audit::here();
    app.write(move |conn| {
        line.say(told::token(&tokens::revoke(conn, id, now)?.map_err(EngineError::from)?));
        Ok::<_, EngineError>(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
