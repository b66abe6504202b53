package triggerbox

import (
	"triggerbox/host/records"
	"triggerbox/host/types"
	wit "triggerbox/wit/types"
)

// GroupPage is which groups, in which order. Limit 0: all. Having is a domain over aggregates: [('__count', '>', 5)].
type GroupPage struct {
	Offset, Limit uint32
	Order, Having string
	Archived      bool
}

// Group is one group of ReadGroup: its keys and aggregates by the names they were asked by.
type Group struct {
	Keys       map[string]any
	Aggregates map[string]any
	Count      uint32
	// Domain selects this group's records, to be joined with the one that was asked.
	Domain string
}

// ReadGroup gives groups of the matching records with aggregates: by "stage_id", "create_date:month" and so on, with
// "expected_revenue:sum", "__count" and so on.
func ReadGroup(model, domain string, by, aggregates []string, page GroupPage) ([]Group, error) {
	found, err := Checked(triggerbox_automation_records.ReadGroup(model, Literal(domain), by, aggregates, page.toHost()))
	groups := make([]Group, 0, len(found))
	for _, group := range found {
		groups = append(groups, Group{named(group.Keys), named(group.Aggregates), group.Count, group.Domain})
	}
	return groups, err
}

func (page GroupPage) toHost() triggerbox_automation_records.GroupPage {
	return triggerbox_automation_records.GroupPage{
		Offset: page.Offset, Limit: count(page.Limit), Order: option(page.Order), Having: option(page.Having),
		Archived: page.Archived,
	}
}

// count is a number of which 0 says that there is none.
func count(number uint32) wit.Option[uint32] {
	if number == 0 {
		return wit.None[uint32]()
	}
	return wit.Some(number)
}

// NameSearch gives records whose name matches a text, best first.
func NameSearch(model, text string, limit uint32) ([]Link, error) {
	found, err := Checked(triggerbox_automation_records.NameSearch(model, text, limit))
	links := make([]Link, 0, len(found))
	for _, link := range found {
		links = append(links, fromLink(link))
	}
	return links, err
}

// FieldInfo is what a field is.
type FieldInfo = triggerbox_automation_records.FieldInfo

// FieldsGet describes these fields, or all for none.
func FieldsGet(model string, fields ...string) ([]FieldInfo, error) {
	return Checked(triggerbox_automation_records.FieldsGet(model, fields))
}

// FieldDetails is all that is known of a field.
type FieldDetails = triggerbox_automation_records.FieldDetails

// DescribeFields tells all that is known of these fields, or of all for none: digits, default, what a computed one follows
// from and so on.
func DescribeFields(model string, fields ...string) ([]FieldDetails, error) {
	return Checked(triggerbox_automation_records.DescribeFields(model, fields))
}

// Operation is what rights are about.
type Operation = triggerbox_automation_records.Operation

// What rights are about.
const (
	ToRead   Operation = triggerbox_automation_records.Operation_Read
	ToWrite  Operation = triggerbox_automation_records.Operation_Write
	ToCreate Operation = triggerbox_automation_records.Operation_Create
	ToUnlink Operation = triggerbox_automation_records.Operation_Unlink
)

// HasAccess says whether the run may do this to all of these records; for none, to the model at all.
func HasAccess(model string, operation Operation, ids ...uint32) (bool, error) {
	return Checked(triggerbox_automation_records.HasAccess(model, ids, operation))
}

// Resolve gives the record behind an external id: base.main_company.
func Resolve(xmlid string) (Record, error) {
	record, err := Checked(triggerbox_automation_records.ResolveXmlid(xmlid))
	return fromRef(record), err
}

func fromLink(link triggerbox_automation_types.Link) Link {
	name, _ := link.DisplayName.Get()
	return Link{link.Id, name}
}

func fromRef(record triggerbox_automation_types.RecordRef) Record {
	return Record{record.Model, record.Id}
}
