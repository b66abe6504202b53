//! Time buckets: the hours, days, weeks… that dates and times fall into.

use jiff::{
    Span, Zoned,
    civil::{Date, DateTime, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use triggerbox_model::{error::Error, time};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Granularity {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Granularity {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// Odoo's name.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// Reads Odoo's name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|granularity| granularity.text() == text)
    }

    /// The start of the bucket that a time is in. Weeks start on `week_start`: 1 Monday … 7 Sunday.
    ///
    /// # Errors
    /// `date-range`: it would start before the year 1.
    pub fn start(self, at: DateTime, week_start: i8) -> Result<DateTime, Error> {
        let date = at.date();
        let start = match self {
            Self::Hour => return Ok(date.at(at.hour(), 0, 0, 0)),
            Self::Day => Ok(date),
            Self::Week => {
                let first = Weekday::from_monday_one_offset(week_start).unwrap_or(Weekday::Monday);
                let back = date.weekday().since(first);
                date.checked_sub(Span::new().days(back))
            }
            Self::Month => Ok(date.first_of_month()),
            Self::Quarter => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1),
            Self::Year => Ok(date.first_of_year()),
        };
        start.ok().filter(in_range).map(|date| date.at(0, 0, 0, 0)).ok_or_else(|| out_of_range(date))
    }

    fn end(self, start: DateTime) -> Result<DateTime, Error> {
        let length = match self {
            Self::Hour => Span::new().hours(1),
            Self::Day => Span::new().days(1),
            Self::Week => Span::new().weeks(1),
            Self::Month => Span::new().months(1),
            Self::Quarter => Span::new().months(3),
            Self::Year => Span::new().years(1),
        };
        let end = start.checked_add(length).ok().filter(|end| in_range(&end.date()));
        end.ok_or_else(|| out_of_range(start.date()))
    }
}

/// What Odoo's dates can be.
fn in_range(date: &Date) -> bool {
    (1..=9999).contains(&date.year())
}

fn out_of_range(date: Date) -> Error {
    let message = format!("the group of {date} would leave the years 1 to 9999; leave such dates out by the domain");
    Error::invalid("date-range", message)
}

/// From a bucket's start up to, and without, its end, as domains write them: datetimes in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// `2026-06-01`, `2026-05-31 22:00:00`
    pub start: String,
    /// Likewise.
    pub end: String,
}

impl Range {
    /// The start of a bucket of datetimes as the contract writes it.
    ///
    /// # Errors
    /// Never for a range made by [`range`].
    pub fn start_in_contract(&self) -> Result<String, Error> {
        time::datetime_to_contract(&self.start)
    }
}

/// The range of a bucket, given its start as [`super::functions`] give it: in the zone, if there is one.
///
/// # Errors
/// `date-range`; `unknown-time-zone`.
pub fn range(start: &str, granularity: Granularity, datetime: bool, tz: Option<&str>) -> Result<Range, Error> {
    if !datetime {
        let start = time::parse_date(start)?;
        let end = granularity.end(start.at(0, 0, 0, 0))?.date();
        return Ok(Range { start: time::date_text(start), end: time::date_text(end) });
    }
    let start = time::parse_datetime(start)?;
    let end = granularity.end(start)?;
    let utc = |local: DateTime| -> Result<String, Error> {
        Ok(time::datetime_text(match tz {
            None => local,
            Some(tz) => standard_time(local, &time::time_zone(tz)?)?,
        }))
    };
    Ok(Range { start: utc(start)?, end: utc(end)? })
}

/// The instant of a local time, in UTC. When clocks go back, the second of both; when they go forward, the missing hour is
/// read as if they had not: Odoo takes standard time. Its zones end with the year 2037, and keep the offset of that day.
fn standard_time(local: DateTime, tz: &TimeZone) -> Result<DateTime, Error> {
    let known = local.min(DateTime::constant(2037, 12, 31, 0, 0, 0, 0));
    let offset = match tz.to_ambiguous_timestamp(known).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } => before,
        AmbiguousOffset::Fold { after, .. } => after,
    };
    let instant = offset.to_timestamp(local).map_err(|_| out_of_range(local.date()))?;
    Ok(Zoned::new(instant, TimeZone::UTC).datetime())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(granularity: Granularity, at: &str, week_start: i8) -> String {
        time::datetime_text(granularity.start(time::parse_datetime(at).unwrap(), week_start).unwrap())
    }

    #[test]
    fn buckets_start_at_their_first_moment() {
        let at = "2026-06-17 13:05:09";
        let starts = Granularity::ALL.map(|granularity| start(granularity, at, 1));
        assert_eq!(
            starts,
            [
                "2026-06-17 13:00:00",
                "2026-06-17 00:00:00",
                "2026-06-15 00:00:00",
                "2026-06-01 00:00:00",
                "2026-04-01 00:00:00",
                "2026-01-01 00:00:00",
            ]
        );
        assert_eq!(start(Granularity::Week, at, 7), "2026-06-14 00:00:00");
        assert_eq!(start(Granularity::Week, "2026-06-14 00:00:00", 7), "2026-06-14 00:00:00");
        assert_eq!(start(Granularity::Week, "2026-06-14 00:00:00", 1), "2026-06-08 00:00:00");
    }

    #[test]
    fn local_days_are_ranges_in_utc_across_changes_of_the_clocks() {
        let day = |date: &str| {
            let range = range(&format!("{date} 00:00:00"), Granularity::Day, true, Some("Europe/Brussels")).unwrap();
            (range.start, range.end)
        };
        assert_eq!(day("2026-03-29"), ("2026-03-28 23:00:00".into(), "2026-03-29 22:00:00".into()));
        assert_eq!(day("2026-10-25"), ("2026-10-24 22:00:00".into(), "2026-10-25 23:00:00".into()));
        let hour = range("2026-10-25 02:00:00", Granularity::Hour, true, Some("Europe/Brussels")).unwrap();
        assert_eq!((hour.start.as_str(), hour.end.as_str()), ("2026-10-25 01:00:00", "2026-10-25 02:00:00"));
        assert_eq!(day("2039-07-01").0, "2039-06-30 23:00:00");
    }

    #[test]
    fn buckets_that_leave_the_calendar_are_refused() {
        assert_eq!(Granularity::Week.start(DateTime::constant(1, 1, 1, 0, 0, 0, 0), 7).unwrap_err().code, "date-range");
        assert_eq!(range("9999-01-01", Granularity::Year, false, None).unwrap_err().code, "date-range");
    }
}
