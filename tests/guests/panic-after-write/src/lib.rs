//! Writes, then panics.

use triggerbox::prelude::*;

fn run(event: &Event) -> Result<()> {
    model("crm.lead").write(&[7], values! { "name" => "half done" })?;
    divide(event.records.len());
    Ok(())
}

#[inline(never)]
fn divide(orders: usize) {
    panic!("cannot divide among {orders}");
}

triggerbox::script!(run);
