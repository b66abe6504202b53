"""Scores leads from 0 to 100, tags them, and schedules a follow-up for the best.

For rules on `crm.lead`, when a lead is created or one of the fields that count changes. The score is kept as one
line of the description. Running it again changes nothing unless the score changes.
"""

import re
from datetime import timedelta

from score import Rules
from triggerbox import Activity, Command, ensure

#: The description is HTML: the score's text reaches from its label to the next tag.
SCORE = re.compile(r"Lead score: ([^<]*)")
FIELDS = (
    "name", "partner_name", "function", "email_from", "phone", "expected_revenue", "description", "tag_ids", "user_id",
)


def run(event):
    rules = Rules.from_parameters(event)
    hot = ensure("crm.tag", ["name"], {"name": event.param("hot_tag")}).id
    warm = ensure("crm.tag", ["name"], {"name": event.param("warm_tag")}).id
    follow_up_above = event.param("follow_up_above")

    results = []
    for lead in event.read(*FIELDS):
        description = lead["description"] or ""
        text = " ".join([lead["name"] or "", lead["partner_name"] or "", SCORE.sub("", description)])
        points, reasons = rules.score(lead, text)
        before = previous_points(description)

        described = with_score(description, points, reasons)
        if described != description:
            lead.write({"description": described})
        is_hot = points > event.param("hot_above")
        is_warm = not is_hot and points > event.param("warm_above")
        changes = tag_changes(lead["tag_ids"], {hot: is_hot, warm: is_warm})
        if changes:
            lead.relate("tag_ids", *changes)
        if points > follow_up_above and (before is None or before <= follow_up_above):
            due = event.today + timedelta(days=event.param("follow_up_days"))
            call = Activity("mail.mail_activity_data_call", "Call this lead", deadline=due, user_id=lead["user_id"])
            lead.schedule_activity(call)
        results.append(f"{lead['name']} {points}")
    return ", ".join(results)


def tag_changes(present, wanted):
    """What to change so that a lead has the tag of its score and not the other."""
    changes = []
    for tag, is_wanted in wanted.items():
        if is_wanted and tag not in present:
            changes.append(Command.link(tag))
        if not is_wanted and tag in present:
            changes.append(Command.unlink(tag))
    return changes


def with_score(description, points, reasons):
    line = f"Lead score: {points}/100" + (f" ({', '.join(reasons)})" if reasons else "")
    if SCORE.search(description):
        return SCORE.sub(lambda _: line, description, count=1)
    return f"{description}<p>{line}</p>"


def previous_points(description):
    found = re.search(r"Lead score: (\d+)/", description)
    return int(found[1]) if found else None
