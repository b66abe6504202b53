// What happened, and what the script answers.

import { toLocal } from "./calendar.ts";
import { Failed, invalid } from "./errors.ts";
import type * as host from "triggerbox:host";
import { Model } from "./records.ts";
import { fields, fromHost, hostId, type Id, type Link, named, type Row, unsigned, type Values } from "./values.ts";

/** Who caused the event, or whose rights the script has. */
export type User = host.User;
/** What can have happened. */
export type TriggerKind =
  | "created" | "updated" | "deleted" | "time" | "scheduled" | "manual" | "webhook" | "message" | "on-change"
  | "before-create" | "before-update" | "before-delete" | "select-records" | "other";

/** One firing of one rule. */
export class Event {
  readonly host: host.Event;
  readonly runId: string;
  readonly rule: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly depth: number;
  /** Random; the same again in a replay. `Math.random` is the same in every run: draw from this. */
  readonly seed: number;
  readonly trigger: TriggerKind;
  /** Ids of the triggering records. */
  readonly ids: number[];
  readonly actor: User;
  readonly runAs: User;
  readonly superuser: boolean;
  readonly company: Link;
  /** When the event happened. The clock stands still during a run. */
  readonly now: Date;
  /** The rule's parameters, by name. */
  readonly parameters: Record<string, any>;
  /** For updates: by record, the changed fields as they were. */
  readonly oldValues: Map<number, Record<string, any>>;

  constructor(event: host.Event) {
    this.host = event;
    this.runId = event.runId;
    this.rule = event.rule;
    this.attempt = event.attempt;
    this.depth = event.depth;
    this.seed = unsigned(event.seed);
    this.trigger = event.trigger.tag as TriggerKind;
    this.ids = Array.from(event.records, unsigned);
    this.actor = event.actor;
    this.runAs = event.runAs;
    this.superuser = event.superuser;
    this.company = { id: event.company.id, name: event.company.displayName };
    this.now = new Date(event.now);
    this.parameters = Object.fromEntries(event.parameters.map(({ name, value }) => [name, fromHost(value)]));
    this.oldValues = snapshots(event.oldValues);
  }

  /** The model that the rule is bound to. */
  get model(): Model {
    if (this.host.model === null) throw new Failed("this rule is bound to no model");
    return new Model(this.host.model);
  }

  /** The triggering records with the named fields. Those that are gone are left out. */
  read(...names: string[]): Row[] {
    return this.model.read(this.ids, ...names);
  }

  /** A parameter that must have a value. */
  param(name: string): any {
    const value = this.parameters[name] ?? null;
    if (value === null) throw invalid("missing-parameter", `parameter "${name}" has no value`, name);
    return value;
  }

  /** The day of the event where the run-as user is. */
  get today(): string {
    return toLocal(this.now, this.runAs.tz).slice(0, 10);
  }

  /** What the trigger carries: the webhook's call, the schedule's slot, the message, the drafts' values. */
  get details(): any {
    const value = this.host.trigger.val;
    switch (this.trigger) {
      case "deleted": case "before-update": return snapshots(value as host.Snapshot[]);
      case "on-change": return named((value as host.Snapshot).fields);
      case "before-create": return named(value as host.Field[]);
      default: return value;
    }
  }
}

/** What a script answers. */
export interface Outcome {
  /** One line for the run history. */
  message?: string;
  /** Before and on-change rules: values to set on the record. */
  values?: Values;
  /** On-change rules: shown beside the form. */
  warning?: string;
  /** For `select-records`: the records. */
  records?: readonly Id[];
  /** What a webhook's or a manual run's caller gets: anything that JSON can say. */
  result?: unknown;
}

/** `run` may return an outcome, a text, which is the message, or nothing. */
export type Answer = Outcome | string | void;

export function outcome(answer: Answer): host.Outcome {
  const { message, values, warning, records, result } = typeof answer === "string" ? { message: answer } as Outcome : answer ?? {};
  return {
    message: message ?? null,
    values: fields(values ?? {}),
    warning: warning ?? null,
    records: (records ?? []).map(hostId),
    resultJson: result === undefined ? null : JSON.stringify(result),
  };
}

function snapshots(list: host.Snapshot[]): Map<number, Record<string, any>> {
  return new Map(list.map((snapshot) => [snapshot.id, named(snapshot.fields)]));
}
