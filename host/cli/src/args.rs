//! The command line as data. The help texts are the reference page of the book, too.

mod agents;
mod odoo;
mod rules;
mod runs;
mod serve;
mod test;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use triggerbox_model::{grants::Grant, limits::Limit, outbound::HttpGrant};

pub(crate) use self::agents::{AgentsArgs, AgentsCommand, ThreadsArgs, ThreadsCommand};
pub(crate) use self::odoo::{OdooArgs, OdooCommand, There};
pub(crate) use self::rules::{ApplyArgs, Common, RulesArgs, RulesCommand, ScriptsArgs, ScriptsCommand};
pub(crate) use self::runs::{ApprovalsArgs, ApprovalsCommand, RunsArgs, RunsCommand};
pub(crate) use self::serve::{ServeArgs, TokenArgs, TokenCommand};
pub(crate) use self::test::{BacktestArgs, DevArgs, ReplayArgs, TestArgs, TestFormat};

/// Business automations as WebAssembly components: each run in a fresh sandbox with hard limits, each change applied
/// as one transaction or not at all.
#[derive(Debug, Parser)]
#[command(name = "triggerbox", version, after_help = AFTER, max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Exit codes: 0 ok, 1 the script failed, 2 usage, 3 a limit stopped it, 4 a right was missing, 5 the backend failed,
6 not a valid component.

First steps: `triggerbox demo`, then `triggerbox new my-script`.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole point in a minute: a script at work, and three that misbehave.
    Demo(DemoArgs),
    /// Start a script: a folder with source, manifest and a test.
    New(NewArgs),
    /// Compile a script's folder to a component with its manifest inside.
    Build(BuildArgs),
    /// Say what a component is, what it asks for, and whether this host can run it.
    Check(CheckArgs),
    /// Run a script on records and show what it did.
    Run(Box<RunArgs>),
    /// Run a script's scenarios: what is given, what happens, what is expected.
    Test(Box<TestArgs>),
    /// Build, test and push to a test server, whenever a file changes.
    Dev(DevArgs),
    /// Run an exported run again, without a server.
    Replay(ReplayArgs),
    /// Run a folder of exported runs again on a component, and count.
    Backtest(BacktestArgs),
    /// Rules: what happens by itself, when, on what, as whom.
    Rules(RulesArgs),
    /// Agents: what rules ask language models with.
    Agents(AgentsArgs),
    /// Threads: what was said in runs that ask a language model.
    Threads(ThreadsArgs),
    /// Runs: what happened, once more, or on another version.
    Runs(RunsArgs),
    /// Changes that wait for somebody's yes.
    Approvals(ApprovalsArgs),
    /// Scripts of this server: upload, versions, activate, roll back.
    Scripts(ScriptsArgs),
    /// Serve the API, webhooks and health, and have rules run.
    Serve(ServeArgs),
    /// Bearer tokens of the API.
    Token(TokenArgs),
    /// Look at records of the embedded backend, import, export, back up.
    Db(DbArgs),
    /// A customer's Odoo as the backend: what it must hold for that.
    Odoo(OdooArgs),
    /// List the limits with their defaults.
    Limits(LimitsArgs),
    /// Check that this machine can build and run scripts.
    Doctor(DoctorArgs),
    /// Compile one component in a bounded process: the host calls itself.
    #[command(name = "__compile", hide = true)]
    Compile,
    /// All help texts as a page of the book.
    #[command(name = "__markdown-help", hide = true)]
    MarkdownHelp,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `new`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  triggerbox new big-deals                        a script in Rust, with a test that passes
  triggerbox new big-deals --lang python          the same in Python
  triggerbox new late-orders --lang server-action the Python code of a server action, as it is

Then: cd big-deals && triggerbox test")]
pub(crate) struct NewArgs {
    /// Name of the script and of its folder: lower-case letters, digits and dashes.
    pub(crate) name: String,
    /// The language to write it in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// Where to put the folder.
    #[arg(long, default_value = ".")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A language with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust, compiled for wasm32-wasip2.
    Rust,
    /// Python, with CPython inside the component.
    Python,
    /// The Python code of an Odoo server action, compiled when it is built.
    ServerAction,
    /// TypeScript, with QuickJS inside the component.
    Typescript,
    /// JavaScript, with QuickJS inside the component.
    Javascript,
    /// C, by Zig's Clang.
    C,
    /// C++ over the C library.
    Cpp,
    /// Zig over the C bindings.
    Zig,
    /// Go, by its own compiler.
    Go,
}

/// Options of `build`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  triggerbox build                    the folder that one is in
  triggerbox build big-deals --output /tmp/big-deals.wasm

Compilers of languages other than Rust are installed below the folder, or into $TRIGGERBOX_TOOLS for all scripts. `triggerbox check`
says what a component is and asks for; `triggerbox test` builds and runs the scenarios.")]
pub(crate) struct BuildArgs {
    /// The script's folder: where its `triggerbox.toml` is.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Where to write the component [default: `NAME.wasm` in the script's folder].
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    /// The component.
    pub(crate) component: PathBuf,
    /// Only look into it: do not compile it, start it, or run its scenarios.
    #[arg(long)]
    pub(crate) no_compile: bool,
    /// Also fail for findings of this severity and above.
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) deny: Option<Deny>,
    /// Compare it with every published version of the contract, too.
    #[arg(long)]
    pub(crate) compat: bool,
    /// Scenarios that tell which rights are needed [default: the folder `scenarios` beside the component].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scenarios: Option<PathBuf>,
    /// Also write the findings into this file, as SARIF.
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    /// How the findings are printed.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) format: CheckFormat,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  triggerbox check scoring.wasm
  triggerbox check scoring.wasm --deny warnings --sarif findings.sarif
  triggerbox check scoring.wasm --compat

Exit codes: 0 ok, 1 a finding that is denied, 6 it does not run here.";

/// Which findings fail a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Warnings.
    Warnings,
    /// Notes and warnings.
    Notes,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, as code hosts read it.
    Sarif,
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// The component.
    pub(crate) script: PathBuf,
    /// The model of the triggering records.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Ids of the triggering records, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) ids: Vec<u32>,
    /// What happened to them.
    #[arg(long, value_enum, default_value_t = TriggerName::Manual)]
    pub(crate) trigger: TriggerName,
    /// A parameter of the script; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// What a field held before: FIELD=VALUE, the value as JSON or as plain text; may be repeated.
    #[arg(long = "old", value_name = "FIELD=VALUE", value_parser = key_value, requires = "model")]
    pub(crate) old: Vec<(String, String)>,
    /// Deliver this as a webhook's body, in place of `--trigger`: JSON, or a file that holds the body.
    #[arg(long, value_name = "JSON|FILE", conflicts_with = "trigger")]
    pub(crate) payload: Option<String>,
    /// Tell the script what the run before it said and which tools that called, as a chained rule does: a file that
    /// `triggerbox run --json` wrote, or the number of a run of the database.
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) previous: Option<String>,
    /// Sign-in name or id of the user whose rights the script has.
    #[arg(long = "as", value_name = "USER", default_value = "admin")]
    pub(crate) user: String,
    /// Do not bind the script by the user's rights. Grants, policy and limits still bind it.
    #[arg(long)]
    pub(crate) superuser: bool,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Run on records of the Odoo server that this file describes, as the user of `--as`.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) odoo: Option<PathBuf>,
    /// Narrow a limit; may be repeated.
    #[arg(long = "limit", value_name = "LIMIT=NUMBER", value_parser = limit)]
    pub(crate) limits: Vec<(Limit, u64)>,
    /// The kind of run, which decides the limits' defaults.
    #[arg(long, value_enum, default_value_t = ClassName::Async)]
    pub(crate) class: ClassName,
    /// Grant just this instead of all that the manifest asks for and policy does not guard; may be repeated.
    #[arg(long = "grant", value_name = "MODEL:OPERATIONS[:NAMES[:DOMAIN]]")]
    pub(crate) grants: Vec<Grant>,
    /// Grant a request to another service, such as 'POST https://slack.com/api/chat.postMessage'; may be repeated.
    #[arg(long = "http", value_name = "METHODS URL")]
    pub(crate) http: Vec<HttpGrant>,
    /// The time that the script sees, such as 2026-11-21T10:15:00Z [default: now].
    #[arg(long)]
    pub(crate) now: Option<String>,
    /// Seed of the script's random numbers [default: random].
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    #[command(flatten)]
    pub(crate) outside: OutsideArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Language models and other services.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutsideArgs {
    /// The providers file: language models, prices, keys, budgets, secrets.
    #[arg(long, env = "TRIGGERBOX_PROVIDERS", value_name = "FILE")]
    pub(crate) providers: Option<PathBuf>,
    /// Where answers of language models come from [default: live with --providers, replay with --recording alone].
    #[arg(long, value_enum)]
    pub(crate) llm: Option<LlmMode>,
    /// The recorded conversation to replay, or the file to record to.
    #[arg(long, value_name = "FILE")]
    pub(crate) recording: Option<PathBuf>,
    /// How alike a question must be to a recorded one.
    #[arg(long = "match", value_enum, default_value_t = MatchingName::Strict)]
    pub(crate) matching: MatchingName,
}

impl OutsideArgs {
    /// Whether any of them is given.
    pub(crate) fn asks(&self) -> bool {
        self.providers.is_some() || self.llm.is_some() || self.recording.is_some()
    }
}

/// Where answers of language models come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LlmMode {
    /// From the providers, and every exchange is recorded.
    Record,
    /// From a recording: no model is asked, nothing is paid.
    Replay,
    /// From the providers.
    Live,
    /// From nowhere: every question fails.
    Off,
}

/// How alike a question must be to a recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatchingName {
    /// The same, in the same order.
    Strict,
    /// The same course of turns and tool calls; texts may differ.
    Tolerant,
}

const RUN_EXAMPLES: &str = "\
Examples:
  triggerbox run scoring.wasm --model crm.lead --ids 7 --dry-run
  triggerbox run high-value-order.wasm --model sale.order --ids 3 --trigger created \\
      --param threshold=5000 --grant 'sale.order:read,note:amount_total'
  triggerbox run scoring.wasm --model crm.lead --ids 7 --as sam --limit fuel=1000000
  triggerbox run ai-agent.wasm --model crm.lead --ids 7 --class agent --param 'prompt=Qualify this lead.' \\
      --grant 'crm.lead:read,write,note:name,description,priority' --providers providers.toml
  triggerbox run scoring.wasm --odoo odoo.toml --model crm.lead --ids 7 --dry-run";

/// Which records.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArgs {
    /// The embedded backend's file. Without it: the demo CRM in memory, gone when the command ends.
    #[arg(long = "db", env = "TRIGGERBOX_DB", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// What happened, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub(crate) enum TriggerName {
    Created,
    Updated,
    Manual,
    SelectRecords,
}

/// The kind of run, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names are those of the limits table")]
pub(crate) enum ClassName {
    Sync,
    Async,
    Batch,
    Agent,
}

/// Options of `db`.
#[derive(Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    pub(crate) command: DbCommand,
}

/// What to do with the embedded backend.
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Create a file with the demo CRM.
    Demo {
        /// The new file.
        file: PathBuf,
        #[command(flatten)]
        format: Format,
    },
    /// List the models, with how many records each has.
    Models {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Tell all that is known of a model's fields: type, relation, digits, default, what a computed one follows from.
    Fields(FieldsArgs),
    /// Find records.
    Search(SearchArgs),
    /// Show one record with its chatter.
    Show(ShowArgs),
    /// Write a consistent copy of a database that may be in use.
    Backup {
        /// The new file.
        to: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Create a database from a copy.
    Restore {
        /// The copy.
        from: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Write a database's file anew, without what was deleted or overwritten in it.
    ///
    /// Until then, whoever has the file can read that with tools of SQLite's. Takes twice the file's size of free disk space for
    /// a while. Not beside a server.
    Compact {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Create a database from a folder with `schema.json`, `records.json` and, if there is one, `rights_data.json`.
    Import {
        /// The folder.
        folder: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Write schema, records and rights as JSON into a folder, as `db import` takes them.
    Export {
        /// The folder; made if it is not there.
        folder: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        format: Format,
    },
}

/// Options of `db fields`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  triggerbox db fields crm.lead stage_id expected_revenue")]
pub(crate) struct FieldsArgs {
    /// The model.
    pub(crate) model: String,
    /// Its fields [default: all of them].
    pub(crate) fields: Vec<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of `db search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  triggerbox db search crm.lead \"[('stage_id.name', '=', 'New')]\" --fields name,expected_revenue")]
pub(crate) struct SearchArgs {
    /// The model.
    pub(crate) model: String,
    /// A domain in Odoo's notation.
    #[arg(default_value = "[]")]
    pub(crate) domain: String,
    /// Fields to show, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "display_name")]
    pub(crate) fields: Vec<String>,
    /// `name desc, id` [default: the model's own].
    #[arg(long)]
    pub(crate) order: Option<String>,
    /// Most records to show.
    #[arg(long, default_value_t = 80)]
    pub(crate) limit: u32,
    /// Records to skip.
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: u32,
    /// Also archived records.
    #[arg(long)]
    pub(crate) archived: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of `db show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The model.
    pub(crate) model: String,
    /// The record.
    pub(crate) id: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of `limits`.
#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) format: Format,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

fn limit(text: &str) -> Result<(Limit, u64), String> {
    let (name, number) = key_value(text).map_err(|_| format!("`{text}` is not LIMIT=NUMBER, such as fuel=1000000"))?;
    let limit = Limit::from_name(&name).ok_or_else(|| triggerbox_model::limits::unknown_limit(&name))?;
    let number = number.replace('_', "");
    let number = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
    Ok((limit, number))
}
