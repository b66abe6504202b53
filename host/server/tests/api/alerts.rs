//! Trouble is told to the configured address, signed.

use std::{pin::Pin, sync::Arc};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use guest_artifacts::DEMO_WRITE_THEN_TRAP;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, sync::mpsc};
use triggerbox_automation::{Clock, seen};
use triggerbox_model::value::{FieldValue, Snapshot, Value};
use triggerbox_server::{
    Config,
    alerts::{self, Running, of_failures, standing},
    config::Secret,
    people::Role,
    signature::{SIGNATURE, TIMESTAMP, check},
};
use triggerbox_store::db::DbError;

use crate::{
    browser::Browser,
    world::{ADMIN, SAM, World, eventually},
};

const SECRET: &str = "a secret of thirty-two characters";

/// A configuration that has alerts told here.
pub(crate) async fn listen() -> (Config, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (told, heard) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::default();
    config.alerts.to = vec![format!("http://{}/alerts", listener.local_addr().unwrap())];
    let receiver = Router::new().route(
        "/alerts",
        post(move |headers: HeaderMap, body: Bytes| async move {
            let _ = told.send((headers, body));
        }),
    );
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    (config, heard)
}

// Shows: F081, F088
#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_are_told() {
    let (mut config, mut heard) = listen().await;
    config.alerts.failures = 2;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), SECRET).unwrap();
    config.secrets.insert("alerts".to_owned(), Secret::File(folder.path().join("key")));
    config.alerts.secret = Some("alerts".to_owned());

    let world = World::with(config).await;
    world.script(&DEMO_WRITE_THEN_TRAP).await;
    let rule = "name = \"breaks\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"demo-write-then-trap\" }]";
    world.rule(rule).await.good(201);
    let order = world.get("/api/v1/records/sale.order?limit=1").await.good(200)["records"][0]["id"].clone();
    for _ in 0..2 {
        let fired = world.call("POST", "/api/v1/rules/breaks/run", json!({ "records": [order] })).await.good(202);
        assert_eq!(world.ended(fired["runs"][0].as_i64().unwrap()).await["state"], "failed");
    }
    let (headers, body) = heard.recv().await.unwrap();
    let trouble: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((&trouble["kind"], &trouble["rule"]), (&json!("failures-in-a-row"), &json!("breaks")), "{trouble}");
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    let now = world.clock.now();
    check(SECRET.as_bytes(), header(TIMESTAMP), header(SIGNATURE), &body, now, 300).unwrap();
}

// Shows: F083, F088
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_trouble_and_tells_none_twice() {
    let (config, mut heard) = listen().await;
    let mut world = World::with(config.clone()).await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that they stay" })).await.good(204);
    let ((_, first), (_, second)) = (world.lead("One").await, world.lead("Two").await);
    let (engine, clock) = (world.app.engine().clone(), std::sync::Arc::clone(&world.clock));
    let die = |run: i64| {
        let now = triggerbox_automation::clock::millis(clock.now());
        let sql = "UPDATE engine_run SET state = 'dead', code = 'crashed', finished = ?2 WHERE id = ?1";
        let work = move |conn: &rusqlite::Connection| Ok::<_, DbError>(conn.execute(sql, (run, now))?);
        engine.committer().commit(work)
    };
    // It dies while no server looks.
    world.stop().await;
    die(first[0]).await.unwrap();
    clock.advance(std::time::Duration::from_secs(60));
    let mut world = World::on(engine.database().clone(), std::sync::Arc::clone(&clock), config.clone()).await;
    let trouble: Json = serde_json::from_slice(&heard.recv().await.unwrap().1).unwrap();
    assert_eq!((&trouble["kind"], &trouble["run"]), (&json!("dead-letter"), &json!(first[0])), "{trouble}");
    eventually(async || seen::noted(&engine.database().snapshot().unwrap(), "alert:dead-letter", "score").unwrap())
        .await;
    world.stop().await;

    let world = World::on(engine.database().clone(), std::sync::Arc::clone(&clock), config).await;
    let is_news = || {
        let conn = engine.database().snapshot().unwrap();
        let found = of_failures(&world.app, &conn).unwrap();
        assert_eq!((found.len(), found[0].kind), (1, "dead-letter"), "{found:?}");
        alerts::is_news(&world.app, &conn, &found[0], clock.now()).unwrap()
    };
    assert!(!is_news(), "it was told before the restart");
    clock.advance(std::time::Duration::from_secs(60));
    die(second[0]).await.unwrap();
    assert!(!is_news(), "the same trouble is told once in an hour");
    clock.advance(std::time::Duration::from_secs(3_600));
    assert!(is_news(), "and one that came later is told then");
}

// Shows: F083
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_never_due_again_is_trouble() {
    let world = World::new().await;
    let rule = "name = \"report\"\ntrigger = { on = \"schedule\", cron = \"0 9 * * *\" }\n\
                actions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let look = || {
        let now = world.clock.now();
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), &mut Running::new(), now).unwrap()
    };
    assert_eq!(look(), []);
    // No rule is kept that is never due: this one is of a time when the thirtieth of February was.
    let sql = "UPDATE engine_rule SET body = replace(body, '0 9 * * *', '0 9 30 2 *')";
    world.app.write(|conn| Ok::<_, DbError>(conn.execute(sql, [])?)).await.unwrap();
    let found = look();
    assert_eq!((found[0].kind, found[0].rule.as_str()), ("schedule-over", "report"), "{found:?}");
    assert!(found[0].message.contains("never due again"));
}

// Shows: F022, F083
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_a_user_who_left_is_trouble_once() {
    let world = World::new().await;
    let rule = "name = \"greet\"\nmodel = \"crm.lead\"\nrun-as = \"sam\"\ntrigger = { on = \"created\" }\n\
                actions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let look = || {
        let now = world.clock.now();
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), &mut Running::new(), now).unwrap()
    };
    assert_eq!(look(), []);
    world.call("PATCH", &format!("/api/v1/records/res.users/{SAM}"), json!({ "active": false })).await.good(200);
    let since = world.clock.now();
    world.clock.advance(std::time::Duration::from_secs(7_200));
    let found = look();
    assert_eq!((found[0].kind, found[0].rule.as_str(), found.len()), ("owner-inactive", "greet", 1), "{found:?}");
    assert!(found[0].message.contains("had the rights of `sam`, who is archived"), "{found:?}");
    assert_eq!(found[0].since, since, "what was told after it is not told again");
}

// Shows: F022, F083
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_user_is_called_otherwise_is_shown_as_broken_and_told() {
    let world = World::new().await;
    let rule = "name = \"greet\"\nmodel = \"crm.lead\"\nrun-as = \"sam\"\ntrigger = { on = \"created\" }\n\
                actions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let look = || {
        let now = world.clock.now();
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), &mut Running::new(), now).unwrap()
    };
    let called = async |login: &str| {
        world.call("PATCH", &format!("/api/v1/records/res.users/{SAM}"), json!({ "login": login })).await.good(200);
    };
    for (login, is_broken) in [("sam", false), ("samuel", true), ("sam", false)] {
        called(login).await;
        let found = look();
        assert_eq!(found.iter().any(|one| one.kind == "rule-broken" && one.rule == "greet"), is_broken, "{found:?}");
        assert!(found.iter().all(|one| one.message.contains("there is no user `sam`")), "{found:?}");
        for path in ["/automations", "/automations/greet"] {
            let page = admin.page(path).await;
            assert_eq!(
                page.contains("badge bad\">Broken<") && page.contains("There is no user `sam`"),
                is_broken,
                "{path}: {page}"
            );
            assert_eq!(page.contains("badge good\">Active<"), !is_broken, "{path}: {page}");
        }
    }
    called("samuel").await;
    world.call("POST", "/api/v1/rules/greet/pause", json!({ "reason": "it is looked at" })).await.good(204);
    assert_eq!(look(), [], "who paused it knows");
}

// Shows: F083, F088
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_makes_no_sense_any_more_is_paused_and_told() {
    let world = World::new().await;
    let rule = "name = \"report\"\ntrigger = { on = \"schedule\", cron = \"0 9 * * *\" }\n\
                actions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let engine = world.app.engine();
    engine.tick().await.unwrap();
    let look = || of_failures(&world.app, &engine.database().snapshot().unwrap()).unwrap();
    assert_eq!(look(), []);
    // No rule is kept that makes no sense: this one is of a version that read schedules otherwise.
    let sql = "UPDATE engine_rule SET body = replace(body, '0 9 * * *', 'at nine')";
    world.app.write(|conn| Ok::<_, DbError>(conn.execute(sql, [])?)).await.unwrap();
    engine.tick().await.unwrap();
    let found = look();
    assert_eq!((found[0].kind, found[0].rule.as_str(), found.len()), ("time-rule-broken", "report", 1), "{found:?}");
    assert!(found[0].message.contains("`at nine` is no cron expression"), "{found:?}");
    let listed = world.get("/api/v1/rules").await.good(200);
    assert!(listed["rules"][0]["paused"].as_str().unwrap().contains("its times cannot be told"), "{listed}");
    let sql = "UPDATE engine_rule SET body = replace(body, 'at nine', '0 9 * * *')";
    world.app.write(|conn| Ok::<_, DbError>(conn.execute(sql, [])?)).await.unwrap();
    world.call("POST", "/api/v1/rules/report/resume", json!({})).await.good(204);
    assert_eq!(look(), [], "whoever has it go on has looked");
    world.call("POST", "/api/v1/rules/report/pause", json!({ "reason": "we are on holiday" })).await.good(204);
    assert_eq!(look(), [], "a later pause has its own reason");
}

// Shows: F088
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_nobody_knows_is_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that it stays" })).await.good(204);
    let (_, runs) = world.lead("Sent or not").await;
    let (run, now) = (runs[0], triggerbox_automation::clock::millis(world.clock.now()));
    let sql = "UPDATE engine_run SET state = 'outcome-unknown', code = 'outcome-unknown', finished = ?2 WHERE id = ?1";
    world.app.write(move |conn| Ok::<_, DbError>(conn.execute(sql, (run, now))?)).await.unwrap();
    let found = of_failures(&world.app, &world.app.engine().database().snapshot().unwrap()).unwrap();
    assert_eq!((found[0].kind, found[0].run, found.len()), ("outcome-unknown", Some(run), 1), "{found:?}");
    assert!(found[0].message.contains("look there, then retry it or not"), "{found:?}");
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_nearly_reached_is_told() {
    let (config, mut heard) = listen().await;
    let world = World::with(config).await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    let score = |fuel: u64| {
        format!(
            "name = \"score\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n\
             actions = [{{ script = \"lead-scoring\", limits = {{ fuel = {fuel} }} }}]"
        )
    };
    world.rule(&score(1_000_000_000)).await.good(201);
    let first = world.ended(world.lead("Chairs").await.1[0]).await;
    let used = first["attempts"][0]["report"]["used"]["fuel"].as_u64().unwrap();
    world.rule(&score(used + used / 10)).await.good(200);
    let run = world.lead("Chairs").await.1[0];
    assert_eq!(world.ended(run).await["state"], "succeeded");
    let trouble: Json = serde_json::from_slice(&heard.recv().await.unwrap().1).unwrap();
    assert_eq!((&trouble["kind"], &trouble["run"]), (&json!("limit-nearly-reached"), &json!(run)), "{trouble}");
    assert!(trouble["message"].as_str().unwrap().ends_with("% of the limit fuel"), "{trouble}");
}

// Shows: F083
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_run_is_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that it stays" })).await.good(204);
    let (_, runs) = world.lead("Stuck").await;
    // A run that runs for ever, as a worker that hangs would leave it.
    let run = runs[0];
    world
        .app
        .write(move |conn| {
            conn.execute("UPDATE engine_run SET state = 'running', lease_until = 9e15 WHERE id = ?1", [run])?;
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    let mut running = Running::new();
    let look = |running: &mut Running, minutes: i64| {
        let now = world.clock.now() + jiff::SignedDuration::from_mins(minutes);
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), running, now).unwrap()
    };
    assert_eq!(look(&mut running, 0), []);
    assert_eq!(look(&mut running, 29), []);
    let found = look(&mut running, 30);
    assert_eq!((found[0].kind, found[0].run), ("stuck-run", Some(run)));
}

// Shows: F083
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_too_long_for_a_worker_is_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    for rule in [crate::world::SCORE.to_owned(), crate::world::SCORE.replace("\"score\"", "\"again\"")] {
        world.rule(&rule).await.good(201);
    }
    let stop =
        |model: Json| world.call("POST", "/api/v1/stops", json!({ "reason": "so that it stays", "model": model }));
    stop(json!(null)).await.good(204);
    let (_, runs) = world.lead("Waits").await;
    world.lead("Waits behind it").await;
    // No worker takes what waits at a time that is not its own.
    let later = world.clock.now() + jiff::SignedDuration::from_mins(60);
    let due = triggerbox_automation::clock::millis(later);
    let put_off =
        move |conn: &rusqlite::Connection| conn.execute("UPDATE engine_run SET due = ?1", [due]).map_err(DbError::from);
    world.app.write(put_off).await.unwrap();
    let look = |minutes: i64| {
        let now = later + jiff::SignedDuration::from_mins(minutes);
        let found = alerts::of_queue(&world.app, &world.app.engine().database().snapshot().unwrap(), now).unwrap();
        found.into_iter().map(|one| (one.kind, one.rule, one.run, one.message)).collect::<Vec<_>>()
    };
    assert_eq!(look(90), [], "everything is stopped");
    world.call("DELETE", "/api/v1/stops", json!({})).await.good(204);
    assert_eq!(look(29), []);
    let found = look(31);
    let told: Vec<_> = found.iter().map(|(kind, rule, run, _)| (*kind, rule.as_str(), *run)).collect();
    assert_eq!(told, [("queue-waits", "again", Some(runs[1])), ("queue-waits", "score", Some(runs[0]))]);
    assert!(found[0].3.contains("has waited for 31 minutes"), "{found:?}");
    world.call("POST", "/api/v1/rules/again/pause", json!({ "reason": "stocktaking" })).await.good(204);
    assert_eq!(look(31).len(), 1, "who pauses it knows");
    stop(json!("crm.lead")).await.good(204);
    assert_eq!(look(31), []);
    world.call("DELETE", "/api/v1/stops?model=crm.lead", json!({})).await.good(204);
    let standing = {
        let now = later + jiff::SignedDuration::from_mins(31);
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), &mut Running::new(), now).unwrap()
    };
    assert_eq!(standing.iter().map(|one| one.kind).collect::<Vec<_>>(), ["queue-waits"]);
}

// Shows: F088
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_breaks_before_a_write_is_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::DEMO_LOOP_FOREVER).await;
    let rule = "name = \"gate\"\nmodel = \"crm.lead\"\non-error = \"pass\"\n\
                trigger = { on = \"before\", writes = [\"create\"] }\nactions = [{ script = \"demo-loop-forever\" }]";
    world.rule(rule).await.good(201);
    world.lead("It is written all the same").await;
    let found = of_failures(&world.app, &world.app.engine().database().snapshot().unwrap()).unwrap();
    let [trouble] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((trouble.kind, trouble.rule.as_str(), trouble.since), ("before-rule-broken", "gate", world.clock.now()));
    assert!(trouble.run.is_some() && trouble.message.contains("writes go on without it"), "{trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_rule_before_a_write_whose_user_is_gone_it_is_told_what_becomes_of_writes() {
    let world = World::new().await;
    let rule = "name = \"gate\"\nmodel = \"crm.lead\"\nrun-as = \"sam\"\n\
                trigger = { on = \"before\", writes = [\"create\"] }\n\
                actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    world.rule(rule).await.good(201);
    let path = format!("/api/v1/records/res.users/{SAM}");
    world.call("PATCH", &path, json!({ "login": "samuel" })).await.good(200);
    let lead = json!({ "records": [{ "name": "It is not written" }] });
    assert_eq!(world.call("POST", "/api/v1/records/crm.lead", lead).await.code(422), "broken-before-rule");
    let now = world.clock.now();
    let found =
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), &mut Running::new(), now).unwrap();
    let told = |kind: &str| found.iter().any(|one| one.kind == kind && one.message.contains("are refused until"));
    assert!(told("rule-broken") && told("before-rule-broken"), "{found:?}");
}

// Shows: F005, F088
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_breaks_while_a_form_is_edited_is_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::DEMO_LOOP_FOREVER).await;
    let rule = "name = \"form\"\nmodel = \"crm.lead\"\ntrigger = { on = \"on-change\", fields = [\"phone\"] }\n\
                actions = [{ script = \"demo-loop-forever\" }]";
    world.rule(rule).await.good(201);
    let draft = Snapshot { id: 0, fields: vec![FieldValue::new("phone", Value::text("1"))] };
    let answer = world.app.engine().draft(SAM, "crm.lead", &draft, &["phone".to_owned()]).await.unwrap();
    assert!(answer.warnings[0].contains("is broken"), "{answer:?}");
    let found = of_failures(&world.app, &world.app.engine().database().snapshot().unwrap()).unwrap();
    let [trouble] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((trouble.kind, trouble.rule.as_str(), trouble.since), ("form-rule-broken", "form", world.clock.now()));
    assert!(trouble.run.is_some() && trouble.message.contains("forms go on without it"), "{trouble:?}");
}

/// The clock of a model's provider, which stands.
struct Standing;

impl triggerbox_llm::Clock for Standing {
    fn now(&self) -> jiff::Timestamp {
        crate::world::NOW.parse().unwrap()
    }

    fn sleep<'a, 'b>(&'a self, _: std::time::Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {})
    }
}

// Shows: F055, F056, F081
#[tokio::test(flavor = "multi_thread")]
async fn budgets_that_are_nearly_spent_are_trouble() {
    let budget = |calls, tokens, cost| triggerbox_llm::config::Budget { calls, tokens, cost };
    let budgets = triggerbox_llm::config::Budgets {
        rule_day: budget(10, 1_000_000, 5.0),
        server_day: budget(100, 1_000_000, 10.0),
        ..Default::default()
    };
    let services = triggerbox_llm::Services {
        models: triggerbox_llm::Models::off(),
        web: None,
        budgets,
        clock: Arc::new(Standing),
    };
    let world = World::with_outside(Config::default(), Some(Arc::new(services))).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    let rule = "name = \"look\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\nchain = true\ncaps = { tokens = 1000 }\n\
                actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" },\n\
                grants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }] }]";
    world.rule(rule).await.good(201);
    let spend = async |sql: &'static str| {
        world.app.write(move |conn| Ok::<_, DbError>(conn.execute_batch(sql)?)).await.unwrap();
        let now = world.clock.now();
        let conn = world.app.engine().database().snapshot().unwrap();
        let mut found = standing(&world.app, &conn, &mut Running::new(), now).unwrap();
        found.sort_by(|one, other| (one.kind, &one.rule).cmp(&(other.kind, &other.rule)));
        found.into_iter().map(|one| (one.kind, one.rule, one.message, one.since)).collect::<Vec<_>>()
    };
    let used = "INSERT INTO llm_account (scope, key, calls, tokens, micro_euro) VALUES \
                ('rule-day', 'look@2026-11-20', 7, 500, 1000), ('rule-day', 'look@2026-11-19', 10, 500, 1000), \
                ('server-day', '2026-11-20', 7, 500, 7900000), ('session', '1', 7, 799, 1), ('session', '2', 7, 999, 1); \
                INSERT INTO engine_session (rule, model, record, started, ended) VALUES \
                ('look', 'crm.lead', 1, 0, NULL), ('look', 'crm.lead', 2, 0, 1)";
    assert_eq!(spend(used).await, []);
    let found = spend(
        "UPDATE llm_account SET calls = 8 WHERE key = 'look@2026-11-20'; \
         UPDATE llm_account SET micro_euro = 8500000 WHERE scope = 'server-day'; \
         UPDATE llm_account SET tokens = 900 WHERE key = '1'; \
         INSERT INTO engine_thread (run, name, session, resume, begun) VALUES (1, 'T', 1, 0, 7000)",
    )
    .await;
    let told: Vec<_> = found.iter().map(|(kind, rule, ..)| (*kind, rule.as_str())).collect();
    let all = [("budget-nearly-spent", ""), ("budget-nearly-spent", "look"), ("session-nearly-over", "look")];
    assert_eq!(told, all);
    for ((_, _, message, _), part) in found.iter().zip([
        "85 % of the budget llm-cost",
        "80 % of the budget llm-calls",
        "90 % of the budget llm-tokens",
    ]) {
        assert!(message.contains(part), "{message}");
    }
    let since: Vec<_> = found.iter().map(|(.., since)| since.to_string()).collect();
    assert_eq!(
        since,
        ["2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z", "1970-01-01T00:00:07Z"],
        "once a day, once a run"
    );
}

// Shows: F035, F088
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_for_a_yes_is_told_without_what_it_is_about() {
    let (mut config, mut heard) = listen().await;
    config.web.url = Some("https://automation.example".to_owned());
    let world = World::with(config).await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(&format!("{}\n    mode = \"approve\"\n", crate::world::SCORE)).await.good(201);
    let (_, runs) = world.lead("Software for Zoe Unforgettable").await;
    let (_, body) = heard.recv().await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let told: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&told["kind"], &told["run"], &told["rule"]),
        (&json!("approval-waits"), &json!(runs[0]), &json!("score"))
    );
    assert!(text.contains(&format!("https://automation.example/approvals/{}", runs[0])), "{text}");
    assert!(!text.contains("Unforgettable"), "{text}");

    let waiting = || alerts::of_approvals(&world.app, &world.app.engine().database().snapshot().unwrap()).unwrap();
    assert_eq!(waiting().len(), 1);
    let (_, more) = world.lead("Another one").await;
    world.ended(more[0]).await;
    let both = waiting();
    assert_eq!(both.len(), 1, "one for each rule: {both:?}");
    assert!(both[0].message.contains("and so do 1 more of it"), "{both:?}");
    for run in [runs[0], more[0]] {
        world.call("POST", &format!("/api/v1/approvals/{run}/reject"), json!({})).await.good(204);
    }
    assert_eq!(waiting(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_follows_nobody_elsewhere() {
    let (inside, mut asked) = mpsc::unbounded_channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secret = format!("http://{}/inside", listener.local_addr().unwrap());
    let receiver = Router::new().route(
        "/inside",
        axum::routing::any(move || async move {
            let _ = inside.send(());
        }),
    );
    tokio::spawn(async move { axum::serve(listener, receiver).await });

    let (told, mut heard) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::default();
    config.alerts.to = vec![format!("http://{}/alerts", listener.local_addr().unwrap())];
    let there = secret.clone();
    let moved = Router::new().route(
        "/alerts",
        post(move || async move {
            let _ = told.send(());
            (axum::http::StatusCode::TEMPORARY_REDIRECT, [("location", there)])
        }),
    );
    tokio::spawn(async move { axum::serve(listener, moved).await });

    let world = World::with(config).await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(&format!("{}\n    mode = \"approve\"\n", crate::world::SCORE)).await.good(201);
    world.lead("Told").await;
    heard.recv().await.unwrap();
    // The answer is an error of the address: when it was noted that the alert was told, nobody else had been asked.
    let engine = world.app.engine();
    let noted = || seen::noted(&engine.database().snapshot().unwrap(), "alert:approval-waits", "score").unwrap();
    eventually(async || noted()).await;
    assert!(asked.try_recv().is_err(), "{secret} was asked");
}
