// The whole way of an administrator, in a real browser: sign in by the one-time link, upload a script, make an automation,
// see it fire on a change of a record, read its run, approve a change, roll back, read what a language model said. Each screen is looked at by axe and kept
// as a picture, wide and narrow, light and dark.
//
// TRIGGERBOX_LINK   the one-time link        TRIGGERBOX_TOKEN  a token that may change records and rules
// TRIGGERBOX_SCRIPT two versions of a script, separated by a colon
// TRIGGERBOX_OUT    where pictures go

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { TRIGGERBOX_LINK: link, TRIGGERBOX_TOKEN: token, TRIGGERBOX_OUT: out } = process.env;
const [first, second] = process.env.TRIGGERBOX_SCRIPT.split(":");
const base = new URL(link).origin;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const password = "plum wagon orbit 7";

const browser = await chromium.launch({
  executablePath: process.env.TRIGGERBOX_CHROMIUM ?? "/usr/bin/chromium",
  chromiumSandbox: false,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

const problems = [];
const pages = [];

/** A page of a browser that nobody used before; whatever goes wrong on it is a failure. */
const open = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  // Nothing here waits for a time: this only ends what hangs.
  page.setDefaultTimeout(60_000);
  pages.push(page);
  page.on("pageerror", (error) => problems.push(`${page.url()}: ${error}`));
  page.on("console", (message) => message.type() === "error" && problems.push(`${page.url()}: ${message.text()}`));
  page.on("request", (request) => request.url().startsWith(base) || problems.push(`asked elsewhere: ${request.url()}`));
  return page;
};

/** Nothing serious about a page, and a picture of it. */
const look = async (page, name) => {
  // Past the page's own policy, as a browser's extension would be.
  const found = await page.evaluate(`(() => { const module = undefined; ${axe}; return window.axe.run({ resultTypes: ["violations"] }); })()`);
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  for (const one of serious) problems.push(`${name}: ${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) problems.push(`${name}: ${wide} pixels too wide`);
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
};

const change = async (method, path, body) => {
  const answer = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return JSON.parse(text);
};
const lead = (name) => change("POST", "/api/v1/records/crm.lead", { records: [{ name, email_from: "ada@cedar.example" }] });

const upload = async (page, file) => {
  await page.goto(`${base}/scripts`);
  await page.setInputFiles("#component", file);
  await page.getByRole("button", { name: "Upload and check" }).click();
  await page.waitForURL("**/report");
  await page.getByText("What it uses of the host").waitFor();
  await look(page, "report");
  await page.getByRole("link", { name: "To the script" }).click();
  await page.waitForURL("**/scripts/lead-scoring");
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
  await look(page, "01-welcome");
  await page.fill("#password", password);
  await page.fill("#again", password);
  await page.getByRole("button", { name: "Set password" }).click();
  await page.waitForURL("**/automations");
  await look(page, "02-automations-empty");

  await page.getByText("Mitchell Admin").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/sign-in");
  await look(page, "03-sign-in");
  await page.fill("#login", "admin");
  await page.fill("#password", password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/automations");

  await page.goto(`${base}/scripts`);
  await look(page, "04-scripts");
  await upload(page, first);
  await look(page, "05-script");
  // What is no script is told so where it was dropped, and the next one is taken there.
  await dropped(page, "text.wasm", Buffer.from("hello"));
  await page.getByText("Nothing was kept").waitFor();
  await look(page, "05-refused");
  problems.splice(0, problems.length, ...problems.filter((one) => !one.includes("422")));
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
  await look(page, "06-automation-new");
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL("**/automations/score");
  await page.getByText("The automation is created").waitFor();
  await page.getByText("It has not run yet").waitFor();

  // The page shows the run by itself.
  await lead("Software for our manufacturing plants");
  await page.locator("#live").getByText("Succeeded").first().waitFor();
  await look(page, "07-automation");
  await page.locator("#live").getByRole("link", { name: /^#/ }).first().click();
  await page.getByText("It succeeded.").waitFor();
  await page.getByText("What it changed").waitFor();
  await look(page, "08-run");
  await page.goto(`${base}/runs`);
  await look(page, "09-runs");

  await page.goto(`${base}/settings`);
  await page.getByText("New account").click();
  await page.fill("#login", "maya");
  await page.fill("#user", "maya");
  await page.check("#role-0-approver");
  await look(page, "10-settings");
  await page.getByRole("button", { name: "Create, and make a link" }).click();
  const invite = await page.inputValue("#link");

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
  await look(maya, "11-approvals");
  await maya.getByRole("link", { name: `#${waiting}` }).click();
  await maya.fill("#note", "looks right");
  await look(maya, "12-approval");
  await maya.getByRole("button", { name: "Approve and apply" }).click();
  await maya.waitForURL(`**/runs/${waiting}`);
  await maya.getByText("It succeeded.").waitFor();
  assert.equal((await maya.goto(`${base}/settings`)).status(), 403);
  // The console tells of the refusal: that one was wanted.
  problems.splice(0, problems.length, ...problems.filter((one) => !one.includes("403")));

  await upload(page, second);
  await page.getByRole("button", { name: "Backtest" }).first().click();
  await page.getByText("was replayed on this version").waitFor();
  await page.getByRole("link", { name: "Back", exact: true }).click();
  await page.getByText("Backtest: ").waitFor();
  await look(page, "13-backtest");
  await page.getByRole("button", { name: "Activate" }).click();
  await page.getByText(/Version 1\.1\.0 \(\w+\) is active/).waitFor();
  await page.getByRole("button", { name: "Roll back" }).click();
  await page.getByText(/Version 1\.0\.0 \(\w+\) is active/).waitFor();
  await look(page, "14-rolled-back");
  await page.goto(`${base}/usage`);
  await look(page, "15-usage");
  await page.goto(`${base}/settings/audit`);
  await page.getByText("script rolled back").waitFor();
  await look(page, "16-audit");

  // The box of a record counts a run that begins while it is looked at.
  const { ids: [scored] } = await lead("One more");
  await page.goto(`${base}/sessions/crm.lead/${scored}`);
  await page.locator("#sessions .count", { hasText: /^1$/ }).waitFor();
  await change("POST", "/api/v1/rules/score/run", { records: [scored] });
  await page.locator("#sessions .count", { hasText: /^2$/ }).waitFor();
  await look(page, "17-session-box");

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
  await look(page, "18-threads");
  await page.fill("#text", "somebody should CALL");
  await page.getByRole("button", { name: "Find" }).click();
  await page.waitForURL("**/threads?text=*");
  await page.getByRole("link", { name: "Ask about new leads" }).click();
  await page.getByText("Noted on the lead.").first().waitFor();
  await look(page, "19-thread");
  await page.goto(`${base}/threads`);
  await page.getByRole("link", { name: "AI automation rules" }).click();
  await page.getByRole("link", { name: "Ask about new leads" }).waitFor();
  await page.goto(`${base}/automations/ask`);
  await page.locator("#agent0").waitFor();
  await look(page, "20-agent");

  const state = await page.context().storageState();
  for (const [kind, options] of [
    ["phone", { viewport: { width: 375, height: 740 } }],
    ["dark", { colorScheme: "dark" }],
  ]) {
    const other = await open({ storageState: state, ...options });
    for (const [name, path] of [["automations", "/automations"], ["automation", "/automations/score"], ["runs", "/runs"],
      ["run", `/runs/${waiting}`], ["threads", "/threads"], ["usage", "/usage"], ["settings", "/settings"]]) {
      await other.goto(base + path);
      await look(other, `${kind}-${name}`);
    }
    await other.context().close();
  }
} catch (error) {
  // What it looked like says more than where it happened.
  for (const [at, page] of pages.entries()) await page.screenshot({ path: join(out, `failed-${at}.png`), fullPage: true }).catch(() => {});
  console.error(problems);
  throw error;
} finally {
  await browser.close();
}
assert.deepEqual(problems, []);
console.log("the pages hold");
