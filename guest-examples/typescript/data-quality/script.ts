// Checks contacts, and tags those that need review.
//
// For rules on `res.partner`, when a contact is created or updated. It checks e-mail address, phone number and address,
// and looks for duplicates. A contact with a problem gets a tag and an activity that lists what is wrong; once nothing is
// wrong, the tag goes. Running it again changes nothing.

import { addDays, type Condition, command, type Event, escape, log, model, type Row } from "triggerbox";

import { isEmail, isPhone } from "./checks.ts";

const FIELDS = [
  "name", "is_company", "parent_id", "email", "email_normalized", "phone", "vat", "street", "zip", "city", "country_id",
  "category_id", "user_id",
];

export function run(event: Event): string {
  const tag = model("res.partner.category").ensure(["name"], { name: event.param("tag") });
  let tagged = 0;
  for (const partner of event.read(...FIELDS)) {
    const problems = [...findProblems(partner), ...findDuplicates(partner)];
    const isTagged = partner.category_id.includes(tag);
    if (problems.length && !isTagged) {
      event.model.relate(partner, "category_id", command.link(tag));
      scheduleReview(event, partner, problems);
    }
    if (isTagged && !problems.length) event.model.relate(partner, "category_id", command.unlink(tag));
    if (problems.length) tagged += 1;
    for (const problem of problems) log.info(`${partner.name}: ${problem}`);
  }
  return `${tagged} of ${event.ids.length} contacts need review`;
}

/** What is wrong with the contact by itself. */
function findProblems(partner: Row): string[] {
  const problems: string[] = [];
  const { email, phone } = partner;
  if (!email && !phone) problems.push("neither e-mail address nor phone number");
  if (email && !isEmail(email)) problems.push(`"${email}" is not an e-mail address`);
  if (phone && !isPhone(phone)) problems.push(`"${phone}" is not a phone number`);
  // A person at a company is reached at the company's address.
  if (!partner.parent_id) {
    const missing = ["street", "zip", "city"].filter((field) => !(partner[field] ?? "").trim());
    if (!partner.country_id) missing.push("country");
    if (missing.length) problems.push(`the address has no ${missing.join(", ")}`);
  }
  return problems;
}

/** Other contacts with the same e-mail address, or companies with the same VAT number. */
function findDuplicates(partner: Row): string[] {
  const sameEmail: Condition = ["email_normalized", "=", partner.email_normalized];
  const sameVat: Condition = ["vat", "=", partner.vat];
  const isCompany: Condition = ["is_company", "=", true];
  const byVat = partner.is_company && partner.vat;
  if (!partner.email_normalized && !byVat) return [];
  const others = model("res.partner").search(
    [
      ["id", "!=", partner.id],
      "|",
      partner.email_normalized ? sameEmail : [0, "=", 1],
      "&", byVat ? sameVat : [0, "=", 1], isCompany,
    ],
    ["name"],
    { order: "id", limit: 5 },
  );
  return others.map((other) => `may be the same as ${other.name} (${other.id})`);
}

function scheduleReview(event: Event, partner: Row, problems: string[]): void {
  const items = problems.map((problem) => `<li>${escape(problem)}</li>`).join("");
  event.model.scheduleActivity(partner, {
    kind: "mail.mail_activity_data_todo",
    summary: "Review the contact's data",
    note: `<ul>${items}</ul>`,
    deadline: addDays(event.today, event.param("review_days")),
    user: partner.user_id,
  });
}
