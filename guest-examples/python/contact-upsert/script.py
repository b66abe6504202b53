"""Makes an inquiry a contact, a company, an opportunity and a follow-up.

For webhooks (a form on a web site sends JSON) or by hand, with parameters. What is already there is found and used:
the contact by e-mail address, the company by name, the opportunity by contact and subject. Two deliveries of the same
inquiry, even at the same time, end with one of each.
"""

import json
from datetime import timedelta

from triggerbox import Activity, Failed, UserError, ensure, escape, search, search_ids

TEXTS = ("email", "name", "company", "phone", "subject", "message")


def run(event):
    inquiry = read_inquiry(event)
    contact = find_contact(inquiry)
    lead = find_opportunity(event, inquiry, contact)
    text = "New opportunity" if lead.is_provisional else "Already there: opportunity"
    return f"{text} {lead.mention()} for {contact.mention()}"


def read_inquiry(event):
    given = event.parameters
    if event.trigger == "webhook":
        try:
            given = json.loads(event.details.body)
        except ValueError as error:
            raise UserError(f"the inquiry is not understood: {error}")
    inquiry = {name: str(given.get(name) or "").strip() for name in TEXTS}
    inquiry["email"] = inquiry["email"].lower()
    inquiry["expected_revenue"] = float(given.get("expected_revenue") or 0)
    for name, what in (("email", "an e-mail address"), ("name", "a name"), ("subject", "a subject")):
        if not inquiry[name]:
            raise UserError(f"the inquiry needs {what}")
    return inquiry


def find_contact(inquiry):
    """The contact with this e-mail address, created with its company if there is none."""
    # Odoo keeps the address in lower case, without the name, for exactly this.
    known = [("email_normalized", "=", inquiry["email"])]
    for partner in search("res.partner", known, ["name"], order="is_company, id", limit=1):
        return partner
    company = None
    if inquiry["company"]:
        company = ensure("res.partner", ["name", "is_company"], {"name": inquiry["company"], "is_company": True}).id
    values = {"email": inquiry["email"], "name": inquiry["name"], "is_company": False, "parent_id": company}
    if inquiry["phone"]:
        values["phone"] = inquiry["phone"]
    return ensure("res.partner", ["email"], values)


def find_opportunity(event, inquiry, contact):
    """The contact's opportunity of this name in the first stage. A new one gets a follow-up."""
    stages = search_ids("crm.stage", order="sequence, id", limit=1)
    if not stages:
        raise Failed("there is no stage to put an opportunity in; create one")
    responsible = event.parameters.get("responsible")
    lead = ensure("crm.lead", ["name", "type", "partner_id", "stage_id"], {
        "name": inquiry["subject"],
        "type": "opportunity",
        "partner_id": contact.id,
        "stage_id": stages[0],
        "email_from": inquiry["email"],
        "expected_revenue": inquiry["expected_revenue"],
        "description": "<br>".join(escape(line) for line in inquiry["message"].splitlines()),
        "user_id": responsible or event.run_as.id,
    })
    if lead.is_provisional:
        due = event.today + timedelta(days=event.param("follow_up_days"))
        lead.schedule_activity(
            Activity("mail.mail_activity_data_todo", "Answer the inquiry", deadline=due, user_id=responsible)
        )
    return lead
