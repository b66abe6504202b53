//! Records, so that a change can come from outside. The token's user's rights bind every call, and rules fire. Where the
//! records are on an Odoo server, only the people who sign in here and their groups are.

use axum::extract::State;
use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Object};
use triggerbox_automation::{Changed, Origin};
use triggerbox_model::{
    call::{Answer, BodyFormat, Call, DomainSource, Message, Page, WITH_CONTEXT},
    error::Error,
    value::{Id, RecordRef},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::fields;
use crate::{
    app::{App, failed},
    auth::Caller,
    extract::{Asked, At, Body},
    problem::Problem,
    values,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search, create))
        .routes(routes!(read, write, unlink))
        .routes(routes!(count))
        .routes(routes!(fields::describe))
        .routes(routes!(call))
        .routes(routes!(post))
        .routes(routes!(draft))
}

/// Models whose records are here though the others are on an Odoo server: who may sign in, and as what.
const HERE: [&str; 2] = ["res.users", "res.groups"];

/// Refuses what would be answered from here, and changed here, though the records are on an Odoo server.
pub(super) fn are_here(app: &App, model: &str) -> Result<(), Problem> {
    if app.engine().odoo().is_none() || HERE.contains(&model) {
        return Ok(());
    }
    let text = format!(
        "the records of `{model}` are on the odoo server: read and change them there; here are only those of {}",
        HERE.join(" and ")
    );
    Err(Error::rejected("records-elsewhere", text).into())
}

/// Most records of one answer.
const MOST: u32 = 1_000;

/// Which records, and what of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Search {
    /// A domain in Odoo's notation.
    #[serde(default = "all")]
    #[param(default = "[]", example = "[('stage_id.name', '=', 'New')]")]
    domain: String,
    /// Fields to read, separated by commas.
    #[serde(default = "display_name")]
    #[param(default = "display_name", example = "name,partner_id")]
    fields: String,
    /// `name desc, id`; the model's own when absent.
    order: Option<String>,
    /// Records to skip.
    #[serde(default)]
    offset: u32,
    /// Most records, from 1 to 1,000.
    #[serde(default = "eighty")]
    #[param(default = 80)]
    limit: u32,
    /// Also archived records.
    #[serde(default)]
    archived: bool,
}

fn all() -> String {
    "[]".to_owned()
}

fn display_name() -> String {
    "display_name".to_owned()
}

fn eighty() -> u32 {
    80
}

pub(super) fn names(fields: &str) -> Vec<String> {
    fields.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Records that were found.
#[derive(Debug, Serialize, ToSchema)]
struct Found {
    /// Each with its `id` and the fields that were asked for.
    #[schema(value_type = Vec<Object>)]
    records: Vec<Map<String, Object>>,
    /// Where the next page starts; none: this was the last one.
    next_offset: Option<u32>,
}

/// Find records.
#[utoipa::path(get, path = "/api/v1/records/{model}", tag = "records", params(("model" = String, Path), Search),
    responses((status = 200, body = Found), Problem))]
async fn search(
    State(app): State<App>,
    caller: Caller,
    At(model): At<String>,
    Asked(search): Asked<Search>,
) -> Result<Json<Found>, Problem> {
    are_here(&app, &model)?;
    let limit = search.limit.clamp(1, MOST);
    let fields = names(&search.fields);
    let page = Page {
        offset: search.offset,
        limit: Some(limit.saturating_add(1)),
        order: search.order,
        archived: search.archived,
    };
    let domain = DomainSource::Literal(search.domain);
    let call = Call::SearchRead { model, domain, fields: fields.clone(), page };
    let Answer::Rows(mut rows) = app.ask(caller.user, call).await? else { return Err(failed()) };
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(Found {
        records: rows.iter().map(|row| values::record(row, &fields)).collect(),
        next_offset: more.then(|| search.offset.saturating_add(limit)),
    }))
}

/// Which fields.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// Fields to read, separated by commas.
    #[serde(default = "display_name")]
    #[param(default = "display_name")]
    fields: String,
}

/// Read one record.
#[utoipa::path(get, path = "/api/v1/records/{model}/{id}", tag = "records",
    params(("model" = String, Path), ("id" = u32, Path), Fields),
    responses((status = 200, body = Object, description = "`id` and the fields that were asked for"), Problem))]
async fn read(
    State(app): State<App>,
    caller: Caller,
    At((model, id)): At<(String, Id)>,
    Asked(asked): Asked<Fields>,
) -> Result<Json<Map<String, Object>>, Problem> {
    are_here(&app, &model)?;
    let fields = names(&asked.fields);
    let call = Call::Read { model: model.clone(), ids: vec![id], fields: fields.clone() };
    let Answer::Rows(rows) = app.ask(caller.user, call).await? else { return Err(failed()) };
    let row = rows.first().ok_or_else(|| Problem::not_found("missing-record", format!("there is no {model}({id})")))?;
    Ok(Json(values::record(row, &fields)))
}

/// How many.
#[derive(Debug, Serialize, ToSchema)]
struct Count {
    /// Records that match.
    count: u32,
}

/// A domain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// A domain in Odoo's notation.
    #[serde(default = "all")]
    #[param(default = "[]")]
    domain: String,
    /// Also archived records.
    #[serde(default)]
    archived: bool,
}

/// Count records.
#[utoipa::path(get, path = "/api/v1/counts/{model}", tag = "records", params(("model" = String, Path), Which),
    responses((status = 200, body = Count), Problem))]
async fn count(
    State(app): State<App>,
    caller: Caller,
    At(model): At<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<Count>, Problem> {
    are_here(&app, &model)?;
    let asked = app.clone();
    let count = move || {
        let mut session = asked.session(caller.user)?;
        if which.archived {
            session.call(with_archived(&model))??;
        }
        Ok(session.call(Call::SearchCount { model, domain: DomainSource::Literal(which.domain) })??)
    };
    let Answer::Count(count) = app.blocking(count).await? else { return Err(failed()) };
    Ok(Json(Count { count }))
}

/// Has archived records be found, too.
fn with_archived(model: &str) -> Call {
    Call::CallMethod {
        model: model.to_owned(),
        ids: Vec::new(),
        method: WITH_CONTEXT.to_owned(),
        arguments_json: r#"{"context": {"active_test": false}}"#.to_owned(),
    }
}

/// What a change did.
#[derive(Debug, Serialize, ToSchema)]
struct Done {
    /// Records that are new.
    ids: Vec<Id>,
    /// Runs that rules made of it.
    runs: Vec<i64>,
    /// The change in words and as data.
    #[schema(value_type = Object)]
    diff: Object,
}

impl Done {
    fn of(changed: Changed) -> Result<Json<Self>, Problem> {
        let ids = changed.answers.into_iter().flat_map(|answer| match answer {
            Answer::Ids(ids) => ids,
            Answer::Id(id) => vec![id],
            _ => Vec::new(),
        });
        let ids = ids.collect();
        Ok(Json(Self { ids, runs: changed.runs, diff: serde_json::to_value(changed.committed.diff)? }))
    }
}

async fn change(app: &App, caller: &Caller, call: Call) -> Result<Json<Done>, Problem> {
    are_here(app, call.model().unwrap_or_default())?;
    Done::of(app.engine().change(Origin::user(caller.user), vec![call]).await?)
}

fn typed(
    app: &App,
    model: &str,
    object: &Map<String, Object>,
) -> Result<Vec<triggerbox_model::value::FieldValue>, Problem> {
    are_here(app, model)?;
    Ok(values::read(app.engine().database().schema().model(model)?, object)?)
}

/// New records.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// One object for each: fields with their values.
    #[schema(value_type = Vec<Object>, example = json!([{ "name": "Chairs", "partner_id": 7 }]))]
    records: Vec<Map<String, Object>>,
}

/// Create records.
#[utoipa::path(post, path = "/api/v1/records/{model}", tag = "records", params(("model" = String, Path)),
    request_body = Create, responses((status = 201, body = Done), Problem))]
async fn create(
    State(app): State<App>,
    caller: Caller,
    At(model): At<String>,
    Body(body): Body<Create>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    if body.records.is_empty() {
        return Err(Problem::invalid("no-records", "`records` is empty: say what is to be created"));
    }
    let values = body.records.iter().map(|record| typed(&app, &model, record)).collect::<Result<_, _>>()?;
    Ok((StatusCode::CREATED, change(&app, &caller, Call::Create { model, values }).await?))
}

/// Change a record: only the fields that are named.
#[utoipa::path(patch, path = "/api/v1/records/{model}/{id}", tag = "records",
    params(("model" = String, Path), ("id" = u32, Path)),
    request_body(content = Object, example = json!({ "priority": "2" })),
    responses((status = 200, body = Done), Problem))]
async fn write(
    State(app): State<App>,
    caller: Caller,
    At((model, id)): At<(String, Id)>,
    Body(body): Body<Map<String, Object>>,
) -> Result<Json<Done>, Problem> {
    let values = typed(&app, &model, &body)?;
    change(&app, &caller, Call::Write { model, ids: vec![id], values }).await
}

/// Delete a record.
#[utoipa::path(delete, path = "/api/v1/records/{model}/{id}", tag = "records",
    params(("model" = String, Path), ("id" = u32, Path)), responses((status = 200, body = Done), Problem))]
async fn unlink(
    State(app): State<App>,
    caller: Caller,
    At((model, id)): At<(String, Id)>,
) -> Result<Json<Done>, Problem> {
    change(&app, &caller, Call::Unlink { model, ids: vec![id] }).await
}

/// A business method.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Method {
    /// The records.
    ids: Vec<Id>,
    /// Arguments by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Object>,
}

/// Call a business method of records.
#[utoipa::path(post, path = "/api/v1/methods/{model}/{method}", tag = "records",
    params(("model" = String, Path), ("method" = String, Path)),
    request_body = Method, responses((status = 200, body = Done), Problem))]
async fn call(
    State(app): State<App>,
    caller: Caller,
    At((model, method)): At<(String, String)>,
    Body(body): Body<Method>,
) -> Result<Json<Done>, Problem> {
    let arguments_json = serde_json::to_string(&body.arguments)?;
    change(&app, &caller, Call::CallMethod { model, ids: body.ids, method, arguments_json }).await
}

/// A message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Post {
    /// Plain text.
    body: String,
    /// Internal: the record's followers are not told.
    #[serde(default)]
    note: bool,
    /// Subject line.
    subject: Option<String>,
}

/// Post a message or a note on a record's chatter.
#[utoipa::path(post, path = "/api/v1/records/{model}/{id}/messages", tag = "records",
    params(("model" = String, Path), ("id" = u32, Path)), request_body = Post,
    responses((status = 201, body = Done), Problem))]
async fn post(
    State(app): State<App>,
    caller: Caller,
    At((model, id)): At<(String, Id)>,
    Body(body): Body<Post>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let target = RecordRef::new(model, id);
    let message = Message {
        body: body.body,
        format: BodyFormat::Text,
        subject: body.subject,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    };
    let call = match body.note {
        true => Call::PostNote { target, message },
        false => Call::PostMessage { target, message },
    };
    Ok((StatusCode::CREATED, change(&app, &caller, call).await?))
}

/// A form that is not saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// The record that it is of; absent for one that is not created yet.
    #[serde(default)]
    id: Id,
    /// All values of the form.
    #[schema(value_type = Object)]
    values: Map<String, Object>,
    /// The fields that were edited.
    edited: Vec<String>,
}

/// What rules say to it.
#[derive(Debug, Serialize, ToSchema)]
struct Advice {
    /// Values for the form.
    #[schema(value_type = Object)]
    values: Map<String, Object>,
    /// What to show beside it.
    warnings: Vec<String>,
}

/// Ask the rules on change what they say to a form that is not saved. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/drafts/{model}", tag = "records", params(("model" = String, Path)),
    request_body = Draft, responses((status = 200, body = Advice), Problem))]
async fn draft(
    State(app): State<App>,
    caller: Caller,
    At(model): At<String>,
    Body(body): Body<Draft>,
) -> Result<Json<Advice>, Problem> {
    // What rules say to it, they say with their own rights.
    let of: Vec<Id> = Some(body.id).filter(|id| *id > 0).into_iter().collect();
    if !app.may_read(caller.user, &model, &of).await? {
        let text = format!("there is no {model}({}), or you may not read it", body.id);
        return Err(Problem::not_found("missing-record", text));
    }
    let draft = triggerbox_model::value::Snapshot { id: body.id, fields: typed(&app, &model, &body.values)? };
    let answer = app.engine().draft(caller.user, &model, &draft, &body.edited).await?;
    Ok(Json(Advice { values: values::told_all(&answer.values), warnings: answer.warnings }))
}
