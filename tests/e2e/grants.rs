//! Every operation refused by every side, with the texts: a generated matrix, kept as a page of the book.

use std::{fmt::Write as _, sync::Arc};

use triggerbox_automation::{guard::Guard, people};
use triggerbox_model::{
    allowance::Allowance,
    call::{Activity, Answer, BodyFormat, Call, Command, DomainSource, GroupPage, Message, Operation, Page, Reply},
    grants::{Authority, Grant, Grants, Policy, Side},
    limits::{Class, Limit, LimitRequest, Limits, Meter},
    value::{FieldValue, Id, RecordRef, Value},
};
use triggerbox_sandbox::Host;
use triggerbox_store::session::Session;

use crate::support::{Crm, Log};

const NOW: &str = crate::support::NOW;
const MODEL: &str = "crm.lead";
/// A copy is read of its original.
const COPY: &str = "crm.lead:create,read:name,partner_id,email_from,phone,contact_name,partner_name,type,team_id,user_id,\
                    company_id,expected_revenue,priority,tag_ids,color,active,date_deadline,description,country_id,street,city,\
                    zip,function,website,referred,lost_reason_id";

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
            "describe fields",
            "crm.lead:read:name",
            Call::DescribeFields { model: MODEL.into(), fields: vec!["name".into()] },
        ),
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
        ("copy", COPY, Call::Copy { target: target.clone(), values: name() }),
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
    runtime.block_on(guard.call(call, Allowance::UNLIMITED)).unwrap()
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

/// What the grants of a side can lack for a call that another grant just suffices for, and grants that lack it.
fn misses(grant: &str, lead: Id) -> Vec<(&'static str, String)> {
    let mut parts = grant.split(':');
    let (model, operations, fields) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
    let fields = fields.unwrap_or_default();
    let other = if operations == "note" { "follow" } else { "note" };
    let mut misses = vec![("model", "crm.tag:read:name".to_owned()), ("operation", format!("{model}:{other}"))];
    if operations.contains("read") || operations.contains("write") || operations.contains("create") {
        misses.push(("field", format!("{model}:{operations}:color")));
    }
    if operations.contains("call") {
        misses.push(("method", format!("{model}:call:action_unarchive")));
    }
    misses.push(("record", format!("{model}:{operations}:{fields}:[('id', '!=', {lead})]")));
    misses
}

/// What is answered although something is lacking, and what must be true of the answer then.
fn is_right(level: &str, call: &Call, answer: &Answer, lead: Id) -> bool {
    match (level, call, answer) {
        // They are about records, and about no field of theirs.
        ("field", Call::NameSearch { .. } | Call::HasAccess { .. } | Call::Mention { .. }, _) => true,
        // Which fields there are says nothing of any record, and Odoo tells it to whoever asks.
        ("field" | "record" | "access", Call::DescribeFields { .. }, _) => true,
        // Other records are found.
        ("record", Call::Search { .. }, Answer::Ids(ids)) => !ids.contains(&lead),
        ("record", Call::SearchRead { .. }, Answer::Rows(rows)) => rows.iter().all(|row| row.id != lead),
        ("record", Call::SearchCount { .. } | Call::ReadGroup { .. }, _) => true,
        // It is what was asked.
        ("access", Call::HasAccess { .. }, answer) => *answer == Answer::Flag(false),
        // As in Odoo: of records that a user does not see, there are no activities.
        ("access", Call::CompleteActivities { .. }, answer) => *answer == Answer::Count(0),
        _ => false,
    }
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
        Made by the test `tests/e2e/grants.rs`: each operation on a lead, with three sides that allow it and one that lacks what is\n\
        said: the operation, a field, a method, or the record, which the domain of a grant leaves out. Policy forbids the model, and the\n\
        user who is refused has no access to leads.\n"
        .to_owned();
    for (operation, grant, call) in calls(lead) {
        writeln!(page, "\n## {operation}\n\n| refused by | lacks | code | text |\n|---|---|---|---|").unwrap();
        let allowed = ask(&crm, "admin", sides(grant, None), call.clone());
        assert!(allowed.is_ok(), "{operation} with all four sides: {allowed:?}");
        let mut tried = Vec::new();
        for side in [Side::Script, Side::Rule] {
            for (level, miss) in misses(grant, lead) {
                let mut authority = sides(grant, None);
                let grants = match side {
                    Side::Script => &mut authority.script,
                    _ => authority.rule.as_mut().unwrap(),
                };
                grants.0.retain(|kept| kept.model != MODEL);
                grants.0.push(miss.parse().unwrap());
                tried.push((side, level, "admin", authority));
            }
        }
        tried.push((Side::Policy, "model", "admin", sides(grant, Some(Side::Policy))));
        tried.push((Side::User, "access", "rita", sides(grant, None)));
        for (side, level, user, authority) in tried {
            let named = format!("{operation} by {side:?}, {level}");
            let refused = match ask(&crm, user, authority, call.clone()) {
                Ok(answer) => {
                    assert!(is_right(level, &call, &answer, lead), "{named}: {answer:?}");
                    continue;
                }
                Err(refused) => refused,
            };
            assert_eq!(refused.kind.name(), "access-denied", "{named}: {refused:?}");
            match (side, level) {
                (Side::User, _) => {}
                (_, "record") => assert_eq!(refused.code, "refused-by-domain", "{named}"),
                _ => assert_eq!(refused.code, format!("refused-by-{}", side.name()), "{named}"),
            }
            if matches!(side, Side::Script | Side::Rule) {
                assert!(refused.message.contains(side.name()), "{named}: {}", refused.message);
            }
            // A model that is not granted is refused by its operation.
            if level != "model" || side == Side::Policy {
                let text = refused.message.lines().next().unwrap_or_default().replace('|', "\\|");
                writeln!(page, "| {} | {level} | `{}` | {text} |", side.name(), refused.code).unwrap();
            }
        }
    }
    snapbox::assert_data_eq!(page, snapbox::file!["../../docs/write/refusals.md"]);
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
    assert_eq!(refused.code, "record-rule", "{refused:?}");
    crm.write(MODEL, lead, &[("user_id", Value::link(sam))]);
    assert!(ask(&crm, "sam", may(), read("name")).is_ok());
    let unlink = Call::Unlink { model: MODEL.into(), ids: vec![lead] };
    assert_eq!(ask(&crm, "sam", may(), unlink).unwrap_err().code, "no-access");
    assert!(ask(&crm, "sam", may(), read("phone")).is_ok());
    let crm = crm.with_field_for("base.group_system", MODEL, "phone");
    assert!(ask(&crm, "sam", may(), read("name")).is_ok());
    let domain = DomainSource::Literal("[('phone', '!=', False)]".into());
    for call in [read("phone"), Call::SearchCount { model: MODEL.into(), domain }] {
        assert_eq!(ask(&crm, "sam", may(), call).unwrap_err().code, "restricted-field");
    }
    assert!(ask(&crm, "admin", may(), read("phone")).is_ok());
    // There is no word of it either. Who sees it is told whom it is for.
    let (model, fields) = (|| MODEL.to_owned(), || vec!["name".to_owned(), "phone".to_owned()]);
    let described = |who: &str| match ask(&crm, who, may(), Call::DescribeFields { model: model(), fields: fields() }) {
        Ok(Answer::Details(told)) => told.into_iter().map(|field| (field.info.name, field.groups)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let name = ("name".to_owned(), Some(Vec::new()));
    assert_eq!(described("sam"), std::slice::from_ref(&name));
    assert_eq!(described("admin"), [name, ("phone".to_owned(), Some(vec!["base.group_system".to_owned()]))]);
    let told = ask(&crm, "sam", may(), Call::FieldsGet { model: model(), fields: fields() });
    assert!(matches!(told, Ok(Answer::Fields(told)) if told.len() == 1));
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

fn grants(list: &[&str]) -> Grants {
    Grants(list.iter().map(|grant| grant.parse().unwrap()).collect())
}

/// Script and rule alike.
fn granted(list: &[&str]) -> Authority {
    Authority { script: grants(list), rule: Some(grants(list)), ..Authority::default() }
}

/// Counts a call with its answer against limits on deleting and writing, and returns what is used of both.
fn count(crm: &Crm, authority: Authority, call: &Call) -> (u64, u64) {
    let mut meter = Meter::new(Limits::resolve(Class::Batch, []));
    meter.before(call).unwrap();
    meter.after(&ask(crm, "admin", authority, call.clone()).unwrap()).unwrap();
    (meter.used().get(Limit::RecordsDeleted), meter.used().get(Limit::RecordsWritten))
}

/// Every way to have all records leave a list.
fn leaving(target: &RecordRef, field: &str, all: &[Id]) -> Vec<(&'static str, Call)> {
    let relate = |commands| Call::Relate { target: target.clone(), field: field.to_owned(), commands };
    let write = |value| Call::Write {
        model: target.model.clone(),
        ids: vec![target.id],
        values: vec![FieldValue::new(field, value)],
    };
    vec![
        ("unlink", relate(all.iter().copied().map(Command::Unlink).collect())),
        ("clear", relate(vec![Command::Clear])),
        ("replace", relate(vec![Command::Replace(Vec::new())])),
        ("write none", write(Value::Ids(Vec::new()))),
        ("unset", write(Value::Unset)),
    ]
}

// Shows: F122, F108
#[test]
fn where_a_grant_names_keys_nothing_is_created_but_by_ensure_with_them() {
    let crm = Crm::new();
    let tag = crm.search("crm.tag", "[]")[0];
    let named = |name: &str| vec![FieldValue::new("name", Value::text(name))];
    let model = || "crm.tag".to_owned();
    let ensure = |keys: &[&str]| Call::Ensure {
        model: model(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        values: vec![FieldValue::new("name", Value::text("Brand new")), FieldValue::new("color", Value::Integer(3))],
    };
    let all = ["crm.tag:read,create:name*,color", "crm.lead:read,write:name,tag_ids"];
    let copied = FieldValue::new("name", Value::text("Hot (copy)"));
    let others = [
        Call::Create { model: model(), values: vec![named("Brand new")] },
        Call::Copy { target: RecordRef::new("crm.tag", tag), values: vec![copied] },
        Call::Relate {
            target: RecordRef::new(MODEL, 1),
            field: "tag_ids".into(),
            commands: vec![Command::Create(named("Brand new"))],
        },
        ensure(&["color"]),
        ensure(&["color", "name"]),
    ];
    for call in others {
        let refused = ask(&crm, "admin", granted(&all), call.clone()).unwrap_err();
        assert_eq!(refused.code, "refused-by-script", "{call:?}: {refused}");
        assert!(refused.message.contains("other than by `ensure` with the keys `name`"), "{call:?}: {refused}");
        let free = ["crm.tag:read,create:name,color", all[1]];
        let allowed = ask(&crm, "admin", granted(&free), call.clone());
        assert!(allowed.is_ok(), "{call:?}: {allowed:?}");
    }
    ask(&crm, "admin", granted(&all), ensure(&["name"])).unwrap();
    let may = Call::HasAccess { model: model(), ids: Vec::new(), operation: Operation::Create };
    assert_eq!(ask(&crm, "admin", granted(&all), may).unwrap().plain(), Answer::Flag(true));
}

// Shows: F107, F108
#[test]
fn what_cannot_be_without_a_list_that_it_leaves_is_deleted_and_granted_as_that() {
    let crm = Crm::new();
    let made = |model: &str, values: &[(&str, Value)]| RecordRef::new(model, crm.create(model, values));
    let customer = crm.search("res.partner", "[('is_company', '=', True)]")[0];
    let order = made("sale.order", &[("partner_id", Value::link(customer))]);
    let category = made("res.partner.category", &[("name", Value::text("All"))]);
    for (target, field, model, inverse) in [
        (order, "order_line", "sale.order.line", "order_id"),
        (category, "child_ids", "res.partner.category", "parent_id"),
    ] {
        let lines: Vec<Id> = (0..3)
            .map(|n| {
                let mut values = vec![("name", Value::text(format!("Line {n}"))), (inverse, Value::link(target.id))];
                if field == "order_line" {
                    values.push(("price_unit", Value::Number(1.0)));
                }
                crm.create(model, &values)
            })
            .collect();
        let writes = [format!("{}:write:{field}", target.model), format!("{model}:write:{inverse}")];
        let deletes = format!("{model}:unlink");
        let writes = writes.each_ref().map(String::as_str);
        let all = [&writes[..], &[deletes.as_str()]].concat();
        for (name, call) in leaving(&target, field, &lines) {
            let refused = |authority| ask(&crm, "admin", authority, call.clone()).unwrap_err();
            for (side, authority) in [
                ("script", Authority { script: grants(&writes), ..granted(&all) }),
                ("rule", Authority { rule: Some(grants(&writes)), ..granted(&all) }),
                ("policy", Authority { rule: None, ..granted(&all) }),
            ] {
                let refused = refused(authority);
                assert_eq!(refused.code, format!("refused-by-{side}"), "{name} {field}: {refused:?}");
                assert!(refused.message.contains(&format!("`{deletes}`")), "{name} {field}: {refused:?}");
            }
            assert_eq!(count(&crm, granted(&all), &call).0, 3, "{name} {field}");
            let two = LimitRequest([(Limit::RecordsDeleted, 2)].into());
            let mut meter = Meter::new(Limits::resolve(Class::Batch, [&two]));
            let breach = meter.after(&ask(&crm, "admin", granted(&all), call).unwrap()).unwrap_err();
            assert_eq!((breach.limit, breach.used), (Limit::RecordsDeleted, 3), "{name} {field}");
        }
        let commands = lines.iter().copied().map(Command::Delete).collect();
        let call = Call::Relate { target, field: field.to_owned(), commands };
        assert_eq!(count(&crm, granted(&all), &call).0, 3, "counted once");
    }
    // Contacts do without their company.
    let company = RecordRef::new("res.partner", crm.search("res.partner", "[('child_ids', '!=', False)]")[0]);
    let contacts = crm.search("res.partner", &format!("[('parent_id', '=', {})]", company.id));
    for (name, call) in leaving(&company, "child_ids", &contacts) {
        assert_eq!(count(&crm, granted(&["res.partner:write:child_ids,parent_id"]), &call).0, 0, "{name}");
    }
}

// Shows: F107
#[test]
fn a_granted_domain_holds_for_what_is_reached_within_its_own_model() {
    let crm = Crm::new();
    let inside = crm.search("res.partner", "[('child_ids', '!=', False)]")[0];
    let outside = crm.search("res.partner", &format!("[('parent_id', '=', {inside})]"))[0];
    let fields = "name,email,parent_id,child_ids";
    let grant = format!("res.partner:read,write,unlink:{fields}:[('id', '=', {inside})]");
    // A new record can be held to no domain.
    let create = format!("res.partner:create:{fields}");
    let ask = |call: Call| ask(&crm, "admin", granted(&[&grant, &create]), call);
    let model = || "res.partner".to_owned();
    let values = |field: &str, value: Value| vec![FieldValue::new(field, value)];
    let relate = |command: Command| Call::Relate {
        target: RecordRef::new("res.partner", inside),
        field: "child_ids".into(),
        commands: vec![command],
    };
    let write = |values| Call::Write { model: model(), ids: vec![inside], values };
    let search =
        |domain: String| Call::Search { model: model(), domain: DomainSource::Literal(domain), page: Page::default() };
    let group = |key: &str| Call::ReadGroup {
        model: model(),
        domain: DomainSource::Literal("[]".into()),
        group_by: vec![key.into()],
        aggregates: Vec::new(),
        page: GroupPage::default(),
    };
    let order = Page { order: Some("parent_id.email".into()), ..Page::default() };
    for call in [
        relate(Command::Update(outside, values("name", Value::text("x")))),
        relate(Command::Link(outside)),
        relate(Command::Unlink(outside)),
        relate(Command::Delete(outside)),
        relate(Command::Replace(vec![outside])),
        relate(Command::Clear),
        relate(Command::Create(values("child_ids", Value::Ids(vec![outside])))),
        write(values("child_ids", Value::Ids(vec![outside]))),
        Call::Create { model: model(), values: vec![values("child_ids", Value::Ids(vec![outside]))] },
        search("[('child_ids.email', 'like', 'a%')]".into()),
        search("[('child_ids', 'any', [('email', 'like', 'a%')])]".into()),
        search("[('parent_id.name', '!=', False)]".into()),
        search(format!("[('id', 'parent_of', {outside})]")),
        search(format!("[('parent_id', 'child_of', {inside})]")),
        Call::Search { model: model(), domain: DomainSource::Literal("[]".into()), page: order },
        group("parent_id.email"),
    ] {
        let refused = ask(call.clone()).unwrap_err();
        assert_eq!(refused.code, "refused-by-domain", "{call:?}: {refused:?}");
        assert!(refused.message.contains("no path or command may reach"), "{call:?}: {refused:?}");
    }
    for call in [
        write(values("name", Value::text("x"))),
        write(values("parent_id", Value::Unset)),
        search("['|', ('name', 'ilike', 'a'), ('parent_id', '=', False)]".into()),
        group("parent_id"),
        Call::Read { model: model(), ids: vec![inside], fields: vec!["child_ids".into(), "parent_id".into()] },
    ] {
        assert!(ask(call.clone()).is_ok(), "{call:?}");
    }
}

// Shows: F107
#[test]
fn a_copy_needs_what_it_is_read_of_and_what_it_makes() {
    let crm = Crm::new();
    let copied = |model: &str| {
        let model = crm.database.schema().model(model).unwrap();
        let copied = model.fields.iter().filter(|(_, field)| field.copy && field.store);
        copied.map(|(name, _)| name.clone()).collect::<Vec<_>>().join(",")
    };
    let copy = |model: &str, id: Id| Call::Copy { target: RecordRef::new(model, id), values: Vec::new() };

    let partners = crm.search("res.partner", "[]");
    let (inside, outside) = (partners[0], partners[1]);
    let read = format!("res.partner:read:{}", copied("res.partner"));
    let bounded = format!("{read}:[('id', '=', {inside})]");
    let ask_for = |grants: &[&str], id| ask(&crm, "admin", granted(grants), copy("res.partner", id));
    let refused = ask_for(&["res.partner:create"], inside).unwrap_err();
    assert!(refused.code == "refused-by-script" && refused.message.contains("`read`"), "{refused:?}");
    ask_for(&["res.partner:create", &read], outside).unwrap();
    ask_for(&["res.partner:create", &bounded], inside).unwrap();
    let refused = ask_for(&["res.partner:create", &bounded], outside).unwrap_err();
    assert_eq!(refused.code, "refused-by-domain", "{refused:?}");
    let create = format!("res.partner:create::[('id', '=', {inside})]");
    assert_eq!(
        ask_for(&[&create, &read], inside).unwrap_err().code,
        "refused-by-domain",
        "a copy is no record of those"
    );

    let order = crm.search("sale.order", "[('order_line', '!=', False)]")[0];
    let lines = crm.search("sale.order.line", &format!("[('order_id', '=', {order})]")).len();
    let reads = ["sale.order", "sale.order.line"].map(|model| format!("{model}:read:{}", copied(model)));
    let [orders, of_lines] = reads.each_ref().map(String::as_str);
    let ask_for = |grants: &[&str]| ask(&crm, "admin", granted(grants), copy("sale.order", order));
    for (grants, lacks) in [
        (["sale.order:create", orders, "sale.order.line:create"], "`read` on `sale.order.line`"),
        (["sale.order:create", orders, of_lines], "`create` on `sale.order.line`"),
    ] {
        let refused = ask_for(&grants).unwrap_err();
        assert!(refused.code == "refused-by-script" && refused.message.contains(lacks), "{refused:?}");
    }
    let all = ["sale.order:create", orders, of_lines, "sale.order.line:create"];
    assert_eq!(count(&crm, granted(&all), &copy("sale.order", order)), (0, 1 + lines as u64));

    // Tasks below a task are copied with it, and those of a project.
    let task = crm.search("project.task", "[]")[0];
    let read = format!("project.task:read:{}", copied("project.task"));
    let ask_for = |grants: &[&str], call| ask(&crm, "admin", granted(grants), call);
    ask_for(&["project.task:create", &read], copy("project.task", task)).unwrap();
    let bounded = format!("{read}:[('id', '=', {task})]");
    let refused = ask_for(&["project.task:create", &bounded], copy("project.task", task)).unwrap_err();
    assert_eq!(refused.code, "refused-by-domain", "{refused:?}");
    let project = crm.search("project.project", "[]")[0];
    let projects = format!("project.project:read:{}", copied("project.project"));
    let refused = ask_for(&["project.project:create", &projects], copy("project.project", project)).unwrap_err();
    assert!(refused.message.contains("on `project.task`"), "{refused:?}");
    let all = ["project.project:create", &projects, "project.task:create", &read];
    ask_for(&all, copy("project.project", project)).unwrap();
}
