//! Field values: the contract's to Zig's, and back.

const std = @import("std");
const c = @import("bindings");

/// The value of a field.
pub const Value = union(enum) {
    unset,
    /// Only on reads: a value that only the commit can know.
    pending,
    boolean: bool,
    integer: i32,
    number: f64,
    /// char, text, html, selection.
    text: []const u8,
    /// `2026-11-21`
    date: []const u8,
    /// `2026-11-21T10:15:00Z`
    datetime: []const u8,
    many2one: Link,
    ids: []const u32,
    reference: Reference,
    binary: []const u8,
    /// As JSON text.
    json: []const u8,
};
pub const Link = struct { id: u32, name: ?[]const u8 = null };
pub const Reference = struct { model: []const u8, id: u32 };
pub const Named = struct { name: []const u8, value: Value };

/// A record as a value of a many2one field.
pub fn link(id: u32) Value {
    return .{ .many2one = .{ .id = id } };
}

/// A record with the values that were asked for, in that order.
pub const Row = struct {
    id: u32,
    values: []const Value,

    /// A number; 0 for an empty field.
    pub fn number(row: Row, index: usize) f64 {
        return switch (row.values[index]) {
            .number => |value| value,
            .integer => |value| @floatFromInt(value),
            .pending => unknown(),
            else => 0,
        };
    }

    /// A text, a date; empty for an empty field.
    pub fn text(row: Row, index: usize) []const u8 {
        return switch (row.values[index]) {
            .text, .date, .datetime => |value| value,
            .many2one => |value| value.name orelse "",
            .pending => unknown(),
            else => "",
        };
    }

    /// The id behind a many2one field.
    pub fn linked(row: Row, index: usize) ?u32 {
        return switch (row.values[index]) {
            .many2one => |value| value.id,
            .pending => unknown(),
            else => null,
        };
    }

    /// A script that goes by what only the commit can know breaks.
    fn unknown() noreturn {
        @panic("a value was read that is known only when the run is applied; decide without it");
    }
};

/// Memory for the rest of the run.
pub fn room(comptime T: type, length: usize) []T {
    // Never nothing: the host looks at where an empty list is, too.
    const memory = std.heap.c_allocator.alloc(T, @max(length, 1)) catch @panic("out of memory");
    return memory[0..length];
}

pub fn str(plain: []const u8) c.automation_string_t {
    return .{ .ptr = @constCast(plain.ptr), .len = plain.len };
}

pub fn text(string: c.automation_string_t) []const u8 {
    return if (string.len == 0) "" else string.ptr[0..string.len];
}

pub fn bytes(plain: []const u8) c.automation_list_u8_t {
    return .{ .ptr = @constCast(plain.ptr), .len = plain.len };
}

pub fn list(ids: []const u32) c.automation_list_u32_t {
    return .{ .ptr = @constCast(ids.ptr), .len = ids.len };
}

pub fn option(plain: ?[]const u8) c.automation_option_string_t {
    return .{ .is_some = plain != null, .val = str(plain orelse "") };
}

pub fn optionNumber(number: ?u32) c.automation_option_u32_t {
    return .{ .is_some = number != null, .val = number orelse 0 };
}

pub fn strings(names: []const []const u8) c.automation_list_string_t {
    const into = room(c.automation_string_t, names.len);
    for (names, into) |name, *to| to.* = str(name);
    return .{ .ptr = into.ptr, .len = into.len };
}

/// A list of the contract's as a slice.
pub fn slice(comptime T: type, given: anytype) []const T {
    return if (given.len == 0) &.{} else given.ptr[0..given.len];
}

pub fn rows(given: c.triggerbox_automation_records_list_row_t) []const Row {
    const found = room(Row, given.len);
    for (found, 0..) |*row, index| {
        const one = given.ptr[index];
        const into = room(Value, one.values.len);
        for (into, 0..) |*value, at| value.* = fromHost(one.values.ptr[at]);
        row.* = .{ .id = one.id, .values = into };
    }
    return found;
}

pub fn linkFromHost(one: c.triggerbox_automation_types_link_t) Link {
    return .{ .id = one.id, .name = if (one.display_name.is_some) text(one.display_name.val) else null };
}

pub fn fromHost(value: c.triggerbox_automation_types_value_t) Value {
    return switch (value.tag) {
        0 => .unset,
        1 => .pending,
        2 => .{ .boolean = value.val.boolean },
        3 => .{ .integer = value.val.integer },
        4 => .{ .number = value.val.number },
        5 => .{ .text = text(value.val.text) },
        6 => .{ .date = text(value.val.date) },
        7 => .{ .datetime = text(value.val.datetime) },
        8 => .{ .many2one = linkFromHost(value.val.many2one) },
        9 => .{ .ids = slice(u32, value.val.ids) },
        10 => .{ .reference = .{ .model = text(value.val.reference.model), .id = value.val.reference.id } },
        11 => .{ .binary = slice(u8, value.val.binary) },
        else => .{ .json = text(value.val.json) },
    };
}

pub fn toHost(value: Value) c.triggerbox_automation_types_value_t {
    const tag: u8 = @intFromEnum(std.meta.activeTag(value));
    return switch (value) {
        .unset, .pending => .{ .tag = tag },
        .boolean => |one| .{ .tag = tag, .val = .{ .boolean = one } },
        .integer => |one| .{ .tag = tag, .val = .{ .integer = one } },
        .number => |one| .{ .tag = tag, .val = .{ .number = one } },
        .text, .date, .datetime, .json => |one| .{ .tag = tag, .val = .{ .text = str(one) } },
        .many2one => |one| .{ .tag = tag, .val = .{ .many2one = .{ .id = one.id, .display_name = option(null) } } },
        .ids => |one| .{ .tag = tag, .val = .{ .ids = list(one) } },
        .reference => |one| .{ .tag = tag, .val = .{ .reference = .{ .model = str(one.model), .id = one.id } } },
        .binary => |one| .{ .tag = tag, .val = .{ .binary = bytes(one) } },
    };
}

pub fn named(given: []const Named) []c.triggerbox_automation_types_field_t {
    const into = room(c.triggerbox_automation_types_field_t, given.len);
    for (given, into) |one, *to| to.* = .{ .name = str(one.name), .value = toHost(one.value) };
    return into;
}

pub fn namedFromHost(given: c.triggerbox_automation_records_list_field_t) []const Named {
    const into = room(Named, given.len);
    for (into, 0..) |*to, index| to.* = .{ .name = text(given.ptr[index].name), .value = fromHost(given.ptr[index].value) };
    return into;
}

/// Values by name: `[]const Named`, or a struct whose fields are named like the record's.
pub fn fields(given: anytype) c.triggerbox_automation_records_list_field_t {
    const T = @TypeOf(given);
    if (T == []const Named or T == []Named) {
        const all = named(given);
        return .{ .ptr = all.ptr, .len = all.len };
    }
    const names = comptime std.meta.fieldNames(T);
    const into = room(c.triggerbox_automation_types_field_t, names.len);
    inline for (names, 0..) |name, index| {
        into[index] = .{ .name = str(name), .value = toHost(valueOf(@field(given, name))) };
    }
    return .{ .ptr = into.ptr, .len = into.len };
}

/// A plain value as a field's.
fn valueOf(plain: anytype) Value {
    const T = @TypeOf(plain);
    if (T == Value) return plain;
    return switch (@typeInfo(T)) {
        .null => .unset,
        .bool => .{ .boolean = plain },
        .comptime_int, .int => .{ .integer = plain },
        .comptime_float, .float => .{ .number = plain },
        .optional => if (plain) |one| valueOf(one) else .unset,
        else => .{ .text = plain },
    };
}
