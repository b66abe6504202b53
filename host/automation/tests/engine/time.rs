//! What the clock fires: schedules, and dates of records that come due.

use std::time::Duration;

use guest_artifacts::{HIGH_VALUE_ORDER, LEAD_SCORING};
use triggerbox_automation::{
    Clock,
    diagnose::diagnose,
    rule::stored::{self, Edit, Ownership},
    runs::RunState,
};
use triggerbox_model::{event::Trigger, value::Value};

use crate::world::{ADMIN, MANAGER, World, block_on};

const HOUR: Duration = Duration::from_secs(3_600);

fn schedule(world: &World, more: &str) {
    world.script(&HIGH_VALUE_ORDER);
    world.rule(&format!(
        "name = \"daily\"\nmodel = \"sale.order\"\nactions = [{{ script = \"high-value-order\" }}]\n[trigger]\non = \"schedule\"\n{more}"
    ));
    // From now on its slots count.
    assert_eq!(world.settle(), 0);
}

fn slots(world: &World) -> Vec<(String, u32)> {
    let runs = world.runs_of("daily").into_iter();
    runs.map(|run| match world.run(run.id).firing.trigger {
        Trigger::Scheduled(slot) => (slot.due, slot.missed),
        other => panic!("{other:?}"),
    })
    .collect()
}

// Shows: F006, F033
#[test]
fn a_schedule_runs_once_for_each_slot() {
    let world = World::new();
    schedule(&world, "cron = \"0 11 * * *\"\nzone = \"Europe/Brussels\"");
    assert_eq!(world.engine.next_slots("daily", 2).unwrap()[1].to_string(), "2026-11-21T10:00:00Z");
    world.pass(HOUR / 4);
    assert_eq!(world.settle(), 0);
    world.pass(HOUR / 4);
    assert_eq!(world.settle(), 1);
    assert_eq!(world.settle(), 0, "the slot is taken");
    world.pass(24 * HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(slots(&world), [("2026-11-20T10:00:00Z".into(), 0), ("2026-11-21T10:00:00Z".into(), 0)]);
}

#[test]
fn slots_missed_for_less_than_the_window_are_made_up_for_by_one_run() {
    let world = World::new();
    schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"\ncatch-up = 300");
    world.pass(3 * HOUR);
    world.settle();
    world.pass(48 * HOUR);
    world.settle();
    assert_eq!(slots(&world), [("2026-11-20T12:00:00Z".into(), 2), ("2026-11-22T12:00:00Z".into(), 4)]);
    let missed = world.engine.suppressed(None, Some("daily"), 10).unwrap();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].reason.starts_with("missed: 43 slots"), "{missed:?}");
}

#[test]
fn a_clock_that_is_put_back_runs_no_slot_twice_and_a_restart_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.db");
    let now = crate::world::NOW.parse().unwrap();
    let world = World::on(triggerbox_store::db::Database::create_demo(&path, now).unwrap(), Default::default());
    schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"");
    world.pass(HOUR);
    assert_eq!(world.settle(), 1);
    world.clock.set("2026-11-20T09:45:00Z".parse().unwrap());
    assert_eq!(world.settle(), 0);
    world.pass(HOUR / 2);
    assert_eq!(world.settle(), 0, "10 o'clock, again");
    drop(world);
    let database = triggerbox_store::db::Database::open(&path, triggerbox_store::db::Mode::Write).unwrap();
    let world = World::on(database, Default::default());
    world.clock.set("2026-11-20T12:01:00Z".parse().unwrap());
    assert_eq!(world.settle(), 1);
    let due: Vec<String> = slots(&world).into_iter().map(|(due, _)| due).collect();
    assert_eq!(due, ["2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z"]);
    assert_eq!(slots(&world)[1].1, 1, "11 o'clock passed while nobody was there");
}

// Shows: F006
#[test]
fn a_rule_that_was_deleted_leaves_no_times_to_one_of_its_name() {
    let world = World::new();
    let hourly = "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"";
    schedule(&world, hourly);
    world.pass(HOUR);
    assert_eq!(world.settle(), 1);
    let at = world.clock.now();
    world.commit(move |conn| {
        let edit = Edit { by: ADMIN, at, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
        stored::delete(conn, "daily", &edit)
    });
    world.pass(3 * HOUR);
    // Nothing is made up for that was before it.
    schedule(&world, hourly);
    world.pass(HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(slots(&world)[1], ("2026-11-20T14:00:00Z".to_owned(), 0));

    // Times that are done are let go with what else is known by a key.
    let kept = || world.count("SELECT count(*) FROM engine_slot");
    assert_eq!(kept(), 1);
    block_on(world.engine.retain()).unwrap();
    assert_eq!(kept(), 1);
    world.pass(8 * 24 * HOUR);
    block_on(world.engine.retain()).unwrap();
    assert_eq!(kept(), 0);
}

/// A rule on deadlines, with a run for each lead.
fn deadlines(world: &World, more: &str) {
    world.rule(&format!(
        "name = \"late\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\n{more}\n\
         trigger = {{ on = \"time\", field = \"date_deadline\", delay = 0, unit = \"days\" }}\n\
         actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
    ));
    for lead in world.search("crm.lead", "[('date_deadline', '!=', False), ('active', 'in', [True, False])]") {
        world.write("crm.lead", lead, &[("date_deadline", Value::Unset)]);
    }
    assert_eq!(world.settle(), 0);
}

fn due(world: &World, date: &str) -> u32 {
    world.create("crm.lead", &[("name", Value::text("Chairs")), ("date_deadline", Value::Date(date.into()))])
}

fn late(world: &World) -> Vec<u32> {
    world.runs_of("late").into_iter().filter_map(|run| run.record).collect()
}

// Shows: F004
#[test]
fn what_is_archived_comes_due_only_where_the_domain_speaks_of_it() {
    let world = World::new();
    deadlines(&world, "");
    let (shown, archived) = (due(&world, "2026-11-21"), due(&world, "2026-11-21"));
    world.write("crm.lead", archived, &[("active", Value::Boolean(false))]);
    world.pass(15 * HOUR);
    world.settle();
    assert_eq!(late(&world), [shown]);
    let causes = |record| {
        let (policy, now) = (&world.engine.config().policy, world.clock.now());
        let causes = diagnose(world.engine.database(), policy, "late", Some(record), now).unwrap();
        causes.iter().any(|cause| cause.code == "record-archived")
    };
    assert_eq!([causes(shown), causes(archived)], [false, true]);

    deadlines(&world, "domain = \"[('active', 'in', [True, False])]\"");
    let archived = due(&world, "2026-11-22");
    world.write("crm.lead", archived, &[("active", Value::Boolean(false))]);
    world.pass(24 * HOUR);
    world.settle();
    assert_eq!(late(&world), [shown, archived]);
    assert!(!causes(archived));
}

// Shows: F004, F006
#[test]
fn a_clock_that_was_ahead_for_a_while_keeps_no_rule_from_its_times() {
    let world = World::new();
    schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"");
    deadlines(&world, "");
    let met = due(&world, "2026-11-21");
    world.pass(HOUR);
    assert_eq!(world.settle(), 1);
    world.pass(30 * 24 * HOUR);
    assert_eq!(world.settle(), 2);
    world.clock.set("2026-11-20T10:35:00Z".parse().unwrap());
    let new = due(&world, "2026-11-21");
    assert_eq!(world.settle(), 0, "10 o'clock is taken");
    world.pass(HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(slots(&world).last().unwrap(), &("2026-11-20T11:00:00Z".to_owned(), 0));
    world.pass(13 * HOUR);
    world.settle();
    assert_eq!(late(&world), [met, new], "each once");
}

// Shows: F004, F042
#[test]
fn of_very_many_that_come_due_at_once_the_rest_comes_with_the_next_looks() {
    let world = World::new();
    deadlines(&world, "max-records = 2");
    let leads: Vec<u32> = (0..5).map(|_| due(&world, "2026-11-21")).collect();
    world.pass(15 * HOUR);
    let looks = [2, 2, 1, 0].map(|expected| {
        let ran = world.settle();
        world.pass(HOUR / 60);
        (ran, expected)
    });
    assert!(looks.iter().all(|(ran, expected)| ran == expected), "{looks:?}");
    assert_eq!(late(&world), leads, "each once");
    assert_eq!(world.engine.suppressed(None, None, 10).unwrap(), []);
}

// Shows: F004, F042
#[test]
fn a_rule_that_looks_back_takes_up_what_was_ever_due_and_then_waits() {
    let world = World::new();
    for lead in world.search("crm.lead", "[('date_deadline', '!=', False), ('active', 'in', [True, False])]") {
        world.write("crm.lead", lead, &[("date_deadline", Value::Unset)]);
    }
    let past: Vec<u32> = ["2001-01-01", "2026-11-19", "2026-11-19"].map(|date| due(&world, date)).into();
    let rule = |more: &str| {
        world.rule(&format!(
            "name = \"late\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\nmax-records = 2\n{more}\n\
             trigger = {{ on = \"time\", field = \"date_deadline\", delay = 0, unit = \"days\", past = true }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        ));
    };
    // The first look is that of the rule that is on.
    rule("active = false");
    assert_eq!(world.settle(), 0);
    rule("");
    for expected in [2, 1, 0] {
        assert_eq!(world.settle(), expected);
        world.pass(HOUR / 60);
    }
    assert_eq!(late(&world), past, "the earliest first");
    let _before = due(&world, "2026-11-18");
    let next = due(&world, "2026-11-21");
    world.pass(15 * HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(late(&world).last(), Some(&next));
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_pause_takes_nothing_of_what_was_due_before_the_first_look() {
    let world = World::new();
    for lead in world.search("crm.lead", "[('date_deadline', '!=', False), ('active', 'in', [True, False])]") {
        world.write("crm.lead", lead, &[("date_deadline", Value::Unset)]);
    }
    let mut past: Vec<u32> = ["2001-01-01", "2026-11-17", "2026-11-18"].map(|date| due(&world, date)).into();
    let rule = |more: &str| {
        world.rule(&format!(
            "name = \"late\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\nmax-records = 1\n{more}\n\
             trigger = {{ on = \"time\", field = \"date_deadline\", delay = 0, unit = \"days\", past = true }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        ));
    };
    rule("");
    assert_eq!(world.settle(), 1);
    // What comes due meanwhile waits for the past, in a pause, too.
    past.push(due(&world, "2026-11-21"));
    world.pass(15 * HOUR);
    block_on(world.engine.pause("late", "a look at it")).unwrap();
    due(&world, "2026-11-22");
    world.pass(24 * HOUR);
    assert_eq!(world.settle(), 0);
    block_on(world.engine.resume("late")).unwrap();
    assert_eq!(world.settle(), 1);
    // What is taken is known as long as there is something before it.
    world.pass(30 * 24 * HOUR);
    block_on(world.engine.retain()).unwrap();
    rule("active = false");
    due(&world, "2026-12-23");
    world.pass(24 * HOUR);
    assert_eq!(world.settle(), 0);
    rule("");
    for expected in [1, 1, 0, 0] {
        assert_eq!(world.settle(), expected);
        world.pass(HOUR / 60);
    }
    assert_eq!(late(&world), past, "and nothing that came due in a pause");
    let next = due(&world, "2026-12-24");
    world.pass(24 * HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(late(&world).last(), Some(&next));
}

#[test]
fn what_came_due_between_two_pauses_waits_for_the_past_and_is_not_left_out() {
    let world = World::new();
    for lead in world.search("crm.lead", "[('date_deadline', '!=', False), ('active', 'in', [True, False])]") {
        world.write("crm.lead", lead, &[("date_deadline", Value::Unset)]);
    }
    let mut expected: Vec<u32> = ["2001-01-01", "2026-11-17", "2026-11-18"].map(|date| due(&world, date)).into();
    world.rule(
        "name = \"late\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\nmax-records = 1\n\
         trigger = { on = \"time\", field = \"date_deadline\", delay = 0, unit = \"days\", past = true }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    assert_eq!(world.settle(), 1);
    let pause = || block_on(world.engine.pause("late", "a look at it")).unwrap();
    let resume = || block_on(world.engine.resume("late")).unwrap();
    pause();
    due(&world, "2026-11-21");
    world.pass(24 * HOUR);
    resume();
    expected.push(due(&world, "2026-11-22"));
    world.pass(24 * HOUR);
    pause();
    due(&world, "2026-11-23");
    world.pass(15 * HOUR);
    // Switched off as well, it is no more than paused.
    world.set_active("late", false);
    world.pass(9 * HOUR);
    world.set_active("late", true);
    resume();
    for runs in [1, 1, 1, 0] {
        assert_eq!(world.settle(), runs);
        world.pass(HOUR / 60);
    }
    assert_eq!(late(&world), expected, "and nothing that came due in a pause");
    assert_eq!(world.count("SELECT count(*) FROM engine_stretch"), 0);
    expected.push(due(&world, "2026-11-24"));
    world.pass(24 * HOUR);
    assert_eq!(world.settle(), 1);
    assert_eq!(late(&world), expected);
}

#[test]
fn what_is_due_at_the_end_of_a_month_is_not_lost_behind_what_is_due_later_that_day() {
    let world = World::new();
    world.rule(
        "name = \"late\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\nmax-records = 1\n\
         domain = \"[('name', '=', 'Month end')]\"\n\
         trigger = { on = \"after-creation\", delay = 1, unit = \"months\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    assert_eq!(world.settle(), 0);
    let leads = ["2027-01-29T12:00:00Z", "2027-01-29T13:00:00Z", "2027-01-30T06:00:00Z"].map(|created| {
        world.clock.set(created.parse().unwrap());
        world.create("crm.lead", &[("name", Value::text("Month end"))])
    });
    world.clock.set("2027-03-01T00:00:00Z".parse().unwrap());
    for expected in [1, 1, 1, 0] {
        assert_eq!(world.settle(), expected);
        world.pass(HOUR / 60);
    }
    assert_eq!(late(&world), leads, "each once");
}

// Shows: F006
#[test]
fn a_day_on_which_the_clocks_change_has_one_slot() {
    // 02:30 in Brussels: there is none on 29 March, and there are two on 25 October.
    for (from, expected) in [
        ("2026-03-27T12:00:00Z", ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-23T12:00:00Z", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let world = World::new();
        world.clock.set(from.parse().unwrap());
        schedule(&world, "cron = \"30 2 * * *\"\nzone = \"Europe/Brussels\"");
        for _ in 0..3 * 24 * 4 {
            world.pass(HOUR / 4);
            world.settle();
        }
        let due = slots(&world);
        assert_eq!(due, expected.map(|due| (due.to_owned(), 0)), "{from}");
    }
}

#[test]
fn a_machine_that_was_suspended_makes_up_for_its_slots_when_it_wakes() {
    let world = World::new();
    schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"\ncatch-up = 1440");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    world.engine.observe(Box::new(move |attempt| tell.send(attempt.run).unwrap()));
    block_on(async {
        let workers = world.engine.start();
        // Nothing ran meanwhile, no timer either: all at once it is eight hours later.
        world.pass(8 * HOUR);
        told.recv().await.unwrap();
        workers.drain().await;
    });
    assert_eq!(slots(&world), [("2026-11-20T17:00:00Z".into(), 7)]);
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_slot_is_skipped_or_waits_while_an_earlier_one_is_not_finished() {
    for (overlap, expected) in [("skip", 1), ("queue", 3)] {
        let world = World::new();
        schedule(
            &world,
            &format!("every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"\noverlap = \"{overlap}\""),
        );
        block_on(world.engine.stop(None, ADMIN, "maintenance")).unwrap();
        for _ in 0..3 {
            world.pass(HOUR);
            world.settle();
        }
        block_on(world.engine.go(None)).unwrap();
        assert_eq!(world.settle(), expected, "{overlap}");
        let skipped = world.engine.suppressed(None, Some("daily"), 10).unwrap();
        assert_eq!(skipped.iter().filter(|s| s.reason.starts_with("overlap")).count(), 3 - expected, "{overlap}");
    }
}

#[test]
fn a_slot_that_is_tried_again_is_an_earlier_one_that_is_not_finished() {
    let world = World::new();
    schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"\noverlap = \"skip\"");
    block_on(world.engine.stop(None, ADMIN, "maintenance")).unwrap();
    world.pass(HOUR);
    world.settle();
    let run = world.runs_of("daily")[0].id;
    block_on(world.engine.cancel(run, ADMIN)).unwrap();
    block_on(world.engine.retry(run)).unwrap();
    world.pass(HOUR);
    world.settle();
    let skipped = world.engine.suppressed(None, Some("daily"), 10).unwrap();
    assert!(skipped.len() == 1 && skipped[0].reason.starts_with("overlap"), "{skipped:?}");
    block_on(world.engine.go(None)).unwrap();
    assert_eq!((world.settle(), world.runs_of("daily").len()), (1, 1));
    assert_eq!(world.count("SELECT count(*) FROM engine_lane"), 0);
}

// Shows: F004, F006, F082
#[test]
fn what_came_due_while_a_rule_was_off_or_paused_is_not_made_up_for() {
    type Switch = fn(&World, &str, bool);
    let paused: Switch = |world, rule, on| {
        block_on(async {
            match on {
                true => world.engine.resume(rule).await,
                false => world.engine.pause(rule, "we are on holiday").await,
            }
        })
        .unwrap();
    };
    // As the command line does it, where no server has the file.
    let paused_beside: Switch = |world, rule, on| {
        let (rule, at) = (rule.to_owned(), world.clock.now());
        let why = (!on).then_some("we are on holiday");
        world.commit(move |conn| stored::pause(conn, &rule, why, at));
    };
    let active: Switch = World::set_active;
    for (how, switch) in [("paused", paused), ("paused beside it", paused_beside), ("off", active)] {
        let world = World::new();
        schedule(&world, "every = 1\nunit = \"hours\"\nfirst = \"2026-01-01T00:00:00\"\ncatch-up = 1440");
        deadlines(&world, "");
        world.pass(HOUR);
        assert_eq!(world.settle(), 1, "{how}");
        for rule in ["daily", "late"] {
            switch(&world, rule, false);
        }
        due(&world, "2026-11-21");
        world.pass(15 * HOUR);
        assert_eq!(world.settle(), 0, "{how}");
        for rule in ["daily", "late"] {
            switch(&world, rule, true);
        }
        assert_eq!(world.settle(), 0, "{how}");
        let next = due(&world, "2026-11-22");
        world.pass(HOUR);
        assert_eq!(world.settle(), 1, "{how}");
        assert_eq!(slots(&world)[1], ("2026-11-21T02:00:00Z".to_owned(), 0), "{how}");
        world.pass(23 * HOUR);
        world.settle();
        assert_eq!(late(&world), [next], "{how}");
        // Whoever has a rule go on that fires anyhow takes nothing from it.
        world.pass(3 * HOUR);
        switch(&world, "daily", true);
        assert_eq!(world.settle(), 1, "{how}");
        assert_eq!(slots(&world).last().unwrap().1, 2, "{how}: an outage is made up for");
    }
}

// Shows: F004
#[test]
fn a_date_of_a_record_that_comes_due_fires_once() {
    let world = World::new();
    world.script(&LEAD_SCORING);
    world.rule(
        "name = \"late\"\nmodel = \"crm.lead\"\ndomain = \"[('type', '=', 'opportunity')]\"\n\
         trigger = { on = \"time\", field = \"date_deadline\", delay = 2, unit = \"days\" }\n\
         actions = [{ script = \"lead-scoring\" }]",
    );
    let lead = |kind: &str, date: &str| {
        world.create(
            "crm.lead",
            &[
                ("name", Value::text("Chairs")),
                ("type", Value::text(kind)),
                ("date_deadline", Value::Date(date.into())),
            ],
        )
    };
    assert_eq!(world.settle(), 0);
    let (due, _) = (lead("opportunity", "2026-11-19"), lead("lead", "2026-11-19"));
    let _long_ago = lead("opportunity", "2026-11-10");
    world.pass(14 * HOUR);
    assert_eq!(world.settle(), 0, "half past eleven in the evening");
    world.pass(HOUR);
    world.settle();
    world.pass(HOUR);
    world.settle();
    let runs = world.runs_of("late");
    assert_eq!(runs.iter().map(|run| run.record).collect::<Vec<_>>(), [Some(due)], "{runs:#?}");
    assert_eq!(world.run(runs[0].id).firing.trigger, Trigger::Time("date_deadline".into()));
}

// Shows: F091
#[test]
fn a_rule_on_last_updates_does_not_wait_for_its_own() {
    let world = World::new();
    world.script(&LEAD_SCORING);
    world.rule(
        "name = \"idle\"\nmodel = \"crm.lead\"\n\
         trigger = { on = \"after-update\", delay = 1, unit = \"hours\" }\n\
         actions = [{ script = \"lead-scoring\" }]",
    );
    world.settle();
    let lead = world.lead("Chairs for two halls");
    for _ in 0..5 {
        world.pass(HOUR + Duration::from_secs(1));
        world.settle();
    }
    let runs = world.runs_of("idle");
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(runs[0].state, RunState::Succeeded);
    let own = world.engine.suppressed(None, Some("idle"), 10).unwrap();
    assert!(own[0].reason.starts_with("own-update"), "{own:?}");
    // Somebody else's update counts.
    world.write("crm.lead", lead, &[("phone", Value::text("+32 2 555 01 02"))]);
    world.pass(HOUR + Duration::from_secs(1));
    world.settle();
    assert_eq!(world.runs_of("idle").len(), 2);
}

// Shows: F091
#[test]
fn what_was_approved_is_the_rules_own_update_too() {
    let world = World::new();
    world.rule(
        "name = \"idle\"\nmodel = \"crm.lead\"\nmode = \"approve\"\n\
         trigger = { on = \"after-update\", delay = 1, unit = \"hours\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    world.settle();
    let lead = world.lead("Chairs for two halls");
    world.pass(HOUR + Duration::from_secs(1));
    world.settle();
    let run = world.runs_of("idle")[0].id;
    let proposal = world.engine.proposal(run).unwrap().unwrap();
    block_on(world.engine.approve(run, proposal.hash, MANAGER, "")).unwrap();
    assert_eq!(world.value("crm.lead", lead, "city"), Value::text("Ghent"));
    for _ in 0..3 {
        world.pass(HOUR + Duration::from_secs(1));
        world.settle();
    }
    assert_eq!(world.runs_of("idle").len(), 1);
    let own = world.engine.suppressed(None, Some("idle"), 10).unwrap();
    assert!(own[0].reason.starts_with("own-update"), "{own:?}");
}

// Shows: F006, F033, F044
#[test]
fn a_schedule_goes_through_the_records_of_its_source() {
    for (dispatch, runs) in [("single", 1), ("per-record", 1 + 3)] {
        let world = World::new();
        world.rule(&format!(
            "name = \"daily\"\nmodel = \"crm.lead\"\ndispatch = \"{dispatch}\"\n\
             source = {{ domain = \"[('name', '=', 'Chairs')]\" }}\n\
             trigger = {{ on = \"schedule\", cron = \"0 12 * * *\" }}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
        ));
        world.settle();
        let leads: Vec<_> = (0..3).map(|_| world.lead("Chairs")).collect();
        world.pass(3 * HOUR);
        assert_eq!(world.settle(), runs, "{dispatch}");
        for lead in leads {
            assert_eq!(world.value("crm.lead", lead, "city"), Value::text("Ghent"), "{dispatch}");
        }
        let all = world.runs_of("daily");
        assert!(all.iter().all(|run| run.state == RunState::Succeeded && run.class == "batch"), "{all:#?}");
    }
}
