//! What administrators set while the server runs. What the operator's files say is not set here: it counts, and is changed there.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    EngineError,
    config::Retention,
    engine::Going,
    policy::{self, Part, Parts},
    retention, setting,
};
use triggerbox_llm::{
    BudgetSetting,
    config::{Budgets, Model},
    setting::ProviderSetting,
};
use triggerbox_model::value::Id;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    people::audit,
    problem::{FoundWrong, Problem},
    providers as kept, shown, told,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(policy, set_policy, unset_policy))
        .routes(routes!(kept_so_long, keep_so_long, keep_as_the_file_says))
        .routes(routes!(providers))
        .routes(routes!(set_provider, unset_provider))
        .routes(routes!(set_default_model, unset_default_model))
        .routes(routes!(budgets, set_budgets, unset_budgets))
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
    keep_policy(&app, caller.user, parts, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back what was set of the policy: it is as the configuration file says, and else as by default.
#[utoipa::path(delete, path = "/api/v1/settings/policy", tag = "settings", responses((status = 204), Problem))]
async fn unset_policy(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    keep_policy(&app, caller.user, Parts::default(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets parts of the policy, and says in the audit log what is different then. `seen`: the version that they were chosen from.
///
/// # Errors
/// `setting-refused`, with what is wrong with which part; `another-version`; what the database says.
pub(crate) async fn keep_policy(app: &App, by: Id, parts: Parts, seen: Option<String>) -> Result<(), Problem> {
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
        shown::is_still(seen.as_deref(), &told::whole_policy(&was))?;
        match parts == Parts::default() {
            true => setting::unset(conn, policy::NAME)?,
            false => setting::set(conn, policy::NAME, &parts, (by, at))?,
        }
        line.say(told::policy(&was, &policy::in_force(conn, config)?));
        Ok::<_, Problem>(())
    })
    .await
}

/// The longest time that can be set, in days: a hundred years.
pub(crate) const LONGEST: u32 = 36_525;

/// How long the past is kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct RetentionView {
    /// What is in force.
    in_force: Kept,
    /// What the configuration file says, which counts where nothing was set here.
    file: Kept,
    /// Who set it (`res.users`); absent: nobody.
    set_by: Option<Id>,
    /// When.
    set_at: Option<Timestamp>,
}

/// How long the past is kept; null: for ever, or any number. Runs that are not over are always kept.
/// Dead ones, and those whose outcome is unknown, go by their days alone, and after 365 at least.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Kept {
    /// Runs with everything that belongs to them, in days.
    #[schema(minimum = 1, maximum = 36_525)]
    days: Option<u32>,
    /// Journals, in days.
    #[schema(minimum = 1, maximum = 36_525)]
    journal_days: Option<u32>,
    /// Runs of each rule.
    #[schema(minimum = 1)]
    runs_per_rule: Option<u32>,
    /// Bytes of each rule's requests, reports, logs and journals.
    #[schema(minimum = 1)]
    bytes_per_rule: Option<u64>,
    /// Keys of deliveries and requests, by which repeated ones are told, in days.
    #[schema(minimum = 1, maximum = 36_525)]
    seen_days: u32,
}

impl From<Retention> for Kept {
    fn from(keep: Retention) -> Self {
        let Retention { days, journal_days, runs_per_rule, bytes_per_rule, seen_days } = keep;
        Self { days, journal_days, runs_per_rule, bytes_per_rule, seen_days }
    }
}

impl Kept {
    fn retention(&self) -> Result<Retention, Problem> {
        let Self { days, journal_days, runs_per_rule, bytes_per_rule, seen_days } = *self;
        let most = i64::MAX.unsigned_abs();
        let numbers = [
            ("days", days.map(u64::from), LONGEST.into()),
            ("journal-days", journal_days.map(u64::from), LONGEST.into()),
            ("runs-per-rule", runs_per_rule.map(u64::from), u32::MAX.into()),
            ("bytes-per-rule", bytes_per_rule, most),
            ("seen-days", Some(seen_days.into()), LONGEST.into()),
        ];
        let wrong = numbers.into_iter().filter(|(_, number, most)| number.is_some_and(|it| it == 0 || it > *most));
        let wrong: Vec<_> = wrong
            .map(|(place, _, most)| FoundWrong::error("out-of-range", place, format!("is a number from 1 to {most}")))
            .collect();
        if !wrong.is_empty() {
            return Err(Problem::bad_setting(wrong));
        }
        Ok(Retention { days, journal_days, runs_per_rule, bytes_per_rule, seen_days })
    }
}

/// Whether what is let go by it is meant to go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Sure {
    /// What is beyond it is gone within the hour, for good: without this, nothing is set that keeps less of anything.
    #[serde(default)]
    sure: bool,
}

/// How long the past is kept, and who said so.
#[utoipa::path(get, path = "/api/v1/settings/retention", tag = "settings",
    responses((status = 200, body = RetentionView), Problem))]
async fn kept_so_long(State(app): State<App>, _caller: Caller) -> Result<Json<RetentionView>, Problem> {
    let (file, set) = (app.engine().config().retention, app.read(retention::found).await?);
    let by = set.as_ref().and_then(|set| set.set);
    Ok(Json(RetentionView {
        in_force: set.map_or(file, |set| set.value).into(),
        file: file.into(),
        set_by: by.map(|(by, _)| by),
        set_at: by.map(|(_, at)| at),
    }))
}

/// Set how long the past is kept, in place of what the configuration file says.
#[utoipa::path(put, path = "/api/v1/settings/retention", tag = "settings", params(Sure), request_body = Kept,
    responses((status = 204), Problem))]
async fn keep_so_long(
    State(app): State<App>,
    caller: Caller,
    Asked(Sure { sure }): Asked<Sure>,
    Body(kept): Body<Kept>,
) -> Result<StatusCode, Problem> {
    let less = keep_retention(&app, caller.user, Some(kept.retention()?), sure, None).await?;
    less.map_or(Ok(StatusCode::NO_CONTENT), |less| Err(less.into()))
}

/// Take back how long the past is kept: it is as the configuration file says.
#[utoipa::path(delete, path = "/api/v1/settings/retention", tag = "settings", params(Sure),
    responses((status = 204), Problem))]
async fn keep_as_the_file_says(
    State(app): State<App>,
    caller: Caller,
    Asked(Sure { sure }): Asked<Sure>,
) -> Result<StatusCode, Problem> {
    let less = keep_retention(&app, caller.user, None, sure, None).await?;
    less.map_or(Ok(StatusCode::NO_CONTENT), |less| Err(less.into()))
}

/// Less would be kept than until now.
pub(crate) struct Less {
    /// From then on.
    pub(crate) new: Retention,
    /// Until now.
    pub(crate) was: Retention,
    /// What would be let go within the hour.
    pub(crate) going: Going,
}

impl From<Less> for Problem {
    fn from(less: Less) -> Self {
        let Going { runs, journals } = less.going;
        let detail = format!(
            "less would be kept than until now ({}): {runs} runs, and the journals of {journals} that stay, would be let go for \
             good; send it again with `?sure=true`",
            told::retention(&less.was)
        );
        Self::new(StatusCode::CONFLICT, "keeps-less", detail)
    }
}

/// Sets how long the past is kept; none: as the configuration file says. Nothing is set that keeps less, unless that is sure:
/// what would be let go then is returned. `seen`: the version that it was chosen from.
///
/// # Errors
/// `another-version`; what the database says.
pub(crate) async fn keep_retention(
    app: &App,
    by: Id,
    keep: Option<Retention>,
    sure: bool,
    seen: Option<String>,
) -> Result<Option<Less>, Problem> {
    let file = app.engine().config().retention;
    let (line, at) = (audit::here(), app.engine().clock().now());
    let was = app.read(retention::kept).await?.unwrap_or(file);
    let new = keep.unwrap_or(file);
    if shrinks(&new, &was) && !sure {
        line.forget();
        let inner = app.clone();
        let going = app.blocking(move || Ok(inner.engine().going(&new)?)).await?;
        return Ok(Some(Less { new, was, going }));
    }
    app.write(move |conn| {
        let was = retention::kept(conn)?.unwrap_or(file);
        shown::is_still(seen.as_deref(), &told::retention(&was))?;
        retention::set(conn, keep, (by, at))?;
        let source = if keep.is_some() { "" } else { "as the configuration file says: " };
        line.say(format!("{source}{}; before: {}", told::retention(&new), told::retention(&was)));
        Ok::<_, Problem>(())
    })
    .await?;
    Ok(None)
}

/// Whether less is kept of anything.
fn shrinks(new: &Retention, was: &Retention) -> bool {
    let most = |number: Option<u32>| number.map_or(u64::MAX, u64::from);
    let all = |keep: &Retention| {
        let (days, journals, runs) = (most(keep.days), most(keep.journal_days), most(keep.runs_per_rule));
        [days, journals, runs, keep.bytes_per_rule.unwrap_or(u64::MAX), keep.seen_days.into()]
    };
    all(new).into_iter().zip(all(was)).any(|(new, was)| new < was)
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

/// What runs may use of language models together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct BudgetsView {
    /// What is in force for runs that begin now: `root`, `rule-day` and `server-day`, each with `calls`, `tokens` and `cost`.
    #[schema(value_type = Object)]
    in_force: Budgets,
    /// What the providers file says: nothing else can be set of these.
    #[schema(value_type = Object)]
    fixed: BudgetSetting,
    /// What was set here; the others are as by default.
    #[schema(value_type = Object)]
    set: BudgetSetting,
    /// Who set it (`res.users`); absent: nobody.
    set_by: Option<Id>,
    /// When.
    set_at: Option<Timestamp>,
}

/// What runs may use of language models together: the budgets in force, and who says so.
#[utoipa::path(get, path = "/api/v1/settings/budgets", tag = "settings",
    responses((status = 200, body = BudgetsView), Problem))]
async fn budgets(State(app): State<App>, _caller: Caller) -> Result<Json<BudgetsView>, Problem> {
    let (set, by) = app.read(kept::kept_budgets).await?.map_or_else(Default::default, |kept| (kept.value, kept.set));
    Ok(Json(BudgetsView {
        in_force: kept::budgets(&app, &set),
        fixed: kept::of_file(&app).said,
        set,
        set_by: by.map(|(by, _)| by),
        set_at: by.map(|(_, at)| at),
    }))
}

/// Set budgets, in place of all that were set before; the others are as by default. They are in force for runs that begin from now
/// on; what was spent before counts.
#[utoipa::path(put, path = "/api/v1/settings/budgets", tag = "settings",
    request_body(content = Object, description = "`root`, `rule-day` and `server-day`, or some of them, each with `calls`, `tokens` and \
    `cost` (euros)"), responses((status = 204), Problem))]
async fn set_budgets(
    State(app): State<App>,
    caller: Caller,
    Body(set): Body<BudgetSetting>,
) -> Result<StatusCode, Problem> {
    kept::set_budgets(&app, caller.user, set, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back budgets that were set: they are as the providers file says, and else as by default.
#[utoipa::path(delete, path = "/api/v1/settings/budgets", tag = "settings", responses((status = 204), Problem))]
async fn unset_budgets(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    kept::set_budgets(&app, caller.user, BudgetSetting::default(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}
