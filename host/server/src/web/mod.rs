//! The pages: server-rendered, escaped by their templates, with one style sheet and one small script.
//!
//! | module | what it holds |
//! |---|---|
//! | `gate` | what stands before each page and goes around it |
//! | `page` | what a page answers |
//! | `parts` | what pages are made of |
//! | `form` | what forms say |
//! | `visitor` | who looks |
//! | the others | one screen each |

mod account;
mod approvals;
mod audit;
mod automation;
mod automations;
mod budgets;
mod domain_rows;
mod form;
mod gate;
mod keeping;
mod live;
mod page;
mod parts;
mod policy;
mod provider;
mod providers;
mod report;
mod retention;
mod rule_form;
mod run;
mod runs;
mod scripts;
mod session_box;
mod settings;
mod sign_in;
mod standing;
mod threads;
mod usage;
mod visitor;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use self::gate::Gate;
pub use self::gate::Need;
pub(crate) use self::gate::{is_secure, not_so, nowhere, place, protect};
use crate::{app::App, tokens::Scope};

/// A route of the pages: everything that there is to know about who may use it.
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, with its variable parts in braces.
    pub path: &'static str,
    /// What it needs of who asks.
    pub need: Need,
    /// What a change through it is called in the audit log; empty: it changes nothing, or tells of itself.
    pub action: &'static str,
    handler: MethodRouter<App>,
}

/// All routes. What is not here is not served; what is here has its door. Addresses beside those of rules and scripts begin
/// with a mark that no name has.
#[must_use]
pub fn routes() -> Vec<Route> {
    let open = |method, path, handler| Route { method, path, need: Need::Nothing, action: "", handler };
    let look = |path, scope, handler| Route { method: "GET", path, need: Need::Role(scope), action: "", handler };
    let act = |path, scope, action, handler| Route { method: "POST", path, need: Need::Role(scope), action, handler };
    vec![
        open("GET", "/assets/style.css", get(style)),
        open("GET", "/assets/app.js", get(script)),
        open("GET", "/assets/icon.svg", get(icon)),
        open("GET", "/sign-in", get(sign_in::show)),
        open("POST", "/sign-in", post(sign_in::enter)),
        open("GET", "/welcome", get(sign_in::welcome)),
        open("POST", "/welcome", post(sign_in::set_password)),
        look("/", Scope::Read, get(home)),
        look("/live", Scope::Read, get(live::events)),
        look("/account", Scope::Read, get(account::show)),
        act("/account/password", Scope::Read, "password-changed", post(account::change_password)),
        act("/sign-out", Scope::Read, "signed-out", post(account::sign_out)),
        act("/sign-out-everywhere", Scope::Read, "signed-out-everywhere", post(account::sign_out_everywhere)),
        look("/runs", Scope::Read, get(runs::list)),
        look("/runs/{id}", Scope::Read, get(run::show)),
        act("/runs/{id}/retry", Scope::Operate, "run-retried", post(run::retry)),
        act("/runs/{id}/cancel", Scope::Operate, "run-cancelled", post(run::cancel)),
        act("/runs/{id}/dry-run", Scope::Operate, "run-dry-run", post(run::dry_run)),
        act("/runs/{id}/replay", Scope::Operate, "run-replayed", post(run::replay)),
        look("/threads", Scope::Read, get(threads::list)),
        look("/threads/{id}", Scope::Read, get(threads::show)),
        act("/threads/{id}/renew", Scope::Operate, "session-renewed", post(threads::renew)),
        look("/automations", Scope::Read, get(automations::list)),
        look("/automations/_new", Scope::Rules, get(automation::fresh)),
        act("/automations/_new", Scope::Rules, "rule-created", post(automation::save)),
        act("/automations/_ask", Scope::Read, "", post(automation::says)),
        look("/automations/{name}", Scope::Read, get(automation::show)),
        act("/automations/{name}", Scope::Rules, "rule-saved", post(automation::save)),
        act("/automations/{name}/pause", Scope::Operate, "rule-paused", post(automation::pause)),
        act("/automations/{name}/resume", Scope::Operate, "rule-resumed", post(automation::resume)),
        act("/automations/{name}/run", Scope::Operate, "rule-run", post(automation::run)),
        act("/automations/{name}/test", Scope::Operate, "rule-tested", post(automation::test)),
        act("/automations/{name}/delete", Scope::Rules, "rule-deleted", post(automation::delete)),
        act("/automations/{name}/restore", Scope::Rules, "rule-restored", post(automation::restore)),
        act("/automations/{name}/decide", Scope::Rules, "rule-decided", post(automation::decide)),
        look("/scripts", Scope::Read, get(scripts::list)),
        act("/scripts/_upload", Scope::Scripts, "script-uploaded", post(scripts::upload)),
        look("/scripts/{name}", Scope::Read, get(scripts::show)),
        look("/scripts/{name}/{hash}/component", Scope::Scripts, get(scripts::component)),
        look("/scripts/{name}/{hash}/report", Scope::Read, get(report::show)),
        act("/scripts/{name}/activate", Scope::Scripts, "script-activated", post(scripts::activate)),
        act("/scripts/{name}/roll-back", Scope::Scripts, "script-rolled-back", post(scripts::roll_back)),
        act("/scripts/{name}/deactivate", Scope::Scripts, "script-switched-off", post(scripts::deactivate)),
        act("/scripts/{name}/backtest", Scope::Scripts, "script-backtested", post(scripts::backtest)),
        look("/approvals", Scope::Read, get(approvals::list)),
        look("/approvals/{run}", Scope::Read, get(approvals::show)),
        act("/approvals/{run}/approve", Scope::Approve, "change-approved", post(approvals::approve)),
        act("/approvals/{run}/reject", Scope::Approve, "change-rejected", post(approvals::reject)),
        look("/sessions/{model}/{record}", Scope::Read, get(session_box::show)),
        look("/usage", Scope::Read, get(usage::show)),
        act("/usage/stop", Scope::Operate, "runs-stopped", post(usage::stop)),
        act("/usage/go", Scope::Operate, "runs-let-go", post(usage::go)),
        act("/usage/retry-dead", Scope::Operate, "runs-retried", post(usage::retry_dead)),
        look("/settings", Scope::Admin, get(settings::show)),
        look("/settings/audit", Scope::Admin, get(audit::show)),
        act("/settings/accounts", Scope::Admin, "account-created", post(settings::create_account)),
        act("/settings/accounts/{id}", Scope::Admin, "account-changed", post(settings::change_account)),
        act("/settings/accounts/{id}/link", Scope::Admin, "link-made", post(settings::make_link)),
        act("/settings/accounts/{id}/sign-out", Scope::Admin, "account-signed-out", post(settings::sign_out_account)),
        act("/settings/secrets", Scope::Admin, "secret-written", post(keeping::write_secret)),
        act("/settings/secrets/{name}/delete", Scope::Admin, "secret-deleted", post(keeping::delete_secret)),
        act("/settings/erase", Scope::Admin, "person-erased", post(keeping::erase)),
        act("/settings/retention", Scope::Admin, "retention-changed", post(retention::save)),
        act("/settings/policy", Scope::Admin, "policy-changed", post(policy::save)),
        look("/settings/providers/_new", Scope::Admin, get(provider::fresh)),
        act("/settings/providers/_new", Scope::Admin, "provider-added", post(provider::create)),
        look("/settings/providers/{name}", Scope::Admin, get(provider::show)),
        act("/settings/providers/{name}", Scope::Admin, "provider-changed", post(provider::save)),
        act("/settings/providers/{name}/delete", Scope::Admin, "provider-deleted", post(provider::delete)),
        act("/settings/default-model", Scope::Admin, "default-model-changed", post(providers::save_default)),
        act("/settings/budgets", Scope::Admin, "budgets-changed", post(budgets::save)),
        act("/settings/tokens", Scope::Admin, "token-made", post(settings::create_token)),
        act("/settings/tokens/{id}/revoke", Scope::Admin, "token-revoked", post(settings::revoke_token)),
    ]
}

/// The router of the pages.
pub(crate) fn router(app: &App) -> Router<App> {
    let mut router = Router::new();
    for Route { path, need, action, handler, .. } in routes() {
        let gate = Gate { app: app.clone(), need, action };
        router = router.route(path, handler.route_layer(from_fn_with_state(gate, gate::gate)));
    }
    // The gate bounds forms; files are bounded by the configuration.
    router.layer(DefaultBodyLimit::max(app.config().http.max_upload))
}

async fn home() -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static("/automations"))]).into_response()
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("assets/style.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("assets/app.js"))
}

async fn icon() -> Response {
    asset("image/svg+xml", include_str!("assets/icon.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    // Short: another version of the program has another one.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")], text).into_response()
}
