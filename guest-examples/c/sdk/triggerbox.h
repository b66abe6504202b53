// The library that Triggerbox scripts in C are written with.
//
// A script is a file `script.c` with one function:
//
//     bool tb_run(const tb_event *event, tb_outcome *outcome);
//
// It is called once for each event, in a fresh sandbox. What it changes is staged, and applied as one transaction when it
// returns true. A call that fails returns false and leaves why in `tb_error`: `return tb_failed();` ends the run with it.
//
// Memory is never freed: it is gone with the run. Texts are C strings, but for `tb_str`, which has a length and no end.

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

// --- values --------------------------------------------------------------------------------------
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

// The triggering records with these fields.
bool tb_event_read(const tb_event *event, const char *fields, tb_rows *found);
// A parameter; unset for none.
tb_value tb_parameter(const tb_event *event, const char *name);
double tb_parameter_number(const tb_event *event, const char *name, double otherwise);

// --- the discussion ------------------------------------------------------------------------------
tb_message tb_plain(const char *text);
tb_message tb_html(const char *html);
bool tb_post_note(const char *model, uint32_t id, tb_message message);
bool tb_post_message(const char *model, uint32_t id, tb_message message);
tb_activity tb_todo(const char *kind, const char *summary, const char *deadline);
bool tb_schedule(const char *model, uint32_t id, tb_activity activity);

// --- the rest ------------------------------------------------------------------------------------
void tb_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tb_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tb_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
// One line for the run history.
bool tb_done(tb_outcome *outcome, const char *format, ...) __attribute__((format(printf, 2, 3)));
// As the contract has them; see `automation.h` for what else there is: groups, language models, HTTP, state, time zones.
automation_list_string_t tb_names(const char *names);
triggerbox_automation_types_domain_t tb_domain(const char *literal);
triggerbox_automation_records_list_field_t tb_fields(const tb_named *values, size_t length);

#ifdef __cplusplus
}

#include <initializer_list>

// C++ has no arrays without a name: lists in braces take their place, in the same macros.
#undef TB_IDS
#undef TB_FIELDS
#define TB_IDS(...) tb_list({__VA_ARGS__})
#define TB_FIELDS(...) std::initializer_list<tb_named>{__VA_ARGS__}

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
#endif

#endif
