//! Rules: what they say, their versions, and running them by hand.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    diagnose::Cause,
    rule::{
        Ground, Rule,
        apply::{self, Planned, Step},
        check::check,
        diff::{self, Difference},
        file, model_change,
        stored::{self, Edit, Outcome, Ownership, Saved, Stored, VersionState},
    },
};
use triggerbox_model::{call::Operation, event::Trigger, value::Id};
use triggerbox_store::db::DbError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    paging::{After, Before},
    runs::seen_of,
};
use crate::{
    app::App,
    auth::Caller,
    extract::{Asked, At, Body},
    people::audit,
    problem::{FoundWrong, Problem},
    told,
};

/// Routes that change what rules say, and those that look at it.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, apply))
        .routes(routes!(get, put, delete))
        .routes(routes!(as_file))
        .routes(routes!(checked))
        .routes(routes!(versions))
        .routes(routes!(differences))
        .routes(routes!(diagnosis))
        .routes(routes!(restore))
        .routes(routes!(set_model))
        .routes(routes!(decide))
}

/// Routes that have rules do something.
pub(super) fn operate() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pause)).routes(routes!(resume)).routes(routes!(run)).routes(routes!(backfill))
}

/// One rule of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct RuleHead {
    /// Its key.
    name: String,
    /// What people call it.
    title: String,
    /// The model that it is bound to.
    model: Option<String>,
    /// What fires it, `created-or-updated`.
    trigger: String,
    /// Inactive rules never fire.
    active: bool,
    /// Why it does not fire though it is active.
    paused: Option<String>,
    /// Whose rights it has when it names nobody (`res.users`).
    owner: Id,
    /// Not bound by any user's rights.
    superuser: bool,
    /// The version that counts.
    version: u32,
}

impl From<Stored> for RuleHead {
    fn from(stored: Stored) -> Self {
        let rule = stored.rule;
        let trigger = serde_json::to_value(&rule.trigger).ok();
        let trigger = trigger.and_then(|json| json.get("on")?.as_str().map(str::to_owned)).unwrap_or_default();
        Self {
            title: if rule.title.is_empty() { rule.name.clone() } else { rule.title },
            name: rule.name,
            model: rule.model,
            trigger,
            active: rule.active,
            paused: stored.paused,
            owner: stored.owner,
            superuser: rule.superuser,
            version: stored.version,
        }
    }
}

/// Rules.
#[derive(Debug, Serialize, ToSchema)]
struct RuleList {
    /// By name.
    rules: Vec<RuleHead>,
    /// `after` of the next page; none: this was the last one.
    next: Option<String>,
}

/// List the rules.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", params(After),
    responses((status = 200, body = RuleList), Problem))]
async fn list(State(app): State<App>, _caller: Caller, Asked(page): Asked<After>) -> Result<Json<RuleList>, Problem> {
    let (from, most) = page.wanted();
    let rules = app.read(move |conn| stored::from(conn, &from, most)).await?;
    let (rules, next) = page.of_names(rules, |one| &one.rule.name);
    Ok(Json(RuleList { rules: rules.into_iter().map(RuleHead::from).collect(), next }))
}

/// A rule as it is kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct RuleView {
    /// The version that counts.
    version: u32,
    /// Whose rights it has when it names nobody (`res.users`).
    owner: Id,
    /// Why it does not fire though it is active.
    paused: Option<String>,
    /// What it says: the JSON form of its file.
    #[schema(value_type = Rule)]
    rule: Object,
    /// The version of a script that each of its parts runs.
    bound: Vec<BoundView>,
}

/// The version of a script that a part of a rule runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct BoundView {
    /// The action's index; -1: the record source.
    part: i64,
    /// The component's SHA-256.
    hash: String,
}

/// One rule. The `ETag` is its version.
#[utoipa::path(get, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path)),
    responses((status = 200, body = RuleView), Problem))]
async fn get(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<Response, Problem> {
    let stored = app.read(move |conn| stored::get(conn, &name)).await?;
    let tag = tag(stored.version);
    let bound = stored.bound.iter().map(|(part, bound)| BoundView { part: *part, hash: bound.hash.to_string() });
    let view = RuleView {
        version: stored.version,
        owner: stored.owner,
        paused: stored.paused,
        bound: bound.collect(),
        rule: serde_json::to_value(stored.rule)?,
    };
    Ok(([(header::ETAG, tag)], Json(view)).into_response())
}

fn tag(version: u32) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The rule's file: TOML that is the same, byte for byte, whenever the rule is the same.
#[utoipa::path(get, path = "/api/v1/rules/{name}/file", tag = "rules", params(("name" = String, Path)),
    responses((status = 200, body = String, content_type = "application/toml"), Problem))]
async fn as_file(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<Response, Problem> {
    let stored = app.read(move |conn| stored::get(conn, &name)).await?;
    let text = file::write(&stored.rule)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no-file", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

/// How a change is made.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    /// Why, for the history.
    #[serde(default)]
    pub(crate) note: String,
    /// Leave the rule as it is until its owner agrees, if somebody else owns it. Else whoever edits it becomes its owner.
    #[serde(default)]
    pub(crate) ask_owner: bool,
    /// Say yes to what active versions of its scripts ask for besides what was agreed to: it runs them from now on. Else it stays
    /// with the versions that it has, and a warning `version-held-back` names what they would have.
    #[serde(default)]
    pub(crate) agree: bool,
}

/// What became of a change.
#[derive(Debug, Serialize, ToSchema)]
struct SavedView {
    /// The rule.
    rule: String,
    /// Its version; of a proposal, the proposed one.
    version: u32,
    /// `created`, `updated`, `unchanged`, `proposed`.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// What somebody should look at.
    warnings: Vec<FoundWrong>,
    /// Versions of scripts that it runs from now on though they ask for more, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agreed: Vec<String>,
}

impl From<Saved> for SavedView {
    fn from(saved: Saved) -> Self {
        let warnings = saved.warnings.iter().map(FoundWrong::from).collect();
        let Saved { rule, version, outcome, agreed, .. } = saved;
        Self { rule, version, outcome, warnings, agreed }
    }
}

/// Something that is done to a rule, in one transaction.
pub(crate) async fn edit<T: Send + 'static, E: From<DbError> + Into<Problem> + Send + 'static>(
    app: &App,
    caller: &Caller,
    how: How,
    work: impl FnOnce(Ground<'_>, &Edit<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let env = app.env(caller.user, true)?;
    let policy = app.engine().policy()?;
    let (by, administrator, at) = (caller.user, caller.administrator, app.engine().clock().now());
    let ownership = if how.ask_owner { Ownership::Ask } else { Ownership::Take };
    let done = app
        .write(move |conn| {
            let edit = Edit { by, at, note: &how.note, ownership, administrator, agrees: how.agree };
            work(Ground { conn, env: &env, policy: &policy }, &edit)
        })
        .await?;
    app.engine().rules_changed();
    Ok(done)
}

/// A set of rules.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RuleSet {
    /// The JSON forms of the rules' files.
    rules: Vec<Rule>,
}

/// How a set of rules is applied.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AsAWhole {
    /// Why, for the history.
    #[serde(default)]
    note: String,
    /// Leave rules of others as they are until their owners agree.
    #[serde(default)]
    ask_owner: bool,
    /// Say yes to what active versions of their scripts ask for besides what was agreed to.
    #[serde(default)]
    agree: bool,
    /// Delete rules that are not in the set. A set without any is refused.
    #[serde(default)]
    prune: bool,
    /// Say what would change, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What became of a set of rules.
#[derive(Debug, Serialize, ToSchema)]
struct AppliedView {
    /// Whether it was applied, or only looked at.
    applied: bool,
    /// One for each rule.
    steps: Vec<StepView>,
}

/// What became of one rule of a set.
#[derive(Debug, Serialize, ToSchema)]
struct StepView {
    /// The rule.
    rule: String,
    /// `create`, `update`, `keep`, `propose`, `delete`.
    #[schema(value_type = String)]
    change: Planned,
    /// What differs.
    differences: Vec<DifferenceView>,
    /// What somebody should look at.
    warnings: Vec<FoundWrong>,
    /// Versions of scripts that it runs from now on though they ask for more, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agreed: Vec<String>,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        let warnings = step.warnings.iter().map(FoundWrong::from).collect();
        let differences = step.differences.into_iter().map(DifferenceView::from).collect();
        Self { rule: step.rule, change: step.change, differences, warnings, agreed: step.agreed }
    }
}

/// Make the rules as this set says: all of them, or none.
#[utoipa::path(put, path = "/api/v1/rules", tag = "rules", params(AsAWhole), request_body = RuleSet,
    responses((status = 200, body = AppliedView), Problem))]
async fn apply(
    State(app): State<App>,
    caller: Caller,
    Asked(AsAWhole { note, ask_owner, agree, prune, dry_run }): Asked<AsAWhole>,
    Body(set): Body<RuleSet>,
) -> Result<Json<AppliedView>, Problem> {
    if prune && set.rules.is_empty() {
        // A mistake of whoever makes the set, far more likely than nobody wanting rules any more.
        let detail = "the set has no rule, and `prune` would delete all that there are; delete them by name";
        return Err(Problem::invalid("no-rules", detail));
    }
    let work = if dry_run { apply::plan } else { apply::apply };
    let (how, line) = (How { note, ask_owner, agree }, audit::here());
    let steps = edit(&app, &caller, how, move |ground, edit| {
        let steps = work(ground, &set.rules, edit, prune)?;
        line.say(told::steps(&steps, dry_run));
        Ok::<_, apply::ApplyError>(steps)
    })
    .await?;
    Ok(Json(AppliedView { applied: !dry_run, steps: steps.into_iter().map(StepView::from).collect() }))
}

/// Create a rule, or change the one of that name. With `If-Match`, only the version that was seen.
#[utoipa::path(put, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path), How,
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that was seen")),
    request_body(content = Rule, description = "the JSON form of the rule's file"),
    responses((status = 200, body = SavedView), (status = 201, body = SavedView), Problem))]
async fn put(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Asked(how): Asked<How>,
    headers: HeaderMap,
    Body(rule): Body<Rule>,
) -> Result<(StatusCode, Json<SavedView>), Problem> {
    if rule.name != name {
        return Err(Problem::invalid(
            "another-name",
            format!("the rule says that it is `{}`, the path `{name}`", rule.name),
        ));
    }
    let (seen, line) = (headers.get(header::IF_MATCH).cloned(), audit::here());
    let saved = edit(&app, &caller, how, move |ground, edit| {
        let known = stored::find(ground.conn, &name)?;
        let is_seen = seen.is_none_or(|seen| known.is_some_and(|known| tag(known.version) == seen));
        let save = || told::on_saving(ground.conn, &rule, &line, || stored::save(ground, &rule, edit));
        is_seen.then(save).transpose()
    });
    let saved = saved.await?.ok_or_else(|| {
        let detail = "the rule is at another version by now; look at it again";
        Problem::new(StatusCode::PRECONDITION_FAILED, "another-version", detail)
    })?;
    let status = if saved.outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(saved.into())))
}

/// Delete a rule. Its history stays, and can be restored.
#[utoipa::path(delete, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path), How),
    responses((status = 204), Problem))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Asked(how): Asked<How>,
) -> Result<StatusCode, Problem> {
    let line = audit::here();
    edit(&app, &caller, how, move |ground, edit| {
        told::on_rule(ground.conn, &name, &line, || stored::delete(ground.conn, &name, edit))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Findings.
#[derive(Debug, Serialize, ToSchema)]
struct Findings {
    /// Errors first.
    findings: Vec<FoundWrong>,
}

/// Say everything that there is to say about a rule, without keeping it.
#[utoipa::path(post, path = "/api/v1/rule-checks", tag = "rules",
    request_body(content = Rule, description = "the JSON form of the rule's file"),
    responses((status = 200, body = Findings), Problem))]
async fn checked(State(app): State<App>, caller: Caller, Body(rule): Body<Rule>) -> Result<Json<Findings>, Problem> {
    let env = app.env(caller.user, true)?;
    let policy = app.engine().policy()?;
    let findings = app.read(move |conn| check(Ground { conn, env: &env, policy: &policy }, &rule)).await?;
    Ok(Json(Findings { findings: findings.iter().map(FoundWrong::from).collect() }))
}

/// One version of a rule.
#[derive(Debug, Serialize, ToSchema)]
struct VersionView {
    /// Its number.
    version: u32,
    /// Who made it (`res.users`).
    author: Id,
    /// When.
    at: jiff::Timestamp,
    /// Why.
    note: String,
    /// `accepted`, `proposed`, `rejected`, `deleted`.
    #[schema(value_type = String)]
    state: VersionState,
    /// What it says; nothing for a deletion.
    #[schema(value_type = Option<Rule>)]
    rule: Option<Object>,
}

/// Versions.
#[derive(Debug, Serialize, ToSchema)]
struct Versions {
    /// The newest first.
    versions: Vec<VersionView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<i64>,
}

/// All versions of a rule, also of a deleted one.
#[utoipa::path(get, path = "/api/v1/rules/{name}/versions", tag = "rules", params(("name" = String, Path), Before),
    responses((status = 200, body = Versions), Problem))]
async fn versions(
    State(app): State<App>,
    _caller: Caller,
    At(name): At<String>,
    Asked(page): Asked<Before>,
) -> Result<Json<Versions>, Problem> {
    let versions = app.read(move |conn| history(conn, &name)).await?;
    let (versions, next) = page.of_numbers(versions, |one| i64::from(one.version));
    let view = |one: stored::RuleVersion| {
        let rule = one.rule.map(serde_json::to_value).transpose()?;
        let (version, author, at, note, state) = (one.version, one.author, one.at, one.note, one.state);
        Ok::<_, Problem>(VersionView { version, author, at, note, state, rule })
    };
    Ok(Json(Versions { versions: versions.into_iter().map(view).collect::<Result<_, _>>()?, next }))
}

/// All versions of a rule, the newest first; also of one that was deleted.
pub(crate) fn history(conn: &rusqlite::Connection, name: &str) -> Result<Vec<stored::RuleVersion>, stored::RuleError> {
    let versions = stored::history(conn, name)?;
    if versions.is_empty() {
        // Says that there is no such rule, and which one was meant.
        stored::get(conn, name)?;
    }
    Ok(versions)
}

/// Two versions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Between {
    /// The older one.
    from: u32,
    /// The newer one.
    to: u32,
}

/// One thing that differs.
#[derive(Debug, Serialize, ToSchema)]
struct DifferenceView {
    /// Where, in the words of the rule's file.
    place: String,
    /// Before; none: it was not said.
    old: Option<String>,
    /// After; none: it is not said any more.
    new: Option<String>,
}

impl From<Difference> for DifferenceView {
    fn from(one: Difference) -> Self {
        Self { place: one.place, old: one.old, new: one.new }
    }
}

/// What differs.
#[derive(Debug, Serialize, ToSchema)]
struct Differences {
    /// In the order of the rule's file.
    differences: Vec<DifferenceView>,
}

/// What differs between two versions of a rule.
#[utoipa::path(get, path = "/api/v1/rules/{name}/diff", tag = "rules", params(("name" = String, Path), Between),
    responses((status = 200, body = Differences), Problem))]
async fn differences(
    State(app): State<App>,
    _caller: Caller,
    At(name): At<String>,
    Asked(between): Asked<Between>,
) -> Result<Json<Differences>, Problem> {
    let rule = name.clone();
    let versions = app.read(move |conn| history(conn, &rule)).await?;
    let version = |number: u32| {
        let found = versions.iter().find(|one| one.version == number).and_then(|one| one.rule.as_ref());
        found.ok_or_else(|| Problem::not_found("unknown-version", format!("rule `{name}` has no version {number}")))
    };
    let differences = diff::differences(version(between.from)?, version(between.to)?);
    Ok(Json(Differences { differences: differences.into_iter().map(DifferenceView::from).collect() }))
}

/// A record.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct About {
    /// Of the rule's model: only what concerns it.
    record: Option<Id>,
}

/// One cause.
#[derive(Debug, Serialize, ToSchema)]
struct CauseView {
    /// Stable.
    code: String,
    /// What keeps the rule from firing or succeeding, in one sentence.
    sentence: String,
    /// What to do about it.
    remedy: String,
}

/// Causes.
#[derive(Debug, Serialize, ToSchema)]
struct Diagnosis {
    /// The one that weighs most first.
    causes: Vec<CauseView>,
}

/// Why a rule did not fire, or why its last run failed.
#[utoipa::path(get, path = "/api/v1/rules/{name}/diagnosis", tag = "rules", params(("name" = String, Path), About),
    responses((status = 200, body = Diagnosis), Problem))]
async fn diagnosis(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Asked(about): Asked<About>,
) -> Result<Json<Diagnosis>, Problem> {
    let rules = app.engine().rules()?;
    if let (Some(record), Some(model)) = (about.record, &rules.rule(&name)?.rule.model)
        && !app.may(caller.user, Operation::Read, model, &[record]).await?
    {
        return Err(Problem::not_found(
            "missing-record",
            format!("there is no {model}({record}), or you may not read it"),
        ));
    }
    let view = |cause: Cause| CauseView { code: cause.code.to_owned(), sentence: cause.sentence, remedy: cause.remedy };
    let causes = causes(&app, &caller, &name, about.record, &TimeZone::UTC).await?;
    Ok(Json(Diagnosis { causes: causes.into_iter().map(view).collect() }))
}

/// Why a rule did not fire, or why its last run failed. What a run says of itself is for who may see it. Times are
/// told in this zone.
pub(crate) async fn causes(
    app: &App,
    caller: &Caller,
    rule: &str,
    record: Option<Id>,
    zone: &TimeZone,
) -> Result<Vec<Cause>, Problem> {
    let mut causes = app.engine().diagnose(caller.user, rule, record, zone.clone()).await?;
    let seen = seen_of(app, caller, causes.iter().filter_map(|cause| cause.run).collect()).await?;
    for cause in &mut causes {
        if let Some(sentence) = cause.for_others.take().filter(|_| !caller.administrator) {
            cause.sentence = sentence;
        }
        if let Some(run) = cause.run.filter(|run| !seen.contains(run)) {
            cause.sentence =
                format!("its last run, {run}, is about records that you may not read, and says why itself");
        }
    }
    Ok(causes)
}

/// A version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Version {
    /// Its number.
    version: u32,
    /// Why, for the history.
    #[serde(default)]
    note: String,
}

/// Make an earlier version the newest one: of a rule that is there, or of one that was deleted.
#[utoipa::path(post, path = "/api/v1/rules/{name}/restore", tag = "rules", params(("name" = String, Path)),
    request_body = Version, responses((status = 200, body = SavedView), Problem))]
async fn restore(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(body): Body<Version>,
) -> Result<Json<SavedView>, Problem> {
    let (how, line) = (How { note: body.note, ..How::default() }, audit::here());
    let saved = edit(&app, &caller, how, move |ground, edit| {
        told::on_change(ground.conn, &name, &line, || stored::restore(ground, &name, body.version, edit))
    })
    .await?;
    Ok(Json(saved.into()))
}

/// Another model.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OtherModel {
    /// Its name.
    model: String,
    /// Why, for the history.
    #[serde(default)]
    note: String,
}

/// Bind a rule to another model. What it has for the old one and cannot have for the new one is dropped, and named among the
/// warnings: actions, domains, watched fields.
#[utoipa::path(post, path = "/api/v1/rules/{name}/model", tag = "rules", params(("name" = String, Path)),
    request_body = OtherModel, responses((status = 200, body = SavedView), Problem))]
async fn set_model(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(body): Body<OtherModel>,
) -> Result<Json<SavedView>, Problem> {
    let (how, line) = (How { note: body.note, ..How::default() }, audit::here());
    let saved = edit(&app, &caller, how, move |ground, edit| {
        told::on_change(ground.conn, &name, &line, || model_change::save_on(ground, &name, &body.model, edit))
    })
    .await?;
    Ok(Json(saved.into()))
}

/// A decision about a proposed version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Decision {
    /// The proposed version.
    version: u32,
    /// Yes or no.
    accept: bool,
}

/// Accept or reject a change that somebody proposed. Only the rule's owner may.
#[utoipa::path(post, path = "/api/v1/rules/{name}/decide", tag = "rules", params(("name" = String, Path)),
    request_body = Decision, responses((status = 204), Problem))]
async fn decide(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(body): Body<Decision>,
) -> Result<StatusCode, Problem> {
    let line = audit::here();
    edit(&app, &caller, How::default(), move |ground, edit| {
        told::on_decision(ground.conn, &name, &line, (body.version, body.accept), || {
            stored::decide(ground, &name, body.version, body.accept, edit)
        })
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A reason.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Shown with the rule.
    reason: String,
}

/// Have a rule not fire until it is resumed. Its runs wait.
#[utoipa::path(post, path = "/api/v1/rules/{name}/pause", tag = "rules", params(("name" = String, Path)),
    request_body = Reason, responses((status = 204), Problem))]
async fn pause(
    State(app): State<App>,
    _caller: Caller,
    At(name): At<String>,
    Body(body): Body<Reason>,
) -> Result<StatusCode, Problem> {
    audit::say(format!("because {}", body.reason));
    app.engine().pause(&name, &body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a pause, whoever made it.
#[utoipa::path(post, path = "/api/v1/rules/{name}/resume", tag = "rules", params(("name" = String, Path)),
    responses((status = 204), Problem))]
async fn resume(State(app): State<App>, _caller: Caller, At(name): At<String>) -> Result<StatusCode, Problem> {
    audit::say(told::resumed(&app, &name).await?);
    app.engine().resume(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Records.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct On {
    /// Of the rule's model; the user must be able to read them.
    #[serde(default)]
    records: Vec<Id>,
}

/// Runs.
#[derive(Debug, Serialize, ToSchema)]
struct Runs {
    /// Their numbers.
    runs: Vec<i64>,
}

/// Run a rule on records, now.
#[utoipa::path(post, path = "/api/v1/rules/{name}/run", tag = "rules", params(("name" = String, Path)),
    request_body = On, responses((status = 202, body = Runs), Problem))]
async fn run(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(body): Body<On>,
) -> Result<(StatusCode, Json<Runs>), Problem> {
    let rules = app.engine().rules()?;
    let model = rules.rule(&name)?.rule.model.clone();
    if let (Some(model), false) = (model, body.records.is_empty())
        && !app.may(caller.user, Operation::Read, &model, &body.records).await?
    {
        return Err(Problem::denied("access-denied", format!("you may not read all of these records of {model}")));
    }
    audit::say(told::records(&body.records));
    let runs = app.engine().fire(&name, caller.user, Trigger::Manual, body.records).await?;
    Ok((StatusCode::ACCEPTED, Json(Runs { runs })))
}

/// Which records.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Among {
    /// Those that match this domain, and the rule's own.
    #[serde(default = "every_record")]
    #[schema(default = "[]")]
    domain: String,
}

fn every_record() -> String {
    "[]".to_owned()
}

/// What was queued.
#[derive(Debug, Serialize, ToSchema)]
struct BackfilledView {
    /// Records that were queued by this call.
    records: usize,
    /// Runs that were made for them.
    runs: usize,
}

/// Run a rule over all records that were there before it, as runs of the class `batch`. A call that was interrupted is taken up
/// where it stopped, by the same call. For administrators.
#[utoipa::path(post, path = "/api/v1/rules/{name}/backfill", tag = "rules", params(("name" = String, Path)),
    request_body = Among, responses((status = 202, body = BackfilledView), Problem))]
async fn backfill(
    State(app): State<App>,
    caller: Caller,
    At(name): At<String>,
    Body(among): Body<Among>,
) -> Result<(StatusCode, Json<BackfilledView>), Problem> {
    if !caller.administrator {
        return Err(Problem::denied("access-denied", "only an administrator runs a rule over all records"));
    }
    audit::say(format!("on all records of {}", among.domain));
    let done = app.engine().backfill(&name, &among.domain, caller.user).await?;
    Ok((StatusCode::ACCEPTED, Json(BackfilledView { records: done.records, runs: done.runs })))
}
