//! The set-up: made once, seen when it is changed, mended, and taken away without a trace.

use serde_json::json;
use triggerbox_odoo::{
    OdooError,
    setup::{MODULE, State, Want, Watch, fingerprint},
};

use crate::lab::Lab;

#[tokio::test]
async fn the_set_up_is_made_once_mended_and_taken_away() {
    let lab = Lab::open("setup").await;
    let backend = lab.backend();
    backend.tear_down().await.unwrap();
    let status = backend.status().await.unwrap();
    assert!(status.iter().all(|finding| finding.state == State::Missing), "{status:?}");

    let made = backend.set_up().await.unwrap();
    assert!(made.len() >= status.len() - 1, "{made:?}");
    let status = backend.status().await.unwrap();
    assert!(status.iter().all(|finding| finding.state == State::Ok), "{status:?}");
    let code = triggerbox_odoo::setup::code(&backend.config().methods);
    assert!(status.iter().any(|finding| finding.detail == fingerprint(&code)));
    assert_eq!(backend.set_up().await.unwrap(), [], "a second time it has nothing to do");

    // Somebody edits the action, takes a user out of the group and lets everybody read the ledger.
    let ours = json!({"domain": [["module", "=", MODULE]], "fields": ["name", "res_id"]});
    let ours = lab.admin(&backend, "ir.model.data", "search_read", ours).await.unwrap();
    let id = |name: &str| ours.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["res_id"].clone();
    let edit = json!({"ids": [id("action_apply")], "vals": {"code": "action = {'triggerbox': 1}"}});
    lab.admin(&backend, "ir.actions.server", "write", edit).await.unwrap();
    let out = json!({"ids": [id("group_scripts")], "vals": {"user_ids": [[3, 2]]}});
    lab.admin(&backend, "res.groups", "write", out).await.unwrap();
    let open = json!({"ids": [id("access_run")], "vals": {"group_id": false}});
    lab.admin(&backend, "ir.model.access", "write", open).await.unwrap();
    let wrong: Vec<_> =
        backend.status().await.unwrap().into_iter().filter(|finding| finding.state != State::Ok).collect();
    assert!(
        wrong.iter().any(|finding| finding.state == State::Changed && finding.detail.contains("fingerprint")),
        "{wrong:?}"
    );
    assert!(wrong.iter().any(|finding| finding.what.contains("`admin` in the group")), "{wrong:?}");
    assert!(wrong.iter().any(|finding| finding.detail.starts_with("`group_id` is false, not ")), "{wrong:?}");
    backend.set_up().await.unwrap();
    let status = backend.status().await.unwrap();
    assert!(status.iter().all(|finding| finding.state == State::Ok), "{status:?}");

    // A part is gone: only that part is made again.
    lab.admin(&backend, "ir.actions.server", "unlink", json!({"ids": [id("action_apply")]})).await.unwrap();
    let made = backend.set_up().await.unwrap();
    assert_eq!(made.len(), 1, "{made:?}");

    // What is archived by hand is taken away, too.
    let (rule, title, model) = ("kept".to_owned(), "Kept".to_owned(), "crm.lead".to_owned());
    let (want, fields) = (Want::Created, vec![]);
    let kept = Watch { rule, title, model, want, fields, told: false, before: None, after: None, wrong: None };
    backend.rules_apply(&[kept]).await.unwrap();
    let rule = json!({"domain": [["module", "=", MODULE], ["name", "=", "rule_kept"]], "fields": ["res_id"]});
    let rule = lab.admin(&backend, "ir.model.data", "search_read", rule).await.unwrap()[0]["res_id"].clone();
    lab.admin(&backend, "base.automation", "write", json!({"ids": [rule], "vals": {"active": false}})).await.unwrap();

    backend.tear_down().await.unwrap();
    for (model, domain) in [
        ("base.automation", json!([["name", "ilike", "triggerbox"]])),
        ("ir.model.data", json!([["module", "=", MODULE]])),
        ("ir.model", json!([["model", "like", "triggerbox"]])),
        ("ir.actions.server", json!([["name", "ilike", "triggerbox"]])),
        ("res.groups", json!([["name", "ilike", "triggerbox"]])),
        ("ir.model.access", json!([["name", "ilike", "triggerbox"]])),
        ("ir.model.fields", json!([["model", "like", "triggerbox"]])),
    ] {
        let body = json!({"domain": domain, "context": {"active_test": false}});
        let left = lab.admin(&backend, model, "search_count", body).await.unwrap();
        assert_eq!(left, json!(0), "{model}");
    }
    assert_eq!(backend.tear_down().await.unwrap(), Vec::<String>::new(), "a second time it has nothing to do");
    lab.close();
}

#[tokio::test]
async fn who_is_no_administrator_is_told_so() {
    let lab = Lab::open("no_administrator").await;
    let backend = lab.backend_with("administrator = 'tb_sales'");
    match backend.set_up().await.unwrap_err() {
        OdooError::Refused(refusal) => assert_eq!(refusal.error.code, "not-an-administrator"),
        other => panic!("{other:?}"),
    }
    lab.close();
}
