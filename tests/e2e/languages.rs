//! The same scripts in every language: the whole contract from each, and the example scripts with the assertions that
//! Rust's pass, too. The components are built by the toolchains that `triggerbox build` installs.

#[path = "support/language.rs"]
mod language;
mod support;

use guest_artifacts::{CONTRACT_CHECK, Guest};
use support::examples;
use triggerbox_automation::Verdict;

/// A language's `contract-check`, and the codes of what it was refused.
fn contract_check(language: &str) {
    check_contract(language, language::single(language, "contract-check"));
}

fn check_contract(language: &str, guest: &Guest) {
    let (report, log) = examples::contract_check(guest);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{language}: {:?}\n{log:#?}", report.verdict) };
    examples::assert_contract(language, &outcome, &log);
}

/// The five examples of a language, as tests of their own.
macro_rules! examples {
    ($language:ident) => {
        mod $language {
            use super::*;

            #[test]
            fn contract_check() {
                super::contract_check(stringify!($language));
            }

            #[test]
            fn high_value_order() {
                examples::high_value_order(language::bundled(stringify!($language), "high-value-order"));
                examples::threshold_is_a_parameter(language::bundled(stringify!($language), "high-value-order"));
            }

            #[test]
            fn lead_scoring() {
                examples::lead_scoring(language::bundled(stringify!($language), "lead-scoring"));
            }

            #[test]
            fn contact_upsert() {
                examples::contact_upsert(language::bundled(stringify!($language), "contact-upsert"));
            }

            #[test]
            fn data_quality() {
                examples::data_quality(language::bundled(stringify!($language), "data-quality"));
            }

            #[test]
            fn order_stock_check() {
                examples::order_stock_check(language::bundled(stringify!($language), "order-stock-check"));
                examples::no_message_without_a_grant(language::bundled(stringify!($language), "order-stock-check"));
            }
        }
    };
}

examples!(python);
examples!(typescript);

#[test]
fn rust_contract_check() {
    check_contract("rust", &CONTRACT_CHECK);
}

#[test]
fn javascript_contract_check() {
    contract_check("javascript");
}

#[test]
fn c_contract_check() {
    contract_check("c");
}

#[test]
fn go_contract_check() {
    contract_check("go");
}

#[test]
fn zig_contract_check() {
    contract_check("zig");
}
