//! A rule over records that were there before it: in batches, as batch runs, and it can be taken up again where it stopped.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    event::Trigger,
    limits::Class,
    value::Id,
};
use triggerbox_odoo::Backend;
use triggerbox_store::query;

use super::{
    Engine, Shared,
    odoo::{refused, unavailable},
};
use crate::{
    clock::timestamp,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    index::Armed,
    rule::Dispatch,
};

/// What is known of backfills is known by keys that begin so.
pub(crate) const BACKFILL: &str = "backfill ";

/// Records that are queued in one transaction.
const BATCH: u32 = 500;

/// How far a backfill has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backfilled {
    /// Records that were queued by this call.
    pub records: usize,
    /// Runs that were made for them.
    pub runs: usize,
}

/// What one batch came to; nothing, at the end.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    records: usize,
    runs: usize,
    /// The last record that is queued by now.
    last: i64,
}

impl Engine {
    /// Queues a rule for all records that match a domain and the rule's own, as if somebody had fired it on each. A call that
    /// was interrupted is taken up where it stopped, by the same call; of two equal ones at once each record is queued by one.
    ///
    /// # Errors
    /// `unknown-rule`, `rule-inactive`, `rule-paused`, `rule-broken`, `no-model`; a domain that is wrong.
    pub async fn backfill(&self, rule: &str, domain: &str, by: Id) -> Result<Backfilled, EngineError> {
        let domain = Domain::parse(domain)?;
        let mut done = Backfilled::default();
        let mut reached = 0;
        loop {
            let (shared, name, its_domain) = (Arc::clone(&self.inner.shared), rule.to_owned(), domain.clone());
            let batch = match self.odoo() {
                Some(backend) => self.backfill_there(backend, rule, &domain, reached, by).await?,
                None => {
                    let batch = move |conn: &Connection| shared.backfill(conn, &name, &its_domain, reached, by);
                    self.committer().commit(batch).await?
                }
            };
            done.records += batch.records;
            done.runs += batch.runs;
            self.inner.wake.notify_one();
            if batch.records == 0 {
                return Ok(done);
            }
            reached = batch.last;
        }
    }

    /// One batch of records that are on an Odoo server: those that the user sees whose rights the rule has.
    async fn backfill_there(
        &self,
        backend: &Arc<Backend>,
        rule: &str,
        domain: &Domain,
        mut reached: i64,
        by: Id,
    ) -> Result<Batch, EngineError> {
        let rules = self.rules()?;
        let armed = Arc::clone(rules.live(rule)?);
        let model = armed.model()?.to_owned();
        let key = key(&armed, domain);
        loop {
            let last = last(&*self.database().snapshot()?, &key)?;
            if last < reached {
                return Ok(Batch::default());
            }
            let domain = DomainSource::Literal(wanted(&armed, domain, last)?.to_string());
            let mut session = self.session_there(backend, armed.run_as, self.clock().now()).await?;
            let call = Call::Search { model: model.clone(), domain, page: page() };
            let Answer::Ids(mut records) = session.call(call).await.map_err(unavailable)?.map_err(refused)? else {
                return Ok(Batch::default());
            };
            // A server that gives what it was not asked for would never come to an end.
            records.retain(|id| i64::from(*id) > last);
            let (shared, armed, progress) = (Arc::clone(&self.inner.shared), Arc::clone(&armed), key.clone());
            let queued =
                self.committer().commit(move |conn| shared.queue(conn, &armed, &progress, last, &records, by)).await?;
            // Nothing, when the same call somewhere else was faster.
            if let Some(queued) = queued {
                return Ok(queued);
            }
            reached = last + 1;
        }
    }
}

/// What is known of how far a backfill has come is known by this.
fn key(armed: &Armed, domain: &Domain) -> String {
    format!("{BACKFILL}{} {domain}", armed.rule.name)
}

/// The last record that was queued. One before what a call has reached: the same call somewhere else came to the end.
fn last(conn: &Connection, key: &str) -> Result<i64, EngineError> {
    let sql = "SELECT done_until FROM engine_clock WHERE rule = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// The records that are left.
fn wanted(armed: &Armed, domain: &Domain, last: i64) -> Result<Domain, EngineError> {
    let own = armed.rule.domain.as_deref().map(Domain::parse).transpose()?.unwrap_or(Domain::Always);
    let after = Domain::condition("id", Operator::Greater, Literal::Integer(last));
    Ok(Domain::and([after, domain.clone(), own]))
}

fn page() -> Page {
    Page { limit: Some(BATCH), order: Some("id".to_owned()), ..Page::default() }
}

impl Shared {
    fn backfill(
        &self,
        conn: &Connection,
        rule: &str,
        domain: &Domain,
        reached: i64,
        by: Id,
    ) -> Result<Batch, EngineError> {
        let index = self.rules(conn)?;
        let armed = index.live(rule)?;
        let model = armed.model()?;
        let Some(env) = index.env(timestamp(self.now())) else { return Ok(Batch::default()) };
        let key = key(armed, domain);
        let last = last(conn, &key)?;
        if last < reached {
            return Ok(Batch::default());
        }
        let records = query::search(conn, &env, model, &wanted(armed, domain, last)?, &page())?;
        Ok(self.queue(conn, armed, &key, last, &records, by)?.unwrap_or_default())
    }

    /// Queues the records that follow the one `before`; nothing, if others have followed it meanwhile.
    fn queue(
        &self,
        conn: &Connection,
        armed: &Arc<Armed>,
        key: &str,
        before: i64,
        records: &[Id],
        by: Id,
    ) -> Result<Option<Batch>, EngineError> {
        if last(conn, key)? != before {
            return Ok(None);
        }
        let Some(newest) = records.last() else {
            conn.prepare_cached("DELETE FROM engine_clock WHERE rule = ?1")?.execute([key])?;
            return Ok(Some(Batch::default()));
        };
        let cause = Cause { actor: by, at: self.now(), parent: None };
        let dispatcher = Dispatcher { conn, random: &self.random, cause };
        // Whatever the rule's most records of a fire: each batch is a fire of its own.
        let each = if armed.rule.dispatch == Dispatch::PerRecord { 1 } else { records.len() };
        let mut runs = 0;
        for records in records.chunks(each) {
            let mut firing = Firing::new(Trigger::Manual, records.to_vec());
            firing.warnings.push("part of a backfill".to_owned());
            runs += dispatcher.fire(armed, "fired", Class::Batch, &firing)?.len();
        }
        let sql = "INSERT INTO engine_clock (rule, done_until) VALUES (?1, ?2) ON CONFLICT (rule) DO UPDATE SET done_until = ?2";
        conn.prepare_cached(sql)?.execute((key, newest))?;
        Ok(Some(Batch { records: records.len(), runs, last: i64::from(*newest) }))
    }
}

#[cfg(test)]
mod tests {
    use triggerbox_model::domain::Domain;

    use super::super::before::tests::engine;

    // Shows: F090
    #[tokio::test]
    async fn a_call_that_others_brought_to_the_end_does_not_begin_anew() {
        const ADMIN: u32 = 2;
        let engine = engine(
            "name = 'mark'\nmodel = 'crm.lead'\ntrigger = { on = 'manual' }\n[[actions]]\nscript = 'phone-format'",
        )
        .await;
        let shared = &engine.inner.shared;
        let batch = |reached: i64| {
            let work = |conn: &rusqlite::Connection| shared.backfill(conn, "mark", &Domain::Always, reached, ADMIN);
            engine.database().transaction(work).unwrap()
        };
        // Both have begun; the second one finds the end before the first one looks again.
        let first = batch(0);
        assert!(first.records > 1 && first.last > 0, "{first:?}");
        assert_eq!(batch(0).records, 0);
        assert_eq!(batch(first.last).records, 0);
        assert_eq!(batch(0).records, first.records, "a new call");
    }
}
