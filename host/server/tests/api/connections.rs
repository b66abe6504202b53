//! Slow clients are left, and a key of a request that died with its server is not taken for ever.

use guest_artifacts::LEAD_SCORING;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use triggerbox_automation::{Clock, Origin, clock::millis, seen};
use triggerbox_model::{
    call::Call,
    value::{FieldValue, Value},
};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_server::Config;

use crate::world::{ADMIN, World};

async fn connected(world: &World) -> TcpStream {
    TcpStream::connect(world.base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends something and waits until the server closes; that it comes back at all is the point.
async fn sent(world: &World, text: &str) -> String {
    ended(connected(world).await, text.as_bytes()).await
}

async fn ended(mut stream: TcpStream, last: &[u8]) -> String {
    stream.write_all(last).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_is_left() {
    let mut config = Config::default();
    (config.http.head_timeout, config.http.timeout) = (1, 1);
    let world = World::with(config).await;
    // Begun before all others, and longer under way than they may be.
    let component = embed_manifest(LEAD_SCORING.component, LEAD_SCORING.manifest.unwrap()).unwrap();
    let (begin, rest) = component.split_at(component.len() / 2);
    let head = format!(
        "POST /api/v1/scripts HTTP/1.1\r\nhost: here\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/wasm\r\ncontent-length: {}\r\n\r\n",
        world.token,
        component.len()
    );
    let mut upload = connected(&world).await;
    upload.write_all(&[head.as_bytes(), begin].concat()).await.unwrap();

    let answer = sent(&world, "GET /healthz HTTP/1.1\r\nhost: here\r\n").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let head = format!(
        "POST /api/v1/records/crm.lead HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"records\":",
        world.token
    );
    let answer = sent(&world, &head).await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("\"timeout\""), "{answer}");
    assert_eq!(world.get("/healthz").await.text(), "ok\n");
    let answer = ended(upload, rest).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_server_that_died_is_free_if_nothing_was_done_and_else_never_done_again() {
    let mut world = World::new().await;
    let me = world.get("/api/v1/me").await.good(200);
    let scope = format!("api:{}", me["token"]["id"]);
    // As a server leaves them that dies before a request's transaction, and after it.
    let (engine, now, taken) = (world.app.engine().clone(), millis(world.clock.now()), scope.clone());
    let take = move |conn: &rusqlite::Connection| {
        seen::take(conn, &taken, "before", now)?;
        seen::take(conn, &taken, "after", now)
    };
    engine.committer().commit(take).await.unwrap();
    let named = |name: &str| vec![FieldValue::new("name", Value::text(name))];
    let create = vec![Call::Create { model: "crm.lead".to_owned(), values: vec![named("after")] }];
    seen::under((scope, "after".to_owned()), engine.change(Origin::user(ADMIN), create)).await.unwrap();

    let (token, clock) = (world.token.clone(), std::sync::Arc::clone(&world.clock));
    let send = async |world: &World, key: &str| {
        let body = json!({ "records": [{ "name": key }] });
        let request = world.json("POST", "/api/v1/records/crm.lead", &body).bearer_auth(&token);
        world.send(request.header("idempotency-key", key)).await
    };
    assert_eq!(send(&world, "before").await.code(409), "request-in-progress");
    world.stop().await;
    let world = World::on(engine.database().clone(), clock, Config::default()).await;
    send(&world, "before").await.good(201);
    assert_eq!(send(&world, "before").await.header("idempotency-replayed"), "true");
    assert_eq!(send(&world, "after").await.code(409), "answer-lost");
    for name in ["before", "after"] {
        let found = world.get(&format!("/api/v1/records/crm.lead?domain=[('name','=','{name}')]")).await.good(200);
        assert_eq!(found["records"].as_array().unwrap().len(), 1, "{name} is done once: {found}");
    }
}
