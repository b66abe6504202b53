//! The OpenAPI document that is checked in is the one that the code makes.

use std::{fs, path::Path};

use serde_json::json;
use triggerbox_automation::rule::file;

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

/// Every way to write a rule is in the document: what this program writes is what the document says.
#[test]
fn rules_are_as_the_document_says() {
    let document = serde_json::to_value(triggerbox_server::api::document()).unwrap();
    let schema = json!({ "$ref": "#/components/schemas/Rule", "components": document["components"] });
    let schema = jsonschema::validator_for(&schema).unwrap();
    let triggers = [
        "on = \"created\"",
        "on = \"updated\"\nfields = [\"name\"]",
        "on = \"stage-set\"\nvalue = 3",
        "on = \"state-set\"\nvalue = \"sale\"\nfield = \"state\"",
        "on = \"time\"\nfield = \"date_deadline\"\ndelay = -2\nunit = \"days\"",
        "on = \"before\"\nwrites = [\"create\", \"update\"]",
        "on = \"webhook\"\nsecret = \"shop\"\ndedup = \"/id\"",
        "on = \"schedule\"\nevery = 2\nunit = \"hours\"\nfirst = \"2026-01-01T09:00:00\"\noverlap = \"queue\"",
        "on = \"manual\"",
    ];
    for trigger in triggers {
        let text = format!(
            "name = \"all\"\ntitle = \"T\"\nnotes = \"N\"\nmodel = \"crm.lead\"\ndomain = \"[]\"\nrun-as = \"sam\"\n\
             mode = \"approve\"\ndispatch = \"per-record\"\nsource = {{ script = \"pick\" }}\nmax-records = 7\ndebounce = 5\n\
             concurrency = 2\nenvironment = \"test\"\non-error = \"pass\"\nchain = true\n[trigger]\n{trigger}\n\
             [[actions]]\nscript = \"notify@0123abcd\"\nparameters = {{ text = \"x\" }}\nlimits = {{ fuel = 1000 }}\n\
             [[actions.grants]]\nmodel = \"crm.lead\"\noperations = [\"create\", \"call\"]\nfields = [\"name\"]\n\
             keys = [\"name\"]\nmethods = [\"action_set_won\"]\nread-only-methods = [\"action_set_won\"]\ndomain = \"[]\"\n\
             [[actions.http]]\nmethods = [\"GET\"]\nurl = \"https://shop.example/api/*\"\n"
        );
        let rule: triggerbox_automation::rule::Rule =
            file::parse(&text).unwrap_or_else(|error| panic!("{trigger}: {error}"));
        let rule = serde_json::to_value(rule).unwrap();
        let wrong: Vec<_> = schema.iter_errors(&rule).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{trigger}: {wrong:?}");
        let mut unknown = rule;
        unknown["no-such-setting"] = json!(1);
        assert!(!schema.is_valid(&unknown), "{trigger}");
    }
    assert!(!schema.is_valid(&json!({ "name": "a", "trigger": { "on": "never" }, "actions": [] })));
}
