//! Seats for runs: those that compute share the workers. A run that waits for a language model or another service leaves
//! its seat meanwhile, and takes one again, in turn with all others, before it goes on.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use triggerbox_llm::outside::Seat;

/// All seats of an engine.
pub(crate) struct Seats {
    /// First come, first served: new runs and those that come back stand in one line.
    working: Arc<Semaphore>,
    /// How many wait; whoever wants to know is told of each change.
    waiting: watch::Sender<usize>,
    most_waiting: usize,
    /// Rules whose runs left their seats: no more of them are begun while nobody else may wait.
    waiters: Mutex<HashSet<String>>,
    /// A run no longer waits, so that another may: told where nobody else could.
    pub(crate) freed: Notify,
}

impl Seats {
    /// So many runs may work at once, and so many more may wait.
    pub(crate) fn new(working: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            working: Arc::new(Semaphore::new(working.min(Semaphore::MAX_PERMITS))),
            waiting: watch::Sender::new(0),
            most_waiting: waiting,
            waiters: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// One seat as soon as there is one, and what else is free then: at most `most` in all.
    pub(crate) async fn some(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let first = Arc::clone(&self.working).acquire_owned().await.ok();
        let more = self.free(most.saturating_sub(1));
        first.into_iter().chain(more).collect()
    }

    /// Seats that are free now: at most `most`.
    pub(crate) fn free(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        (0..most).map_while(|_| Arc::clone(&self.working).try_acquire_owned().ok()).collect()
    }

    /// Seats a run of a rule.
    pub(crate) fn give(self: &Arc<Self>, seat: OwnedSemaphorePermit, rule: &str) -> Arc<Taken> {
        Arc::new(Taken { seats: Arc::clone(self), rule: rule.to_owned(), held: Mutex::new(Held::Working(seat)) })
    }

    /// How many runs wait, now and from now on.
    pub(crate) fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Rules of which no run is to begin now, as it would wait and nobody else may.
    pub(crate) fn held_back(&self) -> HashSet<String> {
        match *self.waiting.borrow() < self.most_waiting {
            true => HashSet::new(),
            false => lock(&self.waiters).clone(),
        }
    }
}

/// A run's seat, from its claim to its end; whatever is held then is given back.
pub(crate) struct Taken {
    seats: Arc<Seats>,
    rule: String,
    held: Mutex<Held>,
}

enum Held {
    Working(#[allow(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit),
    Waiting(#[allow(dead_code, reason = "counted until it is dropped")] Away),
}

/// Counts a run as one that waits, as long as it is there. Then another may wait: it is told where nobody else could.
struct Away(Arc<Seats>);

impl Drop for Away {
    fn drop(&mut self) {
        let mut all_waited = false;
        self.0.waiting.send_modify(|waiting| {
            all_waited = *waiting >= self.0.most_waiting;
            *waiting = waiting.saturating_sub(1);
        });
        if all_waited {
            self.0.freed.notify_one();
        }
    }
}

#[async_trait::async_trait]
impl Seat for Taken {
    fn leave(&self) {
        let mut held = lock(&self.held);
        if matches!(*held, Held::Waiting(_)) {
            return;
        }
        let mut waiters = lock(&self.seats.waiters);
        if !waiters.contains(&self.rule) {
            waiters.insert(self.rule.clone());
        }
        // Where nobody else may wait, the run waits in its seat.
        let most = self.seats.most_waiting;
        let may = |waiting: &mut usize| {
            let may = *waiting < most;
            *waiting += usize::from(may);
            may
        };
        if self.seats.waiting.send_if_modified(may) {
            *held = Held::Waiting(Away(Arc::clone(&self.seats)));
        }
    }

    async fn take(&self) {
        if matches!(*lock(&self.held), Held::Working(_)) {
            return;
        }
        if let Ok(permit) = Arc::clone(&self.seats.working).acquire_owned().await {
            *lock(&self.held) = Held::Working(permit);
        }
    }
}

/// What these hold stays usable after a panic: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_leaves_a_seat_to_others_and_stands_in_line_for_it_afterwards() {
        let seats = Seats::new(1, 1);
        let seat = seats.some(5).await.remove(0);
        let agent = seats.give(seat, "agent");
        agent.leave();
        assert_eq!((count(&seats), seats.held_back().contains("agent")), (1, true));
        let other = seats.some(1).await;
        let mut back = std::pin::pin!(agent.take());
        assert!(look(back.as_mut()).is_pending(), "the other one works");
        drop(other);
        back.await;
        assert_eq!((count(&seats), seats.held_back().len()), (0, 0));
    }

    #[tokio::test]
    async fn where_nobody_else_may_wait_a_run_waits_in_its_seat() {
        let seats = Seats::new(2, 1);
        let taken = seats.some(2).await.into_iter().map(|seat| seats.give(seat, "agent")).collect::<Vec<_>>();
        taken.iter().for_each(|seat| seat.leave());
        assert_eq!(count(&seats), 1);
        assert_eq!(seats.some(2).await.len(), 1, "the other one kept its seat");
        drop(taken);
        assert_eq!((count(&seats), seats.some(2).await.len()), (0, 2));
    }

    fn count(seats: &Seats) -> usize {
        *seats.waiting().borrow()
    }

    /// One look at a future.
    fn look<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
