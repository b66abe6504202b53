//! `/healthz`, `/readyz`, `/metrics`.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use triggerbox_automation::clock::millis;
use triggerbox_store::db::DbError;

use crate::{app::App, auth::authenticate, problem::Problem, tokens::Scope};

/// The routes.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// The process answers.
async fn alive() -> &'static str {
    "ok\n"
}

/// It takes requests, its database can be read and written, and its rules can be read.
async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.is_draining() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is being stopped"));
    }
    let engine = app.engine().clone();
    app.blocking(move || Ok(engine.rules().map(drop)?)).await?;
    app.write(|_| Ok::<_, DbError>(())).await?;
    Ok("ok\n")
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if !app.config().metrics.open && !authenticate(&app, &headers).await?.token.scopes.contains(&Scope::Read) {
        return Err(Problem::denied("token-lacks-scope", "the token lacks the scope `read`"));
    }
    let now = millis(app.engine().clock().now());
    let waiting = app.engine().waiting();
    let metrics = std::sync::Arc::clone(app.metrics());
    let page = app.read(move |conn| metrics.page(conn, now, waiting)).await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page).into_response())
}
