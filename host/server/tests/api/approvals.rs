//! Changes that wait for a yes, over HTTP.

use std::collections::BTreeSet;

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use triggerbox_model::call::Operation;
use triggerbox_server::tokens::Scope;

use crate::world::{ADMIN, MANAGER, READER, SAM, SCORE, World};

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_may_read_is_the_same_asked_at_once_and_one_by_one() {
    let world = World::new().await;
    for owner in [ADMIN, MANAGER, SAM] {
        let body = json!({ "records": [{ "name": "Chairs", "user_id": owner }] });
        world.call("POST", "/api/v1/records/crm.lead", body).await.good(201);
    }
    // Most of these numbers are nobody's.
    let ids: BTreeSet<u32> = (1..=60).collect();
    let mut parted = 0;
    for user in [ADMIN, MANAGER, SAM, READER] {
        for model in ["crm.lead", "res.partner", "res.users", "mail.message", "project.task", "res.country", "no.model"]
        {
            let at_once = world.app.readable(user, model, &ids).await.unwrap();
            let may = async |ids: &[u32]| world.app.may(user, Operation::Read, model, ids).await.unwrap_or(false);
            assert_eq!(at_once.is_some(), may(&[]).await, "{user} {model}");
            let mut one_by_one = BTreeSet::new();
            for id in &ids {
                if may(&[*id]).await {
                    one_by_one.insert(*id);
                }
            }
            parted += usize::from(!one_by_one.is_empty() && one_by_one != ids);
            assert_eq!(at_once.unwrap_or_default(), one_by_one, "{user} {model}");
        }
    }
    assert!(parted > 3, "{parted}");
}

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
