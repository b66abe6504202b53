//! Changes from outside: applied, matched and queued in one transaction.

use std::sync::Arc;

use rusqlite::Connection;
use triggerbox_model::{
    call::{Answer, Call},
    changes::ChangeSet,
    event::Trigger,
    limits::Class,
    value::Id,
};
use triggerbox_store::{
    commit::{self, Committed},
    env::Env,
    session::Session,
};

use super::{
    Engine, Shared,
    before::{self, Gate},
};
use crate::{
    clock::timestamp,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    matcher, people,
    runs::RunId,
};

/// How often a change is tried when others change the same records meanwhile.
const MOST_TRIES: u32 = 5;

/// Who changes something, and with whose rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The user (`res.users`).
    pub user: Id,
    /// The user's rights do not bind the change: imports, and what the program itself does.
    pub superuser: bool,
}

impl Origin {
    /// A user, with that user's rights.
    #[must_use]
    pub fn user(user: Id) -> Self {
        Self { user, superuser: false }
    }
}

/// What came of a change.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// The answers to the calls, with the real ids of new records.
    pub answers: Vec<Answer>,
    /// What the commit did.
    pub committed: Committed,
    /// The runs that it caused.
    pub runs: Vec<RunId>,
}

impl Engine {
    /// Makes a change from outside: all calls in one transaction, with everything that rules make of it.
    ///
    /// # Errors
    /// The first call that is refused, by the user's rights, the data, or a rule that stands before it.
    pub async fn change(&self, origin: Origin, calls: Vec<Call>) -> Result<Changed, EngineError> {
        let mut tries = 1;
        loop {
            let env = people::environment(self.database(), origin.user, origin.superuser, self.clock().now())?;
            let mut session = Session::new(self.database(), env.clone())?;
            let mut gate = Gate::new(self, origin.user, None)?;
            let mut answers = Vec::new();
            for call in &calls {
                let mut call = call.clone();
                let more = match &mut gate {
                    Some(gate) => gate.pass(&mut call).await?,
                    None => Vec::new(),
                };
                answers.push(session.call(call)??);
                for part in more {
                    session.call(part)??;
                }
            }
            if let Some(gate) = &mut gate {
                let added = gate.pass_behind(session.behind()?).await?;
                before::stage(&mut session, added)?;
            }
            let mut changes = session.finish();
            if let Some(gate) = gate {
                gate.found.note_in(&mut changes);
            }
            match self.commit(env, changes, origin.user).await {
                Err(EngineError::Conflict(_)) if tries < MOST_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(mut changed) => {
                    changed.answers = real(answers, &calls, &changed.committed);
                    return Ok(changed);
                }
            }
        }
    }

    /// Fires a rule that waits for somebody: a button, a webhook. The records are the caller's.
    ///
    /// # Errors
    /// `unknown-rule`, `rule-inactive`, `rule-paused`; what the database says.
    pub async fn fire(
        &self,
        rule: &str,
        actor: Id,
        trigger: Trigger,
        records: Vec<Id>,
    ) -> Result<Vec<RunId>, EngineError> {
        let (shared, name) = (Arc::clone(&self.inner.shared), rule.to_owned());
        self.queue(move |conn| {
            let runs = shared.fire(conn, &name, actor, trigger, records)?;
            Ok((runs.clone(), runs))
        })
        .await
    }

    async fn commit(&self, env: Env, changes: ChangeSet, actor: Id) -> Result<Changed, EngineError> {
        let shared = Arc::clone(&self.inner.shared);
        self.queue(move |conn| {
            let committed = commit::commit_in(conn, &env, &changes)?;
            crate::failpoint::hit("changed");
            let cause = Cause { actor, at: shared.now(), parent: None };
            let runs = shared.react(conn, cause, &committed)?;
            crate::failpoint::hit("events-written");
            Ok((Changed { answers: Vec::new(), committed, runs: runs.clone() }, runs))
        })
        .await
    }
}

impl Shared {
    /// Makes the runs that rules want for what really changed.
    pub(super) fn react(
        &self,
        conn: &Connection,
        cause: Cause,
        committed: &Committed,
    ) -> Result<Vec<RunId>, EngineError> {
        if self.config.odoo.is_some() {
            // Rules are about the records there; here are only the people who sign in.
            return Ok(Vec::new());
        }
        let index = self.rules(conn)?;
        let Some(env) = index.env(timestamp(cause.at)) else { return Ok(Vec::new()) };
        let fires = matcher::fires(conn, &env, &index, &committed.events, &committed.steps)?;
        if fires.is_empty() {
            return Ok(Vec::new());
        }
        Dispatcher { conn, random: &self.random, cause }.dispatch(&committed.events, fires)
    }

    pub(super) fn fire(
        &self,
        conn: &Connection,
        rule: &str,
        actor: Id,
        trigger: Trigger,
        records: Vec<Id>,
    ) -> Result<Vec<RunId>, EngineError> {
        let index = self.rules(conn)?;
        let armed = index.live(rule)?;
        let cause = Cause { actor, at: self.now(), parent: None };
        let dispatcher = Dispatcher { conn, random: &self.random, cause };
        dispatcher.fire(armed, "fired", Class::Async, &Firing::new(trigger, records))
    }
}

/// The answers, with the ids that new records have by now.
fn real(answers: Vec<Answer>, calls: &[Call], committed: &Committed) -> Vec<Answer> {
    let known = |model: &str, id: Id| committed.ids.get(&(model.to_owned(), id)).copied().unwrap_or(id);
    let model = |call: &Call| match call {
        Call::Create { model, .. } | Call::Ensure { model, .. } => Some(model.clone()),
        Call::Copy { target, .. } => Some(target.model.clone()),
        _ => None,
    };
    let pairs = answers.into_iter().zip(calls);
    pairs
        .map(|(answer, call)| match (answer, model(call)) {
            (Answer::Ids(ids), Some(model)) => Answer::Ids(ids.into_iter().map(|id| known(&model, id)).collect()),
            (Answer::Id(id), Some(model)) => Answer::Id(known(&model, id)),
            (answer, _) => answer,
        })
        .collect()
}
