//! A changed record before and after the change, for judging domains in memory.

use std::cell::{OnceCell, RefCell};

use rusqlite::Connection;
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    domain::{
        eval::Records,
        filter::{Cell, Link},
        memory::Changed,
    },
    error::Error,
    value::{Id, RecordRef, Value},
};
use triggerbox_store::env::Env;

use crate::index::{Armed, Condition};

/// A record before and after a change. Each side is put together once for all rules, when the first one asks.
pub(crate) struct Sides<'a> {
    then: &'a Remembered<'a>,
    now: &'a Remembered<'a>,
    change: &'a Change,
    before: OnceCell<Changed<'a>>,
    after: OnceCell<Changed<'a>>,
}

impl<'a> Sides<'a> {
    /// `then`: all records before the change; `now`: after it.
    pub(crate) fn new(then: &'a Remembered<'a>, now: &'a Remembered<'a>, change: &'a Change) -> Self {
        Self { then, now, change, before: OnceCell::new(), after: OnceCell::new() }
    }

    /// Whether both of a rule's domains hold.
    pub(crate) fn hold(&self, conn: &Connection, env: &Env, rule: &Armed) -> Result<bool, Error> {
        Ok(self.held_before(conn, env, rule)? && self.held_after(conn, env, rule)?)
    }

    pub(crate) fn held_before(&self, conn: &Connection, env: &Env, rule: &Armed) -> Result<bool, Error> {
        // A new record has no values before: only what comes after is judged.
        if self.change.kind == ChangeKind::Created || matches!(rule.before, Condition::Always) {
            return Ok(true);
        }
        self.judge(conn, env, &rule.before, self.before()?)
    }

    pub(crate) fn held_after(&self, conn: &Connection, env: &Env, rule: &Armed) -> Result<bool, Error> {
        if matches!(rule.after, Condition::Always) {
            return Ok(true);
        }
        let after = match self.change.kind {
            ChangeKind::Deleted => self.before()?,
            _ => self.side(&self.after, self.now, |field| &field.new)?,
        };
        self.judge(conn, env, &rule.after, after)
    }

    fn judge(&self, conn: &Connection, env: &Env, condition: &Condition, side: &Changed<'_>) -> Result<bool, Error> {
        condition.holds(conn, env, side, &self.change.record.model, self.change.record.id)
    }

    fn before(&self) -> Result<&Changed<'a>, Error> {
        self.side(&self.before, self.then, |field| &field.old)
    }

    fn side<'s>(
        &'s self,
        side: &'s OnceCell<Changed<'a>>,
        base: &'a Remembered<'a>,
        value: impl Fn(&'a FieldChange) -> &'a Value,
    ) -> Result<&'s Changed<'a>, Error> {
        if let Some(known) = side.get() {
            return Ok(known);
        }
        let record = &self.change.record;
        let mut records = Changed::new(base, &record.model);
        records.columns.entry(record.id).or_default();
        for field in &self.change.fields {
            records.set(record.id, &field.field, value(field))?;
        }
        Ok(side.get_or_init(|| records))
    }
}

/// Stored records, of which one is read column by column, once.
pub(crate) struct Remembered<'a> {
    stored: &'a dyn Records,
    record: &'a RecordRef,
    cells: RefCell<Vec<(String, Cell)>>,
}

impl<'a> Remembered<'a> {
    pub(crate) fn new(stored: &'a dyn Records, record: &'a RecordRef) -> Self {
        Self { stored, record, cells: RefCell::default() }
    }
}

impl Records for Remembered<'_> {
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error> {
        if id != self.record.id || model != self.record.model {
            return self.stored.cell(model, id, column);
        }
        if let Some((_, cell)) = self.cells.borrow().iter().find(|(known, _)| known == column) {
            return Ok(cell.clone());
        }
        let cell = self.stored.cell(model, id, column)?;
        self.cells.borrow_mut().push((column.to_owned(), cell.clone()));
        Ok(cell)
    }

    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error> {
        self.stored.translation(model, id, column, lang)
    }

    fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        self.stored.exists(model, id)
    }

    fn all(&self, model: &str) -> Result<Vec<Id>, Error> {
        self.stored.all(model)
    }

    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
        self.stored.linked(model, id, link)
    }
}
