"""Checks contacts, and tags those that need review.

For rules on `res.partner`, when a contact is created or updated. It checks e-mail address, phone number and address,
and looks for duplicates. A contact with a problem gets a tag and an activity that lists what is wrong; once nothing is
wrong, the tag goes. Running it again changes nothing.
"""

from datetime import timedelta

from checks import is_email, is_phone
from triggerbox import Activity, Command, ensure, escape, log, search

FIELDS = (
    "name", "is_company", "parent_id", "email", "email_normalized", "phone", "vat", "street", "zip", "city",
    "country_id", "category_id", "user_id",
)


def run(event):
    tag = ensure("res.partner.category", ["name"], {"name": event.param("tag")}).id
    tagged = 0
    for partner in event.read(*FIELDS):
        problems = find_problems(partner) + find_duplicates(partner)
        is_tagged = tag in partner["category_id"]
        if problems and not is_tagged:
            partner.relate("category_id", Command.link(tag))
            schedule_review(event, partner, problems)
        if is_tagged and not problems:
            partner.relate("category_id", Command.unlink(tag))
        tagged += bool(problems)
        for problem in problems:
            log.info(f"{partner['name']}: {problem}")
    return f"{tagged} of {len(event.ids)} contacts need review"


def find_problems(partner):
    """What is wrong with the contact by itself."""
    problems = []
    email, phone = partner["email"], partner["phone"]
    if not email and not phone:
        problems.append("neither e-mail address nor phone number")
    if email and not is_email(email):
        problems.append(f'"{email}" is not an e-mail address')
    if phone and not is_phone(phone):
        problems.append(f'"{phone}" is not a phone number')
    # A person at a company is reached at the company's address.
    if not partner["parent_id"]:
        missing = [field for field in ("street", "zip", "city") if not (partner[field] or "").strip()]
        if not partner["country_id"]:
            missing.append("country")
        if missing:
            problems.append(f"the address has no {', '.join(missing)}")
    return problems


def find_duplicates(partner):
    """Other contacts with the same e-mail address, or companies with the same VAT number."""
    same = []
    if partner["email_normalized"]:
        same.append([("email_normalized", "=", partner["email_normalized"])])
    if partner["is_company"] and partner["vat"]:
        same.append(["&", ("vat", "=", partner["vat"]), ("is_company", "=", True)])
    if not same:
        return []
    domain = [("id", "!=", partner.id)] + ["|"] * (len(same) - 1) + [term for terms in same for term in terms]
    others = search("res.partner", domain, ["name"], order="id", limit=5)
    return [f"may be the same as {other['name']} ({other.id})" for other in others]


def schedule_review(event, partner, problems):
    items = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    partner.schedule_activity(Activity(
        "mail.mail_activity_data_todo",
        "Review the contact's data",
        note=f"<ul>{items}</ul>",
        deadline=event.today + timedelta(days=event.param("review_days")),
        user_id=partner["user_id"],
    ))
