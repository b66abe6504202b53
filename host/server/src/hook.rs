//! Webhooks in: a signed request of another system fires a rule, once for each delivery.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Serialize;
use serde_json::Value as Json_;
use triggerbox_automation::{
    index::Armed,
    rule::Trigger,
    runs::{RunDetail, RunId},
};
use triggerbox_model::{
    event::{Trigger as Happened, WebhookCall},
    value::Id,
};

use crate::{
    app::{App, failed},
    extract::At,
    problem::Problem,
    signature::{self, SIGNATURE, TIMESTAMP},
};

/// Headers that a script is never given: they are between the caller and this host.
const KEPT_BACK: [&str; 5] = ["authorization", "cookie", "proxy-authorization", TIMESTAMP, SIGNATURE];

/// The route.
pub(crate) fn router(max_body: usize) -> Router<App> {
    Router::new().route("/hook/{rule}", post(receive)).layer(DefaultBodyLimit::max(max_body))
}

/// What became of a delivery.
#[derive(Debug, Serialize)]
struct Answer {
    /// The runs that it caused.
    runs: Vec<RunId>,
    /// It had arrived before, and nothing more was done.
    repeated: bool,
    /// What came of them, if the caller waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<Vec<Outcome>>,
}

/// What came of one run.
#[derive(Debug, Serialize)]
struct Outcome {
    run: RunId,
    state: &'static str,
    code: Option<String>,
    message: Option<String>,
    /// What its scripts answer the caller.
    result: Option<Json_>,
}

async fn receive(
    State(app): State<App>,
    At(rule): At<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    if app.is_draining() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "draining", "the server is being stopped; deliver it again in a while"));
    }
    let body = body.map_err(|rejection| {
        let detail = format!("a delivery has at most {} bytes", app.config().webhooks.max_body);
        Problem::new(rejection.status(), "body-too-large", detail)
    })?;
    let Authentic { dedup, records, signature } = authentic(&app, &rule, &headers, &body)?;

    let json: Option<Json_> = serde_json::from_slice(&body).ok();
    let records = records.map_or(Ok(Vec::new()), |pointer| ids(json.as_ref(), &pointer))?;
    let key = match dedup {
        Some(pointer) => key(json.as_ref(), &pointer)?,
        // Whoever overheard a request cannot have it done twice.
        None => signature,
    };
    let call = WebhookCall {
        method: "POST".to_owned(),
        headers: passed_on(&headers),
        query: query(&uri),
        body: body.to_vec(),
    };
    let delivered = app.engine().deliver(&rule, Happened::Webhook(call), records, &key).await?;
    let (runs, repeated) = (delivered.runs, delivered.repeated);
    let Some(seconds) = wanted_wait(&headers).map(|wait| wait.min(app.config().webhooks.max_wait)) else {
        return Ok((StatusCode::ACCEPTED, Json(Answer { runs, repeated, outcomes: None })).into_response());
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(Duration::from_secs(seconds), ended(&app, &runs)) => ended.ok().transpose()?,
        () = app.drained() => None,
    };
    let status = if ended.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let applied = [(HeaderName::from_static("preference-applied"), format!("wait={seconds}"))];
    Ok((status, applied, Json(Answer { runs, repeated, outcomes: ended })).into_response())
}

/// A request that is what it says.
struct Authentic {
    dedup: Option<String>,
    records: Option<String>,
    /// As this host writes it, however the caller did.
    signature: String,
}

/// The pointers of the rule, if the request is signed as it should be. Who cannot sign learns nothing, not even which rules
/// there are.
fn authentic(app: &App, rule: &str, headers: &HeaderMap, body: &[u8]) -> Result<Authentic, Problem> {
    let rules = app.engine().rules()?;
    let checked = (|| {
        let armed: &Armed = rules.rule(rule).map_err(|_| "there is no such rule")?;
        let Trigger::Webhook { secret, dedup, records } = &armed.rule.trigger else {
            return Err("it is no webhook rule");
        };
        let secret = app.secret(secret).ok_or("its secret is not in the configuration")?;
        let (timestamp, signatures) = (header(headers, TIMESTAMP), header(headers, SIGNATURE));
        let (now, window) = (app.engine().clock().now(), app.config().webhooks.window);
        signature::check(&secret, timestamp, signatures, body, now, window)?;
        let signature = signature::sign(&secret, timestamp, body);
        Ok(Authentic { dedup: dedup.clone(), records: records.clone(), signature })
    })();
    checked.map_err(|why| {
        tracing::warn!(rule, why, "a delivery was refused");
        app.metrics().refused_delivery();
        let detail =
            "the request is not signed as this address wants it, or the address is wrong; the server's log says more";
        Problem::new(StatusCode::UNAUTHORIZED, "bad-signature", detail)
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `Prefer: wait=10` (RFC 7240).
fn wanted_wait(headers: &HeaderMap) -> Option<u64> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).find_map(|one| one.trim().strip_prefix("wait=")?.parse().ok())
}

fn found<'a>(json: Option<&'a Json_>, pointer: &str, what: &str) -> Result<&'a Json_, Problem> {
    let found = json.and_then(|json| json.pointer(pointer)).filter(|found| !found.is_null());
    found.ok_or_else(|| Problem::invalid("bad-delivery", format!("the body is JSON with {what} at `{pointer}`")))
}

fn key(json: Option<&Json_>, pointer: &str) -> Result<String, Problem> {
    match found(json, pointer, "the delivery's key")? {
        Json_::String(text) if !text.is_empty() && text.len() <= 255 => Ok(text.clone()),
        Json_::Number(number) => Ok(number.to_string()),
        _ => Err(Problem::invalid(
            "bad-delivery",
            format!("the key at `{pointer}` is a text of 1 to 255 bytes, or a number"),
        )),
    }
}

fn ids(json: Option<&Json_>, pointer: &str) -> Result<Vec<Id>, Problem> {
    let found = found(json, pointer, "records' ids")?;
    let one = |json: &Json_| json.as_u64().and_then(|id| Id::try_from(id).ok()).filter(|id| *id > 0);
    let ids = match found {
        Json_::Array(items) => items.iter().map(one).collect(),
        single => one(single).map(|id| vec![id]),
    };
    ids.ok_or_else(|| {
        Problem::invalid("bad-delivery", format!("at `{pointer}` there is a record's id, or a list of them"))
    })
}

fn passed_on(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = headers.iter().filter(|(name, _)| !KEPT_BACK.contains(&name.as_str()));
    all.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0).unwrap_or_default()
}

async fn ended(app: &App, runs: &[RunId]) -> Result<Vec<Outcome>, Problem> {
    let mut outcomes = Vec::new();
    for run in runs {
        outcomes.push(outcome(app.engine().wait(*run).await?)?);
    }
    Ok(outcomes)
}

fn outcome(detail: RunDetail) -> Result<Outcome, Problem> {
    let result = detail.outcome.and_then(|outcome| outcome.result_json);
    Ok(Outcome {
        run: detail.summary.id,
        state: detail.summary.state.name(),
        code: detail.summary.code,
        message: detail.summary.message,
        result: result.map(|json| serde_json::from_str(&json)).transpose().map_err(|_| failed())?,
    })
}
