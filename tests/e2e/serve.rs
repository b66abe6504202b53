//! The program as a server: started, asked, stopped.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
};

use serde_json::{Value as Json, json};

use crate::model::{ModelServer, Say, Service, texts};

const KEY: &str = "sk-canary-98f13708210194c4";

struct Server {
    child: Child,
    address: String,
}

fn triggerbox(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir(folder).env("TRIGGERBOX_CACHE", folder.join("cache")).env_remove("TRIGGERBOX_DB");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = triggerbox(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::with(folder, &[])
    }

    fn with(folder: &Path, options: &[&str]) -> Self {
        let mut command = triggerbox(folder);
        command.args(["serve", "--db", "crm.db", "--listen", "127.0.0.1:0"]).args(options).env("TEST_KEY", KEY);
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, address }
    }

    /// One request over a connection of its own.
    fn ask(&self, token: &str, method: &str, path: &str, body: &Json) -> (u16, Json) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM; the exit code.
    fn stop(mut self) -> Option<i32> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// What follows a key at the begin of a line of one of the files in `docs/deploy`, its folders below another.
fn said(text: &str, key: &str, folder: &Path) -> Vec<String> {
    let home = folder.display();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key));
    let there = [
        ("/usr/local/bin/", ""),
        ("/var/lib/triggerbox", ""),
        ("/var/cache/triggerbox", "/cache"),
        ("/etc/triggerbox", ""),
    ];
    lines
        .map(|line| {
            there.iter().fold(line.to_owned(), |line, (from, to)| match *from {
                "/usr/local/bin/" => line.replace(from, to),
                _ => line.replace(from, &format!("{home}{to}")),
            })
        })
        .collect()
}

/// Starts what a file says, on a port of its own, and stops it.
fn starts_and_stops(folder: &Path, words: &[&str], variables: &[String]) {
    let (program, arguments) = words.split_first().unwrap();
    assert_eq!(*program, "triggerbox");
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    command.current_dir("/").env_clear().envs(variables.iter().map(|pair| pair.split_once('=').unwrap()));
    // A slim image may know nobody to believe in TLS; who asks nobody needs none.
    command.env("SSL_CERT_FILE", folder.join("none.pem")).env("SSL_CERT_DIR", folder.join("none"));
    let arguments = arguments.iter().map(|word| word.replace("0.0.0.0:7171", "127.0.0.1:0"));
    command.args(arguments).args(["--listen", "127.0.0.1:0"].iter().filter(|_| !words.contains(&"--listen")));
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}{}", log()));
    let server = Server { child, address: address.to_owned() };
    assert_eq!(server.ask("", "GET", "/readyz", &Json::Null).0, 200, "{}", log());
    assert_eq!(server.stop(), Some(0), "{}", log());
}

#[test]
fn the_service_and_the_container_start_the_server_with_what_their_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, &["db", "demo", "crm.db"]);
    std::fs::write(folder.join("triggerbox.toml"), "[http]\ndrain = 40\n").unwrap();

    let unit = include_str!("../../docs/deploy/triggerbox.service");
    let start = said(unit, "ExecStart=", folder).remove(0);
    starts_and_stops(folder, &start.split(' ').collect::<Vec<_>>(), &said(unit, "Environment=", folder));

    let container = include_str!("../../docs/deploy/Containerfile");
    let words = |key: &str| -> Vec<String> { serde_json::from_str(&said(container, key, folder)[0]).unwrap() };
    let command = [words("ENTRYPOINT "), words("CMD ")].concat();
    let variables: Vec<_> = said(container, "ENV ", folder)[0].split(' ').map(str::to_owned).collect();
    starts_and_stops(folder, &command.iter().map(String::as_str).collect::<Vec<_>>(), &variables);
}

// Shows: F078, F080
#[test]
fn a_server_is_started_asked_and_stopped_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, &["db", "demo", "crm.db"]);
    let token = run(folder, &["token", "create", "test", "--scope", "read,records,operate", "--db", "crm.db"]);
    let token = token.trim();
    assert!(token.starts_with("tb_"), "{token}");

    let server = Server::start(folder);
    let (status, created) =
        server.ask(token, "POST", "/api/v1/records/crm.lead", &json!({ "records": [{ "name": "Kept" }] }));
    assert_eq!(status, 201, "{created}");
    let path = format!("/api/v1/records/crm.lead/{}?fields=name", created["ids"][0]);
    assert_eq!(server.ask("tb_wrong", "GET", &path, &Json::Null).0, 401);
    // One process has the database: the others are told so.
    let second = triggerbox(folder).args(["serve", "--db", "crm.db", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(5), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(server.stop(), Some(0));
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    let lines: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "draining"), "{log}");
    assert!(lines.iter().any(|line| line["status"] == 201 && line["method"] == "POST"), "{log}");
    assert!(!log.contains(token), "the log holds no token");

    let again = Server::start(folder);
    assert_eq!(again.ask(token, "GET", &path, &Json::Null).1["name"], "Kept");
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn a_wrong_configuration_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.toml"), "[runs]\nworkers = 0\n").unwrap();
    let output = triggerbox(folder.path()).args(["serve", "--config", "t.toml"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("t.toml") && text.contains("`runs.workers`: at least 1"), "{text}");
}

const AGENT: &str = "name = \"sales\"\nmodel = \"test/small\"\n";

const RULE: &str = r#"
name = "qualify"
title = "Qualify new leads"
model = "crm.lead"
trigger = { on = "created" }

[[actions]]
script = "ai-agent"
agent = "sales"
parameters = { prompt = "Qualify {{ records[0].name }}." }
grants = [{ model = "crm.lead", operations = ["read", "note"], fields = ["name"] }]
"#;

// Shows: F023, F029, F061
#[test]
fn a_lead_created_over_http_is_looked_at_by_a_model_and_a_kill_in_the_middle_repeats_only_the_lost_call() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (out, came) = std::sync::mpsc::channel();
    let out = std::sync::Mutex::new(out);
    // The first time that it is asked what to say at the end, it keeps silent: the program is killed meanwhile.
    let server = ModelServer::start(move |nth, request| match texts(request, "tool").is_empty() {
        true => Say::This(json!([["note", { "model": "crm.lead", "id": lead_of(request), "text": "Looks good." }]])),
        false if nth == 1 => {
            out.lock().unwrap().send(()).unwrap();
            std::thread::park();
            Say::Status(500)
        }
        false => Say::This(json!("Noted.")),
    });
    std::fs::write(folder.join("providers.toml"), server.providers()).unwrap();
    std::fs::write(folder.join("t.toml"), "providers = \"providers.toml\"\n[web]\nurl = \"https://erp.example\"\n")
        .unwrap();
    for (name, text) in [("agent.toml", AGENT), ("rule.toml", RULE)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    run(folder, &["db", "demo", "crm.db"]);
    assert!(run(folder, &["agents", "apply", "agent.toml", "--db", "crm.db"]).contains("create sales"));
    run(folder, &["rules", "apply", "rule.toml", "--db", "crm.db"]);
    let token = run(folder, &["token", "create", "test", "--scope", "read,records,operate", "--db", "crm.db"]);
    let token = token.trim();

    let program = Server::with(folder, &["--config", "t.toml"]);
    let body = json!({ "records": [{ "name": "Chairs" }] });
    let (status, created) = program.ask(token, "POST", "/api/v1/records/crm.lead", &body);
    assert_eq!(status, 201, "{created}");
    let (lead, run_number) = (created["ids"][0].as_u64().unwrap(), created["runs"][0].as_i64().unwrap());
    came.recv().unwrap();
    program.kill();

    let program = Server::with(folder, &["--config", "t.toml"]);
    let path = format!("/api/v1/runs/{run_number}");
    let ended = loop {
        let run = program.ask(token, "GET", &path, &Json::Null).1;
        if !["queued", "running"].contains(&run["state"].as_str().unwrap()) {
            break run;
        }
    };
    assert_eq!(
        (&ended["state"], &ended["attempt"], &ended["message"]),
        (&json!("succeeded"), &json!(2), &json!("Noted."))
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "the answer that was stored is not asked for again");
    assert_eq!(asked[1], asked[2]);
    let about = format!("%5B('model','=','crm.lead'),('res_id','=',{lead})%5D");
    let path = format!("/api/v1/records/mail.message?fields=body&domain={about}");
    let text = program.ask(token, "GET", &path, &Json::Null).1.to_string();
    assert_eq!(text.matches("Looks good.").count(), 1, "{text}");
    assert_eq!(text.matches(&format!("https://erp.example/threads/{run_number}")).count(), 1, "{text}");
    let thread = program.ask(token, "GET", &format!("/api/v1/threads/{run_number}"), &Json::Null).1;
    let open = thread["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "open").count();
    assert_eq!((open, &thread["name"]), (1, &json!("Qualify new leads")), "{thread}");
    assert_eq!(program.stop(), Some(0));

    let shown = self::run(folder, &["threads", "show", &run_number.to_string(), "--db", "crm.db"]);
    assert!(shown.contains("Looks good.") && shown.contains("charged at its worst case"), "{shown}");
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    assert!(!log.contains(KEY) && !shown.contains(KEY) && !thread.to_string().contains(KEY));
}

// Shows: F023, F078
#[test]
fn a_server_says_where_its_answers_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = ModelServer::start(|_, request| match texts(request, "tool").is_empty() {
        true => Say::This(json!([["note", { "model": "crm.lead", "id": lead_of(request), "text": "Looks good." }]])),
        false => Say::This(json!("Noted.")),
    });
    let talk = json!({ "triggerbox-recording": 1, "origin": "hand-written", "exchanges": [
        { "answer": { "calls": [{ "name": "note", "arguments": { "model": "crm.lead", "id": 21, "text": "By hand." } }] } },
        { "answer": { "text": "Noted by hand." } },
    ] });
    let providers = server.providers();
    for (name, text) in
        [("agent.toml", AGENT), ("rule.toml", RULE), ("providers.toml", &providers), ("talk.json", &talk.to_string())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    run(folder, &["db", "demo", "crm.db"]);
    run(folder, &["agents", "apply", "agent.toml", "--db", "crm.db"]);
    run(folder, &["rules", "apply", "rule.toml", "--db", "crm.db"]);
    let token = run(folder, &["token", "create", "test", "--scope", "read,records,operate", "--db", "crm.db"]);
    // What becomes of a new lead's run, and what the server has told on its terminal.
    let ask = |options: &[&str]| {
        let program = Server::with(folder, options);
        let body = json!({ "records": [{ "name": "Chairs" }] });
        let created = program.ask(token.trim(), "POST", "/api/v1/records/crm.lead", &body).1;
        let path = format!("/api/v1/runs/{}", created["runs"][0]);
        let ended = loop {
            let run = program.ask(token.trim(), "GET", &path, &Json::Null).1;
            if !["queued", "running"].contains(&run["state"].as_str().unwrap()) {
                break run;
            }
        };
        assert_eq!(program.stop(), Some(0), "{ended}");
        (ended["message"].as_str().unwrap().to_owned(), std::fs::read_to_string(folder.join("log")).unwrap())
    };
    let (message, log) = ask(&["--recording", "talk.json", "--match", "tolerant"]);
    assert_eq!((message.as_str(), server.asked().len()), ("Noted by hand.", 0));
    assert!(log.contains("talk.json: a conversation written by hand: no model is asked"), "{log}");

    let live = ["--providers", "providers.toml"];
    let (message, _) = ask(&[&live[..], &["--llm", "off"]].concat());
    assert!(message.contains("no language model provider is configured") && server.asked().is_empty(), "{message}");
    let (message, _) = ask(&[&live[..], &["--llm", "record", "--recording", "new.json"]].concat());
    assert_eq!((message.as_str(), server.asked().len()), ("Noted.", 2));
    let recorded = std::fs::read_to_string(folder.join("new.json")).unwrap();
    assert!(
        recorded.contains("\"recorded\"") && recorded.contains("Looks good.") && !recorded.contains(KEY),
        "{recorded}"
    );
    let (message, log) = ask(&["--recording", "new.json", "--match", "tolerant", "--llm", "replay"]);
    assert_eq!(message, "Noted.");
    assert!(log.contains("new.json: a recorded conversation: no model is asked"), "{log}");
    assert_eq!(ask(&live).0, "Noted.");
    assert_eq!(server.asked().len(), 4);
}

/// The lead that a request is about.
fn lead_of(request: &Json) -> u64 {
    let task = texts(request, "user").remove(0);
    task.rsplit_once("crm.lead(").unwrap().1.split_once(')').unwrap().0.parse().unwrap()
}

/// The agent's component in a folder, and a server that answers it with a note and a word, with its file of providers.
fn agent_at_hand(folder: &Path) -> ModelServer {
    agent_and(folder, ModelServer::of(vec![note(), json!("Noted.")]))
}

/// A model's wish to note something.
fn note() -> Json {
    json!([["note", { "model": "crm.lead", "id": 1, "text": "Hello." }]])
}

/// The agent's component in a folder, and the file of providers of its model's server.
fn agent_and(folder: &Path, server: ModelServer) -> ModelServer {
    let agent = &guest_artifacts::AI_AGENT;
    let component = triggerbox_sandbox::inspect::embed_manifest(agent.component, agent.manifest.unwrap());
    std::fs::write(folder.join("ai-agent.wasm"), component.unwrap()).unwrap();
    std::fs::write(folder.join("providers.toml"), server.providers()).unwrap();
    server
}

/// Runs that agent on a lead.
fn ask_agent(folder: &Path, prompt: &str) -> Command {
    let mut command = triggerbox(folder);
    command.args(["run", "ai-agent.wasm", "--model", "crm.lead", "--ids", "1", "--class", "agent", "--param", prompt]);
    command.args(["--grant", "crm.lead:read,note:name"]);
    command.env("TEST_KEY", KEY).env_remove("TRIGGERBOX_PROVIDERS");
    command
}

// Shows: F078
#[test]
fn what_a_script_logs_is_shown_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (shown, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let _server = agent_and(
        folder,
        ModelServer::start(move |nth, _| {
            if nth == 0 {
                return Say::This(note());
            }
            // The model says its last word when what the script did before was read here.
            let shown = wait.lock().unwrap().recv();
            Say::This(json!(if shown.is_ok() { "Noted." } else { "Nobody looked." }))
        }),
    );
    let mut command = ask_agent(folder, "prompt=Go.");
    let mut child = command.args(["--providers", "providers.toml"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let logged = lines.find(|line| line.starts_with("info") && line.contains("note {")).unwrap();
    shown.send(()).unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("Noted.")), "after {logged}: {rest:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_run_by_hand_whose_plan_is_refused_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = agent_at_hand(folder);
    let step = json!({ "tool": "search", "model": "res.users", "fields": ["login"], "why": "to know" });
    let plan = json!({ "goal": "look around", "steps": [step] }).to_string();
    let talk =
        json!({ "triggerbox-recording": 1, "origin": "hand-written", "exchanges": [{ "answer": { "text": plan } }] });
    std::fs::write(folder.join("talk.json"), talk.to_string()).unwrap();
    let ask = |options: &[&str]| {
        let mut command = ask_agent(folder, "prompt=Go.");
        command.args(["--param", "plan=true", "--recording", "talk.json", "--match", "tolerant"]).args(options);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for options in [vec![], vec!["--dry-run"]] {
        let (code, said) = ask(&options);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("rejected: the plan is not allowed, so nothing was read or done: step 1"), "{said}");
        assert!(said.contains("nothing was applied"), "{said}");
    }
    let (code, said) = ask(&["--json"]);
    let report: Json = serde_json::from_str(&said).unwrap();
    let told = (code, &report["verdict"], &report["detail"]["code"], &report["plan"]["allowed"]);
    assert_eq!(told, (Some(4), &json!("rejected"), &json!("plan-refused"), &json!(false)), "{report}");
    assert!(server.asked().is_empty());
}

// Shows: F023, F078
#[test]
fn a_conversation_is_recorded_and_replayed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = agent_at_hand(folder);
    let ask = |options: &[&str]| {
        let mut command = ask_agent(folder, "prompt=Go.");
        command.args(["--now", "2026-11-20T09:30:00Z"]).args(options);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    };
    let live = ["--providers", "providers.toml"];
    let talk = ["--recording", "talk.json"];
    assert_eq!(ask(&[&live[..], &talk, &["--llm", "record"]].concat()).0, Some(0));
    assert_eq!(server.asked().len(), 2);
    let (code, text) = ask(&[&live[..], &talk, &["--llm", "record"]].concat());
    assert!(code == Some(2) && text.contains("never written over"), "{text}");
    let recorded = std::fs::read_to_string(folder.join("talk.json")).unwrap();
    assert!(!recorded.contains(KEY) && recorded.contains("\"recorded\""), "{recorded}");

    let (code, text) = ask(&talk);
    assert!(code == Some(0) && text.contains("Noted.") && text.contains("recorded"), "{text}");
    let (code, text) = ask(&[&talk[..], &["--param", "system=Other."]].concat());
    assert!(code == Some(1) && text.contains("llm-not-recorded"), "a strict match: {text}");
    assert_eq!(ask(&[&talk[..], &["--match", "tolerant", "--param", "system=Other."]].concat()).0, Some(0));
    let (code, text) = ask(&[&live[..], &["--llm", "off"]].concat());
    assert!(code == Some(1) && text.contains("llm-not-configured"), "{text}");
    assert_eq!(server.asked().len(), 2, "nothing else was asked");
    let (code, text) = ask(&["--llm", "replay"]);
    assert!(code == Some(2) && text.contains("--recording FILE"), "{text}");

    // Whoever records asks somebody, and says whom at once.
    std::fs::write(folder.join("nobody.toml"), "").unwrap();
    let new = ["--llm", "record", "--recording", "new.json"];
    let (code, text) = ask(&new);
    assert!(code == Some(2) && text.contains("no providers file is named: give --providers FILE"), "{text}");
    let (code, text) = ask(&[&new[..], &["--providers", "nobody.toml"]].concat());
    assert!(code == Some(2) && text.contains("nobody.toml has none: give --providers FILE"), "{text}");
    assert!(!folder.join("new.json").exists());
}

// Shows: F050, F051, F052, F080
#[test]
fn a_run_by_hand_is_told_of_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = agent_at_hand(folder);
    let rule = "name = \"touch\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    std::fs::write(folder.join("rule.toml"), rule).unwrap();
    run(folder, &["db", "demo", "crm.db"]);
    let ask = |options: &[&str]| {
        let prompt = "prompt=Before: {{ previous_session.last_text }} {{ previous_session.tool_log | length }}.";
        let mut command = ask_agent(folder, prompt);
        command.args(["--providers", "providers.toml", "--db", "crm.db"]);
        command.args(options).output().unwrap()
    };
    let task = || texts(server.asked().last().unwrap(), "user").remove(0);
    let first = ask(&["--json"]);
    assert!(first.status.success() && task().starts_with("Before:  0."), "{}", task());
    std::fs::write(folder.join("first.json"), first.stdout).unwrap();

    assert!(ask(&["--previous", "first.json"]).status.success());
    assert!(task().starts_with("Before: Noted. 1."), "{}", task());
    assert!(task().contains("The run before this one said: Noted.") && task().contains("\"Hello.\""), "{}", task());
    assert_eq!(server.asked().last().unwrap()["messages"].as_array().unwrap().len(), 2, "nothing else of it");

    let refused = ask(&["--previous", "1"]);
    assert!(refused.status.code() == Some(2) && refused.stdout.is_empty(), "there is no run yet: {refused:?}");
    run(folder, &["rules", "apply", "rule.toml", "--db", "crm.db"]);
    run(folder, &["rules", "run", "touch", "--ids", "1", "--db", "crm.db"]);
    run(folder, &["runs", "work", "--db", "crm.db"]);
    assert!(ask(&["--previous", "1"]).status.success());
    assert!(task().starts_with("Before: 1 of 1 updated 0."), "{}", task());
    for (wrong, why) in [("7", "there is no run 7"), ("rule.toml", "is not what `triggerbox run --json` says")] {
        let refused = ask(&["--previous", wrong]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(why), "{wrong}: {said}");
    }
}

// Shows: F011, F093
#[test]
fn rules_that_are_kept_as_files_are_applied_on_a_running_server() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    run(folder, &["db", "demo", "crm.db"]);
    let token = run(folder, &["token", "create", "ci", "--scope", "read,rules", "--db", "crm.db"]);
    std::fs::create_dir(folder.join("rules")).unwrap();
    let write = |name: &str, domain: &str| {
        let rule = format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ndomain = \"{domain}\"\ntrigger = {{ on = \"manual\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        );
        std::fs::write(folder.join(format!("rules/{name}.toml")), rule).unwrap();
    };
    write("move", "[]");
    let server = Server::start(folder);
    let to = format!("http://{}", server.address);
    let apply = |options: &[&str]| {
        let mut command = triggerbox(folder);
        command.args(["rules", "apply", "rules", "--server", &to]).args(options).env("TRIGGERBOX_TOKEN", token.trim());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let planned = apply(&["--dry-run"]);
    assert_eq!(planned, (Some(0), "create move\nnothing was applied: this is what would change\n".into()));
    assert_eq!(apply(&[]), (Some(0), "create move\n".into()));
    write("move", "[('type', '=', 'lead')]");
    write("wrong", "[('nme', '=', 1)]");
    let (code, said) = apply(&["--prune"]);
    assert!(code == Some(2) && said.contains("wrong\n  domain: ") && said.contains("unknown field `nme`"), "{said}");
    let (code, said) = apply(&["--json"]);
    let told: Json = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &told["applied"], &told["refused"][0]["rule"]),
        (Some(2), &json!(false), &json!("wrong")),
        "{told}"
    );
    assert_eq!(told["refused"][0]["findings"][0]["code"], "bad-domain", "{told}");
    std::fs::rename(folder.join("rules/wrong.toml"), folder.join("wrong.txt")).unwrap();
    let (code, said) = apply(&["--note", "only leads"]);
    assert!(code == Some(0) && said.starts_with("update move\n  domain: "), "{said}");
    let kept = server.ask(token.trim(), "GET", "/api/v1/rules/move/versions", &Json::Null).1;
    assert_eq!((&kept["versions"][0]["version"], &kept["versions"][0]["note"]), (&json!(2), &json!("only leads")));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn agents_that_are_kept_as_files_are_made_on_a_running_server() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    run(folder, &["db", "demo", "crm.db"]);
    let token = run(folder, &["token", "create", "ci", "--scope", "read,rules", "--db", "crm.db"]);
    std::fs::create_dir(folder.join("agents")).unwrap();
    let write = |name: &str, more: &str| {
        std::fs::write(folder.join(format!("agents/{name}.toml")), format!("name = \"{name}\"\n{more}")).unwrap();
    };
    write("sales", "system = \"Be brief.\"\n");
    let server = Server::start(folder);
    let to = format!("http://{}", server.address);
    let apply = |options: &[&str]| {
        let mut command = triggerbox(folder);
        command
            .args(["agents", "apply", "agents", "--server", &to])
            .args(options)
            .env("TRIGGERBOX_TOKEN", token.trim());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    assert_eq!(apply(&["--note", "the first one"]), (Some(0), "create sales\n".into()));
    assert_eq!(apply(&[]), (Some(0), "keep sales\n".into()));
    let kept = server.ask(token.trim(), "GET", "/api/v1/agents/sales/versions", &Json::Null).1;
    assert_eq!(kept["versions"][0]["note"], "the first one");
    write("wrong", "tools = [\"shell\"]\n");
    let (code, said) = apply(&[]);
    assert!(code == Some(2) && said.starts_with("keep sales\n  tools[0]: there is no tool `shell`"), "{said}");
    assert!(said.contains("agent `wrong` was not applied: the server answered 422"), "{said}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_is_no_server_of_rules_applies_none() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    std::fs::create_dir(folder.join("rules")).unwrap();
    let apply = |to: &str| {
        let mut command = triggerbox(folder);
        command.args(["rules", "apply", "rules", "--json", "--server", to]).env("TRIGGERBOX_TOKEN", "tb_any");
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let page = Service::start(|_, _| (200, "<p>Welcome</p>".to_owned()));
    let (code, said) = apply(&page.url);
    assert!(code == Some(2) && said.contains("what answered there is no Triggerbox server"), "{said}");
    // Each says no for a reason of its own.
    let detail = json!({ "detail": "why" }).to_string();
    for (status, exit) in [(401, 4), (403, 4), (409, 2), (503, 5)] {
        let detail = detail.clone();
        let no = Service::start(move |_, _| (status, detail.clone()));
        let (code, said) = apply(&no.url);
        assert!(code == Some(exit) && said.contains("why"), "{status}: {code:?} {said}");
    }
    let (code, said) = apply("http://127.0.0.1:1");
    assert!(code == Some(5) && said.contains("the server cannot be reached"), "{said}");
}

// Shows: F078, F092
#[test]
fn what_is_developed_is_tested_and_pushed_whenever_a_file_changes() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    run(folder, &["db", "demo", "crm.db"]);
    let token = run(folder, &["token", "create", "test", "--scope", "read,scripts", "--db", "crm.db"]);
    let token = token.trim();
    run(folder, &["new", "watched-deals"]);
    let server = Server::start(folder);
    let to = format!("http://{}", server.address);
    let versions = || {
        let (status, script) = server.ask(token, "GET", "/api/v1/scripts/watched-deals", &Json::Null);
        (status, script["versions"].as_array().map_or(0, Vec::len), script)
    };
    assert_eq!(versions().0, 404);

    let dev = |options: &[&str]| {
        let mut command = triggerbox(folder);
        command.args(["dev", "watched-deals", "--server", &to]).args(options).env("TRIGGERBOX_TOKEN", token);
        command.env("CARGO_TARGET_DIR", crate::scripts_target());
        command
    };
    let output = dev(&["--once"]).env_remove("TRIGGERBOX_TOKEN").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("TRIGGERBOX_TOKEN is not set"), "{said}");
    assert_eq!(versions().0, 404);

    let output = dev(&["--once", "--activate"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("pushed and activated watched-deals"), "{said}");
    assert_eq!(versions().1, 1, "{}", versions().2);

    // A scenario that fails keeps the script off the server; the next change is looked at again.
    let scenarios = folder.join("watched-deals/scenarios");
    let scenario = std::fs::read_dir(&scenarios).unwrap().map(|entry| entry.unwrap().path());
    let scenario = scenario.into_iter().find(|path| path.extension().is_some_and(|end| end == "toml")).unwrap();
    let good = std::fs::read_to_string(&scenario).unwrap();
    let bad = good.replace("[expect]", "[expect]\nwarning = \"never said\"");
    assert_ne!(good, bad);
    let mut child = dev(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |what: &str| lines.by_ref().find(|line| line.contains(what)).unwrap();
    until("pushed");
    until("waiting");
    std::fs::write(&scenario, &bad).unwrap();
    assert_eq!(until("passed, "), "0 passed, 1 failed");
    assert!(!until("waiting").contains("pushed"));
    let manifest = folder.join("watched-deals/triggerbox.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("version = \"0.1.0\"", "version = \"0.2.0\"")).unwrap();
    std::fs::write(&scenario, &good).unwrap();
    until("pushed watched-deals");
    assert_eq!(versions().1, 2, "{}", versions().2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.stop(), Some(0));
}
