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
	return triggerbox.Outcome{Message: deeper(nil)}, nil
}
