//! Each kind of mistake is a problem with a stable code, and the server stays well.

use serde_json::json;
use triggerbox_server::Config;

use crate::world::{World, eventually};

// Shows: F083, F129
#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_a_code_and_a_status() {
    let world = World::new().await;
    let large = "x".repeat(2 << 20);
    for (method, path, body, status, code) in [
        ("GET", "/nowhere", "", 404, "no-such-address"),
        ("PUT", "/api/v1/runs", "{}", 405, "method-not-allowed"),
        ("GET", "/api/v1/runs/seven", "", 400, "bad-path"),
        ("GET", "/api/v1/runs?limit=many", "", 400, "bad-query"),
        ("GET", "/api/v1/runs?state=lost", "", 400, "bad-query"),
        ("GET", "/api/v1/records/crm.lead?domian=x", "", 400, "bad-query"),
        ("PUT", "/api/v1/rules?dry-run=true", "{\"rules\": []}", 400, "bad-query"),
        ("GET", "/api/v1/runs?model=crm.lead", "", 400, "half-a-record"),
        ("GET", "/api/v1/runs/99", "", 404, "unknown-run"),
        ("GET", "/api/v1/rules/none", "", 404, "unknown-rule"),
        ("GET", "/api/v1/scripts/none", "", 404, "unknown-script"),
        ("GET", "/api/v1/scripts/none/versions/zz", "", 400, "bad-hash"),
        ("GET", "/api/v1/approvals/1", "", 404, "unknown-proposal"),
        ("GET", "/api/v1/records/crm.leed", "", 404, "unknown-model"),
        ("GET", "/api/v1/records/crm.lead?fields=nme", "", 400, "unknown-field"),
        ("POST", "/api/v1/records/crm.lead", "{", 400, "bad-body"),
        ("POST", "/api/v1/records/crm.lead", "{\"record\": []}", 400, "bad-body"),
        ("POST", "/api/v1/records/crm.lead", "{\"records\": []}", 400, "no-records"),
        ("POST", "/api/v1/records/crm.lead", "{\"records\": [{\"name\": 7}]}", 400, "wrong-type"),
        ("POST", "/api/v1/records/crm.lead", large.as_str(), 413, "body-too-large"),
        (
            "PUT",
            "/api/v1/rules/a",
            "{\"name\": \"b\", \"trigger\": {\"on\": \"manual\"}, \"actions\": []}",
            400,
            "another-name",
        ),
        (
            "PUT",
            "/api/v1/rules/a",
            "{\"name\": \"a\", \"trigger\": {\"on\": \"never\"}, \"actions\": []}",
            400,
            "bad-body",
        ),
        ("POST", "/api/v1/approvals/1/approve", "{\"hash\": \"00\"}", 404, "unknown-proposal"),
        ("POST", "/api/v1/stops", "{\"model\": \"crm.leed\", \"reason\": \"x\"}", 404, "unknown-model"),
    ] {
        let request = world.request(method, path).bearer_auth(&world.token).header("content-type", "application/json");
        let answer = world.send(request.body(body.to_owned())).await;
        assert_eq!(answer.code(status), code, "{method} {path}");
        let closes = answer.headers.get("connection").is_some_and(|value| value == "close");
        assert_eq!(
            closes,
            body.len() == large.len(),
            "a body that was not read ends the connection, and says so: {path}"
        );
    }
    let text = world.request("POST", "/api/v1/records/crm.lead").bearer_auth(&world.token).body("{}");
    assert_eq!(world.send(text).await.code(415), "not-json");
    let domain = world.get("/api/v1/records/crm.lead?domain=[('name','=',]").await;
    assert_eq!(domain.status, 400, "{}", domain.text());
    let upload = world.request("POST", "/api/v1/scripts").bearer_auth(&world.token).body("not a component");
    let refused = world.send(upload).await;
    refused.code(422);
    assert!(!refused.json()["findings"].as_array().unwrap().is_empty());
    assert_eq!(world.send(world.request("GET", "/readyz")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_makes_no_sense_is_refused_with_all_findings() {
    let world = World::new().await;
    let rule = json!({
        "name": "odd", "model": "crm.lead", "trigger": { "on": "updated", "fields": ["nme"] },
        "domain": "[('priority', '>>', 1)]", "actions": [{ "script": "nobody" }],
    });
    let refused = world.call("PUT", "/api/v1/rules/odd", rule.clone()).await;
    assert_eq!(refused.code(422), "rule-refused");
    let places = |json: &serde_json::Value| {
        let findings = json["findings"].as_array().unwrap().iter();
        findings.map(|finding| finding["place"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let found = places(&refused.json());
    for place in ["trigger.fields[0]", "domain", "actions[0].script"] {
        assert!(found.iter().any(|found| found == place), "{found:?}");
    }
    assert_eq!(places(&world.call("POST", "/api/v1/rule-checks", rule).await.good(200)), found);
    assert_eq!(world.get("/api/v1/rules").await.good(200)["rules"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_takes_nothing_new_and_says_so() {
    let mut world = World::new().await;
    assert_eq!(world.send(world.request("GET", "/healthz")).await.text(), "ok\n");
    world.stop().await;
    assert!(world.app.is_draining());
    let gone = world.request("GET", "/healthz").send().await;
    assert!(gone.is_err(), "it no longer listens");
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_runs_queue_and_limits() {
    let mut config = Config::default();
    config.metrics.open = true;
    let world = World::with(config).await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    let (_, runs) = world.lead("Counted").await;
    world.ended(runs[0]).await;
    world.call("POST", "/api/v1/stops", json!({ "reason": "x" })).await.good(204);
    world.lead("Waits").await;
    world.clock.advance(std::time::Duration::from_secs(90));
    // The observer is told after the end is kept.
    let page = eventually(async || {
        let page = world.send(world.request("GET", "/metrics")).await.text();
        (page.contains("triggerbox_tries_total") && page.contains("rule=\"score\"")).then_some(page)
    })
    .await;
    for line in [
        "triggerbox_tries_total{rule=\"score\",state=\"succeeded\"} 1",
        "triggerbox_runs{state=\"queued\"} 1",
        "triggerbox_runs{state=\"dead\"} 0",
        "triggerbox_queue_age_seconds 90.0",
        "triggerbox_try_seconds_count{rule=\"score\"} 1",
        "triggerbox_limit_usage_ratio{rule=\"score\",limit=\"fuel\"}",
        "triggerbox_http_requests_total{method=\"POST\",route=\"/api/v1/scripts\",status=\"201\"} 1",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_read_its_rules_is_not_ready_and_counts_what_failed() {
    let mut config = Config::default();
    config.metrics.open = true;
    let world = World::with(config).await;
    let rule = "name = \"greet\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
                actions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let ready = async || world.send(world.request("GET", "/readyz")).await.status;
    assert_eq!(ready().await, 200);
    let write = async |sql: &'static str| {
        world.app.write(move |conn| Ok::<_, triggerbox_store::db::DbError>(conn.execute(sql, [])?)).await.unwrap();
    };
    write("UPDATE engine_rule SET body = '{' || body").await;
    assert_eq!(ready().await, 500);
    world.clock.advance(std::time::Duration::from_secs(90));
    eventually(async || {
        let page = world.send(world.request("GET", "/metrics")).await.text();
        page.contains("triggerbox_engine_faults_total{work=\"clock\"}").then_some(())
    })
    .await;
    write("UPDATE engine_rule SET body = substr(body, 2)").await;
    assert_eq!(ready().await, 200);
}
