//! `triggerbox odoo`: what a customer's Odoo must hold, made, looked at and taken away.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, anyhow};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use triggerbox_odoo::{
    Backend, Config, OdooError,
    setup::{Finding, State, Watch},
};

use triggerbox_automation::{
    EngineError,
    index::Index,
    people,
    remote::{self, home},
    rule::{Rule, stored},
    state::tables,
};
use triggerbox_store::db::{Database, Mode};

use crate::{
    args::{OdooArgs, OdooCommand},
    commands::workshop::FromError as _,
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, GREEN, RED, YELLOW, printable, styled},
};

pub(crate) fn run(args: &OdooArgs) -> Result<Exit, Failure> {
    // Of which server they were does not matter any more, and its file may be gone.
    if let OdooCommand::Moved { db, here: true } = &args.command {
        return moved(db, None, args.format.json);
    }
    let backend = open(&args.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    runtime.block_on(async {
        match &args.command {
            OdooCommand::Setup { yes } => set_up(&backend, *yes, args.format.json).await,
            OdooCommand::Status { db } => status(&backend, db.as_deref(), args.format.json).await,
            OdooCommand::Doctor => doctor(&backend, args.format.json).await,
            OdooCommand::Moved { db, .. } => moved(db, Some(&*backend), args.format.json),
            OdooCommand::Teardown { yes } => tear_down(&backend, *yes, args.format.json).await,
        }
    })
}

/// The server that a configuration file describes.
pub(crate) fn open(path: &Path) -> Result<Arc<Backend>, Failure> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = Config::parse(&text).with_context(|| path.display().to_string())?;
    let backend = Backend::new(config, &|name| std::env::var(name).ok()).with_context(|| path.display().to_string())?;
    Ok(Arc::new(backend))
}

/// The same for running scripts on it: keys near their end are announced.
pub(crate) fn open_for_runs(path: &Path) -> Result<Arc<Backend>, Failure> {
    let backend = open(path)?;
    announce_ending_keys(&backend);
    Ok(backend)
}

/// Says which keys end soon, or have ended.
pub(crate) fn announce_ending_keys(backend: &Backend) {
    let now = Timestamp::now();
    for (login, day) in backend.ending_keys(now) {
        errln!("{} {}", styled(YELLOW, "warning:"), printable(&ending(&login, day, now)));
    }
}

/// What is said of a key near its end, or past it.
fn ending(login: &str, day: Date, now: Timestamp) -> String {
    match day <= now.to_zoned(TimeZone::UTC).date() {
        true => format!("the key of `{login}` ended on {day}; make a new one"),
        false => format!("the key of `{login}` ends on {day}; make a new one before"),
    }
}

/// What Odoo must know of the rules in a database.
pub(crate) fn watches(database: &Database) -> Result<Vec<Watch>, Failure> {
    let env = people::environment(database, people::SYSTEM, true, Timestamp::now()).or_exit(Exit::Backend)?;
    let conn = database.snapshot().or_exit(Exit::Backend)?;
    if !tables::exist(&conn).or_exit(Exit::Backend)? {
        return Ok(Vec::new());
    }
    let index = Index::load(&conn, env, None).map_err(anyhow::Error::from)?;
    Ok(remote::watches(&index, database.schema()))
}

/// A database as the memory of a host whose records are on an Odoo server: with the models there that its rules, these
/// rules and the configuration name. Rules of the database whose model Odoo does not have any more are broken.
pub(crate) async fn on_odoo(database: Database, backend: &Backend, rules: &[Rule]) -> Result<Database, Failure> {
    let mut names: BTreeSet<String> = backend.config().models.iter().cloned().collect();
    names.extend(rules.iter().filter_map(|rule| rule.model.clone()));
    let wanted = names.clone();
    {
        let conn = database.snapshot().or_exit(Exit::Backend)?;
        if tables::exist(&conn).or_exit(Exit::Backend)? {
            let known = stored::all(&conn).map_err(Failure::from_error)?;
            names.extend(known.into_iter().filter_map(|known| known.rule.model));
        }
    }
    let (models, missing) = backend.models_there(&names).await.map_err(failed)?;
    if let Some(name) = missing.intersection(&wanted).next() {
        return Err(anyhow!("odoo has no model `{name}`; is its app installed?").into());
    }
    database.for_remote(models, &missing).or_exit(Exit::Backend)
}

/// Fails where the records of a database are elsewhere than on this server, or in the database itself.
pub(crate) fn at_home(database: &Database, odoo: Option<&Backend>) -> Result<(), Failure> {
    let config = odoo.map(Backend::config);
    let checked = match database.mode() {
        Mode::Write => database.transaction(|conn| home::keep(conn, config)),
        Mode::Read => home::check(&*database.snapshot().or_exit(Exit::Backend)?, config),
    };
    checked.map_err(Failure::from_error)
}

fn moved(db: &Path, odoo: Option<&Backend>, json: bool) -> Result<Exit, Failure> {
    let database = Database::open(db, Mode::Write).or_exit(Exit::Backend)?;
    let place = database.transaction(|conn| {
        home::move_to(conn, odoo.map(Backend::config))?;
        Ok::<_, EngineError>(home::noted(conn)?)
    });
    let place = place.map_err(Failure::from_error)?;
    match json {
        true => output::json(&serde_json::json!({ "records": place }))?,
        false => {
            let place = place.unwrap_or_else(|| "the file itself".to_owned());
            outln!("the records of {} are in {} from now on", db.display(), printable(&place));
        }
    }
    Ok(Exit::Ok)
}

async fn status(backend: &Backend, rules: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let mut findings = backend.status().await.map_err(failed)?;
    findings.extend(
        match rules {
            Some(path) => {
                let database = Database::open(path, Mode::Read).or_exit(Exit::Backend)?;
                let database = on_odoo(database, backend, &[]).await?;
                backend.rules_status(&watches(&database)?).await
            }
            None => backend.rules_of_other_versions().await,
        }
        .map_err(failed)?,
    );
    show(&findings, json)?;
    Ok(if findings.iter().all(|finding| finding.state == State::Ok) { Exit::Ok } else { Exit::Backend })
}

async fn set_up(backend: &Backend, yes: bool, json: bool) -> Result<Exit, Failure> {
    let findings = backend.status().await.map_err(failed)?;
    let open: Vec<Finding> = findings.into_iter().filter(|finding| finding.state != State::Ok).collect();
    if open.is_empty() {
        if json {
            output::json(&open)?
        } else {
            outln!("nothing to do: all of it is there")
        }
        return Ok(Exit::Ok);
    }
    if !json {
        outln!("in {} of {} this is made or mended:", backend.config().database, backend.config().url);
        show(&open, false)?;
    }
    agree(yes, "make it")?;
    let done = backend.set_up().await.map_err(failed)?;
    if json {
        output::json(&done)?
    } else {
        outln!("{} done: {} parts", styled(GREEN, "✓"), done.len())
    }
    Ok(Exit::Ok)
}

async fn tear_down(backend: &Backend, yes: bool, json: bool) -> Result<Exit, Failure> {
    if !json {
        outln!(
            "in {} of {} everything is taken away that `triggerbox odoo setup` made, the ledger of applied runs included",
            backend.config().database,
            backend.config().url
        );
    }
    agree(yes, "take it away")?;
    let gone = backend.tear_down().await.map_err(failed)?;
    if json {
        output::json(&gone)?;
    } else {
        gone.iter().for_each(|what| outln!("removed {}", printable(what)));
        outln!("nothing of it is left");
    }
    Ok(Exit::Ok)
}

/// One diagnosis.
#[derive(Serialize)]
struct Diagnosis {
    ok: bool,
    what: String,
}

async fn doctor(backend: &Backend, json: bool) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    let mut add = |ok, what: String| found.push(Diagnosis { ok, what });
    match backend.client().version().await {
        Ok(version) => add(version.starts_with("19."), format!("{} is odoo {version}", backend.config().url)),
        Err(error) => add(false, error.to_string()),
    }
    for user in &backend.config().users {
        match backend.account(&user.login).await {
            Ok(account) => add(true, format!("the key of `{}` is taken: {}", user.login, account.user.name)),
            Err(error) => add(false, error.to_string()),
        }
    }
    let now = Timestamp::now();
    for (login, day) in backend.ending_keys(now) {
        add(false, ending(&login, day, now));
    }
    match backend.status().await {
        Ok(findings) => {
            let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.state != State::Ok).collect();
            match wrong.first() {
                None => add(true, format!("all {} parts of the set-up are there, unchanged", findings.len())),
                Some(first) => add(
                    false,
                    format!(
                        "{} of {} parts of the set-up are missing or changed, such as the {}; `triggerbox odoo setup` mends them",
                        wrong.len(),
                        findings.len(),
                        first.what
                    ),
                ),
            }
        }
        Err(error) => add(false, error.to_string()),
    }
    let well = found.iter().all(|diagnosis| diagnosis.ok);
    if json {
        output::json(&found)?;
    } else {
        for Diagnosis { ok, what } in &found {
            let mark = if *ok { styled(GREEN, "✓") } else { styled(RED, "✗") };
            outln!("{mark} {}", printable(what));
        }
    }
    Ok(if well { Exit::Ok } else { Exit::Backend })
}

fn show(findings: &[Finding], json: bool) -> Result<(), Failure> {
    if json {
        return Ok(output::json(&findings)?);
    }
    for Finding { what, state, detail } in findings {
        let word = match state {
            State::Ok => styled(GREEN, "ok     "),
            State::Missing => styled(YELLOW, "missing"),
            State::Changed => styled(RED, "changed"),
            State::Impossible => styled(RED, "broken "),
        };
        let detail = if detail.is_empty() { String::new() } else { format!(" ({})", printable(detail)) };
        outln!("  {word} {}{detail}", styled(BOLD, printable(what)));
    }
    Ok(())
}

/// Asks, unless it was said beforehand.
fn agree(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(anyhow!("nobody is there to ask; add `--yes` to {what}").into());
    }
    out!("{what}? [y/N] ");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow!("not done").into()),
    }
}

pub(crate) fn failed(error: OdooError) -> Failure {
    let exit = match &error {
        OdooError::Refused(_) => Exit::Policy,
        _ => Exit::Backend,
    };
    Failure { exit, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_has_ended_is_not_said_to_end() {
        let now: Timestamp = "2026-11-30T23:00:00Z".parse().unwrap();
        let told = |day: &str| ending("sam", day.parse().unwrap(), now);
        assert_eq!(told("2026-12-01"), "the key of `sam` ends on 2026-12-01; make a new one before");
        for day in ["2026-11-30", "2026-11-01"] {
            assert_eq!(told(day), format!("the key of `sam` ended on {day}; make a new one"));
        }
    }
}
