//! Runs scenarios of one script.

use std::sync::{Arc, Mutex, PoisonError};

use toml::Spanned;
use triggerbox_automation::{
    LogSink, Report,
    journal::Entry,
    needs::needs,
    replay::{Verdict, record_again},
    runner,
};
use triggerbox_model::{grants::Need, manifest::Manifest, schema::Schema};
use triggerbox_sandbox::{LogLevel, Script};

use super::{
    BadScenario, Failure, Observed, ScenarioFile,
    compare::{self, compare},
    embedded::Embedded,
    given, observe,
    outside::Answers,
    place::line,
    refs::{Called, Names},
    when,
};
use crate::recording::Exported;

/// A script on the bench.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The compiled component.
    pub script: Script,
    /// What it asks for.
    pub manifest: Manifest,
}

/// A scenario that was run.
#[derive(Debug, Clone)]
pub struct Played {
    /// What came of it.
    pub observed: Observed,
    /// What is not as expected; none: it passed.
    pub failures: Vec<Failure>,
    /// Rights that its calls needed; none: it was recorded, and the models that tell are not in the recording.
    pub needs: Option<Vec<Need>>,
}

impl Bench {
    /// Runs a scenario, on records of its own.
    ///
    /// # Errors
    /// The scenario is wrong; says where. Whatever the script does is no error.
    pub async fn play(&self, file: &ScenarioFile) -> Result<Played, BadScenario> {
        if let Some(recording) = &file.scenario.recording {
            return self.again(file, recording).await;
        }
        let now = given::now(file)?;
        let database = given::database(file, now)?;
        let ground = Embedded { database: &database, now };
        let request = when::request(file, &ground, ground.database.schema(), &self.script, &self.manifest, now)?;
        let answers = Answers::of(file)?;
        let request = runner::Request { outside: Some(answers.outside.clone()), ..request };
        let log = Lines::default();
        let ran = runner::trial(&database, &request, Box::new(log.clone())).await;
        let (report, recording) = ran.map_err(|error| file.broken(error))?;
        let entries = recording.map(|recording| recording.entries).unwrap_or_default();

        let conn = database.snapshot().map_err(|error| file.broken(error))?;
        Ok(played(file, &conn, database.schema(), &report, &entries, &answers, log.taken()))
    }
}

/// What came of a run, against what was expected.
pub(super) fn played(
    file: &ScenarioFile,
    names: &dyn Names,
    schema: &Schema,
    report: &Report,
    entries: &[Entry],
    answers: &Answers,
    log: Vec<String>,
) -> Played {
    let observed = observe::observe(names, schema, report, entries, log);
    let mut failures = compare(file, &Called::new(names, &report.diff), &observed);
    failures.extend(answers.unasked().into_iter().map(|what| Failure {
        line: 1,
        what: "answers".to_owned(),
        diff: format!("{what}\n"),
    }));
    let needs = entries.iter().filter_map(|entry| needs(schema, &entry.call).ok()).flatten().collect();
    Played { observed, failures, needs: Some(needs) }
}

impl Bench {
    /// Runs again what was recorded.
    async fn again(&self, file: &ScenarioFile, recording: &Spanned<String>) -> Result<Played, BadScenario> {
        let wrong = |problem: &dyn std::fmt::Display| file.wrong(&recording.span(), problem);
        let exported = Exported::load(&file.beside(recording.get_ref())).map_err(|error| wrong(&error))?;
        let replayed = exported.replay_on(&self.script).await.map_err(|error| wrong(&error))?;
        let line = line(&file.text, &recording.span());
        let mut observed = Observed::default();
        let mut failures = Vec::new();
        for action in replayed {
            observed.used = observed.used.plus(&action.used);
            observed.log.extend(action.log.iter().map(|(level, text)| format!("{} {text}", level.name())));
            let diff = match action.verdict {
                Verdict::Same => continue,
                Verdict::Differs(how) => how.iter().map(|line| format!("{line}\n")).collect(),
                Verdict::Undecidable(why) => format!("undecidable: {why}\n"),
            };
            failures.push(Failure { line, what: "recording".to_owned(), diff });
        }
        failures.extend(compare::budgets(file, &observed));
        Ok(Played { observed, failures, needs: None })
    }
}

impl Bench {
    /// Records again what a recorded scenario's script does on what was recorded, in place of what it did.
    ///
    /// # Errors
    /// It asks what the recorded run did not ask; the file cannot be written.
    pub async fn record_again(&self, file: &ScenarioFile) -> Result<(), BadScenario> {
        let Some(recording) = &file.scenario.recording else { return Ok(()) };
        let wrong = |problem: &dyn std::fmt::Display| file.wrong(&recording.span(), problem);
        let path = file.beside(recording.get_ref());
        let mut exported = Exported::load(&path).map_err(|error| wrong(&error))?;
        let alone = exported.actions.len() == 1;
        for action in &mut exported.actions {
            if alone || action.script == self.manifest.script.name {
                let again = record_again(&self.script, &action.recording).await;
                action.recording = again.map_err(|why| wrong(&format!("it cannot be recorded again: {why}")))?;
            }
        }
        exported.save(&path).map_err(|error| wrong(&error))
    }
}

/// Keeps the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(super) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for Lines {
    fn line(&mut self, level: LogLevel, message: &str) {
        let line = format!("{} {message}", level.name());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
