//! The contract's spelling of days and times: fixed, so parsing is short.

use time::{Date, Month, PrimitiveDateTime, Time, UtcDateTime};

/// `2026-11-21`
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    let [year, month, day] = numbers(text, b'-', [4, 2, 2])?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()
}

/// `2026-11-21T10:15:00`
pub(crate) fn parse_local(text: &str) -> Option<PrimitiveDateTime> {
    let (date, time) = text.split_once('T')?;
    let [hour, minute, second] = numbers(time, b':', [2, 2, 2])?.map(|number| u8::try_from(number).unwrap_or(u8::MAX));
    Some(parse_date(date)?.with_time(Time::from_hms(hour, minute, second).ok()?))
}

/// `2026-11-21T10:15:00Z`
pub(crate) fn parse_utc(text: &str) -> Option<UtcDateTime> {
    Some(parse_local(text.strip_suffix('Z')?)?.as_utc())
}

/// `2026-11-21`
pub(crate) fn date_text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// `2026-11-21T10:15:00`; fractions of a second are cut, as Odoo does not keep them.
pub(crate) fn local_text(time: PrimitiveDateTime) -> String {
    format!("{}T{:02}:{:02}:{:02}", date_text(time.date()), time.hour(), time.minute(), time.second())
}

/// `2026-11-21T10:15:00Z`
pub(crate) fn utc_text(time: UtcDateTime) -> String {
    local_text(PrimitiveDateTime::new(time.date(), time.time())) + "Z"
}

/// Three numbers of fixed widths with a separator between.
fn numbers(text: &str, separator: u8, widths: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(char::from(separator));
    let mut parsed = [0; 3];
    for (number, width) in parsed.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in ["2026-11-21T10:15:00Z", "0001-01-01T00:00:00Z", "2024-02-29T23:59:59Z"] {
            assert_eq!(utc_text(parse_utc(text).unwrap()), text);
        }
        assert_eq!(date_text(parse_date("2026-02-28").unwrap()), "2026-02-28");
    }

    #[test]
    fn what_is_not_the_contracts_spelling_is_refused() {
        for text in ["2026-02-30", "2026-2-3", "+026-01-01", "2026-01-01-01", "2026/01/01", "", "２０２６-01-01"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in ["2026-11-21T10:15:00", "2026-11-21 10:15:00Z", "2026-11-21T24:00:00Z", "2026-11-21T10:15:00.5Z"] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }
}
