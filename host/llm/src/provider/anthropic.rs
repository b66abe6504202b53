//! Anthropic's messages.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use triggerbox_model::call::{Completion, Finish, LlmMessage, LlmRequest, LlmUsage, ToolCall};

use super::{
    Parsed, answer_schema, in_words,
    object::{Object, item, list},
    text, tool_schema,
};
use crate::{
    config::{Model, Provider, Structured},
    error::AskError,
    price,
};

/// The version of the protocol that is spoken.
pub(super) const VERSION: &str = "2023-06-01";

/// The tool that stands for an answer with a schema: a model that must call it must fill in the schema.
const ANSWER: &str = "answer";

pub(super) fn body(
    provider: &Provider,
    model: &Model,
    request: &LlmRequest,
    messages: &str,
) -> Result<String, AskError> {
    let system = request.messages.iter().filter_map(|message| match message {
        LlmMessage::System(text) => Some(Cow::from(text)),
        _ => None,
    });
    let mut system: Vec<Cow<'_, str>> = system.collect();
    let tool = |name: &str, description: &str, schema: &str| {
        let mut tool = Object::new();
        tool.put("name", name);
        tool.put("description", description);
        tool.put_json("input_schema", schema);
        tool.end()
    };
    let tools = request.tools.iter().map(|one| Ok(tool(&one.name, &one.description, tool_schema(one)?)));
    let mut tools = tools.collect::<Result<Vec<_>, AskError>>()?;
    let mut body = Object::new();
    body.put("model", &model.name);
    body.put("max_tokens", &price::output_bound(model, request));
    body.put_json("messages", &format!("[{messages}]"));
    if let Some(schema) = answer_schema(request)? {
        if answers_by_tool(provider, request, &schema) {
            tools.push(tool(ANSWER, "Gives the answer.", &schema.to_string()));
            body.put("tool_choice", &json!({ "type": "tool", "name": ANSWER }));
        } else {
            system.push(in_words(&schema).into());
        }
    }
    if !system.is_empty() {
        body.put("system", &system.join("\n\n"));
    }
    if !tools.is_empty() {
        body.put_json("tools", &list(&tools));
    }
    if let Some(temperature) = request.temperature {
        body.put("temperature", &temperature);
    }
    Ok(body.end())
}

/// Only objects can be a tool's input, and a tool that must be called would shut out the others.
fn answers_by_tool(provider: &Provider, request: &LlmRequest, schema: &Value) -> bool {
    provider.structured == Structured::Native
        && request.tools.is_empty()
        && schema.get("type") == Some(&json!("object"))
}

/// A message as JSON; standing instructions go elsewhere.
pub(super) fn items(message: &LlmMessage) -> Vec<String> {
    let turn = |role, content| vec![item(&Turn { role, content })];
    match message {
        LlmMessage::System(_) => Vec::new(),
        LlmMessage::User(text) => turn("user", vec![block(text)]),
        LlmMessage::Assistant(text) => turn("assistant", vec![block(text)]),
        LlmMessage::AssistantCalls(text, calls) => {
            let said = (!text.is_empty()).then(|| block(text));
            let calls = calls.iter().map(|call| Block::ToolUse {
                id: &call.id,
                name: &call.name,
                input: serde_json::from_str(&call.arguments_json).unwrap_or_else(|_| json!({})),
            });
            turn("assistant", said.into_iter().chain(calls).collect())
        }
        LlmMessage::ToolResults(results) => {
            let results = results.iter().map(|result| Block::ToolResult {
                tool_use_id: &result.call_id,
                content: &result.content,
                is_error: result.is_error,
            });
            turn("user", results.collect())
        }
    }
}

#[derive(Serialize)]
struct Turn<'r> {
    role: &'static str,
    content: Vec<Block<'r>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'r> {
    Text { text: &'r str },
    ToolUse { id: &'r str, name: &'r str, input: Value },
    ToolResult { tool_use_id: &'r str, content: &'r str, is_error: bool },
}

/// A text block; the protocol refuses empty ones.
fn block(text: &str) -> Block<'_> {
    Block::Text { text: if text.trim().is_empty() { "(nothing)" } else { text } }
}

pub(super) fn parse(answer: &Value, request: &LlmRequest) -> Result<Parsed, String> {
    let blocks = answer.get("content").and_then(Value::as_array).ok_or("it has no `content`")?;
    let mut said = String::new();
    let mut calls = Vec::new();
    let mut structured = None;
    let stop = answer.get("stop_reason").and_then(Value::as_str);
    let cut = matches!(stop, Some("max_tokens" | "model_context_window_exceeded"));
    for block in blocks {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => said.push_str(&block.get("text").map(text).unwrap_or_default()),
            Some("tool_use") => {
                let name = block.get("name").and_then(Value::as_str).ok_or("a tool call has no name")?;
                let id = block.get("id").and_then(Value::as_str).ok_or("a tool call has no id")?;
                let input = block.get("input").map_or_else(|| "{}".to_owned(), Value::to_string);
                match name {
                    ANSWER if request.tools.is_empty() => structured = Some(input),
                    name => calls.push(ToolCall { id: id.to_owned(), name: name.to_owned(), arguments_json: input }),
                }
            }
            // Thinking and whatever else there may come to be.
            _ => {}
        }
    }
    if cut {
        // The last of them is not whole.
        calls.clear();
    }
    let finish = match stop {
        _ if cut => Finish::Length,
        _ if structured.is_some() => Finish::Stop,
        _ if !calls.is_empty() => Finish::ToolCalls,
        Some("end_turn" | "stop_sequence") => Finish::Stop,
        Some("refusal") => Finish::Refused,
        _ => Finish::Other,
    };
    let count = |name: &str| answer.pointer(&format!("/usage/{name}")).and_then(Value::as_u64);
    // Tokens that went in or came out of the provider's cache are tokens all the same.
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].into_iter().filter_map(count);
    let input = count("input_tokens").map(|input| cached.fold(input, u64::saturating_add));
    let tokens = input.zip(count("output_tokens"));
    let model = answer.get("model").map(text).unwrap_or_default();
    let usage = LlmUsage { input_tokens: 0, output_tokens: 0, cost: 0.0, currency: String::new() };
    Ok(Parsed { completion: Completion { text: structured.unwrap_or(said), calls, finish, usage, model }, tokens })
}
