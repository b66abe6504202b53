//! Real HTTP on loopback that answers as a test says: any service, and a language model's that speaks chat completions.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use serde_json::{Value as Json, json};

/// What the server answers.
pub(crate) enum Say {
    /// A text, or tool calls as a list of `[name, arguments]`.
    This(Json),
    /// A failure.
    Status(u16),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its first line and its headers.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// When the last of it was there.
    pub(crate) came: Instant,
}

/// A service, for as long as the test runs.
pub(crate) struct Service {
    /// Where it listens.
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Answers each request, counted from 0, with a status and a body. It may take its time: each has a thread of its own.
    pub(crate) fn start(answer: impl Fn(usize, &Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answer));
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &all, &*answer));
            }
        });
        Self { url, asked }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A language model's server, for as long as the test runs.
pub(crate) struct ModelServer {
    /// Where it listens.
    pub(crate) url: String,
    service: Service,
}

impl ModelServer {
    /// Answers one after the other; the last one again and again.
    pub(crate) fn of(answers: Vec<Json>) -> Self {
        Self::start(move |nth, _| Say::This(answers[nth.min(answers.len() - 1)].clone()))
    }

    /// Answers each request, counted from 0, as the function says.
    pub(crate) fn start(answer: impl Fn(usize, &Json) -> Say + Send + Sync + 'static) -> Self {
        Self::unread(move |nth, asked| answer(nth, &serde_json::from_slice(&asked.body).unwrap()))
    }

    /// The same for a function that need not know what a request says.
    pub(crate) fn unread(answer: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static) -> Self {
        let service = Service::start(move |nth, asked| match answer(nth, asked) {
            Say::This(said) => (200, completion(nth, &said).to_string()),
            Say::Status(status) => (status, json!({ "error": { "message": "no" } }).to_string()),
        });
        Self { url: service.url.clone(), service }
    }

    /// The bodies of all requests so far.
    pub(crate) fn asked(&self) -> Vec<Json> {
        self.service.asked().iter().map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect()
    }

    /// A providers file with this server as `test/small`, and budgets as they are by default.
    pub(crate) fn providers(&self) -> String {
        format!(
            "[[providers]]\nname = \"test\"\nkind = \"openai\"\nbase-url = \"{}/v1\"\nkey = {{ env = \"TEST_KEY\" }}\n\
             retries = 0\nrequests-per-minute = 100000\nconcurrent = 500\n\
             [[providers.models]]\nname = \"small\"\ninput-price = 2.0\noutput-price = 8.0\nmax-output = 1000\n",
            self.url
        )
    }
}

/// The texts of a request's messages of one role.
pub(crate) fn texts(request: &Json, role: &str) -> Vec<String> {
    let messages = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == role);
    messages.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
}

fn serve(
    mut stream: TcpStream,
    asked: &Mutex<Vec<Asked>>,
    answer: &(impl Fn(usize, &Asked) -> (u16, String) + ?Sized),
) {
    while let Some(request) = read(&mut stream) {
        let nth = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        let (status, body) = answer(nth, &request);
        let head =
            format!("HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        // The other side may have been killed meanwhile.
        if stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn completion(nth: usize, said: &Json) -> Json {
    let (message, finish) = match said {
        Json::Array(calls) => {
            let calls = calls.iter().enumerate().map(|(at, call)| {
                json!({ "id": format!("call-{nth}-{at}"), "type": "function", "function":
                    { "name": call[0], "arguments": call[1].to_string() } })
            });
            let calls: Vec<_> = calls.collect();
            (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
        }
        Json::String(text) => (json!({ "role": "assistant", "content": text }), "stop"),
        other => (json!({ "role": "assistant", "content": other.to_string() }), "stop"),
    };
    json!({
        "id": "c", "object": "chat.completion", "model": "small-2026",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
    })
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 16 << 10];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            let came = Instant::now();
            return Some(Asked { head, body: bytes[end + 4..end + 4 + length].to_vec(), came });
        }
    }
}
