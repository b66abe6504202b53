//! What administrators set while the server runs: on the pages and over the API, what counts, and from when on.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
};

use guest_artifacts::LEAD_SCORING;
use serde_json::{Value as Json, json};
use triggerbox_automation::EngineError;
use triggerbox_model::{
    call::HttpRequest,
    grants::{Authority, GrantOperation},
};
use triggerbox_server::{
    Config,
    config::Secret,
    people::{Role, audit},
    tokens::Scope,
};

use crate::{
    agents::services,
    browser::{Browser, sound},
    model::{ModelServer, Say, Service, texts},
    world::{ADMIN, Answer, READER, SCORE, World, eventually},
};

const POLICY: &str = "/api/v1/settings/policy";

/// A model that sets the priority of the lead that it is asked about, once the gate is open.
struct Gated {
    server: ModelServer,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Gated {
    fn shut() -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let door = Arc::clone(&gate);
        let server = ModelServer::start(move |_, request| {
            let is_open = door.0.lock().unwrap();
            drop(door.1.wait_while(is_open, |is_open| !*is_open).unwrap());
            let done = !texts(request, "tool").is_empty();
            Say::This(if done { json!("Done.") } else { update(lead_of(request)) })
        });
        Self { server, gate }
    }

    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

fn update(lead: u64) -> Json {
    json!([["update", { "model": "crm.lead", "id": lead, "values": { "priority": "2" } }]])
}

/// The lead that a request is about.
fn lead_of(request: &Json) -> u64 {
    let task = texts(request, "user").remove(0);
    let (_, rest) = task.rsplit_once("crm.lead(").unwrap();
    rest.split_once(')').unwrap().0.parse().unwrap()
}

/// Qualifies each new lead with a model.
const QUALIFY: &str = "name = \"qualify\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\ndispatch = \"per-record\"\n\
                       actions = [{ script = \"ai-agent\", agent = \"sales\", parameters = { prompt = \"Qualify.\" },\n\
                       grants = [{ model = \"crm.lead\", operations = [\"read\", \"write\"], fields = [\"name\", \"priority\"] }] }]";

async fn lines(world: &World, action: &'static str) -> Vec<audit::Line> {
    let of = move |conn: &_| Ok::<_, EngineError>(audit::list(conn, action, None, 50)?);
    world.app.read(of).await.unwrap()
}

/// The places and codes of what is wrong.
fn wrong(problem: &Json) -> Vec<(String, String)> {
    let text = |one: &Json, key: &str| one[key].as_str().unwrap().to_owned();
    problem["findings"].as_array().unwrap().iter().map(|one| (text(one, "place"), text(one, "code"))).collect()
}

// Shows: F106
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_set_where_the_file_says_nothing() {
    let mut config = Config { file: Some("/etc/triggerbox/triggerbox.toml".into()), ..Config::default() };
    config.policy.guarded_operations = Some([GrantOperation::Unlink].into());
    let world = World::with(config).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let view = world.get(POLICY).await.good(200);
    assert_eq!(view["fixed"], json!({ "guarded-operations": ["unlink"] }));
    assert_eq!((&view["in-force"]["guarded-operations"], &view["set"]), (&json!(["unlink"]), &json!({})));
    assert_eq!(view["in-force"]["guarded-models"], json!(["res.users", "res.groups", "ir.*"]));

    let set = json!({ "forbidden-models": ["hr.*", "crm.lead"], "approved-operations": ["write"] });
    world.call("PUT", POLICY, set.clone()).await.good(204);
    let view = world.get(POLICY).await.good(200);
    assert_eq!((&view["set"], &view["set-by"], &view["set-at"]), (&set, &json!(ADMIN), &json!("2026-11-20T09:30:00Z")));
    assert_eq!(view["in-force"]["forbidden-models"], json!(["hr.*", "crm.lead"]));
    let told = lines(&world, "api-request").await;
    assert_eq!(told[0].detail, "forbidden-models: none → hr.*, crm.lead; approved-operations: none → write");

    // What the file says, and what makes no sense, is refused: nothing of it is kept.
    let bad = json!({ "forbidden-models": ["HR", "a b"], "guarded-operations": ["call"], "guarded-models": [] });
    let refused = world.call("PUT", POLICY, bad).await;
    assert_eq!(refused.code(422), "setting-refused");
    let pair = |place: &str, code: &str| (place.to_owned(), code.to_owned());
    let pattern = pair("forbidden-models", "bad-pattern");
    assert_eq!(wrong(&refused.json()), [pair("guarded-operations", "set-in-file"), pattern.clone(), pattern]);
    assert!(refused.text().contains("is set in /etc/triggerbox/triggerbox.toml"), "{}", refused.text());
    for body in [json!({ "forbidden-models": "hr" }), json!({ "approved-operations": ["fly"] }), json!({ "none": [] })]
    {
        assert_eq!(world.call("PUT", POLICY, body).await.code(400), "bad-body");
    }
    assert_eq!(world.get(POLICY).await.good(200), view);
    assert_eq!(lines(&world, "api-request").await.len(), told.len());

    // The page tells where each part comes from, and has no field for what the file says.
    let page = admin.page("/settings").await;
    let card = page.split("id=\"policy\"").nth(1).unwrap().split("</section>").next().unwrap();
    for part in ["set in /etc/triggerbox/triggerbox.toml", "set here", "default", "Set by <b>Mitchell Admin</b>"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(card.contains("name=\"forbidden-models\"") && !card.contains("name=\"guarded-operations\""), "{card}");
    assert!(card.contains("hr.*\ncrm.lead</textarea>"), "{card}");

    // On the page the same is said beside the fields, with what was typed.
    let form = [
        ("part", "forbidden-models"),
        ("forbidden-models", "crm.lead\r\nNo Model"),
        ("part", "guarded-operations"),
        ("part", "approved-operations"),
        ("approved-operations", "create"),
    ];
    let answer = admin.post("/settings/policy", &form).await;
    let text = answer.text();
    assert_eq!(answer.status, 422, "{text}");
    for part in ["`No Model` is no model", "Is set in /etc/triggerbox/triggerbox.toml", "crm.lead\nNo Model</textarea>"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("value=\"create\" checked") && text.matches("class=\"error\"").count() == 2, "{text}");
    sound(&text).unwrap();
    for bad in [[("part", "none"), ("none", "x")], [("part", "approved-operations"), ("approved-operations", "fly")]] {
        assert_eq!(admin.post("/settings/policy", &bad).await.status, 400);
    }
    assert_eq!(world.get(POLICY).await.good(200), view);

    // What is left as by default is not set; the rest is as it was sent.
    let form = [
        ("part", "guarded-models"),
        ("guarded-models", "res.users\r\nres.groups\r\nir.*\r\nres.users"),
        ("part", "forbidden-models"),
        ("forbidden-models", "hr.employee"),
        ("part", "approved-operations"),
    ];
    assert_eq!(admin.done("/settings/policy", &form).await, "/settings#policy");
    assert_eq!(world.get(POLICY).await.good(200)["set"], json!({ "forbidden-models": ["hr.employee"] }));
    let told = lines(&world, "policy-changed").await;
    let detail = "forbidden-models: hr.*, crm.lead → hr.employee; approved-operations: write → none";
    assert_eq!((told.len(), told[0].detail.as_str()), (1, detail));
    admin.done("/settings/policy", &[("as-file", "1")]).await;
    assert_eq!(world.get(POLICY).await.good(200)["set"], json!({}));
    assert_eq!(lines(&world, "policy-changed").await[0].detail, "forbidden-models: hr.employee → none");
}

// Shows: F106
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_in_force_for_each_run_that_begins_and_runs_keep_theirs() {
    let gated = Gated::shut();
    let world = World::with_outside(Config::default(), Some(services(&gated.server))).await;
    world.script(&LEAD_SCORING).await;
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    world.rule(QUALIFY).await.good(201);
    let (_, first) = world.lead("Chairs").await;
    // It has begun, and waits for the model.
    eventually(async || (!gated.server.asked().is_empty()).then_some(())).await;
    world.call("PUT", POLICY, json!({ "approved-operations": ["write"] })).await.good(204);
    let (_, second) = world.lead("Desks").await;
    gated.open();
    assert_eq!(world.ended(first[0]).await["state"], "succeeded", "it began before");
    assert_eq!(world.ended(second[0]).await["state"], "waiting-approval");

    // Nobody's grant opens a model that is forbidden from now on, and whoever saves a rule is told so.
    world.call("DELETE", "/api/v1/rules/qualify", json!(null)).await.good(204);
    world.call("DELETE", POLICY, json!(null)).await.good(204);
    world.rule(SCORE).await.good(201);
    world.call("PUT", POLICY, json!({ "forbidden-models": ["crm.*"] })).await.good(204);
    let (_, third) = world.lead("Lamps").await;
    let ended = world.ended(third[0]).await;
    assert!(ended["state"] == "failed" && ended.to_string().contains("refused-by-policy"), "{ended}");
    assert_eq!(world.rule(QUALIFY).await.code(422), "rule-refused");
    world.call("DELETE", POLICY, json!(null)).await.good(204);
    world.rule(QUALIFY).await.good(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_for_administrators() {
    let world = World::new().await;
    let token = world.token(READER, &[Scope::Read, Scope::Rules, Scope::Operate, Scope::Records]).await;
    for (method, body) in [("GET", json!(null)), ("PUT", json!({})), ("DELETE", json!(null))] {
        assert_eq!(world.call_as(&token, method, POLICY, body).await.code(403), "token-lacks-scope");
    }
    let developer = Browser::of(&world, ADMIN, &[Role::Developer, Role::Operator, Role::Approver]).await;
    assert_eq!(developer.post("/settings/policy", &[("as-file", "1")]).await.status, 403);
}

const PROVIDERS: &str = "/api/v1/settings/providers";

/// A server that can keep secrets.
fn with_a_key(folder: &Path) -> Config {
    let key = folder.join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let mut config = Config::default();
    config.web.key_file = Some(key);
    config
}

/// What is set of a provider at an address on loopback.
fn near(url: &str, key: Option<&str>) -> Json {
    let model = json!({ "name": "small", "input-price": 2.0, "output-price": 8.0, "max-output": 1000 });
    let mut setting = json!({
        "kind": "openai", "base-url": format!("{url}/v1"), "private": true, "retries": 0, "models": [model],
    });
    if let Some(key) = key {
        setting["key"] = json!(key);
    }
    setting
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

async fn secret(admin: &Browser<'_>, name: &str, text: &str, host: &str) {
    admin.done("/settings/secrets", &[("name", name), ("secret", text), ("host", host)]).await;
}

/// A model that answers at once, and the keys that it is asked with.
fn keyed() -> (ModelServer, Arc<Mutex<Vec<String>>>) {
    let keys = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&keys);
    let server = ModelServer::unread(move |_, asked| {
        let line = asked.head.lines().find_map(|line| line.strip_prefix("authorization: "));
        seen.lock().unwrap().push(line.unwrap_or("none").to_owned());
        Say::This(json!("Done."))
    });
    (server, keys)
}

async fn qualify(world: &World) {
    world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales" })).await.good(201);
    world.rule(QUALIFY).await.good(201);
}

async fn run(world: &World) -> Json {
    let (_, runs) = world.lead("Chairs").await;
    world.ended(runs[0]).await
}

// Shows: F023, F106
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_set_and_asked_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_a_key(folder.path());
    let mut world = World::with(config.clone()).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let (server, keys) = keyed();
    qualify(&world).await;
    let failed = run(&world).await;
    assert!(failed.to_string().contains("llm-not-configured"), "{failed}");

    let path = format!("{PROVIDERS}/near");
    let refused = world.call("PUT", &path, near(&server.url, Some("model"))).await;
    assert_eq!(
        (refused.code(422).as_str(), wrong(&refused.json())[0].1.as_str()),
        ("setting-refused", "bad-key-secret")
    );
    secret(&admin, "model", "the first key of it", host(&server.url)).await;
    world.call("PUT", &path, near(&server.url, Some("model"))).await.good(204);
    assert_eq!(run(&world).await["state"], "succeeded");
    assert_eq!(*keys.lock().unwrap(), ["Bearer the first key of it"]);
    let view = world.get(PROVIDERS).await.good(200);
    let one = &view["providers"][0];
    assert_eq!(
        (&one["name"], &one["in-file"], &one["models"]),
        (&json!("near"), &json!(false), &json!(["near/small"]))
    );
    assert_eq!((&one["setting"]["key"], &one["aside"], &one["set-by"]), (&json!("model"), &json!(null), &json!(ADMIN)));
    assert_eq!(view["default-model"], "near/small");

    // Another key is sent from the next run on; nobody is told any of them.
    secret(&admin, "model", "the second key of it", host(&server.url)).await;
    assert_eq!(run(&world).await["state"], "succeeded");
    assert_eq!(keys.lock().unwrap()[1], "Bearer the second key of it");
    for path in ["/settings", "/settings/providers/near", "/settings/audit"] {
        let page = admin.page(path).await;
        assert!(!page.contains("key of it"), "{path}: {page}");
    }
    assert!(!view.to_string().contains("key of it"));

    // It is sent to no other host, however it is asked for; and what signs is sent nowhere.
    let (elsewhere, others) = keyed();
    admin.done("/settings/secrets", &[("name", "signs"), ("secret", "what signs the webhooks")]).await;
    for (url, key) in [(&elsewhere.url, "model"), (&server.url, "signs"), (&server.url, "none")] {
        let refused = world.call("PUT", &path, near(url, Some(key))).await;
        assert_eq!(refused.code(422), "setting-refused");
        assert_eq!(wrong(&refused.json()), [("key".to_owned(), "bad-key-secret".to_owned())]);
    }
    assert_eq!(world.app.secret("model"), None, "a key signs nothing");
    assert_eq!(world.get(PROVIDERS).await.good(200), view, "nothing of it was kept");
    assert_eq!(run(&world).await["state"], "succeeded");
    assert!(others.lock().unwrap().is_empty());

    // After a restart it is asked as before.
    world.stop().await;
    let again = World::on(world.app.engine().database().clone(), Arc::clone(&world.clock), config).await;
    assert_eq!(run(&again).await["state"], "succeeded");
    assert_eq!(keys.lock().unwrap().last().unwrap(), "Bearer the second key of it");
    let admin = Browser::of(&again, ADMIN, &[Role::Administrator]).await;

    // Without its key it is set aside, and everybody who looks is told.
    admin.done("/settings/secrets/model/delete", &[]).await;
    let view = again.get(PROVIDERS).await.good(200);
    assert!(view["providers"][0]["aside"].as_str().unwrap().contains("no secret `model`"), "{view}");
    let page = admin.page("/settings").await;
    assert!(page.contains("not asked") && page.contains("there is no secret `model`"), "{page}");
    assert!(run(&again).await.to_string().contains("llm-not-configured"));
    again.call("DELETE", &path, json!(null)).await.good(204);
    assert_eq!(again.call("DELETE", &path, json!(null)).await.code(404), "unknown-provider");
    assert_eq!(again.get(PROVIDERS).await.good(200)["providers"], json!([]));
}

// Shows: F023
#[tokio::test(flavor = "multi_thread")]
async fn a_run_asks_whom_it_began_with() {
    let (first, second) = (Gated::shut(), Gated::shut());
    second.open();
    let world = World::new().await;
    qualify(&world).await;
    let path = format!("{PROVIDERS}/near");
    world.call("PUT", &path, near(&first.server.url, None)).await.good(204);
    let (_, begun) = world.lead("Chairs").await;
    eventually(async || (!first.server.asked().is_empty()).then_some(())).await;
    world.call("PUT", &path, near(&second.server.url, None)).await.good(204);
    let (_, next) = world.lead("Desks").await;
    assert_eq!(world.ended(next[0]).await["state"], "succeeded");
    first.open();
    assert_eq!(world.ended(begun[0]).await["state"], "succeeded");
    // A question and what came of the tool, each.
    assert_eq!((first.server.asked().len(), second.server.asked().len()), (2, 2));
}

// Shows: F023, F106
#[tokio::test(flavor = "multi_thread")]
async fn what_the_providers_file_says_is_not_set_elsewhere() {
    let (server, other) = (ModelServer::of(vec![json!("Done.")]), ModelServer::of(vec![json!("Done.")]));
    let config = Config { providers: Some("/etc/triggerbox/providers.toml".into()), ..Config::default() };
    let world = World::with_outside(config, Some(services(&server))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    qualify(&world).await;
    let refused = world.call("PUT", &format!("{PROVIDERS}/test"), near(&other.url, None)).await;
    assert_eq!(wrong(&refused.json()), [("name".to_owned(), "set-in-file".to_owned())]);
    assert!(refused.text().contains("/etc/triggerbox/providers.toml"), "{}", refused.text());
    assert_eq!(world.call("DELETE", &format!("{PROVIDERS}/test"), json!(null)).await.code(404), "unknown-provider");
    assert_eq!(admin.get("/settings/providers/test").await.status, 404);

    // One more is asked beside it, by who names it or as the default.
    world.call("PUT", &format!("{PROVIDERS}/near"), near(&other.url, None)).await.good(204);
    run(&world).await;
    assert_eq!((server.asked().len(), other.asked().len()), (1, 0));
    let default = "/api/v1/settings/default-model";
    let unknown = world.call("PUT", default, json!({ "model": "near/none" })).await;
    assert_eq!(wrong(&unknown.json()), [("default-model".to_owned(), "unknown-llm-model".to_owned())]);
    world.call("PUT", default, json!({ "model": "near/small" })).await.good(204);
    run(&world).await;
    assert_eq!((server.asked().len(), other.asked().len()), (1, 1));
    let view = world.get(PROVIDERS).await.good(200);
    assert_eq!((&view["default-model"], &view["default-model-in-file"]), (&json!("near/small"), &json!(false)));
    assert_eq!((&view["providers"][0]["name"], &view["providers"][0]["in-file"]), (&json!("test"), &json!(true)));
    // A default that is gone counts no more.
    world.call("DELETE", &format!("{PROVIDERS}/near"), json!(null)).await.good(204);
    assert_eq!(run(&world).await["state"], "succeeded");
    assert_eq!((server.asked().len(), other.asked().len()), (2, 1));

    // A default of the file stays the default.
    let file = format!("default-model = \"test/small\"\n{}", server.providers());
    let config = triggerbox_llm::Config::parse(&file).unwrap();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let budgets = config.budgets.clone();
    let models = triggerbox_llm::Models::live(config, &clock, &|_| Some("a-key-for-tests".to_owned())).unwrap();
    let outside = Arc::new(triggerbox_llm::Services { models, web: None, budgets, clock });
    let world = World::with_outside(Config::default(), Some(outside)).await;
    let refused = world.call("PUT", default, json!({ "model": "test/small" })).await;
    assert_eq!(wrong(&refused.json()), [("default-model".to_owned(), "set-in-file".to_owned())]);
    assert_eq!(world.get(PROVIDERS).await.good(200)["default-model-in-file"], true);
}

// Shows: F106
#[tokio::test(flavor = "multi_thread")]
async fn where_models_are_switched_off_no_provider_that_is_set_is_asked() {
    let other = ModelServer::of(vec![json!("Done.")]);
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let budgets = triggerbox_llm::Config::default().budgets;
    let off = triggerbox_llm::Services { models: triggerbox_llm::Models::off(), web: None, budgets, clock };
    let world = World::with_outside(Config::default(), Some(Arc::new(off))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    qualify(&world).await;
    world.call("PUT", &format!("{PROVIDERS}/near"), near(&other.url, None)).await.good(204);
    assert!(run(&world).await.to_string().contains("llm-not-configured"));
    assert_eq!(other.asked().len(), 0);
    let page = admin.page("/settings").await;
    assert!(page.contains("switched off where the server was started") && page.contains("not asked"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_secrets_there_are_the_page_leads_to_each() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::with(with_a_key(folder.path())).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for number in 0..50 {
        let name = format!("key-{number:02}");
        admin.done("/settings/secrets", &[("name", &name), ("secret", "a secret of sixteen")]).await;
    }
    let long = format!("hr.{}", "x".repeat(100));
    let many: Vec<_> = (100..300).map(|number| format!("{long}{number}")).collect();
    world.call("PUT", POLICY, json!({ "guarded-models": many, "forbidden-models": many })).await.good(204);
    let listed = |page: &str| page.matches("<li><code>key-").count();
    let first = admin.page("/settings").await;
    assert!(listed(&first) == 40 && first.contains("<code>key-39</code>"), "{first}");
    let next = first.split(">More secrets<").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap();
    assert_eq!(next, "/settings?secret=key-40#secrets");
    let last = admin.page("/settings?secret=key-40").await;
    assert!(listed(&last) == 10 && last.contains("<code>key-49</code>") && !last.contains("More secrets"), "{last}");
}

/// A form of a provider.
fn form<'a>(name: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("name", name),
        ("kind", "anthropic"),
        ("base-url", "https://models.example/v1"),
        ("currency", "USD"),
        ("rate", "0.86"),
        ("requests-per-minute", "1 000"),
        // A row that is left out changes nothing.
        ("models[1].name", "large"),
        ("models[1].input-price", "0.25"),
        ("models[1].output-price", "2"),
        ("models[1].max-output", ""),
        ("models[1].max-output-field", "max_completion_tokens"),
        ("models[4].name", "small"),
        ("models[4].input-price", "0"),
        ("models[4].output-price", "0.5"),
        ("models[4].max-output", "2000"),
    ];
    let of = |name: &str| more.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let mut fields: Vec<_> = all.iter().map(|(name, value)| (*name, of(name).unwrap_or(*value))).collect();
    fields.extend(more.iter().filter(|(name, _)| !all.iter().any(|(known, _)| known == name)));
    fields
}

// Shows: F106
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_set_on_its_page_with_what_is_wrong_beside_the_fields() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::with(with_a_key(folder.path())).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let new = "/settings/providers/_new";
    assert!(admin.page(new).await.contains("name=\"models[1].name\""));
    let none = async || {
        assert_eq!(world.get(PROVIDERS).await.good(200)["providers"], json!([]));
        assert!(lines(&world, "provider-added").await.is_empty());
    };
    let refused = |answer: &Answer, told: &[&str]| {
        let text = answer.text();
        assert_eq!(answer.status, 422, "{text}");
        for told in told {
            assert!(text.contains(told), "{told}: {text}");
        }
        sound(&text).unwrap();
    };
    let bad = [
        ("base-url", "http://models.example/v1?key=secret"),
        ("currency", "dollars"),
        ("timeout", "0"),
        ("key", "none"),
        ("models[4].name", "large"),
    ];
    let answer = admin.post(new, &form("Second", &bad)).await;
    refused(
        &answer,
        &[
            "s name has lower-case letters, digits and dashes",
            "Has no name, password, `?` or `#`",
            "Is the code of a currency",
            "Is a whole number from 1 to 600.",
            "Is there twice",
            "value=\"http://models.example/v1?key=secret\"",
            "value=\"dollars\"",
            "none, which is not there",
        ],
    );
    let unread = [("timeout", "soon"), ("models[1].input-price", "0,25"), ("requests-per-minute", "-1")];
    let answer = admin.post(new, &form("second", &unread)).await;
    refused(&answer, &["Is a number, such as 8 or 0.25.", "value=\"soon\"", "value=\"0,25\"", "value=\"-1\""]);
    assert_eq!(answer.text().matches("class=\"error\"").count(), 3);
    refused(&admin.post(new, &form("second", &[("rate", "")])).await, &["Say how many euros 1 USD is"]);
    refused(&admin.post(new, &[]).await, &["Name at least one of its models"]);
    none().await;

    assert_eq!(admin.done(new, &form("second", &[])).await, "/settings#providers");
    refused(&admin.post(new, &form("second", &[])).await, &["is set already"]);
    let kept = world.get(PROVIDERS).await.good(200)["providers"][0]["setting"].clone();
    assert_eq!(
        (&kept["kind"], &kept["rate"], &kept["requests-per-minute"]),
        (&json!("anthropic"), &json!(0.86), &json!(1000))
    );
    assert_eq!((&kept["timeout"], &kept["retries"], &kept["concurrent"]), (&json!(120), &json!(4), &json!(8)));
    let model = |name: &str, input: f64, output: f64, most: u32, field: &str| json!({ "name": name, "input-price": input, "output-price": output, "max-output": most, "max-output-field": field });
    let models =
        [model("large", 0.25, 2.0, 4096, "max_completion_tokens"), model("small", 0.0, 0.5, 2000, "max_tokens")];
    assert_eq!(kept["models"], json!(models));

    // Its page says what is set, and saving that again changes nothing.
    let page = admin.page("/settings/providers/second").await;
    for part in [
        "value=\"0.86\"",
        "value=\"1000\"",
        "value=\"https://models.example/v1\"",
        "<option value=\"anthropic\" selected>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("name=\"name\""), "{page}");
    assert_eq!(admin.done("/settings/providers/second", &form("other", &[])).await, "/settings#providers");
    assert_eq!(lines(&world, "provider-changed").await[0].detail, "second: as before");
    let page = admin.page("/settings").await;
    for part in [
        "second/large",
        "set here",
        "0.86 for 1 USD",
        "Set by <b>Mitchell Admin</b>",
        "/settings/providers/second/delete",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    refused(&admin.post("/settings/providers/second", &form("", &[("concurrent", "0")])).await, &["from 1 to 10000"]);
    admin.done("/settings/default-model", &[("model", "second/small")]).await;
    assert_eq!(admin.post("/settings/default-model", &[("model", "second/none")]).await.status, 422);
    assert!(admin.page("/settings").await.contains("Who names no model asks <code>second/small</code>"));
    admin.done("/settings/default-model", &[("model", "")]).await;
    admin.done("/settings/providers/second/delete", &[]).await;
    assert_eq!(world.get(PROVIDERS).await.good(200)["providers"], json!([]));
    assert_eq!(admin.post("/settings/providers/second", &form("second", &[])).await.status, 404);

    // However many there are, the page stays small and leads to each.
    for number in 0..20 {
        let models: Vec<_> =
            (0..20).map(|nth| model(&format!("{nth:0>98}{}", "<\""), 1.0, 2.0, 4096, "max_tokens")).collect();
        let setting = json!({ "kind": "openai", "base-url": "https://models.example/v1", "models": models });
        world.call("PUT", &format!("{PROVIDERS}/many-{number}"), setting).await.good(204);
    }
    let page = admin.page("/settings").await;
    assert!((0..20).all(|number| page.contains(&format!("href=\"/settings/providers/many-{number}\""))), "{page}");
    refused(&admin.post(new, &form("second", &[])).await, &["20 providers at most"]);
}

// Shows: F023, F106
#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_set_where_the_file_says_nothing() {
    const BUDGETS: &str = "/api/v1/settings/budgets";
    let server = ModelServer::start(|_, request| {
        let done = !texts(request, "tool").is_empty();
        Say::This(if done { json!("Done.") } else { update(lead_of(request)) })
    });
    let said = "\n[budgets]\nrule-day = { calls = 500, tokens = 10_000_000, cost = 50.0 }\n";
    let config = triggerbox_llm::Config::parse(&format!("{}{said}", server.providers())).unwrap();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let budgets = config.budgets.clone();
    let models = triggerbox_llm::Models::live(config, &clock, &|_| Some("a-key-for-tests".to_owned())).unwrap();
    let outside = Arc::new(triggerbox_llm::Services { models, web: None, budgets, clock });
    let config = Config { providers: Some("/etc/triggerbox/providers.toml".into()), ..Config::default() };
    let mut world = World::with_outside(config.clone(), Some(Arc::clone(&outside))).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    qualify(&world).await;
    let budget = |calls: u64| json!({ "calls": calls, "tokens": 1_000_000, "cost": 5.0 });
    let view = world.get(BUDGETS).await.good(200);
    assert_eq!((&view["in-force"]["root"], &view["set"]), (&budget(50), &json!({})));
    assert_eq!(view["fixed"], json!({ "rule-day": { "calls": 500, "tokens": 10_000_000, "cost": 50.0 } }));

    // What the file says is changed there, though it says the default; what makes no sense is refused.
    let refused = world.call("PUT", BUDGETS, json!({ "rule-day": budget(1), "root": budget(1 << 40) })).await;
    assert_eq!(refused.code(422), "setting-refused");
    let pair = |place: &str, code: &str| (place.to_owned(), code.to_owned());
    assert_eq!(wrong(&refused.json()), [pair("rule-day", "set-in-file"), pair("root.calls", "out-of-range")]);
    assert!(refused.text().contains("/etc/triggerbox/providers.toml"), "{}", refused.text());
    for body in [json!({ "root": { "calls": 1 } }), json!({ "month": budget(1) }), json!({ "root": budget(1), "x": 1 })]
    {
        assert_eq!(world.call("PUT", BUDGETS, body).await.code(400), "bad-body");
    }
    let bad = [("root.calls", "-1"), ("root.tokens", "1"), ("root.cost", "1")];
    assert_eq!(admin.post("/settings/budgets", &bad).await.status, 400);
    assert_eq!(world.get(BUDGETS).await.good(200), view);

    // It holds for the next run, and on the page.
    world.call("PUT", BUDGETS, json!({ "root": budget(1) })).await.good(204);
    let ended = run(&world).await;
    assert!(ended.to_string().contains("limit-exceeded"), "{ended}");
    let page = admin.page("/settings").await;
    let part = page.split("id=\"budgets\"").nth(1).unwrap().split("</section>").next().unwrap();
    for told in ["set here", "set in /etc/triggerbox/providers.toml", "default", "name=\"root.calls\" value=\"1\""] {
        assert!(part.contains(told), "{told}: {part}");
    }
    assert!(!part.contains("name=\"rule-day.calls\""), "{part}");
    let form = [
        ("root.calls", "20"),
        ("root.tokens", "1 000 000"),
        ("root.cost", "5"),
        ("server-day.calls", "2000"),
        ("server-day.tokens", "40000000"),
        ("server-day.cost", "200"),
    ];
    assert_eq!(admin.done("/settings/budgets", &form).await, "/settings#budgets");
    let view = world.get(BUDGETS).await.good(200);
    assert_eq!((&view["set"], &view["set-by"]), (&json!({ "root": budget(20) }), &json!(ADMIN)), "what differs");
    assert_eq!(lines(&world, "budgets-changed").await[0].detail, "root.calls: 1 → 20");
    assert_eq!(run(&world).await["state"], "succeeded");

    // After a restart it is as before, until it is taken back.
    world.stop().await;
    let engine = triggerbox_automation::Config { outside: Some(outside), ..config.engine() };
    let (database, clock) = (world.app.engine().database().clone(), Arc::clone(&world.clock));
    let again = World::on_with_engine(database, clock, config, engine).await;
    assert_eq!(again.app.engine().services().unwrap().budgets.root.calls, 20);
    again.call("DELETE", BUDGETS, json!(null)).await.good(204);
    assert_eq!(again.app.engine().services().unwrap().budgets.root.calls, 50);
    assert_eq!(again.get(BUDGETS).await.good(200)["set"], json!({}));
}

// Shows: F106, F115
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_others_were_faster_than_changes_nothing() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let _reader = Browser::of(&world, READER, &[Role::Reader]).await;
    let retention = |days: &'static str| {
        [
            ("days", days),
            ("journal-days", "0"),
            ("runs-per-rule", "0"),
            ("bytes-per-rule", "0"),
            ("deliveries-days", "9"),
        ]
    };
    let user = READER.to_string();
    let account = [("user", user.as_str()), ("role", "reader")];
    for (path, first, later) in [
        ("/settings/accounts/2", [&account[..], &[("disabled", "1")]].concat(), account.to_vec()),
        (
            "/settings/policy",
            vec![("part", "forbidden-models"), ("forbidden-models", "hr.*")],
            vec![("part", "forbidden-models"), ("forbidden-models", "")],
        ),
        ("/settings/retention", retention("400").to_vec(), retention("500").to_vec()),
    ] {
        let page = admin.page("/settings").await;
        let form = page.split(&format!("action=\"{path}\"")).nth(1).unwrap().split("</form>").next().unwrap();
        let version = form.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let with = |fields: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            let version = [("version", version)];
            fields.iter().chain(&version).map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let post = async |fields: Vec<(&'static str, String)>| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            admin.post(path, &fields).await
        };
        assert_eq!(post(with(&first)).await.status, 303, "{path}");
        // Another tab still shows what was before.
        let stale = post(with(&later)).await;
        assert_eq!(stale.status, 409, "{path}: {}", stale.text());
        assert!(stale.text().contains("another-version") && stale.text().contains("load the page again"), "{path}");
    }
    assert!(admin.page("/settings").await.contains("switched off"));
    assert_eq!(world.get(POLICY).await.good(200)["set"], json!({ "forbidden-models": ["hr.*"] }));
    assert_eq!(world.get("/api/v1/settings/retention").await.good(200)["in-force"]["days"], 400);
    assert_eq!(lines(&world, "account-changed").await.len(), 1, "what was not done is not told");
}

#[tokio::test]
async fn less_of_the_past_is_kept_only_by_who_is_sure() {
    const KEPT: &str = "/api/v1/settings/retention";
    let world = World::new().await;
    let view = world.get(KEPT).await.good(200);
    assert_eq!((&view["in-force"], &view["set-by"]), (&view["file"], &Json::Null));
    let keep = |days: Json| json!({ "days": days, "journal-days": 30, "runs-per-rule": 100_000, "bytes-per-rule": 1 << 30, "seen-days": 7 });
    world.call("PUT", KEPT, keep(json!(400))).await.good(204);
    let view = world.get(KEPT).await.good(200);
    assert_eq!((&view["in-force"], &view["file"]), (&keep(json!(400)), &keep(json!(90))));
    assert_eq!((&view["set-by"], &view["set-at"]), (&json!(ADMIN), &json!("2026-11-20T09:30:00Z")));

    let before = lines(&world, "api-request").await.len();
    let refused = world.call("PUT", KEPT, keep(json!(2))).await;
    assert_eq!(refused.code(409), "keeps-less");
    assert!(refused.text().contains("0 runs, and the journals of 0 that stay"), "{}", refused.text());
    assert_eq!(world.call("DELETE", KEPT, json!({})).await.code(409), "keeps-less");
    for (days, status, code) in
        [(json!(0), 422, "setting-refused"), (json!(-1), 400, "bad-body"), (json!("2"), 400, "bad-body")]
    {
        assert_eq!(world.call("PUT", KEPT, keep(days)).await.code(status), code);
    }
    assert_eq!(world.get(KEPT).await.good(200), view);
    assert_eq!(lines(&world, "api-request").await.len(), before);

    world.call("PUT", &format!("{KEPT}?sure=true"), keep(json!(2))).await.good(204);
    assert_eq!(world.get(KEPT).await.good(200)["in-force"]["days"], 2);
    world.call("DELETE", KEPT, json!({})).await.good(204);
    assert_eq!(world.get(KEPT).await.good(200)["in-force"], keep(json!(90)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_configuration_counts_before_one_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::with(with_a_key(folder.path())).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    admin.done("/settings/secrets", &[("name", "shop"), ("secret", "the secret of the page")]).await;
    assert!(!admin.page("/settings").await.contains("not used"));
    world.stop().await;
    // The file has one of this name from now on.
    let file = folder.path().join("shop");
    std::fs::write(&file, "the secret of the file").unwrap();
    let mut config = with_a_key(folder.path());
    config.secrets.insert("shop".to_owned(), Secret::File(file));
    let again = World::on(world.app.engine().database().clone(), Arc::clone(&world.clock), config).await;
    assert_eq!(again.app.secret("shop").unwrap(), b"the secret of the file");
    let admin = Browser::of(&again, ADMIN, &[Role::Administrator]).await;
    let page = admin.page("/settings").await;
    assert!(page.contains("not used") && page.contains("the configuration has one of this name"), "{page}");
    let refused = admin.post("/settings/secrets", &[("name", "shop"), ("secret", "another of the page")]).await;
    assert!(refused.status == 400 && refused.text().contains("set-in-file"), "{}", refused.text());
    admin.done("/settings/secrets/shop/delete", &[]).await;
    assert_eq!(again.app.secret("shop").unwrap(), b"the secret of the file");
    let page = admin.page("/settings").await;
    assert!(page.contains("in the configuration") && !page.contains("not used"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_for_scripts_is_written_on_the_page_and_sent_to_its_host_in_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        "[[secrets]]\nname = \"slack\"\nvalue = { env = \"K\" }\nhost = \"slack.com\"\nheader = \"authorization\"\n";
    let file = triggerbox_llm::Config::parse(file).unwrap();
    let web =
        triggerbox_llm::http::Web::new(&file.secrets, &|_| Some("the token of the file".to_owned()), None).unwrap();
    let clock: Arc<dyn triggerbox_llm::Clock> = Arc::new(triggerbox_llm::SystemClock);
    let budgets = file.budgets.clone();
    let models = triggerbox_llm::Models::live(file, &clock, &|_| None).unwrap();
    let outside = Arc::new(triggerbox_llm::Services { models, web: Some(web), budgets, clock });
    let world = World::with_outside(with_a_key(folder.path()), Some(outside)).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let shop = Service::start(|_, _| (200, "the key of the shop, back".to_owned()));
    let authority = {
        let grant: Vec<_> = vec![format!("GET {}/* private", shop.url).parse().unwrap()];
        Authority { script_http: grant.clone(), rule_http: grant, ..Authority::default() }
    };
    let ask = async |header: &str| {
        let headers = vec![(header.to_owned(), "${secret:shop}".to_owned())];
        let request =
            HttpRequest { method: "GET".to_owned(), url: format!("{}/a", shop.url), headers, body: Vec::new() };
        let services = world.app.engine().services().unwrap();
        let web = services.web.as_ref().unwrap();
        Ok::<_, triggerbox_model::error::Error>(web.send(web.prepare(&authority, &request)?, Vec::new()).await.unwrap())
    };
    assert_eq!(ask("x-key").await.unwrap_err().code, "secret-refused");
    let written = [("name", "shop"), ("secret", "the key of the shop"), ("host", host(&shop.url)), ("header", "X-Key")];
    admin.done("/settings/secrets", &written).await;
    let answer = ask("x-key").await.unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), "[secret], back");
    assert!(shop.asked()[0].head.contains("x-key: the key of the shop"), "{}", shop.asked()[0].head);
    assert_eq!(ask("x-other").await.unwrap_err().code, "secret-refused");
    let page = admin.page("/settings").await;
    assert!(page.contains(&format!("only sent to {} in the header x-key", host(&shop.url))), "{page}");
    assert!(!page.contains("the key of the shop"));

    // What the file says is changed there; what is no header is none.
    for (name, header, code) in [("slack", "x-key", "set-in-file"), ("other", "x key", "bad-secret-header")] {
        let form = [("name", name), ("secret", "the key of the shop"), ("host", "shop.example"), ("header", header)];
        let refused = admin.post("/settings/secrets", &form).await;
        assert!(refused.status == 400 && refused.text().contains(code), "{}", refused.text());
    }
    admin.done("/settings/secrets/shop/delete", &[]).await;
    assert_eq!(ask("x-key").await.unwrap_err().code, "secret-refused");
}
