//! Schedules: whether their times can be told from what they say.

use triggerbox_model::time::time_zone;

use super::Check;
use crate::{rule::trigger::Schedule, schedule::Slots};

impl Check<'_> {
    pub(super) fn schedule(&mut self, schedule: &Schedule) {
        if let Some(zone) = &schedule.zone
            && let Err(error) = time_zone(zone)
        {
            self.error("unknown-time-zone", "trigger.zone", error.message);
        }
        let first = schedule.first.as_deref().map(str::parse::<jiff::civil::DateTime>);
        if let (Some(Err(_)), Some(text)) = (&first, &schedule.first) {
            let message = format!("`{text}` is no date and time; write 2026-01-01T09:00:00");
            self.error("bad-schedule", "trigger.first", message);
        }
        match (schedule.every, &schedule.cron) {
            (None, None) => {
                self.error(
                    "bad-schedule",
                    "trigger",
                    "say when: `every` and `unit` with a `first`, or a `cron` expression",
                );
            }
            (Some(_), Some(_)) => {
                self.error("bad-schedule", "trigger", "`every` and `cron` say two things; keep one of them");
            }
            (Some(every), None) => {
                if every == 0 {
                    self.error("bad-schedule", "trigger.every", "0 is no interval; write 1 or more");
                }
                if schedule.unit.is_none() {
                    self.error("bad-schedule", "trigger.unit", "say of what: minutes, hours, days, weeks, months");
                }
                if schedule.first.is_none() {
                    let message = "say when the first slot is, `2026-01-01T09:00:00`: all others are counted from it";
                    self.error("bad-schedule", "trigger.first", message);
                }
            }
            (None, Some(cron)) => {
                if schedule.unit.is_some() {
                    self.error("bad-schedule", "trigger.unit", "a unit goes with `every`, not with `cron`");
                }
                match Slots::new(schedule) {
                    Err(error) if error.code == "bad-schedule" => {
                        self.error("bad-schedule", "trigger.cron", error.message);
                    }
                    Ok(slots) if slots.next_after(self.ground.env.now).is_none() => {
                        self.error(
                            "no-next-slot",
                            "trigger.cron",
                            format!("`{cron}` never comes, such as February 30"),
                        );
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}
