//! Sets fields of the triggering records, or of a record that they link to: Odoo's action "Update Record", and its
//! kind of before rule.

use triggerbox::prelude::*;
use triggerbox_ready_made::{Assignment, Set, Source, sources, values_param};

fn run(event: &Event) -> Result<Outcome> {
    let assignments = values_param(event)?;
    let target: String = event.param("target")?;
    // Inside of a write the values go back to the caller, whose record it is.
    if let Trigger::BeforeCreate(_) | Trigger::BeforeUpdate(_) | Trigger::OnChange(_) = event.trigger {
        return before(event, &assignments, &target);
    }
    let mut changed = 0;
    for source in sources(event)? {
        let Some(record) = follow(&source, &target)? else { continue };
        apply(&source, &record, &assignments)?;
        changed += 1;
    }
    Ok(Outcome::message(format!("{changed} of {} updated", event.records.len())))
}

/// The record that is changed, if the path leads to one.
fn follow(source: &Source<'_>, path: &str) -> Result<Option<RecordRef>> {
    if path.is_empty() {
        return Ok(Some(source.record().clone()));
    }
    let (value, info) = source.value(path)?;
    match (value, &info.relation) {
        (Value::Many2one(link), Some(relation)) => Ok(Some(link.of(relation.as_str()))),
        (Value::Unset, Some(_)) => Ok(None),
        _ => fail!("`{path}` is no link to one record"),
    }
}

fn apply(source: &Source<'_>, record: &RecordRef, assignments: &[Assignment]) -> Result<()> {
    let mut values = Values::new();
    for assignment in assignments {
        let info = source.fields().get(&record.model, &assignment.field)?;
        match Set::of(source, &info, &assignment.text)? {
            Set::Value(value) => _ = values.set(assignment.field.as_str(), value),
            Set::Commands(commands) => record.relate(&assignment.field, &commands)?,
        }
    }
    if !values.is_empty() {
        record.write(values)?;
    }
    Ok(())
}

/// The record is not written yet: only values that need nothing of it can be given.
fn before(event: &Event, assignments: &[Assignment], target: &str) -> Result<Outcome> {
    if !target.is_empty() {
        fail!("`target` is for rules that run after the write; this one runs before it");
    }
    let model = event.model()?;
    let source = Source::new(event, model.record(event.records.first().copied().unwrap_or_default()));
    let mut values = Values::new();
    for assignment in assignments {
        let info = source.fields().get(model.name(), &assignment.field)?;
        match Set::of(&source, &info, &assignment.text)? {
            Set::Value(value) => _ = values.set(assignment.field.as_str(), value),
            Set::Commands(_) => fail!("`{}`: + and - are for rules that run after the write", assignment.field),
        }
    }
    Ok(Outcome::none().with_values(values))
}

triggerbox::script!(run);
