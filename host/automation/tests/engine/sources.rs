//! Rules that find their records themselves: by a script, across companies or not; and starts that fail.

use guest_artifacts::{DEMO_WRITE_THEN_TRAP, DUE_LEADS, EVENT_LOG, HIGH_VALUE_ORDER};
use triggerbox_automation::{
    Origin,
    logs::{LogFilter, search},
    runs::{RunDetail, RunState},
};
use triggerbox_model::{event::Trigger, value::Value};
use triggerbox_store::db::DbError;

use crate::world::{ADMIN, World, block_on, create};

/// A rule without records of its own.
fn sweep(world: &World, more: &str) {
    world.rule(&format!(
        "name = \"sweep\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n{more}\n\
         actions = [{{ script = \"update-record\", parameters = {{ values = \"city = Ghent\" }} }}]"
    ));
}

fn fired(world: &World) -> RunDetail {
    let run = block_on(world.engine.fire("sweep", ADMIN, Trigger::Manual, Vec::new())).unwrap()[0];
    world.settle();
    world.run(run)
}

#[test]
fn a_domain_that_keeps_no_record_away_is_told_of() {
    let world = World::new();
    let check = |trigger: &str, more: &str| {
        world.check(&format!(
            "name = \"sweep\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"{trigger} }}\n{more}\n\
             source = {{ domain = \"[]\" }}\nactions = [{{ script = \"notify\", parameters = {{ text = \"Look\" }} }}]"
        ))
    };
    let some = "domain = \"[('priority', '=', '3')]\"";
    let unjudged = ["domain-unjudged"];
    assert_eq!(check("manual\"", some), unjudged);
    assert_eq!(check("webhook\", secret = \"shop\"", some), unjudged);
    assert_eq!(check("schedule\", cron = \"0 3 * * *\"", some), unjudged);
    assert_eq!(check("manual\"", &format!("{some}\njudge-again = true")), [""; 0]);
    assert_eq!(check("manual\"", "domain = \"[]\""), [""; 0]);
    assert_eq!(check("manual\"", "domain = \"[('nme', '=', 'x')]\""), ["bad-domain"]);
}

#[test]
fn what_works_on_records_is_told_of_in_a_rule_that_never_has_any() {
    let world = World::new();
    let check = |trigger: &str, script: &str| {
        let parameters = match script {
            "notify" => "text = \"Look\"",
            _ => "model = \"crm.tag\", values = \"name = Daily\"",
        };
        world.check(&format!(
            "name = \"daily\"\ntrigger = {{ {trigger} }}\n\
             actions = [{{ script = \"{script}\", parameters = {{ {parameters} }} }}]"
        ))
    };
    for script in ["notify", "create-record"] {
        assert_eq!(check("on = \"schedule\", cron = \"0 3 * * *\"", script), ["no-records"]);
        assert_eq!(check("on = \"webhook\", secret = \"shop\"", script), ["no-records"]);
        assert_eq!(check("on = \"created\"", script), ["no-model"], "it is said once");
    }
}

// Shows: F042, F043, F045
#[test]
fn a_script_selects_the_records_by_the_day_of_the_event() {
    let world = World::new();
    world.script(&DUE_LEADS);
    for lead in world.search("crm.lead", "[('date_deadline', '!=', False)]") {
        world.write("crm.lead", lead, &[("date_deadline", Value::Unset)]);
    }
    // The engine's clock says the twentieth of November.
    let due =
        |day: &str| world.create("crm.lead", &[("name", Value::text(day)), ("date_deadline", Value::Date(day.into()))]);
    let (soon, late, _far) = (due("2026-11-27"), due("2026-11-02"), due("2026-11-28"));
    sweep(&world, "source = { script = \"due-leads\" }");
    let run = fired(&world);
    assert_eq!((run.summary.state, run.summary.message.as_deref()), (RunState::Succeeded, Some("2 of 2 updated")));
    assert_eq!(world.search("crm.lead", "[('city', '=', 'Ghent')]").len(), 2);

    sweep(&world, "source = { script = \"due-leads\" }\ndispatch = \"per-record\"");
    let run = fired(&world);
    assert_eq!(run.summary.code.as_deref(), Some("spread"));
    let children: Vec<_> = world.runs_of("sweep").into_iter().filter(|run| run.parent.is_some()).collect();
    let records: Vec<_> = children.iter().filter_map(|run| run.record).collect();
    assert_eq!(records, [late, soon], "in the order of the script");
}

// Shows: F045
#[test]
fn a_source_that_breaks_or_says_nothing_gives_no_records_and_the_run_says_so() {
    let world = World::new();
    world.script(&DEMO_WRITE_THEN_TRAP);
    world.script(&HIGH_VALUE_ORDER);
    let cities = || world.search("crm.lead", "[('city', '=', 'Ghent')]").len();
    let before = cities();
    for (script, says) in [
        ("demo-write-then-trap", "the rule's source is broken and gives no records"),
        ("high-value-order", "the rule's source"),
    ] {
        sweep(&world, &format!("source = {{ script = \"{script}\" }}"));
        let run = fired(&world);
        assert_eq!((run.summary.state, run.summary.code.as_deref()), (RunState::Skipped, Some("no-records")));
        assert!(run.summary.message.as_deref().unwrap().contains(says), "{:?}", run.summary);
        assert!(run.attempts.is_empty());
    }
    assert_eq!(cities(), before);
    // What it logs is in the run's log, though no action ran.
    world.script(&EVENT_LOG);
    sweep(&world, "source = { script = \"event-log\" }");
    let filter = LogFilter { run: Some(fired(&world).summary.id), ..LogFilter::default() };
    let logged = search(&world.engine.database().snapshot().unwrap(), &filter).unwrap();
    assert!(logged.iter().any(|line| line.message.starts_with("records: crm.lead")), "{logged:?}");
}

// Shows: F042
#[test]
fn of_records_beyond_the_most_each_is_told() {
    let world = World::new();
    sweep(&world, "dispatch = \"per-record\"\nmax-records = 2\nsource = { domain = \"[('name', '=', 'Span')]\" }");
    let leads: Vec<_> = (0..5).map(|_| world.lead("Span")).collect();
    let told = || {
        let mut told: Vec<_> = world.engine.suppressed(None, Some("sweep"), 10).unwrap();
        told.reverse();
        assert!(told.iter().all(|one| one.reason.starts_with("max-records: ")), "{told:?}");
        told.into_iter().map(|one| one.record.id).collect::<Vec<_>>()
    };
    let runs = block_on(world.engine.fire("sweep", ADMIN, Trigger::Manual, leads.clone())).unwrap();
    assert_eq!((runs.len(), told()), (2, leads[2..].to_vec()));
    let run = fired(&world);
    assert_eq!(run.summary.message.as_deref(), Some("one run for each of the first 2 of 5 records"));
    assert_eq!(told().len(), 3 + 3);
}

// Shows: F021
#[test]
fn only_a_superuser_rule_spans_companies() {
    for (superuser, found) in [(false, 1), (true, 2)] {
        let world = World::new();
        let boss = Origin { user: ADMIN, superuser: true };
        let company = create(
            "res.company",
            &[("name", Value::text("Oakley")), ("partner_id", Value::link(1)), ("currency_id", Value::link(1))],
        );
        let changed = block_on(world.engine.change(boss, vec![company])).unwrap();
        let triggerbox_model::call::Answer::Ids(company) = &changed.answers[0] else { panic!("no ids") };
        let lead =
            |company: u32| create("crm.lead", &[("name", Value::text("Span")), ("company_id", Value::link(company))]);
        block_on(world.engine.change(boss, vec![lead(1), lead(company[0])])).unwrap();
        sweep(&world, &format!("superuser = {superuser}\nsource = {{ domain = \"[('name', '=', 'Span')]\" }}"));
        let run = fired(&world);
        assert_eq!((run.summary.state, run.summary.superuser), (RunState::Succeeded, superuser), "{:?}", run.summary);
        let updated = world.count("SELECT count(*) FROM crm_lead WHERE name = 'Span' AND city = 'Ghent'");
        assert_eq!(updated, found);
    }
}

// Shows: F060
#[test]
fn a_start_that_fails_is_on_the_run_and_not_in_the_way_of_the_save() {
    let world = World::new();
    world.rule(
        "name = \"greet\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    world.commit(|conn| {
        let sql = "UPDATE engine_script SET component = x'00' WHERE name = 'update-record'";
        conn.execute(sql, []).map_err(DbError::from)
    });
    let lead = world.lead("Looms");
    world.settle();
    let run = &world.runs_of("greet")[0];
    assert_eq!((run.state, run.code.as_deref()), (RunState::Failed, Some("broken-script")));
    assert!(run.message.as_deref().unwrap().contains("cannot be made ready"), "{run:?}");
    assert_eq!(world.value("crm.lead", lead, "name"), Value::text("Looms"));
}

// Shows: F089
#[test]
fn what_scripts_log_is_a_table_that_can_be_searched() {
    use triggerbox_sandbox::LogLevel;
    let world = World::new();
    world.script(&DEMO_WRITE_THEN_TRAP);
    world.rule(
        "name = \"half\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
         actions = [{ script = \"demo-write-then-trap\" }]",
    );
    let told = world.engine.lines();
    for order in world.search("sale.order", "[]") {
        block_on(world.engine.fire("half", ADMIN, Trigger::Manual, vec![order])).unwrap();
    }
    world.settle();
    assert!(told.has_changed().unwrap(), "whoever listened was told of each line");
    let find = |filter: LogFilter| search(&world.engine.database().snapshot().unwrap(), &filter).unwrap();
    let all = find(LogFilter::default());
    assert!(!all.is_empty());
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let line = all.iter().find(|line| line.message.ends_with(" is half done")).unwrap().clone();
    assert_eq!((line.rule.as_str(), line.level), ("half", LogLevel::Info));
    let word = line.message.split(' ').next().unwrap().to_owned();
    assert!(find(LogFilter { contains: Some(word), run: Some(line.run), ..LogFilter::default() }).contains(&line));
    assert!(find(LogFilter { rule: Some("other".to_owned()), ..LogFilter::default() }).is_empty());
    let serious = find(LogFilter { level: Some(LogLevel::Error), ..LogFilter::default() });
    assert!(serious.iter().all(|line| line.level == LogLevel::Error));
    let older = find(LogFilter { before: Some(all[0].id), limit: 1, ..LogFilter::default() });
    assert_eq!(older, [all[1].clone()]);
    // A run shows its own.
    let shown: Vec<_> = world.run(line.run).attempts.iter().flat_map(|attempt| attempt.log.clone()).collect();
    assert!(shown.iter().any(|one| one.message == line.message), "{shown:?}");
}
