//! Records that an event does not bring: a domain, or a script that is asked. A source that is broken gives none, and the
//! run says why.

use rusqlite::Connection;
use triggerbox_model::{call::Page, domain::Domain, error::Error, event::Trigger, value::Id};
use triggerbox_store::{env::Env, query, session::Session};

use super::{Engine, Shared, attempt::Lines};
use crate::{
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::{Firing, each_once},
    journal::Keep,
    people::Person,
    play::{Done, Task, play_over},
    queue::{self, Claim},
    records::Records,
    rule::{ScriptRef, Source},
    runner,
    runs::RunId,
};

impl Engine {
    /// The records of a rule's source, with the rights of its run; the inner error says why there are none.
    pub(super) async fn source(
        &self,
        claim: &Claim,
        source: &Source,
        env: &Env,
        actor: &Person,
        run_as: &Person,
        log: &Lines,
    ) -> Result<Result<Vec<Id>, String>, EngineError> {
        let found = match source {
            Source::Domain(domain) => self.by_domain(claim, domain, env),
            Source::Script(script) => {
                let session = Session::new(self.database(), env.clone())?.for_rule(&claim.rule.rule.name);
                self.by_script(claim, script, session, (actor, run_as), env.now, log).await
            }
        };
        found_or_why(found)
    }

    /// The records that a script names. What it logs is in the run's log.
    pub(super) async fn by_script<R: Records>(
        &self,
        claim: &Claim,
        script: &ScriptRef,
        session: R,
        (actor, run_as): (&Person, &Person),
        now: jiff::Timestamp,
        log: &Lines,
    ) -> Result<Vec<Id>, EngineError> {
        let step = self.source_step(&claim.rule.rule, script).await?;
        let task = Task {
            run_id: claim.key.clone(),
            rule: claim.rule.rule.name.clone(),
            attempt: claim.attempt,
            depth: claim.depth,
            seed: claim.seed,
            trigger: Trigger::SelectRecords,
            model: claim.model.clone(),
            records: Vec::new(),
            old_values: Vec::new(),
            actor: actor.clone(),
            run_as: run_as.clone(),
            superuser: claim.rule.rule.superuser,
            now,
            previous: None,
            dispatch: None,
            parking: None,
        };
        let played = play_over(session, &task, &[step], Keep::Outside, None, Box::new(log.clone())).await?;
        match (played.outcome, played.steps.into_iter().last()) {
            (Some(outcome), _) => Ok(outcome.records),
            // The source is as it should be: the run is tried again.
            (None, Some(Done { fault: Some(fault), .. })) => Err(EngineError::Backend(fault)),
            (None, step) => {
                let verdict = step.map(|step| runner::unsuccessful(step.ending));
                let why = verdict.and_then(|verdict| verdict.message()).unwrap_or_default();
                Err(Error::rejected("source-failed", why).into())
            }
        }
    }

    /// Keeps which records a run's source gave, whatever comes of it: it is about these, and what it says is for who may read
    /// them. Of a run that is only tried nothing is kept.
    pub(super) async fn keep_found(&self, claim: &Claim, records: &[Id]) -> Result<(), EngineError> {
        if claim.id == 0 {
            return Ok(());
        }
        let (run, fence, found) = (claim.id, claim.fence, records.to_vec());
        let keep = move |conn: &Connection| {
            if !queue::is_held(conn, run, fence)? {
                return Ok(());
            }
            let sql = "SELECT request FROM engine_run WHERE id = ?1";
            let request: String = conn.prepare_cached(sql)?.query_row([run], |row| row.get(0))?;
            let mut firing: Firing = serde_json::from_str(&request)?;
            // An earlier try may have been about others.
            firing.found = each_once(firing.found.into_iter().chain(found).collect());
            let sql = "UPDATE engine_run SET request = ?2 WHERE id = ?1";
            conn.prepare_cached(sql)?.execute((run, serde_json::to_string(&firing)?))?;
            Ok::<_, EngineError>(())
        };
        self.committer().commit(keep).await
    }

    fn by_domain(&self, claim: &Claim, domain: &str, env: &Env) -> Result<Vec<Id>, EngineError> {
        let model = claim.model.as_deref().unwrap_or_default();
        let conn = self.database().snapshot()?;
        Ok(query::search(&conn, env, model, &Domain::parse(domain)?, &Page::default())?)
    }
}

/// The records of a source; or why there are none.
pub(super) fn found_or_why(found: Result<Vec<Id>, EngineError>) -> Result<Result<Vec<Id>, String>, EngineError> {
    Ok(match found {
        Ok(records) if records.is_empty() => Err("the rule's source has no records now".to_owned()),
        // A script may name one twice.
        Ok(records) => Ok(each_once(records)),
        Err(EngineError::Refused(error)) => {
            Err(format!("the rule's source is broken and gives no records: {}", error.message))
        }
        Err(error) => return Err(error),
    })
}

impl Shared {
    /// One run for each record that a source gave, each the root of a chain of its own.
    pub(super) fn spread(
        &self,
        conn: &Connection,
        claim: &Claim,
        cause: Cause,
        records: &[Id],
    ) -> Result<Vec<RunId>, EngineError> {
        let dispatcher = Dispatcher { conn, random: &self.random, cause: Cause { parent: None, ..cause } };
        let firing = Firing { records: records.to_vec(), ..claim.firing.clone() };
        let made = dispatcher.fire(&claim.rule, "selected", claim.class, &firing)?;
        for run in &made {
            let sql = "UPDATE engine_run SET parent_run = ?2 WHERE id = ?1";
            conn.prepare_cached(sql)?.execute((run, claim.id))?;
        }
        Ok(made)
    }
}
