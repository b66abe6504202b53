//! A run's view of the demo company, and its commit.

use jiff::Timestamp;
use triggerbox_model::{
    call::{Answer, BodyFormat, Call, DomainSource, Message, Page},
    value::{FieldValue, Id, RecordRef, Value, is_provisional},
};
use triggerbox_store::{commit::commit, db::Database, env::Env, session::Session};

fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

fn demo() -> Database {
    Database::demo_in_memory(now()).unwrap()
}

fn env(database: &Database, user: Id) -> Env {
    let snapshot = database.snapshot().unwrap();
    Env::for_user(&snapshot, database.schema().clone(), database.rights().clone(), user, now()).unwrap().sudo()
}

fn ask(session: &mut Session, call: Call) -> Answer {
    session.call(call).unwrap().unwrap()
}

fn ids(answer: Answer) -> Vec<Id> {
    match answer {
        Answer::Ids(ids) => ids,
        other => panic!("not ids: {other:?}"),
    }
}

fn search(session: &mut Session, model: &str, domain: &str) -> Vec<Id> {
    ids(ask(
        session,
        Call::Search { model: model.into(), domain: DomainSource::Literal(domain.into()), page: Page::default() },
    ))
}

fn read(session: &mut Session, model: &str, id: Id, field: &str) -> Value {
    match ask(session, Call::Read { model: model.into(), ids: vec![id], fields: vec![field.into()] }) {
        Answer::Rows(rows) => rows[0].values[0].clone(),
        other => panic!("not rows: {other:?}"),
    }
}

fn create(session: &mut Session, model: &str, values: Vec<FieldValue>) -> Id {
    ids(ask(session, Call::Create { model: model.into(), values: vec![values] }))[0]
}

fn text(name: &str, value: &str) -> FieldValue {
    FieldValue::new(name, Value::text(value))
}

#[test]
fn a_run_sees_what_it_staged_and_others_see_it_after_the_commit() {
    let database = demo();
    let env = env(&database, 2);
    let mut session = Session::new(&database, env.clone()).unwrap();
    let lead = create(&mut session, "crm.lead", vec![text("name", "Brand new lead")]);
    assert!(is_provisional(lead));
    assert_eq!(search(&mut session, "crm.lead", "[('name', '=', 'Brand new lead')]"), [lead]);
    assert_eq!(read(&mut session, "crm.lead", lead, "priority"), Value::text("0"));
    let (diff, _) = session.preview().unwrap();
    assert!(diff.to_string().starts_with("crm.lead new  Brand new lead  (created)\n"), "{diff}");

    let mut other = Session::new(&database, env.clone()).unwrap();
    assert_eq!(search(&mut other, "crm.lead", "[('name', '=', 'Brand new lead')]").len(), 0);
    drop(other);

    let done = commit(&database, &env, &session.finish()).unwrap();
    let real = done.ids[&("crm.lead".to_owned(), lead)];
    let mut other = Session::new(&database, env).unwrap();
    assert_eq!(search(&mut other, "crm.lead", "[('name', '=', 'Brand new lead')]"), [real]);
}

#[test]
fn a_message_on_a_new_order_names_it_when_it_has_a_name() {
    let database = demo();
    let env = env(&database, 2);
    let mut session = Session::new(&database, env.clone()).unwrap();
    let order = create(&mut session, "sale.order", vec![FieldValue::new("partner_id", Value::link(9))]);
    assert_eq!(read(&mut session, "sale.order", order, "name"), Value::Pending);
    let target = RecordRef::new("sale.order", order);
    let Answer::Text(mention) = ask(&mut session, Call::Mention { target: target.clone() }) else { panic!() };
    let message = Message {
        body: format!("<b>High value</b>: {mention}"),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: vec![],
        attachments: vec![],
    };
    ask(&mut session, Call::PostNote { target, message });
    let done = commit(&database, &env, &session.finish()).unwrap();
    let real = done.ids[&("sale.order".to_owned(), order)];
    let mut session = Session::new(&database, env).unwrap();
    let Answer::Messages(messages) =
        ask(&mut session, Call::ReadMessages { target: RecordRef::new("sale.order", real), limit: 1 })
    else {
        panic!()
    };
    assert_eq!(
        messages[0].body,
        format!(
            "<p>&lt;b&gt;High value&lt;/b&gt;: <a href=\"/odoo/sale.order/{real}\" data-oe-model=\"sale.order\" data-oe-id=\"{real}\">S00013</a></p>"
        )
    );
    assert!(messages[0].is_note);
}
