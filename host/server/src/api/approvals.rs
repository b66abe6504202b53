//! Changes that wait for a yes.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Object;
use triggerbox_automation::{
    proposals::{Proposal, ProposalState},
    runs::RunId,
};
use triggerbox_model::{changes::Diff, value::Id};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::runs::{MOST, hundred};
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
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(approve)).routes(routes!(reject))
}

/// Which proposals.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Query {
    /// `waiting`, `approved`, `rejected`, `expired`, `recommended`, `stale`; all when absent.
    state: Option<String>,
    /// Of runs before this one: `next` of the page before.
    before: Option<RunId>,
    /// Most of them, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

/// What a run wants to change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct ProposalView {
    /// The run.
    run: i64,
    /// Its rule.
    rule: String,
    /// What a yes is to.
    hash: String,
    /// The change in words and as data.
    #[schema(value_type = Object)]
    diff: Object,
    /// Why it waits.
    why: String,
    /// What becomes of it.
    #[schema(value_type = String)]
    state: ProposalState,
    /// Until when it waits.
    expires: Option<Timestamp>,
    /// Who decided (`res.users`).
    decided_by: Option<Id>,
    /// When.
    decided_at: Option<Timestamp>,
    /// What they said to it.
    note: Option<String>,
}

impl ProposalView {
    fn of(proposal: Proposal) -> Result<Self, Problem> {
        Ok(Self {
            run: proposal.run,
            rule: proposal.rule,
            hash: proposal.hash.to_string(),
            diff: serde_json::to_value(proposal.diff)?,
            why: proposal.why,
            state: proposal.state,
            expires: proposal.expires,
            decided_by: proposal.decided_by,
            decided_at: proposal.decided_at,
            note: proposal.note,
        })
    }
}

/// Proposals.
#[derive(Debug, Serialize, ToSchema)]
struct ProposalList {
    /// The newest first.
    approvals: Vec<ProposalView>,
    /// `before` of the next page; none: this was the last one.
    next: Option<RunId>,
}

/// A page of proposals that the caller may see, and `before` of the next one.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    state: Option<ProposalState>,
    before: Option<RunId>,
    size: usize,
) -> Result<(Vec<Proposal>, Option<RunId>), Problem> {
    let (mut found, next) =
        app.engine().proposals_for((caller.user, caller.administrator), state, before, size).await?;
    leave_out(app, caller, found.iter_mut().map(|one| &mut one.diff).collect()).await?;
    Ok((found, next))
}

/// Leaves out of these what they tell of fields that the caller may not read.
pub(crate) async fn leave_out(app: &App, caller: &Caller, diffs: Vec<&mut Diff>) -> Result<(), Problem> {
    if caller.administrator {
        return Ok(());
    }
    let models = diffs.iter().flat_map(|diff| &diff.records).map(|one| one.record.model.clone()).collect();
    let fields = app.readable_fields(caller.user, models).await?;
    diffs.into_iter().for_each(|diff| fields.keep_in(diff));
    Ok(())
}

/// List the changes that wait for a yes, or were decided about; those of records that the caller may read.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "approvals", params(Query),
    responses((status = 200, body = ProposalList), Problem))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<ProposalList>, Problem> {
    let state = query.state.as_deref().map(|name| {
        let found = ProposalState::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| Problem::invalid("bad-query", format!("`{name}` is no state of an approval")))
    });
    let size = usize::try_from(query.limit.clamp(1, MOST)).unwrap_or(usize::MAX);
    let (found, next) = page(&app, &caller, state.transpose()?, query.before, size).await?;
    Ok(Json(ProposalList { approvals: found.into_iter().map(ProposalView::of).collect::<Result<_, _>>()?, next }))
}

pub(crate) async fn seen(app: &App, caller: &Caller, run: i64) -> Result<Proposal, Problem> {
    let found = app.engine().proposal(run)?;
    let missing = || Problem::not_found("unknown-proposal", format!("run {run} proposes nothing that you may see"));
    let mut proposal = found.ok_or_else(missing)?;
    if caller.administrator {
        return Ok(proposal);
    }
    let readable = app.engine().readable_of(caller.user, std::slice::from_ref(&proposal)).await?;
    if !readable.all_of(&proposal) {
        return Err(missing());
    }
    leave_out(app, caller, vec![&mut proposal.diff]).await?;
    Ok(proposal)
}

/// What a run wants to change, or wanted.
#[utoipa::path(get, path = "/api/v1/approvals/{run}", tag = "approvals", params(("run" = i64, Path)),
    responses((status = 200, body = ProposalView), Problem))]
async fn get(State(app): State<App>, caller: Caller, At(run): At<i64>) -> Result<Json<ProposalView>, Problem> {
    Ok(Json(ProposalView::of(seen(&app, &caller, run).await?)?))
}

/// A yes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Yes {
    /// The hash of the proposal that was looked at: exactly this is applied.
    hash: String,
    /// Why.
    #[serde(default)]
    note: String,
}

/// What a yes did.
#[derive(Debug, Serialize, ToSchema)]
struct Applied {
    /// Runs that rules made of it.
    runs: Vec<i64>,
}

/// Say yes: the change is applied, exactly as it was shown, with a check that its records did not change since. Not by the
/// rule's owner, who caused the event, or who uploaded the script.
#[utoipa::path(post, path = "/api/v1/approvals/{run}/approve", tag = "approvals", params(("run" = i64, Path)),
    request_body = Yes, responses((status = 200, body = Applied), Problem))]
async fn approve(
    State(app): State<App>,
    caller: Caller,
    At(run): At<i64>,
    Body(body): Body<Yes>,
) -> Result<Json<Applied>, Problem> {
    let proposal = seen(&app, &caller, run).await?;
    let hash = body.hash.parse()?;
    audit::say(told::decision(&proposal.rule, Some(hash), &body.note));
    let changed = app.engine().approve(run, hash, caller.user, &body.note).await?;
    Ok(Json(Applied { runs: changed.runs }))
}

/// A no.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct No {
    /// Why.
    #[serde(default)]
    note: String,
}

/// Say no: the run is over, without effect.
#[utoipa::path(post, path = "/api/v1/approvals/{run}/reject", tag = "approvals", params(("run" = i64, Path)),
    request_body = No, responses((status = 204), Problem))]
async fn reject(
    State(app): State<App>,
    caller: Caller,
    At(run): At<i64>,
    Body(body): Body<No>,
) -> Result<StatusCode, Problem> {
    let proposal = seen(&app, &caller, run).await?;
    audit::say(told::decision(&proposal.rule, None, &body.note));
    app.engine().reject(run, caller.user, &body.note).await?;
    Ok(StatusCode::NO_CONTENT)
}
