// Calls everything in the contract once and logs the answers.
//
// To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its name, then `ok` or `error`
// with code and message. No answer ends the run. The outcome's result is a JSON object of the same names with `ok` or the
// error's code. Where an answer is put together of parts, another line shows what this language made of them: it is the same
// one in every language.

#include "triggerbox.h"

#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

// The bindings keep what a script returns until the run ends: so does this.
static std::string results;
static unsigned calls, refused;

// Notes what a call came to, and passes it on.
static bool note(const char *name, bool ok) {
  const char *code = ok ? "ok" : tb_c(tb_error.code);
  if (ok) tb_info("%s: ok", name);
  else tb_info("%s: error %s: %s", name, code, tb_c(tb_error.message));
  results += tb_format("%s\"%s\":\"%s\"", calls ? "," : "", name, code);
  calls += 1;
  refused += !ok;
  return ok;
}

// Shows the parts of an answer.
static void show(const char *name, const char *parts) {
  tb_info("answer of %s: %s", name, parts);
}

static void event_and_parameters(const tb_event *event) {
  tb_info("event %s of rule %s, attempt %u, seed %u, by %s for %s at %s", tb_c(event->run_id), tb_c(event->rule),
          (unsigned)event->attempt, (unsigned)event->seed, tb_c(event->actor.name), tb_c(event->run_as.name),
          tb_c(event->now));
  const char *names[] = {"service",  "text",      "integer",  "float", "boolean", "date",
                         "datetime", "selection", "many2one", "unset"};
  for (const char *name : names) {
    tb_value value = tb_parameter(event, name);
    note(tb_format("parameter.%s", name), true);
    tb_info("parameter.%s is %s", name, tb_show(&value));
  }
}

static void reads(const char *model, uint32_t lead) {
  tb_ids ids;
  tb_rows rows;
  uint32_t count;
  tb_str name = tb_s(model);
  const char *mine = tb_format("[('id', '=', %u)]", (unsigned)lead);
  note("records.search.literal", tb_search(model, "['|', ('name', 'ilike', 'a'), (1, '=', 1)]", tb_page{.limit = 2}, &ids));

  // A domain as terms, as the contract has them.
  tb_value flags[] = {tb_boolean(true), tb_boolean(false)};
  triggerbox_automation_types_term_t terms[] = {
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_OR},
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_NEVER},
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_AND},
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_ALWAYS},
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_NOT},
      {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_CONDITION},
  };
  terms[5].val.condition.field = tb_s("active");
  terms[5].val.condition.operator_ = TRIGGERBOX_AUTOMATION_TYPES_OPERATOR_NOT_IN;
  terms[5].val.condition.value.tag = TRIGGERBOX_AUTOMATION_TYPES_OPERAND_MANY;
  terms[5].val.condition.value.val.many.ptr = flags;
  terms[5].val.condition.value.val.many.len = 2;
  triggerbox_automation_types_domain_t domain = {.tag = TRIGGERBOX_AUTOMATION_TYPES_DOMAIN_TERMS};
  domain.val.terms.ptr = terms;
  domain.val.terms.len = 6;
  triggerbox_automation_records_page_t page = {.limit = {true, 2}, .order = {true, tb_s("id")}};
  note("records.search", triggerbox_automation_records_search(&name, &domain, &page, &ids, &tb_error));
  terms[0].tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_CONDITION;
  terms[0].val.condition.field = tb_s("tag_ids");
  terms[0].val.condition.operator_ = TRIGGERBOX_AUTOMATION_TYPES_OPERATOR_ANY;
  terms[0].val.condition.value.tag = TRIGGERBOX_AUTOMATION_TYPES_OPERAND_DOMAIN;
  terms[0].val.condition.value.val.domain = tb_s("[('id', '>', 0)]");
  domain.val.terms.len = 1;
  note("records.search.any", triggerbox_automation_records_search(&name, &domain, &page, &ids, &tb_error));

  note("records.search-read", tb_search_read(model, mine, "name,stage_id", tb_page{}, &rows));
  note("records.search-count", tb_count(model, mine, &count));
  note("records.read", tb_read(model, TB_IDS(lead), "name,expected_revenue,tag_ids,create_date", &rows));
  tb_groups groups;
  if (note("records.read-group", tb_read_group(model, "[]", "stage_id", "expected_revenue:sum,__count",
                                               tb_group_page{.limit = 2, .order = "stage_id"}, &groups))) {
    const char *stages = "";
    for (size_t index = 0; index < groups.len; index++) {
      const tb_group *group = &groups.ptr[index];
      tb_value stage = tb_group_value(group, "stage_id"), expected = tb_group_value(group, "expected_revenue:sum");
      stages = tb_format("%s%s%s, %u, %.0f", stages, index ? " | " : "", tb_option(stage.val.many2one.display_name),
                         (unsigned)group->count, expected.val.number);
    }
    show("records.read-group", stages);
  }
  tb_links links;
  note("records.name-search", tb_name_search(model, "a", 2, &links));
  tb_field_infos infos;
  note("records.fields-get", tb_fields_get(model, "type,stage_id", &infos));
  bool may;
  note("records.has-access", tb_has_access(model, TB_IDS(lead), TRIGGERBOX_AUTOMATION_RECORDS_OPERATION_WRITE, &may));
  tb_ref company;
  note("records.resolve-xmlid", tb_resolve("base.main_company", &company));
  note("records.unknown-model", tb_search("crm.laed", "[]", tb_page{}, &ids));
  note("records.unknown-field", tb_read(model, TB_IDS(lead), "nmae", &rows));
  note("records.no-fields", tb_read(model, TB_IDS(lead), "", &rows));
  note("records.bad-domain", tb_search(model, "[('name', '=']", tb_page{}, &ids));
}

static void writes(const tb_event *event, const char *model, uint32_t lead) {
  tb_rows rows;
  uint32_t tag, made, copy;
  const char *text;
  note("records.write", tb_write(model, TB_IDS(lead), TB_FIELDS({"expected_revenue", tb_number(1234.5)})));
  note("records.read.staged", tb_read(model, TB_IDS(lead), "expected_revenue", &rows));
  note("records.ensure", tb_ensure("crm.tag", "name", TB_FIELDS({"name", tb_text("contract check")}), &tag));
  if (note("records.ensure.again", tb_ensure("crm.tag", "name", TB_FIELDS({"name", tb_text("contract check")}), &tag))) {
    tb_named called[] = {{"name", tb_text("made by a command")}}, color[] = {{"color", tb_integer(5)}};
    const struct {
      const char *name;
      tb_command command;
    } commands[] = {
        {"link", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_LINK, {.link = tag}}},
        {"unlink", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_UNLINK, {.unlink = tag}}},
        {"replace", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_REPLACE, {.replace = TB_IDS(tag)}}},
        {"create", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_CREATE, {.create = tb_fields(called, 1)}}},
        {"update", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_UPDATE, {.update = {tag, tb_fields(color, 1)}}}},
        {"delete", {TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_DELETE, {.delete_ = tag}}},
        {"clear", {.tag = TRIGGERBOX_AUTOMATION_RECORDS_COMMAND_CLEAR}},
    };
    for (const auto &[name, command] : commands) {
      bool ok = tb_relate(model, lead, "tag_ids", &command, 1);
      note(tb_format("records.relate.%s", name), ok);
    }
  }
  const char *title = tb_format("made by %s", tb_c(event->rule));
  if (note("records.create", tb_create(model, TB_FIELDS({"name", tb_text(title)}), &made))) {
    note("records.read.created", tb_read(model, TB_IDS(made), "name,create_date", &rows));
    note("records.mention", tb_mention(model, made, &text));
    note("records.copy", tb_copy(model, made, TB_FIELDS({"name", tb_text("a copy")}), &copy));
    note("records.unlink", tb_unlink(model, TB_IDS(made)));
  }
  note("records.call", tb_call(model, TB_IDS(lead), "action_archive", "{}", nullptr));
  note("records.call.read-only", tb_call(model, tb_list({}), "name_search", "{\"name\": \"a\", \"limit\": 1}", &text));
  note("records.wrong-type", tb_write(model, TB_IDS(lead), TB_FIELDS({"name", tb_integer(1)})));
  note("records.provisional-id-as-text",
       tb_write(model, TB_IDS(lead), TB_FIELDS({"description", tb_text("see 2147483648")})));
}

static void chatter(const tb_event *event, const char *model, uint32_t lead) {
  tb_message message = tb_html(tb_format("<b>%s</b>", tb_escape("1 < 2")));
  triggerbox_automation_chatter_attachment_t file = {
      tb_s("note.txt"), tb_s("text/plain"), {(uint8_t *)"attached", 8}};
  message.subject = tb_some("Contract check");
  message.attachments.ptr = &file;
  message.attachments.len = 1;
  note("chatter.post-message", tb_post_message(model, lead, message));
  note("chatter.post-note", tb_post_note(model, lead, tb_plain("1 < 2, as text")));
  tb_activity activity = tb_todo("mail.mail_activity_data_todo", "Check the contract", "2026-11-20");
  activity.note = tb_some("<p>All of it.</p>");
  activity.user_id = automation_option_u32_t{true, event->run_as.id};
  note("chatter.schedule-activity", tb_schedule(model, lead, activity));
  uint32_t count;
  note("chatter.complete-activities",
       tb_complete_activities(model, lead, "mail.mail_activity_data_todo", "checked", &count));
  note("chatter.add-followers", tb_add_followers(model, lead, TB_IDS(1)));
  note("chatter.remove-followers", tb_remove_followers(model, lead, TB_IDS(1)));
  tb_posted posted;
  note("chatter.read-messages", tb_read_messages(model, lead, 3, &posted));
}

// Notes what a comparison came to.
static void same(const char *name, bool equal) {
  if (!equal) {
    tb_error.code = tb_s("differs");
    tb_error.message = tb_s("not what it was");
  }
  note(name, equal);
}

static void state_and_runtime(const tb_event *event) {
  const char *kept = nullptr, *local, *utc, *said = tb_json_text("1 \"one\"\n");
  note("state.get", tb_state_get("count", &kept));
  note("state.set", tb_state_set("count", said));
  if (note("state.get.staged", tb_state_get("count", &kept))) same("state.kept", kept && strcmp(kept, said) == 0);
  note("state.remove", tb_state_set("count", nullptr));
  note("calendar.to-local", tb_to_local(tb_c(event->now), "Europe/Brussels", &local));
  note("calendar.to-utc", tb_to_utc("2026-03-29T02:30:00", "Europe/Brussels", &utc));
  note("calendar.unknown-zone", tb_to_utc("2026-01-01T00:00:00", "Europe/Nowhere", &utc));
  double left;
  same("budget.remaining", tb_remaining("host-calls", &left));
  same("budget.unknown", !tb_remaining("patience", &left));
  tb_debug("log.debug");
  tb_warning("log.warning");
  tb_alarm("log.error");
  // What language runtimes ask of WASI: the clock of the event.
  tb_info("wasi.clock: %lld", (long long)std::time(nullptr));
}

static bool completed(const char *name, bool ok, const tb_completion *answer) {
  if (!note(name, ok)) return false;
  const char *parts = tb_format("%s | %u + %u tokens, %.0f millionths of %s | %s | %s", tb_finish(answer),
                                (unsigned)answer->usage.input_tokens, (unsigned)answer->usage.output_tokens,
                                answer->usage.cost * 1e6, tb_c(answer->usage.currency), tb_c(answer->model),
                                tb_c(answer->text));
  for (size_t index = 0; index < answer->calls.len; index++) {
    const tb_tool_call *call = &answer->calls.ptr[index];
    parts = tb_format("%s | %s %s %s", parts, tb_c(call->id), tb_c(call->name), tb_c(call->arguments_json));
  }
  show(name, parts);
  return true;
}

// Asks for tools, tells what came of them, and asks for answers that end in other ways.
static void language_model() {
  const char *schema = "{\"type\": \"object\", \"properties\": {}}";
  tb_tool tool = tb_tool_of("look_up", "Looks a word up", schema);
  tb_answering how = {
      .tools = &tool, .tools_length = 1, .schema = schema, .temperature = {true, 0}, .max_tokens = 10};
  tb_turn question = tb_user("What is a contract?");
  tb_completion answer, next;
  bool ok = tb_complete(TB_TURNS(tb_system("Answer briefly."), question, tb_assistant("An agreement.")), how, &answer);
  if (!completed("llm.complete", ok, &answer) || answer.calls.len != 2) return;

  tb_tool_result results[] = {tb_result(&answer.calls.ptr[0], "An agreement."), tb_failure(&answer.calls.ptr[1], "no such word")};
  ok = tb_complete(TB_TURNS(question, tb_answered(&answer), tb_tool_results(results, 2)), tb_answering{}, &next);
  completed("llm.tool-results", ok, &next);
  for (const char *end : {"length", "refused", "other"}) {
    ok = tb_complete(TB_TURNS(tb_user(end)), tb_answering{.model = "test/small"}, &next);
    completed(tb_format("llm.%s", end), ok, &next);
  }
}

static void responded(const char *name, bool ok, const tb_response *response) {
  if (!note(name, ok)) return;
  const char *kind = tb_response_header(response, "Content-Type");
  show(name, tb_format("%u | %s | %s", (unsigned)response->status, kind ? kind : "", tb_response_text(response)));
}

// A request without a body, and one with bytes that are no text.
static void other_service(const tb_event *event) {
  const char *url = tb_as_text(tb_parameter(event, "service"));
  tb_response response;
  bool ok = tb_send("GET", url, TB_HEADERS({"accept", "text/plain"}), nullptr, 0, &response);
  responded("http.send", ok, &response);
  ok = tb_send("POST", url, TB_HEADERS({"content-type", "application/octet-stream"}), "\0\xff\n\0", 4, &response);
  responded("http.post", ok, &response);
}

// What there is to say of fields besides their type.
static void details() {
  tb_field_details found;
  if (!note("records.describe-fields", tb_describe_fields("x_contract", "x_amount,x_owner_id,x_login", &found))) return;
  const char *rules[] = {"set-null", "restrict", "cascade"}, *told = "";
  for (size_t index = 0; index < found.len; index++) {
    const triggerbox_automation_records_field_details_t *field = &found.ptr[index];
    told = tb_format("%s%s%s %s", told, index ? " | " : "", tb_c(field->info.name), tb_c(field->info.kind));
    if (field->digits.is_some) told = tb_format("%s %u/%u", told, (unsigned)field->digits.val.f0, (unsigned)field->digits.val.f1);
    if (field->default_.is_some) {
      bool is_literal = field->default_.val.tag == TRIGGERBOX_AUTOMATION_RECORDS_FIELD_DEFAULT_LITERAL;
      told = is_literal ? tb_format("%s literal %s", told, tb_c(field->default_.val.val.literal))
                        : tb_format("%s function %s", told, tb_c(field->default_.val.val.function));
    }
    if (field->on_delete.is_some) told = tb_format("%s %s", told, rules[field->on_delete.val]);
    if (field->copied.is_some && field->copied.val) told = tb_format("%s copied", told);
    if (field->related.is_some) told = tb_format("%s shows %s", told, tb_option(field->related));
    told = tb_format("%s %u groups", told, field->groups.is_some ? (unsigned)field->groups.val.len : 0);
  }
  show("records.describe-fields", told);
}

// Every kind of value, to a record and back, and as the right-hand side of a condition.
static void round_trip(const tb_event *event) {
  const char *names = "x_boolean,x_integer,x_float,x_text,x_date,x_datetime,x_partner_id,x_tag_ids,x_reference,x_binary,x_json";
  tb_named kinds[] = {
      {"x_boolean", tb_boolean(true)},
      {"x_integer", tb_integer(INT32_MIN)},
      {"x_float", tb_number(0.1 + 0.2)},
      {"x_text", tb_text("na\xc3\xafve \xe2\x98\x83 \xf0\x9f\xa6\x80\n\"'\\<b>")},
      {"x_date", tb_date("2026-02-28")},
      {"x_datetime", tb_datetime("2026-02-28T23:59:59Z")},
      {"x_partner_id", tb_many2one(1)},
      {"x_tag_ids", tb_ids_value(TB_IDS(1, 2))},
      {"x_reference", tb_reference("res.partner", 1)},
      {"x_binary", tb_binary("\0\xff\n\0", 4)},
      {"x_json", tb_json("{\"a\":[1,2.5,null,\"b\"]}")},
  };
  constexpr size_t KINDS = std::size(kinds);
  // Numbers, booleans and lists have no other emptiness.
  tb_value empties[KINDS] = {tb_boolean(false), tb_integer(0), tb_number(0)};
  for (size_t index = 3; index < KINDS; index++) empties[index] = tb_unset();
  empties[7] = tb_ids_value({});
  tb_named full[KINDS + 1] = {{"x_name", tb_text(tb_format("full, by %s", tb_c(event->rule)))}};
  tb_named empty[KINDS + 1] = {{"x_name", tb_text("empty")}};
  for (size_t index = 0; index < KINDS; index++) {
    full[index + 1] = kinds[index];
    empty[index + 1] = tb_named{kinds[index].name, tb_unset()};
  }
  uint32_t id, other;
  tb_rows rows;
  if (!note("values.create", tb_create("x_contract", full, KINDS + 1, &id))) return;
  note("values.create.empty", tb_create("x_contract", empty, KINDS + 1, &other));
  tb_rows nothing;
  if (note("values.read.full", tb_read("x_contract", TB_IDS(id), names, &rows)) &&
      note("values.read.empty", tb_read("x_contract", TB_IDS(other), names, &nothing))) {
    for (size_t index = 0; index < KINDS; index++) {
      const tb_value *read = &rows.rows[0].values.ptr[index], *left = &nothing.rows[0].values.ptr[index];
      bool same = tb_same(read, &kinds[index].value), is_empty = tb_same(left, &empties[index]);
      tb_error.code = tb_s("differs");
      tb_error.message = tb_s(tb_show(read));
      note(tb_format("values.%s.full", kinds[index].name), same);
      tb_error.message = tb_s(tb_show(left));
      note(tb_format("values.%s.empty", kinds[index].name), is_empty);
    }
  }
  // Each kind again as the right-hand side of a condition.
  tb_str model = tb_s("x_contract");
  for (size_t index = 0; index < KINDS; index++) {
    triggerbox_automation_types_term_t term = {.tag = TRIGGERBOX_AUTOMATION_TYPES_TERM_CONDITION};
    term.val.condition.field = tb_s(kinds[index].name);
    term.val.condition.value.val.one = kinds[index].value;
    triggerbox_automation_types_domain_t domain = {.tag = TRIGGERBOX_AUTOMATION_TYPES_DOMAIN_TERMS};
    domain.val.terms.ptr = &term;
    domain.val.terms.len = 1;
    uint32_t count;
    note(tb_format("values.domain.%s", kinds[index].name),
         triggerbox_automation_records_search_count(&model, &domain, &count, &tb_error));
  }
}

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  if (!event->model.is_some || !event->records.len) return tb_fail("run this on a lead");
  const char *model = tb_c(event->model.val);
  uint32_t lead = event->records.ptr[0];
  results = "{";
  event_and_parameters(event);
  reads(model, lead);
  writes(event, model, lead);
  chatter(event, model, lead);
  state_and_runtime(event);
  language_model();
  other_service(event);
  details();
  round_trip(event);
  results += "}";
  const tb_named values[] = {{"name", tb_text("from the outcome")}};
  outcome->values.ptr = tb_fields(values, 1).ptr;
  outcome->values.len = 1;
  outcome->warning = tb_some("a warning");
  outcome->records = event->records;
  outcome->result_json = tb_some(results.c_str());
  return tb_done(outcome, "%u calls, %u refused", calls, refused);
}
