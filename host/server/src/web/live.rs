//! Telling open pages that something changed. What it is they look up themselves, with their own rights.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use serde::Deserialize;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use triggerbox_automation::runs::RunId;

use super::{page::Answer, visitor::Visitor};
use crate::{api::runs::seen, app::App, extract::Asked};

/// Pages are told no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(300);

/// What a page shows besides what is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// What this run logs while it runs.
    run: Option<RunId>,
}

pub(super) async fn events(
    State(app): State<App>,
    visitor: Visitor,
    Asked(Query { run }): Asked<Query>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    if let Some(run) = run {
        seen(&app, &visitor.caller, run).await?;
    }
    let commits = WatchStream::from_changes(app.engine().committer().commits()).throttle(AT_MOST_EVERY).map(|_| ());
    let (engine, mut known) = (app.engine().clone(), 0);
    // Any run may have logged it.
    let lines = WatchStream::from_changes(app.engine().lines()).throttle(AT_MOST_EVERY).filter(move |()| {
        let logged = run.map_or(0, |run| engine.logged_so_far(run, 0).0);
        std::mem::replace(&mut known, logged) != logged
    });
    // Browsers drop events without data.
    let changes = commits.merge(lines).map(|()| Some(Event::default().event("changed").data("now")));
    let end = tokio_stream::once(()).then(move |()| {
        let app = app.clone();
        async move {
            app.drained().await;
            None
        }
    });
    let stream = changes.merge(end).take_while(Option::is_some).map(|event| Ok(event.unwrap_or_default()));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
