//! Workers: claim what is due, and have it tried.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::{sync::watch, task::JoinSet};

use super::{Engine, lock};
use crate::{
    clock::{millis, timestamp},
    error::EngineError,
    queue::{self, Claim},
};

/// With nothing to wait for, the clock is looked at again after this long.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

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
        let claims = self.claim(self.config().workers).await?;
        let mut tries = JoinSet::new();
        let count = claims.len();
        for claim in claims {
            let engine = self.clone();
            tries.spawn(async move { engine.attempt(claim).await });
        }
        while let Some(done) = tries.join_next().await {
            done.unwrap_or(Ok(()))?;
        }
        Ok(count)
    }

    /// Takes steps until nothing is due any more. How many runs were tried.
    ///
    /// # Errors
    /// What the database says.
    pub async fn settle(&self) -> Result<usize, EngineError> {
        let mut count = 0;
        loop {
            match self.step().await? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    /// Starts workers on the current runtime.
    #[must_use]
    pub fn start(&self) -> Workers {
        let (stop, stopped) = watch::channel(false);
        let engine = self.clone();
        Workers { stop, task: tokio::spawn(async move { engine.serve(stopped).await }) }
    }

    async fn serve(&self, mut stopped: watch::Receiver<bool>) {
        let mut tries = JoinSet::new();
        while !*stopped.borrow() {
            let free = self.config().workers.saturating_sub(tries.len());
            // What fails here is the database; it is tried again when there is something to do, or in a while.
            let _ = self.tick().await;
            let claims = if free > 0 { self.claim(free).await.unwrap_or_default() } else { Vec::new() };
            let idle = claims.is_empty();
            for claim in claims {
                let engine = self.clone();
                tries.spawn(async move { engine.attempt(claim).await });
            }
            if idle {
                let until = self.next_due();
                tokio::select! {
                    () = self.inner.wake.notified() => {}
                    _ = tries.join_next(), if !tries.is_empty() => {}
                    () = self.clock().sleep_until(until) => {}
                    _ = stopped.changed() => {}
                }
            }
            while tries.try_join_next().is_some() {}
        }
        while tries.join_next().await.is_some() {}
    }

    /// When something is due next.
    fn next_due(&self) -> jiff::Timestamp {
        let now = self.clock().now();
        let later = now.saturating_add(LOOK_AGAIN).unwrap_or(now);
        let due = self.database().snapshot().ok().and_then(|conn| queue::next_due(&conn, millis(now)).ok().flatten());
        let due = due.map_or(later, timestamp).min(later);
        self.next_tick().map_or(due, |tick| tick.min(due))
    }

    async fn claim(&self, most: usize) -> Result<Vec<Claim>, EngineError> {
        let now = self.inner.shared.now();
        if !queue::is_something_due(&*self.database().snapshot()?, now)? {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.inner.shared);
        let mut turn = lock(&self.inner.turn).clone();
        let (claims, turn) = self
            .committer()
            .commit(move |conn| {
                let index = shared.rules(conn)?;
                let claims = queue::claim(conn, &index, shared.now(), most, &mut turn)?;
                crate::failpoint::hit("lease-written");
                Ok::<_, EngineError>((claims, turn))
            })
            .await?;
        crate::failpoint::hit("after-lease");
        *lock(&self.inner.turn) = turn;
        Ok(claims)
    }
}
