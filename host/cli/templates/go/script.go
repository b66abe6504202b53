// Package script notes leads with a high expected revenue.
package script

import (
	"fmt"

	"triggerbox"
)

// Run is called once for each event. Everything it changes is applied together when it returns, and not at all after an
// error.
func Run(event triggerbox.Event) (triggerbox.Outcome, error) {
	threshold, ok := event.Parameters["threshold"].(float64)
	if !ok {
		threshold = 10_000
	}
	leads, err := event.Read("name", "expected_revenue")
	if err != nil {
		return triggerbox.Outcome{}, err
	}
	noted := 0
	for _, lead := range leads {
		revenue := lead.Number("expected_revenue")
		triggerbox.Info("%s: %g", lead.Text("name"), revenue)
		if revenue > threshold {
			note := fmt.Sprintf("Expected revenue %g is over %g.", revenue, threshold)
			if err := lead.PostNote(triggerbox.Message{Body: note}); err != nil {
				return triggerbox.Outcome{}, err
			}
			noted++
		}
	}
	return triggerbox.Outcome{Message: fmt.Sprintf("%d of %d leads noted", noted, len(leads))}, nil
}
