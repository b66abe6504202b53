//! Telling open pages that something changed. What it is they look up themselves, with their own rights.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};

use crate::app::App;

/// Pages are told no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(300);

pub(super) async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let commits = WatchStream::from_changes(app.engine().committer().commits());
    // Browsers drop events without data.
    let changes = commits.throttle(AT_MOST_EVERY).map(|_| Some(Event::default().event("changed").data("now")));
    let end = tokio_stream::once(()).then(move |()| {
        let app = app.clone();
        async move {
            app.drained().await;
            None
        }
    });
    let stream = changes.merge(end).take_while(Option::is_some).map(|event| Ok(event.unwrap_or_default()));
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
