//! Chat completions, as OpenAI and the many servers that speak its protocol have them.

use serde_json::{Map, Value, json};
use triggerbox_model::call::{Completion, Finish, LlmMessage, LlmRequest, LlmUsage, ToolCall};

use super::{Parsed, answer_schema, in_words, text, tool_schema};
use crate::{
    config::{Model, Provider, Structured},
    error::AskError,
    price,
};

pub(super) fn body(provider: &Provider, model: &Model, request: &LlmRequest) -> Result<Value, AskError> {
    let mut messages: Vec<Value> = request.messages.iter().flat_map(message).collect();
    let mut body = Map::new();
    body.insert("model".into(), json!(model.name));
    if let Some(schema) = answer_schema(request)? {
        match provider.structured {
            Structured::Native => {
                let named = json!({ "name": "answer", "schema": schema });
                body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": named }));
            }
            Structured::Prompt => messages.push(json!({ "role": "user", "content": in_words(&schema) })),
        }
    }
    body.insert("messages".into(), Value::Array(messages));
    body.insert(model.max_output_field.clone(), json!(price::output_bound(model, request)));
    if let Some(temperature) = request.temperature {
        body.insert("temperature".into(), json!(temperature));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let parameters = tool_schema(tool)?;
            let function = json!({ "name": tool.name, "description": tool.description, "parameters": parameters });
            Ok(json!({ "type": "function", "function": function }))
        });
        body.insert("tools".into(), Value::Array(tools.collect::<Result<_, AskError>>()?));
    }
    Ok(Value::Object(body))
}

/// One of ours is several of theirs where it answers several tool calls.
fn message(message: &LlmMessage) -> Vec<Value> {
    let plain = |role: &str, text: &str| vec![json!({ "role": role, "content": text })];
    match message {
        LlmMessage::System(text) => plain("system", text),
        LlmMessage::User(text) => plain("user", text),
        LlmMessage::Assistant(text) => plain("assistant", text),
        LlmMessage::AssistantCalls(text, calls) => {
            let content = if text.is_empty() { Value::Null } else { json!(text) };
            let calls = calls.iter().map(|call| {
                let function = json!({ "name": call.name, "arguments": call.arguments_json });
                json!({ "id": call.id, "type": "function", "function": function })
            });
            vec![json!({ "role": "assistant", "content": content, "tool_calls": calls.collect::<Vec<_>>() })]
        }
        LlmMessage::ToolResults(results) => results
            .iter()
            .map(|result| {
                // The protocol has no mark for a call that failed.
                let content =
                    if result.is_error { format!("error: {}", result.content) } else { result.content.clone() };
                json!({ "role": "tool", "tool_call_id": result.call_id, "content": content })
            })
            .collect(),
    }
}

pub(super) fn parse(answer: &Value) -> Result<Parsed, String> {
    let choice = answer.pointer("/choices/0").ok_or("it has no `choices`")?;
    let message = choice.get("message").filter(|message| message.is_object()).ok_or("its choice has no `message`")?;
    let refusal = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty());
    let calls = match message.get("tool_calls") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(calls)) => calls.iter().enumerate().map(call).collect::<Result<_, _>>()?,
        Some(_) => return Err("its `tool_calls` are no list".to_owned()),
    };
    let finish = match choice.get("finish_reason").and_then(Value::as_str) {
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

fn call((index, call): (usize, &Value)) -> Result<ToolCall, String> {
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
