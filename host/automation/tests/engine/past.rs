//! Runs of the past: replayed, tried on another version, let go; and rules over records that were there before.

use std::time::Duration;

use guest_artifacts::{CONTRACT_CHECK, Guest, HIGH_VALUE_ORDER, LEAD_SCORING};
use triggerbox_automation::{
    Clock, Config, EngineError,
    config::{Journal, Retention},
    engine::Erasing,
    pace,
    replay::{Verdict, replay},
    retention,
    runs::{RunFilter, RunState},
};
use triggerbox_model::{
    call::Call,
    error::Error,
    event::Trigger,
    value::{Id, RecordRef, Value},
};
use triggerbox_sandbox::{Script, inspect::embed_manifest};
use triggerbox_store::db::{Database, DbError, Mode};

use crate::world::{ADMIN, NOW, World, block_on, fields, write};

const SCORED: &str = r#"
    name = "scored"
    model = "crm.lead"
    trigger = { on = "created" }
    actions = [{ script = "lead-scoring" }]
"#;

fn lead(world: &World, name: &str, revenue: f64) -> Id {
    let values = [
        ("name", Value::text(name)),
        ("partner_name", Value::text("Northwind Logistics")),
        ("email_from", Value::text("ada@northwind.example")),
        ("expected_revenue", Value::Number(revenue)),
    ];
    world.create("crm.lead", &values)
}

fn scored(config: Config) -> World {
    let world = World::with(config);
    world.script(&LEAD_SCORING);
    world.rule(SCORED);
    world
}

/// The script with one default in its manifest replaced: another version of it.
fn version(world: &World, from: &str, to: &str) -> Script {
    let manifest = LEAD_SCORING.manifest.unwrap();
    assert!(manifest.contains(from), "{from}");
    let component = embed_manifest(LEAD_SCORING.component, &manifest.replace(from, to)).unwrap();
    block_on(world.engine.try_out(&component)).unwrap()
}

#[test]
fn how_many_runs_ended_each_day_is_known_when_they_are_gone() {
    let world = scored(Config { retention: Retention { days: Some(1), ..Retention::default() }, ..Config::default() });
    world.rule(
        "name = \"broken\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"lead-scoring\", limits = { fuel = 1 } }]",
    );
    let day = Duration::from_secs(24 * 3_600);
    let paced = |rule: Option<&str>, zone: &str| -> Vec<(u64, u64)> {
        let snapshot = world.engine.database().snapshot().unwrap();
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let days = pace::days(&snapshot, rule, world.clock.now(), &zone, 4).unwrap();
        days.iter().map(|day| (day.good, day.bad)).collect()
    };
    lead(&world, "Yesterday", 20_000.0);
    world.settle();
    assert_eq!(paced(None, "UTC"), [(0, 0), (0, 0), (0, 0), (1, 1)], "not counted yet, and told");
    block_on(world.engine.retain()).unwrap();
    world.pass(day);
    for at in 0..2 {
        lead(&world, &format!("Today {at}"), 20_000.0);
    }
    world.settle();
    let told = [(0, 0), (0, 0), (1, 1), (2, 2)];
    assert_eq!(paced(None, "UTC"), told);
    world.pass(day + day / 4);
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 6);
    assert_eq!(world.count("SELECT count(*) FROM engine_run"), 0);
    block_on(world.engine.retain()).unwrap();
    assert_eq!(paced(None, "UTC"), [(0, 0), (1, 1), (2, 2), (0, 0)]);
    assert_eq!(paced(Some("broken"), "UTC"), [(0, 0), (0, 1), (0, 2), (0, 0)]);
    assert_eq!(paced(None, "Pacific/Kiritimati"), [(1, 1), (2, 2), (0, 0), (0, 0)], "it is tomorrow there");
}

#[test]
fn runs_that_are_let_go_within_their_hour_are_counted_all_the_same() {
    let world =
        scored(Config { retention: Retention { runs_per_rule: Some(1), ..Retention::default() }, ..Config::default() });
    let paced = || {
        let snapshot = world.engine.database().snapshot().unwrap();
        let days = pace::days(&snapshot, None, world.clock.now(), &jiff::tz::TimeZone::UTC, 1).unwrap();
        (days[0].good, days[0].bad)
    };
    for at in 0..4 {
        lead(&world, &format!("Silo {at}"), 20_000.0);
    }
    world.settle();
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 3);
    assert_eq!(paced(), (4, 0));
    world.pass(Duration::from_secs(2 * 3_600));
    block_on(world.engine.retain()).unwrap();
    assert_eq!((paced(), world.count("SELECT sum(runs) FROM engine_pace")), ((4, 0), 4));
}

// Shows: F129
#[test]
fn a_run_replays_the_same_to_the_last_unit_of_fuel_after_its_records_are_gone() {
    let world = scored(Config::default());
    let lead = lead(&world, "Warehouse", 20_000.0);
    world.settle();
    let run = world.runs_of("scored")[0].id;
    assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    world.change(vec![Call::Unlink { model: "crm.lead".to_owned(), ids: vec![lead] }]);

    let replayed = block_on(world.engine.replay(run, None)).unwrap();
    assert_eq!(replayed.len(), 1);
    assert_eq!(replayed[0].verdict, Verdict::Same);
    assert!(replayed[0].fuel > 0);
    assert_eq!(replayed[0].fuel, replayed[0].fuel_then);
}

// Shows: F093, F094
#[test]
fn another_version_is_the_same_differs_or_cannot_be_judged() {
    let world = scored(Config::default());
    lead(&world, "Warehouse", 20_000.0);
    world.settle();
    let run = world.runs_of("scored")[0].id;
    let verdict = |script: &Script| block_on(world.engine.replay(run, Some(script))).unwrap().remove(0).verdict;

    // A replay gives a version the parameters of the recorded run: what changed is the code, and here nothing did.
    let same = version(&world, "version = \"0.1.0\"", "version = \"0.1.1\"");
    assert_eq!(verdict(&same), Verdict::Same);

    // Part of what it asks was never asked.
    let mut recording = world.engine.recordings(run).unwrap().remove(0);
    recording.entries.retain(|entry| !matches!(entry.call, Call::SearchRead { .. } | Call::Read { .. }));
    let Verdict::Undecidable(why) = block_on(replay(&same, &recording)).verdict else { panic!("nothing answers it") };
    assert!(why.starts_with("it asks what the recorded run did not ask"), "{why}");

    let quiet = embed_manifest(HIGH_VALUE_ORDER.component, HIGH_VALUE_ORDER.manifest.unwrap()).unwrap();
    let quiet = block_on(world.engine.try_out(&quiet)).unwrap();
    let Verdict::Differs(how) = verdict(&quiet) else { panic!("another script does something else") };
    assert!(how[0].starts_with("change 1: then {\"call\":"), "{how:?}");
}

#[test]
fn a_backtest_counts_the_runs_of_a_rule() {
    let world = scored(Config::default());
    for number in 0..3 {
        lead(&world, &format!("Warehouse {number}"), 20_000.0);
    }
    world.settle();
    let same = version(&world, "version = \"0.1.0\"", "version = \"0.1.1\"");
    let result = block_on(world.engine.backtest("scored", &same, NOW.parse().unwrap())).unwrap();
    assert_eq!((result.same, result.differs.len(), result.undecidable.len()), (3, 0, 0), "{result:?}");
    let later = "2030-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(block_on(world.engine.backtest("scored", &same, later)).unwrap().same, 0);
}

// Shows: F093, F094
#[test]
fn a_backtest_tells_which_runs_differ_and_how_and_of_which_nothing_can_be_said() {
    let world = scored(Config::default());
    for number in 0..3 {
        lead(&world, &format!("Warehouse {number}"), 20_000.0);
    }
    world.settle();
    let runs: Vec<_> = world.runs_of("scored").iter().map(|run| run.id).collect();
    let backtest = |guest: &Guest| {
        let component = embed_manifest(guest.component, guest.manifest.unwrap()).unwrap();
        let script = block_on(world.engine.try_out(&component)).unwrap();
        block_on(world.engine.backtest("scored", &script, NOW.parse().unwrap())).unwrap()
    };
    // It ends otherwise, and changes nothing.
    let other = backtest(&HIGH_VALUE_ORDER);
    assert_eq!((other.same, other.undecidable.len()), (0, 0), "{other:?}");
    let (found, how): (Vec<_>, Vec<_>) = other.differs.into_iter().unzip();
    assert_eq!(found, runs);
    assert!(how.iter().all(|how| how[0].starts_with("change 1: then {\"call\":")), "{how:?}");
    // It asks what nobody has asked.
    let curious = backtest(&CONTRACT_CHECK);
    assert_eq!((curious.same, curious.differs.len()), (0, 0), "{curious:?}");
    let (found, why): (Vec<_>, Vec<_>) = curious.undecidable.into_iter().unzip();
    assert_eq!(found, runs);
    assert!(why.iter().all(|why| why.starts_with("it asks what the recorded run did not ask")), "{why:?}");
}

// Shows: F093, F094
#[test]
fn of_runs_that_did_not_run_a_script_nothing_is_said_of_its_versions() {
    let world = scored(Config::default());
    let two = "actions = [{ script = \"lead-scoring\" }, { script = \"update-record\", \
               parameters = { values = \"city = Ghent\" } }]";
    world.rule(&SCORED.replace("actions = [{ script = \"lead-scoring\" }]", two));
    lead(&world, "Warehouse", 20_000.0);
    world.settle();
    let run = world.runs_of("scored")[0].id;
    let try_out = |guest: &Guest| {
        let component = embed_manifest(guest.component, guest.manifest.unwrap()).unwrap();
        block_on(world.engine.try_out(&component)).unwrap()
    };
    let other = try_out(&HIGH_VALUE_ORDER);
    let refused = block_on(world.engine.replay(run, Some(&other))).unwrap_err();
    assert_eq!(refused.code(), "not-in-rule");
    assert!(refused.to_string().contains("ran no script called `high-value-order`"), "{refused}");
    let result = block_on(world.engine.backtest("scored", &other, NOW.parse().unwrap())).unwrap();
    assert_eq!((result.same, result.differs.len(), result.undecidable.len()), (0, 0, 1), "{result:?}");
    // One of its scripts is another matter, whichever it is.
    let same = version(&world, "version = \"0.1.0\"", "version = \"0.1.1\"");
    assert_eq!(block_on(world.engine.backtest("scored", &same, NOW.parse().unwrap())).unwrap().same, 1);
    // It did not come to the second one: what is alone in the journal was not alone in the rule.
    world.rule(
        &SCORED
            .replace("actions = [{ script = \"lead-scoring\" }]", &two.replacen(" }", ", limits = { fuel = 1 } }", 1)),
    );
    lead(&world, "Silo", 20_000.0);
    world.settle();
    let short = world.runs_of("scored")[1].id;
    assert_eq!(world.engine.recordings(short).unwrap().len(), 1);
    let second = try_out(&guest_artifacts::UPDATE_RECORD);
    assert_eq!(block_on(world.engine.replay(short, Some(&second))).unwrap_err().code(), "not-in-rule");
    assert_eq!(block_on(world.engine.replay(run, Some(&second))).unwrap().len(), 2);
}

#[test]
fn runs_go_on_whatever_is_erased_from_them() {
    let world = World::new();
    world.rule(
        "name = \"move\"\nmodel = \"crm.lead\"\ntrigger = { on = \"updated\", fields = [\"name\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
    );
    let lead = world.lead("Manu Fields, kind of recorded");
    block_on(world.engine.stop(None, ADMIN, "stocktaking")).unwrap();
    let run = world.write("crm.lead", lead, &[("name", Value::text("Tables"))])[0];
    let texts = ["manu", "field", "kind", "record", "update", "name"].map(str::to_owned);
    let erased = block_on(world.engine.erase(&texts)).unwrap();
    assert!(erased.rows >= 2 && erased.left == 0, "{erased:?}");
    let firing = world.run(run).firing;
    assert_eq!((&firing.trigger, &firing.records), (&Trigger::Updated, &vec![lead]));
    let old = &firing.old_values[0].fields[0];
    assert_eq!((old.name.as_str(), &old.value), ("name", &Value::text("[erased] [erased]s, [erased] of [erased]ed")));
    block_on(world.engine.go(None)).unwrap();
    world.settle();
    assert_eq!(world.run(run).summary.state, RunState::Succeeded);
    // What is kept of it can be read as well, only not as it was.
    let erased = block_on(world.engine.erase(&[texts.to_vec(), vec!["ghent".to_owned()]].concat())).unwrap();
    assert!(erased.rows >= 1 && erased.left == 0, "{erased:?}");
    let recording = &world.engine.recordings(run).unwrap()[0];
    let staged = serde_json::to_string(&recording.entries).unwrap();
    assert!(
        staged.contains("\"call\":\"write\"") && staged.contains("\"city\"") && !staged.contains("Ghent"),
        "{staged}"
    );
    assert_eq!(recording.event.records, [lead]);
}

#[test]
fn an_erasure_goes_on_where_it_was_cut_short() {
    let world = World::new();
    let fill = |conn: &rusqlite::Connection| {
        let sql =
            "INSERT INTO engine_log (at, rule, run, attempt, level, message) VALUES (0, 'r', ?1, 1, 1, 'of Zoe Cedar')";
        (0..450).try_for_each(|run| conn.execute(sql, [run]).map(drop))?;
        let sql = "INSERT INTO engine_seen (scope, key, at, answer) VALUES ('s', ?1, 0, '{\"to\":\"Zoe Cedar\"}')";
        (0..450).try_for_each(|key| conn.execute(sql, [format!("key {key}")]).map(drop))?;
        Ok::<_, DbError>(())
    };
    block_on(world.engine.committer().commit(fill)).unwrap();
    let texts = ["zoe cedar".to_owned()];
    let mut so_far = Erasing::default();
    let mut steps = 0;
    while !so_far.is_over() {
        // What was kept of it is all that the next one knows, and a step that cannot be kept is not done.
        let kept = serde_json::to_string(&so_far).unwrap();
        let refuse = |_: &rusqlite::Connection, _: &Erasing| Err::<(), EngineError>(Error::invalid("no", "no").into());
        block_on(world.engine.erase_more(&texts, serde_json::from_str(&kept).unwrap(), refuse)).unwrap_err();
        let next = serde_json::from_str(&kept).unwrap();
        so_far = block_on(world.engine.erase_more(&texts, next, |_, _| Ok(()))).unwrap();
        steps += 1;
    }
    assert_eq!((so_far.erased.rows, so_far.erased.left), (900, 0), "each once");
    assert!(steps == Erasing::all_tables() + 4 && so_far.looked < 1_000, "{steps} {so_far:?}");
    let conn = world.engine.database().snapshot().unwrap();
    let sql = "SELECT (SELECT count(*) FROM engine_log WHERE message = 'of [erased]') \
               + (SELECT count(*) FROM engine_seen WHERE answer = '{\"to\":\"[erased]\"}')";
    assert_eq!(conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 900);
}

// Shows: F129
#[test]
fn one_run_in_so_many_is_kept_in_full() {
    for (times, least, most) in [(1, 40, 40), (4, 1, 39)] {
        let world = scored(Config { journal: Journal::Sampled(times), ..Config::default() });
        for number in 0..40 {
            lead(&world, &format!("Warehouse {number}"), 20_000.0);
        }
        world.settle();
        let runs = world.runs_of("scored");
        assert_eq!(runs.len(), 40);
        let mut kept = 0;
        for run in &runs {
            let detail = world.run(run.id);
            let [attempt] = detail.attempts.as_slice() else { panic!("{detail:?}") };
            match block_on(world.engine.replay(run.id, None)) {
                // What is kept is whole: it replays.
                Ok(replayed) => {
                    assert!(attempt.journaled);
                    assert_eq!(replayed[0].verdict, Verdict::Same);
                    kept += 1;
                }
                Err(error) => {
                    assert!(!attempt.journaled);
                    assert_eq!(error.code(), "not-journaled");
                }
            }
        }
        assert!((least..=most).contains(&kept), "one in {times}: {kept} of 40");
        // A backtest counts those that were kept.
        let same = version(&world, "version = \"0.1.0\"", "version = \"0.1.1\"");
        let result = block_on(world.engine.backtest("scored", &same, NOW.parse().unwrap())).unwrap();
        assert_eq!((result.same, result.differs.len(), result.undecidable.len()), (kept, 0, 0), "{result:?}");
    }
}

#[test]
fn without_a_journal_there_is_nothing_to_replay() {
    let world = scored(Config { journal: Journal::Off, ..Config::default() });
    lead(&world, "Warehouse", 20_000.0);
    world.settle();
    let run = world.runs_of("scored")[0].id;
    assert_eq!(block_on(world.engine.replay(run, None)).unwrap_err().code(), "not-journaled");
    assert_eq!(block_on(world.engine.replay(9_999, None)).unwrap_err().code(), "unknown-run");
}

#[test]
fn runs_are_let_go_by_number_and_by_age() {
    let retention = Retention { days: Some(10), journal_days: Some(5), runs_per_rule: Some(4), ..Retention::default() };
    let world = scored(Config { retention, ..Config::default() });
    for number in 0..6 {
        lead(&world, &format!("Warehouse {number}"), 20_000.0);
    }
    world.settle();
    let newest = world.runs_of("scored")[5].id;

    let gone = block_on(world.engine.retain()).unwrap();
    assert_eq!((gone.runs, gone.journals), (2, 0));
    assert_eq!(world.runs_of("scored").len(), 4);

    world.pass(Duration::from_secs(6 * 24 * 3600));
    assert_eq!(block_on(world.engine.retain()).unwrap().journals, 4);
    assert_eq!(block_on(world.engine.replay(newest, None)).unwrap_err().code(), "not-journaled");

    world.pass(Duration::from_secs(6 * 24 * 3600));
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 4);
    for table in ["engine_run", "engine_attempt", "engine_log", "engine_event", "engine_fired"] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn all_that_is_too_old_goes_however_much_it_is() {
    let retention = Retention { bytes_per_rule: Some(4_000), days: Some(10), ..Retention::default() };
    let world = scored(Config { retention, ..Config::default() });
    lead(&world, "Warehouse", 20_000.0);
    world.settle();
    // Each with an event of its own.
    world.commit(|conn| {
        let sql = "SELECT group_concat(name) FROM pragma_table_info('engine_run') WHERE name NOT IN ('id', 'key', 'root')";
        let run: String = conn.query_row(sql, [], |row| row.get(0)).map_err(DbError::from)?;
        let numbers = "(WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 2000) SELECT value FROM n)";
        let event = "parent_run, depth, at, actor, model, record, kind, change";
        let many = format!(
            "INSERT INTO engine_event (id, root, {event}) SELECT 1000 + value, 1000 + value, {event} \
             FROM engine_event, {numbers} WHERE engine_event.id = (SELECT min(id) FROM engine_event); \
             INSERT INTO engine_run (key, root, {run}) SELECT 'copy-' || value, 1000 + value, {run} \
             FROM engine_run, {numbers} WHERE engine_run.id = (SELECT min(id) FROM engine_run)"
        );
        conn.execute_batch(&many).map_err(DbError::from)
    });
    let gone = block_on(world.engine.retain()).unwrap().runs;
    let kept = world.count("SELECT count(*) FROM engine_run");
    assert!(gone > 1_500 && kept > 0, "{gone} went by their size, {kept} stay");
    assert_eq!(world.count("SELECT count(*) FROM engine_event WHERE id > 1000"), kept);
    world.pass(Duration::from_secs(11 * 24 * 3600));
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, kept as usize);
    for table in ["engine_run", "engine_event", "engine_about", "engine_fired"] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

// Shows: F129
#[test]
fn how_long_the_past_is_kept_can_be_set_while_the_engine_runs() {
    let file = Retention { runs_per_rule: Some(4), ..Retention::default() };
    let world = scored(Config { retention: file, ..Config::default() });
    for number in 0..6 {
        lead(&world, &format!("Warehouse {number}"), 20_000.0);
    }
    world.settle();
    let set =
        |keep: Option<Retention>| world.commit(move |conn| retention::set(conn, keep, (ADMIN, NOW.parse().unwrap())));
    let kept = || retention::kept(&world.engine.database().snapshot().unwrap()).unwrap();
    assert_eq!(kept(), None);
    let more = Retention { runs_per_rule: Some(5), seen_days: 1, ..Retention::default() };
    set(Some(Retention { days: None, ..more }));
    set(Some(more));
    assert_eq!(kept(), Some(more));
    let found = retention::found(&world.engine.database().snapshot().unwrap()).unwrap().unwrap();
    assert_eq!(found.set, Some((ADMIN, NOW.parse().unwrap())));
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 1, "what is set is in force");
    // And stays so for the next engine of the file; until it is as in the configuration again.
    let world = World::on(world.engine.database().clone(), Config { retention: file, ..Config::default() });
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 0);
    world.commit(|conn| retention::set(conn, None, (ADMIN, NOW.parse().unwrap())));
    assert_eq!(block_on(world.engine.retain()).unwrap().runs, 1);
}

#[test]
fn what_would_be_let_go_is_what_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    drop(Database::create_demo(&folder.path().join("all.db"), NOW.parse().unwrap()).unwrap());
    let open = |name: &str| Database::open(&folder.path().join(name), Mode::Write).unwrap();
    let world = World::on(open("all.db"), Config::default());
    world.script(&LEAD_SCORING);
    world.rule(SCORED);
    for number in 0..12 {
        lead(&world, &format!("Warehouse {number}"), 20_000.0);
    }
    world.settle();
    // Of each age one, of several sizes, and among them some that are not over, never ended or have no journal.
    let now = world.engine.clock().now().as_millisecond();
    world.commit(move |conn| {
        conn.execute("UPDATE engine_run SET finished = ?1 - (12 - id) * 86400000", [now])?;
        conn.execute("UPDATE engine_attempt SET log = zeroblob((run % 5) * 4000)", [])?;
        conn.execute("UPDATE engine_attempt SET journal = NULL WHERE run = 3", [])?;
        conn.execute("UPDATE engine_run SET state = 'queued', finished = NULL WHERE id = 5", [])?;
        conn.execute("UPDATE engine_run SET state = 'waiting-approval' WHERE id = 9", [])?;
        Ok::<_, DbError>(())
    });
    let mut found = std::collections::BTreeSet::new();
    for (number, (days, journal_days, runs_per_rule, bytes_per_rule)) in [
        (None, None, None, None),
        (Some(9), None, None, None),
        (None, Some(7), None, None),
        (None, None, Some(8), None),
        (None, None, None, Some(60_000)),
        (None, None, None, Some(9_000)),
        (Some(4), Some(2), None, None),
        (Some(9), Some(2), Some(6), None),
        (Some(9), Some(5), Some(6), Some(20_000)),
        (None, Some(1), None, Some(30_000)),
        (None, None, Some(0), None),
        (None, None, None, Some(0)),
    ]
    .into_iter()
    .enumerate()
    {
        let keep = Retention { days, journal_days, runs_per_rule, bytes_per_rule, ..Retention::default() };
        let name = format!("copy{number}.db");
        world.engine.database().backup(&folder.path().join(&name)).unwrap();
        let copy = World::on(open(&name), Config { retention: keep, ..Config::default() });
        let runs = || copy.count("SELECT count(*) FROM engine_run");
        // Of the runs that are still there, those without a journal.
        let bare = || {
            copy.count(
                "SELECT count(*) FROM engine_run r WHERE NOT EXISTS \
                 (SELECT 1 FROM engine_attempt WHERE run = r.id AND journal IS NOT NULL) AND id <> 3",
            )
        };
        let going = copy.engine.going(&keep).unwrap();
        assert_eq!(runs(), 12, "to ask changes nothing");
        block_on(copy.engine.retain()).unwrap();
        assert_eq!(usize::try_from(12 - runs()).unwrap(), going.runs, "{keep:?}");
        assert_eq!(usize::try_from(bare()).unwrap(), going.journals, "{keep:?}");
        found.insert((going.runs, going.journals));
    }
    assert!(found.len() > 6, "{found:?}");
}

#[test]
fn what_nobody_saw_to_is_kept_for_a_year_at_least_and_not_for_ever() {
    let none = Retention { bytes_per_rule: Some(0), runs_per_rule: Some(0), ..Retention::default() };
    let world = scored(Config { retention: none, ..Config::default() });
    for name in ["Warehouse", "Silo", "Barn"] {
        lead(&world, name, 20_000.0);
    }
    world.settle();
    let unsettled =
        "UPDATE engine_run SET state = CASE id WHEN 1 THEN 'dead' WHEN 2 THEN 'outcome-unknown' ELSE state END";
    world.commit(move |conn| conn.execute(unsettled, []).map_err(DbError::from));
    let kept = || {
        let (before, going) = (world.count("SELECT count(*) FROM engine_run"), world.engine.going(&none).unwrap().runs);
        let gone = block_on(world.engine.retain()).unwrap().runs;
        let after = world.count("SELECT count(*) FROM engine_run");
        assert_eq!((going, before - after), (gone, u32::try_from(gone).unwrap()));
        after
    };
    assert_eq!(kept(), 2);
    world.pass(Duration::from_secs(364 * 86_400));
    assert_eq!(kept(), 2);
    world.pass(Duration::from_secs(2 * 86_400));
    assert_eq!(kept(), 0);
}

#[test]
fn the_file_shrinks_when_runs_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.db");
    drop(Database::create_demo(&path, NOW.parse().unwrap()).unwrap());
    let retention = Retention { bytes_per_rule: Some(0), ..Retention::default() };
    let world = World::on(Database::open(&path, Mode::Write).unwrap(), Config { retention, ..Config::default() });
    world.script(&LEAD_SCORING);
    world.rule(SCORED);
    lead(&world, "Warehouse", 20_000.0);
    world.settle();
    // As much as many runs leave behind.
    let fatten = "UPDATE engine_attempt SET log = randomblob(8 << 20)";
    world.commit(move |conn| conn.execute(fatten, []).map_err(DbError::from));
    let full = block_on(world.engine.retain()).unwrap();
    assert_eq!(full.runs, 1);
    assert!(full.bytes > 4 << 20 || std::fs::metadata(&path).unwrap().len() < 8 << 20, "{full:?}");
}

#[test]
fn what_was_said_and_spent_goes_with_its_runs_and_the_file_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.db");
    drop(Database::create_demo(&path, NOW.parse().unwrap()).unwrap());
    let retention = Retention { bytes_per_rule: Some(1 << 20), days: Some(30), ..Retention::default() };
    let world = World::on(Database::open(&path, Mode::Write).unwrap(), Config { retention, ..Config::default() });
    world.script(&LEAD_SCORING);
    world.rule(SCORED);
    for name in ["Warehouse", "Silo"] {
        lead(&world, name, 20_000.0);
        world.settle();
    }
    // The older run has said much, and what was tried out long ago is of no run at all.
    let said = format!(
        "INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, request, reply, accounts, worst)
         SELECT key, rule, root, 'model', x'00', 0, 'answered', at, '{{}}', CASE id WHEN 1 THEN hex(randomblob(4 << 20)) ELSE '' END,
         '[]', '{{}}' FROM engine_run
         UNION ALL SELECT 'tried', 'scored', 'tried', 'model', x'00', 0, 'answered', 0, '{{}}', NULL, '[]', '{{}}'
         UNION ALL SELECT 'now', 'scored', 'now', 'model', x'00', 0, 'answered', {now}, '{{}}', NULL, '[]', '{{}}';
         INSERT INTO engine_session (rule, model, record, started, ended) VALUES
         ('scored', 'crm.lead', 1, 0, 1), ('scored', 'crm.lead', 1, 0, NULL), ('scored', 'crm.lead', 2, 0, 1), ('gone', 'crm.lead', 1, 0, NULL);
         INSERT INTO engine_thread (run, name, session, resume, begun) SELECT id, 'T', CASE id WHEN 1 THEN 1 ELSE 3 END, 0, at FROM engine_run;
         INSERT INTO llm_account (scope, key, calls, tokens, micro_euro)
         SELECT 'run', key, 1, 1, 1 FROM engine_run UNION ALL SELECT 'root', root, 1, 1, 1 FROM engine_run
         UNION ALL SELECT 'session', id, 1, 1, 1 FROM engine_session
         UNION ALL VALUES ('run', 'tried', 1, 1, 1), ('root', 'tried', 1, 1, 1), ('run', 'now', 1, 1, 1), ('root', 'now', 1, 1, 1),
         ('rule-day', 'scored@2026-10-01', 1, 1, 1), ('rule-day', 'scored@2026-11-20', 1, 1, 1),
         ('server-day', '2026-10-01', 1, 1, 1), ('server-day', '2026-11-20', 1, 1, 1);",
        now = world.engine.clock().now().as_millisecond(),
    );
    world.commit(move |conn| conn.execute_batch(&said).map_err(DbError::from));
    let newest = world.run(2).summary;
    let size = || std::fs::metadata(&path).unwrap().len();
    let gone = block_on(world.engine.retain()).unwrap();
    assert_eq!((gone.runs, world.runs_of("scored")[0].id), (1, 2), "{gone:?}");
    assert!(gone.bytes > 4 << 20 || size() < 8 << 20, "{gone:?} {}", size());
    let all = |sql: &str| -> Vec<String> {
        let conn = world.engine.database().snapshot().unwrap();
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(all("SELECT run FROM llm_call ORDER BY id"), [newest.key.as_str(), "now"]);
    assert_eq!(
        all("SELECT CAST(id AS TEXT) FROM engine_session ORDER BY id"),
        ["2", "3"],
        "what is open, and what is known"
    );
    let mut expected = vec![
        format!("root {}", newest.root),
        format!("run {}", newest.key),
        "root now".into(),
        "run now".into(),
        "rule-day scored@2026-11-20".into(),
        "server-day 2026-11-20".into(),
        "session 2".into(),
        "session 3".into(),
    ];
    expected.sort();
    let mut accounts = all("SELECT scope || ' ' || key FROM llm_account");
    accounts.sort();
    assert_eq!(accounts, expected);
}

// Shows: F007, F090
#[test]
fn a_rule_runs_over_the_records_that_were_there_before_it() {
    let world = World::new();
    world.script(&LEAD_SCORING);
    let leads = world.search("crm.lead", "[('type', '=', 'lead')]");
    world.rule(
        &SCORED.replace("trigger =", "dispatch = \"per-record\"\ndomain = \"[('type', '=', 'lead')]\"\ntrigger ="),
    );
    let done = block_on(world.engine.backfill("scored", "[]", ADMIN)).unwrap();
    assert_eq!((done.records, done.runs), (leads.len(), leads.len()));
    world.settle();
    let runs = world.runs(&RunFilter { rule: Some("scored".to_owned()), limit: 500, ..RunFilter::default() });
    assert!(runs.iter().all(|run| run.class == "batch" && run.state == RunState::Succeeded), "{runs:?}");
    assert_eq!(block_on(world.engine.backfill("no-such", "[]", ADMIN)).unwrap_err().code(), "unknown-rule");
}

/// A rule that is backfilled, and one that follows from what it does.
fn marked(world: &World) {
    world.rule(
        "name = \"mark\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
         domain = \"[('name', '=', 'Chairs')]\"\n\
         actions = [{ script = \"update-record\", parameters = { values = \"city = {city}x\" } }]",
    );
    world.rule(
        "name = \"follow\"\nmodel = \"crm.lead\"\ntrigger = { on = \"updated\", fields = [\"city\"] }\n\
         actions = [{ script = \"update-record\", parameters = { values = \"phone = {city}\" } }]",
    );
}

// Shows: F090, F091
#[test]
fn each_run_of_a_backfill_is_the_root_of_a_chain_of_its_own() {
    let world = World::new();
    marked(&world);
    let leads: Vec<Id> = (0..2).map(|_| world.lead("Chairs")).collect();
    for times in 1..=2 {
        assert_eq!(block_on(world.engine.backfill("mark", "[]", ADMIN)).unwrap().runs, 2);
        world.settle();
        let expected = Value::text("x".repeat(times));
        assert!(leads.iter().all(|lead| world.value("crm.lead", *lead, "phone") == expected), "{times}");
    }
    assert_eq!(world.engine.suppressed(None, None, 10).unwrap(), []);
    for run in world.runs_of("mark") {
        let chain = world.engine.chain(run.root).unwrap();
        let told: Vec<_> = chain.iter().map(|run| (run.rule.as_str(), run.record, run.depth)).collect();
        assert_eq!(told, [("mark", run.record, 0), ("follow", run.record, 1)]);
    }
}

// Shows: F090
#[test]
fn a_backfill_that_was_interrupted_goes_on_where_it_stopped() {
    let world = World::new();
    marked(&world);
    let leads = vec![fields(&[("name", Value::text("Chairs"))]); 520];
    world.change(vec![Call::Create { model: "crm.lead".to_owned(), values: leads }]);
    let mut leads = world.search("crm.lead", "[('name', '=', 'Chairs')]");
    leads.sort_unstable();
    let batch = |sql: &'static str| world.commit(move |conn| conn.execute_batch(sql).map_err(DbError::from));
    batch(
        "CREATE TRIGGER no_room BEFORE INSERT ON engine_run WHEN (SELECT count(*) FROM engine_run) >= 500 \
         BEGIN SELECT RAISE(ABORT, 'there is no room'); END",
    );
    let fill = || block_on(world.engine.backfill("mark", "[]", ADMIN));
    assert!(fill().unwrap_err().to_string().contains("there is no room"));
    assert_eq!(world.count("SELECT count(*) FROM engine_run"), 500);
    batch("DROP TRIGGER no_room");
    let done = fill().unwrap();
    assert_eq!((done.records, done.runs), (20, 20));
    let runs = world.runs(&RunFilter { rule: Some("mark".to_owned()), limit: 1_000, ..RunFilter::default() });
    let mut queued: Vec<Id> = runs.iter().filter_map(|run| run.record).collect();
    queued.sort_unstable();
    assert_eq!(queued, leads, "each once");
    assert_eq!(fill().unwrap().records, 520, "it came to its end, and begins anew");
}

#[test]
fn a_run_is_found_by_each_of_its_records() {
    let world = World::new();
    world.rule(
        "name = \"all\"\nmodel = \"crm.lead\"\ntrigger = { on = \"updated\", fields = [\"city\"] }\ndebounce = 60\n\
         actions = [{ script = \"update-record\", parameters = { values = \"phone = 1\" } }]",
    );
    let leads: Vec<Id> = ["Chairs", "Tables", "Lamps"].map(|name| world.lead(name)).to_vec();
    let on = |lead: Id, rule: Option<&str>| {
        let record = Some(RecordRef::new("crm.lead", lead));
        let filter = RunFilter { record, rule: rule.map(str::to_owned), ..RunFilter::default() };
        world.runs(&filter).iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let move_to = |leads: &[Id]| world.change(vec![write("crm.lead", leads, &[("city", Value::text("Ghent"))])]);
    let runs = move_to(&leads[..2]).runs;
    assert_eq!(runs.len(), 1);
    // One that joins a run that waits.
    assert!(move_to(&leads[2..]).runs.is_empty());
    for lead in &leads {
        assert_eq!(on(*lead, None), runs, "{lead}");
        assert_eq!((on(*lead, Some("all")), on(*lead, Some("none"))), (runs.clone(), vec![]));
    }
    world.pass(Duration::from_secs(61));
    world.settle();
    assert!(leads.iter().all(|lead| on(*lead, None) == runs));
    let of_another = RunFilter { record: Some(RecordRef::new("res.partner", leads[0])), ..RunFilter::default() };
    assert_eq!(world.runs(&of_another), []);
    // What is let go is not found any more.
    let nothing = Retention { runs_per_rule: Some(0), ..Retention::default() };
    let world = World::on(world.engine.database().clone(), Config { retention: nothing, ..Config::default() });
    block_on(world.engine.retain()).unwrap();
    assert_eq!(world.count("SELECT count(*) FROM engine_about"), 0);
}

#[test]
fn a_database_of_the_first_format_gets_its_log_and_threads() {
    let world = scored(Config::default());
    let first = lead(&world, "Warehouse", 20_000.0);
    world.settle();
    world.commit(|conn| {
        let older = "DROP TABLE engine_log; DROP TABLE engine_agent; DROP TABLE engine_agent_version; \
                     DROP TABLE engine_session; DROP TABLE engine_thread; \
                     DROP INDEX engine_suppressed_root; DROP INDEX engine_suppressed_event; \
                     ALTER TABLE engine_suppressed DROP COLUMN root; \
                     ALTER TABLE engine_proposal DROP COLUMN yes_by; \
                     ALTER TABLE engine_proposal DROP COLUMN yes_note; \
                     ALTER TABLE engine_proposal DROP COLUMN yes_open; \
                     ALTER TABLE engine_proposal DROP COLUMN yes_until; \
                     DROP TABLE engine_setting; DROP TABLE engine_pace; DROP TABLE engine_paced; \
                     DROP INDEX engine_run_away; ALTER TABLE engine_run DROP COLUMN away_since; \
                     DROP TRIGGER engine_run_made; DROP TRIGGER engine_run_gone; \
                     DROP TABLE engine_about; CREATE INDEX engine_run_record ON engine_run (model, record, id); \
                     DROP TABLE engine_refusal; DROP TABLE engine_pause; DROP TABLE engine_stretch; \
                     ALTER TABLE engine_clock DROP COLUMN past_from; ALTER TABLE engine_clock DROP COLUMN past_until; ALTER TABLE engine_rule_version DROP COLUMN owner; \
                     ALTER TABLE engine_rule_version DROP COLUMN base; \
                     UPDATE tb_meta SET value = '1' WHERE key = 'engine-format'";
        conn.execute_batch(older).map_err(DbError::from)
    });
    let world = World::on(world.engine.database().clone(), Config::default());
    lead(&world, "Silo", 20_000.0);
    world.settle();
    assert_eq!(world.count("SELECT owner FROM engine_rule_version"), ADMIN);
    let runs = world.runs_of("scored");
    assert!(runs.len() >= 2 && runs.iter().all(|run| run.state == RunState::Succeeded), "{runs:?}");
    assert!(runs.iter().all(|run| world.run(run.id).attempts.len() == 1));
    let about = RunFilter { record: Some(RecordRef::new("crm.lead", first)), ..RunFilter::default() };
    assert_eq!(world.runs(&about)[0].id, runs[0].id, "those of that time are found by their records, too");
}
