// A few values that a rule keeps from run to run. Staged and applied like any change.

import state from "triggerbox:automation/state@0.1.1";

import { ask } from "./errors.ts";

/** The value kept under a key; undefined if there is none. */
export function get(key: string): any {
  const text = ask(() => state.get(key));
  return text === null ? undefined : JSON.parse(text);
}

/** Stages a value under a key: anything that JSON can say. */
export function set(key: string, value: unknown): void {
  ask(() => state.set(key, JSON.stringify(value)));
}

/** Stages that the key is gone. */
export function remove(key: string): void {
  ask(() => state.set(key, null));
}
