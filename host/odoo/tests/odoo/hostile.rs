//! A server that is no Odoo, or a hostile one: clear errors, bounded memory. A fake, for no real Odoo does this.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use triggerbox_model::{
    call::{Answer, BodyFormat, Call, DomainSource, Message, Page},
    error::Error,
    value::{FieldValue, RecordRef, Value},
};
use triggerbox_odoo::{
    Backend, CommitError, Config, OdooError,
    client::{Again, Caller},
};

use crate::lab::http::{self, Reply};

/// A backend of a server that answers like this, and how often it was asked.
async fn server(more: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Arc<Backend>, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(http::serve(listener, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let reply = reply();
        async { reply }
    }));
    (backend(&url, more), asked)
}

fn backend(url: &str, more: &str) -> Arc<Backend> {
    let config = format!(
        "url = '{url}'\ndatabase = 'x'\nretry-wait = 1\n{}\n{more}\n[[user]]\nlogin = 'admin'\nkey = {{ env = 'K' }}\n",
        if more.contains("retries") { "" } else { "retries = 2" }
    );
    Arc::new(Backend::new(Config::parse(&config).unwrap(), &|_| Some("some-long-key".to_owned())).unwrap())
}

async fn ask(backend: &Backend) -> OdooError {
    let caller = backend.caller("admin").unwrap();
    backend.client().call(caller, "res.users", "read", &json!({})).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_odoo_is_said_to_be_none() {
    let page = || Reply::new(200, "text/html", b"<html>welcome</html>".to_vec());
    let (backend, _) = server("", page).await;
    assert_eq!(ask(&backend).await.into_error().code, "not-odoo");
    let (backend, _) = server("", || Reply::new(200, "application/json", b"{\"half\":".to_vec())).await;
    assert_eq!(ask(&backend).await.into_error().code, "not-odoo");
    let (backend, _) = server("", || Reply::new(404, "text/html", b"<h1>Not Found</h1>".to_vec())).await;
    assert_eq!(ask(&backend).await.into_error().code, "not-odoo");
    let (backend, _) = server("", || Reply::new(401, "text/html", b"<h1>No</h1>".to_vec())).await;
    assert_eq!(ask(&backend).await.into_error().code, "odoo-key-refused");
}

#[tokio::test]
async fn a_request_that_a_proxy_does_not_take_is_too_large_and_was_not_done() {
    let page = || Reply::new(413, "text/html", b"<h1>Request Entity Too Large</h1>".to_vec());
    let (backend, asked) = server("", page).await;
    let error = ask(&backend).await;
    assert_eq!((error.code(), error.is_unclear()), ("changes-too-large", false), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_older_odoo_is_refused() {
    let version = || Reply::new(200, "application/json", b"{\"version\": \"18.0\"}".to_vec());
    let (backend, _) = server("", version).await;
    let error = backend.account("admin").await.unwrap_err();
    assert!(error.to_string().contains("this is odoo 18.0; triggerbox works with odoo 19"), "{error}");
    let (backend, _) = server("", || Reply::new(404, "text/html", Vec::new())).await;
    assert!(matches!(backend.account("admin").await.unwrap_err(), OdooError::OtherVersion { .. }));
}

#[tokio::test]
async fn keys_are_not_sent_on_to_another_host() {
    let (backend, asked) =
        server("", || Reply::with(302, "Location: http://evil.example.com/steal?x=1", Vec::new())).await;
    let error = ask(&backend).await;
    assert!(matches!(&error, OdooError::Redirected { to, .. } if to == "evil.example.com"), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    let (backend, _) = server("largest-answer = 100000", move || Reply::Flood(head.clone())).await;
    assert_eq!(ask(&backend).await, OdooError::TooLarge { max: 100_000 });
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    let (backend, _) = server("largest-answer = 100000", move || Reply::Flood(head.clone())).await;
    assert_eq!(ask(&backend).await, OdooError::TooLarge { max: 100_000 });
    // An error that is endless is an error without its words.
    let head = b"HTTP/1.1 500 X\r\nContent-Type: application/json\r\n\r\n".to_vec();
    let (backend, _) = server("", move || Reply::Flood(head.clone())).await;
    assert!(matches!(ask(&backend).await, OdooError::Failed { status: 500, .. }));
}

#[tokio::test]
async fn silence_ends_when_the_time_is_over() {
    let (backend, asked) = server("timeout = 1", || Reply::Silence).await;
    let caller = backend.caller("admin").unwrap();
    let body = json!({});
    let once = std::time::Duration::from_millis(50);
    let error = backend.client().call_as(caller, "res.users", "read", &body, Again::Never, once).await.unwrap_err();
    assert!(matches!(error, OdooError::Timeout { .. }) && error.is_unclear() && !error.is_away(), "{error:?}");
    // On a busy machine the time is over before the server has heard of it.
    assert!(asked.load(Ordering::SeqCst) <= 1, "what may have been done is not repeated");
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_only_where_that_may_help() {
    for (status, tries) in [(502, 3), (503, 3), (504, 3), (429, 3), (500, 1)] {
        let (backend, asked) = server("", move || Reply::new(status, "text/html", Vec::new())).await;
        let error = ask(&backend).await;
        assert!(matches!(error, OdooError::Failed { status: told, .. } if told == status));
        assert_eq!((asked.load(Ordering::SeqCst), error.is_away()), (tries, status != 429), "{status}");
    }
    // A proxy that has waited for long enough does not know what Odoo does meanwhile.
    for (status, unclear) in [(429, false), (500, true), (502, true), (504, true), (520, true), (524, true)] {
        let (backend, _) = server("", move || Reply::new(status, "text/html", Vec::new())).await;
        assert_eq!(ask(&backend).await.is_unclear(), unclear, "{status}");
    }
    // An Odoo that answers in its own words is there, unless its database is not.
    for (class, away) in [("builtins.ZeroDivisionError", false), ("psycopg2.OperationalError", true)] {
        let told = format!("{{\"name\": \"{class}\", \"message\": \"no\", \"debug\": \"\"}}");
        let (backend, _) = server("", move || Reply::new(500, "application/json", told.clone().into_bytes())).await;
        let error = ask(&backend).await;
        assert_eq!((error.is_away(), error.is_unclear()), (away, false), "{class}");
    }
    let (backend, asked) = server("", || Reply::Nothing).await;
    let error = ask(&backend).await;
    assert!(matches!(error, OdooError::CutOff { .. }) && error.is_away(), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    // Nobody listens: nothing was sent.
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    let error = ask(&backend_of(&url)).await;
    assert!(matches!(error, OdooError::Unreachable { .. }) && !error.is_unclear() && error.is_away(), "{error:?}");
}

fn backend_of(url: &str) -> Arc<Backend> {
    backend(url, "")
}

#[tokio::test]
async fn a_certificate_that_is_none_ends_it_before_the_key_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Plain HTTP where TLS is expected.
    tokio::spawn(http::serve(listener, |_| async { Reply::new(200, "application/json", b"{}".to_vec()) }));
    let error = ask(&backend(&url, "retries = 0").clone()).await;
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn answers_of_the_wrong_shape_are_no_answers() {
    let (backend, _) = server("", || Reply::new(200, "application/json", b"{\"version\": 19}".to_vec())).await;
    assert_eq!(backend.account("admin").await.unwrap_err().into_error().code, "not-odoo");
    let (backend, _) =
        server("", || Reply::new(200, "application/json", b"{\"version\": \"19.0\", \"uid\": \"x\"}".to_vec())).await;
    assert_eq!(backend.account("admin").await.unwrap_err().into_error().code, "not-odoo");
    // A refusal with a novel in it.
    let long = format!(
        "{{\"name\": \"odoo.exceptions.UserError\", \"message\": \"{}\", \"debug\": \"\"}}",
        "x\\u001b[31m ".repeat(10_000)
    );
    let (backend, _) = server("", move || Reply::new(422, "application/json", long.clone().into_bytes())).await;
    let error = ask(&backend).await.into_error();
    assert!(error.message.chars().count() <= 501 && !error.message.contains('\u{1b}'), "{}", error.message.len());
}

/// An outbox with these rows, on a server that otherwise says what it must.
async fn outbox(more: &str, rows: Vec<serde_json::Value>) -> Arc<Backend> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, move |request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let limit = body["limit"].as_u64().unwrap_or(u64::MAX) as usize;
        let some: Vec<_> = rows.iter().take(limit).cloned().collect();
        let answer = match request.path.rsplit('/').next().unwrap() {
            "version" => json!({ "version": "19.0" }),
            "context_get" => json!({ "uid": 2 }),
            "read" => json!([{ "id": 2, "name": "A", "login": "admin", "company_id": [1, "C"] }]),
            "search" => json!(some.iter().map(|row| row["id"].clone()).collect::<Vec<_>>()),
            "search_read" => json!(some),
            "fields_get" if request.path.contains("crm.lead") => {
                json!({ "name": { "type": "char", "store": true }, "day": { "type": "datetime", "store": true } })
            }
            method => {
                let what = if method == "fields_get" { "model" } else { "method" };
                let message = format!("the {what} of {} does not exist", request.path);
                json!({ "name": "werkzeug.exceptions.NotFound", "message": message, "debug": "" })
            }
        };
        let status = if answer.get("debug").is_some() { 404 } else { 200 };
        async move { Reply::new(status, "application/json", answer.to_string().into_bytes()) }
    }));
    backend(&url, more)
}

#[tokio::test]
async fn hostile_rows_of_the_outbox_are_set_aside_and_the_others_taken() {
    let good = |id: u32, values: &str| {
        json!({
            "id": id, "x_name": "r", "x_model": "crm.lead", "x_record": 5, "x_kind": "updated", "x_user": 2,
            "x_transaction": "9", "x_chain": false, "x_values": values,
        })
    };
    let with = |id: u32, name: &str, value: serde_json::Value| {
        let mut row = good(id, "{}");
        row[name] = value;
        row
    };
    let rows = vec![
        good(1, r#"{"name": ["a", "b"], "day": ["2026-11-29 10:00:00.123456", false], "gone": [1, 2]}"#),
        with(2, "x_name", json!(7)),
        with(3, "x_model", json!("crm.lead/../res.users")),
        with(4, "x_model", json!("no.such.model")),
        with(5, "x_record", json!("5; drop table")),
        with(6, "x_record", json!(-5)),
        with(7, "x_record", json!(99_999_999_999_u64)),
        with(8, "x_kind", json!("exploded")),
        with(9, "x_user", json!(null)),
        with(10, "x_transaction", json!("9".repeat(100))),
        good(11, "no json"),
        good(12, "[1, 2]"),
        good(13, r#"{"name": 5}"#),
        good(14, r#"{"name": [5, {}]}"#),
        good(15, &format!(r#"{{"name": ["a", "{}"]}}"#, "b".repeat(5000))),
        good(16, &format!("{}1{}", "[".repeat(600), "]".repeat(600))),
        json!({ "id": "seventeen" }),
        json!(null),
        good(18, r#"{"name": ["b", "c"]}"#),
        with(19, "x_kind", json!("message")),
        json!({
            "id": 20, "x_name": "r", "x_model": "crm.lead", "x_record": 5, "x_kind": "message", "x_user": 2,
            "x_transaction": "9", "x_chain": false, "x_values": r#"{"id": 7, "author": [3, "Ada"], "body": "<p>Hi</p>"}"#,
        }),
    ];
    let taken = outbox("largest-event = 4096", rows).await.events().await.unwrap();
    assert_eq!(taken.events.iter().map(|event| event.row).collect::<Vec<_>>(), [1, 18, 20], "{:?}", taken.odd);
    assert_eq!(taken.odd.iter().map(|odd| odd.row).collect::<Vec<_>>(), (2..=16).chain([19]).collect::<Vec<u32>>());
    assert_eq!(taken.events[2].message.as_ref().map(|message| message.body.as_str()), Some("<p>Hi</p>"));
    assert!(taken.odd.iter().all(|odd| !odd.why.is_empty() && odd.why.len() < 300));
    let told: Vec<serde_json::Value> =
        taken.odd.iter().filter_map(|odd| serde_json::from_str(&odd.told).ok()).collect();
    assert!(told.iter().all(|told| told["x_name"].is_string() || told["id"] == 2), "what was not taken is kept");
    assert_eq!(told.len(), taken.odd.len(), "{told:?}");
    assert_eq!(taken.events[0].change.fields.len(), 2, "{:?}", taken.events[0].change);
}

#[tokio::test]
async fn rows_wait_for_an_odoo_that_does_not_find_its_models_for_the_moment() {
    // While it loads its modules anew; and what says nothing of the model.
    for (status, name, message) in [
        (500, "builtins.KeyError", "'crm.lead'"),
        (500, "builtins.AttributeError", "'crm.lead' object has no attribute '_fields'"),
        (409, "werkzeug.exceptions.Conflict", "concurrent update"),
        (403, "odoo.exceptions.AccessError", "You are not allowed to access this"),
    ] {
        let told = json!({ "name": name, "message": message, "debug": "" }).to_string();
        let row = r#"[{"id": 1, "x_name": "r", "x_model": "crm.lead", "x_record": 5, "x_kind": "updated", "x_user": 2,
            "x_transaction": "9", "x_values": "{}"}]"#;
        let backend = pretender_with(move |method| match method {
            "x_triggerbox_event/search_read" => Some((200, row.to_owned())),
            "crm.lead/fields_get" => Some((status, told.clone())),
            _ => None,
        })
        .await;
        backend.events().await.unwrap_err();
    }
}

#[tokio::test]
async fn an_odoo_that_fails_in_its_own_code_may_do_better_later_and_one_that_is_busy_too() {
    let answer = async |status: u16, name: &'static str, message: &'static str| {
        let told = json!({ "name": name, "message": message, "debug": "" }).to_string();
        let (backend, asked) =
            server("", move || Reply::new(status, "application/json", told.clone().into_bytes())).await;
        (ask(&backend).await, asked.load(Ordering::SeqCst))
    };
    for (name, message) in [
        ("builtins.KeyError", "'crm.lead'"),
        ("builtins.AttributeError", "'NoneType' object has no attribute 'id'"),
        ("builtins.TypeError", "'NoneType' object is not callable"),
        ("builtins.ValueError", "Expected singleton: crm.lead(1, 2)"),
    ] {
        let (error, _) = answer(500, name, message).await;
        assert!(matches!(error, OdooError::Failed { .. }) && !error.is_away(), "{error:?}");
    }
    for (name, message, code) in [
        ("builtins.ValueError", "Invalid field 'x' on 'crm.lead'", "unknown-field"),
        ("builtins.ValueError", "Invalid domain: 7", "bad-call"),
        ("builtins.ValueError", "invalid literal for int() with base 10: 'many'", "bad-call"),
        ("builtins.ValueError", "could not convert string to float: 'much'", "bad-call"),
        ("builtins.ValueError", "Failed to cast 5 into a date", "bad-call"),
        ("builtins.ValueError", "A string literal cannot contain NUL (0x00) characters.", "bad-call"),
        ("psycopg2.errors.InvalidEscapeSequence", "LIKE pattern must not end with escape character", "bad-call"),
    ] {
        let (error, _) = answer(500, name, message).await;
        assert!(matches!(&error, OdooError::Refused(_)) && error.code() == code, "{error:?}");
    }
    for (status, name) in [(409, "werkzeug.exceptions.Conflict"), (500, "psycopg2.errors.SerializationFailure")] {
        let (error, tries) = answer(status, name, "could not serialize access").await;
        assert!(matches!(&error, OdooError::Busy(_)) && error.code() == "odoo-busy", "{error:?}");
        assert_eq!(tries, 3);
    }
}

#[tokio::test]
async fn who_is_in_no_group_is_told_so_in_whatever_language_odoo_says_it() {
    let line = "raise AccessError(_(\"You don't have enough access rights to run this action.\"))";
    for (message, debug, code) in [
        ("You don't have enough access rights to run this action.", "", "not-set-up"),
        ("Sie haben nicht genügend Zugriffsrechte, um diese Aktion auszuführen.", line, "not-set-up"),
        ("Sie dürfen auf Leads nicht zugreifen.", "raise self._make_access_error(operation)", "no-access"),
    ] {
        let told = json!({ "name": "odoo.exceptions.AccessError", "message": message, "debug": debug }).to_string();
        let (backend, _) = server("", move || Reply::new(403, "application/json", told.clone().into_bytes())).await;
        let error = ask(&backend).await;
        assert_eq!((error.code(), error.needs_a_person()), (code, code == "not-set-up"), "{error}");
    }
}

#[tokio::test]
async fn an_outbox_that_is_too_large_to_read_is_read_in_parts_and_what_cannot_be_read_is_set_aside() {
    let row = |id: u32, size: usize| json!({ "id": id, "x_values": "x".repeat(size) });
    // Each can be read, not all of them together.
    let rows = (1..=100).map(|id| row(id, 5_000)).collect();
    let backend = outbox("largest-answer = 100000\nlargest-event = 2000", rows).await;
    let taken = backend.events().await.unwrap();
    assert!(taken.more && !taken.odd.is_empty() && taken.odd.len() < 20, "{}", taken.odd.len());
    let backend = outbox("largest-answer = 100000", vec![row(1, 1_000_000), row(2, 10)]).await;
    let taken = backend.events().await.unwrap();
    assert_eq!(taken.odd.iter().map(|odd| odd.row).collect::<Vec<_>>(), [1]);
    assert!(taken.more && taken.odd[0].why.contains("larger than"));
}

/// Does what a TLS server does, with a certificate that nobody issued, and says whether anybody got through.
fn self_signed(listener: std::net::TcpListener) -> std::thread::JoinHandle<Result<usize, std::io::Error>> {
    use std::io::Read;
    let certificate = include_bytes!("tls/cert.der").to_vec().into();
    // The key of this test alone.
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(include_bytes!("tls/key.der").to_vec());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key.into()).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        rustls::StreamOwned::new(connection, stream).read(&mut [0; 64])
    })
}

#[tokio::test]
async fn a_certificate_that_nobody_issued_ends_it_before_the_key_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = self_signed(listener);
    let error = ask(&backend(&url, "retries = 0")).await;
    assert!(matches!(&error, OdooError::Certificate { .. }) && !error.is_unclear(), "{error:?}");
    assert!(error.to_string().contains("does not know who issued it"), "{error}");
    assert_eq!(error.into_error().code, "odoo-certificate");
    assert!(server.join().unwrap().is_err(), "nothing came through");
}

#[tokio::test]
async fn an_answer_that_drips_ends_when_the_time_is_over() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    let (backend, _) = server("retries = 0", move || Reply::Drip(head.clone())).await;
    let caller = backend.caller("admin").unwrap();
    let once = std::time::Duration::from_millis(50);
    let error =
        backend.client().call_as(caller, "res.users", "read", &json!({}), Again::Never, once).await.unwrap_err();
    assert!(matches!(error, OdooError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_read_again_and_must_still_be_their_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(http::serve(listener, move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let owner = match request.header("authorization").unwrap() {
            "bearer second-key" => Some("admin"),
            "bearer third-key" => Some("bob"),
            _ => None,
        };
        let answer = match request.path.rsplit('/').next().unwrap() {
            "context_get" => json!({ "uid": 2 }),
            _ => json!([{ "id": 2, "login": owner }]),
        };
        let status = if owner.is_some() { 200 } else { 401 };
        async move { Reply::new(status, "application/json", answer.to_string().into_bytes()) }
    }));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let put = |key: &str| std::fs::write(&file, key).unwrap();
    put("first-key");
    let config = format!(
        "url = '{url}'\ndatabase = 'x'\nretries = 0\n[[user]]\nlogin = 'admin'\nkey = {{ file = '{}' }}\n",
        file.display()
    );
    let opened = || Backend::new(Config::parse(&config).unwrap(), &|_| None).unwrap();
    let read = async |backend: &Backend, caller: &Caller| {
        let answer = backend.client().call(caller, "res.users", "read", &json!({})).await;
        (answer, asked.swap(0, Ordering::SeqCst))
    };
    let backend = opened();
    let caller = backend.caller("admin").unwrap().clone();
    let (answer, times) = read(&backend, &caller).await;
    assert!(matches!(answer, Err(OdooError::KeyRefused { .. })) && times == 1, "the same key is not tried again");
    put("second-key\n");
    let (answer, times) = read(&backend, &caller).await;
    assert!(answer.is_ok() && times == 4, "refused, whose the other is, and again: {answer:?} {times}");
    // All have it by now.
    let (answer, times) = read(&backend, backend.caller("admin").unwrap()).await;
    assert!(answer.is_ok() && times == 1, "{answer:?} {times}");

    put("first-key");
    let backend = opened();
    put("third-key");
    for _ in 0..2 {
        let (answer, _) = read(&backend, backend.caller("admin").unwrap()).await;
        assert!(matches!(&answer, Err(OdooError::WrongLogin { owner, .. }) if owner == "bob"), "{answer:?}");
    }
}

/// What a method is answered with that gets no answer.
const SILENCE: &str = "...";

/// A server that says it is Odoo, and answers methods as it is told: what is asked, and the answer to it.
async fn pretender(answers: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Arc<Backend> {
    pretender_with(move |method| {
        let body = answers(method)?;
        Some((if body.starts_with(r#"{"name": ""#) { 500 } else { 200 }, body))
    })
    .await
}

/// The same with the status of the answer.
async fn pretender_with(answers: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> Arc<Backend> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, move |request| {
        let method = request.path.trim_start_matches("/json/2/").trim_start_matches("/json/").to_owned();
        let (status, body) = answers(&method).unwrap_or_else(|| {
            let body = match method.as_str() {
                "version" => r#"{"version": "19.0"}"#,
                "res.users/context_get" => r#"{"uid": 2}"#,
                "res.users/read" => r#"[{"id": 2, "login": "admin", "name": "A", "company_id": [1, "C"]}]"#,
                "crm.lead/fields_get" => MODEL,
                _ => "null",
            };
            (200, body.to_owned())
        });
        let silent = body == SILENCE;
        async move { if silent { Reply::Silence } else { Reply::new(status, "application/json", body.into_bytes()) } }
    }));
    backend(&url, "")
}

const MODEL: &str = r#"{"name": {"type": "char", "store": true}, "probability": {"type": "float", "store": true},
    "stage_id": {"type": "many2one", "relation": "crm.stage", "store": true},
    "tag_ids": {"type": "many2many", "relation": "crm.tag", "store": true},
    "date_closed": {"type": "datetime", "store": true}, "active": {"type": "boolean", "store": true}}"#;

async fn session_of(backend: &Arc<Backend>) -> triggerbox_odoo::Session {
    let account = backend.account("admin").await.unwrap();
    triggerbox_odoo::Session::new(Arc::clone(backend), account, "2026-11-25T10:00:00Z".parse().unwrap())
}

async fn read_lead(backend: &Arc<Backend>, field: &str) -> Result<Answer, Error> {
    let call = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields: vec![field.to_owned()] };
    session_of(backend).await.call(call).await.unwrap()
}

#[tokio::test]
async fn values_of_the_wrong_type_are_said_to_be_so() {
    let wrong = [
        ("name", "[{\"id\": 7, \"name\": 5}]"),
        ("name", "[{\"id\": 7, \"name\": {\"deep\": []}}]"),
        ("name", "[{\"id\": 7}]"),
        ("name", "[{\"id\": -7, \"name\": \"x\"}]"),
        ("name", "[{\"id\": 99999999999, \"name\": \"x\"}]"),
        ("name", "[{\"id\": \"7\", \"name\": \"x\"}]"),
        ("name", "{\"id\": 7, \"name\": \"x\"}"),
        ("name", "7"),
        ("probability", "[{\"id\": 7, \"probability\": \"ten\"}]"),
        ("stage_id", "[{\"id\": 7, \"stage_id\": \"New\"}]"),
        ("stage_id", "[{\"id\": 7, \"stage_id\": [1, \"New\", 3]}]"),
        ("tag_ids", "[{\"id\": 7, \"tag_ids\": [1, \"two\"]}]"),
        ("tag_ids", "[{\"id\": 7, \"tag_ids\": 3}]"),
        ("date_closed", "[{\"id\": 7, \"date_closed\": \"yesterday\"}]"),
        ("active", "[{\"id\": 7, \"active\": \"yes\"}]"),
    ];
    for (field, answer) in wrong {
        let backend = pretender(move |method| (method == "crm.lead/read").then(|| answer.to_owned())).await;
        let error = read_lead(&backend, field).await.unwrap_err();
        assert_eq!(error.code, "bad-answer", "{answer}: {error}");
    }
    // What was not asked for is not looked at.
    let more = r#"[{"id": 8, "name": "other"}, {"id": 7, "name": "x", "secret": 1}]"#;
    let backend = pretender(move |method| (method == "crm.lead/read").then(|| more.to_owned())).await;
    let Ok(Answer::Rows(rows)) = read_lead(&backend, "name").await else { panic!() };
    assert_eq!((rows.len(), rows[0].id, &rows[0].values[..]), (1, 7, &[Value::text("x")][..]));
    // Deeper than any answer of Odoo's.
    let deep = format!("[{{\"id\": 7, \"name\": {}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
    let backend = pretender(move |method| (method == "crm.lead/read").then(|| deep.clone())).await;
    let call = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields: vec!["name".to_owned()] };
    let error = session_of(&backend).await.call(call).await.unwrap_err();
    assert_eq!(error.into_error().code, "not-odoo");
}

#[tokio::test]
async fn models_that_are_described_oddly_are_no_models() {
    for odd in ["[]", "7", "null", r#"{"name": 5}"#, r#"{"name": {"string": "Name"}}"#, r#"{"name": {"type": []}}"#] {
        let backend = pretender(move |method| (method == "crm.lead/fields_get").then(|| odd.to_owned())).await;
        let error = read_lead(&backend, "name").await.unwrap_err();
        assert_eq!(error.code, "bad-answer", "{odd}: {error}");
    }
    // Names that are none are no fields; types that nobody knows are JSON.
    let strange = r#"{"name": {"type": "char"}, "a b": {"type": "char"}, "x": {"type": "hologram"},
        "stage_id": {"type": "many2one", "relation": "crm.stage'; drop"}}"#;
    let backend = pretender(move |method| (method == "crm.lead/fields_get").then(|| strange.to_owned())).await;
    let mut session = session_of(&backend).await;
    session.know("crm.lead").await.unwrap().unwrap();
    let model = &session.schema().models["crm.lead"];
    assert_eq!(model.fields.keys().collect::<Vec<_>>(), ["name", "x", "stage_id"]);
    assert_eq!(model.fields["x"].kind.name(), "json");
    assert_eq!(model.fields["stage_id"].relation, None);
    // What is only told on is told on where it makes sense.
    let strange = r#"{"price": {"type": "float", "digits": [16, 2]}, "a": {"type": "float", "digits": [-1, 2]},
        "b": {"type": "float", "digits": 7}, "c": {"type": "float", "digits": [1, 2, 3], "currency_field": "x; drop"}}"#;
    let backend = pretender(move |method| (method == "crm.lead/fields_get").then(|| strange.to_owned())).await;
    let call = Call::DescribeFields { model: "crm.lead".to_owned(), fields: Vec::new() };
    let Ok(Answer::Details(told)) = session_of(&backend).await.call(call).await.unwrap() else { panic!() };
    let digits: Vec<_> = told.iter().map(|field| field.digits).collect();
    assert_eq!(digits, [Some((16, 2)), None, None, None]);
    assert!(told.iter().all(|field| field.currency_field.is_none()), "{told:?}");
}

#[tokio::test]
async fn fields_that_follow_from_each_other_without_end_are_known_only_when_it_is_applied() {
    let field = |n: u32| format!(r#""f{n}": {{"type": "char", "store": true, "depends": ["f{}"]}}"#, n + 1);
    let fields: Vec<String> = (0..50_000).map(field).collect();
    let model = format!(r#"{{"name": {{"type": "char"}}, {}}}"#, fields.join(", "));
    let backend = pretender(move |method| match method {
        "crm.lead/fields_get" => Some(model.clone()),
        "crm.lead/read" => Some(r#"[{"id": 7, "f0": "x", "f49990": "y"}]"#.to_owned()),
        _ => None,
    })
    .await;
    let mut session = session_of(&backend).await;
    let values = vec![FieldValue::new("name", Value::text("Tables"))];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let fields = vec!["f0".to_owned(), "f49990".to_owned()];
    let read = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields };
    let Ok(Answer::Rows(rows)) = session.call(read).await.unwrap() else { panic!() };
    assert_eq!(rows[0].values, [Value::Pending, Value::text("y")]);
}

#[tokio::test]
async fn a_model_that_changed_since_it_was_looked_at_is_looked_at_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let backend = pretender(move |method| match method {
        "crm.lead/fields_get" if count.fetch_add(1, Ordering::SeqCst) > 0 => {
            Some(r#"{"probability": {"type": "char", "store": true}}"#.to_owned())
        }
        // The field `name` is gone; another is a text now.
        "crm.lead/read" => Some(match count.load(Ordering::SeqCst) {
            1 => r#"[{"id": 7, "probability": "ten"}]"#.to_owned(),
            _ => r#"{"name": "builtins.ValueError", "message": "Invalid field 'name' on 'crm.lead'"}"#.to_owned(),
        }),
        _ => None,
    })
    .await;
    // One that is of another type now: an error that says so, then as it is.
    assert_eq!(read_lead(&backend, "probability").await.unwrap_err().code, "bad-answer");
    assert_eq!(read_lead(&backend, "name").await.unwrap_err().code, "unknown-field");
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    // One that is gone: Odoo says so, and the next run knows.
    let looked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&looked);
    let gone = |method: &str, looks: u32| match method {
        "crm.lead/fields_get" if looks > 0 => Some(r#"{"probability": {"type": "float", "store": true}}"#.to_owned()),
        "crm.lead/read" => {
            Some(r#"{"name": "builtins.ValueError", "message": "Invalid field 'name' on 'crm.lead'"}"#.to_owned())
        }
        _ => None,
    };
    let backend = pretender(move |method| {
        let looks = count.load(Ordering::SeqCst);
        if method == "crm.lead/fields_get" {
            count.fetch_add(1, Ordering::SeqCst);
        }
        gone(method, looks)
    })
    .await;
    let error = read_lead(&backend, "name").await.unwrap_err();
    assert!(error.code == "unknown-field" && error.message.contains("Invalid field 'name'"), "{error}");
    let error = read_lead(&backend, "name").await.unwrap_err();
    assert!(error.code == "unknown-field" && !error.message.contains("Invalid field"), "{error}");
    assert_eq!(looked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn tracebacks_are_kept_for_administrators_and_bounded() {
    let long =
        format!("Traceback (most recent call last):\n{}ValueError: the end", "  a line of it é\n".repeat(10_000));
    let body = format!(r#"{{"name": "builtins.ValueError", "message": "Invalid thing", "debug": {}}}"#, json!(long));
    let backend = pretender(move |method| (method == "crm.lead/read").then(|| body.clone())).await;
    let mut session = session_of(&backend).await;
    for _ in 0..20 {
        let call = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields: vec!["name".to_owned()] };
        let error = session.call(call).await.unwrap().unwrap_err();
        assert!(!error.to_string().contains("Traceback"), "{error}");
    }
    let kept = session.tracebacks();
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().all(|one| one.len() <= 8_200 && one.starts_with('…') && one.ends_with("ValueError: the end")));
}

#[tokio::test]
async fn a_run_that_ends_while_odoo_was_silent_for_long_ended_because_of_odoo() {
    let asked = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&asked);
    let backend = pretender(move |method| {
        (method == "crm.lead/read").then(|| {
            told.notify_one();
            SILENCE.to_owned()
        })
    })
    .await;
    let mut session = session_of(&backend).await;
    let wait = async |session: &mut triggerbox_odoo::Session, time: Duration| {
        let call = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields: vec!["name".to_owned()] };
        let mut call = std::pin::pin!(session.call(call));
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            () = asked.notified() => (),
        }
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
        // The run's own time is over: its call is dropped.
    };
    wait(&mut session, Duration::from_secs(10)).await;
    assert_eq!(session.fault(), None, "it may still answer: what the run is ended for is the run's");
    wait(&mut session, Duration::from_secs(60)).await;
    assert!(matches!(session.fault(), Some(OdooError::Timeout { seconds: 60.., .. })), "{:?}", session.fault());
}

#[tokio::test]
async fn of_a_record_of_which_nothing_is_compared_no_field_is_asked() {
    let backend = pretender(|method| match method {
        "crm.lead/fields_get" => {
            Some(r#"{"name": {"type": "char", "store": true}, "display_name": {"type": "char"}}"#.to_owned())
        }
        "crm.lead/read" => Some(r#"[{"id": 7, "display_name": "Chairs"}]"#.to_owned()),
        _ => None,
    })
    .await;
    let mut session = session_of(&backend).await;
    let read = Call::Read { model: "crm.lead".to_owned(), ids: vec![7], fields: vec!["display_name".to_owned()] };
    session.call(read).await.unwrap().unwrap();
    let values = vec![FieldValue::new("name", Value::text("Tables"))];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let seen = json!([{ "model": "crm.lead", "ids": [7], "fields": ["id"], "values": { "7": [7] } }]);
    assert_eq!(session.request().unwrap()["reads"], seen);
}

#[tokio::test]
async fn a_key_that_the_ledger_does_not_take_is_refused_before_anything_is_changed() {
    let backend = pretender(|method| (method == "crm.lead/search").then(|| "[]".to_owned())).await;
    let mut session = session_of(&backend).await;
    let ensure = |name: String| Call::Ensure {
        model: "crm.lead".to_owned(),
        keys: vec!["name".to_owned()],
        values: vec![FieldValue::new("name", Value::text(name))],
    };
    assert!(session.call(ensure("x".repeat(2_400))).await.unwrap().is_ok());
    for (name, long) in [("x".repeat(2_401), "2401"), ("é".repeat(401), "2406"), ("\u{1F600}".repeat(201), "2412")] {
        let refused = session.call(ensure(name)).await.unwrap().unwrap_err();
        assert_eq!((refused.code.as_str(), refused.message.contains(long)), ("bad-key", true), "{refused}");
    }
    let keep = |key: String| Call::StateSet { key, json: Some("1".to_owned()) };
    assert!(session.call(keep("k".repeat(2_000))).await.unwrap().is_ok());
    let refused = session.call(keep("k".repeat(2_401))).await.unwrap().unwrap_err();
    assert_eq!(refused.code, "bad-key");
}

#[tokio::test]
async fn of_changes_that_were_not_sent_it_is_not_said_that_they_may_be_applied() {
    let backend = pretender_with(|method| (method == "ir.model.data/search_read").then(|| (502, String::new()))).await;
    let mut session = session_of(&backend).await;
    let values = vec![FieldValue::new("name", Value::text("Tables"))];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let failed = session.commit("run").await;
    assert!(matches!(&failed, Err(CommitError::Backend(error)) if error.is_away()), "{failed:?}");
}

#[tokio::test]
async fn what_a_proposal_saw_is_compared_record_by_record_in_whatever_order_they_are_told() {
    let rows = r#"[{"id": 9, "name": "other"}, {"id": 7, "name": "x"}, {"id": 5, "name": "unasked"}]"#;
    let backend = pretender(move |method| (method == "crm.lead/read").then(|| rows.to_owned())).await;
    let values = json!({ "7": ["x"], "8": ["y"], "9": ["z"] });
    let reads = json!([{ "model": "crm.lead", "ids": [7, 8, 9], "fields": ["name"], "values": values }]);
    let found = session_of(&backend).await.overtaken(&json!({ "reads": reads })).await.unwrap();
    let told = |id: u32, field: &str| (RecordRef::new("crm.lead", id), field.to_owned());
    assert_eq!(found, [told(8, "id"), told(9, "name")]);
}

#[tokio::test]
async fn what_reads_the_same_as_before_and_is_not_is_shown_all_the_same() {
    let model = r#"{"partner_id": {"type": "many2one", "relation": "res.partner", "store": true},
        "user_id": {"type": "many2one", "relation": "res.users", "store": true},
        "description": {"type": "html", "store": true}, "display_name": {"type": "char"}}"#;
    let lead = r#"[{"id": 7, "display_name": "Chairs", "partner_id": [1, "Ada"], "user_id": [2, "Sam"],
        "description": "<a href='/here'>pay</a>"}]"#;
    let backend = pretender(move |method| match method {
        "crm.lead/fields_get" => Some(model.to_owned()),
        "crm.lead/read" => Some(lead.to_owned()),
        "res.partner/read" => Some(r#"[{"id": 5, "display_name": "Ada"}]"#.to_owned()),
        _ => None,
    })
    .await;
    let mut session = session_of(&backend).await;
    let values = vec![
        FieldValue::new("partner_id", Value::link(5)),
        FieldValue::new("user_id", Value::link(2)),
        FieldValue::new("description", Value::text("<a href='/there'>pay</a>")),
    ];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let diff = session.preview().await.unwrap().unwrap();
    let told: Vec<_> =
        diff.records[0].fields.iter().map(|field| (field.old_text.as_str(), field.new_text.as_str())).collect();
    assert_eq!(told, [("Ada (1)", "Ada (5)"), ("<a href='/here'>pay</a>", "<a href='/there'>pay</a>")]);
}

#[tokio::test]
async fn of_models_that_nobody_waits_for_odoo_is_asked_nothing() {
    let row = |id: u32, model: &str| {
        json!({
            "id": id, "x_name": "r", "x_model": model, "x_record": 5, "x_kind": "updated", "x_user": 2,
            "x_transaction": "9", "x_values": "{}",
        })
    };
    let rows = json!([row(1, "m.one"), row(2, "crm.lead"), row(3, "m.two")]).to_string();
    let described = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&described);
    let backend = pretender(move |method| {
        if method.ends_with("/fields_get") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        (method == "x_triggerbox_event/search_read").then(|| rows.clone())
    })
    .await;
    let taken = backend.events_about(&|model| model == "crm.lead").await.unwrap();
    assert_eq!(taken.events.iter().map(|event| event.row).collect::<Vec<_>>(), [2]);
    assert_eq!(taken.odd.iter().map(|odd| odd.row).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(described.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_action_that_was_made_again_meanwhile_is_looked_up_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Its number; what else is asked says the same as any Odoo.
    let action = Arc::new(AtomicU32::new(8));
    let number = Arc::clone(&action);
    tokio::spawn(http::serve(listener, move |request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let now = number.load(Ordering::SeqCst);
        let (status, answer) = match request.path.rsplit("/2/").next().unwrap() {
            "ir.model.data/search_read" => (200, json!([{ "id": 1, "res_id": now }])),
            "ir.actions.server/run" if body["ids"] == json!([now]) => {
                (200, json!({ "triggerbox": 1, "again": false, "done": { "new": {}, "names": {} } }))
            }
            "ir.actions.server/run" => {
                let message = "Record does not exist or has been deleted.\n(Record: ir.actions.server(8,), User: 2)";
                (404, json!({ "name": "odoo.exceptions.MissingError", "message": message, "debug": "" }))
            }
            "res.users/context_get" => (200, json!({ "uid": 2 })),
            "res.users/read" => (200, json!([{ "id": 2, "login": "admin", "name": "A", "company_id": [1, "C"] }])),
            "crm.lead/fields_get" => (200, json!({ "name": { "type": "char", "store": true } })),
            _ => (200, json!({ "version": "19.0" })),
        };
        async move { Reply::new(status, "application/json", answer.to_string().into_bytes()) }
    }));
    let backend = backend(&url, "");
    for made in [8, 9] {
        action.store(made, Ordering::SeqCst);
        let mut session = session_of(&backend).await;
        let values = vec![FieldValue::new("name", Value::text("Tables"))];
        session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
        session.commit("run").await.unwrap();
    }
}

#[tokio::test]
async fn the_other_side_of_a_list_that_changes_is_known_only_when_it_is_applied() {
    let model = r#"{"name": {"type": "char", "store": true},
        "lead_ids": {"type": "many2many", "relation": "crm.lead", "store": true}}"#;
    let backend = pretender(move |method| match method {
        "crm.tag/fields_get" => Some(model.to_owned()),
        "crm.tag/read" => Some(r#"[{"id": 1, "name": "Loud", "lead_ids": [9]}]"#.to_owned()),
        _ => None,
    })
    .await;
    let mut session = session_of(&backend).await;
    let fields = vec!["name".to_owned(), "lead_ids".to_owned()];
    let read = Call::Read { model: "crm.tag".to_owned(), ids: vec![1], fields };
    let Ok(Answer::Rows(rows)) = session.call(read.clone()).await.unwrap() else { panic!() };
    assert_eq!(rows[0].values, [Value::text("Loud"), Value::Ids(vec![9])]);
    // A new record without such a list changes nobody's.
    let values = vec![vec![FieldValue::new("name", Value::text("New"))]];
    session.call(Call::Create { model: "crm.lead".to_owned(), values }).await.unwrap().unwrap();
    let Ok(Answer::Rows(rows)) = session.call(read.clone()).await.unwrap() else { panic!() };
    assert_eq!(rows[0].values, [Value::text("Loud"), Value::Ids(vec![9])]);
    let values = vec![FieldValue::new("tag_ids", Value::Ids(vec![1]))];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let Ok(Answer::Rows(rows)) = session.call(read).await.unwrap() else { panic!() };
    assert_eq!(rows[0].values, [Value::text("Loud"), Value::Pending]);
}

#[tokio::test]
async fn a_list_is_read_without_archived_records_whoever_is_searched_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, move |request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        // As Odoo has it: of the two tags, one is archived.
        let tags = if body["context"]["active_test"] == json!(false) { json!([1, 2]) } else { json!([1]) };
        let rows = json!([{ "id": 7, "name": "Chairs", "tag_ids": tags }]);
        let answer = match request.path.rsplit("/2/").next().unwrap() {
            "crm.lead/search" => json!([7]),
            "crm.lead/search_read" | "crm.lead/read" => rows,
            "crm.lead/fields_get" => serde_json::from_str(MODEL).unwrap(),
            "res.users/context_get" => json!({ "uid": 2 }),
            "res.users/read" => json!([{ "id": 2, "login": "admin", "name": "A", "company_id": [1, "C"] }]),
            _ => json!({ "version": "19.0" }),
        };
        async move { Reply::new(200, "application/json", answer.to_string().into_bytes()) }
    }));
    let mut session = session_of(&backend(&url, "")).await;
    let found = Call::SearchRead {
        model: "crm.lead".to_owned(),
        domain: DomainSource::Literal("[]".to_owned()),
        fields: vec!["name".to_owned(), "tag_ids".to_owned()],
        page: Page { archived: true, ..Page::default() },
    };
    let Ok(Answer::Rows(rows)) = session.call(found).await.unwrap() else { panic!() };
    assert_eq!(rows[0].values, [Value::text("Chairs"), Value::Ids(vec![1])]);
    let values = vec![FieldValue::new("name", Value::text("Tables"))];
    session.call(Call::Write { model: "crm.lead".to_owned(), ids: vec![7], values }).await.unwrap().unwrap();
    let read = session.request().unwrap()["reads"][0].clone();
    assert_eq!((&read["fields"], &read["values"]), (&json!(["name", "tag_ids"]), &json!({ "7": ["Chairs", [1]] })));
}

#[tokio::test]
async fn a_mention_of_a_record_that_the_run_deletes_is_its_name() {
    let model = r#"{"name": {"type": "char", "store": true}, "display_name": {"type": "char"},
        "message_ids": {"type": "one2many", "relation": "mail.message", "store": true},
        "message_follower_ids": {"type": "one2many", "relation": "mail.followers", "store": true}}"#;
    let backend = pretender(move |method| match method {
        "crm.lead/fields_get" => Some(model.to_owned()),
        "crm.lead/read" => Some(r#"[{"id": 7, "display_name": "Chairs & more"}]"#.to_owned()),
        "ir.model.data/search_read" => Some(r#"[{"id": 1, "res_id": 8}]"#.to_owned()),
        "ir.actions.server/run" => {
            let done = r#"{"new": {}, "names": {"0": [false, "", "crm.lead"]}}"#;
            Some(format!(r#"{{"triggerbox": 1, "again": false, "done": {done}}}"#))
        }
        _ => None,
    })
    .await;
    let mut session = session_of(&backend).await;
    let mention = Call::Mention { target: RecordRef::new("crm.lead", 7) };
    let Ok(Answer::Text(token)) = session.call(mention).await.unwrap() else { panic!() };
    session.call(Call::Unlink { model: "crm.lead".to_owned(), ids: vec![7] }).await.unwrap().unwrap();
    let message = Message {
        body: format!("merged {token}"),
        format: BodyFormat::Text,
        subject: Some(format!("{token} is gone")),
        partner_ids: vec![],
        attachments: vec![],
    };
    session.call(Call::PostNote { target: RecordRef::new("crm.lead", 8), message }).await.unwrap().unwrap();
    let request = session.request().unwrap();
    assert_eq!(request["mentions"], json!([["crm.lead", []]]));
    assert_eq!(request["ops"][1]["body"]["$text"], json!(["merged ", "Chairs &amp; more (7)", ""]));
    assert_eq!(request["ops"][1]["subject"]["$text"], json!(["", "Chairs & more (7)", " is gone"]));
    let done = session.commit("run").await.unwrap();
    assert_eq!(done.in_text(&token), "Chairs & more (7)");
}
