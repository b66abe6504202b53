//! Deleting records: what refuses it, what goes with them, what lets go of them.

use std::collections::BTreeSet;

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Operation,
    domain::Domain,
    error::Error,
    schema::{Model, OnDelete},
    value::Id,
};

use super::{Row, Writer, columns, compute::Stale};
use crate::{
    chatter,
    db::fault,
    ddl::{quote, table},
    rights,
};

/// Models whose records are looked at before they are deleted: there, what is gone cannot be deleted once more.
const LOOKED_AT: [&str; 11] = [
    "res.users",
    "crm.team",
    "sale.order",
    "sale.order.line",
    "project.project",
    "project.task.type",
    "project.task",
    "mail.message",
    "mail.tracking.value",
    "mail.activity",
    "mail.followers",
];

impl<'a> Writer<'a> {
    pub(super) fn unlink_many(&mut self, model: &str, ids: &[Id]) -> Result<(), Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            writer.check_operation(described, Operation::Unlink, &[])?;
            if LOOKED_AT.contains(&model) {
                writer.require_records(model, ids)?;
            } else if !writer.env.superuser {
                // What is gone already may be deleted where nobody has to look at it: no rule judges the records.
                let rules = rights::rule_domain(writer.conn, writer.env, model, Operation::Unlink)?;
                if rules != Domain::Always {
                    writer.require_records(model, ids)?;
                }
            }
            writer.check_operation(described, Operation::Unlink, ids)?;
            let ids = &writer.deleted_together(described, ids)?;
            writer.check_known_deletion(described, ids)?;
            writer.check_order_deletion(described, ids)?;
            writer.check_line_deletion(described, ids)?;
            writer.check_activity_deletion(described, ids)?;
            writer.delete_chatter(described, ids)?;
            let orders = writer.orders_of(described, ids)?;
            let stale = writer.delete_rows(described, &ids.iter().copied().collect())?;
            writer.recompute(stale)?;
            orders.into_iter().try_for_each(|order| writer.total_order(order))
        })
    }

    /// Deletes the messages, followers and activities of records.
    fn delete_chatter(&mut self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        for name in chatter::MODELS {
            let Some(described) = self.schema().models.get(name) else { continue };
            let Some(column) = described.model_column() else { continue };
            self.searched(name)?;
            let sql = format!("SELECT id FROM {} WHERE {} = ?1 AND res_id = ?2", quote(&table(name)), quote(column));
            let mut hanging: BTreeSet<Id> = BTreeSet::new();
            for id in ids {
                let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
                let rows = statement.query_map((&model.name, id), |row| row.get(0)).map_err(fault)?;
                for row in rows {
                    hanging.insert(row.map_err(fault)?);
                }
            }
            if !hanging.is_empty() {
                self.delete_rows(described, &hanging)?;
            }
        }
        Ok(())
    }

    /// Deletes rows of a mail model; whoever asks has the right to.
    pub(crate) fn delete_quietly(&mut self, model: &str, ids: &[Id]) -> Result<(), Error> {
        let described = self.schema().model(model)?;
        let stale = self.delete_rows(described, &ids.iter().copied().collect())?;
        self.recompute(stale)
    }

    /// Deletes rows with what the database would delete or empty along with them. Returns what is stale by that.
    fn delete_rows(&mut self, model: &Model, ids: &BTreeSet<Id>) -> Result<Stale<'a>, Error> {
        if self.depth >= super::DEEPEST {
            return Err(Error::rejected(
                "too-deep",
                format!("deleting {} takes too many other records with it", model.name),
            ));
        }
        self.depth += 1;
        let result = self.delete_rows_below(model, ids);
        self.depth -= 1;
        result
    }

    fn delete_rows_below(&mut self, model: &Model, ids: &BTreeSet<Id>) -> Result<Stale<'a>, Error> {
        let mut stale = Stale::new();
        let all: Vec<&str> = model.fields.keys().map(String::as_str).collect();
        for id in ids {
            for (key, holders) in self.dependents(&model.name, *id, &all)? {
                stale.entry(key).or_default().extend(holders);
            }
        }
        let schema = self.schema();
        for other in schema.models.values() {
            for (name, field) in &other.fields {
                let Some(rule) = field.on_delete() else { continue };
                if field.relation.as_deref() == Some(model.name.as_str()) {
                    self.let_go(model, ids, other, (name, rule), &mut stale)?;
                }
            }
        }
        self.tell_last_links(model, ids)?;
        self.delete_pairs(model, ids)?;
        self.touch(model)?;
        self.place.touch_table(self.conn, "tb_xmlid")?;
        // External ids go with the records.
        self.memo.get_mut().forget();
        for id in ids {
            let Some(row) = columns::whole_row(self.conn, model, *id)? else { continue };
            self.log.deleted(&model.name, *id, &row);
            self.tracking.ignore(&model.name, *id);
            let sql = format!("DELETE FROM {} WHERE id = ?1", quote(&table(&model.name)));
            self.conn.prepare_cached(&sql).map_err(fault)?.execute([id]).map_err(fault)?;
            let sql = "DELETE FROM tb_xmlid WHERE model = ?1 AND id = ?2";
            self.conn.prepare_cached(sql).map_err(fault)?.execute((&model.name, id)).map_err(fault)?;
        }
        // What is gone itself needs no new values.
        for ((name, _), holders) in &mut stale {
            if **name == *model.name {
                holders.retain(|id| !ids.contains(id));
            }
        }
        Ok(stale)
    }

    /// What one many2one does when the records it points to are deleted.
    fn let_go(
        &mut self,
        model: &Model,
        ids: &BTreeSet<Id>,
        other: &Model,
        (name, rule): (&str, OnDelete),
        stale: &mut Stale<'a>,
    ) -> Result<(), Error> {
        let mut pointing = BTreeSet::new();
        for id in ids {
            pointing.extend(self.ids_where(&other.name, name, *id)?);
        }
        if other.name == model.name {
            pointing.retain(|id| !ids.contains(id));
        }
        let Some(first) = pointing.first().copied() else { return Ok(()) };
        match rule {
            OnDelete::Restrict => {
                let message = format!(
                    "{} cannot be deleted: {} {first} refers to it by `{name}`{}",
                    model.name,
                    other.name,
                    if pointing.len() > 1 { format!(", and {} more", pointing.len() - 1) } else { String::new() },
                );
                Err(Error::rejected("restricted", message).with_field(name))
            }
            OnDelete::Cascade => {
                for (key, holders) in self.delete_rows(other, &pointing)? {
                    stale.entry(key).or_default().extend(holders);
                }
                Ok(())
            }
            OnDelete::SetNull => {
                self.touch(other)?;
                for id in pointing {
                    let old = self.cell(&other.name, name, id)?.unwrap_or(Cell::Null);
                    self.log.cell(&other.name, id, name, &old);
                    let path = self.tree_path(other, id)?;
                    self.set_columns(other, id, &Row::from([(name.to_owned(), Cell::Null)]))?;
                    if other.parent_name == name {
                        self.place_in_tree(other, id, path)?;
                    }
                    for (key, holders) in self.dependents(&other.name, id, &[name])? {
                        stale.entry(key).or_default().extend(holders);
                    }
                }
                Ok(())
            }
        }
    }

    /// Tells what records were linked to before they go: it is among their last values.
    fn tell_last_links(&mut self, model: &Model, ids: &BTreeSet<Id>) -> Result<(), Error> {
        for (name, field) in model.fields.iter().filter(|(_, field)| field.store && field.m2m.is_some()) {
            for id in ids {
                let linked = super::linked_ids(self.conn, field, *id)?;
                if !linked.is_empty() {
                    self.log.ids(&model.name, *id, name, &linked, None);
                }
            }
        }
        Ok(())
    }

    /// Takes records out of all many2many tables that can hold them.
    fn delete_pairs(&mut self, model: &Model, ids: &BTreeSet<Id>) -> Result<(), Error> {
        let schema = self.schema();
        let mut sides: BTreeSet<(&str, &str)> = BTreeSet::new();
        for other in schema.models.values() {
            for field in other.fields.values().filter(|field| field.store) {
                let Some(pairs) = &field.m2m else { continue };
                if other.name == model.name {
                    sides.insert((&pairs.table, &pairs.column1));
                }
                if field.relation.as_deref() == Some(model.name.as_str()) {
                    sides.insert((&pairs.table, &pairs.column2));
                }
            }
        }
        let mut is_told = false;
        for (pairs, column) in sides {
            self.place.searched(self.conn, Some(pairs))?;
            let some = format!("SELECT 1 FROM {} WHERE {} = ?1 LIMIT 1", quote(pairs), quote(column));
            let delete = format!("DELETE FROM {} WHERE {} = ?1", quote(pairs), quote(column));
            for id in ids {
                if self.conn.prepare_cached(&some).map_err(fault)?.exists([id]).map_err(fault)? {
                    self.place.touch_table(self.conn, pairs)?;
                    // All that was logged is gone through: once, not for each record.
                    if !std::mem::replace(&mut is_told, true) {
                        self.log.pairs_deleted();
                    }
                    self.conn.prepare_cached(&delete).map_err(fault)?.execute([id]).map_err(fault)?;
                }
            }
        }
        Ok(())
    }
}
