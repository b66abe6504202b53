package triggerbox

import (
	"fmt"
	"sort"
	"time"

	"triggerbox/host/types"
	wit "triggerbox/wit/types"
)

// Values are values by field name: nil for an empty field, bool, int, float64, string, Date, time.Time, Link, Record,
// []uint32, []byte and JSON.
type Values map[string]any

// Date is a day: 2026-11-21.
type Date string

// Link is the value of a many2one field; Name is what Odoo shows for the record.
type Link struct {
	ID   uint32
	Name string
}

// JSON is the value of a json field, as text.
type JSON string

// Pending is a value that only the commit can know.
type Pending struct{}

const utc = "2006-01-02T15:04:05Z"

func fromHost(value triggerbox_automation_types.Value) any {
	switch value.Tag() {
	case triggerbox_automation_types.Value_Unset:
		return nil
	case triggerbox_automation_types.Value_Pending:
		return Pending{}
	case triggerbox_automation_types.Value_Boolean:
		return value.Boolean()
	case triggerbox_automation_types.Value_Integer:
		return int(value.Integer())
	case triggerbox_automation_types.Value_Number:
		return value.Number()
	case triggerbox_automation_types.Value_Date:
		return Date(value.Date())
	case triggerbox_automation_types.Value_Datetime:
		moment, _ := time.Parse(utc, value.Datetime())
		return moment
	case triggerbox_automation_types.Value_Many2one:
		return fromLink(value.Many2one())
	case triggerbox_automation_types.Value_Ids:
		return value.Ids()
	case triggerbox_automation_types.Value_Reference:
		return fromRef(value.Reference())
	case triggerbox_automation_types.Value_Binary:
		return value.Binary()
	case triggerbox_automation_types.Value_Json:
		return JSON(value.Json())
	default:
		return value.Text()
	}
}

// ToHost is a value as the contract has it.
func ToHost(value any) triggerbox_automation_types.Value {
	switch value := value.(type) {
	case nil:
		return triggerbox_automation_types.MakeValueUnset()
	case bool:
		return triggerbox_automation_types.MakeValueBoolean(value)
	case int:
		if number := int32(value); int(number) == value {
			return triggerbox_automation_types.MakeValueInteger(number)
		}
		// No integer field holds it: an amount.
		return triggerbox_automation_types.MakeValueNumber(float64(value))
	case float64:
		return triggerbox_automation_types.MakeValueNumber(value)
	case string:
		return triggerbox_automation_types.MakeValueText(value)
	case Date:
		return triggerbox_automation_types.MakeValueDate(string(value))
	case time.Time:
		return triggerbox_automation_types.MakeValueDatetime(value.UTC().Format(utc))
	case Link:
		return triggerbox_automation_types.MakeValueMany2one(
			triggerbox_automation_types.Link{Id: value.ID, DisplayName: wit.None[string]()})
	case Record:
		return triggerbox_automation_types.MakeValueReference(value.ref())
	case []uint32:
		return triggerbox_automation_types.MakeValueIds(value)
	case []byte:
		return triggerbox_automation_types.MakeValueBinary(value)
	case JSON:
		return triggerbox_automation_types.MakeValueJson(string(value))
	default:
		panic(fmt.Sprintf("%T is no value of a field", value))
	}
}

// fields are values as the contract has them, in the order of their names: maps have none, and runs must be repeatable.
func (values Values) fields() []triggerbox_automation_types.Field {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	fields := make([]triggerbox_automation_types.Field, 0, len(values))
	for _, name := range names {
		fields = append(fields, triggerbox_automation_types.Field{Name: name, Value: ToHost(values[name])})
	}
	return fields
}

func named(fields []triggerbox_automation_types.Field) map[string]any {
	values := make(map[string]any, len(fields))
	for _, field := range fields {
		values[field.Name] = fromHost(field.Value)
	}
	return values
}
