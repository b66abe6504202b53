//! From a change to a run to a commit.

use guest_artifacts::{Guest, HIGH_VALUE_ORDER, LEAD_SCORING};
use triggerbox_automation::{Config, runs::RunState};
use triggerbox_model::{
    event::Trigger,
    limits::{Limit, LimitRequest},
    value::Value,
};
use triggerbox_store::db::DbError;

use crate::world::{ADMIN, MANAGER, SAM, World};

const NOTED: &str = "High-value sale detected";

fn order(world: &World, total: f64) -> u32 {
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let product = world.search("product.product", "[]")[0];
    let order = world.create("sale.order", &[("partner_id", Value::link(partner))]);
    world.create(
        "sale.order.line",
        &[
            ("order_id", Value::link(order)),
            ("product_id", Value::link(product)),
            ("product_uom_qty", Value::Number(1.0)),
            ("price_unit", Value::Number(total)),
        ],
    );
    order
}

fn notes(world: &World, order: u32) -> usize {
    let domain = format!("[('model', '=', 'sale.order'), ('res_id', '=', {order}), ('body', 'ilike', '{NOTED}')]");
    world.search("mail.message", &domain).len()
}

const RULE: &str = r#"
    name = "notice-large-orders"
    model = "sale.order"
    trigger = { on = "created-or-updated", fields = ["amount_total"] }
    domain = "[('amount_total', '>', 5000)]"
    actions = [{ script = "high-value-order" }]
"#;

// Shows: F001, F002, F010, F015, F016
#[test]
fn a_change_fires_a_rule_whose_script_is_run_and_committed() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    world.rule(RULE);
    let (large, small) = (order(&world, 12_000.0), order(&world, 900.0));
    assert_eq!(world.settle(), 1, "only what matches the domain");
    assert_eq!((notes(&world, large), notes(&world, small)), (1, 0));

    let run = &world.runs_of("notice-large-orders")[0];
    assert_eq!((run.state, run.record, run.attempt), (RunState::Succeeded, Some(large), 1), "{run:?}");
    assert_eq!(run.message.as_deref(), Some("1 of 1 orders over 10000"));
    let detail = world.run(run.id);
    assert_eq!(detail.firing.trigger, Trigger::Updated, "the total came with the line");
    assert_eq!(detail.firing.old_values[0].id, large);
    assert_eq!(detail.attempts.len(), 1);
    assert!(detail.attempts[0].report["diff"]["records"][0].is_object(), "{}", detail.attempts[0].report);
    assert!(detail.attempts[0].journaled);

    assert!(world.write("sale.order", large, &[("note", Value::text("x"))]).is_empty(), "the field is not watched");
    assert_eq!(world.settle(), 0);
}

// Shows: F082
#[test]
fn a_rule_is_seen_at_once_when_it_changes() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    world.rule(&RULE.replace("actions", "active = false\nactions"));
    order(&world, 12_000.0);
    assert_eq!(world.settle(), 0, "an inactive rule never fires");
    world.rule(RULE);
    order(&world, 12_000.0);
    assert_eq!(world.settle(), 1);
    world.rule(&RULE.replace("5000", "50000"));
    order(&world, 12_000.0);
    assert_eq!(world.settle(), 0);
}

// Shows: F039, F040, F042, F007
#[test]
fn a_manual_fire_is_one_run_or_one_for_each_record() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    let rule = |more: &str| {
        format!(
            "name = \"button\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"manual\" }}\n\
             actions = [{{ script = \"high-value-order\" }}]\n{more}"
        )
    };
    let orders: Vec<u32> = (0..3).map(|_| order(&world, 20_000.0)).collect();
    let fire = || {
        let fired = world.engine.fire("button", ADMIN, Trigger::Manual, orders.clone());
        crate::world::block_on(fired).unwrap()
    };
    world.rule(&rule(""));
    let runs = fire();
    world.settle();
    assert_eq!(runs.len(), 1);
    assert_eq!(world.run(runs[0]).firing.records, orders);
    world.rule(&rule("dispatch = \"per-record\""));
    assert_eq!(fire().len(), 3);
    world.rule(&rule("dispatch = \"per-record\"\nmax-records = 2"));
    assert_eq!(fire().len(), 2);
    world.settle();
    let suppressed = world.engine.suppressed(None, Some("button"), 10).unwrap();
    assert!(suppressed[0].reason.starts_with("max-records"), "{suppressed:?}");
    assert_eq!(orders.iter().map(|order| notes(&world, *order)).sum::<usize>(), 3 + 3 + 2);
}

// Shows: F042
#[test]
fn of_the_records_of_one_fire_the_fewest_count_that_the_rule_its_script_or_the_host_wants() {
    let limits = |most| LimitRequest([(Limit::RecordsPerFire, most)].into());
    let world = World::with(Config { limits: limits(4), ..Config::default() });
    let orders: Vec<u32> = (0..6).map(|_| order(&world, 20_000.0)).collect();
    world.script(&HIGH_VALUE_ORDER);
    let runs = |action: &str, more: &str| {
        world.rule(&format!(
            "name = \"button\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"per-record\"\n\
             {more}\nactions = [{{ script = \"high-value-order\", limits = {{ {action} }} }}]"
        ));
        crate::world::block_on(world.engine.fire("button", ADMIN, Trigger::Manual, orders.clone())).unwrap().len()
    };
    assert_eq!(runs("", "max-records = 5"), 4, "the host's");
    assert_eq!(runs("", "max-records = 0"), 4, "whatever the rule says");
    assert_eq!(runs("", "max-records = 3"), 3, "the rule's");
    assert_eq!(runs("records-per-fire = 2", ""), 2, "the action's");
    assert_eq!(runs("records-per-fire = 0", ""), 4, "no cap of its own");
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap().replace("[limits]", "[limits]\nrecords-per-fire = 1");
    let world = World::new();
    world.script(&Guest { manifest: Some(manifest.leak()), ..HIGH_VALUE_ORDER });
    world.rule(
        "name = \"button\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
         max-records = 0\nactions = [{ script = \"high-value-order\" }]",
    );
    let fired = world.engine.fire("button", ADMIN, Trigger::Manual, vec![1, 2, 3]);
    assert_eq!(crate::world::block_on(fired).unwrap().len(), 1, "the script's");
}

// Shows: F012
#[test]
fn several_actions_are_one_change() {
    let world = World::new();
    world.script(&HIGH_VALUE_ORDER);
    world.rule(&RULE.replace(
        "actions = [{ script = \"high-value-order\" }]",
        "actions = [{ script = \"high-value-order\" }, { script = \"high-value-order\", parameters = { threshold = \"15000\" } }]",
    ));
    let order = order(&world, 12_000.0);
    world.settle();
    let run = world.run(world.runs_of("notice-large-orders")[0].id);
    assert_eq!(run.attempts.len(), 2);
    assert_eq!(notes(&world, order), 1);
    assert_eq!(run.summary.message.as_deref(), Some("0 of 1 orders over 15000"), "the last one that says something");
}

// Shows: F091
#[test]
fn a_rule_that_writes_the_record_that_fires_it_stops() {
    let world = World::new();
    world.script(&LEAD_SCORING);
    world.rule(
        r#"
        name = "score"
        model = "crm.lead"
        trigger = { on = "created-or-updated" }
        actions = [{ script = "lead-scoring" }]
        "#,
    );
    let lead = world.create(
        "crm.lead",
        &[
            ("name", Value::text("Software for our manufacturing plants")),
            ("email_from", Value::text("ada@cedar.example")),
            ("expected_revenue", Value::Number(500_000.0)),
        ],
    );
    world.settle();
    let runs = world.runs_of("score");
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded && run.record == Some(lead)), "{runs:#?}");
    assert_eq!(runs.iter().map(|run| run.depth).collect::<Vec<_>>(), [0, 1], "its own write fires it once more");
    assert!(runs.iter().all(|run| run.root == runs[0].root));
    assert_eq!(runs[1].parent, Some(runs[0].id));
}

// Shows: F039, F040, F042, F043, F044, F046
#[test]
fn records_that_the_event_does_not_bring_come_from_the_source() {
    let world = World::new();
    let rule = |more: &str| {
        world.rule(&format!(
            "name = \"sweep\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n{more}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        ));
    };
    let fire = |records: Vec<u32>| {
        let fired = world.engine.fire("sweep", ADMIN, Trigger::Manual, records);
        let run = crate::world::block_on(fired).unwrap()[0];
        let before = world.count("SELECT count(*) FROM engine_run");
        world.settle();
        (world.run(run), world.count("SELECT count(*) FROM engine_run") - before)
    };
    let [one, two, three] = ["1", "2", "3"]
        .map(|phone| world.create("crm.lead", &[("name", Value::text("Chairs")), ("phone", Value::text(phone))]));
    let in_ghent = || world.search("crm.lead", "[('city', '=', 'Ghent'), ('name', '=', 'Chairs')]").len();

    rule("source = { domain = \"[('name', '=', 'Chairs'), ('phone', 'in', ['1', '2'])]\" }");
    let (run, _) = fire(vec![three]);
    assert_eq!((run.summary.state, in_ghent()), (RunState::Succeeded, 1), "the caller's records come first");
    let (run, more) = fire(Vec::new());
    assert_eq!((run.summary.message.as_deref(), in_ghent(), more), (Some("2 of 2 updated"), 3, 0));

    rule("source = { domain = \"[('name', '=', 'Chairs')]\" }\ndispatch = \"per-record\"\nmax-records = 2");
    let (run, more) = fire(Vec::new());
    assert_eq!((run.summary.code.as_deref(), more), (Some("spread"), 2));
    assert!(world.runs_of("sweep").iter().rev().take(2).all(|child| child.parent == Some(run.summary.id)));

    rule("source = { domain = \"[('name', '=', 'Nobody')]\" }");
    let (run, _) = fire(Vec::new());
    assert_eq!((run.summary.state, run.summary.code.as_deref()), (RunState::Skipped, Some("no-records")));
    let _ = (one, two);
}

// Shows: F022
#[test]
fn for_a_user_who_left_the_administrator_stands_in_within_the_rules_grants() {
    let world = &World::new();
    let rule = |name: &str, field: &str, owner: u32, run_as: &str| {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n{run_as}\n\
             source = {{ domain = \"[('name', '=', 'Chairs')]\" }}\n\
             [[actions]]\nscript = \"update-record\"\nparameters = {{ values = \"{field} = {{{field}}}x\" }}\n\
             [[actions.grants]]\nmodel = \"crm.lead\"\noperations = [\"read\", \"write\"]\nfields = [\"city\"]\n\
             domain = \"[('name', '=', 'Chairs')]\"\n"
        ));
        world.commit(move |conn| conn.execute("UPDATE engine_rule SET owner = ?1", [owner]).map_err(DbError::from));
    };
    let fire = |rule: &str| {
        let run = crate::world::block_on(world.engine.fire(rule, ADMIN, Trigger::Manual, Vec::new())).unwrap()[0];
        move || {
            world.settle();
            world.run(run)
        }
    };
    let lead = |name: &str, user: u32| {
        world.create("crm.lead", &[("name", Value::text(name)), ("user_id", Value::link(user))])
    };
    let (his, other) = (lead("Chairs", SAM), lead("Chairs", MANAGER));
    let cities = || [his, other].map(|lead| world.value("crm.lead", lead, "city"));
    for (owner, run_as) in [(SAM, ""), (ADMIN, "run-as = \"sam\"")] {
        world.write("res.users", SAM, &[("active", Value::Boolean(true))]);
        world.change(vec![crate::world::write("crm.lead", &[his, other], &[("city", Value::Unset)])]);
        rule("sweep", "city", owner, run_as);
        rule("reach", "phone", owner, run_as);
        let run = fire("sweep")().summary;
        assert_eq!(run.run_as, SAM);
        assert_eq!(cities(), [Value::text("x"), Value::Unset], "what he sees: {run:?}");
        // The run that waits has the rights of whoever stands in when it starts.
        let waiting = fire("sweep");
        world.write("res.users", SAM, &[("active", Value::Boolean(false))]);
        let run = waiting().summary;
        assert_eq!((run.state, run.run_as, run.superuser), (RunState::Succeeded, ADMIN, false), "{run:?}");
        assert_eq!(cities(), [Value::text("xx"), Value::text("x")]);
        // The rule's grants bind the administrator as they bound him.
        let run = fire("reach")().summary;
        let refused = run.message.as_deref().is_some_and(|text| text.starts_with("refused-by-rule: "));
        assert!((run.state, run.run_as) == (RunState::Failed, ADMIN) && refused, "{run:?}");
    }
}
