// Package script breaks in line 9.
package script

import "triggerbox"

//go:noinline
func deeper(values map[string]*triggerbox.Link) string {
	// Not there.
	return values["missing"].Name
}

// Run is called once for each event.
func Run(event triggerbox.Event) (triggerbox.Outcome, error) {
	if phone, written := event.Given(7)["phone"].(string); written {
		return triggerbox.Outcome{Message: phone}, nil
	}
	if len(event.Ids) > 0 {
		// As the total of an order reads whose lines were changed on an Odoo server.
		total := map[string]any{"amount_total": triggerbox.Pending{}}
		order := triggerbox.Row{Record: triggerbox.Record{Model: "sale.order", ID: 3}, Values: total}
		triggerbox.Info("%g", order.Number("amount_total"))
	}
	return triggerbox.Outcome{Message: deeper(nil)}, nil
}
