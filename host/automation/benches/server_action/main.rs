//! Odoo's server actions in the ready-made component, against CPython that runs the same code with RestrictedPython.
//!
//! ```text
//! cargo bench --workspace --features triggerbox-automation/languages --bench server_action
//! ```
//!
//! Ours is a run in a fresh sandbox, with its host calls on the demo CRM, and without the commit; RestrictedPython keeps its
//! globals and its records in memory, and bounds neither time nor memory. Each is measured with code that it gets and compiles in
//! each run, and with code that it has compiled before: ours as the file `action.py` of the component. All take turns.
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
    let ours = Ours::new(None);
    let mut theirs = Theirs::start();
    println!("server actions; median of {rounds} rounds of {runs} runs");
    for (name, code) in SCRIPTS {
        let inside = Ours::new(Some(code));
        let timed = |ours: &Ours, code: Option<&str>| {
            let begin = Instant::now();
            let mut fuel = 0;
            for _ in 0..runs {
                fuel = runtime.block_on(ours.run(code));
            }
            (begin.elapsed() / runs, fuel)
        };
        // Ours in each run and once, theirs in each run and once.
        let mut times: [Vec<Duration>; 4] = Default::default();
        let mut fuel = [0; 2];
        for _ in 0..rounds {
            let (whole, with_it) = (timed(&ours, Some(code)), timed(&inside, None));
            fuel = [whole.1, with_it.1];
            let round = [whole.0, with_it.0, theirs.run(code, runs, true), theirs.run(code, runs, false)];
            times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
        }
        let [whole, inside, compiling, compiled] = times.map(|mut times| micros(median(&mut times)));
        let fuel = fuel.map(|fuel| fuel as f64 / 1e6);
        println!("\n{name}");
        println!("  compiled in each run: fresh sandbox       {whole:>10.1} µs, {:.2} M fuel", fuel[0]);
        println!("                        RestrictedPython    {compiling:>10.1} µs, ratio {:.2}", whole / compiling);
        println!("  compiled before:      fresh sandbox       {inside:>10.1} µs, {:.2} M fuel", fuel[1]);
        println!("                        RestrictedPython    {compiled:>10.1} µs, ratio {:.2}", inside / compiled);
    }
}

/// A component on the demo CRM.
struct Ours {
    database: Database,
    script: Script,
    manifest: Manifest,
    authority: Arc<Authority>,
    now: Timestamp,
}

impl Ours {
    /// With its code inside, or with none.
    fn new(code: Option<&str>) -> Self {
        let tools = Workshop::shared_tools().unwrap_or_else(|| root().join("target/tools"));
        let scratch = root().join("target/guests/scratch/server-action-bench");
        let mut folder = root().join("guest-examples/python/server-action");
        if let Some(code) = code {
            let own = scratch.join("with-code");
            let _ = fs::remove_dir_all(&own);
            fs::create_dir_all(&own).unwrap();
            for file in fs::read_dir(&folder).unwrap() {
                let file = file.unwrap();
                if file.file_type().unwrap().is_file() {
                    fs::copy(file.path(), own.join(file.file_name())).unwrap();
                }
            }
            fs::write(own.join("action.py"), code).unwrap();
            folder = own;
        }
        let project = Project::open(&folder).unwrap().with_library(root().join("guest-examples/python/sdk"));
        let workshop = Workshop::new(tools, scratch.join("built"));
        let component = build_cached(&project, &workshop, &root().join("target/guests")).unwrap();
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
    async fn run(&self, code: Option<&str>) -> u64 {
        let code = code.map(|code| ("code".to_owned(), code.to_owned()));
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
            parameters: self.manifest.parameter_values(&Vec::from_iter(code)).unwrap(),
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
