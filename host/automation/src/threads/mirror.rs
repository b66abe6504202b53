//! The note on the record that a thread is about, with a link to the thread. It fires no rule, and a record without a
//! chatter has none. Where records are on an Odoo server, it is posted there after the run's end, which says that it is to be.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    call::{BodyFormat, Message},
    changes::{ChangeSet, Effect},
    domain::eval::Records,
    value::{Id, RecordRef},
};
use triggerbox_store::{
    commit::{self, CommitError},
    db::Database,
    env::Env,
    query::records::Stored,
    write::html::escape,
};

use super::list::IS_THREAD;
use crate::{clock::timestamp, error::EngineError, runs::RunId};

/// What `engine_thread.mirrored` says.
const POSTED: u8 = 1;
const WANTED: u8 = 2;

/// What a note's request to an Odoo server is called, after the key of its run.
pub(crate) const NAMED: &str = "-note";

/// The note of a run that is over.
pub(crate) struct Note {
    /// The run's.
    pub(crate) key: String,
    /// `res.users`.
    pub(crate) author: Id,
    pub(crate) target: RecordRef,
    pub(crate) message: Message,
}

/// The note of a run whose record has none yet.
fn note_of(conn: &Connection, links: &str, run: RunId) -> Result<Option<Note>, EngineError> {
    let sql = format!(
        "SELECT t.name, t.model, t.record, r.run_as, r.state, r.key FROM engine_thread t JOIN engine_run r ON r.id = t.run \
         WHERE t.run = ? AND t.mirrored <> {POSTED} AND t.record IS NOT NULL AND {IS_THREAD}"
    );
    let found = conn.prepare_cached(&sql)?.query_row([run], |row| {
        let (name, state): (String, String) = (row.get(0)?, row.get(4)?);
        let (link, name) = (escape(&format!("{links}/threads/{run}")), escape(&name));
        let body = format!("<p>AI thread <a href=\"{link}\">{name}</a>: {}</p>", escape(&state));
        let message =
            Message { body, format: BodyFormat::Html, subject: None, partner_ids: Vec::new(), attachments: Vec::new() };
        let target = RecordRef { model: row.get(1)?, id: row.get(2)? };
        Ok(Note { key: row.get(5)?, author: row.get(3)?, target, message })
    });
    Ok(found.optional()?)
}

/// Posts the note of a run that is over, once.
pub(crate) fn post(
    conn: &Connection,
    database: &Database,
    links: &str,
    run: RunId,
    now: i64,
) -> Result<(), EngineError> {
    let Some(Note { author, target, message, .. }) = note_of(conn, links, run)? else { return Ok(()) };
    let has_chatter = database.schema().models.get(&target.model).is_some_and(|model| model.chatter);
    if !has_chatter || !Stored(conn).exists(&target.model, target.id)? {
        return Ok(());
    }
    let changes =
        ChangeSet { effects: vec![Effect::PostMessage { target, message, note: true }], ..ChangeSet::default() };
    let (schema, rights) = (Arc::clone(database.schema()), Arc::clone(database.rights()));
    let env = Env::for_user(conn, schema, rights, author, timestamp(now))?.sudo();
    conn.execute_batch("SAVEPOINT mirror")?;
    match commit::commit_in(conn, &env, &changes) {
        Ok(_) => {
            conn.execute_batch("RELEASE mirror")?;
            settle(conn, run, true)
        }
        Err(CommitError::Database(error)) => Err(error.into()),
        // A note that cannot be posted is no reason to lose the run's own end.
        Err(_) => Ok(conn.execute_batch("ROLLBACK TO mirror; RELEASE mirror")?),
    }
}

/// A run is over whose record is on an Odoo server: its note is to be posted there.
pub(crate) fn want(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    let sql =
        format!("UPDATE engine_thread SET mirrored = {WANTED} WHERE run = ? AND mirrored = 0 AND record IS NOT NULL");
    conn.prepare_cached(&sql)?.execute([run]).map(drop)
}

/// Runs whose notes are to be posted on records of an Odoo server, the oldest first; one without a note has none to be posted.
pub(crate) fn wanted(conn: &Connection, links: &str) -> Result<Vec<(RunId, Option<Note>)>, EngineError> {
    let sql = format!("SELECT run FROM engine_thread WHERE mirrored = {WANTED} ORDER BY run LIMIT {AT_ONCE}");
    let runs: Vec<RunId> =
        conn.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    runs.into_iter().map(|run| Ok((run, note_of(conn, links, run)?))).collect()
}

/// So many notes are posted in one look.
const AT_ONCE: u32 = 100;

/// A note was posted, or cannot be; what was posted stays so.
pub(crate) fn settle(conn: &Connection, run: RunId, posted: bool) -> Result<(), EngineError> {
    let mirrored = if posted { POSTED } else { 0 };
    let sql = format!("UPDATE engine_thread SET mirrored = ?2 WHERE run = ?1 AND mirrored <> {POSTED}");
    conn.prepare_cached(&sql)?.execute((run, mirrored))?;
    Ok(())
}
