// Calls everything in the contract once and logs the answers.
//
// To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its name, then `ok` with the
// answer or `error` with kind, code and message. No answer ends the run, so that a host that lacks something still shows
// all the rest. The outcome's result is a JSON object of the same names with `ok` or the error's code. Where an answer is put
// together of parts, another line shows what this language made of them: it is the same one in every language.

import {
  addDays, budget, calendar, command, date, type Event, escape, type FieldDetails, HostError, http, json, llm, log, Model,
  model, type Outcome, ref, state, type Value,
} from "triggerbox";

const results: Record<string, string> = {};

/** Notes a call's answer, and passes it on if it is a good one. */
function note<T>(name: string, call: () => T): T | undefined {
  try {
    const answer = call();
    log.info(`${name}: ok ${JSON.stringify(answer)}`);
    results[name] = "ok";
    return answer;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const field = error.field ? ` (field ${error.field})` : "";
    log.info(`${name}: error ${error.kind} ${error.code}: ${error.text}${field}`);
    results[name] = error.code;
    return undefined;
  }
}

/** Shows the parts of an answer. */
function show(name: string, parts: (string | number)[]): void {
  log.info(`answer of ${name}: ${parts.join(" | ")}`);
}

export function run(event: Event): Outcome {
  const leads = event.model;
  const lead = event.ids[0]!;
  eventAndParameters(event);
  reads(leads, lead);
  writes(event, leads, lead);
  chatter(event, leads, lead);
  stateAndRuntime(event);
  languageModel();
  otherService(event);
  details();
  roundTrip(event);
  const codes = Object.values(results);
  return {
    message: `${codes.length} calls, ${codes.filter((code) => code !== "ok").length} refused`,
    values: { name: "from the outcome" },
    warning: "a warning",
    records: event.ids,
    result: results,
  };
}

function eventAndParameters(event: Event): void {
  log.info(`event: ${JSON.stringify(event.host)}`);
  if (event.seed < 0) throw new Error(`the seed is ${event.seed}`);
  note("event.time", () => event.now);
  note("event.today", () => event.today);
  for (const name of ["service", "text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one"]) {
    note(`parameter.${name}`, () => event.param(name));
  }
  note("parameter.unset", () => event.parameters.unset ?? null);
}

function reads(leads: Model, lead: number): void {
  note("records.search", () => leads.searchIds([["active", "in", [true, false]]], { order: "id", limit: 2 }));
  note("records.search.literal", () => (
    leads.searchIds("[('type', '=', 'lead'), '|', ('name', 'ilike', 'a'), (1, '=', 1)]")
  ));
  note("records.search-read", () => leads.search([["id", "=", lead]], ["name", "stage_id"]));
  note("records.search-count", () => leads.count(["!", ["id", "=", lead]]));
  note("records.read", () => leads.get(lead, "name", "expected_revenue", "tag_ids", "create_date"));
  const groups = note("records.read-group", () => (
    leads.readGroup([], ["stage_id"], ["expected_revenue:sum", "__count"], { order: "stage_id", limit: 2 })
  ));
  show("records.read-group", (groups ?? []).map(({ keys, aggregates, count }) => (
    `${keys.stage_id.name}, ${count}, ${aggregates["expected_revenue:sum"].toFixed(0)}`
  )));
  note("records.name-search", () => leads.nameSearch("a", 2));
  note("records.fields-get", () => leads.fields("type", "stage_id"));
  note("records.has-access", () => leads.hasAccess(lead, "write"));
  note("records.resolve-xmlid", () => ref("base.main_company"));
  note("records.unknown-model", () => model("crm.laed").searchIds([]));
  note("records.unknown-field", () => leads.get(lead, "nmae"));
  note("records.no-fields", () => leads.get(lead));
  note("records.bad-domain", () => leads.searchIds("[('name', '=']"));
}

function writes(event: Event, leads: Model, lead: number): void {
  const tags = model("crm.tag");
  note("records.write", () => leads.write(lead, { expected_revenue: 1234.5 }));
  note("records.read.staged", () => leads.get(lead, "expected_revenue"));
  const tag = note("records.ensure", () => tags.ensure(["name"], { name: "contract check" }));
  note("records.ensure.again", () => tags.ensure(["name"], { name: "contract check" }));
  if (tag !== undefined) {
    const commands = {
      link: command.link(tag),
      unlink: command.unlink(tag),
      replace: command.replace([tag]),
      create: command.create({ name: "made by a command" }),
      update: command.update(tag, { color: 5 }),
      delete: command.delete(tag),
      clear: command.clear(),
    };
    for (const [name, one] of Object.entries(commands)) {
      note(`records.relate.${name}`, () => leads.relate(lead, "tag_ids", one));
    }
  }
  const made = note("records.create", () => leads.create({ name: `made by ${event.rule}` }));
  if (made !== undefined) {
    note("records.read.created", () => {
      const { name } = leads.get(made, "name", "create_date");
      return name;
    });
    note("records.mention", () => leads.mention(made));
    note("records.copy", () => leads.copy(made, { name: "a copy" }));
    note("records.unlink", () => leads.unlink(made));
  }
  note("records.call", () => leads.call(lead, "action_archive"));
  note("records.call.read-only", () => leads.call([], "name_search", { name: "a", limit: 1 }));
  note("records.wrong-type", () => leads.write(lead, { name: 1 }));
  note("records.provisional-id-as-text", () => leads.write(lead, { description: "see 2147483648" }));
}

function chatter(event: Event, leads: Model, lead: number): void {
  note("chatter.post-message", () => leads.postMessage(lead, {
    html: `<b>${escape("1 < 2")}</b>`,
    subject: "Contract check",
    attachments: [{ name: "note.txt", mimeType: "text/plain", content: Uint8Array.from([97, 116, 116]) }],
  }));
  note("chatter.post-note", () => leads.postNote(lead, "1 < 2, as text"));
  note("chatter.schedule-activity", () => leads.scheduleActivity(lead, {
    kind: "mail.mail_activity_data_todo",
    summary: "Check the contract",
    note: "<p>All of it.</p>",
    deadline: addDays(event.today, 0),
    user: event.runAs,
  }));
  note("chatter.complete-activities", () => leads.completeActivities(lead, "mail.mail_activity_data_todo", "checked"));
  note("chatter.add-followers", () => leads.addFollowers(lead, 1));
  note("chatter.remove-followers", () => leads.removeFollowers(lead, 1));
  const messages = note("chatter.read-messages", () => leads.messages(lead, 3)) ?? [];
  // Those of this run have large numbers.
  if (messages.some(({ id }) => id < 1)) throw new Error(`ids of messages: ${messages.map(({ id }) => id).join()}`);
}

function stateAndRuntime(event: Event): void {
  note("state.get", () => state.get("count") ?? null);
  note("state.set", () => state.set("count", 1));
  note("state.get.staged", () => state.get("count"));
  note("state.remove", () => state.remove("count"));
  note("calendar.to-local", () => calendar.toLocal(event.now, "Europe/Brussels"));
  note("calendar.to-utc", () => calendar.toUtc("2026-03-29T02:30:00", "Europe/Brussels"));
  note("calendar.unknown-zone", () => calendar.toUtc("2026-01-01T00:00:00", "Europe/Nowhere"));
  note("budget.remaining", () => budget.remaining("host-calls") !== null);
  note("budget.unknown", () => budget.remaining("patience"));
  log.debug("log.debug");
  log.warning("log.warning");
  log.error("log.error");
  // What language runtimes ask of WASI: the clock of the event.
  note("wasi.clock", () => Math.floor(Date.now() / 1000));
}

/** Asks for tools, tells what came of them, and asks for answers that end in other ways. */
function languageModel(): void {
  const schema = { type: "object", properties: {} };
  const answer = completion(
    "llm.complete",
    [llm.system("Answer briefly."), llm.user("What is a contract?"), llm.assistant("An agreement.")],
    { tools: [{ name: "look_up", description: "Looks a word up", parameters: schema }], schema, temperature: 0, maxTokens: 10 },
  );
  if (!answer) return;
  const results = answer.calls.map((call, nth) => (
    nth ? llm.result(call, "no such word", true) : llm.result(call, "An agreement.")
  ));
  completion("llm.tool-results", [
    llm.user("What is a contract?"), llm.assistant(answer.text, answer.calls), llm.toolResults(results),
  ]);
  for (const end of ["length", "refused", "other"]) {
    completion(`llm.${end}`, [llm.user(end)], { model: "test/small" });
  }
}

function completion(name: string, turns: llm.Message[], options?: llm.Options): llm.Completion | undefined {
  const answer = note(name, () => llm.complete(turns, options));
  if (!answer) return undefined;
  const { finish, usage, model, text, calls } = answer;
  const { inputTokens, outputTokens, cost, currency } = usage;
  const used = `${inputTokens} + ${outputTokens} tokens, ${(cost * 1e6).toFixed(0)} millionths of ${currency}`;
  show(name, [finish, used, model, text, ...calls.map((call) => `${call.id} ${call.name} ${call.argumentsJson}`)]);
  return answer;
}

/** A request without a body, and one with bytes that are no text. */
function otherService(event: Event): void {
  const url: string = event.param("service");
  response("http.send", () => http.get(url, { headers: { accept: "text/plain" } }));
  const headers = { "content-type": "application/octet-stream" };
  response("http.post", () => http.post(url, { headers, body: Uint8Array.from([0, 255, 10, 0]) }));
  const typed = { "Content-Type": "application/vnd.api+json" };
  note("http.json", () => http.post(url, { headers: typed, json: [1] }));
}

function response(name: string, send: () => http.Response): void {
  const answer = note(name, send);
  if (answer) show(name, [answer.status, answer.headers["content-type"]!, answer.text]);
}

const KINDS: Record<string, Value> = {
  x_boolean: true,
  x_integer: -(2 ** 31),
  x_float: 0.1 + 0.2,
  x_text: "naïve ☃ \u{1f980}\n\"'\\<b>",
  x_date: date("2026-02-28"),
  x_datetime: new Date("2026-02-28T23:59:59Z"),
  x_partner_id: { id: 1 },
  x_tag_ids: [1, 2],
  x_reference: { model: "res.partner", id: 1 },
  x_binary: Uint8Array.from([0, 255, 10, 0]),
  x_json: json({ a: [1, 2.5, null, "b"] }),
};
/** What empty fields read as, where that is not null. */
const EMPTY: Record<string, unknown> = { x_boolean: false, x_integer: 0, x_float: 0, x_tag_ids: [] };

/** What there is to say of fields besides their type. */
function details(): void {
  const told = note("records.describe-fields", () => (
    model("x_contract").describeFields("x_amount", "x_owner_id", "x_login")
  ));
  show("records.describe-fields", (told ?? []).map(inWords));
}

function inWords(field: FieldDetails): string {
  const words = [field.info.name, field.info.kind];
  if (field.digits) words.push(Array.from(field.digits).join("/"));
  if (field.default) words.push(field.default.tag, field.default.val);
  if (field.onDelete) words.push(field.onDelete);
  if (field.copied) words.push("copied");
  if (field.related) words.push(`shows ${field.related}`);
  return [...words, `${field.groups?.length} groups`].join(" ");
}

/** Every kind of value, to a record and back, and as the right-hand side of a condition. */
function roundTrip(event: Event): void {
  const names = Object.keys(KINDS);
  const contract = model("x_contract");
  const empty = Object.fromEntries(names.map((name) => [name, null]));
  const made = note("values.create", () => (
    contract.createAll([{ x_name: `full, by ${event.rule}`, ...KINDS }, { x_name: "empty", ...empty }])
  ));
  (made ?? []).forEach((record, index) => {
    const kind = index ? "empty" : "full";
    const row = note(`values.read.${kind}`, () => contract.get(record, ...names));
    for (const name of row ? names : []) {
      const expected = index ? EMPTY[name] ?? null : KINDS[name];
      const key = `values.${name}.${kind}`;
      const same = shown(row?.[name]) === shown(expected);
      note(key, () => same);
      if (!same) results[key] = `read as ${shown(row?.[name])}`;
    }
  });
  for (const [name, value] of Object.entries(KINDS)) {
    note(`values.domain.${name}`, () => contract.count([[name, "=", value]]));
  }
  const partner = { id: 1, date: "2026-11-21", json: "no wrapper" };
  note("values.create.row", () => contract.create({ x_name: "a row", x_partner_id: partner }));
  // Larger than an integer field holds, and than an id is.
  for (const amount of [3e9, -5e9]) {
    const large = note("values.create.large", () => contract.create({ x_name: "large", x_float: amount }));
    const read = note("values.read.large", () => large && contract.get(large, "x_float").x_float);
    if (read !== amount) results["values.read.large"] = `read as ${read}`;
  }
}

/** A value as text, whether it was written or read: names of links come only from the host. */
function shown(value: unknown): string {
  if (typeof value !== "object" || value === null || value instanceof Date) return JSON.stringify(value);
  if ("json" in value) return JSON.stringify(value.json);
  if ("date" in value) return JSON.stringify(value.date);
  if ("name" in value && "id" in value) return JSON.stringify({ id: value.id });
  return JSON.stringify(value);
}
