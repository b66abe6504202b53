//! `docs/reference/odoo-automation-tests.md`: Odoo's own tests of automation rules, each with the test here that shows
//! the same or the reason why there is none, from `docs/odoo-automation-tests.toml`.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::step::root;

const LIST: &str = "docs/odoo-automation-tests.toml";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    section: Vec<Section>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    /// How many there are: one that is lost on the way is missed.
    count: usize,
    tests: Vec<Theirs>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Theirs {
    name: String,
    asserts: String,
    /// `FILE: TEST`
    #[serde(default)]
    shown: Vec<String>,
    refused: Option<String>,
}

/// The page. Fails on gaps: a name with neither test nor reason, a test that is not there.
pub(crate) fn page() -> Result<String> {
    let list: List = toml::from_str(&fs::read_to_string(root().join(LIST))?).context(LIST)?;
    let mut page = "# Odoo's tests of automation rules\n\n\
        Made by `cargo xtask docs --write` from `docs/odoo-automation-tests.toml`.\n\n\
        What Odoo 19.0 itself tests of automation rules, server actions and scheduled actions, and the test here that shows the\n\
        same; or why there is none. How often a rule fires was also recorded on a running server, and is replayed by\n\
        `tests/conformance`.\n"
        .to_owned();
    let (mut shown, mut refused) = (0, 0);
    let mut names = BTreeSet::new();
    let mut sections = String::new();
    for section in &list.section {
        let found = section.tests.len();
        ensure!(
            found == section.count,
            "{LIST}: {} has {found} names, and {} are counted",
            section.title,
            section.count
        );
        sections += &format!("\n## {}\n\n| test | asserts | here |\n|---|---|---|\n", section.title);
        for theirs in &section.tests {
            let Theirs { name, asserts, .. } = theirs;
            ensure!(names.insert((&section.title, name)), "{LIST}: {name} is listed twice");
            match (theirs.shown.is_empty(), &theirs.refused) {
                (false, None) => shown += 1,
                (true, Some(_)) => refused += 1,
                _ => bail!("{LIST}: {name} needs a test that shows it, or a reason why there is none"),
            }
            theirs.shown.iter().try_for_each(|test| exists(test).with_context(|| format!("{LIST}: {name}")))?;
            let here = match &theirs.refused {
                Some(reason) => format!("none: {reason}"),
                None => theirs.shown.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>"),
            };
            sections += &format!("| `{name}` | {asserts} | {here} |\n");
        }
    }
    page += &format!("\n{shown} of {} are shown by a test, {refused} do not apply.\n", shown + refused);
    Ok(page + &sections)
}

/// Whether the file has a test of that name.
fn exists(test: &str) -> Result<()> {
    let (file, name) = test.split_once(": ").with_context(|| format!("`{test}` is not FILE: TEST"))?;
    let text = fs::read_to_string(root().join(file)).with_context(|| file.to_owned())?;
    ensure!(text.contains(&format!("fn {name}(")), "{file} has no test `{name}`");
    Ok(())
}
