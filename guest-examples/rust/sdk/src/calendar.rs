//! Time zones. The host keeps the tables.

use jiff::{Timestamp, civil::DateTime};

use crate::{Error, ErrorKind, bindings::triggerbox::automation::calendar as host, value::datetime_text};

/// The local time in an IANA zone such as `Europe/Brussels`.
pub fn to_local(time: Timestamp, zone: &str) -> Result<DateTime, Error> {
    let local = host::to_local(&datetime_text(time), zone)?;
    local.parse().map_err(|_| bad_date(&local))
}

/// The way back. A local time that a clock change skips is moved forward, one that it repeats is the first.
pub fn to_utc(local: DateTime, zone: &str) -> Result<Timestamp, Error> {
    parse_utc(&host::to_utc(&local.to_string(), zone)?)
}

pub(crate) fn parse_utc(text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| bad_date(text))
}

fn bad_date(text: &str) -> Error {
    Error::new(ErrorKind::Invalid, "bad-date", format!("\"{text}\" is not a date and time"))
}
