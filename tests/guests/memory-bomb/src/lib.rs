//! Takes all memory it can get.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

triggerbox::script!(run);
