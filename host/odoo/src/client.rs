//! One JSON-2 call: `POST /json/2/<model>/<method>` with a user's key, within limits of time, size and number.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Client as Http, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect,
};
use rustls::CertificateError as Why;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use triggerbox_model::error::Error;
use url::Url;

use crate::{
    backend::refusal,
    config::{Config, ConfigError, Key, Source, UserConfig, is_method, is_name},
    error::{OdooError, Told, refused},
    value,
};

/// Of an answer that says what went wrong, this much is read.
const LARGEST_ERROR: usize = 1 << 20;

/// Whether a call may be sent again when nobody knows whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It changes nothing, or a repetition changes nothing more.
    Safe,
    /// It is sent once more only if it was not sent at all.
    Never,
}

/// The way to one Odoo server.
#[derive(Debug)]
pub struct Client {
    http: Http,
    url: Url,
    database: String,
    room: Semaphore,
    timeout: Duration,
    retries: u32,
    wait: Duration,
    largest: usize,
}

impl Client {
    /// Prepares the way; nothing is sent.
    ///
    /// # Errors
    /// This machine has no TLS.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        // Fails when it is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10).min(Duration::from_secs(config.timeout)))
            // Odoo closes after each answer; a connection that is kept only delays the next call.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("triggerbox/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ConfigError(format!("cannot use TLS: {}", reason(&error))))?;
        Ok(Self {
            http,
            url: config.url.clone(),
            database: config.database.clone(),
            room: Semaphore::new(config.concurrent),
            timeout: Duration::from_secs(config.timeout),
            retries: config.retries,
            wait: Duration::from_millis(config.retry_wait),
            largest: config.largest_answer,
        })
    }

    /// Calls a method as the owner of a key.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn call(&self, caller: &Caller, model: &str, method: &str, body: &Json) -> Result<Json, OdooError> {
        self.call_as(caller, model, method, body, Again::Safe, self.timeout).await
    }

    /// Calls a method, with a say in repetition and time.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn call_as(
        &self,
        caller: &Caller,
        model: &str,
        method: &str,
        body: &Json,
        again: Again,
        timeout: Duration,
    ) -> Result<Json, OdooError> {
        if !is_name(model) || !is_method(method) {
            let told = Told {
                name: "NotFound".to_owned(),
                message: format!("no method {model}.{method}").into(),
                ..Told::default()
            };
            return Err(refused(404, told));
        }
        let body = body.to_string();
        // The semaphore is never closed.
        let _room = self.room.acquire().await.ok();
        let (mut tries, mut key) = (0, caller.key());
        loop {
            let error = match self.once((caller, &key), (model, method), body.clone(), timeout).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Nothing was done then. Where the key is kept, there may be another one by now.
            if matches!(error, OdooError::KeyRefused { .. })
                && let Some(other) = caller.another_key(&key)
            {
                self.check_owner(caller, &other, timeout).await?;
                caller.keep(other.clone());
                key = other;
                continue;
            }
            let unsent = matches!(error, OdooError::Unreachable { .. });
            if tries == self.retries || !error.is_passing() || !(unsent || again == Again::Safe) {
                return Err(error);
            }
            tokio::time::sleep(self.back_off(tries)).await;
            tries += 1;
        }
    }

    /// One request.
    async fn once(
        &self,
        (caller, key): (&Caller, &Key),
        (model, method): (&str, &str),
        body: String,
        timeout: Duration,
    ) -> Result<Json, OdooError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/json/2/{model}/{method}", self.url.path().trim_end_matches('/')));
        match self.http.post(url).headers(self.headers(key)?).body(body).timeout(timeout).send().await {
            Ok(response) => self.read(response, caller, timeout).await,
            Err(error) => Err(self.broken(&error, timeout)),
        }
    }

    /// Whether a key is the caller's, and nobody else's.
    async fn check_owner(&self, caller: &Caller, key: &Key, timeout: Duration) -> Result<(), OdooError> {
        let context = self.once((caller, key), ("res.users", "context_get"), "{}".to_owned(), timeout).await?;
        let uid = context.get("uid").and_then(value::id);
        let body = json!({ "ids": [uid], "fields": ["login"] }).to_string();
        let rows = self.once((caller, key), ("res.users", "read"), body, timeout).await?;
        let owner = rows.pointer("/0/login").and_then(Json::as_str).unwrap_or_default().to_owned();
        match owner == caller.login {
            true => Ok(()),
            false => Err(OdooError::WrongLogin { login: caller.login.clone(), owner }),
        }
    }

    /// The server's version, `19.0`. Takes no key.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn version(&self) -> Result<String, OdooError> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/json/version", self.url.path().trim_end_matches('/')));
        let mut tries = 0;
        let answer = loop {
            let answer = match self.http.get(url.clone()).timeout(self.timeout).send().await {
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    // Odoo has it since 19.
                    return Err(OdooError::OtherVersion { version: "before 19, or not Odoo".to_owned() });
                }
                Ok(response) => self.read(response, &Caller::nobody(), self.timeout).await,
                Err(error) => Err(self.broken(&error, self.timeout)),
            };
            match answer {
                Ok(answer) => break answer,
                Err(error) if tries < self.retries && error.is_passing() => {
                    tokio::time::sleep(self.back_off(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        };
        match answer.get("version").and_then(Json::as_str) {
            Some(version) => Ok(version.chars().filter(|c| !c.is_control()).take(40).collect()),
            None => Err(self.odd("its version is missing".to_owned())),
        }
    }

    fn headers(&self, key: &Key) -> Result<HeaderMap, OdooError> {
        let bad = |what: &str| OdooError::NotSetUp(format!("{what} holds characters that no header takes"));
        let mut key = HeaderValue::try_from(format!("bearer {}", key.expose())).map_err(|_| bad("the key"))?;
        key.set_sensitive(true);
        let database = HeaderValue::try_from(&self.database).map_err(|_| bad("the database's name"))?;
        Ok(HeaderMap::from_iter([
            (AUTHORIZATION, key),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("x-odoo-database"), database),
        ]))
    }

    async fn read(&self, response: Response, caller: &Caller, timeout: Duration) -> Result<Json, OdooError> {
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| self.url.join(to).ok()).map_or_else(|| "nowhere".to_owned(), |to| place(&to));
            return Err(OdooError::Redirected { server: place(&self.url), to });
        }
        let json = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let max = if status.is_success() { self.largest } else { LARGEST_ERROR };
        let body = bounded(response, max).await.map_err(|error| self.broken(&error, timeout))?;
        let body = match body {
            Some(body) => body,
            None if status.is_success() => return Err(OdooError::TooLarge { max }),
            None => Vec::new(),
        };
        if status.is_success() {
            if !json {
                return Err(self.odd("its answer is no JSON".to_owned()));
            }
            return serde_json::from_slice(&body).map_err(|error| self.odd(format!("its answer is no JSON: {error}")));
        }
        Err(self.no(status, json, &body, caller))
    }

    /// An answer that says no.
    fn no(&self, status: StatusCode, json: bool, body: &[u8], caller: &Caller) -> OdooError {
        let code = status.as_u16();
        let told = if json { serde_json::from_slice::<Told>(body).ok() } else { None };
        match (code, told) {
            (401, _) => OdooError::KeyRefused { login: caller.login.clone(), why: caller.why_refused() },
            // Nobody has looked into it then.
            (413, _) => refusal(Error::rejected(
                "changes-too-large",
                "odoo, or a proxy before it, takes no request so large; change less in one run, or have it take more",
            )),
            (_, Some(told)) => refused(code, told),
            (404, None) if String::from_utf8_lossy(body).contains("No database") => {
                OdooError::UnknownDatabase { server: place(&self.url), database: self.database.clone() }
            }
            (429 | 500..=599, None) => {
                let message = "it does not say why".to_owned();
                OdooError::Failed { status: code, class: String::new(), message, traceback: String::new() }
            }
            _ => self.odd(format!("it answers {code} without saying why")),
        }
    }

    fn odd(&self, why: String) -> OdooError {
        OdooError::NotOdoo { server: place(&self.url), why }
    }

    /// No answer, or only a part of one.
    fn broken(&self, error: &reqwest::Error, timeout: Duration) -> OdooError {
        let server = place(&self.url);
        if let Some(why) = certificate(error) {
            return OdooError::Certificate { server, why };
        }
        let why = reason(error);
        match (error.is_connect(), error.is_timeout()) {
            (true, _) => OdooError::Unreachable { server, why },
            (_, true) => OdooError::Timeout { server, seconds: timeout.as_secs() },
            _ => OdooError::CutOff { server, why },
        }
    }

    /// What it comes to that a request, with its repetitions, has no answer after this time; none: it may still come.
    pub(crate) fn silent(&self, waited: Duration) -> Option<OdooError> {
        (waited >= self.timeout).then(|| OdooError::Timeout { server: place(&self.url), seconds: waited.as_secs() })
    }

    /// Doubled with every try; with jitter, so that many runs do not come at once.
    fn back_off(&self, tries: u32) -> Duration {
        self.wait.saturating_mul(1 << tries.min(6)).mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Sign-in name, for messages.
    pub login: String,
    /// All who call as them have the same.
    key: Arc<Mutex<Key>>,
    /// The file that the key is in, where it can change.
    file: Option<UserConfig>,
    /// The last day of the key, where it is configured.
    pub(crate) expires: Option<jiff::civil::Date>,
}

impl Caller {
    /// A user with their key.
    #[must_use]
    pub fn new(login: String, key: Key, expires: Option<jiff::civil::Date>) -> Self {
        Self { login, key: Arc::new(Mutex::new(key)), file: None, expires }
    }

    /// The same with what is configured for the user: a key that is in a file is read again when Odoo refuses it.
    #[must_use]
    pub fn configured(self, user: &UserConfig) -> Self {
        let file = Some(user.clone()).filter(|user| matches!(user.key, Source::File(_)));
        Self { file, ..self }
    }

    fn key(&self) -> Key {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, key: Key) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Another key than this one, if there is one by now.
    fn another_key(&self, refused: &Key) -> Option<Key> {
        let is_other = |key: &Key| key.expose() != refused.expose();
        let in_file = || self.file.as_ref()?.read_key(&|_| None).ok();
        Some(self.key()).filter(is_other).or_else(in_file).filter(is_other)
    }

    fn nobody() -> Self {
        Self::new(String::new(), Key::new(String::new()), None)
    }

    /// Odoo says the same of a wrong key, of one that is over and of one that is for something else.
    fn why_refused(&self) -> String {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        match self.expires {
            Some(day) if day <= today => format!("it expired on {day}; make a new one"),
            _ => "it is wrong, was removed, has expired, or is not of the scope `rpc`; look under Preferences, Security in \
                  odoo"
                .to_owned(),
        }
    }
}

/// Host and port: what may be told of an address.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An answer's body, or none if it is larger than `max` bytes. Never holds more than that, and one piece.
async fn bounded(mut response: Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// What is wrong with the server's certificate, if that is why a request failed.
fn certificate(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        // An I/O error does not name the error inside of it as its source.
        let mut inside = at;
        while let Some(deeper) = inside.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            inside = deeper;
        }
        if let Some(rustls::Error::InvalidCertificate(why)) = inside.downcast_ref() {
            return Some(match why {
                Why::UnknownIssuer => {
                    "this machine does not know who issued it; have the issuer's certificate among the machine's own"
                        .to_owned()
                }
                Why::Expired | Why::ExpiredContext { .. } => "it has expired".to_owned(),
                Why::NotValidYet | Why::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
                Why::NotValidForName | Why::NotValidForNameContext { .. } => "it is another server's".to_owned(),
                Why::Revoked => "it was revoked".to_owned(),
                other => other.to_string(),
            });
        }
        cause = at.source();
    }
    None
}

/// Why a request failed: the innermost cause, without the address.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) if error.is_timeout() => "it took too long".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => cause.to_string(),
    }
}
