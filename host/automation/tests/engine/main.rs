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
mod before;
mod control;
mod flow;
mod loops;
#[path = "../../../../tests/e2e/support/model.rs"]
mod model;
mod odoo;
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
