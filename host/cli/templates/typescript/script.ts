// Notes leads with a high expected revenue.

import { type Event, log } from "triggerbox";

/**
 * Called once for each event. Everything it changes is applied together when it returns, and not at all if it throws.
 */
export function run(event: Event): string {
  const threshold: number = event.param("threshold");
  let noted = 0;
  for (const lead of event.read("name", "expected_revenue")) {
    log.info(`${lead.name}: ${lead.expected_revenue}`);
    const text = note(lead.expected_revenue, threshold);
    if (text) {
      event.model.postNote(lead, text);
      noted += 1;
    }
  }
  return `${noted} of ${event.ids.length} leads noted`;
}

/** What to say about a lead, if anything. */
function note(revenue: number, threshold: number): string | undefined {
  return revenue > threshold ? `Expected revenue ${revenue} is over ${threshold}.` : undefined;
}
