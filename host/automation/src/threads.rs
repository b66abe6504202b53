//! Threads: what was said and done in each run that asks a language model. A thread has the number of its run.
//!
//! | module | what it holds |
//! |---|---|
//! | [`session`] | which runs belong together, and how long they may |
//! | [`list`] | threads in lists, and who may see them |
//! | [`read`] | one thread in full |
//! | [`search`] | looking for a text in them |
//! | [`chain`] | what a run may know of the one before it |
//! | `mirror` | the note on the record |

pub(crate) mod chain;
pub mod list;
pub(crate) mod mirror;
pub mod read;
pub mod search;
pub mod session;

pub use self::{
    chain::remembered,
    list::{ThreadFilter, ThreadSummary, asks_for, count, list, may_see, of_run},
    read::{Entry, Said, Thread, read},
    search::says,
    session::{nearly_over, renew},
};
