//! The engine's random numbers: run ids, seeds of runs, jitter. One source, so that a test can have them repeat.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A source of random numbers.
#[derive(Debug)]
pub(crate) struct Random(Mutex<StdRng>);

impl Random {
    /// `runs`: how many there were before. The same seed goes on, it does not start again.
    pub(crate) fn new(seed: Option<u64>, runs: i64) -> Self {
        let seed = seed.map_or_else(rand::random, |seed| seed ^ runs.cast_unsigned().rotate_left(32));
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A run's id, as scripts and other systems see it.
    pub(crate) fn key(&self) -> String {
        format!("{:016x}", self.lock().random::<u64>())
    }

    /// Where a run's own random numbers start.
    pub(crate) fn seed(&self) -> u32 {
        self.lock().random()
    }

    /// Between half of a time and all of it: many that wait for the same thing do not all come back at once.
    pub(crate) fn jitter(&self, milliseconds: i64) -> i64 {
        let half = (milliseconds / 2).max(0);
        half + self.lock().random_range(0..=half)
    }

    /// True once in so many times.
    pub(crate) fn once_in(&self, times: u32) -> bool {
        times > 0 && self.lock().random_range(0..times) == 0
    }

    fn lock(&self) -> MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
