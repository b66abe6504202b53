//! Calls itself for ever, with locals in linear memory: that part of the stack is full first.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    Ok(deeper(1).to_string())
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 8]);
    deeper(depth + 1) + std::hint::black_box(here)[0]
}

triggerbox::script!(run);
