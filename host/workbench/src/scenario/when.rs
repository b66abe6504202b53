//! What happens in a scenario: from its words to a run's request.

use std::{str::FromStr, sync::Arc};

use jiff::Timestamp;
use toml::{Spanned, Value};
use triggerbox_automation::{
    Request,
    people::Person,
    rule::{Action, ScriptRef},
    scripts::{asks, ready},
};
use triggerbox_model::{
    event::{MessageInfo, Slot, Trigger, WebhookCall},
    grants::{Authority, Grant, Grants, Policy},
    limits::{Class, Limit, LimitRequest, Limits},
    manifest::{Manifest, ParameterKind},
    outbound::HttpGrant,
    schema::Schema,
    value::{FieldValue, Id, Link, RecordRef, Snapshot},
};
use triggerbox_sandbox::Script;
use triggerbox_store::load::Record;

use super::{
    BadScenario, ScenarioFile,
    file::TriggerName,
    given::{json, object, text},
    refs::{self, Names},
};

/// Where a scenario takes place: its records, and what happens to them. Problems are told in words.
pub(super) trait Ground {
    /// Who knows the records' names.
    fn names(&self) -> Result<Box<dyn Names + '_>, String>;

    /// A user by sign-in name or number.
    fn person(&self, login: &str) -> Result<Person, String>;

    /// Values in the contract's form, of a record that is not written.
    fn values(&self, model: &str, record: Record) -> Result<Vec<FieldValue>, String>;

    /// Writes values on a record; the fields as they were.
    fn update(&self, target: &RecordRef, record: Record) -> Result<Snapshot, String>;

    /// Deletes a record; its last values.
    fn delete(&self, target: &RecordRef) -> Result<Snapshot, String>;

    /// What a record is called.
    fn name(&self, target: &RecordRef) -> Result<Option<String>, String>;
}

/// The request of a scenario's run, without what it may ask outside. What happens to records is done.
pub(super) fn request(
    file: &ScenarioFile,
    ground: &dyn Ground,
    schema: &Schema,
    script: &Script,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Request, BadScenario> {
    let when = &file.scenario.when;
    let happening = Happening { file, ground, now };
    let targets = when.records.iter().map(|record| happening.record(record)).collect::<Result<Vec<_>, _>>()?;
    let model = when.model.clone().or_else(|| targets.first().map(|target| target.model.clone()));
    if let Some((stranger, span)) = targets
        .iter()
        .zip(&when.records)
        .find(|(target, _)| Some(&target.model) != model.as_ref())
        .map(|(target, record)| (target, record.span()))
    {
        let model = model.unwrap_or_default();
        return Err(file.wrong(&span, format!("{stranger} is no record of {model}; all must be of one model")));
    }
    let (trigger, old_values) = happening.trigger(model.as_deref(), &targets)?;
    let run_as = happening.person(when.user.as_ref())?;
    let actor = if when.actor.is_some() { happening.person(when.actor.as_ref())? } else { run_as.clone() };
    let grants = when.grants.as_ref().map(|grants| happening.each::<Grant>(grants)).transpose()?;
    let http = happening.each::<HttpGrant>(&when.http)?;
    let parameters = happening.parameters(manifest)?;
    let authority = authority(schema, model.as_deref(), manifest, &parameters, grants.map(Grants), http);
    Ok(Request {
        script: script.clone(),
        rule: file.name.clone(),
        parameters,
        authority: Arc::new(authority),
        limits: Limits::resolve(class(file, manifest), [&manifest.limits, &when.limits]),
        trigger,
        model,
        records: targets.iter().map(|target| target.id).collect(),
        old_values,
        actor,
        run_as,
        superuser: when.superuser,
        now,
        seed: file.scenario.seed,
        previous: None,
        dry_run: false,
        outside: None,
    })
}

/// As a rule would give it: the program's own scripts may do what their parameters name.
fn authority(
    schema: &Schema,
    model: Option<&str>,
    manifest: &Manifest,
    parameters: &[FieldValue],
    grants: Option<Grants>,
    http: Vec<HttpGrant>,
) -> Authority {
    let Some(script) =
        manifest.script.name.parse::<ScriptRef>().ok().filter(|script| ready::is_ready_made(&script.name))
    else {
        return manifest.authority(grants, http, Policy::default());
    };
    let texts = parameters.iter().filter_map(|parameter| match &parameter.value {
        triggerbox_model::value::Value::Text(text) => Some((parameter.name.clone(), text.clone())),
        _ => None,
    });
    let action =
        Action { script, agent: None, parameters: texts.collect(), grants, http, limits: LimitRequest::default() };
    asks::authority_on(schema, model, &action, manifest, &Policy::default())
}

/// As the engine would class the run.
fn class(file: &ScenarioFile, manifest: &Manifest) -> Class {
    let when = &file.scenario.when;
    let asks_models = manifest.limits.0.get(&Limit::LlmCalls).is_some_and(|calls| *calls > 0);
    when.class.unwrap_or(match when.trigger {
        TriggerName::BeforeCreate | TriggerName::BeforeUpdate | TriggerName::BeforeDelete | TriggerName::OnChange => {
            Class::Sync
        }
        _ if asks_models => Class::Agent,
        _ => Class::Async,
    })
}

struct Happening<'a> {
    file: &'a ScenarioFile,
    ground: &'a dyn Ground,
    now: Timestamp,
}

impl Happening<'_> {
    fn record(&self, record: &Spanned<Value>) -> Result<RecordRef, BadScenario> {
        let wrong = |problem: String| self.file.wrong(&record.span(), problem);
        match (record.get_ref(), &self.file.scenario.when.model) {
            (Value::String(reference), _) => self.resolve(reference).map_err(wrong),
            (Value::Integer(id), Some(model)) => match Id::try_from(*id) {
                Ok(id) => Ok(RecordRef::new(model, id)),
                Err(_) => Err(wrong(format!("{id} is no record's id"))),
            },
            _ => Err(wrong("a record is `@name`, `crm.lead/7`, or a number with `model`".to_owned())),
        }
    }

    fn resolve(&self, reference: &str) -> Result<RecordRef, String> {
        refs::resolve(&*self.ground.names()?, reference).map_err(|error| error.message)
    }

    fn person(&self, name: Option<&Spanned<String>>) -> Result<Person, BadScenario> {
        let span = name.map_or(0..0, Spanned::span);
        let wrong = |problem: String| self.file.wrong(&span, problem);
        let login = match name.map(|name| name.get_ref().as_str()) {
            None => "admin".to_owned(),
            Some(reference) if reference.starts_with('@') => self.resolve(reference).map_err(wrong)?.id.to_string(),
            Some(login) => login.to_owned(),
        };
        self.ground.person(&login).map_err(|error| self.file.wrong(&span, error))
    }

    /// Reads each of a list of texts.
    fn each<T: FromStr<Err: std::fmt::Display>>(&self, texts: &[Spanned<String>]) -> Result<Vec<T>, BadScenario> {
        let read =
            |text: &Spanned<String>| text.get_ref().parse().map_err(|error| self.file.wrong(&text.span(), error));
        texts.iter().map(read).collect()
    }

    fn parameters(&self, manifest: &Manifest) -> Result<Vec<FieldValue>, BadScenario> {
        let set = &self.file.scenario.when.parameters;
        let mut values = Vec::new();
        for (name, value) in set {
            let links = |parameter: &&triggerbox_model::manifest::Parameter| {
                parameter.name == *name && parameter.kind == ParameterKind::Many2one
            };
            let text = match value.get_ref() {
                Value::String(reference)
                    if reference.starts_with('@') && manifest.parameters.iter().any(|p| links(&p)) =>
                {
                    self.resolve(reference).map_err(|why| self.file.wrong(&value.span(), why))?.id.to_string()
                }
                other => text(other),
            };
            values.push((name.clone(), text));
        }
        manifest.parameter_values(&values).map_err(|error| {
            let span = set.get(&error.name).map_or(0..0, Spanned::span);
            self.file.wrong(&span, error)
        })
    }

    fn trigger(&self, model: Option<&str>, targets: &[RecordRef]) -> Result<(Trigger, Vec<Snapshot>), BadScenario> {
        let when = &self.file.scenario.when;
        let mut old = Vec::new();
        let trigger = match when.trigger {
            TriggerName::Created => Trigger::Created,
            TriggerName::Updated => {
                old = self.update(targets)?;
                Trigger::Updated
            }
            TriggerName::Deleted => Trigger::Deleted(self.delete(targets)?),
            TriggerName::Time => Trigger::Time(when.name.clone().unwrap_or_default()),
            TriggerName::Scheduled => Trigger::Scheduled(Slot {
                due: when.due.clone().unwrap_or_else(|| self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                missed: when.missed,
            }),
            TriggerName::Manual => Trigger::Manual,
            TriggerName::Webhook => Trigger::Webhook(self.webhook()),
            TriggerName::Message => Trigger::Message(self.message()?),
            TriggerName::OnChange => Trigger::OnChange(Snapshot {
                id: targets.first().map_or(0, |target| target.id),
                fields: self.values(model)?,
            }),
            TriggerName::BeforeCreate => Trigger::BeforeCreate(self.values(model)?),
            TriggerName::BeforeUpdate => {
                let fields = self.values(model)?;
                let snapshot = |target: &RecordRef| Snapshot { id: target.id, fields: fields.clone() };
                Trigger::BeforeUpdate(targets.iter().map(snapshot).collect())
            }
            TriggerName::BeforeDelete => Trigger::BeforeDelete,
            TriggerName::SelectRecords => Trigger::SelectRecords,
            TriggerName::Other => Trigger::Other(when.name.clone().unwrap_or_default()),
        };
        Ok((trigger, old))
    }

    /// The values in question, in the contract's form.
    fn values(&self, model: Option<&str>) -> Result<Vec<FieldValue>, BadScenario> {
        let Some(values) = &self.file.scenario.when.values else { return Ok(Vec::new()) };
        let model =
            model.ok_or_else(|| self.file.wrong(&values.span(), "values need a model: name it in `when.model`"))?;
        let written = self.ground.values(model, object(values.get_ref()));
        written.map_err(|error| self.file.wrong(&values.span(), error))
    }

    /// Writes the values on the records; the fields as they were.
    fn update(&self, targets: &[RecordRef]) -> Result<Vec<Snapshot>, BadScenario> {
        let Some(values) = &self.file.scenario.when.values else { return Ok(Vec::new()) };
        let old = targets.iter().map(|target| self.ground.update(target, object(values.get_ref())));
        old.collect::<Result<_, _>>().map_err(|problem| self.file.wrong(&values.span(), problem))
    }

    /// Deletes the records; their last values.
    fn delete(&self, targets: &[RecordRef]) -> Result<Vec<Snapshot>, BadScenario> {
        let last = targets.iter().map(|target| self.ground.delete(target));
        last.collect::<Result<_, _>>().map_err(|problem| self.file.broken(problem))
    }

    fn webhook(&self) -> WebhookCall {
        let asked = self.file.scenario.when.webhook.clone().unwrap_or_default();
        let body = match (&asked.json, asked.body) {
            (Some(value), _) => json(value).to_string(),
            (None, body) => body.unwrap_or_default(),
        };
        WebhookCall {
            method: asked.method.unwrap_or_else(|| "POST".to_owned()),
            headers: asked.headers.into_iter().collect(),
            query: asked.query.into_iter().collect(),
            body: body.into_bytes(),
        }
    }

    fn message(&self) -> Result<MessageInfo, BadScenario> {
        let said = self.file.scenario.when.message.clone().unwrap_or_default();
        let author = match &said.author {
            None => None,
            Some(name) => {
                let partner = self.resolve(name.get_ref()).map_err(|why| self.file.wrong(&name.span(), why))?;
                let named = self.ground.name(&partner).map_err(|why| self.file.wrong(&name.span(), why))?;
                Some(Link { id: partner.id, name: named })
            }
        };
        Ok(MessageInfo { id: 1, author, body: said.body, is_note: said.note })
    }
}
