//! The scenarios of the examples, in memory and on an Odoo server: recorded, or real. See `docs/odoo.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "../../host/odoo/tests/odoo/lab/mod.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod lab;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use guest_artifacts::{EXAMPLES, LEAD_SCORING};
use lab::Lab;
use serde_json::{Value as Json, json};
use triggerbox_model::manifest::Manifest;
use triggerbox_odoo::Backend;
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_workbench::scenario::{self, Bench, ScenarioFile, odoo::OnOdoo};

/// What the examples create is not created where it is: other tests may have left it.
async fn remove(lab: &Lab, backend: &Backend, named: &[(&str, &str)]) {
    for (model, name) in named {
        let there = json!({ "domain": [["name", "=", name]] });
        let ids = lab.admin(backend, model, "search", there).await.unwrap();
        lab.admin(backend, model, "unlink", json!({ "ids": ids })).await.unwrap();
    }
}

// Shows: F078, F092
#[tokio::test]
async fn the_scenarios_of_the_examples_come_to_the_same_on_an_odoo_server_and_leave_nothing_there() {
    let lab = Lab::open("scenarios").await;
    let backend = lab.prepared().await;
    let sandbox = Sandbox::new(&Pool::default()).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/rust");
    let counted =
        ["crm.lead", "res.partner", "sale.order", "product.product", "mail.message", "mail.activity", "crm.tag"];
    remove(&lab, &backend, &[("crm.tag", "Warm"), ("res.partner.category", "needs-review")]).await;
    let mut before = Vec::new();
    for model in counted {
        before.push(lab.admin(&backend, model, "search_count", json!({ "domain": [] })).await.unwrap());
    }

    let (mut passed, mut skipped) = (Vec::new(), Vec::new());
    for guest in EXAMPLES {
        let files = scenario::files(&examples.join(guest.name).join("scenarios")).unwrap();
        if files.is_empty() {
            continue;
        }
        let manifest = Manifest::parse(guest.manifest.unwrap()).unwrap();
        let bench = Bench { script: sandbox.compile(guest.component).unwrap(), manifest };
        for path in files {
            let file = ScenarioFile::read(&path).unwrap();
            let name = format!("{}/{}", guest.name, file.name);
            let here = bench.play(&file).await.unwrap();
            assert_eq!(here.failures, [], "{name}, embedded");
            match bench.play_on(&backend, &file).await.unwrap() {
                OnOdoo::Played(there) => {
                    assert_eq!(there.failures, [], "{name}, on odoo");
                    passed.push(name);
                }
                OnOdoo::Skipped(why) => skipped.push((name, why)),
            }
        }
    }
    assert_eq!(
        passed,
        [
            "ai-agent/answers",
            "contact-upsert/new-inquiry",
            "data-quality/bad-contact",
            "high-value-order/above-before",
            "high-value-order/large-order",
            "high-value-order/not-granted",
            "lead-scoring/strong-lead",
            "lead-scoring/weak-lead",
        ]
    );
    let (by_parameters, skipped): (Vec<_>, Vec<_>) = skipped
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .partition(|(_, why)| why.contains("parameters"));
    let without_code: BTreeSet<_> = by_parameters.iter().filter_map(|(name, _)| name.split('/').next()).collect();
    assert_eq!(without_code, BTreeSet::from(["create-record", "notify", "update-record"]));
    let by_ids = "what is sent names records by their ids, which are others there";
    let synchronous = "odoo has no rules that run inside a write or in a form";
    assert_eq!(
        skipped,
        [
            ("call-webhook/refused", by_ids),
            ("call-webhook/sent", by_ids),
            ("order-stock-check/short-of-stock", "products have a quantity on hand only with the app Inventory"),
            ("phone-format/refused", synchronous),
            ("phone-format/tidied", synchronous),
            ("phone-format/warned", synchronous),
        ]
    );

    for (model, before) in counted.into_iter().zip(before) {
        let now = lab.admin(&backend, model, "search_count", json!({ "domain": [] })).await.unwrap();
        assert_eq!(now, before, "{model}");
    }
    let marks = json!({ "domain": [["module", "=", "__triggerbox_test__"]] });
    assert_eq!(lab.admin(&backend, "ir.model.data", "search_count", marks).await, Ok(json!(0)));
    lab.close();
}

// Shows: F078
#[tokio::test]
async fn what_a_scenario_made_is_removed_when_it_cannot_go_on() {
    let lab = Lab::open("scenario_fails").await;
    let backend = lab.prepared().await;
    let manifest = Manifest::parse(LEAD_SCORING.manifest.unwrap()).unwrap();
    let script = Sandbox::new(&Pool::default()).unwrap().compile(LEAD_SCORING.component).unwrap();
    let bench = Bench { script, manifest };
    let text = "[[given.\"crm.lead\"]]\nxmlid = \"one\"\nname = \"TB one\"\n\n[when]\nrecords = [\"@one\"]\n";
    let broken = [
        // One record is made before it is seen that another is not there.
        (format!("{text}parameters = {{ no_such = 1 }}\n"), "no_such"),
        // Odoo refuses one of the two.
        (format!("[[given.\"crm.stage\"]]\nxmlid = \"s\"\n\n{text}"), "odoo does not make what is given"),
        // What is not the test's is not changed.
        (
            "[when]\ntrigger = \"updated\"\nrecords = [\"@base.main_partner\"]\nvalues = { name = \"x\" }\n".to_owned(),
            "was not made by the test",
        ),
    ];
    for (text, wrong) in broken {
        let file = ScenarioFile::parse(Path::new("x.toml"), text.clone()).unwrap();
        let error = bench.play_on(&backend, &file).await.unwrap_err();
        assert!(error.to_string().contains(wrong), "{text}: {error}");
    }
    let left = json!({ "domain": [["name", "=", "TB one"]] });
    assert_eq!(lab.admin(&backend, "crm.lead", "search_count", left).await, Ok(json!(0)));
    lab.close();
}

// Shows: F078, F092
#[tokio::test(flavor = "multi_thread")]
async fn the_program_tests_a_script_on_an_odoo_server() {
    let lab = Lab::open("scenarios_command").await;
    let backend = lab.prepared().await;
    remove(&lab, &backend, &[("crm.tag", "Warm")]).await;
    let folder = tempfile::tempdir().unwrap();
    let component = embed_manifest(LEAD_SCORING.component, LEAD_SCORING.manifest.unwrap()).unwrap();
    fs::write(folder.path().join("scoring.wasm"), component).unwrap();
    fs::write(folder.path().join("odoo.toml"), lab.config_file("")).unwrap();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/rust/lead-scoring/scenarios");
    let mut program = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    program.current_dir(folder.path()).env("TRIGGERBOX_CACHE", folder.path().join("cache")).args([
        "test",
        "scoring.wasm",
        "--odoo",
        "odoo.toml",
        "--json",
    ]);
    program
        .arg("--scenarios")
        .arg(scenarios)
        .envs(["admin", "tb_sales"].map(|login| (login, format!("key-of-{login}"))));
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    let told: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((&told["passed"], &told["failed"]), (&json!(2), &json!(0)), "{told}");

    assert!(output.status.success());
    lab.close();
}

/// An Odoo that has leads, of which there is none with a city, and nothing in its outbox.
fn leads_only(request: &lab::http::Request) -> lab::http::Reply {
    let answer = match request.path.trim_start_matches("/json/2/").trim_start_matches("/json/") {
        "version" => json!({ "version": "19.0" }),
        "res.users/context_get" => json!({ "uid": 2 }),
        "res.users/read" => json!([{ "id": 2, "name": "A", "login": "admin", "company_id": [1, "C"] }]),
        "crm.lead/fields_get" => {
            json!({ "name": { "type": "char", "store": true }, "city": { "type": "char", "store": true } })
        }
        "ir.actions.server/has_access" | "crm.lead/has_access" => json!(true),
        _ => json!([]),
    };
    lab::http::Reply::new(200, "application/json", answer.to_string().into_bytes())
}

// Shows: F083, F131
#[tokio::test(flavor = "multi_thread")]
async fn rules_of_records_on_an_odoo_server_are_run_there_and_nowhere_else() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(lab::http::serve(listener, |request| {
        let reply = leads_only(&request);
        async { reply }
    }));
    let folder = tempfile::tempdir().unwrap();
    for (file, database) in [("odoo.toml", "prod"), ("other.toml", "test")] {
        let config = format!(
            "url = '{url}'\ndatabase = '{database}'\nretries = 0\n[[user]]\nlogin = 'admin'\nkey = {{ env = 'ADMIN_KEY' }}\n"
        );
        fs::write(folder.path().join(file), config).unwrap();
    }
    let rule = "name = 'touch'\nmodel = 'crm.lead'\ndomain = \"[('city', '!=', False)]\"\ntrigger = { on = 'manual' }\n\
                [[actions]]\nscript = 'update-record'\nparameters = { values = 'city = Ghent' }\n";
    fs::write(folder.path().join("touch.toml"), rule).unwrap();
    let program = async |arguments: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
        program.current_dir(folder.path()).args(arguments.split(' ')).env("ADMIN_KEY", "some-long-key");
        program
            .env("TRIGGERBOX_CACHE", folder.path().join("cache"))
            .env("TRIGGERBOX_DB", folder.path().join("rules.db"));
        let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
        let told = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        (output.status.success(), told(&output.stdout) + &told(&output.stderr))
    };
    let does = async |arguments: &str, says: &str| {
        let (done, told) = program(arguments).await;
        assert!(done && told.contains(says), "{arguments}: {told}");
    };
    let refused = async |arguments: &str, says: &str| {
        let (done, told) = program(arguments).await;
        assert!(
            !done && told.contains("the database `prod` of the odoo server") && told.contains(says),
            "{arguments}: {told}"
        );
    };
    does("db demo rules.db", "").await;
    does("rules apply touch.toml --odoo odoo.toml", "touch").await;
    for what in [
        "rules apply touch.toml",
        "rules run touch --ids 1",
        "rules backfill touch",
        "rules diagnose touch 1",
        "runs work",
        "runs requeue --rule touch",
        "approvals list",
    ] {
        refused(what, "--odoo FILE").await;
    }
    // What is in the file alone is shown all the same.
    does("rules list", "touch").await;
    does("rules diagnose touch", "nothing-in-the-way").await;
    does("runs list", "").await;

    does("rules run touch --ids 1 --odoo odoo.toml", "queued as run 1").await;
    does("rules diagnose touch 1 --odoo odoo.toml", "domain-false").await;
    does("runs work --odoo odoo.toml", "1 run tried").await;
    does("runs show 1", "skipped").await;
    does("approvals list --odoo odoo.toml", "no changes are waiting").await;

    refused("runs work --odoo other.toml", "triggerbox odoo moved").await;
    does("odoo moved --db rules.db --config other.toml", "the database `test` of the odoo server").await;
    does("runs work --odoo other.toml", "0 runs tried").await;
    // A server's configuration names it, too.
    fs::write(folder.path().join("server.toml"), "odoo = 'other.toml'\n").unwrap();
    does("runs work --config server.toml", "0 runs tried").await;
    does("odoo moved --here --db rules.db --config other.toml", "are in the file itself").await;
    does("runs work", "0 runs tried").await;
}
