//! Options of `test`, `dev`, `replay` and `backtest`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DatabaseArgs, Format};

/// Options of `test`.
#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLES)]
pub(crate) struct TestArgs {
    /// The script's folder, which is built first; or a component.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Only scenarios whose name has this in it.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Where the scenarios are [default: the folder `scenarios` beside the script].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scenarios: Option<PathBuf>,
    /// Write what came of the scenarios into their files, as what is expected from now on.
    #[arg(long)]
    pub(crate) bless: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    pub(crate) format: TestFormat,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Stay, and run them again whenever a file changes.
    #[arg(long, conflicts_with_all = ["bless", "format", "json", "from_run"])]
    pub(crate) watch: bool,
    /// Make a scenario of this run of the database, in place of running any. What is personal is taken out.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["bless", "format", "only"])]
    pub(crate) from_run: Option<i64>,
    /// With `--from-run`: keep the texts of records as they were.
    #[arg(long, requires = "from_run")]
    pub(crate) plain: bool,
    /// Run them on the Odoo server of this configuration: what they need is made there, and all of it is taken away.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bless", "from_run"])]
    pub(crate) odoo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

const TEST_EXAMPLES: &str = "\
Examples:
  triggerbox test
  triggerbox test scoring.wasm --only large --format junit > results.xml
  triggerbox test --from-run 12 --db crm.db
  triggerbox test scoring.wasm --odoo odoo.toml

A scenario is a TOML file: what is given, what happens, what is expected. See the book's page on tests.";

/// How the result of tests is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people.
    Text,
    /// JUnit XML, as CI systems read it.
    Junit,
    /// One JSON document.
    Json,
}

/// Options of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
The token is read from the variable TRIGGERBOX_TOKEN; it needs the scope `scripts`.")]
pub(crate) struct DevArgs {
    /// The script's folder.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Push what passes to this test server, such as http://127.0.0.1:8080.
    #[arg(long, env = "TRIGGERBOX_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Also make it the active version there.
    #[arg(long, requires = "server")]
    pub(crate) activate: bool,
    /// Do it once, and end.
    #[arg(long)]
    pub(crate) once: bool,
}

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the same, 1 it differs or cannot be said.")]
pub(crate) struct ReplayArgs {
    /// A run that `triggerbox runs export` wrote.
    pub(crate) run: PathBuf,
    /// The component to run it on [default: those in the file].
    pub(crate) script: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `backtest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the same on every run of which it can be said, 1 it differs on one; with --strict also 1 if of one it cannot be
said.")]
pub(crate) struct BacktestArgs {
    /// A folder of runs that `triggerbox runs export` wrote.
    pub(crate) runs: PathBuf,
    /// The component.
    pub(crate) script: PathBuf,
    /// Fail also when of some run nothing can be said.
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}
