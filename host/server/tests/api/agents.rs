//! Agents and threads over HTTP, with a language model that is a real server on loopback.

use std::sync::Arc;

use serde_json::json;
use triggerbox_llm::{Models, Services, SystemClock};
use triggerbox_server::{Config, tokens::Scope};

use crate::{
    model::ModelServer,
    world::{SAM, World},
};

fn services(server: &ModelServer) -> Arc<Services> {
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
