// Package script notes orders over a threshold in their chatter.
//
// For rules on sale.order, when an order is created or its total changes. An order is noted when its total passes the
// threshold, not again each time it changes above it.
package script

import (
	"fmt"

	"triggerbox"
	"triggerbox/host/events"
)

// Run is called once for each event.
func Run(event triggerbox.Event) (triggerbox.Outcome, error) {
	threshold, _ := event.Parameters["threshold"].(float64)
	note := triggerbox.Message{Body: "High-value sale detected, manager notified."}
	if manager, ok := event.Parameters["manager"].(triggerbox.Link); ok {
		note.Partners = []uint32{manager.ID}
	}
	orders, err := event.Read("amount_total")
	if err != nil {
		return triggerbox.Outcome{}, err
	}
	noted := 0
	for _, order := range orders {
		if order.Number("amount_total") <= threshold || wasAbove(event, order.ID, threshold) {
			continue
		}
		// A note, not a message: the customer follows the order too.
		if err := order.PostNote(note); err != nil {
			return triggerbox.Outcome{}, err
		}
		noted++
	}
	return triggerbox.Outcome{Message: fmt.Sprintf("%d of %d orders over %g", noted, len(event.Ids), threshold)}, nil
}

// wasAbove says whether the order had passed the threshold before this event.
func wasAbove(event triggerbox.Event, order uint32, threshold float64) bool {
	if event.Host.Trigger.Tag() != triggerbox_automation_events.Trigger_Updated {
		return false
	}
	// If the total is not among what changed, it was what it is.
	total, known := event.OldValues(order)["amount_total"].(float64)
	return !known || total > threshold
}
