//! What happened, as data: for the model to see, and for a prompt to name.

use triggerbox::{Snapshot, json, prelude::*, serde_json::Value as Json};

use crate::{
    grants::Grants,
    values::{parsed, to_json},
};

/// What the run was fired with: its `kind`, as the contract names it, and what comes with that. Of records only the fields
/// that the rule lets it read.
pub fn told(event: &Event, grants: &Grants) -> Json {
    let mut told = match &event.trigger {
        Trigger::Created => json!({ "kind": "created" }),
        Trigger::Updated => json!({ "kind": "updated" }),
        Trigger::Deleted(gone) => json!({ "kind": "deleted", "records": records(gone, event, grants) }),
        Trigger::Time(field) => json!({ "kind": "time", "field": field }),
        Trigger::Scheduled(slot) => json!({ "kind": "scheduled", "due": slot.due, "missed": slot.missed }),
        Trigger::Manual => json!({ "kind": "manual" }),
        // Its headers are the business of whoever carried it, credentials among them.
        Trigger::Webhook(call) => {
            let query: Json = call.query.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            json!({ "kind": "webhook", "payload": parsed(&String::from_utf8_lossy(&call.body)), "query": query })
        }
        Trigger::Message(message) => {
            let author = message.author.as_ref().map(|link| json!({ "id": link.id, "name": link.name() }));
            let message =
                json!({ "id": message.id, "author": author, "body": message.body, "is_note": message.is_note });
            json!({ "kind": "message", "message": message })
        }
        Trigger::OnChange(_) => json!({ "kind": "on-change" }),
        Trigger::BeforeCreate(_) => json!({ "kind": "before-create" }),
        Trigger::BeforeUpdate(_) => json!({ "kind": "before-update" }),
        Trigger::BeforeDelete => json!({ "kind": "before-delete" }),
        Trigger::SelectRecords => json!({ "kind": "select-records" }),
        Trigger::Other(name) => json!({ "kind": name }),
    };
    if !event.old_values.is_empty() {
        told["old_values"] = json!(records(&event.old_values, event, grants));
    }
    told
}

/// Records as they were.
pub fn records(snapshots: &[Snapshot], event: &Event, grants: &Grants) -> Vec<Json> {
    let readable = event.model.as_ref().and_then(|model| grants.names("read", model));
    let shown = |name: &str| name == "display_name" || readable.is_some_and(|names| names.contains(name));
    let record = |record: &Snapshot| {
        let fields = record.fields.iter().filter(|field| shown(&field.name));
        let fields = fields.map(|field| (field.name.clone(), to_json(&field.value)));
        std::iter::once(("id".to_owned(), json!(record.id))).chain(fields).collect()
    };
    snapshots.iter().map(record).collect()
}
