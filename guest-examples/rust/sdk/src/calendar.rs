//! Time zones. The host keeps the tables.

use time::{PrimitiveDateTime, UtcDateTime};

use crate::{Error, ErrorKind, bindings::triggerbox::automation::calendar as host, date};

/// The local time in an IANA zone such as `Europe/Brussels`.
pub fn to_local(time: UtcDateTime, zone: &str) -> Result<PrimitiveDateTime, Error> {
    let local = host::to_local(&date::utc_text(time), zone)?;
    date::parse_local(&local).ok_or_else(|| bad_date(&local))
}

/// The way back. A local time that a clock change skips is moved forward, one that it repeats is the first.
pub fn to_utc(local: PrimitiveDateTime, zone: &str) -> Result<UtcDateTime, Error> {
    parse_utc(&host::to_utc(&date::local_text(local), zone)?)
}

pub(crate) fn parse_utc(text: &str) -> Result<UtcDateTime, Error> {
    date::parse_utc(text).ok_or_else(|| bad_date(text))
}

fn bad_date(text: &str) -> Error {
    Error::new(ErrorKind::Invalid, "bad-date", format!("\"{text}\" is not a date and time of the contract"))
}
