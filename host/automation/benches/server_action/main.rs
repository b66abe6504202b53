//! Odoo's server actions in the ready-made component, against CPython that runs the same code with RestrictedPython.
//!
//! ```text
//! cargo bench --workspace --features triggerbox-automation/languages --bench server_action
//! ```
//!
//! Ours is a run in a fresh sandbox, with its host calls on the demo CRM, and without the commit; RestrictedPython keeps its
//! globals and its records in memory, and bounds neither time nor memory. Both take turns. `SERVER_ACTION_COMPONENT` names a
//! component that is built already.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark may panic")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use triggerbox_automation::{LogSink, guard::Guard, people};
use triggerbox_model::{
    event::{Event, Trigger},
    grants::{Authority, Grants, Policy},
    limits::{Class, Limits},
    manifest::Manifest,
};
use triggerbox_sandbox::{Ending, LogLevel, Pool, Sandbox, Script};
use triggerbox_store::{db::Database, session::Session};
use triggerbox_toolchain::{Project, Workshop, cache::build_cached};

const RESTRICTED: &str = "RestrictedPython==9.0";
const NOW: &str = "2026-11-20T09:30:00Z";
/// The code of each measurement. The first does nothing: what a run costs before any code.
const SCRIPTS: [(&str, &str); 3] = [
    ("no code", "pass"),
    ("if amount then post", include_str!("post.py")),
    ("1,000 items scored", include_str!("scoring.py")),
];

fn main() {
    // `cargo test` only wants to know that it works; `cargo bench` says that it is meant.
    let (rounds, runs) = if std::env::args().any(|argument| argument == "--bench") { (15, 40) } else { (1, 2) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ours = Ours::new();
    let mut theirs = Theirs::start();
    println!("server actions; median of {rounds} rounds of {runs} runs");
    for (name, code) in SCRIPTS {
        let (mut whole, mut compiled, mut compiling) = (Vec::new(), Vec::new(), Vec::new());
        let mut fuel = 0;
        for _ in 0..rounds {
            let begin = Instant::now();
            for _ in 0..runs {
                fuel = runtime.block_on(ours.run(code));
            }
            whole.push(begin.elapsed() / runs);
            compiled.push(theirs.run(code, runs, false));
            compiling.push(theirs.run(code, runs, true));
        }
        let [whole, compiled, compiling] = [whole, compiled, compiling].map(|mut times| micros(median(&mut times)));
        println!("\n{name}");
        println!("  fresh sandbox, compiled in each run       {whole:>10.1} µs, {:.2} M fuel", fuel as f64 / 1e6);
        println!("  RestrictedPython, compiled in each run    {compiling:>10.1} µs, ratio {:.2}", whole / compiling);
        println!("  RestrictedPython, compiled once           {compiled:>10.1} µs, ratio {:.2}", whole / compiled);
    }
}

/// The component on the demo CRM.
struct Ours {
    database: Database,
    script: Script,
    manifest: Manifest,
    authority: Arc<Authority>,
    now: Timestamp,
}

impl Ours {
    fn new() -> Self {
        let folder = root().join("guest-examples/python/server-action");
        let component = match std::env::var_os("SERVER_ACTION_COMPONENT") {
            Some(path) => fs::read(path).unwrap(),
            None => {
                let tools = Workshop::shared_tools().unwrap_or_else(|| root().join("target/tools"));
                let workshop = Workshop::new(tools, root().join("target/guests/scratch/server-action-bench"));
                build_cached(&Project::open(&folder).unwrap(), &workshop, &root().join("target/guests")).unwrap()
            }
        };
        let manifest = Manifest::parse(&fs::read_to_string(folder.join("triggerbox.toml")).unwrap()).unwrap();
        let sandbox = Sandbox::new(&Pool { live: 4, ..Pool::default() }).unwrap();
        let grants = Grants(vec!["sale.order:read,write,note:amount_total,name".parse().unwrap()]);
        let now = NOW.parse().unwrap();
        Self {
            database: Database::demo_in_memory(now).unwrap(),
            script: sandbox.compile(&component).unwrap(),
            authority: Arc::new(manifest.authority(Some(grants), Vec::new(), Policy::default())),
            manifest,
            now,
        }
    }

    /// One run, which is not committed; the fuel that it used.
    async fn run(&self, code: &str) -> u64 {
        let person = people::find(&self.database, "admin", self.now).unwrap();
        let env = people::environment(&self.database, person.user.id, false, self.now).unwrap();
        let session = Session::new(&self.database, env).unwrap().for_rule("bench");
        let guard = Guard::new(session, Arc::clone(&self.authority), Box::new(NoLog));
        let event = Event {
            run_id: "bench".to_owned(),
            rule: "bench".to_owned(),
            attempt: 1,
            depth: 0,
            seed: 7,
            trigger: Trigger::Manual,
            model: Some("sale.order".to_owned()),
            records: vec![1],
            old_values: Vec::new(),
            actor: person.user.clone(),
            run_as: person.user,
            superuser: false,
            company: person.company,
            now: NOW.to_owned(),
            parameters: self.manifest.parameter_values(&[("code".to_owned(), code.to_owned())]).unwrap(),
            previous: None,
            extra_json: None,
        };
        let limits = Limits::resolve(Class::Async, [&self.manifest.limits]);
        let run = self.script.run(event, limits, Box::new(guard)).await;
        assert!(matches!(run.ending, Ending::Done(_)), "{:?}", run.ending);
        run.used.get(triggerbox_model::limits::Limit::Fuel)
    }
}

/// CPython with RestrictedPython, in a process of its own.
struct Theirs {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Theirs {
    fn start() -> Self {
        let packages = root().join("target/tools").join(RESTRICTED.replace("==", "-"));
        if !packages.exists() {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(&packages);
            assert!(pip.arg(RESTRICTED).status().unwrap().success(), "{RESTRICTED} cannot be installed");
        }
        let script = root().join("host/automation/benches/server_action/restricted.py");
        let mut command = Command::new("python3");
        command.arg(script).env("PYTHONPATH", packages).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The time of one run.
    fn run(&mut self, code: &str, runs: u32, compile: bool) -> Duration {
        let asked = serde_json::json!({ "code": code, "runs": runs, "compile": compile });
        writeln!(self.input, "{asked}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        Duration::from_secs_f64(answer.trim().parse().unwrap())
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct NoLog;

impl LogSink for NoLog {
    fn line(&mut self, _: LogLevel, _: &str) {}
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
