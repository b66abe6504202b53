//! Scripts as tools of an agent: run within its run, with a part of its rights, on its limits, and undone where they fail. A
//! real HTTP server plays the language model.

use guest_artifacts::{
    AI_AGENT, DEMO_LOOP_FOREVER, DEMO_WRITE_THEN_TRAP, Guest, LEAD_SCORING, LEAVES_BEHIND, SCRIPT_IN_SCRIPT,
};
use serde_json::{Value as Json, json};
use triggerbox_automation::{
    replay::Verdict,
    runs::{RunDetail, RunState},
    scripts::{registry, upload},
};
use triggerbox_model::{call::Call, value::Value};
use triggerbox_sandbox::{LogLevel, inspect::embed_manifest};

use crate::{
    agents::config,
    model::{ModelServer, Say, texts},
    world::{ADMIN, MANAGER, World, block_on},
};

/// A rule by hand on leads, whose agent may do what scoring takes, and change an order.
fn rule(action: &str) -> String {
    format!(
        r#"
        name = "ask"
        model = "crm.lead"
        trigger = {{ on = "created" }}
        [[actions]]
        script = "ai-agent"
        agent = "sales"
        parameters = {{ prompt = "Score {{{{ records[0].name }}}}." }}
        {action}
        [[actions.grants]]
        model = "crm.lead"
        operations = ["read", "write", "activity"]
        fields = ["name", "partner_name", "function", "email_from", "phone", "expected_revenue", "description", "tag_ids", "user_id", "priority"]
        [[actions.grants]]
        model = "crm.tag"
        operations = ["read", "create"]
        fields = ["name"]
        [[actions.grants]]
        model = "sale.order"
        operations = ["read", "write", "note"]
        fields = ["name", "note", "client_order_ref"]
        "#
    )
}

/// A model that calls these tools, one turn after the other, and then says what it was answered last.
fn turns(calls: Vec<Json>) -> ModelServer {
    ModelServer::start(move |_, request| {
        let answered = texts(request, "tool");
        Say::This(match calls.get(answered.len()) {
            Some(call) => json!([call]),
            None => json!(answered.last().unwrap()),
        })
    })
}

/// The company with an agent that has these scripts, after a lead was made.
fn office(server: &ModelServer, scripts: &[&Guest], action: &str) -> (World, u32, RunDetail) {
    let world = World::with(config(server));
    for script in scripts {
        world.script(script);
    }
    let names: Vec<_> = scripts.iter().map(|script| format!("{:?}", script.name)).collect();
    world.agent(&format!("name = \"sales\"\nscripts = [{}]", names.join(", ")));
    world.rule(&rule(action));
    let lead = world.lead("Chairs");
    world.settle();
    let run = world.run(world.runs_of("ask").remove(0).id);
    (world, lead, run)
}

/// A guest with another manifest.
fn remade(guest: &Guest, from: &str, to: &str) -> Guest {
    let manifest = guest.manifest.unwrap();
    assert!(manifest.contains(from), "{manifest}");
    let manifest: &'static str = manifest.replace(from, to).leak();
    Guest { name: guest.name, component: guest.component, manifest: Some(manifest) }
}

fn message(run: &RunDetail) -> &str {
    run.summary.message.as_deref().unwrap()
}

// Shows: F133, F036, F129
#[test]
fn a_script_is_a_tool_with_its_parameters_as_schema_and_does_its_work_within_the_run() {
    let lead = 21;
    let arguments =
        json!({ "model": "crm.lead", "ids": [lead], "parameters": { "warm_tag": "Tepid", "phone_points": 30 } });
    let update = json!(["update", { "model": "crm.lead", "id": lead, "values": { "phone": "+32 2 555 01 01" } }]);
    let server = turns(vec![update, json!(["lead-scoring", arguments])]);
    let (world, made, run) = office(&server, &[&LEAD_SCORING], "");
    assert_eq!((made, run.summary.state), (lead, RunState::Succeeded), "{run:#?}");
    // It saw what the run had staged before it, and its own changes are the run's.
    assert!(message(&run).contains("Chairs 30"), "{}", message(&run));
    let description = format!("{:?}", world.value("crm.lead", lead, "description"));
    assert!(description.contains("Lead score: 30"), "{description}");
    assert_eq!(world.search("crm.tag", "[('name', '=', 'Tepid')]").len(), 1);

    let asked = server.asked().remove(0);
    let tools = asked["tools"].as_array().unwrap();
    let tool = &tools.iter().find(|tool| tool["function"]["name"] == "lead-scoring").unwrap()["function"];
    assert_eq!(tool["description"], "Scores leads from 0 to 100, tags them and schedules a follow-up for the best.");
    assert_eq!(tool["parameters"]["properties"]["model"]["enum"], json!(["crm.lead", "crm.tag"]));
    let points = &tool["parameters"]["properties"]["parameters"]["properties"]["phone_points"];
    assert_eq!(*points, json!({ "type": "integer", "description": "Points for a phone number." }));

    // Its calls are on the run, its use is the run's, and the run replays to the last unit of fuel.
    let recording = world.engine.recordings(run.summary.id).unwrap().remove(0);
    let of_script = recording.entries.iter().find(|entry| !entry.within.is_empty()).unwrap();
    assert!(matches!(&of_script.call, Call::CallMethod { method, .. } if method == "script.run"));
    assert!(of_script.within.iter().any(|entry| matches!(entry.call, Call::Ensure { .. })));
    let used = &run.attempts[0].report["used"];
    assert!(used["write-calls"].as_u64().unwrap() >= 4, "{used}");
    let replayed = block_on(world.engine.replay(run.summary.id, None)).unwrap().remove(0);
    assert_eq!((replayed.verdict, replayed.fuel), (Verdict::Same, replayed.fuel_then));
    assert!(replayed.fuel > recording.limits.get(triggerbox_model::limits::Limit::HostCalls));
}

// Shows: F133, F016
#[test]
fn what_a_script_did_is_undone_when_it_breaks_and_the_run_goes_on() {
    let tag = |name: &str| json!(["create", { "model": "crm.tag", "values": { "name": name } }]);
    let breaks = json!(["demo-write-then-trap", { "model": "sale.order", "ids": [1] }]);
    let server = turns(vec![tag("Before"), breaks.clone(), tag("After"), breaks]);
    let (world, _, run) = office(&server, &[&DEMO_WRITE_THEN_TRAP], "");
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:#?}");
    assert!(message(&run).contains("`demo-write-then-trap`: the script panicked"), "{}", message(&run));
    for name in ["Before", "After"] {
        assert_eq!(world.search("crm.tag", &format!("[('name', '=', '{name}')]")).len(), 1, "{name}");
    }
    assert_ne!(world.value("sale.order", 1, "client_order_ref"), Value::text("HALF DONE"));
    assert_eq!(world.search("mail.message", "[('body', 'ilike', 'Half done')]"), Vec::<u32>::new());
    // What it logged, and where it broke, is in the run's log.
    let log: Vec<_> = run.attempts[0].log.iter().map(|line| (line.level, line.message.as_str())).collect();
    let logged =
        log.iter().filter(|(_, line)| line.starts_with("demo-write-then-trap: ") && line.contains("is half done"));
    assert_eq!(logged.count(), 2, "{log:#?}");
    let broke = |(level, line): &&(LogLevel, &str)| *level == LogLevel::Warning && line.contains("divide_the_total");
    assert_eq!(log.iter().filter(broke).count(), 2, "{log:#?}");
    let replayed = block_on(world.engine.replay(run.summary.id, None)).unwrap().remove(0);
    assert_eq!((replayed.verdict, replayed.fuel), (Verdict::Same, replayed.fuel_then));
}

// Shows: F133
#[test]
fn a_script_has_what_is_left_of_the_runs_limits_and_no_more_than_it_asks_for() {
    let loops = || turns(vec![json!(["demo-loop-forever", {}])]);
    // By its own manifest: the tool fails.
    let bounded = remade(&DEMO_LOOP_FOREVER, "[script]", "[limits]\nfuel = 3_000_000\n\n[script]");
    let (_, _, run) = office(&loops(), &[&bounded], "");
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:#?}");
    assert!(
        message(&run).contains("limit exceeded: fuel") && message(&run).contains("of at most 3000000"),
        "{}",
        message(&run)
    );
    let spent = run.attempts[0].report["used"]["fuel"].as_u64().unwrap();
    assert!(spent > 3_000_000, "its fuel is the run's: {spent}");
    // By its own clock, however much of the rest it has: the run goes on.
    let hurried = "[limits]\nwall-time = 50\ncpu-time = 60_000\nfuel = 900_000_000\n\n[script]";
    let hurried = remade(&DEMO_LOOP_FOREVER, "[script]", hurried);
    let (_, _, run) = office(&loops(), &[&hurried], "limits = { wall-time = 60_000, cpu-time = 60_000 }");
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:#?}");
    assert!(message(&run).contains("limit exceeded: wall-time"), "{}", message(&run));
    // By what the run had left: the run is over, for no script can catch a limit.
    let (_, _, run) = office(&loops(), &[&DEMO_LOOP_FOREVER], "limits = { fuel = 200_000_000 }");
    assert_eq!(
        (run.summary.state, run.summary.code.as_deref()),
        (RunState::Failed, Some("limit-exceeded")),
        "{run:#?}"
    );
    assert!(message(&run).contains("fuel"), "{}", message(&run));
}

// Shows: F133, F055, F058
#[test]
fn what_a_script_asks_a_model_is_on_the_runs_budget_and_in_its_thread() {
    let asks = remade(&AI_AGENT, "name = \"ai-agent\"", "name = \"second-opinion\"");
    let asks = Guest { name: "second-opinion", ..asks };
    let server = || {
        ModelServer::start(|_, request| {
            Say::This(match (texts(request, "user")[0].contains("Judge it."), texts(request, "tool").is_empty()) {
                (true, _) => json!("It is a good one."),
                (false, true) => json!([["second-opinion", { "parameters": { "prompt": "Judge it." } }]]),
                (false, false) => json!("Asked."),
            })
        })
    };
    let asked = server();
    let (world, _, run) = office(&asked, &[&asks], "limits = { llm-calls = 3 }");
    assert_eq!((run.summary.state, asked.asked().len()), (RunState::Succeeded, 3), "{run:#?}");
    assert!(texts(&asked.asked()[2], "tool")[0].contains("It is a good one."));
    let thread = serde_json::to_string(&world.thread(run.summary.id)).unwrap();
    assert!(thread.contains("Judge it.") && thread.contains("It is a good one."), "{thread}");
    assert_eq!(world.thread(run.summary.id).summary.used.calls, 3);
    // The script asked twice as often as the run has left.
    let asked = server();
    let (_, _, run) = office(&asked, &[&asks], "limits = { llm-calls = 2 }");
    assert_eq!((run.summary.code.as_deref(), asked.asked().len()), (Some("limit-exceeded"), 2), "{run:#?}");
    let asked = server();
    let (_, _, run) = office(&asked, &[&asks], "limits = { llm-calls = 1 }");
    assert_eq!((run.summary.code.as_deref(), asked.asked().len()), (Some("limit-exceeded"), 1), "{run:#?}");
}

// Shows: F133, F018, F026
#[test]
fn a_script_may_do_what_it_asks_for_of_what_agent_and_rule_grant() {
    let score = json!(["lead-scoring", { "model": "crm.lead", "ids": [21] }]);
    let refused = |agent: &str, rule: &str, manifest: (&str, &str)| {
        let server = turns(vec![score.clone()]);
        let world = World::with(config(&server));
        world.script(&remade(&LEAD_SCORING, manifest.0, manifest.1));
        world.agent(&format!("name = \"sales\"\nscripts = [\"lead-scoring\"]\n{agent}"));
        world.rule(rule);
        let lead = world.lead("Chairs");
        world.settle();
        let run = world.run(world.runs_of("ask").remove(0).id);
        assert_eq!((lead, run.summary.state), (21, RunState::Succeeded), "{run:#?}");
        assert_eq!(world.value("crm.lead", lead, "description"), Value::Unset, "nothing is half done");
        let refusals = run.attempts[0].report["refusals"].as_array().unwrap().clone();
        assert!(message(&run).contains("lead-scoring"), "{}", message(&run));
        refusals.iter().map(|refusal| refusal["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = rule("");
    let same = ("version", "version");
    let narrow = whole.replace("\"description\", ", "");
    assert_eq!(refused("", &narrow, same), ["refused-by-rule"]);
    let data = "grants = [{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\"] }, \
                { model = \"crm.tag\", operations = [\"read\", \"create\"], fields = [\"name\"] }]";
    assert!(refused(data, &whole, same).contains(&"refused-by-agent".to_owned()));
    // The rule grants it, and the script did not ask for it.
    let quiet = ("\"phone\", \"expected_revenue\", \"description\"", "\"phone\", \"expected_revenue\"");
    assert_eq!(refused("", &whole, quiet), ["refused-by-script"]);
    // An agent that only reads has scripts that only read.
    assert_eq!(refused("read-only = true", &whole, same), ["refused-by-script"]);
}

// Shows: F133
#[test]
fn a_script_that_is_a_tool_has_no_tools() {
    let server = turns(vec![json!(["script-in-script", {}])]);
    let (_, _, run) = office(&server, &[&SCRIPT_IN_SCRIPT], "");
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:#?}");
    assert!(message(&run).contains("a script that runs as a tool has no scripts as tools itself"), "{}", message(&run));
    assert_eq!(run.attempts[0].report["refusals"][0]["code"], "no-tools-within");
}

// Shows: F133
#[test]
fn a_script_leaves_nothing_behind_that_misleads_the_agent() {
    let tool = |ids: Json| json!(["leaves-behind", { "model": "crm.lead", "ids": ids }]);
    let count =
        |order: &str| json!(["search", { "model": "crm.lead", "fields": ["name"], "limit": 1, "order": order }]);
    let context = json!({ "context": { "active_test": false } });
    let enter = json!(["call", { "model": "crm.lead", "id": 1, "method": "with_context", "arguments": context }]);
    let calls = vec![
        tool(json!([])),
        count("id"),
        enter,
        tool(json!([1])),
        count("name"),
        tool(json!([1, 2])),
        count("id desc"),
    ];
    let server = turns(calls);
    let world = World::with(config(&server));
    world.script(&LEAVES_BEHIND);
    world.create("crm.lead", &[("name", Value::text("Old")), ("active", Value::Boolean(false))]);
    world.agent("name = \"sales\"\nscripts = [\"leaves-behind\"]");
    let call = "\"activity\", \"call\"]\n        methods = [\"action_set_won\"]";
    world.rule(&rule("").replacen("\"activity\"]", call, 1));
    world.lead("Chairs");
    world.settle();
    let run = world.run(world.runs_of("ask").remove(0).id);
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:#?}");
    let live = world.search("crm.lead", "[]").len();
    let all = world.search("crm.lead", "[('active', 'in', [True, False])]").len();
    assert!(live < all, "{live} of {all}");

    let asked = server.asked();
    let answers = texts(asked.last().unwrap(), "tool");
    let (scripts, few, many) =
        (format!("{live} and {all}"), format!("\"total\":{live}}}"), format!("\"total\":{all}}}"));
    // The script begins in the run's own context, and the one that it sets ends with it, whatever it comes to.
    for (nth, told) in [(0, &scripts), (1, &few), (3, &scripts), (4, &many), (6, &many)] {
        assert!(answers[nth].contains(told), "{nth}: {told} in {answers:#?}");
    }
    // The next new record is given this number again.
    assert!(answers[5].contains("made (a new record)"), "{answers:#?}");
}

// Shows: F133, F103
#[test]
fn a_plan_judges_a_script_by_all_that_it_asks_for() {
    let planned = |rule: &str| {
        let server = ModelServer::start(|_, request| {
            let step = json!({ "tool": "lead-scoring", "model": "crm.lead", "fields": [], "why": "it is asked for" });
            Say::This(match (request.get("response_format").is_some(), texts(request, "tool").is_empty()) {
                (true, _) => json!(json!({ "goal": "score it", "steps": [step] }).to_string()),
                (false, true) => json!([["lead-scoring", { "model": "crm.lead", "ids": [21] }]]),
                (false, false) => json!("Scored."),
            })
        });
        let world = World::with(config(&server));
        world.script(&LEAD_SCORING);
        world.agent("name = \"sales\"\nscripts = [\"lead-scoring\"]");
        world.rule(&rule.replace("Score {{ records[0].name }}.\"", "Score {{ records[0].name }}.\", plan = \"true\""));
        world.lead("Chairs");
        world.settle();
        let run = world.runs_of("ask").remove(0);
        (run, format!("{:?}", world.value("crm.lead", 21, "description")))
    };
    let (run, description) = planned(&rule(""));
    assert_eq!((run.state, run.message.as_deref()), (RunState::Succeeded, Some("Scored.")));
    assert!(description.contains("Lead score"), "{description}");
    let (run, description) = planned(&rule("").replace("\"write\", \"activity\"", "\"write\""));
    assert_eq!((run.state, run.code.as_deref(), run.attempt), (RunState::Failed, Some("plan-refused"), 1));
    let said = run.message.unwrap_or_default();
    assert!(said.contains("the plan is not allowed") && said.contains("activity"), "{said}");
    assert!(!description.contains("Lead score"), "{description}");
}

// Shows: F133, F024
#[test]
fn the_scripts_of_an_agent_are_checked_and_a_rule_can_only_leave_some_out() {
    let world = World::with(config(&turns(Vec::new())));
    world.script(&LEAD_SCORING);
    for (scripts, code) in [
        ("\"nobodys\"", "unknown-script"),
        ("\"lead-scoring@00000000\"", "script-gone"),
        ("\"lead-scoring\", \"lead-scoring\"", "tool-twice"),
        ("\"update-record\"", "not-a-tool"),
        ("\"ai-agent\"", "not-a-tool"),
    ] {
        let error = world.try_agent(&format!("name = \"a\"\nscripts = [{scripts}]"), true).unwrap_err();
        assert!(format!("{error:?}").contains(code), "{error:?}");
    }
    world.agent("name = \"sales\"\ntools = [\"search\"]\nscripts = [\"lead-scoring\"]");
    let check = |tools: &str| {
        world
            .check(&rule("").replace("records[0].name }}.\"", &format!("records[0].name }}}}.\", tools = \"{tools}\"")))
    };
    assert!(check("note").contains(&"no-tools"));
    for good in ["lead-scoring", "search", "search, lead-scoring"] {
        assert_eq!(check(good), Vec::<&str>::new(), "{good}");
    }
}

// Shows: F133
#[test]
fn who_uploaded_a_script_of_the_agent_approves_none_of_its_changes() {
    let server = turns(vec![json!(["lead-scoring", { "model": "crm.lead", "ids": [21] }])]);
    let world = World::with(config(&server));
    let component = embed_manifest(LEAD_SCORING.component, LEAD_SCORING.manifest.unwrap()).unwrap();
    let upload = upload::inspect(component).unwrap();
    let now = triggerbox_automation::Clock::now(&*world.clock);
    world.commit(move |conn| {
        registry::store(conn, &upload, MANAGER, now).map_err(triggerbox_automation::EngineError::from)
    });
    world.agent("name = \"sales\"\nmode = \"approve\"\nscripts = [\"lead-scoring\"]");
    world.rule(&rule(""));
    world.lead("Chairs");
    world.settle();
    let run = world.runs_of("ask").remove(0);
    assert_eq!(run.state, RunState::WaitingApproval, "{run:?}");
    let proposal = world.engine.proposal(run.id).unwrap().unwrap();
    let refused = block_on(world.engine.approve(run.id, proposal.hash, MANAGER, "")).unwrap_err();
    assert!(refused.to_string().contains("uploaded a script of the agent"), "{refused}");
    let refused = block_on(world.engine.approve(run.id, proposal.hash, ADMIN, "")).unwrap_err();
    assert!(refused.to_string().contains("owns the rule"), "{refused}");
}
