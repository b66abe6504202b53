//! Arguments of `triggerbox runs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Common, OutsideArgs, There};

/// Options of `runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) command: RunsCommand,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first.
    List {
        /// Of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// In this state: queued, running, succeeded, failed, skipped, waiting-approval, outcome-unknown, dead, cancelled.
        #[arg(long)]
        state: Option<String>,
        /// On this record.
        #[arg(long, value_name = "MODEL/ID")]
        record: Option<String>,
        /// Ended with this code.
        #[arg(long)]
        code: Option<String>,
        /// Not older than this: `30m`, `24h`, `7d`, or a time such as 2026-11-21T10:15:00Z.
        #[arg(long)]
        since: Option<String>,
        /// Older than this.
        #[arg(long)]
        until: Option<String>,
        /// Going back to this event.
        #[arg(long)]
        root: Option<i64>,
        /// Older than this run: the next page.
        #[arg(long)]
        before: Option<i64>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Show one run: how it ended, what it changed, its log, its limits.
    Show {
        /// The run.
        run: i64,
        #[command(flatten)]
        common: Common,
    },
    /// Show what a run asked its host and was answered, as far as that is kept.
    Journal {
        /// The run.
        run: i64,
        /// Which try [default: the last].
        #[arg(long)]
        attempt: Option<u32>,
        /// Which action of the rule, from 1.
        #[arg(long, default_value_t = 1)]
        action: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Show all runs that go back to the same event, and the fires that were suppressed.
    Chain {
        /// One of them.
        run: i64,
        #[command(flatten)]
        common: Common,
    },
    /// Queue a run again that ended without effect.
    Retry {
        /// The run.
        run: i64,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Queue all runs of a rule again that were given up. For administrators.
    Requeue {
        /// The rule.
        #[arg(long)]
        rule: String,
        /// In another state than `dead`: failed, cancelled, skipped, outcome-unknown.
        #[arg(long, default_value = "dead")]
        state: String,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Search what scripts logged, newest first.
    Logs {
        /// Of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Of this run.
        #[arg(long)]
        run: Option<i64>,
        /// At least this: debug, info, warning, error.
        #[arg(long)]
        level: Option<String>,
        /// With this text in it.
        #[arg(long)]
        contains: Option<String>,
        /// Not older than this: `30m`, `24h`, `7d`, or a time.
        #[arg(long)]
        since: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Stop a run that is not over. Nothing of it is applied.
    Cancel {
        /// The run.
        run: i64,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Run a run again from its journal, without touching a record.
    Replay {
        /// The run.
        run: i64,
        /// On this component, in place of the version that it ran on.
        #[arg(long, value_name = "FILE")]
        version: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Write a run into a file, to be replayed anywhere. What is personal is taken out.
    Export {
        /// The run.
        run: i64,
        /// The new file [default: `run-RUN.json`].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Keep the texts of records as they were.
        #[arg(long)]
        plain: bool,
        /// Put the scripts into the file, too.
        #[arg(long)]
        with_scripts: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Replay all journaled runs of a rule on a component, and count: same, differs, undecidable.
    Backtest {
        /// The component.
        version: PathBuf,
        /// The rule.
        #[arg(long)]
        rule: String,
        /// Not older than this: `24h`, `7d`, or a time.
        #[arg(long, default_value = "7d")]
        since: String,
        #[command(flatten)]
        common: Common,
    },
    /// Work on what is due, until nothing is; without a server.
    Work {
        /// The configuration file of the server that otherwise does it: its settings count, and so does what was set on its pages.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        outside: OutsideArgs,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Let go what is older or more than the settings keep. For administrators.
    Prune {
        #[command(flatten)]
        common: Common,
    },
}

/// Options of `approvals`.
#[derive(Debug, Args)]
pub(crate) struct ApprovalsArgs {
    #[command(subcommand)]
    pub(crate) command: ApprovalsCommand,
}

/// What to do with changes that wait for a yes.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List changes that wait, newest first.
    List {
        /// In another state: waiting, approved, rejected, expired, recommended, stale.
        #[arg(long, default_value = "waiting")]
        state: String,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Show what a run wants to change, with the hash that a yes names.
    Show {
        /// The run.
        run: i64,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Say yes: what was shown is applied, exactly, if its records did not change since.
    Approve {
        /// The run.
        run: i64,
        /// The hash that was shown.
        #[arg(long)]
        hash: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Say no: the run is over, without effect.
    Reject {
        /// The run.
        run: i64,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
}
