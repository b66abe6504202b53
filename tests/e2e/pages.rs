//! The pages in a real browser. `cargo xtask pages` installs what this needs and runs it; `cargo test` leaves it out.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use guest_artifacts::{LEAD_SCORING, LOUD};
use serde_json::{Value as Json, json};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::web::routes;

use crate::model::{ModelServer, Say, texts};

/// As the long texts of `tests/pages/screens.mjs`.
fn long() -> String {
    "W".repeat(300)
}

/// Notes on the lead that it is asked about, then says so; about one with a long name, at length.
fn language_model() -> ModelServer {
    ModelServer::start(|_, request: &Json| {
        let task = texts(request, "user").remove(0);
        if !texts(request, "tool").is_empty() {
            let said = if task.contains(&long()) { long() } else { "Noted on the lead.".to_owned() };
            return Say::This(json!(said));
        }
        let lead = task.rsplit_once("crm.lead(").and_then(|(_, rest)| rest.split(')').next()?.parse::<u32>().ok());
        Say::This(json!([["note", { "model": "crm.lead", "id": lead, "text": "Somebody should call." }]]))
    })
}

/// A server that ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn triggerbox(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir(folder).env("TRIGGERBOX_CACHE", folder.join("cache")).env_remove("TRIGGERBOX_DB");
    command
}

/// A script that says what its rule tells it to, and says at length what it is.
fn loud(folder: &Path) -> String {
    let mut manifest: toml::Table = LOUD.manifest.unwrap().parse().unwrap();
    manifest["script"]["description"] = long().into();
    for parameter in manifest["parameters"].as_array_mut().unwrap() {
        parameter.as_table_mut().unwrap().extend(["help", "label"].map(|key| (key.to_owned(), long().into())));
    }
    let file = folder.join("loud.wasm");
    std::fs::write(&file, embed_manifest(LOUD.component, &toml::to_string(&manifest).unwrap()).unwrap()).unwrap();
    file.display().to_string()
}

/// Addresses of screens, with their variable parts in braces.
fn screens() -> String {
    let screens = routes().into_iter().filter(|route| route.method == "GET").map(|route| route.path);
    let is_screen =
        |path: &&str| !path.starts_with("/assets/") && !path.ends_with("/component") && !["/", "/live"].contains(path);
    screens.filter(is_screen).collect::<Vec<_>>().join(" ")
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = triggerbox(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

// Shows: F011, F028, F063, F064, F068, F078, F080, F081, F088
#[test]
#[ignore = "needs a browser: cargo xtask pages"]
fn an_administrator_goes_the_whole_way_in_a_browser() {
    let tools = std::env::var("TRIGGERBOX_PAGES").expect("run it by `cargo xtask pages`");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let manifest = LEAD_SCORING.manifest.unwrap();
    let mut files = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        let manifest: Vec<String> = manifest
            .lines()
            .map(|line| if line.starts_with("version") { format!("version = \"{version}\"") } else { line.to_owned() })
            .collect();
        let file = folder.join(format!("lead-scoring-{version}.wasm"));
        std::fs::write(&file, embed_manifest(LEAD_SCORING.component, &manifest.join("\n")).unwrap()).unwrap();
        files.push(file.display().to_string());
    }
    run(folder, &["db", "demo", "crm.db"]);
    let token = run(folder, &["token", "create", "test", "--scope", "read,records,rules,operate", "--db", "crm.db"]);
    let model = language_model();
    std::fs::write(folder.join("providers.toml"), model.providers()).unwrap();
    std::fs::write(folder.join("key"), [7; 32]).unwrap();
    std::fs::write(folder.join("triggerbox.toml"), "providers = \"providers.toml\"\n[web]\nkey-file = \"key\"\n")
        .unwrap();
    run(folder, &["scripts", "upload", &loud(folder), "--db", "crm.db"]);

    let mut command = triggerbox(folder);
    command.args(["serve", "--db", "crm.db", "--config", "triggerbox.toml", "--listen", "127.0.0.1:0"]);
    command.env("TEST_KEY", "a-key-for-tests");
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut server = Server(command.stdout(Stdio::piped()).stderr(log).spawn().unwrap());
    // It is held to the end: whoever writes to a pipe that nobody has dies of it.
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let link = lines.by_ref().find(|line| line.contains("/welcome?key=")).unwrap();

    let out = std::env::var("TRIGGERBOX_SCREENSHOTS").expect("run it by `cargo xtask pages`");
    let status = Command::new("node")
        .arg(Path::new(&tools).join("run.mjs"))
        .env("TRIGGERBOX_LINK", link.trim())
        .env("TRIGGERBOX_TOKEN", token)
        .env("TRIGGERBOX_SCRIPT", files.join(":"))
        .env("TRIGGERBOX_ROUTES", screens())
        .env("TRIGGERBOX_OUT", &out)
        .status()
        .unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(folder.join("log")).unwrap());
}
