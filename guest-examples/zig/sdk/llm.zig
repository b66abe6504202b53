//! Asking a language model. Provider, key, prices and budgets are the host's: fails with `llm-not-configured` while there is
//! no provider.

const c = @import("bindings");
const tb = @import("triggerbox.zig");
const values = @import("values.zig");

/// One turn of a conversation.
pub const Turn = union(enum) {
    /// Standing instructions.
    system: []const u8,
    /// What is asked.
    user: []const u8,
    /// What the model said earlier.
    assistant: []const u8,
    /// What it answered earlier, with the tools that it asked for.
    answered: Completion,
    /// What came of them: a result for each call.
    tool_results: []const Result,
};

/// Something that the model may ask for; the schema is a JSON Schema of the arguments.
pub const Tool = struct { name: []const u8, description: []const u8, schema: []const u8 };

/// What the model asks the script to do. The arguments are as it wrote them: they may not fit the schema.
pub const Call = struct {
    id: []const u8,
    name: []const u8,
    arguments_json: []const u8,

    /// The arguments as data.
    pub fn arguments(call: Call, comptime T: type) tb.Error!T {
        return tb.parse(T, call.arguments_json);
    }

    /// What came of it: text or JSON, for the model.
    pub fn result(call: Call, content: []const u8) Result {
        return .{ .call_id = call.id, .content = content };
    }

    /// Why it could not be done.
    pub fn failure(call: Call, reason: []const u8) Result {
        return .{ .call_id = call.id, .content = reason, .is_error = true };
    }
};
pub const Result = struct { call_id: []const u8, content: []const u8, is_error: bool = false };

/// How to answer.
pub const Options = struct {
    /// Another model than the rule's.
    model: ?[]const u8 = null,
    tools: []const Tool = &.{},
    /// A JSON Schema that the answer must satisfy; the host checks.
    schema: ?[]const u8 = null,
    /// 0 to 2; none: the provider's own.
    temperature: ?f32 = null,
    /// None: what the budget allows.
    max_tokens: ?u32 = null,
};

/// Why the model stopped.
pub const Finish = enum(u8) { stop, length, tool_calls, refused, other };

/// What an answer took; `cost` by the prices that the host knows.
pub const Usage = struct { input_tokens: u32, output_tokens: u32, cost: f64, currency: []const u8 };

/// The model's answer.
pub const Completion = struct {
    /// May be empty beside calls.
    text: []const u8,
    calls: []const Call,
    finish: Finish,
    usage: Usage,
    /// The model that answered.
    model: []const u8,

    /// The answer as data, where a schema was asked for.
    pub fn answer(completion: Completion, comptime T: type) tb.Error!T {
        return tb.parse(T, completion.text);
    }
};

/// One question, one answer, by the rule's model.
pub fn ask(question: []const u8) tb.Error![]const u8 {
    return (try complete(&.{.{ .user = question }}, .{})).text;
}

/// One completion.
pub fn complete(turns: []const Turn, options: Options) tb.Error!Completion {
    const messages = values.room(c.triggerbox_automation_llm_message_t, turns.len);
    for (turns, messages) |turn, *into| into.* = toHost(turn);
    const tools = values.room(c.triggerbox_automation_llm_tool_t, options.tools.len);
    for (options.tools, tools) |tool, *into| {
        into.* = .{ .name = tb.str(tool.name), .description = tb.str(tool.description), .parameters_schema = tb.str(tool.schema) };
    }
    var request: c.triggerbox_automation_llm_request_t = .{
        .model = values.option(options.model),
        .messages = .{ .ptr = messages.ptr, .len = messages.len },
        .tools = .{ .ptr = tools.ptr, .len = tools.len },
        .output_schema = values.option(options.schema),
        .temperature = .{ .is_some = options.temperature != null, .val = options.temperature orelse 0 },
        .max_tokens = values.optionNumber(options.max_tokens),
    };
    var found: c.triggerbox_automation_llm_completion_t = undefined;
    try tb.check(c.triggerbox_automation_llm_complete(&request, &found, &tb.problem));
    const calls = values.room(Call, found.calls.len);
    for (calls, 0..) |*call, index| {
        const one = found.calls.ptr[index];
        call.* = .{ .id = tb.text(one.id), .name = tb.text(one.name), .arguments_json = tb.text(one.arguments_json) };
    }
    return .{
        .text = tb.text(found.text),
        .calls = calls,
        .finish = @enumFromInt(found.finish),
        .usage = .{
            .input_tokens = found.usage.input_tokens,
            .output_tokens = found.usage.output_tokens,
            .cost = found.usage.cost,
            .currency = tb.text(found.usage.currency),
        },
        .model = tb.text(found.model),
    };
}

fn toHost(turn: Turn) c.triggerbox_automation_llm_message_t {
    switch (turn) {
        .system => |said| return .{ .tag = c.TRIGGERBOX_AUTOMATION_LLM_MESSAGE_SYSTEM, .val = .{ .system = tb.str(said) } },
        .user => |said| return .{ .tag = c.TRIGGERBOX_AUTOMATION_LLM_MESSAGE_USER, .val = .{ .user = tb.str(said) } },
        .assistant => |said| return .{ .tag = c.TRIGGERBOX_AUTOMATION_LLM_MESSAGE_ASSISTANT, .val = .{ .assistant = tb.str(said) } },
        .answered => |said| {
            if (said.calls.len == 0) return toHost(.{ .assistant = said.text });
            const calls = values.room(c.triggerbox_automation_llm_tool_call_t, said.calls.len);
            for (said.calls, calls) |call, *into| {
                into.* = .{ .id = tb.str(call.id), .name = tb.str(call.name), .arguments_json = tb.str(call.arguments_json) };
            }
            return .{
                .tag = c.TRIGGERBOX_AUTOMATION_LLM_MESSAGE_ASSISTANT_CALLS,
                .val = .{ .assistant_calls = .{ .f0 = tb.str(said.text), .f1 = .{ .ptr = calls.ptr, .len = calls.len } } },
            };
        },
        .tool_results => |said| {
            const results = values.room(c.triggerbox_automation_llm_tool_result_t, said.len);
            for (said, results) |result, *into| {
                into.* = .{ .call_id = tb.str(result.call_id), .content = tb.str(result.content), .is_error = result.is_error };
            }
            return .{
                .tag = c.TRIGGERBOX_AUTOMATION_LLM_MESSAGE_TOOL_RESULTS,
                .val = .{ .tool_results = .{ .ptr = results.ptr, .len = results.len } },
            };
        },
    }
}
