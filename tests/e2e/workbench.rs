//! What developers and CI do with scripts: scenarios, exported runs, the linter's reports, watching.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use guest_artifacts::{CALL_WEBHOOK, EVENT_LOG, EXAMPLES, Guest, HIGH_VALUE_ORDER, LEAD_SCORING};
use serde_json::Value as Json;
use triggerbox_automation::{Config, Engine, Origin, SystemClock};
use triggerbox_model::{
    call::Call,
    value::{FieldValue, Value},
};
use triggerbox_sandbox::{
    Pool, Sandbox,
    inspect::{VERSION, embed_manifest, full_name},
};
use triggerbox_store::db::{Database, Mode};

use crate::model::Service;

const ADMIN: u32 = 2;

fn triggerbox(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir(folder).env("TRIGGERBOX_CACHE", folder.join("cache")).env_remove("TRIGGERBOX_DB");
    command.args(arguments).output().unwrap()
}

/// A command that ends with this code; what it printed.
fn ends(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = triggerbox(folder, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}{errors}");
    text + &errors
}

fn component(folder: &Path, guest: &Guest) -> String {
    let name = format!("{}.wasm", guest.name);
    let bytes = embed_manifest(guest.component, guest.manifest.unwrap()).unwrap();
    fs::write(folder.join(&name), bytes).unwrap();
    name
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/rust").canonicalize().unwrap()
}

// Shows: F078, F092
#[test]
fn the_scenarios_of_the_examples_pass() {
    let place = tempfile::tempdir().unwrap();
    let mut count = 0;
    for guest in EXAMPLES {
        let scenarios = examples().join(guest.name).join("scenarios");
        if !scenarios.exists() {
            continue;
        }
        passes(place.path(), &component(place.path(), guest), &scenarios);
        count += 1;
    }
    assert!(count >= 7, "{count} examples have scenarios");
}

const PHONE: &str = "+32 2 555 01 77";
const CARD: &str = "4111 1111 1111 1111";
const IBAN: &str = "BE71 0961 2345 6769";

/// A text without the signs that people group digits with.
fn joined(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Each key of a scenario's is in one of these files or of the examples'.
// Shows: F078
#[test]
fn every_key_of_scenarios_does_what_it_says() {
    let place = tempfile::tempdir().unwrap();
    let name = component(place.path(), &EVENT_LOG);
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/scenario-keys");
    passes(place.path(), &name, &scenarios);
}

/// The scenarios of a folder pass; they are blessed as other golden files.
fn passes(folder: &Path, component: &str, scenarios: &Path) {
    let scenarios = scenarios.to_string_lossy();
    let mut arguments = vec!["test", component, "--scenarios", &scenarios];
    if std::env::var_os("SNAPSHOTS").is_some_and(|how| how == "overwrite") {
        arguments.push("--bless");
    }
    ends(folder, 0, &arguments);
}

/// A file database with a rule, and one run of it.
fn ran(folder: &Path) {
    component(folder, &LEAD_SCORING);
    ends(folder, 0, &["db", "demo", "crm.db"]);
    ends(folder, 0, &["scripts", "upload", "lead-scoring.wasm", "--db", "crm.db"]);
    let rule =
        "name = \"score\"\nmodel = \"crm.lead\"\n[trigger]\non = \"created\"\n[[actions]]\nscript = \"lead-scoring\"\n";
    fs::write(folder.join("score.toml"), rule).unwrap();
    ends(folder, 0, &["rules", "apply", "score.toml", "--db", "crm.db"]);
    create_lead(folder);
}

/// Somebody makes a lead, and what rules do about it is done.
fn create_lead(folder: &Path) {
    queue_lead(folder);
    ends(folder, 0, &["runs", "work", "--db", "crm.db"]);
}

/// Somebody makes a lead, and nobody works yet.
fn queue_lead(folder: &Path) {
    let field = |name: &str, text: &str| FieldValue::new(name, Value::text(text));
    let lead = vec![
        field("name", "Looms for Ada Byron"),
        field("type", "lead"),
        field("partner_name", "Cedarwood Manufacturing"),
        field("email_from", "ada.byron@cedarwood.example"),
        field("phone", PHONE),
        field("description", &format!("Card {CARD}, account {IBAN}, since 2024-03-01")),
        FieldValue::new("expected_revenue", Value::Number(25_000.0)),
    ];
    let sandbox = Sandbox::new(&Pool::default()).unwrap();
    let database = Database::open(&folder.join("crm.db"), Mode::Write).unwrap();
    let engine = Engine::open(database, sandbox, Config::default(), Arc::new(SystemClock)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let create = Call::Create { model: "crm.lead".to_owned(), values: vec![lead] };
    runtime.block_on(engine.change(Origin::user(ADMIN), vec![create])).unwrap();
    drop(engine);
}

// Shows: F078, F092
#[test]
fn an_exported_run_is_run_again_without_its_database() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    ran(folder);

    let said = ends(folder, 0, &["runs", "export", "1", "--out", "run.json", "--db", "crm.db"]);
    assert!(said.contains("redacted: "), "{said}");
    let text = fs::read_to_string(folder.join("run.json")).unwrap();
    for personal in ["Byron", "byron", "Cedarwood", "cedarwood", "ada.byron@", "cedarwood.example"] {
        assert!(!text.contains(personal), "{personal} is left in {text}");
    }
    for number in [PHONE, CARD, IBAN, "0961 2345 6769"] {
        assert!(!joined(&text).contains(&joined(number)), "{number} is left in {text}");
    }
    ends(folder, 2, &["runs", "export", "1", "--out", "run.json", "--db", "crm.db"]);
    ends(folder, 0, &["runs", "export", "1", "--plain", "--with-scripts", "--out", "plain.json", "--db", "crm.db"]);
    assert!(fs::read_to_string(folder.join("plain.json")).unwrap().contains("Cedarwood"));
    fs::remove_file(folder.join("crm.db")).unwrap();

    // Without the script's component in the file, one must be named.
    let said = ends(folder, 2, &["replay", "run.json"]);
    assert!(said.contains("name the component"), "{said}");
    assert!(ends(folder, 0, &["replay", "run.json", "lead-scoring.wasm"]).contains("action 1: same"));
    assert!(ends(folder, 0, &["replay", "plain.json"]).contains("action 1: same"));

    // The same script where other parameters were set wants something else.
    let mut other: Json = serde_json::from_str(&fs::read_to_string(folder.join("plain.json")).unwrap()).unwrap();
    let parameters = other["actions"][0]["recording"]["event"]["parameters"].as_array_mut().unwrap();
    let points = parameters.iter_mut().find(|parameter| parameter["name"] == "phone_points").unwrap();
    points["value"]["value"] = Json::from(1);
    fs::create_dir(folder.join("runs")).unwrap();
    fs::write(folder.join("runs/other.json"), other.to_string()).unwrap();
    fs::copy(folder.join("run.json"), folder.join("runs/run.json")).unwrap();
    let said = ends(folder, 1, &["replay", "runs/other.json", "lead-scoring.wasm"]);
    assert!(said.contains("differs") && said.contains("change "), "{said}");
    let said = ends(folder, 1, &["backtest", "runs", "lead-scoring.wasm"]);
    assert!(said.starts_with("1 same, 1 differ, 0 undecidable"), "{said}");

    // What the run was not told, nobody knows.
    fs::remove_file(folder.join("runs/other.json")).unwrap();
    let mut gap: Json = serde_json::from_str(&fs::read_to_string(folder.join("run.json")).unwrap()).unwrap();
    let entries = gap["actions"][0]["recording"]["entries"].as_array_mut().unwrap();
    entries.retain(|entry| entry["call"]["call"] != "read");
    fs::write(folder.join("runs/gap.json"), gap.to_string()).unwrap();
    let said = ends(folder, 1, &["replay", "runs/gap.json", "lead-scoring.wasm"]);
    assert!(said.contains("undecidable: it asks what the recorded run did not ask"), "{said}");
    let said = ends(folder, 0, &["backtest", "runs", "lead-scoring.wasm"]);
    assert!(said.starts_with("1 same, 0 differ, 1 undecidable"), "{said}");
    ends(folder, 1, &["backtest", "runs", "lead-scoring.wasm", "--strict"]);
    let said = ends(folder, 2, &["replay", "score.toml", "lead-scoring.wasm"]);
    assert!(said.contains("is no exported run"), "{said}");
}

#[test]
fn a_run_that_asked_other_services_is_decided_without_what_is_personal() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let service = Service::start(|_, _| (200, r#"{"type":"thanks","content":"for Byron"}"#.to_owned()));
    let manifest = SENDER.replace("https://hooks.example", &service.url);
    fs::write(folder.join("sender.wasm"), embed_manifest(CALL_WEBHOOK.component, &manifest).unwrap()).unwrap();
    ends(folder, 0, &["db", "demo", "crm.db"]);
    ends(folder, 0, &["scripts", "upload", "sender.wasm", "--db", "crm.db"]);
    // What it sends first arrives, and what it sends then is refused.
    let action = |path: &str| {
        format!(
            "[[actions]]\nscript = \"sender\"\nparameters = {{ url = \"{url}/{path}\", fields = \"name\" }}\n\
             [[actions.http]]\nmethods = [\"POST\"]\nurl = \"{url}/leads\"\nprivate = true\n",
            url = service.url
        )
    };
    let rule = "name = \"tell\"\nmodel = \"crm.lead\"\n[trigger]\non = \"created\"\n";
    fs::write(folder.join("tell.toml"), format!("{rule}{}{}", action("leads"), action("others"))).unwrap();
    ends(folder, 0, &["rules", "apply", "tell.toml", "--db", "crm.db"]);
    queue_lead(folder);
    fs::write(folder.join("server.toml"), "").unwrap();
    ends(folder, 0, &["runs", "work", "--db", "crm.db", "--config", "server.toml"]);
    assert_eq!(service.asked().len(), 1);

    let said = ends(folder, 0, &["runs", "export", "1", "--out", "run.json", "--db", "crm.db"]);
    assert!(said.contains("redacted: ") && !said.contains("cannot be run again"), "{said}");
    let text = fs::read_to_string(folder.join("run.json")).unwrap();
    assert!(!text.contains("Byron") && text.contains("application/json"), "{text}");
    assert!(text.contains("refused-by-script") && text.contains("the script's manifest does not ask"), "{text}");
    let said = ends(folder, 0, &["replay", "run.json", "sender.wasm"]);
    assert!(said.contains("action 1: same") && said.contains("action 2: same"), "{said}");
}

#[test]
fn who_only_looks_looks_beside_the_one_who_writes() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    ran(folder);
    // Where nobody ever made a token, there is none.
    assert_eq!(ends(folder, 0, &["token", "list", "--db", "crm.db"]), "");
    ends(folder, 0, &["token", "create", "me", "--scope", "read", "--db", "crm.db"]);
    let _held = Database::open(&folder.join("crm.db"), Mode::Write).unwrap();
    let says = |arguments: &[&str], what: &str| {
        let said = ends(folder, 0, &[arguments, &["--db", "crm.db"]].concat());
        assert!(said.contains(what), "{arguments:?}: {said}");
    };
    says(&["runs", "export", "1"], "wrote run-1.json");
    says(&["runs", "replay", "1"], "action 1: same");
    says(&["runs", "replay", "1", "--version", "lead-scoring.wasm"], "action 1: same");
    says(&["runs", "backtest", "lead-scoring.wasm", "--rule", "score"], "1 same, 0 differ, 0 undecidable");
    says(&["test", "--from-run", "1"], "run-1.toml");
    says(&["token", "list"], "  me  admin  read  for ever");
    says(&["approvals", "list"], "no changes are waiting");
    says(&["rules", "apply", "score.toml", "--dry-run"], "keep score");
    for changes in [["runs", "retry", "1"], ["rules", "apply", "score.toml"], ["token", "revoke", "1"]] {
        let said = ends(folder, 5, &[&changes[..], &["--db", "crm.db"]].concat());
        assert!(said.contains("is open for writing in another process"), "{changes:?}: {said}");
    }
}

// Shows: F078
#[test]
fn a_run_becomes_a_scenario() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    ran(folder);
    ends(folder, 0, &["test", "--from-run", "1", "--db", "crm.db"]);
    let scenario = fs::read_to_string(folder.join("scenarios/run-1.toml")).unwrap();
    assert!(scenario.contains("recording = \"run-1.json\"") && scenario.contains("fuel = "), "{scenario}");
    assert!(!fs::read_to_string(folder.join("scenarios/run-1.json")).unwrap().contains("Byron"));
    let said = ends(folder, 0, &["test", "lead-scoring.wasm"]);
    assert!(said.contains("ok      run-1"), "{said}");

    // What it needed is not known without its models, and so is not that it needed too little.
    let said = ends(folder, 0, &["check", "lead-scoring.wasm"]);
    assert!(said.contains("starts in ") && !said.contains("untested-grant"), "{said}");

    // Budgets of other limits hold, too.
    let budgets = "host-calls = 1\nrecords-read = 100\nwrite-calls = 0\nmemory = 1\n";
    fs::write(folder.join("scenarios/run-1.toml"), format!("{scenario}{budgets}")).unwrap();
    let said = ends(folder, 1, &["test", "lead-scoring.wasm"]);
    for limit in ["host-calls", "write-calls", "memory"] {
        assert!(said.contains(&format!("budget {limit}\n")), "{limit}: {said}");
    }
    assert!(!said.contains("budget records-read") && !said.contains(": recording"), "{said}");
    fs::write(folder.join("scenarios/run-1.toml"), scenario).unwrap();

    // Another script does not do the same, and the place of the recording is told.
    component(folder, &HIGH_VALUE_ORDER);
    let said = ends(folder, 1, &["test", "high-value-order.wasm"]);
    assert!(said.contains("scenarios/run-1.toml:2: recording"), "{said}");
}

// Shows: F078, F092
#[test]
fn what_came_is_accepted_where_it_is_blessed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    component(folder, &HIGH_VALUE_ORDER);
    fs::create_dir(folder.join("scenarios")).unwrap();
    let given =
        "# Kept.\n[when]\ntrigger = \"created\"\nrecords = [\"@demo.order_3\"]\nparameters = { threshold = 1 }\n";
    fs::write(folder.join("scenarios/order.toml"), given.to_owned() + "\n[expect]\nmessage = \"old\"\n").unwrap();
    let said = ends(folder, 1, &["test", "high-value-order.wasm"]);
    assert!(said.contains("scenarios/order.toml:8: message\n    -old\n    +1 of 1 orders over 1\n"), "{said}");
    ends(folder, 0, &["test", "high-value-order.wasm", "--bless"]);
    let blessed = fs::read_to_string(folder.join("scenarios/order.toml")).unwrap();
    assert!(blessed.starts_with(given), "{blessed}");
    assert!(blessed.contains("[[expect.messages]]\non = \"@demo.order_3\"\nnote = true\n"), "{blessed}");
    ends(folder, 0, &["test", "high-value-order.wasm"]);

    let junit = ends(folder, 0, &["test", "high-value-order.wasm", "--format", "junit"]);
    assert!(junit.starts_with("<?xml") && junit.contains("tests=\"1\" failures=\"0\""), "{junit}");
    let json: Json = serde_json::from_str(&ends(folder, 0, &["test", "high-value-order.wasm", "--json"])).unwrap();
    assert_eq!((&json["passed"], &json["tests"][0]["result"]), (&Json::from(1), &Json::from("passed")));
}

// Shows: F078
#[test]
fn what_blessing_does_not_mend_still_fails_and_keeps_no_other_file_from_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    component(folder, &HIGH_VALUE_ORDER);
    let write = |name: &str, text: &str| {
        fs::create_dir_all(folder.join("scenarios")).unwrap();
        fs::write(folder.join("scenarios").join(name), text).unwrap();
    };
    let when = "[when]\nrecords = [\"@demo.order_3\"]\nparameters = { threshold = 1 }\n";
    let old = "\n[expect]\nmessage = \"old\"\n";
    // In a form that nothing can be written into.
    write("a-inline.toml", &format!("expect = {{ message = \"old\" }}\n{when}"));
    write("b-budget.toml", &format!("{when}{old}\n[budgets]\nfuel = 1\n"));
    write("c-unsent.toml", &format!("{when}\n[[answers]]\nrequest = \"GET https://example.com/\"\n{old}"));
    write("d-good.toml", &format!("{when}{old}"));
    let said = ends(folder, 2, &["test", "high-value-order.wasm", "--bless"]);
    assert!(said.contains("broken  a-inline") && said.contains("cannot be rewritten"), "{said}");
    let blessed = fs::read_to_string(folder.join("scenarios/b-budget.toml")).unwrap();
    assert!(blessed.contains("1 of 1 orders over 1"), "what came is accepted all the same: {blessed}");
    let line = blessed.lines().position(|line| line == "fuel = 1").unwrap() + 1;
    assert!(said.contains("FAILED  b-budget"), "{said}");
    assert!(said.contains(&format!("scenarios/b-budget.toml:{line}: budget fuel\n    -at most 1\n")), "{said}");
    assert!(said.contains("FAILED  c-unsent") && said.contains("`GET https://example.com/` was not sent"), "{said}");
    assert!(said.contains("blessed d-good") && said.contains("1 passed, 3 failed"), "{said}");
    // Without the file that is wrong, what failed is the script's.
    fs::remove_file(folder.join("scenarios/a-inline.toml")).unwrap();
    ends(folder, 1, &["test", "high-value-order.wasm", "--bless"]);
}

/// `call-webhook` with rights of its own: as one of the program's own scripts it has those that its parameters name.
const SENDER: &str = r#"
[script]
name = "sender"
version = "1.0.0"
[[grants]]
model = "crm.lead"
operations = ["read"]
fields = ["name"]
[[http]]
methods = ["POST"]
url = "https://hooks.example/leads"
[[parameters]]
name = "url"
type = "text"
[[parameters]]
name = "fields"
type = "text"
[[parameters]]
name = "must_succeed"
type = "boolean"
default = true
"#;

// Shows: F078
#[test]
fn other_services_answer_what_the_scenario_says() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::write(folder.join("sender.wasm"), embed_manifest(CALL_WEBHOOK.component, SENDER).unwrap()).unwrap();
    fs::create_dir(folder.join("scenarios")).unwrap();
    let given = "[when]\nrecords = [\"@demo.lead_1\"]\nhttp = [\"POST https://hooks.example/leads\"]\n\
                 parameters = { url = \"https://hooks.example/leads\", fields = \"name\" }\n";
    let answer = |status| format!("\n[[answers]]\nrequest = \"POST https://hooks.example/leads\"\nstatus = {status}\n");
    let sent = "\n[[expect.requests]]\nrequest = \"POST https://hooks.example/leads\"\n\
                body = '{\"_action\":\"sent\",\"_id\":1,\"_model\":\"crm.lead\",\"id\":1,\"name\":\"Furniture for the new office\"}'\n";
    fs::write(folder.join("scenarios/sent.toml"), format!("{given}{}{sent}", answer(200))).unwrap();
    ends(folder, 0, &["test", "sender.wasm"]);

    // The service refuses: so does the run.
    fs::write(folder.join("scenarios/sent.toml"), format!("{given}{}{sent}", answer(503))).unwrap();
    let said = ends(folder, 1, &["test", "sender.wasm"]);
    assert!(said.contains("+code = \"failed\"") && said.contains("answered 503"), "{said}");

    // No answer, and one that nobody wants.
    fs::write(folder.join("scenarios/sent.toml"), given).unwrap();
    let said = ends(folder, 1, &["test", "sender.wasm"]);
    assert!(said.contains("the scenario has no answer to `POST https://hooks.example/leads`"), "{said}");
    fs::write(folder.join("scenarios/sent.toml"), format!("{given}{}{}{sent}", answer(200), answer(201))).unwrap();
    let said = ends(folder, 1, &["test", "sender.wasm"]);
    assert!(said.contains("`POST https://hooks.example/leads` was not sent"), "{said}");
}

#[test]
fn scenarios_run_again_when_a_file_changes() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    component(folder, &HIGH_VALUE_ORDER);
    fs::create_dir(folder.join("scenarios")).unwrap();
    let scenario = "[when]\nrecords = [\"@demo.order_1\"]\n\n[expect]\nmessage = \"0 of 1 orders over 10000\"\n";
    let file = folder.join("scenarios/order.toml");
    fs::write(&file, scenario).unwrap();
    // Whatever is written below the folder is a change: what is compiled is kept elsewhere.
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir(folder).env("TRIGGERBOX_CACHE", cache.path());
    let mut child = command.args(["test", "high-value-order.wasm", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |what: &str| lines.by_ref().find(|line| line.contains(what)).unwrap();
    assert_eq!(until("passed"), "1 passed, 0 failed");
    until("waiting");
    // In one step: nobody sees an empty file.
    let replace = |file: &Path, with: &[u8]| {
        fs::write(folder.join("whole.new"), with).unwrap();
        fs::rename(folder.join("whole.new"), file).unwrap();
    };
    replace(&file, scenario.replace("0 of", "7 of").as_bytes());
    assert_eq!(until("passed"), "0 passed, 1 failed");
    until("waiting");
    let component = folder.join("high-value-order.wasm");
    replace(&component, &fs::read(&component).unwrap());
    assert_eq!(until("passed"), "0 passed, 1 failed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_file_is_read_no_further_than_a_component_may_go() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    fs::create_dir(folder.join("scenarios")).unwrap();
    fs::write(folder.join("scenarios/order.toml"), "[when]\nrecords = [\"@demo.order_1\"]\n").unwrap();
    // More than any machine has memory for, of which nothing is on the disk.
    fs::OpenOptions::new().write(true).open(folder.join(&name)).unwrap().set_len(1 << 40).unwrap();
    for arguments in [&["run", &name][..], &["test", &name], &["check", &name], &["scripts", "upload", &name]] {
        let said = ends(folder, 6, arguments);
        assert!(said.contains("the component is larger than 64 MiB"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_names_no_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir(folder).env("TRIGGERBOX_CACHE", "").env_remove("TRIGGERBOX_DB");
    command.env("XDG_CACHE_HOME", folder.join("xdg")).env("XDG_DATA_HOME", folder.join("data"));
    let output = command.args(["run", &name, "--model", "sale.order", "--ids", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.join("xdg/triggerbox").exists() && !folder.join("compiled").exists());
}

#[test]
fn what_a_new_script_cannot_hold_leaves_nothing_in_the_way() {
    let place = tempfile::tempdir().unwrap();
    // The folder's own name fits into what a path may have, those of its files do not.
    let path = ["d".repeat(202).as_str(); 20].join("/");
    for _ in 0..2 {
        let said = ends(place.path(), 2, &["new", "first", "--path", &path]);
        assert!(said.contains("File name too long"), "{said}");
    }
    ends(place.path(), 0, &["new", "first"]);
    let said = ends(place.path(), 2, &["new", "first"]);
    assert!(said.contains("first exists already; choose another name"), "{said}");
}

#[test]
fn records_come_back_into_a_file_without_the_server_that_they_were_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    ends(folder, 0, &["db", "demo", "crm.db"]);
    let said = ends(folder, 0, &["odoo", "moved", "--here", "--db", "crm.db"]);
    assert_eq!(said, "the records of crm.db are in the file itself from now on\n");
    let said = ends(folder, 2, &["odoo", "moved", "--db", "crm.db"]);
    assert!(said.contains("cannot read odoo.toml"), "{said}");
}

#[test]
fn a_report_that_does_not_fit_on_the_disk_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    fs::create_dir(folder.join("scenarios")).unwrap();
    fs::write(folder.join("scenarios/order.toml"), "[when]\nrecords = [\"@demo.order_1\"]\n").unwrap();
    let reports = [
        &["check", &name, "--no-compile", "--json"][..],
        &["test", &name, "--json"],
        &["test", &name, "--format", "junit"],
        &["check", &name, "--no-compile"],
        &["db", "models"],
    ];
    for arguments in reports {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
        command.current_dir(folder).env("TRIGGERBOX_CACHE", folder.join("cache")).args(arguments);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: cannot write to stdout: No space left on device"), "{arguments:?}: {said}");
    }
}

/// Codes and messages of what `check` finds about grants, for `high-value-order` with these in place of its operations and fields.
fn about_grants(folder: &Path, operations: &str, fields: &str) -> Vec<(String, String)> {
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap();
    let manifest = manifest.replace("operations = [\"read\", \"note\"]", &format!("operations = [{operations}]"));
    let manifest = manifest.replace("fields = [\"amount_total\"]", &format!("fields = [{fields}]"));
    let component = embed_manifest(HIGH_VALUE_ORDER.component, &manifest).unwrap();
    fs::write(folder.join("order.wasm"), component).unwrap();
    let found: Json = serde_json::from_str(&ends(folder, 0, &["check", "order.wasm", "--json"])).unwrap();
    let text = |finding: &Json, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = found["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| text(finding, "code").ends_with("-grant"));
    findings.map(|finding| (text(finding, "code"), text(finding, "message"))).collect()
}

// Shows: F078, F092
#[test]
fn grants_are_held_against_what_the_component_imports_and_what_its_scenarios_need() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let found = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let (all, total) = ("\"read\", \"note\"", "\"amount_total\"");
    assert_eq!(about_grants(folder, all, total), []);

    let unused = "`activity` on sale.order: the component imports no function for it";
    assert_eq!(about_grants(folder, &format!("{all}, \"activity\""), total), [found("unused-grant", unused)]);

    let missing = "the component imports `chatter.post-note`, and no grant asks for `note`";
    assert_eq!(about_grants(folder, "\"read\"", total), [found("missing-grant", missing)]);

    // A scenario of an order that is not noted: reading is tested, noting is not, and no other field.
    fs::create_dir(folder.join("scenarios")).unwrap();
    let scenario = |threshold| {
        format!("[when]\nrecords = [\"@demo.order_1\"]\nparameters = {{ threshold = {threshold} }}\n\n[expect]\n")
    };
    fs::write(folder.join("scenarios/small.toml"), scenario(1_000_000)).unwrap();
    let (note, name) = ("no scenario needs `note` on sale.order", "no scenario needs name of sale.order");
    assert_eq!(
        about_grants(folder, all, "\"amount_total\", \"name\""),
        [found("untested-grant", note), found("untested-grant", name)]
    );
    fs::write(folder.join("scenarios/large.toml"), scenario(1)).unwrap();
    assert_eq!(about_grants(folder, all, total), []);
}

#[test]
fn scenarios_that_are_named_to_a_check_are_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    let said = ends(folder, 2, &["check", &name, "--scenarios", "scenarois"]);
    assert!(said.contains("there is no scenario in scenarois"), "{said}");
    ends(folder, 0, &["check", &name]);
}

// Shows: F094
#[test]
fn a_scenario_that_cannot_be_run_is_a_finding_among_the_others() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    fs::create_dir(folder.join("scenarios")).unwrap();
    fs::write(folder.join("scenarios/a.toml"), "[when]\nx = 1\n").unwrap();
    fs::write(folder.join("scenarios/b.toml"), "[when]\nrecords = [\"@demo.order_1\"]\n\n[expect]\n").unwrap();
    let said = ends(folder, 1, &["check", &name]);
    assert!(said.contains("problem: scenarios/a.toml:2:1: unknown field `x`"), "{said}");
    assert!(said.contains("compiles in ") && said.contains("may read, note sale.order"), "{said}");
    let found: Json = serde_json::from_str(&ends(folder, 1, &["check", &name, "--json"])).unwrap();
    let codes: Vec<_> = found["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert!(codes.contains(&&Json::from("broken-scenario")), "{codes:?}");
    assert!(!codes.contains(&&Json::from("untested-grant")), "what it would need is not known: {codes:?}");
}

/// What a script is told that uses nothing of the contract that its first version does not have.
const REBUILT: &str = "  0.1.0 runs once it is built with that version's `wit/`\n";

#[test]
fn a_component_of_another_line_of_the_contract_is_told_which_versions_it_fits() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let name = component(folder, &HIGH_VALUE_ORDER);
    let said = ends(folder, 0, &["check", &name, "--compat"]);
    let runs = format!("versions of the contract\n{REBUILT}  {VERSION} runs\n");
    assert!(said.contains(&runs), "{said}");

    // The names of its imports alone say what it was built for.
    let bytes = fs::read(folder.join(&name)).unwrap();
    let mut other = bytes.clone();
    let version = format!("@{VERSION}");
    for at in 0..bytes.len() - version.len() {
        if bytes[at..].starts_with(version.as_bytes()) {
            other[at + 3] = b'2';
        }
    }
    assert_ne!(other, bytes);
    fs::write(folder.join(&name), other).unwrap();
    let said = ends(folder, 6, &["check", &name, "--compat"]);
    assert!(said.contains(&format!("this host offers `{}`", full_name("records"))), "{said}");
    let rebuilt = REBUILT.replace("0.1.0", VERSION);
    assert!(said.contains(&format!("{REBUILT}{rebuilt}")), "{said}");
}

#[test]
fn findings_in_sarif_follow_its_schema() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    // One with findings on the manifest, and one that may do nothing.
    let manifest = LEAD_SCORING.manifest.unwrap();
    let manifest = manifest.lines().filter(|line| !line.starts_with("description")).collect::<Vec<_>>().join("\n");
    fs::write(folder.join("triggerbox.toml"), &manifest).unwrap();
    fs::write(folder.join("undescribed.wasm"), embed_manifest(LEAD_SCORING.component, &manifest).unwrap()).unwrap();
    fs::write(folder.join("bare.wasm"), HIGH_VALUE_ORDER.component).unwrap();
    let reports = [("undescribed.wasm", 0), ("bare.wasm", 6)].map(|(name, code)| -> Json {
        ends(folder, code, &["check", name, "--sarif", "findings.sarif"]);
        serde_json::from_str(&fs::read_to_string(folder.join("findings.sarif")).unwrap()).unwrap()
    });
    // From wherever it is called, and whatever folders and files are called.
    fs::create_dir_all(folder.join("my scripts/ä#1%")).unwrap();
    for name in ["undescribed.wasm", "triggerbox.toml"] {
        fs::copy(folder.join(name), folder.join("my scripts/ä#1%").join(name)).unwrap();
    }
    let absolute = folder.canonicalize().unwrap().join("my scripts/ä#1%/undescribed.wasm");
    for path in [absolute.to_str().unwrap(), "./my scripts/ä#1%/undescribed.wasm"] {
        let report: Json = serde_json::from_str(&ends(folder, 0, &["check", path, "--format", "sarif"])).unwrap();
        let results = report["runs"][0]["results"].as_array().unwrap();
        let uri = |result: &Json| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        let uris: BTreeSet<_> = results.iter().map(|it| uri(it).as_str().unwrap().to_owned()).collect();
        assert_eq!(uris, BTreeSet::from(["my%20scripts/%C3%A4%231%25/undescribed.wasm".to_owned()]), "{path}");
    }

    let results = reports.iter().flat_map(|report| report["runs"][0]["results"].as_array().unwrap());
    let levels: Vec<_> = results.map(|result| result["level"].as_str().unwrap()).collect();
    for level in ["note", "warning", "error"] {
        assert!(levels.contains(&level), "{level}: {levels:?}");
    }

    // The schema comes with the library that writes the format.
    // Of this machine's platform only: what others need was never fetched.
    let version = Command::new(Path::new(env!("CARGO")).with_file_name("rustc")).arg("-vV").output().unwrap();
    assert!(version.status.success(), "{version:?}");
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = ["metadata", "--format-version", "1", "--offline", "--filter-platform", host];
    let metadata = Command::new(env!("CARGO")).args(metadata).output().unwrap();
    let metadata: Json = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let library = packages.iter().find(|package| package["name"] == "serde-sarif").unwrap();
    let schema = Path::new(library["manifest_path"].as_str().unwrap()).with_file_name("src").join("schema.json");
    let mut schema: Json = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    // Its pattern for languages has a bracket too many, which some regular expressions take and others do not.
    for of in ["run", "toolComponent"] {
        schema["definitions"][of]["properties"]["language"].as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    for report in &reports {
        let errors: Vec<_> = validator.iter_errors(report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    assert!(!validator.is_valid(&serde_json::json!({ "version": "2.1.0" })), "the schema tells what is none");
}

/// The shell commands of the YAML in a page: GitHub's `run`, GitLab's `script`. What installs the program is left out, for
/// it is here.
fn steps(page: &str) -> Vec<Vec<String>> {
    let mut jobs = Vec::new();
    for block in page.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let indent = |line: &str| line.len() - line.trim_start().len();
        let (mut steps, mut lines) = (Vec::new(), block.lines().peekable());
        let mut name = "";
        while let Some(line) = lines.next() {
            let text = line.trim_start().trim_start_matches("- ");
            if let Some(step) = text.strip_prefix("name: ") {
                name = step;
            }
            let deeper = |next: &&str| next.trim().is_empty() || indent(next) > indent(line);
            let command = if text == "run: |" {
                let mut whole = String::new();
                while let Some(next) = lines.next_if(deeper) {
                    whole = whole + next + "\n";
                }
                Some(whole)
            } else {
                text.strip_prefix("run: ").map(str::to_owned)
            };
            steps.extend(command.filter(|_| !name.starts_with("Install")));
            if line == "  script:" {
                while let Some(next) = lines.next_if(deeper) {
                    steps.push(next.trim_start().trim_start_matches("- ").to_owned());
                }
            }
        }
        jobs.push(steps);
    }
    jobs
}

/// The commands of the page's `sh` blocks.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

// Shows: F078, F092
#[test]
fn the_steps_of_the_page_on_ci_run() {
    let place = tempfile::tempdir().unwrap();
    ends(place.path(), 0, &["new", "big-deals"]);
    let folder = place.path().join("big-deals");
    let page = include_str!("../../docs/ci.md");
    let jobs = steps(page);
    assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4], "{jobs:#?}");
    // What a job did not come to is not uploaded, and nothing is for a fork.
    let (_, upload) = page.split_once("upload-sarif@v3\n").unwrap();
    let (condition, _) = upload.split_once("with:").unwrap();
    for part in ["hashFiles('findings.sarif') != ''", "head.repo.full_name == github.repository"] {
        assert!(condition.contains(part), "{condition}");
    }
    assert!(jobs[0].iter().any(|step| step.ends_with("--sarif findings.sarif")), "{jobs:#?}");
    let program = Path::new(env!("CARGO_BIN_EXE_triggerbox")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(program.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    // As CI systems do: the first command that fails ends the step.
    let run = |step: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", step]).current_dir(&folder).env("PATH", &path);
        shell.env("TRIGGERBOX_CACHE", place.path().join("cache")).env("CI_COMMIT_SHA", "0123456");
        shell.env("CARGO_TARGET_DIR", crate::scripts_target());
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let passes = |step: &str| {
        let (passed, said) = run(step);
        assert!(passed, "{step}: {said}");
        said
    };
    // What the repository holds besides: a run that was recorded, with the page's own commands.
    passes("triggerbox build --output script.wasm");
    passes("triggerbox db demo crm.db && triggerbox scripts upload script.wasm --db crm.db");
    passes("triggerbox rules apply rules --db crm.db");
    create_lead(&folder);
    let (there, served): (Vec<_>, Vec<_>) =
        commands(page).into_iter().partition(|command| !command.contains("--server"));
    assert_eq!((there.len(), served.len()), (3, 3), "{there:?} {served:?}");
    let said: String = there.iter().map(|command| passes(&command.replace("12", "1"))).collect();
    assert!(said.contains("action 1: same") && said.contains("1 same, 0 differ, 0 undecidable"), "{said}");

    for job in &jobs {
        let said: String = job.iter().map(|step| passes(step)).collect();
        assert!(said.contains("1 same, 0 differ, 0 undecidable"), "{said}");
        for file in ["results.xml", "findings.sarif"] {
            assert!(folder.join(file).exists(), "{file}");
        }
    }
    // As it is made, a new script passes its own test.
    let results = fs::read_to_string(folder.join("results.xml")).unwrap();
    assert!(results.contains("tests=\"1\" failures=\"0\" errors=\"0\""), "{results}");

    // What needs a server gets as far as asking for it, at an address where none is.
    for command in served {
        let (_, after) = command.split_once(' ').unwrap();
        let command =
            format!("TRIGGERBOX_TOKEN=x {}", after.replace("https://triggerbox.example", "http://127.0.0.1:1"));
        let (passed, said) = run(&command);
        assert!(!passed && said.contains("127.0.0.1:1") && !said.contains("Usage:"), "{command}: {said}");
    }
}
