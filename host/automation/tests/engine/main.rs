//! The engine, from a change to what its rules made of it: real scripts, a real database, a clock that is turned by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod agents;
mod approvals;
mod away;
mod before;
mod control;
mod flow;
#[path = "../../../odoo/tests/odoo/lab/http.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod http;
mod loops;
#[path = "../../../../tests/e2e/support/model.rs"]
mod model;
mod odoo;
mod outbox;
mod outside;
mod past;
#[path = "../../../llm/tests/support/mod.rs"]
mod provider;
mod queue;
mod script_tools;
mod sources;
mod time;
mod triggers;
mod world;
