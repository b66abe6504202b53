//! The one source of time. Nothing else in this crate asks what time it is.

use std::{future::Future, pin::Pin, sync::Mutex, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Comes back when it is `until`, or earlier: the clock may have been set.
    fn sleep_until(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A sleep is cut to this: after a suspend or a step of the machine's clock, what is due is late by this much at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = Duration::try_from(until.duration_since(self.now())).unwrap_or(Duration::ZERO);
        Box::pin(tokio::time::sleep(left.min(LONGEST_SLEEP)))
    }
}

/// A clock that stands until somebody turns it.
#[derive(Debug)]
pub struct TestClock {
    now: Mutex<watch::Sender<Timestamp>>,
}

impl TestClock {
    /// A clock that stands at this time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: Mutex::new(watch::Sender::new(now)) }
    }

    /// Sets it, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.sender().send_replace(now);
    }

    /// Turns it forward.
    pub fn advance(&self, by: Duration) {
        self.sender().send_modify(|now| *now = now.saturating_add(by).unwrap_or(*now));
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, watch::Sender<Timestamp>> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.sender().borrow()
    }

    fn sleep_until(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut receiver = self.sender().subscribe();
        Box::pin(async move {
            // An error means that the clock is gone: then nobody waits for it.
            let _ = receiver.wait_for(|now| *now >= until).await;
        })
    }
}

/// Comes back when it is `until`, not earlier; a clock that was put back meanwhile is not waited for.
pub async fn reach(clock: &dyn Clock, until: Timestamp) {
    let began = clock.now();
    while (began..until).contains(&clock.now()) {
        clock.sleep_until(until).await;
    }
}

/// Milliseconds since 1970, as the tables keep times.
#[must_use]
pub fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// The time that a table keeps.
#[must_use]
pub fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or_default()
}
