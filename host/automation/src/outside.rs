//! Keeps calls to language models and other services, and what they cost, in the database file: each step is one
//! transaction that is on disk when it returns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use triggerbox_llm::ledger::{self, Begun, End, Intent, Kind, Ledger, LedgerError};
use triggerbox_model::{
    call::{Answer, Reply},
    value::Id,
};
use triggerbox_store::db::{Database, DbError};

use crate::{engine::Engine, error::EngineError, queue::Claim, threads::session};

/// The ledger in a database of its own process.
#[derive(Debug, Clone)]
pub struct DatabaseLedger(Database);

impl DatabaseLedger {
    /// Makes the tables if they are not there.
    ///
    /// # Errors
    /// What the database says.
    pub fn new(database: &Database) -> Result<Self, DbError> {
        database.transaction(|conn| ledger::create_tables(conn).map_err(DbError::from))?;
        Ok(Self(database.clone()))
    }
}

#[async_trait::async_trait]
impl Ledger for DatabaseLedger {
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        self.0.transaction_beside(|conn, _| ledger::begin(conn, &intent).map_err(DbError::from)).map_err(failed)
    }

    async fn known(&self, intent: Intent) -> Result<Option<Reply>, LedgerError> {
        self.0.transaction_beside(|conn, _| ledger::known(conn, &intent).map_err(DbError::from)).map_err(failed)
    }

    async fn end(&self, call: i64, end: End) -> Result<(), LedgerError> {
        self.0.transaction_beside(|conn, _| ledger::end(conn, call, &end).map_err(DbError::from)).map_err(failed)
    }

    async fn plan(&self, run: &str, at: i64, plan: String) -> Result<(), LedgerError> {
        self.0.transaction_beside(|conn, _| ledger::plan(conn, run, at, &plan).map_err(DbError::from)).map_err(failed)
    }
}

/// The engine's, for one run: its one writer commits many steps at once. With the first question to a model the run's thread
/// begins, if it has not begun yet.
pub(crate) struct RunLedger {
    engine: Engine,
    run: Arc<(Claim, Vec<Id>)>,
    /// The run's thread has begun.
    begun: AtomicBool,
}

impl RunLedger {
    /// Of a run that is about these records.
    pub(crate) fn new(engine: &Engine, claim: &Claim, records: &[Id]) -> Self {
        Self { engine: engine.clone(), run: Arc::new((claim.clone(), records.to_vec())), begun: AtomicBool::new(false) }
    }
}

#[async_trait::async_trait]
impl Ledger for RunLedger {
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let (run, is_model) = (Arc::clone(&self.run), intent.kind == Kind::Model);
        let begins = is_model && !self.begun.load(Ordering::Relaxed);
        let work = move |conn: &rusqlite::Connection| {
            if begins {
                session::begin(conn, &run.0, &run.1, intent.at)?;
            }
            Ok::<_, EngineError>(ledger::begin(conn, &intent)?)
        };
        let begun = self.engine.committer().commit_beside(work).await.map_err(failed)?;
        self.begun.fetch_or(begins, Ordering::Relaxed);
        crate::failpoint::hit(if is_model { "intent-stored" } else { "http-intent-stored" });
        Ok(begun)
    }

    async fn known(&self, intent: Intent) -> Result<Option<Reply>, LedgerError> {
        let work = move |conn: &rusqlite::Connection| ledger::known(conn, &intent).map_err(DbError::from);
        self.engine.committer().commit_beside(work).await.map_err(failed)
    }

    async fn end(&self, call: i64, end: End) -> Result<(), LedgerError> {
        // Calls that failed count among the models'.
        let is_model = !matches!(end.reply, Ok(Answer::Response(_)));
        let work = move |conn: &rusqlite::Connection| ledger::end(conn, call, &end).map_err(DbError::from);
        crate::failpoint::hit(if is_model { "answered" } else { "http-answered" });
        #[cfg(feature = "failpoints")]
        if crate::failpoint::forgets(if is_model { "model" } else { "http" }) {
            return Ok(());
        }
        self.engine.committer().commit_beside(work).await.map_err(failed)?;
        crate::failpoint::hit(if is_model { "answer-stored" } else { "http-answer-stored" });
        Ok(())
    }

    async fn plan(&self, run: &str, at: i64, plan: String) -> Result<(), LedgerError> {
        let run = run.to_owned();
        let work = move |conn: &rusqlite::Connection| ledger::plan(conn, &run, at, &plan).map_err(DbError::from);
        self.engine.committer().commit_beside(work).await.map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> LedgerError {
    LedgerError(error.to_string())
}
