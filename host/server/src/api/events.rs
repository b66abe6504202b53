//! What happened, where a rule wanted to know.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::events::{self, EventFilter};
use triggerbox_model::{
    call::{Answer, Call, Operation},
    value::Id,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    cut,
    runs::{MOST, hundred},
};
use crate::{app::App, auth::Caller, extract::Asked, problem::Problem};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Of records of this model.
    model: Option<String>,
    /// Of this record of it.
    record: Option<Id>,
    /// Going back to this event.
    root: Option<i64>,
    /// Older than this event: `next` of the page before.
    before: Option<i64>,
    /// Most events, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct EventView {
    /// Its number.
    id: i64,
    /// The event from outside that it goes back to; itself, when it is one.
    root: i64,
    /// The run that caused it.
    parent: Option<i64>,
    /// Runs between the root event and this one.
    depth: u32,
    /// When.
    at: Timestamp,
    /// Who is behind it (`res.users`).
    actor: Id,
    /// The model.
    model: String,
    /// The record; 0 for none.
    record: Id,
    /// `created`, `updated`, `deleted`, `message`, `scheduled`, `time`, `fired`.
    kind: String,
    /// What changed.
    #[schema(value_type = Object)]
    change: Object,
}

/// Events.
#[derive(Debug, Serialize, ToSchema)]
struct EventList {
    /// The newest first.
    events: Vec<EventView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// List events; those of records that the caller may read.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(Query),
    responses((status = 200, body = EventList), Problem))]
async fn list(State(app): State<App>, caller: Caller, Asked(query): Asked<Query>) -> Result<Json<EventList>, Problem> {
    let limit = query.limit.clamp(1, MOST);
    let filter = EventFilter {
        model: query.model,
        record: query.record,
        root: query.root,
        before: query.before,
        limit: limit.saturating_add(1),
    };
    let mut events = app.read(move |conn| events::list(conn, &filter)).await?;
    let next = cut(&mut events, limit, |event| event.id);
    let inner = app.clone();
    let shown = app.blocking(move || {
        let mut session = inner.session(caller.user)?;
        let mut shown = Vec::new();
        for event in events {
            let call = Call::HasAccess {
                model: event.record.model.clone(),
                ids: Some(event.record.id).into_iter().filter(|id| *id > 0).collect(),
                operation: Operation::Read,
            };
            if caller.administrator || matches!(session.call(call)?, Ok(Answer::Flag(true))) {
                shown.push(EventView {
                    id: event.id,
                    root: event.root,
                    parent: event.parent,
                    depth: event.depth,
                    at: event.at,
                    actor: event.actor,
                    model: event.record.model,
                    record: event.record.id,
                    kind: event.kind,
                    change: event.change,
                });
            }
        }
        Ok(shown)
    });
    Ok(Json(EventList { events: shown.await?, next }))
}
