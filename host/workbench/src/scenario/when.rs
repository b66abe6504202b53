//! What happens in a scenario: from its words to a run's request.

use std::{str::FromStr, sync::Arc};

use jiff::Timestamp;
use toml::{Spanned, Value};
use triggerbox_automation::{
    Request,
    people::{self, Person},
    rule::{Action, ScriptRef},
    scripts::{asks, ready},
};
use triggerbox_model::{
    call::Call,
    event::{MessageInfo, Slot, Trigger, WebhookCall},
    grants::{Authority, Grant, Grants, Policy},
    limits::{Class, Limit, LimitRequest, Limits},
    manifest::{Manifest, ParameterKind},
    outbound::HttpGrant,
    schema::FieldKind,
    value::{FieldValue, Id, Link, RecordRef, Snapshot},
};
use triggerbox_sandbox::Script;
use triggerbox_store::{commit, db::Database, query, session::Session};

use super::{
    BadScenario, ScenarioFile,
    file::TriggerName,
    given::{json, object, text},
    refs,
};

/// The request of a scenario's run, without what it may ask outside. What happens to records is done.
pub(super) fn request(
    file: &ScenarioFile,
    database: &Database,
    script: &Script,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Request, BadScenario> {
    let when = &file.scenario.when;
    let happening = Happening { file, database, now };
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
    let authority = authority(database, model.as_deref(), manifest, &parameters, grants.map(Grants), http);
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
        dry_run: false,
        outside: None,
    })
}

/// As a rule would give it: the program's own scripts may do what their parameters name.
fn authority(
    database: &Database,
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
    asks::authority_on(database.schema(), model, &action, manifest, &Policy::default())
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
    database: &'a Database,
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
        let conn = self.database.snapshot().map_err(|error| error.to_string())?;
        refs::resolve(&conn, reference).map_err(|error| error.message)
    }

    fn person(&self, name: Option<&Spanned<String>>) -> Result<Person, BadScenario> {
        let span = name.map_or(0..0, Spanned::span);
        let wrong = |problem: String| self.file.wrong(&span, problem);
        let login = match name.map(|name| name.get_ref().as_str()) {
            None => "admin".to_owned(),
            Some(reference) if reference.starts_with('@') => self.resolve(reference).map_err(wrong)?.id.to_string(),
            Some(login) => login.to_owned(),
        };
        people::find(self.database, &login, self.now).map_err(|error| self.file.wrong(&span, error))
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
        let written = self.database.values_written(model, object(values.get_ref()), self.now);
        written.map_err(|error| self.file.wrong(&values.span(), error))
    }

    /// Writes the values on the records; the fields as they were.
    fn update(&self, targets: &[RecordRef]) -> Result<Vec<Snapshot>, BadScenario> {
        let Some(values) = &self.file.scenario.when.values else { return Ok(Vec::new()) };
        let wrong = |problem: &dyn std::fmt::Display| self.file.wrong(&values.span(), problem);
        let fields: Vec<String> = values.get_ref().keys().cloned().collect();
        let old = targets.iter().map(|target| self.read(target, &fields)).collect::<Result<Vec<_>, _>>();
        let old = old.map_err(|error| wrong(&error))?;
        for target in targets {
            let record = object(values.get_ref());
            self.database.change_written(target, record, self.now).map_err(|error| wrong(&error))?;
        }
        Ok(old)
    }

    /// Deletes the records; their last values.
    fn delete(&self, targets: &[RecordRef]) -> Result<Vec<Snapshot>, BadScenario> {
        let mut last = Vec::new();
        for target in targets {
            let model = self.database.schema().model(&target.model).map_err(|error| self.file.broken(error))?;
            let kept = model.fields.iter().filter(|(_, field)| field.has_column() && field.kind != FieldKind::Binary);
            let fields: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
            last.push(self.read(target, &fields).map_err(|problem| self.file.broken(problem))?);
            self.unlink(target).map_err(|problem| self.file.broken(problem))?;
        }
        Ok(last)
    }

    fn unlink(&self, target: &RecordRef) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let env = people::environment(self.database, people::SYSTEM, true, self.now).map_err(|error| told(&error))?;
        let mut session = Session::new(self.database, env.clone()).map_err(|error| told(&error))?;
        let call = Call::Unlink { model: target.model.clone(), ids: vec![target.id] };
        session.call(call).map_err(|error| told(&error))?.map_err(|error| told(&error))?;
        commit::commit(self.database, &env, &session.finish()).map_err(|error| told(&error))?;
        Ok(())
    }

    fn read(&self, target: &RecordRef, fields: &[String]) -> Result<Snapshot, String> {
        let env =
            people::environment(self.database, people::SYSTEM, true, self.now).map_err(|error| error.to_string())?;
        let conn = self.database.snapshot().map_err(|error| error.to_string())?;
        let rows = query::read::read(&conn, &env, &target.model, &[target.id], fields);
        let row = rows.map_err(|error| error.message)?.into_iter().next();
        let row = row.ok_or_else(|| format!("there is no {target}"))?;
        let fields = fields.iter().zip(row.values).map(|(name, value)| FieldValue::new(name, value)).collect();
        Ok(Snapshot { id: target.id, fields })
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
                let named = self.read(&partner, &["display_name".to_owned()]);
                let named = named.map_err(|why| self.file.wrong(&name.span(), why))?;
                let name = named.fields.into_iter().next().map(|field| field.value);
                let name = match name {
                    Some(triggerbox_model::value::Value::Text(name)) => Some(name),
                    _ => None,
                };
                Some(Link { id: partner.id, name })
            }
        };
        Ok(MessageInfo { id: 1, author, body: said.body, is_note: said.note })
    }
}
