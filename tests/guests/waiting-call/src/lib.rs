//! Asks the host for something that never comes.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    model("crm.lead").read(&[7], &["name"])?;
    Ok(())
}

triggerbox::script!(run);
