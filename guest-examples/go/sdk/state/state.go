// Package state keeps a few values from run to run. They are staged and applied like any change.
package state

import (
	"triggerbox"
	"triggerbox/host/state"
	wit "triggerbox/wit/types"
)

// Get is the value kept under a key, as JSON; empty for none.
func Get(key string) (triggerbox.JSON, error) {
	kept, err := triggerbox.Checked(triggerbox_automation_state.Get(key))
	return triggerbox.JSON(kept.Some()), err
}

// Set stages a value under a key, as JSON.
func Set(key string, json triggerbox.JSON) error {
	_, err := triggerbox.Checked(triggerbox_automation_state.Set(key, wit.Some(string(json))))
	return err
}

// Remove stages that the key is gone.
func Remove(key string) error {
	_, err := triggerbox.Checked(triggerbox_automation_state.Set(key, wit.None[string]()))
	return err
}
