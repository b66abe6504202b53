// Breaks in line 9 on a record, and without any gives up; two are too many to be sure of a value.
#include "triggerbox.h"

#include <assert.h>
#include <stdlib.h>

__attribute__((noinline)) static void deeper(const tb_event *event) {
  // Not so.
  assert(event->records.len == 0);
  abort();
}

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  tb_value phone;
  if (tb_given_value(event, 7, "phone", &phone)) return tb_done(outcome, "%s", tb_as_text(phone));
  if (event->records.len > 2) tb_info("%g", tb_as_number(tb_text("many")));
  if (event->records.len > 1) tb_info("%g", tb_as_number((tb_value){.tag = TRIGGERBOX_AUTOMATION_TYPES_VALUE_PENDING}));
  if (event->attempt) deeper(event);
  return tb_done(outcome, "done");
}
