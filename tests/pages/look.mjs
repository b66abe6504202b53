// Pages of a real browser, and what is held against each screen: wide and narrow, light and dark, with the keyboard.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { isBlank } from "./picture.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 780 };
/** What is dark or light are colours: nothing else is looked for again. */
const COLOURS = { type: "rule", values: ["color-contrast", "link-in-text-block"] };

/** What is wrong, of all pages. */
export const problems = [];
/** Addresses that were looked at. */
export const seen = [];
/** Pictures that were taken. */
export const pictures = [];

const pages = [];
let browser;
let base;
let out;

/** Starts the browser: for pages below an address, with pictures in a folder. */
export const start = async (address, folder) => {
  [base, out] = [address, folder];
  browser = await chromium.launch({
    executablePath: process.env.TRIGGERBOX_CHROMIUM ?? "/usr/bin/chromium",
    chromiumSandbox: false,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
};

export const end = () => browser.close();

/** What all open pages show says more about a failure than where it happened. */
export const keepFailed = async () => {
  for (const [at, page] of pages.entries()) {
    await page.screenshot({ path: join(out, `failed-${at}.png`), fullPage: true }).catch(() => {});
  }
};

/** A page of a browser that nobody used before, or that of `state`; whatever goes wrong on it is a failure. One that is `still` is
    not renewed when something changes: what is looked at stays as it is. */
export const open = async ({ state, still = false } = {}) => {
  const context = await browser.newContext({ viewport: WIDE, storageState: state, reducedMotion: "reduce" });
  if (still) await context.addInitScript(() => { delete window.EventSource; });
  const page = await context.newPage();
  // Nothing here waits for a time: this only ends what hangs.
  page.setDefaultTimeout(60_000);
  pages.push(page);
  page.on("pageerror", (error) => problems.push(`${page.url()}: ${error}`));
  page.on("console", (message) => message.type() === "error" && problems.push(`${page.url()}: ${message.text()}`));
  page.on("request", (request) => request.url().startsWith(base) || problems.push(`asked elsewhere: ${request.url()}`));
  return page;
};

/** The console tells of each refusal: those with this status were wanted. */
export const wanted = (status) => {
  problems.splice(0, problems.length, ...problems.filter((one) => !one.includes(`status of ${status}`)));
};

/** All that there is to see on a screen. */
export const look = async (page, name) => {
  seen.push(new URL(page.url()).pathname);
  await shown(page, WIDE, "light");
  await fits(page, `${name}, wide`);
  await picture(page, name);
  await shown(page, PHONE, "dark");
  await fits(page, `${name}, on a phone`);
  await picture(page, `${name}-phone-dark`);
  await page.evaluate(opened);
  await page.evaluate(`(() => { const module = undefined; ${axe}; })()`);
  await sound(page, `${name}, dark, on a phone`, COLOURS);
  await shown(page, PHONE, "light");
  await fits(page, `${name}, opened, on a phone`);
  await sound(page, `${name}, on a phone`);
  await reached(page, `${name}, on a phone`);
  await shown(page, WIDE, "light");
  await fits(page, `${name}, opened, wide`);
  await sound(page, `${name}, wide`);
  await reached(page, `${name}, wide`);
  await shown(page, WIDE, "dark");
  await sound(page, `${name}, dark, wide`, COLOURS);
};

/** A screen whose texts are as long as they get. */
export const lookAtLong = async (page, name) => {
  await fits(page, `${name}, long, wide`);
  await shown(page, PHONE, "light");
  await fits(page, `${name}, long, on a phone`);
  await picture(page, `${name}-long-phone`);
  await page.evaluate(opened);
  await fits(page, `${name}, long, opened, on a phone`);
  await shown(page, WIDE, "light");
  await fits(page, `${name}, long, opened, wide`);
};

/** Names of pictures that are not there, or on which there is nothing. */
export const blank = () => pictures.filter((name) => isBlank(readFileSync(join(out, `${name}.png`))));

const shown = async (page, size, colorScheme) => {
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme });
};

const picture = async (page, name) => {
  if (pictures.includes(name)) problems.push(`two screens are called ${name}`);
  writeFileSync(join(out, `${name}.png`), await page.screenshot({ fullPage: true, animations: "disabled" }));
  pictures.push(name);
};

/** Nothing serious. */
const sound = async (page, name, rules) => {
  const found = await page.evaluate((runOnly) => window.axe.run({ resultTypes: ["violations"], ...(runOnly && { runOnly }) }), rules);
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  for (const one of serious) problems.push(`${name}: ${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
};

/** Nothing wider than the screen, and no empty place that tells nothing. */
const fits = async (page, name) => {
  const found = await page.evaluate(() => {
    const root = document.documentElement;
    const wide = [...document.querySelectorAll("main *, header *")].filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !one.closest(".scroll, .menu, .skip, .unseen"));
    const told = (one) => one.outerHTML.slice(0, 120);
    return {
      wide: root.scrollWidth > root.clientWidth ? wide.map(told).slice(0, 3) : [],
      // A table that is stacked has room on any screen.
      stacked: root.clientWidth > 640 ? [] : [...document.querySelectorAll(".scroll")]
        .filter((one) => one.querySelector("table.stack") && one.scrollWidth > one.clientWidth).map(told),
      mute: [...document.querySelectorAll(".empty")].filter((one) => !one.querySelector("p")).map(told),
      over: root.scrollWidth - root.clientWidth,
    };
  });
  if (found.over > 0) problems.push(`${name}: ${found.over} pixels too wide: ${found.wide.join(" ")}`);
  for (const one of found.stacked) problems.push(`${name}: a stacked table is too wide: ${one}`);
  for (const one of found.mute) problems.push(`${name}: it is empty, and does not say what belongs here: ${one}`);
};

/** Opens what is closed, so that what is in it is looked at. The visitor's own menu lies above other things: it is a screen of its own. */
const opened = () => document.querySelectorAll("main details").forEach((one) => { one.open = true; });

/** Everything that can be used is reached by the tabulator, and shows where one is. */
const reached = async (page, name) => {
  const presses = await page.evaluate(listening);
  const keys = await page.context().newCDPSession(page);
  const key = { key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 };
  // All of them are sent, and only then waited for: they are taken in turn.
  const all = Array.from({ length: presses }, () => ["rawKeyDown", "keyUp"].map((type) => keys.send("Input.dispatchKeyEvent", { type, ...key })));
  await Promise.all(all.flat());
  await keys.detach();
  const { left, dim } = await page.evaluate(() => window.reached());
  for (const one of left) problems.push(`${name}: the keyboard does not reach ${one}`);
  for (const one of dim) problems.push(`${name}: one does not see where one is: ${one}`);
};

/** Begins to note what is focused; how often the tabulator is to be pressed. */
const listening = () => {
  const visible = (one) => one.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const left = new Set(all.filter((one) => visible(one) && !one.disabled && one.type !== "hidden"));
  const told = (one) => one.outerHTML.slice(0, 120);
  const dim = new Set();
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[\d.]+/g).map(Number).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (one) => {
    for (let at = one.parentElement; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour.startsWith("rgb(")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = (one, other) => {
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  };
  const focused = ({ target }) => {
    left.delete(target);
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(target);
    // WCAG 2.2, 1.4.11: what shows where one is stands out by 3 to 1.
    const isSeen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && contrast(outlineColor, behind(target)) >= 3;
    if (!isSeen) dim.add(told(target));
  };
  // From the top, wherever the page put the focus.
  const top = document.createElement("span");
  top.tabIndex = -1;
  document.body.prepend(top);
  top.focus({ preventScroll: true });
  document.addEventListener("focusin", focused);
  window.reached = () => {
    document.removeEventListener("focusin", focused);
    top.remove();
    return { left: [...left].map(told).slice(0, 5), dim: [...dim].slice(0, 5) };
  };
  // A date has a place for each of its parts. At the end it begins anew.
  return left.size + 4 * all.filter((one) => one.type === "date").length + 4;
};
