//! Threads: what was said and done in runs that ask a language model.
//!
//! A thread is shown to its owner and to who may read all records that it is about: to others it does not exist. One of a
//! rule that no user's rights bind is for its owner. Administrators see all.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    EngineError,
    clock::millis,
    runs::{RunId, RunState},
    threads::{self, Thread, ThreadFilter, ThreadSummary},
};
use triggerbox_model::value::Id;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    cut,
    runs::{MOST, hundred, may_ask, named},
};
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At},
    people::audit,
    problem::Problem,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(renew))
}

/// Which threads.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Of this rule.
    rule: Option<String>,
    /// Of rules that pick this agent.
    agent: Option<String>,
    /// About a record of this model; with `record`.
    model: Option<String>,
    /// About this record; with `model`.
    record: Option<Id>,
    /// Of this session.
    session: Option<i64>,
    /// Older than this one: `next` of the page before.
    before: Option<RunId>,
    /// Most threads, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// One thread.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ThreadView {
    /// Its number: its run's.
    id: RunId,
    /// What people call the rule.
    name: String,
    /// The rule.
    rule: String,
    /// The agent that the rule picks.
    agent: Option<String>,
    /// The rule's model.
    model: Option<String>,
    /// The one record that it is about; none: several, or none.
    record: Option<Id>,
    /// All records that it is about.
    records: Vec<Id>,
    /// The session, where the rule is chained.
    session: Option<i64>,
    /// Runs of the session before this one.
    resume: u32,
    /// Who caused it (`res.users`).
    actor: Id,
    /// Whose thread it is: whose rights the run has (`res.users`).
    owner: Id,
    /// Not bound by them.
    superuser: bool,
    /// Where the run stands.
    #[schema(value_type = String)]
    state: RunState,
    /// When it began.
    begun: Timestamp,
    /// When the run ended.
    finished: Option<Timestamp>,
    /// How it ended, in one stable word.
    code: Option<String>,
    /// How it ended, in one sentence.
    message: Option<String>,
    /// Calls, tokens and millionths of a euro that it used; calls under way at their worst case.
    #[schema(value_type = Object)]
    used: Object,
}

impl ThreadView {
    fn of(thread: ThreadSummary) -> Result<Self, Problem> {
        Ok(Self {
            id: thread.id,
            name: thread.name,
            rule: thread.rule,
            agent: thread.agent,
            model: thread.model,
            record: thread.record,
            records: thread.records,
            session: thread.session,
            resume: thread.resume,
            actor: thread.actor,
            owner: thread.owner,
            superuser: thread.superuser,
            state: thread.state,
            begun: thread.begun,
            finished: thread.finished,
            code: thread.code,
            message: thread.message,
            used: serde_json::to_value(thread.used)?,
        })
    }
}

/// Threads.
#[derive(Debug, Serialize, ToSchema)]
struct ThreadList {
    /// The newest first.
    threads: Vec<ThreadView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<RunId>,
}

/// List threads.
#[utoipa::path(get, path = "/api/v1/threads", tag = "threads", params(Query),
    responses((status = 200, body = ThreadList), Problem))]
async fn list(State(app): State<App>, caller: Caller, Asked(query): Asked<Query>) -> Result<Json<ThreadList>, Problem> {
    let record = named(query.model, query.record)?;
    let limit = query.limit.clamp(1, MOST);
    let filter = ThreadFilter {
        rule: query.rule,
        agent: query.agent,
        record,
        session: query.session,
        before: query.before,
        after: None,
        limit: limit.saturating_add(1),
    };
    let may_ask = may_ask(&app, &caller, filter.record.as_ref()).await?;
    let mut found = app.read(move |conn| threads::list(conn, &filter)).await?;
    // How many there are about a record is for who may read it.
    let next = cut(&mut found, limit, |thread| thread.id).filter(|_| may_ask);
    let threads = visible(&app, &caller, found).await?;
    Ok(Json(ThreadList { threads: threads.into_iter().map(ThreadView::of).collect::<Result<_, _>>()?, next }))
}

/// Those that the caller may see.
pub(crate) async fn visible(
    app: &App,
    caller: &Caller,
    found: Vec<ThreadSummary>,
) -> Result<Vec<ThreadSummary>, Problem> {
    if caller.administrator {
        return Ok(found);
    }
    let records = found.iter().flat_map(|thread| threads::asks_for(caller.user, thread)).collect();
    let readable = app.readable_among(caller.user, records).await?;
    Ok(found.into_iter().filter(|thread| threads::may_see(caller.user, &readable, thread)).collect())
}

/// One thread, if the caller may see it.
pub(crate) async fn seen(app: &App, caller: &Caller, thread: RunId) -> Result<Thread, Problem> {
    let found = app.read(move |conn| threads::read(conn, thread)).await?;
    match visible(app, caller, vec![found.summary.clone()]).await?.is_empty() {
        false => Ok(found),
        true => {
            let detail = format!("there is no thread {thread}, or you may not see it");
            Err(Problem::not_found("unknown-thread", detail))
        }
    }
}

/// One thread in full.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ThreadFull {
    #[serde(flatten)]
    thread: ThreadView,
    /// In the order in which it happened. Each has a time in `at` and a `kind`: `system`, `user`, `assistant`, `tool-call`,
    /// `tool-result`, `request`, `open`, `refusal`, `event`.
    #[schema(value_type = Vec<Object>)]
    entries: Vec<Object>,
    /// The plan with the verdict of each of its steps, where the model had to write one first.
    #[schema(value_type = Option<Object>)]
    plan: Option<Object>,
}

/// One thread in full: every message, tool call, answer and refusal, with what each call used.
#[utoipa::path(get, path = "/api/v1/threads/{id}", tag = "threads", params(("id" = i64, Path)),
    responses((status = 200, body = ThreadFull), Problem))]
async fn get(State(app): State<App>, caller: Caller, At(id): At<RunId>) -> Result<Json<ThreadFull>, Problem> {
    let found = seen(&app, &caller, id).await?;
    let entries = found.entries.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    Ok(Json(ThreadFull { thread: ThreadView::of(found.summary)?, entries, plan: found.plan }))
}

/// Have the next run on the thread's record begin a new session, with nothing spent.
#[utoipa::path(post, path = "/api/v1/threads/{id}/renew", tag = "threads", params(("id" = i64, Path)),
    responses((status = 204), Problem))]
async fn renew(State(app): State<App>, caller: Caller, At(id): At<RunId>) -> Result<StatusCode, Problem> {
    renewed(&app, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has the next run on a thread's record begin a new session, if the caller may.
pub(crate) async fn renewed(app: &App, caller: &Caller, id: RunId) -> Result<(), Problem> {
    let thread = seen(app, caller, id).await?.summary;
    if !caller.administrator {
        return Err(Problem::denied("not-an-administrator", "caps are set, and lifted, by administrators"));
    }
    let record = thread.model.as_ref().zip(thread.record).map(|(model, id)| format!(" about {model}({id})"));
    audit::say(format!("the session of {}{}", thread.rule, record.unwrap_or_default()));
    let now = millis(app.engine().clock().now());
    let renewed = app.write(move |conn| threads::renew(conn, id, now)).await?;
    match renewed {
        true => Ok(()),
        false => Err(EngineError::Refused(triggerbox_model::error::Error::rejected(
            "no-session",
            format!("thread {id} belongs to no session that could be renewed"),
        ))
        .into()),
    }
}
