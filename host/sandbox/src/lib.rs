//! Runs one component against a host: compiles it, looks into it, limits it, and says what it did.
//!
//! The crate knows no database, no rules and no HTTP. A [`Host`] answers what a script asks; the sandbox
//! counts, limits, and reports how the run ended as a [`Run`].
//!
//! The feature `runtime`, on by default, brings the engine. Without it there is [`inspect`] alone: what fuzzes or only
//! looks at components need not build an engine.
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

#[cfg(feature = "runtime")]
pub mod cache;
#[cfg(feature = "runtime")]
pub mod calendar;
#[cfg(feature = "runtime")]
pub mod compile;
#[cfg(feature = "runtime")]
pub mod engine;
#[cfg(feature = "runtime")]
pub mod host;
pub mod inspect;
#[cfg(feature = "runtime")]
pub mod report;

#[cfg(feature = "runtime")]
mod bindings;
#[cfg(feature = "runtime")]
mod clock;
#[cfg(feature = "runtime")]
mod console;
#[cfg(feature = "runtime")]
mod convert;
mod hash;
#[cfg(feature = "runtime")]
mod imports;
#[cfg(feature = "runtime")]
mod limiter;
#[cfg(feature = "runtime")]
mod measure;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
mod sandbox;
#[cfg(feature = "runtime")]
mod state;
#[cfg(feature = "runtime")]
mod stop;
#[cfg(feature = "runtime")]
mod trap;
#[cfg(feature = "runtime")]
mod wasi;

pub use hash::ContentHash;
#[cfg(feature = "runtime")]
pub use {
    cache::{Cache, CacheError},
    compile::{CompileError, Compiler},
    engine::{Allocation, EngineError, Pool},
    host::{Host, HostFault, LogLevel},
    report::{Durations, Ending, Frame, Run, Trap},
    sandbox::{Sandbox, Script, ScriptError},
};
