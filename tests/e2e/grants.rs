//! Every operation refused by every side, with the texts: a generated matrix, kept as a page of the book.

use std::{fmt::Write as _, sync::Arc};

use triggerbox_automation::{guard::Guard, people};
use triggerbox_model::{
    call::{Activity, Answer, BodyFormat, Call, Command, DomainSource, GroupPage, Message, Operation, Page, Reply},
    grants::{Authority, Grant, Grants, Policy, Side},
    value::{FieldValue, RecordRef, Value},
};
use triggerbox_sandbox::Host;
use triggerbox_store::session::Session;

use crate::support::{Crm, Log};

const NOW: &str = crate::support::NOW;
const MODEL: &str = "crm.lead";

fn message() -> Message {
    Message {
        body: "hello".into(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    }
}

/// One call for each operation, with the grant that just suffices for it.
fn calls(lead: u32) -> Vec<(&'static str, &'static str, Call)> {
    let target = RecordRef::new(MODEL, lead);
    let literal = |text: &str| DomainSource::Literal(text.to_owned());
    let name = || vec![FieldValue::new("name", Value::text("x"))];
    let activity = Activity {
        kind: "mail.mail_activity_data_todo".into(),
        summary: "x".into(),
        note: None,
        deadline: None,
        user_id: None,
    };
    vec![
        (
            "read",
            "crm.lead:read:name",
            Call::Read { model: MODEL.into(), ids: vec![lead], fields: vec!["name".into()] },
        ),
        (
            "search by a field",
            "crm.lead:read:phone",
            Call::Search { model: MODEL.into(), domain: literal("[('phone', '!=', False)]"), page: Page::default() },
        ),
        (
            "search by a path",
            "crm.lead:read:stage_id",
            Call::SearchCount { model: MODEL.into(), domain: literal("[('stage_id.name', '=', 'New')]") },
        ),
        (
            "order",
            "crm.lead:read:expected_revenue",
            Call::Search {
                model: MODEL.into(),
                domain: literal("[]"),
                page: Page { order: Some("expected_revenue desc".into()), ..Page::default() },
            },
        ),
        (
            "group",
            "crm.lead:read:stage_id,expected_revenue",
            Call::ReadGroup {
                model: MODEL.into(),
                domain: literal("[]"),
                group_by: vec!["stage_id".into()],
                aggregates: vec!["expected_revenue:sum".into()],
                page: GroupPage::default(),
            },
        ),
        ("write", "crm.lead:write:name", Call::Write { model: MODEL.into(), ids: vec![lead], values: name() }),
        (
            "relate",
            "crm.lead:write:tag_ids",
            Call::Relate { target: target.clone(), field: "tag_ids".into(), commands: vec![Command::Clear] },
        ),
        ("create", "crm.lead:create:name", Call::Create { model: MODEL.into(), values: vec![name()] }),
        ("unlink", "crm.lead:unlink", Call::Unlink { model: MODEL.into(), ids: vec![lead] }),
        ("note", "crm.lead:note", Call::PostNote { target: target.clone(), message: message() }),
        ("message", "crm.lead:message", Call::PostMessage { target: target.clone(), message: message() }),
        ("activity", "crm.lead:activity", Call::ScheduleActivity { target: target.clone(), activity }),
        ("follow", "crm.lead:follow", Call::AddFollowers { target: target.clone(), partner_ids: vec![1] }),
        (
            "search and read",
            "crm.lead:read:name",
            Call::SearchRead {
                model: MODEL.into(),
                domain: literal("[]"),
                fields: vec!["name".into()],
                page: Page::default(),
            },
        ),
        ("name search", "crm.lead:read:name", Call::NameSearch { model: MODEL.into(), text: "a".into(), limit: 3 }),
        (
            "ask for access",
            "crm.lead:write:name",
            Call::HasAccess { model: MODEL.into(), ids: vec![lead], operation: Operation::Write },
        ),
        ("mention", "crm.lead:read:name", Call::Mention { target: target.clone() }),
        ("read the chatter", "crm.lead:read:message_ids", Call::ReadMessages { target: target.clone(), limit: 3 }),
        (
            "ensure",
            "crm.lead:read,create:name",
            Call::Ensure { model: MODEL.into(), keys: vec!["name".into()], values: name() },
        ),
        ("copy", "crm.lead:create:name", Call::Copy { target: target.clone(), values: name() }),
        (
            "complete activities",
            "crm.lead:activity",
            Call::CompleteActivities {
                target: target.clone(),
                kind: "mail.mail_activity_data_todo".into(),
                feedback: None,
            },
        ),
        ("unfollow", "crm.lead:follow", Call::RemoveFollowers { target, partner_ids: vec![1] }),
        (
            "call",
            "crm.lead:call:action_archive",
            Call::CallMethod {
                model: MODEL.into(),
                ids: vec![lead],
                method: "action_archive".into(),
                arguments_json: "{}".into(),
            },
        ),
    ]
}

fn ask(crm: &Crm, user: &str, authority: Authority, call: Call) -> Reply {
    let now = NOW.parse().unwrap();
    let person = people::find(&crm.database, user, now).unwrap();
    let env = people::environment(&crm.database, person.user.id, false, now).unwrap();
    let session = Session::new(&crm.database, env).unwrap();
    let mut guard = Guard::new(session, Arc::new(authority), Box::new(Log::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(guard.call(call)).unwrap()
}

/// A side that is as generous as can be for one grant, and one that gives something else.
fn sides(grant: &str, refusing: Option<Side>) -> Authority {
    let grant: Grant = grant.parse().unwrap();
    let mut all = Grants(vec![grant, "crm.stage:read:name".parse().unwrap()]);
    // Whatever a call also touches on its way.
    all.0.push("mail.message:read:body".parse().unwrap());
    let other = Grants(vec!["crm.tag:read:name".parse().unwrap()]);
    let policy = match refusing {
        Some(Side::Policy) => Policy { forbidden_models: vec!["crm.*".into()], ..Policy::default() },
        _ => Policy::default(),
    };
    let or_other = |side| if refusing == Some(side) { other.clone() } else { all.clone() };
    Authority { script: or_other(Side::Script), rule: Some(or_other(Side::Rule)), policy, ..Authority::default() }
}

// Shows: F018, F084, F105, F106, F107, F108
#[test]
fn each_side_refuses_each_operation_and_says_so() {
    let crm = Crm::new();
    // A user in no group at all.
    let nobody = crm.search("res.users", "[('login', '=', 'rita')]")[0];
    crm.write("res.users", nobody, &[("group_ids", Value::Ids(Vec::new()))]);
    let lead = crm.search(MODEL, "[('type', '=', 'opportunity')]")[0];
    let mut page = "# What each refusal says\n\n\
        Made by the test `tests/e2e/grants.rs`: each operation on a lead, with three sides that allow it and one that does\n\
        not. The user who is refused has no access to leads.\n"
        .to_owned();
    for (operation, grant, call) in calls(lead) {
        writeln!(page, "\n## {operation}\n\n| refused by | code | text |\n|---|---|---|").unwrap();
        let allowed = ask(&crm, "admin", sides(grant, None), call.clone());
        assert!(allowed.is_ok(), "{operation} with all four sides: {allowed:?}");
        for side in [Side::Script, Side::Rule, Side::Policy, Side::User] {
            let user = if side == Side::User { "rita" } else { "admin" };
            let reply = ask(&crm, user, sides(grant, Some(side)), call.clone());
            match (side, &call) {
                // It is what was asked.
                (Side::User, Call::HasAccess { .. }) => assert_eq!(reply, Ok(Answer::Flag(false))),
                // As in Odoo: of records that a user does not see, there are no activities.
                (Side::User, Call::CompleteActivities { .. }) => assert_eq!(reply, Ok(Answer::Count(0))),
                _ => {}
            }
            if reply.is_ok() {
                continue;
            }
            let refused = reply.unwrap_err();
            assert_eq!(refused.kind.name(), "access-denied", "{operation} by {side:?}: {refused:?}");
            if side != Side::User {
                assert_eq!(refused.code, format!("refused-by-{}", side.name()), "{operation}");
            }
            let text = refused.message.lines().next().unwrap_or_default().replace('|', "\\|");
            writeln!(page, "| {} | `{}` | {text} |", side.name(), refused.code).unwrap();
        }
    }
    snapbox::assert_data_eq!(page, snapbox::file!["../../docs/src/write/refusals.md"]);
}

/// Grants that miss a call by one thing, and what that is.
fn misses(grant: &str, lead: u32) -> Vec<(&'static str, String)> {
    let mut parts = grant.split(':');
    let (model, operations, fields) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
    let all = fields.map(|fields| format!(":{fields}")).unwrap_or_default();
    let other = if operations == "note" { "follow" } else { "note" };
    let mut misses = vec![("model", "crm.tag:read:name".to_owned()), ("operation", format!("{model}:{other}"))];
    if operations.contains("read") || operations.contains("write") || operations.contains("create") {
        misses.push(("field", format!("{model}:{operations}:color")));
    }
    if operations.contains("call") {
        misses.push(("method", format!("{model}:call:action_unarchive")));
    } else {
        misses.push((
            "record",
            format!("{model}:{operations}{}:[('id', '!=', {lead})]", if all.is_empty() { ":" } else { &all }),
        ));
    }
    misses
}

/// What a call does on a record that its grant's domain leaves out: it finds nothing, or it is refused.
fn is_by_domain(call: &Call) -> bool {
    match call {
        // These have no record to begin with, or only find others.
        Call::Search { .. }
        | Call::SearchRead { .. }
        | Call::SearchCount { .. }
        | Call::ReadGroup { .. }
        | Call::NameSearch { .. }
        | Call::FieldsGet { .. }
        | Call::Create { .. }
        | Call::Ensure { .. }
        | Call::Copy { .. }
        | Call::ResolveXmlid { .. }
        | Call::StateGet { .. }
        | Call::StateSet { .. }
        | Call::Complete { .. }
        | Call::Send { .. } => false,
        Call::Read { .. }
        | Call::HasAccess { .. }
        | Call::Write { .. }
        | Call::Relate { .. }
        | Call::Unlink { .. }
        | Call::CallMethod { .. }
        | Call::Mention { .. }
        | Call::PostMessage { .. }
        | Call::PostNote { .. }
        | Call::ScheduleActivity { .. }
        | Call::CompleteActivities { .. }
        | Call::AddFollowers { .. }
        | Call::RemoveFollowers { .. }
        | Call::ReadMessages { .. } => true,
    }
}

// Shows: F107, F108
#[test]
fn model_operation_field_and_record_each_are_a_bound_of_their_own() {
    let crm = Crm::new();
    let lead = crm.search(MODEL, "[('type', '=', 'opportunity')]")[0];
    for (operation, grant, call) in calls(lead) {
        for side in [Side::Script, Side::Rule] {
            for (level, miss) in misses(grant, lead) {
                let mut authority = sides(grant, None);
                let Ok(narrow) = miss.parse::<Grant>() else { panic!("{miss}") };
                let grants = match side {
                    Side::Script => &mut authority.script,
                    _ => authority.rule.as_mut().unwrap(),
                };
                grants.0.retain(|kept| kept.model != MODEL);
                grants.0.push(narrow);
                let reply = ask(&crm, "admin", authority, call.clone());
                let named = format!("{operation} by {side:?}, {level}: {reply:?}");
                match (level, is_by_domain(&call)) {
                    ("record", true) => assert_eq!(reply.unwrap_err().code, "refused-by-domain", "{named}"),
                    ("record", false) => {}
                    // These are about records, and about no field of theirs.
                    ("field", _)
                        if matches!(call, Call::NameSearch { .. } | Call::HasAccess { .. } | Call::Mention { .. }) => {}
                    _ => assert_eq!(reply.unwrap_err().code, format!("refused-by-{}", side.name()), "{named}"),
                }
            }
        }
    }
}

// Shows: F107
#[test]
fn a_user_is_refused_by_access_by_rule_and_by_field() {
    let crm = Crm::new();
    let lead = crm.search(MODEL, "[('type', '=', 'opportunity')]")[0];
    let read = |field: &str| Call::Read { model: MODEL.into(), ids: vec![lead], fields: vec![field.into()] };
    let may = || sides("crm.lead:read,unlink:name,phone", None);
    assert!(ask(&crm, "admin", may(), read("name")).is_ok());
    // A salesman with his own leads only, who may not delete.
    let sam = crm.search("res.users", "[('login', '=', 'sam')]")[0];
    crm.write(MODEL, lead, &[("user_id", Value::link(2))]);
    let refused = ask(&crm, "sam", may(), read("name")).unwrap_err();
    assert_eq!(refused.kind.name(), "access-denied", "{refused:?}");
    crm.write(MODEL, lead, &[("user_id", Value::link(sam))]);
    assert!(ask(&crm, "sam", may(), read("name")).is_ok());
    let unlink = Call::Unlink { model: MODEL.into(), ids: vec![lead] };
    assert_eq!(ask(&crm, "sam", may(), unlink).unwrap_err().kind.name(), "access-denied");
}

#[test]
fn what_only_asks_needs_no_method_to_be_granted() {
    let crm = Crm::new();
    let lead = crm.search(MODEL, "[('type', '=', 'opportunity')]")[0];
    let call = |ids: &[u32], method: &str, arguments: &str| Call::CallMethod {
        model: MODEL.into(),
        ids: ids.to_vec(),
        method: method.into(),
        arguments_json: arguments.into(),
    };
    let defaults = call(&[], "default_get", r#"{"fields": ["type", "company_id"]}"#);
    let told = ask(&crm, "admin", sides("crm.lead:read:name", None), defaults.clone()).unwrap();
    assert_eq!(told, Answer::OptionalText(Some(r#"{"type":"opportunity"}"#.to_owned())));
    let refused = ask(&crm, "admin", sides("crm.lead:note", None), defaults).unwrap_err();
    assert_eq!(refused.code, "refused-by-script");
    // Its answer tells of all fields that are copied.
    let copied = call(&[lead], "copy_data", "{}");
    let refused = ask(&crm, "admin", sides("crm.lead:read:name", None), copied).unwrap_err();
    assert!(refused.code == "refused-by-script" && refused.message.contains("expected_revenue"), "{refused:?}");
    let context = call(&[], "with_context", r#"{"context": {"tracking_disable": true}}"#);
    assert_eq!(ask(&crm, "admin", sides("crm.lead:note", None), context), Ok(Answer::OptionalText(None)));
    // A method that changes records cannot be passed off as one that does not.
    let mut authority = sides("crm.lead:call:action_archive", None);
    for grants in [Some(&mut authority.script), authority.rule.as_mut()].into_iter().flatten() {
        for grant in &mut grants.0 {
            grant.read_only_methods = std::mem::take(&mut grant.methods);
        }
    }
    let refused = ask(&crm, "admin", authority, call(&[lead], "action_archive", "{}")).unwrap_err();
    assert_eq!(refused.code, "not-read-only");
    assert_eq!(crm.value(MODEL, lead, "active"), Value::Boolean(true));
}

#[test]
fn what_a_copy_is_made_of_is_told_to_who_may_read_its_lines() {
    let crm = Crm::new();
    let order = crm.search("sale.order", "[('order_line', '!=', False)]")[0];
    let fields_of = |model: &str, but: &str| {
        let model = crm.database.schema().model(model).unwrap();
        model.fields.keys().filter(|field| *field != but).cloned().collect::<Vec<_>>().join(",")
    };
    let asked = |grants: &[String]| {
        let script = Grants(grants.iter().map(|grant| grant.parse().unwrap()).collect());
        let copied = Call::CallMethod {
            model: "sale.order".into(),
            ids: vec![order],
            method: "copy_data".into(),
            arguments_json: "{}".into(),
        };
        ask(&crm, "admin", Authority { script, ..Authority::default() }, copied)
    };
    let orders = format!("sale.order:read:{}", fields_of("sale.order", ""));
    let lines = |but: &str| format!("sale.order.line:read:{}", fields_of("sale.order.line", but));
    for (grants, lacks) in
        [(vec![orders.clone()], "sale.order.line"), (vec![orders.clone(), lines("price_unit")], "price_unit")]
    {
        let refused = asked(&grants).unwrap_err();
        assert!(refused.code == "refused-by-script" && refused.message.contains(lacks), "{refused:?}");
    }
    match asked(&[orders, lines("")]) {
        Ok(Answer::OptionalText(Some(told))) => assert!(told.contains("price_unit"), "{told}"),
        other => panic!("{other:?}"),
    }
}

// Shows: F107
#[test]
fn a_granted_domain_bounds_every_way_to_a_record() {
    let crm = Crm::new();
    let leads = crm.rows(MODEL, "[('type', '=', 'opportunity')]", &["name"]);
    let (inside, outside) = (leads[0].id, leads[1].id);
    let grant = format!("crm.lead:read,write,note:name:[('id', '=', {inside})]");
    let authority = || Authority {
        script: Grants(vec![grant.parse().unwrap(), "crm.tag:read:name".parse().unwrap()]),
        ..Authority::default()
    };
    let search =
        Call::Search { model: MODEL.into(), domain: DomainSource::Literal("[]".into()), page: Page::default() };
    assert_eq!(ask(&crm, "admin", authority(), search).unwrap(), triggerbox_model::call::Answer::Ids(vec![inside]));
    for id in [inside, outside] {
        let target = RecordRef::new(MODEL, id);
        let values = vec![FieldValue::new("name", Value::text("x"))];
        for call in [
            Call::Read { model: MODEL.into(), ids: vec![id], fields: vec!["name".into()] },
            Call::Write { model: MODEL.into(), ids: vec![id], values },
            Call::PostNote { target, message: message() },
        ] {
            let reply = ask(&crm, "admin", authority(), call);
            match id == inside {
                true => assert!(reply.is_ok(), "{reply:?}"),
                false => assert_eq!(reply.unwrap_err().code, "refused-by-domain"),
            }
        }
    }
}
