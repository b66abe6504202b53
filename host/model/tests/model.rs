//! The words and their forms: one program of tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

mod dates;
mod domain_fuzz;
mod domain_syntax;
mod example_manifests;
mod limits_page;
