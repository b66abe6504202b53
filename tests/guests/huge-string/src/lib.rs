//! Hands the host a text of 40 MB.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let text = "x".repeat(40 << 20);
    model("crm.lead").write(&[1], values! { "description" => text.as_str() })?;
    Ok(())
}

triggerbox::script!(run);
