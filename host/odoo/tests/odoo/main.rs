//! The Odoo backend against a recorded Odoo 19.0, or against a real one: see `docs/odoo.md`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may be blunt")]

mod changes;
mod client;
mod events;
mod hostile;
mod lab;
mod reads;
mod rights;
mod setup;
