// Breaks.
#include "triggerbox.h"

#include <stdlib.h>

__attribute__((noinline)) static void deeper(void) {
  abort();
}

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  if (event->attempt) deeper();
  return tb_done(outcome, "done");
}
