//! A run's time: computing and waiting measured apart, and a virtual clock for the script.
//!
//! The script's clocks do not run. When it waits on its monotonic clock, that clock jumps to the end of the
//! wait at once, and the time that it would have taken is charged to the run as if it had passed.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use triggerbox_model::limits::{Limit, Limits};

use crate::stop::Stop;

/// One run's clock, shared between the run, its host calls and its WASI timers.
#[derive(Clone)]
pub(crate) struct RunClock(Arc<Mutex<Times>>);

/// What is known about a run's time so far.
pub(crate) struct Times {
    started: Instant,
    /// When the current turn of the run began, if one is on.
    turn: Option<Instant>,
    /// All turns that are over.
    turns: Duration,
    /// The part of the turns that host calls computed.
    host_turns: Duration,
    /// From begin to end of host calls, waiting included.
    host_calls: Duration,
    /// What the script waited on its own clock without anybody waiting.
    virtual_wait: Duration,
    /// What scripts that ran within this run computed, and what they waited on their own clocks without anybody waiting.
    within: (Duration, Duration),
    /// How many timers wait for each point of the virtual clock.
    waiting: BTreeMap<Duration, u32>,
}

impl Times {
    /// Time inside the script, by `now`.
    pub(crate) fn guest(&self, now: Instant) -> Duration {
        let turn = self.turn.map_or(Duration::ZERO, |since| now - since);
        (self.turns + turn).saturating_sub(self.host_turns) + self.within.0
    }

    /// From begin to `now`, virtual waiting included.
    pub(crate) fn wall(&self, now: Instant) -> Duration {
        self.real(now) + self.virtual_wait + self.within.1
    }

    /// From begin to `now`.
    pub(crate) fn real(&self, now: Instant) -> Duration {
        now - self.started
    }

    pub(crate) fn host_calls(&self) -> Duration {
        self.host_calls
    }

    /// When the time from begin to end is over: the first moment that is past it. None: never.
    pub(crate) fn until(&self, limits: &Limits) -> Option<Instant> {
        let left = Duration::from_millis(limits.get(Limit::WallTime)).saturating_sub(self.virtual_wait + self.within.1);
        self.started.checked_add(left + Duration::from_millis(1))
    }

    /// The limit on time that is passed by `now`, if one is.
    pub(crate) fn over(&self, limits: &Limits, now: Instant) -> Option<Limit> {
        let over = |limit, used: Duration| used > Duration::from_millis(limits.get(limit));
        if over(Limit::WallTime, self.wall(now)) {
            Some(Limit::WallTime)
        } else if over(Limit::CpuTime, self.guest(now)) {
            Some(Limit::CpuTime)
        } else {
            None
        }
    }
}

impl RunClock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Times {
            started: Instant::now(),
            turn: None,
            turns: Duration::ZERO,
            host_turns: Duration::ZERO,
            host_calls: Duration::ZERO,
            virtual_wait: Duration::ZERO,
            within: (Duration::ZERO, Duration::ZERO),
            waiting: BTreeMap::new(),
        })))
    }

    pub(crate) fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the script's monotonic clock shows.
    pub(crate) fn virtual_now(&self) -> Duration {
        self.times().virtual_wait
    }

    /// Adds what a script that ran within this run computed, and what of its time nobody waited for.
    pub(crate) fn add(&self, guest: Duration, waited: Duration) {
        let within = &mut self.times().within;
        *within = (within.0.saturating_add(guest), within.1.saturating_add(waited));
    }

    /// Waits until the virtual clock shows `deadline`.
    pub(crate) fn wait_until(&self, deadline: Duration) -> VirtualWait<'_> {
        VirtualWait { clock: self, deadline, registered: false }
    }

    /// Runs a host call that begins now, and keeps its time apart from the script's.
    pub(crate) async fn in_host<F: Future>(&self, begin: Instant, call: F) -> F::Output {
        let mut call = std::pin::pin!(call);
        let mut first = Some(begin);
        let output = std::future::poll_fn(|context| {
            let turn = first.take().unwrap_or_else(Instant::now);
            let poll = call.as_mut().poll(context);
            let end = Instant::now();
            let mut times = self.times();
            times.host_turns += end - turn;
            if poll.is_ready() {
                times.host_calls += end - begin;
            }
            poll
        });
        output.await
    }

    /// Runs a whole run: measures its turns, and ends it when its time is over, also where a host call waits.
    /// By reference: a run's future is large, and would be moved twice.
    pub(crate) async fn watch<F: Future>(&self, limits: &Limits, mut run: Pin<&mut F>) -> Result<F::Output, Stop> {
        let mut alarm: Option<(Instant, Pin<Box<tokio::time::Sleep>>)> = None;
        std::future::poll_fn(|context| {
            self.times().turn = Some(Instant::now());
            let poll = run.as_mut().poll(context);
            let now = Instant::now();
            let mut times = self.times();
            if let Some(since) = times.turn.take() {
                times.turns += now - since;
            }
            // Also at the very end: a run that was over its time is over its limit, whatever it returned.
            if let Some(limit) = times.over(limits, now) {
                return Poll::Ready(Err(Stop::Limit(limit)));
            }
            if let Poll::Ready(output) = poll {
                return Poll::Ready(Ok(output));
            }
            let Some(due) = times.until(limits) else { return Poll::Pending };
            drop(times);
            // Most runs end in their first turn and never pay for a timer.
            let (set, sleep) = alarm.get_or_insert_with(|| (due, Box::pin(tokio::time::sleep_until(due.into()))));
            if *set != due {
                sleep.as_mut().reset(due.into());
                *set = due;
            }
            match sleep.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(Stop::Limit(Limit::WallTime))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// A timer on the virtual clock. The first turn only enters it; if nothing else is ready by the next turn,
/// the earliest of all entered timers moves the clock. So a poll over several timers wakes for the first one only.
pub(crate) struct VirtualWait<'a> {
    clock: &'a RunClock,
    deadline: Duration,
    registered: bool,
}

impl Future for VirtualWait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut times = clock.times();
        if times.virtual_wait >= self.deadline {
            return Poll::Ready(());
        }
        if self.registered && times.waiting.keys().next() == Some(&self.deadline) {
            times.virtual_wait = self.deadline;
            return Poll::Ready(());
        }
        if !self.registered {
            *times.waiting.entry(self.deadline).or_default() += 1;
            drop(times);
            self.registered = true;
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for VirtualWait<'_> {
    fn drop(&mut self) {
        if !self.registered {
            return;
        }
        let mut times = self.clock.times();
        if let Some(count) = times.waiting.get_mut(&self.deadline) {
            *count -= 1;
            if *count == 0 {
                times.waiting.remove(&self.deadline);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use triggerbox_model::limits::{Class, LimitRequest};

    use super::*;

    #[tokio::test]
    async fn waiting_moves_the_virtual_clock_to_the_earliest_timer() {
        let clock = RunClock::start();
        tokio::select! {
            () = clock.wait_until(Duration::from_secs(30)) => panic!("the later timer fired first"),
            () = clock.wait_until(Duration::from_secs(10)) => {}
        }
        assert_eq!(clock.virtual_now(), Duration::from_secs(10));
        assert!(clock.times().waiting.is_empty());
    }

    #[tokio::test]
    async fn virtual_waiting_is_charged_to_the_wall() {
        let limits = Limits::resolve(Class::Sync, [&LimitRequest([(Limit::WallTime, 5_000)].into())]);
        let clock = RunClock::start();
        let wait = std::pin::pin!(clock.wait_until(Duration::from_secs(3600)));
        let stop = clock.watch(&limits, wait).await;
        assert!(matches!(stop, Err(Stop::Limit(Limit::WallTime))));
        assert!(clock.times().real(Instant::now()) < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn the_hosts_time_is_not_the_scripts() {
        let limits = Limits::resolve(Class::Async, []);
        let clock = RunClock::start();
        let work = std::pin::pin!(async {
            let work = async {
                let until = Instant::now() + Duration::from_millis(20);
                while Instant::now() < until {}
            };
            clock.in_host(Instant::now(), work).await;
        });
        clock.watch(&limits, work).await.unwrap();
        let times = clock.times();
        let guest = times.guest(Instant::now());
        assert!(guest < Duration::from_millis(10), "{guest:?}");
        assert!(times.host_calls() >= Duration::from_millis(20));
    }
}
