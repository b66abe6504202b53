//! What happens on an Odoo server: its outbox emptied into the queue, and its automation rules kept in step.
//!
//! A row of the outbox is removed only when what it tells is kept here, with the row's key in the same transaction: a host
//! that dies in between meets the row again, and knows it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use indexmap::IndexMap;
use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    call::{Answer, Call},
    changes::{Change, ChangeKind},
    error::Error,
    event::MessageInfo,
    value::{Id, RecordRef},
};
use triggerbox_odoo::{
    Backend, OdooError, Session,
    backend::Account,
    events::{Event, Odd, Taken},
    setup::Finding,
};

use super::{Engine, Shared, Work};
use crate::{
    dispatch::{Cause, Dispatcher, Parent},
    error::EngineError,
    index::Armed,
    matcher::{self, Fire},
    people, remote,
    seen::{self, Known},
    threads::mirror::NAMED,
};

/// Keys of rows that are kept here.
const TAKEN: &str = "odoo:event";

/// What a rule fired on: transactions with the record.
const FIRED: &str = "odoo:fired";

/// Rows that made no sense, with the reason; the answer is what they told.
pub const SET_ASIDE: &str = "odoo:aside";

/// So many of them are remembered.
const MOST_ASIDE: i64 = 1_000;

/// What one look into the outbox came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Rows that were new and made sense.
    pub events: usize,
    /// Rows that were kept here already.
    pub repeated: usize,
    /// Rows that made no sense.
    pub aside: Vec<Odd>,
    /// Runs that were made.
    pub runs: usize,
    /// There may be more rows.
    pub more: bool,
    /// So many runs wait here that nothing was taken.
    pub full: bool,
}

/// What happened, as far as it is one thing: to which record in which transaction, or which message was posted there.
type What = (String, RecordRef, ChangeKind, Option<Id>);

/// What happened to one record in one transaction.
struct Happened {
    change: Change,
    message: Option<MessageInfo>,
    user: Id,
    parent: Option<Parent>,
    /// Rules that fire on it, with what the loop guard knows the change by.
    fires: Vec<(Arc<Armed>, String)>,
}

impl Engine {
    /// The Odoo server that the records are on.
    #[must_use]
    pub fn odoo(&self) -> Option<&Arc<Backend>> {
        self.config().odoo.as_ref()
    }

    /// Answers a call that changes nothing where the records are, as a user who has a key there.
    ///
    /// # Errors
    /// `no-odoo`; `unknown-user`: there is no such key; what Odoo says.
    pub async fn ask_there(&self, user: Id, call: Call) -> Result<Answer, EngineError> {
        let Some(backend) = self.odoo() else {
            return Err(Error::not_found("no-odoo", "the records are on no odoo server").into());
        };
        let mut session = self.session_there(backend, user, self.clock().now()).await?;
        session.call(call).await.map_err(unavailable)?.map_err(refused)
    }

    /// A number that changes when rules do.
    ///
    /// # Errors
    /// What the database says.
    pub fn rules_revision(&self) -> Result<i64, EngineError> {
        Ok(self.rules()?.revision)
    }

    /// A session with the rights of a user here, who is found there by the sign-in name and has a key of their own.
    pub(super) async fn session_there(
        &self,
        backend: &Arc<Backend>,
        user: Id,
        now: jiff::Timestamp,
    ) -> Result<Session, EngineError> {
        let account = self.account_there(backend, user, now).await?.map_err(unavailable)?;
        Ok(Session::new(Arc::clone(backend), account, now))
    }

    /// Who a user here is there. The inner error: Odoo does not say.
    pub(super) async fn account_there(
        &self,
        backend: &Backend,
        user: Id,
        now: jiff::Timestamp,
    ) -> Result<Result<Arc<Account>, OdooError>, EngineError> {
        let login = {
            let snapshot = self.database().snapshot()?;
            let env = people::environment_in(&snapshot, people::SYSTEM, true, now)?;
            people::by_id(&snapshot, &env, user)?.user.login
        };
        Ok(backend.account(&login).await)
    }

    /// Takes what Odoo's outbox holds, once: kept and queued here first, removed there then. Without an Odoo server,
    /// nothing.
    ///
    /// # Errors
    /// `odoo-…`: Odoo cannot be used, and the rows stay where they are; what the database says.
    pub async fn drain(&self) -> Result<Drained, EngineError> {
        let drained = self.take_outbox().await;
        match drained {
            Ok(_) | Err(EngineError::Backend(_) | EngineError::Refused(_)) => drained,
            // That is not Odoo's.
            Err(_) => self.oversee(Work::Events, None, drained),
        }
    }

    async fn take_outbox(&self) -> Result<Drained, EngineError> {
        let Some(backend) = self.odoo() else { return Ok(Drained::default()) };
        let waiting: u32 = {
            let conn = self.database().snapshot()?;
            let sql = "SELECT count(*) FROM engine_run WHERE state = 'queued'";
            conn.prepare_cached(sql).and_then(|mut sql| sql.query_row([], |row| row.get(0)))?
        };
        if waiting >= backend.config().most_waiting {
            return Ok(Drained { full: true, ..Drained::default() });
        }
        // Rows name whatever a server likes.
        let is_wanted = |model: &str| match self.rules() {
            Ok(index) => index.all().iter().any(|armed| armed.rule.model.as_deref() == Some(model)),
            Err(_) => true,
        };
        let taken = backend.events_about(&is_wanted).await.map_err(unavailable)?;
        if taken.events.is_empty() && taken.odd.is_empty() {
            return Ok(Drained { more: taken.more, ..Drained::default() });
        }
        let mut logins = HashMap::new();
        for event in &taken.events {
            if let Entry::Vacant(unknown) = logins.entry(event.user) {
                unknown.insert(backend.person(event.user).await.map_err(unavailable)?.user.login.clone());
            }
        }
        let shared = Arc::clone(&self.inner.shared);
        let rows: Vec<Id> =
            taken.events.iter().map(|event| event.row).chain(taken.odd.iter().map(|odd| odd.row)).collect();
        let drained = self.committer().commit(move |conn| shared.take_events(conn, taken, &logins)).await?;
        crate::failpoint::hit("events-kept");
        if drained.runs > 0 {
            self.inner.wake.notify_one();
        }
        backend.acknowledge(&rows).await.map_err(unavailable)?;
        Ok(drained)
    }

    /// Compares Odoo's automation rules with the rules here and, if wanted, mends what differs. What was found different.
    ///
    /// # Errors
    /// As [`Engine::drain`].
    pub async fn keep_rules(&self, mend: bool) -> Result<Vec<Finding>, EngineError> {
        let Some(backend) = self.odoo() else { return Ok(Vec::new()) };
        let watches = remote::watches(&*self.rules()?, self.database().schema());
        let found = match mend {
            true => backend.rules_apply(&watches).await,
            false => backend.rules_status(&watches).await,
        };
        let found = found.map_err(unavailable)?;
        Ok(found.into_iter().filter(|finding| finding.state != triggerbox_odoo::setup::State::Ok).collect())
    }
}

/// Odoo's errors, for whoever wanted something of it.
pub(super) fn unavailable(error: OdooError) -> EngineError {
    match error {
        OdooError::Refused(refusal) => EngineError::Refused(refusal.error),
        error => EngineError::Backend(error),
    }
}

impl Shared {
    /// Keeps what is new of these rows, and makes the runs that rules want for it.
    fn take_events(
        &self,
        conn: &Connection,
        taken: Taken,
        logins: &HashMap<Id, String>,
    ) -> Result<Drained, EngineError> {
        let index = self.rules(conn)?;
        let now = self.now();
        let mut drained = Drained { more: taken.more, ..Drained::default() };
        let mut happened: IndexMap<What, Happened> = IndexMap::new();
        for event in taken.events {
            if seen::take(conn, TAKEN, &event.key, now)? != Known::New {
                drained.repeated += 1;
                continue;
            }
            let odd = |why: String| {
                let told = serde_json::to_string(&event.change)?;
                Ok::<_, EngineError>(Odd::new(event.row, why, &told))
            };
            let Ok(armed) = index.rule(&event.rule) else {
                drained.aside.push(odd(format!("there is no rule `{}` here", event.rule))?);
                continue;
            };
            if armed.rule.model.as_ref() != Some(&event.change.record.model) {
                let why = format!("rule `{}` is not about `{}`", event.rule, event.change.record.model);
                drained.aside.push(odd(why)?);
                continue;
            }
            drained.events += 1;
            // What one that is paused or broken cannot do is noted.
            if armed.rule.active {
                self.sort_in(conn, &mut happened, armed, event, now)?;
            }
        }
        for odd in taken.odd.into_iter().chain(std::mem::take(&mut drained.aside)) {
            set_aside(conn, &odd, now)?;
            drained.aside.push(odd);
        }
        drained.runs = self.fire_on(conn, happened, logins)?;
        Ok(drained)
    }

    /// Puts an event to what is known of its record in its transaction: one change, however many rules saw it and however
    /// often.
    fn sort_in(
        &self,
        conn: &Connection,
        happened: &mut IndexMap<What, Happened>,
        armed: &Arc<Armed>,
        event: Event,
        now: i64,
    ) -> Result<(), EngineError> {
        let active = matcher::active_name(self.database.schema(), &event.change.record.model);
        let fields = match &event.message {
            Some(message) => Some(format!("message {}", message.id)),
            None => matcher::watched(&armed.rule.trigger, &event.change, active),
        };
        let Some(fields) = fields else { return Ok(()) };
        let parent = event.chain.as_deref().map(|key| parent(conn, key)).transpose()?.flatten();
        let message = event.message.as_ref().map(|message| message.id);
        let key = (event.transaction, event.change.record.clone(), event.change.kind, message);
        // Odoo writes rows of one transaction in several parts, and two looks may have met them.
        let (transaction, record, kind, _) = &key;
        let fired = format!("{} {transaction} {record} {kind:?} {message:?}", armed.id);
        let first = seen::take(conn, FIRED, &fired, now)? == Known::New;
        let fire = first.then(|| (Arc::clone(armed), fields));
        let Some(known) = happened.get_mut(&key) else {
            if let Some(fire) = fire {
                let (change, message, user) = (event.change, event.message, event.user);
                happened.insert(key, Happened { change, message, user, parent, fires: vec![fire] });
            }
            return Ok(());
        };
        for field in event.change.fields {
            match known.change.fields.iter_mut().find(|known| known.field == field.field) {
                Some(known) => known.new = field.new,
                None => known.change.fields.push(field),
            }
        }
        known.fires.extend(fire);
        Ok(())
    }

    /// Makes the runs, transaction by transaction: records of one transaction can be one run, those of two cannot.
    fn fire_on(
        &self,
        conn: &Connection,
        happened: IndexMap<What, Happened>,
        logins: &HashMap<Id, String>,
    ) -> Result<usize, EngineError> {
        let mut together: IndexMap<(String, Id, Option<i64>), Vec<Happened>> = IndexMap::new();
        for ((transaction, ..), one) in happened {
            let key = (transaction, one.user, one.parent.map(|parent| parent.run));
            together.entry(key).or_default().push(one);
        }
        let mut runs = 0;
        for ((_, user, _), all) in together {
            let actor = local_user(conn, logins.get(&user).map(String::as_str).unwrap_or_default())?;
            let parent = all.first().and_then(|one| one.parent);
            let (mut changes, mut fires) = (Vec::new(), Vec::new());
            for one in all {
                let (change, record) = (changes.len(), one.change.record.id);
                fires.extend(one.fires.into_iter().map(|(rule, fields)| Fire {
                    broken: rule.broken.clone(),
                    rule,
                    change,
                    record,
                    message: one.message.clone(),
                    fields,
                    actor: Some(user),
                }));
                changes.push(one.change);
            }
            fires.sort_by_key(|fire| (fire.rule.id, fire.change));
            let cause = Cause { actor, at: self.now(), parent };
            runs += Dispatcher { conn, random: &self.random, cause }.dispatch(&changes, fires)?.len();
        }
        Ok(runs)
    }
}

/// The run that a mark names: its own, or its note's. Odoo's code has held it against its ledger; a run that nobody here knows
/// is none.
fn parent(conn: &Connection, key: &str) -> Result<Option<Parent>, EngineError> {
    let key = key.strip_suffix(NAMED).unwrap_or(key);
    let sql = "SELECT id, root, depth FROM engine_run WHERE key = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([key], |row| Ok(Parent { run: row.get(0)?, root: row.get(1)?, depth: row.get(2)? }));
    Ok(found.optional()?)
}

/// Who a user of Odoo is here, by the sign-in name; the system, if nobody.
fn local_user(conn: &Connection, login: &str) -> Result<Id, EngineError> {
    let sql = "SELECT id FROM res_users WHERE login = ?1";
    let found: Option<Id> = conn.prepare_cached(sql)?.query_row([login], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(people::SYSTEM))
}

/// Remembers a row that made no sense.
fn set_aside(conn: &Connection, odd: &Odd, now: i64) -> Result<(), EngineError> {
    let sql = "SELECT count(*) FROM engine_seen WHERE scope = ?1";
    let known: i64 = conn.prepare_cached(sql)?.query_row([SET_ASIDE], |row| row.get(0))?;
    if known < MOST_ASIDE {
        let why: String = odd.why.chars().take(300).collect();
        let key = format!("row {}: {why}", odd.row);
        seen::note(conn, SET_ASIDE, &key, now)?;
        seen::answer(conn, SET_ASIDE, &key, &odd.told)?;
    }
    Ok(())
}

/// What a script would have been told.
pub(super) fn refused(error: Error) -> EngineError {
    EngineError::Refused(error)
}
