// Breaks in line 10.
#include "triggerbox.h"

#include <cassert>

namespace {

[[gnu::noinline]] void deeper(const tb_event *event) {
  // Not so.
  assert(event->attempt == 0);
}

}  // namespace

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  deeper(event);
  return tb_done(outcome, "done");
}
