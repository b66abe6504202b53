//! Long jobs. `cargo xtask test` runs small, seeded versions of the same tests.

use anyhow::Result;

use crate::{step, tools};

/// Generated pairs of domain and data on which SQL and memory must agree.
const DOMAINS: &str = "120000";
/// Stores killed while they commit.
const STORE_KILLS: u32 = 200;
/// Engines killed at work: each named place at least 20 times.
const ENGINE_KILLS: u32 = 500;
/// Executions of each fuzz target.
const FUZZ_RUNS: u32 = 2_000_000;

pub fn run() -> Result<()> {
    step::run("domains", || {
        step::cargo_with(
            &["test", "--workspace", "--test", "domains", "--", "agreement", "--nocapture"],
            &[("TRIGGERBOX_DOMAIN_CASES", DOMAINS)],
        )
    })?;
    step::run("scale", || step::cargo(&["bench", "--workspace", "--bench", "scale"]))?;
    step::run("kills", || tools::kills(STORE_KILLS, ENGINE_KILLS))?;
    step::run("fuzz", || tools::fuzz(FUZZ_RUNS))
}
