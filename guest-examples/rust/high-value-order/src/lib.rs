//! Notes orders over a threshold in their chatter.
//!
//! For rules on `sale.order`, when an order is created or its total changes. An order is noted when
//! its total passes the threshold, not again each time it changes above it.

use triggerbox::prelude::*;

const NOTE: &str = "High-value sale detected, manager notified.";

fn run(event: &Event) -> Result<String> {
    let threshold: f64 = event.param("threshold")?;
    let manager: Option<u32> = event.param("manager")?;
    let mut noted = 0;
    for order in event.read(&["amount_total"])? {
        let total = order.f64("amount_total")?;
        if total > threshold && !was_above(event, order.id, threshold)? {
            // A note, not a message: the customer follows the order too.
            order.post_note(Message::text(NOTE).notify(manager.as_slice()))?;
            noted += 1;
        }
    }
    Ok(format!("{noted} of {} orders over {threshold}", event.records.len()))
}

/// Whether the order had passed the threshold before this event.
fn was_above(event: &Event, order: u32, threshold: f64) -> Result<bool> {
    if !matches!(event.trigger, Trigger::Updated) {
        return Ok(false);
    }
    let before = event.old_values.iter().find(|record| record.id == order);
    Ok(match before {
        Some(before) if before.value("amount_total").is_some() => before.get::<f64>("amount_total")? > threshold,
        // The total is not among what changed, so it was what it is.
        _ => true,
    })
}

triggerbox::script!(run);
