package triggerbox

import (
	"fmt"
	"strings"

	"triggerbox/host/chatter"
	"triggerbox/host/records"
	"triggerbox/host/types"
	wit "triggerbox/wit/types"
)

// Record is one record. Nothing is read.
type Record struct {
	Model string
	ID    uint32
}

// Row is a record with the values that were asked for.
type Row struct {
	Record
	Values map[string]any
}

// value is what was read of a field. A script that goes by what it did not read, or by what only the commit can know, breaks.
func (row Row) value(field string) any {
	value, asked := row.Values[field]
	if !asked {
		panic(fmt.Sprintf("%q of %s was not asked for; add it to the read", field, row.Model))
	}
	if _, pending := value.(Pending); pending {
		panic(fmt.Sprintf("%q of %s(%d) is known only when the run is applied; decide without it", field, row.Model, row.ID))
	}
	return value
}

// Number is a number; 0 for an empty field.
func (row Row) Number(field string) float64 {
	switch value := row.value(field).(type) {
	case float64:
		return value
	case int:
		return float64(value)
	}
	return 0
}

// Text is a text; empty for an empty field.
func (row Row) Text(field string) string {
	switch value := row.value(field).(type) {
	case string:
		return value
	case Date:
		return string(value)
	case Link:
		return value.Name
	}
	return ""
}

// Page is which part of the matching records, in which order. Limit 0: all.
type Page struct {
	Offset, Limit uint32
	Order         string
	Archived      bool
}

func (page Page) toHost() triggerbox_automation_records.Page {
	return triggerbox_automation_records.Page{Offset: page.Offset, Limit: count(page.Limit), Order: option(page.Order), Archived: page.Archived}
}

// Literal is a domain in Odoo's notation. Quote puts a text into one.
func Literal(domain string) triggerbox_automation_types.Domain {
	return triggerbox_automation_types.MakeDomainLiteral(domain)
}

// Quote is a text inside a domain: "[('email', '=', " + triggerbox.Quote(email) + ")]".
func Quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + "'"
}

// Search gives the ids of the matching records.
func Search(model, domain string, page Page) ([]uint32, error) {
	return Checked(triggerbox_automation_records.Search(model, Literal(domain), page.toHost()))
}

// SearchRead gives the matching records with these fields.
func SearchRead(model, domain string, page Page, fields ...string) ([]Row, error) {
	found, err := Checked(triggerbox_automation_records.SearchRead(model, Literal(domain), fields, page.toHost()))
	return rows(model, fields, found), err
}

// Count says how many match.
func Count(model, domain string) (uint32, error) {
	return Checked(triggerbox_automation_records.SearchCount(model, Literal(domain)))
}

// Read gives these records with these fields, in the order of ids. Records that are gone are left out.
func Read(model string, ids []uint32, fields ...string) ([]Row, error) {
	found, err := Checked(triggerbox_automation_records.Read(model, ids, fields))
	return rows(model, fields, found), err
}

func rows(model string, fields []string, found []triggerbox_automation_types.Row) []Row {
	all := make([]Row, 0, len(found))
	for _, row := range found {
		values := make(map[string]any, len(fields))
		for index, field := range fields {
			values[field] = fromHost(row.Values[index])
		}
		all = append(all, Row{Record{model, row.Id}, values})
	}
	return all
}

// Create stages a new record. Its id is provisional until the run is applied.
func Create(model string, values Values) (Record, error) {
	ids, err := Checked(triggerbox_automation_records.Create(model, [][]triggerbox_automation_types.Field{values.fields()}))
	if err != nil {
		return Record{}, err
	}
	return Record{model, ids[0]}, nil
}

// Ensure finds the one record whose keys are as in values, or stages its creation. Two runs at once end with one record.
func Ensure(model string, keys []string, values Values) (Record, error) {
	id, err := Checked(triggerbox_automation_records.Ensure(model, keys, values.fields()))
	return Record{model, id}, err
}

// Write stages the same values on all of these records.
func Write(model string, ids []uint32, values Values) error {
	_, err := Checked(triggerbox_automation_records.Write(model, ids, values.fields()))
	return err
}

// Unlink stages deletion.
func Unlink(model string, ids ...uint32) error {
	_, err := Checked(triggerbox_automation_records.Unlink(model, ids))
	return err
}

// Call calls a business method with a JSON object of named arguments. It is staged, and then there is no answer.
func Call(model string, ids []uint32, method, argumentsJSON string) (string, error) {
	answer, err := Checked(triggerbox_automation_records.Call(model, ids, method, argumentsJSON))
	return answer.Some(), err
}

func (record Record) ref() triggerbox_automation_types.RecordRef {
	return triggerbox_automation_types.RecordRef{Model: record.Model, Id: record.ID}
}

// Write stages values.
func (record Record) Write(values Values) error {
	return Write(record.Model, []uint32{record.ID}, values)
}

// Unlink stages deletion.
func (record Record) Unlink() error { return Unlink(record.Model, record.ID) }

// Relate stages changes of one one2many or many2many field.
func (record Record) Relate(field string, commands ...Command) error {
	_, err := Checked(triggerbox_automation_records.Relate(record.ref(), field, commands))
	return err
}

// Copy stages a copy, with these values in place of the original's.
func (record Record) Copy(values Values) (Record, error) {
	id, err := Checked(triggerbox_automation_records.Copy(record.ref(), values.fields()))
	return Record{record.Model, id}, err
}

// Mention is a text that becomes the record's name and id when the run is applied.
func (record Record) Mention() (string, error) {
	return Checked(triggerbox_automation_records.Mention(record.ref()))
}

// Command is a change of a one2many or many2many field.
type Command = triggerbox_automation_records.Command

// AddLink adds an existing record.
func AddLink(id uint32) Command { return triggerbox_automation_records.MakeCommandLink(id) }

// RemoveLink takes a record out of the relation, and keeps it.
func RemoveLink(id uint32) Command { return triggerbox_automation_records.MakeCommandUnlink(id) }

// DeleteLinked deletes the related record.
func DeleteLinked(id uint32) Command { return triggerbox_automation_records.MakeCommandDelete(id) }

// ClearLinks takes all out.
func ClearLinks() Command { return triggerbox_automation_records.MakeCommandClear() }

// ReplaceLinks makes the relation exactly these.
func ReplaceLinks(ids ...uint32) Command {
	return triggerbox_automation_records.MakeCommandReplace(ids)
}

// CreateLinked creates a related record.
func CreateLinked(values Values) Command {
	return triggerbox_automation_records.MakeCommandCreate(values.fields())
}

// UpdateLinked writes a related record.
func UpdateLinked(id uint32, values Values) Command {
	return triggerbox_automation_records.MakeCommandUpdate(
		wit.Tuple2[uint32, []triggerbox_automation_types.Field]{F0: id, F1: values.fields()})
}

// Message is a message or note. The body is shown as it is, unless it is HTML.
type Message struct {
	Body        string
	HTML        bool
	Subject     string
	Partners    []uint32
	Attachments []triggerbox_automation_chatter.Attachment
}

func (message Message) toHost() triggerbox_automation_chatter.Message {
	format := triggerbox_automation_chatter.BodyFormat_Text
	if message.HTML {
		format = triggerbox_automation_chatter.BodyFormat_Html
	}
	return triggerbox_automation_chatter.Message{
		Body: message.Body, Format: format, Subject: option(message.Subject),
		PartnerIds: message.Partners, Attachments: message.Attachments,
	}
}

// PostNote stages an internal note.
func (record Record) PostNote(message Message) error {
	_, err := Checked(triggerbox_automation_chatter.PostNote(record.ref(), message.toHost()))
	return err
}

// PostMessage stages a message that the followers are notified of.
func (record Record) PostMessage(message Message) error {
	_, err := Checked(triggerbox_automation_chatter.PostMessage(record.ref(), message.toHost()))
	return err
}

// Activity is something to do, for somebody, by a day. Kind: the activity type, by name or external id.
type Activity struct {
	Kind, Summary, Note string
	Deadline            Date
	User                uint32
}

// Schedule stages an activity.
func (record Record) Schedule(activity Activity) error {
	_, err := Checked(triggerbox_automation_chatter.ScheduleActivity(record.ref(), triggerbox_automation_chatter.Activity{
		Kind: activity.Kind, Summary: activity.Summary, Note: option(activity.Note), Deadline: option(string(activity.Deadline)), UserId: count(activity.User),
	}))
	return err
}

// CompleteActivities stages that all activities of this kind are done, and says how many there are.
func (record Record) CompleteActivities(kind, feedback string) (uint32, error) {
	return Checked(triggerbox_automation_chatter.CompleteActivities(record.ref(), kind, option(feedback)))
}

// AddFollowers stages followers, by partner.
func (record Record) AddFollowers(partners ...uint32) error {
	_, err := Checked(triggerbox_automation_chatter.AddFollowers(record.ref(), partners))
	return err
}

// RemoveFollowers stages that these partners no longer follow.
func (record Record) RemoveFollowers(partners ...uint32) error {
	_, err := Checked(triggerbox_automation_chatter.RemoveFollowers(record.ref(), partners))
	return err
}

// Posted is a message that is already there.
type Posted = triggerbox_automation_chatter.Posted

// Messages gives the newest messages and notes first.
func (record Record) Messages(limit uint32) ([]Posted, error) {
	return Checked(triggerbox_automation_chatter.ReadMessages(record.ref(), limit))
}
