//! Each change leaves its line in the audit log: who, what, on what, and in which way. The routes are those that there are.

use std::collections::{BTreeMap, BTreeSet};

use guest_artifacts::LEAD_SCORING;
use serde_json::{Value as Json, json};
use triggerbox_automation::EngineError;
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::{
    Config,
    people::{Role, audit},
    tokens::Scope,
    web::{Need, routes},
};

use crate::{
    agents::services,
    browser::Browser,
    model::ModelServer,
    pages::{RULE, upload, version},
    world::{ADMIN, Answer, MANAGER, SCORE, World, eventually},
};

/// A rule that asks a model, in one session for each record.
const ASK: &str = "name = \"look\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\nchain = true\n\
                   actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Look.\" },\n\
                   grants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }] }]";

/// What was told since a line.
async fn since(world: &World, line: i64) -> Vec<audit::Line> {
    let lines = world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "", None, 500)?)).await.unwrap();
    lines.into_iter().filter(|one| one.id > line).collect()
}

async fn newest(world: &World) -> i64 {
    since(world, 0).await.first().map_or(0, |line| line.id)
}

/// The details of the one line that a request left.
fn one_line(lines: &[audit::Line], action: &str, what: &str) -> String {
    let [line] = lines else { panic!("{action} {what}: {lines:?}") };
    assert_eq!((line.action.as_str(), line.what.as_str()), (action, what));
    assert!(!line.detail.trim().is_empty() && !line.who.is_empty() && line.user.is_some(), "{line:?}");
    line.detail.clone()
}

/// Pages that were tried, with what was told of each.
struct Pages<'w> {
    world: &'w World,
    told: BTreeMap<&'static str, String>,
}

impl Pages<'_> {
    fn tell(&mut self, route: &'static str, detail: String) -> String {
        self.told.insert(route, detail.clone());
        detail
    }

    /// Sends a form that is done, and looks at what was told of it.
    async fn done(
        &mut self,
        browser: &Browser<'_>,
        route: &'static str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let before = newest(self.world).await;
        let answer = browser.post(path, fields).await;
        assert!(answer.status < 400, "{path}: {}", answer.text());
        let action = routes().into_iter().find(|one| one.method == "POST" && one.path == route).unwrap().action;
        let detail = one_line(&since(self.world, before).await, action, path);
        self.tell(route, detail);
        answer
    }
}

/// What stands behind a word of a page, up to the next quotation mark.
fn behind(page: &str, word: &str) -> String {
    page.split(word).nth(1).unwrap_or_else(|| panic!("no {word}: {page}")).split('"').next().unwrap().to_owned()
}

async fn world_with_everything(folder: &std::path::Path) -> World {
    let key = folder.join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let mut config = Config::default();
    config.web.key_file = Some(key);
    let server = ModelServer::of(vec![json!("Looked at it.")]);
    let world = World::with_outside(config, Some(services(&server))).await;
    world.script(&LEAD_SCORING).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    world.rule(ASK).await.good(201);
    world
}

/// The run of a thread of a session.
async fn a_thread(world: &World, lead: u32) -> i64 {
    let run = world.call("POST", "/api/v1/rules/look/run", json!({ "records": [lead] })).await.good(202);
    let run = run["runs"][0].as_i64().unwrap();
    world.ended(run).await;
    run
}

/// A run that waits for a yes, and the hash of what it proposes.
async fn waiting(world: &World, name: &str) -> (i64, String) {
    let (_, runs) = world.lead(name).await;
    assert_eq!(world.ended(runs[0]).await["state"], "waiting-approval");
    let hash = world.get(&format!("/api/v1/approvals/{}", runs[0])).await.good(200)["hash"].clone();
    (runs[0], hash.as_str().unwrap().to_owned())
}

// Shows: F115
#[tokio::test(flavor = "multi_thread")]
async fn each_change_through_a_page_leaves_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with_everything(folder.path()).await;
    let mut pages = Pages { world: &world, told: BTreeMap::new() };
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let manager = Browser::of(&world, MANAGER, &[Role::Approver, Role::Developer]).await;

    let before = newest(&world).await;
    assert_eq!(upload(&admin, "other.wasm", &version("7.7.7")).await.status, 303);
    let detail = one_line(&since(&world, before).await, "script-uploaded", "/scripts/_upload");
    assert!(pages.tell("/scripts/_upload", detail).contains("lead-scoring version 7.7.7"));
    let all = world.get("/api/v1/scripts/lead-scoring").await.good(200);
    let hash =
        all["versions"].as_array().unwrap().iter().find(|one| one["version"] == "7.7.7").unwrap()["hash"].clone();
    let hash = hash.as_str().unwrap();
    let script = |what: &str| format!("/scripts/lead-scoring/{what}");

    pages.done(&admin, "/automations/_new", "/automations/_new", &[&RULE[..], &[("mode", "approve")]].concat()).await;
    assert!(pages.told["/automations/_new"].contains("version 1: "), "{:?}", pages.told);
    let form = admin.page("/automations/score").await;
    let seen = behind(&form, "name=\"version\" value=\"");
    let change = [&RULE[1..], &[("known", "score"), ("version", &*seen), ("mode", "approve"), ("notes", "Careful.")]];
    pages.done(&admin, "/automations/{name}", "/automations/score", &change.concat()).await;
    let told = &pages.told["/automations/{name}"];
    assert!(told.starts_with("version 1 → 2: ") && told.contains("notes: ") && told.contains("Careful."), "{told}");
    pages.done(&admin, "/automations/{name}/pause", "/automations/score/pause", &[]).await;
    pages.done(&admin, "/automations/{name}/resume", "/automations/score/resume", &[]).await;
    assert!(pages.told["/automations/{name}/resume"].contains("was paused: paused by"), "{:?}", pages.told);

    let (first, yes) = waiting(&world, "Software for our manufacturing plants").await;
    let (second, _) = waiting(&world, "Software for our manufacturing plants too").await;
    let lead = world.get(&format!("/api/v1/runs/{first}")).await.good(200)["record"].to_string();
    pages.done(&admin, "/automations/{name}/run", "/automations/score/run", &[("records", &lead)]).await;
    assert_eq!(pages.told["/automations/{name}/run"], format!("on records {lead}"));
    pages.done(&admin, "/automations/{name}/test", "/automations/score/test", &[("records", &lead)]).await;
    pages.done(&admin, "/runs/{id}/replay", &format!("/runs/{first}/replay"), &[]).await;
    pages.done(&admin, "/runs/{id}/dry-run", &format!("/runs/{first}/dry-run"), &[]).await;
    let approve = format!("/approvals/{first}/approve");
    pages.done(&manager, "/approvals/{run}/approve", &approve, &[("hash", &yes), ("note", "fine")]).await;
    assert_eq!(pages.told["/approvals/{run}/approve"], format!("yes to {yes}, of score: fine"));
    pages.done(&manager, "/approvals/{run}/reject", &format!("/approvals/{second}/reject"), &[]).await;
    pages.done(&admin, "/runs/{id}/retry", &format!("/runs/{second}/retry"), &[]).await;
    assert_eq!(pages.told["/runs/{id}/retry"], "of score, was cancelled (rejected)");
    world.ended(second).await;
    pages.done(&admin, "/runs/{id}/cancel", &format!("/runs/{second}/cancel"), &[]).await;
    let thread = a_thread(&world, lead.parse().unwrap()).await;
    pages.done(&admin, "/threads/{id}/renew", &format!("/threads/{thread}/renew"), &[]).await;
    assert_eq!(pages.told["/threads/{id}/renew"], format!("the session of look about crm.lead({lead})"));

    // Somebody else proposes, and the owner decides.
    let form = admin.page("/automations/score").await;
    let seen = behind(&form, "name=\"version\" value=\"");
    let change = [("known", "score"), ("version", &*seen), ("mode", "recommend"), ("ask-owner", "1")];
    pages.done(&manager, "/automations/{name}", "/automations/score", &[&RULE[1..], &change].concat()).await;
    let told = &pages.told["/automations/{name}"];
    assert!(told.starts_with("proposed version 3: ") && told.contains("recommend"), "{told}");
    let decided = [("version", "3"), ("accept", "1")];
    pages.done(&admin, "/automations/{name}/decide", "/automations/score/decide", &decided).await;
    pages.done(&admin, "/automations/{name}/restore", "/automations/score/restore", &[("version", "1")]).await;
    assert!(pages.told["/automations/{name}/restore"].starts_with("version 3 → 4: "), "{:?}", pages.told);

    pages.done(&admin, "/scripts/{name}/backtest", &script("backtest"), &[("hash", hash)]).await;
    pages.done(&admin, "/scripts/{name}/activate", &script("activate"), &[("hash", hash)]).await;
    let told = &pages.told["/scripts/{name}/activate"];
    assert!(told.contains(hash) && told.contains("runs now in score"), "{told}");
    pages.done(&admin, "/scripts/{name}/roll-back", &script("roll-back"), &[]).await;
    pages.done(&admin, "/scripts/{name}/deactivate", &script("deactivate"), &[]).await;
    pages.done(&admin, "/automations/{name}/delete", "/automations/score/delete", &[]).await;

    pages.done(&admin, "/usage/stop", "/usage/stop", &[("model", "crm.lead"), ("reason", "a test")]).await;
    assert_eq!(pages.told["/usage/stop"], "crm.lead: a test");
    pages.done(&admin, "/usage/go", "/usage/go", &[("model", "crm.lead")]).await;
    pages.done(&admin, "/usage/retry-dead", "/usage/retry-dead", &[]).await;

    let accounts = "/settings/accounts";
    let made =
        pages.done(&admin, accounts, accounts, &[("login", "maya"), ("user", "maya"), ("role", "approver")]).await;
    assert_eq!(pages.told[accounts], format!("maya: user {MANAGER}, approver"));
    let key = behind(&made.text(), "/welcome?key=");
    let maya = Browser::new(&world);
    maya.page(&format!("/welcome?key={key}")).await;
    let (old, new) = ("river pencil cloud 9", "another pencil cloud 9");
    maya.done("/welcome", &[("key", &key), ("password", old), ("again", old)]).await;
    let changed = [("old", old), ("password", new), ("again", new)];
    pages.done(&maya, "/account/password", "/account/password", &changed).await;
    pages.done(&maya, "/sign-out", "/sign-out", &[]).await;
    let again = Browser::of(&world, MANAGER, &[Role::Reader]).await;
    pages.done(&again, "/sign-out-everywhere", "/sign-out-everywhere", &[]).await;
    // The accounts of the browsers came before it.
    let id = 3;
    let account = |what: &str| format!("/settings/accounts/{id}{what}");
    let off = [("user", "maya"), ("role", "reader"), ("role", "approver"), ("disabled", "1")];
    pages.done(&admin, "/settings/accounts/{id}", &account(""), &off).await;
    let told = &pages.told["/settings/accounts/{id}"];
    let (now, was) = (format!("maya: user {MANAGER}, approver reader, switched off"), "before: maya: user");
    assert!(told.starts_with(&now) && told.contains(was), "{told}");
    pages.done(&admin, "/settings/accounts/{id}/link", &account("/link"), &[]).await;
    pages.done(&admin, "/settings/accounts/{id}/sign-out", &account("/sign-out"), &[]).await;

    let secret = [("name", "shop"), ("secret", "a secret of the shop")];
    pages.done(&admin, "/settings/secrets", "/settings/secrets", &secret).await;
    pages.done(&admin, "/settings/secrets/{name}/delete", "/settings/secrets/shop/delete", &[]).await;
    let erase = [("texts", "Zoë Unforgettable"), ("request", "request 17")];
    let before = newest(&world).await;
    admin.done("/settings/erase", &erase).await;
    // It is done in the background, and its end is told, too.
    let both = async || Some(since(&world, before).await).filter(|lines| lines.len() == 2);
    let lines = eventually(both).await;
    assert!(one_line(&lines[..1], "erasure-done", "/settings/erase").starts_with("by request request 17: erased from"));
    pages.tell("/settings/erase", one_line(&lines[1..], "person-erased", "/settings/erase"));
    let keep = [
        ("days", "30"),
        ("journal-days", "0"),
        ("runs-per-rule", "9"),
        ("bytes-per-rule", "0"),
        ("deliveries-days", "2"),
        ("sure", "1"),
    ];
    pages.done(&admin, "/settings/retention", "/settings/retention", &keep).await;
    let told = &pages.told["/settings/retention"];
    let (now, was) = ("runs 30 days, journals for ever, at most 9 of each automation, ", "before: runs 90 days, ");
    assert!(told.starts_with(now) && told.contains(was), "{told}");
    let policy = [("part", "forbidden-models"), ("forbidden-models", "hr.*")];
    let told = pages.done(&admin, "/settings/policy", "/settings/policy", &policy).await;
    assert!(told.status == 303 && pages.told["/settings/policy"] == "forbidden-models: none → hr.*");
    let provider = |url: &'static str| {
        let model = [("models[0].name", "large"), ("models[0].input-price", "1"), ("models[0].output-price", "2.5")];
        [&[("name", "second"), ("base-url", url)], &model[..]].concat()
    };
    let new = "/settings/providers/_new";
    pages.done(&admin, new, new, &provider("https://models.example/v1")).await;
    let told = &pages.told[new];
    assert!(told.starts_with("second: new: ") && told.contains("base-url: https://models.example/v1 (new)"), "{told}");
    let one = ("/settings/providers/{name}", "/settings/providers/second");
    pages.done(&admin, one.0, one.1, &provider("https://other.example/v1")).await;
    assert_eq!(pages.told[one.0], "second: base-url: https://models.example/v1 → https://other.example/v1");
    let default = "/settings/default-model";
    pages.done(&admin, default, default, &[("model", "second/large")]).await;
    assert_eq!(pages.told[default], "the first there is → second/large");
    let budgets = [("server-day.calls", "7"), ("server-day.tokens", "8"), ("server-day.cost", "0.5")];
    pages.done(&admin, "/settings/budgets", "/settings/budgets", &budgets).await;
    assert!(
        pages.told["/settings/budgets"].contains("server-day.calls: 2000 → 7"),
        "{}",
        pages.told["/settings/budgets"]
    );
    pages.done(&admin, "/settings/providers/{name}/delete", "/settings/providers/second/delete", &[]).await;
    let token = [("name", "ci"), ("user", "maya"), ("scope", "read"), ("scope", "rules"), ("days", "1")];
    pages.done(&admin, "/settings/tokens", "/settings/tokens", &token).await;
    let told = pages.told["/settings/tokens"].clone();
    assert!(told.contains(&format!("`ci`: user {MANAGER}, read rules, until 2026-11-21")), "{told}");
    let token = told.split(' ').nth(1).unwrap();
    let revoke = format!("/settings/tokens/{token}/revoke");
    pages.done(&admin, "/settings/tokens/{id}/revoke", &revoke, &[]).await;

    // All that there are, and no secret among what was told.
    let acts = routes().into_iter().filter(|one| one.method == "POST" && one.need != Need::Nothing);
    let acts: BTreeSet<_> = acts.filter(|one| !one.action.is_empty()).map(|one| one.path).collect();
    let tried: BTreeSet<_> = pages.told.keys().copied().collect();
    assert_eq!(tried, acts, "routes that nobody tried, or that are not there");
    for line in since(&world, 0).await {
        assert!(!line.detail.contains("a secret of the shop") && !line.detail.contains("Unforgettable"), "{line:?}");
        assert!(!line.detail.contains(&key) && !line.detail.contains("pencil"), "{line:?}");
    }
}

// Shows: F115, F125
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_that_applied_nothing_is_told_as_one() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(&format!("{SCORE}\n    mode = \"approve\"\n")).await.good(201);
    let manager = Browser::of(&world, MANAGER, &[Role::Approver]).await;
    let token = world.token(MANAGER, &[Scope::Read, Scope::Approve]).await;
    for (name, through_the_page) in [("manufacturing of chairs", true), ("manufacturing of desks", false)] {
        let (run, hash) = waiting(&world, name).await;
        let lead = world.get(&format!("/api/v1/runs/{run}")).await.good(200)["record"].clone();
        let other = json!({ "email_from": "grace@cedar.example" });
        world.call("PATCH", &format!("/api/v1/records/crm.lead/{lead}"), other).await.good(200);
        let yes = async |hash: &str| {
            let before = newest(&world).await;
            let status = if through_the_page {
                let form = [("hash", hash), ("note", "fine")];
                manager.post(&format!("/approvals/{run}/approve"), &form).await.status
            } else {
                let body = json!({ "hash": hash, "note": "fine" });
                world.call_as(&token, "POST", &format!("/api/v1/approvals/{run}/approve"), body).await.status
            };
            (status, since(&world, before).await)
        };
        let what = if through_the_page { "/approvals" } else { "POST /api/v1/approvals" };
        let what = format!("{what}/{run}/approve");
        let (status, lines) = yes(&hash).await;
        assert_eq!(status, 409);
        let detail = one_line(&lines, "approval-met-conflict", &what);
        let said = format!("yes to {hash}, of score: fine");
        assert_eq!(detail, format!("{said}; its records had changed: nothing was applied, and the run runs again"));

        // The run asks anew, and a yes to that is what it says.
        world.ended(run).await;
        let hash = world.get(&format!("/api/v1/approvals/{run}")).await.good(200)["hash"].clone();
        let (status, lines) = yes(hash.as_str().unwrap()).await;
        assert!(status < 400, "{status}");
        let action = if through_the_page { "change-approved" } else { "api-request" };
        assert!(one_line(&lines, action, &what).ends_with(", of score: fine"), "{lines:?}");
        // What is refused is no change, and nothing is told of it.
        assert_eq!(yes(hash.as_str().unwrap()).await, (409, Vec::new()));
    }
}

/// Operations of the API that were tried.
struct Operations<'w> {
    world: &'w World,
    tried: BTreeSet<(String, String)>,
}

impl Operations<'_> {
    async fn done(&mut self, method: &str, path: (&str, &str), body: Json) -> String {
        let request = self.world.json(method, path.1, &body).bearer_auth(&self.world.token);
        self.sent(method, path, request).await
    }

    async fn sent(&mut self, method: &str, (route, path): (&str, &str), request: reqwest::RequestBuilder) -> String {
        let before = newest(self.world).await;
        let answer = self.world.send(request).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        self.tried.insert((method.to_owned(), route.to_owned()));
        let path = path.split('?').next().unwrap();
        one_line(&since(self.world, before).await, "api-request", &format!("{method} {path}"))
    }
}

/// An operation's path as it is and as the document has it.
fn same(path: &str) -> (&str, &str) {
    (path, path)
}

// Shows: F115
#[tokio::test(flavor = "multi_thread")]
async fn each_change_through_the_api_leaves_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with_everything(folder.path()).await;
    let mut api = Operations { world: &world, tried: BTreeSet::new() };
    let manager = world.token(MANAGER, &[Scope::Read, Scope::Approve, Scope::Rules]).await;
    let none = || json!(null);

    let component = embed_manifest(LEAD_SCORING.component, &LEAD_SCORING.manifest.unwrap().replace("0.1.0", "0.2.0"));
    let request = world.request("POST", "/api/v1/scripts").header("content-type", "application/wasm");
    let request = request.bearer_auth(&world.token).body(component.unwrap());
    let told = api.sent("POST", same("/api/v1/scripts"), request).await;
    assert!(told.contains("lead-scoring version 0.2.0"), "{told}");
    let hash = told.split(['(', ')']).nth(1).unwrap().to_owned();
    let script = |what: &'static str| {
        (format!("/api/v1/scripts/{{name}}/{what}"), format!("/api/v1/scripts/lead-scoring/{what}"))
    };
    for (what, body) in [("activate", json!({ "hash": hash })), ("roll-back", none()), ("deactivate", none())] {
        let (route, path) = script(what);
        api.done("POST", (&route, &path), body).await;
    }
    let (route, path) = script("activate");
    api.done("POST", (&route, &path), json!({ "hash": hash })).await;

    let rule = json!({
        "name": "score", "model": "crm.lead", "mode": "approve", "trigger": { "on": "created" },
        "actions": [{ "script": "lead-scoring" }],
    });
    let one = ("/api/v1/rules/{name}", "/api/v1/rules/score");
    let told = api.done("PUT", one, rule.clone()).await;
    assert!(told.starts_with("version 1: ") && told.contains("mode: approve"), "{told}");
    let of = |what: &'static str| (format!("/api/v1/rules/{{name}}/{what}"), format!("/api/v1/rules/score/{what}"));
    for (what, body) in
        [("pause", json!({ "reason": "a test" })), ("resume", none()), ("run", json!({ "records": [1] }))]
    {
        let (route, path) = of(what);
        let told = api.done("POST", (&route, &path), body).await;
        let expected = match what {
            "pause" => "because a test",
            "resume" => "was paused: a test",
            _ => "on records 1",
        };
        assert_eq!(told, expected);
    }
    let (route, path) = of("backfill");
    let told = api.done("POST", (&route, &path), json!({ "domain": "[('id', '=', 0)]" })).await;
    assert_eq!(told, "on all records of [('id', '=', 0)]");
    let told = api.done("POST", same("/api/v1/prunes"), none()).await;
    assert_eq!(told, "what is older or more than the settings keep");
    let (route, path) = of("model");
    let told = api.done("POST", (&route, &path), json!({ "model": "crm.lead" })).await;
    assert_eq!(told, "version 1 as before");
    // Somebody else proposes; the owner says no.
    let mut other = rule.clone();
    other["mode"] = json!("recommend");
    world.call_as(&manager, "PUT", "/api/v1/rules/score?ask_owner=true", other).await.good(200);
    let (route, path) = of("decide");
    let told = api.done("POST", (&route, &path), json!({ "version": 2, "accept": false })).await;
    assert_eq!(told, "no to proposed version 2");
    let (route, path) = of("restore");
    assert!(api.done("POST", (&route, &path), json!({ "version": 2 })).await.starts_with("version 1 → 3: "));
    let set = json!({ "rules": [rule] });
    let told = api.done("PUT", same("/api/v1/rules"), set.clone()).await;
    assert!(told.starts_with("update score: ") && told.contains("approve"), "{told}");
    let told = api.done("PUT", ("/api/v1/rules", "/api/v1/rules?dry_run=true"), set).await;
    assert_eq!(told, "only looked at: keep score");

    let (first, yes) = waiting(&world, "Software for our manufacturing plants").await;
    let (second, _) = waiting(&world, "Software for our manufacturing plants too").await;
    let lead = world.get(&format!("/api/v1/runs/{first}")).await.good(200)["record"].as_u64().unwrap();
    let decision = |what: &str, body: Json, path: String| (format!("/api/v1/approvals/{{run}}/{what}"), path, body);
    for (what, run, body) in
        [("approve", first, json!({ "hash": yes, "note": "fine" })), ("reject", second, json!({ "note": "no" }))]
    {
        let (route, path, body) = decision(what, body, format!("/api/v1/approvals/{run}/{what}"));
        let request = world.json("POST", &path, &body).bearer_auth(&manager);
        let told = api.sent("POST", (&route, &path), request).await;
        assert!(told.contains("of score: "), "{told}");
    }
    let retry = format!("/api/v1/runs/{second}/retry");
    assert_eq!(
        api.done("POST", ("/api/v1/runs/{id}/retry", &retry), none()).await,
        "of score, was cancelled (rejected)"
    );
    world.ended(second).await;
    let cancel = format!("/api/v1/runs/{second}/cancel");
    api.done("POST", ("/api/v1/runs/{id}/cancel", &cancel), none()).await;
    let told = api.done("POST", same("/api/v1/requeues"), json!({ "rule": "score", "state": "cancelled" })).await;
    assert_eq!(told, "all runs of score that are cancelled");
    let renew = format!("/api/v1/threads/{}/renew", a_thread(&world, u32::try_from(lead).unwrap()).await);
    api.done("POST", ("/api/v1/threads/{id}/renew", &renew), none()).await;
    assert!(api.done("DELETE", one, none()).await.contains("was the last one"));

    let agent = ("/api/v1/agents/{name}", "/api/v1/agents/help");
    assert!(api.done("PUT", agent, json!({ "name": "help" })).await.starts_with("version 1: "));
    let told = api.done("PUT", agent, json!({ "name": "help", "system": "Be brief." })).await;
    assert_eq!(told, "version 1 → 2: system: Be brief. (new)");
    api.done("DELETE", agent, none()).await;
    let told = api.done("POST", same("/api/v1/stops"), json!({ "model": "crm.lead", "reason": "a test" })).await;
    assert_eq!(told, "crm.lead: a test");
    api.done("DELETE", ("/api/v1/stops", "/api/v1/stops?model=crm.lead"), none()).await;

    let new = json!({ "name": "ci", "user": "maya", "scopes": ["read"] });
    let told = api.done("POST", same("/api/v1/tokens"), new).await;
    assert!(told.contains(&format!("`ci`: user {MANAGER}, read, until it is revoked")), "{told}");
    let token = format!("/api/v1/tokens/{}", told.split(' ').nth(1).unwrap());
    api.done("DELETE", ("/api/v1/tokens/{id}", &token), none()).await;

    // A request that is told its answer again does nothing, and nothing is told of it.
    let stop = json!({ "model": "sale.order", "reason": "another test" });
    let keyed =
        || world.json("POST", "/api/v1/stops", &stop).bearer_auth(&world.token).header("idempotency-key", "one");
    api.sent("POST", same("/api/v1/stops"), keyed()).await;
    let before = newest(&world).await;
    assert_eq!(world.send(keyed()).await.header("idempotency-replayed"), "true");
    assert_eq!(newest(&world).await, before);

    let policy = same("/api/v1/settings/policy");
    assert_eq!(
        api.done("PUT", policy, json!({ "approved-operations": ["create"] })).await,
        "approved-operations: none → create"
    );
    assert_eq!(api.done("DELETE", policy, none()).await, "approved-operations: create → none");
    let kept = same("/api/v1/settings/retention");
    let long =
        json!({ "days": null, "journal-days": null, "runs-per-rule": null, "bytes-per-rule": null, "seen-days": 9 });
    let told = api.done("PUT", kept, long).await;
    assert!(told.starts_with("runs for ever, journals for ever, any number of each automation, keys"), "{told}");
    assert!(told.contains("9 days; before: runs 90 days"), "{told}");
    let unset = api.done("DELETE", (kept.0, "/api/v1/settings/retention?sure=true"), none()).await;
    assert!(unset.starts_with("as the configuration file says: runs 90 days"), "{unset}");
    let budgets = same("/api/v1/settings/budgets");
    let root = json!({ "root": { "calls": 9, "tokens": 1_000_000, "cost": 5.0 } });
    assert_eq!(api.done("PUT", budgets, root).await, "root.calls: 50 → 9");
    assert_eq!(api.done("DELETE", budgets, none()).await, "root.calls: 9 → 50");
    let provider = ("/api/v1/settings/providers/{name}", "/api/v1/settings/providers/second");
    let model = json!({ "name": "large", "input-price": 1, "output-price": 2.5 });
    let mut setting = json!({ "kind": "openai", "base-url": "https://models.example/v1", "models": [model] });
    assert!(api.done("PUT", provider, setting.clone()).await.starts_with("second: new: "));
    setting["models"][0]["output-price"] = json!(3);
    assert_eq!(api.done("PUT", provider, setting).await, "second: models[0].output-price: 2.5 → 3.0");
    let default = same("/api/v1/settings/default-model");
    api.done("PUT", default, json!({ "model": "second/large" })).await;
    assert_eq!(api.done("DELETE", default, none()).await, "second/large → the first there is");
    assert!(api.done("DELETE", provider, none()).await.starts_with("second: was: "));

    // All that there are. Records, their methods and their drafts tell of changes themselves; a rule that is checked is not
    // kept.
    let document = serde_json::to_value(triggerbox_server::api::document()).unwrap();
    let mut changes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let records = ["records", "methods", "drafts"].iter().any(|part| path.starts_with(&format!("/api/v1/{part}/")));
        let told = !records && path != "/api/v1/rule-checks";
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        changes.extend(methods.filter(|method| told && method != "GET").map(|method| (method, path.clone())));
    }
    assert_eq!(api.tried, changes, "operations that nobody tried, or that are not there");
}

// Shows: F115
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_not_done() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON server_audit BEGIN SELECT raise(ABORT, 'no room'); END";
    world.app.write(|conn| Ok::<_, EngineError>(conn.execute_batch(refuse)?)).await.unwrap();
    let before = world.get("/api/v1/rules/score").await.good(200);
    for path in ["pause", "delete", "run", "test"] {
        let answer = admin.post(&format!("/automations/score/{path}"), &[("records", "1")]).await;
        assert!(answer.status >= 500, "{path}: {} {}", answer.status, answer.text());
    }
    let paused = world.call("POST", "/api/v1/rules/score/pause", json!({ "reason": "a test" })).await;
    assert!(paused.status >= 500, "{}", paused.text());
    let token = json!({ "name": "ci", "user": "maya", "scopes": ["read"] });
    assert!(world.call("POST", "/api/v1/tokens", token).await.status >= 500);
    assert_eq!(world.get("/api/v1/rules/score").await.good(200), before);
    assert_eq!(world.get("/api/v1/tokens").await.good(200)["tokens"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/api/v1/runs").await.good(200)["runs"], json!([]));
}
