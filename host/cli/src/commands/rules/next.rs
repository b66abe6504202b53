//! `triggerbox rules next`: when schedules are due.

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::{
    rule::{Trigger, stored},
    schedule::Slots,
};
use triggerbox_store::db::Mode;

use super::{state, trigger_name};
use crate::{
    args::Common,
    commands::workshop::{FromError, Workshop},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, styled},
};

pub(super) fn run(name: Option<&str>, count: usize, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let rules = match name {
        Some(name) => stored::get(&conn, name).map(|rule| vec![rule]),
        None => stored::all(&conn),
    };
    let mut told = Vec::new();
    for rule in rules.map_err(Failure::from_error)? {
        let Trigger::Schedule(schedule) = &rule.rule.trigger else {
            let Some(name) = name else { continue };
            let on = trigger_name(&rule.rule);
            return Err(anyhow!("rule `{name}` has no schedule: it fires on `{on}`").into());
        };
        let slots = Slots::new(schedule).map_err(|error| anyhow!(error))?;
        let next: Vec<_> = slots.all_after(workshop.now).take(count).collect();
        told.push(json!({ "rule": rule.rule.name, "live": rule.rule.active && rule.paused.is_none(), "next": next }));
        if common.format.json {
            continue;
        }
        outln!("{} {}", styled(BOLD, &rule.rule.name), state(&rule));
        for slot in &next {
            outln!("  {}", slot.to_zoned(slots.zone().clone()).strftime("%Y-%m-%d %H:%M:%S %:z"));
        }
        if next.is_empty() {
            outln!("  never again");
        }
    }
    if common.format.json {
        output::json(&told)?;
    } else if told.is_empty() {
        outln!("no rule has a schedule");
    }
    Ok(Exit::Ok)
}
