// Reading and changing records. Names and habits are those of Odoo's ORM.

import chatter from "triggerbox:automation/chatter@0.1.1";
import records from "triggerbox:automation/records@0.1.1";

import { type Activity, activityToHost, type Message, messageToHost, type Posted } from "./chatter.ts";
import { type Domain, domain } from "./domain.ts";
import { ask, HostError } from "./errors.ts";
import { sent, sentCommands, type Valued } from "./fitting.ts";
import type * as host from "triggerbox:host";
import { hostId, type Id, idOf, named, type Reference, type Row, row, unsigned, type Values } from "./values.ts";

/** One record or several. */
export type Ids = Id | readonly Id[];
export type Operation = "read" | "write" | "create" | "unlink";
export type FieldInfo = host.FieldInfo;
export type FieldDetails = host.FieldDetails;

/** Which part of the matching records, in which order. */
export interface SearchOptions {
  /** `name desc, id` */
  order?: string;
  limit?: number;
  offset?: number;
  /** Also archived records. */
  archived?: boolean;
}

export interface GroupOptions extends SearchOptions {
  /** A domain over aggregates, as text: `[('__count', '>', 5)]`. */
  having?: string;
}

/** One group of `readGroup`: keys and aggregates by the names they were asked by. */
export interface Group {
  keys: Record<string, any>;
  aggregates: Record<string, any>;
  count: number;
  /** Selects this group's records, to be joined with the domain that was asked. */
  domain: string;
}

/** A change of a one2many or many2many field; made by `command`. */
export type Command = host.Command | Valued;

export const command = {
  /** Adds an existing record. */
  link: (record: Id): Command => ({ tag: "link", val: hostId(record) }),
  /** Takes a record out of the relation, and keeps it. */
  unlink: (record: Id): Command => ({ tag: "unlink", val: hostId(record) }),
  /** Deletes the related record. */
  delete: (record: Id): Command => ({ tag: "delete", val: hostId(record) }),
  /** Takes all out. */
  clear: (): Command => ({ tag: "clear" }),
  /** Makes the relation exactly these. */
  replace: (several: readonly Id[]): Command => ({ tag: "replace", val: several.map(hostId) }),
  /** Creates a related record. */
  create: (values: Values): Command => ({ make: (ready) => ({ tag: "create", val: ready }), values: { ...values } }),
  /** Writes a related record. */
  update: (record: Id, values: Values): Command =>
    ({ make: (ready) => ({ tag: "update", val: [hostId(record), ready] }), values: { ...values } }),
};

/** The records of one model, such as `crm.lead`. */
export class Model {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** The matching records with the named fields. */
  search(where: Domain, names: readonly string[], options: SearchOptions = {}): Row[] {
    const found = ask(() => records.searchRead(this.name, domain(where), [...names], page(options)));
    return found.map((one) => row(this.name, names, one));
  }

  /** The first matching record, if any matches. */
  first(where: Domain, names: readonly string[], options: SearchOptions = {}): Row | undefined {
    return this.search(where, names, { ...options, limit: 1 })[0];
  }

  /** Ids of the matching records. */
  searchIds(where: Domain, options: SearchOptions = {}): number[] {
    return Array.from(ask(() => records.search(this.name, domain(where), page(options))), unsigned);
  }

  /** How many records match. */
  count(where: Domain): number {
    return ask(() => records.searchCount(this.name, domain(where)));
  }

  /** The named fields of these records, in their order. Records that are gone are left out. */
  read(which: Ids, ...names: string[]): Row[] {
    return ask(() => records.read(this.name, list(which), names)).map((one) => row(this.name, names, one));
  }

  /** One record with the named fields. Throws if it is gone. */
  get(record: Id, ...names: string[]): Row {
    const [found] = this.read(record, ...names);
    if (found) return found;
    const text = `${this.name}(${idOf(record)}) does not exist, or not any more`;
    throw new HostError("not-found", "no-such-record", text);
  }

  /** Groups with aggregates: `["stage_id", "create_date:month"]`, `["expected_revenue:sum", "__count"]`. */
  readGroup(where: Domain, groupBy: string[], aggregates: string[], options: GroupOptions = {}): Group[] {
    const part = { ...page(options), having: options.having ?? null };
    const groups = ask(() => records.readGroup(this.name, domain(where), groupBy, aggregates, part));
    return groups.map((group) => ({ ...group, keys: named(group.keys), aggregates: named(group.aggregates) }));
  }

  /** Records whose name matches a text, best first. */
  nameSearch(text: string, limit = 10): { id: number; name: string | null }[] {
    const found = ask(() => records.nameSearch(this.name, text, limit));
    return found.map(({ id, displayName }) => ({ id: unsigned(id), name: displayName }));
  }

  /** Describes the named fields, or all for none. */
  fields(...names: string[]): FieldInfo[] {
    return ask(() => records.fieldsGet(this.name, names));
  }

  /** All that is known of the named fields, or of all for none: digits, default, what a computed one follows from… */
  describeFields(...names: string[]): FieldDetails[] {
    return ask(() => records.describeFields(this.name, names));
  }

  /** Whether the run may do this to all of these records; for none, to the model at all. */
  hasAccess(which: Ids, operation: Operation): boolean {
    return ask(() => records.hasAccess(this.name, list(which), operation));
  }

  /**
   * Stages a new record. Its id is provisional until the run is applied: use it as a value, and `mention` to name it in
   * a text.
   */
  create(values: Values): number {
    return this.createAll([values])[0]!;
  }

  /** Stages new records. */
  createAll(several: readonly Values[]): number[] {
    return Array.from(sent(this.name, several, (ready) => records.create(this.name, ready)), unsigned);
  }

  /**
   * Finds the one record whose `keys` fields are as in `values`, or stages its creation. Two runs at the same time end
   * with one record.
   */
  ensure(keys: readonly string[], values: Values): number {
    return unsigned(sent(this.name, [values], ([ready]) => records.ensure(this.name, [...keys], ready!)));
  }

  /** Stages the same values on all of these records. */
  write(which: Ids, values: Values): void {
    sent(this.name, [values], ([ready]) => records.write(this.name, list(which), ready!));
  }

  /** Stages changes of one one2many or many2many field: `leads.relate(lead, "tag_ids", command.link(7))`. */
  relate(record: Id, field: string, ...commands: Command[]): void {
    sentCommands(this.name, field, commands, (ready) => records.relate(target(this, record), field, ready));
  }

  /** Stages deletion. */
  unlink(which: Ids): void {
    ask(() => records.unlink(this.name, list(which)));
  }

  /** Stages a copy, with these values in place of the original's; its provisional id. */
  copy(record: Id, values: Values = {}): number {
    return unsigned(sent(this.name, [values], ([ready]) => records.copy(target(this, record), ready!)));
  }

  /**
   * Calls a business method with named arguments. It is staged, and then there is no answer; a method that the grant
   * marks as read-only answers at once.
   */
  call(which: Ids, method: string, named: Record<string, unknown> = {}): unknown {
    const answer = ask(() => records.call(this.name, list(which), method, JSON.stringify(named)));
    return answer === null ? null : JSON.parse(answer);
  }

  /**
   * A text that becomes the record's name and id when the run is applied. The only way to name a record created in this
   * run inside a message or a text field.
   */
  mention(record: Id): string {
    return ask(() => records.mention(target(this, record)));
  }

  /** Stages an internal note: a text, or a message. */
  postNote(record: Id, message: string | Message): void {
    ask(() => chatter.postNote(target(this, record), messageToHost(message)));
  }

  /** Stages a message that the followers are notified of. */
  postMessage(record: Id, message: string | Message): void {
    ask(() => chatter.postMessage(target(this, record), messageToHost(message)));
  }

  /** Stages something to do. */
  scheduleActivity(record: Id, activity: Activity): void {
    ask(() => chatter.scheduleActivity(target(this, record), activityToHost(activity)));
  }

  /** Stages that all activities of this kind on the record are done; returns how many there are. */
  completeActivities(record: Id, kind: string, feedback?: string): number {
    return ask(() => chatter.completeActivities(target(this, record), kind, feedback ?? null));
  }

  /** Stages followers, by partner. */
  addFollowers(record: Id, partners: Ids): void {
    ask(() => chatter.addFollowers(target(this, record), list(partners)));
  }

  /** Stages that these partners no longer follow. */
  removeFollowers(record: Id, partners: Ids): void {
    ask(() => chatter.removeFollowers(target(this, record), list(partners)));
  }

  /** The newest messages and notes first, those staged by this run included. */
  messages(record: Id, limit: number): Posted[] {
    const found = ask(() => chatter.readMessages(target(this, record), limit));
    return found.map((one) => ({ ...one, id: unsigned(one.id), date: new Date(one.date) }));
  }

  /** The value of a reference field that points to a record. */
  ref(record: Id): Reference {
    return { model: this.name, id: idOf(record) };
  }
}

/** The model with this technical name; Odoo's `env["crm.lead"]`. */
export function model(name: string): Model {
  return new Model(name);
}

/** The record behind an external id such as `base.main_company`; Odoo's `env.ref`. */
export function ref(xmlid: string): Reference {
  return ask(() => records.resolveXmlid(xmlid));
}

/** Whether a record was created in this run and has no real id yet. */
export function isProvisional(record: Id): boolean {
  return idOf(record) >= 2 ** 31;
}

function target(model: Model, record: Id): host.RecordRef {
  return { model: model.name, id: hostId(record) };
}

function page({ order, limit, offset, archived }: SearchOptions): host.Page {
  return { offset: offset ?? 0, limit: limit ?? null, order: order ?? null, archived: archived ?? false };
}

function list(which: Ids): number[] {
  return Array.isArray(which) ? which.map(hostId) : [hostId(which as Id)];
}
