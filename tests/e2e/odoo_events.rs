//! What happens on an Odoo server, from a user's write there to the end of a run: recorded, or real. See `docs/odoo.md`.

use serde_json::json;
use triggerbox_automation::{
    rule::stored::RuleError,
    runs::{RunDetail, RunState},
};
use triggerbox_model::{event::Trigger, value::Value};
use triggerbox_odoo::setup::State;

use crate::odoo_host::Office;

const TOUCH: &str = "name = 'touch'\nmodel = 'crm.lead'\ndomain = \"[('name', 'like', 'watched')]\"\n\
    [trigger]\non = 'updated'\nfields = ['expected_revenue']\n\
    [[actions]]\nscript = 'update-record'\nparameters = { values = 'expected_revenue = 77' }\n";

// Shows: F091
#[tokio::test]
async fn a_users_write_there_becomes_a_run_here_and_its_loop_is_cut() {
    let office = Office::open("events_run", "watched").await;
    let host = office.host().await;
    host.rule(TOUCH).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    let id = office.lead(json!({ "name": office.name, "expected_revenue": 10 })).await;
    let other = office.lead(json!({ "name": "no", "expected_revenue": 10 })).await;
    assert_eq!(host.engine.drain().await.unwrap().events, 0, "a new record is not updated");

    office.write(id, json!({ "expected_revenue": 50 })).await;
    office.write(other, json!({ "expected_revenue": 50 })).await;
    office.write(id, json!({ "contact_name": "nobody watches this" })).await;
    let drained = host.engine.drain().await.unwrap();
    assert_eq!((drained.events, drained.runs), (1, 1), "{drained:?}");
    assert_eq!(host.engine.step().await.unwrap(), 1);
    let runs = host.runs();
    assert_eq!(runs[0].summary.state, RunState::Succeeded, "{:?}", runs[0]);
    assert_eq!(runs[0].firing.records, [id]);
    assert_eq!(runs[0].firing.trigger, Trigger::Updated);
    let old = &runs[0].firing.old_values[0].fields;
    assert_eq!((old[0].name.as_str(), &old[0].value), ("expected_revenue", &Value::Number(10.0)));
    assert_eq!(office.field(id, "expected_revenue").await, json!(77.0));

    // What the run wrote fires the same rule there: it is known by its chain, and stopped where people can see it.
    let drained = host.engine.drain().await.unwrap();
    assert_eq!((drained.events, drained.runs), (1, 0), "{drained:?}");
    let root = runs[0].summary.root;
    let stopped = host.engine.suppressed(Some(root), None, 10).unwrap();
    assert_eq!(stopped.len(), 1);
    assert!(stopped[0].reason.starts_with("already-fired"), "{stopped:?}");

    // A user who sends the run's mark along is not believed: the ledger has it from another transaction.
    let key = runs[0].summary.key.clone();
    let forged = json!({
        "ids": [id], "vals": { "expected_revenue": 60 },
        "context": { "triggerbox_chain": key, "triggerbox_run": key },
    });
    office.admin("crm.lead", "write", forged).await;
    let drained = host.engine.drain().await.unwrap();
    assert_eq!((drained.events, drained.runs), (1, 1), "{drained:?}");
    let fired = host.runs().pop().unwrap();
    assert!(fired.summary.root != root && fired.summary.parent.is_none(), "{fired:?}");
    office.close();
}

#[tokio::test]
async fn what_is_kept_here_but_still_there_is_not_run_twice() {
    let office = Office::open("events_twice", "watched").await;
    let host = office.host().await;
    host.rule(TOUCH).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    let id = office.lead(json!({ "name": office.name, "expected_revenue": 10 })).await;
    // Nobody takes them for a while: they wait there, in their order.
    for revenue in [20, 30, 40] {
        office.write(id, json!({ "expected_revenue": revenue })).await;
    }
    // The rows are kept here, and the host is gone before they are removed there.
    drop(host);
    let cut = office.host_on(&office.lab.backend_with("retries = 0")).await;
    office.lab.cut_unlink();
    let error = cut.engine.drain().await.unwrap_err();
    assert_eq!(error.code(), "odoo-cut-off", "{error}");
    assert_eq!(cut.runs().len(), 3);
    // Another process, as far as anybody can tell.
    drop(cut);
    let again = office.host().await;
    let drained = again.engine.drain().await.unwrap();
    assert_eq!((drained.repeated, drained.events, drained.runs), (3, 0, 0), "{drained:?}");
    assert_eq!(again.engine.drain().await.unwrap().repeated, 0, "they are removed now");
    let runs = again.runs();
    assert_eq!(runs.len(), 3);
    let before = |run: &RunDetail| run.firing.old_values[0].fields[0].value.clone();
    let order: Vec<Value> = runs.iter().map(before).collect();
    assert_eq!(order, [10.0, 20.0, 30.0].map(Value::Number), "in the order in which they were written");
    office.close();
}

#[tokio::test]
async fn rules_that_odoo_cannot_have_are_refused_with_the_reason() {
    let office = Office::open("events_refused", "refused").await;
    let host = office.host().await;
    let refusal = async |trigger: &str, more: &str| {
        let toml = format!(
            "name = 'no'\nmodel = 'crm.lead'\n{more}\n[trigger]\n{trigger}\n\
             [[actions]]\nscript = 'update-record'\nparameters = {{ values = 'priority = 1' }}\n"
        );
        match host.rule(&toml).await {
            Err(RuleError::Refused(findings)) => {
                findings.iter().map(|finding| format!("{}: {}", finding.code, finding.message)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    for (trigger, more, code) in [
        ("on = 'before'\nwrites = ['update']", "", "odoo-no-before"),
        ("on = 'on-change'\nfields = ['name']", "", "odoo-no-on-change"),
        ("on = 'created'", "superuser = true", "odoo-no-superuser"),
        ("on = 'updated'\nfields = ['nobody_has_this']", "", "unknown-field"),
        ("on = 'created'", "domain = \"[('name', '=', env.user)]\"", "bad-domain"),
        ("on = 'created'", "domain = \"[('nobody_has_this', '=', 1)]\"", "bad-domain"),
    ] {
        let found = refusal(trigger, more).await;
        assert!(found.iter().any(|finding| finding.starts_with(code)), "{code}: {found:?}");
    }
    office.close();
}

#[tokio::test]
async fn what_is_changed_by_hand_in_odoo_is_noticed_and_mended() {
    let office = Office::open("events_hand", "hand").await;
    let host = office.host().await;
    host.rule(TOUCH).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    assert_eq!(host.engine.keep_rules(true).await.unwrap(), [], "a second time there is nothing to do");

    let ours = json!({ "domain": [["name", "=", "rule_touch"]], "fields": ["res_id"] });
    let ours = office.admin("ir.model.data", "search_read", ours).await;
    let rule = ours[0]["res_id"].clone();
    let edit = json!({ "ids": [rule], "vals": { "filter_domain": "[]", "active": false } });
    office.admin("base.automation", "write", edit).await;
    let found = host.engine.keep_rules(false).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].state, State::Changed);
    assert!(found[0].what.contains("`touch`") && found[0].detail.contains("active"), "{found:?}");
    // Also code of another version: it is told by its fingerprint.
    let code = json!({ "domain": [["name", "=", "rule_action_touch"]], "fields": ["res_id"] });
    let action = office.admin("ir.model.data", "search_read", code).await[0]["res_id"].clone();
    let older = json!({ "ids": [action], "vals": { "code": "# of another version" } });
    office.admin("ir.actions.server", "write", older).await;
    let found = host.engine.keep_rules(false).await.unwrap();
    assert!(found.len() == 2 && found[1].detail.starts_with("its code has the fingerprint"), "{found:?}");
    // Also to whoever has not got the rules.
    let other = office.backend.rules_of_other_versions().await.unwrap();
    assert!(other.len() == 1 && other[0].what.contains("`touch`"), "{other:?}");
    assert_eq!(host.engine.keep_rules(true).await.unwrap().len(), 2);
    assert_eq!(host.engine.keep_rules(false).await.unwrap(), []);
    assert_eq!(office.backend.rules_of_other_versions().await.unwrap(), []);

    office.admin("base.automation", "unlink", json!({ "ids": [rule] })).await;
    let found = host.engine.keep_rules(false).await.unwrap();
    assert!(found.iter().any(|finding| finding.state == State::Missing), "{found:?}");
    host.engine.keep_rules(true).await.unwrap();
    assert_eq!(host.engine.keep_rules(false).await.unwrap(), []);

    // A rule that is no longer active here is gone there.
    host.rule(&TOUCH.replace("model =", "active = false\nmodel =")).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    let left = json!({ "domain": [["name", "=like", "Triggerbox: touch%"]], "context": { "active_test": false } });
    for model in ["base.automation", "ir.actions.server"] {
        assert_eq!(office.admin(model, "search_count", left.clone()).await, json!(0), "{model}");
    }
    office.close();
}

// Shows: F090
#[tokio::test]
async fn with_many_runs_waiting_events_stay_in_odoo_and_none_is_lost() {
    let office = Office::open("events_cap", "watched").await;
    let host = office.host_on(&office.lab.backend_with("most-events = 2\nmost-waiting = 3")).await;
    let created = TOUCH.replace("'updated'\nfields = ['expected_revenue']", "'created'");
    host.rule(&created.replace("model =", "dispatch = 'per-record'\nmodel =")).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    let leads: Vec<_> = (0..7).map(|_| json!({ "name": office.name })).collect();
    office.admin("crm.lead", "create", json!({ "vals_list": leads })).await;
    let mut taken = Vec::new();
    loop {
        let drained = host.engine.drain().await.unwrap();
        if drained.full {
            // Nothing is asked of Odoo while it is so.
            office.lab.asked();
            assert!(host.engine.drain().await.unwrap().full);
            assert_eq!(office.lab.asked(), []);
            taken.push(0);
            host.settle().await;
        } else if drained.events == 0 && !drained.more {
            break;
        } else {
            taken.push(drained.runs);
        }
    }
    assert_eq!(taken, [2, 2, 0, 2, 1, 0]);
    let runs = host.runs();
    assert_eq!(runs.len(), 7);
    assert!(runs.iter().all(|run| run.summary.state == RunState::Succeeded), "{runs:?}");
    office.close();
}
