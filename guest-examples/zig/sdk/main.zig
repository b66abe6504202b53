//! What the host calls: hands the event to `run` in `script.zig`, and its answer back.

const std = @import("std");
const c = @import("bindings");
const tb = @import("triggerbox");
const script = @import("script");

/// A panic goes to the run's log, and ends the run as a trap.
pub const panic = std.debug.FullPanic(broken);

fn broken(message: []const u8, address: ?usize) noreturn {
    // Of the stack: there may be no memory left.
    var buffer: [512]u8 = undefined;
    const at = address orelse 0;
    const line = if (at == 0)
        std.fmt.bufPrint(&buffer, "panic: {s}", .{message})
    else
        std.fmt.bufPrint(&buffer, "panic: {s} (at 0x{x})", .{ message, at });
    tb.log.write(c.TRIGGERBOX_AUTOMATION_LOG_LEVEL_ERROR, line catch message);
    @trap();
}

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
