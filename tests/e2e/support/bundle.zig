//! All example scripts in one component, told apart by the rule's name.

const std = @import("std");
const tb = @import("triggerbox");

const scripts = .{
    .{ "contract-check", @import("contract-check/script.zig") },
    .{ "crash", @import("crash/script.zig") },
    .{ "high-value-order", @import("high-value-order/script.zig") },
};

pub fn run(event: tb.Event) !tb.Outcome {
    inline for (scripts) |script| {
        if (std.mem.eql(u8, tb.text(event.host.rule), script[0])) return script[1].run(event);
    }
    return error.NoSuchScript;
}
