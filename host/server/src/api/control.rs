//! Schedules, limits and the stop switch.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use triggerbox_automation::{EngineError, rule::Trigger};
use triggerbox_model::{
    limits::{Class, Limits, TABLE},
    value::Id,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{paging::After, runs::hundred};
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, Body},
    people::audit,
    problem::Problem,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(schedules)).routes(routes!(limits)).routes(routes!(stops, stop, go))
}

/// How far to look.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Ahead {
    /// Next times of each, up to 100.
    #[serde(default = "five")]
    #[param(default = 5)]
    count: usize,
    /// After this one: `next` of the page before.
    after: Option<String>,
    /// Most of them, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

fn five() -> usize {
    5
}

/// A rule with a schedule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ScheduleView {
    /// The rule.
    rule: String,
    /// Whether it fires: active, not paused, not broken.
    live: bool,
    /// When it is due next; empty: never again, or what is kept of it makes no sense any more.
    next: Vec<Timestamp>,
}

/// Schedules.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleList {
    /// By the names of their rules.
    schedules: Vec<ScheduleView>,
    /// `after` of the next page; none: this was the last one.
    next: Option<String>,
}

/// All schedules, with their next times.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "schedules", params(Ahead),
    responses((status = 200, body = ScheduleList), Problem))]
async fn schedules(
    State(app): State<App>,
    _caller: Caller,
    Asked(Ahead { count, after, limit }): Asked<Ahead>,
) -> Result<Json<ScheduleList>, Problem> {
    let page = After::new(after, limit);
    let rules = app.engine().rules()?;
    let scheduled = rules.all().iter().filter(|armed| matches!(armed.rule.trigger, Trigger::Schedule(_)));
    let mut scheduled: Vec<_> = scheduled.collect();
    scheduled.sort_unstable_by_key(|armed| armed.rule.name.as_str());
    let (scheduled, next_page) = page.of_names(scheduled, |armed| &armed.rule.name);
    let schedules = scheduled.into_iter().map(|armed| {
        // One that cannot be read does not hide the others.
        let next = match app.engine().next_slots(&armed.rule.name, count.min(100)) {
            Err(EngineError::Refused(_)) => Vec::new(),
            next => next?,
        };
        Ok(ScheduleView { rule: armed.rule.name.clone(), live: armed.is_live(), next })
    });
    Ok(Json(ScheduleList { schedules: schedules.collect::<Result<_, Problem>>()?, next: next_page }))
}

/// A limit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct LimitView {
    /// Its name.
    name: String,
    /// What it counts.
    help: String,
    /// What is in force on this host for each class of runs, before rules and manifests narrow it.
    sync: u64,
    /// For runs after a change.
    #[serde(rename = "async")]
    after: u64,
    /// For schedules and imports.
    batch: u64,
    /// For runs that talk to a language model.
    agent: u64,
}

/// Limits.
#[derive(Debug, Serialize, ToSchema)]
struct LimitList {
    /// In the order of the reference.
    limits: Vec<LimitView>,
}

/// The limits of this host. Milliseconds for times, bytes for sizes, millionths of a euro for cost.
#[utoipa::path(get, path = "/api/v1/limits", tag = "limits", responses((status = 200, body = LimitList), Problem))]
async fn limits(State(app): State<App>, _caller: Caller) -> Json<LimitList> {
    let host = &app.engine().config().limits;
    let of = |class| Limits::resolve(class, [host]);
    let (sync, after, batch, agent) = (of(Class::Sync), of(Class::Async), of(Class::Batch), of(Class::Agent));
    let view = |spec: &triggerbox_model::limits::LimitSpec| LimitView {
        name: spec.name.to_owned(),
        help: spec.help.to_owned(),
        sync: sync.get(spec.limit),
        after: after.get(spec.limit),
        batch: batch.get(spec.limit),
        agent: agent.get(spec.limit),
    };
    Json(LimitList { limits: TABLE.iter().map(view).collect() })
}

/// Something that is stopped.
#[derive(Debug, Serialize, ToSchema)]
struct StopView {
    /// The model whose rules are stopped; none: all rules.
    model: Option<String>,
    /// Who stopped it (`res.users`).
    by: Id,
    /// When.
    at: Timestamp,
    /// Why.
    reason: String,
}

/// Stops.
#[derive(Debug, Serialize, ToSchema)]
struct StopList {
    /// By model.
    stops: Vec<StopView>,
    /// `after` of the next page, empty after the stop of all rules; none: this was the last one.
    next: Option<String>,
}

/// What is stopped.
#[utoipa::path(get, path = "/api/v1/stops", tag = "stops", params(After),
    responses((status = 200, body = StopList), Problem))]
async fn stops(State(app): State<App>, _caller: Caller, Asked(page): Asked<After>) -> Result<Json<StopList>, Problem> {
    let (stops, next) = page.of_names(app.engine().stops()?, |one| one.model.as_deref().unwrap_or_default());
    let stops = stops.into_iter().map(|one| StopView { model: one.model, by: one.by, at: one.at, reason: one.reason });
    Ok(Json(StopList { stops: stops.collect(), next }))
}

/// What to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Stop {
    /// The model whose rules are stopped; absent: all rules.
    model: Option<String>,
    /// Why.
    reason: String,
}

/// Have no run start, of any rule or of those of one model. Rules still fire; their runs wait.
#[utoipa::path(post, path = "/api/v1/stops", tag = "stops", request_body = Stop,
    responses((status = 204), Problem))]
async fn stop(State(app): State<App>, caller: Caller, Body(body): Body<Stop>) -> Result<StatusCode, Problem> {
    if let Some(model) = &body.model {
        app.engine().database().schema().model(model)?;
    }
    audit::say(format!("{}: {}", body.model.as_deref().unwrap_or("all rules"), body.reason));
    app.engine().stop(body.model.as_deref(), caller.user, &body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to let go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Go {
    /// The model; absent: the stop of all rules ends, those of single models stay.
    model: Option<String>,
}

/// End a stop.
#[utoipa::path(delete, path = "/api/v1/stops", tag = "stops", params(Go), responses((status = 204), Problem))]
async fn go(State(app): State<App>, _caller: Caller, Asked(go): Asked<Go>) -> Result<StatusCode, Problem> {
    audit::say(go.model.as_deref().unwrap_or("all rules"));
    app.engine().go(go.model.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
