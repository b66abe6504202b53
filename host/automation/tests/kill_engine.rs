//! `kill -9` at any moment loses no run and applies the effects of each exactly once.
//!
//! A child process changes records, so that rules fire, and runs what they make, of which one asks a language model and two
//! tell another service; it is killed at random moments and at named places. Then the database is checked as it was left, the
//! engine is opened on it again, and what it comes to is compared with what must have happened: on the records, in the
//! history, at the model, which counts what it is asked, and at the service, which counts what it is told.
//! `TRIGGERBOX_KILLS` says how many times (50 if it does not). The checker itself is checked: it must find what a run that ends
//! in two transactions leaves behind, and a call whose answer is not kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "../../llm/tests/support/mod.rs"]
mod provider;
#[path = "../../store/tests/common/victim.rs"]
mod victim;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use guest_artifacts::{CALL_WEBHOOK, HIGH_VALUE_ORDER};
use jiff::Timestamp;
use triggerbox_automation::{
    Config, Engine, Origin, SystemClock, agents,
    config::{Bounded, Compile},
    people,
    rule::{
        Ground, Rule,
        stored::{self, Edit, Ownership},
    },
    runs::{RunFilter, RunState},
    scripts::{registry, upload},
};
use triggerbox_llm::{
    Models, Services,
    config::{Budget, Budgets},
    http::Web,
};
use triggerbox_model::{
    call::{Answer, Call},
    value::{FieldValue, Id, Value},
};
use triggerbox_sandbox::{Cache, Compiler, Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::db::{Database, Mode};
use victim::Killer;

const ADMIN: Id = 2;

/// Each order over the threshold is to be noted once. `[a]` and `[b]` are two rules on the same change; `ask` has a model
/// say something about it, and notes that; `tell` tells a service of it, with a key by which that knows a repeated delivery, and
/// `tell-once` without one.
const RULES: [(&str, &str); 5] = [
    ("notice-a", "actions = [{ script = \"high-value-order\" }]"),
    ("notice-b", "actions = [{ script = \"high-value-order\" }]"),
    (
        "ask",
        "[[actions]]\nscript = \"ai-agent\"\nagent = \"judge\"\nparameters = { prompt = \"Judge {{ records[0].client_order_ref }}.\", note = \"true\" }\n\
         [[actions.grants]]\nmodel = \"sale.order\"\noperations = [\"read\", \"note\"]\nfields = [\"name\", \"client_order_ref\"]",
    ),
    ("tell", TELLS),
    ("tell-once", TELLS),
];

/// The rule's own name is its script's, but for the program's own one.
const TELLS: &str = "actions = [{ script = \"SCRIPT\", parameters = { url = \"URL/hook\" }, \
                     http = [{ methods = [\"POST\"], url = \"URL/hook\", private = true }] }]";

/// Where the process is killed by name: the change and its events, the lease, a paid call, a request to a service, the run, the
/// commit, the acknowledgement.
const PLACES: &[&str] = &[
    "changed",
    "events-written",
    "lease-written",
    "after-lease",
    "intent-stored",
    "answered",
    "answer-stored",
    "http-intent-stored",
    "http-answered",
    "http-answer-stored",
    "ran",
    "effect-applied",
    "run-recorded",
    "mid-commit",
    "before-acknowledgement",
];

/// How long a restart may take, to its first runs.
const RESUMES: Duration = Duration::from_secs(5);
/// Kills on one database. What is on the disk stays small however many there are, and so does the time of a check.
const KILLS_OF_A_DATABASE: u32 = 25;

/// Where the child finds the model, and compiled scripts: a restart does not compile them again.
const MODEL: &str = "TRIGGERBOX_KILL_MODEL";
const CACHE: &str = "TRIGGERBOX_KILL_CACHE";
/// Set, the child changes the next thing only when the runs of the one before are recorded.
const IN_TURN: &str = "TRIGGERBOX_KILL_IN_TURN";

fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

fn open(path: &Path, model: &str, cache: &Path) -> Engine {
    let database = Database::open(path, Mode::Write).unwrap();
    let sandbox = Sandbox::new(&Pool::default()).unwrap();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let mut providers = provider::config("openai", model);
    // A try that gives the model up is repeated later, whom nobody waits for here: it must not come of a busy machine.
    providers.providers.iter_mut().for_each(|provider| provider.timeout = 600);
    let models = Models::live(providers, &clock, &provider::env).unwrap();
    // What a killed process asked is charged at its worst: here nobody pays.
    let plenty = Budget { calls: u64::MAX >> 1, tokens: u64::MAX >> 1, cost: 1e9 };
    let budgets = Budgets { root: plenty, rule_day: plenty, server_day: plenty };
    let web = Some(Web::new(&[], &provider::env, None).unwrap());
    let outside = Some(Arc::new(Services { models, web, budgets, clock }));
    let cache = Cache::open(&cache.join("compiled"), &cache.join("key")).unwrap();
    let compiler = Compiler::new(env!("CARGO_BIN_EXE_kill-compile-child"), []);
    let compile = Compile::Bounded(Arc::new(Bounded { compiler, cache: Some(cache) }));
    let config = Config { seed: Some(7), outside, compile, ..Config::default() };
    Engine::open(database, sandbox, config, Arc::new(SystemClock)).unwrap()
}

fn prepare(path: &Path, model: &Model) {
    drop(Database::create_demo(path, now()).unwrap());
    let engine = open(path, &model.server.url, model.cache.path());
    let component = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let upload = upload::inspect(component).unwrap();
    engine.committer().commit_blocking(move |conn| registry::store(conn, &upload, ADMIN, now())).unwrap();
    let upload = upload::inspect(without_key()).unwrap();
    engine.committer().commit_blocking(move |conn| registry::store(conn, &upload, ADMIN, now())).unwrap();
    for (name, actions) in RULES {
        let script = if name == "tell" { "call-webhook" } else { name };
        let actions = actions.replace("SCRIPT", script).replace("URL", &model.service.url);
        let rule: Rule = toml::from_str(&format!(
            "name = \"{name}\"\nmodel = \"sale.order\"\ndomain = \"[('amount_total', '>', 5000)]\"\n\
             trigger = {{ on = \"created-or-updated\", fields = [\"amount_total\"] }}\n\
             {actions}"
        ))
        .unwrap();
        let env = people::environment(engine.database(), ADMIN, true, now()).unwrap();
        let policy = engine.config().policy.clone();
        let save = move |conn: &rusqlite::Connection| {
            let ground = Ground { conn, env: &env, policy: &policy };
            let edit = Edit {
                by: ADMIN,
                at: env.now,
                note: "",
                ownership: Ownership::Take,
                administrator: true,
                agrees: false,
            };
            agents::stored::save(ground, &toml::from_str("name = \"judge\"").unwrap(), &edit)?;
            stored::save(ground, &rule, &edit)
        };
        engine.committer().commit_blocking(save).unwrap();
    }
    // Whatever is compiled, is compiled now.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(order(&engine, 1));
    runtime.block_on(engine.settle()).unwrap();
}

/// The program's script that tells services, with a header in place of its key that says nothing to anybody.
fn without_key() -> Vec<u8> {
    let (key, other) = (b"idempotency-key", b"x-nobody-s-name");
    let mut component = CALL_WEBHOOK.component.to_vec();
    let places: Vec<_> = (0..component.len() - key.len()).filter(|at| component[*at..].starts_with(key)).collect();
    assert!(!places.is_empty());
    for at in places {
        component[at..at + key.len()].copy_from_slice(other);
    }
    let manifest = CALL_WEBHOOK.manifest.unwrap().replace("name = \"call-webhook\"", "name = \"tell-once\"");
    embed_manifest(&component, &manifest).unwrap()
}

/// One change: an order whose total is over the threshold. Fires both rules once.
async fn order(engine: &Engine, number: u32) -> Id {
    let partner = FieldValue::new("partner_id", Value::link(1));
    let reference = FieldValue::new("client_order_ref", Value::text(format!("order {number}")));
    let calls = vec![Call::Create { model: "sale.order".into(), values: vec![vec![partner, reference]] }];
    let order = match &engine.change(Origin::user(ADMIN), calls).await.unwrap().answers[0] {
        Answer::Ids(ids) => ids[0],
        other => panic!("{other:?}"),
    };
    let line = vec![
        FieldValue::new("order_id", Value::link(order)),
        FieldValue::new("product_id", Value::link(1)),
        FieldValue::new("product_uom_qty", Value::Number(1.0)),
        FieldValue::new("price_unit", Value::Number(20_000.0)),
    ];
    let calls = vec![Call::Create { model: "sale.order.line".into(), values: vec![line] }];
    engine.change(Origin::user(ADMIN), calls).await.unwrap();
    order
}

/// Changes and runs until it is killed. Run by the tests below, in a process of its own.
#[test]
#[ignore = "the other tests run it as a child"]
fn child() {
    let Some(path) = std::env::var_os("TRIGGERBOX_KILL_CHILD") else { return };
    let setting = |name: &str| std::env::var(name).unwrap();
    let engine = open(Path::new(&path), &setting(MODEL), Path::new(&setting(CACHE)));
    let first = count(&engine, "SELECT count(*) FROM sale_order WHERE client_order_ref LIKE 'order %'") + 1;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let in_turn = std::env::var_os(IN_TURN).is_some();
        let _workers = (!in_turn).then(|| engine.start());
        for number in first.. {
            let order = order(&engine, number).await;
            if in_turn {
                engine.settle().await.unwrap();
            }
            println!("done {order}");
        }
    });
}

fn count(engine: &Engine, sql: &str) -> u32 {
    engine.database().snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Notes that runs left on an order.
const NOTES: &str = "(SELECT count(*) FROM mail_message m WHERE m.model = 'sale.order' AND m.res_id = o.id \
                     AND (m.body LIKE '%High-value sale%' OR m.body LIKE '%A large one.%'))";

/// Answers that are kept, for a run.
const ANSWERS: &str = "(SELECT count(*) FROM llm_call c WHERE c.run = r.key AND c.state = 'answered')";

/// Each run of the orders that have another number of notes than three: what is to be looked at.
fn of_odd_orders(engine: &Engine) -> String {
    let sql = format!(
        "SELECT o.id || ', ' || {NOTES} || ' notes: ' || r.rule || ' ' || r.id || ' ' || r.state || ', attempt ' || r.attempt \
         || ', crashes ' || r.crashes || ', ' || coalesce(r.code, '-') || ' ' || coalesce(r.message, '-') \
         FROM sale_order o JOIN engine_run r ON r.record = o.id \
         WHERE o.client_order_ref LIKE 'order %' AND o.amount_total > 5000 AND {NOTES} <> 3 ORDER BY o.id, r.id"
    );
    let conn = engine.database().snapshot().unwrap();
    let mut statement = conn.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| format!("\n  {}", row.unwrap())).collect()
}

/// What is wrong with the database as the kill left it, and after the engine was opened on it again.
fn check(path: &Path, model: &Model, reported: &[Id]) -> Result<(u32, Duration), String> {
    let must_be_zero = |engine: &Engine, rules: &[(&str, String)]| {
        for (what, sql) in rules {
            let found = count(engine, sql);
            if found != 0 {
                return Err(format!("{found} {what}"));
            }
        }
        Ok(())
    };
    let done = |rules: &str, state: &str| {
        format!(
            "(SELECT count(*) FROM engine_run r WHERE r.record = o.id AND r.rule LIKE '{rules}' AND r.state {state})"
        )
    };
    let noted = format!("({} + {})", done("notice-_", "= 'succeeded'"), done("ask", "= 'succeeded'"));
    let orders =
        "SELECT count(*) FROM sale_order o WHERE o.client_order_ref LIKE 'order %' AND o.amount_total > 5000 AND";

    let started = Instant::now();
    let engine = open(path, &model.server.url, model.cache.path());
    let damage: String =
        engine.database().snapshot().unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if damage != "ok" {
        return Err(format!("damaged: {damage}"));
    }
    must_be_zero(
        &engine,
        &[
            ("orders with another number of notes than of succeeded runs", format!("{orders} {NOTES} <> {noted}")),
            ("orders without a run for each rule", format!("{orders} {} <> 5", done("%", "IS NOT NULL"))),
            (
                "runs that are neither finished nor queued",
                "SELECT count(*) FROM engine_run WHERE state NOT IN ('queued', 'succeeded') \
                 AND NOT (rule = 'tell-once' AND state = 'outcome-unknown')"
                    .into(),
            ),
            (
                "runs without their event",
                "SELECT count(*) FROM engine_run r WHERE NOT EXISTS (SELECT 1 FROM engine_event e WHERE e.id = r.root)"
                    .into(),
            ),
            (
                "runs with more than one answer of the model or the service",
                format!("SELECT count(*) FROM engine_run r WHERE {ANSWERS} > 1"),
            ),
            (
                "lanes of finished runs",
                "SELECT count(*) FROM engine_lane l JOIN engine_run r ON r.id = l.run WHERE r.finished IS NOT NULL"
                    .into(),
            ),
        ],
    )?;
    for order in reported {
        if count(&engine, &format!("SELECT count(*) FROM sale_order WHERE id = {order} AND amount_total > 5000")) != 1 {
            return Err(format!("order {order} was reported as changed, and is not there"));
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.step()).map_err(|error| format!("the first step failed: {error}"))?;
    let resumed = started.elapsed();
    runtime.block_on(engine.settle()).map_err(|error| format!("cannot go on: {error}"))?;
    let unsure = engine.runs(&RunFilter { state: Some(RunState::OutcomeUnknown), ..RunFilter::default() }).unwrap();
    if let Some(wrong) = unsure.iter().find(|run| run.rule != "tell-once") {
        return Err(format!("nobody need look at a run of `{}`", wrong.rule));
    }
    model.check_told(&engine)?;
    // A person has looked, and has it told again.
    for run in unsure {
        runtime.block_on(engine.retry(run.id)).map_err(|error| format!("cannot be tried again: {error}"))?;
    }
    runtime.block_on(engine.settle()).map_err(|error| format!("cannot go on: {error}"))?;
    model.check_told(&engine)?;
    must_be_zero(
        &engine,
        &[
            ("orders that were not noted once by each rule", format!("{orders} {NOTES} <> 3")),
            ("runs that did not succeed", "SELECT count(*) FROM engine_run WHERE state <> 'succeeded'".into()),
            ("lanes that are left", "SELECT count(*) FROM engine_lane".into()),
            ("runs with another number of successful attempts than one", "SELECT count(*) FROM engine_run r WHERE (SELECT count(*) FROM engine_attempt a WHERE a.run = r.id AND a.code = 'applied') <> 1".into()),
            (
                "runs with another number of the model's answers than one",
                format!("SELECT count(*) FROM engine_run r WHERE r.rule = 'ask' AND {ANSWERS} <> 1"),
            ),
            (
                "runs with another number of the service's answers than one",
                format!("SELECT count(*) FROM engine_run r WHERE r.rule LIKE 'tell%' AND {ANSWERS} <> 1"),
            ),
        ],
    )
    .map_err(|wrong| format!("{wrong}{}", of_odd_orders(&engine)))?;
    let asked = model.asked();
    let calls = |state: &str| {
        count(&engine, &format!("SELECT count(*) FROM llm_call WHERE kind = 'model' AND state = {state}"))
    };
    let (answered, unsure) = (calls("'answered'"), calls("'unknown'"));
    if !(answered..=answered + unsure).contains(&asked) {
        return Err(format!(
            "the model was asked {asked} times: {answered} answers are kept, {unsure} calls are unsure"
        ));
    }
    Ok((count(&engine, "SELECT count(*) FROM engine_run"), resumed))
}

/// A model and a service that always say the same, and count; and what else lasts longer than one database.
struct Model {
    server: provider::Server,
    service: provider::Server,
    cache: tempfile::TempDir,
    before: (usize, usize),
    _runtime: tokio::runtime::Runtime,
}

impl Model {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let answer = provider::Step::json(&provider::answer("openai", "A large one."));
        let server = runtime.block_on(provider::Server::start(vec![answer]));
        let service = runtime.block_on(provider::Server::start(vec![provider::Step::status(200, "")]));
        Self { server, service, cache: tempfile::tempdir().unwrap(), before: (0, 0), _runtime: runtime }
    }

    /// From now on another database counts.
    fn begin(&mut self) {
        self.before = (self.server.seen().len(), self.service.seen().len());
    }

    /// How often, on this database.
    fn asked(&self) -> u32 {
        u32::try_from(self.server.seen().len() - self.before.0).unwrap()
    }

    /// What is wrong with what the service was told: of each order as often as the run has an answer, and once more at most
    /// for each call that was cut short and made again, which of `tell-once` only a person has done.
    fn check_told(&self, engine: &Engine) -> Result<(), String> {
        let mut told = BTreeMap::<(String, Id), u32>::new();
        for seen in self.service.seen().iter().skip(self.before.1) {
            let body = seen.json();
            let rule = body["_action"].as_str().unwrap().to_owned();
            *told.entry((rule, u32::try_from(body["id"].as_u64().unwrap()).unwrap())).or_default() += 1;
        }
        let conn = engine.database().snapshot().unwrap();
        let sql = "SELECT r.rule, r.record, coalesce(sum(c.state = 'answered'), 0), \
                   coalesce(sum(c.state IN ('unknown', 'intent', 'failed')), 0) FROM engine_run r \
                   LEFT JOIN llm_call c ON c.run = r.key WHERE r.rule LIKE 'tell%' GROUP BY r.id";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        for row in rows {
            let (rule, order, answered, unsure): (String, Id, u32, u32) = row.unwrap();
            let times = told.get(&(rule.clone(), order)).copied().unwrap_or_default();
            if !(answered..=answered + unsure).contains(&times) {
                return Err(format!(
                    "the service was told {times} times of order {order} by `{rule}`: {answered} answers are kept, \
                     {unsure} calls are unsure"
                ));
            }
        }
        Ok(())
    }
}

/// A database with its killer, in a folder that is gone with it.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(model: &mut Model) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        model.begin();
        prepare(&scene.database(), model);
        scene
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("kill.db")
    }
}

/// A change and its runs take a few milliseconds: a death within twenty falls anywhere in them.
fn killer(model: &Model) -> Killer {
    let mut killer = Killer::new(PLACES, 12, 5, 20_000, model.cache.path().join("trace"));
    killer.settings.push((MODEL, model.server.url.clone()));
    killer.settings.push((CACHE, model.cache.path().to_string_lossy().into_owned()));
    killer
}

// Shows: F016
#[test]
fn a_killed_engine_loses_no_run_and_does_nothing_twice() {
    let mut model = Model::start();
    let mut killer = killer(&model);
    let mut scene = Scene::new(&mut model);
    let (mut runs, mut before, mut slowest) = (0, 0, Duration::ZERO);
    for kill in 0..victim::wanted(50) {
        if kill > 0 && kill % KILLS_OF_A_DATABASE == 0 {
            before += runs;
            scene = Scene::new(&mut model);
        }
        let (reported, death) = killer.kill(&scene.database());
        let resumed;
        (runs, resumed) = check(&scene.database(), &model, &reported)
            .unwrap_or_else(|wrong| panic!("kill {kill} ({death}): {wrong}"));
        slowest = slowest.max(resumed);
    }
    runs += before;
    assert!(runs > 0);
    assert!(slowest < RESUMES, "a restart took {slowest:?}");
    killer.report(&format!("{runs} runs, the slowest restart to its first runs in {slowest:.1?}"));
}

/// What the checker says of an engine that is broken on purpose and dies at a place, with whole runs behind it.
fn found(setting: &'static str, value: &str, place: &str, visit: u64) -> String {
    let mut model = Model::start();
    let mut killer = killer(&model);
    killer.settings.push((setting, value.to_owned()));
    killer.settings.push((IN_TURN, "1".to_owned()));
    let scene = Scene::new(&mut model);
    let reported = killer.kill_at(&scene.database(), place, visit);
    let wrong = check(&scene.database(), &model, &reported).expect_err("what is broken must be found");
    println!("found: {wrong}");
    wrong
}

#[test]
fn the_checker_finds_a_run_that_ends_in_two_transactions() {
    found("TRIGGERBOX_BROKEN_FINISH", "1", "between-transactions", 7);
}

#[test]
fn the_checker_finds_an_answer_that_is_not_kept() {
    assert!(found("TRIGGERBOX_BROKEN_LEDGER", "model", "answer-forgotten", 5).contains("model"));
    assert!(found("TRIGGERBOX_BROKEN_LEDGER", "http", "answer-forgotten", 5).contains("service"));
}
