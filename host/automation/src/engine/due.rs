//! Time rules on records that are on an Odoo server: asked there what has come due since the last look.

use std::{collections::HashSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    changes::{ChangeKind, Diff, RecordDiff},
    domain::{Domain, Literal, Operator},
    error::Error,
    event::Trigger as Happened,
    limits::Class,
    schema::FieldKind,
    value::{Id, RecordRef, Value},
};
use triggerbox_odoo::{Backend, OdooError, Session};

use super::{
    Engine, Shared,
    odoo::{refused, unavailable},
    time::{Done, Own, just_before, most_at_once},
};
use crate::{
    clock::millis,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    index::Armed,
    loops::Suppression,
    rule::Trigger,
    timed::Watch,
};

/// Records that are asked for at once, and whose runs are made at once.
const AT_ONCE: u32 = 10_000;

/// Records that are asked for in one look at most: a server that answers wrongly would never come to an end.
const MOST: u32 = 1_000_000;

/// What is written in Odoo carries the time at which its transaction began, and is seen when that ends: each look goes back
/// by this much, and records that were met at that time of theirs are known.
const BACK: SignedDuration = SignedDuration::from_hours(1);

/// Why Odoo did not tell something.
pub(super) enum Unasked {
    /// It is away: whatever else is asked would wait as long.
    Away(OdooError),
    /// This alone cannot be asked.
    Alone(EngineError),
}

impl From<Unasked> for EngineError {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Away(error) => unavailable(error),
            Unasked::Alone(error) => error,
        }
    }
}

impl From<EngineError> for Unasked {
    fn from(error: EngineError) -> Self {
        Self::Alone(error)
    }
}

impl From<OdooError> for Unasked {
    fn from(error: OdooError) -> Self {
        if error.is_passing() { Self::Away(error) } else { Self::Alone(unavailable(error)) }
    }
}

impl Engine {
    /// Fires time rules on the records of the Odoo server, finds out what became of yeses whose answers were lost, ends runs that
    /// waited for a yes for too long, and posts the notes that wait for Odoo. How many runs that made.
    ///
    /// # Errors
    /// Odoo cannot be used; what the database says.
    pub async fn tick_remote(&self) -> Result<usize, EngineError> {
        let Some(backend) = self.odoo() else { return Ok(0) };
        let (rules, now) = (self.rules()?, self.clock().now());
        let (mut made, mut failed) = (0, None);
        match self.settle_there().await {
            Ok(()) => {}
            // The ledger that cannot be read must not keep rules from their times.
            Err(Unasked::Alone(error)) => failed = Some(error),
            Err(away @ Unasked::Away(_)) => return Err(away.into()),
        }
        if let Err(error) = self.mirror_there().await {
            failed.get_or_insert(error);
        }
        for rule in rules.timed().filter(|rule| !matches!(rule.rule.trigger, Trigger::Schedule(_))) {
            // One rule that cannot be asked about must not keep the others from their times.
            match self.tick_rule_there(backend, rule, now).await {
                Ok(runs) => made += runs,
                Err(Unasked::Alone(error)) => {
                    failed.get_or_insert(error);
                }
                Err(Unasked::Away(error)) => {
                    failed = Some(unavailable(error));
                    break;
                }
            }
        }
        if made > 0 {
            self.inner.wake.notify_one();
        }
        failed.map_or(Ok(made), Err)
    }

    async fn tick_rule_there(
        &self,
        backend: &Arc<Backend>,
        rule: &Arc<Armed>,
        now: Timestamp,
    ) -> Result<usize, Unasked> {
        let armed = Arc::clone(rule);
        let done = self.committer().commit(move |conn| Done::of(conn, &armed.rule, now, BACK)).await?;
        let Some(done) = done else { return Ok(0) };
        let (since, until) = done.open(now);
        let looked = match done.is_in_the_past() {
            true => until,
            // It goes back with a clock that was ahead.
            false => since.min(now).max(now.saturating_sub(BACK).unwrap_or(now)),
        };
        let room = most_at_once(&rule.rule);
        let mut due: Vec<(Id, Timestamp)> = Vec::new();
        let (mut asked, mut left) = (0, None);
        // What a run has written on may match no more, and what comes after it would move up past the page that is next:
        // all is asked for before any of it is fired.
        loop {
            let (rows, more) = self.due_there(backend, rule, (since, until), asked).await?;
            let armed = Arc::clone(rule);
            due.extend(self.off_the_way(move |engine| engine.untaken(&armed, more)).await?);
            if rows < AT_ONCE as usize {
                break;
            }
            if due.len() > room {
                left = due.last().map(|(_, time)| *time);
                break;
            }
            asked += AT_ONCE;
            if asked >= MOST {
                let text = format!("the server says that more than {MOST} records of `{}` are due", rule.rule.name);
                return Err(EngineError::from(Error::unavailable("bad-answer", text)).into());
            }
        }
        let mut made = 0;
        for due in due.chunks(AT_ONCE as usize) {
            let (shared, armed, due) = (Arc::clone(&self.inner.shared), Arc::clone(rule), due.to_vec());
            let room = room.saturating_sub(made);
            let fire = move |conn: &rusqlite::Connection| shared.fire_due_there(conn, &armed, &due, room, now);
            let (runs, first) = self.committer().commit(fire).await?;
            made += runs;
            if first.is_some() {
                left = first;
                break;
            }
        }
        // The next look begins where something was left, and knows what was taken.
        let reached = left.map_or(looked, |left| {
            let from = Watch::of(&rule.rule).map_or(left, |watch| watch.later_values_from(left));
            just_before(from).max(since).min(looked)
        });
        self.done_there(rule, done, reached).await?;
        Ok(made)
    }

    /// Those of these due times that were not taken before.
    fn untaken(&self, rule: &Armed, due: Vec<(Id, Timestamp)>) -> Result<Vec<(Id, Timestamp)>, EngineError> {
        let conn = self.database().snapshot()?;
        let sql = "SELECT 1 FROM engine_slot WHERE rule = ?1 AND due = ?2 AND record = ?3";
        let mut statement = conn.prepare_cached(sql)?;
        let mut open = Vec::new();
        for (id, time) in due {
            if !statement.exists((&rule.rule.name, millis(time), id))? {
                open.push((id, time));
            }
        }
        Ok(open)
    }

    /// Keeps up to when a rule's times are done.
    async fn done_there(&self, rule: &Armed, done: Done, reached: Timestamp) -> Result<(), EngineError> {
        let name = rule.rule.name.clone();
        let note = move |conn: &rusqlite::Connection| Ok::<_, EngineError>(done.note(conn, &name, reached)?);
        self.committer().commit(note).await
    }

    /// Records that came due between two times, as the user sees them whose rights the rule has; and how many had to be
    /// looked at.
    async fn due_there(
        &self,
        backend: &Arc<Backend>,
        rule: &Armed,
        (since, until): (Timestamp, Timestamp),
        offset: u32,
    ) -> Result<(usize, Vec<(Id, Timestamp)>), Unasked> {
        let now = self.clock().now();
        let (Some(watch), Ok(model)) = (Watch::of(&rule.rule), rule.model()) else { return Ok((0, Vec::new())) };
        let described = self.database().schema().model(model).map_err(EngineError::from)?;
        let kind = described.fields.get(watch.field).map(|field| field.kind);
        let text = |time: Timestamp| {
            let format = if kind == Some(FieldKind::Date) { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" };
            Literal::text(time.strftime(format).to_string())
        };
        let field = |operator, time| Domain::condition(watch.field, operator, text(time));
        let mut domain = vec![field(Operator::Greater, watch.value_before(since))];
        domain.extend(watch.value_after(until).map(|late| field(Operator::LessOrEqual, late)));
        domain.extend(rule.rule.domain.as_deref().map(Domain::parse).transpose().map_err(EngineError::from)?);
        let call = Call::SearchRead {
            model: model.to_owned(),
            domain: DomainSource::Literal(Domain::and(domain).to_string()),
            fields: vec![watch.field.to_owned()],
            page: Page { offset, limit: Some(AT_ONCE), order: Some(format!("{}, id", watch.field)), ..Page::default() },
        };
        let account = self.account_there(backend, rule.run_as, now).await??;
        let mut session = Session::new(Arc::clone(backend), account, now);
        let Answer::Rows(rows) = session.call(call).await?.map_err(refused)? else {
            return Ok((0, Vec::new()));
        };
        let asked = rows.len();
        let due = rows.into_iter().filter_map(|row| {
            let value: Timestamp = match row.values.first()? {
                Value::Date(day) => format!("{day}T00:00:00Z").parse().ok()?,
                Value::Datetime(time) => time.parse().ok()?,
                _ => return None,
            };
            Some((row.id, watch.due(value).filter(|due| *due > since && *due <= until)?))
        });
        Ok((asked, due.collect()))
    }
}

impl Shared {
    /// Runs for records that are due, as far as there is room; how many runs, and when the first is due that was left.
    fn fire_due_there(
        &self,
        conn: &rusqlite::Connection,
        rule: &Arc<Armed>,
        due: &[(Id, Timestamp)],
        room: usize,
        now: Timestamp,
    ) -> Result<(usize, Option<Timestamp>), EngineError> {
        let (mut records, mut left) = (Vec::new(), None);
        for (id, time) in due {
            if records.len() >= room {
                left = Some(*time);
                break;
            }
            if self.take_slot(conn, rule, *time, *id)? {
                records.push(*id);
            }
        }
        let Some(watch) = Watch::of(&rule.rule).filter(|_| !records.is_empty()) else { return Ok((0, left)) };
        let cause = Cause { actor: rule.owner, at: millis(now), parent: None };
        let firing = Firing::new(Happened::Time(watch.field.to_owned()), records);
        let runs = Dispatcher { conn, random: &self.random, cause }.fire(rule, "time", Class::Async, &firing)?;
        Ok((runs.len(), left))
    }

    /// What a rule on last updates wrote on its own records is no update that it waits for: the time that would come due by
    /// it is taken. Odoo's times are told to the second, and so is this. Where nobody knows what it changed, that is any of its
    /// records: of those that it did not write, no last update is of that time.
    pub(super) fn forgive_own_updates_there(
        &self,
        conn: &rusqlite::Connection,
        own: &Own<'_>,
        written: Option<Timestamp>,
        changed: Option<&Diff>,
    ) -> Result<(), EngineError> {
        let Own { rule, records, cause } = *own;
        let (Trigger::AfterUpdate { .. }, Some(watch)) = (&rule.rule.trigger, Watch::of(&rule.rule)) else {
            return Ok(());
        };
        let Some(due) = written.and_then(|written| watch.due(written)) else { return Ok(()) };
        let Some(model) = &rule.rule.model else { return Ok(()) };
        // Odoo takes a write for an update also where nothing differs then.
        let is_update = |one: &&RecordDiff| one.kind == Some(ChangeKind::Updated);
        let updated: Option<HashSet<&RecordRef>> =
            changed.map(|changed| changed.records.iter().filter(is_update).map(|one| &one.record).collect());
        let is_written = |record: &RecordRef| updated.as_ref().is_none_or(|updated| updated.contains(record));
        let own = records.iter().map(|id| RecordRef::new(model, *id));
        for record in own.filter(is_written) {
            if self.take_slot(conn, rule, due, record.id)? {
                let dispatcher = Dispatcher { conn, random: &self.random, cause };
                let (event, _) = dispatcher.event(&record, "updated", "{}")?;
                dispatcher.suppress(event, rule, &Suppression::OwnUpdate)?;
            }
        }
        Ok(())
    }
}
