//! Requests to other services: only where a grant covers method, host and path, only to addresses within reach, with
//! secrets that the script never sees, and with a bound on size and time.

mod address;
mod secrets;

use std::{net::IpAddr, sync::Arc, time::Duration};

use reqwest::{
    Client, Method,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue},
};
use triggerbox_model::{
    call::{HttpRequest, HttpResponse},
    error::{Error, ErrorKind},
    grants::Authority,
    outbound::is_method,
};
use url::{Host, Url};

pub use self::{address::Lookup, secrets::Bound};
use self::{address::OutOfReach, secrets::Secrets};
pub(crate) use self::{
    address::{Guarded, Reach},
    secrets::place,
};
use crate::{
    config::{ConfigError, HeaderSecret},
    read,
};

/// The largest answer that is read, in bytes.
pub const LARGEST_ANSWER: usize = 4 << 20;
/// How long one request may take.
pub const LONGEST: Duration = Duration::from_secs(10);
/// Headers that a script may set. A map of them takes no more than some ten thousand.
const MOST_HEADERS: usize = 256;
/// Headers that belong to the connection, not to the script; and those that would have an answer come packed or in parts,
/// where no secret is found in it.
pub(crate) const OURS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "accept-encoding",
    "range",
    "if-range",
];

/// Sends requests of scripts. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    public: Client,
    private: Client,
    secrets: Arc<Secrets>,
}

/// A request that is granted and complete.
pub struct Prepared {
    method: Method,
    url: Url,
    headers: HeaderMap,
    reach: Reach,
    /// A secret was filled in.
    secret: bool,
    /// It may be sent twice: it only reads, or says how the service can tell.
    pub repeatable: bool,
}

/// A request that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// What the script is told.
    pub error: Error,
    /// Whether it may have arrived all the same.
    pub may_have_arrived: bool,
    /// Whether it may go better after a while without anybody doing anything.
    pub passes: bool,
}

impl Web {
    /// Reads the secrets and prepares the connections. `lookup` is the system's when absent.
    ///
    /// # Errors
    /// A secret cannot be read; this machine has no TLS.
    pub fn new(
        secrets: &[HeaderSecret],
        env: &dyn Fn(&str) -> Option<String>,
        lookup: Option<Lookup>,
    ) -> Result<Self, ConfigError> {
        let client = |reach| {
            let builder = read::client_builder().timeout(LONGEST);
            let resolver = Arc::new(Guarded { reach, lookup: lookup.clone() });
            builder.dns_resolver(resolver).build().map_err(|error| ConfigError::Tls(read::reason(&error)))
        };
        Ok(Self {
            public: client(Reach::Public)?,
            private: client(Reach::Private)?,
            secrets: Arc::new(Secrets::load(secrets, env)?),
        })
    }

    /// The same with more secrets. Of one name those count that there are already.
    #[must_use]
    pub fn with(&self, more: &[Bound]) -> Self {
        Self { secrets: Arc::new(self.secrets.and(more)), ..self.clone() }
    }

    /// Judges a request and fills in its secrets; nothing is sent.
    ///
    /// # Errors
    /// What the script is told.
    pub fn prepare(&self, authority: &Authority, request: &HttpRequest) -> Result<Prepared, Error> {
        let url = Url::parse(&request.url)
            .map_err(|error| Error::invalid("bad-url", format!("the request's address: {error}; write it in full")))?;
        let method = match is_method(&request.method) {
            true => Method::from_bytes(request.method.as_bytes()).ok(),
            false => None,
        };
        let method = method.ok_or_else(|| {
            Error::invalid("bad-method", format!("`{}` is no method; they are upper case", request.method))
        })?;
        for (place, text) in [("address", request.url.as_bytes()), ("body", request.body.as_slice())] {
            if self.secrets.are_named_in(text) {
                let text = format!("the {place} names a secret: secrets go into the headers that they are bound to");
                return Err(Error::denied("secret-refused", text));
            }
        }
        let private = authority.allow_http(&request.method, &url)?;
        let reach = if private { Reach::Private } else { Reach::Public };
        if let Some(address) = literal(&url)
            && !reach.allows(address)
        {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(out_of_reach(&OutOfReach { host, address }));
        }
        if request.headers.len() > MOST_HEADERS {
            let text = format!("the request has {} headers; at most {MOST_HEADERS} are sent", request.headers.len());
            return Err(Error::invalid("bad-header", text));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                .ok()
                .filter(|name| !OURS.contains(&name.as_str()))
                .ok_or_else(|| Error::invalid("bad-header", format!("`{name}` is no header that a script may set")))?;
            headers.append(name.clone(), self.secrets.fill(&url, &name, value)?);
        }
        let secret = headers.values().any(HeaderValue::is_sensitive);
        let repeatable = method.is_safe() || headers.contains_key("idempotency-key");
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Prepared { method, url, headers, reach, secret, repeatable })
    }

    /// Sends it and reads the answer, whatever its status. Redirects are answers. Dropping the future ends it.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn send(&self, prepared: Prepared, body: Vec<u8>) -> Result<HttpResponse, SendError> {
        let Prepared { method, url, headers, reach, secret, .. } = prepared;
        let host = secrets::place(&url);
        let client = if reach == Reach::Private { &self.private } else { &self.public };
        let no_body = method == Method::HEAD;
        let failed = |error: &reqwest::Error| send_error(&host, error);
        let sent = client.request(method, url).headers(headers).body(body).send().await;
        let response = sent.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let packed = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if secret && response.headers().get_all(CONTENT_ENCODING).iter().any(packed) {
            let text = format!("`{host}` packed its answer, in which the secret that it was sent cannot be looked for");
            let error = Error::unavailable("http-answer-packed", text);
            return Err(SendError { error, may_have_arrived: true, passes: false });
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(&self.secrets.scrub(bytes.to_vec())).into_owned();
        let headers =
            response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect();
        let body = match no_body {
            true => Some(Vec::new()),
            false => read::body(response, LARGEST_ANSWER).await.map_err(|error| failed(&error))?,
        };
        let body = body.ok_or_else(|| SendError {
            error: Error::unavailable(
                "http-answer-too-large",
                format!("`{host}` answered with more than {LARGEST_ANSWER} bytes"),
            ),
            may_have_arrived: true,
            passes: false,
        })?;
        Ok(HttpResponse { status, headers, body: self.secrets.scrub(body) })
    }
}

/// The address that a URL names by number.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// Why no request gets to a host, by how the host is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It is not a public address: a private grant opens it.
    UnlessPrivate,
    /// Nothing opens it: a link-local address, where clouds keep their keys, or one of nobody.
    Always,
}

/// Whether the host of an address is closed whatever comes; none: it is public, or a name that is judged by where it leads when
/// it is connected to.
#[must_use]
pub fn closed(url: &Url) -> Option<Closed> {
    match literal(url) {
        Some(address) if Reach::Public.allows(address) => None,
        Some(address) if Reach::Private.allows(address) => Some(Closed::UnlessPrivate),
        Some(_) => Some(Closed::Always),
        None => {
            let host = url.host_str()?;
            (host == "localhost" || host.ends_with(".localhost")).then_some(Closed::UnlessPrivate)
        }
    }
}

fn out_of_reach(refused: &OutOfReach) -> Error {
    Error::denied("address-refused", refused.to_string())
}

/// The address that a name led to, and that was not connected to.
pub(crate) fn refused(error: &reqwest::Error) -> Option<&OutOfReach> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<OutOfReach>() {
            return Some(refused);
        }
        cause = inner.source();
    }
    None
}

fn send_error(host: &str, error: &reqwest::Error) -> SendError {
    if let Some(refused) = refused(error) {
        return SendError { error: out_of_reach(refused), may_have_arrived: false, passes: false };
    }
    let why = read::reason(error);
    let (code, text, may_have_arrived) = if error.is_connect() {
        ("http-unreachable", format!("`{host}` cannot be reached: {why}"), false)
    } else if error.is_timeout() {
        ("http-timeout", format!("`{host}` gave no whole answer in {} s", LONGEST.as_secs()), true)
    } else if error.is_builder() {
        return SendError {
            error: Error::invalid("bad-request", format!("the request to `{host}` cannot be made: {why}")),
            may_have_arrived: false,
            passes: false,
        };
    } else {
        ("http-cut-off", format!("`{host}` broke off its answer: {why}"), true)
    };
    SendError { error: Error::new(ErrorKind::Unavailable, code, text), may_have_arrived, passes: true }
}
