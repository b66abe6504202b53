//! The program as a server: started, asked, stopped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value as Json, json};

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
        let mut command = triggerbox(folder);
        command.args(["serve", "--db", "crm.db", "--listen", "127.0.0.1:0"]);
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

    /// Sends SIGTERM; the exit code.
    fn stop(mut self) -> Option<i32> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
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
