// Breaks in line 9 on records, and without any gives up.
#include "triggerbox.h"

#include <assert.h>
#include <stdlib.h>

__attribute__((noinline)) static void deeper(const tb_event *event) {
  // Not so.
  assert(event->records.len == 0);
  abort();
}

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  if (event->attempt) deeper(event);
  return tb_done(outcome, "done");
}
