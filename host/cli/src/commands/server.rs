//! A running server, asked over its API.

use std::{fmt, time::Duration};

use anyhow::Context;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, redirect::Policy};
use serde_json::Value as Json;

use crate::exit::{Exit, Failure, OrExit};

/// Where the token is.
const TOKEN: &str = "TRIGGERBOX_TOKEN";
/// A server compiles what is pushed before it answers.
const LONGEST: Duration = Duration::from_secs(300);

pub(super) struct Server {
    client: Client,
    base: String,
    token: String,
}

impl Server {
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let token =
            std::env::var(TOKEN).with_context(|| format!("{TOKEN} is not set; `triggerbox token create` makes one"))?;
        // Fails when it is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A token never follows a redirect.
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(LONGEST).build()?;
        Ok(Self { client, base: format!("{}/api/v1", url.trim_end_matches('/')), token })
    }

    pub(super) fn to(&self, method: Method, path: &str, query: &[(&str, &str)]) -> anyhow::Result<RequestBuilder> {
        let mut address = Url::parse(&format!("{}/{path}", self.base)).context("the server's address")?;
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, address).bearer_auth(&self.token))
    }
}

/// A request with a JSON body.
pub(super) fn with_json(request: RequestBuilder, body: &Json) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// A server's no.
#[derive(Debug)]
pub(super) struct No {
    status: StatusCode,
    /// What it says.
    pub(super) problem: Json,
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.problem.get("detail").or_else(|| self.problem.get("title")).and_then(Json::as_str);
        match why {
            Some(why) => write!(f, "the server answered {}: {why}", self.status),
            None => write!(f, "the server answered {}; is this the address of a Triggerbox server?", self.status),
        }
    }
}

impl std::error::Error for No {}

impl No {
    /// How it ends a command.
    pub(super) fn failure(self) -> Failure {
        let exit = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Policy,
            status if status.is_server_error() => Exit::Backend,
            _ => Exit::Usage,
        };
        Failure { exit, error: self.into() }
    }
}

/// What a server answers; an error is its own words.
pub(super) async fn ask(request: RequestBuilder) -> Result<Json, Failure> {
    ask_or_hear(request).await?.map_err(No::failure)
}

/// The same, for those who want to know why not.
pub(super) async fn ask_or_hear(request: RequestBuilder) -> Result<Result<Json, No>, Failure> {
    let answer = request.send().await.context("the server cannot be reached").or_exit(Exit::Backend)?;
    let status = answer.status();
    let body = answer.bytes().await.context("the server cannot be reached").or_exit(Exit::Backend)?;
    let body: serde_json::Result<Json> = serde_json::from_slice(&body);
    match status.is_success() {
        // Whatever else listens there says yes to anything.
        true => Ok(Ok(body.context("what answered there is no Triggerbox server")?)),
        false => Ok(Err(No { status, problem: body.unwrap_or_default() })),
    }
}
