/**
 * The library that Triggerbox scripts in TypeScript and JavaScript are written with.
 *
 * A script is a file `script.ts` (or `script.js`) with a function `run(event)`:
 *
 *     import { type Event, model } from "triggerbox";
 *
 *     export function run(event: Event) {
 *       for (const lead of event.read("name", "expected_revenue")) {
 *         if (lead.expected_revenue > 10_000) event.model.postNote(lead, "A large one.");
 *       }
 *     }
 *
 * What it changes is staged, and applied as one transaction when `run` returns. Throwing `UserError` or `Failed`, or an
 * error of the host that nothing catches, applies nothing.
 *
 * Values are plain: `null` for an empty field, `"2026-11-21"` for a date, a `Date` for a point in time, `{ id, name }`
 * for a many2one, an array of ids for one2many and many2many, a `Uint8Array` for bytes.
 */

export * as budget from "./budget.ts";
export * as calendar from "./calendar.ts";
export { addDays } from "./calendar.ts";
export { type Activity, type Attachment, type Message, type Posted, escape } from "./chatter.ts";
export { type Condition, type Domain, type Operator } from "./domain.ts";
export { Failed, HostError, UserError } from "./errors.ts";
export { type Answer, type Event, type Outcome, type TriggerKind, type User } from "./event.ts";
export * as http from "./http.ts";
export * as llm from "./llm.ts";
export * as log from "./log.ts";
export {
  type Command, type FieldDetails, type FieldInfo, type Group, type GroupOptions, type Ids, Model, type Operation,
  type SearchOptions, command, isProvisional, model, ref,
} from "./records.ts";
export * as state from "./state.ts";
export { decode, encode } from "./text.ts";
export { type Id, type Json, type Link, type Reference, type Row, type Value, type Values, date, json } from "./values.ts";
