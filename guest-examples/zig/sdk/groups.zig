//! Groups of records, with aggregates.

const std = @import("std");
const c = @import("bindings");
const tb = @import("triggerbox.zig");
const values = @import("values.zig");

/// Which groups, in which order. `having` is a domain over aggregates: `[('__count', '>', 5)]`.
pub const Page = struct {
    offset: u32 = 0,
    limit: ?u32 = null,
    order: ?[]const u8 = null,
    having: ?[]const u8 = null,
    archived: bool = false,
};

/// One group: its keys and aggregates in the order they were asked in.
pub const Group = struct {
    keys: []const tb.Named,
    aggregates: []const tb.Named,
    count: u32,
    /// Selects this group's records, to be joined with the domain that was asked.
    domain: []const u8,

    /// A key or an aggregate, by the name it was asked by.
    pub fn value(group: Group, name: []const u8) ?tb.Value {
        for ([_][]const tb.Named{ group.keys, group.aggregates }) |fields| {
            for (fields) |field| if (std.mem.eql(u8, field.name, name)) return field.value;
        }
        return null;
    }
};

/// Groups by `stage_id`, `create_date:month` and so on, with `expected_revenue:sum`, `__count` and so on.
pub fn read(
    model: []const u8,
    domain: []const u8,
    by: []const []const u8,
    aggregates: []const []const u8,
    page: Page,
) tb.Error![]const Group {
    var name = tb.str(model);
    var where = tb.literal(domain);
    var keys = values.strings(by);
    var sums = values.strings(aggregates);
    var part: c.triggerbox_automation_records_group_page_t = .{
        .offset = page.offset,
        .limit = values.optionNumber(page.limit),
        .order = values.option(page.order),
        .having = values.option(page.having),
        .archived = page.archived,
    };
    var found: c.triggerbox_automation_records_list_group_t = undefined;
    try tb.check(c.triggerbox_automation_records_read_group(&name, &where, &keys, &sums, &part, &found, &tb.problem));
    const groups = values.room(Group, found.len);
    for (groups, 0..) |*group, index| {
        const one = found.ptr[index];
        group.* = .{
            .keys = values.namedFromHost(one.keys),
            .aggregates = values.namedFromHost(one.aggregates),
            .count = one.count,
            .domain = tb.text(one.domain),
        };
    }
    return groups;
}
