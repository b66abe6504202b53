//! Write Triggerbox automation scripts in Rust.
//!
//! A script is a function that is called once for each event, in a fresh sandbox:
//!
//! ```no_run
//! use triggerbox::prelude::*;
//!
//! fn run(event: &Event) -> Result<()> {
//!     let threshold: f64 = event.param("threshold")?;
//!     for order in event.read(&["name", "amount_total"])? {
//!         if order.f64("amount_total")? > threshold {
//!             order.post_note("A large one.")?;
//!         }
//!     }
//!     Ok(())
//! }
//!
//! triggerbox::script!(run);
//! # fn main() {}
//! ```
//!
//! Compile it with `cargo build --release --target wasm32-wasip2`; the result is a component.
//!
//! - [`Event`] says what happened, to which records, with which parameters.
//! - [`model`] reads and changes records: `search`, `search_read`, `create`, `write`, `ensure`…
//! - [`Row`] is a record with the values that were asked for, and typed getters for them.
//! - [`RecordRef`] has what belongs to one record: notes, messages, activities, followers.
//! - [`domain!`] and [`values!`] write what Odoo writes as lists and dictionaries.
//! - `?` works on every error. [`user_error!`] and [`fail!`] end the run.
//!
//! Everything that a script changes is staged. It is applied as one transaction when the script
//! returns `Ok`; an `Err`, a panic or a breached limit applies nothing.

use std::io::Write as _;

// The macros name this crate; inside it that name must mean itself.
extern crate self as triggerbox;

#[doc(hidden)]
pub mod bindings;
pub mod budget;
pub mod calendar;
pub mod chatter;
mod date;
mod domain;
mod event;
mod failure;
pub mod http;
pub mod llm;
pub mod log;
mod model;
mod row;
pub mod state;
mod value;
mod values;

#[doc(hidden)]
pub use wit_bindgen;

pub use bindings::triggerbox::automation::{
    events::{Event, MessageInfo, Outcome, PreviousRun, Slot, ToolEntry, Trigger, User, WebhookCall},
    records::{Command, FieldDefault, FieldDetails, FieldInfo, Group, OnDelete, Operation},
    types::{Condition, Error, ErrorKind, Field, Link, Operand, Operator, RecordRef, Snapshot, Term, Value},
};
pub use domain::{Domain, Search};
pub use failure::{Failure, Result};
pub use model::{Model, model, resolve_xmlid};
pub use row::Row;
pub use serde_json::{self, json};
pub use time::{self, Date, Duration, PrimitiveDateTime, UtcDateTime, ext::NumericalDuration};
pub use value::{FromValue, IntoOperand};
pub use values::Values;

/// What most scripts need: `use triggerbox::prelude::*;`
pub mod prelude {
    pub use crate::{
        Command, Date, Domain, Event, Failure, Link, Model, NumericalDuration, Operation, Outcome, RecordRef, Result,
        Row, Search, Trigger, UtcDateTime, Value, Values,
        chatter::{Activity, Message},
        debug, domain, fail, info, json, log, model, user_error, values, warn,
    };
}

/// Makes a function the component's `run`.
///
/// The function takes `&Event` and returns [`Result<T>`](Result), where `T` is [`Outcome`], or a
/// text for the run history, or `()`.
#[macro_export]
macro_rules! script {
    ($run:path) => {
        #[doc(hidden)]
        struct TriggerboxScript;

        impl $crate::bindings::Guest for TriggerboxScript {
            fn run(
                event: $crate::Event,
            ) -> ::core::result::Result<$crate::Outcome, $crate::bindings::triggerbox::automation::events::Failure> {
                $crate::__run($run, event)
            }
        }

        $crate::bindings::export!(TriggerboxScript with_types_in $crate::bindings);
    };
}

/// What `script!` exports: runs the script, with panics in one place and in short.
#[doc(hidden)]
pub fn __run<T: Into<Outcome>>(
    run: fn(&Event) -> Result<T>,
    event: Event,
) -> core::result::Result<Outcome, bindings::triggerbox::automation::events::Failure> {
    // The default text adds a thread that has no name and advice about a variable that is not there.
    // Written as bytes: `eprintln!` would be another 10 KB.
    std::panic::set_hook(Box::new(|panic| _ = std::io::stderr().write_all(format!("{panic}\n").as_bytes())));
    // Out of the optimiser's sight the function is not inlined, and its name shows in backtraces.
    let run = std::hint::black_box(run);
    run(&event).map(Into::into).map_err(Failure::into_contract)
}
