//! A record's discussion: tracking notes, messages, followers, activities; Odoo's `mail.thread`.
//!
//! Everything here is part of [`Writer`]: posting is writing records of the mail models. It is done with the
//! system's rights, as Odoo does: who may write on a record may post on it.

mod activity;
mod follow;
mod message;
mod read;
mod subtype;
mod tracking;

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, types::Value as Cell};
use triggerbox_model::{error::Error, schema::Model, value::Id};

pub use self::{
    activity::NewActivity,
    message::{Author, Post},
    read::{Tracked, read_messages, read_tracked},
};
pub(crate) use self::{
    message::{Counts, Greeting, responsible, rules_ask_chatter},
    tracking::Tracking,
};
use crate::{
    db::fault,
    ddl::{quote, table},
    names,
    write::{Made, Writer},
};

/// Models whose records hang on another record by `(model, res_id)`, in the order in which they go with it.
pub(crate) const MODELS: [&str; 3] = ["mail.message", "mail.activity", "mail.followers"];

/// Columns of a record of a mail model.
type Cells = Vec<(&'static str, Cell)>;

impl Writer<'_> {
    /// Fails unless the record is there and its model has a chatter.
    pub(crate) fn require_chatter(&self, model: &str, id: Id) -> Result<&Model, Error> {
        let described = self.schema().model(model)?;
        if !described.chatter || !self.schema().models.contains_key("mail.message") {
            return Err(Error::invalid(
                "no-chatter",
                format!("records of `{model}` have no chatter: nothing can be posted on them"),
            ));
        }
        self.require_records(model, &[id])?;
        Ok(described)
    }

    /// Adds a record of a mail model; fields that the schema does not have are left out.
    fn add_record(&mut self, model: &str, cells: Cells) -> Result<Id, Error> {
        let described = self.schema().model(model)?;
        let id = self.add_row(described, self.new_row(described, cells))?;
        self.insert_rows(described, &[id])?;
        Ok(id)
    }

    /// Adds records of a mail model that hang on others: the same on each of those that stand with it.
    fn add_on(&mut self, model: &str, list: Vec<(Cells, &[Id])>) -> Result<Vec<Id>, Error> {
        let described = self.schema().model(model)?;
        let count = list.iter().map(|(_, owners)| owners.len()).sum();
        let mut ids = Vec::with_capacity(count);
        self.log.reserve(count);
        for (cells, owners) in list {
            let same = self.new_row(described, cells);
            for owner in owners {
                let mut row = same.clone();
                row.set(described, "res_id", link(*owner));
                ids.push(self.add_row(described, row)?);
            }
        }
        self.insert_rows(described, &ids)?;
        Ok(ids)
    }

    fn new_row(&self, model: &Model, cells: Cells) -> Made {
        let set = cells.into_iter().filter(|(_, cell)| *cell != Cell::Null);
        Made::of(model, set.chain(self.log_columns(model, true)))
    }

    /// Tells the log of a new record, whose row is to be added.
    fn add_row(&mut self, model: &Model, row: Made) -> Result<Id, Error> {
        let id = self.place.new_id(self.conn, &model.name)?;
        self.log.created(&model.name, id, row);
        Ok(id)
    }

    /// Adds pairs to a many2many field of a record that has none yet.
    pub(crate) fn add_pairs(&mut self, model: &str, field: &str, id: Id, others: &[Id]) -> Result<(), Error> {
        self.add_all_pairs(model, field, &[id], others)
    }

    /// Adds the same to a many2many field of records that have none yet.
    fn add_all_pairs(&mut self, model: &str, field: &str, ids: &[Id], others: &[Id]) -> Result<(), Error> {
        let Some(pairs) = self.schema().model(model)?.fields.get(field).and_then(|field| field.m2m.as_ref()) else {
            return Ok(());
        };
        if others.is_empty() {
            return Ok(());
        }
        let others: BTreeSet<Id> = others.iter().copied().collect();
        let mut added = Vec::with_capacity(ids.len() * others.len());
        for id in ids {
            self.log.ids(model, *id, field, &[], Some(others.iter().copied().collect()));
            self.place.touch_table(self.conn, &pairs.table)?;
            added.extend(others.iter().map(|other| [*id, *other]));
        }
        self.insert_pairs(pairs, &added)
    }

    /// What people call a record; empty for none.
    pub(crate) fn name_of(&self, model: &str, id: Id) -> Result<String, Error> {
        if let Some(known) = self.memo.borrow().name(model, id) {
            return Ok(known);
        }
        let name = names::display_name(self.conn, self.env, model, id)?;
        if names::is_own(self.schema(), model) {
            self.memo.borrow_mut().keep_name(model, id, &name);
        }
        Ok(name)
    }

    /// The record behind an external id.
    pub(crate) fn xmlid(&self, xmlid: &str) -> Result<Option<Id>, Error> {
        if let Some(known) = self.memo.borrow().id("", xmlid) {
            return Ok(known);
        }
        let mut statement = self.conn.prepare_cached("SELECT id FROM tb_xmlid WHERE xmlid = ?1").map_err(fault)?;
        let found = statement.query_row([xmlid], |row| row.get(0)).optional().map_err(fault)?;
        self.memo.borrow_mut().keep_id("", xmlid, found);
        Ok(found)
    }

    /// The id under which tracking values refer to a field.
    fn field_id(&mut self, model: &str, field: &str) -> Result<Id, Error> {
        let question = format!("{model}.{field}");
        let known = self.memo.borrow().id("tb_field", &question);
        let found = match known {
            Some(known) => known,
            None => {
                let sql = "SELECT id FROM tb_field WHERE model = ?1 AND name = ?2";
                let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
                statement.query_row([model, field], |row| row.get(0)).optional().map_err(fault)?
            }
        };
        if let Some(id) = found {
            self.memo.get_mut().keep_id("tb_field", &question, found);
            return Ok(id);
        }
        self.place.touch_table(self.conn, "tb_field")?;
        let id: Id = self
            .conn
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM tb_field", [], |row| row.get(0))
            .map_err(fault)?;
        self.conn
            .execute("INSERT INTO tb_field (id, model, name) VALUES (?1, ?2, ?3)", (id, model, field))
            .map_err(fault)?;
        Ok(id)
    }

    /// Ids of the rows of a mail model that hang on a record.
    fn hanging(&self, model: &str, owner: &str, id: Id) -> Result<Vec<Id>, Error> {
        let Some(described) = self.schema().models.get(model) else { return Ok(Vec::new()) };
        let Some(column) = described.model_column() else { return Ok(Vec::new()) };
        self.searched(model)?;
        let sql =
            format!("SELECT id FROM {} WHERE {} = ?1 AND res_id = ?2 ORDER BY id", quote(&table(model)), quote(column));
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let rows = statement.query_map((owner, id), |row| row.get(0)).map_err(fault)?;
        rows.collect::<Result<_, _>>().map_err(fault)
    }
}

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

fn link(id: Id) -> Cell {
    Cell::Integer(i64::from(id))
}

fn link_or_null(id: Option<Id>) -> Cell {
    id.map_or(Cell::Null, link)
}

/// Models whose changes say nothing by themselves.
pub(crate) fn is_plumbing(model: &str) -> bool {
    matches!(model, "mail.tracking.value" | "mail.message" | "mail.followers" | "ir.attachment")
}

/// The subtype of internal notes.
pub(crate) fn note_subtype(conn: &rusqlite::Connection) -> Result<Option<Id>, Error> {
    let mut statement = conn.prepare_cached("SELECT id FROM tb_xmlid WHERE xmlid = ?1").map_err(fault)?;
    statement.query_row([subtype::NOTE], |row| row.get(0)).optional().map_err(fault)
}
