//! Tells people about the triggering records: a note, a message to the followers, an activity, new followers.

use triggerbox::prelude::*;
use triggerbox_ready_made::{Source, Text, day, one, sources, text_param};

/// The parameters.
struct Notice {
    how: String,
    text: Text,
    subject: Text,
    partners: String,
    kind: String,
    user: String,
    due: String,
}

fn run(event: &Event) -> Result<Outcome> {
    let notice = Notice {
        how: event.param("how")?,
        text: text_param(event, "text")?,
        subject: text_param(event, "subject")?,
        partners: event.param("partners")?,
        kind: event.param("activity_type")?,
        user: event.param("user")?,
        due: event.param("due")?,
    };
    for source in sources(event)? {
        give(&source, &notice)?;
    }
    Ok(Outcome::message(format!("{} on {} records", notice.how, event.records.len())))
}

fn give(source: &Source<'_>, notice: &Notice) -> Result<()> {
    let record = source.record();
    match notice.how.as_str() {
        "note" => record.post_note(message(source, notice)?)?,
        "message" => record.post_message(message(source, notice)?)?,
        "activity" => record.schedule_activity(activity(source, notice)?)?,
        "follow" => record.add_followers(&linked(source, "res.partner", &notice.partners)?)?,
        "unfollow" => record.remove_followers(&linked(source, "res.partner", &notice.partners)?)?,
        other => fail!("`{other}` is no way to notify"),
    }
    Ok(())
}

fn message(source: &Source<'_>, notice: &Notice) -> Result<Message> {
    let text = source.fill(&notice.text)?;
    if text.trim().is_empty() {
        fail!("there is nothing to say: set the parameter `text`");
    }
    let message = Message::text(text).notify(&linked(source, "res.partner", &notice.partners)?);
    let subject = source.fill(&notice.subject)?;
    Ok(if subject.is_empty() { message } else { message.subject(subject) })
}

fn activity(source: &Source<'_>, notice: &Notice) -> Result<Activity> {
    let mut activity = Activity::new(notice.kind.as_str(), source.fill(&notice.text)?);
    if !notice.due.is_empty() {
        activity = activity.deadline(day(source.event(), &notice.due)?);
    }
    if let Some(user) = linked(source, "res.users", &notice.user)?.first() {
        activity = activity.assign(*user);
    }
    Ok(activity)
}

/// Records by id, or through links of the record: `3, {user_id.partner_id}`. Links that are empty lead to nobody.
fn linked(source: &Source<'_>, relation: &str, list: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some(path) = item.strip_prefix('{').and_then(|item| item.strip_suffix('}')) else {
            found.push(one(source, relation, item)?);
            continue;
        };
        let (value, info) = source.value(path.trim())?;
        if info.relation.as_deref() != Some(relation) {
            fail!("`{{{path}}}` does not lead to {relation}");
        }
        match value {
            Value::Many2one(link) => found.push(link.id),
            Value::Ids(more) => found.extend(more),
            _ => {}
        }
    }
    Ok(found)
}

triggerbox::script!(run);
