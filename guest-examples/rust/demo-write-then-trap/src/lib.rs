//! Changes its records, posts on them, and then panics. Nothing of it is applied.

use triggerbox::prelude::*;

fn run(event: &Event) -> Result<()> {
    for order in event.read(&["name"])? {
        order.write(values! { "client_order_ref" => "HALF DONE", "note" => "Half done" })?;
        order.post_note("Half done.")?;
        info!("{} is half done", order.text("name")?);
    }
    divide_the_total(event.records.len());
    Ok(())
}

/// Its own function, never inlined, so that the backtrace has a name to show.
#[inline(never)]
fn divide_the_total(orders: usize) {
    panic!("cannot divide the total among {orders} orders");
}

triggerbox::script!(run);
