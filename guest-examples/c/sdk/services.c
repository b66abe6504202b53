// Language models, other services, what is kept from run to run, time zones and limits.

#include "triggerbox.h"

#include <string.h>
#include <strings.h>

// --- language models -----------------------------------------------------------------------------

#define TURN(kind, ...) ((tb_turn){TRIGGERBOX_AUTOMATION_LLM_MESSAGE_##kind, {__VA_ARGS__}})

tb_turn tb_system(const char *text) { return TURN(SYSTEM, .system = tb_s(text)); }
tb_turn tb_user(const char *text) { return TURN(USER, .user = tb_s(text)); }
tb_turn tb_assistant(const char *text) { return TURN(ASSISTANT, .assistant = tb_s(text)); }

tb_turn tb_answered(const tb_completion *answer) {
  if (!answer->calls.len) return TURN(ASSISTANT, .assistant = answer->text);
  return TURN(ASSISTANT_CALLS, .assistant_calls = {answer->text, answer->calls});
}

tb_turn tb_tool_results(const tb_tool_result *results, size_t length) {
  return TURN(TOOL_RESULTS, .tool_results = {(tb_tool_result *)results, length});
}

tb_tool tb_tool_of(const char *name, const char *description, const char *schema) {
  return (tb_tool){tb_s(name), tb_s(description), tb_s(schema)};
}

tb_tool_result tb_result(const tb_tool_call *call, const char *content) {
  return (tb_tool_result){call->id, tb_s(content), false};
}

tb_tool_result tb_failure(const tb_tool_call *call, const char *reason) {
  return (tb_tool_result){call->id, tb_s(reason), true};
}

bool tb_complete(const tb_turn *turns, size_t length, tb_answering how, tb_completion *answer) {
  triggerbox_automation_llm_request_t request = {
      .model = tb_some(how.model),
      .messages = {(tb_turn *)turns, length},
      .tools = {(tb_tool *)how.tools, how.tools_length},
      .output_schema = tb_some(how.schema),
      .temperature = how.temperature,
      .max_tokens = {how.max_tokens > 0, how.max_tokens},
  };
  return triggerbox_automation_llm_complete(&request, answer, &tb_error);
}

bool tb_ask(const char *question, const char **answer) {
  tb_completion completion;
  if (!tb_complete(TB_TURNS(tb_user(question)), (tb_answering){0}, &completion)) return false;
  *answer = tb_c(completion.text);
  return true;
}

const char *tb_finish(const tb_completion *answer) {
  switch (answer->finish) {
    case TRIGGERBOX_AUTOMATION_LLM_FINISH_STOP: return "stop";
    case TRIGGERBOX_AUTOMATION_LLM_FINISH_LENGTH: return "length";
    case TRIGGERBOX_AUTOMATION_LLM_FINISH_TOOL_CALLS: return "tool-calls";
    case TRIGGERBOX_AUTOMATION_LLM_FINISH_REFUSED: return "refused";
    default: return "other";
  }
}

// --- other services ------------------------------------------------------------------------------

bool tb_send(const char *method, const char *url, const tb_header *headers, size_t length, const void *body, size_t bytes,
             tb_response *response) {
  automation_tuple2_string_string_t *pairs = tb_room(length * sizeof *pairs);
  for (size_t index = 0; index < length; index++) {
    pairs[index] = (automation_tuple2_string_string_t){tb_s(headers[index].name), tb_s(headers[index].value)};
  }
  triggerbox_automation_http_request_t request = {tb_s(method), tb_s(url), {pairs, length}, {(uint8_t *)body, bytes}};
  return triggerbox_automation_http_send(&request, response, &tb_error);
}

const char *tb_response_header(const tb_response *response, const char *name) {
  size_t length = strlen(name);
  for (size_t index = 0; index < response->headers.len; index++) {
    automation_tuple2_string_string_t header = response->headers.ptr[index];
    if (header.f0.len == length && !strncasecmp((const char *)header.f0.ptr, name, length)) return tb_c(header.f1);
  }
  return NULL;
}

const char *tb_response_text(const tb_response *response) {
  return tb_c((tb_str){response->body.ptr, response->body.len});
}

// --- the rest ------------------------------------------------------------------------------------

bool tb_state_get(const char *key, const char **json) {
  tb_str name = tb_s(key);
  automation_option_string_t kept;
  if (!triggerbox_automation_state_get(&name, &kept, &tb_error)) return false;
  *json = kept.is_some ? tb_c(kept.val) : NULL;
  return true;
}

bool tb_state_set(const char *key, const char *json) {
  tb_str name = tb_s(key), value = tb_s(json ? json : "");
  return triggerbox_automation_state_set(&name, json ? &value : NULL, &tb_error);
}

bool tb_to_local(const char *utc, const char *zone, const char **local) {
  tb_str time = tb_s(utc), tz = tb_s(zone), found;
  if (!triggerbox_automation_calendar_to_local(&time, &tz, &found, &tb_error)) return false;
  *local = tb_c(found);
  return true;
}

bool tb_to_utc(const char *local, const char *zone, const char **utc) {
  tb_str time = tb_s(local), tz = tb_s(zone), found;
  if (!triggerbox_automation_calendar_to_utc(&time, &tz, &found, &tb_error)) return false;
  *utc = tb_c(found);
  return true;
}

bool tb_remaining(const char *limit, double *left) {
  tb_str name = tb_s(limit);
  return triggerbox_automation_budget_remaining(&name, left);
}
