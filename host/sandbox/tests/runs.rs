//! Scripts in their sandbox: inspected, compiled, run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

mod support;

mod compile;
mod inspect;
mod run;
