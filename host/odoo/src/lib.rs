//! Odoo 19 as the backend, over its own API and without a module of ours: one action, made by the set-up, applies a
//! run's changes in one transaction of Odoo's.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | which Odoo, which users, whose keys |
//! | [`client`] | one JSON-2 call: limits, time, tries |
//! | [`error`] | why a call came to nothing, and what scripts are told of it |
//! | [`value`] | field values both ways |
//! | [`fields`] | models as Odoo describes them |
//! | [`backend`] | a server that can be used: its users, its models |
//! | [`session`] | one run: host calls in, answers out, changes staged |
//! | [`commit`] | the staged changes in one request |
//! | [`diff`] | the changes in words |
//! | [`events`] | what happened there: the outbox, read and emptied |
//! | [`trial`] | the changes tried in Odoo and undone, and the records of tests |
//! | [`setup`] | what Odoo must hold for all this: made, looked at, taken away |

pub mod backend;
pub mod client;
pub mod commit;
pub mod config;
pub mod diff;
pub mod error;
pub mod events;
pub mod fields;
mod groups;
mod mention;
mod overlay;
mod paths;
pub mod session;
pub mod setup;
pub mod trial;
pub mod value;

pub use self::{
    backend::Backend,
    commit::{CommitError, Committed},
    config::Config,
    error::OdooError,
    session::Session,
};
