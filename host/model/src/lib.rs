//! The words that every other crate speaks: values, schemas, domains, host calls, limits, grants and
//! change sets. Pure data and functions on it: no I/O, no async, no clock.
//!
//! | module | what it holds |
//! |---|---|
//! | [`value`] | field values, links, records, rows |
//! | [`schema`] | models and their fields |
//! | [`domain`] | Odoo's domains: parse, print, normalise, judge in memory |
//! | [`time`] | dates, time zones, relative dates |
//! | [`call`] | what a script can ask of its host, and what it is answered |
//! | [`allowance`] | what one such call may still use |
//! | [`changes`] | what a run wants to change, and what came of it |
//! | [`event`] | what a script is given, and what it gives back |
//! | [`error`] | the one error that scripts see |
//! | [`limits`] | the limits table, resolution and metering |
//! | [`grants`] | what a script may do, and who refused |
//! | [`outbound`] | which requests to other services are granted |
//! | [`manifest`] | `triggerbox.toml` |
//! | [`shared`] | texts of which many copies are kept |

pub mod allowance;
pub mod call;
pub mod changes;
pub mod domain;
pub mod error;
pub mod event;
pub mod grants;
pub mod limits;
pub mod manifest;
pub mod outbound;
pub mod schema;
pub mod shared;
pub mod text;
pub mod time;
pub mod value;

mod weigh;
