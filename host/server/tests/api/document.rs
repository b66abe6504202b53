//! The OpenAPI document that is checked in is the one that the code makes.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value as Json, json};
use triggerbox_automation::rule::{Rule, file};

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

/// A page of the book.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// The rows of the table under a title: each with the name in its first cell, the row, and the example in its last.
fn rows<'p>(page: &'p str, title: &str) -> Vec<(&'p str, &'p str, &'p str)> {
    let (_, section) = page.split_once(&format!("# {title}\n")).unwrap_or_else(|| panic!("no section `{title}`"));
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `")).filter(|line| !line.starts_with("| `on`"));
    let inner = |cell: &'p str| cell.trim().strip_prefix('`').unwrap().strip_suffix('`').unwrap();
    let cells = rows.map(|row| (row, row.trim_matches('|').split(" | ").collect::<Vec<_>>()));
    cells.map(|(row, cells)| (inner(cells[0]), row, inner(cells[cells.len() - 1]))).collect()
}

/// The keys that a shape of the document has, in any of its forms.
fn keys(shape: &Json) -> BTreeSet<&str> {
    let forms = shape["oneOf"].as_array().map_or_else(|| vec![shape], |forms| forms.iter().collect());
    forms.iter().filter_map(|form| form["properties"].as_object()).flatten().map(|(key, _)| key.as_str()).collect()
}

/// A rule that has what a part of its file says, and the least besides.
fn with_the_least(part: &str) -> Rule {
    let mut rule: toml::Table = toml::from_str(part).unwrap_or_else(|error| panic!("{part}\n{error}"));
    let least = "name = \"least\"\ntrigger = { on = \"manual\" }\nactions = [{ script = \"notify\" }]";
    for (key, value) in toml::from_str::<toml::Table>(least).unwrap() {
        rule.entry(key).or_insert(value);
    }
    rule.try_into().unwrap_or_else(|error| panic!("{part}\n{error}"))
}

/// An inline table that has what an example says, and of these what it does not say.
fn inline(example: &str, required: &[(&str, &str)]) -> String {
    let missing = required.iter().filter(|(key, _)| !example.starts_with(&format!("{key} = ")));
    let missing: String = missing.map(|(key, value)| format!("{key} = {value}, ")).collect();
    format!("{{ {missing}{example} }}")
}

/// An example of a key of a shape, as a part of a rule's file.
fn part(shape: &str, example: &str) -> String {
    let grant = [("model", "\"crm.lead\""), ("operations", "[\"read\"]")];
    let request = [("methods", "[\"GET\"]"), ("url", "\"https://shop.example/\"")];
    match shape {
        "Schedule" => format!("trigger = {}", inline(example, &[("on", "\"schedule\"")])),
        "Action" => format!("actions = [{}]", inline(example, &[("script", "\"notify\"")])),
        "Grant" => format!("actions = [{{ script = \"notify\", grants = [{}] }}]", inline(example, &grant)),
        "HttpGrant" => format!("actions = [{{ script = \"notify\", http = [{}] }}]", inline(example, &request)),
        "Source" => format!("source = {}", inline(example, &[])),
        "Caps" => format!("caps = {}", inline(example, &[])),
        _ => example.to_owned(),
    }
}

/// A key that is new, or gone, is so on the page, too; and each example can be read.
#[test]
fn the_page_of_a_rules_file_has_every_key_with_an_example() {
    let document = serde_json::to_value(triggerbox_server::api::document()).unwrap();
    let shapes = &document["components"]["schemas"];
    let page = page("reference/rule-file.md");
    for (title, shape) in [
        ("The rule", "Rule"),
        ("Schedules", "Schedule"),
        ("Actions", "Action"),
        ("Grants", "Grant"),
        ("Requests", "HttpGrant"),
        ("Record source", "Source"),
        ("Caps", "Caps"),
    ] {
        let rows = rows(&page, title);
        assert_eq!(rows.iter().map(|(key, ..)| *key).collect::<BTreeSet<_>>(), keys(&shapes[shape]), "{title}");
        for (key, _, example) in rows {
            assert!(example.starts_with(&format!("{key} = ")), "{title}: {example}");
            with_the_least(&part(shape, example));
        }
    }

    let (kinds, told) = (rows(&page, "Triggers"), rows(&page, "Keys of triggers"));
    let (mut names, mut all) = (BTreeSet::new(), BTreeSet::new());
    for form in shapes["Trigger"]["oneOf"].as_array().unwrap() {
        // A schedule's keys have their own table.
        let own = form["allOf"].as_array().map_or(form, |parts| &parts[1]);
        let name = own["properties"]["on"]["enum"][0].as_str().unwrap();
        let (_, row, example) = kinds.iter().find(|(kind, ..)| *kind == name).unwrap_or_else(|| panic!("no `{name}`"));
        for key in keys(own).into_iter().filter(|key| *key != "on") {
            assert!(row.contains(&format!("`{key}`")), "{name}: {key}");
            all.insert(key);
        }
        names.insert(name);
        let trigger = serde_json::to_value(with_the_least(example).trigger).unwrap();
        assert_eq!(trigger["on"], name, "{example}");
    }
    assert_eq!(kinds.iter().map(|(kind, ..)| *kind).collect::<BTreeSet<_>>(), names);
    assert_eq!(told.iter().map(|(key, ..)| *key).collect::<BTreeSet<_>>(), all);
    for (key, _, example) in told {
        assert!(example.contains(&format!("{key} = ")), "{example}");
        with_the_least(example);
    }

    for shape in ["Mode", "Dispatch", "Environment", "OnError", "Unit", "Write", "Overlap"] {
        for word in shapes[shape]["enum"].as_array().unwrap() {
            assert!(page.contains(&format!("`{word}`")), "{shape}: {word}");
        }
    }
}

#[test]
fn the_rules_in_the_book_can_be_read() {
    for (name, count) in [("reference/rule-file.md", 1), ("rules.md", 3)] {
        let page = page(name);
        let blocks: Vec<_> =
            page.split("\n```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
        assert_eq!(blocks.len(), count, "{name}");
        blocks.into_iter().for_each(|block| drop(with_the_least(block)));
    }
    let page = page("reference/rule-file.md");
    let (toml, json) = (page.split_once("\n```toml\n").unwrap().1, page.split_once("\n```json\n").unwrap().1);
    let until = |rest: &str| rest.split_once("\n```").unwrap().0.to_owned();
    assert_eq!(file::parse(&until(toml)).unwrap(), file::parse_json(&until(json)).unwrap(), "two forms of one rule");
}
