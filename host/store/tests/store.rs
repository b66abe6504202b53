//! The embedded backend: one program of tests, so that they fill the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

mod common;

mod allowance;
mod bad_input;
mod database;
mod groups;
mod load;
mod rights;
mod schema_upgrade;
mod session;
mod snapshots;
mod staged;
mod standard;
