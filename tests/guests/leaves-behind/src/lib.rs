//! Leaves behind what would mislead whoever runs it: a context and, for more than one record, the number of a new record that
//! is undone with it.

use triggerbox::prelude::*;

fn run(event: &Event) -> Result<String> {
    let leads = model("crm.lead");
    let before = leads.count("[]")?;
    leads.call(&[], "with_context", json!({ "context": { "active_test": false } }))?;
    let after = leads.count("[]")?;
    if event.records.len() > 1 {
        let tag = model("crm.tag").create(values! { "name" => "Gone" })?;
        fail!("made {}", tag.id);
    }
    Ok(format!("{before} and {after}"))
}

triggerbox::script!(run);
