//! What the host calls: hands the event to `run` in `script.zig`, and its answer back.

const c = @import("bindings");
const tb = @import("triggerbox");
const script = @import("script");

/// The bindings free what a script returns; the library never frees, so that scripts may return texts that were never
/// allocated. They call this in place of `free`.
export fn triggerbox_keep(_: ?*anyopaque) void {}

export fn exports_automation_run(
    event: *c.automation_event_t,
    outcome: *c.automation_outcome_t,
    failure: *c.automation_failure_t,
) bool {
    const answer = script.run(.{ .host = event }) catch |problem| {
        failure.* = tb.failure(problem);
        return false;
    };
    outcome.* = tb.toHost(answer);
    return true;
}
