//! The project's own chores: `cargo xtask help` lists them.

mod book;
mod errors;
mod features;
mod links;
mod odoo_tests;
mod pages;
mod soak;
mod step;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must pass before a change lands; installs what it needs. This is what CI runs.
    Test,
    /// Formatting of everything.
    Format,
    /// The linter over everything.
    Lints,
    /// Parse the contract, generate bindings from it, and compare it with the last published version; or publish it.
    Wit {
        /// Freeze the contract as it is, as the published version of its number.
        #[arg(long)]
        publish: bool,
    },
    /// Check docs/features.md against the tests and pages, or write it anew.
    Features {
        /// Write the page.
        #[arg(long)]
        write: bool,
    },
    /// Check the book: its generated pages, its links, and that it builds; or write the generated pages anew.
    Docs {
        /// Write the pages.
        #[arg(long)]
        write: bool,
    },
    /// The scripts' own tests.
    Guests,
    /// Install the tools that other steps take from crates.io.
    Install,
    /// Scripts in all languages, and Odoo's server actions; installs the compilers. A part of the tests.
    Languages,
    /// Kill a store while it commits, and an engine at work, and look at what is left.
    Kills {
        /// How often each.
        #[arg(long, default_value_t = 20)]
        times: u32,
    },
    /// The pages in a real browser; installs what it needs.
    Pages,
    /// Licences, sources and (where the database can be had) advisories of all dependencies.
    Deny,
    /// Run every fuzz target for a while.
    Fuzz {
        /// Executions of each target.
        #[arg(long, default_value_t = 5_000)]
        runs: u32,
    },
    /// Long jobs: many generated domains, many kills, long fuzzing.
    Soak,
    /// The benchmarks of docs/performance.md, in release mode, with a script in every language.
    Bench,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test => test(),
        Command::Format => tools::format(),
        Command::Lints => tools::lints(),
        Command::Wit { publish: true } => tools::tests(&["--test", "wit", "--", "--ignored", "publish", "--nocapture"]),
        Command::Wit { publish: false } => tools::tests(&["--test", "wit"]),
        Command::Features { write } => features::run(write),
        Command::Docs { write: true } => book::write(),
        Command::Docs { write: false } => book::check(),
        Command::Languages => {
            tools::tests(&["--test", "scripts", "--test", "commands", "--", "languages::", "new::"])?;
            tools::tests(&["--test", "expected"])
        }
        Command::Guests => tools::guest_tests(),
        Command::Install => tools::install(),
        Command::Kills { times } => tools::kills(times, times),
        Command::Pages => pages::run(),
        Command::Deny => tools::deny(),
        Command::Fuzz { runs } => tools::fuzz(runs),
        Command::Soak => soak::run(),
        Command::Bench => tools::bench(),
    }
}

/// A named part of the whole check.
type Step = (&'static str, fn() -> Result<()>);

/// All of them select the whole workspace: another selection has other features, and would build the
/// engine once more.
const STEPS: [Step; 5] = [
    ("format", tools::format),
    ("features page", || features::run(false)),
    ("tests", tools::tests_and_more),
    ("pages", pages::run),
    ("book", book::check),
];

fn test() -> Result<()> {
    STEPS.iter().try_for_each(|(name, run)| step::run(name, run))?;
    println!("\nsteps: {} passed, 0 failed", STEPS.len());
    Ok(())
}
