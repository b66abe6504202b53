//! `triggerbox odoo` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// Options of `odoo`.
#[derive(Debug, Args)]
pub(crate) struct OdooArgs {
    /// The file that describes the server: address, database, users with their keys.
    #[arg(long, env = "TRIGGERBOX_ODOO_CONFIG", value_name = "FILE", default_value = "odoo.toml", global = true)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: OdooCommand,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Where the records are.
#[derive(Debug, Clone, Args)]
pub(crate) struct There {
    /// The file of the Odoo server that the records are on, if they are on one.
    #[arg(long, value_name = "FILE")]
    pub(crate) odoo: Option<PathBuf>,
}

/// What to do with an Odoo.
#[derive(Debug, Subcommand)]
pub(crate) enum OdooCommand {
    /// Make what Odoo must hold, or mend it. Shows it, asks, and a second time has nothing to do.
    Setup {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Compare what Odoo holds with what it should. Changes nothing.
    Status {
        /// Also compare Odoo's automation rules with the rules in this database.
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
    },
    /// Find out why it does not work: address, version, keys, set-up.
    Doctor,
    /// Say that the records of a database are on this server from now on: they moved, or the first one was named by mistake.
    Moved {
        /// The database.
        #[arg(long, value_name = "FILE")]
        db: PathBuf,
        /// They are in the database itself, and on no Odoo server.
        #[arg(long)]
        here: bool,
    },
    /// Take everything away again that `setup` made.
    Teardown {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
