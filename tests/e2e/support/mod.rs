//! The demo CRM in memory, and scripts run on it as the command line runs them.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod examples;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use guest_artifacts::Guest;
use jiff::Timestamp;
use triggerbox_automation::{self as automation, LogSink, Report, Request, people};
use triggerbox_llm::Outside;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page, Posted},
    error::Error,
    event::Trigger,
    grants::{Authority, Grant, Grants, Policy},
    limits::{Class, LimitRequest, Limits},
    manifest::Manifest,
    schema::Schema,
    value::{FieldValue, Id, RecordRef, Row, Snapshot, Value},
};
use triggerbox_sandbox::{LogLevel, Pool, Sandbox, Script};
use triggerbox_store::{commit, db::Database, session::Session};

/// When all of this happens.
pub(crate) const NOW: &str = "2026-11-20T09:30:00Z";

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(&Pool::default()).unwrap());

/// A component compiled once for all tests of this process: CPython takes some ten seconds.
pub(crate) fn compiled(component: &'static [u8]) -> Script {
    static COMPILED: LazyLock<Mutex<HashMap<usize, Arc<OnceLock<Script>>>>> = LazyLock::new(Mutex::default);
    let script = Arc::clone(COMPILED.lock().unwrap().entry(component.as_ptr().addr()).or_default());
    script.get_or_init(|| SANDBOX.compile(component).unwrap()).clone()
}

/// Log lines, kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl LogSink for Log {
    fn line(&mut self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(format!("{} {message}", level.name()));
    }
}

/// How a script is run; what is not said is as the command line's defaults.
#[derive(Clone, Default)]
pub(crate) struct How<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) superuser: bool,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) old_values: &'a [Snapshot],
    pub(crate) params: &'a [(&'a str, &'a str)],
    pub(crate) grants: &'a [&'a str],
    /// The rule grants by name all that the manifest asks for, guarded or not.
    pub(crate) grant_all: bool,
    pub(crate) limits: &'a [(&'a str, u64)],
    pub(crate) dry_run: bool,
    pub(crate) manifest: Option<&'a str>,
    /// In place of manifest and grants.
    pub(crate) authority: Option<Authority>,
    pub(crate) granted: Option<Grants>,
    pub(crate) http: &'a [&'a str],
    pub(crate) class: Option<Class>,
    pub(crate) outside: Option<Outside>,
    /// What happens beside the run whenever it logs a line.
    pub(crate) meanwhile: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// A log, and what happens beside it.
struct Meanwhile(Log, Option<Arc<dyn Fn() + Send + Sync>>);

impl LogSink for Meanwhile {
    fn line(&mut self, level: LogLevel, message: &str) {
        self.0.line(level, message);
        if let Some(happens) = &self.1 {
            happens();
        }
    }
}

#[derive(Clone)]
pub(crate) struct Crm {
    pub(crate) database: Database,
    now: Timestamp,
}

impl Crm {
    pub(crate) fn new() -> Self {
        let now: Timestamp = NOW.parse().unwrap();
        Self { database: Database::demo_in_memory(now).unwrap(), now }
    }

    /// The demo CRM with one more model, by way of an export and an import.
    pub(crate) fn with_model(name: &str, model: &str) -> Self {
        let crm = Self::new();
        let mut data = crm.database.export().unwrap();
        data.schema.models.insert(name.to_owned(), toml::from_str(model).unwrap());
        data.schema = Schema::new(data.schema.models);
        Self { database: Database::in_memory(&data).unwrap(), now: crm.now }
    }

    /// The same CRM where only a group (by its external id) sees a field.
    pub(crate) fn with_field_for(&self, group: &str, model: &str, field: &str) -> Self {
        let mut data = self.database.export().unwrap();
        data.schema.models[model].fields[field].groups = vec![group.to_owned()];
        Self { database: Database::in_memory(&data).unwrap(), now: self.now }
    }

    pub(crate) fn session(&self) -> Session {
        let env = people::environment(&self.database, people::SYSTEM, true, self.now).unwrap();
        Session::new(&self.database, env).unwrap()
    }

    /// Runs a script and returns the report with the log.
    pub(crate) fn run(&self, guest: &Guest, model: &str, ids: &[Id], how: &How<'_>) -> (Report, Vec<String>) {
        let manifest = Manifest::parse(how.manifest.or(guest.manifest).expect("a manifest")).unwrap();
        let run_as = people::find(&self.database, how.user.unwrap_or("admin"), self.now).unwrap();
        let params: Vec<_> = how.params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let grants: Vec<Grant> = how.grants.iter().map(|text| text.parse().unwrap()).collect();
        let limits = how.limits.iter().map(|(name, number)| (limit(name), *number)).collect();
        let request = Request {
            script: compiled(guest.component),
            rule: guest.name.to_owned(),
            trigger: how.trigger.clone().unwrap_or(Trigger::Manual),
            model: (!model.is_empty()).then(|| model.to_owned()),
            records: ids.to_vec(),
            old_values: how.old_values.to_vec(),
            parameters: manifest.parameter_values(&params).unwrap(),
            actor: run_as.clone(),
            run_as,
            superuser: how.superuser,
            limits: Limits::resolve(how.class.unwrap_or(Class::Async), [&manifest.limits, &LimitRequest(limits)]),
            authority: Arc::new(how.authority.clone().unwrap_or_else(|| {
                let rule = match (&how.granted, how.grant_all) {
                    (Some(grants), _) => Some(grants.clone()),
                    (None, true) => Some(manifest.grants.clone()),
                    (None, false) => (!grants.is_empty()).then_some(Grants(grants)),
                };
                let http = how.http.iter().map(|text| text.parse().unwrap()).collect();
                manifest.authority(rule, http, Policy::default())
            })),
            now: self.now,
            // Of the half of 32 bits that an engine may take for negative numbers.
            seed: u32::MAX - 7,
            previous: None,
            dry_run: how.dry_run,
            outside: how.outside.clone(),
        };
        let log = Log::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sink = Box::new(Meanwhile(log.clone(), how.meanwhile.clone()));
        let report = runtime.block_on(automation::run(&self.database, &request, sink)).unwrap();
        (report, log.lines())
    }

    /// Runs a script that must succeed; its outcome's message.
    pub(crate) fn succeed(&self, guest: &Guest, model: &str, ids: &[Id], how: &How<'_>) -> String {
        let (report, log) = self.run(guest, model, ids, how);
        match report.verdict {
            automation::Verdict::Applied(outcome) => outcome.message.unwrap_or_default(),
            other => panic!("{}: {other:?}\nlog: {log:#?}", guest.name),
        }
    }

    pub(crate) fn ask(&self, call: Call) -> Result<Answer, Error> {
        self.session().call(call).unwrap()
    }

    pub(crate) fn search(&self, model: &str, domain: &str) -> Vec<Id> {
        let domain = DomainSource::Literal(domain.to_owned());
        match self.ask(Call::Search { model: model.to_owned(), domain, page: Page::default() }).unwrap() {
            Answer::Ids(ids) => ids,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn rows(&self, model: &str, domain: &str, fields: &[&str]) -> Vec<Row> {
        let domain = DomainSource::Literal(domain.to_owned());
        let fields = fields.iter().map(|name| (*name).to_owned()).collect();
        match self.ask(Call::SearchRead { model: model.to_owned(), domain, fields, page: Page::default() }).unwrap() {
            Answer::Rows(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// One field of one record.
    pub(crate) fn value(&self, model: &str, id: Id, field: &str) -> Value {
        let call = Call::Read { model: model.to_owned(), ids: vec![id], fields: vec![field.to_owned()] };
        match self.ask(call).unwrap() {
            Answer::Rows(rows) => rows[0].values[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The related records' names.
    pub(crate) fn names(&self, model: &str, id: Id, field: &str, related: &str) -> Vec<String> {
        let Value::Ids(ids) = self.value(model, id, field) else { panic!("{field} is not a relation") };
        let domain = format!("[('id', 'in', {ids:?})]");
        let rows = self.rows(related, &domain, &["display_name"]);
        let mut names: Vec<_> = rows.iter().map(|row| text(&row.values[0])).collect();
        names.sort();
        names
    }

    /// Changes from outside, committed.
    pub(crate) fn change(&self, calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
        let mut session = self.session();
        let answers = calls.into_iter().map(|call| session.call(call).unwrap().unwrap()).collect();
        let env = session.env().clone();
        commit::commit(&self.database, &env, &session.finish()).unwrap();
        answers
    }

    pub(crate) fn write(&self, model: &str, id: Id, values: &[(&str, Value)]) {
        let values = fields(values);
        self.change([Call::Write { model: model.to_owned(), ids: vec![id], values }]);
    }

    /// The record that a creation gives, found by its highest id.
    pub(crate) fn create(&self, model: &str, values: &[(&str, Value)]) -> Id {
        self.change([Call::Create { model: model.to_owned(), values: vec![fields(values)] }]);
        let page = Page { limit: Some(1), order: Some("id desc".into()), archived: true, ..Page::default() };
        let domain = DomainSource::Literal("[]".into());
        match self.ask(Call::Search { model: model.to_owned(), domain, page }).unwrap() {
            Answer::Ids(ids) => ids[0],
            other => panic!("{other:?}"),
        }
    }

    /// Messages and notes, newest first.
    pub(crate) fn messages(&self, model: &str, id: Id) -> Vec<Posted> {
        match self.ask(Call::ReadMessages { target: RecordRef::new(model, id), limit: 100 }).unwrap() {
            Answer::Messages(messages) => messages,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn activities(&self, model: &str, id: Id) -> Vec<Row> {
        let domain = format!("[('res_model', '=', '{model}'), ('res_id', '=', {id})]");
        self.rows("mail.activity", &domain, &["summary", "date_deadline", "user_id"])
    }
}

pub(crate) fn fields(values: &[(&str, Value)]) -> Vec<FieldValue> {
    values.iter().map(|(name, value)| FieldValue::new(*name, value.clone())).collect()
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) => text.clone(),
        Value::Many2one(link) => link.name.clone().unwrap_or_default(),
        other => panic!("not a text: {other:?}"),
    }
}

fn limit(name: &str) -> triggerbox_model::limits::Limit {
    triggerbox_model::limits::Limit::from_name(name).unwrap()
}
