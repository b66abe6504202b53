//! The way of a change: in through the API, a rule fires, its run and what it changed are read.

use guest_artifacts::{HIGH_VALUE_ORDER, LEAD_SCORING};
use serde_json::json;

use crate::{
    browser::Browser,
    world::{ADMIN, READER, SAM, SCORE, World},
};
use triggerbox_automation::EngineError;
use triggerbox_server::{
    people::{Role, audit},
    tokens::Scope,
};
use triggerbox_store::db::DbError;

// Shows: F001, F002, F010, F078, F081
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_created_fires_a_rule_and_its_run_is_read() {
    let world = World::new().await;
    let uploaded = world.script(&LEAD_SCORING).await;
    assert_eq!((&uploaded["script"]["name"], &uploaded["script"]["active"]), (&json!("lead-scoring"), &json!(true)));
    assert_eq!(world.rule(SCORE).await.good(201)["outcome"], "created");

    let (lead, runs) = world.lead("Software for our manufacturing plants").await;
    assert_eq!(runs.len(), 1, "the answer says which runs the change caused");
    let run = world.ended(runs[0]).await;
    assert_eq!((&run["state"], &run["record"], &run["attempt"]), (&json!("succeeded"), &json!(lead), &json!(1)));
    let report = &run["attempts"][0]["report"];
    assert_eq!(report["verdict"], "applied");
    assert!(report["used"]["fuel"].as_u64().unwrap() > 0, "{report}");
    let changed: Vec<_> = report["diff"]["records"][0]["fields"].as_array().unwrap().iter().collect();
    let field = changed[0]["field"].as_str().unwrap();
    let record = world.get(&format!("/api/v1/records/crm.lead/{lead}?fields=name,{field}")).await.good(200);
    assert_eq!(record["name"], "Software for our manufacturing plants");
    assert!(!record[field].is_null(), "{record}");

    let listed = world.get(&format!("/api/v1/runs?rule=score&model=crm.lead&record={lead}")).await.good(200);
    assert_eq!((&listed["runs"][0]["id"], &listed["next"]), (&json!(runs[0]), &json!(null)));
    let chain = world.get(&format!("/api/v1/runs/{}/chain", runs[0])).await.good(200);
    assert_eq!(chain["runs"].as_array().unwrap().len(), 1);
    let journal = world.get(&format!("/api/v1/runs/{}/journal/1/0", runs[0])).await.good(200);
    assert!(!journal["calls"].as_array().unwrap().is_empty());
    let events = world.get(&format!("/api/v1/events?model=crm.lead&record={lead}")).await.good(200);
    assert!(events["events"].as_array().unwrap().iter().any(|event| event["kind"] == "created"), "{events}");
    let again = world.call("POST", &format!("/api/v1/runs/{}/retry", runs[0]), json!({})).await;
    assert_eq!(again.code(409), "run-not-retriable");
}

// Shows: F078, F124
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_known_of_a_models_fields_is_told() {
    let world = World::new().await;
    let told =
        world.get("/api/v1/fields/sale.order?fields=name,partner_id,state,amount_total,order_line").await.good(200);
    let [name, partner, state, total, lines] = told["fields"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&name["default"], &name["default_function"]), (&json!(null), &json!("sequence")));
    assert_eq!((&partner["type"], &partner["relation"]), (&json!("many2one"), &json!("res.partner")));
    assert_eq!((&partner["ondelete"], &partner["required"]), (&json!("restrict"), &json!(true)));
    assert_eq!((&state["default"], &state["selection"][0]), (&json!("draft"), &json!(["draft", "Quotation"])));
    assert_eq!((&total["currency_field"], &total["computed"]), (&json!("currency_id"), &json!(true)));
    assert_eq!(total["formula"], "sum(order_line.price_subtotal)");
    assert_eq!(total["depends"], json!(["order_line.price_subtotal"]));
    assert_eq!(lines["relation_field"], "order_id");
    let all = world.get("/api/v1/fields/sale.order").await.good(200);
    assert!(all["fields"].as_array().unwrap().len() > 20, "{all}");
    assert_eq!(world.get("/api/v1/fields/sale.ordre").await.code(404), "unknown-model");
    assert_eq!(world.get("/api/v1/fields/sale.order?fields=nmae").await.code(400), "unknown-field");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_page_by_page() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.extend(world.lead(name).await.1);
    }
    let first = world.get("/api/v1/runs?rule=score&limit=2").await.good(200);
    let ids = |page: &serde_json::Value| {
        page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), [made[2], made[1]]);
    let second = world.get(&format!("/api/v1/runs?rule=score&limit=2&before={}", first["next"])).await.good(200);
    assert_eq!((ids(&second), second["next"].is_null()), (vec![made[0]], true));
    for run in made {
        world.ended(run).await;
    }
    // What was made meanwhile is on no later page.
    let done = world.get("/api/v1/runs?state=succeeded&since=2026-11-20T09:00:00Z").await.good(200);
    assert_eq!(done["runs"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_listed_with_each_of_its_records_that_the_caller_may_read() {
    let world = World::new().await;
    world.rule(MARK).await.good(201);
    let leads = [SAM, ADMIN, SAM].map(|user| json!({ "name": "Chairs", "user_id": user }));
    let leads =
        world.call("POST", "/api/v1/records/crm.lead", json!({ "records": leads })).await.good(201)["ids"].clone();
    let leads: Vec<u64> = serde_json::from_value(leads).unwrap();
    let run = world.call("POST", "/api/v1/rules/mark/run", json!({ "records": leads })).await.good(202)["runs"].clone();
    let sam = world.token(SAM, &[Scope::Read]).await;
    let listed = async |token: &str, lead: u64| {
        let answer = world.get_as(token, &format!("/api/v1/runs?model=crm.lead&record={lead}")).await.good(200);
        let ids = answer["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect::<Vec<_>>();
        (serde_json::Value::from(ids), answer["next"].clone())
    };
    for lead in &leads {
        assert_eq!(listed(&world.token, *lead).await, (run.clone(), json!(null)));
    }
    // Whose lead the second one is, Sam may not even ask.
    for (lead, expected) in leads.iter().zip([run.clone(), json!([]), run.clone()]) {
        assert_eq!(listed(&sam, *lead).await, (expected, json!(null)), "{lead}");
    }
    let browser = Browser::of(&world, SAM, &[Role::Operator]).await;
    for (lead, shown) in leads.iter().zip([true, false, true]) {
        let page = browser.page(&format!("/runs?model=crm.lead&record={lead}")).await;
        assert_eq!(page.contains(&format!("/runs/{}", run[0])), shown, "{lead}");
    }
    let unknown = world.get_as(&sam, "/api/v1/runs?model=no.such&record=1").await.good(200);
    assert_eq!(unknown["runs"], json!([]));
}

/// A rule that is run by hand, on all records at once.
const MARK: &str = "name = \"mark\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\n\
                    actions = [{ script = \"update-record\", parameters = { values = \"city = Ghent\" } }]";

// Shows: F007, F090
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_run_over_all_records_on_a_running_server() {
    let world = World::new().await;
    world.rule(&format!("dispatch = \"per-record\"\ndomain = \"[('name', '=', 'Chairs')]\"\n{MARK}")).await.good(201);
    let leads = vec![json!({ "name": "Chairs" }); 520];
    world.call("POST", "/api/v1/records/crm.lead", json!({ "records": leads })).await.good(201);
    let no_room = "CREATE TRIGGER no_room BEFORE INSERT ON engine_run WHEN (SELECT count(*) FROM engine_run) >= 500 \
                   BEGIN SELECT RAISE(ABORT, 'there is no room'); END";
    world.app.write(move |conn| conn.execute_batch(no_room).map_err(DbError::from)).await.unwrap();
    let fill = || world.call("POST", "/api/v1/rules/mark/backfill", json!({}));
    assert!(fill().await.status >= 500);
    world.app.write(|conn| conn.execute_batch("DROP TRIGGER no_room").map_err(DbError::from)).await.unwrap();
    assert_eq!(fill().await.good(202), json!({ "records": 20, "runs": 20 }), "taken up where it stopped");
    let runs = world.get("/api/v1/runs?rule=mark&limit=500").await.good(200);
    assert!(runs["runs"].as_array().unwrap().iter().all(|run| run["class"] == "batch"), "{runs}");
    let narrow = json!({ "domain": "[('id', '<', 4)]" });
    assert_eq!(world.call("POST", "/api/v1/rules/mark/backfill", narrow).await.good(202)["records"], 0);

    let refused = world.call("POST", "/api/v1/rules/mark/backfill", json!({ "domain": "no domain" })).await;
    assert_eq!(refused.code(400), "bad-domain");
    assert_eq!(world.call("POST", "/api/v1/rules/none/backfill", json!({})).await.code(404), "unknown-rule");
    let gone = world.call("POST", "/api/v1/prunes", json!({})).await.good(200);
    assert_eq!((&gone["runs"], &gone["journals"]), (&json!(0), &json!(0)), "nothing is that old");
    let operator = world.token(SAM, &[Scope::Read, Scope::Operate]).await;
    for path in ["rules/mark/backfill", "prunes"] {
        let refused = world.call_as(&operator, "POST", &format!("/api/v1/{path}"), json!({})).await;
        assert_eq!(refused.code(403), "access-denied", "{path}");
    }
}

// Shows: F082, F085, F093
#[tokio::test(flavor = "multi_thread")]
async fn rules_are_versions_that_can_be_compared_and_restored() {
    let world = World::new().await;
    world.script(&HIGH_VALUE_ORDER).await;
    let rule = |domain: &str| {
        format!(
            "name = \"large\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"manual\" }}\ndomain = \"{domain}\"\n\
             actions = [{{ script = \"high-value-order\" }}]"
        )
    };
    world.rule(&rule("[('amount_total', '>', 5000)]")).await.good(201);
    world.rule(&rule("[('amount_total', '>', 9000)]")).await.good(200);
    let read = world.get("/api/v1/rules/large").await;
    assert_eq!((read.header("etag"), &read.good(200)["version"]), ("\"2\"", &json!(2)));
    let stale = world.json("PUT", "/api/v1/rules/large", &read.good(200)["rule"]).header("if-match", "\"1\"");
    assert_eq!(world.send(stale.bearer_auth(&world.token)).await.code(412), "another-version");
    let diff = world.get("/api/v1/rules/large/diff?from=1&to=2").await.good(200);
    assert_eq!(diff["differences"][0]["place"], "domain");
    let restored = world.call("POST", "/api/v1/rules/large/restore", json!({ "version": 1, "note": "too few" })).await;
    assert_eq!(restored.good(200)["version"], 3);
    let versions = world.get("/api/v1/rules/large/versions").await.good(200);
    assert_eq!(versions["versions"][0]["note"], "too few");
    let file = world.get("/api/v1/rules/large/file").await;
    assert!(file.text().contains("amount_total', '>', 5000"), "{}", file.text());

    let order = world.get("/api/v1/records/sale.order?limit=1").await.good(200)["records"][0]["id"].clone();
    let fired = world.call("POST", "/api/v1/rules/large/run", json!({ "records": [order] })).await.good(202);
    assert_eq!(world.ended(fired["runs"][0].as_i64().unwrap()).await["state"], "succeeded");
    world.call("POST", "/api/v1/rules/large/pause", json!({ "reason": "stocktaking" })).await.good(204);
    let refused = world.call("POST", "/api/v1/rules/large/run", json!({ "records": [order] })).await;
    assert_eq!(refused.code(409), "rule-paused");
    assert_eq!(world.get("/api/v1/rules").await.good(200)["rules"][0]["paused"], "stocktaking");
    let why = world.get("/api/v1/rules/large/diagnosis").await.good(200);
    assert_eq!(why["causes"][0]["code"], "rule-paused", "{why}");
    world.call("POST", "/api/v1/rules/large/resume", json!({})).await.good(204);
    world.call("DELETE", "/api/v1/rules/large", json!({})).await.good(204);
    assert_eq!(world.get("/api/v1/rules/large").await.code(404), "unknown-rule");
    world.call("POST", "/api/v1/rules/large/restore", json!({ "version": 3 })).await.good(200);
}

// Shows: F009
#[tokio::test(flavor = "multi_thread")]
async fn another_model_drops_what_was_for_the_old_one_and_says_so() {
    let world = World::new().await;
    world.script(&HIGH_VALUE_ORDER).await;
    let rule = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\nmodel = \"sale.order\"\ndomain = \"[('amount_total', '>', 1)]\"\n\
             trigger = {{ on = \"updated\", fields = [\"name\", \"amount_total\"] }}\n\
             actions = [{{ script = \"high-value-order\" }}{more}]"
        )
    };
    let notify = ", { script = \"notify\", parameters = { text = \"{name}\" } }";
    world.rule(&rule("both", notify)).await.good(201);
    world.rule(&rule("one", "")).await.good(201);
    let to = |model: &str| json!({ "model": model, "note": "leads, too" });
    let places = |told: &serde_json::Value, list: &str| {
        let told = told[list].as_array().unwrap().iter().filter(|one| one["code"] == "dropped");
        told.map(|one| format!("{} {}", one["place"], one["message"]).replace('"', "")).collect::<Vec<_>>()
    };
    let saved = world.call("POST", "/api/v1/rules/both/model", to("crm.lead")).await.good(200);
    let dropped = places(&saved, "warnings");
    assert_eq!(dropped.len(), 3, "{saved}");
    assert_eq!(dropped[0], "actions[0] `high-value-order` is dropped: it works on `sale.order`");
    assert!(dropped[1].starts_with("domain `[('amount_total', '>', 1)]` is dropped"), "{dropped:?}");
    assert!(dropped[2].starts_with("trigger.fields[1] `amount_total` is dropped"), "{dropped:?}");
    let kept = world.get("/api/v1/rules/both").await.good(200);
    assert_eq!((&kept["version"], &kept["rule"]["model"]), (&json!(2), &json!("crm.lead")));
    let actions = kept["rule"]["actions"].as_array().unwrap();
    assert!(actions.len() == 1 && actions[0]["script"] == "notify", "{kept}");
    let again = world.call("POST", "/api/v1/rules/both/model", to("crm.lead")).await.good(200);
    assert_eq!((&again["outcome"], places(&again, "warnings").len()), (&json!("unchanged"), 0));

    // Without any script it is no rule: nothing is changed, and it is said what would be dropped.
    let refused = world.call("POST", "/api/v1/rules/one/model", to("crm.lead")).await;
    assert_eq!(refused.code(422), "rule-refused");
    let findings = refused.json();
    assert!(findings["findings"].as_array().unwrap().iter().any(|one| one["code"] == "no-actions"), "{findings}");
    assert_eq!(places(&findings, "findings").len(), 3, "{findings}");
    assert_eq!(world.get("/api/v1/rules/one").await.good(200)["rule"]["model"], "sale.order");
    assert_eq!(world.call("POST", "/api/v1/rules/none/model", to("crm.lead")).await.code(404), "unknown-rule");
    assert_eq!(world.call("POST", "/api/v1/rules/one/model", to("no.such")).await.code(422), "rule-refused");

    // The same with the form.
    world.call("POST", "/api/v1/rules/both/restore", json!({ "version": 1 })).await.good(200);
    let browser = Browser::of(&world, ADMIN, &[Role::Developer]).await;
    let fields = |name: &'static str, version: &'static str| {
        vec![
            ("known", name),
            ("version", version),
            ("model", "crm.lead"),
            ("active", "1"),
            ("on", "updated"),
            ("t.fields", "name, amount_total"),
            ("max-records", "100"),
            ("debounce", "0"),
            ("script", "high-value-order"),
        ]
    };
    let answer = browser.post("/automations/one", &fields("one", "1")).await;
    assert_eq!(answer.status, 422);
    let page = answer.text();
    assert!(page.contains("`high-value-order` is dropped: it works on `sale.order`"), "{page}");
    let mut form = fields("both", "3");
    form.extend([("script", "notify"), ("p1.text", "{name}")]);
    let mut shown = form.clone();
    shown.push(("reload", "1"));
    let page = browser.post("/automations/both", &shown).await;
    assert!(page.status == 200 && page.text().contains("is dropped: it works on"), "{}", page.text());
    assert_eq!(world.get("/api/v1/rules/both").await.good(200)["rule"]["model"], "sale.order", "only shown");
    let page = browser.page(&browser.done("/automations/both", &form).await).await;
    assert!(page.contains("The automation is saved.") && page.contains("is dropped: it works on"), "{page}");
    let kept = world.get("/api/v1/rules/both").await.good(200);
    let actions = kept["rule"]["actions"].as_array().unwrap();
    assert!(actions.len() == 1 && actions[0]["script"] == "notify", "{kept}");
    assert_eq!(kept["rule"]["trigger"]["fields"], json!(["name"]), "{kept}");
}

// Shows: F011, F093
#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_rules_is_applied_as_a_whole_or_not_at_all() {
    let world = World::new().await;
    world.script(&HIGH_VALUE_ORDER).await;
    let rule = |name: &str, domain: &str| {
        json!({ "name": name, "model": "sale.order", "trigger": { "on": "manual" }, "domain": domain,
            "actions": [{ "script": "high-value-order" }] })
    };
    let apply = |query: &str, rules: &[serde_json::Value]| {
        let path = format!("/api/v1/rules?note=from%20git{query}");
        let (world, body) = (&world, json!({ "rules": rules }));
        async move { world.call("PUT", &path, body).await }
    };
    let names = async || {
        let rules = world.get("/api/v1/rules").await.good(200);
        let names = rules["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let steps = |told: &serde_json::Value| {
        let steps = told["steps"].as_array().unwrap().iter();
        steps.map(|step| format!("{} {}", step["change"], step["rule"]).replace('"', "")).collect::<Vec<_>>()
    };
    let (large, small) = (rule("large", "[('amount_total', '>', 5000)]"), rule("small", "[]"));
    let both = [large.clone(), small.clone()];
    let planned = apply("&dry_run=true", &both).await.good(200);
    assert_eq!(
        (steps(&planned), &planned["applied"]),
        (vec!["create large".into(), "create small".into()], &json!(false))
    );
    assert_eq!(names().await, [""; 0]);

    let refused = apply("", &[large.clone(), rule("odd", "[('nme', '=', 1)]"), large.clone()]).await;
    assert_eq!(refused.code(422), "rule-refused");
    let found = refused.json()["findings"].clone();
    assert_eq!((&found[0]["rule"], &found[0]["place"]), (&json!("odd"), &json!("domain")), "{found}");
    assert_eq!((&found[1]["rule"], &found[1]["code"]), (&json!("large"), &json!("named-twice")), "{found}");
    assert_eq!(names().await, [""; 0], "none of them");

    apply("", &both).await.good(200);
    assert_eq!(names().await, ["large", "small"]);
    let changed = [rule("large", "[('amount_total', '>', 9000)]"), rule("other", "[]")];
    let told = apply("&prune=true", &changed).await.good(200);
    assert_eq!(steps(&told), ["update large", "create other", "delete small"]);
    for query in ["&prune=true", "&prune=true&dry_run=true"] {
        assert_eq!(apply(query, &[]).await.code(400), "no-rules", "{query}");
    }
    assert_eq!(told["steps"][0]["differences"][0]["place"], "domain");
    assert_eq!(names().await, ["large", "other"]);
    let versions = world.get("/api/v1/rules/large/versions").await.good(200);
    assert_eq!(versions["versions"][0]["note"], "from git");
}

// Shows: F093
#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_versions_that_can_be_activated_and_downloaded() {
    let world = World::new().await;
    let first = world.script(&HIGH_VALUE_ORDER).await["script"]["hash"].as_str().unwrap().to_owned();
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap().replacen("version = \"", "version = \"9.", 1);
    let second = guest_artifacts::Guest { name: "second", component: HIGH_VALUE_ORDER.component, manifest: None };
    let bytes = triggerbox_sandbox::inspect::embed_manifest(second.component, &manifest).unwrap();
    let upload = world.request("POST", "/api/v1/scripts").bearer_auth(&world.token).body(bytes.clone());
    let uploaded = world.send(upload).await.good(201);
    assert_eq!(uploaded["outcome"], "created");
    let second = uploaded["script"].clone();
    // Exactly the same again: it is there.
    let upload = world.request("POST", "/api/v1/scripts").bearer_auth(&world.token).body(bytes.clone());
    let again = world.send(upload).await.good(200);
    assert_eq!((&again["outcome"], &again["script"]), (&json!("unchanged"), &second));
    let lines =
        world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "there already", None, 9)?)).await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(second["active"], false, "the first version stays active");
    let hash = second["hash"].as_str().unwrap();
    let switched = world.call("POST", "/api/v1/scripts/high-value-order/activate", json!({ "hash": hash })).await;
    assert_eq!(switched.good(200)["script"]["active"], true);
    let back = world.call("POST", "/api/v1/scripts/high-value-order/roll-back", json!({})).await.good(200);
    assert_eq!(back["script"]["hash"], first);
    let history = world.get("/api/v1/scripts/high-value-order").await.good(200);
    assert_eq!(history["activations"].as_array().unwrap().len(), 3);
    let download = world.get(&format!("/api/v1/scripts/high-value-order/versions/{hash}/component")).await;
    assert_eq!((download.status, download.bytes), (200, bytes));
}

// Shows: F015
#[tokio::test(flavor = "multi_thread")]
async fn records_are_changed_with_the_rights_of_the_tokens_user() {
    let world = World::new().await;
    let (lead, _) = world.lead("Chairs").await;
    let path = format!("/api/v1/records/crm.lead/{lead}");
    let done = world.call("PATCH", &path, json!({ "priority": "2", "expected_revenue": 900 })).await.good(200);
    assert!(done["diff"]["records"][0]["fields"].as_array().unwrap().len() >= 2, "{done}");
    world.call("POST", &format!("{path}/messages"), json!({ "body": "<b>seen</b>", "note": true })).await.good(201);
    let found = world.get("/api/v1/records/crm.lead?domain=[('name','=','Chairs')]&fields=name,priority,tag_ids").await;
    assert_eq!(found.good(200)["records"], json!([{ "id": lead, "name": "Chairs", "priority": "2", "tag_ids": [] }]));
    assert_eq!(world.get("/api/v1/counts/crm.lead?domain=[('name','=','Chairs')]").await.good(200)["count"], 1);

    let reader = world.token(READER, &[Scope::Read, Scope::Records]).await;
    let refused = world.call_as(&reader, "PATCH", &path, json!({ "priority": "0" })).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    world.call("DELETE", &path, json!({})).await.good(200);
    assert_eq!(world.get(&path).await.code(404), "missing-record");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_paged_and_counted_archived_ones_too() {
    let world = World::new().await;
    let leads = ["a", "b", "c"].map(|name| json!({ "name": name, "city": "Paging" }));
    let made = world.call("POST", "/api/v1/records/crm.lead", json!({ "records": leads })).await.good(201);
    let path = format!("/api/v1/records/crm.lead/{}", made["ids"][1]);
    world.call("PATCH", &path, json!({ "active": false })).await.good(200);
    let which = "crm.lead?domain=[('city','=','Paging')]";
    let counted =
        async |more: &str| world.get(&format!("/api/v1/counts/{which}{more}")).await.good(200)["count"].clone();
    assert_eq!((counted("").await, counted("&archived=true").await), (json!(2), json!(3)));

    // A page has at least one record: whoever follows the pages comes to an end.
    let (mut names, mut offset) = (Vec::new(), json!(0));
    while !offset.is_null() {
        let page = format!("/api/v1/records/{which}&fields=name&order=name&archived=true&limit=0&offset={offset}");
        let page = world.get(&page).await.good(200);
        names.extend(page["records"].as_array().unwrap().iter().map(|one| one["name"].clone()));
        assert!(names.len() <= 3 && page["next_offset"] != offset, "{page}");
        offset = page["next_offset"].clone();
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_request_done_once() {
    let world = World::new().await;
    let body = json!({ "records": [{ "name": "Once" }] });
    let keyed = |key: &str, body: &serde_json::Value| {
        world.json("POST", "/api/v1/records/crm.lead", body).bearer_auth(&world.token).header("idempotency-key", key)
    };
    let first = world.send(keyed("k1", &body)).await;
    let again = world.send(keyed("k1", &body)).await;
    assert_eq!((first.good(201), again.header("idempotency-replayed")), (again.good(201), "true"));
    assert_eq!(world.get("/api/v1/counts/crm.lead?domain=[('name','=','Once')]").await.good(200)["count"], 1);
    let other = json!({ "records": [{ "name": "Other" }] });
    assert_eq!(world.send(keyed("k1", &other)).await.code(422), "idempotency-key-reused");
    assert_eq!(world.send(keyed("", &other)).await.code(400), "bad-idempotency-key");
    // What was refused is told again, too.
    let wrong = json!({ "records": [{ "nme": "Once" }] });
    let refused = world.send(keyed("k2", &wrong)).await;
    assert_eq!((refused.status, refused.text()), (world.send(keyed("k2", &wrong)).await.status, refused.text()));
    // Another token's keys are others.
    let token = world.token(crate::world::MANAGER, &Scope::ALL).await;
    let request = world.json("POST", "/api/v1/records/crm.lead", &body).bearer_auth(token);
    world.send(request.header("idempotency-key", "k1")).await.good(201);
    assert_eq!(world.get("/api/v1/counts/crm.lead?domain=[('name','=','Once')]").await.good(200)["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_limits_and_schedules_are_there() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "model": "crm.lead", "reason": "import" })).await.good(204);
    let (_, runs) = world.lead("Waits").await;
    assert_eq!(world.get("/api/v1/stops").await.good(200)["stops"][0]["reason"], "import");
    let waiting = world.get(&format!("/api/v1/runs/{}", runs[0])).await.good(200);
    assert_eq!(waiting["state"], "queued");
    world.call("DELETE", "/api/v1/stops?model=crm.lead", json!({})).await.good(204);
    assert_eq!(world.ended(runs[0]).await["state"], "succeeded");

    world
        .rule(
            "name = \"daily\"\nmodel = \"crm.lead\"\n\
             trigger = { on = \"schedule\", every = 1, unit = \"days\", first = \"2026-11-20T10:00:00\" }\n\
             actions = [{ script = \"lead-scoring\" }]",
        )
        .await
        .good(201);
    let schedules = world.get("/api/v1/schedules?count=2").await.good(200);
    assert_eq!(schedules["schedules"][0]["next"], json!(["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"]));
    // One that is of a version that read schedules otherwise does not hide the others.
    world
        .rule(
            "name = \"nightly\"\ntrigger = { on = \"schedule\", cron = \"0 3 * * *\" }\n\
             actions = [{ script = \"notify\", parameters = { text = \"x\" } }]",
        )
        .await
        .good(201);
    let sql = "UPDATE engine_rule SET body = replace(body, '0 3 * * *', 'at three')";
    world.app.write(|conn| Ok::<_, DbError>(conn.execute(sql, [])?)).await.unwrap();
    let schedules = world.get("/api/v1/schedules?count=1").await.good(200);
    let next: Vec<_> = schedules["schedules"].as_array().unwrap().iter().map(|one| &one["next"]).collect();
    assert_eq!(next, [&json!(["2026-11-20T10:00:00Z"]), &json!([])]);
    let limits = world.get("/api/v1/limits").await.good(200);
    assert!(limits["limits"].as_array().unwrap().iter().any(|limit| limit["name"] == "fuel" && limit["async"] != 0));
}

// Shows: F042
#[tokio::test(flavor = "multi_thread")]
async fn fires_that_did_not_become_runs_are_shown_to_whoever_may_read_the_record() {
    let world = World::new().await;
    let rule = "name = \"button\"\nmodel = \"crm.lead\"\ntrigger = { on = \"manual\" }\ndispatch = \"per-record\"\n\
                max-records = 1\nactions = [{ script = \"notify\", parameters = { text = \"x\" } }]";
    world.rule(rule).await.good(201);
    let mut leads = Vec::new();
    for user in [ADMIN, SAM, ADMIN] {
        let body = json!({ "records": [{ "name": "Chairs", "user_id": user }] });
        let made = world.call("POST", "/api/v1/records/crm.lead", body).await.good(201);
        leads.push(made["ids"][0].as_u64().unwrap());
    }
    world.call("POST", "/api/v1/rules/button/run", json!({ "records": leads })).await.good(202);
    let (administrator, sam) = (world.token.clone(), world.token(SAM, &[Scope::Read]).await);
    for (token, seen) in [(&administrator, vec![leads[2], leads[1]]), (&sam, vec![leads[1]])] {
        let shown = world.get_as(token, "/api/v1/suppressed?rule=button").await.good(200);
        let shown = shown["suppressed"].as_array().unwrap().iter().map(|one| one["record"].as_u64().unwrap());
        assert_eq!(shown.collect::<Vec<_>>(), seen);
    }
}

// Shows: F080, F089
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_searched_and_what_failed_is_queued_again() {
    let world = World::new().await;
    world.script(&guest_artifacts::DEMO_WRITE_THEN_TRAP).await;
    let rule = "name = \"half\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"demo-write-then-trap\" }]";
    world.rule(rule).await.good(201);
    let fired = world.call("POST", "/api/v1/rules/half/run", json!({ "records": [1] })).await.good(202);
    let run = fired["runs"][0].as_i64().unwrap();
    world.ended(run).await;

    let found = world.get("/api/v1/logs?rule=half&contains=half%20done").await.good(200);
    let line = &found["lines"][0];
    assert_eq!((&line["run"], &line["level"], &line["attempt"]), (&json!(run), &json!("info"), &json!(1)), "{found}");
    let all = world.get(&format!("/api/v1/logs?run={run}&limit=1")).await.good(200);
    let next = all["next"].as_i64().unwrap();
    let rest = world.get(&format!("/api/v1/logs?run={run}&before={next}")).await.good(200);
    assert!(rest["lines"].as_array().unwrap().iter().all(|line| line["id"].as_i64().unwrap() < next), "{rest}");
    assert_eq!(world.get("/api/v1/logs?level=loud").await.code(400), "bad-query");

    let again = json!({ "rule": "half", "state": "failed" });
    let sam = world.token(crate::world::SAM, &Scope::ALL).await;
    assert_eq!(world.call_as(&sam, "POST", "/api/v1/requeues", again.clone()).await.code(403), "access-denied");
    let queued = world.call("POST", "/api/v1/requeues", again).await.good(202);
    assert_eq!(queued["runs"], json!([run]));
    let unknown = json!({ "rule": "none", "state": "dead" });
    assert_eq!(world.call("POST", "/api/v1/requeues", unknown).await.code(404), "unknown-rule");
    assert_eq!(world.ended(run).await["attempt"], 2);
}

/// Bytes as a zstd frame of one stored block, as reports are kept.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(size.to_le_bytes());
    frame.extend(&(size << 3 | 1).to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

// Shows: F018
#[tokio::test(flavor = "multi_thread")]
async fn tracebacks_of_a_backend_are_shown_to_administrators_alone() {
    let world = World::new().await;
    world.script(&LEAD_SCORING).await;
    world.rule(SCORE).await.good(201);
    let run = world.lead("Chairs").await.1[0];
    let mut report = world.ended(run).await["attempts"][0]["report"].clone();
    assert_eq!(report.get("tracebacks"), None, "the embedded store has none");
    // As a run on an Odoo server keeps it.
    report["tracebacks"] = json!(["Traceback (most recent call last):\n  ValueError: inside"]);
    let kept = stored(report.to_string().as_bytes());
    let work = move |conn: &rusqlite::Connection| {
        let sql = "UPDATE engine_attempt SET report = ?2 WHERE run = ?1";
        Ok::<_, triggerbox_store::db::DbError>(conn.execute(sql, (run, kept))?)
    };
    world.app.engine().committer().commit(work).await.unwrap();

    let path = format!("/api/v1/runs/{run}");
    let shown = world.get(&path).await.good(200);
    assert_eq!(shown["attempts"][0]["report"]["tracebacks"][0], report["tracebacks"][0]);
    let manager = world.token(crate::world::MANAGER, &[Scope::Read]).await;
    let shown = world.get_as(&manager, &path).await.good(200);
    assert_eq!(shown["attempts"][0]["report"].get("tracebacks"), None, "{shown}");
    assert_eq!(shown["attempts"][0]["report"]["verdict"], "applied");
}
