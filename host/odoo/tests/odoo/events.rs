//! What the outbox tells: records made, changed and deleted by a user, once for each transaction, and nobody else's word.

use serde_json::json;
use triggerbox_model::{
    changes::ChangeKind,
    domain::Domain,
    value::{Id, Value},
};
use triggerbox_odoo::setup::{MODULE, Want, Watch};

use crate::lab::{self, Lab};

fn watch(rule: &str, want: Want, fields: &[&str], name: &str) -> Watch {
    Watch {
        rule: rule.to_owned(),
        title: rule.to_owned(),
        model: "crm.lead".to_owned(),
        want,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        told: false,
        before: None,
        after: Some(Domain::parse(&format!("[('name', 'like', '{name}')]")).unwrap()),
        wrong: None,
    }
}

#[tokio::test]
async fn what_happens_is_told_once_for_each_transaction_with_the_values_before() {
    let lab = Lab::open("events").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("seen");
    let watches = [
        watch("made", Want::Both, &["expected_revenue", "stage_id", "tag_ids"], &mark),
        watch("gone", Want::Deleted, &[], &mark),
    ];
    backend.rules_apply(&watches).await.unwrap();
    assert_eq!(backend.rules_apply(&watches).await.unwrap(), [], "a second time it has nothing to do");
    let left: Vec<Id> = backend.events().await.unwrap().events.iter().map(|event| event.row).collect();
    backend.acknowledge(&left).await.unwrap();

    // A new record is one event, whatever is computed on it; its further changes in the same transaction too.
    let id = lab::lead(&lab, &backend, json!({ "name": mark, "expected_revenue": 10, "tag_ids": [[6, 0, [1]]] })).await;
    let write = json!({ "ids": [id], "vals": { "expected_revenue": 50, "tag_ids": [[6, 0, [1, 2]]] } });
    lab.admin(&backend, "crm.lead", "write", write).await.unwrap();
    // Two changes of one transaction.
    let mut session = lab.session(&backend, "admin").await;
    lab::write(&mut session, "crm.lead", id, &[("expected_revenue", Value::Number(60.0))]).await;
    lab::write(&mut session, "crm.lead", id, &[("expected_revenue", Value::Number(70.0))]).await;
    let run = lab.unique("run");
    session.commit(&run).await.unwrap();
    lab.admin(&backend, "crm.lead", "unlink", json!({ "ids": [id] })).await.unwrap();

    let taken = backend.events().await.unwrap();
    assert_eq!(taken.odd, []);
    let told: Vec<_> = taken.events.iter().map(|event| (event.rule.as_str(), event.change.kind)).collect();
    let (created, updated, deleted) = (ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted);
    assert_eq!(told, [("made", created), ("made", updated), ("made", updated), ("gone", deleted)]);
    assert!(taken.events.iter().all(|event| event.change.record.id == id && event.user == 2));
    let pair = |event: usize, field: &str| {
        let fields = &taken.events[event].change.fields;
        let found = fields.iter().find(|changed| changed.field == field).unwrap();
        (found.old.clone(), found.new.clone())
    };
    assert_eq!(pair(1, "expected_revenue"), (Value::Number(10.0), Value::Number(50.0)));
    assert_eq!(pair(1, "tag_ids"), (Value::Ids(vec![1]), Value::Ids(vec![1, 2])));
    assert_eq!(
        pair(2, "expected_revenue"),
        (Value::Number(50.0), Value::Number(70.0)),
        "one event, the first old value"
    );
    assert_eq!(pair(3, "expected_revenue").0, Value::Number(70.0));
    assert_eq!(pair(3, "name").0, Value::text(mark.as_str()));
    let chains: Vec<_> = taken.events.iter().map(|event| event.chain.as_deref()).collect();
    assert_eq!(chains, [None, None, Some(run.as_str()), None], "only the run's own transaction has its mark");

    // The rows stay until they are acknowledged, and only one by one.
    let rows: Vec<Id> = taken.events.iter().map(|event| event.row).collect();
    backend.acknowledge(&rows[..1]).await.unwrap();
    assert_eq!(backend.events().await.unwrap().events.len(), 3);
    backend.acknowledge(&rows).await.unwrap();
    assert_eq!(backend.events().await.unwrap().events, []);
    backend.rules_apply(&[]).await.unwrap();
    lab.close();
}

#[tokio::test]
async fn nobody_writes_the_outbox_by_hand_and_only_the_administrator_reads_it() {
    let lab = Lab::open("outbox_closed").await;
    let backend = lab.prepared().await;
    backend.rules_apply(&[watch("made", Want::Created, &[], "closed")]).await.unwrap();
    let ours = json!({"domain": [["module", "=", MODULE]], "fields": ["name", "res_id"]});
    let ours = lab.admin(&backend, "ir.model.data", "search_read", ours).await.unwrap();
    let id = |name: &str| ours.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["res_id"].clone();
    let row = json!({ "vals_list": [{ "x_name": "made", "x_model": "crm.lead", "x_record": 1, "x_kind": "created" }] });
    assert!(lab.admin(&backend, "x_triggerbox_event", "create", row.clone()).await.is_err());
    let sales = async |model: &str, method: &str, body: serde_json::Value| {
        backend.client().call(backend.caller("tb_sales").unwrap(), model, method, &body).await
    };
    assert!(sales("x_triggerbox_event", "create", row).await.is_err());
    assert!(sales("x_triggerbox_event", "search", json!({ "domain": [] })).await.is_err());
    // Running the actions by hand tells nothing: only rules run them as superuser.
    let lead = json!({ "active_model": "crm.lead", "active_id": 1, "active_ids": [1], "old_values": {} });
    for action in ["action_told", "rule_action_made"] {
        let _ = sales("ir.actions.server", "run", json!({ "ids": [id(action)], "context": lead })).await;
        let _ = lab.admin(&backend, "ir.actions.server", "run", json!({ "ids": [id(action)], "context": lead })).await;
    }
    assert_eq!(backend.events().await.unwrap().events, []);
    backend.rules_apply(&[]).await.unwrap();
    lab.close();
}

/// Writes three leads, and takes the second one back to a savepoint.
const HALF: &str = "
leads = env['crm.lead'].browse(env.context['leads'])
leads[0].write({'expected_revenue': 11})
savepoint = env.cr.savepoint(FLUSH)
leads[1].write({'expected_revenue': 12})
env.flush_all()
savepoint.close(rollback=True)
leads[2].write({'expected_revenue': 13})
leads[0].write({'expected_revenue': 14})
";

#[tokio::test]
async fn what_is_rolled_back_to_a_savepoint_is_not_told_and_what_was_before_it_is() {
    let lab = Lab::open("events_savepoint").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("half");
    backend.rules_apply(&[watch("half", Want::Updated, &["expected_revenue"], &mark)]).await.unwrap();
    let mut leads = Vec::new();
    for _ in 0..3 {
        leads.push(lab::lead(&lab, &backend, json!({ "name": mark, "expected_revenue": 1 })).await);
    }
    lab::run_code(&lab, &backend, &HALF.replace("FLUSH", ""), &leads).await;
    let taken = backend.events().await.unwrap();
    let told: Vec<_> = taken
        .events
        .iter()
        .map(|event| (event.change.record.id, event.change.fields[0].old.clone(), event.change.fields[0].new.clone()))
        .collect();
    let number = |number: f64| Value::Number(number);
    // What was noted before the savepoint is written when it begins: a row of its own.
    assert_eq!(
        told,
        [
            (leads[0], number(1.0), number(11.0)),
            (leads[2], number(1.0), number(13.0)),
            (leads[0], number(11.0), number(14.0)),
        ]
    );
    assert!(taken.events.iter().all(|event| event.transaction == taken.events[0].transaction));
    let rows: Vec<Id> = taken.events.iter().map(|event| event.row).collect();
    backend.acknowledge(&rows).await.unwrap();
    backend.rules_apply(&[]).await.unwrap();
    lab.close();
}

/// Writes a lead, and others when that is about to be committed: as Odoo's own apps do, whose hooks may come after ours.
const LATE: &str = "
leads = env['crm.lead'].browse(env.context['leads'])
leads[0].write({'expected_revenue': 11})


def late():
    leads[1].write({'expected_revenue': 12})
    leads[0].write({'expected_revenue': 13})
    env.cr.precommit.add(latest)


def latest():
    leads[2].write({'expected_revenue': 14})


env.cr.precommit.add(late)
";

#[tokio::test]
async fn what_is_written_when_a_transaction_is_about_to_be_committed_is_told_too() {
    let lab = Lab::open("events_late").await;
    let backend = lab.prepared().await;
    let mark = lab.unique("late");
    backend.rules_apply(&[watch("late", Want::Updated, &["expected_revenue"], &mark)]).await.unwrap();
    let mut leads = Vec::new();
    for _ in 0..3 {
        leads.push(lab::lead(&lab, &backend, json!({ "name": mark, "expected_revenue": 1 })).await);
    }
    lab::run_code(&lab, &backend, LATE, &leads).await;
    let taken = backend.events().await.unwrap();
    let told: Vec<_> = taken
        .events
        .iter()
        .map(|event| (event.change.record.id, event.change.fields[0].old.clone(), event.change.fields[0].new.clone()))
        .collect();
    let number = |number: f64| Value::Number(number);
    assert_eq!(
        told,
        [
            (leads[0], number(1.0), number(11.0)),
            (leads[1], number(1.0), number(12.0)),
            (leads[0], number(11.0), number(13.0)),
            (leads[2], number(1.0), number(14.0)),
        ]
    );
    assert!(taken.events.iter().all(|event| event.transaction == taken.events[0].transaction));
    let rows: Vec<Id> = taken.events.iter().map(|event| event.row).collect();
    backend.acknowledge(&rows).await.unwrap();
    backend.rules_apply(&[]).await.unwrap();
    lab.close();
}
