//! The demo company: contacts, leads, orders, tasks and invoices, with dates around the day it is made.

use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value as Json;
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

/// The demo's records by external id, as they are written, and its users: for whoever makes some of them elsewhere.
///
/// # Errors
/// The file is wrong.
pub fn written() -> Result<IndexMap<String, (String, Record)>, Error> {
    let file: File = parse("demo_data.toml", include_str!("../models/demo_data.toml"))?;
    let mut named = IndexMap::new();
    for (model, records) in file.records {
        for mut record in records {
            if let Some(Json::String(name)) = record.shift_remove("xmlid") {
                named.insert(name, (model.clone(), record));
            }
        }
    }
    named.extend(users()?);
    Ok(named)
}

/// The demo's users, who are there in every database, as one would write them.
fn users() -> Result<IndexMap<String, (String, Record)>, Error> {
    let records = base()?.records;
    let ids = |model: &str| records.xmlids.get(model).into_iter().flatten();
    let find = |model: &str, id: &Json| {
        let rows = records.records.get(model).into_iter().flatten();
        rows.into_iter().find(|row| row.get("id") == Some(id))
    };
    let users = ids("res.users").filter(|(name, _)| name.starts_with("demo.")).filter_map(|(name, id)| {
        let user = find("res.users", &Json::from(*id))?;
        let partner = find("res.partner", user.get("partner_id")?)?;
        // A group of the demo alone is none elsewhere.
        let groups = user.get("group_ids")?.as_array()?.iter().map(|group| {
            let known = ids("res.groups")
                .find(|(name, id)| group.as_u64() == Some(u64::from(**id)) && !name.starts_with("demo."));
            Json::from(format!("@{}", known.map_or("base.group_user", |(name, _)| name)))
        });
        let mut written = Record::new();
        written.insert("login".to_owned(), user.get("login")?.clone());
        for field in ["name", "email", "tz"] {
            written.insert(field.to_owned(), partner.get(field)?.clone());
        }
        written.insert("group_ids".to_owned(), groups.collect());
        Some((name.clone(), ("res.users".to_owned(), written)))
    });
    Ok(users.collect())
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
