//! Where changes go: into the committed tables, or into a run's overlay.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    changes::Skipped,
    error::Error,
    schema::Model,
    value::{FIRST_PROVISIONAL_ID, Id},
};

use crate::{
    db::fault,
    ddl,
    overlay::{self, Overlay},
};

/// Where changes go, and where ids come from.
#[derive(Debug)]
pub enum Place {
    /// The tables themselves, inside a transaction.
    Committed(Committing),
    /// A run's view of them.
    Staged(Overlay),
}

/// The ids that a commit gives out.
///
/// A staged run and its commit create the same records in the same order: the n-th new record of a model had
/// the n-th provisional id, but for those that were skipped.
#[derive(Debug, Default)]
pub struct Committing {
    /// Provisional ids and what they became, by model.
    ids: BTreeMap<String, BTreeMap<Id, Id>>,
    next_provisional: BTreeMap<String, Id>,
    /// Ids that are taken out of the numbering and not used yet, by model; none between steps.
    reserved: BTreeMap<String, Reserved>,
    in_step: bool,
}

#[derive(Debug, Default)]
struct Reserved {
    free: std::ops::Range<i64>,
    used: i64,
}

/// Ids that are taken out of the numbering at once, at most.
const MOST_RESERVED: i64 = 1_000;

impl Committing {
    /// Says what a provisional id became without creating a record: one that another run created meanwhile.
    pub fn stands_for(&mut self, model: &str, id: Id) {
        let provisional = next_provisional(&mut self.next_provisional, model);
        match self.ids.get_mut(model) {
            Some(ids) => drop(ids.insert(provisional, id)),
            None => drop(self.ids.insert(model.to_owned(), BTreeMap::from([(provisional, id)]))),
        }
    }

    /// The real id behind a provisional one.
    #[must_use]
    pub fn real(&self, model: &str, id: Id) -> Option<Id> {
        self.ids.get(model)?.get(&id).copied()
    }

    /// Whether a record was made, or found.
    pub(crate) fn gave_out(&self, model: &str, id: Id) -> bool {
        self.ids.get(model).is_some_and(|ids| ids.values().any(|made| *made == id))
    }

    /// Provisional ids and what they became, by model.
    pub(crate) fn into_ids(self) -> BTreeMap<(String, Id), Id> {
        let mut all = Vec::with_capacity(self.ids.values().map(BTreeMap::len).sum());
        for (model, ids) in self.ids {
            all.extend(ids.into_iter().map(|(provisional, id)| ((model.clone(), provisional), id)));
        }
        all.into_iter().collect()
    }
}

/// Counts provisional ids of a model.
pub(crate) fn next_provisional(counters: &mut BTreeMap<String, Id>, model: &str) -> Id {
    match counters.get_mut(model) {
        Some(next) => {
            let id = *next;
            *next = next.saturating_add(1);
            id
        }
        None => {
            counters.insert(model.to_owned(), FIRST_PROVISIONAL_ID.saturating_add(1));
            FIRST_PROVISIONAL_ID
        }
    }
}

/// Has the provisional ids of a model go on from this one, if they are not beyond it.
pub(crate) fn number_from(counters: &mut BTreeMap<String, Id>, model: &str, next: Id) {
    let known = counters.entry(model.to_owned()).or_insert(next);
    *known = next.max(*known);
}

impl Place {
    /// Straight into the tables, without a run before it.
    #[must_use]
    pub fn committed() -> Self {
        Self::Committed(Committing::default())
    }

    /// The id of a new record.
    pub(crate) fn new_id(&mut self, conn: &Connection, model: &str) -> Result<Id, Error> {
        match self {
            Self::Staged(overlay) => Ok(overlay.new_id(model)),
            Self::Committed(committing) => {
                let id = committing.next_id(conn, model)?;
                committing.stands_for(model, id);
                Ok(id)
            }
        }
    }

    /// Passes over provisional ids that were given out for nothing before an effect.
    pub(crate) fn skip(&mut self, skipped: &[Skipped], effect: usize) {
        for skipped in skipped.iter().filter(|skipped| skipped.effect == effect) {
            match self {
                Self::Staged(overlay) => overlay.number_from(&skipped.model, skipped.next),
                Self::Committed(committing) => {
                    number_from(&mut committing.next_provisional, &skipped.model, skipped.next);
                }
            }
        }
    }

    /// A step begins, which is done or undone as a whole: ids may be reserved in it.
    pub(crate) fn begin_step(&mut self) {
        if let Self::Committed(committing) = self {
            committing.in_step = true;
        }
    }

    /// A step ends: ids that it reserved and did not use go back.
    pub(crate) fn end_step(&mut self, conn: &Connection) -> Result<(), Error> {
        let Self::Committed(committing) = self else { return Ok(()) };
        committing.in_step = false;
        for (model, reserved) in std::mem::take(&mut committing.reserved) {
            if !reserved.free.is_empty() {
                let sql = "UPDATE tb_sequence SET next = ?2 WHERE name = ?1";
                let mut statement = conn.prepare_cached(sql).map_err(fault)?;
                statement.execute((model, reserved.free.start)).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Makes sure that a model's table can be written here.
    pub(crate) fn touch_model(&mut self, conn: &Connection, model: &Model) -> Result<(), Error> {
        match self {
            Self::Committed(_) => Ok(()),
            Self::Staged(overlay) => overlay.touch(conn, &ddl::table(&model.name)),
        }
    }

    /// Makes sure that any other table can be written here.
    pub(crate) fn touch_table(&mut self, conn: &Connection, table: &str) -> Result<(), Error> {
        match self {
            Self::Committed(_) => Ok(()),
            Self::Staged(overlay) => overlay.touch(conn, table),
        }
    }

    /// A table, or any, is about to be searched by other columns than its key.
    pub(crate) fn searched(&self, conn: &Connection, table: Option<&str>) -> Result<(), Error> {
        match self {
            Self::Committed(_) => Ok(()),
            Self::Staged(overlay) => overlay.index(conn, table),
        }
    }

    /// Where new rows of a model go, as SQL takes it, once the model's table can be written.
    pub(crate) fn rows_of(&self, model: &Model) -> String {
        let table = ddl::table(&model.name);
        match self {
            Self::Committed(_) => ddl::quote(&table),
            Self::Staged(_) => overlay::own_rows(&table),
        }
    }

    /// Makes sure that a record's row can be changed where new rows go.
    pub(crate) fn take_over(&self, conn: &Connection, model: &Model, id: Id) -> Result<(), Error> {
        match self {
            Self::Committed(_) => Ok(()),
            Self::Staged(_) => overlay::take_over(conn, &ddl::table(&model.name), id).map_err(fault),
        }
    }

    /// Takes away what is staged; what is committed stays.
    pub(crate) fn clear(&mut self, conn: &Connection) -> Result<(), Error> {
        match self {
            Self::Committed(_) => Ok(()),
            Self::Staged(overlay) => overlay.clear(conn),
        }
    }

    /// Whether values that only the commit can know are to be left open.
    pub(crate) fn is_staged(&self) -> bool {
        matches!(self, Self::Staged(_))
    }

    /// A savepoint was rolled back: what it had made is gone.
    pub(crate) fn rolled_back(&mut self, conn: &Connection) -> Result<(), Error> {
        match self {
            Self::Committed(committing) => {
                committing.reserved.clear();
                committing.in_step = false;
                Ok(())
            }
            Self::Staged(overlay) => overlay.look_again(conn),
        }
    }
}

impl Committing {
    /// The next id of a model, never given before.
    fn next_id(&mut self, conn: &Connection, model: &str) -> Result<Id, Error> {
        let in_step = self.in_step;
        let reserved = match self.reserved.get_mut(model) {
            Some(reserved) => reserved,
            None => self.reserved.entry(model.to_owned()).or_default(),
        };
        if reserved.free.is_empty() {
            // The more are made, the more are likely to follow.
            let count = if in_step { reserved.used.clamp(1, MOST_RESERVED) } else { 1 };
            let first = take_ids(conn, model, count)?;
            reserved.free = first..first.saturating_add(count);
        }
        let next = reserved.free.next().unwrap_or(i64::MAX);
        reserved.used += 1;
        // Ids from 2³¹ on are provisional; no real one may get there.
        Id::try_from(next)
            .ok()
            .filter(|id| *id < FIRST_PROVISIONAL_ID)
            .ok_or_else(|| Error::rejected("no-more-ids", format!("`{model}` has used all its ids")))
    }
}

/// Takes ids out of a model's numbering; returns the first.
fn take_ids(conn: &Connection, model: &str, count: i64) -> Result<i64, Error> {
    let sql = "UPDATE tb_sequence SET next = next + ?2 WHERE name = ?1 RETURNING next - ?2";
    let mut statement = conn.prepare_cached(sql).map_err(fault)?;
    let first: Option<i64> = statement.query_row((model, count), |row| row.get(0)).optional().map_err(fault)?;
    if let Some(first) = first {
        return Ok(first);
    }
    let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {}", ddl::quote(&ddl::table(model)));
    let first: i64 = conn.query_row(&sql, [], |row| row.get(0)).map_err(fault)?;
    conn.execute("INSERT INTO tb_sequence (name, next) VALUES (?1, ?2)", (model, first.saturating_add(count)))
        .map_err(fault)?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_model_is_another_record() {
        let mut committing = Committing::default();
        committing.stands_for("crm.tag", 42);
        assert!(committing.gave_out("crm.tag", 42));
        assert!(!committing.gave_out("res.partner", 42) && !committing.gave_out("crm.tag", 43));
    }
}
