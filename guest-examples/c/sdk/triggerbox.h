// The library that Triggerbox scripts in C are written with.
//
// A script is a file `script.c` with one function:
//
//     bool tb_run(const tb_event *event, tb_outcome *outcome);
//
// It is called once for each event, in a fresh sandbox. What it changes is staged, and applied as one transaction when it
// returns true. A call that fails returns false and leaves why in `tb_error`: `return tb_failed();` ends the run with it.
//
// Memory is never freed, by nobody: it is gone with the run. What a call answers with stays where it is until then. What a call
// is given is only looked at while the call lasts, and what a value, a turn or an outcome is made of must last as long as it
// does: a literal, memory of `tb_format` and the like, or the caller's own. Texts are C strings, but for `tb_str`, which has a
// length and no end.

#ifndef TRIGGERBOX_H
#define TRIGGERBOX_H

#ifdef __cplusplus
extern "C" {
#endif

#include "automation.h"

typedef automation_string_t tb_str;
typedef triggerbox_automation_types_value_t tb_value;
typedef triggerbox_automation_types_field_t tb_field;
typedef triggerbox_automation_types_row_t tb_row;
typedef triggerbox_automation_types_record_ref_t tb_ref;
typedef automation_list_u32_t tb_ids;
typedef automation_event_t tb_event;
typedef automation_outcome_t tb_outcome;
typedef triggerbox_automation_records_command_t tb_command;
typedef triggerbox_automation_chatter_message_t tb_message;
typedef triggerbox_automation_chatter_activity_t tb_activity;
typedef triggerbox_automation_chatter_list_posted_t tb_posted;
typedef triggerbox_automation_records_list_link_t tb_links;
typedef triggerbox_automation_records_list_field_info_t tb_field_infos;
typedef triggerbox_automation_records_list_field_details_t tb_field_details;
typedef triggerbox_automation_records_operation_t tb_operation;

// The script's own function.
bool tb_run(const tb_event *event, tb_outcome *outcome);

// Why the last call failed.
extern triggerbox_automation_types_error_t tb_error;
// Ends the run with `tb_error`, with a text for the run history, or with one for the user who caused the event.
bool tb_failed(void);
bool tb_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool tb_user_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- texts ---------------------------------------------------------------------------------------
// A C string as the contract has it; it is not copied.
tb_str tb_s(const char *text);
// The way back, with an end; `""` for none.
const char *tb_c(tb_str text);
const char *tb_option(automation_option_string_t text);
// As printf, into memory of its own.
const char *tb_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A text inside a domain: `tb_format("[('email', '=', %s)]", tb_quote(email))`.
const char *tb_quote(const char *text);
// A text inside HTML.
const char *tb_escape(const char *text);
// A text inside JSON, with its quotes: `tb_format("{\"text\": %s}", tb_json_text(text))`.
const char *tb_json_text(const char *text);
// A text that may be missing, as the contract has it; none for NULL.
automation_option_string_t tb_some(const char *text);
// Memory for the rest of the run; never NULL.
void *tb_room(size_t bytes);

// --- values --------------------------------------------------------------------------------------
// A value has a `tag`, and a `val` that means nothing without it: make values with these, and read them with `tb_as_…`.
tb_value tb_unset(void);
tb_value tb_boolean(bool value);
tb_value tb_integer(int32_t value);
tb_value tb_number(double value);
tb_value tb_text(const char *text);
tb_value tb_date(const char *day);      // 2026-11-21
tb_value tb_datetime(const char *utc);  // 2026-11-21T10:15:00Z
tb_value tb_many2one(uint32_t id);
tb_value tb_ids_value(tb_ids ids);
tb_value tb_reference(const char *model, uint32_t id);
tb_value tb_binary(const void *bytes, size_t length);
tb_value tb_json(const char *json);
// A value as what its field holds; 0, false, `""`, no id or no ids for an empty one. An integer is a number, too, and a date and the
// name of a link are texts. Reading one as what it is not breaks the run, and so does one that only the commit can know.
bool tb_as_boolean(tb_value value);
double tb_as_number(tb_value value);
const char *tb_as_text(tb_value value);
uint32_t tb_as_id(tb_value value);
tb_ids tb_as_ids(tb_value value);
// Whether two values are equal; names of links do not count.
bool tb_same(const tb_value *one, const tb_value *other);
// A value as text, for logs.
const char *tb_show(const tb_value *value);

// Ids, or values by name: `TB_IDS(7, 9)`, `TB_FIELDS({"name", tb_text("Ada")})`.
typedef struct {
  const char *name;
  tb_value value;
} tb_named;
tb_ids tb_list(const uint32_t *ids, size_t length);
#define TB_IDS(...) tb_list((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

// --- records -------------------------------------------------------------------------------------
// Which part of the matching records; all of it may be left out: `(tb_page){.limit = 10, .order = "name"}`.
typedef struct {
  uint32_t offset, limit;
  const char *order;
  bool archived;
} tb_page;

typedef struct {
  tb_row *rows;
  size_t length;
} tb_rows;

// Domains are Odoo's notation as text; fields are names with commas: `"name,expected_revenue"`.
bool tb_search(const char *model, const char *domain, tb_page page, tb_ids *found);
bool tb_search_read(const char *model, const char *domain, const char *fields, tb_page page, tb_rows *found);
bool tb_count(const char *model, const char *domain, uint32_t *count);
bool tb_read(const char *model, tb_ids ids, const char *fields, tb_rows *found);
bool tb_create(const char *model, const tb_named *values, size_t length, uint32_t *id);
bool tb_ensure(const char *model, const char *keys, const tb_named *values, size_t length, uint32_t *id);
bool tb_write(const char *model, tb_ids ids, const tb_named *values, size_t length);
bool tb_relate(const char *model, uint32_t id, const char *field, const tb_command *commands, size_t length);
bool tb_unlink(const char *model, tb_ids ids);
bool tb_copy(const char *model, uint32_t id, const tb_named *values, size_t length, uint32_t *copy);
bool tb_call(const char *model, tb_ids ids, const char *method, const char *arguments_json, const char **answer);
bool tb_mention(const char *model, uint32_t id, const char **text);
#define TB_FIELDS(...) (const tb_named[]){__VA_ARGS__}, sizeof((const tb_named[]){__VA_ARGS__}) / sizeof(tb_named)
// Records whose name matches a text, best first.
bool tb_name_search(const char *model, const char *text, uint32_t limit, tb_links *found);
// Describes these fields; all of them for `""`.
bool tb_fields_get(const char *model, const char *fields, tb_field_infos *found);
// All that is known of these fields: digits, default, what a computed one follows from and so on; of all of them for `""`.
bool tb_describe_fields(const char *model, const char *fields, tb_field_details *found);
// Whether the run may do this to all of these records; for no ids, to the model at all.
bool tb_has_access(const char *model, tb_ids ids, tb_operation operation, bool *may);
// The record behind an external id: `base.main_company`.
bool tb_resolve(const char *xmlid, tb_ref *record);

// Groups of the matching records: `"stage_id,create_date:month"`, with aggregates: `"expected_revenue:sum"`. `having` is a domain
// over aggregates: `"[('__count', '>', 5)]"`.
typedef struct {
  uint32_t offset, limit;
  const char *order, *having;
  bool archived;
} tb_group_page;
typedef triggerbox_automation_records_group_t tb_group;
typedef triggerbox_automation_records_list_group_t tb_groups;
bool tb_read_group(const char *model, const char *domain, const char *group_by, const char *aggregates, tb_group_page page,
                   tb_groups *found);
// A key or an aggregate of a group, by the name it was asked by; unset for none.
tb_value tb_group_value(const tb_group *group, const char *name);

// The triggering records with these fields.
bool tb_event_read(const tb_event *event, const char *fields, tb_rows *found);
// A parameter; unset for none.
tb_value tb_parameter(const tb_event *event, const char *name);
double tb_parameter_number(const tb_event *event, const char *name, double otherwise);
// What a field of a record was before an update; false if it is not among what changed.
bool tb_old_value(const tb_event *event, uint32_t record, const char *field, tb_value *old);
// What the trigger itself says of a record's field: the last value of a deleted record, one about to be stored, one in a form; false
// if it says nothing of it. A record that is about to be created has no id yet: it is 0.
bool tb_given_value(const tb_event *event, uint32_t record, const char *field, tb_value *given);
// The body of a webhook's request as text, which ends at its first zero; NULL for other events.
const char *tb_webhook_text(const tb_event *event);

// --- the discussion ------------------------------------------------------------------------------
tb_message tb_plain(const char *text);
tb_message tb_html(const char *html);
bool tb_post_note(const char *model, uint32_t id, tb_message message);
bool tb_post_message(const char *model, uint32_t id, tb_message message);
tb_activity tb_todo(const char *kind, const char *summary, const char *deadline);
bool tb_schedule(const char *model, uint32_t id, tb_activity activity);
// All activities of this kind on the record are done; `count` says how many. Feedback may be NULL.
bool tb_complete_activities(const char *model, uint32_t id, const char *kind, const char *feedback, uint32_t *count);
bool tb_add_followers(const char *model, uint32_t id, tb_ids partners);
bool tb_remove_followers(const char *model, uint32_t id, tb_ids partners);
// The newest first.
bool tb_read_messages(const char *model, uint32_t id, uint32_t limit, tb_posted *found);

// --- language models -----------------------------------------------------------------------------
// Provider, key, prices and budgets are the host's: fails with `llm-not-configured` while there is no provider.
typedef triggerbox_automation_llm_message_t tb_turn;
typedef triggerbox_automation_llm_tool_t tb_tool;
typedef triggerbox_automation_llm_tool_call_t tb_tool_call;
typedef triggerbox_automation_llm_tool_result_t tb_tool_result;
typedef triggerbox_automation_llm_completion_t tb_completion;

tb_turn tb_system(const char *text);
tb_turn tb_user(const char *text);
tb_turn tb_assistant(const char *text);
// What the model answered earlier, with the tools that it asked for, and what came of them: a result for each call.
tb_turn tb_answered(const tb_completion *answer);
tb_turn tb_tool_results(const tb_tool_result *results, size_t length);
// The schema is a JSON Schema of the arguments, which the model writes: they may not fit it.
tb_tool tb_tool_of(const char *name, const char *description, const char *schema);
tb_tool_result tb_result(const tb_tool_call *call, const char *content);
tb_tool_result tb_failure(const tb_tool_call *call, const char *reason);

// How to answer; all of it may be left out: `(tb_answering){.max_tokens = 100}`.
typedef struct {
  const char *model;    // NULL: the rule's.
  const tb_tool *tools;
  size_t tools_length;
  const char *schema;   // A JSON Schema that the answer must satisfy; the host checks.
  automation_option_f32_t temperature;  // `{true, 0}` for the most predictable answers.
  uint32_t max_tokens;  // 0: what the budget allows.
} tb_answering;
// One completion: `tb_complete(TB_TURNS(tb_system("…"), tb_user("…")), (tb_answering){0}, &answer)`.
bool tb_complete(const tb_turn *turns, size_t length, tb_answering how, tb_completion *answer);
#define TB_TURNS(...) (const tb_turn[]){__VA_ARGS__}, sizeof((const tb_turn[]){__VA_ARGS__}) / sizeof(tb_turn)
// One question, one answer, by the rule's model.
bool tb_ask(const char *question, const char **answer);
// Why the model stopped: `stop`, `length`, `tool-calls`, `refused` or `other`.
const char *tb_finish(const tb_completion *answer);

// --- other services ------------------------------------------------------------------------------
// As far as the rule grants host, method and path. Any status is an answer.
typedef struct {
  const char *name, *value;
} tb_header;
typedef triggerbox_automation_http_response_t tb_response;
// `tb_send("GET", url, TB_HEADERS({"accept", "text/plain"}), NULL, 0, &response)`. A value may hold `${secret:NAME}`.
bool tb_send(const char *method, const char *url, const tb_header *headers, size_t length, const void *body, size_t bytes,
             tb_response *response);
#define TB_HEADERS(...) (const tb_header[]){__VA_ARGS__}, sizeof((const tb_header[]){__VA_ARGS__}) / sizeof(tb_header)
// A header's value, its name in any case; NULL for none.
const char *tb_response_header(const tb_response *response, const char *name);
// The body as text; it ends at its first zero.
const char *tb_response_text(const tb_response *response);

// --- the rest ------------------------------------------------------------------------------------
// A value that the rule keeps from run to run, as JSON text; NULL for none, which removes it.
bool tb_state_get(const char *key, const char **json);
bool tb_state_set(const char *key, const char *json);
// `2026-11-21T10:15:00Z` in `Europe/Brussels` is `2026-11-21T11:15:00`, and the way back.
bool tb_to_local(const char *utc, const char *zone, const char **local);
bool tb_to_utc(const char *local, const char *zone, const char **utc);
// How much is left of a limit: `host-calls`. False for a limit that there is not.
bool tb_remaining(const char *limit, double *left);

// Lines of the run's log.
void tb_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tb_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tb_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tb_alarm(const char *format, ...) __attribute__((format(printf, 1, 2)));
// One line for the run history.
bool tb_done(tb_outcome *outcome, const char *format, ...) __attribute__((format(printf, 2, 3)));
// As the contract has them, for calls of `automation.h` itself: domains may be made of terms there.
automation_list_string_t tb_names(const char *names);
triggerbox_automation_types_domain_t tb_domain(const char *literal);
triggerbox_automation_records_list_field_t tb_fields(const tb_named *values, size_t length);

#ifdef __cplusplus
}

#include <initializer_list>

// C++ has no arrays without a name: lists in braces take their place, in the same macros.
#undef TB_IDS
#undef TB_FIELDS
#undef TB_TURNS
#undef TB_HEADERS
#define TB_IDS(...) tb_list({__VA_ARGS__})
#define TB_FIELDS(...) std::initializer_list<tb_named>{__VA_ARGS__}
#define TB_TURNS(...) std::initializer_list<tb_turn>{__VA_ARGS__}
#define TB_HEADERS(...) std::initializer_list<tb_header>{__VA_ARGS__}

inline tb_ids tb_list(std::initializer_list<uint32_t> ids) { return tb_list(ids.begin(), ids.size()); }
inline bool tb_create(const char *model, std::initializer_list<tb_named> values, uint32_t *id) {
  return tb_create(model, values.begin(), values.size(), id);
}
inline bool tb_ensure(const char *model, const char *keys, std::initializer_list<tb_named> values, uint32_t *id) {
  return tb_ensure(model, keys, values.begin(), values.size(), id);
}
inline bool tb_write(const char *model, tb_ids ids, std::initializer_list<tb_named> values) {
  return tb_write(model, ids, values.begin(), values.size());
}
inline bool tb_copy(const char *model, uint32_t id, std::initializer_list<tb_named> values, uint32_t *copy) {
  return tb_copy(model, id, values.begin(), values.size(), copy);
}
inline bool tb_complete(std::initializer_list<tb_turn> turns, tb_answering how, tb_completion *answer) {
  return tb_complete(turns.begin(), turns.size(), how, answer);
}
inline bool tb_send(const char *method, const char *url, std::initializer_list<tb_header> headers, const void *body,
                    size_t bytes, tb_response *response) {
  return tb_send(method, url, headers.begin(), headers.size(), body, bytes, response);
}
#endif

#endif
