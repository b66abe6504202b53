//! What a run wants to change: checked against the models, kept in order, shown to later reads.

use std::collections::BTreeMap;

use triggerbox_model::{
    call::{Answer, Call, Command, Message, WITH_CONTEXT},
    changes::Effect,
    domain::Literal,
    error::Error,
    schema::{FieldKind, Model},
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};

use super::{Fail, Session};
use crate::value::{as_read, to_json};

/// What of a key the ledger takes, in bytes: its rows are found by an index of PostgreSQL, whose entries have at most 2,704
/// with all that stands beside the key.
const LONGEST_KEY: usize = 2_400;

impl Session {
    /// Stages a call that needs nothing from Odoo.
    pub(super) fn stage(&mut self, call: Call) -> Result<Answer, Error> {
        match call {
            Call::Create { model, values } => {
                if values.is_empty() {
                    return Err(Error::invalid("no-values", "nothing to create"));
                }
                let shown =
                    values.iter().map(|values| self.check_values(&model, values)).collect::<Result<Vec<_>, _>>()?;
                let ids: Vec<Id> = shown.iter().map(|_| self.overlay.new_id()).collect();
                for (id, shown) in ids.iter().zip(shown) {
                    self.overlay.create(&self.schema, &model, *id, shown);
                }
                self.changes.effects.push(Effect::Create { model, values, ids: ids.clone() });
                Ok(Answer::Ids(ids))
            }
            Call::Write { model, ids, values } => {
                let shown = self.check_values(&model, &values)?;
                self.check_records(&model, &ids)?;
                for id in &ids {
                    self.overlay.write(&self.schema, &model, *id, shown.clone());
                }
                self.changes.effects.push(Effect::Write { model, ids, values });
                Ok(Answer::Done)
            }
            Call::Relate { target, field, commands } => self.relate(target, field, commands),
            Call::Unlink { model, ids } => {
                self.check_records(&model, &ids)?;
                for id in &ids {
                    self.overlay.delete(&self.schema, &model, *id);
                }
                self.changes.effects.push(Effect::Unlink { model, ids });
                Ok(Answer::Done)
            }
            Call::Copy { target, values } => {
                let shown = self.check_values(&target.model, &values)?;
                self.check_records(&target.model, &[target.id])?;
                let id = self.overlay.new_id();
                self.overlay.create(&self.schema, &target.model, id, shown);
                self.changes.effects.push(Effect::Copy { target, values, id });
                Ok(Answer::Id(id))
            }
            Call::CallMethod { model, ids, method, arguments_json } => {
                self.check_text(&arguments_json)?;
                self.check_records(&model, &ids)?;
                if method == WITH_CONTEXT {
                    let text =
                        "an Odoo server is asked in the run's own context: what a script sets has no effect there";
                    return Err(Error::not_found("unknown-method", text));
                }
                if !self.backend.config().methods.iter().any(|known| *known == format!("{model}.{method}")) {
                    let message = format!(
                        "`{model}.{method}` is not among the `methods` of this odoo's configuration; an administrator can add \
                         it and run `triggerbox odoo setup`"
                    );
                    return Err(Error::not_found("unknown-method", message));
                }
                check_arguments(&arguments_json)?;
                for id in &ids {
                    self.overlay.call(&self.schema, &model, *id);
                }
                self.changes.effects.push(Effect::CallMethod { model, ids, method, arguments_json });
                Ok(Answer::OptionalText(None))
            }
            Call::PostMessage { target, message } => self.post(target, message, false),
            Call::PostNote { target, message } => self.post(target, message, true),
            Call::ScheduleActivity { target, activity } => {
                self.check_text(&activity.summary)?;
                self.check_text(activity.note.as_deref().unwrap_or_default())?;
                if let Some(deadline) = &activity.deadline {
                    triggerbox_model::time::parse_date(deadline)?;
                }
                self.check_chatter(&target)?;
                self.says(&target, "activity_ids");
                self.changes.effects.push(Effect::ScheduleActivity { target, activity });
                Ok(Answer::Done)
            }
            Call::AddFollowers { target, partner_ids } => {
                self.check_chatter(&target)?;
                self.says(&target, "message_follower_ids");
                self.changes.effects.push(Effect::AddFollowers { target, partner_ids });
                Ok(Answer::Done)
            }
            Call::RemoveFollowers { target, partner_ids } => {
                self.check_chatter(&target)?;
                self.says(&target, "message_follower_ids");
                self.changes.effects.push(Effect::RemoveFollowers { target, partner_ids });
                Ok(Answer::Done)
            }
            Call::StateSet { key, json } => self.set_state(key, json),
            _ => Err(Error::unavailable("not-odoo", "odoo does not answer this call")),
        }
    }

    fn set_state(&mut self, key: String, json: Option<String>) -> Result<Answer, Error> {
        if let Some(text) = &json {
            self.check_text(text)?;
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|error| Error::invalid("bad-json", format!("the state of `{key}` is no JSON: {error}")))?;
        }
        let long = self.rule.len() + key.len();
        if long > LONGEST_KEY {
            let message = format!(
                "a key of state has at most {LONGEST_KEY} bytes on odoo, with the rule's name; this one has {long}"
            );
            return Err(Error::invalid("bad-key", message));
        }
        self.state.insert(key.clone(), json.clone());
        self.changes.effects.push(Effect::SetState { rule: self.rule.clone(), key, json });
        Ok(Answer::Done)
    }

    pub(super) async fn ensure(
        &mut self,
        model: String,
        keys: Vec<String>,
        values: Vec<FieldValue>,
    ) -> Result<Answer, Fail> {
        let shown = self.check_values(&model, &values)?;
        if keys.is_empty() {
            return Err(Error::invalid("missing-key", "`ensure` needs at least one key field").into());
        }
        let (mut wanted, mut long) = (Vec::new(), 0);
        for key in keys.iter() {
            let value = values.iter().find(|value| value.name == *key).map(|value| &value.value).ok_or_else(|| {
                Error::invalid("missing-key", format!("`ensure` has no value for its key `{key}`")).with_field(key)
            })?;
            wanted.push((key.clone(), key_literal(key, value)?));
            if let Value::Text(text) = value {
                long += in_ledger(text);
            }
        }
        if let Some(found) = self.find(&model, wanted).await? {
            return Ok(Answer::Id(found));
        }
        if long > LONGEST_KEY {
            let message = format!(
                "the keys of `ensure` have at most {LONGEST_KEY} bytes on odoo, and these have {long}: each letter beyond \
                 ASCII counts 6; use a shorter key"
            );
            return Err(Error::invalid("bad-key", message).into());
        }
        let id = self.overlay.new_id();
        self.overlay.create(&self.schema, &model, id, shown);
        self.changes.effects.push(Effect::Ensure { model, keys, values, id });
        Ok(Answer::Id(id))
    }

    pub(super) async fn complete_activities(
        &mut self,
        target: RecordRef,
        kind: String,
        feedback: Option<String>,
    ) -> Result<Answer, Fail> {
        self.check_text(feedback.as_deref().unwrap_or_default())?;
        self.check_chatter(&target)?;
        let open = self.open_activities(&target, &kind).await?;
        self.says(&target, "activity_ids");
        self.says(&target, "message_ids");
        self.changes.effects.push(Effect::CompleteActivities { target, kind, feedback });
        Ok(Answer::Count(open))
    }

    fn relate(&mut self, target: RecordRef, field: String, commands: Vec<Command>) -> Result<Answer, Error> {
        let described = self.schema.model(&target.model)?.field(&field)?.clone();
        if !described.kind.is_x2many() {
            let message = format!(
                "`{field}` of `{}` is a {} field; `relate` is for lists of records",
                target.model,
                described.kind.name()
            );
            return Err(Error::invalid("wrong-type", message).with_field(field));
        }
        let relation = described.relation.clone().unwrap_or_default();
        for command in &commands {
            if let Command::Create(values) | Command::Update(_, values) = command {
                self.check_values(&relation, values)?;
            }
        }
        self.check_records(&target.model, &[target.id])?;
        let empties = matches!(commands.last(), Some(Command::Clear));
        let value = if empties { Value::Ids(Vec::new()) } else { Value::Pending };
        self.overlay.write(&self.schema, &target.model, target.id, BTreeMap::from([(field.clone(), value)]));
        // Commands make, change and delete records of the other model.
        for other in self
            .schema
            .models
            .get(&relation)
            .map(|model| model.fields.keys().cloned().collect::<Vec<_>>())
            .into_iter()
            .flatten()
        {
            if commands.iter().any(|command| {
                !matches!(command, Command::Link(_) | Command::Unlink(_) | Command::Clear | Command::Replace(_))
            }) {
                self.overlay.touch(&self.schema, &relation, &other);
            }
        }
        self.changes.effects.push(Effect::Relate { target, field, commands });
        Ok(Answer::Done)
    }

    fn post(&mut self, target: RecordRef, message: Message, note: bool) -> Result<Answer, Error> {
        self.check_text(&message.body)?;
        self.check_text(message.subject.as_deref().unwrap_or_default())?;
        self.check_chatter(&target)?;
        self.says(&target, "message_ids");
        self.changes.effects.push(Effect::PostMessage { target, message, note });
        Ok(Answer::Done)
    }

    /// A list that the record's chatter adds to is not what it was.
    fn says(&mut self, target: &RecordRef, field: &str) {
        let values = BTreeMap::from([(field.to_owned(), Value::Pending)]);
        self.overlay.write(&self.schema, &target.model, target.id, values);
    }

    fn check_chatter(&self, target: &RecordRef) -> Result<(), Error> {
        if !self.schema.model(&target.model)?.chatter {
            return Err(Error::invalid("no-chatter", format!("records of `{}` have no chatter", target.model)));
        }
        self.check_records(&target.model, &[target.id])
    }

    /// Records of this run are there as long as it has not deleted them; others are Odoo's matter.
    fn check_records(&self, model: &str, ids: &[Id]) -> Result<(), Error> {
        self.schema.model(model)?;
        let gone = |id: &&Id| {
            self.overlay.is_deleted(model, **id) || (is_provisional(**id) && !self.overlay.is_created(model, **id))
        };
        match ids.iter().find(gone) {
            None => Ok(()),
            Some(id) => Err(Error::not_found("missing-record", format!("there is no {model}({id})"))),
        }
    }

    /// Checks values against their fields; returns what they will read as.
    fn check_values(&self, model: &str, values: &[FieldValue]) -> Result<BTreeMap<String, Value>, Error> {
        let described: &Model = self.schema.model(model)?;
        let mut shown = BTreeMap::new();
        for FieldValue { name, value } in values {
            let field = described.field(name)?;
            to_json(described, name, field, value)?;
            if let Value::Text(text) | Value::Json(text) = value {
                self.check_text(text).map_err(|error| error.with_field(name))?;
            }
            let mention = matches!(value, Value::Text(text) if text.contains('\u{F8FC}'));
            let value = if mention || !field.store && field.kind != FieldKind::Boolean {
                Value::Pending
            } else {
                as_read(field, value)
            };
            shown.insert(name.clone(), value);
        }
        Ok(shown)
    }
}

/// A method's arguments: an object with named ones, or nothing.
fn check_arguments(json: &str) -> Result<(), Error> {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        _ if json.trim().is_empty() => Ok(()),
        _ => Err(Error::invalid("bad-arguments", "the arguments of a method are no JSON object")),
    }
}

/// Bytes that a text takes in the ledger, which has the keys of `ensure` as JSON in ASCII.
fn in_ledger(text: &str) -> usize {
    let bytes = |c: char| match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        _ => 6 * c.len_utf16(),
    };
    text.chars().map(bytes).sum()
}

fn key_literal(key: &str, value: &Value) -> Result<Literal, Error> {
    Ok(match value {
        Value::Unset => Literal::Bool(false),
        Value::Boolean(flag) => Literal::Bool(*flag),
        Value::Integer(number) => Literal::Integer(i64::from(*number)),
        Value::Number(number) => Literal::Float(*number),
        Value::Text(text) | Value::Date(text) => Literal::text(text.as_str()),
        Value::Datetime(text) => Literal::text(triggerbox_model::time::datetime_from_contract(text)?),
        Value::Many2one(link) => Literal::Integer(i64::from(link.id)),
        _ => {
            let message = format!("`{key}` cannot be a key of `ensure`: {} values are not compared", value.kind_name());
            return Err(Error::invalid("bad-key", message).with_field(key));
        }
    })
}
