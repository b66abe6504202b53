#include "triggerbox.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

triggerbox_automation_types_error_t tb_error;
static automation_failure_t failure;

// What the bindings call in place of `free`.
void triggerbox_keep(void *memory) {
  (void)memory;
}

bool exports_automation_run(automation_event_t *event, automation_outcome_t *outcome, automation_failure_t *err) {
  memset(outcome, 0, sizeof *outcome);
  failure.tag = TRIGGERBOX_AUTOMATION_EVENTS_FAILURE_FAILED;
  failure.val.failed = tb_s("the script returned false and gave no reason; use `return tb_failed();`");
  if (tb_run(event, outcome)) return true;
  *err = failure;
  return false;
}

// --- breaking ------------------------------------------------------------------------------------

// Ends the run as a trap, with a line in its log.
static _Noreturn void broken(const char *text) {
  tb_str line = tb_s(text);
  triggerbox_automation_log_write(TRIGGERBOX_AUTOMATION_LOG_LEVEL_ERROR, &line);
  __builtin_trap();
}

// What `assert` calls.
_Noreturn void __assert_fail(const char *condition, const char *file, int line, const char *function) {
  const char *name = strrchr(file, '/');
  char text[512];
  snprintf(text, sizeof text, "assertion failed: %s (%s:%d, in %s)", condition, name ? name + 1 : file, line, function);
  broken(text);
}

// --- texts ---------------------------------------------------------------------------------------

void *tb_room(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (!memory) broken("out of memory");
  return memory;
}

tb_str tb_s(const char *text) {
  return (tb_str){(uint8_t *)text, strlen(text)};
}

const char *tb_c(tb_str text) {
  char *copy = tb_room(text.len + 1);
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  return copy;
}

const char *tb_option(automation_option_string_t text) {
  return text.is_some ? tb_c(text.val) : "";
}

automation_option_string_t tb_some(const char *text) {
  return text ? (automation_option_string_t){true, tb_s(text)} : (automation_option_string_t){0};
}

static const char *format_list(const char *format, va_list list) {
  va_list again;
  va_copy(again, list);
  int length = vsnprintf(NULL, 0, format, list);
  char *text = tb_room((size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

#define FORMAT(text, format)                  \
  va_list list;                               \
  va_start(list, format);                     \
  const char *text = format_list(format, list); \
  va_end(list)

const char *tb_format(const char *format, ...) {
  FORMAT(text, format);
  return text;
}

// A text with some characters replaced.
static const char *replaced(const char *text, const char *before, const char *(*replacement)(char), const char *after) {
  size_t length = strlen(before) + strlen(after) + 1;
  for (const char *at = text; *at; at++) length += replacement(*at) ? strlen(replacement(*at)) : 1;
  char *out = tb_room(length), *to = stpcpy(out, before);
  for (const char *at = text; *at; at++) {
    const char *other = replacement(*at);
    if (other) to = stpcpy(to, other);
    else *to++ = *at;
  }
  strcpy(to, after);
  return out;
}

static const char *in_literal(char c) {
  switch (c) {
    case '\\': return "\\\\";
    case '\'': return "\\'";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return NULL;
  }
}

static const char *in_html(char c) {
  switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
  }
}

static const char *in_json(char c) {
  switch (c) {
    case '\\': return "\\\\";
    case '"': return "\\\"";
    default: return (unsigned char)c < ' ' ? tb_format("\\u%04x", (unsigned)c) : NULL;
  }
}

const char *tb_quote(const char *text) {
  return replaced(text, "'", in_literal, "'");
}

const char *tb_escape(const char *text) {
  return replaced(text, "", in_html, "");
}

const char *tb_json_text(const char *text) {
  return replaced(text, "\"", in_json, "\"");
}

// --- failing and answering -----------------------------------------------------------------------

bool tb_failed(void) {
  return tb_fail("%s: %s", tb_c(tb_error.code), tb_c(tb_error.message));
}

bool tb_fail(const char *format, ...) {
  FORMAT(text, format);
  failure.tag = TRIGGERBOX_AUTOMATION_EVENTS_FAILURE_FAILED;
  failure.val.failed = tb_s(text);
  return false;
}

bool tb_user_error(const char *format, ...) {
  FORMAT(text, format);
  failure.tag = TRIGGERBOX_AUTOMATION_EVENTS_FAILURE_USER_ERROR;
  failure.val.user_error = tb_s(text);
  return false;
}

bool tb_done(tb_outcome *outcome, const char *format, ...) {
  FORMAT(text, format);
  outcome->message = tb_some(text);
  return true;
}

#define LOGGER(name, level)                                        \
  void name(const char *format, ...) {                             \
    FORMAT(text, format);                                          \
    tb_str line = tb_s(text);                                      \
    triggerbox_automation_log_write(level, &line);                 \
  }
LOGGER(tb_debug, TRIGGERBOX_AUTOMATION_LOG_LEVEL_DEBUG)
LOGGER(tb_info, TRIGGERBOX_AUTOMATION_LOG_LEVEL_INFO)
LOGGER(tb_warning, TRIGGERBOX_AUTOMATION_LOG_LEVEL_WARNING)
LOGGER(tb_alarm, TRIGGERBOX_AUTOMATION_LOG_LEVEL_ERROR)

// --- values --------------------------------------------------------------------------------------

#define VALUE(kind, ...) ((tb_value){TRIGGERBOX_AUTOMATION_TYPES_VALUE_##kind, {__VA_ARGS__}})

tb_value tb_unset(void) { return VALUE(UNSET, 0); }
tb_value tb_boolean(bool value) { return VALUE(BOOLEAN, .boolean = value); }
tb_value tb_integer(int32_t value) { return VALUE(INTEGER, .integer = value); }
tb_value tb_number(double value) { return VALUE(NUMBER, .number = value); }
tb_value tb_text(const char *text) { return VALUE(TEXT, .text = tb_s(text)); }
tb_value tb_date(const char *day) { return VALUE(DATE, .date = tb_s(day)); }
tb_value tb_datetime(const char *utc) { return VALUE(DATETIME, .datetime = tb_s(utc)); }
tb_value tb_many2one(uint32_t id) { return VALUE(MANY2ONE, .many2one = {id, {0}}); }
tb_value tb_ids_value(tb_ids ids) { return VALUE(IDS, .ids = ids); }
tb_value tb_reference(const char *model, uint32_t id) { return VALUE(REFERENCE, .reference = {tb_s(model), id}); }
tb_value tb_binary(const void *bytes, size_t length) { return VALUE(BINARY, .binary = {(uint8_t *)bytes, length}); }
tb_value tb_json(const char *json) { return VALUE(JSON, .json = tb_s(json)); }

static bool same_text(tb_str one, tb_str other) {
  return one.len == other.len && (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

bool tb_same(const tb_value *one, const tb_value *other) {
  if (one->tag != other->tag) return false;
  switch (one->tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET:
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_PENDING: return true;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_BOOLEAN: return one->val.boolean == other->val.boolean;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_INTEGER: return one->val.integer == other->val.integer;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_NUMBER: return one->val.number == other->val.number;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_MANY2ONE: return one->val.many2one.id == other->val.many2one.id;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_IDS:
      return one->val.ids.len == other->val.ids.len &&
             (one->val.ids.len == 0 || memcmp(one->val.ids.ptr, other->val.ids.ptr, one->val.ids.len * sizeof(uint32_t)) == 0);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_REFERENCE:
      return one->val.reference.id == other->val.reference.id &&
             same_text(one->val.reference.model, other->val.reference.model);
    // Texts, and bytes, which have the same shape.
    default: return same_text(one->val.text, other->val.text);
  }
}

const char *tb_show(const tb_value *value) {
  switch (value->tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return "unset";
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_PENDING: return "pending";
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_BOOLEAN: return value->val.boolean ? "true" : "false";
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_INTEGER: return tb_format("%d", (int)value->val.integer);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_NUMBER: return tb_format("%.17g", value->val.number);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_MANY2ONE:
      return tb_format("%u %s", (unsigned)value->val.many2one.id, tb_option(value->val.many2one.display_name));
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_IDS: return tb_format("%zu ids", value->val.ids.len);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_REFERENCE:
      return tb_format("%s,%u", tb_c(value->val.reference.model), (unsigned)value->val.reference.id);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_BINARY: return tb_format("%zu bytes", value->val.binary.len);
    default: return tb_c(value->val.text);
  }
}

// A script breaks that goes by what only the commit can know, or by what is of another kind.
static _Noreturn void misread(tb_value value, const char *kind) {
  if (value.tag == TRIGGERBOX_AUTOMATION_TYPES_VALUE_PENDING)
    broken("a value was read that is known only when the run is applied; decide without it");
  broken(tb_format("a value was read as %s, which it is not: %s", kind, tb_show(&value)));
}

bool tb_as_boolean(tb_value value) {
  switch (value.tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return false;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_BOOLEAN: return value.val.boolean;
    default: misread(value, "a boolean");
  }
}

double tb_as_number(tb_value value) {
  switch (value.tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return 0;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_INTEGER: return value.val.integer;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_NUMBER: return value.val.number;
    default: misread(value, "a number");
  }
}

const char *tb_as_text(tb_value value) {
  switch (value.tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return "";
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_TEXT: return tb_c(value.val.text);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_DATE: return tb_c(value.val.date);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_DATETIME: return tb_c(value.val.datetime);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_MANY2ONE: return tb_option(value.val.many2one.display_name);
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_JSON: return tb_c(value.val.json);
    default: misread(value, "a text");
  }
}

uint32_t tb_as_id(tb_value value) {
  switch (value.tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return 0;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_MANY2ONE: return value.val.many2one.id;
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_REFERENCE: return value.val.reference.id;
    default: misread(value, "a record");
  }
}

tb_ids tb_as_ids(tb_value value) {
  switch (value.tag) {
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET: return (tb_ids){0};
    case TRIGGERBOX_AUTOMATION_TYPES_VALUE_IDS: return value.val.ids;
    default: misread(value, "records");
  }
}

tb_ids tb_list(const uint32_t *ids, size_t length) {
  uint32_t *copy = tb_room(length * sizeof *ids);
  memcpy(copy, ids, length * sizeof *ids);
  return (tb_ids){copy, length};
}

automation_list_string_t tb_names(const char *names) {
  size_t length = *names ? 1 : 0;
  for (const char *at = names; *at; at++) length += *at == ',';
  tb_str *list = tb_room(length * sizeof *list);
  for (size_t index = 0; index < length; index++) {
    size_t end = strcspn(names, ",");
    list[index] = (tb_str){(uint8_t *)names, end};
    names += end + 1;
  }
  return (automation_list_string_t){list, length};
}

triggerbox_automation_records_list_field_t tb_fields(const tb_named *values, size_t length) {
  tb_field *fields = tb_room(length * sizeof *fields);
  for (size_t index = 0; index < length; index++) fields[index] = (tb_field){tb_s(values[index].name), values[index].value};
  return (triggerbox_automation_records_list_field_t){fields, length};
}

triggerbox_automation_types_domain_t tb_domain(const char *literal) {
  triggerbox_automation_types_domain_t domain = {.tag = TRIGGERBOX_AUTOMATION_TYPES_DOMAIN_LITERAL};
  domain.val.literal = tb_s(literal);
  return domain;
}

// --- records -------------------------------------------------------------------------------------

static triggerbox_automation_records_page_t to_page(tb_page page) {
  automation_option_u32_t limit = {page.limit > 0, page.limit};
  return (triggerbox_automation_records_page_t){page.offset, limit, tb_some(page.order), page.archived};
}

bool tb_search(const char *model, const char *domain, tb_page page, tb_ids *found) {
  tb_str name = tb_s(model);
  triggerbox_automation_types_domain_t where = tb_domain(domain);
  triggerbox_automation_records_page_t part = to_page(page);
  return triggerbox_automation_records_search(&name, &where, &part, found, &tb_error);
}

bool tb_search_read(const char *model, const char *domain, const char *fields, tb_page page, tb_rows *found) {
  tb_str name = tb_s(model);
  triggerbox_automation_types_domain_t where = tb_domain(domain);
  automation_list_string_t names = tb_names(fields);
  triggerbox_automation_records_page_t part = to_page(page);
  triggerbox_automation_records_list_row_t rows;
  if (!triggerbox_automation_records_search_read(&name, &where, &names, &part, &rows, &tb_error)) return false;
  *found = (tb_rows){rows.ptr, rows.len};
  return true;
}

bool tb_count(const char *model, const char *domain, uint32_t *count) {
  tb_str name = tb_s(model);
  triggerbox_automation_types_domain_t where = tb_domain(domain);
  return triggerbox_automation_records_search_count(&name, &where, count, &tb_error);
}

bool tb_read(const char *model, tb_ids ids, const char *fields, tb_rows *found) {
  tb_str name = tb_s(model);
  automation_list_string_t names = tb_names(fields);
  triggerbox_automation_records_list_row_t rows;
  if (!triggerbox_automation_records_read(&name, &ids, &names, &rows, &tb_error)) return false;
  *found = (tb_rows){rows.ptr, rows.len};
  return true;
}

bool tb_create(const char *model, const tb_named *values, size_t length, uint32_t *id) {
  tb_str name = tb_s(model);
  triggerbox_automation_records_list_field_t fields = tb_fields(values, length);
  triggerbox_automation_records_list_list_field_t list = {&fields, 1};
  tb_ids ids;
  if (!triggerbox_automation_records_create(&name, &list, &ids, &tb_error)) return false;
  *id = ids.ptr[0];
  return true;
}

bool tb_ensure(const char *model, const char *keys, const tb_named *values, size_t length, uint32_t *id) {
  tb_str name = tb_s(model);
  automation_list_string_t names = tb_names(keys);
  triggerbox_automation_records_list_field_t fields = tb_fields(values, length);
  return triggerbox_automation_records_ensure(&name, &names, &fields, id, &tb_error);
}

bool tb_write(const char *model, tb_ids ids, const tb_named *values, size_t length) {
  tb_str name = tb_s(model);
  triggerbox_automation_records_list_field_t fields = tb_fields(values, length);
  return triggerbox_automation_records_write(&name, &ids, &fields, &tb_error);
}

bool tb_relate(const char *model, uint32_t id, const char *field, const tb_command *commands, size_t length) {
  tb_ref target = {tb_s(model), id};
  tb_str name = tb_s(field);
  triggerbox_automation_records_list_command_t list = {(tb_command *)commands, length};
  return triggerbox_automation_records_relate(&target, &name, &list, &tb_error);
}

bool tb_unlink(const char *model, tb_ids ids) {
  tb_str name = tb_s(model);
  return triggerbox_automation_records_unlink(&name, &ids, &tb_error);
}

bool tb_copy(const char *model, uint32_t id, const tb_named *values, size_t length, uint32_t *copy) {
  tb_ref target = {tb_s(model), id};
  triggerbox_automation_records_list_field_t fields = tb_fields(values, length);
  return triggerbox_automation_records_copy(&target, &fields, copy, &tb_error);
}

bool tb_call(const char *model, tb_ids ids, const char *method, const char *arguments_json, const char **answer) {
  tb_str name = tb_s(model), method_name = tb_s(method), arguments = tb_s(arguments_json);
  automation_option_string_t json;
  if (!triggerbox_automation_records_call(&name, &ids, &method_name, &arguments, &json, &tb_error)) return false;
  if (answer) *answer = json.is_some ? tb_c(json.val) : NULL;
  return true;
}

bool tb_mention(const char *model, uint32_t id, const char **text) {
  tb_ref target = {tb_s(model), id};
  tb_str mention;
  if (!triggerbox_automation_records_mention(&target, &mention, &tb_error)) return false;
  *text = tb_c(mention);
  return true;
}

bool tb_name_search(const char *model, const char *text, uint32_t limit, tb_links *found) {
  tb_str name = tb_s(model), like = tb_s(text);
  return triggerbox_automation_records_name_search(&name, &like, limit, found, &tb_error);
}

bool tb_fields_get(const char *model, const char *fields, tb_field_infos *found) {
  tb_str name = tb_s(model);
  automation_list_string_t names = tb_names(fields);
  return triggerbox_automation_records_fields_get(&name, &names, found, &tb_error);
}

bool tb_describe_fields(const char *model, const char *fields, tb_field_details *found) {
  tb_str name = tb_s(model);
  automation_list_string_t names = tb_names(fields);
  return triggerbox_automation_records_describe_fields(&name, &names, found, &tb_error);
}

bool tb_has_access(const char *model, tb_ids ids, tb_operation operation, bool *may) {
  tb_str name = tb_s(model);
  return triggerbox_automation_records_has_access(&name, &ids, operation, may, &tb_error);
}

bool tb_resolve(const char *xmlid, tb_ref *record) {
  tb_str id = tb_s(xmlid);
  return triggerbox_automation_records_resolve_xmlid(&id, record, &tb_error);
}

bool tb_read_group(const char *model, const char *domain, const char *group_by, const char *aggregates, tb_group_page page,
                   tb_groups *found) {
  tb_str name = tb_s(model);
  triggerbox_automation_types_domain_t where = tb_domain(domain);
  automation_list_string_t keys = tb_names(group_by), sums = tb_names(aggregates);
  automation_option_u32_t limit = {page.limit > 0, page.limit};
  triggerbox_automation_records_group_page_t part = {page.offset, limit, tb_some(page.order), tb_some(page.having),
                                                     page.archived};
  return triggerbox_automation_records_read_group(&name, &where, &keys, &sums, &part, found, &tb_error);
}

// A value by its name; false for none.
static bool told(const tb_field *fields, size_t length, const char *name, tb_value *value) {
  for (size_t index = 0; index < length; index++) {
    if (!same_text(fields[index].name, tb_s(name))) continue;
    *value = fields[index].value;
    return true;
  }
  return false;
}

// A value by its name; unset for none.
static tb_value named(const tb_field *fields, size_t length, const char *name) {
  tb_value value = tb_unset();
  told(fields, length, name, &value);
  return value;
}

tb_value tb_group_value(const tb_group *group, const char *name) {
  tb_value key = named(group->keys.ptr, group->keys.len, name);
  if (key.tag != TRIGGERBOX_AUTOMATION_TYPES_VALUE_UNSET) return key;
  return named(group->aggregates.ptr, group->aggregates.len, name);
}

bool tb_event_read(const tb_event *event, const char *fields, tb_rows *found) {
  if (!event->model.is_some) {
    tb_error = (triggerbox_automation_types_error_t){
        .kind = TRIGGERBOX_AUTOMATION_TYPES_ERROR_KIND_INVALID,
        .code = tb_s("no-model"),
        .message = tb_s("this rule is bound to no model"),
    };
    return tb_failed();
  }
  return tb_read(tb_c(event->model.val), event->records, fields, found);
}

tb_value tb_parameter(const tb_event *event, const char *name) {
  return named(event->parameters.ptr, event->parameters.len, name);
}

double tb_parameter_number(const tb_event *event, const char *name, double otherwise) {
  tb_value value = tb_parameter(event, name);
  if (value.tag == TRIGGERBOX_AUTOMATION_TYPES_VALUE_NUMBER) return value.val.number;
  return value.tag == TRIGGERBOX_AUTOMATION_TYPES_VALUE_INTEGER ? value.val.integer : otherwise;
}

typedef triggerbox_automation_types_snapshot_t snapshot;

static bool told_of(const snapshot *records, size_t length, uint32_t record, const char *field, tb_value *value) {
  for (size_t index = 0; index < length; index++) {
    if (records[index].id == record) return told(records[index].fields.ptr, records[index].fields.len, field, value);
  }
  return false;
}

bool tb_old_value(const tb_event *event, uint32_t record, const char *field, tb_value *old) {
  return told_of(event->old_values.ptr, event->old_values.len, record, field, old);
}

bool tb_given_value(const tb_event *event, uint32_t record, const char *field, tb_value *given) {
  switch (event->trigger.tag) {
    case TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_DELETED:
      return told_of(event->trigger.val.deleted.ptr, event->trigger.val.deleted.len, record, field, given);
    case TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_ON_CHANGE: return told_of(&event->trigger.val.on_change, 1, record, field, given);
    case TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_BEFORE_UPDATE:
      return told_of(event->trigger.val.before_update.ptr, event->trigger.val.before_update.len, record, field, given);
    case TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_BEFORE_CREATE:
      return record == 0 && told(event->trigger.val.before_create.ptr, event->trigger.val.before_create.len, field, given);
    default: return false;
  }
}

const char *tb_webhook_text(const tb_event *event) {
  if (event->trigger.tag != TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_WEBHOOK) return NULL;
  return tb_c((tb_str){event->trigger.val.webhook.body.ptr, event->trigger.val.webhook.body.len});
}

// --- the discussion ------------------------------------------------------------------------------

tb_message tb_plain(const char *text) {
  return (tb_message){.body = tb_s(text), .format = TRIGGERBOX_AUTOMATION_CHATTER_BODY_FORMAT_TEXT};
}

tb_message tb_html(const char *html) {
  return (tb_message){.body = tb_s(html), .format = TRIGGERBOX_AUTOMATION_CHATTER_BODY_FORMAT_HTML};
}

bool tb_post_note(const char *model, uint32_t id, tb_message message) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_post_note(&target, &message, &tb_error);
}

bool tb_post_message(const char *model, uint32_t id, tb_message message) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_post_message(&target, &message, &tb_error);
}

tb_activity tb_todo(const char *kind, const char *summary, const char *deadline) {
  return (tb_activity){.kind = tb_s(kind), .summary = tb_s(summary), .deadline = tb_some(deadline)};
}

bool tb_schedule(const char *model, uint32_t id, tb_activity activity) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_schedule_activity(&target, &activity, &tb_error);
}

bool tb_complete_activities(const char *model, uint32_t id, const char *kind, const char *feedback, uint32_t *count) {
  tb_ref target = {tb_s(model), id};
  tb_str name = tb_s(kind), said = tb_s(feedback ? feedback : "");
  return triggerbox_automation_chatter_complete_activities(&target, &name, feedback ? &said : NULL, count, &tb_error);
}

bool tb_add_followers(const char *model, uint32_t id, tb_ids partners) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_add_followers(&target, &partners, &tb_error);
}

bool tb_remove_followers(const char *model, uint32_t id, tb_ids partners) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_remove_followers(&target, &partners, &tb_error);
}

bool tb_read_messages(const char *model, uint32_t id, uint32_t limit, tb_posted *found) {
  tb_ref target = {tb_s(model), id};
  return triggerbox_automation_chatter_read_messages(&target, limit, found, &tb_error);
}
