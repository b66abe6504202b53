//! Changes that wait for a yes, over HTTP.

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use triggerbox_server::tokens::Scope;

use crate::world::{MANAGER, SCORE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_and_applied_after_somebody_elses_yes() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let (lead, runs) = world.lead("Software for our manufacturing plants").await;
    assert_eq!(world.ended(runs[0]).await["state"], "waiting-approval");

    let waiting = world.get("/api/v1/approvals?state=waiting").await.good(200)["approvals"][0].clone();
    assert_eq!(waiting["run"], runs[0]);
    let (path, hash) = (format!("/api/v1/approvals/{}", runs[0]), waiting["hash"].clone());
    let yes = json!({ "hash": hash, "note": "fine" });
    let own = world.call("POST", &format!("{path}/approve"), yes.clone()).await;
    assert_eq!(own.code(403), "may-not-approve", "the administrator owns the rule");
    let manager = world.token(MANAGER, &[Scope::Read, Scope::Approve]).await;
    let other = json!({ "hash": "00".repeat(32) });
    let refused = world.call_as(&manager, "POST", &format!("{path}/approve"), other).await;
    assert_eq!(refused.code(409), "another-proposal");
    world.call_as(&manager, "POST", &format!("{path}/approve"), yes.clone()).await.good(200);
    let field = waiting["diff"]["records"][0]["fields"][0]["field"].as_str().unwrap();
    let record = world.get(&format!("/api/v1/records/crm.lead/{lead}?fields={field}")).await.good(200);
    assert!(!record[field].is_null());
    assert_eq!(world.get(&path).await.good(200)["state"], "approved");
    assert_eq!(world.call_as(&manager, "POST", &format!("{path}/approve"), yes).await.code(409), "already-decided");

    let (_, runs) = world.lead("Software for our manufacturing plants too").await;
    world.ended(runs[0]).await;
    let path = format!("/api/v1/approvals/{}/reject", runs[0]);
    world.call_as(&manager, "POST", &path, json!({ "note": "no" })).await.good(204);
    assert_eq!(world.ended(runs[0]).await["code"], "rejected");
}
