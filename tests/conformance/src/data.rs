//! The data set in a database in memory. Each case starts from it as it was loaded.

use std::{cell::OnceCell, path::Path, sync::Arc};

use anyhow::Context as _;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rusqlite::Connection;
use serde_json::Value as Json;
use triggerbox_model::{error::Error, schema::Schema, value::Id};
use triggerbox_store::{
    ddl::{quote, table},
    env::{Context, DEFAULT_LANGUAGE, Env},
    load::{self, DataSet, RECORDS_FILE, RIGHTS_FILE, SCHEMA_FILE},
    models,
    rights::Rights,
};

use crate::{
    Verdict,
    files::read_json,
    known::{Known, Unset},
    writes::State,
};

/// The data, loaded.
#[derive(Debug)]
pub struct Data {
    /// The database.
    pub conn: Connection,
    /// The models.
    pub schema: Arc<Schema>,
    /// Who may do what.
    pub rights: Arc<Rights>,
    /// The time that it is in every case.
    pub now: Timestamp,
    /// All stored values as they were loaded, once they were asked for.
    pub(crate) loaded: OnceCell<State>,
}

impl Data {
    /// Loads the data set of a folder, compressed or not.
    ///
    /// # Errors
    /// When a file is missing or makes no sense.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let set = read_set(folder)?;
        let conn = Connection::open_in_memory()?;
        conn.set_prepared_statement_cache_capacity(1024);
        register(&conn)?;
        load::import(&conn, &set).with_context(|| folder.display().to_string())?;
        for fact in Known::load().unset {
            correct(&conn, &set.schema, &fact)?;
        }
        let now = set.records.now.as_deref().context("records.json does not say what time it is (`now`)")?;
        let now: DateTime = now.parse().with_context(|| format!("records.json: `now` is no time: {now}"))?;
        Ok(Self {
            conn,
            schema: Arc::new(set.schema),
            rights: Arc::new(set.rights),
            now: now.to_zoned(TimeZone::UTC)?.timestamp(),
            loaded: OnceCell::new(),
        })
    }

    /// Runs `work` on the data as it was loaded; what it changes is undone.
    ///
    /// # Errors
    /// What the database says when it undoes the changes.
    pub fn scratch<T>(&self, work: impl FnOnce(&Connection) -> T) -> anyhow::Result<T> {
        self.conn.execute_batch("SAVEPOINT scratch")?;
        let done = work(&self.conn);
        self.conn.execute_batch("ROLLBACK TO scratch; RELEASE scratch")?;
        Ok(done)
    }

    /// Runs one case on the data as it was loaded. What it did not expect is a failure.
    #[must_use]
    pub fn judge(&self, case: &Json, attempt: impl FnOnce(&Connection) -> Result<Verdict, Error>) -> Verdict {
        match self.scratch(attempt) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => {
                Verdict::failed(case.get("expected").map(Json::to_string).unwrap_or_default(), error.to_string())
            }
            Err(error) => Verdict::failed("", error.to_string()),
        }
    }

    /// The environment that a case asks in: its `uid`, `su` and `context`.
    ///
    /// # Errors
    /// `unknown-user`.
    pub fn env(&self, case: &Json) -> Result<Env, Error> {
        let user = case.get("uid").and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok()).unwrap_or(1);
        let superuser = case.get("su").and_then(Json::as_bool).unwrap_or(user == 1);
        let mut context: Context =
            case.get("context").cloned().map(serde_json::from_value).transpose().ok().flatten().unwrap_or_default();
        // The server was asked in process: no client put the user's language in the context.
        context.lang.get_or_insert_with(|| DEFAULT_LANGUAGE.to_owned());
        let env = Env::for_user(&self.conn, Arc::clone(&self.schema), Arc::clone(&self.rights), user, self.now)?;
        let mut env = if superuser { env.sudo() } else { env };
        env.context_tz = None;
        Ok(env.with_context(context))
    }
}

/// Unsets a number that is 0 in the data.
pub(crate) fn correct(conn: &Connection, schema: &Schema, fact: &Unset) -> rusqlite::Result<()> {
    if schema.models.get(&fact.model).is_some_and(|model| model.has_column(&fact.field)) {
        let (table, column) = (quote(&table(&fact.model)), quote(&fact.field));
        let sql = format!("UPDATE {table} SET {column} = NULL WHERE id = ?1 AND {column} = 0");
        for id in &fact.ids {
            conn.execute(&sql, [id])?;
        }
    }
    Ok(())
}

/// What every connection to a database has.
pub(crate) fn register(conn: &Connection) -> rusqlite::Result<()> {
    triggerbox_store::query::functions::register(conn)?;
    triggerbox_store::group::functions::register(conn)
}

/// The data set of a folder, its files compressed or not.
///
/// # Errors
/// When a file is missing or makes no sense.
pub fn read_set(folder: &Path) -> anyhow::Result<DataSet> {
    let read = |name: &str| {
        let plain = folder.join(name);
        read_json(&if plain.exists() { plain } else { folder.join(format!("{name}.zst")) })
    };
    let mut schema = serde_json::from_value(read(SCHEMA_FILE)?).context(SCHEMA_FILE)?;
    models::complete(&mut schema)?;
    let records = serde_json::from_value(read(RECORDS_FILE)?).context(RECORDS_FILE)?;
    let rights = serde_json::from_value(read(RIGHTS_FILE)?).context(RIGHTS_FILE)?;
    Ok(DataSet::new(schema, records, rights)?)
}
