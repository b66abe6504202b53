//! The API over real HTTP, on a port that the system chooses, with real components.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "tests may be blunt"
)]

mod agents;
mod alerts;
mod approvals;
mod audited;
mod browser;
mod connections;
mod document;
mod doors;
mod errors;
mod flow;
mod hooks;
#[path = "../../../../tests/e2e/support/model.rs"]
mod model;
mod odoo;
mod pages;
mod paging;
mod people;
mod screens;
mod seen;
mod settings;
mod soak;
mod there;
mod tokens;
mod world;
