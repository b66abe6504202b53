//! Stored values of records, for judging domains in memory.

use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use triggerbox_model::{
    domain::{
        eval::Records,
        filter::{Cell, Link, LinkStorage},
    },
    error::Error,
    value::Id,
};

use super::fault;
use crate::ddl::{quote, table, translations_column};

/// The records of a database, as the connection sees them.
pub struct Stored<'c>(pub &'c Connection);

impl Stored<'_> {
    fn ids(&self, sql: &str, id: Option<Id>) -> Result<Vec<Id>, Error> {
        let mut statement = self.0.prepare_cached(sql).map_err(fault)?;
        let rows = statement.query_map(rusqlite::params_from_iter(id), |row| row.get(0)).map_err(fault)?;
        rows.collect::<Result<_, _>>().map_err(fault)
    }
}

impl Records for Stored<'_> {
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error> {
        let sql = format!("SELECT {} FROM {} WHERE \"id\" = ?1", quote(column), quote(&table(model)));
        let mut statement = self.0.prepare_cached(&sql).map_err(fault)?;
        let cell = statement
            .query_row([id], |row| {
                Ok(match row.get_ref(0)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(number) => Cell::Integer(number),
                    ValueRef::Real(number) => Cell::Real(number),
                    ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                    // Binaries are only ever asked whether they are set.
                    ValueRef::Blob(_) => Cell::text("binary"),
                })
            })
            .optional()
            .map_err(fault)?;
        Ok(cell.unwrap_or(Cell::Null))
    }

    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error> {
        let sql = format!(
            "SELECT json_extract({}, ?2) FROM {} WHERE \"id\" = ?1",
            quote(&translations_column(column)),
            quote(&table(model))
        );
        let mut statement = self.0.prepare_cached(&sql).map_err(fault)?;
        let text = statement
            .query_row(rusqlite::params![id, format!("$.\"{lang}\"")], |row| row.get::<_, Option<String>>(0))
            .optional()
            .map_err(fault)?;
        Ok(text.flatten())
    }

    fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        let sql = format!("SELECT 1 FROM {} WHERE \"id\" = ?1", quote(&table(model)));
        self.0.prepare_cached(&sql).and_then(|mut statement| statement.exists([id])).map_err(fault)
    }

    fn all(&self, model: &str) -> Result<Vec<Id>, Error> {
        self.ids(&format!("SELECT \"id\" FROM {} ORDER BY \"id\"", quote(&table(model))), None)
    }

    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
        let sql = match &link.storage {
            LinkStorage::Many2one => {
                let column = quote(&link.field);
                format!("SELECT {column} FROM {} WHERE \"id\" = ?1 AND {column} IS NOT NULL", quote(&table(model)))
            }
            LinkStorage::One2many(inverse) => {
                format!("SELECT \"id\" FROM {} WHERE {} = ?1", quote(&table(&link.model)), quote(inverse))
            }
            LinkStorage::Many2many(pairs, own, theirs) => {
                format!("SELECT {} FROM {} WHERE {} = ?1", quote(theirs), quote(pairs), quote(own))
            }
        };
        self.ids(&sql, Some(id))
    }
}
