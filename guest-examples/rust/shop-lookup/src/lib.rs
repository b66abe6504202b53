//! Looks the customer's reference of an order up in a web shop, and notes there what the shop says about payment and delivery.

use serde::Deserialize;
use triggerbox::{http::Request, prelude::*};

#[derive(Deserialize)]
struct ShopOrder {
    status: String,
    paid: bool,
    #[serde(default)]
    tracking: Option<String>,
}

fn run(event: &Event) -> Result<String> {
    let shop: String = event.param("url")?;
    let mut noted = 0;
    for order in event.read(&["client_order_ref"])? {
        let reference = order.text("client_order_ref")?;
        if reference.is_empty() {
            continue;
        }
        let answer = Request::get(format!("{shop}/orders/{}", encode(reference)))
            .header("x-shop-key", "${secret:shop}")
            .send()?;
        let note = match answer.status {
            404 => format!("The shop knows no order {reference}."),
            _ => describe(reference, &answer.ok()?.json()?),
        };
        order.post_note(note)?;
        noted += 1;
    }
    Ok(format!("{noted} of {} orders looked up", event.records.len()))
}

fn describe(reference: &str, order: &ShopOrder) -> String {
    let paid = if order.paid { "paid" } else { "not paid" };
    let tracking = order.tracking.as_ref().map(|number| format!(", tracking number {number}")).unwrap_or_default();
    format!("Shop order {reference}: {}, {paid}{tracking}.", order.status)
}

/// What a customer typed is one segment of the path and nothing else.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    #[test]
    fn a_reference_stays_in_its_segment() {
        assert_eq!(super::encode("../admin?x=1#"), "%2E%2E%2Fadmin%3Fx%3D1%23");
        assert_eq!(super::encode("SO-7_é"), "SO-7_%C3%A9");
    }
}
