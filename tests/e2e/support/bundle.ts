// All example scripts in one component, told apart by the rule's name.

import type { Answer, Event } from "triggerbox";

import * as contactUpsert from "./contact-upsert/script.ts";
import * as contractCheck from "./contract-check/script.ts";
import * as crash from "./crash/script.ts";
import * as dataQuality from "./data-quality/script.ts";
import * as highValueOrder from "./high-value-order/script.ts";
import * as leadScoring from "./lead-scoring/script.ts";
import * as orderStockCheck from "./order-stock-check/script.ts";

const scripts: Record<string, { run(event: Event): Answer }> = {
  "contact-upsert": contactUpsert,
  "contract-check": contractCheck,
  crash,
  "data-quality": dataQuality,
  "high-value-order": highValueOrder,
  "lead-scoring": leadScoring,
  "order-stock-check": orderStockCheck,
};

export function run(event: Event): Answer {
  return scripts[event.rule]!.run(event);
}
