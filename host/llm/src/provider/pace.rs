//! A provider's rate limit, kept on our side: so much a minute, and how long to wait for the next.

use std::time::Duration;

use jiff::Timestamp;

/// So many units a minute. What is taken in advance is waited for.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    per_minute: f64,
    /// What is there to take; below zero when more is promised than there is.
    level: f64,
    at: Timestamp,
}

impl Pace {
    /// A minute's units are there to begin with.
    pub(super) fn new(per_minute: u32, now: Timestamp) -> Self {
        Self { per_minute: f64::from(per_minute.max(1)), level: f64::from(per_minute.max(1)), at: now }
    }

    /// How long to wait until `amount` is there.
    pub(super) fn wait(&mut self, amount: f64, now: Timestamp) -> Duration {
        let passed = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        self.at = self.at.max(now);
        self.level = (self.level + passed.as_secs_f64() * self.per_minute / 60.0).min(self.per_minute);
        // More than a minute's worth is taken when a minute's worth is there.
        let missing = amount.min(self.per_minute) - self.level;
        Duration::try_from_secs_f64(missing.max(0.0) * 60.0 / self.per_minute).unwrap_or(Duration::MAX)
    }

    /// Takes it.
    pub(super) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_advance_is_waited_for() {
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| start + jiff::SignedDuration::from_secs(seconds);
        let mut pace = Pace::new(60, start);
        for _ in 0..60 {
            assert_eq!(pace.wait(1.0, start), Duration::ZERO);
            pace.take(1.0);
        }
        assert_eq!(pace.wait(1.0, start), Duration::from_secs(1));
        pace.take(1.0);
        assert_eq!(pace.wait(1.0, start), Duration::from_secs(2));
        assert_eq!(pace.wait(1.0, at(2)), Duration::ZERO);
        // A clock that goes back gives nothing and takes nothing.
        assert_eq!(pace.wait(1.0, start), Duration::ZERO);
        // More than a minute's worth is not waited for in vain.
        assert_eq!(pace.wait(1_000.0, at(70)), Duration::ZERO);
    }
}
