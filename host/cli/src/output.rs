//! What people see: colour only where a terminal shows it, JSON where it is asked for, and text from outside
//! without terminal escapes.

use std::{
    fmt::{Arguments, Write as _},
    io::{self, ErrorKind, Write as _},
    sync::OnceLock,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;
use triggerbox_model::limits::{Limit, Limits, PerLimit, Unit};

/// Text on stdout; what keeps it from getting there is told in the end, see [`incomplete`].
macro_rules! out {
    ($($text:tt)*) => { $crate::output::write(format_args!($($text)*)) };
}

/// The same, as a line.
macro_rules! outln {
    () => { $crate::output::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// A line on stderr, if there is one.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::tell(format_args!($($text)*)) };
}

/// Why stdout is not whole.
static INCOMPLETE: OnceLock<io::Error> = OnceLock::new();

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// Good news.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Bad news.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// Take care.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Less important.
pub(crate) const DIM: Style = Style::new().dimmed();

/// A text in a style; the styles' escapes are dropped by `anstream` where they do not belong.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes on stdout. A command goes on with what it does though nobody can read of it any more.
pub(crate) fn write(text: Arguments<'_>) {
    if INCOMPLETE.get().is_none()
        && let Err(error) = anstream::stdout().lock().write_fmt(text)
    {
        let _ = INCOMPLETE.set(error);
    }
}

/// Writes a line on stderr. Where that is not possible, there is nobody left to tell.
pub(crate) fn tell(text: Arguments<'_>) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Why stdout is not whole, if it is not. Whoever reads no further has enough of it.
pub(crate) fn incomplete() -> Option<&'static io::Error> {
    let flushed = io::stdout().flush();
    let why = INCOMPLETE.get().or_else(|| flushed.err().map(|error| INCOMPLETE.get_or_init(|| error)));
    why.filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// One JSON document on stdout.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    document(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// A whole text on stdout, for programs. Whoever reads no further has enough of it; a full disk is an error.
pub(crate) fn document(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Text from outside as it may be shown: control characters but line breaks and tabs become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}

/// An error on stderr: what failed, and why. An error that only passes its cause on is not told twice.
pub(crate) fn failed(error: &anyhow::Error) {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
    }
    errln!("{} {}", styled(RED, "error:"), printable(&told));
}

/// The text between the tags of sanitised HTML.
pub(crate) fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

/// `1 run`, `2 runs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A number with its unit, short: `1.2 M`, `64 MiB`, `2.5 s`.
pub(crate) fn amount(unit: Unit, number: u64) -> String {
    let scaled = |steps: &[(u64, &str)]| match steps.iter().rev().find(|(size, _)| number >= *size) {
        None => number.to_string(),
        Some((1, name)) => format!("{number} {name}").trim_end().to_owned(),
        #[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
        Some((size, name)) => {
            let text = format!("{:.1}", number as f64 / *size as f64);
            format!("{} {name}", text.strip_suffix(".0").unwrap_or(&text))
        }
    };
    match unit {
        Unit::Count | Unit::Tokens | Unit::Fuel => {
            scaled(&[(1, ""), (1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")])
        }
        Unit::Milliseconds => scaled(&[(1, "ms"), (1_000, "s"), (60_000, "min")]),
        Unit::Bytes => scaled(&[(1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB")]),
        Unit::Hours => format!("{number} h"),
        Unit::MicroEuro => format!("{}.{:02} EUR", number / 1_000_000, number % 1_000_000 / 10_000),
    }
}

/// Width of a bar, in characters.
const BAR: u64 = 20;

/// One line for each limit of which a noticeable part was used, with a bar; the one that stopped the run in red. Fuel is
/// always shown. The others are named in a last line.
pub(crate) fn limit_bars(limits: &Limits, used: &PerLimit, breached: Option<Limit>) -> String {
    let mut text = String::new();
    let mut slight = Vec::new();
    for (limit, used) in used.iter().filter(|(limit, used)| *used > 0 || breached == Some(*limit)) {
        let max = limits.get(limit);
        let percent = used.saturating_mul(100).checked_div(max).unwrap_or(100);
        if percent == 0 && breached != Some(limit) && limit != Limit::Fuel {
            slight.push(limit.to_string());
            continue;
        }
        let filled = match max {
            0 => BAR,
            max => (used.saturating_mul(BAR)).div_ceil(max).min(BAR),
        };
        let (full, empty) = ("█".repeat(to_usize(filled)), "░".repeat(to_usize(BAR - filled)));
        let style = match breached {
            Some(breached) if breached == limit => RED,
            _ if percent >= 80 => YELLOW,
            _ => DIM,
        };
        let unit = limit.spec().unit;
        let of = format!("{} of {}", amount(unit, used), amount(unit, max));
        let _ = writeln!(text, "  {:<17} {} {percent:>3} %  {of}", limit.to_string(), styled(style, full + &empty));
    }
    if !slight.is_empty() {
        let _ = writeln!(text, "  {}", styled(DIM, format!("less than 1 %: {}", slight.join(", "))));
    }
    text
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(amount(Unit::Fuel, 1_234_567), "1.2 M");
        assert_eq!(amount(Unit::Count, 10_000), "10 k");
        assert_eq!(amount(Unit::Count, 12), "12");
        assert_eq!(amount(Unit::Bytes, 64 << 20), "64 MiB");
        assert_eq!(amount(Unit::Milliseconds, 2_500), "2.5 s");
    }

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}"), "a [31mb ");
    }
}
