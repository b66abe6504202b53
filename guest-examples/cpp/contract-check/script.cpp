// Calls everything in the contract once and logs the answers.
//
// To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its name, then `ok` or `error`
// with code and message. No answer ends the run. The outcome's result is a JSON object of the same names with `ok` or the
// error's code.

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

static void event_and_parameters(const tb_event *event) {
  tb_info("event %s of rule %s, attempt %u, seed %u, by %s for %s at %s", tb_c(event->run_id), tb_c(event->rule),
          (unsigned)event->attempt, (unsigned)event->seed, tb_c(event->actor.name), tb_c(event->run_as.name),
          tb_c(event->now));
  const char *names[] = {"text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one", "unset"};
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
  triggerbox_automation_types_domain_t all = tb_domain("[]");
  automation_list_string_t by = tb_names("stage_id"), aggregates = tb_names("expected_revenue:sum,__count");
  triggerbox_automation_records_group_page_t part = {.limit = {true, 2}, .order = {true, tb_s("stage_id")}};
  triggerbox_automation_records_list_group_t groups;
  note("records.read-group",
       triggerbox_automation_records_read_group(&name, &all, &by, &aggregates, &part, &groups, &tb_error));
  tb_str text = tb_s("a");
  triggerbox_automation_records_list_link_t links;
  note("records.name-search", triggerbox_automation_records_name_search(&name, &text, 2, &links, &tb_error));
  automation_list_string_t fields = tb_names("type,stage_id");
  triggerbox_automation_records_list_field_info_t infos;
  note("records.fields-get", triggerbox_automation_records_fields_get(&name, &fields, &infos, &tb_error));
  tb_ids one = TB_IDS(lead);
  bool may;
  note("records.has-access", triggerbox_automation_records_has_access(
                                 &name, &one, TRIGGERBOX_AUTOMATION_RECORDS_OPERATION_WRITE, &may, &tb_error));
  tb_str xmlid = tb_s("base.main_company");
  tb_ref company;
  note("records.resolve-xmlid", triggerbox_automation_records_resolve_xmlid(&xmlid, &company, &tb_error));
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
  message.subject = automation_option_string_t{true, tb_s("Contract check")};
  message.attachments.ptr = &file;
  message.attachments.len = 1;
  note("chatter.post-message", tb_post_message(model, lead, message));
  note("chatter.post-note", tb_post_note(model, lead, tb_plain("1 < 2, as text")));
  tb_activity activity = tb_todo("mail.mail_activity_data_todo", "Check the contract", "2026-11-20");
  activity.note = automation_option_string_t{true, tb_s("<p>All of it.</p>")};
  activity.user_id = automation_option_u32_t{true, event->run_as.id};
  note("chatter.schedule-activity", tb_schedule(model, lead, activity));
  tb_ref target = {tb_s(model), lead};
  tb_str kind = tb_s("mail.mail_activity_data_todo"), feedback = tb_s("checked");
  uint32_t count;
  note("chatter.complete-activities",
       triggerbox_automation_chatter_complete_activities(&target, &kind, &feedback, &count, &tb_error));
  tb_ids partners = TB_IDS(1);
  note("chatter.add-followers", triggerbox_automation_chatter_add_followers(&target, &partners, &tb_error));
  note("chatter.remove-followers", triggerbox_automation_chatter_remove_followers(&target, &partners, &tb_error));
  triggerbox_automation_chatter_list_posted_t posted;
  note("chatter.read-messages", triggerbox_automation_chatter_read_messages(&target, 3, &posted, &tb_error));
}

static void services(const tb_event *event) {
  tb_str key = tb_s("count"), one = tb_s("1"), text;
  automation_option_string_t kept;
  note("state.get", triggerbox_automation_state_get(&key, &kept, &tb_error));
  note("state.set", triggerbox_automation_state_set(&key, &one, &tb_error));
  note("state.get.staged", triggerbox_automation_state_get(&key, &kept, &tb_error));
  note("state.remove", triggerbox_automation_state_set(&key, nullptr, &tb_error));
  tb_str now = event->now, zone = tb_s("Europe/Brussels"), nowhere = tb_s("Europe/Nowhere");
  tb_str gap = tb_s("2026-03-29T02:30:00"), winter = tb_s("2026-01-01T00:00:00");
  note("calendar.to-local", triggerbox_automation_calendar_to_local(&now, &zone, &text, &tb_error));
  note("calendar.to-utc", triggerbox_automation_calendar_to_utc(&gap, &zone, &text, &tb_error));
  note("calendar.unknown-zone", triggerbox_automation_calendar_to_utc(&winter, &nowhere, &text, &tb_error));
  tb_str limit = tb_s("host-calls"), unknown = tb_s("patience");
  double left;
  note("budget.remaining", triggerbox_automation_budget_remaining(&limit, &left));
  note("budget.unknown", !triggerbox_automation_budget_remaining(&unknown, &left));
  triggerbox_automation_llm_message_t turns[] = {
      {TRIGGERBOX_AUTOMATION_LLM_MESSAGE_SYSTEM, {.system = tb_s("Answer briefly.")}},
      {TRIGGERBOX_AUTOMATION_LLM_MESSAGE_USER, {.user = tb_s("What is a contract?")}},
      {TRIGGERBOX_AUTOMATION_LLM_MESSAGE_ASSISTANT, {.assistant = tb_s("An agreement.")}},
  };
  tb_str schema = tb_s("{\"type\": \"object\", \"properties\": {}}");
  triggerbox_automation_llm_tool_t tool = {tb_s("look_up"), tb_s("Looks a word up"), schema};
  triggerbox_automation_llm_request_t request = {
      .messages = {turns, 3},
      .tools = {&tool, 1},
      .output_schema = {true, schema},
      .temperature = {true, 0},
      .max_tokens = {true, 10},
  };
  triggerbox_automation_llm_completion_t completion;
  note("llm.complete", triggerbox_automation_llm_complete(&request, &completion, &tb_error));
  automation_tuple2_string_string_t header = {tb_s("accept"), tb_s("text/plain")};
  triggerbox_automation_http_request_t get = {tb_s("GET"), tb_s("https://example.com/"), {&header, 1}, {}};
  triggerbox_automation_http_response_t response;
  note("http.send", triggerbox_automation_http_send(&get, &response, &tb_error));
  tb_debug("log.debug");
  tb_warning("log.warning");
  // What language runtimes ask of WASI: the clock of the event.
  tb_info("wasi.clock: %lld", (long long)std::time(nullptr));
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
  services(event);
  round_trip(event);
  results += "}";
  const tb_named values[] = {{"name", tb_text("from the outcome")}};
  outcome->values.ptr = tb_fields(values, 1).ptr;
  outcome->values.len = 1;
  outcome->warning = automation_option_string_t{true, tb_s("a warning")};
  outcome->records = event->records;
  outcome->result_json = automation_option_string_t{true, tb_s(results.c_str())};
  return tb_done(outcome, "%u calls, %u refused", calls, refused);
}
