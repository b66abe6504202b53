//! Never ends. The limit on fuel stops it.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    info!("looking for the largest number");
    let mut number = 0_u64;
    loop {
        // Without the black box the compiler would see that nothing comes of this.
        number = std::hint::black_box(number).wrapping_add(1);
    }
}

triggerbox::script!(run);
