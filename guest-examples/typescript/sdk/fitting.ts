// Values as their fields have them: a plain number leaves open whether it is an id or an amount, a plain text whether it is
// a day or a text.

import records from "triggerbox:automation/records@0.1.1";

import { HostError, ask } from "./errors.ts";
import { Amount, date, fields, type Value, type Values } from "./values.ts";
import type * as host from "triggerbox:host";

/** The types of the fields of models of which a value once did not fit. */
const kinds = new Map<string, Map<string, string>>();
/** The models that relational fields lead to, of those of which a command's value once did not fit. */
const relations = new Map<string, string>();

/** A command with values. They are made the host's when it is known of which model they are. */
export interface Valued { make: (ready: host.Field[]) => host.Command; values: Values }

/**
 * Hands values to a host call. Where the host says that one does not fit its field, the fields' types are asked for, once
 * for each model, and values of these types are sent.
 */
export function sent<T>(model: string, values: readonly Values[], send: (ready: host.Field[][]) => T): T {
  if (!kinds.has(model)) {
    try {
      return ask(() => send(values.map(fields)));
    } catch (error) {
      lookUp(model, error);
    }
  }
  const known = kinds.get(model)!;
  return ask(() => send(values.map((one) => fields(fitted(known, one)))));
}

/** Hands commands on a relational field to a host call, as `sent` does values: theirs are of the related model. */
export function sentCommands(
  model: string, field: string, commands: readonly (host.Command | Valued)[], send: (ready: host.Command[]) => void,
): void {
  const path = `${model} ${field}`;
  if (!relations.has(path)) {
    try {
      return ask(() => send(made(commands, new Map())));
    } catch (error) {
      relations.set(path, lookUpRelation(model, field, error));
    }
  }
  const known = kinds.get(relations.get(path)!)!;
  ask(() => send(made(commands, known)));
}

function made(commands: readonly (host.Command | Valued)[], known: Map<string, string>): host.Command[] {
  return commands.map((one) => "make" in one ? one.make(fields(fitted(known, one.values))) : one);
}

/** Asks for the types of a model's fields where a value did not fit. Whoever may not know them is told what did not. */
function lookUp(model: string, error: unknown): void {
  kinds.set(model, new Map(described(model, [], error).map(({ name, kind }) => [name, kind])));
}

/** The same for the model that a field leads to, which is what it returns. */
function lookUpRelation(model: string, field: string, error: unknown): string {
  const relation = described(model, [field], error)[0]?.relation;
  if (!relation) throw error;
  if (!kinds.has(relation)) lookUp(relation, error);
  return relation;
}

function described(model: string, names: string[], error: unknown): host.FieldInfo[] {
  if (!(error instanceof HostError) || error.code !== "wrong-type") throw error;
  try {
    return ask(() => records.fieldsGet(model, names));
  } catch (refused) {
    throw refused instanceof HostError && refused.kind === "access-denied" ? error : refused;
  }
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
