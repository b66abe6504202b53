//! Language models and other services, as far as a run may use them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the providers file: models, prices, keys, budgets |
//! | [`setting`] | a provider that is set while the host runs |
//! | [`secret`] | keys that show in no text |
//! | [`provider`] | asking a model over HTTP: protocols, limits, retries |
//! | [`models`] | all models of a host, live or from a recording |
//! | [`recording`] | recorded conversations |
//! | [`price`] | what a call costs, at worst and really |
//! | [`budget`] | accounts that several runs share |
//! | [`budget_setting`] | budgets that are set while the host runs |
//! | [`ledger`] | intents and answers, stored around each call |
//! | [`http`] | requests to other services: grants, addresses, secrets |
//! | [`outside`] | all of it, for one run |
//! | [`error`] | why a model gave no answer |
//! | [`clock`] | where time comes from |

pub mod budget;
pub mod budget_setting;
pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod ledger;
pub mod models;
pub mod outside;
pub mod price;
pub mod provider;
mod read;
pub mod recording;
mod said;
pub mod secret;
pub mod setting;
mod shape;
mod unfold;

pub use self::{
    budget_setting::BudgetSetting,
    clock::{Clock, SystemClock},
    config::Config,
    ledger::Ledger,
    models::Models,
    outside::{Calls, Halt, Outside, Seat, Services, Session, Spender, Spent, Unavailable, is_reading},
    recording::{Matching, Origin, Recording},
};
