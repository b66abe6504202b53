//! The book: its generated pages, its links, and that it builds.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use triggerbox_model::limits::{Class, TABLE, Unit};

use crate::{
    step::{self, root},
    tools,
};

const LIMITS: &str = "docs/src/reference/limits.md";
const COMMANDS: &str = "docs/src/reference/command-line.md";

pub fn run(write: bool) -> Result<()> {
    for (path, page) in [(LIMITS, limits_page()), (COMMANDS, commands_page()?)] {
        let full = root().join(path);
        if write {
            fs::write(full, page).context(path)?;
        } else {
            ensure!(
                fs::read_to_string(full).unwrap_or_default() == page,
                "{path} is out of date; run `cargo xtask docs --write`"
            );
        }
    }
    let mut broken = Vec::new();
    check_links(&root().join("docs/src"), &mut broken)?;
    check_links(&root(), &mut broken)?;
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    if !write {
        tools::book()?;
    }
    Ok(())
}

fn limits_page() -> String {
    let mut page = "# Limits\n\n\
        Made by `cargo xtask docs --write` from the table in `host/model/src/limits.rs`.\n\n\
        Every run has every limit, always. The effective limit is the smallest of the host's configuration, the rule and\n\
        the script's manifest; what none of them names has the default of the run's class. A breach ends the run, cannot\n\
        be caught by the script, applies nothing, and is recorded as `limit-exceeded` with the limit, what was used and\n\
        the maximum.\n\n\
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
        millionths of a euro for cost.\n";
    page
}

fn amount(unit: Unit, number: u64) -> String {
    let scaled = |steps: &[(u64, &str)]| {
        let (size, name) =
            steps.iter().rev().find(|(size, _)| number >= *size && number % size == 0).unwrap_or(&steps[0]);
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
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The help of every command, as the built program prints it.
fn commands_page() -> Result<String> {
    step::cargo(&["build", "--quiet", "--package", "triggerbox"])?;
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), Into::into);
    let output = std::process::Command::new(target.join("debug/triggerbox")).arg("__markdown-help").output()?;
    ensure!(output.status.success(), "`triggerbox __markdown-help` failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// Relative links of every page point to something.
fn check_links(folder: &Path, broken: &mut Vec<String>) -> Result<()> {
    let nested = folder.starts_with(root().join("docs/src"));
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && nested {
            check_links(&path, broken)?;
        }
        if path.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let Some(parent) = path.parent() else { bail!("{} has no folder", path.display()) };
            if !parent.join(file).exists() {
                broken.push(format!("{}: {target}", path.strip_prefix(root())?.display()));
            }
        }
    }
    Ok(())
}
