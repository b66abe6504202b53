//! What a run would come to: Odoo applies its changes, tells what its records hold then, and undoes all of it.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    changes::{ChangeKind, ChatterDiff, Diff, Effect, FieldDiff, RecordDiff},
    error::Error,
    schema::{Field, FieldKind, Model},
    value::{FieldValue, Id, Link, RecordRef, Value, is_provisional},
};

use crate::{
    commit::{CommitError, Committed, wire_ids},
    diff::without_tags,
    session::{Session, odd},
    value,
};

/// What a trial looks at besides what the script sets itself.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Fields, by model.
    pub fields: BTreeMap<String, BTreeSet<String>>,
    /// Records that may have changed without the script naming them.
    pub records: BTreeSet<RecordRef>,
}

/// Records that are looked at, in the order in which the run first names them.
type Watched = IndexMap<(String, bool), (Vec<Id>, BTreeSet<String>)>;

impl Session {
    /// What the staged changes come to in Odoo, with all that follows from them there. Nothing of it stays.
    ///
    /// # Errors
    /// As [`Session::commit`]
    pub async fn trial(&mut self, run: &str, look: &Look) -> Result<(Committed, Diff), CommitError> {
        if self.changes.effects.is_empty() {
            let committed = self.commit(run).await?;
            return Ok((committed, Diff::default()));
        }
        for record in &look.records {
            self.know(&record.model).await?.map_err(CommitError::Refused)?;
        }
        let watched = self.watched(look);
        let looks = watched.iter().map(|((model, new), (ids, fields))| {
            json!({ "model": model, "new": new, "ids": wire_ids(ids), "fields": fields })
        });
        let mut request = self.request().map_err(CommitError::Refused)?;
        if let Some(request) = request.as_object_mut() {
            // A test takes place when it says.
            let zone = TimeZone::get(&self.account.user.tz).unwrap_or(TimeZone::UTC);
            request.insert("today".to_owned(), json!(self.now.to_zoned(zone).date().to_string()));
            request.insert("undo".to_owned(), json!(true));
            request.insert("looks".to_owned(), looks.collect());
        }
        let answer = self.send(run, &request).await?;
        let committed = self.committed_as(&answer)?;
        let seen = answer.get("looks").and_then(Json::as_array).ok_or_else(strange)?;
        let before = watched.keys().filter(|(_, new)| !new).count();
        let (before, after) = seen.split_at_checked(before).ok_or_else(strange)?;
        let order = self.order(look, &committed);
        let diff = Difference { session: self, before: &pile(before)?, after: &pile(after)? }.diff(&order);
        Ok((committed, diff))
    }

    fn watched(&self, look: &Look) -> Watched {
        let mut watched = Watched::new();
        for record in self.touched(look) {
            let entry = watched.entry((record.model.clone(), is_provisional(record.id))).or_default();
            if !entry.0.contains(&record.id) {
                entry.0.push(record.id);
            }
        }
        let mut fields = look.fields.clone();
        for effect in &self.changes.effects {
            match effect {
                Effect::Create { model, values, .. } => {
                    values.iter().for_each(|values| named(&mut fields, model, values));
                }
                Effect::Ensure { model, values, .. } | Effect::Write { model, values, .. } => {
                    named(&mut fields, model, values);
                }
                Effect::Copy { target, values, .. } => named(&mut fields, &target.model, values),
                Effect::Relate { target, field, .. } => {
                    fields.entry(target.model.clone()).or_default().insert(field.clone());
                }
                _ => {}
            }
        }
        for ((model, _), (_, wanted)) in &mut watched {
            let known = self.schema.models.get(model);
            let there = |field: &&String| known.is_some_and(|model| model.fields.contains_key(field.as_str()));
            wanted.extend(fields.get(model).into_iter().flatten().filter(there).cloned());
        }
        watched
    }

    /// The records that the run names, in the order of its changes, then those that are looked at besides.
    fn touched(&self, look: &Look) -> Vec<RecordRef> {
        let mut touched = Vec::new();
        let of = |model: &str, ids: &[Id]| ids.iter().map(|id| RecordRef::new(model, *id)).collect::<Vec<_>>();
        for effect in &self.changes.effects {
            touched.extend(match effect {
                Effect::Create { model, ids, .. }
                | Effect::Write { model, ids, .. }
                | Effect::Unlink { model, ids }
                | Effect::CallMethod { model, ids, .. } => of(model, ids),
                Effect::Ensure { model, id, .. } => of(model, &[*id]),
                Effect::Copy { target, id, .. } => of(&target.model, &[*id]),
                Effect::Relate { target, .. }
                | Effect::PostMessage { target, .. }
                | Effect::ScheduleActivity { target, .. }
                | Effect::CompleteActivities { target, .. }
                | Effect::AddFollowers { target, .. }
                | Effect::RemoveFollowers { target, .. } => vec![target.clone()],
                Effect::SetState { .. } => Vec::new(),
            });
        }
        touched.extend(look.records.iter().cloned());
        touched
    }

    fn order(&self, look: &Look, committed: &Committed) -> Vec<RecordRef> {
        let mut order: Vec<RecordRef> = Vec::new();
        for record in self.touched(look) {
            let id = committed.ids.get(&record.id).copied().unwrap_or(record.id);
            let record = RecordRef { id, ..record };
            if !order.contains(&record) {
                order.push(record);
            }
        }
        order
    }
}

fn named(fields: &mut BTreeMap<String, BTreeSet<String>>, model: &str, values: &[FieldValue]) {
    fields.entry(model.to_owned()).or_default().extend(values.iter().map(|value| value.name.clone()));
}

fn strange() -> CommitError {
    CommitError::Backend(crate::backend::refusal(odd("a trial")))
}

/// What was seen: the fields of records, and what was said of each.
#[derive(Default)]
struct Pile {
    rows: BTreeMap<RecordRef, Map<String, Json>>,
    said: BTreeMap<RecordRef, Vec<Said>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Message { kind: String, body: String, note: bool },
    Activity { id: Id, kind: String, summary: String, deadline: String, user: String },
    Follower { name: String },
}

fn pile(looks: &[Json]) -> Result<Pile, CommitError> {
    let mut pile = Pile::default();
    for look in looks {
        let model = look.get("model").and_then(Json::as_str).ok_or_else(strange)?;
        for row in look.get("rows").and_then(Json::as_array).ok_or_else(strange)? {
            let row = row.as_object().ok_or_else(strange)?;
            let id = row.get("id").and_then(value::id).ok_or_else(strange)?;
            pile.rows.insert(RecordRef::new(model, id), row.clone());
        }
        for line in look.get("said").and_then(Json::as_array).ok_or_else(strange)? {
            let (id, said) = said(line).ok_or_else(strange)?;
            pile.said.entry(RecordRef::new(model, id)).or_default().push(said);
        }
    }
    Ok(pile)
}

fn said(line: &Json) -> Option<(Id, Said)> {
    let text = |index: usize| line.get(index).and_then(Json::as_str).map(str::to_owned);
    let said = match text(0)?.as_str() {
        "message" => Said::Message { kind: text(3)?, body: text(4)?, note: line.get(5)?.as_bool()? },
        "activity" => Said::Activity {
            id: value::id(line.get(2)?)?,
            kind: text(3)?,
            summary: text(4)?,
            deadline: text(5)?,
            user: text(6)?,
        },
        "follower" => Said::Follower { name: text(3)? },
        _ => return None,
    };
    Some((value::id(line.get(1)?)?, said))
}

struct Difference<'a> {
    session: &'a Session,
    before: &'a Pile,
    after: &'a Pile,
}

impl Difference<'_> {
    fn diff(&self, order: &[RecordRef]) -> Diff {
        let records = order.iter().filter_map(|record| self.record(record));
        Diff { records: records.collect() }
    }

    fn record(&self, record: &RecordRef) -> Option<RecordDiff> {
        let model = self.session.schema.models.get(&record.model)?;
        let (old, new) = (self.before.rows.get(record), self.after.rows.get(record));
        let nothing = Map::new();
        let fields = match new {
            Some(new) => fields(model, old.unwrap_or(&nothing), new),
            None => Vec::new(),
        };
        let kind = match (old, new) {
            (None, Some(_)) => Some(ChangeKind::Created),
            (Some(_), None) => Some(ChangeKind::Deleted),
            (Some(_), Some(_)) if !fields.is_empty() => Some(ChangeKind::Updated),
            _ => None,
        };
        let chatter = self.chatter(record);
        let name = model.rec_name.as_ref().and_then(|name| new.or(old)?.get(name)?.as_str());
        let name = name.unwrap_or_default().to_owned();
        let any = kind.is_some() || !chatter.is_empty();
        any.then(|| RecordDiff { record: record.clone(), name, kind, fields, chatter })
    }

    fn chatter(&self, record: &RecordRef) -> Vec<ChatterDiff> {
        let said = |pile: &Pile| pile.said.get(record).cloned().unwrap_or_default();
        let (old, new) = (said(self.before), said(self.after));
        let open = |said: &Said, among: &[Said]| match said {
            Said::Activity { id, .. } => {
                among.iter().any(|other| matches!(other, Said::Activity { id: known, .. } if known == id))
            }
            other => among.contains(other),
        };
        let came = new.iter().filter(|said| !open(said, &old)).map(|said| match said {
            Said::Message { kind, body, note } => {
                ChatterDiff::Message { note: *note, automatic: kind != "comment", text: without_tags(body) }
            }
            Said::Activity { kind, summary, deadline, user, .. } => ChatterDiff::Activity {
                kind: kind.clone(),
                summary: summary.clone(),
                deadline: deadline.clone(),
                user: user.clone(),
            },
            Said::Follower { name } => ChatterDiff::Follower { name: name.clone() },
        });
        let went = old.iter().filter(|said| !open(said, &new)).filter_map(|said| match said {
            Said::Activity { kind, summary, .. } => {
                Some(ChatterDiff::ActivityDone { kind: kind.clone(), summary: summary.clone() })
            }
            Said::Follower { name } => Some(ChatterDiff::FollowerRemoved { name: name.clone() }),
            Said::Message { .. } => None,
        });
        came.chain(went).collect()
    }
}

/// The fields that hold something else than before; of a new record, those that hold something.
fn fields(model: &Model, old: &Map<String, Json>, new: &Map<String, Json>) -> Vec<FieldDiff> {
    let changed = new.iter().filter(|(name, json)| old.get(*name).unwrap_or(&Json::Bool(false)) != *json);
    let diffs = changed.filter_map(|(name, json)| {
        let field = model.fields.get(name)?;
        let (new, new_text) = shown(model, name, field, json)?;
        let (old, old_text) = match old.get(name) {
            Some(old) => shown(model, name, field, old)?,
            None => (Value::Unset, String::new()),
        };
        let label = if field.string.is_empty() { name } else { &field.string };
        let (field, label) = (name.as_str().into(), label.as_str().into());
        let (old_text, new_text) = (old_text.into(), new_text.into());
        Some(FieldDiff { field, label, old, new, old_text, new_text })
    });
    diffs.filter(|diff| diff.old != Value::Unset || !is_empty(&diff.new)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Unset => true,
        Value::Ids(ids) => ids.is_empty(),
        _ => false,
    }
}

/// A value with its words.
fn shown(model: &Model, name: &str, field: &Field, json: &Json) -> Option<(Value, String)> {
    let links: Option<Vec<Link>> = match field.kind {
        FieldKind::Many2one | FieldKind::One2many | FieldKind::Many2many => {
            Some(json.as_array().into_iter().flatten().map(value::link).collect::<Option<_>>()?)
        }
        _ => None,
    };
    if let Some(links) = links {
        let words: Vec<&str> = links.iter().filter_map(|link| link.name.as_deref()).collect();
        let words = words.join(", ");
        let value = match (field.kind, links.first()) {
            (FieldKind::Many2one, None) => Value::Unset,
            (FieldKind::Many2one, Some(link)) => Value::Many2one(link.clone()),
            _ => Value::Ids(links.iter().map(|link| link.id).collect()),
        };
        return Some((value, words));
    }
    let value = value::from_json(&model.name, name, field.kind, json).ok()?;
    let words = match (&value, field.kind) {
        (Value::Text(key), FieldKind::Selection) => {
            let label = field.selection.iter().find(|(known, _)| known == key).map(|(_, label)| label.clone());
            label.unwrap_or_else(|| key.clone())
        }
        (Value::Text(text), FieldKind::Html) => without_tags(text),
        (Value::Text(text) | Value::Date(text) | Value::Datetime(text) | Value::Json(text), _) => text.clone(),
        (Value::Number(number), FieldKind::Monetary) => format!("{number:.2}"),
        (Value::Number(number), _) => number.to_string(),
        (Value::Integer(number), _) => number.to_string(),
        (Value::Boolean(flag), _) => if *flag { "yes" } else { "no" }.to_owned(),
        (Value::Binary(bytes), _) => format!("{} bytes", bytes.len()),
        (Value::Reference(record), _) => record.to_string(),
        _ => String::new(),
    };
    Some((value, words))
}

/// Records that a test needs, made in one transaction, each of them marked as the test's.
#[derive(Debug, Clone, Default)]
pub struct Making {
    ops: Vec<Json>,
    next: u32,
}

/// The module of the external ids of what tests make.
pub const TESTS: &str = "__triggerbox_test__";

/// What a record is made with that is only there for a test: nobody is told of it, and nothing is noted.
fn quietly(mut context: Json) -> Json {
    let quiet = ["tracking_disable", "mail_create_nosubscribe", "mail_create_nolog", "mail_auto_subscribe_no_notify"];
    if let Some(context) = context.as_object_mut() {
        for name in quiet.into_iter().chain(["no_reset_password", "mail_activity_automation_skip"]) {
            context.insert(name.to_owned(), json!(true));
        }
    }
    context
}

impl Making {
    /// Makes a record. Values may hold what an earlier one is called here.
    pub fn create(&mut self, model: &str, values: Map<String, Json>) -> Json {
        let key = self.next.to_string();
        self.next += 1;
        let new = json!({ "$new": key });
        self.ops.push(json!({ "op": "create", "model": model, "values": [values], "new": [key] }));
        self.ops.push(json!({ "op": "mark", "model": model, "module": TESTS, "ids": [new] }));
        new
    }

    /// Whether there is nothing to make.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

impl Session {
    /// Makes the records of a test; their ids in the order in which they were asked for.
    ///
    /// # Errors
    /// As [`Session::commit`]; nothing is made then.
    pub async fn make(&self, run: &str, making: Making) -> Result<Vec<Id>, CommitError> {
        let count = making.next;
        let done = self.quietly(run, making.ops).await?;
        let ids = (0..count).map(|index| done.pointer(&format!("/new/{index}")).and_then(value::id));
        ids.collect::<Option<_>>().ok_or_else(strange)
    }

    /// Writes on records of a test, or removes them.
    ///
    /// # Errors
    /// As [`Session::commit`]
    pub async fn happen(&self, run: &str, ops: Vec<Json>) -> Result<(), CommitError> {
        self.quietly(run, ops).await.map(drop)
    }

    /// Takes away what the test of this name made; or `all` that tests made more than an hour ago. How many it were.
    ///
    /// # Errors
    /// As [`Session::commit`]; all of it is still there then.
    pub async fn sweep(&self, run: &str, all: bool) -> Result<u64, CommitError> {
        let op = json!({ "op": "sweep", "module": TESTS, "own": !all });
        let done = self.quietly(run, vec![op]).await?;
        done.pointer("/new/gone").and_then(Json::as_u64).ok_or_else(strange)
    }

    async fn quietly(&self, run: &str, ops: Vec<Json>) -> Result<Json, CommitError> {
        let request = json!({ "reads": [], "ops": ops, "mentions": [], "forget": true });
        let mut context = quietly(self.context(false));
        if let Some(context) = context.as_object_mut() {
            context.insert("triggerbox_run".to_owned(), json!(run));
            context.insert("triggerbox_changes".to_owned(), json!(request.to_string()));
        }
        let answer = self.noted(self.backend.apply_once(&self.account, context).await)?;
        answer.get("done").cloned().ok_or_else(strange)
    }
}

/// An error of a run as it is told of a test.
#[must_use]
pub fn told(error: &CommitError) -> Error {
    match error {
        CommitError::Conflict(error) | CommitError::Refused(error) => error.clone(),
        CommitError::Backend(error) | CommitError::Unclear(error) => error.clone().into_error(),
    }
}
