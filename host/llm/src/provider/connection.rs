//! One provider: sends a request, waits for its turn, tries again where that may help, and reads no more than it must.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;
use tokio::sync::Semaphore;
use triggerbox_model::call::LlmRequest;
use url::Url;

use super::{Asked, Written, anthropic, body, pace::Pace, parse};
use crate::{
    clock::Clock,
    config::{ConfigError, Kind, Model, Provider},
    error::AskError,
    http::{Guarded, Reach, refused},
    price, read,
    secret::Secret,
    setting::Sound,
};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 8 << 20;
/// Of an answer that says what went wrong, this much is read.
const LARGEST_ERROR: usize = 64 << 10;
/// Longer than this nobody waits for a turn: the run is told, and may come again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A provider that can be asked.
pub struct Connection {
    provider: Provider,
    /// Euros for one unit of the provider's currency.
    rate: f64,
    client: Client,
    url: Url,
    key: Option<(HeaderName, HeaderValue)>,
    secret: Option<Secret>,
    room: Semaphore,
    paces: Mutex<Paces>,
    clock: Arc<dyn Clock>,
}

struct Paces {
    requests: Option<Pace>,
    tokens: Option<Pace>,
}

impl Connection {
    /// Prepares a provider of the file, wherever it is; nothing is sent.
    ///
    /// # Errors
    /// Its key cannot be read or sent; this machine has no TLS.
    pub fn new(
        provider: &Provider,
        rate: f64,
        clock: Arc<dyn Clock>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let what = format!("provider `{}`", provider.name);
        let secret = provider.key.as_ref().map(|key| key.read(&what, env)).transpose()?;
        Self::within(None, provider, rate, secret, clock)
    }

    /// Prepares a provider that was set while the host runs; nothing is sent. Only what is within its reach is connected to.
    ///
    /// # Errors
    /// Its key cannot be sent; this machine has no TLS.
    pub fn set(sound: &Sound, key: Option<Secret>, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        Self::within(Some(sound.reach), &sound.provider, sound.rate, key, clock)
    }

    fn within(
        reach: Option<Reach>,
        provider: &Provider,
        rate: f64,
        secret: Option<Secret>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let key = secret.as_ref().map(|secret| key_header(provider, secret)).transpose()?;
        let mut client = read::client_builder().timeout(Duration::from_secs(provider.timeout));
        if let Some(reach) = reach {
            client = client.dns_resolver(Arc::new(Guarded { reach, lookup: None }));
        }
        let client = client.build().map_err(|error| ConfigError::Tls(read::reason(&error)))?;
        let mut url = provider.base_url.clone();
        let path = match provider.kind {
            Kind::Openai => "chat/completions",
            Kind::Anthropic => "messages",
        };
        url.set_path(&format!("{}/{path}", provider.base_url.path().trim_end_matches('/')));
        let now = clock.now();
        let pace = |limit: Option<u32>| limit.map(|per_minute| Pace::new(per_minute, now));
        Ok(Self {
            rate,
            client,
            url,
            key,
            secret,
            room: Semaphore::new(usize::try_from(provider.concurrent).unwrap_or(1)),
            paces: Mutex::new(Paces {
                requests: pace(provider.requests_per_minute),
                tokens: pace(provider.tokens_per_minute),
            }),
            clock,
            provider: provider.clone(),
        })
    }

    /// Which provider it is.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Asks a model once, with as many tries as the provider's configuration allows; `tries` counts them. After one that may
    /// have cost, it is whoever pays who asks again. Dropping the future ends it.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(
        &self,
        model: &Model,
        request: &LlmRequest,
        written: &mut Written,
        tries: &mut u32,
    ) -> Result<Asked, AskError> {
        let body = body(&self.provider, model, request, written)?;
        let worst = price::worst_case(model, self.rate, request).tokens;
        // The semaphore is never closed.
        let _room = self.room.acquire().await.ok();
        loop {
            self.turn(worst).await?;
            *tries += 1;
            let (error, asked_to_wait) = match self.once(body.clone()).await {
                Ok(answer) => return parse(&self.provider, model, self.rate, request, &answer).map(Asked::Answered),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow { error, wait }) => (error, wait),
            };
            let wait = asked_to_wait.unwrap_or_else(|| back_off(*tries));
            let error = match error {
                AskError::Failed { provider, status, .. } => {
                    AskError::Failed { provider, status, tries: *tries, wait: asked_to_wait }
                }
                AskError::RateLimited { provider, .. } => AskError::RateLimited { provider, wait },
                other => other,
            };
            if *tries > self.provider.retries || wait > LONGEST_WAIT {
                return Err(error);
            }
            self.clock.sleep(wait).await;
            if error.may_have_cost() {
                return Ok(Asked::Lost(error));
            }
        }
    }

    /// Waits until the rate limits allow another request.
    async fn turn(&self, tokens: u64) -> Result<(), AskError> {
        let wait = self.reserve(tokens);
        if wait > LONGEST_WAIT {
            return Err(AskError::RateLimited { provider: self.provider.name.clone(), wait });
        }
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        Ok(())
    }

    fn reserve(&self, tokens: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "no call has 2^52 tokens")]
        let tokens = tokens as f64;
        let now = self.clock.now();
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let Paces { requests, tokens: pace } = &mut *paces;
        let mut paces: Vec<_> =
            [(requests, 1.0), (pace, tokens)].into_iter().filter_map(|(pace, n)| Some((pace.as_mut()?, n))).collect();
        let wait = paces.iter_mut().map(|(pace, amount)| pace.wait(*amount, now)).max().unwrap_or_default();
        if wait > LONGEST_WAIT {
            return paces.iter_mut().map(|(pace, amount)| pace.promise(*amount)).max().unwrap_or(wait);
        }
        paces.iter_mut().for_each(|(pace, amount)| pace.take(*amount));
        wait
    }

    /// One try. Whatever the provider says, our key is not in the answer.
    async fn once(&self, body: String) -> Result<Vec<u8>, Failed> {
        let response = self.request(body).send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return match read::body(response, LARGEST_ANSWER).await {
                Ok(Some(bytes)) => Ok(match &self.secret {
                    Some(secret) => secret.scrub_bytes(bytes),
                    None => bytes,
                }),
                Ok(None) => Err(Failed::ForGood(AskError::TooLarge { provider: self.name(), max: LARGEST_ANSWER })),
                Err(error) => Err(self.broken(&error)),
            };
        }
        Err(self.refused(status, response).await)
    }

    fn request(&self, body: String) -> RequestBuilder {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.provider.kind == Kind::Anthropic {
            headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
        }
        if let Some((name, value)) = &self.key {
            headers.insert(name, value.clone());
        }
        self.client.post(self.url.clone()).headers(headers).body(body)
    }

    /// No answer, or only a part of one.
    fn broken(&self, error: &reqwest::Error) -> Failed {
        let provider = self.name();
        if let Some(out) = refused(error) {
            let why = format!("its name leads to {}, and it is not set as a private one", out.address);
            return Failed::ForGood(AskError::Unreachable { provider, why });
        }
        let why = read::reason(error);
        if error.is_connect() {
            // Nothing was sent: trying again costs nothing.
            return Failed::ForNow { error: AskError::Unreachable { provider, why }, wait: None };
        }
        Failed::ForGood(match error.is_timeout() {
            true => AskError::Timeout { provider, seconds: self.provider.timeout },
            false => AskError::CutOff { provider, why },
        })
    }

    /// An answer that says no.
    async fn refused(&self, status: StatusCode, response: Response) -> Failed {
        let provider = self.name();
        let code = status.as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = header.and_then(|text| read::retry_after(text, self.clock.now()));
        match code {
            429 => {
                let error = AskError::RateLimited { provider, wait: wait.unwrap_or_default() };
                Failed::ForNow { error, wait }
            }
            408 | 500..=599 => {
                Failed::ForNow { error: AskError::Failed { provider, status: code, tries: 0, wait }, wait }
            }
            401 | 403 => Failed::ForGood(AskError::KeyRefused { provider, status: code }),
            300..=399 => {
                let message = "it sends us elsewhere; set `base-url` to where it answers itself".to_owned();
                Failed::ForGood(AskError::Refused { provider, status: code, message })
            }
            _ => {
                let body = read::body(response, LARGEST_ERROR).await.ok().flatten().unwrap_or_default();
                Failed::ForGood(AskError::Refused { provider, status: code, message: self.message(&body) })
            }
        }
    }

    /// What a refusal says, in short and without our key.
    fn message(&self, body: &[u8]) -> String {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let said = answer.pointer("/error/message").or_else(|| answer.get("message")).or_else(|| answer.get("error"));
        let text = said.and_then(Value::as_str).unwrap_or("it does not say why");
        let text = self.secret.as_ref().map_or_else(|| text.to_owned(), |secret| secret.scrub(text));
        text.chars().filter(|c| !c.is_control()).take(300).collect()
    }

    fn name(&self) -> String {
        self.provider.name.clone()
    }
}

/// Why one try came to nothing.
enum Failed {
    /// It would fail again.
    ForGood(AskError),
    /// It may go better after a while; the provider may say how long.
    ForNow { error: AskError, wait: Option<Duration> },
}

fn key_header(provider: &Provider, secret: &Secret) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let invalid = |problem: &str| {
        let place = format!("provider `{}`", provider.name);
        ConfigError::Invalid { place, problem: problem.to_owned() }
    };
    let (name, value) = match (&provider.key_header, provider.kind) {
        (Some(name), _) => (name.as_str(), secret.expose().to_owned()),
        (None, Kind::Openai) => ("authorization", format!("Bearer {}", secret.expose())),
        (None, Kind::Anthropic) => ("x-api-key", secret.expose().to_owned()),
    };
    let name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("`key-header` is not the name of a header"))?;
    let mut value =
        HeaderValue::try_from(value).map_err(|_| invalid("its key holds characters that no header takes"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Half a second, doubled with every try, up to half a minute; with jitter, so that many runs do not come at once.
fn back_off(tries: u32) -> Duration {
    let longest =
        Duration::from_millis(500).saturating_mul(1 << tries.saturating_sub(1).min(6)).min(Duration::from_secs(30));
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, config::Config};

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "[[providers]]\nname = \"one\"\nkind = \"openai\"\nbase-url = \"http://localhost:{}/v1\"\nretries = 4\n\
             [[providers.models]]\nname = \"small\"\ninput-price = 1.0\noutput-price = 1.0\n",
            listener.local_addr().unwrap().port()
        );
        let config = Config::parse(&text).unwrap();
        let (provider, model) = config.find(None).unwrap();
        let connection = Connection::within(Some(Reach::Public), provider, 1.0, None, Arc::new(SystemClock)).unwrap();
        let request = LlmRequest {
            model: None,
            messages: Vec::new(),
            tools: Vec::new(),
            output_schema: None,
            temperature: None,
            max_tokens: None,
        };
        let error = connection.ask(model, &request, &mut Written::default(), &mut 0).await.unwrap_err();
        assert!(
            matches!(&error, AskError::Unreachable { why, .. } if why.contains("not set as a private one")),
            "{error:?}"
        );
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody connected");
    }
}
