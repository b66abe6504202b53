//! The pages: what an administrator does with them, and what nobody gets done with them.

use std::sync::Arc;

use guest_artifacts::{DUE_LEADS, LEAD_SCORING, LOUD};
use serde_json::json;
use triggerbox_automation::EngineError;
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::{
    Config,
    people::{Role, audit},
    tokens::Scope,
};

use crate::{
    browser::{Browser, encoded, isolated, sound},
    world::{ADMIN, Answer, MANAGER, READER, SAM, SCORE, World, eventually},
};

pub(crate) fn component() -> Vec<u8> {
    embed_manifest(LEAD_SCORING.component, LEAD_SCORING.manifest.unwrap()).unwrap()
}

/// The same component as another version.
pub(crate) fn version(version: &str) -> Vec<u8> {
    let lines = LEAD_SCORING.manifest.unwrap().lines();
    let named =
        |line: &str| if line.starts_with("version") { format!("version = \"{version}\"") } else { line.to_owned() };
    let manifest: Vec<String> = lines.map(named).collect();
    embed_manifest(LEAD_SCORING.component, &manifest.join("\n")).unwrap()
}

pub(crate) async fn upload(browser: &Browser<'_>, file: &str, bytes: &[u8]) -> Answer {
    let mut body = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"component\"; filename=\"{file}\"\r\n\
         Content-Type: application/wasm\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let path = format!("/scripts/_upload?form-token={}", browser.form_token());
    let request = browser.request("POST", &path).header("content-type", "multipart/form-data; boundary=edge");
    browser.send(request.body(body)).await
}

pub(crate) const RULE: [(&str, &str); 7] = [
    ("known", ""),
    ("name", "score"),
    ("title", "Score new leads"),
    ("model", "crm.lead"),
    ("active", "1"),
    ("on", "created"),
    ("script", "lead-scoring"),
];

/// The manifest of another version, which wants to know the partner, too.
fn wider() -> String {
    let manifest = LEAD_SCORING.manifest.unwrap().replacen("\"name\"", "\"name\", \"partner_id\"", 1);
    let lines = manifest.lines().map(|line| if line.starts_with("version") { "version = \"2.0.0\"" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Makes it the active one; its hash.
async fn activate_wider(world: &World, admin: &Browser<'_>) -> String {
    upload(admin, "score.wasm", &embed_manifest(LEAD_SCORING.component, &wider()).unwrap()).await;
    let versions = world.get("/api/v1/scripts/lead-scoring").await.good(200);
    let newest = versions["versions"].as_array().unwrap().iter().find(|one| one["version"] == "2.0.0").unwrap();
    let hash = newest["hash"].as_str().unwrap().to_owned();
    admin.done("/scripts/lead-scoring/activate", &[("hash", &hash)]).await;
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_an_earlier_version_of_the_rule_grants_is_told_of_as_agreed_to() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    upload(&admin, "score.wasm", &version("1.0.0")).await;
    let manifest: toml::Table = wider().parse().unwrap();
    let mut rule = json!({
        "name": "score", "model": "crm.lead", "trigger": { "on": "created" },
        "actions": [{ "script": "lead-scoring", "grants": manifest["grants"] }],
    });
    world.call("PUT", "/api/v1/rules/score", rule.clone()).await.good(201);
    rule["actions"][0].as_object_mut().unwrap().remove("grants");
    world.call("PUT", "/api/v1/rules/score", rule).await.good(200);
    let hash = activate_wider(&world, &admin).await;
    let bound = async || world.get("/api/v1/rules/score").await.good(200)["bound"][0]["hash"].clone();
    assert_ne!(bound().await, json!(hash));
    world.call("POST", "/api/v1/rules/score/restore", json!({ "version": 1 })).await.good(200);
    assert_eq!(bound().await, json!(hash));
    let log = admin.page("/settings/audit?text=agreed").await;
    assert!(log.contains("agreed to version 2.0.0 of lead-scoring") && log.contains("partner_id"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rights_of_a_new_version_are_agreed_to_in_so_many_words() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    upload(&admin, "score.wasm", &version("1.0.0")).await;
    admin.done("/automations/_new", &RULE).await;
    let form = |notes: &'static str, seen: &'static str, agree: &str| {
        let mut form = RULE.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        form[0].1 = "score".to_owned();
        form.extend([("notes", notes), ("version", seen)].map(|(name, value)| (name.to_owned(), value.to_owned())));
        if !agree.is_empty() {
            form.push(("agree".to_owned(), agree.to_owned()));
        }
        form
    };
    let save = async |notes, seen, agree: &str| {
        let form = form(notes, seen, agree);
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        admin.post("/automations/score", &form).await
    };
    assert!(!admin.page("/automations/score").await.contains("asks for more"));

    let hash = activate_wider(&world, &admin).await;
    let page = admin.page("/automations/score").await;
    assert!(page.contains("stays at version 1.0.0. Version 2.0.0 is the active one"), "{page}");
    assert!(page.contains("partner_id") && page.contains(&format!("name=\"agree\" value=\"{hash}\"")), "{page}");

    // Saving something else is no yes to it, and a yes is one to what was shown.
    let said = save("For the office.", "1", "").await;
    assert_eq!(said.status, 303, "{}", said.text());
    let bound = async || world.get("/api/v1/rules/score").await.good(200)["bound"][0]["hash"].clone();
    assert_ne!(bound().await, json!(hash));
    assert_eq!(save("For the office.", "2", &hash.replace('a', "b")).await.status, 409);
    assert_ne!(bound().await, json!(hash));
    assert_eq!(save("For the office.", "2", &hash).await.status, 303);
    assert_eq!(bound().await, json!(hash));
    assert!(!admin.page("/automations/score").await.contains("asks for more"));
    let log = admin.page("/settings/audit?text=agreed").await;
    assert!(log.contains("agreed to version 2.0.0 of lead-scoring") && log.contains("partner_id"), "{log}");
}

// Shows: F011, F078, F080, F085
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_goes_the_whole_way() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for (path, teaches) in [
        ("/automations", "No automations yet"),
        ("/runs", "No runs yet"),
        ("/approvals", "Nothing waits for you"),
        ("/usage", "Nothing to tell yet"),
        ("/settings", "Accounts"),
        ("/settings/audit", "Audit log"),
        ("/account", "Change your password"),
    ] {
        assert!(admin.page(path).await.contains(teaches), "{path}");
    }

    let uploaded = upload(&admin, "lead-scoring.wasm", &component()).await;
    let report = uploaded.header("location").to_owned();
    assert_eq!(uploaded.status, 303, "{}", uploaded.text());
    let page = admin.page(&report).await;
    for part in
        ["it is active", "Rust", "triggerbox:automation/", "offered", "Backtraces", "href=\"/scripts/lead-scoring\""]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let again = upload(&admin, "lead-scoring.wasm", &component()).await;
    assert!(admin.page(again.header("location")).await.contains("is there already, exactly so: nothing was changed"));
    let page = admin.page("/scripts/lead-scoring").await;
    assert!(page.contains("may ") && page.contains("<b>read</b>") && page.contains(&report), "{page}");
    let hash = page.split("/component").next().unwrap().rsplit('/').next().unwrap().to_owned();
    let file = admin.get(&format!("/scripts/lead-scoring/{hash}/component")).await;
    assert_eq!((file.status, file.bytes == component()), (200, true));
    assert!(file.header("content-disposition").starts_with("attachment; filename=\"lead-scoring-"));

    // A form that says nonsense is told so beside its fields, and nothing is kept.
    let wrong = [&RULE[..], &[("domain", "[('no_field', '=', 1)]"), ("p0.threshold", "many")]].concat();
    let answer = admin.post("/automations/_new", &wrong).await;
    assert_eq!(answer.status, 422);
    let text = answer.text();
    assert!(
        text.contains("no_field") && text.contains("class=\"error\"") && text.contains("value=\"Score new leads\""),
        "{text}"
    );
    let asked = admin.post("/automations/_ask", &[&RULE[..], &[("domain", "[]")]].concat()).await;
    assert!(asked.text().contains("record(s) match now"), "{}", asked.text());
    let asked = admin
        .post("/automations/_ask", &[("on", "schedule"), ("t.cron", "0 9 * * *"), ("t.zone", "Europe/Brussels")])
        .await;
    assert_eq!(asked.text().matches("<time").count(), 5, "{}", asked.text());

    assert_eq!(admin.done("/automations/_new", &RULE).await, "/automations/score");
    let form = admin.page("/automations/score").await;
    assert!(form.contains("Score new leads") && form.contains("It has not run yet"), "{form}");
    assert!(admin.page("/automations").await.contains("On create"));

    let (lead, runs) = world.lead("Software for our manufacturing plants").await;
    world.ended(runs[0]).await;
    let run = admin.page(&format!("/runs/{}", runs[0])).await;
    assert!(run.contains("It succeeded.") && run.contains("What it changed") && run.contains("fuel"), "{run}");
    assert!(run.contains("What it asked the host"), "{run}");
    assert!(admin.page("/runs?rule=score&state=succeeded").await.contains(&format!("#{}", runs[0])));
    assert!(admin.page("/runs?state=failed").await.contains("No runs like these"));
    let replayed = admin.post(&format!("/runs/{}/replay", runs[0]), &[]).await;
    assert!(replayed.text().contains("exactly what it did then"), "{}", replayed.text());

    // On another version of its script, which is kept and not active.
    assert!(!run.contains("On version"), "there is only one: {run}");
    let other = upload(&admin, "lead-scoring.wasm", &version("7.7.7")).await;
    assert_eq!(other.status, 303, "{}", other.text());
    let page = admin.page(&format!("/runs/{}", runs[0])).await;
    let option = page.split("<option value=\"").skip(1).find(|rest| rest.contains("7.7.7")).unwrap();
    let other = option.split('"').next().unwrap();
    let replayed = admin.post(&format!("/runs/{}/replay", runs[0]), &[("version", other)]).await;
    assert!(replayed.text().contains("7.7.7") && replayed.text().contains("did then"), "{}", replayed.text());
    let unknown = admin.post(&format!("/runs/{}/replay", runs[0]), &[("version", &"0".repeat(64))]).await;
    assert_eq!(unknown.status, 404);

    // What a backtest said is shown beside the button that activates the version.
    assert!(!admin.page("/scripts/lead-scoring").await.contains("Backtest:"));
    let tested = admin.post("/scripts/lead-scoring/backtest", &[("hash", other)]).await;
    assert!(tested.text().contains("1 same") && tested.text().contains("0 differ"), "{}", tested.text());
    let page = admin.page("/scripts/lead-scoring").await;
    let card = page.split("<section").find(|card| card.contains("7.7.7")).unwrap();
    assert!(card.contains("Backtest: ") && card.contains("1 same") && card.contains("Mitchell Admin"), "{card}");

    // Nothing is tried on no record.
    for what in ["test", "run"] {
        let empty = admin.post(&format!("/automations/score/{what}"), &[("records", "")]).await;
        assert!(empty.status == 400 && empty.text().contains("fill in “Record id”"), "{what}: {}", empty.text());
    }
    let tested = admin.post("/automations/score/test", &[("records", &lead.to_string())]).await;
    let tested = tested.text();
    assert!(tested.contains("nothing was changed") && tested.contains("would succeed"), "{tested}");
    // Times are those of Brussels, and no remedy is told where none is needed.
    assert!(tested.contains("of 2026-11-20 10:30:00") && !tested.contains("Nothing."), "{tested}");
    assert!(admin.done("/automations/score/run", &[("records", &lead.to_string())]).await.starts_with("/runs/"));

    // It asks for approval from now on: somebody else says yes.
    let version = form.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let change =
        [&RULE[1..], &[("known", "score"), ("version", version), ("mode", "approve"), ("note", "careful")]].concat();
    admin.done("/automations/score", &change).await;
    let stale = admin.post("/automations/score", &change).await;
    assert_eq!(stale.status, 409, "somebody saved it meanwhile");
    let (_, runs) = world.lead("Software for our manufacturing plants too").await;
    world.ended(runs[0]).await;
    let path = format!("/approvals/{}", runs[0]);
    assert!(admin.page(&path).await.contains("somebody else must approve"));
    let manager = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    assert!(manager.page("/approvals").await.contains("too"));
    let proposal = manager.page(&path).await;
    let hash = proposal.split("name=\"hash\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    manager.done(&format!("{path}/approve"), &[("hash", hash), ("note", "fine")]).await;
    assert!(manager.page(&path).await.contains("Approved"));
    let run = admin.page(&format!("/runs/{}", runs[0])).await;
    assert!(run.contains("Approved by Maya Hofman"), "{run}");

    assert_eq!(admin.done("/automations/score/pause", &[]).await, "/automations/score");
    assert!(admin.page("/automations").await.contains("Paused"));
    admin.done("/automations/score/resume", &[]).await;
    admin.done("/usage/stop", &[("model", "crm.lead"), ("reason", "a test")]).await;
    assert!(admin.page("/automations").await.contains("Runs are stopped"));
    admin.done("/usage/go", &[("model", "crm.lead")]).await;
    admin.done("/automations/score/restore", &[("version", version)]).await;
    admin.done("/automations/score/delete", &[]).await;
    // What it did stays, told as that of an automation that is gone.
    for path in ["/runs", "/usage"] {
        let page = admin.page(path).await;
        assert!(page.contains("score <span class=\"badge calm\">deleted</span>"), "{path}: {page}");
        assert!(!page.contains("href=\"/automations/score\""), "{path}: {page}");
    }
    let page = admin.page("/runs?rule=score").await;
    assert!(page.contains(">score (deleted)</option>") && page.contains(">Its history</a>"), "{page}");
    assert!(admin.page(&format!("/runs/{}", runs[0])).await.contains(">Its history</a>"));

    let log = admin.page("/settings/audit?text=score").await;
    for action in ["rule saved", "rule paused", "rule restored", "rule deleted"] {
        assert!(log.contains(action), "{action}: {log}");
    }
    let lines =
        world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "change-approved", None, 9)?)).await.unwrap();
    assert_eq!((lines.len(), lines[0].user), (1, Some(MANAGER)));
}

/// Texts that would do something if they were not escaped, in each place that a page has for them.
pub(crate) const PAYLOADS: [&str; 14] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "</textarea><svg onload=alert(1)>",
    "</title></head><body onload=alert(1)>",
    "javascript:alert(1)",
    "JaVaScRiPt&colon;alert(1)",
    "{{7*7}}<iframe src=//evil.example>",
    "&lt;script&gt;alert(1)&lt;/script&gt;<b>",
    "<!--<img title=\"--><svg/onload=alert(1)>",
    "]]><math href=\"javascript:alert(1)\">",
    "`${alert(1)}`<base href=//evil.example/>",
    "\u{202e}<ScRiPt\u{a0}src=//evil.example>\u{2028}",
];

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_outside_stay_texts() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let check = |path: String, page: String| {
        for payload in PAYLOADS.iter().filter(|payload| payload.contains(['<', '"'])) {
            assert!(!page.contains(payload), "{path}: {payload}\n{page}");
        }
        sound(&page).unwrap_or_else(|why| panic!("{path}: {why}\n{page}"));
    };
    for payload in PAYLOADS {
        let (_, runs) = world.lead(payload).await;
        world.ended(runs[0]).await;
        let fields =
            [&RULE[..], &[("title", payload), ("notes", payload), ("domain", payload), ("t.fields", payload)]].concat();
        let form = admin.post("/automations/_new", &fields).await;
        check("/automations/_new".to_owned(), form.text());
        let rule = json!({
            "name": "xss", "title": payload, "notes": payload, "model": "crm.lead",
            "trigger": { "on": "manual" }, "actions": [{ "script": "lead-scoring" }],
        });
        world.call("PUT", &format!("/api/v1/rules/xss?note={}", encoded(payload)), rule).await;
        world.call("POST", "/api/v1/rules/xss/pause", json!({ "reason": payload })).await.good(204);
        world.call("POST", "/api/v1/stops", json!({ "reason": payload })).await.good(204);
        let run = runs[0];
        let token = admin.post("/settings/tokens", &[("name", payload), ("user", "admin"), ("scope", "read")]).await;
        check("/settings/tokens".to_owned(), token.text());
        let paths = [
            format!("/runs/{run}"),
            format!("/approvals/{run}"),
            "/approvals".to_owned(),
            "/automations".to_owned(),
            "/automations/xss".to_owned(),
            "/usage".to_owned(),
            "/settings".to_owned(),
            format!("/settings/audit?text={}", encoded(payload)),
            format!("/automations?text={}", encoded(payload)),
        ];
        for path in paths {
            let page = admin.page(&path).await;
            check(path, page);
        }
        for path in [
            format!("/runs?rule={0}&model={0}&record={0}", encoded(payload)),
            format!("/sign-in?next={}", encoded(payload)),
        ] {
            check(path.clone(), admin.get(&path).await.text());
        }
        for path in [format!("/automations/{}", encoded(payload)), format!("/scripts/{}", encoded(payload))] {
            let answer = admin.get(&path).await;
            assert!(answer.status < 500, "{path}");
            check(path, answer.text());
        }
        let answer = upload(&admin, &payload.replace('"', "'"), payload.as_bytes()).await;
        assert_eq!(answer.status, 422);
        check("/scripts/_upload".to_owned(), answer.text());
        world.call("DELETE", "/api/v1/stops", json!(null)).await.good(204);
        // A failed sign-in leaves what was typed in the audit log.
        let out = Browser::new(&world);
        out.page("/sign-in").await;
        check("/sign-in".to_owned(), out.post("/sign-in", &[("login", payload), ("password", payload)]).await.text());
        for (path, name) in [("/settings/accounts", "login"), ("/settings/secrets", "name"), ("/usage/stop", "model")] {
            let fields =
                [(name, payload), ("user", "admin"), ("role", "reader"), ("secret", payload), ("reason", payload)];
            check(path.to_owned(), admin.post(path, &fields).await.text());
        }
        let mut typed = vec![("kind", payload), ("private", payload), ("structured", payload)];
        let texts = ["name", "base-url", "key", "key-header", "currency", "rate", "timeout", "concurrent"];
        typed.extend(texts.map(|name| (name, payload)));
        typed.extend(["name", "input-price", "max-output", "max-output-field"].map(|column| match column {
            "name" => ("models[0].name", payload),
            "input-price" => ("models[0].input-price", payload),
            "max-output" => ("models[7].max-output", payload),
            _ => ("models[0].max-output-field", payload),
        }));
        let answer = admin.post("/settings/providers/_new", &typed).await;
        assert_eq!(answer.status, 422);
        check("/settings/providers/_new".to_owned(), answer.text());
        check(
            "/settings/default-model".to_owned(),
            admin.post("/settings/default-model", &[("model", payload)]).await.text(),
        );
        // A model is called whatever its provider calls it.
        let model = json!({ "name": payload.replace(char::is_whitespace, ""), "input-price": 1, "output-price": 2 });
        let setting = json!({ "kind": "openai", "base-url": "https://models.example/v1", "models": [model] });
        world.call("PUT", "/api/v1/settings/providers/odd", setting).await.good(204);
        for path in ["/settings", "/settings/providers/odd", "/settings/audit"] {
            check(path.to_owned(), admin.page(path).await);
        }
        let policy = [("part", "guarded-models"), ("guarded-models", payload), ("part", payload)];
        check("/settings/policy".to_owned(), admin.post("/settings/policy", &policy[..2]).await.text());
        check("/settings/policy".to_owned(), admin.post("/settings/policy", &policy).await.text());
        check("/none".to_owned(), admin.send(lost(&admin, &format!("/{}", encoded(payload)))).await.text());
    }

    // What a script's file says of itself, what people are called, and notes of those who decide.
    let all = PAYLOADS.join(" ");
    let mut manifest: toml::Table = LEAD_SCORING.manifest.unwrap().parse().unwrap();
    manifest["script"]["description"] = all.clone().into();
    for parameter in manifest["parameters"].as_array_mut().unwrap() {
        let parameter = parameter.as_table_mut().unwrap();
        let is_text = parameter["type"].as_str() == Some("text");
        for name in ["help", "label", "default"].into_iter().filter(|name| is_text || *name != "default") {
            parameter.insert(name.to_owned(), all.clone().into());
        }
    }
    let hostile = embed_manifest(LEAD_SCORING.component, &toml::to_string(&manifest).unwrap()).unwrap();
    assert_eq!(upload(&admin, "hostile", &hostile).await.status, 303);
    let agent = json!({ "name": "loud", "title": all, "system": all });
    world.call("PUT", "/api/v1/agents/loud", agent).await.good(201);
    world.call("PATCH", "/api/v1/records/res.partner/3", json!({ "name": all })).await.good(200);
    let waiting = world.get("/api/v1/approvals?state=waiting").await.good(200)["approvals"][0]["run"].as_i64().unwrap();
    let manager = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    manager.done(&format!("/approvals/{waiting}/reject"), &[("note", &all)]).await;
    let hash = admin.page("/scripts/lead-scoring").await;
    let hash = hash.split("<input type=\"hidden\" name=\"hash\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    for path in ["/scripts", "/scripts/lead-scoring", "/approvals?state=all", "/threads", "/account"] {
        check(path.to_owned(), admin.page(path).await);
    }
    for path in [format!("/runs/{waiting}"), format!("/approvals/{waiting}"), "/sessions/crm.lead/1".to_owned()] {
        check(path.clone(), admin.get(&path).await.text());
    }
    let shown = [("reload", "1"), ("script", "ai-agent"), ("script", "lead-scoring"), ("p1.industries", all.as_str())];
    check("the form".to_owned(), admin.post("/automations/_new", &[&RULE[..6], &shown].concat()).await.text());
    check("a replay".to_owned(), admin.post(&format!("/runs/{waiting}/replay"), &[("version", hash)]).await.text());
    check("a backtest".to_owned(), admin.post("/scripts/lead-scoring/backtest", &[("hash", hash)]).await.text());
    check("a test".to_owned(), admin.post("/automations/score/test", &[("records", "1")]).await.text());
}

// Shows: F017
#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_script_says_stays_text() {
    let world = World::new().await;
    world.script(&LOUD).await;
    let mut texts = PAYLOADS.map(str::to_owned).to_vec();
    texts.extend(["\u{202e}\u{2066}\u{202d}gnp.exe", "nul\0\0<b>\u{1b}[31m\u{7}\u{0}"].map(str::to_owned));
    texts.extend(["W", "<"].map(|letter| letter.repeat(10_000)));
    let list = serde_json::to_string(&texts).unwrap();
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let style = admin.get("/assets/style.css").await.text();
    assert!(style.contains("overflow-wrap: anywhere") && style.contains("unicode-bidi: isolate"));
    for (name, mode, fails, state) in [
        ("says", "auto", false, "succeeded"),
        ("asks", "approve", false, "waiting-approval"),
        ("fails", "auto", true, "failed"),
    ] {
        let rule = json!({
            "name": name, "model": "crm.lead", "mode": mode, "trigger": { "on": "manual" },
            "actions": [{ "script": "loud", "parameters": { "texts": list, "fails": fails.to_string() } }],
        });
        world.call("PUT", &format!("/api/v1/rules/{name}"), rule).await.good(201);
        let (lead, _) = world.lead("Quiet").await;
        let body = json!({ "records": [lead] });
        let run = world.call("POST", &format!("/api/v1/rules/{name}/run"), body).await.good(202)["runs"][0].clone();
        let ended = world.ended(run.as_i64().unwrap()).await;
        assert_eq!(ended["state"], state, "{ended}");
        for (path, tells) in [
            (format!("/runs/{run}"), true),
            (format!("/approvals/{run}"), mode == "approve"),
            ("/approvals".to_owned(), mode == "approve"),
            (format!("/runs?rule={name}"), mode == "auto"),
            (format!("/automations/{name}"), true),
            ("/automations".to_owned(), false),
            ("/usage".to_owned(), false),
            (format!("/sessions/crm.lead/{lead}"), false),
            ("/scripts/loud".to_owned(), false),
        ] {
            let answer = admin.get(&path).await;
            if answer.status == 404 {
                assert!(path.starts_with("/approvals/") && mode == "auto", "{path}");
                continue;
            }
            // It is small, and made of what pages are made of.
            let page = admin.page(&path).await;
            for payload in PAYLOADS.iter().filter(|payload| payload.contains(['<', '"'])) {
                assert!(!page.contains(payload), "{path}: {payload}\n{page}");
            }
            assert!(!page.contains('\0'), "{path}");
            isolated(&page).unwrap_or_else(|why| panic!("{path}: {why}\n{page}"));
            assert!(!tells || page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{path}: {page}");
        }
    }
}

/// A request as a browser sends it that is led to nowhere.
fn lost(browser: &Browser<'_>, path: &str) -> reqwest::RequestBuilder {
    browser.request("GET", path).header("accept", "text/html,application/xhtml+xml")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_json_in_a_browser() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for (path, status, told) in [
        ("/runs/abc", 400, "This was not done"),
        ("/runs?before=abc", 400, "This was not done"),
        ("/usage/stop", 405, "A form is sent to this address"),
        ("/none", 404, "There is no such thing here"),
    ] {
        let answer = world.send(lost(&admin, path)).await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{path}: {text}");
        assert!(text.contains(told) && text.contains("</main>") && text.contains("Sign out"), "{path}: {text}");
        // Programs read problems.
        let answer = world.send(admin.request("GET", path)).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    let stranger = world.send(world.request("GET", "/usage/stop").header("accept", "text/html")).await;
    assert!(stranger.status == 405 && !stranger.text().contains("Sign out"), "{}", stranger.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_and_paths_are_refused() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let mut cut = component();
    cut.truncate(cut.len() / 2);
    let module: &[u8] = b"\0asm\x01\0\0\0";
    for (name, bytes) in [
        ("text", b"hello".as_slice()),
        ("module", module),
        ("zip", b"PK\x03\x04xxxxxxxxxxxxxxxx".as_slice()),
        ("cut", cut.as_slice()),
        ("../../etc/passwd", &[0xff; 4096]),
    ] {
        let answer = upload(&admin, name, bytes).await;
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert!(answer.text().contains("Nothing was kept"), "{name}");
    }
    assert_eq!(upload(&admin, "empty", b"").await.status, 400);

    // Components within components, as deep as nobody needs them.
    let header: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut nested = header.to_vec();
    for _ in 0..10_000 {
        nested = [header, &[4], &leb(nested.len()), &nested].concat();
    }
    // Two manifests: which one would count?
    let manifest = LEAD_SCORING.manifest.unwrap();
    let name = "triggerbox:manifest";
    let section = [&leb(name.len()), name.as_bytes(), manifest.as_bytes()].concat();
    let twice = [&component()[..], &[0], &leb(section.len()), &section].concat();
    for (name, bytes) in [("nested", nested), ("twice", twice)] {
        let answer = upload(&admin, name, &bytes).await;
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert!(answer.text().contains("Nothing was kept"), "{name}");
    }
    // One file, once.
    let part = |name: &str| format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nhello\r\n");
    for parts in [vec!["component", "component"], vec!["other"], vec!["x"; 10_000]] {
        let body = parts.into_iter().map(part).collect::<String>() + "--edge--\r\n";
        let path = format!("/scripts/_upload?form-token={}", admin.form_token());
        let request = admin.request("POST", &path).header("content-type", "multipart/form-data; boundary=edge");
        let answer = admin.send(request.body(body)).await;
        assert!(answer.status == 400 && answer.text().contains("one file"), "{}", answer.text());
    }
    let scripts = world.get("/api/v1/scripts").await.good(200);
    assert!(!scripts.to_string().contains("passwd"));
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/scripts/..%2F..%2Fetc%2Fpasswd",
        "/scripts/lead-scoring/..%2F..%2Fx/component",
        "/runs/..%2f1",
        "/sessions/..%2F..%2Fetc/1",
    ] {
        let answer = admin.get(path).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains("root:") && !answer.text().contains("[workspace]"), "{path}");
    }
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_so_many_bytes_and_no_more() {
    assert_eq!(triggerbox_server::Config::default().http.max_upload, 64 << 20);
    let mut config = triggerbox_server::Config::default();
    config.http.max_upload = 1 << 20;
    let world = World::with(config).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let answer = upload(&admin, "large", &vec![0; (1 << 20) + 1]).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let component = world.request("POST", "/api/v1/scripts").header("content-type", "application/wasm");
    let answer = world.send(component.bearer_auth(&world.token).body(vec![0; (1 << 20) + 1])).await;
    assert_eq!(answer.code(413), "body-too-large");
}

// Shows: F025, F088
#[tokio::test(flavor = "multi_thread")]
async fn agents_requests_and_limits_are_set_in_the_form() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let agent = json!({ "name": "sales", "title": "Sales assistant", "system": "Be brief." });
    world.call("PUT", "/api/v1/agents/sales", agent).await.good(201);
    let rule = [
        ("known", ""),
        ("name", "ask"),
        ("model", "crm.lead"),
        ("active", "1"),
        ("on", "manual"),
        ("script", "ai-agent"),
    ];
    let chosen = admin.post("/automations/_new", &[&rule[..], &[("reload", "1")]].concat()).await.text();
    assert!(chosen.contains("<option value=\"sales\">Sales assistant</option>"), "{chosen}");
    assert!(
        chosen.contains("name=\"for0\" value=\"ai-agent\"") && chosen.contains("name=\"limit0.llm-calls\""),
        "{chosen}"
    );

    let more = [
        ("for0", "ai-agent"),
        ("agent0", "sales"),
        ("p0.prompt", "Look."),
        ("rights0", "crm.lead:read,write:name, priority\r\nres.partner:read:name\r\n"),
        ("http0", "GET, POST https://shop.example/api/*\r\nGET http://127.0.0.1:8080/stock private\r\n"),
        ("limit0.llm-calls", "7"),
        ("limit0.fuel", "1 000 000"),
    ];
    // What cannot be read is told beside its field, and what was typed stays.
    let wrong = [
        ("rights0", "crm.lead"),
        ("http0", "shop.example"),
        ("limit0.fuel", "many"),
        ("limit0.none", "1"),
        ("agent0", "nobody"),
    ];
    let answer = admin.post("/automations/_new", &[&rule[..], &more[..3], &wrong].concat()).await;
    let text = answer.text();
    assert_eq!(answer.status, 422);
    for part in ["`crm.lead`: ", "is not METHODS URL", "`many` is not a whole number", "There is no limit `none`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    admin.done("/automations/_new", &[&rule[..], &more].concat()).await;
    let kept = world.get("/api/v1/rules/ask").await.good(200);
    let action = &kept["rule"]["actions"][0];
    assert_eq!(action["agent"], "sales", "{kept}");
    assert_eq!(action["grants"][0]["fields"], json!(["name", "priority"]), "{kept}");
    assert_eq!(action["grants"][1]["model"], "res.partner");
    assert_eq!(action["limits"], json!({ "fuel": 1_000_000, "llm-calls": 7 }));
    assert_eq!(action["http"][0], json!({ "methods": ["GET", "POST"], "url": "https://shop.example/api/*" }));
    assert_eq!(action["http"][1]["private"], true);
    let form = admin.page("/automations/ask").await;
    for part in ["GET,POST https://shop.example/api/*", "GET http://127.0.0.1:8080/stock private", "value=\"1000000\""]
    {
        assert!(form.contains(part), "{part}: {form}");
    }
    assert!(form.contains("<option value=\"sales\" selected>Sales assistant</option>"), "{form}");

    // A form that does not show them changes none of them; one that shows them empty takes them away.
    let version = form.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let known = [("known", "ask"), ("version", version.as_str()), ("title", "Ask"), ("p0.prompt", "Look.")];
    admin.done("/automations/ask", &[&rule[2..], &known].concat()).await;
    let kept = world.get("/api/v1/rules/ask").await.good(200);
    assert_eq!(kept["rule"]["actions"][0]["http"].as_array().unwrap().len(), 2, "{kept}");
    let version = kept["version"].to_string();
    let known = [
        ("known", "ask"),
        ("version", version.as_str()),
        ("p0.prompt", "Look."),
        ("for0", "ai-agent"),
        ("agent0", "sales"),
        ("http0", ""),
    ];
    admin.done("/automations/ask", &[&rule[2..], &known].concat()).await;
    let kept = world.get("/api/v1/rules/ask").await.good(200);
    let action = &kept["rule"]["actions"][0];
    assert!(action.get("http").is_none() && action["agent"] == "sales" && action.get("limits").is_none(), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_that_of_the_version_that_the_rule_names() {
    let world = World::new().await;
    let first = world.script(&LEAD_SCORING).await["script"]["hash"].as_str().unwrap().to_owned();
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let mut manifest: toml::Table = LEAD_SCORING.manifest.unwrap().parse().unwrap();
    manifest["parameters"].as_array_mut().unwrap().retain(|one| one["name"].as_str() != Some("warm_tag"));
    let other = embed_manifest(LEAD_SCORING.component, &toml::to_string(&manifest).unwrap()).unwrap();
    assert_eq!(upload(&admin, "other", &other).await.status, 303);
    let scripts = world.get("/api/v1/scripts/lead-scoring").await.good(200);
    let second = scripts["versions"][0]["hash"].as_str().unwrap();
    assert_ne!(second, first);
    world.call("POST", "/api/v1/scripts/lead-scoring/activate", json!({ "hash": second })).await.good(200);

    let pinned = format!("lead-scoring@{first}");
    let rule = json!({
        "name": "pinned", "model": "crm.lead", "trigger": { "on": "created" },
        "actions": [{ "script": pinned, "parameters": { "warm_tag": "Lukewarm" } }],
    });
    world.call("PUT", "/api/v1/rules/pinned", rule).await.good(201);
    let form = admin.page("/automations/pinned").await;
    assert!(form.contains("name=\"p0.warm_tag\"") && form.contains("Lukewarm"), "{form}");
    assert_eq!(form.matches("<option value=\"lead-scoring\">").count(), 1, "{form}");

    // Of one that is switched off nobody can say what its parameters are: they are told as they are.
    let latest = json!({
        "name": "latest", "model": "crm.lead", "trigger": { "on": "created" },
        "actions": [{ "script": "lead-scoring", "parameters": { "hot_tag": "Boiling" } }],
    });
    world.call("PUT", "/api/v1/rules/latest", latest).await.good(201);
    world.call("POST", "/api/v1/scripts/lead-scoring/deactivate", json!(null)).await.good(204);
    for (rule, name, value) in [("pinned", "warm_tag", "Lukewarm"), ("latest", "hot_tag", "Boiling")] {
        let form = admin.page(&format!("/automations/{rule}")).await;
        assert!(form.contains(&format!("name=\"p0.{name}\"")) && form.contains(value), "{form}");
    }

    // What a list does not have is chosen in it all the same: a browser would take another line for it.
    let gone = [("on", "created"), ("model", "no.such"), ("script", "notify"), ("p0.how", "fax"), ("reload", "1")];
    let form = admin.post("/automations/_new", &gone).await.text();
    for one in ["no.such", "fax"] {
        assert!(form.contains(&format!("<option value=\"{one}\" selected>{one}</option>")), "{one}: {form}");
    }

    // What was typed for one script is not said to another.
    let typed = [("on", "created"), ("script", "notify"), ("for0", "lead-scoring"), ("p0.warm_tag", "Lukewarm")];
    let form = admin.post("/automations/_new", &[&typed[..], &[("reload", "1")]].concat()).await.text();
    assert!(form.contains("name=\"p0.text\"") && !form.contains("Lukewarm"), "{form}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_trigger_needs_is_asked_for_and_complained_about_at_a_save_only() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let rule = json!({
        "name": "kept", "model": "crm.lead", "trigger": { "on": "created" },
        "actions": [{ "script": "notify", "parameters": { "text": "x" } }],
    });
    world.call("PUT", "/api/v1/rules/kept", rule).await.good(201);
    let version = world.get("/api/v1/rules/kept").await.good(200)["version"].to_string();
    let new = [("known", ""), ("name", "new"), ("model", "crm.lead"), ("script", "notify")];
    let kept = [("known", "kept"), ("version", version.as_str()), ("model", "crm.lead"), ("script", "notify")];
    let complains = |page: &str| page.contains("settings are not whole");
    for (path, form) in [("/automations/_new", new), ("/automations/kept", kept)] {
        for (on, setting) in [("time", "t.delay"), ("tag-set", "t.value"), ("webhook", "t.secret")] {
            let chosen = [&form[..], &[("on", on)]].concat();
            let answer = admin.post(path, &[&chosen[..], &[("reload", "1")]].concat()).await;
            let page = answer.text();
            assert_eq!(answer.status, 200, "{on}: {page}");
            assert!(page.contains(&format!("name=\"{setting}\"")) && !complains(&page), "{on}: {page}");
            assert!(page.contains(&format!("<option value=\"{on}\" selected>")), "{on}: {page}");
            let answer = admin.post(path, &chosen).await;
            let page = answer.text();
            assert!(answer.status == 422 && complains(&page), "{on}: {page}");
        }
    }
    assert_eq!(world.get("/api/v1/rules/kept").await.good(200)["rule"]["trigger"]["on"], "created");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_several_lines_come_back_from_the_form_as_they_were() {
    let world = World::new().await;
    let parameters = json!({ "values": "priority = 3\ncity = Ghent\n", "target": "" });
    let rule = json!({
        "name": "lines", "model": "crm.lead", "trigger": { "on": "created" }, "notes": "One.\nTwo.\n",
        "domain": "[('name', '!=', 'x'),\n ('name', '!=', 'y')]\n",
        "actions": [{ "script": "update-record", "parameters": parameters }],
    });
    world.call("PUT", "/api/v1/rules/lines", rule).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/automations/lines").await;
    let values = page.split("name=\"p0.values\"").nth(1).unwrap();
    let (attributes, values) = values.split_once('>').unwrap();
    assert!(
        attributes.contains("rows=\"2\"") && values.starts_with("priority = 3\ncity = Ghent\n</textarea>"),
        "{page}"
    );

    // As a browser sends it, which ends lines in its own way.
    let domain = "[('name', '!=', 'x'),\r\n ('name', '!=', 'y')]\r\n";
    let form = [
        ("known", "lines"),
        ("version", "1"),
        ("model", "crm.lead"),
        ("active", "1"),
        ("notes", "One.\r\nTwo.\r\n"),
        ("on", "created"),
        ("d.was", domain),
        ("domain", domain),
        ("script", "update-record"),
        ("for0", "update-record"),
        ("p0.values", "priority = 3\r\ncity = Ghent\r\n"),
        ("p0.target", ""),
    ];
    let to = admin.done("/automations/lines", &form).await;
    assert!(admin.page(&to).await.contains("Nothing was to be changed."));
    let values = ("p0.values", "priority = 3\r\ncity = Gent");
    let other: Vec<_> = form.iter().map(|pair| if pair.0 == values.0 { values } else { *pair }).collect();
    admin.done("/automations/lines", &other).await;
    let kept = world.get("/api/v1/rules/lines").await.good(200);
    assert_eq!(kept["rule"]["actions"][0]["parameters"]["values"], "priority = 3\ncity = Gent", "{kept}");
    let file = world.get("/api/v1/rules/lines/file").await.text();
    assert!(file.find("values = ") < file.find("target = "), "in the order in which they were: {file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_records_come_from_and_what_a_broken_rule_does_is_told_in_the_form() {
    let world = World::new().await;
    world.script(&DUE_LEADS).await;
    let nightly = json!({
        "name": "nightly", "model": "crm.lead", "trigger": { "on": "schedule", "cron": "0 3 * * *" },
        "source": { "script": "due-leads" }, "actions": [{ "script": "notify", "parameters": { "text": "Look" } }],
    });
    world.call("PUT", "/api/v1/rules/nightly", nightly).await.good(201);
    let guard = json!({
        "name": "guard", "model": "crm.lead", "trigger": { "on": "before", "writes": ["update"] }, "on-error": "pass",
        "actions": [{ "script": "update-record", "parameters": { "values": "priority = 3" } }],
    });
    world.call("PUT", "/api/v1/rules/guard", guard).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/automations/nightly").await;
    assert!(page.contains("The script due-leads gives them."), "{page}");
    let nightly = [
        ("known", "nightly"),
        ("version", "1"),
        ("model", "crm.lead"),
        ("active", "1"),
        ("on", "schedule"),
        ("t.cron", "0 3 * * *"),
        // A browser sends what is chosen first.
        ("t.unit", "minutes"),
        ("script", "notify"),
        ("p0.text", "Look"),
    ];
    let wrong = [&nightly[..], &[("source", ""), ("max-records", "many")]].concat();
    let page = admin.post("/automations/nightly", &wrong).await.text();
    let more = page.split("<details open").last().unwrap();
    assert!(more.contains("<summary>More</summary>") && more.contains("`many` is not a whole number"), "{page}");
    let source = async |typed: &'static str| {
        admin.done("/automations/nightly", &[&nightly[..], &[("source", typed), ("title", typed)]].concat()).await;
        world.get("/api/v1/rules/nightly").await.good(200)["rule"]["source"].clone()
    };
    assert_eq!(source("").await, json!({ "script": "due-leads" }));
    assert_eq!(source("[('priority', '=', '3')]").await, json!({ "domain": "[('priority', '=', '3')]" }));

    let page = admin.page("/automations/guard").await;
    let pass = page.split("name=\"pass\"").nth(1).unwrap_or_else(|| panic!("{page}"));
    assert!(pass.split('>').next().unwrap().contains("checked"), "{page}");
    let guard = [
        ("known", "guard"),
        ("version", "1"),
        ("model", "crm.lead"),
        ("active", "1"),
        ("on", "updated"),
        ("pass", "1"),
        ("script", "update-record"),
        ("p0.values", "priority = 3"),
    ];
    admin.done("/automations/guard", &guard).await;
    let kept = world.get("/api/v1/rules/guard").await.good(200);
    assert!(kept["rule"].get("on-error").is_none(), "a rule after a write has none: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_is_told_by_what_counted_before_it_and_a_deleted_automation_comes_back() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let change = |more: &str| json!(toml::from_str::<toml::Value>(&format!("{SCORE}\n{more}")).unwrap());
    // What the owner says no to is nothing that the next change takes back.
    let manager = world.token(MANAGER, &[Scope::Rules]).await;
    let path = "/api/v1/rules/score";
    let asked = world.call_as(&manager, "PUT", &format!("{path}?ask_owner=true"), change("mode = \"approve\"")).await;
    assert_eq!(asked.good(200)["outcome"], "proposed");
    world.call("POST", &format!("{path}/decide"), json!({ "version": 2, "accept": false })).await.good(204);
    world.call("PUT", path, change("title = \"Title 3\"")).await.good(200);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let card = |page: &str, version: u32| {
        let head = format!("<h3>Version {version} ");
        let card = page.split("<section class=\"diff\">").find(|card| card.contains(&head));
        card.unwrap_or_else(|| panic!("{version}: {page}")).to_owned()
    };
    let page = admin.page("/automations/score").await;
    let third = card(&page, 3);
    assert!(third.contains("<code>title</code>") && !third.contains("<code>mode</code>"), "{third}");
    assert!(card(&page, 2).contains("<code>mode</code>") && !third.contains("Restore this version"), "{page}");

    for version in 4..=35 {
        world.call("PUT", path, change(&format!("title = \"Title {version}\""))).await.good(200);
    }
    let page = admin.page("/automations/score").await;
    assert!(page.contains(">Older versions<") && !page.contains("<h3>Version 1 "), "{page}");
    card(&admin.page("/automations/score?skip=30").await, 1);

    admin.done("/automations/score/delete", &[]).await;
    let reader = Browser::of(&world, READER, &[Role::Reader]).await;
    let page = reader.page("/automations/score").await;
    assert!(page.contains("It was deleted") && !page.contains("Restore this version"), "{page}");
    let page = admin.page("/automations/score").await;
    assert!(card(&page, 36).contains("deleted") && card(&page, 35).contains("Restore this version"), "{page}");
    let to = admin.done("/automations/score/restore", &[("version", "35")]).await;
    assert!(admin.page(&to).await.contains("Title 35"));
    assert_eq!(admin.get("/automations/scoer").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_says_half_is_told_so_and_one_that_is_set_is_shown() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for (query, tells) in [
        ("model=crm.lead&record=", "half-a-record"),
        ("model=&record=7", "half-a-record"),
        ("model=crm.lead&record=seven", "`seven` is no record"),
    ] {
        for list in ["/runs", "/threads"] {
            let answer = admin.get(&format!("{list}?{query}")).await;
            assert!(answer.status == 400 && answer.text().contains(tells), "{list} {query}: {}", answer.text());
        }
    }
    let page = admin.page("/runs?rule=gone&code=trapped&model=&record=").await;
    assert!(page.contains("name=\"code\" value=\"trapped\""), "{page}");
    assert!(page.contains("<option value=\"gone\" selected>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_webhook_says_where_it_is_sent_to_and_whether_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let mut config = Config::default();
    config.web.key_file = Some(key);
    let world = World::with(config).await;
    let rule = "name = \"from-shop\"\nmodel = \"crm.lead\"\n\
        trigger = { on = \"webhook\", secret = \"shop\", records = \"/lead\" }\n\
        actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";
    world.rule(rule).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/automations/from-shop").await;
    assert!(page.contains("<code>/hook/from-shop</code>") && page.contains("There is no secret"), "{page}");
    admin.done("/settings/secrets", &[("name", "shop"), ("secret", "a secret of the shop")]).await;
    let page = admin.page("/automations/from-shop").await;
    assert!(page.contains("<code>/hook/from-shop</code>") && !page.contains("There is no secret"), "{page}");
}

// Shows: F063, F065, F066
#[tokio::test(flavor = "multi_thread")]
async fn the_box_of_a_record_is_for_those_who_may_read_it() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let (lead, runs) = world.lead("Boxed").await;
    world.ended(runs[0]).await;
    for _ in 0..11 {
        let body = json!({ "records": [lead] });
        let more = world.call("POST", "/api/v1/rules/score/run", body).await.good(202);
        world.ended(more["runs"][0].as_i64().unwrap()).await;
    }
    let path = format!("/sessions/crm.lead/{lead}");
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page(&path).await;
    assert!(page.contains("View all 12") && page.contains("Succeeded"), "{page}");
    let part = admin.get(&format!("{path}?fragment=true")).await;
    assert_eq!((part.status, part.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(part.text().starts_with("<section") && part.text().contains("View all 12"), "{}", part.text());
    let told = admin.send(admin.request("GET", &path).header("accept", "application/json")).await.good(200);
    let listed = told["runs"].as_array().unwrap();
    assert_eq!((told["count"].as_u64(), listed.len()), (Some(12), 10));
    let ids: Vec<_> = listed.iter().map(|run| run["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, other| one > other), "the newest first: {ids:?}");

    // A salesperson does not read another's lead: neither the box nor the runs, and no word of whether they are there.
    let body = json!({ "user_id": MANAGER });
    world.call("PATCH", &format!("/api/v1/records/crm.lead/{lead}"), body).await.good(200);
    let sam = Browser::of(&world, SAM, &[Role::Reader, Role::Operator]).await;
    assert_eq!(sam.get(&path).await.status, 404);
    assert_eq!(sam.get("/sessions/no.model/1").await.status, 404);
    let run = format!("/runs/{}", runs[0]);
    assert_eq!(sam.get(&run).await.status, 404);
    assert_eq!(sam.post(&format!("{run}/retry"), &[]).await.status, 404);
    assert!(sam.page("/runs").await.contains("that you may not read"));
    let reader = Browser::of(&world, READER, &[Role::Reader]).await;
    assert!(reader.get(&path).await.status != 500);
}

// Shows: F064
#[tokio::test(flavor = "multi_thread")]
async fn open_pages_are_told_of_each_change() {
    let mut world = World::new().await;
    {
        let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
        let mut live = admin.request("GET", "/live").send().await.unwrap();
        assert_eq!(live.headers()["content-type"], "text/event-stream");
        world.lead("Something new").await;
        let mut heard = String::new();
        while !heard.contains("event: changed\ndata: now\n\n") {
            heard.push_str(&String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()));
        }
    }
    // An open page does not keep the server from ending.
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_told_on_the_next_page_and_not_to_one_that_renews_itself() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    assert_eq!(upload(&admin, "lead-scoring.wasm", &component()).await.status, 303);
    let to = admin.done("/automations/_new", &RULE).await;
    // The page of the form is still open: it asks for what a form says, and hears that something changed.
    let by_itself = |request: reqwest::RequestBuilder| admin.send(request.header("x-renewal", "1"));
    for request in [admin.request("GET", &to), admin.form("/automations/_ask", &RULE)] {
        let answer = by_itself(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("The automation is created."), "{}", answer.text());
        assert!(admin.cookie("tb_said").is_some());
    }
    assert!(admin.page(&to).await.contains("The automation is created."));
    assert!(!admin.page(&to).await.contains("The automation is created."));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_tokens_are_made_changed_and_ended() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let made = admin.post("/settings/accounts", &[("login", "maya"), ("user", "maya"), ("role", "approver")]).await;
    let text = made.text();
    let key =
        text.split("/welcome?key=").nth(1).unwrap_or_else(|| panic!("{text}")).split('"').next().unwrap().to_owned();
    let maya = Browser::new(&world);
    let welcome = maya.page(&format!("/welcome?key={key}")).await;
    assert!(welcome.contains("Welcome, maya"));
    let password = "river pencil cloud 9";
    maya.done("/welcome", &[("key", &key), ("password", password), ("again", password)]).await;
    assert!(maya.page("/account").await.contains("approver"));
    assert_eq!(maya.get("/settings").await.status, 403);

    let taken = admin.post("/settings/accounts", &[("login", "MAYA"), ("user", "maya"), ("role", "reader")]).await;
    assert!(taken.text().contains("login-taken"), "{}", taken.text());
    let last = admin.post("/settings/accounts/1", &[("user", "admin"), ("role", "reader")]).await;
    assert!(last.text().contains("last-administrator"), "{}", last.text());
    admin.done("/settings/accounts/2", &[("user", "maya"), ("role", "approver"), ("disabled", "1")]).await;
    assert_eq!(maya.get("/account").await.status, 303, "signed out at once");

    let made =
        admin.post("/settings/tokens", &[("name", "ci"), ("user", "sam"), ("scope", "read"), ("days", "1")]).await;
    let secret = made.text().split("value=\"tb_").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let token = format!("tb_{secret}");
    let me = world.get_as(&token, "/api/v1/me").await.good(200);
    assert_eq!((&me["login"], &me["token"]["name"]), (&json!("sam"), &json!("ci")));
    assert!(!admin.page("/settings").await.contains(&secret), "shown once");
    let id = me["token"]["id"].as_i64().unwrap();
    admin.done(&format!("/settings/tokens/{id}/revoke"), &[]).await;
    assert_eq!(world.get_as(&token, "/api/v1/me").await.code(401), "bad-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_written_and_one_person_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let mut config = triggerbox_server::Config::default();
    config.web.key_file = Some(key);
    let world = World::with(config).await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    admin.done("/settings/secrets", &[("name", "shop"), ("secret", "a secret of the shop")]).await;
    assert_eq!(world.app.secret("shop").unwrap(), b"a secret of the shop");
    let page = admin.page("/settings").await;
    assert!(page.contains("<code>shop</code>") && !page.contains("a secret of the shop"), "{page}");
    assert_eq!(admin.post("/settings/secrets", &[("name", "shop"), ("secret", "short")]).await.status, 400);
    admin.done("/settings/secrets/shop/delete", &[]).await;
    assert_eq!(world.app.secret("shop"), None);

    let (lead, runs) = world.lead("Zoë Unforgettable").await;
    world.ended(runs[0]).await;
    let run = format!("/runs/{}", runs[0]);
    // Whoever keeps the records erases them there.
    world.call("DELETE", &format!("/api/v1/records/crm.lead/{lead}"), json!({})).await.good(200);
    assert!(in_files(&world, "Zoë Unforgettable"));
    assert!(admin.page(&run).await.contains("Zoë Unforgettable"));
    let told =
        admin.post("/settings/erase", &[("texts", "zoë unforgettable"), ("request", "of Zoë Unforgettable")]).await;
    assert_eq!(told.status, 400, "the log is never shortened");
    assert_eq!(admin.post("/settings/erase", &[("texts", "zoë"), ("request", "17")]).await.status, 400, "too short");
    admin.done("/settings/erase", &[("texts", "zoë unforgettable"), ("request", "request 17")]).await;
    let told = erased(&admin).await;
    assert!(told.contains("by request request 17: erased from ") && told.contains("account0"), "{told}");
    let page = admin.page(&run).await;
    assert!(!page.contains("Unforgettable") && page.contains("[erased]"), "{page}");
    let log = admin.page("/settings/audit?text=person-erased").await;
    assert!(log.contains("request 17") && !log.contains("Unforgettable"), "{log}");
    assert!(!in_files(&world, "Unforgettable") && !in_files(&world, "unforgettable"));
}

/// Whether a text can be read in the database's file, or in the log beside it.
fn in_files(world: &World, text: &str) -> bool {
    let database = world.app.engine().database().path();
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let files = [database.as_os_str(), &log].map(|file| std::fs::read(file).unwrap_or_default());
    files.iter().any(|bytes| bytes.windows(text.len()).any(|some| some == text.as_bytes()))
}

/// The page that tells what came of an erasure, once it is over.
async fn erased(admin: &Browser<'_>) -> String {
    let over =
        async || Some(admin.page("/settings/audit?text=erasure-done").await).filter(|log| log.contains("erased from"));
    let log = eventually(over).await;
    assert!(!admin.page("/settings").await.contains("tables are done"));
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_is_erased_though_the_server_ends_meanwhile() {
    let mut world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let (_, runs) = world.lead("Zoë Unforgettable").await;
    world.ended(runs[0]).await;
    world.stop().await;
    // What a server leaves that ended in the middle of it.
    let left = |conn: &rusqlite::Connection| {
        let so_far =
            json!({ "tables": 0, "looked": 0, "erased": { "rows": 0, "waiting": 0, "left": 0 }, "after": null });
        let sql = "INSERT INTO server_erasure (texts, request, who, user, address, began, so_far) \
                   VALUES ('[\"zoë unforgettable\"]', 'request 18', 'maya', 3, '127.0.0.1', 0, ?)";
        Ok::<_, EngineError>(conn.execute(sql, [so_far.to_string()])?)
    };
    world.app.write(left).await.unwrap();
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let cookie = admin.cookie("tb_session").unwrap();
    let again = World::on(world.app.engine().database().clone(), Arc::clone(&world.clock), Config::default()).await;
    let admin = Browser::new(&again);
    admin.keep("tb_session", &cookie);
    assert!(erased(&admin).await.contains("by request request 18"));
    let page = admin.page(&format!("/runs/{}", runs[0])).await;
    assert!(!page.contains("Unforgettable") && page.contains("[erased]"), "{page}");
    let kept = |conn: &rusqlite::Connection| {
        Ok::<_, EngineError>(conn.query_row("SELECT count(*) FROM server_erasure", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(again.app.read(kept).await.unwrap(), 0, "nothing of it is kept");
}

// Shows: F068
#[tokio::test(flavor = "multi_thread")]
async fn rules_and_schedules_with_agents_are_listed_apart_for_administrators() {
    let world = World::new().await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    for (name, trigger) in [("look", "{ on = \"created\" }"), ("daily", "{ on = \"schedule\", cron = \"0 12 * * *\" }")]
    {
        let rule = format!(
            "name = \"{name}\"\ntitle = \"AI {name}\"\nmodel = \"crm.lead\"\ntrigger = {trigger}\n\
             actions = [{{ script = \"ai-agent\", agent = \"sales\", parameters = {{ prompt = \"Look.\" }},\n\
             grants = [{{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }}] }}]"
        );
        world.rule(&rule).await.good(201);
    }
    world
        .rule(
            "name = \"plain\"\ntitle = \"Without a model\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
             actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]",
        )
        .await
        .good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let all = ["AI look", "AI daily", "Without a model"];
    for (show, expected) in
        [("", [true; 3]), ("ai-rules", [true, false, false]), ("ai-schedules", [false, true, false])]
    {
        let page = admin.page(&format!("/automations?show={show}")).await;
        assert_eq!(all.map(|title| page.contains(title)), expected, "{show}: {page}");
    }
    let page = admin.page("/automations").await;
    assert!(page.contains("AI automation rules") && page.contains("AI scheduled actions"), "{page}");
    let reader = Browser::of(&world, READER, &[Role::Reader]).await;
    let page = reader.page("/automations").await;
    assert!(!page.contains("AI automation rules") && !page.contains("AI scheduled actions"), "{page}");
}
