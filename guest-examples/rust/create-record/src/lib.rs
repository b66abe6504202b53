//! Creates a record for each triggering record: Odoo's action "Create Record", with search before create.

use triggerbox::prelude::*;
use triggerbox_ready_made::{Assignment, Set, Source, sources, values_param};

fn run(event: &Event) -> Result<Outcome> {
    let assignments = values_param(event)?;
    let target: String = event.param("model")?;
    let once: String = event.param("once")?;
    let keys: Vec<&str> = once.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    let link: String = event.param("link")?;
    let mut names = Vec::new();
    for source in sources(event)? {
        let values = values(&source, &target, &assignments)?;
        let record = match keys.is_empty() {
            true => model(target.as_str()).create(values)?,
            false => model(target.as_str()).ensure(&keys, values)?,
        };
        if !link.is_empty() {
            put(&source, &link, &record)?;
        }
        names.push(record.mention()?);
    }
    Ok(Outcome::message(names.join(", ")))
}

fn values(source: &Source<'_>, model: &str, assignments: &[Assignment]) -> Result<Values> {
    let mut values = Values::new();
    for assignment in assignments {
        let info = source.fields().get(model, &assignment.field)?;
        match Set::of(source, &info, &assignment.text)? {
            Set::Value(value) => _ = values.set(assignment.field.as_str(), value),
            Set::Commands(_) => fail!("`{}`: a new record has nothing to add to; list its records", assignment.field),
        }
    }
    Ok(values)
}

/// Links the new record to the one that it was made for.
fn put(source: &Source<'_>, field: &str, made: &RecordRef) -> Result<()> {
    let record = source.record();
    let info = source.fields().get(&record.model, field)?;
    if info.relation.as_deref() != Some(made.model.as_str()) {
        fail!("`{field}` of {} does not lead to {}", record.model, made.model);
    }
    match info.kind.as_str() {
        "many2one" => record.write(triggerbox::values! { field => made.id })?,
        _ => record.relate(field, &[Command::Link(made.id)])?,
    }
    Ok(())
}

triggerbox::script!(run);
