// Package export_wit_world is what the host calls: it hands the event to Run of the script, and its answer back.
package export_wit_world

import (
	"triggerbox"
	"triggerbox/host/events"
	"triggerbox/script"
	"triggerbox/wit/types"
)

// Run is called once for each event.
func Run(event triggerbox_automation_events.Event) types.Result[triggerbox_automation_events.Outcome, triggerbox_automation_events.Failure] {
	outcome, err := script.Run(triggerbox.NewEvent(event))
	if err != nil {
		return types.Err[triggerbox_automation_events.Outcome](triggerbox.Failure(err))
	}
	return types.Ok[triggerbox_automation_events.Outcome, triggerbox_automation_events.Failure](outcome.ToHost())
}
