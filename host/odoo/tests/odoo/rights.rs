//! A script can do what its user can do by hand, and no more.

use serde_json::json;
use triggerbox_model::{
    call::{Answer, Call, Command, Operation},
    error::ErrorKind,
    value::{RecordRef, Value},
};
use triggerbox_odoo::{CommitError, setup::code};

use crate::lab::{self, Lab, call};

#[tokio::test]
async fn a_restricted_user_sees_and_changes_no_more_by_a_script_than_by_hand() {
    let lab = Lab::open("rights").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("right");
    let foreign = lab::lead(&lab, &backend, json!({"name": mark, "user_id": 2})).await;
    let sales = backend.account("tb_sales").await.unwrap();
    let own = lab::lead(&lab, &backend, json!({"name": mark, "user_id": sales.user.id})).await;
    let by_hand = async |model: &str, method: &str, body: serde_json::Value| {
        backend.client().call(backend.caller("tb_sales").unwrap(), model, method, &body).await
    };

    // Searching: what the user's list shows.
    let mut session = lab.session(&backend, "tb_sales").await;
    let domain = format!("[('name', '=', '{mark}')]");
    let seen = lab::search(&mut session, "crm.lead", &domain, None).await.unwrap();
    let hand = by_hand("crm.lead", "search", json!({"domain": [["name", "=", mark]]})).await.unwrap();
    assert_eq!((json!(seen), seen), (hand, vec![own]));

    // Reading somebody else's: refused in the same words.
    let read = Call::Read { model: "crm.lead".to_owned(), ids: vec![foreign], fields: vec!["name".to_owned()] };
    let script = call(&mut session, read).await.unwrap_err();
    let hand =
        by_hand("crm.lead", "read", json!({"ids": [foreign], "fields": ["name"]})).await.unwrap_err().into_error();
    assert_eq!(script.kind, ErrorKind::AccessDenied);
    assert_eq!(script.message, hand.message);
    let access = Call::HasAccess { model: "crm.lead".to_owned(), ids: vec![foreign], operation: Operation::Write };
    assert_eq!(call(&mut session, access).await, Ok(Answer::Flag(false)));

    // Writing: refused when it is applied, and all of it.
    let commands = [
        Call::Write {
            model: "crm.lead".to_owned(),
            ids: vec![foreign],
            values: lab::values(&[("priority", Value::text("3"))]),
        },
        Call::Unlink { model: "crm.lead".to_owned(), ids: vec![foreign] },
        Call::Copy { target: RecordRef::new("crm.lead", foreign), values: vec![] },
        Call::Relate {
            target: RecordRef::new("crm.lead", foreign),
            field: "tag_ids".to_owned(),
            commands: vec![Command::Clear],
        },
        Call::AddFollowers { target: RecordRef::new("crm.lead", foreign), partner_ids: vec![3] },
        Call::CallMethod {
            model: "crm.lead".to_owned(),
            ids: vec![foreign],
            method: "action_set_won".to_owned(),
            arguments_json: String::new(),
        },
        Call::Create {
            model: "ir.config_parameter".to_owned(),
            values: vec![lab::values(&[("key", Value::text("tb")), ("value", Value::text("x"))])],
        },
    ];
    for command in commands {
        let mut session = lab.session(&backend, "tb_sales").await;
        lab::write(&mut session, "crm.lead", own, &[("priority", Value::text("1"))]).await;
        let staged = call(&mut session, command.clone()).await;
        if let Err(error) = staged {
            assert_eq!(error.kind, ErrorKind::AccessDenied, "{command:?}");
            continue;
        }
        match session.commit(&lab.unique("run")).await.unwrap_err() {
            CommitError::Refused(error) => assert_eq!(error.kind, ErrorKind::AccessDenied, "{command:?}: {error}"),
            other => panic!("{command:?}: {other:?}"),
        }
    }
    let mut admin = lab.session(&backend, "admin").await;
    let rows = lab::read(&mut admin, "crm.lead", &[own, foreign], &["priority"]).await;
    assert_eq!(rows[0].values, [Value::text("0")], "nothing of it was applied");
    assert_eq!(rows[1].values, [Value::text("0")]);

    // With their own they may, and are who did it.
    let mut session = lab.session(&backend, "tb_sales").await;
    lab::write(&mut session, "crm.lead", own, &[("priority", Value::text("1"))]).await;
    session.commit(&lab.unique("run")).await.unwrap();
    let mut admin = lab.session(&backend, "admin").await;
    let row = lab::read(&mut admin, "crm.lead", &[own], &["priority", "write_uid"]).await.remove(0);
    assert!(matches!(&row.values[1], Value::Many2one(link) if link.id == sales.user.id), "{row:?}");
    lab.close();
}

// It is why no user's own rights bound it: `docs/odoo.md` says so.
#[tokio::test]
async fn what_a_rule_remembers_is_the_rules_whatever_user_it_runs_as() {
    let lab = Lab::open("state").await;
    let backend = lab.prepared().await;
    let (rule, other) = (lab.unique("rule"), lab.unique("rule"));
    let session = async |login: &str, rule: &str| lab.session(&backend, login).await.for_rule(rule);
    let get = Call::StateGet { key: "seen".to_owned() };
    for (login, next, said) in [("admin", "tb_sales", "1"), ("tb_sales", "admin", "2")] {
        let mut before = session(login, &rule).await;
        let set = Call::StateSet { key: "seen".to_owned(), json: Some(said.to_owned()) };
        call(&mut before, set).await.unwrap();
        before.commit(&lab.unique("run")).await.unwrap();
        let known = call(&mut session(next, &rule).await, get.clone()).await;
        assert_eq!(known, Ok(Answer::OptionalText(Some(said.to_owned()))));
    }
    assert_eq!(call(&mut session("admin", &other).await, get).await, Ok(Answer::OptionalText(None)));
    lab.close();
}

#[tokio::test]
async fn the_action_and_the_ledger_are_closed_to_everybody_else() {
    let lab = Lab::open("closed").await;
    let backend = lab.prepared().await;
    let sales = backend.caller("tb_sales").unwrap();
    for (model, method, body) in [
        ("x_triggerbox_run", "search_read", json!({"domain": [], "fields": ["x_name"]})),
        ("x_triggerbox_run", "create", json!({"vals_list": [{"x_name": "run forged"}]})),
        ("ir.actions.server", "search_read", json!({"domain": [], "fields": ["code"]})),
        (
            "ir.actions.server",
            "create",
            json!({"vals_list": [{"name": "x", "state": "code", "model_id": 1, "code": "1"}]}),
        ),
    ] {
        let error = backend.client().call(sales, model, method, &body).await.unwrap_err().into_error();
        assert_eq!(error.kind, ErrorKind::AccessDenied, "{model}.{method}: {error}");
    }
    lab.close();
}

// What a user typed reaches Odoo as data: JSON in, parsed there as JSON, never compiled. Only domains are judged there, and
// they are parsed here and written anew as literals.
#[tokio::test]
async fn what_a_user_typed_is_never_code() {
    let lab = Lab::open("injections").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Injected"})).await;
    let texts = [
        "'); env.cr.execute('DROP TABLE crm_lead'); ('",
        "__import__('os').system('id')",
        "{{ object.env.user }} {% raw %} ${1+1} %(x)s {0.__class__}",
        "\"\"\"\nraise UserError('x')\n\"\"\"",
        "'''; action = 1 #",
        "$new $text $json TRIGGERBOX conflict",
        "{\"$new\": \"2147483648\"}",
        "]]>]]&gt;<script>alert(1)</script>",
        "\\u0027 \\x27 \\'",
    ];
    let mark = lab.unique("typed");
    let mut session = lab.session(&backend, "admin").await;
    for text in texts {
        let text = &format!("{mark} {text}");
        lab::write(
            &mut session,
            "crm.lead",
            id,
            &[("name", Value::text(text.as_str())), ("function", Value::text(text.as_str()))],
        )
        .await;
        session.commit(&lab.unique("run")).await.unwrap();
        session = lab.session(&backend, "admin").await;
        assert_eq!(
            lab::read(&mut session, "crm.lead", &[id], &["function"]).await[0].values,
            [Value::text(text.trim())]
        );
        let domain = triggerbox_model::domain::Domain::condition(
            "function",
            triggerbox_model::domain::Operator::Equal,
            triggerbox_model::domain::Literal::text(text.trim()),
        );
        assert_eq!(lab::search(&mut session, "crm.lead", &domain.to_string(), None).await.unwrap(), [id], "{text}");
    }
    for domain in [
        "[('name', '=', user.name)]",
        "[('id', '=', __import__('os'))]",
        "env.cr.commit()",
        "[('a b', '=', 1)]",
        "[('name;', '=', 1)]",
    ] {
        let error = lab::search(&mut session, "crm.lead", domain, None).await.unwrap_err();
        assert!(matches!(error.code.as_str(), "bad-domain" | "unknown-field"), "{domain}: {error:?}");
    }
    // The code that Odoo compiles is the same whatever anybody types but for the methods, which are checked names.
    assert_eq!(code(&[]).matches("METHODS").count(), 2);
    lab.close();
}
