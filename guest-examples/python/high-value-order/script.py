"""Notes orders over a threshold in their chatter.

For rules on `sale.order`, when an order is created or its total changes. An order is noted when its total passes
the threshold, not again each time it changes above it.
"""

from triggerbox import Message

NOTE = "High-value sale detected, manager notified."


def run(event):
    threshold = event.param("threshold")
    manager = event.parameters.get("manager")
    noted = 0
    for order in event.read("amount_total"):
        if order["amount_total"] > threshold and not was_above(event, order.id, threshold):
            # A note, not a message: the customer follows the order too.
            order.post_note(Message(NOTE, notify=[manager] if manager else []))
            noted += 1
    return f"{noted} of {len(event.ids)} orders over {threshold:g}"


def was_above(event, order, threshold):
    """Whether the order had passed the threshold before this event."""
    if event.trigger != "updated":
        return False
    # If the total is not among what changed, it was what it is.
    total = event.old_values.get(order, {}).get("amount_total")
    return total is None or total > threshold
