//! `triggerbox agents`: what rules ask language models with.

use std::{fs, path::Path};

use anyhow::Context;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use triggerbox_automation::{
    agents::{
        Agent,
        stored::{self, SavedAgent, StoredAgent},
    },
    rule::{
        file,
        stored::{Outcome, RuleError},
    },
};
use triggerbox_server::{problem::FoundWrong, told};
use triggerbox_store::db::{DbError, Mode};

use super::rules::files::files;
use crate::{
    args::{AgentsCommand, Common},
    commands::{
        server::{Server, ask_or_hear, with_json},
        workshop::{FromError, Workshop, login},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, YELLOW, printable, styled},
};

pub(crate) fn run(command: &AgentsCommand) -> Result<Exit, Failure> {
    match command {
        AgentsCommand::List { common } => list(common),
        AgentsCommand::Show { name, common } => show(name, common),
        AgentsCommand::Apply { path, note, dry_run, server, common } => {
            let agents = read(path)?;
            match server {
                Some(server) => on_server(server, &agents, note, common),
                None => apply((path, &agents), note, *dry_run, common),
            }
        }
        AgentsCommand::Export { folder, common } => export(folder, common),
        AgentsCommand::History { name, common } => history(name, common),
        AgentsCommand::Delete { name, common } => {
            let workshop = Workshop::open(common, Mode::Write)?;
            let edit = workshop.edit("", false);
            workshop.write("agent-deleted", name, |conn, line| {
                told::on_agent(conn, name, line, || stored::delete(conn, name, &edit))
            })?;
            if common.format.json {
                output::json(&json!({ "agent": name, "done": "deleted" }))?;
            } else {
                outln!("{} deleted", styled(BOLD, name));
            }
            Ok(Exit::Ok)
        }
    }
}

fn list(common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let agents = stored::all(&conn).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&agents)?;
        return Ok(Exit::Ok);
    }
    if agents.is_empty() {
        outln!("no agents; `triggerbox agents apply` makes some");
    }
    for StoredAgent { agent, .. } in &agents {
        let state = if agent.active { styled(GREEN, "active") } else { styled(DIM, "inactive") };
        let model = agent.model.as_deref().unwrap_or("the default model");
        let words = if agent.read_only { ", only reads" } else { "" };
        outln!("{} {state} {}{words}", styled(BOLD, &agent.name), printable(model));
    }
    Ok(Exit::Ok)
}

fn show(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let stored = stored::get(&conn, name).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&stored)?;
        return Ok(Exit::Ok);
    }
    outln!("# version {}", stored.version);
    out!("{}", printable(&file::write(&stored.agent)?));
    Ok(Exit::Ok)
}

/// An agent that cannot be kept.
struct Refused {
    agent: String,
    error: RuleError,
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self { agent: String::new(), error: error.into() }
    }
}

/// An error that ends a transaction whose result is only looked at.
enum OrOnlyLook<T, E> {
    Look(T),
    Error(E),
}

impl<T, E: From<DbError>> From<DbError> for OrOnlyLook<T, E> {
    fn from(error: DbError) -> Self {
        Self::Error(error.into())
    }
}

fn read(path: &Path) -> Result<Vec<Agent>, Failure> {
    let mut agents = Vec::new();
    for file in files(path, &["toml"])? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        agents.push(file::read::<Agent>(&text).with_context(|| file.display().to_string())?);
    }
    Ok(agents)
}

/// What became of one agent, here or on a server.
#[derive(Serialize, Deserialize)]
struct Applied {
    agent: String,
    version: u32,
    outcome: Outcome,
    warnings: Vec<FoundWrong>,
}

impl From<SavedAgent> for Applied {
    fn from(saved: SavedAgent) -> Self {
        let warnings = saved.warnings.iter().map(FoundWrong::from).collect();
        Self { agent: saved.agent, version: saved.version, outcome: saved.outcome, warnings }
    }
}

/// Agents of the files, one after the other: what was made before one that is refused stays.
fn on_server(server: &str, agents: &[Agent], note: &str, common: &Common) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let there = Server::at(server)?;
    let mut made = Vec::new();
    for agent in agents {
        let request = there.to(Method::PUT, &format!("agents/{}", agent.name), &[("note", note)])?;
        let request = with_json(request, &serde_json::to_value(agent)?);
        match runtime.block_on(ask_or_hear(request))? {
            Ok(told) => {
                let applied: Applied =
                    serde_json::from_value(told).with_context(|| format!("what {server} answered"))?;
                made.push(applied);
            }
            Err(no) => {
                print(&made, true, common)?;
                refuse(&no.problem);
                let Failure { exit, error } = no.failure();
                return Err(Failure { exit, error: error.context(format!("agent `{}` was not applied", agent.name)) });
            }
        }
    }
    print(&made, true, common)?;
    Ok(Exit::Ok)
}

/// What a server says is wrong with an agent.
fn refuse(problem: &Json) {
    let findings = problem.get("findings").cloned().unwrap_or_default();
    let findings: Vec<FoundWrong> = serde_json::from_value(findings).unwrap_or_default();
    for one in &findings {
        errln!("  {}", printable(&words(one)));
    }
}

fn words(FoundWrong { severity, place, message, .. }: &FoundWrong) -> String {
    let word = if severity == "warning" { "warning: " } else { "" };
    format!("{word}{place}: {message}")
}

/// All agents of the files, or none.
fn apply((path, agents): (&Path, &[Agent]), note: &str, dry_run: bool, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let edit = workshop.edit(note, false);
    let done = workshop.transaction("agents-applied", &path.display().to_string(), |conn, line| {
        let mut details = Vec::new();
        let saved = agents.iter().map(|agent| {
            let refused = |error| OrOnlyLook::Error(Refused { agent: agent.name.clone(), error });
            let saved = told::on_agent(conn, &agent.name, line, || stored::save(workshop.ground(conn), agent, &edit));
            details.push(format!("{}: {}", agent.name, line.said()));
            saved.map_err(refused)
        });
        let saved: Vec<_> = saved.collect::<Result<_, _>>()?;
        line.say(details.join(" | "));
        // The error rolls the transaction back: nothing was asked for but the plan.
        if dry_run { Err(OrOnlyLook::Look(saved)) } else { Ok(saved) }
    });
    let saved: Vec<Applied> = match done {
        Ok(saved) | Err(OrOnlyLook::Look(saved)) => saved.into_iter().map(Applied::from).collect(),
        Err(OrOnlyLook::Error(Refused { agent, error })) => {
            let Failure { exit, error } = Failure::from_error(error);
            return Err(Failure { exit, error: error.context(format!("nothing was applied: agent `{agent}`")) });
        }
    };
    print(&saved, !dry_run, common)?;
    if dry_run && !common.format.json {
        outln!("nothing was applied: this is what would change");
    }
    Ok(Exit::Ok)
}

fn print(saved: &[Applied], applied: bool, common: &Common) -> anyhow::Result<()> {
    if common.format.json {
        return output::json(&json!({ "applied": applied, "agents": saved }));
    }
    for one in saved {
        let word = match one.outcome {
            Outcome::Created => styled(GREEN, "create"),
            Outcome::Updated => styled(YELLOW, "update"),
            Outcome::Unchanged | Outcome::Proposed => styled(DIM, "keep"),
        };
        outln!("{word} {}", styled(BOLD, &one.agent));
        for warning in &one.warnings {
            outln!("  {}", printable(&words(warning)));
        }
    }
    Ok(())
}

fn export(folder: &Path, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let agents = stored::all(&conn).map_err(Failure::from_error)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    for stored in &agents {
        let path = folder.join(format!("{}.toml", stored.agent.name));
        fs::write(&path, file::write(&stored.agent)?).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    if common.format.json {
        output::json(&json!({ "written": written }))?;
    } else {
        outln!("{} agents written to {}", written.len(), folder.display());
    }
    Ok(Exit::Ok)
}

fn history(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let versions = stored::history(&conn, name).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&versions)?;
        return Ok(Exit::Ok);
    }
    for one in &versions {
        let what = if one.agent.is_none() { " deleted" } else { "" };
        let when = one.at.strftime("%Y-%m-%d %H:%M:%S");
        let line = format!("{when} by {}{what} {}", login(&conn, one.author), one.note);
        outln!("{} {}", styled(BOLD, one.version), printable(line.trim_end()));
    }
    Ok(Exit::Ok)
}
