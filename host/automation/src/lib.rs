//! Rules fire, runs are durable: from a change to its runs, and from an event to a commit.
//!
//! How it fits together is on the page `docs/engine.md`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`engine`] | the engine of one database: changes in, runs out, workers, control |
//! | [`agents`] | what rules ask language models with |
//! | [`threads`] | what was said and done in runs that ask a language model |
//! | [`config`] | what an operator sets |
//! | [`clock`] | the one source of time |
//! | [`committer`] | the one who writes |
//! | [`beside`] | what is written beside what a task changes |
//! | [`index`] | the rules in memory |
//! | [`schedule`] | when a schedule is due |
//! | [`matcher`] | which rules fire on a change |
//! | [`timed`] | which records come due |
//! | [`runs`] | the history of runs |
//! | [`logs`] | what scripts logged |
//! | [`events`] | what happened, where a rule wanted to know |
//! | [`seen`] | what was taken once |
//! | [`setting`] | what administrators set while the engine runs |
//! | [`policy`] | what nobody's script may do unless it is granted by name |
//! | [`retention`] | how long the past is kept, where somebody set it |
//! | [`proposals`] | changes that wait for a yes |
//! | [`firing`] | what a run was fired with |
//! | [`journal`] | host calls with their answers |
//! | [`rule`] | what a rule is: its file and JSON form, its checks, its versions |
//! | [`diagnose`] | why a rule did not fire, and why it failed |
//! | [`scripts`] | versions of scripts, and which one each rule runs |
//! | [`replay`] | a run again, from its journal |
//! | [`state`] | the engine's tables |
//! | [`plan`] | what a model intends, judged before anything is read |
//! | [`play`] | the scripts of one run |
//! | [`tools`] | scripts that an agent's run runs as tools |
//! | [`runner`] | one run without an engine: attempts, commit or dry run |
//! | [`report`] | what came of it |
//! | [`guard`] | judges each call by script, rule and policy |
//! | [`parking`] | what waits for a yes has sent nothing |
//! | [`needs`] | which rights a call needs |
//! | [`outside`] | keeps calls to language models and other services in the database |
//! | [`pace`] | counts how the runs of each hour ended |
//! | [`records`] | where a run's records live: here, or on an Odoo server |
//! | [`remote`] | one run on an Odoo server |
//! | [`people`] | finds the user that a run acts for |

pub mod agents;
pub mod beside;
pub mod clock;
pub mod committer;
pub mod config;
pub mod diagnose;
mod dispatch;
pub mod engine;
pub mod error;
pub mod events;
mod failpoint;
pub mod firing;
pub mod guard;
pub mod index;
pub mod journal;
mod lanes;
pub mod loader;
pub mod logs;
pub mod loops;
pub mod matcher;
mod message;
pub mod needs;
pub mod outside;
pub mod pace;
mod packed;
pub mod parking;
mod past;
mod pauses;
pub mod people;
pub mod plan;
pub mod play;
pub mod policy;
pub mod proposals;
mod queue;
mod random;
pub mod records;
mod refusals;
pub mod remote;
pub mod replay;
pub mod report;
pub mod retention;
pub mod rule;
pub mod runner;
pub mod runs;
pub mod schedule;
pub mod scripts;
mod seats;
pub mod seen;
pub mod setting;
mod sides;
pub mod state;
pub mod threads;
pub mod timed;
pub mod tools;

pub use clock::{Clock, SystemClock, TestClock};
pub use config::Config;
pub use engine::{Changed, Engine, Origin, Workers};
pub use error::EngineError;
pub use guard::LogSink;
pub use report::{Report, Verdict};
pub use runner::{Request, RunError, run};
