//! `triggerbox scripts`: versions of scripts, and which one is active.

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::{
    rule::{ScriptRef, Version},
    scripts::{
        RegistryError, ScriptVersion,
        binding::{self, Switched},
        registry, upload,
    },
};
use triggerbox_sandbox::{CompileError, ScriptError};
use triggerbox_server::told;
use triggerbox_store::db::Mode;

use crate::{
    args::{Common, ScriptsCommand},
    commands::{
        script,
        workshop::{FromError, Workshop, login},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, YELLOW, printable, styled},
};

pub(crate) fn run(command: &ScriptsCommand) -> Result<Exit, Failure> {
    match command {
        ScriptsCommand::Upload { component, activate, common } => upload_one(component, *activate, common),
        ScriptsCommand::List { name, common } => list(name.as_deref(), common),
        ScriptsCommand::Activate { name, version, common } => activate(name, version, common),
        ScriptsCommand::Rollback { name, common } => roll_back(name, common),
        ScriptsCommand::Deactivate { name, common } => deactivate(name, common),
        ScriptsCommand::History { name, common } => history(name, common),
    }
}

fn upload_one(path: &std::path::Path, activate: bool, common: &Common) -> Result<Exit, Failure> {
    let upload = upload::inspect(script::read(path)?).or_exit(Exit::InvalidComponent)?;
    compile(&upload.component)?;
    let workshop = Workshop::open(common, Mode::Write)?;
    let (by, now) = (workshop.person.user.id, workshop.now);
    let (version, is_new, switched) =
        workshop.write("script-uploaded", &upload.manifest.script.name, |conn, line| {
            let is_new = !registry::is_kept(conn, upload.hash)?;
            let version = registry::store(conn, &upload, by, now)?;
            line.say(told::uploaded(&version, is_new));
            let switched = match activate && !version.active {
                true => binding::activate(conn, &workshop.env.schema, &version, by, now)?,
                false => Switched::default(),
            };
            if activate {
                line.say(format!("{}; {}", told::uploaded(&version, is_new), told::switched(&version, &switched)));
            }
            Ok::<_, RegistryError>((registry::version(conn, version.hash, &version.name)?, is_new, switched))
        })?;
    if common.format.json {
        let outcome = if is_new { "created" } else { "unchanged" };
        output::json(&json!({
            "version": version, "outcome": outcome, "warnings": upload.warnings, "switched": switched,
        }))?;
    } else {
        for warning in &upload.warnings {
            outln!("{} {}", styled(YELLOW, "warning:"), printable(warning));
        }
        outln!("{}", line(&version));
        if !is_new {
            outln!("it was there already, exactly so");
        }
        print_switched(&switched);
        if !version.active {
            let short = short(&version);
            outln!("to use it: triggerbox scripts activate {} {short}", version.name);
        }
    }
    Ok(Exit::Ok)
}

/// Whether this host can run it; what is compiled is kept for the first run.
fn compile(component: &[u8]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let sandbox = script::sandbox(1)?;
    let compiled = runtime.block_on(sandbox.prepare(component, script::cache().as_ref(), &script::compiler()?));
    compiled.map(drop).map_err(|error| Failure {
        exit: match &error {
            ScriptError::Child(CompileError::Failed(_)) => Exit::Backend,
            _ => Exit::InvalidComponent,
        },
        error: error.into(),
    })
}

fn list(name: Option<&str>, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let versions = match name {
        Some(name) => registry::versions(&conn, name),
        None => registry::all(&conn),
    };
    let versions = versions.map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&versions)?;
    } else {
        versions.iter().for_each(|version| outln!("{}", line(version)));
    }
    Ok(Exit::Ok)
}

fn activate(name: &str, version: &str, common: &Common) -> Result<Exit, Failure> {
    let wanted: ScriptRef = format!("{name}@{version}").parse()?;
    if wanted.version == Version::Latest {
        return Err(
            anyhow!("name the version by its hash; `triggerbox scripts list {name}` shows those there are").into()
        );
    }
    let workshop = Workshop::open(common, Mode::Write)?;
    let (by, now) = (workshop.person.user.id, workshop.now);
    let (version, switched) = workshop.write("script-activated", name, |conn, line| {
        let version = registry::resolve(conn, &wanted)?;
        let switched = binding::activate(conn, &workshop.env.schema, &version, by, now)?;
        line.say(told::switched(&version, &switched));
        Ok::<_, RegistryError>((registry::version(conn, version.hash, name)?, switched))
    })?;
    show(common, &version, &switched)
}

fn roll_back(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let (by, now) = (workshop.person.user.id, workshop.now);
    let (version, switched) = workshop.write("script-rolled-back", name, |conn, line| {
        let (version, switched) = binding::roll_back(conn, &workshop.env.schema, name, by, now)?;
        line.say(told::switched(&version, &switched));
        Ok::<_, RegistryError>((registry::version(conn, version.hash, name)?, switched))
    })?;
    show(common, &version, &switched)
}

fn deactivate(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let (by, now) = (workshop.person.user.id, workshop.now);
    workshop.write("script-switched-off", name, |conn, line| {
        let active = registry::versions(conn, name)?.into_iter().find(|version| version.active);
        line.say(active.map_or_else(|| "was off".to_owned(), |version| told::version(&version)));
        binding::deactivate(conn, name, by, now)
    })?;
    if common.format.json {
        output::json(&json!({ "name": name, "active": null }))?;
    } else {
        outln!("{} is switched off: rules that want its latest version do not run", styled(BOLD, name));
    }
    Ok(Exit::Ok)
}

fn history(name: &str, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    registry::versions(&conn, name).map_err(Failure::from_error)?;
    let history = registry::history(&conn, name).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&history)?;
        return Ok(Exit::Ok);
    }
    for entry in history {
        let what = entry.hash.map_or_else(|| "switched off".to_owned(), |hash| hash.to_string());
        outln!("{}  {what}  {}", entry.at.strftime("%Y-%m-%d %H:%M"), printable(&login(&conn, entry.by)));
    }
    Ok(Exit::Ok)
}

fn show(common: &Common, version: &ScriptVersion, switched: &Switched) -> Result<Exit, Failure> {
    if common.format.json {
        output::json(&json!({ "version": version, "switched": switched }))?;
    } else {
        outln!("{}", line(version));
        print_switched(switched);
    }
    Ok(Exit::Ok)
}

fn print_switched(switched: &Switched) {
    for rule in &switched.moved {
        outln!("  rule {rule} runs it from now on");
    }
    for held in &switched.held {
        let words = format!("rule {} stays with what it has: {}", held.rule, held.why);
        outln!("  {} {}", styled(YELLOW, "held back:"), printable(&words));
    }
}

fn short(version: &ScriptVersion) -> String {
    version.hash.to_string().chars().take(12).collect()
}

fn line(version: &ScriptVersion) -> String {
    let active = if version.active { styled(GREEN, "active") } else { styled(DIM, "      ") };
    let size = version.size.div_ceil(1024);
    format!("{} {} {active} {} {size} KiB", styled(BOLD, &version.name), short(version), printable(&version.version))
}
