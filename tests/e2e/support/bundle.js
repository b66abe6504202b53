// All example scripts in one component, told apart by the rule's name.

import * as contractCheck from "./contract-check/script.js";
import * as crash from "./crash/script.js";
import * as highValueOrder from "./high-value-order/script.js";

const scripts = { "contract-check": contractCheck, crash, "high-value-order": highValueOrder };

export function run(event) {
  return scripts[event.rule].run(event);
}
