//! Chat completions, as OpenAI and the many servers that speak its protocol have them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use triggerbox_model::call::{Completion, Finish, LlmMessage, LlmRequest, LlmUsage, ToolCall, ToolResult};

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

pub(super) fn body(
    provider: &Provider,
    model: &Model,
    request: &LlmRequest,
    messages: &str,
) -> Result<String, AskError> {
    let mut body = Object::new();
    body.put("model", &model.name);
    let schema = answer_schema(request)?;
    match schema {
        Some(schema) if provider.structured == Structured::Prompt => {
            let words = item(&Message::Plain { role: "user", content: &in_words(&schema) });
            let comma = if messages.is_empty() { "" } else { "," };
            body.put_json("messages", &format!("[{messages}{comma}{words}]"));
        }
        Some(schema) => {
            let named = json!({ "name": "answer", "schema": schema });
            body.put("response_format", &json!({ "type": "json_schema", "json_schema": named }));
            body.put_json("messages", &format!("[{messages}]"));
        }
        None => body.put_json("messages", &format!("[{messages}]")),
    }
    body.put(&model.max_output_field, &price::output_bound(model, request));
    if let Some(temperature) = request.temperature {
        body.put("temperature", &temperature);
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let mut function = Object::new();
            function.put("name", &tool.name);
            function.put("description", &tool.description);
            function.put_json("parameters", tool_schema(tool)?);
            Ok(format!(r#"{{"type":"function","function":{}}}"#, function.end()))
        });
        body.put_json("tools", &list(&tools.collect::<Result<Vec<_>, AskError>>()?));
    }
    Ok(body.end())
}

/// A message of theirs.
#[derive(Serialize)]
#[serde(untagged)]
enum Message<'r> {
    Plain { role: &'static str, content: &'r str },
    Calls { role: &'static str, content: Option<&'r str>, tool_calls: Vec<Call<'r>> },
    Result { role: &'static str, tool_call_id: &'r str, content: Cow<'r, str> },
}

#[derive(Serialize)]
struct Call<'r> {
    id: &'r str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'r>,
}

impl<'r> Call<'r> {
    fn of(call: &'r ToolCall) -> Self {
        let ToolCall { id, name, arguments_json: arguments } = call;
        Self { id, kind: "function", function: Function { name, arguments } }
    }
}

#[derive(Serialize)]
struct Function<'r> {
    name: &'r str,
    arguments: &'r str,
}

/// A message as JSON. One of ours is several of theirs where it answers several tool calls.
pub(super) fn items(message: &LlmMessage) -> Vec<String> {
    let plain = |role, content| vec![item(&Message::Plain { role, content })];
    match message {
        LlmMessage::System(text) => plain("system", text),
        LlmMessage::User(text) => plain("user", text),
        LlmMessage::Assistant(text) => plain("assistant", text),
        LlmMessage::AssistantCalls(text, calls) => {
            let content = Some(text.as_str()).filter(|text| !text.is_empty());
            let tool_calls = calls.iter().map(Call::of).collect();
            vec![item(&Message::Calls { role: "assistant", content, tool_calls })]
        }
        LlmMessage::ToolResults(results) => {
            let result = |result: &ToolResult| {
                item(&Message::Result {
                    role: "tool",
                    tool_call_id: &result.call_id,
                    // The protocol has no mark for a call that failed.
                    content: match result.is_error {
                        true => format!("error: {}", result.content).into(),
                        false => result.content.as_str().into(),
                    },
                })
            };
            results.iter().map(result).collect()
        }
    }
}

pub(super) fn parse(answer: &Value) -> Result<Parsed, String> {
    let choice = answer.pointer("/choices/0").ok_or("it has no `choices`")?;
    let message = choice.get("message").filter(|message| message.is_object()).ok_or("its choice has no `message`")?;
    let refusal = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty());
    let stop = choice.get("finish_reason").and_then(Value::as_str);
    let calls = match message.get("tool_calls") {
        // The last of them is not whole.
        _ if stop == Some("length") => Vec::new(),
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(calls)) => calls.iter().enumerate().map(tool_call).collect::<Result<_, _>>()?,
        Some(_) => return Err("its `tool_calls` are no list".to_owned()),
    };
    let finish = match stop {
        _ if refusal.is_some() => Finish::Refused,
        _ if !calls.is_empty() => Finish::ToolCalls,
        Some("stop") | None => Finish::Stop,
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::Refused,
        Some(_) => Finish::Other,
    };
    let content = message.get("content").unwrap_or(&Value::Null);
    let content = match (refusal, content) {
        (Some(refusal), _) => refusal.to_owned(),
        (None, Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")).map(text).collect(),
        (None, Value::String(text)) => text.clone(),
        (None, Value::Null) => String::new(),
        _ => return Err("its `content` is no text".to_owned()),
    };
    let count = |name: &str| answer.pointer(&format!("/usage/{name}")).and_then(Value::as_u64);
    let model = answer.get("model").map(text).unwrap_or_default();
    let usage = LlmUsage { input_tokens: 0, output_tokens: 0, cost: 0.0, currency: String::new() };
    Ok(Parsed {
        completion: Completion { text: content, calls, finish, usage, model },
        tokens: count("prompt_tokens").zip(count("completion_tokens")),
    })
}

fn tool_call((index, call): (usize, &Value)) -> Result<ToolCall, String> {
    let function = call.get("function").ok_or("a tool call has no `function`")?;
    let name = function.get("name").and_then(Value::as_str).ok_or("a tool call has no name")?;
    let arguments_json = match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        // Some servers send the object itself.
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => "{}".to_owned(),
    };
    let id = call.get("id").and_then(Value::as_str).map_or_else(|| format!("call-{index}"), str::to_owned);
    Ok(ToolCall { id, name: name.to_owned(), arguments_json })
}
