//! Checks confirmed orders against stock, and promises a delivery date.
//!
//! For rules on `sale.order`, when an order is confirmed. For each product that is short, a task to
//! purchase it is created. The order gets its delivery date, an internal note says why, and the
//! customer is told. Quotations, cancelled orders and orders that have a date are left alone.

use std::collections::BTreeMap;

use triggerbox::prelude::*;

/// What one product of an order needs.
#[derive(Debug, Clone, PartialEq)]
struct Need {
    product: u32,
    name: String,
    ordered: f64,
    available: f64,
}

impl Need {
    fn missing(&self) -> f64 {
        (self.ordered - self.available.max(0.0)).max(0.0)
    }
}

fn run(event: &Event) -> Result<String> {
    let only_in_stock: bool = event.param("only_in_stock")?;
    let mut promised = 0;
    for order in event.read(&["name", "state", "commitment_date"])? {
        let name = order.text("name")?;
        if order.text("state")? != "sale" {
            info!("{name} is not confirmed");
            continue;
        }
        if order.datetime("commitment_date")?.is_some() {
            info!("{name} has a delivery date");
            continue;
        }
        let needs = needs(order.id)?;
        let short: Vec<_> = needs.iter().filter(|need| need.missing() > 0.0).collect();
        for need in &short {
            purchase(event, name, need)?;
        }
        if !short.is_empty() && only_in_stock {
            order.post_note(format!("No delivery date yet: {}.", list(&short)))?;
            continue;
        }

        let days: i64 = event.param(if short.is_empty() { "stock_days" } else { "purchase_days" })?;
        let day = event.today()? + days.days();
        // Noon at the company, so that the day is the same one for everybody near it.
        let date = triggerbox::calendar::to_utc(day.with_hms(12, 0, 0)?, &event.run_as.tz)?;
        order.write(values! { "commitment_date" => date })?;
        let (note, message) = if short.is_empty() {
            (
                format!("All in stock; delivery by {day}."),
                format!("Your order {name} is in stock. We deliver it by {day}."),
            )
        } else {
            (
                format!("To be purchased: {}; delivery by {day}.", list(&short)),
                format!("We are getting the last items of your order {name}. We deliver it by {day}."),
            )
        };
        order.post_note(note)?;
        order.post_message(message)?;
        promised += 1;
    }
    Ok(format!("{promised} of {} orders have a new delivery date", event.records.len()))
}

/// What the order's lines still need of each product that is kept in stock.
fn needs(order: u32) -> Result<Vec<Need>> {
    let lines = model("sale.order.line").search_read(
        domain![("order_id", "=", order), ("product_id", "!=", false)],
        &["product_id", "product_uom_qty", "qty_delivered"],
    )?;
    let mut ordered: BTreeMap<u32, (String, f64)> = BTreeMap::new();
    for line in &lines {
        let Some(product) = line.link("product_id")? else { continue };
        let entry = ordered.entry(product.id).or_insert_with(|| (product.name().to_owned(), 0.0));
        entry.1 += (line.f64("product_uom_qty")? - line.f64("qty_delivered")?).max(0.0);
    }
    let ids: Vec<u32> = ordered.keys().copied().collect();
    let mut needs = Vec::new();
    for product in model("product.product").read(&ids, &["type", "qty_available"])? {
        // Services are never in stock, and never missing.
        if product.text("type")? == "service" {
            continue;
        }
        if let Some((name, ordered)) = ordered.remove(&product.id) {
            needs.push(Need { product: product.id, name, ordered, available: product.f64("qty_available")? });
        }
    }
    Ok(needs)
}

/// A task to purchase what is missing; the same one again when the order is checked again.
fn purchase(event: &Event, order: &str, need: &Need) -> Result<()> {
    let name = format!("Purchase {} for {order}", need.name);
    let description = format!(
        "<p>{} × {}: {} ordered, {} in stock (product {}).</p>",
        need.missing(),
        triggerbox::chatter::escape(&need.name),
        need.ordered,
        need.available,
        need.product,
    );
    let mut task = values! { "name" => name, "description" => description };
    if let Some(project) = event.param::<Option<u32>>("project")? {
        task.set("project_id", project);
    }
    model("project.task").ensure(&["name"], task)?;
    Ok(())
}

/// `3 × Desk, 1 × Lamp`
fn list(needs: &[&Need]) -> String {
    let items: Vec<_> = needs.iter().map(|need| format!("{} × {}", need.missing(), need.name)).collect();
    items.join(", ")
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_what_stock_does_not_cover() {
        let need = |ordered, available| Need { product: 1, name: "Desk".into(), ordered, available };
        assert_eq!(need(5.0, 2.0).missing(), 3.0);
        assert_eq!(need(5.0, 8.0).missing(), 0.0);
        assert_eq!(need(5.0, -1.0).missing(), 5.0);
        assert_eq!(list(&[&need(5.0, 2.5)]), "2.5 × Desk");
    }
}
