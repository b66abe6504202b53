//! What administrators set while the server runs. What the operator's files say is not set here: it counts, and is changed there.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    EngineError,
    policy::{self, Part, Parts},
    setting,
};
use triggerbox_llm::{config::Model, setting::ProviderSetting};
use triggerbox_model::value::Id;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    extract::{At, Body},
    people::audit,
    problem::{FoundWrong, Problem},
    providers as kept, told,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(policy, set_policy, unset_policy))
        .routes(routes!(providers))
        .routes(routes!(set_provider, unset_provider))
        .routes(routes!(set_default_model, unset_default_model))
}

/// The policy: what nobody's script may do unless a rule grants it by name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct PolicyView {
    /// What is in force for runs that begin now.
    in_force: Parts,
    /// What the configuration file says: nothing else can be set of these.
    fixed: Parts,
    /// What was set here; it counts where the file says nothing.
    set: Parts,
    /// By whom (`res.users`).
    set_by: Option<Id>,
    /// When.
    set_at: Option<Timestamp>,
}

/// The policy that is in force, and where each part of it comes from.
#[utoipa::path(get, path = "/api/v1/settings/policy", tag = "settings",
    responses((status = 200, body = PolicyView), Problem))]
async fn policy(State(app): State<App>, _caller: Caller) -> Result<Json<PolicyView>, Problem> {
    let inner = app.clone();
    let view = app.read(move |conn| {
        let config = inner.engine().config();
        let (set, by) = policy::kept(conn)?.map_or_else(Default::default, |kept| (kept.value, kept.set));
        Ok::<_, EngineError>(PolicyView {
            in_force: Parts::all_of(policy::in_force(conn, config)?),
            fixed: config.fixed.clone(),
            set,
            set_by: by.map(|(by, _)| by),
            set_at: by.map(|(_, at)| at),
        })
    });
    Ok(Json(view.await?))
}

/// Set parts of the policy, in place of all that was set before; the others are as by default. It is in force at once: runs
/// that have begun keep what they began with.
#[utoipa::path(put, path = "/api/v1/settings/policy", tag = "settings", request_body = Parts,
    responses((status = 204), Problem))]
async fn set_policy(State(app): State<App>, caller: Caller, Body(parts): Body<Parts>) -> Result<StatusCode, Problem> {
    keep_policy(&app, caller.user, parts).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back what was set of the policy: it is as the configuration file says, and else as by default.
#[utoipa::path(delete, path = "/api/v1/settings/policy", tag = "settings", responses((status = 204), Problem))]
async fn unset_policy(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    keep_policy(&app, caller.user, Parts::default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets parts of the policy, and says in the audit log what is different then.
///
/// # Errors
/// `setting-refused`, with what is wrong with which part; what the database says.
pub(crate) async fn keep_policy(app: &App, by: Id, parts: Parts) -> Result<(), Problem> {
    let (fixed, file) = (&app.engine().config().fixed, app.config().name());
    let set_there = Part::ALL.into_iter().filter(|part| fixed.says(*part) && parts.says(*part));
    let set_there = set_there
        .map(|part| FoundWrong::error("set-in-file", part.name(), format!("is set in {file}, and changed there")));
    let wrong = parts.wrong().into_iter().map(|(part, why)| FoundWrong::error("bad-pattern", part.name(), why));
    let wrong: Vec<_> = set_there.chain(wrong).collect();
    if !wrong.is_empty() {
        return Err(Problem::bad_setting(wrong));
    }
    let (inner, line, at) = (app.clone(), audit::here(), app.engine().clock().now());
    app.write(move |conn| {
        let config = inner.engine().config();
        let was = policy::in_force(conn, config)?;
        match parts == Parts::default() {
            true => setting::unset(conn, policy::NAME)?,
            false => setting::set(conn, policy::NAME, &parts, (by, at))?,
        }
        line.say(told::policy(&was, &policy::in_force(conn, config)?));
        Ok::<_, EngineError>(())
    })
    .await
}

/// A provider of language models.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ProviderView {
    /// Its name.
    name: String,
    /// Whether it is in the providers file: it is changed there.
    in_file: bool,
    /// Its models, `PROVIDER/MODEL`.
    models: Vec<String>,
    /// What was set here.
    #[schema(value_type = Option<Object>)]
    setting: Option<Object>,
    /// Why it is not asked; none: it is.
    aside: Option<String>,
    /// Who set it (`res.users`).
    set_by: Option<Id>,
    /// When.
    set_at: Option<Timestamp>,
}

/// Providers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ProviderList {
    /// Those of the file, then those that were set here.
    providers: Vec<ProviderView>,
    /// The model that those ask who name none.
    default_model: Option<String>,
    /// Whether the providers file says so: it is changed there.
    default_model_in_file: bool,
}

/// Where language models are asked. Keys are never told.
#[utoipa::path(get, path = "/api/v1/settings/providers", tag = "settings",
    responses((status = 200, body = ProviderList), Problem))]
async fn providers(State(app): State<App>, _caller: Caller) -> Result<Json<ProviderList>, Problem> {
    let file = kept::of_file(&app);
    let models = |provider: &str, models: &[Model]| -> Vec<String> {
        models.iter().map(|model| format!("{provider}/{}", model.name)).collect()
    };
    let of_file = file.providers.iter().map(|one| ProviderView {
        name: one.name.clone(),
        in_file: true,
        models: models(&one.name, &one.models),
        setting: None,
        aside: None,
        set_by: None,
        set_at: None,
    });
    let mut providers: Vec<_> = of_file.collect();
    for one in kept::kept(&app).await? {
        let setting = one.setting;
        providers.push(ProviderView {
            in_file: false,
            models: models(&one.name, &setting.value.models),
            name: one.name,
            setting: Some(serde_json::to_value(&setting.value)?),
            aside: one.aside,
            set_by: setting.set.map(|(by, _)| by),
            set_at: setting.set.map(|(_, at)| at),
        });
    }
    let services = app.engine().services();
    let default = services.as_ref().and_then(|services| services.models.config().find(None));
    Ok(Json(ProviderList {
        providers,
        default_model: default.map(|(provider, model)| format!("{}/{}", provider.name, model.name)),
        default_model_in_file: file.default_model.is_some(),
    }))
}

/// Set a provider, or what is different of the one of that name: with its key as the name of a secret. Runs that begin from now
/// on ask it; those that have begun ask whom they began with.
#[utoipa::path(put, path = "/api/v1/settings/providers/{name}", tag = "settings", params(("name" = String, Path)),
    request_body(content = Object, description = "what a `[[providers]]` of the providers file says, without `name`; `key` is the \
    name of a secret, `private` says that the address is not a public one, `rate` how many euros one unit of the currency is"),
    responses((status = 204), Problem))]
async fn set_provider(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(setting): Body<ProviderSetting>,
) -> Result<StatusCode, Problem> {
    kept::set(&app, &caller, &name, setting, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back a provider that was set. Runs that name its models fail from then on.
#[utoipa::path(delete, path = "/api/v1/settings/providers/{name}", tag = "settings", params(("name" = String, Path)),
    responses((status = 204), Problem))]
async fn unset_provider(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<StatusCode, Problem> {
    kept::unset(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The model that those ask who name none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DefaultModel {
    /// `PROVIDER/MODEL`.
    model: String,
}

/// Set the model that those ask who name none.
#[utoipa::path(put, path = "/api/v1/settings/default-model", tag = "settings", request_body = DefaultModel,
    responses((status = 204), Problem))]
async fn set_default_model(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<DefaultModel>,
) -> Result<StatusCode, Problem> {
    kept::set_default_model(&app, &caller, Some(body.model)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take that back: it is what the providers file says, and else the first model there is.
#[utoipa::path(delete, path = "/api/v1/settings/default-model", tag = "settings", responses((status = 204), Problem))]
async fn unset_default_model(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    kept::set_default_model(&app, &caller, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
