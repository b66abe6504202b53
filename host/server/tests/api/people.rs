//! Signing in, roles, and what keeps others out.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    time::Duration,
};

use triggerbox_automation::{Clock, EngineError};
use triggerbox_server::{
    Config,
    people::{Role, audit},
    web::{Need, routes},
};

use crate::{
    browser::Browser,
    world::{ADMIN, Answer, READER, World},
};

const PASSWORD: &str = "plum wagon orbit 7";

// Shows: F104, F131
#[tokio::test(flavor = "multi_thread")]
async fn the_first_link_makes_an_administrator_who_then_signs_in_with_a_password() {
    let world = World::new().await;
    let browser = Browser::new(&world);
    let old = world.app.first_link().await.unwrap().unwrap();
    let key = world.app.first_link().await.unwrap().unwrap();
    assert_eq!(browser.get(&format!("/welcome?key={old}")).await.status, 410, "a newer link ends the older");
    let link = format!("/welcome?key={key}");
    assert!(browser.page(&link).await.contains("Welcome, admin"));
    let guest = browser.cookie("tb_guest").unwrap();

    let set = |password: &'static str, again: &'static str| {
        let fields = [("key", key.as_str()), ("password", password), ("again", again)];
        browser.form("/welcome", &fields)
    };
    assert!(browser.send(set("short", "short")).await.text().contains("has 10 to 200 characters"));
    assert!(browser.send(set(PASSWORD, "another one, 42")).await.text().contains("do not say the same"));
    let done = browser.send(set(PASSWORD, PASSWORD)).await;
    assert_eq!((done.status, done.header("location")), (303, "/"));
    let first = browser.cookie("tb_session").unwrap();
    assert_ne!(first, guest, "the key is a new one");
    assert!(browser.page("/runs").await.contains("Your password is set"));
    assert!(!browser.page("/runs").await.contains("Your password is set"), "told once");
    assert_eq!(browser.get(&link).await.status, 410, "used up");
    assert!(world.app.first_link().await.unwrap().is_none(), "somebody can sign in");

    // Signed out, the key is worth nothing; signed in again, there is another one.
    browser.done("/sign-out", &[]).await;
    assert!(browser.cookie("tb_session").is_none());
    browser.keep("tb_session", &first);
    assert_eq!(browser.get("/runs").await.header("location"), "/sign-in?next=%2Fruns");
    browser.cookies.lock().unwrap().clear();
    browser.page("/sign-in?next=/runs").await;
    // A key that somebody else chose is not taken over.
    browser.keep("tb_session", "chosen-by-somebody-else");
    browser.cookies.lock().unwrap().remove("tb_session");
    let to =
        browser.done("/sign-in", &[("login", "Admin"), ("password", PASSWORD), ("next", "/runs?state=failed")]).await;
    assert_eq!(to, "/runs?state=failed");
    assert_ne!(browser.cookie("tb_session").unwrap(), first);

    let other = Browser::new(&world);
    other.page("/sign-in").await;
    other.done("/sign-in", &[("login", "admin"), ("password", PASSWORD)]).await;
    browser.done("/sign-out-everywhere", &[]).await;
    assert_eq!(other.get("/runs").await.status, 303, "everywhere");

    let lines = world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "", None, 50)?)).await.unwrap();
    let actions: Vec<_> = lines.iter().rev().map(|line| line.action.as_str()).collect();
    let (made, own) = actions.split_first().unwrap();
    assert_eq!((*made, lines.last().unwrap().who.as_str()), ("account-created", audit::PROGRAM));
    assert_eq!(own, ["password-set", "signed-out", "signed-in", "signed-in", "signed-out-everywhere"]);
    let own = &lines[..lines.len() - 1];
    assert!(own.iter().all(|line| line.who == "admin" && line.address == "127.0.0.1" && !line.detail.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_counted_and_nobody_is_led_elsewhere() {
    let world = World::new().await;
    let browser = Browser::new(&world);
    let page = browser.page("/sign-in?next=https://evil.example/").await;
    assert!(!page.contains("evil.example"));
    for next in ["//evil.example", "/\\evil.example", "javascript:alert(1)", "/\tx"] {
        let page = browser.page(&format!("/sign-in?next={}", crate::browser::encoded(next))).await;
        assert!(page.contains("name=\"next\" value=\"/\""), "{next}");
    }
    let fields = [("login", "admin"), ("password", "wrong wrong wrong")];
    for _ in 0..5 {
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.status, 422);
        assert!(answer.text().contains("do not go together") && !answer.text().contains("wrong wrong"));
    }
    assert_eq!(browser.post("/sign-in", &fields).await.status, 429);
    world.clock.advance(Duration::from_secs(16 * 60));
    assert_eq!(browser.post("/sign-in", &fields).await.status, 422);
}

// Shows: F104
#[tokio::test(flavor = "multi_thread")]
async fn tries_at_the_same_time_count_each_other() {
    let world = World::new().await;
    let browser = Browser::new(&world);
    browser.page("/sign-in").await;
    let fields = [("login", "admin"), ("password", "wrong wrong wrong")];
    let tries: Vec<_> = (0..50).map(|_| tokio::spawn(browser.form("/sign-in", &fields).send())).collect();
    let mut answers = Vec::new();
    for one in tries {
        answers.push(one.await.unwrap().unwrap().status().as_u16());
    }
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(422), count(429)), (5, 45), "five passwords are looked at, and no more");
    let refused = world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "sign-in-refused", None, 99)?)).await;
    assert_eq!(refused.unwrap().len(), 5);
}

// Shows: F104
#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_locks_nobody_else_out() {
    let mut config = Config::default();
    config.web.proxy = true;
    let world = World::with(config).await;
    let own = Browser::new(&world);
    let key = world.app.first_link().await.unwrap().unwrap();
    own.page(&format!("/welcome?key={key}")).await;
    own.done("/welcome", &[("key", &key), ("password", PASSWORD), ("again", PASSWORD)]).await;
    let first = own.cookie("tb_device").unwrap();
    own.done("/sign-out", &[]).await;
    let enter = async |browser: &Browser<'_>, address: &str, password: &str| {
        browser.page("/sign-in").await;
        let form = browser.form("/sign-in", &[("login", "admin"), ("password", password)]);
        browser.send(form.header("x-forwarded-for", address)).await.status
    };

    let stranger = Browser::new(&world);
    for number in 1..=5 {
        assert_eq!(enter(&stranger, &format!("2001:db8:1:2::{number}"), "wrong wrong wrong").await, 422);
    }
    assert_eq!(enter(&stranger, "2001:db8:1:2:ffff::6", PASSWORD).await, 429, "one subscriber has all of these");
    // Whose name it is comes in from elsewhere, and in a browser of their own from there, too.
    let new = Browser::new(&world);
    assert_eq!(enter(&new, "2001:db8:1:103::1", PASSWORD).await, 303);
    assert_eq!(enter(&own, "2001:db8:1:2::1", PASSWORD).await, 303);
    let second = own.cookie("tb_device").unwrap();
    assert_ne!(second, first, "drawn anew each time");
    // The old key is nobody's, and a key alone opens nothing.
    own.done("/sign-out", &[]).await;
    own.keep("tb_device", &first);
    assert_eq!(enter(&own, "2001:db8:1:2::1", PASSWORD).await, 429);
    own.keep("tb_device", &second);
    for _ in 0..5 {
        assert_eq!(enter(&own, "2001:db8:1:2::1", "wrong wrong wrong").await, 422);
    }
    assert_eq!(enter(&own, "10.0.0.9", PASSWORD).await, 429, "wherever it is");
    assert_eq!(own.get("/runs").await.status, 303);

    // Who tries to change a password uses up nobody's tries to sign in.
    let change = [("old", "wrong wrong wrong"), ("password", "another one, 42"), ("again", "another one, 42")];
    for expected in
        ["is another one", "is another one", "is another one", "is another one", "is another one", "Too many"]
    {
        let answer = new.post("/account/password", &change).await;
        assert!(answer.status == 422 && answer.text().contains(expected), "{expected}: {}", answer.text());
    }
    let newest = Browser::new(&world);
    assert_eq!(enter(&newest, "2001:db8:1:103::1", PASSWORD).await, 303);
}

// Shows: F105, F108
#[tokio::test(flavor = "multi_thread")]
async fn each_role_gets_through_its_doors_only() {
    let world = World::new().await;
    let out = Browser::new(&world);
    let mut open = Vec::new();
    let mut tried = 0;
    for route in routes() {
        let path = address(route.path);
        let answer = match route.method {
            "GET" => out.get(&path).await,
            _ => out.post(&path, &[]).await,
        };
        match route.need {
            Need::Nothing => open.push(route.path),
            Need::Role(_) if route.method == "GET" => {
                assert_eq!(answer.status, 303, "{path}");
                assert!(answer.header("location").starts_with("/sign-in"), "{path}");
            }
            Need::Role(_) => assert_eq!(answer.status, 401, "{path}"),
        }
        tried += 1;
    }
    open.dedup();
    assert_eq!(open, ["/assets/style.css", "/assets/app.js", "/assets/icon.svg", "/sign-in", "/welcome"]);

    for role in Role::ALL {
        for route in routes().into_iter().filter(|route| route.path != "/live") {
            let Need::Role(scope) = route.need else { continue };
            let browser = Browser::of(&world, if role == Role::Administrator { ADMIN } else { READER }, &[role]).await;
            let path = address(route.path);
            let answer = match route.method {
                "GET" => browser.get(&path).await,
                _ => browser.post(&path, &[]).await,
            };
            let may = role.scopes().contains(&scope);
            let refused = answer.status == 403 && answer.text().contains("role-lacks");
            assert_eq!(refused, !may, "{role} {} {path}: {} {}", route.method, answer.status, answer.text());
            assert!(answer.status < 500, "{role} {path}: {}", answer.text());
            assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

/// A path with something in each of its variable parts.
fn address(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{id}" | "{run}" | "{attempt}" | "{record}" => "1",
        part if part.starts_with('{') => "none",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// All that the database holds, table by table.
async fn all_that_there_is(world: &World) -> BTreeMap<String, u64> {
    let digest = |conn: &rusqlite::Connection| {
        let mut names = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
        let tables: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut digests = BTreeMap::new();
        for table in tables {
            let mut statement = conn.prepare(&format!("SELECT * FROM \"{table}\""))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            let mut hasher = std::hash::DefaultHasher::new();
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    format!("{:?}", row.get_ref(column)?).hash(&mut hasher);
                }
            }
            digests.insert(table, hasher.finish());
        }
        Ok::<_, EngineError>(digests)
    };
    world.app.read(digest).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_pages_and_sessions_do_nothing() {
    let world = World::new().await;
    let browser = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let other = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let (guest, other_guest) = (Browser::new(&world), Browser::new(&world));
    for one in [&guest, &other_guest] {
        one.page("/sign-in").await;
    }
    // A use of each session is noted once.
    for one in [&browser, &other] {
        assert_eq!(one.get("/runs").await.status, 200);
    }
    let before = all_that_there_is(&world).await;
    let posts: Vec<_> = routes().into_iter().filter(|route| route.method == "POST").collect();
    assert!(posts.len() > 35, "{}", posts.len());
    for route in &posts {
        let path = address(route.path);
        let doors = match route.need {
            Need::Nothing => vec![(&guest, &other_guest), (&guest, &browser), (&browser, &guest), (&browser, &other)],
            Need::Role(_) => vec![(&browser, &other), (&browser, &guest)],
        };
        for (own, foreign) in doors {
            let fields = "login=admin&password=wrong+wrong+wrong&user=admin&role=reader&name=x&reason=x&texts=Mitchell";
            let text = |kind: &str, token: &str| {
                let body = if token.is_empty() { fields.to_owned() } else { format!("{fields}&form-token={token}") };
                own.request("POST", &path).header("content-type", kind).body(body)
            };
            let form = |token: &str| text("application/x-www-form-urlencoded", token);
            let file = |token: &str| {
                let path = format!("{path}?form-token={token}");
                own.request("POST", &path).header("content-type", "multipart/form-data; boundary=x").body("--x--")
            };
            let good = own.form_token();
            let (theirs, none) = (foreign.form_token(), "0".repeat(64));
            for request in [
                form(""),
                form(&theirs),
                form(&none),
                form(&good).header("origin", "https://evil.example"),
                form(&good).header("origin", "null"),
                form(&good).header("origin", format!("{}0", world.base)),
                form(&good).header("sec-fetch-site", "cross-site"),
                form(&good).header("sec-fetch-site", "same-site"),
                text("application/json", &good),
                text("text/plain", &good),
                file(""),
                file(&theirs),
                file(&good).header("origin", "https://evil.example"),
                file(&good).header("sec-fetch-site", "cross-site"),
            ] {
                let told = format!("{request:?}");
                let answer = own.send(request).await;
                assert_eq!(answer.status, 403, "{told}: {}", answer.text());
                assert!(answer.text().contains("foreign-form"), "{told}: {}", answer.text());
            }
        }
    }
    assert_eq!(all_that_there_is(&world).await, before, "something was changed");
    let own = world.base.clone();
    let own =
        browser.send(browser.form("/sign-out", &[]).header("origin", own).header("sec-fetch-site", "same-origin"));
    assert_eq!(own.await.status, 303);
}

// Shows: F104
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_speaks_tls_cookies_are_this_hosts_alone() {
    let mut config = Config::default();
    config.web.url = Some("https://triggerbox.example".to_owned());
    config.web.proxy = true;
    let world = World::with(config).await;
    let browser = Browser::new(&world);
    let key = world.app.first_link().await.unwrap().unwrap();
    let cookies = |answer: &Answer| -> Vec<String> {
        let all = answer.headers.get_all("set-cookie").iter();
        all.map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
    };
    let check = |answer: &Answer, expected: &[(&str, bool)]| {
        let cookies = cookies(answer);
        assert_eq!(cookies.len(), expected.len(), "{cookies:?}");
        for (cookie, (name, ends)) in cookies.iter().zip(expected) {
            assert!(cookie.starts_with(&format!("__Host-{name}=")), "{cookie}");
            let parts: Vec<_> = cookie.split("; ").collect();
            for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(parts.contains(&part), "{part}: {cookie}");
            }
            assert_eq!(parts.contains(&"Max-Age=0"), *ends, "{cookie}");
            assert!(!cookie.contains("Domain"), "{cookie}");
        }
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    };
    let link = browser.get(&format!("/welcome?key={key}")).await;
    check(&link, &[("tb_guest", false)]);
    // A cookie of the other name is nobody's.
    browser.keep("tb_session", "chosen-by-somebody-else");
    browser.cookies.lock().unwrap().remove("tb_session");
    let fields = [("key", key.as_str()), ("password", PASSWORD), ("again", PASSWORD)];
    let form = browser.form("/welcome", &fields).header("origin", "https://triggerbox.example");
    // What a client claims of itself is not believed, in one header or in several.
    let form = form.header("x-forwarded-for", "6.6.6.6, 10.0.0.1").header("x-forwarded-for", "7.7.7.7, 10.0.0.9");
    let done = browser.send(form).await;
    assert_eq!(done.status, 303, "{}", done.text());
    check(&done, &[("tb_session", false), ("tb_guest", true), ("tb_device", false), ("tb_said", false)]);
    check(&browser.get("/runs").await, &[("tb_said", true)]);
    let out = browser.send(browser.form("/sign-out", &[]).header("x-forwarded-for", "6.6.6.6,10.0.0.9")).await;
    check(&out, &[("tb_session", true), ("tb_said", false)]);
    let lines = world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "", None, 2)?)).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.address.as_str()).collect::<Vec<_>>(), ["10.0.0.9", "10.0.0.9"]);
    let api = world.send(world.request("GET", "/healthz")).await;
    assert_eq!(api.header("strict-transport-security"), "max-age=31536000");

    // Without any of it, nothing is believed and nothing promised.
    let world = World::new().await;
    let browser = Browser::new(&world);
    let ask = browser.request("GET", "/sign-in").header("x-forwarded-proto", "https");
    let page = browser.send(ask).await;
    assert!(page.headers.get("strict-transport-security").is_none());
    assert!(cookies(&page).iter().all(|cookie| cookie.starts_with("tb_guest=") && !cookie.contains("Secure")));
    let form = browser.form("/sign-in", &[("login", "admin"), ("password", "wrong wrong wrong")]);
    browser.send(form.header("x-forwarded-for", "6.6.6.6")).await;
    let lines = world.app.read(|conn| Ok::<_, EngineError>(audit::list(conn, "", None, 1)?)).await.unwrap();
    assert_eq!(lines[0].address, "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_itself_and_with_its_user() {
    let world = World::new().await;
    let browser = Browser::of(&world, READER, &[Role::Reader]).await;
    world.clock.advance(Duration::from_secs(11 * 3600));
    assert_eq!(browser.get("/runs").await.status, 200, "a use is noted");
    world.clock.advance(Duration::from_secs(11 * 3600));
    assert_eq!(browser.get("/runs").await.status, 200);
    world.clock.advance(Duration::from_secs(11 * 3600));
    for (path, name, value) in [("/runs", "x-renewal", "1"), ("/live", "accept", "text/event-stream")] {
        let by_itself = browser.request("GET", path).header(name, value).send().await.unwrap();
        assert_eq!(by_itself.status(), 200, "{path}");
    }
    world.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(browser.get("/runs").await.status, 303, "not used for half a day");

    let browser = Browser::of(&world, READER, &[Role::Reader]).await;
    let path = format!("/api/v1/records/res.users/{READER}");
    let body = serde_json::json!({ "active": false });
    world.call("PATCH", &path, body).await.good(200);
    assert_eq!(browser.get("/runs").await.status, 303, "the user is gone");
    let _ = world.clock.now();
}
