//! The queue: leases, fences, rules that meet on one record.

use std::time::Duration;

use guest_artifacts::{DEMO_LOOP_FOREVER, HIGH_VALUE_ORDER};
use triggerbox_automation::{
    Config, Origin,
    engine::{Fault, Work},
    runs::{RunId, RunState},
};
use triggerbox_model::{call::Call, event::Trigger, value::Value};
use triggerbox_store::db::DbError;

use crate::world::{ADMIN, World, block_on, create, fields, write};

fn queued(world: &World) -> RunId {
    world.script(&HIGH_VALUE_ORDER);
    world.rule(
        "name = \"button\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
         actions = [{ script = \"high-value-order\" }]",
    );
    let order = world.search("sale.order", "[]")[0];
    block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0]
}

/// As if a worker had taken the run and was never heard of again.
fn lose(world: &World, run: RunId) {
    world.commit(move |conn| {
        let sql = "UPDATE engine_run SET state = 'running', attempt = attempt + 1, fence = fence + 1, lease_until = at + 60000 \
                   WHERE id = ?1";
        conn.execute(sql, [run]).map_err(DbError::from)
    });
}

#[test]
fn a_run_whose_lease_is_over_is_given_to_another_worker() {
    let world = World::new();
    let run = queued(&world);
    lose(&world, run);
    assert_eq!(world.settle(), 0, "somebody has it");
    world.pass(Duration::from_secs(121));
    assert_eq!(world.settle(), 1);
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.attempt), (RunState::Succeeded, 2));
}

// Shows: F009
#[test]
fn a_run_that_waits_is_skipped_when_its_rule_is_on_another_model_by_then() {
    let world = World::with(Config { pause_after: 1, ..Config::default() });
    let rule = |model: &str, field: &str| {
        world.rule(&format!(
            "name = \"tidy\"\nmodel = \"{model}\"\ndebounce = 60\ntrigger = {{ on = \"updated\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"{field} = Ghent\" }} }}]"
        ));
    };
    let leads = world.search("crm.lead", "[]");
    let order = world.search("sale.order", "[]").into_iter().find(|order| leads.contains(order)).unwrap();
    let city = world.value("crm.lead", order, "city");
    rule("sale.order", "note");
    let before = world.write("sale.order", order, &[("client_order_ref", Value::text("7"))]);
    rule("crm.lead", "city");
    // A lead does not join the run of an order.
    let other = leads.into_iter().find(|lead| *lead != order).unwrap();
    let after = world.write("crm.lead", other, &[("phone", Value::text("7"))]);
    assert_eq!((before.len(), after.len()), (1, 1));
    world.pass(Duration::from_secs(61));
    world.settle();
    let ended = |run: RunId| world.run(run).summary;
    let skipped = ended(before[0]);
    assert_eq!((skipped.state, skipped.code.as_deref()), (RunState::Skipped, Some("model-changed")));
    assert!(skipped.message.unwrap().contains("on `sale.order`, and the rule is on `crm.lead` now"));
    assert_eq!(world.value("crm.lead", order, "city"), city);
    assert_eq!(ended(after[0]).state, RunState::Succeeded, "that was no failure of the rule");
}

#[test]
fn no_more_runs_of_a_rule_work_at_once_than_it_says() {
    for (says, most) in [("concurrency = 1", 1), ("concurrency = 3", 3), ("", 10)] {
        let world = World::new();
        world.script(&HIGH_VALUE_ORDER);
        for (name, says) in [("button", says), ("other", "")] {
            world.rule(&format!(
                "name = \"{name}\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"per-record\"\n{says}\n\
                 actions = [{{ script = \"high-value-order\" }}]"
            ));
        }
        let orders = world.search("sale.order", "[]")[..12].to_vec();
        let runs = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, orders.clone())).unwrap();
        assert_eq!(runs.len(), 12, "on records of their own: no lane keeps one behind another");
        let (at_work, waiting) = runs.split_at(most);
        for run in at_work {
            lose(&world, *run);
        }
        assert_eq!(world.settle(), 0, "{says}: as many work as may");
        assert!(waiting.iter().all(|run| world.run(*run).summary.state == RunState::Queued), "{says}");
        // That is its own matter.
        let others = block_on(world.engine.fire("other", ADMIN, Trigger::Manual, orders[..1].to_vec())).unwrap();
        assert_eq!(world.settle(), 1, "{says}");
        assert_eq!(world.run(others[0]).summary.state, RunState::Succeeded);
        // One that ends lets one in, and so on to the last.
        block_on(world.engine.cancel(at_work[0], ADMIN)).unwrap();
        assert_eq!(world.settle(), waiting.len(), "{says}");
        assert!(waiting.iter().all(|run| world.run(*run).summary.state == RunState::Succeeded), "{says}");
    }
}

#[test]
fn a_run_that_takes_its_host_down_again_and_again_is_dead_until_somebody_says_otherwise() {
    let world = World::new();
    let run = queued(&world);
    for _ in 0..5 {
        lose(&world, run);
        world.pass(Duration::from_secs(121));
        block_on(world.engine.tick()).unwrap();
    }
    let summary = world.run(run).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Dead, Some("crashed")));
    assert_eq!(world.settle(), 0);
    block_on(world.engine.retry(run)).unwrap();
    assert_eq!(world.settle(), 1);
    assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    assert_eq!(block_on(world.engine.retry(run)).unwrap_err().code(), "run-not-retriable");
}

#[test]
fn no_two_runs_wait_for_each_other() {
    let world = World::new();
    world.rule(
        "name = \"tidy\"\nmodel = \"crm.lead\"\ndebounce = 60\ntrigger = { on = \"updated\", fields = [\"phone\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let [one, other, third] = ["Chairs", "Tables", "Lamps"].map(|name| world.lead(name));
    let call = |leads: &[u32], phone: &str| {
        world.change(vec![write("crm.lead", leads, &[("phone", Value::text(phone))])]).runs
    };
    let both = call(&[one, other], "1")[0];
    block_on(world.engine.cancel(both, ADMIN)).unwrap();
    let first = call(&[one], "2")[0];
    // Behind the other one on one record, and alone on the second.
    block_on(world.engine.retry(both)).unwrap();
    let behind = call(&[third, other], "3");
    assert_eq!(behind.len(), 1, "who joined the first one would have it wait for one that waits for it");
    assert!(call(&[other], "4").is_empty(), "and those that follow join this one");
    world.pass(Duration::from_secs(61));
    assert_eq!(world.settle(), 3);
    for run in [both, first, behind[0]] {
        assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    }
    // Where nobody stands, a run that waits takes in more records.
    let first = call(&[one], "5");
    assert!(call(&[other], "6").is_empty());
    assert_eq!(world.run(first[0]).firing.records, [one, other]);
    world.pass(Duration::from_secs(61));
    assert_eq!((world.settle(), world.count("SELECT count(*) FROM engine_lane")), (1, 0));
}

// Shows: F086
#[test]
fn a_run_that_waits_takes_in_others_up_to_a_thousand_records() {
    let world = World::new();
    world.rule(
        "name = \"tidy\"\nmodel = \"crm.lead\"\ndebounce = 60\ntrigger = { on = \"updated\", fields = [\"phone\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let new = vec![fields(&[("name", Value::text("Chairs"))]); 1_002];
    world.change(vec![Call::Create { model: "crm.lead".to_owned(), values: new }]);
    let mut leads = world.search("crm.lead", "[('name', '=', 'Chairs')]");
    leads.sort_unstable();
    let call = |leads: &[u32], phone: &str| {
        world.change(vec![write("crm.lead", leads, &[("phone", Value::text(phone))])]).runs
    };
    let first = call(&leads[..999], "1")[0];
    assert!(call(&leads[999..1_000], "2").is_empty(), "there is room for one more");
    let second = call(&leads[1_000..1_001], "3");
    assert_eq!(second.len(), 1, "and for no other");
    // Each record's next fire joins the run that it is in; what is new joins the newest.
    assert!(call(&leads[..1], "4").is_empty());
    assert!(call(&leads[1_001..], "5").is_empty());
    for (run, records) in [(first, &leads[..1_000]), (second[0], &leads[1_000..])] {
        let detail = world.run(run);
        assert_eq!((detail.firing.records.as_slice(), detail.summary.class.as_str()), (records, "async"));
        let about = world.count(&format!("SELECT count(*) FROM engine_about WHERE run = {run}"));
        assert_eq!(usize::try_from(about).unwrap(), records.len());
    }
}

#[test]
fn a_run_whose_request_cannot_be_read_is_over_and_keeps_nobody_from_its_turn() {
    let world = World::new();
    let damaged = queued(&world);
    let order = world.search("sale.order", "[]")[1];
    let other = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0];
    let same = world.run(damaged).firing.records;
    let behind = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, same)).unwrap()[0];
    let damage = "UPDATE engine_run SET request = json_set(request, '$.trigger.kind', 'nothing known') WHERE id = ?1";
    world.commit(move |conn| conn.execute(damage, [damaged]).map_err(DbError::from));
    let detail = world.run(damaged);
    assert!(detail.firing.warnings[0].contains("cannot be read any more"), "it can be looked at: {detail:?}");
    assert_eq!(world.settle(), 2);
    assert!([other, behind].iter().all(|run| world.run(*run).summary.state == RunState::Succeeded));
    let summary = world.run(damaged).summary;
    assert_eq!((summary.state, summary.code.as_deref()), (RunState::Failed, Some("damaged-run")));
    assert_eq!(block_on(world.engine.retry(damaged)).unwrap_err().code(), "damaged-run");
    assert_eq!(world.count("SELECT count(*) FROM engine_lane"), 0);
    // Nor from another try.
    world.commit(move |conn| conn.execute("UPDATE engine_run SET state = 'failed'", []).map_err(DbError::from));
    let queued = block_on(world.engine.requeue("button", RunState::Failed)).unwrap();
    assert_eq!(queued, [other, behind]);
}

#[test]
fn what_a_try_came_to_and_could_not_be_kept_is_told_and_tried_again() {
    let world = World::new();
    let run = queued(&world);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |fault: &Fault<'_>| tell.send((fault.work, fault.run, fault.error.to_string())).unwrap();
    assert!(world.engine.observe_faults(Box::new(tell)));
    let batch = |sql: &'static str| world.commit(move |conn| conn.execute_batch(sql).map_err(DbError::from));
    batch("CREATE TRIGGER no_room BEFORE INSERT ON engine_attempt BEGIN SELECT RAISE(ABORT, 'there is no room'); END");
    let why = |run: RunId| {
        let summary = world.run(run).summary;
        assert!(summary.message.as_deref().unwrap_or_default().contains("there is no room"), "{summary:?}");
        (summary.state, summary.attempt, summary.code)
    };
    for tries in 1..=9 {
        assert!(block_on(world.engine.settle()).unwrap_err().to_string().contains("there is no room"));
        let (work, about, error) = told.try_recv().unwrap();
        assert_eq!((work, about, error.contains("there is no room")), (Work::Run, Some(run), true));
        let state = if tries == 9 { RunState::Dead } else { RunState::Queued };
        assert_eq!(why(run), (state, tries, Some("backend".to_owned())));
        world.pass(Duration::from_secs(601));
    }
    batch("DROP TRIGGER no_room");
    block_on(world.engine.retry(run)).unwrap();
    assert_eq!((world.settle(), world.run(run).summary.state), (1, RunState::Succeeded));

    // Rules that cannot be read: nothing is due, and nothing begins.
    let next = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![world.search("sale.order", "[]")[0]]));
    batch("UPDATE engine_rule SET body = '{' || body");
    block_on(async {
        let workers = world.engine.start();
        let works = [told.recv().await.unwrap().0, told.recv().await.unwrap().0];
        assert_eq!(works, [Work::Clock, Work::Queue]);
        workers.drain().await;
    });
    assert_eq!(world.run(next.unwrap()[0]).summary.state, RunState::Queued);
}

#[test]
fn a_record_that_is_named_twice_is_one_record() {
    let world = World::new();
    queued(&world);
    world.settle();
    let orders = world.search("sale.order", "[]");
    let (order, other) = (orders[0], orders[1]);
    let run = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order, other, order])).unwrap()[0];
    assert_eq!(world.run(run).firing.records, [order, other]);
    let delivered = block_on(world.engine.deliver("button", Trigger::Manual, vec![order, order], "7")).unwrap();
    assert_eq!(world.settle(), 2);
    for run in [run, delivered.runs[0]] {
        assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    }
    // As it was kept by a program that asked nobody.
    block_on(world.engine.stop(None, ADMIN, "stocktaking")).unwrap();
    let run = block_on(world.engine.fire("button", ADMIN, Trigger::Manual, vec![order])).unwrap()[0];
    let twice = "UPDATE engine_run SET request = json_set(request, '$.records[1]', record) WHERE id = ?1";
    world.commit(move |conn| conn.execute(twice, [run]).map_err(DbError::from));
    block_on(world.engine.cancel(run, ADMIN)).unwrap();
    block_on(world.engine.retry(run)).unwrap();
    block_on(world.engine.go(None)).unwrap();
    assert_eq!((world.settle(), world.run(run).summary.state), (1, RunState::Succeeded));
    world.rule(
        "name = \"each\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
         actions = [{ script = \"high-value-order\" }]",
    );
    let runs = block_on(world.engine.fire("each", ADMIN, Trigger::Manual, vec![order, order, other])).unwrap();
    assert_eq!((runs.len(), world.settle()), (2, 2));
    assert_eq!(world.count("SELECT count(*) FROM engine_lane"), 0);
}

#[test]
fn rules_that_meet_on_one_record_lose_no_update() {
    let world = World::new();
    let letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for letter in letters {
        world.rule(&format!(
            "name = \"append-{letter}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = {{city}}{letter}\" }} }}]"
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lead = world.create("crm.lead", &[("name", Value::text("Chairs")), ("city", Value::text("-"))]);
    runtime.block_on(async {
        let workers = world.engine.start();
        for letter in letters {
            let run = world.runs_of(&format!("append-{letter}"))[0].id;
            assert_eq!(world.engine.wait(run).await.unwrap().summary.state, RunState::Succeeded);
        }
        workers.drain().await;
    });
    let Value::Text(city) = world.value("crm.lead", lead, "city") else { panic!("no text") };
    let mut found: Vec<char> = city.chars().collect();
    found.sort_unstable();
    assert_eq!(found.into_iter().collect::<String>(), "-abcdefgh");
}

#[test]
fn a_run_begins_with_the_event_that_queues_it_where_workers_have_nothing_to_do() {
    let world = World::new();
    world.rule(
        "name = \"move\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    block_on(async {
        world.engine.tick().await.unwrap();
        let commits = world.engine.committer().commits();
        let workers = world.engine.start();
        let lead = create("crm.lead", &[("name", Value::text("Chairs"))]);
        // Workers that have tried one have looked through the queue, and wait.
        let first = world.engine.change(Origin::user(ADMIN), vec![lead.clone()]).await.unwrap();
        world.engine.wait(first.runs[0]).await.unwrap();
        let before = *commits.borrow();
        let changed = world.engine.change(Origin::user(ADMIN), vec![lead.clone()]).await.unwrap();
        let run = world.engine.wait(changed.runs[0]).await.unwrap();
        assert_eq!(run.summary.state, RunState::Succeeded, "{run:?}");
        assert_eq!(*commits.borrow() - before, 2, "one with the event, and one with its end");
        // What is begun is tried before they are gone.
        let changed = world.engine.change(Origin::user(ADMIN), vec![lead]).await.unwrap();
        workers.drain().await;
        assert_eq!(world.run(changed.runs[0]).summary.state, RunState::Succeeded);
    });
    world.lead("Nobody is there");
    assert_eq!(world.runs_of("move")[3].state, RunState::Queued);
}

#[test]
fn a_run_that_is_due_later_begins_when_it_is_time() {
    let world = World::new();
    world.rule(
        "name = \"later\"\nmodel = \"crm.lead\"\ndebounce = 5\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    block_on(async {
        let workers = world.engine.start();
        let lead = create("crm.lead", &[("name", Value::text("Chairs"))]);
        let changed = world.engine.change(Origin::user(ADMIN), vec![lead]).await.unwrap();
        assert_eq!(world.run(changed.runs[0]).summary.state, RunState::Queued);
        world.pass(Duration::from_secs(5));
        let run = world.engine.wait(changed.runs[0]).await.unwrap();
        assert_eq!(run.summary.state, RunState::Succeeded, "{run:?}");
        workers.drain().await;
    });
}

#[test]
fn a_run_that_is_cancelled_while_it_runs_stops_and_applies_nothing() {
    let world = World::new();
    world.script(&DEMO_LOOP_FOREVER);
    world.rule(
        "name = \"endless\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
         actions = [{ script = \"demo-loop-forever\" }]",
    );
    let order = world.search("sale.order", "[]")[0];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let workers = world.engine.start();
        let run = world.engine.fire("endless", ADMIN, Trigger::Manual, vec![order]).await.unwrap()[0];
        while world.run(run).summary.state == RunState::Queued {
            tokio::task::yield_now().await;
        }
        world.engine.cancel(run, ADMIN).await.unwrap();
        workers.drain().await;
        let detail = world.run(run);
        assert_eq!(detail.summary.state, RunState::Cancelled);
        assert!(detail.attempts.is_empty(), "{detail:?}");
    });
}

// Shows: F010
#[test]
fn a_record_that_no_longer_matches_when_the_run_starts_is_left_out() {
    for (again, ran) in [("", true), ("judge-again = true", false)] {
        let world = World::new();
        world.rule(&format!(
            "name = \"hot\"\nmodel = \"crm.lead\"\ndomain = \"[('priority', '=', '3')]\"\n{again}\n\
             trigger = {{ on = \"created\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        ));
        let lead = world.create("crm.lead", &[("name", Value::text("Chairs")), ("priority", Value::text("3"))]);
        world.write("crm.lead", lead, &[("priority", Value::text("0"))]);
        world.settle();
        assert_eq!(world.value("crm.lead", lead, "city") == Value::text("Ghent"), ran);
        let state = world.runs_of("hot")[0].state;
        assert_eq!(state, if ran { RunState::Succeeded } else { RunState::Skipped });
    }
}
