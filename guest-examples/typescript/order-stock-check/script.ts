// Checks confirmed orders against stock, and promises a delivery date.
//
// For rules on `sale.order`, when an order is confirmed. For each product that is short, a task to purchase it is created.
// The order gets its delivery date, an internal note says why, and the customer is told. Quotations, cancelled orders and
// orders that have a date are left alone.

import { addDays, calendar, type Event, escape, log, model, type Values } from "triggerbox";

/** What one product of an order needs. */
interface Need {
  product: number;
  name: string;
  ordered: number;
  available: number;
}

const missing = (need: Need) => Math.max(need.ordered - Math.max(need.available, 0), 0);

export function run(event: Event): string {
  const orders = event.model;
  let promised = 0;
  for (const order of event.read("name", "state", "commitment_date")) {
    if (order.state !== "sale") {
      log.info(`${order.name} is not confirmed`);
      continue;
    }
    if (order.commitment_date) {
      log.info(`${order.name} has a delivery date`);
      continue;
    }
    const short = findNeeds(order.id).filter((need) => missing(need) > 0);
    for (const need of short) purchase(event, order.name, need);
    if (short.length && event.param("only_in_stock")) {
      orders.postNote(order, `No delivery date yet: ${listed(short)}.`);
      continue;
    }

    const day = addDays(event.today, event.param(short.length ? "purchase_days" : "stock_days"));
    // Noon at the company, so that the day is the same one for everybody near it.
    orders.write(order, { commitment_date: calendar.toUtc(`${day}T12:00:00`, event.runAs.tz) });
    if (short.length) {
      orders.postNote(order, `To be purchased: ${listed(short)}; delivery by ${day}.`);
      orders.postMessage(order, `We are getting the last items of your order ${order.name}. We deliver it by ${day}.`);
    } else {
      orders.postNote(order, `All in stock; delivery by ${day}.`);
      orders.postMessage(order, `Your order ${order.name} is in stock. We deliver it by ${day}.`);
    }
    promised += 1;
  }
  return `${promised} of ${event.ids.length} orders have a new delivery date`;
}

/** What the order's lines still need of each product that is kept in stock. */
function findNeeds(order: number): Need[] {
  const lines = model("sale.order.line").search(
    [["order_id", "=", order], ["product_id", "!=", false]],
    ["product_id", "product_uom_qty", "qty_delivered"],
  );
  const needs = new Map<number, Need>();
  for (const { product_id: { id, name }, product_uom_qty, qty_delivered } of lines) {
    const need = needs.get(id) ?? { product: id, name, ordered: 0, available: 0 };
    need.ordered += Math.max(product_uom_qty - qty_delivered, 0);
    needs.set(id, need);
  }
  const products = model("product.product").read([...needs.keys()].sort((a, b) => a - b), "type", "qty_available");
  // Services are never in stock, and never missing.
  const goods = products.filter((product) => product.type !== "service");
  return goods.map((product) => ({ ...needs.get(product.id)!, available: product.qty_available }));
}

/** A task to purchase what is missing; the same one again when the order is checked again. */
function purchase(event: Event, order: string, need: Need): void {
  const task: Values = {
    name: `Purchase ${need.name} for ${order}`,
    description: `<p>${missing(need)} × ${escape(need.name)}: ${need.ordered} ordered, ${need.available} in stock `
      + `(product ${need.product}).</p>`,
  };
  if (event.parameters.project) task.project_id = event.parameters.project;
  model("project.task").ensure(["name"], task);
}

/** `3 × Desk, 1 × Lamp` */
function listed(needs: Need[]): string {
  return needs.map((need) => `${missing(need)} × ${need.name}`).join(", ");
}
