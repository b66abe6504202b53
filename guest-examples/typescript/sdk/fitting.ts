// Values as their fields have them: a plain number leaves open whether it is an id or an amount, a plain text whether it is
// a day or a text.

import records from "triggerbox:automation/records@0.1.1";

import { HostError, ask } from "./errors.ts";
import { Amount, date, fields, type Value, type Values } from "./values.ts";
import type * as host from "triggerbox:host";

/** The types of the fields of models of which a value once did not fit. */
const kinds = new Map<string, Map<string, string>>();

/**
 * Hands values to a host call. Where the host says that one does not fit its field, the fields' types are asked for, once
 * for each model, and values of these types are sent.
 */
export function sent<T>(model: string, values: readonly Values[], send: (ready: host.Field[][]) => T): T {
  if (!kinds.has(model)) {
    try {
      return ask(() => send(values.map(fields)));
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== "wrong-type") throw error;
    }
    kinds.set(model, new Map(ask(() => records.fieldsGet(model, [])).map(({ name, kind }) => [name, kind])));
  }
  const known = kinds.get(model)!;
  return ask(() => send(values.map((one) => fields(fitted(known, one)))));
}

function fitted(known: Map<string, string>, values: Values): Values {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, fit(known.get(name), value)]));
}

/** A value for a field of this type. What cannot be meant stays as it is: the host refuses it. */
function fit(kind: string | undefined, value: Value): Value {
  if (kind === "many2one" && typeof value === "number") return value ? { id: value } : null;
  if ((kind === "float" || kind === "monetary") && typeof value === "number") return new Amount(value);
  if (kind === "date") {
    if (value instanceof Date) return date(value.toISOString().slice(0, 10));
    if (typeof value === "string") return date(value);
  }
  if (kind === "datetime" && typeof value === "string") {
    // Odoo's times are UTC and say so nowhere.
    const time = new Date(/(Z|[+-]\d\d:?\d\d)$/.test(value) ? value : `${value.replace(" ", "T")}Z`);
    return Number.isNaN(time.getTime()) ? value : time;
  }
  return value;
}
