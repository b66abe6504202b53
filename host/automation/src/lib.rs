//! From an event to a commit: one run of one script, with its rights in front of the backend.
//!
//! | module | what it holds |
//! |---|---|
//! | [`runner`] | one run: attempts, commit or dry run |
//! | [`report`] | what came of it |
//! | [`guard`] | judges each call by script, rule and policy |
//! | [`needs`] | which rights a call needs |
//! | [`people`] | finds the user that a run acts for |

pub mod guard;
pub mod needs;
pub mod people;
pub mod report;
pub mod runner;

pub use guard::LogSink;
pub use report::{Report, Verdict};
pub use runner::{Request, RunError, run};
