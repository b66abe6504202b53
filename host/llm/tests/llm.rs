//! Language models and other services, over real HTTP: one program of tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

mod support;

mod local;
mod outside;
mod providers;
