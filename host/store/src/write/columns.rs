//! Reading and writing single rows by column.

use std::{borrow::Borrow, collections::HashMap, fmt};

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params_from_iter, types::Value as Cell};
use triggerbox_model::{
    error::{Error, ErrorKind},
    schema::{Model, RelationTable},
    value::Id,
};

use super::{
    Row,
    made::{Column, Made},
};
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
pub(super) fn row(conn: &Connection, model: &str, columns: &[&str], id: Id) -> Result<Option<Row<'static>>, Error> {
    let cells = read(conn, model, columns, id)?;
    Ok(cells.map(|cells| columns.iter().map(|column| (*column).to_owned()).zip(cells).collect()))
}

fn read(conn: &Connection, model: &str, columns: &[&str], id: Id) -> Result<Option<Vec<Cell>>, Error> {
    let sql = by_id(model, std::iter::once("id").chain(columns.iter().copied()));
    let mut statement = conn.prepare_cached(&sql).map_err(fault)?;
    cells(&mut statement, columns.len(), id)
}

/// What a query by [`by_id`] for the id and so many columns says of a record.
fn cells(statement: &mut CachedStatement<'_>, columns: usize, id: Id) -> Result<Option<Vec<Cell>>, Error> {
    let read = |found: &rusqlite::Row<'_>| (1..=columns).map(|index| found.get(index)).collect();
    statement.query_row([id], read).optional().map_err(fault)
}

/// All columns of one record that hold fields.
pub(super) fn whole_row<'m>(conn: &Connection, model: &'m Model, id: Id) -> Result<Option<Row<'m>>, Error> {
    let columns: Vec<&str> =
        model.fields.iter().filter(|(_, field)| field.has_column()).map(|(name, _)| name.as_str()).collect();
    let cells = read(conn, &model.name, &columns, id)?;
    Ok(cells.map(|cells| columns.into_iter().zip(cells).collect()))
}

/// Statements that read and write rows, kept at hand for the rows to come: those that are written together mostly have the
/// same columns.
#[derive(Default)]
pub(super) struct Statements<'c> {
    reads: Named<'c, String>,
    inserts: Named<'c, Column>,
    /// Of several rows each.
    bulk: Named<'c, Column>,
    updates: Named<'c, String>,
    pairs: Named<'c, String>,
    bulk_pairs: Named<'c, String>,
}

/// Values that one statement binds at most, where it can be told.
const MOST_VALUES: usize = 960;

/// By model or table, the latest.
type Named<'c, C> = HashMap<String, Ready<'c, C>, RandomState>;

struct Ready<'c, C> {
    columns: Vec<C>,
    statement: CachedStatement<'c>,
}

impl fmt::Debug for Statements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").finish_non_exhaustive()
    }
}

impl<'c> Statements<'c> {
    /// Some columns of one record, in order; none: there is no such record.
    pub(super) fn read(
        &mut self,
        conn: &'c Connection,
        model: &str,
        columns: &[&str],
        id: Id,
    ) -> Result<Option<Vec<Cell>>, Error> {
        let names = || columns.iter().copied();
        let statement =
            ready(&mut self.reads, conn, model, names(), || by_id(model, std::iter::once("id").chain(names())))?;
        cells(statement, columns.len(), id)
    }

    /// Adds rows, many at once where they have the same columns. `table`: as SQL takes it.
    pub(super) fn insert_all(
        &mut self,
        conn: &'c Connection,
        model: &Model,
        table: impl Fn() -> String,
        rows: &[(Id, &Made)],
    ) -> Result<(), Error> {
        for alike in rows.chunk_by(|(_, one), (_, other)| one.columns().eq(other.columns())) {
            let Some((_, first)) = alike.first() else { continue };
            let bulk = alike.chunks_exact((MOST_VALUES / (first.len() + 1)).max(1));
            let rest = bulk.remainder().chunks(1).map(|one| (one, false));
            for (rows, is_bulk) in bulk.map(|many| (many, true)).chain(rest) {
                let named = if is_bulk { &mut self.bulk } else { &mut self.inserts };
                let sql = || {
                    let names = first.columns().filter_map(|column| column.name(model));
                    insert(&table(), std::iter::once("id".to_owned()).chain(names), rows.len())
                };
                let statement = ready(named, conn, &model.name, first.columns(), sql)?;
                let ids: Vec<Cell> = rows.iter().map(|(id, _)| Cell::Integer(i64::from(*id))).collect();
                let cells = ids.iter().zip(rows).flat_map(|(id, (_, row))| std::iter::once(id).chain(row.cells()));
                statement.execute(params_from_iter(cells)).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Changes columns of a row. `table`: as SQL takes it.
    pub(super) fn update(
        &mut self,
        conn: &'c Connection,
        model: &str,
        table: impl FnOnce() -> String,
        id: Id,
        row: &Row<'_>,
    ) -> Result<(), Error> {
        let names = || row.keys();
        let statement = ready(&mut self.updates, conn, model, names(), || update(&table(), names()))?;
        let id = Cell::Integer(i64::from(id));
        statement.execute(params_from_iter(row.values().chain(std::iter::once(&id)))).map_err(fault)?;
        Ok(())
    }

    /// Adds pairs to a table of pairs, many at once.
    pub(super) fn pairs(
        &mut self,
        conn: &'c Connection,
        pairs: &RelationTable,
        added: &[[Id; 2]],
    ) -> Result<(), Error> {
        let names = || [pairs.column1.as_str(), pairs.column2.as_str()].into_iter();
        let bulk = added.chunks_exact(MOST_VALUES / 2);
        let rest = bulk.remainder().chunks(1).map(|one| (one, false));
        for (added, is_bulk) in bulk.map(|many| (many, true)).chain(rest) {
            let named = if is_bulk { &mut self.bulk_pairs } else { &mut self.pairs };
            let sql = || insert(&quote(&pairs.table), names(), added.len());
            let statement = ready(named, conn, &pairs.table, names(), sql)?;
            statement.execute(params_from_iter(added.as_flattened())).map_err(fault)?;
        }
        Ok(())
    }
}

/// The statement for these columns.
fn ready<'s, 'c, 'n, C: ToOwned + PartialEq + ?Sized + 'n>(
    named: &'s mut Named<'c, C::Owned>,
    conn: &'c Connection,
    name: &str,
    columns: impl Iterator<Item = &'n C> + Clone,
    sql: impl FnOnce() -> String,
) -> Result<&'s mut CachedStatement<'c>, Error> {
    let known = named.get(name).is_some_and(|ready| ready.columns.iter().map(Borrow::borrow).eq(columns.clone()));
    if !known {
        // The one before goes back first: it may be the same.
        named.remove(name);
        let statement = conn.prepare_cached(&sql()).map_err(fault)?;
        named.insert(name.to_owned(), Ready { columns: columns.map(ToOwned::to_owned).collect(), statement });
    }
    let ready = named.get_mut(name).map(|ready| &mut ready.statement);
    ready.ok_or_else(|| Error::new(ErrorKind::Other, "database", "a statement was not kept"))
}

fn insert(table: &str, columns: impl Iterator<Item = impl AsRef<str>>, rows: usize) -> String {
    let columns: Vec<String> = columns.map(|column| quote(column.as_ref())).collect();
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    // Whoever calls undoes everything that was done before a failure: SQLite need not keep what this statement changes.
    format!("INSERT OR FAIL INTO {table} ({}) VALUES {}", columns.join(", "), vec![row; rows].join(", "))
}

fn update<'n>(table: &str, columns: impl Iterator<Item = &'n str>) -> String {
    let columns: Vec<String> = columns.map(|column| format!("{} = ?", quote(column))).collect();
    format!("UPDATE {table} SET {} WHERE id = ?", columns.join(", "))
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
