//! The project's own chores: `cargo xtask help` lists them.

mod docs;
mod features;
mod step;
mod tools;
mod wit;

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
    /// Parse the contract and generate bindings from it.
    Wit,
    /// Check docs/src/features.md against the tests and pages, or write it anew.
    Features {
        /// Write the page.
        #[arg(long)]
        write: bool,
    },
    /// Check the generated pages and the book's links, or write the pages anew.
    Docs {
        /// Write the pages.
        #[arg(long)]
        write: bool,
    },
    /// The scripts' own tests and lints.
    Guests,
    /// The linter over everything.
    Lints,
    /// Licences, sources and (where the database can be had) advisories of all dependencies.
    Deny,
    /// Run every fuzz target for a while.
    Fuzz {
        /// Executions of each target.
        #[arg(long, default_value_t = 20_000)]
        runs: u32,
    },
    /// Long jobs: many generated domains, many kills, long fuzzing.
    Soak,
    /// The benchmarks of docs/src/performance.md, in release mode.
    Bench,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test => test(),
        Command::Wit => wit::check(),
        Command::Features { write } => features::run(write),
        Command::Docs { write } => docs::run(write),
        Command::Guests => tools::guest_tests(),
        Command::Lints => step::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Command::Deny => tools::deny(),
        Command::Fuzz { runs } => tools::fuzz(runs),
        Command::Soak => soak(),
        Command::Bench => step::cargo(&["bench", "--workspace", "--benches"]),
    }
}

fn test() -> Result<()> {
    step::run("format", || step::cargo(&["fmt", "--all", "--check"]))?;
    step::run("contract", wit::check)?;
    step::run("features page", || features::run(false))?;
    step::run("tests", || step::cargo(&["test", "--workspace"]))?;
    println!("\nall steps passed");
    Ok(())
}

/// The numbers that issues ask of long jobs; `cargo xtask test` runs small seeded versions of the same tests.
fn soak() -> Result<()> {
    let domains = [("TRIGGERBOX_DOMAIN_CASES", "120000")];
    step::run("domains", || {
        step::cargo_with(
            &["test", "--release", "-p", "triggerbox-store", "--test", "domains", "agreement", "--", "--nocapture"],
            &domains,
        )
    })?;
    let kills = [("TRIGGERBOX_KILLS", "200")];
    step::run("kills", || {
        step::cargo_with(
            &[
                "test",
                "--release",
                "-p",
                "triggerbox-store",
                "--features",
                "failpoints",
                "--test",
                "kill",
                "--",
                "--nocapture",
            ],
            &kills,
        )
    })?;
    step::run("fuzz", || tools::fuzz(2_000_000))
}
