// Package script calls everything in the contract once and logs the answers.
//
// To be run on a lead that may be changed, with trigger manual. Each call is one log line: its name, then ok or error with
// code and message. No answer ends the run. The outcome's result is a JSON object of the same names with ok or the error's
// code. Where an answer is put together of parts, another line shows what this language made of them: it is the same one in
// every language.
package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"time"

	"triggerbox"
	"triggerbox/calendar"
	"triggerbox/host/chatter"
	"triggerbox/host/records"
	"triggerbox/host/types"
	"triggerbox/http"
	"triggerbox/llm"
	"triggerbox/state"
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

// show shows the parts of an answer.
func show(name string, parts ...string) {
	triggerbox.Info("answer of %s: %s", name, strings.Join(parts, " | "))
}

func parameters(event triggerbox.Event) {
	host := event.Host
	triggerbox.Info("event %s of rule %s, attempt %d, seed %d, by %s for %s at %s",
		host.RunId, host.Rule, host.Attempt, host.Seed, host.Actor.Name, host.RunAs.Name, host.Now)
	for _, name := range []string{"service", "text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one", "unset"} {
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
	groups, err := triggerbox.ReadGroup(model, "[]", []string{"stage_id"}, []string{"expected_revenue:sum", "__count"},
		triggerbox.GroupPage{Limit: 2, Order: "stage_id"})
	var stages []string
	for _, group := range answer("records.read-group", groups, err) {
		stage, _ := group.Keys["stage_id"].(triggerbox.Link)
		stages = append(stages, fmt.Sprintf("%s, %d, %.0f", stage.Name, group.Count, group.Aggregates["expected_revenue:sum"]))
	}
	show("records.read-group", stages...)
	links, err := triggerbox.NameSearch(model, "a", 2)
	answer("records.name-search", links, err)
	infos, err := triggerbox.FieldsGet(model, "type", "stage_id")
	answer("records.fields-get", infos, err)
	may, err := triggerbox.HasAccess(model, triggerbox.ToWrite, lead.ID)
	answer("records.has-access", may, err)
	company, err := triggerbox.Resolve("base.main_company")
	answer("records.resolve-xmlid", company, err)
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
	done, err := lead.CompleteActivities("mail.mail_activity_data_todo", "checked")
	answer("chatter.complete-activities", done, err)
	note("chatter.add-followers", lead.AddFollowers(1))
	note("chatter.remove-followers", lead.RemoveFollowers(1))
	messages, err := lead.Messages(3)
	answer("chatter.read-messages", messages, err)
}

// same notes what a comparison came to.
func same(name string, equal bool) {
	var err error
	if !equal {
		err = errors.New("not as it should be")
	}
	note(name, err)
}

func stateAndRuntime(event triggerbox.Event) {
	kept, err := state.Get("count")
	answer("state.get", kept, err)
	note("state.set", state.Set("count", "1"))
	kept, err = state.Get("count")
	same("state.kept", answer("state.get.staged", kept, err) == "1")
	note("state.remove", state.Remove("count"))
	now, err := time.Parse(time.RFC3339, event.Host.Now)
	note("event.time", err)
	local, err := calendar.ToLocal(now, "Europe/Brussels")
	answer("calendar.to-local", local, err)
	skipped, err := calendar.ToUTC(time.Date(2026, 3, 29, 2, 30, 0, 0, time.UTC), "Europe/Brussels")
	answer("calendar.to-utc", skipped, err)
	nowhere, err := calendar.ToUTC(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "Europe/Nowhere")
	answer("calendar.unknown-zone", nowhere, err)
	_, known := triggerbox.Remaining("host-calls")
	same("budget.remaining", known)
	_, known = triggerbox.Remaining("patience")
	same("budget.unknown", !known)
	triggerbox.Debug("log.debug")
	triggerbox.Warning("log.warning")
	triggerbox.Alarm("log.error")
	// What language runtimes ask of WASI: the clock of the event, no environment.
	triggerbox.Info("wasi.clock: %s, environment: %d", time.Now().UTC().Format(time.RFC3339), len(os.Environ()))
}

func completion(name string, turns []llm.Turn, options llm.Options) (llm.Answer, bool) {
	said, err := llm.Complete(turns, options)
	if !note(name, err) {
		return said, false
	}
	usage := said.Usage
	used := fmt.Sprintf("%d + %d tokens, %.0f millionths of %s", usage.InputTokens, usage.OutputTokens, usage.Cost*1e6, usage.Currency)
	parts := []string{said.Finish, used, said.Model, said.Text}
	for _, call := range said.Calls {
		parts = append(parts, fmt.Sprintf("%s %s %s", call.Id, call.Name, call.ArgumentsJson))
	}
	show(name, parts...)
	return said, true
}

// languageModel asks for tools, tells what came of them, and asks for answers that end in other ways.
func languageModel() {
	schema, exact := `{"type": "object", "properties": {}}`, float32(0)
	question := llm.User("What is a contract?")
	said, ok := completion("llm.complete",
		[]llm.Turn{llm.System("Answer briefly."), question, llm.Assistant("An agreement.")},
		llm.Options{
			Tools:  []llm.Tool{{Name: "look_up", Description: "Looks a word up", Schema: schema}},
			Schema: schema, Temperature: &exact, MaxTokens: 10,
		})
	if !ok {
		return
	}
	var results []llm.ToolResult
	for index, call := range said.Calls {
		if index == 0 {
			results = append(results, llm.Result(call, "An agreement."))
		} else {
			results = append(results, llm.Failure(call, "no such word"))
		}
	}
	told := []llm.Turn{question, llm.Assistant(said.Text, said.Calls...), llm.ToolResults(results...)}
	completion("llm.tool-results", told, llm.Options{})
	for _, end := range []string{"length", "refused", "other"} {
		completion("llm."+end, []llm.Turn{llm.User(end)}, llm.Options{Model: "test/small"})
	}
}

func responded(name string, response http.Response, err error) {
	if note(name, err) {
		show(name, fmt.Sprint(response.Status), response.Header("Content-Type"), string(response.Body))
	}
}

// otherService sends a request without a body, and one with bytes that are no text.
func otherService(event triggerbox.Event) {
	url, _ := event.Parameters["service"].(string)
	response, err := http.Get(url, http.Header{Name: "accept", Value: "text/plain"})
	responded("http.send", response, err)
	bytes := http.Header{Name: "content-type", Value: "application/octet-stream"}
	response, err = http.Post(url, []byte{0, 255, 10, 0}, bytes)
	responded("http.post", response, err)
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

// details shows what there is to say of fields besides their type.
func details() {
	found, err := triggerbox.DescribeFields("x_contract", "x_amount", "x_owner_id", "x_login")
	var told []string
	for _, field := range answer("records.describe-fields", found, err) {
		told = append(told, inWords(field))
	}
	show("records.describe-fields", told...)
}

func inWords(field triggerbox.FieldDetails) string {
	words := []string{field.Info.Name, field.Info.Kind}
	if digits, ok := field.Digits.Get(); ok {
		words = append(words, fmt.Sprintf("%d/%d", digits.F0, digits.F1))
	}
	if value, ok := field.Default.Get(); ok {
		if value.Tag() == triggerbox_automation_records.FieldDefault_Literal {
			words = append(words, "literal", value.Literal())
		} else {
			words = append(words, "function", value.Function())
		}
	}
	if rule, ok := field.OnDelete.Get(); ok {
		words = append(words, [...]string{"set-null", "restrict", "cascade"}[rule])
	}
	if copied, _ := field.Copied.Get(); copied {
		words = append(words, "copied")
	}
	if path, ok := field.Related.Get(); ok {
		words = append(words, "shows", path)
	}
	groups, _ := field.Groups.Get()
	return strings.Join(append(words, fmt.Sprintf("%d groups", len(groups))), " ")
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
	// Larger than an integer field holds, and than an id is.
	for _, amount := range []int{3_000_000_000, -5_000_000_000} {
		large, err := triggerbox.Create("x_contract", triggerbox.Values{"x_name": "large", "x_float": amount})
		if !note("values.create.large", err) {
			return
		}
		rows, err := triggerbox.Read("x_contract", []uint32{large.ID}, "x_float")
		if note("values.read.large", err) && len(rows) == 1 {
			compared("values.x_float.large", rows[0].Values["x_float"], float64(amount))
		}
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
	stateAndRuntime(event)
	languageModel()
	otherService(event)
	details()
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
