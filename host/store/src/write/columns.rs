//! Reading and writing single rows by column.

use std::collections::{HashMap, hash_map::Entry};

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value as Cell};
use triggerbox_model::{error::Error, schema::Model, value::Id};

use super::Row;
use crate::{
    db::fault,
    ddl::{push_quoted, push_table, quote, table},
};

/// One column of one record; none: there is no such record.
pub(super) fn cell(conn: &Connection, model: &str, column: &str, id: Id) -> Result<Option<Cell>, Error> {
    let mut statement = conn.prepare_cached(&by_id(model, [column])).map_err(fault)?;
    statement.query_row([id], |row| row.get(0)).optional().map_err(fault)
}

/// The query for columns of one record.
fn by_id<'c>(model: &str, columns: impl IntoIterator<Item = &'c str>) -> String {
    let mut sql = String::with_capacity(256);
    for column in columns {
        sql.push_str(if sql.is_empty() { "SELECT " } else { ", " });
        push_quoted(&mut sql, column);
    }
    sql.push_str(" FROM ");
    push_table(&mut sql, model);
    sql.push_str(" WHERE id = ?1");
    sql
}

/// Some columns of one record; none: there is no such record.
pub(super) fn row(conn: &Connection, model: &str, columns: &[&str], id: Id) -> Result<Option<Row>, Error> {
    let sql = by_id(model, std::iter::once("id").chain(columns.iter().copied()));
    let mut statement = conn.prepare_cached(&sql).map_err(fault)?;
    let read = |found: &rusqlite::Row<'_>| {
        let mut row = Row::new();
        for (index, column) in columns.iter().enumerate() {
            row.insert((*column).to_owned(), found.get(index + 1)?);
        }
        Ok(row)
    };
    statement.query_row([id], read).optional().map_err(fault)
}

/// All columns of one record that hold fields.
pub(super) fn whole_row(conn: &Connection, model: &Model, id: Id) -> Result<Option<Row>, Error> {
    let columns: Vec<&str> =
        model.fields.iter().filter(|(_, field)| field.has_column()).map(|(name, _)| name.as_str()).collect();
    row(conn, &model.name, &columns, id)
}

/// The SQL that writes rows, by table, kept for the rows to come: those that are written together mostly have the same
/// columns.
#[derive(Debug, Default)]
pub(super) struct Texts {
    inserts: HashMap<String, Text, RandomState>,
    updates: HashMap<String, Text, RandomState>,
}

#[derive(Debug)]
struct Text {
    columns: Vec<String>,
    sql: String,
}

impl Texts {
    /// Adds a row. `table`: as SQL takes it.
    pub(super) fn insert(&mut self, conn: &Connection, table: &str, id: Id, row: &Row) -> Result<(), Error> {
        let id = Cell::Integer(i64::from(id));
        execute(conn, text(&mut self.inserts, table, row, insert), std::iter::once(&id).chain(row.values()))
    }

    /// Changes columns of a row. `table`: as SQL takes it.
    pub(super) fn update(&mut self, conn: &Connection, table: &str, id: Id, row: &Row) -> Result<(), Error> {
        let id = Cell::Integer(i64::from(id));
        execute(conn, text(&mut self.updates, table, row, update), row.values().chain(std::iter::once(&id)))
    }
}

fn text<'t>(
    texts: &'t mut HashMap<String, Text, RandomState>,
    table: &str,
    row: &Row,
    write: impl FnOnce(&str, &Row) -> String,
) -> &'t str {
    let made = || Text { columns: row.keys().cloned().collect(), sql: write(table, row) };
    match texts.entry(table.to_owned()) {
        Entry::Occupied(known) => {
            let known = known.into_mut();
            if !known.columns.iter().eq(row.keys()) {
                *known = made();
            }
            &known.sql
        }
        Entry::Vacant(place) => &place.insert(made()).sql,
    }
}

fn insert(table: &str, row: &Row) -> String {
    let mut sql = format!("INSERT INTO {table} (id");
    for column in row.keys() {
        sql.push_str(", ");
        sql.push_str(&quote(column));
    }
    sql.push_str(") VALUES (?");
    sql.push_str(&", ?".repeat(row.len()));
    sql.push(')');
    sql
}

fn update(table: &str, row: &Row) -> String {
    let columns: Vec<String> = row.keys().map(|column| format!("{} = ?", quote(column))).collect();
    format!("UPDATE {table} SET {} WHERE id = ?", columns.join(", "))
}

fn execute<'c>(conn: &Connection, sql: &str, cells: impl Iterator<Item = &'c Cell>) -> Result<(), Error> {
    let mut statement = conn.prepare_cached(sql).map_err(fault)?;
    statement.execute(params_from_iter(cells)).map_err(fault)?;
    Ok(())
}

/// Those of the ids that are records.
pub(super) fn existing(conn: &Connection, model: &str, wanted: &[Id]) -> Result<Vec<Id>, Error> {
    let sql = format!("SELECT id FROM {} WHERE id IN (SELECT value FROM json_each(?1))", quote(&table(model)));
    let list = serde_json::Value::from(wanted).to_string();
    let mut statement = conn.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map([list], |row| row.get(0)).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// Ids of the records of a model whose column holds a value, in order.
pub(super) fn ids_where(conn: &Connection, model: &str, column: &str, value: Id) -> Result<Vec<Id>, Error> {
    let sql = format!("SELECT id FROM {} WHERE {} = ?1 ORDER BY id", quote(&table(model)), quote(column));
    ids(conn, &sql, value)
}

/// Runs a query with one parameter that gives ids.
pub(super) fn ids(conn: &Connection, sql: &str, parameter: Id) -> Result<Vec<Id>, Error> {
    let mut statement = conn.prepare_cached(sql).map_err(fault)?;
    let rows = statement.query_map([parameter], |row| row.get(0)).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}
