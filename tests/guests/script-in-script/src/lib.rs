//! Runs itself as a tool, again and again.

use triggerbox::prelude::*;

fn run(event: &Event) -> Result<String> {
    let model = model(event.model.clone().unwrap_or_default());
    let arguments = triggerbox::json!({ "script": "script-in-script" });
    let answer = model.call(&event.records, "script.run", arguments)?;
    Ok(format!("{answer:?}"))
}

triggerbox::script!(run);
