//! A few values that a rule keeps from run to run. Staged and applied like any change.

const c = @import("bindings");
const tb = @import("triggerbox.zig");

/// The value kept under a key: `try tb.state.get(u32, "seen") orelse 0`.
pub fn get(comptime T: type, key: []const u8) tb.Error!?T {
    var name = tb.str(key);
    var kept: c.automation_option_string_t = undefined;
    try tb.check(c.triggerbox_automation_state_get(&name, &kept, &tb.problem));
    return if (kept.is_some) try tb.parse(T, tb.text(kept.val)) else null;
}

/// Stages a value under a key: anything that JSON can say.
pub fn set(key: []const u8, value: anytype) tb.Error!void {
    var name = tb.str(key);
    var text = tb.str(tb.json(value));
    return tb.check(c.triggerbox_automation_state_set(&name, &text, &tb.problem));
}

/// Stages that the key is gone.
pub fn remove(key: []const u8) tb.Error!void {
    var name = tb.str(key);
    return tb.check(c.triggerbox_automation_state_set(&name, null, &tb.problem));
}
