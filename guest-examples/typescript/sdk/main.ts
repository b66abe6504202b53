// What the host calls: hands the event to the script's `run`, and its answer back.

// The build puts the script's own file here.
import * as script from "triggerbox:script";

import { asFailure } from "./errors.ts";
import { Event, outcome } from "./event.ts";
import type * as host from "triggerbox:host";

export function run(event: host.Event): host.Outcome {
  try {
    return outcome(script.run(new Event(event)));
  } catch (error) {
    throw asFailure(error);
  }
}
