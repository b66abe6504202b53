//! Long jobs. `cargo xtask test` runs small, seeded versions of the same tests.

use anyhow::Result;

use crate::{step, tools};

/// Generated pairs of domain and data on which SQL and memory must agree.
const DOMAINS: &str = "120000";
/// Processes killed while they commit.
const KILLS: u32 = 200;
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
    step::run("kills", || tools::kills(KILLS))?;
    step::run("fuzz", || tools::fuzz(FUZZ_RUNS))
}
