//! The whole contract, called by a script on the embedded backend.

use guest_artifacts::CONTRACT_CHECK;
use triggerbox_automation::Verdict;

use crate::support::examples;

// Shows: F014, F123, F124, F127
#[test]
fn every_call_is_answered_and_every_value_comes_back_as_it_went() {
    let (report, log) = examples::contract_check(&CONTRACT_CHECK);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}\n{log:#?}", report.verdict) };
    examples::assert_contract("rust", &outcome, &log);
    let results: serde_json::Value = serde_json::from_str(outcome.result_json.as_deref().unwrap()).unwrap();
    assert!(examples::REFUSED.iter().all(|(name, code)| results[*name] == *code), "{results}");
    // The script compares what it reads with what it wrote, and says so.
    let compared: Vec<_> = log.iter().filter(|line| line.contains("values.x_")).collect();
    assert_eq!(compared.len(), 22, "11 kinds, full and empty: {compared:#?}");
    assert!(compared.iter().all(|line| line.ends_with("same\"")), "{compared:#?}");
}
