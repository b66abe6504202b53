"""Notes leads with a high expected revenue."""

from notes import note
from triggerbox import log


def run(event):
    """Called once for each event. Everything it changes is applied together when it returns, and not at all if it
    raises."""
    threshold = event.param("threshold")
    noted = 0
    for lead in event.read("name", "expected_revenue"):
        log.info(f"{lead['name']}: {lead['expected_revenue']}")
        text = note(lead["expected_revenue"], threshold)
        if text:
            lead.post_note(text)
            noted += 1
    return f"{noted} of {len(event.ids)} leads noted"
