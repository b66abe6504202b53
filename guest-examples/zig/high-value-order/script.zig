//! Notes orders over a threshold in their chatter.
//!
//! For rules on `sale.order`, when an order is created or its total changes. An order is noted when its total passes the
//! threshold, not again each time it changes above it.

const tb = @import("triggerbox");

pub fn run(event: tb.Event) !tb.Outcome {
    const threshold: f64 = switch (event.parameter("threshold")) {
        .number => |number| number,
        else => 10_000,
    };
    var manager = [_]u32{0};
    const partners: []const u32 = switch (event.parameter("manager")) {
        .many2one => |link| told: {
            manager[0] = link.id;
            break :told &manager;
        },
        else => &.{},
    };
    const model = try event.model();
    var noted: usize = 0;
    for (try event.read(&.{"amount_total"})) |order| {
        if (order.number(0) <= threshold or wasAbove(event, order.id, threshold)) continue;
        // A note, not a message: the customer follows the order too.
        try tb.postNote(model, order.id, .{ .body = "High-value sale detected, manager notified.", .partners = partners });
        noted += 1;
    }
    return .{ .message = tb.format("{d} of {d} orders over {d}", .{ noted, event.ids().len, threshold }) };
}

/// Whether the order had passed the threshold before this event.
fn wasAbove(event: tb.Event, order: u32, threshold: f64) bool {
    if (event.host.trigger.tag != tb.c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_UPDATED) return false;
    // If the total is not among what changed, it was what it is.
    const old = event.oldValue(order, "amount_total") orelse return true;
    return switch (old) {
        .number => |total| total > threshold,
        else => false,
    };
}
