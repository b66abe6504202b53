//! A provider's rate limit, kept on our side: so much a minute, and how long to wait for the next.

use std::time::Duration;

use jiff::Timestamp;

/// So many units a minute. What is taken in advance is waited for.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    per_minute: f64,
    /// What is there to take; below zero when more is promised than there is.
    level: f64,
    /// What those will come for who were told to come back: less with time, as they come.
    promised: f64,
    at: Timestamp,
}

impl Pace {
    /// A minute's units are there to begin with.
    pub(super) fn new(per_minute: u32, now: Timestamp) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self { per_minute, level: per_minute, promised: 0.0, at: now }
    }

    /// How long to wait until `amount` is there.
    pub(super) fn wait(&mut self, amount: f64, now: Timestamp) -> Duration {
        let passed = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        self.at = self.at.max(now);
        let more = passed.as_secs_f64() * self.per_minute / 60.0;
        self.level = (self.level + more).min(self.per_minute);
        self.promised = (self.promised - more).max(0.0);
        self.time(self.missing(amount))
    }

    /// Has somebody come back who cannot wait: when it is there for them too, behind all who were told so before.
    pub(super) fn promise(&mut self, amount: f64) -> Duration {
        let wait = self.time(self.missing(amount) + self.promised);
        self.promised += amount.min(self.per_minute);
        wait
    }

    /// More than a minute's worth is taken when a minute's worth is there.
    fn missing(&self, amount: f64) -> f64 {
        (amount.min(self.per_minute) - self.level).max(0.0)
    }

    fn time(&self, amount: f64) -> Duration {
        Duration::try_from_secs_f64(amount * 60.0 / self.per_minute).unwrap_or(Duration::MAX)
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

    #[test]
    fn who_is_told_to_come_back_has_a_time_of_their_own() {
        let (start, longest) = (Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let mut pace = Pace::new(60, start);
        let mut told = Vec::new();
        for _ in 0..1_000 {
            match pace.wait(1.0, start) <= longest {
                true => pace.take(1.0),
                false => told.push(pace.promise(1.0)),
            }
        }
        let (first, last) = (told[0].as_secs(), told[told.len() - 1].as_secs());
        assert_eq!(
            (told.len(), first, last),
            (880, 61, 940),
            "a minute's worth at once, one in advance, the rest in turn"
        );
        for wait in told {
            assert!(pace.wait(1.0, start + wait) <= longest, "nobody is told twice");
            pace.take(1.0);
        }
    }
}
