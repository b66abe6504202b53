//! Calls everything in the contract once and logs the answers.
//!
//! To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its name, then `ok` or `error`
//! with code and message. No answer ends the run. The outcome's result is a JSON object of the same names with `ok` or the
//! error's code. Where an answer is put together of parts, another line shows what this language made of them: it is the same
//! one in every language.

const std = @import("std");
const tb = @import("triggerbox");
const c = tb.c;

var results: []const u8 = "";
var calls: u32 = 0;
var refused: u32 = 0;

/// Notes what a call came to.
fn note(name: []const u8, answer: anytype) void {
    var code: []const u8 = "ok";
    if (answer) |_| {
        tb.log.info("{s}: ok", .{name});
    } else |_| {
        code = tb.text(tb.problem.code);
        tb.log.info("{s}: error {s}: {s}", .{ name, code, tb.text(tb.problem.message) });
        refused += 1;
    }
    results = tb.format("{s}{s}\"{s}\":\"{s}\"", .{ results, if (calls == 0) "" else ",", name, code });
    calls += 1;
}

/// Shows the parts of an answer.
fn show(name: []const u8, parts: []const u8) void {
    tb.log.info("answer of {s}: {s}", .{ name, parts });
}

fn parameters(event: tb.Event) void {
    const host = event.host;
    tb.log.info("event {s} of rule {s}, attempt {d}, seed {d}, at {s}", .{
        tb.text(host.run_id), tb.text(host.rule), host.attempt, host.seed, tb.text(host.now),
    });
    for ([_][]const u8{ "service", "text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one", "unset" }) |name| {
        tb.log.info("parameter {s} is {s}", .{ name, @tagName(event.parameter(name)) });
        note(tb.format("parameter.{s}", .{name}), tb.check(true));
    }
}

fn reads(model: []const u8, lead: u32) void {
    const one = &[_]u32{lead};
    const this = tb.format("[('id', '=', {d})]", .{lead});
    note("records.search.literal", tb.search(model, "['|', ('name', 'ilike', 'a'), (1, '=', 1)]", .{ .limit = 2 }));
    // A domain as terms, as the contract has them.
    var flags = [_]c.triggerbox_automation_types_value_t{
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_VALUE_BOOLEAN, .val = .{ .boolean = true } },
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_VALUE_BOOLEAN, .val = .{ .boolean = false } },
    };
    const many: c.triggerbox_automation_types_operand_t = .{
        .tag = c.TRIGGERBOX_AUTOMATION_TYPES_OPERAND_MANY,
        .val = .{ .many = .{ .ptr = &flags, .len = flags.len } },
    };
    var terms = [_]c.triggerbox_automation_types_term_t{
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_OR },
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_NEVER },
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_AND },
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_ALWAYS },
        .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_NOT },
        condition("active", c.TRIGGERBOX_AUTOMATION_TYPES_OPERATOR_NOT_IN, many),
    };
    note("records.search", searchTerms(model, &terms));
    const domain: c.triggerbox_automation_types_operand_t = .{
        .tag = c.TRIGGERBOX_AUTOMATION_TYPES_OPERAND_DOMAIN,
        .val = .{ .domain = tb.str("[('id', '>', 0)]") },
    };
    var any = [_]c.triggerbox_automation_types_term_t{condition("tag_ids", c.TRIGGERBOX_AUTOMATION_TYPES_OPERATOR_ANY, domain)};
    note("records.search.any", searchTerms(model, &any));

    note("records.search-read", tb.searchRead(model, this, &.{ "name", "stage_id" }, .{}));
    note("records.search-count", tb.count(model, this));
    note("records.read", tb.read(model, one, &.{ "name", "expected_revenue", "tag_ids", "create_date" }));
    const groups = tb.readGroup(model, "[]", &.{"stage_id"}, &.{ "expected_revenue:sum", "__count" }, .{ .limit = 2, .order = "stage_id" });
    note("records.read-group", groups);
    var stages: []const u8 = "";
    for (groups catch &.{}, 0..) |group, index| {
        const stage: tb.Value = group.value("stage_id") orelse .unset;
        const expected: tb.Value = group.value("expected_revenue:sum") orelse .unset;
        stages = tb.format("{s}{s}{s}, {d}, {d:.0}", .{
            stages,
            if (index == 0) "" else " | ",
            if (stage == .many2one) stage.many2one.name orelse "" else "",
            group.count,
            if (expected == .number) expected.number else 0,
        });
    }
    show("records.read-group", stages);
    note("records.name-search", tb.nameSearch(model, "a", 2));
    note("records.fields-get", tb.fieldsGet(model, &.{ "type", "stage_id" }));
    note("records.has-access", tb.hasAccess(model, one, .write));
    note("records.resolve-xmlid", tb.resolve("base.main_company"));
    note("records.unknown-model", tb.search("crm.laed", "[]", .{}));
    note("records.unknown-field", tb.read(model, one, &.{"nmae"}));
    note("records.no-fields", tb.read(model, one, &.{}));
    note("records.bad-domain", tb.search(model, "[('name', '=']", .{}));
}

fn condition(field: []const u8, operator: u8, value: c.triggerbox_automation_types_operand_t) c.triggerbox_automation_types_term_t {
    return .{
        .tag = c.TRIGGERBOX_AUTOMATION_TYPES_TERM_CONDITION,
        .val = .{ .condition = .{ .field = tb.str(field), .operator_ = operator, .value = value } },
    };
}

fn terms_of(terms: []c.triggerbox_automation_types_term_t) c.triggerbox_automation_types_domain_t {
    return .{
        .tag = c.TRIGGERBOX_AUTOMATION_TYPES_DOMAIN_TERMS,
        .val = .{ .terms = .{ .ptr = terms.ptr, .len = terms.len } },
    };
}

fn searchTerms(model: []const u8, terms: []c.triggerbox_automation_types_term_t) tb.Error!void {
    var name = tb.str(model);
    var domain = terms_of(terms);
    var page = std.mem.zeroes(c.triggerbox_automation_records_page_t);
    var found: c.automation_list_u32_t = undefined;
    return tb.check(c.triggerbox_automation_records_search(&name, &domain, &page, &found, &tb.problem));
}

fn writes(event: tb.Event, model: []const u8, lead: u32) void {
    const one = &[_]u32{lead};
    note("records.write", tb.write(model, one, .{ .expected_revenue = 1234.5 }));
    note("records.read.staged", tb.read(model, one, &.{"expected_revenue"}));
    note("records.ensure", tb.ensure("crm.tag", &.{"name"}, .{ .name = "contract check" }));
    if (tb.ensure("crm.tag", &.{"name"}, .{ .name = "contract check" })) |tag| {
        note("records.ensure.again", tb.check(true));
        var tags = [_]u32{tag};
        const Kind = struct { []const u8, tb.Command };
        const made = tb.toHost(.{ .values = &.{.{ .name = "name", .value = .{ .text = "made by a command" } }} }).values;
        const color = tb.toHost(.{ .values = &.{.{ .name = "color", .value = .{ .integer = 5 } }} }).values;
        const commands = [_]Kind{
            .{ "link", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_LINK, .val = .{ .link = tag } } },
            .{ "unlink", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_UNLINK, .val = .{ .unlink = tag } } },
            .{ "replace", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_REPLACE, .val = .{ .replace = .{ .ptr = &tags, .len = 1 } } } },
            .{ "create", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_CREATE, .val = .{ .create = .{ .ptr = made.ptr, .len = made.len } } } },
            .{ "update", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_UPDATE, .val = .{ .update = .{ .f0 = tag, .f1 = .{ .ptr = color.ptr, .len = color.len } } } } },
            .{ "delete", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_DELETE, .val = .{ .delete_ = tag } } },
            .{ "clear", .{ .tag = c.TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_CLEAR } },
        };
        for (commands) |command| {
            note(tb.format("records.relate.{s}", .{command[0]}), tb.relate(model, lead, "tag_ids", &.{command[1]}));
        }
    } else |problem| note("records.ensure.again", @as(tb.Error!void, problem));
    const title = tb.format("made by {s}", .{tb.text(event.host.rule)});
    if (tb.create(model, .{ .name = title })) |made| {
        note("records.create", tb.check(true));
        note("records.read.created", tb.read(model, &.{made}, &.{ "name", "create_date" }));
        note("records.mention", tb.mention(model, made));
        note("records.copy", tb.copy(model, made, .{ .name = "a copy" }));
        note("records.unlink", tb.unlink(model, &.{made}));
    } else |problem| note("records.create", @as(tb.Error!void, problem));
    note("records.call", tb.call(model, one, "action_archive", "{}"));
    note("records.call.read-only", tb.call(model, &.{}, "name_search", "{\"name\": \"a\", \"limit\": 1}"));
    note("records.wrong-type", tb.write(model, one, .{ .name = 1 }));
    note("records.provisional-id-as-text", tb.write(model, one, .{ .description = "see 2147483648" }));
}

fn chatter(event: tb.Event, model: []const u8, lead: u32) void {
    const files = [_]tb.Attachment{.{ .name = "note.txt", .mime_type = "text/plain", .content = "attached" }};
    const body = tb.format("<b>{s}</b>", .{tb.escape("1 < 2")});
    note("chatter.post-message", tb.postMessage(model, lead, .{ .body = body, .html = true, .subject = "Contract check", .attachments = &files }));
    note("chatter.post-note", tb.postNote(model, lead, .{ .body = "1 < 2, as text" }));
    note("chatter.schedule-activity", tb.schedule(model, lead, .{
        .summary = "Check the contract",
        .note = "<p>All of it.</p>",
        .deadline = "2026-11-20",
        .user = event.host.run_as.id,
    }));
    note("chatter.complete-activities", tb.completeActivities(model, lead, "mail.mail_activity_data_todo", "checked"));
    note("chatter.add-followers", tb.addFollowers(model, lead, &.{1}));
    note("chatter.remove-followers", tb.removeFollowers(model, lead, &.{1}));
    note("chatter.read-messages", tb.messages(model, lead, 3));
}

/// What a comparison came to.
fn equal(is: bool) tb.Error!void {
    if (!is) tb.problem.code = tb.str("differs");
    return tb.check(is);
}

const Said = struct { text: []const u8, times: u32 };

fn stateAndRuntime(event: tb.Event) void {
    note("state.get", tb.state.get(Said, "count"));
    note("state.set", tb.state.set("count", Said{ .text = "1 \"one\"\n", .times = 2 }));
    const kept = tb.state.get(Said, "count");
    note("state.get.staged", kept);
    const said: Said = (kept catch null) orelse .{ .text = "", .times = 0 };
    note("state.kept", equal(said.times == 2 and std.mem.eql(u8, said.text, "1 \"one\"\n")));
    note("state.remove", tb.state.remove("count"));
    note("calendar.to-local", tb.calendar.toLocal(tb.text(event.host.now), "Europe/Brussels"));
    note("calendar.to-utc", tb.calendar.toUtc("2026-03-29T02:30:00", "Europe/Brussels"));
    note("calendar.unknown-zone", tb.calendar.toUtc("2026-03-29T02:30:00", "Europe/Nowhere"));
    note("budget.remaining", equal(tb.remaining("host-calls") != null));
    note("budget.unknown", equal(tb.remaining("patience") == null));
    tb.log.debug("log.debug", .{});
    tb.log.warning("log.warning", .{});
    tb.log.err("log.error", .{});
}

fn completion(name: []const u8, turns: []const tb.llm.Turn, options: tb.llm.Options) ?tb.llm.Completion {
    const answer = tb.llm.complete(turns, options) catch |problem| {
        note(name, @as(tb.Error!void, problem));
        return null;
    };
    note(name, tb.check(true));
    const finish = switch (answer.finish) {
        .tool_calls => "tool-calls",
        else => |other| @tagName(other),
    };
    var parts = tb.format("{s} | {d} + {d} tokens, {d:.0} millionths of {s} | {s} | {s}", .{
        finish,                answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cost * 1e6,
        answer.usage.currency, answer.model,              answer.text,
    });
    for (answer.calls) |call| parts = tb.format("{s} | {s} {s} {s}", .{ parts, call.id, call.name, call.arguments_json });
    show(name, parts);
    return answer;
}

/// Asks for tools, tells what came of them, and asks for answers that end in other ways.
fn languageModel() void {
    const schema = "{\"type\": \"object\", \"properties\": {}}";
    const question: tb.llm.Turn = .{ .user = "What is a contract?" };
    const answer = completion("llm.complete", &.{ .{ .system = "Answer briefly." }, question, .{ .assistant = "An agreement." } }, .{
        .tools = &.{.{ .name = "look_up", .description = "Looks a word up", .schema = schema }},
        .schema = schema,
        .temperature = 0,
        .max_tokens = 10,
    }) orelse return;
    if (answer.calls.len != 2) return;
    const came = [_]tb.llm.Result{ answer.calls[0].result("An agreement."), answer.calls[1].failure("no such word") };
    _ = completion("llm.tool-results", &.{ question, .{ .answered = answer }, .{ .tool_results = &came } }, .{});
    for ([_][]const u8{ "length", "refused", "other" }) |end| {
        _ = completion(tb.format("llm.{s}", .{end}), &.{.{ .user = end }}, .{ .model = "test/small" });
    }
}

fn response(name: []const u8, request: tb.http.Request) void {
    const answer = tb.http.send(request) catch |problem| return note(name, @as(tb.Error!void, problem));
    note(name, tb.check(true));
    show(name, tb.format("{d} | {s} | {s}", .{ answer.status, answer.header("Content-Type") orelse "", answer.body }));
}

/// A request without a body, and one with bytes that are no text.
fn otherService(event: tb.Event) void {
    const url = event.parameter("service").text;
    response("http.send", .{ .url = url, .headers = &.{.{ .name = "accept", .value = "text/plain" }} });
    response("http.post", .{
        .method = "POST",
        .url = url,
        .headers = &.{.{ .name = "content-type", .value = "application/octet-stream" }},
        .body = "\x00\xff\n\x00",
    });
}

const KINDS = [_]tb.Named{
    .{ .name = "x_boolean", .value = .{ .boolean = true } },
    .{ .name = "x_integer", .value = .{ .integer = std.math.minInt(i32) } },
    .{ .name = "x_float", .value = .{ .number = 0.1 + 0.2 } },
    .{ .name = "x_text", .value = .{ .text = "na\xc3\xafve \xe2\x98\x83 \xf0\x9f\xa6\x80\n\"'\\<b>" } },
    .{ .name = "x_date", .value = .{ .date = "2026-02-28" } },
    .{ .name = "x_datetime", .value = .{ .datetime = "2026-02-28T23:59:59Z" } },
    .{ .name = "x_partner_id", .value = .{ .many2one = .{ .id = 1 } } },
    .{ .name = "x_tag_ids", .value = .{ .ids = &.{ 1, 2 } } },
    .{ .name = "x_reference", .value = .{ .reference = .{ .model = "res.partner", .id = 1 } } },
    .{ .name = "x_binary", .value = .{ .binary = "\x00\xff\n\x00" } },
    .{ .name = "x_json", .value = .{ .json = "{\"a\":[1,2.5,null,\"b\"]}" } },
};

/// What there is to say of fields besides their type.
fn details() void {
    const found = tb.describeFields("x_contract", &.{ "x_amount", "x_owner_id", "x_login" });
    note("records.describe-fields", found);
    const rules = [_][]const u8{ "set-null", "restrict", "cascade" };
    var told: []const u8 = "";
    for (found catch &.{}, 0..) |field, index| {
        told = tb.format("{s}{s}{s} {s}", .{ told, if (index == 0) "" else " | ", tb.text(field.info.name), tb.text(field.info.kind) });
        if (field.digits.is_some) told = tb.format("{s} {d}/{d}", .{ told, field.digits.val.f0, field.digits.val.f1 });
        if (field.default_.is_some) {
            const default = field.default_.val;
            told = if (default.tag == c.TRIGGERBOX_AUTOMATION_RECORDS_FIELD_DEFAULT_LITERAL)
                tb.format("{s} literal {s}", .{ told, tb.text(default.val.literal) })
            else
                tb.format("{s} function {s}", .{ told, tb.text(default.val.function) });
        }
        if (field.on_delete.is_some) told = tb.format("{s} {s}", .{ told, rules[field.on_delete.val] });
        if (field.copied.is_some and field.copied.val) told = tb.format("{s} copied", .{told});
        if (field.related.is_some) told = tb.format("{s} shows {s}", .{ told, tb.text(field.related.val) });
        told = tb.format("{s} {d} groups", .{ told, if (field.groups.is_some) field.groups.val.len else 0 });
    }
    show("records.describe-fields", told);
}

/// Every kind of value, to a record and back, and as the right-hand side of a condition.
fn roundTrip(event: tb.Event) void {
    var names: [KINDS.len][]const u8 = undefined;
    var full: [KINDS.len + 1]tb.Named = undefined;
    var empty: [KINDS.len + 1]tb.Named = undefined;
    full[0] = .{ .name = "x_name", .value = .{ .text = tb.format("full, by {s}", .{tb.text(event.host.rule)}) } };
    empty[0] = .{ .name = "x_name", .value = .{ .text = "empty" } };
    for (KINDS, 0..) |kind, index| {
        names[index] = kind.name;
        full[index + 1] = kind;
        empty[index + 1] = .{ .name = kind.name, .value = .unset };
    }
    const made = tb.create("x_contract", @as([]const tb.Named, &full)) catch |problem| {
        return note("values.create", @as(tb.Error!void, problem));
    };
    note("values.create", tb.check(true));
    const other = tb.create("x_contract", @as([]const tb.Named, &empty)) catch 0;
    note("values.create.empty", tb.check(other != 0));
    const rows = tb.read("x_contract", &.{made}, &names) catch |problem| return note("values.read.full", @as(tb.Error!void, problem));
    note("values.read.full", tb.check(rows.len == 1));
    const left = tb.read("x_contract", &.{other}, &names) catch |problem| return note("values.read.empty", @as(tb.Error!void, problem));
    note("values.read.empty", tb.check(left.len == 1));
    for (KINDS, 0..) |kind, index| {
        tb.problem.code = tb.str("differs");
        note(tb.format("values.{s}.full", .{kind.name}), tb.check(same(kind.value, rows[0].values[index])));
        // Numbers, booleans and lists have no other emptiness.
        const nothing: tb.Value = switch (kind.value) {
            .boolean => .{ .boolean = false },
            .integer => .{ .integer = 0 },
            .number => .{ .number = 0 },
            .ids => .{ .ids = &.{} },
            else => .unset,
        };
        note(tb.format("values.{s}.empty", .{kind.name}), tb.check(same(nothing, left[0].values[index])));
        const asked = tb.toHost(.{ .values = &.{kind} }).values.ptr[0].value;
        const one: c.triggerbox_automation_types_operand_t = .{ .tag = c.TRIGGERBOX_AUTOMATION_TYPES_OPERAND_ONE, .val = .{ .one = asked } };
        var terms = [_]c.triggerbox_automation_types_term_t{condition(kind.name, c.TRIGGERBOX_AUTOMATION_TYPES_OPERATOR_EQ, one)};
        var name = tb.str("x_contract");
        var domain = terms_of(&terms);
        var count: u32 = 0;
        note(tb.format("values.domain.{s}", .{kind.name}), tb.check(c.triggerbox_automation_records_search_count(&name, &domain, &count, &tb.problem)));
    }
}

fn same(one: tb.Value, other: tb.Value) bool {
    if (std.meta.activeTag(one) != std.meta.activeTag(other)) return false;
    return switch (one) {
        .many2one => |link| link.id == other.many2one.id,
        .ids => |ids| std.mem.eql(u32, ids, other.ids),
        .text => |text| std.mem.eql(u8, text, other.text),
        .date => |text| std.mem.eql(u8, text, other.date),
        .datetime => |text| std.mem.eql(u8, text, other.datetime),
        .binary => |bytes| std.mem.eql(u8, bytes, other.binary),
        .json => |text| std.mem.eql(u8, text, other.json),
        .reference => |ref| ref.id == other.reference.id and std.mem.eql(u8, ref.model, other.reference.model),
        .boolean => |flag| flag == other.boolean,
        .integer => |number| number == other.integer,
        .number => |number| number == other.number,
        .unset, .pending => true,
    };
}

pub fn run(event: tb.Event) !tb.Outcome {
    const model = try event.model();
    if (event.ids().len == 0) return tb.fail("run this on a lead", .{});
    const lead = event.ids()[0];
    parameters(event);
    reads(model, lead);
    writes(event, model, lead);
    chatter(event, model, lead);
    stateAndRuntime(event);
    languageModel();
    otherService(event);
    details();
    roundTrip(event);
    return .{
        .message = tb.format("{d} calls, {d} refused", .{ calls, refused }),
        .values = &.{.{ .name = "name", .value = .{ .text = "from the outcome" } }},
        .warning = "a warning",
        .records = event.ids(),
        .result_json = tb.format("{{{s}}}", .{results}),
    };
}
