//! Notes orders over a threshold in their chatter.
//!
//! For rules on `sale.order`, when an order is created or its total changes. An order is noted when
//! its total passes the threshold, not again each time it changes above it.

use triggerbox::{Snapshot, prelude::*};

const NOTE: &str = "High-value sale detected, manager notified.";

fn run(event: &Event) -> Result<String> {
    let threshold: f64 = event.param("threshold")?;
    let manager: Option<u32> = event.param("manager")?;
    let mut noted = 0;
    for order in event.read(&["amount_total"])? {
        let total = order.f64("amount_total")?;
        let before = event.old_values.iter().find(|record| record.id == order.id);
        if total > threshold && !was_above(&event.trigger, before, threshold)? {
            // A note, not a message: the customer follows the order too.
            order.post_note(Message::text(NOTE).notify(manager.as_slice()))?;
            noted += 1;
        }
    }
    Ok(format!("{noted} of {} orders over {threshold}", event.records.len()))
}

/// Whether the order had passed the threshold before this event.
fn was_above(trigger: &Trigger, before: Option<&Snapshot>, threshold: f64) -> Result<bool> {
    if !matches!(trigger, Trigger::Updated) {
        return Ok(false);
    }
    match before {
        Some(before) if before.value("amount_total").is_some() => Ok(before.get::<f64>("amount_total")? > threshold),
        // The total is not among what changed, so it was what it is.
        _ => Ok(true),
    }
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    use super::*;
    use triggerbox::Field;

    #[test]
    fn an_order_is_noted_when_its_total_passes_the_threshold_and_not_again() {
        let before = |total: f64| Snapshot { id: 1, fields: vec![Field::new("amount_total", total)] };
        assert_eq!(was_above(&Trigger::Created, None, 100.0), Ok(false));
        assert_eq!(was_above(&Trigger::Updated, Some(&before(90.0)), 100.0), Ok(false));
        assert_eq!(was_above(&Trigger::Updated, Some(&before(110.0)), 100.0), Ok(true));
        let renamed = Snapshot { id: 1, fields: vec![Field::new("name", "S00001")] };
        assert_eq!(was_above(&Trigger::Updated, Some(&renamed), 100.0), Ok(true));
    }
}
