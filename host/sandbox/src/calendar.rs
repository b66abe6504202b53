//! Times between UTC and a time zone, for the contract's `calendar`. Pure: the zones are built in.

use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::temporal::DateTimeParser,
    tz::{Disambiguation, TimeZone},
};
use triggerbox_model::error::Error;

/// `2026-11-21T10:15:00Z` in `Europe/Brussels` is `2026-11-21T11:15:00`.
///
/// # Errors
/// `invalid`: `bad-datetime`, `unknown-time-zone`.
pub fn to_local(utc: &str, tz: &str) -> Result<String, Error> {
    let time = timestamp(utc)?;
    Ok(time.to_zoned(zone(tz)?).datetime().strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// `2026-11-21T11:15:00` in `Europe/Brussels` is `2026-11-21T10:15:00Z`. A time that a clock change skips is moved
/// forward by as much as the clock; of one that comes twice it is the first.
///
/// # Errors
/// `invalid`: `bad-datetime`, `unknown-time-zone`.
pub fn to_utc(local: &str, tz: &str) -> Result<String, Error> {
    let zone = zone(tz)?;
    let time = civil(local).ok_or_else(|| {
        Error::invalid("bad-datetime", format!("`{local}` is no local time; write it like `2026-11-21T11:15:00`"))
    })?;
    let zoned = zone
        .into_ambiguous_zoned(time)
        .disambiguate(Disambiguation::Compatible)
        .map_err(|_| Error::invalid("bad-datetime", format!("`{local}` is outside of what a calendar can hold")))?;
    Ok(zoned.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A point in time as the contract writes it, to the second.
///
/// # Errors
/// `invalid`: `bad-datetime`.
pub fn timestamp(utc: &str) -> Result<Timestamp, Error> {
    utc.strip_suffix('Z')
        .and_then(civil)
        .and_then(|time| time.to_zoned(TimeZone::UTC).ok())
        .map(|zoned| zoned.timestamp())
        .ok_or_else(|| {
            let advice = if civil(utc).is_some() {
                "add the `Z` that says it is UTC"
            } else {
                "write it like `2026-11-21T10:15:00Z`"
            };
            Error::invalid("bad-datetime", format!("`{utc}` is no point in time; {advice}"))
        })
}

/// Exactly `2026-11-21T11:15:00`.
fn civil(text: &str) -> Option<DateTime> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let shape = text.len() == 19 && text.as_bytes().get(10) == Some(&b'T');
    shape
        .then(|| PARSER.parse_datetime(text).ok())
        .flatten()
        .filter(|time| text.ends_with(&format!("{:02}", time.second())))
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    TimeZone::get(name).map_err(|_| {
        let near = triggerbox_model::text::nearest(
            name,
            jiff::tz::db().available().map(|zone| zone.to_string()).collect::<Vec<_>>().iter().map(String::as_str),
        )
        .map(str::to_owned);
        let advice = near.map_or_else(
            || "use an IANA name such as `Europe/Brussels`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Error::invalid("unknown-time-zone", format!("unknown time zone `{name}`; {advice}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(to_local("2026-11-21T10:15:00Z", "Europe/Brussels").unwrap(), "2026-11-21T11:15:00");
        assert_eq!(to_utc("2026-11-21T11:15:00", "Europe/Brussels").unwrap(), "2026-11-21T10:15:00Z");
        assert_eq!(to_local("2026-07-01T00:30:00Z", "America/New_York").unwrap(), "2026-06-30T20:30:00");
        assert_eq!(to_utc("1969-07-20T20:17:40", "UTC").unwrap(), "1969-07-20T20:17:40Z");
    }

    #[test]
    fn a_skipped_time_moves_forward_and_a_repeated_one_is_the_first() {
        assert_eq!(to_utc("2026-03-29T02:30:00", "Europe/Brussels").unwrap(), "2026-03-29T01:30:00Z");
        assert_eq!(to_utc("2026-10-25T02:30:00", "Europe/Brussels").unwrap(), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn bad_times_and_zones_say_what_to_write() {
        let text = |result: Result<String, Error>| result.unwrap_err().message;
        assert_eq!(
            text(to_local("2026-11-21T10:15:00", "UTC")),
            "`2026-11-21T10:15:00` is no point in time; add the `Z` that says it is UTC"
        );
        for bad in [
            "2026-02-30T10:00:00Z",
            "2026-11-21",
            "",
            "2026-11-21T25:00:00Z",
            "2026-11-21T10:15:60Z",
            "2026-11-21 10:15:00Z",
        ] {
            assert!(text(to_local(bad, "UTC")).contains("write it like"), "{bad}");
        }
        for bad in ["2026-11-21T10:15:00Z", "2026-02-30T10:00:00", "2026-11-21T10:15:00+01:00", "\u{20ac}"] {
            assert_eq!(to_utc(bad, "UTC").unwrap_err().code, "bad-datetime", "{bad}");
        }
        assert_eq!(
            text(to_utc("2026-11-21T10:15:00", "Europe/Brusels")),
            "unknown time zone `Europe/Brusels`; did you mean `Europe/Brussels`?"
        );
        assert!(to_utc("9999-12-31T23:59:59", "America/New_York").is_err());
    }
}
