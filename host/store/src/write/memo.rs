//! What a writer has looked up and need not look up again: who the user is, whether a stage is there, what a subtype's id
//! is. Thousands of records written together ask the same.
//!
//! Answers are kept only about models that this writer has not written: [`Memo::writes`] is told before it writes one for
//! the first time, and forgets everything.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use rusqlite::types::Value as Cell;
use triggerbox_model::value::Id;

/// Answers that are kept at most; then all are forgotten.
const MOST: usize = 20_000;

/// Texts longer than this are not kept.
const LONGEST: usize = 256;

/// Answers by model, by what was asked, by record.
#[derive(Debug)]
struct Answers<T>(Named<Named<HashMap<Id, T, RandomState>>>);

type Named<T> = HashMap<String, T, RandomState>;

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T: Clone> Answers<T> {
    fn get(&self, model: &str, what: &str, id: Id) -> Option<T> {
        self.0.get(model)?.get(what)?.get(&id).cloned()
    }

    fn put(&mut self, model: &str, what: &str, id: Id, answer: T) {
        let of_model = match self.0.get_mut(model) {
            Some(known) => known,
            None => self.0.entry(model.to_owned()).or_default(),
        };
        let of_what = match of_model.get_mut(what) {
            Some(known) => known,
            None => of_model.entry(what.to_owned()).or_default(),
        };
        of_what.insert(id, answer);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    written: HashSet<String, RandomState>,
    kept: usize,
    cells: Answers<Option<Cell>>,
    ids: Answers<Option<Id>>,
    lists: Answers<Vec<Id>>,
    texts: Answers<String>,
}

impl Memo {
    /// A model is about to be written.
    pub(super) fn writes(&mut self, model: &str) {
        if !self.written.contains(model) {
            self.forget();
            self.written.insert(model.to_owned());
        }
    }

    /// Something else changed that answers may be about.
    pub(super) fn forget(&mut self) {
        let written = std::mem::take(&mut self.written);
        *self = Self { written, ..Self::default() };
    }

    fn may_keep(&mut self, model: &str) -> bool {
        if self.kept >= MOST {
            self.forget();
        }
        let may = !self.written.contains(model);
        self.kept += usize::from(may);
        may
    }

    /// A column of a record; the inner none: there is no such record.
    pub(super) fn cell(&self, model: &str, column: &str, id: Id) -> Option<Option<Cell>> {
        self.cells.get(model, column, id)
    }

    pub(super) fn keep_cell(&mut self, model: &str, column: &str, id: Id, cell: &Option<Cell>) {
        let short = match cell {
            Some(Cell::Text(text)) => text.len() <= LONGEST,
            Some(Cell::Blob(_)) => false,
            _ => true,
        };
        if short && self.may_keep(model) {
            self.cells.put(model, column, id, cell.clone());
        }
    }

    /// One id: a record behind an external id, the first of a model.
    pub(crate) fn id(&self, model: &str, what: &str) -> Option<Option<Id>> {
        self.ids.get(model, what, 0)
    }

    pub(crate) fn keep_id(&mut self, model: &str, what: &str, id: Option<Id>) {
        if self.may_keep(model) {
            self.ids.put(model, what, 0, id);
        }
    }

    /// A list of ids of a model.
    pub(crate) fn list(&self, model: &str, what: &str, key: Id) -> Option<Vec<Id>> {
        self.lists.get(model, what, key)
    }

    pub(crate) fn keep_list(&mut self, model: &str, what: &str, key: Id, ids: &[Id]) {
        if self.may_keep(model) {
            self.lists.put(model, what, key, ids.to_vec());
        }
    }

    /// What a record is called.
    pub(crate) fn name(&self, model: &str, id: Id) -> Option<String> {
        self.texts.get(model, "", id)
    }

    pub(crate) fn keep_name(&mut self, model: &str, id: Id, name: &str) {
        if name.len() <= LONGEST && self.may_keep(model) {
            self.texts.put(model, "", id, name.to_owned());
        }
    }

    /// HTML as it is stored: thousands of new records begin with the same note.
    pub(crate) fn html(&self, source: &str) -> Option<String> {
        self.texts.get("", source, 0)
    }

    pub(crate) fn keep_html(&mut self, source: &str, clean: &str) {
        if source.len() <= LONGEST && self.may_keep("") {
            self.texts.put("", source, 0, clean.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_looked_up_each_time() {
        let mut memo = Memo::default();
        memo.keep_cell("crm.stage", "fold", 1, &Some(Cell::Integer(1)));
        memo.keep_cell("crm.stage", "fold", 2, &None);
        assert_eq!(memo.cell("crm.stage", "fold", 1), Some(Some(Cell::Integer(1))));
        assert_eq!(memo.cell("crm.stage", "fold", 2), Some(None));
        assert_eq!(memo.cell("crm.stage", "name", 1), None);

        memo.writes("crm.stage");
        assert_eq!(memo.cell("crm.stage", "fold", 1), None);
        memo.keep_cell("crm.stage", "fold", 1, &Some(Cell::Integer(1)));
        assert_eq!(memo.cell("crm.stage", "fold", 1), None);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut memo = Memo::default();
        for id in 0..=u32::try_from(MOST).unwrap() {
            memo.keep_cell("res.partner", "id", id, &Some(Cell::Integer(1)));
        }
        assert_eq!(memo.cell("res.partner", "id", 0), None);
        assert!(memo.cell("res.partner", "id", u32::try_from(MOST).unwrap()).is_some());
        memo.keep_cell("res.partner", "comment", 1, &Some(Cell::Text("x".repeat(LONGEST + 1))));
        assert_eq!(memo.cell("res.partner", "comment", 1), None);
    }
}
