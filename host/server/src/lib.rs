//! The engine over HTTP: pages for people, an API, webhooks, health.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`app`] | what all handlers share |
//! | [`tokens`] | bearer tokens, kept as hashes |
//! | [`auth`] | who asks, and whether they may |
//! | [`idempotency`] | a request is done once for each key |
//! | [`problem`] | errors as problem details |
//! | [`extract`] | the parts of a request |
//! | [`values`] | records as plain JSON |
//! | [`api`] | the routes of the API and the document that describes them |
//! | [`hook`] | webhooks in |
//! | [`signature`] | what signs webhooks |
//! | [`health`] | whether the server is well |
//! | [`metrics`] | what Prometheus reads |
//! | `odoo` | events of an Odoo server |
//! | `outage` | since when it is away |
//! | [`people`] | accounts, roles, sessions, the audit log |
//! | [`told`] | what the audit log is told of changes |
//! | `shown` | what a form was made from |
//! | [`verdicts`] | what backtests said |
//! | `erasure` | erasing one person in the background |
//! | [`vault`] | secrets, encrypted at rest |
//! | `providers` | where language models are asked, as it is set while the server runs |
//! | [`web`] | the pages |
//! | [`alerts`] | telling people of trouble |
//! | `connections` | slow clients, and those that are there when the server drains |
//! | [`serve`] | the router, and a server's life |

pub mod alerts;
pub mod api;
pub mod app;
pub mod auth;
pub mod config;
mod connections;
mod erasure;
pub mod extract;
pub mod health;
pub mod hook;
pub mod idempotency;
pub mod metrics;
mod odoo;
mod outage;
pub mod people;
pub mod problem;
mod providers;
pub mod serve;
mod shown;
pub mod signature;
pub mod tokens;
pub mod told;
pub mod values;
pub mod vault;
pub mod verdicts;
pub mod web;

pub use app::{App, StartError};
pub use config::Config;
pub use serve::{router, serve};
