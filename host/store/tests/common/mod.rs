//! The demo company in memory, and short ways to ask a session.
#![allow(dead_code, reason = "each test file uses a part")]

use jiff::Timestamp;
use triggerbox_model::{
    call::{Answer, BodyFormat, Call, DomainSource, Message, Page},
    error::Error,
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_store::{db::Database, env::Env, session::Session};

pub(crate) const ADMIN: Id = 2;
pub(crate) const MANAGER: Id = 3;
pub(crate) const SAM: Id = 4;
pub(crate) const READER: Id = 6;

pub(crate) fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

pub(crate) fn demo() -> Database {
    Database::demo_in_memory(now()).unwrap()
}

pub(crate) fn env(database: &Database, user: Id) -> Env {
    let snapshot = database.snapshot().unwrap();
    Env::for_user(&snapshot, database.schema().clone(), database.rights().clone(), user, now()).unwrap()
}

/// A session of the administrator, who may do everything here.
pub(crate) fn session(database: &Database) -> Session {
    Session::new(database, env(database, ADMIN)).unwrap()
}

pub(crate) fn ask(session: &mut Session, call: Call) -> Answer {
    session.call(call).unwrap().unwrap()
}

pub(crate) fn refused(session: &mut Session, call: Call) -> Error {
    session.call(call).unwrap().expect_err("the call must be refused")
}

pub(crate) fn search_call(model: &str, domain: &str) -> Call {
    Call::Search { model: model.into(), domain: DomainSource::Literal(domain.into()), page: Page::default() }
}

pub(crate) fn search(session: &mut Session, model: &str, domain: &str) -> Vec<Id> {
    match ask(session, search_call(model, domain)) {
        Answer::Ids(ids) => ids,
        other => panic!("not ids: {other:?}"),
    }
}

pub(crate) fn read_call(model: &str, id: Id, field: &str) -> Call {
    Call::Read { model: model.into(), ids: vec![id], fields: vec![field.into()] }
}

pub(crate) fn read(session: &mut Session, model: &str, id: Id, field: &str) -> Value {
    match ask(session, read_call(model, id, field)) {
        Answer::Rows(rows) => rows[0].values[0].clone(),
        other => panic!("not rows: {other:?}"),
    }
}

pub(crate) fn create_call(model: &str, values: Vec<FieldValue>) -> Call {
    Call::Create { model: model.into(), values: vec![values] }
}

pub(crate) fn create(session: &mut Session, model: &str, values: Vec<FieldValue>) -> Id {
    match ask(session, create_call(model, values)) {
        Answer::Ids(ids) => ids[0],
        other => panic!("not ids: {other:?}"),
    }
}

pub(crate) fn write_call(model: &str, id: Id, values: Vec<FieldValue>) -> Call {
    Call::Write { model: model.into(), ids: vec![id], values }
}

pub(crate) fn write(session: &mut Session, model: &str, id: Id, values: Vec<FieldValue>) {
    assert_eq!(ask(session, write_call(model, id, values)), Answer::Done);
}

pub(crate) fn field(name: &str, value: Value) -> FieldValue {
    FieldValue::new(name, value)
}

pub(crate) fn text(name: &str, value: &str) -> FieldValue {
    FieldValue::new(name, Value::text(value))
}

pub(crate) fn note_call(target: RecordRef, body: &str) -> Call {
    Call::PostNote { target, message: message(body) }
}

pub(crate) fn message(body: &str) -> Message {
    Message { body: body.into(), format: BodyFormat::Text, subject: None, partner_ids: vec![], attachments: vec![] }
}
