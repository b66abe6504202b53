// Every screen that there is to see once something happened: which, and how one gets there.

import { look, lookAtLong, open, wanted } from "./look.mjs";

/** Looks at screens, two at a time: each is a name and the way to it. */
const sweep = async (state, screens, each) => {
  const left = [...screens];
  await Promise.all([0, 1].map(async () => {
    const page = await open({ state, still: true });
    for (let next; (next = left.shift());) {
      const [name, way] = next;
      await way(page);
      await each(page, name);
    }
    await page.context().close();
  }));
};

/** The way to a screen: an address, and a button there that leads on. */
const ways = (base) => (path, button) => async (page) => {
  await page.goto(base + path);
  if (!button) return;
  const here = page.url();
  await page.getByRole("button", { name: button, exact: true }).first().click();
  await page.waitForURL((url) => url.href !== here);
};

/** A few screens by their addresses. */
export const lookAt = (base, state, screens) => sweep(state, screens.map(([name, path]) => [name, ways(base)(path)]), look);

/** What is told where nothing happened yet. */
export const lookAtEmpty = (base, state) => lookAt(base, state,
  ["automations", "runs", "threads", "approvals", "usage"].map((name) => [`${name}-empty`, `/${name}`]));

/** All screens, in all their appearances. */
export const lookAtAll = async (base, state, { run, waiting, thread, record, report }) => {
  const to = ways(base);
  await sweep(state, [
    ["settings", to("/settings")],
    ["automation", to("/automations/score")],
    ["automation-agent", to("/automations/ask")],
    ["automation-new", to("/automations/_new")],
    ["automation-dry-run", to("/automations/score", "Dry run")],
    ["automations", to("/automations")],
    ["automations-found-none", to("/automations?text=nothing+is+called+so")],
    ["run", to(`/runs/${run}`)],
    ["run-dry-run", to(`/runs/${run}`, "Dry run on today's data")],
    ["run-replay", to(`/runs/${run}`, "Replay what was recorded")],
    ["runs", to("/runs")],
    ["runs-found-none", to("/runs?state=dead")],
    ["threads", to("/threads")],
    ["thread", to(`/threads/${thread}`)],
    ["scripts", to("/scripts")],
    ["script", to("/scripts/lead-scoring")],
    ["report", to(report)],
    ["approvals", to("/approvals?state=all")],
    ["approval", to(`/approvals/${waiting}`)],
    ["usage", to("/usage")],
    ["audit", to("/settings/audit")],
    ["provider-new", to("/settings/providers/_new")],
    ["account", to("/account")],
    ["menu", async (page) => {
      await to("/account")(page);
      await page.locator(".me > summary").click();
    }],
    ["session-box", to(`/sessions/crm.lead/${record}`)],
    ["session-box-empty", to("/sessions/res.partner/1")],
    ["no-such-page", to("/nothing/is/here")],
  ], look);
  wanted(404);
};

/** A word that nothing breaks. */
export const LONG = "W".repeat(300);
/** Names of automations are no longer. */
const named = (letter) => letter.repeat(64);

/** Fills every place that has one with a text that is as long as it may be; what came of it. */
export const fill = async (base, page, { change, lead }) => {
  const save = (letter, more) => change("PUT", `/api/v1/rules/${named(letter)}?note=${LONG}`, {
    name: named(letter), title: LONG, notes: LONG, model: "crm.lead", trigger: { on: "manual" }, domain: `[('name', '!=', '${LONG}')]`,
    actions: [{ script: "loud", parameters: { texts: JSON.stringify([LONG]), fails: String(letter === "f") } }], ...more,
  });
  for (const [letter, more] of [["s", {}], ["f", {}], ["w", { mode: "approve" }]]) {
    await save(letter, more);
    await save(letter, { ...more, notes: `${LONG}V` });
  }
  const { ids: [record] } = await lead(`Ask${LONG}`);
  const ran = {};
  for (const letter of ["s", "f", "w"]) {
    const { runs: [run] } = await change("POST", `/api/v1/rules/${named(letter)}/run`, { records: [record] });
    ran[letter] = run;
  }
  for (const [letter, said] of [["s", "It succeeded."], ["f", "do what its message says"], ["w", "must approve or reject"]]) {
    await page.goto(`${base}/runs/${ran[letter]}`);
    await page.getByText(said).waitFor();
  }
  // The agent that is asked about each such record answers at length, too.
  await page.goto(`${base}/threads?model=crm.lead&record=${record}`);
  await page.getByText("Succeeded").waitFor();
  const thread = (await page.getByRole("rowheader").getByRole("link").first().getAttribute("href")).split("/").pop();
  await change("PUT", "/api/v1/agents/long", { name: "long", title: LONG, system: LONG });
  await change("POST", `/api/v1/rules/${named("f")}/pause`, { reason: LONG });
  await change("POST", "/api/v1/stops", { model: "res.partner", reason: LONG });
  await page.goto(`${base}/settings#tokens`);
  await page.getByText("New token").click();
  await page.fill("#token-name", LONG.slice(0, 100));
  await page.fill("#token-user", "admin");
  await page.getByRole("button", { name: "Make token" }).click();
  await page.getByText("It is not shown again").waitFor();
  await page.goto(`${base}/settings`);
  await page.getByText("New account").click();
  await page.fill("#login", "l".repeat(100));
  await page.fill("#user", "maya");
  await page.getByRole("button", { name: "Create, and make a link" }).click();
  await page.getByText("It sets a password").waitFor();
  await page.goto(`${base}/settings#secrets`);
  await page.fill("#secret-name", named("s"));
  await page.fill("#secret-text", LONG);
  await page.getByRole("button", { name: "Write secret" }).click();
  await page.getByText("The secret is written").waitFor();
  // Last, for this name stands on each page.
  await change("PATCH", "/api/v1/records/res.partner/3", { name: LONG });
  return { ran, thread, record };
};

/** The same screens with such texts. */
export const lookAtLongOnes = async (base, state, { ran, thread, record }) => {
  const to = ways(base);
  await sweep(state, [
    ["settings", to("/settings")],
    ["automation", to(`/automations/${named("f")}`)],
    ["automation-dry-run", to(`/automations/${named("s")}`, "Dry run")],
    ["automation-agent", to("/automations/ask")],
    ["automations", to("/automations")],
    ["runs", to("/runs")],
    ["run", to(`/runs/${ran.s}`)],
    ["run-failed", to(`/runs/${ran.f}`)],
    ["run-replay", to(`/runs/${ran.s}`, "Replay what was recorded")],
    ["approvals", to("/approvals?state=all")],
    ["approval", to(`/approvals/${ran.w}`)],
    ["threads", to("/threads")],
    ["thread", to(`/threads/${thread}`)],
    ["scripts", to("/scripts")],
    ["script", to("/scripts/loud")],
    ["usage", to("/usage")],
    ["audit", to("/settings/audit")],
    ["account", to("/account")],
    ["menu", async (page) => {
      await to("/account")(page);
      await page.locator(".me > summary").click();
    }],
    ["session-box", to(`/sessions/crm.lead/${record}`)],
    ["no-such-page", to(`/${LONG}`)],
    ["refused", to(`/runs?state=${LONG}`)],
  ], lookAtLong);
  for (const status of [400, 404]) wanted(status);
};

/** Which of the server's addresses, with their variable parts in braces, nobody looked at. */
export const missed = (routes, seen) => routes.filter((route) => {
  const shape = new RegExp(`^${route.replace(/\{\w+\}/g, "[^/]+")}$`);
  return !seen.some((path) => shape.test(path));
});
