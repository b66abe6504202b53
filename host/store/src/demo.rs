//! The demo company: contacts, leads, orders, tasks and invoices, with dates around the day it is made.

use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use triggerbox_model::error::Error;

use crate::{
    db::{Database, DbError},
    load::{DataSet, Record},
    models::{base, parse},
    written::Written,
};

impl Database {
    /// Makes a database with the demo company. The same time gives the same records.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create_demo(path: &Path, now: Timestamp) -> Result<Self, DbError> {
        let data = base().map_err(DbError::Data)?;
        Self::create_filled(path, &data, |conn| fill(conn, &data, now))
    }

    /// The demo company in memory.
    ///
    /// # Errors
    /// As [`Database::in_memory`].
    pub fn demo_in_memory(now: Timestamp) -> Result<Self, DbError> {
        let data = base().map_err(DbError::Data)?;
        Self::in_memory_filled(&data, |conn| fill(conn, &data, now))
    }
}

/// The file: records by model, then posts and activities.
#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    records: IndexMap<String, Vec<Record>>,
}

fn fill(conn: &Connection, data: &DataSet, now: Timestamp) -> Result<(), Error> {
    let written = Written { conn, schema: Arc::new(data.schema.clone()), rights: Arc::new(data.rights.clone()), now };
    let file: File = parse("demo_data.toml", include_str!("../models/demo_data.toml"))?;
    for (kind, records) in file.records {
        records.into_iter().try_for_each(|record| written.add(&kind, record))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_cannot_be_finished_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.db");
        let data = base().unwrap();
        let now = "2026-11-21T10:15:00Z".parse().unwrap();
        let made = Database::create_filled(&path, &data, |conn| {
            fill(conn, &data, now)?;
            // The company and the demo's records are one transaction.
            assert!(!conn.is_autocommit());
            Err(Error::rejected("power-cut", "the disk is full"))
        });
        assert_eq!(made.unwrap_err().code(), DbError::Data(Error::rejected("power-cut", "")).code());
        assert!(!path.exists());
        assert!(Database::create_demo(&path, now).is_ok());
    }
}
