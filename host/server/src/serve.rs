//! The whole server: its router, and its life from the first request to the last.

use std::{any::Any, future::Future, io, time::Duration};

use axum::{
    Json, Router,
    body::HttpBody,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    alerts, api,
    app::{App, failed},
    connections, erasure, health, hook, odoo,
    problem::Problem,
    web,
};

/// All routes.
pub fn router(app: App) -> Router {
    let (api, _) = api::router(&app).split_for_parts();
    let document = api::document();
    let config = app.config();
    api.route("/api/openapi.json", get(move || async move { Json(document) }))
        .layer(DefaultBodyLimit::max(config.http.max_body))
        .merge(hook::router(config.webhooks.max_body))
        .merge(health::router())
        .merge(odoo::router())
        .merge(web::router(&app))
        .fallback(web::nowhere)
        .method_not_allowed_fallback(web::not_so)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), attended))
        .with_state(app)
}

#[allow(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    failed().into_response()
}

/// Of a body that nobody read, so many bytes are surely taken from the connection before the next request.
const DRAINED: u64 = 4096;

/// Where components are uploaded.
const UPLOADS: [(Method, &str); 2] = [(Method::POST, "/api/v1/scripts"), (Method::POST, "/scripts/_upload")];

/// Bounds a request's time, counts it and logs it.
///
/// A refusal may leave a large body unread, and the connection then ends: its client is told, lest it send the next request
/// into a connection that is being closed.
async fn attended(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let uploads = UPLOADS.iter().any(|(by, at)| *by == method && *at == route);
    let secure = web::is_secure(&app, request.headers());
    let large = request.body().size_hint().upper().is_none_or(|bytes| bytes > DRAINED);
    let mut response =
        tokio::time::timeout(app.config().timeout(uploads), next.run(request)).await.unwrap_or_else(|_| {
            let detail = "the request took too long; what it had begun may be done, so look before you send it again";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).into_response()
        });
    // Whoever answered: nothing else is to be shown as a page.
    web::protect(&mut response, secure);
    if large && (response.status().is_client_error() || response.status().is_server_error()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status().as_u16();
    let method = method.as_str();
    app.metrics().answered(method, &route, status);
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(method, path, status, ms = took, "request");
    response
}

/// Serves until `stop` comes: then no new requests and runs are taken, and those there are have the configured time to end.
/// What is not over by then is taken up again at the next start.
///
/// # Errors
/// None yet: what the system says of single connections is in the log.
pub async fn serve(app: App, listener: TcpListener, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
    let (attempts, heard) = mpsc::unbounded_channel();
    let metrics = std::sync::Arc::clone(app.metrics());
    app.engine().observe(Box::new(move |attempt| {
        metrics.count(attempt);
        tracing::info!(
            run = attempt.run,
            rule = attempt.rule,
            state = attempt.state.name(),
            code = attempt.code,
            ms = u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            "run"
        );
        // Nobody listens any more: the server is being stopped.
        let _ = attempts.send(attempt.clone());
    }));
    let metrics = std::sync::Arc::clone(app.metrics());
    app.engine().observe_dry_runs(Box::new(move |rule, spent| metrics.spent(rule, spent)));
    let metrics = std::sync::Arc::clone(app.metrics());
    app.engine().observe_faults(Box::new(move |fault| {
        metrics.failed(fault.work);
        let (work, code) = (fault.work.name(), fault.error.code());
        tracing::error!(work, run = fault.run, code, error = %fault.error, "the engine's own work failed");
    }));
    for (name, purpose) in app.vault().names() {
        if let Some(file) = app.file_with_secret(&name, &purpose) {
            tracing::warn!(
                secret = name,
                file,
                "a secret that was written on the page is not used: the file has one of its name"
            );
        }
    }
    let watch = tokio::spawn(alerts::watch(app.clone(), heard));
    let workers = app.engine().start();
    tokio::spawn(erasure::go_on(app.clone()));
    let pump = tokio::spawn(odoo::pump(app.clone()));
    let drained = app.clone();
    let head = Duration::from_secs(app.config().http.head_timeout);
    let drain = async move { drained.drained().await };
    let mut serving = tokio::spawn(connections::serve(listener, router(app.clone()), head, drain));
    stop.await;
    tracing::info!("draining");
    app.drain();
    let rest = async {
        workers.drain().await;
        // Its panic, if it had one, has been told already.
        let _ = (&mut serving).await;
    };
    let ended = tokio::time::timeout(Duration::from_secs(app.config().http.drain), rest).await;
    watch.abort();
    pump.abort();
    serving.abort();
    if ended.is_err() {
        tracing::warn!("not everything ended in time; it is taken up again at the next start");
    }
    Ok(())
}
