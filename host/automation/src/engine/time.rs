//! What the clock fires: schedules and time rules. Each slot and due time is claimed in the file, once.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    changes::Change,
    error::Error,
    event::{Slot, Trigger as Happened},
    limits::Class,
    time,
    value::{Id, RecordRef},
};
use triggerbox_store::env::Env;

use super::{Engine, Shared, lock};
use crate::{
    clock::{millis, timestamp},
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    index::{Armed, Index},
    loops::Suppression,
    matcher, pauses, queue,
    rule::{
        Dispatch, Rule, Trigger,
        trigger::{Overlap, Schedule},
    },
    schedule::Slots,
    seen,
    timed::{self, Watch},
};

/// Dates of records may change at any time: time rules are looked at this often.
const EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A run whose own changes are nothing that its rule waits for.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) rule: &'a Arc<Armed>,
    /// What it was fired on.
    pub(super) records: &'a [Id],
    /// The run, as the cause of what it changed.
    pub(super) cause: Cause,
}

/// What one look at a rule's times came to.
struct Fired {
    /// Runs that it made.
    runs: usize,
    /// Up to when its times are done.
    until: Timestamp,
    /// The next slot of a schedule.
    next: Option<Timestamp>,
}

/// When the clock was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    revision: i64,
    at: Timestamp,
    next: Timestamp,
}

impl Engine {
    /// Fires what the clock makes due, prolongs the leases of what runs here, and gives up those that are over. Returns how
    /// many runs that made.
    ///
    /// # Errors
    /// What the database says.
    pub async fn tick(&self) -> Result<usize, EngineError> {
        let (now, rules) = (self.clock().now(), self.rules()?);
        let looked = *lock(&self.inner.looked);
        // A clock that was put back counts anew.
        if looked.is_some_and(|l| l.revision == rules.revision && l.at <= now && now < l.next) {
            return Ok(0);
        }
        let shared = Arc::clone(&self.inner.shared);
        let at_work = lock(&self.inner.running).keys().copied().collect();
        let tick = move |conn: &Connection| {
            // Whoever is at work keeps the run, also after the machine was suspended.
            queue::renew(conn, millis(now), &at_work)?;
            shared.tick(conn, now)
        };
        let (made, next) = self.committer().commit(tick).await?;
        *lock(&self.inner.looked) = Some(Looked { revision: rules.revision, at: now, next });
        Ok(made)
    }

    /// When the clock is to be looked at again.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        lock(&self.inner.looked).map(|looked| looked.next)
    }

    /// The next slots of a schedule, for people.
    ///
    /// # Errors
    /// `unknown-rule`, `not-a-schedule`, `bad-schedule`.
    pub fn next_slots(&self, rule: &str, count: usize) -> Result<Vec<Timestamp>, EngineError> {
        let rules = self.rules()?;
        let Trigger::Schedule(schedule) = &rules.rule(rule)?.rule.trigger else {
            return Err(Error::invalid("not-a-schedule", format!("rule `{rule}` has no schedule")).into());
        };
        Ok(Slots::new(schedule)?.all_after(self.clock().now()).take(count).collect())
    }
}

impl Shared {
    fn tick(&self, conn: &Connection, now: Timestamp) -> Result<(usize, Timestamp), EngineError> {
        queue::recover(conn, millis(now), Some(millis(now)))?;
        // On an Odoo server, it is asked first whether somebody's yes arrived.
        if self.config.odoo.is_none() {
            self.expire_proposals(conn, millis(now))?;
        }
        let index: Arc<Index> = self.rules(conn)?;
        let mut next = now.saturating_add(EVERY).unwrap_or(now);
        let Some(env) = index.env(now) else { return Ok((0, next)) };
        let mut made = 0;
        for rule in index.timed() {
            if self.config.odoo.is_some() && !matches!(rule.rule.trigger, Trigger::Schedule(_)) {
                continue;
            }
            let Some(done) = Done::of(conn, &rule.rule, now, SignedDuration::ZERO)? else { continue };
            match self.fire_timed(conn, &env, rule, done.open(now), now) {
                Ok(fired) => {
                    made += fired.runs;
                    next = fired.next.map_or(next, |slot| slot.min(next));
                    done.note(conn, &rule.rule.name, fired.until)?;
                }
                Err(EngineError::Database(error)) => return Err(error.into()),
                // One rule that makes no sense any more must not keep the others from their times.
                Err(error) => self.pause_broken(conn, rule, now, &error)?,
            }
        }
        Ok((made, next))
    }

    /// Fires one rule.
    fn fire_timed(
        &self,
        conn: &Connection,
        env: &Env,
        rule: &Arc<Armed>,
        (from, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<Fired, EngineError> {
        let Trigger::Schedule(schedule) = &rule.rule.trigger else {
            return self.fire_due(conn, env, rule, (from, until), now);
        };
        let slots = Slots::new(schedule)?;
        let runs = self.fire_slot(conn, rule, schedule, &slots, from, now)?;
        Ok(Fired { runs, until: now, next: slots.next_after(now) })
    }

    /// Pauses a rule whose times cannot be told, with the reason; it would be broken at every look.
    fn pause_broken(
        &self,
        conn: &Connection,
        rule: &Armed,
        now: Timestamp,
        error: &EngineError,
    ) -> Result<(), EngineError> {
        let cause = Cause { actor: rule.owner, at: millis(now), parent: None };
        let dispatcher = Dispatcher { conn, random: &self.random, cause };
        let (event, _) =
            dispatcher.event(&RecordRef::new(rule.rule.model.as_deref().unwrap_or_default(), 0), "time", "{}")?;
        dispatcher.suppress(event, rule, &Suppression::Broken(error.to_string()))?;
        let why = format!("its times cannot be told: {error}");
        conn.prepare_cached("UPDATE engine_rule SET paused = ?2 WHERE id = ?1")?.execute((rule.id, &why))?;
        pauses::begin(conn, &rule.rule.name, &why, millis(now))?;
        seen::note(conn, seen::BROKEN_TIMES, &rule.rule.name, millis(now))?;
        seen::answer(conn, seen::BROKEN_TIMES, &rule.rule.name, &why)
    }

    /// One run for all slots since the last time; what is too old is only noted.
    fn fire_slot(
        &self,
        conn: &Connection,
        rule: &Arc<Armed>,
        schedule: &Schedule,
        slots: &Slots,
        done_until: Timestamp,
        now: Timestamp,
    ) -> Result<usize, EngineError> {
        let dispatcher = |at: Timestamp| Dispatcher {
            conn,
            random: &self.random,
            cause: Cause { actor: rule.owner, at: millis(at), parent: None },
        };
        let nowhere = RecordRef::new(rule.rule.model.as_deref().unwrap_or_default(), 0);
        let window = now.saturating_sub(SignedDuration::from_mins(i64::from(schedule.catch_up))).unwrap_or(now);
        // A slot may be met late by the time that it takes to look at the clock; that is not a miss.
        let window = window.min(now.saturating_sub(EVERY).unwrap_or(now));
        if done_until < window
            && let Some(missed) = slots.between(done_until, window)
        {
            let dispatcher = dispatcher(now);
            let (event, _) = dispatcher.event(&nowhere, "scheduled", "{}")?;
            dispatcher.suppress(event, rule, &Suppression::Missed(missed.missed + 1))?;
        }
        let Some(due) = slots.between(done_until.max(window), now) else { return Ok(0) };
        if !self.take_slot(conn, rule, due.last, 0)? {
            return Ok(0);
        }
        let dispatcher = dispatcher(due.last);
        let (event, root) = dispatcher.event(&nowhere, "scheduled", "{}")?;
        // Whatever of the rule is not finished stands in a lane.
        let sql = "SELECT 1 FROM engine_lane WHERE rule = ?1 LIMIT 1";
        if schedule.overlap == Overlap::Skip && conn.prepare_cached(sql)?.exists([&rule.rule.name])? {
            dispatcher.suppress(event, rule, &Suppression::Overlap)?;
            return Ok(0);
        }
        let due_text = due.last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let firing = Firing::new(Happened::Scheduled(Slot { due: due_text, missed: due.missed }), Vec::new());
        let run = dispatcher.insert(rule, root, &firing, Class::Batch, millis(due.last))?;
        let sql = "UPDATE engine_slot SET run = ?3 WHERE rule = ?1 AND due = ?2 AND record = 0";
        conn.prepare_cached(sql)?.execute((&rule.rule.name, millis(due.last), run))?;
        Ok(1)
    }

    /// Runs for the records that came due between two times, as many as the rule has runs for at once.
    fn fire_due(
        &self,
        conn: &Connection,
        env: &Env,
        rule: &Arc<Armed>,
        (after, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<Fired, EngineError> {
        let mut fired = Fired { runs: 0, until, next: None };
        let (Some(watch), Some(model)) = (Watch::of(&rule.rule), &rule.rule.model) else { return Ok(fired) };
        let (mut records, mut judged, mut last) = (Vec::new(), 0, None);
        timed::each_due(conn, env, &rule.rule, (after, until), |id, due| {
            let from = watch.later_values_from(due);
            // What is due from one moment on is looked at together, or a look would never get beyond it.
            let is_enough = judged >= MOST_JUDGED && last != Some(from);
            if is_enough || records.len() >= most_at_once(&rule.rule) {
                fired.until = just_before(from).max(after);
                return Ok(ControlFlow::Break(()));
            }
            judged += 1;
            last = Some(from);
            if matcher::record_holds(conn, env, rule, model, id)? && self.take_slot(conn, rule, due, id)? {
                records.push(id);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if !records.is_empty() {
            let cause = Cause { actor: rule.owner, at: millis(now), parent: None };
            let dispatcher = Dispatcher { conn, random: &self.random, cause };
            let firing = Firing::new(Happened::Time(watch.field.to_owned()), records);
            fired.runs = dispatcher.fire(rule, "time", Class::Async, &firing)?.len();
        }
        Ok(fired)
    }

    /// Takes a slot or due time; false if it was taken before.
    pub(super) fn take_slot(
        &self,
        conn: &Connection,
        rule: &Armed,
        due: Timestamp,
        record: u32,
    ) -> Result<bool, EngineError> {
        let sql = "INSERT OR IGNORE INTO engine_slot (rule, due, record, run) VALUES (?1, ?2, ?3, 0)";
        Ok(conn.prepare_cached(sql)?.execute((&rule.rule.name, millis(due), record))? > 0)
    }

    /// What a rule on last updates writes on its own records is no update that it waits for: the times that would come
    /// due by it are taken.
    pub(super) fn forgive_own_updates(
        &self,
        conn: &Connection,
        own: &Own<'_>,
        changes: &[Change],
    ) -> Result<(), EngineError> {
        let Own { rule, records, cause } = *own;
        let (Trigger::AfterUpdate { .. }, Some(watch)) = (&rule.rule.trigger, Watch::of(&rule.rule)) else {
            return Ok(());
        };
        let records: HashSet<Id> = records.iter().copied().collect();
        for change in changes {
            let record = &change.record;
            if rule.rule.model.as_ref() != Some(&record.model) || !records.contains(&record.id) {
                continue;
            }
            let sql = format!(
                "SELECT write_date FROM {} WHERE id = ?1",
                triggerbox_store::ddl::quote(&triggerbox_store::ddl::table(&record.model))
            );
            let written: Option<String> =
                conn.prepare_cached(&sql)?.query_row([record.id], |row| row.get(0)).optional()?;
            let written = written.and_then(|text| time::parse_datetime(&text).ok());
            let written = written.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok());
            if let Some(due) = written.and_then(|zoned| watch.due(zoned.timestamp()))
                && self.take_slot(conn, rule, due, record.id)?
            {
                let dispatcher = Dispatcher { conn, random: &self.random, cause };
                let (event, _) = dispatcher.event(record, "updated", &serde_json::to_string(change)?)?;
                dispatcher.suppress(event, rule, &Suppression::OwnUpdate)?;
            }
        }
        Ok(())
    }
}

/// So many records that are due are judged in one look, or a few more: nobody else writes meanwhile.
const MOST_JUDGED: usize = 10_000;

/// Up to when all is done where something that is due at a time was left: that time is still to come, as far as the rule goes.
pub(super) fn just_before(due: Timestamp) -> Timestamp {
    due.saturating_sub(SignedDuration::from_millis(1)).unwrap_or(due)
}

/// So many records that are due are fired in one look. Those beyond are not taken, so that the next look meets them.
pub(super) fn most_at_once(rule: &Rule) -> usize {
    if rule.dispatch == Dispatch::PerRecord { rule.most_records() } else { usize::MAX }
}

/// How far a rule's times are done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// Up to when, but for the past. What came due while the rule did not fire counts as done.
    until: Timestamp,
    /// Of what was due before the first look of a rule that looks back: what it has not come to, after one time and up to
    /// another. No pause takes anything of it; what came due between pauses meanwhile follows it.
    past: Option<(Timestamp, Timestamp)>,
}

impl Done {
    /// What is known of a rule. One that is new begins now: it waits, or it looks back at once, and then again `lag` before now
    /// for what is seen late.
    pub(super) fn of(
        conn: &Connection,
        rule: &Rule,
        now: Timestamp,
        lag: SignedDuration,
    ) -> Result<Option<Self>, EngineError> {
        let sql = "SELECT done_until, past_from, past_until FROM engine_clock WHERE rule = ?1";
        let known: Option<(i64, Option<i64>, Option<i64>)> = conn
            .prepare_cached(sql)?
            .query_row([&rule.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((until, from, end)) = known {
            let is_schedule = matches!(rule.trigger, Trigger::Schedule(_));
            let past = from.zip(end).filter(|_| !is_schedule).map(|(from, end)| (timestamp(from), timestamp(end)));
            return Ok(Some(Self { until: timestamp(until), past }));
        }
        let looks_back = rule.trigger.takes_past();
        let (until, past) = match looks_back {
            true => (now.saturating_sub(lag).unwrap_or(now), Some((Timestamp::UNIX_EPOCH, now))),
            false => (now, None),
        };
        let sql = "INSERT INTO engine_clock (rule, done_until, past_from, past_until) VALUES (?1, ?2, ?3, ?4)";
        let ends = (past.map(|(from, _)| millis(from)), past.map(|(_, end)| millis(end)));
        conn.prepare_cached(sql)?.execute((&rule.name, millis(until), ends.0, ends.1))?;
        Ok(looks_back.then_some(Self { until, past }))
    }

    /// Between which times the next look is: the past comes first.
    pub(super) fn open(self, now: Timestamp) -> (Timestamp, Timestamp) {
        self.past.map_or((self.until, now), |(from, end)| (from, end.min(now)))
    }

    /// Whether the next look is at the past.
    pub(super) fn is_in_the_past(self) -> bool {
        self.past.is_some()
    }

    /// Keeps up to when that look has come. It goes back with a clock that was ahead: times that were met then are taken, and
    /// those that were not are to come.
    pub(super) fn note(self, conn: &Connection, rule: &str, reached: Timestamp) -> rusqlite::Result<()> {
        match self.past {
            // It may end later by now: the rule was paused while it was looked at.
            Some(_) => {
                let sql = "UPDATE engine_clock SET past_from = CASE WHEN past_until > ?2 THEN ?2 END, \
                           past_until = CASE WHEN past_until > ?2 THEN past_until END \
                           WHERE rule = ?1 AND past_from IS NOT NULL";
                conn.prepare_cached(sql)?.execute((rule, millis(reached)))?;
                pauses::next_stretch(conn, rule)?;
            }
            None if reached != self.until => {
                let sql = "UPDATE engine_clock SET done_until = ?2 WHERE rule = ?1";
                conn.prepare_cached(sql)?.execute((rule, millis(reached)))?;
            }
            None => {}
        }
        Ok(())
    }
}
