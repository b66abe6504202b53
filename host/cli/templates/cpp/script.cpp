// Notes leads with a high expected revenue.

#include "triggerbox.h"

// Called once for each event. Everything it changes is applied together when it returns true, and not at all otherwise.
bool tb_run(const tb_event *event, tb_outcome *outcome) {
  double threshold = tb_parameter_number(event, "threshold", 10000);
  tb_rows leads;
  if (!tb_event_read(event, "name,expected_revenue", &leads)) return tb_failed();
  unsigned noted = 0;
  for (size_t index = 0; index < leads.length; index++) {
    const tb_row *lead = &leads.rows[index];
    // In the order in which they were asked for.
    const char *name = tb_as_text(lead->values.ptr[0]);
    double revenue = tb_as_number(lead->values.ptr[1]);
    tb_info("%s: %g", name, revenue);
    if (revenue > threshold) {
      const char *note = tb_format("Expected revenue %g is over %g.", revenue, threshold);
      if (!tb_post_note("crm.lead", lead->id, tb_plain(note))) return tb_failed();
      noted += 1;
    }
  }
  return tb_done(outcome, "%u of %zu leads noted", noted, leads.length);
}
