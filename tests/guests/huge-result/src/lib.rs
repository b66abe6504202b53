//! Answers with two megabytes.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    Ok("x".repeat(2 << 20))
}

triggerbox::script!(run);
