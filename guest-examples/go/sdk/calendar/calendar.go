// Package calendar knows time zones: the machine's are not there.
package calendar

import (
	"time"

	"triggerbox"
	"triggerbox/host/calendar"
)

// ToLocal is what clocks in a zone such as Europe/Brussels show at a time; its location says UTC, which it is not.
func ToLocal(moment time.Time, zone string) (time.Time, error) {
	local, err := triggerbox.Checked(triggerbox_automation_calendar.ToLocal(moment.UTC().Format(time.RFC3339), zone))
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse("2006-01-02T15:04:05", local)
}

// ToUTC is the way back. What a clock change skips is moved forward, of what it repeats it is the first.
func ToUTC(local time.Time, zone string) (time.Time, error) {
	utc, err := triggerbox.Checked(triggerbox_automation_calendar.ToUtc(local.Format("2006-01-02T15:04:05"), zone))
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, utc)
}
