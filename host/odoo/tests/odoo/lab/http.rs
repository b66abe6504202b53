//! Just enough HTTP for a server that may cut, stall and flood.

use std::{future::Future, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// The connection is closed without a word.
    Nothing,
    /// Silence, and the connection stays open.
    Silence,
    /// A head, then a byte now and then.
    Drip(Vec<u8>),
    /// A head, then zeros without end.
    Flood(Vec<u8>),
}

impl Reply {
    pub(crate) fn new(status: u16, kind: &str, body: Vec<u8>) -> Self {
        Self::with(status, &format!("Content-Type: {kind}"), body)
    }

    pub(crate) fn with(status: u16, header: &str, body: Vec<u8>) -> Self {
        let length = body.len();
        let mut bytes =
            format!("HTTP/1.1 {status} X\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes();
        bytes.extend(body);
        Self::Bytes(bytes)
    }

    /// Cut off in the middle of the body.
    pub(crate) fn halved(self) -> Self {
        match self {
            Self::Bytes(mut bytes) => {
                bytes.pop();
                Self::Bytes(bytes)
            }
            other => other,
        }
    }
}

pub(crate) async fn serve<F: Future<Output = Reply> + Send>(
    listener: TcpListener,
    answer: impl Fn(Request) -> F + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = Arc::clone(&answer);
        // One at a time is enough, and makes what was asked a sequence.
        one(stream, &*answer).await;
    }
}

async fn one<F: Future<Output = Reply>>(mut stream: TcpStream, answer: &impl Fn(Request) -> F) {
    let Some(request) = read(&mut stream).await else { return };
    match answer(request).await {
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Nothing => {}
        // Until the client has had enough.
        Reply::Silence => drop(stream.read_u8().await),
        Reply::Drip(head) => {
            let mut answer = stream.write_all(&head).await;
            while answer.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                answer = stream.write_all(b" ").await;
            }
        }
        Reply::Flood(head) => {
            if stream.write_all(&head).await.is_ok() {
                let zeros = vec![b'0'; 1 << 16];
                while stream.write_all(&zeros).await.is_ok() {}
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let mut request = Request { method, path, headers, body: bytes[head + 4..].to_vec() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}
