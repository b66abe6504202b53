//! The engine: one for each database. Cheap to clone.

mod ahead;
mod approve;
mod attempt;
mod backfill;
mod before;
mod change;
mod control;
mod deliver;
mod diagnose;
mod draft;
mod dry;
mod due;
mod erase;
mod finish;
mod mirror;
mod observe;
mod odoo;
mod readable;
mod remote;
mod replay;
mod retain;
mod shown;
mod source;
mod time;
mod work;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot, watch};
use triggerbox_llm::Services;
use triggerbox_sandbox::Sandbox;
use triggerbox_store::db::{Database, Mode};

use self::attempt::Lines;
pub(crate) use self::{backfill::BACKFILL, deliver::deliveries};
pub use self::{
    backfill::Backfilled,
    change::{Changed, Origin},
    control::{Stop, stops},
    deliver::Delivered,
    draft::DraftAnswer,
    dry::DryRun,
    erase::{Erased, Erasing},
    observe::{Attempt, Bookkeeper, Fault, Observer, Overseer, Work},
    odoo::{Drained, SET_ASIDE},
    readable::{Readable, is_renewing, renewing},
    replay::Backtest,
    retain::{Going, Retained},
    shown::Fields,
    work::Workers,
};
use crate::{
    clock::{Clock, millis},
    committer::Committer,
    config::Config,
    error::EngineError,
    index::{self, Index},
    loader::Loader,
    queue,
    random::Random,
    runs::{self, Fires, RunDetail, RunFilter, RunId, RunSummary, Suppressed},
    scripts::ready,
    seats::Seats,
    state::tables,
};

/// The engine of one database.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    committer: Committer,
    loader: Loader,
    /// Where runs line up for workers.
    line: Arc<ahead::Line>,
    /// When the clock was looked at last, and when something is due next.
    looked: Mutex<Option<time::Looked>>,
    /// Who works and who waits.
    seats: Arc<Seats>,
    /// How to stop runs that are running here: each try by the fence of its claim. A newer one may begin before an older one has
    /// come to its end.
    running: Mutex<HashMap<(RunId, i64), Running>>,
    /// Some run here logged a line.
    spoken: watch::Sender<()>,
    /// Something was queued or became due earlier.
    wake: Arc<Notify>,
    /// A run ended.
    ended: Notify,
    /// What people were told of late that they may read.
    told: Mutex<readable::Told>,
    /// Who is told of each try.
    observer: OnceLock<Observer>,
    /// Who is told what dry runs spend.
    bookkeeper: OnceLock<Bookkeeper>,
    /// Who is told what of the engine's own work failed.
    overseer: OnceLock<Overseer>,
}

/// A try that is under way.
struct Running {
    /// How to stop it.
    cancel: oneshot::Sender<()>,
    /// What it logged so far.
    log: Lines,
    /// When it began.
    begun: Timestamp,
    /// Its changes are on their way to an Odoo server, or its answer is being kept: nobody can take them back.
    sends: bool,
    /// Somebody stops it: it sends nothing any more.
    is_stopped: bool,
}

/// What jobs of the committer need of an engine.
struct Shared {
    database: Database,
    config: Config,
    clock: Arc<dyn Clock>,
    random: Random,
    index: Mutex<Arc<Index>>,
    /// Whom runs that begin now may ask.
    services: Mutex<Option<Arc<Services>>>,
}

impl Engine {
    /// Opens the engine of a database: brings its tables up to date, and takes back the runs of a process that is gone. Where the
    /// database is open for reading, another process does that; this engine answers, and whatever would write fails.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(
        database: Database,
        sandbox: Sandbox,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        let now = clock.now();
        if database.mode() == Mode::Write {
            database.transaction(|conn| -> Result<(), EngineError> {
                tables::refuse_newer(conn)?;
                tables::upgrade(conn)?;
                index::watch_users(conn)?;
                ready::install(conn, database.schema(), now)?;
                queue::recover(conn, millis(now), None)?;
                Ok(())
            })?;
        }
        let newest = "SELECT coalesce(max(id), 0) FROM engine_run";
        let runs: i64 = database.snapshot()?.query_row(newest, [], |row| row.get(0))?;
        let loader = Loader::new(sandbox, config.compile.clone());
        let random = Random::new(config.seed, runs);
        let committer = Committer::start(database.clone())?;
        let seats = Seats::new(config.workers, config.waiting);
        let services = Mutex::new(config.outside.clone());
        let shared = Arc::new(Shared { database, config, clock, random, index: Mutex::default(), services });
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                committer,
                loader,
                line: Arc::default(),
                looked: Mutex::default(),
                seats,
                running: Mutex::default(),
                spoken: watch::Sender::default(),
                wake: Arc::default(),
                ended: Notify::new(),
                told: Mutex::default(),
                observer: OnceLock::new(),
                bookkeeper: OnceLock::new(),
                overseer: OnceLock::new(),
            }),
        })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.inner.shared.database
    }

    /// The one who writes. Whatever else writes to the file goes through it too.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.inner.committer
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.shared.clock
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.shared.config
    }

    /// Language models and other services that runs which begin now may ask; none: there are none.
    #[must_use]
    pub fn services(&self) -> Option<Arc<Services>> {
        lock(&self.inner.shared.services).clone()
    }

    /// Has runs that begin from now on ask these. Those that have begun ask whom they began with.
    pub fn set_services(&self, services: Option<Arc<Services>>) {
        *lock(&self.inner.shared.services) = services;
    }

    /// How many runs wait for a language model or another service now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        *self.watch_waiting().borrow()
    }

    /// The same for those who want to be told of each change.
    #[must_use]
    pub fn watch_waiting(&self) -> watch::Receiver<usize> {
        self.inner.seats.waiting()
    }

    /// The rules as they are now. A change of `engine_rule` needs no call: it is seen by itself.
    ///
    /// # Errors
    /// What the database says.
    pub fn rules(&self) -> Result<Arc<Index>, EngineError> {
        self.inner.shared.rules(&*self.database().snapshot()?)
    }

    /// Runs that match, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, EngineError> {
        runs::list(&*self.database().snapshot()?, filter)
    }

    /// One run in full.
    ///
    /// # Errors
    /// `unknown-run`; what the database says.
    pub fn run(&self, run: RunId) -> Result<RunDetail, EngineError> {
        runs::detail(&*self.database().snapshot()?, run)
    }

    /// The runs that go back to one root event, in order.
    ///
    /// # Errors
    /// What the database says.
    pub fn chain(&self, root: i64) -> Result<Vec<RunSummary>, EngineError> {
        runs::chain(&*self.database().snapshot()?, root, usize::MAX)
    }

    /// Fires that did not become runs, newest first: of one chain, of one rule, or all.
    ///
    /// # Errors
    /// What the database says.
    pub fn suppressed(
        &self,
        root: Option<i64>,
        rule: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Suppressed>, EngineError> {
        let fires = Fires { root, rule: rule.map(str::to_owned), before: None, limit };
        runs::suppressed(&*self.database().snapshot()?, &fires)
    }
}

impl Shared {
    /// The rules as the connection sees them.
    fn rules(&self, conn: &Connection) -> Result<Arc<Index>, EngineError> {
        let known = Arc::clone(&lock(&self.index));
        if known.revision == index::revision(conn)? && known.is_loaded() {
            return Ok(known);
        }
        let env = index::environment(&self.database, self.clock.now())?;
        let fresh = Arc::new(Index::load(conn, env, Some(&self.config))?);
        *lock(&self.index) = Arc::clone(&fresh);
        Ok(fresh)
    }

    fn now(&self) -> i64 {
        millis(self.clock.now())
    }
}

/// What a mutex of the engine guards stays usable after a panic: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("database", self.database()).finish_non_exhaustive()
    }
}
