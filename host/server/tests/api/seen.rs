//! What is shown of runs to who may not read all that they were about, and who lends whose rights.

use guest_artifacts::{LEAD_SCORING, LOUD, UPDATE_RECORD};
use serde_json::{Value as Json, json};
use triggerbox_automation::EngineError;
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::{people::Role, tokens::Scope};

use crate::{
    browser::Browser,
    pages::upload,
    world::{ADMIN, SAM, SCORE, World},
};

/// Leads of these users.
async fn leads(world: &World, users: &[u32]) -> Vec<u64> {
    let leads: Vec<Json> =
        users.iter().map(|user| json!({ "name": "Software for our manufacturing plants", "user_id": user })).collect();
    let made = world.call("POST", "/api/v1/records/crm.lead", json!({ "records": leads })).await.good(201);
    serde_json::from_value(made["ids"].clone()).unwrap()
}

/// A run by hand, of a rule of the administrator's.
async fn run(world: &World, rule: &str, leads: &[u64]) -> i64 {
    let path = format!("/api/v1/rules/{rule}/run");
    let made = world.call("POST", &path, json!({ "records": leads })).await.good(202);
    let run = made["runs"][0].as_i64().unwrap();
    world.ended(run).await;
    run
}

// Shows: F093, F105
#[tokio::test(flavor = "multi_thread")]
async fn what_another_version_says_of_a_run_is_for_who_may_see_what_it_read() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&SCORE.replace("created", "manual")).await.good(201);
    let leads = leads(&world, &[SAM, ADMIN]).await;
    let (theirs, hidden) = (run(&world, "score", &leads[..1]).await, run(&world, "score", &leads[1..]).await);
    let token = world.token(SAM, &Scope::ALL).await;
    let own = json!({
        "name": "own", "model": "crm.lead", "trigger": { "on": "manual" }, "actions": [{ "script": "lead-scoring" }],
    });
    world.call_as(&token, "PUT", "/api/v1/rules/own", own).await.good(201);
    let own = run(&world, "own", &leads[..1]).await;

    let developer = Browser::of(&world, SAM, &[Role::Developer]).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let manifest = LEAD_SCORING.manifest.unwrap().replace("version = \"0.1.0\"", "version = \"9.9.9\"");
    let other = embed_manifest(UPDATE_RECORD.component, &manifest).unwrap();
    assert_eq!(upload(&developer, "lead-scoring.wasm", &other).await.status, 303);
    let all = world.get("/api/v1/scripts/lead-scoring").await.good(200);
    let version = all["versions"].as_array().unwrap().iter().find(|one| one["version"] == "9.9.9").unwrap();
    let hash = version["hash"].as_str().unwrap();

    for (browser, told) in [(&admin, vec![theirs, hidden, own]), (&developer, vec![own])] {
        let page = browser.post("/scripts/lead-scoring/backtest", &[("hash", hash)]).await.text();
        assert!(page.contains("2 differ") && page.contains("1 differ"), "how many is told: {page}");
        for run in [theirs, hidden, own] {
            assert_eq!(page.contains(&format!("Run #{run}<")), told.contains(&run), "{run}: {page}");
        }
        assert_eq!(page.matches("change 1: then").count(), told.len(), "{page}");
    }

    let replay = |run: i64| format!("/runs/{run}/replay");
    let page = developer.page(&format!("/runs/{theirs}")).await;
    assert!(page.contains("Replay what was recorded") && !page.contains("9.9.9"), "{page}");
    let same = developer.post(&replay(theirs), &[]).await.text();
    assert!(same.contains("exactly what it did then") && same.contains("More is told to"), "{same}");
    let refused = developer.post(&replay(theirs), &[("version", hash)]).await;
    assert!(refused.status == 403 && refused.text().contains("access-denied"), "{}", refused.text());
    assert_eq!(developer.post(&replay(hidden), &[]).await.status, 404);
    let page = developer.post(&replay(own), &[("version", hash)]).await.text();
    assert!(page.contains("9.9.9") && page.contains("change 1: then"), "{page}");
}

// Shows: F089, F105
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_logged_is_for_who_may_read_all_of_its_records() {
    let world = World::new().await;
    let rule = "name = \"mark\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    world.rule(rule).await.good(201);
    let leads = leads(&world, &[SAM, ADMIN]).await;
    let (both, one) = (run(&world, "mark", &leads).await, run(&world, "mark", &leads[..1]).await);
    let lines = move |conn: &rusqlite::Connection| {
        for run in [both, one] {
            let sql =
                "INSERT INTO engine_log (at, rule, run, attempt, level, message) VALUES (0, 'mark', ?, 1, 1, 'x')";
            conn.execute(sql, [run])?;
        }
        Ok::<_, EngineError>(())
    };
    world.app.write(lines).await.unwrap();
    let sam = world.token(SAM, &[Scope::Read]).await;
    for (token, told) in [(&world.token, vec![one, both]), (&sam, vec![one])] {
        let found = world.get_as(token, "/api/v1/logs?contains=x").await.good(200);
        let runs = found["lines"].as_array().unwrap().iter().map(|line| line["run"].as_i64().unwrap());
        assert_eq!(runs.collect::<Vec<_>>(), told);
    }
    assert_eq!(world.get_as(&sam, &format!("/api/v1/runs/{both}")).await.code(404), "unknown-run");
    // In a list it is seen by its first record, without its words.
    for (token, says) in [(&world.token, [true, true]), (&sam, [true, false])] {
        let list = world.get_as(token, "/api/v1/runs?rule=mark").await.good(200);
        let runs = list["runs"].as_array().unwrap();
        let told: Vec<_> = runs.iter().map(|run| (run["id"].as_i64().unwrap(), !run["message"].is_null())).collect();
        assert_eq!(told, [(one, says[0]), (both, says[1])], "{list}");
    }
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn what_rules_say_to_a_form_is_for_who_may_read_its_record() {
    let world = World::new().await;
    let rule = "name = \"form\"\nmodel = \"crm.lead\"\ntrigger = { on = \"on-change\", fields = [\"name\"] }\n\
                actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    world.rule(rule).await.good(201);
    let leads = leads(&world, &[SAM, ADMIN]).await;
    let sam = world.token(SAM, &[Scope::Records]).await;
    let ask = async |id: u64, model: &str| {
        let body = json!({ "id": id, "values": { "name": "Chairs" }, "edited": ["name"] });
        world.call_as(&sam, "POST", &format!("/api/v1/drafts/{model}"), body).await
    };
    for id in [0, leads[0]] {
        assert_eq!(ask(id, "crm.lead").await.good(200)["values"], json!({ "city": "Ghent" }), "{id}");
    }
    assert_eq!(ask(leads[1], "crm.lead").await.code(404), "missing-record");
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_says_of_itself_is_not_told_where_its_rule_is_shown() {
    let config = triggerbox_server::Config::default();
    let engine = triggerbox_automation::Config { pause_after: 1, ..config.engine() };
    let world = World::with_engine(config, engine).await;
    world.script(&LOUD).await;
    let rule = json!({
        "name": "fails", "model": "crm.lead", "trigger": { "on": "manual" },
        "actions": [{ "script": "loud", "parameters": { "texts": "[\"the colour of chairs\"]", "fails": "true" } }],
    });
    world.call("PUT", "/api/v1/rules/fails", rule).await.good(201);
    let leads = leads(&world, &[ADMIN]).await;
    let run = run(&world, "fails", &leads).await;
    let sam = world.token(SAM, &[Scope::Read]).await;
    let path = "/api/v1/rules/fails/diagnosis";
    let told = async |token: &str| {
        let causes = world.get_as(token, path).await.good(200)["causes"].clone();
        causes.as_array().unwrap().iter().find(|cause| cause["code"] == "failed").unwrap()["sentence"].to_string()
    };
    assert!(told(&world.token).await.contains("the colour of chairs"));
    let hidden = told(&sam).await;
    assert!(hidden.contains(&format!("its last run, {run}, is about records that you may not read")), "{hidden}");
    let paused = world.get_as(&sam, "/api/v1/rules/fails").await.good(200)["paused"].to_string();
    assert!(paused.contains(&format!("the last: failed, run {run}")) && !paused.contains("colour"), "{paused}");
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_about_the_records_that_its_rules_source_gave() {
    let world = World::new().await;
    let mine = leads(&world, &[SAM]).await[0];
    let rule = |name: &str, leads: &[u64]| {
        format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\ndispatch = \"single\"\n\
             source = {{ domain = \"[('id', 'in', {leads:?})]\" }}\n\
             actions = [{{ script = \"notify\", parameters = {{ text = \"x\" }} }}]"
        )
    };
    let theirs = leads(&world, &[ADMIN]).await[0];
    world.rule(&rule("mine", &[mine])).await.good(201);
    world.rule(&rule("both", &[mine, theirs])).await.good(201);
    let (shown, hidden) = (run(&world, "mine", &[]).await, run(&world, "both", &[]).await);
    let all = world.get(&format!("/api/v1/runs/{hidden}")).await.good(200);
    assert_eq!(all["firing"]["found"], json!([theirs, mine]), "{all}");
    let sam = world.token(SAM, &Scope::ALL).await;
    world.get_as(&sam, &format!("/api/v1/runs/{shown}")).await.good(200);
    assert_eq!(world.get_as(&sam, &format!("/api/v1/runs/{hidden}")).await.code(404), "unknown-run");

    // Nor is it told what it would do to them.
    let operator = Browser::of(&world, SAM, &[Role::Operator]).await;
    let tried = operator.post("/automations/both/test", &[]).await.text();
    assert!(tried.contains("what it would change is not shown"), "{tried}");
}

// Shows: F104
#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_administrator_of_the_records_lets_nobody_sign_in_with_others_rights() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let sam = Browser::of(&world, SAM, &[Role::Administrator]).await;
    for (path, fields) in [
        ("/settings/accounts", vec![("login", "other"), ("user", "admin"), ("role", "reader")]),
        ("/settings/accounts/2", vec![("user", "admin"), ("role", "administrator")]),
        ("/settings/accounts/1/link", vec![]),
    ] {
        let answer = sam.post(path, &fields).await;
        assert!(answer.status == 403 && answer.text().contains("access-denied"), "{path}: {}", answer.text());
    }
    assert!(!sam.page("/settings").await.contains("<b>other</b>"), "nothing was made");
    // What others may do is a matter of roles, and one's own rights may be had in several ways.
    let user = ADMIN.to_string();
    let roles = [("user", user.as_str()), ("role", "administrator"), ("role", "reader")];
    sam.done("/settings/accounts/1", &roles).await;
    let own = [("login", "second"), ("user", "sam"), ("role", "reader")];
    for (path, fields) in [("/settings/accounts", &own[..]), ("/settings/accounts/2/link", &[])] {
        let answer = sam.post(path, fields).await;
        assert!(answer.status == 200 && answer.text().contains("/welcome?key="), "{path}: {}", answer.text());
    }
    admin.done("/settings/accounts/2", &[("user", "maya"), ("role", "administrator")]).await;
}

// Shows: F104
#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_token_is_not_told_again_with_the_key_of_its_request() {
    let world = World::new().await;
    let new = json!({ "name": "ci", "user": "admin", "scopes": ["read"] });
    let ask = async || {
        let request = world.json("POST", "/api/v1/tokens", &new).bearer_auth(&world.token);
        world.send(request.header("idempotency-key", "ci-1")).await
    };
    let made = ask().await.good(201);
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(ask().await.code(409), "answer-lost");
    let count = world.get("/api/v1/tokens").await.good(200)["tokens"].as_array().unwrap().len();
    assert_eq!(count, 2, "the world's own, and this one");
    let kept = move |conn: &rusqlite::Connection| {
        let sql = "SELECT count(*) FROM engine_seen WHERE instr(coalesce(answer, ''), ?1) > 0";
        Ok::<_, EngineError>(conn.query_row(sql, [secret], |row| row.get::<_, u32>(0))?)
    };
    assert_eq!(world.app.read(kept).await.unwrap(), 0);
}

// Shows: F089, F105
#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_logs_tells_nothing_of_what_others_logged() {
    let world = World::new().await;
    let rule = "name = \"mark\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    world.rule(rule).await.good(201);
    let leads = leads(&world, &[SAM, ADMIN]).await;
    let (own, theirs) = (run(&world, "mark", &leads[..1]).await, run(&world, "mark", &leads[1..]).await);
    let lines = move |conn: &rusqlite::Connection| {
        for (run, text) in [(own, "red chairs"), (theirs, "red sofas"), (theirs, "red sofas"), (own, "red tables")] {
            let sql = "INSERT INTO engine_log (at, rule, run, attempt, level, message) VALUES (0, 'mark', ?, 1, 1, ?)";
            conn.execute(sql, (run, text))?;
        }
        Ok::<_, EngineError>(())
    };
    world.app.write(lines).await.unwrap();
    let sam = world.token(SAM, &[Scope::Read]).await;
    let asked = async |token: &str, query: &str| {
        let found = world.get_as(token, &format!("/api/v1/logs?{query}")).await.good(200);
        let lines = found["lines"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned());
        (lines.collect::<Vec<_>>(), found["next"].clone())
    };
    let none = || (Vec::<String>::new(), Json::Null);
    for text in ["sofas", "stools"] {
        assert_eq!(asked(&sam, &format!("contains={text}&limit=1")).await, none(), "{text}");
    }
    assert!(asked(&world.token, "contains=sofas&limit=1").await.1.is_number());
    let (first, next) = asked(&sam, "contains=red&limit=1").await;
    assert_eq!(first, ["red tables"]);
    let (second, next) = asked(&sam, &format!("contains=red&limit=1&before={next}")).await;
    assert_eq!((second, next), (vec!["red chairs".to_owned()], Json::Null));

    // Nor how many events and threads are about a record.
    let path = format!("model=crm.lead&record={}&limit=1", leads[1]);
    for what in ["events", "threads"] {
        let found = world.get_as(&sam, &format!("/api/v1/{what}?{path}")).await.good(200);
        assert_eq!((&found[what], &found["next"]), (&json!([]), &Json::Null), "{what}");
    }
}
