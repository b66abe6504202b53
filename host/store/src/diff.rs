//! Changes in words: labels and names in place of technical values, messages and activities with their record.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use foldhash::fast::RandomState;
use indexmap::{IndexMap, map::Entry};
use rusqlite::Connection;
use triggerbox_model::{
    changes::{Change, ChangeKind, ChatterDiff, Diff, FieldDiff, RecordDiff},
    error::Error,
    schema::{Field, FieldKind, Model},
    shared::SharedText,
    value::{Id, RecordRef, Value},
};

use crate::{
    chatter,
    env::Env,
    mention::has_token,
    names::display_name,
    query::names::{display_names, name_field},
    shared::FieldTexts,
    write::{html, values::has_pending},
};

/// Describes changes. `conn` sees the records as they are after them.
///
/// # Errors
/// What the database says.
pub fn describe(conn: &Connection, env: &Env, changes: &[Change]) -> Result<Diff, Error> {
    let mut records = Records::with_capacity_and_hasher(changes.len(), RandomState::default());
    let (names, note) = (names_of(conn, env, changes)?, chatter::note_subtype(conn)?);
    let (mut labels, mut said) = (FieldTexts::default(), Said::default());
    let words = Words { conn, env, names, note, bodies: RefCell::default() };
    for change in changes {
        let Some(model) = env.schema.models.get(&change.record.model) else { continue };
        if let Some((target, entry)) = words.chatter(model, change)? {
            let told = &mut words.record(&mut records, target)?.chatter;
            if told.is_empty() {
                told.reserve_exact(AT_FIRST);
            }
            told.extend(entry);
            continue;
        }
        if chatter::is_plumbing(&change.record.model) {
            continue;
        }
        let record = words.record(&mut records, change.record.clone())?;
        record.kind = Some(change.kind);
        if change.kind == ChangeKind::Deleted {
            record.name = words.last_name(model, change);
            continue;
        }
        let mut fields = Vec::with_capacity(change.fields.len());
        let said = said.entry(&model.name).or_insert_with(|| vec![OfField::default(); model.fields.len()]);
        let labels = labels.of(model);
        for (at, changed) in change.fields.iter().enumerate() {
            let Some(place) = labels.place(model, at, &changed.field) else { continue };
            let (Some((_, field)), Some(last)) = (model.fields.get_index(place), said.get_mut(place)) else { continue };
            let label = || match field.string.as_str() {
                "" => changed.field.clone(),
                label => label.into(),
            };
            fields.push(FieldDiff {
                field: changed.field.clone(),
                label: labels.get(place, label),
                old_text: again(&mut last.old, &changed.old, || words.value(field, &changed.old))?,
                new_text: again(&mut last.new, &changed.new, || words.value(field, &changed.new))?,
                old: changed.old.clone(),
                new: changed.new.clone(),
            });
        }
        record.fields = fields;
    }
    Ok(Diff { records: records.into_values().collect() })
}

/// What is said of a new record, mostly: who follows it, and that it was made.
const AT_FIRST: usize = 2;

/// What was said last of each field, by model and by the place of the field: records that change together often have the
/// same values.
type Said<'c> = HashMap<&'c str, Vec<OfField<'c>>, RandomState>;

#[derive(Clone, Default)]
struct OfField<'c> {
    old: Option<(&'c Value, SharedText)>,
    new: Option<(&'c Value, SharedText)>,
}

/// A value in words, which are shared with the last one if it is the same.
fn again<'c>(
    last: &mut Option<(&'c Value, SharedText)>,
    value: &'c Value,
    say: impl FnOnce() -> Result<SharedText, Error>,
) -> Result<SharedText, Error> {
    if let Some((_, text)) = last.as_ref().filter(|(known, _)| *known == value) {
        return Ok(text.clone());
    }
    let text = say()?;
    *last = Some((value, text.clone()));
    Ok(text)
}

/// Records in the order of first change.
type Records = IndexMap<RecordRef, RecordDiff, RandomState>;

type Known = HashMap<String, HashMap<Id, String, RandomState>, RandomState>;

struct Words<'a> {
    conn: &'a Connection,
    env: &'a Env,
    /// Names of the records that changes are about, as far as they were foreseen.
    names: Known,
    /// The subtype of internal notes.
    note: Option<Id>,
    /// Short bodies of messages as text: thousands of new records begin with the same note.
    bodies: RefCell<HashMap<String, String, RandomState>>,
}

/// Bytes of a body that is kept, at most; and how many are.
const SHORT: usize = 256;
const MOST_BODIES: usize = 1_000;

/// The names of records that are sure to be told, model by model: thousands of changes ask for thousands of names.
fn names_of(conn: &Connection, env: &Env, changes: &[Change]) -> Result<Known, Error> {
    let mut wanted: HashMap<&str, HashSet<Id, RandomState>, RandomState> = HashMap::default();
    let mut names = Known::default();
    for change in changes {
        let Some(model) = env.schema.models.get(&change.record.model) else { continue };
        if model.name == "mail.tracking.value" {
            continue;
        }
        if change.kind != ChangeKind::Deleted && !chatter::is_plumbing(&model.name) {
            match new_name(model, change) {
                Some(name) => {
                    let of_model = match names.get_mut(&model.name) {
                        Some(known) => known,
                        None => names.entry(model.name.clone()).or_default(),
                    };
                    of_model.insert(change.record.id, name.to_owned());
                }
                None => drop(wanted.entry(&model.name).or_default().insert(change.record.id)),
            }
        }
        for changed in &change.fields {
            let links = [&changed.old, &changed.new].into_iter().filter_map(|value| match value {
                Value::Many2one(link) => Some(link.id),
                _ => None,
            });
            if links.clone().next().is_none() {
                continue;
            }
            let relation = model.fields.get(changed.field.as_str()).and_then(|field| field.relation.as_deref());
            if let Some(related) = relation.and_then(|relation| env.schema.models.get(relation)) {
                wanted.entry(&related.name).or_default().extend(links);
            }
        }
    }
    for (model, ids) in wanted {
        let mut ids: Vec<Id> = ids.into_iter().collect();
        ids.sort_unstable();
        names.entry(model.to_owned()).or_default().extend(display_names(conn, env, model, &ids)?);
    }
    Ok(names)
}

/// What a record is called that was just given its name.
fn new_name<'c>(model: &Model, change: &'c Change) -> Option<&'c str> {
    let field = name_field(model)?;
    match &change.fields.iter().find(|changed| changed.field == field)?.new {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

impl Words<'_> {
    fn name(&self, model: &str, id: Id) -> Result<String, Error> {
        let known = match self.names.get(model).and_then(|names| names.get(&id)) {
            Some(known) => Cow::Borrowed(known.as_str()),
            None if !self.env.schema.models.contains_key(model) => return Ok(id.to_string()),
            None => Cow::Owned(display_name(self.conn, self.env, model, id)?),
        };
        Ok(match known {
            name if has_pending(&name) => "(pending)".to_owned(),
            name if name.is_empty() => id.to_string(),
            name => name.into_owned(),
        })
    }

    fn record<'r>(&self, records: &'r mut Records, record: RecordRef) -> Result<&'r mut RecordDiff, Error> {
        Ok(match records.entry(record) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let record = place.key().clone();
                let name = self.name(&record.model, record.id)?;
                let is_number = name.starts_with(|first: char| first.is_ascii_digit()) && name == record.id.to_string();
                let name = if is_number { String::new() } else { name };
                let (fields, chatter) = (Vec::new(), Vec::new());
                place.insert(RecordDiff { record, name, kind: None, fields, chatter })
            }
        })
    }

    /// What a deleted record was called.
    fn last_name(&self, model: &Model, change: &Change) -> String {
        let field = model.rec_name.as_deref().unwrap_or_default();
        change
            .fields
            .iter()
            .find(|changed| changed.field == field)
            .map(|changed| text_of(&changed.old))
            .unwrap_or_default()
    }

    fn value(&self, field: &Field, value: &Value) -> Result<SharedText, Error> {
        let relation = field.relation.as_deref().unwrap_or_default();
        Ok(match value {
            Value::Many2one(link) => self.name(relation, link.id)?.into(),
            Value::Ids(ids) => {
                let names: Result<Vec<String>, Error> = ids.iter().map(|id| self.name(relation, *id)).collect();
                names?.join(", ").into()
            }
            Value::Reference(record) => format!("{} {}", record.model, self.name(&record.model, record.id)?).into(),
            Value::Text(key) if field.kind == FieldKind::Selection => {
                field.selection.iter().find(|(known, _)| known == key).map_or(key.as_str(), |(_, label)| label).into()
            }
            Value::Text(text) if field.kind == FieldKind::Html => html::to_text(text).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Number(number) if field.kind == FieldKind::Monetary => format!("{number:.2}").into(),
            other => text_of(other).into(),
        })
    }

    /// The record that a change of a mail model is about, and what it says; none for other changes.
    fn chatter(&self, model: &Model, change: &Change) -> Result<Option<(RecordRef, Option<ChatterDiff>)>, Error> {
        if !chatter::MODELS.contains(&model.name.as_str()) {
            return Ok(None);
        }
        let value = |name: &str| {
            let changed = change.fields.iter().find(|changed| changed.field == name)?;
            Some(if change.kind == ChangeKind::Deleted { &changed.old } else { &changed.new })
        };
        let stored = |name: &str| -> Result<Cow<'_, Value>, Error> {
            match value(name) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None if change.kind == ChangeKind::Updated => {
                    self.stored(model, change.record.id, name).map(Cow::Owned)
                }
                None => Ok(Cow::Owned(Value::Unset)),
            }
        };
        let Some(column) = model.model_column() else { return Ok(None) };
        let owner = stored(column)?;
        let Value::Text(owner) = &*owner else { return Ok(None) };
        let owner_id = match &*stored("res_id")? {
            Value::Integer(id) => Id::try_from(*id).unwrap_or_default(),
            Value::Number(id) => id_of(*id),
            Value::Many2one(link) => link.id,
            _ => return Ok(None),
        };
        let target = RecordRef::new(owner, owner_id);
        let text = |value: Cow<'_, Value>| text_of(&value);
        let named = |model: &str, value: Cow<'_, Value>| -> Result<String, Error> {
            match &*value {
                Value::Many2one(link) => self.name(model, link.id),
                _ => Ok(String::new()),
            }
        };
        let entry = match (model.name.as_str(), change.kind) {
            // Who is told of an assignment is told by the assignment's own line.
            ("mail.message", ChangeKind::Created) if is(stored("message_type")?, "user_notification") => None,
            ("mail.message", ChangeKind::Created) => {
                let body = stored("body")?;
                let body = if let Value::Text(body) = &*body { body.as_str() } else { "" };
                let automatic = !is(stored("message_type")?, "comment");
                let note = match &*stored("subtype_id")? {
                    Value::Many2one(link) => Some(link.id) == self.note,
                    _ => true,
                };
                let words = self.body(body);
                let tokens = if has_token(&words) {
                    words.replace(|c: char| ('\u{F8FC}'..='\u{F8FD}').contains(&c), "")
                } else {
                    words
                };
                // A tracking note says nothing that the fields do not say.
                (!automatic || !body.is_empty()).then_some(ChatterDiff::Message { note, automatic, text: tokens })
            }
            ("mail.activity", ChangeKind::Created) => Some(ChatterDiff::Activity {
                kind: named("mail.activity.type", stored("activity_type_id")?)?,
                summary: text(stored("summary")?),
                deadline: text(stored("date_deadline")?),
                user: named("res.users", stored("user_id")?)?,
            }),
            ("mail.activity", ChangeKind::Updated) if value("active") == Some(&Value::Boolean(false)) => {
                Some(ChatterDiff::ActivityDone {
                    kind: named("mail.activity.type", stored("activity_type_id")?)?,
                    summary: text(stored("summary")?),
                })
            }
            ("mail.followers", ChangeKind::Created) => {
                Some(ChatterDiff::Follower { name: named("res.partner", stored("partner_id")?)? })
            }
            ("mail.followers", ChangeKind::Deleted) => {
                Some(ChatterDiff::FollowerRemoved { name: named("res.partner", stored("partner_id")?)? })
            }
            _ => None,
        };
        Ok(Some((target, entry)))
    }

    /// The text of a message.
    fn body(&self, html: &str) -> String {
        if let Some(known) = self.bodies.borrow().get(html) {
            return known.clone();
        }
        let text = html::to_text(html);
        let mut bodies = self.bodies.borrow_mut();
        if html.len() <= SHORT && bodies.len() < MOST_BODIES {
            bodies.insert(html.to_owned(), text.clone());
        }
        text
    }

    fn stored(&self, model: &Model, id: Id, name: &str) -> Result<Value, Error> {
        let Some(field) = model.fields.get(name).filter(|field| field.has_column()) else { return Ok(Value::Unset) };
        let cell = crate::write::column(self.conn, &model.name, name, id)?;
        Ok(cell.map_or(Value::Unset, |cell| crate::write::values::from_cell(field.kind, cell)))
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ids are whole and positive; anything else is no id"
)]
fn id_of(number: f64) -> Id {
    number as Id
}

fn is(value: Cow<'_, Value>, text: &str) -> bool {
    matches!(&*value, Value::Text(found) if found == text)
}

/// A value in plain words, as far as it needs no other record.
fn text_of(value: &Value) -> String {
    match value {
        Value::Boolean(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) | Value::Json(text) => text.clone(),
        Value::Binary(bytes) => format!("{} bytes", bytes.len()),
        Value::Pending => "(pending)".to_owned(),
        _ => String::new(),
    }
}
