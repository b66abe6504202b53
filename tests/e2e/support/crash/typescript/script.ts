// Breaks in line 6.
import type { Answer, Event } from "triggerbox";

function deeper(values: Record<string, { name: string }>): string {
  // Not there.
  return values["missing"]!.name;
}

export function run(_event: Event): Answer {
  return deeper({});
}
