//! What happened, where a rule wanted to know.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::events::{self, EventFilter};
use triggerbox_model::value::{Id, RecordRef};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    cut,
    runs::{About, MOST, hundred, leave_out_of, may_ask, readable},
};
use crate::{app::App, auth::Caller, extract::Asked, problem::Problem};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
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
    /// `created`, `updated`, `deleted`, `message`, `scheduled`, `time`, `fired`, `selected` (by a rule's source), `before`, `on-change`.
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
    let record = filter.model.clone().zip(filter.record).map(|(model, id)| RecordRef { model, id });
    if !may_ask(&app, &caller, record.as_ref()).await? {
        return Ok(Json(EventList { events: Vec::new(), next: None }));
    }
    let mut events = app.read(move |conn| events::list(conn, &filter)).await?;
    let next = cut(&mut events, limit, |event| event.id);
    let about = |event: &events::Event| About::of(event.record.clone());
    let events = events.into_iter().map(|event| (about(&event), event)).collect();
    let mut events: Vec<events::Event> = readable(&app, &caller, events).await?;
    if !caller.administrator {
        let models = events.iter().map(|event| event.record.model.clone()).collect();
        let fields = app.readable_fields(caller.user, models).await?;
        events.iter_mut().for_each(|event| leave_out_of(&fields, &event.record.model, &mut event.change));
    }
    let events = events.into_iter().map(|event| EventView {
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
    Ok(Json(EventList { events: events.collect(), next }))
}
