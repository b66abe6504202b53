//! What one call may use: time, records, bytes. What is too much is not made to be thrown away.
//! Shows: F017

use std::time::{Duration, Instant};

use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, DomainSource, GroupPage, Page},
    limits::Limit,
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_store::{
    db::{Database, DbError},
    session::Session,
};

use crate::common::{SAM, demo, env, note_call, search, search_call, session};

/// So many leads besides those of the demo company, each with a description of one letter.
const LEADS: u32 = 3_000;

fn many_leads() -> Database {
    let database = demo();
    let like = "INSERT INTO crm_lead (name, type, active, description, probability, user_id, team_id, company_id, stage_id) \
                SELECT 'Lead ' || n.value, l.type, 1, hex(zeroblob(300)), l.probability, l.user_id, l.team_id, l.company_id, l.stage_id \
                FROM crm_lead AS l, generate AS n WHERE l.id = (SELECT min(id) FROM crm_lead WHERE type = 'lead')";
    let sql = format!(
        "WITH RECURSIVE generate(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM generate WHERE value < {LEADS}) {like}"
    );
    database.transaction(|conn| conn.execute_batch(&sql).map_err(DbError::from)).unwrap();
    database
}

fn reads(fields: &[&str]) -> Call {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    let domain = DomainSource::Literal("[]".to_owned());
    Call::SearchRead { model: "crm.lead".into(), domain, fields, page: Page::default() }
}

fn groups(group_by: &[&str], aggregates: &[&str]) -> Call {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    Call::ReadGroup {
        model: "crm.lead".into(),
        domain: DomainSource::Literal("[]".to_owned()),
        group_by: owned(group_by),
        aggregates: owned(aggregates),
        page: GroupPage::default(),
    }
}

/// An instant that is over.
fn past() -> Option<Instant> {
    Instant::now().checked_sub(Duration::from_millis(1))
}

fn answer(run: &mut Session, call: Call, may: Allowance) -> Answer {
    run.call_within(call, may).unwrap().unwrap()
}

#[test]
fn a_call_is_given_up_when_its_time_is_over_and_the_connection_serves_the_next_run() {
    let database = many_leads();
    let over = Allowance { until: past(), ..Allowance::UNLIMITED };
    let slow = "[('description', 'ilike', '%0%0%0%0%0%1')]";
    for call in [
        search_call("crm.lead", slow),
        Call::SearchCount { model: "crm.lead".into(), domain: DomainSource::Literal(slow.into()) },
        reads(&["name", "partner_id"]),
        groups(&["name"], &["description:max"]),
        Call::NameSearch { model: "crm.lead".into(), text: "e".into(), limit: 0 },
    ] {
        let mut run = session(&database);
        let fault = run.call_within(call.clone(), over).unwrap_err();
        assert_eq!((fault.limit(), fault.code()), (Some(Limit::WallTime), "out-of-time"), "{}", call.name());
        drop(run);
        let mut next = session(&database);
        next.call(call).unwrap().unwrap();
    }
    // Also within one session: a call that has time is not held to the time of the one before it.
    let mut run = session(&database);
    let in_an_hour = Allowance { until: Instant::now().checked_add(Duration::from_secs(3_600)), ..over };
    answer(&mut run, search_call("crm.lead", slow), in_an_hour);
    run.call_within(search_call("crm.lead", slow), over).unwrap_err();
    answer(&mut run, search_call("crm.lead", slow), in_an_hour);
    assert!(search(&mut run, "crm.lead", "[]").len() > LEADS as usize);
}

#[test]
fn writing_on_the_runs_own_view_is_given_up_too_and_leaves_nothing() {
    let database = many_leads();
    let mut run = session(&database);
    let leads = search(&mut run, "crm.lead", "[]");
    let write = Call::Write {
        model: "crm.lead".into(),
        ids: leads.clone(),
        values: vec![FieldValue::new("description", Value::text("changed"))],
    };
    let fault = run.call_within(write, Allowance { until: past(), ..Allowance::UNLIMITED }).unwrap_err();
    assert_eq!(fault.limit(), Some(Limit::WallTime));
    drop(run);
    let mut next = session(&database);
    assert!(search(&mut next, "crm.lead", "[('description', '=', 'changed')]").is_empty());
    assert_eq!(search(&mut next, "crm.lead", "[]"), leads);
}

#[test]
fn looking_at_what_would_change_is_given_up_too() {
    let database = many_leads();
    let mut run = session(&database);
    let leads = search(&mut run, "crm.lead", "[]");
    let values = vec![FieldValue::new("description", Value::text("changed"))];
    run.call(Call::Write { model: "crm.lead".into(), ids: leads, values }).unwrap().unwrap();
    let error = run.in_time(past(), Session::preview).unwrap_err();
    assert_eq!(DbError::behind(&error).and_then(|fault| fault.limit()), Some(Limit::WallTime));
}

#[test]
fn a_call_within_something_that_has_a_time_is_held_to_that_time() {
    let database = many_leads();
    let mut run = session(&database);
    let call = || search_call("crm.lead", "[('description', 'ilike', '%0%0%1')]");
    let fault = run.in_time(past(), |run| run.call(call()).unwrap_err());
    assert_eq!(fault.limit(), Some(Limit::WallTime));
    run.call(call()).unwrap().unwrap();
}

#[test]
fn of_records_one_more_comes_back_than_may() {
    let database = many_leads();
    let mut run = session(&database);
    let may = |records| Allowance { records, ..Allowance::UNLIMITED };
    let all = search(&mut run, "crm.lead", "[]");
    for (call, expected) in [
        (search_call("crm.lead", "[]"), 8),
        (reads(&["name"]), 8),
        (Call::NameSearch { model: "crm.lead".into(), text: String::new(), limit: 0 }, 8),
        (groups(&["name"], &["__count"]), 8),
        // Records that are named are read so many at a time.
        (Call::Read { model: "crm.lead".into(), ids: all.clone(), fields: vec!["name".into()] }, 1_000),
    ] {
        assert_eq!(answer(&mut run, call.clone(), may(7)).records(), expected, "{}", call.name());
        let whole = run.call(call.clone()).unwrap().unwrap();
        assert!(whole.records() > LEADS as usize);
        assert_eq!(answer(&mut run, call, may(whole.records() as u64)), whole);
    }
    // A page that asks for less has what it asks for.
    let page = Page { limit: Some(3), offset: 1, ..Page::default() };
    let call = Call::Search { model: "crm.lead".into(), domain: DomainSource::Literal("[]".into()), page };
    assert_eq!(answer(&mut run, call, may(7)), Answer::Ids(all[1..4].to_vec()));
    // Records that are not there do not count, however many are named.
    let ids: Vec<Id> = (900_000..901_000).chain([all[0]]).collect();
    let call = Call::Read { model: "crm.lead".into(), ids, fields: vec!["name".into()] };
    assert_eq!(answer(&mut run, call, may(7)).records(), 1);
}

#[test]
fn what_weighs_too_much_is_read_no_further() {
    let database = many_leads();
    let mut run = session(&database);
    for call in [
        reads(&["name", "description"]),
        reads(&["name", "stage_id", "tag_ids"]),
        groups(&["name", "description", "stage_id"], &["description:max"]),
        Call::NameSearch { model: "crm.lead".into(), text: String::new(), limit: 0 },
        Call::CallMethod {
            model: "crm.lead".into(),
            ids: search(&mut run, "crm.lead", "[]"),
            method: "copy_data".into(),
            arguments_json: String::new(),
        },
    ] {
        let whole = run.call(call.clone()).unwrap().unwrap();
        let weight = whole.byte_size();
        assert_eq!(
            answer(&mut run, call.clone(), Allowance { bytes: weight, ..Allowance::UNLIMITED }),
            whole,
            "{}",
            call.name()
        );
        let bytes = weight / 4;
        let part = answer(&mut run, call.clone(), Allowance { bytes, ..Allowance::UNLIMITED });
        assert!(part.byte_size() > bytes, "the meter must see it: {}", call.name());
        assert!(part.byte_size() < weight / 2, "{} of {weight}: {}", part.byte_size(), call.name());
    }
    // A long list in one record, and messages.
    let lead = search(&mut run, "crm.lead", "[]")[0];
    let target = RecordRef::new("crm.lead", lead);
    for _ in 0..20 {
        run.call(note_call(target.clone(), &"x".repeat(1_000))).unwrap().unwrap();
    }
    let call = Call::ReadMessages { target, limit: 100 };
    assert_eq!(answer(&mut run, call.clone(), Allowance { bytes: 3_500, ..Allowance::UNLIMITED }).records(), 4);
    assert_eq!(answer(&mut run, call, Allowance { records: 2, ..Allowance::UNLIMITED }).records(), 3);
}

#[test]
fn what_a_run_saw_of_a_great_many_records_is_still_compared() {
    let database = many_leads();
    let mut run = session(&database);
    let Answer::Rows(rows) = answer(&mut run, reads(&["name", "description", "stage_id"]), Allowance::UNLIMITED) else {
        panic!("no rows")
    };
    let seen = run.seen();
    assert_eq!(seen.len(), 3 * rows.len());
    let lead = rows[5].id;
    let values = vec![FieldValue::new("name", Value::text("Another"))];
    run.call(Call::Write { model: "crm.lead".into(), ids: vec![lead], values }).unwrap().unwrap();
    let reads = run.finish().reads;
    assert_eq!(reads.iter().map(|seen| seen.field.as_str()).collect::<Vec<_>>(), ["description", "name", "stage_id"]);
    assert!(reads.iter().all(|seen| seen.record.id == lead));
}

#[test]
fn groupings_that_nobody_needs_are_refused() {
    let database = demo();
    let mut run = Session::new(&database, env(&database, SAM)).unwrap();
    let path = ["partner_id"; 100].join(".");
    for (call, code) in [
        (groups(&["tag_ids", "tag_ids"], &["__count"]), "bad-group"),
        (groups(&["stage_id", "name", "stage_id"], &[]), "bad-group"),
        (groups(&[&path], &[]), "bad-group"),
        (groups(&[], &["name:count"; 33]), "bad-aggregate"),
    ] {
        assert_eq!(run.call(call.clone()).unwrap().unwrap_err().code, code, "{}", call.name());
    }
    run.call(groups(&["stage_id", "tag_ids"], &["name:count"; 32])).unwrap().unwrap();
}

#[test]
fn what_a_group_lists_is_bounded_whatever_the_answer_may_weigh() {
    let database = many_leads();
    let sql = "UPDATE crm_lead SET description = hex(zeroblob(5000)) WHERE name LIKE 'Lead %'";
    database.transaction(|conn| conn.execute_batch(sql).map_err(DbError::from)).unwrap();
    let mut run = session(&database);
    let error = run.call(groups(&[], &["description:array_agg"])).unwrap().unwrap_err();
    assert_eq!(error.code, "answer-too-big", "{error}");
    // Where no list is long, many are not: they are made one group after the other.
    run.call(groups(&["name"], &["description:array_agg"])).unwrap().unwrap();
}

#[test]
fn an_answer_has_no_more_than_a_million_values() {
    let database = many_leads();
    let mut run = session(&database);
    let may = Allowance { bytes: 32 << 20, ..Allowance::UNLIMITED };
    let error = run.call_within(reads(&["active"; 400]), may).unwrap().unwrap_err();
    assert_eq!(error.code, "answer-too-big", "{error}");
    assert!(answer(&mut run, reads(&["active"; 100]), may).records() > LEADS as usize);
}
