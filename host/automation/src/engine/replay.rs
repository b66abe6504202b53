//! Runs of the past on a version of their script: one replayed, or all of a rule counted.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use triggerbox_model::error::Error;
use triggerbox_sandbox::Script;

use super::Engine;
use crate::{
    error::EngineError,
    journal::Recording,
    packed::unpack,
    replay::{Replayed, Verdict, replay},
    runs::{self, RunId},
};

/// Runs that a backtest reads from the database at a time.
const PAGE: u32 = 100;

/// What a version would have done with the runs of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backtest {
    /// Runs on which it does the same.
    pub same: u32,
    /// Runs on which it does something else, and what.
    pub differs: Vec<(RunId, Vec<String>)>,
    /// Runs of which it cannot be said, and why.
    pub undecidable: Vec<(RunId, String)>,
}

impl Engine {
    /// Replays the last try of a run, action by action: on its own versions, or on this one in place of the version of the
    /// same name.
    ///
    /// # Errors
    /// `unknown-run`; `not-journaled` when nothing was kept of it; `not-in-rule` when it ran no script of that name;
    /// `broken-script`.
    pub async fn replay(&self, run: RunId, version: Option<&Script>) -> Result<Vec<Replayed>, EngineError> {
        let recordings = self.recordings(run)?;
        let is_alone = recordings.len() == 1 && actions(&*self.database().snapshot()?, run)? <= 1;
        let mut scripts = Vec::new();
        let mut replaced = false;
        for recording in &recordings {
            let own = self.recorded_script(recording).await;
            scripts.push(match version {
                Some(version) if is_version_of(version, own.as_ref().ok(), is_alone) => {
                    replaced = true;
                    version.clone()
                }
                _ => own?,
            });
        }
        if let Some(version) = version.filter(|_| !replaced) {
            let name = name(version).unwrap_or_default();
            let text =
                format!("run {run} ran no script called `{name}`, so that nothing can be said of this version of it");
            return Err(Error::rejected("not-in-rule", text).into());
        }
        let mut replayed = Vec::new();
        for (script, recording) in scripts.iter().zip(&recordings) {
            replayed.push(replay(script, recording).await);
        }
        Ok(replayed)
    }

    /// What was kept of a run's last try, in the order of its actions: enough to replay it anywhere.
    ///
    /// # Errors
    /// `unknown-run`; `not-journaled` when nothing was kept of it.
    pub fn recordings(&self, run: RunId) -> Result<Vec<Recording>, EngineError> {
        last_recordings(&*self.database().snapshot()?, run)
    }

    /// Replays all runs of a rule since a time, as far as they were kept in full, on a version of one of its scripts. Of those that
    /// ran no script of that name nothing can be said.
    ///
    /// # Errors
    /// What the database says.
    pub async fn backtest(&self, rule: &str, script: &Script, since: Timestamp) -> Result<Backtest, EngineError> {
        let mut result = Backtest::default();
        let mut after = 0;
        loop {
            let page = journaled(&*self.database().snapshot()?, rule, since.as_millisecond(), after)?;
            let Some(last) = page.last() else { return Ok(result) };
            after = *last;
            for run in page {
                match self.replay(run, Some(script)).await {
                    Ok(replayed) => count(&mut result, run, replayed),
                    Err(EngineError::Refused(error)) => result.undecidable.push((run, error.message)),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The script of a component that is not kept here: to be tried out on runs of the past.
    ///
    /// # Errors
    /// `broken-script`
    pub async fn try_out(&self, component: &[u8]) -> Result<Script, EngineError> {
        Ok(self.inner.loader.compile(component).await?)
    }

    async fn recorded_script(&self, recording: &Recording) -> Result<Script, EngineError> {
        let hash = recording.script.parse().map_err(|_| {
            Error::not_found("unknown-script", format!("`{}` is no component's hash", recording.script))
        })?;
        self.inner.loader.ready(self.database(), hash).await
    }
}

/// Whether a version takes the place of a recorded script: one of the same name does. The only action of a rule is replaced
/// whatever it was called.
fn is_version_of(version: &Script, own: Option<&Script>, is_alone: bool) -> bool {
    is_alone || own.is_none_or(|own| name(own) == name(version))
}

fn name(script: &Script) -> Option<&str> {
    script.manifest().map(|manifest| manifest.script.name.as_str())
}

/// How many actions a run's rule had then; 0: that is not known any more.
fn actions(conn: &Connection, run: RunId) -> Result<u32, EngineError> {
    let sql = "SELECT json_array_length(v.body, '$.actions') FROM engine_run r \
               JOIN engine_rule_version v ON v.rule = r.rule AND v.version = r.rule_version WHERE r.id = ?1 AND v.body <> ''";
    let found: Option<Option<u32>> = conn.prepare_cached(sql)?.query_row([run], |row| row.get(0)).optional()?;
    Ok(found.flatten().unwrap_or_default())
}

fn count(result: &mut Backtest, run: RunId, replayed: Vec<Replayed>) {
    match Verdict::of_all(replayed.into_iter().map(|action| action.verdict)) {
        Verdict::Same => result.same += 1,
        Verdict::Differs(how) => result.differs.push((run, how)),
        Verdict::Undecidable(why) => result.undecidable.push((run, why)),
    }
}

/// What was kept of a run's last try, in the order of its actions.
fn last_recordings(conn: &Connection, run: RunId) -> Result<Vec<Recording>, EngineError> {
    let summary = runs::detail(conn, run)?.summary;
    let sql = "SELECT journal FROM engine_attempt WHERE run = ?1 AND journal IS NOT NULL \
               AND attempt = (SELECT max(attempt) FROM engine_attempt WHERE run = ?1) ORDER BY action";
    let mut statement = conn.prepare_cached(sql)?;
    let packed: Vec<Vec<u8>> = statement.query_map([run], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if packed.is_empty() {
        let why = format!(
            "nothing was kept of the host calls of run {run} ({}): it never ran, the journal was off, or it is too old",
            summary.state.name()
        );
        return Err(Error::not_found("not-journaled", why).into());
    }
    packed.iter().map(|packed| unpack(packed)).collect()
}

/// Runs of a rule of which something was kept, oldest first.
fn journaled(conn: &Connection, rule: &str, since: i64, after: RunId) -> Result<Vec<RunId>, EngineError> {
    let sql = "SELECT id FROM engine_run WHERE rule = ?1 AND id > ?2 AND at >= ?3 AND EXISTS \
               (SELECT 1 FROM engine_attempt a WHERE a.run = engine_run.id AND a.journal IS NOT NULL) ORDER BY id LIMIT ?4";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((rule, after, since, PAGE), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
