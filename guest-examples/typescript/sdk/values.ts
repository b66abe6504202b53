// Field values: the contract's to plain ones, and back.

import { HostError, invalid } from "./errors.ts";
import type * as host from "triggerbox:host";

/** The value of a many2one field; `name` is what Odoo shows for the record. */
export interface Link { id: number; name: string | null }
/** The value of a reference field. */
export interface Reference { model: string; id: number }
/** What stands for a record: its id, a row, a link. */
export type Id = number | { id: number };
/** A value for a json field; made by `json`. */
export interface Json { json: unknown }
/** A day, where a plain text would not say that it is one; made by `date`. */
export interface Day { date: string }
/** A number that is no id, however large. */
export class Amount {
  readonly amount: number;

  constructor(amount: number) {
    this.amount = amount;
  }
}
/** A value to write. */
export type Value =
  | null | undefined | boolean | number | string | Date | Day | Amount | { id: number } | Reference | number[] | Uint8Array
  | Json;
/** Values by field name. */
export type Values = Record<string, Value>;
/**
 * A record with the values that were asked for. Reading one that only the commit can know throws a `HostError` of kind
 * `pending`.
 */
export type Row = { readonly id: number } & Record<string, any>;

/** A value for a json field: anything that JSON can say. */
export const json = (value: unknown): Json => ({ json: value });

/** A day as a value: `date("2026-11-21")`. Fields of type date also take the text itself. */
export const date = (day: string): Day => ({ date: day });

/** Integer fields hold no larger number; what is larger is the id of a record of this run. */
const LARGEST_INTEGER = 2 ** 31 - 1;
const SMALLEST_INTEGER = -(2 ** 31);

/** `2026-11-21T10:15:00Z`, to the second. */
export function utcText(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** An id from the host: QuickJS takes the upper half of the 32 bits, where provisional ids are, for negative numbers. */
export const unsigned = (id: number): number => id >>> 0;

/** An id for the host: the way back. */
export const hostId = (record: Id): number => idOf(record) | 0;

/** A value that was read; `undefined` for one that only the commit can know. */
export function fromHost(value: host.Value): unknown {
  switch (value.tag) {
    case "unset": return null;
    case "pending": return undefined;
    case "datetime": return new Date(value.val);
    case "many2one": return { id: unsigned(value.val.id), name: value.val.displayName };
    case "ids": return Array.from(value.val, unsigned);
    case "reference": return { model: value.val.model, id: unsigned(value.val.id) };
    case "json": return JSON.parse(value.val);
    default: return value.val;
  }
}

/** A plain value as the contract has it. */
export function toHost(value: Value): host.Value {
  switch (typeof value) {
    case "undefined": return { tag: "unset" };
    case "boolean": return { tag: "boolean", val: value };
    case "string": return { tag: "text", val: value };
    case "number": return numeric(value);
    case "object": return object(value);
    default: throw invalid("wrong-type", `${String(value)} is no value of a field`);
  }
}

function numeric(value: number): host.Value {
  if (!Number.isInteger(value) || value < SMALLEST_INTEGER || value > 2 ** 32 - 1) return { tag: "number", val: value };
  return value > LARGEST_INTEGER ? many2one(value) : { tag: "integer", val: value };
}

function many2one(id: number): host.Value {
  return { tag: "many2one", val: { id: hostId(id), displayName: null } };
}

function object(value: Exclude<Value, undefined | boolean | number | string>): host.Value {
  if (value === null) return { tag: "unset" };
  if (value instanceof Amount) return { tag: "number", val: value.amount };
  if (value instanceof Date) return { tag: "datetime", val: utcText(value) };
  if (value instanceof Uint8Array) return { tag: "binary", val: value };
  if (Array.isArray(value)) return { tag: "ids", val: value.map(hostId) };
  // A row is its record, whatever its fields are called.
  if ("id" in value && typeof value.id === "number" && !("model" in value)) return many2one(value.id);
  if ("json" in value) return { tag: "json", val: JSON.stringify(value.json) };
  if ("date" in value) return { tag: "date", val: value.date };
  if ("model" in value && typeof value.model === "string") return { tag: "reference", val: { model: value.model, id: hostId(value) } };
  if (typeof value.id === "number") return many2one(value.id);
  throw invalid("wrong-type", `${JSON.stringify(value)} is no value of a field; wrap JSON with json(…)`);
}

export function fields(values: Values): host.Field[] {
  return Object.entries(values).map(([name, value]) => ({ name, value: toHost(value) }));
}

/** Named values as an object. What only the commit can know is left out. */
export function named(list: host.Field[]): Record<string, any> {
  const values = list.map(({ name, value }) => [name, fromHost(value)] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

export function idOf(record: Id): number {
  return typeof record === "number" ? record : record.id;
}

/** A row as a plain object. */
export function row(model: string, names: readonly string[], { id, values }: host.Row): Row {
  const made: Record<string, unknown> & { id: number } = { id: unsigned(id) };
  names.forEach((name, index) => {
    const value = fromHost(values[index]!);
    if (value !== undefined) {
      made[name] = value;
      return;
    }
    const text = `"${name}" of ${model}(${made.id}) is known only when the run is applied; decide without it`;
    const get = () => { throw new HostError("pending", "pending-value", text, name); };
    Object.defineProperty(made, name, { get });
  });
  return made;
}
