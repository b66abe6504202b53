//! What fires a rule, and what does not: the semantics of Odoo 19, on real changes only.

use triggerbox_automation::runs::RunId;
use triggerbox_model::{
    call::{BodyFormat, Call, Command, Message},
    event::Trigger,
    value::{FieldValue, Id, RecordRef, Value},
};

use crate::world::{World, create, write};

/// A rule on leads whose runs are only counted.
fn watch(world: &World, trigger: &str, more: &str) {
    world.rule(&format!(
        "name = \"watch\"\nmodel = \"crm.lead\"\ntrigger = {{ {trigger} }}\n\
         actions = [{{ script = \"notify\", parameters = {{ text = \"seen\" }} }}]\n{more}"
    ));
}

fn fires(world: &World, lead: Id, values: &[(&str, Value)]) -> usize {
    world.write("crm.lead", lead, values).len()
}

fn new(world: &World, values: &[(&str, Value)]) -> (Id, Vec<RunId>) {
    let mut all = vec![("name", Value::text("Chairs"))];
    all.extend_from_slice(values);
    let changed = world.change(vec![create("crm.lead", &all)]);
    (changed.committed.events[0].record.id, changed.runs)
}

fn set(world: &World, lead: Id, field: &str, value: Value) -> usize {
    fires(world, lead, &[(field, value)])
}

// Shows: F001
#[test]
fn created() {
    let world = World::new();
    watch(&world, "on = \"created\"", "domain = \"[('type', '=', 'lead')]\"");
    let (lead, runs) = new(&world, &[("type", Value::text("lead"))]);
    assert_eq!(runs.len(), 1);
    assert_eq!(new(&world, &[]).1.len(), 0);
    assert_eq!(set(&world, lead, "name", Value::text("Tables")), 0);
}

// Shows: F002, F086
#[test]
fn updated_only_on_real_changes_of_watched_fields() {
    let world = World::new();
    watch(&world, "on = \"updated\", fields = [\"phone\", \"tag_ids\"]", "");
    let (lead, runs) = new(&world, &[("phone", Value::text("1"))]);
    assert_eq!(runs.len(), 0);
    assert_eq!(set(&world, lead, "phone", Value::text("1")), 0, "the same value");
    assert_eq!(set(&world, lead, "city", Value::text("Ghent")), 0, "another field");
    assert_eq!(set(&world, lead, "phone", Value::text("2")), 1);
    assert_eq!(fires(&world, lead, &[("phone", Value::text("3")), ("city", Value::text("Liège"))]), 1, "one fire");
    assert_eq!(set(&world, lead, "tag_ids", Value::Ids(vec![1])), 1);
    assert_eq!(set(&world, lead, "tag_ids", Value::Ids(vec![1])), 0);
    // There and back in one transaction is no change.
    let there_and_back = ["9", "3"].map(|phone| write("crm.lead", &[lead], &[("phone", Value::text(phone))]));
    assert_eq!(world.change(there_and_back.into()).runs.len(), 0);
    let twice = ["5", "6"].map(|phone| write("crm.lead", &[lead], &[("phone", Value::text(phone))]));
    let changed = world.change(twice.into());
    assert_eq!(changed.runs.len(), 1, "one fire for a record, a rule and a transaction");
    let before = &world.run(changed.runs[0]).firing.old_values[0];
    assert_eq!(before.fields, [FieldValue::new("phone", Value::text("3"))]);
}

// Shows: F002, F010
#[test]
fn domains_are_judged_before_and_after_the_change() {
    let world = World::new();
    watch(
        &world,
        "on = \"created-or-updated\"",
        "before-domain = \"[('priority', '=', '1')]\"\ndomain = \"[('priority', '=', '3')]\"",
    );
    let priority = |lead, value: &str| set(&world, lead, "priority", Value::text(value));
    let (lead, runs) = new(&world, &[("priority", Value::text("1"))]);
    assert_eq!(runs.len(), 0);
    assert_eq!(priority(lead, "3"), 1, "1 to 3");
    assert_eq!(priority(lead, "1"), 0);
    assert_eq!((priority(lead, "2"), priority(lead, "3")), (0, 0), "1 to 2 to 3");
    assert_eq!(new(&world, &[("priority", Value::text("3"))]).1.len(), 1);
}

#[test]
fn domains_reach_other_records_whatever_the_user_may_see() {
    let world = World::new();
    watch(&world, "on = \"updated\"", "domain = \"[('partner_id.is_company', '=', True)]\"");
    let company = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let person = world.search("res.partner", "[('is_company', '=', False)]")[0];
    let (lead, _) = new(&world, &[("partner_id", Value::link(person)), ("user_id", Value::link(crate::world::SAM))]);
    assert_eq!(set(&world, lead, "city", Value::text("Ghent")), 0);
    assert_eq!(set(&world, lead, "partner_id", Value::link(company)), 1);
    let call = vec![write("crm.lead", &[lead], &[("street", Value::text("Market"))])];
    assert_eq!(world.try_change(crate::world::SAM, call).unwrap().runs.len(), 1);
}

// Shows: F003
#[test]
fn deleted_with_the_last_values() {
    let world = World::new();
    watch(&world, "on = \"deleted\"", "domain = \"[('phone', '=', '12')]\"");
    let ((lead, _), (other, _)) = (new(&world, &[("phone", Value::text("12"))]), new(&world, &[]));
    let changed = world.change(vec![Call::Unlink { model: "crm.lead".into(), ids: vec![lead, other] }]);
    assert_eq!(changed.runs.len(), 1);
    let Trigger::Deleted(last) = world.run(changed.runs[0]).firing.trigger else { panic!("not deleted") };
    assert_eq!(last.len(), 1);
    assert!(last[0].fields.contains(&FieldValue::new("phone", Value::text("12"))), "{last:?}");
}

// Shows: F003
#[test]
fn deleted_is_judged_by_what_was_there_just_before() {
    let world = World::new();
    let unlink = |model: &str, ids: &[Id]| Call::Unlink { model: model.into(), ids: ids.to_vec() };
    let rule = |model: &str, domain: &str| {
        world.rule(&format!(
            "name = \"gone\"\nmodel = \"{model}\"\ntrigger = {{ on = \"deleted\" }}\n\
             actions = [{{ script = \"notify\", parameters = {{ text = \"seen\" }} }}]\ndomain = \"{domain}\""
        ));
    };
    // What the store writes by itself is among the last values.
    rule("crm.lead", "[('create_uid', '=', 2), ('create_date', '!=', False), ('phone', '=', '2')]");
    let (lead, _) = new(&world, &[("phone", Value::text("1"))]);
    let changed =
        world.change(vec![write("crm.lead", &[lead], &[("phone", Value::text("2"))]), unlink("crm.lead", &[lead])]);
    assert_eq!(changed.runs.len(), 1);
    let Trigger::Deleted(last) = world.run(changed.runs[0]).firing.trigger else { panic!("not deleted") };
    assert!(last[0].fields.contains(&FieldValue::new("phone", Value::text("2"))), "{last:?}");
    let (lead, _) = new(&world, &[("phone", Value::text("2"))]);
    let changed =
        world.change(vec![write("crm.lead", &[lead], &[("phone", Value::Unset)]), unlink("crm.lead", &[lead])]);
    assert_eq!(changed.runs.len(), 0);

    // A line that goes with its order was there; one that went before it was not.
    rule("sale.order", "[('order_line.name', '=', 'Kept')]");
    let product = world.search("product.product", "[]")[0];
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let order = || {
        let order = world.create("sale.order", &[("partner_id", Value::link(partner))]);
        let line =
            [("order_id", Value::link(order)), ("name", Value::text("Kept")), ("product_id", Value::link(product))];
        (order, world.create("sale.order.line", &line))
    };
    assert_eq!(world.change(vec![unlink("sale.order", &[order().0])]).runs.len(), 1);
    let (first, line) = order();
    assert_eq!(world.change(vec![unlink("sale.order.line", &[line]), unlink("sale.order", &[first])]).runs.len(), 0);
    let (first, line) = order();
    let renamed = write("sale.order.line", &[line], &[("name", Value::text("Other"))]);
    assert_eq!(world.change(vec![renamed, unlink("sale.order", &[first])]).runs.len(), 0);

    // A link that was let go before is no link any more; one that the deletion lets go is.
    rule("res.partner", "[('child_ids.name', '=', 'Ann')]");
    let family = || {
        let parent = world.create("res.partner", &[("name", Value::text("House"))]);
        let child = [("name", Value::text("Ann")), ("parent_id", Value::link(parent))];
        (parent, world.create("res.partner", &child))
    };
    assert_eq!(world.change(vec![unlink("res.partner", &[family().0])]).runs.len(), 1);
    for to in [Value::Unset, Value::link(partner)] {
        let (parent, child) = family();
        let leaves = write("res.partner", &[child], &[("parent_id", to)]);
        assert_eq!(world.change(vec![leaves, unlink("res.partner", &[parent])]).runs.len(), 0);
    }
    let (parent, child) = family();
    let later = write("res.partner", &[child], &[("name", Value::text("Bea"))]);
    assert_eq!(world.change(vec![unlink("res.partner", &[parent]), later]).runs.len(), 1, "what came later");

    // An activity is linked by a number: where it went later is not where it was.
    rule("crm.lead", "[('partner_id.activity_ids.summary', '=', 'Call Ann')]");
    let about = [("res_model", Value::text("res.partner")), ("res_id", Value::link(partner))];
    let activity = world.create("mail.activity", &[&about[..], &[("summary", Value::text("Call Ann"))]].concat());
    let (lead, _) = new(&world, &[("partner_id", Value::link(partner))]);
    let moves = write("mail.activity", &[activity], &[("res_id", Value::link(family().0))]);
    assert_eq!(world.change(vec![unlink("crm.lead", &[lead]), moves]).runs.len(), 1);
}

#[test]
fn stage_priority_tag_and_user_set() {
    let world = World::new();
    let stages = world.search("crm.stage", "[]");
    watch(&world, &format!("on = \"stage-set\", value = {}", stages[1]), "");
    let (lead, _) = new(&world, &[("stage_id", Value::link(stages[0]))]);
    let stage = |at: usize| set(&world, lead, "stage_id", Value::link(stages[at]));
    assert_eq!([stage(1), stage(1), stage(2), stage(1)], [1, 0, 0, 1], "in, in, out, in again");

    watch(&world, "on = \"priority-set\", value = \"2\"", "");
    let priority = |value: &str| set(&world, lead, "priority", Value::text(value));
    assert_eq!([priority("1"), priority("2"), priority("2"), priority("0"), priority("2")], [0, 1, 0, 0, 1]);

    watch(&world, "on = \"tag-set\", value = 2", "");
    let tags = |ids: &[Id]| set(&world, lead, "tag_ids", Value::Ids(ids.to_vec()));
    assert_eq!([tags(&[1]), tags(&[1, 2]), tags(&[2, 3]), tags(&[3]), tags(&[2])], [0, 1, 0, 0, 1]);
    let link = Call::Relate {
        target: RecordRef::new("crm.lead", lead),
        field: "tag_ids".into(),
        commands: vec![Command::Link(2), Command::Link(4)],
    };
    assert_eq!(world.change(vec![link]).runs.len(), 0, "it was there");

    watch(&world, "on = \"user-set\"", "");
    let user = |value: Value| set(&world, lead, "user_id", value);
    let (sam, manager) = (Value::link(crate::world::SAM), Value::link(crate::world::MANAGER));
    assert_eq!([user(sam.clone()), user(sam.clone()), user(Value::Unset), user(manager)], [1, 0, 0, 1]);
    assert_eq!(new(&world, &[("user_id", sam)]).1.len(), 1);
}

#[test]
fn state_set() {
    let world = World::new();
    world.rule(
        "name = \"confirmed\"\nmodel = \"sale.order\"\ntrigger = { on = \"state-set\", value = \"sale\" }\n\
         actions = [{ script = \"notify\", parameters = { text = \"seen\" } }]",
    );
    let order = world.search("sale.order", "[('state', '=', 'draft')]")[0];
    let state = |value: &str| world.write("sale.order", order, &[("state", Value::text(value))]).len();
    assert_eq!([state("sent"), state("sale"), state("cancel"), state("sale")], [0, 1, 0, 1]);
}

#[test]
fn archived_and_unarchived() {
    let world = World::new();
    let (lead, _) = new(&world, &[]);
    let active = |value: bool| set(&world, lead, "active", Value::Boolean(value));
    watch(&world, "on = \"archived\"", "");
    assert_eq!([active(true), active(false), active(false), active(true)], [0, 1, 0, 0]);
    watch(&world, "on = \"unarchived\"", "");
    assert_eq!([active(true), active(false), active(true)], [0, 0, 1]);
}

#[test]
fn messages_sent_and_received_but_not_notes() {
    let world = World::new();
    let (lead, _) = new(&world, &[("user_id", Value::link(crate::world::ADMIN))]);
    let target = RecordRef::new("crm.lead", lead);
    let post = |note: bool| {
        let message = Message {
            body: "hello".into(),
            format: BodyFormat::Text,
            subject: None,
            partner_ids: Vec::new(),
            attachments: Vec::new(),
        };
        let call = match note {
            true => Call::PostNote { target: target.clone(), message },
            false => Call::PostMessage { target: target.clone(), message },
        };
        world.change(vec![call]).runs
    };
    watch(&world, "on = \"message-sent\"", "");
    assert_eq!(post(true).len(), 0, "a note");
    let runs = post(false);
    assert_eq!(runs.len(), 1);
    let Trigger::Message(message) = world.run(runs[0]).firing.trigger else { panic!("no message") };
    assert!(message.body.contains("hello") && message.author.is_some(), "{message:?}");
    watch(&world, "on = \"message-received\"", "");
    assert_eq!(post(false).len(), 0, "from a colleague");
    let customer = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let subtype = world.search("mail.message.subtype", "[('internal', '=', False)]")[0];
    let incoming = create(
        "mail.message",
        &[
            ("model", Value::text("crm.lead")),
            ("res_id", Value::Integer(i32::try_from(lead).unwrap())),
            ("message_type", Value::text("email")),
            ("subtype_id", Value::link(subtype)),
            ("author_id", Value::link(customer)),
            ("body", Value::text("<p>Where is it?</p>")),
        ],
    );
    assert_eq!(world.change(vec![incoming]).runs.len(), 1);
}

#[test]
fn a_stored_field_that_another_record_computes_fires_too() {
    let world = World::new();
    world.rule(
        "name = \"total\"\nmodel = \"sale.order\"\ntrigger = { on = \"updated\", fields = [\"amount_total\"] }\n\
         actions = [{ script = \"notify\", parameters = { text = \"seen\" } }]",
    );
    let line = world.search("sale.order.line", "[('product_uom_qty', '>', 0)]")[0];
    let runs = world.write("sale.order.line", line, &[("product_uom_qty", Value::Number(17.0))]);
    assert_eq!(runs.len(), 1);
}

// Shows: F038, F039, F040, F042
#[test]
fn many_records_of_one_change() {
    let world = World::new();
    let many = |world: &World, count: usize| {
        let list = vec![vec![FieldValue::new("name", Value::text("x"))]; count];
        world.change(vec![Call::Create { model: "crm.lead".into(), values: list }]).runs
    };
    watch(&world, "on = \"created\"", "");
    let runs = many(&world, 30);
    assert_eq!(runs.len(), 1);
    assert_eq!(world.run(runs[0]).firing.records.len(), 30);
    watch(&world, "on = \"created\"", "dispatch = \"per-record\"\nmax-records = 20");
    assert_eq!(many(&world, 30).len(), 20);
    assert_eq!(world.engine.suppressed(None, Some("watch"), 100).unwrap().len(), 10, "the rest is not silent");
    watch(&world, "on = \"created\"", "dispatch = \"per-record\"\nmax-records = 0");
    assert_eq!(many(&world, 30).len(), 30);
}

// Shows: F090
#[test]
fn a_fire_over_very_many_records_is_a_batch_with_a_warning() {
    let world = World::new();
    watch(&world, "on = \"created\"", "");
    let list = vec![vec![FieldValue::new("name", Value::text("x"))]; 1_001];
    let runs = world.change(vec![Call::Create { model: "crm.lead".into(), values: list }]).runs;
    let run = world.run(runs[0]);
    assert_eq!(run.summary.class, "batch");
    assert!(run.firing.warnings[0].contains("1001 records"), "{:?}", run.firing.warnings);
}

// Shows: F086
#[test]
fn fires_that_follow_each_other_join_while_the_first_waits() {
    let world = World::new();
    watch(&world, "on = \"updated\", fields = [\"phone\"]", "debounce = 60\ndispatch = \"per-record\"");
    let ((lead, _), (other, _)) = (new(&world, &[("phone", Value::text("0"))]), new(&world, &[]));
    let phone = |lead: Id, text: &str| set(&world, lead, "phone", Value::text(text));
    assert_eq!([phone(lead, "1"), phone(lead, "2"), phone(other, "1"), phone(lead, "3")], [1, 0, 1, 0]);
    assert_eq!(world.settle(), 0, "they wait");
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.settle(), 2);
    let run = &world.runs_of("watch")[0];
    let before = &world.run(run.id).firing.old_values;
    assert_eq!(before[0].fields, [FieldValue::new("phone", Value::text("0"))], "as it was at first");
    assert_eq!(phone(lead, "4"), 1, "a run that is over is not joined");
}
