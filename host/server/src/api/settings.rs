//! What administrators set while the server runs. What the operator's files say is not set here: it counts, and is changed there.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use triggerbox_automation::{
    EngineError,
    policy::{self, Part, Parts},
    setting,
};
use triggerbox_model::value::Id;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    extract::Body,
    people::audit,
    problem::{FoundWrong, Problem},
    told,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(policy, set_policy, unset_policy))
}

/// The policy: what nobody's script may do unless a rule grants it by name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct PolicyView {
    /// What is in force for runs that begin now.
    in_force: Parts,
    /// What the configuration file says: nothing else can be set of these.
    fixed: Parts,
    /// What was set here; it counts where the file says nothing.
    set: Parts,
    /// By whom (`res.users`).
    set_by: Option<Id>,
    /// When.
    set_at: Option<Timestamp>,
}

/// The policy that is in force, and where each part of it comes from.
#[utoipa::path(get, path = "/api/v1/settings/policy", tag = "settings",
    responses((status = 200, body = PolicyView), Problem))]
async fn policy(State(app): State<App>, _caller: Caller) -> Result<Json<PolicyView>, Problem> {
    let inner = app.clone();
    let view = app.read(move |conn| {
        let config = inner.engine().config();
        let (set, by) = policy::kept(conn)?.map_or_else(Default::default, |kept| (kept.value, kept.set));
        Ok::<_, EngineError>(PolicyView {
            in_force: Parts::all_of(policy::in_force(conn, config)?),
            fixed: config.fixed.clone(),
            set,
            set_by: by.map(|(by, _)| by),
            set_at: by.map(|(_, at)| at),
        })
    });
    Ok(Json(view.await?))
}

/// Set parts of the policy, in place of all that was set before; the others are as by default. It is in force at once: runs
/// that have begun keep what they began with.
#[utoipa::path(put, path = "/api/v1/settings/policy", tag = "settings", request_body = Parts,
    responses((status = 204), Problem))]
async fn set_policy(State(app): State<App>, caller: Caller, Body(parts): Body<Parts>) -> Result<StatusCode, Problem> {
    keep_policy(&app, caller.user, parts).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back what was set of the policy: it is as the configuration file says, and else as by default.
#[utoipa::path(delete, path = "/api/v1/settings/policy", tag = "settings", responses((status = 204), Problem))]
async fn unset_policy(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    keep_policy(&app, caller.user, Parts::default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets parts of the policy, and says in the audit log what is different then.
///
/// # Errors
/// `setting-refused`, with what is wrong with which part; what the database says.
pub(crate) async fn keep_policy(app: &App, by: Id, parts: Parts) -> Result<(), Problem> {
    let (fixed, file) = (&app.engine().config().fixed, app.config().name());
    let set_there = Part::ALL.into_iter().filter(|part| fixed.says(*part) && parts.says(*part));
    let set_there = set_there
        .map(|part| FoundWrong::error("set-in-file", part.name(), format!("is set in {file}, and changed there")));
    let wrong = parts.wrong().into_iter().map(|(part, why)| FoundWrong::error("bad-pattern", part.name(), why));
    let wrong: Vec<_> = set_there.chain(wrong).collect();
    if !wrong.is_empty() {
        return Err(Problem::bad_setting(wrong));
    }
    let (inner, line, at) = (app.clone(), audit::here(), app.engine().clock().now());
    app.write(move |conn| {
        let config = inner.engine().config();
        let was = policy::in_force(conn, config)?;
        match parts == Parts::default() {
            true => setting::unset(conn, policy::NAME)?,
            false => setting::set(conn, policy::NAME, &parts, (by, at))?,
        }
        line.say(told::policy(&was, &policy::in_force(conn, config)?));
        Ok::<_, EngineError>(())
    })
    .await
}
