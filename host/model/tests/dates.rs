//! Dates, points in time and time zones, as domains and scripts write them.

use jiff::{Timestamp, tz::TimeZone};
use triggerbox_model::time::{
    Clock, DatePart, Moment, date_text, datetime_from_contract, datetime_text, datetime_to_contract, day_start,
    parse_date, parse_iso, parse_moment, time_zone, to_local, to_utc,
};

fn shown(moment: Moment) -> String {
    match moment {
        Moment::Date(date) => date_text(date),
        Moment::Datetime(datetime) => datetime_text(datetime),
    }
}

fn clock(now: &str, tz: &str, week_start: i8) -> Clock {
    let now: Timestamp = now.parse().expect(now);
    Clock { now, tz: TimeZone::get(tz).expect(tz), week_start }
}

#[test]
fn relative_dates_follow_the_grammar() {
    // A Friday.
    let utc = clock("2024-01-05T13:05:00Z", "UTC", 7);
    for (text, expected) in [
        ("today", "2024-01-05"),
        ("now", "2024-01-05 13:05:00"),
        ("+3d", "2024-01-08 13:05:00"),
        ("-1m", "2023-12-05 13:05:00"),
        ("+1m -1d", "2024-02-04 13:05:00"),
        ("-2w", "2023-12-22 13:05:00"),
        ("+1y", "2025-01-05 13:05:00"),
        ("+3H", "2024-01-05 16:05:00"),
        ("-5M", "2024-01-05 13:00:00"),
        ("+10S", "2024-01-05 13:05:10"),
        ("=1d", "2024-01-01 00:00:00"),
        ("=31d", "2024-01-31 00:00:00"),
        ("=6m", "2024-06-05 00:00:00"),
        ("=2m =31d", "2024-02-29 00:00:00"),
        ("=2020y", "2020-01-05 00:00:00"),
        ("=3H", "2024-01-05 03:00:00"),
        ("=3M", "2024-01-05 13:03:00"),
        ("=3S", "2024-01-05 13:05:03"),
        ("=0d", "2024-01-05 00:00:00"),
        ("=monday", "2024-01-01 00:00:00"),
        ("=friday", "2024-01-05 00:00:00"),
        ("=sunday", "2023-12-31 00:00:00"),
        ("+monday", "2024-01-08 13:05:00"),
        ("+friday", "2024-01-05 13:05:00"),
        ("-friday", "2024-01-05 13:05:00"),
        ("-saturday", "2023-12-30 13:05:00"),
        ("=week_start", "2023-12-31 00:00:00"),
        ("today =week_start", "2023-12-31"),
        ("today -1w =monday", "2023-12-25"),
        ("today +11H", "2024-01-05 11:00:00"),
        ("today +0H", "2024-01-05"),
        ("today =0H", "2024-01-05 00:00:00"),
        ("  today   +1d ", "2024-01-06"),
    ] {
        let moment = parse_moment(text, &utc).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(moment), expected, "{text}");
    }
    let monday_first = clock("2024-01-05T13:05:00Z", "UTC", 1);
    assert_eq!(shown(parse_moment("today =sunday", &monday_first).expect("sunday")), "2024-01-07");
    assert_eq!(shown(parse_moment("today =week_start", &monday_first).expect("week start")), "2024-01-01");
}

#[test]
fn wrong_relative_dates_are_refused() {
    let utc = clock("2024-01-05T13:05:00Z", "UTC", 7);
    for text in [
        "",
        " ",
        "3d",
        "+d",
        "+1",
        "+1x",
        "+1D",
        "+1h",
        "tomorrow",
        "Today",
        "today foo",
        "now now",
        "+ 1d",
        "+-1d",
        "+1d2",
        "=1w",
        "=32",
        "=13m",
        "=25H",
        "=60M",
        "=-1d",
        "+3days",
        "+9999y",
        "-3000y",
        "=0x1d",
        "+99999999999d",
        "=tuesdays",
        "\u{661}\u{662}d",
    ] {
        let error = parse_moment(text, &utc).expect_err(text);
        assert_eq!(error.code, "bad-date", "{text}");
    }
}

#[test]
fn days_begin_in_the_users_zone_and_clock_changes_count() {
    let day = |text: &str, tz: &str| {
        let date = parse_date(text).expect(text);
        datetime_text(day_start(date, &time_zone(tz).expect(tz)).expect("in range"))
    };
    assert_eq!(day("2026-01-10", "Europe/Brussels"), "2026-01-09 23:00:00");
    assert_eq!(day("2026-07-10", "Europe/Brussels"), "2026-07-09 22:00:00");
    assert_eq!(day("2026-03-29", "Europe/Brussels"), "2026-03-28 23:00:00");
    assert_eq!(day("2026-03-30", "Europe/Brussels"), "2026-03-29 22:00:00");
    assert_eq!(day("2026-07-10", "Pacific/Kiritimati"), "2026-07-09 10:00:00");
    // Midnight is skipped there in spring: the day begins an hour later; in autumn it comes twice: the later one counts.
    assert_eq!(day("2026-03-08", "America/Havana"), "2026-03-08 05:00:00");
    assert_eq!(day("2026-11-01", "America/Havana"), "2026-11-01 05:00:00");
    // The ends of the calendar have no room for zones.
    assert_eq!(day("9999-12-31", "America/New_York"), "9999-12-31 00:00:00");
    assert_eq!(day("0001-01-01", "Asia/Tokyo"), "0001-01-01 00:00:00");
    // `now` keeps its offset, even into winter; `today` is the user's day.
    let summer = clock("2026-06-17T23:30:00Z", "Europe/Brussels", 1);
    assert_eq!(shown(parse_moment("today", &summer).expect("today")), "2026-06-18");
    assert_eq!(shown(parse_moment("-6m", &summer).expect("-6m")), "2025-12-17 23:30:00");
    assert_eq!(shown(parse_moment("=0H", &summer).expect("=0H")), "2026-06-17 22:00:00");
    time_zone("Europe/Atlantis").expect_err("no such zone");
}

#[test]
fn iso_forms_are_pythons_without_zones() {
    for (text, expected) in [
        ("2026-11-21", "2026-11-21"),
        ("20261121", "2026-11-21"),
        ("2026-W47-6", "2026-11-21"),
        ("2026W47", "2026-11-16"),
        ("2026-11-21 10:15:00", "2026-11-21 10:15:00"),
        ("2026-11-21T10:15", "2026-11-21 10:15:00"),
        ("2026-11-21 10", "2026-11-21 10:00:00"),
        ("2026-11-21 101500", "2026-11-21 10:15:00"),
        ("2026-11-21 10:15:00.5", "2026-11-21 10:15:00.500000"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
    ] {
        assert_eq!(shown(parse_iso(text).unwrap_or_else(|error| panic!("{text}: {error}"))), expected, "{text}");
    }
    for text in [
        "2026-02-30",
        "2026-13-01",
        "2026-6-7",
        "26-06-17",
        "2026/06/17",
        "10000-01-01",
        "0000-01-01",
        "2026-11-21 ",
        "2026-11-21 25:00:00",
        "2026-11-21 10:15:60",
        "2026-11-21T10:15:00Z",
        "2026-11-21 10:15:00+02:00",
        "2026-W60-1",
        "2026-11-21x10:",
        "\u{e9}2026-11-2",
        "",
    ] {
        parse_iso(text).expect_err(text);
    }
    assert!(parse_iso("2026-11-21T10:15:00Z").expect_err("zone").message.contains("time zone"));
}

#[test]
fn the_contract_writes_utc_with_a_z() {
    assert_eq!(datetime_from_contract("2026-11-21T10:15:00Z").expect("contract"), "2026-11-21 10:15:00");
    assert_eq!(datetime_to_contract("2026-11-21 10:15:00.123456").expect("stored"), "2026-11-21T10:15:00Z");
    for text in ["2026-11-21T10:15:00", "2026-11-21 10:15:00Z", "2026-02-30T10:15:00Z", "2026-11-21T24:00:00Z", "x"] {
        assert_eq!(datetime_from_contract(text).expect_err(text).code, "bad-date");
    }
    assert_eq!(to_local("2026-11-21T10:15:00Z", "Europe/Brussels").expect("local"), "2026-11-21T11:15:00");
    assert_eq!(to_utc("2026-11-21T11:15:00", "Europe/Brussels").expect("utc"), "2026-11-21T10:15:00Z");
    // Skipped: moved forward. Repeated: the first.
    assert_eq!(to_utc("2026-03-29T02:30:00", "Europe/Brussels").expect("gap"), "2026-03-29T01:30:00Z");
    assert_eq!(to_utc("2026-10-25T02:30:00", "Europe/Brussels").expect("fold"), "2026-10-25T00:30:00Z");
}

#[test]
fn date_parts_are_numbers_in_a_zone() {
    let at = "2026-01-01 23:30:15.250000";
    let tokyo = time_zone("Asia/Tokyo").expect("zone");
    for (part, utc, local) in [
        (DatePart::Year, 2026.0, 2026.0),
        (DatePart::Quarter, 1.0, 1.0),
        (DatePart::Month, 1.0, 1.0),
        (DatePart::Week, 1.0, 1.0),
        (DatePart::DayOfYear, 1.0, 2.0),
        (DatePart::DayOfMonth, 1.0, 2.0),
        (DatePart::DayOfWeek, 4.0, 5.0),
        (DatePart::Hour, 23.0, 8.0),
        (DatePart::Minute, 30.0, 30.0),
        (DatePart::Second, 15.25, 15.25),
    ] {
        assert_eq!(part.of_text(at, None), Some(utc), "{part:?}");
        assert_eq!(part.of_text(at, Some(&tokyo)), Some(local), "{part:?}");
        assert_eq!(DatePart::from_text(part.text()), Some(part));
    }
    // A Sunday is day 0; dates have no hours.
    assert_eq!(DatePart::DayOfWeek.of_text("2026-06-21", Some(&tokyo)), Some(0.0));
    assert_eq!(DatePart::Hour.of_text("2026-06-21", Some(&tokyo)), Some(0.0));
    assert_eq!(DatePart::Month.of_text("no date", None), None);
}
