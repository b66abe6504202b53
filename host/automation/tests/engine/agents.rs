//! Rules with agents, on a real HTTP server that plays the language model: from a change to an answer to a commit.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use serde_json::{Value as Json, json};
use triggerbox_automation::{
    Config, Engine, EngineError, TestClock,
    agents::{Agent, stored as agents},
    diagnose::diagnose,
    people,
    rule::{
        Ground,
        stored::{Edit, Ownership, RuleError},
    },
    runs::{RunId, RunState},
    threads::{self, Said, Thread, ThreadFilter},
};
use triggerbox_llm::{Clock, Matching, Models, Recording, Services, SystemClock};
use triggerbox_model::{
    call::{BodyFormat, Call, Message},
    event::{Trigger, WebhookCall},
    value::{RecordRef, Value},
};

use crate::{
    model::{ModelServer, Say, texts},
    world::{ADMIN, READER, SAM, World, block_on, create, write},
};

/// The engine's clock, for the language models too: sessions live by it.
struct Turned(Arc<TestClock>);

#[async_trait::async_trait]
impl Clock for Turned {
    fn now(&self) -> jiff::Timestamp {
        triggerbox_automation::Clock::now(&*self.0)
    }

    async fn sleep(&self, _: Duration) {}
}

const KEY: &str = "sk-canary-5d41402abc4b";

fn services(server: &ModelServer, clock: Arc<dyn Clock>) -> Arc<Services> {
    let config = triggerbox_llm::Config::parse(&server.providers()).unwrap();
    let budgets = config.budgets.clone();
    let models = Models::live(config, &clock, &|name| (name == "TEST_KEY").then(|| KEY.to_owned())).unwrap();
    Arc::new(Services { models, web: None, budgets, clock })
}

pub(crate) fn config(server: &ModelServer) -> Config {
    Config {
        outside: Some(services(server, Arc::new(SystemClock))),
        links: "https://automation.example".into(),
        ..Config::default()
    }
}

impl World {
    pub(crate) fn agent(&self, toml: &str) {
        self.try_agent(toml, true).unwrap();
    }

    pub(crate) fn try_agent(&self, toml: &str, administrator: bool) -> Result<(), RuleError> {
        let agent: Agent = toml::from_str(toml).unwrap();
        let env = people::environment(self.engine.database(), ADMIN, true, self.clock_now()).unwrap();
        let policy = self.engine.config().policy.clone();
        let edit = move |conn: &rusqlite::Connection| {
            let edit =
                Edit { by: ADMIN, at: env.now, note: "", ownership: Ownership::Take, administrator, agrees: false };
            agents::save(Ground { conn, env: &env, policy: &policy }, &agent, &edit).map(drop)
        };
        self.engine.committer().commit_blocking(edit)
    }

    fn clock_now(&self) -> jiff::Timestamp {
        triggerbox_automation::Clock::now(&*self.clock)
    }

    pub(crate) fn thread(&self, run: RunId) -> Thread {
        threads::read(&self.engine.database().snapshot().unwrap(), run).unwrap()
    }

    fn threads(&self, filter: &ThreadFilter) -> Vec<threads::ThreadSummary> {
        threads::list(&self.engine.database().snapshot().unwrap(), filter).unwrap()
    }

    fn notes(&self, lead: u32, words: &str) -> usize {
        let domain = format!("[('model', '=', 'crm.lead'), ('res_id', '=', {lead}), ('body', 'ilike', '{words}')]");
        self.search("mail.message", &domain).len()
    }
}

const AGENT: &str = r#"
    name = "sales"
    title = "Sales assistant"
    system = "Be brief."
"#;

/// Sets the priority of new leads, and says why.
const RULE: &str = r#"
    name = "qualify"
    title = "Qualify new leads"
    model = "crm.lead"
    trigger = { on = "created" }
    dispatch = "per-record"

    [[actions]]
    script = "ai-agent"
    agent = "sales"
    parameters = { prompt = "Qualify {{ record.name }}." }
    grants = [{ model = "crm.lead", operations = ["read", "write", "note"], fields = ["name", "priority"] }]
"#;

fn update(lead: u32) -> Json {
    json!([["update", { "model": "crm.lead", "id": lead, "values": { "priority": "2" } }]])
}

/// The lead that a request is about.
fn lead_of(request: &Json) -> u32 {
    let task = texts(request, "user").remove(0);
    let (_, rest) = task.rsplit_once("crm.lead(").unwrap();
    rest.split_once(')').unwrap().0.parse().unwrap()
}

/// Updates the lead, then says that it is done.
fn diligent() -> ModelServer {
    ModelServer::start(|_, request| {
        let done = !texts(request, "tool").is_empty();
        Say::This(if done { json!("Priority is 2 now.") } else { update(lead_of(request)) })
    })
}

fn kinds(thread: &Thread) -> Vec<String> {
    let json = serde_json::to_value(&thread.entries).unwrap();
    json.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

fn events<'a>(thread: &'a Thread, name: &str) -> Vec<&'a str> {
    let said = thread.entries.iter().map(|entry| &entry.said);
    said.filter_map(|said| match said {
        Said::Event { event, message } if event == name => Some(message.as_str()),
        _ => None,
    })
    .collect()
}

// Shows: F023, F024, F027, F028, F029, F036, F037, F041, F061, F067, F081
#[test]
fn an_agent_asks_a_model_acts_and_leaves_a_thread_and_a_note() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    let lead = world.lead("Chairs");
    world.settle();
    let run = world.runs_of("qualify").remove(0);
    assert_eq!((run.state, run.message.as_deref()), (RunState::Succeeded, Some("Priority is 2 now.")), "{run:?}");
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("2"));

    let thread = world.thread(run.id);
    let summary = &thread.summary;
    assert_eq!((summary.name.as_str(), summary.rule.as_str()), ("Qualify new leads", "qualify"));
    assert_eq!((summary.agent.as_deref(), summary.model.as_deref()), (Some("sales"), Some("crm.lead")));
    assert_eq!((summary.record, &summary.records, summary.session), (Some(lead), &vec![lead], None));
    assert_eq!((summary.used.calls, summary.used.tokens, summary.used.micro_euro), (2, 240, 720));
    assert_eq!(kinds(&thread), ["system", "user", "assistant", "tool-call", "tool-result", "assistant"]);
    let text = serde_json::to_string(&thread).unwrap();
    for part in ["Be brief.", "Qualify Chairs.", "\\\"priority\\\":\\\"2\\\"", "Priority is 2 now.", "small-2026"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(KEY) && server.asked().len() == 2);
    assert_eq!(texts(&server.asked()[0], "user")[0].lines().next(), Some("Qualify Chairs."));

    // The record has an internal note that leads to the thread, and nobody is told of it.
    let link = format!("https://automation.example/threads/{}", run.id);
    assert_eq!(world.notes(lead, &link), 1);
    let note = world.search("mail.message", &format!("[('body', 'ilike', '{link}')]"))[0];
    let subtype = format!("{:?}", world.value("mail.message", note, "subtype_id"));
    assert!(subtype.contains("Note"), "{subtype}");
    assert!(world.settle() == 0, "the note fires no rule");
}

// Shows: F029
#[test]
fn what_tools_answered_is_in_the_thread_also_where_the_run_is_over_before_the_model_is_told() {
    let server = ModelServer::start(|_, request| {
        let lead = lead_of(request);
        Say::This(json!([
            ["update", { "model": "crm.lead", "id": lead, "values": { "priority": "2" } }],
            ["search", { "model": "crm.lead", "domain": [["id", "=", lead]], "fields": ["name"] }],
            ["unlink", { "model": "crm.lead", "id": lead }],
        ]))
    });
    let world = World::with(config(&server));
    world.agent(AGENT);
    for steps in [1, 2] {
        let why = format!("not done after {steps} steps");
        world.rule(&RULE.replace("parameters = { prompt", &format!("parameters = {{ max_steps = \"{steps}\", prompt")));
        let lead = world.lead("Chairs \"by the dozen\": oak");
        world.settle();
        let run = world.runs_of("qualify").into_iter().max_by_key(|run| run.id).unwrap();
        let message = run.message.clone().unwrap_or_default();
        assert!(run.state == RunState::Failed && message.contains(&why), "{run:?}");
        let thread = world.thread(run.id);
        let calls = kinds(&thread).iter().filter(|kind| *kind == "tool-call").count();
        let results: Vec<_> = thread
            .entries
            .iter()
            .filter_map(|entry| match &entry.said {
                Said::ToolResult { name, output, failed, .. } => Some((name.as_str(), output.as_str(), *failed)),
                _ => None,
            })
            .collect();
        assert_eq!((calls, results.len()), (3 * steps, 3 * steps), "{results:?}");
        let [update, search, unlink] = results[results.len() - 3..] else { panic!("{results:?}") };
        assert_eq!(update, ("update", r#"{"done":true}"#, false));
        assert_eq!((search.0, search.2), ("search", false));
        assert!(search.1.contains(r#"by the dozen\": oak"#) && search.1.contains(&lead.to_string()), "{search:?}");
        assert_eq!((unlink.0, unlink.2), ("unlink", true));
        assert!(unlink.1.contains("there is no tool unlink"), "{unlink:?}");
    }
}

#[test]
fn what_was_said_of_one_person_is_erased_from_threads_too() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(&RULE.replace("Qualify new leads", "Qualify leads of Zoe Unforgettable"));
    let lead = world.lead("Zoe Unforgettable");
    world.settle();
    let run = world.runs_of("qualify").remove(0).id;
    let everything = || {
        let thread = serde_json::to_string(&world.thread(run)).unwrap();
        let conn = world.engine.database().snapshot().unwrap();
        let log: Option<String> = conn
            .query_row("SELECT group_concat(message) FROM engine_log WHERE run = ?", [run], |row| row.get(0))
            .unwrap();
        thread + &log.unwrap_or_default() + &serde_json::to_string(&world.run(run)).unwrap()
    };
    let before = everything();
    assert!(before.matches("Zoe Unforgettable").count() > 2, "{before}");
    let erased = block_on(world.engine.erase(&["zoe unforgettable".to_owned()])).unwrap();
    assert!(erased.rows >= 3 && erased.waiting == 0, "{erased:?}");
    let after = everything();
    assert!(!after.to_lowercase().contains("unforgettable") && after.contains("[erased]"), "{after}");
    assert_eq!(world.thread(run).summary.name, "Qualify leads of [erased]");
    assert_eq!(world.value("crm.lead", lead, "name"), Value::text("Zoe Unforgettable"), "records stay");
    // Nothing that is kept besides the records and the rules says it: a table that is new is no exception.
    assert_eq!(holding(&world, "unforgettable"), ["engine_rule", "engine_rule_version"]);
}

/// Tables of the engine that hold a text, plain or packed.
fn holding(world: &World, text: &str) -> Vec<String> {
    let conn = world.engine.database().snapshot().unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'engine_%' OR name LIKE 'llm_%') ORDER BY name";
    let names = conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>();
    let holds = |table: &String| {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for at in 0..columns {
                let said = match row.get_ref(at).unwrap() {
                    rusqlite::types::ValueRef::Text(bytes) => bytes.to_vec(),
                    rusqlite::types::ValueRef::Blob(bytes) => zstd::decode_all(bytes).unwrap_or_default(),
                    _ => continue,
                };
                if String::from_utf8_lossy(&said).to_lowercase().contains(text) {
                    return true;
                }
            }
        }
        false
    };
    names.unwrap().into_iter().filter(holds).collect()
}

// Shows: F027, F061
#[test]
fn only_runs_that_ask_a_model_leave_threads_and_notes() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.rule(
        "name = \"move\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\nchain = true\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let lead = world.lead("Chairs");
    world.settle();
    assert_eq!(world.runs_of("move")[0].state, RunState::Succeeded);
    assert_eq!(
        (world.threads(&ThreadFilter::default()).len(), world.notes(lead, "thread")),
        (0, 0),
        "it may ask, and did not"
    );

    // A script like any other, that asks.
    let manifest = guest_artifacts::AI_AGENT.manifest.unwrap().replace("name = \"ai-agent\"", "name = \"asker\"");
    let manifest: &'static str = manifest.leak();
    let component = guest_artifacts::AI_AGENT.component;
    world.script(&guest_artifacts::Guest { name: "asker", component, manifest: Some(manifest) });
    world.rule(
        "name = \"ask\"\ntitle = \"Look at leads\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"asker\", parameters = { prompt = \"Look.\" }, grants = [] }]",
    );
    let lead = world.lead("Desks");
    world.settle();
    let [thread] = world.threads(&ThreadFilter::default()).try_into().unwrap();
    assert_eq!((thread.name.as_str(), thread.agent, thread.record), ("Look at leads", None, Some(lead)));
    assert_eq!((thread.used.calls, world.notes(lead, "thread")), (1, 1));
}

// Shows: F038, F040, F070
#[test]
fn each_record_has_a_thread_of_its_own() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    let leads: Vec<u32> = ["One", "Two", "Three"].map(|name| world.lead(name)).to_vec();
    world.settle();
    let found = world.threads(&ThreadFilter::default());
    let mut records: Vec<_> = found.iter().filter_map(|thread| thread.record).collect();
    records.sort_unstable();
    assert_eq!(records, leads);
    for lead in leads {
        let filter = ThreadFilter { record: Some(RecordRef::new("crm.lead", lead)), ..ThreadFilter::default() };
        let [one] = world.threads(&filter).try_into().unwrap();
        let conn = world.engine.database().snapshot().unwrap();
        assert_eq!((one.state, threads::count(&conn, &filter).unwrap()), (RunState::Succeeded, 1));
        assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("2"));
    }
}

// Shows: F005, F039, F040, F069, F070
#[test]
fn an_agent_is_an_action_like_any_other_for_every_trigger() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.agent(AGENT);
    let rule = |name: &str, trigger: &str, more: &str| {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {trigger}\n{more}\n\
             actions = [{{ script = \"ai-agent\", agent = \"sales\", parameters = {{ prompt = \"Look.\" }} }}]"
        ));
    };
    rule("created", "{ on = \"created\" }", "dispatch = \"per-record\"");
    rule("updated", "{ on = \"updated\", fields = [\"phone\"] }", "");
    rule("deleted", "{ on = \"deleted\" }", "");
    rule("single", "{ on = \"manual\" }", "");
    rule("each", "{ on = \"manual\" }", "dispatch = \"per-record\"");
    rule("hook", "{ on = \"webhook\", secret = \"shop\" }", "");
    rule("said", "{ on = \"message-sent\" }", "");
    rule("due", "{ on = \"time\", field = \"date_deadline\", delay = 0, unit = \"days\" }", "");
    rule("daily", "{ on = \"schedule\", cron = \"0 12 * * *\" }", "source = { domain = \"[('name', '=', 'One')]\" }");
    let (one, two) = (world.lead("One"), world.lead("Two"));
    world.write("crm.lead", one, &[("phone", Value::text("1"))]);
    let message = Message {
        body: "Hello".into(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    };
    world.change(vec![Call::PostMessage { target: RecordRef::new("crm.lead", one), message }]);
    let hook = Trigger::Webhook(WebhookCall {
        method: "POST".into(),
        headers: Vec::new(),
        query: Vec::new(),
        body: Vec::new(),
    });
    let fire = |rule: &str, trigger: Trigger, records: Vec<u32>| {
        block_on(world.engine.fire(rule, ADMIN, trigger, records)).unwrap();
    };
    fire("single", Trigger::Manual, vec![one, two]);
    fire("each", Trigger::Manual, vec![one, two]);
    fire("hook", hook, vec![two]);
    world.change(vec![write("crm.lead", &[one], &[("date_deadline", Value::Date("2026-11-21".into()))])]);
    world.settle();
    world.pass(Duration::from_secs(24 * 3_600));
    world.settle();
    world.change(vec![Call::Unlink { model: "crm.lead".into(), ids: vec![two] }]);
    world.settle();
    for (rule, threads, records) in [
        ("created", 2, 1),
        ("updated", 1, 1),
        ("deleted", 1, 1),
        ("single", 1, 2),
        ("each", 2, 1),
        ("hook", 1, 1),
        ("said", 1, 1),
        ("due", 1, 1),
        ("daily", 1, 1),
    ] {
        let found = world.threads(&ThreadFilter { rule: Some(rule.into()), ..ThreadFilter::default() });
        assert_eq!(found.len(), threads, "{rule}");
        for thread in found {
            assert_eq!(thread.state, RunState::Succeeded, "{rule}: {:?}", thread.message);
            assert_eq!(thread.records.len(), records, "{rule}");
            assert_eq!(thread.record.is_some(), records == 1, "{rule}");
        }
    }
}

// Shows: F005, F033, F090
#[test]
fn whatever_fires_an_agent_its_runs_have_an_agents_limits_and_five_are_at_work_at_once() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.agent(AGENT);
    // A script like any other, that asks.
    let manifest = guest_artifacts::AI_AGENT.manifest.unwrap().replace("name = \"ai-agent\"", "name = \"asker\"");
    let manifest: &'static str = manifest.leak();
    let component = guest_artifacts::AI_AGENT.component;
    world.script(&guest_artifacts::Guest { name: "asker", component, manifest: Some(manifest) });
    let leads: Vec<u32> = (0..8).map(|_| world.lead("One")).collect();
    for (name, action) in
        [("agent", "script = \"ai-agent\", agent = \"sales\""), ("script", "script = \"asker\", grants = []")]
    {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\n\
             source = {{ domain = \"[('id', '=', {})]\" }}\n\
             trigger = {{ on = \"schedule\", every = 1, unit = \"days\", first = \"2026-11-21T00:00:00\" }}\n\
             actions = [{{ {action}, parameters = {{ prompt = \"Look.\" }} }}]",
            leads[0]
        ));
    }
    world.settle();
    world.pass(Duration::from_secs(24 * 3_600));
    assert_eq!(world.settle(), 4, "a run that finds the lead, and one on it");
    for rule in ["agent", "script"] {
        block_on(world.engine.backfill(rule, "[('name', '=', 'One')]", ADMIN)).unwrap();
        assert_eq!([world.step(), world.step()], [5, 3], "{rule}");
        let runs = world.runs_of(rule);
        assert_eq!(runs.len(), 10);
        for run in runs {
            assert_eq!((run.class.as_str(), run.state), ("agent", RunState::Succeeded), "{rule}: {:?}", run.message);
            let run = world.run(run.id);
            for attempt in &run.attempts {
                let most = &attempt.report["limits"]["max"];
                assert_eq!((&most["records-written"], &most["posts"]), (&json!(200), &json!(10)), "{rule}");
            }
            assert_eq!(run.attempts.len(), usize::from(run.summary.code.as_deref() != Some("spread")));
        }
    }
    // However many records there are, and whoever fires it.
    world.rule(
        "name = \"all\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
         actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" } }]",
    );
    let run = block_on(world.engine.fire("all", ADMIN, Trigger::Manual, (1..=1_001).collect())).unwrap()[0];
    let run = world.run(run);
    assert_eq!(run.summary.class, "agent");
    assert!(run.firing.warnings[0].contains("of the class agent"), "{:?}", run.firing.warnings);
    // A rule that no longer asks a model has no agents any more.
    world.rule(
        "name = \"all\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
         actions = [{ script = \"notify\", parameters = { text = \"seen\" } }]",
    );
    let run = block_on(world.engine.fire("all", ADMIN, Trigger::Manual, vec![leads[0]])).unwrap()[0];
    assert_eq!(world.run(run).summary.class, "async");
}

// Shows: F058
#[test]
fn an_attempt_that_died_gets_its_answers_again_and_repeats_what_it_was_in_the_middle_of() {
    let (out, came) = mpsc::channel();
    let out = std::sync::Mutex::new(out);
    let (go, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    // The second question is answered only when the first engine is gone.
    let server = ModelServer::start(move |nth, request| match nth {
        0 => Say::This(update(lead_of(request))),
        1 => {
            out.lock().unwrap().send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
            Say::This(json!("Nobody hears this."))
        }
        _ => Say::This(json!("Priority is 2 now.")),
    });
    let mut world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    let lead = world.lead("Chairs");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let engine = world.engine.clone();
    runtime.spawn(async move { engine.step().await });
    came.recv().unwrap();
    // As if the host had died: nothing of the attempt goes on.
    runtime.shutdown_background();
    let run = world.runs_of("qualify").remove(0);
    assert_eq!(run.state, RunState::Running);
    let before = world.thread(run.id);
    assert_eq!(kinds(&before).last().map(String::as_str), Some("open"), "the call is out: {:?}", kinds(&before));

    let again = World::on(world.engine.database().clone(), config(&server));
    world.engine = again.engine;
    go.send(()).unwrap();
    world.settle();
    let run = world.run(run.id);
    assert_eq!((run.summary.state, run.summary.attempt), (RunState::Succeeded, 2), "{run:?}");
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("2"));
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "the first answer was kept, the second question was asked again");
    assert_eq!(asked[1], asked[2]);
    let thread = world.thread(run.summary.id);
    let open: Vec<_> = thread.entries.iter().filter(|entry| matches!(entry.said, Said::Open { .. })).collect();
    assert_eq!(open.len(), 1, "the call whose end nobody knows stays visible, and paid for at its worst case");
    let Said::Open { worst, state } = &open[0].said else { panic!() };
    assert_eq!(state, "unknown");
    assert_eq!(thread.summary.used.tokens, 240 + worst.tokens);
    assert_eq!(world.notes(lead, "automation.example"), 1, "one note, however often it was tried");
}

// Shows: F081
#[test]
fn a_call_that_is_cut_off_in_flight_is_told_at_its_worst_case_and_once() {
    let (out, came) = mpsc::channel();
    let out = std::sync::Mutex::new(out);
    let (go, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = ModelServer::start(move |nth, request| {
        if nth > 0 {
            out.lock().unwrap().send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
        }
        Say::This(update(lead_of(request)))
    });
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    world.lead("Chairs");
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    assert!(world.engine.observe(Box::new(move |attempt| tell.lock().unwrap().send(attempt.clone()).unwrap())));
    let run = world.runs_of("qualify").remove(0).id;
    let engine = world.engine.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let attempt = runtime.spawn(async move { engine.step().await });
    came.recv().unwrap();
    block_on(world.engine.cancel(run, ADMIN)).unwrap();
    block_on(attempt).unwrap().unwrap();
    go.send(()).unwrap();
    let attempt = told.recv().unwrap();
    let thread = world.thread(run);
    let open = thread.entries.iter().find_map(|entry| match entry.said {
        Said::Open { worst, .. } => Some(worst),
        _ => None,
    });
    let worst = open.expect("the second question is open");
    assert_eq!((attempt.run, attempt.state), (run, RunState::Cancelled));
    assert_eq!((attempt.spent.calls, attempt.spent.tokens), (2, 120 + worst.tokens));
    assert_eq!(attempt.spent, thread.summary.used, "as the budgets have it");
    assert!(told.try_recv().is_err(), "told once");
}

/// A rule by hand on one record, chained.
fn chained(more: &str) -> String {
    format!(
        "name = \"again\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"per-record\"\n\
         chain = true\n{more}\n\
         [[actions]]\nscript = \"ai-agent\"\nagent = \"sales\"\n\
         parameters = {{ prompt = \"Before: [{{{{ previous_session.last_text }}}}] {{{{ previous_session.tool_log | length }}}}.\
         {{% for call in previous_session.tool_log %}} {{{{ call.name }}}} {{{{ call.arguments.values.priority }}}}: \
         {{{{ call.output.done }}}}.{{% endfor %}}\" }}\n\
         grants = [{{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\", \"priority\"] }}]\n"
    )
}

fn again(world: &World, lead: u32) -> RunId {
    let run = block_on(world.engine.fire("again", ADMIN, Trigger::Manual, vec![lead])).unwrap()[0];
    world.settle();
    run
}

// Shows: F050, F051, F052
#[test]
fn a_chained_run_knows_the_last_text_and_the_tool_log_and_nothing_more() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(&chained(""));
    let (one, other) = (world.lead("Chairs"), world.lead("Desks"));
    let task = |nth: usize| texts(&server.asked()[nth], "user").remove(0);
    let first = again(&world, one);
    assert!(task(0).starts_with("Before: [] 0."), "{}", task(0));
    let second = again(&world, one);
    assert!(task(2).starts_with("Before: [Priority is 2 now.] 1. update 2: True."), "{}", task(2));
    assert!(task(2).contains("The run before this one said: Priority is 2 now.") && task(2).contains("\"update\""));
    assert_eq!(
        server.asked()[2]["messages"].as_array().unwrap().len(),
        2,
        "no message of the run before is sent again"
    );
    again(&world, other);
    assert!(task(4).starts_with("Before: [] 0."), "another record: {}", task(4));
    let (first, second) = (world.thread(first).summary, world.thread(second).summary);
    assert_eq!((first.resume, second.resume, first.session), (0, 1, second.session));
    assert!(first.session.is_some());
    world.rule(&chained("").replace("chain = true", "chain = false"));
    again(&world, one);
    assert!(task(6).starts_with("Before: [] 0."), "not chained: {}", task(6));
    world.delete("again");
    world.rule(&chained(""));
    again(&world, one);
    assert!(task(8).starts_with("Before: [] 0."), "another rule of that name: {}", task(8));
}

// Shows: F053, F054, F057, F058
#[test]
fn a_session_ends_after_its_resumes_and_its_lifetime_until_somebody_renews_it() {
    let server = diligent();
    let mut world = World::new();
    let turned: Arc<dyn Clock> = Arc::new(Turned(Arc::clone(&world.clock)));
    let settings =
        Config { outside: Some(services(&server, turned)), seed: Some(7), pause_after: 2, ..Config::default() };
    let clock = Arc::clone(&world.clock);
    let sandbox = crate::world::sandbox();
    world.engine = Engine::open(world.engine.database().clone(), sandbox, settings, clock).unwrap();
    world.agent(AGENT);
    world.rule(&chained("caps = { resumes = 1, hours = 48 }"));
    let lead = world.lead("Chairs");
    let state = |run: RunId| (world.run(run).summary.state, world.run(run).summary.code.unwrap());
    for _ in 0..2 {
        assert_eq!(state(again(&world, lead)).0, RunState::Succeeded);
    }
    for _ in 0..3 {
        let run = again(&world, lead);
        assert_eq!(state(run), (RunState::Failed, "cap-exceeded".to_owned()));
        let thread = world.thread(run);
        let [event] = events(&thread, "cap_exceeded").try_into().unwrap();
        assert!(event.contains("2 resumes of at most 1") || event.contains("resumes of at most 1"), "{event}");
    }
    assert_eq!(server.asked().len(), 4, "nothing is asked any more");
    let rules = world.engine.rules().unwrap();
    assert_eq!(rules.rule("again").unwrap().paused, None, "one record's session says nothing about the rule");
    let now = world.clock_now();
    let causes = diagnose(world.engine.database(), &world.engine.config().policy, "again", None, now).unwrap();
    assert_eq!(causes[0].code, "cap-exceeded", "{causes:?}");

    let last = world.runs_of("again").pop().unwrap().id;
    assert!(world.commit(move |conn| threads::renew(conn, last, 0)));
    assert_eq!(state(again(&world, lead)).0, RunState::Succeeded, "a new session");
    world.pass(Duration::from_secs(48 * 3_600));
    let run = again(&world, lead);
    assert_eq!(state(run).1, "cap-exceeded");
    assert!(events(&world.thread(run), "cap_exceeded")[0].contains("48 hours"), "{:?}", world.thread(run));
}

// Shows: F054, F058
#[test]
fn a_session_that_is_over_in_the_middle_of_a_run_makes_no_further_call() {
    let mut world = World::new();
    let clock = Arc::clone(&world.clock);
    let server = ModelServer::start(move |_, request| {
        clock.advance(Duration::from_secs(3_600));
        Say::This(update(lead_of(request)))
    });
    let turned: Arc<dyn Clock> = Arc::new(Turned(Arc::clone(&world.clock)));
    let settings = Config { outside: Some(services(&server, turned)), seed: Some(7), ..Config::default() };
    let (clock, sandbox) = (Arc::clone(&world.clock), crate::world::sandbox());
    world.engine = Engine::open(world.engine.database().clone(), sandbox, settings, clock).unwrap();
    world.agent(AGENT);
    world.rule(&chained("caps = { hours = 1 }"));
    let lead = world.lead("Chairs");
    let run = again(&world, lead);
    assert_eq!(world.run(run).summary.code.as_deref(), Some("limit-exceeded"));
    assert_eq!(server.asked().len(), 1);
    assert!(events(&world.thread(run), "cap_exceeded")[0].contains("session"), "{:?}", world.thread(run).entries);
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("0"), "nothing is applied");
}

// Shows: F055, F056, F058, F059
#[test]
fn the_runs_of_a_session_share_its_tokens_and_its_money() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent("name = \"sales\"\ncaps = { tokens = 12000 }");
    world.rule(&chained(""));
    let lead = world.lead("Chairs");
    let mut done = 0;
    let run = loop {
        let run = again(&world, lead);
        match world.run(run).summary.state {
            RunState::Succeeded => done += 1,
            _ => break run,
        }
        assert!(done < 50, "the cap must come");
    };
    assert!(done > 0, "{:?}", world.run(run));
    let thread = world.thread(run);
    let event = events(&thread, "cap_exceeded")[0];
    assert!(event.contains("llm-tokens") && event.contains("12000 (session)"), "{event}");
    let total: u64 = world.threads(&ThreadFilter::default()).iter().map(|thread| thread.used.tokens).sum();
    assert!(total <= 12_000, "{total}");
}

// Shows: F012, F057, F058, F059
#[test]
fn of_several_agents_of_a_rule_the_smallest_caps_count() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.agent("name = \"first\"\ncaps = { cost = 1.0 }");
    world.agent("name = \"second\"\ncaps = { tokens = 1000 }");
    let action = |agent: &str| {
        format!("[[actions]]\nscript = \"ai-agent\"\nagent = \"{agent}\"\nparameters = {{ prompt = \"Look.\" }}\n")
    };
    world.rule(&format!(
        "name = \"look\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n{}{}",
        action("first"),
        action("second")
    ));
    world.lead("Chairs");
    world.settle();
    let run = world.runs_of("look").remove(0);
    assert_eq!((run.state, run.code.as_deref()), (RunState::Failed, Some("limit-exceeded")), "{run:?}");
    let thread = world.thread(run.id);
    let event = events(&thread, "cap_exceeded")[0];
    assert!(event.contains("llm-tokens") && event.contains("1000 (session)"), "{event}");
    assert_eq!(server.asked().len(), 0, "a token is a byte at least: the very first call could go over");
}

// Shows: F039, F040, F047
#[test]
fn one_run_for_all_records_has_records_even_if_there_is_one() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.agent(AGENT);
    let lead = world.lead("Chairs");
    let asked = |dispatch: &str| {
        world.rule(&format!(
            "name = \"look\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"{dispatch}\"\n\
             [[actions]]\nscript = \"ai-agent\"\nagent = \"sales\"\n\
             parameters = {{ prompt = \"{{% if record is defined %}}{{{{ record.name }}}}{{% else %}}none{{% endif %}}, \
             {{{{ records | map(attribute='name') | join }}}}.\" }}\n\
             grants = [{{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }}]"
        ));
        block_on(world.engine.fire("look", ADMIN, Trigger::Manual, vec![lead])).unwrap();
        world.settle();
        texts(server.asked().last().unwrap(), "user").remove(0).lines().next().unwrap().to_owned()
    };
    assert_eq!(asked("single"), "none, Chairs.");
    assert_eq!(asked("per-record"), "Chairs, .");
}

// Shows: F060, F083, F088
#[test]
fn an_agent_that_cannot_start_leaves_the_users_change_alone_and_says_why() {
    let server = ModelServer::start(|_, _| Say::Status(401));
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    let cause = || {
        let (policy, now) = (world.engine.config().policy.clone(), world.clock_now());
        diagnose(world.engine.database(), &policy, "qualify", None, now).unwrap().remove(0)
    };
    let lead = world.lead("Chairs");
    world.settle();
    let run = world.runs_of("qualify").pop().unwrap();
    assert_eq!((run.state, world.search("crm.lead", "[('name', '=', 'Chairs')]")), (RunState::Failed, vec![lead]));
    assert_eq!(cause().code, "llm-key-refused", "{:?}", cause());
    let thread = world.thread(run.id);
    assert!(kinds(&thread).contains(&"refusal".to_owned()), "{thread:?}");
    assert!(thread.summary.message.unwrap().contains("401"));

    world.agent(&format!("{AGENT}\nactive = false"));
    world.lead("Desks");
    world.settle();
    let run = world.runs_of("qualify").pop().unwrap();
    assert_eq!((run.state, run.code.as_deref()), (RunState::Failed, Some("agent-inactive")));
    assert!(run.message.unwrap().contains("the agent `sales` of rule `qualify` is not active"));
    assert_eq!(world.thread(run.id).summary.state, RunState::Failed, "its thread is there, in error");
    assert_eq!(cause().code, "agent-inactive");
    assert_eq!(world.search("crm.lead", "[('name', '=', 'Desks')]").len(), 1);
    assert_eq!(server.asked().len(), 1);
}

// Shows: F025, F113
#[test]
fn a_rule_is_never_bolder_than_its_agent() {
    let server = diligent();
    let world = World::with(config(&server));
    let lead = |mode: &str| {
        world.agent(&format!("{AGENT}\nmode = \"{mode}\""));
        let lead = world.lead("Chairs");
        world.settle();
        (world.runs_of("qualify").pop().unwrap().state, world.value("crm.lead", lead, "priority"))
    };
    world.agent(AGENT);
    world.rule(RULE);
    assert_eq!(lead("recommend"), (RunState::Succeeded, Value::text("0")), "kept as advice");
    assert_eq!(lead("approve"), (RunState::WaitingApproval, Value::text("0")));
    assert_eq!(lead("auto"), (RunState::Succeeded, Value::text("2")));
}

/// A customer's message on a lead, by mail; the runs that it caused.
fn incoming(world: &World, lead: u32, body: &str) -> Vec<RunId> {
    let customer = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let subtype = world.search("mail.message.subtype", "[('internal', '=', False)]")[0];
    let message = create(
        "mail.message",
        &[
            ("model", Value::text("crm.lead")),
            ("res_id", Value::Integer(i32::try_from(lead).unwrap())),
            ("message_type", Value::text("email")),
            ("subtype_id", Value::link(subtype)),
            ("author_id", Value::link(customer)),
            ("body", Value::text(body)),
        ],
    );
    world.change(vec![message]).runs
}

// Shows: F099, F113
#[test]
fn a_workflow_of_the_examples_recommends_asks_or_acts_as_its_mode_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/agents");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let lead = 2;
    for (mode, state, acts) in [
        ("recommend", RunState::Succeeded, false),
        ("approve", RunState::WaitingApproval, false),
        ("auto", RunState::Succeeded, true),
    ] {
        let recording = Recording::load(&folder.join("message-sentiment/recording.json")).unwrap();
        let providers = triggerbox_llm::Config::default();
        let budgets = providers.budgets.clone();
        let models = Models::replay(providers, &recording, Matching::Tolerant);
        let services = Services { models, web: None, budgets, clock: Arc::new(SystemClock) };
        let world = World::with(Config { outside: Some(Arc::new(services)), ..Config::default() });
        world.agent(&read("assistant.toml"));
        world.rule(&format!("mode = \"{mode}\"\n{}", read("message-sentiment/rule.toml")));
        let run = incoming(&world, lead, "<p>This is the third time. I want my money back!</p>")[0];
        world.settle();
        let asked = serde_json::to_string(&world.thread(run)).unwrap();
        assert!(asked.contains("I want my money back!"), "{asked}");
        let raised = || world.value("crm.lead", lead, "priority") == Value::text("3");
        let shown = world.run(run);
        assert_eq!(
            (shown.summary.state, raised(), world.notes(lead, "Mood: angry")),
            (state, acts, usize::from(acts)),
            "{mode}: {:?}",
            shown.summary.message
        );
        if mode == "approve" {
            let proposal = world.engine.proposal(run).unwrap().unwrap();
            block_on(world.engine.approve(run, proposal.hash, crate::world::MANAGER, "")).unwrap();
            assert!(raised() && world.notes(lead, "Mood: angry") == 1);
        }
    }
}

// Shows: F119, F125
#[test]
fn what_an_agent_deletes_or_confirms_waits_for_a_yes_in_every_mode() {
    let won = |request: &Json| match texts(request, "tool").is_empty() {
        true => json!([["call", { "model": "crm.lead", "id": lead_of(request), "method": "action_set_won" }]]),
        false => json!("It is won."),
    };
    let rule = RULE.replace("\"note\"], fields", "\"note\", \"call\"], methods = [\"action_set_won\"], fields");
    let server = ModelServer::start(move |_, request| Say::This(won(request)));
    for asks in [true, false] {
        let mut settings = config(&server);
        if !asks {
            settings.policy.approved_agent_operations.clear();
        }
        let world = World::with(settings);
        world.agent(AGENT);
        world.rule(&rule);
        let lead = world.lead("Chairs");
        world.settle();
        let run = world.runs_of("qualify").remove(0);
        let status = || world.value("crm.lead", lead, "won_status");
        if asks {
            assert_eq!((run.state, status()), (RunState::WaitingApproval, Value::text("pending")), "{run:?}");
            let proposal = world.engine.proposal(run.id).unwrap().unwrap();
            block_on(world.engine.approve(run.id, proposal.hash, crate::world::MANAGER, "")).unwrap();
        }
        assert_eq!((world.run(run.id).summary.state, status()), (RunState::Succeeded, Value::text("won")));
    }
}

// Shows: F026
#[test]
fn an_agent_reaches_its_data_sources_and_no_others() {
    let server = ModelServer::start(|_, request| {
        Say::This(match texts(request, "tool").is_empty() {
            true => json!([
                ["read", { "model": "crm.lead", "ids": [1], "fields": ["name"] }],
                ["read", { "model": "crm.lead", "ids": [1], "fields": ["priority"] }],
                ["update", { "model": "crm.lead", "id": 1, "values": { "priority": "3" } }],
            ]),
            false => json!("Tried."),
        })
    });
    let world = World::with(config(&server));
    let agent = |read_only: bool| {
        world.agent(&format!(
            "{AGENT}\nread-only = {read_only}\n\
             grants = [{{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\"] }}]"
        ));
    };
    agent(false);
    world.rule(RULE);
    world.lead("Chairs");
    world.settle();
    let run = world.runs_of("qualify").pop().unwrap();
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    let thread = world.thread(run.id);
    let refused = |code: &str| {
        let of = |said: &Said| matches!(said, Said::Refusal { code: known, .. } if known == code);
        thread.entries.iter().filter(|entry| of(&entry.said)).count()
    };
    assert_eq!(refused("refused-by-agent"), 2, "{:#?}", thread.entries);
    let asked = server.asked()[0].to_string();
    assert!(asked.contains("crm.lead (name)") && !asked.contains("(name, priority)"), "{asked}");
    // A rule without grants of its own has its agent's.
    world.rule(&RULE.lines().filter(|line| !line.contains("grants")).collect::<Vec<_>>().join("\n"));
    agent(true);
    world.lead("Desks");
    world.settle();
    let asked = server.asked().pop().unwrap();
    let tools: Vec<_> = asked["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(tools, ["search", "read", "read_group", "fields_get"]);
}

// Shows: F066
#[test]
fn a_thread_is_for_whoever_may_read_its_record_or_owns_it() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(RULE);
    let lead = world.create("crm.lead", &[("name", Value::text("Chairs")), ("user_id", Value::link(SAM))]);
    let other = world.create("crm.lead", &[("name", Value::text("Desks")), ("user_id", Value::link(ADMIN))]);
    world.settle();
    let sees = |user: u32| {
        let found = world.threads(&ThreadFilter::default());
        let records = found.iter().flat_map(|thread| threads::asks_for(user, thread)).collect();
        let readable = block_on(world.engine.readable_among(user, records)).unwrap();
        let seen = found.into_iter().filter(|thread| threads::may_see(user, &readable, thread));
        seen.filter_map(|thread| thread.record).collect::<Vec<_>>()
    };
    assert_eq!(sees(ADMIN), [other, lead], "the owner");
    assert_eq!(sees(SAM), [lead], "who may read the record");
    let reads = world.search_as(READER, "crm.lead", &format!("[('id', 'in', [{lead}, {other}])]"));
    assert_eq!(sees(READER).len(), reads.len());
    // What no user's rights bind is its owner's alone.
    world.rule(&RULE.replace("dispatch", "superuser = true\ndispatch"));
    world.create("crm.lead", &[("name", Value::text("Lamps")), ("user_id", Value::link(SAM))]);
    world.settle();
    assert_eq!(sees(SAM), [lead]);
}

#[test]
fn an_agent_that_only_reads_is_held_to_it_whatever_its_rule_grants() {
    let step = json!({ "tool": "update", "model": "crm.lead", "fields": ["priority"], "why": "to rate it" });
    let plan = json!({ "goal": "rate it", "steps": [step] }).to_string();
    let server = ModelServer::start(move |_, request| {
        let plans = request.get("response_format").is_some();
        Say::This(json!(if plans { plan.as_str() } else { "Looked." }))
    });
    let world = World::with(config(&server));
    let asked_to = |what: &str| RULE.replace("{ prompt", &format!("{{ {what} = \"true\", prompt"));
    for read_only in [false, true] {
        world.agent(&format!("{AGENT}\nread-only = {read_only}"));
        // The answer as a note.
        world.rule(&asked_to("note"));
        let lead = world.lead("Chairs");
        world.settle();
        assert_eq!(world.runs_of("qualify").pop().unwrap().state, RunState::Succeeded);
        assert_eq!(world.notes(lead, "Looked."), usize::from(!read_only));
        // A step that writes.
        world.rule(&asked_to("plan"));
        world.lead("Desks");
        world.settle();
        let run = world.runs_of("qualify").pop().unwrap();
        match read_only {
            false => assert_eq!(run.state, RunState::Succeeded, "{run:?}"),
            true => {
                assert_eq!(run.code.as_deref(), Some("plan-refused"), "{run:?}");
                let why = "the agent's data sources do not include `write` on `crm.lead`";
                let told = run.message.unwrap_or_default();
                assert!(told.contains(why), "{told}");
            }
        }
    }
}

#[test]
fn a_plan_has_the_tools_of_its_agent_and_no_others() {
    let step = json!({ "tool": "update", "model": "crm.lead", "fields": ["priority"], "why": "to rate it" });
    let plan = json!({ "goal": "rate it", "steps": [step] }).to_string();
    let server = ModelServer::start(move |_, request| {
        let plans = request.get("response_format").is_some();
        Say::This(json!(if plans { plan.as_str() } else { "Looked." }))
    });
    let world = World::with(config(&server));
    for (tools, state) in [("search, update", RunState::Succeeded), ("search, note", RunState::Failed)] {
        let tools: Vec<_> = tools.split(", ").collect();
        world.agent(&format!("{AGENT}\ntools = {tools:?}"));
        world.rule(&RULE.replace("{ prompt", "{ plan = \"true\", prompt"));
        world.lead("Chairs");
        world.settle();
        let run = world.runs_of("qualify").pop().unwrap();
        assert_eq!(run.state, state, "{run:?}");
        let refused = run.message.unwrap().contains("step 1 (update on crm.lead): there is no tool `update`");
        assert_eq!(refused, state == RunState::Failed);
    }
}

#[test]
fn a_thread_of_records_that_a_source_gave_is_for_whoever_may_read_all_of_them() {
    let server = diligent();
    let world = World::with(config(&server));
    world.agent(AGENT);
    let new = |name: &str, owner: u32| {
        world.create("crm.lead", &[("name", Value::text(name)), ("user_id", Value::link(owner))])
    };
    let (own, also_own, other) = (new("Pine", SAM), new("Oak", SAM), new("Ash", ADMIN));
    for (names, records, is_sams) in [("'Pine', 'Oak'", [own, also_own], true), ("'Pine', 'Ash'", [own, other], false)]
    {
        let source = format!("source = {{ domain = \"[('name', 'in', [{names}])]\" }}");
        let rule = RULE.replace("\"created\"", "\"manual\"").replace("{{ record.name }}", "them");
        world.rule(&rule.replace("dispatch = \"per-record\"", &source));
        let run = block_on(world.engine.fire("qualify", ADMIN, Trigger::Manual, Vec::new())).unwrap()[0];
        world.settle();
        let thread = world.thread(run).summary;
        let mut about = thread.records.clone();
        about.sort_unstable();
        assert_eq!((thread.state, thread.record, about.as_slice()), (RunState::Succeeded, None, &records[..]));
        let readable = block_on(world.engine.readable_among(SAM, threads::asks_for(SAM, &thread))).unwrap();
        assert_eq!(threads::may_see(SAM, &readable, &thread), is_sams, "{names}");
    }
}

// Shows: F062
#[test]
fn a_record_without_a_chatter_has_no_note_and_the_run_goes_on() {
    let server = ModelServer::of(vec![json!("Looked.")]);
    let world = World::with(config(&server));
    world.agent(AGENT);
    world.rule(
        "name = \"tags\"\nmodel = \"crm.tag\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" } }]",
    );
    let before = world.count("SELECT count(*) FROM mail_message");
    world.create("crm.tag", &[("name", Value::text("New"))]);
    world.settle();
    assert_eq!(world.runs_of("tags")[0].state, RunState::Succeeded);
    assert_eq!(world.count("SELECT count(*) FROM mail_message"), before);
    assert_eq!(world.threads(&ThreadFilter::default()).len(), 1);
}

// Shows: F024
#[test]
fn agents_and_the_rules_that_pick_them_are_checked() {
    let world = World::new();
    let codes = |result: Result<(), RuleError>| match result {
        Err(RuleError::Refused(findings)) => findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    for (toml, administrator, code) in [
        ("name = \"Sales\"", true, "bad-name"),
        ("name = \"a\"\nmodel = \"gpt\"", true, "bad-llm-model"),
        ("name = \"a\"\ntools = [\"shell\"]", true, "unknown-tool"),
        ("name = \"a\"\ncaps = { cost = -1.0 }", true, "bad-caps"),
        ("name = \"a\"\ngrants = [{ model = \"x.y\", operations = [\"read\"] }]", true, "unknown-model"),
        (
            "name = \"a\"\ngrants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"x\"] }]",
            true,
            "unknown-field",
        ),
        ("name = \"a\"", false, "not-an-administrator"),
    ] {
        assert_eq!(codes(world.try_agent(toml, administrator)), [code], "{toml}");
    }
    world.agent("name = \"sales\"\nmodel = \"test/small\"\ntools = [\"search\"]");
    world.agent("name = \"sales\"\nmodel = \"test/small\"\ntools = [\"search\", \"note\"]");
    let conn = world.engine.database().snapshot().unwrap();
    assert_eq!(agents::history(&conn, "sales").unwrap().len(), 2);
    let error = agents::get(&conn, "sale").unwrap_err();
    assert!(error.to_string().contains("did you mean `sales`?"), "{error}");
    drop(conn);

    let check = |action: &str| {
        let rule =
            format!("name = \"r\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\nactions = [{{ {action} }}]");
        world.check(&rule)
    };
    let prompt = "parameters = { prompt = \"Go.\" }";
    assert_eq!(check(&format!("script = \"ai-agent\", {prompt}")), ["agent-required"]);
    assert_eq!(check("script = \"ai-agent\", agent = \"sales\""), ["prompt-required"]);
    assert_eq!(check(&format!("script = \"ai-agent\", agent = \"nobody\", {prompt}")), ["unknown-agent"]);
    assert_eq!(
        check("script = \"update-record\", agent = \"sales\", parameters = { values = \"phone = 1\" }"),
        ["not-an-agent"]
    );
    let more =
        |more: &str| format!("script = \"ai-agent\", agent = \"sales\", parameters = {{ prompt = \"Go.\", {more} }}");
    assert_eq!(check(&more("model = \"test/large\"")), ["agent-decides"]);
    assert_eq!(check(&more("tools = \"update\"")), ["no-tools"]);
    assert_eq!(check(&more("tools = \"note\"")), Vec::<&str>::new());
    assert_eq!(check(&more("tools = \"note, serch\"")), ["unknown-tool"]);
    // What its script would fail at in each run.
    for (good, bad) in [
        ("translations = '{\"fr_FR\": \"Allez.\"}'", "translations = 'fr_FR: Allez.'"),
        ("unique = \"res.partner:email; crm.tag:name\"", "unique = \"res.partner:email; crm.tag\""),
        ("max_steps = \"1\"", "max_steps = \"0\""),
    ] {
        assert_eq!(check(&more(good)), Vec::<&str>::new(), "{good}");
        assert_eq!(check(&more(bad)), ["bad-parameter"], "{bad}");
    }
    // An agent that a rule picks stays.
    world.rule(
        "name = \"r\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Go.\" } }]",
    );
    let at = world.clock_now();
    let delete = move |conn: &rusqlite::Connection| {
        let edit = Edit { by: ADMIN, at, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
        agents::delete(conn, "sales", &edit)
    };
    let refused: Result<(), EngineError> = world.engine.committer().commit_blocking(delete);
    assert_eq!(refused.unwrap_err().code(), "agent-in-use");
}

#[test]
fn an_agent_that_somebody_asks_by_hand_needs_no_record() {
    let server = ModelServer::of(vec![json!("Summed up.")]);
    let world = World::with(config(&server));
    world.agent(include_str!("../../../../guest-examples/agents/assistant.toml"));
    world.rule(include_str!("../../../../guest-examples/agents/pipeline-summary/rule.toml"));
    let run = block_on(world.engine.fire("pipeline-summary", ADMIN, Trigger::Manual, Vec::new())).unwrap()[0];
    world.settle();
    let thread = world.thread(run).summary;
    assert_eq!((thread.state, thread.model, thread.records), (RunState::Succeeded, None, Vec::new()));
    assert_eq!(thread.message.as_deref(), Some("Summed up."));
}

// Shows: F033, F076, F122
#[test]
fn the_sales_report_of_the_examples_comes_by_itself_once_a_day() {
    let text = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&text);
    let server = ModelServer::start(move |_, request| {
        let task = texts(request, "user").remove(0);
        let day = task.split_once("the sales report of ").unwrap().1.get(..10).unwrap().to_owned();
        let text = said.lock().unwrap().clone();
        Say::This(match texts(request, "tool").len() {
            0 => json!([["read_group", { "model": "sale.order", "domain": [["state", "=", "sale"]], "group_by": [],
                                         "aggregates": ["amount_total:sum", "__count"] }]]),
            1 => json!([["create", { "model": "project.task", "values": {
                "name": format!("Sales report {day}"), "project_id": 2, "description": format!("<p>{text}</p>") } }]]),
            _ => json!(text),
        })
    });
    let world = World::with(config(&server));
    world.agent(include_str!("../../../../guest-examples/agents/assistant.toml"));
    world.rule(include_str!("../../../../guest-examples/agents/daily-sales/rule.toml"));
    let hours = |hours: u64| world.pass(Duration::from_secs(hours * 3_600));
    let sold = || {
        let orders = world.search("sale.order", "[('state', '=', 'sale')]");
        let amounts = orders.iter().map(|order| match world.value("sale.order", *order, "amount_total") {
            Value::Number(amount) => amount,
            other => panic!("{other:?}"),
        });
        format!("{} confirmed orders, {:.2} in all.", orders.len(), amounts.sum::<f64>())
    };
    let reports = |day: &str| {
        let found = world.search("project.task", &format!("[('name', '=', 'Sales report {day}')]"));
        found.iter().map(|task| format!("{:?}", world.value("project.task", *task, "description"))).collect::<Vec<_>>()
    };

    // The report of one day, however often the clock is looked at, or somebody wants it again.
    let first = sold();
    text.lock().unwrap().clone_from(&first);
    assert_eq!(world.settle(), 0, "from now on its slots count");
    hours(24);
    assert_eq!(world.settle(), 1);
    hours(2);
    assert_eq!(world.settle(), 0);
    let started = block_on(world.engine.fire("daily-sales", ADMIN, Trigger::Manual, Vec::new()));
    assert!(started.is_ok(), "{started:?}");
    world.settle();
    let states: Vec<_> = world.runs_of("daily-sales").iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Succeeded; 2], "{:?}", world.runs_of("daily-sales"));
    let [report] = reports("2026-11-21").try_into().unwrap();
    assert!(report.contains(&first), "{report}");

    // The next day has its own, with what was sold meanwhile.
    let order = world.search("sale.order", "[('state', '=', 'draft')]")[0];
    world.write("sale.order", order, &[("state", Value::text("sale"))]);
    let second = sold();
    assert_ne!(first, second);
    text.lock().unwrap().clone_from(&second);
    hours(22);
    assert_eq!(world.settle(), 1);
    let [report] = reports("2026-11-22").try_into().unwrap();
    assert!(report.contains(&second), "{report}");
    assert_eq!((reports("2026-11-21").len(), reports("2026-11-20").len()), (1, 0));
}
