//! The cases that are kept here come to exactly what `expected.toml` says: a case that passed and fails now is a
//! regression, one that failed and passes now is progress to be kept (`BLESS=1 cargo test -p conformance`).
//! Shows: F018
#![allow(clippy::unwrap_used, reason = "helpers of tests may be as blunt as tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use conformance::{Options, known::Known, run};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    passed: usize,
    failed: usize,
    on_purpose: usize,
    not_run: usize,
}

#[test]
fn the_cases_come_to_what_they_came_to() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let report = run(&[here.join("cases")], &Options { show: 20, ..Options::default() }).unwrap();
    let got: BTreeMap<String, Counts> = report
        .files
        .iter()
        .map(|file| {
            let name = file.name.trim_end_matches(".zst").trim_end_matches(".json").to_owned();
            let not_run = file.not_run.values().sum();
            (name, Counts { passed: file.passed, failed: file.failed, on_purpose: file.known, not_run })
        })
        .collect();
    let path = here.join("expected.toml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, toml::to_string(&got).unwrap()).unwrap();
        return;
    }
    // Server actions run only where their component can be built.
    let asked = |name: &String| cfg!(feature = "actions") || !name.starts_with("server_actions/");
    let expected: BTreeMap<String, Counts> = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let expected: BTreeMap<_, _> = expected.into_iter().filter(|(name, _)| asked(name)).collect();
    let got: BTreeMap<_, _> = got.into_iter().filter(|(name, _)| asked(name)).collect();
    let changed: Vec<String> = expected
        .keys()
        .chain(got.keys().filter(|name| !expected.contains_key(*name)))
        .filter(|name| expected.get(*name) != got.get(*name))
        .map(|name| format!("{name}: expected {:?}, got {:?}", expected.get(name), got.get(name)))
        .collect();
    assert!(
        changed.is_empty(),
        "{}\nif this is progress, keep it: BLESS=1 cargo test -p conformance\n\n{report}",
        changed.join("\n")
    );
    let unexpected: Vec<&String> = report.files.iter().flat_map(|file| &file.unexpected).collect();
    assert!(unexpected.is_empty(), "these pass although known.toml says they do not: {unexpected:?}");
    // A cause that no case shows any more is none.
    let met: BTreeSet<&str> = report.files.iter().flat_map(|file| file.causes.keys().copied()).collect();
    let known = Known::load();
    let unmet: Vec<&str> = known.causes().filter(|cause| !met.contains(cause)).collect();
    assert!(unmet.is_empty(), "no case shows these causes of known.toml: {unmet:?}");
}
