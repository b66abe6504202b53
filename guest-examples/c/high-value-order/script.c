// Notes orders over a threshold in their chatter.
//
// For rules on `sale.order`, when an order is created or its total changes. An order is noted when its total passes the
// threshold, not again each time it changes above it.

#include "triggerbox.h"

// Whether the order had passed the threshold before this event.
static bool was_above(const tb_event *event, uint32_t order, double threshold) {
  if (event->trigger.tag != TRIGGERBOX_AUTOMATION_EVENTS_TRIGGER_UPDATED) return false;
  tb_value before;
  if (tb_old_value(event, order, "amount_total", &before)) return tb_as_number(before) > threshold;
  // If the total is not among what changed, it was what it is.
  return true;
}

bool tb_run(const tb_event *event, tb_outcome *outcome) {
  double threshold = tb_parameter_number(event, "threshold", 10000);
  uint32_t manager = tb_as_id(tb_parameter(event, "manager"));
  tb_message note = tb_plain("High-value sale detected, manager notified.");
  if (manager) note.partner_ids = TB_IDS(manager);
  tb_rows orders;
  if (!tb_event_read(event, "amount_total", &orders)) return tb_failed();
  unsigned noted = 0;
  for (size_t index = 0; index < orders.length; index++) {
    const tb_row *order = &orders.rows[index];
    if (tb_as_number(order->values.ptr[0]) <= threshold || was_above(event, order->id, threshold)) continue;
    // A note, not a message: the customer follows the order too.
    if (!tb_post_note(tb_c(event->model.val), order->id, note)) return tb_failed();
    noted += 1;
  }
  return tb_done(outcome, "%u of %zu orders over %g", noted, event->records.len, threshold);
}
