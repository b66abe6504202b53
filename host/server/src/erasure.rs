//! Erasing one person in the background: however much is kept, it comes to its end, after a restart, too. What is still to be
//! done is kept until then with the texts, and nothing of it afterwards but a line of the audit log.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use triggerbox_automation::{
    Engine, EngineError,
    clock::{millis, timestamp},
    engine::{Erased, Erasing},
};
use triggerbox_model::value::Id;

use crate::{
    app::App,
    people::audit::{self, Deed},
    problem::Problem,
};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_erasure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    texts TEXT NOT NULL,                 -- JSON
    request TEXT NOT NULL,               -- by which it is done
    who TEXT NOT NULL, user INTEGER, address TEXT NOT NULL,  -- of whom the audit log tells
    began INTEGER NOT NULL,
    so_far TEXT NOT NULL                 -- JSON: where it goes on
) STRICT";

/// One that is not over.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    id: i64,
    texts: Vec<String>,
    /// By which request it is done.
    pub(crate) request: String,
    who: String,
    user: Option<Id>,
    address: String,
    /// Since when.
    pub(crate) began: Timestamp,
    /// How far it has come.
    pub(crate) so_far: Erasing,
}

/// Makes the table, in a transaction of the caller.
///
/// # Errors
/// What SQLite says.
pub(crate) fn create_table(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLE)
}

const COLUMNS: &str = "SELECT id, texts, request, who, user, address, began, so_far FROM server_erasure ORDER BY id";

/// Those that are not over, in the order in which they are done.
///
/// # Errors
/// What the database says.
pub(crate) fn open(conn: &Connection) -> Result<Vec<Erasure>, EngineError> {
    let mut statement = conn.prepare_cached(COLUMNS)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Erasure, EngineError> {
    let (texts, so_far): (String, String) = (row.get(1)?, row.get(7)?);
    Ok(Erasure {
        id: row.get(0)?,
        texts: serde_json::from_str(&texts)?,
        request: row.get(2)?,
        who: row.get(3)?,
        user: row.get(4)?,
        address: row.get(5)?,
        began: timestamp(row.get(6)?),
        so_far: serde_json::from_str(&so_far)?,
    })
}

/// Has texts erased from now on; where the same ones are being erased, that goes on. `by`: of whom the audit log tells at its end.
///
/// # Errors
/// `too-short-to-erase`; what the database says.
pub(crate) async fn begin(app: &App, texts: &[String], request: String, by: Deed) -> Result<(), Problem> {
    Engine::check_texts(texts)?;
    let (texts, so_far) = (serde_json::to_string(texts)?, serde_json::to_string(&Erasing::default())?);
    let now = millis(app.engine().clock().now());
    app.write(move |conn| {
        let known = "SELECT 1 FROM server_erasure WHERE texts = ?1";
        if conn.prepare_cached(known)?.query_row([&texts], |_| Ok(())).optional()?.is_none() {
            let sql = "INSERT INTO server_erasure (texts, request, who, user, address, began, so_far) VALUES (?, ?, ?, ?, ?, ?, ?)";
            conn.execute(sql, (texts, request, by.who, by.user, by.address, now, so_far))?;
        }
        Ok::<_, EngineError>(())
    })
    .await?;
    tokio::spawn(go_on(app.clone()));
    Ok(())
}

/// Goes on until nothing is left to be erased, or the server is being stopped: the next one takes it up. One at a time.
pub(crate) async fn go_on(app: App) {
    let _turn = app.erasing().lock().await;
    if let Err(problem) = all(&app).await {
        let code = &problem.details().code;
        tracing::error!(code, "erasing was cut short; doing it again, or the next start of the server, goes on");
    }
}

async fn all(app: &App) -> Result<(), Problem> {
    while !app.is_draining() {
        let Some(one) = app.read(open).await?.into_iter().next() else { break };
        let (engine, now) = (app.engine(), app.engine().clock().now());
        if one.so_far.is_over() {
            let anew = engine.forget_erased().await;
            app.write(move |conn| end(conn, one, anew.err().as_ref(), now)).await?;
        } else {
            let (texts, so_far) = (one.texts.clone(), one.so_far.clone());
            engine.erase_more(&texts, so_far, move |conn, so_far| keep(conn, one.id, so_far)).await?;
        }
    }
    Ok(())
}

/// Keeps how far one has come; of one that is through with all tables, the texts no more.
fn keep(conn: &Connection, id: i64, so_far: &Erasing) -> Result<(), EngineError> {
    let sql = "UPDATE server_erasure SET so_far = ?2, texts = iif(?3, '[]', texts) WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((id, serde_json::to_string(so_far)?, so_far.is_over()))?;
    Ok(())
}

/// Keeps of one that is over what it came to. `failed`: why the file could not be written anew.
fn end(conn: &Connection, one: Erasure, failed: Option<&EngineError>, now: Timestamp) -> Result<(), EngineError> {
    conn.execute("DELETE FROM server_erasure WHERE id = ?1", [one.id])?;
    let deed = Deed {
        who: one.who,
        user: one.user,
        action: "erasure-done",
        what: "/settings/erase".to_owned(),
        detail: format!("by request {}: {}", one.request, told(one.so_far.erased, failed)),
        address: one.address,
    };
    Ok(audit::write(conn, &deed, now)?)
}

/// What an erasure came to.
fn told(erased: Erased, failed: Option<&EngineError>) -> String {
    let mut told = format!("erased from {} place(s)", erased.rows);
    if let Some(error) = failed {
        told += &format!(
            "; the database's file still holds what was there before, for whoever reads the file itself: it could not be \
             written anew ({error}); `triggerbox db compact` does that, and so does erasing again"
        );
    }
    if erased.waiting > 0 {
        let count = erased.waiting;
        told += &format!("; {count} proposal(s) that wait for a yes hold it too: decide about them, then erase again");
    }
    if erased.left > 0 {
        let count = erased.left;
        told += &format!(
            "; {count} place(s) could not be read, or not without it, and are as they were until they are let go"
        );
    }
    told
}
