//! Every address of the server, whoever comes: who gets in, and what each answer carries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use triggerbox_automation::EngineError;
use triggerbox_server::{
    people::{Role, accounts},
    router,
    tokens::Scope,
    web::{Need, routes},
};

use crate::{
    browser::Browser,
    world::{ADMIN, READER, World},
};

/// Addresses that need neither a sign-in nor a token: those of the book.
const OPEN: [&str; 10] = [
    "/api/openapi.json",
    "/assets/app.js",
    "/assets/icon.svg",
    "/assets/style.css",
    "/healthz",
    "/readyz",
    "/sign-in",
    "/welcome",
    // A ping carries nothing, and has no more happen than a look that happens anyway.
    "/odoo/ping",
    // It is signed instead.
    "/hook/{rule}",
];

/// The operations of the API: method and path.
async fn operations(world: &World) -> BTreeSet<(String, String)> {
    let document = world.send(world.request("GET", "/api/openapi.json")).await.good(200);
    let mut all = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            all.insert((method.to_uppercase(), path.clone()));
        }
    }
    all
}

/// A path with something in each of its variable parts.
fn address(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{id}" | "{run}" | "{attempt}" | "{record}" | "{version}" => "1",
        "{action}" => "0",
        part if part.starts_with('{') => "none",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

// Shows: F105, F108
#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_the_router_is_known_with_its_door() {
    let world = World::new().await;
    // The router tells its paths in its own words.
    let told = format!("{:?}", router(world.app.clone()));
    let told: BTreeSet<&str> =
        told.split('"').filter(|part| part.starts_with('/') && !part.contains("fallback")).collect();
    let pages: BTreeSet<&str> = routes().iter().map(|route| route.path).collect();
    let operations = operations(&world).await;
    let mut known: BTreeSet<&str> = operations.iter().map(|(_, path)| path.as_str()).chain(pages).collect();
    known.extend(OPEN);
    known.insert("/metrics");
    assert_eq!(told, known, "an address that no matrix tries, or one that is not there");
    let open: BTreeSet<&str> =
        routes().iter().filter(|route| route.need == Need::Nothing).map(|route| route.path).collect();
    assert!(open.iter().all(|path| OPEN.contains(path)), "{open:?}");
}

// Shows: F105, F108
#[tokio::test(flavor = "multi_thread")]
async fn each_token_opens_the_operations_of_its_scopes_only() {
    let world = World::new().await;
    let operations = operations(&world).await;
    assert!(operations.len() > 45, "{}", operations.len());
    // Which scopes open an operation: with all but that one it is closed, with that one alone it is not.
    let mut needed = BTreeMap::<(String, String), BTreeSet<&str>>::new();
    for scope in Scope::ALL {
        let token = world.token(READER, &[scope]).await;
        for (method, path) in &operations {
            let answer = world.call_as(&token, method, &address(path), json!({})).await;
            let refused = answer.status == 403 && answer.json()["code"] == "token-lacks-scope";
            assert!(answer.status != 401 && answer.status < 500, "{scope} {method} {path}: {}", answer.text());
            if !refused {
                needed.entry((method.clone(), path.clone())).or_default().insert(scope.name());
            }
        }
    }
    for (operation, opens) in &needed {
        assert_eq!(opens.len(), 1, "{operation:?} is opened by {opens:?}");
        let (method, path) = operation;
        let is_for_administrators = ["/api/v1/tokens", "/api/v1/settings"].iter().any(|part| path.starts_with(part));
        let reads = method == "GET" && !is_for_administrators;
        assert_eq!(opens.contains("read"), reads, "{operation:?} is opened by {opens:?}");
    }
    assert_eq!(needed.len(), operations.len(), "each is opened by something");
    for (part, scope) in [
        ("/api/v1/records", "records"),
        ("/api/v1/scripts", "scripts"),
        ("/api/v1/approvals", "approve"),
        ("/api/v1/tokens", "admin"),
        ("/api/v1/settings", "admin"),
        ("/api/v1/stops", "operate"),
    ] {
        let changes = needed.iter().filter(|((method, path), _)| path.starts_with(part) && method != "GET");
        let mut changes = changes.peekable();
        assert!(changes.peek().is_some(), "{part}");
        assert!(changes.all(|(_, opens)| opens.contains(scope)), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_what_keeps_browsers_from_harm() {
    let world = World::new().await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let mut tried = 0;
    let mut asks = vec![
        ("GET", "/none", "*/*"),
        ("GET", "/none", "text/html"),
        ("POST", "/none", "text/html"),
        ("GET", "/api/v1/none", "*/*"),
        ("GET", "/api/none", "text/html"),
        ("DELETE", "/api/v1/me", "*/*"),
        ("POST", "/healthz", "*/*"),
        ("GET", "/hook/none", "*/*"),
        ("POST", "/hook/none", "*/*"),
        ("GET", "/metrics", "*/*"),
        ("TRACE", "/runs", "*/*"),
        ("OPTIONS", "/runs", "*/*"),
        ("HEAD", "/sign-in", "*/*"),
        ("PUT", "/sign-in", "*/*"),
        ("GET", "/scripts//..", "text/html"),
    ];
    let operations = operations(&world).await;
    let addresses: Vec<(String, String)> = operations
        .into_iter()
        .chain(routes().iter().map(|route| (route.method.to_owned(), route.path.to_owned())))
        .chain(OPEN.iter().map(|path| ("GET".to_owned(), (*path).to_owned())))
        .map(|(method, path)| (method, address(&path)))
        .filter(|(_, path)| path != "/live")
        .collect();
    asks.extend(addresses.iter().map(|(method, path)| (method.as_str(), path.as_str(), "*/*")));
    for (method, path, accept) in asks {
        for answer in [
            world.send(world.request(method, path).header("accept", accept)).await,
            admin.send(admin.request(method, path).header("accept", accept)).await,
            world.send(world.request(method, path).header("accept", accept).bearer_auth(&world.token)).await,
        ] {
            let policy = answer.header("content-security-policy");
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{method} {path}"
            );
            assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "same-origin"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(answer.header(name), value, "{method} {path}: {name}");
            }
            assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1, "{method} {path}");
            assert!(answer.headers.get("access-control-allow-origin").is_none(), "{method} {path}");
            assert!(answer.status < 500, "{method} {path}: {}", answer.text());
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");

    // People who are lost get a page, programs a problem; neither is told who else is there.
    let page = admin.send(admin.request("GET", "/none").header("accept", "text/html")).await;
    assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"));
    assert!(page.text().contains("There is no such thing here") && page.text().contains("Mitchell Admin"));
    let out = Browser::new(&world);
    let page = out.send(out.request("GET", "/none").header("accept", "text/html")).await;
    assert!(page.status == 404 && !page.text().contains("Mitchell Admin"), "{}", page.text());
    assert_eq!(world.send(world.request("GET", "/none")).await.code(404), "no-such-address");
}

const PASSWORD: &str = "plum wagon orbit 7";

/// An account that signs in with a password.
async fn account(world: &World, login: &'static str, user: u32) {
    let hash = triggerbox_server::people::password::hash(PASSWORD).unwrap();
    let now = triggerbox_automation::Clock::now(&*world.clock);
    let made = world.app.write(move |conn| {
        let id = accounts::create(conn, login, user, &[Role::Reader].into(), now)??;
        accounts::set_password(conn, id, &hash)?;
        Ok::<_, EngineError>(())
    });
    made.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_archived_is_told_so_by_the_right_password_alone() {
    let world = World::new().await;
    account(&world, "reader", READER).await;
    let gone = json!({ "active": false });
    world.call("PATCH", &format!("/api/v1/records/res.users/{READER}"), gone).await.good(200);
    let browser = Browser::new(&world);
    browser.page("/sign-in").await;
    for (password, told) in [("wrong wrong wrong", "do not go together"), (PASSWORD, "Your user is archived")] {
        let answer = browser.post("/sign-in", &[("login", "reader"), ("password", password)]).await;
        assert_eq!(answer.status, 422);
        assert!(answer.text().contains(told), "{told}");
        assert!(browser.cookie("tb_session").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_chooses_the_key_of_somebody_elses_session() {
    let world = World::new().await;
    account(&world, "victim", ADMIN).await;
    account(&world, "attacker", READER).await;
    let attacker = Browser::new(&world);
    attacker.page("/sign-in").await;
    attacker.done("/sign-in", &[("login", "attacker"), ("password", PASSWORD)]).await;
    let theirs = attacker.cookie("tb_session").unwrap();
    let guest = Browser::new(&world);
    guest.page("/sign-in").await;
    let known_guest = guest.cookie("tb_guest").unwrap();

    // Whatever key was put into the browser before, the one after signing in is new, and the old one opens nothing.
    for (cookie, planted) in [
        ("tb_session", "chosen-by-the-attacker".to_owned()),
        ("tb_session", "A".repeat(43)),
        ("tb_session", theirs.clone()),
        ("tb_guest", known_guest.clone()),
    ] {
        let victim = Browser::new(&world);
        victim.keep(cookie, &planted);
        if victim.get("/sign-in").await.status == 200 && victim.cookie("tb_guest").is_none() {
            victim.keep("tb_guest", "of-the-browser");
        }
        // The form of a browser whose session is none carries the guest's token.
        if planted != theirs {
            let session = victim.cookies.lock().unwrap().remove("tb_session");
            let form = victim.form("/sign-in", &[("login", "victim"), ("password", PASSWORD)]);
            if let Some(session) = session {
                victim.keep("tb_session", &session);
            }
            assert_eq!(victim.send(form).await.status, 303, "{cookie}={planted}");
        } else {
            victim.done("/sign-in", &[("login", "victim"), ("password", PASSWORD)]).await;
        }
        let key = victim.cookie("tb_session").unwrap();
        assert_ne!(key, planted, "{cookie}");
        assert!(victim.page("/account").await.contains("victim"));
        // The attacker, with what they planted, is not the victim.
        for name in ["tb_session", "tb_guest"] {
            let other = Browser::new(&world);
            other.keep(name, &planted);
            let answer = other.get("/account").await;
            assert!(answer.status == 303 || !answer.text().contains("victim"), "{name}={planted}");
        }
    }
    // The session that was planted ended with the sign-in: nobody else goes on in it unseen.
    assert_eq!(attacker.get("/account").await.status, 303);

    // A key in an address or a form is none.
    let out = Browser::new(&world);
    out.page("/sign-in").await;
    out.done("/sign-in", &[("login", "victim"), ("password", PASSWORD)]).await;
    let key = out.cookie("tb_session").unwrap();
    let other = Browser::new(&world);
    assert_eq!(other.get(&format!("/account?tb_session={key}")).await.status, 303);
    let header =
        other.request("GET", "/account").header("tb_session", &key).header("authorization", format!("Bearer {key}"));
    assert_eq!(other.send(header).await.status, 303);
    assert_eq!(world.get_as(&key, "/api/v1/me").await.code(401), "bad-token");

    // Another password ends all sessions but this one, and this one has a new key.
    let second = Browser::new(&world);
    second.page("/sign-in").await;
    second.done("/sign-in", &[("login", "victim"), ("password", PASSWORD)]).await;
    let new = "river pencil cloud 9";
    out.done("/account/password", &[("old", PASSWORD), ("password", new), ("again", new)]).await;
    assert_ne!(out.cookie("tb_session").unwrap(), key);
    assert_eq!(out.get("/account").await.status, 200);
    assert_eq!(second.get("/account").await.status, 303);
    let old = Browser::new(&world);
    old.keep("tb_session", &key);
    assert_eq!(old.get("/account").await.status, 303, "the key before it is none any more");

    // No page, no audit line and no log of the API holds a key.
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for path in ["/settings", "/settings/audit", "/account"] {
        let page = admin.page(path).await;
        for key in [&key, &theirs, &out.cookie("tb_session").unwrap()] {
            assert!(!page.contains(key.as_str()), "{path}");
        }
    }
}

/// What would have this host ask for an address that somebody else chose.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_this_host_ask_for_an_address_of_their_choice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inside = format!("http://{}", listener.local_addr().unwrap());
    let world = World::new().await;
    let rules = world.token(READER, &[Scope::Read, Scope::Rules, Scope::Scripts, Scope::Operate]).await;
    // A private address is opened by administrators only, whoever may configure automations.
    for url in [format!("{inside}/*"), "http://169.254.169.254/latest/*".to_owned(), "http://localhost/*".to_owned()] {
        let rule = json!({
            "name": "inside", "trigger": { "on": "manual" },
            "actions": [{ "script": "notify", "parameters": { "text": "x" },
                "http": [{ "methods": ["GET"], "url": url, "private": true }] }],
        });
        let refused = world.call_as(&rules, "PUT", "/api/v1/rules/inside", rule).await;
        assert_eq!(refused.code(422), "rule-refused");
        let codes: Vec<Json> =
            refused.json()["findings"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
        assert!(codes.contains(&json!("not-an-administrator")), "{}", refused.text());
    }
    // Where trouble is told is in files of the operator: no page and no operation writes it. Where models are asked is there,
    // or is set by administrators; who opens what is tried above.
    for (method, path) in operations(&world).await {
        let part = path.trim_start_matches("/api/v1/").split('/').next().unwrap_or_default().to_owned();
        assert!(!["providers", "alerts", "webhooks", "config"].contains(&part.as_str()), "{method} {path}");
        assert!(!path.contains("provider") || path.starts_with("/api/v1/settings/providers"), "{method} {path}");
    }
    for route in routes() {
        let named = ["alert", "config"].iter().any(|word| route.path.contains(word));
        assert!(!named, "{}", route.path);
        let is_for_administrators =
            route.path.starts_with("/settings/providers/") && route.need == Need::Role(Scope::Admin);
        assert!(!route.path.contains("provider") || is_for_administrators, "{}", route.path);
    }
    // A private address is asked by nobody who is no administrator of the records, or does not say that it is one; where
    // clouds keep their keys, nobody is asked at all.
    let (port, settings) = (listener.local_addr().unwrap().port(), world.token(READER, &[Scope::Admin]).await);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for (url, never) in [
        (format!("{inside}/v1"), false),
        (format!("http://localhost:{port}/v1"), false),
        (format!("https://0x7f000001:{port}/"), false),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), false),
        ("http://169.254.169.254/latest".to_owned(), true),
        ("https://[fe80::1]/v1".to_owned(), true),
        ("http://0.0.0.0/v1".to_owned(), true),
    ] {
        let path = "/api/v1/settings/providers/inside";
        let model = json!({ "name": "small", "input-price": 0, "output-price": 0 });
        let mut setting = json!({ "kind": "openai", "base-url": url, "models": [model] });
        let places = |answer: &crate::world::Answer| -> Vec<String> {
            let findings = answer.json()["findings"].as_array().unwrap().clone();
            findings.iter().map(|one| one["place"].as_str().unwrap().to_owned()).collect()
        };
        let refused = world.call("PUT", path, setting.clone()).await;
        assert_eq!(
            (refused.code(422).as_str(), places(&refused)),
            ("setting-refused", vec!["base-url".to_owned()]),
            "{url}"
        );
        setting["private"] = json!(true);
        let refused = world.call_as(&settings, "PUT", path, setting.clone()).await;
        assert_eq!(refused.code(422), "setting-refused");
        assert!(refused.text().contains("not-an-administrator"), "{url}: {}", refused.text());
        if never {
            assert_eq!(places(&world.call("PUT", path, setting).await), ["base-url"], "{url}");
        }
        let form = [
            ("name", "inside"),
            ("base-url", url.as_str()),
            ("models[0].name", "small"),
            ("models[0].input-price", "0"),
            ("models[0].output-price", "0"),
        ];
        assert_eq!(admin.post("/settings/providers/_new", &form).await.status, 422, "{url}");
    }
    assert_eq!(world.get("/api/v1/settings/providers").await.good(200)["providers"], json!([]));
    // An agent's model is a name of the providers file and never an address.
    for model in [format!("{inside}/v1"), inside.clone(), "../x".to_owned()] {
        let answer = world.call("PUT", "/api/v1/agents/a", json!({ "name": "a", "model": model })).await;
        assert!(answer.status < 500, "{}", answer.text());
    }
    // What a webhook's sender says is data: neither its headers nor its body lead anywhere.
    let hook = world.request("POST", "/hook/none").header("referer", &inside).header("x-callback", &inside);
    let hook =
        hook.header("content-type", "application/json").body(json!({ "callback": inside, "url": inside }).to_string());
    assert!((400..500).contains(&world.send(hook).await.status));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody asked {inside}");
}
