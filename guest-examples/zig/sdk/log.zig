//! The run's log.

const c = @import("bindings");
const tb = @import("triggerbox.zig");

pub fn debug(comptime template: []const u8, arguments: anytype) void {
    write(c.TRIGGERBOX_AUTOMATION_LOG_LEVEL_DEBUG, tb.format(template, arguments));
}

pub fn info(comptime template: []const u8, arguments: anytype) void {
    write(c.TRIGGERBOX_AUTOMATION_LOG_LEVEL_INFO, tb.format(template, arguments));
}

pub fn warning(comptime template: []const u8, arguments: anytype) void {
    write(c.TRIGGERBOX_AUTOMATION_LOG_LEVEL_WARNING, tb.format(template, arguments));
}

pub fn err(comptime template: []const u8, arguments: anytype) void {
    write(c.TRIGGERBOX_AUTOMATION_LOG_LEVEL_ERROR, tb.format(template, arguments));
}

/// A line as it is, at a level of the contract's.
pub fn write(level: u8, line: []const u8) void {
    var text = tb.str(line);
    c.triggerbox_automation_log_write(level, &text);
}
