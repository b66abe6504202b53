//! Scripts, rules and agents in the whole host: one program, so that its tests fill the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

#[cfg(feature = "languages")]
#[path = "support/language.rs"]
mod language;
#[path = "support/model.rs"]
mod model;
mod support;

mod agents;
mod contract;
mod diagnose;
mod examples;
mod grants;
mod injections;
// They build their components with compilers from PyPI and npm, which takes minutes on a new machine.
#[cfg(feature = "languages")]
mod languages;
mod ready_made;
mod rules;
mod services;
