//! Notes leads with a high expected revenue.

use triggerbox::prelude::*;

/// Called once for each event. Everything it changes is applied together when it returns `Ok`, and
/// not at all otherwise.
fn run(event: &Event) -> Result<String> {
    let threshold: f64 = event.param("threshold")?;
    let mut noted = 0;
    for lead in event.read(&["name", "expected_revenue"])? {
        let revenue = lead.f64("expected_revenue")?;
        info!("{}: {revenue}", lead.text("name")?);
        if let Some(note) = note(revenue, threshold) {
            lead.post_note(note)?;
            noted += 1;
        }
    }
    Ok(format!("{noted} of {} leads noted", event.records.len()))
}

/// What to say about a lead, if anything. Needs no host, so plain tests can check it.
fn note(revenue: f64, threshold: f64) -> Option<String> {
    (revenue > threshold).then(|| format!("Expected revenue {revenue} is over {threshold}."))
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leads_over_the_threshold_are_noted() {
        assert_eq!(note(100.0, 100.0), None);
        let text = note(100.5, 100.0);
        assert_eq!(text.as_deref(), Some("Expected revenue 100.5 is over 100."));
    }
}
