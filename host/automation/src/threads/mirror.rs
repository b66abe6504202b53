//! The note on the record that a thread is about, with a link to the thread. It fires no rule, and a record without a
//! chatter has none.

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

/// Posts the note of a run that is over, once.
pub(crate) fn post(
    conn: &Connection,
    database: &Database,
    links: &str,
    run: RunId,
    now: i64,
) -> Result<(), EngineError> {
    let sql = format!(
        "SELECT t.name, t.model, t.record, r.run_as, r.state FROM engine_thread t JOIN engine_run r ON r.id = t.run \
         WHERE t.run = ? AND NOT t.mirrored AND t.record IS NOT NULL AND {IS_THREAD}"
    );
    let found = conn.prepare_cached(&sql)?.query_row([run], |row| {
        let target = RecordRef { model: row.get(1)?, id: row.get(2)? };
        Ok((row.get::<_, String>(0)?, target, row.get::<_, Id>(3)?, row.get::<_, String>(4)?))
    });
    let Some((name, target, author, state)) = found.optional()? else { return Ok(()) };
    let has_chatter = database.schema().models.get(&target.model).is_some_and(|model| model.chatter);
    if !has_chatter || !Stored(conn).exists(&target.model, target.id)? {
        return Ok(());
    }
    let (link, name) = (escape(&format!("{links}/threads/{run}")), escape(&name));
    let body = format!("<p>AI thread <a href=\"{link}\">{name}</a>: {}</p>", escape(&state));
    let message =
        Message { body, format: BodyFormat::Html, subject: None, partner_ids: Vec::new(), attachments: Vec::new() };
    let changes =
        ChangeSet { effects: vec![Effect::PostMessage { target, message, note: true }], ..ChangeSet::default() };
    let (schema, rights) = (Arc::clone(database.schema()), Arc::clone(database.rights()));
    let env = Env::for_user(conn, schema, rights, author, timestamp(now))?.sudo();
    conn.execute_batch("SAVEPOINT mirror")?;
    match commit::commit_in(conn, &env, &changes) {
        Ok(_) => {
            conn.execute_batch("RELEASE mirror")?;
            conn.prepare_cached("UPDATE engine_thread SET mirrored = 1 WHERE run = ?")?.execute([run])?;
            Ok(())
        }
        Err(CommitError::Database(error)) => Err(error.into()),
        // A note that cannot be posted is no reason to lose the run's own end.
        Err(_) => Ok(conn.execute_batch("ROLLBACK TO mirror; RELEASE mirror")?),
    }
}
