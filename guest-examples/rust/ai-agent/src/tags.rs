//! `$model/id` in a prompt: records that somebody wants the agent to see.

use triggerbox::RecordRef;

/// The records that a template names. Only the template is searched, before it is rendered: what stands in a record's
/// own text adds nothing.
pub fn tags(template: &str) -> Vec<RecordRef> {
    let mut found = Vec::new();
    for (_, rest) in template.match_indices('$').map(|(at, _)| template.split_at(at + 1)) {
        let model = rest.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c)));
        let Some(model) = model.into_iter().next().filter(|model| model.starts_with(|c: char| c.is_ascii_lowercase()))
        else {
            continue;
        };
        let Some(id) = rest[model.len()..].strip_prefix('/') else { continue };
        let digits = id.len() - id.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(id) = id[..digits].parse::<u32>() else { continue };
        let record = RecordRef::new(model, id);
        if id > 0 && !found.contains(&record) {
            found.push(record);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_dollar_a_model_and_an_id() {
        let text = "See $crm.lead/123, ($res.partner/7) and $crm.lead/123 again; not $5/7, $crm.lead/x, $/1, US$ 3/4, \
                    $sale.order/0 or $crm.lead/99999999999.";
        assert_eq!(tags(text), [RecordRef::new("crm.lead", 123), RecordRef::new("res.partner", 7)]);
    }
}
