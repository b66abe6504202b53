//! Long jobs. `cargo xtask test` runs small, seeded versions of the same tests.

use anyhow::Result;

use crate::{step, tools};

/// Generated pairs of domain and data on which SQL and memory must agree.
const DOMAINS: &str = "120000";
/// Runs that lie in the database while others are measured: they may cost a fifth.
const PAST_RUNS: &str = "1000000";
/// Runs in the database while each page is looked at: none may take a tenth of a second.
const PAGE_RUNS: &str = "1000000";
/// Runs over which memory stays what it is.
const MEMORY_RUNS: &str = "1000000";
/// Runs that wait for a language model at once.
const WAITING_RUNS: &str = "10000";
/// Stores killed while they commit.
const STORE_KILLS: u32 = 200;
/// Engines killed at work: each named place at least 20 times.
const ENGINE_KILLS: u32 = 640;
/// Executions of each fuzz target.
const FUZZ_RUNS: u32 = 2_000_000;

pub(crate) fn run() -> Result<()> {
    step::run("domains", || {
        step::cargo_with(
            &["test", "--workspace", "--test", "domains", "--", "agreement", "--nocapture"],
            &[("TRIGGERBOX_DOMAIN_CASES", DOMAINS)],
        )
    })?;
    step::run("scale", || step::cargo(&["bench", "--workspace", "--bench", "scale"]))?;
    step::run("engine", || {
        step::cargo_with(
            &["bench", "--workspace", "--bench", "engine"],
            &[("TRIGGERBOX_PAST_RUNS", PAST_RUNS), ("TRIGGERBOX_MEMORY_RUNS", MEMORY_RUNS)],
        )
    })?;
    step::run("waiting", || {
        step::cargo_with(
            &["test", "--workspace", "--release", "--test", "waiting"],
            &[("TRIGGERBOX_WAITING_RUNS", WAITING_RUNS)],
        )
    })?;
    step::run("pages", || {
        let arguments = [
            "test",
            "--workspace",
            "--release",
            "--test",
            "api",
            "--",
            "--ignored",
            "any_page_is_quick",
            "--nocapture",
        ];
        step::cargo_with(&arguments, &[("TRIGGERBOX_PAGE_RUNS", PAGE_RUNS)])
    })?;
    step::run("kills", || tools::kills(STORE_KILLS, ENGINE_KILLS))?;
    step::run("fuzz", || tools::fuzz(FUZZ_RUNS))
}
