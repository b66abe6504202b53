//! The OpenAPI document that is checked in is the one that the code makes.

use std::{fs, path::Path};

// Shows: F078
#[test]
fn the_document_in_the_book_is_current() {
    let made = triggerbox_server::api::document().to_pretty_json().unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is out of date; run `cargo xtask docs --write`");
}

#[test]
fn every_operation_says_what_it_does_and_how_it_may_fail() {
    let document = serde_json::to_value(triggerbox_server::api::document()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
            assert!(operation["responses"]["default"].is_object(), "{place}");
            assert!(
                operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2')),
                "{place}"
            );
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}: {operation}");
        }
    }
}
