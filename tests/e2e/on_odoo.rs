//! A script that is deployed on the demo CRM, on an Odoo server: recorded, or real. See `docs/odoo.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "support/model.rs"]
mod model;
mod odoo_events;
#[path = "support/odoo_host.rs"]
mod odoo_host;
mod odoo_rules;

use std::sync::Arc;

use guest_artifacts::LEAD_SCORING;
use odoo_host::lab::{self, Lab};
use serde_json::json;
use triggerbox_automation::{LogSink, Report, Request, RunError, Verdict, remote};
use triggerbox_model::{
    event::Trigger,
    grants::Policy,
    limits::{Class, Limits},
    manifest::Manifest,
    value::{Id, Value},
};
use triggerbox_odoo::Backend;
use triggerbox_sandbox::{LogLevel, Pool, Sandbox};

struct Quiet;

impl LogSink for Quiet {
    fn line(&mut self, _: LogLevel, _: &str) {}
}

async fn score(backend: &Arc<Backend>, login: &str, lead: Id, dry_run: bool) -> Result<Report, RunError> {
    let manifest = Manifest::parse(LEAD_SCORING.manifest.unwrap()).unwrap();
    let run_as = remote::person(backend, login).await?;
    let request = Request {
        script: Sandbox::new(&Pool::default()).unwrap().compile(LEAD_SCORING.component).unwrap(),
        rule: LEAD_SCORING.name.to_owned(),
        trigger: Trigger::Manual,
        model: Some("crm.lead".to_owned()),
        records: vec![lead],
        old_values: Vec::new(),
        parameters: manifest.parameter_values(&[]).unwrap(),
        actor: run_as.clone(),
        run_as,
        superuser: false,
        authority: Arc::new(manifest.authority(None, Vec::new(), Policy::default())),
        limits: Limits::resolve(Class::Async, [&manifest.limits]),
        now: "2026-11-25T10:00:00Z".parse().unwrap(),
        seed: 7,
        previous: None,
        dry_run,
        outside: None,
    };
    remote::run(backend, &request, Box::new(Quiet)).await
}

#[tokio::test]
async fn a_strong_lead_of_an_odoo_server_is_scored_tagged_described_and_followed_up() {
    let lab = Lab::open("script").await;
    let backend = lab.prepared().await;
    let id = lab::lead(
        &lab,
        &backend,
        json!({
            "name": "Software for our manufacturing plants", "type": "lead", "partner_name": "Cedar Manufacturing",
            "function": "Chief executive officer", "email_from": "ada@cedar.example", "phone": "+32 2 555 01 02",
            "expected_revenue": 500_000, "user_id": 2,
        }),
    );
    let id = id.await;

    // First without any change: what would be done is shown, and nothing but questions reaches Odoo.
    lab.asked();
    let dry = score(&backend, "admin", id, true).await.unwrap();
    assert!(matches!(dry.verdict, Verdict::DryRun(_)), "{:?}", dry.verdict);
    let text = dry.diff.to_string();
    assert!(text.contains("Notes: (empty) → Lead score: 100") && text.contains("activity: "), "{text}");
    let questions = ["version", "context_get", "read", "search", "search_read", "fields_get", "search_count"];
    for (path, _) in lab.asked() {
        assert!(questions.contains(&path.rsplit('/').next().unwrap()), "{path}");
    }

    let report = score(&backend, "admin", id, false).await.unwrap();
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    assert_eq!(report.attempts, 1);
    let mut session = lab.session(&backend, "admin").await;
    let row =
        lab::read(&mut session, "crm.lead", &[id], &["description", "tag_ids", "activity_summary"]).await.remove(0);
    assert!(matches!(&row.values[0], Value::Text(text) if text.contains("Lead score: 100")), "{row:?}");
    assert!(matches!(&row.values[1], Value::Ids(tags) if tags.len() == 1), "{row:?}");
    assert_eq!(row.values[2], Value::text("Call this lead"));

    // Again: nothing more.
    let again = score(&backend, "admin", id, false).await.unwrap();
    assert!(matches!(again.verdict, Verdict::Applied(_)) && again.diff.is_empty(), "{:?}", again.verdict);

    // A user who does not see the lead cannot have it scored.
    let error = score(&backend, "tb_sales", id, false).await.unwrap_err();
    assert!(error.to_string().contains("there is no crm.lead"), "{error}");
    lab.close();
}
