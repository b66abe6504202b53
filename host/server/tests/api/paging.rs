//! Every list of the API comes page by page, in one form.

use std::collections::BTreeSet;

use guest_artifacts::{HIGH_VALUE_ORDER, LEAD_SCORING};
use serde_json::{Value as Json, json};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::tokens::Scope;
use triggerbox_store::db::DbError;

use crate::{
    browser::encoded,
    world::{ADMIN, World},
};

/// Operations that answer with a list, and why it is whole: it has an end of its own.
const WHOLE: [(&str, &str); 11] = [
    ("/api/v1/limits", "a fixed table"),
    ("/api/v1/fields/{model}", "the fields of one model"),
    ("/api/v1/settings/providers", "what is in the operator's file, and what administrators set by hand"),
    ("/api/v1/records/{model}", "has `offset` and `limit`: records have an order of their own"),
    ("/api/v1/rules/{name}/diff", "what differs between two versions"),
    ("/api/v1/rules/{name}/diagnosis", "the causes of one thing"),
    ("/api/v1/rules/{name}", "one rule with its parts"),
    ("/api/v1/runs/{id}", "one run in full; limits bound it"),
    ("/api/v1/runs/{id}/journal/{attempt}/{action}", "one try in full; limits bound it"),
    ("/api/v1/threads/{id}", "one thread in full; limits bound it"),
    ("/api/v1/scripts/{name}/versions/{hash}", "one version in full"),
];

/// A schema, with what it refers to, in place of what it refers to.
fn resolved<'d>(document: &'d Json, schema: &'d Json) -> &'d Json {
    let name = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next());
    name.map_or(schema, |name| &document["components"]["schemas"][name])
}

/// The properties of what an operation answers, those of its parts included.
fn properties<'d>(document: &'d Json, operation: &'d Json) -> Vec<(&'d str, &'d Json)> {
    let schema = resolved(document, &operation["responses"]["200"]["content"]["application/json"]["schema"]);
    let parts = schema["allOf"].as_array().into_iter().flatten().map(|part| resolved(document, part));
    let objects = std::iter::once(schema).chain(parts).filter_map(|one| one["properties"].as_object());
    objects.flatten().map(|(name, schema)| (name.as_str(), schema)).collect()
}

/// Two at least of everything that there are lists of.
async fn filled() -> World {
    let world = World::new().await;
    for guest in [&LEAD_SCORING, &HIGH_VALUE_ORDER] {
        world.script(guest).await;
    }
    // Another version of the same script is one with another manifest.
    let manifest = LEAD_SCORING.manifest.unwrap().replace("[script]", "[script]\n# again");
    let again = embed_manifest(LEAD_SCORING.component, &manifest).unwrap();
    let upload = world.request("POST", "/api/v1/scripts").header("content-type", "application/wasm");
    world.send(upload.bearer_auth(&world.token).body(again)).await.good(201);
    for name in ["daily", "nightly"] {
        let rule = format!(
            "name = \"{name}\"\ntrigger = {{ on = \"schedule\", every = 1, unit = \"days\", first = \"2027-01-01T09:00:00\" }}\n\
             actions = [{{ script = \"notify\", parameters = {{ text = \"x\" }} }}]"
        );
        world.rule(&rule).await.good(201);
    }
    let rule = |name: &str, title: &str, more: &str| {
        format!(
            "name = \"{name}\"\ntitle = \"{title}\"\nmodel = \"crm.lead\"\n{more}\n\
             actions = [{{ script = \"update-record\", parameters = {{ values = \"city = {{city}}x\" }} }}]"
        )
    };
    for title in ["A", "B"] {
        let cause = "trigger = { on = \"created\" }\nmode = \"auto\"";
        assert!(world.rule(&rule("cause", title, cause)).await.status < 300);
        world.call("PUT", "/api/v1/agents/sales", json!({ "name": "sales", "title": title })).await;
    }
    world.call("PUT", "/api/v1/agents/support", json!({ "name": "support" })).await.good(201);
    let follows = "trigger = { on = \"updated\", fields = [\"city\"] }\nmode = \"approve\"";
    world.rule(&rule("effect", "C", follows)).await.good(201);
    for name in ["one", "two"] {
        let (_, runs) = world.lead(name).await;
        world.ended(runs[0]).await;
        let chain = world.get(&format!("/api/v1/runs/{}/chain", runs[0])).await.good(200);
        for run in chain["runs"].as_array().unwrap() {
            world.app.engine().wait(run["id"].as_i64().unwrap()).await.unwrap();
        }
    }
    for stop in [json!({ "reason": "x" }), json!({ "reason": "x", "model": "crm.lead" })] {
        world.call("POST", "/api/v1/stops", stop).await.good(204);
    }
    world.token(ADMIN, &[Scope::Read]).await;
    // Runs that ask a model, that did not fire, and that log, as they are kept.
    let kept = "INSERT INTO engine_thread (run, name, resume, begun) SELECT id, 'A thread', 0, at FROM engine_run;
                INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, ended, request, accounts, worst, used)
                SELECT key, rule, root, 'model', randomblob(32), 0, 'answered', at, at, '{\"model\":\"a/b\",\"messages\":[]}',
                '[]', '{}', '{}' FROM engine_run;
                INSERT INTO engine_suppressed (at, event, root, rule, reason)
                SELECT at, root, root, rule, 'depth: too deep' FROM engine_run;
                INSERT INTO engine_log (at, rule, run, attempt, level, message) SELECT at, rule, id, 1, 1, 'a line' FROM engine_run;";
    world.app.write(move |conn| conn.execute_batch(kept).map_err(DbError::from)).await.unwrap();
    world
}

// Shows: F078
#[tokio::test(flavor = "multi_thread")]
async fn every_list_comes_page_by_page() {
    let world = filled().await;
    let document = world.send(world.request("GET", "/api/openapi.json")).await.good(200);
    let whole: BTreeSet<&str> = WHOLE.iter().map(|(path, _)| *path).collect();
    let mut met = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(operation) = methods.get("get") else { continue };
        let answered = properties(&document, operation);
        let lists: Vec<&str> =
            answered.iter().filter(|(_, schema)| schema["type"] == "array").map(|(name, _)| *name).collect();
        let has_next = answered.iter().any(|(name, _)| *name == "next" && !lists.contains(name));
        if lists.is_empty() || whole.contains(path.as_str()) {
            met.insert(path.as_str());
            assert!(!has_next, "{path}");
            continue;
        }
        assert!(has_next, "{path} answers with a list, and is not paged");
        let parameters: BTreeSet<&str> =
            operation["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        let cursor = if parameters.contains("after") { "after" } else { "before" };
        assert!(parameters.contains(cursor) && parameters.contains("limit"), "{path}: {parameters:?}");

        // What it is a list of is called like it, or like its newest part.
        let named = path.rsplit('/').next().unwrap();
        let list =
            *["versions", "runs", "lines"].iter().chain([&named]).rev().find(|name| lists.contains(name)).unwrap();
        let run = world.get("/api/v1/runs?rule=cause&limit=1").await.good(200)["runs"][0]["id"].clone();
        let owner = path.split('/').nth(3).unwrap();
        let name = match owner {
            "rules" => "cause",
            "scripts" => "lead-scoring",
            _ => "sales",
        };
        let address = path.replace("{name}", name).replace("{id}", &run.to_string());
        let all = world.get(&format!("{address}?limit=500")).await.good(200);
        let whole = all[list].as_array().unwrap();
        assert!(whole.len() >= 2 && all["next"].is_null(), "{path}: {all}");
        let (mut found, mut query) = (Vec::new(), String::new());
        loop {
            let page = world.get(&format!("{address}?limit=1{query}")).await.good(200);
            let part = page[list].as_array().unwrap();
            assert!(part.len() == 1 && found.len() < whole.len(), "{path}: {page}");
            found.extend(part.iter().cloned());
            let next = match &page["next"] {
                Json::Null => break,
                Json::String(text) => encoded(text),
                number => number.to_string(),
            };
            query = format!("&{cursor}={next}");
        }
        assert_eq!(&found, whole, "{path}");
    }
    assert!(whole.iter().all(|path| met.contains(path)), "a list that is not there");
    let unknown = world.get("/api/v1/scripts?after=none").await;
    assert_eq!(unknown.code(400), "bad-query");
}
