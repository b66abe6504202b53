//! The demo company: contacts, leads, orders, tasks and invoices, with dates around the day it is made.

use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use triggerbox_model::{
    error::Error,
    schema::{FieldKind, Model, Schema},
    value::{Id, RecordRef},
};

use crate::{
    chatter::{NewActivity, Post},
    db::{Database, DbError, fault},
    env::Env,
    load::{DataSet, Record},
    models::{base, parse},
    rights::Rights,
    write::{Options, Place, Writer, html, json},
    xmlid,
};

impl Database {
    /// Makes a database with the demo company. The same time gives the same records.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create_demo(path: &Path, now: Timestamp) -> Result<Self, DbError> {
        let data = base().map_err(DbError::Data)?;
        Self::create_filled(path, &data, |conn| Demo::new(conn, &data, now).fill())
    }

    /// The demo company in memory.
    ///
    /// # Errors
    /// As [`Database::in_memory`].
    pub fn demo_in_memory(now: Timestamp) -> Result<Self, DbError> {
        let data = base().map_err(DbError::Data)?;
        Self::in_memory_filled(&data, |conn| Demo::new(conn, &data, now).fill())
    }
}

/// The file: records by model, then posts and activities.
#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    records: IndexMap<String, Vec<Record>>,
}

#[derive(Deserialize)]
struct DemoPost {
    on: String,
    #[serde(rename = "as")]
    user: String,
    #[serde(default)]
    note: bool,
    body: String,
}

#[derive(Deserialize)]
struct DemoActivity {
    on: String,
    kind: String,
    summary: String,
    user: String,
    deadline: String,
}

struct Demo<'a> {
    conn: &'a Connection,
    schema: Arc<Schema>,
    rights: Arc<Rights>,
    now: Timestamp,
}

/// The administrator makes everything that says nothing else.
const ADMINISTRATOR: Id = 2;

impl<'a> Demo<'a> {
    fn new(conn: &'a Connection, data: &DataSet, now: Timestamp) -> Self {
        Self { conn, schema: Arc::new(data.schema.clone()), rights: Arc::new(data.rights.clone()), now }
    }

    fn fill(&self) -> Result<(), Error> {
        let file: File = parse("demo_data.toml", include_str!("../models/demo_data.toml"))?;
        for (model, records) in file.records {
            match model.as_str() {
                "post" => records.into_iter().try_for_each(|record| self.post(from(record)?))?,
                "activity" => records.into_iter().try_for_each(|record| self.schedule(from(record)?))?,
                _ => records.into_iter().try_for_each(|record| self.create(&model, record))?,
            }
        }
        Ok(())
    }

    fn env(&self, user: Id) -> Result<Env, Error> {
        let (schema, rights) = (Arc::clone(&self.schema), Arc::clone(&self.rights));
        Ok(Env::for_user(self.conn, schema, rights, user, self.now)?.sudo())
    }

    fn create(&self, model: &str, mut record: Record) -> Result<(), Error> {
        let env = self.env(ADMINISTRATOR)?;
        let described = env.schema.model(model)?;
        let name = record.shift_remove("xmlid");
        self.settle(&env, described, &mut record)?;
        let values = json::values(&env.schema, described, &record)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        // The demo's history is short: no notes of how it came about.
        writer.options = Options { silent: true, ..Options::default() };
        let ids = writer.create(model, vec![values])?;
        writer.finish()?;
        if let (Some(Json::String(name)), Some(id)) = (name, ids.first()) {
            let sql = "INSERT INTO tb_xmlid (xmlid, model, id) VALUES (?1, ?2, ?3)";
            self.conn.prepare_cached(sql).map_err(fault)?.execute((name, model, id)).map_err(fault)?;
        }
        Ok(())
    }

    /// Puts ids in place of external ids and dates in place of `+3d`; lines become commands.
    fn settle(&self, env: &Env, model: &Model, record: &mut Map<String, Json>) -> Result<(), Error> {
        for (name, value) in record.iter_mut() {
            let field = model.field(name)?;
            match (field.kind, &mut *value) {
                (FieldKind::One2many, Json::Array(lines)) => {
                    let related = env.schema.model(field.relation.as_deref().unwrap_or_default())?;
                    for line in lines {
                        if let Json::Object(values) = line {
                            self.settle(env, related, values)?;
                        }
                    }
                }
                (FieldKind::Many2many, Json::Array(items)) => {
                    for item in items {
                        self.reference(item)?;
                    }
                }
                (FieldKind::Many2one, value) => self.reference(value)?,
                (FieldKind::Date, Json::String(text)) => *text = self.date(text)?,
                (FieldKind::Datetime, Json::String(text)) => *text = format!("{} 09:00:00", self.date(text)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn reference(&self, value: &mut Json) -> Result<(), Error> {
        if let Json::String(name) = value {
            *value = Json::from(self.target(name)?.id);
        }
        Ok(())
    }

    fn target(&self, name: &str) -> Result<RecordRef, Error> {
        xmlid::resolve(self.conn, name.trim_start_matches('@'))
    }

    /// `-3d`: three days before the demo is made.
    fn date(&self, text: &str) -> Result<String, Error> {
        let wrong =
            |_| Error::rejected("bad-file", format!("demo_data.toml: `{text}` is no number of days such as +3d"));
        let days: i64 = text.trim_end_matches('d').trim_start_matches('+').parse().map_err(wrong)?;
        let today = self.now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let shifted = jiff::Span::new().try_days(days).and_then(|span| today.checked_add(span));
        shifted
            .map(|date| date.to_string())
            .map_err(|error| Error::rejected("bad-file", format!("demo_data.toml: {error}")))
    }

    fn post(&self, post: DemoPost) -> Result<(), Error> {
        let (target, user) = (self.target(&post.on)?, self.target(&post.user)?);
        let env = self.env(user.id)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        let subtype = writer.subtype_of(!post.note)?;
        let body = html::escape(&post.body);
        writer.post(
            &target.model,
            target.id,
            Post { body, message_type: "comment".to_owned(), subtype, ..Post::default() },
        )?;
        writer.finish().map(drop)
    }

    fn schedule(&self, activity: DemoActivity) -> Result<(), Error> {
        let target = self.target(&activity.on)?;
        let env = self.env(ADMINISTRATOR)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        let new = NewActivity {
            kind: activity.kind,
            summary: activity.summary,
            note: None,
            deadline: Some(self.date(&activity.deadline)?),
            user: Some(self.target(&activity.user)?.id),
            delayed: true,
        };
        writer.schedule(&target.model, target.id, new)?;
        writer.finish().map(drop)
    }
}

fn from<T: for<'de> Deserialize<'de>>(record: Record) -> Result<T, Error> {
    serde_json::from_value(Json::Object(record))
        .map_err(|error| Error::rejected("bad-file", format!("demo_data.toml: {error}")))
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
            Demo::new(conn, &data, now).fill()?;
            // The company and the demo's records are one transaction.
            assert!(!conn.is_autocommit());
            Err(Error::rejected("power-cut", "the disk is full"))
        });
        assert_eq!(made.unwrap_err().code(), DbError::Data(Error::rejected("power-cut", "")).code());
        assert!(!path.exists());
        assert!(Database::create_demo(&path, now).is_ok());
    }
}
