//! Opens the embedded backend that a command is about.

use jiff::Timestamp;
use triggerbox_store::db::{Database, Mode};

use crate::{
    args::DatabaseArgs,
    exit::{Exit, Failure, OrExit},
};

/// The named file, or the demo CRM in memory.
pub(crate) fn open(args: &DatabaseArgs, mode: Mode) -> Result<Database, Failure> {
    match &args.file {
        Some(path) => Database::open(path, mode).or_exit(Exit::Backend),
        None => Database::demo_in_memory(Timestamp::now()).or_exit(Exit::Backend),
    }
}
