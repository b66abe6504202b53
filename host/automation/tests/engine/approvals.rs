//! Changes that somebody must say yes to.

use std::{sync::Arc, time::Duration};

use guest_artifacts::LEAD_SCORING;
use triggerbox_automation::{
    Clock, Config,
    engine::Readable,
    proposals::{Proposal, ProposalHash, ProposalState},
    runs::{RunId, RunState},
    scripts::{registry, upload},
};
use triggerbox_llm::{Models, Services, config::Budgets, http::Web};
use triggerbox_model::{
    event::Trigger,
    grants::{GrantOperation, Policy},
    value::{Id, Value},
};
use triggerbox_sandbox::inspect::embed_manifest;

use crate::{
    provider,
    world::{ADMIN, MANAGER, READER, SAM, World, block_on},
};

fn score(mode: &str) -> String {
    format!(
        "name = \"score\"\nmodel = \"crm.lead\"\nmode = \"{mode}\"\ntrigger = {{ on = \"created\" }}\n\
         actions = [{{ script = \"lead-scoring\" }}]"
    )
}

/// Sam's lead, and the run that wants to score it.
fn proposed(world: &World, mode: &str) -> (Id, RunId, Proposal) {
    world.script(&LEAD_SCORING);
    world.rule(&score(mode));
    let values = [
        ("name", Value::text("Software for our manufacturing plants")),
        ("email_from", Value::text("ada@cedar.example")),
        ("user_id", Value::link(SAM)),
    ];
    let changed = world.try_change(SAM, vec![crate::world::create("crm.lead", &values)]).unwrap();
    world.settle();
    let lead = changed.committed.events[0].record.id;
    (lead, changed.runs[0], world.engine.proposal(changed.runs[0]).unwrap().unwrap())
}

fn description(world: &World, lead: Id) -> Value {
    world.value("crm.lead", lead, "description")
}

// Shows: F113, F125
#[test]
fn a_recommendation_is_never_applied() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "recommend");
    assert_eq!((proposal.state, world.run(run).summary.state), (ProposalState::Recommended, RunState::Succeeded));
    assert!(!proposal.diff.is_empty());
    assert_eq!(description(&world, lead), Value::Unset);
    assert_eq!(block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err().code(), "already-decided");
}

// Shows: F035, F125
#[test]
fn an_approval_applies_exactly_what_was_shown() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "approve");
    assert_eq!((proposal.state, world.run(run).summary.state), (ProposalState::Waiting, RunState::WaitingApproval));
    assert_eq!(description(&world, lead), Value::Unset);

    let approve = |hash, by| block_on(world.engine.approve(run, hash, by, "fine"));
    assert_eq!(approve(ProposalHash([7; 32]), MANAGER).unwrap_err().code(), "another-proposal");
    for (by, code, words) in [
        (ADMIN, "may-not-approve", "Mitchell Admin owns the rule"),
        (SAM, "may-not-approve", " caused the event, and somebody else must approve"),
        (READER, "approver-lacks-rights", "who approves a change needs the rights for it"),
    ] {
        let refused = approve(proposal.hash, by).unwrap_err();
        let text = refused.to_string();
        assert_eq!(refused.code(), code);
        assert!(text.contains(words) && !text.contains(&format!("user {by}")), "people have names: {text}");
    }
    world.write("res.users", MANAGER, &[("active", Value::Boolean(false))]);
    assert_eq!(approve(proposal.hash, MANAGER).unwrap_err().code(), "unknown-user", "who left");
    world.write("res.users", MANAGER, &[("active", Value::Boolean(true))]);
    assert_eq!(description(&world, lead), Value::Unset);

    approve(proposal.hash, MANAGER).unwrap();
    assert_ne!(description(&world, lead), Value::Unset);
    let after = world.engine.proposal(run).unwrap().unwrap();
    assert_eq!(
        (after.state, after.decided_by, after.note.as_deref()),
        (ProposalState::Approved, Some(MANAGER), Some("fine"))
    );
    assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    assert_eq!(approve(proposal.hash, MANAGER).unwrap_err().code(), "already-decided");
}

#[test]
fn nobody_is_asked_for_a_yes_to_nothing() {
    for mode in ["approve", "recommend"] {
        let world = World::new();
        world.rule(&format!(
            "name = \"star\"\nmodel = \"crm.lead\"\nmode = \"{mode}\"\ntrigger = {{ on = \"manual\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"priority = 3\" }} }}]"
        ));
        let lead = world.lead("Chairs");
        let run = |lead: Id| {
            let runs = block_on(world.engine.fire("star", ADMIN, Trigger::Manual, vec![lead])).unwrap();
            world.settle();
            (runs[0], world.run(runs[0]).summary)
        };
        world.write("crm.lead", lead, &[("priority", Value::text("3"))]);
        let (id, summary) = run(lead);
        assert_eq!((summary.state, summary.code.as_deref()), (RunState::Succeeded, Some("applied")), "{mode}");
        assert!(world.engine.proposal(id).unwrap().is_none(), "it is so already");
        world.write("crm.lead", lead, &[("priority", Value::text("1"))]);
        let (id, _) = run(lead);
        assert!(world.engine.proposal(id).unwrap().is_some(), "{mode}");
        assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("1"));
    }
}

#[test]
fn who_owned_the_rule_when_it_ran_does_not_approve_what_it_wants() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "approve");
    // Whoever edits a rule owns it, and what was proposed before is still its former owner's.
    world.rule_of(READER, &score("recommend"));
    assert_eq!(world.engine.rules().unwrap().rule("score").unwrap().owner, READER);
    for (by, hand) in [(READER, "owns the rule"), (ADMIN, "owned the rule when it ran")] {
        let refused = block_on(world.engine.approve(run, proposal.hash, by, "")).unwrap_err();
        assert_eq!(refused.code(), "may-not-approve");
        assert!(refused.to_string().contains(hand), "{refused}");
    }
    block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap();
    assert_ne!(description(&world, lead), Value::Unset);
}

#[test]
fn what_a_deleted_rule_proposed_is_withdrawn() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "approve");
    world.delete("score");
    let (after, summary) = (world.engine.proposal(run).unwrap().unwrap(), world.run(run).summary);
    assert_eq!((after.state, after.decided_by), (ProposalState::Rejected, Some(ADMIN)));
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Cancelled, Some("rule-gone")));
    for by in [ADMIN, MANAGER] {
        assert_eq!(block_on(world.engine.approve(run, proposal.hash, by, "")).unwrap_err().code(), "already-decided");
        assert_eq!(world.engine.hand_in(run, by).unwrap().is_some(), by == ADMIN, "it was theirs");
    }
    assert_eq!(description(&world, lead), Value::Unset);
}

#[test]
fn what_a_rule_proposes_that_was_deleted_while_it_ran_is_withdrawn() {
    let world = World::new();
    world.script(&LEAD_SCORING);
    world.rule(&score("approve"));
    // In the transaction in which the run ends: whoever deleted it was faster.
    let delete = "CREATE TRIGGER faster BEFORE INSERT ON engine_attempt BEGIN \
                  INSERT INTO engine_rule_version (rule, version, author, at, note, state, body) \
                  SELECT name, version + 1, owner, 0, '', 'deleted', '' FROM engine_rule; DELETE FROM engine_rule; END";
    world.commit(move |conn| conn.execute_batch(delete).map_err(triggerbox_store::db::DbError::from));
    let values = [
        ("name", Value::text("Software for our manufacturing plants")),
        ("email_from", Value::text("ada@cedar.example")),
    ];
    let run = world.change(vec![crate::world::create("crm.lead", &values)]).runs[0];
    world.settle();
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Cancelled, Some("rule-gone")));
    assert_eq!(world.engine.proposal(run).unwrap().unwrap().state, ProposalState::Rejected);
}

// Shows: F125
#[test]
fn the_rights_of_who_approves_count_whatever_they_see_of_what_the_run_read() {
    let world = World::new();
    // Sam sees one of the two leads that the run reads. He may write on partners, but not on countries.
    let country = world.search("res.country", "[]")[0];
    let partner =
        world.create("res.partner", &[("name", Value::text("Chair & Co")), ("country_id", Value::link(country))]);
    for user in [SAM, MANAGER] {
        let values =
            [("name", Value::text("Chairs")), ("partner_id", Value::link(partner)), ("user_id", Value::link(user))];
        world.create("crm.lead", &values);
    }
    let leads = format!("[('partner_id', '=', {partner})]");
    assert_eq!((world.search("crm.lead", &leads).len(), world.search_as(SAM, "crm.lead", &leads).len()), (2, 1));
    let list = "{ script = \"update-record\", parameters = { values = \"city = {lead_ids}\" } }";
    let country_too =
        "{ script = \"update-record\", parameters = { values = \"name = Chairland\", target = \"country_id\" } }";
    let rule = |name: &str, field: &str, actions: &str| {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"res.partner\"\nmode = \"approve\"\n\
             trigger = {{ on = \"updated\", fields = [\"{field}\"] }}\nactions = [{actions}]"
        ));
    };
    rule("list", "phone", list);
    rule("country", "function", &format!("{list}, {country_too}"));

    let approve = |field: &str| {
        let run = world.write("res.partner", partner, &[(field, Value::text("anything"))])[0];
        world.settle();
        let proposal = world.engine.proposal(run).unwrap().unwrap();
        block_on(world.engine.approve(run, proposal.hash, SAM, ""))
    };
    let before = world.value("res.country", country, "name");
    let refused = approve("function").unwrap_err();
    assert_eq!(refused.code(), "approver-lacks-rights", "{refused}");
    assert_eq!(world.value("res.country", country, "name"), before);
    assert_eq!(world.value("res.partner", partner, "city"), Value::Unset);

    approve("phone").unwrap();
    assert_eq!(world.value("res.partner", partner, "city"), Value::text("Chairs, Chairs"));
}

#[test]
fn who_uploaded_the_script_does_not_approve_what_it_wants() {
    let world = World::new();
    let guest = &LEAD_SCORING;
    let upload = upload::inspect(embed_manifest(guest.component, guest.manifest.unwrap()).unwrap()).unwrap();
    let now = world.clock.now();
    world.commit(move |conn| registry::store(conn, &upload, MANAGER, now));
    // It is there already: this keeps the rule only.
    let (lead, run, proposal) = proposed(&world, "approve");
    let refused = block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err();
    assert_eq!(refused.code(), "may-not-approve");
    assert!(refused.to_string().contains("uploaded the script"), "{refused}");
    assert_eq!(description(&world, lead), Value::Unset);
}

// Shows: F125
#[test]
fn an_operation_that_policy_wants_approved_waits_whatever_the_rule_says() {
    let approved_operations = [GrantOperation::Activity].into();
    let policy = Policy { approved_operations, ..Policy::default() };
    let world = World::with(Config { policy, ..Config::default() });
    for (name, how) in [("remind", "activity"), ("note", "note")] {
        world.rule(&format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n\
             actions = [{{ script = \"notify\", parameters = {{ how = \"{how}\", text = \"call them\" }} }}]"
        ));
    }
    world.lead("Chairs");
    world.settle();
    let state = |rule: &str| world.runs_of(rule)[0].state;
    assert_eq!((state("remind"), state("note")), (RunState::WaitingApproval, RunState::Succeeded));
    let waiting = world.engine.proposals(Some(ProposalState::Waiting), None, 10).unwrap();
    assert_eq!(waiting[0].why, "policy wants a yes");
    block_on(world.engine.approve(waiting[0].run, waiting[0].hash, MANAGER, "")).unwrap();
    assert_eq!(world.search("mail.activity", "[('summary', '=', 'call them')]").len(), 1);
}

#[test]
fn a_proposal_that_others_overtook_is_made_anew() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "approve");
    assert_eq!(block_on(world.engine.overtaken(run)).unwrap(), Vec::new());
    world.write("crm.lead", lead, &[("email_from", Value::text("grace@cedar.example"))]);
    let overtaken = block_on(world.engine.overtaken(run)).unwrap();
    let told: Vec<_> = overtaken.iter().map(|one| (one.record.id, one.field.as_str())).collect();
    assert_eq!(told, [(lead, "email_from")], "told before somebody decides");
    let error = block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert_eq!(description(&world, lead), Value::Unset);
    world.settle();
    let fresh = world.engine.proposal(run).unwrap().unwrap();
    assert_eq!(fresh.state, ProposalState::Waiting);
    block_on(world.engine.approve(run, fresh.hash, MANAGER, "")).unwrap();
    assert_ne!(description(&world, lead), Value::Unset);
}

#[test]
fn a_yes_writes_over_nothing_that_was_not_shown() {
    let world = World::new();
    world.rule(
        "name = \"star\"\nmodel = \"crm.lead\"\nmode = \"approve\"\n\
         trigger = { on = \"updated\", fields = [\"phone\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"priority = 3\" } }]",
    );
    let lead = world.lead("Chairs");
    world.write("crm.lead", lead, &[("phone", Value::text("12"))]);
    world.settle();
    let run = world.runs_of("star")[0].id;
    let waiting = || world.engine.proposal(run).unwrap().unwrap();
    // The script read nothing; what it writes over is shown.
    world.write("crm.lead", lead, &[("priority", Value::text("2"))]);
    let overtaken = block_on(world.engine.overtaken(run)).unwrap();
    assert_eq!(overtaken.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["priority"]);
    let error = block_on(world.engine.approve(run, waiting().hash, MANAGER, "")).unwrap_err();
    assert_eq!((error.code(), world.value("crm.lead", lead, "priority")), ("conflict", Value::text("2")));
    world.settle();
    // What it leaves alone may change meanwhile.
    world.write("crm.lead", lead, &[("city", Value::text("Ghent"))]);
    block_on(world.engine.approve(run, waiting().hash, MANAGER, "")).unwrap();
    assert_eq!(world.value("crm.lead", lead, "priority"), Value::text("3"));
}

// Shows: F125
#[test]
fn whoever_caused_a_part_of_it_approves_nothing_of_it() {
    // What they caused together wants a yes, or what follows from it does.
    for (mode, asks) in [("approve", "tidy"), ("auto", "then")] {
        let world = World::new();
        let rule = |name: &str, mode: &str, watched: &str, values: &str| {
            world.rule(&format!(
                "name = \"{name}\"\nmodel = \"crm.lead\"\nmode = \"{mode}\"\ndispatch = \"per-record\"\ndebounce = 60\n\
                 trigger = {{ on = \"updated\", fields = [\"{watched}\"] }}\n\
                 actions = [{{ script = \"update-record\", parameters = {{ values = \"{values}\" }} }}]"
            ));
        };
        rule("tidy", mode, "phone", "city = Ghent");
        rule("then", "approve", "city", "function = Buyer");
        let lead = world.create("crm.lead", &[("name", Value::text("Chairs")), ("user_id", Value::link(SAM))]);
        let phone = |by: Id, text: &str| {
            let call = crate::world::write("crm.lead", &[lead], &[("phone", Value::text(text))]);
            world.try_change(by, vec![call]).unwrap().runs.len()
        };
        assert_eq!([phone(MANAGER, "1"), phone(SAM, "2"), phone(MANAGER, "3")], [1, 0, 0], "one run");
        for _ in 0..2 {
            world.pass(Duration::from_secs(60));
            world.settle();
        }
        let run = &world.runs_of(asks)[0];
        assert_eq!((run.state, run.actor), (RunState::WaitingApproval, MANAGER), "{asks}");
        let proposal = world.engine.proposal(run.id).unwrap().unwrap();
        for by in [MANAGER, SAM] {
            let refused = block_on(world.engine.approve(run.id, proposal.hash, by, "")).unwrap_err();
            assert_eq!(refused.code(), "may-not-approve", "{asks}: {refused}");
            assert!(refused.to_string().contains("caused the event"), "{refused}");
        }
    }
}

#[test]
fn what_a_cancelled_run_wanted_is_not_applied_any_more() {
    let world = World::new();
    let (lead, run, proposal) = proposed(&world, "approve");
    block_on(world.engine.cancel(run, ADMIN)).unwrap();
    let after = world.engine.proposal(run).unwrap().unwrap();
    assert_eq!((after.state, after.decided_by), (ProposalState::Rejected, Some(ADMIN)));
    assert_eq!(block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err().code(), "already-decided");
    assert_eq!((world.run(run).summary.state, description(&world, lead)), (RunState::Cancelled, Value::Unset));
}

#[test]
fn a_proposal_is_refused_or_expires() {
    let world = World::new();
    let (lead, run, _) = proposed(&world, "approve");
    block_on(world.engine.reject(run, MANAGER, "not this one")).unwrap();
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Cancelled, Some("rejected")));

    let world_of_another = World::new();
    let (_, other, proposal) = proposed(&world_of_another, "approve");
    world_of_another.pass(Duration::from_secs(73 * 3_600));
    let error = block_on(world_of_another.engine.approve(other, proposal.hash, MANAGER, "")).unwrap_err();
    assert_eq!(error.code(), "approval-expired");
    world_of_another.settle();
    let summary = world_of_another.run(other).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Cancelled, Some("approval-expired")));
    assert_eq!(description(&world, lead), Value::Unset);
}

/// A rule on new leads whose actions are these; `hook` sends them to a service.
fn sender(world: &World, name: &str, url: &str, actions: &[&str]) {
    let hook = format!(
        "{{ script = \"call-webhook\", parameters = {{ url = \"{url}/hook\" }}, \
         http = [{{ methods = [\"POST\"], url = \"{url}/hook\", private = true }}] }}"
    );
    let all: Vec<_> = actions.iter().map(|action| if *action == "hook" { hook.as_str() } else { *action }).collect();
    world.rule(&format!(
        "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\nactions = [{}]",
        all.join(", ")
    ));
}

// Shows: F035, F125
#[test]
fn what_waits_for_a_yes_has_sent_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(provider::Server::start(vec![provider::Step::status(200, "")]));
    let web = Some(Web::new(&[], &provider::env, None).unwrap());
    let services =
        Services { models: Models::off(), web, budgets: Budgets::default(), clock: provider::TestClock::new() };
    let approved_operations = [GrantOperation::Activity, GrantOperation::Write].into();
    let policy = Policy { approved_operations, ..Policy::default() };
    let world = World::with(Config { policy, outside: Some(Arc::new(services)), ..Config::default() });
    let notify =
        |how: &str| format!("{{ script = \"notify\", parameters = {{ how = \"{how}\", text = \"call them\" }} }}");
    let (note, activity) = (notify("note"), notify("activity"));
    let make =
        "{ script = \"create-record\", parameters = { model = \"res.partner\", values = \"name = Chair & Co\" } }";
    sender(&world, "free", &server.url, &[note.as_str(), "hook"]);
    sender(&world, "hook-last", &server.url, &[activity.as_str(), "hook"]);
    sender(&world, "hook-first", &server.url, &["hook", activity.as_str()]);
    sender(&world, "behind", &server.url, &[make, "hook"]);
    sender(&world, "waits", &server.url, &[activity.as_str()]);
    // What it adds to the new company is a write, which nobody knows while the scripts run.
    world.rule(
        "name = \"stamp\"\nmodel = \"res.partner\"\ntrigger = { on = \"before\", writes = [\"create\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let lead = world.lead("Chairs");
    let ran = |rule: &str| {
        let run = block_on(world.engine.fire(rule, ADMIN, Trigger::Manual, vec![lead])).unwrap()[0];
        world.settle();
        let detail = world.run(run);
        let refused = detail.attempts.iter().any(|attempt| attempt.report.to_string().contains("sent-already"));
        let message = detail.summary.message.unwrap_or_default();
        (detail.summary.state, message.contains("policy wants somebody's yes"), refused)
    };
    let sent = || server.seen().len();
    assert_eq!((ran("free"), sent()), ((RunState::Succeeded, false, false), 1));
    assert_eq!((ran("hook-last"), sent()), ((RunState::Failed, true, false), 1), "nothing is sent");
    assert_eq!((ran("hook-first"), sent()), ((RunState::Failed, true, true), 2), "nothing waits");
    assert_eq!((ran("behind"), sent()), ((RunState::Failed, true, true), 3));
    assert_eq!((ran("waits"), sent()), ((RunState::WaitingApproval, false, false), 3));
    assert!(world.search("res.partner", "[('name', '=', 'Chair & Co')]").is_empty());
    let waiting = world.engine.proposals(None, None, 10).unwrap();
    assert_eq!(waiting.iter().map(|one| one.rule.as_str()).collect::<Vec<_>>(), ["waits"]);

    // A try that has sent something is followed by none that waits.
    let first = world.runs_of("free")[0].id;
    sender(&world, "free", &server.url, &[activity.as_str()]);
    let again = "UPDATE engine_run SET state = 'failed' WHERE id = ?1";
    world.commit(move |conn| conn.execute(again, [first]).map_err(triggerbox_store::db::DbError::from));
    block_on(world.engine.retry(first)).unwrap();
    world.settle();
    let summary = world.run(first).summary;
    assert_eq!((summary.state, summary.attempt), (RunState::Failed, 2), "{summary:?}");
    assert!(summary.message.unwrap_or_default().contains("has sent a request"));
}

#[test]
fn a_proposal_that_cannot_be_read_hides_no_others_and_is_only_rejected() {
    let world = World::new();
    let (_, run, proposal) = proposed(&world, "approve");
    world.lead("Chairs for two halls");
    world.settle();
    let damage = "UPDATE engine_proposal SET diff = x'00' WHERE run = ?1";
    world.commit(move |conn| conn.execute(damage, [run]).map_err(triggerbox_store::db::DbError::from));
    let all = world.engine.proposals(Some(ProposalState::Waiting), None, 10).unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[1].why.contains("cannot be shown any more") && !all[0].why.contains("cannot be shown"), "{all:?}");
    let refused = block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err();
    assert_eq!(refused.code(), "damaged-proposal");
    // Nobody can tell whose it is.
    let nobodys = Readable::These(std::collections::BTreeMap::new());
    assert!(Readable::All.all_of(&all[1]) && !nobodys.all_of(&all[1]));
    let also = "UPDATE engine_proposal SET changes = x'00' WHERE run = ?1";
    world.commit(move |conn| conn.execute(also, [run]).map_err(triggerbox_store::db::DbError::from));
    let refused = block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap_err();
    assert_eq!(refused.code(), "damaged-proposal");
    block_on(world.engine.reject(run, MANAGER, "")).unwrap();
    assert_eq!(world.run(run).summary.state, RunState::Cancelled);
}
