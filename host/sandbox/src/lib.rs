//! Runs one component against a host: compiles it, looks into it, limits it, and says what it did.
//!
//! The crate knows no database, no rules and no HTTP. A [`Host`] answers what a script asks; the sandbox
//! counts, limits, and reports how the run ended as a [`Run`].
//!
//! ```no_run
//! # use triggerbox_sandbox::*;
//! # async fn example(bytes: &[u8], event: triggerbox_model::event::Event, limits: triggerbox_model::limits::Limits,
//! #     host: Box<dyn Host>) -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::new(&Pool::default())?;         // one for each process
//! let script = sandbox.compile(bytes)?;                  // once for each version
//! let run = script.run(event, limits, host).await;       // once for each event; always comes back
//! # Ok(()) }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`engine`] | the one engine constructor, and what each of its knobs costs |
//! | [`host`] | the trait that answers a script's calls |
//! | [`inspect`] | what is known about a file before it is compiled |
//! | [`report`] | what a run came to |
//! | [`cache`] | compiled scripts on disk, each with a MAC |
//! | [`compile`] | compiling uploads in a bounded child process |
//! | [`calendar`] | times between UTC and time zones |

pub mod cache;
pub mod calendar;
pub mod compile;
pub mod engine;
pub mod host;
pub mod inspect;
pub mod report;

mod bindings;
mod clock;
mod console;
mod convert;
mod imports;
mod limiter;
mod run;
mod sandbox;
mod state;
mod stop;
mod trap;
mod wasi;

pub use cache::{Cache, CacheError};
pub use compile::{CompileError, Compiler};
pub use engine::{Allocation, EngineError, Pool};
pub use host::{Host, HostFault, LogLevel};
pub use report::{Durations, Ending, Frame, Run, Trap};
pub use sandbox::{ContentHash, Sandbox, Script, ScriptError};
