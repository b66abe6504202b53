// The contract's types and functions, as the QuickJS bindings have them. `wit/automation.wit` says what each means.
// What the host provides under these names, the build leaves to it.

declare module "triggerbox:host" {
  export type Tagged<Tag extends string, Val> = { tag: Tag; val: Val };
  export type Bare<Tag extends string> = { tag: Tag };

  export interface RecordRef { model: string; id: number }
  export interface Link { id: number; displayName: string | null }
  export type Value =
    | Bare<"unset"> | Bare<"pending"> | Tagged<"boolean", boolean> | Tagged<"integer", number> | Tagged<"number", number>
    | Tagged<"text", string> | Tagged<"date", string> | Tagged<"datetime", string> | Tagged<"many2one", Link>
    | Tagged<"ids", number[]> | Tagged<"reference", RecordRef> | Tagged<"binary", Uint8Array> | Tagged<"json", string>;
  export interface Field { name: string; value: Value }
  export interface Row { id: number; values: Value[] }
  export interface Snapshot { id: number; fields: Field[] }
  export type Operand = Tagged<"one", Value> | Tagged<"many", Value[]> | Tagged<"domain", string>;
  export interface Condition { field: string; operator: string; value: Operand }
  export type Term =
    | Bare<"and"> | Bare<"or"> | Bare<"not"> | Bare<"always"> | Bare<"never"> | Tagged<"condition", Condition>;
  export type Domain = Tagged<"terms", Term[]> | Tagged<"literal", string>;
  export interface HostError { kind: string; code: string; message: string; field: string | null }

  export interface User { id: number; name: string; login: string; lang: string; tz: string }
  export interface Event {
    runId: string; rule: string; attempt: number; depth: number; seed: number;
    trigger: { tag: string; val?: unknown };
    model: string | null; records: number[]; oldValues: Snapshot[];
    actor: User; runAs: User; superuser: boolean; company: Link; now: string; parameters: Field[];
    previous: { id: string; lastText: string; toolLog: { name: string; argumentsJson: string; outputJson: string }[] } | null;
    extraJson: string | null;
  }
  export interface Outcome {
    message: string | null; values: Field[]; warning: string | null; records: number[]; resultJson: string | null;
  }
  export type Failure = Tagged<"user-error" | "failed", string>;

  export interface Page { offset: number; limit: number | null; order: string | null; archived: boolean }
  export interface GroupPage extends Page { having: string | null }
  export interface FieldInfo {
    name: string; label: string; kind: string; relation: string | null; required: boolean; readonly: boolean;
    stored: boolean; selection: [string, string][]; help: string | null;
  }
  export type FieldDefault = Tagged<"literal" | "function", string>;
  export interface FieldDetails {
    info: FieldInfo; digits: [number, number] | null; size: number | null; currencyField: string | null;
    relationField: string | null; relationTable: string | null; onDelete: "set-null" | "restrict" | "cascade" | null;
    default: FieldDefault | null; related: string | null; computed: boolean; depends: string[]; formula: string | null;
    groups: string[] | null; aggregator: string | null; copied: boolean | null; translated: boolean | null;
    tracked: boolean | null; indexed: boolean | null; searchable: boolean | null; sortable: boolean | null;
    groupable: boolean | null; extraJson: string | null;
  }
  export interface Group { keys: Field[]; aggregates: Field[]; count: number; domain: string }
  export type Command =
    | Tagged<"link" | "unlink" | "delete", number> | Bare<"clear"> | Tagged<"replace", number[]>
    | Tagged<"create", Field[]> | Tagged<"update", [number, Field[]]>;

  export interface Message {
    body: string; format: "text" | "html"; subject: string | null; partnerIds: number[];
    attachments: { name: string; mimeType: string; content: Uint8Array }[];
  }
  export interface Activity {
    kind: string; summary: string; note: string | null; deadline: string | null; userId: number | null;
  }

  export interface ToolCall { id: string; name: string; argumentsJson: string }
  export interface ToolResult { callId: string; content: string; isError: boolean }
  export type LlmMessage =
    | Tagged<"system" | "user" | "assistant", string> | Tagged<"assistant-calls", [string, ToolCall[]]>
    | Tagged<"tool-results", ToolResult[]>;
}

declare module "triggerbox:script" {
  export function run(event: import("triggerbox").Event): import("triggerbox").Answer;
}

declare module "triggerbox:automation/records@0.1.1" {
  import type * as host from "triggerbox:host";
  const records: {
    search(model: string, domain: host.Domain, page: host.Page): number[];
    searchRead(model: string, domain: host.Domain, fields: string[], page: host.Page): host.Row[];
    searchCount(model: string, domain: host.Domain): number;
    read(model: string, ids: number[], fields: string[]): host.Row[];
    readGroup(
      model: string, domain: host.Domain, groupBy: string[], aggregates: string[], page: host.GroupPage,
    ): host.Group[];
    nameSearch(model: string, text: string, limit: number): host.Link[];
    fieldsGet(model: string, fields: string[]): host.FieldInfo[];
    describeFields(model: string, fields: string[]): host.FieldDetails[];
    hasAccess(model: string, ids: number[], operation: string): boolean;
    resolveXmlid(xmlid: string): host.RecordRef;
    create(model: string, values: host.Field[][]): number[];
    ensure(model: string, keys: string[], values: host.Field[]): number;
    write(model: string, ids: number[], values: host.Field[]): void;
    relate(target: host.RecordRef, field: string, commands: host.Command[]): void;
    unlink(model: string, ids: number[]): void;
    copy(target: host.RecordRef, values: host.Field[]): number;
    call(model: string, ids: number[], method: string, argumentsJson: string): string | null;
    mention(target: host.RecordRef): string;
  };
  export default records;
}

declare module "triggerbox:automation/chatter@0.1.1" {
  import type * as host from "triggerbox:host";
  const chatter: {
    postMessage(target: host.RecordRef, message: host.Message): void;
    postNote(target: host.RecordRef, message: host.Message): void;
    scheduleActivity(target: host.RecordRef, activity: host.Activity): void;
    completeActivities(target: host.RecordRef, kind: string, feedback: string | null): number;
    addFollowers(target: host.RecordRef, partnerIds: number[]): void;
    removeFollowers(target: host.RecordRef, partnerIds: number[]): void;
    readMessages(
      target: host.RecordRef, limit: number,
    ): { id: number; author: string; date: string; body: string; isNote: boolean }[];
  };
  export default chatter;
}

declare module "triggerbox:automation/llm@0.1.1" {
  import type * as host from "triggerbox:host";
  const llm: {
    complete(request: {
      model: string | null; messages: host.LlmMessage[];
      tools: { name: string; description: string; parametersSchema: string }[];
      outputSchema: string | null; temperature: number | null; maxTokens: number | null;
    }): {
      text: string; calls: host.ToolCall[]; finish: string; model: string;
      usage: { inputTokens: number; outputTokens: number; cost: number; currency: string };
    };
  };
  export default llm;
}

declare module "triggerbox:automation/http@0.1.1" {
  const http: {
    send(request: { method: string; url: string; headers: [string, string][]; body: Uint8Array }): {
      status: number; headers: [string, string][]; body: Uint8Array;
    };
  };
  export default http;
}

declare module "triggerbox:automation/state@0.1.1" {
  const state: { get(key: string): string | null; set(key: string, json: string | null): void };
  export default state;
}

declare module "triggerbox:automation/calendar@0.1.1" {
  const calendar: { toLocal(utc: string, tz: string): string; toUtc(local: string, tz: string): string };
  export default calendar;
}

declare module "triggerbox:automation/budget@0.1.1" {
  const budget: { remaining(limit: string): number | null };
  export default budget;
}

declare module "triggerbox:automation/log@0.1.1" {
  const log: { write(level: "debug" | "info" | "warning" | "error", message: string): void };
  export default log;
}
