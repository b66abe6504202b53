//! The changes of a run in one request, which Odoo does in one transaction: all of it or nothing, and once.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    call::{BodyFormat, Command},
    changes::Effect,
    error::{Error, ErrorKind},
    schema::{Field, FieldKind, Schema},
    text::escape_html,
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};

use crate::{
    backend::{Backend, refusal},
    error::OdooError,
    mention,
    session::Session,
    value::{id, link, to_json},
};

/// Why a run's changes were not applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed a record that the run had read and changes. Nobody: the run runs again.
    #[error("{0}")]
    Conflict(Error),
    /// The data is refused. Whoever provides the data, or the rule's author.
    #[error("{0}")]
    Refused(Error),
    /// Nothing was applied, and Odoo cannot be used. The operator.
    #[error("{0}")]
    Backend(OdooError),
    /// No answer came, however often it was asked: it may be applied. Asked again, it is not applied twice.
    #[error("{0}; whether the changes were applied is not known, and asking again applies them once")]
    Unclear(OdooError),
}

impl From<OdooError> for CommitError {
    fn from(error: OdooError) -> Self {
        match error {
            OdooError::Busy(refusal) => Self::Conflict(refusal.error),
            OdooError::Refused(refusal) if refusal.error.kind == ErrorKind::Conflict => Self::Conflict(refusal.error),
            OdooError::Refused(refusal) => Self::Refused(refusal.error),
            error if error.is_unclear() => Self::Unclear(error),
            error => Self::Backend(error),
        }
    }
}

/// What came of a run's changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// What provisional ids became.
    pub ids: BTreeMap<Id, Id>,
    /// How the run's mentions read.
    pub names: Vec<Option<String>>,
    /// The last update of what was written, to the second; none, if nothing was.
    pub at: Option<Timestamp>,
    /// An earlier request had been applied already, and this one changed nothing.
    pub again: bool,
}

impl Committed {
    /// A text with names in place of the run's mention tokens.
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        mention::fill(text, &self.names)
    }
}

impl Backend {
    /// Which of these runs Odoo's ledger has, as the administrator sees it, and the last update of what each of them wrote, to
    /// the second.
    ///
    /// # Errors
    /// Odoo cannot be used.
    pub async fn applied(&self, runs: &[String]) -> Result<BTreeMap<String, Timestamp>, OdooError> {
        if runs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let names: Vec<String> = runs.iter().map(|run| format!("run {run}")).collect();
        // A row is as old as what its transaction wrote.
        let body = json!({ "domain": [["x_name", "in", names]], "fields": ["x_name", "create_date"] });
        let rows = self.client.call(caller, "x_triggerbox_run", "search_read", &body).await?;
        let rows = rows.as_array().ok_or_else(|| refusal(crate::session::odd("a search")))?.iter();
        let runs = rows.map(|row| {
            let run = row.get("x_name")?.as_str()?.strip_prefix("run ")?;
            Some((run.to_owned(), utc(row.get("create_date")?)?))
        });
        runs.collect::<Option<_>>().ok_or_else(|| refusal(crate::session::odd("a search")))
    }
}

impl Session {
    /// Applies what the run staged. `run` names it for good: a second request of that name applies nothing.
    ///
    /// # Errors
    /// [`CommitError`]
    pub async fn commit(&self, run: &str) -> Result<Committed, CommitError> {
        if self.changes.effects.is_empty() {
            return Ok(Committed { names: self.mentioned(&BTreeMap::new()), ..Committed::default() });
        }
        let request = self.request().map_err(CommitError::Refused)?;
        self.committed_as(&self.send(run, &request).await?)
    }

    /// Applies a [request](Session::request) that was made earlier, by whichever session, with the rights of this one.
    ///
    /// # Errors
    /// As [`Session::commit`]
    pub async fn commit_request(&self, run: &str, request: &Json) -> Result<Committed, CommitError> {
        self.committed_as(&self.send(run, request).await?)
    }

    /// Whether this user could apply a request: Odoo applies it as theirs, and undoes it. What the run saw is not compared:
    /// that says nothing of rights.
    ///
    /// # Errors
    /// As [`Session::commit`]
    pub async fn try_request(&self, run: &str, request: &Json) -> Result<(), CommitError> {
        let mut request = request.clone();
        if let Some(request) = request.as_object_mut() {
            request.insert("undo".to_owned(), json!(true));
            request.insert("looks".to_owned(), json!([]));
            request.insert("reads".to_owned(), json!([]));
        }
        self.committed_as(&self.send(run, &request).await?).map(drop)
    }

    /// What a request's run saw that is not so any more, as this user sees it now: records with a field, or with `id`, if they
    /// are gone. The apply action compares the same.
    ///
    /// # Errors
    /// Odoo cannot be used; the user may not read it.
    pub async fn overtaken(&self, request: &Json) -> Result<Vec<(RecordRef, String)>, OdooError> {
        let mut found = Vec::new();
        for seen in request.get("reads").and_then(Json::as_array).into_iter().flatten() {
            let odd = |_| refusal(crate::session::odd("a proposal"));
            let Seen { model, ids, fields, values } = Seen::deserialize(seen).map_err(odd)?;
            // Of linked records their numbers alone.
            let body = json!({ "ids": ids, "fields": fields, "load": null, "context": self.context(false) });
            let told = self.noted(self.backend.client.call(&self.account.caller, &model, "read", &body).await)?;
            let rows = told.as_array().into_iter().flatten();
            let rows: BTreeMap<Id, &Json> = rows.filter_map(|row| Some((row.get("id").and_then(id)?, row))).collect();
            for record in ids {
                let row = rows.get(&record).copied();
                let differs = |(field, seen): &(&String, &Json)| row.is_some_and(|row| row.get(*field) != Some(*seen));
                let known = values.get(&record.to_string()).into_iter().flatten();
                let mut others: Vec<String> =
                    fields.iter().zip(known).filter(differs).map(|(field, _)| field.clone()).collect();
                if row.is_none() {
                    others.push("id".to_owned());
                }
                found.extend(others.into_iter().map(|field| (RecordRef::new(&model, record), field)));
            }
        }
        Ok(found)
    }

    /// Sends a request, if it is not too large.
    pub(crate) async fn send(&self, run: &str, request: &Json) -> Result<Json, CommitError> {
        let request = request.to_string();
        let max = self.backend.config().largest_changes;
        if request.len() > max {
            return Err(CommitError::Refused(Error::rejected(
                "changes-too-large",
                format!("the run changes {} bytes, more than {max}; change less in one run", request.len()),
            )));
        }
        // Until it is known where to, nothing is sent.
        self.noted(self.backend.action().await).map_err(|error| match CommitError::from(error) {
            CommitError::Unclear(error) => CommitError::Backend(error),
            error => error,
        })?;
        let mut context = self.context(false);
        if let Some(context) = context.as_object_mut() {
            context.insert("triggerbox_run".to_owned(), json!(run));
            context.insert("triggerbox_changes".to_owned(), json!(request));
        }
        let answer = self.noted(self.backend.apply(&self.account, context).await);
        if let Err(OdooError::Refused(refusal)) = &answer {
            self.doubt(&refusal.error);
        }
        Ok(answer?)
    }

    /// What the answer says that came of it.
    pub(crate) fn committed_as(&self, answer: &Json) -> Result<Committed, CommitError> {
        let odd = || {
            let refused = crate::session::odd("a change");
            CommitError::Unclear(refusal(refused))
        };
        let done = answer.get("done").ok_or_else(odd)?;
        let new = done.get("new").and_then(Json::as_object).ok_or_else(odd)?;
        let ids = new.iter().map(|(key, real)| Some((key.parse().ok()?, id(real)?)));
        let ids: BTreeMap<Id, Id> = ids.collect::<Option<_>>().ok_or_else(odd)?;
        let names = done.get("names").cloned().unwrap_or_default();
        let told = |index: usize| {
            let told = names.get(index.to_string())?;
            Some(format!("{} ({})", told.get(1)?.as_str()?, told.get(0)?))
        };
        let names = self.deleted().into_iter().enumerate().map(|(index, deleted)| deleted.or_else(|| told(index)));
        let again = answer.get("again").and_then(Json::as_bool).unwrap_or_default();
        let at = done.get("at").and_then(utc);
        Ok(Committed { ids, names: names.collect(), at, again })
    }

    /// How mentions read as far as the run knows: of records that it creates, without a number.
    pub(crate) fn mentioned(&self, ids: &BTreeMap<Id, Id>) -> Vec<Option<String>> {
        let names = self.names();
        let mentions = self.changes.mentions.iter().map(|record| {
            let name = names.get(record).cloned().unwrap_or_else(|| record.model.clone());
            Some(match (is_provisional(record.id), ids.get(&record.id)) {
                (true, None) => format!("{name} (new)"),
                (true, Some(real)) => format!("{name} ({real})"),
                (false, _) => format!("{name} ({})", record.id),
            })
        });
        mentions.collect()
    }

    /// Of the run's mentions, how those read of records that it deletes: the commit finds nobody to ask for a name.
    fn deleted(&self) -> Vec<Option<String>> {
        let mut deleted: BTreeSet<(&str, Id)> = BTreeSet::new();
        for effect in &self.changes.effects {
            if let Effect::Unlink { model, ids } = effect {
                deleted.extend(ids.iter().map(|id| (model.as_str(), *id)));
            }
        }
        if deleted.is_empty() {
            return vec![None; self.changes.mentions.len()];
        }
        let mentions = self.changes.mentions.iter().zip(self.mentioned(&BTreeMap::new()));
        let is_deleted = |record: &RecordRef| deleted.contains(&(record.model.as_str(), record.id));
        mentions.map(|(record, words)| words.filter(|_| is_deleted(record))).collect()
    }

    /// What a commit sends: what the run read of what it changes, what it changes, whom it mentions.
    ///
    /// # Errors
    /// A field that the model does not have.
    pub fn request(&self) -> Result<Json, Error> {
        let deleted = self.deleted();
        let wire = Wire { schema: &self.schema, mentions: &deleted };
        let effects = &self.changes.effects;
        let ops: Result<Vec<Json>, Error> = effects
            .iter()
            .enumerate()
            .map(|(index, effect)| wire.effect(effect, effects.get(index + 1..).unwrap_or_default()))
            .collect();
        let mentions = self.changes.mentions.iter().zip(&deleted).map(|(record, deleted)| match deleted {
            // Nobody.
            Some(_) => json!([record.model, []]),
            None => json!([record.model, wire_id(record.id)]),
        });
        Ok(json!({ "reads": self.reads(), "ops": ops?, "mentions": mentions.collect::<Vec<_>>() }))
    }

    /// What was read of the records that change, as Odoo sent it. Values that Odoo computes whenever they are read are no
    /// ground for a conflict: some of them change by themselves.
    fn reads(&self) -> Vec<Json> {
        type Values<'a> = Vec<(&'a RecordRef, Vec<Json>)>;
        let mut alike: BTreeMap<(&str, Vec<&str>), Values<'_>> = BTreeMap::new();
        for record in self.changed() {
            let Some((record, values)) = self.read.get_key_value(&record) else { continue };
            let Ok(model) = self.schema.model(&record.model) else { continue };
            let kept = values.iter().filter_map(|(name, json)| {
                let field = model.fields.get(name).filter(|field| field.store && field.kind != FieldKind::Json)?;
                let bare = match (field.kind, link(json)) {
                    (FieldKind::Many2one, Some(link)) => json!(link.id),
                    _ => json.clone(),
                };
                Some((name.as_str(), bare))
            });
            let (mut fields, mut values): (Vec<&str>, Vec<Json>) = kept.unzip();
            if fields.is_empty() {
                // Whoever names no field is told all of them.
                (fields, values) = (vec!["id"], vec![json!(record.id)]);
            }
            alike.entry((&record.model, fields)).or_default().push((record, values));
        }
        let groups = alike.into_iter().map(|((model, fields), records)| {
            let ids: Vec<Id> = records.iter().map(|(record, _)| record.id).collect();
            let values: Map<String, Json> =
                records.into_iter().map(|(record, values)| (record.id.to_string(), json!(values))).collect();
            json!({ "model": model, "ids": ids, "fields": fields, "values": values })
        });
        groups.collect()
    }

    /// The records that exist already and that the run changes or says something about.
    fn changed(&self) -> BTreeSet<RecordRef> {
        let mut changed = BTreeSet::new();
        for effect in &self.changes.effects {
            match effect {
                Effect::Write { model, ids, .. }
                | Effect::Unlink { model, ids }
                | Effect::CallMethod { model, ids, .. } => {
                    changed.extend(ids.iter().map(|id| RecordRef::new(model, *id)));
                }
                Effect::Relate { target, .. }
                | Effect::PostMessage { target, .. }
                | Effect::ScheduleActivity { target, .. }
                | Effect::CompleteActivities { target, .. }
                | Effect::AddFollowers { target, .. }
                | Effect::RemoveFollowers { target, .. } => drop(changed.insert(target.clone())),
                Effect::Create { .. } | Effect::Ensure { .. } | Effect::Copy { .. } | Effect::SetState { .. } => {}
            }
        }
        changed.retain(|record| !is_provisional(record.id));
        changed
    }
}

/// What was read of records that are alike, as it stands in a request.
#[derive(Deserialize)]
struct Seen {
    model: String,
    ids: Vec<Id>,
    fields: Vec<String>,
    /// By the number of the record, in the order of the fields.
    values: BTreeMap<String, Vec<Json>>,
}

/// Effects as the apply action takes them.
struct Wire<'a> {
    schema: &'a Schema,
    /// How the run's mentions read where that is known; else the apply action asks for it.
    mentions: &'a [Option<String>],
}

/// A time as Odoo tells it, to the second.
fn utc(time: &Json) -> Option<Timestamp> {
    format!("{}Z", time.as_str()?).parse().ok()
}

fn wire_id(id: Id) -> Json {
    if is_provisional(id) { json!({ "$new": id.to_string() }) } else { json!(id) }
}

pub(crate) fn wire_ids(ids: &[Id]) -> Json {
    ids.iter().map(|id| wire_id(*id)).collect()
}

impl Wire<'_> {
    fn effect(&self, effect: &Effect, later: &[Effect]) -> Result<Json, Error> {
        let plain = |text: &str| mention::in_request(text, "plain", self.mentions);
        let said = |text: &Option<String>, style: &str| {
            text.as_ref().map_or(json!(false), |text| mention::in_request(text, style, self.mentions))
        };
        Ok(match effect {
            Effect::Create { model, values, ids } => {
                let values: Result<Vec<Json>, Error> = values.iter().map(|values| self.values(model, values)).collect();
                let new: Vec<String> = ids.iter().map(Id::to_string).collect();
                json!({ "op": "create", "model": model, "values": values?, "new": new })
            }
            Effect::Ensure { model, keys, values, id } => json!({
                "op": "ensure", "model": model, "keys": keys, "values": self.values(model, values)?, "new": id.to_string(),
                "written": later.iter().any(|effect| writes(effect, model, *id)),
            }),
            Effect::Write { model, ids, values } => {
                json!({ "op": "write", "model": model, "ids": wire_ids(ids), "values": self.values(model, values)? })
            }
            Effect::Relate { target, field, commands } => {
                let relation = self.schema.model(&target.model)?.field(field)?.relation.clone().unwrap_or_default();
                let commands: Result<Vec<Json>, Error> =
                    commands.iter().map(|command| self.command(&relation, command)).collect();
                json!({ "op": "write", "model": target.model, "ids": [wire_id(target.id)], "values": { field: commands? } })
            }
            Effect::Unlink { model, ids } => json!({ "op": "unlink", "model": model, "ids": wire_ids(ids) }),
            Effect::Copy { target, values, id } => json!({
                "op": "copy", "model": target.model, "id": wire_id(target.id), "values": self.values(&target.model, values)?,
                "new": id.to_string(),
            }),
            Effect::CallMethod { model, ids, method, arguments_json } => {
                let args: Json = match serde_json::from_str(arguments_json) {
                    Ok(args) => args,
                    Err(_) => json!({}),
                };
                let args = match mention::in_request(arguments_json, "json", self.mentions) {
                    Json::String(_) => json!({ "$json": args }),
                    pieces => json!({ "$parse": pieces }),
                };
                json!({ "op": "call", "model": model, "ids": wire_ids(ids), "method": method, "args": args })
            }
            Effect::PostMessage { target, message, note } => {
                let mentions = mention::in_request(&message.body, "html", self.mentions).is_object();
                let html = mentions || message.format == BodyFormat::Html;
                // The link of a mention is HTML: the text around it has to be by then.
                let body = match (mentions, message.format) {
                    (true, BodyFormat::Text) => escape_html(&message.body),
                    _ => message.body.clone(),
                };
                let files = message
                    .attachments
                    .iter()
                    .map(|file| json!({ "name": file.name, "content": STANDARD.encode(&file.content) }));
                json!({
                    "op": "post", "model": target.model, "id": wire_id(target.id), "note": note, "html": html,
                    "body": mention::in_request(&body, "html", self.mentions), "subject": said(&message.subject, "plain"),
                    "partners": wire_ids(&message.partner_ids), "attachments": files.collect::<Vec<_>>(),
                })
            }
            Effect::ScheduleActivity { target, activity } => json!({
                "op": "schedule", "model": target.model, "id": wire_id(target.id), "kind": activity.kind,
                "summary": plain(&activity.summary), "note": said(&activity.note, "html"), "deadline": activity.deadline,
                "user": activity.user_id.map(wire_id),
            }),
            Effect::CompleteActivities { target, kind, feedback } => json!({
                "op": "done", "model": target.model, "id": wire_id(target.id), "kind": kind, "feedback": said(feedback, "plain"),
            }),
            Effect::AddFollowers { target, partner_ids } => json!({
                "op": "follow", "model": target.model, "id": wire_id(target.id), "partners": wire_ids(partner_ids),
            }),
            Effect::RemoveFollowers { target, partner_ids } => json!({
                "op": "unfollow", "model": target.model, "id": wire_id(target.id), "partners": wire_ids(partner_ids),
            }),
            Effect::SetState { rule, key, json } => json!({
                "op": "state", "rule": rule, "key": key,
                "json": json.as_ref().map(|json| mention::in_request(json, "json", self.mentions)),
            }),
        })
    }

    fn values(&self, model: &str, values: &[FieldValue]) -> Result<Json, Error> {
        let described = self.schema.model(model)?;
        let pairs = values.iter().map(|FieldValue { name, value }| {
            let field = described.field(name)?;
            Ok((name.clone(), self.value(field, value).map_or_else(|| to_json(described, name, field, value), Ok)?))
        });
        Ok(Json::Object(pairs.collect::<Result<_, Error>>()?))
    }

    /// A value that holds what only the commit knows, or whose JSON must be told from ours.
    fn value(&self, field: &Field, value: &Value) -> Option<Json> {
        match (field.kind, value) {
            (_, Value::Many2one(link)) => Some(wire_id(link.id)),
            (_, Value::Ids(ids)) => Some(json!([[6, 0, wire_ids(ids)]])),
            (_, Value::Reference(record)) if is_provisional(record.id) => {
                Some(json!({ "$ref": [record.model, wire_id(record.id)] }))
            }
            (FieldKind::Char | FieldKind::Text | FieldKind::Html, Value::Text(text)) => {
                let style = if field.kind == FieldKind::Html { "html" } else { "plain" };
                Some(mention::in_request(text, style, self.mentions))
            }
            (FieldKind::Json, Value::Json(text)) => Some(match mention::in_request(text, "json", self.mentions) {
                Json::String(_) => json!({ "$json": serde_json::from_str::<Json>(text).ok()? }),
                pieces => json!({ "$parse": pieces }),
            }),
            _ => None,
        }
    }

    fn command(&self, relation: &str, command: &Command) -> Result<Json, Error> {
        Ok(match command {
            Command::Create(values) => json!([0, 0, self.values(relation, values)?]),
            Command::Update(id, values) => json!([1, wire_id(*id), self.values(relation, values)?]),
            Command::Delete(id) => json!([2, wire_id(*id), 0]),
            Command::Unlink(id) => json!([3, wire_id(*id), 0]),
            Command::Link(id) => json!([4, wire_id(*id), 0]),
            Command::Clear => json!([5, 0, 0]),
            Command::Replace(ids) => json!([6, 0, wire_ids(ids)]),
        })
    }
}

fn writes(effect: &Effect, model: &str, id: Id) -> bool {
    match effect {
        Effect::Write { model: other, ids, .. }
        | Effect::Unlink { model: other, ids }
        | Effect::CallMethod { model: other, ids, .. } => other == model && ids.contains(&id),
        Effect::Relate { target, .. } => target.model == model && target.id == id,
        _ => false,
    }
}
