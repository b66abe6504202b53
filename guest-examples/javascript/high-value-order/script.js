// Notes orders over a threshold in their chatter.
//
// For rules on `sale.order`, when an order is created or its total changes. An order is noted when its total passes the
// threshold, not again each time it changes above it.

const NOTE = "High-value sale detected, manager notified.";

export function run(event) {
  const threshold = event.param("threshold");
  const { manager } = event.parameters;
  let noted = 0;
  for (const order of event.read("amount_total")) {
    if (order.amount_total > threshold && !wasAbove(event, order.id, threshold)) {
      // A note, not a message: the customer follows the order too.
      event.model.postNote(order, { text: NOTE, notify: manager ? [manager] : [] });
      noted += 1;
    }
  }
  return `${noted} of ${event.ids.length} orders over ${threshold}`;
}

/** Whether the order had passed the threshold before this event. */
function wasAbove(event, order, threshold) {
  if (event.trigger !== "updated") return false;
  // If the total is not among what changed, it was what it is.
  const total = event.oldValues.get(order)?.amount_total;
  return total === undefined || total > threshold;
}
