//! The records of a scenario as Odoo takes them: those that are given, and those of the demo company that it names. Odoo has
//! no demo company of ours, so each record of it that a scenario names is made as it is written, with what it stands on.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    schema::FieldKind,
    value::{Id, RecordRef},
};
use triggerbox_odoo::{
    Session,
    trial::{Making, told},
};
use triggerbox_store::{demo, load::Record, written::full_xmlid};

use crate::scenario::{BadScenario, ScenarioFile, given::object};

/// Records that a company has one of: looked for by this field before one is made.
const SHARED: [(&str, &str); 8] = [
    ("crm.stage", "name"),
    ("crm.tag", "name"),
    ("crm.team", "name"),
    ("project.tags", "name"),
    ("res.company", "name"),
    ("res.country", "code"),
    ("res.partner.category", "name"),
    ("res.users", "login"),
];

/// The records that a scenario names.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By external id.
    pub(super) names: BTreeMap<String, RecordRef>,
    /// Those that were made for it.
    pub(super) made: BTreeSet<RecordRef>,
}

/// A record that the test uses.
#[derive(Debug, Clone)]
enum Used {
    There(RecordRef),
    /// To be made: what it is called until then.
    New(String, Json),
}

impl Used {
    fn id(&self) -> Json {
        match self {
            Self::There(record) => super::sent(record.id),
            Self::New(_, new) => new.clone(),
        }
    }
}

/// Makes the records of one scenario.
pub(super) struct Maker<'a> {
    file: &'a ScenarioFile,
    session: &'a mut Session,
    making: Making,
    used: BTreeMap<String, Used>,
    demo: Option<IndexMap<String, (String, Record)>>,
    /// The names of what is made, in order.
    order: Vec<Option<String>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(file: &'a ScenarioFile, session: &'a mut Session) -> Self {
        let (making, used) = (Making::default(), BTreeMap::new());
        Self { file, session, making, used, demo: None, order: Vec::new() }
    }

    /// One that makes nothing more.
    pub(super) fn of(known: &BTreeMap<String, RecordRef>, file: &'a ScenarioFile, session: &'a mut Session) -> Self {
        let used = known.iter().map(|(name, record)| (name.clone(), Used::There(record.clone())));
        Self { used: used.collect(), ..Self::new(file, session) }
    }

    /// Makes what the scenario gives and names; all records that it names, by external id.
    pub(super) async fn make(mut self, run: &str, now: Timestamp) -> Result<Known, BadScenario> {
        let file = self.file;
        for (model, records) in &file.scenario.given {
            for record in records {
                let wrong = |problem: String| file.wrong(&record.span(), problem);
                let mut written = object(record.get_ref());
                let name = match written.shift_remove("xmlid") {
                    Some(Json::String(name)) => Some(full_xmlid(&name)),
                    _ => None,
                };
                let values = self.values(model, written, now, false).await.map_err(wrong)?;
                self.add(name, model, values);
            }
        }
        for (reference, span) in references(file) {
            self.used(&reference, now).await.map_err(|problem| file.wrong(&span, problem))?;
        }
        let made = match self.making.is_empty() {
            true => Vec::new(),
            false => {
                let made = self.session.make(run, self.making).await;
                made.map_err(|error| file.broken(format!("odoo does not make what is given: {}", told(&error))))?
            }
        };
        let real: BTreeMap<&str, Id> =
            self.order.iter().zip(made).filter_map(|(name, id)| Some((name.as_deref()?, id))).collect();
        let mut known = Known::default();
        for (name, used) in &self.used {
            let record = match (used, real.get(name.as_str())) {
                (Used::There(record), _) => record.clone(),
                (Used::New(model, _), Some(id)) => {
                    let record = RecordRef::new(model, *id);
                    known.made.insert(record.clone());
                    record
                }
                (Used::New(..), None) => continue,
            };
            known.names.insert(name.clone(), record);
        }
        Ok(known)
    }

    fn add(&mut self, name: Option<String>, model: &str, values: Map<String, Json>) {
        let new = self.making.create(model, values);
        if let Some(name) = &name {
            self.used.insert(name.clone(), Used::New(model.to_owned(), new));
        }
        self.order.push(name);
    }

    /// The record that a reference names: known, made, or Odoo's own.
    async fn used(&mut self, reference: &str, now: Timestamp) -> Result<Json, String> {
        let name = full_xmlid(reference);
        if let Some(used) = self.used.get(&name) {
            return Ok(used.id());
        }
        if self.demo.is_none() {
            self.demo = Some(demo::written().map_err(|error| error.message)?);
        }
        let written = self.demo.as_ref().and_then(|demo| demo.get(&name)).cloned();
        match written {
            Some((model, record)) if name.starts_with("demo.") => {
                if let Some(there) = self.shared(&model, &record).await? {
                    let used = Used::There(there);
                    let id = used.id();
                    self.used.insert(name, used);
                    return Ok(id);
                }
                let values = Box::pin(self.values(&model, record, now, true)).await?;
                self.add(Some(name.clone()), &model, values);
                self.used.get(&name).map(Used::id).ok_or_else(|| format!("`{name}` was not made"))
            }
            _ => {
                let answer = self.session.call(Call::ResolveXmlid { xmlid: name.clone() }).await;
                match answer.map_err(|error| error.to_string())?.map_err(|error| error.message)? {
                    Answer::Record(record) => {
                        let used = Used::There(record);
                        let id = used.id();
                        self.used.insert(name, used);
                        Ok(id)
                    }
                    _ => Err(format!("no record has the external id `{name}`")),
                }
            }
        }
    }

    /// The record that Odoo has already, of a model whose records are shared.
    async fn shared(&mut self, model: &str, record: &Record) -> Result<Option<RecordRef>, String> {
        let Some((_, key)) = SHARED.iter().find(|(shared, _)| *shared == model) else { return Ok(None) };
        let Some(Json::String(value)) = record.get(*key) else { return Ok(None) };
        let domain = Domain::condition((*key).to_owned(), Operator::Equal, Literal::Text(value.clone())).to_string();
        let page = Page { limit: Some(1), archived: true, ..Page::default() };
        let call = Call::Search { model: model.to_owned(), domain: DomainSource::Literal(domain), page };
        let answer = self.session.call(call).await;
        match answer.map_err(|error| error.to_string())?.map_err(|error| error.message)? {
            Answer::Ids(ids) => Ok(ids.first().map(|id| RecordRef::new(model, *id))),
            _ => Ok(None),
        }
    }

    /// Values as Odoo takes them. What is `lenient` leaves out the fields that this Odoo does not have.
    pub(super) async fn values(
        &mut self,
        model: &str,
        record: Record,
        now: Timestamp,
        lenient: bool,
    ) -> Result<Map<String, Json>, String> {
        let known = self.session.know(model).await.map_err(|error| error.to_string())?;
        known.map_err(|error| error.message)?;
        let mut values = Map::new();
        for (name, value) in record {
            let described = self.session.schema().model(model).map_err(|error| error.message)?;
            let field = match described.field(&name) {
                Ok(field) => field.clone(),
                Err(_) if lenient => continue,
                Err(error) => return Err(error.message),
            };
            if lenient && field.readonly && !field.store {
                continue;
            }
            let related = field.relation.clone().unwrap_or_default();
            let value = match (field.kind, value) {
                (FieldKind::One2many, Json::Array(lines)) => {
                    let mut commands = Vec::new();
                    for line in lines {
                        if let Json::Object(line) = line {
                            commands.push(json!([0, 0, Box::pin(self.values(&related, line, now, lenient)).await?]));
                        }
                    }
                    Json::Array(commands)
                }
                (FieldKind::Many2many, Json::Array(items)) => {
                    let mut ids = Vec::new();
                    for item in items {
                        ids.push(self.reference(item, now).await?);
                    }
                    json!([[6, 0, ids]])
                }
                (FieldKind::Many2one, value) => self.reference(value, now).await?,
                (FieldKind::Date, Json::String(text)) => json!(day(&text, now).unwrap_or(text)),
                (FieldKind::Datetime, Json::String(text)) => match day(&text, now) {
                    Some(day) => json!(format!("{day} 09:00:00")),
                    None => json!(text.trim_end_matches('Z').replace('T', " ")),
                },
                (_, value) => value,
            };
            values.insert(name, value);
        }
        Ok(values)
    }

    async fn reference(&mut self, value: Json, now: Timestamp) -> Result<Json, String> {
        match value {
            Json::String(name) if name.starts_with('@') => Box::pin(self.used(&name, now)).await,
            value => Ok(value),
        }
    }
}

/// `-3d`: the day three days before now.
fn day(text: &str, now: Timestamp) -> Option<String> {
    let days: i64 = text.strip_suffix('d')?.trim_start_matches('+').parse().ok()?;
    let span = jiff::Span::new().try_days(days).ok()?;
    Some(now.to_zoned(TimeZone::UTC).date().checked_add(span).ok()?.to_string())
}

/// What the scenario names by `@`: records that it is about, that its script needs, and of which it expects something.
fn references(file: &ScenarioFile) -> Vec<(String, std::ops::Range<usize>)> {
    let scenario = &file.scenario;
    let mut named = Vec::new();
    let mut add = |text: &str, span: std::ops::Range<usize>| {
        if text.starts_with('@') {
            named.push((text.to_owned(), span));
        }
    };
    scenario.needs.iter().for_each(|need| add(need.get_ref(), need.span()));
    let when = &scenario.when;
    for value in when.records.iter().chain(when.parameters.values()) {
        if let toml::Value::String(text) = value.get_ref() {
            add(text, value.span());
        }
    }
    if let Some(author) = when.message.as_ref().and_then(|said| said.author.as_ref()) {
        add(author.get_ref(), author.span());
    }
    if let Some(values) = &when.values {
        for value in values.get_ref().values() {
            if let toml::Value::String(text) = value {
                add(text, values.span());
            }
        }
    }
    if let Some(expect) = scenario.expect.as_ref().map(|expect| expect.get_ref()) {
        expect.changes.iter().for_each(|item| add(&item.get_ref().record, item.span()));
        expect.messages.iter().for_each(|item| add(&item.get_ref().on, item.span()));
        expect.activities.iter().for_each(|item| add(&item.get_ref().on, item.span()));
        expect.followers.iter().for_each(|item| add(&item.get_ref().on, item.span()));
    }
    named
}
