//! Rules that stand before a write, and rules that answer to a form.

use guest_artifacts::{DEMO_LOOP_FOREVER, DEMO_WRITE_THEN_TRAP, PHONE_FORMAT};
use triggerbox_automation::{Clock, Config, diagnose::diagnose, runs::RunState};
use triggerbox_model::{
    call::{Activity, BodyFormat, Call, Command, Message},
    event::Trigger,
    value::{FieldValue, RecordRef, Snapshot, Value},
};
use triggerbox_store::db::DbError;

use crate::world::{ADMIN, MANAGER, SAM, World, block_on, create, fields, write};

fn gate(world: &World, script: &str, more: &str) {
    world.script(&PHONE_FORMAT);
    world.script(&DEMO_LOOP_FOREVER);
    world.rule(&format!(
        "name = \"gate\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"before\", writes = [\"create\", \"update\"], fields = [\"phone\"] }}\n\
         actions = [{{ script = \"{script}\" }}]\n{more}"
    ));
}

// Shows: F110
#[test]
fn a_rule_before_a_write_adds_values_or_refuses_it() {
    let world = World::new();
    gate(&world, "phone-format", "");
    let lead =
        world.create("crm.lead", &[("name", Value::text("Chairs")), ("phone", Value::text("+32 (2) 555-01.02"))]);
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::text("+3225550102"));
    world.write("crm.lead", lead, &[("phone", Value::text("02 / 555 01 03"))]);
    assert_eq!(world.value("crm.lead", lead, "phone"), Value::text("025550103"));

    let refused =
        world.try_change(ADMIN, vec![write("crm.lead", &[lead], &[("phone", Value::text("soon"))])]).unwrap_err();
    assert_eq!(
        (refused.code(), refused.to_string()),
        ("refused-before-write", "“soon” is no telephone number".to_owned())
    );
    let refused = world.try_change(
        ADMIN,
        vec![
            write("crm.lead", &[lead], &[("name", Value::text("Tables"))]),
            create("crm.lead", &[("name", Value::text("x")), ("phone", Value::text("x"))]),
        ],
    );
    assert_eq!(refused.unwrap_err().code(), "refused-before-write");
    assert_eq!(world.value("crm.lead", lead, "name"), Value::text("Chairs"), "all calls or none");
    // There is no way around it.
    let lead_of = |phone: &str| {
        vec![FieldValue::new("name", Value::text("Chairs")), FieldValue::new("phone", Value::text(phone))]
    };
    let ensure = Call::Ensure { model: "crm.lead".into(), keys: vec!["name".into()], values: lead_of("x") };
    let copy = Call::Copy { target: RecordRef::new("crm.lead", lead), values: lead_of("x") };
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let relate = |command: Command| Call::Relate {
        target: RecordRef::new("res.partner", partner),
        field: "lead_ids".into(),
        commands: vec![command],
    };
    for call in [ensure, copy, relate(Command::Create(lead_of("x"))), relate(Command::Update(lead, lead_of("x")))] {
        assert_eq!(world.try_change(ADMIN, vec![call]).unwrap_err().code(), "refused-before-write");
    }
    world.change(vec![relate(Command::Create(lead_of("02 12 34")))]);
    assert_eq!(world.search("crm.lead", "[('phone', '=', '021234')]").len(), 1);
    // Other fields are no matter of the rule.
    world.write("crm.lead", lead, &[("name", Value::text("Tables"))]);
}

// Shows: F110
#[test]
fn each_of_its_scripts_adds_only_what_its_own_grants_let_it_and_where() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    let rule = |actions: &str| {
        world.rule(&format!(
            "name = \"gate\"\nmodel = \"crm.lead\"\n\
             trigger = {{ on = \"before\", writes = [\"create\", \"update\"], fields = [\"phone\"] }}\n\
             actions = [{actions}]"
        ));
    };
    let phone = Value::text("02 / 555 01 03");
    let lead = |priority: &str| {
        world.create("crm.lead", &[("name", Value::text("Chairs")), ("priority", Value::text(priority))])
    };
    let (hot, cold) = (lead("3"), lead("0"));
    let code = |call: Call| {
        world.try_change(ADMIN, vec![call]).map_or_else(|error| error.code().to_owned(), |_| String::new())
    };
    rule(
        "{ script = \"phone-format\", grants = [{ model = \"crm.lead\", operations = [\"create\", \"write\"], \
         fields = [\"phone\"], domain = \"[('priority', '=', '3')]\" }] }",
    );
    for ids in [&[cold][..], &[hot, cold]] {
        let refused = world.try_change(ADMIN, vec![write("crm.lead", ids, &[("phone", phone.clone())])]).unwrap_err();
        assert_eq!(refused.code(), "refused-by-domain", "{refused}");
        assert!(refused.to_string().contains(&format!("crm.lead({cold})")), "{refused}");
    }
    let new = create("crm.lead", &[("name", Value::text("Tables")), ("phone", phone.clone())]);
    assert_eq!(code(new), "refused-by-domain", "what is not there yet matches nothing");
    world.write("crm.lead", hot, &[("phone", phone.clone())]);
    assert_eq!(world.value("crm.lead", hot, "phone"), Value::text("025550103"));

    // What another script of the rule may add is no matter.
    let other = "{ script = \"update-record\", parameters = { values = \"phone = 02 555 01 04\" } }";
    for (first, refused) in [("{ script = \"phone-format\", grants = [] }, ", "refused-by-rule"), ("", "")] {
        rule(&format!("{first}{other}"));
        assert_eq!(code(write("crm.lead", &[cold], &[("phone", phone.clone())])), refused);
    }
}

#[test]
fn it_adds_nothing_to_records_that_it_is_not_about() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    world.rule(
        "name = \"gate\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'lead')]\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"phone\"] }\n\
         actions = [{ script = \"phone-format\" }]",
    );
    let made = |kind: &str| world.create("crm.lead", &[("name", Value::text("Chairs")), ("type", Value::text(kind))]);
    let (lead, deal) = (made("lead"), made("opportunity"));
    let phones = || [lead, deal].map(|id| world.value("crm.lead", id, "phone"));
    for ids in [[lead, deal], [deal, lead]] {
        world.change(vec![write("crm.lead", &ids, &[("phone", Value::text("02 / 555 01 03"))])]);
        assert_eq!(phones(), [Value::text("025550103"), Value::text("02 / 555 01 03")]);
        world.change(vec![write("crm.lead", &ids, &[("phone", Value::Unset)])]);
    }

    // Nor to those of what a run writes.
    world.rule(
        "name = \"phone\"\nmodel = \"crm.lead\"\ntrigger = { on = \"updated\", fields = [\"name\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"phone = 02 / 555 01 04\" } }]",
    );
    world.change(vec![write("crm.lead", &[lead, deal], &[("name", Value::text("Tables"))])]);
    world.settle();
    assert_eq!(phones(), [Value::text("025550104"), Value::text("02 / 555 01 04")]);
}

#[test]
fn it_judges_a_write_by_what_the_same_change_wrote_before_it() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    world.rule(
        "name = \"gate\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'lead')]\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"phone\"] }\n\
         actions = [{ script = \"phone-format\" }]",
    );
    let kind = Value::text("opportunity");
    let deal = world.create("crm.lead", &[("name", Value::text("Chairs")), ("type", kind.clone())]);
    let calls = |phone: &str| {
        let turned = write("crm.lead", &[deal], &[("type", Value::text("lead"))]);
        vec![turned, write("crm.lead", &[deal], &[("phone", Value::text(phone))])]
    };
    assert_eq!(world.try_change(ADMIN, calls("soon")).unwrap_err().code(), "refused-before-write");
    assert_eq!(world.value("crm.lead", deal, "type"), kind);
    world.change(calls("02 / 555 01 03"));
    assert_eq!(world.value("crm.lead", deal, "phone"), Value::text("025550103"));
}

#[test]
fn one_that_adds_what_it_may_not_is_broken_and_is_seen() {
    for (on_error, refused) in [("refuse", "refused-by-rule"), ("pass", "")] {
        let world = World::new();
        world.script(&PHONE_FORMAT);
        world.rule(&format!(
            "name = \"gate\"\nmodel = \"crm.lead\"\non-error = \"{on_error}\"\n\
             trigger = {{ on = \"before\", writes = [\"update\"], fields = [\"phone\"] }}\n\
             actions = [{{ script = \"phone-format\", grants = [] }}]"
        ));
        let (lead, phone) = (world.lead("Chairs"), Value::text("02 / 555 01 03"));
        let call = write("crm.lead", &[lead], &[("phone", phone.clone())]);
        let code = world.try_change(ADMIN, vec![call]).map_or_else(|error| error.code().to_owned(), |_| String::new());
        assert_eq!(code, refused);
        let kept = if refused.is_empty() { phone } else { Value::Unset };
        assert_eq!(world.value("crm.lead", lead, "phone"), kept, "as it was given, or not at all");
        let run = &world.runs_of("gate")[0];
        assert_eq!((run.state, run.code.as_deref()), (RunState::Failed, Some("refused-by-rule")));
    }
}

#[test]
fn a_broken_rule_before_a_write_refuses_it_or_lets_it_pass() {
    for (on_error, passes) in [("refuse", false), ("pass", true)] {
        let world = World::new();
        gate(&world, "demo-loop-forever", &format!("on-error = \"{on_error}\""));
        let lead = vec![create("crm.lead", &[("name", Value::text("x")), ("phone", Value::text("x"))])];
        match world.try_change(ADMIN, lead) {
            Ok(_) => assert!(passes),
            Err(error) => {
                assert!(!passes);
                assert_eq!(error.code(), "broken-before-rule");
                assert!(error.to_string().contains("gate"), "{error}");
            }
        }
        let run = &world.runs_of("gate")[0];
        assert_eq!((run.class.as_str(), run.code.as_deref()), ("sync", Some("limit-exceeded")), "and it is seen");
    }
}

/// A pattern that nothing can be compared with: it ends in an escape.
const SENSELESS: &str = r"domain = '''[('name', '=like', '%\\')]'''";

#[test]
fn one_whose_domain_or_user_makes_no_sense_any_more_does_to_a_write_what_it_says() {
    for (on_error, passes) in [("refuse", false), ("pass", true)] {
        for is_gone in [false, true] {
            let world = World::new();
            let lead = world.lead("Chairs");
            let more = if is_gone { "run-as = \"sam\"" } else { SENSELESS };
            gate(&world, "phone-format", &format!("on-error = \"{on_error}\"\n{more}"));
            if is_gone {
                world.change(vec![write("res.users", &[SAM], &[("login", Value::text("samuel"))])]);
            }
            let phone = [("name", Value::text("Tables")), ("phone", Value::text("02 / 555 01 03"))];
            for (nth, call) in [create("crm.lead", &phone), write("crm.lead", &[lead], &phone)].into_iter().enumerate()
            {
                let code =
                    world.try_change(ADMIN, vec![call]).map_or_else(|error| error.code().to_owned(), |_| String::new());
                assert_eq!(code, if passes { "" } else { "broken-before-rule" }, "{on_error} {is_gone}");
                let runs = world.runs_of("gate");
                assert_eq!((runs.len(), runs[nth].state), (nth + 1, RunState::Failed), "and it is seen");
                let expected = if is_gone { "unknown-user" } else { "bad-domain" };
                assert_eq!(runs[nth].code.as_deref(), Some(expected));
            }
            // What it does not stand before is none of its business.
            world.write("crm.lead", lead, &[("city", Value::text("Ghent"))]);
        }
    }
}

// Shows: F110
#[test]
fn what_it_refused_last_is_told_to_whoever_is_asked_why() {
    let world = World::with(Config { pause_after: 2, ..Config::default() });
    gate(&world, "phone-format", "");
    let told = |record: Option<u32>| {
        let (policy, now) = (&world.engine.config().policy, world.clock.now());
        let causes = diagnose(world.engine.database(), policy, "gate", record, now).unwrap();
        causes
            .into_iter()
            .find(|cause| cause.code == "refused-writes")
            .map(|cause| (cause.sentence, cause.for_others.unwrap()))
    };
    assert_eq!(told(None), None);
    let [lead, other] = ["Chairs", "Tables"].map(|name| world.lead(name));
    let refuse = |user: u32, call: Call| {
        assert_eq!(world.try_change(user, vec![call]).unwrap_err().code(), "refused-before-write");
    };
    let phone = |text: &str| [("phone", Value::text(text))];
    refuse(ADMIN, create("crm.lead", &[("name", Value::text("Lamps")), ("phone", Value::text("later"))]));
    refuse(MANAGER, write("crm.lead", &[lead], &phone("soon")));
    let said =
        format!("2026-11-20 09:30:00, of user {MANAGER}, to update crm.lead({lead}): “soon” is no telephone number");
    let (all, for_others) = told(None).unwrap();
    assert!(all.starts_with(&format!("it has refused 2 writes so far; the last at {said}; at ")), "{all}");
    assert!(all.contains("to create a new crm.lead: “later” is no"), "{all}");
    assert!(for_others.starts_with("it has refused 2 writes so far; ") && !for_others.contains("soon"), "{for_others}");
    assert_eq!((told(Some(lead)).unwrap().0.matches(" of user ").count(), told(Some(other))), (1, None));

    // The newest are kept, they are no failures of the rule, and a person's words go from them as from all else.
    for nth in 0..20 {
        refuse(ADMIN, write("crm.lead", &[other], &phone(&format!("call Zoe {nth}"))));
    }
    assert_eq!(world.count("SELECT count(*) FROM engine_refusal"), 20);
    assert_eq!((told(Some(lead)), world.runs_of("gate").len()), (None, 0));
    assert_eq!(world.engine.rules().unwrap().rule("gate").unwrap().paused, None);
    assert_eq!(block_on(world.engine.erase(&["call Zoe".to_owned()])).unwrap().rows, 20);
    assert!(told(None).unwrap().0.contains("it has refused 22 writes so far; the last at "));
    assert!(!told(None).unwrap().0.contains("Zoe"));

    // What a run wants and does not get, the run says itself.
    world.rule(
        "name = \"phone\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"phone = never\" } }]",
    );
    world.lead("Desks");
    world.settle();
    assert_eq!(world.runs_of("phone")[0].code.as_deref(), Some("refused-before-write"));
    assert!(told(None).unwrap().0.contains("it has refused 22 writes"));
    world.delete("gate");
    assert_eq!(world.count("SELECT count(*) FROM engine_refusal"), 0);
}

// Shows: F110
#[test]
fn it_stands_before_the_changes_of_runs_too() {
    for (phone, expected) in [("02 / 555 01 03", Some("025550103")), ("soon", None)] {
        for mode in ["auto", "approve"] {
            let world = World::new();
            gate(&world, "phone-format", "");
            world.rule(&format!(
                "name = \"phone\"\nmodel = \"crm.lead\"\nmode = \"{mode}\"\ntrigger = {{ on = \"created\" }}\n\
                 actions = [{{ script = \"update-record\", parameters = {{ values = \"phone = {phone}\" }} }}]"
            ));
            let lead = world.lead("Chairs");
            world.settle();
            let run = world.run(world.runs_of("phone")[0].id);
            match (expected, world.engine.proposal(run.summary.id).unwrap()) {
                (Some(expected), Some(proposal)) => {
                    let shown = &proposal.diff.records[0].fields[0].new;
                    assert_eq!(*shown, Value::text(expected), "what is approved is what is shown");
                }
                (Some(expected), None) => assert_eq!(world.value("crm.lead", lead, "phone"), Value::text(expected)),
                (None, _) => {
                    assert_eq!(
                        (run.summary.state, run.summary.code.as_deref()),
                        (RunState::Failed, Some("refused-before-write"))
                    );
                    assert_eq!(run.attempts[0].code, "rejected");
                }
            }
        }
    }
}

// Shows: F110
#[test]
fn what_it_reads_is_compared_as_its_own_user_sees_it() {
    let world = World::new();
    world.rule(
        "name = \"list\"\nmodel = \"res.partner\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"city\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"function = {lead_ids}\" } }]",
    );
    let partner = world.create("res.partner", &[("name", Value::text("Chair & Co"))]);
    for user in [SAM, MANAGER] {
        let values =
            [("name", Value::text("Chairs")), ("partner_id", Value::link(partner)), ("user_id", Value::link(user))];
        world.create("crm.lead", &values);
    }
    // Sam sees one of the two leads.
    assert_eq!(world.search_as(SAM, "crm.lead", &format!("[('partner_id', '=', {partner})]")).len(), 1);
    world.try_change(SAM, vec![write("res.partner", &[partner], &[("city", Value::text("Ghent"))])]).unwrap();
    assert_eq!(world.value("res.partner", partner, "city"), Value::text("Ghent"));
    assert_eq!(world.value("res.partner", partner, "function"), Value::text("Chairs, Chairs"));
}

// Shows: F005
#[test]
fn a_form_that_is_edited_gets_values_and_warnings_and_nothing_is_saved() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    world.rule(
        "name = \"form\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'lead')]\"\n\
         trigger = { on = \"on-change\", fields = [\"phone\"] }\nactions = [{ script = \"phone-format\" }]",
    );
    let ask = |kind: &str, phone: &str, edited: &str| {
        let fields = vec![FieldValue::new("type", Value::text(kind)), FieldValue::new("phone", Value::text(phone))];
        let draft = Snapshot { id: 0, fields };
        block_on(world.engine.draft(ADMIN, "crm.lead", &draft, &[edited.to_owned()])).unwrap()
    };
    assert_eq!(ask("lead", "02 555 01 02", "phone").values, [FieldValue::new("phone", Value::text("025550102"))]);
    assert_eq!(ask("lead", "soon", "phone").warnings, ["“soon” is no telephone number"]);
    assert_eq!(ask("opportunity", "soon", "phone"), Default::default(), "the domain does not hold");
    assert_eq!(ask("lead", "soon", "name"), Default::default(), "another field");
    assert_eq!(world.count("SELECT count(*) FROM engine_run"), 0);
}

#[test]
fn a_rule_on_change_whose_domain_makes_no_sense_keeps_no_other_from_answering() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    for (name, more) in [("broken", SENSELESS), ("form", "")] {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"on-change\", fields = [\"phone\"] }}\n\
             actions = [{{ script = \"phone-format\" }}]\n{more}"
        ));
    }
    let draft = Snapshot { id: 0, fields: fields(&[("name", Value::text("x")), ("phone", Value::text("02 / 12 34"))]) };
    let answer = block_on(world.engine.draft(SAM, "crm.lead", &draft, &["phone".to_owned()])).unwrap();
    assert_eq!(answer.values, [FieldValue::new("phone", Value::text("021234"))]);
    assert!(answer.warnings[0].starts_with("rule `broken` is broken"), "{answer:?}");
    assert_eq!(world.runs_of("broken")[0].code.as_deref(), Some("bad-domain"));
}

#[test]
fn a_rule_on_change_that_wants_to_change_a_record_is_broken() {
    let world = World::new();
    world.rule(
        "name = \"form\"\nmodel = \"crm.lead\"\ntrigger = { on = \"on-change\", fields = [\"phone\"] }\n\
         actions = [{ script = \"notify\", parameters = { how = \"note\", text = \"Look\" } }]",
    );
    let draft = Snapshot { id: world.lead("Chairs"), fields: fields(&[("phone", Value::text("12"))]) };
    let answer = block_on(world.engine.draft(SAM, "crm.lead", &draft, &["phone".to_owned()])).unwrap();
    assert!(answer.warnings[0].contains("changes nothing itself"), "{answer:?}");
    assert_eq!(world.runs_of("form")[0].code.as_deref(), Some("not-in-before"));
}

// Shows: F005
#[test]
fn a_broken_rule_on_change_is_in_the_history_with_what_it_logged() {
    let world = World::new();
    world.script(&DEMO_WRITE_THEN_TRAP);
    let rule = |trigger: &str| {
        world.rule(&format!(
            "name = \"form\"\nmodel = \"sale.order\"\ntrigger = {{ {trigger} }}\n\
             actions = [{{ script = \"demo-write-then-trap\" }}]"
        ));
    };
    let order = world.search("sale.order", "[]")[0];
    let note = vec![FieldValue::new("note", Value::text("x"))];
    let broken = |nth: usize, kind: &str| {
        let run = world.run(world.runs_of("form")[nth].id);
        let summary = &run.summary;
        assert_eq!((summary.state, summary.code.as_deref()), (RunState::Failed, Some("trapped")), "{run:?}");
        assert_eq!((run.firing.trigger, summary.class.as_str()), (Trigger::Other(kind.into()), "sync"));
        let [attempt] = run.attempts.as_slice() else { panic!("{:?}", run.attempts) };
        assert_eq!(attempt.code, "trapped");
        assert!(attempt.log.iter().any(|line| line.message.contains("half done")), "{:?}", attempt.log);
    };
    rule("on = \"on-change\", fields = [\"note\"]");
    let draft = Snapshot { id: order, fields: note.clone() };
    let answer = block_on(world.engine.draft(SAM, "sale.order", &draft, &["note".to_owned()])).unwrap();
    assert!(answer.warnings[0].starts_with("rule `form` is broken"), "{answer:?}");
    broken(0, "on-change");
    rule("on = \"before\", writes = [\"update\"], fields = [\"note\"]");
    let refused =
        world.try_change(ADMIN, vec![Call::Write { model: "sale.order".into(), ids: vec![order], values: note }]);
    assert_eq!(refused.unwrap_err().code(), "broken-before-rule");
    broken(1, "before");
}

// Shows: F110
#[test]
fn it_sees_what_methods_messages_and_copies_write_on_whichever_model() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    // Whatever is written there has to be a telephone number.
    for (model, write, field) in [
        ("mail.activity", "create", "summary"),
        ("mail.message", "create", "body"),
        ("sale.order", "update", "state"),
        ("sale.order.line", "create", "name"),
    ] {
        let name = model.replace('.', "-");
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"{model}\"\ntrigger = {{ on = \"before\", writes = [\"{write}\"] }}\n\
             actions = [{{ script = \"phone-format\", parameters = {{ field = \"{field}\" }} }}]"
        ));
    }
    let lead = RecordRef::new("crm.lead", world.lead("Chairs"));
    let order = RecordRef::new("sale.order", world.search("sale.order", "[('state', '=', 'draft')]")[0]);
    let method = |on: &RecordRef, method: &str, arguments: &str| Call::CallMethod {
        model: on.model.clone(),
        ids: vec![on.id],
        method: method.into(),
        arguments_json: arguments.into(),
    };
    let activity = |summary: &str| Call::ScheduleActivity {
        target: lead.clone(),
        activity: Activity { kind: "To-Do".into(), summary: summary.into(), note: None, deadline: None, user_id: None },
    };
    let message = |body: &str| Call::PostMessage {
        target: lead.clone(),
        message: Message {
            body: body.into(),
            format: BodyFormat::Text,
            subject: None,
            partner_ids: Vec::new(),
            attachments: Vec::new(),
        },
    };
    let code = |call: Call| {
        world.try_change(ADMIN, vec![call]).map_or_else(|error| error.code().to_owned(), |_| String::new())
    };
    let messages = || world.search("mail.message", "[]").len();
    let before = messages();
    for call in [
        activity("Call them"),
        method(&lead, "activity_schedule", "{\"summary\": \"Call them\"}"),
        message("Call them"),
        method(&lead, "message_post", "{\"body\": \"Call them\"}"),
        method(&order, "action_confirm", "{}"),
        Call::Copy { target: order.clone(), values: Vec::new() },
    ] {
        assert_eq!(code(call.clone()), "refused-before-write", "{call:?}");
    }
    assert_eq!(messages(), before);
    assert_eq!(world.value("sale.order", order.id, "state"), Value::text("draft"));
}

// Shows: F110
#[test]
fn it_adds_values_to_what_a_method_writes() {
    let world = World::new();
    world.rule(
        "name = \"stamp\"\nmodel = \"sale.order\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"state\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"client_order_ref = confirmed\" } }]",
    );
    let order = world.search("sale.order", "[('state', '=', 'draft')]")[0];
    let call = |method: &str| Call::CallMethod {
        model: "sale.order".into(),
        ids: vec![order],
        method: method.into(),
        arguments_json: "{}".into(),
    };
    world.change(vec![call("action_lock")]);
    assert_ne!(world.value("sale.order", order, "client_order_ref"), Value::text("confirmed"), "another field");
    world.change(vec![call("action_unlock"), call("action_confirm")]);
    assert_eq!(world.value("sale.order", order, "state"), Value::text("sale"));
    assert_eq!(world.value("sale.order", order, "client_order_ref"), Value::text("confirmed"));

    // What a method makes has no number yet: nothing can be added to it.
    world.rule(
        "name = \"word\"\nmodel = \"mail.activity\"\ntrigger = { on = \"before\", writes = [\"create\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"summary = Call\" } }]",
    );
    let schedule = |summary: &str| Call::CallMethod {
        model: "sale.order".into(),
        ids: vec![order],
        method: "activity_schedule".into(),
        arguments_json: format!("{{\"summary\": \"{summary}\"}}"),
    };
    assert_eq!(world.try_change(ADMIN, vec![schedule("Write")]).unwrap_err().code(), "write-it-by-itself");
    world.change(vec![schedule("Call")]);
}

#[test]
fn it_stands_before_what_is_added_to_a_list() {
    let world = World::new();
    world.rule(
        "name = \"stamp\"\nmodel = \"crm.lead\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"tag_ids\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = tagged\" } }]",
    );
    let tag = world.search("crm.tag", "[]")[0];
    let [lead, other] = ["Chairs", "Tables"].map(|name| world.lead(name));
    let link = Call::Relate {
        target: RecordRef::new("crm.lead", lead),
        field: "tag_ids".into(),
        commands: vec![Command::Link(tag)],
    };
    world.change(vec![link]);
    let city = |lead: u32| world.value("crm.lead", lead, "city");
    assert_eq!((city(lead), city(other)), (Value::text("tagged"), Value::Unset));

    // By a run, too.
    world.rule(&format!(
        "name = \"mark\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"updated\", fields = [\"name\"] }}\n\
         actions = [{{ script = \"update-record\", parameters = {{ values = \"tag_ids = +{tag}\" }} }}]"
    ));
    world.write("crm.lead", other, &[("name", Value::text("Desks"))]);
    world.settle();
    assert_eq!(world.value("crm.lead", other, "tag_ids"), Value::Ids(vec![tag]));
    assert_eq!(city(other), Value::text("tagged"));
}

#[test]
fn it_stands_before_what_comes_into_a_list_of_another_record() {
    let world = World::new();
    world.rule(
        "name = \"stamp\"\nmodel = \"crm.lead\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"partner_id\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"description = moved\" } }]",
    );
    let partner = world.create("res.partner", &[("name", Value::text("Chair & Co"))]);
    let [linked, listed, still] = ["Chairs", "Tables", "Desks"].map(|name| world.lead(name));
    let link = Call::Relate {
        target: RecordRef::new("res.partner", partner),
        field: "lead_ids".into(),
        commands: vec![Command::Link(linked)],
    };
    world.change(vec![link]);
    world.write("res.partner", partner, &[("lead_ids", Value::Ids(vec![linked, listed]))]);
    let is_asked = |lead: u32| world.value("crm.lead", lead, "description") != Value::Unset;
    assert_eq!([linked, listed, still].map(is_asked), [true, true, false]);
    assert!(matches!(world.value("crm.lead", listed, "partner_id"), Value::Many2one(link) if link.id == partner));
}

// Shows: F110
#[test]
fn it_is_not_asked_by_what_was_written_before_a_method_changed_it() {
    let world = World::new();
    world.rule(
        "name = \"stamp\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'lead')]\"\n\
         trigger = { on = \"before\", writes = [\"update\"], fields = [\"phone\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = asked\" } }]",
    );
    let changed = |convert: bool| {
        let lead = world.lead("Chairs");
        let method = Call::CallMethod {
            model: "crm.lead".into(),
            ids: vec![lead],
            method: "convert_opportunity".into(),
            arguments_json: "{\"partner\": false}".into(),
        };
        let mut calls = vec![write("crm.lead", &[lead], &[("type", Value::text("lead"))])];
        calls.extend(convert.then_some(method));
        calls.push(write("crm.lead", &[lead], &[("phone", Value::text("12"))]));
        world.change(calls);
        (world.value("crm.lead", lead, "type"), world.value("crm.lead", lead, "city"))
    };
    let asked = Value::text("asked");
    assert_eq!(changed(false), (Value::text("lead"), asked.clone()));
    let (kind, city) = changed(true);
    assert_eq!(kind, Value::text("opportunity"));
    assert_ne!(city, asked);
}

// Shows: F110
#[test]
fn it_sees_what_is_deleted_because_it_leaves_a_list() {
    let world = World::new();
    world.script(&PHONE_FORMAT);
    // The script knows nothing of deletions, and breaks.
    world.rule(
        "name = \"keep\"\nmodel = \"sale.order.line\"\ntrigger = { on = \"before\", writes = [\"delete\"] }\n\
         actions = [{ script = \"phone-format\" }]\ndomain = \"[('name', '=', 'Kept')]\"",
    );
    let product = world.search("product.product", "[]")[0];
    let line = |name: &str| fields(&[("name", Value::text(name)), ("product_id", Value::link(product))]);
    let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
    let order = world.create("sale.order", &[("partner_id", Value::link(partner))]);
    let relate = |commands: Vec<Command>| Call::Relate {
        target: RecordRef::new("sale.order", order),
        field: "order_line".into(),
        commands,
    };
    let lines = || world.search("sale.order.line", &format!("[('order_id', '=', {order})]"));
    let refused = |calls: Vec<Call>| {
        world.try_change(ADMIN, calls).map_or_else(|error| error.code().to_owned(), |_| String::new())
    };
    world.change(vec![relate(vec![Command::Create(line("Kept")), Command::Create(line("Free"))])]);
    let [kept, free] = lines()[..] else { panic!("{:?}", lines()) };
    let replaced = |ids: &[u32]| write("sale.order", &[order], &[("order_line", Value::Ids(ids.to_vec()))]);
    for call in [
        Call::Unlink { model: "sale.order.line".into(), ids: vec![kept] },
        relate(vec![Command::Delete(kept)]),
        relate(vec![Command::Unlink(kept)]),
        relate(vec![Command::Clear]),
        relate(vec![Command::Replace(vec![free])]),
        replaced(&[free]),
        write("sale.order", &[order], &[("order_line", Value::Unset)]),
    ] {
        assert_eq!(refused(vec![call.clone()]), "broken-before-rule", "{call:?}");
        assert_eq!(lines(), [kept, free], "{call:?}");
    }
    // What the rule's domain leaves out may leave, and what goes with a record that is deleted is not asked about.
    assert_eq!(refused(vec![replaced(&[kept])]), "");
    assert_eq!(lines(), [kept]);
}

// Shows: F092, F110
#[test]
fn one_that_is_only_tried_has_no_say() {
    let world = World::new();
    gate(&world, "phone-format", "");
    let form = "name = \"form\"\nmodel = \"crm.lead\"\ntrigger = { on = \"on-change\", fields = [\"phone\"] }\n\
                actions = [{ script = \"phone-format\" }]";
    world.rule(form);
    let before = form.replace("on-change\", fields", "before\", writes = [\"update\"], fields");
    for rule in [form, before.as_str()] {
        assert_eq!(world.check(&format!("environment = \"test\"\n{rule}")), ["cannot-test"]);
    }
    // As it was kept by a program that let it be.
    let tried = "UPDATE engine_rule SET body = json_set(body, '$.environment', 'test')";
    world.commit(move |conn| conn.execute(tried, []).map_err(DbError::from));
    let phone = |text: &str| {
        let lead = world.create("crm.lead", &[("name", Value::text("Chairs")), ("phone", Value::text(text))]);
        world.value("crm.lead", lead, "phone")
    };
    for text in ["02 / 555 01 03", "soon"] {
        assert_eq!(phone(text), Value::text(text), "neither changed nor refused");
        let draft = Snapshot { id: 0, fields: vec![FieldValue::new("phone", Value::text(text))] };
        let answer = block_on(world.engine.draft(ADMIN, "crm.lead", &draft, &["phone".to_owned()])).unwrap();
        assert_eq!(answer, Default::default());
    }
    let (policy, now) = (world.engine.config().policy.clone(), world.clock.now());
    let causes = diagnose(world.engine.database(), &policy, "gate", None, now).unwrap();
    assert_eq!(causes[0].code, "test-environment");
    assert!(causes[0].sentence.contains("not asked"), "{causes:?}");
}
