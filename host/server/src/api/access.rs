//! Tokens, and who the caller is.

use std::collections::BTreeSet;

use axum::{Extension, Json, extract::State, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use triggerbox_automation::{EngineError, people};
use triggerbox_model::value::Id;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::Before;
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    idempotency::ToldOnce,
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
    let user = people::active(app.engine().database(), caller.user, now)?.user;
    let (administrator, token) = (caller.administrator, caller.token);
    Ok(Json(Me { user: user.id, login: user.login, name: user.name, administrator, token }))
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    /// The newest first.
    tokens: Vec<Token>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// All tokens that are not revoked.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", params(Before),
    responses((status = 200, body = TokenList), Problem))]
async fn list(State(app): State<App>, _caller: Caller, Asked(page): Asked<Before>) -> Result<Json<TokenList>, Problem> {
    let (from, most) = page.wanted();
    let (tokens, next) =
        page.of_numbers(app.read(move |conn| tokens::back_from(conn, from, most)).await?, |token| token.id);
    Ok(Json(TokenList { tokens, next }))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct New {
    /// What people call it.
    pub(crate) name: String,
    /// Sign-in name or id of the user that it acts as.
    pub(crate) user: String,
    /// What it may be used for.
    pub(crate) scopes: BTreeSet<Scope>,
    /// Days until it expires; absent: it is good until it is revoked.
    pub(crate) days: Option<u32>,
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
) -> Result<(StatusCode, Extension<ToldOnce>, Json<Made>), Problem> {
    let (token, secret) = make(&app, &caller, body).await?;
    Ok((StatusCode::CREATED, Extension(ToldOnce), Json(Made { token, secret })))
}

/// Makes a token, and says so in the audit log. The text is never to be had again.
///
/// # Errors
/// `access-denied`: for somebody else, by nobody who may; `token-lacks-scope`: it would lend more than the caller has;
/// `bad-token-request`; no such user; what the database says.
pub(crate) async fn make(app: &App, caller: &Caller, new: New) -> Result<(Token, String), Problem> {
    let now = app.engine().clock().now();
    let (inner, text) = (app.clone(), new.user);
    let user = app.blocking(move || Ok(people::find(inner.engine().database(), &text, now)?.user.id)).await?;
    if user != caller.user && !caller.administrator {
        let detail = "only an administrator of the records may make a token for somebody else";
        return Err(Problem::denied("access-denied", detail));
    }
    if new.scopes.is_empty() || new.name.trim().is_empty() {
        return Err(Problem::invalid("bad-token-request", "a token has a name and at least one scope"));
    }
    if let Some(scope) = new.scopes.iter().find(|scope| !caller.token.scopes.contains(scope)) {
        let detail = format!("your own token lacks the scope `{scope}`; a token lends no more than it has");
        return Err(Problem::denied("token-lacks-scope", detail));
    }
    let new = NewToken { name: new.name, user, scopes: new.scopes, expires: expiry(now, new.days) };
    let line = audit::here();
    app.write(move |conn| {
        let made = tokens::create(conn, &new, now)?;
        line.say(told::token(&made.0));
        Ok::<_, EngineError>(made)
    })
    .await
}

/// The time that many days from now.
fn expiry(now: Timestamp, days: Option<u32>) -> Option<Timestamp> {
    days.map(|days| now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX))
}

/// End a token, now.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access", params(("id" = i64, Path)),
    responses((status = 204), Problem))]
async fn revoke(State(app): State<App>, _caller: Caller, At(id): At<i64>) -> Result<StatusCode, Problem> {
    end(&app, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a token, and says so in the audit log.
///
/// # Errors
/// `unknown-token`; what the database says.
pub(crate) async fn end(app: &App, id: i64) -> Result<(), Problem> {
    let now = app.engine().clock().now();
    let line = audit::here();
    app.write(move |conn| {
        line.say(told::token(&tokens::revoke(conn, id, now)?.map_err(EngineError::from)?));
        Ok::<_, EngineError>(())
    })
    .await
}
