//! Fires become runs: events are noted, the loop guard judges, records are put together or apart, lanes are entered.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use indexmap::IndexMap;
use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    changes::{Change, ChangeKind},
    limits::Class,
    value::{Id, RecordRef},
};

use crate::{
    error::EngineError,
    firing::{self, Firing},
    index::Armed,
    lanes,
    loops::{self, Suppression},
    matcher::Fire,
    random::Random,
    rule::{Dispatch, Rule, Trigger},
};

/// A fire over more records than this becomes batch class. A run that waits takes in no more than so many.
const LARGE: usize = 1_000;

/// Why something happened: whoever changed a record, or the run that did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cause {
    /// Who is behind it (`res.users`).
    pub(crate) actor: Id,
    /// When, in milliseconds.
    pub(crate) at: i64,
    /// The run that did it.
    pub(crate) parent: Option<Parent>,
}

/// The run that caused an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) run: i64,
    pub(crate) root: i64,
    pub(crate) depth: u32,
}

impl Cause {
    /// How many runs lie between the root event and what is caused now.
    pub(crate) fn depth(&self) -> u32 {
        self.parent.map_or(0, |parent| parent.depth + 1)
    }
}

/// Makes runs in one transaction.
pub(crate) struct Dispatcher<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) random: &'a Random,
    pub(crate) cause: Cause,
}

/// A fire with the event that was noted for it.
struct Noted {
    fire: Fire,
    event: i64,
    root: i64,
}

/// Fires of one rule that can be one run, with the event that each goes back to.
struct Batch {
    rule: Arc<Armed>,
    event: i64,
    root: i64,
    class: Class,
    firing: Firing,
    guarded: Vec<(Id, String)>,
}

impl Dispatcher<'_> {
    /// Makes the runs of these fires; returns those that are new.
    pub(crate) fn dispatch(&self, changes: &[Change], fires: Vec<Fire>) -> Result<Vec<i64>, EngineError> {
        let mut events = HashMap::new();
        let mut groups: IndexMap<(i64, u8), Vec<Noted>> = IndexMap::new();
        for fire in fires {
            let Some(change) = changes.get(fire.change) else { continue };
            let (event, root) = match events.get(&fire.change) {
                Some(known) => *known,
                None => *events.entry(fire.change).or_insert(self.note(change, &fire)?),
            };
            if let Some(error) = &fire.broken {
                self.suppress(event, &fire.rule, &Suppression::Broken(error.message.clone()))?;
                continue;
            }
            if let Some(parent) = &self.cause.parent
                && let Some(why) = loops::judge(self.conn, parent, &fire)?
            {
                self.suppress(event, &fire.rule, &why)?;
                continue;
            }
            groups.entry((fire.rule.id, kind(change, &fire))).or_default().push(Noted { fire, event, root });
        }
        let mut made = Vec::new();
        for fires in groups.into_values() {
            for batch in self.batches(changes, fires)? {
                made.extend(self.enqueue(batch)?);
            }
        }
        Ok(made)
    }

    /// Makes the runs of a rule that somebody, or the clock, fires on these records: one for all, or one for each. Each is
    /// the root of a chain of its own.
    pub(crate) fn fire(
        &self,
        rule: &Arc<Armed>,
        kind: &str,
        class: Class,
        firing: &Firing,
    ) -> Result<Vec<i64>, EngineError> {
        let model = rule.rule.model.as_deref().unwrap_or_default();
        let note = |record: Id| self.event(&RecordRef::new(model, record), kind, "{}");
        let one = |event: i64, root: i64, firing: Firing| Batch {
            rule: Arc::clone(rule),
            event,
            root,
            class,
            firing,
            guarded: Vec::new(),
        };
        if rule.rule.dispatch == Dispatch::Single || firing.records.is_empty() {
            let (event, root) = note(firing.records.first().copied().unwrap_or(0))?;
            return Ok(self.enqueue(one(event, root, firing.clone()))?.into_iter().collect());
        }
        let mut made = Vec::new();
        for (count, record) in firing.records.iter().enumerate() {
            let (event, root) = note(*record)?;
            if count >= rule.rule.most_records() {
                self.suppress(event, rule, &Suppression::MaxRecords(rule.rule.max_records))?;
                continue;
            }
            let firing = Firing { records: vec![*record], ..firing.clone() };
            made.extend(self.enqueue(one(event, root, firing))?);
        }
        Ok(made)
    }

    /// One batch for all fires of a rule, or one for each.
    fn batches(&self, changes: &[Change], fires: Vec<Noted>) -> Result<Vec<Batch>, EngineError> {
        let also_by = self.also_behind()?;
        let mut batches: Vec<Batch> = Vec::new();
        let mut more = Vec::new();
        for Noted { fire, event, root } in fires {
            let Some(change) = changes.get(fire.change) else { continue };
            let rule = &fire.rule.rule;
            let apart = rule.dispatch == Dispatch::PerRecord || fire.message.is_some();
            if apart && batches.len() >= rule.most_records() {
                self.suppress(event, &fire.rule, &Suppression::MaxRecords(rule.max_records))?;
                continue;
            }
            let firing = Firing::of(change, fire.record, fire.message.as_ref());
            let firing = Firing { actor: fire.actor, also_by: also_by.clone(), ..firing };
            match batches.last_mut().filter(|_| !apart) {
                Some(batch) => {
                    more.push(firing);
                    batch.guarded.push((fire.record, fire.fields));
                }
                None => {
                    let guarded = vec![(fire.record, fire.fields)];
                    batches.push(Batch { rule: fire.rule, event, root, class: Class::Async, firing, guarded });
                }
            }
        }
        if let Some(batch) = batches.last_mut() {
            batch.firing.join(more);
        }
        Ok(batches)
    }

    /// Makes a run of a batch, or adds it to one that still waits.
    fn enqueue(&self, mut batch: Batch) -> Result<Option<i64>, EngineError> {
        let rule = &batch.rule.rule;
        if self.cause.parent.is_some() && loops::is_exhausted(self.conn, batch.root)? {
            self.suppress(batch.event, &batch.rule, &Suppression::TooManyRuns)?;
            return Ok(None);
        }
        for (record, fields) in &batch.guarded {
            loops::remember(self.conn, batch.root, &batch.rule, *record, fields)?;
        }
        if rule.debounce > 0 && self.join_waiting(&batch)? {
            return Ok(None);
        }
        if batch.firing.records.len() > LARGE {
            batch.class = Class::Batch;
            batch.firing.warnings.push(format!(
                "one fire over {} records is one run of the class {}; consider a schedule, or dispatch per record",
                batch.firing.records.len(),
                batch.rule.class(batch.class).name()
            ));
        }
        let due = self.cause.at + i64::from(rule.debounce) * 1_000;
        Ok(Some(self.insert(&batch.rule, batch.root, &batch.firing, batch.class, due)?))
    }

    /// Makes a run.
    pub(crate) fn insert(
        &self,
        rule: &Armed,
        root: i64,
        firing: &Firing,
        class: Class,
        due: i64,
    ) -> Result<i64, EngineError> {
        let sql = "INSERT INTO engine_run (key, rule, rule_version, root, parent_run, depth, model, record, request, class, \
                   actor, run_as, superuser, seed, at, state, due, blockers, attempt, fence) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, 0, 0, 0)";
        self.conn.prepare_cached(sql)?.execute(rusqlite::params![
            self.random.key(),
            rule.rule.name,
            rule.version,
            root,
            self.cause.parent.map(|parent| parent.run),
            self.cause.depth(),
            rule.rule.model,
            firing.records.first(),
            serde_json::to_string(firing)?,
            rule.class(class).name(),
            self.cause.actor,
            rule.run_as,
            rule.rule.superuser,
            self.random.seed(),
            self.cause.at,
            due,
        ])?;
        let run = self.conn.last_insert_rowid();
        let blockers = lanes::enter(self.conn, &rule.rule.name, run, &firing.lanes())?;
        if blockers > 0 {
            let sql = "UPDATE engine_run SET blockers = ?2 WHERE id = ?1";
            self.conn.prepare_cached(sql)?.execute((run, blockers))?;
        }
        Ok(run)
    }

    /// Adds a batch to a run of the same rule that was not started yet, if there is one that has the new records to itself
    /// (behind a run that waits for it in another lane it would wait for ever) and would not become one of another class.
    fn join_waiting(&self, batch: &Batch) -> Result<bool, EngineError> {
        let rule = &batch.rule.rule;
        let Some((run, request, actor)) = self.waiting(rule, batch.firing.records.first().copied())? else {
            return Ok(false);
        };
        // One that cannot be read is over when it is its turn.
        let Ok(mut firing) = serde_json::from_str::<Firing>(&request) else { return Ok(false) };
        if !firing.takes(&batch.firing) {
            return Ok(false);
        }
        let known: HashSet<Id> = firing.records.iter().copied().collect();
        let new: Vec<Id> = batch.firing.records.iter().copied().filter(|id| !known.contains(id)).collect();
        let is_full = !new.is_empty() && known.len() + new.len() > LARGE;
        if is_full || lanes::are_taken(self.conn, &rule.name, &new)? {
            return Ok(false);
        }
        firing.join([batch.firing.clone()]);
        // They had a hand in it as much as the first one.
        firing::add(&mut firing.also_by, Some(self.cause.actor).filter(|other| *other != actor));
        let sql = "UPDATE engine_run SET request = ?2 WHERE id = ?1";
        self.conn.prepare_cached(sql)?.execute((run, serde_json::to_string(&firing)?))?;
        lanes::enter(self.conn, &rule.name, run, &new)?;
        let sql = "INSERT OR IGNORE INTO engine_about (model, record, run) VALUES (?1, ?2, ?3)";
        let mut about = self.conn.prepare_cached(sql)?;
        for (model, record) in rule.model.iter().flat_map(|model| new.iter().map(move |record| (model, record))) {
            about.execute((model, record, run))?;
        }
        Ok(true)
    }

    /// A run of a rule that was not started yet, with its request and its actor: the last one in the lane of a record, else the
    /// newest of those that wait for nothing but their time.
    fn waiting(&self, rule: &Rule, record: Option<Id>) -> Result<Option<(i64, String, Id)>, EngineError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let sql = "SELECT r.id, r.request, r.actor FROM engine_lane l JOIN engine_run r ON r.id = l.run \
                   WHERE l.rule = ?1 AND l.record = ?2 AND r.state = 'queued' AND r.attempt = 0 AND r.model IS ?3 \
                   ORDER BY l.place DESC LIMIT 1";
        let found = self.conn.prepare_cached(sql)?.query_row((&rule.name, record, &rule.model), read).optional()?;
        if found.is_some() || rule.dispatch == Dispatch::PerRecord {
            return Ok(found);
        }
        let sql = "SELECT id, request, actor FROM engine_run WHERE rule = ?1 AND state = 'queued' AND blockers = 0 \
                   AND attempt = 0 AND model IS ?2 ORDER BY due DESC, id DESC LIMIT 1";
        Ok(self.conn.prepare_cached(sql)?.query_row((&rule.name, &rule.model), read).optional()?)
    }

    /// Who is behind the run that caused this, besides the actor.
    fn also_behind(&self) -> rusqlite::Result<Vec<Id>> {
        let Some(parent) = &self.cause.parent else { return Ok(Vec::new()) };
        let sql = "SELECT actor FROM engine_run WHERE id = ?1 \
                   UNION SELECT b.value FROM engine_run r, json_each(r.request, '$.also-by') b WHERE r.id = ?1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let behind = statement.query_map([parent.run], |row| row.get(0))?;
        Ok(behind.collect::<rusqlite::Result<Vec<Id>>>()?.into_iter().filter(|id| *id != self.cause.actor).collect())
    }

    /// Notes a change that a rule wanted to know of; returns the event and its root.
    fn note(&self, change: &Change, fire: &Fire) -> Result<(i64, i64), EngineError> {
        let (record, kind) = match (&fire.message, &fire.rule.rule.model) {
            (Some(_), Some(model)) => (RecordRef::new(model, fire.record), "message"),
            _ => (change.record.clone(), kind_name(change.kind)),
        };
        self.event(&record, kind, &serde_json::to_string(change)?)
    }

    /// Notes that something happened to a record; returns the event and its root.
    pub(crate) fn event(&self, record: &RecordRef, kind: &str, change: &str) -> Result<(i64, i64), EngineError> {
        let sql = "INSERT INTO engine_event (root, parent_run, depth, at, actor, model, record, kind, change) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let cause = &self.cause;
        let (root, run) = (cause.parent.map(|parent| parent.root), cause.parent.map(|parent| parent.run));
        self.conn.prepare_cached(sql)?.execute(rusqlite::params![
            root.unwrap_or(0),
            run,
            cause.depth(),
            cause.at,
            cause.actor,
            record.model,
            record.id,
            kind,
            change,
        ])?;
        let event = self.conn.last_insert_rowid();
        if root.is_none() {
            self.conn.prepare_cached("UPDATE engine_event SET root = id WHERE id = ?1")?.execute([event])?;
        }
        Ok((event, root.unwrap_or(event)))
    }

    /// Notes that a rule would have fired.
    pub(crate) fn suppress(&self, event: i64, rule: &Armed, why: &Suppression) -> Result<(), EngineError> {
        let sql = "INSERT INTO engine_suppressed (at, event, root, rule, reason) \
                   SELECT ?1, id, root, ?3, ?4 FROM engine_event WHERE id = ?2";
        self.conn.prepare_cached(sql)?.execute((self.cause.at, event, &rule.rule.name, why.to_string()))?;
        Ok(())
    }
}

/// Fires of different kinds are different runs: a script is told one thing that happened.
fn kind(change: &Change, fire: &Fire) -> u8 {
    match (change.kind, &fire.rule.rule.trigger) {
        (_, Trigger::MessageReceived {} | Trigger::MessageSent {}) => 3,
        (ChangeKind::Created, _) => 0,
        (ChangeKind::Updated, _) => 1,
        (ChangeKind::Deleted, _) => 2,
    }
}

fn kind_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Updated => "updated",
        ChangeKind::Deleted => "deleted",
    }
}
