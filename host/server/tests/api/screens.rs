//! What single screens tell, and how much of it at once: however much there is, a page stays small, and the rest is a page
//! farther.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, mpsc},
};

use guest_artifacts::{LEAD_SCORING, LOUD};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_automation::{Clock, EngineError, TestClock, config::Retention, retention};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::{
    Config,
    people::{Role, audit},
    tokens::{self, NewToken, Scope},
};
use triggerbox_store::db::Database;

use crate::{
    agents::services,
    browser::{Browser, sound},
    model::{ModelServer, Say},
    pages::upload,
    world::{ADMIN, MANAGER, READER, SAM, SCORE, World, eventually},
};

/// Lead scoring as another version that says more in its manifest.
fn lead_scoring(version: &str, more: &str) -> Vec<u8> {
    let manifest = LEAD_SCORING.manifest.unwrap().replace("version = \"0.1.0\"", &format!("version = \"{version}\""));
    embed_manifest(LEAD_SCORING.component, &format!("{manifest}\n{more}")).unwrap()
}

/// Changes the database as nobody can over HTTP.
async fn put(world: &World, work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
    world.app.write(|conn| Ok::<_, EngineError>(work(conn)?)).await.unwrap();
}

/// All pages from one on, each with a button that leads to the next: what stands behind a word, up to the next mark.
async fn all(browser: &Browser<'_>, first: &str, button: &str, word: &str) -> (Vec<String>, usize) {
    let (mut path, mut found, mut count) = (first.to_owned(), Vec::new(), 0);
    loop {
        let page = browser.page(&path).await;
        count += 1;
        assert!(count < 100, "it does not end: {path}");
        found.extend(page.split(word).skip(1).map(|rest| rest.split(['"', '<']).next().unwrap().to_owned()));
        let Some(before) = page.split(button).next().filter(|before| before.len() < page.len()) else {
            return (found, count);
        };
        path = before.rsplit("href=\"").next().unwrap().split('"').next().unwrap().replace("&amp;", "&");
    }
}

// Shows: F093
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_asks_for_more_says_so() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let sends = "[[http]]\nmethods = [\"GET\", \"POST\"]\nurl = \"https://shop.example/*\"\n";
    let limit = |fuel: &str| format!("[limits]\nfuel = {fuel}\n");
    for (version, more) in [
        ("0.1.0", limit("5_000_000")),
        ("0.2.0", limit("4_000_000")),
        ("0.3.0", limit("6_000_000")),
        ("0.4.0", format!("{sends}{}", limit("5_000_000"))),
    ] {
        let answer = upload(&admin, "x.wasm", &lead_scoring(version, &more)).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
    }
    let page = admin.page("/scripts/lead-scoring").await;
    let card = |version: &str| {
        let head = format!("Version {version} ");
        // What is said of the last upload stands before all cards.
        page.split("<section").skip(1).find(|card| card.contains(&head)).unwrap_or_else(|| panic!("{version}: {page}"))
    };
    assert!(card("0.2.0").contains("asks for nothing more") && !card("0.2.0").contains("asks for more"));
    let raised = card("0.3.0");
    assert!(raised.contains("asks for more") && !raised.contains("asks for nothing more"), "{raised}");
    assert!(raised.contains("limit <b>fuel</b>: 6\u{202f}000\u{202f}000, before: 5\u{202f}000\u{202f}000"), "{raised}");
    let sends = card("0.4.0");
    assert!(sends.contains("asks for more") && !sends.contains("asks for nothing more"), "{sends}");
    let told = "sends <b>GET</b>, <b>POST</b> to <code>https://shop.example/*</code>";
    assert_eq!(sends.matches(told).count(), 2, "among what it asks for, and against the active version: {sends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_rolled_back_where_there_is_something_to_go_back_to() {
    let world = World::new().await;
    let first = world.script(&LEAD_SCORING).await["script"]["hash"].as_str().unwrap().to_owned();
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let is_offered = async || admin.page("/scripts/lead-scoring").await.contains("/scripts/lead-scoring/roll-back\"");
    assert!(!is_offered().await);
    admin.done("/scripts/lead-scoring/deactivate", &[]).await;
    admin.done("/scripts/lead-scoring/activate", &[("hash", &first)]).await;
    assert!(!is_offered().await, "it was switched off and on, and has one version");
    assert_eq!(admin.post("/scripts/lead-scoring/roll-back", &[]).await.status, 409);
    assert_eq!(upload(&admin, "x.wasm", &lead_scoring("0.2.0", "")).await.status, 303);
    let versions = world.get("/api/v1/scripts/lead-scoring").await.good(200)["versions"].clone();
    let second = versions.as_array().unwrap().iter().find(|one| one["version"] == "0.2.0").unwrap()["hash"].clone();
    admin.done("/scripts/lead-scoring/activate", &[("hash", second.as_str().unwrap())]).await;
    assert!(is_offered().await);
    admin.done("/scripts/lead-scoring/roll-back", &[]).await;
    assert!(!is_offered().await, "there is none before the first");
}

/// A lead that waits for a yes to what is to become of it.
async fn waiting(world: &World, values: Json) -> (u64, i64) {
    let made = world.call("POST", "/api/v1/records/crm.lead", json!({ "records": [values] })).await.good(201);
    let run = made["runs"][0].as_i64().unwrap();
    assert_eq!(world.ended(run).await["state"], "waiting-approval");
    (made["ids"][0].as_u64().unwrap(), run)
}

/// A world with runs at these times, all of them scored.
async fn at_times(times: &[&str]) -> (World, u32, Vec<i64>) {
    let clock = Arc::new(TestClock::at(times[0].parse().unwrap()));
    let world = World::on(Database::demo_in_memory(clock.now()).unwrap(), clock, Config::default()).await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let (lead, mut runs) = world.lead("Software for our manufacturing plants").await;
    world.ended(runs[0]).await;
    for time in &times[1..] {
        world.clock.set(time.parse().unwrap());
        let fired = world.call("POST", "/api/v1/rules/score/run", json!({ "records": [lead] })).await.good(202);
        runs.push(fired["runs"][0].as_i64().unwrap());
        world.ended(runs[runs.len() - 1]).await;
    }
    (world, lead, runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_told_in_the_zone_of_the_visitor_whatever_its_clocks_do() {
    // Brussels turns its clocks on these nights; New York did before the first, and does after the second.
    let spring = [
        ("2026-03-29T00:30:00Z", "Sunday, 29 March 2026, 01:30:00 CET", "Saturday, 28 March 2026, 20:30:00 EDT"),
        ("2026-03-29T01:30:00Z", "Sunday, 29 March 2026, 03:30:00 CEST", "Saturday, 28 March 2026, 21:30:00 EDT"),
    ];
    let autumn = [
        ("2026-10-25T00:30:00Z", "Sunday, 25 October 2026, 02:30:00 CEST", "Saturday, 24 October 2026, 20:30:00 EDT"),
        ("2026-10-25T01:30:00Z", "Sunday, 25 October 2026, 02:30:00 CET", "Saturday, 24 October 2026, 21:30:00 EDT"),
    ];
    for night in [spring, autumn] {
        let (world, lead, runs) = at_times(&night.map(|(time, ..)| time)).await;
        // Sam, from now on, is in New York.
        world.call("PATCH", "/api/v1/records/res.partner/5", json!({ "tz": "America/New_York" })).await.good(200);
        let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
        let sam = Browser::of(&world, SAM, &[Role::Reader]).await;
        world.call("PATCH", &format!("/api/v1/records/crm.lead/{lead}"), json!({ "user_id": SAM })).await.good(200);
        let lists = ["/runs".to_owned(), "/automations/score".to_owned(), format!("/sessions/crm.lead/{lead}")];
        let both: Vec<_> = lists.iter().map(|path| (path.clone(), &night[..])).collect();
        let alone = runs.iter().zip(night.chunks(1)).map(|(run, one)| (format!("/runs/{run}"), one));
        for (path, told) in both.into_iter().chain(alone) {
            let (there, here) = (admin.page(&path).await, sam.page(&path).await);
            for (time, brussels, new_york) in told {
                for (page, local) in [(&there, brussels), (&here, new_york)] {
                    let whole = format!("<time datetime=\"{time}\" title=\"{local}\">");
                    assert!(page.contains(&whole), "{path}: {whole}: {page}");
                }
            }
        }
        assert!(admin.page("/settings").await.contains(night[0].1), "the token that was made then");
        // A day is the visitor's, from its midnight to the next, however many hours are between them.
        let day = &night[0].0[..10];
        let path = format!("/runs?since={day}&until={day}");
        let (there, here) = (admin.page(&path).await, sam.page(&path).await);
        for run in &runs {
            let link = format!("href=\"/runs/{run}\"");
            assert!(there.contains(&link) && !here.contains(&link), "{link}: {there} {here}");
        }
    }
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_meanwhile_is_told_before_somebody_decides() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let plant = json!({ "name": "Software for our manufacturing plants", "email_from": "ada@cedar.example" });
    let (lead, run) = waiting(&world, plant).await;
    let manager = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    let path = format!("/approvals/{run}");
    let page = manager.page(&path).await;
    assert!(!page.contains("Changed meanwhile") && page.contains("Approve and apply"), "{page}");
    // The automation reads this and writes something else.
    let other = json!({ "email_from": "grace@cedar.example" });
    world.call("PATCH", &format!("/api/v1/records/crm.lead/{lead}"), other).await.good(200);
    let page = manager.page(&path).await;
    assert!(page.contains("Software for our manufacturing plants (email_from)"), "{page}");
    assert!(page.contains("nothing is overwritten"), "{page}");
    let hash = page.split("name=\"hash\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = manager.post(&format!("{path}/approve"), &[("hash", hash)]).await;
    assert_eq!(answer.status, 409, "what the page told is what happens: {}", answer.text());

    // Nobody decides in time.
    world.ended(run).await;
    assert!(manager.page(&path).await.contains("Approve and apply"));
    world.clock.advance(std::time::Duration::from_secs(73 * 3_600));
    let again = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    let page = again.page(&path).await;
    let told = page.contains("It has expired") || page.contains("Expired");
    assert!(told && !page.contains("Approve and apply"), "{page}");
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn whoever_had_a_hand_in_it_is_told_why_somebody_else_decides() {
    let world = World::new().await;
    let manager = Browser::of(&world, MANAGER, &[Role::Approver, Role::Developer]).await;
    let uploaded = upload(&manager, "x.wasm", &lead_scoring("0.1.0", "")).await;
    assert_eq!(uploaded.status, 303, "{}", uploaded.text());
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let (_, run) = waiting(&world, json!({ "name": "Software for our manufacturing plants" })).await;
    let path = format!("/approvals/{run}");
    for (user, why) in [(MANAGER, "uploaded the script"), (ADMIN, "owns the rule")] {
        let browser = Browser::of(&world, user, &[Role::Approver]).await;
        let page = browser.page(&path).await;
        assert!(page.contains(&format!("{why}: somebody else must approve")), "{page}");
        assert!(!page.contains("Approve and apply") && page.contains("Reject"), "{page}");
        let hash = page.split("name=\"hash\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let answer = browser.post(&format!("{path}/approve"), &[("hash", hash)]).await;
        assert!(answer.status == 403 && answer.text().contains("may-not-approve"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_chosen_in_rows_that_say_the_same_as_the_text() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let rule = [("known", ""), ("name", "score"), ("model", "crm.lead"), ("active", "1"), ("on", "created")];
    let script = [("script", "lead-scoring")];
    let rows = [
        ("d.was", ""),
        ("domain", ""),
        ("d.field", "expected_revenue"),
        ("d.operator", ">"),
        ("d.value", "10000"),
        ("d.field", "name"),
        ("d.operator", "ilike"),
        ("d.value", "7"),
    ];
    let asked = admin.post("/automations/_ask", &[&rule[..], &rows, &script].concat()).await;
    assert!(asked.text().contains("record(s) match now"), "{}", asked.text());
    admin.done("/automations/_new", &[&rule[..], &rows, &script].concat()).await;
    let domain = "[('expected_revenue', '>', 10000), ('name', 'ilike', '7')]";
    let kept = world.get("/api/v1/rules/score").await.good(200);
    assert_eq!(kept["rule"]["domain"], domain, "a name is a text, whatever it looks like: {kept}");
    let form = admin.page("/automations/score").await;
    for part in
        ["name=\"d.value\" value=\"10000\"", "name=\"d.value\" value=\"7\"", "Add a condition", "Expected Revenue"]
    {
        assert!(form.contains(part), "{part}: {form}");
    }
    // What rows cannot say is a text, and is kept as one.
    let or = "['|', ('name', '=', 'a'), ('name', '=', 'b')]";
    let version = kept["version"].to_string();
    let known = [("known", "score"), ("version", version.as_str()), ("d.was", domain), ("domain", or)];
    admin.done("/automations/score", &[&rule[2..], &known, &rows[2..], &script].concat()).await;
    assert_eq!(world.get("/api/v1/rules/score").await.good(200)["rule"]["domain"], or);
    let form = admin.page("/automations/score").await;
    assert!(form.contains("says more than rows can") && !form.contains("d.value"), "{form}");
}

// Shows: F080
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_tried_on_the_records_that_match_now() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    domain = \"[('name', 'ilike', 'needle')]\"\n")).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let dry = [("records", ""), ("matching", "1")];
    let none = admin.post("/automations/score/test", &dry).await.text();
    assert!(none.contains("No record matches now"), "{none}");
    let mut made = Vec::new();
    for number in 0..12 {
        let (lead, runs) = world.lead(&format!("A needle in the hay {number}")).await;
        world.ended(runs[0]).await;
        made.push(lead);
    }
    let page = admin.post("/automations/score/test", &dry).await.text();
    assert!(page.contains("nothing was changed") && page.contains("would succeed"), "{page}");
    assert!(page.contains("on the first 10 of the records that match now; there are 2 others"), "{page}");
    assert!(made.iter().any(|lead| page.contains(&lead.to_string())), "{page}");
    // What fired a run, again on the data of today.
    let runs = world.get("/api/v1/runs?rule=score").await.good(200);
    let run = runs["runs"][0]["id"].as_i64().unwrap();
    let page = admin.page(&format!("/runs/{run}")).await;
    assert!(page.contains("Dry run on today&#39;s data") || page.contains("Dry run on today's data"), "{page}");
    assert!(page.contains(" ms") && page.contains("class=\"meter busy\""), "host calls on a line of time: {page}");
    let again = admin.post(&format!("/runs/{run}/dry-run"), &[]).await.text();
    assert!(again.contains("nothing was changed") && again.contains("would succeed"), "{again}");
    assert_eq!(world.get("/api/v1/runs?rule=score").await.good(200)["runs"].as_array().unwrap().len(), 12);
}

/// Calls that are charged to the accounts of two automations.
const CALLS: i64 = 2_001;

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_told_from_the_accounts_that_budgets_are_held_against() {
    let server = ModelServer::of(vec![json!("Looked at it.")]);
    let world = World::with_outside(triggerbox_server::Config::default(), Some(services(&server))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    assert!(admin.page("/usage").await.contains("No automation has asked a language model"));
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    for name in ["look", "see"] {
        let rule = format!(
            "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n\
             actions = [{{ script = \"ai-agent\", agent = \"sales\", parameters = {{ prompt = \"Look.\" }} }}]"
        );
        world.rule(&rule).await.good(201);
    }
    let now = world.clock.now().as_millisecond();
    put(&world, move |conn| {
        // Each of the older calls cost a cent and 100 tokens; all of them are on the accounts, as the ledger keeps them.
        let account = "INSERT INTO llm_account (scope, key, calls, tokens, micro_euro) VALUES (?, ?, ?, ?, ?)";
        let calls = CALLS;
        conn.execute(account, ("rule-day", "look@2026-11-20", calls - 1, 100 * (calls - 1), 10_000 * (calls - 1)))?;
        conn.execute(account, ("rule-day", "see@2026-11-20", 1, 100, 10_000))?;
        conn.execute(account, ("rule-day", "see@2026-11-19", 3, 300, 30_000))?;
        conn.execute(account, ("rule-day", "see@2026-10-01", 3, 300, 30_000))?;
        conn.execute(account, ("server-day", "2026-11-20", calls, 100 * calls, 10_000 * calls))?;
        conn.execute(account, ("server-day", "2026-11-19", 3, 300, 30_000))?;
        let call = "INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, request, accounts, worst, used) \
                    VALUES (?1, ?2, 'root', 'model', x'00', 0, 'answered', ?3, '{\"model\": null, \"by\": \"test/small\"}', '[]', ?4, ?4)";
        let used = "{\"calls\": 1, \"tokens\": 100, \"micro_euro\": 10000}";
        for number in 0..calls {
            let rule = if number == 0 { "see" } else { "look" };
            conn.execute(call, (format!("run{number}"), rule, now, used))?;
        }
        Ok(())
    })
    .await;
    let page = admin.page("/usage").await;
    let budgets = services(&server).budgets.clone();
    let (server_day, rule_day) = (budgets.server_day.amount(), budgets.rule_day.amount());
    let told = |used: i64, most: u64| format!("{used}.0100 of €{}.0000", most / 1_000_000);
    assert!(page.contains(&told(20, server_day.micro_euro)), "€20.0100, not €20.0000: {page}");
    let row = |page: &str, day: &str, rule: &str| {
        let rows = page.split("<tr>").filter(|row| row.contains(day) && row.contains(&format!(">{rule}<")));
        rows.map(str::to_owned).next().unwrap_or_else(|| panic!("{day} {rule}: {page}"))
    };
    let by_rule = page.split("By day and automation").nth(1).unwrap().split("All automations together").next().unwrap();
    let look = row(by_rule, "2026-11-20", "look");
    assert!(look.contains("2\u{202f}000") && look.contains("200\u{202f}000") && look.contains("€20.0000"), "{look}");
    let part = |used: u64, most: u64| format!(" {} %", (used * 100 / most).min(100));
    assert!(look.contains(&part(200_000, rule_day.tokens)) && look.contains(&part(20_000_000, rule_day.micro_euro)));
    assert!(row(by_rule, "2026-11-20", "see").contains("€0.0100"), "the oldest call counts, too");
    assert!(row(by_rule, "2026-11-19", "see").contains("€0.0300"));
    assert!(!by_rule.contains("2026-10-01"));
    // The models are told of the newest calls alone, and the page says so.
    assert!(page.contains("of the newest 2\u{202f}000 calls alone"), "{page}");
    let by_model = page.split("By model").nth(1).unwrap();
    assert!(row(by_model, "2026-11-20", "look").contains("test/small") && !by_model.contains(">see<"), "{by_model}");
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn pace_failures_and_what_is_stuck_are_told_as_they_are() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let now = world.clock.now().as_millisecond();
    let run = "INSERT INTO engine_run (key, rule, rule_version, root, depth, request, class, actor, run_as, superuser, \
               seed, at, state, due, blockers, attempt, fence, finished) \
               VALUES (?1, ?2, 1, 0, 0, '{}', 'async', 2, 2, 0, 0, ?3, ?4, ?3, 0, 1, 1, ?5)";
    put(&world, move |conn| {
        let attempt = "INSERT INTO engine_attempt (run, attempt, action, script, started, finished, code, report) \
                       VALUES (?1, 1, 0, x'00', ?2, ?3, 'ok', x'00')";
        // A hundred runs of 1 to 100 milliseconds; each fourth failed.
        for number in 1..=100 {
            let state = if number % 4 == 0 { "failed" } else { "succeeded" };
            conn.execute(run, (format!("pace{number}"), "pace", now, state, Some(now)))?;
            conn.execute(attempt, (conn.last_insert_rowid(), now - number, now))?;
        }
        // One is at it for too long, another is not.
        for (key, since) in [("late", 3_600_000), ("early", 60_000)] {
            conn.execute(run, (key, key, now - since, "running", None::<i64>))?;
        }
        Ok(())
    })
    .await;
    let page = admin.page("/usage").await;
    let row = page.split("<tr>").find(|row| row.contains(">pace <span")).unwrap_or_else(|| panic!("{page}"));
    for part in [">100<", ">25<", " 25 %", ">50 ms<", ">95 ms<"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    assert!(row.contains("/runs?rule=pace&amp;state=failed"), "{row}");
    let stuck = page.split("Stuck runs").nth(1).unwrap_or_else(|| panic!("{page}"));
    assert!(stuck.contains("of late <span") && !stuck.contains("of early "), "{stuck}");
    // Of those that failed one was given up: no one state has them all.
    put(&world, |conn| conn.execute("UPDATE engine_run SET state = 'dead' WHERE key = 'pace4'", []).map(drop)).await;
    assert!(admin.page("/usage").await.contains("href=\"/runs?rule=pace\""));

    // Where nobody wants to be told of stuck runs, none is.
    let mut config = Config::default();
    config.alerts.stuck_minutes = 0;
    let world = World::with(config).await;
    let late = ("late", "late", now - 3_600_000, "running", None::<i64>);
    put(&world, move |conn| conn.execute(run, late).map(drop)).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    assert!(!admin.page("/usage").await.contains("Stuck runs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_that_cannot_be_tried_again_keeps_no_other_from_it() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let mut runs = Vec::new();
    for name in ["One", "Two", "Three"] {
        runs.push(world.lead(name).await.1[0]);
        world.ended(runs[runs.len() - 1]).await;
    }
    // They are tried again from the newest on.
    let damaged = runs[2];
    put(&world, move |conn| {
        conn.execute("UPDATE engine_run SET state = 'dead'", [])?;
        let damage = "UPDATE engine_run SET request = json_remove(request, '$.trigger') WHERE id = ?1";
        conn.execute(damage, [damaged]).map(drop)
    })
    .await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page(&admin.done("/usage/retry-dead", &[]).await).await;
    assert!(page.contains("2 run(s) are tried again. 1 cannot be: their pages say why."), "{page}");
    assert!(!page.contains("older ones"), "{page}");
    for run in &runs[..2] {
        world.ended(*run).await;
    }

    // No more than a hundred are taken at once, which is told.
    let now = world.clock.now().as_millisecond();
    put(&world, move |conn| {
        let run = "INSERT INTO engine_run (key, rule, rule_version, root, depth, request, class, actor, run_as, \
                   superuser, seed, at, state, due, blockers, attempt, fence, finished) \
                   VALUES (?1, 'score', 1, 0, 0, '{}', 'async', 2, 2, 0, 0, ?2, 'dead', ?2, 0, 1, 1, ?2)";
        (0..100).try_for_each(|number| conn.execute(run, (format!("dead{number}"), now)).map(drop))
    })
    .await;
    let page = admin.page(&admin.done("/usage/retry-dead", &[]).await).await;
    assert!(page.contains("100 cannot be: their pages say why. That was the newest hundred;"), "{page}");
}

// Shows: F129
#[tokio::test(flavor = "multi_thread")]
async fn the_settings_tell_what_the_files_say_and_where_it_is_changed() {
    let server = ModelServer::of(vec![json!("Looked at it.")]);
    let mut config = triggerbox_server::Config::default();
    config.policy.forbidden_models = Some(vec!["hr.employee".to_owned()]);
    config.alerts.to = vec!["https://chat.example/hooks/a-part-that-is-secret".to_owned()];
    config.providers = Some("/etc/triggerbox/providers.toml".into());
    let world = World::with_outside(config, Some(services(&server))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/settings").await;
    for (value, key) in [
        ("chat completions (openai)", "kind"),
        (format!("{}/v1", server.url).as_str(), "base-url"),
        ("with a key", "key"),
        ("100\u{202f}000", "requests-per-minute"),
        ("as many as come", "tokens-per-minute"),
        ("500", "concurrent"),
        ("120 seconds", "timeout"),
        ("0 times", "retries"),
        ("res.users, res.groups, ir.*", "guarded-models"),
        ("hr.employee", "forbidden-models"),
        ("none", "approved-operations"),
        ("72 hours", "runs.approval-hours"),
        ("https://chat.example", "alerts.to"),
    ] {
        let told = format!("<dd>{value} <code class=\"faint\">{key}</code></dd>");
        assert!(page.contains(&told), "{told}: {page}");
    }
    for part in
        ["budgets.rule-day", "2 EUR", "/etc/triggerbox/providers.toml", "<code>[policy]</code>", "after a restart"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("a-part-that-is-secret") && !page.contains("TEST_KEY"), "{page}");
    let parts = page.split("aria-label=\"On this page\"").nth(1).unwrap().split("</nav>").next().unwrap();
    let parts: Vec<_> = parts.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(parts.len(), 8);
    for part in parts {
        assert_eq!(page.matches(&format!("id=\"{part}\"")).count(), 1, "{part}: {page}");
    }
}

// Shows: F129
#[tokio::test(flavor = "multi_thread")]
async fn how_long_the_past_is_kept_is_set_on_the_page() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let shown = async |days: &str, told: &str| {
        let page = admin.page("/settings").await;
        assert!(
            page.contains(&format!("name=\"days\" value=\"{days}\"")) && page.contains(told),
            "{days} {told}: {page}"
        );
    };
    shown("90", "From <code>[retention]</code> of the configuration file.").await;
    let keep = |name: &str, value: &'static str| {
        let all = [
            ("days", "30"),
            ("journal-days", "0"),
            ("runs-per-rule", "1 000"),
            ("bytes-per-rule", "1048576"),
            ("deliveries-days", "2"),
        ];
        all.map(|(known, other)| (known, if known == name { value } else { other }))
    };
    // The file keeps journals for less time.
    let sure_as_file = [("as-file", "1"), ("sure", "1")];
    let sure = |fields: [(&'static str, &'static str); 5]| [&fields[..], &[("sure", "1")]].concat();
    assert_eq!(admin.done("/settings/retention", &sure(keep("", ""))).await, "/settings#retention");
    let set = Retention {
        days: Some(30),
        journal_days: None,
        runs_per_rule: Some(1_000),
        bytes_per_rule: Some(1 << 20),
        seen_days: 2,
    };
    assert_eq!(world.app.read(retention::kept).await.unwrap(), Some(set));
    shown("30", "configuration file says: runs 90 days, journals 30 days").await;
    for (name, value) in [
        ("days", "-1"),
        ("days", "for ever"),
        ("days", "36526"),
        ("journal-days", ""),
        ("runs-per-rule", "4294967296"),
        ("bytes-per-rule", "1e9"),
        ("deliveries-days", "0"),
    ] {
        let answer = admin.post("/settings/retention", &sure(keep(name, value))).await;
        assert_eq!(answer.status, 400, "{name} {value}");
        assert!(answer.text().contains(name), "{name}: {}", answer.text());
    }
    assert_eq!(world.app.read(retention::kept).await.unwrap(), Some(set));
    admin.done("/settings/retention", &sure_as_file).await;
    shown("90", "From <code>[retention]</code> of the configuration file.").await;
}

// Shows: F129
#[tokio::test(flavor = "multi_thread")]
async fn less_of_the_past_is_kept_only_after_it_was_told_what_goes() {
    // The file keeps everything, so that nothing goes while this looks.
    let mut config = triggerbox_server::Config::default();
    (config.retention.days, config.retention.journal_days) = (0, 0);
    let world = World::with(config).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let now = world.clock.now().as_millisecond();
    put(&world, move |conn| {
        let run = "INSERT INTO engine_run (key, rule, rule_version, root, depth, request, class, actor, run_as, superuser, \
                   seed, at, state, due, blockers, attempt, fence, finished) \
                   VALUES (?1, ?2, 1, 0, 0, '{}', 'async', 2, 2, 0, 0, ?3, ?4, ?3, 0, 1, 1, ?3)";
        let attempt = "INSERT INTO engine_attempt (run, attempt, action, script, started, finished, code, report, journal) \
                       VALUES (?1, 1, 0, x'00', ?2, ?2, 'ok', x'00', x'00')";
        for number in 0..50 {
            let (at, rule) = (now - number * 24 * 3_600_000, if number % 2 == 0 { "even" } else { "odd" });
            let state = if number == 49 { "dead" } else { "succeeded" };
            conn.execute(run, (format!("run{number}"), rule, at, state))?;
            conn.execute(attempt, (conn.last_insert_rowid(), at))?;
        }
        Ok(())
    })
    .await;
    let keep = |days: &'static str, journals: &'static str, runs: &'static str| {
        [
            ("days", days),
            ("journal-days", journals),
            ("runs-per-rule", runs),
            ("bytes-per-rule", "1073741824"),
            ("deliveries-days", "7"),
        ]
    };
    let lines = || async {
        world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "retention-changed", None, 9)?)).await.unwrap()
    };
    let kept = || async { world.app.read(retention::kept).await.unwrap() };
    for (days, journals, told) in [
        // Those of 41 to 48 days; the dead one waits for somebody. Their journals go with them, others with none of it.
        (
            "40",
            "30",
            "<b>8 run(s)</b> with everything that belongs to them, and the journals of <b>10 run(s)</b> that stay",
        ),
        ("90", "10", "for good: the journals of <b>38 run(s)</b> that stay"),
        ("60", "30", "for good: the journals of <b>18 run(s)</b> that stay"),
    ] {
        let answer = admin.post("/settings/retention", &keep(days, journals, "100 000")).await;
        let page = answer.text();
        assert!(answer.status == 200 && page.contains(told), "{days} {journals}: {page}");
        assert!(page.contains("Until now") && page.contains("runs for ever"), "{page}");
        sound(&page).unwrap();
        assert_eq!((kept().await, lines().await.len()), (None, 0), "nothing is changed, and nothing is told of it");
    }
    // What the question carries is what was asked for.
    let question = admin.post("/settings/retention", &keep("40", "30", "100 000")).await.text();
    let form = question.split("action=\"/settings/retention\"").nth(1).unwrap();
    let carried: Vec<(&str, &str)> = form
        .split("<input type=\"hidden\" name=\"")
        .skip(1)
        .map(|input| {
            let mut parts = input.split('"');
            let name = parts.next().unwrap();
            (name, parts.nth(1).unwrap())
        })
        .filter(|(name, _)| *name != "form-token")
        .collect();
    assert_eq!(carried.len(), 5, "{carried:?}");
    assert_eq!(
        admin.done("/settings/retention", &[&carried[..], &[("sure", "1")]].concat()).await,
        "/settings#retention"
    );
    assert_eq!((kept().await.unwrap().days, lines().await.len()), (Some(40), 1));
    // More needs no second word. As the file says is less then.
    admin.done("/settings/retention", &keep("0", "0", "0")).await;
    let answer = admin.post("/settings/retention", &[("as-file", "1")]).await;
    assert!(answer.status == 200 && answer.text().contains("name=\"as-file\" value=\"1\""), "{}", answer.text());
    assert!(kept().await.is_some());
    admin.done("/settings/retention", &[("as-file", "1"), ("sure", "1")]).await;
    assert_eq!((kept().await, lines().await.len()), (None, 3));
}

// Shows: F064, F089
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_logs_is_shown_while_it_runs() {
    // The model answers once it is let.
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = ModelServer::start(move |_, _| {
        let _ = wait.lock().unwrap().recv();
        Say::This(json!("Looked at it."))
    });
    let world = World::with_outside(Config::default(), Some(services(&server))).await;
    world.script(&LOUD).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    let says = |text: &str| json!({ "script": "loud", "parameters": { "texts": json!([text]).to_string() } });
    let asks = || json!({ "script": "ai-agent", "agent": "sales", "parameters": { "prompt": "Look." } });
    let rule = json!({
        "name": "slow", "model": "crm.lead", "trigger": { "on": "manual" },
        "actions": [says("it began"), asks(), says("<b>it goes on</b>"), asks()],
    });
    world.call("PUT", "/api/v1/rules/slow", rule).await.good(201);
    let lead = json!({ "records": [{ "name": "Chairs", "user_id": MANAGER }] });
    let lead = world.call("POST", "/api/v1/records/crm.lead", lead).await.good(201)["ids"][0].clone();
    let fired = world.call("POST", "/api/v1/rules/slow/run", json!({ "records": [lead] })).await.good(202);
    let run = fired["runs"][0].as_i64().unwrap();

    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let (path, live) = (format!("/runs/{run}"), format!("/live?run={run}"));
    let shows =
        async |text: &str| eventually(async || Some(admin.page(&path).await).filter(|page| page.contains(text))).await;
    let page = shows("it began").await;
    assert!(page.contains("Log so far") && !page.contains("goes on"), "{page}");
    assert!(page.contains(&format!("data-live=\"{live}\"")), "{page}");
    // It was due long ago, as one is that waited for the end of a stop; it has been at it for a moment.
    let earlier = "UPDATE engine_run SET due = due - 7200000 WHERE id = ?1";
    put(&world, move |conn| conn.execute(earlier, [run]).map(drop)).await;
    assert!(!admin.page("/usage").await.contains("Stuck runs"));
    let mut told = admin.request("GET", &live).send().await.unwrap();
    go.send(()).unwrap();
    let mut heard = String::new();
    while !heard.contains("event: changed\ndata: now\n\n") {
        heard.push_str(&String::from_utf8_lossy(&told.chunk().await.unwrap().unwrap()));
    }
    let page = shows("&lt;b&gt;it goes on&lt;/b&gt;").await;
    assert!(page.contains("It is running") && page.contains("it began"), "{page}");
    // For whom the run is not there, neither is this.
    let sam = Browser::of(&world, SAM, &[Role::Operator]).await;
    assert_eq!([sam.get(&path).await.status, sam.get(&live).await.status], [404, 404]);
    go.send(()).unwrap();
    world.ended(run).await;
    let page = admin.page(&path).await;
    assert!(page.contains("it began") && page.contains("it goes on") && !page.contains("Log so far"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_says_what_for() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that it stays" })).await.good(204);
    let run = world.lead("Chairs").await.1[0];
    let first = async || {
        let page = admin.page(&format!("/runs/{run}")).await;
        let line = page.split("class=\"banner wait\" role=\"status\">").nth(1).unwrap_or_else(|| panic!("{page}"));
        line.split("</p>").next().unwrap().to_owned()
    };
    assert_eq!(first().await, "It waits: runs are stopped: so that it stays");
    admin.done("/automations/score/pause", &[]).await;
    assert_eq!(first().await, "It waits: its automation is paused: paused by Mitchell Admin");
    admin.done("/automations/score/resume", &[]).await;
    world.rule(&format!("{SCORE}\nactive = false\n")).await.good(200);
    assert_eq!(first().await, "It waits: its automation is switched off");
    // One that is tried again, when it is time.
    put(&world, move |conn| {
        let failed = "UPDATE engine_run SET code = 'backend', message = 'the disk was full', due = due + 60000 \
                      WHERE id = ?1";
        conn.execute(failed, [run]).map(drop)
    })
    .await;
    world.rule(SCORE).await.good(200);
    world.call("DELETE", "/api/v1/stops", json!(null)).await.good(204);
    let told = first().await;
    assert!(told.starts_with("It is tried again, not before ") && told.ends_with("The disk was full."), "{told}");

    // A dry run of it names all that it is about.
    let other = u64::from(world.lead("Desks").await.0);
    let both = world.call("POST", "/api/v1/rules/score/run", json!({ "records": [1, other] })).await.good(202);
    let both = both["runs"][0].as_i64().unwrap();
    world.ended(both).await;
    let page = admin.post(&format!("/runs/{both}/dry-run"), &[]).await.text();
    assert!(page.contains(&format!("on records 1, {other}")), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_stays_small_however_much_there_is() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let now = world.clock.now();
    put(&world, move |conn| {
        let rule = "INSERT INTO engine_rule (name, version, owner, body) \
                    SELECT ?1, version, owner, json_set(body, '$.name', ?1, '$.title', ?2) FROM engine_rule WHERE name = 'score'";
        for number in 0..2_000 {
            let title = if number == 1_999 { "The needle".to_owned() } else { format!("Automation {number:04}") };
            conn.execute(rule, (format!("rule-{number:04}"), title))?;
        }
        let version = "INSERT INTO engine_script (hash, name, version, uploaded_by, at, manifest, imports, component) \
                       SELECT randomblob(32), name, ?1, uploaded_by, at + ?2, manifest, imports, component \
                       FROM engine_script WHERE name = 'lead-scoring' AND version = '0.1.0'";
        for number in 1..=200 {
            conn.execute(version, (format!("1.0.{number}"), number))?;
        }
        for number in 0..500 {
            let scopes = [Scope::Read].into();
            tokens::create(conn, &NewToken { name: format!("token-{number:03}"), user: READER, scopes, expires: None }, now)?;
        }
        let account = "INSERT INTO server_account (login, user, roles, created) VALUES (?, 6, 'reader', 0)";
        for number in 0..500 {
            conn.execute(account, [format!("person-{number:03}")])?;
        }
        Ok(())
    })
    .await;
    let (rules, pages) = all(&admin, "/automations", ">More automations<", "href=\"/automations/rule-").await;
    assert_eq!((rules.len(), rules.iter().collect::<BTreeSet<_>>().len()), (2_000, 2_000));
    assert!(pages > 10, "{pages}");
    let found = admin.page("/automations?text=needle").await;
    assert!(found.contains("rule-1999") && !found.contains(">More automations<"), "the filter comes before the cut");
    assert!(admin.page("/automations?show=paused").await.contains("No automations like these"));

    let (versions, _) = all(&admin, "/scripts/lead-scoring", ">Older versions<", "<h2>Version ").await;
    assert_eq!(versions.len(), 201, "{versions:?}");
    assert_eq!((versions[0].trim(), versions[200].trim()), ("1.0.200", "0.1.0"));
    assert!(admin.page("/scripts/lead-scoring").await.contains(" more</p>"), "automations that use it");

    let (tokens, _) = all(&admin, "/settings", ">Older tokens<", ">token-").await;
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 500);
    let (people, _) = all(&admin, "/settings", ">More accounts<", "<b>person-").await;
    assert_eq!(people.iter().collect::<BTreeSet<_>>().len(), 500);
    assert!(admin.page("/settings?account=person-321").await.contains("<b>person-321</b>"));
    admin.page("/usage").await;
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_others_hides_nothing_that_waits_for_oneself() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let (_, mine) = waiting(&world, json!({ "name": "Manufacturing of chairs", "user_id": SAM })).await;
    let (_, other) = waiting(&world, json!({ "name": "Manufacturing of desks", "user_id": MANAGER })).await;
    put(&world, move |conn| {
        for number in 0..300 {
            let columns = "rule, rule_version, root, parent_run, depth, model, record, request, class, actor, run_as, \
                           superuser, seed, at, state, due, blockers, attempt, fence, finished, code, message";
            let run =
                format!("INSERT INTO engine_run (key, {columns}) SELECT ?1, {columns} FROM engine_run WHERE id = ?2");
            conn.execute(&run, (format!("copy{number}"), other))?;
            let columns = "hash, changes, diff, why, state, expires";
            let copy = format!(
                "INSERT INTO engine_proposal (run, {columns}) SELECT ?1, {columns} FROM engine_proposal WHERE run = ?2"
            );
            conn.execute(&copy, (conn.last_insert_rowid(), other))?;
        }
        Ok(())
    })
    .await;
    let sam = Browser::of(&world, SAM, &[Role::Reader]).await;
    let page = sam.page("/approvals").await;
    assert!(page.contains(&format!("href=\"/approvals/{mine}\"")) && !page.contains("Nothing waits for you"), "{page}");
    assert!(!page.contains("desks") && !page.contains(">Older proposals<"), "{page}");
    let admin = Browser::of(&world, ADMIN, &[Role::Approver]).await;
    let (found, pages) = all(&admin, "/approvals", ">Older proposals<", "href=\"/approvals/").await;
    let found: BTreeSet<_> = found.iter().filter(|run| run.parse::<i64>().is_ok()).collect();
    assert_eq!(found.len(), 302, "{found:?}");
    assert!(pages > 5 && found.contains(&mine.to_string()), "{pages}");

    let token = world.token(SAM, &[Scope::Read]).await;
    let seen = world.get_as(&token, "/api/v1/approvals?state=waiting&limit=10").await.good(200);
    assert_eq!((seen["approvals"].as_array().unwrap().len(), &seen["approvals"][0]["run"]), (1, &json!(mine)));
    assert_eq!(seen["next"], json!(null));
    let first = world.get("/api/v1/approvals?limit=200").await.good(200);
    let next = first["next"].as_i64().unwrap();
    let second = world.get(&format!("/api/v1/approvals?limit=200&before={next}")).await.good(200);
    let count = |page: &Json| page["approvals"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), &second["next"]), (200, 102, &json!(null)));
}
