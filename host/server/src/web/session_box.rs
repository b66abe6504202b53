//! The runs of one record: a box for its form, and the same as JSON. Only who may read the record sees it; who caused a
//! run sees that one in any case.

use std::collections::{HashMap, HashSet};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use maud::html;
use serde::{Deserialize, Serialize};
use triggerbox_automation::{
    EngineError,
    rule::stored,
    runs::{self, RunFilter, RunId, RunSummary},
    threads,
};
use triggerbox_model::value::{Id, RecordRef};

use super::{
    automations::title,
    page::{Answer, Page, Tab},
    parts::{address, badge, empty, encoded, state, time},
    visitor::Visitor,
};
use crate::{
    api,
    app::App,
    extract::{Asked, At},
    problem::Problem,
};

/// Runs of a box.
const MOST: u32 = 10;

/// Runs of a record are counted so far; beyond it a box says that there are more.
const COUNTED: u32 = 1_000;

#[derive(Serialize)]
struct Boxed {
    /// Of all that there are, as far as they are counted.
    count: u32,
    /// There are more than those.
    more: bool,
    /// The newest first.
    runs: Vec<One>,
}

#[derive(Serialize)]
struct One {
    id: i64,
    rule: String,
    /// What people call the rule.
    name: String,
    state: &'static str,
    at: jiff::Timestamp,
    own: bool,
    address: String,
}

/// How a box is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// As a part of another page: nothing is around it.
    fragment: bool,
}

pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    At((model, record)): At<(String, Id)>,
    Asked(query): Asked<Query>,
) -> Answer<Response> {
    let user = visitor.caller.user;
    let reads = app.may_read(user, &model, &[record]).await?;
    let target = RecordRef { model: model.clone(), id: record };
    let (mut found, mut count) = app
        .read(move |conn| {
            let sql = "SELECT count(*) FROM (SELECT 1 FROM engine_about WHERE model = ?1 AND record = ?2 LIMIT ?3)";
            let limits = (&target.model, target.id, COUNTED + 1);
            let count: u32 = conn.prepare_cached(sql)?.query_row(limits, |row| row.get(0))?;
            let filter = RunFilter { record: Some(target), limit: MOST, ..RunFilter::default() };
            Ok::<_, EngineError>((runs::list(conn, &filter)?, count))
        })
        .await?;
    if !reads {
        found.retain(|run| run.actor == user);
        count = u32::try_from(found.len()).unwrap_or_default();
        if found.is_empty() {
            let text = format!("there is no {model}({record}), or you may not read it");
            return Err(Problem::not_found("missing-record", text).into());
        }
    }
    let named: Vec<(RunId, String)> = found.iter().map(|run| (run.id, run.rule.clone())).collect();
    let (titles, all) = app
        .read(move |conn| {
            let (mut titles, mut all) = (HashMap::new(), Vec::new());
            for (run, rule) in named {
                all.extend(threads::of_run(conn, run)?);
                if let Some(stored) = stored::find(conn, &rule)? {
                    titles.insert(rule, title(&stored.rule).to_owned());
                }
            }
            Ok::<_, EngineError>((titles, all))
        })
        .await?;
    let threads: HashSet<RunId> =
        api::threads::visible(&app, &visitor.caller, all).await?.into_iter().map(|one| one.id).collect();
    // What was said in it, where something was said; else what it did.
    let place = |run: &RunSummary| {
        let page = if threads.contains(&run.id) { "threads" } else { "runs" };
        address(&[page, &run.id.to_string()])
    };
    let name = |run: &RunSummary| titles.get(&run.rule).unwrap_or(&run.rule).clone();
    let json = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.starts_with("application/json"));
    let (count, more) = (count.min(COUNTED), count > COUNTED);
    if json {
        let one = |run: &RunSummary| One {
            id: run.id,
            rule: run.rule.clone(),
            name: name(run),
            state: run.state.name(),
            at: run.at,
            own: run.actor == user,
            address: place(run),
        };
        return Ok(Json(Boxed { count, more, runs: found.iter().map(one).collect() }).into_response());
    }
    let body = html! {
        section.card #live data-live {
            details #sessions open {
                summary { h2 { "Sessions " span.count { (count) @if more { "+" } } } }
                @if found.is_empty() { (empty("No automation ran on this record", html! { p { "Each run on it will be listed here, with what it came to. " a href="/automations" { "Automations" } " run by themselves when a record that they are for changes, or when somebody tells them to." } })) }
                ul.talk { @for run in &found { li {
                    (state(run.state)) " "
                    a href=(place(run)) { (name(run)) } @if !titles.contains_key(&run.rule) { " " (badge("calm", "deleted")) }
                    " " span.faint { (time(run.at, &visitor.zone)) @if run.actor == user { " · yours" } }
                } } }
            }
            @if reads && count > 0 { p { a href=(format!("/runs?model={}&record={record}", encoded(&model))) { "View all " (count) @if more { "+" } } } }
        }
    };
    if query.fragment {
        return Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body.into_string()).into_response());
    }
    Ok(Page::new(Tab::Runs, format!("{model} · {record}"), body).under("Runs", "/runs").into_response())
}
