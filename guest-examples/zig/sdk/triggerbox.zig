//! The library that Triggerbox scripts in Zig are written with.
//!
//! A script is a file `script.zig` with one function:
//!
//!     const tb = @import("triggerbox");
//!
//!     pub fn run(event: tb.Event) !tb.Outcome {
//!         for (try event.read(&.{ "name", "expected_revenue" })) |lead| {
//!             if (lead.number(1) > 10_000) try tb.postNote("crm.lead", lead.id, .{ .body = "A large one." });
//!         }
//!         return .{ .message = "done" };
//!     }
//!
//! It is called once for each event, in a fresh sandbox. What it changes is staged, and applied as one transaction when it
//! returns. Host calls that fail return an error, and `tb.problem` says why. Memory is never freed: it is gone with the run.

const std = @import("std");
const groups = @import("groups.zig");
const values = @import("values.zig");

/// The contract as its C bindings have it: domains may be made of terms there.
pub const c = @import("bindings");
pub const calendar = @import("calendar.zig");
pub const http = @import("http.zig");
pub const llm = @import("llm.zig");
pub const log = @import("log.zig");
pub const state = @import("state.zig");
pub const Group = groups.Group;
pub const GroupPage = groups.Page;
pub const readGroup = groups.read;
pub const Value = values.Value;
pub const Row = values.Row;
pub const Named = values.Named;
pub const str = values.str;
pub const text = values.text;
pub const link = values.link;
pub const allocator = std.heap.c_allocator;

/// Why a host call failed, or a script.
pub const Error = error{ AccessDenied, NotFound, Invalid, Rejected, Conflict, Unavailable, Pending, Other, UserError, Failed };

/// What the last host call that failed said: `tb.text(tb.problem.code)`, `tb.text(tb.problem.message)`.
pub var problem: c.triggerbox_automation_types_error_t = std.mem.zeroes(c.triggerbox_automation_types_error_t);
var said: []const u8 = "";

/// Ends the run with a text for the user who caused the event; nothing is applied.
pub fn userError(comptime template: []const u8, arguments: anytype) Error {
    said = format(template, arguments);
    return Error.UserError;
}

/// Ends the run with a text for the run history; nothing is applied.
pub fn fail(comptime template: []const u8, arguments: anytype) Error {
    said = format(template, arguments);
    return Error.Failed;
}

/// A text of its own.
pub fn format(comptime template: []const u8, arguments: anytype) []const u8 {
    return std.fmt.allocPrint(allocator, template, arguments) catch @panic("out of memory");
}

/// JSON text as data; what a struct does not name is left out.
pub fn parse(comptime T: type, given: []const u8) Error!T {
    return std.json.parseFromSliceLeaky(T, allocator, given, .{ .ignore_unknown_fields = true }) catch |why| {
        problem = .{ .kind = 2, .code = str("bad-json"), .message = str(@errorName(why)), .field = values.option(null) };
        return Error.Invalid;
    };
}

/// Data as JSON text.
pub fn json(data: anytype) []const u8 {
    return std.json.Stringify.valueAlloc(allocator, data, .{}) catch @panic("out of memory");
}

/// How much is left of a limit, such as `host-calls`; null for an unknown one.
pub fn remaining(limit: []const u8) ?f64 {
    var name = str(limit);
    var left: f64 = 0;
    return if (c.triggerbox_automation_budget_remaining(&name, &left)) left else null;
}

/// What a host call came to: `try tb.check(tb.c.triggerbox_automation_state_set(&key, &json, &tb.problem))`.
pub fn check(ok: bool) Error!void {
    if (ok) return;
    return switch (problem.kind) {
        0 => Error.AccessDenied,
        1 => Error.NotFound,
        2 => Error.Invalid,
        3 => Error.Rejected,
        4 => Error.Conflict,
        5 => Error.Unavailable,
        6 => Error.Pending,
        else => Error.Other,
    };
}

/// What a script answers.
pub const Outcome = struct {
    /// One line for the run history.
    message: ?[]const u8 = null,
    values: []const Named = &.{},
    warning: ?[]const u8 = null,
    records: []const u32 = &.{},
    result_json: ?[]const u8 = null,
};

/// One firing of one rule.
pub const Event = struct {
    host: *c.automation_event_t,

    /// The model of the triggering records.
    pub fn model(event: Event) Error![]const u8 {
        if (!event.host.model.is_some) return fail("this rule is bound to no model", .{});
        return text(event.host.model.val);
    }

    /// Ids of the triggering records.
    pub fn ids(event: Event) []const u32 {
        return values.slice(u32, event.host.records);
    }

    /// The triggering records with these fields.
    pub fn read(event: Event, fields: []const []const u8) Error![]const Row {
        return @This().rowsOf(try event.model(), event.ids(), fields);
    }

    const rowsOf = @import("triggerbox.zig").read;

    /// What a field of a record was before an update, if it is among what changed.
    pub fn oldValue(event: Event, id: u32, name: []const u8) ?Value {
        return ofRecord(values.slice(c.triggerbox_automation_types_snapshot_t, event.host.old_values), id, name);
    }

    /// What the trigger itself says of a record's field: the last value of a deleted record, one about to be stored, one in a form.
    /// A record that is about to be created has no id yet: it is 0.
    pub fn given(event: Event, id: u32, name: []const u8) ?Value {
        const trigger = event.host.trigger;
        const Snapshot = c.triggerbox_automation_types_snapshot_t;
        return switch (trigger.tag) {
            c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_DELETED => ofRecord(values.slice(Snapshot, trigger.val.deleted), id, name),
            c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_ON_CHANGE => ofRecord(&.{trigger.val.on_change}, id, name),
            c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_BEFORE_UPDATE => ofRecord(values.slice(Snapshot, trigger.val.before_update), id, name),
            c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_BEFORE_CREATE => if (id == 0) named(trigger.val.before_create, name) else null,
            else => null,
        };
    }

    /// The body of a webhook's request; null for other events.
    pub fn webhookBody(event: Event) ?[]const u8 {
        if (event.host.trigger.tag != c.TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_WEBHOOK) return null;
        return values.slice(u8, event.host.trigger.val.webhook.body);
    }

    /// A parameter; unset for none.
    pub fn parameter(event: Event, name: []const u8) Value {
        return named(event.host.parameters, name) orelse .unset;
    }

    fn ofRecord(snapshots: []const c.triggerbox_automation_types_snapshot_t, id: u32, name: []const u8) ?Value {
        for (snapshots) |snapshot| {
            if (snapshot.id == id) return named(snapshot.fields, name);
        }
        return null;
    }

    fn named(fields: anytype, name: []const u8) ?Value {
        for (values.slice(c.triggerbox_automation_types_field_t, fields)) |field| {
            if (std.mem.eql(u8, text(field.name), name)) return values.fromHost(field.value);
        }
        return null;
    }
};

/// Which part of the matching records, in which order.
pub const Page = struct { offset: u32 = 0, limit: ?u32 = null, order: ?[]const u8 = null, archived: bool = false };

/// Ids of the matching records. Domains are Odoo's notation as text; `quote` puts a text into one.
pub fn search(model: []const u8, domain: []const u8, page: Page) Error![]const u32 {
    var name = str(model);
    var where = literal(domain);
    var part = pageOf(page);
    var found: c.automation_list_u32_t = undefined;
    try check(c.triggerbox_automation_records_search(&name, &where, &part, &found, &problem));
    return values.slice(u32, found);
}

/// The matching records with these fields.
pub fn searchRead(model: []const u8, domain: []const u8, fields: []const []const u8, page: Page) Error![]const Row {
    var name = str(model);
    var where = literal(domain);
    var names = values.strings(fields);
    var part = pageOf(page);
    var found: c.triggerbox_automation_records_list_row_t = undefined;
    try check(c.triggerbox_automation_records_search_read(&name, &where, &names, &part, &found, &problem));
    return values.rows(found);
}

/// How many match.
pub fn count(model: []const u8, domain: []const u8) Error!u32 {
    var name = str(model);
    var where = literal(domain);
    var found: u32 = 0;
    try check(c.triggerbox_automation_records_search_count(&name, &where, &found, &problem));
    return found;
}

/// These records with these fields, in the order of `ids`. Records that are gone are left out.
pub fn read(model: []const u8, ids: []const u32, fields: []const []const u8) Error![]const Row {
    var name = str(model);
    var which = values.list(ids);
    var names = values.strings(fields);
    var found: c.triggerbox_automation_records_list_row_t = undefined;
    try check(c.triggerbox_automation_records_read(&name, &which, &names, &found, &problem));
    return values.rows(found);
}

/// Records whose name matches a text, best first.
pub fn nameSearch(model: []const u8, like: []const u8, limit: u32) Error![]const values.Link {
    var name = str(model);
    var part = str(like);
    var found: c.triggerbox_automation_records_list_link_t = undefined;
    try check(c.triggerbox_automation_records_name_search(&name, &part, limit, &found, &problem));
    const links = values.room(values.Link, found.len);
    for (links, 0..) |*into, index| into.* = values.linkFromHost(found.ptr[index]);
    return links;
}

/// What a field is.
pub const FieldInfo = c.triggerbox_automation_records_field_info_t;

/// Describes these fields, or all for none.
pub fn fieldsGet(model: []const u8, fields: []const []const u8) Error![]const FieldInfo {
    var name = str(model);
    var names = values.strings(fields);
    var found: c.triggerbox_automation_records_list_field_info_t = undefined;
    try check(c.triggerbox_automation_records_fields_get(&name, &names, &found, &problem));
    return values.slice(FieldInfo, found);
}

/// All that is known of a field.
pub const FieldDetails = c.triggerbox_automation_records_field_details_t;

/// All that is known of these fields, or of all for none: digits, default, what a computed one follows from and so on.
pub fn describeFields(model: []const u8, fields: []const []const u8) Error![]const FieldDetails {
    var name = str(model);
    var names = values.strings(fields);
    var found: c.triggerbox_automation_records_list_field_details_t = undefined;
    try check(c.triggerbox_automation_records_describe_fields(&name, &names, &found, &problem));
    return values.slice(FieldDetails, found);
}

/// What rights are about.
pub const Operation = enum(u8) { read, write, create, unlink };

/// Whether the run may do this to all of these records; for none, to the model at all.
pub fn hasAccess(model: []const u8, ids: []const u32, operation: Operation) Error!bool {
    var name = str(model);
    var which = values.list(ids);
    var may = false;
    try check(c.triggerbox_automation_records_has_access(&name, &which, @intFromEnum(operation), &may, &problem));
    return may;
}

/// The record behind an external id: `base.main_company`.
pub fn resolve(xmlid: []const u8) Error!values.Reference {
    var id = str(xmlid);
    var found: c.triggerbox_automation_types_record_ref_t = undefined;
    try check(c.triggerbox_automation_records_resolve_xmlid(&id, &found, &problem));
    return .{ .model = text(found.model), .id = found.id };
}

/// Stages a new record: `try tb.create("res.partner", .{ .name = "Ada", .parent_id = tb.link(7) })`. Its id is provisional
/// until the run is applied.
pub fn create(model: []const u8, record: anytype) Error!u32 {
    var name = str(model);
    var one = values.fields(record);
    var all: c.triggerbox_automation_records_list_list_field_t = .{ .ptr = &one, .len = 1 };
    var ids: c.automation_list_u32_t = undefined;
    try check(c.triggerbox_automation_records_create(&name, &all, &ids, &problem));
    return ids.ptr[0];
}

/// Finds the one record whose `keys` fields are as given, or stages its creation. Two runs at once end with one record.
pub fn ensure(model: []const u8, keys: []const []const u8, record: anytype) Error!u32 {
    var name = str(model);
    var names = values.strings(keys);
    var given = values.fields(record);
    var id: u32 = 0;
    try check(c.triggerbox_automation_records_ensure(&name, &names, &given, &id, &problem));
    return id;
}

/// Stages the same values on all of these records.
pub fn write(model: []const u8, ids: []const u32, record: anytype) Error!void {
    var name = str(model);
    var which = values.list(ids);
    var given = values.fields(record);
    return check(c.triggerbox_automation_records_write(&name, &which, &given, &problem));
}

/// Stages changes of one one2many or many2many field.
pub const Command = c.triggerbox_automation_records_command_t;

pub fn relate(model: []const u8, id: u32, field: []const u8, commands: []const Command) Error!void {
    var target = ref(model, id);
    var name = str(field);
    var list: c.triggerbox_automation_records_list_command_t = .{ .ptr = @constCast(commands.ptr), .len = commands.len };
    return check(c.triggerbox_automation_records_relate(&target, &name, &list, &problem));
}

/// Stages deletion.
pub fn unlink(model: []const u8, ids: []const u32) Error!void {
    var name = str(model);
    var which = values.list(ids);
    return check(c.triggerbox_automation_records_unlink(&name, &which, &problem));
}

/// Stages a copy, with these values in place of the original's.
pub fn copy(model: []const u8, id: u32, record: anytype) Error!u32 {
    var target = ref(model, id);
    var given = values.fields(record);
    var made: u32 = 0;
    try check(c.triggerbox_automation_records_copy(&target, &given, &made, &problem));
    return made;
}

/// Calls a business method with a JSON object of named arguments. It is staged, and then there is no answer; a method that
/// the grant marks as read-only answers at once.
pub fn call(model: []const u8, ids: []const u32, method: []const u8, arguments_json: []const u8) Error!?[]const u8 {
    var name = str(model);
    var which = values.list(ids);
    var method_name = str(method);
    var arguments = str(arguments_json);
    var answer: c.automation_option_string_t = undefined;
    try check(c.triggerbox_automation_records_call(&name, &which, &method_name, &arguments, &answer, &problem));
    return if (answer.is_some) text(answer.val) else null;
}

/// A text that becomes the record's name and id when the run is applied.
pub fn mention(model: []const u8, id: u32) Error![]const u8 {
    var target = ref(model, id);
    var found: c.automation_string_t = undefined;
    try check(c.triggerbox_automation_records_mention(&target, &found, &problem));
    return text(found);
}

/// A message or note. The body is shown as it is, unless it is HTML.
pub const Message = struct {
    body: []const u8,
    html: bool = false,
    subject: ?[]const u8 = null,
    partners: []const u32 = &.{},
    attachments: []const Attachment = &.{},
};
pub const Attachment = struct { name: []const u8, mime_type: []const u8, content: []const u8 };

/// Stages an internal note.
pub fn postNote(model: []const u8, id: u32, message: Message) Error!void {
    var target = ref(model, id);
    var posted = hostMessage(message);
    return check(c.triggerbox_automation_chatter_post_note(&target, &posted, &problem));
}

/// Stages a message that the followers are notified of.
pub fn postMessage(model: []const u8, id: u32, message: Message) Error!void {
    var target = ref(model, id);
    var posted = hostMessage(message);
    return check(c.triggerbox_automation_chatter_post_message(&target, &posted, &problem));
}

/// Something to do, for somebody, by a day. `kind`: the activity type, by name or external id.
pub const Activity = struct {
    kind: []const u8 = "mail.mail_activity_data_todo",
    summary: []const u8,
    note: ?[]const u8 = null,
    deadline: ?[]const u8 = null,
    user: ?u32 = null,
};

pub fn schedule(model: []const u8, id: u32, activity: Activity) Error!void {
    var target = ref(model, id);
    var planned: c.triggerbox_automation_chatter_activity_t = .{
        .kind = str(activity.kind),
        .summary = str(activity.summary),
        .note = values.option(activity.note),
        .deadline = values.option(activity.deadline),
        .user_id = values.optionNumber(activity.user),
    };
    return check(c.triggerbox_automation_chatter_schedule_activity(&target, &planned, &problem));
}

/// All activities of this kind on the record are done; says how many there are.
pub fn completeActivities(model: []const u8, id: u32, kind: []const u8, feedback: ?[]const u8) Error!u32 {
    var target = ref(model, id);
    var name = str(kind);
    var comment = str(feedback orelse "");
    const given = if (feedback == null) null else &comment;
    var done: u32 = 0;
    try check(c.triggerbox_automation_chatter_complete_activities(&target, &name, given, &done, &problem));
    return done;
}

/// Stages followers, by partner.
pub fn addFollowers(model: []const u8, id: u32, partners: []const u32) Error!void {
    var target = ref(model, id);
    var which = values.list(partners);
    return check(c.triggerbox_automation_chatter_add_followers(&target, &which, &problem));
}

/// Stages that these partners no longer follow.
pub fn removeFollowers(model: []const u8, id: u32, partners: []const u32) Error!void {
    var target = ref(model, id);
    var which = values.list(partners);
    return check(c.triggerbox_automation_chatter_remove_followers(&target, &which, &problem));
}

/// A message that is already there.
pub const Posted = struct { id: u32, author: []const u8, date: []const u8, body: []const u8, is_note: bool };

/// The newest messages and notes first.
pub fn messages(model: []const u8, id: u32, limit: u32) Error![]const Posted {
    var target = ref(model, id);
    var found: c.triggerbox_automation_chatter_list_posted_t = undefined;
    try check(c.triggerbox_automation_chatter_read_messages(&target, limit, &found, &problem));
    const posted = values.room(Posted, found.len);
    for (posted, 0..) |*into, index| {
        const one = found.ptr[index];
        into.* = .{ .id = one.id, .author = text(one.author), .date = text(one.date), .body = text(one.body), .is_note = one.is_note };
    }
    return posted;
}

/// A text inside a domain: `tb.format("[('email', '=', {s})]", .{tb.quote(email)})`.
pub fn quote(plain: []const u8) []const u8 {
    return replaced("'", plain, "'", &.{ .{ '\\', "\\\\" }, .{ '\'', "\\'" }, .{ '\n', "\\n" }, .{ '\r', "\\r" }, .{ '\t', "\\t" } });
}

/// A text inside HTML.
pub fn escape(plain: []const u8) []const u8 {
    return replaced("", plain, "", &.{ .{ '&', "&amp;" }, .{ '<', "&lt;" }, .{ '>', "&gt;" }, .{ '"', "&quot;" }, .{ '\'', "&#39;" } });
}

/// One record, as the contract names it.
pub fn ref(model: []const u8, id: u32) c.triggerbox_automation_types_record_ref_t {
    return .{ .model = str(model), .id = id };
}

/// A domain as text, as the contract has it.
pub fn literal(domain: []const u8) c.triggerbox_automation_types_domain_t {
    return .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_DOMAIN_LITERAL, .val = .{ .literal = str(domain) } };
}

/// The contract's word for how a script ended.
pub fn failure(ended: anyerror) c.automation_failure_t {
    return switch (ended) {
        error.UserError => .{ .tag = 0, .val = .{ .user_error = str(said) } },
        error.Failed => .{ .tag = 1, .val = .{ .failed = str(said) } },
        error.AccessDenied, error.NotFound, error.Invalid, error.Rejected, error.Conflict, error.Unavailable, error.Pending, error.Other => .{
            .tag = 1,
            .val = .{ .failed = str(format("{s}: {s}", .{ text(problem.code), text(problem.message) })) },
        },
        else => .{ .tag = 1, .val = .{ .failed = str(@errorName(ended)) } },
    };
}

/// An outcome as the contract has it.
pub fn toHost(outcome: Outcome) c.automation_outcome_t {
    const given = values.named(outcome.values);
    return .{
        .message = values.option(outcome.message),
        .values = .{ .ptr = given.ptr, .len = given.len },
        .warning = values.option(outcome.warning),
        .records = values.list(outcome.records),
        .result_json = values.option(outcome.result_json),
    };
}

fn pageOf(page: Page) c.triggerbox_automation_records_page_t {
    return .{
        .offset = page.offset,
        .limit = values.optionNumber(page.limit),
        .order = values.option(page.order),
        .archived = page.archived,
    };
}

fn hostMessage(message: Message) c.triggerbox_automation_chatter_message_t {
    const files = values.room(c.triggerbox_automation_chatter_attachment_t, message.attachments.len);
    for (message.attachments, files) |file, *into| {
        into.* = .{ .name = str(file.name), .mime_type = str(file.mime_type), .content = values.bytes(file.content) };
    }
    return .{
        .body = str(message.body),
        .format = if (message.html) 1 else 0,
        .subject = values.option(message.subject),
        .partner_ids = values.list(message.partners),
        .attachments = .{ .ptr = files.ptr, .len = files.len },
    };
}

fn replaced(before: []const u8, plain: []const u8, after: []const u8, others: []const struct { u8, []const u8 }) []const u8 {
    var length = before.len + after.len;
    for (plain) |character| length += replacement(character, others).len + @intFromBool(replacement(character, others).len == 0);
    const out = values.room(u8, length);
    @memcpy(out[0..before.len], before);
    var at = before.len;
    for (plain) |character| {
        const other = replacement(character, others);
        if (other.len == 0) {
            out[at] = character;
            at += 1;
        } else {
            @memcpy(out[at..][0..other.len], other);
            at += other.len;
        }
    }
    @memcpy(out[at..], after);
    return out;
}

fn replacement(character: u8, others: []const struct { u8, []const u8 }) []const u8 {
    for (others) |other| if (other[0] == character) return other[1];
    return "";
}
