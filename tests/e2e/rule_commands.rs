//! The commands about rules and scripts, as programs call them: with `--json`.

use std::{path::Path, process::Command};

use guest_artifacts::{AI_AGENT, HIGH_VALUE_ORDER};
use serde_json::{Value as Json, json};
use triggerbox_sandbox::inspect::embed_manifest;

use crate::model::ModelServer;

/// Runs the program in a folder; its one JSON document.
fn json(folder: &Path, arguments: &[&str]) -> Json {
    let output = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
        .current_dir(folder)
        .env("TRIGGERBOX_CACHE", folder.join("cache"))
        .env("TRIGGERBOX_DB", folder.join("crm.db"))
        .args(arguments)
        .arg("--json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the program in a folder; its exit code, and all that it printed.
fn ends(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
        .current_dir(folder)
        .env("TRIGGERBOX_CACHE", folder.join("cache"))
        .env("TRIGGERBOX_DB", folder.join("crm.db"))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

// Shows: F093
#[test]
fn scripts_are_uploaded_activated_and_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap();
    for (file, version) in [("one.wasm", "0.1.0"), ("two.wasm", "0.2.0")] {
        let manifest = manifest.replace("0.1.0", version);
        std::fs::write(folder.join(file), embed_manifest(HIGH_VALUE_ORDER.component, &manifest).unwrap()).unwrap();
    }
    let rule = "name = \"note\"\nmodel = \"sale.order\"\n[trigger]\non = \"created\"\n[[actions]]\nscript = \"high-value-order\"\n";
    std::fs::write(folder.join("note.toml"), rule).unwrap();
    let made = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
        .args(["db", "demo"])
        .arg(folder.join("crm.db"))
        .output()
        .unwrap();
    assert!(made.status.success());

    let first = json(folder, &["scripts", "upload", "one.wasm"]);
    assert_eq!(first["version"]["active"], true, "the first version is the active one");
    let applied = json(folder, &["rules", "apply", "note.toml"]);
    assert_eq!(applied["steps"][0]["change"], "create");
    let second = json(folder, &["scripts", "upload", "two.wasm"]);
    assert_eq!((&second["version"]["active"], &second["outcome"]), (&json!(false), &json!("created")));
    let again = json(folder, &["scripts", "upload", "two.wasm"]);
    assert_eq!((&again["version"], &again["outcome"]), (&second["version"], &json!("unchanged")));
    let hash = second["version"]["hash"].as_str().unwrap();
    let activated = json(folder, &["scripts", "activate", "high-value-order", &hash[..10]]);
    assert_eq!(activated["switched"]["moved"][0], "note");
    let shown = json(folder, &["rules", "show", "note"]);
    assert_eq!(shown["runs"][0]["bound"]["hash"], hash);

    let back = json(folder, &["scripts", "rollback", "high-value-order"]);
    assert_eq!(back["version"]["hash"], first["version"]["hash"]);
    let versions = json(folder, &["scripts", "list", "high-value-order"]);
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(json(folder, &["scripts", "history", "high-value-order"]).as_array().unwrap().len(), 3);
    assert_eq!(json(folder, &["scripts", "deactivate", "high-value-order"])["active"], Json::Null);
    assert_eq!(json(folder, &["rules", "diagnose", "note"])[0]["code"], "script-inactive");
}

#[test]
fn whoever_runs_a_script_without_a_rule_is_told_which_rules_do_not_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    std::fs::write(folder.join("high.wasm"), component).unwrap();
    let rule = |name: &str, model: &str| {
        let text = format!(
            "name = \"{name}\"\nmodel = \"{model}\"\n[trigger]\non = \"updated\"\n[[actions]]\nscript = \"notify\"\n\
             parameters = {{ text = \"x\" }}\n"
        );
        let file = format!("{name}.toml");
        std::fs::write(folder.join(&file), text).unwrap();
        json(folder, &["rules", "apply", &file]);
    };
    let demo =
        Command::new(trycmd::cargo::cargo_bin!("triggerbox")).args(["db", "demo"]).arg(folder.join("crm.db")).output();
    assert!(demo.unwrap().status.success());
    let run = |more: &[&str]| {
        let output = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
            .current_dir(folder)
            .env("TRIGGERBOX_CACHE", folder.join("cache"))
            .env("TRIGGERBOX_DB", folder.join("crm.db"))
            .args(["run", "high.wasm", "--model", "sale.order", "--ids", "3", "--param", "threshold=1"])
            .args(more)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
    };
    assert!(!run(&[]).contains("no rule sees"));
    rule("leads", "crm.lead");
    assert!(!run(&[]).contains("no rule sees"));
    rule("orders", "sale.order");
    assert!(run(&[]).contains("these are about such records: `orders`"));
    assert!(!run(&["--dry-run"]).contains("no rule sees"));
}

#[test]
fn every_command_about_rules_speaks_json() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rule = |extra: &str| {
        format!(
            "name = \"note\"\n{extra}model = \"sale.order\"\n[trigger]\non = \"created\"\n[[actions]]\nscript = \"notify\"\nparameters = {{ text = \"{{name}}\" }}\n"
        )
    };
    std::fs::write(folder.join("note.toml"), rule("")).unwrap();
    let demo =
        Command::new(trycmd::cargo::cargo_bin!("triggerbox")).args(["db", "demo"]).arg(folder.join("crm.db")).output();
    assert!(demo.unwrap().status.success());
    assert_eq!(json(folder, &["rules", "apply", "note.toml", "--dry-run"])["applied"], false);
    assert_eq!(json(folder, &["rules", "list"]), Json::Array(Vec::new()));
    json(folder, &["rules", "apply", "note.toml"]);
    std::fs::write(folder.join("note.toml"), rule("title = \"Notes\"\n")).unwrap();
    let applied = json(folder, &["rules", "apply", "note.toml"]);
    assert_eq!(applied["steps"][0]["differences"][0]["place"], "title");
    assert_eq!(json(folder, &["rules", "list", "--model", "sale.order"])[0]["rule"]["name"], "note");
    assert_eq!(json(folder, &["rules", "history", "note"]).as_array().unwrap().len(), 2);
    assert_eq!(json(folder, &["rules", "diff", "note"])["differences"][0]["new"], "Notes");
    json(folder, &["rules", "restore", "note", "1"]);
    json(folder, &["rules", "pause", "note"]);
    assert_eq!(json(folder, &["rules", "list"])[0]["paused"], "paused by hand");
    json(folder, &["rules", "resume", "note"]);
    let moved = json(folder, &["rules", "set-model", "note", "sale.order.line", "--dry-run"]);
    assert_eq!(moved["dropped"], Json::Array(Vec::new()));
    assert_eq!(json(folder, &["rules", "export", "out"])["written"].as_array().unwrap().len(), 1);
    assert_eq!(json(folder, &["rules", "next"]), Json::Array(Vec::new()));
    json(folder, &["rules", "stop", "--model", "sale.order"]);
    assert_eq!(json(folder, &["rules", "stops"])[0]["model"], "sale.order");
    json(folder, &["rules", "go", "--model", "sale.order"]);
    assert_eq!(json(folder, &["rules", "stops"]), Json::Array(Vec::new()));
    json(folder, &["rules", "delete", "note"]);
    let stale = json(folder, &["rules", "export", "out", "--prune"]);
    assert_eq!(stale["stale"].as_array().unwrap().len(), 1);
    assert!(!folder.join("out/note.toml").exists());
}

/// The agents of the examples are used as they lie there: each rule is accepted by a demo database that has their agent.
#[test]
fn the_rules_of_the_example_agents_can_be_applied() {
    let agents = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest-examples/agents");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    json(folder, &["db", "demo", "crm.db"]);
    json(folder, &["agents", "apply", &format!("{agents}/assistant.toml")]);
    let mut applied = 0;
    for entry in std::fs::read_dir(agents).unwrap() {
        let rule = entry.unwrap().path().join("rule.toml");
        if rule.is_file() {
            json(folder, &["rules", "apply", rule.to_str().unwrap()]);
            applied += 1;
        }
    }
    assert_eq!(applied, 15);
}

/// The commands of `docs/examples/agents.md`, and those of `docs/llm.md` that run the script by itself.
#[test]
fn an_example_agent_runs_by_hand_on_its_recording() {
    let agents = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest-examples/agents");
    let (rule, recording) =
        (format!("{agents}/pipeline-summary/rule.toml"), format!("{agents}/pipeline-summary/recording.json"));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    json(folder, &["db", "demo", "crm.db"]);
    json(folder, &["agents", "apply", &format!("{agents}/assistant.toml")]);
    json(folder, &["rules", "apply", &rule]);
    json(folder, &["rules", "run", "pipeline-summary"]);
    json(folder, &["runs", "work", "--recording", &recording, "--match", "tolerant"]);
    let thread = json(folder, &["threads", "show", "1"]).to_string();
    assert!(thread.contains("17 opportunities are worth"), "{thread}");

    let component = embed_manifest(AI_AGENT.component, AI_AGENT.manifest.unwrap()).unwrap();
    std::fs::write(folder.join("ai-agent.wasm"), component).unwrap();
    let mut arguments = vec!["run", "ai-agent.wasm", "--model", "crm.lead", "--class", "agent"];
    arguments.extend(["--param", "prompt=Sum up the pipeline.", "--param", "read_only=true"]);
    arguments.extend(["--grant", "crm.lead:read:type,stage_id,expected_revenue,won_status"]);
    arguments.extend(["--recording", &recording, "--match", "tolerant"]);
    let report = json(folder, &arguments);
    assert!(report["verdict"] == "applied" && report.to_string().contains("17 opportunities"), "{report}");
}

// Shows: F023
#[test]
fn who_works_without_the_server_asks_whom_was_set_on_its_pages() {
    let server = ModelServer::of(vec![json!("Done.")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    json(folder, &["db", "demo", "crm.db"]);
    let rule = "name = \"qualify\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Qualify.\" },\n\
                grants = [{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\", \"priority\"] }] }]";
    for (file, text) in [("qualify.toml", rule), ("sales.toml", "name = \"sales\"\n"), ("server.toml", "")] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    json(folder, &["agents", "apply", "sales.toml"]);
    json(folder, &["rules", "apply", "qualify.toml"]);
    json(folder, &["rules", "run", "qualify", "--ids", "1"]);
    // As the page leaves it.
    let model = json!({ "name": "small", "input-price": 2.0, "output-price": 8.0, "max-output": 1000 });
    let url = format!("{}/v1", server.url);
    let near = json!({ "kind": "openai", "base-url": url, "private": true, "retries": 0, "models": [model] });
    let set = "INSERT INTO engine_setting (name, value) VALUES ('provider/near', ?1)";
    rusqlite::Connection::open(folder.join("crm.db")).unwrap().execute(set, [near.to_string()]).unwrap();
    // Without its configuration nobody is asked, and no run fails for it.
    let (code, said) = ends(folder, &["runs", "work"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("1 run of `qualify` left in the queue: it asks a language model\nsay how with --config"),
        "{said}"
    );
    assert_eq!(json(folder, &["runs", "show", "1"])["state"], "queued");
    assert!(server.asked().is_empty());
    json(folder, &["runs", "work", "--config", "server.toml"]);
    let shown = json(folder, &["runs", "show", "1"]);
    assert_eq!(shown["state"], "succeeded", "{shown}");
    assert_eq!(server.asked().len(), 1);
}

// Shows: F115
#[test]
fn what_the_program_changes_is_told_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    std::fs::write(folder.join("one.wasm"), component).unwrap();
    let rule = "name = \"note\"\nmodel = \"sale.order\"\n[trigger]\non = \"created\"\n[[actions]]\nscript = \"high-value-order\"\n";
    std::fs::write(folder.join("note.toml"), rule).unwrap();
    std::fs::write(folder.join("sales.toml"), "name = \"sales\"\n").unwrap();
    let made = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
        .args(["db", "demo"])
        .arg(folder.join("crm.db"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let mut expected = Vec::new();
    let mut change = |arguments: &[&str], action: &'static str, detail: &'static str| {
        let told = json(folder, arguments);
        expected.push((action, detail));
        told
    };
    let secret =
        change(&["token", "create", "ci", "--scope", "read"], "token-made", "token 1 `ci`: user 2, read, until");
    change(&["token", "revoke", "1"], "token-revoked", "token 1 `ci`: user 2, read, until");
    change(&["scripts", "upload", "one.wasm"], "script-uploaded", "high-value-order version 0.1.0");
    change(&["scripts", "deactivate", "high-value-order"], "script-switched-off", "high-value-order version 0.1.0");
    let hash = json(folder, &["scripts", "list", "high-value-order"])[0]["hash"].as_str().unwrap().to_owned();
    change(&["scripts", "activate", "high-value-order", &hash], "script-activated", "version 0.1.0");
    change(&["rules", "apply", "note.toml"], "rules-applied", "create note: ");
    change(&["rules", "pause", "note", "--reason", "a test"], "rule-paused", "because a test");
    change(&["rules", "resume", "note"], "rule-resumed", "was paused: a test");
    change(&["rules", "run", "note", "--ids", "1"], "rule-run", "on records 1");
    change(&["rules", "stop", "--reason", "a test"], "runs-stopped", "a test");
    change(&["rules", "go"], "runs-let-go", "they run again");
    change(&["runs", "cancel", "1"], "run-cancelled", "of note, was queued");
    change(&["runs", "retry", "1"], "run-retried", "of note, was cancelled (cancelled)");
    change(&["rules", "delete", "note"], "rule-deleted", "version 1 was the last one");
    change(&["rules", "restore", "note", "1"], "rule-restored", "version 3: ");
    change(&["agents", "apply", "sales.toml"], "agents-applied", "sales: version 1: ");
    change(&["agents", "delete", "sales"], "agent-deleted", "version 1 was the last one");

    let conn = rusqlite::Connection::open(folder.join("crm.db")).unwrap();
    let mut statement =
        conn.prepare("SELECT who, user, action, detail, address FROM server_audit ORDER BY id").unwrap();
    let lines = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, u32>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, String>(3)?,
            row.get::<_, String>(4)?,
        ))
    });
    let lines: Vec<_> = lines.unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for ((who, user, action, detail, address), (its_action, its_detail)) in lines.iter().zip(expected) {
        assert_eq!(
            (who.as_str(), *user, action.as_str(), address.as_str()),
            ("the program", 2, its_action, "command line")
        );
        assert!(detail.starts_with(its_detail), "{action}: {detail}");
        assert!(!detail.contains(secret["secret"].as_str().unwrap()), "{detail}");
    }
}

// Shows: F083
#[test]
fn a_run_that_waits_for_odoo_says_since_when() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let program = |arguments: &[&str]| {
        let output = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
            .current_dir(folder)
            .env("TRIGGERBOX_CACHE", folder.join("cache"))
            .env("TRIGGERBOX_DB", folder.join("crm.db"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rule = "name = \"note\"\nmodel = \"sale.order\"\n[trigger]\non = \"manual\"\n[[actions]]\nscript = \"notify\"\n\
                parameters = { text = \"x\" }\n";
    std::fs::write(folder.join("note.toml"), rule).unwrap();
    program(&["db", "demo", "crm.db"]);
    program(&["rules", "apply", "note.toml"]);
    program(&["rules", "run", "note", "--ids", "1"]);
    // As the engine leaves one; that it does is shown where that is tested.
    let waits = "UPDATE engine_run SET code = 'odoo-away', message = 'odoo at erp.example is not reachable: refused', \
                 away_since = 1700000000000";
    rusqlite::Connection::open(folder.join("crm.db")).unwrap().execute_batch(waits).unwrap();
    let shown = program(&["runs", "show", "1"]);
    let first = "run 1 queued waits for odoo since 2023-11-14 22:13:20: odoo at erp.example is not reachable: refused";
    assert_eq!(shown.lines().next(), Some(first), "{shown}");
    assert_eq!(json(folder, &["runs", "show", "1"])["away-since"], "2023-11-14T22:13:20Z");
    let diagnosed = program(&["rules", "diagnose", "note"]);
    assert!(diagnosed.contains("its last run, 1, waits for odoo since 2023-11-14 22:13:20"), "{diagnosed}");
}

#[test]
fn rules_are_files_of_toml_or_json_and_a_folder_without_any_deletes_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let program = |arguments: &[&str]| {
        let program = Command::new(trycmd::cargo::cargo_bin!("triggerbox"))
            .current_dir(folder)
            .env("TRIGGERBOX_CACHE", folder.join("cache"))
            .env("TRIGGERBOX_DB", folder.join("crm.db"))
            .args(arguments)
            .output()
            .unwrap();
        (program.status.code(), String::from_utf8_lossy(&program.stderr).into_owned())
    };
    assert_eq!(program(&["db", "demo", "crm.db"]).0, Some(0));
    for name in ["rules", "none"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    let toml = "name = \"one\"\nmodel = \"crm.lead\"\n[trigger]\non = \"created\"\n\
                [[actions]]\nscript = \"update-record\"\nparameters = { values = \"city = Ghent\" }\n";
    let json_form = r#"{ "name": "two", "model": "crm.lead", "trigger": { "on": "created" },
        "actions": [{ "script": "update-record", "parameters": { "values": "city = Ghent" } }] }"#;
    std::fs::write(folder.join("rules/one.toml"), toml).unwrap();
    std::fs::write(folder.join("rules/two.json"), json_form).unwrap();
    let applied = json(folder, &["rules", "apply", "rules"]);
    let steps: Vec<_> =
        applied["steps"].as_array().unwrap().iter().map(|step| (&step["rule"], &step["change"])).collect();
    assert_eq!(steps, [(&Json::from("one"), &Json::from("create")), (&Json::from("two"), &Json::from("create"))]);

    let (code, said) = program(&["rules", "apply", "none", "--prune"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("none has no rule, and `--prune` would delete all that there are"), "{said}");
    let kept = json(folder, &["rules", "apply", "rules", "--prune"]);
    assert!(kept["steps"].as_array().unwrap().iter().all(|step| step["change"] == "keep"), "{kept}");
    std::fs::write(folder.join("rules/two.json"), json_form.replace("model", "modell")).unwrap();
    let (code, said) = program(&["rules", "apply", "rules"]);
    assert_eq!(code, Some(2));
    // Of one rule all that is wrong, and of the others, too.
    for told in ["two\n  modell: unknown key; did you mean `model`?\n  model: ", "nothing was applied"] {
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(json(folder, &["rules", "list"]).as_array().unwrap().len(), 2);
}
