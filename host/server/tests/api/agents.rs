//! Agents and threads over HTTP, with a language model that is a real server on loopback.

use std::sync::{Arc, OnceLock};

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use triggerbox_automation::{Engine, Origin};
use triggerbox_llm::{Models, Services, SystemClock};
use triggerbox_model::{
    call::Call,
    value::{FieldValue, Value},
};
use triggerbox_server::{Config, people::Role, tokens::Scope};

use crate::{
    browser::Browser,
    model::{ModelServer, Say, texts},
    pages::PAYLOADS,
    world::{ADMIN, MANAGER, SAM, World, eventually},
};

pub(crate) fn services(server: &ModelServer) -> Arc<Services> {
    let config = triggerbox_llm::Config::parse(&server.providers()).unwrap();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(SystemClock);
    let budgets = config.budgets.clone();
    let models = Models::live(config, &clock, &|_| Some("a-key-for-tests".to_owned())).unwrap();
    Arc::new(Services { models, web: None, budgets, clock })
}

// Shows: F025, F027, F029, F066, F067
#[tokio::test]
async fn agents_are_kept_and_threads_are_read_by_who_may() {
    let server = ModelServer::of(vec![json!("Looked at it.")]);
    let world = World::with_outside(Config::default(), Some(services(&server))).await;
    let agent = json!({ "name": "sales", "system": "Be brief.", "mode": "approve" });
    assert_eq!(world.call("PUT", "/api/v1/agents/sales", agent.clone()).await.good(201)["outcome"], "created");
    assert_eq!(world.call("PUT", "/api/v1/agents/sales", agent.clone()).await.good(200)["outcome"], "unchanged");
    assert_eq!(world.call("PUT", "/api/v1/agents/other", agent.clone()).await.code(400), "another-name");
    let bad = json!({ "name": "bad", "tools": ["shell"] });
    let refused = world.call("PUT", "/api/v1/agents/bad", bad).await;
    assert_eq!(
        (refused.code(422), &refused.json()["findings"][0]["code"]),
        ("rule-refused".into(), &json!("unknown-tool"))
    );
    assert_eq!(world.get("/api/v1/agents").await.good(200)["agents"][0]["agent"], agent);
    assert!(world.get("/api/v1/agents/sales/file").await.text().contains("name = \"sales\""));
    assert_eq!(world.get("/api/v1/agents/sales/versions").await.good(200)["versions"][0]["version"], 1);
    assert_eq!(world.get("/api/v1/agents/nobody").await.code(404), "unknown-agent");
    let sam = world.token(SAM, &Scope::ALL).await;
    let edit = world.call_as(&sam, "PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await;
    assert_eq!(edit.json()["findings"][0]["code"], "not-an-administrator");

    let rule = "name = \"look\"\ntitle = \"Look at leads\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" },\n\
                grants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }] }]";
    world.rule(rule).await.good(201);
    assert_eq!(world.call("DELETE", "/api/v1/agents/sales", json!(null)).await.code(409), "agent-in-use");
    let (mine, runs) = world.lead("Chairs").await;
    world.ended(runs[0]).await;
    let body = json!({ "records": [{ "name": "Desks", "user_id": SAM }] });
    let his = world.call("POST", "/api/v1/records/crm.lead", body).await.good(201);
    world.ended(his["runs"][0].as_i64().unwrap()).await;

    let threads = world.get("/api/v1/threads?rule=look").await.good(200);
    let found = threads["threads"].as_array().unwrap();
    assert_eq!((found.len(), &found[0]["name"], &found[0]["agent"]), (2, &json!("Look at leads"), &json!("sales")));
    assert_eq!(found[1]["record"], mine);
    let page = world.get("/api/v1/threads?limit=1").await.good(200);
    assert_eq!(page["next"], page["threads"][0]["id"]);
    let full = world.get(&format!("/api/v1/threads/{}", runs[0])).await.good(200);
    let kinds: Vec<_> = full["entries"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["system", "user", "assistant"]);
    assert_eq!(full["used"]["calls"], 1);
    // Sam sees the thread of his own lead only.
    let seen = world.get_as(&sam, "/api/v1/threads").await.good(200);
    assert_eq!(seen["threads"].as_array().unwrap().len(), 1);
    assert_eq!(seen["threads"][0]["record"], his["ids"][0]);
    assert_eq!(world.get_as(&sam, &format!("/api/v1/threads/{}", runs[0])).await.code(404), "unknown-thread");
    assert_eq!(world.get("/api/v1/threads/999").await.code(404), "unknown-thread");
    let renew = format!("/api/v1/threads/{}/renew", runs[0]);
    assert_eq!(world.call("POST", &renew, json!(null)).await.code(409), "no-session");
}

// Shows: F081, F087
#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_conflicts_and_of_what_models_cost() {
    let engine = Arc::new(OnceLock::<(Engine, u32)>::new());
    let theirs = Arc::clone(&engine);
    // It raises the lead, and while it thinks somebody else finds its number, once.
    let server = ModelServer::start(move |nth, request| match texts(request, "tool").len() {
        0 => Say::This(
            json!([["update", { "model": "crm.lead", "id": theirs.wait().1, "values": { "priority": "3" } }]]),
        ),
        _ => {
            if nth == 1 {
                let (engine, lead) = theirs.wait();
                let phone = vec![FieldValue::new("phone", Value::text("02 555 01 02"))];
                let write = Call::Write { model: "crm.lead".into(), ids: vec![*lead], values: phone };
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(engine.change(Origin::user(ADMIN), vec![write])).unwrap();
            }
            Say::This(json!("Raised."))
        }
    });
    let mut config = Config::default();
    config.metrics.open = true;
    let world = World::with_outside(config, Some(services(&server))).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    let rule = "name = \"raise\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Raise it.\" },\n\
                grants = [{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\", \"phone\", \"priority\"] }] }]";
    world.rule(rule).await.good(201);
    let (lead, _) = world.lead("Chairs").await;
    assert!(engine.set((world.app.engine().clone(), lead)).is_ok());
    let fired = world.call("POST", "/api/v1/rules/raise/run", json!({ "records": [lead] })).await.good(202);
    let run = world.ended(fired["runs"][0].as_i64().unwrap()).await;
    let codes: Vec<_> = run["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["code"]).collect();
    assert_eq!((codes, &run["state"]), (vec![&json!("conflict"), &json!("applied")], &json!("succeeded")), "{run}");
    assert_eq!(server.asked().len(), 4, "asked with the record as it was, and as it is");
    let page = eventually(async || {
        let page = world.send(world.request("GET", "/metrics")).await.text();
        page.contains("triggerbox_tries_total{rule=\"raise\",state=\"succeeded\"} 1").then_some(page)
    })
    .await;
    for line in [
        "triggerbox_conflicts_total{rule=\"raise\"} 1",
        "triggerbox_tries_total{rule=\"raise\",state=\"queued\"} 1",
        "triggerbox_llm_tokens_total{rule=\"raise\"} 480",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    // Four answers of 100 tokens at 2 euros a million and 20 at 8, as the ledger has it.
    let cost = page.split("triggerbox_llm_cost_euros_total{rule=\"raise\"} ").nth(1).unwrap().lines().next().unwrap();
    assert!((cost.parse::<f64>().unwrap() - 4.0 * 0.000_36).abs() < 1e-9, "{cost}");
    // What is only tried costs as much.
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let shown = admin.post(&format!("/runs/{}/dry-run", run["id"]), &[]).await.text();
    assert_eq!(server.asked().len(), 6, "{shown}");
    let page = world.send(world.request("GET", "/metrics")).await.text();
    assert!(page.contains("triggerbox_llm_tokens_total{rule=\"raise\"} 720"), "{page}");
}

/// A schedule, and what it is for.
const DAILY: &str = "{ on = \"schedule\", cron = \"0 9 * * *\" }\nsource = { domain = \"[('name', '=', 'none')]\" }";

/// What a model says to break out of a page.
const LOUD: &str = "<img src=x onerror=alert(1)> \"Zoë Unforgettable\"";

// Shows: F028, F065, F066, F067, F068
#[tokio::test(flavor = "multi_thread")]
async fn threads_are_pages_for_who_may_see_them() {
    let loud = format!("{LOUD} {}", PAYLOADS.join(" "));
    let update = json!([["update", { "model": "crm.lead", "id": 1, "values": { "no_such_field": loud } }]]);
    let server = ModelServer::start(move |_, request| {
        let done = !crate::model::texts(request, "tool").is_empty();
        Say::This(if done { json!(loud) } else { update.clone() })
    });
    let world = World::with_outside(Config::default(), Some(services(&server))).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales", "system": "Be brief." })).await.good(201);
    let rule = |name: &str, trigger: &str, script: &str| {
        let more = match script {
            "ai-agent" => {
                ", agent = \"sales\", parameters = { prompt = \"Look at {{ records[0].name }}.\" },\n\
                 grants = [{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\"] }]"
            }
            _ => "",
        };
        format!(
            "name = \"{name}\"\ntitle = \"Title of {name}\"\nmodel = \"crm.lead\"\ntrigger = {trigger}\n\
             actions = [{{ script = \"{script}\"{more} }}]"
        )
    };
    world.script(&LEAD_SCORING).await;
    world.rule(&rule("look", "{ on = \"created\" }", "ai-agent")).await.good(201);
    world.rule(&rule("daily", DAILY, "ai-agent")).await.good(201);
    world.rule(&rule("plain", "{ on = \"manual\" }", "lead-scoring")).await.good(201);
    let (lead, runs) = world.lead("Chairs").await;
    let first = runs[0];
    world.ended(first).await;
    let body = json!({ "records": [{ "name": "Desks", "user_id": SAM }] });
    let his = world.call("POST", "/api/v1/records/crm.lead", body).await.good(201)["runs"][0].as_i64().unwrap();
    world.ended(his).await;

    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let thread = |run: i64| format!("/threads/{run}");
    let page = admin.page("/threads").await;
    for part in [&thread(first), &thread(his), "Title of look", "/automations/look", "sales"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = admin.page(&thread(first)).await;
    for part in [
        "Be brief.",
        "Look at Chairs.",
        "Tool call",
        "no_such_field",
        "Tool failed",
        "small-2026",
        "240",
        "€0.0007",
        "ai-agent",
        &format!("href=\"/runs/{first}\""),
        "href=\"/automations/look\"",
        "&lt;img src=x",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<img"), "{page}");
    assert!(admin.page(&format!("/runs/{first}")).await.contains(&format!("href=\"{}\"", thread(first))));
    assert!(admin.page("/automations/look").await.contains("/threads?rule=look"));
    assert!(!admin.page("/automations/plain").await.contains("/threads?rule="));

    // What might have asked a model and did not leaves no thread.
    let body = json!({ "records": [lead] });
    let quiet = world.call("POST", "/api/v1/rules/plain/run", body).await.good(202)["runs"][0].as_i64().unwrap();
    world.ended(quiet).await;
    assert!(!admin.page("/threads").await.contains("Title of plain"));
    assert!(!admin.page(&format!("/runs/{quiet}")).await.contains("/threads/"));
    assert_eq!(admin.get(&thread(quiet)).await.status, 404);

    // Found by rule, by agent, by record, by what was said, and by nothing else.
    for (query, found) in [
        ("rule=look", true),
        ("rule=daily", false),
        ("agent=sales", true),
        ("text=look+at+CHAIRS", true),
        ("text=zo%C3%AB+unforgettable", true),
        ("text=%22Zo%C3%AB", true),
        ("text=nobody+said+this", false),
        ("rule=look&text=title+of+look", true),
    ] {
        let page = admin.page(&format!("/threads?{query}")).await;
        assert_eq!(page.contains(&thread(first)), found, "{query}: {page}");
        assert!(!page.contains("<img"), "{query}");
    }

    // Sam sees the thread of his own lead, and no search tells him of another.
    let sam = Browser::of(&world, SAM, &[Role::Reader, Role::Operator]).await;
    let page = sam.page("/threads").await;
    assert!(page.contains(&thread(his)) && !page.contains(&thread(first)), "{page}");
    assert!(page.contains("1 threads are about records that you may not read"), "{page}");
    let page = sam.page("/threads?text=Chairs").await;
    assert!(!page.contains(&thread(first)) && !page.contains("you may not read"), "{page}");
    assert!(sam.page("/threads?text=desks").await.contains(&thread(his)));
    assert_eq!(sam.get(&thread(first)).await.status, 404);
    assert_eq!(sam.get(&thread(999)).await.status, 404);
    assert_eq!(sam.post(&format!("{}/renew", thread(first)), &[]).await.status, 404);
    assert_eq!(sam.post(&format!("{}/renew", thread(his)), &[]).await.status, 403);
    assert_eq!(admin.post(&format!("{}/renew", thread(his)), &[]).await.status, 409, "it belongs to no session");

    // The two lists of what asks models, for administrators.
    let page = admin.page("/threads").await;
    assert!(page.contains("/automations?show=ai-rules") && page.contains("/automations?show=ai-schedules"));
    assert!(!sam.page("/threads").await.contains("show=ai-"));
    for (show, listed) in [("ai-rules", "look"), ("ai-schedules", "daily")] {
        let path = format!("/automations?show={show}");
        let page = admin.page(&path).await;
        for name in ["look", "daily", "plain"] {
            assert_eq!(page.contains(&format!("href=\"/automations/{name}\"")), name == listed, "{show} {name}");
        }
        assert_eq!(sam.get(&path).await.status, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_decides_reads_what_the_agent_says_of_its_changes() {
    let lead = Arc::new(OnceLock::<u32>::new());
    let theirs = Arc::clone(&lead);
    let server = ModelServer::start(move |_, request| match texts(request, "tool").is_empty() {
        true => {
            Say::This(json!([["update", { "model": "crm.lead", "id": theirs.wait(), "values": { "priority": "3" } }]]))
        }
        false => Say::This(json!("I raise it, for <b>they</b> called twice.")),
    });
    let world = World::with_outside(Config::default(), Some(services(&server))).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    let rule = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\nmode = \"approve\"\n{more}\n\
             actions = [{{ script = \"ai-agent\", agent = \"sales\", parameters = {{ prompt = \"Raise it.\" }},\n\
             grants = [{{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\", \"priority\"] }}] }}]"
        )
    };
    world.rule(&rule("raise", "")).await.good(201);
    world.rule(&rule("above", "superuser = true")).await.good(201);
    let (id, _) = world.lead("Chairs").await;
    assert!(lead.set(id).is_ok());
    let mut runs = Vec::new();
    for name in ["raise", "above"] {
        let path = format!("/api/v1/rules/{name}/run");
        let fired = world.call("POST", &path, json!({ "records": [id] })).await.good(202);
        let run = fired["runs"][0].as_i64().unwrap();
        let ended = world.ended(run).await;
        assert_eq!(ended["state"], "waiting-approval", "{ended}");
        runs.push(run);
    }
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let manager = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    let told = |page: &str, run: i64| {
        let thread = page.contains(&format!("href=\"/threads/{run}\""));
        assert_eq!(thread, page.contains("I raise it, for &lt;b&gt;they&lt;/b&gt; called twice."), "{page}");
        thread
    };
    for (visitor, reads) in [(&admin, [true, true]), (&manager, [true, false])] {
        for (run, reads) in runs.iter().zip(reads) {
            let page = visitor.page(&format!("/approvals/{run}")).await;
            assert!(page.contains("Proposed changes"), "{page}");
            assert_eq!(told(&page, *run), reads, "a thread that no rights bind is its owner's: {page}");
        }
    }
    // What it said stays after somebody decided.
    manager.done(&format!("/approvals/{}/reject", runs[0]), &[("note", "no")]).await;
    assert!(told(&admin.page(&format!("/approvals/{}", runs[0])).await, runs[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_shown_with_what_they_cost_and_without_their_keys() {
    let server = ModelServer::start(|nth, _| if nth == 0 { Say::This(json!("Looked.")) } else { Say::Status(400) });
    let world = World::with_outside(Config::default(), Some(services(&server))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/settings").await;
    let place = server.url.trim_start_matches("http://");
    for part in [place, "small", "2 EUR", "8 EUR", "not asked lately", "test/small", "with a key"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    let rule = "name = \"look\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" },\n\
                grants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }] }]";
    world.rule(rule).await.good(201);
    for told in [">answers<", "last call failed"] {
        let (_, runs) = world.lead("Chairs").await;
        world.ended(runs[0]).await;
        let page = admin.page("/settings").await;
        assert!(
            page.contains(told) && !page.contains("a-key-for-tests") && !page.contains("TEST_KEY"),
            "{told}: {page}"
        );
    }
}
