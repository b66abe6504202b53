// Time zones, and days. The host keeps the tables.

import calendar from "triggerbox:automation/calendar@0.1.1";

import { ask } from "./errors.ts";
import { utcText } from "./values.ts";

/** The local time of a point in time in an IANA zone such as `Europe/Brussels`: `2026-11-21T11:15:00`. */
export function toLocal(time: Date, zone: string): string {
  return ask(() => calendar.toLocal(utcText(time), zone));
}

/** The way back. A local time that a clock change skips is moved forward, one that it repeats is the first. */
export function toUtc(local: string, zone: string): Date {
  return new Date(ask(() => calendar.toUtc(local, zone)));
}

/** So many days after a day: `addDays("2026-11-21", 14)` is `"2026-12-05"`. */
export function addDays(day: string, days: number): string {
  const time = new Date(`${day}T00:00:00Z`);
  time.setUTCDate(time.getUTCDate() + days);
  return time.toISOString().slice(0, 10);
}
