//! What people see and do where the records are on an Odoo server: its rights count, and its records, not what the file here
//! has in tables of the same names.

use std::{sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use triggerbox_automation::{EngineError, runs::RunId};
use triggerbox_model::{
    call::{Answer, Call, Operation},
    event::Trigger,
};
use triggerbox_server::{people::Role, tokens::Scope};

use crate::{
    browser::Browser,
    odoo::{Fake, Outbox, TOUCH, ping, until},
    world::{ADMIN, READER, SAM, World},
};

const WITH_SAM: &str = "poll = 86400\n[[user]]\nlogin = 'sam'\nkey = { env = 'SAM' }";

/// A rule that is run by hand and asks somebody.
fn asking() -> String {
    TOUCH.replace("created", "manual").replace("[[actions]]", "mode = \"approve\"\n[[actions]]")
}

/// A server with a lead that Sam may read here and not there, and one that it is the other way round with; and of each a run
/// with a line of its log, and a thread.
async fn two_leads() -> (Arc<Fake>, World, [(u32, RunId); 2]) {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    world.rule(&asking()).await.good(201);
    // By the rights of the file, whoever sells sees all leads of the file.
    let sells = |conn: &rusqlite::Connection| {
        let sql = "INSERT OR IGNORE INTO res_groups_users_rel (gid, uid) SELECT 4, ?";
        Ok::<_, EngineError>(conn.execute(sql, [SAM])?)
    };
    world.app.write(sells).await.unwrap();
    let leads = [1, 7001];
    *fake.leads.lock().unwrap() = (leads.map(u64::from).to_vec(), vec![7001]);
    let mut runs = Vec::new();
    for lead in leads {
        let fired = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![lead]).await.unwrap();
        let ended = world.ended(fired[0]).await;
        assert_eq!(ended["state"], "waiting-approval", "{ended}");
        runs.push((lead, fired[0]));
    }
    let made = runs.clone();
    let write = move |conn: &rusqlite::Connection| {
        for (lead, run) in made {
            let sql = "INSERT INTO engine_log (at, rule, run, attempt, level, message) VALUES (0, 'touch', ?, 1, 1, ?)";
            conn.execute(sql, (run, format!("about {lead}")))?;
            let sql = "INSERT INTO engine_thread (run, name, agent, resume, model, record, begun) \
                       VALUES (?, 'Touch', 'sales', 0, 'crm.lead', ?, 0)";
            conn.execute(sql, (run, lead))?;
        }
        Ok::<_, EngineError>(())
    };
    world.app.write(write).await.unwrap();
    (fake, world, [runs[0], runs[1]])
}

/// The leads that a list is about.
fn leads(list: &Json, name: &str) -> Vec<u64> {
    list[name].as_array().unwrap().iter().map(|one| one["record"].as_u64().unwrap()).collect()
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn what_ran_is_shown_to_whom_odoo_shows_the_records() {
    let (fake, world, [(here, hidden), (there, shown)]) = two_leads().await;
    assert!(
        world
            .app
            .ask(SAM, Call::HasAccess { model: "crm.lead".to_owned(), ids: vec![here], operation: Operation::Read })
            .await
            .is_ok_and(|answer| matches!(answer, Answer::Flag(true))),
        "by the rights of the file"
    );
    let admin = world.token.clone();
    let sam = world.token(SAM, &Scope::ALL).await;
    let (here, there) = (u64::from(here), u64::from(there));
    let both = ["crm.lead/has_access", "crm.lead/search"];
    for (path, name) in [("/api/v1/runs", "runs"), ("/api/v1/threads", "threads"), ("/api/v1/events", "events")] {
        assert_eq!(leads(&world.get_as(&admin, path).await.good(200), name), [there, here], "{path}");
        fake.sam.lock().unwrap().clear();
        assert_eq!(leads(&world.get_as(&sam, path).await.good(200), name), [there], "{path}");
        assert_eq!(*fake.sam.lock().unwrap(), both, "{path}");
    }
    let lines = async |token: &str| {
        let list = world.get_as(token, "/api/v1/logs?contains=about").await.good(200);
        list["lines"].as_array().unwrap().iter().map(|line| line["run"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((lines(&admin).await, lines(&sam).await), (vec![shown, hidden], vec![shown]));
    for what in ["runs", "threads"] {
        world.get_as(&sam, &format!("/api/v1/{what}/{shown}")).await.good(200);
        let code = world.get_as(&sam, &format!("/api/v1/{what}/{hidden}")).await.code(404);
        assert_eq!(code, if what == "runs" { "unknown-run" } else { "unknown-thread" });
        for asked in [format!("model=crm.lead&record={here}"), "rule=touch".to_owned()] {
            let list = world.get_as(&sam, &format!("/api/v1/{what}?{asked}")).await.good(200);
            assert!(!leads(&list, what).contains(&here), "{list}");
        }
    }
    fake.sam.lock().unwrap().clear();
    world.get_as(&sam, &format!("/api/v1/runs/{shown}")).await.good(200);
    assert_eq!(*fake.sam.lock().unwrap(), ["crm.lead/has_access"], "all of one run at once");

    // So it is on the pages, and with what people do to a run.
    let browser = Browser::of(&world, SAM, &[Role::Operator]).await;
    for path in ["/runs", "/threads", "/automations/touch"] {
        let page = browser.page(path).await;
        assert!(page.contains(&format!("{there}")) && !page.contains(&format!("crm.lead · {here}")), "{path}: {page}");
    }
    for path in [format!("/runs/{hidden}"), format!("/threads/{hidden}"), format!("/live?run={hidden}")] {
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
    }
    browser.page(&format!("/runs/{shown}")).await;
    browser.page(&format!("/threads/{shown}")).await;
    assert_eq!(browser.post(&format!("/runs/{hidden}/cancel"), &[]).await.status, 404);
    browser.done(&format!("/runs/{shown}/cancel"), &[]).await;
    browser.done(&format!("/runs/{shown}/retry"), &[]).await;

    // Who has no key there sees nothing.
    let reader = world.token(READER, &Scope::ALL).await;
    assert_eq!(world.get_as(&reader, "/api/v1/runs").await.good(200)["runs"], json!([]));
    assert_eq!(world.get_as(&reader, &format!("/api/v1/runs/{shown}")).await.code(404), "unknown-run");
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_that_somebody_may_read_only_their_fields_are_told() {
    let (fake, world, [_, (_, run)]) = two_leads().await;
    fake.kept.lock().unwrap().push("priority".to_owned());
    let sam = world.token(SAM, &Scope::ALL).await;
    let changed = |diff: &Json| {
        let fields = diff["records"][0]["fields"].as_array().into_iter().flatten();
        fields.map(|one| one["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (token, told) in [(&world.token, vec!["priority"]), (&sam, vec![])] {
        let shown = world.get_as(token, &format!("/api/v1/runs/{run}")).await.good(200);
        assert_eq!(changed(&shown["attempts"][0]["report"]["diff"]), told, "{shown}");
        let one = world.get_as(token, &format!("/api/v1/approvals/{run}")).await.good(200);
        assert_eq!(changed(&one["diff"]), told, "{one}");
        let all = world.get_as(token, "/api/v1/approvals").await.good(200);
        let listed = all["approvals"].as_array().unwrap().iter().find(|one| one["run"] == json!(run)).unwrap();
        assert_eq!(changed(&listed["diff"]), told, "{listed}");
    }
    for (user, told) in [(ADMIN, true), (SAM, false)] {
        let browser = Browser::of(&world, user, &[Role::Operator]).await;
        for path in [format!("/runs/{run}"), format!("/approvals/{run}")] {
            assert_eq!(browser.page(&path).await.contains("priority"), told, "{path}");
        }
        let tried = browser.post("/automations/touch/test", &[("records", "7001")]).await.text();
        assert_eq!(tried.contains("priority"), told, "{tried}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_odoo_is_away_nobody_is_shown_what_only_it_can_tell() {
    let (fake, world, [_, (_, run)]) = two_leads().await;
    let sam = world.token(SAM, &Scope::ALL).await;
    let browser = Browser::of(&world, SAM, &[Role::Operator]).await;
    world.get_as(&sam, "/api/v1/runs").await.good(200);
    fake.set(Outbox::Gone);
    for path in ["runs", "events", "threads", "logs", "approvals", &*format!("runs/{run}"), &*format!("threads/{run}")]
    {
        let code = world.get_as(&sam, &format!("/api/v1/{path}")).await.code(503);
        assert!(code.starts_with("odoo-"), "{path}: {code}");
        world.get(&format!("/api/v1/{path}")).await.good(200);
    }
    assert_eq!(browser.get("/runs").await.status, 503);
    // A rule can be paused all the same.
    let page = browser.page("/automations/touch").await;
    assert!(page.contains("What ran is not shown") && page.contains("Pause"), "{page}");
    assert!(!page.contains("crm.lead · 7001"), "{page}");
    browser.done("/automations/touch/pause", &[]).await;
}

// Shows: F105
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_renews_itself_does_not_ask_odoo_each_time_who_may_read_what() {
    let (fake, world, [_, (there, shown)]) = two_leads().await;
    let browser = Browser::of(&world, SAM, &[Role::Operator]).await;
    let see = async |path: &str, header: &'static str| {
        fake.sam.lock().unwrap().clear();
        let answer = browser.send(browser.request("GET", path).header(header, "1")).await;
        let (text, lead) = (answer.text(), [format!("crm.lead · {there}"), format!("crm.lead {there}")]);
        (lead.iter().any(|lead| text.contains(lead)), !fake.sam.lock().unwrap().is_empty())
    };
    let paths = ["/runs", "/approvals", "/threads", "/automations/touch"].map(str::to_owned);
    for path in paths.into_iter().chain([format!("/runs/{shown}")]) {
        let (read, renewed) = (async || see(&path, "x-other").await, async || see(&path, "x-renewal").await);
        let leads = fake.leads.lock().unwrap().1.clone();
        let (seen, asked) = read().await;
        assert_eq!((seen || path == "/approvals", asked), (true, true), "{path}");
        assert_eq!(renewed().await, (seen, false), "{path}");
        // For ten seconds nothing else is shown; then, and whenever somebody asks for it, it is.
        fake.leads.lock().unwrap().1.clear();
        assert_eq!(renewed().await, (seen, false), "{path}");
        world.clock.advance(Duration::from_secs(10));
        assert_eq!(renewed().await, (false, true), "{path}");
        fake.leads.lock().unwrap().1 = leads;
        assert_eq!(read().await, (seen, true), "{path}");
        assert_eq!(renewed().await, (seen, false), "{path}");
        // What the backend forgets is forgotten here.
        world.app.engine().odoo().unwrap().forget();
        assert!(renewed().await.1, "{path}");
    }

    // What is done is never done by what was said earlier.
    see("/runs", "x-other").await;
    fake.leads.lock().unwrap().1.clear();
    let path = format!("/runs/{shown}/cancel");
    let cancel = browser.form(&path, &[]).header("x-renewal", "1");
    assert_eq!(browser.send(cancel).await.status, 404);
}

// Shows: F131
#[tokio::test(flavor = "multi_thread")]
async fn the_form_counts_the_records_that_are_there() {
    let (fake, world, _) = two_leads().await;
    for (user, count) in [(ADMIN, 2), (SAM, 1)] {
        let browser = Browser::of(&world, user, &[Role::Developer]).await;
        let asked = [("on", "created"), ("model", "crm.lead"), ("domain", "[('name', '=', 'A lead')]")];
        let told = browser.post("/automations/_ask", &asked).await.text();
        assert!(told.contains(&format!("<b>{count}</b> record(s) match now")), "{told}");
    }
    fake.set(Outbox::Gone);
    let admin = Browser::of(&world, ADMIN, &[Role::Developer]).await;
    let page = admin.page("/automations/touch").await;
    assert!(page.contains("Odoo at ") && !page.contains("record(s) match now"), "why there is no number: {page}");
}

// Shows: F131
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_there_is_diagnosed_by_what_odoo_says() {
    let (fake, world, _) = two_leads().await;
    let asked = async |rule: &str| {
        let found = world.get(&format!("/api/v1/rules/{rule}/diagnosis?record=7001")).await.good(200);
        found["causes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(asked("touch").await, ["waits-for-approval"]);
    world.rule(&TOUCH.replace("touch", "other")).await.good(201);
    assert_eq!(asked("other").await, ["never-changed"], "odoo told of no change");
    let none = "domain = \"[('priority', '=', '1')]\"\n";
    world.rule(&format!("{none}{}", TOUCH.replace("touch", "picky").replace("created", "manual"))).await.good(201);
    assert_eq!(asked("picky").await, ["domain-false"]);
    world.rule(&format!("{none}{}", TOUCH.replace("touch", "choosy"))).await.good(201);
    assert_eq!(asked("choosy").await, ["domain-false"]);

    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.post("/automations/touch/test", &[("records", "7001")]).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().contains("Would it fire by itself?") && !page.text().contains("There is no"),
        "{}",
        page.text()
    );
    let gone = world.get("/api/v1/rules/touch/diagnosis?record=6999").await;
    assert_eq!(gone.code(404), "missing-record");
    fake.set(Outbox::Gone);
    assert!(world.get("/api/v1/rules/touch/diagnosis?record=7001").await.code(503).starts_with("odoo-"));
}

// Shows: F088
#[tokio::test(flavor = "multi_thread")]
async fn a_key_near_its_end_is_told_and_told_again_when_it_has_ended() {
    let (_fake, backend) = Fake::start(&format!("{WITH_SAM}\nexpires = '2026-12-05'")).await;
    let world = World::on_odoo(backend).await;
    let day = Duration::from_secs(24 * 3_600);
    ping(&world).await;
    assert_eq!(until(&world, "odoo-key-ends", false).await, None, "in 15 days");
    world.clock.advance(day);
    ping(&world).await;
    let told = until(&world, "odoo-key-ends", true).await.unwrap();
    assert!(told.starts_with("the key of `sam` ends on 2026-12-05: make new ones in odoo"), "{told}");
    world.clock.advance(15 * day);
    ping(&world).await;
    crate::world::eventually(async || {
        let told = until(&world, "odoo-key-ends", true).await.unwrap();
        told.starts_with("the key of `sam` ended on 2026-12-05").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_there_are_not_had_from_here() {
    let (fake, world, _) = two_leads().await;
    let asked = fake.sam.lock().unwrap().len();
    let draft = json!({ "values": { "name": "x" }, "edited": ["name"] });
    for (method, path, body) in [
        ("GET", "records/crm.lead", Json::Null),
        ("GET", "records/crm.lead/1", Json::Null),
        ("GET", "counts/crm.lead", Json::Null),
        ("GET", "records/res.partner", Json::Null),
        ("POST", "records/crm.lead", json!({ "records": [{ "name": "x" }] })),
        ("PATCH", "records/crm.lead/1", json!({ "name": "x" })),
        ("DELETE", "records/crm.lead/1", Json::Null),
        ("POST", "records/crm.lead/1/messages", json!({ "body": "x" })),
        ("POST", "methods/crm.lead/action_set_won", json!({ "ids": [1] })),
        ("POST", "drafts/crm.lead", draft),
    ] {
        let answer = world.call(method, &format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.code(422), "records-elsewhere", "{method} {path}");
    }
    assert_eq!(fake.sam.lock().unwrap().len(), asked);
    // Who signs in is in the file.
    let people = world.get("/api/v1/records/res.users?fields=login&domain=[('login','=','sam')]").await.good(200);
    assert_eq!(people["records"][0]["login"], "sam");
    world.call("PATCH", &format!("/api/v1/records/res.users/{SAM}"), json!({ "tz": "UTC" })).await.good(200);
    assert!(world.get("/api/v1/counts/res.groups").await.good(200)["count"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_names_that_is_there_is_not_looked_for_here() {
    let (_fake, world, _) = two_leads().await;
    world.script(&guest_artifacts::HIGH_VALUE_ORDER).await;
    // Nobody here knows the partner, or the company's field.
    let note = "name = \"note\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
        [[actions]]\nscript = \"high-value-order\"\nparameters = { manager = \"4711\" }\n";
    world.rule(note).await.good(201);
    let narrow = |domain: &str| {
        format!(
            "{}\n[[actions.grants]]\nmodel = \"crm.lead\"\noperations = [\"read\", \"write\"]\nfields = [\"priority\"]\n\
             domain = \"{domain}\"\n",
            TOUCH.replace("touch", "narrow")
        )
    };
    let wrong = world.rule(&narrow("[('no_field', '=', 1)]")).await;
    assert_eq!(wrong.code(422), "rule-refused");
    assert_eq!(wrong.json()["findings"][0]["place"], "actions[0].grants[0].domain");
    world.rule(&narrow("[('company_id.x_region', '=', 'north')]")).await.good(201);
}
