// What the run may still use.

import budget from "triggerbox:automation/budget@0.1.1";

/** How much is left of a limit, by its name (`fuel`, `host-calls`, `llm-cost`…); null for an unknown name. */
export function remaining(limit: string): number | null {
  return budget.remaining(limit);
}
