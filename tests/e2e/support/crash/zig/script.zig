//! Breaks on records, and without any fails with an error of its own.
const tb = @import("triggerbox");

pub fn run(event: tb.Event) !tb.Outcome {
    if (event.given(7, "phone")) |phone| return .{ .message = phone.text };
    if (event.ids().len == 0) return error.NothingToDo;
    if (event.ids().len > 1) {
        // As the total of an order reads whose lines were changed on an Odoo server.
        const order: tb.Row = .{ .id = 3, .values = &.{.pending} };
        tb.log.info("{d}", .{order.number(0)});
    }
    deeper(event.ids());
    return .{};
}

noinline fn deeper(ids: []const u32) void {
    if (ids.len > 0) @panic("no record was wanted");
}
