// Package script calls everything in the contract once and logs the answers.
//
// To be run on a lead that may be changed, with trigger manual. Each call is one log line: its name, then ok or error with
// code and message. No answer ends the run. The outcome's result is a JSON object of the same names with ok or the error's
// code.
package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"time"

	"triggerbox"
	"triggerbox/host/budget"
	"triggerbox/host/calendar"
	"triggerbox/host/chatter"
	"triggerbox/host/http"
	"triggerbox/host/llm"
	"triggerbox/host/records"
	"triggerbox/host/state"
	"triggerbox/host/types"
	wit "triggerbox/wit/types"
)

var results = map[string]string{}
var refused int

// note notes what a call came to.
func note(name string, err error) bool {
	results[name] = "ok"
	var host *triggerbox.Error
	switch {
	case err == nil:
		triggerbox.Info("%s: ok", name)
	case errors.As(err, &host):
		results[name] = host.Code
		triggerbox.Info("%s: error %s: %s", name, host.Code, host.Message)
	default:
		results[name] = err.Error()
	}
	if err != nil {
		refused++
	}
	return err == nil
}

// answer is note, for a call that answers with more than an error.
func answer[T any](name string, value T, err error) T {
	if note(name, err) {
		triggerbox.Debug("%s: %v", name, value)
	}
	return value
}

func checked[T any](name string, result wit.Result[T, triggerbox_automation_types.Error]) T {
	value, err := triggerbox.Checked(result)
	return answer(name, value, err)
}

func parameters(event triggerbox.Event) {
	host := event.Host
	triggerbox.Info("event %s of rule %s, attempt %d, seed %d, by %s for %s at %s",
		host.RunId, host.Rule, host.Attempt, host.Seed, host.Actor.Name, host.RunAs.Name, host.Now)
	for _, name := range []string{"text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one", "unset"} {
		triggerbox.Info("parameter %s is %v", name, event.Parameters[name])
		note("parameter."+name, nil)
	}
}

func condition(field string, operator triggerbox_automation_types.Operator, value triggerbox_automation_types.Operand) triggerbox_automation_types.Term {
	return triggerbox_automation_types.MakeTermCondition(triggerbox_automation_types.Condition{Field: field, Operator: operator, Value: value})
}

func reads(lead triggerbox.Record) {
	model, ids := lead.Model, []uint32{lead.ID}
	this := fmt.Sprintf("[('id', '=', %d)]", lead.ID)
	found, err := triggerbox.Search(model, "['|', ('name', 'ilike', 'a'), (1, '=', 1)]", triggerbox.Page{Limit: 2})
	answer("records.search.literal", found, err)
	// A domain as terms, as the contract has them.
	flags := triggerbox_automation_types.MakeOperandMany([]triggerbox_automation_types.Value{triggerbox.ToHost(true), triggerbox.ToHost(false)})
	terms := []triggerbox_automation_types.Term{
		triggerbox_automation_types.MakeTermOr(), triggerbox_automation_types.MakeTermNever(),
		triggerbox_automation_types.MakeTermAnd(), triggerbox_automation_types.MakeTermAlways(),
		triggerbox_automation_types.MakeTermNot(),
		condition("active", triggerbox_automation_types.Operator_NotIn, flags),
	}
	page := triggerbox_automation_records.Page{Limit: wit.Some(uint32(2)), Order: wit.Some("id")}
	checked("records.search", triggerbox_automation_records.Search(model, triggerbox_automation_types.MakeDomainTerms(terms), page))
	any := condition("tag_ids", triggerbox_automation_types.Operator_Any, triggerbox_automation_types.MakeOperandDomain("[('id', '>', 0)]"))
	terms = []triggerbox_automation_types.Term{any}
	checked("records.search.any", triggerbox_automation_records.Search(model, triggerbox_automation_types.MakeDomainTerms(terms), page))
	rows, err := triggerbox.SearchRead(model, this, triggerbox.Page{}, "name", "stage_id")
	answer("records.search-read", rows, err)
	count, err := triggerbox.Count(model, this)
	answer("records.search-count", count, err)
	rows, err = triggerbox.Read(model, ids, "name", "expected_revenue", "tag_ids", "create_date")
	answer("records.read", rows, err)
	groups := triggerbox_automation_records.GroupPage{Limit: wit.Some(uint32(2)), Order: wit.Some("stage_id")}
	checked("records.read-group", triggerbox_automation_records.ReadGroup(model, triggerbox.Literal("[]"), []string{"stage_id"}, []string{"expected_revenue:sum", "__count"}, groups))
	checked("records.name-search", triggerbox_automation_records.NameSearch(model, "a", 2))
	checked("records.fields-get", triggerbox_automation_records.FieldsGet(model, []string{"type", "stage_id"}))
	checked("records.has-access", triggerbox_automation_records.HasAccess(model, ids, triggerbox_automation_records.Operation_Write))
	checked("records.resolve-xmlid", triggerbox_automation_records.ResolveXmlid("base.main_company"))
	found, err = triggerbox.Search("crm.laed", "[]", triggerbox.Page{})
	answer("records.unknown-model", found, err)
	rows, err = triggerbox.Read(model, ids, "nmae")
	answer("records.unknown-field", rows, err)
	rows, err = triggerbox.Read(model, ids)
	answer("records.no-fields", rows, err)
	found, err = triggerbox.Search(model, "[('name', '=']", triggerbox.Page{})
	answer("records.bad-domain", found, err)
}

func writes(event triggerbox.Event, lead triggerbox.Record) {
	note("records.write", lead.Write(triggerbox.Values{"expected_revenue": 1234.5}))
	rows, err := triggerbox.Read(lead.Model, []uint32{lead.ID}, "expected_revenue")
	answer("records.read.staged", rows, err)
	name := triggerbox.Values{"name": "contract check"}
	tag, err := triggerbox.Ensure("crm.tag", []string{"name"}, name)
	answer("records.ensure", tag, err)
	tag, err = triggerbox.Ensure("crm.tag", []string{"name"}, name)
	answer("records.ensure.again", tag, err)
	for _, command := range []struct {
		name    string
		command triggerbox.Command
	}{
		{"link", triggerbox.AddLink(tag.ID)},
		{"unlink", triggerbox.RemoveLink(tag.ID)},
		{"replace", triggerbox.ReplaceLinks(tag.ID)},
		{"create", triggerbox.CreateLinked(triggerbox.Values{"name": "made by a command"})},
		{"update", triggerbox.UpdateLinked(tag.ID, triggerbox.Values{"color": 5})},
		{"delete", triggerbox.DeleteLinked(tag.ID)},
		{"clear", triggerbox.ClearLinks()},
	} {
		note("records.relate."+command.name, lead.Relate("tag_ids", command.command))
	}
	made, err := triggerbox.Create(lead.Model, triggerbox.Values{"name": "made by " + event.Host.Rule})
	answer("records.create", made, err)
	rows, err = triggerbox.Read(lead.Model, []uint32{made.ID}, "name", "create_date")
	answer("records.read.created", rows, err)
	text, err := made.Mention()
	answer("records.mention", text, err)
	other, err := made.Copy(triggerbox.Values{"name": "a copy"})
	answer("records.copy", other, err)
	note("records.unlink", made.Unlink())
	text, err = triggerbox.Call(lead.Model, []uint32{lead.ID}, "action_archive", "{}")
	answer("records.call", text, err)
	text, err = triggerbox.Call(lead.Model, nil, "name_search", `{"name": "a", "limit": 1}`)
	answer("records.call.read-only", text, err)
	note("records.wrong-type", lead.Write(triggerbox.Values{"name": 1}))
	note("records.provisional-id-as-text", lead.Write(triggerbox.Values{"description": "see 2147483648"}))
}

func chatter(event triggerbox.Event, lead triggerbox.Record) {
	file := triggerbox_automation_chatter.Attachment{Name: "note.txt", MimeType: "text/plain", Content: []byte("attached")}
	message := triggerbox.Message{
		Body: "<b>1 &lt; 2</b>", HTML: true, Subject: "Contract check",
		Attachments: []triggerbox_automation_chatter.Attachment{file},
	}
	note("chatter.post-message", lead.PostMessage(message))
	note("chatter.post-note", lead.PostNote(triggerbox.Message{Body: "1 < 2, as text"}))
	note("chatter.schedule-activity", lead.Schedule(triggerbox.Activity{
		Kind: "mail.mail_activity_data_todo", Summary: "Check the contract", Note: "<p>All of it.</p>",
		Deadline: "2026-11-20", User: event.Host.RunAs.Id,
	}))
	target := triggerbox_automation_types.RecordRef{Model: lead.Model, Id: lead.ID}
	checked("chatter.complete-activities", triggerbox_automation_chatter.CompleteActivities(target, "mail.mail_activity_data_todo", wit.Some("checked")))
	checked("chatter.add-followers", triggerbox_automation_chatter.AddFollowers(target, []uint32{1}))
	checked("chatter.remove-followers", triggerbox_automation_chatter.RemoveFollowers(target, []uint32{1}))
	checked("chatter.read-messages", triggerbox_automation_chatter.ReadMessages(target, 3))
}

func services(event triggerbox.Event) {
	checked("state.get", triggerbox_automation_state.Get("count"))
	checked("state.set", triggerbox_automation_state.Set("count", wit.Some("1")))
	checked("state.get.staged", triggerbox_automation_state.Get("count"))
	checked("state.remove", triggerbox_automation_state.Set("count", wit.None[string]()))
	checked("calendar.to-local", triggerbox_automation_calendar.ToLocal(event.Host.Now, "Europe/Brussels"))
	checked("calendar.to-utc", triggerbox_automation_calendar.ToUtc("2026-03-29T02:30:00", "Europe/Brussels"))
	checked("calendar.unknown-zone", triggerbox_automation_calendar.ToUtc("2026-01-01T00:00:00", "Europe/Nowhere"))
	for name, limit := range map[string]string{"budget.remaining": "host-calls", "budget.unknown": "patience"} {
		if _, known := triggerbox_automation_budget.Remaining(limit).Get(); known != (limit == "host-calls") {
			note(name, errors.New("not as it should be"))
		} else {
			note(name, nil)
		}
	}
	schema := `{"type": "object", "properties": {}}`
	checked("llm.complete", triggerbox_automation_llm.Complete(triggerbox_automation_llm.Request{
		Messages: []triggerbox_automation_llm.Message{
			triggerbox_automation_llm.MakeMessageSystem("Answer briefly."),
			triggerbox_automation_llm.MakeMessageUser("What is a contract?"),
			triggerbox_automation_llm.MakeMessageAssistant("An agreement."),
		},
		Tools:        []triggerbox_automation_llm.Tool{{Name: "look_up", Description: "Looks a word up", ParametersSchema: schema}},
		OutputSchema: wit.Some(schema), Temperature: wit.Some(float32(0)), MaxTokens: wit.Some(uint32(10)),
	}))
	checked("http.send", triggerbox_automation_http.Send(triggerbox_automation_http.Request{
		Method: "GET", Url: "https://example.com/", Headers: []wit.Tuple2[string, string]{{F0: "accept", F1: "text/plain"}},
	}))
	triggerbox.Debug("log.debug")
	triggerbox.Warning("log.warning")
	// What language runtimes ask of WASI: the clock of the event, no environment.
	triggerbox.Info("wasi.clock: %s, environment: %d", time.Now().UTC().Format(time.RFC3339), len(os.Environ()))
}

var kinds = triggerbox.Values{
	"x_boolean":    true,
	"x_integer":    math.MinInt32,
	"x_float":      0.30000000000000004,
	"x_text":       "naïve ☃ \U0001f980\n\"'\\<b>",
	"x_date":       triggerbox.Date("2026-02-28"),
	"x_datetime":   time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC),
	"x_partner_id": triggerbox.Link{ID: 1},
	"x_tag_ids":    []uint32{1, 2},
	"x_reference":  triggerbox.Record{Model: "res.partner", ID: 1},
	"x_binary":     []byte{0, 255, 10, 0},
	"x_json":       triggerbox.JSON(`{"a":[1,2.5,null,"b"]}`),
}

// empties are what kinds are that have no other emptiness; the others are nil.
var empties = triggerbox.Values{"x_boolean": false, "x_integer": 0, "x_float": 0.0, "x_tag_ids": []uint32{}}

// compared notes whether a value was read as it should be.
func compared(name string, read, wanted any) {
	if ids, ok := read.([]uint32); ok && len(ids) == 0 {
		read = []uint32{}
	}
	if reflect.DeepEqual(read, wanted) {
		note(name, nil)
	} else {
		note(name, fmt.Errorf("read as %#v", read))
	}
}

// roundTrip writes every kind of value to a record, reads it back, and asks for it in a condition.
func roundTrip(event triggerbox.Event) {
	full, empty := triggerbox.Values{"x_name": "full, by " + event.Host.Rule}, triggerbox.Values{"x_name": "empty"}
	names := make([]string, 0, len(kinds))
	for name, value := range kinds {
		full[name], empty[name] = value, nil
		names = append(names, name)
	}
	made, err := triggerbox.Create("x_contract", full)
	if !note("values.create", err) {
		return
	}
	other, err := triggerbox.Create("x_contract", empty)
	note("values.create.empty", err)
	rows, err := triggerbox.Read("x_contract", []uint32{made.ID}, names...)
	if !note("values.read.full", err) || len(rows) != 1 {
		return
	}
	nothing, err := triggerbox.Read("x_contract", []uint32{other.ID}, names...)
	if !note("values.read.empty", err) || len(nothing) != 1 {
		return
	}
	for name, value := range kinds {
		read := rows[0].Values[name]
		if link, ok := read.(triggerbox.Link); ok {
			read = triggerbox.Link{ID: link.ID}
		}
		compared("values."+name+".full", read, value)
		compared("values."+name+".empty", nothing[0].Values[name], empties[name])
		one := triggerbox_automation_types.MakeOperandOne(triggerbox.ToHost(value))
		domain := triggerbox_automation_types.MakeDomainTerms([]triggerbox_automation_types.Term{condition(name, triggerbox_automation_types.Operator_Eq, one)})
		checked("values.domain."+name, triggerbox_automation_records.SearchCount("x_contract", domain))
	}
}

// Run is called once for each event.
func Run(event triggerbox.Event) (triggerbox.Outcome, error) {
	if event.Model == "" || len(event.Ids) == 0 {
		return triggerbox.Outcome{}, errors.New("run this on a lead")
	}
	lead := triggerbox.Record{Model: event.Model, ID: event.Ids[0]}
	parameters(event)
	reads(lead)
	writes(event, lead)
	chatter(event, lead)
	services(event)
	roundTrip(event)
	result, err := json.Marshal(results)
	return triggerbox.Outcome{
		Message:    fmt.Sprintf("%d calls, %d refused", len(results), refused),
		Values:     triggerbox.Values{"name": "from the outcome"},
		Warning:    "a warning",
		Records:    event.Ids,
		ResultJSON: string(result),
	}, err
}
