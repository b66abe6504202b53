//! Runs: the list, one in full, its chain, and what people do to it.
//!
//! What a run did is shown to who may read the records that it was about: to others it does not exist. Administrators see
//! all.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    EngineError,
    engine::{Fields, Readable},
    logs::{self, LogFilter, Logged},
    runs::{self, Fires, RunDetail, RunFilter, RunId, RunState, RunSummary},
};
use triggerbox_model::value::{Id, RecordRef};
use triggerbox_sandbox::LogLevel;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::cut;
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    people::audit,
    problem::Problem,
    told,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(chain))
        .routes(routes!(journal))
        .routes(routes!(suppressed))
        .routes(routes!(logs))
        .routes(routes!(requeue))
        .routes(routes!(prune))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

/// Most runs of one answer.
pub(crate) const MOST: u32 = 500;

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Of this rule.
    rule: Option<String>,
    /// `queued`, `running`, `succeeded`, `failed`, `skipped`, `waiting-approval`, `outcome-unknown`, `dead`, `cancelled`.
    #[param(value_type = Option<String>)]
    state: Option<RunState>,
    /// On a record of this model; with `record`.
    model: Option<String>,
    /// On this record, whichever of theirs it is; with `model`.
    record: Option<Id>,
    /// Ended so.
    code: Option<String>,
    /// Going back to this event.
    root: Option<i64>,
    /// Whose event happened then or later.
    since: Option<Timestamp>,
    /// Whose event happened earlier.
    until: Option<Timestamp>,
    /// Older than this run: `next` of the page before.
    before: Option<RunId>,
    /// Most runs, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

pub(super) fn hundred() -> u32 {
    100
}

/// One run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RunView {
    /// Its number.
    id: RunId,
    /// Its id for scripts and other systems.
    key: String,
    /// The rule.
    rule: String,
    /// Which version of it.
    rule_version: i64,
    /// The root event of its chain; 0 without one.
    root: i64,
    /// The run that caused it.
    parent: Option<RunId>,
    /// Runs between the root event and this one.
    depth: u32,
    /// The model.
    model: Option<String>,
    /// The first record.
    record: Option<Id>,
    /// `async`, `batch`, `agent`.
    class: String,
    /// Who caused it (`res.users`).
    actor: Id,
    /// Whose rights it has (`res.users`).
    run_as: Id,
    /// Not bound by them.
    superuser: bool,
    /// When the event happened.
    at: Timestamp,
    /// Where it stands: one of the states that the list can be asked for.
    #[schema(value_type = String)]
    state: RunState,
    /// Not started before.
    due: Timestamp,
    /// Earlier runs on its records that it waits for.
    blockers: u32,
    /// Since when the Odoo server that it waits for is away, if it does.
    away_since: Option<Timestamp>,
    /// How often it was started.
    attempt: u32,
    /// When it ended.
    finished: Option<Timestamp>,
    /// How it ended, in one stable word.
    code: Option<String>,
    /// How it ended, in one sentence.
    message: Option<String>,
}

impl From<RunSummary> for RunView {
    fn from(run: RunSummary) -> Self {
        Self {
            id: run.id,
            key: run.key,
            rule: run.rule,
            rule_version: run.rule_version,
            root: run.root,
            parent: run.parent,
            depth: run.depth,
            model: run.model,
            record: run.record,
            class: run.class,
            actor: run.actor,
            run_as: run.run_as,
            superuser: run.superuser,
            at: run.at,
            state: run.state,
            due: run.due,
            blockers: run.blockers,
            away_since: run.away_since,
            attempt: run.attempt,
            finished: run.finished,
            code: run.code,
            message: run.message,
        }
    }
}

/// Runs.
#[derive(Debug, Serialize, ToSchema)]
struct RunList {
    /// The newest first.
    runs: Vec<RunView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<RunId>,
}

/// List runs.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(Query), responses((status = 200, body = RunList), Problem))]
async fn list(State(app): State<App>, caller: Caller, Asked(query): Asked<Query>) -> Result<Json<RunList>, Problem> {
    let record = named(query.model, query.record)?;
    let limit = query.limit.clamp(1, MOST);
    let filter = RunFilter {
        rule: query.rule,
        state: query.state,
        record,
        code: query.code,
        root: query.root,
        since: query.since,
        until: query.until,
        before: query.before,
        after: None,
        limit: limit.saturating_add(1),
    };
    if !may_ask(&app, &caller, filter.record.as_ref()).await? {
        return Ok(Json(RunList { runs: Vec::new(), next: None }));
    }
    let mut runs = app.read(move |conn| runs::list(conn, &filter)).await?;
    let next = cut(&mut runs, limit, |run| run.id);
    let runs = visible(&app, &caller, runs).await?;
    Ok(Json(RunList { runs: runs.into_iter().map(RunView::from).collect(), next }))
}

/// The record that a model and a number name; none, where neither is said.
///
/// # Errors
/// `half-a-record`
pub(crate) fn named(model: Option<String>, record: Option<Id>) -> Result<Option<RecordRef>, Problem> {
    match (model, record) {
        (Some(model), Some(id)) => Ok(Some(RecordRef { model, id })),
        (None, None) => Ok(None),
        _ => Err(Problem::invalid("half-a-record", "a record is a `model` and a `record`: name both or none")),
    }
}

/// Whether the caller may ask for the runs on a record: who may read it. A run that is shown may be about others, too.
pub(crate) async fn may_ask(app: &App, caller: &Caller, record: Option<&RecordRef>) -> Result<bool, Problem> {
    let Some(record) = record.filter(|_| !caller.administrator) else { return Ok(true) };
    app.may_read(caller.user, &record.model, &[record.id]).await
}

/// Those that the caller may see: who may read the first record; the run itself is looked at more closely. What one says of
/// itself is for who may see all of it.
pub(crate) async fn visible(app: &App, caller: &Caller, runs: Vec<RunSummary>) -> Result<Vec<RunSummary>, Problem> {
    if caller.administrator {
        return Ok(runs);
    }
    let all = about(app, runs.iter().map(|run| run.id).collect()).await?;
    let first = |run: &RunSummary| About::first(run.model.as_deref(), run.record, [run.actor, run.run_as]);
    let runs: Vec<(About, RunSummary)> = runs.into_iter().map(|run| (first(&run), run)).collect();
    let records = runs.iter().map(|(about, _)| about).chain(all.values()).flat_map(|about| &about.records);
    let readable = app.readable_among(caller.user, records.cloned().collect()).await?;
    let shown = runs.into_iter().filter(|(about, _)| about.is_for(caller, &readable)).map(|(_, mut run)| {
        if !all.get(&run.id).is_some_and(|about| about.is_for(caller, &readable)) {
            run.message = None;
        }
        run
    });
    Ok(shown.collect())
}

/// The same of fires that did not become runs.
pub(crate) async fn visible_fires(
    app: &App,
    caller: &Caller,
    fires: Vec<runs::Suppressed>,
) -> Result<Vec<runs::Suppressed>, Problem> {
    let about = |fire: &runs::Suppressed| {
        let model = Some(fire.record.model.as_str()).filter(|model| !model.is_empty());
        About::first(model, Some(fire.record.id), [fire.actor; 2])
    };
    readable(app, caller, fires.into_iter().map(|fire| (about(&fire), fire)).collect()).await
}

/// What something in the history is about.
pub(super) struct About {
    /// Who sees it may read all of these. One without a number is any of its model.
    pub(super) records: BTreeSet<RecordRef>,
    /// Who alone may see it; none: whoever may read the records.
    pub(super) people: Option<[Id; 2]>,
}

impl About {
    /// One record. What is about none is shown to those alone who see all.
    pub(super) fn of(record: RecordRef) -> Self {
        Self { records: [record].into(), people: None }
    }

    /// The first record; without one its model, and without a model these people alone.
    fn first(model: Option<&str>, record: Option<Id>, people: [Id; 2]) -> Self {
        let records: BTreeSet<_> =
            model.map(|model| RecordRef::new(model, record.unwrap_or_default())).into_iter().collect();
        Self { people: records.is_empty().then_some(people), records }
    }

    /// Whether it is for somebody who may read this.
    fn is_for(&self, caller: &Caller, readable: &Readable) -> bool {
        self.people.is_none_or(|people| people.contains(&caller.user))
            && self.records.iter().all(|record| readable.has(record))
    }

    /// All that a run was about, and all that it changed or wanted to change.
    fn all(run: &RunDetail) -> Result<Self, Problem> {
        let RunSummary { model, record, actor, run_as, .. } = &run.summary;
        let mut about = Self::first(model.as_deref(), *record, [*actor, *run_as]);
        if let Some(model) = model {
            let all = run.firing.records.iter().chain(&run.firing.found);
            about.records.extend(all.map(|id| RecordRef::new(model, *id)));
        }
        for attempt in &run.attempts {
            let changed = attempt.report.pointer("/diff/records").and_then(Object::as_array);
            for record in changed.into_iter().flatten().filter_map(|one| one.get("record")) {
                about.records.insert(RecordRef::deserialize(record)?);
            }
        }
        Ok(about)
    }
}

/// Those of these that the caller may see. What may be read is asked where the records are: once for each model, or twice.
pub(super) async fn readable<T>(app: &App, caller: &Caller, all: Vec<(About, T)>) -> Result<Vec<T>, Problem> {
    if caller.administrator {
        return Ok(all.into_iter().map(|(_, one)| one).collect());
    }
    let records = all.iter().flat_map(|(about, _)| about.records.iter().cloned()).collect();
    let readable = app.readable_among(caller.user, records).await?;
    Ok(all.into_iter().filter(|(about, _)| about.is_for(caller, &readable)).map(|(_, one)| one).collect())
}

/// What each of these runs was about, as far as it is there yet. One that cannot be read hides the others from nobody.
async fn about(app: &App, runs: BTreeSet<RunId>) -> Result<BTreeMap<RunId, About>, Problem> {
    app.read(move |conn| {
        let mut all = BTreeMap::new();
        for run in runs {
            if let Some(about) = runs::detail(conn, run).ok().and_then(|detail| About::all(&detail).ok()) {
                all.insert(run, about);
            }
        }
        Ok::<_, Problem>(all)
    })
    .await
}

/// Those of these runs that the caller may see in full: who may read all of their records and all that they changed.
pub(crate) async fn seen_of(app: &App, caller: &Caller, runs: BTreeSet<RunId>) -> Result<BTreeSet<RunId>, Problem> {
    if caller.administrator {
        return Ok(runs);
    }
    let all = about(app, runs).await?.into_iter().map(|(run, about)| (about, run)).collect();
    Ok(readable(app, caller, all).await?.into_iter().collect())
}

/// One run in full, if the caller may read all of its records and all that it changed.
pub(crate) async fn seen(app: &App, caller: &Caller, run: RunId) -> Result<RunDetail, Problem> {
    let mut detail = app.read(move |conn| runs::detail(conn, run)).await?;
    if caller.administrator {
        return Ok(detail);
    }
    // What a backend tells of its inside is for those who run it.
    for attempt in &mut detail.attempts {
        if let Some(report) = attempt.report.as_object_mut() {
            report.remove("tracebacks");
        }
    }
    let about = About::all(&detail)?;
    let models = about.records.iter().map(|record| record.model.clone()).collect();
    let shown = readable(app, caller, vec![(about, detail)]).await?.pop();
    let hidden = || Problem::not_found("unknown-run", format!("there is no run {run}, or you may not see it"));
    let mut shown = shown.ok_or_else(hidden)?;
    leave_out(&app.readable_fields(caller.user, models).await?, &mut shown);
    Ok(shown)
}

/// Leaves out what a run tells of other fields than these.
fn leave_out(fields: &Fields, run: &mut RunDetail) {
    if let Some(model) = &run.summary.model {
        fields.keep_by(model, &mut run.firing);
    }
    for attempt in &mut run.attempts {
        let changed = attempt.report.pointer_mut("/diff/records").and_then(Object::as_array_mut);
        for one in changed.into_iter().flatten() {
            let model = one.pointer("/record/model").and_then(Object::as_str).unwrap_or_default().to_owned();
            leave_out_of(fields, &model, one);
        }
    }
}

/// Leaves out what a change of a record tells of other fields than these.
pub(super) fn leave_out_of(fields: &Fields, model: &str, change: &mut Object) {
    let told = change.get_mut("fields").and_then(Object::as_array_mut);
    let name = |one: &Object| one.get("field").and_then(Object::as_str).unwrap_or_default().to_owned();
    told.into_iter().for_each(|told| told.retain(|one| fields.has(model, &name(one))));
}

/// Whether somebody may see what a run read: administrators, and whom it had the rights of.
pub(crate) fn may_see_journal(caller: &Caller, run: &RunSummary) -> bool {
    caller.administrator || (run.run_as == caller.user && !run.superuser)
}

/// One run in full.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct RunFull {
    #[serde(flatten)]
    run: RunView,
    /// What it was fired with: what happened, to which records, their old values.
    #[schema(value_type = Object)]
    firing: Object,
    /// What its scripts answered, together.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Object>,
    /// Every try of every action, in order.
    attempts: Vec<AttemptView>,
}

/// One try of one action.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct AttemptView {
    /// Which try, from 1.
    attempt: u32,
    /// Which action of the rule, from 0.
    action: u32,
    /// The component's hash.
    script: String,
    /// When it started.
    started: Timestamp,
    /// When it ended.
    finished: Timestamp,
    /// How it ended.
    code: String,
    /// Verdict, diff, limits with their use, durations, refusals; for administrators also the backend's tracebacks.
    #[schema(value_type = Object)]
    report: Object,
    /// What it logged.
    log: Vec<LineView>,
    /// Whether its host calls are kept.
    journaled: bool,
}

/// A line of a run's log.
#[derive(Debug, Serialize, ToSchema)]
struct LineView {
    /// `debug`, `info`, `warning`, `error`.
    level: String,
    /// The text.
    message: String,
}

/// One run in full: what fired it, every try with its log, its use of limits and its diff.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = RunFull), Problem))]
async fn get(State(app): State<App>, caller: Caller, At(id): At<RunId>) -> Result<Json<RunFull>, Problem> {
    let detail = seen(&app, &caller, id).await?;
    let attempts = detail.attempts.into_iter().map(|one| AttemptView {
        attempt: one.attempt,
        action: one.action,
        script: one.script,
        started: one.started,
        finished: one.finished,
        code: one.code,
        report: one.report,
        log: one
            .log
            .into_iter()
            .map(|line| LineView { level: line.level.name().to_owned(), message: line.message })
            .collect(),
        journaled: one.journaled,
    });
    Ok(Json(RunFull {
        attempts: attempts.collect(),
        firing: serde_json::to_value(&detail.firing)?,
        outcome: detail.outcome.map(serde_json::to_value).transpose()?,
        run: detail.summary.into(),
    }))
}

/// A fire that did not become a run.
#[derive(Debug, Serialize, ToSchema)]
struct SuppressedView {
    /// Its number.
    id: i64,
    /// When.
    at: Timestamp,
    /// The rule that would have fired.
    rule: String,
    /// The model.
    model: String,
    /// The record; 0 for none.
    record: Id,
    /// The root event of the chain.
    root: i64,
    /// A stable word, then a colon and a sentence.
    reason: String,
}

impl From<runs::Suppressed> for SuppressedView {
    fn from(one: runs::Suppressed) -> Self {
        let (model, record) = (one.record.model, one.record.id);
        Self { id: one.id, at: one.at, rule: one.rule, model, record, root: one.root, reason: one.reason }
    }
}

/// What follows from one event.
#[derive(Debug, Serialize, ToSchema)]
struct Chain {
    /// In the order in which they were made.
    runs: Vec<RunView>,
    /// Fires that did not become runs, the newest first: a page of them. All are in the list of such fires.
    suppressed: Vec<SuppressedView>,
    /// `after` of the next page of runs; none: this was the last one.
    next: Option<RunId>,
}

/// Which page of a chain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Link {
    /// Made after this run: `next` of the page before.
    after: Option<RunId>,
    /// Most runs, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// All runs that go back to the same event as this one.
#[utoipa::path(get, path = "/api/v1/runs/{id}/chain", tag = "runs", params(("id" = i64, Path), Link),
    responses((status = 200, body = Chain), Problem))]
async fn chain(
    State(app): State<App>,
    caller: Caller,
    At(id): At<RunId>,
    Asked(link): Asked<Link>,
) -> Result<Json<Chain>, Problem> {
    let root = seen(&app, &caller, id).await?.summary.root;
    let limit = link.limit.clamp(1, MOST);
    let (mut runs, suppressed) = app
        .read(move |conn| {
            let fires = Fires { root: Some(root), limit, ..Fires::default() };
            Ok::<_, EngineError>((runs::chain(conn, root, usize::MAX)?, runs::suppressed(conn, &fires)?))
        })
        .await?;
    // A root event has no more runs than the guard against loops lets it have.
    runs.retain(|run| link.after.is_none_or(|after| run.id > after));
    let next = cut(&mut runs, limit, |run| run.id);
    let runs = visible(&app, &caller, runs).await?;
    let suppressed = visible_fires(&app, &caller, suppressed).await?;
    Ok(Json(Chain {
        runs: runs.into_iter().map(RunView::from).collect(),
        suppressed: suppressed.into_iter().map(SuppressedView::from).collect(),
        next,
    }))
}

/// One host call.
#[derive(Debug, Serialize, ToSchema)]
struct EntryView {
    /// As the script asked.
    #[schema(value_type = Object)]
    call: Object,
    /// As it was answered.
    #[schema(value_type = Object)]
    reply: Object,
    /// Of a call that ran a script as a tool: what that asked, each with `call` and `reply`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    within: Vec<Object>,
}

/// Host calls.
#[derive(Debug, Serialize, ToSchema)]
struct Journal {
    /// In order; empty, if they were not kept.
    calls: Vec<EntryView>,
}

/// The host calls of one try of one action, with their answers. They hold what the rule's user may read, so the list is for
/// administrators and for whom the run had the rights of.
#[utoipa::path(get, path = "/api/v1/runs/{id}/journal/{attempt}/{action}", tag = "runs",
    params(("id" = i64, Path), ("attempt" = u32, Path), ("action" = u32, Path)),
    responses((status = 200, body = Journal), Problem))]
async fn journal(
    State(app): State<App>,
    caller: Caller,
    At((id, attempt, action)): At<(RunId, u32, u32)>,
) -> Result<Json<Journal>, Problem> {
    let detail = seen(&app, &caller, id).await?;
    if !may_see_journal(&caller, &detail.summary) {
        let detail = "a journal is shown to administrators and to whom the run had the rights of";
        return Err(Problem::denied("access-denied", detail));
    }
    let entries = app.read(move |conn| runs::journal(conn, id, attempt, action)).await?;
    let view = |entry: triggerbox_automation::journal::Entry| {
        let (call, reply) = (serde_json::to_value(entry.call)?, serde_json::to_value(entry.reply)?);
        let within = entry.within.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        Ok::<_, Problem>(EntryView { call, reply, within })
    };
    Ok(Json(Journal { calls: entries.into_iter().map(view).collect::<Result<_, _>>()? }))
}

/// Which fires.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FireQuery {
    /// Of this rule.
    rule: Option<String>,
    /// Going back to this event.
    root: Option<i64>,
    /// Older than this one: `next` of the page before.
    before: Option<i64>,
    /// Most of them, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// Suppressed fires.
#[derive(Debug, Serialize, ToSchema)]
struct SuppressedList {
    /// The newest first.
    suppressed: Vec<SuppressedView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// Fires that did not become runs, of records that the caller may read: loops, missed slots, records beyond the most.
#[utoipa::path(get, path = "/api/v1/suppressed", tag = "runs", params(FireQuery),
    responses((status = 200, body = SuppressedList), Problem))]
async fn suppressed(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<FireQuery>,
) -> Result<Json<SuppressedList>, Problem> {
    let limit = query.limit.clamp(1, MOST);
    let fires = Fires { rule: query.rule, root: query.root, before: query.before, limit: limit.saturating_add(1) };
    let mut found = app.read(move |conn| runs::suppressed(conn, &fires)).await?;
    let next = cut(&mut found, limit, |fire| fire.id);
    let found = visible_fires(&app, &caller, found).await?;
    Ok(Json(SuppressedList { suppressed: found.into_iter().map(SuppressedView::from).collect(), next }))
}

/// Try a run again that ended without effect: failed, dead, cancelled, skipped.
#[utoipa::path(post, path = "/api/v1/runs/{id}/retry", tag = "runs", params(("id" = i64, Path)),
    responses((status = 202), Problem))]
async fn retry(State(app): State<App>, caller: Caller, At(id): At<RunId>) -> Result<StatusCode, Problem> {
    audit::say(told::run(&seen(&app, &caller, id).await?.summary));
    app.engine().retry(id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Stop a run that waits, runs, or wants a yes. Nothing of it is applied.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", params(("id" = i64, Path)),
    responses((status = 204), Problem))]
async fn cancel(State(app): State<App>, caller: Caller, At(id): At<RunId>) -> Result<StatusCode, Problem> {
    audit::say(told::run(&seen(&app, &caller, id).await?.summary));
    app.engine().cancel(id, caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// Of this rule.
    rule: Option<String>,
    /// Of this run.
    run: Option<RunId>,
    /// At least this: `debug`, `info`, `warning`, `error`.
    #[param(value_type = Option<String>)]
    level: Option<LogLevel>,
    /// With this text in it.
    contains: Option<String>,
    /// Logged then or later.
    since: Option<Timestamp>,
    /// Older than this line: `next` of the page before.
    before: Option<i64>,
    /// Most lines, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// A line that a script logged.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct LoggedView {
    /// Its number.
    id: i64,
    /// When the try that logged it ended.
    at: Timestamp,
    /// The rule.
    rule: String,
    /// The run.
    run: RunId,
    /// Which try of it.
    attempt: u32,
    /// `debug`, `info`, `warning`, `error`.
    level: String,
    /// The text.
    message: String,
}

/// Lines.
#[derive(Debug, Serialize, ToSchema)]
struct LogList {
    /// The newest first.
    lines: Vec<LoggedView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// Search what scripts logged; the lines of runs that the caller may see.
#[utoipa::path(get, path = "/api/v1/logs", tag = "runs", params(LogQuery),
    responses((status = 200, body = LogList), Problem))]
async fn logs(State(app): State<App>, caller: Caller, Asked(query): Asked<LogQuery>) -> Result<Json<LogList>, Problem> {
    let limit = query.limit.clamp(1, MOST);
    let filter = LogFilter {
        rule: query.rule,
        run: query.run,
        level: query.level,
        contains: query.contains,
        since: query.since,
        before: query.before,
        limit,
    };
    let (lines, next) = logged(&app, &caller, filter, limit).await?;
    let lines = lines.into_iter().map(|line| LoggedView {
        id: line.id,
        at: line.at,
        rule: line.rule,
        run: line.run,
        attempt: line.attempt,
        level: line.level.name().to_owned(),
        message: line.message,
    });
    Ok(Json(LogList { lines: lines.collect(), next }))
}

/// A page of lines, and `before` of the next one. Rights come first: what others logged decides nothing that can be seen, not
/// even whether there is another page with such a text.
async fn logged(
    app: &App,
    caller: &Caller,
    filter: LogFilter,
    limit: u32,
) -> Result<(Vec<Logged>, Option<i64>), Problem> {
    let text = if caller.administrator { None } else { filter.contains.clone() };
    let size = if text.is_some() { MOST } else { limit };
    let contains = filter.contains.filter(|_| text.is_none());
    let filter = LogFilter { contains, limit: size.saturating_add(1), ..filter };
    let mut lines = app.read(move |conn| logs::search(conn, &filter)).await?;
    let next = cut(&mut lines, size, |line| line.id);
    let seen = seen_of(app, caller, lines.iter().map(|line| line.run).collect()).await?;
    let is_wanted = |line: &Logged| text.as_ref().is_none_or(|text| line.message.contains(text));
    lines.retain(|line| seen.contains(&line.run) && is_wanted(line));
    // More of them than a page has: the next one begins behind the last that is shown.
    let next = cut(&mut lines, limit, |line| line.id).or(next);
    Ok((lines, next))
}

/// Which runs of a rule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Again {
    /// The rule.
    rule: String,
    /// In this state: `dead`, `failed`, `cancelled`, `skipped`, `outcome-unknown`.
    #[schema(value_type = String)]
    state: RunState,
}

/// Runs.
#[derive(Debug, Serialize, ToSchema)]
struct Requeued {
    /// Those that are queued again.
    runs: Vec<RunId>,
}

/// Queue all runs of a rule again that ended in one state without effect. For administrators.
#[utoipa::path(post, path = "/api/v1/requeues", tag = "runs", request_body = Again,
    responses((status = 202, body = Requeued), Problem))]
async fn requeue(
    State(app): State<App>,
    caller: Caller,
    Body(again): Body<Again>,
) -> Result<(StatusCode, Json<Requeued>), Problem> {
    if !caller.administrator {
        return Err(Problem::denied("access-denied", "only an administrator queues all runs of a rule again"));
    }
    audit::say(format!("all runs of {} that are {}", again.rule, again.state.name()));
    let runs = app.engine().requeue(&again.rule, again.state).await?;
    Ok((StatusCode::ACCEPTED, Json(Requeued { runs })))
}

/// What was let go.
#[derive(Debug, Serialize, ToSchema)]
struct PrunedView {
    /// Runs with everything that was kept of them.
    runs: usize,
    /// Runs of which only the journal went.
    journals: usize,
    /// By how many bytes the file shrank.
    bytes: u64,
}

/// Let go what is older or more than the settings keep, now. For administrators.
#[utoipa::path(post, path = "/api/v1/prunes", tag = "runs", responses((status = 200, body = PrunedView), Problem))]
async fn prune(State(app): State<App>, caller: Caller) -> Result<Json<PrunedView>, Problem> {
    if !caller.administrator {
        return Err(Problem::denied("access-denied", "only an administrator lets runs go"));
    }
    audit::say("what is older or more than the settings keep");
    let gone = app.engine().retain().await?;
    Ok(Json(PrunedView { runs: gone.runs, journals: gone.journals, bytes: gone.bytes }))
}
