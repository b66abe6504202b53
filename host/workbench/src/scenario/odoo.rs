//! Scenarios on an Odoo server. The records that a scenario names are made there, each under an external id of the tests;
//! the script runs, Odoo applies its changes, tells what they come to and undoes them; then the records are taken away.

mod given;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use triggerbox_automation::{people::Person, remote, runner, scripts::ready};
use triggerbox_model::{
    call::{Answer, Call},
    error::Error,
    schema::FieldKind,
    value::{FieldValue, Id, RecordRef, Snapshot, Value},
};
use triggerbox_odoo::{
    Backend, Session,
    trial::{Look, told},
};
use triggerbox_store::{load::Record, written::full_xmlid};

use self::given::{Known, Maker};
use super::{
    BadScenario, Bench, Played, ScenarioFile,
    file::TriggerName,
    given::{now, object},
    outside::Answers,
    play::{Lines, played},
    refs::Names,
    when::{self, Ground},
};

/// A scenario, as far as it went on an Odoo server.
#[derive(Debug, Clone)]
pub enum OnOdoo {
    /// It was run.
    Played(Box<Played>),
    /// It cannot be run there; why.
    Skipped(String),
}

/// Takes away what tests left that ended long ago without doing so. How many records it were.
///
/// # Errors
/// Odoo cannot be used, or does not let them go.
pub async fn sweep(backend: &Arc<Backend>) -> Result<u64, Error> {
    let account = backend.account(&backend.config().administrator).await.map_err(|error| error.into_error())?;
    let session = Session::new(Arc::clone(backend), account, Timestamp::UNIX_EPOCH);
    session.sweep(&name(), true).await.map_err(|error| told(&error))
}

/// What a test is called in Odoo.
fn name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Bench {
    /// Runs a scenario on an Odoo server. Nothing of it stays there.
    ///
    /// # Errors
    /// The scenario is wrong, or Odoo cannot be used. Whatever the script does is no error.
    pub async fn play_on(&self, backend: &Arc<Backend>, file: &ScenarioFile) -> Result<OnOdoo, BadScenario> {
        let script = &self.manifest.script;
        if ready::is_ready_made(&script.name) && !script.follows_rule {
            let why =
                "what this script may do follows from its parameters, which a scenario on odoo does not look into";
            return Ok(OnOdoo::Skipped(why.to_owned()));
        }
        if let Some(why) = unfit(backend, file) {
            return Ok(OnOdoo::Skipped(why));
        }
        let now = now(file)?;
        let account = backend.account(&backend.config().administrator).await.map_err(|error| file.broken(error))?;
        let run = name();
        let mut session = Session::new(Arc::clone(backend), account, now);
        let played = self.on(backend, file, now, &run, &mut session).await;
        let swept = session.sweep(&run, false).await;
        let played = played?;
        match swept {
            Ok(_) => Ok(OnOdoo::Played(Box::new(played))),
            Err(error) => Err(file.broken(format!(
                "what the test made in odoo could not be taken away again: {}; it has external ids that begin with \
                 `{}.{run}`",
                told(&error),
                triggerbox_odoo::trial::TESTS,
            ))),
        }
    }

    async fn on(
        &self,
        backend: &Arc<Backend>,
        file: &ScenarioFile,
        now: Timestamp,
        run: &str,
        session: &mut Session,
    ) -> Result<Played, BadScenario> {
        let known = Maker::new(file, session).make(run, now).await?;
        let mut place = Place { known, ..Place::default() };
        place.happen(file, session, run, now).await?;
        for login in logins(file) {
            let person = remote::person(backend, &login).await.map_err(|error| file.broken(error))?;
            place.people.insert(login, person);
        }
        let request = when::request(file, &place, session.schema(), &self.script, &self.manifest, now)?;
        let answers = Answers::of(file)?;
        let request = runner::Request { outside: Some(answers.outside.clone()), ..request };
        let log = Lines::default();
        let look = place.look(file);
        let ran = remote::trial(backend, &request, run, &look, Box::new(log.clone())).await;
        let (report, recording) = ran.map_err(|error| file.broken(error))?;
        let entries = recording.map(|recording| recording.entries).unwrap_or_default();
        let models: BTreeSet<&str> = report.diff.records.iter().map(|record| record.record.model.as_str()).collect();
        for model in models {
            // What was changed there can be described there.
            let known = session.know(model).await.map_err(|error| file.broken(error))?;
            known.map_err(|error| file.broken(error))?;
        }
        Ok(played(file, &place, session.schema(), &report, &entries, &answers, log.taken()))
    }
}

/// Why a scenario makes no sense on an Odoo server.
fn unfit(backend: &Backend, file: &ScenarioFile) -> Option<String> {
    let scenario = &file.scenario;
    let when = &scenario.when;
    if let Some(why) = &scenario.not_on_odoo {
        return Some(why.clone());
    }
    let synchronous = matches!(
        when.trigger,
        TriggerName::BeforeCreate | TriggerName::BeforeUpdate | TriggerName::BeforeDelete | TriggerName::OnChange
    );
    let why = if scenario.recording.is_some() {
        "a recorded run brings its own answers"
    } else if synchronous {
        "odoo has no rules that run inside a write or in a form"
    } else if !scenario.models.is_empty() {
        "it has models of its own"
    } else if when.superuser {
        "on an odoo server no script is superuser"
    } else if scenario.given.keys().any(|kind| kind == "post" || kind == "activity") {
        "posts and activities cannot be given there"
    } else {
        let strange = logins(file).into_iter().find(|login| backend.caller(login).is_err())?;
        return Some(format!("no key of `{strange}` is configured"));
    };
    Some(why.to_owned())
}

/// Sign-in names of those whose rights and actions it is about.
fn logins(file: &ScenarioFile) -> BTreeSet<String> {
    let when = &file.scenario.when;
    let user = when.user.as_ref().map_or("admin", |user| user.get_ref());
    let actor = when.actor.as_ref().map_or(user, |actor| actor.get_ref());
    BTreeSet::from([user.to_owned(), actor.to_owned()])
}

/// What a scenario knows of the server when its run begins.
#[derive(Default)]
struct Place {
    known: Known,
    people: BTreeMap<String, Person>,
    /// Fields as they were before what happened.
    old: BTreeMap<RecordRef, Snapshot>,
    called: BTreeMap<RecordRef, String>,
}

impl Place {
    /// Lets happen what the scenario is about: only records of its own are changed.
    async fn happen(
        &mut self,
        file: &ScenarioFile,
        session: &mut Session,
        run: &str,
        now: Timestamp,
    ) -> Result<(), BadScenario> {
        let when = &file.scenario.when;
        let wrong = |problem: String| file.broken(problem);
        let mut ops = Vec::new();
        for record in &when.records {
            let toml::Value::String(reference) = record.get_ref() else { continue };
            let Ok(target) = super::refs::resolve(&*self, reference) else { continue };
            let (fields, op) = match (when.trigger, &when.values) {
                (TriggerName::Updated, Some(values)) => {
                    let mut maker = Maker::of(&self.known.names, file, session);
                    let written = maker.values(&target.model, object(values.get_ref()), now, false).await;
                    let written = written.map_err(|problem| file.wrong(&values.span(), problem))?;
                    let op = json!({ "op": "write", "model": target.model, "ids": [target.id], "values": written });
                    (values.get_ref().keys().cloned().collect::<Vec<_>>(), op)
                }
                (TriggerName::Deleted, _) => {
                    let known = session.know(&target.model).await.map_err(|error| wrong(error.to_string()))?;
                    known.map_err(|error| wrong(error.message))?;
                    let model = session.schema().model(&target.model).map_err(|error| wrong(error.message))?;
                    let kept = model
                        .fields
                        .iter()
                        .filter(|(_, field)| field.store && !field.kind.is_x2many() && field.kind != FieldKind::Binary);
                    let fields = kept.map(|(name, _)| name.clone()).collect();
                    (fields, json!({ "op": "unlink", "model": target.model, "ids": [target.id] }))
                }
                _ => continue,
            };
            if !self.known.made.contains(&target) {
                return Err(
                    file.wrong(&record.span(), format!("{target} was not made by the test, and is not changed"))
                );
            }
            let call = Call::Read { model: target.model.clone(), ids: vec![target.id], fields: fields.clone() };
            let rows = session.call(call).await.map_err(|error| wrong(error.to_string()))?;
            let Answer::Rows(rows) = rows.map_err(|error| wrong(error.message))? else { continue };
            let values = rows.into_iter().next().map(|row| row.values).unwrap_or_default();
            let fields = fields.iter().zip(values).map(|(name, value)| FieldValue::new(name, value)).collect();
            self.old.insert(target.clone(), Snapshot { id: target.id, fields });
            ops.push(op);
        }
        if !ops.is_empty() {
            session.happen(run, ops).await.map_err(|error| wrong(told(&error).message))?;
        }
        if let Some(author) = when.message.as_ref().and_then(|said| said.author.as_ref())
            && let Ok(partner) = super::refs::resolve(&*self, author.get_ref())
        {
            let fields = vec!["display_name".to_owned()];
            let call = Call::Read { model: partner.model.clone(), ids: vec![partner.id], fields };
            let rows = session.call(call).await.map_err(|error| wrong(error.to_string()))?;
            if let Ok(Answer::Rows(rows)) = rows
                && let Some(Value::Text(name)) = rows.into_iter().next().and_then(|row| row.values.into_iter().next())
            {
                self.called.insert(partner, name);
            }
        }
        Ok(())
    }

    /// What the scenario expects of records, to be looked at.
    fn look(&self, file: &ScenarioFile) -> Look {
        let mut look = Look::default();
        let expect = file.scenario.expect.as_ref().map(|expect| expect.get_ref());
        for changed in expect.into_iter().flat_map(|expect| &expect.changes) {
            let changed = changed.get_ref();
            let record = super::refs::resolve(self, &changed.record).ok();
            let model = match &record {
                Some(record) => record.model.clone(),
                None => changed.record.split('/').next().unwrap_or_default().to_owned(),
            };
            look.fields.entry(model).or_default().extend(changed.values.keys().cloned());
            look.records.extend(record);
        }
        look
    }
}

impl Names for &Place {
    fn record(&self, xmlid: &str) -> Result<RecordRef, Error> {
        Names::record(*self, xmlid)
    }

    fn xmlid(&self, record: &RecordRef) -> Option<String> {
        Names::xmlid(*self, record)
    }
}

impl Names for Place {
    fn record(&self, xmlid: &str) -> Result<RecordRef, Error> {
        self.known.names.get(&full_xmlid(xmlid)).cloned().ok_or_else(|| {
            Error::not_found("unknown-xmlid", format!("no record has the external id `{}`", full_xmlid(xmlid)))
        })
    }

    fn xmlid(&self, record: &RecordRef) -> Option<String> {
        let names = self.known.names.iter().filter(|(_, known)| *known == record).map(|(name, _)| name);
        names.min_by_key(|name| (!name.starts_with("test."), name.as_str())).cloned()
    }
}

impl Ground for Place {
    fn names(&self) -> Result<Box<dyn Names + '_>, String> {
        Ok(Box::new(self))
    }

    fn person(&self, login: &str) -> Result<Person, String> {
        self.people.get(login).cloned().ok_or_else(|| format!("no key of `{login}` is configured"))
    }

    fn values(&self, _: &str, _: Record) -> Result<Vec<FieldValue>, String> {
        Err("odoo has no rules that run inside a write".to_owned())
    }

    fn update(&self, target: &RecordRef, _: Record) -> Result<Snapshot, String> {
        self.old.get(target).cloned().ok_or_else(|| format!("{target} was not changed"))
    }

    fn delete(&self, target: &RecordRef) -> Result<Snapshot, String> {
        self.old.get(target).cloned().ok_or_else(|| format!("{target} was not deleted"))
    }

    fn name(&self, target: &RecordRef) -> Result<Option<String>, String> {
        Ok(self.called.get(target).cloned())
    }
}

/// An id as it is sent.
fn sent(id: Id) -> Json {
    json!(id)
}
