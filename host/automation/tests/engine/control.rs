//! What happens to runs besides running: failures, retries, stops.

use guest_artifacts::{DEMO_WRITE_THEN_TRAP, HIGH_VALUE_ORDER};
use triggerbox_automation::{Clock, Config, rule::stored, runs::RunState, scripts::binding};
use triggerbox_model::{event::Trigger, value::Value};
use triggerbox_store::db::DbError;

use crate::world::{ADMIN, World, block_on};

fn button(world: &World, script: &str, model: &str) {
    world.rule(&format!(
        "name = \"button\"\nmodel = \"{model}\"\ntrigger = {{ on = \"manual\" }}\nactions = [{{ script = \"{script}\" }}]"
    ));
}

// Shows: F016, F088
#[test]
fn a_script_that_traps_changes_nothing_and_its_run_says_why() {
    let world = World::with(Config { pause_after: 2, ..Config::default() });
    world.script(&DEMO_WRITE_THEN_TRAP);
    button(&world, "demo-write-then-trap", "sale.order");
    let order = world.search("sale.order", "[]")[0];
    let before = world.value("sale.order", order, "note");
    let fire = || block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order]));
    let run = fire().unwrap()[0];
    world.settle();
    let detail = world.run(run);
    assert_eq!(
        (detail.summary.state, detail.summary.code.as_deref()),
        (RunState::Failed, Some("trapped")),
        "{detail:?}"
    );
    assert_eq!(world.value("sale.order", order, "note"), before);

    // Failures in a row pause the rule, and it says so.
    fire().unwrap();
    world.settle();
    assert_eq!(fire().unwrap_err().code(), "rule-paused");
    let why = world.engine.rules().unwrap().rule("button").unwrap().paused.clone().unwrap();
    assert!(why.starts_with("2 runs failed in a row; the last: trapped"), "{why}");
    block_on(world.engine.resume("button")).unwrap();
    fire().unwrap();
    world.settle();
    // Whoever has it go on counts anew, on the command line, too.
    fire().unwrap();
    world.settle();
    assert_eq!(fire().unwrap_err().code(), "rule-paused");
    let at = world.clock.now();
    world.commit(move |conn| stored::pause(conn, "button", None, at));
    fire().unwrap();
    world.settle();
    assert_eq!(world.engine.rules().unwrap().rule("button").unwrap().paused, None);
    block_on(world.engine.resume("button")).unwrap();
    fire().unwrap();

    // Once more, as a new try of the same run.
    block_on(world.engine.retry(run)).unwrap();
    world.settle();
    assert_eq!(world.run(run).summary.attempt, 2);
}

#[test]
fn what_is_stopped_waits_and_what_is_cancelled_is_over() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    button(&world, "high-value-order", "sale.order");
    let order = world.search("sale.order", "[]")[0];
    let fire = || block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0];
    block_on(world.engine.stop(Some("sale.order"), ADMIN, "stocktaking")).unwrap();
    let (first, second) = (fire(), fire());
    assert_eq!(world.settle(), 0);
    assert_eq!(world.engine.stops().unwrap()[0].model.as_deref(), Some("sale.order"));
    assert_eq!(world.run(second).summary.blockers, 1, "it waits for the first one on its record");
    block_on(world.engine.cancel(first, ADMIN)).unwrap();
    assert_eq!(world.run(first).summary.state, RunState::Cancelled);
    assert_eq!(world.run(second).summary.blockers, 0);
    assert_eq!(block_on(world.engine.cancel(first, ADMIN)).unwrap_err().code(), "run-is-over");
    block_on(world.engine.go(Some("sale.order"))).unwrap();
    assert_eq!(world.settle(), 1);
    assert_eq!(world.run(second).summary.state, RunState::Succeeded);
    assert_eq!(world.count("SELECT count(*) FROM engine_lane"), 0);
}

#[test]
fn a_rule_that_is_made_again_under_its_name_is_new() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    button(&world, "high-value-order", "sale.order");
    let order = world.search("sale.order", "[]")[0];
    let deliver = || block_on(world.engine.deliver("button", Trigger::Manual, vec![order], "7")).unwrap();
    let waiting = deliver().runs[0];
    assert!(deliver().repeated);
    let known = "INSERT INTO tb_state (rule, key, json) VALUES ('button', 'met', '1'), ('other', 'met', '1'); \
                 INSERT INTO engine_session (rule, model, record, started) \
                 VALUES ('button', 'sale.order', 1, 0), ('other', 'sale.order', 1, 0)";
    world.commit(move |conn| conn.execute_batch(known).map_err(DbError::from));

    world.delete("button");
    let summary = world.run(waiting).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Skipped, Some("rule-gone")));
    assert_eq!(world.count("SELECT count(*) FROM engine_lane"), 0);
    button(&world, "high-value-order", "sale.order");
    assert!(!deliver().repeated);
    for left in ["tb_state WHERE true", "engine_session WHERE ended IS NULL"] {
        let of = |rule: &str| world.count(&format!("SELECT count(*) FROM {left} AND rule = '{rule}'"));
        assert_eq!([of("button"), of("other")], [0, 1], "{left}");
    }
}

#[test]
fn runs_on_one_record_keep_their_order_and_others_go_ahead() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    button(&world, "high-value-order", "sale.order");
    let orders = world.search("sale.order", "[]");
    let fire = |orders: Vec<u32>| block_on(world.engine.fire("button", ADMIN, Trigger::Manual, orders)).unwrap()[0];
    let runs = [fire(vec![orders[0]]), fire(vec![orders[0], orders[1]]), fire(vec![orders[1]]), fire(vec![orders[2]])];
    let states = || runs.map(|run| world.run(run).summary.state == RunState::Succeeded);
    assert_eq!(world.step(), 2);
    assert_eq!(states(), [true, false, false, true]);
    assert_eq!(world.step(), 1);
    assert_eq!(states(), [true, true, false, true]);
    assert_eq!(world.step(), 1);
    assert_eq!(states(), [true; 4]);
}

#[test]
fn a_run_whose_records_are_gone_is_skipped() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    button(&world, "high-value-order", "sale.order");
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let order = world.create("sale.order", &[("partner_id", Value::link(partner))]);
    let run = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0];
    world.change(vec![triggerbox_model::call::Call::Unlink { model: "sale.order".into(), ids: vec![order] }]);
    world.settle();
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Skipped, Some("records-gone")));
}

// Shows: F083
#[test]
fn a_rule_whose_script_is_switched_off_says_so() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    button(&world, "high-value-order", "sale.order");
    let now = world.clock.now();
    world.commit(move |conn| binding::deactivate(conn, "high-value-order", ADMIN, now));
    let order = world.search("sale.order", "[]")[0];
    let run = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0];
    world.settle();
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Failed, Some("script-inactive")));
}
