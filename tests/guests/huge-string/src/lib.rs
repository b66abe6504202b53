//! Hands the host a text of 15 MB.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let text = "x".repeat(15 << 20);
    model("crm.lead").write(&[1], values! { "description" => text.as_str() })?;
    Ok(())
}

triggerbox::script!(run);
