//! Rules fire, runs are durable: from a change to its runs, and from an event to a commit.
//!
//! How it fits together is on the page `docs/src/engine.md`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rule`] | what a rule is: its file and JSON form |
//! | [`state`] | the engine's tables |
//! | [`runner`] | one run: attempts, commit or dry run |
//! | [`report`] | what came of it |
//! | [`guard`] | judges each call by script, rule and policy |
//! | [`needs`] | which rights a call needs |
//! | [`people`] | finds the user that a run acts for |

pub mod guard;
pub mod needs;
pub mod people;
pub mod report;
pub mod rule;
pub mod runner;
pub mod state;

pub use guard::LogSink;
pub use report::{Report, Verdict};
pub use runner::{Request, RunError, run};
