//! Hands the host a list of four million ids.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let ids: Vec<u32> = (0..4_000_000).collect();
    model("crm.lead").write(&ids, values! { "name" => "x" })?;
    Ok(())
}

triggerbox::script!(run);
