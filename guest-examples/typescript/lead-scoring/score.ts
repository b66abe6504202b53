// The score: points for what is known about a lead.

import type { Event, Row } from "triggerbox";

export interface Score {
  /** From 0 to 100. */
  points: number;
  /** What they were given for. */
  reasons: string[];
}

/** The score by the rule's parameters. `text` is everything written about the lead. */
export function score(event: Event, lead: Row, text: string): Score {
  const list = (name: string) => words(event.param(name));
  const facts: [string, boolean, number][] = [
    ["industry", containsAny(text, list("industries")), event.param("industry_points")],
    ["budget", lead.expected_revenue >= event.param("budget_from"), event.param("budget_points")],
    ["decision maker", containsAny(lead.function ?? "", list("decision_makers")), event.param("decision_maker_points")],
    [
      "business e-mail",
      isBusinessEmail(lead.email_from ?? "", list("free_email_domains")),
      event.param("business_email_points"),
    ],
    ["phone", Boolean(lead.phone), event.param("phone_points")],
    ["company", Boolean(lead.partner_name), event.param("company_points")],
  ];
  const known = facts.filter(([, isKnown]) => isKnown);
  const sum = known.reduce((total, [, , points]) => total + points, 0);
  return { points: Math.max(0, Math.min(100, sum)), reasons: known.map(([reason]) => reason) };
}

function isBusinessEmail(email: string, freeDomains: string[]): boolean {
  const at = email.lastIndexOf("@");
  const domain = email.slice(at + 1).replace(/>+$/, "").toLowerCase();
  return at >= 0 && domain.includes(".") && !freeDomains.includes(domain);
}

/** A comma-separated list, in lower case. */
function words(list: string): string[] {
  return list.split(",").map((word) => word.trim().toLowerCase()).filter(Boolean);
}

/** Whether one of the phrases stands in the text as whole words. */
function containsAny(text: string, phrases: string[]): boolean {
  const whole = separated(text);
  return phrases.some((phrase) => whole.includes(separated(phrase)));
}

function separated(text: string): string {
  return ` ${(text.match(/[\p{L}\p{N}]+/gu) ?? []).join(" ").toLowerCase()} `;
}
