// Package triggerbox is the library that Triggerbox scripts in Go are written with.
//
// A script is a package named script, in a file script.go, with one function:
//
//	func Run(event triggerbox.Event) (triggerbox.Outcome, error) {
//		leads, err := event.Read("name", "expected_revenue")
//		if err != nil {
//			return triggerbox.Outcome{}, err
//		}
//		for _, lead := range leads {
//			if lead.Number("expected_revenue") > 10_000 {
//				if err := lead.PostNote(triggerbox.Message{Body: "A large one."}); err != nil {
//					return triggerbox.Outcome{}, err
//				}
//			}
//		}
//		return triggerbox.Outcome{Message: "done"}, nil
//	}
//
// It is called once for each event, in a fresh sandbox. What it changes is staged, and applied as one transaction when it
// returns; an error applies nothing.
//
// Beside it are the packages triggerbox/llm, triggerbox/http, triggerbox/state and triggerbox/calendar.
package triggerbox

import (
	"fmt"

	"triggerbox/host/budget"
	"triggerbox/host/events"
	"triggerbox/host/log"
	"triggerbox/host/types"
	wit "triggerbox/wit/types"
)

// Error is why a host call failed. Decide by Kind or Code; people read Message.
type Error struct {
	// Kind is access-denied, not-found, invalid, rejected, conflict, unavailable, pending or other.
	Kind string
	// Code is stable and documented, such as unknown-field.
	Code    string
	Message string
	Field   string
}

func (err *Error) Error() string { return err.Code + ": " + err.Message }

// UserError ends the run with a text for the user who caused the event.
type UserError string

func (err UserError) Error() string { return string(err) }

var kinds = [...]string{"access-denied", "not-found", "invalid", "rejected", "conflict", "unavailable", "pending", "other"}

// Checked is a host call's answer as Go has it.
func Checked[T any](result wit.Result[T, triggerbox_automation_types.Error]) (T, error) {
	if !result.IsErr() {
		return result.Ok(), nil
	}
	err := result.Err()
	field, _ := err.Field.Get()
	return result.Ok(), &Error{kinds[err.Kind], err.Code, err.Message, field}
}

// Failure is the contract's word for an error that ends a script.
func Failure(err error) triggerbox_automation_events.Failure {
	if user, ok := err.(UserError); ok {
		return triggerbox_automation_events.MakeFailureUserError(string(user))
	}
	return triggerbox_automation_events.MakeFailureFailed(err.Error())
}

// Event is one firing of one rule. Host has all that the contract has.
type Event struct {
	Host triggerbox_automation_events.Event
	// Model of the triggering records; empty for rules that are bound to none.
	Model string
	// Ids of the triggering records.
	Ids []uint32
	// Parameters of the rule, by name.
	Parameters map[string]any
}

// NewEvent is an event as Go has it.
func NewEvent(event triggerbox_automation_events.Event) Event {
	model, _ := event.Model.Get()
	return Event{event, model, event.Records, named(event.Parameters)}
}

// Read gives the triggering records with these fields. Those that are gone are left out.
func (event Event) Read(fields ...string) ([]Row, error) {
	if event.Model == "" {
		return nil, &Error{Kind: "invalid", Code: "no-model", Message: "this rule is bound to no model"}
	}
	return Read(event.Model, event.Ids, fields...)
}

// OldValues are a record's changed fields as they were before an update, by name.
func (event Event) OldValues(id uint32) map[string]any {
	return ofRecord(event.Host.OldValues, id)
}

// Given are the values that the trigger itself carries of a record, by name: the last ones of a deleted record, those about to be
// stored, those in a form. A record that is about to be created has no id yet: it is 0.
func (event Event) Given(id uint32) map[string]any {
	trigger := event.Host.Trigger
	switch trigger.Tag() {
	case triggerbox_automation_events.Trigger_Deleted:
		return ofRecord(trigger.Deleted(), id)
	case triggerbox_automation_events.Trigger_OnChange:
		return ofRecord([]triggerbox_automation_events.Snapshot{trigger.OnChange()}, id)
	case triggerbox_automation_events.Trigger_BeforeUpdate:
		return ofRecord(trigger.BeforeUpdate(), id)
	case triggerbox_automation_events.Trigger_BeforeCreate:
		if id == 0 {
			return named(trigger.BeforeCreate())
		}
	}
	return nil
}

func ofRecord(snapshots []triggerbox_automation_events.Snapshot, id uint32) map[string]any {
	for _, snapshot := range snapshots {
		if snapshot.Id == id {
			return named(snapshot.Fields)
		}
	}
	return nil
}

// Outcome is what a script answers.
type Outcome struct {
	// Message is one line for the run history.
	Message string
	// Values to set on the record, for rules that run before a change.
	Values  Values
	Warning string
	Records []uint32
	// ResultJSON is what a webhook's or a manual run's caller gets.
	ResultJSON string
}

// ToHost is the outcome as the contract has it.
func (outcome Outcome) ToHost() triggerbox_automation_events.Outcome {
	return triggerbox_automation_events.Outcome{
		Message:    option(outcome.Message),
		Values:     outcome.Values.fields(),
		Warning:    option(outcome.Warning),
		Records:    outcome.Records,
		ResultJson: option(outcome.ResultJSON),
	}
}

func option(text string) wit.Option[string] {
	if text == "" {
		return wit.None[string]()
	}
	return wit.Some(text)
}

// Remaining says how much is left of a limit, such as host-calls, and whether there is such a limit.
func Remaining(limit string) (float64, bool) {
	return triggerbox_automation_budget.Remaining(limit).Get()
}

// Debug writes a line to the run's log.
func Debug(format string, arguments ...any) {
	write(triggerbox_automation_log.Level_Debug, format, arguments)
}

// Info writes a line to the run's log.
func Info(format string, arguments ...any) {
	write(triggerbox_automation_log.Level_Info, format, arguments)
}

// Warning writes a line to the run's log.
func Warning(format string, arguments ...any) {
	write(triggerbox_automation_log.Level_Warning, format, arguments)
}

// Alarm writes a line to the run's log: something went wrong.
func Alarm(format string, arguments ...any) {
	write(triggerbox_automation_log.Level_Error, format, arguments)
}

func write(level triggerbox_automation_log.Level, format string, arguments []any) {
	triggerbox_automation_log.Write(level, fmt.Sprintf(format, arguments...))
}
