//! The parts that pages are made of. All text is escaped by the templates; what goes into addresses is encoded here.

use std::{fmt::Write, io};

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use serde::Serialize;
use triggerbox_automation::runs::RunState;
use triggerbox_model::{
    changes::{ChangeKind, ChatterDiff, Diff, RecordDiff},
    limits::{LimitSpec, Limits, PerLimit, TABLE, Unit},
    value::{Value, is_provisional},
};

use super::visitor::Visitor;
use crate::{people::SessionKey, shown};

/// Texts from outside are shown up to this many characters; the rest is told to be there.
const LONGEST: usize = 2_000;

/// An address of this server: each part encoded, whatever it holds.
#[must_use]
pub(super) fn address(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push('/');
        text.push_str(&encoded(part));
    }
    text
}

/// A text as one part of an address or a query.
#[must_use]
pub(super) fn encoded(part: &str) -> String {
    let mut text = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing into a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The field that each form carries.
#[must_use]
pub(super) fn hidden_token(key: &SessionKey) -> Markup {
    html! { input type="hidden" name="form-token" value=(key.form_token()); }
}

/// The field by which a form says what it was made from.
#[must_use]
pub(super) fn hidden_version(version: &str) -> Markup {
    html! { input type="hidden" name=(shown::FIELD) value=(version); }
}

/// A button that does one thing.
#[must_use]
pub(super) fn action(visitor: &Visitor, to: &str, label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action=(to) {
            (hidden_token(&visitor.key))
            button type="submit" class=(class) { (label) }
        }
    }
}

/// A button that does one thing after it was said twice.
#[must_use]
pub(super) fn confirmed(visitor: &Visitor, to: &str, label: &str, question: &str) -> Markup {
    html! {
        details.confirm {
            summary.button { (label) }
            form.sheet method="post" action=(to) {
                (hidden_token(&visitor.key))
                p { (question) }
                button.danger type="submit" { "Yes, " (label.to_lowercase()) }
            }
        }
    }
}

/// A time, in the visitor's zone.
#[must_use]
pub(super) fn time(at: Timestamp, zone: &TimeZone) -> Markup {
    let local = at.to_zoned(zone.clone());
    let full = local.strftime("%A, %-d %B %Y, %H:%M:%S %Z").to_string();
    html! { time datetime=(at.to_string()) title=(full) { (local.strftime("%-d %b %Y, %H:%M")) } }
}

/// How long something took.
#[must_use]
pub(super) fn took(milliseconds: i64) -> String {
    match milliseconds {
        ..1_000 => format!("{} ms", milliseconds.max(0)),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
        _ => format!("{} h {} min", milliseconds / 3_600_000, milliseconds % 3_600_000 / 60_000),
    }
}

/// A text from outside: whole if it is short, else its beginning.
#[must_use]
pub(super) fn long(text: &str) -> Markup {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    html! {
        @if let Some(end) = end {
            (apart(text.get(..end).unwrap_or_default())) "… " span.faint { "(" (text.len()) " bytes in all)" }
        } @else { (apart(text)) }
    }
}

/// A text from outside. Marks in it that turn the direction of writing turn nothing that stands beside it.
pub(super) fn apart(text: &str) -> Markup {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    html! { @if text.contains(turns) { bdi { (text) } } @else { (text) } }
}

/// The beginning of the JSON form of something: so many bytes. No more of it is made, however much there is.
#[must_use]
pub(super) fn beginning(value: &impl Serialize, most: usize) -> String {
    let mut short = Short { bytes: Vec::new(), most };
    // That it does not fit is no error.
    let _ = serde_json::to_writer_pretty(&mut short, value);
    // What is cut may be cut within a character.
    String::from_utf8_lossy(&short.bytes).trim_end_matches('\u{fffd}').to_owned()
}

/// Takes so many bytes.
struct Short {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..self.most.saturating_sub(self.bytes.len()).min(bytes.len())).unwrap_or_default();
        self.bytes.extend_from_slice(part);
        if part.is_empty() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(part.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As many parts as have so many bytes together, and at least one; and how many are left.
#[must_use]
pub(super) fn fitting(parts: impl ExactSizeIterator<Item = Markup>, most: usize) -> (Vec<Markup>, usize) {
    let (all, mut bytes, mut shown) = (parts.len(), 0, Vec::new());
    for part in parts {
        bytes += part.0.len();
        if bytes > most && !shown.is_empty() {
            break;
        }
        shown.push(part);
    }
    let left = all - shown.len();
    (shown, left)
}

/// Where a run stands.
#[must_use]
pub(super) fn state(state: RunState) -> Markup {
    let (class, text) = state_words(state);
    badge(class, text)
}

/// What people call a state of a run, and its colour.
#[must_use]
pub(super) fn state_words(state: RunState) -> (&'static str, &'static str) {
    match state {
        RunState::Queued => ("calm", "Queued"),
        RunState::Running => ("busy", "Running"),
        RunState::Succeeded => ("good", "Succeeded"),
        RunState::Failed => ("bad", "Failed"),
        RunState::Skipped => ("calm", "Skipped"),
        RunState::WaitingApproval => ("wait", "Waiting for approval"),
        RunState::OutcomeUnknown => ("bad", "Outcome unknown"),
        RunState::Dead => ("bad", "Given up"),
        RunState::Cancelled => ("calm", "Cancelled"),
    }
}

/// A word in a colour. The word says it all: the colour is for those who see it.
#[must_use]
pub(super) fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

/// What to say where there is nothing yet.
#[must_use]
pub(super) fn empty(title: &str, body: Markup) -> Markup {
    html! { section.empty { h2 { (title) } (body) } }
}

/// One labelled input with its help and what is wrong with it.
#[must_use]
pub(super) fn field(id: &str, label: &str, help: &str, wrong: &[String], input: Markup) -> Markup {
    html! {
        div.field.wrong[!wrong.is_empty()] {
            label for=(id) { (label) }
            (input)
            @if !help.is_empty() { p.help id={ (id) "-help" } { (help) } }
            @for one in wrong { p.error { (one) } }
        }
    }
}

/// One option of a choice.
#[must_use]
pub(super) fn option(value: &str, label: &str, chosen: &str) -> Markup {
    html! { option value=(value) selected[value == chosen] { (label) } }
}

/// What changes, or changed, record by record, with times in this zone.
#[must_use]
pub(super) fn diff(diff: &Diff, zone: &TimeZone) -> Markup {
    let (shown, left) = fitting(diff.records.iter().map(|one| record_diff(one, zone)), MOST_BYTES);
    html! {
        @if diff.is_empty() { p.faint { "No record changes." } }
        @for record in &shown { (record) }
        @if left > 0 { p.faint { "and " (left) " more records" } }
    }
}

/// Bytes of a diff that are shown.
const MOST_BYTES: usize = 50_000;

fn record_diff(record: &RecordDiff, zone: &TimeZone) -> Markup {
    let (class, word) = match record.kind {
        Some(ChangeKind::Created) => ("good", "New"),
        Some(ChangeKind::Updated) => ("busy", "Changed"),
        Some(ChangeKind::Deleted) => ("bad", "Deleted"),
        None => ("calm", "Chatter"),
    };
    html! {
        section.diff {
            h3 {
                (badge(class, word)) " "
                @if record.name.is_empty() { (record.record.model) } @else { (long(&record.name)) }
                " " span.faint {
                    (record.record.model)
                    @if !is_provisional(record.record.id) { " · " (record.record.id) }
                }
            }
            @if !record.fields.is_empty() {
                div.scroll tabindex="0" role="region" aria-label="Changed fields" {
                    table {
                        thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } } }
                        tbody {
                            @for one in &record.fields {
                                tr {
                                    th scope="row" { (one.label) " " code.faint { (one.field) } }
                                    td { @if one.old_text.is_empty() { span.faint { "empty" } } @else { del { (in_words(&one.old, &one.old_text, zone)) } } }
                                    td { @if one.new_text.is_empty() { span.faint { "empty" } } @else { ins { (in_words(&one.new, &one.new_text, zone)) } } }
                                }
                            }
                        }
                    }
                }
            }
            @if !record.chatter.is_empty() { ul.chatter { @for one in &record.chatter { li { (chatter(one)) } } } }
        }
    }
}

/// A value in words: a time in the zone of who reads it, to the second, for that may be all that changes.
fn in_words(value: &Value, words: &str, zone: &TimeZone) -> Markup {
    let at: Option<Timestamp> = match value {
        Value::Datetime(text) if text == words => text.parse().ok(),
        _ => None,
    };
    let Some(at) = at else { return long(words) };
    let local = at.to_zoned(zone.clone());
    html! { time datetime=(at.to_string()) { (local.strftime("%-d %b %Y, %H:%M:%S")) } }
}

fn chatter(one: &ChatterDiff) -> Markup {
    html! {
        @match one {
            ChatterDiff::Message { note, text, .. } => {
                b { @if *note { "Note: " } @else { "Message to followers: " } } span.text { (long(text)) }
            }
            ChatterDiff::Activity { kind, summary, deadline, user } => {
                b { "Activity: " } (apart(kind)) @if !summary.is_empty() { " “" (long(summary)) "”" }
                " for " (apart(user)) ", due " (deadline)
            }
            ChatterDiff::ActivityDone { kind, summary } => { b { "Activity done: " } (apart(kind)) " " (long(summary)) }
            ChatterDiff::Follower { name } => { b { "New follower: " } (name) }
            ChatterDiff::FollowerRemoved { name } => { b { "No longer follows: " } (name) }
        }
    }
}

/// How much of each limit was used: those that were used at all, the fullest first.
#[must_use]
pub(super) fn limit_bars(limits: &Limits, used: &PerLimit) -> Markup {
    let mut rows: Vec<(&LimitSpec, u64, u64)> = TABLE
        .iter()
        .map(|spec| (spec, used.get(spec.limit), limits.get(spec.limit)))
        .filter(|(_, used, _)| *used > 0)
        .collect();
    let percent = |used: u64, max: u64| used.saturating_mul(100).checked_div(max).unwrap_or(0).min(100);
    rows.sort_by_key(|(_, used, max)| std::cmp::Reverse(percent(*used, *max)));
    html! {
        @if rows.is_empty() { p.faint { "It used nothing that is counted." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Limits" {
                table.limits {
                    thead { tr { th scope="col" { "Limit" } th scope="col" { "Used" } th scope="col" { "Of" } th scope="col" { "Part" } } }
                    tbody {
                        @for (spec, used, max) in rows {
                            tr {
                                th scope="row" title=(spec.help) { (spec.name) }
                                td.number { (amount(spec.unit, used)) }
                                td.number { @if max == 0 { "no cap" } @else { (amount(spec.unit, max)) } }
                                td { (bar(percent(used, max))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A part of a whole.
#[must_use]
pub(super) fn bar(percent: u64) -> Markup {
    let class = match percent {
        95.. => "bad",
        80.. => "wait",
        _ => "good",
    };
    html! {
        span.part {
            svg class={ "meter " (class) } width="96" height="8" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                rect.back width="100" height="8" rx="4" {}
                rect.fill width=(percent.max(2)) height="8" rx="4" {}
            }
            " " (percent) " %"
        }
    }
}

/// A number with its unit, for people.
#[must_use]
pub(super) fn amount(unit: Unit, number: u64) -> String {
    match unit {
        Unit::Milliseconds => took(i64::try_from(number).unwrap_or(i64::MAX)),
        Unit::Bytes => bytes(number),
        Unit::MicroEuro => euro(number),
        Unit::Hours => format!("{number} h"),
        Unit::Count | Unit::Fuel | Unit::Tokens => grouped(number),
    }
}

/// Millionths of a euro.
#[must_use]
pub(super) fn euro(millionths: u64) -> String {
    format!("€{}.{:04}", grouped(millionths / 1_000_000), millionths % 1_000_000 / 100)
}

/// Bytes in the unit that fits.
#[must_use]
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1_024 => format!("{number} B"),
        1_024..1_048_576 => format!("{} KiB", number / 1_024),
        _ => format!("{}.{} MiB", number / 1_048_576, number % 1_048_576 * 10 / 1_048_576),
    }
}

/// `1 234 567`, with spaces that do not break.
#[must_use]
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// One column of a chart: its label, how many went well, and how many did not.
pub(super) type Column = (String, u64, u64);

/// How many runs there were in each stretch of time: a picture, and the same as a table for those who do not see it.
#[must_use]
pub(super) fn chart(title: &str, columns: &[Column]) -> Markup {
    let most = columns.iter().map(|(_, good, bad)| good + bad).max().unwrap_or(0).max(1);
    let height = |count: u64| count * 64 / most;
    html! {
        figure.chart {
            figcaption { (title) }
            svg role="img" aria-label=(title) viewBox={ "0 0 " (columns.len() * 20) " 70" } preserveAspectRatio="none" {
                @for (at, (label, good, bad)) in columns.iter().enumerate() {
                    g {
                        title { (label) ": " (good) " went well, " (bad) " did not" }
                        rect.back x=(at * 20 + 2) y="2" width="16" height="66" {}
                        @if *good > 0 {
                            rect.good x=(at * 20 + 2) y=(68 - height(*good).max(1)) width="16" height=(height(*good).max(1)) {}
                        }
                        @if *bad > 0 {
                            rect.bad x=(at * 20 + 2) y=(68_u64.saturating_sub(height(*good) + height(*bad).max(1)))
                                width="16" height=(height(*bad).max(1)) {}
                        }
                    }
                }
            }
            @if let (Some(first), Some(last)) = (columns.first(), columns.last()) {
                div.axis aria-hidden="true" { span { (first.0) } span { "most in one: " (most) } span { (last.0) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_an_address_cannot_leave_its_part() {
        assert_eq!(address(&["scripts", "../x\"<y>"]), "/scripts/..%2Fx%22%3Cy%3E");
        assert_eq!(encoded("é &"), "%C3%A9%20%26");
    }

    #[test]
    fn numbers_are_told_for_people() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((took(999), took(61_000)), ("999 ms".to_owned(), "1 min 1 s".to_owned()));
        assert_eq!((bytes(100), bytes(3_145_728)), ("100 B".to_owned(), "3.0 MiB".to_owned()));
        assert_eq!(euro(1_234_567), "€1.2345");
    }

    #[test]
    fn times_of_records_are_told_in_the_zone_of_who_reads_them() {
        let zone = TimeZone::get("Europe/Brussels").unwrap();
        let (utc, told) = ("2026-11-20T23:30:05Z", "21 Nov 2026, 00:30:05");
        let words = |value: Value, words: &str| in_words(&value, words, &zone).into_string();
        assert!(words(Value::Datetime(utc.to_owned()), utc).contains(told));
        assert_eq!(words(Value::Datetime(utc.to_owned()), "soon"), "soon", "who says it otherwise is left to it");
        assert_eq!(words(Value::Text(utc.to_owned()), utc), utc, "a text is no time");
    }

    #[test]
    fn parts_are_shown_as_far_as_they_fit() {
        let parts = || vec![html! { "12345" }, html! { "12345" }, html! { "12345" }].into_iter();
        assert_eq!((fitting(parts(), 10).0.len(), fitting(parts(), 10).1), (2, 1));
        assert_eq!((fitting(parts(), 1).0.len(), fitting(parts(), 15).1), (1, 0));
    }

    #[test]
    fn the_beginning_of_json_is_cut_between_characters() {
        assert_eq!(beginning(&["é", "a"], 100), "[\n  \"é\",\n  \"a\"\n]");
        assert_eq!(beginning(&["é", "a"], 6), "[\n  \"");
        assert_eq!(beginning(&["é", "a"], 7), "[\n  \"é");
        assert_eq!(beginning(&"x".repeat(10_000), 600).len(), 600);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = long(&"é".repeat(5_000)).into_string();
        assert!(text.contains("(10000 bytes in all)") && text.len() < 9_000);
    }
}
