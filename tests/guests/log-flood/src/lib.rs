//! Logs more than anybody reads, and then ends well.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    for line in 0..5_000 {
        info!("line {line}: {}", "x".repeat(100));
    }
    Ok(())
}

triggerbox::script!(run);
