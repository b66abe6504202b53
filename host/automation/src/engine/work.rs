//! Workers: claim what is due, and have it tried.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        mpsc::{UnboundedReceiver, UnboundedSender},
        watch,
    },
    task::JoinSet,
};

use super::{Engine, ahead::Begun, lock, observe::Work};
use crate::{
    clock::timestamp,
    error::EngineError,
    index::Armed,
    queue::{self, Claim},
};

/// With nothing to wait for, the clock is looked at again after this long.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What runs.
type Tries = JoinSet<Result<(), EngineError>>;

/// What workers do, and what comes to them besides what they find in the queue.
struct AtWork {
    begun: UnboundedReceiver<Begun>,
    tries: Tries,
}

/// Workers that run until they are told to stop.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Workers {
    /// Takes no further runs, and waits for those that were taken.
    pub async fn drain(self) {
        self.stop.send_replace(true);
        // A panic of a worker has been told already; its run is found again.
        let _ = self.task.await;
    }
}

impl Engine {
    /// Does everything that is due now, in parallel, and waits for it. How many runs were tried.
    ///
    /// # Errors
    /// What the database says.
    pub async fn step(&self) -> Result<usize, EngineError> {
        self.tick().await?;
        let seats = self.inner.seats.some(self.config().workers).await;
        let mut tries = JoinSet::new();
        let count = self.begin_due(seats, &mut tries).await?;
        while let Some(done) = tries.join_next().await {
            done.unwrap_or(Ok(()))?;
        }
        Ok(count)
    }

    /// Works until nothing is due any more. Runs that wait for somebody else hold up no others meanwhile. How many runs were
    /// tried.
    ///
    /// # Errors
    /// What the database says.
    pub async fn settle(&self) -> Result<usize, EngineError> {
        let mut tries = JoinSet::new();
        let mut count = 0;
        loop {
            self.tick().await?;
            let begun = tokio::select! {
                free = self.inner.seats.some(self.config().workers) => self.begin_due(free, &mut tries).await?,
                Some(done) = tries.join_next() => {
                    done.unwrap_or(Ok(()))?;
                    continue;
                }
            };
            count += begun;
            if begun > 0 {
                continue;
            }
            tokio::select! {
                () = self.inner.wake.notified() => {}
                () = self.inner.seats.freed.notified() => {}
                done = tries.join_next() => match done {
                    Some(done) => done.unwrap_or(Ok(()))?,
                    None => return Ok(count),
                },
            }
        }
    }

    /// Rules of which runs are due that this engine leaves in the queue, as it does not know how to ask whom they ask; how many.
    ///
    /// # Errors
    /// What the database says.
    pub fn left_unserved(&self) -> Result<Vec<(Arc<Armed>, u32)>, EngineError> {
        let (conn, now) = (self.database().snapshot()?, self.inner.shared.now());
        let rules = self.inner.shared.rules(&conn)?;
        let unserved = rules.all().iter().filter(|armed| armed.is_live() && armed.unserved.any());
        let mut left = Vec::new();
        for armed in unserved {
            let count = queue::count_due(&conn, &armed.rule.name, now)?;
            if count > 0 {
                left.push((Arc::clone(armed), count));
            }
        }
        Ok(left)
    }

    /// Starts workers on the current runtime.
    #[must_use]
    pub fn start(&self) -> Workers {
        let (stop, stopped) = watch::channel(false);
        let engine = self.clone();
        let (workers, begun) = self.inner.line.open();
        let at_work = AtWork { begun, tries: JoinSet::new() };
        Workers { stop, task: tokio::spawn(async move { engine.serve(workers, at_work, stopped).await }) }
    }

    async fn serve(&self, workers: UnboundedSender<Begun>, mut at_work: AtWork, mut stopped: watch::Receiver<bool>) {
        let line = || Box::pin(self.inner.seats.some(self.config().workers));
        // Kept while other things happen: whoever stands in line for a seat keeps the place.
        let mut seats = line();
        while !*stopped.borrow() {
            // What fails here is the database; it is tried again when there is something to do, or in a while. Whoever listens has
            // been told.
            let _ = self.oversee(Work::Clock, None, self.tick().await);
            let looked = self.inner.shared.now();
            tokio::select! {
                biased;
                free = &mut seats => {
                    seats = line();
                    // With seats left nothing else is due that may start now.
                    let offered = free.len();
                    let begun = self.oversee(Work::Queue, None, self.begin_due(free, &mut at_work.tries).await);
                    if begun.unwrap_or_default() < offered {
                        self.something(&mut at_work, looked, &mut stopped).await;
                    }
                }
                () = self.something(&mut at_work, looked, &mut stopped) => {}
            }
            while at_work.tries.try_join_next().is_some() {}
            // Whatever else there is to do: these have their seats.
            while let Ok(begun) = at_work.begun.try_recv() {
                self.begin(begun, &mut at_work.tries);
            }
        }
        // A place in the line that nobody takes any more would hold up runs that come back for their seats.
        drop(seats);
        // What was begun in a transaction of somebody's by now is tried, too.
        self.inner.line.close(&workers);
        drop(workers);
        while let Some(begun) = at_work.begun.recv().await {
            self.begin(begun, &mut at_work.tries);
        }
        while at_work.tries.join_next().await.is_some() {}
    }

    /// Waits for anything after which there may be something to do besides what is begun meanwhile. `looked`: when the queue
    /// was looked at.
    async fn something(&self, at_work: &mut AtWork, looked: i64, stopped: &mut watch::Receiver<bool>) {
        let until = self.next_due(looked);
        loop {
            tokio::select! {
                Some(begun) = at_work.begun.recv() => self.begin(begun, &mut at_work.tries),
                // Its seat is free: whoever stands in line for one has it.
                Some(_) = at_work.tries.join_next() => {}
                () = self.inner.wake.notified() => return,
                () = self.inner.seats.freed.notified() => return,
                () = self.clock().sleep_until(until) => return,
                Ok(()) = stopped.changed() => return,
            }
        }
    }

    /// Starts runs that are due, each in a seat; how many. Seats that are left are free again.
    async fn begin_due(&self, seats: Vec<OwnedSemaphorePermit>, tries: &mut Tries) -> Result<usize, EngineError> {
        let claims = self.claim(seats.len()).await?;
        let count = claims.len();
        for (claim, seat) in claims.into_iter().zip(seats) {
            self.begin(Begun { claim, seat }, tries);
        }
        Ok(count)
    }

    /// Starts a run in its seat.
    fn begin(&self, begun: Begun, tries: &mut Tries) {
        let seat = self.inner.seats.give(begun.seat, &begun.claim.rule.rule.name);
        let engine = self.clone();
        let run = begun.claim.id;
        tries.spawn(async move { engine.oversee(Work::Run, Some(run), engine.attempt(begun.claim, seat).await) });
    }

    /// When something is due next that was not when the queue was looked at.
    fn next_due(&self, looked: i64) -> jiff::Timestamp {
        let now = self.clock().now();
        let later = now.saturating_add(LOOK_AGAIN).unwrap_or(now);
        let due = self.database().snapshot().ok().and_then(|conn| queue::next_due(&conn, looked).ok().flatten());
        let due = due.map_or(later, timestamp).min(later);
        self.next_tick().map_or(due, |tick| tick.min(due))
    }

    async fn claim(&self, most: usize) -> Result<Vec<Claim>, EngineError> {
        let now = self.inner.shared.now();
        if !queue::is_something_due(&*self.database().snapshot()?, now)? {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.inner.shared);
        let mut turn = lock(&self.inner.line.turn).clone();
        let held_back = self.inner.seats.held_back();
        let (claims, turn) = self
            .committer()
            .commit(move |conn| {
                let index = shared.rules(conn)?;
                let claims = queue::claim(conn, &index, shared.now(), most, &held_back, &mut turn)?;
                crate::failpoint::hit("lease-written");
                Ok::<_, EngineError>((claims, turn))
            })
            .await?;
        crate::failpoint::hit("after-lease");
        // Runs that cannot be claimed are over.
        self.inner.ended.notify_waiters();
        *lock(&self.inner.line.turn) = turn;
        Ok(claims)
    }
}
