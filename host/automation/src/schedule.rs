//! When a schedule is due: computed from its definition alone, never from when it ran.
//!
//! Days, weeks and months are counted in the schedule's zone, so that 9 o'clock stays 9 o'clock. A civil time that a zone
//! skips is due when the clock has been put forward; one that happens twice is due the first time.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{SignedDuration, Span, Timestamp, ToSpan, Unit as JiffUnit, civil::DateTime, tz::TimeZone};
use triggerbox_model::{error::Error, time};

use crate::rule::trigger::{Schedule, Unit};

/// The slots of a schedule.
#[derive(Debug)]
pub struct Slots {
    zone: TimeZone,
    rhythm: Rhythm,
}

#[derive(Debug)]
enum Rhythm {
    /// So many seconds after each other.
    Fixed { first: Timestamp, step: i64 },
    /// So many calendar units after each other.
    Calendar { first: DateTime, every: i64, unit: Unit },
    /// At civil times: each once, whatever the zone does.
    Civil(Crontab),
    /// In every hour: as time passes, whatever the zone does.
    Hourly(Crontab),
}

/// Slots between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The last of them.
    pub last: Timestamp,
    /// How many there are before it.
    pub missed: u32,
}

/// Slots are counted up to this many: what was missed for longer is not worth an exact number.
const MOST_COUNTED: usize = 100_000;

impl Slots {
    /// Reads a schedule.
    ///
    /// # Errors
    /// `bad-schedule`, `unknown-time-zone`.
    pub fn new(schedule: &Schedule) -> Result<Self, Error> {
        let bad = |what: String| Error::invalid("bad-schedule", what);
        let zone = schedule.zone.as_deref().map_or(Ok(TimeZone::UTC), time::time_zone)?;
        if let Some(cron) = &schedule.cron {
            let hourly = cron.split_whitespace().nth(1).is_some_and(|hours| hours.starts_with('*'));
            let zone_name = if hourly { schedule.zone.as_deref().unwrap_or("UTC") } else { "UTC" };
            let crontab = cronexpr::parse_crontab(&format!("{} {zone_name}", cron.trim()))
                .map_err(|error| bad(format!("`{cron}` is no cron expression of five fields: {error}")))?;
            let rhythm = if hourly { Rhythm::Hourly(crontab) } else { Rhythm::Civil(crontab) };
            return Ok(Self { zone, rhythm });
        }
        let (Some(every), Some(unit), Some(first)) = (schedule.every, schedule.unit, &schedule.first) else {
            return Err(bad("say when: `every`, `unit` and `first`, or `cron`".to_owned()));
        };
        if every == 0 {
            return Err(bad("`every` is at least 1".to_owned()));
        }
        let first: DateTime = first
            .parse()
            .map_err(|_| bad(format!("`first` is a civil date and time such as 2026-01-01T09:00:00, not `{first}`")))?;
        let every = i64::from(every);
        let rhythm = match unit {
            Unit::Minutes | Unit::Hours => {
                let step = every * if unit == Unit::Hours { 3_600 } else { 60 };
                Rhythm::Fixed { first: at(&zone, first)?, step }
            }
            Unit::Days | Unit::Weeks | Unit::Months => Rhythm::Calendar { first, every, unit },
        };
        Ok(Self { zone, rhythm })
    }

    /// The first slot after a time; none, if there is none before the end of the calendar.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rhythm {
            Rhythm::Fixed { first, step } => {
                let passed = after.duration_since(*first).as_secs();
                if after < *first {
                    return Some(*first);
                }
                let steps = passed.checked_div(*step)?.checked_add(1)?;
                first.checked_add(SignedDuration::from_secs(steps.checked_mul(*step)?)).ok()
            }
            Rhythm::Calendar { first, every, unit } => {
                let civil = self.zone.to_datetime(after);
                let (largest, length) = match unit {
                    Unit::Months => (JiffUnit::Month, 1),
                    Unit::Weeks => (JiffUnit::Day, 7),
                    _ => (JiffUnit::Day, 1),
                };
                let passed = first.until((largest, civil)).ok()?;
                let passed = match unit {
                    Unit::Months => i64::from(passed.get_months()),
                    _ => i64::from(passed.get_days()),
                };
                // One step early: zones and short months may have put the slot after where the calendar says.
                let mut steps = (passed / (every * length) - 1).max(0);
                loop {
                    let count = steps.checked_mul(*every)?;
                    let slot = at(&self.zone, first.checked_add(span(count, *unit).ok()?).ok()?).ok()?;
                    if slot > after {
                        return Some(slot);
                    }
                    steps += 1;
                }
            }
            Rhythm::Civil(crontab) => self.civil_after(crontab, after).next(),
            Rhythm::Hourly(crontab) => next(crontab, after).map(|(slot, _)| slot),
        }
    }

    /// All slots after a time, in order.
    pub fn all_after(&self, after: Timestamp) -> Box<dyn Iterator<Item = Timestamp> + '_> {
        match &self.rhythm {
            // One walk: each step by itself would begin a day early again.
            Rhythm::Civil(crontab) => Box::new(self.civil_after(crontab, after)),
            _ => Box::new(std::iter::successors(self.next_after(after), |slot| self.next_after(*slot))),
        }
    }

    /// The slots of a crontab that is meant in civil times, after a time and in order.
    fn civil_after<'s>(&'s self, crontab: &'s Crontab, after: Timestamp) -> impl Iterator<Item = Timestamp> + 's {
        // It runs in a zone without shifts; what it says is then meant in the schedule's own. A day early: a zone may have put
        // the slot after where the calendar says.
        let early = self.zone.to_datetime(after).checked_sub(1.day()).ok();
        let civil = std::iter::successors(early, move |civil| Some(next(crontab, at(&TimeZone::UTC, *civil).ok()?)?.1));
        let mut last = after;
        civil.skip(1).map_while(move |civil| at(&self.zone, civil).ok()).filter(move |slot| {
            let is_later = *slot > last;
            last = last.max(*slot);
            is_later
        })
    }

    /// The zone that its days are counted in.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The slots after one time and up to another.
    #[must_use]
    pub fn between(&self, after: Timestamp, until: Timestamp) -> Option<Due> {
        let mut slots = self.all_after(after).take_while(|slot| *slot <= until);
        let first = Due { last: slots.next()?, missed: 0 };
        let due = slots.take(MOST_COUNTED).fold(first, |due, last| Due { last, missed: due.missed + 1 });
        let is_all = usize::try_from(due.missed).is_ok_and(|missed| missed < MOST_COUNTED);
        let last = if is_all { due.last } else { self.last_until(until).unwrap_or(due.last) };
        Some(Due { last, ..due })
    }

    /// The last slot up to a time, of a schedule that has many: looked for from farther and farther back.
    fn last_until(&self, until: Timestamp) -> Option<Timestamp> {
        [1, 24, 31 * 24, 366 * 24].into_iter().find_map(|hours| {
            let from = until.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(until);
            self.all_after(from).take_while(|slot| *slot <= until).last()
        })
    }
}

/// A civil time in a zone: one that is skipped moves forward, of two the first.
fn at(zone: &TimeZone, civil: DateTime) -> Result<Timestamp, Error> {
    let zoned = zone.to_zoned(civil).map_err(|error| Error::invalid("bad-schedule", error.to_string()))?;
    Ok(zoned.timestamp())
}

fn next(crontab: &Crontab, after: Timestamp) -> Option<(Timestamp, DateTime)> {
    let slot = crontab.find_next(MakeTimestamp(after)).ok()?;
    Some((slot.timestamp(), slot.datetime()))
}

/// So many units, forwards or back.
fn span(count: i64, unit: Unit) -> Result<Span, jiff::Error> {
    match unit {
        Unit::Minutes => Span::new().try_minutes(count),
        Unit::Hours => Span::new().try_hours(count),
        Unit::Days => Span::new().try_days(count),
        Unit::Weeks => Span::new().try_weeks(count),
        Unit::Months => Span::new().try_months(count),
    }
}

/// So many units after a time, or before it; days and longer in UTC. None where the calendar ends.
#[must_use]
pub fn shifted(time: Timestamp, count: i64, unit: Unit) -> Option<Timestamp> {
    let zoned = time.to_zoned(TimeZone::UTC);
    zoned.checked_add(span(count, unit).ok()?).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn every(every: u32, unit: Unit, first: &str, zone: &str) -> Slots {
        let schedule = Schedule {
            every: Some(every),
            unit: Some(unit),
            cron: None,
            zone: Some(zone.to_owned()),
            first: Some(first.to_owned()),
            overlap: crate::rule::trigger::Overlap::Skip,
            catch_up: 0,
        };
        Slots::new(&schedule).unwrap()
    }

    fn cron(text: &str, zone: &str) -> Slots {
        let schedule = Schedule {
            every: None,
            unit: None,
            cron: Some(text.to_owned()),
            zone: Some(zone.to_owned()),
            first: None,
            overlap: crate::rule::trigger::Overlap::Skip,
            catch_up: 0,
        };
        Slots::new(&schedule).unwrap()
    }

    fn some(slots: &Slots, after: &str, count: usize) -> Vec<String> {
        let mut slot = time(after);
        let mut found = Vec::new();
        while found.len() < count {
            slot = slots.next_after(slot).unwrap();
            found.push(slot.to_string());
        }
        found
    }

    // Shows: F006
    #[test]
    fn nine_o_clock_stays_nine_o_clock() {
        let expected = ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"];
        for slots in
            [every(1, Unit::Days, "2026-01-01T09:00:00", "Europe/Brussels"), cron("0 9 * * *", "Europe/Brussels")]
        {
            assert_eq!(some(&slots, "2026-03-27T12:00:00Z", 3), expected);
        }
    }

    #[test]
    fn a_time_that_is_skipped_is_due_after_the_shift_and_one_that_comes_twice_is_due_once() {
        for slots in
            [every(1, Unit::Days, "2026-01-01T02:30:00", "Europe/Brussels"), cron("30 2 * * *", "Europe/Brussels")]
        {
            assert_eq!(
                some(&slots, "2026-03-28T12:00:00Z", 2),
                ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"],
                "there is no 02:30 on the 29th: 03:30"
            );
            assert_eq!(
                some(&slots, "2026-10-24T12:00:00Z", 2),
                ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
                "there are two on the 25th"
            );
        }
    }

    #[test]
    fn a_walk_over_many_slots_meets_those_that_each_step_would() {
        // Over both shifts of the year. Looked for from a day before each, those of the month below would be sixty million steps.
        let slots = cron("0,20,40 1-4,9 * * *", "Europe/Brussels");
        for day in ["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"] {
            let walked: Vec<_> = slots.all_after(time(day)).take(40).map(|slot| slot.to_string()).collect();
            assert_eq!(walked, some(&slots, day, 40));
        }
        let slots = cron("* 0-23 * * *", "UTC");
        let month = slots.between(time("2026-01-01T00:00:00Z"), time("2026-01-31T00:00:00Z"));
        assert_eq!(month, Some(Due { last: time("2026-01-31T00:00:00Z"), missed: 30 * 24 * 60 - 1 }));
    }

    #[test]
    fn what_runs_every_hour_runs_as_time_passes() {
        for slots in [
            every(30, Unit::Minutes, "2026-01-01T00:00:00", "Europe/Brussels"),
            cron("*/30 * * * *", "Europe/Brussels"),
        ] {
            for day in ["2026-10-25T00:15:00Z", "2026-03-29T00:15:00Z"] {
                let found = some(&slots, day, 5);
                let pairs: Vec<_> =
                    found.windows(2).map(|pair| time(&pair[1]).duration_since(time(&pair[0]))).collect();
                assert!(pairs.iter().all(|gap| gap.as_mins() == 30), "{found:?}");
            }
        }
    }

    #[test]
    fn months_keep_their_day_where_they_have_it() {
        let slots = every(1, Unit::Months, "2026-01-31T12:00:00", "UTC");
        assert_eq!(
            some(&slots, "2026-01-31T12:00:00Z", 3),
            ["2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"]
        );
        let slots = every(2, Unit::Weeks, "2026-01-05T08:00:00", "UTC");
        assert_eq!(some(&slots, "2025-12-01T00:00:00Z", 2), ["2026-01-05T08:00:00Z", "2026-01-19T08:00:00Z"]);
    }

    #[test]
    fn slots_between_two_times_are_counted() {
        let slots = every(1, Unit::Hours, "2026-01-01T00:00:00", "UTC");
        let between = |after, until| slots.between(time(after), time(until));
        let due = |last, missed| Some(Due { last: time(last), missed });
        assert_eq!(between("2026-01-01T00:00:00Z", "2026-01-01T00:59:59Z"), None);
        assert_eq!(between("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"), due("2026-01-01T01:00:00Z", 0));
        assert_eq!(between("2026-01-01T00:00:00Z", "2026-01-02T00:30:00Z"), due("2026-01-02T00:00:00Z", 23));
        assert_eq!(between("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"), None, "a clock that was put back");
        // However many there are, the last one is the last one.
        let due = every(1, Unit::Minutes, "2026-01-01T00:00:00", "UTC")
            .between(time("2026-01-01T00:00:00Z"), time("2026-05-01T00:00:30Z"));
        assert_eq!(due, Some(Due { last: time("2026-05-01T00:00:00Z"), missed: 100_000 }));
    }
}
