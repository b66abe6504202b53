//! Everything that can be wrong with a call: a clear error each, and nothing changed.

use triggerbox_model::{
    call::{Activity, Answer, Call, Command, DomainSource, GroupPage, Operand, Page, Term},
    error::ErrorKind,
    value::{FieldValue, RecordRef, Value},
};
use triggerbox_store::{
    commit::commit,
    db::{Database, DbError, Mode},
    session::Session,
};

use crate::common::*;

/// Code and text of a refusal, and that the session goes on after it with nothing staged.
fn check(session: &mut Session, call: Call, code: &str, words: &str) {
    let shown = format!("{call:?}");
    let error = refused(session, call);
    assert_eq!(error.code, code, "{shown}: {error}");
    assert!(error.message.contains(words), "{shown}: {error}");
    let diff = session.preview().unwrap().diff;
    assert!(diff.is_empty(), "{shown} left something behind: {diff}");
}

#[test]
fn unknown_names_are_told_with_the_nearest_known_one() {
    let database = demo();
    let s = &mut session(&database);
    check(s, search_call("crm.leed", "[]"), "unknown-model", "did you mean `crm.lead`?");
    check(s, create_call("crm.leed", vec![]), "unknown-model", "did you mean `crm.lead`?");
    check(s, create_call("crm.lead", vec![text("nmae", "x")]), "unknown-field", "did you mean `name`?");
    check(s, write_call("crm.lead", 1, vec![text("nmae", "x")]), "unknown-field", "did you mean `name`?");
    check(s, read_call("crm.lead", 1, "nmae"), "unknown-field", "nmae");
    check(s, search_call("crm.lead", "[('nmae', '=', 'x')]"), "unknown-field", "nmae");
    check(s, search_call("crm.lead", "[('name', '~', 'x')]"), "bad-domain", "~");
    let method = Call::CallMethod {
        model: "crm.lead".into(),
        ids: vec![1],
        method: "action_set_wom".into(),
        arguments_json: "{}".into(),
    };
    check(s, method, "unknown-method", "did you mean `action_set_won`?");
    check(s, Call::ResolveXmlid { xmlid: "base.nothing".into() }, "unknown-xmlid", "base.nothing");
    let relate =
        Call::Relate { target: RecordRef::new("crm.lead", 1), field: "tags".into(), commands: vec![Command::Clear] };
    check(s, relate, "unknown-field", "tags");
    let activity = Activity { kind: "Phone".into(), summary: String::new(), note: None, deadline: None, user_id: None };
    let schedule = Call::ScheduleActivity { target: RecordRef::new("crm.lead", 1), activity };
    check(s, schedule, "unknown-activity-type", "Call");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    let database = demo();
    let s = &mut session(&database);
    for (name, value, code) in [
        ("name", Value::Integer(1), "wrong-type"),
        ("color", Value::text("1"), "wrong-type"),
        ("expected_revenue", Value::Number(f64::NAN), "bad-number"),
        ("expected_revenue", Value::Number(f64::INFINITY), "bad-number"),
        ("active", Value::Integer(1), "wrong-type"),
        ("partner_id", Value::Integer(1), "wrong-type"),
        ("tag_ids", Value::text("Hot"), "wrong-type"),
        ("priority", Value::text("Very high"), "unknown-selection"),
        ("name", Value::Pending, "wrong-type"),
        ("date_deadline", Value::Date("2026-02-30".into()), "bad-date"),
        ("date_deadline", Value::Date("2026-2-3".into()), "bad-date"),
        ("date_deadline", Value::Date("0000-01-01".into()), "bad-date"),
        ("date_deadline", Value::text("2026-02-03"), "wrong-type"),
        ("date_closed", Value::Datetime("2026-11-21T10:15:00".into()), "bad-date"),
        ("date_closed", Value::Datetime("2026-11-21 10:15:00Z".into()), "bad-date"),
        ("date_closed", Value::Datetime("2026-11-21T25:15:00Z".into()), "bad-date"),
        ("date_closed", Value::Datetime("2026-11-21T10:15:00+01:00Z".into()), "bad-date"),
    ] {
        check(s, write_call("crm.lead", 1, vec![field(name, value)]), code, name);
    }
    let twice = write_call("crm.lead", 1, vec![field("tag_ids", Value::Ids(vec![9_999]))]);
    check(s, twice, "missing-record", "9999");
}

#[test]
fn records_that_do_not_exist_are_named() {
    let database = demo();
    let s = &mut session(&database);
    let nobody = RecordRef::new("crm.lead", 4_000);
    check(s, write_call("crm.lead", 4_000, vec![text("name", "x")]), "missing-record", "4000");
    check(s, Call::Unlink { model: "crm.lead".into(), ids: vec![1, 4_000] }, "missing-record", "4000");
    check(s, Call::Copy { target: nobody.clone(), values: vec![] }, "missing-record", "4000");
    check(s, note_call(nobody.clone(), "x"), "missing-record", "4000");
    check(s, Call::Mention { target: nobody.clone() }, "missing-record", "4000");
    check(
        s,
        Call::AddFollowers { target: RecordRef::new("crm.lead", 1), partner_ids: vec![4_000] },
        "missing-record",
        "4000",
    );
    check(
        s,
        create_call("crm.lead", vec![text("name", "x"), field("partner_id", Value::link(4_000))]),
        "missing-record",
        "4000",
    );
    check(s, write_call("crm.lead", 2_147_483_700, vec![text("name", "x")]), "missing-record", "2147483700");
    // Reading is different: what is gone is left out, as Odoo does.
    assert_eq!(ask(s, read_call("crm.lead", 4_000, "name")), Answer::Rows(vec![]));
    check(s, note_call(RecordRef::new("crm.tag", 1), "x"), "no-chatter", "crm.tag");
}

#[test]
fn empty_lists_and_missing_values_are_refused() {
    let database = demo();
    let s = &mut session(&database);
    check(s, Call::Read { model: "crm.lead".into(), ids: vec![1], fields: vec![] }, "no-fields", "name the fields");
    check(s, create_call("crm.lead", vec![]), "required", "name");
    check(s, write_call("crm.lead", 1, vec![field("name", Value::Unset)]), "required", "name");
    let ensure = |keys: Vec<String>| Call::Ensure { model: "crm.tag".into(), keys, values: vec![text("name", "Hot")] };
    check(s, ensure(vec![]), "missing-key", "key fields");
    check(s, ensure(vec!["color".into()]), "missing-key", "color");
    check(s, Call::StateSet { key: "k".into(), json: Some("{".into()) }, "bad-json", "k");
}

#[test]
fn archived_records_are_hidden_but_can_be_read_and_written() {
    let database = demo();
    let s = &mut session(&database);
    let old = search(s, "res.partner", "[('name', '=', 'Old Oak Antiques'), ('active', '=', False)]")[0];
    assert!(search(s, "res.partner", "[('name', '=', 'Old Oak Antiques')]").is_empty());
    write(s, "res.partner", old, vec![text("city", "Mons")]);
    assert_eq!(read(s, "res.partner", old, "city"), Value::text("Mons"));
}

// Shows: F110
#[test]
fn constraints_speak_their_own_words() {
    let database = demo();
    let s = &mut session(&database);
    check(s, create_call("crm.tag", vec![text("name", "Hot")]), "not-unique", "Tag name already exists!");
    check(
        s,
        write_call("product.product", 1, vec![field("list_price", Value::Number(-1.0))]),
        "check",
        "cannot be negative",
    );
    check(s, Call::Unlink { model: "crm.stage".into(), ids: vec![1] }, "restricted", "refers to it by `stage_id`");
    let user_partner = Call::Unlink { model: "res.partner".into(), ids: vec![5] };
    check(s, user_partner, "linked-user", "active user");
}

#[test]
fn cyclic_parents_are_refused() {
    let database = demo();
    let s = &mut session(&database);
    let parent = |id| field("parent_id", Value::link(id));
    check(s, write_call("res.partner.category", 1, vec![parent(1)]), "cycle", "its own ancestor");
    let child = create(s, "res.partner.category", vec![text("name", "Below"), parent(1)]);
    let error = refused(s, write_call("res.partner.category", 1, vec![parent(child)]));
    assert_eq!(error.code, "cycle");
    assert_eq!(refused(s, write_call("res.partner", 1, vec![parent(1)])).code, "cycle");
}

#[test]
fn huge_and_odd_texts_come_back_as_they_went_in() {
    let database = demo();
    let s = &mut session(&database);
    let huge = "é".repeat(1 << 20);
    for odd in ["", " ", "\u{0}", "a\u{0}b", "\u{10FFFF}", "'; DROP TABLE crm_lead; --", "%_\\", huge.as_str()] {
        write(s, "crm.lead", 1, vec![text("referred", odd)]);
        assert_eq!(read(s, "crm.lead", 1, "referred"), Value::text(odd));
    }
    commit(&database, &env(&database, ADMIN), &std::mem::replace(s, session(&database)).finish()).unwrap();
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "referred"), Value::Text(huge));
}

#[test]
fn domains_that_are_too_deep_or_too_long_are_refused_or_answered() {
    let database = demo();
    let s = &mut session(&database);
    let many = Term::Condition("id".into(), "in".into(), Operand::Many((0..50_000).map(Value::Integer).collect()));
    let call = Call::SearchCount { model: "crm.lead".into(), domain: DomainSource::Terms(vec![many]) };
    assert_eq!(ask(s, call), Answer::Count(20));
    let mut terms = vec![Term::Not; 10_000];
    terms.push(Term::Always);
    let call = Call::Search { model: "crm.lead".into(), domain: DomainSource::Terms(terms), page: Page::default() };
    // Ten thousand negations cancel out, or are too deep: an answer either way.
    if let Err(error) = s.call(call).unwrap() {
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
    // A path, on a stack of two MiB: as long as it may be, and longer.
    let path = |steps: usize| format!("[('{}parent_id', 'ilike', 'azure')]", "parent_id.".repeat(steps));
    assert_eq!(search(s, "res.partner", &path(20)), [0; 0]);
    check(s, search_call("res.partner", &path(62)), "too-large", "ask in parts");
    check(s, search_call("res.partner", &path(400_000)), "bad-domain", "nests deeper");
    // Patterns that are looked up in an index: more than SQLite takes values.
    let patterns = (0..15_000).map(|n| format!("('name', '=like', 'a{n}%')")).collect::<Vec<_>>();
    let any = format!("[{}{}]", "'|', ".repeat(patterns.len() - 1), patterns.join(", "));
    check(s, search_call("crm.lead", &any), "too-large", "ask in parts");
}

#[test]
fn a_having_that_is_too_long_is_refused() {
    let database = demo();
    let s = &mut session(&database);
    for marks in ["'!', ".repeat(500_000), "('__count', '>', 0), ".repeat(150_000)] {
        let page = GroupPage { having: Some(format!("[{marks}('__count', '>', 0)]")), ..GroupPage::default() };
        let call = Call::ReadGroup {
            model: "crm.lead".into(),
            domain: DomainSource::Literal("[]".into()),
            group_by: vec!["stage_id".into()],
            aggregates: vec!["__count".into()],
            page,
        };
        check(s, call, "bad-having", "conditions and operators");
    }
}

#[test]
fn parents_that_are_in_a_circle_already_are_told_and_end_no_call() {
    let database = demo();
    database
        .transaction(|conn| {
            let circle = "UPDATE res_partner SET parent_id = CASE id WHEN 10 THEN 11 ELSE 10 END WHERE id IN (10, 11)";
            Ok::<_, DbError>(conn.execute(circle, [])?)
        })
        .unwrap();
    let s = &mut session(&database);
    check(s, write_call("res.partner", 12, vec![field("parent_id", Value::link(10))]), "cycle", "mend that first");
}

#[test]
fn a_refused_call_undoes_all_of_itself_and_nothing_before_it() {
    let database = demo();
    let s = &mut session(&database);
    let tags = search(s, "crm.tag", "[]").len();
    create(s, "crm.tag", vec![text("name", "Kept")]);
    let call = Call::Create {
        model: "crm.tag".into(),
        values: vec![vec![text("name", "New one")], vec![text("name", "Hot")]],
    };
    assert_eq!(refused(s, call).code, "not-unique");
    assert_eq!(search(s, "crm.tag", "[]").len(), tags + 1);
    commit(&database, &env(&database, ADMIN), &std::mem::replace(s, session(&database)).finish()).unwrap();
    assert_eq!(search(&mut session(&database), "crm.tag", "[]").len(), tags + 1);
}

#[test]
fn what_became_impossible_meanwhile_is_refused_at_commit_and_changes_nothing() {
    let database = demo();
    let env = env(&database, ADMIN);
    let (mut first, mut second) = (session(&database), session(&database));
    for run in [&mut first, &mut second] {
        write(run, "crm.lead", 1, vec![text("city", "Ghent")]);
        create(run, "crm.tag", vec![text("name", "Same name")]);
    }
    commit(&database, &env, &first.finish()).unwrap();
    let mut changes = second.finish();
    changes.effects.reverse();
    assert_eq!(commit(&database, &env, &changes).unwrap_err().to_string(), "Tag name already exists!");

    let mut late = session(&database);
    write(&mut late, "crm.lead", 2, vec![text("city", "Ghent")]);
    let late = late.finish();
    let mut remover = session(&database);
    ask(&mut remover, Call::Unlink { model: "crm.lead".into(), ids: vec![2] });
    commit(&database, &env, &remover.finish()).unwrap();
    assert!(commit(&database, &env, &late).unwrap_err().to_string().contains("there is no crm.lead 2"));
}

#[test]
fn ids_are_never_given_twice() {
    let database = demo();
    let env = env(&database, ADMIN);
    let make = || {
        let mut run = session(&database);
        let tag = create(&mut run, "crm.tag", vec![text("name", "Short-lived")]);
        commit(&database, &env, &run.finish()).unwrap().ids[&("crm.tag".to_owned(), tag)]
    };
    let first = make();
    let mut run = session(&database);
    ask(&mut run, Call::Unlink { model: "crm.tag".into(), ids: vec![first] });
    commit(&database, &env, &run.finish()).unwrap();
    assert!(make() > first);
}

#[test]
fn a_commit_on_a_full_disk_or_a_read_only_database_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    let database = Database::create_demo(&path, now()).unwrap();
    let env = env(&database, ADMIN);
    let changes = |size: usize| {
        let mut run = session(&database);
        write(
            &mut run,
            "crm.lead",
            1,
            vec![text("city", "Ghent"), FieldValue::new("referred", Value::Text("x".repeat(size)))],
        );
        run.finish()
    };
    // SQLite reports the page limit as it reports a full disk.
    let limit = |pages: i64| -> Result<(), DbError> {
        database.transaction(|conn| {
            let now: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
            conn.pragma_update_and_check(None, "max_page_count", now + pages, |_| Ok(()))?;
            Ok(())
        })
    };
    let before = read(&mut session(&database), "crm.lead", 1, "city");
    limit(0).unwrap();
    let error = commit(&database, &env, &changes(1 << 20)).unwrap_err();
    assert_eq!(error.to_string(), DbError::Full.to_string());
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "city"), before);
    limit(1_000_000).unwrap();
    commit(&database, &env, &changes(1 << 20)).unwrap();
    assert_eq!(read(&mut session(&database), "crm.lead", 1, "city"), Value::text("Ghent"));

    let reader = Database::open(&path, Mode::Read).unwrap();
    let mut run = session(&reader);
    write(&mut run, "crm.lead", 1, vec![text("city", "Liège")]);
    assert!(commit(&reader, &env, &run.finish()).unwrap_err().to_string().contains("read-only"));
}
