"""Checks confirmed orders against stock, and promises a delivery date.

For rules on `sale.order`, when an order is confirmed. For each product that is short, a task to purchase it is created.
The order gets its delivery date, an internal note says why, and the customer is told. Quotations, cancelled orders and
orders that have a date are left alone.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from triggerbox import calendar, ensure, escape, log, read, search


@dataclass
class Need:
    """What one product of an order needs."""

    product: int
    name: str
    ordered: float
    available: float = 0.0

    @property
    def missing(self):
        return max(self.ordered - max(self.available, 0.0), 0.0)


def run(event):
    promised = 0
    for order in event.read("name", "state", "commitment_date"):
        name = order["name"]
        if order["state"] != "sale":
            log.info(f"{name} is not confirmed")
            continue
        if order["commitment_date"]:
            log.info(f"{name} has a delivery date")
            continue
        short = [need for need in find_needs(order.id) if need.missing > 0]
        for need in short:
            purchase(event, name, need)
        if short and event.param("only_in_stock"):
            order.post_note(f"No delivery date yet: {listed(short)}.")
            continue

        day = event.today + timedelta(days=event.param("purchase_days" if short else "stock_days"))
        # Noon at the company, so that the day is the same one for everybody near it.
        noon = calendar.to_utc(datetime.combine(day, time(12)), event.run_as.tz)
        order.write({"commitment_date": noon})
        if short:
            order.post_note(f"To be purchased: {listed(short)}; delivery by {day}.")
            order.post_message(f"We are getting the last items of your order {name}. We deliver it by {day}.")
        else:
            order.post_note(f"All in stock; delivery by {day}.")
            order.post_message(f"Your order {name} is in stock. We deliver it by {day}.")
        promised += 1
    return f"{promised} of {len(event.ids)} orders have a new delivery date"


def find_needs(order):
    """What the order's lines still need of each product that is kept in stock."""
    goods = [("order_id", "=", order), ("product_id", "!=", False)]
    needs = {}
    for line in search("sale.order.line", goods, ["product_id", "product_uom_qty", "qty_delivered"]):
        product = line["product_id"]
        need = needs.setdefault(product.id, Need(product.id, product.name, 0.0))
        need.ordered += max(line["product_uom_qty"] - line["qty_delivered"], 0.0)
    found = []
    for product in read("product.product", sorted(needs), ["type", "qty_available"]):
        # Services are never in stock, and never missing.
        if product["type"] != "service":
            need = needs[product.id]
            need.available = product["qty_available"]
            found.append(need)
    return found


def purchase(event, order, need):
    """A task to purchase what is missing; the same one again when the order is checked again."""
    values = {
        "name": f"Purchase {need.name} for {order}",
        "description": f"<p>{need.missing:g} × {escape(need.name)}: {need.ordered:g} ordered, "
                       f"{need.available:g} in stock (product {need.product}).</p>",
    }
    if event.parameters.get("project"):
        values["project_id"] = event.parameters["project"]
    ensure("project.task", ["name"], values)


def listed(needs):
    """`3 × Desk, 1 × Lamp`"""
    return ", ".join(f"{need.missing:g} × {need.name}" for need in needs)
