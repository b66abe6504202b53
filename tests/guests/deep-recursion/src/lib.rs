//! Calls itself for ever.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    Ok(deeper(1).to_string())
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    // The sum keeps it from becoming a loop.
    if depth == 0 { 0 } else { deeper(depth + 1).wrapping_mul(3) ^ depth }
}

triggerbox::script!(run);
