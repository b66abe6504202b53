// What goes wrong: errors of the host's calls, and how a script ends without success.

import type * as host from "triggerbox:host";

/** A host call failed. Decide by `kind` or `code`; people read `text`. */
export class HostError extends Error {
  /** `access-denied`, `not-found`, `invalid`, `rejected`, `conflict`, `unavailable`, `pending` or `other`. */
  readonly kind: string;
  /** Stable and documented, such as `unknown-field`. */
  readonly code: string;
  /** What happened, on what, what to do. */
  readonly text: string;
  readonly field: string | null;

  constructor(kind: string, code: string, text: string, field: string | null = null) {
    super(`${code}: ${text}`);
    this.name = "HostError";
    [this.kind, this.code, this.text, this.field] = [kind, code, text, field];
  }
}

/** Throw it with a text for the user who caused the event; nothing is applied. */
export class UserError extends Error {
  override name = "UserError";
}

/** Throw it with a text for the run history; nothing is applied. */
export class Failed extends Error {
  override name = "Failed";
}

/** A host call whose errors are thrown as `HostError`. */
export function ask<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    // The bindings wrap the contract's error. An error of their own, such as a wrong type, is passed on.
    const payload = (error as { payload?: host.HostError }).payload;
    if (!payload) throw error;
    throw new HostError(payload.kind, payload.code, payload.message, payload.field);
  }
}

export function invalid(code: string, text: string, field: string | null = null): HostError {
  return new HostError("invalid", code, text, field);
}

/** The contract's word for whatever a script threw. */
export function asFailure(error: unknown): host.Failure {
  if (error instanceof UserError) return { tag: "user-error", val: error.message };
  if (error instanceof Failed) return { tag: "failed", val: error.message };
  if (!(error instanceof Error)) return { tag: "failed", val: `thrown: ${String(error)}` };
  const stack = places(error);
  if (error instanceof HostError) return { tag: "failed", val: stack.length ? `${error.message} (${stack[0]})` : error.message };
  // A bug: the whole stack goes to the run's history.
  return { tag: "failed", val: [`${error.name}: ${error.message}`, ...stack.map((place) => `    at ${place}`)].join("\n") };
}

/** Lines of the bundle to lines of the sources: for each line a source and a line, put there by the build. */
declare const __triggerbox_lines: { sources: string[]; lines: [number, number][] } | undefined;

/** The script's own part of an error's stack, innermost first: `score (score.ts:12)`, or the place alone. */
export function places(error: Error): string[] {
  const map = typeof __triggerbox_lines === "undefined" ? undefined : __triggerbox_lines;
  const found: string[] = [];
  for (const frame of (error.stack ?? "").split("\n")) {
    const parts = /at (.*?) ?\(?([^\s()]+?):(\d+)(?::\d+)?\)?$/.exec(frame.trim());
    if (!parts || !map) continue;
    const entry = map.lines[Number(parts[3]) - 1];
    const source = entry && map.sources[entry[0]];
    // This library's own frames say nothing about the script.
    if (!entry || !source) continue;
    const place = `${source}:${entry[1]}`;
    found.push(parts[1] && parts[1] !== "<anonymous>" ? `${parts[1]} (${place})` : place);
  }
  return found;
}
