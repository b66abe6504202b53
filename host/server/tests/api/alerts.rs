//! Trouble is told to the configured address, signed.

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use guest_artifacts::DEMO_WRITE_THEN_TRAP;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, sync::mpsc};
use triggerbox_automation::Clock;
use triggerbox_server::{
    Config,
    alerts::{Running, standing},
    config::Secret,
    signature::{SIGNATURE, TIMESTAMP, check},
};

use crate::world::World;

const SECRET: &str = "a secret of thirty-two characters";

// Shows: F081, F088
#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_are_told() {
    let (told, mut heard) = mpsc::unbounded_channel::<(HeaderMap, Bytes)>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::default();
    config.alerts.to = vec![format!("http://{}/alerts", listener.local_addr().unwrap())];
    config.alerts.failures = 2;
    let receiver = Router::new().route(
        "/alerts",
        post(move |headers: HeaderMap, body: Bytes| async move {
            told.send((headers, body)).unwrap();
        }),
    );
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), SECRET).unwrap();
    config.secrets.insert("alerts".to_owned(), Secret::File(folder.path().join("key")));
    config.alerts.secret = Some("alerts".to_owned());

    let world = World::with(config).await;
    world.script(&DEMO_WRITE_THEN_TRAP).await;
    let rule = "name = \"breaks\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
                actions = [{ script = \"demo-write-then-trap\" }]";
    world.rule(rule).await.good(201);
    let order = world.get("/api/v1/records/sale.order?limit=1").await.good(200)["records"][0]["id"].clone();
    for _ in 0..2 {
        let fired = world.call("POST", "/api/v1/rules/breaks/run", json!({ "records": [order] })).await.good(202);
        assert_eq!(world.ended(fired["runs"][0].as_i64().unwrap()).await["state"], "failed");
    }
    let (headers, body) = heard.recv().await.unwrap();
    let trouble: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((&trouble["kind"], &trouble["rule"]), (&json!("failures-in-a-row"), &json!("breaks")), "{trouble}");
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    let now = world.clock.now();
    check(SECRET.as_bytes(), header(TIMESTAMP), header(SIGNATURE), &body, now, 300).unwrap();
}

// Shows: F083
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_without_a_next_slot_and_a_stuck_run_are_trouble() {
    let world = World::new().await;
    world.script(&guest_artifacts::LEAD_SCORING).await;
    world.rule(crate::world::SCORE).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that it stays" })).await.good(204);
    let (_, runs) = world.lead("Stuck").await;
    // A run that runs for ever, as a worker that hangs would leave it.
    let run = runs[0];
    world
        .app
        .write(move |conn| {
            conn.execute("UPDATE engine_run SET state = 'running', lease_until = 9e15 WHERE id = ?1", [run])?;
            Ok::<_, triggerbox_store::db::DbError>(())
        })
        .await
        .unwrap();
    let mut running = Running::new();
    let look = |running: &mut Running, minutes: i64| {
        let now = world.clock.now() + jiff::SignedDuration::from_mins(minutes);
        standing(&world.app, &world.app.engine().database().snapshot().unwrap(), running, now).unwrap()
    };
    assert_eq!(look(&mut running, 0), []);
    assert_eq!(look(&mut running, 29), []);
    let found = look(&mut running, 30);
    assert_eq!((found[0].kind, found[0].run), ("stuck-run", Some(run)));
}
