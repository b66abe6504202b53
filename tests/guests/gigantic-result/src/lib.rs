//! Answers with forty megabytes: more than the host would even copy.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    Ok("x".repeat(40 << 20))
}

triggerbox::script!(run);
