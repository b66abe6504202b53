//! A run's view of the database: what it has staged lies over what is committed.
//!
//! The first change of a table puts three things into the connection's temporary schema: a table of rows that are
//! new or changed, a table of the keys that no longer count, and a view of the table's own name that joins them with
//! the committed rows. Unqualified names find the view first, and triggers on it take the writes: the very same
//! queries and the very same writing functions then work on staged and on committed records.
//!
//! All of it is made inside the read transaction of the run, and is gone when that is rolled back.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

use rusqlite::Connection;
use triggerbox_model::{
    error::Error,
    value::{FIRST_PROVISIONAL_ID, Id, is_provisional},
};

use crate::{db::fault, ddl::quote, write};

/// Which tables are shadowed, and which provisional ids are given out.
#[derive(Debug, Default)]
pub struct Overlay {
    tables: BTreeMap<String, Shadowed>,
    next: BTreeMap<String, Id>,
}

/// A shadowed table.
#[derive(Debug, Default)]
struct Shadowed {
    /// How often it was written.
    writes: u32,
    /// Its staged rows have the indexes that the committed ones have.
    is_indexed: AtomicBool,
}

impl Overlay {
    /// A new record's id: good in this run only.
    pub(crate) fn new_id(&mut self, model: &str) -> Id {
        write::next_provisional(&mut self.next, model)
    }

    /// Whether this run has given out a number as an id.
    #[must_use]
    pub fn gave_out(&self, id: Id) -> bool {
        id >= FIRST_PROVISIONAL_ID && self.next.values().any(|next| id < *next)
    }

    /// The next provisional id of each model that has given out any.
    pub(crate) fn numbering(&self) -> &BTreeMap<String, Id> {
        &self.next
    }

    /// New records of a model have ids from this one on, if they do not have higher ones anyway.
    pub(crate) fn number_from(&mut self, model: &str, next: Id) {
        write::number_from(&mut self.next, model, next);
    }

    /// Whether nothing is staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Shadows a table, if it is not yet.
    pub(crate) fn touch(&mut self, conn: &Connection, table: &str) -> Result<(), Error> {
        match self.tables.get_mut(table) {
            Some(known) => known.writes = known.writes.saturating_add(1),
            None => {
                shadow(conn, table).map_err(fault)?;
                self.tables.insert(table.to_owned(), Shadowed::default());
            }
        }
        Ok(())
    }

    /// A table is about to be searched, or any: where many rows are staged, they get the indexes that the committed ones
    /// have. Most runs change a few records, and many are never searched.
    pub(crate) fn index(&self, conn: &Connection, table: Option<&str>) -> Result<(), Error> {
        for (name, known) in &self.tables {
            let is_meant = table.is_none_or(|table| table == name);
            if is_meant && known.writes >= INDEX_FROM && !known.is_indexed.swap(true, Ordering::Relaxed) {
                index(conn, name).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Takes everything staged away, and forgets which ids were given out.
    pub(crate) fn clear(&mut self, conn: &Connection) -> Result<(), Error> {
        for table in std::mem::take(self).tables.keys() {
            let (view, new, gone) = (quote(table), quote(&format!("{table}$new")), quote(&format!("{table}$gone")));
            let sql = format!("DROP VIEW temp.{view}; DROP TABLE temp.{new}; DROP TABLE temp.{gone};");
            conn.execute_batch(&sql).map_err(fault)?;
        }
        Ok(())
    }

    /// After a savepoint was rolled back: tables that were shadowed within it no longer are.
    pub(crate) fn look_again(&mut self, conn: &Connection) -> Result<(), Error> {
        let mut statement =
            conn.prepare_cached("SELECT name FROM sqlite_temp_schema WHERE type = 'view'").map_err(fault)?;
        let names = statement.query_map([], |row| row.get(0)).map_err(fault)?;
        let names: HashSet<String> = names.collect::<Result<_, _>>().map_err(fault)?;
        self.tables.retain(|name, known| {
            // So may their indexes.
            *known.is_indexed.get_mut() = false;
            names.contains(name)
        });
        Ok(())
    }
}

/// Writes of a table from which on its staged rows are not searched without indexes.
const INDEX_FROM: u32 = 64;

/// The table of a run's own rows, as SQL takes it. Whoever writes a row by its id writes it there; the triggers of the
/// view are for statements about other rows.
pub(crate) fn own_rows(table: &str) -> String {
    format!("temp.{}", quote(&format!("{table}$new")))
}

/// Copies a committed record to the run's own rows, if it is not there yet.
pub(crate) fn take_over(conn: &Connection, table: &str, id: Id) -> rusqlite::Result<()> {
    if is_provisional(id) {
        return Ok(());
    }
    let gone = quote(&format!("{table}$gone"));
    let is_new =
        conn.prepare_cached(&format!("INSERT OR IGNORE INTO temp.{gone} (id) VALUES (?1)"))?.execute([id])? > 0;
    if is_new {
        let sql = format!("INSERT INTO {} SELECT * FROM main.{} WHERE id = ?1", own_rows(table), quote(table));
        conn.prepare_cached(&sql)?.execute([id])?;
    }
    Ok(())
}

/// Gives the staged rows of a table the indexes of the committed ones.
fn index(conn: &Connection, table: &str) -> rusqlite::Result<()> {
    let sql = "SELECT name, sql FROM main.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL";
    let mut statement = conn.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let indexes: Vec<(String, String)> = statement.query_map([table], read)?.collect::<Result<_, _>>()?;
    let staged = quote(&format!("{table}$new"));
    for (name, sql) in indexes {
        // What uniqueness says is asked before a row is written.
        let Some((_, columns)) = sql.split_once(&format!(" ON {} ", quote(table))) else { continue };
        let name = quote(&format!("{name}$new"));
        conn.execute(&format!("CREATE INDEX IF NOT EXISTS temp.{name} ON {staged} {columns}"), [])?;
    }
    Ok(())
}

/// Makes the view of a table, and what it is made of.
fn shadow(conn: &Connection, table: &str) -> rusqlite::Result<()> {
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut keys: Vec<(i64, String, String)> = Vec::new();
    {
        let mut statement =
            conn.prepare_cached("SELECT name, type, pk FROM pragma_table_info(?1, 'main') ORDER BY cid")?;
        let mut rows = statement.query([table])?;
        while let Some(row) = rows.next()? {
            let (name, kind, key): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if key > 0 {
                keys.push((key, name.clone(), kind.clone()));
            }
            columns.push((name, kind));
        }
    }
    keys.sort();
    let list = |prefix: &str| {
        columns.iter().map(|(name, _)| format!("{prefix}{}", quote(name))).collect::<Vec<_>>().join(", ")
    };
    let typed = columns.iter().map(|(name, kind)| format!("{} {kind}", quote(name))).collect::<Vec<_>>().join(", ");
    let key_list = |prefix: &str| {
        keys.iter().map(|(_, name, _)| format!("{prefix}{}", quote(name))).collect::<Vec<_>>().join(", ")
    };
    let key_typed = keys.iter().map(|(_, name, kind)| format!("{} {kind}", quote(name))).collect::<Vec<_>>().join(", ");
    let same_key =
        keys.iter().map(|(_, name, _)| format!("{0} IS old.{0}", quote(name))).collect::<Vec<_>>().join(" AND ");
    let (view, new, gone) = (quote(table), quote(&format!("{table}$new")), quote(&format!("{table}$gone")));
    let hidden = match keys.as_slice() {
        [(_, key, _)] => format!("{} NOT IN (SELECT {} FROM temp.{gone})", quote(key), quote(key)),
        _ => {
            let matches = keys.iter().map(|(_, name, _)| format!("g.{0} = m.{0}", quote(name))).collect::<Vec<_>>();
            format!("NOT EXISTS (SELECT 1 FROM temp.{gone} g WHERE {})", matches.join(" AND "))
        }
    };
    let sql = format!(
        "CREATE TEMP TABLE {new} ({typed}, PRIMARY KEY ({keys}));
         CREATE TEMP TABLE {gone} ({key_typed}, PRIMARY KEY ({keys}));
         CREATE TEMP VIEW {view} AS SELECT {all} FROM main.{view} m WHERE {hidden} UNION ALL SELECT {all} FROM temp.{new};
         CREATE TEMP TRIGGER {on_insert} INSTEAD OF INSERT ON {view} BEGIN
           INSERT INTO {new} ({all}) VALUES ({all_new});
         END;
         CREATE TEMP TRIGGER {on_update} INSTEAD OF UPDATE ON {view} BEGIN
           INSERT OR IGNORE INTO {gone} ({keys}) VALUES ({keys_old});
           DELETE FROM {new} WHERE {same_key};
           INSERT INTO {new} ({all}) VALUES ({all_new});
         END;
         CREATE TEMP TRIGGER {on_delete} INSTEAD OF DELETE ON {view} BEGIN
           INSERT OR IGNORE INTO {gone} ({keys}) VALUES ({keys_old});
           DELETE FROM {new} WHERE {same_key};
         END;",
        keys = key_list(""),
        keys_old = key_list("old."),
        all = list(""),
        all_new = list("new."),
        on_insert = quote(&format!("{table}$insert")),
        on_update = quote(&format!("{table}$update")),
        on_delete = quote(&format!("{table}$delete")),
    );
    conn.execute_batch(&sql)
}
