//! Writes, then ends the program with success.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    model("crm.lead").write(&[7], values! { "name" => "half done" })?;
    std::process::exit(0)
}

triggerbox::script!(run);
