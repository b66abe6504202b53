"""Breaks in line 9."""

from triggerbox import Command


def deeper(values):
    # Not there.
    key = "missing"
    return values[key]


def run(event):
    if not event.ids:
        return deeper({})
    # A plain number is an id where the related model's field is a link.
    user = event.run_as.id
    for partner in event.read("child_ids"):
        partner.relate(
            "child_ids",
            Command.create({"name": "Ada", "user_id": user}),
            Command.update(partner["child_ids"][0], {"name": "Grace", "user_id": user}),
        )
    return None
