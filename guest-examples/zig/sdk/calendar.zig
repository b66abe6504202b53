//! Time zones, so that scripts need no tables of their own.

const c = @import("bindings");
const tb = @import("triggerbox.zig");

/// `2026-11-21T10:15:00Z` in `Europe/Brussels` is `2026-11-21T11:15:00`.
pub fn toLocal(utc: []const u8, zone: []const u8) tb.Error![]const u8 {
    var time = tb.str(utc);
    var tz = tb.str(zone);
    var found: c.automation_string_t = undefined;
    try tb.check(c.triggerbox_automation_calendar_to_local(&time, &tz, &found, &tb.problem));
    return tb.text(found);
}

/// The way back. What a clock change skips is moved forward, of what it repeats it is the first.
pub fn toUtc(local: []const u8, zone: []const u8) tb.Error![]const u8 {
    var time = tb.str(local);
    var tz = tb.str(zone);
    var found: c.automation_string_t = undefined;
    try tb.check(c.triggerbox_automation_calendar_to_utc(&time, &tz, &found, &tb.problem));
    return tb.text(found);
}
