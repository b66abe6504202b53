//! The history of a rule: `rules history`, `diff`, `restore`, `decide`.

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::rule::{
    diff::{all_of, differences},
    stored::{self, RuleVersion},
};
use triggerbox_server::told;
use triggerbox_store::db::Mode;

use crate::{
    args::Common,
    commands::workshop::{FromError, Workshop, login},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, printable, styled},
};

/// All versions, the newest first; none is an error.
fn all(workshop: &Workshop, name: &str) -> Result<Vec<RuleVersion>, Failure> {
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let history = stored::history(&conn, name).map_err(Failure::from_error)?;
    if history.is_empty() {
        // Says that there is none, with a name that was probably meant.
        stored::get(&conn, name).map_err(Failure::from_error)?;
    }
    Ok(history)
}

pub(super) fn history(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let history = all(&workshop, name)?;
    if common.format.json {
        output::json(&history)?;
        return Ok(Exit::Ok);
    }
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    for version in &history {
        let at = version.at.strftime("%Y-%m-%d %H:%M");
        let number = styled(BOLD, version.version);
        let line = format!("{} {at} {} {}", version.state.name(), login(&conn, version.author), version.note);
        outln!("{number} {}", printable(line.trim_end()));
    }
    Ok(Exit::Ok)
}

pub(super) fn diff(name: &str, old: Option<u32>, new: Option<u32>, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let history = all(&workshop, name)?;
    let newest = history.first().map_or(0, |version| version.version);
    let new = new.unwrap_or(newest);
    let old = old.unwrap_or(new.saturating_sub(1));
    let find = |number: u32| {
        let found = history.iter().find(|version| version.version == number);
        found.ok_or_else(|| anyhow!("rule `{name}` has no version {number}; it has 1 to {newest}"))
    };
    let after = find(new)?;
    // Before the first version there was nothing.
    let before = if old == 0 { None } else { find(old)?.rule.as_ref() };
    let found = match (before, &after.rule) {
        (Some(before), Some(after)) => differences(before, after),
        (None, Some(after)) => all_of(after),
        (Some(_), None) => return super::done(common, name, &format!("was deleted in version {new}")),
        (None, None) => Vec::new(),
    };
    if common.format.json {
        output::json(&json!({ "rule": name, "old": old, "new": new, "differences": found }))?;
    } else {
        found.iter().for_each(|one| outln!("{}", printable(&one.to_string())));
    }
    Ok(Exit::Ok)
}

pub(super) fn restore(name: &str, version: u32, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let note = format!("version {version} again");
    let edit = workshop.edit(&note, false);
    let saved = workshop.write("rule-restored", name, |conn, line| {
        told::on_change(conn, name, line, || stored::restore(workshop.ground(conn), name, version, &edit))
    })?;
    super::done(common, name, &format!("is as in version {version}, as version {}", saved.version))
}

pub(super) fn decide(name: &str, version: u32, yes: bool, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let edit = workshop.edit("", false);
    workshop.write("rule-decided", name, |conn, line| {
        let decide = || stored::decide(workshop.ground(conn), name, version, yes, &edit);
        told::on_decision(conn, name, line, (version, yes), decide)
    })?;
    super::done(common, name, &format!("version {version} {}", if yes { "accepted" } else { "rejected" }))
}
