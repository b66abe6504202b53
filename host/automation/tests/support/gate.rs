//! A language model's server that holds every answer until it is told to give them. It has one thread, however many wait.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Set for the process that is the server.
const SERVER: &str = "TRIGGERBOX_GATE";

/// The server, in a process of its own: so many connections would leave no file descriptors for their other ends.
pub(crate) struct Gate {
    pub(crate) url: String,
    child: Child,
    stdin: ChildStdin,
    /// Held open: after a minute the test harness says there that its test is slow, and ends if nobody listens.
    _stdout: BufReader<ChildStdout>,
}

impl Gate {
    /// Starts this very program again; `test` is the test that calls [`Gate::serve_if_asked`] and nothing else.
    pub(crate) fn start(test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(SERVER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map(Result::unwrap);
        let url = lines.find_map(|line| Some(format!("http://{}", line.split_once("gate on ")?.1)));
        Self { url: url.unwrap(), child, stdin, _stdout: stdout }
    }

    /// From now on everybody is answered at once.
    pub(crate) fn open(&mut self) {
        self.stdin.write_all(b"open\n").unwrap();
    }

    /// A providers file with this server.
    pub(crate) fn providers(&self) -> String {
        providers(&self.url)
    }

    /// In the server's process: serves until its standard input ends. Elsewhere: nothing.
    pub(crate) fn serve_if_asked() {
        if std::env::var_os(SERVER).is_none() {
            return;
        }
        let (open, opened) = watch::channel(false);
        thread::spawn(move || {
            for _ in std::io::stdin().lines() {
                open.send_replace(true);
            }
            std::process::exit(0);
        });
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("gate on {}", listener.local_addr().unwrap());
            serve(listener, opened).await;
        });
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A providers file with a server as `test/small`, and no budgets in the way.
pub(crate) fn providers(url: &str) -> String {
    let most = "{ calls = 1000000, tokens = 1000000000000, cost = 1000000.0 }";
    format!(
        "[[providers]]\nname = \"test\"\nkind = \"openai\"\nbase-url = \"{url}/v1\"\nretries = 0\nconcurrent = 1000000\n\
         timeout = 3600\n\
         [[providers.models]]\nname = \"small\"\ninput-price = 0.1\noutput-price = 0.1\nmax-output = 100\n\
         [budgets]\nroot = {most}\nrule-day = {most}\nserver-day = {most}\n"
    )
}

/// Answers each request once the gate is open.
pub(crate) async fn serve(listener: TcpListener, opened: watch::Receiver<bool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, opened.clone()));
    }
}

async fn answer(mut stream: TcpStream, mut opened: watch::Receiver<bool>) {
    let body = json!({
        "model": "small", "usage": { "prompt_tokens": 10, "completion_tokens": 2 },
        "choices": [{ "finish_reason": "stop", "message": { "role": "assistant", "content": "Looked." } }],
    })
    .to_string();
    let response =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut bytes = Vec::new();
    while request(&mut stream, &mut bytes).await.is_some() {
        if opened.wait_for(|open| *open).await.is_err() || stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Takes one whole request from a connection.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: Option<usize> =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                bytes.drain(..whole);
                return Some(());
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}
