//! A real HTTP server on loopback that speaks as it is told, well or badly, and a clock that is turned by waiting.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};
use triggerbox_llm::{
    Clock, Config, Ledger, Models, Outside, Services, Spender,
    budget::{self, Amount},
    config::Budgets,
    http::Web,
    ledger::{self, Begun, End, Intent, LedgerError},
};
use triggerbox_model::{
    call::{LlmMessage, LlmRequest, Reply},
    limits::{Class, Limits, Scope},
};

/// A key that must not turn up anywhere.
pub(crate) const KEY: &str = "sk-canary-7f3a91c2e5d8";

pub(crate) fn env(name: &str) -> Option<String> {
    (name == "TEST_KEY").then(|| KEY.to_owned())
}

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Step {
    /// Answers.
    Say(u16, Vec<(&'static str, String)>, String),
    /// Answers in pieces of a few bytes.
    Drip(String),
    /// Promises an answer and closes in the middle of it.
    CutOff,
    /// Sends a part of an answer and then nothing, for ever.
    Stall,
    /// Sends a byte of an answer each second, for ever.
    Trickle,
    /// Answers when there is a permit for it.
    Held(Arc<Semaphore>, String),
    /// Sends so many bytes as one answer, with its length.
    Large(usize),
    /// Sends for ever, without a length.
    Endless,
    /// Says something that is not HTTP.
    Noise,
    /// Closes without a word.
    Hang,
}

impl Step {
    pub(crate) fn json(body: &Value) -> Self {
        Self::Say(200, Vec::new(), body.to_string())
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Say(status, Vec::new(), body.to_owned())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<Mutex<usize>>,
    at_once: Arc<Mutex<AtOnce>>,
}

/// Requests that were read and are not answered yet.
#[derive(Default)]
struct AtOnce {
    now: usize,
    most: usize,
}

impl Server {
    /// Plays the steps, one for each request; the last one again and again.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, sent) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<usize>>::default());
        let at_once = Arc::<Mutex<AtOnce>>::default();
        let (all, count, open) = (Arc::clone(&seen), Arc::clone(&sent), Arc::clone(&at_once));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (all, count, steps) = (Arc::clone(&all), Arc::clone(&count), steps.clone());
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    let Some(request) = read(&mut stream).await else { return };
                    let step = {
                        let mut all = all.lock().unwrap();
                        all.push(request);
                        let mut open = open.lock().unwrap();
                        open.now += 1;
                        open.most = open.most.max(open.now);
                        steps[(all.len() - 1).min(steps.len() - 1)].clone()
                    };
                    if let Step::Held(permits, _) = &step {
                        permits.acquire().await.unwrap().forget();
                    }
                    open.lock().unwrap().now -= 1;
                    play(&mut stream, step, &count).await;
                });
            }
        });
        Self { url, seen, sent, at_once }
    }

    /// How many requests waited for their answers at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.at_once.lock().unwrap().most
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bytes of body that the other side took, its buffers included.
    pub(crate) fn sent(&self) -> usize {
        *self.sent.lock().unwrap()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())
            })
            .unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return Some(Seen { head, body: bytes[end + 4..end + 4 + length].to_vec() });
        }
    }
}

async fn play(stream: &mut TcpStream, step: Step, sent: &Mutex<usize>) {
    let head = |status: u16, headers: &[(&'static str, String)], length: Option<usize>| {
        let mut text = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        match length {
            Some(length) => text += &format!("content-length: {length}\r\n\r\n"),
            None => text += "transfer-encoding: chunked\r\n\r\n",
        }
        text
    };
    // The other side may leave at any moment.
    let _ = match step {
        Step::Say(status, headers, body) => {
            stream.write_all((head(status, &headers, Some(body.len())) + &body).as_bytes()).await
        }
        Step::Drip(body) => {
            let _ = stream.write_all(head(200, &[], Some(body.len())).as_bytes()).await;
            for piece in body.as_bytes().chunks(7) {
                let _ = stream.write_all(piece).await;
                let _ = stream.flush().await;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        Step::CutOff => stream.write_all((head(200, &[], Some(1_000)) + "{\"half\":").as_bytes()).await,
        Step::Stall => {
            let _ = stream.write_all((head(200, &[], Some(1_000)) + "{\"half\":").as_bytes()).await;
            // Until the other side gives up.
            stream.read(&mut [0; 16]).await.map(drop)
        }
        Step::Trickle => {
            let mut sent = stream.write_all(head(200, &[], None).as_bytes()).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                sent = stream.write_all(b"1\r\n \r\n").await;
            }
            sent
        }
        Step::Held(_, body) => stream.write_all((head(200, &[], Some(body.len())) + &body).as_bytes()).await,
        Step::Large(size) => {
            let _ = stream.write_all(head(200, &[], Some(size)).as_bytes()).await;
            pour(stream, size, sent, false).await
        }
        Step::Endless => {
            let _ = stream.write_all(head(200, &[], None).as_bytes()).await;
            pour(stream, usize::MAX, sent, true).await
        }
        Step::Noise => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n\r\n").await,
        Step::Hang => Ok(()),
    };
    let _ = stream.shutdown().await;
}

async fn pour(stream: &mut TcpStream, size: usize, sent: &Mutex<usize>, chunked: bool) -> std::io::Result<()> {
    let block = vec![b' '; 64 << 10];
    let mut left = size;
    while left > 0 {
        let part = &block[..block.len().min(left)];
        if chunked {
            stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
        }
        stream.write_all(part).await?;
        if chunked {
            stream.write_all(b"\r\n").await?;
        }
        *sent.lock().unwrap() += part.len();
        left -= part.len();
    }
    Ok(())
}

/// A clock that does not wait: it remembers how long it should have.
pub(crate) struct TestClock {
    now: Mutex<Timestamp>,
    waits: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new("2026-11-20T09:30:00Z".parse().unwrap()), waits: Mutex::default() })
    }

    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }

    pub(crate) fn turn(&self, time: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(time).unwrap();
    }
}

#[async_trait::async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    async fn sleep(&self, time: Duration) {
        self.waits.lock().unwrap().push(time);
        self.turn(time);
    }
}

/// A provider of each protocol at this address, with a key and prices in dollars.
pub(crate) fn config(kind: &str, url: &str) -> Config {
    let text = format!(
        r#"
        [rates]
        USD = 0.5

        [[providers]]
        name = "test"
        kind = "{kind}"
        base-url = "{url}/v1"
        key = {{ env = "TEST_KEY" }}
        currency = "USD"
        timeout = 60
        retries = 3

        [[providers.models]]
        name = "small"
        input-price = 2.0
        output-price = 8.0
        max-output = 1000
        "#
    );
    Config::parse(&text).unwrap()
}

pub(crate) fn live(kind: &str, server: &Server, clock: &Arc<TestClock>) -> Models {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Models::live(config(kind, &server.url), &clock, &env).unwrap()
}

/// An answer in each protocol.
pub(crate) fn answer(kind: &str, text: &str) -> Value {
    match kind {
        "openai" => json!({
            "id": "c1", "object": "chat.completion", "model": "small-2026",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
        }),
        _ => json!({
            "id": "m1", "type": "message", "role": "assistant", "model": "small-2026",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
            "usage": { "input_tokens": 90, "cache_read_input_tokens": 10, "output_tokens": 20 },
        }),
    }
}

pub(crate) fn question(text: &str) -> LlmRequest {
    LlmRequest {
        model: None,
        messages: vec![LlmMessage::System("Be brief.".into()), LlmMessage::User(text.into())],
        tools: Vec::new(),
        output_schema: None,
        temperature: None,
        max_tokens: None,
    }
}

/// The ledger's functions on a database in memory.
#[derive(Clone)]
pub(crate) struct Book(pub(crate) Arc<Mutex<rusqlite::Connection>>);

impl Book {
    pub(crate) fn new() -> Self {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        ledger::create_tables(&conn).unwrap();
        Self(Arc::new(Mutex::new(conn)))
    }

    pub(crate) fn used(&self, scope: Scope, key: &str) -> Amount {
        budget::used(&self.0.lock().unwrap(), scope, key).unwrap()
    }

    pub(crate) fn calls(&self, run: &str) -> Vec<ledger::Kept> {
        ledger::calls(&self.0.lock().unwrap(), run).unwrap()
    }

    fn transaction<T>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let mut conn = self.0.lock().unwrap();
        let transaction = conn.transaction()?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

#[async_trait::async_trait]
impl Ledger for Book {
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        self.transaction(|conn| ledger::begin(conn, &intent))
    }

    async fn known(&self, intent: Intent) -> Result<Option<Reply>, LedgerError> {
        self.transaction(|conn| ledger::known(conn, &intent))
    }

    async fn end(&self, call: i64, end: End) -> Result<(), LedgerError> {
        self.transaction(|conn| ledger::end(conn, call, &end))
    }

    async fn plan(&self, run: &str, at: i64, plan: String) -> Result<(), LedgerError> {
        self.transaction(|conn| ledger::plan(conn, run, at, &plan))
    }
}

/// The steps of a call after which a host may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    BeforeIntent,
    IntentStored,
    Answered,
    AnswerStored,
}

/// A book of a host that dies at a step: it tells that it has come there, and goes no further.
pub(crate) struct Deadly {
    book: Book,
    at: Death,
    pub(crate) dead: Notify,
}

impl Deadly {
    pub(crate) fn new(book: &Book, at: Death) -> Arc<Self> {
        Arc::new(Self { book: book.clone(), at, dead: Notify::new() })
    }

    async fn pass(&self, step: Death) {
        if step == self.at {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait::async_trait]
impl Ledger for Deadly {
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        self.pass(Death::BeforeIntent).await;
        let begun = self.book.begin(intent).await;
        self.pass(Death::IntentStored).await;
        begun
    }

    async fn known(&self, intent: Intent) -> Result<Option<Reply>, LedgerError> {
        self.book.known(intent).await
    }

    async fn end(&self, call: i64, end: End) -> Result<(), LedgerError> {
        self.pass(Death::Answered).await;
        let ended = self.book.end(call, end).await;
        self.pass(Death::AnswerStored).await;
        ended
    }

    async fn plan(&self, run: &str, at: i64, plan: String) -> Result<(), LedgerError> {
        self.book.plan(run, at, plan).await
    }
}

pub(crate) fn outside(models: Models, web: Option<Web>, book: &Book, clock: &Arc<TestClock>) -> Outside {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Outside {
        services: Arc::new(Services { models, web, budgets: Budgets::default(), clock }),
        ledger: Arc::new(book.clone()),
        spender: Spender { rule: "scoring".into(), root: Some("event-1".into()), ..Spender::default() },
        only_reads: false,
        seat: None,
    }
}

pub(crate) fn agent_limits() -> Limits {
    Limits::resolve(Class::Agent, [])
}
