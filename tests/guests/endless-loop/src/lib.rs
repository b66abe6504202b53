//! Never ends.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number).wrapping_add(1);
    }
}

triggerbox::script!(run);
