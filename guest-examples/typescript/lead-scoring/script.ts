// Scores leads from 0 to 100, tags them, and schedules a follow-up for the best.
//
// For rules on `crm.lead`, when a lead is created or one of the fields that count changes. The score is kept as one line
// of the description. Running it again changes nothing unless the score changes.

import { addDays, type Command, command, type Event, model } from "triggerbox";

import { type Score, score } from "./score.ts";

/** The description is HTML: the score's text reaches from its label to the next tag. */
const SCORE = /Lead score: [^<]*/;
const FIELDS = [
  "name", "partner_name", "function", "email_from", "phone", "expected_revenue", "description", "tag_ids", "user_id",
];

export function run(event: Event): string {
  const leads = event.model;
  const tag = (parameter: string) => model("crm.tag").ensure(["name"], { name: event.param(parameter) });
  const [hot, warm] = [tag("hot_tag"), tag("warm_tag")];
  const followUpAbove: number = event.param("follow_up_above");

  const results: string[] = [];
  for (const lead of event.read(...FIELDS)) {
    const description: string = lead.description ?? "";
    const text = [lead.name, lead.partner_name, description.replace(SCORE, "")].join(" ");
    const { points, reasons } = score(event, lead, text);
    const before = previousPoints(description);

    const described = withScore(description, { points, reasons });
    if (described !== description) leads.write(lead, { description: described });
    const isHot = points > event.param("hot_above");
    const isWarm = !isHot && points > event.param("warm_above");
    const changes = [...tagChange(lead.tag_ids, hot, isHot), ...tagChange(lead.tag_ids, warm, isWarm)];
    if (changes.length) leads.relate(lead, "tag_ids", ...changes);
    if (points > followUpAbove && (before === undefined || before <= followUpAbove)) {
      leads.scheduleActivity(lead, {
        kind: "mail.mail_activity_data_call",
        summary: "Call this lead",
        deadline: addDays(event.today, event.param("follow_up_days")),
        user: lead.user_id,
      });
    }
    results.push(`${lead.name} ${points}`);
  }
  return results.join(", ");
}

/** What to change so that a lead has a tag, or does not. */
function tagChange(present: number[], tag: number, isWanted: boolean): Command[] {
  if (present.includes(tag) === isWanted) return [];
  return [isWanted ? command.link(tag) : command.unlink(tag)];
}

function withScore(description: string, { points, reasons }: Score): string {
  const line = `Lead score: ${points}/100${reasons.length ? ` (${reasons.join(", ")})` : ""}`;
  return SCORE.test(description) ? description.replace(SCORE, () => line) : `${description}<p>${line}</p>`;
}

function previousPoints(description: string): number | undefined {
  const found = /Lead score: (\d+)\//.exec(description);
  return found ? Number(found[1]) : undefined;
}
