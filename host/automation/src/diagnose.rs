//! Why a rule did not fire, and why it failed: one stable code and one sentence for each cause, the one that weighs most
//! first.
//!
//! | module | what it looks at |
//! |---|---|
//! | [`standing`] | the rule by itself: switched off, paused, stopped, its people, scripts, grants, schedule |
//! | [`record`] | one record: what happened to it last, and whether the rule's conditions hold |
//! | [`history`] | fires that were suppressed, and what became of the last run |

mod history;
mod record;
mod standing;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use triggerbox_model::{grants::Policy, value::Id};
use triggerbox_store::{db::Database, env::Env};

use crate::{
    error::EngineError,
    index::{self, Armed, Index},
    rule::stored::{self, Stored},
    runs::RunId,
};

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable: `rule-inactive`, `domain-false`…
    pub code: &'static str,
    /// What keeps the rule from firing or succeeding, in one sentence.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
    /// The run that the sentence repeats the words of: for who may see that run.
    #[serde(skip)]
    pub run: Option<RunId>,
    /// What is said in place of the sentence to whoever is no administrator, where that says what others wrote.
    #[serde(skip)]
    pub for_others: Option<String>,
}

/// What a diagnosis goes by.
struct Case<'a> {
    conn: &'a Connection,
    env: &'a Env,
    policy: &'a Policy,
    stored: Stored,
    armed: &'a Armed,
    /// Whether the record matches the rule's domain where it is; none: that is looked up here, if records are here.
    holds: Option<bool>,
    causes: Vec<Cause>,
}

/// Every cause that keeps a rule from firing, or made its last run fail; with a record, those that concern that record.
/// Never empty: a rule that nothing keeps from firing has the cause `nothing-in-the-way`.
///
/// # Errors
/// `unknown-rule`; what the database says.
pub fn diagnose(
    database: &Database,
    policy: &Policy,
    rule: &str,
    record: Option<Id>,
    now: Timestamp,
) -> Result<Vec<Cause>, EngineError> {
    diagnose_known(database, policy, rule, (record, None), now)
}

/// The same of a record of which it is known elsewhere whether it matches the rule's domain.
pub(crate) fn diagnose_known(
    database: &Database,
    policy: &Policy,
    rule: &str,
    (record, holds): (Option<Id>, Option<bool>),
    now: Timestamp,
) -> Result<Vec<Cause>, EngineError> {
    let conn = database.snapshot()?;
    let env = index::environment(database, now)?;
    let stored = stored::get(&conn, rule)?;
    let index = Index::load(&conn, env.clone(), None)?;
    let armed = index.rule(rule)?;
    let mut case = Case { conn: &conn, env: &env, policy, stored, armed, holds, causes: Vec::new() };
    case.standing()?;
    match record {
        Some(record) => case.record(record)?,
        None => case.last_run(None)?,
    }
    case.refusals(record)?;
    if case.causes.is_empty() {
        case.nothing(record)?;
    }
    Ok(case.causes)
}

impl Case<'_> {
    fn found(&mut self, code: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) {
        self.causes.push(Cause { code, sentence: sentence.into(), remedy: remedy.into(), run: None, for_others: None });
    }
}
