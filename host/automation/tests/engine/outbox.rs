//! What the outbox of an Odoo server comes to here. The Odoo is the fake of `away.rs`; `tests/e2e/odoo_events.rs` has a real one.

use triggerbox_automation::{people, runs::RunState};

use crate::{
    away::{Office, rule},
    world::{ADMIN, block_on},
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
