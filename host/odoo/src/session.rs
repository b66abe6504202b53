//! A run's session: host calls in, answers out. Reads go to Odoo as the user whose rights the run has, each value once;
//! what changes is staged here, and sent only by the [`commit`](crate::commit).
//!
//! A value that the run itself has changed, or that follows from one, is never guessed: it is what was written, or it is
//! pending.

mod read;
mod search;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;
use triggerbox_model::{
    allowance::Allowance,
    call::{ASKING, Answer, Call, Reply},
    changes::ChangeSet,
    error::{Error, ErrorKind},
    event::Outcome,
    schema::Schema,
    value::{RecordRef, Value},
};

use crate::{
    backend::{Account, Backend},
    error::OdooError,
    fields::{self, Described},
    overlay::{Depends, Overlay, Source},
    paths,
};

/// How many models one call may bring in: a path through more makes no sense.
const MOST_MODELS: usize = 64;
/// Of so many errors the traceback is kept.
const MOST_TRACEBACKS: usize = 5;
/// So much of a traceback, in bytes: the end of it, where it says what went wrong.
const LONGEST_TRACEBACK: usize = 8 << 10;

/// One run's view of an Odoo server, and what it has staged. Dropping it forgets everything.
pub struct Session {
    pub(crate) backend: Arc<Backend>,
    pub(crate) account: Arc<Account>,
    pub(crate) schema: Schema,
    pub(crate) now: Timestamp,
    depends: Depends,
    /// The models as they were described, to be told further.
    described: BTreeMap<String, Arc<Described>>,
    rule: String,
    pub(crate) changes: ChangeSet,
    overlay: Overlay,
    /// Values as Odoo sent them, each asked once: a run never sees two states.
    pub(crate) read: BTreeMap<RecordRef, BTreeMap<String, Json>>,
    /// Rule state that was asked for.
    state: BTreeMap<String, Option<String>>,
    note_subtype: Option<u32>,
    tracebacks: Mutex<Vec<String>>,
    /// When the request was begun that has no answer yet.
    asking: Mutex<Option<Instant>>,
    fault: Option<OdooError>,
}

/// What a session had staged at a moment, to go back to ([`Session::undo`]).
pub struct Mark {
    effects: usize,
    mentions: usize,
    overlay: Overlay,
    state: BTreeMap<String, Option<String>>,
}

fn lock<T>(of_run: &Mutex<T>) -> MutexGuard<'_, T> {
    of_run.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a call has no answer.
pub(crate) enum Fail {
    /// For the script.
    Script(Error),
    /// Ends the run.
    Fault(OdooError),
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Script(error)
    }
}

impl From<OdooError> for Fail {
    fn from(error: OdooError) -> Self {
        match error {
            OdooError::Refused(refusal) => Self::Script(refusal.error),
            too_large @ OdooError::TooLarge { .. } => Self::Script(too_large.into_error()),
            fault => Self::Fault(fault),
        }
    }
}

impl Session {
    /// Starts a session as a user; nothing is sent.
    #[must_use]
    pub fn new(backend: Arc<Backend>, account: Arc<Account>, now: Timestamp) -> Self {
        Self {
            backend,
            account,
            now,
            schema: Schema { remote: true, ..Schema::default() },
            depends: Depends::default(),
            described: BTreeMap::new(),
            rule: String::new(),
            changes: ChangeSet::default(),
            overlay: Overlay::default(),
            read: BTreeMap::new(),
            state: BTreeMap::new(),
            note_subtype: None,
            tracebacks: Mutex::default(),
            asking: Mutex::default(),
            fault: None,
        }
    }

    /// Names the rule whose state `state-get` and `state-set` are about.
    #[must_use]
    pub fn for_rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = rule.into();
        self
    }

    /// Whose rights it has.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The models that the run has met so far.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Brings in the models that a call reaches. The inner result is for the script.
    ///
    /// # Errors
    /// When Odoo cannot be used.
    pub async fn learn(&mut self, call: &Call) -> Result<Result<(), Error>, OdooError> {
        let learnt = self.learn_paths(call).await;
        self.told(learnt)
    }

    /// Answers a call of somebody who is no run, and may have what there is. The inner result is for the caller.
    ///
    /// # Errors
    /// When Odoo cannot be used.
    pub async fn call(&mut self, call: Call) -> Result<Reply, OdooError> {
        self.call_within(call, Allowance::UNLIMITED).await
    }

    /// Answers a host call. The inner result is for the script; the outer one ends the run. Of records, Odoo is asked for no
    /// more than may come back and one.
    ///
    /// # Errors
    /// When Odoo cannot be used.
    pub async fn call_within(&mut self, mut call: Call, may: Allowance) -> Result<Reply, OdooError> {
        may.bound(&mut call);
        let answer = match self.learn_paths(&call).await {
            Ok(()) => self.answer(call).await,
            Err(fail) => Err(fail),
        };
        if let Err(Fail::Script(error)) = &answer {
            self.doubt(error);
        }
        self.told(answer)
    }

    /// Calls a method that changes nothing, and answers with what it says. What the run has staged is not there for it to see:
    /// a method that is asked about records is asked before anything is staged.
    ///
    /// # Errors
    /// When Odoo cannot be used.
    pub async fn ask_method(&mut self, call: Call) -> Result<Reply, OdooError> {
        let answer = match self.learn_paths(&call).await {
            Ok(()) => self.method_answer(call).await,
            Err(fail) => Err(fail),
        };
        self.told(answer)
    }

    async fn method_answer(&mut self, call: Call) -> Result<Answer, Fail> {
        let Call::CallMethod { model, ids, method, arguments_json } = call else {
            return Err(Error::invalid("unknown-method", "only a method can be asked").into());
        };
        let mut body: Map<String, Json> = match serde_json::from_str(&arguments_json) {
            Ok(arguments) => arguments,
            Err(_) if arguments_json.trim().is_empty() => Map::new(),
            Err(_) => {
                return Err(
                    Error::invalid("bad-arguments", format!("the arguments of `{method}` are no JSON object")).into()
                );
            }
        };
        // What is asked about was judged by the call's own records.
        if let Some(name) = ["ids", "context"].into_iter().find(|name| body.contains_key(*name)) {
            let text = format!("`{name}` is no argument of `{method}`: the records are those of the call");
            return Err(Error::invalid("bad-arguments", text).into());
        }
        if !ids.is_empty() {
            if !self.changes.effects.is_empty() {
                let what = format!(
                    "`{model}.{method}` would not see what this run has changed; ask it before anything is changed"
                );
                return Err(pending(what).into());
            }
            body.insert("ids".to_owned(), json!(ids));
        }
        body.insert("context".to_owned(), self.context(false));
        let answer = self.ask(&model, &method, Json::Object(body)).await?;
        Ok(Answer::OptionalText(Some(answer.to_string())))
    }

    /// Brings in one model by its name. The inner result: there is none, or the user may not see it.
    ///
    /// # Errors
    /// When Odoo cannot be used.
    pub async fn know(&mut self, model: &str) -> Result<Result<(), Error>, OdooError> {
        let learnt = self.learn_model(model).await;
        self.told(learnt)
    }

    /// What the run wants to change so far.
    #[must_use]
    pub fn changes(&self) -> &ChangeSet {
        &self.changes
    }

    /// What is staged so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let (effects, mentions) = (self.changes.effects.len(), self.changes.mentions.len());
        Mark { effects, mentions, overlay: self.overlay.clone(), state: self.state.clone() }
    }

    /// Forgets what was staged since a mark. What was read since then counts as read.
    pub fn undo(&mut self, mark: Mark) {
        self.changes.effects.truncate(mark.effects);
        self.changes.mentions.truncate(mark.mentions);
        self.overlay.undo(mark.overlay);
        self.state = mark.state;
    }

    /// Fails when a run's outcome holds the number of a record that exists only in this run.
    ///
    /// # Errors
    /// `provisional-id`
    pub fn check_outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        let texts = [&outcome.message, &outcome.warning, &outcome.result_json];
        texts.into_iter().flatten().try_for_each(|text| self.check_text(text))
    }

    async fn learn_paths(&mut self, call: &Call) -> Result<(), Fail> {
        for (model, path) in paths::paths(call)? {
            let mut model = model;
            self.learn_model(&model).await?;
            for step in path.split('.').filter(|step| !step.is_empty()) {
                let field = self.schema.models.get(&model).and_then(|model| model.fields.get(step));
                match field.and_then(|field| field.relation.clone()) {
                    Some(relation) if path.contains('.') => {
                        self.learn_model(&relation).await?;
                        model = relation;
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Brings in one model; the models that it is related to by name only.
    async fn learn_model(&mut self, name: &str) -> Result<(), Fail> {
        if self.schema.models.get(name).is_some_and(|model| !model.fields.is_empty()) {
            return Ok(());
        }
        let described = self.noted(self.backend.model(&self.account, name).await)?;
        for field in described.model.fields.values() {
            if let Some(relation) = &field.relation
                && !self.schema.models.contains_key(relation)
            {
                self.schema.models.insert(relation.clone(), fields::empty(relation));
            }
        }
        self.depends.insert(name.to_owned(), described.depends.clone().into_iter().collect());
        self.schema.models.insert(name.to_owned(), described.model.clone());
        self.described.insert(name.to_owned(), described);
        Ok(())
    }

    async fn answer(&mut self, call: Call) -> Result<Answer, Fail> {
        match call {
            Call::Search { model, domain, page } => {
                let ids = self.search(&model, &domain, &page).await?;
                Ok(Answer::Ids(ids))
            }
            Call::SearchRead { model, domain, fields, page } => self.search_read(&model, &domain, &fields, &page).await,
            Call::SearchCount { model, domain } => self.search_count(&model, &domain).await,
            Call::Read { model, ids, fields } => {
                require_fields(&fields)?;
                Ok(Answer::Rows(self.rows(&model, &ids, &fields).await?))
            }
            Call::ReadGroup { model, domain, group_by, aggregates, page } => {
                self.read_group(&model, &domain, &group_by, &aggregates, &page).await
            }
            Call::NameSearch { model, text, limit } => self.name_search(&model, &text, limit).await,
            Call::FieldsGet { model, fields } => self.fields_get(&model, &fields),
            Call::DescribeFields { model, fields } => self.describe_fields(&model, &fields),
            Call::HasAccess { model, ids, operation } => self.has_access(&model, ids, operation).await,
            Call::ResolveXmlid { xmlid } => self.resolve_xmlid(&xmlid).await,
            Call::ReadMessages { target, limit } => self.read_messages(&target, limit).await,
            Call::StateGet { key } => self.state_get(&key).await,
            Call::Mention { target } => self.mention(target).await,
            Call::Ensure { model, keys, values } => self.ensure(model, keys, values).await,
            Call::CompleteActivities { target, kind, feedback } => {
                self.complete_activities(target, kind, feedback).await
            }
            Call::CallMethod { ref method, .. } if ASKING.contains(&method.as_str()) => self.method_answer(call).await,
            Call::Complete { .. } => {
                Err(Error::unavailable("llm-not-configured", "odoo answers no language model calls").into())
            }
            Call::Send { .. } => Err(Error::unavailable("http-not-configured", "odoo sends no requests").into()),
            call => Ok(self.stage(call)?),
        }
    }

    /// Where a record's value comes from; models that this takes are brought in.
    async fn source(&mut self, record: &RecordRef, field: &str) -> Result<Source, Fail> {
        for _ in 0..MOST_MODELS {
            match self.overlay.source(&self.schema, &self.depends, &record.model, record.id, field) {
                Source::Unknown(model) => self.learn_or_stop(&model).await?,
                known => return Ok(known),
            }
        }
        Ok(Source::Pending)
    }

    /// Whether something staged reaches a path from any record of a model.
    async fn reaches(&mut self, model: &str, path: &str) -> Result<bool, Fail> {
        for _ in 0..MOST_MODELS {
            match self.overlay.reaches(&self.schema, &self.depends, model, path) {
                Source::Unknown(model) => self.learn_or_stop(&model).await?,
                found => return Ok(found != Source::Committed),
            }
        }
        Ok(true)
    }

    /// A model that the user may not even see described cannot be reached by what the run staged.
    async fn learn_or_stop(&mut self, model: &str) -> Result<(), Fail> {
        match self.learn_model(model).await {
            Err(Fail::Script(_)) => {
                let mut nothing = fields::empty(model);
                let id = triggerbox_model::schema::Field::new(triggerbox_model::schema::FieldKind::Integer);
                nothing.fields.insert("id".to_owned(), id);
                self.schema.models.insert(model.to_owned(), nothing);
                Ok(())
            }
            other => other,
        }
    }

    /// The requests' context: the user's language and zone.
    pub(crate) fn context(&self, archived: bool) -> Json {
        let mut context = self.account.context.clone();
        if archived && let Some(context) = context.as_object_mut() {
            context.insert("active_test".to_owned(), json!(false));
        }
        context
    }

    async fn ask(&self, model: &str, method: &str, body: Json) -> Result<Json, Fail> {
        *lock(&self.asking) = Some(Instant::now());
        let answer = self.backend.client.call(&self.account.caller, model, method, &body).await;
        *lock(&self.asking) = None;
        Ok(self.noted(answer)?)
    }

    /// The tracebacks of Odoo's that the run met, the last first: for administrators, never for scripts.
    #[must_use]
    pub fn tracebacks(&self) -> Vec<String> {
        lock(&self.tracebacks).iter().rev().cloned().collect()
    }

    /// Why the run was ended, if that was Odoo: also where its time was over while Odoo was silent for longer than any answer
    /// may take.
    #[must_use]
    pub fn fault(&self) -> Option<OdooError> {
        let silent = || self.backend.client.silent(lock(&self.asking).as_ref()?.elapsed());
        self.fault.clone().or_else(silent)
    }

    fn told<T>(&mut self, answer: Result<T, Fail>) -> Result<Result<T, Error>, OdooError> {
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(Fail::Script(error)) => Ok(Err(error)),
            Err(Fail::Fault(fault)) => {
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    /// Odoo does not know a field that it described, or sends it as something else: its models are not what they were when
    /// they were looked at, and the next run looks again.
    pub(crate) fn doubt(&self, error: &Error) {
        let gone = error.message.starts_with("Invalid field") || error.message.starts_with("the model");
        if gone || error.code == "bad-answer" {
            self.backend.forget();
        }
    }

    /// Keeps the traceback of an answer that is an error.
    pub(crate) fn noted<T>(&self, answer: Result<T, OdooError>) -> Result<T, OdooError> {
        if let Some(traceback) = answer.as_ref().err().and_then(OdooError::traceback) {
            let mut kept = lock(&self.tracebacks);
            if kept.len() == MOST_TRACEBACKS {
                kept.remove(0);
            }
            kept.push(end_of(traceback));
        }
        answer
    }

    fn check_text(&self, text: &str) -> Result<(), Error> {
        for number in text.split(|c: char| !c.is_ascii_digit()).filter(|part| part.len() == 10) {
            if let Ok(id) = number.parse()
                && self.overlay.gave_out(id)
            {
                return Err(Error::invalid(
                    "provisional-id",
                    format!(
                        "the text holds {id}, which is the id of a new record only within this run; name the record with `mention`"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The end of a traceback, whole lines of it.
fn end_of(traceback: &str) -> String {
    let mut end = traceback.len().saturating_sub(LONGEST_TRACEBACK);
    while !traceback.is_char_boundary(end) {
        end += 1;
    }
    let kept = traceback.get(end..).unwrap_or_default();
    match (end, kept.split_once('\n')) {
        (0, _) | (_, None) => kept.to_owned(),
        (_, Some((_, lines))) => format!("…\n{lines}"),
    }
}

pub(crate) fn pending(what: String) -> Error {
    Error::new(ErrorKind::Pending, "pending", what)
}

pub(crate) fn odd(what: &str) -> Error {
    Error::unavailable("bad-answer", format!("odoo answered {what} with something else"))
}

fn require_fields(fields: &[String]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    match fields.iter().find(|field| !seen.insert(field.as_str())) {
        _ if fields.is_empty() => {
            Err(Error::invalid("no-fields", "the list of fields is empty; name the fields to read"))
        }
        _ => Ok(()),
    }
}

/// Whether a value of an unwritten record is what nobody can know.
pub(crate) fn is_pending(value: &Value) -> bool {
    matches!(value, Value::Pending)
}
