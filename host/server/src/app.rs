//! What all handlers share.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::Connection;
use tokio::sync::{Mutex, Semaphore, watch};
use triggerbox_automation::{
    Engine, EngineError,
    engine::{Fields, Readable},
    people, seen,
};
use triggerbox_model::{
    call::{Answer, Call, Operation},
    value::{Id, RecordRef},
};
use triggerbox_sandbox::Sandbox;
use triggerbox_store::{db::DbError, env::Env, session::Session};

use crate::{
    config::{Config, ConfigError, Secrets},
    erasure, idempotency,
    metrics::Metrics,
    odoo::Outbox,
    people::{
        self as accounts,
        audit::{self, Deed, PROGRAM},
        pace::Pace,
    },
    problem::Problem,
    providers::{self, Providers},
    tokens, told,
    vault::{self, Purpose, Vault},
    verdicts,
};

/// One server. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    sandbox: Sandbox,
    config: Config,
    secrets: Secrets,
    metrics: Arc<Metrics>,
    client: Option<reqwest::Client>,
    draining: watch::Sender<bool>,
    pace: Pace,
    hashing: Arc<Semaphore>,
    vault: Vault,
    providers: Providers,
    outbox: Outbox,
    erasing: Mutex<()>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong. The operator.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database failed. The operator.
    #[error(transparent)]
    Database(#[from] DbError),
    /// What was set on the pages cannot be read. The operator.
    #[error(transparent)]
    Settings(#[from] EngineError),
    /// The address cannot be listened on. The operator.
    #[error("cannot listen on {address}: {problem}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        problem: String,
    },
}

impl App {
    /// A server of an engine. Reads the secrets and makes the server's own table.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn new(engine: Engine, sandbox: Sandbox, config: Config) -> Result<Self, StartError> {
        let secrets = config.read_secrets()?;
        engine.committer().commit_blocking(|conn| {
            // Whoever took them is gone: one server has the file.
            seen::give_all_back(conn, idempotency::SCOPES)?;
            tokens::create_table(conn)?;
            vault::create_table(conn)?;
            erasure::create_table(conn)?;
            conn.execute_batch(verdicts::TABLE)?;
            Ok::<_, DbError>(accounts::create_tables(conn)?)
        })?;
        let vault = Vault::open(&*engine.database().snapshot()?, config.web.key_file.as_deref())?;
        let inner = Inner {
            client: crate::alerts::client(&config.alerts.to)?,
            engine,
            sandbox,
            config,
            secrets,
            metrics: Arc::default(),
            draining: watch::Sender::new(false),
            pace: Pace::default(),
            hashing: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
            vault,
            providers: Providers::default(),
            outbox: Outbox::default(),
            erasing: Mutex::default(),
        };
        let app = Self { inner: Arc::new(inner) };
        Providers::apply(&app)?;
        Ok(app)
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The runtime that uploads are compiled for.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.inner.sandbox
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What signs webhooks.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// What alerts are sent with.
    pub(crate) fn client(&self) -> Option<&reqwest::Client> {
        self.inner.client.as_ref()
    }

    /// A secret by its name: one of the configuration, else one that was written on the pages.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Vec<u8>> {
        self.secrets().get(name).map(<[u8]>::to_vec).or_else(|| self.vault().get(name))
    }

    /// The file that has a secret of this name for the same: that one counts, whatever is written on the pages.
    pub(crate) fn file_with_secret(&self, name: &str, purpose: &Purpose) -> Option<String> {
        match purpose {
            Purpose::Signs => self.secrets().get(name).map(|_| "the configuration".to_owned()),
            Purpose::Header { .. } => {
                let is_there = providers::of_file(self).secrets.iter().any(|one| one.name == name);
                is_there.then(|| providers::file_name(self))
            }
            Purpose::Key { .. } => None,
        }
    }

    /// The secrets that were written on the pages.
    pub(crate) fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// The providers that were set on the pages.
    pub(crate) fn providers(&self) -> &Providers {
        &self.inner.providers
    }

    /// Who takes a person out of what is kept has this meanwhile.
    pub(crate) fn erasing(&self) -> &Mutex<()> {
        &self.inner.erasing
    }

    /// What is known of the Odoo server, if there is one.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// How often somebody may try to sign in.
    pub(crate) fn pace(&self) -> &Pace {
        &self.inner.pace
    }

    /// The secret part of a link that sets the first administrator's password; none once somebody has set one. The link
    /// before it is good no more.
    ///
    /// # Errors
    /// The administrator of the configuration is no user; what the database says.
    pub async fn first_link(&self) -> Result<Option<String>, Problem> {
        let (inner, now) = (self.clone(), self.engine().clock().now());
        let administrator = self.config().runs.administrator;
        let person = self.blocking(move || Ok(people::active(inner.engine().database(), administrator, now)?));
        let person = person.await?;
        self.write(move |conn| {
            let known = accounts::accounts::list(conn)?;
            if known.iter().any(|account| account.password.is_some()) {
                return Ok(None);
            }
            let first = match known.first() {
                Some(account) => account.id,
                None => {
                    let roles = [accounts::Role::Administrator].into();
                    let deed = Deed {
                        who: PROGRAM.to_owned(),
                        action: "account-created",
                        what: person.user.login.clone(),
                        detail: told::account(&person.user.login, person.user.id, &roles, false),
                        ..Deed::default()
                    };
                    audit::write(conn, &deed, now)?;
                    accounts::accounts::create(conn, &person.user.login, person.user.id, &roles, now)??
                }
            };
            Ok::<_, EngineError>(Some(accounts::invites::create(conn, first, now)?))
        })
        .await
    }

    /// Takes no further requests from now on.
    pub fn drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Whether it is being stopped.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.inner.draining.borrow()
    }

    /// Comes back when the server is to stop.
    pub async fn drained(&self) {
        // The sender lives as long as this does.
        let _ = self.inner.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Reads from a snapshot, off the threads that serve requests.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let database = self.engine().database().clone();
        self.blocking(move || work(&*database.snapshot()?).map_err(Into::into)).await
    }

    /// Writes in the next transaction.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: From<DbError> + Into<Problem> + Send + 'static,
    {
        self.engine().committer().commit(work).await.map_err(Into::into)
    }

    /// Does something that takes a while.
    ///
    /// # Errors
    /// What `work` says; `server-failed` when it panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(failed()))
    }

    /// Hashes a password, or compares one: as many at once as there are processors, however many are asked for. Each takes
    /// some 20 MB.
    ///
    /// # Errors
    /// What `work` says; `server-failed` when it panics.
    pub(crate) async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        // Nobody closes it.
        let turn = Arc::clone(&self.inner.hashing).acquire_owned().await.map_err(|_| failed())?;
        // The work is done though nobody waits for it any more, and keeps its turn for as long.
        let work = move || {
            let _turn = turn;
            work()
        };
        self.blocking(work).await
    }

    /// Answers calls that change nothing, as a user.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn ask(&self, user: Id, call: Call) -> Result<Answer, Problem> {
        let app = self.clone();
        self.blocking(move || Ok(app.session(user)?.call(call)??)).await
    }

    /// Whether a user may do something with records.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn may(&self, user: Id, operation: Operation, model: &str, ids: &[Id]) -> Result<bool, Problem> {
        let call = Call::HasAccess { model: model.to_owned(), ids: ids.to_vec(), operation };
        let answer = match self.engine().odoo() {
            None => self.ask(user, call).await?,
            Some(_) => match self.engine().ask_there(user, call).await {
                // Who has no key there may do nothing there.
                Err(error) if error.code() == "unknown-user" => Answer::Flag(false),
                answer => answer?,
            },
        };
        Ok(matches!(answer, Answer::Flag(true)))
    }

    /// Whether a user may read all of these records. Whether there are such records, or such a model, is told to nobody here.
    ///
    /// # Errors
    /// That the backend cannot say: it is away, or failed.
    pub async fn may_read(&self, user: Id, model: &str, ids: &[Id]) -> Result<bool, Problem> {
        match self.may(user, Operation::Read, model, ids).await {
            Err(problem) if problem.details().status < 500 => Ok(false),
            may => may,
        }
    }

    /// What a user may read of records, of whichever models: one answer of the backend for each model, or two.
    ///
    /// # Errors
    /// What the backend says, but that something is not there or not for them.
    pub async fn readable_among(&self, user: Id, records: Vec<RecordRef>) -> Result<Readable, Problem> {
        Ok(self.engine().readable_among(user, records).await?)
    }

    /// The fields of these models that a user may read.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn readable_fields(&self, user: Id, models: BTreeSet<String>) -> Result<Fields, Problem> {
        Ok(self.engine().readable_fields(user, models).await?)
    }

    /// Those of these records of a model that a user may read; none: nothing of the model is for them.
    ///
    /// # Errors
    /// What the backend says, but that something is not there or not for them.
    pub async fn readable(&self, user: Id, model: &str, ids: &BTreeSet<Id>) -> Result<Option<BTreeSet<Id>>, Problem> {
        Ok(self.engine().readable(user, model, ids).await?)
    }

    /// A user's environment.
    ///
    /// # Errors
    /// The user is gone; what the backend says.
    pub fn env(&self, user: Id, superuser: bool) -> Result<Env, EngineError> {
        Ok(people::environment(self.engine().database(), user, superuser, self.engine().clock().now())?)
    }

    /// A view of the records as a user sees them.
    ///
    /// # Errors
    /// As [`App::env`].
    pub fn session(&self, user: Id) -> Result<Session, Problem> {
        Ok(Session::new(self.engine().database(), self.env(user, false)?)?)
    }
}

/// Something in here broke; the log says what.
#[must_use]
pub fn failed() -> Problem {
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "server-failed", "the server failed at this request; its log says why")
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("engine", self.engine()).finish_non_exhaustive()
    }
}
