//! Asks the host for ever, and asks on when it is refused.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    loop {
        let _ = triggerbox::state::get::<String>("key");
    }
}

triggerbox::script!(run);
