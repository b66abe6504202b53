// Makes an inquiry a contact, a company, an opportunity and a follow-up.
//
// For webhooks (a form on a web site sends JSON) or by hand, with parameters. What is already there is found and used:
// the contact by e-mail address, the company by name, the opportunity by contact and subject. Two deliveries of the same
// inquiry, even at the same time, end with one of each.

import { addDays, decode, type Event, escape, Failed, isProvisional, model, UserError, type Values } from "triggerbox";

/** What somebody wrote. */
interface Inquiry {
  email: string;
  name: string;
  company: string;
  phone: string;
  subject: string;
  message: string;
  expectedRevenue: number;
}

export function run(event: Event): string {
  const inquiry = readInquiry(event);
  const contact = findContact(inquiry);
  const lead = findOpportunity(event, inquiry, contact);
  const text = isProvisional(lead) ? "New opportunity" : "Already there: opportunity";
  return `${text} ${model("crm.lead").mention(lead)} for ${model("res.partner").mention(contact)}`;
}

function readInquiry(event: Event): Inquiry {
  const given = event.trigger === "webhook" ? parse(event.details.body) : event.parameters;
  const text = (name: string) => String(given[name] ?? "").trim();
  const inquiry = {
    email: text("email").toLowerCase(),
    name: text("name"),
    company: text("company"),
    phone: text("phone"),
    subject: text("subject"),
    message: text("message"),
    expectedRevenue: Number(given.expected_revenue ?? 0),
  };
  if (!inquiry.email) throw new UserError("the inquiry needs an e-mail address");
  if (!inquiry.name) throw new UserError("the inquiry needs a name");
  if (!inquiry.subject) throw new UserError("the inquiry needs a subject");
  return inquiry;
}

function parse(body: Uint8Array): Record<string, unknown> {
  try {
    return JSON.parse(decode(body));
  } catch (error) {
    throw new UserError(`the inquiry is not understood: ${error}`);
  }
}

/** The contact with this e-mail address, created with its company if there is none. */
function findContact(inquiry: Inquiry): number {
  const partners = model("res.partner");
  // Odoo keeps the address in lower case, without the name, for exactly this.
  const [known] = partners.searchIds([["email_normalized", "=", inquiry.email]], { order: "is_company, id", limit: 1 });
  if (known !== undefined) return known;
  const company = inquiry.company
    ? partners.ensure(["name", "is_company"], { name: inquiry.company, is_company: true })
    : null;
  const values: Values = { email: inquiry.email, name: inquiry.name, is_company: false, parent_id: company };
  if (inquiry.phone) values.phone = inquiry.phone;
  return partners.ensure(["email"], values);
}

/** The contact's opportunity of this name in the first stage. A new one gets a follow-up. */
function findOpportunity(event: Event, inquiry: Inquiry, contact: number): number {
  const [stage] = model("crm.stage").searchIds([], { order: "sequence, id", limit: 1 });
  if (stage === undefined) throw new Failed("there is no stage to put an opportunity in; create one");
  const { responsible } = event.parameters;
  const leads = model("crm.lead");
  const lead = leads.ensure(["name", "type", "partner_id", "stage_id"], {
    name: inquiry.subject,
    type: "opportunity",
    partner_id: contact,
    stage_id: stage,
    email_from: inquiry.email,
    expected_revenue: inquiry.expectedRevenue,
    description: inquiry.message.split(/\r?\n/).map(escape).join("<br>"),
    user_id: responsible ?? event.runAs.id,
  });
  if (isProvisional(lead)) {
    leads.scheduleActivity(lead, {
      kind: "mail.mail_activity_data_todo",
      summary: "Answer the inquiry",
      deadline: addDays(event.today, event.param("follow_up_days")),
      user: responsible,
    });
  }
  return lead;
}
