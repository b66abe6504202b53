//! Reads with what is staged over them: what is known is shown, and what only Odoo can know is pending.

use serde_json::{Value as Json, json};
use triggerbox_model::{
    call::{Answer, BodyFormat, Call, DomainSource, FieldDetails, GroupPage, Message, Operation, Page},
    error::{Error, ErrorKind},
    value::{Id, RecordRef, Value},
};
use triggerbox_odoo::Session;

use crate::lab::{self, Lab, call};

#[tokio::test]
async fn a_value_is_asked_once_in_a_run_and_models_once_for_all_runs() {
    let lab = Lab::open("reads").await;
    let backend = lab.prepared().await;
    let one = lab::lead(&lab, &backend, json!({"name": "One", "expected_revenue": 10})).await;
    let two = lab::lead(&lab, &backend, json!({"name": "Two", "expected_revenue": 20})).await;
    let mut session = lab.session(&backend, "admin").await;
    lab.asked();
    let rows = lab::read(&mut session, "crm.lead", &[one, two, 999_999], &["name", "expected_revenue"]).await;
    assert_eq!(rows.len(), 2, "what is not there is left out");
    assert_eq!(rows[1].values, [Value::text("Two"), Value::Number(20.0)]);
    let asked = lab.asked();
    assert_eq!(asked.len(), 2, "the model, and both records at once: {asked:?}");
    assert_eq!(asked[1].1["fields"], json!(["name", "expected_revenue"]), "never all fields");
    lab::read(&mut session, "crm.lead", &[two], &["name"]).await;
    assert_eq!(lab.asked(), []);
    // Another run, another look at the record, none at the model.
    let mut session = lab.session(&backend, "admin").await;
    lab::read(&mut session, "crm.lead", &[two], &["name"]).await;
    assert_eq!(lab.asked().len(), 1);
    // Whoever changes it meanwhile: this run goes on with what it saw.
    lab.admin(&backend, "crm.lead", "write", json!({"ids": [two], "vals": {"name": "Three"}})).await.unwrap();
    assert_eq!(lab::read(&mut session, "crm.lead", &[two], &["name"]).await[0].values, [Value::text("Two")]);
    lab.close();
}

#[tokio::test]
async fn what_follows_from_a_staged_value_is_pending_and_the_rest_is_not() {
    let lab = Lab::open("pending").await;
    let backend = lab.prepared().await;
    let one = lab::lead(&lab, &backend, json!({"name": "One", "expected_revenue": 10, "probability": 50})).await;
    let two = lab::lead(&lab, &backend, json!({"name": "Two", "expected_revenue": 20})).await;
    let mut session = lab.session(&backend, "admin").await;
    lab::write(
        &mut session,
        "crm.lead",
        one,
        &[
            ("expected_revenue", Value::Integer(500)),
            ("description", Value::text("plain")),
            ("name", Value::text("  One more ")),
        ],
    )
    .await;
    let fields = ["name", "expected_revenue", "prorated_revenue", "description", "display_name", "priority"];
    let rows = lab::read(&mut session, "crm.lead", &[one, two], &fields).await;
    assert_eq!(
        rows[0].values,
        [
            Value::text("One more"),
            Value::Number(500.0),
            Value::Pending,
            Value::Pending,
            Value::Pending,
            Value::text("0"),
        ]
    );
    assert!(!rows[1].values.contains(&Value::Pending), "another record is not touched: {rows:?}");
    lab.close();
}

#[tokio::test]
async fn searches_judge_what_is_staged_or_say_that_they_cannot() {
    let lab = Lab::open("searches").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("search");
    let named = |revenue: u32| json!({"name": mark, "expected_revenue": revenue, "type": "lead"});
    let one = lab::lead(&lab, &backend, named(10)).await;
    let two = lab::lead(&lab, &backend, named(20)).await;
    let three = lab::lead(&lab, &backend, named(30)).await;
    let mut session = lab.session(&backend, "admin").await;
    let rich = format!("[('name', '=', '{mark}'), ('expected_revenue', '>=', 20)]");
    assert_eq!(lab::search(&mut session, "crm.lead", &rich, Some("id")).await.unwrap(), [two, three]);
    lab::write(&mut session, "crm.lead", one, &[("expected_revenue", Value::Integer(25))]).await;
    lab::write(&mut session, "crm.lead", three, &[("expected_revenue", Value::Integer(5))]).await;
    assert_eq!(lab::search(&mut session, "crm.lead", &rich, Some("id")).await.unwrap(), [one, two]);
    let by_revenue = lab::search(&mut session, "crm.lead", &rich, Some("expected_revenue desc")).await.unwrap();
    assert_eq!(by_revenue, [one, two]);
    // How PostgreSQL sorts texts is not known here.
    let by_name = lab::search(&mut session, "crm.lead", &rich, Some("name")).await.unwrap_err();
    assert_eq!(by_name.kind, ErrorKind::Pending);
    let new = lab::create(
        &mut session,
        "crm.lead",
        &[("name", Value::text(&mark)), ("expected_revenue", Value::Integer(100)), ("type", Value::text("lead"))],
    )
    .await;
    assert_eq!(lab::search(&mut session, "crm.lead", &rich, Some("id")).await.unwrap(), [one, two, new]);
    let count = Call::SearchCount { model: "crm.lead".to_owned(), domain: DomainSource::Literal(rich.clone()) };
    assert_eq!(call(&mut session, count).await, Ok(Answer::Count(3)));
    call(&mut session, Call::Unlink { model: "crm.lead".to_owned(), ids: vec![two] }).await.unwrap();
    assert_eq!(lab::search(&mut session, "crm.lead", &rich, Some("id")).await.unwrap(), [one, new]);
    // Whose default this depends on, nobody knows yet.
    let stage = format!("[('name', '=', '{mark}'), ('stage_id', '=', 1)]");
    assert_eq!(lab::search(&mut session, "crm.lead", &stage, Some("id")).await.unwrap_err().kind, ErrorKind::Pending);
    let path = format!("[('name', '=', '{mark}'), ('stage_id.name', '=', 'New')]");
    assert_eq!(lab::search(&mut session, "crm.lead", &path, Some("id")).await.unwrap_err().kind, ErrorKind::Pending);
    // A model that nothing was changed on is asked as always.
    assert!(!lab::search(&mut session, "res.users", "[('login', '=', 'admin')]", None).await.unwrap().is_empty());
    lab.close();
}

#[tokio::test]
async fn groups_names_access_and_messages_are_asked() {
    let lab = Lab::open("other_reads").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("group");
    let lead = lab::lead(&lab, &backend, json!({"name": mark, "expected_revenue": 10, "user_id": 2})).await;
    lab::lead(&lab, &backend, json!({"name": mark, "expected_revenue": 32, "user_id": false})).await;
    let mut session = lab.session(&backend, "admin").await;
    let grouping = Call::ReadGroup {
        model: "crm.lead".to_owned(),
        domain: DomainSource::Literal(format!("[('name', '=', '{mark}')]")),
        group_by: vec!["user_id".to_owned(), "create_date:month".to_owned()],
        aggregates: vec!["expected_revenue:sum".to_owned(), "__count".to_owned()],
        page: GroupPage::default(),
    };
    match call(&mut session, grouping.clone()).await.unwrap() {
        Answer::Groups(groups) => {
            assert_eq!(groups.len(), 2, "{groups:?}");
            assert_eq!(groups[0].aggregates[0].value, Value::Number(10.0));
            assert!(matches!(&groups[0].keys[0].value, Value::Many2one(link) if link.id == 2 && link.name.is_some()));
            assert!(matches!(&groups[0].keys[1].value, Value::Datetime(_)));
            assert_eq!((groups[1].count, &groups[1].keys[0].value), (1, &Value::Unset));
        }
        other => panic!("{other:?}"),
    }
    let names = Call::NameSearch { model: "res.users".to_owned(), text: "Mitchell".to_owned(), limit: 3 };
    assert!(matches!(call(&mut session, names).await.unwrap(), Answer::Links(links) if links[0].id == 2));
    let access = Call::HasAccess { model: "crm.lead".to_owned(), ids: vec![lead], operation: Operation::Write };
    assert_eq!(call(&mut session, access).await, Ok(Answer::Flag(true)));
    let xmlid = Call::ResolveXmlid { xmlid: "base.user_admin".to_owned() };
    assert_eq!(call(&mut session, xmlid).await, Ok(Answer::Record(RecordRef::new("res.users", 2))));
    let xmlid = Call::ResolveXmlid { xmlid: "base.no_such".to_owned() };
    assert_eq!(call(&mut session, xmlid).await.unwrap_err().code, "unknown-xmlid");
    let messages = Call::ReadMessages { target: RecordRef::new("crm.lead", lead), limit: 5 };
    match call(&mut session, messages.clone()).await.unwrap() {
        Answer::Messages(posted) => assert!(posted[0].body.contains("new lead") && !posted[0].is_note, "{posted:?}"),
        other => panic!("{other:?}"),
    }
    match call(&mut session, Call::FieldsGet { model: "crm.lead".to_owned(), fields: vec!["stage_id".to_owned()] })
        .await
        .unwrap()
    {
        Answer::Fields(fields) => assert_eq!(fields[0].relation.as_deref(), Some("crm.stage")),
        other => panic!("{other:?}"),
    }
    let names = ["expected_revenue", "stage_id_color", "order_ids", "probability"].map(str::to_owned).to_vec();
    let Answer::Details(told) =
        call(&mut session, Call::DescribeFields { model: "crm.lead".to_owned(), fields: names }).await.unwrap()
    else {
        panic!("fields are described")
    };
    let [revenue, color, orders, probability] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((revenue.info.kind.as_str(), revenue.currency_field.as_deref()), ("monetary", Some("company_currency")));
    assert_eq!((revenue.computed, revenue.searchable), (false, Some(true)));
    assert_eq!((color.related.as_deref(), color.computed), (Some("stage_id.color"), true));
    assert_eq!((orders.relation_field.as_deref(), orders.sortable), (Some("opportunity_id"), Some(false)));
    assert!(probability.computed && probability.depends.contains(&"stage_id".to_owned()), "{probability:?}");
    // What Odoo does not tell is not known.
    let untold = |field: &FieldDetails| {
        field.default.is_none() && field.ondelete.is_none() && field.groups.is_none() && field.copied.is_none()
    };
    assert!(told.iter().all(untold), "{told:?}");
    // After a change of these records, none of it is known.
    let message = Message {
        body: "x".to_owned(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: vec![],
        attachments: vec![],
    };
    call(&mut session, Call::PostNote { target: RecordRef::new("crm.lead", lead), message }).await.unwrap();
    assert_eq!(call(&mut session, messages).await.unwrap_err().kind, ErrorKind::Pending);
    lab::write(&mut session, "crm.lead", lead, &[("expected_revenue", Value::Integer(1))]).await;
    assert_eq!(call(&mut session, grouping).await.unwrap_err().kind, ErrorKind::Pending);
    let page = Page { limit: Some(1), ..Page::default() };
    let unknown = Call::Search { model: "no.model".to_owned(), domain: DomainSource::Literal("[]".to_owned()), page };
    assert_eq!(call(&mut session, unknown).await.unwrap_err().code, "unknown-model");
    lab.close();
}

#[tokio::test]
async fn methods_that_change_nothing_are_asked_at_once_with_the_users_rights() {
    let lab = Lab::open("asked_methods").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("asked");
    let lead = lab::lead(&lab, &backend, json!({"name": mark, "expected_revenue": 10, "user_id": 2})).await;
    let method = |method: &str, ids: &[Id], arguments: Json| Call::CallMethod {
        model: "crm.lead".to_owned(),
        ids: ids.to_vec(),
        method: method.to_owned(),
        arguments_json: arguments.to_string(),
    };
    let told = |answer: Result<Answer, Error>| match answer.unwrap() {
        Answer::OptionalText(Some(text)) => serde_json::from_str::<Json>(&text).unwrap(),
        other => panic!("{other:?}"),
    };
    // Those that every model has.
    let mut session = lab.session(&backend, "admin").await;
    let defaults = told(call(&mut session, method("default_get", &[], json!({"fields": ["user_id", "name"]}))).await);
    assert_eq!(defaults, json!({"user_id": 2}));
    let copied = told(call(&mut session, method("copy_data", &[lead], json!({"default": {"city": "Ghent"}}))).await);
    assert_eq!((&copied[0]["city"], &copied[0]["expected_revenue"]), (&json!("Ghent"), &json!(10.0)));
    // Those that a grant marks as read-only.
    let named = json!({"domain": [["name", "=", mark]]});
    let count = async |session: &mut Session| {
        told(session.ask_method(method("search_count", &[], named.clone())).await.unwrap())
    };
    assert_eq!(count(&mut session).await, json!(1));
    let field = || method("read", &[lead], json!({"fields": ["name"], "load": null}));
    assert_eq!(told(session.ask_method(field()).await.unwrap()), json!([{"id": lead, "name": mark}]));
    let mut sales = lab.session(&backend, "tb_sales").await;
    assert_eq!(count(&mut sales).await, json!(0));
    assert_eq!(sales.ask_method(field()).await.unwrap().unwrap_err().kind, ErrorKind::AccessDenied);

    // What it is asked about are the records of the call, and nothing that an argument names.
    lab.asked();
    for arguments in [json!({"ids": [lead]}), json!({"context": {"active_test": false}}), json!([1])] {
        for asked in ["copy_data", "read"] {
            let asked = method(asked, &[lead], arguments.clone());
            let error = session.ask_method(asked.clone()).await.unwrap().unwrap_err();
            assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Invalid, "bad-arguments"), "{asked:?}");
        }
        let asked = method("default_get", &[], arguments);
        assert_eq!(call(&mut session, asked).await.unwrap_err().code, "bad-arguments");
    }
    // It would not see what is staged.
    lab::write(&mut session, "crm.lead", lead, &[("priority", Value::text("1"))]).await;
    assert_eq!(session.ask_method(field()).await.unwrap().unwrap_err().kind, ErrorKind::Pending);
    assert_eq!(lab.asked(), [], "nothing of it reached Odoo");
    assert_eq!(session.changes().effects.len(), 1);
    lab.close();
}
