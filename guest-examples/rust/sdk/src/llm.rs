//! Asking a language model. Provider, key, prices and budgets are the host's; fails with
//! `llm-not-configured` while there is no provider.

use serde::de::DeserializeOwned;

use crate::{Error, bindings::triggerbox::automation::llm as host, model::parse_json};

pub use host::{Completion, Finish, Message, Request, Tool, ToolCall, ToolResult, Usage};

/// One question, one answer, with the rule's model.
pub fn ask(question: impl Into<String>) -> Result<String, Error> {
    Ok(Request::new().user(question).complete()?.text)
}

impl Request {
    /// An empty conversation with the rule's model.
    pub fn new() -> Self {
        Self {
            model: None,
            messages: Vec::new(),
            tools: Vec::new(),
            output_schema: None,
            temperature: None,
            max_tokens: None,
        }
    }

    /// Standing instructions.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(Message::System(text.into()))
    }

    /// What is asked.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Message::User(text.into()))
    }

    /// Any turn of the conversation.
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Another model than the rule's.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Something the model may ask for; the schema is a JSON Schema of the arguments.
    pub fn tool(mut self, name: impl Into<String>, description: impl Into<String>, schema: &serde_json::Value) -> Self {
        let parameters_schema = schema.to_string();
        self.tools.push(Tool { name: name.into(), description: description.into(), parameters_schema });
        self
    }

    /// The answer must be JSON that satisfies this JSON Schema; the host checks it.
    pub fn answer_schema(mut self, schema: &serde_json::Value) -> Self {
        self.output_schema = Some(schema.to_string());
        self
    }

    /// 0 for the most predictable answers.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// The longest answer.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Asks.
    pub fn complete(&self) -> Result<Completion, Error> {
        host::complete(self)
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Completion {
    /// The answer as data, for a request with an [`answer_schema`](Request::answer_schema).
    pub fn answer<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse_json(&self.text)
    }
}

impl ToolCall {
    /// What the model passes to the tool.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse_json(&self.arguments_json)
    }

    /// The answer to this call.
    pub fn result(&self, content: impl Into<String>) -> ToolResult {
        ToolResult { call_id: self.id.clone(), content: content.into(), is_error: false }
    }

    /// The answer to this call, if it could not be done.
    pub fn failure(&self, reason: impl Into<String>) -> ToolResult {
        ToolResult { is_error: true, ..self.result(reason) }
    }
}
