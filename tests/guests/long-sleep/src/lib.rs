//! Sleeps for an hour.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Ok(())
}

triggerbox::script!(run);
