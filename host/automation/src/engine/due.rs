//! Time rules on records that are on an Odoo server: asked there what has come due since the last look.

use std::sync::Arc;

use jiff::Timestamp;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    event::Trigger as Happened,
    limits::Class,
    schema::FieldKind,
    value::{Id, Value},
};
use triggerbox_odoo::Session;

use super::{
    Engine, Shared,
    odoo::{broken, refused},
    time::done_until,
};
use crate::{
    clock::millis,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    index::Armed,
    people,
    rule::Trigger,
    timed::Watch,
};

/// Records that come due in one look. With more, the rest comes due in the next one.
const MOST_DUE: u32 = 10_000;

impl Engine {
    /// Fires time rules on the records of the Odoo server. How many runs that made.
    ///
    /// # Errors
    /// Odoo cannot be used; what the database says.
    pub async fn tick_remote(&self) -> Result<usize, EngineError> {
        if self.odoo().is_none() {
            return Ok(0);
        }
        let (rules, now) = (self.rules()?, self.clock().now());
        let mut made = 0;
        for rule in rules.timed().filter(|rule| !matches!(rule.rule.trigger, Trigger::Schedule(_))) {
            let name = rule.rule.name.clone();
            let since = self.committer().commit(move |conn| done_until(conn, &name, now)).await?;
            let Some(since) = since else { continue };
            let (due, until) = self.due_there(rule, since, now).await?;
            let (shared, rule) = (Arc::clone(&self.inner.shared), Arc::clone(rule));
            made += self.committer().commit(move |conn| shared.fire_due_there(conn, &rule, &due, until, now)).await?;
        }
        if made > 0 {
            self.inner.wake.notify_one();
        }
        Ok(made)
    }

    /// Records that came due, as the user sees them whose rights the rule has; and up to when they are all there.
    async fn due_there(
        &self,
        rule: &Armed,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(Vec<(Id, Timestamp)>, Timestamp), EngineError> {
        let (Some(backend), Some(watch), Ok(model)) = (self.odoo(), Watch::of(&rule.rule), rule.model()) else {
            return Ok((Vec::new(), now));
        };
        let login = {
            let snapshot = self.database().snapshot()?;
            let env = people::environment_in(&snapshot, people::SYSTEM, true, now)?;
            people::by_id(&snapshot, &env, rule.run_as)?.user.login
        };
        let kind = self.database().schema().model(model)?.fields.get(watch.field).map(|field| field.kind);
        let text = |time: Timestamp| {
            let format = if kind == Some(FieldKind::Date) { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" };
            Literal::text(time.strftime(format).to_string())
        };
        let field = |operator, time| Domain::condition(watch.field, operator, text(time));
        let mut domain = vec![field(Operator::Greater, watch.value_before(since))];
        domain.extend(watch.value_after(now).map(|late| field(Operator::LessOrEqual, late)));
        domain.extend(rule.rule.domain.as_deref().map(Domain::parse).transpose()?);
        let call = Call::SearchRead {
            model: model.to_owned(),
            domain: DomainSource::Literal(Domain::and(domain).to_string()),
            fields: vec![watch.field.to_owned()],
            page: Page { limit: Some(MOST_DUE), order: Some(format!("{}, id", watch.field)), ..Page::default() },
        };
        let account = backend.account(&login).await.map_err(broken)?;
        let mut session = Session::new(Arc::clone(backend), account, now);
        let Answer::Rows(rows) = session.call(call).await.map_err(broken)?.map_err(refused)? else {
            return Ok((Vec::new(), now));
        };
        let full = rows.len() >= MOST_DUE as usize;
        let due = rows.into_iter().filter_map(|row| {
            let value: Timestamp = match row.values.first()? {
                Value::Date(day) => format!("{day}T00:00:00Z").parse().ok()?,
                Value::Datetime(time) => time.parse().ok()?,
                _ => return None,
            };
            Some((row.id, watch.due(value).filter(|due| *due > since && *due <= now)?))
        });
        let due: Vec<(Id, Timestamp)> = due.collect();
        let until = due.iter().map(|(_, due)| *due).max().filter(|_| full).unwrap_or(now);
        Ok((due, until))
    }
}

impl Shared {
    fn fire_due_there(
        &self,
        conn: &rusqlite::Connection,
        rule: &Arc<Armed>,
        due: &[(Id, Timestamp)],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<usize, EngineError> {
        let mut records = Vec::new();
        for (id, time) in due {
            if self.take_slot(conn, rule, *time, *id)? {
                records.push(*id);
            }
        }
        let sql = "UPDATE engine_clock SET done_until = ?2 WHERE rule = ?1";
        conn.prepare_cached(sql)?.execute((&rule.rule.name, millis(until)))?;
        let Some(watch) = Watch::of(&rule.rule).filter(|_| !records.is_empty()) else { return Ok(0) };
        let cause = Cause { actor: rule.owner, at: millis(now), parent: None };
        let firing = Firing::new(Happened::Time(watch.field.to_owned()), records);
        Ok(Dispatcher { conn, random: &self.random, cause }.fire(rule, "time", Class::Async, &firing)?.len())
    }
}
