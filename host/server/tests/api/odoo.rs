//! A server whose records are on an Odoo: pings of strangers, an outbox that never ends, and what people are told of it. The
//! Odoo here is a fake, for no real one floods.

#[path = "../../../odoo/tests/odoo/lab/http.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod http;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use self::http::Reply;
use axum::{body::Bytes, http::HeaderMap};
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, sync::mpsc::UnboundedReceiver, task::JoinSet};
use triggerbox_automation::{
    Clock,
    proposals::ProposalState,
    runs::{RunFilter, RunId, RunState},
    seen,
};
use triggerbox_model::{event::Trigger, value::Id};
use triggerbox_odoo::{Backend, Config};
use triggerbox_server::{
    alerts::{self, Running, Trouble, standing},
    people::Role,
    tokens::Scope,
};

use crate::{
    alerts::listen,
    browser::Browser,
    world::{ADMIN, SAM, World, eventually, in_time},
};

/// From a ping to the look into the outbox.
const PAUSE: Duration = Duration::from_millis(50);

/// What the outbox of the fake holds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Outbox {
    Nothing,
    /// As many rows as are asked for, and then more, each time; the first one makes no sense.
    Everything,
    /// The same, and none of them makes sense.
    Nonsense,
    /// Odoo itself fails.
    Broken,
    /// Nobody answers for it.
    Away,
    /// Nobody answers for anything.
    Gone,
    /// Nothing; there is a lead, and whoever reads it meets an error of Odoo's own.
    Unreadable,
}

/// What is said to whoever listens there.
fn backend(listener: &TcpListener, more: &str) -> Arc<Backend> {
    let config = format!(
        "url = 'http://{}'\ndatabase = 'x'\nretry-wait = 1\nretries = 0\n{more}\n\
         [[user]]\nlogin = 'admin'\nkey = {{ env = 'K' }}\n",
        listener.local_addr().unwrap()
    );
    let key = |name: &str| Some(format!("some-long-key-of-{name}"));
    Arc::new(Backend::new(Config::parse(&config).unwrap(), &key).unwrap())
}

/// It takes the parts of automation rules, and has none of them when it is asked for them.
pub(crate) struct Fake {
    outbox: Mutex<Outbox>,
    looks: AtomicU32,
    rows: AtomicU32,
    /// Parts of rules that it was given.
    made: AtomicU32,
    /// How often it was asked for leads.
    asked: AtomicU32,
    /// How often it was asked which runs it knows.
    ledger: AtomicU32,
    /// Leads that there are, and those that Sam may read.
    pub(crate) leads: Mutex<(Vec<u64>, Vec<u64>)>,
    /// Fields of leads that are not for Sam.
    pub(crate) kept: Mutex<Vec<String>>,
    /// What Sam asked about leads.
    pub(crate) sam: Mutex<Vec<String>>,
    /// Whose changes it was to apply.
    applies: Mutex<Vec<Id>>,
    /// What it says to the next ones, in place of having applied them.
    refusals: Mutex<VecDeque<&'static str>>,
    /// Fields of leads that are not what they were.
    others: Mutex<BTreeMap<String, Json>>,
    /// It says what it applied while this is free.
    answers: Arc<tokio::sync::Mutex<()>>,
    /// Its answers to those who may apply something are lost, and its ledger has these.
    lost: Mutex<Option<Vec<String>>>,
}

impl Fake {
    pub(crate) async fn start(more: &str) -> (Arc<Self>, Arc<Backend>) {
        let none = AtomicU32::default;
        let outbox = Mutex::new(Outbox::Nothing);
        let (looks, rows, made, asked, ledger) = (none(), none(), none(), none(), none());
        let (leads, kept, sam) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (applies, refusals, others) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (answers, lost) = (Arc::default(), Mutex::default());
        let fake = Self {
            outbox,
            looks,
            rows,
            made,
            asked,
            ledger,
            leads,
            kept,
            sam,
            applies,
            refusals,
            others,
            answers,
            lost,
        };
        let fake = Arc::new(fake);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = backend(&listener, more);
        let shared = Arc::clone(&fake);
        tokio::spawn(http::serve(listener, move |request| {
            let reply = shared.answer(&request);
            let held = request.path.ends_with("/ir.actions.server/run").then(|| Arc::clone(&shared.answers));
            async move {
                if let Some(answers) = held {
                    drop(answers.lock().await);
                }
                reply
            }
        }));
        (fake, backend)
    }

    pub(crate) fn set(&self, outbox: Outbox) {
        *self.outbox.lock().unwrap() = outbox;
    }

    fn answer(&self, request: &http::Request) -> Reply {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let method = request.path.trim_start_matches("/json/2/").trim_start_matches("/json/");
        if *self.outbox.lock().unwrap() == Outbox::Gone {
            return Reply::Nothing;
        }
        let is_sam = request.header("authorization").is_some_and(|key| key.ends_with("of-SAM"));
        if is_sam
            && ["crm.lead/has_access", "crm.lead/search", "crm.lead/search_count", "crm.lead/read"].contains(&method)
        {
            self.sam.lock().unwrap().push(method.to_owned());
        }
        let answer = match method {
            "version" => json!({ "version": "19.0" }),
            "res.users/context_get" => json!({ "uid": if is_sam { SAM } else { ADMIN } }),
            "res.users/read" => {
                let (id, login) = if body["ids"] == json!([SAM]) { (SAM, "sam") } else { (ADMIN, "admin") };
                json!([{ "id": id, "name": "A", "login": login, "company_id": [1, "C"] }])
            }
            "crm.lead/fields_get" => {
                let mut fields = json!({
                    "name": { "type": "char", "store": true }, "priority": { "type": "char", "store": true },
                    "create_date": { "type": "datetime", "store": true }, "write_date": { "type": "datetime", "store": true },
                    "company_id": { "type": "many2one", "relation": "res.company", "store": true },
                });
                if is_sam {
                    let kept = self.kept.lock().unwrap();
                    fields.as_object_mut().unwrap().retain(|name, _| !kept.contains(name));
                }
                fields
            }
            "crm.lead/search_read" => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                match *self.outbox.lock().unwrap() {
                    Outbox::Away => return Reply::new(503, "text/html", b"<h1>Service Unavailable</h1>".to_vec()),
                    _ => json!([]),
                }
            }
            "ir.actions.server/has_access" => json!(true),
            "ir.model.data/search_read" => {
                json!([{ "name": "model_event", "model": "ir.model", "res_id": 9 }])
            }
            "ir.model/search_read" => json!([{ "id": 7, "model": "crm.lead" }]),
            "base.automation/load" | "ir.actions.server/load" => {
                self.made.fetch_add(1, Ordering::SeqCst);
                json!({ "ids": [1] })
            }
            "x_triggerbox_event/search_read" => {
                self.looks.fetch_add(1, Ordering::SeqCst);
                match *self.outbox.lock().unwrap() {
                    Outbox::Nothing | Outbox::Away | Outbox::Gone | Outbox::Unreadable => json!([]),
                    Outbox::Broken => return Reply::new(500, "text/html", b"<h1>Internal Server Error</h1>".to_vec()),
                    Outbox::Everything => self.rows(body["limit"].as_u64().unwrap() + 10, 1),
                    Outbox::Nonsense => self.rows(body["limit"].as_u64().unwrap() + 10, u64::MAX),
                }
            }
            "x_triggerbox_event/unlink" => json!(true),
            "ir.actions.server/run" => {
                self.applies.lock().unwrap().push(if is_sam { SAM } else { ADMIN });
                if let Some(message) = self.refusals.lock().unwrap().pop_front() {
                    let name = "odoo.exceptions.UserError";
                    let error = json!({ "name": name, "message": message, "debug": "" });
                    return Reply::new(422, "application/json", error.to_string().into_bytes());
                }
                if let Some(ledger) = self.lost.lock().unwrap().as_mut().filter(|_| !is_sam) {
                    ledger.push(body["context"]["triggerbox_run"].as_str().unwrap_or_default().to_owned());
                    return Reply::Nothing;
                }
                let done = json!({ "new": {}, "names": {}, "at": "2026-11-20 09:30:00" });
                json!({ "triggerbox": 1, "again": false, "done": done })
            }
            "x_triggerbox_run/search_read" => {
                self.ledger.fetch_add(1, Ordering::SeqCst);
                let lost = self.lost.lock().unwrap();
                let names = lost.iter().flatten().map(|run| format!("run {run}"));
                let rows = names.map(|name| json!({ "x_name": name, "create_date": "2026-11-20 09:30:00" }));
                match *self.outbox.lock().unwrap() {
                    Outbox::Away => return Reply::new(503, "text/html", b"<h1>Service Unavailable</h1>".to_vec()),
                    _ => rows.collect(),
                }
            }
            "crm.lead/search" if *self.outbox.lock().unwrap() == Outbox::Unreadable => json!([7]),
            "crm.lead/read" if *self.outbox.lock().unwrap() == Outbox::Unreadable => {
                let debug = "Traceback (most recent call last):\n  File \"inside.py\"\nValueError: inside";
                let error = json!({ "name": "builtins.ValueError", "message": "Invalid inside", "debug": debug });
                return Reply::new(500, "application/json", error.to_string().into_bytes());
            }
            "crm.lead/has_access" => {
                let (all, sams) = &*self.leads.lock().unwrap();
                let asked: Vec<u64> = body["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
                if !asked.iter().all(|id| all.contains(id)) {
                    let name = "odoo.exceptions.MissingError";
                    let error = json!({ "name": name, "message": "Record does not exist", "debug": "" });
                    return Reply::new(404, "application/json", error.to_string().into_bytes());
                }
                json!(!is_sam || asked.iter().all(|id| sams.contains(id)))
            }
            "crm.lead/search_count" => {
                let (all, sams) = &*self.leads.lock().unwrap();
                json!(if is_sam { sams } else { all }.len())
            }
            // None of them has a priority.
            "crm.lead/search" if body["domain"].to_string().contains("priority") => json!([]),
            "crm.lead/search" => {
                let (all, sams) = &*self.leads.lock().unwrap();
                let domain = body["domain"].to_string();
                let of = if is_sam { sams } else { all };
                json!(of.iter().filter(|id| domain.contains(&id.to_string())).collect::<Vec<_>>())
            }
            "crm.lead/read" => {
                let others = self.others.lock().unwrap();
                let value = |field: &Json| match field.as_str().unwrap() {
                    other if others.contains_key(other) => others[other].clone(),
                    "priority" => json!("0"),
                    "create_date" | "write_date" => json!("2026-11-20 09:00:00"),
                    _ => json!("A lead"),
                };
                let row = |id: &Json| {
                    let fields = body["fields"].as_array().unwrap().iter();
                    let mut row: serde_json::Map<String, Json> =
                        fields.map(|field| (field.as_str().unwrap().to_owned(), value(field))).collect();
                    row.insert("id".to_owned(), id.clone());
                    Json::Object(row)
                };
                let all = &self.leads.lock().unwrap().0;
                let there = |id: &&Json| all.iter().any(|lead| **id == json!(lead));
                body["ids"].as_array().unwrap().iter().filter(there).map(row).collect()
            }
            // None of the leads is there any more.
            _ => json!([]),
        };
        Reply::new(200, "application/json", answer.to_string().into_bytes())
    }

    /// Comes back when the outbox was looked into so often.
    async fn looked(&self, wanted: u32) {
        eventually(async || (self.looks.load(Ordering::SeqCst) >= wanted).then_some(())).await;
    }

    /// Rows, of which so many make no sense.
    fn rows(&self, count: u64, odd: u64) -> Json {
        let row = |index: u64| {
            let id = self.rows.fetch_add(1, Ordering::SeqCst) + 1;
            let kind = if index < odd { "exploded" } else { "created" };
            json!({
                "id": id, "x_name": "touch", "x_model": "crm.lead", "x_record": id, "x_kind": kind, "x_user": 2,
                "x_transaction": id.to_string(), "x_chain": false, "x_values": false,
            })
        };
        (0..count).map(row).collect()
    }
}

pub(crate) const TOUCH: &str = "name = \"touch\"\nmodel = \"crm.lead\"\ntrigger = { on = \"created\" }\n\
    [[actions]]\nscript = \"update-record\"\nparameters = { values = \"priority = 1\" }\n";

fn trouble(world: &World) -> Vec<Trouble> {
    let conn = world.app.engine().database().snapshot().unwrap();
    standing(&world.app, &conn, &mut Running::new(), world.app.engine().clock().now()).unwrap()
}

/// Comes back when people are told of this, or no longer; with what they are told.
pub(crate) async fn until(world: &World, kind: &str, there: bool) -> Option<String> {
    eventually(async || {
        let found = trouble(world).into_iter().find(|trouble| trouble.kind == kind);
        (found.is_some() == there).then(|| found.map(|trouble| trouble.message))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_has_the_outbox_looked_into_no_more_often_than_it_may_be() {
    let (fake, backend) = Fake::start("poll = 600").await;
    let world = World::on_odoo(backend).await;
    // The first look is at the start.
    fake.looked(1).await;
    // The last pings are not forgotten either, however many came before.
    for looks in 1..=20 {
        let mut pings = JoinSet::new();
        for index in 0..20_usize {
            // By strangers, recorded and sent again, with whatever in them: nothing of it is read.
            let body = "x".repeat(index * 200);
            let request = world.request("POST", "/odoo/ping").header("content-type", "application/json").body(body);
            pings.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        while let Some(answer) = pings.join_next().await {
            assert_eq!(answer.unwrap(), 204);
        }
        assert_eq!(fake.looks.load(Ordering::SeqCst), looks, "the clock stands");
        world.clock.advance(PAUSE);
        fake.looked(looks + 1).await;
    }
    assert_eq!(world.app.engine().runs(&RunFilter::default()).unwrap(), [], "nothing came of any of them");
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_never_ends_fills_the_queue_up_to_its_cap_and_people_are_told() {
    let (fake, backend) = Fake::start("poll = 600\nmost-events = 50\nmost-waiting = 200").await;
    let world = World::on_odoo(backend).await;
    world.rule(TOUCH).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that runs wait" })).await.good(204);
    fake.set(Outbox::Everything);
    ping(&world).await;
    let told = until(&world, "odoo-events-wait", true).await.unwrap();
    assert!(told.contains("stay in odoo's outbox"), "{told}");
    let told = until(&world, "odoo-events-set-aside", true).await.unwrap();
    assert!(told.contains("`exploded` is nothing that happens to records"), "{told}");
    let waiting = || {
        let all = RunFilter { state: Some(RunState::Queued), limit: 1_000, ..RunFilter::default() };
        world.app.engine().runs(&all).unwrap().len()
    };
    assert!((200..250).contains(&waiting()), "{}", waiting());

    // Full, it asks no more, whoever pings; once there is room, it goes on.
    let looks = fake.looks.load(Ordering::SeqCst);
    for _ in 0..3 {
        ping(&world).await;
    }
    assert!(world.app.engine().drain().await.unwrap().full);
    assert_eq!(fake.looks.load(Ordering::SeqCst), looks);
    fake.set(Outbox::Broken);
    world.call("DELETE", "/api/v1/stops", Json::Null).await.good(204);
    eventually(async || (waiting() == 0).then_some(())).await;
    ping(&world).await;
    let told = until(&world, "odoo-unreachable", true).await.unwrap();
    assert!(told.contains("odoo failed with 500"), "{told}");
    fake.set(Outbox::Nothing);
    ping(&world).await;
    assert_eq!(until(&world, "odoo-unreachable", false).await, None);
    assert_eq!(until(&world, "odoo-events-wait", false).await, None);
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_of_nonsense_that_never_ends_leaves_room_for_everything_else() {
    let (fake, backend) = Fake::start("poll = 86400\nmost-events = 5").await;
    let world = World::on_odoo(backend).await;
    fake.looked(1).await;
    ping(&world).await;
    fake.looked(2).await;
    let trigger = "{ on = \"after-creation\", delay = 1, unit = \"hours\" }";
    world.rule(&TOUCH.replace("{ on = \"created\" }", trigger)).await.good(201);
    assert_eq!(world.app.engine().tick_remote().await.unwrap(), 0, "from now on");
    fake.set(Outbox::Nonsense);
    ping(&world).await;
    let told = until(&world, "odoo-events-wait", true).await.unwrap();
    assert!(told.contains("is not empty after 100 looks"), "{told}");
    assert_eq!(fake.looks.load(Ordering::SeqCst), 102);
    // Then it rests, whoever pings, and goes on; leads that come due are asked for in between.
    for _ in 0..3 {
        ping(&world).await;
    }
    assert_eq!(fake.looks.load(Ordering::SeqCst), 102);
    let rested = || world.clock.advance(Duration::from_secs(1));
    world.clock.advance(Duration::from_secs(7_200));
    eventually(async || {
        rested();
        (fake.asked.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    fake.set(Outbox::Nothing);
    eventually(async || {
        rested();
        trouble(&world).iter().all(|one| one.kind != "odoo-events-wait").then_some(())
    })
    .await;
    assert_eq!(world.app.engine().runs(&RunFilter::default()).unwrap(), [], "nothing came of any of them");
}

/// What is told where alerts go, by its kind, until all of these were.
async fn told(heard: &mut UnboundedReceiver<(HeaderMap, Bytes)>, kinds: &[&str]) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    while !kinds.iter().all(|kind| told.contains_key(*kind)) {
        let trouble: Json = serde_json::from_slice(&in_time(heard.recv()).await.unwrap().1).unwrap();
        let text = |name: &str| trouble[name].as_str().unwrap().to_owned();
        told.insert(text("kind"), text("message"));
    }
    told
}

/// A ping, and the time until the look that it is for.
pub(crate) async fn ping(world: &World) {
    assert_eq!(world.request("POST", "/odoo/ping").send().await.unwrap().status(), 204);
    world.clock.advance(PAUSE);
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_odoo_is_told_where_all_trouble_is() {
    let (fake, backend) = Fake::start("poll = 600\nmost-events = 50\nmost-waiting = 200").await;
    let (config, mut heard) = listen().await;
    let world = World::on_odoo_with(backend, config).await;
    world.rule(TOUCH).await.good(201);
    world.call("POST", "/api/v1/stops", json!({ "reason": "so that runs wait" })).await.good(204);
    ping(&world).await;
    eventually(async || (fake.made.load(Ordering::SeqCst) >= 2).then_some(())).await;
    world.clock.advance(Duration::from_secs(61));
    ping(&world).await;
    let kind = "odoo-rule-changed";
    let message = told(&mut heard, &[kind]).await[kind].clone();
    assert!(message.contains("such as the automation rule of `touch` (it is gone)"), "{message}");
    // A rule that changes here has all of them mended.
    world.rule(&TOUCH.replace("priority = 1", "priority = 2")).await.good(200);
    ping(&world).await;
    assert_eq!(until(&world, kind, false).await, None);

    fake.set(Outbox::Everything);
    ping(&world).await;
    let told = told(&mut heard, &["odoo-events-set-aside", "odoo-events-wait"]).await;
    assert!(told["odoo-events-set-aside"].contains("`exploded` is nothing that happens to records"), "{told:?}");
    assert!(told["odoo-events-wait"].contains("stay in odoo's outbox"), "{told:?}");
}

// Shows: F081
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_here_is_not_told_as_odoos_absence() {
    let (fake, backend) = Fake::start("poll = 86400\nmost-events = 1").await;
    let mut config = triggerbox_server::Config::default();
    config.metrics.open = true;
    let world = World::on_odoo_with(backend, config).await;
    world.rule(TOUCH).await.good(201);
    let write = async |sql: &'static str| {
        world.app.write(move |conn| Ok::<_, triggerbox_store::db::DbError>(conn.execute(sql, [])?)).await.unwrap();
    };
    write("UPDATE engine_rule SET body = '{' || body").await;
    fake.set(Outbox::Everything);
    ping(&world).await;
    eventually(async || {
        let page = world.send(world.request("GET", "/metrics")).await.text();
        page.contains("triggerbox_engine_faults_total{work=\"events\"}").then_some(())
    })
    .await;
    write("UPDATE engine_rule SET body = substr(body, 2)").await;
    assert_eq!(until(&world, "odoo-unreachable", false).await, None);
}

// Shows: F088
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_gone_there_is_told_and_keeps_no_other_rule_from_being_kept() {
    let (fake, backend) = Fake::start("poll = 86400").await;
    let world = World::on_odoo(backend).await;
    fake.looked(1).await;
    // The model was looked at when the server started; of its fields the fake has none by now.
    let renamed = TOUCH.replace("touch", "renamed").replace("\"created\"", "\"updated\", fields = [\"name\"]");
    world.rule(&renamed).await.good(201);
    world.rule(TOUCH).await.good(201);
    ping(&world).await;
    let told = until(&world, "odoo-rules-not-kept", true).await.unwrap();
    assert!(told.contains("rule `renamed` (odoo has no field `name` of `crm.lead`)"), "{told}");
    eventually(async || (fake.made.load(Ordering::SeqCst) == 2).then_some(())).await;
    world.call("DELETE", "/api/v1/rules/renamed", Json::Null).await.good(204);
    ping(&world).await;
    assert_eq!(until(&world, "odoo-rules-not-kept", false).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_odoo_away_no_rule_waits_for_it_after_another() {
    // It asks nothing by itself here.
    let (fake, backend) = Fake::start("poll = 86400").await;
    let world = World::on_odoo(backend).await;
    // With the second look, what the server does by itself at its start is done.
    fake.looked(1).await;
    ping(&world).await;
    fake.looked(2).await;
    for name in ["created", "updated"] {
        let trigger = name.replace("created", "after-creation").replace("updated", "after-update");
        let rule = TOUCH
            .replace("touch", name)
            .replace("{ on = \"created\" }", &format!("{{ on = \"{trigger}\", delay = 1, unit = \"hours\" }}"));
        world.rule(&rule).await.good(201);
    }
    let engine = world.app.engine();
    assert_eq!(engine.tick_remote().await.unwrap(), 0, "from now on");
    world.clock.advance(Duration::from_secs(7_200));
    assert_eq!(engine.tick_remote().await.unwrap(), 0);
    assert_eq!(fake.asked.load(Ordering::SeqCst), 2, "once for each");
    fake.set(Outbox::Away);
    let error = engine.tick_remote().await.unwrap_err();
    assert_eq!((error.code(), fake.asked.load(Ordering::SeqCst)), ("odoo-failed", 3), "the others do not wait, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_odoo_away_a_run_waits_for_it() {
    let (fake, backend) = Fake::start("poll = 86400").await;
    let world = World::on_odoo(backend).await;
    world.rule(&TOUCH.replace("created", "manual")).await.good(201);
    let run = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    assert_eq!(world.ended(run).await["code"], "records-gone");
    assert_eq!(fake.ledger.load(Ordering::SeqCst), 0, "nothing was sent before the first try");
    fake.set(Outbox::Away);
    let told = async |attempt: u64| {
        eventually(async || {
            let told = world.get(&format!("/api/v1/runs/{run}")).await.good(200);
            let is_it = told["attempt"] == json!(attempt) && told["state"] == "queued" && told["code"] == "odoo-away";
            is_it.then_some(told)
        })
        .await
    };
    // By hand, and with all others of its rule: it is accepted, and waits longer each time.
    world.call("POST", &format!("/api/v1/runs/{run}/retry"), Json::Null).await.good(202);
    let since = json!(world.clock.now().to_string());
    let waits = told(2).await;
    assert_eq!(waits["message"], "odoo failed with 503: it does not say why");
    assert_eq!(waits["away-since"], since);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(told(3).await["away-since"], since);
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let page = admin.page(&format!("/runs/{run}")).await;
    let first = page.split("It waits for Odoo since").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(first.contains("20 Nov 2026") && first.contains("failed with 503: it does not say why"), "{first}");
    world.call("POST", &format!("/api/v1/runs/{run}/cancel"), Json::Null).await.good(204);
    let again = json!({ "rule": "touch", "state": "cancelled" });
    assert_eq!(world.call("POST", "/api/v1/requeues", again).await.good(202)["runs"], json!([run]));
    assert_eq!(told(4).await["away-since"], json!(world.clock.now().to_string()), "another day");
    fake.set(Outbox::Nothing);
    world.clock.advance(Duration::from_secs(2));
    let ended = world.ended(run).await;
    assert_eq!((&ended["state"], &ended["code"]), (&json!("skipped"), &json!("records-gone")), "{ended}");
}

// Shows: F081, F088
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let (fake, backend) = Fake::start("poll = 86400").await;
    let (config, mut heard) = listen().await;
    let mut world = World::on_odoo_with(Arc::clone(&backend), config.clone()).await;
    world.rule(&TOUCH.replace("created", "manual")).await.good(201);
    fake.looked(1).await;
    ping(&world).await;
    fake.looked(2).await;
    fake.set(Outbox::Gone);
    let run = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    eventually(async || world.app.engine().run(run).unwrap().summary.away_since).await;
    ping(&world).await;
    let message = told(&mut heard, &["odoo-unreachable"]).await["odoo-unreachable"].clone();
    let since = "odoo's events cannot be had since 2026-11-20 09:30:00 UTC: ";
    assert!(
        message.starts_with(since) && message.ends_with("; 1 run waits for it, and goes on by itself"),
        "{message}"
    );

    let engine = world.app.engine().clone();
    let noted = || seen::noted(&engine.database().snapshot().unwrap(), "alert:odoo-unreachable", "").unwrap();
    eventually(async || noted()).await;
    // Hours later, for another reason and after a restart, it is the same outage.
    world.clock.advance(Duration::from_secs(3 * 3_600));
    fake.set(Outbox::Broken);
    ping(&world).await;
    let is_told = async |world: &World, part: &str| {
        eventually(async || trouble(world).into_iter().find(|one| one.message.contains(part))).await
    };
    let same = is_told(&world, "odoo failed with 500").await;
    assert!(same.message.starts_with(since), "{same:?}");
    let is_news = |world: &World, one: &Trouble| {
        let conn = world.app.engine().database().snapshot().unwrap();
        alerts::is_news(&world.app, &conn, one, world.clock.now()).unwrap()
    };
    assert!(!is_news(&world, &same));
    let (database, clock) = (engine.database().clone(), Arc::clone(&world.clock));
    world.stop().await;
    let world = World::on_odoo_again(database, clock, config, backend).await;
    let same = is_told(&world, "odoo failed with 500").await;
    assert!(same.message.starts_with(since) && !is_news(&world, &same), "{same:?}");

    fake.set(Outbox::Nothing);
    world.clock.advance(Duration::from_secs(300));
    ping(&world).await;
    let mut kinds: Vec<String> = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "odoo-answers-again") {
        let told: Json = serde_json::from_slice(&in_time(heard.recv()).await.unwrap().1).unwrap();
        kinds.push(told["kind"].as_str().unwrap().to_owned());
    }
    assert!(!kinds.contains(&"odoo-unreachable".to_owned()), "{kinds:?}");
    assert_eq!(until(&world, "odoo-unreachable", false).await, None);
    let over = until(&world, "odoo-answers-again", true).await.unwrap();
    assert!(
        over.starts_with("odoo answers again; it was away from 2026-11-20 09:30:00 UTC to 2026-11-20 12:3"),
        "{over}"
    );
    assert_eq!(world.ended(run).await["code"], "records-gone", "it went on by itself");
}

// Shows: F083
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_an_odoo_that_answers_others_is_trouble() {
    let (fake, backend) = Fake::start("poll = 86400").await;
    let world = World::on_odoo(backend).await;
    world.rule(&TOUCH.replace("created", "manual")).await.good(201);
    let run = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    assert_eq!(world.ended(run).await["code"], "records-gone");
    fake.set(Outbox::Away);
    world.call("POST", &format!("/api/v1/runs/{run}/retry"), Json::Null).await.good(202);
    eventually(async || world.app.engine().run(run).unwrap().summary.away_since).await;
    assert_eq!(trouble(&world), []);
    world.clock.advance(Duration::from_secs(31 * 60));
    let found = trouble(&world);
    let [stuck] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((stuck.kind, stuck.rule.as_str(), stuck.run), ("stuck-run", "touch", Some(run)));
    let parts = ["waits for odoo since 2026-11-20 09:30:00 UTC, which answers others", "odoo failed with 503"];
    assert!(parts.iter().all(|part| stuck.message.contains(part)), "{stuck:?}");
}

// Shows: F088
#[tokio::test(flavor = "multi_thread")]
async fn an_odoo_server_that_does_not_answer_is_trouble() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = backend(&listener, "");
    tokio::spawn(http::serve(listener, |_| async { Reply::Nothing }));
    let config = triggerbox_server::Config::default();
    let engine = triggerbox_automation::Config { odoo: Some(backend), ..config.engine() };
    let world = World::with_engine(config, engine).await;
    for kind in ["odoo-unreachable", "odoo-rules-not-kept"] {
        let told = until(&world, kind, true).await.unwrap();
        assert!(told.starts_with("odoo's "), "{told}");
    }
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn whose_leads_wait_for_a_yes_is_asked_of_odoo_once_for_each_hundred_of_them() {
    let (fake, backend) = Fake::start("poll = 86400\n[[user]]\nlogin = 'sam'\nkey = { env = 'SAM' }").await;
    let world = World::on_odoo(backend).await;
    let asking = TOUCH.replace("created", "manual").replace("[[actions]]", "mode = \"approve\"\n[[actions]]");
    world.rule(&asking).await.good(201);
    let (first, second, third) = (701, 702, 703);
    let all = vec![u64::from(first), u64::from(second), u64::from(third)];
    *fake.leads.lock().unwrap() = (all.clone(), all.clone());
    let mut runs = Vec::new();
    for lead in [first, second, third] {
        let fired = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![lead]).await.unwrap();
        let run = world.ended(fired[0]).await;
        assert_eq!(run["state"], "waiting-approval", "{run}");
        runs.push(fired[0]);
    }
    let copies = move |conn: &rusqlite::Connection| {
        for (number, run) in (0..99).flat_map(|number| runs.iter().map(move |run| (number, *run))) {
            let columns = "rule, rule_version, root, parent_run, depth, model, record, request, class, actor, run_as, \
                           superuser, seed, at, state, due, blockers, attempt, fence, finished, code, message";
            let copy =
                format!("INSERT INTO engine_run (key, {columns}) SELECT ?1, {columns} FROM engine_run WHERE id = ?2");
            conn.execute(&copy, (format!("copy{number} of {run}"), run))?;
            let columns = "hash, changes, diff, why, state, expires";
            let copy = format!(
                "INSERT INTO engine_proposal (run, {columns}) SELECT ?1, {columns} FROM engine_proposal WHERE run = ?2"
            );
            conn.execute(&copy, (conn.last_insert_rowid(), run))?;
        }
        Ok::<_, triggerbox_automation::EngineError>(())
    };
    world.app.write(copies).await.unwrap();
    let token = world.token(SAM, &[Scope::Read]).await;
    let listed = async || {
        fake.sam.lock().unwrap().clear();
        let list = world.get_as(&token, "/api/v1/approvals?limit=500").await.good(200);
        let mut leads = BTreeMap::new();
        for one in list["approvals"].as_array().unwrap() {
            *leads.entry(one["diff"]["records"][0]["record"]["id"].as_u64().unwrap()).or_insert(0) += 1;
        }
        (leads, std::mem::take(&mut *fake.sam.lock().unwrap()))
    };
    let (found, asked) = listed().await;
    assert_eq!(found.into_iter().collect::<Vec<_>>(), all.iter().map(|lead| (*lead, 100)).collect::<Vec<_>>());
    assert_eq!(asked, ["crm.lead/has_access"; 3], "three hundred of them");

    // Not all are for Sam, or there any more.
    let both = ["crm.lead/has_access", "crm.lead/search"];
    fake.leads.lock().unwrap().1 = vec![all[0], all[2]];
    let (found, asked) = listed().await;
    assert_eq!(found, BTreeMap::from([(all[0], 100), (all[2], 100)]));
    assert_eq!(asked, [both, both, both].concat());
    *fake.leads.lock().unwrap() = (vec![all[0], all[1]], vec![all[0]]);
    let (found, asked) = listed().await;
    assert_eq!(found, BTreeMap::from([(all[0], 100)]));
    assert_eq!(asked, [both, both, both].concat());
}

// Shows: F035
#[tokio::test(flavor = "multi_thread")]
async fn what_odoo_refuses_whoever_says_yes_is_not_sent() {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    let run = asking(&fake, &world).await;
    let sam = world.token(SAM, &[Scope::Read, Scope::Approve]).await;
    let path = format!("/api/v1/approvals/{run}");
    let yes = async || {
        assert_eq!(world.ended(run).await["state"], "waiting-approval");
        let shown = world.get(&path).await.good(200)["hash"].clone();
        let answer = world.call_as(&sam, "POST", &format!("{path}/approve"), json!({ "hash": shown })).await;
        (answer, std::mem::take(&mut *fake.applies.lock().unwrap()))
    };
    let says = |message| fake.refusals.lock().unwrap().push_back(message);

    // In words of its own, which say nothing of rights.
    says("Only Ada prioritises leads");
    let (answer, applies) = yes().await;
    let code = answer.code(422);
    assert_eq!((code.as_str(), applies), ("odoo-refused", vec![SAM]));
    assert_eq!(world.get(&path).await.good(200)["state"], "waiting");

    // What keeps it from finding out how far Sam's rights go: the run runs again, and asks anew.
    says("TRIGGERBOX conflict crm.tag(5) was changed by somebody else: name is not what the run saw");
    let (answer, applies) = yes().await;
    assert_eq!((answer.code(409).as_str(), applies), ("conflict", vec![SAM]));
    // So is the run, once it runs again.
    assert!(fake.ledger.load(Ordering::SeqCst) >= 1, "whether an earlier yes arrived");

    let (answer, applies) = yes().await;
    answer.good(200);
    assert_eq!(applies, [SAM, ADMIN]);
    assert_eq!(world.get(&path).await.good(200)["state"], "approved");
}

/// A run that wants to change lead 7, which a fake Odoo has, and waits for a yes.
async fn asking(fake: &Fake, world: &World) -> RunId {
    let asking = TOUCH.replace("created", "manual").replace("[[actions]]", "mode = \"approve\"\n[[actions]]");
    world.rule(&asking).await.good(201);
    *fake.leads.lock().unwrap() = (vec![7], vec![7]);
    let run = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    assert_eq!(world.ended(run).await["state"], "waiting-approval");
    run
}

const WITH_SAM: &str = "poll = 86400\n[[user]]\nlogin = 'sam'\nkey = { env = 'SAM' }";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_changes_are_on_their_way_is_not_stopped_any_more() {
    let (fake, backend) = Fake::start("poll = 86400").await;
    let world = World::on_odoo(backend).await;
    world.rule(&TOUCH.replace("created", "manual")).await.good(201);
    *fake.leads.lock().unwrap() = (vec![7], vec![7]);
    let answers = fake.answers.lock().await;
    let run = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    // Odoo is asked to apply them, and does not answer yet.
    eventually(async || (!fake.applies.lock().unwrap().is_empty()).then_some(())).await;
    let path = format!("/api/v1/runs/{run}/cancel");
    assert_eq!(world.call("POST", &path, Json::Null).await.code(409), "changes-on-their-way");
    drop(answers);
    assert_eq!(world.ended(run).await["state"], "succeeded");
    assert_eq!(world.call("POST", &path, Json::Null).await.code(409), "run-is-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_what_is_there_already_asks_nobody_for_a_yes() {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    let asking = TOUCH.replace("created", "manual").replace("[[actions]]", "mode = \"approve\"\n[[actions]]");
    world.rule(&asking).await.good(201);
    *fake.leads.lock().unwrap() = (vec![7], vec![7]);
    fake.others.lock().unwrap().insert("priority".to_owned(), json!("1"));
    let engine = world.app.engine();
    let run = engine.fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap()[0];
    assert_eq!(world.ended(run).await["state"], "succeeded");
    assert!(engine.proposal(run).unwrap().is_none());
    assert!(fake.applies.lock().unwrap().is_empty(), "nothing is sent");
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_done_though_whoever_said_it_goes_away() {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    let run = asking(&fake, &world).await;
    let engine = world.app.engine();
    let shown = engine.proposal(run).unwrap().unwrap().hash;
    let answers = fake.answers.lock().await;
    let sent = engine.clone();
    let yes = tokio::spawn(async move { sent.approve(run, shown, SAM, "").await });
    // It is asked whether Sam may, and does not answer before Sam is gone.
    eventually(async || (!fake.applies.lock().unwrap().is_empty()).then_some(())).await;
    yes.abort();
    assert!(yes.await.unwrap_err().is_cancelled());
    drop(answers);
    let decided = async || engine.proposal(run).unwrap().filter(|one| one.state == ProposalState::Approved);
    assert_eq!(eventually(decided).await.decided_by, Some(SAM));
    assert_eq!(world.ended(run).await["state"], "succeeded");
    assert_eq!(*fake.applies.lock().unwrap(), [SAM, ADMIN]);
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_yes_whose_answer_was_lost_is_found_out_by_itself() {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    let run = asking(&fake, &world).await;
    let engine = world.app.engine();
    let shown = engine.proposal(run).unwrap().unwrap().hash;
    *fake.lost.lock().unwrap() = Some(Vec::new());
    let error = engine.approve(run, shown, SAM, "fine").await.unwrap_err();
    assert_eq!(error.code(), "outcome-unknown");
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    for path in ["/approvals".to_owned(), format!("/approvals/{run}")] {
        let page = admin.page(&path).await;
        assert!(page.contains("On its way"), "{page}");
    }
    engine.tick_remote().await.unwrap();
    let found = engine.proposal(run).unwrap().unwrap();
    assert_eq!(
        (found.state, found.decided_by, found.note.as_deref()),
        (ProposalState::Approved, Some(SAM), Some("fine"))
    );
    assert_eq!(world.ended(run).await["state"], "succeeded");
    assert!(!admin.page(&format!("/approvals/{run}")).await.contains("On its way"));
}

// Shows: F125
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_there_meanwhile_is_told_before_somebody_decides() {
    let (fake, backend) = Fake::start(WITH_SAM).await;
    let world = World::on_odoo(backend).await;
    let run = asking(&fake, &world).await;
    let sam = Browser::of(&world, SAM, &[Role::Approver]).await;
    let admin = Browser::of(&world, ADMIN, &[Role::Administrator]).await;
    let path = format!("/approvals/{run}");
    let page = sam.page(&path).await;
    assert!(!page.contains("Changed meanwhile") && page.contains("Approve and apply"), "{page}");
    fake.others.lock().unwrap().insert("priority".to_owned(), json!("3"));
    // A page that renews itself says for ten seconds what was said last.
    let renewed = async || sam.send(sam.request("GET", &path).header("x-renewal", "1")).await.text();
    assert!(!renewed().await.contains("Changed meanwhile"));
    world.clock.advance(std::time::Duration::from_secs(10));
    assert!(renewed().await.contains("Changed meanwhile"));
    let page = sam.page(&path).await;
    assert!(page.contains("A lead (priority)") && page.contains("nothing is overwritten"), "{page}");
    *fake.leads.lock().unwrap() = (Vec::new(), Vec::new());
    let page = admin.page(&path).await;
    assert!(page.contains("A lead (it is gone)"), "{page}");
    fake.set(Outbox::Gone);
    let page = admin.page(&path).await;
    assert!(page.contains("cannot be told: "), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_odoo_tells_of_its_inside_when_changes_are_proposed_is_kept_for_administrators() {
    let (fake, backend) = Fake::start("poll = 600").await;
    let world = World::on_odoo(backend).await;
    let asking = TOUCH.replace("created", "manual").replace("[[actions]]", "mode = \"approve\"\n[[actions]]");
    world.rule(&asking).await.good(201);
    fake.set(Outbox::Unreadable);
    let fired = world.app.engine().fire("touch", ADMIN, Trigger::Manual, vec![7]).await.unwrap();
    let run = world.ended(fired[0]).await;
    let tracebacks = &run["attempts"][0]["report"]["tracebacks"];
    assert!(tracebacks[0].as_str().is_some_and(|told| told.ends_with("ValueError: inside")), "{run}");
}
