//! `triggerbox rules diagnose`: why a rule did not fire, or why it failed.

use triggerbox_automation::{EngineError, diagnose::diagnose};
use triggerbox_store::db::Mode;

use crate::{
    args::Common,
    commands::workshop::Workshop,
    exit::{Exit, Failure},
    output::{self, BOLD, DIM, printable, styled},
};

pub(super) fn run(name: &str, record: Option<u32>, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let found = diagnose(&workshop.database, &workshop.policy, name, record, workshop.now);
    let causes = found.map_err(|error| Failure {
        exit: if matches!(error, EngineError::Database(_)) { Exit::Backend } else { Exit::Usage },
        error: error.into(),
    })?;
    if common.format.json {
        output::json(&causes)?;
        return Ok(Exit::Ok);
    }
    for cause in &causes {
        anstream::println!("{} {}", styled(BOLD, cause.code), printable(&cause.sentence));
        if cause.remedy != "nothing" {
            anstream::println!("  {} {}", styled(DIM, "→"), printable(&cause.remedy));
        }
    }
    Ok(Exit::Ok)
}
