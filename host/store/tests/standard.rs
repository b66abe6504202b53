//! What the standard models mean, and what a context means: defaults, copies, contacts and their companies.

use serde_json::{Value as Json, json};
use triggerbox_model::{
    call::{Activity, Answer, BodyFormat, Call, Command, Message},
    error::ErrorKind,
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_store::{
    commit::{CommitError, commit},
    db::Database,
    models::base,
    rights::Rights,
    session::Session,
};

use crate::common::*;

fn method(model: &str, ids: &[Id], method: &str, arguments: Json) -> Call {
    let (model, method) = (model.to_owned(), method.to_owned());
    Call::CallMethod { model, ids: ids.to_vec(), method, arguments_json: arguments.to_string() }
}

/// What a method says at once.
fn told(run: &mut Session, model: &str, ids: &[Id], name: &str, arguments: Json) -> Json {
    match ask(run, method(model, ids, name, arguments)) {
        Answer::OptionalText(Some(text)) => serde_json::from_str(&text).unwrap(),
        other => panic!("not told: {other:?}"),
    }
}

fn enter(run: &mut Session, context: Json) {
    let call = method("crm.lead", &[], "with_context", json!({ "context": context }));
    assert_eq!(ask(run, call), Answer::OptionalText(None));
}

fn names(run: &mut Session, model: &str, domain: &str) -> Vec<Value> {
    let mut names: Vec<Value> = search(run, model, domain).into_iter().map(|id| read(run, model, id, "name")).collect();
    names.sort_by_key(|name| format!("{name:?}"));
    names
}

#[test]
fn a_default_is_what_a_field_says_and_not_what_is_computed() {
    let database = demo();
    let mut run = session(&database);
    let fields = json!({ "fields": [
        "type", "priority", "user_id", "active", "color", "expected_revenue", "company_id", "stage_id", "team_id", "won_status",
        "name", "no_such_field",
    ] });
    let wanted = json!({
        "type": "opportunity", "priority": "0", "user_id": ADMIN, "active": true, "color": 0, "expected_revenue": 0.0,
    });
    assert_eq!(told(&mut run, "crm.lead", &[], "default_get", fields), wanted);
    // What is computed for a new record is there all the same.
    let lead = create(&mut run, "crm.lead", vec![text("name", "New one")]);
    for computed in ["stage_id", "team_id", "company_id"] {
        assert!(matches!(read(&mut run, "crm.lead", lead, computed), Value::Many2one(_)), "{computed}");
    }
    assert_eq!(read(&mut run, "crm.lead", lead, "won_status"), Value::text("pending"));
    // An order is not numbered by asking, nor by being called what all new ones are called.
    let order = told(&mut run, "sale.order", &[], "default_get", json!({ "fields": ["name", "state"] }));
    assert_eq!(order, json!({ "name": "New", "state": "draft" }));
    let partner = search(&mut run, "res.partner", "[('name', '=', 'Azure Interior')]")[0];
    let values = vec![text("name", "New"), field("partner_id", Value::link(partner))];
    let order = create(&mut run, "sale.order", values);
    assert_eq!(read(&mut run, "sale.order", order, "name"), Value::Pending);
}

#[test]
fn nobodys_lead_has_no_team() {
    let database = demo();
    let mut run = session(&database);
    let lead = create(&mut run, "crm.lead", vec![text("name", "Nobody's"), field("user_id", Value::Unset)]);
    assert_eq!(read(&mut run, "crm.lead", lead, "team_id"), Value::Unset);
    assert_eq!(read(&mut run, "crm.lead", lead, "company_id"), Value::Unset);
}

#[test]
fn a_task_is_copied_with_those_below_it() {
    let database = demo();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let of_project = field("project_id", Value::link(project));
    let task = create(&mut run, "project.task", vec![text("name", "Plan"), of_project.clone()]);
    let below = |name: &str, parent: Id| -> Vec<FieldValue> {
        vec![text("name", name), of_project.clone(), field("parent_id", Value::link(parent))]
    };
    let draw = create(&mut run, "project.task", below("Draw", task));
    create(&mut run, "project.task", below("Print", draw));
    let gone = create(&mut run, "project.task", below("Dropped", task));
    write(&mut run, "project.task", gone, vec![field("active", Value::Boolean(false))]);

    let target = RecordRef::new("project.task", task);
    let Answer::Id(copy) = ask(&mut run, Call::Copy { target, values: vec![] }) else { panic!() };
    assert_eq!(read(&mut run, "project.task", copy, "name"), Value::text("Plan (copy)"));
    let found = names(&mut run, "project.task", &format!("[('id', 'child_of', {copy})]"));
    assert_eq!(found, ["Draw (copy)", "Plan (copy)", "Print (copy)"].map(Value::text));

    let target = RecordRef::new("project.project", project);
    let Answer::Id(copy) = ask(&mut run, Call::Copy { target, values: vec![] }) else { panic!() };
    let found =
        names(&mut run, "project.task", &format!("[('project_id', '=', {copy}), ('name', 'not ilike', 'copy')]"));
    assert_eq!(found, ["Draw", "Plan", "Print"].map(Value::text));
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
}

// Shows: F018
#[test]
fn tasks_below_one_are_copied_as_far_as_one_may_read_them() {
    let mut data = base().unwrap();
    let kept_from_all = json!({
        "name": "No secrets", "model": "project.task", "domain_force": "[('name', 'not ilike', 'secret')]",
        "perm_write": false, "perm_create": false, "perm_unlink": false,
    });
    let mut rules = data.rights.rules.clone();
    rules.push(serde_json::from_value(kept_from_all).unwrap());
    data.rights = Rights::new(data.rights.access.clone(), rules);
    let database = Database::in_memory(&data).unwrap();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let of_project = field("project_id", Value::link(project));
    let task = create(&mut run, "project.task", vec![text("name", "Plan"), of_project.clone()]);
    for name in ["Draw", "Secret"] {
        let parent = field("parent_id", Value::link(task));
        create(&mut run, "project.task", vec![text("name", name), of_project.clone(), parent]);
    }
    let target = RecordRef::new("project.task", task);
    ask(&mut run, Call::Copy { target, values: vec![] });
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let all = env(&database, ADMIN).sudo();
    let mut run = Session::new(&database, all).unwrap();
    let found = names(&mut run, "project.task", "[]");
    assert_eq!(found, ["Draw (copy)", "Draw", "Plan (copy)", "Plan", "Secret"].map(Value::text));
}

// Shows: F018
#[test]
fn who_reads_a_task_takes_part_in_its_discussion() {
    let mut data = base().unwrap();
    let kept_as_it_is = json!({
        "name": "Kept as it is", "model": "project.task", "domain_force": "[('name', '=', 'Other')]",
        "perm_read": false, "perm_create": false, "perm_unlink": false,
    });
    let mut rules = data.rights.rules.clone();
    rules.push(serde_json::from_value(kept_as_it_is).unwrap());
    data.rights = Rights::new(data.rights.access.clone(), rules);
    let database = Database::in_memory(&data).unwrap();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let of_project = field("project_id", Value::link(project));
    create(&mut run, "project.task", vec![text("name", "Plan"), of_project]);
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();

    let mut run = session(&database);
    let target = RecordRef::new("project.task", search(&mut run, "project.task", "[]")[0]);
    let refused = run.call(Call::RemoveFollowers { target: target.clone(), partner_ids: vec![] }).unwrap().unwrap_err();
    assert_eq!(refused.code, "record-rule");
    let message = Message {
        body: "Seen".into(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    };
    ask(&mut run, Call::PostMessage { target: target.clone(), message: message.clone() });
    ask(&mut run, Call::PostNote { target: target.clone(), message });
    let activity = Activity { kind: "To-Do".into(), summary: "Look".into(), note: None, deadline: None, user_id: None };
    ask(&mut run, Call::ScheduleActivity { target, activity });
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
}

#[test]
fn what_a_copy_would_be_made_of_is_told() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    let copies = told(&mut run, "crm.lead", &[lead], "copy_data", json!({ "default": { "name": "Thirty desks" } }));
    let copy = &copies[0];
    assert_eq!(copy["name"], "Thirty desks");
    assert_eq!(copy["type"], "opportunity");
    assert!(copy.get("stage_id").is_none() && copy.get("create_date").is_none(), "{copy}");
    assert!(run.changes().effects.is_empty());
}

#[test]
fn a_contact_and_its_company_have_one_address() {
    let database = demo();
    let mut run = session(&database);
    let company = vec![
        text("name", "Hub"),
        field("is_company", Value::Boolean(true)),
        text("street", "Quay 1"),
        text("city", "Gent"),
    ];
    let hub = create(&mut run, "res.partner", company);
    let person = create(&mut run, "res.partner", vec![text("name", "Pia"), field("parent_id", Value::link(hub))]);
    let depot = vec![
        text("name", "Depot"),
        field("parent_id", Value::link(hub)),
        text("type", "delivery"),
        text("city", "Aalst"),
    ];
    let depot = create(&mut run, "res.partner", depot);
    let cities = |run: &mut Session| [hub, person, depot].map(|id| read(run, "res.partner", id, "city"));
    assert_eq!(cities(&mut run), ["Gent", "Gent", "Aalst"].map(Value::text));
    write(&mut run, "res.partner", hub, vec![text("city", "Brugge")]);
    assert_eq!(cities(&mut run), ["Brugge", "Brugge", "Aalst"].map(Value::text));
    write(&mut run, "res.partner", person, vec![text("city", "Oostende")]);
    assert_eq!(cities(&mut run), ["Oostende", "Oostende", "Aalst"].map(Value::text));
    assert_eq!(read(&mut run, "res.partner", person, "street"), Value::text("Quay 1"));
}

#[test]
fn a_lead_without_its_contact_names_nobody() {
    let database = demo();
    let mut run = session(&database);
    let contact = create(&mut run, "res.partner", vec![text("name", "Ida"), text("email", "ida@ample.example")]);
    let values = vec![text("name", "Chairs"), field("partner_id", Value::link(contact))];
    let lead = create(&mut run, "crm.lead", values);
    write(&mut run, "crm.lead", lead, vec![field("partner_id", Value::Unset)]);
    assert_eq!(read(&mut run, "crm.lead", lead, "contact_name"), Value::Unset);
    assert_eq!(read(&mut run, "crm.lead", lead, "email_from"), Value::text("ida@ample.example"));
}

#[test]
fn a_context_holds_for_the_calls_after_it_and_at_the_commit() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    enter(&mut run, json!({ "tracking_disable": true }));
    write(&mut run, "crm.lead", lead, vec![text("priority", "3"), field("expected_revenue", Value::Number(7.0))]);
    create(&mut run, "crm.lead", vec![text("name", "Silent")]);
    enter(&mut run, json!({}));
    create(&mut run, "crm.lead", vec![text("name", "Loud")]);
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let mut after = session(&database);
    let messages = |run: &mut Session, name: &str| {
        let lead = search(run, "crm.lead", &format!("[('name', '=', '{name}')]"))[0];
        search(run, "mail.message", &format!("[('model', '=', 'crm.lead'), ('res_id', '=', {lead})]")).len()
    };
    assert_eq!((messages(&mut after, "Silent"), messages(&mut after, "Loud")), (0, 1));
    let tracked = search(&mut after, "mail.tracking.value", &format!("[('mail_message_id.res_id', '=', {lead})]"));
    assert!(tracked.is_empty(), "{:?}", done.diff);

    let mut run = session(&database);
    let unknown = refused(&mut run, method("crm.lead", &[], "with_context", json!({ "context": { "lang": "xx_XX" } })));
    assert_eq!(unknown.code, "unknown-language");
    let foreign = json!({ "context": { "allowed_company_ids": [4711] } });
    assert_eq!(refused(&mut run, method("crm.lead", &[], "with_context", foreign)).code, "foreign-company");
    assert_eq!(refused(&mut run, method("crm.lead", &[], "with_context", json!({}))).code, "bad-arguments");

    let long = json!({ "context": { "told": "x".repeat(4_096) } });
    assert_eq!(refused(&mut run, method("crm.lead", &[], "with_context", long)).code, "bad-arguments");
    for _ in 0..3 {
        enter(&mut run, json!({ "lang": "en_US" }));
    }
    assert_eq!(run.finish().effects.len(), 1, "of contexts with nothing between them the last one counts");
}

#[test]
fn a_log_note_and_a_notification_ask_for_the_rights_of_a_note() {
    let database = demo();
    let mut run = session(&database);
    let Value::Many2one(partner) = read(&mut run, "res.users", SAM, "partner_id") else { panic!("no partner") };
    let log = || method("crm.lead", &[1], "_message_log", json!({ "body": "Called." }));
    let told = json!({ "body": "Look.", "partner_ids": [partner.id] });
    let notify = || method("crm.lead", &[1], "message_notify", told.clone());
    let mut reader = Session::new(&database, env(&database, READER)).unwrap();
    for call in [log(), notify()] {
        assert_eq!(refused(&mut reader, call).kind, ErrorKind::AccessDenied);
    }
    ask(&mut run, log());
    ask(&mut run, notify());
}

#[test]
fn what_is_said_of_a_record_asks_for_rights_at_the_commit_too() {
    let database = demo();
    let target = || RecordRef::new("crm.lead", 1);
    let Value::Many2one(partner) = read(&mut session(&database), "res.users", SAM, "partner_id") else {
        panic!("no partner")
    };
    let kind = "To-Do".to_owned();
    let activity = Activity { kind, summary: "Look".to_owned(), note: None, deadline: None, user_id: None };
    for call in [
        Call::ScheduleActivity { target: target(), activity },
        Call::AddFollowers { target: target(), partner_ids: vec![partner.id] },
        Call::RemoveFollowers { target: target(), partner_ids: vec![partner.id] },
        note_call(target(), "Called."),
    ] {
        let mut run = session(&database);
        ask(&mut run, call.clone());
        let changes = run.finish();
        let refused = commit(&database, &env(&database, READER), &changes).unwrap_err();
        let CommitError::Refused(error) = &refused else { panic!("{call:?}: {refused}") };
        assert_eq!(error.kind, ErrorKind::AccessDenied, "{call:?}");
        commit(&database, &env(&database, ADMIN), &changes).unwrap();
    }
}

#[test]
fn a_method_takes_the_arguments_that_it_knows_and_no_others() {
    let database = demo();
    let mut run = session(&database);
    for (name, arguments, words) in [
        ("message_post", json!({ "bdy": "Called." }), "has no argument `bdy` here; did you mean `body`?"),
        ("message_post", json!({ "scheduled_date": "2026-11-22" }), "has no argument `scheduled_date` here"),
        ("activity_schedule", json!({ "activity_type": 1 }), "did you mean `activity_type_id`?"),
        ("action_set_won", json!({ "stage_id": 4 }), "it takes none"),
        ("default_get", json!({ "field": ["name"] }), "did you mean `fields`?"),
        ("copy_data", json!({ "values": {} }), "it takes default"),
    ] {
        let refused = refused(&mut run, method("crm.lead", &[1], name, arguments));
        assert_eq!(refused.code, "bad-arguments");
        assert!(refused.message.contains(words), "{refused}");
    }
    let refused = refused(&mut run, method("crm.lead", &[1], "action_set_lost", json!({ "citi": "Ghent" })));
    assert_eq!(refused.code, "unknown-field");
    assert!(run.changes().is_empty());
    // No e-mail is sent here: how it would look is nobody's matter.
    ask(&mut run, method("crm.lead", &[1], "message_post", json!({ "body": "x", "email_layout_xmlid": "mail.x" })));
}

#[test]
fn methods_do_what_their_arguments_say() {
    let database = demo();
    let mut run = session(&database);
    let reason = search(&mut run, "crm.lost.reason", "[]")[0];
    let kind = search(&mut run, "mail.activity.type", "[('name', '!=', 'To-Do')]")[0];
    let file = create(&mut run, "ir.attachment", vec![text("name", "offer.txt")]);
    // What is lost has no chance, whatever is said.
    let lost = json!({ "lost_reason_id": reason, "city": "Ghent", "probability": 70 });
    ask(&mut run, method("crm.lead", &[1], "action_set_lost", lost));
    ask(
        &mut run,
        method("crm.lead", &[2], "activity_schedule", json!({ "activity_type_id": kind, "summary": "Look" })),
    );
    ask(&mut run, method("crm.lead", &[2], "message_post", json!({ "body": "See there.", "attachment_ids": [file] })));
    let made = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap().ids;
    let mut after = session(&database);
    for (name, value) in
        [("city", Value::text("Ghent")), ("probability", Value::Number(0.0)), ("active", Value::Boolean(false))]
    {
        assert_eq!(read(&mut after, "crm.lead", 1, name), value, "{name}");
    }
    let linked = |value: Value| if let Value::Many2one(link) = value { Some(link.id) } else { None };
    assert_eq!(linked(read(&mut after, "crm.lead", 1, "lost_reason_id")), Some(reason));
    let activity = search(&mut after, "mail.activity", "[('summary', '=', 'Look')]")[0];
    assert_eq!(linked(read(&mut after, "mail.activity", activity, "activity_type_id")), Some(kind));
    let message = search(&mut after, "mail.message", "[('body', 'like', 'See there.')]")[0];
    let file = made[&("ir.attachment".to_owned(), file)];
    assert_eq!(read(&mut after, "mail.message", message, "attachment_ids"), Value::Ids(vec![file]));

    let mut run = session(&database);
    for (name, arguments) in [
        ("activity_schedule", json!({ "activity_type_id": 4711 })),
        ("message_post", json!({ "attachment_ids": [4711] })),
        ("message_post", json!({ "author_id": 4711 })),
        ("message_post", json!({ "subtype_id": 4711 })),
        ("_message_log", json!({ "author_id": 4711 })),
    ] {
        let call = method("crm.lead", &[2], name, arguments);
        assert_eq!(refused(&mut run, call).code, "missing-record", "{name}");
    }
}

#[test]
fn an_argument_that_is_given_as_nothing_is_not_given() {
    let database = demo();
    let mut run = session(&database);
    let lead = create(&mut run, "crm.lead", vec![text("name", "Desks")]);
    let linked = |value: Value| if let Value::Many2one(link) = value { Some(link.id) } else { None };
    let me = linked(read(&mut run, "res.users", ADMIN, "partner_id"));
    let logged = |run: &mut Session, arguments: Json| {
        let body = arguments["body"].as_str().unwrap().to_owned();
        ask(run, method("crm.lead", &[lead], "_message_log", arguments));
        search(run, "mail.message", &format!("[('body', 'like', '{body}')]"))[0]
    };
    let nothing = json!({ "body": "First.", "author_id": null, "email_from": "", "message_type": "" });
    let message = logged(&mut run, nothing);
    assert_eq!(linked(read(&mut run, "mail.message", message, "author_id")), me);
    assert_eq!(read(&mut run, "mail.message", message, "message_type"), Value::text("notification"));
    let nobody = logged(&mut run, json!({ "body": "Second.", "author_id": false }));
    assert_eq!(read(&mut run, "mail.message", nobody, "author_id"), Value::Unset);
    let somebody = json!({ "body": "Third.", "author_id": me, "email_from": "desk@example.com" });
    let message = logged(&mut run, somebody);
    assert_eq!(read(&mut run, "mail.message", message, "email_from"), Value::text("desk@example.com"));
    let unknown = json!({ "body": "Fourth.", "message_type": "nonsense" });
    assert_eq!(refused(&mut run, method("crm.lead", &[lead], "_message_log", unknown)).kind, ErrorKind::Invalid);

    ask(&mut run, method("crm.lead", &[lead], "activity_schedule", json!({ "summary": "Look", "date_deadline": "" })));
    let activity = search(&mut run, "mail.activity", "[('summary', '=', 'Look')]")[0];
    assert_eq!(read(&mut run, "mail.activity", activity, "date_deadline"), Value::Date("2026-11-21".to_owned()));
    let note = search(&mut run, "mail.message.subtype", "[('name', '=', 'Note')]")[0];
    let typed = json!({ "body": "Fifth.", "subtype_xmlid": "", "subtype_id": note });
    ask(&mut run, method("crm.lead", &[lead], "message_post", typed));
}

#[test]
fn who_was_linked_last_is_told_last() {
    let database = demo();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let values = vec![
        text("name", "Shared"),
        field("project_id", Value::link(project)),
        field("user_ids", Value::Ids(vec![SAM, MANAGER])),
    ];
    let task = create(&mut run, "project.task", values);
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let task = done.ids[&("project.task".to_owned(), task)];
    let mut run = session(&database);
    let target = RecordRef::new("project.task", task);
    ask(&mut run, Call::Relate { target, field: "user_ids".to_owned(), commands: vec![Command::Link(ADMIN)] });
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let mut after = session(&database);
    let told = search(&mut after, "mail.tracking.value", &format!("[('mail_message_id.res_id', '=', {task})]"))[0];
    let Value::Text(names) = read(&mut after, "mail.tracking.value", told, "new_value_char") else { panic!() };
    let Value::Many2one(admin) = read(&mut after, "res.users", ADMIN, "partner_id") else { panic!() };
    assert!(names.ends_with(&format!(", {}", admin.name.unwrap())), "{names}");
}

#[test]
fn a_task_is_for_whoever_makes_it_and_begins_anew_in_another_stage() {
    let database = demo();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let of_project = || vec![text("name", "Plan"), field("project_id", Value::link(project))];
    let task = create(&mut run, "project.task", of_project());
    assert_eq!(read(&mut run, "project.task", task, "user_ids"), Value::Ids(vec![ADMIN]));
    let nobody = field("user_ids", Value::Ids(vec![]));
    let other = create(&mut run, "project.task", [of_project(), vec![nobody]].concat());
    assert_eq!(read(&mut run, "project.task", other, "user_ids"), Value::Ids(vec![]));
    let stages: Vec<Id> =
        ["First", "Second"].map(|name| create(&mut run, "project.task.type", vec![text("name", name)])).into();
    for (before, after) in [("03_approved", "01_in_progress"), ("1_canceled", "1_canceled")] {
        let at = vec![text("state", before), field("stage_id", Value::link(stages[0]))];
        write(&mut run, "project.task", task, at);
        write(&mut run, "project.task", task, vec![field("stage_id", Value::link(stages[1]))]);
        assert_eq!(read(&mut run, "project.task", task, "state"), Value::text(after));
    }
}

#[test]
fn the_chance_of_a_lead_is_a_chance() {
    let database = demo();
    let mut run = session(&database);
    let chance = |chance: f64| field("probability", Value::Number(chance));
    let call = create_call("crm.lead", vec![text("name", "Surer than sure"), chance(101.0)]);
    assert_eq!(refused(&mut run, call).code, "check");
    let lead = create(&mut run, "crm.lead", vec![text("name", "Desks"), chance(40.0)]);
    assert_eq!(refused(&mut run, write_call("crm.lead", lead, vec![chance(-1.0)])).code, "check");
    ask(&mut run, method("crm.lead", &[lead], "action_set_won", json!({})));
    assert_eq!(refused(&mut run, write_call("crm.lead", lead, vec![chance(50.0)])).code, "won");
    // A lead that nobody named is called after its contact.
    let contact = create(&mut run, "res.partner", vec![text("name", "Ida")]);
    let lead = create(&mut run, "crm.lead", vec![field("partner_id", Value::link(contact))]);
    assert_eq!(read(&mut run, "crm.lead", lead, "name"), Value::text("Ida's opportunity"));
}

#[test]
fn a_new_list_says_nothing_of_what_is_archived() {
    let database = demo();
    let mut run = session(&database);
    let label = |run: &mut Session, name: &str| create(run, "res.partner.category", vec![text("name", name)]);
    let [kept, old, new] = ["Kept", "Old", "New"].map(|name| label(&mut run, name));
    let labels = |ids: &[Id]| vec![field("category_id", Value::Ids(ids.to_vec()))];
    let partner = create(&mut run, "res.partner", [vec![text("name", "Ida")], labels(&[kept, old])].concat());
    write(&mut run, "res.partner.category", kept, vec![field("active", Value::Boolean(false))]);
    write(&mut run, "res.partner", partner, labels(&[new]));
    assert_eq!(read(&mut run, "res.partner", partner, "category_id"), Value::Ids(vec![new]));
    write(&mut run, "res.partner.category", kept, vec![field("active", Value::Boolean(true))]);
    let Value::Ids(mut all) = read(&mut run, "res.partner", partner, "category_id") else { panic!() };
    all.sort_unstable();
    assert_eq!(all, [kept, new]);
}

#[test]
fn only_the_button_archives_what_belongs_to_a_record() {
    let database = demo();
    let mut run = session(&database);
    let project = create(&mut run, "project.project", vec![text("name", "Roof")]);
    let task = |run: &mut Session, more: Vec<FieldValue>| {
        let values = [vec![text("name", "Plan"), field("project_id", Value::link(project))], more].concat();
        create(run, "project.task", values)
    };
    let above = task(&mut run, vec![]);
    let below = task(&mut run, vec![field("parent_id", Value::link(above))]);
    write(&mut run, "project.task", above, vec![field("active", Value::Boolean(false))]);
    assert_eq!(read(&mut run, "project.task", below, "active"), Value::Boolean(true));
    write(&mut run, "project.task", above, vec![field("active", Value::Boolean(true))]);
    ask(&mut run, method("project.task", &[above], "action_archive", json!({})));
    assert_eq!(read(&mut run, "project.task", below, "active"), Value::Boolean(false));
}

#[test]
fn activities_of_a_type_are_done_moved_and_dropped_together() {
    const TODO: &str = "mail.mail_activity_data_todo";
    let database = demo();
    let mut run = session(&database);
    let lead = create(&mut run, "crm.lead", vec![text("name", "Desks")]);
    let schedule = |run: &mut Session, user: Id| {
        let arguments = json!({ "act_type_xmlid": TODO, "user_id": user, "date_deadline": "2026-11-25 10:00:00" });
        ask(run, method("crm.lead", &[lead], "activity_schedule", arguments));
        let domain = format!("[('res_model', '=', 'crm.lead'), ('res_id', '=', {lead}), ('user_id', '=', {user})]");
        search(run, "mail.activity", &domain)[0]
    };
    let (mine, sams) = (schedule(&mut run, ADMIN), schedule(&mut run, SAM));
    assert_eq!(read(&mut run, "mail.activity", mine, "date_deadline"), Value::Date("2026-11-25".to_owned()));
    let moved = json!({ "act_type_xmlids": [TODO], "user_id": SAM, "date_deadline": "2026-12-01" });
    ask(&mut run, method("crm.lead", &[lead], "activity_reschedule", moved));
    assert_eq!(read(&mut run, "mail.activity", sams, "date_deadline"), Value::Date("2026-12-01".to_owned()));
    assert_eq!(read(&mut run, "mail.activity", mine, "date_deadline"), Value::Date("2026-11-25".to_owned()));
    // Once, however often its type is named.
    let done = json!({ "act_type_xmlids": [TODO, "To-Do", TODO], "user_id": ADMIN, "feedback": "Called." });
    ask(&mut run, method("crm.lead", &[lead], "activity_feedback", done));
    assert_eq!(read(&mut run, "mail.activity", mine, "active"), Value::Boolean(false));
    assert_eq!(search(&mut run, "mail.message", "[('body', 'like', 'Called.')]").len(), 1);
    ask(&mut run, method("crm.lead", &[lead], "activity_unlink", json!({ "act_type_xmlids": [TODO] })));
    assert!(search(&mut run, "mail.activity", &format!("[('id', '=', {sams})]")).is_empty());
    let gone = Call::Unlink { model: "mail.activity".to_owned(), ids: vec![sams] };
    assert_eq!(refused(&mut run, gone).code, "missing-record");
}

#[test]
fn activities_that_people_planned_by_hand_are_nothing_to_methods() {
    const TODO: &str = "mail.mail_activity_data_todo";
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    let before = search(&mut run, "mail.activity", "[]");
    ask(&mut run, method("crm.lead", &[lead], "activity_schedule", json!({ "act_type_xmlid": TODO })));
    let own = search(&mut run, "mail.activity", "[]").into_iter().find(|id| !before.contains(id)).unwrap();
    assert_eq!(read(&mut run, "mail.activity", own, "automated"), Value::Boolean(true));
    let Value::Many2one(todo) = read(&mut run, "mail.activity", own, "activity_type_id") else { panic!("no type") };
    let by_hand = vec![
        text("res_model", "crm.lead"),
        field("res_id", Value::Integer(i32::try_from(lead).unwrap())),
        field("activity_type_id", Value::Many2one(todo)),
    ];
    let by_hand = create(&mut run, "mail.activity", by_hand);
    ask(&mut run, method("crm.lead", &[lead], "activity_feedback", json!({ "act_type_xmlids": [TODO] })));
    assert_eq!(read(&mut run, "mail.activity", own, "active"), Value::Boolean(false));
    assert_eq!(read(&mut run, "mail.activity", by_hand, "active"), Value::Boolean(true));
    let all = json!({ "act_type_xmlids": [TODO], "only_automated": false });
    ask(&mut run, method("crm.lead", &[lead], "activity_feedback", all));
    assert_eq!(read(&mut run, "mail.activity", by_hand, "active"), Value::Boolean(false));
}

#[test]
fn whoever_reads_a_record_may_follow_it_and_nobody_else_is_made_to() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    let partner = |run: &mut Session, user: Id| match read(run, "res.users", user, "partner_id") {
        Value::Many2one(partner) => partner.id,
        other => panic!("no partner: {other:?}"),
    };
    let (me, other) = (partner(&mut run, READER), partner(&mut run, SAM));
    let follow = |partners: &[Id]| method("crm.lead", &[lead], "message_subscribe", json!({ "partner_ids": partners }));
    let mut reader = Session::new(&database, env(&database, READER)).unwrap();
    assert_eq!(refused(&mut reader, follow(&[other])).kind, ErrorKind::AccessDenied);
    ask(&mut reader, follow(&[me]));
    // Who is not there is passed over.
    ask(&mut run, follow(&[4711]));
}
