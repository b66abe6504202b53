//! What Triggerbox costs on a real Odoo server, in ratios of one run: how soon a run starts after a user's write, what a rule
//! adds to a save and to an import, a change set against single writes, and that of many leads that wait nothing is lost.
//! `tests/odoo-wire/live speed`; the server is one to experiment on, and keeps the leads that are made.
//!
//! Nothing else can be measured against a recorded server: without the variables of `live` this does nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic, in its helpers too"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::sleep;
use triggerbox_model::{
    call::Call,
    value::{FieldValue, Id, Value},
};
use triggerbox_odoo::{Backend, Config, Session};
use triggerbox_store::db::{Database, Mode};

/// The rule that is measured, with the domain that keeps it to the leads of the benchmark.
const RULE: &str = "domain = \"[('name', 'like', 'TB bench')]\"\ndispatch = \"per-record\"\nmax-records = 0\n\
    [[actions]]\nscript = \"update-record\"\nparameters = { values = \"priority = 1\" }\n";

/// The rule that ours is measured against.
const PASS: &str = "TB bench pass";

const ON_WRITE: &str = "trigger = { on = \"updated\", fields = [\"expected_revenue\"] }";
const ON_CREATE: &str = "trigger = { on = \"created\" }";

fn main() {
    if env::var("TRIGGERBOX_ODOO_URL").is_err() {
        println!("there is no Odoo server: set the variables that tests/odoo-wire/live names");
        return;
    }
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wants("set") {
            change_set().await;
        }
        if wants("latency") {
            latency().await;
        }
        if wants("save") {
            save().await;
        }
        if wants("import") {
            import().await;
        }
        if wants("backlog") {
            backlog().await;
        }
    });
}

/// A host of its own for one measurement, and the Odoo server.
struct Office {
    backend: Arc<Backend>,
    folder: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Office {
    /// A host with one rule, which is in Odoo too. It is not started.
    async fn new(trigger: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that is free now: the address of pings is part of the set-up, before anybody listens.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let var = |name: &str| env::var(name).unwrap();
        let config = format!(
            "url = '{}'\ndatabase = '{}'\nadministrator = '{}'\nping = 'http://127.0.0.1:{port}/odoo/ping'\npoll = 60\n\
             timeout = 3600\napply-timeout = 3600\n[[user]]\nlogin = '{}'\nkey = {{ env = 'TRIGGERBOX_ODOO_KEY' }}\n",
            var("TRIGGERBOX_ODOO_URL"),
            var("TRIGGERBOX_ODOO_DB"),
            var("TRIGGERBOX_ODOO_LOGIN"),
            var("TRIGGERBOX_ODOO_LOGIN"),
        );
        fs::write(folder.path().join("odoo.toml"), &config).unwrap();
        fs::create_dir(folder.path().join("rules")).unwrap();
        let rule = format!("name = \"bench\"\nmodel = \"crm.lead\"\n{trigger}\n{RULE}");
        fs::write(folder.path().join("rules/bench.toml"), rule).unwrap();
        let backend = Backend::new(Config::parse(&config).unwrap(), &|name| env::var(name).ok()).unwrap();
        let office = Self { backend: Arc::new(backend), folder, port, server: None };
        office.backend.set_up().await.unwrap();
        office.run(&["db", "demo", "rules.db"]);
        office.run(&["rules", "apply", "rules", "--db", "rules.db", "--odoo", "odoo.toml"]);
        // What an earlier rule of that name left, or a benchmark that broke off.
        office.forget().await;
        let left = json!({ "domain": [["name", "=", PASS]], "context": { "active_test": false } });
        let left = office.ask("base.automation", "search", left).await;
        office.ask("base.automation", "unlink", json!({ "ids": left })).await;
        office
    }

    /// Empties the outbox; nothing comes of what was in it.
    async fn forget(&self) {
        loop {
            let rows = self.backend.events().await.unwrap();
            let ids: Vec<Id> =
                rows.events.iter().map(|event| event.row).chain(rows.odd.iter().map(|odd| odd.row)).collect();
            if ids.is_empty() {
                return;
            }
            self.backend.acknowledge(&ids).await.unwrap();
        }
    }

    fn program(&self) -> Command {
        let program =
            env::var("TRIGGERBOX_ODOO_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_triggerbox").to_owned());
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("TRIGGERBOX_CACHE", self.folder.path().join("cache"));
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.program().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the host, and waits until it has looked into the outbox.
    async fn start(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.program();
        command.args(["serve", "--db", "rules.db", "--odoo", "odoo.toml", "--listen", &listen]);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}: {}", fs::read_to_string(self.folder.path().join("log")).unwrap());
        self.server = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("rules.db")
    }

    /// Of each record: how many runs it had, how many of them succeeded, when the last one started and ended.
    fn runs(&self) -> BTreeMap<Id, Ran> {
        let database = Database::open(&self.database(), Mode::Read).unwrap();
        let conn = database.snapshot().unwrap();
        let sql = "SELECT r.record, count(DISTINCT r.id), count(DISTINCT CASE WHEN r.state = 'succeeded' THEN r.id END), \
                   max(a.started), max(a.finished) \
                   FROM engine_run r LEFT JOIN engine_attempt a ON a.run = r.id WHERE r.rule = 'bench' GROUP BY r.record";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            let ran = Ran { runs: row.get(1)?, succeeded: row.get(2)?, started: row.get(3)?, finished: row.get(4)? };
            Ok((row.get(0)?, ran))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Waits until so many runs have succeeded.
    async fn succeeded(&self, wanted: usize, pause: Duration) {
        let database = Database::open(&self.database(), Mode::Read).unwrap();
        let sql = "SELECT count(*) FROM engine_run WHERE rule = 'bench' AND state = 'succeeded'";
        loop {
            let conn = database.snapshot().unwrap();
            if conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize >= wanted {
                return;
            }
            sleep(pause).await;
        }
    }

    async fn ask(&self, model: &str, method: &str, body: Json) -> Json {
        let caller = self.backend.caller(&self.backend.config().administrator).unwrap();
        self.backend.client().call(caller, model, method, &body).await.unwrap()
    }

    async fn leads(&self, count: usize) -> Vec<Id> {
        let mark = rand::random::<u32>();
        let leads: Vec<Json> =
            (0..count).map(|index| json!({ "name": format!("TB bench {mark:08x} {index}") })).collect();
        let made = self.ask("crm.lead", "create", json!({ "vals_list": leads })).await;
        made.as_array().unwrap().iter().map(|id| id.as_u64().unwrap().try_into().unwrap()).collect()
    }

    async fn write(&self, id: Id, revenue: usize) -> Duration {
        let began = Instant::now();
        self.ask("crm.lead", "write", json!({ "ids": [id], "vals": { "expected_revenue": revenue } })).await;
        began.elapsed()
    }

    /// Our automation rule in Odoo.
    async fn ours(&self) -> Json {
        let body =
            json!({ "domain": [["module", "=", "__triggerbox__"], ["name", "=", "rule_bench"]], "fields": ["res_id"] });
        self.ask("ir.model.data", "search_read", body).await[0]["res_id"].clone()
    }

    /// The same automation rule, whose code does nothing.
    async fn pass(&self, ours: &Json) -> Json {
        let fields = ["model_id", "trigger", "filter_domain", "filter_pre_domain", "trigger_field_ids"];
        let body = json!({ "ids": [ours], "fields": fields, "load": null });
        let mut values = self.ask("base.automation", "read", body).await[0].clone();
        let values = values.as_object_mut().unwrap();
        values.remove("id");
        let watched = values["trigger_field_ids"].clone();
        values.insert("name".to_owned(), json!(PASS));
        values.insert("trigger_field_ids".to_owned(), json!([[6, 0, watched]]));
        values.insert("active".to_owned(), json!(false));
        let rule = self.ask("base.automation", "create", json!({ "vals_list": [values] })).await[0].clone();
        let action = json!({
            "name": PASS, "state": "code", "code": "pass", "usage": "base_automation",
            "model_id": values["model_id"], "base_automation_id": rule,
        });
        self.ask("ir.actions.server", "create", json!({ "vals_list": [action] })).await;
        rule
    }

    async fn activate(&self, rule: &Json, active: bool) {
        self.ask("base.automation", "write", json!({ "ids": [rule], "vals": { "active": active } })).await;
    }

    /// Takes away what was made in Odoo, but the leads.
    async fn close(mut self, pass: Option<Json>) {
        self.stop();
        if let Some(pass) = pass {
            self.ask("base.automation", "unlink", json!({ "ids": [pass] })).await;
        }
        self.backend.rules_apply(&[]).await.unwrap();
    }
}

struct Ran {
    runs: u32,
    succeeded: u32,
    started: Option<i64>,
    finished: Option<i64>,
}

/// A part of sorted times, in milliseconds.
fn part(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * part).round() as usize]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// From the answer to a user's write to the start and the end of its run, with pings.
async fn latency() {
    let mut office = Office::new(ON_WRITE).await;
    office.start().await;
    let leads = office.leads(220).await;
    let (mut started, mut finished, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, lead) in leads.iter().enumerate() {
        let took = office.write(*lead, 100 + index).await;
        let answered = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let ran = loop {
            if let Some(ran) = office.runs().remove(lead).filter(|ran| ran.succeeded == 1) {
                break ran;
            }
            sleep(Duration::from_millis(10)).await;
        };
        // The first ones compile the script and learn what the model is.
        if index >= 20 {
            started.push((ran.started.unwrap() - answered) as f64);
            finished.push((ran.finished.unwrap() - answered) as f64);
            writes.push(ms(took));
        }
    }
    println!(
        "latency: {} writes one after the other, each {:.0} ms at the median, with pings",
        writes.len(),
        part(&mut writes, 0.5)
    );
    for (what, times) in [("to the start of its run", &mut started), ("to the end of its run", &mut finished)] {
        println!(
            "  from the answer {what}: p50 {:.0} ms, p99 {:.0} ms, {:.0} to {:.0}",
            part(times, 0.5),
            part(times, 0.99),
            part(times, 0.0),
            part(times, 1.0)
        );
    }
    office.close(None).await;
}

/// What an automation rule adds to a save: none, one that does `pass`, and ours, in turns. What else the machine does meanwhile
/// slows all three, and so the ratios are those of each round.
async fn save() {
    let mut office = Office::new(ON_WRITE).await;
    let ours = office.ours().await;
    let pass = office.pass(&ours).await;
    let mut fired = 0;
    for up in [false, true] {
        if up {
            office.start().await;
            office.succeeded(fired, Duration::from_millis(100)).await;
        }
        let lead = office.leads(1).await[0];
        let mut rounds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut revenue = 0;
        for round in 0..15 {
            let mut kinds = ["none", "pass", "ours"];
            kinds.rotate_left(round % 3);
            for kind in kinds {
                office.activate(&ours, kind == "ours").await;
                office.activate(&pass, kind == "pass").await;
                // After a change of its rules, Odoo patches its models anew.
                let mut times = Vec::new();
                for index in 0..18 {
                    revenue += 1;
                    let took = office.write(lead, revenue).await;
                    if index >= 3 {
                        times.push(ms(took));
                    }
                    fired += usize::from(kind == "ours");
                    // What the run itself asks of Odoo is no part of the save.
                    if up {
                        office.succeeded(fired, Duration::from_millis(5)).await;
                    }
                }
                rounds.entry(kind).or_default().push(part(&mut times, 0.5));
            }
        }
        let [none, pass, ours] = ["none", "pass", "ours"].map(|kind| rounds[kind].clone());
        let added: Vec<f64> =
            none.iter().zip(&pass).zip(&ours).map(|((none, pass), ours)| (ours - none) / (pass - none)).collect();
        let [none_ms, pass_ms, ours_ms] = [none, pass.clone(), ours.clone()].map(|mut times| part(&mut times, 0.5));
        println!(
            "save, host {}: {} rounds of 15 each, at the median {none_ms:.1} ms without a rule, with `pass` {pass_ms:.1}, \
             with ours {ours_ms:.1}",
            if up { "up, with pings" } else { "down" },
            ours.len(),
        );
        println!("  the whole save {}; what is added {}", ratios(&ours, &pass), spread(added));
    }
    office.close(Some(pass)).await;
}

/// What was measured in the same round against another, as a ratio.
fn ratios(these: &[f64], those: &[f64]) -> String {
    spread(these.iter().zip(those).map(|(this, that)| this / that).collect())
}

fn spread(mut ratios: Vec<f64>) -> String {
    let [low, median, high] = [0.0, 0.5, 1.0].map(|at| part(&mut ratios, at));
    format!("{median:.2} ({low:.2} to {high:.2})")
}

/// 100 writes as one change set against 100 single JSON-2 writes, in turns.
async fn change_set() {
    let office = Office::new(ON_CREATE).await;
    office.backend.rules_apply(&[]).await.unwrap();
    let leads = office.leads(100).await;
    let account = office.backend.account(&office.backend.config().administrator).await.unwrap();
    let (mut single, mut together) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let began = Instant::now();
        for lead in &leads {
            office.write(*lead, 1_000 + round).await;
        }
        single.push(ms(began.elapsed()));
        let began = Instant::now();
        let now = "2026-11-29T10:00:00Z".parse().unwrap();
        let mut session = Session::new(Arc::clone(&office.backend), Arc::clone(&account), now);
        for lead in &leads {
            let values = vec![FieldValue::new("expected_revenue", Value::Integer(2_000 + round as i32))];
            session
                .call(Call::Write { model: "crm.lead".to_owned(), ids: vec![*lead], values })
                .await
                .unwrap()
                .unwrap();
        }
        session.commit(&format!("{:032x}", rand::random::<u128>())).await.unwrap();
        together.push(ms(began.elapsed()));
    }
    let ratios: Vec<String> = single.iter().zip(&together).map(|(one, all)| format!("{:.2}", all / one)).collect();
    println!(
        "change set: 100 writes in one {:.0} ms, as single ones {:.0} ms at the median; ratios {}",
        part(&mut together, 0.5),
        part(&mut single, 0.5),
        ratios.join(" ")
    );
    office.close(None).await;
}

/// Imports leads as a user does, in one request. Their ids, and how many seconds it took.
async fn imported(office: &Office, count: usize, what: &str) -> (Vec<Id>, f64) {
    let rows: Vec<Json> =
        (0..count).map(|index| json!([format!("TB bench import {what} {index}"), index.to_string()])).collect();
    let began = Instant::now();
    let answer = office.ask("crm.lead", "load", json!({ "fields": ["name", "expected_revenue"], "data": rows })).await;
    let took = began.elapsed().as_secs_f64();
    let ids = answer["ids"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let ids: Vec<Id> = ids.iter().map(|id| id.as_u64().unwrap() as Id).collect();
    assert_eq!(ids.len(), count);
    println!("import of {count} leads, {what}: {took:.1} s");
    (ids, took)
}

/// `TRIGGERBOX_ODOO_IMPORT`: how many leads are imported at once; `TRIGGERBOX_ODOO_ROUNDS`: how often.
fn number(name: &str, otherwise: usize) -> usize {
    env::var(format!("TRIGGERBOX_ODOO_{name}")).map_or(otherwise, |count| count.parse().unwrap())
}

/// What an import takes with a rule on new records that does `pass`, and with ours, the host up and down, in turns. Nothing
/// that came of one import is worked off while the next one is timed.
async fn import() {
    let (count, rounds) = (number("IMPORT", 10_000), number("ROUNDS", 3));
    let mut office = Office::new(ON_CREATE).await;
    let ours = office.ours().await;
    let pass = office.pass(&ours).await;
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        let mut kinds = ["pass", "ours, host down", "ours, host up"];
        kinds.rotate_left(round % 3);
        for kind in kinds {
            office.activate(&ours, kind != "pass").await;
            office.activate(&pass, kind == "pass").await;
            if kind.ends_with("up") {
                office.start().await;
            }
            // After a change of its rules, Odoo patches its models anew.
            office.leads(1).await;
            times.entry(kind).or_default().push(imported(&office, count, kind).await.1);
            office.stop();
            office.forget().await;
        }
    }
    for kind in ["ours, host down", "ours, host up"] {
        println!("  {kind}: the whole import {} of `pass`, {rounds} rounds", ratios(&times[kind], &times["pass"]));
    }
    office.close(Some(pass)).await;
}

/// Leads that were imported while the host was down, and while it works off those: everything runs, once.
async fn backlog() {
    let count = number("IMPORT", 1_000);
    let mut office = Office::new(ON_CREATE).await;
    let mut all = imported(&office, count, "host down").await.0;
    office.start().await;
    all.extend(imported(&office, count, "host up, with the first ones waiting").await.0);
    let began = Instant::now();
    office.succeeded(all.len(), Duration::from_secs(2)).await;
    let took = began.elapsed().as_secs_f64();
    let runs = office.runs();
    assert!(all.iter().all(|id| runs.get(id).is_some_and(|ran| (ran.runs, ran.succeeded) == (1, 1))));
    let body = json!({ "domain": [["id", "in", all], ["priority", "=", "1"]] });
    assert_eq!(office.ask("crm.lead", "search_count", body).await, json!(all.len()));
    let left = office.ask("x_triggerbox_event", "search_count", json!({ "domain": [] })).await;
    assert_eq!(left, json!(0));
    println!(
        "  {} runs, one for each lead, each succeeded; the outbox is empty; {took:.0} s after the last import",
        all.len(),
    );
    office.close(None).await;
}
