//! `Idempotency-Key`: a request that changes something is done once for each key; again, its answer is told again.
//!
//! A key is taken before the request, and marked in the transaction that does it. A server that dies in between leaves keys
//! that are not marked: the next one frees them. One that is marked and has no answer was done, and is never done again.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use triggerbox_automation::{
    EngineError,
    clock::millis,
    seen::{self, Known},
};

use crate::{app::App, auth::Caller, problem::Problem};

const HEADER: &str = "idempotency-key";
/// Scopes of keys begin so; behind it is the token's number.
pub(crate) const SCOPES: &str = "api:";

const REPLAYED: &str = "idempotency-replayed";

/// The longest key.
const LONGEST: usize = 255;

/// Marks an answer that holds a secret: it is told once, whoever asks again, and nothing of it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToldOnce;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of method, path and body, in hexadecimal.
    request: String,
    status: u16,
    kind: Option<String>,
    body: String,
}

/// Does a request once for each key of its token.
///
/// # Errors
/// `bad-idempotency-key`, `idempotency-key-reused`, `request-in-progress`, `answer-lost`.
pub async fn once(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = request.headers().get(HEADER).cloned() else { return Ok(next.run(request).await) };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= LONGEST).map(str::to_owned);
    let key = key.ok_or_else(|| {
        Problem::invalid("bad-idempotency-key", format!("`Idempotency-Key` has 1 to {LONGEST} visible characters"))
    })?;
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return Err(crate::app::failed()) };
    let scope = format!("{SCOPES}{}", caller.token.id);
    let (request, fingerprint) = fingerprint(request, app.config().http.max_upload).await?;

    let now = millis(app.engine().clock().now());
    let taken = {
        let (scope, key) = (scope.clone(), key.clone());
        app.write(move |conn| seen::take(conn, &scope, &key, now)).await?
    };
    match taken {
        Known::New => {}
        Known::Taken(None) => {
            let detail = "a request with this key is being done; send it again in a while";
            return Err(Problem::new(StatusCode::CONFLICT, "request-in-progress", detail));
        }
        Known::Done => {
            let detail = "a request with this key was done, and its answer is not kept: it is being sent, or the server died \
                          before; look at what it did, and draw a new key for anything else";
            return Err(Problem::new(StatusCode::CONFLICT, "answer-lost", detail));
        }
        Known::Taken(Some(json)) => return told_again(&serde_json::from_str(&json)?, &fingerprint),
    }
    // A client that goes away takes nothing back: what was begun is done, and its answer kept.
    let done = tokio::spawn(async move {
        let response = seen::under((scope.clone(), key.clone()), next.run(request)).await;
        keep(&app, scope, key, fingerprint, response).await
    });
    done.await.unwrap_or_else(|_| Err(crate::app::failed()))
}

/// The request, with what it is recognised by.
async fn fingerprint(request: Request, most: usize) -> Result<(Request, String), Problem> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, most).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("a body has at most {most} bytes"))
    })?;
    let mut digest = Sha256::new();
    digest.update(parts.method.as_str());
    digest.update([0]);
    digest.update(parts.uri.to_string());
    digest.update([0]);
    digest.update(&body);
    let fingerprint = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((Request::from_parts(parts, Body::from(body)), fingerprint))
}

fn told_again(kept: &Kept, fingerprint: &str) -> Result<Response, Problem> {
    if kept.request != fingerprint {
        let detail = "this key was used for another request; draw a new one";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail));
    }
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, kept.body.clone()).into_response();
    if let Some(kind) = kept.kind.as_ref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Keeps the answer. What may go better another time is not kept, unless something was done all the same.
async fn keep(app: &App, scope: String, key: String, request: String, response: Response) -> Result<Response, Problem> {
    // What was done stays noted: its key does nothing a second time.
    if response.extensions().get::<ToldOnce>().is_some() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let passing = parts.status.is_server_error()
        || matches!(parts.status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let kept = Kept { request, status: parts.status.as_u16(), kind, body: String::from_utf8_lossy(&body).into_owned() };
    app.write(move |conn| {
        if !(passing && seen::give_back(conn, &scope, &key)?) {
            seen::answer(conn, &scope, &key, &serde_json::to_string(&kept)?)?;
        }
        Ok::<_, EngineError>(())
    })
    .await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
