//! Cases of Odoo's own tests of automation rules that no other test here is about.

use guest_artifacts::CONTACT_UPSERT;
use triggerbox_automation::runs::RunState;
use triggerbox_model::{
    call::{BodyFormat, Call, Command, Message},
    event::{Trigger, WebhookCall},
    value::{FieldValue, Id, RecordRef, Snapshot, Value},
};

use crate::world::{ADMIN, MANAGER, SAM, World, block_on, fields};

/// A rule with one ready-made script.
fn rule(world: &World, name: &str, model: &str, trigger: &str, script: &str, parameters: &str) {
    world.rule(&format!(
        "name = \"{name}\"\nmodel = \"{model}\"\ntrigger = {{ {trigger} }}\n[[actions]]\nscript = \"{script}\"\n\
         parameters = {{ {parameters} }}\n"
    ));
}

fn order(world: &World) -> Id {
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    world.create("sale.order", &[("partner_id", Value::link(partner))])
}

// Shows: F091
#[test]
fn four_rules_in_a_circle_all_run_once_and_stop() {
    let world = World::new();
    for (from, to) in [("0", "1"), ("1", "2"), ("2", "3"), ("3", "0")] {
        let trigger = format!("on = \"priority-set\", value = \"{from}\"");
        rule(
            &world,
            &format!("from-{from}"),
            "crm.lead",
            &trigger,
            "update-record",
            &format!("values = \"priority = {to}\""),
        );
    }
    let lead = world.create("crm.lead", &[("name", Value::text("Round")), ("priority", Value::text("0"))]);
    world.settle();
    for from in 0..4 {
        assert_eq!(world.runs_of(&format!("from-{from}")).len(), 1, "{from}");
    }
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("0"), "once around");
}

#[test]
fn commands_on_the_parent_fire_rules_on_its_lines() {
    let world = World::new();
    rule(
        &world,
        "lines",
        "sale.order.line",
        "on = \"created-or-updated\", fields = [\"price_unit\"]",
        "update-record",
        "values = \"name = seen\"",
    );
    let order = order(&world);
    let product = world.search("product.product", "[]")[0];
    let line = fields(&[("product_id", Value::link(product)), ("price_unit", Value::Number(5.0))]);
    let relate = |command: Command| Call::Relate {
        target: RecordRef::new("sale.order", order),
        field: "order_line".to_owned(),
        commands: vec![command],
    };
    assert_eq!(world.change(vec![relate(Command::Create(line))]).runs.len(), 1, "a new line");
    let made = world.search("sale.order.line", &format!("[('order_id', '=', {order})]"))[0];
    let dearer = fields(&[("price_unit", Value::Number(6.0))]);
    assert_eq!(world.change(vec![relate(Command::Update(made, dearer))]).runs.len(), 1, "a changed line");
    world.settle();
    assert_eq!(world.value("sale.order.line", made, "name"), Value::text("seen"));
}

// Shows: F012, F013
#[test]
fn one_record_is_created_for_each_creation_and_for_each_write() {
    let world = World::new();
    rule(
        &world,
        "copy",
        "crm.lead",
        "on = \"created-or-updated\"",
        "create-record",
        "model = \"crm.tag\", values = \"name = {name}\"",
    );
    let tags = || world.search("crm.tag", "[('name', 'in', ['One', 'Two'])]").len();
    let lead = world.create("crm.lead", &[("name", Value::text("One"))]);
    world.settle();
    assert_eq!(tags(), 1);
    world.write("crm.lead", lead, &[("name", Value::text("Two"))]);
    world.settle();
    assert_eq!(tags(), 2, "once, whatever is recomputed with it");
}

#[test]
fn several_users_set_linked_taken_away_and_cleared() {
    let world = World::new();
    rule(&world, "task", "project.task", "on = \"user-set\"", "notify", "text = \"seen\"");
    let task = world.search("project.task", "[]")[0];
    world.write("project.task", task, &[("user_ids", Value::Ids(Vec::new()))]);
    let set = |ids: &[Id]| world.write("project.task", task, &[("user_ids", Value::Ids(ids.to_vec()))]).len();
    assert_eq!([set(&[SAM]), set(&[SAM]), set(&[SAM, MANAGER]), set(&[MANAGER]), set(&[])], [1, 0, 1, 1, 0]);
}

#[test]
fn two_rules_hear_one_message() {
    let world = World::new();
    for name in ["one", "two"] {
        rule(&world, name, "crm.lead", "on = \"message-sent\"", "update-record", "values = \"priority = 1\"");
    }
    let lead = world.lead("Heard");
    let message = Message {
        body: "Hello".to_owned(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    };
    let post = Call::PostMessage { target: RecordRef::new("crm.lead", lead), message };
    assert_eq!(world.change(vec![post]).runs.len(), 2);
}

// Shows: F005
#[test]
fn a_form_without_the_field_is_judged_by_what_is_stored() {
    let world = World::new();
    world.rule(
        "name = \"form\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'lead')]\"\n\
         trigger = { on = \"on-change\", fields = [\"phone\"] }\n[[actions]]\nscript = \"update-record\"\n\
         parameters = { values = \"priority = 3\" }",
    );
    let ask = |kind: &str| {
        let lead = world.create("crm.lead", &[("name", Value::text("Form")), ("type", Value::text(kind))]);
        let draft = Snapshot { id: lead, fields: vec![FieldValue::new("phone", Value::text("1"))] };
        block_on(world.engine.draft(ADMIN, "crm.lead", &draft, &["phone".to_owned()])).unwrap().values
    };
    assert_eq!(ask("lead"), [FieldValue::new("priority", Value::text("3"))]);
    assert_eq!(ask("opportunity"), []);
}

// Shows: F008
#[test]
fn a_webhooks_payload_reaches_the_script() {
    let world = World::new();
    world.script(&CONTACT_UPSERT);
    world.rule(
        "name = \"inquiry\"\ntrigger = { on = \"webhook\", secret = \"site\" }\nactions = [{ script = \"contact-upsert\" }]",
    );
    let body = br#"{"email": "ada@engines.example", "name": "Ada", "subject": "Looms"}"#.to_vec();
    let call = WebhookCall { method: "POST".to_owned(), headers: Vec::new(), query: Vec::new(), body };
    let runs = block_on(world.engine.fire("inquiry", ADMIN, Trigger::Webhook(call), Vec::new())).unwrap();
    world.settle();
    assert_eq!(world.run(runs[0]).summary.state, RunState::Succeeded);
    assert_eq!(world.search("crm.lead", "[('name', '=', 'Looms')]").len(), 1);
    let garbage =
        WebhookCall { method: "POST".to_owned(), headers: Vec::new(), query: Vec::new(), body: b"?".to_vec() };
    let runs = block_on(world.engine.fire("inquiry", ADMIN, Trigger::Webhook(garbage), Vec::new())).unwrap();
    world.settle();
    assert_eq!(world.run(runs[0]).summary.state, RunState::Failed);
}

#[test]
fn a_write_of_nothing_is_no_change() {
    let world = World::new();
    rule(&world, "any", "crm.lead", "on = \"created-or-updated\"", "notify", "text = \"seen\"");
    let lead = world.lead("Still");
    assert_eq!(world.write("crm.lead", lead, &[]).len(), 0);
}

// Shows: F004
#[test]
fn a_negative_delay_is_before_the_date() {
    let world = World::new();
    let trigger = "on = \"time\", field = \"date_deadline\", delay = -2, unit = \"days\"";
    rule(&world, "soon", "crm.lead", trigger, "notify", "text = \"soon due\"");
    world.create("crm.lead", &[("name", Value::text("Due")), ("date_deadline", Value::Date("2026-11-25".into()))]);
    let due = |days: u64| {
        world.pass(std::time::Duration::from_secs(days * 24 * 3600));
        block_on(world.engine.tick()).unwrap()
    };
    assert_eq!([due(1), due(2), due(1)], [0, 1, 0]);
}
