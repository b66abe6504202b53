//! Real ids and names in place of provisional ids and mention tokens, throughout an effect.

use serde_json::Value as Json;
use triggerbox_model::{
    call::{BodyFormat, Command},
    changes::Effect,
    error::Error,
    schema::{FieldKind, Schema},
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};

use crate::{
    mention::{Style, has_token, resolve},
    methods,
};

/// What a provisional id and a mention are by now.
pub(crate) trait Known {
    /// The real id of a record.
    fn id(&self, model: &str, id: Id) -> Option<Id>;
    /// The n-th mention: the record, with real id, and its name.
    fn mention(&self, index: usize) -> Result<Option<(RecordRef, String)>, Error>;
}

/// Replaces everything provisional in an effect, but the ids that it gives out itself.
pub(crate) fn remap(schema: &Schema, known: &dyn Known, effect: &mut Effect) -> Result<(), Error> {
    let walk = Walk { schema, known };
    match effect {
        Effect::Create { model, values, .. } => values.iter_mut().try_for_each(|values| walk.fields(model, values)),
        Effect::Ensure { model, values, .. } => walk.fields(model, values),
        Effect::Write { model, ids, values } => {
            walk.ids(model, ids)?;
            walk.fields(model, values)
        }
        Effect::Relate { target, field, commands } => {
            let relation = schema.model(&target.model)?.field(field)?.relation.clone().unwrap_or_default();
            walk.record(target)?;
            commands.iter_mut().try_for_each(|command| walk.command(&relation, command))
        }
        Effect::Unlink { model, ids } => walk.ids(model, ids),
        Effect::CallMethod { model, ids, arguments_json, .. } => {
            walk.ids(model, ids)?;
            walk.arguments(model, arguments_json)?;
            walk.text(arguments_json, Style::Json)
        }
        Effect::Copy { target, values, .. } => {
            walk.fields(&target.model, values)?;
            walk.record(target)
        }
        Effect::PostMessage { target, message, .. } => {
            walk.record(target)?;
            walk.ids("res.partner", &mut message.partner_ids)?;
            if let Some(subject) = &mut message.subject {
                walk.text(subject, Style::Plain)?;
            }
            if has_token(&message.body) {
                // The link is HTML: the text around it has to be by then.
                if message.format == BodyFormat::Text {
                    message.body = crate::write::html::escape(&message.body);
                    message.format = BodyFormat::Html;
                }
                walk.text(&mut message.body, Style::Html)?;
            }
            Ok(())
        }
        Effect::ScheduleActivity { target, activity } => {
            walk.record(target)?;
            if let Some(user) = &mut activity.user_id {
                walk.id("res.users", user)?;
            }
            walk.text(&mut activity.summary, Style::Plain)?;
            match &mut activity.note {
                Some(note) => walk.text(note, Style::Html),
                None => Ok(()),
            }
        }
        Effect::CompleteActivities { target, feedback, .. } => {
            walk.record(target)?;
            match feedback {
                Some(feedback) => walk.text(feedback, Style::Plain),
                None => Ok(()),
            }
        }
        Effect::AddFollowers { target, partner_ids } | Effect::RemoveFollowers { target, partner_ids } => {
            walk.record(target)?;
            walk.ids("res.partner", partner_ids)
        }
        Effect::SetState { json, .. } => match json {
            Some(json) => walk.text(json, Style::Json),
            None => Ok(()),
        },
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    known: &'a dyn Known,
}

impl Walk<'_> {
    fn id(&self, model: &str, id: &mut Id) -> Result<(), Error> {
        if is_provisional(*id) {
            *id = self.known.id(model, *id).ok_or_else(|| {
                Error::not_found(
                    "missing-record",
                    format!("there is no {model} {id}: no record of that id was created before it is used"),
                )
            })?;
        }
        Ok(())
    }

    fn ids(&self, model: &str, ids: &mut [Id]) -> Result<(), Error> {
        ids.iter_mut().try_for_each(|id| self.id(model, id))
    }

    fn record(&self, record: &mut RecordRef) -> Result<(), Error> {
        self.id(&record.model, &mut record.id)
    }

    fn text(&self, text: &mut String, style: Style) -> Result<(), Error> {
        if has_token(text) {
            *text = resolve(text, style, |index| self.known.mention(index))?;
        }
        Ok(())
    }

    /// Records that a method is given by number.
    fn arguments(&self, model: &str, json: &mut String) -> Result<(), Error> {
        let Ok(Json::Object(mut arguments)) = serde_json::from_str(json) else { return Ok(()) };
        let mut renamed = false;
        for (relation, id) in methods::records_in(self.schema.model(model)?, &mut arguments) {
            let Some(mut real) = id.as_u64().and_then(|id| Id::try_from(id).ok()).filter(|id| is_provisional(*id))
            else {
                continue;
            };
            self.id(&relation, &mut real)?;
            *id = Json::from(real);
            renamed = true;
        }
        if renamed {
            *json = Json::Object(arguments).to_string();
        }
        Ok(())
    }

    fn fields(&self, model: &str, fields: &mut [FieldValue]) -> Result<(), Error> {
        let described = self.schema.model(model)?;
        // The model of the record that `res_id` is the number of.
        let about = described.model_column().and_then(|column| {
            let named = fields.iter().find(|field| field.name == column)?;
            if let Value::Text(model) = &named.value { Some(model.clone()) } else { None }
        });
        for FieldValue { name, value } in fields {
            let field = described.fields.get(name.as_str());
            let relation = field.and_then(|field| field.relation.as_deref());
            let relation = relation.or(about.as_deref().filter(|_| name == "res_id")).unwrap_or_default();
            match value {
                Value::Many2one(link) => self.id(relation, &mut link.id)?,
                Value::Ids(ids) => self.ids(relation, ids)?,
                Value::Reference(record) => self.record(record)?,
                Value::Text(text) => {
                    let html = field.is_some_and(|field| field.kind == FieldKind::Html);
                    self.text(text, if html { Style::Html } else { Style::Plain })?;
                }
                Value::Json(text) => self.text(text, Style::Json)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn command(&self, model: &str, command: &mut Command) -> Result<(), Error> {
        match command {
            Command::Link(id) | Command::Unlink(id) | Command::Delete(id) => self.id(model, id),
            Command::Clear => Ok(()),
            Command::Replace(ids) => self.ids(model, ids),
            Command::Create(fields) => self.fields(model, fields),
            Command::Update(id, fields) => {
                self.id(model, id)?;
                self.fields(model, fields)
            }
        }
    }
}
