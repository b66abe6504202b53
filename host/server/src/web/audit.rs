//! The audit log: read here, changed nowhere.

use axum::extract::State;
use maud::html;
use serde::Deserialize;
use triggerbox_automation::EngineError;

use super::{
    page::{Answer, Page, Tab},
    parts::{empty, encoded, long, time},
    visitor::Visitor,
};
use crate::{api::cut, app::App, extract::Asked, people::audit};

/// Lines of one page.
const PAGE: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    text: String,
    before: Option<i64>,
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let (text, before) = (query.text.clone(), query.before);
    let mut lines = app.read(move |conn| Ok::<_, EngineError>(audit::list(conn, &text, before, PAGE + 1)?)).await?;
    let next = cut(&mut lines, PAGE, |line| line.id);
    let body = html! {
        form.toolbar method="get" action="/settings/audit" role="search" {
            div { label for="text" { "Search" } br; input #text type="search" name="text" value=(query.text); }
            button type="submit" { "Find" }
        }
        @if lines.is_empty() { (empty("Nothing was changed yet", html! { p { "Whoever changes something through pages or API is noted here, with time and place. Nobody can change or delete a line." } })) }
        @else { section.card { div.scroll tabindex="0" role="region" aria-label="Audit log" { table.stack {
            thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "On" } th scope="col" { "More" } th scope="col" { "From" } } }
            tbody { @for line in &lines { tr {
                td { (time(line.at, &visitor.zone)) }
                th.name scope="row" { (long(&line.who)) }
                td { (line.action.replace('-', " ")) }
                td.quiet { (long(&line.what)) }
                td.quiet { (long(&line.detail)) }
                td { (line.address) }
            } } }
        } } } }
        @if let Some(next) = next { p { a.button href=(format!("/settings/audit?text={}&before={next}", encoded(&query.text))) { "Older lines" } } }
    };
    Ok(Page::new(Tab::Settings, "Audit log", body).under("Settings", "/settings"))
}
