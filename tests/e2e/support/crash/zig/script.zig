//! Fails with an error of its own.
const tb = @import("triggerbox");

pub fn run(event: tb.Event) !tb.Outcome {
    if (event.ids().len == 0) return error.NothingToDo;
    return .{};
}
