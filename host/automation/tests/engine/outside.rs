//! Models and services that are not available for a while: the run waits and is tried again, what was answered is not
//! asked again, and somebody is told when it does not pass. The provider is a scripted server on loopback.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value as Json, json};
use triggerbox_automation::{
    Config,
    runs::{RunId, RunState},
};
use triggerbox_llm::{Services, config::Budgets, http::Web, ledger};
use triggerbox_model::{
    event::Trigger,
    limits::Scope,
    value::{Id, Value},
};

use crate::{
    provider::{self, Server, Step},
    world::{ADMIN, World, block_on},
};

/// The demo company, and a provider that it asks.
struct Office {
    world: World,
    server: Server,
    lead: Id,
    /// The provider's.
    _runtime: tokio::runtime::Runtime,
}

/// The client's own tries of one question: one and three more.
const TRIES: usize = 4;

impl Office {
    fn new(steps: Vec<Step>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(steps));
        let clock = provider::TestClock::new();
        let models = provider::live("openai", &server, &clock);
        let web = Some(Web::new(&[], &provider::env, None).unwrap());
        let services = Services { models, web, budgets: Budgets::default(), clock };
        let world = World::with(Config { outside: Some(Arc::new(services)), ..Config::default() });
        world.agent("name = \"rater\"");
        world.rule(
            r#"
            name = "agent"
            model = "crm.lead"
            trigger = { on = "manual" }
            [[actions]]
            script = "ai-agent"
            agent = "rater"
            parameters = { prompt = "Rate the lead.", note = "true" }
            [[actions.grants]]
            model = "crm.lead"
            operations = ["read", "write", "note"]
            fields = ["name", "priority"]
            "#,
        );
        world.rule(&format!(
            r#"
            name = "tell"
            model = "crm.lead"
            trigger = {{ on = "manual" }}
            [[actions]]
            script = "call-webhook"
            parameters = {{ url = "{url}/hook" }}
            http = [{{ methods = ["POST"], url = "{url}/hook", private = true }}]
            "#,
            url = server.url
        ));
        let lead = world.lead("Looms");
        Self { world, server, lead, _runtime: runtime }
    }

    fn fire(&self, rule: &str) -> RunId {
        block_on(self.world.engine.fire(rule, ADMIN, Trigger::Manual, vec![self.lead])).unwrap()[0]
    }

    /// Where a run stands, and how often it was started.
    fn stand(&self, run: RunId) -> (RunState, u32, Option<String>) {
        let summary = self.world.run(run).summary;
        (summary.state, summary.attempt, summary.code)
    }

    /// Lets the longest wait pass, and has the run tried.
    fn later(&self) {
        self.world.pass(Duration::from_secs(601));
        self.world.settle();
    }
}

fn broken() -> Vec<Step> {
    vec![Step::status(503, "{}"); TRIES]
}

/// A model that uses a tool.
fn uses(name: &str, arguments: &Json) -> Step {
    Step::json(&json!({
        "model": "small", "usage": { "prompt_tokens": 100, "completion_tokens": 20 },
        "choices": [{ "finish_reason": "tool_calls", "message": { "content": null, "tool_calls": [
            { "id": "t1", "type": "function", "function": { "name": name, "arguments": arguments.to_string() } },
        ] } }],
    }))
}

fn says(text: &str) -> Step {
    Step::json(&provider::answer("openai", text))
}

// Shows: F041, F059
#[test]
fn a_run_whose_model_is_away_waits_and_keeps_the_answers_that_it_has() {
    let raise = uses("update", &json!({ "model": "crm.lead", "id": 21, "values": { "priority": "3" } }));
    let office = Office::new([vec![raise], broken(), vec![says("Raised.")]].concat());
    let (world, lead) = (&office.world, office.lead);
    assert_eq!(lead, 21);
    let spent = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&spent);
    assert!(world.engine.observe(Box::new(move |attempt| told.lock().unwrap().push(attempt.spent.tokens))));
    let run = office.fire("agent");
    world.settle();
    assert_eq!(office.stand(run), (RunState::Queued, 1, Some("unavailable".to_owned())));
    let waiting = world.run(run).summary;
    assert!(waiting.message.unwrap().contains("test failed (503) 4 times in a row"));
    let wait = waiting.due.as_millisecond() - world.engine.clock().now().as_millisecond();
    assert!((500..=1_000).contains(&wait), "the first wait is a second, with jitter: {wait} ms");
    assert_ne!(world.value("crm.lead", lead, "priority"), Value::text("3"), "nothing is half done");
    assert_eq!(world.settle(), 0, "not before it is due");

    office.later();
    let detail = world.run(run);
    assert_eq!((detail.summary.state, detail.summary.attempt), (RunState::Succeeded, 2), "{detail:?}");
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("3"));
    // The run stands for its record, and what it has to say is on it.
    assert_eq!((detail.summary.model.as_deref(), detail.summary.record), (Some("crm.lead"), Some(lead)));
    let note = "SELECT count(*) FROM mail_message WHERE model = 'crm.lead' AND res_id = 21 AND body LIKE '%Raised.%'";
    assert_eq!(world.count(note), 1);
    let codes: Vec<_> = detail.attempts.iter().map(|attempt| attempt.code.as_str()).collect();
    assert_eq!(codes, ["unavailable", "applied"]);
    // The first question was asked once: its answer was on the disk.
    assert_eq!(office.server.seen().len(), 1 + TRIES + 1);
    let conn = world.engine.database().snapshot().unwrap();
    let calls = ledger::calls(&conn, &detail.summary.key).unwrap();
    let states: Vec<_> = calls.iter().map(|call| call.state.as_str()).collect();
    assert_eq!(states, ["answered", "failed", "answered"]);
    let used = triggerbox_llm::budget::used(&conn, Scope::Run, &detail.summary.key).unwrap();
    assert_eq!((used.calls, used.tokens), (2, 240), "what failed costs nothing, and nothing is paid twice");
    assert_eq!(*spent.lock().unwrap(), [120, 120], "and what each try spent is told without what it was given again");
}

#[test]
fn a_model_that_stays_away_makes_a_dead_letter_that_can_be_requeued() {
    let office = Office::new([vec![broken(); 9].concat(), vec![says("Fine.")]].concat());
    let run = office.fire("agent");
    office.world.settle();
    for retries in 1..=8 {
        assert_eq!(office.stand(run), (RunState::Queued, retries, Some("unavailable".to_owned())));
        office.later();
    }
    assert_eq!(office.stand(run), (RunState::Dead, 9, Some("unavailable".to_owned())));
    office.later();
    assert_eq!(office.stand(run).1, 9, "nothing more happens by itself");
    let requeue = || block_on(office.world.engine.requeue("agent", RunState::Dead)).unwrap();
    assert_eq!((requeue(), requeue()), (vec![run], vec![]));
    office.world.settle();
    assert_eq!(office.stand(run).0, RunState::Succeeded);
}

#[test]
fn a_provider_that_says_when_to_come_back_is_asked_then() {
    // Longer than the client itself waits.
    let busy = Step::Say(429, vec![("retry-after", "1800".to_owned())], "{}".to_owned());
    let office = Office::new(vec![busy, says("Fine.")]);
    let run = office.fire("agent");
    office.world.settle();
    let (due, now) = (office.world.run(run).summary.due, office.world.engine.clock().now());
    assert_eq!(due.duration_since(now).as_secs(), 1_800);
    office.later();
    assert_eq!(office.stand(run).0, RunState::Queued);
    office.world.pass(Duration::from_secs(1_800));
    office.world.settle();
    assert_eq!(office.stand(run).0, RunState::Succeeded);
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    let office = Office::new(vec![Step::status(401, "{}")]);
    let run = office.fire("agent");
    office.world.settle();
    assert_eq!(office.stand(run), (RunState::Failed, 1, Some("failed".to_owned())));
    // And a service that says no, as against one that is not there.
    let office = Office::new(vec![Step::status(422, "{}")]);
    let run = office.fire("tell");
    office.world.settle();
    assert_eq!(office.stand(run), (RunState::Failed, 1, Some("failed".to_owned())));
}

#[test]
fn a_service_that_is_away_is_sent_the_same_delivery_again() {
    let office = Office::new(vec![Step::status(503, ""), Step::CutOff, Step::status(200, "")]);
    let run = office.fire("tell");
    office.world.settle();
    assert_eq!(office.stand(run), (RunState::Queued, 1, Some("unavailable".to_owned())), "{:?}", office.world.run(run));
    office.later();
    assert_eq!(office.stand(run), (RunState::Queued, 2, Some("unavailable".to_owned())));
    office.later();
    assert_eq!(office.stand(run).0, RunState::Succeeded);
    let seen = office.server.seen();
    let body = seen[2].json();
    assert_eq!(
        (&body["_action"], &body["_model"], &body["id"]),
        (&json!("tell"), &json!("crm.lead"), &json!(office.lead))
    );
    let keys: Vec<_> = seen
        .iter()
        .map(|seen| seen.head.lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned())
        .collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_request_of_which_nobody_knows_is_made_again_when_somebody_says_so() {
    let office = Office::new(vec![Step::status(422, ""), Step::status(200, "")]);
    let run = office.fire("tell");
    office.world.settle();
    assert_eq!(office.stand(run).0, RunState::Failed);
    // As a host that died while a request was out leaves it, one that says nothing by which it could be told again.
    office.world.commit(move |conn| {
        conn.execute("UPDATE llm_call SET state = 'unknown', reply = NULL", [])?;
        conn.execute("UPDATE engine_run SET state = 'outcome-unknown' WHERE id = ?", [run])?;
        Ok::<_, triggerbox_store::db::DbError>(())
    });
    block_on(office.world.engine.retry(run)).unwrap();
    assert_eq!(office.world.count("SELECT count(*) FROM llm_call WHERE state = 'failed'"), 1, "it is let go");
    office.world.settle();
    assert_eq!((office.stand(run).0, office.server.seen().len()), (RunState::Succeeded, 2));
}
