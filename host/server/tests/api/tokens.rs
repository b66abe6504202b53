//! Who gets in, and what they may do then.

use std::time::Duration;

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use triggerbox_server::{people::Role, tokens::Scope};

use crate::{
    browser::Browser,
    world::{ADMIN, READER, SAM, SCORE, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn no_route_of_the_api_answers_without_a_good_token() {
    let world = World::new().await;
    let document = world.send(world.request("GET", "/api/openapi.json")).await.good(200);
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "1").replace("{run}", "1").replace("{attempt}", "1").replace("{action}", "0");
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            let request = || world.json(&method.to_uppercase(), &path, &json!({}));
            assert_eq!(world.send(request()).await.code(401), "no-token", "{method} {path}");
            let bad = world.send(request().bearer_auth("tb_AAAA")).await;
            assert_eq!((bad.code(401), bad.header("www-authenticate")), ("bad-token".to_owned(), "Bearer"));
            tried += 1;
        }
    }
    assert!(tried >= 45, "{tried}");
    assert_eq!(world.send(world.request("GET", "/metrics")).await.code(401), "no-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_part_only() {
    let world = World::new().await;
    let attempts = [
        (Scope::Read, "GET", "/api/v1/rules"),
        (Scope::Read, "GET", "/api/v1/runs"),
        (Scope::Read, "GET", "/api/v1/records/crm.lead"),
        (Scope::Read, "GET", "/api/v1/scripts"),
        (Scope::Records, "POST", "/api/v1/records/crm.lead"),
        (Scope::Rules, "POST", "/api/v1/rule-checks"),
        (Scope::Scripts, "POST", "/api/v1/scripts/none/activate"),
        (Scope::Operate, "POST", "/api/v1/runs/1/cancel"),
        (Scope::Operate, "POST", "/api/v1/rules/none/run"),
        (Scope::Operate, "POST", "/api/v1/stops"),
        (Scope::Approve, "POST", "/api/v1/approvals/1/approve"),
        (Scope::Admin, "GET", "/api/v1/tokens"),
        (Scope::Admin, "POST", "/api/v1/tokens"),
    ];
    for scope in Scope::ALL {
        let token = world.token(ADMIN, &[scope]).await;
        for (needed, method, path) in attempts {
            let answer = world.call_as(&token, method, path, json!({})).await;
            let refused = answer.status == 403 && answer.json()["code"] == "token-lacks-scope";
            assert_eq!(refused, needed != scope, "{scope}: {method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_of_its_user_and_of_nobody_who_signs_in_with_the_same_number() {
    let world = World::new().await;
    let token = world.token(SAM, &[Scope::Read]).await;
    let browser = Browser::of(&world, SAM, &[Role::Reader]).await;
    let other = json!({ "login": SAM.to_string() });
    world.call("PATCH", &format!("/api/v1/records/res.users/{READER}"), other).await.good(200);
    let me = world.get_as(&token, "/api/v1/me").await.good(200);
    assert_eq!((&me["user"], &me["login"]), (&json!(SAM), &json!("sam")));
    assert_eq!(browser.get("/runs").await.status, 200);

    let gone = json!({ "active": false });
    world.call("PATCH", &format!("/api/v1/records/res.users/{SAM}"), gone).await.good(200);
    assert_eq!(world.get_as(&token, "/api/v1/me").await.code(401), "bad-token");
    assert_eq!(browser.get("/runs").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_shown_once_expire_and_are_revoked() {
    let world = World::new().await;
    let new = json!({ "name": "report", "user": "sam", "scopes": ["read"], "days": 1 });
    let made = world.call("POST", "/api/v1/tokens", new).await.good(201);
    let secret = made["secret"].as_str().unwrap();
    let me = world.get_as(secret, "/api/v1/me").await.good(200);
    assert_eq!((&me["user"], &me["administrator"]), (&json!(SAM), &json!(false)));
    let listed = world.get("/api/v1/tokens").await;
    assert!(listed.text().contains("report") && !listed.text().contains(secret));
    let lent = json!({ "name": "x", "user": "admin", "scopes": ["read"] });
    let sam = world.token(SAM, &[Scope::Admin]).await;
    assert_eq!(world.call_as(&sam, "POST", "/api/v1/tokens", lent).await.code(403), "access-denied");
    let more = json!({ "name": "x", "user": "sam", "scopes": ["records"] });
    assert_eq!(world.call_as(&sam, "POST", "/api/v1/tokens", more).await.code(403), "token-lacks-scope");

    world.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(world.get_as(secret, "/api/v1/me").await.code(401), "bad-token", "it has expired");
    let id = world.get_as(&sam, "/api/v1/tokens").await.good(200)["tokens"][0]["id"].clone();
    world.call("DELETE", &format!("/api/v1/tokens/{id}"), json!({})).await.good(204);
    assert_eq!(world.get_as(&sam, "/api/v1/tokens").await.code(401), "bad-token", "it is revoked");
    assert_eq!(world.call("DELETE", &format!("/api/v1/tokens/{id}"), json!({})).await.code(404), "unknown-token");
    let none = world.app.read(|conn| {
        conn.query_row("SELECT count(*) FROM server_token WHERE CAST(hash AS TEXT) LIKE 'tb_%'", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    assert_eq!(none.await.unwrap(), 0, "no text of a token is kept");
}

// Shows: F104, F105
#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_no_more_than_the_account_of_its_user() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let token = world.token(SAM, &Scope::ALL).await;
    let stop = async || world.call_as(&token, "POST", "/api/v1/stops", json!({ "reason": "so" })).await;
    stop().await.good(204);
    world.get_as(&token, "/api/v1/tokens").await.good(200);

    let _sam = Browser::of(&world, SAM, &[Role::Operator]).await;
    stop().await.good(204);
    assert_eq!(world.get_as(&token, "/api/v1/tokens").await.code(403), "token-lacks-scope");
    assert_eq!(world.get_as(&token, "/api/v1/me").await.good(200)["token"]["scopes"], json!(["read", "operate"]));
    assert!(admin.page("/settings").await.contains("held back by the account"));

    let save = async |fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().copied().chain([("user", "sam")]).collect();
        admin.done("/settings/accounts/2", &fields).await
    };
    save(&[("role", "reader")]).await;
    assert_eq!(stop().await.code(403), "token-lacks-scope");
    world.get_as(&token, "/api/v1/me").await.good(200);
    save(&[("role", "reader"), ("disabled", "1")]).await;
    assert_eq!(world.get_as(&token, "/api/v1/me").await.code(401), "bad-token");
    save(&[("role", "operator")]).await;
    stop().await.good(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_record_does_not_see_what_runs_did_to_it() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let plans = json!({ "records": [{ "name": "Secret plans", "user_id": ADMIN }] });
    let made = world.call("POST", "/api/v1/records/crm.lead", plans).await.good(201);
    let (lead, runs) = (&made["ids"][0], [made["runs"][0].as_i64().unwrap()]);
    world.ended(runs[0]).await;
    // Sam sees his own leads, and those of nobody.
    let reader = world.token(SAM, &[Scope::Read, Scope::Operate]).await;
    assert_ne!(world.get_as(&reader, &format!("/api/v1/records/crm.lead/{lead}")).await.status, 200);
    assert_eq!(world.get_as(&reader, "/api/v1/runs").await.good(200)["runs"], json!([]));
    assert_eq!(world.get_as(&reader, "/api/v1/events").await.good(200)["events"], json!([]));
    for path in ["", "/chain", "/journal/1/0"] {
        let answer = world.get_as(&reader, &format!("/api/v1/runs/{}{path}", runs[0])).await;
        assert_eq!(answer.code(404), "unknown-run");
    }
    let retry = world.call_as(&reader, "POST", &format!("/api/v1/runs/{}/retry", runs[0]), json!({})).await;
    assert_eq!(retry.code(404), "unknown-run");
}
