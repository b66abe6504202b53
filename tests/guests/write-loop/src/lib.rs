//! Writes the same record again and again.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    for round in 0.. {
        model("crm.lead").write(&[7], values! { "name" => format!("round {round}") })?;
    }
    Ok(())
}

triggerbox::script!(run);
