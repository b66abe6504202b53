//! The whole contract, called by a script on the embedded backend.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod support;

use std::collections::BTreeMap;

use guest_artifacts::CONTRACT_CHECK;
use support::{Crm, How};
use triggerbox_automation::Verdict;

/// The model that the script wants for its values.
const X_CONTRACT: &str = include_str!("../../guest-examples/rust/contract-check/x_contract.toml");

/// What must be refused, with its code. All else must succeed.
const REFUSED: &[(&str, &str)] = &[
    ("records.unknown-model", "unknown-model"),
    ("records.unknown-field", "unknown-field"),
    ("records.no-fields", "no-fields"),
    ("records.bad-domain", "bad-domain"),
    ("records.call.read-only", "unknown-method"),
    ("records.wrong-type", "wrong-type"),
    ("records.provisional-id-as-text", "provisional-id"),
    ("calendar.unknown-zone", "unknown-time-zone"),
    ("llm.complete", "llm-not-configured"),
    ("http.send", "http-not-configured"),
];

// Shows: F014, F123, F124, F127
#[test]
fn every_call_is_answered_and_every_value_comes_back_as_it_went() {
    let crm = Crm::with_model("x_contract", X_CONTRACT);
    let lead = crm.search("crm.lead", "[('type', '=', 'lead')]")[0];
    let how = How { superuser: true, grant_all: true, ..How::default() };
    let (report, log) = crm.run(&CONTRACT_CHECK, "crm.lead", &[lead], &how);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}\n{log:#?}", report.verdict) };
    let results: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&outcome.result_json.unwrap()).unwrap();
    let refused: BTreeMap<_, _> = results
        .iter()
        .map(|(name, code)| (name.as_str(), code.as_str().unwrap()))
        .filter(|(_, code)| *code != "ok")
        .collect();
    assert_eq!(refused, REFUSED.iter().copied().collect(), "{log:#?}");
    // The script compares what it reads with what it wrote, and says so.
    let compared: Vec<_> = log.iter().filter(|line| line.contains("values.x_")).collect();
    assert_eq!(compared.len(), 22, "11 kinds, full and empty: {compared:#?}");
    assert!(compared.iter().all(|line| line.ends_with("same\"")), "{compared:#?}");
}
