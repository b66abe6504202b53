//! Schedules: whether their times can be told from what they say.

use triggerbox_model::time::time_zone;

use super::Check;
use crate::rule::trigger::Schedule;

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
                if let Err(problem) = cron_problem(cron) {
                    self.error("bad-schedule", "trigger.cron", problem);
                }
            }
        }
    }
}

/// Five fields, each a list of numbers, ranges and steps within its bounds.
fn cron_problem(text: &str) -> Result<(), String> {
    const FIELDS: [(&str, u32, u32); 5] =
        [("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7)];
    let fields: Vec<_> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let names = FIELDS.map(|(name, ..)| name).join(", ");
        return Err(format!("`{text}` has {} fields; a cron expression has five: {names}", fields.len()));
    }
    for (field, (name, low, high)) in fields.iter().zip(FIELDS) {
        for item in field.split(',') {
            let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
            let bad = || format!("`{item}` is no {name}; write numbers from {low} to {high}, `*`, `a-b` or `*/n`");
            if step.is_some_and(|step| !step.parse::<u32>().is_ok_and(|step| step > 0)) {
                return Err(bad());
            }
            let within = |text: &str| number(text, name).is_some_and(|number| (low..=high).contains(&number));
            let good = match range.split_once('-') {
                Some((from, to)) => within(from) && within(to) && number(from, name) <= number(to, name),
                None => range == "*" || within(range),
            };
            if !good {
                return Err(bad());
            }
        }
    }
    Ok(())
}

/// Months and days of the week may be named.
fn number(text: &str, field: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let lower = text.to_lowercase();
    let named = |names: &[&str], first: u32| {
        let index = names.iter().position(|name| *name == lower)?;
        Some(u32::try_from(index).ok()? + first)
    };
    match field {
        "month" => named(&MONTHS, 1),
        "day of the week" => named(&DAYS, 0),
        _ => None,
    }
    .or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::cron_problem;

    #[test]
    fn cron_expressions_are_read_as_everywhere() {
        for good in ["0 9 * * *", "*/15 8-18 * * mon-fri", "0 0 1,15 jan *", "5 4 * * 7"] {
            assert_eq!(cron_problem(good), Ok(()), "{good}");
        }
        for bad in ["", "0 9 * *", "60 9 * * *", "0 9 0 * *", "0 9 * * 8", "0 9 * foo *", "*/0 * * * *", "5-1 * * * *"]
        {
            assert!(cron_problem(bad).is_err(), "{bad}");
        }
    }
}
