//! Options of `agents` and `threads`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Common;

/// Options of `agents`.
#[derive(Debug, Args)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    pub(crate) command: AgentsCommand,
}

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List the agents.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one agent: its file.
    Show {
        /// The agent.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make the agents as these files say: all of them, or none.
    Apply {
        /// A file, or a folder with files.
        path: PathBuf,
        /// Why, for the history.
        #[arg(long, default_value = "")]
        note: String,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Make them on this running server, such as https://triggerbox.example, as the user of the token in TRIGGERBOX_TOKEN, which
        /// needs the scope `rules`: one after the other, until one is refused; `--db` and `--as` do not matter then.
        #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
        server: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Write each agent into a file of its own.
    Export {
        /// The folder.
        folder: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// List the versions of an agent, the newest first; also of one that was deleted.
    History {
        /// The agent.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Delete an agent that no rule picks; its history stays.
    Delete {
        /// The agent.
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Options of `threads`.
#[derive(Debug, Args)]
pub(crate) struct ThreadsArgs {
    #[command(subcommand)]
    pub(crate) command: ThreadsCommand,
}

/// What to do with threads.
#[derive(Debug, Subcommand)]
pub(crate) enum ThreadsCommand {
    /// List threads, the newest first.
    List {
        /// Of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Of rules that pick this agent.
        #[arg(long)]
        agent: Option<String>,
        /// About this record.
        #[arg(long, value_name = "MODEL/ID")]
        record: Option<String>,
        /// Older than this one: the next page.
        #[arg(long)]
        before: Option<i64>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Show one thread: every message, tool call, answer and refusal, and what it cost.
    Show {
        /// The thread: the number of its run.
        thread: i64,
        #[command(flatten)]
        common: Common,
    },
    /// Have the next run on the thread's record begin a new session, with nothing spent.
    Renew {
        /// The thread.
        thread: i64,
        #[command(flatten)]
        common: Common,
    },
}
