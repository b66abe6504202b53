//! Options of `rules` and `scripts`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DatabaseArgs, Format, There};

/// Options that all of these commands have.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Sign-in name or id of the user who does it.
    #[arg(long = "as", value_name = "USER", default_value = "admin")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules.
    List {
        /// Only those of this model.
        #[arg(long)]
        model: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show one rule: its file, its owner, the versions of scripts that it runs.
    Show {
        /// The rule.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make the rules as these files say: all of them, or none.
    Apply(ApplyArgs),
    /// Write each rule into a file of its own.
    Export {
        /// The folder.
        folder: PathBuf,
        /// Remove files of rules that are not there any more.
        #[arg(long)]
        prune: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the versions of a rule, the newest first; also of one that was deleted.
    History {
        /// The rule.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Compare two versions of a rule in words.
    Diff {
        /// The rule.
        name: String,
        /// The older version [default: the one before the newest].
        old: Option<u32>,
        /// The newer one [default: the newest].
        new: Option<u32>,
        #[command(flatten)]
        common: Common,
    },
    /// Make an earlier version the newest one.
    Restore {
        /// The rule.
        name: String,
        /// The version.
        version: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Say yes, or no, to a version that waits for the rule's owner.
    Decide {
        /// The rule.
        name: String,
        /// The proposed version.
        version: u32,
        /// Say no.
        #[arg(long)]
        reject: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a rule; its history stays.
    Delete {
        /// The rule.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Have a rule not fire for a while.
    Pause {
        /// The rule.
        name: String,
        /// Why, for those who wonder.
        #[arg(long, default_value = "paused by hand")]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// End a pause.
    Resume {
        /// The rule.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Bind a rule to another model; says what is dropped with the old one.
    SetModel {
        /// The rule.
        name: String,
        /// The new model.
        model: String,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Run a rule on records, as if somebody pressed its button: its runs are queued.
    Run {
        /// The rule.
        name: String,
        /// Ids of the records, separated by commas [default: those of the rule's source].
        #[arg(long, value_delimiter = ',')]
        ids: Vec<u32>,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Run a rule over all records that were there before it, in batches. Taken up where it stopped by the same command. For
    /// administrators.
    Backfill {
        /// The rule.
        name: String,
        /// Only records that match, besides the rule's own domain.
        #[arg(long, default_value = "[]")]
        domain: String,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
    /// Have no run start, of any rule or of those of one model, until `rules go`. Rules still fire; their runs wait.
    Stop {
        /// Only rules of this model.
        #[arg(long)]
        model: Option<String>,
        /// Why, for those who wonder.
        #[arg(long, default_value = "stopped by hand")]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// End a stop.
    Go {
        /// The stop of this model.
        #[arg(long)]
        model: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List what is stopped.
    Stops {
        #[command(flatten)]
        common: Common,
    },
    /// List when schedules are due next.
    Next {
        /// Only this rule's.
        name: Option<String>,
        /// So many times of each.
        #[arg(long, default_value_t = 3)]
        count: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Say why a rule did not fire, or why it failed.
    Diagnose {
        /// The rule.
        name: String,
        /// A record that it was expected to fire on.
        record: Option<u32>,
        #[command(flatten)]
        there: There,
        #[command(flatten)]
        common: Common,
    },
}

/// Options of `rules apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A rule's file, or a folder of them: TOML, or JSON as the API speaks it.
    pub(crate) path: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete rules that have no file. A folder without any is refused.
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not take over rules of others: propose the change to their owners.
    #[arg(long)]
    pub(crate) ask: bool,
    /// Say yes to what active versions of the rules' scripts ask for besides what was agreed to.
    #[arg(long)]
    pub(crate) agree: bool,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// The file of the Odoo server that the records are on: the rules are checked against its models, and its automation
    /// rules are made, changed and removed accordingly.
    #[arg(long, value_name = "FILE")]
    pub(crate) odoo: Option<PathBuf>,
    /// Apply them on this running server, such as https://triggerbox.example, as the user of the token in TRIGGERBOX_TOKEN,
    /// which needs the scope `rules`; `--db` and `--as` do not matter then.
    #[arg(long, value_name = "URL", conflicts_with = "odoo")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of `scripts`.
#[derive(Debug, Args)]
pub(crate) struct ScriptsArgs {
    #[command(subcommand)]
    pub(crate) command: ScriptsCommand,
}

/// What to do with scripts.
#[derive(Debug, Subcommand)]
pub(crate) enum ScriptsCommand {
    /// Check, compile and keep a component as a version of its script. The first version of a script becomes active.
    Upload {
        /// The component.
        component: PathBuf,
        /// Make it the active version.
        #[arg(long)]
        activate: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List scripts and their versions.
    List {
        /// Only this script.
        name: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Make a version the active one: what `latest` means.
    Activate {
        /// The script.
        name: String,
        /// The beginning of the version's hash.
        version: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make the version active that was so before.
    Rollback {
        /// The script.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Switch a script off: rules that want its latest version do not run.
    Deactivate {
        /// The script.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// List what was active when.
    History {
        /// The script.
        name: String,
        #[command(flatten)]
        common: Common,
    },
}
