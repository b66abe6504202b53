//! Webhooks in: signed, inside the window, once for each delivery.

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use triggerbox_automation::Clock;
use triggerbox_server::{Config, config::Secret, signature::sign};

use crate::world::{Answer, World};

const SECRET: &str = "a secret of thirty-two characters";

async fn world(trigger: &str) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let mut config = Config::default();
    config.secrets.insert("shop".to_owned(), Secret::File(file));
    config.webhooks.max_body = 1_000;
    let world = World::with(config).await;
    world.script(&LEAD_SCORING).await;
    let rule = format!(
        "name = \"from-shop\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"webhook\", secret = \"shop\"{trigger} }}\n\
         actions = [{{ script = \"lead-scoring\" }}]"
    );
    world.rule(&rule).await.good(201);
    (world, folder)
}

struct Delivery<'a> {
    body: &'a str,
    secret: &'a str,
    late: i64,
    prefer: Option<&'a str>,
}

const GOOD: Delivery<'static> = Delivery { body: "{}", secret: SECRET, late: 0, prefer: None };

async fn deliver(world: &World, delivery: Delivery<'_>) -> Answer {
    let timestamp = (world.clock.now().as_second() - delivery.late).to_string();
    let signature = sign(delivery.secret.as_bytes(), &timestamp, delivery.body.as_bytes());
    let mut request = world.request("POST", "/hook/from-shop?source=test");
    request = request.header("triggerbox-timestamp", timestamp).header("triggerbox-signature", signature);
    if let Some(prefer) = delivery.prefer {
        request = request.header("prefer", prefer);
    }
    world.send(request.body(delivery.body.to_owned())).await
}

// Shows: F008
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_fires_its_rule_once_for_each_delivery() {
    let (world, _folder) = world(", dedup = \"/id\", records = \"/lead\"").await;
    let (lead, _) = world.lead("From the shop").await;
    let body = json!({ "id": "d-1", "lead": lead }).to_string();
    let first = deliver(&world, Delivery { body: &body, ..GOOD }).await.good(202);
    assert_eq!(first["repeated"], false);
    let run = world.ended(first["runs"][0].as_i64().unwrap()).await;
    assert_eq!((&run["state"], &run["record"]), (&json!("succeeded"), &json!(lead)), "{run}");
    let call = &run["firing"]["trigger"]["data"];
    assert_eq!((&run["firing"]["trigger"]["kind"], &call["query"]), (&json!("webhook"), &json!([["source", "test"]])));
    assert!(!call["headers"].to_string().contains("signature"), "a script is not given what proves the caller");

    let again = deliver(&world, Delivery { body: &body, late: 7, ..GOOD }).await.good(202);
    assert_eq!((&again["repeated"], &again["runs"]), (&json!(true), &first["runs"]));
    let other = json!({ "id": "d-2", "lead": [lead] }).to_string();
    let waited = deliver(&world, Delivery { body: &other, prefer: Some("wait=20"), ..GOOD }).await;
    assert_eq!(waited.header("preference-applied"), "wait=20");
    assert_eq!(waited.good(200)["outcomes"][0]["state"], "succeeded");
    assert_eq!(world.get("/api/v1/runs?rule=from-shop").await.good(200)["runs"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_that_the_rule_was_deleted() {
    let (world, _folder) = world("").await;
    world.call("POST", "/api/v1/stops", json!({ "reason": "stocktaking" })).await.good(204);
    let delete = async {
        while world.get("/api/v1/runs?rule=from-shop").await.good(200)["runs"] == json!([]) {}
        world.call("DELETE", "/api/v1/rules/from-shop", json!({})).await
    };
    let (waited, deleted) = tokio::join!(deliver(&world, Delivery { prefer: Some("wait=20"), ..GOOD }), delete);
    deleted.good(204);
    let outcome = &waited.good(200)["outcomes"][0];
    assert_eq!((&outcome["state"], &outcome["code"]), (&json!("skipped"), &json!("rule-gone")));
}

// Shows: F008
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_as_it_should_be_is_refused_in_one_way() {
    let (world, _folder) = world("").await;
    let accepted = deliver(&world, GOOD).await.good(202);
    // Overheard and sent again, in another spelling of the same signature.
    let timestamp = world.clock.now().as_second().to_string();
    let spelled = format!("v1=00, {}", sign(SECRET.as_bytes(), &timestamp, b"{}"));
    let request = world.request("POST", "/hook/from-shop").header("triggerbox-timestamp", &timestamp);
    let replayed = world.send(request.header("triggerbox-signature", spelled).body("{}")).await.good(202);
    assert_eq!((&replayed["repeated"], &replayed["runs"]), (&json!(true), &accepted["runs"]));

    let wrong = deliver(&world, Delivery { secret: "another secret of many characters", ..GOOD }).await;
    assert_eq!(wrong.code(401), "bad-signature");
    for late in [301, -301] {
        assert_eq!(deliver(&world, Delivery { late, ..GOOD }).await.code(401), "bad-signature");
    }
    let unsigned = world.send(world.request("POST", "/hook/from-shop").body("{}")).await;
    let nowhere = world.send(world.request("POST", "/hook/no-such-rule").body("{}")).await;
    assert_eq!(unsigned.code(401), "bad-signature");
    assert_eq!(unsigned.json(), nowhere.json(), "nobody learns which rules there are");
    let large = "x".repeat(1_001);
    assert_eq!(deliver(&world, Delivery { body: &large, ..GOOD }).await.code(413), "body-too-large");

    world.call("POST", "/api/v1/rules/from-shop/pause", json!({ "reason": "closed" })).await.good(204);
    let paused = Delivery { body: "{\"n\": 1}", ..GOOD };
    assert_eq!(deliver(&world, paused).await.code(409), "rule-paused");
    world.call("POST", "/api/v1/rules/from-shop/resume", json!({})).await.good(204);
    let again = deliver(&world, Delivery { body: "{\"n\": 1}", ..GOOD }).await.good(202);
    assert_eq!(again["repeated"], false, "what was refused was not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_must_hold_what_the_rule_looks_for() {
    let (world, _folder) = world(", dedup = \"/id\", records = \"/lead\"").await;
    for body in
        ["", "[]", "{\"id\": \"a\"}", "{\"lead\": 1}", "{\"id\": \"\", \"lead\": 1}", "{\"id\": 1, \"lead\": \"x\"}"]
    {
        let refused = deliver(&world, Delivery { body, ..GOOD }).await;
        assert_eq!(refused.code(400), "bad-delivery", "{body}");
    }
}
