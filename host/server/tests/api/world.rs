//! A server of the demo company, and short ways to talk to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use guest_artifacts::Guest;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, sync::oneshot};
use triggerbox_automation::{Clock, Engine, TestClock};
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_server::{
    App, Config, serve,
    tokens::{self, NewToken, Scope},
};
use triggerbox_store::db::{Database, DbError};

pub(crate) const NOW: &str = "2026-11-20T09:30:00Z";
pub(crate) const ADMIN: u32 = 2;
pub(crate) const MANAGER: u32 = 3;
pub(crate) const SAM: u32 = 4;
pub(crate) const READER: u32 = 6;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(&Pool::default()).unwrap());

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) base: String,
    /// An administrator's token with all scopes.
    pub(crate) token: String,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The body of an answer that went well.
    pub(crate) fn good(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{}", self.text());
        if self.bytes.is_empty() { Json::Null } else { self.json() }
    }

    /// The code of a problem.
    pub(crate) fn code(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:triggerbox:error:{code}"));
        assert!(!problem["detail"].as_str().unwrap().is_empty() && !problem["title"].as_str().unwrap().is_empty());
        code
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::with_outside(config, None).await
    }

    /// With language models.
    pub(crate) async fn with_outside(config: Config, outside: Option<Arc<triggerbox_llm::Services>>) -> Self {
        Self::with_engine(config.clone(), triggerbox_automation::Config { outside, ..config.engine() }).await
    }

    /// With an engine of other settings.
    pub(crate) async fn with_engine(config: Config, engine: triggerbox_automation::Config) -> Self {
        let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
        let database = Database::demo_in_memory(clock.now()).unwrap();
        Self::opened(database, clock, config, engine).await
    }

    /// A server of a database: the first, or another after a restart.
    pub(crate) async fn on(database: Database, clock: Arc<TestClock>, config: Config) -> Self {
        let engine = config.engine();
        Self::opened(database, clock, config, engine).await
    }

    /// The same with an engine of other settings.
    pub(crate) async fn on_with_engine(
        database: Database,
        clock: Arc<TestClock>,
        config: Config,
        engine: triggerbox_automation::Config,
    ) -> Self {
        Self::opened(database, clock, config, engine).await
    }

    /// With leads on another server.
    pub(crate) async fn on_odoo(backend: Arc<triggerbox_odoo::Backend>) -> Self {
        Self::on_odoo_with(backend, Config::default()).await
    }

    /// The same with other settings.
    pub(crate) async fn on_odoo_with(backend: Arc<triggerbox_odoo::Backend>, config: Config) -> Self {
        let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
        let models = backend.models(&BTreeSet::from(["crm.lead".to_owned()])).await.unwrap();
        let database = Database::demo_in_memory(clock.now()).unwrap().for_remote(models, &BTreeSet::new()).unwrap();
        let engine = triggerbox_automation::Config { odoo: Some(backend), ..config.engine() };
        Self::opened(database, clock, config, engine).await
    }

    /// The same after a restart.
    pub(crate) async fn on_odoo_again(
        database: Database,
        clock: Arc<TestClock>,
        config: Config,
        backend: Arc<triggerbox_odoo::Backend>,
    ) -> Self {
        let engine = triggerbox_automation::Config { odoo: Some(backend), ..config.engine() };
        Self::opened(database, clock, config, engine).await
    }

    async fn opened(
        database: Database,
        clock: Arc<TestClock>,
        config: Config,
        engine: triggerbox_automation::Config,
    ) -> Self {
        // Whichever test comes first: the clients of tests have the cryptography of the server.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = triggerbox_automation::Config { seed: Some(7), ..engine };
        let engine = Engine::open(database, SANDBOX.clone(), settings, Arc::<TestClock>::clone(&clock)).unwrap();
        let app =
            tokio::task::spawn_blocking(move || App::new(engine, SANDBOX.clone(), config)).await.unwrap().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let server = serve(app.clone(), listener, async move {
            let _ = stopped.await;
        });
        let task = Some(tokio::spawn(server));
        let mut world =
            Self { app, clock, base, token: String::new(), client: reqwest::Client::new(), stop: Some(stop), task };
        world.token = world.token(ADMIN, &Scope::ALL).await;
        world
    }

    /// A new token.
    pub(crate) async fn token(&self, user: u32, scopes: &[Scope]) -> String {
        let scopes: BTreeSet<_> = scopes.iter().copied().collect();
        let new = NewToken { name: "test".to_owned(), user, scopes, expires: None };
        let now = self.clock.now();
        let made = self.app.write(move |conn| Ok::<_, DbError>(tokens::create(conn, &new, now)?)).await;
        made.unwrap().1
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &Json) -> reqwest::RequestBuilder {
        self.request(method, path).header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).bearer_auth(&self.token)).await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send(self.request("GET", path).bearer_auth(token)).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Json) -> Answer {
        self.send(self.json(method, path, &body).bearer_auth(&self.token)).await
    }

    pub(crate) async fn call_as(&self, token: &str, method: &str, path: &str, body: Json) -> Answer {
        self.send(self.json(method, path, &body).bearer_auth(token)).await
    }

    /// Uploads a script through the API.
    pub(crate) async fn script(&self, guest: &Guest) -> Json {
        let component = embed_manifest(guest.component, guest.manifest.unwrap()).unwrap();
        let request = self.request("POST", "/api/v1/scripts").header("content-type", "application/wasm");
        self.send(request.bearer_auth(&self.token).body(component)).await.good(201)
    }

    /// Keeps a rule, given as in its file, through the API.
    pub(crate) async fn rule(&self, toml: &str) -> Answer {
        let rule: Json = toml::from_str::<toml::Value>(toml).map(|rule| serde_json::to_value(rule).unwrap()).unwrap();
        let path = format!("/api/v1/rules/{}", rule["name"].as_str().unwrap());
        self.call("PUT", &path, rule).await
    }

    pub(crate) async fn lead(&self, name: &str) -> (u32, Vec<i64>) {
        let body = json!({ "records": [{ "name": name, "email_from": "ada@cedar.example" }] });
        let done = self.call("POST", "/api/v1/records/crm.lead", body).await.good(201);
        let id = done["ids"][0].as_u64().unwrap();
        (u32::try_from(id).unwrap(), done["runs"].as_array().unwrap().iter().map(|run| run.as_i64().unwrap()).collect())
    }

    /// Waits until a run is over.
    pub(crate) async fn ended(&self, run: i64) -> Json {
        self.app.engine().wait(run).await.unwrap();
        self.get(&format!("/api/v1/runs/{run}")).await.good(200)
    }

    /// Stops the server, and waits for it.
    pub(crate) async fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.take().unwrap().await.unwrap().unwrap();
    }
}

/// What `look` finds, as soon as it finds something. If it never does, the test fails.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(found).await
}

/// What comes of something. If nothing does, the test fails after a minute.
pub(crate) async fn in_time<T>(something: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), something)
        .await
        .unwrap_or_else(|_| panic!("what was waited for did not happen"))
}

/// Scores each new lead.
pub(crate) const SCORE: &str = r#"
    name = "score"
    model = "crm.lead"
    trigger = { on = "created" }
    actions = [{ script = "lead-scoring" }]
"#;
