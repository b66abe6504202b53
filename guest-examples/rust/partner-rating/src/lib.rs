//! Asks a rating service about companies, tags the risky ones, and takes the tag away when the rating is good again.
//!
//! Only the VAT number leaves. A service that is down makes the run fail, so that it shows; it does not untag anybody.

use serde::Deserialize;
use triggerbox::{http::Request, json, prelude::*};

#[derive(Deserialize)]
struct Rating {
    score: f64,
    #[serde(default)]
    reason: String,
}

fn run(event: &Event) -> Result<String> {
    let url: String = event.param("url")?;
    let least: f64 = event.param("least")?;
    let name: String = event.param("tag")?;
    let tag = model("res.partner.category").ensure(&["name"], values! { "name" => name })?.id;
    let mut risky = 0;
    for company in event.read(&["vat", "category_id"])? {
        let vat = company.text("vat")?;
        if vat.is_empty() {
            continue;
        }
        let rating: Rating = Request::post(url.as_str())
            .header("authorization", "Bearer ${secret:rating}")
            .header("idempotency-key", format!("{}-{}", event.run_id, company.id))
            .json(&json!({ "vat": vat }))?
            .send()?
            .ok()?
            .json()?;
        let is_tagged = company.ids("category_id")?.contains(&tag);
        match (rating.score < least, is_tagged) {
            (true, false) => {
                company.relate("category_id", &[Command::Link(tag)])?;
                company.post_note(format!("Rated {} of 100: {}", rating.score, rating.reason))?;
            }
            (false, true) => company.relate("category_id", &[Command::Unlink(tag)])?,
            (true, true) | (false, false) => {}
        }
        risky += usize::from(rating.score < least);
    }
    Ok(format!("{risky} of {} companies are risky", event.records.len()))
}

triggerbox::script!(run);
