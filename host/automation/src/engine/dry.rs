//! What a rule would do to records, without doing it.

use std::sync::Arc;

use triggerbox_llm::Spent;
use triggerbox_model::{
    changes::Diff,
    event::Trigger,
    limits::{Class, Limits, PerLimit},
    value::Id,
};

use super::{Engine, attempt::Lines, finish::Ended, observe::Paid};
use crate::{
    error::EngineError,
    firing::Firing,
    index::{Armed, Condition},
    queue::Claim,
    remote::Concluded,
    rule::{Environment, Rule},
    runner,
    runs::{LogLine, RunId},
};

/// What a rule would do.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// Whether all of its scripts would succeed.
    pub succeeds: bool,
    /// How it would end, in one stable word.
    pub code: String,
    /// In one sentence, if there is something to say.
    pub message: Option<String>,
    /// What would change.
    pub diff: Diff,
    /// What its scripts logged.
    pub log: Vec<LogLine>,
    /// For each script: what it might use, and what it used.
    pub usage: Vec<(Limits, PerLimit)>,
}

impl Engine {
    /// Runs a rule by hand on records, and shows what would change. Nothing is kept and nothing is sent but questions: what
    /// reads elsewhere, and asks language models, is done and paid.
    ///
    /// # Errors
    /// `unknown-rule`; what the database says.
    pub async fn dry_run(&self, rule: &str, actor: Id, records: Vec<Id>) -> Result<DryRun, EngineError> {
        self.dry(rule, actor, Firing::new(Trigger::Manual, records)).await
    }

    /// Shows what a run's rule, as it is now, would do to the records as they are now, had what fired the run happened now.
    ///
    /// # Errors
    /// `unknown-run`, `unknown-rule`; what the database says.
    pub async fn dry_run_again(&self, run: RunId) -> Result<DryRun, EngineError> {
        let run = self.run(run)?;
        self.dry(&run.summary.rule, run.summary.actor, run.firing).await
    }

    async fn dry(&self, rule: &str, actor: Id, firing: Firing) -> Result<DryRun, EngineError> {
        let rules = self.rules()?;
        let armed = rules.rule(rule)?;
        let shown = Armed {
            rule: Rule { environment: Environment::Test, judge_again: false, ..armed.rule.clone() },
            id: armed.id,
            version: armed.version,
            owner: armed.owner,
            run_as: armed.run_as,
            left: armed.left,
            asks_model: armed.asks_model,
            unserved: armed.unserved,
            paused: None,
            broken: None,
            before: Condition::Always,
            after: Condition::Always,
        };
        let claim = Claim {
            id: 0,
            fence: 0,
            key: format!("dry-{:016x}", rand::random::<u64>()),
            attempt: 1,
            retries: 0,
            away_since: None,
            model: shown.rule.model.clone(),
            class: shown.class(Class::Async),
            rule: Arc::new(shown),
            root: 0,
            depth: 0,
            firing,
            actor,
            seed: rand::random(),
            at: self.inner.shared.now(),
        };
        let log = Lines::default();
        let mut steps = Vec::new();
        let paid = Paid { engine: self, rule, spent: Spent::default() };
        let ended = match self.try_scripts(&claim, &log, None, &mut steps, &paid.spent).await {
            Err(EngineError::Refused(error)) => Ended::NotRun(error),
            Err(EngineError::Database(error)) if steps.last_mut().is_some_and(|step| step.given_up(&error)) => {
                Ended::Unsuccessful
            }
            other => other?,
        };
        let usage = steps.iter().map(|step| (step.limits, step.used)).collect();
        let told = |succeeds: bool, code: &str, message: Option<String>, diff: Diff| DryRun {
            succeeds,
            code: code.to_owned(),
            message,
            diff,
            log: log.take(),
            usage,
        };
        Ok(match ended {
            Ended::Show(diff, outcome) | Ended::Propose(_, diff, outcome) => {
                told(true, "dry-run", outcome.message, diff)
            }
            Ended::Commit(_, _, outcome) => told(true, "dry-run", outcome.message, Diff::default()),
            Ended::Elsewhere(Concluded { verdict, diff, .. }) => {
                told(verdict.is_success(), verdict.code(), verdict.message(), diff)
            }
            Ended::Spread(records) => {
                let text = format!(
                    "each of {} records would have a run of its own; name one to see what it does",
                    records.len()
                );
                told(true, "dry-run", Some(text), Diff::default())
            }
            Ended::Applied(_) => told(true, "applied", None, Diff::default()),
            Ended::NotRun(error) => told(false, &error.code.clone(), Some(error.message), Diff::default()),
            Ended::Nothing(code, why) => told(true, code, Some(why), Diff::default()),
            Ended::Unsuccessful => {
                let verdict = steps.last().map(runner::unsuccessful_step);
                let code = verdict.as_ref().map_or("failed", |verdict| verdict.code());
                told(false, code, verdict.as_ref().and_then(|verdict| verdict.message()), Diff::default())
            }
        })
    }
}
