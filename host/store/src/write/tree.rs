//! Hierarchies: no record is its own ancestor, and the stored path to the root is kept.

use std::collections::HashSet;

use rusqlite::types::Value as Cell;
use triggerbox_model::{error::Error, schema::Model, value::Id};

use super::{Row, Writer, values};
use crate::{
    db::fault,
    ddl::{PARENT_PATH, quote, table},
};

impl Writer<'_> {
    /// Fails when the columns to be written would make a record its own ancestor.
    pub(super) fn check_cycle(&self, model: &Model, id: Id, sets: &Row<'_>) -> Result<(), Error> {
        let Some(parent) = sets.get(&model.parent_name).and_then(values::as_id) else { return Ok(()) };
        if model.parent().is_none() {
            return Ok(());
        }
        let (mut above, mut seen) = (Some(parent), HashSet::new());
        while let Some(ancestor) = above {
            if !seen.insert(ancestor) {
                let message =
                    format!("{} {parent} is its own ancestor, or below one that is: mend that first", model.name);
                return Err(Error::rejected("cycle", message).with_field(&model.parent_name));
            }
            if ancestor == id {
                let message = format!("{} {id} cannot be below {parent}: it would be its own ancestor", model.name);
                return Err(Error::rejected("cycle", message).with_field(&model.parent_name));
            }
            let cell = self.cell(&model.name, &model.parent_name, ancestor)?;
            above = cell.as_ref().and_then(values::as_id);
        }
        Ok(())
    }

    /// The stored path of a record, if the model keeps one.
    pub(super) fn tree_path(&self, model: &Model, id: Id) -> Result<Option<String>, Error> {
        if !model.parent_store {
            return Ok(None);
        }
        Ok(match self.cell(&model.name, PARENT_PATH, id)? {
            Some(Cell::Text(path)) => Some(path),
            _ => None,
        })
    }

    /// Writes the path of a record under its parent, and moves what is below it. `old`: its path so far.
    pub(super) fn place_in_tree(&mut self, model: &Model, id: Id, old: Option<String>) -> Result<(), Error> {
        if !model.parent_store {
            return Ok(());
        }
        let parent = self.cell(&model.name, &model.parent_name, id)?;
        let above = match parent.as_ref().and_then(values::as_id) {
            Some(parent) => self.tree_path(model, parent)?.unwrap_or_default(),
            None => String::new(),
        };
        let path = format!("{above}{id}/");
        let (table, column) = (quote(&table(&model.name)), quote(PARENT_PATH));
        match old {
            Some(old) if !old.is_empty() => {
                // Everything whose path begins with the old one; `0` is the character after `/`.
                let sql = format!(
                    "UPDATE {table} SET {column} = ?1 || substr({column}, ?2) WHERE {column} >= ?3 AND {column} < ?4"
                );
                let end = format!("{}0", old.trim_end_matches('/'));
                let length = i64::try_from(old.len()).unwrap_or(i64::MAX).saturating_add(1);
                self.conn.prepare_cached(&sql).map_err(fault)?.execute((&path, length, &old, &end)).map_err(fault)?;
            }
            _ => {
                let sql = format!("UPDATE {table} SET {column} = ?1 WHERE id = ?2");
                self.conn.prepare_cached(&sql).map_err(fault)?.execute((&path, id)).map_err(fault)?;
            }
        }
        Ok(())
    }
}
