//! Trigger, model and fields: whether this can ever happen to records of that model.

use triggerbox_model::{
    schema::{Field, FieldKind, Model},
    value::Id,
};

use super::Check;
use crate::rule::{Trigger, trigger::Write};

impl<'a> Check<'a> {
    pub(super) fn find_model(&mut self) {
        match (&self.rule.model, &self.rule.trigger) {
            (Some(name), _) => match self.schema().model(name) {
                Ok(model) => self.model = Some(model),
                Err(error) => self.error("unknown-model", "model", error.message),
            },
            (None, Trigger::Schedule(_) | Trigger::Manual {} | Trigger::Webhook { records: None, .. }) => {}
            (None, Trigger::Webhook { .. }) => {
                self.error("no-model", "model", "the webhook names records; name their model");
            }
            (None, _) => self.error("no-model", "model", "this trigger is about records; name their model"),
        }
    }

    pub(super) fn trigger(&mut self) -> rusqlite::Result<()> {
        let trigger = &self.rule.trigger;
        match trigger {
            Trigger::Schedule(schedule) => self.schedule(schedule),
            Trigger::Webhook { secret, dedup, records } => {
                if secret.is_empty() {
                    self.error("no-secret", "trigger.secret", "name the configured secret that signs the requests");
                }
                for (place, pointer) in [("trigger.dedup", dedup), ("trigger.records", records)] {
                    if let Some(pointer) = pointer.as_ref().filter(|pointer| !pointer.starts_with('/')) {
                        let message = format!("`{pointer}` is no JSON pointer; it begins with a slash, `/id`");
                        self.error("bad-pointer", place, message);
                    }
                }
            }
            _ => {
                if let Some(model) = self.model {
                    self.on_records(model, trigger)?;
                }
            }
        }
        Ok(())
    }

    fn on_records(&mut self, model: &'a Model, trigger: &'a Trigger) -> rusqlite::Result<()> {
        match trigger {
            Trigger::Created {} | Trigger::Deleted {} | Trigger::Manual {} => {}
            Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields } => self.watched(model, fields),
            Trigger::OnChange { fields } => {
                if fields.is_empty() {
                    self.error("no-fields", "trigger.fields", "name the fields whose editing fires the rule");
                }
                self.watched(model, fields);
            }
            Trigger::Before { writes, fields } => {
                if writes.is_empty() {
                    self.error("no-writes", "trigger.writes", "name the writes: create, update, delete");
                }
                if !fields.is_empty() && !writes.contains(&Write::Update) {
                    let message = "only updates write single fields; add `update` to `writes`, or name no fields";
                    self.error("impossible-trigger", "trigger.fields", message);
                }
                self.watched(model, fields);
            }
            Trigger::StageSet { value } => {
                if let Some(field) = self.wanted(model, "stage_id", &[FieldKind::Many2one])
                    && let Some(stage) = value
                {
                    self.related(field, *stage)?;
                }
            }
            Trigger::StateSet { value, field } => {
                let name = field.as_deref().unwrap_or("state");
                self.choice(model, name, value);
            }
            Trigger::PrioritySet { value } => self.choice(model, "priority", value),
            Trigger::TagSet { value } => {
                if let Some(field) = self.wanted(model, "tag_ids", &[FieldKind::Many2many]) {
                    self.related(field, *value)?;
                }
            }
            Trigger::UserSet {} => {
                let users = |name: &str| {
                    model.fields.get(name).is_some_and(|field| field.relation.as_deref() == Some("res.users"))
                };
                if !users("user_id") && !users("user_ids") {
                    self.impossible(model, "no field `user_id` or `user_ids` that leads to users");
                }
            }
            Trigger::Archived {} | Trigger::Unarchived {} => {
                if model.active_name.is_none() {
                    self.impossible(model, "nothing to archive: it has no field `active`");
                }
            }
            Trigger::Time { field, .. } => match model.field(field) {
                Ok(found) if !matches!(found.kind, FieldKind::Date | FieldKind::Datetime) => {
                    let message =
                        format!("`{field}` is a {} field; a time rule goes by a date or datetime", found.kind.name());
                    self.error("impossible-trigger", "trigger.field", message);
                }
                Ok(found) if !found.store => {
                    let message = format!("`{field}` is not stored, so that nobody can find what comes due");
                    self.error("impossible-trigger", "trigger.field", message);
                }
                Ok(_) => {}
                Err(error) => self.error("unknown-field", "trigger.field", error.message),
            },
            Trigger::AfterCreation { .. } | Trigger::AfterUpdate { .. } => {
                if !model.log_access {
                    self.impossible(model, "no times of creation and change: they are not kept for it");
                }
            }
            Trigger::MessageReceived {} | Trigger::MessageSent {} => {
                if !model.chatter {
                    self.impossible(model, "no chatter, and so no messages");
                }
            }
            Trigger::Webhook { .. } | Trigger::Schedule(_) => {}
        }
        Ok(())
    }

    fn impossible(&mut self, model: &Model, what: &str) {
        let message = format!("`{}` has {what}; choose another trigger", model.name);
        self.error("impossible-trigger", "trigger", message);
    }

    fn watched(&mut self, model: &Model, fields: &[String]) {
        for (index, name) in fields.iter().enumerate() {
            let place = format!("trigger.fields[{index}]");
            match model.field(name) {
                Ok(field) if !field.store => {
                    let message = format!("`{name}` is not stored: its changes are not seen; watch what it comes from");
                    self.error("impossible-trigger", place, message);
                }
                Ok(field) if field.kind == FieldKind::One2many => {
                    let related = field.relation.as_deref().unwrap_or_default();
                    let message = format!("`{name}` is the other side of a link on `{related}`; watch that model");
                    self.error("impossible-trigger", place, message);
                }
                Ok(_) if fields.iter().take(index).any(|earlier| earlier == name) => {
                    self.warning("named-twice", place, format!("`{name}` is named twice"));
                }
                Ok(_) => {}
                Err(error) => self.error("unknown-field", place, error.message),
            }
        }
    }

    /// The field that a trigger is about, if the model has it.
    fn wanted(&mut self, model: &'a Model, name: &str, kinds: &[FieldKind]) -> Option<&'a Field> {
        let field = model.fields.get(name).filter(|field| kinds.contains(&field.kind));
        if field.is_none() {
            let kind = kinds.first().map_or("", |kind| kind.name());
            self.impossible(model, &format!("no {kind} field `{name}`"));
        }
        field
    }

    fn choice(&mut self, model: &'a Model, name: &str, value: &str) {
        let Some(field) = self.wanted(model, name, &[FieldKind::Selection]) else { return };
        if !field.selection.iter().any(|(key, _)| key == value) {
            let keys: Vec<_> = field.selection.iter().map(|(key, _)| key.as_str()).collect();
            let message = format!("`{value}` is no value of `{name}`; there are {}", keys.join(", "));
            self.error("unknown-value", "trigger.value", message);
        }
    }

    fn related(&mut self, field: &Field, id: Id) -> rusqlite::Result<()> {
        let Some(model) = field.relation.as_deref().and_then(|relation| self.schema().models.get(relation)) else {
            return Ok(());
        };
        if !self.exists(model, id)? {
            let message = format!("there is no {}({id})", model.name);
            self.error("no-such-record", "trigger.value", message);
        }
        Ok(())
    }
}
