//! What the outbox of an Odoo server comes to here. The Odoo is the fake of `away.rs`; `tests/e2e/odoo_events.rs` has a real one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use triggerbox_automation::{Config, diagnose::diagnose, people, remote, runs::RunState};
use triggerbox_model::{grants::Policy, schema::Model};
use triggerbox_store::db::{Database, Mode};

use crate::{
    away::{Office, SAM_THERE, rule},
    world::{ADMIN, NOW, SAM, World, block_on},
};

const RENAMED: &str = "{ on = \"updated\", fields = [\"name\"] }";

/// Whom the administrator may not see.
const STRANGER: u32 = 99;

// Shows: F088
#[test]
fn whom_the_administrator_may_not_see_is_a_number_and_keeps_no_event_from_its_run() {
    let office = Office::new();
    office.world.rule(&rule("heard", RENAMED, ""));
    office.fake.tells("heard", STRANGER);
    office.fake.tells("heard", ADMIN);
    let drained = block_on(office.world.engine.drain()).unwrap();
    assert_eq!((drained.events, drained.runs), (2, 2), "{drained:?}");
    office.world.settle();
    let runs = office.world.runs_of("heard");
    assert_eq!(runs.iter().map(|run| run.actor).collect::<Vec<_>>(), [people::SYSTEM, ADMIN]);
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded), "{runs:?}");
    assert!(office.fake.outbox.lock().unwrap().is_empty());
}

// Shows: F088
#[test]
fn what_a_paused_rule_would_have_fired_on_is_noted() {
    let office = Office::new();
    office.world.rule(&rule("heard", RENAMED, ""));
    office.world.rule(&rule("gone", RENAMED, ""));
    // Told before the pause, and taken after it.
    office.fake.tells("heard", ADMIN);
    office.fake.tells("gone", ADMIN);
    block_on(office.world.engine.pause("heard", "its script is mended")).unwrap();
    office.world.set_active("gone", false);
    let drained = block_on(office.world.engine.drain()).unwrap();
    assert_eq!((drained.events, drained.runs), (2, 0), "{drained:?}");
    let stopped = office.world.engine.suppressed(None, None, 10).unwrap();
    assert_eq!(stopped.iter().map(|one| one.rule.as_str()).collect::<Vec<_>>(), ["heard"], "{stopped:?}");
    assert!(stopped[0].reason.ends_with("its script is mended"), "{stopped:?}");
    let (engine, now) = (&office.world.engine, office.world.engine.clock().now());
    let causes = diagnose(engine.database(), &Policy::default(), "heard", None, now).unwrap();
    assert!(causes.iter().any(|cause| cause.remedy.contains("rules backfill")), "{causes:?}");

    block_on(engine.resume("heard")).unwrap();
    office.fake.tells("heard", ADMIN);
    assert_eq!(block_on(engine.drain()).unwrap().runs, 1);
}

// Shows: F035
#[test]
fn whoever_was_called_otherwise_when_they_caused_it_does_not_approve_it() {
    let office = Office::new();
    let called = |name| *office.fake.people.lock().unwrap() = vec![(SAM_THERE, name)];
    office.world.rule(&rule("ask", RENAMED, "mode = \"approve\""));
    office.world.rule(&rule("together", RENAMED, "mode = \"approve\"\ndebounce = 1"));
    called("samuel");
    office.fake.tells("ask", SAM_THERE);
    // The second one joins the run of the first.
    office.fake.tells("together", ADMIN);
    office.fake.tells("together", SAM_THERE);
    assert_eq!(block_on(office.world.engine.drain()).unwrap().runs, 2);
    office.world.pass(Duration::from_secs(1));
    office.world.settle();
    called("sam");
    for rule in ["ask", "together"] {
        let run = office.world.runs_of(rule).remove(0);
        assert_eq!((run.state, run.actor == SAM), (RunState::WaitingApproval, false), "{run:?}");
        let shown = office.world.engine.proposal(run.id).unwrap().unwrap().hash;
        let error = block_on(office.world.engine.approve(run.id, shown, SAM, "")).unwrap_err();
        assert_eq!(error.code(), "may-not-approve", "{error}");
    }
    assert!(office.fake.ledger().is_empty(), "nothing was sent");
    // What somebody else caused is for them to approve.
    office.fake.tells("ask", ADMIN);
    block_on(office.world.engine.drain()).unwrap();
    office.world.settle();
    let run = office.world.runs_of("ask").remove(1).id;
    let shown = office.world.engine.proposal(run).unwrap().unwrap().hash;
    block_on(office.world.engine.approve(run, shown, SAM, "")).unwrap();
}

// Shows: F088
#[test]
fn a_rule_whose_field_or_model_is_gone_is_broken_and_the_others_go_on() {
    let office = Office::new();
    let backend = Arc::clone(office.world.engine.odoo().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.db");
    drop(Database::create_demo(&path, NOW.parse().unwrap()).unwrap());
    let opened = |models: &[Model], missing: &[&str]| {
        let missing = missing.iter().map(|name| (*name).to_owned()).collect();
        let database = Database::open(&path, Mode::Write).unwrap().for_remote(models.to_vec(), &missing).unwrap();
        World::on(database, Config { odoo: Some(Arc::clone(&backend)), ..Config::default() })
    };
    let mut models = block_on(backend.models(&BTreeSet::from(["crm.lead".to_owned()]))).unwrap();
    let before = opened(&models, &[]);
    before.rule(&rule("heard", RENAMED, ""));
    before.rule(&rule("due", "{ on = \"time\", field = \"date_deadline\", delay = 1, unit = \"days\" }", ""));
    before.rule(&rule("made", "{ on = \"created\" }", ""));
    before
        .rule(&rule("sold", "{ on = \"created\" }", "").replace("crm.lead", "sale.order").replace("city =", "note ="));
    drop(before);

    // They were deleted there, and an app is not installed any more that the demo company here has.
    for field in ["name", "date_deadline"] {
        models[0].fields.shift_remove(field).unwrap();
    }
    let world = opened(&models, &["sale.order"]);
    let rules = world.engine.rules().unwrap();
    let broken = ["heard", "due", "made", "sold"].map(|name| rules.rule(name).unwrap().broken.clone());
    let codes = broken.map(|broken| broken.map(|error| error.code).unwrap_or_default());
    assert_eq!(codes, ["unknown-field", "unknown-field", "", "unknown-model"]);
    // What Odoo has of them is left there.
    let watches = remote::watches(&rules, world.engine.database().schema());
    let told: Vec<_> = watches.iter().map(|watch| (watch.rule.as_str(), watch.wrong.is_some())).collect();
    assert_eq!(told, [("heard", true), ("due", true), ("made", false), ("sold", true)]);
    // What it tells for them is noted.
    office.fake.tells("heard", ADMIN);
    assert_eq!(block_on(world.engine.drain()).unwrap().runs, 0);
    let stopped = world.engine.suppressed(None, None, 10).unwrap();
    assert_eq!(stopped.len(), 1);
    assert!(stopped[0].rule == "heard" && stopped[0].reason.starts_with("broken: "), "{stopped:?}");
}
