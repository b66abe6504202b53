//! Scripts: uploads, their versions, and which one is active.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    EngineError,
    config::Compile,
    rule::{ScriptRef, Version as Wanted, stored::Outcome},
    scripts::{
        ScriptVersion,
        binding::{self, Switched},
        registry, upload,
    },
};
use triggerbox_model::value::Id;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::{After, Page};
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    people::audit,
    problem::Problem,
    told,
};

/// The routes. Uploads may be larger than other bodies.
pub(super) fn routes(max_upload: usize) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, store))
        .route_layer(DefaultBodyLimit::max(max_upload))
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(component))
        .routes(routes!(activate))
        .routes(routes!(deactivate))
        .routes(routes!(roll_back))
}

/// One version of a script.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ScriptView {
    /// The name in its manifest.
    name: String,
    /// The author's version.
    version: String,
    /// The component's SHA-256: its identity.
    hash: String,
    /// Who uploaded it (`res.users`).
    uploaded_by: Id,
    /// When.
    at: Timestamp,
    /// Bytes of the component.
    size: u64,
    /// Whether `latest` means this one.
    active: bool,
    /// Interfaces of the contract that it imports.
    imports: Vec<String>,
    /// What it says about itself.
    #[schema(value_type = Object)]
    manifest: Object,
}

impl ScriptView {
    fn of(version: ScriptVersion) -> Result<Self, Problem> {
        Ok(Self {
            manifest: serde_json::to_value(&version.manifest)?,
            name: version.name,
            version: version.version,
            hash: version.hash.to_string(),
            uploaded_by: version.uploaded_by,
            at: version.at,
            size: version.size,
            active: version.active,
            imports: version.imports,
        })
    }
}

/// Versions of scripts.
#[derive(Debug, Serialize, ToSchema)]
struct ScriptList {
    /// By name, the newest first.
    scripts: Vec<ScriptView>,
    /// `after` of the next page; none: this was the last one.
    next: Option<String>,
}

/// All versions of all scripts.
#[utoipa::path(get, path = "/api/v1/scripts", tag = "scripts", params(After),
    responses((status = 200, body = ScriptList), Problem))]
async fn list(State(app): State<App>, _caller: Caller, Asked(page): Asked<After>) -> Result<Json<ScriptList>, Problem> {
    let (scripts, next) = paged(&page, app.read(registry::all).await?)?;
    Ok(Json(ScriptList { scripts, next }))
}

/// Versions stay for ever, and each is known by its hash.
fn paged(page: &After, versions: Vec<ScriptVersion>) -> Result<Page<ScriptView>, Problem> {
    let versions = versions.into_iter().map(ScriptView::of).collect::<Result<Vec<_>, _>>()?;
    page.of_places(versions, |one| &one.hash)
}

/// What was uploaded.
#[derive(Debug, Serialize, ToSchema)]
struct Uploaded {
    /// The version.
    script: ScriptView,
    /// `created`; `unchanged`: exactly this was there already.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// What will not work at run time, or is worth knowing.
    warnings: Vec<String>,
}

/// Upload a component. The first version of a name becomes the active one; again the same bytes: nothing changes.
#[utoipa::path(post, path = "/api/v1/scripts", tag = "scripts",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = Uploaded), (status = 201, body = Uploaded), Problem))]
async fn store(
    State(app): State<App>,
    caller: Caller,
    component: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let component = component.map_err(|error| Problem::new(error.status(), "body-too-large", error.body_text()))?;
    let Taken { version, is_new, warnings } = take_in(&app, caller.user, component.to_vec()).await?;
    let (status, outcome) = match is_new {
        true => (StatusCode::CREATED, Outcome::Created),
        false => (StatusCode::OK, Outcome::Unchanged),
    };
    Ok((status, Json(Uploaded { script: ScriptView::of(version)?, outcome, warnings })))
}

/// An upload that was taken in.
pub(crate) struct Taken {
    /// The version that it is.
    pub(crate) version: ScriptVersion,
    /// Whether it was not there before.
    pub(crate) is_new: bool,
    /// What is worth knowing about it.
    pub(crate) warnings: Vec<String>,
}

/// Looks into an upload, compiles it, and keeps it, if it is not there already.
pub(crate) async fn take_in(app: &App, by: Id, component: Vec<u8>) -> Result<Taken, Problem> {
    let upload = app.blocking(move || Ok(upload::inspect(component)?)).await?;
    // Compiled before it is kept: what cannot run here is no version.
    if let Compile::Bounded(bounded) = &app.engine().config().compile {
        let ready = app.sandbox().prepare(&upload.component, bounded.cache.as_ref(), &bounded.compiler).await;
        ready.map_err(|error| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "broken-script", format!("it does not compile: {error}"))
        })?;
    }
    let warnings = upload.warnings.clone();
    let now = app.engine().clock().now();
    let line = audit::here();
    let (version, is_new) = app
        .write(move |conn| {
            let is_new = !registry::is_kept(conn, upload.hash)?;
            let version = registry::store(conn, &upload, by, now)?;
            line.say(told::uploaded(&version, is_new));
            Ok::<_, EngineError>((version, is_new))
        })
        .await?;
    Ok(Taken { version, is_new, warnings })
}

/// What was active when.
#[derive(Debug, Serialize, ToSchema)]
struct ActivationView {
    /// The version; none: the script was switched off.
    hash: Option<String>,
    /// When.
    at: Timestamp,
    /// Who did it (`res.users`).
    by: Id,
}

/// A script's history.
#[derive(Debug, Serialize, ToSchema)]
struct History {
    /// The newest first.
    versions: Vec<ScriptView>,
    /// The newest first: at most as many as a page has versions.
    activations: Vec<ActivationView>,
    /// `after` of the next page of versions; none: this was the last one.
    next: Option<String>,
}

/// All versions of a script, and what was active when.
#[utoipa::path(get, path = "/api/v1/scripts/{name}", tag = "scripts", params(("name" = String, Path), After),
    responses((status = 200, body = History), Problem))]
async fn versions(
    State(app): State<App>,
    _caller: Caller,
    At(name): At<String>,
    Asked(page): Asked<After>,
) -> Result<Json<History>, Problem> {
    let (versions, activations) = app
        .read(move |conn| {
            Ok::<_, triggerbox_automation::scripts::RegistryError>((
                registry::versions(conn, &name)?,
                registry::history(conn, &name)?,
            ))
        })
        .await?;
    let (versions, next) = paged(&page, versions)?;
    let activations = activations.into_iter().take(page.size()).map(|one| ActivationView {
        hash: one.hash.map(|hash| hash.to_string()),
        at: one.at,
        by: one.by,
    });
    Ok(Json(History { versions, activations: activations.collect(), next }))
}

pub(crate) fn wanted(name: String, hash: String) -> Result<ScriptRef, Problem> {
    let plain =
        (8..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !plain {
        return Err(Problem::invalid("bad-hash", "a version is named by the first 8 to 64 digits of its hash"));
    }
    Ok(ScriptRef { name, version: Wanted::Hash(hash) })
}

/// One version, by the beginning of its hash.
#[utoipa::path(get, path = "/api/v1/scripts/{name}/versions/{hash}", tag = "scripts",
    params(("name" = String, Path), ("hash" = String, Path)),
    responses((status = 200, body = ScriptView), Problem))]
async fn version(
    State(app): State<App>,
    _caller: Caller,
    At((name, hash)): At<(String, String)>,
) -> Result<Json<ScriptView>, Problem> {
    let wanted = wanted(name, hash)?;
    Ok(Json(ScriptView::of(app.read(move |conn| registry::resolve(conn, &wanted)).await?)?))
}

/// The component of a version.
#[utoipa::path(get, path = "/api/v1/scripts/{name}/versions/{hash}/component", tag = "scripts",
    params(("name" = String, Path), ("hash" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/wasm"), Problem))]
async fn component(
    State(app): State<App>,
    _caller: Caller,
    At((name, hash)): At<(String, String)>,
) -> Result<Response, Problem> {
    let wanted = wanted(name, hash)?;
    let file = format!("attachment; filename=\"{}.wasm\"", wanted.name);
    let bytes = app
        .read(move |conn| registry::resolve(conn, &wanted).and_then(|version| registry::component(conn, version.hash)))
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm".to_owned()), (header::CONTENT_DISPOSITION, file)], bytes)
        .into_response())
}

/// A version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The beginning of its hash.
    hash: String,
}

/// What a switch did to rules that want `latest`.
#[derive(Debug, Serialize, ToSchema)]
struct SwitchedView {
    /// The version that is active now.
    script: ScriptView,
    /// Rules that run it from now on.
    moved: Vec<String>,
    /// Rules that stay where they are until somebody agrees.
    held: Vec<HeldView>,
}

/// A rule that does not move by itself.
#[derive(Debug, Serialize, ToSchema)]
struct HeldView {
    /// The rule.
    rule: String,
    /// Why.
    why: String,
}

impl SwitchedView {
    fn of((version, switched): (ScriptVersion, Switched)) -> Result<Json<Self>, Problem> {
        let held = switched.held.into_iter().map(|one| HeldView { rule: one.rule, why: one.why });
        Ok(Json(Self { script: ScriptView::of(version)?, moved: switched.moved, held: held.collect() }))
    }
}

/// Make a version the active one. Rules that want `latest` move with it, if it asks for nothing more.
#[utoipa::path(post, path = "/api/v1/scripts/{name}/activate", tag = "scripts", params(("name" = String, Path)),
    request_body = Which, responses((status = 200, body = SwitchedView), Problem))]
async fn activate(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(body): Body<Which>,
) -> Result<Json<SwitchedView>, Problem> {
    let wanted = wanted(name, body.hash)?;
    let (by, now) = (caller.user, app.engine().clock().now());
    let schema = app.engine().database().schema().clone();
    let line = audit::here();
    let switched = app
        .write(move |conn| {
            let version = registry::resolve(conn, &wanted)?;
            let switched = binding::activate(conn, &schema, &version, by, now)?;
            line.say(told::switched(&version, &switched));
            Ok::<_, EngineError>((registry::version(conn, version.hash, &version.name)?, switched))
        })
        .await?;
    SwitchedView::of(switched)
}

/// Switch a script off: rules that want its `latest` do not run until a version is active again.
#[utoipa::path(post, path = "/api/v1/scripts/{name}/deactivate", tag = "scripts", params(("name" = String, Path)),
    responses((status = 204), Problem))]
async fn deactivate(State(app): State<App>, caller: Caller, At(name): At<String>) -> Result<StatusCode, Problem> {
    switched_off(&app, name, caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Switches a script off.
pub(crate) async fn switched_off(app: &App, name: String, by: Id) -> Result<(), Problem> {
    let (now, line) = (app.engine().clock().now(), audit::here());
    app.write(move |conn| {
        let active = registry::versions(conn, &name)?.into_iter().find(|version| version.active);
        line.say(active.map_or_else(|| format!("{name} was off"), |version| told::version(&version)));
        Ok::<_, EngineError>(binding::deactivate(conn, &name, by, now)?)
    })
    .await
}

/// Make the version active that was so before the present one.
#[utoipa::path(post, path = "/api/v1/scripts/{name}/roll-back", tag = "scripts", params(("name" = String, Path)),
    responses((status = 200, body = SwitchedView), Problem))]
async fn roll_back(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
) -> Result<Json<SwitchedView>, Problem> {
    let (by, now, line) = (caller.user, app.engine().clock().now(), audit::here());
    let schema = app.engine().database().schema().clone();
    let switched = app
        .write(move |conn| {
            let (version, switched) = binding::roll_back(conn, &schema, &name, by, now)?;
            line.say(told::switched(&version, &switched));
            Ok::<_, EngineError>((registry::version(conn, version.hash, &version.name)?, switched))
        })
        .await?;
    SwitchedView::of(switched)
}
