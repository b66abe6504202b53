//! `docs/reference/limits.md` is what the table of limits says.
use std::{fs, path::Path};

use triggerbox_model::limits::{Class, TABLE, Unit};

#[test]
fn the_page_of_the_limits_is_current() {
    let made = limits_page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/limits.md");
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/reference/limits.md is out of date; run `cargo xtask docs --write`");
}

fn limits_page() -> String {
    let mut page = "# Limits\n\n\
        Made by `cargo xtask docs --write` from the table in `host/model/src/limits.rs`.\n\n\
        Every run has every limit, always. The effective limit is the smallest of the default of the run's class, the\n\
        host's configuration, the rule and the script's manifest: nobody widens what another narrows. `records-per-fire`\n\
        alone has a default that a rule or a manifest sets aside: 0 means no cap there, and else the smallest number that\n\
        is named holds. A breach ends the run, cannot be caught by the script, applies nothing, and is recorded as\n\
        `limit-exceeded` with the limit, what was used and the maximum.\n\n\
        Classes: **sync** runs inside a caller's save, **async** runs after it, **batch** is for schedules and imports,\n\
        **agent** talks to a language model.\n\n\
        | limit | sync | async | batch | agent | what it counts |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for spec in TABLE {
        let defaults: Vec<_> =
            Class::ALL.iter().zip(spec.defaults).map(|(_, number)| amount(spec.unit, number)).collect();
        page += &format!("| `{}` | {} | {} |\n", spec.name, defaults.join(" | "), spec.help);
    }
    page += "\nIn manifests and on the command line a limit is a plain number: milliseconds for times, bytes for sizes,\n\
        millionths of a euro for cost.\n\n\
        ## Uploads\n\n\
        A component has 64 MiB at most (`http.max-upload`). It is compiled in a process of its own that may use 60 seconds of\n\
        processor time, five minutes by the clock and 2 GiB of memory, and write 512 MiB of machine code. More of any of\n\
        them refuses the component, and says which.\n";
    page
}

fn amount(unit: Unit, number: u64) -> String {
    let scaled = |steps: &[(u64, &str)]| {
        let (size, name) =
            steps.iter().rev().find(|(size, _)| number >= *size && number.is_multiple_of(*size)).unwrap_or(&steps[0]);
        format!("{} {name}", number / size)
    };
    match unit {
        _ if number == 0 => "0".to_owned(),
        Unit::Count => thousands(number),
        Unit::Tokens => format!("{} tokens", thousands(number)),
        Unit::Fuel => scaled(&[(1, ""), (1_000_000, "M"), (1_000_000_000, "G")]).trim_end().to_owned(),
        Unit::Milliseconds => scaled(&[(1, "ms"), (1_000, "s"), (60_000, "min")]),
        Unit::Bytes => scaled(&[(1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB")]),
        Unit::Hours => format!("{number} h"),
        Unit::MicroEuro => format!("{}.{:02} EUR", number / 1_000_000, number % 1_000_000 / 10_000),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
