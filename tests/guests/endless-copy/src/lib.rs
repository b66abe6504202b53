//! Copies memory for ever: few instructions, much work.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let mut bytes = vec![1_u8; 16 << 20];
    loop {
        let half = bytes.len() / 2;
        bytes.copy_within(..half, half);
        std::hint::black_box(&mut bytes);
    }
}

triggerbox::script!(run);
