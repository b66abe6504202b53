//! Asking a model over HTTP: one connection for each provider, with its limits, retries and protocol.

mod anthropic;
mod connection;
mod object;
mod openai;
mod pace;

use serde::de::IgnoredAny;
use serde_json::Value;
use triggerbox_model::call::{Completion, LlmMessage, LlmRequest, LlmUsage, Tool};

pub use self::connection::Connection;
use crate::{
    config::{Kind, Model, Provider},
    error::AskError,
    price,
};

/// What a protocol's answer says, before prices.
#[derive(Debug, Clone, PartialEq)]
struct Parsed {
    completion: Completion,
    /// Tokens in and out, where the provider counts them.
    tokens: Option<(u64, u64)>,
}

/// A model's answer, and what it used.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The answer; its usage in euros.
    pub completion: Completion,
    /// For the ledger.
    pub tokens: u64,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// The answer.
    Answered(Answered),
    /// The provider failed, and may have charged for it. It may be asked again at once: the wait is over.
    Lost(AskError),
}

/// A conversation as a provider is sent it. Each message is written once, however often the conversation goes on.
#[derive(Debug, Default)]
pub struct Written {
    provider: String,
    messages: usize,
    /// Items of a list, without the brackets.
    json: String,
}

impl Written {
    /// The next question is of another conversation.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The messages of a question that goes on with what was written.
    fn take(&mut self, provider: &Provider, messages: &[LlmMessage]) -> &str {
        if self.provider != provider.name || self.messages > messages.len() {
            *self = Self { provider: provider.name.clone(), ..Self::default() };
        }
        for message in messages.get(self.messages..).unwrap_or_default() {
            let items = match provider.kind {
                Kind::Openai => openai::items(message),
                Kind::Anthropic => anthropic::items(message),
            };
            for item in items {
                if !self.json.is_empty() {
                    self.json.push(',');
                }
                self.json.push_str(&item);
            }
        }
        self.messages = messages.len();
        &self.json
    }
}

/// The body of a request, in the provider's protocol.
fn body(provider: &Provider, model: &Model, request: &LlmRequest, written: &mut Written) -> Result<String, AskError> {
    let messages = written.take(provider, &request.messages);
    match provider.kind {
        Kind::Openai => openai::body(provider, model, request, messages),
        Kind::Anthropic => anthropic::body(provider, model, request, messages),
    }
}

/// Reads an answer in the provider's protocol. What it does not count is taken at its worst case.
fn parse(
    provider: &Provider,
    model: &Model,
    rate: f64,
    request: &LlmRequest,
    body: &[u8],
) -> Result<Answered, AskError> {
    let malformed = |why: String| AskError::Malformed { provider: provider.name.clone(), why };
    let answer: Value = serde_json::from_slice(body).map_err(|error| malformed(format!("it is no JSON: {error}")))?;
    let parsed = match provider.kind {
        Kind::Openai => openai::parse(&answer),
        Kind::Anthropic => anthropic::parse(&answer, request),
    };
    let Parsed { mut completion, tokens } = parsed.map_err(malformed)?;
    let (input, output) = tokens.unwrap_or_else(|| {
        let output = u64::from(price::output_bound(model, request));
        (price::worst_case(model, rate, request).tokens.saturating_sub(output), output)
    });
    let count = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    completion.usage = LlmUsage {
        input_tokens: count(input),
        output_tokens: count(output),
        cost: price::cost(model, rate, input, output),
        currency: "EUR".to_owned(),
    };
    if completion.model.is_empty() {
        completion.model.clone_from(&model.name);
    }
    Ok(Answered { completion, tokens: input.saturating_add(output) })
}

/// The schema of a tool's arguments.
fn tool_schema(tool: &Tool) -> Result<&str, AskError> {
    schema(&tool.parameters_schema).map_err(|why| AskError::BadRequest(format!("the tool `{}`: {why}", tool.name)))
}

/// A schema's text, which is a JSON object.
fn schema(text: &str) -> Result<&str, String> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) if text.trim_start().starts_with('{') => Ok(text),
        Ok(_) => Err("its schema is no JSON object".to_owned()),
        Err(error) => Err(format!("its schema is no JSON: {error}")),
    }
}

/// The schema of the answer, if there is one.
fn answer_schema(request: &LlmRequest) -> Result<Option<Value>, AskError> {
    let text = request.output_schema.as_deref().map(schema).transpose();
    let text = text.map_err(|why| AskError::BadRequest(format!("the answer: {why}")))?;
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

/// A schema in words, for servers that know no other.
fn in_words(schema: &Value) -> String {
    format!("Answer with one JSON value that satisfies this JSON Schema, and with nothing else:\n{schema}")
}

/// A field of an answer as text; empty if it is not there.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
