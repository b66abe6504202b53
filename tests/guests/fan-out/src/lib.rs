//! Creates five records of the model that it is fired by: where creating one fires it, each run makes five more.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    let five = (1..=5).map(|at| values! { "name" => format!("Fanned out {at}") }).collect();
    model("crm.lead").create_many(five)?;
    Ok(())
}

triggerbox::script!(run);
