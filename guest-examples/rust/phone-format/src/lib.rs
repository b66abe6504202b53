//! Keeps telephone numbers in one form, and refuses what is none.
//!
//! For rules that stand before a save, where it refuses it, and for rules on change, where it warns beside the form.

use triggerbox::{Field, prelude::*};

fn run(event: &Event) -> Result {
    let field: String = event.param("field")?;
    match &event.trigger {
        Trigger::BeforeCreate(values) => save(&field, values),
        Trigger::BeforeUpdate(records) => {
            records.first().map_or(Ok(Outcome::none()), |record| save(&field, &record.fields))
        }
        Trigger::OnChange(form) => Ok(match number(&field, &form.fields) {
            None => Outcome::none(),
            Some(Ok(number)) => Outcome::none().with_values(values! { field => number }),
            Some(Err(problem)) => Outcome::none().with_warning(problem),
        }),
        _ => fail!("this script is for rules before a save and on change"),
    }
}

fn save(field: &str, values: &[Field]) -> Result {
    match number(field, values) {
        None => Ok(Outcome::none()),
        Some(Ok(number)) => Ok(Outcome::none().with_values(values! { field => number })),
        Some(Err(problem)) => user_error!("{problem}"),
    }
}

/// The number in its one form, or what is wrong with it; none, if none is written.
fn number(field: &str, values: &[Field]) -> Option<core::result::Result<String, String>> {
    let written = values.iter().find(|value| value.name == field)?;
    let Value::Text(text) = &written.value else { return None };
    let tidy: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '/' | '.' | '(' | ')')).collect();
    let digits = tidy.strip_prefix('+').unwrap_or(&tidy);
    if digits.len() < 4 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Some(Err(format!("“{text}” is no telephone number")));
    }
    Some(Ok(tidy))
}

triggerbox::script!(run);
