//! What a run changes, in words: from what it staged, and from what it knows of the records.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use triggerbox_model::{
    call::BodyFormat,
    changes::{ChangeKind, ChatterDiff, Diff, Effect, FieldDiff, RecordDiff},
    error::Error,
    event::Outcome,
    schema::{Field, FieldKind},
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};

use crate::{
    commit::Committed,
    error::OdooError,
    mention,
    session::{Fail, Session},
    value::as_read,
};

impl Session {
    /// What would change. Old values and names that the run did not read are asked for; nothing is written.
    ///
    /// # Errors
    /// When Odoo cannot be used. The inner result: the user may not see what the run changes.
    pub async fn preview(&mut self) -> Result<Result<Diff, Error>, OdooError> {
        match self.learn_old_values().await {
            Ok(()) => Ok(Ok(self.diff(&Committed::default()))),
            Err(Fail::Script(error)) => Ok(Err(error)),
            Err(Fail::Fault(fault)) => Err(fault),
        }
    }

    /// Whether what is staged writes only what the records hold already, as far as that was read for the [preview](Self::preview).
    /// What scripts keep for their next run changes no record.
    #[must_use]
    pub fn writes_nothing_new(&self) -> bool {
        let mut last: BTreeMap<(&str, Id, &str), &Value> = BTreeMap::new();
        for effect in &self.changes.effects {
            match effect {
                Effect::Write { model, ids, values } => {
                    for id in ids {
                        for FieldValue { name, value } in values {
                            last.insert((model.as_str(), *id, name.as_str()), value);
                        }
                    }
                }
                Effect::SetState { .. } => {}
                _ => return false,
            }
        }
        last.into_iter().all(|((model, id, name), value)| self.holds(&RecordRef::new(model, id), name, value))
    }

    /// Forgets what is staged for records; what scripts keep for their next run stays, where it is to be kept.
    pub fn leave_records(&mut self, keeps_state: bool) {
        self.changes.effects.retain(|effect| keeps_state && matches!(effect, Effect::SetState { .. }));
    }

    /// Whether a stored field of a record is known to hold what is written to it.
    fn holds(&self, record: &RecordRef, name: &str, written: &Value) -> bool {
        let field = self.schema.models.get(&record.model).and_then(|model| model.fields.get(name));
        let Some((field, held)) = field.filter(|field| field.store).zip(self.committed(record, name)) else {
            return false;
        };
        is_same(&held, written) || is_same(&held, &as_read(field, written))
    }

    /// An outcome with names in place of mention tokens.
    #[must_use]
    pub fn with_names(&self, outcome: Outcome, committed: &Committed) -> Outcome {
        let names = if committed.names.is_empty() { self.mentioned(&committed.ids) } else { committed.names.clone() };
        let fill = |text: String| mention::fill(&text, &names);
        Outcome {
            message: outcome.message.map(fill),
            warning: outcome.warning.map(fill),
            result_json: outcome.result_json.map(|json| mention::fill_json(&json, &names)),
            ..outcome
        }
    }

    /// What changes, as far as the run knows; with real ids in place of those that the commit gave.
    #[must_use]
    pub fn diff(&self, committed: &Committed) -> Diff {
        let mut words = Words { session: self, names: self.names(), records: IndexMap::new(), committed };
        for effect in &self.changes.effects {
            words.effect(effect);
        }
        Diff { records: words.records.into_values().collect() }
    }

    async fn learn_old_values(&mut self) -> Result<(), Fail> {
        let mut wanted: BTreeMap<String, (BTreeSet<Id>, BTreeSet<String>)> = BTreeMap::new();
        let mut named = BTreeSet::new();
        for effect in &self.changes.effects {
            let (model, ids, values) = match effect {
                Effect::Write { model, ids, values } => (model, ids.clone(), values.as_slice()),
                Effect::Create { model, values, .. } => {
                    values.iter().for_each(|values| self.linked(model, values, &mut named));
                    continue;
                }
                Effect::Ensure { model, values, .. } => (model, Vec::new(), values.as_slice()),
                Effect::Unlink { model, ids } | Effect::CallMethod { model, ids, .. } => {
                    (model, ids.clone(), [].as_slice())
                }
                Effect::Copy { target, values, .. } => (&target.model, Vec::new(), values.as_slice()),
                Effect::Relate { target, field, .. } => {
                    let entry = wanted.entry(target.model.clone()).or_default();
                    entry.0.insert(target.id);
                    entry.1.insert(field.clone());
                    (&target.model, vec![target.id], [].as_slice())
                }
                Effect::PostMessage { target, .. }
                | Effect::ScheduleActivity { target, .. }
                | Effect::CompleteActivities { target, .. } => (&target.model, vec![target.id], [].as_slice()),
                Effect::AddFollowers { target, partner_ids } | Effect::RemoveFollowers { target, partner_ids } => {
                    named.extend(partner_ids.iter().map(|id| RecordRef::new("res.partner", *id)));
                    (&target.model, vec![target.id], [].as_slice())
                }
                Effect::SetState { .. } => continue,
            };
            self.linked(model, values, &mut named);
            let entry = wanted.entry(model.clone()).or_default();
            entry.0.extend(ids.into_iter().filter(|id| !is_provisional(*id)));
            entry.1.extend(values.iter().map(|value| value.name.clone()));
        }
        for (model, (ids, mut fields)) in wanted {
            fields.insert("display_name".to_owned());
            let fields: Vec<String> = fields.into_iter().collect();
            self.fetch(&model, &ids.into_iter().collect::<Vec<_>>(), &fields).await?;
        }
        self.learn_names(named).await
    }

    /// The records that values name.
    fn linked(&self, model: &str, values: &[FieldValue], named: &mut BTreeSet<RecordRef>) {
        let Ok(described) = self.schema.model(model) else { return };
        for FieldValue { name, value } in values {
            let Some(relation) = described.fields.get(name).and_then(|field| field.relation.as_ref()) else { continue };
            match value {
                Value::Many2one(link) => drop(named.insert(RecordRef::new(relation, link.id))),
                Value::Ids(ids) => named.extend(ids.iter().map(|id| RecordRef::new(relation, *id))),
                _ => {}
            }
        }
    }
}

struct Words<'a> {
    session: &'a Session,
    names: BTreeMap<RecordRef, String>,
    records: IndexMap<RecordRef, RecordDiff>,
    committed: &'a Committed,
}

impl Words<'_> {
    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Create { model, values, ids } => {
                for (id, values) in ids.iter().zip(values) {
                    self.create(model, *id, values);
                }
            }
            Effect::Ensure { model, values, id, .. } => self.create(model, *id, values),
            Effect::Copy { target, values, id } => {
                self.create(&target.model, *id, values);
                let name = self.name(&target.model, target.id);
                let record = self.record(&target.model, *id);
                if record.name.is_empty() {
                    record.name = format!("copy of {name}");
                }
            }
            Effect::Write { model, ids, values } => {
                for id in ids {
                    values.iter().for_each(|value| self.write(model, *id, &value.name, &value.value));
                }
            }
            Effect::Relate { target, field, commands } => {
                let text = format!("{} changes of the list", commands.len());
                self.write(&target.model, target.id, field, &Value::Pending);
                let record = self.record(&target.model, target.id);
                if let Some(changed) = record.fields.iter_mut().find(|changed| changed.field == *field) {
                    changed.new_text = text.into();
                }
            }
            Effect::Unlink { model, ids } => {
                for id in ids {
                    self.record(model, *id).kind = Some(ChangeKind::Deleted);
                }
            }
            Effect::CallMethod { model, ids, method, .. } => {
                for id in ids {
                    let record = self.record(model, *id);
                    record.kind.get_or_insert(ChangeKind::Updated);
                    record.fields.push(FieldDiff {
                        field: method.as_str().into(),
                        label: format!("{method}()").into(),
                        old: Value::Unset,
                        new: Value::Pending,
                        old_text: "".into(),
                        new_text: "called when it is applied".into(),
                    });
                }
            }
            Effect::PostMessage { target, message, note } => {
                let body = self.text(&message.body);
                let text = if message.format == BodyFormat::Html { without_tags(&body) } else { body };
                self.says(target, ChatterDiff::Message { note: *note, automatic: false, text });
            }
            Effect::ScheduleActivity { target, activity } => {
                let user = match activity.user_id {
                    Some(id) => self.name("res.users", id),
                    None => self.session.account.user.name.clone(),
                };
                let entry = ChatterDiff::Activity {
                    kind: activity.kind.clone(),
                    summary: self.text(&activity.summary),
                    deadline: activity.deadline.clone().unwrap_or_else(|| "the type's delay".to_owned()),
                    user,
                };
                self.says(target, entry);
            }
            Effect::CompleteActivities { target, kind, .. } => {
                self.says(target, ChatterDiff::ActivityDone { kind: kind.clone(), summary: String::new() });
            }
            Effect::AddFollowers { target, partner_ids } => {
                for id in partner_ids {
                    let name = self.name("res.partner", *id);
                    self.says(target, ChatterDiff::Follower { name });
                }
            }
            Effect::RemoveFollowers { target, partner_ids } => {
                for id in partner_ids {
                    let name = self.name("res.partner", *id);
                    self.says(target, ChatterDiff::FollowerRemoved { name });
                }
            }
            Effect::SetState { .. } => {}
        }
    }

    fn says(&mut self, target: &RecordRef, entry: ChatterDiff) {
        self.record(&target.model, target.id).chatter.push(entry);
    }

    fn create(&mut self, model: &str, id: Id, values: &[FieldValue]) {
        self.record(model, id).kind = Some(ChangeKind::Created);
        for FieldValue { name, value } in values {
            self.write(model, id, name, value);
            if let (Some("name" | "x_name"), Value::Text(text)) = (Some(name.as_str()), value) {
                let text = self.text(text);
                self.record(model, id).name = text;
            }
        }
    }

    fn write(&mut self, model: &str, id: Id, name: &str, new: &Value) {
        let Some(field) = self.session.schema.models.get(model).and_then(|model| model.fields.get(name)).cloned()
        else {
            return;
        };
        let new = self.real(new);
        let new_text = self.words(&field, &new);
        let key = RecordRef::new(model, id);
        let old = if is_provisional(id) { Some(Value::Unset) } else { self.session.committed(&key, name) };
        let old_text = old.as_ref().map_or_else(|| "(not read)".to_owned(), |old| self.words(&field, old));
        let apart = old.as_ref().filter(|_| old_text == new_text).and_then(|old| told_apart(old, &new, &new_text));
        let (old_text, new_text) = apart.unwrap_or((old_text, new_text));
        let record = self.record(model, id);
        record.kind.get_or_insert(ChangeKind::Updated);
        match record.fields.iter_mut().find(|changed| changed.field == name) {
            Some(changed) => {
                (changed.new, changed.old_text, changed.new_text) = (new, old_text.into(), new_text.into());
            }
            None => record.fields.push(FieldDiff {
                field: name.into(),
                label: if field.string.is_empty() { name.into() } else { field.string.into() },
                old: old.unwrap_or(Value::Pending),
                new,
                old_text: old_text.into(),
                new_text: new_text.into(),
            }),
        }
        // What was written back to what it was is no change.
        if record.kind == Some(ChangeKind::Updated) {
            record.fields.retain(|changed| changed.old_text != changed.new_text || is_open(&changed.new));
        }
    }

    fn record(&mut self, model: &str, id: Id) -> &mut RecordDiff {
        let key = RecordRef::new(model, id);
        let name = self.names.get(&key).cloned().unwrap_or_default();
        let record = RecordRef::new(model, self.real_id(id));
        self.records.entry(key).or_insert_with(|| RecordDiff {
            record,
            name,
            kind: None,
            fields: Vec::new(),
            chatter: Vec::new(),
        })
    }

    fn real_id(&self, id: Id) -> Id {
        self.committed.ids.get(&id).copied().unwrap_or(id)
    }

    fn real(&self, value: &Value) -> Value {
        match value {
            Value::Many2one(link) => Value::link(self.real_id(link.id)),
            Value::Ids(ids) => Value::Ids(ids.iter().map(|id| self.real_id(*id)).collect()),
            Value::Text(text) => Value::Text(self.text(text)),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        match self.committed.names.is_empty() {
            true => mention::fill(text, &self.session.mentioned(&self.committed.ids)),
            false => self.committed.in_text(text),
        }
    }

    fn name(&self, model: &str, id: Id) -> String {
        let known = self.names.get(&RecordRef::new(model, id)).cloned();
        let made = || {
            self.records
                .get(&RecordRef::new(model, id))
                .map(|record| record.name.clone())
                .filter(|name| !name.is_empty())
        };
        known.or_else(made).unwrap_or_else(|| if is_provisional(id) { "(new)".to_owned() } else { id.to_string() })
    }

    fn words(&self, field: &Field, value: &Value) -> String {
        let relation = field.relation.as_deref().unwrap_or_default();
        match value {
            Value::Unset => String::new(),
            Value::Pending => "(pending)".to_owned(),
            Value::Boolean(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Value::Integer(number) if field.kind == FieldKind::Monetary => format!("{number}.00"),
            Value::Number(number) if field.kind == FieldKind::Monetary => format!("{number:.2}"),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(key) if field.kind == FieldKind::Selection => field
                .selection
                .iter()
                .find(|(known, _)| known == key)
                .map_or_else(|| key.clone(), |(_, label)| label.clone()),
            Value::Text(text) if field.kind == FieldKind::Html => without_tags(text),
            Value::Text(text) | Value::Date(text) | Value::Datetime(text) | Value::Json(text) => text.clone(),
            Value::Many2one(link) => link.name.clone().unwrap_or_else(|| self.name(relation, link.id)),
            Value::Ids(ids) => ids.iter().map(|id| self.name(relation, *id)).collect::<Vec<_>>().join(", "),
            Value::Reference(record) => format!("{} {}", record.model, self.name(&record.model, record.id)),
            Value::Binary(bytes) => format!("{} bytes", bytes.len()),
        }
    }
}

/// Other words for two values that read the same and are not: markup does not show, and records may be called alike.
fn told_apart(old: &Value, new: &Value, words: &str) -> Option<(String, String)> {
    match (old, new) {
        (Value::Text(old), Value::Text(new)) if old != new => Some((old.clone(), new.clone())),
        (Value::Many2one(old), Value::Many2one(new)) if old.id != new.id => {
            let number = |id: Id| if is_provisional(id) { "new".to_owned() } else { id.to_string() };
            Some((format!("{words} ({})", number(old.id)), format!("{words} ({})", number(new.id))))
        }
        _ => None,
    }
}

/// Whether a value that is written is the one that is there: links have no names when they are written, and lists no order.
fn is_same(held: &Value, written: &Value) -> bool {
    match (held, written) {
        (Value::Many2one(held), Value::Many2one(written)) => held.id == written.id,
        (Value::Ids(held), Value::Ids(written)) => {
            held.iter().collect::<BTreeSet<_>>() == written.iter().collect::<BTreeSet<_>>()
        }
        _ => held == written,
    }
}

fn is_open(value: &Value) -> bool {
    matches!(value, Value::Pending | Value::Ids(_) | Value::Binary(_) | Value::Json(_))
}

/// HTML as a line of text, for people to read.
pub(crate) fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut tag = false;
    for c in html.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => tag = false,
            c if !tag => text.push(c),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
