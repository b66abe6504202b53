//! Loops, and what stops them: the classic cases.

use triggerbox_automation::runs::RunState;
use triggerbox_model::value::Value;
use triggerbox_store::db::DbError;

use crate::world::World;

fn update(world: &World, name: &str, watched: &str, values: &str) {
    world.rule(&format!(
        "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"updated\", fields = [\"{watched}\"] }}\n\
         actions = [{{ script = \"update-record\", parameters = {{ values = \"{values}\" }} }}]"
    ));
}

// Shows: F091
#[test]
fn a_rule_that_writes_the_field_that_fires_it() {
    let world = World::new();
    update(&world, "longer", "phone", "phone = {phone}1");
    let lead = world.lead("Chairs");
    let first = world.write("crm.lead", lead, &[("phone", Value::text("1"))])[0];
    world.settle();
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::text("11"), "once");
    let root = world.run(first).summary.root;
    let suppressed = world.engine.suppressed(Some(root), None, 10).unwrap();
    assert_eq!(suppressed.len(), 1, "{suppressed:?}");
    assert!(suppressed[0].reason.starts_with("already-fired"), "{suppressed:?}");
    // A change from outside is a chain of its own.
    world.write("crm.lead", lead, &[("phone", Value::text("2"))]);
    world.settle();
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::text("21"));
}

// Shows: F091
#[test]
fn two_rules_in_a_cycle() {
    let world = World::new();
    update(&world, "a", "phone", "city = {phone}a");
    update(&world, "b", "city", "phone = {city}b");
    let lead = world.lead("Chairs");
    let first = world.write("crm.lead", lead, &[("phone", Value::text("1"))])[0];
    world.settle();
    let root = world.run(first).summary.root;
    let chain = world.engine.chain(root).unwrap();
    let told: Vec<_> = chain.iter().map(|run| (run.rule.as_str(), run.depth, run.parent.is_some())).collect();
    assert_eq!(told, [("a", 0, false), ("b", 1, true)]);
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::text("1ab"));
    assert_eq!(world.engine.suppressed(Some(root), Some("a"), 10).unwrap().len(), 1);
}

fn breed(world: &World, name: &str) {
    world.rule(&format!(
        "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n\
         actions = [{{ script = \"create-record\", parameters = {{ model = \"crm.lead\", values = \"name = {{name}}\" }} }}]"
    ));
}

fn suppressed(world: &World, reason: &str) -> u32 {
    world.count(&format!("SELECT count(*) FROM engine_suppressed WHERE reason LIKE '{reason}:%'"))
}

#[test]
fn a_chain_of_new_records_ends_at_its_depth() {
    let world = World::new();
    breed(&world, "next");
    let before = world.count("SELECT count(*) FROM crm_lead");
    world.lead("Chairs");
    world.settle();
    let depths: Vec<u32> = world.runs_of("next").iter().map(|run| run.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(world.count("SELECT count(*) FROM crm_lead"), before + 1 + 9);
    assert_eq!(suppressed(&world, "too-deep"), 1);
}

#[test]
fn fan_out_that_doubles_ends_at_a_thousand_runs() {
    let world = World::new();
    breed(&world, "left");
    breed(&world, "right");
    world.lead("Chairs");
    assert_eq!(world.step(), 2);
    // As if the chain had come so far already: most of its runs are over.
    world.commit(|conn| {
        conn.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 980)
             INSERT INTO engine_run (key, rule, rule_version, root, depth, request, class, actor, run_as, superuser, seed,
                                     at, state, due, blockers, attempt, fence, finished)
             SELECT 'x' || n, 'left', 1, r.root, 1, r.request, 'async', 2, 2, 0, 0, r.at, 'succeeded', r.due, 0, 1, 1, r.at
             FROM n, (SELECT * FROM engine_run WHERE id = 1) r",
            [],
        )
        .map_err(DbError::from)
    });
    world.settle();
    assert_eq!(world.count("SELECT count(*) FROM engine_run"), 1_000, "of one root event");
    assert!(suppressed(&world, "too-many-runs") > 0);
    assert_eq!(world.count("SELECT count(*) FROM engine_run WHERE state <> 'succeeded'"), 0);
}

// Shows: F092
#[test]
fn a_rule_under_test_runs_on_live_events_and_changes_nothing() {
    let world = World::new();
    world.rule(
        "name = \"rehearsal\"\nmodel = \"crm.lead\"\nenvironment = \"test\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"phone = 12\" } }]",
    );
    let lead = world.lead("Chairs");
    assert_eq!(world.settle(), 1);
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::Unset);
    let run = world.run(world.runs_of("rehearsal")[0].id);
    assert_eq!((run.summary.state, run.summary.code.as_deref()), (RunState::Succeeded, Some("dry-run")));
    let shown = &run.attempts[0].report["diff"]["records"][0]["fields"][0];
    assert_eq!(shown["field"], "phone", "{shown}");
}
