//! What domains find: by rule, at random, and by which index.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may be blunt"
)]

mod agreement;
mod asked;
mod plans;
mod reading;
mod rules;
mod world;
