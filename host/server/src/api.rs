//! The API: its routes, each behind a door that asks for a token with a scope, and the document that describes them.
//!
//! | module | what it is about |
//! |---|---|
//! | `agents` | what rules ask language models with |
//! | `records` | records, their chatter, forms that are not saved |
//! | `fields` | what a model's fields are |
//! | `rules` | rules, their versions, running them by hand |
//! | `scripts` | uploads, versions, the active one |
//! | `threads` | what was said in runs that ask a language model |
//! | `runs` | the history, one run in full, retry and cancel |
//! | `events` | what happened |
//! | `approvals` | changes that wait for a yes |
//! | `control` | schedules, limits, the stop switch |
//! | `access` | tokens |
//! | `settings` | what administrators set while the server runs |
//! | `paging` | pages of lists |

pub(crate) mod access;
mod agents;
pub(crate) mod approvals;
mod control;
mod events;
mod fields;
mod paging;
mod records;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod scripts;
pub(crate) mod settings;
pub(crate) mod threads;

use axum::middleware::from_fn_with_state;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document, RefOr, Schema,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    app::App,
    auth::{Door, guard, tell},
    config::Config,
    idempotency::once,
    problem::Details,
    tokens::Scope,
};

/// Cuts a list, of which one more was asked for than a page has, to the page. The number of its last element, if there are
/// more: `before` of the next page.
pub(crate) fn cut<T>(list: &mut Vec<T>, page: u32, number: impl Fn(&T) -> i64) -> Option<i64> {
    let size = usize::try_from(page).unwrap_or(usize::MAX);
    let more = list.len() > size;
    list.truncate(size);
    list.last().map(number).filter(|_| more)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Triggerbox",
        description = "Records, rules, scripts and runs of one Triggerbox server. Each request carries a bearer token that acts \
                       as a user of the backend: reading needs the scope `read`, changing something the scope of its part. \
                       Requests that change something may carry an `Idempotency-Key`.",
        license(name = "Apache-2.0")
    ),
    components(schemas(Details)),
    modifiers(&Bearer)
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        document.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// What stands before each group of routes.
type Dress<'a> = &'a dyn Fn(OpenApiRouter<App>, Scope) -> OpenApiRouter<App>;

/// Names each operation by its part and its function: `rules-list`.
fn name_operations(document: &mut Document) {
    let items = document.paths.paths.values_mut();
    let operations =
        items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]);
    for operation in operations.flatten() {
        let part = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
        let function = operation.operation_id.take().unwrap_or_default();
        operation.operation_id = Some(format!("{part}-{}", function.replace('_', "-")));
    }
}

/// A schedule stands beside the name of its trigger, in one object: alone, its schema would not let that in.
fn open_schedules(document: &mut Document) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(schedule))) = schemas.and_then(|schemas| schemas.get_mut("Schedule")) {
        schedule.additional_properties = None;
    }
}

fn assemble(config: &Config, dress: Dress<'_>) -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(dress(access::me(), Scope::Read))
        .merge(dress(records::routes(), Scope::Records))
        .merge(dress(rules::routes(), Scope::Rules))
        .merge(dress(rules::operate(), Scope::Operate))
        .merge(dress(scripts::routes(config.http.max_upload), Scope::Scripts))
        .merge(dress(runs::routes(), Scope::Operate))
        .merge(dress(agents::routes(), Scope::Rules))
        .merge(dress(threads::routes(), Scope::Operate))
        .merge(dress(events::routes(), Scope::Read))
        .merge(dress(approvals::routes(), Scope::Approve))
        .merge(dress(control::routes(), Scope::Operate))
        .merge(dress(access::routes(), Scope::Admin))
        .merge(dress(settings::routes(), Scope::Admin))
}

/// The routes of a server, each behind its door.
pub(crate) fn router(app: &App) -> OpenApiRouter<App> {
    assemble(app.config(), &|routes, scope| {
        let door = Door { app: app.clone(), scope };
        // The guard comes first. An answer that is told again changes nothing, and nothing is told of it.
        routes
            .route_layer(from_fn_with_state(door.clone(), tell))
            .route_layer(from_fn_with_state(app.clone(), once))
            .route_layer(from_fn_with_state(door, guard))
    })
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> Document {
    let mut document = assemble(&Config::default(), &|routes, _| routes).into_openapi();
    name_operations(&mut document);
    open_schedules(&mut document);
    document
}
