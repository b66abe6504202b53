//! `triggerbox rules`: what happens by itself.

mod diagnose;
pub(super) mod files;
mod next;
mod queue;
mod versions;

use rusqlite::Connection;
use serde_json::json;
use triggerbox_automation::rule::{
    Rule, file,
    model_change::with_model,
    stored::{self, Stored},
};
use triggerbox_server::told;
use triggerbox_store::db::Mode;

use crate::{
    args::{Common, RulesCommand},
    commands::workshop::{FromError, Workshop, login},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
};

pub(crate) fn run(command: &RulesCommand) -> Result<Exit, Failure> {
    match command {
        RulesCommand::List { model, common } => list(model.as_deref(), common),
        RulesCommand::Show { name, common } => show(name, common),
        RulesCommand::Apply(args) => files::apply(args),
        RulesCommand::Export { folder, prune, common } => files::export(folder, *prune, common),
        RulesCommand::History { name, common } => versions::history(name, common),
        RulesCommand::Diff { name, old, new, common } => versions::diff(name, *old, *new, common),
        RulesCommand::Restore { name, version, common } => versions::restore(name, *version, common),
        RulesCommand::Decide { name, version, reject, common } => versions::decide(name, *version, !reject, common),
        RulesCommand::Delete { name, common } => delete(name, common),
        RulesCommand::Pause { name, reason, common } => pause(name, Some(reason), common),
        RulesCommand::Resume { name, common } => pause(name, None, common),
        RulesCommand::SetModel { name, model, dry_run, common } => set_model(name, model, *dry_run, common),
        RulesCommand::Run { name, ids, there, common } => queue::run(name, ids, there, common),
        RulesCommand::Backfill { name, domain, there, common } => queue::backfill(name, domain, there, common),
        RulesCommand::Stop { model, reason, common } => queue::stop(model.as_deref(), Some(reason), common),
        RulesCommand::Go { model, common } => queue::stop(model.as_deref(), None, common),
        RulesCommand::Stops { common } => queue::stops(common),
        RulesCommand::Next { name, count, common } => next::run(name.as_deref(), *count, common),
        RulesCommand::Diagnose { name, record, there, common } => diagnose::run(name, *record, there, common),
    }
}

fn list(model: Option<&str>, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let mut rules = stored::all(&conn).map_err(Failure::from_error)?;
    rules.retain(|rule| model.is_none() || rule.rule.model.as_deref() == model);
    if common.format.json {
        output::json(&rules)?;
        return Ok(Exit::Ok);
    }
    if rules.is_empty() {
        outln!("no rules; `triggerbox rules apply` makes some");
    }
    for rule in &rules {
        let on = trigger_name(&rule.rule);
        let model = rule.rule.model.as_deref().unwrap_or("-");
        outln!("{} {} {on} {model} {}", styled(BOLD, &rule.rule.name), state(rule), scripts(&rule.rule));
    }
    Ok(Exit::Ok)
}

fn show(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let rule = stored::get(&conn, name).map_err(Failure::from_error)?;
    if common.format.json {
        let runs: Vec<_> = rule.bound.iter().map(|(part, bound)| json!({ "part": part, "bound": bound })).collect();
        output::json(&json!({ "rule": rule, "runs": runs }))?;
        return Ok(Exit::Ok);
    }
    outln!("# version {}, owner {}, {}", rule.version, printable(&login(&conn, rule.owner)), state(&rule));
    for (part, bound) in &rule.bound {
        let place = if *part < 0 { "source".to_owned() } else { format!("actions[{part}]") };
        let state = serde_json::to_value(bound.state)?;
        outln!("# {place} runs {} ({})", bound.hash, state.as_str().unwrap_or_default());
    }
    out!("{}", printable(&file::write(&rule.rule)?));
    Ok(Exit::Ok)
}

fn delete(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let edit = workshop.edit("", false);
    workshop.write("rule-deleted", name, |conn, line| {
        told::on_rule(conn, name, line, || stored::delete(conn, name, &edit))
    })?;
    done(common, name, "deleted; `triggerbox rules restore` brings it back")
}

fn pause(name: &str, reason: Option<&str>, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let action = if reason.is_some() { "rule-paused" } else { "rule-resumed" };
    workshop.write(action, name, |conn, line| {
        let was = stored::get(conn, name)?.paused;
        let was = was.map_or_else(|| "was not paused".to_owned(), |why| format!("was paused: {why}"));
        line.say(reason.map_or(was, |reason| format!("because {reason}")));
        stored::pause(conn, name, reason, workshop.now)
    })?;
    done(common, name, if reason.is_some() { "paused" } else { "no longer paused" })
}

fn set_model(name: &str, model: &str, dry_run: bool, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let (rule, dropped) = {
        let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
        let known = stored::get(&conn, name).map_err(Failure::from_error)?;
        with_model(&conn, &workshop.env, &known.rule, model).map_err(Failure::from_error)?
    };
    let edit = workshop.edit("another model", false);
    if dry_run {
        let plan = |conn: &Connection| stored::plan(workshop.ground(conn), &rule, &edit);
        workshop.database.transaction(plan).map_err(Failure::from_error)?;
    } else {
        workshop.write("rule-saved", name, |conn, line| {
            told::on_saving(conn, &rule, line, || stored::save(workshop.ground(conn), &rule, &edit))
        })?;
    }
    if common.format.json {
        output::json(&json!({ "rule": rule, "dropped": dropped, "dry_run": dry_run }))?;
        return Ok(Exit::Ok);
    }
    for one in &dropped {
        let words = format!("{} ({}): {}", one.place, one.what, one.why);
        outln!("{} {}", styled(YELLOW, "dropped"), printable(&words));
    }
    done(common, name, &format!("{} on `{model}`", if dry_run { "would be" } else { "is" }))
}

/// One line for people, or one object.
fn done(common: &Common, name: &str, what: &str) -> Result<Exit, Failure> {
    if common.format.json {
        output::json(&json!({ "rule": name, "done": what }))?;
    } else {
        outln!("{} {what}", styled(BOLD, name));
    }
    Ok(Exit::Ok)
}

fn state(rule: &Stored) -> String {
    match (&rule.paused, rule.rule.active) {
        (_, false) => styled(DIM, "inactive"),
        (Some(_), true) => styled(YELLOW, "paused"),
        (None, true) if rule.rule.superuser => styled(RED, "active, superuser"),
        (None, true) => styled(GREEN, "active"),
    }
}

/// The trigger's name in files.
fn trigger_name(rule: &Rule) -> String {
    let trigger = serde_json::to_value(&rule.trigger).unwrap_or_default();
    trigger.get("on").and_then(|on| on.as_str()).unwrap_or_default().to_owned()
}

fn scripts(rule: &Rule) -> String {
    rule.actions.iter().map(|action| action.script.to_string()).collect::<Vec<_>>().join(", ")
}
