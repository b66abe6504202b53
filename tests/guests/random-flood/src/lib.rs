//! Draws random numbers for ever: work that fuel hardly sees.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    loop {
        std::hint::black_box(wasip2::random::random::get_random_bytes(60_000));
    }
}

triggerbox::script!(run);
