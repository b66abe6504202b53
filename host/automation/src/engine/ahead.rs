//! Runs that begin in the very transaction that queues them, as far as there are workers with nothing to do: it takes one
//! durable transaction less, and nobody has to be woken to look what there is to do.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use rusqlite::Connection;
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{Engine, Shared, lock};
use crate::{
    error::EngineError,
    queue::{self, Claim},
    runs::RunId,
    seats::Seats,
};

/// Where runs line up for workers.
#[derive(Default)]
pub(super) struct Line {
    /// Workers that take what was begun; none: there are no workers.
    to: Mutex<Option<UnboundedSender<Begun>>>,
    /// The rule that had its turn last.
    pub(super) turn: Mutex<String>,
}

/// A run that has a worker's seat.
pub(super) struct Begun {
    pub(super) claim: Claim,
    pub(super) seat: OwnedSemaphorePermit,
}

/// What was begun in a transaction. If that is not committed, nothing was, and the seats are free.
#[derive(Default)]
struct Ahead {
    begun: Vec<Begun>,
    /// While somebody holds it, workers that are told to stop wait for what may come.
    to: Option<UnboundedSender<Begun>>,
    /// Runs were queued that were not begun.
    left: bool,
}

impl Line {
    /// Has workers take what is begun, until [`Line::close`].
    pub(super) fn open(&self) -> (UnboundedSender<Begun>, UnboundedReceiver<Begun>) {
        let (to, begun) = unbounded_channel();
        *lock(&self.to) = Some(to.clone());
        (to, begun)
    }

    /// Ends that for these workers. Others that were started since go on.
    pub(super) fn close(&self, workers: &UnboundedSender<Begun>) {
        let mut to = lock(&self.to);
        if to.as_ref().is_some_and(|to| to.same_channel(workers)) {
            *to = None;
        }
    }

    /// Begins as many runs as were queued in this transaction, if there are seats for them.
    fn begin(&self, conn: &Connection, shared: &Shared, seats: &Arc<Seats>, queued: &[RunId]) -> Ahead {
        let nothing = Ahead { left: !queued.is_empty(), ..Ahead::default() };
        let Some(to) = lock(&self.to).clone().filter(|to| !to.is_closed() && !queued.is_empty()) else {
            return nothing;
        };
        let free = seats.free(queued.len());
        // What is not begun here is looked at by the workers: nothing that fails here is a reason not to queue it.
        let Ok(claims) = self.claim(conn, shared, free.len(), &seats.held_back()) else { return nothing };
        let begun: Vec<Begun> = claims.into_iter().zip(free).map(|(claim, seat)| Begun { claim, seat }).collect();
        let left = queued.iter().any(|run| begun.iter().all(|begun| begun.claim.id != *run));
        Ahead { begun, to: Some(to), left }
    }

    fn claim(
        &self,
        conn: &Connection,
        shared: &Shared,
        most: usize,
        held_back: &HashSet<String>,
    ) -> Result<Vec<Claim>, EngineError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        conn.execute_batch("SAVEPOINT ahead")?;
        let mut turn = lock(&self.turn).clone();
        let claims = shared.rules(conn).and_then(|rules| {
            queue::claim(conn, &rules, shared.now(), most, held_back, &mut turn).inspect(|_| *lock(&self.turn) = turn)
        });
        conn.execute_batch(if claims.is_ok() { "RELEASE ahead" } else { "ROLLBACK TO ahead; RELEASE ahead" })?;
        crate::failpoint::hit("lease-written");
        claims
    }
}

impl Ahead {
    /// Gives what was begun, now that it is committed, to the workers.
    fn hand_over(&mut self) {
        let Some(to) = self.to.take() else { return };
        crate::failpoint::hit("after-lease");
        for begun in self.begun.drain(..) {
            // Workers that are gone without having been told to stop are those of a process that ends: its runs are found
            // again.
            let _ = to.send(begun);
        }
    }
}

impl Engine {
    /// Does work that queues runs: these, and what else it comes to. As many of them begin with it as there are workers that
    /// have nothing to do.
    pub(super) async fn queue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<(T, Vec<RunId>), EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (line, shared, seats) =
            (Arc::clone(&self.inner.line), Arc::clone(&self.inner.shared), Arc::clone(&self.inner.seats));
        let wake = Arc::clone(&self.inner.wake);
        let work = move |conn: &Connection| {
            let (value, queued) = work(conn)?;
            let ahead = line.begin(conn, &shared, &seats, &queued);
            Ok::<_, EngineError>((value, ahead))
        };
        // Also if the caller no longer waits for it.
        let then = move |(_, ahead): &mut (T, Ahead)| {
            ahead.hand_over();
            if ahead.left {
                wake.notify_one();
            }
        };
        let (value, _) = self.committer().commit_then(work, then).await?;
        Ok(value)
    }
}
