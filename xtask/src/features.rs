//! `docs/features.md`: every requirement with the tests and pages that show it, or "not yet".
//!
//! A test shows a feature by a line `// Shows: F015, F071` above it (in golden command-line tests and
//! scenario files: anywhere, with that language's comment sign). A page shows one by a line
//! `<!-- Shows: F015 -->`. The page is generated, so it cannot claim what no test names.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::step::root;

const LIST: &str = "docs/features.toml";
const PAGE: &str = "docs/features.md";
/// Where tests live.
const TESTS: [&str; 4] = ["host", "tests", "guest-examples", "xtask"];

#[derive(serde::Deserialize)]
struct List {
    section: Vec<Section>,
}

#[derive(serde::Deserialize)]
struct Section {
    title: String,
    features: Vec<Feature>,
}

#[derive(serde::Deserialize)]
struct Feature {
    number: String,
    text: String,
}

/// What shows a feature: test names, page links.
#[derive(Default)]
struct Shown {
    tests: Vec<String>,
    pages: Vec<String>,
}

pub(crate) fn run(write: bool) -> Result<()> {
    let list: List = toml::from_str(&fs::read_to_string(root().join(LIST))?).context(LIST)?;
    let page = render(&list, &collect(&list)?);
    let path = root().join(PAGE);
    if write {
        return fs::write(path, page).context(PAGE);
    }
    ensure!(
        fs::read_to_string(path).unwrap_or_default() == page,
        "{PAGE} does not say what the tests show; run `cargo xtask features --write`"
    );
    Ok(())
}

fn collect(list: &List) -> Result<BTreeMap<String, Shown>> {
    let mut shown: BTreeMap<String, Shown> =
        list.section.iter().flat_map(|s| &s.features).map(|f| (f.number.clone(), Shown::default())).collect();
    let mut files = Vec::new();
    for folder in TESTS {
        walk(&root().join(folder), &mut files)?;
    }
    walk(&root().join("docs"), &mut files)?;
    files.sort();
    for file in files {
        let relative = file.strip_prefix(root())?.to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((_, numbers)) = line.split_once("Shows: ") else { continue };
            for number in numbers.trim_end_matches("-->").split(',').map(str::trim) {
                let Some(entry) = shown.get_mut(number) else {
                    bail!("{relative}:{}: there is no feature `{number}`", index + 1);
                };
                match relative.strip_prefix("docs/") {
                    // No links: the page is read both beside the book and as a part of it.
                    Some(page) => entry.pages.push(format!("`{}`", page.trim_end_matches(".md"))),
                    None => {
                        entry.tests.push(format!("`{}`", test_name(&relative, lines.get(index..).unwrap_or_default())))
                    }
                }
            }
        }
    }
    Ok(shown)
}

/// `tests/e2e/run.rs: name` for a Rust test, the file's path otherwise.
fn test_name(file: &str, following: &[&str]) -> String {
    let function = following.iter().take(12).find_map(|line| {
        let rest = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ")?;
        rest.split('(').next().map(str::to_owned)
    });
    match function.filter(|_| file.ends_with(".rs")) {
        Some(name) => format!("{file}: {name}"),
        None => file.to_owned(),
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = ["rs", "md", "toml", "trycmd", "wat"].iter().any(|kind| name.ends_with(&format!(".{kind}")));
        if path.is_dir() && !["target", "node_modules", "book"].contains(&&*name) {
            walk(&path, files)?;
        } else if text && !path.ends_with("xtask/src/features.rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn render(list: &List, shown: &BTreeMap<String, Shown>) -> String {
    let mut page = "# Features\n\n\
        Made by `cargo xtask features --write` from `docs/features.toml` and from the tests and pages that name a\n\
        number. CI fails when this page and they disagree. Pages are those of `docs`.\n"
        .to_owned();
    let done = shown.values().filter(|shown| !shown.tests.is_empty()).count();
    page += &format!("\n{done} of {} are shown by a test.\n", shown.len());
    for section in &list.section {
        page += &format!("\n## {}\n\n| # | requirement | tests | pages |\n|---|---|---|---|\n", section.title);
        for feature in &section.features {
            let Some(entry) = shown.get(&feature.number) else { continue };
            let tests = if entry.tests.is_empty() { "not yet".to_owned() } else { entry.tests.join("<br>") };
            page += &format!(
                "| {} | {} | {tests} | {} |\n",
                feature.number,
                feature.text.replace('|', "\\|").replace("{{", "&#123;&#123;"),
                entry.pages.join("<br>")
            );
        }
    }
    page
}
