//! What administrators set while the server runs: on the pages and over the API, what counts, and from when on.

use std::sync::{Arc, Condvar, Mutex};

use guest_artifacts::LEAD_SCORING;
use serde_json::{Value as Json, json};
use triggerbox_automation::EngineError;
use triggerbox_model::grants::GrantOperation;
use triggerbox_server::{
    Config,
    people::{Role, audit},
    tokens::Scope,
};

use crate::{
    agents::services,
    browser::{Browser, sound},
    model::{ModelServer, Say, texts},
    world::{ADMIN, READER, SCORE, World, eventually},
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
    for body in [json!({ "forbidden-models": "hr" }), json!({ "approved-operations": ["fly"] }), json!({ "none": [] })] {
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
    for part in ["`No Model` is no model", "Is set in /etc/triggerbox/triggerbox.toml", "crm.lead\nNo Model</textarea>"] {
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
    world.call("PUT", POLICY, json!({ "forbidden-models": ["crm.*"] })).await.good(204);
    let (_, third) = world.lead("Lamps").await;
    let ended = world.ended(third[0]).await;
    assert!(ended["state"] == "failed" && ended.to_string().contains("policy"), "{ended}");
    let refused = world.rule(SCORE).await;
    assert_eq!(refused.code(422), "rule-refused");
    world.call("DELETE", POLICY, json!(null)).await.good(204);
    world.rule(SCORE).await.good(201);
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
