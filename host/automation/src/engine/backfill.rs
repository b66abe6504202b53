//! A rule over records that were there before it: in batches, as batch runs, and it can be taken up again where it stopped.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use triggerbox_model::{
    call::Page,
    domain::{Domain, Literal, Operator},
    event::Trigger,
    limits::Class,
    value::Id,
};
use triggerbox_store::query;

use super::{Engine, Shared};
use crate::{
    clock::timestamp,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    rule::Dispatch,
};

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

impl Engine {
    /// Queues a rule for all records that match a domain and the rule's own, as if somebody had fired it on each. A call that
    /// was interrupted is taken up where it stopped, by the same call.
    ///
    /// # Errors
    /// `unknown-rule`, `rule-inactive`, `rule-paused`, `rule-broken`, `no-model`; a domain that is wrong.
    pub async fn backfill(&self, rule: &str, domain: &str, by: Id) -> Result<Backfilled, EngineError> {
        let domain = Domain::parse(domain)?;
        if self.odoo().is_some() {
            let text = "records on an odoo server are not backfilled; run the rule by hand on those that it is for";
            return Err(triggerbox_model::error::Error::invalid("odoo-no-backfill", text).into());
        }
        let mut done = Backfilled::default();
        loop {
            let (shared, rule, domain) = (Arc::clone(&self.inner.shared), rule.to_owned(), domain.clone());
            let (records, runs) = self.committer().commit(move |conn| shared.backfill(conn, &rule, domain, by)).await?;
            done.records += records;
            done.runs += runs;
            self.inner.wake.notify_one();
            if records == 0 {
                return Ok(done);
            }
        }
    }
}

impl Shared {
    fn backfill(&self, conn: &Connection, rule: &str, domain: Domain, by: Id) -> Result<(usize, usize), EngineError> {
        let index = self.rules(conn)?;
        let armed = index.live(rule)?;
        let model = armed.model()?;
        let Some(env) = index.env(timestamp(self.now())) else { return Ok((0, 0)) };

        let key = format!("backfill {rule} {domain}");
        let last = "SELECT done_until FROM engine_clock WHERE rule = ?1";
        let last: i64 = conn.prepare_cached(last)?.query_row([&key], |row| row.get(0)).optional()?.unwrap_or(0);
        let own = armed.rule.domain.as_deref().map(Domain::parse).transpose()?.unwrap_or(Domain::Always);
        let after = Domain::condition("id", Operator::Greater, Literal::Integer(last));
        let page = Page { limit: Some(BATCH), order: Some("id".to_owned()), ..Page::default() };
        let records = query::search(conn, &env, model, &Domain::and([after, domain, own]), &page)?;

        let Some(newest) = records.last() else {
            conn.prepare_cached("DELETE FROM engine_clock WHERE rule = ?1")?.execute([&key])?;
            return Ok((0, 0));
        };
        let cause = Cause { actor: by, at: self.now(), parent: None };
        let dispatcher = Dispatcher { conn, random: &self.random, cause };
        let each = if armed.rule.dispatch == Dispatch::PerRecord { 1 } else { records.len() };
        let mut runs = 0;
        for records in records.chunks(each) {
            let mut firing = Firing::new(Trigger::Manual, records.to_vec());
            firing.warnings.push("part of a backfill".to_owned());
            dispatcher.insert(armed, 0, &firing, Class::Batch, cause.at)?;
            runs += 1;
        }
        let sql = "INSERT INTO engine_clock (rule, done_until) VALUES (?1, ?2) ON CONFLICT (rule) DO UPDATE SET done_until = ?2";
        conn.prepare_cached(sql)?.execute((&key, newest))?;
        Ok((records.len(), runs))
    }
}
