//! What rules on an Odoo server wait for besides changes, where they find their records, and what waits for a yes there:
//! recorded, or real. See `docs/odoo.md`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use guest_artifacts::DUE_LEADS;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};
use triggerbox_automation::{
    Clock, Config, SystemClock, TestClock,
    beside::{self, Beside},
    proposals::{ProposalHash, ProposalState},
    runs::{RunDetail, RunId, RunState},
    scripts::{registry, upload},
    threads::list,
};
use triggerbox_llm::{Models, Services};
use triggerbox_model::{
    event::Trigger,
    grants::{GrantOperation, Policy},
    value::{Id, RecordRef},
};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_store::db::DbError;

use crate::{
    model::ModelServer,
    odoo_host::{ADMIN, Office, READER, SALES, lab::Cut},
};

/// A rule on leads of one name, with a ready-made script that writes.
fn rule(name: &str, watched: &str, trigger: &str, values: &str, more: &str) -> String {
    format!(
        "name = '{name}'\nmodel = 'crm.lead'\ndomain = \"[('name', '=', '{watched}')]\"\n{more}\n\
         trigger = {{ {trigger} }}\n\
         [[actions]]\nscript = 'update-record'\nparameters = {{ values = '{values}' }}\n"
    )
}

fn states(runs: &[RunDetail]) -> Vec<(&str, RunState)> {
    runs.iter().map(|run| (run.summary.rule.as_str(), run.summary.state)).collect()
}

/// Stands for the audit log: what is told of a yes, each time that something is committed for it.
#[derive(Default)]
struct Told {
    next: Mutex<Option<&'static str>>,
    lines: Mutex<Vec<&'static str>>,
}

impl Told {
    fn lines(&self) -> Vec<&'static str> {
        self.lines.lock().unwrap().clone()
    }
}

impl Beside for Told {
    fn write(&self, _: &rusqlite::Connection) -> Result<(), DbError> {
        Ok(())
    }

    fn became(&self, what: &'static str, _why: &str) {
        *self.next.lock().unwrap() = Some(what);
    }

    fn kept(&self) {
        let next = self.next.lock().unwrap().take();
        self.lines.lock().unwrap().push(next.unwrap_or("what was asked for"));
    }
}

// Shows: F004
#[tokio::test]
async fn dates_of_records_there_fire_rules_here_once() {
    let office = Office::open("rules_dates", "dated").await;
    let id = office.lead(json!({ "name": office.name, "date_deadline": "2047-03-05" })).await;
    let made = office.time(id, "create_date").await;
    let clock = Arc::new(TestClock::at(made));
    let host = office.host_at(&clock).await;
    for (rule_name, trigger, values) in [
        ("soon", "on = 'time', field = 'date_deadline', delay = -2, unit = 'days'", "city = Soon"),
        ("old", "on = 'after-creation', delay = 1, unit = 'hours'", "city = Old"),
        ("idle", "on = 'after-update', delay = 2, unit = 'hours'", "priority = 1"),
    ] {
        host.rule(&rule(rule_name, &office.name, trigger, values, "")).await.unwrap();
    }
    // From when a rule is there on, and not for what was before it.
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0, "nothing is due yet");
    clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 1);
    host.settle().await;
    assert_eq!(states(&host.runs()), [("old", RunState::Succeeded)]);
    assert_eq!(host.runs()[0].firing.trigger, Trigger::Time("create_date".to_owned()));
    assert_eq!(office.field(id, "city").await, json!("Old"));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0, "once, though the last hour is looked at again");

    // What the other rule wrote is an update; what the rule itself writes is none.
    office.move_update(id, -10).await;
    clock.advance(Duration::from_secs(70 * 60));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 1);
    host.settle().await;
    let own = office.time(id, "write_date").await;
    assert_eq!(office.field(id, "priority").await, json!("1"));
    assert!(own + SignedDuration::from_hours(2) <= clock.now(), "it would be due");
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    let stopped = host.engine.suppressed(None, None, 10).unwrap();
    assert!(stopped.len() == 1 && stopped[0].reason.starts_with("own-update"), "{stopped:?}");
    office.write(id, json!({ "expected_revenue": 5 })).await;
    office.move_update(id, 10).await;
    assert_eq!(host.engine.tick_remote().await.unwrap(), 1, "a user's write counts");
    host.settle().await;

    clock.set("2047-03-02T23:59:00Z".parse().unwrap());
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    clock.set("2047-03-03T00:00:30Z".parse().unwrap());
    assert_eq!(host.engine.tick_remote().await.unwrap(), 1);
    host.settle().await;
    assert_eq!(office.field(id, "city").await, json!("Soon"));
    let runs = host.runs();
    let succeeded = |name| (name, RunState::Succeeded);
    assert_eq!(states(&runs), ["old", "idle", "idle", "soon"].map(succeeded), "{runs:?}");
    office.close();
}

// Shows: F006
#[tokio::test]
async fn a_schedule_runs_on_records_that_are_found_there() {
    let office = Office::open("rules_schedule", "nightly").await;
    let clock = Arc::new(TestClock::at("2026-11-29T10:00:00Z".parse().unwrap()));
    let host = office.host_at(&clock).await;
    let one = office.lead(json!({ "name": office.name })).await;
    let other = office.lead(json!({ "name": office.name })).await;
    let source = format!("source = {{ domain = \"[('name', '=', '{}'), ('city', '=', False)]\" }}", office.name);
    let trigger = "on = 'schedule', cron = '0 9 * * *'";
    for dispatch in ["single", "per-record"] {
        let more = format!("{source}\ndispatch = '{dispatch}'");
        let domainless = rule("nightly", &office.name, trigger, "city = Ghent", &more);
        let domainless: Vec<_> = domainless.lines().filter(|line| !line.starts_with("domain")).collect();
        host.rule(&domainless.join("\n")).await.unwrap();
        assert_eq!(host.engine.tick().await.unwrap(), 0);
        clock.advance(Duration::from_secs(24 * 3_600));
        host.settle().await;
        for id in [one, other] {
            assert_eq!(office.field(id, "city").await, json!("Ghent"), "{dispatch}");
            office.write(id, json!({ "city": false })).await;
        }
    }
    let runs = host.runs();
    let codes: Vec<_> = runs.iter().map(|run| run.summary.code.clone().unwrap_or_default()).collect();
    assert_eq!(runs[0].summary.message.as_deref(), Some("2 of 2 updated"));
    assert_eq!(codes[1], "spread", "then one run for each");
    assert_eq!(runs.len(), 4, "{codes:?}");
    assert!(matches!(runs[1].firing.trigger, Trigger::Scheduled(_)));
    office.close();
}

async fn post(office: &Office, id: Id, more: Json) {
    let mut body = json!({ "ids": [id], "message_type": "comment", "subtype_xmlid": "mail.mt_comment" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    office.admin("crm.lead", "message_post", body).await;
}

/// An automation rule of Odoo's own, on leads of this name.
async fn automation(office: &Office, trigger: &str, domain: &str, code: &str) -> Json {
    let model = json!({ "domain": [["model", "=", "crm.lead"]] });
    let model = office.admin("ir.model", "search", model).await[0].clone();
    let values = json!({
        "name": "TB note", "model_id": model, "trigger": trigger,
        domain: format!("[('name', '=', '{}')]", office.name),
    });
    let rule = office.admin("base.automation", "create", json!({ "vals_list": [values] })).await[0].clone();
    let action = json!({
        "name": "TB note", "state": "code", "code": code, "usage": "base_automation", "model_id": model,
        "base_automation_id": rule,
    });
    office.admin("ir.actions.server", "create", json!({ "vals_list": [action] })).await;
    rule
}

/// One on messages from outside, which posts a note.
async fn noter(office: &Office) -> Json {
    let code = "record.message_post(body='seen', message_type='comment', subtype_xmlid='mail.mt_note')";
    automation(office, "on_message_received", "filter_pre_domain", code).await
}

#[tokio::test]
async fn messages_on_records_there_are_heard_and_notes_are_not() {
    let office = Office::open("rules_messages", "talked about").await;
    let host = office.host().await;
    host.rule(&rule("received", &office.name, "on = 'message-received'", "priority = 2", "")).await.unwrap();
    host.rule(&rule("sent", &office.name, "on = 'message-sent'", "priority = 3", "")).await.unwrap();
    // Odoo's own automation, which comes before ours: it answers each message with a note.
    let noter = noter(&office).await;
    host.engine.keep_rules(true).await.unwrap();
    assert_eq!(host.engine.keep_rules(false).await.unwrap(), []);
    let id = office.lead(json!({ "name": office.name })).await;
    let other = office.lead(json!({ "name": "nobody listens" })).await;
    let partner = json!({ "vals_list": [{ "name": "Ada", "email": "ada@cedar.example" }] });
    let partner = office.admin("res.partner", "create", partner).await[0].clone();

    post(&office, id, json!({ "body": "a note", "subtype_xmlid": "mail.mt_note" })).await;
    post(&office, other, json!({ "body": "elsewhere" })).await;
    post(&office, id, json!({ "body": "We call you" })).await;
    post(&office, id, json!({ "body": "Please do", "message_type": "email", "author_id": partner })).await;
    let drained = host.engine.drain().await.unwrap();
    assert_eq!((drained.events, drained.runs, drained.aside.len()), (2, 2, 0), "{drained:?}");
    host.settle().await;
    let runs = host.runs();
    assert_eq!(states(&runs), [("sent", RunState::Succeeded), ("received", RunState::Succeeded)], "{runs:?}");
    let Trigger::Message(message) = &runs[1].firing.trigger else { panic!("{:?}", runs[1].firing) };
    assert_eq!(message.body, "<p>Please do</p>");
    assert_eq!(message.author.as_ref().map(|author| u64::from(author.id)), partner.as_u64());
    assert!(matches!(&runs[0].firing.trigger, Trigger::Message(message) if message.body == "<p>We call you</p>"));
    let notes = json!({ "domain": [["model", "=", "crm.lead"], ["res_id", "=", id], ["body", "ilike", "seen"]] });
    assert_eq!(office.admin("mail.message", "search_count", notes).await, json!(1));
    office.admin("base.automation", "unlink", json!({ "ids": [noter] })).await;
    host.engine.keep_rules(true).await.unwrap();
    office.close();
}

// Shows: F090
#[tokio::test]
async fn a_rule_is_run_over_what_was_there_before_it() {
    let office = Office::open("rules_backfill", "before").await;
    let host = office.host().await;
    let mut leads = Vec::new();
    for revenue in [5, 10, 20] {
        leads.push(office.lead(json!({ "name": office.name, "expected_revenue": revenue })).await);
    }
    let each = "dispatch = 'per-record'";
    host.rule(&rule("touch", &office.name, "on = 'manual'", "city = Ghent", each)).await.unwrap();
    let large = "[('expected_revenue', '>', 5)]";
    let done = host.engine.backfill("touch", large, ADMIN).await.unwrap();
    assert_eq!((done.records, done.runs), (2, 2));
    host.settle().await;
    assert_eq!(states(&host.runs()), [("touch", RunState::Succeeded); 2]);
    assert_eq!(host.runs().iter().map(|run| run.firing.records[0]).collect::<Vec<_>>(), leads[1..]);
    let mut cities = Vec::new();
    for lead in leads {
        cities.push(office.field(lead, "city").await);
    }
    assert_eq!(cities, [json!(false), json!("Ghent"), json!("Ghent")]);

    // Whose rights the rule has, is who looks for them.
    host.rule(&rule("theirs", &office.name, "on = 'manual'", "city = Ghent", "run-as = 'tb_sales'")).await.unwrap();
    assert_eq!(host.engine.backfill("theirs", large, ADMIN).await.unwrap().records, 0);
    assert_eq!(host.engine.backfill("touch", "no domain", ADMIN).await.unwrap_err().code(), "bad-domain");
    office.close();
}

// Shows: F045
#[tokio::test]
async fn a_script_selects_records_there() {
    let office = Office::open("rules_sources", "due").await;
    let clock = Arc::new(TestClock::at("2046-11-29T10:00:00Z".parse().unwrap()));
    let host = office.host_at(&clock).await;
    let upload = upload::inspect(embed_manifest(DUE_LEADS.component, DUE_LEADS.manifest.unwrap()).unwrap()).unwrap();
    let now = clock.now();
    let store = move |conn: &rusqlite::Connection| registry::store(conn, &upload, ADMIN, now);
    host.engine.committer().commit(store).await.unwrap();
    // The demo data's own leads are due too, and long so.
    let soon = office.lead(json!({ "name": office.name, "date_deadline": "2046-12-06" })).await;
    let far = office.lead(json!({ "name": office.name, "date_deadline": "2046-12-07" })).await;
    let more = "environment = 'test'\nsource = { script = 'due-leads' }";
    let shown = rule("sweep", &office.name, "on = 'manual'", "city = Ghent", more);
    let shown: Vec<_> = shown.lines().filter(|line| !line.starts_with("domain")).collect();
    host.rule(&shown.join("\n")).await.unwrap();
    host.engine.fire("sweep", ADMIN, Trigger::Manual, Vec::new()).await.unwrap();
    host.settle().await;
    let run = host.runs().remove(0);
    assert_eq!(run.summary.state, RunState::Succeeded, "{run:?}");
    let records = run.attempts[0].report["diff"]["records"].as_array().unwrap();
    let changed: Vec<_> = records.iter().map(|one| &one["record"]["id"]).collect();
    assert!(changed.contains(&&json!(soon)) && !changed.contains(&&json!(far)), "{changed:?}");
    assert_eq!(office.field(soon, "city").await, json!(false), "only shown");
    office.close();
}

// Shows: F035, F113, F125
#[tokio::test]
async fn what_waits_for_a_yes_is_applied_there_exactly_as_it_was_shown() {
    let office = Office::open("rules_approvals", "asked").await;
    let policy = Policy { approved_operations: [GrantOperation::Write].into(), ..Policy::default() };
    let clock = Arc::new(TestClock::at("2026-11-29T10:00:00Z".parse().unwrap()));
    let config = Config { policy, ..Config::default() };
    let host = office.host_with(&office.backend, Arc::<TestClock>::clone(&clock), config).await;
    let trigger = "on = 'updated', fields = ['expected_revenue']";
    host.rule_of(SALES, &rule("ask", &office.name, trigger, "priority = 3", "mode = 'approve'")).await.unwrap();
    host.rule_of(SALES, &rule("advise", &office.name, trigger, "city = Ghent", "mode = 'recommend'")).await.unwrap();
    host.engine.keep_rules(true).await.unwrap();
    let theirs = json!({ "vals_list": [{ "name": office.name, "priority": "1" }] });
    let seller = office.backend.caller("tb_sales").unwrap();
    let made = office.backend.client().call(seller, "crm.lead", "create", &theirs).await.unwrap();
    let id: Id = made[0].as_u64().unwrap().try_into().unwrap();
    office.write_as("tb_sales", id, json!({ "expected_revenue": 50 })).await;
    assert_eq!(host.engine.drain().await.unwrap().runs, 2);
    host.settle().await;
    assert_eq!(states(&host.runs()), [("ask", RunState::WaitingApproval), ("advise", RunState::Succeeded)]);
    let runs: Vec<i64> = host.runs().iter().map(|run| run.summary.id).collect();
    let proposal = |run| host.engine.proposal(run).unwrap().unwrap();
    assert_eq!(proposal(runs[1]).state, ProposalState::Recommended);
    let shown = proposal(runs[0]);
    assert!(shown.diff.to_string().contains("Priority: Medium → Very High"), "{}", shown.diff);
    assert_eq!(office.field(id, "priority").await, json!("1"), "nothing is applied yet");

    let approve = async |run, hash, by| host.engine.approve(run, hash, by, "fine").await;
    for (hash, by, code) in [
        (ProposalHash([7; 32]), ADMIN, "another-proposal"),
        (shown.hash, SALES, "may-not-approve"),
        (shown.hash, READER, "unknown-user"),
    ] {
        assert_eq!(approve(runs[0], hash, by).await.unwrap_err().code(), code);
    }
    assert_eq!(office.field(id, "priority").await, json!("1"));
    let told = Arc::new(Told::default());
    beside::with(Arc::<Told>::clone(&told), approve(runs[0], shown.hash, ADMIN)).await.unwrap();
    assert_eq!(told.lines(), ["approval-sent", "what was asked for"]);
    assert_eq!(office.field(id, "priority").await, json!("3"));
    let after = proposal(runs[0]);
    assert_eq!((after.state, after.decided_by), (ProposalState::Approved, Some(ADMIN)));
    assert_eq!(host.engine.run(runs[0]).unwrap().summary.state, RunState::Succeeded);
    assert_eq!(approve(runs[0], shown.hash, ADMIN).await.unwrap_err().code(), "already-decided");

    // What changed since it was shown is not overwritten: the run runs again, and asks again.
    office.write_as("tb_sales", id, json!({ "expected_revenue": 60, "priority": "0" })).await;
    host.engine.drain().await.unwrap();
    host.settle().await;
    let again = host.runs().iter().rfind(|run| run.summary.rule == "ask").unwrap().summary.id;
    // Who looks at it is told which value is another one by now.
    let overtaken = async || {
        let found = host.engine.overtaken(again).await.unwrap();
        found.into_iter().map(|one| (one.record, one.field)).collect::<Vec<_>>()
    };
    assert_eq!(overtaken().await, []);
    office.write_as("tb_sales", id, json!({ "priority": "2" })).await;
    assert_eq!(overtaken().await, [(RecordRef::new("crm.lead", id), "priority".to_owned())]);
    let told = Arc::new(Told::default());
    let error = beside::with(Arc::<Told>::clone(&told), approve(again, proposal(again).hash, ADMIN)).await.unwrap_err();
    assert_eq!(told.lines(), ["approval-sent", "approval-met-conflict"]);
    assert_eq!((error.code(), office.field(id, "priority").await), ("conflict", json!("2")));
    host.settle().await;
    assert!(proposal(again).diff.to_string().contains("Priority: High → Very High"), "{}", proposal(again).diff);
    approve(again, proposal(again).hash, ADMIN).await.unwrap();
    assert_eq!(office.field(id, "priority").await, json!("3"));

    // Whose rights do not reach so far, cannot say yes; anybody who may decide says no.
    let own = office.lead(json!({ "name": office.name, "user_id": ADMIN })).await;
    host.rule(&rule("mine", &office.name, "on = 'manual'", "priority = 1", "")).await.unwrap();
    let asked = async || {
        let run = host.engine.fire("mine", ADMIN, Trigger::Manual, vec![own]).await.unwrap()[0];
        host.settle().await;
        run
    };
    let run = asked().await;
    let refused = run;
    assert_eq!(proposal(run).why, "policy wants a yes");
    // Also where the record is no longer as it was shown: that is not their business.
    office.write(own, json!({ "priority": "2" })).await;
    let error = approve(run, proposal(run).hash, SALES).await.unwrap_err();
    assert_eq!(error.code(), "approver-lacks-rights", "{error}");
    host.engine.reject(run, SALES, "not this one").await.unwrap();
    assert_eq!(host.engine.run(run).unwrap().summary.state, RunState::Cancelled);
    assert_eq!(office.field(own, "priority").await, json!("2"));

    // A yes that reached Odoo and whose answer was lost: whatever is done about the run next, it has succeeded.
    let reach = async |run| office.apply(&host.engine.run(run).unwrap().summary.key, own).await;
    let is_settled = |run| {
        assert_eq!(host.engine.run(run).unwrap().summary.state, RunState::Succeeded);
        assert_eq!(proposal(run).state, ProposalState::Approved);
    };
    let run = asked().await;
    reach(run).await;
    assert_eq!(host.engine.reject(run, SALES, "").await.unwrap_err().code(), "already-applied");
    is_settled(run);
    let run = asked().await;
    reach(run).await;
    assert_eq!(host.engine.cancel(run, ADMIN).await.unwrap_err().code(), "already-applied");
    is_settled(run);
    let (late, never) = (asked().await, asked().await);
    reach(late).await;
    clock.advance(Duration::from_secs(73 * 3_600));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    is_settled(late);
    assert_eq!(proposal(never).state, ProposalState::Expired);
    // It arrives after all, and its script is not run again.
    reach(never).await;
    host.engine.retry(never).await.unwrap();
    host.settle().await;
    is_settled(never);
    assert_eq!(host.engine.run(never).unwrap().attempts.len(), 1);
    assert_eq!(host.engine.retry(never).await.unwrap_err().code(), "run-not-retriable");
    let late = asked().await;
    host.engine.reject(late, SALES, "").await.unwrap();
    reach(late).await;
    let queued = host.engine.requeue("mine", RunState::Cancelled).await.unwrap();
    assert_eq!(queued, [refused, late]);
    host.settle().await;
    is_settled(late);
    assert_eq!(host.engine.run(refused).unwrap().summary.state, RunState::WaitingApproval, "that was a no");
    office.close();
}

// Shows: F035
#[tokio::test]
async fn what_odoo_refuses_whoever_says_yes_in_its_own_words_is_not_sent() {
    let office = Office::open("rules_approver", "guarded").await;
    let host = office.host().await;
    host.rule(&rule("ask", &office.name, "on = 'manual'", "priority = 3", "mode = 'approve'")).await.unwrap();
    let sales = office.backend.account("tb_sales").await.unwrap().user.id;
    let id = office.lead(json!({ "name": office.name, "user_id": sales })).await;
    // An automation of Odoo's own, which has nothing to do with rights.
    let code = format!("if env.uid == {sales}:\n    raise UserError('Sellers do not prioritise')");
    let guard = automation(&office, "on_create_or_write", "filter_domain", &code).await;
    let run = host.engine.fire("ask", ADMIN, Trigger::Manual, vec![id]).await.unwrap()[0];
    host.settle().await;
    let shown = host.engine.proposal(run).unwrap().unwrap();
    let error = host.engine.approve(run, shown.hash, SALES, "").await.unwrap_err();
    assert!(error.code() == "odoo-refused" && error.to_string().contains("Sellers do not"), "{error}");
    assert_eq!(office.field(id, "priority").await, json!("0"));
    assert_eq!(host.engine.proposal(run).unwrap().unwrap().state, ProposalState::Waiting);
    office.admin("base.automation", "unlink", json!({ "ids": [guard] })).await;
    host.engine.approve(run, shown.hash, SALES, "").await.unwrap();
    assert_eq!(office.field(id, "priority").await, json!("3"));
    office.close();
}

/// A host whose scripts may ask this model.
fn thinking(server: &ModelServer) -> Config {
    let config = triggerbox_llm::Config::parse(&server.providers()).unwrap();
    let budgets = config.budgets.clone();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let models = Models::live(config, &clock, &|_| Some("sk-canary-5d41402abc4b".to_owned())).unwrap();
    let outside = Some(Arc::new(Services { models, web: None, budgets, clock }));
    Config { outside, links: "https://automation.example".into(), ..Config::default() }
}

// Shows: F061, F062
#[tokio::test]
async fn a_thread_leaves_one_note_on_its_record_there_and_none_where_there_is_no_chatter() {
    let office = Office::open("rules_mirror", "mirrored").await;
    let server = ModelServer::of(vec![json!("Looked.")]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let host = office.host_of(&["crm.lead", "crm.tag"], &office.backend, clock, thinking(&server)).await;
    host.agent("name = 'clerk'").await;
    for (rule_name, model) in [("look", "crm.lead"), ("sort", "crm.tag")] {
        let rule = format!(
            "name = '{rule_name}'\ntitle = 'Look <closely>'\nmodel = '{model}'\ntrigger = {{ on = 'manual' }}\n\
             [[actions]]\nscript = 'ai-agent'\nagent = 'clerk'\nparameters = {{ prompt = 'Look.' }}\n\
             grants = [{{ model = '{model}', operations = ['read'], fields = ['name'] }}]\n"
        );
        host.rule(&rule).await.unwrap();
    }
    let id = office.lead(json!({ "name": office.name })).await;
    let run = async |rule: &str, record: Id| {
        office.lab.asked();
        let run = host.engine.fire(rule, ADMIN, Trigger::Manual, vec![record]).await.unwrap()[0];
        host.settle().await;
        let state = host.engine.run(run).unwrap().summary.state;
        assert_eq!(state, RunState::Succeeded, "{:?}", host.engine.run(run));
        run
    };
    let notes = async |run: RunId| {
        let link = format!("https://automation.example/threads/{run}\"");
        let domain = json!([["model", "=", "crm.lead"], ["res_id", "=", id], ["body", "ilike", link]]);
        let fields = json!(["body", "subtype_id", "author_id"]);
        office.admin("mail.message", "search_read", json!({ "domain": domain, "fields": fields })).await
    };
    // Threads of a rule without a model are about no record.
    host.rule(
        "name = 'think'\ntrigger = { on = 'schedule', cron = '0 0 1 1 *' }\n\
         [[actions]]\nscript = 'ai-agent'\nagent = 'clerk'\nparameters = { prompt = 'Think.' }\n",
    )
    .await
    .unwrap();
    let think = async || {
        office.lab.asked();
        let run = host.engine.fire("think", ADMIN, Trigger::Manual, Vec::new()).await.unwrap()[0];
        host.settle().await;
        assert_eq!(host.engine.run(run).unwrap().summary.state, RunState::Succeeded, "{:?}", host.engine.run(run));
        let conn = host.engine.database().snapshot().unwrap();
        let thread = list::of_run(&conn, run).unwrap().unwrap();
        assert_eq!((thread.model, thread.record), (None, None));
        let wants = "SELECT mirrored FROM engine_thread WHERE run = ?1";
        assert_eq!(conn.query_row(wants, [run], |row| row.get(0)), Ok(0), "no note");
        office.lab.asked()
    };
    let changes = |asked: Vec<(String, Json)>| asked.iter().filter(|(path, _)| path.ends_with("server/run")).count();

    assert_eq!(think().await, [], "odoo hears nothing of it");
    let first = run("look", id).await;
    assert_eq!(changes(office.lab.asked()), 1);
    let found = notes(first).await;
    let [note] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert!(note["body"].as_str().unwrap().contains("Look &lt;closely&gt;</a>: succeeded"), "{note}");
    assert_eq!(note["subtype_id"][1], json!("Note"), "{note}");

    // Odoo does not answer, and the note waits; it has done it, and there is one all the same.
    for (cut, is_by_thought) in [(Cut::Before, false), (Cut::After, false), (Cut::Before, true)] {
        for _ in 0..=office.backend.config().retries {
            office.lab.cut(cut);
        }
        let late = run("look", id).await;
        let there = usize::from(cut == Cut::After);
        assert_eq!(notes(late).await.as_array().unwrap().len(), there, "{cut:?}");
        // Its turn is the next look, or the end of the next run, also of one that has no note of its own.
        match is_by_thought {
            true => assert_eq!(changes(think().await), 1),
            false => assert_eq!(host.engine.tick_remote().await.unwrap(), 0),
        }
        assert_eq!(notes(late).await.as_array().unwrap().len(), 1, "{cut:?}");
        office.lab.asked();
        assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
        assert_eq!(office.lab.asked(), [], "nothing waits any more");
    }

    let tags = office.admin("crm.tag", "search", json!({ "domain": [], "limit": 1 })).await;
    run("sort", Id::try_from(tags[0].as_u64().unwrap()).unwrap()).await;
    assert_eq!(changes(office.lab.asked()), 0);
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    assert_eq!(office.lab.asked(), [], "nor is it tried again");
    office.close();
}

// Shows: F091
#[tokio::test]
async fn a_rule_on_last_updates_does_not_wait_for_its_own_there() {
    let office = Office::open("rules_own", "own").await;
    let sales = office.backend.account("tb_sales").await.unwrap().user.id;
    let lead = async |name: &str| {
        let id = office.lead(json!({ "name": name, "city": "Ghent", "user_id": sales })).await;
        office.move_update(id, -10).await;
        (id, office.time(id, "write_date").await)
    };
    let [same, shown] = ["same", "shown"].map(|kind| format!("{} {kind}", office.name));
    let leads = [lead(&same).await, lead(&shown).await];
    let clock = Arc::new(TestClock::at(leads[0].1));
    let host = office.host_at(&clock).await;
    let trigger = "on = 'after-update', delay = 1, unit = 'hours'";
    // The one writes what is there already; the other's changes wait for a yes.
    host.rule(&rule("same", &same, trigger, "city = {city}", "")).await.unwrap();
    host.rule_of(SALES, &rule("shown", &shown, trigger, "city = Bruges", "mode = 'approve'")).await.unwrap();
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    clock.advance(Duration::from_secs(61 * 60));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 2);
    host.settle().await;
    let runs = host.runs();
    let asked = runs.iter().find(|run| run.summary.rule == "shown").unwrap().summary.id;
    let proposal = host.engine.proposal(asked).unwrap().unwrap();
    host.engine.approve(asked, proposal.hash, ADMIN, "").await.unwrap();
    assert_eq!(states(&host.runs()), [("same", RunState::Succeeded), ("shown", RunState::Succeeded)]);
    let runs = host.runs();
    let written = &runs[0].attempts[0].report["diff"]["records"][0];
    assert_eq!((&written["kind"], written.get("fields")), (&json!("updated"), None), "nothing differs");
    for (id, before) in leads {
        assert_ne!(office.time(id, "write_date").await, before, "both were updated");
    }
    clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    let stopped = host.engine.suppressed(None, None, 10).unwrap();
    assert!(stopped.len() == 2 && stopped.iter().all(|one| one.reason.starts_with("own-update")), "{stopped:?}");
    office.close();
}

// Shows: F091
#[tokio::test]
async fn a_run_whose_answer_was_lost_has_succeeded_and_its_update_is_its_own() {
    let office = Office::open("rules_lost", "lost").await;
    let lead = async |name: &str| {
        let id = office.lead(json!({ "name": name, "city": "Ghent" })).await;
        office.move_update(id, -10).await;
        id
    };
    let [tried, asked] = ["tried", "asked"].map(|kind| format!("{} {kind}", office.name));
    let leads = [lead(&tried).await, lead(&asked).await];
    let clock = Arc::new(TestClock::at(office.time(leads[0], "write_date").await));
    let once = office.lab.backend_with("retries = 0");
    let host = office.host_with(&once, Arc::<TestClock>::clone(&clock), Config::default()).await;
    let trigger = "on = 'after-update', delay = 1, unit = 'hours'";
    host.rule(&rule("tried", &tried, trigger, "city = Bruges", "")).await.unwrap();
    host.rule(&rule("asked", &asked, trigger, "city = Bruges", "mode = 'approve'")).await.unwrap();
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    clock.advance(Duration::from_secs(61 * 60));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 2);
    office.lab.cut(Cut::After);
    host.settle().await;
    assert_eq!(states(&host.runs()), [("tried", RunState::Queued), ("asked", RunState::WaitingApproval)]);
    assert_eq!(office.field(leads[0], "city").await, json!("Bruges"), "it was applied");
    // Its next try finds that in the ledger, and does not run its script on what it did itself.
    clock.advance(Duration::from_secs(2));
    host.settle().await;
    let runs = host.runs();
    assert_eq!(states(&runs)[0], ("tried", RunState::Succeeded));
    assert_eq!((runs[0].summary.attempt, runs[0].attempts.len()), (2, 1), "{:?}", runs[0]);
    // So does whoever decides about one that waits for a yes.
    office.apply(&runs[1].summary.key, leads[1]).await;
    assert_eq!(host.engine.reject(runs[1].summary.id, READER, "").await.unwrap_err().code(), "already-applied");
    assert_eq!(host.engine.run(runs[1].summary.id).unwrap().summary.state, RunState::Succeeded);

    clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(host.engine.tick_remote().await.unwrap(), 0);
    let stopped = host.engine.suppressed(None, None, 10).unwrap();
    assert!(stopped.len() == 2 && stopped.iter().all(|one| one.reason.starts_with("own-update")), "{stopped:?}");
    office.close();
}

// Shows: F088
#[tokio::test]
async fn a_run_waits_for_an_odoo_that_is_away_for_hours() {
    let office = Office::open("rules_away", "away").await;
    let id = office.lead(json!({ "name": office.name, "city": "Ghent" })).await;
    let clock = Arc::new(TestClock::at("2026-11-29T10:00:00Z".parse().unwrap()));
    let once = office.lab.backend_with("retries = 0");
    let host = office.host_with(&once, Arc::<TestClock>::clone(&clock), Config::default()).await;
    host.rule(&rule("copy", &office.name, "on = 'manual'", "city = {name}", "")).await.unwrap();
    let run = host.engine.fire("copy", ADMIN, Trigger::Manual, vec![id]).await.unwrap()[0];
    let head = || host.engine.run(run).unwrap().summary;
    let next = async || {
        clock.set(head().due);
        host.settle().await;
    };
    let waits = async |hours: i64| {
        host.settle().await;
        let (since, until) = (head().away_since, clock.now() + SignedDuration::from_hours(hours));
        while clock.now() < until {
            let run = head();
            assert_eq!((run.state, run.code.as_deref()), (RunState::Queued, Some("odoo-away")), "{run:?}");
            assert_eq!(run.away_since, since);
            assert!(run.due <= clock.now() + SignedDuration::from_mins(5), "{run:?}");
            next().await;
        }
    };
    office.lab.away(true);
    waits(13).await;
    // Somebody stops it, and has it tried again: it has another day.
    host.engine.cancel(run, ADMIN).await.unwrap();
    host.engine.retry(run).await.unwrap();
    waits(13).await;
    assert_eq!(host.engine.run(run).unwrap().attempts, []);

    // It is back, and what it answers to the run's changes is lost before it is away again.
    office.lab.away(false);
    office.lab.cut(Cut::After);
    next().await;
    assert_eq!((head().state, head().away_since), (RunState::Queued, None), "{:?}", head());
    office.lab.away(true);
    next().await;
    waits(1).await;
    office.lab.away(false);
    next().await;
    let detail = host.engine.run(run).unwrap();
    assert_eq!((detail.summary.state, detail.summary.code.as_deref()), (RunState::Succeeded, Some("applied")));
    assert_eq!(detail.attempts.len(), 1, "its script ran once: {detail:?}");
    assert_eq!(office.field(id, "city").await, json!(office.name));
    let rows = json!({ "domain": [["x_name", "=", format!("run {}", detail.summary.key)]] });
    assert_eq!(office.admin("x_triggerbox_run", "search_count", rows).await, json!(1), "and was applied once");
    office.close();
}
