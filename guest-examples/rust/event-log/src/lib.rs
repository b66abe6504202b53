//! Logs what it is told: for looking at what a trigger brings, and at what a rule or a scenario says of a run.
//!
//! For rules on any model. What it reads and does besides, its parameters say, within the rule's grants. It answers with all
//! that a script can answer with.

use triggerbox::{Field, Snapshot, User, budget, http, llm, prelude::*};

fn run(event: &Event) -> Result<Outcome> {
    info!("{}", what_happened(&event.trigger));
    info!("records: {} {:?}", event.model.as_deref().unwrap_or("none"), event.records);
    event.old_values.iter().for_each(|record| info!("before: {}", snapshot(record)));
    let superuser = if event.superuser { ", as superuser" } else { "" };
    info!("by {}, with the rights of {}{superuser}", login(&event.actor), login(&event.run_as));
    info!("at {}, seed {}", event.now, event.seed);
    info!("host calls left: {}", budget::remaining("host-calls").unwrap_or_default());
    look(event)?;
    act(event)?;
    if let Some(question) = event.param::<Option<String>>("ask")? {
        info!("the model says: {}", llm::ask(question)?);
    }
    if let Some(url) = event.param::<Option<String>>("fetch")? {
        let answer = http::Request::get(url).send()?;
        info!("answered: {} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer(event))
}

fn what_happened(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Created => "created".to_owned(),
        Trigger::Updated => "updated".to_owned(),
        Trigger::Deleted(records) => format!("deleted: {} records, the first {}", records.len(), named(records)),
        Trigger::Time(field) => format!("time: {field}"),
        Trigger::Scheduled(slot) => format!("scheduled: due {}, {} missed", slot.due, slot.missed),
        Trigger::Manual => "manual".to_owned(),
        Trigger::Webhook(call) => {
            let body = String::from_utf8_lossy(&call.body);
            format!("webhook: {} {:?} {:?} {body}", call.method, call.headers, call.query)
        }
        Trigger::Message(message) => {
            let author = message.author.as_ref().map_or("nobody", Link::name);
            format!("message: {author} says {}, {}", message.body, if message.is_note { "a note" } else { "to all" })
        }
        Trigger::OnChange(draft) => format!("on-change: {}", snapshot(draft)),
        Trigger::BeforeCreate(values) => format!("before-create: {}", fields(values)),
        Trigger::BeforeUpdate(records) => {
            format!("before-update: {}", records.iter().map(snapshot).collect::<Vec<_>>().join("; "))
        }
        Trigger::BeforeDelete => "before-delete".to_owned(),
        Trigger::SelectRecords => "select-records".to_owned(),
        Trigger::Other(name) => format!("other: {name}"),
    }
}

fn login(user: &User) -> &str {
    &user.login
}

/// The first record's name; snapshots have all fields.
fn named(records: &[Snapshot]) -> String {
    let name = records.first().and_then(|record| record.value("name"));
    name.map(shown).unwrap_or_default()
}

fn snapshot(record: &Snapshot) -> String {
    format!("{} {}", record.id, fields(&record.fields))
}

fn fields(fields: &[Field]) -> String {
    fields.iter().map(|field| format!("{} = {}", field.name, shown(&field.value))).collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) | Value::Json(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Many2one(link) => link.name().to_owned(),
        other => other.kind_name().to_owned(),
    }
}

/// Logs what the records are, and what was said on them.
fn look(event: &Event) -> Result<()> {
    if let Some(names) = event.param::<Option<String>>("read")? {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        for row in event.read(&names)? {
            let values = names.iter().map(|name| Ok(format!("{name} = {}", shown(row.value(name)?))));
            info!("read: {}", values.collect::<Result<Vec<_>>>()?.join(", "));
        }
    }
    if event.param("messages")? {
        for record in event.records()? {
            for said in record.messages(10)? {
                info!("said: {}: {}{}", said.author, said.body, if said.is_note { ", a note" } else { "" });
            }
        }
    }
    Ok(())
}

/// Does what the parameters say.
fn act(event: &Event) -> Result<()> {
    let complete: Option<String> = event.param("complete")?;
    let unfollow: Option<u32> = event.param("unfollow")?;
    let delete: bool = event.param("delete")?;
    if complete.is_none() && unfollow.is_none() && !delete {
        return Ok(());
    }
    for record in event.records()? {
        if let Some(kind) = &complete {
            record.complete_activities(kind, None)?;
        }
        if let Some(partner) = unfollow {
            record.remove_followers(&[partner])?;
        }
        if delete {
            record.unlink()?;
        }
    }
    Ok(())
}

/// Before rules answer with values, the choice of records with records, and who called gets a result.
fn answer(event: &Event) -> Outcome {
    match &event.trigger {
        Trigger::BeforeCreate(_) | Trigger::BeforeUpdate(_) | Trigger::OnChange(_) => {
            Outcome::none().with_values(values! { "name" => "From the event log" }).with_warning("logged")
        }
        Trigger::SelectRecords => Outcome::none().with_records(event.records.clone()),
        Trigger::Webhook(_) => Outcome::message("logged").with_result(json!({ "logged": true })),
        _ => Outcome::message("logged"),
    }
}

triggerbox::script!(run);
