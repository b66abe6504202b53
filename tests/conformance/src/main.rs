//! `cargo run --release -p conformance -- PATH…`: runs the case files found at the paths (files or folders,
//! `.json` or `.json.zst`) and says how many answers agree with the server's.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use conformance::{Options, Report, run};

/// Asks the embedded backend what a real Odoo server was asked, and compares the answers.
///
/// The data (schema.json, records.json, rights_data.json) is looked for beside each case file, then above it.
#[derive(Parser)]
#[command(about, long_about)]
struct Arguments {
    /// Case files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Shows the first K failures of each file, with what was expected and what was got.
    #[arg(long, value_name = "K", default_value_t = 0)]
    show: usize,
    /// Runs only cases whose id contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = Options { show: arguments.show, only: arguments.only };
    let report: Report = run(&arguments.paths, &options)?;
    if arguments.json {
        serde_json::to_writer_pretty(std::io::stdout().lock(), &report)?;
    } else {
        print!("{report}");
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
