//! `docs/reference/errors.md`: every stable code with who must act, from `docs/errors.toml`. A code of the sources that
//! the list lacks is told as such; one that no source uses is refused.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::step::root;

const LIST: &str = "docs/errors.toml";

/// What stands before a code in the sources.
const BEFORE_A_CODE: [&str; 12] = [
    "Error::invalid(",
    "Error::not_found(",
    "Error::denied(",
    "Error::rejected(",
    "Error::unavailable(",
    "self.problem(",
    "return problem(",
    "|error| problem(",
    "bad(model, name, ",
    "bad(model, field, ",
    "Error::new(ErrorKind::Other, ",
    "code: ",
];

#[derive(serde::Deserialize)]
struct List {
    section: Vec<Section>,
}

#[derive(serde::Deserialize)]
struct Section {
    title: String,
    text: String,
    codes: Vec<Code>,
}

#[derive(serde::Deserialize)]
struct Code {
    code: String,
    who: String,
    what: String,
}

/// The page.
pub(crate) fn page() -> Result<String> {
    let list: List = toml::from_str(&fs::read_to_string(root().join(LIST))?).context(LIST)?;
    let missing = compare(&list)?;
    let mut page = "# Errors\n\n\
        Made by `cargo xtask docs --write` from `docs/errors.toml` and the sources.\n\n\
        Every error has a stable code, for programs, and a text, for people. Scripts see kind, code and text of each call that\n\
        fails ([Rust](../write/rust.md#failing)); limits are not errors and cannot be caught. Exit codes of the command line:\n\
        0 ok, 1 the script failed, 2 usage, 3 a limit stopped it, 4 a right was missing, 5 the backend failed, 6 not a valid\n\
        component.\n"
        .to_owned();
    for section in list.section {
        page += &format!(
            "\n## {}\n\n{}\n\n| code | what happened | who must act |\n|---|---|---|\n",
            section.title, section.text
        );
        for Code { code, who, what } in section.codes {
            page += &format!("| `{code}` | {what} | {who} |\n");
        }
    }
    if !missing.is_empty() {
        page += &format!("\n## Not described yet\n\n{}\n", missing.join(", "));
    }
    Ok(page)
}

/// The codes of the sources that the list lacks, as the page shows them.
fn compare(list: &List) -> Result<Vec<String>> {
    let listed: BTreeSet<_> = list.section.iter().flat_map(|s| &s.codes).map(|code| code.code.as_str()).collect();
    let mut sources = String::new();
    read(&root().join("host"), &mut sources)?;
    let used = codes(&sources);
    let unlisted = used.iter().filter(|code| !listed.contains(*code)).map(|code| format!("`{code}`")).collect();
    // Some codes are put together, `refused-by-` and a side.
    let appears = |code: &str| sources.contains(&format!("\"{code}\"")) || code.starts_with("refused-by-");
    let gone: Vec<_> = listed.into_iter().filter(|code| !appears(code)).collect();
    ensure!(gone.is_empty(), "{LIST} has codes that no source uses: {}", gone.join(", "));
    Ok(unlisted)
}

/// The codes that the sources give to errors as literals.
fn codes(sources: &str) -> BTreeSet<&str> {
    let mut codes = BTreeSet::new();
    for before in BEFORE_A_CODE {
        for rest in sources.split(before).skip(1) {
            let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            codes.extend(literal.filter(|code| code.contains('-') || before != "code: "));
        }
    }
    codes
}

/// All sources of the host, without their tests.
fn read(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("benches") && !path.ends_with("target") {
            read(&path, sources)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path)?;
            *sources += text.split("#[cfg(test)]").next().unwrap_or_default();
        }
    }
    Ok(())
}
