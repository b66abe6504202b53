//! One2many and many2many fields: their commands, and the tables of pairs.

use indexmap::IndexSet;
use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    call::Operation,
    error::Error,
    schema::{Field, FieldKind, Model, RelationTable},
    value::{Id, RecordRef, Value},
};

use super::{Command, Input, Values, Writer, columns, values};
use crate::{
    db::fault,
    ddl::{quote, table},
};

/// Ids on the other side of a table of pairs, in order.
pub(crate) fn linked(conn: &Connection, pairs: &RelationTable, id: Id) -> Result<Vec<Id>, Error> {
    let sql = format!(
        "SELECT {two} FROM {table} WHERE {one} = ?1 ORDER BY {two}",
        table = quote(&pairs.table),
        one = quote(&pairs.column1),
        two = quote(&pairs.column2)
    );
    columns::ids(conn, &sql, id)
}

impl Writer<'_> {
    /// The commands behind what a caller gave for an x2many field.
    pub(super) fn commands(model: &Model, name: &str, input: Input) -> Result<Vec<Command>, Error> {
        match input {
            Input::Commands(commands) => Ok(commands),
            Input::Value(Value::Unset) => Ok(vec![Command::Clear]),
            Input::Value(Value::Ids(ids)) => Ok(vec![Command::Replace(ids)]),
            Input::Value(other) => {
                let message = format!(
                    "wrong value for `{name}` of `{}`: it is a list of records, not {}",
                    model.name,
                    other.kind_name()
                );
                Err(Error::invalid("wrong-type", message).with_field(name))
            }
        }
    }

    /// Applies commands to one x2many field of one record.
    pub(crate) fn relate(
        &mut self,
        model: &Model,
        id: Id,
        name: &str,
        field: &Field,
        commands: Vec<Command>,
    ) -> Result<(), Error> {
        if !field.store {
            return Err(Error::invalid(
                "not-writable",
                format!("`{name}` of `{}` is computed and cannot be written", model.name),
            )
            .with_field(name));
        }
        match field.kind {
            FieldKind::Many2many => self.relate_many2many(model, id, name, field, commands),
            _ => self.relate_one2many(model, id, name, field, commands),
        }
    }

    fn relate_many2many(
        &mut self,
        model: &Model,
        id: Id,
        name: &str,
        field: &Field,
        commands: Vec<Command>,
    ) -> Result<(), Error> {
        let related = self.schema().model(field.relation.as_deref().unwrap_or_default())?;
        let Some(pairs) = field.m2m.as_ref() else { return Ok(()) };
        let before = linked(self.conn, pairs, id)?;
        // In the order in which they are told of: as they are read, and what is linked last at the end.
        let known = self.tracked_order(model, id, name, field, &before)?;
        let mut after: IndexSet<Id> = known.iter().copied().collect();
        for command in commands {
            match command {
                Command::Link(other) => drop(after.insert(other)),
                Command::Unlink(other) => drop(after.shift_remove(&other)),
                Command::Clear => after = self.unseen(related, &after)?,
                Command::Replace(others) => {
                    let unseen = self.unseen(related, &after)?;
                    after = others.into_iter().chain(unseen).collect();
                }
                Command::Create(values) => after.extend(self.create_many(&related.name, vec![values])?),
                Command::Update(other, values) => self.write_many(&related.name, &[other], values)?,
                Command::Delete(other) => {
                    self.unlink_many(&related.name, &[other])?;
                    after.shift_remove(&other);
                }
            }
        }
        // Deleting a related record has taken its pairs out already.
        let now = linked(self.conn, pairs, id)?;
        let added: Vec<Id> = after.iter().copied().filter(|other| !now.contains(other)).collect();
        let removed: Vec<Id> = now.iter().copied().filter(|other| !after.contains(other)).collect();
        if added.is_empty() && removed.is_empty() && before == now {
            return Ok(());
        }
        self.require_records(&related.name, &added)?;
        if !added.is_empty() {
            // One links only to models that one may read.
            self.check_operation(related, Operation::Read, &[])?;
        }
        self.log.ids(&model.name, id, name, &before, None);
        self.track_ids(model, id, name, field, &known, after.into_iter().collect());
        self.place.touch_table(self.conn, &pairs.table)?;
        let (table, one, two) = (quote(&pairs.table), quote(&pairs.column1), quote(&pairs.column2));
        let added: Vec<[Id; 2]> = added.into_iter().map(|other| [id, other]).collect();
        self.insert_pairs(pairs, &added)?;
        for other in removed {
            let sql = format!("DELETE FROM {table} WHERE {one} = ?1 AND {two} = ?2");
            self.conn.prepare_cached(&sql).map_err(fault)?.execute([id, other]).map_err(fault)?;
        }
        self.modified(&model.name, id, &[name])
    }

    /// Linked records that are archived, which a new list of those that are seen says nothing of.
    fn unseen(&self, related: &Model, linked: &IndexSet<Id>) -> Result<IndexSet<Id>, Error> {
        // Lists of users show everybody.
        let Some(active) =
            related.active_name.as_deref().filter(|active| related.has_column(active) && related.name != "res.users")
        else {
            return Ok(IndexSet::new());
        };
        let mut unseen = IndexSet::new();
        if self.env.active_test {
            for id in linked {
                if matches!(self.cell(&related.name, active, *id)?, Some(Cell::Integer(0))) {
                    unseen.insert(*id);
                }
            }
        }
        Ok(unseen)
    }

    fn relate_one2many(
        &mut self,
        model: &Model,
        id: Id,
        name: &str,
        field: &Field,
        commands: Vec<Command>,
    ) -> Result<(), Error> {
        let related = self.schema().model(field.relation.as_deref().unwrap_or_default())?;
        let inverse = field.relation_field.as_deref().unwrap_or_default();
        let inverse_field = related.field(inverse)?;
        let belongs = inverse_field.belongs();
        let link = |id: Id| Values::from_iter([(inverse.to_owned(), Input::Value(Value::link(id)))]);
        for command in commands {
            match command {
                Command::Create(mut values) => {
                    values.insert(inverse.to_owned(), Input::Value(Value::link(id)));
                    self.add_model_column(related, model, &mut values);
                    self.create_many(&related.name, vec![values])?;
                }
                Command::Update(line, values) => self.write_many(&related.name, &[line], values)?,
                Command::Delete(line) => self.unlink_many(&related.name, &[line])?,
                Command::Link(line) => {
                    self.require_records(&related.name, &[line])?;
                    self.write_many(&related.name, &[line], link(id))?;
                }
                // Whoever's line it is.
                Command::Unlink(line) => {
                    if self.exists(&related.name, line)? {
                        self.leave(related, inverse, belongs, &[line])?;
                    }
                }
                Command::Clear => {
                    let lines = self.lines(model, id, name)?;
                    self.leave(related, inverse, belongs, &lines)?;
                }
                Command::Replace(lines) => {
                    let leaving: Vec<Id> =
                        self.lines(model, id, name)?.into_iter().filter(|line| !lines.contains(line)).collect();
                    self.leave(related, inverse, belongs, &leaving)?;
                    self.require_records(&related.name, &lines)?;
                    for line in lines {
                        let parent = self.cell(&related.name, inverse, line)?;
                        if parent.as_ref().and_then(values::as_id) != Some(id) {
                            self.write_many(&related.name, &[line], link(id))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// All records of a one2many field, archived ones included.
    pub(super) fn lines(&self, model: &Model, id: Id, name: &str) -> Result<Vec<Id>, Error> {
        let field = model.field(name)?;
        let related = self.schema().model(field.relation.as_deref().unwrap_or_default())?;
        let inverse = field.relation_field.as_deref().unwrap_or_default();
        match related.model_column() {
            Some(column) if inverse == "res_id" => {
                self.searched(&related.name)?;
                let sql = format!(
                    "SELECT id FROM {} WHERE res_id = ?1 AND {} = ?2 ORDER BY id",
                    quote(&table(&related.name)),
                    quote(column)
                );
                let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
                let ids = statement.query_map((id, &model.name), |row| row.get(0)).map_err(fault)?;
                ids.collect::<Result<_, _>>().map_err(fault)
            }
            _ => self.ids_where(&related.name, inverse, id),
        }
    }

    fn leave(&mut self, related: &Model, inverse: &str, belongs: bool, lines: &[Id]) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        if belongs {
            self.left.extend(lines.iter().map(|line| RecordRef::new(&related.name, *line)));
            return self.unlink_many(&related.name, lines);
        }
        self.write_many(&related.name, lines, Values::from_iter([(inverse.to_owned(), Input::Value(Value::Unset))]))
    }

    /// Messages and activities also say which model they belong to.
    fn add_model_column(&self, related: &Model, model: &Model, values: &mut Values) {
        if let Some(column) = related.model_column() {
            values.insert(column.to_owned(), Input::Value(Value::text(&model.name)));
        }
    }

    /// Fails when a many2one names a record that does not exist. A reference may.
    pub(super) fn check_link(&self, model: &Model, name: &str, field: &Field, cell: Cell) -> Result<Cell, Error> {
        let Some(id) = values::as_id(&cell).filter(|_| field.kind == FieldKind::Many2one) else { return Ok(cell) };
        let target = field.relation.as_deref().unwrap_or_default();
        // A relation to a model that is not here cannot be checked.
        if self.schema().models.contains_key(target) && !self.exists(target, id)? {
            let message = format!("`{name}` of `{}` refers to {target} {id}, which does not exist", model.name);
            return Err(Error::not_found("missing-record", message).with_field(name));
        }
        Ok(cell)
    }
}
