//! Who asks, and whether their token is good for it.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use triggerbox_automation::people;
use triggerbox_model::value::Id;

use crate::{
    app::{App, failed},
    people::{
        accounts,
        audit::{Deed, Telling},
    },
    problem::Problem,
    tokens::{self, Scope, Token},
    web::place,
};

/// The group whose members see and do everything; Odoo's.
const ADMINISTRATORS: &str = "base.group_system";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user that the token acts as.
    pub user: Id,
    /// Whether they are an administrator of the backend.
    pub administrator: bool,
    /// The token.
    pub token: Token,
}

/// What a group of routes is for: reading them needs [`Scope::Read`], changing something through them this scope.
#[derive(Debug, Clone)]
pub struct Door {
    /// The server.
    pub app: App,
    /// The scope of changes.
    pub scope: Scope,
}

/// Lets in who has a token with the scope.
///
/// # Errors
/// `no-token`, `bad-token`, `token-lacks-scope`, `draining`.
pub async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Result<Response, Problem> {
    if door.app.is_draining() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "draining", "the server is being stopped; try again in a while"));
    }
    let caller = authenticate(&door.app, request.headers()).await?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && door.scope != Scope::Admin;
    let needed = if reads { Scope::Read } else { door.scope };
    if !caller.token.scopes.contains(&needed) {
        let detail =
            format!("the token `{}`, or the account of its user, lacks the scope `{needed}`", caller.token.name);
        return Err(Problem::denied("token-lacks-scope", detail));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Tells the audit log of what a request changes. Records tell of their changes themselves; everything else is told here.
///
/// # Errors
/// What the database says.
pub async fn tell(State(door): State<Door>, caller: Caller, request: Request, next: Next) -> Result<Response, Problem> {
    if door.scope == Scope::Records || !is_change(&request) {
        return Ok(next.run(request).await);
    }
    let deed = Deed {
        who: format!("token {}", caller.token.name),
        user: Some(caller.user),
        action: "api-request",
        what: format!("{} {}", request.method(), request.uri().path()).chars().take(200).collect(),
        detail: String::new(),
        address: place(&door.app, &request),
    };
    let line = Telling::of(deed, door.app.engine().clock().now());
    let response = line.during(next.run(request)).await;
    if response.status().is_success() {
        line.finish(&door.app).await?;
    }
    Ok(response)
}

/// Whether a request changes something: looking at tokens, and checking a rule, does not.
fn is_change(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD) && !request.uri().path().ends_with("/rule-checks")
}

/// The caller of a request's token.
///
/// # Errors
/// `no-token`, `bad-token`.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refuse = |code: &str, detail: &str| Problem::new(StatusCode::UNAUTHORIZED, code, detail);
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(text) = header.and_then(bearer) else {
        return Err(refuse(
            "no-token",
            "send `Authorization: Bearer` and a token; `triggerbox token create` makes one",
        ));
    };
    let (app, text) = (app.clone(), text.to_owned());
    app.clone()
        .blocking(move || {
            let now = app.engine().clock().now();
            // The same text for all: whoever guesses learns nothing.
            let told =
                "the token is unknown, revoked or expired, or its user is gone or has an account that is switched off";
            let bad = || refuse("bad-token", told);
            let token = {
                let conn = app.engine().database().snapshot()?;
                let mut token = tokens::find(&conn, &text, now)?.ok_or_else(bad)?;
                // Whoever has an account does no more with a token than with that.
                if let Some(open) = accounts::opened_for(&conn, token.user)? {
                    if open.is_empty() {
                        return Err(bad());
                    }
                    token.scopes.retain(|scope| open.contains(scope));
                }
                token
            };
            people::active(app.engine().database(), token.user, now).map_err(|_| bad())?;
            let administrator = is_administrator(&app, token.user)?;
            Ok(Caller { user: token.user, administrator, token })
        })
        .await
}

/// Whether a user is an administrator of the backend.
pub(crate) fn is_administrator(app: &App, user: Id) -> Result<bool, Problem> {
    Ok(app.env(user, false)?.group_names.contains(ADMINISTRATORS))
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Routes without a guard have no caller: that is a mistake here, and nobody gets in by it.
        parts.extensions.get::<Self>().cloned().ok_or_else(failed)
    }
}
