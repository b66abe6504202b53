//! Notes leads with a high expected revenue.

const tb = @import("triggerbox");

/// Called once for each event. Everything it changes is applied together when it returns, and not at all after an error.
pub fn run(event: tb.Event) !tb.Outcome {
    const threshold: f64 = switch (event.parameter("threshold")) {
        .number => |number| number,
        .integer => |number| @floatFromInt(number),
        else => 10_000,
    };
    const leads = try event.read(&.{ "name", "expected_revenue" });
    var noted: usize = 0;
    for (leads) |lead| {
        // In the order in which they were asked for.
        const revenue = lead.number(1);
        tb.log.info("{s}: {d}", .{ lead.text(0), revenue });
        if (revenue > threshold) {
            const note = tb.format("Expected revenue {d} is over {d}.", .{ revenue, threshold });
            try tb.postNote("crm.lead", lead.id, .{ .body = note });
            noted += 1;
        }
    }
    return .{ .message = tb.format("{d} of {d} leads noted", .{ noted, leads.len }) };
}
