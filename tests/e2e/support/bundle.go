// Package script is all example scripts in one component, told apart by the rule's name.
package script

import (
	"triggerbox"
	contractCheck "triggerbox/script/contract-check"
	crash "triggerbox/script/crash"
	highValueOrder "triggerbox/script/high-value-order"
)

var scripts = map[string]func(triggerbox.Event) (triggerbox.Outcome, error){
	"contract-check":   contractCheck.Run,
	"crash":            crash.Run,
	"high-value-order": highValueOrder.Run,
}

// Run is called once for each event.
func Run(event triggerbox.Event) (triggerbox.Outcome, error) { return scripts[event.Host.Rule](event) }
