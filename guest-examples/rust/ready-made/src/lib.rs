//! What the ready-made scripts share: the triggering record as their texts see it, and values of fields from texts.

mod source;
mod value;

pub use source::{Fields, Source};
pub use triggerbox_placeholders::{Assignment, Text, assignments};
pub use value::{Set, day, ids, one};

use triggerbox::prelude::*;

/// Reads a parameter as a text with placeholders; empty when it has no value.
pub fn text_param(event: &Event, name: &str) -> Result<Text> {
    let text: String = event.param(name)?;
    match Text::parse(&text) {
        Ok(text) => Ok(text),
        Err(wrong) => fail!("parameter `{name}`: {wrong}"),
    }
}

/// Reads the parameter `values`.
pub fn values_param(event: &Event) -> Result<Vec<Assignment>> {
    let text: String = event.param("values")?;
    match assignments(&text) {
        Ok(assignments) => Ok(assignments),
        Err(wrong) => fail!("parameter `values`: {wrong}"),
    }
}

/// The triggering records of an event; of a deletion there are none any more.
pub fn sources(event: &Event) -> Result<Vec<Source<'_>>> {
    Ok(event.records()?.into_iter().map(|record| Source::new(event, record)).collect())
}
