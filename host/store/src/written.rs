//! Records as people write them, in files: fields in Odoo's JSON form, and besides that
//!
//! - `xmlid` names the record;
//! - `@demo.lead_1` stands for the record of that external id; a name without a dot is one of the module `test`;
//! - `+3d` is a day counted from now, and a date or time may be written as the contract writes it;
//! - a one2many takes a list of records.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use triggerbox_model::{
    error::Error,
    schema::{FieldKind, Model, Schema},
    value::{FieldValue, Id, RecordRef},
};

use crate::{
    chatter::{NewActivity, Post},
    db::{Database, DbError, fault},
    env::Env,
    load::Record,
    rights::Rights,
    write::{Input, Options, Place, Writer, html, json},
    xmlid,
};

impl Database {
    /// Adds one record as people write it, without notes of how it came about. `kind` is a model, or `post` or `activity`.
    ///
    /// # Errors
    /// What is wrong with the record, or the database. Nothing is added then.
    pub fn add_written(&self, kind: &str, record: Record, now: Timestamp) -> Result<(), DbError> {
        self.as_written(now, |written| written.add(kind, record))
    }

    /// Writes on a record, with the rights of the system and without tracking.
    ///
    /// # Errors
    /// As [`Database::add_written`].
    pub fn change_written(&self, target: &RecordRef, record: Record, now: Timestamp) -> Result<(), DbError> {
        self.as_written(now, |written| written.change(target, record))
    }

    /// Values of a record that is not written, in the contract's form.
    ///
    /// # Errors
    /// As [`Database::add_written`].
    pub fn values_written(&self, model: &str, record: Record, now: Timestamp) -> Result<Vec<FieldValue>, DbError> {
        self.as_written(now, |written| {
            let env = written.env(ADMINISTRATOR)?;
            let values = written.values(&env, model, record)?.into_iter();
            let plain = values.filter_map(|(name, input)| match input {
                Input::Value(value) => Some(FieldValue { name, value }),
                Input::Commands(_) => None,
            });
            Ok(plain.collect())
        })
    }

    fn as_written<T>(&self, now: Timestamp, work: impl FnOnce(&Written<'_>) -> Result<T, Error>) -> Result<T, DbError> {
        self.transaction(|conn| {
            let (schema, rights) = (Arc::clone(self.schema()), Arc::clone(self.rights()));
            work(&Written { conn, schema, rights, now })
                .map_err(|error| DbError::behind(&error).unwrap_or(DbError::Data(error)))
        })
    }
}

/// The module of external ids that name none.
const MODULE: &str = "test";

/// An external id with its module, from a reference with or without its `@`.
#[must_use]
pub fn full_xmlid(reference: &str) -> String {
    let name = reference.trim_start_matches('@');
    if name.contains('.') { name.to_owned() } else { format!("{MODULE}.{name}") }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPost {
    on: String,
    #[serde(rename = "as")]
    user: String,
    #[serde(default)]
    note: bool,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenActivity {
    on: String,
    kind: String,
    summary: String,
    user: String,
    deadline: String,
}

/// Adds records inside a transaction.
pub(crate) struct Written<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) schema: Arc<Schema>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) now: Timestamp,
}

/// The administrator makes everything that says nothing else.
const ADMINISTRATOR: Id = 2;

impl Written<'_> {
    pub(crate) fn add(&self, kind: &str, record: Record) -> Result<(), Error> {
        match kind {
            "post" => self.post(from(record)?),
            "activity" => self.schedule(from(record)?),
            model => self.create(model, record),
        }
    }

    fn env(&self, user: Id) -> Result<Env, Error> {
        let (schema, rights) = (Arc::clone(&self.schema), Arc::clone(&self.rights));
        Ok(Env::for_user(self.conn, schema, rights, user, self.now)?.sudo())
    }

    fn values(&self, env: &Env, model: &str, mut record: Record) -> Result<crate::write::Values, Error> {
        let described = env.schema.model(model)?;
        self.settle(env, described, &mut record)?;
        json::values(&env.schema, described, &record)
    }

    fn create(&self, model: &str, mut record: Record) -> Result<(), Error> {
        let env = self.env(ADMINISTRATOR)?;
        let name = record.shift_remove("xmlid");
        let values = self.values(&env, model, record)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        // Its history is short: no notes of how it came about.
        writer.options = Options { silent: true, ..Options::default() };
        let ids = writer.create(model, vec![values])?;
        writer.finish()?;
        if let (Some(Json::String(name)), Some(id)) = (name, ids.first()) {
            let sql = "INSERT INTO tb_xmlid (xmlid, model, id) VALUES (?1, ?2, ?3)";
            self.conn.prepare_cached(sql).map_err(fault)?.execute((full_xmlid(&name), model, id)).map_err(fault)?;
        }
        Ok(())
    }

    fn change(&self, target: &RecordRef, record: Record) -> Result<(), Error> {
        let env = self.env(ADMINISTRATOR)?;
        let values = self.values(&env, &target.model, record)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        writer.options = Options { silent: true, ..Options::default() };
        writer.write(&target.model, &[target.id], values)?;
        writer.finish().map(drop)
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
                (FieldKind::Reference, Json::String(text)) if text.starts_with('@') => {
                    let target = self.target(text)?;
                    *text = format!("{},{}", target.model, target.id);
                }
                (FieldKind::Date, Json::String(text)) => *text = self.date(text)?,
                (FieldKind::Datetime, Json::String(text)) => *text = self.datetime(text)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn reference(&self, value: &mut Json) -> Result<(), Error> {
        if let Json::String(name) = value
            && name.starts_with('@')
        {
            *value = Json::from(self.target(name)?.id);
        }
        Ok(())
    }

    fn target(&self, name: &str) -> Result<RecordRef, Error> {
        xmlid::resolve(self.conn, &full_xmlid(name))
    }

    /// `-3d`: three days before now, at nine o'clock.
    fn datetime(&self, text: &str) -> Result<String, Error> {
        Ok(match self.day(text)? {
            Some(date) => format!("{date} 09:00:00"),
            None => text.trim_end_matches('Z').replace('T', " "),
        })
    }

    /// `-3d`: three days before now.
    fn date(&self, text: &str) -> Result<String, Error> {
        Ok(self.day(text)?.unwrap_or_else(|| text.to_owned()))
    }

    /// The day that a text such as `+3d` counts to; none, if it does not count.
    fn day(&self, text: &str) -> Result<Option<String>, Error> {
        let days = text.strip_suffix('d').map(|number| number.trim_start_matches('+').parse::<i64>());
        let Some(Ok(days)) = days else { return Ok(None) };
        let today = self.now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let shifted = jiff::Span::new().try_days(days).and_then(|span| today.checked_add(span));
        shifted
            .map(|date| Some(date.to_string()))
            .map_err(|_| Error::rejected("bad-file", format!("`{text}` is more days than there are")))
    }

    fn post(&self, post: WrittenPost) -> Result<(), Error> {
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

    fn schedule(&self, activity: WrittenActivity) -> Result<(), Error> {
        let target = self.target(&activity.on)?;
        let env = self.env(ADMINISTRATOR)?;
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        let new = NewActivity {
            kind: writer.activity_type(&activity.kind)?,
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
    serde_json::from_value(Json::Object(record)).map_err(|error| Error::rejected("bad-file", error.to_string()))
}
