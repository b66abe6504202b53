//! Signing in, roles, and what keeps others out.

use std::time::Duration;

use triggerbox_automation::{Clock, EngineError};
use triggerbox_server::{
    people::{Role, audit},
    web::{Need, routes},
};

use crate::{
    browser::Browser,
    world::{ADMIN, READER, World},
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
    assert_eq!(actions, ["password-set", "signed-out", "signed-in", "signed-in", "signed-out-everywhere"]);
    assert!(lines.iter().all(|line| line.who == "admin" && line.address == "127.0.0.1"));
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

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_pages_and_sessions_do_nothing() {
    let world = World::new().await;
    let browser = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let other = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let refused = |request: reqwest::RequestBuilder| async {
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("foreign-form"));
    };
    let form = "application/x-www-form-urlencoded";
    let post = || browser.request("POST", "/sign-out").header("content-type", form);
    refused(post().body("")).await;
    refused(post().body(format!("form-token={}", other.form_token()))).await;
    refused(post().body(format!("form-token={}", "0".repeat(64)))).await;
    refused(browser.form("/sign-out", &[]).header("origin", "https://evil.example")).await;
    refused(browser.form("/sign-out", &[]).header("origin", "null")).await;
    refused(browser.form("/sign-out", &[]).header("sec-fetch-site", "cross-site")).await;
    let json = browser.request("POST", "/sign-out").header("content-type", "application/json");
    refused(json.body("{}")).await;
    let file =
        browser.request("POST", "/sign-out?form-token=00").header("content-type", "multipart/form-data; boundary=x");
    refused(file.body("--x--")).await;
    assert_eq!(browser.get("/runs").await.status, 200, "still signed in");
    let host = world.base.clone();
    let own =
        browser.send(browser.form("/sign-out", &[]).header("origin", host).header("sec-fetch-site", "same-origin"));
    assert_eq!(own.await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_itself_and_with_its_user() {
    let world = World::new().await;
    let browser = Browser::of(&world, READER, &[Role::Reader]).await;
    world.clock.advance(Duration::from_secs(11 * 3600));
    assert_eq!(browser.get("/runs").await.status, 200, "a use is noted");
    world.clock.advance(Duration::from_secs(11 * 3600));
    assert_eq!(browser.get("/runs").await.status, 200);
    world.clock.advance(Duration::from_secs(13 * 3600));
    assert_eq!(browser.get("/runs").await.status, 303, "not used for half a day");

    let browser = Browser::of(&world, READER, &[Role::Reader]).await;
    let path = format!("/api/v1/records/res.users/{READER}");
    let body = serde_json::json!({ "active": false });
    world.call("PATCH", &path, body).await.good(200);
    assert_eq!(browser.get("/runs").await.status, 303, "the user is gone");
    let _ = world.clock.now();
}
