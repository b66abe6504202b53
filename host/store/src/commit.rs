//! Applying a change set: one transaction, all or nothing.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use rusqlite::Connection;
use triggerbox_model::{
    changes::{Change, ChangeKind, ChangeSet, Diff, Effect, Seen, SeenBy, merge},
    error::{Error, ErrorKind},
    value::{Id, RecordRef, Value, is_provisional},
};

use crate::{
    chatter::Tracking,
    context,
    db::{Database, DbError},
    diff,
    effect::{self, Done},
    env::Env,
    failpoint,
    mention::Mentions,
    query,
    remap::{Known, remap},
    session::bare,
    write::{Options, Place, Writer},
};

/// Why a change set was not applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed a record that the run had read and changes. Nobody: the run runs again.
    #[error("{record} was changed by somebody else: `{field}` is not what the run saw")]
    Conflict {
        /// The record.
        record: RecordRef,
        /// The field that differs.
        field: String,
    },
    /// The data is refused: a constraint, a right, a record that is gone. Whoever provides the data, or the rule's author.
    #[error("{0}")]
    Refused(#[source] Error),
    /// The database failed. The operator.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        match DbError::behind(&error) {
            Some(fault) => Self::Database(fault),
            None => Self::Refused(error),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// What provisional ids became, by model.
    pub ids: BTreeMap<(String, Id), Id>,
    /// What really changed: one for each record. Rules are matched against these.
    pub events: Vec<Change>,
    /// What each step changed, in order: rules on deletions see records as they were just before. Empty: nothing was deleted,
    /// or all of it was one step.
    pub steps: Vec<Vec<Change>>,
    /// The same in words.
    pub diff: Diff,
    /// What the run's mentions became.
    pub mentions: Mentions,
}

/// Applies a change set in a transaction of its own.
///
/// # Errors
/// Each case of [`CommitError`].
pub fn commit(database: &Database, env: &Env, changes: &ChangeSet) -> Result<Committed, CommitError> {
    let done = database.transaction(|conn| {
        failpoint::hit("begun");
        let done = commit_in(conn, env, changes)?;
        failpoint::hit("before-commit");
        Ok::<_, CommitError>(done)
    })?;
    failpoint::hit("after-commit");
    Ok(done)
}

/// Applies a change set inside the caller's transaction, which holds the writer lock: what the caller adds (run record,
/// acknowledgement) is committed with it. After an error the caller rolls back.
///
/// # Errors
/// Each case of [`CommitError`].
pub fn commit_in(conn: &Connection, env: &Env, changes: &ChangeSet) -> Result<Committed, CommitError> {
    compare(conn, env, &changes.reads)?;
    for other in &changes.others {
        compare(conn, &reader(conn, env, other)?, &other.reads)?;
    }
    failpoint::hit("compared");
    let mut place = Place::committed();
    let mut events: Vec<Vec<Change>> = Vec::new();
    let mut tracking = Tracking::default();
    let (home, mut here, mut options) = (env, env.clone(), Options::default());
    for (index, staged) in changes.effects.iter().enumerate() {
        let mut staged = staged.clone();
        place.skip(&changes.skipped, index);
        let known = Progress { conn, env, place: RefCell::new(&mut place), mentions: &changes.mentions };
        remap(&env.schema, &known, &mut staged)?;
        refuse_late_writes(conn, env, &place, &staged, changes, index)?;
        if let Some(entered) = context::set_by(home, &staged)? {
            (here, options) = entered;
            continue;
        }
        let mut writer = Writer::new(conn, &here, &mut place);
        writer.undone_with_all = true;
        writer.options = options.clone();
        writer.tracking = tracking;
        let done = effect::apply(&mut writer, staged)?;
        if let Some(asked) = &changes.left {
            refuse_unasked(asked, &done, events.iter().flatten())?;
        }
        events.push(done.changes);
        tracking = std::mem::take(&mut writer.tracking);
        failpoint::hit("effect-applied");
        #[cfg(feature = "failpoints")]
        failpoint::break_in_two(conn).map_err(DbError::from)?;
    }
    let mut writer = Writer::new(conn, env, &mut place);
    writer.undone_with_all = true;
    writer.tracking = tracking;
    events.push(writer.finish()?);
    drop(writer);
    events.retain(|changes| !changes.is_empty());
    // What changed at once is told once for each record already.
    let (events, steps) = match <[Vec<Change>; 1]>::try_from(events) {
        Ok([changes]) => (changes, Vec::new()),
        Err(steps) if steps.iter().flatten().any(|change| change.kind == ChangeKind::Deleted) => {
            (merge(steps.iter().flatten().cloned()), steps)
        }
        Err(steps) => (merge(steps.into_iter().flatten()), Vec::new()),
    };
    let diff = diff::describe(conn, env, &events)?;
    let progress = Progress { conn, env, place: RefCell::new(&mut place), mentions: &changes.mentions };
    let mentions =
        Mentions((0..changes.mentions.len()).map(|index| progress.mention(index)).collect::<Result<_, _>>()?);
    let ids = match place {
        Place::Committed(committing) => committing.into_ids(),
        Place::Staged(_) => BTreeMap::new(),
    };
    Ok(Committed { ids, events, steps, diff, mentions })
}

/// Rules that stand before a deletion have seen what leaves a list and is deleted by that: what somebody else put there
/// meanwhile, they have not. What the change set made itself is nobody else's.
fn refuse_unasked<'c>(
    asked: &[RecordRef],
    done: &Done,
    earlier: impl Iterator<Item = &'c Change> + Clone,
) -> Result<(), CommitError> {
    let unasked = done.left.iter().find(|record| {
        let is = |change: &Change, kind: ChangeKind| change.kind == kind && change.record == **record;
        !asked.contains(record)
            && done.changes.iter().any(|change| is(change, ChangeKind::Deleted))
            && !earlier.clone().any(|change| is(change, ChangeKind::Created))
    });
    match unasked {
        Some(record) => Err(CommitError::Conflict { record: record.clone(), field: "id".to_owned() }),
        None => Ok(()),
    }
}

/// The environment in which somebody else read something for a change.
fn reader(conn: &Connection, env: &Env, other: &SeenBy) -> Result<Env, Error> {
    let theirs = Env::for_user(conn, Arc::clone(&env.schema), Arc::clone(&env.rights), other.user, env.now)?;
    Ok(if other.superuser { theirs.sudo() } else { theirs })
}

/// What is not any more as a change set's run saw it: applied now, it would be a conflict. Without the writer's lock, for
/// people who look at it; a commit compares again.
///
/// # Errors
/// What the database says.
pub fn overtaken(conn: &Connection, env: &Env, changes: &ChangeSet) -> Result<Vec<Overtaken>, CommitError> {
    let mut found = differing(conn, env, &changes.reads)?;
    for other in &changes.others {
        found.extend(differing(conn, &reader(conn, env, other)?, &other.reads)?);
    }
    Ok(found)
}

/// A value that is not any more what a run saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overtaken {
    /// The record.
    pub record: RecordRef,
    /// The field; `id`, if the record is gone.
    pub field: String,
}

/// Compares what a run saw with what is there now.
pub(crate) fn compare(conn: &Connection, env: &Env, reads: &[Seen]) -> Result<(), CommitError> {
    match differing(conn, env, reads)?.into_iter().next() {
        Some(Overtaken { record, field }) => Err(CommitError::Conflict { record, field }),
        None => Ok(()),
    }
}

fn differing(conn: &Connection, env: &Env, reads: &[Seen]) -> Result<Vec<Overtaken>, CommitError> {
    let mut records: BTreeMap<&RecordRef, Vec<&Seen>> = BTreeMap::new();
    for seen in reads {
        records.entry(&seen.record).or_default().push(seen);
    }
    // Records of one model of which the same was read are read again together.
    let mut alike: BTreeMap<(&str, Vec<&str>), Vec<Vec<&Seen>>> = BTreeMap::new();
    for (record, seen) in records {
        let fields = seen.iter().map(|seen| seen.field.as_str()).collect();
        alike.entry((&record.model, fields)).or_default().push(seen);
    }
    let sudo = env.clone().sudo();
    let mut found = Vec::new();
    for ((model, fields), all) in alike {
        let ids: Vec<Id> = all.iter().filter_map(|seen| seen.first()).map(|seen| seen.record.id).collect();
        let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        let described = env.schema.model(model)?;
        // What the user may see is no matter here: the run has seen it. But lists hold what the user sees of them.
        let rows = match query::read::read_raw(conn, env, described, &ids, &fields) {
            Err(error) if error.kind == ErrorKind::AccessDenied => {
                query::read::read_raw(conn, &sudo, described, &ids, &fields)?
            }
            rows => rows?,
        };
        let rows: BTreeMap<Id, Vec<Value>> = rows.into_iter().map(|row| (row.id, row.values)).collect();
        for (id, seen) in ids.iter().zip(all) {
            let differs = |field: &str| Overtaken { record: RecordRef::new(model, *id), field: field.to_owned() };
            match rows.get(id) {
                None => found.push(differs("id")),
                Some(now) => {
                    let other = seen.iter().zip(now).filter(|(seen, now)| bare(now) != seen.value);
                    found.extend(other.map(|(seen, _)| differs(&seen.field)));
                }
            }
        }
    }
    Ok(found)
}

/// `ensure` may find, at commit, a record that another run made meanwhile. The run never saw it: if it also writes
/// on it, that is a conflict.
fn refuse_late_writes(
    conn: &Connection,
    env: &Env,
    place: &Place,
    effect: &Effect,
    changes: &ChangeSet,
    index: usize,
) -> Result<(), CommitError> {
    let Effect::Ensure { model, keys, values, id } = effect else { return Ok(()) };
    let mut scratch = Place::committed();
    let writer = Writer::new(conn, env, &mut scratch);
    let Some(found) = writer.find_by_keys(model, keys, &crate::write::from_fields(values))? else { return Ok(()) };
    if matches!(place, Place::Committed(committing) if committing.gave_out(model, found)) {
        return Ok(());
    }
    let later = changes.effects.iter().skip(index + 1);
    let written = later.clone().any(|effect| match effect {
        Effect::Write { model: other, ids, .. }
        | Effect::Unlink { model: other, ids }
        | Effect::CallMethod { model: other, ids, .. } => other == model && ids.contains(id),
        Effect::Relate { target, .. } => target.model == *model && target.id == *id,
        _ => false,
    });
    if written {
        return Err(CommitError::Conflict {
            record: RecordRef::new(model, found),
            field: keys.first().cloned().unwrap_or_default(),
        });
    }
    Ok(())
}

/// Ids and names as far as the commit has come.
struct Progress<'a> {
    conn: &'a Connection,
    env: &'a Env,
    place: RefCell<&'a mut Place>,
    mentions: &'a [RecordRef],
}

impl Known for Progress<'_> {
    fn id(&self, model: &str, id: Id) -> Option<Id> {
        match &**self.place.borrow() {
            Place::Committed(committing) => committing.real(model, id),
            Place::Staged(_) => None,
        }
    }

    fn mention(&self, index: usize) -> Result<Option<(RecordRef, String)>, Error> {
        let Some(mut record) = self.mentions.get(index).cloned() else { return Ok(None) };
        if is_provisional(record.id) {
            let Some(id) = self.id(&record.model, record.id) else { return Ok(None) };
            record.id = id;
        }
        let name = crate::names::display_name(self.conn, self.env, &record.model, record.id)?;
        Ok(Some((record, name)))
    }
}
