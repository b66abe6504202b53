//! Dates, points in time, time zones and relative dates.
//!
//! Three spellings meet here. Stored and in domains, as Odoo has them: `2026-11-21` and `2026-11-21 10:15:00`, in UTC,
//! with a fraction only where there is one. In the contract with scripts: `2026-11-21T10:15:00Z`. In domains also
//! relative: `today -1w =monday`.

use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};

use crate::error::Error;

/// A date, or a point in time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A day, in nobody's time zone.
    Date(Date),
    /// UTC.
    Datetime(DateTime),
}

impl Moment {
    /// The day of it.
    #[must_use]
    pub fn date(self) -> Date {
        match self {
            Self::Date(date) => date,
            Self::Datetime(datetime) => datetime.date(),
        }
    }
}

/// What relative dates and days without a zone are relative to.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The present.
    pub now: Timestamp,
    /// In whose day `today` is, and where a day begins.
    pub tz: TimeZone,
    /// First day of the week: 1 Monday … 7 Sunday.
    pub week_start: i8,
}

fn bad(message: String) -> Error {
    Error::invalid("bad-date", message)
}

/// Finds a time zone by its IANA name.
///
/// # Errors
/// `unknown-time-zone`
pub fn time_zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::get(name).map_err(|_| {
        Error::invalid("unknown-time-zone", format!("unknown time zone `{name}`; use a name such as `Europe/Brussels`"))
    })
}

/// Reads `2026-11-21`.
///
/// # Errors
/// `bad-date`: another form, or a day that does not exist.
pub fn parse_date(text: &str) -> Result<Date, Error> {
    let date = if text.len() == 10 { iso_date(text) } else { None };
    date.ok_or_else(|| bad(format!("`{text}` is not a date; write an existing day as 2026-11-21")))
}

/// Reads a stored point in time: `2026-11-21 10:15:00`, with or without a fraction.
///
/// # Errors
/// `bad-date`
pub fn parse_datetime(text: &str) -> Result<DateTime, Error> {
    let parsed = match (text.get(..10), text.get(10..11), text.get(11..)) {
        (Some(day), Some(" "), Some(clock)) => iso_date(day).zip(iso_time(clock)),
        _ => None,
    };
    parsed
        .map(|(date, time)| date.to_datetime(time))
        .ok_or_else(|| bad(format!("`{text}` is not a point in time; write 2026-11-21 10:15:00")))
}

/// `2026-11-21`
#[must_use]
pub fn date_text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// `2026-11-21 10:15:00`, with a fraction only where there is one.
#[must_use]
pub fn datetime_text(datetime: DateTime) -> String {
    let clock = format!("{:02}:{:02}:{:02}", datetime.hour(), datetime.minute(), datetime.second());
    let day = date_text(datetime.date());
    match datetime.subsec_nanosecond() / 1000 {
        0 => format!("{day} {clock}"),
        micros => format!("{day} {clock}.{micros:06}"),
    }
}

/// A point in time as it is stored.
#[must_use]
pub fn timestamp_text(timestamp: Timestamp) -> String {
    datetime_text(TimeZone::UTC.to_datetime(timestamp))
}

/// `2026-11-21T10:15:00Z` to the stored form.
///
/// # Errors
/// `bad-date`: no `Z` (the zone would be left to guesswork), or a time that does not exist.
pub fn datetime_from_contract(text: &str) -> Result<String, Error> {
    let fail = |what: &str| Err(bad(format!("`{text}` {what}; write it in UTC as 2026-11-21T10:15:00Z")));
    let Some(naive) = text.strip_suffix('Z') else {
        return fail("has no `Z` at its end, so its time zone is unknown");
    };
    let parsed = match (naive.get(..10), naive.get(10..11), naive.get(11..)) {
        (Some(day), Some("T"), Some(clock)) => iso_date(day).zip(iso_time(clock)),
        _ => None,
    };
    match parsed {
        Some((date, time)) => Ok(datetime_text(date.to_datetime(time))),
        None => fail("is not a point in time"),
    }
}

/// The stored form to `2026-11-21T10:15:00Z`; a fraction is cut, as everywhere in the contract.
///
/// # Errors
/// `bad-date`
pub fn datetime_to_contract(stored: &str) -> Result<String, Error> {
    let datetime = parse_datetime(stored)?;
    let clock = format!("{:02}:{:02}:{:02}", datetime.hour(), datetime.minute(), datetime.second());
    Ok(format!("{}T{clock}Z", date_text(datetime.date())))
}

/// `2026-11-21T10:15:00Z` as clocks in `tz` show it: `2026-11-21T11:15:00`.
///
/// # Errors
/// `bad-date`, `unknown-time-zone`
pub fn to_local(utc: &str, tz: &str) -> Result<String, Error> {
    let stored = datetime_from_contract(utc)?;
    let instant = utc_instant(parse_datetime(&stored)?)?;
    Ok(datetime_text(time_zone(tz)?.to_datetime(instant)).replace(' ', "T"))
}

/// What clocks in `tz` show, in UTC. A time that a clock change skips is moved forward, one that it repeats is the first.
///
/// # Errors
/// `bad-date`, `unknown-time-zone`
pub fn to_utc(local: &str, tz: &str) -> Result<String, Error> {
    let fail = || bad(format!("`{local}` is not a local time; write 2026-11-21T10:15:00 without a zone"));
    let parsed = match (local.get(..10), local.get(10..11), local.get(11..)) {
        (Some(day), Some("T" | " "), Some(clock)) => iso_date(day).zip(iso_time(clock)),
        _ => None,
    };
    let (date, time) = parsed.ok_or_else(fail)?;
    let zone = time_zone(tz)?;
    let instant = zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().map_err(|_| fail())?;
    datetime_to_contract(&timestamp_text(instant))
}

fn utc_instant(datetime: DateTime) -> Result<Timestamp, Error> {
    TimeZone::UTC
        .to_timestamp(datetime)
        .map_err(|_| bad(format!("{} is outside the range of dates", datetime_text(datetime))))
}

/// The first moment of a day in a time zone, in UTC. A midnight that occurs twice is the later one.
///
/// # Errors
/// `bad-date`: outside the range of dates.
pub fn day_start(date: Date, tz: &TimeZone) -> Result<DateTime, Error> {
    let midnight = date.to_datetime(Time::midnight());
    // The first and the last year are taken as UTC: elsewhere they would leave the calendar.
    if matches!(date.year(), 1 | 9999) {
        return Ok(midnight);
    }
    let instant = tz
        .to_ambiguous_timestamp(midnight)
        .later()
        .map_err(|_| bad(format!("{} is outside the range of dates", date_text(date))))?;
    Ok(TimeZone::UTC.to_datetime(instant))
}

/// Reads a date or datetime of a domain in any ISO 8601 form that Python reads, without a time zone.
///
/// # Errors
/// `bad-date`
pub fn parse_iso(text: &str) -> Result<Moment, Error> {
    let fail = || bad(format!("`{text}` is not a date or datetime; write 2026-11-21 or 2026-11-21 10:15:00"));
    if !text.is_ascii() {
        return Err(fail());
    }
    if text.len() <= 10 {
        return iso_date(text).map(Moment::Date).ok_or_else(fail);
    }
    let split = iso_separator(text.as_bytes());
    let (day, clock) = match (text.get(..split), text.get(split + 1..)) {
        (Some(day), Some(clock)) => (day, clock),
        _ => return Err(fail()),
    };
    if clock.contains(['Z', 'z', '+', '-']) {
        return Err(bad(format!("`{text}` has a time zone; write it in UTC without one")));
    }
    let date = iso_date(day).ok_or_else(fail)?;
    let time = iso_time(clock).ok_or_else(fail)?;
    Ok(Moment::Datetime(date.to_datetime(time)))
}

/// Where the day of an ISO datetime ends.
fn iso_separator(text: &[u8]) -> usize {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let at = |at: usize| text.get(at).copied();
    match (at(4), at(5)) {
        (Some(b'-'), Some(b'W')) if at(8) == Some(b'-') && !digit(10) => 10,
        (Some(b'-'), Some(b'W')) => 8,
        (Some(b'-'), _) => 10,
        (Some(b'W'), _) => {
            let end = (7..text.len()).find(|at| !digit(*at)).unwrap_or(text.len());
            match end {
                0..9 => end,
                even if even % 2 == 0 => 7,
                _ => 8,
            }
        }
        _ => 8,
    }
}

/// `2026-11-21`, `20261121`, `2026-W47-6`, `2026-W47`, `2026W476`, `2026W47`
fn iso_date(text: &str) -> Option<Date> {
    let number = |from: usize, to: usize| -> Option<i16> {
        let part = text.get(from..to)?;
        if part.bytes().all(|c| c.is_ascii_digit()) { part.parse().ok() } else { None }
    };
    let year = number(0, 4).filter(|year| *year >= 1)?;
    let day = |month: i16, day: i16| Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok();
    let week = |week: i16, weekday: i16| {
        let weekday = Weekday::from_monday_one_offset(i8::try_from(weekday).ok()?).ok()?;
        Some(jiff::civil::ISOWeekDate::new(year, i8::try_from(week).ok()?, weekday).ok()?.date())
    };
    let at = |at: usize| text.as_bytes().get(at).copied();
    match (text.len(), at(4), at(5)) {
        (10, Some(b'-'), Some(b'W')) if at(8) == Some(b'-') => week(number(6, 8)?, number(9, 10)?),
        (8, Some(b'-'), Some(b'W')) => week(number(6, 8)?, 1),
        (10, Some(b'-'), _) if at(7) == Some(b'-') => day(number(5, 7)?, number(8, 10)?),
        (8, Some(b'W'), _) => week(number(5, 7)?, number(7, 8)?),
        (7, Some(b'W'), _) => week(number(5, 7)?, 1),
        (8, _, _) => day(number(4, 6)?, number(6, 8)?),
        _ => None,
    }
}

/// `10:15:00.5`, `10:15`, `10`, `101500`
fn iso_time(text: &str) -> Option<Time> {
    let (clock, fraction) = match text.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let two = |part: &str| -> Option<i8> {
        if part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit()) { part.parse().ok() } else { None }
    };
    let parts: Vec<&str> = if clock.contains(':') {
        clock.split(':').collect()
    } else {
        let mut rest = clock;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(2)?;
            parts.push(head);
            rest = tail;
        }
        parts
    };
    let (hour, minute, second) = match parts.as_slice() {
        [hour] if fraction.is_none() => (two(hour)?, 0, 0),
        [hour, minute] if fraction.is_none() => (two(hour)?, two(minute)?, 0),
        [hour, minute, second] => (two(hour)?, two(minute)?, two(second)?),
        _ => return None,
    };
    let micros = match fraction {
        None => 0,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => {
            let six: String = digits.chars().chain("000000".chars()).take(6).collect();
            six.parse::<i32>().ok()?
        }
        Some(_) => return None,
    };
    // Unlike jiff, Python knows no leap second.
    if second > 59 {
        return None;
    }
    Time::new(hour, minute, second, micros * 1000).ok()
}

/// Whether a text is meant as an ISO date rather than a relative one: it starts with digits and a dash.
fn looks_iso(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && text.as_bytes().get(digits) == Some(&b'-')
}

/// A local date or time in the making. The offset is the one of `now` and stays, even across a clock change.
#[derive(Clone, Copy)]
enum Local {
    Date(Date),
    /// With the offset to subtract to get UTC; none once a date got a time, which is then taken as UTC.
    Datetime(DateTime, Option<SignedDuration>),
}

/// Reads a date of a domain: ISO, or relative to now: `today`, `now -3d`, `=1d +1m`, `-1w =monday`.
///
/// `[today|now]` and then terms: `+N`, `-N` or `=N` with a unit of `d w m y H M S`, or `+`, `-`, `=` with a weekday or
/// `week_start`. `=` sets a part and cuts what is below it.
///
/// # Errors
/// `bad-date`, with the term at fault.
pub fn parse_moment(text: &str, clock: &Clock) -> Result<Moment, Error> {
    if looks_iso(text) {
        return parse_iso(text);
    }
    let mut terms = text.split_whitespace().peekable();
    let Some(first) = terms.peek().copied() else {
        return Err(bad("a date is empty; use False for an unset date".to_owned()));
    };
    let now = clock.tz.to_datetime(clock.now).with().subsec_nanosecond(0).build().unwrap_or(DateTime::ZERO);
    let mut local = if first == "today" {
        Local::Date(now.date())
    } else {
        let offset = clock.tz.to_offset(clock.now);
        Local::Datetime(now, Some(SignedDuration::from_secs(i64::from(offset.seconds()))))
    };
    if matches!(first, "today" | "now") {
        terms.next();
    }
    for term in terms {
        local = apply(local, term, clock.week_start).filter(|local| local.year() >= 1).ok_or_else(|| {
            bad(format!("invalid term `{term}` in the relative date `{text}`; write as `+3d`, `=monday`"))
        })?;
    }
    match local {
        Local::Date(date) => Ok(Moment::Date(date)),
        Local::Datetime(datetime, None) => Ok(Moment::Datetime(datetime)),
        Local::Datetime(datetime, Some(offset)) => datetime
            .checked_sub(offset)
            .map(Moment::Datetime)
            .map_err(|_| bad(format!("the relative date `{text}` is outside the range of dates"))),
    }
}

impl Local {
    fn year(self) -> i16 {
        match self {
            Self::Date(date) => date.year(),
            Self::Datetime(datetime, _) => datetime.year(),
        }
    }

    fn date(self) -> Date {
        match self {
            Self::Date(date) => date,
            Self::Datetime(datetime, _) => datetime.date(),
        }
    }

    fn with_date(self, date: Date) -> Self {
        match self {
            Self::Date(_) => Self::Date(date),
            Self::Datetime(datetime, offset) => Self::Datetime(date.to_datetime(datetime.time()), offset),
        }
    }

    fn at_midnight(self) -> Self {
        match self {
            Self::Date(date) => Self::Date(date),
            Self::Datetime(datetime, offset) => Self::Datetime(datetime.date().to_datetime(Time::midnight()), offset),
        }
    }

    /// A date gets a time only when one is set or added.
    fn with_time(self) -> (DateTime, Option<SignedDuration>) {
        match self {
            Self::Date(date) => (date.to_datetime(Time::midnight()), None),
            Self::Datetime(datetime, offset) => (datetime, offset),
        }
    }
}

/// One term of a relative date; none if it is malformed or leaves the calendar.
fn apply(local: Local, term: &str, week_start: i8) -> Option<Local> {
    let mut chars = term.chars();
    let operator = chars.next().filter(|c| matches!(c, '+' | '-' | '='))?;
    let body = chars.as_str();
    if body.chars().count() < 2 {
        return None;
    }
    if let Some(weekday) = weekday_number(body, week_start) {
        return to_weekday(local, operator, weekday, week_start);
    }
    let unit = body.chars().last()?;
    let number = python_int(body.strip_suffix(unit)?)?;
    if operator == '=' {
        return set_part(local, unit, number);
    }
    // Python reads the sign with the number, so `+-1d` has two.
    if body.starts_with(['+', '-']) {
        return None;
    }
    shift(local, unit, if operator == '-' { -number } else { number })
}

fn weekday_number(name: &str, week_start: i8) -> Option<i8> {
    Some(match name {
        "monday" => 0,
        "tuesday" => 1,
        "wednesday" => 2,
        "thursday" => 3,
        "friday" => 4,
        "saturday" => 5,
        "sunday" => 6,
        "week_start" => week_start - 1,
        _ => return None,
    })
}

fn to_weekday(local: Local, operator: char, weekday: i8, week_start: i8) -> Option<Local> {
    let start = week_start - 1;
    let current = local.date().weekday().to_monday_zero_offset();
    let mut days = (weekday - start).rem_euclid(7) - (current - start).rem_euclid(7);
    if operator == '+' && days < 0 {
        days += 7;
    } else if operator == '-' && days > 0 {
        days -= 7;
    }
    let local = if operator == '=' { local.at_midnight() } else { local };
    Some(local.with_date(local.date().checked_add(Span::new().days(days)).ok()?))
}

fn shift(local: Local, unit: char, number: i64) -> Option<Local> {
    let seconds = match unit {
        'd' | 'w' => {
            let days = number.checked_mul(if unit == 'w' { 7 } else { 1 })?;
            return Some(local.with_date(local.date().checked_add(Span::new().try_days(days).ok()?).ok()?));
        }
        'm' | 'y' => {
            let months = number.checked_mul(if unit == 'y' { 12 } else { 1 })?;
            return Some(local.with_date(local.date().checked_add(Span::new().try_months(months).ok()?).ok()?));
        }
        'H' => number.checked_mul(3600)?,
        'M' => number.checked_mul(60)?,
        'S' => number,
        _ => return None,
    };
    if seconds == 0 {
        return Some(local);
    }
    let (datetime, offset) = local.with_time();
    Some(Local::Datetime(datetime.checked_add(SignedDuration::from_secs(seconds)).ok()?, offset))
}

fn set_part(local: Local, unit: char, number: i64) -> Option<Local> {
    let small = i8::try_from(number).ok();
    let date = local.date();
    // A day that the month does not have becomes its last; zero keeps the part.
    let with_date = |year: i16, month: i8, day: i8| -> Option<Local> {
        let last = Date::new(year, month, 1).ok()?.days_in_month();
        Some(local.at_midnight().with_date(Date::new(year, month, day.min(last)).ok()?))
    };
    match unit {
        'y' => {
            let year = i16::try_from(number).ok()?;
            with_date(if year == 0 { date.year() } else { year }, date.month(), date.day())
        }
        'm' => with_date(date.year(), small.map(|month| if month == 0 { date.month() } else { month })?, date.day()),
        'd' => {
            let day = small.unwrap_or(if number > 0 { i8::MAX } else { -1 });
            with_date(date.year(), date.month(), if day == 0 { date.day() } else { day })
        }
        'H' | 'M' | 'S' => {
            let (datetime, offset) = local.with_time();
            let (hour, minute, second) = match unit {
                'H' => (small?, 0, 0),
                'M' => (datetime.hour(), small?, 0),
                _ => (datetime.hour(), datetime.minute(), small?),
            };
            // From a date there is nothing below to cut, and nothing above is set.
            let time = Time::new(hour, minute, second, 0).ok().filter(|_| second < 60)?;
            Some(Local::Datetime(datetime.date().to_datetime(time), offset))
        }
        _ => None,
    }
}

/// Python's `int()` of a text: spaces around, a sign, digits with single underscores between.
pub(crate) fn python_int(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let well_formed = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    if !well_formed {
        return None;
    }
    trimmed.replace('_', "").parse().ok()
}

/// A numeric part of a date or datetime, as conditions on `field.month_number` compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it; `text` gives Odoo's spelling")]
pub enum DatePart {
    Year,
    Quarter,
    Month,
    /// ISO 8601
    Week,
    DayOfYear,
    DayOfMonth,
    /// 0 is Sunday.
    DayOfWeek,
    Hour,
    Minute,
    /// With its fraction.
    Second,
}

impl DatePart {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Year,
        Self::Quarter,
        Self::Month,
        Self::Week,
        Self::DayOfYear,
        Self::DayOfMonth,
        Self::DayOfWeek,
        Self::Hour,
        Self::Minute,
        Self::Second,
    ];

    /// Odoo's spelling.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Year => "year_number",
            Self::Quarter => "quarter_number",
            Self::Month => "month_number",
            Self::Week => "iso_week_number",
            Self::DayOfYear => "day_of_year",
            Self::DayOfMonth => "day_of_month",
            Self::DayOfWeek => "day_of_week",
            Self::Hour => "hour_number",
            Self::Minute => "minute_number",
            Self::Second => "second_number",
        }
    }

    /// Reads Odoo's spelling.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.text() == text)
    }

    /// The part of a stored date or datetime, seen in a time zone (dates have none); none for what is neither.
    #[must_use]
    pub fn of_text(self, stored: &str, tz: Option<&TimeZone>) -> Option<f64> {
        if stored.len() == 10 {
            return Some(self.of(parse_date(stored).ok()?.to_datetime(Time::midnight())));
        }
        let utc = parse_datetime(stored).ok()?;
        match tz {
            None => Some(self.of(utc)),
            Some(tz) => Some(self.of(tz.to_datetime(utc_instant(utc).ok()?))),
        }
    }

    /// The part of a date or local time.
    #[must_use]
    pub fn of(self, at: DateTime) -> f64 {
        match self {
            Self::Year => f64::from(at.year()),
            Self::Quarter => f64::from((at.month() - 1) / 3 + 1),
            Self::Month => f64::from(at.month()),
            Self::Week => f64::from(at.date().iso_week_date().week()),
            Self::DayOfYear => f64::from(at.day_of_year()),
            Self::DayOfMonth => f64::from(at.day()),
            Self::DayOfWeek => f64::from(at.weekday().to_sunday_zero_offset()),
            Self::Hour => f64::from(at.hour()),
            Self::Minute => f64::from(at.minute()),
            Self::Second => f64::from(at.second()) + f64::from(at.subsec_nanosecond()) / 1e9,
        }
    }
}
