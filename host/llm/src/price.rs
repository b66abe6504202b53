//! What a call costs: at worst before it is made, and really after it.

use triggerbox_model::{
    call::{LlmMessage, LlmRequest},
    limits::micro_euro,
};

use crate::{budget::Amount, config::Model};

/// Tokens that a protocol adds to each message at most.
const PER_MESSAGE: u64 = 16;
/// Tokens that a provider adds once at most: its own words on how to use tools and schemas.
const PER_CALL: u64 = 1_000;

/// Euros for `input` and `output` tokens.
#[must_use]
pub fn cost(model: &Model, rate: f64, input: u64, output: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "no call has 2^52 tokens")]
    let (input, output) = (input as f64, output as f64);
    (input * model.input_price + output * model.output_price) / 1e6 * rate
}

/// The most that a call can use. A token stands for at least one byte, so bytes bound the tokens that go in; what comes
/// out is bounded by what is asked for.
#[must_use]
pub fn worst_case(model: &Model, rate: f64, request: &LlmRequest) -> Amount {
    let (input, output) = (input_bound(request), u64::from(output_bound(model, request)));
    Amount { calls: 1, tokens: input + output, micro_euro: micro_euro(cost(model, rate, input, output)) }
}

/// The longest answer that is asked for.
#[must_use]
pub fn output_bound(model: &Model, request: &LlmRequest) -> u32 {
    request.max_tokens.unwrap_or(model.max_output).clamp(1, model.max_output)
}

fn input_bound(request: &LlmRequest) -> u64 {
    let messages: u64 = request.messages.iter().map(|message| bytes(message) + PER_MESSAGE).sum();
    let tools = request
        .tools
        .iter()
        .map(|tool| (tool.name.len() + tool.description.len() + tool.parameters_schema.len()) as u64 + PER_MESSAGE);
    messages + tools.sum::<u64>() + request.output_schema.as_ref().map_or(0, String::len) as u64 + PER_CALL
}

/// Bytes of text in a message.
fn bytes(message: &LlmMessage) -> u64 {
    let len = match message {
        LlmMessage::System(text) | LlmMessage::User(text) | LlmMessage::Assistant(text) => text.len(),
        LlmMessage::AssistantCalls(text, calls) => {
            let call = |call: &triggerbox_model::call::ToolCall| {
                call.id.len() + call.name.len() + call.arguments_json.len() + PER_MESSAGE as usize
            };
            text.len() + calls.iter().map(call).sum::<usize>()
        }
        LlmMessage::ToolResults(results) => {
            results.iter().map(|result| result.call_id.len() + result.content.len() + PER_MESSAGE as usize).sum()
        }
    };
    len as u64
}
