//! Opens timers and never closes one.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    loop {
        std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1));
    }
}

triggerbox::script!(run);
