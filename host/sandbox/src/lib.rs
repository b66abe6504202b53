//! Runs one component against a host: compiles it, looks into it, limits it, and says what it did.
//!
//! The crate knows no database, no rules and no HTTP. A [`Host`] answers what a script asks; the sandbox
//! counts, limits, and reports how the run ended as a [`Run`].
//!
//! ```text
//! let sandbox = Sandbox::new(&Settings::default())?;        // one per process
//! let script: Script = sandbox.compile(&bytes)?;            // once per version
//! let run: Run = script.run(event, limits, Box::new(host)).await;   // once per event; never fails
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`host`] | the trait that answers a script's calls |
//! | [`report`] | what a run came to |

pub mod host;
pub mod report;

pub use host::{Host, HostFault, LogLevel};
pub use report::{Durations, Ending, Frame, Run, Trap};
