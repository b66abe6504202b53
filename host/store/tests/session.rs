//! A run's view of the demo company, and its commit.

use std::{collections::BTreeSet, sync::Arc};

use triggerbox_model::{
    call::{Activity, Answer, Call, Command, Operation, WITH_CONTEXT},
    changes::{ChangeKind, SeenBy},
    error::ErrorKind,
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};
use triggerbox_store::{
    chatter::{Tracked, read_tracked},
    commit::{CommitError, commit},
    env::Env,
    rights::{Rights, Rule},
    session::Session,
};

use crate::common::*;

#[test]
fn a_run_sees_what_it_staged_and_others_see_it_after_the_commit() {
    let database = demo();
    let mut run = session(&database);
    let lead = create(&mut run, "crm.lead", vec![text("name", "Brand new lead")]);
    assert!(is_provisional(lead));
    assert_eq!(search(&mut run, "crm.lead", "[('name', '=', 'Brand new lead')]"), [lead]);
    assert_eq!(read(&mut run, "crm.lead", lead, "priority"), Value::text("0"));
    let diff = run.preview().unwrap().diff;
    assert!(diff.to_string().starts_with("crm.lead new  Brand new lead  (created)\n"), "{diff}");
    assert!(search(&mut session(&database), "crm.lead", "[('name', '=', 'Brand new lead')]").is_empty());

    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let real = done.ids[&("crm.lead".to_owned(), lead)];
    assert_eq!(search(&mut session(&database), "crm.lead", "[('name', '=', 'Brand new lead')]"), [real]);
    assert_eq!(done.events.iter().find(|event| event.record.model == "crm.lead").unwrap().kind, ChangeKind::Created);
}

#[test]
fn ids_of_what_was_refused_or_undone_are_given_to_no_other_record() {
    let database = demo();
    let mut run = session(&database);
    let first = create(&mut run, "crm.lead", vec![text("name", "First")]);
    let nobody = field("partner_id", Value::link(999_999));
    refused(&mut run, create_call("crm.lead", vec![text("name", "Refused"), nobody]));
    let second = create(&mut run, "crm.lead", vec![text("name", "Second")]);
    let mark = run.mark();
    let undone = create(&mut run, "crm.lead", vec![text("name", "Undone")]);
    run.undo(mark).unwrap();
    let third = create(&mut run, "crm.lead", vec![text("name", "Third")]);
    assert_eq!(BTreeSet::from([first, second, undone, third]).len(), 4);
    assert!(search(&mut run, "crm.lead", &format!("[('id', '=', {undone})]")).is_empty());
    // Each is the record by its number that the run meant.
    for (lead, city) in [(first, "Aachen"), (second, "Bruges"), (third, "Ghent")] {
        write(&mut run, "crm.lead", lead, vec![text("city", city)]);
    }
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let mut after = session(&database);
    for (lead, name, city) in [(first, "First", "Aachen"), (second, "Second", "Bruges"), (third, "Third", "Ghent")] {
        let real = done.ids[&("crm.lead".to_owned(), lead)];
        assert_eq!(read(&mut after, "crm.lead", real, "name"), Value::text(name));
        assert_eq!(read(&mut after, "crm.lead", real, "city"), Value::text(city));
    }
    assert!(search(&mut after, "crm.lead", "[('name', 'in', ['Refused', 'Undone'])]").is_empty());
}

#[test]
fn a_dropped_session_leaves_nothing() {
    let database = demo();
    let mut run = session(&database);
    let leads = search(&mut run, "crm.lead", "[]").len();
    ask(&mut run, Call::Unlink { model: "crm.lead".into(), ids: search(&mut session(&database), "crm.lead", "[]") });
    assert!(search(&mut run, "crm.lead", "[]").is_empty());
    drop(run);
    assert_eq!(search(&mut session(&database), "crm.lead", "[]").len(), leads);
}

#[test]
fn the_diff_tells_fields_messages_and_activities_in_words() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    let target = RecordRef::new("crm.lead", lead);
    write(&mut run, "crm.lead", lead, vec![text("priority", "2"), field("stage_id", Value::link(2))]);
    ask(&mut run, note_call(target.clone(), "Look at this <now>"));
    let activity = Activity {
        kind: "To-Do".into(),
        summary: "Call back".into(),
        note: None,
        deadline: Some("2026-12-01".into()),
        user_id: Some(SAM),
    };
    ask(&mut run, Call::ScheduleActivity { target, activity });
    let diff = run.preview().unwrap().diff;
    assert_eq!(
        diff.to_string(),
        format!(
            "crm.lead {lead}  Need twenty desks\n  Stage: Proposition → Qualified\n  Priority: Low → High\n  \
             note: Look at this <now>\n  activity: To-Do “Call back” by 2026-12-01 for Sam Peeters\n  follower: Sam Peeters\n"
        )
    );
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    assert_eq!(done.diff, diff);
}

#[test]
fn a_tracked_change_is_told_in_the_chatter() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Need twenty desks')]")[0];
    ask(
        &mut run,
        Call::CallMethod {
            model: "crm.lead".into(),
            ids: vec![lead],
            method: "action_set_won".into(),
            arguments_json: "{}".into(),
        },
    );
    assert_eq!(read(&mut run, "crm.lead", lead, "won_status"), Value::text("won"));
    // Told once, when the run is over: as Odoo tells it when its transaction ends.
    let tracked = "[('new_value_char', '=', 'Won')]";
    assert_eq!(search(&mut run, "mail.tracking.value", tracked).len(), 0);
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let told = search(&mut session(&database), "mail.tracking.value", tracked);
    assert_eq!(told.len(), 2, "the stage and the status");
}

// Shows: F015
#[test]
fn a_message_on_a_new_order_names_it_when_it_has_a_name() {
    let database = demo();
    let mut run = session(&database);
    let partner = search(&mut run, "res.partner", "[('name', '=', 'Azure Interior')]")[0];
    let order = create(&mut run, "sale.order", vec![field("partner_id", Value::link(partner))]);
    assert_eq!(read(&mut run, "sale.order", order, "name"), Value::Pending);
    let target = RecordRef::new("sale.order", order);
    let Answer::Text(mention) = ask(&mut run, Call::Mention { target: target.clone() }) else { panic!() };
    ask(&mut run, note_call(target, &format!("<b>High value</b>: {mention}")));
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let real = done.ids[&("sale.order".to_owned(), order)];
    let Answer::Messages(messages) =
        ask(&mut session(&database), Call::ReadMessages { target: RecordRef::new("sale.order", real), limit: 1 })
    else {
        panic!()
    };
    let link =
        format!("<a href=\"/odoo/sale.order/{real}\" data-oe-model=\"sale.order\" data-oe-id=\"{real}\">S00013</a>");
    assert_eq!(messages[0].body, format!("<p>&lt;b&gt;High value&lt;/b&gt;: {link}</p>"));
    assert!(messages[0].is_note);
}

#[test]
fn what_only_the_commit_knows_cannot_be_asked_for() {
    let database = demo();
    let mut run = session(&database);
    assert!(run.call(search_call("sale.order", "[('name', '=', 'S00001')]")).unwrap().is_ok());
    create(&mut run, "sale.order", vec![field("partner_id", Value::link(1))]);
    for domain in ["[('name', '=', 'S00013')]", "['|', ('id', '=', 1), ('display_name', 'ilike', 'S')]"] {
        let error = refused(&mut run, search_call("sale.order", domain));
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Pending, "pending"), "{domain}");
    }
    let error = refused(&mut run, search_call("sale.order.line", "[('order_id.name', '=', 'x')]"));
    assert_eq!(error.kind, ErrorKind::Pending);
    let error = refused(&mut run, search_call("crm.lead", "[('order_ids', 'any', [('name', '=', 'x')])]"));
    assert_eq!(error.kind, ErrorKind::Pending);
    assert!(run.call(search_call("sale.order", "[('state', '=', 'draft')]")).unwrap().is_ok());
}

#[test]
fn a_provisional_id_is_refused_in_texts_and_welcome_in_relations() {
    let database = demo();
    let mut run = session(&database);
    let partner = create(&mut run, "res.partner", vec![text("name", "Newcomer")]);
    let lead =
        create(&mut run, "crm.lead", vec![text("name", "From a newcomer"), field("partner_id", Value::link(partner))]);
    let target = RecordRef::new("crm.lead", lead);
    for call in [
        note_call(target.clone(), &format!("see partner {partner}")),
        write_call("crm.lead", lead, vec![text("referred", &partner.to_string())]),
        Call::StateSet { key: "last".into(), json: Some(format!("{{\"id\": {partner}}}")) },
        Call::Relate {
            target: RecordRef::new("res.partner", 1),
            field: "child_ids".into(),
            commands: vec![Command::Create(vec![text("name", &format!("below {partner}"))])],
        },
    ] {
        assert_eq!(refused(&mut run, call).code, "provisional-id");
    }
    ask(&mut run, note_call(target, "no number of ours: 2999999999"));
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let (lead, partner) = (done.ids[&("crm.lead".to_owned(), lead)], done.ids[&("res.partner".to_owned(), partner)]);
    let linked = read(&mut session(&database), "crm.lead", lead, "partner_id");
    assert!(matches!(linked, Value::Many2one(link) if link.id == partner));
}

#[test]
fn a_record_that_somebody_else_changed_is_a_conflict() {
    let database = demo();
    let env = env(&database, ADMIN);
    let (mut first, mut second) = (session(&database), session(&database));
    for run in [&mut first, &mut second] {
        let Value::Number(revenue) = read(run, "crm.lead", 1, "expected_revenue") else { panic!() };
        write(run, "crm.lead", 1, vec![field("expected_revenue", Value::Number(revenue + 1000.0))]);
    }
    commit(&database, &env, &first.finish()).unwrap();
    let error = commit(&database, &env, &second.finish()).unwrap_err();
    assert!(
        matches!(&error, CommitError::Conflict { record, field } if record.id == 1 && field == "expected_revenue"),
        "{error}"
    );

    // Run again on what is there now.
    let mut again = session(&database);
    let Value::Number(revenue) = read(&mut again, "crm.lead", 1, "expected_revenue") else { panic!() };
    write(&mut again, "crm.lead", 1, vec![field("expected_revenue", Value::Number(revenue + 1000.0))]);
    commit(&database, &env, &again.finish()).unwrap();
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "expected_revenue"), Value::Number(26_000.0));
}

#[test]
fn changes_of_other_fields_and_other_records_are_no_conflict() {
    let database = demo();
    let env = env(&database, ADMIN);
    let (mut first, mut second) = (session(&database), session(&database));
    read(&mut second, "crm.lead", 2, "priority");
    read(&mut second, "crm.lead", 1, "priority");
    write(&mut first, "crm.lead", 1, vec![text("referred", "a friend")]);
    write(&mut second, "crm.lead", 1, vec![text("city", "Ghent")]);
    commit(&database, &env, &first.finish()).unwrap();
    commit(&database, &env, &second.finish()).unwrap();
    let mut after = session(&database);
    assert_eq!(read(&mut after, "crm.lead", 1, "referred"), Value::text("a friend"));
    assert_eq!(read(&mut after, "crm.lead", 1, "city"), Value::text("Ghent"));
}

#[test]
fn what_messages_tell_of_fields_is_read_in_words() {
    let database = demo();
    let mut run = session(&database);
    write(
        &mut run,
        "crm.lead",
        1,
        vec![
            field("stage_id", Value::link(2)),
            field("expected_revenue", Value::Number(30_000.0)),
            field("date_deadline", Value::Date("2026-12-24".into())),
        ],
    );
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let target = RecordRef::new("crm.lead", 1);
    let Answer::Messages(messages) = ask(&mut session(&database), Call::ReadMessages { target, limit: 9 }) else {
        panic!()
    };
    let ids: Vec<Id> = messages.iter().map(|message| message.id).collect();
    let told = |user: Id| {
        let conn = database.snapshot().unwrap();
        let tracked = read_tracked(&conn, &env(&database, user), &ids).unwrap();
        assert!(tracked.iter().all(|tracked| tracked.message == ids[0]));
        tracked.into_iter().map(|Tracked { field, old, new, .. }| format!("{field}: {old} → {new}")).collect::<Vec<_>>()
    };
    let mut seen = told(ADMIN);
    seen.sort();
    assert_eq!(seen, ["Expected Revenue: 24000 → 30000", "Stage: New → Qualified"]);
    assert_eq!(told(SAM).len(), seen.len());
}

#[test]
fn what_goes_with_a_record_is_counted() {
    let database = demo();
    let mut run = session(&database);
    let category = |run: &mut Session, name: &str, above: Vec<FieldValue>| {
        create(run, "res.partner.category", [vec![text("name", name)], above].concat())
    };
    let top = category(&mut run, "Top", vec![]);
    for name in ["One", "Two"] {
        let middle = category(&mut run, name, vec![field("parent_id", Value::link(top))]);
        category(&mut run, &format!("Below {name}"), vec![field("parent_id", Value::link(middle))]);
    }
    ask(&mut run, Call::Unlink { model: "res.partner.category".into(), ids: vec![top] });
    assert_eq!(run.extra().deleted, 4);
}

// Shows: F018
#[test]
fn lists_are_compared_as_the_run_read_them() {
    let database = demo();
    let mut setup = session(&database);
    let partner = create(&mut setup, "res.partner", vec![text("name", "Chair & Co")]);
    let lead = |user: Id, more: Vec<FieldValue>| {
        let own = vec![
            text("name", "Chairs"),
            field("user_id", Value::link(user)),
            field("partner_id", Value::link(partner)),
        ];
        own.into_iter().chain(more).collect()
    };
    let mine = create(&mut setup, "crm.lead", lead(SAM, vec![]));
    create(&mut setup, "crm.lead", lead(MANAGER, vec![]));
    let archived = create(&mut setup, "crm.lead", lead(SAM, vec![field("active", Value::Boolean(false))]));
    let made = commit(&database, &env(&database, ADMIN), &setup.finish()).unwrap().ids;
    let [mine, archived] = [mine, archived].map(|id| made[&("crm.lead".to_owned(), id)]);
    let partner = made[&("res.partner".to_owned(), partner)];

    // A salesperson sees the leads that are their own.
    let sam = env(&database, SAM);
    let mut run = Session::new(&database, sam.clone()).unwrap();
    assert_eq!(read(&mut run, "res.partner", partner, "lead_ids"), Value::Ids(vec![mine]));
    write(&mut run, "res.partner", partner, vec![text("city", "Ghent")]);
    commit(&database, &sam, &run.finish()).unwrap();

    let mut run = Session::new(&database, sam.clone()).unwrap();
    let arguments_json = r#"{"context": {"active_test": false}}"#.to_owned();
    let (model, method) = ("res.partner".to_owned(), WITH_CONTEXT.to_owned());
    ask(&mut run, Call::CallMethod { model, ids: vec![], method, arguments_json });
    assert_eq!(read(&mut run, "res.partner", partner, "lead_ids"), Value::Ids(vec![archived, mine]));
    write(&mut run, "res.partner", partner, vec![text("city", "Bruges")]);
    commit(&database, &sam, &run.finish()).unwrap();

    // What they see of it still counts.
    let mut run = Session::new(&database, sam.clone()).unwrap();
    read(&mut run, "res.partner", partner, "lead_ids");
    write(&mut run, "res.partner", partner, vec![text("city", "Ghent")]);
    let mut other = session(&database);
    write(&mut other, "crm.lead", mine, vec![field("partner_id", Value::Unset)]);
    commit(&database, &env(&database, ADMIN), &other.finish()).unwrap();
    let error = commit(&database, &sam, &run.finish()).unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { field, .. } if field == "lead_ids"), "{error}");
}

#[test]
fn what_somebody_else_read_for_a_change_is_compared_as_they_see_it() {
    let database = demo();
    let mut setup = session(&database);
    let partner = create(&mut setup, "res.partner", vec![text("name", "Chair & Co")]);
    let leads = [SAM, MANAGER].map(|user| {
        let (user, partner) = (field("user_id", Value::link(user)), field("partner_id", Value::link(partner)));
        create(&mut setup, "crm.lead", vec![text("name", "Chairs"), user, partner])
    });
    let made = commit(&database, &env(&database, ADMIN), &setup.finish()).unwrap().ids;
    let [_, theirs] = leads.map(|id| made[&("crm.lead".to_owned(), id)]);
    let partner = made[&("res.partner".to_owned(), partner)];

    let sam = env(&database, SAM);
    let mut run = Session::new(&database, sam.clone()).unwrap();
    write(&mut run, "res.partner", partner, vec![text("city", "Ghent")]);
    let mut rule = session(&database);
    read(&mut rule, "res.partner", partner, "lead_ids");
    let mut changes = run.finish();
    changes.others.push(SeenBy { user: ADMIN, superuser: false, reads: rule.seen() });
    // Sam does not see all of the list.
    commit(&database, &sam, &changes).unwrap();

    let mut other = session(&database);
    write(&mut other, "crm.lead", theirs, vec![field("partner_id", Value::Unset)]);
    commit(&database, &env(&database, ADMIN), &other.finish()).unwrap();
    let error = commit(&database, &sam, &changes).unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { field, .. } if field == "lead_ids"), "{error}");
}

#[test]
fn what_happens_behind_a_call_is_told_with_what_it_found() {
    let database = demo();
    let env = env(&database, ADMIN);
    let mut run = session(&database);
    write(&mut run, "crm.lead", 1, vec![text("city", "Ghent")]);
    let method = "action_set_lost".to_owned();
    ask(&mut run, Call::CallMethod { model: "crm.lead".into(), ids: vec![1, 2], method, arguments_json: "{}".into() });
    ask(&mut run, note_call(RecordRef::new("crm.lead", 1), "Lost."));
    let behind = run.behind().unwrap();
    let told: Vec<_> = behind.changes.iter().map(|(_, change)| (change.record.model.as_str(), change.kind)).collect();
    for (of, times) in [(("crm.lead", ChangeKind::Updated), 2), (("mail.message", ChangeKind::Created), 1)] {
        assert_eq!(told.iter().filter(|one| **one == of).count(), times, "{told:?}");
    }
    let effects: Vec<_> = behind.changes.iter().map(|(effect, _)| *effect).collect();
    assert_eq!(effects.iter().copied().collect::<BTreeSet<_>>(), [1, 2].into(), "the method and the note");
    let names: Vec<_> = behind.found.iter().map(|seen| seen.field.as_str()).collect();
    assert!(names.contains(&"active") && !names.contains(&"city"), "a write says what it writes: {names:?}");

    let mut changes = run.finish();
    changes.reads.extend(behind.found);
    let mut other = session(&database);
    write(&mut other, "crm.lead", 2, vec![field("active", Value::Boolean(false))]);
    commit(&database, &env, &other.finish()).unwrap();
    let error = commit(&database, &env, &changes).unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { record, .. } if record.id == 2), "{error}");
}

#[test]
fn what_was_written_before_it_left_its_list_is_no_conflict() {
    let database = demo();
    let mut run = session(&database);
    let order = search(&mut run, "sale.order", "[('state', '=', 'draft'), ('order_line', '!=', False)]")[0];
    let line = search(&mut run, "sale.order.line", &format!("[('order_id', '=', {order})]"))[0];
    write(&mut run, "sale.order.line", line, vec![text("name", "Other")]);
    write(&mut run, "sale.order", order, vec![field("order_line", Value::Ids(vec![]))]);
    let behind = run.behind().unwrap();
    assert!(behind.left.contains(&RecordRef::new("sale.order.line", line)));
    let names: BTreeSet<_> = behind.found.iter().map(|seen| seen.field.as_str()).collect();
    assert!(names.contains("order_id") && !names.contains("write_date"), "{names:?}");
}

// Shows: F122
#[test]
fn two_racing_runs_that_ensure_a_contact_end_with_one() {
    let database = demo();
    let env = env(&database, ADMIN);
    let ensure = || Call::Ensure {
        model: "res.partner".into(),
        keys: vec!["email".into()],
        values: vec![text("email", "new@contact.example"), text("name", "New Contact")],
    };
    let (mut first, mut second) = (session(&database), session(&database));
    let mut leads = Vec::new();
    for run in [&mut first, &mut second] {
        let Answer::Id(partner) = ask(run, ensure()) else { panic!() };
        assert_eq!(ask(run, ensure()), Answer::Id(partner), "asked again, the run finds its own");
        leads.push(create(run, "crm.lead", vec![text("name", "A lead"), field("partner_id", Value::link(partner))]));
    }
    commit(&database, &env, &first.finish()).unwrap();
    let done = commit(&database, &env, &second.finish()).unwrap();
    let mut after = session(&database);
    let contacts = search(&mut after, "res.partner", "[('email', '=', 'new@contact.example')]");
    assert_eq!(contacts.len(), 1);
    let lead = done.ids[&("crm.lead".to_owned(), leads[1])];
    assert!(
        matches!(read(&mut after, "crm.lead", lead, "partner_id"), Value::Many2one(link) if link.id == contacts[0])
    );
}

#[test]
fn a_run_that_writes_on_what_it_ensured_runs_again_when_another_made_it() {
    let database = demo();
    let env = env(&database, ADMIN);
    let (mut first, mut second) = (session(&database), session(&database));
    for (run, city) in [(&mut first, "Paris"), (&mut second, "Rome")] {
        let values = vec![text("email", "new@contact.example"), text("name", "New Contact")];
        let Answer::Id(partner) =
            ask(run, Call::Ensure { model: "res.partner".into(), keys: vec!["email".into()], values })
        else {
            panic!()
        };
        write(run, "res.partner", partner, vec![text("city", city)]);
    }
    commit(&database, &env, &first.finish()).unwrap();
    assert!(matches!(commit(&database, &env, &second.finish()), Err(CommitError::Conflict { .. })));
}

#[test]
fn a_rule_keeps_its_state_and_no_other_rules() {
    let database = demo();
    let mut run = session(&database).for_rule("mine");
    assert_eq!(ask(&mut run, Call::StateGet { key: "k".into() }), Answer::OptionalText(None));
    ask(&mut run, Call::StateSet { key: "k".into(), json: Some("[1]".into()) });
    assert_eq!(ask(&mut run, Call::StateGet { key: "k".into() }), Answer::OptionalText(Some("[1]".into())));
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let mut other = session(&database).for_rule("other");
    assert_eq!(ask(&mut other, Call::StateGet { key: "k".into() }), Answer::OptionalText(None));
    let mut again = session(&database).for_rule("mine");
    assert_eq!(ask(&mut again, Call::StateGet { key: "k".into() }), Answer::OptionalText(Some("[1]".into())));
    ask(&mut again, Call::StateSet { key: "k".into(), json: None });
    assert_eq!(ask(&mut again, Call::StateGet { key: "k".into() }), Answer::OptionalText(None));
}

#[test]
fn lines_are_related_by_commands_and_add_up() {
    let database = demo();
    let mut run = session(&database);
    let order = create(&mut run, "sale.order", vec![field("partner_id", Value::link(1))]);
    let target = RecordRef::new("sale.order", order);
    let line = |product, quantity| {
        Command::Create(vec![
            field("product_id", Value::link(product)),
            field("product_uom_qty", Value::Number(quantity)),
        ])
    };
    ask(
        &mut run,
        Call::Relate { target: target.clone(), field: "order_line".into(), commands: vec![line(1, 2.0), line(2, 1.0)] },
    );
    assert_eq!(read(&mut run, "sale.order", order, "amount_total"), Value::Number(970.0));
    let Value::Ids(lines) = read(&mut run, "sale.order", order, "order_line") else { panic!() };
    ask(&mut run, Call::Relate { target, field: "order_line".into(), commands: vec![Command::Delete(lines[0])] });
    assert_eq!(read(&mut run, "sale.order", order, "amount_total"), Value::Number(70.0));
    assert_eq!(read(&mut run, "sale.order", order, "line_count"), Value::Integer(1));
    let done = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let order = done.ids[&("sale.order".to_owned(), order)];
    assert_eq!(read(&mut session(&database), "sale.order", order, "amount_total"), Value::Number(70.0));
}

#[test]
fn activities_are_counted_completed_and_told() {
    let database = demo();
    let mut run = session(&database);
    let lead = search(&mut run, "crm.lead", "[('name', '=', 'Hotel lobby refit')]")[0];
    let target = RecordRef::new("crm.lead", lead);
    let done = Call::CompleteActivities {
        target: target.clone(),
        kind: "Call".into(),
        feedback: Some("They said yes".into()),
    };
    assert_eq!(ask(&mut run, done.clone()), Answer::Count(1));
    assert_eq!(ask(&mut run, done), Answer::Count(0));
    let Answer::Messages(messages) = ask(&mut run, Call::ReadMessages { target, limit: 10 }) else { panic!() };
    assert!(messages[0].body.contains("They said yes"), "{}", messages[0].body);
    assert_eq!(messages.len(), 3, "with the two that were there");
}

// Shows: F018
#[test]
fn rights_of_the_user_hold_in_a_run() {
    let database = demo();
    let mut reader = Session::new(&database, env(&database, READER)).unwrap();
    assert_eq!(refused(&mut reader, write_call("crm.lead", 1, vec![text("name", "x")])).kind, ErrorKind::AccessDenied);
    assert_eq!(refused(&mut reader, create_call("crm.lead", vec![text("name", "x")])).kind, ErrorKind::AccessDenied);
    assert_eq!(refused(&mut reader, note_call(RecordRef::new("crm.lead", 1), "x")).kind, ErrorKind::AccessDenied);
    assert!(matches!(
        ask(&mut reader, Call::ReadMessages { target: RecordRef::new("crm.lead", 1), limit: 5 }),
        Answer::Messages(_)
    ));
    let access = |operation| Call::HasAccess { model: "crm.lead".into(), ids: vec![1], operation };
    assert_eq!(ask(&mut reader, access(Operation::Read)), Answer::Flag(true));
    assert_eq!(ask(&mut reader, access(Operation::Write)), Answer::Flag(false));

    let mut sam = Session::new(&database, env(&database, SAM)).unwrap();
    let others = search(&mut session(&database), "crm.lead", "[('user_id.login', '=', 'sofia')]")[0];
    assert_eq!(
        refused(&mut sam, write_call("crm.lead", others, vec![text("name", "x")])).kind,
        ErrorKind::AccessDenied
    );
    assert!(search(&mut sam, "crm.lead", "[('user_id.login', '=', 'sofia')]").is_empty());
    let mine = search(&mut sam, "crm.lead", "[('user_id', '=', 4)]")[0];
    write(&mut sam, "crm.lead", mine, vec![text("priority", "3")]);
}

#[test]
fn a_run_that_only_reads_and_posts_builds_no_view() {
    let database = demo();
    let mut run = session(&database);
    read(&mut run, "sale.order", 1, "amount_total");
    ask(&mut run, note_call(RecordRef::new("sale.order", 1), "High-value sale detected, manager notified."));
    let views: i64 =
        run.connection().query_row("SELECT count(*) FROM sqlite_temp_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(views, 0);
    commit(&database, &env(&database, ADMIN), &run.finish()).unwrap();
    let Answer::Messages(messages) =
        ask(&mut session(&database), Call::ReadMessages { target: RecordRef::new("sale.order", 1), limit: 1 })
    else {
        panic!()
    };
    assert_eq!(messages[0].body, "<p>High-value sale detected, manager notified.</p>");
}

#[test]
fn new_records_need_no_view_until_somebody_looks() {
    let database = demo();
    let views = |run: &Session| {
        let sql = "SELECT count(*) FROM sqlite_temp_schema WHERE type = 'view'";
        run.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let mut run = Session::new(&database, env(&database, SAM)).unwrap();
    let theirs = create_call("crm.lead", vec![text("name", "Theirs"), field("user_id", Value::link(MANAGER))]);
    assert_eq!(refused(&mut run, theirs).code, "record-rule");
    let lead = create(&mut run, "crm.lead", vec![text("name", "Mine")]);
    assert_eq!(views(&run), 0);
    assert_eq!(run.changes().effects.len(), 1);

    // Saying something about it is looking at it, and so is a second one.
    ask(&mut run, note_call(RecordRef::new("crm.lead", lead), "Called."));
    assert!(views(&run) > 0);
    let other = create(&mut run, "crm.lead", vec![text("name", "Mine, too")]);
    assert_eq!(search(&mut run, "crm.lead", "[('name', '=like', 'Mine%')]"), [other, lead]);
    let mark = run.mark();
    create(&mut run, "crm.lead", vec![text("name", "Mine no more")]);
    run.undo(mark).unwrap();
    assert_eq!(search(&mut run, "crm.lead", "[('name', '=like', 'Mine%')]"), [other, lead]);
    let done = commit(&database, &env(&database, SAM), &run.finish()).unwrap();
    assert_eq!(done.diff.records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["Mine", "Mine, too"]);
}

#[test]
fn who_follows_a_new_record_may_post_on_it_where_only_followers_may() {
    let database = demo();
    let rule: Rule = serde_json::from_value(serde_json::json!({
        "name": "Followers write", "model": "crm.lead", "perm_read": false, "perm_create": false, "perm_unlink": false,
        "domain_force": "[('message_follower_ids.partner_id', '=', user.partner_id.id)]",
    }))
    .unwrap();
    let rights = database.rights();
    let rules = rights.rules.iter().cloned().chain([rule]).collect();
    let rights = Arc::new(Rights::new(rights.access.clone(), rules));
    let snapshot = database.snapshot().unwrap();
    let sam = Env::for_user(&snapshot, database.schema().clone(), rights, SAM, now()).unwrap();
    drop(snapshot);

    // Sam follows what he makes from the start, and says so before anything has looked.
    let mut run = Session::new(&database, sam.clone()).unwrap();
    let lead = create(&mut run, "crm.lead", vec![text("name", "Mine")]);
    ask(&mut run, note_call(RecordRef::new("crm.lead", lead), "Called."));
    commit(&database, &sam, &run.finish()).unwrap();

    // What he does not follow any more is not his to post on.
    let Value::Many2one(partner) = read(&mut session(&database), "res.users", SAM, "partner_id") else {
        panic!("no partner")
    };
    let mut run = Session::new(&database, sam).unwrap();
    let target = RecordRef::new("crm.lead", create(&mut run, "crm.lead", vec![text("name", "Theirs")]));
    ask(&mut run, Call::RemoveFollowers { target: target.clone(), partner_ids: vec![partner.id] });
    assert_eq!(refused(&mut run, note_call(target, "Called.")).code, "record-rule");
}

#[test]
fn a_contact_counts_its_new_leads_before_anybody_looks() {
    let database = demo();
    let customer = || field("partner_id", Value::link(1));
    let count = |run: &mut Session| match read(run, "res.partner", 1, "lead_count") {
        Value::Integer(count) => count,
        other => panic!("no count: {other:?}"),
    };
    let before = count(&mut session(&database));
    let mut run = session(&database);
    let leads = vec![vec![text("name", "One"), customer()], vec![text("name", "Two"), customer()]];
    ask(&mut run, Call::Create { model: "crm.lead".into(), values: leads });
    assert_eq!(count(&mut run), before + 2);
    assert!(search(&mut run, "res.partner", &format!("[('lead_count', '=', {})]", before + 2)).contains(&1));

    // What the run read of the contact counts, whether or not it looks at it again.
    let mut run = session(&database);
    read(&mut run, "res.partner", 1, "city");
    create(&mut run, "crm.lead", vec![text("name", "Three"), customer()]);
    let mut other = session(&database);
    write(&mut other, "res.partner", 1, vec![text("city", "Ghent")]);
    commit(&database, &env(&database, ADMIN), &other.finish()).unwrap();
    let error = commit(&database, &env(&database, ADMIN), &run.finish()).unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { record, field } if record.id == 1 && field == "city"), "{error}");

    // A rule about the count is asked with the new lead counted.
    let most = serde_json::json!({
        "name": "Few leads", "model": "crm.lead", "perm_read": false, "perm_write": false, "perm_unlink": false,
        "domain_force": format!("[('partner_id.lead_count', '<=', {})]", before + 1),
    });
    let rights = database.rights();
    let rules = rights.rules.iter().cloned().chain([serde_json::from_value(most).unwrap()]).collect();
    let rights = Arc::new(Rights::new(rights.access.clone(), rules));
    let snapshot = database.snapshot().unwrap();
    let sam = Env::for_user(&snapshot, database.schema().clone(), rights, SAM, now()).unwrap();
    drop(snapshot);
    let mut run = Session::new(&database, sam).unwrap();
    create(&mut run, "crm.lead", vec![text("name", "Four"), customer()]);
    assert_eq!(refused(&mut run, create_call("crm.lead", vec![text("name", "Five"), customer()])).code, "record-rule");
}
