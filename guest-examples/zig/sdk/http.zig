//! Calling other services, as far as the rule grants host, method and path.

const std = @import("std");
const c = @import("bindings");
const tb = @import("triggerbox.zig");
const values = @import("values.zig");

/// A value may hold `${secret:NAME}`.
pub const Header = struct { name: []const u8, value: []const u8 };

/// The method is upper case.
pub const Request = struct {
    method: []const u8 = "GET",
    url: []const u8,
    headers: []const Header = &.{},
    body: []const u8 = "",
};

/// What the service answered.
pub const Response = struct {
    /// 100 to 599: any is an answer.
    status: u16,
    /// In the order of the answer.
    headers: []const Header,
    body: []const u8,

    /// A header's value, its name in any case.
    pub fn header(response: Response, name: []const u8) ?[]const u8 {
        for (response.headers) |one| if (std.ascii.eqlIgnoreCase(one.name, name)) return one.value;
        return null;
    }

    /// The body as data.
    pub fn json(response: Response, comptime T: type) tb.Error!T {
        return tb.parse(T, response.body);
    }
};

/// Sends a request.
pub fn send(request: Request) tb.Error!Response {
    const headers = values.room(c.automation_tuple2_string_string_t, request.headers.len);
    for (request.headers, headers) |header, *into| into.* = .{ .f0 = tb.str(header.name), .f1 = tb.str(header.value) };
    var asked: c.triggerbox_automation_http_request_t = .{
        .method = tb.str(request.method),
        .url = tb.str(request.url),
        .headers = .{ .ptr = headers.ptr, .len = headers.len },
        .body = values.bytes(request.body),
    };
    var found: c.triggerbox_automation_http_response_t = undefined;
    try tb.check(c.triggerbox_automation_http_send(&asked, &found, &tb.problem));
    const answered = values.room(Header, found.headers.len);
    for (answered, 0..) |*header, index| {
        header.* = .{ .name = tb.text(found.headers.ptr[index].f0), .value = tb.text(found.headers.ptr[index].f1) };
    }
    return .{ .status = found.status, .headers = answered, .body = values.slice(u8, found.body) };
}
