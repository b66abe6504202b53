// Domains: Odoo's lists of conditions, as the contract has them.

import { invalid } from "./errors.ts";
import type * as host from "triggerbox:host";
import { toHost, unsigned, type Value } from "./values.ts";

const OPERATORS = {
  "=": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "in": "is-in", "not in": "not-in",
  "like": "like", "not like": "not-like", "ilike": "ilike", "not ilike": "not-ilike",
  "=like": "like-pattern", "not =like": "not-like-pattern", "=ilike": "ilike-pattern", "not =ilike": "not-ilike-pattern",
  "child_of": "child-of", "parent_of": "parent-of", "=?": "eq-or-unset", "any": "any", "not any": "not-any",
} as const;
const CONNECTIVES = { "&": "and", "|": "or", "!": "not" } as const;

/** Odoo's operators. */
export type Operator = keyof typeof OPERATORS;
/** `["email", "=", address]`; `[1, "=", 1]` matches every record and `[0, "=", 1]` none. */
export type Condition = readonly [string | 0 | 1, Operator, Value | readonly Value[] | Domain];
/** Conditions in Odoo's prefix notation, or its notation as text. */
export type Domain = string | readonly (Condition | "&" | "|" | "!")[];

export function domain(items: Domain): host.Domain {
  return typeof items === "string" ? { tag: "literal", val: items } : { tag: "terms", val: items.map(term) };
}

function term(item: Condition | "&" | "|" | "!"): host.Term {
  if (typeof item === "string") {
    if (!(item in CONNECTIVES)) throw invalid("bad-domain", `"${item}" stands where a condition, "&", "|" or "!" belongs`);
    return { tag: CONNECTIVES[item] };
  }
  const [field, symbol, value] = item;
  if (typeof field === "number") return { tag: field ? "always" : "never" };
  const operator = OPERATORS[symbol];
  if (!operator) throw invalid("bad-domain", `there is no operator "${symbol}"; there are ${Object.keys(OPERATORS).join(", ")}`);
  return { tag: "condition", val: { field, operator, value: operand(symbol, value) } };
}

function operand(symbol: Operator, value: Condition[2]): host.Operand {
  if (symbol === "any" || symbol === "not any") {
    return { tag: "domain", val: typeof value === "string" ? value : literal(value as Exclude<Domain, string>) };
  }
  if (Array.isArray(value)) return { tag: "many", val: value.map((one) => toHost(one as Value)) };
  return { tag: "one", val: toHost(value as Value) };
}

/** A domain as text, in Odoo's notation. */
export function literal(items: Exclude<Domain, string>): string {
  return `[${items.map((item) => (typeof item === "string" ? quoted(item) : leaf(item))).join(", ")}]`;
}

function leaf([field, symbol, value]: Condition): string {
  const name = typeof field === "number" ? String(field) : quoted(field);
  let text: string;
  if (symbol === "any" || symbol === "not any") {
    text = typeof value === "string" ? value : literal(value as Exclude<Domain, string>);
  } else {
    text = Array.isArray(value) ? `[${value.map((one) => scalar(one as Value)).join(", ")}]` : scalar(value as Value);
  }
  return `(${name}, ${quoted(symbol)}, ${text})`;
}

function scalar(given: Value): string {
  const value = toHost(given);
  switch (value.tag) {
    case "unset": case "pending": return "False";
    case "boolean": return value.val ? "True" : "False";
    case "integer": case "number": return String(value.val);
    case "many2one": return String(unsigned(value.val.id));
    case "datetime": return quoted(value.val.replace("T", " ").replace("Z", ""));
    case "reference": return quoted(`${value.val.model},${unsigned(value.val.id)}`);
    default: return quoted(String(value.val));
  }
}

function quoted(text: string): string {
  const escapes: Record<string, string> = { "\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return `'${text.replace(/[\\'\n\r\t]/g, (character) => escapes[character]!)}'`;
}
