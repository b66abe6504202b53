//! Changes: one request, one transaction, once.

use serde_json::json;
use triggerbox_model::{
    call::{Activity, Answer, Attachment, BodyFormat, Call, Command, Message},
    changes::ChatterDiff,
    event::Outcome,
    value::{RecordRef, Value},
};
use triggerbox_odoo::{CommitError, Session};

use crate::lab::{self, Cut, Lab, call};

fn note(body: &str) -> Message {
    Message { body: body.to_owned(), format: BodyFormat::Text, subject: None, partner_ids: vec![], attachments: vec![] }
}

#[tokio::test]
async fn all_kinds_of_changes_are_one_request_and_one_transaction() {
    let lab = Lab::open("all_changes").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "All", "expected_revenue": 10})).await;
    let target = RecordRef::new("crm.lead", id);
    let tag = lab.unique("tag");
    let mut session = lab.session(&backend, "admin").await;
    let partner = lab::create(&mut session, "res.partner", &[("name", Value::text("Ada <b>"))]).await;
    lab::write(&mut session, "crm.lead", id, &[("partner_id", Value::link(partner)), ("priority", Value::text("3"))])
        .await;
    let ensure = Call::Ensure {
        model: "crm.tag".to_owned(),
        keys: vec!["name".to_owned()],
        values: lab::values(&[("name", Value::text(&tag))]),
    };
    let Ok(Answer::Id(ensured)) = call(&mut session, ensure.clone()).await else { panic!() };
    let link =
        Call::Relate { target: target.clone(), field: "tag_ids".to_owned(), commands: vec![Command::Link(ensured)] };
    call(&mut session, link).await.unwrap();
    let Ok(Answer::Text(token)) =
        call(&mut session, Call::Mention { target: RecordRef::new("res.partner", partner) }).await
    else {
        panic!()
    };
    let message = Message {
        attachments: vec![Attachment {
            name: "a.txt".to_owned(),
            mime_type: "text/plain".to_owned(),
            content: b"hello".to_vec(),
        }],
        ..note(&format!("new <i>customer</i> {token}"))
    };
    call(&mut session, Call::PostNote { target: target.clone(), message }).await.unwrap();
    let activity = Activity {
        kind: "mail.mail_activity_data_call".to_owned(),
        summary: format!("call {token}"),
        note: None,
        deadline: Some("2027-01-31".to_owned()),
        user_id: None,
    };
    call(&mut session, Call::ScheduleActivity { target: target.clone(), activity }).await.unwrap();
    call(&mut session, Call::AddFollowers { target: target.clone(), partner_ids: vec![partner] }).await.unwrap();
    call(&mut session, Call::StateSet { key: "seen".to_owned(), json: Some("{\"n\":1}".to_owned()) }).await.unwrap();
    let Ok(Answer::Id(copy)) = call(
        &mut session,
        Call::Copy { target: target.clone(), values: lab::values(&[("name", Value::text("Copy"))]) },
    )
    .await
    else {
        panic!()
    };
    call(
        &mut session,
        Call::CallMethod {
            model: "crm.lead".to_owned(),
            ids: vec![copy],
            method: "action_set_won".to_owned(),
            arguments_json: String::new(),
        },
    )
    .await
    .unwrap();

    lab.asked();
    let run = lab.unique("run");
    let done = session.commit(&run).await.unwrap();
    let asked = lab.asked();
    let sent: Vec<&str> =
        asked.iter().map(|(path, _)| path.as_str()).filter(|path| !path.contains("ir.model.data")).collect();
    assert_eq!(sent, ["/json/2/ir.actions.server/run"]);
    assert_eq!(done.ids.len(), 4 - 1);
    assert_eq!(done.in_text(&token), format!("Ada <b> ({})", done.ids[&partner]));

    let mut after = lab.session(&backend, "admin").await;
    let row = lab::read(&mut after, "crm.lead", &[id], &["partner_id", "priority", "tag_ids", "message_partner_ids"])
        .await
        .remove(0);
    assert!(matches!(&row.values[0], Value::Many2one(link) if link.id == done.ids[&partner]));
    assert_eq!(row.values[1..3], [Value::text("3"), Value::Ids(vec![done.ids[&ensured]])]);
    assert!(matches!(&row.values[3], Value::Ids(ids) if ids.contains(&done.ids[&partner])));
    match call(&mut after, Call::ReadMessages { target: target.clone(), limit: 9 }).await.unwrap() {
        Answer::Messages(posted) => {
            // Odoo itself notes what changed in tracked fields.
            let ours = posted.iter().find(|message| message.body.contains("customer")).unwrap();
            assert!(ours.is_note && ours.body.contains("new &lt;i&gt;customer&lt;/i&gt; <a"), "{}", ours.body);
            assert!(ours.body.contains("Ada &lt;b&gt;</a>"), "{}", ours.body);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        call(&mut after, Call::StateGet { key: "seen".to_owned() }).await,
        Ok(Answer::OptionalText(Some("{\"n\":1}".to_owned())))
    );
    let won =
        lab::read(&mut after, "crm.lead", &[done.ids[&copy]], &["name", "won_status", "probability"]).await.remove(0);
    assert_eq!(won.values, [Value::text("Copy"), Value::text("won"), Value::Number(100.0)]);
    // What is there is found, whatever it was made by.
    assert_eq!(call(&mut after, ensure).await, Ok(Answer::Id(done.ids[&ensured])));
    let activities = json!({"domain": [["res_model", "=", "crm.lead"], ["res_id", "=", id]], "fields": ["summary", "date_deadline"]});
    let activities = lab.admin(&backend, "mail.activity", "search_read", activities).await.unwrap();
    assert_eq!(activities[0]["summary"], json!(format!("call Ada <b> ({})", done.ids[&partner])));
    let complete = Call::CompleteActivities {
        target,
        kind: "mail.mail_activity_data_call".to_owned(),
        feedback: Some("done".to_owned()),
    };
    assert_eq!(call(&mut after, complete).await, Ok(Answer::Count(1)));
    let files = json!({"domain": [["res_model", "=", "crm.lead"], ["res_id", "=", id]]});
    assert_eq!(lab.admin(&backend, "ir.attachment", "search_count", files).await.unwrap(), json!(1));
    lab.close();
}

#[tokio::test]
async fn a_change_that_odoo_refuses_takes_the_others_with_it() {
    let lab = Lab::open("refused_change").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Whole"})).await;
    for wrong in ["missing", "constraint", "required"] {
        let mut session = lab.session(&backend, "admin").await;
        lab::write(&mut session, "crm.lead", id, &[("name", Value::text("Half"))]).await;
        call(&mut session, Call::PostNote { target: RecordRef::new("crm.lead", id), message: note("half") })
            .await
            .unwrap();
        match wrong {
            "missing" => lab::write(&mut session, "crm.lead", 999_999, &[("name", Value::text("x"))]).await,
            "constraint" => lab::write(&mut session, "res.partner", 1, &[("parent_id", Value::link(1))]).await,
            _ => drop(lab::create(&mut session, "crm.lead", &[("priority", Value::text("1"))]).await),
        }
        let run = lab.unique("run");
        match session.commit(&run).await.unwrap_err() {
            CommitError::Refused(error) => assert!(!error.message.contains("while evaluating"), "{wrong}: {error}"),
            other => panic!("{wrong}: {other:?}"),
        }
        let ledger = json!({"domain": [["x_name", "=", format!("run {run}")]]});
        assert_eq!(lab.admin(&backend, "x_triggerbox_run", "search_count", ledger).await.unwrap(), json!(0));
    }
    let mut after = lab.session(&backend, "admin").await;
    assert_eq!(lab::read(&mut after, "crm.lead", &[id], &["name"]).await[0].values, [Value::text("Whole")]);
    lab.close();
}

#[tokio::test]
async fn what_somebody_changed_meanwhile_is_a_conflict() {
    let lab = Lab::open("conflict").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Seen", "expected_revenue": 10, "partner_id": false})).await;
    let fields = [
        "name",
        "expected_revenue",
        "partner_id",
        "tag_ids",
        "write_date",
        "date_deadline",
        "prorated_revenue",
        "description",
        "stage_id",
    ];
    let attempt = async |meanwhile: Option<serde_json::Value>| {
        let mut session = lab.session(&backend, "admin").await;
        lab::read(&mut session, "crm.lead", &[id], &fields).await;
        lab::write(&mut session, "crm.lead", id, &[("priority", Value::text("2"))]).await;
        if let Some(values) = meanwhile {
            lab.admin(&backend, "crm.lead", "write", json!({"ids": [id], "vals": values})).await.unwrap();
        }
        session.commit(&lab.unique("run")).await
    };
    for (field, value) in [
        ("name", json!("Other")),
        ("expected_revenue", json!(11)),
        ("tag_ids", json!([[6, 0, [1]]])),
        ("date_deadline", json!("2027-01-01")),
        ("description", json!("<p>more</p>")),
    ] {
        match attempt(Some(json!({ field: value }))).await.unwrap_err() {
            CommitError::Conflict(error) => assert!(error.message.contains(&format!("crm.lead({id})")), "{error}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    // What the run did not look at is nobody's conflict; what it saw is as it was.
    attempt(None).await.unwrap();
    // A record that is gone is one, too.
    let mut session = lab.session(&backend, "admin").await;
    lab::read(&mut session, "crm.lead", &[id], &["name"]).await;
    lab::write(&mut session, "crm.lead", id, &[("name", Value::text("Late"))]).await;
    lab.admin(&backend, "crm.lead", "unlink", json!({"ids": [id]})).await.unwrap();
    assert!(matches!(session.commit(&lab.unique("run")).await, Err(CommitError::Conflict(_))));
    lab.close();
}

#[tokio::test]
async fn what_somebody_made_meanwhile_is_not_taken_for_the_runs_own_of_the_same_number() {
    let lab = Lab::open("same_number").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("number");
    // The next lead and the next contact have one number.
    let code = "env.cr.execute(\"SELECT setval('crm_lead_id_seq', n, false), setval('res_partner_id_seq', n, false) FROM \
                (SELECT 10 + greatest((SELECT max(id) FROM crm_lead), (SELECT max(id) FROM res_partner)) AS n) AS next\")";
    lab::run_code(&lab, &backend, code, &[]).await;
    let mut session = lab.session(&backend, "admin").await;
    lab::create(&mut session, "crm.lead", &[("name", Value::text(&mark))]).await;
    let ensure = Call::Ensure {
        model: "res.partner".to_owned(),
        keys: vec!["ref".to_owned()],
        values: lab::values(&[("ref", Value::text(&mark)), ("name", Value::text("Ours"))]),
    };
    let Ok(Answer::Id(ours)) = call(&mut session, ensure).await else { panic!() };
    lab::write(&mut session, "res.partner", ours, &[("city", Value::text("Ghent"))]).await;
    let theirs = json!({"vals_list": [{"ref": mark, "name": "Theirs"}]});
    let theirs = lab.admin(&backend, "res.partner", "create", theirs).await.unwrap()[0].clone();
    match session.commit(&lab.unique("run")).await.unwrap_err() {
        CommitError::Conflict(error) => assert!(error.message.contains(&format!("res.partner({theirs})")), "{error}"),
        other => panic!("{other:?}"),
    }
    let fields = json!({"ids": [theirs], "fields": ["city"]});
    assert_eq!(lab.admin(&backend, "res.partner", "read", fields).await.unwrap()[0]["city"], json!(false));
    // The lead that was undone had that number: numbers are not given twice.
    let next = lab::lead(&lab, &backend, json!({"name": mark})).await;
    assert_eq!(json!(next - 1), theirs);
    lab.close();
}

#[tokio::test]
async fn a_connection_that_is_cut_applies_the_changes_once() {
    let lab = Lab::open("cuts").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Cut"})).await;
    let cuts: u32 = std::env::var("TRIGGERBOX_ODOO_CUTS").map_or(24, |cuts| cuts.parse().unwrap());
    for number in 0..cuts {
        let mut session = lab.session(&backend, "admin").await;
        let body = format!("cut {number}");
        call(&mut session, Call::PostNote { target: RecordRef::new("crm.lead", id), message: note(&body) })
            .await
            .unwrap();
        let made = lab::create(&mut session, "crm.tag", &[("name", Value::text(lab.unique("tag")))]).await;
        let kinds = [Cut::After, Cut::Middle, Cut::Before];
        // One cut, then two in a row.
        for kind in (0..=number % 2).map(|more| kinds[((number / 2 + more) % 3) as usize]) {
            lab.cut(kind);
        }
        let done = session.commit(&lab.unique("run")).await.unwrap();
        assert!(done.ids.contains_key(&made), "the ids come back whichever request was answered");
        let exact = json!([
            ["model", "=", "crm.lead"],
            ["res_id", "=", id],
            ["body", "in", [body.clone(), format!("<p>{body}</p>")]]
        ]);
        let count = lab.admin(&backend, "mail.message", "search_count", json!({"domain": exact})).await.unwrap();
        assert_eq!(count, json!(1), "{body}");
    }
    lab.close();
}

#[tokio::test]
async fn who_is_cut_off_each_time_does_not_know_and_may_ask_again() {
    let lab = Lab::open("cut_off").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Cut off"})).await;
    let mut session = lab.session(&backend, "admin").await;
    lab::write(&mut session, "crm.lead", id, &[("name", Value::text("Done"))]).await;
    let run = lab.unique("run");
    for _ in 0..4 {
        lab.cut(Cut::After);
    }
    assert!(matches!(session.commit(&run).await, Err(CommitError::Unclear(_))));
    let done = session.commit(&run).await.unwrap();
    assert!(done.again, "it had been applied");
    lab.close();
}

#[tokio::test]
async fn more_than_the_bound_is_refused_before_it_is_sent() {
    let lab = Lab::open("too_much").await;
    let backend = lab.backend_with("largest-changes = 2000");
    let mut session = lab.session(&backend, "admin").await;
    lab::write(&mut session, "crm.lead", 1, &[("name", Value::text("x".repeat(2000)))]).await;
    lab.asked();
    match session.commit("run").await.unwrap_err() {
        CommitError::Refused(error) => assert_eq!(error.code, "changes-too-large"),
        other => panic!("{other:?}"),
    }
    assert_eq!(lab.asked(), []);
    lab.close();
}

#[tokio::test]
async fn a_preview_tells_what_would_change_and_writes_nothing() {
    let lab = Lab::open("preview").await;
    let backend = lab.prepared().await;
    let id =
        lab::lead(&lab, &backend, json!({"name": "Preview", "expected_revenue": 10, "priority": "0", "user_id": 2}))
            .await;
    let mut session = lab.session(&backend, "admin").await;
    lab.asked();
    change_a_little(&mut session, id).await;
    let diff = session.preview().await.unwrap().unwrap();
    let text = diff.to_string();
    assert_eq!(text.lines().next().unwrap(), format!("crm.lead {id}  Preview"), "{text}");
    assert!(text.contains("Priority: Low → High") || text.contains("Priority: Low → Very High"), "{text}");
    assert!(text.contains("Expected Revenue: 10.00 → 99.00"), "{text}");
    assert!(text.contains("Salesperson: Mitchell Admin → (empty)"), "{text}");
    assert!(matches!(&diff.records[0].chatter[0], ChatterDiff::Message { note: true, text, .. } if text == "hello"));
    let reads = ["fields_get", "read", "search", "search_read", "search_count", "context_get", "version"];
    for (path, _) in lab.asked() {
        assert!(reads.contains(&path.rsplit('/').next().unwrap()), "{path}");
    }
    lab.close();
}

async fn change_a_little(session: &mut Session, id: u32) {
    lab::write(
        session,
        "crm.lead",
        id,
        &[("priority", Value::text("2")), ("expected_revenue", Value::Integer(99)), ("user_id", Value::Unset)],
    )
    .await;
    call(session, Call::PostNote { target: RecordRef::new("crm.lead", id), message: note("hello") }).await.unwrap();
}

#[tokio::test]
async fn a_small_run_takes_three_requests_at_most() {
    let lab = Lab::open("three_requests").await;
    let backend = lab.prepared().await;
    let id = lab::lead(&lab, &backend, json!({"name": "Few"})).await;
    // The first run learns what the model is and where the action is.
    for round in 0..2 {
        let mut session = lab.session(&backend, "admin").await;
        lab.asked();
        lab::read(&mut session, "crm.lead", &[id], &["name", "expected_revenue", "priority"]).await;
        lab::write(
            &mut session,
            "crm.lead",
            id,
            &[("priority", Value::text("1")), ("expected_revenue", Value::Integer(round))],
        )
        .await;
        call(&mut session, Call::PostMessage { target: RecordRef::new("crm.lead", id), message: note("hi") })
            .await
            .unwrap();
        session.commit(&lab.unique("run")).await.unwrap();
        let asked = lab.asked();
        assert!(asked.len() <= if round == 0 { 4 } else { 2 }, "{asked:?}");
    }
    lab.close();
}

#[tokio::test]
async fn ids_of_new_records_stay_out_of_texts() {
    let lab = Lab::open("provisional").await;
    let backend = lab.backend();
    let mut session = lab.session(&backend, "admin").await;
    let new = lab::create(&mut session, "crm.tag", &[("name", Value::text("x"))]).await;
    let text = format!("see {new}");
    let post = Call::PostNote { target: RecordRef::new("crm.lead", 1), message: note(&text) };
    assert_eq!(call(&mut session, post).await.unwrap_err().code, "provisional-id");
    let outcome = Outcome { message: Some(text), ..Outcome::default() };
    assert_eq!(session.check_outcome(&outcome).unwrap_err().code, "provisional-id");
    let call_ = Call::CallMethod {
        model: "crm.lead".to_owned(),
        ids: vec![1],
        method: "unlink".to_owned(),
        arguments_json: "{}".to_owned(),
    };
    assert_eq!(call(&mut session, call_).await.unwrap_err().code, "unknown-method");
    lab.close();
}
