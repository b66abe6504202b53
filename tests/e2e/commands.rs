//! The program as people and other programs call it: one program of tests, so that they fill the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

#[path = "support/model.rs"]
mod model;

use std::path::PathBuf;

/// Where new scripts in Rust are compiled: with the examples, whose macros are not compiled once more then.
fn scripts_target() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/guests"))
}

// They take compilers from PyPI and npm, which takes minutes on a new machine.
#[cfg(feature = "languages")]
mod new;
mod pages;
mod program;
mod rule_commands;
mod serve;
mod workbench;
