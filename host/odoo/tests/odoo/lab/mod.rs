//! A server between the tests and Odoo. With `TRIGGERBOX_ODOO_URL` set it passes requests on to a real Odoo 19, and with
//! `TRIGGERBOX_ODOO_RECORD` also keeps what was said in `tests/odoo-wire/`; without, it answers from there. Either way it
//! knows what was asked, and can cut connections.

pub(crate) mod http;

use std::{
    collections::VecDeque,
    env, fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    error::Error,
    value::{FieldValue, Id, Row, Value},
};
use triggerbox_odoo::{Backend, Config, OdooError, Session};

use self::http::{Reply, Request};

/// Users of the tests: what the configuration calls their key, and the variable with the real one.
const USERS: [(&str, &str); 2] = [("admin", "TRIGGERBOX_ODOO_KEY"), ("tb_sales", "TRIGGERBOX_ODOO_SALES_KEY")];

/// What the tests call a good key of the administrator's that is not for calls, and the variable with the real one.
pub(crate) const OTHER_SCOPE: (&str, &str) = ("of-another-scope", "TRIGGERBOX_ODOO_OTHER_KEY");

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before Odoo hears of the request.
    Before,
    /// After Odoo has done it, before the first byte of the answer.
    After,
    /// In the middle of the answer.
    Middle,
}

/// One exchange, as it is kept.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Exchange {
    pub(crate) who: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub(crate) body: Json,
    pub(crate) status: u16,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    pub(crate) answer: Json,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Tape {
    recorded: String,
    #[serde(default)]
    names: Vec<String>,
    exchanges: VecDeque<Exchange>,
}

#[derive(Default)]
struct State {
    tape: Tape,
    next_name: usize,
    asked: Vec<(String, Json)>,
    cuts: VecDeque<Cut>,
    unlink_cut: Option<Cut>,
    away: bool,
    wrong: Option<String>,
}

pub(crate) struct Lab {
    pub(crate) url: String,
    name: &'static str,
    live: Option<String>,
    state: Arc<Mutex<State>>,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/odoo-wire"))
}

impl Lab {
    /// The server of one test.
    pub(crate) async fn open(name: &'static str) -> Self {
        let live = env::var("TRIGGERBOX_ODOO_URL").ok();
        let mut state = State::default();
        if live.is_none() {
            let path = folder().join(format!("{name}.json"));
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            state.tape = serde_json::from_str(&text).unwrap();
        }
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shared, upstream) = (Arc::clone(&state), live.clone());
        tokio::spawn(http::serve(listener, move |request| answer(Arc::clone(&shared), upstream.clone(), request)));
        Self { url, name, live, state }
    }

    /// The configuration: keys of the users are only names here.
    pub(crate) fn config(&self, more: &str) -> Config {
        Config::parse(&self.config_file(more)).unwrap()
    }

    /// The same, as a file.
    pub(crate) fn config_file(&self, more: &str) -> String {
        let database = env::var("TRIGGERBOX_ODOO_DB").unwrap_or_else(|_| "demo".to_owned());
        let users: String = USERS
            .iter()
            .map(|(login, _)| format!("[[user]]\nlogin = '{login}'\nkey = {{ env = '{login}' }}\n"))
            .collect();
        let url = &self.url;
        format!(
            "url = '{url}'\ndatabase = '{database}'\nmethods = ['crm.lead.action_set_won']\nretry-wait = 1\n{more}\n{users}"
        )
    }

    pub(crate) fn backend(&self) -> Arc<Backend> {
        self.backend_with("")
    }

    pub(crate) fn backend_with(&self, more: &str) -> Arc<Backend> {
        Arc::new(Backend::new(self.config(more), &|name| Some(format!("key-of-{name}"))).unwrap())
    }

    /// A backend whose Odoo holds the set-up. On a live Odoo it is made, unseen by the recording.
    pub(crate) async fn prepared(&self) -> Arc<Backend> {
        if let Some(url) = &self.live {
            let mut config = self.config("");
            config.url = url.parse().unwrap();
            let backend = Backend::new(config, &real_key).unwrap();
            backend.set_up().await.unwrap();
        }
        self.backend()
    }

    /// A session as a user.
    pub(crate) async fn session(&self, backend: &Arc<Backend>, login: &str) -> Session {
        let account = backend.account(login).await.unwrap();
        Session::new(Arc::clone(backend), account, "2026-11-25T10:00:00Z".parse().unwrap()).for_rule("test-rule")
    }

    /// Calls a method as the administrator.
    pub(crate) async fn admin(
        &self,
        backend: &Backend,
        model: &str,
        method: &str,
        body: Json,
    ) -> Result<Json, OdooError> {
        backend.client().call(backend.caller("admin").unwrap(), model, method, &body).await
    }

    /// A name that no other run of the test has.
    pub(crate) fn unique(&self, what: &str) -> String {
        let mut state = self.state.lock().unwrap();
        state.next_name += 1;
        if self.live.is_some() {
            let name = format!("{what}-{:08x}", rand::random::<u32>());
            state.tape.names.push(name.clone());
            return name;
        }
        let index = state.next_name - 1;
        state.tape.names[index].clone()
    }

    /// Cuts the connections of the next changes.
    pub(crate) fn cut(&self, cut: Cut) {
        self.state.lock().unwrap().cuts.push_back(cut);
    }

    /// Cuts the connection of the next acknowledgement.
    #[allow(dead_code, reason = "not all tests acknowledge something")]
    pub(crate) fn cut_unlink(&self) {
        self.state.lock().unwrap().unlink_cut = Some(Cut::Before);
    }

    /// Has nobody answer, until it is said otherwise: each connection is closed without a word, and what was asked is not
    /// noted.
    #[allow(dead_code, reason = "not all tests do")]
    pub(crate) fn away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    /// What was asked since the last time: paths and bodies.
    pub(crate) fn asked(&self) -> Vec<(String, Json)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Ends the test: everything that was recorded was asked for, and nothing else.
    pub(crate) fn close(self) {
        let mut state = self.state.lock().unwrap();
        if let Some(wrong) = &state.wrong {
            panic!("{wrong}");
        }
        match &self.live {
            None => assert!(state.tape.exchanges.is_empty(), "not asked: {:?}", state.tape.exchanges.front().unwrap()),
            Some(_) if env::var("TRIGGERBOX_ODOO_RECORD").is_ok() => {
                state.tape.recorded = "a real Odoo 19.0 Community with demo data".to_owned();
                let path = folder().join(format!("{}.json", self.name));
                fs::write(path, serde_json::to_string(&state.tape).unwrap().replace("{\"who\"", "\n{\"who\"") + "\n")
                    .unwrap();
            }
            Some(_) => {}
        }
    }
}

fn real_key(login: &str) -> Option<String> {
    let variable = USERS.iter().chain([&OTHER_SCOPE]).find(|(name, _)| *name == login)?.1;
    Some(env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set")))
}

async fn answer(state: Arc<Mutex<State>>, live: Option<String>, request: Request) -> Reply {
    let who = request.header("authorization").unwrap_or_default();
    let who = who.trim_start_matches("bearer ").trim_start_matches("key-of-").to_owned();
    let mut body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
    // A run's id is another one each time.
    if let Some(Json::String(run)) = body.pointer_mut("/context/triggerbox_run")
        && run.len() == 32
    {
        *run = "drawn".to_owned();
    }
    let cut = {
        let mut state = state.lock().unwrap();
        if state.away {
            return Reply::Nothing;
        }
        state.asked.push((request.path.clone(), body.clone()));
        match request.path.rsplit_once('/') {
            Some((model, "run")) if model.ends_with("ir.actions.server") => state.cuts.pop_front(),
            Some((model, "unlink")) if model.ends_with("x_triggerbox_event") => state.unlink_cut.take(),
            _ => None,
        }
    };
    if cut == Some(Cut::Before) {
        return Reply::Nothing;
    }
    let exchange = match live {
        Some(url) => {
            let exchange = pass_on(&url, &who, &request, body).await;
            state.lock().unwrap().tape.exchanges.push_back(compact(exchange.clone()));
            exchange
        }
        None => {
            let mut state = state.lock().unwrap();
            match state.tape.exchanges.pop_front() {
                Some(known) if known.path == request.path && known.body == body && known.who == who => known,
                other => {
                    let wrong = format!("asked: {who} {} {body}\nrecorded: {other:?}", request.path);
                    state.wrong.get_or_insert(wrong);
                    return Reply::new(500, "text/plain", b"not recorded".to_vec());
                }
            }
        }
    };
    let exchange = Exchange { answer: whole(exchange.answer), ..exchange };
    let bytes = match &exchange.answer {
        Json::String(text) if exchange.kind.starts_with("text/") => text.clone().into_bytes(),
        answer => answer.to_string().into_bytes(),
    };
    let kind = if exchange.kind.is_empty() { "application/json; charset=utf-8" } else { &exchange.kind };
    let reply = Reply::new(exchange.status, kind, bytes);
    match cut {
        Some(Cut::After) => Reply::Nothing,
        Some(Cut::Middle) => reply.halved(),
        _ => reply,
    }
}

async fn pass_on(url: &str, who: &str, request: &Request, body: Json) -> Exchange {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut asked = match request.method.as_str() {
        "GET" => http.get(format!("{url}{}", request.path)),
        _ => http.post(format!("{url}{}", request.path)).body(request.body.clone()),
    };
    for name in ["content-type", "x-odoo-database"] {
        if let Some(value) = request.header(name) {
            asked = asked.header(name, value);
        }
    }
    if !who.is_empty() {
        let key = real_key(who).unwrap_or_else(|| who.to_owned());
        asked = asked.header("authorization", format!("bearer {key}"));
    }
    let response = asked.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let bytes = response.bytes().await.unwrap();
    let json = kind.starts_with("application/json");
    let answer = match serde_json::from_slice(&bytes) {
        Ok(answer) if json => answer,
        _ => json!(String::from_utf8_lossy(&bytes)),
    };
    Exchange {
        who: who.to_owned(),
        path: request.path.clone(),
        body,
        status,
        kind: if json { String::new() } else { kind },
        answer,
    }
}

/// Without what no test looks at: tracebacks but for their end, help texts. What models look like is kept once for all
/// tests.
fn compact(mut exchange: Exchange) -> Exchange {
    if let Some(Json::String(debug)) = exchange.answer.get_mut("debug") {
        *debug = format!("Traceback …\n{}", debug.trim_end().lines().last().unwrap_or_default());
    }
    if let (200, Some(model)) = (exchange.status, exchange.path.strip_suffix("/fields_get")) {
        for (_, field) in exchange.answer.as_object_mut().into_iter().flatten() {
            let unsaid = |name: &str, value: &Json| name == "help" || value.is_null() || *value == json!([]);
            field.as_object_mut().unwrap().retain(|name, value| !unsaid(name, value));
        }
        let name = format!("{}-{}.json", model.rsplit('/').next().unwrap(), exchange.who);
        if env::var("TRIGGERBOX_ODOO_RECORD").is_ok() {
            let text = serde_json::to_string(&exchange.answer).unwrap().replace("},", "},\n") + "\n";
            fs::write(folder().join("models").join(&name), text).unwrap();
        }
        exchange.answer = json!({ "models": name });
    }
    exchange
}

/// The answer that was kept, whole.
fn whole(answer: Json) -> Json {
    match answer.get("models").and_then(Json::as_str) {
        Some(name) => serde_json::from_str(&fs::read_to_string(folder().join("models").join(name)).unwrap()).unwrap(),
        None => answer,
    }
}

/// `Ok` of a call, or what the script is told.
pub(crate) async fn call(session: &mut Session, call: Call) -> Result<Answer, Error> {
    session.call(call).await.unwrap()
}

pub(crate) async fn read(session: &mut Session, model: &str, ids: &[Id], fields: &[&str]) -> Vec<Row> {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    match call(session, Call::Read { model: model.to_owned(), ids: ids.to_vec(), fields }).await.unwrap() {
        Answer::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn search(
    session: &mut Session,
    model: &str,
    domain: &str,
    order: Option<&str>,
) -> Result<Vec<Id>, Error> {
    let page = Page { order: order.map(str::to_owned), ..Page::default() };
    let domain = DomainSource::Literal(domain.to_owned());
    match call(session, Call::Search { model: model.to_owned(), domain, page }).await? {
        Answer::Ids(ids) => Ok(ids),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn values(values: &[(&str, Value)]) -> Vec<FieldValue> {
    values.iter().map(|(name, value)| FieldValue::new(*name, value.clone())).collect()
}

pub(crate) async fn write(session: &mut Session, model: &str, id: Id, fields: &[(&str, Value)]) {
    let call_ = Call::Write { model: model.to_owned(), ids: vec![id], values: values(fields) };
    assert_eq!(call(session, call_).await, Ok(Answer::Done));
}

pub(crate) async fn create(session: &mut Session, model: &str, fields: &[(&str, Value)]) -> Id {
    match call(session, Call::Create { model: model.to_owned(), values: vec![values(fields)] }).await.unwrap() {
        Answer::Ids(ids) => ids[0],
        other => panic!("{other:?}"),
    }
}

/// A new lead, made by hand.
pub(crate) async fn lead(lab: &Lab, backend: &Backend, fields: Json) -> Id {
    let made = lab.admin(backend, "crm.lead", "create", json!({ "vals_list": [fields] })).await.unwrap();
    made[0].as_u64().unwrap().try_into().unwrap()
}

/// Runs code in Odoo, as its administrator could in a server action. It finds these leads in its context.
#[allow(dead_code, reason = "not all tests do")]
pub(crate) async fn run_code(lab: &Lab, backend: &Backend, code: &str, leads: &[Id]) {
    let model = json!({ "domain": [["model", "=", "crm.lead"]] });
    let model = lab.admin(backend, "ir.model", "search", model).await.unwrap()[0].clone();
    let values = json!({ "name": "TB test", "state": "code", "model_id": model, "code": code });
    let made = lab.admin(backend, "ir.actions.server", "create", json!({ "vals_list": [values] })).await.unwrap();
    let body = json!({ "ids": made, "context": { "leads": leads } });
    lab.admin(backend, "ir.actions.server", "run", body).await.unwrap();
    lab.admin(backend, "ir.actions.server", "unlink", json!({ "ids": made })).await.unwrap();
}
