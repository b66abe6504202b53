//! Agents: what rules ask language models with. Administrators change them.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    agents::{
        Agent,
        stored::{self, SavedAgent},
    },
    rule::{
        Ground, file,
        stored::{Edit, Outcome, Ownership},
    },
};
use triggerbox_model::value::Id;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::{After, Before};
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    people::audit,
    problem::{FoundWrong, Problem},
    told,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(as_file))
        .routes(routes!(versions))
}

/// An agent as it is kept.
#[derive(Debug, Serialize, ToSchema)]
struct AgentView {
    /// The version that counts.
    version: u32,
    /// What it says: the JSON form of its file.
    #[schema(value_type = Object)]
    agent: Object,
}

/// Agents.
#[derive(Debug, Serialize, ToSchema)]
struct AgentList {
    /// By name.
    agents: Vec<AgentView>,
    /// `after` of the next page; none: this was the last one.
    next: Option<String>,
}

fn view(stored: stored::StoredAgent) -> Result<AgentView, Problem> {
    Ok(AgentView { version: stored.version, agent: serde_json::to_value(stored.agent)? })
}

/// List the agents.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents", params(After),
    responses((status = 200, body = AgentList), Problem))]
async fn list(State(app): State<App>, _caller: Caller, Asked(page): Asked<After>) -> Result<Json<AgentList>, Problem> {
    let (agents, next) = page.of_names(app.read(stored::all).await?, |one| &one.agent.name);
    Ok(Json(AgentList { agents: agents.into_iter().map(view).collect::<Result<_, _>>()?, next }))
}

/// One agent.
#[utoipa::path(get, path = "/api/v1/agents/{name}", tag = "agents", params(("name" = String, Path)),
    responses((status = 200, body = AgentView), Problem))]
async fn get(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<Json<AgentView>, Problem> {
    Ok(Json(view(app.read(move |conn| stored::get(conn, &name)).await?)?))
}

/// The agent's file: TOML that is the same, byte for byte, whenever the agent is the same.
#[utoipa::path(get, path = "/api/v1/agents/{name}/file", tag = "agents", params(("name" = String, Path)),
    responses((status = 200, body = String, content_type = "application/toml"), Problem))]
async fn as_file(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<Response, Problem> {
    let stored = app.read(move |conn| stored::get(conn, &name)).await?;
    let text = file::write(&stored.agent)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-file", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

/// How a change is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct How {
    /// Why, for the history.
    #[serde(default)]
    note: String,
}

/// What became of a change.
#[derive(Debug, Serialize, ToSchema)]
struct SavedAgentView {
    /// The agent.
    agent: String,
    /// Its version.
    version: u32,
    /// `created`, `updated`, `unchanged`.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// What somebody should look at.
    warnings: Vec<FoundWrong>,
}

impl From<SavedAgent> for SavedAgentView {
    fn from(saved: SavedAgent) -> Self {
        let warnings = saved.warnings.iter().map(FoundWrong::from).collect();
        Self { agent: saved.agent, version: saved.version, outcome: saved.outcome, warnings }
    }
}

/// Create an agent, or change the one of that name.
#[utoipa::path(put, path = "/api/v1/agents/{name}", tag = "agents", params(("name" = String, Path), How),
    request_body(content = Object, description = "the JSON form of the agent's file"),
    responses((status = 200, body = SavedAgentView), (status = 201, body = SavedAgentView), Problem))]
async fn put(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Asked(how): Asked<How>,
    Body(agent): Body<Agent>,
) -> Result<(StatusCode, Json<SavedAgentView>), Problem> {
    if agent.name != name {
        let detail = format!("the agent says that it is `{}`, the path `{name}`", agent.name);
        return Err(Problem::invalid("another-name", detail));
    }
    let (env, policy) = (app.env(caller.user, true)?, app.engine().policy()?);
    let at = app.engine().clock().now();
    let line = audit::here();
    let saved = app.write(move |conn| {
        let (by, administrator) = (caller.user, caller.administrator);
        let edit = Edit { by, at, note: &how.note, ownership: Ownership::Take, administrator, agrees: false };
        let ground = Ground { conn, env: &env, policy: &policy };
        told::on_agent(conn, &agent.name, &line, || stored::save(ground, &agent, &edit))
    });
    let saved = saved.await?;
    let status = if saved.outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(saved.into())))
}

/// Delete an agent that no rule picks. Its history stays.
#[utoipa::path(delete, path = "/api/v1/agents/{name}", tag = "agents", params(("name" = String, Path), How),
    responses((status = 204), Problem))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Asked(how): Asked<How>,
) -> Result<StatusCode, Problem> {
    let at = app.engine().clock().now();
    let line = audit::here();
    app.write(move |conn| {
        let (by, administrator) = (caller.user, caller.administrator);
        let edit = Edit { by, at, note: &how.note, ownership: Ownership::Take, administrator, agrees: false };
        told::on_agent(conn, &name, &line, || stored::delete(conn, &name, &edit))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One version of an agent.
#[derive(Debug, Serialize, ToSchema)]
struct AgentVersionView {
    /// Its number.
    version: u32,
    /// Who made it (`res.users`).
    author: Id,
    /// When.
    at: jiff::Timestamp,
    /// Why.
    note: String,
    /// What it says; nothing for a deletion.
    #[schema(value_type = Option<Object>)]
    agent: Option<Object>,
}

/// Versions.
#[derive(Debug, Serialize, ToSchema)]
struct AgentVersions {
    /// The newest first.
    versions: Vec<AgentVersionView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// All versions of an agent, also of a deleted one.
#[utoipa::path(get, path = "/api/v1/agents/{name}/versions", tag = "agents", params(("name" = String, Path), Before),
    responses((status = 200, body = AgentVersions), Problem))]
async fn versions(
    State(app): State<App>,
    _caller: Caller,
    At(name): At<String>,
    Asked(page): Asked<Before>,
) -> Result<Json<AgentVersions>, Problem> {
    let found = app.read(move |conn| stored::history(conn, &name)).await?;
    let (found, next) = page.of_numbers(found, |one| i64::from(one.version));
    let view = |one: stored::AgentVersion| {
        let agent = one.agent.map(serde_json::to_value).transpose()?;
        Ok::<_, Problem>(AgentVersionView {
            version: one.version,
            author: one.author,
            at: one.at,
            note: one.note,
            agent,
        })
    };
    Ok(Json(AgentVersions { versions: found.into_iter().map(view).collect::<Result<_, _>>()?, next }))
}
