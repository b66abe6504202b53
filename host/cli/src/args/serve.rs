//! Options of `serve` and `token`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use triggerbox_server::tokens::Scope;

use super::{Common, DatabaseArgs, OutsideArgs};

/// Options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct ServeArgs {
    /// The configuration file [default: every setting has its default].
    #[arg(long, env = "TRIGGERBOX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, in place of what the configuration says; port 0: one that the system chooses.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The file of the Odoo server that the records are on, in place of what the configuration says.
    #[arg(long, value_name = "FILE")]
    pub(crate) odoo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) outside: OutsideArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  triggerbox serve
  triggerbox serve --db crm.db --config triggerbox.toml
  triggerbox serve --db rules.db --odoo odoo.toml
  triggerbox serve --recording talk.json --match tolerant

Without a database: the demo CRM in memory, with a token for it on the terminal. SIGTERM and Ctrl-C drain: no new requests
and runs are taken, and those there are may end.";

/// Options of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What to do with tokens. While a server has the database open, its API does the same.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a bearer token that acts as a user. It is shown once, and kept as a hash.
    Create {
        /// What people call it.
        name: String,
        /// What it may be used for, separated by commas: read, records, rules, scripts, operate, approve, admin.
        #[arg(long = "scope", value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Days until it expires [default: it is good until it is revoked].
        #[arg(long)]
        days: Option<u32>,
        #[command(flatten)]
        common: Common,
    },
    /// List the tokens.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// End a token, now.
    Revoke {
        /// Its number.
        id: i64,
        #[command(flatten)]
        common: Common,
    },
}
