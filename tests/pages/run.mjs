// The whole way of an administrator, in a real browser: sign in by the one-time link, upload a script, make an automation,
// see it fire on a change of a record, read its run, approve a change, roll back, read what a language model said. Then each screen
// is looked at, as `look.mjs` says, and kept as a picture; once more with texts as long as they get.
//
// TRIGGERBOX_LINK   the one-time link        TRIGGERBOX_TOKEN  a token that may change records and rules
// TRIGGERBOX_SCRIPT two versions of a script, separated by a colon
// TRIGGERBOX_ROUTES the addresses of all screens, separated by spaces
// TRIGGERBOX_OUT    where pictures go

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { blank, end, keepFailed, look, open, pictures, problems, seen, start, wanted } from "./look.mjs";
import { LONG, fill, lookAt, lookAtAll, lookAtEmpty, lookAtLongOnes, missed } from "./screens.mjs";

const { TRIGGERBOX_LINK: link, TRIGGERBOX_TOKEN: token, TRIGGERBOX_OUT: out } = process.env;
const [first, second] = process.env.TRIGGERBOX_SCRIPT.split(":");
const routes = process.env.TRIGGERBOX_ROUTES.split(" ");
const base = new URL(link).origin;
const password = "plum wagon orbit 7";

await start(base, out);

const change = async (method, path, body) => {
  const answer = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return text && JSON.parse(text);
};
const lead = (name) => change("POST", "/api/v1/records/crm.lead", { records: [{ name, email_from: "ada@cedar.example" }] });

const upload = async (page, file) => {
  await page.goto(`${base}/scripts`);
  await page.setInputFiles("#component", file);
  await page.getByRole("button", { name: "Upload and check" }).click();
  await page.waitForURL("**/report");
  await page.getByText("What it uses of the host").waitFor();
  const report = new URL(page.url()).pathname;
  await page.getByRole("link", { name: "To the script" }).click();
  await page.waitForURL("**/scripts/lead-scoring");
  return report;
};

// A file that is dropped on the form, as from a file manager.
const dropped = async (page, name, bytes) => {
  await page.goto(`${base}/scripts`);
  const data = await page.evaluateHandle(([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name, { type: "application/wasm" }));
    return data;
  }, [name, bytes.toString("base64")]);
  await page.dispatchEvent("form.drop", "dragover", { dataTransfer: data });
  await page.locator("form.drop.over").waitFor();
  await page.dispatchEvent("form.drop", "drop", { dataTransfer: data });
};

try {
  const page = await open();
  await page.goto(link);
  await look(page, "welcome");
  await page.fill("#password", password);
  await page.fill("#again", password);
  await page.getByRole("button", { name: "Set password" }).click();
  await page.waitForURL("**/automations");
  await lookAtEmpty(base, await page.context().storageState());

  await page.getByText("Mitchell Admin").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/sign-in");
  await look(page, "sign-in");
  await page.fill("#login", LONG);
  await page.fill("#password", LONG);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  await look(page, "sign-in-refused");
  wanted(422);
  await page.fill("#login", "admin");
  await page.fill("#password", password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/automations");

  const report = await upload(page, first);
  // What is no script is told so where it was dropped, and the next one is taken there.
  await dropped(page, "text.wasm", Buffer.from("hello"));
  await page.getByText("Nothing was kept").waitFor();
  await look(page, "script-refused");
  wanted(422);
  await dropped(page, "again.wasm", readFileSync(first));
  await page.waitForURL("**/report");

  await page.goto(`${base}/automations/_new`);
  await page.fill("#title", "Score new leads");
  await page.fill("#name", "score");
  await page.selectOption("#model", "crm.lead");
  await page.fill("#domain", "[('type', '=', 'lead'), ('no_such_field', '=', 1)]");
  await page.locator("#matching").getByText("no_such_field").waitFor();
  await page.fill("#domain", "[]");
  await page.locator("#matching").getByText("record(s) match now").waitFor();
  await page.selectOption("#script0", "lead-scoring");
  await page.getByText("What it asks for").waitFor();
  await look(page, "automation-new-filled");
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL("**/automations/score");
  await page.getByText("The automation is created").waitFor();
  await page.getByText("It has not run yet").waitFor();

  // The page shows the run by itself.
  await lead("Software for our manufacturing plants");
  await page.locator("#live").getByText("Succeeded").first().waitFor();
  await page.locator("#live").getByRole("link", { name: /^#/ }).first().click();
  await page.getByText("It succeeded.").waitFor();
  await page.getByText("What it changed").waitFor();
  const run = new URL(page.url()).pathname.split("/").pop();

  await page.goto(`${base}/settings`);
  await page.getByText("New account").click();
  await page.fill("#login", "maya");
  await page.fill("#user", "maya");
  await page.check("#role-0-approver");
  await page.getByRole("button", { name: "Create, and make a link" }).click();
  const invite = await page.inputValue("#link");
  await look(page, "settings-link");

  await page.goto(`${base}/automations/score`);
  await page.selectOption("#mode", "approve");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("The automation is saved").waitFor();
  const { runs: [waiting] } = await lead("A change that somebody must see");

  const maya = await open();
  await maya.goto(invite);
  await maya.fill("#password", password);
  await maya.fill("#again", password);
  await maya.getByRole("button", { name: "Set password" }).click();
  await maya.waitForURL("**/automations");
  await maya.goto(`${base}/approvals`);
  await maya.getByRole("link", { name: `#${waiting}` }).waitFor();
  await maya.getByRole("link", { name: `#${waiting}` }).click();
  await lookAt(base, await maya.context().storageState(), [["approval-to-decide", `/approvals/${waiting}`]]);
  await maya.fill("#note", "looks right");
  await maya.getByRole("button", { name: "Approve and apply" }).click();
  await maya.waitForURL(`**/runs/${waiting}`);
  await maya.getByText("It succeeded.").waitFor();
  assert.equal((await maya.goto(`${base}/settings`)).status(), 403);
  await look(maya, "refused");
  wanted(403);

  await upload(page, second);
  await page.getByRole("button", { name: "Backtest" }).first().click();
  await page.getByText("was replayed on this version").waitFor();
  await page.getByRole("link", { name: "Back", exact: true }).click();
  await page.getByText("Backtest: ").waitFor();
  await page.getByRole("button", { name: "Activate" }).click();
  await page.getByText(/Version 1\.1\.0 \(\w+\) is active/).waitFor();
  await page.getByRole("button", { name: "Roll back" }).click();
  await page.getByText(/Version 1\.0\.0 \(\w+\) is active/).waitFor();
  await page.goto(`${base}/settings/audit`);
  await page.getByText("script rolled back").waitFor();

  // The box of a record counts a run that begins while it is looked at, and leaves whoever is on it where they are: the keyboard's
  // focus, and what is pressed or closed.
  const { ids: [scored], runs: [asks] } = await lead("One more");
  await page.goto(`${base}/sessions/crm.lead/${scored}`);
  const counted = (count) => page.locator("#sessions .count", { hasText: new RegExp(`^${count}$`) }).waitFor();
  const runAgain = () => change("POST", "/api/v1/rules/score/run", { records: [scored] });
  await counted(1);
  await page.locator("#sessions a").focus();
  await runAgain();
  await counted(2);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), `/runs/${asks}`);
  await page.locator("#sessions summary").hover();
  await page.mouse.down();
  const renewal = page.waitForResponse(page.url());
  await runAgain();
  await renewal;
  await page.mouse.up();
  await counted(3);
  await page.locator("#sessions:not([open])").waitFor();

  // A stream that is refused, as by a server that is started anew, is asked for again; so is that of a page that was out of sight.
  await page.route("**/live", (route) => route.fulfill({ status: 503 }), { times: 1 });
  await page.goto(`${base}/runs`);
  const { runs: [later] } = await lead("While nobody listened");
  await page.locator("#live").getByRole("link", { name: `#${later}`, exact: true }).waitFor();
  wanted(503);
  const sight = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await sight(true);
  const asked = page.waitForRequest("**/live");
  await sight(false);
  await asked;

  // What a language model said, found by a word of it.
  await change("PUT", "/api/v1/agents/sales", { name: "sales", title: "Sales assistant", system: "Be brief." });
  await change("PUT", "/api/v1/rules/ask", {
    name: "ask", title: "Ask about new leads", model: "crm.lead", trigger: { on: "created" }, domain: "[('name', '=like', 'Ask%')]",
    actions: [{ script: "ai-agent", agent: "sales", parameters: { prompt: "Look at {{ record.name }}." },
      grants: [{ model: "crm.lead", operations: ["read", "note"], fields: ["name"] }] }],
  });
  await page.goto(`${base}/threads`);
  await page.getByText("No threads yet").waitFor();
  await lead("Ask about our chairs");
  await page.getByRole("link", { name: "Ask about new leads" }).waitFor();
  await page.getByText("Succeeded").waitFor();
  await page.fill("#text", "somebody should CALL");
  await page.getByRole("button", { name: "Find" }).click();
  await page.waitForURL("**/threads?text=*");
  await page.getByRole("link", { name: "Ask about new leads" }).click();
  // The list says how it ended, too.
  await page.waitForURL(/\/threads\/\d+$/);
  await page.getByText("Noted on the lead.").first().waitFor();
  const thread = new URL(page.url()).pathname.split("/").pop();
  await page.goto(`${base}/threads`);
  await page.getByRole("link", { name: "AI automation rules" }).click();
  await page.waitForURL("**/automations?show=ai-rules");
  await page.getByRole("link", { name: "Ask about new leads" }).waitFor();
  await page.goto(`${base}/automations/ask`);
  await page.locator("#agent0").waitFor();

  const state = await page.context().storageState();
  await lookAtAll(base, state, { run, waiting: asks, thread, record: scored, report });
  await lookAtLongOnes(base, state, await fill(base, page, { change, lead }));
} catch (error) {
  await keepFailed();
  console.error(problems);
  throw error;
} finally {
  await end();
}
assert.deepEqual(problems, []);
assert.deepEqual(missed(routes, seen), [], "addresses of screens that nobody looked at");
assert.deepEqual(blank(), [], "pictures without anything on them");
console.log(`the pages hold: ${pictures.length} pictures`);
